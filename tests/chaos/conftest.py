"""The life of a request as Host Factory leads it, with a death in one of its calls; and what must hold afterwards."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.files import FileLock
from hfcore.testing.audit import audit, observe
from hfcore.testing.aws import StrictAws
from hfcore.testing.faults import FAULT_POINTS, fault_point
from hfcore.testing.rig import clock, context, launched, new_context, rig, template
from hfcore.testing.site import CASES, HETEROGENEOUS, Case, Document, ForkedSite, judged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hfcore.testing.faults import FaultPoint
    from hfcore.testing.forks import Ended, Forks

__all__ = ["clock", "context", "launched", "new_context", "rig", "template"]

ALL_CASES = CASES | HETEROGENEOUS
COUNT = 3
STEPS = ("request", "poll", "remainder", "return", "return-poll", "return-rest", "cleanup", "archive")
CORE = ("intents-forgotten", "machines-file", "storage-file", "archive-", "answer-")  # points of the core alone
LATE_STEPS = ("request", "poll", "remainder")
POLLS = 2
OPEN = ("creating", "in_progress")
BETWEEN_POLLS = 31.0
DEADLINE = 31 * 60.0
REMAINDER_AFTER = 25 * 60.0  # mixes: 5 of 30 minutes before the deadline
RETENTION_HOURS = 1
PATIENCE = 10.0
# At once; only who is short of capacity tries again, ever more patiently. Nothing is forgotten.
TIMINGS = {
    "boot_seconds": 0.0,
    "shutdown_seconds": 0.0,
    "fill_seconds": 1e-6,
    "replace_seconds": 0.0,
    "aged_out_seconds": 1e7,
}
SEED = "HFCORE_CHAOS_SEED"
REPLAY = "HFCORE_CHAOS"

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Where a call is killed: `case/step/point/n`, as replays name it; with `/late` nobody asks before the deadline."""

    case: str
    step: str
    point: FaultPoint
    nth: int
    late: bool = False

    @classmethod
    def read(cls, text: str) -> Death:
        case, step, point, nth, *late = text.split("/")
        return cls(case=case, step=step, point=fault_point(point), nth=int(nth), late=late == ["late"])

    def __str__(self) -> str:
        return f"{self.case}/{self.step}/{self.point.name}/{self.nth}" + ("/late" if self.late else "")


class Life:
    """One request from its first call to the archive, led as Host Factory does it."""

    def __init__(self, site: ForkedSite, case: Case) -> None:
        self.site, self.case = site, case
        self.environment = {"HFCORE_RETENTION_HOURS": str(RETENTION_HOURS)}
        self.requests: list[str] = []
        self.returns: list[str] = []
        self.machines: list[str] = []  # alive, and not given back
        self.statuses: dict[str, str] = {}
        self.late = False
        if case.heterogeneous:
            site.aws.set_capacity(*case.pool, 1)

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(one for one in STEPS if one != "remainder" or self.waits)

    @property
    def waits(self) -> bool:
        """Whether Spot's share is bought on demand later."""
        return self.case.heterogeneous and self.case.fills_later

    def lead(self, step: str, **how: Any) -> Ended:  # noqa: ANN401 - as of `Forks.start`
        """Carry out the call of a step, to whatever end."""
        if step == "remainder":
            self.site.pass_time(REMAINDER_AFTER)
        if step == "archive":
            self.site.pass_time(RETENTION_HOURS * 3600 + 60)
        return self.site.call(*self._call(step), env=self.environment, **how)

    def _call(self, step: str) -> tuple[str, Document]:
        if step in {"request", "archive"}:
            count = COUNT if step == "request" else 1
            return "requestMachines", {"template": {"templateId": self.case.template_id, "machineCount": count}}
        if step in {"return", "return-rest"}:
            going = self.machines[:1] if step == "return" else self.machines
            return "requestReturnMachines", {"machines": [{"machineId": one} for one in going]}
        return "getRequestStatus", {"requests": [{"requestId": one} for one in self.asked_about]}

    @property
    def asked_about(self) -> list[str]:
        """The ids that Host Factory polls: what it was told, until it is told that it is over."""
        known = [one for one in (*self.requests, *self.returns) if self.statuses.get(one, "running") == "running"]
        return known or [*self.requests, *self.returns][-1:]

    def take_in(self, step: str, ended: Ended) -> None:
        """Take in the answer of a call that was not killed."""
        verb, document = self._call(step)
        ran = judged(verb, ended.code, ended.stdout, ended.stderr, ended.seconds)
        assert ran.code == 0, ran
        if verb == "requestMachines":
            self.requests.append(ran.answer["requestId"])
        elif verb == "requestReturnMachines":
            self.returns.append(ran.answer["requestId"])
            going = {one["machineId"] for one in document["machines"]}
            self.machines = [one for one in self.machines if one not in going]
        else:
            for one in ran.answer["requests"]:
                self._take_in_status(one)

    def _take_in_status(self, answer: Document) -> None:
        request_id, status = answer["requestId"], answer["status"]
        self.statuses[request_id] = status
        if request_id in self.requests:
            back = {key for key, one in self.site.machines().items() if one.get("return_id")}
            alive = [one["machineId"] for one in answer["machines"] if one["result"] == "succeed"]
            self.machines += [one for one in alive if one not in back and one not in self.machines]

    def stored(self, prefix: str) -> list[str]:
        """The ids of stored requests (`req-`) or returns (`ret-`) that Host Factory was not told."""
        if not (self.site.data / "storage.json").exists():
            return []
        return [
            one for one in self.site.stored() if one.startswith(prefix) and one not in (*self.requests, *self.returns)
        ]

    def recover(self, death: Death) -> None:
        """Do what Host Factory does after a call was killed."""
        self._wait_for_aws()
        self.late = death.late
        if death.late:
            self.site.pass_time(DEADLINE)
        verb, _ = self._call(death.step)
        if verb == "requestMachines":
            lost = self.stored("req-")
            assert len(lost) <= 1
            if not lost:  # it is asked for anew, in time
                assert not self.findings()
                self.late = False
            self.requests += lost
        elif verb == "requestReturnMachines":
            # Host Factory asks again; or, where it has read the id, polls that.
            lost = self.stored("ret-") if death.nth % 2 else []
            if lost:
                self.returns += lost
                going = {one for key in lost for one in self.site.stored()[key]["machine_ids"]}
                self.machines = [one for one in self.machines if one not in going]
        else:
            return
        if not lost:
            self.take_in(death.step, self._again(death.step))

    def _again(self, step: str) -> Ended:
        return self.site.call(*self._call(step), env=self.environment)

    def _wait_for_aws(self) -> None:
        """Wait until AWS has done what is on the wire: a call of a dead process is done all the same."""
        end = time.monotonic() + PATIENCE
        time.sleep(0.01)
        while self.site.aws._server.open:
            assert time.monotonic() < end
            time.sleep(0.002)

    def poll(self) -> None:
        self.site.pass_time(BETWEEN_POLLS)
        self.take_in("poll", self.lead("poll"))

    def settle(self, *, awaiting: bool = False) -> None:
        """Poll, at most twice, until all is well."""
        for _ in range(POLLS):
            self.poll()
            trouble = self.trouble(awaiting=awaiting)
            if not trouble:
                return
        raise AssertionError("\n".join((f"after {POLLS} polls:", *trouble)))

    def trouble(self, *, awaiting: bool = False) -> list[str]:
        """What is not as it must be once everything has come to its end; `awaiting`: but for Spot's time."""
        unsaid = [f"{one} was not told of" for one in (*self.requests, *self.returns) if one not in self.statuses]
        if awaiting:
            return [*map(str, self.findings()), *unsaid]
        right = ("complete", "complete_with_error") if self.late else ("complete",)
        told = [f"{one} is {status}" for one, status in self.statuses.items() if status not in right]
        # One that Host Factory was not told of, and so never asks about, ends too.
        stored = [f"{key} is {one['status']}" for key, one in self.site.stored().items() if one["status"] in OPEN]
        return [*map(str, self.findings()), *unsaid, *told, *stored]

    def findings(self) -> tuple[object, ...]:
        if not self.site.data.exists():
            return ()
        now = datetime.now(UTC) + timedelta(seconds=self.site.ahead)
        return (*audit(self.site.aws, self.site.data, now), *self.site.aws.violations)

    def finish(self) -> None:
        """Bring it to its end from wherever it is, and see that nothing is left."""
        if self.waits and not self.late and self.statuses[self.requests[0]] == "running":
            self.site.pass_time(REMAINDER_AFTER)
            self.settle()
        if self.machines:
            self.take_in("return-rest", self.lead("return-rest"))
            self.settle()
        self._see_that_nothing_is_left()

    def _see_that_nothing_is_left(self) -> None:
        meta = json.loads((self.site.data / "meta.json").read_text())
        world = observe(self.site.aws, meta["owner"])
        standing = [one for one in world.holdings if one.stands and one.request_id]
        assert (dict(world.living), standing) == ({}, [])
        stored = self.site.stored()
        ends = {"completed"} | ({"completed_with_errors", "failed"} if self.late else set())
        assert {key: one["status"] for key, one in stored.items() if one["status"] not in ends} == {}
        assert [key for key, one in stored.items() if one.get("resource_ids") and not one.get("cleaned")] == []
        asked = {one: COUNT if number == 0 else 1 for number, one in enumerate(self.requests)}
        launched = self.launched()
        assert launched == asked or (self.late and all(launched[one] <= asked[one] for one in launched))
        assert self.site.aws.violations == []

    def launched(self) -> dict[str, int]:
        """How many machines AWS has ever launched for each request."""
        found: dict[str, int] = {}
        for one in self.site.aws.world.instances().values():
            request_id = one.tags["hfcore:request-id"]
            found[request_id] = found.get(request_id, 0) + 1
        return found


class Stage:
    """What lives share: warm processes, and one AWS that is emptied for each."""

    def __init__(self, forks: Forks, aws: StrictAws, folder: Path, shared: Path) -> None:
        self.forks, self.aws, self._folder, self._shared = forks, aws, folder, shared

    def life(self, case: Case) -> Life:
        self.aws.reset()
        return Life(ForkedSite(Path(tempfile.mkdtemp(dir=self._folder)) / "site", self.aws, self.forks), case)

    def counts(self, name: str) -> Counts:
        """How often each step meets each point when nothing dies; found out once for all test processes."""
        path = self._shared / f"chaos-{name}.json"
        with FileLock(path.with_suffix(".lock"), 60.0):
            if not path.exists():
                path.write_text(json.dumps(self._count(ALL_CASES[name])))
        found: Counts = json.loads(path.read_text())
        return found

    def _count(self, case: Case) -> Counts:
        life, found = self.life(case), Counts()
        for step in life.steps:
            ended = life.lead(step, count=True)
            found[step] = dict(ended.met)
            life.take_in(step, ended)
        life.settle()
        life.finish()
        return found

    def die(self, death: Death) -> None:
        """Lead a life until its death, go on as Host Factory would, and see that nothing is lost."""
        try:
            self._die(death)
        except BaseException as error:
            error.add_note(f"replay by: make chaos DEATH={death}")
            raise

    def _die(self, death: Death) -> None:
        life = self.life(ALL_CASES[death.case])
        for step in life.steps[: life.steps.index(death.step)]:
            life.take_in(step, life.lead(step))
        ended = life.lead(death.step, kill=death.point, nth=death.nth)
        assert ended.killed, f"it did not get there, and ended with {ended}"
        life.recover(death)
        life.settle(awaiting=life.waits and not life.late and death.step in {"request", "poll"})
        life.finish()
        shutil.rmtree(life.site.folder)


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder, in memory where there is such a place."""
    place = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="hfcore-chaos-", dir=place if os.access(place, os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def stage(forks: Forks, memory: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Stage]:
    """Give the stage on which lives are led."""
    base = tmp_path_factory.getbasetemp()
    with StrictAws(**TIMINGS) as aws:
        yield Stage(forks, aws, memory, base if worker_id == "master" else base.parent)


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> str:
    """Give the seed of this run, which all its processes share."""
    told = getattr(request.config, "workerinput", {}).get("testrunuid", f"{time.time_ns()}")
    return os.environ.get(SEED, told)


@pytest.fixture
def choose(stage: Stage, seed: str) -> Callable[..., Death]:
    """Choose one of the moments at which a life meets a fault point."""

    def chosen(name: str = "", point: str = "", *, late: bool = False, draw: int = 0) -> Death:
        chance = random.Random(f"{seed}/{name}/{point}/{draw}")
        name = name or chance.choice(list(ALL_CASES))
        # The later steps of heterogeneous are those of the plain form, and the last one asks as the first does.
        own = LATE_STEPS if late or ALL_CASES[name].heterogeneous else STEPS[:-1]
        meetings = [
            (step, met, times)
            for step, counts in stage.counts(name).items()
            for met, times in counts.items()
            if times and met == (point or met)
        ]
        sys.stdout.write(f"{SEED}={seed}\n")  # pytest shows it where a test fails
        step, met, times = chance.choice([one for one in meetings if one[0] in own] or meetings)
        return Death(case=name, step=step, point=fault_point(met), nth=chance.randint(1, times), late=late)

    return chosen


def _own_points() -> list[tuple[str, str]]:
    """Give each case with the points at which its plug-in matters: all but the core's, of heterogeneous its calls'."""
    points = [point.name for point in FAULT_POINTS if not point.name.startswith(CORE)]
    calls = [name for name in points if name.startswith("call-")]
    return [(name, each) for name in ALL_CASES for each in (calls if name in HETEROGENEOUS else points)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Name cases, steps and points in the tests' ids."""
    names = set(metafunc.fixturenames)
    if "own_point" in names:
        metafunc.parametrize(("case_name", "own_point"), _own_points())
    elif "case_name" in names:
        metafunc.parametrize("case_name", list(ALL_CASES))
    if "core_point" in names:
        metafunc.parametrize("core_point", [one.name for one in FAULT_POINTS if one.name.startswith(CORE)])
    if "step" in names:
        metafunc.parametrize("step", STEPS)
    if "late_step" in names:
        metafunc.parametrize("late_step", LATE_STEPS)
    if "point_name" in names:
        metafunc.parametrize("point_name", [point.name for point in FAULT_POINTS])
    if "replayed" in names:
        metafunc.parametrize("replayed", list(map(Death.read, os.environ.get(REPLAY, "").split())), ids=str)


@pytest.fixture
def deaths(stage: Stage) -> Callable[..., Iterator[Death]]:
    """Give every death at a point in a step."""

    def every(name: str, step: str, point: str, *, late: bool = False) -> Iterator[Death]:
        for nth in range(1, stage.counts(name).get(step, {}).get(point, 0) + 1):
            yield Death(case=name, step=step, point=fault_point(point), nth=nth, late=late)

    return every


@pytest.fixture(scope="session")
def point_names() -> list[str]:
    """Give the names of all fault points."""
    return [point.name for point in FAULT_POINTS]
