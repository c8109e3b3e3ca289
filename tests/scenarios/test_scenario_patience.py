"""Pools that are short of capacity, and templates whose machines keep dying at their start, through the verbs."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.audit import audit
from hfcore.testing.aws import StrictAws
from hfcore.testing.site import CASES, ForkedSite, templates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.testing.forks import Forks
    from hfcore.testing.site import Ran

BOOT = 250.0
SMALL = CASES["RunInstances"].template_id


@pytest.fixture(scope="module")
def started() -> Iterator[StrictAws]:
    with StrictAws(boot_seconds=BOOT, shutdown_seconds=0) as found:
        yield found


@pytest.fixture
def site(started: StrictAws, forks: Forks, tmp_path: Path) -> Iterator[ForkedSite]:
    started.reset()
    found = ForkedSite(tmp_path / "site", started, forks)
    yield found
    assert audit(started, found.data, datetime.now(UTC) + timedelta(seconds=found.ahead)) == ()
    assert not started.violations


def ask(site: ForkedSite, count: int = 1) -> Ran:
    return site.run("requestMachines", {"template": {"templateId": SMALL, "machineCount": count}})


class TestPools:
    @pytest.fixture(autouse=True)
    def two_pools(self, site: ForkedSite) -> None:
        """Let the template have two subnets, of which the first one has no machine."""
        basic = next(one for one in templates(site.aws) if one["templateId"] == SMALL)
        subnets = list(site.aws.region().subnets)[:2]
        site.put("prov_templates.json", {"templates": [basic | {"subnetId": subnets}]})
        site.aws.set_capacity("t3.medium", "us-east-1a", "on-demand", 0)

    def asked(self, site: ForkedSite) -> list[str]:
        """Name the zones that RunInstances was asked for, and forget them."""
        zones = {one.id: one.zone for one in site.aws.region().subnets.values()}
        found = [zones[one.parameters["SubnetId"]] for one in site.aws.calls if one.operation == "RunInstances"]
        site.aws.world.calls.clear()
        return found

    def test_a_pool_that_was_short_is_tried_last_for_three_minutes_by_every_call(self, site: ForkedSite) -> None:
        site.request(SMALL, 1)
        assert self.asked(site) == ["us-east-1a", "us-east-1b"]  # its 500 is no server's fault: it is not sent again
        site.pass_time(170)
        site.request(SMALL, 1)
        assert self.asked(site) == ["us-east-1b"]
        site.pass_time(20)
        site.request(SMALL, 1)
        assert self.asked(site) == ["us-east-1a", "us-east-1b"]

    def test_it_is_tried_all_the_same_where_no_other_serves(self, site: ForkedSite) -> None:
        site.request(SMALL, 1)
        site.aws.set_capacity("t3.medium", "us-east-1a", "on-demand", None)
        site.aws.set_capacity("t3.medium", "us-east-1b", "on-demand", 1)
        self.asked(site)
        site.request(SMALL, 2)
        assert self.asked(site) == ["us-east-1b", "us-east-1a"]
        assert len(site.live()) == 3

    def test_a_call_that_dies_goes_on_in_its_own_order_when_others_find_other_pools_short(
        self, site: ForkedSite
    ) -> None:
        from hfcore.testing.faults import fault_point

        document = {"template": {"templateId": SMALL, "machineCount": 1}}
        assert site.call("requestMachines", document, kill=fault_point("intent-written:after")).killed
        request_id = next(iter(site.stored()))
        site.aws.set_capacity("t3.medium", "us-east-1b", "on-demand", 0)
        assert ask(site).code == 1
        site.aws.set_capacity("t3.medium", "us-east-1b", "on-demand", None)
        site.status(request_id)
        assert len(site.live()) == 1


class TestSlowedDown:
    def lose(self, site: ForkedSite) -> str:
        """Ask for a machine, and let it die before it runs."""
        request_id = site.request(SMALL, 1)
        pending = next(one.id for one in site.aws.live_instances() if one.state == "pending")
        site.aws.kill(pending, "Client.InternalError")
        assert site.poll_until(request_id, "complete_with_error")["machines"][0]["result"] == "fail"
        return request_id

    def test_a_template_whose_machines_keep_dying_is_refused_for_a_growing_time_and_stays_listed(
        self, site: ForkedSite
    ) -> None:
        for _ in range(3):
            last = self.lose(site)
        for minutes in (1, 2, 4, 8, 10, 10):
            refused = ask(site)
            assert refused.code == 1
            said = re.match(
                rf"HF1004: template {SMALL} is slowed down for (\d+) s: all machines of its last \d requests died at "
                rf"their start, at last those of {last} \(0 units of 1 on 0 running machines, nothing more will come: "
                "1 machine lost: Client.InternalError.*look at its image",
                refused.message,
            )
            assert said, refused.message
            assert 60 * minutes - 20 <= int(said[1]) <= 60 * minutes
            listed = site.run("getAvailableTemplates").answer["templates"]
            assert SMALL in [one["templateId"] for one in listed]
            assert ask_other(site).code == 0  # no other template is concerned
            site.pass_time(60 * minutes)
            last = self.lose(site)

    def test_a_machine_pending_for_too_long_counts_as_dead(self, site: ForkedSite) -> None:
        for _ in range(3):
            request_id = site.request(SMALL, 1)
            site.pass_time(190)
            site.poll_until(request_id, "complete_with_error")
        assert ask(site).message.startswith("HF1004: ")
        site.statuses(*site.stored())  # sees their end

    def deliver(self, site: ForkedSite) -> tuple[str, str]:
        """Ask for a machine that runs at once; give the request's id and its own."""
        timings = site.aws.world.timings
        site.aws.world.timings = replace(timings, boot_seconds=0)
        request_id = site.request(SMALL, 1)
        site.aws.world.timings = timings
        (machine,) = site.poll_until(request_id, "complete")["machines"]
        return request_id, machine["machineId"]

    def test_machines_that_ran_and_shut_themselves_down_at_once_have_died_at_their_start(
        self, site: ForkedSite
    ) -> None:
        for _ in range(3):
            request_id, machine_id = self.deliver(site)
            site.aws.kill(machine_id)
            site.pass_time(30)
            site.statuses(request_id)
        refused = ask(site).message
        assert refused.startswith("HF1004: ")
        assert f"those of {request_id} (Client.InstanceInitiatedShutdown" in refused

    @pytest.mark.parametrize(
        "end", ["long after its launch", "Server.SpotInstanceTermination", "returned", "by a user"]
    )
    def test_another_end_of_a_machine_that_ran_slows_nothing_down(self, site: ForkedSite, end: str) -> None:
        for _ in range(3):
            request_id, machine_id = self.deliver(site)
            if end == "returned":
                site.run("requestReturnMachines", {"machines": [{"machineId": machine_id}]})
                continue
            site.pass_time(600 if end.startswith("long") else 5)
            codes = {
                "long after its launch": "Client.InstanceInitiatedShutdown",
                "by a user": "Client.UserInitiatedShutdown",
            }
            site.aws.kill(machine_id, codes.get(end, end))
            site.statuses(request_id)
        assert ask(site).code == 0

    def test_one_machine_that_is_delivered_ends_it(self, site: ForkedSite) -> None:
        for _ in range(3):
            self.lose(site)
        site.pass_time(61)
        request_id = site.request(SMALL, 1)
        site.pass_time(BOOT + 1)
        assert site.status(request_id, env={"HFCORE_INSTANCE_PENDING_TIMEOUT_SEC": "600"})["status"] == "complete"
        for _ in range(2):
            self.lose(site)
        assert ask(site).code == 0

    def test_capacity_that_is_refused_slows_nothing_down(self, site: ForkedSite) -> None:
        site.aws.set_capacity(*CASES["RunInstances"].pool, 0)
        for _ in range(4):
            assert "InsufficientInstanceCapacity" in ask(site).message
        site.aws.set_capacity(*CASES["RunInstances"].pool, None)
        assert ask(site).code == 0


def ask_other(site: ForkedSite) -> Ran:
    """Ask for a machine of another template that never comes."""
    site.aws.set_capacity(*CASES["ASG"].pool, 0)
    return site.run("requestMachines", {"template": {"templateId": "Group", "machineCount": 1}})
