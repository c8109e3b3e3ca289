"""Own what RequestSpotFleet is sent. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.aws import tags as tagging
from hfcore.aws.fleet_terms import as_time, configs, max_price, on_demand_units, spot_until, strategies

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from hfcore.context import Context
    from hfcore.models import Request, Template


def terms(
    context: Context, request: Request, launch_template: str, *, units: int, on_demand: bool = False
) -> dict[str, Any]:
    """Build RequestSpotFleet's parameters for (a part of) a request, without the token.

    Args:
        context: The context, for the tags.
        request: The request, with its template.
        launch_template: Name of the launch template, which says what the overrides do not.
        units: The target.
        on_demand: Whether this is what Spot has left of a request of price type heterogeneous.

    Raises:
        ValueError: The request is stored without its template.
    """
    template = request.template
    if template is None:
        raise ValueError(f"request {request.request_id} is stored without its template")
    its_tags = tagging.ours(context, template.template_id, request.request_id)
    until = request.deadline if on_demand else spot_until(request)
    share = units if on_demand else on_demand_units(template, units)
    return request_spot_fleet(template, launch_template, its_tags, units=units, on_demand=share, until=until)


def request_spot_fleet(
    template: Template,
    launch_template: str,
    tags: Mapping[str, str],
    *,
    units: int,
    on_demand: int,
    until: datetime | None,
) -> dict[str, Any]:
    """Build RequestSpotFleet's parameters, without its token.

    Args:
        template: The template.
        launch_template: Name of the launch template.
        tags: Tags of the Spot Fleet request; its instances get theirs by the launch template.
        units: The target.
        on_demand: The units of it that are bought on demand.
        until: When it stops launching.
    """
    only_on_demand = on_demand == units
    config: dict[str, Any] = {
        "Type": "request",
        "IamFleetRole": template.fleet_role,
        "TargetCapacity": units,
        "LaunchTemplateConfigs": configs(template, launch_template, on_demand=only_on_demand),
        "TagSpecifications": tagging.specifications(tags, "spot-fleet-request"),
        "TerminateInstancesWithExpiration": False,
    }
    if until:
        config["ValidUntil"] = as_time(until)
    spot_strategy, on_demand_strategy = strategies(template)
    if on_demand:
        config["OnDemandTargetCapacity"] = on_demand
        config |= {"OnDemandAllocationStrategy": on_demand_strategy} if on_demand_strategy else {}
    if not only_on_demand:
        config |= _spot(template, spot_strategy)
    return {"SpotFleetRequestConfig": config}


def _spot(template: Template, strategy: str | None) -> dict[str, Any]:
    options = {
        "InstanceInterruptionBehavior": "terminate",
        "AllocationStrategy": strategy,
        "SpotPrice": max_price(template),
        "InstancePoolsToUseCount": template.pools_count if strategy == "lowestPrice" else None,
    }
    return {name: value for name, value in options.items() if value is not None}
