"""Auto Scaling groups: one keeps its members at the desired capacity until it is told otherwise."""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING

from hfcore.testing.aws.catalogue import OWNER
from hfcore.testing.aws.filling import Candidate, Holder, Member, Tiers, candidates, tiers
from hfcore.testing.aws.instances import end
from hfcore.testing.aws.protocol import AwsError, Params
from hfcore.testing.aws.templates import find_version

if TYPE_CHECKING:
    from hfcore.testing.aws.instances import Instance
    from hfcore.testing.aws.world import Region

MAX_MESSAGE = 255
PROCESSES = {
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
}


def invalid(text: str) -> AwsError:
    """Give the one code that Auto Scaling has for nearly everything."""
    return AwsError("ValidationError", text)


class Group(Holder):
    """A group, its members and its activities."""

    def __init__(self, region: Region, params: Params) -> None:
        super().__init__(region)
        self.params = params
        self.name: str = params["AutoScalingGroupName"]
        self.desired: int = params["DesiredCapacity"] if "DesiredCapacity" in params else params["MinSize"]
        self.created = region.timeline.now()
        self.suspended: set[str] = set()
        self.activities: list[Params] = []
        self.deleting = False

    @property
    def launching(self) -> bool:
        """Tell whether it may launch."""
        return not self.deleting and "Launch" not in self.suspended

    @property
    def policy(self) -> Params:
        """Give the MixedInstancesPolicy, or nothing."""
        found: Params = self.params.get("MixedInstancesPolicy", {})
        return found

    def check(self) -> None:
        """Refuse sizes out of order and a launch that names nothing."""
        low, high = self.params["MinSize"], self.params["MaxSize"]
        if low > high:
            raise invalid(f"Max bound, {high}, must be greater than or equal to min bound")
        if not low <= self.desired <= high:
            bounds = f"the specified min size:{low} and max size:{high}"
            raise invalid(f"Desired capacity:{self.desired} must be between {bounds}")
        if ("LaunchTemplate" in self.params) == bool(self.policy):
            raise invalid("Valid requests must contain either LaunchTemplate or MixedInstancesPolicy.")
        if ":" in self.name:
            raise invalid("The name of a group has no colon.")
        try:
            template = find_version(self.region, self._named())
        except AwsError as error:
            raise invalid(f"You must use a valid fully-formed launch template. {error.message}") from None
        if self.policy and "InstanceMarketOptions" in template.data:
            raise invalid("Incompatible launch template: it asks for a market, and so does the mixed instances policy.")
        if not self.subnets():
            raise invalid("At least one Availability Zone or VPC Subnet is required.")
        for subnet in self.subnets():
            if subnet not in self.region.subnets:
                raise invalid(f"The subnet ID '{subnet}' does not exist")

    def _named(self) -> Params:
        top = self.policy or self.params
        named: Params = top.get("LaunchTemplate", {})
        return named.get("LaunchTemplateSpecification", {}) if self.policy else named

    def subnets(self) -> list[str]:
        """Give the subnets of VPCZoneIdentifier, or else of AvailabilityZones."""
        named = [s.strip() for s in self.params.get("VPCZoneIdentifier", "").split(",") if s.strip()]
        return named or [self.region.subnet_of_zone(z).id for z in self.params.get("AvailabilityZones", ())]

    def targets(self) -> dict[str, float]:
        """Split the desired capacity: all on demand unless told otherwise (API text of InstancesDistribution)."""
        if not self.policy:
            plans = [c.plan for tier in self.order("") for c in tier if c.plan]
            return {plans[0].market if plans else "on-demand": self.desired}
        how = self.policy.get("InstancesDistribution", {})
        base = min(self.desired, how.get("OnDemandBaseCapacity", 0))
        above = math.ceil((self.desired - base) * how.get("OnDemandPercentageAboveBaseCapacity", 100) / 100)
        return {"on-demand": base + above, "spot": self.desired - base - above}

    def order(self, market: str) -> Tiers:
        """Give the types in their order, each spread evenly over the subnets."""
        subnets = {"SubnetId": ",".join(self.subnets())}
        options = [
            ({"LaunchTemplate": one.get("LaunchTemplateSpecification", self._named())}, one | subnets)
            for one in self._overrides() or [{}]
        ]
        found = candidates(self.region, options, market if self.policy else "")
        if market == "spot" and self.policy:
            word = self.policy.get("InstancesDistribution", {}).get("SpotAllocationStrategy", "")
            found = [c for tier in tiers(self.region, found, word) for c in tier]
        by_type: dict[str, list[Candidate]] = {}
        for one in found:
            by_type.setdefault(one.plan.type if one.plan else "", []).append(one)
        return list(by_type.values())

    def instance_tags(self) -> dict[str, str]:
        """Give the tags to propagate, which beat the template's, and AWS's own."""
        own = {t["Key"]: t.get("Value", "") for t in self.params.get("Tags", ()) if t.get("PropagateAtLaunch")}
        return own | {"aws:autoscaling:groupName": self.name}

    def record(self, status: str, text: str, message: str | None = None) -> Params:
        """Note an activity, newest first."""
        now, done = self.region.timeline.now(), status != "InProgress"
        activity = {
            "ActivityId": str(uuid.uuid4()),
            "AutoScalingGroupName": self.name,
            "Description": text,
            "StartTime": now,
            "EndTime": now if done else None,
            "StatusCode": status,
            "StatusMessage": message and message[:MAX_MESSAGE],
            "Cause": f"At {now:.0f} the group was brought to its desired capacity of {self.desired}.",
            "Progress": 100 if done else 0,
        }
        self.activities.insert(0, activity)
        return activity

    def started(self, instance: Instance) -> None:
        """Note a launch."""
        self.members[instance.id].protected = self.params.get("NewInstancesProtectedFromScaleIn", False)
        self.record("Successful", f"Launching a new EC2 instance: {instance.id}")

    def failed(self, error: AwsError) -> None:
        """Note why a pool gave nothing."""
        text = f"{error.message} Launching EC2 instance failed."
        self.record("Failed", f"Launching a new EC2 instance.  Status Reason: {error.message}", text)

    def lost(self, instance: Instance) -> None:
        """Learn by the next health check of a member that ends without the group's doing."""
        member = self.members.get(instance.id)
        if member and not member.leaving:
            self.region.timeline.later(self.region.timings.replace_seconds, lambda: self._health_check(member))

    def _health_check(self, member: Member) -> None:
        # As-suspend-resume-processes: with ReplaceUnhealthy suspended the dead one stays, marked.
        if member.leaving or "HealthCheck" in self.suspended:
            return
        member.healthy = False
        if "ReplaceUnhealthy" not in self.suspended:
            self._take_out(member, "an unhealthy instance")

    def _take_out(self, member: Member, what: str) -> Params:
        member.leaving = True
        activity = self.record("InProgress", f"Terminating EC2 instance: {member.instance.id} ({what})")
        end(self.region, member.instance)
        if member.instance.state == "terminated":
            self.ended(member.instance)
        self.wake(self.region.timings.replace_seconds)
        return activity

    def ended(self, instance: Instance) -> None:
        """Drop a member that the group ended, once it is terminated."""
        if instance.id in self.members and self.members[instance.id].leaving:
            del self.members[instance.id]
            for activity in self.activities:
                if activity["StatusCode"] == "InProgress" and f" {instance.id} " in activity["Description"]:
                    activity |= {"StatusCode": "Successful", "EndTime": self.region.timeline.now(), "Progress": 100}
        self._settle()

    def noticed(self, instance: Instance) -> None:
        """Do nothing at Spot's notice: CapacityRebalance is off."""

    def _settle(self) -> None:
        if self.deleting and not self.members and self.region.groups.get(self.name) is self:
            self.region.deleted_groups.append(self.region.groups.pop(self.name))

    def step(self) -> None:
        """Shed what exceeds the desired capacity, oldest unprotected first, then fill."""
        if "Terminate" not in self.suspended and not self.deleting:
            for member in list(self.members.values()):
                if not member.leaving and not member.protected and self.units() - member.weight >= self.desired:
                    self._take_out(member, "scale in")
        super().step()

    def resize(self, changes: Params) -> None:
        """Change sizes or settings; refuse what the sizes forbid."""
        before = (self.params, self.desired)
        self.params, self.desired = self.params | changes, changes.get("DesiredCapacity", self.desired)
        if "DesiredCapacity" not in changes:
            self.desired = min(max(self.desired, self.params["MinSize"]), self.params["MaxSize"])
        try:
            self.check()
        except AwsError:
            self.params, self.desired = before
            raise
        self.wake(self.region.timings.fill_seconds)

    def take_out_one(self, member: Member, *, decrement: bool) -> Params:
        """End a member, and with `decrement` want that much less."""
        if member.leaving:
            raise AwsError("ScalingActivityInProgress", f"Instance {member.instance.id} is already being terminated.")
        if decrement:
            low = self.params["MinSize"]
            if self.desired - member.weight < low:
                text = f"Currently, desiredSize equals minSize ({low}). Terminating instance without replacement will"
                raise invalid(f"{text} violate group's min size constraint.")
            self.desired -= int(member.weight)
        return self._take_out(member, "on request")

    def delete(self, *, force: bool) -> None:
        """Delete the group; with members only by force, which ends them first."""
        text = "You cannot delete an AutoScalingGroup while there are"
        if self.members and not force:
            raise AwsError("ResourceInUse", f"{text} instances or pending Spot instance request(s) still in the group.")
        if self.desired and not self.activities and self.launching and not force:
            raise AwsError("ScalingActivityInProgress", f"{text} scaling activities in progress for that group.")
        self.deleting = True
        for member in list(self.members.values()):
            if not member.leaving:
                self._take_out(member, "group deletion")
        self._settle()

    def describe_member(self, member: Member) -> Params:
        """Describe a member in the words of both describe operations."""
        plan, weighted = member.instance.plan, any("WeightedCapacity" in o for o in self._overrides())
        state = "Terminating" if member.leaving else "Pending" if member.instance.state == "pending" else "InService"
        return {
            "InstanceId": member.instance.id,
            "InstanceType": plan.type,
            "AvailabilityZone": plan.subnet.zone,
            "LifecycleState": state,
            "HealthStatus": "Healthy" if member.healthy else "Unhealthy",
            "LaunchTemplate": plan.template and plan.template.describe() | {"Version": "1"},
            "ProtectedFromScaleIn": member.protected,
            "WeightedCapacity": f"{member.weight:.0f}" if weighted else None,
        }

    def _overrides(self) -> list[Params]:
        found: list[Params] = self.policy.get("LaunchTemplate", {}).get("Overrides", [])
        return found

    def describe(self, *, members: bool) -> Params:
        """Describe it in the words of DescribeAutoScalingGroups."""
        zones = {self.region.subnets[s].zone for s in self.subnets()}
        about = {"ResourceId": self.name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False, "Value": ""}
        return self.params | {
            "AutoScalingGroupARN": f"arn:aws:autoscaling:{self.region.name}:{OWNER}:autoScalingGroup:{self.name}",
            "DesiredCapacity": self.desired,
            "DefaultCooldown": 300,
            "AvailabilityZones": sorted(zones),
            "LoadBalancerNames": [],
            "HealthCheckType": "EC2",
            "HealthCheckGracePeriod": 0,
            "CreatedTime": self.created,
            "Instances": [self.describe_member(m) for m in self.members.values()] if members else [],
            "SuspendedProcesses": [{"ProcessName": p, "SuspensionReason": "User"} for p in sorted(self.suspended)],
            "Status": "Delete in progress" if self.deleting else None,
            "Tags": [about | t for t in self.params.get("Tags", ())],
        }
