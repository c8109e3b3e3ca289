"""Many calls at once, some of them killed: nothing printed is lost, nothing is launched twice, no file is ever broken.

`HFCORE_CHAOS_SEED=… make chaos` makes the clients of a failed run do the same again.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.audit import audit
from hfcore.testing.aws import StrictAws
from hfcore.testing.beside import Beside
from hfcore.testing.crowd import Crowd
from hfcore.testing.faults import FAULT_POINTS, fault_point
from hfcore.testing.site import CASES, ForkedSite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.testing.forks import Forks

SHORT, SHORTEST, FULL = (
    (8, 40, 1),
    (8, 24, 1),
    (32, 300, 3),
)  # clients, requests, other calls for each request in the storm
DEADLY = 0.25
DEADLINE, RETENTION = 31 * 60.0, 25 * 3600.0
BETWEEN_POLLS = 31.0
WANTED, THERE, GIVEN, SLOW = 6, 4, 3, 0.2
UNTOLD = ("intent-written:before", "call-answered:after", "resource-ids-stored:before", "answer-printed:before")


@pytest.fixture
def site(forks: Forks, memory: Path) -> Iterator[ForkedSite]:
    """Give a provider instance on an AWS of its own, where things take a moment and nothing is forgotten."""
    with StrictAws(aged_out_seconds=1e7) as aws:
        yield ForkedSite(Path(tempfile.mkdtemp(dir=memory)) / "site", aws, forks)


@contextmanager
def watched(crowd: Crowd) -> Iterator[None]:
    """Read the store all the time, beside the calls, and tell the seed."""
    try:
        with Beside(crowd.site.data) as beside:
            yield
    finally:
        sys.stdout.write(f"{crowd.summary()}, read {beside.readings} times beside them\n")
    assert beside.readings
    assert not beside.troubles, "\n".join(beside.troubles)


def many_at_once(site: ForkedSite, seed: str, clients: int, requests: int, others: int, deaths: float = 0.0) -> None:
    """Lead a crowd through a storm, to the end of all that it has asked for, and to its archive."""
    crowd = Crowd(site, seed=seed, clients=clients, deaths=deaths)
    with watched(crowd):
        crowd.storm(requests, others)
        come_to_an_end(crowd, rounds=5 + requests // 5)
        over = {*crowd.told.requests, *crowd.told.returns}
        site.pass_time(RETENTION)
        crowd.storm(clients, others=0)  # which archives what is over, all clients at once
        assert over.isdisjoint(site.stored())
        crowd.poll_all()
        come_to_an_end(crowd, rounds=5 + clients)
    died = crowd.told.deaths
    assert bool(died) == bool(deaths)
    assert requests + clients - died.count("requestMachines") == len(crowd.told.requests)


def come_to_an_end(crowd: Crowd, rounds: int) -> None:
    """Give everything back, and see that it ends; what a killed call did not tell of ends at its deadline."""
    crowd.settle()
    crowd.give_back_all()
    crowd.site.pass_time(DEADLINE)
    crowd.settle(rounds=rounds, to_nothing=True)


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_when_many_call_at_once(site: ForkedSite, seed: str) -> None:
    many_at_once(site, seed, *SHORT)


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_when_some_of_many_are_killed(site: ForkedSite, seed: str) -> None:
    many_at_once(site, seed, *SHORTEST, deaths=DEADLY)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("deaths", [0.0, DEADLY])
def test_nothing_is_lost_or_doubled_when_32_call_at_once(site: ForkedSite, seed: str, deaths: float) -> None:
    many_at_once(site, seed, *FULL, deaths=deaths)


def test_the_crowd_and_its_reader_find_what_is_lost_and_broken(site: ForkedSite, seed: str) -> None:
    crowd = Crowd(site, seed=seed, clients=2)
    crowd.storm(2, others=0)
    crowd.settle()
    path, (lost, kept) = site.data / "storage.json", sorted(crowd.told.requests)
    stored = site.stored()
    with Beside(site.data) as beside:
        for text in (json.dumps(stored), json.dumps({kept: stored[kept]}), "{", json.dumps(stored)):
            path.write_text(text)
            time.sleep(0.3)
    assert any(f"{lost}: was in storage.json, and is nowhere" in one for one in beside.troubles)
    assert any("storage.json: can't be read" in one for one in beside.troubles)
    path.write_text(json.dumps({kept: stored[kept] | {"machine_ids": []}}))
    trouble = "\n".join(crowd.trouble())
    assert f"{lost} was printed, and is not stored" in trouble
    assert f"{kept} has [], and AWS has launched" in trouble


@pytest.mark.parametrize("point", UNTOLD)
@pytest.mark.parametrize("name", ["RunInstances", "EC2Fleet-request"])
def test_a_request_that_nobody_was_told_of_ends_at_its_deadline(site: ForkedSite, name: str, point: str) -> None:
    asked = {"template": {"templateId": CASES[name].template_id, "machineCount": 2}}
    ended = site.call("requestMachines", asked, kill=fault_point(point))
    assert (ended.killed, ended.stdout) == (True, b"")
    site.pass_time(DEADLINE)
    for _ in range(4):
        site.run("getReturnRequests")
        site.pass_time(BETWEEN_POLLS)
    assert site.live() == set()
    (request,) = site.stored().values()
    assert request["status"] != "in_progress"
    assert not request["resource_ids"] or request["cleaned"]


def test_what_one_call_began_for_several_and_another_has_done_is_not_left_open(site: ForkedSite) -> None:
    first, second, third = sorted(site.request(CASES["EC2Fleet-request"].template_id, 1) for _ in range(3))
    site.wait_for_running(3)
    asked = {"requests": [{"requestId": one} for one in (second, third)]}
    assert site.call("getRequestStatus", asked, kill=fault_point("intent-written:after")).killed
    assert [one.name for one in (site.data / "journal").glob("*.json")] == [f"{second}.freeze-0.json"]
    for _ in range(2):  # the first fleet's name is now the step's
        site.pass_time(BETWEEN_POLLS)
        assert {one["status"] for one in site.statuses(first, second, third)} == {"complete"}
    assert audit(site.aws, site.data, datetime.now(UTC) + timedelta(seconds=site.ahead)) == ()


def wanted_of(site: ForkedSite, request_id: str) -> int:
    """Give the units that a request's group or fleet is to have, as AWS has it."""
    region = site.aws.region()
    (resource_id,) = site.stored()[request_id]["resource_ids"]
    if resource_id in region.groups:
        return region.groups[resource_id].desired
    return int(region.fleets[resource_id].target["TotalTargetCapacity"])


def given_back_at_once(site: ForkedSite, request_id: str, machines: list[str], dying: Random | None) -> list[str]:
    """Give machines back in several calls, one of them twice, while others poll their request, all at once.

    A call that was killed is made again, as Host Factory would. Gives the ids of the returns.
    """
    parts = [machines[:1], machines[1:], machines[:1]]
    asked = [("requestReturnMachines", {"machines": [{"machineId": one} for one in part]}) for part in parts]
    asked += [("getRequestStatus", {"requests": [{"requestId": request_id}]})] * 4
    answers = []
    while asked:
        deaths = [{"kill": dying.choice(FAULT_POINTS), "nth": dying.randint(1, 2)} if dying else {} for _ in asked]
        begun = [site.start(*one, **death) for one, death in zip(asked, deaths, strict=True)]
        ended = [one.wait() for one in begun]
        assert {one.code for one in ended} <= {0, None}, ended
        answers += [one.answer for one in ended if not one.killed]
        asked, dying = [one for one, how in zip(asked, ended, strict=True) if how.killed], None
    return [one["requestId"] for one in answers if "requestId" in one]


def shrink(site: ForkedSite, name: str, dying: Random | None) -> None:
    """Take machines out of a group or fleet that still launches, and see that its target goes down by these alone."""
    case = CASES[name]
    site.aws.set_capacity(*case.pool, THERE)
    request_id = site.request(case.template_id, WANTED)
    site.wait_for_running(THERE)
    status = site.status(request_id)
    machines = [one["machineId"] for one in status["machines"]]
    assert (status["status"], len(machines)) == ("running", THERE)
    site.aws.faults.add(f"latency={SLOW}")  # between what is read of the target and what is written
    returns = given_back_at_once(site, request_id, machines[:GIVEN], dying)
    site.aws.faults.clear()
    for _ in range(2):
        site.pass_time(BETWEEN_POLLS)
        site.statuses(request_id, *returns)
    # Places that returned machines leave are filled again: the request may have ended by then, and what ends after that
    # lowers nothing any more, as nothing is launched in its place.
    wanted = wanted_of(site, request_id)
    assert WANTED - GIVEN <= wanted <= (WANTED if site.stored()[request_id].get("frozen") else WANTED - GIVEN)
    assert {one["status"] for one in site.statuses(*returns)} == {"complete"}
    site.aws.set_capacity(*case.pool, None)
    assert len(site.wait_for_running(WANTED - GIVEN)) == WANTED - GIVEN
    assert {*machines[GIVEN:]} <= site.live()
    assert site.status(request_id)["status"] == "complete"
    assert len(site.aws.world.instances()) == WANTED
    returned = site.give_back([{"machineId": one} for one in site.live()])
    site.pass_time(BETWEEN_POLLS)
    assert site.status(returned)["status"] == "complete"
    assert site.live() == set()
    assert len(site.aws.world.instances()) == WANTED
    assert site.aws.violations == []


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.refills])
def test_returns_at_once_from_what_refills_lower_its_target_once(site: ForkedSite, name: str) -> None:
    shrink(site, name, None)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.refills])
def test_returns_killed_at_once_lower_the_target_once(site: ForkedSite, name: str, seed: str) -> None:
    sys.stdout.write(f"seed {seed}\n")
    shrink(site, name, Random(f"{seed}/{name}"))


@pytest.mark.chaos
@pytest.mark.parametrize("number", range(40))
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.refills])
def test_returns_killed_at_once_lower_the_target_once_each_time(
    site: ForkedSite, name: str, seed: str, number: int
) -> None:
    sys.stdout.write(f"seed {seed}\n")
    shrink(site, name, Random(f"{seed}/{name}/{number}"))
