"""The hooks of `EC2Fleet`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.hookspecs import hookimpl
from hfcore.models import Outcome, PlannedCall, ProviderInfo
from hfcore_aws_ec2fleet import about

if TYPE_CHECKING:
    from typing import Any

    from hfcore.context import Context
    from hfcore.models import (
        Discovery,
        Machine,
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
    """Find what is wrong with a template for EC2Fleet."""
    return about.problems(template)


@hookimpl
def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Launch by an instant fleet, or make a fleet of type request or maintain, which fills later."""
    from dataclasses import replace

    from hfcore.aws import fleets
    from hfcore_aws_ec2fleet import instant
    from hfcore_aws_ec2fleet.requests import fleet_type, terms

    request = replace(request, template=template)
    kind = fleet_type(request)
    if kind == "instant":
        return instant.provision(context, request, template)
    made = fleets.provision(
        context, fleets.EC2_FLEET, request, template, lambda name: terms(context, request, name, units=request.target)
    )
    return replace(made, refills=kind == "maintain")


@hookimpl
def advance(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
    """Buy on demand what Spot has left of requests of price type heterogeneous, once its time is over."""
    from hfcore.aws.fleet_remainders import buy_remainders
    from hfcore.aws.fleets import EC2_FLEET
    from hfcore.aws.launch_templates import own_name
    from hfcore_aws_ec2fleet.requests import fills_later, terms

    def on_demand(request: Request, units: int) -> dict[str, Any]:
        return terms(context, request, own_name(request), units=units, on_demand=True)

    return buy_remainders(context, EC2_FLEET, tuple(filter(fills_later, requests)), on_demand)


@hookimpl
def discover_instances(requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
    """Show the machines of instant fleets, settled requests and returns by their ids, those of other fleets by tag."""
    from hfcore.aws.discovery import discover
    from hfcore.aws.fleet_discovery import discover_open, settled
    from hfcore.aws.fleets import EC2_FLEET
    from hfcore_aws_ec2fleet.instant import told
    from hfcore_aws_ec2fleet.requests import fills_later

    by_id = tuple(settled(one) or told(one) for one in requests if settled(one) or not fills_later(one))
    by_tag = tuple(one for one in requests if fills_later(one) and not settled(one))
    return (*discover(context, by_id), *discover_open(context, EC2_FLEET, by_tag))


@hookimpl
def stop_launching(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Delete fleets of type request and maintain without their machines; an instant fleet launches nothing more."""
    from hfcore.aws.fleets import EC2_FLEET, freeze
    from hfcore_aws_ec2fleet.requests import fills_later
    from hfcore_aws_ec2fleet.returns import forget_lowered

    filling = tuple(filter(fills_later, requests))
    for request in filling:
        forget_lowered(context, request)
    rest = (Outcome(request_id=one.request_id, done=True) for one in requests if one not in filling)
    return (*rest, *freeze(context, EC2_FLEET, filling))


@hookimpl
def release_instances(releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
    """End exactly these machines; an open `maintain` fleet is first told to want as many fewer."""
    from hfcore_aws_ec2fleet.returns import release

    return release(context, releases)


@hookimpl
def reclaimed_instances(machines: tuple[Machine, ...], context: Context) -> tuple[Reclaim, ...]:
    """Find the machines that AWS takes back."""
    from hfcore.aws.reclaims import reclaimed

    return reclaimed(machines, context)


@hookimpl
def owned_resources(context: Context) -> tuple[OwnedResource, ...]:
    """List instances, launch templates and fleets of ours; instant fleets can't be listed (DescribeFleets)."""
    from hfcore.aws import fleets, owned

    return (*owned.common(context), *fleets.owned(context, fleets.EC2_FLEET))


@hookimpl
def cleanup(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Delete emptied instant fleets, and the own launch templates of the other fleets."""
    from hfcore.aws import fleets
    from hfcore_aws_ec2fleet import instant
    from hfcore_aws_ec2fleet.requests import fills_later

    filling = tuple(filter(fills_later, requests))
    at_once = tuple(one for one in requests if one not in filling)
    return (*instant.cleanup(context, at_once), *fleets.cleanup(context, fleets.EC2_FLEET, filling))


@hookimpl
def plan(request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
    """Give the calls of `provision`, as they are if the first fleet has all of it."""
    from dataclasses import replace

    from hfcore.aws import launch_templates
    from hfcore_aws_ec2fleet.requests import fills_later, terms

    request = replace(request, template=template)
    name, calls = launch_templates.planned(context, template, request if fills_later(request) else None)
    parameters = terms(context, request, name, units=request.target)
    return (*calls, PlannedCall(service="ec2", operation="CreateFleet", parameters=parameters))
