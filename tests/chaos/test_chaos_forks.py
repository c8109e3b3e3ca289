"""Warm processes are new processes, and die where they are told to."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.aws import Call, Hook, StrictAws
from hfcore.testing.faults import FAULT_POINTS, FaultPoint, fault_point
from hfcore.testing.forks import Forks
from hfcore.testing.site import ForkedSite, templates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WANTED = {"template": {"templateId": "OnDemand-Small", "machineCount": 2}}


class Holding(Hook):
    """Answers nothing for as long as the test likes."""

    def __init__(self) -> None:
        self.met = 0

    def before(self, call: Call) -> None:
        self.met += 1
        time.sleep(2)


@pytest.fixture
def site(forks: Forks, tmp_path: Path) -> Iterator[ForkedSite]:
    with StrictAws(boot_seconds=0, shutdown_seconds=0) as aws:
        yield ForkedSite(tmp_path / "site", aws, forks)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_calls_do_what_real_ones_do(site: ForkedSite) -> None:
    request_id, machines = site.complete("OnDemand-Small", 2)
    site.poll_until(site.give_back([{"machineId": one["machineId"]} for one in machines]))
    assert site.stored()[request_id]["cleaned"]
    assert not site.live()


def test_a_call_that_goes_wrong_exits_with_1_and_says_why(site: ForkedSite) -> None:
    ran = site.run("requestMachines", {"template": {"templateId": "none", "machineCount": 1}})
    assert ran.code == 1
    assert "none" in ran.message


def test_words_and_text_that_is_no_json_get_to_the_call(site: ForkedSite) -> None:
    assert site.call("getRequestStatus", words=("req-1",)).answer["requests"][0]["requestId"] == "req-1"
    assert site.call("getRequestStatus", "{").code == 1


def test_nothing_is_kept_from_one_call_to_the_next(site: ForkedSite, tmp_path: Path) -> None:
    assert len(site.run("getAvailableTemplates").answer["templates"]) == len(templates(site.aws))
    with StrictAws() as other_aws:
        other = ForkedSite(tmp_path / "other", other_aws, site.forks)
        other.put("prov_templates.json", {"templates": templates(other_aws)[:1]})
        assert len(other.run("getAvailableTemplates").answer["templates"]) == 1
        other.request("OnDemand-Small", 1)
        assert not site.aws.calls
        sent = len(other_aws.calls)
        site.request("OnDemand-Small", 1)
        assert len(site.aws.calls) == len(other_aws.calls) == sent


def test_many_calls_run_at_the_same_time(site: ForkedSite) -> None:
    held = Holding()
    site.run("getAvailableTemplates")
    site.aws.hooks.append(held)
    started = time.monotonic()
    running = [site.start("requestMachines", WANTED) for _ in range(8)]
    while held.met < 8:
        assert time.monotonic() - started < 10
        time.sleep(0.01)
    assert len({one.pid for one in running}) == 8
    assert all(alive(one.pid) for one in running)
    for one in running:
        one.kill()
    assert all(one.wait().killed for one in running)


def test_what_is_forked_ends_with_the_process_that_forks(tmp_path: Path) -> None:
    held = Holding()
    with StrictAws() as aws, Forks() as forks:
        aws.hooks.append(held)
        running = ForkedSite(tmp_path / "site", aws, forks).start("requestMachines", WANTED)
        while not held.met:
            time.sleep(0.01)
        assert alive(running.pid)
        forks.__exit__()
        assert not alive(running.pid)
        with pytest.raises(RuntimeError, match="has ended"):
            running.wait()


def test_the_clock_of_a_call_can_be_ahead(site: ForkedSite) -> None:
    site.pass_time(7200)
    request_id = site.request("OnDemand-Small", 1)
    created = datetime.fromisoformat(site.stored()[request_id]["created_at"])
    assert 7100 < (created - datetime.now(UTC)).total_seconds() <= 7200


@pytest.mark.parametrize(
    ("point", "requests", "intents", "sent"),
    [
        ("intent-written:before", 1, 0, 0),
        ("intent-written:after", 1, 1, 0),
        ("call-sent:before", 1, 1, 0),
        ("call-answered:before", 1, 1, 1),
        ("call-answered:after", 1, 1, 1),
        ("storage-file-replaced:before", 0, 0, 0),
    ],
)
def test_a_call_dies_at_the_fault_point(site: ForkedSite, point: str, requests: int, intents: int, sent: int) -> None:
    site.run("getAvailableTemplates")
    ended = site.call("requestMachines", WANTED, kill=fault_point(point))
    assert ended.killed
    assert not ended.stdout
    assert len(site.stored()) == requests
    assert len(list((site.data / "journal").glob("*.json"))) == intents
    assert len(site.aws.calls) == sent


def test_a_call_on_the_wire_is_done_though_nobody_waits_for_it(site: ForkedSite) -> None:
    assert site.call("requestMachines", WANTED, kill=fault_point("call-sent:after"), nth=2).killed
    end = time.monotonic() + 10
    while len(site.aws.calls) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert site.aws.calls[1].operation == "RunInstances"


def test_a_fault_point_that_is_not_reached_kills_nothing(site: ForkedSite) -> None:
    ended = site.call("getAvailableTemplates", kill=fault_point("call-sent:before"))
    assert ended.code == 0
    assert ended.answer["templates"]


def test_fault_points_are_counted(site: ForkedSite) -> None:
    met = site.call("requestMachines", WANTED, count=True).met
    assert list(met) == [point.name for point in FAULT_POINTS]
    assert met["call-sent:before"] == met["call-answered:after"] == len(site.aws.calls)
    assert met["archive-appended:before"] == 0


def test_every_fault_point_has_a_function_that_is_there_and_a_name_of_its_own() -> None:
    for point in FAULT_POINTS:
        holder, name = point.resolve()
        assert callable(getattr(holder, name))
    assert len({point.name for point in FAULT_POINTS}) == len(FAULT_POINTS)


@pytest.mark.parametrize("target", ["hfcore.nowhere:main", "hfcore.cli:nothing", "hfcore.cli:GROUP", "hfcore.cli"])
def test_a_fault_point_without_function_is_an_error(target: str) -> None:
    with pytest.raises(LookupError, match="fault point gone"):
        FaultPoint(name="gone", meaning="", target=target, edge="enter").resolve()


def test_an_unknown_fault_point_is_an_error() -> None:
    with pytest.raises(KeyError):
        fault_point("intent-written")
