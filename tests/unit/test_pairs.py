"""`k=v;k=v`: several values written as one text."""

from __future__ import annotations

import pytest

from hfcore.pairs import check_exports, join_pairs, split_pairs


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", {}),
        (" ; ", {}),
        ("team=risk", {"team": "risk"}),
        (" team = risk ; cost centre=7 ;", {"team": "risk", "cost centre": "7"}),
        ("empty=;url=http://x?a=b", {"empty": "", "url": "http://x?a=b"}),
    ],
)
def test_pairs_are_taken_apart_without_the_spaces_around_them(text: str, pairs: dict[str, str]) -> None:
    assert split_pairs(text) == pairs
    assert split_pairs(join_pairs(pairs)) == pairs


@pytest.mark.parametrize("text", ["team", "team=risk;grid", "team=risk;team=grid", "team=risk; team =risk"])
def test_what_is_no_pair_and_a_name_that_stands_there_twice_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="each name once"):
        split_pairs(text)


def test_what_a_shell_can_not_export_is_named_without_any_value() -> None:
    check_exports({"GRID": "secret", "_x1": "secret"})
    with pytest.raises(ValueError, match="1st, a-b") as caught:
        check_exports({"a-b": "secret", "1st": "secret", "fine": "secret"})
    assert "secret" not in str(caught.value)
    assert "fine" not in str(caught.value)
