"""Own a cloud in memory: machines that come, run and go, and whatever a test wants to go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from threading import RLock
from typing import TYPE_CHECKING, TypeVar, cast

from hfcore.models import EMPTY, Instance, MachineStatus, Problem, Reclaim

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hfcore.context import Context
    from hfcore.models import Request

T = TypeVar("T")

_NEXT = {MachineStatus.PENDING: MachineStatus.RUNNING, MachineStatus.SHUTTING_DOWN: MachineStatus.TERMINATED}


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeCall:
    """One call of a hook: its name, the ids of the requests (or machines, or template) it was about, and the region."""

    hook: str
    ids: tuple[str, ...]
    region: str = ""


@dataclass(slots=True, kw_only=True)
class FakeGroup:
    """What stands for one request; while the cloud refills and it is not frozen, it holds its target."""

    resource_id: str
    account_id: str
    target: int
    tags: Mapping[str, str] = field(default_factory=dict)
    frozen: bool = False
    instance_ids: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class FakeCloud:
    """A cloud in memory. Its knobs may be turned at any time.

    Args:
        show_after: So many looks at an instance do not show it.
        run_after: So many looks show it pending; later ones show it running.
        capacity: Most instances at once; `None` is no limit.
        refills: Whether groups replace what dies, until they are frozen.
        tells_ids: Whether the answer to a launch names the instances, or only looks show them.
        account_id: The account that today's credentials belong to; what another one made is not seen.
        problems: What is wrong with every template.
        protected: Ids of instances that can't be ended.
        calls: Every call of a hook, in order.
        instances: What there is, by instance id.
        groups: What stands, by request id.
        reclaims: What is being taken back, by instance id.
        changes: How often the plug-in was to change something.
        since: When all that there is was made, as `owned_resources` tells.
    """

    show_after: int = 0
    run_after: int = 0
    capacity: int | None = None
    refills: bool = False
    tells_ids: bool = True
    account_id: str = "account-1"
    problems: tuple[Problem, ...] = ()
    protected: set[str] = field(default_factory=set)
    calls: list[FakeCall] = field(default_factory=list)
    instances: dict[str, Instance] = field(default_factory=dict)
    groups: dict[str, FakeGroup] = field(default_factory=dict)
    reclaims: dict[str, Reclaim] = field(default_factory=dict)
    changes: int = 0
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _looks: dict[str, int] = field(default_factory=dict)
    _failures: dict[tuple[str, bool], list[BaseException]] = field(default_factory=dict)
    _answers: dict[str, object] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def fail(self, hook: str, error: BaseException, *, times: int = 1, when_done: bool = False) -> None:
        """Raise an error at the next calls of a hook; `when_done`: its work is done, only the answer is lost."""
        self._failures.setdefault((hook, when_done), []).extend([error] * times)

    def answer(self, hook: str, result: object) -> None:
        """Give this as the hook's result from now on, right or wrong."""
        self._answers[hook] = result

    def called(self, hook: str) -> list[FakeCall]:
        """Give the calls of one hook."""
        return [call for call in self.calls if call.hook == hook]

    def living(self) -> list[str]:
        """Give the ids of the instances that pend or run."""
        return [key for key, one in list(self.instances.items()) if one.status in {"pending", "running"}]

    def standing(self) -> list[str]:
        """Give the ids of the instances that are neither ending nor gone: stopped ones too."""
        return [key for key, one in list(self.instances.items()) if one.status not in {"shutting-down", "terminated"}]

    def set_status(self, status: MachineStatus, *instance_ids: str, message: str = "") -> None:
        """Bring instances into a state, as a person at the console does."""
        for key in instance_ids:
            self.instances[key] = replace(self.instances[key], status=status, message=message)

    def forget(self, *instance_ids: str) -> None:
        """Know nothing of instances any more."""
        for key in instance_ids:
            del self.instances[key]

    def group(self, request: Request, tags: Mapping[str, str] = EMPTY) -> FakeGroup:
        """Give the group of a request, made and filled if there is none: asking twice is asking once."""
        self.changes += 1
        with self._lock:
            if request.request_id not in self.groups:
                resource_id = f"group-{request.request_id}"
                made = FakeGroup(
                    resource_id=resource_id, account_id=self.account_id, target=request.target, tags=dict(tags)
                )
                self.groups[request.request_id] = made
                self.launch(request.request_id, request.target)
            return self.groups[request.request_id]

    def freeze(self, request_id: str) -> None:
        """Let a group launch nothing more."""
        self.changes += 1
        self.groups[request_id].frozen = True

    def end(self, request_id: str, *instance_ids: str) -> None:
        """End instances; their group wants so many less from now on."""
        self.changes += 1
        self.set_status(MachineStatus.SHUTTING_DOWN, *instance_ids)
        if request_id in self.groups:
            self.groups[request_id].target -= len(instance_ids)

    def remove(self, request_id: str) -> None:
        """Remove a group."""
        self.changes += 1
        self.groups.pop(request_id, None)

    def launch(self, request_id: str, number: int) -> list[str]:
        """Add instances to a request's group as far as there is room, and give their ids."""
        group = self.groups[request_id]
        room = number if self.capacity is None else min(number, self.capacity - len(self.living()))
        made = [_new_instance(next(self._numbers), group) for _ in range(room)]
        self.instances |= {instance.instance_id: instance for instance in made}
        group.instance_ids += [instance.instance_id for instance in made]
        return [instance.instance_id for instance in made]

    def refill(self, *request_ids: str) -> None:
        """Bring these groups, or all, up to their targets, if the cloud does that and they are not frozen."""
        for key in request_ids or tuple(self.groups):
            group = self.groups.get(key)
            if group and self.refills and not group.frozen:
                missing = group.target - len(set(self.living()).intersection(group.instance_ids))
                self.launch(key, max(0, missing))

    def look(self, request: Request, at: datetime) -> tuple[Instance, ...]:
        """Show the instances of a request's group, or those that the request names; their time passes by it."""
        self.refill(request.request_id)
        group = self.groups.get(request.request_id)
        ids = dict.fromkeys((*(group.instance_ids if group else ()), *request.machine_ids))
        hidden = {
            key for one in list(self.groups.values()) if one.account_id != self.account_id for key in one.instance_ids
        }
        return tuple(self._seen(key, at) for key in ids if key in self.instances.keys() - hidden and self._shows(key))

    def begin(self, hook: str, ids: Iterable[str], context: Context | None = None) -> None:
        """Write down a call; raise what is to be raised before anything is done."""
        self.calls.append(FakeCall(hook=hook, ids=tuple(ids), region=context.region if context else ""))
        self.stumble(hook, when_done=False)

    def give(self, hook: str, result: T) -> T:
        """Give the hook's result, or what the test wants in its place."""
        self.stumble(hook, when_done=True)
        return cast("T", self._answers.get(hook, result))

    def stumble(self, hook: str, *, when_done: bool) -> None:
        """Raise what the test wants raised here."""
        waiting = self._failures.get((hook, when_done))
        if waiting:
            raise waiting.pop(0)

    def _shows(self, key: str) -> bool:
        self._looks[key] = self._looks.get(key, 0) + 1
        return self._looks[key] > self.show_after

    def _seen(self, key: str, at: datetime) -> Instance:
        """Give an instance as it is now; what is on its way gets there, for the next look if it is going."""
        now = self.instances[key] = replace(self.instances[key], launch_time=self.instances[key].launch_time or at)
        if now.status is MachineStatus.SHUTTING_DOWN or self._looks[key] > self.show_after + self.run_after:
            self.instances[key] = replace(now, status=_NEXT.get(now.status, now.status))
        return now if now.status is MachineStatus.SHUTTING_DOWN else self.instances[key]


def _new_instance(number: int, group: FakeGroup) -> Instance:
    address = f"10.0.{number // 250}.{number % 250 + 1}"
    return Instance(
        instance_id=f"f-{number:05d}",
        resource_id=group.resource_id,
        tags=group.tags,
        private_ip=address,
        private_dns=f"ip-{address.replace('.', '-')}.fake.internal",
        instance_type="fake.large",
        price_type="ondemand",
        zone="fake-1a",
    )
