"""The documents name what the code has, and nothing else."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from hfcore import errors, hookspecs, models

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def error_classes() -> dict[str, type[errors.HfcoreError]]:
    found = (item for _, item in inspect.getmembers(errors, inspect.isclass))
    return {item.code: item for item in found if issubclass(item, errors.HfcoreError)}


def test_every_error_code_has_its_row_and_says_whether_it_is_retryable() -> None:
    rows = dict(re.findall(r"^\| (HF\d{4}) \|.*?\| (yes|no) \|", (DOCS / "errors.md").read_text(), re.MULTILINE))
    for code, error in error_classes().items():
        assert rows.get(code) == ("yes" if error.retryable else "no"), code


def test_no_row_of_the_error_table_is_about_a_code_that_nothing_uses() -> None:
    used = set(error_classes())
    for path in (ROOT / "hfcore").rglob("*.py"):
        used |= set(re.findall(r"HF9\d{3}", path.read_text()))
    rows = re.findall(r"^\| (HF\d{4}) \|", (DOCS / "errors.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(used)


def test_the_tree_drawn_in_the_docstring_of_the_errors_is_the_real_one() -> None:
    drawn = dict(re.findall(r"(\w+)\s+(HF\d{4})", errors.__doc__ or ""))
    drawn["HfcoreError"] = "HF1000"
    assert drawn == {error.__name__: code for code, error in error_classes().items()}


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
