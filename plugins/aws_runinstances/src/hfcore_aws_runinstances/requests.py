"""Own what RunInstances is sent, and what of its answer is kept. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hfcore.aws import native
from hfcore.aws import tags as tagging
from hfcore.aws.instances import launched, noted, weights
from hfcore.aws.launch import as_price, interfaces, versioned
from hfcore.aws.mixes import on_demand_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hfcore.models import Instance, Template

SHARE, REST = 0, 1
"""The parts of a target, as `parts` gives them."""

MOST_MACHINES = 500
"""Machines asked for in one call: half of what EC2 lets an account launch at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Where one call may launch: one type, one subnet, one market. Empty where the launch template says it.

    Args:
        part: The part of the target that it helps to fill: its index in `parts`.
    """

    instance_type: str = ""
    subnet_id: str = ""
    spot: bool = False
    weight: int = 1
    part: int = 0

    def __str__(self) -> str:
        parts = (self.instance_type, self.subnet_id, "Spot" if self.spot else "on demand")
        return " ".join(part for part in parts if part)

    def machines(self, units: float) -> int:
        """Give how many machines one call asks for, for so many units."""
        return min(MOST_MACHINES, math.ceil(units / self.weight))


def parts(template: Template, target: int) -> tuple[int, ...]:
    """Give the units of a target that are bought on demand from the start, and those that the price type is for."""
    share = 0 if template.price_type in (None, "ondemand") else on_demand_units(template, target)
    return share, target - share


def less(left: Sequence[float], part: int, units: float) -> list[float]:
    """Give what is left of each part once a part has got so many units; a share's surplus fills the rest too."""
    after = [one - units if number == part else one for number, one in enumerate(left)]
    return [max(after[SHARE], 0.0), after[REST] + min(after[SHARE], 0.0)]


def pools(template: Template) -> tuple[Pool, ...]:
    """Give the pools in the order in which they are tried: types by priority, each in every subnet.

    First those of the share on demand (`percentOnDemand`), then those of the rest: `heterogeneous` tries every Spot
    pool first, and buys on demand what Spot does not have.
    """
    kind = template.price_type or "ondemand"
    own = (template.vm_types_on_demand if kind == "heterogeneous" else {}) or template.vm_types
    share = _pools_of(template, own, part=SHARE) if template.percent_on_demand and kind != "ondemand" else ()
    spot = _pools_of(template, template.vm_types, part=REST, spot=True) if kind != "ondemand" else ()
    rest = _pools_of(template, own, part=REST) if kind != "spot" else ()
    return (*share, *spot, *rest)


def _pools_of(template: Template, types: Mapping[str, int], *, part: int, spot: bool = False) -> tuple[Pool, ...]:
    priority = template.vm_types_priority
    ordered = sorted(types, key=lambda one: priority.get(one, math.inf)) or [""]
    units = weights(template)
    return tuple(
        Pool(instance_type=one, subnet_id=subnet, spot=spot, weight=units.get(one, 1), part=part)
        for one in ordered
        for subnet in template.subnet_id or ("",)
    )


def run_instances(
    pool: Pool,
    count: int,
    template: Template,
    launch_template: str,
    tags: Mapping[str, str],
    *,
    cards: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Build RunInstances' parameters, without its token: as many as there are, up to `count`.

    Args:
        pool: Where to launch.
        count: Most machines.
        template: The template.
        launch_template: Name of the launch template, which says the rest.
        tags: Tags of instances, volumes and Spot requests.
        cards: Network interfaces that the launch template has from the user's own one.
    """
    tagged = ("instance", "volume", *(["spot-instances-request"] if pool.spot else []))
    parameters: dict[str, Any] = {
        "LaunchTemplate": versioned(launch_template),
        "MinCount": 1,
        "MaxCount": count,
        "TagSpecifications": tagging.specifications(tags, *tagged),
    }
    if pool.instance_type:
        parameters["InstanceType"] = pool.instance_type
    cards = interfaces(template) or cards
    if pool.subnet_id and cards:  # EC2 refuses a subnet of the instance beside network interfaces
        parameters["NetworkInterfaces"] = [{**one, **_in_subnet(one, pool.subnet_id)} for one in cards]
    elif pool.subnet_id:
        parameters["SubnetId"] = pool.subnet_id
    if pool.spot:
        parameters["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": _spot_options(pool, template)}
    return native.over(parameters, native.parameters(template, "RunInstances"))


def _in_subnet(interface: Mapping[str, Any], subnet: str) -> dict[str, str]:
    return {} if {"NetworkInterfaceId", "SubnetId"} & interface.keys() else {"SubnetId": subnet}


def _spot_options(pool: Pool, template: Template) -> dict[str, str]:
    options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
    # The template's price is for a unit, EC2's for a machine.
    price = None if template.max_spot_price is None else as_price(template.max_spot_price * pool.weight)
    return options | ({"MaxPrice": price} if price else {})


def keep(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is written down of a reservation, as RunInstances or DescribeInstances answers it."""
    return {
        "reservation": answer.get("ReservationId", ""),
        "account": answer.get("OwnerId", ""),
        "instances": [_noted(one) | {"launched": one["LaunchTime"].isoformat()} for one in answer.get("Instances", ())],
    }


def _noted(one: Mapping[str, Any]) -> dict[str, Any]:
    zone, spot = one.get("Placement", {}).get("AvailabilityZone", ""), one.get("InstanceLifecycle") == "spot"
    return noted(one["InstanceId"], one.get("InstanceType", ""), zone, spot=spot)


def instances(outcome: Mapping[str, Any], units: Mapping[str, int]) -> tuple[Instance, ...]:
    """Give the instances of an outcome as it was written down: known by their creation alone."""
    return tuple(
        launched(one, outcome["reservation"], units, datetime.fromisoformat(one["launched"]))
        for one in outcome["instances"]
    )
