"""Own what RequestSpotFleet is sent. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.aws import native
from hfcore.aws import tags as tagging
from hfcore.aws.fleet_terms import configs, expiry, strategies
from hfcore.aws.fleets import FleetApi
from hfcore.aws.launch import as_price
from hfcore.aws.mixes import on_demand_units, spot_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from hfcore.context import Context
    from hfcore.models import Request, Template


def terms(
    context: Context, request: Request, template: Template, launch_template: str, *, units: int, remainder: bool = False
) -> dict[str, Any]:
    """Build RequestSpotFleet's parameters for a request, or for what Spot has left of it (`FleetApi.terms`)."""
    return request_spot_fleet(
        template,
        launch_template,
        tagging.ours(context, template.template_id, request.request_id),
        units=units,
        on_demand=units if remainder else on_demand_units(template, units),
        until=request.deadline if remainder else spot_until(request),
    )


SPOT_FLEET = FleetApi(
    kind="spot-fleet",
    fleet_id="SpotFleetRequestId",
    state="SpotFleetRequestState",
    create="RequestSpotFleet",
    config="SpotFleetRequestConfig",
    terms=terms,
    describe="DescribeSpotFleetRequests",
    fleets="SpotFleetRequestConfigs",
    members="DescribeSpotFleetInstances",
    history="DescribeSpotFleetRequestHistory",
    end="CancelSpotFleetRequests",
    not_ended="UnsuccessfulFleetRequests",
)


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
    spot_strategy, on_demand_strategy = strategies(template)
    config: dict[str, Any] = {
        "Type": "request",
        "IamFleetRole": template.fleet_role,
        "TargetCapacity": units,
        "LaunchTemplateConfigs": configs(template, launch_template, on_demand=only_on_demand),
        "TagSpecifications": tagging.specifications(tags, "spot-fleet-request"),
        **expiry(until),
    }
    if on_demand:
        config |= {"OnDemandTargetCapacity": on_demand, "OnDemandAllocationStrategy": on_demand_strategy}
    if not only_on_demand:
        config |= {
            "InstanceInterruptionBehavior": "terminate",
            "AllocationStrategy": spot_strategy,
            "SpotPrice": as_price(template.max_spot_price),
            "InstancePoolsToUseCount": template.pools_count if spot_strategy == "lowestPrice" else None,
        }
    ours = {name: value for name, value in config.items() if value is not None}
    return {"SpotFleetRequestConfig": native.over(ours, native.parameters(template, "RequestSpotFleet"))}
