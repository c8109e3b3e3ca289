"""Own what can be wrong with a store's folder: reads all of it, and changes nothing."""

from __future__ import annotations

import stat
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from hfcore import mending
from hfcore.archive import Archive, decode_entry, id_of
from hfcore.errors import StoreUntrusted
from hfcore.files import TEMPORARY, last_of, read_json
from hfcore.journal import IntentFolder
from hfcore.models import MachineStatus
from hfcore.records import MACHINES, REQUESTS, parse_records
from hfcore.storefolder import (
    ARCHIVE_FOLDER,
    JOURNAL_FOLDER,
    MACHINES_FILE,
    META_FILE,
    RESTORED_AT,
    STORAGE_FILE,
    is_of_other_schema,
    read_meta,
    refuse_if_absent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from hfcore.archive import Line
    from hfcore.context import Clock
    from hfcore.records import Form

    Json = dict[str, Any]

REPAIR: Final = "`hfcore store repair` puts it right"
BY_ITSELF: Final = f"the next change of the store puts it right, or now: {REPAIR}"
SET_ASIDE: Final = "correct it by hand, or `hfcore store repair --yes` sets it aside into a file of its own"

LACKS: Final = f"{STORAGE_FILE} lacks requests that it, or {MACHINES_FILE}, named before the last change"

_NEW_META: Final = """write it: {"schema": 1, "owner": "…"}, with what a machine has as its tag hfcore:owner"""
_STRANGER: Final = (
    f"{STORAGE_FILE} of the same time knows it; without that, `hfcore store repair --yes` sets the machine aside: "
    "the cloud has it under the tag hfcore:owner"
)
_LEFT_AFTER: Final = timedelta(minutes=1)
_SHARED: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Args:
        where: The file, seen from the store's folder; empty for the folder itself.
        what: The object: `request req-…`, `machine i-…`, `line 3`; empty for the file as a whole.
        problem: What is wrong with it.
        remedy: What to do about it.
    """

    where: str
    what: str = ""
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check has found.

    Args:
        requests: Number of requests in `storage.json` that were read; so for the others.
        restored_at: When a repair took back an older copy, as `meta.json` has it; empty if none did.
    """

    findings: tuple[Finding, ...]
    requests: int
    machines: int
    archived: int
    restored_at: str


def check(data: Path, *, clock: Clock) -> Report:
    """Read everything in a store's folder: files, records, intents, archive, modes and owners; and compare them.

    Raises:
        StoreUntrusted: There is no such folder, or it can't be looked at.
    """
    refuse_if_absent(data)
    first = _look(data, clock)
    if not first.findings:
        return first
    # What is between two files only while another call moves it is not seen twice.
    second = _look(data, clock)
    return replace(second, findings=tuple(one for one in second.findings if one in first.findings))


def _look(data: Path, clock: Clock) -> Report:
    findings = [*_access(data), *_left(data, clock.now())]
    meta = _meta(findings, data / META_FILE)
    if is_of_other_schema(data / META_FILE):
        return Report(findings=tuple(findings), requests=0, machines=0, archived=0, restored_at="")
    # The other way round than they are written: what was written first is there when it is looked for.
    intents = [*_intents(data, clock)]
    requests = _hot(findings, data / STORAGE_FILE, "request", REQUESTS)
    machines = _hot(findings, data / MACHINES_FILE, "machine", MACHINES)
    archived = _archived(findings, data)
    findings += (finding for _, finding in intents if finding)
    if requests is not None and machines is not None:
        findings += _requests_against(requests, machines, archived)
        findings += _machines_against(requests, machines, archived)
        findings += _intents_against([key for key, _ in intents if key not in requests], archived)
    return Report(
        findings=tuple(findings),
        requests=len(requests or ()),
        machines=len(machines or ()),
        archived=len(archived),
        restored_at=str(meta.get(RESTORED_AT, "")),
    )


def undecodable(records: Mapping[str, Json], form: Form[Any]) -> dict[str, str]:
    """Give the keys of the records that can't be read, each with the reason."""
    found = {}
    for key, record in records.items():
        try:
            form.decode(key, record)
        except StoreUntrusted as error:
            found[key] = error.message
    return found


def what_is_wrong(line: Line) -> str:
    """Say what is wrong with a line of the archive; empty if nothing is."""
    if id_of(line.text) is None:
        return "is cut, or is no record of a request"
    try:
        decode_entry(line.text)
    except StoreUntrusted as error:
        return error.message
    return ""


def taken_out(data: Path) -> list[str]:
    """Name the requests that the versions before the last change name, and that are nowhere any more.

    hfcore takes none out but into the archive: an emptied file, say, is a person's work.
    """
    machines, before = _copy(data / MACHINES_FILE), _copy(data / STORAGE_FILE)
    requests = read_json(data / STORAGE_FILE, parse_records)  # read after its copy, as the archive is after it
    gone = {*before, *mending.strangers(requests, machines)} - requests.keys()
    lines = Archive(data / ARCHIVE_FOLDER, month="").lines() if gone else ()
    return sorted(gone.difference(id_of(line.text) for line in lines))


def _copy(path: Path) -> Json:
    try:
        return read_json(last_of(path), parse_records)
    except StoreUntrusted:
        return {}


def leftovers(data: Path, now: datetime) -> Iterator[Path]:
    """Give the temporary files and folders of processes that have died, in the store's folder and beside it."""
    names = (f".*{TEMPORARY}", f"{JOURNAL_FOLDER}/.*{TEMPORARY}", f"{ARCHIVE_FOLDER}/.*{TEMPORARY}")
    beside = data.parent.glob(f".{data.name}.*{TEMPORARY}")
    for path in sorted((*(found for name in names for found in data.glob(name)), *beside)):
        try:
            age = now.timestamp() - path.lstat().st_mtime
        except FileNotFoundError:  # its process lives, and is done with it
            continue
        if age > _LEFT_AFTER.total_seconds():
            yield path


def shared(data: Path) -> Iterator[tuple[Path, int]]:
    """Give the files and folders that others than the owner may use, each with its mode."""
    for path in (data, *sorted(data.rglob("*"))) if sys.platform != "win32" else ():
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if mode & _SHARED and not stat.S_ISLNK(mode):
            yield path, stat.S_IMODE(mode)


def place(path: Path, data: Path) -> str:
    """Name a file as it is seen from the store's folder."""
    return str(path.relative_to(data)) if path.is_relative_to(data) and path != data else str(path)


def _access(data: Path) -> Iterator[Finding]:
    for path, mode in shared(data):
        yield Finding(where=place(path, data), problem=f"others may use it: mode {mode:04o}", remedy=REPAIR)
    owner = data.lstat().st_uid
    for path in sorted(data.rglob("*")):
        try:
            other = path.lstat().st_uid
        except FileNotFoundError:
            continue
        if other != owner:
            problem = f"belongs to user {other}, the folder to user {owner}"
            yield Finding(where=place(path, data), problem=problem, remedy=f"as root: chown {owner} {path}")


def _left(data: Path, now: datetime) -> Iterator[Finding]:
    for path in leftovers(data, now):
        yield Finding(where=place(path, data), problem="is left of a process that has died", remedy=REPAIR)


def _meta(findings: list[Finding], path: Path) -> Json:
    try:
        return read_meta(path)
    except StoreUntrusted as error:
        remedy = error.hint
        if not is_of_other_schema(path):
            remedy = f"{REPAIR}, by {last_of(path).name}" if _is_good_meta(last_of(path)) else _NEW_META
        findings.append(Finding(where=path.name, problem=error.message, remedy=remedy))
        return {}


def _is_good_meta(path: Path) -> bool:
    try:
        read_meta(path)
    except StoreUntrusted:
        return False
    return True


def _hot(findings: list[Finding], path: Path, noun: str, form: Form[Any]) -> Json | None:
    try:
        records: Json = read_json(path, parse_records)
    except StoreUntrusted as error:
        copy, remedy = last_of(path), f"{REPAIR}, by {last_of(path).name}"
        if _copy_is_bad(copy):
            anew = f"{REPAIR}, by asking the cloud about the machines that requests name"
            remedy = anew if form is MACHINES else f"there is no good {copy.name}: restore it from a backup"
        findings.append(Finding(where=path.name, problem=error.message, remedy=remedy))
        return None
    for key, reason in undecodable(records, form).items():
        findings.append(Finding(where=path.name, what=f"{noun} {key}", problem=reason, remedy=SET_ASIDE))
    return records


def _copy_is_bad(copy: Path) -> bool:
    try:
        read_json(copy, parse_records)
    except StoreUntrusted:
        return True
    return False


def _archived(findings: list[Finding], data: Path) -> frozenset[str]:
    ids = set()
    try:
        for line in Archive(data / ARCHIVE_FOLDER, month="").lines():
            ids.add(id_of(line.text) or "")
            problem = what_is_wrong(line)
            if problem:
                where, what = place(line.file, data), f"line {line.number}"
                findings.append(Finding(where=where, what=what, problem=problem, remedy=SET_ASIDE))
    except StoreUntrusted as error:
        findings.append(Finding(where=ARCHIVE_FOLDER, problem=error.message, remedy="make it readable"))
    return frozenset(ids - {""})


def _requests_against(
    requests: Mapping[str, Json], machines: Mapping[str, Json], archived: frozenset[str]
) -> Iterator[Finding]:
    for key, missing in mending.lacking(requests, machines).items():
        needed = mending.needs_machines(requests[key])
        if needed or key not in archived:
            problem = f"names {len(missing)} that {MACHINES_FILE} lacks, as {missing[0]}"
            remedy = "`hfcore store repair` lets the cloud be asked about them" if needed else "nothing: it is over"
        else:
            problem, remedy = "is in the archive too, with its machines, after a death while it was moved", BY_ITSELF
        yield Finding(where=STORAGE_FILE, what=f"request {key}", problem=problem, remedy=remedy)
    for key in sorted(archived & requests.keys() - mending.lacking(requests, machines).keys()):
        problem, remedy = "is in the archive too, after a death while it was moved", "`hfcore store trim` moves it"
        yield Finding(where=STORAGE_FILE, what=f"request {key}", problem=problem, remedy=remedy)


def _machines_against(
    requests: Mapping[str, Json], machines: Mapping[str, Json], archived: frozenset[str]
) -> Iterator[Finding]:
    for key, ids in mending.unnamed(requests, machines).items():
        for each in ids:
            problem = f"its request {key} does not name it, after a death between the two files"
            yield _of_machine(each, problem, BY_ITSELF)
    for each in mending.unreturned(requests, machines):
        yield _of_machine(each, f"its return {machines[each]['return_id']} was never stored", BY_ITSELF)
    named = {name for request in requests.values() for name in mending.names(request)}
    for key, machine in machines.items():
        maker, back = str(machine.get("request_id", "")), str(machine.get("return_id") or "")
        if maker not in requests and maker not in archived:
            yield _of_machine(key, f"its request {maker} is neither stored nor archived", _STRANGER)
        elif maker not in requests and key not in named:
            remedy = "see whether it still runs, and end it if so"
            yield _of_machine(key, f"its request {maker} is over, and in the archive", remedy)
        gone = machine.get("status") == MachineStatus.TERMINATED
        if back and back not in requests and back not in archived and gone:
            yield _of_machine(key, f"its return {back} is neither stored nor archived", "nothing: it is gone")


def _of_machine(key: str, problem: str, remedy: str) -> Finding:
    return Finding(where=MACHINES_FILE, what=f"machine {key}", problem=problem, remedy=remedy)


def _intents(data: Path, clock: Clock) -> Iterator[tuple[str, Finding | None]]:
    """Read all intents; give the id of each request that has any, with what is wrong with them."""
    journal = IntentFolder(data / JOURNAL_FOLDER, owner="", clock=clock)
    try:
        request_ids = sorted(journal.requests())
    except StoreUntrusted as error:
        yield "", Finding(where=JOURNAL_FOLDER, problem=error.message, remedy="make it readable")
        return
    for key in request_ids:
        try:
            journal.steps(key)
        except StoreUntrusted as error:
            remedy = f"`hfcore store repair --yes` moves the file away; see what has the tag hfcore:request-id={key}"
            yield key, Finding(where=JOURNAL_FOLDER, what=f"steps of {key}", problem=error.message, remedy=remedy)
        else:
            yield key, None


def _intents_against(unknown: list[str], archived: frozenset[str]) -> Iterator[Finding]:
    for key in filter(None, unknown):
        problem = "its request is in the archive" if key in archived else "no request of this id is stored"
        remedy = f"see what has the tag hfcore:request-id={key}, end it, and remove the files"
        yield Finding(where=JOURNAL_FOLDER, what=f"steps of {key}", problem=problem, remedy=remedy)
