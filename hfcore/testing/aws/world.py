"""The state of the strict AWS: its clock, its regions, what was asked of it, and idempotency. Knows no operation."""

from __future__ import annotations

import heapq
import itertools
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hfcore.testing.aws import catalogue
from hfcore.testing.aws.protocol import AwsError, Params

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.testing.aws.autoscaling import Group
    from hfcore.testing.aws.fleets import Fleet
    from hfcore.testing.aws.instances import Blueprint, Instance, SpotRequest
    from hfcore.testing.aws.spotfleets import SpotFleet
    from hfcore.testing.aws.templates import Template

T = TypeVar("T")
Pool = tuple[str, str, str]  # instance type, zone, market ("spot" or "on-demand")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """How long things take, in seconds of the world's clock; the defaults suit tests."""

    boot_seconds: float = 0.05
    shutdown_seconds: float = 0.05
    fill_seconds: float = 0.05
    replace_seconds: float = 0.05
    visible_after_seconds: float = 0.0
    aged_out_seconds: float = 3600.0
    history_after_seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Call:
    """One call as it was answered; `outcome` is `ok` or the error's code, `seconds` the server's own time."""

    service: str
    operation: str
    region: str
    parameters: Params
    at: float
    request_id: str
    outcome: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule of AWS's documents that a caller broke, whether or not AWS answers it with an error."""

    operation: str
    rule: str


@dataclass(slots=True)
class Timeline:
    """The world's clock, and what is due on it; nothing runs but inside `run_due`."""

    offset: float = 0.0
    _running_at: float | None = None
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    def now(self) -> float:
        """Give the time since 1970; within an event, the moment at which the event was due."""
        return time.time() + self.offset if self._running_at is None else self._running_at

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` once `seconds` have passed."""
        heapq.heappush(self._due, (self.now() + seconds, next(self._ids), action))

    def run_due(self) -> None:
        """Run what has become due, in order of time, including what that makes due."""
        try:
            while self._due and self._due[0][0] <= time.time() + self.offset:
                self._running_at, _, action = heapq.heappop(self._due)
                action()
        finally:
            self._running_at = None


class World:
    """An account in every region, made on first use."""

    def __init__(self, timings: Timings) -> None:
        self.timings = timings
        self.reset()

    def reset(self) -> None:
        """Forget everything: regions, calls, violations, the clock's offset."""
        self.timeline = Timeline()
        self.regions: dict[str, Region] = {}
        self.calls: list[Call] = []
        self.violations: list[Violation] = []
        self.current = ""

    def region(self, name: str) -> Region:
        """Give the state of the region `name`."""
        if name not in self.regions:
            self.regions[name] = Region(self, name)
        return self.regions[name]

    def violate(self, rule: str) -> None:
        """Note that the call being answered broke `rule`."""
        self.violations.append(Violation(operation=self.current, rule=rule))

    def live_instances(self) -> list[Instance]:
        """Give every instance that is pending or running, in any region."""
        return [i for region in self.regions.values() for i in region.instances.values() if i.live]

    def instance(self, instance_id: str) -> Instance:
        """Find an instance in any region; KeyError when there is none."""
        return {i.id: i for r in self.regions.values() for i in r.instances.values()}[instance_id]


class Region:
    """What one region holds, keyed by id or name."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.timeline, self.timings = world.timeline, world.timings
        self.instances: dict[str, Instance] = {}
        self.spot_requests: dict[str, SpotRequest] = {}
        self.templates: dict[str, Template] = {}
        self.fleets: dict[str, Fleet] = {}
        self.spot_fleets: dict[str, SpotFleet] = {}
        self.groups: dict[str, Group] = {}
        self.deleted_groups: list[Group] = []
        self.capacity: dict[Pool, int] = {}
        self.live: Counter[Pool] = Counter()
        self._tokens: dict[tuple[str, str, str], tuple[str, Any]] = {}
        self.vpc_id, self.subnets, self.security_groups = catalogue.network(name)
        self.images, self.parameters = catalogue.images(name)

    def set_capacity(self, instance_type: str, zone: str, market: str, count: int | None) -> None:
        """Let at most `count` instances of a pool live at a time (None: no limit); who is short tries again."""
        pool = (instance_type, zone, market)
        self.capacity.pop(pool, None)
        if count is not None:
            self.capacity[pool] = count
        for holder in (*self.fleets.values(), *self.spot_fleets.values(), *self.groups.values()):
            holder.wake(self.timings.fill_seconds)

    def room(self, plan: Blueprint) -> int:
        """Count the places left in the pool of `plan`."""
        return max(0, self.capacity.get(plan.pool, 1_000_000) - self.live[plan.pool])

    def subnet_of_zone(self, zone: str) -> catalogue.Subnet:
        """Give the default subnet of a zone (any zone: the first)."""
        found = [s for s in self.subnets.values() if zone in {"", s.zone}]
        if not found:
            raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
        return found[0]

    def once(self, name: str, params: Params, make: Callable[[], T], scope: str = "") -> T:
        """Do `make` unless the call's client token has done it already.

        Source: the EC2 developer guide on idempotency; errors are not remembered.

        Raises:
            AwsError: IdempotentParameterMismatch, for a known token with other parameters.
        """
        token = params.get("ClientToken")
        if not token:
            self.world.violate("a launch needs a ClientToken, or a retry makes it twice")
            return make()
        asked, key = json.dumps(params, sort_keys=True), (name, token, scope)
        if key not in self._tokens:
            self._tokens[key] = (asked, make())
        known, result = self._tokens[key]
        if known != asked:
            text = "Arguments on this idempotent request are inconsistent with those of the previous request."
            raise AwsError("IdempotentParameterMismatch", text)
        return result  # type: ignore[no-any-return]
