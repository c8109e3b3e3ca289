"""The page on reconcile names what the code proposes, and the numbers that it goes by."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from hfcore.config import SETTINGS
from hfcore.reconcile import UNUSED_DAYS, Deed, Leave
from hfcore.reconciling import LONGEST_CALL, MOST_BY_ITSELF

PAGE = (Path(__file__).parents[2] / "docs" / "reconcile.md").read_text()


def test_every_deed_and_every_leave_is_on_the_page() -> None:
    for word in (*Deed, *filter(None, Leave)):
        assert f"`{word}" in PAGE, word


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"unused for {UNUSED_DAYS} days" in PAGE
    assert f"for {MOST_BY_ITSELF} things at most" in PAGE
    assert timedelta(minutes=10) == LONGEST_CALL
    assert "younger than 10 minutes" in PAGE
    assert f"`reconcile_minutes` ({SETTINGS['reconcile_minutes'].default};" in PAGE
