"""The site is whole: every page is in its navigation, every link and every reference leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MADE = {"hooks": "hookspecs.provision", "models": "models.Discovery", "testing": "testing.cloud.Cloud"}
ELSEWHERE = sorted(
    str(page.relative_to(ROOT))
    for page in (*ROOT.glob("*.md"), *ROOT.glob("plugins/*/*.md"), *ROOT.glob("examples/*/*.md"))
)


@pytest.mark.timeout(300)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Pages that the navigation lacks, links, anchors and docstrings that do not fit are warnings."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for page, name in MADE.items():
        assert f'id="hfcore.{name}"' in (tmp_path / page / "index.html").read_text()


@pytest.mark.parametrize("page", ELSEWHERE)
def test_links_of_pages_beside_the_site_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(target).exists(), target
