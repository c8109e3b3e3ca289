"""Own what hfcore remembers: the `Store` protocol, and its implementation on two TinyDB files in one folder.

Whether what is stored makes sense is not its business: `lifecycle` decides, `records` gives the form.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from hfcore.archive import Archive
from hfcore.errors import StoreUntrusted
from hfcore.files import (
    TEMPORARY,
    FileLock,
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
from hfcore.lifecycle import OPEN, newer
from hfcore.models import MachineStatus
from hfcore.records import MACHINES, REQUESTS, encode_time
from hfcore.tables import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from hfcore.models import Machine, Request

SCHEMA: Final = 1
"""Version of the files' form. A store of a newer one is refused."""

STORAGE_FILE: Final = "storage.json"
MACHINES_FILE: Final = "machines.json"
META_FILE: Final = "meta.json"
LOCK_FILE: Final = "store.lock"
JOURNAL_FOLDER: Final = "journal"
ARCHIVE_FOLDER: Final = "archive"

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
        self._archive = Archive(data / ARCHIVE_FOLDER, month=month)

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
        self._requests = Records(data / STORAGE_FILE, REQUESTS)
        self._data = data
        self._changeable = changeable
        self._finished: dict[str, None] = {}  # a set that keeps its order
        self._requests.load()

    @cached_property
    def _machines(self) -> Records[Machine]:
        """The machines; a file that lacks some of those that the requests need is another time's copy."""
        machines = Records(self._data / MACHINES_FILE, MACHINES)
        machines.load()
        needed = (key for record in self._requests.raw() if _needs_machines(record) for key in record["machine_ids"])
        missing = [key for key in needed if key not in machines]
        if missing:
            count = f"{len(missing)} machine{'' if len(missing) == 1 else 's'}"
            raise untrusted(self._data / MACHINES_FILE, f"lacks {count} that {STORAGE_FILE} names, as {missing[0]}")
        return machines

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

    def commit(self, archive: Archive) -> None:
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

    def _move_finished(self, archive: Archive) -> None:
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


def _needs_machines(record: dict[str, Any]) -> bool:
    """Tell whether a request is not over for good; the machines of those that are may have gone to the archive."""
    return record["status"] in OPEN or bool(record["resource_ids"] and not record.get("cleaned"))


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
