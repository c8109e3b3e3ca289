"""Own the terms of price mixes that AWS APIs share: shares on demand, weights, the end of Spot's time. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hfcore.aws.instances import weights
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


def is_weighted(template: Template) -> bool:
    """Tell whether capacity is counted in units of several sizes."""
    return any(weight != 1 for weight in weights(template).values())


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


def problems(template: Template) -> Iterator[Problem]:
    """Find what is wrong with a template's mix on any AWS API."""
    both = template.vm_types.keys() & template.vm_types_on_demand.keys()
    differing = sorted(one for one in both if template.vm_types[one] != template.vm_types_on_demand[one])
    if differing:
        yield Problem(field="vmTypesOnDemand", message=f"{', '.join(differing)} has another weight than in vmTypes")


def problems_of_one_resource(template: Template) -> Iterator[Problem]:
    """Find what is wrong with a mix where a fleet or a group buys on both markets."""
    if is_heterogeneous(template) and template.percent_on_demand and template.vm_types_on_demand:
        message = "can't be held to beside vmTypesOnDemand: one resource has the same types for Spot and on demand"
        yield Problem(field="percentOnDemand", message=message, hint="leave one of them out")
