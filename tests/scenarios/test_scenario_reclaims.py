"""getReturnRequests: each host that AWS takes or has taken back is named until it is returned, and then never again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hfcore.testing.site import CASES, Case
from tests.scenarios.conftest import ENOUGH, Scene

if TYPE_CHECKING:
    from pathlib import Path

    from hfcore.testing.aws import StrictAws
    from hfcore.testing.forks import Forks
    from hfcore.testing.site import Document

NOTICE, HOUR = 120, 3600
NOBODYS = "i-0123456789abcdef0"
QUESTIONS = {"DescribeInstances": 1, "DescribeInstanceStatus": 1, "DescribeSpotInstanceRequests": 1}
"""The most that is asked while nothing has ended: of all that lives, whatever APIs launched it."""


def grace(named: dict[str, Document]) -> dict[str, int]:
    return {machine_id: one["gracePeriod"] for machine_id, one in named.items()}


def see_that_it_is_named_until_it_is_returned(scene: Scene, machine_id: str) -> None:
    for _ in range(2):
        assert grace(scene.reclaims()) == {machine_id: 0}
    returned = scene.returned(machine_id)
    assert scene.reclaims() == {}
    assert scene.poll(returned)["status"] == "complete"
    assert scene.reclaims() == {}
    assert scene.reclaims([{"machineId": one} for one in (machine_id, *scene.live())]) == {}


def test_a_spot_notice_gives_what_remains_of_it_until_the_host_is_returned(scene: Scene, case: Case) -> None:
    scene.offer(priceType="spot")
    _, (taken, *others) = scene.running(case)
    assert scene.reclaims() == {}
    scene.aws.reclaim(taken)
    with scene.counted() as made:
        named = scene.reclaims()
    assert made == QUESTIONS
    assert NOTICE - 10 <= named[taken]["gracePeriod"] <= NOTICE
    assert "instance-terminated-no-capacity" in named[taken]["message"]
    scene.pass_time(50)
    again = scene.reclaims()
    assert list(again) == [taken]
    assert NOTICE - 60 <= again[taken]["gracePeriod"] <= NOTICE - 50
    assert scene.live() == {taken, *others}, "it still runs"
    scene.pass_time(NOTICE)
    assert "instance-terminated-no-capacity" in scene.reclaims()[taken]["message"]
    see_that_it_is_named_until_it_is_returned(scene, taken)
    assert scene.live() == set(others)


def test_a_host_that_is_returned_at_its_notice_is_never_named_again(scene: Scene, settled: Case) -> None:
    scene.offer(priceType="spot")
    _, (taken, *others) = scene.running(settled)
    scene.aws.reclaim(taken)
    assert list(scene.reclaims()) == [taken]
    returned = scene.returned(taken)
    assert scene.reclaims() == {}
    assert scene.poll(returned)["status"] == "complete"
    assert scene.reclaims() == {}
    assert scene.live() == set(others)


def test_a_retirement_is_named_with_the_time_that_is_left(scene: Scene, case: Case) -> None:
    _, (retired, stopped, _) = scene.running(case)
    scene.aws.schedule_event(retired, "instance-retirement", 2 * HOUR)
    scene.aws.schedule_event(stopped, "instance-stop", HOUR)
    scene.pass_time(HOUR / 2)
    left = grace(scene.reclaims())
    assert left.keys() == {retired, stopped}
    assert 1.5 * HOUR - 10 <= left[retired] <= 1.5 * HOUR
    assert HOUR / 2 - 10 <= left[stopped] <= HOUR / 2
    scene.poll(scene.returned(retired, stopped))
    assert scene.reclaims() == {}


@pytest.mark.parametrize("seconds", [5, ENOUGH, 2 * HOUR], ids=["ending", "gone", "forgotten"])
def test_a_host_that_was_ended_from_outside_is_named_until_it_is_returned(
    scene: Scene, settled: Case, seconds: float
) -> None:
    request_id, (dead, *others) = scene.running(settled)
    scene.aws.kill(dead, "Server.InternalError")
    scene.pass_time(seconds)
    with scene.counted() as made:
        named = scene.reclaims()
    assert named[dead]["message"].startswith("Server.InternalError" if seconds < HOUR else "the cloud no longer knows")
    assert made["DescribeInstances"] <= 4, (
        "all that lives, the lost one by id, and what a poll asks, which AWS refuses once"
    )
    with scene.counted() as made:
        see_that_it_is_named_until_it_is_returned(scene, dead)
    assert "TerminateInstances" not in made
    assert scene.status(request_id)["status"] == "complete"
    assert scene.live() == set(others)


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one.refills])
def test_a_host_that_an_open_request_has_replaced_is_named_and_its_return_ends_no_other(
    scene: Scene, name: str
) -> None:
    case = CASES[name]
    scene.aws.set_capacity(*case.pool, 2)
    request_id = scene.request(case.template_id, 3)
    scene.pass_time(1)
    dead, other = (one["machineId"] for one in scene.status(request_id)["machines"])
    scene.aws.kill(dead)
    scene.pass_time(ENOUGH)
    assert grace(scene.reclaims()) == {dead: 0}
    assert scene.poll(scene.returned(dead))["status"] == "complete"
    assert other in scene.live()
    assert len(scene.live()) == 2
    scene.status(request_id)
    assert scene.reclaims() == {}


@pytest.mark.parametrize("sign", ["Terminating", "Unhealthy"])
def test_a_member_that_its_group_is_ending_is_named_while_it_still_runs(scene: Scene, sign: str) -> None:
    case = CASES["ASG"]
    scene.aws.set_capacity(*case.pool, 2)
    request_id = scene.request(case.template_id, 3)
    scene.pass_time(1)
    taken, _ = (one["machineId"] for one in scene.status(request_id)["machines"])
    with scene.aws.locked() as world:
        member = world.instance(taken)
        if sign == "Unhealthy":
            member.healthy = False
        else:  # as in Terminating:Wait, before EC2 is told
            member.leaving = {"StatusCode": "InProgress"}
    with scene.counted() as made:
        named = scene.reclaims()
    assert grace(named) == {taken: 0}
    assert named[taken]["message"] == f"{sign}: its Auto Scaling group is ending it"
    assert made == {"DescribeInstances": 1, "DescribeInstanceStatus": 1, "DescribeAutoScalingGroups": 1}
    scene.returned(taken)
    assert scene.reclaims() == {}


def test_our_own_returns_are_never_named_while_they_end_or_afterwards(scene: Scene, settled: Case) -> None:
    _, (one, *others) = scene.running(settled)
    returned = scene.returned(one)
    for seconds in (0, 5, ENOUGH):
        scene.pass_time(seconds)
        assert scene.reclaims() == {}
        assert scene.reclaims([{"machineId": each} for each in (one, *others)]) == {}
    assert scene.status(returned)["status"] == "complete"
    assert scene.reclaims([{"machineId": one}]) == {}


@pytest.mark.parametrize("timings", [{"boot_seconds": 1e6}])
def test_a_machine_that_was_ended_for_pending_too_long_is_not_named(scene: Scene) -> None:
    """Host Factory was told that it has failed, and never had it."""
    request_id = scene.request("OnDemand-Small", 1)
    scene.pass_time(200)
    scene.status(request_id)
    assert scene.live() == set()
    for seconds in (5, 60):
        scene.pass_time(seconds)
        assert scene.reclaims() == {}
    scene.status(request_id)


@pytest.mark.parametrize("by", ["name", "machineId", "both"])
def test_only_hosts_that_host_factory_asks_about_are_named(scene: Scene, by: str) -> None:
    request_id, (first, second, _) = scene.running(CASES["RunInstances"])
    names = {one["machineId"]: one["name"] for one in scene.status(request_id)["machines"]}
    for one in (first, second):
        scene.aws.kill(one)
    scene.pass_time(ENOUGH)
    assert set(scene.reclaims([])) == set(scene.reclaims()) == {first, second}
    keys = ("name", "machineId") if by == "both" else (by,)
    given = {"name": names[first], "machineId": first}
    named = scene.reclaims([{key: given[key] for key in keys}])
    assert {machine_id: one["machine"] for machine_id, one in named.items()} == {first: names[first]}


def test_all_apis_together_are_asked_about_by_the_same_few_questions(scene: Scene) -> None:
    machines = {name: scene.running(one, 2)[1] for name, one in CASES.items()}
    with scene.counted() as made:
        assert scene.reclaims() == {}
    assert made == QUESTIONS
    dead = {its[0] for its in machines.values()}
    for one in dead:
        scene.aws.kill(one)
    scene.pass_time(ENOUGH)
    with scene.counted() as made:
        assert set(scene.reclaims()) == dead
    assert made.total() <= 3 + 4, "and one for each plug-in, by id, for those that are no longer alive"
    with scene.counted() as made:
        assert set(scene.reclaims()) == dead
    assert made == QUESTIONS, "what has ended is not asked about again"
    scene.poll(scene.returned(*dead))
    assert scene.reclaims() == {}


def test_nothing_is_named_and_it_is_said_why_while_aws_can_not_be_asked(scene: Scene) -> None:
    _, (dead, _) = scene.running(CASES["RunInstances"], 2)
    scene.aws.kill(dead)
    scene.pass_time(ENOUGH)
    scene.aws.faults.add("error:UnauthorizedOperation:DescribeInstances")
    ran = scene.run("getReturnRequests", {})
    assert ran.answer["requests"] == []
    assert "UnauthorizedOperation" in ran.message
    scene.aws.faults.clear()
    assert list(scene.reclaims()) == [dead]


# Hosts that no record names


def test_a_host_that_is_not_in_the_store_is_asked_of_aws_before_it_is_called_gone(scene: Scene) -> None:
    scene.running(CASES["RunInstances"], 1)
    asked = [{"machineId": NOBODYS, "name": "ip-10-9-9-9.ec2.internal"}, {"machineId": "vm-7"}]
    with scene.counted() as made:
        named = scene.reclaims(asked)
    assert named[NOBODYS]["machine"] == "ip-10-9-9-9.ec2.internal"
    assert grace(named) == {NOBODYS: 0, "vm-7": 0}
    assert made["DescribeInstances"] <= 2
    returned = scene.returned(NOBODYS)
    assert scene.status(returned)["status"] == "complete"
    assert scene.reclaims() == {}


def test_a_host_that_lives_and_is_not_in_the_store_is_not_named(
    scene: Scene, tmp_path: Path, aws: StrictAws, forks: Forks
) -> None:
    neighbour = Scene(tmp_path / "neighbour", aws, forks)
    _, (theirs,) = neighbour.running(CASES["ASG"], 1)
    _, (ours,) = scene.running(CASES["RunInstances"], 1)
    assert scene.reclaims([{"machineId": theirs}, {"machineId": ours}]) == {}


def test_a_host_given_by_its_name_alone_is_named_only_if_no_instance_has_that_name(
    scene: Scene, tmp_path: Path, aws: StrictAws, forks: Forks
) -> None:
    neighbour = Scene(tmp_path / "neighbour", aws, forks)
    neighbour.running(CASES["ASG"], 1)
    _, (ours,) = scene.running(CASES["RunInstances"], 1)
    names = [one["name"] for one in (*neighbour.machines().values(), *scene.machines().values())]
    hosts = [{"name": name} for name in (*names, "ip-10-9-9-9.ec2.internal", "ip-10-*")]
    with scene.counted() as made:
        requests = scene.run("getReturnRequests", {"machines": hosts}).answer["requests"]
    assert [(one["machine"], one["gracePeriod"]) for one in requests] == [("ip-10-9-9-9.ec2.internal", 0)]
    assert "machineId" not in requests[0], "an id is not made up"
    assert made["DescribeInstances"] <= 2
    scene.poll(scene.returned(ours))
    assert scene.run("getReturnRequests", {"machines": hosts[1:2]}).answer["requests"] == []


def test_an_unknown_host_is_not_called_gone_while_aws_can_not_be_asked(scene: Scene) -> None:
    _, (ours,) = scene.running(CASES["RunInstances"], 1)
    scene.aws.faults.add("error:UnauthorizedOperation:DescribeInstances")
    ran = scene.run("getReturnRequests", {"machines": [{"machineId": NOBODYS}, {"machineId": ours}]})
    assert ran.answer["requests"] == []
    assert "1 unknown host" in ran.message


def test_an_unknown_host_is_not_called_gone_by_another_account(scene: Scene) -> None:
    _, (ours,) = scene.running(CASES["RunInstances"], 1)
    scene.aws.faults.add("other-account")
    ran = scene.run("getReturnRequests", {"machines": [{"machineId": NOBODYS}, {"machineId": ours}]})
    assert ran.answer["requests"] == []
    scene.aws.faults.clear()
    assert set(scene.reclaims([{"machineId": NOBODYS}, {"machineId": ours}])) == {NOBODYS}


def test_a_host_whose_record_has_gone_to_the_archive_is_named_if_host_factory_still_has_it(scene: Scene) -> None:
    scene.put("prov_config.json", {"AWS_REGION": "us-east-1", "retention_hours": 1})
    request_id, (dead,) = scene.running(CASES["RunInstances"], 1)
    scene.aws.kill(dead)
    scene.pass_time(ENOUGH)
    scene.status(request_id)
    scene.pass_time(48 * HOUR)
    scene.running(CASES["RunInstances"], 1)
    assert request_id not in scene.stored()
    assert set(scene.reclaims([{"machineId": dead}])) == {dead}
