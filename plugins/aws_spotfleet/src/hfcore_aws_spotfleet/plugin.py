"""The hooks of `SpotFleet`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.hookspecs import hookimpl
from hfcore.models import PlannedCall, ProviderInfo
from hfcore_aws_spotfleet import about

if TYPE_CHECKING:
    from typing import Any

    from hfcore.context import Context
    from hfcore.models import (
        Discovery,
        Machine,
        Outcome,
        OwnedResource,
        Problem,
        Provisioned,
        Reclaim,
        Release,
        Released,
        Request,
        Template,
    )


@hookimpl
def provider_info() -> ProviderInfo:
    """Say what this plug-in is."""
    return about.INFO


@hookimpl
def validate_template(template: Template) -> tuple[Problem, ...]:
    """Find what is wrong with a template for SpotFleet."""
    return about.problems(template)


@hookimpl
def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Make the request's own launch template and its Spot Fleet request, which fills later."""
    from dataclasses import replace

    from hfcore.aws.fleets import SPOT_FLEET
    from hfcore.aws.fleets import provision as make
    from hfcore_aws_spotfleet.requests import terms

    request = replace(request, template=template)
    return make(
        context, SPOT_FLEET, request, template, lambda name: terms(context, request, name, units=request.target)
    )


@hookimpl
def advance(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
    """Buy on demand what Spot has left of requests of price type heterogeneous, once its time is over."""
    from hfcore.aws.fleet_remainders import buy_remainders
    from hfcore.aws.fleets import SPOT_FLEET
    from hfcore.aws.launch_templates import own_name
    from hfcore_aws_spotfleet.requests import terms

    def on_demand(request: Request, units: int) -> dict[str, Any]:
        return terms(context, request, own_name(request), units=units, on_demand=True)

    return buy_remainders(context, SPOT_FLEET, requests, on_demand)


@hookimpl
def discover_instances(requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
    """Show the machines of settled requests and returns by their ids, those of open requests by tag."""
    from hfcore.aws.discovery import discover
    from hfcore.aws.fleet_discovery import discover_open, settled
    from hfcore.aws.fleets import SPOT_FLEET

    by_id = tuple(told for told in map(settled, requests) if told)
    by_tag = tuple(request for request in requests if not settled(request))
    return (*discover(context, by_id), *discover_open(context, SPOT_FLEET, by_tag))


@hookimpl
def stop_launching(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Cancel the Spot Fleet requests without their machines."""
    from hfcore.aws.fleets import SPOT_FLEET, freeze

    return freeze(context, SPOT_FLEET, requests)


@hookimpl
def release_instances(releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
    """End exactly these machines: a Spot Fleet request of type `request` replaces none."""
    from hfcore.aws.instances import release

    return release(context, releases)


@hookimpl
def reclaimed_instances(machines: tuple[Machine, ...], context: Context) -> tuple[Reclaim, ...]:
    """Find the machines that AWS takes back."""
    from hfcore.aws.reclaims import reclaimed

    return reclaimed(machines, context)


@hookimpl
def owned_resources(context: Context) -> tuple[OwnedResource, ...]:
    """List instances, launch templates and Spot Fleet requests of ours."""
    from hfcore.aws import fleets, owned

    return (*owned.common(context), *fleets.owned(context, fleets.SPOT_FLEET))


@hookimpl
def cleanup(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Remove the requests' own launch templates; their Spot Fleet requests were cancelled before."""
    from hfcore.aws import fleets

    return fleets.cleanup(context, fleets.SPOT_FLEET, requests)


@hookimpl
def plan(request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
    """Give the calls of `provision`."""
    from dataclasses import replace

    from hfcore.aws import launch_templates
    from hfcore_aws_spotfleet.requests import terms

    request = replace(request, template=template)
    name, calls = launch_templates.planned(context, template, request)
    parameters = terms(context, request, name, units=request.target)
    return (*calls, PlannedCall(service="ec2", operation="RequestSpotFleet", parameters=parameters))
