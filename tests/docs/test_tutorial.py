"""The tutorial, done step by step in an empty folder, comes to `examples/hfcore-local`.

What it installs is installed from here, without a network. Its tests are not run here: those of the first step are by
tests/packaging, and those that it comes to are the example's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-provider.md").read_text()
EXAMPLE = ROOT / "examples" / "hfcore-local"
BLOCKS = re.findall(r'^```(sh|python|toml)(?: title="([^"]*)")?\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
INSTALL = "--quiet --disable-pip-version-check install --no-deps --no-index --no-build-isolation --upgrade"
STANDS_FOR = {
    "pip": f'{sys.executable} -m pip {INSTALL} --target "$SITE" .',
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


def test_the_tutorial_leads_to_the_example_and_its_machines_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, deed in STANDS_FOR.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/sh\n{deed}\n")
        command.chmod(0o755)
    places = {"SITE": str(tmp_path / "site"), "PYTHONPATH": str(tmp_path / "site")}
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
    made = tmp_path / "hfcore-local"
    for name in ("pyproject.toml", "hfcore_local.py", "tests/test_local.py"):
        assert (made / name).read_text() == (EXAMPLE / name).read_text(), name
    assert "3 units of Small asked of Local" in ended.stdout
    assert re.search(r"release_instances of Local \(hfcore-local 0.1.0\): 1 Released", ended.stderr)
