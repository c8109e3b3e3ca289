"""Own the repair of a store. It destroys nothing: what it can't use it keeps under another name.

It works on records as they are stored, since it is for stores that can't be opened.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfcore import lastwrite, mending
from hfcore.archive import Archive
from hfcore.errors import StoreUntrusted
from hfcore.files import (
    FILE_MODE,
    FOLDER_MODE,
    FileLock,
    NewFile,
    keep_version,
    last_of,
    not_writable,
    read_json,
    refuse_foreign_owner,
    remove_quietly,
    replace_file,
    untrusted,
)
from hfcore.journal import damaged_in
from hfcore.models import Machine, MachineStatus, RequestKind
from hfcore.records import (
    MACHINES,
    REQUESTS,
    decode_time,
    encode_machine,
    encode_time,
    format_records,
    parse_records,
    to_json,
)
from hfcore.storecheck import leftovers, place, shared, undecodable, what_is_wrong
from hfcore.storefolder import (
    ARCHIVE_FOLDER,
    JOURNAL_FOLDER,
    LOCK_FILE,
    MACHINES_FILE,
    META_FILE,
    RESTORED_AT,
    STORAGE_FILE,
    format_meta,
    is_of_other_schema,
    read_meta,
    refuse_if_absent,
    remove_unfinished,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from hfcore.records import Form

    Json = dict[str, Any]

LOST = "its record was lost: the cloud is asked about it at the next poll"
"""Message of a machine that a request names and of which nothing else is known any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One thing that a repair has done, or would do: where, and what, in words without a subject."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair has done, or would do; `set_aside` counts the records and lines that it took out of their files."""

    deeds: tuple[Deed, ...]
    set_aside: int


@dataclass(slots=True, kw_only=True)
class _Plan:
    """What a repair makes of a store.

    Args:
        records: The records as they will be, by the name of their file.
        restored: The names of the files that are taken from their copies; the bad ones are kept.
        changed: The names of the files that are written.
        archive: The new content of the archive's files that lose lines.
        aside: What is taken out of files, by their names.
        intents: The files of the journal that are put under another name.
        knows_less: Whether the cloud may have more afterwards than the records know of.
    """

    data: Path
    now: datetime
    meta: Json
    records: dict[str, dict[str, Json]] = field(default_factory=dict)
    restored: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    archive: dict[Path, bytes] = field(default_factory=dict)
    aside: dict[str, Any] = field(default_factory=dict)
    intents: list[Path] = field(default_factory=list)
    knows_less: bool = False
    deeds: list[Deed] = field(default_factory=list)

    def tell(self, where: str, what: str) -> None:
        self.deeds.append(Deed(where=where, what=what))


def repair(data: Path, *, now: datetime, lock_timeout: float, set_aside: bool, dry_run: bool) -> Repaired:
    """Put right what can be put right in a store's folder, under its locks; done again, it does nothing.

    Args:
        data: The folder.
        now: The time; it names what is kept and set aside.
        lock_timeout: Seconds to wait at most for each lock.
        set_aside: Also take single records that can't be used out of their files, into `set-aside-<time>.json`.
        dry_run: Change nothing, and tell what would be done.

    Raises:
        StoreUntrusted: There is no store, it is of another schema, or `meta.json` or `storage.json` has no good copy.
            Nothing was changed.
        StoreNotWritable: The folder belongs to another user, or can't be written.
        StoreLocked: A call holds a lock for too long.
    """
    refuse_if_absent(data)
    refuse_foreign_owner(data)
    with ExitStack() as stack:
        for lock in (data / LOCK_FILE, data / JOURNAL_FOLDER / ".lock"):
            if lock.parent.is_dir():
                stack.enter_context(FileLock(lock, lock_timeout))
        plan = _plan(data, now, set_aside=set_aside)
        private = [path for path, _ in shared(data)]
        left = list(leftovers(data, now))
        for path in private:
            plan.tell(place(path, data), f"made private: mode {_private_mode(path):04o}")
        for path in left:
            plan.tell(place(path, data), "removed: it was left of a process that has died")
        if not dry_run:
            _carry_out(plan)
            _tidy(private, left)
    return Repaired(deeds=tuple(plan.deeds), set_aside=sum(map(len, (*plan.aside.values(), plan.intents))))


def _plan(data: Path, now: datetime, *, set_aside: bool) -> _Plan:
    plan = _Plan(data=data, now=now, meta={})
    plan.meta = _good(plan, META_FILE, read_meta)
    for name in (STORAGE_FILE, MACHINES_FILE):
        plan.records[name] = _good(plan, name, lambda path: read_json(path, parse_records))
    _fit(plan)
    plan.knows_less = not plan.restored.isdisjoint(plan.records)
    if set_aside:
        _set_aside(plan, STORAGE_FILE, REQUESTS)
        _set_aside(plan, MACHINES_FILE, MACHINES)
        _set_aside_strangers(plan)
        _set_aside_lines(plan)
        _set_aside_intents(plan)
    _add_lost(plan)
    _mend(plan)
    if plan.knows_less:
        plan.meta[RESTORED_AT] = encode_time(now)
        plan.changed.add(META_FILE)
        plan.tell(META_FILE, f"marked with {RESTORED_AT}: the cloud may have what no record knows of")
    return plan


def _good(plan: _Plan, name: str, read: Callable[[Path], Json]) -> Json:
    """Read a file, or its copy if it can't be trusted."""
    path = plan.data / name
    try:
        return read(path)
    except StoreUntrusted as error:
        if name == META_FILE and is_of_other_schema(path):
            raise
        source = f"taken from {last_of(path).name}"
        try:
            found = read(last_of(path))
        except StoreUntrusted:
            if name != MACHINES_FILE:
                hint = f"nothing was changed; restore {name} from a backup"
                raise untrusted(path, f"can't be used, nor {last_of(path).name}: {error.message}", hint=hint) from error
            found, source = {}, f"made anew, since there is no good {last_of(path).name} either"
        reason = error.message
    _restore(plan, name, reason, source)
    return found


def _restore(plan: _Plan, name: str, reason: str, source: str) -> None:
    path = plan.data / name
    plan.restored.add(name)
    plan.changed.add(name)
    if path.exists():
        plan.tell(name, f"kept as {_bad(plan, path).name}: {reason}")
    plan.tell(name, source)


def _fit(plan: _Plan) -> None:
    """Take the copy of a file that can be read but is of another time than the other one, if the copy fits better."""
    requests, machines = plan.records[STORAGE_FILE], plan.records[MACHINES_FILE]
    if STORAGE_FILE not in plan.restored and _strangers(plan, requests, machines):
        _take_what_fits(plan, STORAGE_FILE)
    if MACHINES_FILE not in plan.restored and mending.needed(plan.records[STORAGE_FILE], machines):
        _take_what_fits(plan, MACHINES_FILE)


def _take_what_fits(plan: _Plan, name: str) -> None:
    def misfits(records: dict[str, dict[str, Json]]) -> int:
        requests, machines = records[STORAGE_FILE], records[MACHINES_FILE]
        wrong = (mending.needed(requests, machines), _strangers(plan, requests, machines))
        return sum(len(ids) for each in wrong for ids in each.values())

    copy = _copy_of(plan.data / name)
    if copy is not None and misfits(plan.records | {name: copy}) < misfits(plan.records):
        plan.records[name] = copy
        source = f"taken from {last_of(plan.data / name).name}"
        _restore(plan, name, "it is of another time than the other file", source)


def _strangers(plan: _Plan, requests: dict[str, Json], machines: dict[str, Json]) -> dict[str, list[str]]:
    archive = Archive(plan.data / ARCHIVE_FOLDER, month="")
    found = mending.strangers(requests, machines)
    return {key: ids for key, ids in found.items() if not archive.has(key, ())}


def _bad(plan: _Plan, path: Path) -> Path:
    return path.with_name(f"{path.name}.bad-{_stamp(plan.now)}")


def _stamp(now: datetime) -> str:
    return f"{now:%Y%m%dT%H%M%S.%fZ}"


def _set_aside_intents(plan: _Plan) -> None:
    """Put steps that can't be read under another name: their requests then end by what their tags show."""
    plan.intents = damaged_in(plan.data / JOURNAL_FOLDER)
    for path in plan.intents:
        plan.tell(place(path, plan.data), f"kept as {_bad(plan, path).name}: it can't be read")


def _set_aside(plan: _Plan, name: str, form: Form[Any]) -> None:
    """Take out the records that can't be read; those of the copy take their places, where it has them."""
    records, path = plan.records[name], plan.data / name
    bad = undecodable(records, form)
    copy = _copy_of(path) or {} if bad else {}
    for key, reason in bad.items():
        plan.aside.setdefault(name, {})[key] = records.pop(key)
        plan.changed.add(name)
        plan.knows_less = True
        plan.tell(name, f"set aside: {reason}")
        if key in copy and not undecodable({key: copy[key]}, form):
            records[key] = copy[key]
            plan.tell(name, f"{key} taken from {last_of(path).name}")


def _copy_of(path: Path) -> dict[str, Json] | None:
    try:
        return read_json(last_of(path), parse_records)
    except StoreUntrusted:
        return None


def _set_aside_strangers(plan: _Plan) -> None:
    """Take out the machines of requests that nothing knows of any more: with them the store can't be used."""
    machines = plan.records[MACHINES_FILE]
    for key, ids in _strangers(plan, plan.records[STORAGE_FILE], machines).items():
        for each in ids:
            plan.aside.setdefault(MACHINES_FILE, {})[each] = machines.pop(each)
            plan.tell(MACHINES_FILE, f"set aside: machine {each}: its request {key} is neither stored nor archived")
        plan.changed.add(MACHINES_FILE)
        plan.knows_less = True


def _set_aside_lines(plan: _Plan) -> None:
    kept: dict[Path, list[bytes]] = {}
    for line in Archive(plan.data / ARCHIVE_FOLDER, month="").lines():
        problem = what_is_wrong(line)
        if not problem:
            kept.setdefault(line.file, []).append(line.text)
            continue
        name = place(line.file, plan.data)
        plan.aside.setdefault(name, []).append(line.text.decode(errors="backslashreplace"))
        plan.archive[line.file] = b""
        plan.tell(name, f"set aside: line {line.number}: {problem}")
    for path in plan.archive:
        plan.archive[path] = b"".join(kept.get(path, ()))


def _add_lost(plan: _Plan) -> None:
    """Name each machine that is lost, and that a request needs or may need, as one of which only the id is known."""
    requests, machines = plan.records[STORAGE_FILE], plan.records[MACHINES_FILE]
    makers, returns = _naming(requests, RequestKind.CREATE), _naming(requests, RequestKind.RETURN)
    archive = Archive(plan.data / ARCHIVE_FOLDER, month="")
    just_now = MACHINES_FILE in plan.restored or MACHINES_FILE in plan.aside
    for key, missing in mending.lacking(requests, machines).items():
        if not mending.needs_machines(requests[key]) and not (just_now and not archive.has(key, missing)):
            continue
        for lost in missing:
            if lost not in makers or lost in machines:
                continue
            machine = Machine(
                instance_id=lost,
                request_id=makers[lost],
                status=MachineStatus.PENDING,
                observed_at=_created(requests[makers[lost]], plan.now),
                return_id=returns.get(lost, ""),
                message=LOST,
            )
            machines[lost] = encode_machine(machine)
            plan.changed.add(MACHINES_FILE)
            plan.knows_less = True
            plan.tell(MACHINES_FILE, f"machine {lost} added: request {key} names it, and {LOST}")


def _naming(requests: dict[str, Json], kind: RequestKind) -> dict[str, str]:
    """Give, by machine, the request of a kind that names it."""
    of_kind = {key: record for key, record in requests.items() if record.get("kind") == kind}
    return {name: key for key, record in of_kind.items() for name in mending.names(record)}


def _created(request: Json, now: datetime) -> datetime:
    try:
        return decode_time(request.get("created_at"))
    except ValueError:
        return now


def _mend(plan: _Plan) -> None:
    """Do what the next change of the store would do; see `hfcore.mending`."""
    requests, machines = plan.records[STORAGE_FILE], plan.records[MACHINES_FILE]
    archive = Archive(plan.data / ARCHIVE_FOLDER, month="")
    for key, missing in mending.lacking(requests, machines).items():
        if not mending.needs_machines(requests[key]) and archive.has(key, missing):
            del requests[key]
            plan.changed.add(STORAGE_FILE)
            plan.tell(STORAGE_FILE, f"request {key} taken out: the archive has it, with its machines")
    for key, ids in mending.unnamed(requests, machines).items():
        requests[key]["machine_ids"] = [*mending.names(requests[key]), *ids]
        plan.changed.add(STORAGE_FILE)
        plan.tell(STORAGE_FILE, f"request {key} names its machines again: {', '.join(ids)}")
    for key in mending.unreturned(requests, machines):
        return_id = machines[key].pop("return_id")
        plan.changed.add(MACHINES_FILE)
        plan.tell(MACHINES_FILE, f"machine {key} is not returned any more: {return_id} was never stored")


def _carry_out(plan: _Plan) -> None:
    """Write it all: what is kept and set aside first, then the mark, then the files in the order of every change."""
    for path in (plan.data / name for name in sorted(plan.restored)):
        if path.exists():
            _keep_bad(plan, path, keep_version)
    for path in plan.intents:
        _keep_bad(plan, path, Path.rename)
    if plan.aside:
        replace_file(plan.data / f"set-aside-{_stamp(plan.now)}.json", (to_json(plan.aside) + "\n").encode())
    if META_FILE in plan.changed:
        _write_meta(plan.data, plan.meta)
    for path, content in plan.archive.items():
        replace_file(path, content)
    changed = [name for name in (MACHINES_FILE, STORAGE_FILE) if name in plan.changed]
    prepared = [NewFile(plan.data / name, format_records(plan.records[name], {}).encode()) for name in changed]
    if lastwrite.is_last_written(plan.data):
        lastwrite.note(plan.data, prepared)
    for new in prepared:
        new.put(keep_last=new.path.name not in plan.restored)


def trust(data: Path, *, lock_timeout: float) -> None:
    """Take a person's word for it that the records here are complete, and that no other instance has their owner.

    Raises:
        StoreUntrusted: There is no store, or it can't be used.
        StoreNotWritable: The folder belongs to another user, or can't be written.
        StoreLocked: A call holds the lock for too long.
    """
    refuse_if_absent(data)
    refuse_foreign_owner(data)
    with FileLock(data / LOCK_FILE, lock_timeout):
        meta = read_meta(data / META_FILE)
        for name in (STORAGE_FILE, MACHINES_FILE):
            read_json(data / name, parse_records)
        if RESTORED_AT in meta:
            _write_meta(data, {key: value for key, value in meta.items() if key != RESTORED_AT})
        lastwrite.note(data)


def _write_meta(data: Path, meta: Json) -> None:
    for path in (last_of(data / META_FILE), data / META_FILE):
        replace_file(path, format_meta(meta))


def _keep_bad(plan: _Plan, path: Path, keep: Callable[[Path, Path], object]) -> None:
    try:
        keep(path, _bad(plan, path))
    except OSError as error:
        raise not_writable(_bad(plan, path), error) from error


def _private_mode(path: Path) -> int:
    return FOLDER_MODE if path.is_dir() else FILE_MODE


def _tidy(private: list[Path], left: list[Path]) -> None:
    for path in private:
        try:
            path.chmod(_private_mode(path))
        except FileNotFoundError:  # what it was has been replaced, privately
            continue
        except OSError as error:
            raise not_writable(path, error) from error
    for path in left:
        if path.is_dir():
            remove_unfinished(path)
        else:
            remove_quietly(path)
