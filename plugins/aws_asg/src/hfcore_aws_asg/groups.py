"""Own groups as Auto Scaling shows them: asked for in bulk, and what that says of requests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hfcore.aws import tags
from hfcore.aws.calls import ask, chunks, each, pages
from hfcore.aws.discovery import Told, discover
from hfcore.aws.instances import COMING, announced
from hfcore.aws.owned import resource
from hfcore.errors import CloudError
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import Discovery, Fault, FaultKind, RequestKind
from hfcore_aws_asg.requests import group_name, shortfall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfcore.context import Context
    from hfcore.models import Instance, OwnedResource, Request

PAGE = 100
"""Groups in one DescribeAutoScalingGroups (Auto Scaling API reference, MaxRecords)."""

SHORT_AFTER = timedelta(seconds=60)
"""A group that is short for longer is asked why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group as Auto Scaling shows it.

    Args:
        desired: Units that it keeps up.
        members: Auto Scaling's words on each member, by instance id.
        status: What becomes of the group itself, such as `Delete in progress`; empty as a rule.
    """

    name: str
    desired: int
    members: Mapping[str, Mapping[str, Any]]
    status: str
    tags: Mapping[str, str]


def describe_groups(context: Context, requests: Iterable[Request]) -> Mapping[str, Group]:
    """Ask for the groups of requests, by request id, 100 a call; one that is no more is absent."""
    ids = {group_name(request): request.request_id for request in requests}

    def ask_for(names: Iterable[str]) -> list[Group]:
        parameters = {"AutoScalingGroupNames": list(names), "MaxRecords": PAGE}
        found = pages(context, "autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", parameters)
        return [_group(one) for one in found]

    parts = each(ask_for, chunks(tuple(ids), PAGE))
    return {ids[group.name]: group for part in parts for group in part}


def _group(described: Mapping[str, Any]) -> Group:
    return Group(
        name=described["AutoScalingGroupName"],
        desired=described["DesiredCapacity"],
        members={one["InstanceId"]: one for one in described.get("Instances", ())},
        status=described.get("Status") or "",
        tags=tags.read(described.get("Tags")),
    )


def is_ending(member: Mapping[str, Any]) -> bool:
    """Tell whether the group is ending a member already."""
    return str(member["LifecycleState"]).startswith("Terminat")


def discover_all(requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
    """Show the machines of requests: those that open groups name, and those that are known, by id."""
    since = context.clock.now()
    groups = describe_groups(context, filter(_may_launch, requests))
    found = discover(context, [_told(context, one, groups.get(one.request_id)) for one in requests], since=since)

    def judged(pair: tuple[Request, Discovery]) -> Discovery:
        request, seen = pair
        if not _may_launch(request):
            return seen
        group = groups.get(request.request_id)
        return _of_group(context, request, group, seen) if group else _without_group(context, request, seen)

    return each(judged, zip(requests, found, strict=True))


def _may_launch(request: Request) -> bool:
    return request.kind is RequestKind.CREATE and not request.frozen


def _told(context: Context, request: Request, group: Group | None) -> Told:
    """Let a group name new members; where it is no more, tags may show what it had launched last."""
    known = set(request.machine_ids)
    members = group.members.values() if group else ()
    new = tuple(_announced(context, request, one) for one in members if one["InstanceId"] not in known)
    lost = group is None and _may_launch(request) and not _is_new(context, request)
    return Told(request=request, instances=new, by_tag=lost)


def _announced(context: Context, request: Request, member: Mapping[str, Any]) -> Instance:
    return announced(
        context,
        member["InstanceId"],
        resource_id=group_name(request),
        instance_type=member.get("InstanceType", ""),
        zone=member.get("AvailabilityZone", ""),
        weight=float(member.get("WeightedCapacity") or 1),
    )


def _of_group(context: Context, request: Request, group: Group, seen: Discovery) -> Discovery:
    """Give the verdict: a group tries for ever, so only what it wants now tells whether more will come."""
    alive = sum(one.weight for one in seen.instances if one.instance_id in group.members and one.status in COMING)
    if group.status:
        return replace(seen, final=True, faults=(_deleted(request),))
    if alive >= group.desired:
        return replace(seen, final=True)
    if context.clock.now() - request.created_at < SHORT_AFTER:
        return seen
    return replace(seen, faults=_reasons(context, group.name))


def _reasons(context: Context, name: str) -> tuple[Fault, ...]:
    parameters = {"AutoScalingGroupName": name, "MaxRecords": PAGE}
    try:
        return shortfall(ask(context, "autoscaling", "DescribeScalingActivities", parameters, name)["Activities"])
    except CloudError:
        return ()  # logged; the machines matter more than the reasons for those that lack


def _without_group(context: Context, request: Request, seen: Discovery) -> Discovery:
    """Judge a request whose group is not shown: not yet, no more, or because the answer is another account's."""
    if _is_new(context, request):
        return seen
    # With all machines missing too, the core has to make sure first; once they count as gone, this is final.
    return replace(seen, final=bool(seen.instances) or not request.machine_ids, faults=(_deleted(request),))


def _is_new(context: Context, request: Request) -> bool:
    """Tell whether a group may not be visible yet."""
    return not request.machine_ids and context.clock.now() - request.created_at < VISIBILITY_DELAY


def _deleted(request: Request) -> Fault:
    message = "the group is no more: something else has deleted it"
    return Fault(code="GroupNotFound", message=message, kind=FaultKind.GONE, subject=group_name(request))


def owned_groups(context: Context) -> tuple[OwnedResource, ...]:
    """List the groups with our owner tag."""
    parameters = {"Filters": tags.filters(context), "MaxRecords": PAGE, "IncludeInstances": False}
    found = pages(context, "autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", parameters)
    groups = ((_group(one), one.get("CreatedTime")) for one in found)
    return tuple(resource("group", one.name, one.tags, at, status=one.status or "active") for one, at in groups)
