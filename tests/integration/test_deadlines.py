"""Deadlines, pending machines, refused capacity and live truth, for every provider API on the strict AWS."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hfcore.files import FileLock
from hfcore.storefolder import LOCK_FILE
from hfcore.testing.audit import audit
from hfcore.testing.aws import StrictAws
from hfcore.testing.site import CASES, Case, Document, ForkedSite, judged
from hfcore.testing.site import templates as templates_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.testing.forks import Forks

MINUTE = 60.0
DEADLINE = 30 * MINUTE
BOOT = 20.0
NEVER = 1e6
STOPPING = {"SuspendProcesses", "DeleteFleets", "CancelSpotFleetRequests"}

TRY = " (AWS has no more such machines there now: nothing, or name more vmTypes or subnets in other zones)"
ON_DEMAND = "We currently do not have sufficient m5.large capacity in the Availability Zone you requested (us-east-1a)."
SPOT = "There is no Spot capacity available that matches your request."
REASONS = {
    "RunInstances": "InsufficientInstanceCapacity (t3.medium {subnet} on demand): 1 of 3 machines launched" + TRY,
    "ASG": f"InsufficientInstanceCapacity: {ON_DEMAND} Launching EC2 instance failed." + TRY,
    "EC2Fleet-instant": f"InsufficientInstanceCapacity (m5.large us-east-1a spot): {SPOT}" + TRY,
    "EC2Fleet-request": f"InsufficientInstanceCapacity: {ON_DEMAND}" + TRY,
    "EC2Fleet-maintain": f"InsufficientInstanceCapacity: {ON_DEMAND}" + TRY,
    "SpotFleet": f"InsufficientInstanceCapacity: {SPOT}" + TRY,
}
"""Code and sentence of a shortfall, as each API tells it: in its answer, by its history or by its activities."""


@pytest.fixture(scope="module")
def aws() -> Iterator[StrictAws]:
    with StrictAws(boot_seconds=BOOT, shutdown_seconds=0, aged_out_seconds=NEVER) as found:
        yield found


@pytest.fixture
def boot() -> float:
    """Give the seconds for which a machine pends."""
    return BOOT


@pytest.fixture
def site(aws: StrictAws, forks: Forks, tmp_path: Path, boot: float) -> Iterator[ForkedSite]:
    aws.world.timings = replace(aws.world.timings, boot_seconds=boot)
    aws.reset()
    found = ForkedSite(tmp_path / "site", aws, forks)
    yield found
    findings = audit(aws, found.data, datetime.now(UTC) + timedelta(seconds=found.ahead))
    assert not findings, "\n".join(map(str, findings))
    assert not aws.violations


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


def results(answer: Document) -> list[str]:
    return [one["result"] for one in answer["machines"]]


def stops(site: ForkedSite) -> int:
    return sum(call.operation in STOPPING for call in site.aws.calls)


def test_at_the_deadline_what_runs_is_kept_and_the_rest_is_said_to_be_missing_and_why(
    site: ForkedSite, name: str, case: Case
) -> None:
    site.aws.set_capacity(*case.pool, 1)
    request_id = site.request(case.template_id, 3)
    site.pass_time(DEADLINE - 10)
    early = site.status(request_id)
    assert early["status"] == ("running" if case.fills_later else "complete_with_error")
    assert stops(site) == 0
    site.pass_time(20)
    answer = site.status(request_id)
    why = "the deadline has passed" if case.fills_later else "nothing more will come"
    reason = REASONS[name].format(subnet=next(iter(site.aws.region().subnets)))
    assert answer["message"] == f"1 unit of 3 on 1 running machine, {why}: {reason}"
    assert (answer["status"], results(answer)) == ("complete_with_error", ["succeed"])
    assert stops(site) == (1 if case.fills_later else 0)
    site.aws.set_capacity(*case.pool, None)
    site.pass_time(20 * MINUTE)
    assert len(site.live()) == 1  # nothing comes any more


def test_capacity_refused_at_once_ends_the_request_at_once_with_what_there_is(site: ForkedSite) -> None:
    for name in ("RunInstances", "EC2Fleet-instant"):
        case = CASES[name]
        site.aws.set_capacity(*case.pool, 2)
        request_id = site.request(case.template_id, 3)
        site.pass_time(BOOT / 2)
        assert site.status(request_id)["status"] == "running"  # what pends may still fail
        site.pass_time(BOOT)
        answer = site.status(request_id)
        assert (answer["status"], results(answer)) == ("complete_with_error", ["succeed"] * 2)
        assert "InsufficientInstanceCapacity" in answer["message"]


@pytest.mark.parametrize("boot", [NEVER])
def test_a_machine_that_pends_too_long_is_ended_and_has_failed(site: ForkedSite, case: Case) -> None:
    request_id = site.request(case.template_id, 1)
    site.pass_time(100)
    assert results(site.status(request_id)) == ["executing"]
    (first,) = site.live()
    site.pass_time(100)
    answer = site.status(request_id)
    (machine,) = [one for one in answer["machines"] if one["machineId"] == first]
    assert (machine["result"], machine["message"]) == ("fail", "it was pending for longer than 180 s")
    assert first not in site.live()
    site.pass_time(DEADLINE)
    answer = site.status(request_id)
    assert answer["status"] == "complete_with_error"
    assert "it was pending for longer than 180 s" in answer["message"]
    site.status(request_id)
    assert site.live() == set()


def test_a_completed_request_shows_what_aws_has_now_and_stays_complete(site: ForkedSite, case: Case) -> None:
    request_id = site.request(case.template_id, 3)
    site.pass_time(BOOT + 10)
    machines = site.poll_until(request_id)["machines"]
    site.status(request_id)
    dead, stopped, moved = (one["machineId"] for one in machines)
    site.aws.kill(dead)
    with site.aws.locked() as world:
        world.instance(stopped)._change("stopped")
        world.instance(moved)._change("running", PublicIpAddress="54.0.0.9")
    site.pass_time(5)
    before = len(site.aws.calls)
    answer = site.status(request_id)
    assert [call.operation for call in site.aws.calls[before:]] == ["DescribeInstances"]
    shown = {one["machineId"]: (one["status"], one["result"]) for one in answer["machines"]}
    assert shown == {dead: ("terminated", "fail"), stopped: ("stopped", "fail"), moved: ("running", "succeed")}
    assert [one["publicIpAddress"] for one in answer["machines"] if one["machineId"] == moved] == ["54.0.0.9"]
    with site.aws.locked() as world:
        world.instance(stopped)._change("running")
        world.instance(moved)._change("running", PublicIpAddress=None)
    answer = site.status(request_id)
    assert answer["status"] == "complete"
    assert {one["machineId"]: one["result"] for one in answer["machines"]}[stopped] == "succeed"
    assert [one["publicIpAddress"] for one in answer["machines"] if one["machineId"] == moved] == [""]


def test_calls_at_once_never_exceed_max_number_and_the_refused_are_told_the_figures(site: ForkedSite) -> None:
    templates = [one | {"maxNumber": 5} for one in templates_of(site.aws)]
    site.put("prov_templates.json", {"templates": templates})
    asked = {"template": {"templateId": "OnDemand-Small", "machineCount": 2}}
    calls = [site.start("requestMachines", asked) for _ in range(6)]
    ended = [call.wait() for call in calls]
    answers = [judged("requestMachines", one.code, one.stdout, one.stderr, one.seconds) for one in ended]
    assert sorted(one.code for one in answers) == [0, 0, 1, 1, 1, 1]
    assert len(site.live()) == 4
    for one in answers:
        if one.code:
            assert re.search(r"2 asked, \d live, \d expected, 5 at most \(maxNumber\)", one.message), one.message
    site.statuses(*(one.answer["requestId"] for one in answers if not one.code))


def test_max_number_0_is_listed_and_refuses_all_and_minus_1_is_no_limit(site: ForkedSite) -> None:
    limits = {"OnDemand-Small": 0, "Group": -1}
    templates = [one | {"maxNumber": limits.get(one["templateId"], 9)} for one in templates_of(site.aws)]
    site.put("prov_templates.json", {"templates": templates})
    listed = {one["templateId"]: one["maxNumber"] for one in site.run("getAvailableTemplates", {}).answer["templates"]}
    assert (listed["OnDemand-Small"], listed["Group"]) == (0, -1)
    refused = site.run("requestMachines", {"template": {"templateId": "OnDemand-Small", "machineCount": 1}})
    assert (refused.code, site.aws.calls) == (1, [])
    assert "1 asked, 0 live, 0 expected, 0 at most (maxNumber)" in refused.message
    request_id = site.request("Group", 500)
    site.pass_time(BOOT + 10)
    assert len(site.poll_until(request_id)["machines"]) == 500


def test_the_list_of_templates_stays_whole_while_aws_is_down_and_the_store_is_locked(site: ForkedSite) -> None:
    site.status(site.request("OnDemand-Small", 1))
    whole = site.run("getAvailableTemplates", {}).answer["templates"]
    site.aws.faults.add("unavailable")
    (site.work / "cache" / "templates.json").unlink()
    with FileLock(site.data / LOCK_FILE, 5.0):
        assert site.run("getAvailableTemplates", {}).answer["templates"] == whole
    site.aws.faults.clear()
