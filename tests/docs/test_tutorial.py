"""The tutorial, done step by step in an empty folder, comes to `examples/hfcore-local`.

What it lets pip and pytest do is done by tests/packaging, to the first step and to what it comes to; here pip only lets
the plug-in be found.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-provider.md").read_text()
EXAMPLE = ROOT / "examples" / "hfcore-local"
BLOCKS = re.findall(r'^```(sh|python|toml)(?: title="([^"]*)")?\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
INSTALL = """
import pathlib, sys, tomllib
project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
info = pathlib.Path(sys.argv[1], f"{project['name'].replace('-', '_')}-{project['version']}.dist-info")
info.mkdir(parents=True, exist_ok=True)
(info / "METADATA").write_text(f"Name: {project['name']}\\nVersion: {project['version']}\\n")
groups = project["entry-points"].items()
lines = [line for group, its in groups for line in (f"[{group}]", *(f"{name} = {its[name]}" for name in its))]
(info / "entry_points.txt").write_text("\\n".join(lines))
"""
STANDS_FOR = {
    "pip": f"{sys.executable} - $SITE <<'END'\n{INSTALL}END",
    "pytest": "test -d tests",
    "hfcore": f'{sys.executable} -m hfcore "$@"',
}


def script() -> str:
    """Make one script of all blocks but the first, which makes the environment."""
    lines, begun = ["set -e"], set[str]()
    for kind, title, text in BLOCKS[1:]:
        if kind == "sh":
            lines.append(text)
            continue
        lines += [f"cat {'>>' if title in begun else '>'} {title} <<'END-OF-PIECE'", *["", ""] * (title in begun)]
        lines += [f"{text.rstrip()}", "END-OF-PIECE"]
        begun.add(title)
    return "\n".join(lines)


@pytest.mark.timeout(300)
def test_the_tutorial_leads_to_the_example_and_its_machines_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, deed in STANDS_FOR.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/sh\n{deed}\n")
        command.chmod(0o755)
    made = tmp_path / "hfcore-local"
    places = {"SITE": str(tmp_path / "site"), "PYTHONPATH": f"{tmp_path / 'site'}:{made}:{made / 'src'}"}
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["/bin/sh", "-c", script()],
        cwd=tmp_path,
        env=os.environ | places | {"PATH": path, "HFCORE_OUTPUT": "table"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for name in ("pyproject.toml", "hfcore_local.py", "tests/test_local.py"):
        assert (made / name).read_text() == (EXAMPLE / name).read_text(), name
    assert "3 units of Small asked of Local" in ended.stdout
    assert re.search(r"release_instances of Local \(hfcore-local 0.1.0\): 1 Released", ended.stderr)
