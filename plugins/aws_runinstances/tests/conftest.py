"""One strict AWS for all tests of this plug-in, and contexts on it with the real journal, memory and cache."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.aws.clients import connect
from hfcore.config import Settings
from hfcore.context import Context
from hfcore.dispatch import CallCache
from hfcore.journal import IntentFolder
from hfcore.memory import FileMemory
from hfcore.models import Machine, MachineStatus, Request, RequestStatus, Template
from hfcore.testing.aws import IMAGE, AwsError, Call, DropConnection, Hook, StrictAws, Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REGION = "us-east-1"
AT_ONCE = Timings(boot_seconds=0.0, shutdown_seconds=0.0, fill_seconds=0.0)


class SteppedClock:
    """The real time plus what a test adds; sleeping is noted only."""

    def __init__(self) -> None:
        self.added = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.added)

    def monotonic(self) -> float:
        return time.monotonic() + self.added

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Faults(Hook):
    """Answers the next calls of an operation wrongly, in order: an error, a reset, or None for rightly."""

    def __init__(self, operation: str, *faults: AwsError | str | None) -> None:
        self.operation = operation
        self.faults = list(faults)
        self.current: AwsError | str | None = None

    def before(self, call: Call) -> None:
        if call.operation != self.operation:
            return
        self.current = self.faults.pop(0) if self.faults else None
        if isinstance(self.current, AwsError):
            raise self.current
        if self.current == "reset before":
            raise DropConnection

    def after(self, call: Call) -> None:
        if call.operation == self.operation and self.current == "reset after":
            raise DropConnection


@pytest.fixture
def faults(strict_aws: StrictAws) -> Callable[..., None]:
    """Let the next calls of an operation fail."""
    return lambda operation, *wrong: strict_aws.hooks.append(Faults(operation, *wrong))


@pytest.fixture(scope="session")
def _server() -> Iterator[tuple[StrictAws, Any]]:
    """Give the server, and clients that were made while the environment named it."""
    settings = Settings(conf_dir=".", work_dir=".", log_dir=".", provider="grid", region=REGION)
    with StrictAws() as aws, pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment().items():
            patch.setenv(name, value)
        clients = connect(settings=settings, region=REGION, endpoint="", clock=SteppedClock(), deadline=float("inf"))
        for service, patience in (("ec2", "patient"), ("ec2", "quick"), ("ssm", "patient")):
            clients(service, patience)
        patch.undo()
        yield aws, clients


@pytest.fixture
def strict_aws(_server: tuple[StrictAws, Any]) -> StrictAws:
    aws, _ = _server
    aws.world.timings = AT_ONCE
    aws.reset()
    return aws


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def pass_time(clock: SteppedClock) -> Callable[[float], None]:
    """Move the clock on."""

    def move(seconds: float) -> None:
        clock.added += seconds

    return move


@pytest.fixture
def slept(clock: SteppedClock) -> list[float]:
    """Give how long was slept each time."""
    return clock.slept


@pytest.fixture
def new_context(
    tmp_path: Path, clock: SteppedClock, strict_aws: StrictAws, _server: tuple[StrictAws, Any]
) -> Callable[..., Context]:
    """Give a context as each new process has it: files stay, the cache is new."""
    settings = Settings(conf_dir=tmp_path, work_dir=tmp_path, log_dir=tmp_path, provider="grid", region=REGION)

    def make() -> Context:
        return Context(
            settings=settings,
            owner="owner-1",
            provider="grid",
            region=REGION,
            endpoint="",
            deadline=clock.monotonic() + settings.call_timeout_sec,
            clock=clock,
            journal=IntentFolder(tmp_path / "journal", owner="owner-1", clock=clock),
            memory=FileMemory(tmp_path / "cache" / "memory.json", clock=clock),
            cache=CallCache(),
            clients=_server[1],
            logger=logging.getLogger("hfcore.test"),
            conf_dir=tmp_path,
        )

    return make


@pytest.fixture
def context(new_context: Callable[..., Context]) -> Context:
    return new_context()


@pytest.fixture
def operations(strict_aws: StrictAws) -> Callable[[], list[str]]:
    """Name the operations that were called."""
    return lambda: [call.operation for call in strict_aws.calls]


@pytest.fixture
def template(strict_aws: StrictAws) -> Template:
    region = strict_aws.region()
    return Template(
        template_id="basic",
        image_id=IMAGE,
        vm_types={"m5.large": 1},
        subnet_id=tuple(region.subnets)[:1],
        security_group_ids=tuple(region.security_groups),
        instance_tags={"team": "risk", "hfcore:owner": "somebody else"},
    )


@pytest.fixture
def new_request(template: Template) -> Callable[..., Request]:
    def make(number: int = 1, **changed: object) -> Request:
        request = Request(
            request_id=f"req-{number:08d}-0000-4000-8000-000000000000",
            status=RequestStatus.IN_PROGRESS,
            template_id=template.template_id,
            target=2,
            provider_api="RunInstances",
            cloud="aws",
            distribution="hfcore-aws-runinstances",
            template=template,
            region=REGION,
            created_at=datetime.now(UTC),
        )
        return replace(request, **changed)

    return make


@pytest.fixture
def launched(strict_aws: StrictAws, context: Context, template: Template) -> Callable[..., list[str]]:
    """Launch machines behind the toolkit's back, with our tags or those given; give their ids."""

    def launch(count: int = 1, *, owner: str = "owner-1", request_id: str = "req-1", **more: object) -> list[str]:
        tags = {"hfcore:owner": owner, "hfcore:request-id": request_id, "hfcore:template-id": "basic"}
        answer = context.clients("ec2", "quick").run_instances(
            ImageId=IMAGE,
            InstanceType="m5.large",
            SubnetId=template.subnet_id[0],
            MinCount=count,
            MaxCount=count,
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items() if v]}
            ],
            **more,
        )
        strict_aws.advance(1)
        strict_aws.world.calls.clear()
        return [one["InstanceId"] for one in answer["Instances"]]

    return launch


@pytest.fixture
def machine(clock: SteppedClock) -> Callable[..., Machine]:
    """Give a stored machine, running since an hour."""

    def make(instance_id: str, **changed: object) -> Machine:
        at = clock.now() - timedelta(hours=1)
        known = Machine(
            instance_id=instance_id,
            request_id="req-1",
            status=MachineStatus.RUNNING,
            observed_at=at,
            launch_time=at,
            listed=True,
        )
        return replace(known, **changed)

    return make
