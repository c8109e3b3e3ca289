"""Own what Auto Scaling is sent, and the words of its answers. Pure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from hfcore.aws import tags as tagging
from hfcore.aws.errors import as_fault
from hfcore.aws.launch import as_price, hyphenated, versioned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfcore.models import AllocationStrategy, Fault, Request, Template

AT_BIRTH: Final = ("AZRebalance",)
"""Suspended from a group's creation on: after uneven returns it would end other machines than those returned."""

FROZEN: Final = ("Launch", "ReplaceUnhealthy", "AZRebalance")
"""Suspended once a request has ended: the group launches nothing, and ends nothing that lives."""

MOST_REASONS = 5
_FAILED = frozenset({"Failed", "Cancelled"})
_CODE = re.compile(r"Instances\. (?P<code>[A-Z]\w+(?:\.\w+)*) - (?P<text>.*)", re.DOTALL)
_VARYING = re.compile(r"\s*[(,;]?\s*Request ID: [0-9a-f-]+|\bi-[0-9a-f]{8,17}\b", re.IGNORECASE)
# Auto Scaling user guide, "Troubleshoot: instance launch failures": sentences of EC2's, mostly without its code.
_SENTENCES = {
    "no spot capacity": "UnfulfillableCapacity",
    "do not have sufficient": "InsufficientInstanceCapacity",
    "not enough free addresses": "InsufficientFreeAddressesInSubnet",
    "max spot instance count": "MaxSpotInstanceCountExceeded",
    "spot request price": "SpotMaxPriceTooLow",
    "vcpu": "VcpuLimitExceeded",
    "already running": "InstanceLimitExceeded",
    "not supported": "Unsupported",
    "not authorized": "UnauthorizedOperation",
}


def group_name(request: Request) -> str:
    """Give the name of a request's group: unique for ever, as Auto Scaling has no client token."""
    return f"asg-hf-{request.request_id}"


def create_group(request: Request, template: Template, launch_template: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Build CreateAutoScalingGroup's parameters.

    Args:
        request: The request; its target counts units.
        template: The template.
        launch_template: Name of the launch template, which says all but types, subnets and market.
        tags: Tags of the group and its instances.
    """
    name = group_name(request)
    room = max(template.vm_types.values()) if is_weighted(template) else 0
    launch: dict[str, Any] = {"LaunchTemplateSpecification": versioned(launch_template)}
    if template.vm_types:
        launch["Overrides"] = _overrides(template)
    return {
        "AutoScalingGroupName": name,
        "MinSize": 0,
        "MaxSize": request.target + room,
        "DesiredCapacity": request.target,
        "MixedInstancesPolicy": {"LaunchTemplate": launch, "InstancesDistribution": _distribution(template)},
        "VPCZoneIdentifier": ",".join(template.subnet_id),
        "NewInstancesProtectedFromScaleIn": True,
        "CapacityRebalance": False,
        "Tags": tagging.of_group(name, tags),
    }


def is_weighted(template: Template) -> bool:
    """Tell whether capacity is counted in units of several sizes."""
    return any(weight != 1 for weight in template.vm_types.values())


def _overrides(template: Template) -> list[dict[str, str]]:
    """Name the types by priority; Auto Scaling wants a weight for each of them or for none."""
    priority = template.vm_types_priority
    ordered = sorted(template.vm_types, key=lambda one: priority.get(one, math.inf))
    if not is_weighted(template):
        return [{"InstanceType": one} for one in ordered]
    return [{"InstanceType": one, "WeightedCapacity": str(template.vm_types[one])} for one in ordered]


def _distribution(template: Template) -> dict[str, Any]:
    """Say the market always: left out, Auto Scaling buys everything on demand."""
    found: dict[str, Any] = {"OnDemandPercentageAboveBaseCapacity": percent_on_demand(template)}
    if template.allocation_strategy_on_demand:
        found["OnDemandAllocationStrategy"] = hyphenated(template.allocation_strategy_on_demand)
    if template.price_type == "spot":
        strategy = spot_strategy(template)
        found["SpotAllocationStrategy"] = hyphenated(strategy)
        if strategy == "lowestPrice" and template.pools_count:
            found["SpotInstancePools"] = template.pools_count
        if template.max_spot_price is not None:
            found["SpotMaxPrice"] = as_price(template.max_spot_price)
    return found


def percent_on_demand(template: Template) -> int:
    """Give the percentage of the units that is bought on demand."""
    return (template.percent_on_demand or 0) if template.price_type == "spot" else 100


def spot_strategy(template: Template) -> AllocationStrategy:
    """Give the Spot strategy: the template's, or the one that its other fields need, or the one that AWS recommends."""
    if template.allocation_strategy:
        return template.allocation_strategy
    if template.pools_count:
        return "lowestPrice"
    return "capacityOptimizedPrioritized" if template.vm_types_priority else "priceCapacityOptimized"


def needs_steadying(template: Template) -> bool:
    """Tell whether AZRebalance may move machines of a new group: one subnet lies in one zone, and costs no call."""
    return len(template.subnet_id) != 1


def suspension(request: Request, processes: Iterable[str]) -> dict[str, Any]:
    """Build SuspendProcesses' parameters."""
    return {"AutoScalingGroupName": group_name(request), "ScalingProcesses": list(processes)}


def not_found(fault: Fault) -> bool:
    """Tell whether the group or member named is no more; Auto Scaling has one code for nearly everything."""
    return fault.code == "ValidationError" and "not found" in fault.message.lower()


def shortfall(activities: Iterable[Mapping[str, Any]]) -> tuple[Fault, ...]:
    """Give the reasons why launches have failed: each once, in an order and in words that stay the same.

    Args:
        activities: Those of a request's group, all of which are younger than the request.
    """
    texts = {
        " ".join(_VARYING.sub("", one["StatusMessage"]).split())
        for one in activities
        if one["StatusCode"] in _FAILED and one.get("StatusMessage") and one["Description"].startswith("Launching")
    }
    return tuple(_reason(text) for text in sorted(texts)[:MOST_REASONS])


def _reason(text: str) -> Fault:
    if named := _CODE.search(text):
        return as_fault(named["code"], named["text"])
    lower = text.lower()
    code = next((code for sentence, code in _SENTENCES.items() if sentence in lower), "ScalingActivityFailed")
    return as_fault(code, text)
