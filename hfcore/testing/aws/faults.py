"""What goes wrong in the strict AWS on demand: a `Fault` says what and how often, `Faults` lets it happen.

>>> aws.faults.add("throttle:RunInstances*3", "reset-after@0.1", "latency:asking=2", "seed=7")
>>> aws.faults.active, aws.faults.injected         # what is on, and what was done to which call
>>> aws.faults.clear()

A text is `KIND[-after][:WHAT][*TIMES][@PROBABILITY][=VALUE]`. Calls meet `throttle`, `server-error`, `unavailable`,
`error:CODE`, `timeout` (no answer until the caller gives up), `reset`, `latency=SECONDS` and `other-account` (which has
nothing of this one); WHAT is an operation, several with commas, `asking`, `mutating`, or `*` for all, as without it.
The world meets `capacity:TYPE/ZONE/MARKET=N`, `reclaim=N` and `die=N`. Without TIMES it lasts until it is cleared.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfcore.testing.aws.instances import TYPES
from hfcore.testing.aws.protocol import SERVICES, AwsError, service_model
from hfcore.testing.aws.server import DropConnection

if TYPE_CHECKING:
    from hfcore.testing.aws.instances import Instance
    from hfcore.testing.aws.strict import StrictAws
    from hfcore.testing.aws.world import Call

ASKING = ("Describe", "Get")  # what other operations change
AFTER = ("server-error", "unavailable", "error", "timeout", "reset")  # may strike once the work is done, too
IN_PASSING = ("latency", "other-account")  # the call goes on
COUNTED = ("reclaim", "die")  # so many instances, as soon as there are such that run
WORLDLY = ("capacity", *COUNTED)  # happen to the world, not to calls
KINDS = ("throttle", *AFTER, *IN_PASSING, *WORLDLY)
OTHER_ACCOUNT = "210987654321"
LONGEST_HOLD_SECONDS = 300.0
SPELLING = re.compile(r"([a-z-]+?)(-after)?(?::(.*?))?(?:\*([1-9]\d*))?(?:@([\d.]+))?(?:=(.+))?")
POOL = re.compile(rf"({TYPES.pattern})(?:/([a-z]{{2}}(?:-[a-z]+)+-\d[abc]))?(?:/(spot|on-demand))?")
STATUSES = {
    500: "InternalError InternalFailure InternalServerError InsufficientInstanceCapacity UnfulfillableCapacity",
    503: "RequestLimitExceeded Unavailable ServiceUnavailable",
    403: "UnauthorizedOperation AccessDenied AuthFailure",
}
CODES = {
    "throttle": {"ec2": "RequestLimitExceeded", "autoscaling": "Throttling", "ssm": "ThrottlingException"},
    "server-error": {"ec2": "InternalError", "autoscaling": "InternalFailure", "ssm": "InternalServerError"},
    "unavailable": {"ec2": "Unavailable", "autoscaling": "ServiceUnavailable", "ssm": "ServiceUnavailable"},
}
TEXTS = {"throttle": "Rate exceeded", "server-error": "An internal error has occurred."}
TEXTS |= {"unavailable": "The service is overloaded.", "error": "It was asked for."}


class Hook:
    """A look at each call, outside the lock, so it may sleep, or raise `AwsError` (answered so) or `DropConnection`."""

    def before(self, call: Call) -> None:
        """Look at a call whose work is not begun."""

    def after(self, call: Call) -> None:
        """Look at a call whose work is done or refused, its `outcome` known, whatever the caller is then told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong; `str` gives its text, in which `seed`, `first`, `message` and `status` are left out.

    Args:
        kind: One of `KINDS`.
        on: The operations with commas, `asking`, `mutating` or `*`; of `capacity` the pool: TYPE/ZONE/MARKET.
        times: How often it strikes; 0 without end.
        probability: How likely each matching call is struck: the n-th one is or is not, by `seed`, fault and n alone.
        seed: Any number.
        first: The first matching call that may be struck, counted from 1.
        after: Whether it strikes once the work is done.
        value: Seconds of `latency` and `timeout`; instances of the others; None of `capacity` is no limit.
        code: The code of `error`, with its `message` and its HTTP `status`; 0 is the usual one of the code.

    Raises:
        ValueError: There is no such kind or operation, or the kind does not take such a part.
    """

    kind: str
    on: str = "*"
    times: int = 0
    probability: float = 1.0
    seed: int = 0
    first: int = 1
    after: bool = False
    value: float | None = None
    code: str = ""
    message: str = ""
    status: int = 0

    def __post_init__(self) -> None:
        """Check that all parts go together."""
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no kind of fault: {', '.join(KINDS)}, seed")
        valued = self.kind in {"latency", "timeout", *WORLDLY}
        number = 0.0 if self.value is None else self.value
        wrong = {
            "cannot strike after the work": self.after and self.kind not in AFTER,
            "takes no value": self.value is not None and not valued,
            "needs seconds, such as latency=2": self.kind == "latency" and self.value is None,
            "needs a number from 0": not 0 <= number < math.inf or (self.kind in WORLDLY and number % 1 != 0),
            "needs a probability above 0, and 1 at most": not 0 < self.probability <= 1,
            "happens to the world, not to calls: it takes no times and no probability": self.kind in WORLDLY
            and (self.times, self.probability, self.first) != (0, 1, 1),
            "takes no operation": self.kind in COUNTED and self.on != "*",
            "needs a code, such as error:VcpuLimitExceeded": (self.kind == "error") != bool(self.code),
            "needs a pool: TYPE, TYPE/ZONE or TYPE/ZONE/MARKET, such as m5.large/us-east-1a/spot": (
                self.kind == "capacity" and not self.pool()[0]
            ),
        }
        for text, is_so in wrong.items():
            if is_so:
                raise ValueError(f"{self}: {self.kind} {text}")
        if self.kind not in WORLDLY and self.on not in {"*", "asking", "mutating"}:
            known = {name for service in SERVICES for name in service_model(service).operation_names}
            for name in set(self.on.split(",")) - known:
                near = ", ".join(difflib.get_close_matches(name, known, 3, 0.0))
                raise ValueError(f"{self}: {name!r} is no operation ({near}, …), nor asking, mutating or *")

    def pool(self) -> tuple[str, str, str]:
        """Give type, zone and market of `capacity`, "" where it means all; without a type there is no pool."""
        found = POOL.fullmatch(self.on)
        return (found[1], found[5] or "", found[6] or "") if found else ("", "", "")

    def __str__(self) -> str:
        """Spell it as it is typed."""
        text = self.kind + ("-after" if self.after else "") + (f":{self.code}" if self.code else "")
        text += f":{self.on}" if self.on != "*" else ""
        text += f"*{self.times}" if self.times else ""
        text += f"@{self.probability:g}" if self.probability != 1 else ""
        lifted = "=none" if self.kind == "capacity" else ""
        return text + (lifted if self.value is None else f"={self.value:g}")

    def matches(self, operation: str) -> bool:
        """Tell whether it is about an operation."""
        if self.on in {"asking", "mutating"}:
            return operation.startswith(ASKING) == (self.on == "asking")
        return self.on == "*" or operation in self.on.split(",")

    def chosen(self, n: int) -> bool:
        """Tell whether the n-th matching call, counted from 1, is struck, its number of times apart."""
        digest = hashlib.sha256(f"{self.seed} {self} {n}".encode()).digest()
        return n >= self.first and int.from_bytes(digest[:7], "big") < self.probability * 2**56

    def exception(self, service: str) -> Exception:
        """Give what answers a call of a service that it ends."""
        if self.kind in {"reset", "timeout"}:
            longest = LONGEST_HOLD_SECONDS if self.value is None else self.value
            return DropConnection(longest if self.kind == "timeout" else 0.0)
        code = self.code or CODES[self.kind].get(service, CODES[self.kind]["autoscaling"])
        status = self.status or next((status for status, codes in STATUSES.items() if code in codes.split()), 400)
        return AwsError(code, self.message or TEXTS[self.kind], status)


def parse_faults(*faults: str | Fault) -> tuple[Fault, ...]:
    """Read faults from their texts, of which `seed=N` is for all others; a `Fault` stays as it is.

    Raises:
        ValueError: A text can't be read; the message says which, and what is known.
    """
    seeds = [one[5:] for one in faults if isinstance(one, str) and one.startswith("seed=")]
    if not all(re.fullmatch(r"-?\d+", one) for one in seeds) or len(seeds) > 1:
        raise ValueError(f"seed={', '.join(seeds)}: a seed is one whole number, for all that is given with it")
    others = [one for one in faults if isinstance(one, Fault) or not one.startswith("seed=")]
    return tuple(one if isinstance(one, Fault) else _parse(one, int([*seeds, "0"][0])) for one in others)


def _parse(text: str, seed: int) -> Fault:
    found = SPELLING.fullmatch(text)
    if not found:
        raise ValueError(
            f"{text!r} is not spelt KIND[-after][:WHAT][*TIMES][@PROBABILITY][=VALUE]; kinds: {', '.join(KINDS)}"
        )
    kind, after, what, times, probability, value = found.groups()
    code, _, what = what.partition(":") if kind == "error" and what else ("", "", what)
    try:
        number = None if value is None or (value, kind) == ("none", "capacity") else float(value)
        chance = float(probability or 1)
    except ValueError:
        raise ValueError(f"{text}: {value or probability!r} is not a number") from None
    if kind == "capacity" and value is None:
        raise ValueError(f"{text}: capacity needs a number, or none for no limit: capacity:m5.large/us-east-1a/spot=0")
    made = Fault(kind=kind, on=what or "*", after=bool(after), code=code, value=number)
    return replace(made, times=int(times or 0), probability=chance, seed=seed)


@dataclass(frozen=True, slots=True)
class Injected:
    """What a fault did: to the call `request_id` of an operation, its n-th match, or to an instance."""

    fault: str
    at: float
    operation: str = ""
    request_id: str = ""
    n: int = 0
    instance_id: str = ""


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: int = 0
    struck: int = 0

    @property
    def spent(self) -> bool:
        most = (self.fault.value or 1) if self.fault.kind in COUNTED else self.fault.times
        return bool(most) and self.struck >= most


class Faults(Hook):
    """The faults of one server, met by each call in the order in which they were added until one ends it.

    Each counts all calls that match it, also those that another one ended: concurrency does not change which n fail.
    """

    def __init__(self, aws: StrictAws, *faults: str | Fault) -> None:
        self._aws, self._lock, self._current = aws, threading.Lock(), threading.local()
        self._armed: list[_Armed] = []
        self.injected: list[Injected] = []
        self.add(*faults)

    def add(self, *faults: str | Fault) -> None:
        """Add faults, by text or as they are; all or, by a ValueError, none."""
        ready = parse_faults(*faults)
        with self._lock:
            self._armed += [_Armed(one) for one in ready]
        for one in ready:
            if one.kind == "capacity":
                self._limit(one, None if one.value is None else int(one.value))
        self._strike_instances()

    def clear(self) -> None:
        """Take all faults away, limits of pools too; what was injected stays known."""
        with self._lock:
            gone, self._armed = self._armed, []
        for one in gone:
            if one.fault.kind == "capacity":
                self._limit(one.fault, None)

    @property
    def active(self) -> list[str]:
        """Spell the faults that may still strike."""
        with self._lock:
            return [str(one.fault) for one in self._armed if not one.spent]

    def _limit(self, fault: Fault, count: int | None) -> None:
        kind, place, market = fault.pool()
        for zone in [place] if place else [one.zone for one in self._aws.region().subnets.values()]:
            for one in [market] if market else ["spot", "on-demand"]:
                self._aws.set_capacity(kind, zone, one, count)

    def _strike_instances(self) -> None:
        with self._lock:
            waiting = [one for one in self._armed if one.fault.kind in COUNTED and not one.spent]
            if not waiting:
                return
            with self._aws.locked() as world:
                for one in waiting:
                    for instance in [each for each in world.instances().values() if each.state == "running"]:
                        if not one.spent and _strike(one.fault, instance):
                            one.struck += 1
                            now = world.timeline.now()
                            self.injected.append(Injected(str(one.fault), now, instance_id=instance.id))

    def before(self, call: Call) -> None:
        """Strike before the work, and choose what will strike after it."""
        self._strike_instances()
        self._current.later = None
        for fault in sorted(self._choose(call), key=lambda one: one.kind not in IN_PASSING):
            if fault.kind == "latency":
                time.sleep(fault.value or 0)
            elif fault.kind == "other-account":
                call.account = OTHER_ACCOUNT
            elif not fault.after:
                raise fault.exception(call.service)
            else:
                self._current.later = fault

    def after(self, call: Call) -> None:
        """Strike once the work is done."""
        if self._current.later:
            raise self._current.later.exception(call.service)

    def _choose(self, call: Call) -> list[Fault]:
        """Give the faults that a call meets: any number that it passes, and one that ends it."""
        chosen: list[Fault] = []
        ended = False
        with self._lock:
            for one in self._armed:
                if one.fault.kind in WORLDLY or not one.fault.matches(call.operation):
                    continue
                one.seen += 1
                passes = one.fault.kind in IN_PASSING
                if (ended and not passes) or one.spent or not one.fault.chosen(one.seen):
                    continue
                one.struck += 1
                chosen.append(one.fault)
                ended = ended or not passes
                self.injected.append(Injected(str(one.fault), call.at, call.operation, call.request_id, one.seen))
        return chosen


def _strike(fault: Fault, instance: Instance) -> bool:
    """End a running instance, or give it notice; False if the fault can't strike it (any more)."""
    if fault.kind == "die":
        instance.end(("Server.InternalError", "died from outside"))
        return True
    if instance.spot_request.get("State") != "active":
        return False
    instance.reclaim()
    return True
