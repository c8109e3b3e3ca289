"""Own the contract on the cloud in memory: how the suite sees a `FakeCloud`, and the suite around `FakeProvider`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import Fault, FaultKind, Instance, MachineStatus, Reclaim, Template
from hfcore.testing.cloud import Cloud
from hfcore.testing.contract import ProviderContract
from hfcore.testing.fake import FakeProvider
from hfcore.testing.fakecloud import FakeCloud

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hfcore.plugins import Candidate

_LONG = 600.0
_REFUSED = CloudError(Fault(code="Refused", message="not now", kind=FaultKind.TRANSIENT))
_NO_ANSWER = OutcomeUnknown(Fault(code="NoAnswer", message="no answer", kind=FaultKind.TRANSIENT))


class FakeGround(Cloud):
    """A `FakeCloud` as it really is."""

    def __init__(self, fake: FakeCloud) -> None:
        self.fake = fake

    def machines(self) -> Mapping[str, Mapping[str, str]]:
        """Give the living instances; groups that refill do so first."""
        self.fake.refill()
        return {key: self.fake.instances[key].tags for key in self.fake.living()}

    def resources(self) -> Mapping[str, Mapping[str, str]]:
        """Give the groups."""
        return {one.resource_id: one.tags for one in self.fake.groups.values()}

    def changes(self) -> int:
        """Count what was to be changed."""
        return self.fake.changes

    def kill(self, machine_id: str) -> None:
        """Let an instance die."""
        self.fake.set_status(MachineStatus.TERMINATED, machine_id)

    def pass_time(self, seconds: float) -> None:
        """Let groups refill; otherwise its time passes by looks, unless so much of it passes that all is over."""
        self.fake.refill()
        if seconds >= _LONG:
            going = [key for key, one in self.fake.instances.items() if one.status is MachineStatus.SHUTTING_DOWN]
            self.fake.set_status(MachineStatus.TERMINATED, *going)

    def limit(self, machines: int) -> None:
        """Let no more machines than so many be had."""
        self.fake.capacity = machines

    def hide(self) -> None:
        """Show machines at the second look."""
        self.fake.show_after = 1

    def refuse_questions(self) -> None:
        """Fail every look."""
        for hook in ("discover_instances", "owned_resources"):
            self.fake.fail(hook, _REFUSED, times=100)

    def lose_answer(self) -> None:
        """Break off once the next group is made."""
        self.fake.fail("provision", _NO_ANSWER, when_done=True)

    def protect(self, machine_id: str) -> None:
        """Let an instance not be ended."""
        self.fake.protected.add(machine_id)

    def stranger(self) -> str:
        """Put an instance there that belongs to no group."""
        self.fake.instances["f-stranger"] = Instance(instance_id="f-stranger", status=MachineStatus.RUNNING)
        return "f-stranger"

    def reclaim(self, machine_id: str) -> None:
        """Announce that a machine is taken back."""
        self.fake.reclaims[machine_id] = Reclaim(instance_id=machine_id, code="taken", message="it is taken back")


class FakeContract(ProviderContract):
    """The contract of a `FakeProvider`."""

    provider: ClassVar[type[FakeProvider]] = FakeProvider

    @pytest.fixture(params=[False, True], ids=["plain", "refills"])
    def fake(self, request: pytest.FixtureRequest) -> FakeCloud:
        """Give a cloud whose groups replace what dies, or do not."""
        return FakeCloud(run_after=1, refills=request.param)

    @pytest.fixture
    def cloud(self, fake: FakeCloud) -> Cloud:
        """Give the cloud as it really is."""
        return FakeGround(fake)

    @pytest.fixture
    def template(self) -> Template:
        """Give a template with tags."""
        return Template(template_id="basic", instance_tags={"team": "risk"})

    @pytest.fixture
    def candidate(self, fake: FakeCloud) -> Iterator[Candidate]:
        """Give the plug-in, importable."""
        with self.provider(fake).installed("Fake") as found:
            yield found
