"""Own what hfcore remembers: the `Store` protocol, and its implementation on two TinyDB files in one folder.

Whether what is stored makes sense is not its business: `lifecycle` decides, `records` gives the form.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Document, Table

from hfcore.errors import StoreUntrusted
from hfcore.files import (
    TEMPORARY,
    FileLock,
    append_lines,
    find_lines,
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
from hfcore.lifecycle import newer
from hfcore.models import MachineStatus
from hfcore.records import (
    MACHINES,
    REQUESTS,
    decode_entry,
    encode_entry,
    encode_time,
    format_records,
    lines_of,
    parse_records,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from hfcore.models import Machine, Request
    from hfcore.records import Form

SCHEMA: Final = 1
"""Version of the files' form. A store of a newer one is refused."""

STORAGE_FILE: Final = "storage.json"
MACHINES_FILE: Final = "machines.json"
META_FILE: Final = "meta.json"
LOCK_FILE: Final = "store.lock"
JOURNAL_FOLDER: Final = "journal"
ARCHIVE_FOLDER: Final = "archive"

_TABLE: Final = "_default"
_PROBE_BYTES: Final = 64 * 1024

T = TypeVar("T")


class State(Protocol):
    """One view of the records. The one that `Store.transaction` gives may be changed until the block ends.

    Attributes:
        changed: Whether what was saved here differs from what is stored.
    """

    @property
    def changed(self) -> bool: ...  # noqa: D102 - see above

    def request(self, request_id: str) -> Request | None:
        """Give a hot request."""

    def requests(self) -> tuple[Request, ...]:
        """Give all hot requests, oldest first."""

    def machine(self, instance_id: str) -> Machine | None:
        """Give a hot machine."""

    def machines(self) -> tuple[Machine, ...]:
        """Give all hot machines."""

    def live_ids(self) -> frozenset[str]:
        """Give the ids of the hot machines that are not terminated, in a fraction of the time of `machines`."""

    def machines_of(self, request: Request) -> tuple[Machine, ...]:
        """Give those of `request.machine_ids` that are known, in that order."""

    def save_request(self, request: Request) -> None:
        """Put a request in the place of the one of its id."""

    def save_batch(self, machines: Iterable[Machine]) -> None:
        """Merge each machine with the stored one of its id by `lifecycle.newer`."""

    def archive(self, request_ids: Iterable[str]) -> None:
        """Move hot requests, with all their machines, to the archive when the block ends; until then they stay in view.

        A machine stays hot, too, as long as a hot request made it or names it: one that was returned goes with the last
        of the two.
        """


class Store(Protocol):
    """What hfcore remembers, safe between processes and threads.

    Attributes:
        owner: The owner id that everything made in the cloud is tagged with.
    """

    owner: str

    def read(self) -> State:
        """Give a view that can't be changed; needs neither the lock nor the right to write.

        Raises:
            StoreUntrusted: The store is missing, unreadable or damaged.
        """

    def draft(self) -> State:
        """Give a view that can be changed, but is never stored: to see what a change would lead to.

        Raises:
            StoreUntrusted: As in `read`.
        """

    def transaction(self) -> AbstractContextManager[State]:
        """Give a view that can be changed, alone; the changes are on disk when the block has ended.

        Nothing is written if the block raises or changes nothing. Never hold it during a cloud call.

        Raises:
            StoreLocked: Another call holds the lock for too long.
            StoreNotWritable: No space, no right, another user; the records are as before.
            StoreUntrusted: The store is missing, unreadable or damaged.
        """

    def archived(self, request_id: str) -> tuple[Request, tuple[Machine, ...]] | None:
        """Give a request from the archive with its machines.

        Raises:
            StoreUntrusted: The archive can't be read.
        """

    def check_writable(self) -> None:
        """Make sure, by writing and removing a small file, that what comes next can be stored.

        Raises:
            StoreNotWritable: It can't.
        """


def open_store(data: Path, *, owner: str | None = None, lock_timeout: float = 60.0, now: datetime) -> TinyStore:
    """Open the store in folder `data`; on the first run, when there is no such folder, make it.

    Args:
        data: The folder, `$HF_PROVIDER_WORKDIR/data`.
        owner: The owner id where a setting gives one; else the one in `meta.json`, made at the first run.
        lock_timeout: Seconds to wait for the lock at most.
        now: The time; its month names the archive's file.

    Raises:
        StoreUntrusted: The folder lacks a file, or is of another schema. Nothing is written.
        StoreNotWritable: There is no folder, and it can't be made.
    """
    if not _is_there(data):
        _make_store(data, owner=owner, now=now)
    stored_owner = _read_meta(data / META_FILE)
    for name in (STORAGE_FILE, MACHINES_FILE):
        if not (data / name).is_file():
            raise untrusted(data / name, "is missing")
    return TinyStore(data, owner=owner or stored_owner, lock_timeout=lock_timeout, month=f"{now:%Y-%m}")


class TinyStore:
    """The store in TinyDB files: `storage.json`, `machines.json`, `meta.json`, and the folders beside them.

    Args:
        data: The folder.
        owner: The owner id in use.
        lock_timeout: Seconds to wait for the lock at most.
        month: `YYYY-MM`, the archive file that takes what is finished.
    """

    def __init__(self, data: Path, *, owner: str, lock_timeout: float, month: str) -> None:
        self.owner = owner
        self.data = data
        self._lock_timeout = lock_timeout
        self._archive = _Archive(data / ARCHIVE_FOLDER, month=month)

    def read(self) -> State:
        """See `Store.read`."""
        return _TinyState(self.data, changeable=False)

    def draft(self) -> State:
        """See `Store.draft`."""
        return _TinyState(self.data, changeable=True)

    @contextmanager
    def transaction(self) -> Iterator[State]:
        """See `Store.transaction`."""
        refuse_foreign_owner(self.data)
        with FileLock(self.data / LOCK_FILE, self._lock_timeout):
            state = _TinyState(self.data, changeable=True)
            yield state
            state.commit(self._archive)

    def archived(self, request_id: str) -> tuple[Request, tuple[Machine, ...]] | None:
        """See `Store.archived`."""
        return self._archive.find(request_id)

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        refuse_foreign_owner(self.data)
        for folder in (self.data, self.data / JOURNAL_FOLDER, self.data / ARCHIVE_FOLDER):
            make_private_folder(folder)
            probe = temporary_path(folder / "probe")
            replace_file(probe, bytes(_PROBE_BYTES))
            remove_quietly(probe)


class _TinyState:
    """A view on both files. `storage.json` is read at once, `machines.json` later, when first asked for.

    Writers go the other way round, so that a reader always knows the machines that the requests name.
    """

    def __init__(self, data: Path, *, changeable: bool) -> None:
        self._requests = _Records(data / STORAGE_FILE, REQUESTS)
        self._machines = _Records(data / MACHINES_FILE, MACHINES)
        self._data = data
        self._changeable = changeable
        self._finished: dict[str, None] = {}  # a set that keeps its order
        self._requests.load()

    @property
    def changed(self) -> bool:
        return self._requests.changed or self._machines.changed or any(map(self.request, self._finished))

    def request(self, request_id: str) -> Request | None:
        return self._requests.get(request_id)

    def requests(self) -> tuple[Request, ...]:
        return tuple(sorted(self._requests.all(), key=lambda request: (request.created_at, request.request_id)))

    def machine(self, instance_id: str) -> Machine | None:
        return self._machines.get(instance_id)

    def machines(self) -> tuple[Machine, ...]:
        return self._machines.all()

    def live_ids(self) -> frozenset[str]:
        return frozenset(self._machines.keys_where("status", lambda status: status != MachineStatus.TERMINATED))

    def machines_of(self, request: Request) -> tuple[Machine, ...]:
        found = (self._machines.get(instance_id) for instance_id in request.machine_ids)
        return tuple(machine for machine in found if machine is not None)

    def save_request(self, request: Request) -> None:
        self._refuse_unless_changeable()
        self._requests.put(request)

    def save_batch(self, machines: Iterable[Machine]) -> None:
        self._refuse_unless_changeable()
        for machine in machines:
            stored = self._machines.get(machine.instance_id)
            self._machines.put(machine if stored is None else newer(stored, machine))

    def archive(self, request_ids: Iterable[str]) -> None:
        self._refuse_unless_changeable()
        self._finished.update(dict.fromkeys(request_ids))

    def commit(self, archive: _Archive) -> None:
        """Write what changed: archive, then machines, then requests, which is the commit."""
        self._changeable = False
        self._move_finished(archive)
        machines, requests = self._machines.apply(), self._requests.apply()
        if machines or requests:
            _remove_leftovers(self._data)
        if machines:
            self._machines.flush()
        if requests:
            self._requests.flush()

    def _move_finished(self, archive: _Archive) -> None:
        finished = [request for request in map(self.request, self._finished) if request is not None]
        if not finished:
            return
        machines = self._all_machines_of(finished)
        archive.append((request, machines[request.request_id]) for request in finished)
        staying = [request for request in self._requests.all() if request.request_id not in machines]
        ids = {request.request_id for request in staying}
        named = {instance_id for request in staying for instance_id in request.machine_ids}
        going = {machine.instance_id: machine.request_id for each in machines.values() for machine in each}
        self._machines.remove(key for key, made_by in going.items() if key not in named and made_by not in ids)
        self._requests.remove(machines)

    def _all_machines_of(self, requests: list[Request]) -> dict[str, tuple[Machine, ...]]:
        """Give, by request id, the machines that each request names or made."""
        found = {request.request_id: dict.fromkeys(request.machine_ids) for request in requests}
        made = self._machines.keys_where("request_id", lambda value: isinstance(value, str) and value in found)
        for machine in filter(None, map(self.machine, made)):
            found[machine.request_id][machine.instance_id] = None
        return {key: tuple(filter(None, map(self.machine, ids))) for key, ids in found.items()}

    def _refuse_unless_changeable(self) -> None:
        if not self._changeable:
            raise RuntimeError("records can be changed inside `with store.transaction()` only")


class _Records(Generic[T]):
    """The records of one file: decoded when asked for; changes are collected and applied together."""

    def __init__(self, path: Path, form: Form[T]) -> None:
        self._file = RecordFile(path)
        self._table: Any = _Database(storage=lambda: self._file).table(
            _TABLE, cache_size=0
        )  # Any: its types know int ids only
        self._form = form
        self._decoded: dict[str, T] = {}
        self._changed: dict[str, tuple[T, dict[str, Any]]] = {}
        self._removed: set[str] = set()

    def load(self) -> None:
        self._file.read()

    def get(self, key: str) -> T | None:
        if key in self._changed:
            return self._changed[key][0]
        return self._stored(key)

    def all(self) -> tuple[T, ...]:
        keys = [document.doc_id for document in self._table]
        keys += [key for key in self._changed if not self._table.contains(doc_id=key)]
        return tuple(record for record in map(self.get, keys) if record is not None)

    def keys_where(self, field: str, accepts: Callable[[object], bool]) -> list[str]:
        """Give the keys of the records whose field is accepted, without decoding them."""
        found = self._table.search(lambda record: accepts(record.get(field)))
        keys = [document.doc_id for document in found if document.doc_id not in self._changed]
        return keys + [key for key, (_, changed) in self._changed.items() if accepts(changed.get(field))]

    def put(self, record: T) -> None:
        encoded = self._form.encode(record)
        self._changed[encoded[self._form.key]] = (record, encoded)

    def remove(self, keys: Iterable[str]) -> None:
        self._removed.update(keys)

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._removed) or any(map(self._is_news, self._changed))

    def apply(self) -> bool:
        """Bring the changes into the table, each kind of them at once; say whether there is anything to write."""
        if not self.changed:
            return False
        fresh = {key: new for key, (_, new) in self._changed.items() if key not in self._removed}
        updates = {key: new for key, new in fresh.items() if self._table.contains(doc_id=key)}
        inserts = [Document(new, key) for key, new in fresh.items() if key not in updates]  # type: ignore[arg-type]
        removals = [key for key in self._removed if self._table.contains(doc_id=key)]
        if updates:
            self._table.update(lambda record: _overwrite(record, updates[record[self._form.key]]), doc_ids=[*updates])
        if inserts:
            self._table.insert_multiple(inserts)
        if removals:
            self._table.remove(doc_ids=removals)
        return True

    def flush(self) -> None:
        self._file.flush(self._changed)

    def _stored(self, key: str) -> T | None:
        if key not in self._decoded:
            document = self._table.get(doc_id=key)
            if document is None:
                return None
            self._decoded[key] = self._form.decode(key, document)
        return self._decoded[key]

    def _is_news(self, key: str) -> bool:
        stored = self._stored(key)
        return stored is None or self._form.encode(stored) != self._changed[key][1]


def _overwrite(record: dict[str, Any], new: dict[str, Any]) -> None:
    record.clear()
    record.update(new)


class _StringIds(Table):
    """A TinyDB table whose documents are named by strings."""

    document_id_class = str  # type: ignore[assignment]  # TinyDB's documented way, though its types say int


class _Database(TinyDB):
    """A TinyDB database of such tables."""

    table_class = _StringIds


class RecordFile(Storage):
    """TinyDB's default table as the top level of one JSON file, a record a line.

    Read once. What TinyDB writes is kept until `flush`, which puts it in the file's place at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._keys: tuple[str, ...] = ()
        self._records: dict[str, Any] | None = None

    def read(self) -> dict[str, dict[str, Any]]:
        """Give the file's records as TinyDB's default table.

        Raises:
            StoreUntrusted: The file is missing, unreadable, or not an object of objects.
        """
        if self._records is None:
            self._records = read_json(self._path, self._parse)
        return {_TABLE: self._records}

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Keep what TinyDB wants written."""
        self._records = data[_TABLE]

    def flush(self, changed: Iterable[str]) -> None:
        """Write the records to the file; those not named in `changed` go back as the lines that they came from.

        Raises:
            StoreNotWritable: The file is as before.
        """
        lines = lines_of(self._text, self._keys)
        for key in changed:
            lines.pop(key, None)
        replace_file(self._path, format_records(self._records or {}, lines).encode())

    def _parse(self, text: str) -> dict[str, Any]:
        records = parse_records(text)
        self._text, self._keys = text, tuple(records)
        return records


class _Archive:
    """Finished requests with their machines, a line each, in a file for each month. Appended to under the lock only."""

    def __init__(self, folder: Path, *, month: str) -> None:
        self._folder = folder
        self._path = folder / f"{month}.jsonl"

    def append(self, entries: Iterable[tuple[Request, tuple[Machine, ...]]]) -> None:
        make_private_folder(self._folder)
        append_lines(self._path, "".join(encode_entry(*entry) + "\n" for entry in entries).encode())

    def find(self, request_id: str) -> tuple[Request, tuple[Machine, ...]] | None:
        """Give a request, and each machine that any line of it has; the last line wins.

        A crash between the two hot files leaves the request there without its machines; its next line names none.
        """
        request: Request | None = None
        machines: dict[str, Machine] = {}
        for path in self._newest_first():
            for line in reversed(find_lines(path, json.dumps(request_id).encode())):
                entry = decode_entry(request_id, line)
                if entry is not None:
                    request = request or entry[0]
                    machines = {machine.instance_id: machine for machine in entry[1]} | machines
            if request is not None and machines.keys() >= set(request.machine_ids):
                break
        return None if request is None else (request, tuple(machines.values()))

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("????-??.jsonl"), reverse=True)


def _is_there(data: Path) -> bool:
    """Tell a first run from a folder that can't be looked at, such as that of another user."""
    try:
        data.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise untrusted(data, f"can't be looked at: {error.strerror}") from error
    return True


def _read_meta(path: Path) -> str:
    meta = read_json(path, json.loads)
    if not isinstance(meta, dict):
        raise untrusted(path, "is not a JSON object")
    schema, owner = meta.get("schema"), meta.get("owner")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise untrusted(path, f"names no schema that there is: {schema!r}")
    if schema > SCHEMA:
        raise StoreUntrusted(
            f"{path} is of schema {schema}, written by a newer hfcore; this one knows schema {SCHEMA}",
            hint="nothing was changed; run the newer hfcore",
        )
    if not isinstance(owner, str) or not owner:
        raise untrusted(path, f"names no owner: {owner!r}")
    return owner


def _make_store(data: Path, *, owner: str | None, now: datetime) -> None:
    """Make the folder whole under another name, then give it its name; another process may be first."""
    make_private_folder(data.parent)
    folder = temporary_path(data)
    try:
        for part in (folder, folder / JOURNAL_FOLDER, folder / ARCHIVE_FOLDER):
            make_private_folder(part)
        meta = {"schema": SCHEMA, "owner": owner or _new_owner(), "created": encode_time(now)}
        replace_file(folder / META_FILE, (json.dumps(meta) + "\n").encode("ascii"))
        for name in (MACHINES_FILE, STORAGE_FILE):
            replace_file(folder / name, b"{\n}\n")
        try:
            folder.rename(data)
            sync_folder(data.parent)
        except OSError as error:
            if not data.is_dir():
                raise not_writable(data, error) from error
    finally:
        _remove_folder(folder)


def _new_owner() -> str:
    from uuid import uuid4

    return str(uuid4())


def _remove_folder(folder: Path) -> None:
    """Remove what `_make_store` has made and could not use, if anything."""
    for name in (META_FILE, MACHINES_FILE, STORAGE_FILE):
        remove_quietly(folder / name)
    for part in (folder / JOURNAL_FOLDER, folder / ARCHIVE_FOLDER, folder):
        with suppress(OSError):
            part.rmdir()


def _remove_leftovers(data: Path) -> None:
    """Remove the temporary files of processes that were killed; the lock is held, so they are nobody's."""
    for name in (STORAGE_FILE, MACHINES_FILE):
        for leftover in data.glob(f".{name}.*{TEMPORARY}"):
            remove_quietly(leftover)
