"""Auto Scaling groups: one keeps its members at the desired capacity until it is told otherwise."""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING

from hfcore.testing.aws.filling import Holder, Tiers, by_strategy, candidates
from hfcore.testing.aws.protocol import AwsError, Params, matching, page, read_tags
from hfcore.testing.aws.templates import collect_tags, find_version

if TYPE_CHECKING:
    from hfcore.testing.aws.instances import Blueprint, Instance
    from hfcore.testing.aws.world import Region

PAGE, MAX_RECORDS = 50, range(1, 101)
MAX_MESSAGE = 255
PROCESSES = {"Launch", "Terminate", "ReplaceUnhealthy", "AZRebalance", "HealthCheck", "AlarmNotification"}
PROCESSES |= {"AddToLoadBalancer", "InstanceRefresh", "ScheduledActions"}


def _invalid(text: str) -> AwsError:
    # The one code that Auto Scaling has for nearly everything.
    return AwsError("ValidationError", text)


class Group(Holder):
    """A group by a mixed instances policy, its members and its activities."""

    def __init__(self, region: Region, params: Params) -> None:
        self.params = params
        self.name: str = params["AutoScalingGroupName"]
        own = read_tags(tag for tag in params.get("Tags", ()) if tag.get("PropagateAtLaunch"))
        super().__init__(region, own | {"aws:autoscaling:groupName": self.name})
        self.desired: int = params["DesiredCapacity"] if "DesiredCapacity" in params else params["MinSize"]
        self.created = region.timeline.now()
        self.suspended: set[str] = set()
        self.activities: list[Params] = []
        self.deleting = False
        self.subnets = [one.strip() for one in params.get("VPCZoneIdentifier", "").split(",") if one.strip()]
        policy = params.get("MixedInstancesPolicy", {})
        self.distribution: Params = policy.get("InstancesDistribution", {})
        self.template: Params = policy.get("LaunchTemplate", {}).get("LaunchTemplateSpecification", {})
        self.overrides: list[Params] = policy.get("LaunchTemplate", {}).get("Overrides") or [{}]
        self._check()

    def _check(self) -> None:
        low, high = self.params["MinSize"], self.params["MaxSize"]
        try:
            template = find_version(self.region, self.template)
        except AwsError as error:
            raise _invalid(f"You must use a valid fully-formed launch template. {error.message}") from None
        problems = {
            f"Desired capacity:{self.desired} must be between {low} and {high}.": not low <= self.desired <= high,
            "The name of a group has no colon.": ":" in self.name,
            "Incompatible launch template: it asks for a market as well.": "InstanceMarketOptions" in template.data,
            "At least one Availability Zone or VPC Subnet is required.": not self.subnets,
            "A subnet ID does not exist.": not self.region.subnets.keys() >= set(self.subnets),
        }
        for text, is_so in problems.items():
            if is_so:
                raise _invalid(text)

    def targets(self) -> dict[str, float]:
        """Split the desired capacity: all on demand unless told otherwise (API text of InstancesDistribution)."""
        percentage = self.distribution.get("OnDemandPercentageAboveBaseCapacity", 100)
        on_demand = math.ceil(self.desired * percentage / 100)
        return {"on-demand": on_demand, "spot": self.desired - on_demand}

    def _missing(self) -> dict[str, float]:
        return {} if self.deleting or "Launch" in self.suspended else super()._missing()

    def _order(self, market: str) -> Tiers:
        places = [one | {"SubnetId": subnet} for one in self.overrides for subnet in self.subnets]
        found = [one for place in places for one in candidates(self.region, self.template, place, market)]
        if market == "spot":
            word = self.distribution.get("SpotAllocationStrategy", "")
            found = [one for tier in by_strategy(found, word) for one in tier]
        types = [one.named["LaunchTemplateAndOverrides"]["Overrides"].get("InstanceType") for one in found]
        return [[one for one, its in zip(found, types, strict=True) if its == kind] for kind in dict.fromkeys(types)]

    def _record(self, status: str, text: str, message: str = "") -> Params:
        about = {"ActivityId": str(uuid.uuid4()), "AutoScalingGroupName": self.name, "Cause": "Capacity changed."}
        told = {"Description": text, "StatusCode": status, "StatusMessage": message[:MAX_MESSAGE] or None}
        self.activities.insert(0, about | told | {"StartTime": self.region.timeline.now()})
        return self.activities[0]

    def _launch(self, plan: Blueprint, count: int, weight: float) -> list[Instance]:
        made = super()._launch(plan, count, weight)
        for one in made:
            self._record("Successful", f"Launching a new EC2 instance: {one.id}")
        return made

    def _failed(self, error: AwsError) -> None:
        text = f"Launching a new EC2 instance.  Status Reason: {error.message}"
        self._record("Failed", text, f"{error.message} Launching EC2 instance failed.")

    def lost(self, instance: Instance) -> None:
        """Learn by the next health check of a member that ends without the group's doing."""
        self.region.timeline.later(self.region.timings.replace_seconds, lambda: self._health_check(instance))

    def _health_check(self, member: Instance) -> None:
        # As-suspend-resume-processes: with ReplaceUnhealthy suspended the dead one stays, marked.
        if not member.leaving and member.id in self.members:
            member.healthy = False
            if "ReplaceUnhealthy" not in self.suspended:
                self.take_out(member)

    def take_out(self, member: Instance) -> Params:
        """End a member; as long as the desired capacity stays, another one comes."""
        member.leaving = self._record("InProgress", f"Terminating EC2 instance: {member.id}")
        member.end()
        if member.state == "terminated":
            self.ended(member)
        self.wake(self.region.timings.replace_seconds)
        return member.leaving

    def ended(self, instance: Instance) -> None:
        """Drop a member that the group ended, once it is terminated, and with the last one a group that goes."""
        if instance.leaving:
            instance.leaving |= {"StatusCode": "Successful", "EndTime": self.region.timeline.now()}
            self.members.pop(instance.id, None)
        self.settle()

    def settle(self) -> None:
        """Go, if that was wanted and nothing is left."""
        if self.deleting and not self.members:
            self.region.groups.pop(self.name, None)

    def _member(self, one: Instance) -> Params:
        state = "Terminating" if one.leaving else "Pending" if one.state == "pending" else "InService"
        weighted = any("WeightedCapacity" in override for override in self.overrides)
        about = {"InstanceId": one.id, "InstanceType": one.plan.pool[0], "AvailabilityZone": one.plan.subnet.zone}
        about |= {"LifecycleState": state, "HealthStatus": "Healthy" if one.healthy else "Unhealthy"}
        protected = self.params.get("NewInstancesProtectedFromScaleIn", False)
        weight = f"{one.weight:.0f}" if weighted else None
        return about | {"ProtectedFromScaleIn": protected, "WeightedCapacity": weight}

    def describe(self, *, members: bool) -> Params:
        """Describe it in the words of DescribeAutoScalingGroups."""
        return self.params | {
            "DesiredCapacity": self.desired,
            "AvailabilityZones": sorted({self.region.subnets[one].zone for one in self.subnets}),
            "CreatedTime": self.created,
            "Instances": [self._member(one) for one in self.members.values()] if members else [],
            "SuspendedProcesses": [{"ProcessName": one} for one in sorted(self.suspended)],
            "Status": "Delete in progress" if self.deleting else None,
            "Tags": [{"ResourceId": self.name} | tag for tag in self.params.get("Tags", ())],
        }


def _find(region: Region, params: Params) -> Group:
    name = params["AutoScalingGroupName"]
    if name not in region.groups:
        raise _invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return region.groups[name]


def create_auto_scaling_group(region: Region, params: Params) -> Params:
    """CreateAutoScalingGroup: no token, so the name alone makes it unique; answers nothing."""
    name = params["AutoScalingGroupName"]
    if name in region.groups:
        raise AwsError("AlreadyExists", f"AutoScalingGroup by this name already exists - {name}")
    collect_tags([{"Tags": params.get("Tags", ())}], "")
    region.groups[name] = Group(region, params)
    region.groups[name].wake(region.timings.fill_seconds)
    return {}


def describe_auto_scaling_groups(region: Region, params: Params) -> Params:
    """DescribeAutoScalingGroups: an unknown name is absent, not an error."""
    names = params.get("AutoScalingGroupNames") or region.groups
    known = [region.groups[one] for one in names if one in region.groups]
    kept = matching(known, params, {}, lambda one: read_tags(one.params.get("Tags", ())))
    found = [group.describe(members=params.get("IncludeInstances", True)) for group in kept]
    return page(params, found, "AutoScalingGroups", MAX_RECORDS, PAGE)


def describe_scaling_activities(region: Region, params: Params) -> Params:
    """DescribeScalingActivities: those in progress first, then the newest."""
    found = sorted(_find(region, params).activities, key=lambda one: bool(one["StatusCode"] != "InProgress"))
    return page(params, found, "Activities", MAX_RECORDS, PAGE)


def suspend_processes(region: Region, params: Params) -> Params:
    """SuspendProcesses: those named, or all."""
    group, names = _find(region, params), set(params.get("ScalingProcesses") or PROCESSES)
    if names - PROCESSES:
        raise _invalid(f"The process {min(names - PROCESSES)} is not valid.")
    group.suspended |= names
    return {}


def terminate_instance_in_auto_scaling_group(region: Region, params: Params) -> Params:
    """TerminateInstanceInAutoScalingGroup, one instance a call."""
    instance_id = params["InstanceId"]
    group = next((one for one in region.groups.values() if instance_id in one.members), None)
    if group is None:
        raise _invalid(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
    member, low = group.members[instance_id], group.params["MinSize"]
    if member.leaving:
        raise AwsError("ScalingActivityInProgress", f"Instance {instance_id} is already being terminated.")
    if params["ShouldDecrementDesiredCapacity"]:
        if group.desired - member.weight < low:
            raise _invalid("Terminating instance without replacement will violate group's min size constraint.")
        group.desired -= int(member.weight)
    return {"Activity": group.take_out(member)}


def delete_auto_scaling_group(region: Region, params: Params) -> Params:
    """DeleteAutoScalingGroup: with members only by force, which ends them first."""
    group = _find(region, params)
    if group.members and not params.get("ForceDelete"):
        raise AwsError("ResourceInUse", "You cannot delete an AutoScalingGroup while instances are still in the group.")
    group.deleting = True
    for member in [one for one in group.members.values() if not one.leaving]:
        group.take_out(member)
    group.settle()
    return {}
