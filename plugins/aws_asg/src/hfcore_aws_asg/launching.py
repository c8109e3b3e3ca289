"""Own how a request becomes a group, gone on with after a death at any point, and how a group is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.aws import tags
from hfcore.aws.calls import each, once, repeat
from hfcore.aws.discovery import outcome
from hfcore.aws.errors import NotOurs
from hfcore.aws.launch_templates import using
from hfcore.errors import CloudError
from hfcore.models import Provisioned
from hfcore_aws_asg.groups import describe_groups
from hfcore_aws_asg.requests import AT_BIRTH, FROZEN, create_group, group_name, needs_steadying, not_found, suspension

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfcore.context import Context
    from hfcore.models import Fault, Outcome, Request, Template

_CREATE = "create-group"
_STEADY = "steady"


def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Create the group of a request, or go on with one that was begun: then what is sent is what was written down.

    Raises:
        CloudError: AWS refused, and has made nothing.
        OutcomeUnknown: The group may have been made.
    """
    its_tags = tags.of_instances(context, template, request.request_id)

    def launch(launch_template: str) -> None:
        parameters = create_group(request, template, launch_template, its_tags)
        place = (context, request.request_id, _CREATE, "autoscaling", "CreateAutoScalingGroup", parameters)
        once(*place, keep=lambda _: {}, find=lambda _: _found(context, request), until=request.deadline, token=False)

    if any(intent.step == _CREATE for intent in context.journal.steps(request.request_id)):
        launch("")  # with the parameters of then, even if the template's files are gone
    else:
        using(context, request, template, launch)
    steady = not needs_steadying(template)
    return _made(request, steady=steady or _suspend(context, request, "suspend-at-birth", AT_BIRTH) is None)


def _found(context: Context, request: Request) -> Mapping[str, Any] | None:
    """Find by its name whether a request's group is there."""
    group = describe_groups(context, [request]).get(request.request_id)
    if group is None:
        return None
    if (group.tags.get(tags.OWNER), group.tags.get(tags.REQUEST)) != (context.owner, request.request_id):
        raise NotOurs(f"a group named {group.name}")
    return {}


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
