"""Own what `hfcore doctor` looks at on this host: Python, plug-ins, folders, file system, store. Knows no cloud.

Each function makes one row, or one for each thing; nothing is changed but a file of its own that is removed again.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hfcore import storecheck
from hfcore.errors import HfcoreError, StoreError, StoreLocked, StoreUntrusted
from hfcore.files import FileLock, remove_quietly, temporary_path
from hfcore.journal import IntentFolder, is_dead
from hfcore.lastwrite import may_lack
from hfcore.models import Check, Severity
from hfcore.plugins import PluginStatus
from hfcore.store import open_store
from hfcore.storefolder import JOURNAL_FOLDER, LOCK_FILE, is_there
from hfcore.usage import not_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hfcore.context import Clock, Intent
    from hfcore.models import CheckStatus, Problem, Request
    from hfcore.plugins import PluginRecord

OLDEST_PYTHON: Final = (3, 11)
DISTRIBUTIONS: Final = ("hfcore", "pluggy", "tinydb", "typer", "rich", "pydantic")
OF_EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {"hfcore[aws]": ("boto3", "botocore")}

_NETWORKS = """9p afs beegfs ceph cifs fuse.glusterfs fuse.sshfs glusterfs gpfs lustre nfs nfs4 panfs smb3 smbfs"""
NETWORK_FILE_SYSTEMS: Final = frozenset(_NETWORKS.split())
_MOUNT_POINT, _SEPARATOR = 4, " - "
_LOCK_PATIENCE = 2.0
_PYC_HEADER = 16
# Takes the lock without waiting; exit code 0 where that went well.
_TAKE: Final = """\
import sys
from pathlib import Path
from hfcore.files import FileLock
with FileLock(Path(sys.argv[1]), 0):
    pass
"""
_SHARED: Final = stat.S_IRWXG | stat.S_IRWXO
_STATES: Final[Mapping[PluginStatus, CheckStatus]] = {
    PluginStatus.ACTIVE: "ok",
    PluginStatus.DISABLED: "not checked",
    PluginStatus.FAILED: "error",
    PluginStatus.INCOMPATIBLE: "error",
    PluginStatus.CONFLICT: "error",
}
_EMPTY_STORE = "nothing is stored yet: the first call of Host Factory makes the store"


def python(version: tuple[int, ...], executable: str) -> Check:
    """Judge the interpreter."""
    told = f"{'.'.join(map(str, version[:3]))}, {executable}"
    if version[:2] >= OLDEST_PYTHON:
        return Check(name="Python", status="ok", message=told)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Check(name="Python", status="error", message=told, hint=f"install hfcore into Python {oldest} or newer")


def versions(plugins: Iterable[str]) -> Check:
    """Name the distributions in use; one that is missing makes something fail.

    Args:
        plugins: The distributions of the installed plug-ins, with whose extras of hfcore more is needed.
    """
    asked = [text for plugin in plugins for text in metadata.requires(plugin) or ()]
    extras = (names for extra, names in OF_EXTRAS.items() if any(text.startswith(extra) for text in asked))
    found, missing = [], []
    for name in (*DISTRIBUTIONS, *(name for names in extras for name in names)):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if not missing:
        return Check(name="distributions", status="ok", message=", ".join(found))
    told = f"not installed: {', '.join(missing)}; there are {', '.join(found)}"
    return Check(name="distributions", status="warning", message=told, hint="pip install 'hfcore[aws]'")


def byte_code(sources: Iterable[Path]) -> Check:
    """Tell whether modules are compiled: what is not, each short call of Host Factory's compiles anew."""
    files = list(sources)
    stale = sorted(path for path in files if not _is_compiled(path))
    if not stale:
        return Check(name="byte code", status="ok", message=f"all {len(files)} modules are compiled")
    told = f"{len(stale)} of {len(files)} modules are not compiled, or were changed since, as {stale[0]}"
    folders = " ".join(sorted({str(path.parent) for path in stale}))
    hint = f"as their owner: {sys.executable} -m compileall -q {folders}"
    return Check(name="byte code", status="warning", message=told, hint=hint)


def _is_compiled(source: Path) -> bool:
    try:
        header = Path(cache_from_source(str(source))).read_bytes()[:_PYC_HEADER]
        about = source.stat()
    except OSError:
        return False
    flags, changed, size = (int.from_bytes(header[at : at + 4], "little") for at in (4, 8, 12))
    return bool(flags) or (changed, size) == (int(about.st_mtime) & 0xFFFFFFFF, about.st_size & 0xFFFFFFFF)


def plugins(records: Iterable[PluginRecord]) -> Iterator[Check]:
    """Give a row for each installed plug-in."""
    rows = list(records)
    for row in rows:
        who = f"{row.candidate.distribution} {row.candidate.version}"
        told = f"{who}: {row.reason}" if row.reason else who
        status = _STATES[row.status]
        hint = "see: hfcore plugins list" if status == "error" else ""
        yield Check(name=f"plug-in {row.candidate.name}", status=status, message=told, hint=hint)
    if not rows:
        hint = "pip install hfcore-aws-runinstances"
        yield Check(name="plug-ins", status="error", message="none is installed", hint=hint)


def folder(name: str, path: Path, origin: str, *, writes: bool, user: int) -> Check:
    """Judge a folder of the instance: there, ours, with the rights that a call needs, and nobody else's to write.

    Args:
        name: What it is, such as `work`.
        path: The folder.
        origin: Where its path comes from.
        writes: Whether calls write there.
        user: The user id of this process, which is to be Host Factory's.
    """
    name, where = f"folder {name}", f"{path} (from {origin})"
    if not path.is_dir():
        what = "is no folder" if path.exists() else "is missing"
        return Check(name=name, status="error", message=f"{where} {what}", hint="hfcore init, or correct the path")
    about = path.stat()
    needed = os.R_OK | os.X_OK | (os.W_OK if writes else 0)
    if writes and about.st_uid != user:
        told = f"{where} belongs to user {about.st_uid}, this is user {user}"
        hint = "run as the user of Host Factory: sudo -u USER hfcore doctor; or chown the folder"
        return Check(name=name, status="error", message=told, hint=hint)
    if not os.access(path, needed):
        right = "written" if writes else "read"
        return Check(name=name, status="error", message=f"{where} can't be {right}", hint=f"chmod u+rwx {path}")
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        told = f"{where} may be written by others: mode {stat.S_IMODE(about.st_mode):04o}"
        return Check(name=name, status="warning", message=told, hint=f"chmod go-w {path}")
    return Check(name=name, status="ok", message=where)


def credential_file(path: Path) -> Check:
    """Judge the rights of the file that holds credentials; its content is not looked at."""
    name = "credential file"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        path.open("rb").close()
    except OSError as error:
        hint = "correct the setting `credential_file`, or let the user that runs hfcore read it"
        return Check(name=name, status="error", message=f"{path} can't be read: {error.strerror}", hint=hint)
    if mode & _SHARED and sys.platform != "win32":
        told = f"{path} may be used by others: mode {mode:04o}"
        return Check(name=name, status="warning", message=told, hint=f"chmod 600 {path}")
    return Check(name=name, status="ok", message=str(path))


def file_system(path: Path, mounts: str) -> Check:
    """Name the kind of file system of a folder by the content of `/proc/self/mountinfo` (proc(5)); empty is unknown."""
    name, kind, best = "file system", "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(_SEPARATOR)
        point = before.split()[_MOUNT_POINT].encode("latin-1", "replace").decode("unicode_escape")
        if len(point) >= len(best) and path.is_relative_to(point):
            best, kind = point, after.split()[0]
    if not kind:
        return Check(name=name, status="not checked", message="this system does not say what kind it is")
    if kind in NETWORK_FILE_SYSTEMS:
        told = f"{path} is on {kind}, a network file system: calls depend on its locks and its speed"
        return Check(name=name, status="warning", message=told, hint="put the work folder on a disk of this host")
    return Check(name=name, status="ok", message=f"{path} is on {kind}")


def take_elsewhere(lock: Path) -> bool:
    """Let another process try to take a lock; tell whether it got it."""
    command = [sys.executable, "-P", "-c", _TAKE, str(lock)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - our own interpreter


def locking(place: Path, elsewhere: Callable[[Path], bool] = take_elsewhere) -> Check:
    """Test on a file of its own that a lock keeps another process out while it is held, and no longer."""
    name, probe = "locking", temporary_path(place / "doctor")
    try:
        with FileLock(probe, 0):
            kept_out = not elsewhere(probe)
        let_in = elsewhere(probe)
    except HfcoreError as error:
        return Check(name=name, status="error", message=str(error), hint=error.hint)
    finally:
        remove_quietly(probe)
    if kept_out and let_in:
        return Check(name=name, status="ok", message="a lock keeps another process out")
    told = "a lock that is held keeps nobody out" if let_in else "a lock can't be taken by another process at all"
    hint = "put the work folder on a file system with locks: a local disk, or NFS with its lock service"
    return Check(name=name, status="error", message=f"{place}: {told}", hint=hint)


def log(trouble: str) -> Check:
    """Judge the log, by what `hfcore.logs.log_trouble` says of it."""
    if trouble:
        return Check(name="log", status="warning", message=trouble, hint="let the user that runs hfcore write there")
    return Check(name="log", status="ok", message="can be written")


def settings(warnings: Iterable[str]) -> Iterator[Check]:
    """Give what is odd in the settings files, or that nothing is."""
    odd = [Check(name="settings", status="warning", message=one, hint="hfcore config show") for one in warnings]
    yield from odd or [Check(name="settings", status="ok", message="nothing is odd")]


def store(data: Path, clock: Clock) -> Check:
    """Judge all that is stored, by `hfcore.storecheck`, whether more can be, and whether it is what was stored last."""
    try:
        if not is_there(data):
            return Check(name="store", status="not checked", message=_EMPTY_STORE)
        report = storecheck.check(data, clock=clock)
        if not report.findings:
            open_store(data, now=clock.now()).check_writable()
    except StoreError as error:
        return Check(name="store", status="error", message=str(error), hint=error.hint)
    if not report.findings and may_lack(data):
        told = "the records may be an older copy, or not the only ones: what the cloud has more stays as it is"
        return Check(name="store", status="warning", message=told, hint="hfcore reconcile --dry-run")
    if not report.findings:
        told = f"{report.requests} requests, {report.machines} machines, {report.archived} archived"
        return Check(name="store", status="ok", message=told)
    first = report.findings[0]
    where = " ".join(part for part in (first.where, first.what) if part)
    told = f"{len(report.findings)} wrong, as {where}: {first.problem}"
    return Check(name="store", status="error", message=told, hint="hfcore store check")


def accounts(data: Path, clock: Clock) -> dict[str, Counter[str]]:
    """Count the stored requests that are not over, for each cloud by account; none where the store can't be read."""
    found: dict[str, Counter[str]] = {}
    for request in _not_over(data, clock):
        if request.account_id:
            found.setdefault(request.cloud, Counter())[request.account_id] += 1
    return found


def lacking_plugins(data: Path, clock: Clock, records: Iterable[PluginRecord]) -> Iterator[Check]:
    """Give a row for each plug-in that stored requests need which are not over, and that is not installed any more."""
    there = {name.casefold() for row in records for name in (row.candidate.name, *row.aliases)}
    needed = ((one.provider_api, one.distribution) for one in _not_over(data, clock) if one.provider_api)
    for (api, distribution), count in Counter(needed).items():
        if api.casefold() not in there:
            told = f"{count} stored request{'s need' if count > 1 else ' needs'} it, and it is not installed"
            hint = f"pip install {distribution}" if distribution else "install it"
            yield Check(name=f"plug-in {api}", status="error", message=told, hint=hint)


def _not_over(data: Path, clock: Clock) -> Iterator[Request]:
    with suppress(StoreError, OSError):  # the store has a row of its own
        if not is_there(data):
            return
        yield from not_over(open_store(data, now=clock.now()).read())


def store_lock(data: Path, patience: float = _LOCK_PATIENCE) -> Check:
    """Tell whether the store's lock can be had."""
    name, lock = "store lock", data / LOCK_FILE
    if not lock.exists():
        return Check(name=name, status="not checked", message=_EMPTY_STORE)
    try:
        with FileLock(lock, patience, named=False):
            return Check(name=name, status="ok", message="is free")
    except StoreLocked as error:
        return Check(name=name, status="warning", message=str(error), hint=error.hint)
    except HfcoreError as error:
        return Check(name=name, status="error", message=str(error), hint=error.hint)


def journal(data: Path, clock: Clock, foreign_after: float) -> Check:
    """Count the intents whose process died before AWS's answer was stored: the next call goes on with them."""
    name, folder_ = "journal", IntentFolder(data / JOURNAL_FOLDER, owner="", clock=clock)
    try:
        steps = [step for request_id in folder_.requests() for step in folder_.steps(request_id)]
    except StoreUntrusted as error:
        return Check(name=name, status="error", message=str(error), hint=error.hint or "hfcore store check")
    left = [step for step in steps if step.outcome is None and _is_left(step, clock, foreign_after)]
    if not left:
        return Check(name=name, status="ok", message=f"{len(steps)} steps, none left by a dead process")
    oldest = min(left, key=lambda step: step.begun_at)
    told = (
        f"{len(left)} left by processes that died, as {oldest.call} of {oldest.request_id} at {oldest.begun_at:%F %T}Z"
    )
    hint = f"the next getRequestStatus goes on with them: hfcore hostfactory getRequestStatus {oldest.request_id}"
    return Check(name=name, status="warning", message=told, hint=hint)


def _is_left(step: Intent, clock: Clock, foreign_after: float) -> bool:
    return is_dead(step.process, begun_at=step.begun_at, now=clock.now(), foreign_after=foreign_after)


def templates(problems: Iterable[Problem], usable: int) -> Iterator[Check]:
    """Give what is wrong in the template files, and how many templates Host Factory is offered."""
    for one in problems:
        status: CheckStatus = "error" if one.severity is Severity.ERROR else "warning"
        place = ": ".join(part for part in (one.source, one.template_id, one.field) if part)
        hint = one.hint or "hfcore templates validate"
        yield Check(name="template files", status=status, message=f"{place}: {one.message}", hint=hint)
    if usable:
        yield Check(name="template files", status="ok", message=f"{usable} can be used")
    else:
        hint = "correct the template files: hfcore templates validate"
        yield Check(name="template files", status="error", message="no template can be used", hint=hint)
