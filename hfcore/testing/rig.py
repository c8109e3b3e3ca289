"""Own what the tests of an AWS plug-in share: one strict AWS, and contexts on it as processes have them.

`aws_server` and `strict_aws` are fixtures of every test run (`hfcore.testing.fixtures`); the others here a
`conftest.py` takes over by import. `hfcore.testing.grid` has the core in short around a whole plug-in.

>>> from hfcore.testing.rig import clock, context, new_context, rig                              # in conftest.py
>>> def test_a_group_is_made_once(rig):
...     rig.fail("CreateAutoScalingGroup", AwsError("Throttling", "Rate exceeded"), "reset after")
...     with rig.death("after", "CreateAutoScalingGroup"):          # the process is killed once AWS has answered
...         plugin.provision(request, template, rig.new_context())
...     plugin.provision(request, template, rig.new_context())      # another process
...     assert rig.calls()["CreateAutoScalingGroup"] == 3
>>> def test_a_lost_answer_makes_no_second_machine(strict_aws):
...     strict_aws.faults.add("reset-after:RunInstances@0.5", "throttle:mutating*3", "latency=0.1", "seed=7")
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.config import Settings
from hfcore.errors import PluginCallError
from hfcore.models import Machine, MachineStatus, Request, RequestStatus, Template
from hfcore.plugins import cloud_clients
from hfcore.testing.aws import IMAGE, AwsError, Fault, StrictAws, Timings, parse_faults
from hfcore.testing.aws.protocol import SERVICES
from hfcore.testing.core import OWNER, DeathError, MovingClock, Place, SteppedClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hfcore.context import Context

REGION = "us-east-1"
CHANGED = ("ec2", "autoscaling")
AT_ONCE = Timings(boot_seconds=0.0, shutdown_seconds=0.0, fill_seconds=0.0)


class AwsServer:
    """A strict AWS and its clients, which all tests of a process share: making them is what takes time."""

    def __init__(self) -> None:
        self.aws = StrictAws().start()
        self.dying = ("", "")
        here = Path()
        nowhere = Settings(conf_dir=here, work_dir=here, log_dir=here, provider="grid", region=REGION)
        facts: dict[str, Any] = {"settings": nowhere, "region": REGION, "endpoint": "", "clock": SteppedClock()}
        self.clients = cloud_clients("aws")(**facts, deadline=float("inf"))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.aws.environment().items():
                patch.setenv(name, value)
            for service in SERVICES:
                self.clients(service, "patient")
            for service in CHANGED:
                for moment in ("before-call", "after-call"):
                    self.clients(service, "quick").meta.events.register(moment, self._die)

    def _die(self, event_name: str, **_: object) -> None:
        moment, _service, operation = event_name.split(".")
        if (moment.removesuffix("-call"), operation) == self.dying:
            raise DeathError

    def emptied(self, timings: Timings = AT_ONCE) -> StrictAws:
        """Empty the world, and give it."""
        self.aws.world.timings = timings
        self.aws.reset()
        return self.aws

    @contextmanager
    def fresh(self, timings: Timings) -> Iterator[StrictAws]:
        """Empty the world; inside, no documented rule may be broken."""
        yield self.emptied(timings)
        assert not self.aws.violations


class Rig(Place):
    """One provider instance on a strict AWS; files stay in `folder`, and each context is a new process's."""

    def __init__(self, server: AwsServer, folder: Path, clock: SteppedClock | None = None) -> None:
        self.server, self.aws = server, server.aws
        super().__init__(folder, clock or MovingClock(server.aws.advance), server.clients, REGION)

    def new_template(self, **fields: Any) -> Template:  # noqa: ANN401 - fields of Template
        """Give a template of one type in the first subnet."""
        region = self.aws.region()
        known: dict[str, Any] = {
            "template_id": "basic",
            "image_id": IMAGE,
            "vm_types": {"m5.large": 1},
            "subnet_id": tuple(region.subnets)[:1],
            "security_group_ids": tuple(region.security_groups),
            "instance_tags": {"team": "risk"},
        }
        return Template(**{**known, **fields})

    def fail(self, operation: str, *faults: AwsError | str | None) -> None:
        """Let the next calls of an operation fail, in order.

        Args:
            operation: The operation, such as `RunInstances`.
            faults: For each call an `AwsError`; "reset before", "reset after" its work, or another kind of fault as
                `hfcore.testing.aws.faults` spells it, such as "timeout-after"; or `None` for a right answer.
        """
        for number, what in enumerate(faults, 1):
            if isinstance(what, AwsError):
                fault = Fault(kind="error", code=what.code, message=what.message, status=what.status)
            elif what:
                (fault,) = parse_faults(what.removesuffix(" before").replace(" ", "-"))
            else:
                continue
            self.aws.faults.add(replace(fault, on=operation, first=number, times=1))

    @contextmanager
    def death(self, moment: str, operation: str) -> Iterator[None]:
        """Let the process die `before` an operation is sent, or `after` it is answered."""
        self.server.dying = (moment, operation)
        try:
            with pytest.raises((DeathError, PluginCallError)) as died:
                yield
        finally:
            self.server.dying = ("", "")
        if not isinstance(died.value, DeathError) and not isinstance(died.value.__cause__, DeathError):
            raise died.value

    def calls(self) -> Counter[str]:
        """Count the calls since the last time, by operation."""
        counted = Counter(call.operation for call in self.aws.calls)
        self.aws.world.calls.clear()
        return counted


@pytest.fixture
def clock() -> SteppedClock:
    """Give the clock of `rig`."""
    return SteppedClock()


@pytest.fixture
def rig(
    aws_server: AwsServer,
    strict_aws: StrictAws,  # noqa: ARG001 - empties it
    tmp_path: Path,
    clock: SteppedClock,
) -> Rig:
    """Give a provider instance on the strict AWS."""
    return Rig(aws_server, tmp_path, clock)


@pytest.fixture
def faults(rig: Rig) -> Callable[..., None]:
    """Let the next calls of an operation fail."""
    return rig.fail


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
def new_context(rig: Rig) -> Callable[..., Context]:
    """Give a context as each new process has it: files stay, the cache is new."""
    return rig.new_context


@pytest.fixture
def context(new_context: Callable[..., Context]) -> Context:
    """Give a context."""
    return new_context()


@pytest.fixture
def operations(strict_aws: StrictAws) -> Callable[[], list[str]]:
    """Name the operations that were called."""
    return lambda: [call.operation for call in strict_aws.calls]


@pytest.fixture
def template(rig: Rig) -> Template:
    """Give a template whose tags try to take hfcore's place."""
    return rig.new_template(instance_tags={"team": "risk", "hfcore:owner": "somebody else"})


@pytest.fixture
def new_request(template: Template) -> Callable[..., Request]:
    """Give stored requests by number, which differ in what is named."""

    def make(number: int = 1, **changed: Any) -> Request:  # noqa: ANN401 - fields of Request
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

    def launch(count: int = 1, *, owner: str = OWNER, request_id: str = "req-1", **more: object) -> list[str]:
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

    def make(instance_id: str, **changed: Any) -> Machine:  # noqa: ANN401 - fields of Machine
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
