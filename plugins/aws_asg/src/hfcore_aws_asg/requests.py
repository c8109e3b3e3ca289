"""Own what Auto Scaling is sent, and the words of its answers. Pure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from hfcore.aws import native
from hfcore.aws import tags as tagging
from hfcore.aws.errors import as_fault
from hfcore.aws.launch import as_price, hyphenated, versioned
from hfcore.aws.mixes import is_heterogeneous, is_weighted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfcore.models import AllocationStrategy, Fault, Request, Template

AT_BIRTH: Final = ("AZRebalance",)
"""Suspended from a group's creation on: after uneven returns it would end other machines than those returned."""

FROZEN: Final = ("Launch", "ReplaceUnhealthy", "AZRebalance")
"""Suspended once a request has ended: the group launches nothing, and ends nothing that lives."""

MOST_REASONS = 5
_WHOLE = 100
_FAILED = frozenset({"Failed", "Cancelled"})
_CODE = re.compile(r"(?:Instances\.|Termination Reason:) (?P<code>[A-Z]\w+(?:\.\w+)*)(?: -|:) (?P<text>.*)", re.DOTALL)
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


def group_name(request: Request, *, remainder: bool = False) -> str:
    """Give the name of a request's group: unique for ever, as Auto Scaling has no client token.

    What Spot has left of price type heterogeneous is bought by a group of its own: to change the distribution of the
    first one could replace what runs there (Auto Scaling API reference, OnDemandBaseCapacity).
    """
    return f"asg-hf-{request.request_id}" + ("-ondemand" if remainder else "")


def group_names(request: Request) -> tuple[str, ...]:
    """Give the names of all groups that a request may have, or is known to have."""
    both = (False, True) if is_heterogeneous(request.template) else (False,)
    named = (group_name(request, remainder=one) for one in both)
    return tuple(dict.fromkeys((*named, *request.resource_ids)))


def create_group(
    request: Request,
    template: Template,
    launch_template: str,
    tags: Mapping[str, str],
    *,
    units: int,
    remainder: bool = False,
) -> dict[str, Any]:
    """Build CreateAutoScalingGroup's parameters.

    Args:
        request: The request.
        template: The template.
        launch_template: Name of the launch template, which says all but types, subnets and market.
        tags: Tags of the group and its instances.
        units: What the group is to have.
        remainder: Whether this is what Spot has left of price type heterogeneous, all of it on demand.
    """
    name = group_name(request, remainder=remainder)
    types = (template.vm_types_on_demand if remainder else {}) or template.vm_types
    room = max(types.values()) if is_weighted(template) else 0
    launch: dict[str, Any] = {"LaunchTemplateSpecification": versioned(launch_template)}
    if types:
        launch["Overrides"] = _overrides(template, types)
    elif template.instance_requirements:
        launch["Overrides"] = [{"InstanceRequirements": dict(template.instance_requirements)}]
    on_demand = _WHOLE if remainder else percent_on_demand(template)
    ours = {
        "AutoScalingGroupName": name,
        "MinSize": 0,
        "MaxSize": units + room,
        "DesiredCapacity": units,
        "MixedInstancesPolicy": {"LaunchTemplate": launch, "InstancesDistribution": _distribution(template, on_demand)},
        "VPCZoneIdentifier": ",".join(template.subnet_id),
        "NewInstancesProtectedFromScaleIn": True,
        "CapacityRebalance": False,
        "Tags": tagging.of_group(name, tags),
    }
    return native.over(ours, native.parameters(template, "CreateAutoScalingGroup"))


def _overrides(template: Template, types: Mapping[str, int]) -> list[dict[str, str]]:
    """Name the types by priority; Auto Scaling wants a weight for each of them or for none."""
    priority = template.vm_types_priority
    ordered = sorted(types, key=lambda one: priority.get(one, math.inf))
    if not is_weighted(template):
        return [{"InstanceType": one} for one in ordered]
    return [{"InstanceType": one, "WeightedCapacity": str(types[one])} for one in ordered]


def _distribution(template: Template, on_demand: int) -> dict[str, Any]:
    """Say the market always: left out, Auto Scaling buys everything on demand."""
    found: dict[str, Any] = {"OnDemandPercentageAboveBaseCapacity": on_demand}
    if template.allocation_strategy_on_demand and on_demand:
        found["OnDemandAllocationStrategy"] = hyphenated(template.allocation_strategy_on_demand)
    if on_demand < _WHOLE:
        strategy = spot_strategy(template)
        found["SpotAllocationStrategy"] = hyphenated(strategy)
        if strategy == "lowestPrice" and template.pools_count:
            found["SpotInstancePools"] = template.pools_count
        if template.max_spot_price is not None:
            found["SpotMaxPrice"] = as_price(template.max_spot_price)
    return found


def percent_on_demand(template: Template) -> int:
    """Give the percentage of the units that is bought on demand from the start."""
    return _WHOLE if template.price_type in (None, "ondemand") else template.percent_on_demand or 0


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


def suspension(group: str, processes: Iterable[str]) -> dict[str, Any]:
    """Build SuspendProcesses' parameters for a group, by its name."""
    return {"AutoScalingGroupName": group, "ScalingProcesses": list(processes)}


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
