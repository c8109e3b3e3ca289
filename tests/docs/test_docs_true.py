"""The documents name what the code has, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from hfcore import errors, hookspecs, models

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_tree_drawn_in_the_docstring_of_the_errors_is_the_real_one() -> None:
    drawn = dict(re.findall(r"(\w+)\s+(HF\d{4})", errors.__doc__ or ""))
    drawn["HfcoreError"] = "HF1000"
    assert drawn == {error.__name__: code for code, error in errors.CODES.items()}


def test_every_hook_of_the_flow_is_a_hook_and_every_verb_of_it_has_a_script() -> None:
    flow = (DOCS / "flow.md").read_text()
    table = flow[flow.index("| script |") :]
    for script, hooks in re.findall(r"^\| (get\w+|request\w+) \| `\w+` \| (.*) \|$", table, re.MULTILINE):
        assert (ROOT / "hfcore" / "scripts" / f"{script}.sh").is_file()
        for hook in re.findall(r"`(\w+)`", hooks):
            assert hasattr(hookspecs, hook), hook


def test_every_module_named_in_the_flow_exists() -> None:
    drawing = (DOCS / "flow.md").read_text().split("```")[1]
    for name in re.findall(r"(?<![\w/…])((?:cli/)?[a-z_]+\.py)", drawing):
        places = (ROOT / "hfcore" / name, *(ROOT / "plugins").glob(f"*/src/*/{name}"))
        assert any(place.is_file() for place in places), name


def test_every_request_status_is_in_the_table_of_the_storage_page() -> None:
    page = (DOCS / "storage.md").read_text()
    for status in models.RequestStatus:
        assert f"`{status}`" in page


def test_what_aws_asks_for_without_a_call_is_told_where_the_policy_is() -> None:
    page = (DOCS / "doctor.md").read_text()
    rights = (ROOT / "tests" / "integration" / "test_rights.py").read_text()
    for action in re.findall(r'^    "(\w+:\w+)": "checked', rights, re.MULTILINE):
        assert f"`{action}`" in page
