"""The operations of Auto Scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.testing.aws.autoscaling import PROCESSES, Group, invalid
from hfcore.testing.aws.protocol import AwsError, Params
from hfcore.testing.aws.select import at_most, matching, page
from hfcore.testing.aws.templates import collect_tags

if TYPE_CHECKING:
    from hfcore.testing.aws.filling import Member
    from hfcore.testing.aws.world import Region

PAGE = 50
MAX_RECORDS = 100


def _find(region: Region, params: Params) -> Group:
    name = params["AutoScalingGroupName"]
    if name not in region.groups:
        raise invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return region.groups[name]


def _limit(region: Region, params: Params, most: int = MAX_RECORDS) -> int:
    limit: int = params.get("MaxRecords", PAGE)
    at_most(region, most, range(limit), "ValidationError")
    return limit


def _members(region: Region) -> dict[str, tuple[Group, Member]]:
    return {i: (group, m) for group in region.groups.values() for i, m in group.members.items()}


def create_auto_scaling_group(region: Region, params: Params) -> Params:
    """CreateAutoScalingGroup: no token, so the name alone makes it unique; answers nothing."""
    name = params["AutoScalingGroupName"]
    if name in region.groups:
        text = f"AutoScalingGroup by this name already exists - A group with the name {name} already exists"
        raise AwsError("AlreadyExists", text)
    collect_tags([{"ResourceType": "", "Tags": params.get("Tags", ())}], "")
    group = Group(region, params)
    group.check()
    region.groups[name] = group
    group.wake(region.timings.fill_seconds)
    return {}


def describe_auto_scaling_groups(region: Region, params: Params) -> Params:
    """DescribeAutoScalingGroups: an unknown name is absent, not an error."""
    names = params.get("AutoScalingGroupNames")
    found = [g for g in region.groups.values() if not names or g.name in names]

    def tags(group: Group) -> dict[str, str]:
        return {t["Key"]: t.get("Value", "") for t in group.params.get("Tags", ())}

    kept = matching(found, params.get("Filters", []), {}, tags)
    part, token = page(kept, _limit(region, params), params.get("NextToken"))
    members = params.get("IncludeInstances", True)
    return {"AutoScalingGroups": [g.describe(members=members) for g in part], "NextToken": token}


def describe_auto_scaling_instances(region: Region, params: Params) -> Params:
    """DescribeAutoScalingInstances: at most 50 ids, unknown ones ignored."""
    ids = params.get("InstanceIds")
    at_most(region, PAGE, ids or (), "ValidationError")
    known = _members(region)
    found = [known[i] for i in ids or known if i in known]
    part, token = page(found, _limit(region, params, PAGE), params.get("NextToken"))
    described = [group.describe_member(m) | {"AutoScalingGroupName": group.name} for group, m in part]
    return {"AutoScalingInstances": described, "NextToken": token}


def describe_scaling_activities(region: Region, params: Params) -> Params:
    """DescribeScalingActivities, newest first; those of deleted groups only with IncludeDeletedGroups."""
    name = params.get("AutoScalingGroupName")
    groups = list(region.groups.values()) + (region.deleted_groups if params.get("IncludeDeletedGroups") else [])
    chosen = [g for g in groups if name in {None, g.name}]
    if name and not chosen:
        raise invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    ids = params.get("ActivityIds")
    found = [a for g in chosen for a in g.activities if not ids or a["ActivityId"] in ids]
    found.sort(key=lambda a: (a["StatusCode"] != "InProgress", -a["StartTime"]))
    part, token = page(found, _limit(region, params), params.get("NextToken"))
    return {"Activities": part, "NextToken": token}


def update_auto_scaling_group(region: Region, params: Params) -> Params:
    """UpdateAutoScalingGroup."""
    _find(region, params).resize(params)
    return {}


def set_desired_capacity(region: Region, params: Params) -> Params:
    """SetDesiredCapacity; to shrink by it lets the group choose what ends."""
    group, wanted = _find(region, params), params["DesiredCapacity"]
    low, high = group.params["MinSize"], group.params["MaxSize"]
    if not low <= wanted <= high:
        bound = f"above max value {high}" if wanted > high else f"below min value {low}"
        raise invalid(f"New SetDesiredCapacity value {wanted} is {bound} for the AutoScalingGroup.")
    group.resize({"DesiredCapacity": wanted})
    return {}


def suspend_processes(region: Region, params: Params) -> Params:
    """SuspendProcesses: those named, or all."""
    group, names = _find(region, params), set(params.get("ScalingProcesses") or PROCESSES)
    if names - PROCESSES:
        raise invalid(f"The process {min(names - PROCESSES)} is not valid.")
    group.suspended |= names
    return {}


def terminate_instance_in_auto_scaling_group(region: Region, params: Params) -> Params:
    """TerminateInstanceInAutoScalingGroup, one instance a call."""
    instance_id = params["InstanceId"]
    known = _members(region)
    if instance_id not in known:
        raise invalid(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
    group, member = known[instance_id]
    return {"Activity": group.take_out_one(member, decrement=params["ShouldDecrementDesiredCapacity"])}


def delete_auto_scaling_group(region: Region, params: Params) -> Params:
    """DeleteAutoScalingGroup."""
    _find(region, params).delete(force=params.get("ForceDelete", False))
    return {}
