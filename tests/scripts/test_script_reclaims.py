"""getReturnRequests: what AWS takes back, with what remains until then; never what Host Factory has returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.scripts.conftest import Site


def test_nothing_is_named_while_all_machines_run(site: Site) -> None:
    _, machines = site.complete("OnDemand-Small")
    named = [{"name": one["name"], "machineId": one["machineId"]} for one in machines]
    answers = [site.run("getReturnRequests", given).answer for given in ({"machines": named}, {})]
    assert [one["requests"] for one in answers] == [[], []]
    assert {one["status"] for one in answers} == {"complete"}


def test_a_killed_machine_is_named_with_its_id_and_no_grace_until_it_is_returned(site: Site) -> None:
    _, machines = site.complete("OnDemand-Small", 3)
    dead, returned, _ = machines
    site.aws.kill(dead["machineId"], "Server.InternalError")
    site.give_back({"machineId": returned["machineId"]})
    site.aws.advance(1)
    for given in ({}, {"machines": [{"name": one["name"]} for one in machines]}):
        (named,) = site.run("getReturnRequests", given).answer["requests"]
        assert (named["machine"], named["machineId"], named["gracePeriod"]) == (dead["name"], dead["machineId"], 0)
        assert "Server.InternalError" in named["message"]
    site.give_back({"machineId": dead["machineId"]})
    assert site.run("getReturnRequests", {}).answer["requests"] == [], "our own returns are never named"


def test_a_machine_that_a_maintain_fleet_has_replaced_is_named(site: Site) -> None:
    site.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 2)
    request_id, machines = site.complete("Fleet-Maintain")
    dead = machines[0]
    site.aws.kill(dead["machineId"])
    site.aws.advance(60)
    answer = site.run("getReturnRequests", {"machines": [{"machineId": dead["machineId"]}]}).answer
    assert [one["machineId"] for one in answer["requests"]] == [dead["machineId"]]
    assert site.status(request_id)["status"] == "complete"
    assert len(site.live()) == 1, "a frozen fleet replaces nothing"


def test_a_spot_notice_gives_what_remains_of_two_minutes(site: Site) -> None:
    _, machines = site.complete("Spot-Plain")
    taken, _ = machines
    site.aws.reclaim(taken["machineId"])
    (named,) = site.run("getReturnRequests", {}).answer["requests"]
    assert named["machineId"] == taken["machineId"]
    assert 90 <= named["gracePeriod"] <= 120
    assert "instance-terminated-no-capacity" in named["message"]
    assert len(site.live()) == 2, "it still runs"
    site.aws.advance(121)
    (named,) = site.run("getReturnRequests", {}).answer["requests"]
    assert (named["machineId"], named["gracePeriod"]) == (taken["machineId"], 0)


def test_a_retirement_is_named_with_the_time_that_is_left(site: Site) -> None:
    _, machines = site.complete("Group")
    retired, _ = machines
    site.aws.schedule_event(retired["machineId"], "instance-retirement", 7200)
    (named,) = site.run("getReturnRequests", {}).answer["requests"]
    assert named["machineId"] == retired["machineId"]
    assert 7100 <= named["gracePeriod"] <= 7200


def test_a_host_that_nobody_here_knows_is_asked_of_aws_and_not_named_as_it_may_be_another_account_s(site: Site) -> None:
    given = {"machines": [{"name": "ip-10-0-58-4.ec2.internal", "machineId": "i-022161abf93cc2af9"}]}
    ran = site.run("getReturnRequests", given)
    assert (ran.code, ran.answer["requests"]) == (0, [])
    assert "known neither here nor to the cloud" in ran.message
    assert [call.operation for call in site.aws.calls] == ["DescribeInstances", "GetCallerIdentity"]
