"""Own what is installed: telling one set of distributions from another, and their entry points."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from hfcore.context import Memory


class EntryPoint(NamedTuple):
    """An entry point of an installed distribution.

    Args:
        value: `module` or `module:attribute`.
        source: Where its distribution stands.
    """

    name: str
    value: str
    distribution: str
    version: str
    source: str


def fingerprint() -> str:
    """Tell this set of installed distributions from another one, without reading them.

    Installing or removing a distribution changes the modification time of the folder that it stands in. The folder of
    the script or the current one, which Python puts first unless told not to (`-P`), is none of these.
    """
    marks = []
    for folder in sys.path if sys.flags.safe_path else sys.path[1:]:
        try:
            marks.append(f"{folder}:{os.stat(folder or '.').st_mtime_ns}")  # noqa: PTH116 - at start-up, each import counts
        except OSError:
            marks.append(f"{folder}:-")
    return "\n".join(marks)


def entry_points(group: str, memory: Memory | None = None) -> tuple[EntryPoint, ...]:
    """Give the entry points of a group.

    Args:
        group: The group.
        memory: Where they are kept until the set of installed distributions changes: looking through all of them
            takes longer than the rest of what a call does without a cloud.
    """
    key, installed = f"entry points {group}", fingerprint()
    kept = memory.recall(key) if memory else None
    if isinstance(kept, dict) and kept.get("installed") == installed:
        return tuple(EntryPoint(*one) for one in kept["found"])
    found = scan(group)
    if memory:
        memory.remember(key, {"installed": installed, "found": [list(one) for one in found]})
    return found


def scan(group: str) -> tuple[EntryPoint, ...]:
    """Look through all installed distributions for the entry points of a group."""
    from importlib import metadata

    return tuple(
        EntryPoint(
            name=point.name,
            value=point.value,
            distribution=point.dist.name if point.dist else "",
            version=point.dist.version if point.dist else "",
            source=str(point.dist.locate_file("")) if point.dist else "",
        )
        for point in metadata.entry_points(group=group)
    )
