"""The hooks of `RunInstances`, which also finds and ends the machines of AWS plug-ins that are not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.aws import (
    access,
    checks,
    finding,
    instances,
    launch_templates,
    mixes,
    native,
    offers,
    owned,
    policy,
    queue,
    reclaims,
    tags,
    validation,
)
from hfcore.aws.about import aws_provider
from hfcore.aws.discovery import Told, discover
from hfcore.hookspecs import hookimpl
from hfcore.models import PlannedCall, Released
from hfcore_aws_runinstances import foreign
from hfcore_aws_runinstances.launching import Launch, advanced, wants_more
from hfcore_aws_runinstances.requests import less, parts, pools, run_instances

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hfcore.context import Context
    from hfcore.models import (
        Discovery,
        Outcome,
        Problem,
        ProviderInfo,
        Provisioned,
        Release,
        Request,
        Template,
    )

_ONE_POOL = "one call of RunInstances launches in one pool; types by vmTypesPriority and subnets are tried in order"

IGNORED = {
    "fleetType": "RunInstances makes no fleet",
    "fleetRole": "RunInstances makes no Spot fleet",
    "allocationStrategy": _ONE_POOL,
    "allocationStrategyOnDemand": _ONE_POOL,
    "poolsCount": _ONE_POOL,
}
"""Template fields without effect here, each with the reason."""

REFUSED = {
    "ec2FleetConfig": "can't be honoured: it holds CreateFleet's parameters; use providerApi EC2Fleet",
    "instanceRequirements": "can't be honoured: RunInstances launches types that are named; use EC2Fleet or ASG",
}
"""Template fields that RunInstances can't honour, each with the reason."""

INFO = aws_provider(
    foreign.NAME,
    "Machines by EC2 RunInstances, on demand and Spot, pool by pool.",
    ignored=IGNORED,
    refused=REFUSED,
    call_budgets={
        "request of n machines": "⌈n/500⌉ RunInstances for each market, and 1 CreateLaunchTemplate for a template not "
        "yet known",
        "status of 1 to 50 requests": "1 DescribeInstances for each 1,000 machines",
        "return of n machines": "1 TerminateInstances for each 1,000 machines",
    },
)

reclaimed_instances = reclaims.reclaimed_instances
find_instances = finding.find_instances
describe_offers = offers.describe_offers
check = checks.check
check_account = access.check_account
access_policy = policy.access_policy
receive_notices = queue.receive_notices
forget_notices = queue.forget_notices
remove_owned = owned.remove_owned
owned_resources = hookimpl(owned.common)


@hookimpl
def provider_info() -> ProviderInfo:
    """Say what this plug-in is."""
    return INFO


@hookimpl
def validate_template(template: Template, context: Context) -> tuple[Problem, ...]:
    """Find what is wrong with a template for RunInstances."""
    return (
        *validation.common(template, ignored=IGNORED, refused=REFUSED),
        *validation.exports(context, template),
        *native.problems(template, "RunInstances"),
        *mixes.problems(template),
        *_share(template),
        *validation.slow_to_start(template, context.settings),
    )


def _share(template: Template) -> Iterator[Problem]:
    if template.percent_on_demand is not None and template.price_type in (None, "ondemand"):
        yield validation.warning("percentOnDemand", "has no effect: priceType is ondemand")


@hookimpl
def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Launch the machines of a request; what EC2 throttles or leaves unanswered is gone on with by `advance`."""
    return Launch(context, request, template).go()


@hookimpl
def advance(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
    """Launch what throttled or unanswered calls have left open."""
    ours = (one for one in requests if not foreign.is_foreign(one) and wants_more(one))
    return tuple(made for one in ours if (made := advanced(context, one)))


@hookimpl
def discover_instances(requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
    """Show the machines of requests by their ids; those of another API by their tags, as far as that goes."""

    def told(request: Request) -> Told:
        if foreign.is_foreign(request):
            return Told(request=request, by_tag=True, thorough=False, message=foreign.found_by_tag(request))
        unanswered = request.provider_data.get("unanswered") or None
        return Told(request=request, final=not wants_more(request), by_tag=unanswered)

    return discover(context, tuple(map(told, requests)))


@hookimpl
def stop_launching(requests: tuple[Request, ...]) -> tuple[Outcome, ...]:
    """Do nothing: RunInstances launches nothing by itself. What another API does can't be stopped here."""
    return tuple(map(foreign.nothing_to_do, requests))


@hookimpl
def release_instances(releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
    """End exactly these machines; those that another API would replace are refused."""
    allowed = tuple(one for one in releases if not foreign.would_be_replaced(one.request))
    refused = (one for one in releases if one not in allowed)
    return (*instances.release_instances(allowed, context), *map(_refused, refused))


def _refused(one: Release) -> Released:
    faults = dict.fromkeys((machine.instance_id for machine in one.machines), foreign.not_installed(one.request))
    return Released(request_id=one.request.request_id, faults=faults)


@hookimpl
def cleanup(requests: tuple[Request, ...]) -> tuple[Outcome, ...]:
    """Do nothing: machines are all that RunInstances makes, beside launch templates that others share."""
    return tuple(map(foreign.nothing_to_do, requests))


@hookimpl
def plan(request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
    """Give the calls of `provision`, as they are if the first pool of each part has all of it."""
    name, calls = launch_templates.planned(context, template)
    its_tags = tags.of_instances(context, template, request.request_id)
    cards = launch_templates.users_interfaces(context, template)
    left: Sequence[float] = parts(template, request.target)
    for pool in pools(template):
        while left[pool.part] > 0:
            count = pool.machines(left[pool.part])
            parameters = run_instances(pool, count, template, name, its_tags, cards=cards)
            calls = (*calls, PlannedCall(service="ec2", operation="RunInstances", parameters=parameters))
            left = less(left, pool.part, count * pool.weight)
    return calls
