"""Filling a target of capacity from pools, in steps and for ever: what fleets and groups have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfcore.testing.aws.instances import Blueprint, Instance, end, launch, resolve, shortage
from hfcore.testing.aws.protocol import AwsError, Params

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hfcore.testing.aws.world import Region

MARKETS = ("on-demand", "spot")
STEPS = 2
LONGEST_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One pool that may be tried: a blueprint, or the error that refuses it."""

    echo: Params  # as answers name it: LaunchTemplateAndOverrides
    weight: float
    priority: float
    plan: Blueprint | None = None
    error: AwsError | None = None


@dataclass(slots=True, kw_only=True)
class Member:
    """An instance that a fleet or group counts."""

    instance: Instance
    weight: float
    protected: bool = False
    leaving: bool = False
    healthy: bool = True


Picks = list[tuple[Candidate, int]]
Made = list[tuple[Candidate, list[Instance]]]
Errors = list[tuple[Candidate, AwsError]]
Tiers = list[list[Candidate]]


def candidates(region: Region, options: Iterable[tuple[Params, Params]], market: str) -> list[Candidate]:
    """Resolve launches to candidates.

    Args:
        region: where.
        options: pairs of base parameters (RunInstances' words) and an override: InstanceType,
            SubnetId (a comma list is an alternative each), AvailabilityZone, ImageId, WeightedCapacity, Priority.
        market: `spot` or `on-demand`, or empty: as the parameters say.
    """
    found: list[Candidate] = []
    for base, override in options:
        own = {k: override[k] for k in ("InstanceType", "ImageId") if k in override}
        if "InstanceRequirements" in override:
            raise AwsError("Unsupported", "InstanceRequirements are not served here: name instance types.")
        zone = override.get("AvailabilityZone") or override.get("Placement", {}).get("AvailabilityZone")
        places: list[Params] = [{"SubnetId": s.strip()} for s in override.get("SubnetId", "").split(",") if s.strip()]
        places = places or [{"Placement": {"AvailabilityZone": zone}} if zone else {}]
        found += [_candidate(region, base | own | place, override | place, market) for place in places]
    return found


def _candidate(region: Region, params: Params, override: Params, market: str) -> Candidate:
    weight, priority = float(override.get("WeightedCapacity", 1)), float(override.get("Priority", math.inf))
    named = {k: v for k, v in params.get("LaunchTemplate", {}).items() if k != "LaunchTemplateName"}
    try:
        plan = resolve(region, params, market)
    except AwsError as error:
        return Candidate(echo=_echo(named, override), weight=weight, priority=priority, error=error)
    if plan.template:
        named = {"LaunchTemplateId": plan.template.id, "Version": "1"}
    echo = _echo(named, {"InstanceType": plan.type, **override, "AvailabilityZone": plan.subnet.zone})
    return Candidate(echo=echo, weight=weight, priority=priority, plan=plan)


def _echo(named: Params, override: Params) -> Params:
    return {"LaunchTemplateAndOverrides": {"LaunchTemplateSpecification": named, "Overrides": override}}


def tiers(region: Region, found: Sequence[Candidate], strategy: str) -> Tiers:
    """Order candidates by an allocation strategy: a tier is spread over evenly, the next one fills what is left."""
    word = strategy.replace("-", "").lower()
    if word == "diversified":
        return [list(found)]
    if word.endswith("prioritized"):
        found = sorted(found, key=lambda c: c.priority)
    elif "capacityoptimized" in word:
        found = sorted(found, key=lambda c: -region.room(c.plan) if c.plan else 0)
    return [[one] for one in found]


def choose(region: Region, order: Tiers, units: float) -> tuple[Picks, Errors]:
    """Choose pools for `units` (rounded up to whole instances); one error for each pool tried that had too little."""
    room: dict[object, int] = {}
    picks: dict[int, tuple[Candidate, int]] = {}
    errors: Errors = []
    for tier in order:
        open_ = list(tier)
        while open_ and units > 0:
            one = open_.pop(0)
            if one.plan is None:
                errors.append((one, one.error or AwsError("InternalError", "unresolved")))
                continue
            plan, places = one.plan, (one.plan.pool, one.plan.subnet.id)
            before = room.setdefault(places[0], region.room(plan))
            left = min(before, room.setdefault(places[1], plan.subnet.free))
            if left <= 0:
                errors.append((one, shortage(plan, fleet=True, empty=region.capacity.get(plan.pool) == 0)))
                continue
            count = 1 if len(tier) > 1 else min(left, math.ceil(units / one.weight))
            picks[id(one)] = (one, picks.get(id(one), (one, 0))[1] + count)
            units -= count * one.weight
            for place in places:
                room[place] -= count
            open_.append(one)
    return list(picks.values()), errors


class Holder(ABC):
    """What keeps a target of capacity: an EC2 Fleet, a Spot Fleet or a group."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.members: dict[str, Member] = {}
        self._next: float | None = None
        self._retry = region.timings.fill_seconds

    @property
    @abstractmethod
    def launching(self) -> bool:
        """Tell whether it may launch now."""

    @abstractmethod
    def targets(self) -> dict[str, float]:
        """Give the units wanted in all, by market."""

    @abstractmethod
    def order(self, market: str) -> Tiers:
        """Give the pools of a market in the order in which they are tried."""

    @abstractmethod
    def instance_tags(self) -> dict[str, str]:
        """Give the tags that it puts on its instances."""

    @abstractmethod
    def lost(self, instance: Instance) -> None:
        """Learn that an instance began to shut down."""

    @abstractmethod
    def ended(self, instance: Instance) -> None:
        """Learn that an instance is terminated."""

    @abstractmethod
    def noticed(self, instance: Instance) -> None:
        """Learn that Spot takes an instance back in two minutes."""

    @abstractmethod
    def started(self, instance: Instance) -> None:
        """Note a launch."""

    @abstractmethod
    def failed(self, error: AwsError) -> None:
        """Note an attempt that a pool refused."""

    def units(self, market: str = "") -> float:
        """Count the units of members that are not leaving, of one market or of all."""
        staying = [m for m in self.members.values() if not m.leaving]
        return sum(m.weight for m in staying if not market or m.instance.plan.market == market)

    def missing(self) -> dict[str, float]:
        """Count the units that are still to be launched, by market."""
        return {market: wanted - self.units(market) for market, wanted in self.targets().items()}

    def wake(self, seconds: float) -> None:
        """Try again once `seconds` have passed, or earlier if that was planned already."""
        due = self.region.timeline.now() + seconds
        if self._next is None or due < self._next:
            self._next = due
            self.region.timeline.later(seconds, lambda: self._woken(due))

    def _woken(self, due: float) -> None:
        if self._next == due:
            self._next = None
            self.step()

    def step(self) -> None:
        """Launch a part of what is missing; come back for the rest, ever more patiently while pools refuse."""
        if not self.launching:
            return
        share = math.ceil(sum(self.targets().values()) / STEPS)
        refused = False
        for market, units in self.missing().items():
            if units > 0:
                refused = self.fill(market, min(units, max(1, share)))[1] != [] or refused
        if any(units > 0 for units in self.missing().values()):
            fast = self.region.timings.fill_seconds
            self._retry = min(LONGEST_RETRY_SECONDS, 2 * self._retry) if refused else fast
            self.wake(self._retry)

    def fill(self, market: str, units: float, order: Tiers | None = None) -> tuple[Made, Errors]:
        """Launch up to `units` of one market; give what was launched by candidate, and the pools' errors."""
        try:
            picks, errors = choose(self.region, self.order(market) if order is None else order, units)
        except AwsError as error:  # the template has gone since
            picks, errors = [], [(Candidate(echo={}, weight=1, priority=0), error)]
        made = []
        for one, count in picks:
            if one.plan:
                instances = launch(self.region, one.plan, count, owner=self, tags=self.instance_tags())
                made.append((one, instances))
                for instance in instances:
                    self.members[instance.id] = Member(instance=instance, weight=one.weight)
                    self.started(instance)
        for _, problem in errors:
            self.failed(problem)
        return made, errors

    def end_members(self, members: Iterable[Member]) -> None:
        """Terminate members, as AWS's own deed."""
        for member in list(members):
            end(self.region, member.instance)
