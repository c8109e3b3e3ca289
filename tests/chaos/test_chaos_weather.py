"""AWS throttles, is slow, and cuts connections once the work is done: all end right, nothing is leaked or doubled.

`HFCORE_CHAOS_SEED=… make chaos` lets the clients of a failed run do the same again, and the same calls fail.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.aws import StrictAws
from hfcore.testing.crowd import Crowd
from hfcore.testing.site import CASES, HETEROGENEOUS, ForkedSite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.testing.forks import Forks

WEATHER = ("throttle@0.3", "reset-after@0.1")
SHORT, FULL = (8, 14, 0.2), (56, 200, 2.0)  # clients, requests, seconds of latency
POLLED_AFTER = 4.0  # of the latency's seconds
UNANSWERED = [(name, "reset-after") for name in CASES | HETEROGENEOUS] + [
    (name, "server-error-after") for name in CASES
]
ALL_CASES = CASES | HETEROGENEOUS
REMOVES = ("DeleteLaunchTemplate", "DeleteFleets", "CancelSpotFleetRequests", "DeleteAutoScalingGroup")
BETWEEN_CALLS = 400.0


@pytest.fixture
def site(forks: Forks, memory: Path) -> Iterator[ForkedSite]:
    """Give a provider instance on an AWS of its own, where things take a moment and nothing is forgotten."""
    with StrictAws(aged_out_seconds=1e7) as aws:
        yield ForkedSite(Path(tempfile.mkdtemp(dir=memory)) / "site", aws, forks)


def weather_it(site: ForkedSite, seed: str, clients: int, requests: int, latency: float) -> None:
    """Lead requests and their returns to the end, and see that no refused one has left anything."""
    number = Random(seed).randrange(2**31)
    site.aws.faults.add(*WEATHER, f"latency={latency}", f"seed={number}")
    crowd = Crowd(site, seed=seed, clients=clients, refusals=True)
    try:
        crowd.lives(requests, POLLED_AFTER * latency)
        crowd.settle(rounds=5 + requests // 5, to_nothing=True)
    finally:
        struck = [one for one in site.aws.faults.injected if not one.fault.startswith("latency")]
        sys.stdout.write(f"{crowd.summary()}, of which {len(struck)} failed\n")
    assert len(crowd.told.requests) == requests
    failed = [key for key, one in crowd.records()[0].items() if one["status"] == "failed"]
    assert len(failed) == len(crowd.told.refused)
    assert {*failed}.isdisjoint(crowd.told.requests)


@pytest.mark.timeout(300)
def test_requests_and_returns_end_right_in_bad_weather(site: ForkedSite, seed: str) -> None:
    weather_it(site, seed, *SHORT)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_200_requests_and_their_returns_end_right_in_bad_weather(site: ForkedSite, seed: str) -> None:
    weather_it(site, seed, *FULL)


@pytest.mark.parametrize(("name", "fault"), UNANSWERED)
def test_a_launch_without_an_answer_has_its_id_and_never_fails(site: ForkedSite, name: str, fault: str) -> None:
    case = ALL_CASES[name]
    site.aws.faults.add(*(f"{fault}:{operation}" for operation in case.creates))
    request_id = site.request(case.template_id, 2)
    assert site.aws.faults.injected
    assert site.status(request_id)["status"] in {"running", "complete"}
    site.aws.faults.clear()
    machines = site.poll_until(request_id)["machines"]
    launched = {one.id for one in site.aws.world.instances().values()}
    assert {one["machineId"] for one in machines} == launched
    assert len(launched) == 2
    assert site.aws.violations == []


@pytest.mark.parametrize("name", CASES)
def test_a_refused_request_leaves_nothing_though_its_removal_was_refused_too(site: ForkedSite, name: str) -> None:
    case = CASES[name]
    site.aws.faults.add(*(f"throttle:{operation}" for operation in (*case.creates, *REMOVES)))
    ran = site.run("requestMachines", {"template": {"templateId": case.template_id, "machineCount": 2}})
    assert ran.code == 1
    assert {one["status"] for one in site.stored().values()} == {"failed"}
    site.aws.faults.clear()
    for _ in range(3):
        site.pass_time(BETWEEN_CALLS)
        site.run("getReturnRequests")
    assert Crowd(site, seed="", clients=1).remains() == []
