"""Each provider API from the request to the end of the return, on moto: what it answers is understood."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.models import RequestStatus
from tests.moto.conftest import ROLE, Document, tags_of

if TYPE_CHECKING:
    from tests.moto.conftest import Site

FREE_OF_LAUNCHES = {"AZRebalance", "Launch", "ReplaceUnhealthy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One API in one of its forms.

    Args:
        fields: The template's.
        prices: The price type of each machine that comes, sorted.
        stopped: The state that moto shows of the fleet, once the request is complete.
    """

    fields: Document
    prices: tuple[str, ...] = ("ondemand", "ondemand")
    stopped: str = ""


INSTANT_MIX = {
    "providerApi": "EC2Fleet",
    "fleetType": "instant",
    "priceType": "spot",
    "percentOnDemand": 50,
    "allocationStrategy": "priceCapacityOptimized",
}
# Both fleet APIs of moto need a Spot strategy, which AWS does not.
SPOT_FLEET = {
    "providerApi": "SpotFleet",
    "priceType": "spot",
    "allocationStrategy": "capacityOptimized",
    "fleetRole": ROLE,
    "vmType": None,
    "vmTypes": {"m5.large": 1, "m5a.large": 1},
}
LATER_SPOT = {"providerApi": "EC2Fleet", "priceType": "spot", "allocationStrategy": "lowestPrice"}
CASES = {
    "RunInstances": Case(fields={"providerApi": "RunInstances"}, prices=("ondemand",)),
    "RunInstances-spot": Case(fields={"providerApi": "RunInstances", "priceType": "spot"}, prices=("spot",)),
    "EC2Fleet-instant": Case(fields={"providerApi": "EC2Fleet"}, stopped="active"),
    "EC2Fleet-instant-mixed": Case(fields=INSTANT_MIX, prices=("ondemand", "spot"), stopped="active"),
    "EC2Fleet-request": Case(
        fields=LATER_SPOT | {"fleetType": "request"}, prices=("spot", "spot"), stopped="deleted_running"
    ),
    "EC2Fleet-maintain": Case(fields={"providerApi": "EC2Fleet", "fleetType": "maintain"}, stopped="deleted_running"),
    "SpotFleet": Case(fields=SPOT_FLEET, prices=("spot", "spot"), stopped="cancelled_running"),
}


def assert_told_as_described(machine: Document, described: Document) -> None:
    """Check that a running machine is told as EC2 has it, and that what Host Factory needs of it is there."""
    assert re.fullmatch(r"i-[0-9a-f]{17}", machine["machineId"])
    assert (machine["result"], machine["status"], machine["message"]) == ("succeed", "running", "")
    assert machine["cloudHostId"] == machine["machineId"]
    assert machine["name"] == described["PrivateDnsName"] != ""
    assert machine["privateIpAddress"] == described["PrivateIpAddress"]
    assert ip_address(machine["privateIpAddress"]).is_private
    assert machine["launchtime"] == int(described["LaunchTime"].timestamp())
    assert abs(machine["launchtime"] - time.time()) < 120
    assert machine["instanceType"] == described["InstanceType"]
    assert machine["priceType"] == ("spot" if described.get("InstanceLifecycle") == "spot" else "ondemand")
    assert machine["instanceTags"] == "team=risk"


def assert_ours(described: Document, request_id: str) -> None:
    tags = tags_of(described)
    assert {"hfcore:owner", "hfcore:provider"} <= tags.keys()
    assert (tags["hfcore:request-id"], tags["hfcore:template-id"], tags["team"]) == (request_id, "grid", "risk")


def fleet_states(site: Site) -> list[str]:
    fleets = site.ec2.describe_fleets()["Fleets"]
    spot_fleets = site.ec2.describe_spot_fleet_requests()["SpotFleetRequestConfigs"]
    return [one["FleetState"] for one in fleets] + [one["SpotFleetRequestState"] for one in spot_fleets]


@pytest.mark.parametrize("name", CASES)
def test_machines_come_are_told_as_they_are_and_go_one_by_one(site: Site, name: str) -> None:
    """RunInstances is asked for one machine: moto launches MinCount of them, AWS as many as it can.

    moto fills every fleet at once, and replaces nothing. So what comes later, capacity that is short, what a fleet's
    freezing prevents, weights, and the choice between types are not judged. It refuses to delete an emptied instant
    fleet.
    """
    case = CASES[name]
    site.write_template(**case.fields)
    request_id, machines = site.complete(len(case.prices))
    described = site.described()
    for machine in machines:
        assert_told_as_described(machine, described[machine["machineId"]])
        assert_ours(described[machine["machineId"]], request_id)
    assert tuple(sorted(machine["priceType"] for machine in machines)) == case.prices
    assert {machine["instanceType"] for machine in machines} == {"m5.large"}
    assert site.live() == {machine["machineId"] for machine in machines}
    assert fleet_states(site) == ([case.stopped] if case.stopped else [])

    left = list(machines)
    while left:
        machine = left.pop()
        answer = site.give_back(machine)
        assert (answer["status"], [one["machineId"] for one in answer["machines"]]) == (
            "complete",
            [machine["machineId"]],
        )
        assert (answer["machines"][0]["status"], answer["machines"][0]["result"]) == ("terminated", "succeed")
        assert site.live() == {one["machineId"] for one in left}
    answer = site.status(request_id)
    assert (answer["status"], {one["status"] for one in answer["machines"]}) == ("complete", {"terminated"})


@pytest.mark.parametrize("zones", [1, 2])
def test_a_group_s_machines_come_and_those_returned_end(site: Site, zones: int) -> None:
    """moto launches a group's machines at once and from the launch template alone.

    So type and market, which the group's overrides and distribution say, are not judged here; nor that nothing comes
    in place of what is returned, because moto records suspended processes and launches all the same.
    """
    site.write_template(providerApi="ASG", subnetId=site.subnets[:zones])
    request_id = site.request()
    assert suspended(site) == ({"AZRebalance"} if zones > 1 else set())
    answer = site.status(request_id)
    assert suspended(site) == FREE_OF_LAUNCHES
    assert (answer["status"], len(answer["machines"])) == ("complete", 2)
    described = site.described()
    for machine in answer["machines"]:
        assert_told_as_described(machine, described[machine["machineId"]] | {"InstanceType": ""})
        assert_ours(described[machine["machineId"]], request_id)

    first, second = answer["machines"]
    returned = site.give_back(first)
    assert (returned["status"], returned["machines"][0]["status"]) == ("complete", "terminated")
    assert second["machineId"] in site.live()
    assert site.give_back(second)["status"] == "complete"
    assert site.live().isdisjoint({first["machineId"], second["machineId"]})
    assert {one["status"] for one in site.status(request_id)["machines"]} == {"terminated"}


def suspended(site: Site) -> set[str]:
    return {one["ProcessName"] for one in site.group()["SuspendedProcesses"]}


def test_a_member_of_an_open_group_leaves_and_lowers_what_the_group_wants(site: Site) -> None:
    """moto fills a group before anyone can look, so the request is made open again by hand."""
    site.write_template(providerApi="ASG")
    request_id, (first, second) = site.complete()
    with site.service().store.transaction() as state:
        stored: Any = state.request(request_id)
        state.save_request(replace(stored, frozen=False, status=RequestStatus.IN_PROGRESS, ended_at=None))
    answer = site.give_back(first)
    assert (answer["status"], answer["machines"][0]["status"]) == ("complete", "terminated")
    assert site.group()["DesiredCapacity"] == 1
    assert site.live() == {second["machineId"]}


def test_what_run_instances_has_launched_is_told_and_kept_whatever_its_number(site: Site) -> None:
    """How many of two come is not judged: moto launches the least, AWS the most that it can."""
    site.write_template(providerApi="RunInstances")
    answer = site.status(site.request(2))
    assert {one["machineId"] for one in answer["machines"]} == site.live() != set()
    expected = "complete" if len(answer["machines"]) == 2 else "complete_with_error"
    assert answer["status"] == expected, answer
