"""Own the intents on disk around each mutating cloud call, and the names of the processes that wrote them.

What to do with an intent whose process is dead is the core's business.
"""

from __future__ import annotations

import os
import re
import sys
import zlib
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from json import JSONEncoder, loads
from typing import TYPE_CHECKING, Any, Final

from hfcore.context import Intent
from hfcore.errors import StoreError, StoreLocked, StoreUntrusted
from hfcore.files import (
    FileLock,
    Patience,
    make_private_folder,
    not_writable,
    read_json,
    refuse_foreign_owner,
    replace_file,
    sync_folder,
    untrusted,
)
from hfcore.records import decode_time, encode_time, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from hfcore.context import Clock

_LOCK_FILE: Final = ".lock"
_END: Final = ".json"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]+")  # no dot: the first dot of a file name ends the request's id
_STEP: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_LONGEST_STEP: Final = 160
_KEPT_OF_STEP: Final = 80
_CLAIMS: Final = 256

HUNG_AFTER: Final = timedelta(minutes=10)
"""So long no call takes: Host Factory ends it after 5 minutes, and itself it is bounded to less."""

_TEXTS: Final = ("request_id", "step", "call", "token", "process")


class IntentFolder:
    """The `hfcore.context.Journal` on a folder: one file an intent, `<request_id>.<step>.json`. Safe between processes.

    Args:
        folder: The folder, `data/journal`; made when first needed.
        owner: The store's owner id, a part of each token.
        clock: Gives `begun_at`.
        lock_timeout: Seconds to wait at most for another process that is writing an intent.
    """

    def __init__(self, folder: Path, *, owner: str, clock: Clock, lock_timeout: float = 60.0) -> None:
        self._folder = folder
        self._owner = owner
        self._clock = clock
        self._patience = Patience(lock_timeout)

    def begin(
        self, request_id: str, step: str, call: str, parameters: Mapping[str, Any], *, repeatable: bool = False
    ) -> Intent:
        """Write down, synced, that `call` is about to be sent with `parameters`; or give the step begun before.

        A step found open is the caller's from now on, with the parameters and the token of then. `begun_at` then is
        written anew, and given as it was.

        Raises:
            StoreNotWritable: Nothing was written: the call must not be sent.
            StoreUntrusted: The step's file is unreadable; it is left as it is.
            StoreError: The parameters are not JSON values, or a name can't be a file's.
        """
        path = self._path(request_id, step)
        with self._writing():
            if path.exists():
                return self._take_over(_read(path))
            intent = Intent(
                request_id=request_id,
                step=step,
                call=call,
                parameters=_plain(parameters, f"parameters of {call} for {request_id}"),
                token=_token(self._owner, request_id, step),
                begun_at=self._clock.now(),
                process=this_process(),
                repeatable=repeatable,
            )
            _write(path, intent)
        return intent

    def done(self, intent: Intent, outcome: Mapping[str, Any]) -> Intent:
        """Write down what the cloud answered.

        Raises:
            StoreNotWritable: The intent stays open.
            StoreError: The outcome is not JSON values.
        """
        told = _plain(outcome, f"outcome of {intent.call} for {intent.request_id}")
        closed = replace(intent, outcome=told, done_at=self._clock.now())
        with self._writing():
            _write(self._path(intent.request_id, intent.step), closed)
        return closed

    def drop(self, intent: Intent) -> None:
        """Take back an intent of which the cloud has made nothing, so that it may be begun anew.

        Raises:
            StoreNotWritable: The intent stays.
        """
        path = self._path(intent.request_id, intent.step)
        with self._writing():
            self._remove([path])

    def steps(self, request_id: str) -> tuple[Intent, ...]:
        """Give all steps of a request, oldest first, open and done.

        Raises:
            StoreUntrusted: A file of the request is unreadable.
        """
        intents = filter(None, map(_read_if_there, self._paths(request_id)))
        return tuple(sorted(intents, key=lambda intent: (intent.begun_at, intent.step)))

    def forget(self, request_id: str) -> None:
        """Remove all steps of a request, once their outcomes are stored in the request.

        Raises:
            StoreUntrusted: A file of the request is unreadable: none is removed.
            StoreNotWritable: A file can't be removed.
        """
        if not self._paths(request_id):
            return
        with self._writing():
            paths = self._paths(request_id)
            for path in paths:
                _read(path)
            self._remove([*paths, *self._folder.glob(f".{request_id}.*")])

    def requests(self) -> frozenset[str]:
        """Give the ids of the requests that have steps, without reading these.

        Raises:
            StoreUntrusted: The folder can't be read.
        """
        return begun_in(self._folder)

    def claims(self) -> Claims:
        """Give what keeps two calls from going on with one request at the same time."""
        return Claims(self._folder)

    def _path(self, request_id: str, step: str) -> Path:
        if not _REQUEST_ID.fullmatch(request_id) or not step:
            raise StoreError(
                f"the journal can't hold step {step!r} of request {request_id!r}",
                hint="a request id is letters, digits, - and _; a step has a name",
            )
        return self._folder / f"{request_id}.{_file_part(step)}{_END}"

    def _paths(self, request_id: str) -> list[Path]:
        return [self._folder / name for name in _names(self._folder) if name.partition(".")[0] == request_id]

    def _writing(self) -> AbstractContextManager[None]:
        """Give the lock under which a step is looked at and written, so that no outcome is overwritten by a replay."""
        make_private_folder(self._folder)
        refuse_foreign_owner(self._folder)
        return self._patience.lock(self._folder / _LOCK_FILE)

    def _take_over(self, intent: Intent) -> Intent:
        if intent.outcome is not None:
            return intent
        taken = replace(intent, process=this_process(), begun_at=self._clock.now())
        _write(self._path(intent.request_id, intent.step), taken)
        return replace(taken, begun_at=intent.begun_at, replayed=True)

    def _remove(self, paths: list[Path]) -> None:
        try:
            for path in paths:
                path.unlink(missing_ok=True)
            sync_folder(self._folder)
        except OSError as error:
            raise not_writable(self._folder, error) from error


class Claims:
    """The requests that this call alone goes on with, until the block ends: `with journal.claims() as claims: …`.

    The system lets go of them when the process ends, however it ends. A claim is a lock on one of a few files, chosen
    by the request's id: that of another request may stand in the way for a moment.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: set[Path] = set()
        self._locks = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.clear()
        self._locks.close()

    def take(self, request_ids: Iterable[str], wait: float = 0.0) -> frozenset[str]:
        """Claim requests, and give those of them that no other call goes on with.

        Args:
            request_ids: The requests; those claimed before are given too.
            wait: Seconds to wait for each that another call has.

        Raises:
            StoreNotWritable: The journal's folder can't be made or written.
        """
        paths = {request_id: self._path(request_id) for request_id in request_ids}
        for path in sorted({*paths.values()} - self._held):  # in one order everywhere: nobody waits in a ring
            self._take(path, wait)
        return frozenset(request_id for request_id, path in paths.items() if path in self._held)

    def _path(self, request_id: str) -> Path:
        return self._folder / f".claim-{zlib.crc32(request_id.encode()) % _CLAIMS:02x}.lock"

    def _take(self, path: Path, wait: float) -> None:
        make_private_folder(self._folder)
        refuse_foreign_owner(self._folder)
        try:
            self._locks.enter_context(FileLock(path, wait, named=False))
        except StoreLocked:
            return
        self._held.add(path)


def begun_in(folder: Path) -> frozenset[str]:
    """Give the ids of the requests that have steps in a journal's folder, without reading these.

    Raises:
        StoreUntrusted: The folder can't be read.
    """
    return frozenset(name.partition(".")[0] for name in _names(folder))


def damaged_in(folder: Path) -> list[Path]:
    """Give the files of steps in a journal's folder that can't be read.

    Raises:
        StoreUntrusted: The folder can't be read.
    """
    return [path for path in (folder / name for name in sorted(_names(folder))) if _is_damaged(path)]


def _names(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are what is asked for
    except FileNotFoundError:
        return []
    except OSError as error:
        raise untrusted(folder, f"can't be read: {error.strerror}") from error
    return [name for name in names if name.endswith(_END) and not name.startswith(".")]


def this_process() -> str:
    """Name this process so that another can tell whether it still lives: host, boot id, pid and the pid's start time.

    Boot id and start time are empty where the system has no `/proc`.
    """
    pid = os.getpid()
    return "/".join((_host(), _boot_id(), str(pid), _start_time(pid) or ""))


def is_dead(process: str, *, begun_at: datetime, now: datetime, foreign_after: float) -> bool:
    """Say whether the process that `this_process` named has ended, or hangs for so long that it is not waited for.

    Should that one ever go on, it sends its call with the token, or the name, that others have sent it with meanwhile.

    Args:
        process: Its name. One that can't be understood counts as one of another host.
        begun_at: When it was last known to live.
        now: The time.
        foreign_after: Seconds after which a process of another host, which can't be seen from here, counts as dead.
    """
    if now - begun_at >= HUNG_AFTER:
        return True
    host, boot_id, pid, start_time = _parts(process)
    if host != _host() or not pid.isdigit():
        return (now - begun_at).total_seconds() >= foreign_after
    if boot_id != _boot_id():
        return True
    if not boot_id:
        return not _pid_exists(int(pid))
    return _start_time(int(pid)) != start_time


def _parts(process: str) -> tuple[str, str, str, str]:
    parts = process.rsplit("/", 3)
    if len(parts) != len(("host", "boot", "pid", "start")):
        return "", "", "", ""
    host, boot_id, pid, start_time = parts
    return host, boot_id, pid, start_time


def _host() -> str:
    if sys.platform == "win32":
        return os.environ.get("COMPUTERNAME", "")
    return os.uname().nodename


def _boot_id() -> str:
    return _first_line("/proc/sys/kernel/random/boot_id")


def _start_time(pid: int) -> str | None:
    """Give a living process's start time in clock ticks since boot; `None` if there is none, or only its remains."""
    _, _, rest = _first_line(f"/proc/{pid}/stat").rpartition(")")  # the name before it may hold anything
    fields = rest.split()  # from field 3 on, see proc(5)
    if not fields or fields[0] in {"Z", "X"}:
        return None
    return fields[19]


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - not a file of ours
            return file.readline().strip()
    except OSError:
        return ""


def _pid_exists(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill would end it; such a process counts as dead only by its age elsewhere
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _token(owner: str, request_id: str, step: str) -> str:
    """Give an idempotency token: 64 ASCII characters, the most that EC2 RunInstances takes as ClientToken."""
    from hashlib import sha256

    return sha256(f"{owner}\n{request_id}\n{step}".encode("utf-8", "backslashreplace")).hexdigest()


def _file_part(step: str) -> str:
    """Give a step's name as a file's can have it: of one with a cloud's own id in it, a part and a hash."""
    if len(step) <= _LONGEST_STEP and _STEP.fullmatch(step) and ".." not in step:
        return step
    from hashlib import sha256

    kept = re.sub(r"[^A-Za-z0-9_-]+", "_", step)[:_KEPT_OF_STEP]
    return f"{kept}-{sha256(step.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"


def _plain(values: Mapping[str, Any], what: str) -> Any:  # noqa: ANN401 - JSON values
    hint = "this is a fault of the plug-in"
    try:
        written = plain(values)
    except ValueError as error:
        raise StoreError(f"the {what} can't be written down: {error}", hint=hint) from error
    if not isinstance(written, dict):
        raise StoreError(f"the {what} can't be written down: {type(values).__name__} is no JSON object", hint=hint)
    return written


def _write(path: Path, intent: Intent) -> None:
    record = {
        "request_id": intent.request_id,
        "step": intent.step,
        "call": intent.call,
        "token": intent.token,
        "begun_at": encode_time(intent.begun_at),
        "process": intent.process,
        "parameters": intent.parameters,
        "outcome": intent.outcome,
        **({"done_at": encode_time(intent.done_at)} if intent.done_at else {}),
        **({"repeatable": True} if intent.repeatable else {}),
    }
    replace_file(path, (JSONEncoder(indent=2).encode(record) + "\n").encode("ascii"))


def _read(path: Path) -> Intent:
    intent = read_json(path, _decode)
    if path.name != f"{intent.request_id}.{_file_part(intent.step)}{_END}":
        raise untrusted(path, f"is the intent of step {intent.step} of request {intent.request_id}")
    return intent


def _read_if_there(path: Path) -> Intent | None:
    """Read an intent, unless another call has forgotten it since the folder was listed."""
    try:
        return _read(path)
    except StoreUntrusted:
        if path.exists():
            raise
        return None


def _is_damaged(path: Path) -> bool:
    try:
        _read_if_there(path)
    except StoreUntrusted:
        return True
    return False


def _decode(text: str) -> Intent:
    record = loads(text)
    if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in _TEXTS):
        raise ValueError(f"an object with the strings {', '.join(_TEXTS)} is expected")
    parameters, outcome = record.get("parameters"), record.get("outcome")
    if not isinstance(parameters, dict) or not (outcome is None or isinstance(outcome, dict)):
        raise ValueError("parameters and outcome are to be objects")
    return Intent(
        **{key: record[key] for key in _TEXTS},
        parameters=parameters,
        begun_at=decode_time(record.get("begun_at")),
        outcome=outcome,
        done_at=decode_time(record["done_at"]) if "done_at" in record else None,
        repeatable=record.get("repeatable") is True,
    )
