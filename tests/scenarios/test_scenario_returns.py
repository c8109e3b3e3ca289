"""Returns as Host Factory makes them: exactly the machines named, whatever their API, number and state."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.aws.instances import launch
from hfcore.testing.site import CASES
from tests.scenarios.conftest import ENOUGH, Scene, results

if TYPE_CHECKING:
    from pathlib import Path

    from hfcore.testing.aws import StrictAws
    from hfcore.testing.forks import Forks
    from hfcore.testing.site import Case

GOING, GONE = ("shutting-down", "executing"), ("terminated", "succeed")
REFUSED = ("running", "executing")
WAYS = {
    "ASG": {"DescribeAutoScalingGroups": 1, "TerminateInstanceInAutoScalingGroup": 1},
    "EC2Fleet-maintain": {"ModifyFleet": 1, "TerminateInstances": 1},
}
"""How a machine leaves what would replace it; all others are simply ended."""

NOBODYS = "i-0123456789abcdef0"


def stops(scene: Scene) -> list[str]:
    """Give what was called that ends machines or lowers a target."""
    wanted = ("Terminate", "Modify", "Detach", "SetDesired")
    return [one.operation for one in scene.mutations() if one.operation.startswith(wanted)]


def keep_records(scene: Scene, copy: Path) -> None:
    shutil.copytree(scene.data, copy)


def bring_back_records(scene: Scene, copy: Path) -> None:
    shutil.rmtree(scene.data)
    shutil.copytree(copy, scene.data)


def forget(scene: Scene, request_id: str, *machine_ids: str) -> None:
    """Take machines out of the records, as an older copy lacks them."""
    requests, machines = scene.stored(), scene.machines()
    its = requests[request_id]
    its["machine_ids"] = [one for one in its["machine_ids"] if one not in machine_ids]
    left = {key: one for key, one in machines.items() if key not in machine_ids}
    for name, records in (("machines.json", left), ("storage.json", requests)):
        (scene.data / name).write_text(json.dumps(records))


def protect(scene: Scene, machine_id: str, *, on: bool) -> None:
    with scene.aws.locked() as world:
        one = world.instance(machine_id)
        one.plan = replace(one.plan, params={**one.plan.params, "DisableApiTermination": on})


# Settled requests: TerminateInstances alone


def test_a_return_of_one_ends_that_one_by_one_call_and_follows_it_to_its_end(scene: Scene, case: Case) -> None:
    request_id, (one, *others) = scene.running(case)
    with scene.counted() as made:
        returned = scene.returned(one)
    assert made == {"TerminateInstances": 1}
    with scene.counted() as made:
        answer = scene.status(returned)
    assert (answer["status"], results(answer)) == ("running", {one: GOING})
    assert made == {"DescribeInstances": 1}
    with scene.counted() as made:
        answer = scene.poll(returned)
    assert (answer["status"], results(answer)) == ("complete", {one: GONE})
    assert made == {"DescribeInstances": 1}
    with scene.counted() as made:
        assert scene.status(returned)["status"] == "complete"
    assert made == {}
    scene.pass_time(3600)
    assert scene.live() == set(others), "nothing comes in its place"
    answer = scene.status(request_id)
    assert (answer["status"], results(answer)[one]) == ("complete", GONE)


def test_a_return_of_all_leaves_nothing_that_stands(scene: Scene, case: Case) -> None:
    request_id, machines = scene.running(case)
    returned = scene.returned(*machines)
    answer, of_request = scene.statuses(returned, request_id)
    assert (answer["status"], set(results(answer).values())) == ("running", {GOING})
    scene.pass_time(ENOUGH)
    with scene.counted() as made:
        answer, of_request = scene.statuses(returned, request_id)
    assert (answer["status"], of_request["status"]) == ("complete", "complete")
    assert made.total() <= 4, made
    scene.nothing_stands()


def test_a_return_of_nothing_is_complete_at_once_and_asks_aws_nothing(scene: Scene) -> None:
    with scene.counted() as made:
        answer = scene.status(scene.give_back([]))
    assert (answer["status"], answer["machines"], made) == ("complete", [], {})


def test_a_repeated_return_ends_nothing_twice_and_follows_the_same_machine(scene: Scene, settled: Case) -> None:
    _, (one, *others) = scene.running(settled)
    first = scene.returned(one)
    with scene.counted() as made:
        second = scene.returned(one)
    assert made == {}
    for answer in scene.statuses(first, second):
        assert (answer["status"], results(answer)) == ("running", {one: GOING})
    scene.pass_time(ENOUGH)
    for answer in scene.statuses(first, second):
        assert (answer["status"], results(answer)) == ("complete", {one: GONE})
    third = scene.returned(one)
    assert scene.status(third)["status"] == "complete"
    assert stops(scene) == ["TerminateInstances"]
    assert scene.live() == set(others)


def test_a_machine_that_has_gone_by_itself_is_returned_beside_one_that_lives(scene: Scene, settled: Case) -> None:
    _, (dead, alive, kept) = scene.running(settled)
    scene.aws.kill(dead)
    scene.pass_time(ENOUGH)
    answer = scene.poll(scene.returned(dead, alive))
    assert (answer["status"], results(answer)) == ("complete", {dead: GONE, alive: GONE})
    assert scene.live() == {kept}


def test_a_machine_that_aws_no_longer_knows_is_gone_and_holds_back_no_other(scene: Scene, settled: Case) -> None:
    _, (forgotten, alive, kept) = scene.running(settled)
    scene.aws.kill(forgotten)
    scene.pass_time(2 * 3600)
    answer = scene.poll(scene.returned(forgotten, alive))
    assert (answer["status"], results(answer)) == ("complete", {forgotten: GONE, alive: GONE})
    assert scene.live() == {kept}


def test_machines_whose_end_nobody_polled_have_ended_though_aws_no_longer_knows_them(
    scene: Scene, settled: Case
) -> None:
    _, machines = scene.running(settled)
    returned = scene.returned(*machines)
    answer = scene.poll(returned, after=2 * 3600)
    assert (answer["status"], set(results(answer).values())) == ("complete", {GONE})


def test_machines_of_all_apis_are_returned_in_one_call(scene: Scene) -> None:
    kept, going = set(), []
    for case in CASES.values():
        _, (one, other) = scene.running(case, 2)
        kept.add(other)
        going.append(one)
    with scene.counted() as made:
        returned = scene.returned(*going)
    assert made == {"TerminateInstances": 4}, "one for each plug-in"
    scene.pass_time(ENOUGH)
    with scene.counted() as made:
        answer = scene.status(returned)
    assert (answer["status"], results(answer)) == ("complete", dict.fromkeys(going, GONE))
    assert made == {"DescribeInstances": 4}
    assert scene.live() == kept


def test_five_thousand_machines_are_returned_by_five_calls(scene: Scene) -> None:
    scene.offer(maxNumber=10_000)
    _, (kept, *machines) = scene.running(CASES["EC2Fleet-instant"], 5001)
    with scene.counted() as made:
        returned = scene.returned(*machines)
    assert made == {"TerminateInstances": 5}
    scene.pass_time(ENOUGH)
    with scene.counted() as made:
        answer = scene.status(returned)
    assert (answer["status"], set(results(answer).values())) == ("complete", {GONE})
    assert made == {"DescribeInstances": 5}
    assert len(answer["machines"]) == 5000
    assert scene.live() == {kept}


# Before the request has settled


@pytest.mark.parametrize("timings", [{"boot_seconds": 100.0}])
def test_a_machine_that_is_still_pending_is_returned_and_none_comes_instead(scene: Scene, case: Case) -> None:
    request_id = scene.request(case.template_id, 3)
    scene.pass_time(1)
    one, *others = (each["machineId"] for each in scene.status(request_id)["machines"])
    returned = scene.returned(one)
    assert results(scene.status(returned)) == {one: GOING}
    request, answer = (scene.poll(request_id), scene.status(returned))
    assert (answer["status"], results(answer)) == ("complete", {one: GONE})
    assert (request["status"], results(request)[one]) == ("complete", GONE)
    scene.pass_time(3600)
    assert scene.live() == set(others)
    assert len(scene.aws.world.instances()) == len(others), "what was returned is forgotten, and nothing came"


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one.fills_later])
def test_what_is_returned_before_the_rest_has_come_is_replaced_by_none(scene: Scene, name: str) -> None:
    case = CASES[name]
    scene.aws.set_capacity(*case.pool, 2)
    request_id = scene.request(case.template_id, 4)
    scene.pass_time(1)
    one, other = (each["machineId"] for each in scene.status(request_id)["machines"])
    scene.aws.set_capacity(*case.pool, 1)
    with scene.counted() as made:
        returned = scene.returned(one)
    assert made.pop("DescribeFleets", 0) <= (3 if name == "EC2Fleet-maintain" else 0)
    assert made == WAYS.get(name, {"TerminateInstances": 1})
    answer = scene.poll(returned)
    assert (answer["status"], results(answer)) == ("complete", {one: GONE})
    assert scene.status(request_id)["status"] == "running"
    assert scene.live() == {other}
    scene.aws.set_capacity(*case.pool, None)
    answer = scene.poll(request_id)
    assert answer["status"] == "complete", answer
    assert len(scene.live()) == 3, "four came in all, and one of them is returned"
    scene.pass_time(3600)
    assert len(scene.live()) == 3
    scene.poll(scene.returned(*scene.live()))
    scene.status(request_id)
    scene.nothing_stands()


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one.fills_later])
def test_all_of_an_open_request_are_returned_and_only_the_rest_comes(scene: Scene, name: str) -> None:
    case = CASES[name]
    scene.aws.set_capacity(*case.pool, 2)
    request_id = scene.request(case.template_id, 3)
    scene.pass_time(1)
    machines = [each["machineId"] for each in scene.status(request_id)["machines"]]
    scene.aws.set_capacity(*case.pool, 0)
    assert scene.poll(scene.returned(*machines))["status"] == "complete"
    assert scene.live() == set()
    scene.aws.set_capacity(*case.pool, None)
    answer = scene.poll(request_id)
    assert (answer["status"], len(scene.live())) == ("complete", 1)


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one.fills_later])
def test_returns_at_the_same_time_lower_the_target_once_for_each_machine(scene: Scene, name: str) -> None:
    case = CASES[name]
    scene.aws.set_capacity(*case.pool, 3)
    request_id = scene.request(case.template_id, 5)
    scene.pass_time(1)
    first, second, third = (each["machineId"] for each in scene.status(request_id)["machines"])
    scene.aws.set_capacity(*case.pool, 1)
    pairs = [(first,), (second,), (first, second)]
    calls = [scene.start("requestReturnMachines", {"machines": [{"machineId": i} for i in pair]}) for pair in pairs]
    returns = [json.loads(call.wait().stdout)["requestId"] for call in calls]
    for _ in range(2):
        scene.pass_time(ENOUGH)
        answers = scene.statuses(*returns)
    assert [one["status"] for one in answers] == ["complete"] * 3
    assert scene.live() == {third}
    scene.aws.set_capacity(*case.pool, None)
    assert scene.poll(request_id)["status"] == "complete"
    assert len(scene.live()) == 3, "five came in all, and two of them are returned"


# What the records do not name


def test_a_machine_of_somebody_else_is_refused_by_its_tag_and_it_is_said(
    scene: Scene, tmp_path: Path, aws: StrictAws, forks: Forks, settled: Case
) -> None:
    neighbour = Scene(tmp_path / "neighbour", aws, forks)
    _, theirs = neighbour.running(settled, 2)
    _, (one, kept) = scene.running(settled, 2)
    given = {"machines": [{"machineId": each} for each in (theirs[0], one)]}
    ran = scene.run("requestReturnMachines", given)
    assert f"not ours by the owner tag, refused and left alone: {theirs[0]}" in ran.message
    answer = scene.poll(ran.answer["requestId"])
    assert (answer["status"], results(answer)) == ("complete", {one: GONE})
    assert "refused" in answer["message"]
    assert scene.live() == {*theirs, kept}
    neighbour.all_is_well()


def test_a_machine_that_nobody_knows_is_said_to_be_unknown_and_the_return_is_complete(scene: Scene) -> None:
    request_id, machines = scene.running(CASES["RunInstances"], 1)
    given = {"machines": [{"name": "ip-10-9-9-9.ec2.internal"}, {"machineId": NOBODYS}, {"machineId": "vm-7"}]}
    ran = scene.run("requestReturnMachines", given)
    assert f"not known here, and gone already: {NOBODYS}, vm-7" in ran.message
    assert "not known here, and no instance has this name: ip-10-9-9-9.ec2.internal" in ran.message
    answer = scene.status(ran.answer["requestId"])
    assert (answer["status"], answer["machines"]) == ("complete", [])
    assert scene.live() == set(machines)
    assert scene.status(request_id)["status"] == "complete"


def test_a_machine_that_an_older_copy_of_the_records_lacks_is_adopted_and_ended(
    scene: Scene, tmp_path: Path, case: Case
) -> None:
    scene.running(CASES["RunInstances"], 1)
    keep_records(scene, tmp_path / "copy")
    before = scene.live()
    request_id, (one, *others) = scene.running(case)
    bring_back_records(scene, tmp_path / "copy")
    ran = scene.run("requestReturnMachines", {"machines": [{"machineId": one}]})
    assert f"not known here, adopted by the owner tag: {one}" in ran.message
    answer = scene.poll(ran.answer["requestId"])
    assert (answer["status"], results(answer)) == ("complete", {one: GONE})
    scene.all_is_well()
    scene.pass_time(3600)
    assert scene.live() == {*before, *others}, "its request is adopted whole, and replaces nothing"
    scene.poll(scene.returned(*others))
    assert scene.status(request_id)["status"] == "complete"
    assert scene.live() == before


@pytest.mark.parametrize("rule", ["privateDns", "privateIp", "tag:Seat"])
def test_a_host_that_the_records_lack_is_adopted_and_ended_by_its_name_alone(
    scene: Scene, tmp_path: Path, aws: StrictAws, forks: Forks, rule: str
) -> None:
    case, neighbour = CASES["RunInstances"], Scene(tmp_path / "neighbour", aws, forks)
    for one, seat in ((scene, "ours"), (neighbour, "theirs")):
        one.put("prov_config.json", {"AWS_REGION": "us-east-1", "hostName": rule})
        one.offer(instanceTags=f"Seat={seat}")
    [_, (theirs,)], [_, before] = neighbour.running(case, 1), scene.running(case, 1)
    keep_records(scene, tmp_path / "copy")
    scene.offer(instanceTags="Seat=late")
    request_id, (lost,) = scene.running(case, 1)
    name = scene.machines()[lost]["name"]
    bring_back_records(scene, tmp_path / "copy")
    ran = scene.run(
        "requestReturnMachines", {"machines": [{"name": name}, {"name": neighbour.machines()[theirs]["name"]}]}
    )
    assert f"not known here, adopted by the owner tag: {lost}" in ran.message
    assert "not ours by the owner tag, refused and left alone" in ran.message
    answer = scene.poll(ran.answer["requestId"])
    assert (answer["status"], results(answer)) == ("complete", {lost: GONE})
    assert scene.live() == {*before, theirs}
    assert scene.status(request_id)["status"] == "complete"


def test_a_name_that_two_hosts_have_which_the_records_lack_is_refused_and_ends_neither(
    scene: Scene, tmp_path: Path
) -> None:
    case = CASES["RunInstances"]
    scene.put("prov_config.json", {"AWS_REGION": "us-east-1", "hostName": "tag:Seat"})
    scene.running(case, 1)
    keep_records(scene, tmp_path / "copy")
    scene.offer(instanceTags="Seat=twin")
    _, twins = scene.running(case, 2)
    bring_back_records(scene, tmp_path / "copy")
    ran = scene.run("requestReturnMachines", {"machines": [{"name": "twin"}]})
    assert ran.code == 1
    assert "2 live machines are named twin" in ran.message
    assert set(twins) <= scene.live()
    assert set(twins).isdisjoint(scene.machines())
    scene.poll(scene.returned(*twins))


@pytest.mark.parametrize("name", ["ASG", "EC2Fleet-maintain"])
def test_a_machine_of_an_open_request_that_the_records_lack_is_adopted_and_not_replaced(
    scene: Scene, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    scene.running(CASES["RunInstances"], 1)
    keep_records(scene, tmp_path / "copy")
    before = scene.live()
    scene.aws.set_capacity(*case.pool, 2)
    scene.request(case.template_id, 3)
    scene.pass_time(1)
    one, other = sorted(scene.live() - before)
    bring_back_records(scene, tmp_path / "copy")
    scene.aws.set_capacity(*case.pool, 1)
    answer = scene.poll(scene.returned(one))
    assert (answer["status"], results(answer)) == ("complete", {one: GONE})
    scene.aws.set_capacity(*case.pool, None)
    scene.pass_time(3600)
    assert scene.live() == {*before, other}


def test_a_machine_that_its_own_request_lacks_joins_it_with_the_weight_of_its_type(scene: Scene, case: Case) -> None:
    scene.offer(vmType=None, vmTypes={"m5.2xlarge": 8})
    request_id = scene.request(case.template_id, 24)
    scene.pass_time(1)
    one, other, _ = (each["machineId"] for each in scene.status(request_id)["machines"])
    forget(scene, request_id, one, other)
    answer = scene.status(scene.returned(one))
    assert results(answer) == {one: GOING}
    kept = scene.machines()
    assert (kept[one]["request_id"], kept[one]["weight"]) == (request_id, 8)
    assert results(scene.poll(request_id))[one] == GONE
    scene.poll(scene.returned(other))
    assert len(scene.live()) == 1


def test_a_machine_of_a_request_in_the_archive_is_adopted_and_ended(scene: Scene) -> None:
    scene.put("prov_config.json", {"AWS_REGION": "us-east-1", "retention_hours": 1})
    case = CASES["RunInstances"]
    request_id, (first,) = scene.running(case, 1)
    with scene.aws.locked() as world:
        plan = world.instance(first).plan
    assert scene.poll(scene.returned(first))["status"] == "complete"
    scene.pass_time(48 * 3600)
    scene.running(case, 1)
    assert request_id not in scene.stored()
    with scene.aws.locked():
        (late,) = launch(scene.aws.region(), plan, 1)
    assert late.tags["hfcore:request-id"] == request_id
    answer = scene.poll(scene.returned(late.id))
    assert (answer["status"], results(answer)) == ("complete", {late.id: GONE})
    assert scene.status(request_id)["status"] == "complete"
    assert len(scene.live()) == 1


# What AWS refuses


def test_a_machine_under_termination_protection_is_executing_and_says_why_until_it_is_off(
    scene: Scene, settled: Case
) -> None:
    _, (one, *others) = scene.running(settled)
    protect(scene, one, on=True)
    ran = scene.run("requestReturnMachines", {"machines": [{"machineId": each} for each in (one, others[0])]})
    assert f"{one} is not ended" in ran.message
    assert "DisableApiTermination" in ran.message
    answer = scene.poll(ran.answer["requestId"])
    assert answer["status"] == "running"
    assert results(answer) == {one: REFUSED, others[0]: GONE}
    (said,) = (each["message"] for each in answer["machines"] if each["machineId"] == one)
    assert "OperationNotPermitted" in said
    assert "termination protection" in said
    protect(scene, one, on=False)
    answer = scene.status(ran.answer["requestId"])
    assert results(answer)[one] == GOING
    answer = scene.poll(ran.answer["requestId"])
    assert (answer["status"], results(answer)[one]) == ("complete", GONE)
    assert scene.live() == {others[1]}


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "IncorrectInstanceState"])
def test_a_return_that_aws_refuses_is_executing_and_says_why_and_is_tried_again_at_each_poll(
    scene: Scene, code: str
) -> None:
    _, (one, other) = scene.running(CASES["RunInstances"], 2)
    scene.aws.faults.add(f"error:{code}:TerminateInstances")
    ran = scene.run("requestReturnMachines", {"machines": [{"machineId": one}]})
    assert code in ran.message
    answer = scene.status(ran.answer["requestId"])
    assert (answer["status"], results(answer)) == ("running", {one: REFUSED})
    assert code in answer["machines"][0]["message"]
    scene.aws.faults.clear()
    scene.status(ran.answer["requestId"])
    answer = scene.poll(ran.answer["requestId"])
    assert (answer["status"], results(answer)) == ("complete", {one: GONE})
    assert scene.live() == {other}
