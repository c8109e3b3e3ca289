"""Own the store's folder: the names of what is in it, `meta.json`, and the first run. Knows no record."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from hfcore.errors import StoreUntrusted
from hfcore.files import (
    LAST,
    make_private_folder,
    not_writable,
    read_json,
    refuse_foreign_owner,
    remove_quietly,
    replace_file,
    sync_folder,
    temporary_path,
    untrusted,
)
from hfcore.records import decode_time, encode_time

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

SCHEMA: Final = 1
"""Version of the files' form. A store of another one is refused."""

STORAGE_FILE: Final = "storage.json"
MACHINES_FILE: Final = "machines.json"
META_FILE: Final = "meta.json"
LOCK_FILE: Final = "store.lock"
JOURNAL_FOLDER: Final = "journal"
ARCHIVE_FOLDER: Final = "archive"

RESTORED_AT: Final = "restored_at"
"""Key in `meta.json`: when a repair took back an older copy, so that the cloud may have what no record knows of."""

FOLDER: Final = "folder"
"""Key in `meta.json`: the inode of the folder that was made with it, so that a copy is told from it."""

EMPTY_FILE: Final = b"{\n}\n"
"""A file without records."""

_FIRST_SCHEMA: Final = 1
_LONG_AGO: Final = "1970-01-01T00:00:00Z"  # what a store that does not tell is taken to be made at


def is_there(data: Path) -> bool:
    """Tell a first run from a folder that can't be looked at, such as that of another user.

    Raises:
        StoreUntrusted: It can't be looked at.
        StoreNotWritable: The same, because it is another user's.
    """
    try:
        data.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise untrusted(data, f"can't be looked at: {error.strerror}") from error
    if data.is_dir() and not os.access(data, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        refuse_foreign_owner(data)
        raise untrusted(data, "can't be looked at: its mode forbids it")
    return True


def refuse_if_absent(data: Path) -> None:
    """Refuse to go on where there is no store yet.

    Raises:
        StoreUntrusted: There is none, or it can't be looked at.
    """
    if not is_there(data):
        raise untrusted(data, "is missing", hint="nothing is stored yet: the first call of Host Factory makes it")


def read_meta(path: Path) -> dict[str, Any]:
    """Read `meta.json`, or its copy; `owner` in it is a string, and `created`, if it is there, a time.

    Raises:
        StoreUntrusted: It is missing, makes no sense, or is of another schema.
    """
    meta = read_json(path, json.loads)
    if not isinstance(meta, dict):
        raise untrusted(path, "is not a JSON object")
    _refuse_other_schema(path, meta.get("schema"))
    if not isinstance(meta.get("owner"), str) or not meta["owner"]:
        raise untrusted(path, f"names no owner: {meta.get('owner')!r}")
    try:
        decode_time(meta.get("created", _LONG_AGO))
    except ValueError as error:
        raise untrusted(path, f"does not say when the store was made: {error}") from error
    return meta


def owner_of(data: Path) -> str:
    """Give the owner id of a store; empty where there is none that can be read."""
    try:
        return str(read_meta(data / META_FILE)["owner"])
    except StoreUntrusted:
        return ""


def is_of_other_schema(path: Path) -> bool:
    """Tell whether `meta.json` can be read and says that the files are of a form that this hfcore does not know."""
    try:
        meta = read_json(path, json.loads)
    except StoreUntrusted:
        return False
    schema = meta.get("schema") if isinstance(meta, dict) else None
    return isinstance(schema, int) and not isinstance(schema, bool) and not _FIRST_SCHEMA <= schema <= SCHEMA


def make_store(data: Path, *, owner: str | None, now: datetime) -> None:
    """Make the folder whole under another name, then give it its name; another process may be first.

    Raises:
        StoreNotWritable: It can't be made; nothing is left of it.
    """
    remove_quietly(written_note(data))  # of a store that was removed: it would speak against this one
    make_private_folder(data.parent)
    folder = temporary_path(data)
    try:
        for part in (folder, folder / JOURNAL_FOLDER, folder / ARCHIVE_FOLDER):
            make_private_folder(part)
        made = {"schema": SCHEMA, "owner": owner or _new_owner(), "created": encode_time(now)}
        meta = format_meta({**made, FOLDER: folder.stat().st_ino})
        for name in _META_FILES:
            replace_file(folder / name, meta)
        for name in (MACHINES_FILE, STORAGE_FILE):
            replace_file(folder / name, EMPTY_FILE)
        try:
            folder.rename(data)
            sync_folder(data.parent)
        except OSError as error:
            if not data.is_dir():
                raise not_writable(data, error) from error
    finally:
        remove_unfinished(folder)


def written_note(data: Path) -> Path:
    """Name the note of what the store's files are, see `hfcore.lastwrite`."""
    return data.with_name(f"{data.name}.written")


def format_meta(meta: dict[str, Any]) -> bytes:
    """Give `meta.json` as it is written."""
    return (json.dumps(meta) + "\n").encode("ascii")


# Never written again, so a copy is made at once, not a link: a link would be damaged with it.
_META_FILES: Final = (META_FILE, META_FILE + LAST)


def _refuse_other_schema(path: Path, schema: object) -> None:
    """Refuse what this hfcore can't read. A form that is older and known would be brought up to date here."""
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise untrusted(path, f"names no schema that there is: {schema!r}")
    if schema < _FIRST_SCHEMA:
        raise untrusted(path, f"is of schema {schema}, and no hfcore has written one below {_FIRST_SCHEMA}")
    if schema > SCHEMA:
        raise StoreUntrusted(
            f"{path} is of schema {schema}, written by a newer hfcore; this one knows schema {SCHEMA}",
            hint="nothing was changed; run the newer hfcore",
        )


def _new_owner() -> str:
    from uuid import uuid4

    return str(uuid4())


def remove_unfinished(folder: Path) -> None:
    """Remove a folder that `make_store` has made and could not use, if there is any."""
    for name in (*_META_FILES, MACHINES_FILE, STORAGE_FILE):
        remove_quietly(folder / name)
    for part in (folder / JOURNAL_FOLDER, folder / ARCHIVE_FOLDER, folder):
        with suppress(OSError):
            part.rmdir()
