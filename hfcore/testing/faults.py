"""Own the fault points: the moments of a call at which a death must lose nothing, all in one table.

The product knows nothing of them: the process that is to die wraps the named function, and kills itself (SIGKILL) when
that is entered or left for the n-th time. `hfcore.testing.forks` makes such processes.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPoint:
    """A moment of a call.

    Args:
        name: Its name, `what:before` or `what:after`.
        meaning: What is done by then, and what is not.
        target: The function, `module:qualified name`.
        edge: Whether the moment is when the function is entered, or when it is left without an error.
        file: Only calls with a path of this name count; all, if empty.
        answered: Whether the process first waits until AWS's answer has come, which it does not read.
    """

    name: str
    meaning: str
    target: str
    edge: Literal["enter", "leave"]
    file: str = ""
    answered: bool = False

    def resolve(self) -> tuple[Any, str]:
        """Give what holds the target, and the target's name in it; LookupError if there is no such function."""
        module, _, path = self.target.partition(":")
        *parents, name = path.split(".")
        try:
            holder = functools.reduce(getattr, parents, import_module(module))
            if callable(getattr(holder, name)):
                return holder, name
        except (ImportError, AttributeError) as error:
            raise LookupError(f"fault point {self.name}: there is no {self.target}") from error
        raise LookupError(f"fault point {self.name}: {self.target} is no function")


def _around(what: str, target: str, before: str, after: str, file: str = "") -> tuple[FaultPoint, FaultPoint]:
    """Give the two moments around a function."""
    return (
        FaultPoint(name=f"{what}:before", meaning=before, target=target, edge="enter", file=file),
        FaultPoint(name=f"{what}:after", meaning=after, target=target, edge="leave", file=file),
    )


_SENDS = "botocore.httpsession:URLLib3Session.send"
_WAITS = "http.client:HTTPConnection.getresponse"

FAULT_POINTS: tuple[FaultPoint, ...] = (
    *_around(
        "intent-written",
        "hfcore.journal:IntentFolder.begin",
        "the step is decided on, and stands nowhere",
        "the intent is on disk, and AWS has heard nothing",
    ),
    FaultPoint(name="call-sent:before", meaning="the call is signed, and not on the wire", target=_SENDS, edge="enter"),
    FaultPoint(
        name="call-sent:after",
        meaning="the call is on the wire: AWS does the work, and nobody waits for the answer",
        target=_WAITS,
        edge="enter",
    ),
    FaultPoint(
        name="call-answered:before",
        meaning="AWS has done the work and answered, and nobody has read it",
        target=_WAITS,
        edge="enter",
        answered=True,
    ),
    FaultPoint(
        name="call-answered:after", meaning="the answer is read, and stands nowhere", target=_SENDS, edge="leave"
    ),
    *_around(
        "intent-closed",
        "hfcore.journal:IntentFolder.done",
        "the answer is known, and the intent still open on disk",
        "the intent's outcome is on disk, and in no record",
    ),
    *_around(
        "intents-forgotten",
        "hfcore.journal:IntentFolder.forget",
        "the outcome is in the records, and its intents still there",
        "the intents are gone",
    ),
    *_around(
        "resource-ids-stored",
        "hfcore.launching:Launching.take_in",
        "the plug-in has said what it made, and no record names it",
        "the request's record names it, and Host Factory has no answer",
    ),
    *_around(
        "machines-file-replaced",
        "os:replace",
        "the new machines.json is written beside the old one",
        "machines.json is new, and storage.json old",
        "machines.json",
    ),
    *_around(
        "storage-file-replaced",
        "os:replace",
        "the new storage.json is written beside the old one, and machines.json may be new",
        "both files are new, and the lock still held",
        "storage.json",
    ),
    *_around(
        "freeze",
        "hfcore.plugins:Provider.stop_launching",
        "the request has ended, and its resource launches on",
        "the resource launches nothing more, and no record says so",
    ),
    *_around(
        "terminate",
        "hfcore.plugins:Provider.release_instances",
        "machines are to be ended, and all of them live",
        "they are ending, and no record says so",
    ),
    *_around(
        "cleanup",
        "hfcore.plugins:Provider.cleanup",
        "the request's resource stands empty",
        "it is removed, and no record says so",
    ),
    *_around(
        "archive-appended",
        "hfcore.archive:Archive.append",
        "finished requests are to leave the hot files, and the archive has none of them",
        "the archive has them, and the hot files too",
    ),
    *_around(
        "answer-printed",
        "hfcore.cli.hostfactory:_write",
        "everything is stored, and Host Factory has no answer",
        "Host Factory has its answer, and what did not have to wait for it is not done",
    ),
)
"""Every fault point."""


def fault_point(name: str) -> FaultPoint:
    """Give a fault point by its name, such as `intent-written:after`; KeyError if there is none of this name."""
    return {point.name: point for point in FAULT_POINTS}[name]


def die_at(point: FaultPoint, nth: int = 1) -> None:
    """Let this process kill itself when it gets to a fault point for the n-th time."""
    lock, met = threading.Lock(), Counter[str]()

    def reached(arguments: tuple[Any, ...]) -> None:
        with lock:
            met[point.name] += 1
            if met[point.name] != nth:
                return
            if point.answered:
                select.select([arguments[0].sock], [], [], ANSWER_SECONDS)
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(point, reached)


def count() -> dict[str, int]:
    """Count from now on how often this process gets to each fault point; the counts are those of the dict given."""
    lock, met = threading.Lock(), dict.fromkeys((point.name for point in FAULT_POINTS), 0)

    def counting(name: str) -> Callable[[tuple[Any, ...]], None]:
        def reached(_: tuple[Any, ...]) -> None:
            with lock:
                met[name] += 1

        return reached

    for point in FAULT_POINTS:
        _watch(point, counting(point.name))
    return met


def _watch(point: FaultPoint, reached: Callable[[tuple[Any, ...]], None]) -> None:
    """Wrap a fault point's function, so that `reached` is called with its arguments at the moment."""
    holder, name = point.resolve()
    function = getattr(holder, name)

    @functools.wraps(function)
    def watched(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - any function's
        counts = not point.file or any(
            isinstance(one, str | Path) and Path(one).name == point.file for one in arguments
        )
        if counts and point.edge == "enter":
            reached(arguments)
        result = function(*arguments, **named)
        if counts and point.edge == "leave":
            reached(arguments)
        return result

    setattr(holder, name, watched)
