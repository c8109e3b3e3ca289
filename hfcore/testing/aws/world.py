"""The state of the strict AWS: clock, regions with all that is in them, calls, and idempotency. Knows no operation."""

from __future__ import annotations

import hashlib
import heapq
import ipaddress
import itertools
import json
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hfcore.testing.aws.protocol import AwsError, Params

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.testing.aws.autoscaling import Group
    from hfcore.testing.aws.fleets import Fleet
    from hfcore.testing.aws.instances import Instance
    from hfcore.testing.aws.templates import Template

T = TypeVar("T")
Pool = tuple[str, str, str]  # instance type, zone, market ("spot" or "on-demand")
ACCOUNT = "123456789012"
IMAGE = "ami-12c6146b"
AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
SUBNET_SIZE = 2**14  # addresses, of which AWS keeps the first four and the last


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
    account: str = ACCOUNT


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
    _due: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    def now(self) -> float:
        """Give the time since 1970; within an event, the moment at which the event was due."""
        return time.time() + self.offset if self._running_at is None else self._running_at

    def later(self, seconds: float, action: Callable[[], object]) -> None:
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
    """Accounts, each in every region."""

    def __init__(self, timings: Timings) -> None:
        self.timings, self.timeline = timings, Timeline()
        self.regions: dict[tuple[str, str], Region] = {}
        self.calls: list[Call] = []
        self.violations: list[Violation] = []
        self.current = ""

    def region(self, name: str, account: str = ACCOUNT) -> Region:
        """Give the state of a region of an account, made on first use."""
        key = (account, name)
        return self.regions.get(key) or self.regions.setdefault(key, Region(self, name, account))

    def violate(self, rule: str, operation: str = "") -> None:
        """Note that the call being answered, or `operation`, broke `rule`."""
        self.violations.append(Violation(operation=operation or self.current, rule=rule))

    def refuse(self, code: str, rule: str) -> AwsError:
        """Note that the call being answered broke `rule`, and give the error that says so."""
        self.violate(rule)
        return AwsError(code, rule)

    def instances(self) -> dict[str, Instance]:
        """Give the instances of all regions and accounts, by id."""
        return {one.id: one for region in self.regions.values() for one in region.instances.values()}

    def instance(self, instance_id: str) -> Instance:
        """Find an instance in any region; KeyError when there is none."""
        return self.instances()[instance_id]


@dataclass(slots=True, kw_only=True, eq=False)
class Subnet:
    """A subnet, and its free addresses; one that is given back is used again."""

    id: str
    zone: str
    vpc_id: str
    free: deque[int]
    tags: dict[str, str] = field(default_factory=dict)


class Region:
    """What an account holds in a region, keyed by id or name; its network and images have always the same ids."""

    def __init__(self, world: World, name: str, account: str) -> None:
        self.world, self.name, self.account = world, name, account
        self.timeline = world.timeline
        self.instances: dict[str, Instance] = {}
        self.spot_requests: dict[str, Params] = {}
        self.templates: dict[str, Template] = {}
        self.fleets: dict[str, Fleet] = {}
        self.spot_fleets: dict[str, Fleet] = {}
        self.groups: dict[str, Group] = {}
        self.capacity: dict[Pool, int] = {}
        self.live: Counter[Pool] = Counter()
        self._tokens: dict[tuple[str, str, str], tuple[str, Any]] = {}
        own = "" if account == ACCOUNT else account  # images are public
        self.vpc_id, self.security_groups = self._id("vpc", own), {self._id("sg", own): "default"}
        self.subnets = {one.id: one for one in (self._subnet(number, own) for number in range(3))}
        self.parameters = {AL2023: self._id("ami")}
        groups = {"close": "cluster", "grid-cluster": "cluster", "grid-partition": "partition"}
        self.placement_groups = {one: {"Strategy": groups[one], "State": "available"} for one in groups}
        self.reservations, self.hosts = {self._id("cr", own): "active"}, {self._id("h", own): "available"}
        root = {"RootDeviceName": "/dev/xvda", "RootDeviceType": "ebs", "State": "available", "Architecture": "x86_64"}
        self.images: dict[str, Params] = {one: {"ImageId": one, **root} for one in (IMAGE, self.parameters[AL2023])}
        self.key_pairs = {"grid"}
        self.not_offered: set[tuple[str, str]] = set()  # instance type and zone
        self.instance_profiles, self.roles = {"worker": ("worker",)}, {"worker", "aws-ec2-spot-fleet-tagging-role"}
        self.messages: dict[str, str] = {}

    @property
    def timings(self) -> Timings:
        """Give how long things take now."""
        return self.world.timings

    def _id(self, prefix: str, part: str = "") -> str:
        return f"{prefix}-0{hashlib.sha256(f'{self.name}{part}'.encode()).hexdigest()[:16]}"

    def _subnet(self, number: int, own: str) -> Subnet:
        zone, first = "abc"[number], int(ipaddress.IPv4Address("10.0.0.0")) + number * SUBNET_SIZE
        free = deque(range(first + 4, first + SUBNET_SIZE - 1))
        return Subnet(id=self._id("subnet", own + zone), zone=self.name + zone, vpc_id=self.vpc_id, free=free)

    def set_capacity(self, instance_type: str, zone: str, market: str, count: int | None) -> None:
        """Let at most `count` instances of a pool live at a time (None: no limit); who is short tries again."""
        self.capacity[instance_type, zone, market] = 1_000_000 if count is None else count
        for holder in (*self.fleets.values(), *self.spot_fleets.values(), *self.groups.values()):
            holder.wake(self.timings.fill_seconds)

    def once(self, name: str, params: Params, make: Callable[[], T], scope: str = "") -> T:
        """Do `make` unless the call's client token has done it already (EC2 developer guide on idempotency).

        Errors are not remembered; a known token with other parameters is an IdempotentParameterMismatch.
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
