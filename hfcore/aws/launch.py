"""Own the data of a launch template: what a template says of a machine, whatever API launches it. Pure.

Subnets, instance types and the market are no part of it: they belong to each API's own call.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from hfcore.aws import native
from hfcore.aws import tags as tagging
from hfcore.models import EMPTY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfcore.models import Template

TAGGED = ("instance", "volume")

VERSION = "1"
"""Our launch templates have this one version; `$Latest` would change under a replay."""


def launch_data(
    template: Template,
    *,
    image_id: str = "",
    root_device: str = "",
    user_data: bytes,
    tags: Mapping[str, str],
    base: Mapping[str, Any] = EMPTY,
) -> dict[str, Any]:
    """Build `RequestLaunchTemplateData`.

    Args:
        template: The template.
        image_id: Its image; empty where it names none.
        root_device: That image's root device (`/dev/xvda`), where its root volume is changed.
        user_data: Content of its start-up script; empty for none.
        tags: Tags for instances and volumes.
        base: Data of the user's own launch template, over which the template's fields go, and over them
            `launchTemplateData`.
    """
    data: dict[str, Any] = {"MetadataOptions": {"HttpTokens": "required"}} | _base(template, base)
    data["MetadataOptions"] = {"HttpTokens": "required"} | data["MetadataOptions"]
    if image_id:
        data["ImageId"] = image_id
    if template.key_name:
        data["KeyName"] = template.key_name
    if template.instance_profile:
        kind = "Arn" if template.instance_profile.startswith("arn:") else "Name"
        data["IamInstanceProfile"] = {kind: template.instance_profile}
    if template.security_group_ids:
        data |= _security_groups(list(template.security_group_ids), data.get("NetworkInterfaces"))
    data |= _hardware(template, data.get("Placement", {}))
    if root_device:
        data["BlockDeviceMappings"] = _block_devices(template, root_device, data.get("BlockDeviceMappings", ()))
    data["TagSpecifications"] = _tag_specifications(tags, data.get("TagSpecifications", ()))
    data = native.over(data, template.launch_template_data)
    if user_data:
        data["UserData"] = base64.b64encode(user_data).decode()
    return _groups_in_interfaces(data)


def _hardware(template: Template, placed: Mapping[str, Any]) -> dict[str, Any]:
    """Build what says on what machines run: hardware, place, network cards."""
    said: dict[str, Any] = {
        "EbsOptimized": template.ebs_optimized,
        "Placement": _over_placement(placed, _placement(template)) or None,
        "NetworkInterfaces": interfaces(template) or None,
        "CapacityReservationSpecification": _capacity_reservation(template.capacity_reservation),
    }
    return {name: value for name, value in said.items() if value is not None}


def _over_placement(placed: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Let the template's words go over the launch template's; a group, or a host, is named in one way alone."""
    dropped = {"GroupId"} if "GroupName" in ours else set()
    dropped |= {"HostId", "HostResourceGroupArn"} if {"HostId", "HostResourceGroupArn"} & ours.keys() else set()
    return {**{name: value for name, value in placed.items() if name not in dropped}, **ours}


def _placement(template: Template) -> dict[str, Any]:
    named = {
        "GroupName": template.placement_group_name,
        "PartitionNumber": template.placement_partition,
        "Tenancy": template.tenancy,
        "HostId": template.host_id,
        "HostResourceGroupArn": template.host_resource_group_arn,
    }
    if template.host_id and not template.tenancy:
        named["Tenancy"] = "host"
    return {name: value for name, value in named.items() if value is not None}


def efa_count(template: Template) -> int:
    """Give the Elastic Fabric Adapters of each machine."""
    return template.efa_count or (1 if template.interface_type == "efa" else 0)


def interfaces(template: Template) -> list[dict[str, Any]]:
    """Build `NetworkInterfaces` where a template asks for any: those of `launchTemplateData`, or its adapters.

    One adapter on each network card; the first one is the machine's primary interface (EC2 user guide, EFA).
    """
    groups = {"Groups": list(template.security_group_ids)} if template.security_group_ids else {}
    cards = [
        {"NetworkCardIndex": card, "DeviceIndex": min(card, 1), "InterfaceType": "efa"}
        for card in range(efa_count(template))
    ]
    said: list[dict[str, Any]] = template.launch_template_data.get("NetworkInterfaces") or cards
    return [one if "NetworkInterfaceId" in one else {**groups, **one} for one in said]


def _groups_in_interfaces(data: dict[str, Any]) -> dict[str, Any]:
    """Let network interfaces carry the security groups: EC2 refuses those of the instance beside them."""
    groups = data.get("SecurityGroupIds")
    if not data.get("NetworkInterfaces") or not groups:
        return data
    its = [one if "NetworkInterfaceId" in one else {"Groups": groups, **one} for one in data["NetworkInterfaces"]]
    return {name: value for name, value in data.items() if name != "SecurityGroupIds"} | {"NetworkInterfaces": its}


def _capacity_reservation(said: str | None) -> dict[str, Any] | None:
    if not said:
        return None
    if said.startswith("cr-"):
        return {"CapacityReservationTarget": {"CapacityReservationId": said}}
    if said.startswith("arn:"):
        return {"CapacityReservationTarget": {"CapacityReservationResourceGroupArn": said}}
    return {"CapacityReservationPreference": said}


def _base(template: Template, base: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of the user's data what is said otherwise: by each API's own call, or by a field of the template.

    User data is taken from it where the template has none (`launch_templates.user_data`).
    """
    named = template.vm_types or template.instance_requirements
    dropped = {"InstanceMarketOptions", *(("InstanceType", "InstanceRequirements") if named else ())}
    dropped |= {"SecurityGroups"} if template.security_group_ids else set()
    return {key: value for key, value in base.items() if key not in dropped}


def _security_groups(groups: list[str], interfaces: list[dict[str, Any]] | None) -> dict[str, Any]:
    # EC2 refuses groups of the instance beside network interfaces, which then carry them.
    if not interfaces:
        return {"SecurityGroupIds": groups}
    return {"NetworkInterfaces": [{**interface, "Groups": groups} for interface in interfaces]}


def _block_devices(template: Template, root: str, base: list[dict[str, Any]] | tuple[()]) -> list[dict[str, Any]]:
    named = {
        "VolumeSize": template.root_device_volume_size,
        "VolumeType": template.volume_type,
        "Iops": template.iops,
        "DeleteOnTermination": True,
    }
    volume = {key: value for key, value in named.items() if value is not None}
    before: dict[str, Any] = next((mapping.get("Ebs", {}) for mapping in base if mapping.get("DeviceName") == root), {})
    if template.volume_type not in (None, before.get("VolumeType")):  # its speed is that of another type
        before = {name: value for name, value in before.items() if name not in ("Iops", "Throughput")}
    others = [mapping for mapping in base if mapping.get("DeviceName") != root]
    return [{"DeviceName": root, "Ebs": {**before, **volume}}, *others]


def _tag_specifications(tags: Mapping[str, str], base: list[dict[str, Any]] | tuple[()]) -> list[dict[str, Any]]:
    before = {one["ResourceType"]: tagging.read(one.get("Tags")) for one in base}
    merged = before | {kind: before.get(kind, {}) | dict(tags) for kind in TAGGED}
    return [part for kind in sorted(merged) for part in tagging.specifications(merged[kind], kind)]


def versioned(launch_template: str) -> dict[str, str]:
    """Name one of our launch templates, as every API takes it."""
    return {"LaunchTemplateName": launch_template, "Version": VERSION}


def as_price(dollars: float | None) -> str | None:
    """Give US dollars an hour as every API takes them."""
    return None if dollars is None else f"{dollars:.6f}".rstrip("0").rstrip(".")


def hyphenated(strategy: str) -> str:
    """Give an allocation strategy as EC2 Fleet and Auto Scaling spell it, such as `price-capacity-optimized`. Pure."""
    return re.sub(r"([A-Z])", r"-\1", strategy).lower()


def digest(value: object) -> str:
    """Give a short hash of a JSON value, the same for the same content."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
