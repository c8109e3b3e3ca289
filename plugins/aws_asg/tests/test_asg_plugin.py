"""What the hooks of ASG do on a strict AWS, from the first call to an empty account."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hfcore.aws.tags import OWNER
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.lifecycle import is_live
from hfcore.models import FaultKind, MachineStatus, RequestStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Rig

    from hfcore.models import Discovery, Request

CREATE, SUSPEND = "CreateAutoScalingGroup", "SuspendProcesses"
LEAVE = "TerminateInstanceInAutoScalingGroup"
GROUPS, INSTANCES = "DescribeAutoScalingGroups", "DescribeInstances"


def discovered(rig: Rig, request: Request) -> Discovery:
    (found,) = rig.asg.discover_instances(rig.asked(request), rig.context)
    return found


def two_zones(rig: Rig) -> tuple[str, ...]:
    """Give subnets of two zones, between which a group would move machines."""
    return tuple(rig.subnets[:2])


def cleaned(rig: Rig, *requests: Request) -> list[bool]:
    return [outcome.done for outcome in rig.asg.cleanup(requests, rig.context)]


def test_a_request_from_the_first_call_to_an_empty_account(rig: Rig) -> None:
    with rig.calls() as calls:
        request = rig.started(4, subnet_id=two_zones(rig))
    assert calls == {"CreateLaunchTemplate": 1, CREATE: 1, SUSPEND: 1}
    assert (request.resource_ids, request.refills) == ((f"asg-hf-{request.request_id}",), True)
    assert rig.group(request).suspended == {"AZRebalance"}

    assert rig.poll(request).machine_ids == ()
    rig.advance(61)
    request = rig.poll(request)
    assert (request.status, len(request.machine_ids)) == (RequestStatus.IN_PROGRESS, 2)
    rig.advance(300)
    with rig.calls() as calls:
        request = rig.poll(request)
    assert calls == {GROUPS: 1, INSTANCES: 1, SUSPEND: 1}
    assert (request.status, request.frozen) == (RequestStatus.COMPLETED, True)
    assert set(request.machine_ids) == rig.live()
    assert rig.group(request).suspended == {"AZRebalance", "Launch", "ReplaceUnhealthy"}

    with rig.calls() as calls:
        rig.poll(request)
    assert calls == {INSTANCES: 1}
    first, second, *others = request.machine_ids
    with rig.calls() as calls:
        assert rig.release(first, second) == {first, second}
    assert calls == {"TerminateInstances": 1}
    rig.advance(3000)
    assert rig.live() == set(others)

    rig.release(*others)
    rig.advance(600)
    request = rig.poll(request)
    assert not any(map(is_live, rig.machines_of(request)))
    assert cleaned(rig, request) == [True]
    rig.advance(600)
    assert (rig.live(), rig.aws.region().groups) == (set(), {})
    assert cleaned(rig, request) == [True]


def test_a_group_of_one_subnet_is_steady_without_a_call_until_it_is_frozen(rig: Rig) -> None:
    with rig.calls() as calls:
        request = rig.started(2)
    assert calls == {"CreateLaunchTemplate": 1, CREATE: 1}
    with rig.calls() as calls:
        assert rig.asg.advance((request,), rig.context) == ()
    assert calls == {}
    assert rig.group(request).suspended == set()

    rig.advance(600)
    with rig.calls() as calls:
        request = rig.poll(request)
    assert calls == {GROUPS: 1, INSTANCES: 1, SUSPEND: 1}
    assert (request.status, request.frozen) == (RequestStatus.COMPLETED, True)
    assert rig.group(request).suspended == {"AZRebalance", "Launch", "ReplaceUnhealthy"}


@pytest.mark.parametrize(("zones", "expected"), [(1, {CREATE: 1}), (2, {CREATE: 1, SUSPEND: 1})])
def test_a_request_of_a_known_template_takes_one_call_and_one_more_in_several_subnets(
    rig: Rig, zones: int, expected: dict[str, int]
) -> None:
    subnets = tuple(rig.subnets[:zones])
    rig.started(1, subnet_id=subnets)
    with rig.calls() as calls:
        rig.started(1, number=2, subnet_id=subnets)
    assert calls == expected


def test_requests_of_the_same_content_share_a_launch_template(rig: Rig) -> None:
    rig.started(1)
    with rig.calls() as calls:
        rig.started(1, number=2)
    assert calls == {CREATE: 1}


def test_spot_and_on_demand_are_mixed_as_asked(rig: Rig) -> None:
    request = rig.settled(4, price_type="spot", percent_on_demand=25, vm_types={"m5.large": 1, "c5.large": 1})
    assert sorted(one.price_type for one in rig.machines_of(request)) == ["ondemand", "spot", "spot", "spot"]


def test_a_member_that_ec2_does_not_show_yet_stays_pending(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(boot_seconds=1, fill_seconds=1, visible_after_seconds=100)
    request = rig.started(2)
    rig.advance(10)
    request = rig.poll(request)
    assert [(m.status, m.listed, m.instance_type) for m in rig.machines_of(request)] == [
        (MachineStatus.PENDING, False, "m5.large")
    ] * 2
    before = dict(rig.machines)
    rig.advance(10)
    assert rig.poll(request) == request
    assert rig.machines == before
    rig.advance(100)
    assert rig.poll(request).status is RequestStatus.COMPLETED


def test_a_short_group_says_why_only_after_a_while_and_always_in_the_same_words(rig: Rig) -> None:
    rig.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    request = rig.started(3)
    rig.advance(50)
    with rig.calls() as calls:
        assert discovered(rig, request).faults == ()
    assert calls == {GROUPS: 1}
    rig.advance(300)
    with rig.calls() as calls:
        found = discovered(rig, request)
    assert calls == {GROUPS: 1, INSTANCES: 1, "DescribeScalingActivities": 1}
    assert [(f.code, f.kind) for f in found.faults] == [("InsufficientInstanceCapacity", FaultKind.CAPACITY)]
    assert (found.fulfilled, found.final) == (1.0, False)
    request = rig.poll(request)
    rig.advance(300)
    assert rig.poll(request) == request


def test_a_request_without_any_capacity_ends_at_its_deadline_and_launches_nothing_later(rig: Rig) -> None:
    rig.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 0)
    request = rig.started(2)
    rig.advance(1000)
    assert rig.poll(request).status is RequestStatus.IN_PROGRESS
    rig.advance(1000)
    request = rig.poll(request)
    assert (request.status, request.frozen) == (RequestStatus.FAILED, True)
    assert "InsufficientInstanceCapacity" in request.message
    rig.aws.set_capacity("m5.large", "us-east-1a", "on-demand", None)
    rig.advance(3600)
    assert rig.live() == set()
    assert cleaned(rig, request) == [True]
    assert rig.aws.region().groups == {}


def test_reasons_that_can_not_be_asked_for_hide_no_machine(rig: Rig) -> None:
    rig.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    request = rig.started(2)
    rig.advance(300)
    rig.refuse("DescribeScalingActivities", "AccessDenied", times=9, status=403)
    found = discovered(rig, request)
    assert (len(found.instances), found.faults) == (1, ())


def test_a_member_that_dies_is_replaced_until_the_request_has_ended(rig: Rig) -> None:
    rig.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 2)
    request = rig.started(3)
    rig.advance(300)
    request = rig.poll(request)
    dead = request.machine_ids[0]
    rig.aws.kill(dead)
    rig.advance(61)
    assert rig.poll(request).status is RequestStatus.IN_PROGRESS
    rig.aws.set_capacity("m5.large", "us-east-1a", "on-demand", None)
    rig.advance(600)
    request = rig.poll(request)
    assert (request.status, len(request.machine_ids)) == (RequestStatus.COMPLETED, 4)
    assert rig.live() == set(request.machine_ids) - {dead}


def test_fifty_open_requests_take_two_calls_and_fifty_settled_ones_take_one(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(boot_seconds=20, fill_seconds=20)
    requests = [rig.started(2, number=n) for n in range(50)]
    rig.advance(25)
    with rig.calls() as calls:
        rig.poll(*requests)
    assert calls == {GROUPS: 1, INSTANCES: 1}
    rig.advance(600)
    newest = rig.started(2, number=50)  # has no member yet
    with rig.calls() as calls:
        polled = rig.poll(*requests, newest)
    assert calls == {GROUPS: 1, INSTANCES: 1, SUSPEND: 50}
    assert [r.frozen for r in polled] == [True] * 50 + [False]
    with rig.calls() as calls:
        rig.poll(*requests)
    assert calls == {INSTANCES: 1}


def test_a_hundred_and_one_groups_take_one_call_more(rig: Rig) -> None:
    first, *others, last = (rig.new_request(1, number=n) for n in range(101))
    made = (rig.provision(first), rig.provision(last))
    rig.advance(120)
    with rig.calls() as calls:
        found = rig.asg.discover_instances((made[0], *others, made[1]), rig.context)
    assert calls == {GROUPS: 2, INSTANCES: 1}
    assert [len(one.instances) for one in found] == [1] + [0] * 99 + [1]


def test_the_machines_of_a_return_are_asked_for_by_id_alone(rig: Rig) -> None:
    open_one, settled = rig.started(2, number=1), rig.settled(2, number=2)
    open_one = rig.poll(open_one)
    ids = (open_one.machine_ids[0], settled.machine_ids[0])
    with rig.calls() as calls:
        found = discovered_return(rig, open_one, *ids)
    assert calls == {INSTANCES: 1}
    assert {one.instance_id for one in found.instances} == set(ids)


def discovered_return(rig: Rig, request: Request, *ids: str) -> Discovery:
    (found,) = rig.asg.discover_instances((rig.return_question(request, *ids),), rig.context)
    return found


@pytest.mark.parametrize(("zones", "expected"), [(1, {}), (2, {SUSPEND: 1})])
def test_provisioning_again_launches_nothing_more(rig: Rig, zones: int, expected: dict[str, int]) -> None:
    request = rig.new_request(2, subnet_id=tuple(rig.subnets[:zones]))
    assert request.template
    context = rig.context
    first = rig.asg.provision(request, request.template, context)
    with rig.calls() as calls:
        again = rig.asg.provision(request, request.template, rig.context)
    assert again == replace(first, account_id="")  # which only the making of the launch template tells
    assert calls == expected
    rig.advance(600)
    assert len(rig.live()) == 2


def test_what_was_begun_goes_on_without_the_template_s_files(rig: Rig) -> None:
    script = rig.settings.conf_dir / "start.sh"
    script.write_text("#!/bin/sh\n")
    request = rig.new_request(1, user_data_script="start.sh")
    with rig.death("after-call", CREATE):
        rig.provision(request)
    script.unlink()
    assert rig.provision(request).status is RequestStatus.IN_PROGRESS


def test_no_start_up_script_reaches_the_journal_or_the_plan(rig: Rig) -> None:
    rig.settings.conf_dir.joinpath("start.sh").write_text("password=hunter2")
    request = rig.new_request(1, user_data_script="start.sh")
    assert request.template
    assert "UserData" not in str(rig.asg.plan(request, request.template, rig.context))
    with rig.death("before-call", CREATE):
        rig.provision(request)
    assert "UserData" not in str(rig.journal().steps(request.request_id))


def test_an_unanswered_creation_is_found_by_its_name(rig: Rig) -> None:
    rig.fail(CREATE, "reset after")
    with rig.calls() as calls:
        request = rig.started(2)
    assert request.status is RequestStatus.IN_PROGRESS
    assert (calls[CREATE], calls[GROUPS]) == (1, 1)
    rig.advance(600)
    assert len(rig.live()) == 2


def test_a_creation_that_did_not_arrive_stays_open_and_is_sent_again(rig: Rig) -> None:
    rig.fail(CREATE, "reset before")
    request = rig.new_request(2)
    with pytest.raises(OutcomeUnknown):
        rig.provision(request)
    assert rig.aws.region().groups == {}
    assert rig.provision(request).status is RequestStatus.IN_PROGRESS


def test_a_creation_that_can_not_be_found_out_stays_open(rig: Rig) -> None:
    rig.fail(CREATE, "reset after")
    rig.refuse(GROUPS, "AccessDenied", times=1, status=403)
    request = rig.new_request(2)
    with pytest.raises(OutcomeUnknown):
        rig.provision(request)
    assert rig.provision(request).status is RequestStatus.IN_PROGRESS


def test_a_replay_that_is_refused_proves_nothing_until_the_first_call_is_long_past(rig: Rig) -> None:
    request = rig.new_request(2)
    with rig.death("before-call", CREATE):
        rig.provision(request)
    rig.refuse(CREATE, "ValidationError", "The subnet ID 'subnet-1' does not exist", times=2)
    with pytest.raises(OutcomeUnknown):
        rig.provision(request)
    rig.advance(301)
    with pytest.raises(CloudError) as caught:
        rig.provision(request)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert rig.journal().steps(request.request_id)[-1].step == "launch-template"


def test_a_replay_that_is_not_answered_proves_nothing_however_late(rig: Rig) -> None:
    request = rig.new_request(2)
    with rig.death("before-call", CREATE):
        rig.provision(request)
    rig.advance(301)
    rig.fail(CREATE, "reset before")
    with pytest.raises(OutcomeUnknown):
        rig.provision(request)
    assert rig.provision(request).status is RequestStatus.IN_PROGRESS


def test_past_its_deadline_a_group_is_taken_up_but_never_made(rig: Rig) -> None:
    made, lost = rig.new_request(2, number=1), rig.new_request(2, number=2)
    with rig.death("after-call", CREATE):
        rig.provision(made)
    with rig.death("before-call", CREATE):
        rig.provision(lost)
    rig.advance(3600)
    assert rig.provision(made).status is RequestStatus.IN_PROGRESS
    with pytest.raises(CloudError, match="deadline"), rig.calls() as calls:
        rig.provision(lost)
    assert calls[CREATE] == 0
    assert len(rig.aws.region().groups) == 1


def test_a_group_of_the_same_name_that_is_not_ours_is_left_alone(rig: Rig) -> None:
    request = rig.started(1, subnet_id=two_zones(rig))
    group = rig.group(request)
    group.params["Tags"] = []
    group.suspended.clear()
    with pytest.raises(CloudError, match="not this request's") as caught:
        rig.provision(request)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert rig.group(request) is group
    assert group.suspended == set()


def test_a_launch_template_that_is_lost_is_made_again_once(rig: Rig) -> None:
    rig.started(1)
    rig.aws.region().templates.clear()
    with rig.calls() as calls:
        rig.started(1, number=2)
    assert calls == {CREATE: 2, "CreateLaunchTemplate": 1}


def test_a_throttled_creation_is_tried_again_and_then_refused(rig: Rig) -> None:
    rig.refuse(CREATE, "Throttling", "Rate exceeded", times=2)
    assert rig.started(1).status is RequestStatus.IN_PROGRESS
    rig.refuse(CREATE, "Throttling", "Rate exceeded", times=3)
    with pytest.raises(CloudError) as caught:
        rig.started(1, number=2)
    assert caught.value.fault.kind is FaultKind.THROTTLE
    assert not isinstance(caught.value, OutcomeUnknown)
    assert len(rig.aws.region().groups) == 1


def test_a_group_that_could_not_be_steadied_is_kept_and_steadied_later(rig: Rig) -> None:
    rig.refuse(SUSPEND, "Throttling", "Rate exceeded", times=3)
    request = rig.started(2, subnet_id=two_zones(rig))
    assert (request.status, rig.group(request).suspended) == (RequestStatus.IN_PROGRESS, set())
    (made,) = rig.asg.advance((request,), rig.context)
    request = rig.take_in(request, made)
    assert rig.group(request).suspended == {"AZRebalance"}
    assert (request.refills, request.resource_ids) == (True, (f"asg-hf-{request.request_id}",))
    with rig.calls() as calls:
        assert rig.asg.advance((request,), rig.context) == ()
    assert calls == {}


def test_a_freeze_that_fails_is_not_done_and_says_why(rig: Rig) -> None:
    request = rig.started(1)
    rig.refuse(SUSPEND, "AccessDenied", status=403)
    (outcome,) = rig.asg.stop_launching((request,), rig.context)
    assert (outcome.done, outcome.faults[0].code) == (False, "AccessDenied")
    (outcome,) = rig.asg.stop_launching((request,), rig.context)
    assert (outcome.done, outcome.faults) == (True, ())


def test_a_member_of_an_open_group_leaves_through_the_group(rig: Rig) -> None:
    request = rig.started(4)
    rig.advance(61)
    request = rig.poll(request)
    victim, other = request.machine_ids
    with rig.calls() as calls:
        assert rig.release(victim) == {victim}
    assert calls == {GROUPS: 1, LEAVE: 1}
    assert rig.group(request).desired == 3
    with rig.calls() as calls:
        assert rig.release(victim) == {victim}
    assert calls == {GROUPS: 1}
    assert rig.group(request).desired == 3
    rig.advance(600)
    request = rig.poll(request)
    assert (request.status, len(rig.live())) == (RequestStatus.COMPLETED, 3)
    assert other in rig.live()
    rig.advance(3600)
    assert len(rig.live()) == 3


def test_weights_leave_the_group_with_their_machines(rig: Rig) -> None:
    rig.aws.set_capacity("m5.xlarge", "us-east-1a", "on-demand", 2)
    request = rig.started(6, vm_types={"m5.xlarge": 2})
    rig.advance(300)
    request = rig.poll(request)
    rig.release(request.machine_ids[0])
    assert rig.group(request).desired == 4


def test_a_group_that_has_all_it_still_wants_is_final(rig: Rig) -> None:
    rig.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 2)
    request = rig.started(3)
    rig.advance(300)
    request = rig.poll(request)
    assert not discovered(rig, request).final
    rig.release(request.machine_ids[0])
    rig.advance(30)
    assert not discovered(rig, request).final
    rig.group(request).desired = 1
    assert discovered(rig, request).final


def test_a_machine_that_is_no_member_any_more_is_ended_by_ec2(rig: Rig) -> None:
    request = rig.started(2)
    rig.advance(300)
    request = rig.keep(replace(rig.poll(request), frozen=False))
    first, second = request.machine_ids
    del rig.group(request).members[first]
    with rig.calls() as calls:
        assert rig.release(first, second) == {first, second}
    assert calls == {GROUPS: 1, LEAVE: 1, "TerminateInstances": 1}
    rig.advance(120)
    assert rig.live().isdisjoint({first, second})


def test_a_member_that_leaves_meanwhile_is_ended_by_ec2(rig: Rig) -> None:
    request = rig.started(2)
    rig.advance(61)
    request = rig.poll(request)
    text = f"Instance Id not found - No managed instance found for instance ID: {request.machine_ids[0]}"
    rig.refuse(LEAVE, "ValidationError", text)
    with rig.calls() as calls:
        assert rig.release(request.machine_ids[0]) == {request.machine_ids[0]}
    assert calls == {GROUPS: 1, LEAVE: 1, "TerminateInstances": 1}


@pytest.mark.parametrize("after", [True, False])
def test_an_unanswered_departure_lowers_the_desired_capacity_once(rig: Rig, after: bool) -> None:  # noqa: FBT001
    request = rig.started(2)
    rig.advance(300)
    request = rig.keep(replace(rig.poll(request), frozen=False))
    victim = request.machine_ids[0]
    rig.fail(LEAVE, "reset after" if after else "reset before")
    (released,) = rig.asg.release_instances(rig.releases(victim), rig.context)
    assert released.faults.keys() == {victim}
    assert rig.release(victim) == {victim}
    assert rig.group(request).desired == 1
    assert all(one.outcome is not None for one in rig.journal().steps("ret-1"))


def test_what_can_not_leave_is_told_machine_by_machine(rig: Rig) -> None:
    request = rig.started(2)
    rig.advance(300)
    request = rig.keep(replace(rig.poll(request), frozen=False))
    rig.refuse(LEAVE, "ResourceContention", status=500, times=3)
    (released,) = rig.asg.release_instances(rig.releases(request.machine_ids[0]), rig.context)
    assert {i: fault.code for i, fault in released.faults.items()} == {request.machine_ids[0]: "ResourceContention"}
    rig.refuse(GROUPS, "AccessDenied", status=403)
    (released,) = rig.asg.release_instances(rig.releases(*request.machine_ids), rig.context)
    assert released.faults.keys() == set(request.machine_ids)
    assert rig.live() == set(request.machine_ids)


def test_settled_machines_of_many_requests_end_in_one_call(rig: Rig) -> None:
    first, second, third = rig.settled(2, number=1), rig.settled(2, number=2), rig.started(2, number=3)
    rig.advance(61)
    third = rig.poll(third)
    wanted = (first.machine_ids[0], second.machine_ids[1], third.machine_ids[0])
    releases = rig.releases(*wanted)
    with rig.calls() as calls:
        done = rig.asg.release_instances(releases, rig.context)
    assert calls == {"TerminateInstances": 1, GROUPS: 1, LEAVE: 1}
    assert [(one.request_id, set(one.ending)) for one in done] == [
        (r.request.request_id, {r.machines[0].instance_id}) for r in releases
    ]


def test_a_group_with_something_alive_in_it_is_not_deleted(rig: Rig) -> None:
    request = rig.settled(2)
    first, second = request.machine_ids
    rig.release(first)
    rig.advance(120)
    (outcome,) = rig.asg.cleanup((request,), rig.context)
    assert (outcome.done, [fault.subject for fault in outcome.faults]) == (False, [second])
    assert rig.live() == {second}


def test_what_the_group_launched_so_late_that_nobody_knows_it_is_ended_before_the_group(rig: Rig) -> None:
    request = rig.settled(2)
    first, _late = request.machine_ids
    rig.release(first)
    rig.advance(120)
    unaware = replace(request, machine_ids=(first,))
    (outcome,) = rig.asg.cleanup((unaware,), rig.context)
    assert (outcome.done, [fault.code for fault in outcome.faults]) == (False, ["LateInstances"])
    assert rig.live() == set()
    rig.advance(120)
    assert cleaned(rig, unaware) == [True]


def test_a_new_member_that_ec2_does_not_show_yet_keeps_the_group(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(boot_seconds=1, fill_seconds=1, visible_after_seconds=100)
    request = rig.started(1)
    rig.advance(10)
    assert cleaned(rig, request) == [False]
    assert len(rig.live()) == 1


@pytest.mark.parametrize("owner", ["somebody-else", None])
def test_a_group_that_lost_our_owner_tag_is_left_alone(rig: Rig, owner: str | None) -> None:
    request = rig.settled(2)
    rig.release(*request.machine_ids)
    rig.advance(120)
    given = rig.group(request).params["Tags"]
    rig.group(request).params["Tags"] = [
        tag | {"Value": owner} if tag["Key"] == OWNER else tag for tag in given if owner or tag["Key"] != OWNER
    ]
    assert cleaned(rig, request) == [True]
    rig.advance(300)
    assert list(rig.aws.region().groups) == [*request.resource_ids]


def test_the_dead_may_linger_in_a_group_that_is_deleted(rig: Rig) -> None:
    request = rig.settled(2)
    rig.release(*request.machine_ids)
    rig.advance(7200)
    assert set(rig.group(request).members) == set(request.machine_ids)  # aged out of EC2, still listed by the group
    assert cleaned(rig, request) == [True]
    rig.advance(300)
    assert rig.aws.region().groups == {}


def test_a_group_that_is_gone_counts_as_stopped_and_cleaned(rig: Rig) -> None:
    request = rig.settled(1)
    rig.aws.region().groups.clear()
    (outcome,) = rig.asg.stop_launching((request,), rig.context)
    assert outcome.done
    assert cleaned(rig, request) == [True]


def test_the_machines_of_a_group_that_vanished_are_still_found(rig: Rig) -> None:
    request = rig.started(2)
    rig.advance(61)
    request = rig.poll(request)
    rig.advance(600)
    rig.aws.region().groups.clear()
    found = discovered(rig, request)
    assert (found.final, [fault.code for fault in found.faults]) == (True, ["GroupNotFound"])
    assert {one.instance_id for one in found.instances} == rig.live()  # one of them is known by its tag alone
    request = rig.poll(request)
    assert (request.status, request.frozen) == (RequestStatus.COMPLETED, True)


def test_a_group_that_is_being_deleted_is_final(rig: Rig) -> None:
    rig.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    request = rig.started(2)
    rig.advance(300)
    request = rig.poll(request)
    rig.group(request).deleting = True
    found = discovered(rig, request)
    assert (found.final, [fault.code for fault in found.faults]) == (True, ["GroupNotFound"])


def test_a_group_that_is_not_visible_yet_is_waited_for(rig: Rig) -> None:
    request = rig.started(2)
    groups = dict(rig.aws.region().groups)
    rig.aws.region().groups.clear()
    assert rig.poll(request) == request
    rig.aws.region().groups.update(groups)
    rig.advance(600)
    assert rig.poll(request).status is RequestStatus.COMPLETED


def test_group_and_machines_gone_at_once_may_be_another_account(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", rig.aws.endpoint_url)  # by which the account is made sure of
    rig.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    request = rig.started(2)
    rig.advance(200)
    request = rig.poll(request)
    assert [one.status for one in rig.machines_of(request)] == [MachineStatus.RUNNING]
    rig.aws.region().groups.clear()
    rig.aws.region().instances.clear()
    for _ in range(2):  # while it is new nobody asks for the account, and the look does not count
        assert rig.poll(request).status is RequestStatus.IN_PROGRESS
        rig.advance(400)
    rig.poll(request)
    assert rig.poll(request).status is RequestStatus.COMPLETED_WITH_ERRORS


def test_all_that_is_ours_is_listed(rig: Rig) -> None:
    request = rig.started(1)
    rig.advance(61)
    owned = rig.asg.owned_resources(rig.context)
    assert {(one.kind, one.request_id) for one in owned} == {
        ("group", request.request_id),
        ("instance", request.request_id),
        ("launch-template", ""),
    }
    group = next(one for one in owned if one.kind == "group")
    assert (group.resource_id, group.status, group.template_id) == (request.resource_ids[0], "active", "Group")
    assert group.created_at is not None


@pytest.mark.parametrize(("zones", "operations"), [(1, [CREATE]), (2, [CREATE, SUSPEND])])
def test_the_plan_is_what_is_sent(rig: Rig, zones: int, operations: list[str]) -> None:
    fields = {"price_type": "spot", "vm_types": {"m5.large": 1, "m5.xlarge": 2}}
    request = rig.new_request(3, subnet_id=tuple(rig.subnets[:zones]), **fields)
    assert request.template
    planned = rig.asg.plan(request, request.template, rig.context)
    assert rig.aws.calls == []
    rig.provision(request)
    assert [(call.operation, call.parameters) for call in planned[1:]] == [
        (call.operation, call.parameters) for call in rig.aws.calls[1:]
    ]
    assert [call.operation for call in planned] == [call.operation for call in rig.aws.calls]
    assert [call.operation for call in planned] == ["CreateLaunchTemplate", *operations]


def test_the_alias_is_the_same_plug_in(rig: Rig) -> None:
    from hfcore.plugins import Plugins, installed

    plugins = Plugins(installed("hfcore.providers"), logger=rig.context.logger)
    alias = plugins.provider("autoscalinggroup")
    assert alias.candidate.distribution == "hfcore-aws-asg"
    assert alias.info == rig.asg.info
