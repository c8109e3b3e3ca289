"""Own how a request becomes a group, gone on with after a death at any point, and how a group is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from hfcore.aws import tags
from hfcore.aws.calls import SETTLED, each, once, repeat
from hfcore.aws.discovery import outcome
from hfcore.aws.errors import MADE_BEFORE
from hfcore.aws.launch_templates import using
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import RETRYABLE, Fault, FaultKind, Provisioned
from hfcore_aws_asg.groups import describe_groups
from hfcore_aws_asg.requests import AT_BIRTH, FROZEN, create_group, group_name, needs_steadying, not_found, suspension

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfcore.context import Context, Intent
    from hfcore.models import Outcome, Request, Template

_CREATE = "create-group"
_STEADY = "steady"
_TOO_LATE = Fault(
    code="DeadlinePassed",
    message="the group was not made before the deadline, and is not asked for again",
    kind=FaultKind.INVALID,
)


def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Create the group of a request, or go on with one that was begun: then what is sent is what was written down.

    Raises:
        CloudError: AWS refused, and has made nothing.
        OutcomeUnknown: The group may have been made.
    """
    begun = _begun(context, request)
    if begun and begun.outcome is None and request.deadline and context.clock.now() >= request.deadline:
        _find_out(context, request, OutcomeUnknown(_TOO_LATE))
    elif begun:
        _create(context, request, begun.parameters)
    else:
        its_tags = tags.of_instances(context, template, request.request_id)

        def launch(launch_template: str) -> None:
            _create(context, request, create_group(request, template, launch_template, its_tags))

        using(context, request, template, launch)
    steady = not needs_steadying(template)
    return _made(request, steady=steady or _suspend(context, request, "suspend-at-birth", AT_BIRTH) is None)


def steadied(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
    """Suspend AZRebalance where that failed at the group's creation."""
    shaky = [request for request in requests if request.provider_data.get(_STEADY) is False]
    faults = each(lambda request: _suspend(context, request, "suspend-at-birth", AT_BIRTH), shaky)
    return tuple(_made(request, steady=True) for request, fault in zip(shaky, faults, strict=True) if fault is None)


def stop(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Suspend all by which groups launch; what runs stays, dead or alive. A group that is no more is done."""

    def stopped(request: Request) -> Outcome:
        fault = _suspend(context, request, "freeze", FROZEN)
        return outcome(request, [fault] if fault and not not_found(fault) else [])

    return each(stopped, requests)


def _made(request: Request, *, steady: bool) -> Provisioned:
    return Provisioned(
        request_id=request.request_id,
        resource_ids=(group_name(request),),
        provider_data={_STEADY: steady},
        refills=True,
    )


def _suspend(context: Context, request: Request, step: str, processes: tuple[str, ...]) -> Fault | None:
    """Suspend processes; give the reason if that failed, which must not hide that the group exists."""
    try:
        parameters = suspension(request, processes)
        repeat(context, request.request_id, step, "autoscaling", "SuspendProcesses", parameters)
    except CloudError as error:
        return error.fault
    return None


def _begun(context: Context, request: Request) -> Intent | None:
    return next((one for one in context.journal.steps(request.request_id) if one.step == _CREATE), None)


def _create(context: Context, request: Request, parameters: Mapping[str, Any]) -> None:
    """Create the group once; where an answer is missing, its name tells whether it is there."""
    place = (context, request.request_id, _CREATE, "autoscaling", "CreateAutoScalingGroup", parameters)
    try:
        once(*place, keep=lambda _: {"group": group_name(request)}, token=False)
    except OutcomeUnknown as error:
        _find_out(context, request, error)


def _find_out(context: Context, request: Request, error: OutcomeUnknown) -> None:
    """Find out by its name whether an unanswered call has made the group; "no" counts only where it is certain.

    Raises:
        CloudError: It was not made, and is not wanted any more or refused; or one of this name is not ours.
        OutcomeUnknown: It can't be told yet.
    """
    try:
        group = describe_groups(context, [request]).get(request.request_id)
    except CloudError as unasked:
        raise error from unasked
    intent = _begun(context, request)
    if intent is None:
        raise error
    if group is None:
        refused = error.fault.kind not in RETRYABLE | {FaultKind.UNKNOWN} and error.fault.code not in MADE_BEFORE
        if not refused or context.clock.now() - intent.begun_at <= SETTLED:
            raise error
        _refuse(context, intent, error.fault)
    elif (group.tags.get(tags.OWNER), group.tags.get(tags.REQUEST)) != (context.owner, request.request_id):
        message = f"a group named {group.name} exists, and is not this request's by its tags"
        _refuse(context, intent, Fault(code="AlreadyExists", message=message, kind=FaultKind.INVALID))
    context.journal.done(intent, {"group": group_name(request)})


def _refuse(context: Context, intent: Intent, fault: Fault) -> NoReturn:
    context.journal.drop(intent)
    raise CloudError(fault)
