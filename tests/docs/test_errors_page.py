"""The table of AWS's error codes in `docs/errors.md` is that of `hfcore.aws.faults`.

With `HFCORE_GOLDEN=write` in the environment it is written anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hfcore.aws.faults import MEANINGS, NEXT
from hfcore.testing.golden import WRITE

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
BEGIN = "<!-- made of hfcore/aws/faults.py by HFCORE_GOLDEN=write pytest tests/docs -->\n"
END = "<!-- end of what is made -->\n"


def lines() -> Iterator[str]:
    yield "| kind | what hfcore does by itself |"
    yield "|---|---|"
    for kind, deed in NEXT.items():
        yield f"| {kind} | {deed} |"
    yield ""
    yield "| AWS's or botocore's code | kind | what it means | what to do |"
    yield "|---|---|---|---|"
    for one in MEANINGS:
        codes = "<br>".join(f"`{code}`" for code in one.codes)
        yield f"| {codes} | {one.kind} | {one.means} | {one.remedy} |"


def test_the_table_of_aws_codes_is_that_of_the_code() -> None:
    before, rest = PAGE.read_text().split(BEGIN)
    table, after = rest.split(END)
    made = "".join(f"{line}\n" for line in lines())
    if os.environ.get(WRITE) == "write":
        PAGE.write_text(f"{before}{BEGIN}{made}{END}{after}")
        return
    assert table == made
