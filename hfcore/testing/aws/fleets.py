"""EC2 Fleet (instant, request and maintain), and Spot Fleet, which keeps its target likewise but in other words."""

from __future__ import annotations

import math
import re
import uuid
from functools import partial
from typing import TYPE_CHECKING

from hfcore.testing.aws.filling import Holder, Tiers, by_strategy, candidates
from hfcore.testing.aws.protocol import AwsError, Params, at_most, find, matching, page, tag_list
from hfcore.testing.aws.templates import collect_tags, find_version

if TYPE_CHECKING:
    from hfcore.testing.aws.filling import Errors, Made
    from hfcore.testing.aws.instances import Blueprint, Instance
    from hfcore.testing.aws.world import Region

KEPT_SECONDS = 48 * 3600
MAX_INSTANT_DELETED, MAX_ENDED = 25, 100
TARGET = "TargetCapacitySpecification"
REPEATED = "Repeated errors have occurred processing the launch specification. It will not be retried for at least 13 "
REPEATED += "minutes. Error message: {} (Service: AmazonEC2; Status Code: {}; Error Code: {}; Request ID: …)"
ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")

SHORT = {"InsufficientInstanceCapacity", "UnfulfillableCapacity"}


class Fleet(Holder):
    """An EC2 Fleet; its words are those in which Spot Fleet differs."""

    held, prefix, resource, tag = "fleets", "fleet", "fleet", "aws:ec2:fleet-id"
    noun, described, over = "Fleet", "Fleets", "deleted"
    ended_well, not_ended = "SuccessfulFleetDeletions", "UnsuccessfulFleetDeletions"
    not_endable = "fleetNotInDeletableState"
    changed, member, went_wrong, went_on = "fleet-change", "instance-change", "service-error", "service-error"

    def __init__(self, region: Region, config: Params, target: Params, strategies: dict[str, str]) -> None:
        self.id = f"{self.prefix}-{uuid.uuid4()}"
        tags = collect_tags(config.get("TagSpecifications", ()), "instance")
        super().__init__(region, tags | {self.tag: self.id})
        self.config, self.target, self.strategies = config, target, strategies
        self.created = region.timeline.now() // 1
        self.kind: str = config.get("Type", "maintain")
        allowed = {self.resource, "instance"} if self.kind == "instant" else {self.resource}
        self.tags = collect_tags(config.get("TagSpecifications", ()), self.resource, allowed)
        self.state = "submitted"
        self.history: list[Params] = []
        self.answer: Params = {"Instances": [], "Errors": []}
        self._record(self.changed, "submitted")

    @property
    def is_over(self) -> bool:
        """Tell whether it was deleted or cancelled, with or without its instances."""
        return self.state.startswith(self.over)

    def targets(self) -> dict[str, float]:
        """Split the target; what neither market claims is of the default type, on demand unless told."""
        wanted = self.target
        split = {"on-demand": wanted.get("OnDemandTargetCapacity", 0), "spot": wanted.get("SpotTargetCapacity", 0)}
        default, rest = wanted.get("DefaultTargetCapacityType", "on-demand"), wanted["TotalTargetCapacity"]
        if rest < sum(split.values()):
            raise AwsError("InvalidTargetCapacitySpecification", "On-Demand and Spot target capacity exceed the total.")
        if default not in split:
            raise AwsError("Unsupported", f"Capacity of the type {default} is not served here.")
        return split | {default: split[default] + rest - sum(split.values())}

    def _missing(self) -> dict[str, float]:
        expired = self.region.timeline.now() >= self.config.get("ValidUntil", math.inf)
        if self.kind == "instant" or self.is_over or expired:
            return {}
        if self.kind == "maintain":
            return super()._missing()
        return {market: units - self.launched[market] for market, units in self.targets().items()}

    def _order(self, market: str) -> Tiers:
        pools = [
            pool
            for one in self.config["LaunchTemplateConfigs"]
            for override in one.get("Overrides") or [{}]
            for pool in candidates(self.region, one["LaunchTemplateSpecification"], override, market)
        ]
        return by_strategy(pools, self.strategies.get(market, ""))

    @property
    def activity(self) -> str:
        """Give its progress; that of an instant fleet is fulfilled however short it is (API text of FleetData)."""
        if self.kind == "instant" or self.units() >= self.target["TotalTargetCapacity"]:
            return "fulfilled"
        if self.is_over:
            return "pending_termination"
        failed = any(event["EventType"] in {self.went_wrong, self.went_on} for event in self.history)
        return "error" if failed else "pending_fulfillment"

    def _record(self, kind: str, subtype: str, text: str | None = None, instance_id: str | None = None) -> None:
        about = {"EventSubType": subtype, "EventDescription": text, "InstanceId": instance_id}
        now = self.region.timeline.now()
        self.history.append({"EventType": kind, "EventInformation": about, "Timestamp": now})

    def _failed(self, error: AwsError) -> None:
        # API text of EventInformation: what kind of event is which subtype.
        if error.code in SHORT:
            text = REPEATED.format(error.message, error.status, error.code)
            self._record(self.went_on, "launchSpecTemporarilyBlacklisted", text)
        else:
            text = f"{error.code}: {error.message}"
            self._record(self.went_wrong, "spotFleetRequestConfigurationInvalid", text)

    def _launch(self, plan: Blueprint, count: int, weight: float) -> list[Instance]:
        made = super()._launch(plan, count, weight)
        for one in made:
            self._record(self.member, "launched", instance_id=one.id)
        return made

    def _fill(self, market: str, units: float) -> tuple[Made, Errors]:
        made, errors = super()._fill(market, units)
        if errors and not made and all(error.code in SHORT for _, error in errors):
            text = "No launch configuration is valid: several attempts to launch instances have failed."
            self._record(self.went_wrong, "allLaunchSpecsTemporarilyBlacklisted", text)
        return made, errors

    def lost(self, instance: Instance) -> None:
        """Drop an instance that ends; `maintain` will replace it."""
        self.members.pop(instance.id, None)
        self.wake(self.region.timings.replace_seconds)

    def ended(self, instance: Instance) -> None:
        """Be over for good with the last instance, if that was wanted."""
        self._record(self.member, "terminated", instance_id=instance.id)
        self.alive -= 1
        self._settle()

    def _step(self) -> None:
        self.state = "active" if self.state in {"submitted", "modifying"} else self.state
        super()._step()

    def begin(self) -> Fleet:
        """Check what it names, the version too (API text of FleetLaunchTemplateSpecification), and let it launch."""
        for one in self.config["LaunchTemplateConfigs"]:
            if "Version" not in one.get("LaunchTemplateSpecification", {}):
                raise AwsError("MissingParameter", "A launch template version must be specified.")
            find_version(self.region, one["LaunchTemplateSpecification"])
        for market in self.targets():
            self._order(market)
        _known(self, self.region)[self.id] = self
        if self.kind != "instant":
            self.wake(self.region.timings.fill_seconds)
            return self
        self.state = "active"
        for market, units in self.targets().items():
            made, errors = self._fill(market, units)
            for one, instances in made:
                ids = [instance.id for instance in instances]
                own = {"Lifecycle": market, "InstanceIds": ids, "InstanceType": instances[0].plan.pool[0]}
                self.answer["Instances"].append(one.named | own)
            for one, error in errors:
                own = {"Lifecycle": market, "ErrorCode": error.code, "ErrorMessage": error.message}
                self.answer["Errors"].append(one.named | own)
        return self

    def end(self, *, terminate: bool) -> Params:
        """End the fleet, with or without its instances; give its states now and before."""
        before, now = self.state, f"{self.over}_{'terminating' if terminate else 'running'}"
        self.state = now
        self._record(self.changed, now)
        for instance in list(self.members.values()) if terminate else ():
            instance.end()
        self._settle()
        return {f"Current{self.noun}State": now, f"Previous{self.noun}State": before}

    def _settle(self) -> None:
        if self.is_over and not self.alive:
            self.state = self.over
            self.region.timeline.later(KEPT_SECONDS, lambda: _known(self, self.region).pop(self.id, None))

    def describe(self) -> Params:
        """Describe it in the words of DescribeFleets."""
        about = {"FleetId": self.id, "FleetState": self.state, "CreateTime": self.created, "Tags": tag_list(self.tags)}
        about |= {"Type": self.kind, "FulfilledCapacity": self.units(), "ActivityStatus": self.activity}
        return self.config | about | (self.answer if self.kind == "instant" else {})


class SpotFleet(Fleet):
    """A Spot Fleet request."""

    held, prefix, resource, tag = "spot_fleets", "sfr", "spot-fleet-request", "aws:ec2spot:fleet-request-id"
    noun, described, over = "SpotFleetRequest", "SpotFleetRequestConfigs", "cancelled"
    ended_well, not_ended = "SuccessfulFleetRequests", "UnsuccessfulFleetRequests"
    not_endable = "fleetRequestNotInCancellableState"
    changed, member, went_wrong, went_on = "fleetRequestChange", "instanceChange", "error", "information"

    def describe(self) -> Params:
        """Describe it in the words of DescribeSpotFleetRequests."""
        about = {"SpotFleetRequestId": self.id, "SpotFleetRequestState": self.state, "CreateTime": self.created}
        about["ActivityStatus"] = self.activity
        config = self.config | {"Type": self.kind, "FulfilledCapacity": self.units()}
        return about | {"SpotFleetRequestConfig": config, "Tags": tag_list(self.tags)}


def _known(kind: Fleet | type[Fleet], region: Region) -> dict[str, Fleet]:
    found: dict[str, Fleet] = getattr(region, kind.held)
    return found


def _find(kind: type[Fleet], region: Region, fleet_id: str) -> Fleet:
    return find(_known(kind, region), fleet_id, kind.prefix + r"-[0-9a-f-]{36}", f"Invalid{kind.noun}Id")


def create_fleet(region: Region, params: Params) -> Params:
    """CreateFleet: instant answers instances and errors; the other types their id, and fill later."""

    def make() -> Fleet:
        options = {"spot": params.get("SpotOptions", {}), "on-demand": params.get("OnDemandOptions", {})}
        strategies = {market: options[market].get("AllocationStrategy", "") for market in options}
        return Fleet(region, params, params[TARGET], strategies).begin()

    fleet = region.once("CreateFleet", params, make)
    return {"FleetId": fleet.id, **fleet.answer}


def request_spot_fleet(region: Region, params: Params) -> Params:
    """RequestSpotFleet: answers its id, fills later; its tags are its own, instances get the template's."""
    config = params["SpotFleetRequestConfig"]

    def make() -> Fleet:
        problem = ""
        if not ROLE.fullmatch(config["IamFleetRole"]):
            problem = "Parameter: SpotFleetRequestConfig.IamFleetRole is invalid."
        elif "LaunchSpecifications" in config or not config.get("LaunchTemplateConfigs"):
            problem = "LaunchTemplateConfigs must be specified; LaunchSpecifications are not served here."
        elif config.get("OnDemandTargetCapacity", 0) > config["TargetCapacity"] or config.get("Type") == "instant":
            problem = "OnDemandTargetCapacity exceeds TargetCapacity, or Type is instant."
        if problem:
            raise AwsError("InvalidSpotFleetRequestConfig", problem)
        target = {"TotalTargetCapacity": config["TargetCapacity"], "DefaultTargetCapacityType": "spot"}
        target |= {"OnDemandTargetCapacity": config.get("OnDemandTargetCapacity", 0)}
        names = {"spot": "AllocationStrategy", "on-demand": "OnDemandAllocationStrategy"}
        strategies = {market: config.get(name, "") for market, name in names.items()}
        return SpotFleet(region, config, target, strategies).begin()

    return {"SpotFleetRequestId": region.once("RequestSpotFleet", config, make).id}


def describe(kind: type[Fleet], region: Region, params: Params) -> Params:
    """DescribeFleets, of which instant ones only by id (API text), and DescribeSpotFleetRequests; no filters."""
    asked = [_find(kind, region, one) for one in params.get(f"{kind.noun}Ids", ())]
    found = asked or [fleet for fleet in _known(kind, region).values() if fleet.kind != "instant"]
    return page(params, [fleet.describe() for fleet in matching(found, params, {})], kind.described)


def describe_members(kind: type[Fleet], region: Region, params: Params) -> Params:
    """DescribeFleetInstances, not of instant fleets (API text), and DescribeSpotFleetInstances."""
    fleet = _find(kind, region, params[f"{kind.noun}Id"])
    if fleet.kind == "instant":
        raise region.world.refuse("Unsupported", "DescribeFleetInstances does not support fleets of type instant")
    return page(params, [one.described for one in fleet.members.values()], "ActiveInstances")


def describe_history(kind: type[Fleet], region: Region, params: Params) -> Params:
    """DescribeFleetHistory and DescribeSpotFleetRequestHistory, as late as the timings say."""
    fleet, until = _find(kind, region, params[f"{kind.noun}Id"]), region.timeline.now()
    until -= region.timings.history_after_seconds
    found = [event for event in fleet.history if params["StartTime"] <= event["Timestamp"] <= until]
    return page(params, found, "HistoryRecords")


def modify_fleet(region: Region, params: Params) -> Params:
    """ModifyFleet: of type maintain only; the target is absolute."""
    fleet, policy = _find(Fleet, region, params["FleetId"]), params.get("ExcessCapacityTerminationPolicy")
    if fleet.kind != "maintain" or fleet.is_over:
        raise AwsError("InvalidParameterValue", "Only an undeleted fleet of type maintain can be modified.")
    if policy != "no-termination":
        region.world.violate("a change without the policy no-termination lets AWS choose what ends")
    default = {"DefaultTargetCapacityType": fleet.target.get("DefaultTargetCapacityType", "on-demand")}
    fleet.target, fleet.state = default | params[TARGET], "modifying"
    fleet.config |= {TARGET: fleet.target, "ExcessCapacityTerminationPolicy": policy}
    fleet.wake(region.timings.fill_seconds)
    return {"Return": True}


def end(kind: type[Fleet], region: Region, params: Params) -> Params:
    """DeleteFleets (at most 25 instant and 100 others, else none) and CancelSpotFleetRequests (at most 100)."""
    ids, terminate, known = params[f"{kind.noun}Ids"], params["TerminateInstances"], _known(kind, region)
    instant = [one for one in ids if one in known and known[one].kind == "instant"]
    at_most(region, MAX_INSTANT_DELETED, instant)
    at_most(region, MAX_ENDED, [one for one in ids if one not in instant])
    answer: dict[str, list[Params]] = {kind.ended_well: [], kind.not_ended: []}
    for one in ids:
        about = {f"{kind.noun}Id": one}
        try:
            fleet = _endable(kind, region, one, terminate=terminate)
        except AwsError as error:
            answer[kind.not_ended].append(about | {"Error": {"Code": error.code, "Message": error.message}})
        else:
            answer[kind.ended_well].append(about | fleet.end(terminate=terminate))
    return answer


def _endable(kind: type[Fleet], region: Region, fleet_id: str, *, terminate: bool) -> Fleet:
    try:
        fleet = _find(kind, region, fleet_id)
    except AwsError as error:
        what = "Malformed" if error.code.endswith("Malformed") else "DoesNotExist"
        raise AwsError(f"{kind.not_endable.partition('Not')[0]}Id{what}", error.message) from None
    if fleet.is_over:
        raise AwsError(kind.not_endable, f"The fleet is in the state {fleet.state}.")
    if fleet.kind == "instant" and not terminate:
        raise region.world.refuse("unexpectedError", "an instant fleet cannot be deleted without its instances")
    return fleet


BOTH = {
    "DescribeFleets": partial(describe, Fleet),
    "DescribeFleetInstances": partial(describe_members, Fleet),
    "DescribeFleetHistory": partial(describe_history, Fleet),
    "DeleteFleets": partial(end, Fleet),
    "DescribeSpotFleetRequests": partial(describe, SpotFleet),
    "DescribeSpotFleetInstances": partial(describe_members, SpotFleet),
    "DescribeSpotFleetRequestHistory": partial(describe_history, SpotFleet),
    "CancelSpotFleetRequests": partial(end, SpotFleet),
}
