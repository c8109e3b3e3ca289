"""A strict AWS, the installed plug-in's real hooks, and a stand-in for the core that keeps requests and machines."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore import lifecycle
from hfcore.aws.clients import connect
from hfcore.config import Settings
from hfcore.context import Context
from hfcore.dispatch import CallCache
from hfcore.hookspecs import PROVIDERS
from hfcore.journal import IntentFolder
from hfcore.memory import FileMemory
from hfcore.models import Machine, Release, Request, RequestKind, RequestStatus, Template
from hfcore.plugins import Plugins, installed
from hfcore.testing.aws import IMAGE, AwsError, Call, DropConnection, Hook, StrictAws, Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfcore.models import Discovery, Instance, Outcome, Provisioned, Released
    from hfcore.plugins import Provider

NAME = "EC2Fleet"
REGION = "us-east-1"
SETTINGS = Settings(conf_dir=".", work_dir=".", log_dir=".", provider="grid", region=REGION)
LOG = logging.getLogger("hfcore.test")


class SteppedClock:
    """The real time plus what a test adds; who sleeps, moves it on."""

    def __init__(self, aws: StrictAws) -> None:
        self.aws, self.added = aws, 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.added)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        self.added += seconds
        self.aws.advance(seconds)


class Faults(Hook):
    """Answers the next calls of an operation wrongly, in order: an error, a reset before or after the work."""

    def __init__(self, operation: str, *faults: AwsError | str) -> None:
        self.operation, self.faults = operation, list(faults)

    def before(self, call: Call) -> None:
        if call.operation == self.operation and self.faults and self.faults[0] != "reset after":
            fault = self.faults.pop(0)
            raise fault if isinstance(fault, AwsError) else DropConnection

    def after(self, call: Call) -> None:
        if call.operation == self.operation and self.faults and self.faults[0] == "reset after":
            self.faults.pop(0)
            raise DropConnection


class Grid:
    """The core in short: its requests, their machines, and what it asks of the plug-in; each call is a new process."""

    def __init__(self, aws: StrictAws, folder: Path, clients: Callable[[str, str], Any]) -> None:
        self.aws, self.clock, self.folder, self.clients = aws, SteppedClock(aws), folder, clients
        self.provider: Provider = Plugins(installed(PROVIDERS), logger=LOG).provider(NAME)
        self.requests: dict[str, Request] = {}
        self.machines: dict[str, Machine] = {}

    @property
    def context(self) -> Context:
        return Context(
            settings=SETTINGS,
            owner="owner-1",
            provider="grid",
            region=REGION,
            endpoint="",
            deadline=self.clock.monotonic() + 100,
            clock=self.clock,
            journal=IntentFolder(self.folder / "journal", owner="owner-1", clock=self.clock),
            memory=FileMemory(self.folder / "memory.json", clock=self.clock),
            cache=CallCache(),
            clients=self.clients,
            logger=LOG,
            conf_dir=self.folder,
        )

    @property
    def template(self) -> Template:
        """Give a template of one type in the first subnet."""
        region = self.aws.region()
        return Template(
            template_id="basic",
            image_id=IMAGE,
            vm_types={"m5.large": 1},
            subnet_id=tuple(region.subnets)[:1],
            security_group_ids=tuple(region.security_groups),
            instance_tags={"team": "risk"},
            price_type="ondemand",
        )

    def request(self, target: int = 2, *, minutes: float = 30, **template: object) -> Request:
        """Store a new request."""
        now = self.clock.now()
        made = Request(
            request_id=f"req-{len(self.requests):08d}-0000-4000-8000-000000000000",
            status=RequestStatus.CREATING,
            template_id="basic",
            target=target,
            provider_api=NAME,
            cloud="aws",
            template=replace(self.template, **template),
            region=REGION,
            created_at=now,
            deadline=now + timedelta(minutes=minutes),
        )
        self.requests[made.request_id] = made
        return made

    def provision(self, request: Request) -> Request:
        assert request.template
        return self.take_in(self.provider.provision(request, request.template, self.context))

    def ask(self, target: int = 2, **template: object) -> Request:
        return self.provision(self.request(target, **template))

    def take_in(self, made: Provisioned) -> Request:
        now = self.clock.now()
        request = lifecycle.provisioned(self.requests[made.request_id], made, now)
        self.requests[request.request_id] = request
        for one in made.instances:
            self.machines[one.instance_id] = lifecycle.machine_of(request.request_id, one, now, _name)
        self.context.journal.forget(request.request_id)
        return request

    def its(self, request: Request) -> list[Machine]:
        return [one for one in self.machines.values() if one.request_id == request.request_id]

    def live(self, request: Request) -> list[Machine]:
        return [one for one in self.its(request) if lifecycle.is_live(one)]

    def now(self, request: Request) -> Request:
        return self.requests[request.request_id]

    def advance(self) -> None:
        waiting = tuple(one for one in self.requests.values() if one.status is RequestStatus.IN_PROGRESS)
        for made in self.provider.advance(waiting, self.context):
            self.take_in(made)

    def discover(self) -> dict[str, Discovery]:
        """Look at all requests that may still move or have live machines, as a poll does."""
        questions = [
            replace(one, machine_ids=tuple(m.instance_id for m in self.live(one)))
            for one in self.requests.values()
            if self.live(one) or lifecycle.is_open(one)
        ]
        found = {one.request_id: one for one in self.provider.discover_instances(tuple(questions), self.context)}
        for request_id, discovery in found.items():
            request = self.requests[request_id]
            seen = lifecycle.observe(
                request,
                tuple(self.its(request)),
                discovery,
                now=self.clock.now(),
                name_of=_name,
                pending_timeout=timedelta(minutes=3),
            )
            self.requests[request_id] = seen.request
            self.machines |= {one.instance_id: one for one in seen.machines}
        return found

    def until_done(self, seconds: float = 21) -> None:
        """Poll until no request is open."""
        for _ in range(10):
            self.sleep(seconds)
            self.discover()
            if not any(map(lifecycle.is_open, self.requests.values())):
                return
        raise AssertionError([one.message or one.status for one in self.requests.values()])

    def freeze(self) -> list[Outcome]:
        due = tuple(one for one in self.requests.values() if lifecycle.needs_freezing(one))
        outcomes = list(self.provider.stop_launching(due, self.context))
        for one in outcomes:
            if one.done:
                self.requests[one.request_id] = lifecycle.frozen(self.requests[one.request_id])
        return outcomes

    def release(self, request: Request, *machines: Machine, return_id: str = "ret-1") -> Released:
        release = Release(request=self.now(request), machines=machines, return_id=return_id)
        (released,) = self.provider.release_instances((release,), self.context)
        for one in machines:
            marked = lifecycle.given_back(self.machines[one.instance_id], return_id)
            self.machines[one.instance_id] = lifecycle.released(marked, released, self.clock.now())
        return released

    def about(self, *machines: Machine) -> Discovery:
        """Ask about exactly these machines, as the status of a return does."""
        request = self.now(self.requests[machines[0].request_id])
        ids = tuple(one.instance_id for one in machines)
        asked = replace(request, request_id="ret-1#0", kind=RequestKind.RETURN, resource_ids=(), machine_ids=ids)
        (found,) = self.provider.discover_instances((asked,), self.context)
        return found

    def cleanup(self) -> list[Outcome]:
        due = [one for one in self.requests.values() if lifecycle.needs_cleanup(one) and not self.live(one)]
        outcomes = list(self.provider.cleanup(tuple(due), self.context))
        for one in outcomes:
            if one.done:
                self.requests[one.request_id] = lifecycle.cleaned(self.requests[one.request_id])
        return outcomes

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def fail(self, operation: str, *faults: AwsError | str) -> None:
        """Let the next calls of an operation fail."""
        self.aws.hooks.append(Faults(operation, *faults))

    def calls(self) -> Counter[str]:
        """Count the calls since the last time, by operation."""
        counted = Counter(call.operation for call in self.aws.calls)
        self.aws.world.calls.clear()
        return counted

    def running(self, request: Request) -> list[Any]:
        """Give what really lives in AWS of a request."""
        return [one for one in self.aws.live_instances() if one.tags.get("hfcore:request-id") == request.request_id]


def _name(instance: Instance) -> str:
    return instance.private_dns


@pytest.fixture(scope="session")
def _server() -> Iterator[tuple[StrictAws, Any]]:
    with StrictAws() as aws, pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment().items():
            patch.setenv(name, value)
        clients = connect(settings=SETTINGS, region=REGION, endpoint="", clock=SteppedClock(aws), deadline=float("inf"))
        for patience in ("patient", "quick"):
            clients("ec2", patience)
        patch.undo()
        yield aws, clients


@pytest.fixture
def grid(_server: tuple[StrictAws, Any], tmp_path: Path) -> Iterator[Grid]:
    """Give a grid on an AWS where everything takes 20 seconds of its clock; no documented rule may be broken."""
    aws, clients = _server
    aws.world.timings = Timings(
        boot_seconds=20, shutdown_seconds=20, fill_seconds=20, replace_seconds=20, history_after_seconds=0
    )
    aws.reset()
    yield Grid(aws, tmp_path, clients)
    assert not aws.violations
