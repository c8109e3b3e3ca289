"""SpotFleet through its hooks, on the strict AWS: from request to clean-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import FaultKind, MachineStatus, RequestStatus
from hfcore.testing.aws import AwsError, Timings

if TYPE_CHECKING:
    from conftest import Grid

ZONE = "us-east-1a"
THROTTLED = AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)
TAGS = {"hfcore:owner", "hfcore:provider", "hfcore:request-id", "hfcore:template-id"}


def test_everything_carries_our_tags_from_birth(grid: Grid) -> None:
    grid.ask(2)
    grid.sleep(50)
    (fleet,) = grid.aws.region().spot_fleets.values()
    (template,) = grid.aws.region().templates.values()
    given = {one["ResourceType"]: {tag["Key"] for tag in one["Tags"]} for one in template.data["TagSpecifications"]}
    assert fleet.tags.keys() == TAGS
    assert template.tags.keys() == TAGS
    assert given["volume"] >= TAGS
    assert len(grid.aws.live_instances()) == 2
    assert all(one.tags.keys() >= TAGS for one in grid.aws.live_instances())


def test_units_count_by_weight_and_a_share_is_bought_on_demand(grid: Grid) -> None:
    request = grid.ask(4, vm_types={"m5.xlarge": 2}, percent_on_demand=50)
    grid.until_done()
    assert sorted((one.price_type, one.weight) for one in grid.its(request)) == [("ondemand", 2.0), ("spot", 2.0)]
    assert grid.now(request).status is RequestStatus.COMPLETED


def test_a_request_short_of_capacity_says_why_past_the_threshold_in_a_text_that_stays(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "spot", 1)
    request = grid.ask(3)
    grid.sleep(30)
    assert not grid.discover()[request.request_id].faults
    grid.sleep(40)
    grid.calls()
    first = grid.discover()[request.request_id]
    assert grid.calls() == {
        "DescribeInstances": 1,
        "DescribeSpotFleetRequests": 1,
        "DescribeSpotFleetRequestHistory": 1,
    }
    grid.sleep(90)
    second = grid.discover()[request.request_id]
    assert [fault.kind for fault in first.faults] == [FaultKind.CAPACITY]
    assert first.faults == second.faults
    grid.sleep(30 * 60)
    grid.discover()
    assert grid.now(request).status is RequestStatus.COMPLETED_WITH_ERRORS
    assert "no Spot capacity" in grid.now(request).message
    grid.freeze()
    grid.aws.set_capacity("m5.large", ZONE, "spot", None)
    grid.sleep(120)
    assert len(grid.running(request)) == 1


@pytest.mark.parametrize("when", ["reset before", "reset after"])
@pytest.mark.parametrize("operation", ["RequestSpotFleet", "CreateLaunchTemplate"])
def test_a_call_that_is_not_answered_is_gone_on_with(grid: Grid, operation: str, when: str) -> None:
    request = grid.request(2)
    grid.fail(operation, when, when)
    with pytest.raises(OutcomeUnknown):
        grid.provision(request)
    grid.sleep(60)

    grid.provision(request)

    grid.until_done()
    assert grid.now(request).status is RequestStatus.COMPLETED
    assert len(grid.running(request)) == 2
    assert len(grid.aws.region().spot_fleets) == 1
    assert len(grid.aws.region().templates) == 1


def test_the_client_token_is_ours_and_the_same_in_each_replay(grid: Grid) -> None:
    grid.fail("RequestSpotFleet", "reset after")
    grid.ask(2)
    sent = [
        call.parameters["SpotFleetRequestConfig"] for call in grid.aws.calls if call.operation == "RequestSpotFleet"
    ]
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert len(sent[0]["ClientToken"]) == 64


def test_a_fleet_of_a_token_with_other_parameters_is_found_and_adopted(grid: Grid) -> None:
    request = grid.request(2)
    grid.fail("RequestSpotFleet", "reset after", "reset after")
    with pytest.raises(OutcomeUnknown):
        grid.provision(request)
    mismatch = AwsError("IdempotentParameterMismatch", "Arguments are inconsistent with arguments used before.")
    grid.fail("RequestSpotFleet", mismatch)
    made = grid.provision(request)
    assert list(made.resource_ids) == list(grid.aws.region().spot_fleets)
    grid.aws.world.violations.clear()  # of the mismatch that the test made up


def test_a_refused_request_leaves_nothing_behind(grid: Grid) -> None:
    grid.fail("RequestSpotFleet", AwsError("MaxSpotFleetRequestCountExceeded", "too many"))
    with pytest.raises(CloudError, match="too many"):
        grid.provision(grid.request(2))
    assert not grid.aws.region().templates
    assert not grid.aws.region().spot_fleets


def test_the_launch_template_of_a_refused_request_goes_later_where_aws_does_not_remove_it_at_once(grid: Grid) -> None:
    grid.fail("RequestSpotFleet", AwsError("MaxSpotFleetRequestCountExceeded", "too many"))
    grid.fail("DeleteLaunchTemplate", *[THROTTLED] * 3)
    request = grid.ask(2)
    assert request.status is RequestStatus.FAILED
    assert "too many" in request.message
    assert grid.aws.region().templates
    assert [one.done for one in grid.cleanup()] == [True]
    assert not grid.aws.region().templates


@pytest.mark.parametrize("count", [1, 50])
def test_the_call_budgets_hold(grid: Grid, count: int) -> None:
    grid.aws.world.timings = Timings(boot_seconds=1, fill_seconds=60)
    requests = [grid.ask(2) for _ in range(count)]
    grid.calls()
    grid.discover()
    assert grid.calls() == {"DescribeInstances": 1, "DescribeSpotFleetRequests": 1}

    grid.sleep(130)
    grid.discover()
    grid.freeze()
    assert grid.calls() == {"DescribeInstances": 1, "DescribeSpotFleetRequests": 1, "CancelSpotFleetRequests": 1}
    assert {one.status for one in grid.requests.values()} == {RequestStatus.COMPLETED}

    grid.discover()
    assert grid.calls() == {"DescribeInstances": 1}
    grid.about(*(one for request in requests for one in grid.live(request)))
    assert grid.calls() == {"DescribeInstances": 1}


def test_instances_that_ec2_does_not_show_yet_stay_pending_within_the_budget(grid: Grid) -> None:
    grid.aws.world.timings = Timings(boot_seconds=1, fill_seconds=1, visible_after_seconds=60)
    grid.ask(2)
    grid.sleep(20)
    grid.calls()
    for _ in range(2):
        grid.discover()
        assert grid.calls() == {
            "DescribeInstances": 1,
            "DescribeSpotFleetRequests": 1,
            "DescribeSpotFleetInstances": 1,
        }
        assert [one.status for one in grid.machines.values()] == [MachineStatus.PENDING] * 2
    grid.sleep(60)
    grid.until_done()


def test_a_cancelled_or_throttled_freeze(grid: Grid) -> None:
    one, two = grid.ask(1), grid.ask(1)
    grid.until_done()
    grid.clients("ec2", "quick").cancel_spot_fleet_requests(
        SpotFleetRequestIds=list(one.resource_ids), TerminateInstances=False
    )
    grid.fail("CancelSpotFleetRequests", THROTTLED, THROTTLED, THROTTLED)
    # One is ended already, whoever did it; the other is tried again.
    outcomes = {outcome.request_id: outcome for outcome in grid.freeze()}
    assert outcomes[two.request_id].faults[0].kind is FaultKind.THROTTLE
    grid.freeze()
    assert grid.now(one).frozen
    assert grid.now(two).frozen


def test_an_open_request_does_not_replace_what_is_released(grid: Grid) -> None:
    request = grid.ask(3)
    grid.sleep(21)
    grid.discover()
    one, *_ = grid.live(request)
    grid.calls()
    assert grid.release(request, one).ending == {one.instance_id}
    assert grid.calls() == {"TerminateInstances": 1}
    grid.sleep(90)
    assert len(grid.running(request)) == 2


def test_what_spot_has_not_filled_in_its_time_is_bought_on_demand(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "spot", 1)
    grid.aws.set_capacity("m5.xlarge", ZONE, "spot", 0)
    request = grid.ask(
        3,
        price_type="heterogeneous",
        vm_types={"m5.large": 1, "m5.xlarge": 2},
        vm_types_on_demand={"m5.large": 1},
        allocation_strategy="lowestPrice",
        pools_count=2,
    )
    grid.sleep(20 * 60)
    grid.advance()
    assert len(grid.now(request).resource_ids) == 1
    grid.sleep(6 * 60)
    grid.discover()

    grid.fail("RequestSpotFleet", AwsError("MaxSpotFleetRequestCountExceeded", "too many"))
    grid.advance()
    assert "too many" in str(grid.now(request).faults)
    grid.advance()
    grid.advance()

    assert len(grid.now(request).resource_ids) == 2
    grid.until_done()
    assert sorted(one.price_type for one in grid.live(request)) == ["ondemand", "ondemand", "spot"]
    assert grid.now(request).status is RequestStatus.COMPLETED
    assert [one.done for one in grid.freeze()] == [True]
    assert {one.state for one in grid.aws.region().spot_fleets.values()} == {"cancelled_running"}


def test_a_machine_that_nobody_has_seen_is_ended_before_the_clean_up(grid: Grid) -> None:
    request = grid.ask(2)
    grid.until_done()
    grid.freeze()
    stranger, known = grid.live(request)
    del grid.machines[stranger.instance_id]
    grid.release(request, known)
    grid.sleep(90)
    grid.discover()
    (outcome,) = grid.cleanup()
    assert not outcome.done
    assert stranger.instance_id in outcome.faults[0].message
    grid.sleep(90)
    assert [one.done for one in grid.cleanup()] == [True]
    assert not grid.aws.live_instances()


def test_owned_resources_name_spot_fleets(grid: Grid) -> None:
    request = grid.ask(1)
    found = {one.kind: one for one in grid.provider.owned_resources(grid.context)}
    assert found["spot-fleet"].resource_id == request.resource_ids[0]
    assert found["spot-fleet"].request_id == request.request_id
    assert found["launch-template"].request_id == request.request_id
