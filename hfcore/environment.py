"""Own what is installed: telling one set of distributions from another, and their entry points."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfcore.context import Memory

SETTLED: Final = 10.0
"""Seconds after which an installer has filled the folder that it made."""


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
    """Tell this set of installed distributions from another one, without reading them; empty while it may be changing.

    Installing or removing a distribution changes the times of the folder that it stands in; the time of its last change
    of any kind (`st_ctime_ns`) can't be set, as images do with that of its content. An installer makes a
    distribution's folder first and fills it then: so what is found in the seconds after is not worth keeping.
    """
    marks, newest = [], 0.0
    for folder in _folders():
        try:
            found = os.stat(folder or ".")  # noqa: PTH116 - at start-up, each import counts
        except OSError:
            marks.append(f"{folder}:-")
            continue
        marks.append(f"{folder}:{found.st_mtime_ns}:{found.st_ctime_ns}")
        newest = max(newest, found.st_mtime)
    return "\n".join(marks) if time.time() - newest >= SETTLED else ""


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
    if memory and installed:
        memory.remember(key, {"installed": installed, "found": [list(one) for one in found]})
    return found


def scan(group: str) -> tuple[EntryPoint, ...]:
    """Look through all installed distributions for the entry points of a group; of two of a name, the first counts."""
    from importlib import metadata

    found: dict[str, metadata.Distribution] = {}
    for each in metadata.distributions(path=_folders()):
        # importlib's own key: `name` reads a file of each, which may not be there yet.
        found.setdefault(each._normalized_name, each)  # type: ignore[attr-defined]  # noqa: SLF001 - as said
    return tuple(
        EntryPoint(
            name=point.name,
            value=point.value,
            distribution=each.name,
            version=each.version,
            source=str(each.locate_file("")),
        )
        for each in found.values()
        for point in each.entry_points.select(group=group)
    )


def imported(packages: Iterable[str]) -> tuple[str, ...]:
    """Name the files of what this process has imported of some packages."""
    wanted = frozenset(packages)
    found = (
        getattr(module, "__file__", None) for name, module in [*sys.modules.items()] if name.partition(".")[0] in wanted
    )
    return tuple(filter(None, found))


def versions(files: Iterable[str]) -> dict[str, list[int]]:
    """Tell files from other versions of themselves, by change time and size; one that is not there has neither."""
    found: dict[str, list[int]] = {}
    for file in files:
        with suppress(OSError):
            at = os.stat(file)  # noqa: PTH116 - as above
            found[file] = [at.st_ctime_ns, at.st_size]
    return found


def _folders() -> list[str]:
    """Name the folders in which distributions stand.

    That of the script or the current one, which Python puts first unless told not to (`-P`), is none of them: what
    people run there must not decide what Host Factory's scripts find.
    """
    return sys.path if sys.flags.safe_path else sys.path[1:]
