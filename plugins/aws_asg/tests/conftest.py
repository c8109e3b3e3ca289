# ruff: noqa: ANN401 - boto3's clients, and the fields of a template
"""One provider instance on a strict AWS: the real hooks, a new context for each call, and the core's own rules."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore import lifecycle
from hfcore.aws.clients import connect
from hfcore.config import Settings
from hfcore.context import Context
from hfcore.dispatch import CallCache
from hfcore.journal import IntentFolder
from hfcore.memory import FileMemory
from hfcore.models import Machine, Release, Request, RequestKind, RequestStatus, Template
from hfcore.plugins import Plugins, Provider, installed
from hfcore.testing.aws import IMAGE, AwsError, Hook, StrictAws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfcore.models import Provisioned
    from hfcore.testing.aws import Call

OWNER = "5f0d6b0e-0000-4000-8000-000000000001"


class MovableClock:
    """The system's time, moved on together with the strict AWS."""

    def __init__(self) -> None:
        self.offset = timedelta()
        self.slept = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


class Fail(Hook):
    """Fails calls of one operation, before or after their work, as often as `times` says."""

    def __init__(self, operation: str, error: Exception, *, times: int = 1, after: bool = False) -> None:
        self.operation, self.error, self.times, self.is_after = operation, error, times, after

    def before(self, call: Call) -> None:
        self._fail(call, now=not self.is_after)

    def after(self, call: Call) -> None:
        self._fail(call, now=self.is_after)

    def _fail(self, call: Call, *, now: bool) -> None:
        if now and call.operation == self.operation and self.times > 0:
            self.times -= 1
            raise self.error


class DeathError(BaseException):
    """The process is killed."""


class Server:
    """A strict AWS and its clients, which tests share one after the other: making them is what takes time."""

    def __init__(self, **timings: float) -> None:
        self.aws = StrictAws(**timings).start()
        self.dying = ""
        self._connected: Callable[[str, str], Any] | None = None

    def clients(self, settings: Settings) -> Callable[[str, str], Any]:
        if self._connected is None:
            endpoint, clock = self.aws.endpoint_url, MovableClock()
            self._connected = connect(
                settings=settings, region="us-east-1", endpoint=endpoint, clock=clock, deadline=float("inf")
            )
            for service in ("ec2", "autoscaling"):
                for moment in ("before-call", "after-call"):
                    self._connected(service, "quick").meta.events.register(moment, self._die)
        return self._connected

    def _die(self, event_name: str, **_: object) -> None:
        moment, _, operation = event_name.split(".")
        if self.dying == f"{moment} {operation}":
            raise DeathError


class Rig:
    """The hooks, and a little of the core around them: requests and machines, changed by `lifecycle` alone."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.aws, self.folder, self.clock = server, server.aws, folder, MovableClock()
        folders = {name: folder / name for name in ("conf_dir", "work_dir", "log_dir")}
        for one in folders.values():
            one.mkdir()
        self.settings = Settings(**folders, provider="grid", region="us-east-1", endpoint_url=self.aws.endpoint_url)
        plugins = Plugins(installed("hfcore.providers"), logger=logging.getLogger("test"))
        self.asg: Provider = plugins.provider("ASG")
        self.requests: dict[str, Request] = {}
        self.machines: dict[str, Machine] = {}
        self.subnets = list(self.aws.region().subnets)
        self.security_group = next(iter(self.aws.region().security_groups))

    def journal(self) -> IntentFolder:
        return IntentFolder(self.folder / "journal", owner=OWNER, clock=self.clock)

    def context(self) -> Context:
        """Give the context of a new process."""
        return Context(
            settings=self.settings,
            owner=OWNER,
            provider="grid",
            region="us-east-1",
            endpoint=self.aws.endpoint_url,
            deadline=self.clock.monotonic() + 60.0,
            clock=self.clock,
            journal=self.journal(),
            memory=FileMemory(self.folder / "cache" / "memory.json", clock=self.clock),
            cache=CallCache(),
            clients=self.server.clients(self.settings),
            logger=logging.getLogger("test"),
            conf_dir=self.settings.conf_dir,
        )

    @contextmanager
    def death(self, moment: str, operation: str) -> Iterator[None]:
        """Die `before-call` or `after-call` of an operation."""
        self.server.dying = f"{moment} {operation}"
        with pytest.raises(DeathError):
            yield
        self.server.dying = ""

    def advance(self, seconds: float) -> None:
        self.aws.advance(seconds)
        self.clock.offset += timedelta(seconds=seconds)

    def template(self, **fields: Any) -> Template:
        given = {"image_id": IMAGE, "vm_types": {"m5.large": 1}, "subnet_id": tuple(self.subnets[:1])}
        given |= {"template_id": "Group", "security_group_ids": (self.security_group,), "provider_api": "ASG"}
        return Template(**{**given, **fields})

    def new_request(self, target: int, number: int = 1, **fields: Any) -> Request:
        now = self.clock.now()
        request = Request(
            request_id=f"req-00000000-0000-4000-8000-{number:012d}",
            status=RequestStatus.CREATING,
            template_id="Group",
            template=self.template(**fields),
            target=target,
            provider_api="ASG",
            cloud="aws",
            created_at=now,
            deadline=now + timedelta(minutes=30),
            region="us-east-1",
        )
        return self.keep(request)

    def keep(self, request: Request) -> Request:
        self.requests[request.request_id] = request
        return request

    def provision(self, request: Request) -> Request:
        assert request.template
        made = self.asg.provision(request, request.template, self.context())
        return self.take_in(request, made)

    def take_in(self, request: Request, made: Provisioned) -> Request:
        self.journal().forget(request.request_id)
        return self.keep(lifecycle.provisioned(request, made, self.clock.now()))

    def started(self, target: int, number: int = 1, **fields: Any) -> Request:
        return self.provision(self.new_request(target, number, **fields))

    def machines_of(self, request: Request) -> tuple[Machine, ...]:
        return tuple(self.machines[i] for i in request.machine_ids)

    def asked(self, *requests: Request) -> tuple[Request, ...]:
        """Give requests as the core hands them to discovery: with their live machines only."""
        return tuple(
            replace(r, machine_ids=tuple(i for i in r.machine_ids if lifecycle.is_live(self.machines[i])))
            for r in requests
        )

    def poll(self, *requests: Request) -> Any:
        """Look at requests, and freeze those that have ended; give one or all."""
        now = [self.requests[r.request_id] for r in requests]
        found = self.asg.discover_instances(self.asked(*now), self.context())
        assert [d.request_id for d in found] == [r.request_id for r in now]
        for request, discovery in zip(now, found, strict=True):
            seen = lifecycle.observe(
                request,
                self.machines_of(request),
                discovery,
                now=self.clock.now(),
                name_of=lambda one: one.private_dns,
                pending_timeout=timedelta(minutes=60),
            )
            self.keep(seen.request)
            self.machines |= {m.instance_id: m for m in seen.machines}
        self._freeze([self.requests[r.request_id] for r in now])
        polled = [self.requests[r.request_id] for r in now]
        return polled[0] if len(polled) == 1 else polled

    def _freeze(self, requests: list[Request]) -> None:
        due = tuple(r for r in requests if lifecycle.needs_freezing(r))
        if due:
            outcomes = self.asg.stop_launching(due, self.context())
            assert all(outcome.done for outcome in outcomes)
            for request in due:
                self.journal().forget(request.request_id)
                self.keep(lifecycle.frozen(request))

    def settled(self, target: int, number: int = 1, **fields: Any) -> Request:
        """Give a request that is complete and frozen."""
        request = self.started(target, number, **fields)
        self.advance(600)
        request = self.poll(request)
        assert (request.status, request.frozen) == (RequestStatus.COMPLETED, True)
        return request

    def releases(self, *instance_ids: str, return_id: str = "ret-1") -> tuple[Release, ...]:
        groups: dict[str, list[Machine]] = {}
        for one in instance_ids:
            groups.setdefault(self.machines[one].request_id, []).append(self.machines[one])
        return tuple(
            Release(request=self.requests[r], machines=tuple(machines), return_id=return_id)
            for r, machines in groups.items()
        )

    def release(self, *instance_ids: str) -> frozenset[str]:
        """End machines; none may fail."""
        done = self.asg.release_instances(self.releases(*instance_ids), self.context())
        assert not any(one.faults for one in done)
        for one in instance_ids:
            self.machines[one] = lifecycle.given_back(self.machines[one], "ret-1")
        return frozenset().union(*(one.ending for one in done))

    def return_question(self, request: Request, *instance_ids: str) -> Request:
        return replace(request, request_id="ret-1#0", kind=RequestKind.RETURN, machine_ids=instance_ids)

    @contextmanager
    def calls(self) -> Iterator[Counter[str]]:
        """Count the calls made inside."""
        before, counted = len(self.aws.calls), Counter[str]()
        yield counted
        counted.update(call.operation for call in self.aws.calls[before:])

    def group(self, request: Request) -> Any:
        return self.aws.region().groups[f"asg-hf-{request.request_id}"]

    def live(self) -> set[str]:
        return {one.id for one in self.aws.live_instances()}

    def fail(self, operation: str, error: Exception, *, times: int = 1, after: bool = False) -> None:
        self.aws.hooks.append(Fail(operation, error, times=times, after=after))

    def refuse(self, operation: str, code: str, text: str = "no", *, times: int = 1, status: int = 400) -> None:
        self.fail(operation, AwsError(code, text, status), times=times)


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, Server]]:
    made: dict[str, Server] = {}
    yield made
    for server in made.values():
        server.aws.stop()


@pytest.fixture
def make_rig(
    servers: dict[str, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Rig]]:
    for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL_EC2"):
        monkeypatch.delenv(name, raising=False)
    made: list[Rig] = []

    def make(**timings: float) -> Rig:
        key = str(timings)
        server = servers[key] = servers.get(key) or Server(**timings)
        server.aws.reset()
        for name, value in server.aws.environment().items():
            monkeypatch.setenv(name, value)
        made.append(Rig(server, tmp_path))
        return made[-1]

    yield make
    for one in made:
        assert one.aws.violations == []


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """Give a rig whose cloud moves only by `advance`: every delay is a minute of its clock."""
    return make_rig(boot_seconds=60, shutdown_seconds=60, fill_seconds=60, replace_seconds=60)
