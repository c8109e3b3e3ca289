"""The hooks of `EC2Fleet`: instant fleets (`instant`), and those of type request and maintain, which fill later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hfcore.aws import (
    access,
    checks,
    finding,
    fleet_terms,
    fleets,
    native,
    offers,
    owned,
    policy,
    queue,
    reclaims,
    validation,
)
from hfcore.aws.about import aws_provider
from hfcore.aws.fleet_discovery import discover_fleets, settled
from hfcore.aws.remainders import buy_remainders
from hfcore.hookspecs import hookimpl
from hfcore.models import Outcome
from hfcore_aws_ec2fleet import config_file, instant, returns
from hfcore_aws_ec2fleet.requests import EC2_FLEET, fills_later, fleet_type, native_config

if TYPE_CHECKING:
    from hfcore.aws.discovery import Told
    from hfcore.context import Context
    from hfcore.models import (
        Discovery,
        OwnedResource,
        PlannedCall,
        Problem,
        ProviderInfo,
        Provisioned,
        Request,
        Template,
    )

IGNORED = {"fleetRole": "EC2 Fleet works by its service-linked role"}
"""Template fields without effect here, each with the reason."""

REFUSED = dict.fromkeys(("hostId", "hostResourceGroupArn", "placementPartition"), fleet_terms.NOT_BY_FLEETS)
"""Template fields that EC2 Fleet can't honour, each with the reason."""

INFO = aws_provider(
    "EC2Fleet",
    "Machines by EC2 Fleets of type instant, request and maintain, on demand, Spot and mixed.",
    operations=(
        "ec2:CreateFleet",
        "ec2:DeleteFleets",
        "ec2:DescribeFleetHistory",
        "ec2:DescribeFleetInstances",
        "ec2:DescribeFleets",
        "ec2:ModifyFleet",
    ),
    ignored=IGNORED,
    refused=REFUSED,
    call_budgets={
        "request": "1 CreateFleet, and 1 CreateLaunchTemplate (instant: for a template not yet known); an instant "
        "fleet that is short: 1 DescribeFleets",
        "status of 1 to 50 instant or settled requests": "1 DescribeInstances for each 1,000 machines",
        "status of 1 to 50 open request and maintain fleets": "1 DescribeInstances by tag and 1 DescribeFleets; 1 "
        "DescribeFleetInstances for each fleet with more than EC2 shows, or 1 DescribeInstances for missing machines",
        "reasons for a shortfall": "1 DescribeFleetHistory for each fleet of a request short after 60 s",
        "freeze": "1 DeleteFleets for each 100 request and maintain fleets",
        "return of n machines": "1 TerminateInstances for each 1,000 machines; for open maintain fleets before that 1 "
        "DescribeFleets, 1 ModifyFleet for each, and DescribeFleets until it is modified",
    },
)

# Exactly these machines; an open `maintain` fleet is first told to want as many fewer.
release_instances = hookimpl(returns.release)
reclaimed_instances = reclaims.reclaimed_instances
find_instances = finding.find_instances
describe_offers = offers.describe_offers
check = checks.check
check_account = access.check_account
access_policy = policy.access_policy
receive_notices = queue.receive_notices
forget_notices = queue.forget_notices
remove_owned = owned.remove_owned


@hookimpl
def provider_info() -> ProviderInfo:
    """Say what this plug-in is."""
    return INFO


@hookimpl
def validate_template(template: Template, context: Context) -> tuple[Problem, ...]:
    """Find what is wrong with a template for EC2Fleet."""
    return (
        *validation.common(template, ignored=IGNORED, refused=REFUSED),
        *validation.exports(context, template),
        *native.problems(template, "CreateFleet"),
        *config_file.problems(context, template),
        *fleet_terms.problems(template),
        *validation.slow_to_start(template, context.settings),
    )


@hookimpl
def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Launch by an instant fleet, or make a fleet of type request or maintain, which fills later."""
    native_config(context, request, template)  # what is wrong with it is said before anything is made
    if not fills_later(request):
        return instant.provision(context, request, template)
    made = fleets.provision(context, EC2_FLEET, request, template)
    return replace(made, refills=fleet_type(request) == "maintain")


@hookimpl
def advance(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
    """Buy on demand what Spot has left of requests of price type heterogeneous, once its time is over."""
    return buy_remainders(context, fleets.second(EC2_FLEET), filter(fills_later, requests))


@hookimpl
def discover_instances(requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
    """Show the machines of instant fleets, settled requests and returns by their ids, those of other fleets by tag."""

    def known(request: Request) -> Told | None:
        return settled(request) or (None if fills_later(request) else instant.told(request))

    return discover_fleets(context, EC2_FLEET, requests, known)


@hookimpl
def stop_launching(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Delete fleets of type request and maintain without their machines; an instant fleet launches nothing more."""
    filling, at_once = _parted(requests)
    for request in filling:
        returns.forget_lowered(context, request)
    done = (Outcome(request_id=request.request_id, done=True) for request in at_once)
    return (*done, *fleets.freeze(context, EC2_FLEET, filling))


@hookimpl
def owned_resources(context: Context) -> tuple[OwnedResource, ...]:
    """List instances, launch templates and fleets of ours; instant fleets can't be listed (DescribeFleets)."""
    return owned.common(context, fleets.owned_fleets(context, EC2_FLEET))


@hookimpl
def cleanup(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Delete emptied instant fleets, and the own launch templates of the other fleets."""
    filling, at_once = _parted(requests)
    return (*instant.cleanup(context, at_once), *fleets.cleanup(context, EC2_FLEET, filling))


@hookimpl
def plan(request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
    """Give the calls of `provision`, as they are if the first fleet has all of it."""
    return fleets.plan(context, EC2_FLEET, request, template, own=fills_later(request))


def _parted(requests: tuple[Request, ...]) -> tuple[tuple[Request, ...], tuple[Request, ...]]:
    """Tell requests whose fleets fill later from those of instant fleets."""
    filling = tuple(filter(fills_later, requests))
    return filling, tuple(one for one in requests if one not in filling)
