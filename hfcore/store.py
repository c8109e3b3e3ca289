"""Own what hfcore remembers: the `Store` protocol, and its implementation on two TinyDB files in one folder.

Whether what is stored makes sense is not its business: `lifecycle` decides, `records` gives the form.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from hfcore import mending
from hfcore.archive import Archive
from hfcore.errors import StoreUntrusted
from hfcore.files import (
    TEMPORARY,
    Patience,
    identity_of,
    make_private_folder,
    prove_room,
    refuse_foreign_owner,
    remove_quietly,
    untrusted,
)
from hfcore.lifecycle import newer
from hfcore.models import MachineStatus
from hfcore.records import MACHINES, REQUESTS
from hfcore.storefolder import (
    ARCHIVE_FOLDER,
    JOURNAL_FOLDER,
    LOCK_FILE,
    MACHINES_FILE,
    META_FILE,
    STORAGE_FILE,
    is_there,
    make_store,
    read_meta,
)
from hfcore.tables import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from hfcore.files import Identity
    from hfcore.models import Machine, Request

_ROOM: Final = 256 * 1024  # bytes beyond what is stored, for what a request adds to the files, and for its intents
_OTHER_TIMES: Final = "nothing was changed; `hfcore store check` names all that is wrong, `hfcore store repair` helps"


class State(Protocol):
    """One view of the records. The one that `Store.transaction` gives may be changed until the block ends.

    Attributes:
        changed: Whether this view differs from what is stored: something was saved, or what a death between the two
            files has left was put right.
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
        """Merge each machine with the stored one of its id by `lifecycle.newer`.

        A new one's request must be stored already: a machine of no request shows that the files are of different times.
        """

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

    def is_current(self, state: State) -> bool:
        """Tell whether nothing was stored since a view was given; reads no record."""

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

    def archived_machines(self, words: Iterable[str]) -> Mapping[str, Machine]:
        """Give those of the machines that are in the archive, each by the id or host name that was asked for.

        Raises:
            StoreUntrusted: The archive can't be read.
        """

    def check_writable(self) -> None:
        """Make sure, without writing anything, that there is room and right to store what comes next.

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
    if not is_there(data):
        make_store(data, owner=owner, now=now)
    stored_owner = read_meta(data / META_FILE)["owner"]
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
        self._patience = Patience(lock_timeout)
        self._archive = Archive(data / ARCHIVE_FOLDER, month=month)

    def read(self) -> State:
        """See `Store.read`."""
        return _TinyState(self.data, self._archive, changeable=False)

    def draft(self) -> State:
        """See `Store.draft`."""
        return _TinyState(self.data, self._archive, changeable=True)

    def is_current(self, state: State) -> bool:
        """See `Store.is_current`."""
        return isinstance(state, _TinyState) and state.version == _version(self.data)

    @contextmanager
    def transaction(self) -> Iterator[State]:
        """See `Store.transaction`."""
        refuse_foreign_owner(self.data)
        with self._patience.lock(self.data / LOCK_FILE):
            state = _TinyState(self.data, self._archive, changeable=True)
            yield state
            state.commit()

    def archived(self, request_id: str) -> tuple[Request, tuple[Machine, ...]] | None:
        """See `Store.archived`."""
        return self._archive.find(request_id)

    def archived_machines(self, words: Iterable[str]) -> Mapping[str, Machine]:
        """See `Store.archived_machines`."""
        return self._archive.machines(words)

    def check_writable(self) -> None:
        """See `Store.check_writable`."""
        refuse_foreign_owner(self.data)
        journal = self.data / JOURNAL_FOLDER
        make_private_folder(journal)
        # The next commits write both files anew before the old ones go.
        prove_room(self.data, _size(self.data / STORAGE_FILE) + _size(self.data / MACHINES_FILE) + _ROOM)
        prove_room(journal, _ROOM)


class _TinyState:
    """A view on both files. `storage.json` is read at once, `machines.json` later, when first asked for.

    Writers go the other way round, so that a reader always knows the machines that the requests name. What a death
    between the two has left is put right in the view, and with the next change on disk; a view that can be changed is
    therefore whole from the beginning.
    """

    def __init__(self, data: Path, archive: Archive, *, changeable: bool) -> None:
        self.version = _version(data)
        self._requests = Records(data / STORAGE_FILE, REQUESTS)
        self._data = data
        self._archive = archive
        self._changeable = changeable
        self._finished: dict[str, None] = {}  # a set that keeps its order
        self._requests.load()
        if changeable:
            _ = self._machines

    @cached_property
    def _machines(self) -> Records[Machine]:
        """The machines, with what a death between the files has left put right in both."""
        machines = Records(self._data / MACHINES_FILE, MACHINES)
        machines.load()
        self._mend(machines)
        return machines

    def _mend(self, machines: Records[Machine]) -> None:
        stored, known = self._requests.raw(), machines.raw()
        lost, strange = mending.needed(stored, known), mending.strangers(stored, known)
        if lost or strange:
            self._refuse_other_times(lost, strange)
        missing = mending.lacking(stored, known)
        self._requests.remove([key for key, ids in missing.items() if self._archive.has(key, ids)])
        for key, ids in mending.unnamed(stored, known).items():
            with suppress(StoreUntrusted):  # a record that can't be read stops those who ask for it
                request = self._requests.get(key)
                if request is not None:
                    self._requests.put(replace(request, machine_ids=(*request.machine_ids, *ids)))
        for key in self._unreturned(stored, known):
            with suppress(StoreUntrusted):
                machine = machines.get(key)
                if machine is not None:
                    machines.put(replace(machine, return_id=""))

    def _unreturned(self, stored: mending.Records, known: mending.Records) -> list[str]:
        """Name the machines whose return never came to be; one that this view is only too old to know, did."""
        keys = mending.unreturned(stored, known)
        fresh = Records(self._data / STORAGE_FILE, REQUESTS).raw() if keys else {}
        return [key for key in keys if known[key]["return_id"] not in fresh]

    def _refuse_other_times(self, lost: dict[str, list[str]], strange: dict[str, list[str]]) -> None:
        """Refuse files that are of different times, unless this view's requests are only older than its machines."""
        fresh = Records(self._data / STORAGE_FILE, REQUESTS).raw()
        needed = mending.needed({key: fresh[key] for key in lost if key in fresh}, ())
        gone = [name for key, ids in lost.items() for name in ids if name in needed.get(key, ())]
        if gone:
            count = f"{len(gone)} machine{'' if len(gone) == 1 else 's'}"
            what = f"lacks {count} that {STORAGE_FILE} names, as {gone[0]}"
            raise untrusted(self._data / MACHINES_FILE, what, hint=_OTHER_TIMES)
        unknown = [key for key in strange if key not in fresh and not self._archive.has(key, ())]
        if unknown:
            count = f"{len(unknown)} request{'' if len(unknown) == 1 else 's'}"
            what = f"lacks {count} whose machines {MACHINES_FILE} has, as {unknown[0]}"
            raise untrusted(self._data / STORAGE_FILE, what, hint=_OTHER_TIMES)

    @property
    def changed(self) -> bool:
        return self._requests.changed or self._machines.changed or any(map(self.request, self._finished))

    def request(self, request_id: str) -> Request | None:
        found = self._requests.get(request_id)
        if found is None:
            _ = self._machines  # which refuses a file of requests that lacks those of live machines
        return found

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
            if machine is not stored:
                self._machines.put(machine if stored is None else newer(stored, machine))

    def archive(self, request_ids: Iterable[str]) -> None:
        self._refuse_unless_changeable()
        self._finished.update(dict.fromkeys(request_ids))

    def commit(self) -> None:
        """Write what changed: archive, then machines, then requests, which is the commit."""
        self._changeable = False
        self._move_finished()
        changed = [records for records in (self._machines, self._requests) if records.apply()]
        if not changed:
            return
        from hfcore import lastwrite

        _remove_leftovers(self._data)
        with ExitStack() as stack:
            # Both are written before either takes its place: a full disk is met while nothing has changed yet.
            prepared = []
            for records in changed:
                prepared.append(records.prepare())
                stack.callback(prepared[-1].drop)
            if lastwrite.is_last_written(self._data):
                lastwrite.note(self._data, prepared)
            for new in prepared:
                new.put(keep_last=True)

    def _move_finished(self) -> None:
        finished = [request for request in map(self.request, self._finished) if request is not None]
        if not finished:
            return
        machines = self._all_machines_of(finished)
        self._archive.append((request, machines[request.request_id]) for request in finished)
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


def _version(data: Path) -> tuple[Identity, ...]:
    """Tell one content of the store from another: each change puts another file in the place of one of the two."""
    try:
        return tuple(identity_of(data / name) for name in (STORAGE_FILE, MACHINES_FILE))
    except OSError:  # whoever reads the file says why
        return ()


def _remove_leftovers(data: Path) -> None:
    """Remove the temporary files of processes that were killed; the lock is held, so they are nobody's."""
    for name in (STORAGE_FILE, MACHINES_FILE):
        for leftover in data.glob(f".{name}.*{TEMPORARY}"):
            remove_quietly(leftover)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise untrusted(path, f"can't be looked at: {error.strerror}") from error
