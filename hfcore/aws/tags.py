"""Own the tags of `hfcore.tags` as AWS writes and reads them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.models import EMPTY
from hfcore.tags import OURS, OWNER, PROVIDER, REQUEST, TEMPLATE, of_instances, ours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfcore.context import Context

__all__ = ["OURS", "OWNER", "PROVIDER", "REQUEST", "TEMPLATE", "as_list", "filters", "of_group", "of_instances", "ours"]
__all__ += ["read", "specifications"]


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Give tags as AWS has them, in an order that does not change."""
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def specifications(tags: Mapping[str, str], *resource_types: str) -> list[dict[str, Any]]:
    """Give EC2's `TagSpecifications`: the same tags for each resource type, such as `instance`."""
    return [{"ResourceType": resource_type, "Tags": as_list(tags)} for resource_type in resource_types]


def of_group(name: str, tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Give Auto Scaling's `Tags` of group `name`, which its instances get too."""
    place = {"ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
    return [{**place, **tag} for tag in as_list(tags)]


def read(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """Read tags as AWS lists them."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags or ()}


def filters(context: Context, others: Mapping[str, Iterable[str]] = EMPTY) -> list[dict[str, Any]]:
    """Give EC2's `Filters` for what carries our owner tag, and besides what `others` say: name to allowed values."""
    rest = [{"Name": name, "Values": list(values)} for name, values in others.items()]
    return [{"Name": f"tag:{OWNER}", "Values": [context.owner]}, *rest]
