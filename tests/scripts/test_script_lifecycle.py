"""From a request to the end of its machines, through the scripts, for each provider API in each of its forms."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.testing.aws.instances import launch, resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.scripts.conftest import Case, Site

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TWO = 2


def strangers(site: Site) -> str:
    """Launch a machine that is not ours, beside ours; give its id."""
    region = site.aws.region()
    plan = resolve(
        region,
        {
            "ImageId": "ami-12c6146b",
            "InstanceType": "m5.large",
            "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "hfcore:owner", "Value": "another"}]}],
        },
    )
    return launch(region, plan, 1)[0].id


def test_a_request_is_stored_then_its_machines_are_found_and_a_further_poll_writes_nothing(
    site: Site, case: Case, writes: Callable[[Path], Any]
) -> None:
    site.run("getAvailableTemplates")
    with writes(site.data) as at_request:
        request_id = site.request(case.template_id)
    assert re.fullmatch(f"req-{UUID}", request_id)
    stored = site.stored()[request_id]
    assert stored["provider_api"] == case.api
    assert [one.startswith(case.resource) for one in stored["resource_ids"]] == [True]
    assert case.fills_later == (at_request.of("machines.json") == 0)

    running = site.wait_for_running(TWO)
    with writes(site.data) as at_poll:
        answer = site.status(request_id)
    assert at_poll.of("machines.json") == 1, "the machines are written at once"
    assert at_poll.of("storage.json") == 1
    assert (answer["status"], len(answer["machines"])) == ("complete", TWO)
    stored = site.stored()[request_id]
    assert sorted(stored["machine_ids"]) == sorted(running) == sorted(site.machines())
    assert stored["status"] == "completed"
    for machine in answer["machines"]:
        kept = site.machines()[machine["machineId"]]
        assert kept["request_id"] == request_id
        assert kept["resource_id"] == stored["resource_ids"][0]
        assert kept["private_ip"] == machine["privateIpAddress"]
        check_machine(machine, case)

    before = site.on_disk()
    assert site.status(request_id) == answer
    assert site.on_disk() == before, "a further poll changes no byte"


def check_machine(machine: dict[str, Any], case: Case) -> None:
    """Check a delivered machine, field by field."""
    address = machine["privateIpAddress"]
    assert re.fullmatch(r"10\.0\.\d+\.\d+", address)
    assert machine["name"] == f"ip-{address.replace('.', '-')}.ec2.internal"
    assert re.fullmatch(r"i-[0-9a-f]{17}", machine["machineId"])
    assert (machine["result"], machine["status"]) == ("succeed", "running")
    assert type(machine["launchtime"]) is int
    assert abs(machine["launchtime"] - time.time()) < 60
    assert machine["instanceType"] == case.pool[0]
    prices = {"spot": {"spot"}, "on-demand": {"ondemand"}}[case.pool[2]]
    assert machine["priceType"] in prices | ({"ondemand"} if case.template_id == "Fleet-Instant" else set())


def test_a_return_by_name_or_by_id_ends_those_machines_and_no_others_and_nothing_refills(
    site: Site, case: Case
) -> None:
    other = strangers(site)
    site.request(case.template_id, TWO)
    site.wait_for_running(TWO + 1)
    request_id = next(iter(site.stored()))
    first, second = site.poll_until(request_id)["machines"]

    by_name = site.give_back({"name": first["name"]})
    assert re.fullmatch(f"ret-{UUID}", by_name)
    assert site.live() == {second["machineId"], other}
    site.aws.advance(60)
    assert site.live() == {second["machineId"], other}, "a stranger has replaced the machine"
    gone = site.poll_until(by_name)
    assert [(one["machineId"], one["result"], one["status"]) for one in gone["machines"]] == [
        (first["machineId"], "succeed", "terminated")
    ]

    by_id = site.give_back([{"machineId": second["machineId"]}])
    site.aws.advance(60)
    answers = dict(zip(("ret", "req"), site.statuses(by_id, request_id), strict=True))
    assert answers["ret"]["status"] == "complete"
    assert answers["req"]["status"] == "complete", "what was complete stays so"
    assert {one["result"] for one in answers["req"]["machines"]} == {"succeed"}

    for _ in range(5):
        site.aws.advance(120)
        assert site.live() == {other}
    check_removed(site, request_id)
    calls = len(site.aws.calls)
    site.statuses(by_id, request_id)
    assert len(site.aws.calls) == calls, "what is over is answered from disk"


def check_removed(site: Site, request_id: str) -> None:
    """Check that nothing of a request stands in AWS any more."""
    region = site.aws.region()
    assert not region.groups
    states = {one.id: one.state for one in (*region.fleets.values(), *region.spot_fleets.values())}
    kinds = {one.id: one.kind for one in region.fleets.values()}
    left = {
        i: state for i, state in states.items() if kinds.get(i) != "instant" and state not in {"deleted", "cancelled"}
    }
    assert not left
    own = [one for one in region.templates.values() if request_id in one.name]
    assert not own, "the request's own launch template is removed"
    assert site.stored()[request_id]["cleaned"] is True


def test_a_return_of_all_machines_in_a_list_with_name_and_id_ends_them(site: Site) -> None:
    _, machines = site.complete("OnDemand-Small", 3)
    named = [{"name": one["name"], "machineId": one["machineId"]} for one in machines[:2]]
    return_id = site.give_back(named)
    assert site.live() == {machines[2]["machineId"]}
    answer = site.status(return_id)
    assert {one["machineId"] for one in answer["machines"]} == {one["machineId"] for one in named}
    assert answer["status"] == site.poll_until(return_id)["status"] or answer["status"] == "running"


def test_a_return_says_executing_until_the_machine_is_gone(new_site: Callable[..., Site]) -> None:
    site = new_site(shutdown_seconds=600)
    _, machines = site.complete("OnDemand-Small", 1)
    return_id = site.give_back({"machineId": machines[0]["machineId"]})
    answer = site.status(return_id)
    assert answer["status"] == "running"
    assert [(one["result"], one["status"]) for one in answer["machines"]] == [("executing", "shutting-down")]
    site.aws.advance(600)
    assert site.status(return_id)["status"] == "complete"


def test_a_return_of_machines_that_nobody_knows_is_complete_and_ends_nothing(site: Site) -> None:
    other = strangers(site)
    return_id = site.give_back([{"machineId": other}, {"name": "ip-10-0-57-7.ec2.internal"}])
    assert return_id.startswith("ret-")
    assert site.status(return_id)["status"] == "complete"
    assert site.mutations() == []
    assert site.live() == {other}


def test_a_request_returned_twice_is_ended_once_and_both_returns_complete(site: Site) -> None:
    _, machines = site.complete("OnDemand-Small", 1)
    returns = [site.give_back({"machineId": machines[0]["machineId"]}) for _ in range(TWO)]
    site.aws.advance(60)
    assert [one["status"] for one in site.statuses(*returns)] == ["complete", "complete"]
    assert site.live() == set()


@pytest.mark.parametrize("template_id", ["Group", "Fleet-Request", "Fleet-Maintain", "Spot-Plain"])
def test_no_instances_yet_is_running_with_an_empty_list_and_a_message(
    new_site: Callable[..., Site], template_id: str
) -> None:
    site = new_site(fill_seconds=3600)
    request_id = site.request(template_id)
    answer = site.status(request_id)
    assert (answer["status"], answer["machines"]) == ("running", [])
    assert "no machines yet" in answer["message"]
    assert "2 units" in answer["message"]


def test_an_unknown_request_is_an_error_of_its_own_beside_a_known_one(site: Site) -> None:
    known, machines = site.complete("OnDemand-Small")
    unknown = "req-00000000-0000-4000-8000-000000000000"
    first, second = site.statuses(unknown, known)
    assert (first["status"], first["machines"]) == ("complete_with_error", [])
    assert unknown in first["message"]
    assert (second["status"], second["machines"]) == ("complete", machines)


def test_one_call_answers_for_requests_of_every_api_and_for_returns(site: Site) -> None:
    templates = ["OnDemand-Small", "Group", "Fleet-Instant", "Fleet-Request", "Fleet-Maintain", "Spot-Plain"]
    requests = [site.request(template_id, 1) for template_id in templates]
    site.wait_for_running(len(templates))
    answers = site.statuses(*requests)
    assert [one["status"] for one in answers] == ["complete"] * len(templates)
    machines = [one["machines"][0] for one in answers]
    return_id = site.give_back([{"name": one["name"]} for one in machines[:-1]])
    assert site.live() == {machines[-1]["machineId"]}
    site.aws.advance(60)
    *still, returned = site.statuses(*requests, return_id)
    assert (returned["status"], len(returned["machines"])) == ("complete", len(templates) - 1)
    assert {one["status"] for one in still} == {"complete"}
    assert site.live() == {machines[-1]["machineId"]}


def test_a_request_that_asks_for_units_of_weighted_types_is_complete_when_the_units_are_there(site: Site) -> None:
    site.write_templates(Heavy={"like": "Spot-Mixed", "vmTypes": {"m5.xlarge": 2}, "maxNumber": 4})
    request_id = site.request("Heavy", 4)
    site.wait_for_running(TWO)
    answer = site.poll_until(request_id)
    assert [one["instanceType"] for one in answer["machines"]] == ["m5.xlarge", "m5.xlarge"]
    assert "4 units on 2 running machines" in answer["message"]
    refused = site.run("requestMachines", {"template": {"templateId": "Heavy", "machineCount": 1}})
    assert (refused.code, len(site.live())) == (1, TWO)
    assert "maxNumber" in refused.message
