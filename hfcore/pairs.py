"""Own `k=v;k=v`, the form in which IBM's and LSF's templates write several values as one text. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def split_pairs(text: str) -> dict[str, str]:
    """Take `k=v;k=v` apart, without the spaces around keys and values.

    Raises:
        ValueError: A part is no pair, or a name stands there twice.
    """
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    pairs = {key.strip(): value.strip() for key, _, value in parts}
    if not all(equals for _, equals, _ in parts) or len(pairs) < len(parts):
        raise ValueError("must be pairs such as project=grid;team=risk, each name once")
    return pairs


def join_pairs(pairs: Mapping[str, str]) -> str:
    """Write pairs as `k=v;k=v`."""
    return ";".join(f"{key}={value}" for key, value in pairs.items())


def check_exports(names: Iterable[str]) -> None:
    """Check names that a shell is to export.

    Raises:
        ValueError: A shell does not take one; no value stands in the message.
    """
    wrong = sorted(name for name in names if not _SHELL_NAME.fullmatch(name))
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: a name has letters, digits and _, and begins with no digit")
