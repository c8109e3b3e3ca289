"""Own groups as Auto Scaling shows them: asked for in bulk, and what that says of requests."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hfcore.aws import tags
from hfcore.aws.calls import ask, chunks, each, pages
from hfcore.aws.discovery import Told, discover
from hfcore.aws.fleets import is_young
from hfcore.aws.instances import COMING, announced, describe_live
from hfcore.aws.owned import resource
from hfcore.aws.reclaims import reclaimed_instances
from hfcore.aws.remainders import awaits_remainder
from hfcore.errors import CloudError
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import Discovery, Fault, FaultKind, Reclaim, RequestKind
from hfcore_aws_asg.requests import FROZEN, group_name, group_names, shortfall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hfcore.context import Context
    from hfcore.models import Instance, Machine, MachineStatus, OwnedResource, Request

PAGE = 100
"""Groups in one DescribeAutoScalingGroups (Auto Scaling API reference, MaxRecords)."""

SHORT_AFTER = timedelta(seconds=60)
"""A group that is short for longer is asked why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group as Auto Scaling shows it.

    Args:
        desired: Units that it keeps up, as far as it launches.
        launches: Whether it launches; else it has been stopped.
        members: Auto Scaling's words on each member, by instance id.
        status: What becomes of the group itself, such as `Delete in progress`; empty as a rule.
    """

    name: str
    desired: int
    launches: bool
    members: Mapping[str, Mapping[str, Any]]
    status: str
    tags: Mapping[str, str]


def describe_groups(context: Context, requests: Iterable[Request]) -> Mapping[str, tuple[Group, ...]]:
    """Ask for the groups of requests, by request id, 100 a call; those that are no more are absent."""
    ids = {name: request.request_id for request in requests for name in group_names(request)}

    def ask_for(names: Iterable[str]) -> list[Group]:
        parameters = {"AutoScalingGroupNames": list(names), "MaxRecords": PAGE}
        found = pages(context, "autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", parameters)
        return [_group(one) for one in found]

    its: dict[str, tuple[Group, ...]] = {}
    for part in each(ask_for, chunks(tuple(ids), PAGE)):
        for group in part:
            its[ids[group.name]] = (*its.get(ids[group.name], ()), group)
    return its


def members(groups: Iterable[Group]) -> dict[str, Mapping[str, Any]]:
    """Give Auto Scaling's words on each member of groups, by instance id."""
    return {instance_id: member for group in groups for instance_id, member in group.members.items()}


def member_units(member: Mapping[str, Any]) -> float:
    """Give the units for which a group counts a member."""
    return float(member.get("WeightedCapacity") or 1)


def _group(described: Mapping[str, Any]) -> Group:
    return Group(
        name=described["AutoScalingGroupName"],
        desired=described["DesiredCapacity"],
        launches=FROZEN[0] not in {one["ProcessName"] for one in described.get("SuspendedProcesses", ())},
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
    found = discover(context, [_told(context, one, groups.get(one.request_id, ())) for one in requests], since=since)

    def judged(pair: tuple[Request, Discovery]) -> Discovery:
        request, seen = pair
        if not _may_launch(request):
            return seen
        its = groups.get(request.request_id, ())
        stands = replace(seen, stands=bool(its))
        return _of_groups(context, request, its, stands) if its else _without_group(context, request, seen)

    return each(judged, zip(requests, found, strict=True))


def _may_launch(request: Request) -> bool:
    return request.kind is RequestKind.CREATE and not request.frozen


def _told(context: Context, request: Request, groups: Iterable[Group]) -> Told:
    """Let groups name new members; where there is none any more, tags may show what it had launched last."""
    known = set(request.machine_ids)
    new = tuple(
        _announced(context, group, member)
        for group in groups
        for instance_id, member in group.members.items()
        if instance_id not in known
    )
    lost = not groups and _may_launch(request) and not _is_new(context, request)
    return Told(request=request, instances=new, by_tag=lost)


def _announced(context: Context, group: Group, member: Mapping[str, Any]) -> Instance:
    return announced(
        context,
        member["InstanceId"],
        resource_id=group.name,
        instance_type=member.get("InstanceType", ""),
        zone=member.get("AvailabilityZone", ""),
        weight=member_units(member),
    )


def _of_groups(context: Context, request: Request, groups: Sequence[Group], seen: Discovery) -> Discovery:
    """Give the verdict: a group tries for ever, so only what it wants now tells whether more will come."""
    now = context.clock.now()
    standing = {group.name for group in groups if not group.status}
    gone = tuple(_deleted(name) for name in request.resource_ids if name not in standing)
    if not standing:
        return replace(seen, final=True, faults=gone)
    if len(groups) < len(request.resource_ids) and is_young(request, now):
        return seen
    alive = {one.instance_id: one.weight for one in seen.instances if one.status in COMING}
    if not any(group.launches and _units(group, alive) < group.desired for group in groups):
        return replace(seen, final=not awaits_remainder(request), faults=gone)
    return seen if now - request.created_at < SHORT_AFTER else replace(seen, faults=_reasons(context, groups))


def _units(group: Group, alive: Mapping[str, float]) -> float:
    return sum(alive.get(instance_id, 0.0) for instance_id in group.members)


def _reasons(context: Context, groups: Iterable[Group]) -> tuple[Fault, ...]:
    activities: list[Mapping[str, Any]] = []
    for group in groups:
        parameters = {"AutoScalingGroupName": group.name, "MaxRecords": PAGE}
        with suppress(CloudError):  # logged; the machines matter more than the reasons for those that lack
            activities += ask(context, "autoscaling", "DescribeScalingActivities", parameters, group.name)["Activities"]
    return shortfall(activities)


def _without_group(context: Context, request: Request, seen: Discovery) -> Discovery:
    """Judge a request whose group is not shown: not yet, no more, or because the answer is another account's."""
    if _is_new(context, request):
        return seen
    # With all machines missing too, the core has to make sure first; once they count as gone, this is final.
    return replace(seen, final=bool(seen.instances) or not request.machine_ids, faults=(_deleted(group_name(request)),))


def _is_new(context: Context, request: Request) -> bool:
    """Tell whether a group may not be visible yet."""
    return not request.machine_ids and context.clock.now() - request.created_at < VISIBILITY_DELAY


def _deleted(name: str) -> Fault:
    message = "the group is no more: something else has deleted it"
    return Fault(code="GroupNotFound", message=message, kind=FaultKind.GONE, subject=name)


def reclaimed(machines: tuple[Machine, ...], requests: tuple[Request, ...], context: Context) -> tuple[Reclaim, ...]:
    """Find what AWS takes back, and the members that their groups are ending though EC2 still shows them alive.

    One DescribeAutoScalingGroups for each 100 groups that launch still, besides the questions about machines.
    """
    found = {one.instance_id: one for one in reclaimed_instances(machines, context)}
    its = describe_groups(context, filter(_may_launch, requests))
    going = members(group for groups in its.values() for group in groups)
    live = describe_live(context).instances
    for i in {machine.instance_id for machine in machines}.intersection(going, live).difference(found):
        if is_ending(going[i]) or going[i]["HealthStatus"] == "Unhealthy":
            found[i] = _taken(going[i], live[i].status)
    return tuple(found.values())


def _taken(member: Mapping[str, Any], status: MachineStatus) -> Reclaim:
    code = member["LifecycleState"] if is_ending(member) else member["HealthStatus"]
    message = "its Auto Scaling group is ending it"
    return Reclaim(instance_id=member["InstanceId"], code=code, message=message, status=status)


def owned_groups(context: Context) -> tuple[OwnedResource, ...]:
    """List the groups with our owner tag that are not being deleted."""
    parameters = {"Filters": tags.filters(context), "MaxRecords": PAGE, "IncludeInstances": False}
    found = pages(context, "autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", parameters)
    return tuple(_owned(one) for one in found if not one.get("Status"))


def _owned(described: Mapping[str, Any]) -> OwnedResource:
    policy = described.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    used = [policy.get("LaunchTemplateSpecification", {})]
    its_tags = tags.read(described.get("Tags"))
    place = ("group", described["AutoScalingGroupName"], its_tags, described.get("CreatedTime"))
    return resource(*place, launch_templates=used)
