"""What people do by hand to requests and machines of every API: watch them, cancel them, give machines back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.site import CASES
from tests.scenarios.conftest import ENOUGH, Scene, results

if TYPE_CHECKING:
    from hfcore.testing.site import Case, Document

HOUR = 3600.0
FILLING = [name for name, one in CASES.items() if one.fills_later]


def by_hand(scene: Scene, command: str, *words: str, code: int = 0) -> list[Document]:
    """Carry out a command in a pipe; give what it prints, a document a line."""
    ended = scene.call(command, words=words)
    assert ended.code == code, ended
    text = ended.stdout.decode()
    return [json.loads(each) for each in (text.splitlines() if command == "requests watch" else [text])]


@pytest.mark.parametrize("name", FILLING)
def test_a_cancelled_request_launches_nothing_more_and_keeps_what_runs(scene: Scene, name: str) -> None:
    case = CASES[name]
    scene.aws.set_capacity(*case.pool, 2)
    request_id = scene.request(case.template_id, 4)
    scene.pass_time(1)
    assert scene.status(request_id)["status"] == "running"
    kept = scene.live()
    (document,) = by_hand(scene, "requests cancel", request_id, "--yes")
    (item,) = document["items"]
    assert (item["cancelled"], item["status"]) == (True, "cancelled")
    assert item["message"] == "cancelled by a person: 2 units of 4 on 2 running machines"
    scene.aws.set_capacity(*case.pool, None)
    scene.pass_time(HOUR)
    assert scene.live() == kept
    answer = scene.status(request_id)
    assert (answer["status"], set(results(answer).values())) == ("complete_with_error", {("running", "succeed")})
    scene.poll(scene.returned(*kept))
    scene.status(request_id)
    scene.nothing_stands()


@pytest.mark.parametrize("timings", [{"boot_seconds": 100.0, "shutdown_seconds": 0.0}])
def test_what_is_pending_is_ended_with_its_request_and_has_failed(scene: Scene, case: Case) -> None:
    request_id = scene.request(case.template_id, 2)
    scene.pass_time(1)
    assert len(scene.status(request_id)["machines"]) == 2
    by_hand(scene, "requests cancel", request_id, "--yes")
    assert scene.live() == set()
    scene.pass_time(HOUR)
    answer = scene.status(request_id)
    assert (answer["status"], set(results(answer).values())) == ("complete_with_error", {("terminated", "fail")})
    assert {one["message"] for one in answer["machines"]} == {"it was pending when a person cancelled its request"}
    assert scene.reclaims() == {}
    scene.nothing_stands()


@pytest.mark.parametrize("name", FILLING)
def test_a_cancelled_request_gives_its_machines_back_where_that_is_wanted(scene: Scene, name: str) -> None:
    case = CASES[name]
    scene.aws.set_capacity(*case.pool, 1)
    request_id = scene.request(case.template_id, 3)
    scene.pass_time(1)
    scene.status(request_id)
    (document,) = by_hand(scene, "requests cancel", request_id, "--return-machines", "--yes")
    assert scene.live() == set()
    scene.aws.set_capacity(*case.pool, None)
    scene.pass_time(ENOUGH)
    *_, last = by_hand(scene, "requests watch", document["return_id"], "--interval", "0")
    assert (last["kind"], last["status"], last["done"], last["target"]) == ("return", "completed", 1, 1)
    scene.status(request_id)
    scene.nothing_stands()


def test_what_has_ended_can_not_be_cancelled_and_its_machines_stay(scene: Scene, settled: Case) -> None:
    request_id, machines = scene.running(settled, 2)
    (document,) = by_hand(scene, "requests cancel", request_id, "--return-machines", "--yes")
    (item,) = document["items"]
    assert (item["cancelled"], item["status"], document["return_id"]) == (False, "completed", "")
    assert scene.live() == set(machines)


def test_machines_are_given_back_by_id_or_name_and_watched_to_their_end(scene: Scene, settled: Case) -> None:
    request_id = scene.request(settled.template_id, 3)
    scene.pass_time(1)
    *_, last = by_hand(scene, "requests watch", "--interval", "0")
    assert (last["request_id"], last["status"], last["done"]) == (request_id, "completed", 3)
    one, two, kept = scene.status(request_id)["machines"]
    (document,) = by_hand(scene, "machines return", one["machineId"], two["name"], "--yes")
    assert {item["instance_id"] for item in document["items"]} == {one["machineId"], two["machineId"]}
    assert scene.live() == {kept["machineId"]}
    scene.pass_time(ENOUGH)
    *_, last = by_hand(scene, "requests watch", "--interval", "0")
    assert (last["request_id"], last["status"]) == (document["request_id"], "completed")


def test_nothing_is_ended_in_a_pipe_without_consent(scene: Scene) -> None:
    _, (one,) = scene.running(CASES["RunInstances"], 1)
    by_hand(scene, "machines return", one, code=1)
    assert scene.live() == {one}
