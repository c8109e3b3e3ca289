"""What never happens, whatever becomes of calls, machines, clock and account: random lives on the real service."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hfcore import lifecycle, standing
from hfcore.errors import CapacityExceeded, CloudError, OutcomeUnknown, PluginCallError
from hfcore.models import Fault, FaultKind, Machine, MachineStatus, Reclaim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hfcore.views import RequestView
    from tests.integration.conftest import Grid

MOST = 5
ATTRIBUTES = {"type": ["String", "X86_64"], "ncpus": ["Numeric", "4"], "nram": ["Numeric", "16384"]}
TEMPLATE = {"templateId": "basic", "providerApi": "Fake", "maxNumber": MOST, "attributes": ATTRIBUTES}
STATUSES = [MachineStatus.STOPPED, MachineStatus.RUNNING, MachineStatus.TERMINATED]
THROTTLED = CloudError(Fault(code="Throttling", message="slow down", kind=FaultKind.THROTTLE))
NO_ANSWER = OutcomeUnknown(Fault(code="ReadTimeout", message="no answer", kind=FaultKind.TRANSIENT))
FAULTS: list[Exception] = [THROTTLED, NO_ANSWER, ValueError("oh")]
HOOKS = ["provision", "discover_instances", "release_instances", "stop_launching", "cleanup", "reclaimed_instances"]
ACCOUNTS = ["account-1", "account-2"]
LONG = 3 * 60.0  # minutes: longer than all the clock is ever set back, and a deadline
WORLDS = st.fixed_dictionaries(
    {
        "capacity": st.sampled_from([None, None, 0, 1, 3]),
        "run_after": st.sampled_from([0, 0, 1, 4]),
        "tells_ids": st.booleans(),
    }
)


class Lives(RuleBasedStateMachine):
    """Host Factory, the cloud and chance, on one provider instance; what was told is held against what is told next."""

    def __init__(self, make: Callable[[], Grid], patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        numbers = count(1)
        for place in ("uuid.uuid4", "hfcore.returning.uuid4"):  # the order of ids must not be chance
            patch.setattr(place, lambda: f"{next(numbers):08d}")
        self.grid = make()
        self.grid.write_templates(TEMPLATE)
        self.cloud, self.clock = self.grid.cloud, self.grid.clock
        self.told: dict[str, RequestView] = {}
        self.returned: set[str] = set()
        self.terminated: set[str] = set()
        self.uninvited: set[str] = set()  # launched by nobody's wish
        self.late: set[str] = set()  # those of them that came when their request had ended

    @initialize(world=WORLDS, refills=st.booleans(), show_after=st.sampled_from([0, 1, 3]), count=st.integers(1, 3))
    def begin(self, world: dict[str, Any], show_after: int, count: int, *, refills: bool) -> None:
        self.cloud.refills, self.cloud.show_after = refills, show_after
        self.the_world_changes(world)
        self.ask(count)

    # What Host Factory does

    @rule(count=st.integers(1, 3))
    def ask(self, count: int) -> None:
        try:
            request_id = self.grid.request(count)
        except (CloudError, CapacityExceeded, PluginCallError):
            return
        self.poll([request_id])

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def poll_some(self, data: st.DataObject) -> None:
        self.poll(data.draw(st.lists(st.sampled_from(list(self.told)), min_size=1, unique=True), label="requests"))

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        theirs = [m.instance_id for view in self.told.values() for m in view.machines if result(m, view) == "succeed"]
        if not theirs:
            return
        going = data.draw(st.lists(st.sampled_from(theirs), min_size=1, unique=True), label="machines")
        self.returned |= set(going)
        self.poll([self.grid.give_back(*going).request_id])

    @rule()
    def look_for_reclaims(self) -> None:
        self.named_by_reclaims()

    # What happens

    @rule(hook=st.sampled_from(HOOKS), error=st.sampled_from(FAULTS), when_done=st.booleans())
    def a_call_will_fail(self, hook: str, error: Exception, *, when_done: bool) -> None:
        refused = error is THROTTLED and hook == "provision"  # which says that nothing was made
        self.cloud.fail(hook, error, when_done=when_done and not refused)

    @rule(world=WORLDS)
    def the_world_changes(self, world: dict[str, Any]) -> None:
        for name, value in world.items():
            setattr(self.cloud, name, value)

    @rule(seconds=st.sampled_from([31, 200, 370, 31 * 60, 37 * 60, -60, -8 * 60, -60 * 60]))
    def the_clock_steps(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    @rule(account=st.sampled_from(ACCOUNTS))
    def credentials_change(self, account: str) -> None:
        self.cloud.account_id = account

    @precondition(lambda self: self.cloud.living())
    @rule(data=st.data(), status=st.sampled_from(STATUSES))
    def a_machine_changes(self, data: st.DataObject, status: MachineStatus) -> None:
        alive = [key for key, one in self.cloud.instances.items() if one.status not in lifecycle.ENDING]
        self.cloud.set_status(status, data.draw(st.sampled_from(alive)), message="Server.InternalError: it broke")

    @precondition(lambda self: self.cloud.living())
    @rule(data=st.data())
    def a_machine_is_taken_back(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.cloud.living()))
        at = self.clock.now() + timedelta(seconds=120)
        self.cloud.reclaims[key] = Reclaim(
            instance_id=key, code="marked", message="Spot", at=at, status=MachineStatus.RUNNING
        )

    @precondition(lambda self: self.cloud.groups)
    @rule(data=st.data())
    def a_machine_comes_late(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(list(self.cloud.groups)))
        came = self.cloud.launch(request_id, 1)
        self.uninvited |= set(came)
        self.late |= set(came) if self.has_ended(request_id) else set()

    @precondition(lambda self: self.terminated)
    @rule(data=st.data())
    def an_answer_is_old(self, data: st.DataObject) -> None:
        dead = [key for key in sorted(self.terminated) if key in self.cloud.instances]
        if dead:
            key = data.draw(st.sampled_from(dead))
            self.cloud.set_status(MachineStatus.RUNNING, key)
            self.poll(list(self.told))
            self.cloud.set_status(MachineStatus.TERMINATED, key)

    # What holds

    def poll(self, request_ids: list[str]) -> None:
        views = {view.request_id: view for view in self.grid.open().request_status(tuple(request_ids))}
        assert list(views) == request_ids
        for request_id, view in views.items():
            self.holds(view, self.told.get(request_id))
            self.told[request_id] = view

    def holds(self, view: RequestView, before: RequestView | None) -> None:
        request, ids = view.request, [machine.instance_id for machine in view.machines]
        assert request is not None
        assert len(ids) == len(set(ids)), "a machine is reported twice"
        gone = {machine.instance_id for machine in view.machines if machine.status is MachineStatus.TERMINATED}
        assert self.terminated.intersection(ids) <= gone, "a terminated machine lives again"
        self.terminated |= gone
        if request.request_id.startswith("ret-"):
            return
        others = (one for key, one in self.told.items() if key.startswith("req-") and key != request.request_id)
        assert not {m.instance_id for one in others for m in one.machines}.intersection(ids), "of two requests"
        if not lifecycle.is_open(request):
            waiting = [m.instance_id for m in view.machines if result(m, view) == "executing"]
            assert not [key for key in waiting if pends(view, key)], "it ended while a machine pends"
        if before is not None and before.request is not None:
            assert {machine.instance_id for machine in before.machines} <= set(ids), "a machine is lost"
            if not lifecycle.is_open(before.request):
                assert request.status is before.request.status, "an ended request moved"
        assert request.deadline is not None
        overdue = self.clock.at - request.deadline
        if lifecycle.is_open(request):
            assert overdue < lifecycle.SILENCE, "it is running, long past its deadline"

    def has_ended(self, request_id: str) -> bool:
        view = self.told.get(request_id)
        return view is not None and view.request is not None and not lifecycle.is_open(view.request)

    def named_by_reclaims(self) -> None:
        failing = any(left for (hook, _), left in self.cloud._failures.items() if hook == "reclaimed_instances")
        named = [view.machine.instance_id for view in self.grid.reclaims().views]
        assert len(named) == len(set(named)), "a machine is named twice"
        assert self.returned.isdisjoint(named), "our own return is reported as taken back"
        known = {machine.instance_id for view in self.told.values() for machine in view.machines}
        taken = known.intersection(self.cloud.living(), self.cloud.reclaims) - self.returned - self.terminated
        assert failing or taken <= set(named), "a machine that is taken back is not named"

    @invariant()
    def never_more_than_max_number(self) -> None:
        assert len(set(self.cloud.living()) - self.uninvited) <= MOST, "more than maxNumber"

    def teardown(self) -> None:
        """Let nothing go wrong any more, and see that everything comes to its end and nothing is left."""
        self.cloud._failures.clear()
        self.cloud.reclaims.clear()
        self.clock.advance(minutes=LONG)
        self.settle()
        views = [view for key, view in self.told.items() if key.startswith("req-")]
        assert not [view for view in views if view.request and lifecycle.is_open(view.request)]
        known = {m.instance_id for view in views for m in view.machines if lifecycle.is_live(m)}
        assert set(self.cloud.living()) <= known, "a machine lives that nobody knows"
        assert self.late.isdisjoint(self.cloud.living()), "a machine lives that came after the end"
        if known:
            self.returned |= known
            self.poll([self.grid.give_back(*known).request_id])
        self.settle()
        assert not self.cloud.standing(), "a machine that was given back lives"
        assert not [view for view in self.told.values() if view.request and lifecycle.is_open(view.request)]
        assert self.cloud.groups == {}, "a group stands for ever"

    def settle(self) -> None:
        """Poll all there is as each of the accounts in turn."""
        for account in ACCOUNTS * 3:
            self.cloud.account_id = account
            self.clock.advance(minutes=6)
            self.named_by_reclaims()
            self.poll(list(self.told))


def result(machine: Machine, view: RequestView) -> str:
    assert view.request is not None
    return str(standing.result(machine, view.request))


def pends(view: RequestView, key: str) -> bool:
    return any(m.instance_id == key and m.status is MachineStatus.PENDING and not m.return_id for m in view.machines)


@pytest.fixture
def make(new_grid: Callable[[Path], Grid]) -> Iterator[Callable[[], Grid]]:
    """Give what lays out an instance, in memory where there is such a place."""
    place = Path("/dev/shm")
    with ExitStack() as stack:

        def made() -> Grid:
            folder = tempfile.TemporaryDirectory(dir=place if os.access(place, os.W_OK) else None)
            return new_grid(Path(stack.enter_context(folder)))

        yield made


def test_no_sequence_of_events_loses_doubles_or_revives_a_machine_or_leaves_a_request_running(
    make: Callable[[], Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_state_machine_as_test(
        lambda: Lives(make, monkeypatch),
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # to shrink a failure takes minutes: add Phase.shrink to look into one
            suppress_health_check=[*HealthCheck],
        ),
    )
