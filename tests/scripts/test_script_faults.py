"""What the scripts answer when AWS refuses, throttles, fails, hangs or can't be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.scripts.conftest import Case, Site

TEMPLATES = ("OnDemand-Small", "Group", "Fleet-Instant", "Fleet-Request", "Fleet-Maintain", "Spot-Plain")
CALL_TIMEOUT = 30
CALL_TIMEOUT_OF_SILENCE = 16  # of which an attempt takes a quarter
QUICK = {"HFCORE_CALL_TIMEOUT_SEC": str(CALL_TIMEOUT)}
START_UP = 3.0  # a process on a busy machine
HOUR = 3600
REFUSED = "error:UnauthorizedOperation"
FAULTS = {
    "UnauthorizedOperation": REFUSED,
    "AccessDenied": "error:AccessDenied",
    "RequestLimitExceeded": "error:RequestLimitExceeded",
    "InternalError": "error:InternalError",
    "ConnectionClosedError": "reset",
    "ReadTimeoutError": "timeout",
}


@pytest.fixture(scope="module")
def pending(make_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, dict[str, Any]]:
    """Give an instance with an open request of each form, the machines of which are known and boot for an hour."""
    site = make_site(tmp_path_factory.mktemp("pending") / "site", boot_seconds=HOUR)
    requests = [site.request(template_id) for template_id in TEMPLATES]
    while len(site.live()) < 2 * len(TEMPLATES):
        site.aws.advance(0.1)
    before = {one["requestId"]: one for one in site.statuses(*requests)}
    assert {one["status"] for one in before.values()} == {"running"}
    assert [len(one["machines"]) for one in before.values()] == [2] * len(TEMPLATES)
    return site, before


@pytest.fixture
def broken(pending: tuple[Site, dict[str, Any]]) -> Iterator[Callable[..., None]]:
    site, _ = pending
    yield site.aws.faults.add
    site.aws.faults.clear()


def check_still_running(site: Site, before: dict[str, Any], code: str, env: dict[str, str]) -> None:
    """Poll, and check that every request is running, with the machines known so far and the fault."""
    on_disk, mutations = site.on_disk(), len(site.mutations())
    ran = site.run("getRequestStatus", {"requests": [{"requestId": one} for one in before]}, env=env)
    assert ran.code == 0
    for answer in ran.answer["requests"]:
        assert (answer["status"], answer["machines"]) == ("running", before[answer["requestId"]]["machines"])
        assert code in answer["message"]
    assert ran.seconds < float(env["HFCORE_CALL_TIMEOUT_SEC"]) + START_UP
    assert len(site.mutations()) == mutations
    assert site.on_disk() == on_disk


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_of_aws_at_a_poll_leaves_requests_running_with_the_machines_known_so_far(
    pending: tuple[Site, dict[str, Any]], broken: Callable[..., None], code: str
) -> None:
    site, before = pending
    broken(FAULTS[code])
    most = CALL_TIMEOUT_OF_SILENCE if code == "ReadTimeoutError" else CALL_TIMEOUT
    check_still_running(site, before, code, {"HFCORE_CALL_TIMEOUT_SEC": str(most)})


def test_an_aws_that_can_not_be_reached_at_a_poll_leaves_requests_running(
    pending: tuple[Site, dict[str, Any]], closed_port: dict[str, str]
) -> None:
    site, before = pending
    check_still_running(site, before, "EndpointConnectionError", closed_port | QUICK)


def test_credentials_that_are_missing_at_a_poll_leave_requests_running(pending: tuple[Site, dict[str, Any]]) -> None:
    site, before = pending
    without = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(site.folder)}
    check_still_running(site, before, "NoCredentialsError", without | QUICK)


def test_a_fault_of_one_service_is_told_for_its_requests_alone(
    pending: tuple[Site, dict[str, Any]], broken: Callable[..., None]
) -> None:
    site, before = pending
    broken(f"{REFUSED}:DescribeAutoScalingGroups")
    answers = dict(zip(TEMPLATES, site.statuses(*before), strict=True))
    assert "UnauthorizedOperation" in answers["Group"].pop("message")
    assert {template_id for template_id, one in answers.items() if "Unauthorized" in one.get("message", "")} == set()
    assert [one["machines"] for one in answers.values()] == [one["machines"] for one in before.values()]


def test_a_fault_at_a_poll_of_a_return_leaves_it_running_and_the_machine_is_not_called_gone(
    site: Site,
) -> None:
    _, machines = site.complete("OnDemand-Small", 1)
    site.aws.faults.add(REFUSED)
    return_id = site.give_back({"machineId": machines[0]["machineId"]})
    answer = site.status(return_id)
    assert (answer["status"], answer["machines"][0]["result"]) == ("running", "executing")
    assert "UnauthorizedOperation" in answer["message"]
    assert site.live() == {machines[0]["machineId"]}
    site.aws.faults.clear()
    site.status(return_id)
    assert site.live() == set(), "what was refused is tried again at the next poll"


def test_a_refusal_at_a_request_is_exit_1_with_the_code_of_aws_and_nothing_is_made(site: Site, case: Case) -> None:
    site.aws.faults.add(f"{REFUSED}:{','.join(case.creates)}")
    asked = {"template": {"templateId": case.template_id, "machineCount": 2}}
    ran = site.run("requestMachines", asked)
    assert ran.code == 1
    assert "UnauthorizedOperation" in ran.message
    site.aws.faults.clear()
    site.aws.advance(HOUR)
    region = site.aws.region()
    assert [*site.live(), *region.groups, *region.fleets, *region.spot_fleets] == []
    assert {one["status"] for one in site.stored().values()} <= {"failed"}
    (listed,) = (
        one for one in site.run("getAvailableTemplates").answer["templates"] if one["templateId"] == case.template_id
    )
    assert listed["availableNumber"] == listed["maxNumber"], "the room is given back"


def test_an_aws_that_can_not_be_reached_at_a_request_is_exit_1(
    site: Site, closed_port: dict[str, str], case: Case
) -> None:
    asked = {"template": {"templateId": case.template_id, "machineCount": 2}}
    ran = site.run("requestMachines", asked, env=closed_port | QUICK)
    assert ran.code == 1
    assert "EndpointConnectionError" in ran.message
    assert ran.seconds < CALL_TIMEOUT + START_UP
    assert {one["status"] for one in site.stored().values()} <= {"failed"}


@pytest.mark.parametrize("template_id", ["OnDemand-Small", "Fleet-Instant"])
def test_no_capacity_at_all_at_a_request_is_exit_1_with_the_code_of_aws(site: Site, template_id: str) -> None:
    for kind in ("t3.medium", "m5.large", "m5a.large"):
        for zone in ("us-east-1a", "us-east-1b"):
            for market in ("spot", "on-demand"):
                site.aws.set_capacity(kind, zone, market, 0)
    ran = site.run("requestMachines", {"template": {"templateId": template_id, "machineCount": 2}})
    assert ran.code == 1
    assert "Capacity" in ran.message
    assert site.live() == set()


def test_a_request_that_got_a_part_ends_with_an_error_and_the_reason_and_keeps_its_machines(site: Site) -> None:
    site.aws.set_capacity("t3.medium", "us-east-1a", "on-demand", 1)
    request_id = site.request("OnDemand-Small", 2)
    site.wait_for_running(1)
    answer = site.poll_until(request_id, "complete_with_error")
    assert [one["result"] for one in answer["machines"]] == ["succeed"]
    assert "InsufficientInstanceCapacity" in answer["message"]
    assert len(site.live()) == 1


@pytest.mark.parametrize("template_id", ["OnDemand-Small", "Group"])
def test_a_request_that_aws_carried_out_without_answering_is_not_made_twice(site: Site, template_id: str) -> None:
    site.aws.faults.add("reset-after:RunInstances,CreateAutoScalingGroup")
    request_id = site.request(template_id, 2)
    site.aws.faults.clear()
    site.wait_for_running(2)
    answer = site.poll_until(request_id)
    assert {one["machineId"] for one in answer["machines"]} == site.live()
    assert len(site.live()) == 2


def test_a_machine_that_dies_later_fails_alone_and_its_request_stays_complete(site: Site) -> None:
    request_id, machines = site.complete("OnDemand-Small", 2)
    dead, alive = (one["machineId"] for one in machines)
    site.aws.kill(dead)
    site.aws.advance(1)
    answer = site.status(request_id)
    assert answer["status"] == "complete"
    results = {one["machineId"]: (one["result"], one["message"]) for one in answer["machines"]}
    assert results[dead] == ("fail", "Client.InstanceInitiatedShutdown: died from outside")
    assert results[alive] == ("succeed", "")


def test_all_machines_missing_from_one_answer_are_not_called_gone(site: Site) -> None:
    request_id, machines = site.complete("OnDemand-Small", 2)
    site.aws.region().instances.clear()
    answer = site.status(request_id)
    assert answer["status"] == "complete"
    assert [one["result"] for one in answer["machines"]] == ["succeed", "succeed"]
    assert "none of 2 machines" in answer["message"]
    reclaims = site.run("getReturnRequests", {})
    assert (reclaims.code, reclaims.answer["requests"]) == (0, [])
    assert {one["machineId"] for one in machines} == set(site.machines())
