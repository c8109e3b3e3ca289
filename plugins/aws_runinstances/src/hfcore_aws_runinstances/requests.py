"""Own what RunInstances is sent, and what of its answer is kept. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hfcore.aws import tags as tagging
from hfcore.aws.launch_templates import VERSION
from hfcore.models import Instance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hfcore.models import Template

MOST_MACHINES = 500
"""Machines asked for in one call: half of what EC2 lets an account launch at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Where one call may launch: one type, one subnet, one market. Empty where the launch template says it."""

    instance_type: str = ""
    subnet_id: str = ""
    spot: bool = False
    weight: int = 1

    def __str__(self) -> str:
        parts = (self.instance_type, self.subnet_id, "Spot" if self.spot else "on demand")
        return " ".join(part for part in parts if part)

    def machines(self, units: float) -> int:
        """Give how many machines one call asks for, for so many units."""
        return min(MOST_MACHINES, math.ceil(units / self.weight))


def weights(template: Template) -> Mapping[str, int]:
    """Give the units of each instance type."""
    return {**template.vm_types_on_demand, **template.vm_types}


def pools(template: Template) -> tuple[Pool, ...]:
    """Give the pools in the order in which they are tried: types by priority, each in every subnet.

    `heterogeneous` tries every Spot pool first, and buys on demand what Spot does not have.
    """
    kind = template.price_type or "ondemand"
    spot = _pools_of(template, template.vm_types, spot=True) if kind != "ondemand" else ()
    types = (template.vm_types_on_demand if kind == "heterogeneous" else {}) or template.vm_types
    return (*spot, *(_pools_of(template, types, spot=False) if kind != "spot" else ()))


def _pools_of(template: Template, types: Mapping[str, int], *, spot: bool) -> tuple[Pool, ...]:
    priority = template.vm_types_priority
    ordered = sorted(types, key=lambda one: priority.get(one, math.inf)) or [""]
    units = weights(template)
    return tuple(
        Pool(instance_type=one, subnet_id=subnet, spot=spot, weight=units.get(one, 1))
        for one in ordered
        for subnet in template.subnet_id or ("",)
    )


def run_instances(
    pool: Pool, count: int, template: Template, launch_template: str, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Build RunInstances' parameters, without its token: as many as there are, up to `count`.

    Args:
        pool: Where to launch.
        count: Most machines.
        template: The template.
        launch_template: Name of the launch template, which says the rest.
        tags: Tags of instances, volumes and Spot requests.
    """
    tagged = ("instance", "volume", *(["spot-instances-request"] if pool.spot else []))
    parameters: dict[str, Any] = {
        "LaunchTemplate": {"LaunchTemplateName": launch_template, "Version": VERSION},
        "MinCount": 1,
        "MaxCount": count,
        "TagSpecifications": tagging.specifications(tags, *tagged),
    }
    if pool.instance_type:
        parameters["InstanceType"] = pool.instance_type
    if pool.subnet_id:
        parameters["SubnetId"] = pool.subnet_id
    if pool.spot:
        parameters["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": _spot_options(pool, template)}
    return parameters


def _spot_options(pool: Pool, template: Template) -> dict[str, str]:
    options = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
    if template.max_spot_price is None:
        return options
    # The template's price is for a unit, EC2's for a machine.
    return options | {"MaxPrice": f"{template.max_spot_price * pool.weight:.6f}".rstrip("0").rstrip(".")}


def pool_index(parameters: Mapping[str, Any], tried: Sequence[Pool]) -> int:
    """Find the pool that a call of before was sent to."""
    spot = "InstanceMarketOptions" in parameters
    asked = (parameters.get("InstanceType", ""), parameters.get("SubnetId", ""), spot)
    return [(pool.instance_type, pool.subnet_id, pool.spot) for pool in tried].index(asked)


def keep(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is written down of a reservation, as RunInstances or DescribeInstances answers it."""
    return {
        "reservation": answer.get("ReservationId", ""),
        "account": answer.get("OwnerId", ""),
        "instances": [
            {
                "id": one["InstanceId"],
                "type": one.get("InstanceType", ""),
                "zone": one.get("Placement", {}).get("AvailabilityZone", ""),
                "spot": one.get("InstanceLifecycle") == "spot",
                "launched": one["LaunchTime"].isoformat(),
            }
            for one in answer.get("Instances", ())
        ],
    }


def instances(outcome: Mapping[str, Any], units: Mapping[str, int]) -> tuple[Instance, ...]:
    """Give the instances of an outcome as it was written down: known by their creation alone."""
    return tuple(
        Instance(
            instance_id=one["id"],
            resource_id=outcome["reservation"],
            instance_type=one["type"],
            zone=one["zone"],
            price_type="spot" if one["spot"] else "ondemand",
            launch_time=datetime.fromisoformat(one["launched"]),
            weight=float(units.get(one["type"], 1)),
            listed=False,
        )
        for one in outcome["instances"]
    )
