"""Own how the store that was written here last is told from a copy of it, or an older version put back.

`data.written`, beside the folder so that it does not go with it, names what the two files are by inode, time and size:
before each change, what they are and what they are about to be. A change is noted only where they were as noted, so
that the doubt about files that somebody has put there outlives it. Inodes are used again: after `rm -r` and `cp -a` the
files may have the very ones of the note, their times and sizes anyway. But no copy can take along the note's own time
of its last change of state (`st_ctime`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from hfcore.errors import StoreUntrusted
from hfcore.files import identity_of, last_of, not_writable, read_json, remove_quietly, temporary_path, write_new
from hfcore.storefolder import (
    EMPTY_FILE,
    FOLDER,
    MACHINES_FILE,
    META_FILE,
    RESTORED_AT,
    STORAGE_FILE,
    read_meta,
    written_note,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hfcore.files import NewFile

_FILES: Final = (STORAGE_FILE, MACHINES_FILE)

_PUT_WITHIN_NS: Final = 10 * 10**9
"""What is written beside its place has it within so long; that of a copy with its times is as late as the copying."""


def is_last_written(data: Path) -> bool:
    """Tell whether a store's files are those that were written here last, or those of a store just made."""
    path = written_note(data)
    if not path.exists():
        return _is_new(data)
    try:
        # Before the note is read: one change more is noted by then at most, with what the files were before it.
        found = {name: identity_of(data / name) for name in _FILES}
        noted = read_json(path, json.loads)
        return not _is_copied(path) and all(list(found[name]) in noted[name] for name in _FILES)
    except (OSError, StoreUntrusted, KeyError, TypeError):  # the note is damaged
        return False


def may_lack(data: Path) -> bool:
    """Tell whether the records may be an older copy, so that the cloud has, and people know, what they do not.

    Raises:
        StoreUntrusted: The store can't be used.
    """
    return RESTORED_AT in read_meta(data / META_FILE) or not is_last_written(data)


def note(data: Path, coming: Iterable[NewFile] = ()) -> None:
    """Note what a store's files are, and what those are about to be that a change replaces; not synced.

    Args:
        data: The store's folder, whose lock is held.
        coming: What is about to take the place of some of them.

    Raises:
        StoreNotWritable: The note is as before.
    """
    path = written_note(data)
    temporary = temporary_path(path)
    try:
        content = {name: [identity_of(data / name)] for name in _FILES}
        for new in coming:
            content[new.path.name].append(new.identity)
        write_new(temporary, json.dumps(content).encode())
        temporary.replace(path)
    except OSError as error:
        raise not_writable(path, error) from error
    finally:
        remove_quietly(temporary)


def _is_copied(path: Path) -> bool:
    """Tell whether a file that is written beside its place, and never touched there, came with the times of another."""
    found = path.stat()
    return found.st_ctime_ns - found.st_mtime_ns > _PUT_WITHIN_NS


def _is_new(data: Path) -> bool:
    """Tell whether this very folder is as it was made: nothing was stored yet."""
    try:
        made = read_meta(data / META_FILE).get(FOLDER) == data.stat().st_ino and not _is_copied(data / META_FILE)
        empty = all((data / name).stat().st_size == len(EMPTY_FILE) for name in _FILES)
    except (OSError, StoreUntrusted):
        return False
    return made and empty and not any(last_of(data / name).exists() for name in _FILES)
