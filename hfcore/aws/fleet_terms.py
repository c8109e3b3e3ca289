"""Own the terms of EC2 and Spot fleets that both spell alike: types, weights, shares, times. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.aws import mixes
from hfcore.aws.launch import as_price, versioned
from hfcore.aws.mixes import is_heterogeneous, is_weighted
from hfcore.aws.validation import ineffective_on_demand, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from hfcore.models import Problem, Template

NOT_BY_FLEETS = "fleets do not support it (EC2 API reference, Placement)"
"""Why some of a machine's placement can't be honoured by EC2 and Spot fleets."""


def as_time(moment: datetime) -> str:
    """Give a UTC time as EC2 has it, in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def expiry(moment: datetime | None) -> dict[str, Any]:
    """Say when a fleet stops launching; what it has launched stays."""
    return {"TerminateInstancesWithExpiration": False} | ({"ValidUntil": as_time(moment)} if moment else {})


def configs(template: Template, launch_template: str, *, on_demand: bool, price: str = "") -> list[dict[str, Any]]:
    """Build `LaunchTemplateConfigs`: each type, or what instances must have, in each subnet; one subnet an override.

    Args:
        template: The template.
        launch_template: Name of the launch template.
        on_demand: Whether the fleet buys on demand alone, for which a template may have types of its own.
        price: The override's member for the most that a unit may cost an hour; empty where it stands elsewhere.
    """
    own = template.vm_types_on_demand if on_demand and is_heterogeneous(template) else {}
    types = own or template.vm_types
    weighted = is_weighted(template)
    overrides = []
    for one in types or [""]:
        for subnet in template.subnet_id or [""]:
            members = {
                "InstanceType": one,
                "InstanceRequirements": None if types else dict(template.instance_requirements) or None,
                "SubnetId": subnet,
                "WeightedCapacity": types[one] if weighted and one else None,
                "Priority": template.vm_types_priority.get(one),
                price: as_price(template.max_spot_price) if price and not on_demand else None,
            }
            overrides.append({name: value for name, value in members.items() if value not in (None, "")})
    named = {"LaunchTemplateSpecification": versioned(launch_template)}
    return [{**named, **({"Overrides": overrides} if any(overrides) else {})}]


def strategies(template: Template) -> tuple[str | None, str | None]:
    """Give the allocation strategies for Spot and on demand, in IBM's words, where the template implies any."""
    spot = template.allocation_strategy or ("lowestPrice" if template.pools_count else None)
    return spot, template.allocation_strategy_on_demand or ("prioritized" if template.vm_types_priority else None)


def problems(template: Template) -> Iterator[Problem]:
    """Find what is wrong with a template on either API, beside what `validation.common` finds."""
    yield from mixes.problems(template)
    yield from mixes.problems_of_one_resource(template)
    spot, on_demand = strategies(template)
    only_spot = template.price_type == "spot" and not template.percent_on_demand
    if template.price_type in (None, "ondemand"):
        yield from ineffective_on_demand(template)
    elif template.pools_count and spot != "lowestPrice":
        yield warning("poolsCount", f"has no effect: allocationStrategy is {spot}, not lowestPrice")
    if only_spot and template.allocation_strategy_on_demand:
        yield warning("allocationStrategyOnDemand", "has no effect: nothing is bought on demand")
    by_priority = (on_demand == "prioritized" and not only_spot) or spot == "capacityOptimizedPrioritized"
    if template.vm_types_priority and not by_priority:
        yield warning("vmTypesPriority", "has no effect: no allocation strategy here goes by priority")
