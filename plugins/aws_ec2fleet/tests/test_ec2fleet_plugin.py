"""EC2Fleet through its hooks, on the strict AWS: all types from request to clean-up."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import FaultKind, MachineStatus, RequestStatus
from hfcore.testing.aws import AwsError, Timings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Grid

ZONE = "us-east-1a"
THROTTLED = AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)
TAGS = {"hfcore:owner", "hfcore:provider", "hfcore:request-id", "hfcore:template-id"}


def modified_within(grid: Grid, seconds: float) -> None:
    """Let fleets from now on take so long to do what they are told."""
    grid.aws.world.timings = replace(grid.aws.world.timings, fill_seconds=seconds)


def ids(machines: Iterable[Any]) -> set[str]:
    return {getattr(one, "instance_id", None) or one.id for one in machines}


@pytest.mark.parametrize("kind", ["request", "maintain"])
def test_the_own_launch_template_carries_all_our_tags_and_gives_them_to_volumes(grid: Grid, kind: str) -> None:
    grid.ask(2, fleet_type=kind)
    (template,) = grid.aws.region().templates.values()
    given = {one["ResourceType"]: {tag["Key"] for tag in one["Tags"]} for one in template.data["TagSpecifications"]}
    assert template.tags.keys() == TAGS
    assert given["instance"] >= TAGS
    assert given["volume"] >= TAGS


def test_instant_requests_share_a_launch_template(grid: Grid) -> None:
    grid.ask()
    grid.ask()
    assert grid.calls() == {"CreateFleet": 2, "CreateLaunchTemplate": 1}


def test_an_instant_fleet_with_partial_capacity_ends_with_what_there_is(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "on-demand", 1)
    request = grid.ask(3)
    assert request.status is RequestStatus.IN_PROGRESS
    assert [fault.kind for fault in request.faults] == [FaultKind.CAPACITY]
    grid.until_done()
    done = grid.now(request)
    assert done.status is RequestStatus.COMPLETED_WITH_ERRORS
    assert "InsufficientInstanceCapacity (m5.large us-east-1a on-demand)" in done.message
    assert len(grid.live(request)) == 1


@pytest.mark.parametrize("kind", ["request", "maintain"])
def test_a_fleet_short_of_capacity_says_why_past_the_threshold_in_a_text_that_stays(grid: Grid, kind: str) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "on-demand", 1)
    request = grid.ask(3, fleet_type=kind)
    grid.sleep(30)
    assert not grid.discover()[request.request_id].faults
    assert "DescribeFleetHistory" not in grid.calls()

    grid.sleep(40)
    first = grid.discover()[request.request_id]
    grid.sleep(90)
    second = grid.discover()[request.request_id]

    assert grid.calls()["DescribeFleetHistory"] == 2
    assert [fault.kind for fault in first.faults] == [FaultKind.CAPACITY]
    assert first.faults == second.faults
    assert not second.final
    grid.sleep(30 * 60)
    grid.discover()
    done = grid.now(request)
    assert done.status is RequestStatus.COMPLETED_WITH_ERRORS
    assert "1 unit of 3" in done.message
    assert "InsufficientInstanceCapacity" in done.message
    grid.freeze()
    grid.aws.set_capacity("m5.large", ZONE, "on-demand", None)
    grid.sleep(120)
    assert len(grid.running(request)) == 1


@pytest.mark.parametrize("kind", ["instant", "request", "maintain"])
@pytest.mark.parametrize("when", ["reset before", "reset after"])
@pytest.mark.parametrize("operation", ["CreateFleet", "CreateLaunchTemplate"])
def test_a_call_that_is_not_answered_is_gone_on_with(grid: Grid, operation: str, when: str, kind: str) -> None:
    request = grid.request(2, fleet_type=kind)
    grid.fail(operation, when, when)
    with suppress(OutcomeUnknown):
        grid.provision(request)
        assert (operation, when, kind) == ("CreateLaunchTemplate", "reset after", "instant")
    grid.sleep(60)
    if grid.now(request).status is RequestStatus.CREATING:
        grid.provision(request)

    grid.until_done()
    assert grid.now(request).status is RequestStatus.COMPLETED
    assert len(grid.running(request)) == 2
    assert len(grid.aws.region().fleets) == 1
    assert len(grid.aws.region().templates) == 1


def test_a_short_instant_fleet_whose_own_list_can_not_be_had_keeps_what_it_made_and_buys_the_rest(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "spot", 1)
    grid.fail("DescribeFleets", AwsError("UnauthorizedOperation", "no", 403))
    request = grid.ask(3, price_type="heterogeneous")
    assert {fault.code for fault in request.faults} >= {"UnauthorizedOperation"}
    grid.until_done()
    assert grid.now(request).status is RequestStatus.COMPLETED
    assert len(grid.running(request)) == 3


def test_an_answer_without_machines_and_reasons_is_looked_for_by_tag_where_its_fleet_can_not_be_asked(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = grid.clients("ec2", "quick")
    send = client.create_fleet
    monkeypatch.setattr(client, "create_fleet", lambda **asked: {**send(**asked), "Instances": [], "Errors": []})
    grid.fail("DescribeFleets", AwsError("UnauthorizedOperation", "no", 403))
    request = grid.ask(3, price_type="heterogeneous")
    assert [fault.code for fault in request.faults] == ["UnauthorizedOperation"]
    assert len(grid.aws.region().fleets) == 1  # more could be too many
    grid.until_done()
    assert grid.now(request).status is RequestStatus.COMPLETED
    assert len(grid.running(request)) == 3


def test_an_empty_answer_to_a_replay_is_completed_from_the_fleet_itself(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = grid.clients("ec2", "quick")
    send = client.create_fleet
    monkeypatch.setattr(client, "create_fleet", lambda **asked: {**send(**asked), "Instances": [], "Errors": []})
    request = grid.ask(2)
    assert len(grid.its(request)) == 2
    assert grid.calls()["DescribeFleets"] == 1
    assert request.provider_data["final"]


def test_where_neither_answer_nor_fleet_name_machines_they_are_found_by_tag(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, patient = grid.clients("ec2", "quick"), grid.clients("ec2", "patient")
    create, describe = quick.create_fleet, patient.describe_fleets
    nothing: dict[str, Any] = {"Instances": [], "Errors": []}
    monkeypatch.setattr(quick, "create_fleet", lambda **asked: {**create(**asked), **nothing})
    monkeypatch.setattr(
        patient,
        "describe_fleets",
        lambda **asked: {"Fleets": [{**one, **nothing} for one in describe(**asked)["Fleets"]]},
    )
    request = grid.ask(2)
    assert len(grid.its(request)) == 2


@pytest.mark.parametrize("kind", ["request", "maintain"])
def test_a_refused_fleet_leaves_nothing_behind(grid: Grid, kind: str) -> None:
    text = "The fleet configuration contains duplicate instance pools."
    grid.fail("CreateFleet", AwsError("InvalidFleetConfig", text))
    with pytest.raises(CloudError, match="duplicate instance pools"):
        grid.provision(grid.request(2, fleet_type=kind))
    assert not grid.aws.region().templates
    assert not grid.aws.region().fleets


def test_a_throttled_launch_is_repeated(grid: Grid) -> None:
    grid.fail("CreateFleet", THROTTLED)
    request = grid.ask(2)
    assert len(grid.its(request)) == 2


def test_a_lost_launch_template_is_made_again(grid: Grid) -> None:
    grid.ask(1)
    grid.aws.region().templates.clear()
    request = grid.ask(2)
    assert len(grid.its(request)) == 2


@pytest.mark.parametrize("count", [1, 50])
def test_instant_and_settled_requests_are_polled_by_one_call(grid: Grid, count: int) -> None:
    kinds = ["instant", "request", "maintain"]
    for number in range(count):
        grid.ask(2, fleet_type=kinds[number % 3])
    grid.until_done()
    grid.freeze()
    grid.calls()
    grid.discover()
    assert grid.calls() == {"DescribeInstances": 1}


@pytest.mark.parametrize("count", [1, 50])
def test_open_requests_are_polled_by_two_calls(grid: Grid, count: int) -> None:
    requests = [grid.ask(3, fleet_type=("request", "maintain")[number % 2]) for number in range(count)]
    grid.sleep(21)
    grid.calls()
    grid.discover()
    assert grid.calls() == {"DescribeInstances": 1, "DescribeFleets": 1}
    assert all(grid.live(request) for request in requests)
    grid.sleep(70)
    grid.discover()
    grid.freeze()
    assert grid.calls() == {"DescribeInstances": 1, "DescribeFleets": 1, "DeleteFleets": 1}
    assert {one.status for one in grid.requests.values()} == {RequestStatus.COMPLETED}


@pytest.mark.parametrize("count", [1, 50])
def test_instances_that_ec2_does_not_show_yet_stay_pending_within_the_budget(grid: Grid, count: int) -> None:
    grid.aws.world.timings = Timings(boot_seconds=1, fill_seconds=1, visible_after_seconds=60)
    requests = [grid.ask(2, fleet_type="request") for _ in range(count)]
    grid.sleep(20)
    grid.calls()
    for _ in range(2):
        before = dict(grid.machines)
        found = grid.discover()
        assert grid.calls() == {"DescribeInstances": 1, "DescribeFleets": 1, "DescribeFleetInstances": count}
        assert not before or before == grid.machines
        assert {one.status for one in grid.machines.values()} == {MachineStatus.PENDING}
        assert all(len(grid.live(one)) == 2 for one in requests)
        assert not any(one.final for one in found.values())
    grid.sleep(60)
    grid.until_done()


def test_an_unchanged_look_shows_the_same(grid: Grid) -> None:
    request = grid.ask(2, fleet_type="maintain")
    grid.sleep(50)
    grid.discover()
    before = (grid.now(request), dict(grid.machines))
    grid.discover()
    assert (grid.now(request), grid.machines) == before


def test_a_machine_that_ec2_has_forgotten_counts_as_gone(grid: Grid) -> None:
    request = grid.ask(3, fleet_type="request")
    grid.sleep(21)
    grid.discover()
    (gone, *_) = grid.live(request)
    grid.aws.region().instances.pop(gone.instance_id)
    next(iter(grid.aws.region().fleets.values())).members.pop(gone.instance_id)
    grid.calls()
    grid.discover()
    assert grid.machines[gone.instance_id].status is MachineStatus.TERMINATED
    assert grid.calls()["DescribeInstances"] == 2  # by tag, and for the missing one


def test_a_fleet_that_was_deleted_from_outside_ends_its_request(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "on-demand", 1)
    request = grid.ask(3, fleet_type="maintain")
    grid.sleep(90)
    grid.discover()
    grid.clients("ec2", "quick").delete_fleets(FleetIds=list(request.resource_ids), TerminateInstances=False)
    grid.discover()
    assert grid.now(request).status is RequestStatus.COMPLETED_WITH_ERRORS
    assert [one.done for one in grid.freeze()] == [True]


def test_an_unknown_fleet_among_others_is_left_out_and_the_rest_answered(grid: Grid) -> None:
    lost, kept = (grid.ask(2, fleet_type="maintain") for _ in range(2))
    grid.sleep(70)
    grid.aws.region().fleets.pop(lost.resource_ids[0])
    grid.discover()
    assert {one.status for one in grid.requests.values()} == {RequestStatus.COMPLETED}
    grid.sleep(6 * 60)
    assert [one.done for one in grid.freeze()] == [True, True]
    assert grid.now(kept).frozen


def test_a_fleet_just_made_that_aws_does_not_know_yet_is_not_taken_for_gone(grid: Grid) -> None:
    request = grid.ask(2, fleet_type="maintain")
    fleet = grid.aws.region().fleets.pop(request.resource_ids[0])
    assert not grid.discover()[request.request_id].final
    grid.requests[request.request_id] = replace(grid.now(request), status=RequestStatus.CANCELLED)
    assert [one.done for one in grid.freeze()] == [False]
    grid.aws.region().fleets[fleet.id] = fleet
    assert [one.done for one in grid.freeze()] == [True]


def test_a_throttled_freeze_is_not_done_and_done_later(grid: Grid) -> None:
    grid.ask(1, fleet_type="maintain")
    grid.until_done()
    grid.fail("DeleteFleets", THROTTLED, THROTTLED, THROTTLED)
    (outcome,) = grid.freeze()
    assert not outcome.done
    assert outcome.faults[0].kind is FaultKind.THROTTLE
    assert [one.done for one in grid.freeze()] == [True]


def test_a_return_is_asked_about_by_exactly_its_machines(grid: Grid) -> None:
    request = grid.ask(4, fleet_type="maintain", vm_types={"m5.xlarge": 2})
    grid.sleep(21)
    grid.discover()
    (first,) = grid.live(request)
    grid.calls()
    found = grid.about(first)
    assert ids(found.instances) == {first.instance_id}
    assert grid.calls() == {"DescribeInstances": 1}


def test_a_machine_released_from_an_open_maintain_fleet_is_not_replaced(grid: Grid) -> None:
    grid.aws.set_capacity("m5.xlarge", ZONE, "on-demand", 2)
    request = grid.ask(6, fleet_type="maintain", vm_types={"m5.xlarge": 2})
    grid.sleep(70)
    grid.discover()
    first, second = grid.live(request)
    modified_within(grid, 1)
    grid.calls()

    released = grid.release(request, first)

    assert released.ending == {first.instance_id}
    assert grid.calls() == {"DescribeFleets": 2 + 1, "ModifyFleet": 1, "TerminateInstances": 1}
    (fleet,) = grid.aws.region().fleets.values()
    assert fleet.config["TargetCapacitySpecification"]["TotalTargetCapacity"] == 4
    assert fleet.config["ExcessCapacityTerminationPolicy"] == "no-termination"
    grid.sleep(180)
    assert len(grid.running(request)) == 2  # the room it left serves the unit that was still missing
    assert second.instance_id in ids(grid.running(request))
    grid.discover()
    assert grid.now(request).status is RequestStatus.COMPLETED


def test_a_repeated_return_lowers_the_target_once(grid: Grid) -> None:
    request = grid.ask(3, fleet_type="maintain")
    grid.sleep(21)
    grid.discover()
    one, two = grid.live(request)
    modified_within(grid, 1)
    grid.fail("TerminateInstances", THROTTLED, THROTTLED, THROTTLED)
    assert set(grid.release(request, one, two).faults) == {one.instance_id, two.instance_id}
    (fleet,) = grid.aws.region().fleets.values()
    assert fleet.targets()["on-demand"] == 1
    journal = grid.context.journal
    assert any(intent.outcome is None for intent in journal.steps(request.request_id))

    assert grid.release(request, two).ending == {two.instance_id}
    assert grid.release(request, one).ending == {one.instance_id}

    assert fleet.targets()["on-demand"] == 1
    grid.sleep(90)
    assert len(grid.running(request)) == 1


@pytest.mark.parametrize("when", ["reset before", "reset after"])
def test_a_death_while_the_target_is_lowered_is_gone_on_with(grid: Grid, when: str) -> None:
    request = grid.ask(3, fleet_type="maintain")
    grid.sleep(21)
    grid.discover()
    one, *_ = grid.live(request)
    modified_within(grid, 1)
    grid.fail("ModifyFleet", when, when)
    assert set(grid.release(request, one).faults) == {one.instance_id}
    grid.sleep(50)
    assert one.instance_id in ids(grid.running(request))

    assert grid.release(request, one).ending == {one.instance_id}

    (fleet,) = grid.aws.region().fleets.values()
    assert fleet.targets()["on-demand"] == 2
    grid.sleep(90)
    assert len(grid.running(request)) == 2


def test_machines_of_a_fleet_still_being_modified_wait(grid: Grid) -> None:
    request = grid.ask(3, fleet_type="maintain")
    grid.sleep(50)
    grid.discover()
    one, *_ = grid.live(request)
    modified_within(grid, 30)
    released = grid.release(request, one)
    assert released.faults[one.instance_id].code == "FleetModifying"
    assert len(grid.running(request)) == 3
    grid.sleep(30)
    assert grid.release(request, one).ending == {one.instance_id}


def test_the_parts_of_a_mixed_target_are_lowered_by_their_own(grid: Grid) -> None:
    request = grid.ask(4, fleet_type="maintain", price_type="spot", percent_on_demand=50)
    grid.sleep(70)
    grid.discover()
    spot = next(one for one in grid.live(request) if one.price_type == "spot")
    grid.release(request, spot)
    (fleet,) = grid.aws.region().fleets.values()
    assert fleet.targets() == {"on-demand": 2, "spot": 1}


def test_a_request_that_ended_meanwhile_closes_what_the_journal_has_of_lowering(grid: Grid) -> None:
    request = grid.ask(2, fleet_type="maintain")
    grid.sleep(70)
    grid.discover()
    one, *_ = grid.live(request)
    modified_within(grid, 1)
    grid.fail("TerminateInstances", THROTTLED, THROTTLED, THROTTLED)
    grid.release(request, one)
    grid.freeze()
    assert all(intent.outcome is not None for intent in grid.context.journal.steps(request.request_id))
    assert grid.release(request, one).ending == {one.instance_id}


def test_an_instant_fleet_is_not_deleted_while_a_machine_of_it_may_live(grid: Grid) -> None:
    request = grid.ask(2)
    grid.until_done()
    grid.freeze()
    machines = grid.live(request)
    grid.release(request, *machines)  # shutting down, not ended
    (outcome,) = grid.provider.cleanup((grid.now(request),), grid.context)
    assert not outcome.done
    assert outcome.faults[0].code == "InstancesLeft"
    assert "DeleteFleets" not in grid.calls()


@pytest.mark.parametrize("kind", ["instant", "request", "maintain"])
def test_a_machine_that_nobody_has_seen_is_ended_before_the_clean_up(grid: Grid, kind: str) -> None:
    request = grid.ask(3, fleet_type=kind)
    grid.until_done()
    grid.freeze()
    stranger, *known = grid.live(request)
    del grid.machines[stranger.instance_id]
    grid.release(request, *known)
    grid.sleep(90)
    grid.discover()
    (outcome,) = grid.cleanup()
    assert not outcome.done
    assert stranger.instance_id in outcome.faults[0].message
    grid.sleep(90)
    assert [one.done for one in grid.cleanup()] == [True]
    assert not grid.aws.live_instances()


def test_thirty_instant_fleets_are_removed_by_two_calls(grid: Grid) -> None:
    for _ in range(30):
        grid.ask(1)
    grid.until_done()
    grid.freeze()
    for request in grid.requests.values():
        grid.release(request, *grid.live(request))
    grid.sleep(90)
    grid.discover()
    grid.calls()
    assert all(one.done for one in grid.cleanup())
    assert grid.calls() == {"DescribeFleets": 1, "DescribeInstances": 1, "DeleteFleets": 2}


def test_an_instant_heterogeneous_request_buys_at_once_what_spot_does_not_have(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "spot", 1)
    request = grid.ask(3, price_type="heterogeneous", vm_types_on_demand={"m5.xlarge": 2})
    assert len(request.resource_ids) == 2
    grid.until_done()
    found = sorted((one.instance_type, one.price_type) for one in grid.live(request))
    assert found == [("m5.large", "spot"), ("m5.xlarge", "ondemand")]
    assert grid.now(request).status is RequestStatus.COMPLETED


def test_an_on_demand_part_that_is_refused_leaves_what_spot_gave(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "spot", 1)
    refusal = AwsError("VcpuLimitExceeded", "You have requested more vCPU capacity than your limit.", 400)
    original = grid.clients("ec2", "quick")
    sent: list[Any] = []
    create = original.create_fleet

    def refusing(**asked: object) -> object:
        sent.append(asked)
        if len(sent) == 2:
            grid.fail("CreateFleet", refusal)
        return create(**asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(original, "create_fleet", refusing)
        request = grid.ask(3, price_type="heterogeneous")
    assert len(grid.live(request)) == 1
    assert [fault.kind for fault in request.faults] == [FaultKind.CAPACITY, FaultKind.QUOTA]
    grid.until_done()
    assert grid.now(request).status is RequestStatus.COMPLETED_WITH_ERRORS


@pytest.mark.parametrize("kind", ["request", "maintain"])
def test_what_spot_has_not_filled_in_its_time_is_bought_on_demand(grid: Grid, kind: str) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "spot", 1)
    request = grid.ask(3, fleet_type=kind, price_type="heterogeneous")
    grid.sleep(10 * 60)
    grid.advance()
    assert len(grid.now(request).resource_ids) == 1
    grid.sleep(15 * 60)
    grid.discover()

    grid.advance()
    grid.advance()

    assert len(grid.now(request).resource_ids) == 2
    grid.until_done()
    assert sorted(one.price_type for one in grid.live(request)) == ["ondemand", "ondemand", "spot"]
    assert grid.now(request).status is RequestStatus.COMPLETED
    assert [one.done for one in grid.freeze()] == [True]
    assert {one.state for one in grid.aws.region().fleets.values()} == {"deleted_running"}


def test_a_remainder_that_aws_does_not_know_yet_is_not_taken_for_gone(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "spot", 0)
    request = grid.ask(3, fleet_type="request", price_type="heterogeneous")
    grid.sleep(26 * 60)
    grid.advance()
    remainder = grid.aws.region().fleets.pop(grid.now(request).resource_ids[1])
    assert not grid.discover()[request.request_id].final
    grid.requests[request.request_id] = replace(grid.now(request), status=RequestStatus.CANCELLED)
    assert [one.done for one in grid.freeze()] == [False]
    grid.aws.region().fleets[remainder.id] = remainder
    assert [one.done for one in grid.freeze()] == [True]


def test_a_remainder_whose_call_was_not_answered_is_bought_once(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "spot", 1)
    request = grid.ask(3, fleet_type="request", price_type="heterogeneous")
    grid.sleep(26 * 60)
    grid.fail("CreateFleet", "reset after", "reset after")
    grid.advance()
    assert len(grid.now(request).resource_ids) == 1
    grid.sleep(90)
    grid.advance()
    assert len(grid.now(request).resource_ids) == 2
    grid.until_done()
    assert len(grid.running(request)) == 3


def test_machines_returned_before_spot_is_over_are_not_bought_again(grid: Grid) -> None:
    grid.aws.set_capacity("m5.large", ZONE, "spot", 2)
    request = grid.ask(3, fleet_type="request", price_type="heterogeneous")
    grid.sleep(60)
    grid.discover()
    grid.release(request, grid.live(request)[0])
    grid.aws.set_capacity("m5.large", ZONE, "spot", 1)
    grid.sleep(25 * 60)
    grid.discover()
    grid.advance()
    assert grid.now(request).provider_data["remainder"] <= 1
    grid.sleep(90)
    assert len(grid.running(request)) <= 2


def test_owned_resources_name_fleets_that_can_be_listed(grid: Grid) -> None:
    instant, maintain = grid.ask(1), grid.ask(1, fleet_type="maintain")
    found = grid.provider.owned_resources(grid.context)
    fleets = [one for one in found if one.kind == "fleet"]
    assert [(one.resource_id, one.request_id) for one in fleets] == [(maintain.resource_ids[0], maintain.request_id)]
    assert {one.request_id for one in found if one.kind == "instance"} >= {instant.request_id}
