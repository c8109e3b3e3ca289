"""Own the terms of EC2 and Spot fleets that both spell alike: types, weights, shares, times. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hfcore.aws.instances import weights
from hfcore.aws.launch import as_price, versioned
from hfcore.aws.validation import ineffective_on_demand, warning
from hfcore.models import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from hfcore.models import Request, Template

LONGEST_REMAINDER = timedelta(minutes=5)
"""For so long, at most, before the deadline what Spot has left is bought on demand."""


def is_heterogeneous(template: Template | None) -> bool:
    """Tell whether Spot is tried first, and what it leaves is bought on demand."""
    return template is not None and template.price_type == "heterogeneous"


def on_demand_units(template: Template, target: int) -> int:
    """Give the units of a target that are bought on demand from the start: the share, to the nearest whole unit."""
    if template.price_type in (None, "ondemand"):
        return target
    return (target * (template.percent_on_demand or 0) + 50) // 100


def spot_until(request: Request) -> datetime | None:
    """Give the time until which Spot may fill a request.

    That is the deadline; where the rest is bought on demand then, up to 5 minutes earlier, so that it can come in time.
    """
    if request.deadline is None or not is_heterogeneous(request.template):
        return request.deadline
    return request.deadline - min(LONGEST_REMAINDER, (request.deadline - request.created_at) / 4)


def as_time(moment: datetime) -> str:
    """Give a UTC time as EC2 has it, in whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def expiry(moment: datetime | None) -> dict[str, Any]:
    """Say when a fleet stops launching; what it has launched stays."""
    return {"TerminateInstancesWithExpiration": False} | ({"ValidUntil": as_time(moment)} if moment else {})


def configs(template: Template, launch_template: str, *, on_demand: bool, price: str = "") -> list[dict[str, Any]]:
    """Build `LaunchTemplateConfigs`: each type in each subnet, one subnet an override.

    Args:
        template: The template.
        launch_template: Name of the launch template.
        on_demand: Whether the fleet buys on demand alone, for which a template may have types of its own.
        price: The override's member for the most that a unit may cost an hour; empty where it stands elsewhere.
    """
    own = template.vm_types_on_demand if on_demand and is_heterogeneous(template) else {}
    types = own or template.vm_types
    weighted = any(weight != 1 for weight in weights(template).values())
    overrides = []
    for one in types or [""]:
        for subnet in template.subnet_id or [""]:
            members = {
                "InstanceType": one,
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
    yield from _types(template)
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


def _types(template: Template) -> Iterator[Problem]:
    both = template.vm_types.keys() & template.vm_types_on_demand.keys()
    differing = sorted(one for one in both if template.vm_types[one] != template.vm_types_on_demand[one])
    if differing:
        yield Problem(field="vmTypesOnDemand", message=f"{', '.join(differing)} has another weight than in vmTypes")
    if is_heterogeneous(template) and template.percent_on_demand and template.vm_types_on_demand:
        message = "can't be held to beside vmTypesOnDemand: one fleet has the same types for Spot and on demand"
        yield Problem(field="percentOnDemand", message=message, hint="leave one of them out")
