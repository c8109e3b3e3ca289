"""Own what is wrong with a template for Auto Scaling, beside what is wrong on any AWS API. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.aws import mixes, native
from hfcore.aws.validation import ineffective_on_demand, warning
from hfcore.models import Problem
from hfcore_aws_asg.requests import percent_on_demand, spot_strategy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.models import Template

MOST_TYPES = 40
MOST_WEIGHT = 999
MOST_POOLS = 20
LEAST_PRICE = 0.001
"""Limits of MixedInstancesPolicy (Auto Scaling API reference)."""


def problems(template: Template) -> tuple[Problem, ...]:
    """Find what is wrong with a template for Auto Scaling."""
    market = _on_demand if template.price_type in (None, "ondemand") else _spot
    return (*_machines(template), *_mix(template), *market(template))


def _machines(template: Template) -> Iterator[Problem]:
    if template.launch_template_id and not template.subnet_id:
        yield Problem(field="subnetId", message="is missing: a group takes no subnet from a launch template")
    if template.instance_requirements:
        yield from _requirements(template)
    for field, types in (("vmTypes", template.vm_types), ("vmTypesOnDemand", template.vm_types_on_demand)):
        if (count := len(types)) > MOST_TYPES:
            yield Problem(field=field, message=f"are {count}; Auto Scaling allows {MOST_TYPES} for a group")
        if heavy := sorted(name for name, weight in types.items() if weight > MOST_WEIGHT):
            names = ", ".join(heavy)
            yield Problem(field=field, message=f"{names}: Auto Scaling allows weights of 1 to {MOST_WEIGHT}")


def _requirements(template: Template) -> Iterator[Problem]:
    yield from native.requirements(template, "autoscaling", "InstanceRequirements")
    if template.allocation_strategy_on_demand == "prioritized":
        message = "prioritized can't be honoured: instanceRequirements name no types in an order of priority"
        yield Problem(field="allocationStrategyOnDemand", message=message)


def _mix(template: Template) -> Iterator[Problem]:
    yield from mixes.problems(template)
    yield from mixes.problems_of_one_resource(template)
    if mixes.is_heterogeneous(template) and mixes.is_weighted(template):
        message = (
            "heterogeneous can't be combined with weights by ASG: a group does not tell how many units it has "
            "fulfilled, so that what Spot has left is not known in units"
        )
        hint = "leave out the weights, use spot with percentOnDemand, or providerApi EC2Fleet or SpotFleet"
        yield Problem(field="priceType", message=message, hint=hint)


def _on_demand(template: Template) -> Iterator[Problem]:
    yield from ineffective_on_demand(template)
    if template.vm_types_priority and template.allocation_strategy_on_demand == "lowestPrice":
        yield warning("vmTypesPriority", "has no effect: allocationStrategyOnDemand is lowestPrice")


def _spot(template: Template) -> Iterator[Problem]:
    strategy = spot_strategy(template)
    if strategy == "diversified":
        hint = "use priceCapacityOptimized, or lowestPrice with poolsCount"
        yield Problem(field="allocationStrategy", message="diversified is none of Auto Scaling's", hint=hint)
    if template.pools_count and strategy != "lowestPrice":
        yield warning("poolsCount", f"has no effect: allocationStrategy is {strategy}")
    if template.pools_count and strategy == "lowestPrice" and template.pools_count > MOST_POOLS:
        yield Problem(field="poolsCount", message=f"is {template.pools_count}; Auto Scaling allows {MOST_POOLS}")
    if template.max_spot_price is not None and template.max_spot_price < LEAST_PRICE:
        yield Problem(field="maxSpotPrice", message=f"is below the least that Auto Scaling takes, {LEAST_PRICE}")
    on_demand = percent_on_demand(template) or mixes.is_heterogeneous(template)
    if template.allocation_strategy_on_demand and not on_demand:
        yield warning("allocationStrategyOnDemand", "has no effect: nothing is bought on demand")
    by_priority = on_demand and template.allocation_strategy_on_demand != "lowestPrice"
    if template.vm_types_priority and strategy != "capacityOptimizedPrioritized" and not by_priority:
        hint = "use capacityOptimizedPrioritized"
        yield warning("vmTypesPriority", f"has no effect: allocationStrategy is {strategy}; {hint}")
