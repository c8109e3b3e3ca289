"""Own how a request becomes a group, gone on with after a death at any point, and how a group is stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hfcore.aws import tags
from hfcore.aws.accounts import making
from hfcore.aws.calls import each, once, repeat
from hfcore.aws.discovery import outcome
from hfcore.aws.errors import NotOurs
from hfcore.aws.launch_templates import using
from hfcore.aws.remainders import STEP, Resources, buy_remainders
from hfcore.errors import CloudError
from hfcore.models import Fault, Provisioned
from hfcore_aws_asg.groups import describe_groups, member_units, members
from hfcore_aws_asg.requests import AT_BIRTH, FROZEN, create_group, group_name, needs_steadying, not_found, suspension

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hfcore.context import Context
    from hfcore.models import Outcome, Request, Template

_STEPS = {False: "create-group", True: STEP}
_STEADY = "steady"
_AT_BIRTH = "suspend-at-birth"


def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Create the group of a request, or go on with one that was begun: then what is sent is what was written down.

    Raises:
        CloudError: AWS refused, and has made nothing.
        OutcomeUnknown: The group may have been made.
    """
    return _created(context, request, template, request.target)


def advanced(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
    """Buy on demand what Spot has left, where its time is over, and suspend AZRebalance where that failed so far."""
    bought = buy_remainders(context, _SECOND, requests)
    done = {one.request_id for one in bought}
    shaky = [one for one in requests if one.provider_data.get(_STEADY) is False and one.request_id not in done]
    faults = each(lambda request: _suspend(context, request, _AT_BIRTH, AT_BIRTH), shaky)
    return (*bought, *(_steadied(one) for one, fault in zip(shaky, faults, strict=True) if fault is None))


def stop(requests: Sequence[Request], context: Context) -> tuple[Outcome, ...]:
    """Suspend all by which groups launch; what runs stays, dead or alive. A group that is no more is done."""

    def stopped(request: Request) -> Outcome:
        fault = _suspend(context, request, "freeze", FROZEN)
        return outcome(request, [fault] if fault and not not_found(fault) else [])

    return each(stopped, requests)


def _created(
    context: Context, request: Request, template: Template, units: int, *, remainder: bool = False
) -> Provisioned:
    """Create a group of a request: the first, or the one for what Spot has left."""
    its_tags = tags.of_instances(context, template, request.request_id)
    step, name = _STEPS[remainder], group_name(request, remainder=remainder)

    def launch(launch_template: str) -> None:
        parameters = create_group(request, template, launch_template, its_tags, units=units, remainder=remainder)
        place = (context, request.request_id, step, "autoscaling", "CreateAutoScalingGroup", parameters)
        once(
            *place,
            keep=lambda _: {},
            find=lambda _: _found(context, request, name),
            until=request.deadline,
            token=False,
        )

    if any(intent.step == step for intent in context.journal.steps(request.request_id)):
        launch("")  # with the parameters of then, even if the template's files are gone
    else:
        using(context, request, template, launch)
    made = replace(request, resource_ids=(name,))
    steady = not needs_steadying(template) or _suspend(context, made, _AT_BIRTH, AT_BIRTH) is None
    steady = steady and request.provider_data.get(_STEADY) is not False
    return Provisioned(
        request_id=request.request_id,
        resource_ids=(name,),
        provider_data={_STEADY: steady},
        refills=True,
        account_id=making(context),
    )


def _found(context: Context, request: Request, name: str) -> Mapping[str, Any] | None:
    """Find by its name whether a group of a request is there."""
    its = describe_groups(context, [request]).get(request.request_id, ())
    group = next((one for one in its if one.name == name), None)
    if group is None:
        return None
    if (group.tags.get(tags.OWNER), group.tags.get(tags.REQUEST)) != (context.owner, request.request_id):
        raise NotOurs(f"a group named {name}")
    return {}


def _units(context: Context, requests: Sequence[Request]) -> Mapping[str, float]:
    groups = describe_groups(context, requests)
    return {i: sum(map(member_units, members(its).values())) for i, its in groups.items()}


def _buy(context: Context, request: Request, units: int) -> Provisioned:
    if request.template is None:
        raise CloudError(Fault(code="NoTemplate", message="the request is stored without its template"))
    return _created(context, request, request.template, units, remainder=True)


_SECOND = Resources(stop=lambda context, requests: stop(requests, context), units=_units, buy=_buy)


def _steadied(request: Request) -> Provisioned:
    return Provisioned(
        request_id=request.request_id,
        resource_ids=request.resource_ids,
        provider_data={**request.provider_data, _STEADY: True},
        refills=True,
    )


def _suspend(context: Context, request: Request, step: str, processes: tuple[str, ...]) -> Fault | None:
    """Suspend processes of a request's groups; give the reason if that failed, as it must not hide that they exist."""
    failed: Fault | None = None
    for name in request.resource_ids:
        try:
            place = (context, request.request_id, f"{step}-{name}", "autoscaling", "SuspendProcesses")
            repeat(*place, suspension(name, processes))
        except CloudError as error:
            failed = error.fault if failed is None or not_found(failed) else failed
    return failed
