"""Own what CreateFleet is sent, and what of its answer is kept. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.aws import native
from hfcore.aws import tags as tagging
from hfcore.aws.calls import is_late
from hfcore.aws.errors import as_fault
from hfcore.aws.fleet_terms import configs, expiry, strategies
from hfcore.aws.fleets import FleetApi
from hfcore.aws.instances import noted
from hfcore.aws.launch import hyphenated
from hfcore.aws.mixes import on_demand_units, spot_until
from hfcore.errors import ConfigError
from hfcore.models import EMPTY
from hfcore_aws_ec2fleet import config_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from hfcore.context import Context
    from hfcore.models import Fault, FleetType, Request, Template

INSTANT: FleetType = "instant"


def fleet_type(request: Request) -> FleetType:
    """Give the type of a request's fleet."""
    return (request.template.fleet_type if request.template else None) or INSTANT


def fills_later(request: Request) -> bool:
    """Tell whether a request's fleet goes on launching until it is deleted."""
    return fleet_type(request) != INSTANT


def terms(
    context: Context, request: Request, template: Template, launch_template: str, *, units: int, remainder: bool = False
) -> dict[str, Any]:
    """Build CreateFleet's parameters for a request, or for what Spot has left of it (`FleetApi.terms`)."""
    kind = fleet_type(request)
    its_tags = {"fleet": tagging.ours(context, template.template_id, request.request_id)}
    if kind == INSTANT:
        its_tags["instance"] = tagging.of_instances(context, template, request.request_id)
    elif remainder:
        kind = "request"
    until = request.deadline if remainder else spot_until(request)
    named = (template, launch_template, its_tags)
    config = native_config(context, request, template)
    return create_fleet(*named, units=units, kind=kind, on_demand=remainder, until=until, config=config)


def native_config(context: Context, request: Request, template: Template) -> Mapping[str, Any]:
    """Read the template's `ec2FleetConfig`; what was begun is sent as it was then, or looked for, without it."""
    try:
        return config_file.read(context, template)
    except ConfigError:
        steps = context.journal.steps(request.request_id)
        begun = any(step.call == f"ec2:{native.CREATE_FLEET}" and step.outcome is None for step in steps)
        if begun or is_late(context, request.deadline):
            return EMPTY
        raise


EC2_FLEET = FleetApi(
    kind="fleet",
    fleet_id="FleetId",
    state="FleetState",
    create="CreateFleet",
    config="",
    terms=terms,
    describe="DescribeFleets",
    fleets="Fleets",
    members="DescribeFleetInstances",
    history="DescribeFleetHistory",
    end="DeleteFleets",
    not_ended="UnsuccessfulFleetDeletions",
)


def create_fleet(
    template: Template,
    launch_template: str,
    tags: Mapping[str, Mapping[str, str]],
    *,
    units: int,
    kind: FleetType,
    on_demand: bool = False,
    until: datetime | None = None,
    config: Mapping[str, Any] = EMPTY,
) -> dict[str, Any]:
    """Build CreateFleet's parameters, without its token.

    Args:
        template: The template.
        launch_template: Name of the launch template.
        tags: Tags by resource type: `fleet`, and for an instant fleet `instance`.
        units: The target.
        kind: The fleet's type.
        on_demand: Whether all of it is bought on demand, whatever the template says.
        until: When a fleet that is not instant stops launching.
        config: What the template's `ec2FleetConfig` says beside that.
    """
    share = units if on_demand else on_demand_units(template, units)
    only_on_demand = share == units
    parameters: dict[str, Any] = {
        "Type": kind,
        "LaunchTemplateConfigs": configs(template, launch_template, on_demand=only_on_demand, price="MaxPrice"),
        "TargetCapacitySpecification": _target(units, share),
        "TagSpecifications": [part for one in tags for part in tagging.specifications(tags[one], one)],
        **_options(template, spot=not only_on_demand, on_demand=share > 0),
    }
    if kind != INSTANT:
        parameters |= expiry(until)
    if kind == "maintain":  # CreateFleet supports these for this type alone
        parameters |= {"ExcessCapacityTerminationPolicy": "no-termination", "ReplaceUnhealthyInstances": False}
    return native.over(native.over(parameters, config), native.parameters(template, native.CREATE_FLEET))


def _target(units: int, on_demand: int) -> dict[str, Any]:
    both = 0 < on_demand < units
    return {
        "TotalTargetCapacity": units,
        "DefaultTargetCapacityType": "on-demand" if on_demand == units else "spot",
        **({"OnDemandTargetCapacity": on_demand, "SpotTargetCapacity": units - on_demand} if both else {}),
    }


def _options(template: Template, *, spot: bool, on_demand: bool) -> dict[str, Any]:
    """Build the options of the markets that are bought in."""
    spot_strategy, on_demand_strategy = strategies(template)
    options: dict[str, Any] = {}
    if spot:
        options["SpotOptions"] = {"InstanceInterruptionBehavior": "terminate"}
        if spot_strategy:
            options["SpotOptions"]["AllocationStrategy"] = hyphenated(spot_strategy)
        if template.pools_count and spot_strategy == "lowestPrice":
            options["SpotOptions"]["InstancePoolsToUseCount"] = template.pools_count
    if on_demand and on_demand_strategy:
        options["OnDemandOptions"] = {"AllocationStrategy": hyphenated(on_demand_strategy)}
    return options


def keep(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is written down of an instant fleet, as CreateFleet and DescribeFleets answer it."""
    return {
        "fleet": answer["FleetId"],
        "instances": [one for group in answer.get("Instances") or () for one in _instances(group)],
        "errors": [_error(one) for one in answer.get("Errors") or ()],
    }


def _instances(group: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    override = _override(group)
    its_type = group.get("InstanceType") or override.get("InstanceType", "")
    zone, spot = override.get("AvailabilityZone", ""), group.get("Lifecycle") == "spot"
    return (noted(one, its_type, zone, spot=spot) for one in group.get("InstanceIds", ()))


def _error(one: Mapping[str, Any]) -> dict[str, str]:
    override = _override(one)
    place = override.get("AvailabilityZone") or override.get("SubnetId", "")
    parts = (override.get("InstanceType", ""), place, one.get("Lifecycle", ""))
    return {
        "code": one.get("ErrorCode", "Unknown"),
        "message": one.get("ErrorMessage", ""),
        "subject": " ".join(part for part in parts if part),
    }


def _override(one: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = one.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    return found


def faults(outcome: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Give the faults of an outcome as it was written down, each once."""
    told = (as_fault(one["code"], one["message"], one["subject"]) for one in outcome["errors"])
    return tuple(dict.fromkeys(told))
