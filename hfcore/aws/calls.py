"""Own every AWS call: changes between the journal's begin and done, questions with their faults and pages."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from hfcore.aws.errors import MADE_BEFORE, NotOurs, asking, aws_request_id, failures, fault, refused
from hfcore.context import TOO_LATE
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import EMPTY, RETRYABLE, Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from hfcore.context import Context, Intent

T = TypeVar("T")
R = TypeVar("R")

THROTTLE_REPEATS = 2
TOKEN_LIFE = timedelta(hours=24)
"""So long a token is known to be remembered (EC2 API reference of 2016; today's names no time)."""
LATER = "it is found out at the next call"
_CONCLUSIVE = frozenset({FaultKind.CAPACITY, FaultKind.QUOTA})
_THREADS = 8


def once(  # noqa: PLR0913 - a call and its place in the journal
    context: Context,
    request_id: str,
    step: str,
    service: str,
    operation: str,
    parameters: Mapping[str, Any],
    *,
    keep: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    find: Callable[[Intent], Mapping[str, Any] | None] | None = None,
    until: datetime | None = None,
    token: bool = True,
    token_in: str = "",
    secret: Mapping[str, Any] = EMPTY,
) -> Mapping[str, Any]:
    """Launch: carry out a change at most once for a request and step, whoever dies in between.

    A step whose outcome is known gives that, without a call. An open one is sent again with the parameters and the
    token of then while it is still wanted; after that, what it has made is only looked for. That nothing is found
    proves something only `VISIBILITY_DELAY` after the step was last begun.

    Args:
        context: The context.
        request_id: The request in whose name it is done.
        step: The step's name; another one for each launch, such as `launch-0`.
        service: botocore's name of the service, such as `ec2`.
        operation: The operation, such as `RunInstances`.
        parameters: What is sent, as JSON values, without token.
        keep: Gives of AWS's answer the ids to write down, as JSON values: the outcome.
        find: Looks in AWS for what the step has made: gives the outcome, or `None` if AWS shows nothing. Raises
            `NotOurs` where somebody else's stands in its place: the call so was refused.
        until: When it is no longer wanted, such as the request's deadline; by default it always is.
        token: Whether the operation takes a `ClientToken`.
        token_in: The parameter within which it stands (RequestSpotFleet); by default beside the others.
        secret: Top-level parameters that are sent in place of those in `parameters`, and never written down.

    Raises:
        CloudError: AWS refused, or it is no longer wanted; nothing was made; the step may be begun anew.
        OutcomeUnknown: It was sent, and may have been done; the step stays open.
    """
    late = is_late(context, until)
    intent = _begun(context, request_id, step) if late else None
    if intent is None:
        if late:
            raise CloudError(TOO_LATE)
        intent = context.journal.begin(request_id, step, f"{service}:{operation}", parameters)
    if intent.outcome is not None:
        return intent.outcome
    try:
        _refuse_to_send(late=late or context.clock.now() - intent.begun_at > TOKEN_LIFE)
        sent = {**intent.parameters, **secret, **(_token(intent, token_in) if token else {})}
        settled = token and _is_settled(context, intent)
        outcome = keep(_send(context, service, intent, operation, sent, repeatable=token, settled=settled))
    except OutcomeUnknown as error:
        if find is None or (token and not _tells_more(error.fault)):
            raise
        outcome = _found_out(context, intent, error, find, keep)
    except CloudError:
        context.journal.drop(intent)
        raise
    context.journal.done(intent, outcome)
    return outcome


def is_late(context: Context, until: datetime | None) -> bool:
    """Tell whether something is no longer wanted: then nothing is made any more, but what was begun is looked for."""
    return until is not None and context.clock.now() >= until


def _begun(context: Context, request_id: str, step: str) -> Intent | None:
    return next((intent for intent in context.journal.steps(request_id) if intent.step == step), None)


def _refuse_to_send(*, late: bool) -> None:
    if late:
        raise OutcomeUnknown(TOO_LATE, hint=LATER)


def _is_settled(context: Context, intent: Intent) -> bool:
    return context.clock.now() - intent.begun_at > VISIBILITY_DELAY


def _tells_more(found: Fault) -> bool:
    """Tell whether a fault is a word of AWS's on the call itself, not only the lack of an answer to it."""
    return found.kind not in RETRYABLE | {FaultKind.UNKNOWN} or found.code in MADE_BEFORE


def _found_out(
    context: Context,
    intent: Intent,
    error: OutcomeUnknown,
    find: Callable[[Intent], Mapping[str, Any] | None],
    keep: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> Mapping[str, Any]:
    """Find what a step has made, or that it has certainly made nothing.

    Raises:
        CloudError: It has made nothing.
        OutcomeUnknown: It can't be told yet.
    """
    try:
        found = find(intent)
    except NotOurs:
        context.journal.drop(intent)
        raise
    except CloudError as unanswered:
        raise OutcomeUnknown(unanswered.fault, hint=LATER) from error
    if found is None and error.fault.code == "IdempotentInstanceTerminated":
        return keep(EMPTY)
    if found is not None:
        return found
    if error.fault.code in MADE_BEFORE or not _tells_more(error.fault) or not _is_settled(context, intent):
        raise error
    context.journal.drop(intent)
    raise CloudError(error.fault) from error


def repeat(
    context: Context,
    request_id: str,
    step: str,
    service: str,
    operation: str,
    parameters: Mapping[str, Any],
    *,
    secret: Mapping[str, Any] = EMPTY,
    accept: Collection[str] = (),
) -> Mapping[str, Any]:
    """Change what may be changed twice (terminate, suspend, delete, cancel): always sent, with these parameters.

    Args and errors are those of `once`, besides `accept`: AWS error codes that mean that it is as wanted already.

    Returns:
        AWS's whole answer; empty where an error was accepted.
    """
    call = f"{service}:{operation}"
    intent = context.journal.begin(request_id, step, call, parameters, repeatable=True)
    if intent.parameters != parameters:
        context.journal.drop(intent)
        intent = context.journal.begin(request_id, step, call, parameters, repeatable=True)
    try:
        answer = _send(context, service, intent, operation, {**parameters, **secret}, repeatable=True, settled=False)
    except CloudError as error:
        if error.fault.code not in accept:
            if not isinstance(error, OutcomeUnknown):
                context.journal.drop(intent)
            raise
        answer = EMPTY
    context.journal.done(intent, {})
    return answer


def _token(intent: Intent, within: str) -> Mapping[str, Any]:
    token = {"ClientToken": intent.token}
    return {within: {**intent.parameters[within], **token}} if within else token


def _send(
    context: Context,
    service: str,
    intent: Intent,
    operation: str,
    parameters: Mapping[str, Any],
    *,
    repeatable: bool,
    settled: bool,
) -> Mapping[str, Any]:
    """Send until it is answered, refused, or unanswered twice; throttled calls are repeated after a pause.

    Once an attempt may have arrived, a refusal of a later one says nothing about it. Only when the first is long past
    does a token's replay prove, by a lack of capacity, that there was nothing to give back.
    """
    from botocore import xform_name

    throttled, unanswered, unsure = 0, 0, intent.replayed
    while True:
        try:
            send = getattr(context.clients(service, "quick"), xform_name(operation))
            answer: Mapping[str, Any] = send(**parameters)
        except failures() as error:
            found, denied = fault(error), refused(error)
            where = (intent.request_id, intent.step, intent.call, found, aws_request_id(error))
            context.logger.warning("%s %s: %s failed: %s [AWS request %s]", *where)
            if not denied and unanswered == 0 and repeatable and found.code not in MADE_BEFORE:
                unanswered, unsure = 1, True
            elif denied and found.kind is FaultKind.THROTTLE and throttled < THROTTLE_REPEATS:
                throttled += 1
                _pause(context, throttled)
            elif denied and (not unsure or (settled and not unanswered and found.kind in _CONCLUSIVE)):
                raise CloudError(found) from error
            else:
                raise _unknown(found, twice=unanswered > 0) from error
        else:
            return answer


def _unknown(found: Fault, *, twice: bool) -> OutcomeUnknown:
    """Make the error; a refusal of an attempt tells nothing once the one just before it went unanswered."""
    kind = found.kind if not twice or found.code in MADE_BEFORE else FaultKind.TRANSIENT
    return OutcomeUnknown(replace(found, kind=kind), hint=LATER)


def _pause(context: Context, attempt: int) -> None:
    context.clock.sleep(2.0 ** (attempt - 1) * (0.5 + random.random() / 2))  # noqa: S311 - jitter, not secrecy


def ask(
    context: Context, service: str, operation: str, parameters: Mapping[str, Any] = EMPTY, subject: str = ""
) -> Mapping[str, Any]:
    """Ask AWS something that changes nothing; errors become `CloudError`, with `subject` as what was asked about."""
    from botocore import xform_name

    with asking(context, subject):
        answer: Mapping[str, Any] = getattr(context.clients(service, "patient"), xform_name(operation))(**parameters)
        return answer


def pages(
    context: Context, service: str, operation: str, key: str, parameters: Mapping[str, Any] = EMPTY
) -> Iterator[Mapping[str, Any]]:
    """Ask page by page (`NextToken`), also where botocore has no paginator, and give the items of member `key`."""
    token: Mapping[str, Any] = {}
    while True:
        answer = ask(context, service, operation, {**parameters, **token})
        yield from answer.get(key, ())
        if not answer.get("NextToken"):
            return
        token = {"NextToken": answer["NextToken"]}


def each(function: Callable[[T], R], items: Iterable[T]) -> tuple[R, ...]:
    """Apply a function that asks AWS to each item, several at a time, in order; the first error is raised."""
    from concurrent.futures import ThreadPoolExecutor

    todo = tuple(items)
    if len(todo) <= 1:
        return tuple(function(item) for item in todo)
    with ThreadPoolExecutor(max_workers=min(_THREADS, len(todo))) as pool:
        return tuple(pool.map(function, todo))


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into parts of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
