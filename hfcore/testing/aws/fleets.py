"""EC2 Fleet: instant, request and maintain."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

from hfcore.testing.aws.filling import Candidate, Errors, Holder, Tiers, candidates, choose, tiers
from hfcore.testing.aws.protocol import AwsError, Params
from hfcore.testing.aws.select import at_most, find, matching, page, tag_list
from hfcore.testing.aws.templates import collect_tags, find_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfcore.testing.aws.instances import Instance
    from hfcore.testing.aws.world import Region

KEPT_SECONDS = 48 * 3600
MAX_CONFIGS = 50
MAX_INSTANT_DELETED, MAX_DELETED = 25, 100
PAGE = 1000


class Fleet(Holder):
    """A fleet; Spot Fleet differs in its words only."""

    over: ClassVar[str] = "deleted"
    tag_key: ClassVar[str] = "aws:ec2:fleet-id"
    refusal: ClassVar[str] = "InvalidParameterValue"
    kinds: ClassVar[Mapping[str, str]] = {
        "instance": "instance-change",
        "fleet": "fleet-change",
        "error": "service-error",
    }

    def __init__(self, region: Region, fleet_id: str, config: Params, tags: dict[str, str]) -> None:
        super().__init__(region)
        self.id, self.config, self.tags = fleet_id, config, tags
        self.kind: str = config.get("Type", "maintain")
        self.created = region.timeline.now() // 1
        self.state = "submitted"
        self.history: list[Params] = []
        self.made: list[Params] = []
        self.errors: list[Params] = []
        self.extra_tags: dict[str, str] = {}
        self._launched = dict.fromkeys(("on-demand", "spot"), 0.0)
        self._leaving = 0
        self.record("fleet", "submitted")
        if "ValidUntil" in config:
            region.timeline.later(config["ValidUntil"] - region.timeline.now(), self._expire)

    @property
    def launching(self) -> bool:
        """Tell whether it may launch: not once deleted, and not after ValidUntil."""
        valid = self.region.timeline.now() < self.config.get("ValidUntil", float("inf"))
        return self.kind != "instant" and valid and not self.state.startswith(self.over)

    @property
    def activity(self) -> str:
        """Give ActivityStatus; an instant fleet is `fulfilled` even when short (API text of FleetData)."""
        if self.state == f"{self.over}_terminating" or (self._leaving and self.units() >= self.total):
            return "pending_termination"
        short = self.kind != "instant" and any(units > 0 for units in self.missing().values())
        return "pending_fulfillment" if short else "fulfilled"

    @property
    def total(self) -> float:
        """Give the whole target in units."""
        return sum(self.targets().values())

    def targets(self) -> dict[str, float]:
        """Split TotalTargetCapacity; what neither market claims is of the default type, on demand unless told."""
        wanted = self.config["TargetCapacitySpecification"]
        split = {"on-demand": wanted.get("OnDemandTargetCapacity", 0), "spot": wanted.get("SpotTargetCapacity", 0)}
        rest = wanted["TotalTargetCapacity"] - sum(split.values())
        if rest < 0:
            raise AwsError("InvalidTargetCapacitySpecification", "On-Demand and Spot target capacity exceed the total.")
        default = wanted.get("DefaultTargetCapacityType", "on-demand")
        if default not in split:
            raise AwsError("Unsupported", f"Capacity of the type {default} is not served here.")
        return split | {default: split[default] + rest}

    def missing(self) -> dict[str, float]:
        """Count what is to be launched: only `maintain` replaces what died."""
        if self.kind == "maintain":
            return super().missing()
        return {market: units - self._launched[market] for market, units in self.targets().items()}

    def order(self, market: str) -> Tiers:
        """Give the pools by the market's allocation strategy."""
        name = "SpotOptions" if market == "spot" else "OnDemandOptions"
        return tiers(self.region, self.pools(market), self.config.get(name, {}).get("AllocationStrategy", ""))

    def pools(self, market: str) -> list[Candidate]:
        """Resolve the configurations; a fleet must name the version (API text of FleetLaunchTemplateSpecification)."""
        options = []
        for one in self.config["LaunchTemplateConfigs"]:
            named = one.get("LaunchTemplateSpecification", {})
            if "Version" not in named:
                raise AwsError("MissingParameter", "A launch template version must be specified.")
            find_version(self.region, named)
            options += [({"LaunchTemplate": named}, override) for override in one.get("Overrides") or [{}]]
        return candidates(self.region, options, market)

    def instance_tags(self) -> dict[str, str]:
        """Give AWS's own tag, and those asked for the instances of an instant fleet."""
        return self.extra_tags | {self.tag_key: self.id}

    def record(self, kind: str, subtype: str, text: str = "", instance: Instance | None = None) -> None:
        """Note an event for the history."""
        about: Params = {"EventSubType": subtype, "EventDescription": text or None}
        about["InstanceId"] = instance.id if instance else None
        now = self.region.timeline.now()
        self.history.append({"EventType": self.kinds[kind], "EventInformation": about, "Timestamp": now})

    def started(self, instance: Instance) -> None:
        """Count a launch."""
        self._launched[instance.plan.market] += self.members[instance.id].weight
        self.record("instance", "launched", f'{{"instanceType":"{instance.plan.type}"}}', instance)

    def failed(self, error: AwsError) -> None:
        """Note why a pool gave nothing."""
        blocked = error.code in {"InsufficientInstanceCapacity", "UnfulfillableCapacity"}
        subtype = "launchSpecTemporarilyBlacklisted" if blocked else "launchSpecUnusable"
        self.record("error", subtype, f"{error.code}: {error.message}")

    def lost(self, instance: Instance) -> None:
        """Drop an instance that ends; `maintain` will replace it."""
        if self.members.pop(instance.id, None):
            self._leaving += 1
            self.record("instance", "terminated", instance=instance)
            self.wake(self.region.timings.replace_seconds)

    def ended(self, instance: Instance) -> None:
        """Notice when the last one is gone."""
        del instance
        self._leaving -= 1
        self._settle()

    def noticed(self, instance: Instance) -> None:
        """Note Spot's notice."""
        self.record("instance", "termination_notified", instance=instance)

    def step(self) -> None:
        """Begin to be active, shed what exceeds the target if that was asked for, and fill."""
        if self.state in {"submitted", "modifying"}:
            self.record("fleet", "modify_succeeded" if self.state == "modifying" else "active")
            self.state = "active"
        if self.launching and self.kind == "maintain" and self.sheds:
            for market, units in self.missing().items():
                excess = -units
                for member in [m for m in self.members.values() if m.instance.plan.market == market and units < 0]:
                    if member.weight <= excess:
                        excess -= member.weight
                        self.end_members([member])
        super().step()

    @property
    def sheds(self) -> bool:
        """Tell whether excess capacity is terminated; the API text states no default, so this is the harsher."""
        return str(self.config.get("ExcessCapacityTerminationPolicy", "")).lower().replace("-", "") != "notermination"

    def modify(self, changed: Params) -> Params:
        """Change the absolute target, or more; only of type maintain."""
        if self.kind != "maintain" or self.state.startswith(self.over):
            raise AwsError(self.refusal, "Only an undeleted fleet of type maintain can be modified.")
        if "ExcessCapacityTerminationPolicy" not in changed:
            self.region.world.violate("a change without ExcessCapacityTerminationPolicy lets AWS choose what ends")
        before, name = self.config, "TargetCapacitySpecification"
        if name in changed:
            default = before[name].get("DefaultTargetCapacityType", "on-demand")
            changed[name] = {"DefaultTargetCapacityType": default} | changed[name]
        self.config, self.state = before | changed, "modifying"
        self.record("fleet", "modify_in_progress")
        self.wake(self.region.timings.fill_seconds)
        return {"Return": True}

    def delete(self, *, terminate: bool) -> tuple[str, str]:
        """End the fleet, with or without its instances; give its states now and before."""
        before, self.state = self.state, f"{self.over}_terminating" if terminate else f"{self.over}_running"
        now = self.state
        self.record("fleet", self.state)
        if terminate:
            self.end_members(self.members.values())
        self._settle()
        return now, before

    def _settle(self) -> None:
        if self.state.startswith(f"{self.over}_") and not self.members and not self._leaving:
            self.state = self.over
            self.record("fleet", self.over)
            self.region.timeline.later(KEPT_SECONDS, self._forget)

    def _forget(self) -> None:
        self.region.fleets.pop(self.id, None)
        self.region.spot_fleets.pop(self.id, None)

    def _expire(self) -> None:
        if not self.state.startswith(self.over):
            self.record("fleet", "expired")
            if self.config.get("TerminateInstancesWithExpiration"):
                self.end_members(self.members.values())

    def launch_at_once(self) -> None:
        """Make the one attempt of an instant fleet; MinTargetCapacity makes a market all or nothing."""
        self.state = "active"
        for market, units in self.targets().items():
            options = self.config.get("SpotOptions" if market == "spot" else "OnDemandOptions", {})
            order = self.order(market)
            first = next((c.plan for tier in order for c in tier if c.plan), None)
            if first and options.get("SingleInstanceType"):
                order = [[c for c in tier if c.plan and c.plan.type == first.type] for tier in order]
            if first and options.get("SingleAvailabilityZone"):
                order = [[c for c in tier if c.plan and c.plan.subnet.zone == first.subnet.zone] for tier in order]
            picks, errors = choose(self.region, order, units)
            if sum(c.weight * n for c, n in picks) >= options.get("MinTargetCapacity", 0):
                made, errors = self.fill(market, units, order)
                for one, instances in made:
                    ids = [i.id for i in instances]
                    own = {"Lifecycle": market, "InstanceIds": ids, "InstanceType": instances[0].plan.type}
                    self.made.append(one.echo | own)
            self._answer(errors, market)

    def _answer(self, errors: Errors, market: str) -> None:
        for one, error in errors:
            self.errors.append(one.echo | {"Lifecycle": market, "ErrorCode": error.code, "ErrorMessage": error.message})

    def events(self, params: Params) -> Params:
        """Give a page of the history since StartTime, as delayed as the timings say."""
        until = self.region.timeline.now() - self.region.timings.history_after_seconds
        found = [e for e in self.history if params["StartTime"] <= e["Timestamp"] <= until]
        part, token = page(found, params.get("MaxResults", PAGE), params.get("NextToken"))
        times = {"StartTime": params["StartTime"], "LastEvaluatedTime": until}
        return {"HistoryRecords": part, "NextToken": token, **times}

    def active_instances(self, params: Params) -> Params:
        """Give a page of the instances that run or will."""
        part, token = page(list(self.members.values()), params.get("MaxResults", PAGE), params.get("NextToken"))
        found = [
            {
                "InstanceId": m.instance.id,
                "InstanceType": m.instance.plan.type,
                "InstanceHealth": "healthy",
                "SpotInstanceRequestId": m.instance.spot_request.id if m.instance.spot_request else None,
            }
            for m in part
        ]
        return {"ActiveInstances": found, "NextToken": token}

    def describe(self) -> Params:
        """Describe it in the words of DescribeFleets."""
        instant = self.kind == "instant"
        return self.config | {
            "FleetId": self.id,
            "FleetState": self.state,
            "ActivityStatus": self.activity,
            "CreateTime": self.created,
            "Type": self.kind,
            "FulfilledCapacity": self.units(),
            "FulfilledOnDemandCapacity": self.units("on-demand"),
            "Tags": tag_list(self.tags),
            "Instances": self.made if instant else None,
            "Errors": self.errors if instant else None,
        }


def create_fleet(region: Region, params: Params) -> Params:
    """CreateFleet: instant answers instances and errors; the other types their id, and fill later."""

    def make() -> Fleet:
        kind, specifications = params.get("Type", "maintain"), params.get("TagSpecifications", [])
        allowed = {"fleet", "instance"} if kind == "instant" else {"fleet"}
        fleet = Fleet(region, f"fleet-{uuid.uuid4()}", params, collect_tags(specifications, "fleet", allowed))
        fleet.extra_tags = collect_tags(specifications, "instance")
        _check(fleet)
        region.fleets[fleet.id] = fleet
        if kind == "instant":
            fleet.launch_at_once()
        else:
            fleet.wake(region.timings.fill_seconds)
        return fleet

    fleet = region.once("CreateFleet", params, make)
    return {"FleetId": fleet.id, "Instances": fleet.made, "Errors": fleet.errors}


def _check(fleet: Fleet) -> None:
    configs = fleet.config["LaunchTemplateConfigs"]
    if not 1 <= len(configs) <= MAX_CONFIGS:
        raise AwsError("InvalidParameterValue", f"Between 1 and {MAX_CONFIGS} LaunchTemplateConfigs are needed.")
    fleet.targets()
    for market in ("on-demand", "spot"):
        fleet.pools(market)
    subnets = [o.get("SubnetId", "") for c in configs for o in c.get("Overrides", ())]
    if fleet.kind == "instant" and any("," in s for s in subnets):
        raise AwsError("InvalidParameterValue", "A fleet of type instant takes one subnet in each override.")
    for name in ("SpotOptions", "OnDemandOptions"):
        options = fleet.config.get(name, {})
        alone = options.get("SingleInstanceType") or options.get("SingleAvailabilityZone")
        if "MinTargetCapacity" in options and not (alone and fleet.kind == "instant"):
            text = "MinTargetCapacity needs type instant, and SingleAvailabilityZone or SingleInstanceType."
            raise AwsError("InvalidParameterCombination", text)


def _find(region: Region, fleet_id: str) -> Fleet:
    return find(region.fleets, fleet_id, r"fleet-[0-9a-f-]{36}", "InvalidFleetId")


def describe_fleets(region: Region, params: Params) -> Params:
    """DescribeFleets: an instant fleet appears only when its id is named (API text)."""
    ids = params.get("FleetIds", ())
    found = [_find(region, i) for i in ids] or [f for f in region.fleets.values() if f.kind != "instant"]
    fields = {"fleet-state": lambda f: f.state, "activity-status": lambda f: f.activity, "type": lambda f: f.kind}
    kept = matching(found, params.get("Filters", []), fields, lambda f: f.tags)
    part, token = page(kept, params.get("MaxResults", PAGE), params.get("NextToken"))
    return {"Fleets": [f.describe() for f in part], "NextToken": token}


def describe_fleet_instances(region: Region, params: Params) -> Params:
    """DescribeFleetInstances: not for instant fleets (API text)."""
    fleet = _find(region, params["FleetId"])
    if fleet.kind == "instant":
        region.world.violate("DescribeFleetInstances does not support fleets of type instant")
        raise AwsError("Unsupported", "DescribeFleetInstances does not support fleets of type instant.")
    return fleet.active_instances(params) | {"FleetId": fleet.id}


def describe_fleet_history(region: Region, params: Params) -> Params:
    """DescribeFleetHistory."""
    fleet = _find(region, params["FleetId"])
    return fleet.events(params) | {"FleetId": fleet.id}


def modify_fleet(region: Region, params: Params) -> Params:
    """ModifyFleet: of type maintain only; the target is absolute."""
    changed = {k: v for k, v in params.items() if k not in {"FleetId", "DryRun"}}
    return _find(region, params["FleetId"]).modify(changed)


def delete_fleets(region: Region, params: Params) -> Params:
    """DeleteFleets: at most 25 instant and 100 others, else none; instant ones only with their instances."""
    ids, terminate = params["FleetIds"], params["TerminateInstances"]
    instant = [i for i in ids if i in region.fleets and region.fleets[i].kind == "instant"]
    at_most(region, MAX_INSTANT_DELETED, instant)
    at_most(region, MAX_DELETED, [i for i in ids if i not in instant])
    good, bad = [], []
    for one in ids:
        problem = _undeletable(region, one, terminate=terminate)
        if problem:
            bad.append({"FleetId": one, "Error": {"Code": problem[0], "Message": problem[1]}})
        else:
            states = region.fleets[one].delete(terminate=terminate)
            good.append({"FleetId": one, "CurrentFleetState": states[0], "PreviousFleetState": states[1]})
    return {"SuccessfulFleetDeletions": good, "UnsuccessfulFleetDeletions": bad}


def _undeletable(region: Region, fleet_id: str, *, terminate: bool) -> tuple[str, str] | None:
    try:
        fleet = _find(region, fleet_id)
    except AwsError as error:
        code = "fleetIdMalformed" if error.code.endswith("Malformed") else "fleetIdDoesNotExist"
        return code, error.message
    if fleet.state.startswith(fleet.over):
        return "fleetNotInDeletableState", f"The fleet is in the state {fleet.state}."
    if fleet.kind == "instant" and not terminate:
        region.world.violate("an instant fleet cannot be deleted without its instances")
        return "unexpectedError", "Deleting an instant fleet terminates its instances; TerminateInstances must be true."
    return None
