"""Filling a target of capacity from pools, in steps and for ever: what fleets and groups have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hfcore.testing.aws.hardware import meeting
from hfcore.testing.aws.instances import Blueprint, Instance, launch, resolve, room, shortage
from hfcore.testing.aws.protocol import AwsError, Params

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.testing.aws.world import Region

STEPS = 2
SHORTEST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.01, 60.0
OVERRIDE = {"InstanceType", "SubnetId", "WeightedCapacity", "Priority", "MaxPrice", "SpotPrice"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One pool that may be tried: how much room it has now, what it answers beyond that, and how answers name it."""

    plan: Blueprint | None
    room: Callable[[], int]
    refusal: Callable[[], AwsError]
    weight: float
    priority: float
    named: Params


Tiers = list[list[Candidate]]
Errors = list[tuple[Candidate, AwsError]]
Made = list[tuple[Candidate, list[Instance]]]


def candidate(region: Region, template: Params, override: Params, market: str) -> Candidate:
    """Resolve a launch template and an override, both in the words of fleets, to a pool of a market."""
    if not override.keys() <= OVERRIDE:
        raise AwsError("Unsupported", f"{', '.join(override.keys() - OVERRIDE)}: not served in an override.")
    own: Params = {name: override[name] for name in ("InstanceType", "SubnetId") if name in override}
    plan: Blueprint | None = None
    try:
        plan = resolve(region, {"LaunchTemplate": template, **own}, market)
        override = {"InstanceType": plan.pool[0], **override, "AvailabilityZone": plan.subnet.zone}
        places, refusal = partial(room, region, plan), partial(shortage, plan, region.capacity)
    except AwsError as error:
        places, refusal = partial(int), partial(AwsError, error.code, error.message)
    weight, priority = float(override.get("WeightedCapacity", 1)), override.get("Priority", math.inf)
    named = {"LaunchTemplateAndOverrides": {"LaunchTemplateSpecification": template, "Overrides": override}}
    return Candidate(plan=plan, room=places, refusal=refusal, weight=weight, priority=priority, named=named)


def candidates(region: Region, template: Params, override: Params, market: str) -> list[Candidate]:
    """Resolve an override that may say, in place of a type, what types must have: one candidate for each."""
    required = override.get("InstanceRequirements")
    if required is None:
        return [candidate(region, template, override, market)]
    if "InstanceType" in override:
        text = "InstanceRequirements can't be used with InstanceType in one override."
        raise AwsError("InvalidParameterCombination", text)
    rest = {name: value for name, value in override.items() if name != "InstanceRequirements"}
    return [candidate(region, template, rest | {"InstanceType": kind}, market) for kind in meeting(required)]


def by_strategy(found: list[Candidate], strategy: str) -> Tiers:
    """Order pools by an allocation strategy: a tier is spread over evenly, the next one fills what is left."""
    word = strategy.replace("-", "").lower()
    if word == "diversified":
        return [found]
    if word.endswith("prioritized"):
        found = sorted(found, key=lambda one: one.priority)
    elif "capacityoptimized" in word:
        found = sorted(found, key=lambda one: -one.room())
    return [[one] for one in found]


class Holder(ABC):
    """What keeps a target of capacity: an EC2 Fleet, a Spot Fleet or a group."""

    def __init__(self, region: Region, instance_tags: dict[str, str]) -> None:
        self.region, self.instance_tags = region, instance_tags
        self.members: dict[str, Instance] = {}
        self.launched = {"on-demand": 0.0, "spot": 0.0}  # units, ever
        self.alive = 0
        self._next = math.inf
        self._retry = region.timings.fill_seconds

    @abstractmethod
    def targets(self) -> dict[str, float]:
        """Give the units wanted in all, by market."""

    @abstractmethod
    def _order(self, market: str) -> Tiers:
        """Give the pools of a market in the order in which they are tried."""

    @abstractmethod
    def _failed(self, error: AwsError) -> None:
        """Note an attempt that a pool refused."""

    @abstractmethod
    def lost(self, instance: Instance) -> None:
        """Learn that an instance began to shut down."""

    @abstractmethod
    def ended(self, instance: Instance) -> None:
        """Learn that an instance is terminated."""

    def units(self, market: str = "") -> float:
        """Count the units of members that are not leaving, of one market or of all."""
        return sum(one.weight for one in self.members.values() if not one.leaving and market in {"", one.plan.market})

    def _missing(self) -> dict[str, float]:
        """Count the units that are still to be launched, by market; nothing while it may not launch."""
        return {market: wanted - self.units(market) for market, wanted in self.targets().items()}

    def wake(self, seconds: float) -> None:
        """Try again once `seconds` have passed, or earlier if that was planned already."""
        due = self.region.timeline.now() + seconds
        if due < self._next:
            self._next = due
            self.region.timeline.later(seconds, lambda: self._woken(due))

    def _woken(self, due: float) -> None:
        if self._next == due:
            self._next = math.inf
            self._step()

    def _step(self) -> None:
        """Launch a part of what is missing; come back for the rest, ever more patiently while pools refuse."""
        share, errors = max(1, math.ceil(sum(self.targets().values()) / STEPS)), []
        for market, units in self._missing().items():
            errors += self._fill(market, min(units, share))[1]
        if any(units > 0 for units in self._missing().values()):
            fast = self.region.timings.fill_seconds
            self._retry = min(LONGEST_RETRY_SECONDS, max(SHORTEST_RETRY_SECONDS, 2 * self._retry)) if errors else fast
            self.wake(self._retry)

    def _fill(self, market: str, units: float) -> tuple[Made, Errors]:
        """Launch up to `units` of one market, rounded up to whole instances; give the pools' errors too."""
        made: Made = []
        errors: Errors = []
        for tier in self._order(market) if units > 0 else []:
            # Those with least room first: the others make up for them.
            pools = sorted(tier, key=lambda one: min(one.room(), math.ceil(units)))
            for left, one in zip(range(len(pools), 0, -1), pools, strict=True):
                wanted = math.ceil(units / left / one.weight)
                count = max(0, min(wanted, one.room()))
                if count < wanted:
                    errors.append((one, one.refusal()))
                if count and one.plan:
                    made.append((one, self._launch(one.plan, count, one.weight)))
                    units -= count * one.weight
        for _, error in errors:
            self._failed(error)
        return made, errors

    def _launch(self, plan: Blueprint, count: int, weight: float) -> list[Instance]:
        made = launch(self.region, plan, count, owner=self)
        for one in made:
            one.weight = weight
            self.members[one.id] = one
        self.launched[plan.market] += count * weight
        self.alive += count
        return made
