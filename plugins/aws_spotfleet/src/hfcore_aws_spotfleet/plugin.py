"""The hooks of `SpotFleet`: one Spot Fleet request, of type `request`, for each request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfcore.aws import (
    access,
    checks,
    finding,
    fleet_terms,
    fleets,
    instances,
    native,
    offers,
    owned,
    policy,
    queue,
    reclaims,
    validation,
)
from hfcore.aws.about import aws_provider
from hfcore.aws.fleet_discovery import discover_fleets
from hfcore.aws.remainders import buy_remainders
from hfcore.hookspecs import hookimpl
from hfcore.models import Problem
from hfcore_aws_spotfleet.requests import SPOT_FLEET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.context import Context
    from hfcore.models import (
        Discovery,
        Outcome,
        OwnedResource,
        PlannedCall,
        ProviderInfo,
        Provisioned,
        Request,
        Template,
    )

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")

REFUSED = {
    "ec2FleetConfig": "can't be honoured: it holds CreateFleet's parameters; use providerApi EC2Fleet",
    **dict.fromkeys(("hostId", "hostResourceGroupArn", "placementPartition"), fleet_terms.NOT_BY_FLEETS),
}
"""Template fields that Spot Fleet can't honour, each with the reason."""

INFO = aws_provider(
    "SpotFleet",
    "Machines by Spot Fleet requests, Spot and with a share on demand.",
    operations=(
        "ec2:CancelSpotFleetRequests",
        "ec2:DescribeSpotFleetInstances",
        "ec2:DescribeSpotFleetRequestHistory",
        "ec2:DescribeSpotFleetRequests",
        "ec2:RequestSpotFleet",
    ),
    refused=REFUSED,
    call_budgets={
        "request": "1 CreateLaunchTemplate and 1 RequestSpotFleet",
        "status of 1 to 50 settled requests": "1 DescribeInstances for each 1,000 machines",
        "status of 1 to 50 open requests": "1 DescribeInstances by tag and 1 DescribeSpotFleetRequests; 1 "
        "DescribeSpotFleetInstances for each one with more than EC2 shows, or 1 DescribeInstances for missing machines",
        "reasons for a shortfall": "1 DescribeSpotFleetRequestHistory for each request short after 60 s",
        "freeze": "1 CancelSpotFleetRequests for each 100 requests",
        "return of n machines": "1 TerminateInstances for each 1,000 machines",
    },
)

# Exactly these machines: a Spot Fleet request of type `request` replaces none.
release_instances = instances.release_instances
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
    """Find what is wrong with a template for SpotFleet."""
    return (
        *validation.common(template, refused=REFUSED),
        *validation.exports(context, template),
        *native.problems(template, "RequestSpotFleet"),
        *fleet_terms.problems(template),
        *_own_problems(template),
        *validation.slow_to_start(template, context.settings),
    )


def _own_problems(template: Template) -> Iterator[Problem]:
    role = template.fleet_role
    if not role:
        hint = "the ARN of aws-ec2-spot-fleet-tagging-role, or providerApi EC2Fleet, which needs none"
        yield Problem(field="fleetRole", message="is missing: Spot Fleet works by it", hint=hint)
    elif not _ROLE.fullmatch(role):
        yield Problem(field="fleetRole", message=f"{role!r} is no role's ARN", hint="arn:aws:iam::ACCOUNT:role/NAME")
    if template.fleet_type not in (None, "request"):
        message = f"is {template.fleet_type}: SpotFleet serves type request only"
        yield Problem(field="fleetType", message=message, hint="use providerApi EC2Fleet")
    if template.price_type is None:
        yield validation.warning("priceType", "is not given: everything is bought on demand, not Spot")


@hookimpl
def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Make the request's own launch template and its Spot Fleet request, which fills later."""
    return fleets.provision(context, SPOT_FLEET, request, template)


@hookimpl
def advance(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
    """Buy on demand what Spot has left of requests of price type heterogeneous, once its time is over."""
    return buy_remainders(context, fleets.second(SPOT_FLEET), requests)


@hookimpl
def discover_instances(requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
    """Show the machines of settled requests and returns by their ids, those of open requests by tag."""
    return discover_fleets(context, SPOT_FLEET, requests)


@hookimpl
def stop_launching(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Cancel the Spot Fleet requests without their machines."""
    return fleets.freeze(context, SPOT_FLEET, requests)


@hookimpl
def owned_resources(context: Context) -> tuple[OwnedResource, ...]:
    """List instances, launch templates and Spot Fleet requests of ours."""
    return owned.common(context, fleets.owned_fleets(context, SPOT_FLEET))


@hookimpl
def cleanup(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Remove the requests' own launch templates; their Spot Fleet requests were cancelled before."""
    return fleets.cleanup(context, SPOT_FLEET, requests)


@hookimpl
def plan(request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
    """Give the calls of `provision`."""
    return fleets.plan(context, SPOT_FLEET, request, template)
