"""Own what a hook may use beside its arguments: settings, time, journal, memory, cache and cloud clients."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from logging import Logger
    from pathlib import Path

    from hfcore.config import Settings
    from hfcore.models import Request

T = TypeVar("T")

TOO_LATE = Fault(
    code="DeadlinePassed", message="not asked for any more: the deadline has passed", kind=FaultKind.INVALID
)


class Journal(Protocol):
    """Intents on disk around each mutating cloud call, so that a death in between loses nothing.

    A step is named by the request and a name of its own (`launch-0`), and is carried out once: `begin` of a step that
    was begun before gives back the parameters and token of then, and its outcome if it has one. The core forgets a
    request's steps once their outcome is stored in the request.
    """

    def begin(
        self, request_id: str, step: str, call: str, parameters: Mapping[str, Any], *, repeatable: bool = False
    ) -> Intent:
        """Write down, synced, that `call` is about to be sent with `parameters`; or give the step begun before.

        A `repeatable` call does no harm when it is sent again, and what it is for stands in the records: open, it is
        forgotten once its process is dead and the request was looked after since.
        """

    def done(self, intent: Intent, outcome: Mapping[str, Any]) -> Intent:
        """Write down what the cloud answered."""

    def drop(self, intent: Intent) -> None:
        """Take back an intent of which the cloud has made nothing, so that it may be begun anew."""

    def steps(self, request_id: str) -> tuple[Intent, ...]:
        """Give all steps of a request, oldest first, open and done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One step of a request: a mutating cloud call that is about to be sent, or was answered.

    Args:
        request_id: The request that the step is of.
        step: The step's name, unique within the request.
        call: `service:Operation`.
        parameters: Exactly what is sent, except user data; a replay sends these again.
        token: Idempotency token, the same for each replay of the step.
        begun_at: When it was begun; of a replayed one, when it was begun the last time before. Each `begin` of an open
            step moves it; `steps` does not.
        outcome: What the cloud answered, as the plug-in wrote it down; `None` while that is open.
        done_at: When that was written down.
        process: Who began it: host, boot id, pid and the pid's start time.
        replayed: True where `begin` found the step open from before: it may have reached the cloud already.
        repeatable: Whether it may be sent any number of times, and is found anew in the records where it is needed.
    """

    request_id: str
    step: str
    call: str
    parameters: Mapping[str, Any]
    token: str
    begun_at: datetime
    outcome: Mapping[str, Any] | None = None
    done_at: datetime | None = None
    process: str = ""
    replayed: bool = False
    repeatable: bool = False


class Memory(Protocol):
    """Small facts worth keeping between calls, such as an image's root device. All of it can be found out again."""

    def recall(self, key: str, max_age: float | None = None) -> Any:  # noqa: ANN401 - any JSON value
        """Give what was remembered, or `None`; `max_age` in seconds."""

    def remember(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Keep a JSON value."""


class Cache(Protocol):
    """Answers that hold for this one call, shared by all plug-ins and threads."""

    def once(self, key: object, make: Callable[[], T]) -> T:
        """Give the value of `key`, made by the first who asks; an exception is not kept."""


class Clock(Protocol):
    """The time, so that tests can set it."""

    def now(self) -> datetime:
        """Give the UTC time."""

    def monotonic(self) -> float:
        """Give seconds that only grow."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a hook may use, for one call of one plug-in. Safe between threads.

    Args:
        settings: hfcore's settings (`hfcore.config.Settings`).
        owner: The owner id of this store; everything made carries it as tag `hfcore:owner`.
        provider: Name of the provider instance (`HF_PROVIDER_NAME`).
        region: Region and endpoint of the requests at hand; an empty endpoint is the cloud's own.
        endpoint: Their endpoint; empty is the cloud's own.
        deadline: `clock.monotonic()` at which this call must have ended.
        clock: The time, and waiting: nothing else tells a hook of it.
        journal: Where each change is noted before it is asked for, and after.
        memory: Small facts that later calls may want.
        cache: Answers that all plug-ins of this one call share.
        clients: Gives a cloud client for a service (`ec2`) and a patience (`patient` to ask, `quick` to create).
        logger: The log; what looks like a secret is taken out of its lines.
        conf_dir: The provider's conf folder, against which relative paths in templates are meant.
    """

    settings: Settings
    owner: str
    provider: str
    region: str
    endpoint: str
    deadline: float
    clock: Clock
    journal: Journal
    memory: Memory
    cache: Cache
    clients: Callable[[str, str], Any]
    logger: Logger
    conf_dir: Path


def launch_once(  # noqa: PLR0913 - a call and its place in the journal
    context: Context,
    request: Request,
    step: str,
    call: str,
    parameters: Mapping[str, Any],
    *,
    send: Callable[[Intent], Mapping[str, Any]],
    find: Callable[[Intent], Mapping[str, Any] | None],
    whole: Callable[[Mapping[str, Any]], bool] = bool,
    token: bool = True,
) -> Mapping[str, Any]:
    """Launch: carry out a change at most once for a request, whoever dies in between, and give its outcome.

    A step that has its outcome is not sent again. One that a call before has left open may have been sent: it is sent
    again with its token; where the cloud takes none, or the request's deadline has passed, what it has made is looked
    for. That nothing is found proves something only `lifecycle.VISIBILITY_DELAY` after the step was begun.

    Args:
        context: The context.
        request: The request.
        step: The step's name, another one for each launch: `launch-0`.
        call: `service:Operation`.
        parameters: What is sent, as JSON values.
        send: Sends a step's `parameters` with its `token`, and gives the outcome, as JSON values. Raises `CloudError`
            where the cloud has refused, `OutcomeUnknown` where it may have made something.
        find: Gives the outcome of what a step has made, found by its token or by our tags, those included that have
            ended by now; `None` if nothing is shown. Raises `CloudError` where the cloud can't be asked.
        whole: Whether an outcome of `find` has all that was asked for. One that has not may be shown in part, and is
            taken for the outcome only once the step is old enough.
        token: Whether the cloud makes nothing twice for one token.

    Raises:
        CloudError: The cloud has refused, or it is too late; nothing was made.
        OutcomeUnknown: Something may have been made; the step stays open.

    Example:
        launch_once(context, request, "launch", "acme:Launch", {"count": 2}, send=send, find=find)["ids"]
    """
    late = request.deadline is not None and context.clock.now() >= request.deadline
    place = (request.request_id, step, call, parameters)
    intent = next((one for one in context.journal.steps(request.request_id) if one.step == step), None)
    if intent is None and late:
        raise CloudError(TOO_LATE)
    may_have_been_sent = intent is not None
    if intent is None or (token and not late):
        intent = context.journal.begin(*place)
        may_have_been_sent = intent.replayed  # by another process, perhaps only just now
    if intent.outcome is None and may_have_been_sent and (late or not token):
        intent = _looked_for(context, intent, find, whole)
        if intent.outcome is None and late:
            raise CloudError(TOO_LATE)
        intent = intent if intent.outcome is not None else context.journal.begin(*place)
        if intent.replayed:
            raise _not_shown_yet(call)
    if intent.outcome is not None:
        return intent.outcome
    try:
        outcome = send(intent)
    except OutcomeUnknown:
        raise
    except CloudError as error:
        if intent.replayed:  # it says nothing of what was sent before
            raise OutcomeUnknown(error.fault) from error
        context.journal.drop(intent)
        raise
    context.journal.done(intent, outcome)
    return outcome


def _looked_for(
    context: Context,
    intent: Intent,
    find: Callable[[Intent], Mapping[str, Any] | None],
    whole: Callable[[Mapping[str, Any]], bool],
) -> Intent:
    """Close an open step by what it has made, or take it back once it has certainly made nothing."""
    try:
        outcome = find(intent)
    except CloudError as error:
        raise OutcomeUnknown(error.fault) from error
    old = context.clock.now() - intent.begun_at >= VISIBILITY_DELAY
    if not old and not (outcome is not None and whole(outcome)):
        raise _not_shown_yet(intent.call)
    if outcome is not None:
        return context.journal.done(intent, outcome)
    context.journal.drop(intent)
    return intent


def _not_shown_yet(call: str) -> OutcomeUnknown:
    message = f"{call} may have been carried out, and the cloud does not show it all yet"
    return OutcomeUnknown(Fault(code="NotShownYet", message=message, kind=FaultKind.TRANSIENT))


@contextmanager
def noted(context: Context, request_id: str, step: str, call: str, parameters: Mapping[str, Any]) -> Iterator[None]:
    """Stand between the journal's begin and done around a change that may be made twice: end, stop, remove.

    A change that the cloud refuses (`CloudError`) is taken back from the journal; one that may have been made stays
    open. A launch is not made so: its answer is written down by `journal.done`, and is not asked for again.

    Args:
        context: The context.
        request_id: The request in whose name it is made.
        step: The step's name, another one for each thing: `end-m-1`.
        call: `service:Operation`.
        parameters: What is sent, as JSON values.

    Example:
        with noted(context, request_id, f"end-{machine_id}", "acme:Delete", {"id": machine_id}):
            client.delete(machine_id)
    """
    intent = context.journal.begin(request_id, step, call, parameters, repeatable=True)
    try:
        yield
    except CloudError as error:
        if not isinstance(error, OutcomeUnknown):
            context.journal.drop(intent)
        raise
    context.journal.done(intent, {})
