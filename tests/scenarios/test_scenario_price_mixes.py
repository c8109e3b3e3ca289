"""Price mixes and weights as Host Factory meets them: the scripts' verbs on a strict AWS, each scenario audited."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.testing.audit import audit
from hfcore.testing.aws import StrictAws
from hfcore.testing.site import ROLE, ForkedSite, templates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.testing.forks import Forks

FORMS: dict[str, dict[str, str]] = {
    "RunInstances": {"providerApi": "RunInstances"},
    "EC2Fleet-instant": {"providerApi": "EC2Fleet", "fleetType": "instant"},
    "EC2Fleet-request": {"providerApi": "EC2Fleet", "fleetType": "request"},
    "EC2Fleet-maintain": {"providerApi": "EC2Fleet", "fleetType": "maintain"},
    "SpotFleet": {"providerApi": "SpotFleet", "fleetRole": ROLE},
    "ASG": {"providerApi": "ASG"},
}
AT_ONCE = ("RunInstances", "EC2Fleet-instant")
FILLING = [name for name in FORMS if name not in AT_ONCE]
LOWERED = ("EC2Fleet-maintain", "ASG")
ZONE, LARGE, HUGE = "us-east-1a", "m5.large", "m5.2xlarge"
SPOT_S_TIME, DEADLINE, BETWEEN_POLLS = 25 * 60.0, 30 * 60.0, 31.0
TIMINGS = {"boot_seconds": 0.0, "shutdown_seconds": 0.0, "fill_seconds": 1e-6, "replace_seconds": 1e-6}


@pytest.fixture(scope="module")
def aws() -> Iterator[StrictAws]:
    with StrictAws(**TIMINGS) as found:
        yield found


class Grid(ForkedSite):
    """A provider instance with one template, in the name of the form of an API."""

    def offer(self, form: str, **fields: object) -> None:
        basic = next(one for one in templates(self.aws) if one["templateId"] == "Group")
        self.put("prov_templates.json", {"templates": [basic | FORMS[form] | fields | {"templateId": form}]})

    def poll(self, request_id: str, after: float = BETWEEN_POLLS) -> dict[str, Any]:
        """Ask for a status once some time has passed, as Host Factory does."""
        self.pass_time(after)
        return self.status(request_id)

    def markets(self) -> Counter[str]:
        return Counter(one.plan.market for one in self.aws.live_instances())

    def see_that_all_is_well(self) -> None:
        now = datetime.now(UTC) + timedelta(seconds=self.ahead)
        assert audit(self.aws, self.data, now) == ()
        assert self.aws.violations == []

    def finish(self) -> None:
        """Give back all that lives, and see that nothing is left anywhere."""
        self.see_that_all_is_well()
        going = self.give_back([{"machineId": one} for one in sorted(self.live())])
        self.poll(going)
        assert self.poll(going)["status"] == "complete"
        self.see_that_all_is_well()
        region = self.aws.region()
        fleets = (*region.fleets.values(), *region.spot_fleets.values())
        assert (self.live(), [one.state for one in fleets if not one.is_over], region.groups) == (set(), [], {})


@pytest.fixture
def grid(tmp_path: Path, aws: StrictAws, forks: Forks) -> Grid:
    aws.reset()
    return Grid(tmp_path / "site", aws, forks)


@pytest.mark.parametrize("form", FORMS)
def test_what_spot_leaves_is_bought_on_demand(grid: Grid, form: str) -> None:
    grid.offer(form, priceType="heterogeneous")
    grid.aws.set_capacity(LARGE, ZONE, "spot", 2)
    request_id = grid.request(form, 5)
    if form in FILLING:
        assert grid.poll(request_id)["status"] == "running"
        assert grid.markets() == {"spot": 2}
        grid.poll(request_id, SPOT_S_TIME)
    answer = grid.poll(request_id)
    assert answer["status"] == "complete", answer
    assert Counter(one["result"] for one in answer["machines"]) == {"succeed": 5}
    assert grid.markets() == {"spot": 2, "on-demand": 3}
    assert Counter(one["priceType"] for one in answer["machines"]) == {"spot": 2, "ondemand": 3}
    (stored,) = grid.stored().values()
    assert len(set(stored["resource_ids"])) == 2
    grid.finish()


@pytest.mark.parametrize("form", FILLING)
def test_what_neither_market_has_is_said_to_be_missing_at_the_deadline(grid: Grid, form: str) -> None:
    grid.offer(form, priceType="heterogeneous")
    grid.aws.set_capacity(LARGE, ZONE, "spot", 2)
    grid.aws.set_capacity(LARGE, ZONE, "on-demand", 1)
    request_id = grid.request(form, 5)
    grid.poll(request_id)
    grid.poll(request_id, SPOT_S_TIME)
    assert grid.poll(request_id)["status"] == "running"
    answer = grid.poll(request_id, DEADLINE - SPOT_S_TIME)
    assert answer["status"] == "complete_with_error"
    assert "3 units of 5 on 3 running machines, the deadline has passed" in answer["message"]
    assert "InsufficientInstanceCapacity" in answer["message"]
    assert "There is no Spot capacity available" in answer["message"]
    assert grid.markets() == {"spot": 2, "on-demand": 1}
    grid.aws.set_capacity(LARGE, ZONE, "on-demand", None)
    grid.pass_time(3600)
    assert grid.markets() == {"spot": 2, "on-demand": 1}  # both resources are frozen
    grid.finish()


@pytest.mark.parametrize("form", FILLING)
def test_a_spot_machine_that_ec2_does_not_show_yet_is_not_bought_again(grid: Grid, form: str) -> None:
    grid.offer(form, priceType="heterogeneous")
    grid.aws.set_capacity(LARGE, ZONE, "spot", 2)
    request_id = grid.request(form, 5)
    grid.poll(request_id)
    grid.pass_time(SPOT_S_TIME - BETWEEN_POLLS - 5)
    timings = grid.aws.world.timings
    try:
        grid.aws.world.timings = type(timings)(**TIMINGS, visible_after_seconds=100.0)
        grid.aws.set_capacity(LARGE, ZONE, "spot", 3)
        grid.pass_time(65)
        grid.status(request_id)
        assert grid.markets()["spot"] == 3
    finally:
        grid.aws.world.timings = timings
    grid.pass_time(101)
    assert grid.status(request_id)["status"] == "complete"
    assert grid.markets() == {"spot": 3, "on-demand": 2}
    grid.finish()


@pytest.mark.parametrize("form", FORMS)
def test_a_share_is_bought_on_demand_and_the_rest_on_spot(grid: Grid, form: str) -> None:
    grid.offer(form, priceType="spot", percentOnDemand=40)
    request_id = grid.request(form, 5)
    assert grid.poll(request_id)["status"] == "complete"
    assert grid.markets() == {"on-demand": 2, "spot": 3}
    grid.finish()


@pytest.mark.parametrize("price_type", ["ondemand", "spot"])
@pytest.mark.parametrize("form", FORMS)
def test_a_weighted_request_is_complete_with_fewer_machines(grid: Grid, form: str, price_type: str) -> None:
    grid.offer(form, priceType=price_type, vmType=None, vmTypes={HUGE: 8})
    request_id = grid.request(form, 10)
    answer = grid.poll(request_id)
    assert answer["status"] == "complete", answer
    assert answer["message"] == "16 units on 2 running machines"
    assert len(answer["machines"]) == len(grid.live()) == 2
    grid.finish()


@pytest.mark.parametrize("form", FORMS)
def test_a_weighted_share_and_a_weighted_rest_are_counted_in_units(grid: Grid, form: str) -> None:
    grid.offer(form, priceType="spot", percentOnDemand=50, vmType=None, vmTypes={HUGE: 8})
    request_id = grid.request(form, 32)
    answer = grid.poll(request_id)
    assert answer["status"] == "complete", answer
    assert answer["message"] == "32 units on 4 running machines"
    assert grid.markets() == {"on-demand": 2, "spot": 2}
    grid.finish()


@pytest.mark.parametrize("form", FILLING)
def test_a_weighted_machine_returned_before_the_rest_has_come_is_replaced_by_none(grid: Grid, form: str) -> None:
    grid.offer(form, priceType="spot", vmType=None, vmTypes={HUGE: 8})
    grid.aws.set_capacity(HUGE, ZONE, "spot", 2)
    request_id = grid.request(form, 24)
    (first, _) = (one["machineId"] for one in grid.poll(request_id)["machines"])
    grid.aws.set_capacity(HUGE, ZONE, "spot", 1)
    returned = grid.give_back([{"machineId": first}])
    assert grid.poll(returned)["status"] == "complete"
    assert grid.status(request_id)["status"] == "running"
    grid.aws.set_capacity(HUGE, ZONE, "spot", None)
    answer = grid.poll(request_id, 120)
    assert answer["status"] == "complete", answer
    assert len(grid.live()) == 2
    assert len(grid.aws.world.instances()) == 3  # 24 units in all, 8 of them given back
    grid.pass_time(3600)
    assert len(grid.live()) == 2
    grid.finish()


@pytest.mark.parametrize("form", FILLING)
def test_a_machine_returned_before_spot_s_time_is_over_is_not_bought_again(grid: Grid, form: str) -> None:
    grid.offer(form, priceType="heterogeneous")
    grid.aws.set_capacity(LARGE, ZONE, "spot", 2)
    request_id = grid.request(form, 5)
    (first, _) = (one["machineId"] for one in grid.poll(request_id)["machines"])
    grid.aws.set_capacity(LARGE, ZONE, "spot", 0)
    assert grid.poll(grid.give_back([{"machineId": first}]))["status"] == "complete"
    grid.poll(request_id, SPOT_S_TIME)
    answer = grid.poll(request_id)
    assert answer["status"] == "complete", answer
    assert grid.markets() == {"spot": 1, "on-demand": 3}
    grid.finish()


@pytest.mark.parametrize("form", FILLING)
def test_a_machine_bought_on_demand_is_returned_like_any_other(grid: Grid, form: str) -> None:
    """Before the request has settled: its second resource must not replace it."""
    grid.offer(form, priceType="heterogeneous")
    grid.aws.set_capacity(LARGE, ZONE, "spot", 1)
    grid.aws.set_capacity(LARGE, ZONE, "on-demand", 2)
    request_id = grid.request(form, 5)
    grid.poll(request_id)
    grid.poll(request_id, SPOT_S_TIME)
    machines = grid.poll(request_id)["machines"]
    bought = [one["machineId"] for one in machines if one["priceType"] == "ondemand"]
    assert len(bought) == 2
    grid.aws.set_capacity(LARGE, ZONE, "on-demand", None)
    returned = grid.give_back([{"machineId": bought[0]}])
    grid.poll(returned)
    answer = grid.poll(request_id, 120)
    assert answer["status"] == "complete", answer
    assert grid.markets() == {"spot": 1, "on-demand": 3}
    grid.finish()
