"""On what instances run: placement, capacity reservations, network cards, and which types meet requirements."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

from hfcore.testing.aws.protocol import AwsError, Params, find

if TYPE_CHECKING:
    from hfcore.testing.aws.world import Region

CARDS = {"c5n.18xlarge": 1, "p4d.24xlarge": 4}
"""Network cards of the types that take an Elastic Fabric Adapter."""

MEMORY = {"c5": 2, "m5": 4, "r5": 8}
SIZES = {"large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16}
CATALOGUE = {
    f"{family}.{size}": (SIZES[size], SIZES[size] * MEMORY[family] * 1024) for size in SIZES for family in MEMORY
}
"""The types among which requirements choose: vCPUs and MiB."""


def check(region: Region, params: Params, market: str) -> None:
    """Refuse what EC2 refuses of a launch's placement, reservation and network cards."""
    _check_placement(region, params.get("Placement", {}), market)
    target = params.get("CapacityReservationSpecification", {}).get("CapacityReservationTarget", {})
    if target and market == "spot":
        raise AwsError("InvalidParameterCombination", "Spot Instances can't run in a Capacity Reservation.")
    if one := target.get("CapacityReservationId"):
        find(region.reservations, one, r"cr-[0-9a-f]{8,17}", "InvalidCapacityReservationId")
    _check_cards(params.get("NetworkInterfaces", ()), params["InstanceType"])


def _check_placement(region: Region, placed: Params, market: str) -> None:
    # API text of Placement and LaunchTemplatePlacementRequest.
    group, hosts = placed.get("GroupName"), {"HostId", "HostResourceGroupArn"} & placed.keys()
    if group and group not in region.placement_groups:
        raise AwsError("InvalidPlacementGroup.Unknown", f"The Placement Group '{group}' is unknown.")
    if "PartitionNumber" in placed and region.placement_groups.get(group or "", {}).get("Strategy") != "partition":
        raise AwsError("InvalidParameterCombination", "A partition number needs a group of the strategy partition.")
    if hosts and placed.get("Tenancy", "host") != "host":
        raise AwsError("InvalidParameterCombination", f"{min(hosts)} can be used with the tenancy host alone.")
    if "HostId" in placed:
        find(region.hosts, placed["HostId"], r"h-[0-9a-f]{8,17}", "InvalidHostID")
    if market == "spot" and (hosts or placed.get("Tenancy") == "host"):
        raise AwsError("InvalidParameterCombination", "Spot Instances do not support the tenancy host.")


def _check_cards(cards: list[Params] | tuple[()], kind: str) -> None:
    # EC2 user guide, Elastic Fabric Adapter: one on each card, the primary interface on card 0, the others device 1.
    places = [(one.get("NetworkCardIndex", 0), one.get("DeviceIndex")) for one in cards]
    if len(set(places)) < len(places) or (places and (0, 0) not in places):
        raise AwsError("InvalidParameterValue", "Each network interface needs a place of its own, one of them (0, 0).")
    for (card, _), one in zip(places, cards, strict=True):
        if one.get("InterfaceType") == "efa" and kind not in CARDS:
            raise AwsError("Unsupported", f"The instance type {kind} does not support the interface type efa.")
        if card >= CARDS.get(kind, 1):
            raise AwsError("InvalidParameterValue", f"The instance type {kind} has no network card {card}.")


def describe(params: Params) -> Params:
    """Describe an instance's interfaces and the security groups of the first one."""
    cards = params.get("NetworkInterfaces") or [{"DeviceIndex": 0, "Groups": params.get("SecurityGroupIds", ())}]
    found = [
        {
            "InterfaceType": one.get("InterfaceType", "interface"),
            "Groups": [{"GroupId": group} for group in one.get("Groups", ())],
            "Attachment": {"DeviceIndex": one.get("DeviceIndex"), "NetworkCardIndex": one.get("NetworkCardIndex", 0)},
        }
        for one in cards
    ]
    return {"NetworkInterfaces": found, "SecurityGroups": found[0]["Groups"]}


def meeting(required: Params) -> list[str]:
    """Name the types that meet requirements, by name; of those named here numbers, allowed and excluded types count."""
    allowed, excluded = required.get("AllowedInstanceTypes"), required.get("ExcludedInstanceTypes")
    if allowed and excluded:
        raise AwsError("InvalidParameterCombination", "Either AllowedInstanceTypes or ExcludedInstanceTypes, not both.")
    unknown = required.keys() - {"VCpuCount", "MemoryMiB", "AllowedInstanceTypes", "ExcludedInstanceTypes"}
    if unknown:
        raise AwsError("Unsupported", f"{', '.join(sorted(unknown))}: not served in InstanceRequirements.")
    found = [
        kind
        for kind, (cpus, memory) in CATALOGUE.items()
        if _within(cpus, required["VCpuCount"]) and _within(memory, required["MemoryMiB"])
        if _is_named(kind, allowed or ["*"]) and not _is_named(kind, excluded or [])
    ]
    if not found:
        raise AwsError("InvalidParameterValue", "No instance type matches the InstanceRequirements.")
    return found


def _is_named(kind: str, patterns: list[str]) -> bool:
    return any(fnmatch(kind, one) for one in patterns)


def _within(number: int, limits: Params) -> bool:
    return bool(limits["Min"] <= number <= limits.get("Max", number))
