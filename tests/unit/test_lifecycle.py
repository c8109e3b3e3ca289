"""How requests and machines change status, and what never happens to them."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcore import lifecycle, observing, standing, usage
from hfcore.models import (
    Discovery,
    Fault,
    FaultKind,
    Instance,
    Machine,
    MachineStatus,
    Provisioned,
    Reclaim,
    Released,
    Request,
    RequestKind,
    RequestStatus,
)
from hfcore.standing import Result

if TYPE_CHECKING:
    from hfcore.observing import Observed

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PENDING_TIMEOUT = timedelta(minutes=3)
FULL = Fault(code="InsufficientInstanceCapacity", message="no room", kind=FaultKind.CAPACITY)

PENDING, RUNNING = MachineStatus.PENDING, MachineStatus.RUNNING
STOPPED, SHUTTING_DOWN, TERMINATED = MachineStatus.STOPPED, MachineStatus.SHUTTING_DOWN, MachineStatus.TERMINATED
IN_PROGRESS, COMPLETED = RequestStatus.IN_PROGRESS, RequestStatus.COMPLETED
KEPT = {"instance_id", "request_id", "observed_at"}
FINAL = [
    RequestStatus.COMPLETED,
    RequestStatus.COMPLETED_WITH_ERRORS,
    RequestStatus.FAILED,
    RequestStatus.CANCELLED,
]


def a_request(**changed: object) -> Request:
    values: dict[str, Any] = {
        "request_id": "req-1",
        "status": IN_PROGRESS,
        "target": 2,
        "provider_api": "Fake",
        "resource_ids": ("group-1",),
        "created_at": NOW,
        "deadline": NOW + 30 * MINUTE,
    }
    return Request(**(values | changed))


def an_instance(number: int = 1, status: MachineStatus = RUNNING, **changed: object) -> Instance:
    values: dict[str, Any] = {
        "instance_id": f"i-{number}",
        "resource_id": "group-1",
        "status": status,
        "private_ip": f"10.0.0.{number}",
        "private_dns": f"ip-10-0-0-{number}",
        "launch_time": NOW,
    }
    return Instance(**(values | changed))


def a_machine(number: int = 1, status: MachineStatus = RUNNING, **changed: object) -> Machine:
    values: dict[str, Any] = {
        "instance_id": f"i-{number}",
        "request_id": "req-1",
        "resource_id": "group-1",
        "status": status,
        "name": f"ip-10-0-0-{number}",
        "private_ip": f"10.0.0.{number}",
        "private_dns": f"ip-10-0-0-{number}",
        "launch_time": NOW,
        "observed_at": NOW,
        "listed": True,
    }
    return Machine(**(values | changed))


def seen(*instances: Instance, at: datetime = NOW + MINUTE, **changed: object) -> Discovery:
    running = sum(one.weight for one in instances if one.status is RUNNING)
    values: dict[str, Any] = {
        "request_id": "req-1",
        "instances": instances,
        "fulfilled": running,
        "observed_at": at,
        "account_id": "1",
    }
    return Discovery(**(values | changed))


def observe(
    request: Request,
    known: tuple[Machine, ...],
    discovery: Discovery,
    *,
    asked: frozenset[str] | None = None,
    now: datetime | None = None,
) -> Observed:
    return observing.observe(
        request,
        known,
        discovery,
        asked=frozenset(one.instance_id for one in known) if asked is None else asked,
        now=now or discovery.observed_at,
        name_of=lambda instance: instance.private_dns,
        pending_timeout=PENDING_TIMEOUT,
    )


# What a request becomes


def test_a_provisioned_request_is_in_progress_and_knows_its_resources_and_machines() -> None:
    made = Provisioned(
        request_id="req-1",
        resource_ids=("fleet-1",),
        instances=(an_instance(1), an_instance(2)),
        provider_data={"token": "t"},
        refills=True,
        account_id="1",
    )
    request = lifecycle.provisioned(a_request(status=RequestStatus.CREATING, resource_ids=(), process="p"), made, NOW)
    assert request.status is IN_PROGRESS
    assert request.resource_ids == ("fleet-1",)
    assert request.machine_ids == ("i-1", "i-2")
    assert request.provider_data == {"token": "t"}
    assert (request.refills, request.account_id, request.process) == (True, "1", "")


def test_a_request_that_was_refused_for_good_without_a_machine_has_failed_with_the_reason() -> None:
    made = Provisioned(request_id="req-1", faults=(FULL,), final=True)
    request = lifecycle.provisioned(a_request(status=RequestStatus.CREATING), made, NOW)
    assert request.status is RequestStatus.FAILED
    assert request.ended_at == NOW
    assert "InsufficientInstanceCapacity" in request.message


def test_a_final_answer_with_a_machine_in_it_is_in_progress() -> None:
    made = Provisioned(request_id="req-1", instances=(an_instance(1),), faults=(FULL,), final=True)
    assert lifecycle.provisioned(a_request(status=RequestStatus.CREATING), made, NOW).status is IN_PROGRESS


def test_a_final_answer_without_a_new_machine_does_not_fail_a_request_that_has_one() -> None:
    made = Provisioned(request_id="req-1", faults=(FULL,), final=True)
    assert lifecycle.provisioned(a_request(machine_ids=("i-1",)), made, NOW).status is IN_PROGRESS


def test_a_second_answer_adds_resources_and_machines_and_doubles_none() -> None:
    made = Provisioned(request_id="req-1", resource_ids=("group-1", "r-2"), instances=(an_instance(1), an_instance(2)))
    request = lifecycle.provisioned(a_request(machine_ids=("i-1",)), made, NOW)
    assert request.resource_ids == ("group-1", "r-2")
    assert request.machine_ids == ("i-1", "i-2")


@pytest.mark.parametrize("status", FINAL)
def test_an_answer_that_comes_after_the_end_adds_machines_but_moves_nothing(status: RequestStatus) -> None:
    made = Provisioned(request_id="req-1", instances=(an_instance(1),))
    request = lifecycle.provisioned(a_request(status=status, ended_at=NOW), made, NOW + MINUTE)
    assert (request.status, request.ended_at, request.machine_ids) == (status, NOW, ("i-1",))


def test_a_request_is_complete_when_its_units_run_and_none_pends() -> None:
    observed = observe(a_request(), (), seen(an_instance(1), an_instance(2)))
    assert observed.request.status is COMPLETED
    assert observed.request.ended_at == NOW + MINUTE
    assert observed.request.machine_ids == ("i-1", "i-2")
    assert observed.request.message == "2 units on 2 running machines"


def test_a_request_is_not_complete_while_a_machine_pends() -> None:
    discovery = seen(an_instance(1), an_instance(2), an_instance(3, PENDING))
    assert observe(a_request(), (), discovery).request.status is IN_PROGRESS


def test_a_request_is_not_complete_while_units_are_missing() -> None:
    assert observe(a_request(), (), seen(an_instance(1))).request.status is IN_PROGRESS


def test_units_count_and_not_machines() -> None:
    observed = observe(a_request(target=8), (), seen(an_instance(1, weight=8.0)))
    assert observed.request.status is COMPLETED
    assert observed.request.message == "8 units on 1 running machine"


def test_a_request_that_ends_short_has_errors_and_says_why() -> None:
    observed = observe(a_request(), (), seen(an_instance(1), final=True, faults=(FULL,)))
    assert observed.request.status is RequestStatus.COMPLETED_WITH_ERRORS
    assert "1 unit of 2" in observed.request.message
    assert "InsufficientInstanceCapacity: no room" in observed.request.message


def test_what_was_lost_is_said_once_for_each_reason_with_how_many_it_took() -> None:
    lost = [an_instance(number, TERMINATED, message="Server.InternalError: it broke") for number in (1, 2)]
    short = observe(a_request(target=4), (), seen(*lost, an_instance(3), final=True, faults=(FULL,))).request
    assert short.message == (
        "1 unit of 4 on 1 running machine, nothing more will come: InsufficientInstanceCapacity: no room; "
        "2 machines lost: Server.InternalError: it broke"
    )


def test_a_machine_that_pended_too_long_is_the_reason_of_a_shortfall() -> None:
    pending = an_instance(1, PENDING, launch_time=NOW - 4 * MINUTE)
    short = observe(a_request(target=1), (), seen(pending, at=NOW, final=True)).request
    assert short.message.endswith("nothing more will come: 1 machine lost: it was pending for longer than 180 s")


def test_a_final_shortfall_waits_for_the_machine_that_still_pends() -> None:
    assert observe(a_request(), (), seen(an_instance(1, PENDING), final=True)).request.status is IN_PROGRESS


def test_a_request_whose_cloud_gives_up_without_any_machine_has_failed() -> None:
    assert observe(a_request(), (), seen(final=True, faults=(FULL,))).request.status is RequestStatus.FAILED


def test_a_request_past_its_deadline_ends_with_what_there_is() -> None:
    observed = observe(a_request(), (), seen(an_instance(1), at=NOW + 30 * MINUTE))
    assert observed.request.status is RequestStatus.COMPLETED_WITH_ERRORS
    assert "the deadline has passed" in observed.request.message


def test_a_request_is_not_ended_a_moment_before_its_deadline() -> None:
    just_before = NOW + 30 * MINUTE - timedelta(microseconds=1)
    assert observe(a_request(), (), seen(an_instance(1), at=just_before)).request.status is IN_PROGRESS


def test_a_request_that_is_fulfilled_at_its_deadline_is_complete() -> None:
    discovery = seen(an_instance(1), an_instance(2), at=NOW + 31 * MINUTE)
    assert observe(a_request(), (), discovery).request.status is COMPLETED


def test_a_machine_still_pending_at_the_deadline_is_to_be_ended() -> None:
    observed = observe(
        a_request(), (), seen(an_instance(1, PENDING, launch_time=NOW + 29 * MINUTE), at=NOW + 30 * MINUTE)
    )
    assert observed.request.status is RequestStatus.COMPLETED_WITH_ERRORS
    assert "deadline" in observed.unwanted["i-1"]


def test_a_request_without_a_deadline_never_is_overdue() -> None:
    observed = observe(a_request(deadline=None), (), seen(an_instance(1), at=NOW + timedelta(days=9)))
    assert observed.request.status is IN_PROGRESS


def test_reasons_for_a_shortfall_are_kept_once_each_and_the_newest_ten() -> None:
    faults = tuple(Fault(code=f"E{number}", message="m") for number in range(12))
    request = observe(a_request(faults=faults[:3]), (), seen(an_instance(1), faults=faults)).request
    assert [fault.code for fault in request.faults] == [f"E{number}" for number in range(2, 12)]


# What stays as it is


@pytest.mark.parametrize("status", FINAL)
def test_an_ended_request_never_moves_again(status: RequestStatus) -> None:
    request = a_request(status=status, ended_at=NOW, message="m", machine_ids=("i-1",))
    for discovery in (seen(), seen(an_instance(1)), seen(an_instance(1, TERMINATED), final=True, at=NOW + 99 * MINUTE)):
        after = observe(request, (a_machine(1),), discovery).request
        assert (after.status, after.ended_at, after.message) == (status, NOW, "m")


def test_a_machine_that_dies_after_completion_turns_fail_and_its_request_stays_complete() -> None:
    request = a_request(status=COMPLETED, machine_ids=("i-1", "i-2"))
    observed = observe(request, (a_machine(1), a_machine(2)), seen(an_instance(1), an_instance(2, TERMINATED)))
    assert observed.request.status is COMPLETED
    results = [standing.result(machine, observed.request) for machine in observed.machines]
    assert results == [Result.SUCCEED, Result.FAIL]


@pytest.mark.parametrize("ahead", [9 * MINUTE, timedelta(days=1)])
def test_a_clock_that_was_set_back_ends_no_machine_that_runs(ahead: timedelta) -> None:
    request = a_request(machine_ids=("i-1", "i-2"), deadline=NOW + ahead + 30 * MINUTE)
    known = tuple(a_machine(number, PENDING, observed_at=NOW + ahead) for number in (1, 2))
    observed = observe(request, known, seen(an_instance(1), an_instance(2), at=NOW + 4 * MINUTE))
    assert not observed.unwanted
    assert (observed.request.status is COMPLETED) == (ahead > lifecycle.CLOCK_SET_BACK)


def test_a_machine_seen_by_a_clock_that_was_set_back_since_is_missed_all_the_same() -> None:
    known = (a_machine(1), a_machine(2, observed_at=NOW + timedelta(days=1)))
    observed = observe(a_request(status=COMPLETED, machine_ids=("i-1", "i-2")), known, seen(an_instance(1)))
    assert [machine.status for machine in observed.machines] == [RUNNING, TERMINATED]


def test_an_unchanged_observation_gives_back_the_same_records() -> None:
    request = a_request(account_id="1", machine_ids=("i-1", "i-2"))
    machines = (a_machine(1), a_machine(2, PENDING))
    observed = observe(request, machines, seen(an_instance(1), an_instance(2, PENDING)))
    assert observed.request == request
    assert all(after is before for after, before in zip(observed.machines, machines, strict=True))
    assert (observed.notice, dict(observed.unwanted)) == ("", {})


@pytest.mark.parametrize("name", [one.name for one in fields(Machine) if one.name not in KEPT])
def test_news_of_any_kind_are_taken_in(name: str) -> None:
    samples: dict[str, Any] = {"str": "new", "int": 7, "float": 7.0, "bool": True, "MachineStatus": STOPPED}
    samples |= {"datetime": NOW, "Reclaim": Reclaim(instance_id="i-1", code="rebalance", message="soon")}
    news = samples[str({one.name: one.type for one in fields(Machine)}[name]).removesuffix(" | None")]
    old = Machine(instance_id="i-1", request_id="req-1", status=RUNNING, observed_at=NOW, listed=name != "listed")
    merged = lifecycle.newer(old, replace(old, observed_at=NOW + MINUTE, **{name: news}))
    assert (getattr(merged, name), merged.observed_at) == (news, NOW + MINUTE)


def test_a_terminated_machine_never_becomes_running_again() -> None:
    dead, alive = a_machine(1, TERMINATED), a_machine(1, RUNNING, observed_at=NOW + MINUTE)
    assert lifecycle.newer(dead, alive).status is TERMINATED
    assert lifecycle.newer(alive, dead).status is TERMINATED


def test_the_newer_observation_wins_in_whatever_order_they_come() -> None:
    early, late = a_machine(1, PENDING), a_machine(1, RUNNING, observed_at=NOW + MINUTE)
    assert lifecycle.newer(early, late).status is RUNNING
    assert lifecycle.newer(late, early).status is RUNNING


def test_a_stale_observation_still_fills_in_what_was_not_known() -> None:
    late = a_machine(1, observed_at=NOW + MINUTE, private_ip="", name="")
    merged = lifecycle.newer(late, a_machine(1, PENDING, private_ip="10.9.9.9", name="n"))
    assert (merged.status, merged.private_ip, merged.name) == (RUNNING, "10.9.9.9", "n")


def test_an_address_once_known_is_not_lost_when_the_cloud_no_longer_shows_it() -> None:
    gone = a_machine(1, TERMINATED, observed_at=NOW + MINUTE, private_ip="", private_dns="", name="")
    merged = lifecycle.newer(a_machine(1), gone)
    assert (merged.private_ip, merged.private_dns, merged.name) == ("10.0.0.1", "ip-10-0-0-1", "ip-10-0-0-1")


@pytest.mark.parametrize("status", [RUNNING, STOPPED])
def test_a_public_address_is_lost_with_it_and_a_private_one_is_kept(status: MachineStatus) -> None:
    before = a_machine(1, public_ip="54.0.0.1", public_dns="ec2-54-0-0-1", private_ip="10.0.0.1")
    after = a_machine(1, status, private_ip="", observed_at=NOW + MINUTE)
    merged = lifecycle.newer(before, after)
    assert (merged.public_ip, merged.public_dns, merged.private_ip) == ("", "", "10.0.0.1")


def test_the_last_addresses_of_a_machine_that_is_gone_are_kept() -> None:
    before = a_machine(1, public_ip="54.0.0.1")
    gone = a_machine(1, TERMINATED, observed_at=NOW + MINUTE)
    assert lifecycle.newer(before, gone).public_ip == "54.0.0.1"


def test_the_first_reason_why_a_machine_ends_is_kept() -> None:
    ending = a_machine(1, SHUTTING_DOWN, message="it was pending for longer than 180 s")
    gone = a_machine(1, TERMINATED, message="Client.UserInitiatedShutdown", observed_at=NOW + MINUTE)
    assert lifecycle.newer(ending, gone).message == "it was pending for longer than 180 s"


def test_a_machine_that_was_given_back_stays_given_back() -> None:
    returned = lifecycle.given_back(a_machine(1), "ret-1")
    assert lifecycle.newer(returned, a_machine(1, observed_at=NOW + MINUTE)).return_id == "ret-1"


def test_an_instance_that_is_only_named_keeps_the_status_that_is_known() -> None:
    named = an_instance(1, PENDING, private_ip="", private_dns="", launch_time=None, listed=False)
    request = a_request(machine_ids=("i-1",))
    assert observe(request, (a_machine(1, RUNNING),), seen(named)).machines[0].status is RUNNING


# What is absent


def test_an_instance_absent_within_five_minutes_of_its_launch_is_not_gone() -> None:
    request = a_request(machine_ids=("i-1",))
    machine = a_machine(1, PENDING, listed=False, launch_time=None)
    observed = observe(request, (machine,), seen(at=NOW + 5 * MINUTE - timedelta(seconds=1)))
    assert observed.machines == (machine,)


def test_an_instance_that_never_came_into_sight_is_gone_after_five_minutes() -> None:
    request = a_request(machine_ids=("i-1", "i-2"))
    known = (a_machine(1, PENDING, listed=False, launch_time=None), a_machine(2))
    observed = observe(request, known, seen(an_instance(2), at=NOW + 5 * MINUTE))
    assert [machine.status for machine in observed.machines] == [TERMINATED, RUNNING]


def test_a_machine_absent_after_having_been_listed_is_gone_at_once() -> None:
    request = a_request(machine_ids=("i-1", "i-2"))
    observed = observe(request, (a_machine(1), a_machine(2)), seen(an_instance(2)))
    assert observed.machines[0].status is TERMINATED
    assert observed.machines[0].message == lifecycle.NO_LONGER_KNOWN


def test_an_answer_that_can_not_tell_calls_nothing_gone() -> None:
    request = a_request(machine_ids=("i-1", "i-2"))
    observed = observe(request, (a_machine(1), a_machine(2)), seen(an_instance(2), thorough=False))
    assert observed.machines[0].status is RUNNING


def test_a_machine_that_was_not_asked_about_is_not_gone_by_an_answer_that_lacks_it() -> None:
    request, theirs = a_request(machine_ids=("i-1", "i-2")), a_machine(2)
    observed = observe(request, (a_machine(1), theirs), seen(), asked=frozenset({"i-1"}))
    assert [machine.status for machine in observed.machines] == [RUNNING, RUNNING]
    observed = observe(request, (a_machine(1), theirs), seen(an_instance(1)), asked=frozenset({"i-1"}))
    assert observed.machines[1] == theirs


def test_a_machine_that_another_call_saw_later_is_not_gone_by_an_older_answer() -> None:
    request = a_request(machine_ids=("i-1", "i-2"))
    known = (a_machine(1, observed_at=NOW + 2 * MINUTE), a_machine(2))
    observed = observe(request, known, seen(an_instance(2), at=NOW + MINUTE), now=NOW + 3 * MINUTE)
    assert observed.machines[0].status is RUNNING


def test_all_machines_vanishing_at_once_is_doubted_for_five_minutes() -> None:
    request = a_request(machine_ids=("i-1", "i-2"), status=COMPLETED)
    machines = (a_machine(1), a_machine(2))
    first = observe(request, machines, seen())
    assert [machine.status for machine in first.machines] == [RUNNING, RUNNING]
    assert "none of 2 machines" in first.notice
    assert first.request.vanished_at == NOW + MINUTE

    soon = observe(first.request, first.machines, seen(at=NOW + 5 * MINUTE))
    assert [machine.status for machine in soon.machines] == [RUNNING, RUNNING]

    later = observe(soon.request, soon.machines, seen(at=NOW + 6 * MINUTE))
    assert [machine.status for machine in later.machines] == [TERMINATED, TERMINATED]


def test_the_doubt_ends_when_a_machine_is_seen_again() -> None:
    request = a_request(machine_ids=("i-1", "i-2"), vanished_at=NOW, account_id="1")
    observed = observe(request, (a_machine(1), a_machine(2)), seen(an_instance(1), an_instance(2)))
    assert observed.request.vanished_at is None
    assert observed.notice == ""


def test_a_machine_too_young_to_be_seen_does_not_lift_the_doubt() -> None:
    request = a_request(machine_ids=("i-1", "i-2"), target=3)
    known = (a_machine(1), a_machine(2, PENDING, listed=False, launch_time=None))
    observed = observe(request, known, seen())
    assert observed.machines[0].status is RUNNING
    assert observed.notice != ""


def test_machines_too_young_to_be_seen_raise_no_doubt() -> None:
    request = a_request(machine_ids=("i-1",), account_id="1")
    observed = observe(request, (a_machine(1, PENDING, listed=False, launch_time=None),), seen())
    assert observed.request == request
    assert observed.notice == ""


def test_a_machine_that_was_ending_is_gone_without_doubt() -> None:
    request = a_request(machine_ids=("i-1", "i-2"), status=COMPLETED)
    known = (a_machine(1, SHUTTING_DOWN), a_machine(2, SHUTTING_DOWN, return_id="ret-1"))
    observed = observe(request, known, seen())
    assert [machine.status for machine in observed.machines] == [TERMINATED, TERMINATED]


def test_a_machine_that_is_given_back_and_was_never_told_to_end_is_doubted_like_others() -> None:
    request = a_request(request_id="ret-1", kind=RequestKind.RETURN, machine_ids=("i-1",), account_id="1")
    machines = (a_machine(1, return_id="ret-1"),)
    first = observing.observe_return(request, machines, seen(), now=NOW, name_of=lambda _: "")
    assert (first.machines, first.request.vanished_at) == (machines, NOW)
    assert "none of 1 machine thought alive was found" in first.notice
    later = NOW + 6 * MINUTE
    unsure = observing.observe_return(first.request, machines, seen(account_id=""), now=later, name_of=lambda _: "")
    assert unsure.machines == machines
    assert "whether account 1 has answered can't be told" in unsure.notice
    assert unsure.request.vanished_at is None
    second = observing.observe_return(first.request, machines, seen(), now=later, name_of=lambda _: "")
    assert [machine.status for machine in second.machines] == [TERMINATED]


def test_while_the_rest_is_doubted_what_was_ending_is_gone() -> None:
    request = a_request(machine_ids=("i-1", "i-2"), status=COMPLETED)
    observed = observe(request, (a_machine(1, SHUTTING_DOWN), a_machine(2)), seen())
    assert [machine.status for machine in observed.machines] == [TERMINATED, RUNNING]


def test_an_answer_from_another_account_changes_nothing() -> None:
    request = a_request(machine_ids=("i-1",), account_id="1")
    known = (a_machine(1),)
    doubted = replace(request, vanished_at=NOW)
    observed = observe(doubted, known, seen(an_instance(7), account_id="2", at=NOW + 29 * MINUTE))
    assert (observed.request, observed.machines) == (request, known)
    assert "account 2" in observed.notice


def test_the_first_answer_settles_the_account() -> None:
    assert observe(a_request(), (), seen(an_instance(1))).request.account_id == "1"


# What is not wanted


def test_a_machine_that_pends_too_long_is_to_be_ended() -> None:
    at = NOW + PENDING_TIMEOUT + timedelta(seconds=1)
    observed = observe(a_request(), (), seen(an_instance(1), an_instance(2, PENDING), at=at))
    assert list(observed.unwanted) == ["i-2"]
    assert "longer than 180 s" in observed.unwanted["i-2"]
    assert observed.request.status is IN_PROGRESS


def test_a_machine_that_pends_just_long_enough_is_left_alone() -> None:
    observed = observe(a_request(), (), seen(an_instance(2, PENDING), at=NOW + PENDING_TIMEOUT))
    assert not observed.unwanted


def test_a_machine_that_comes_after_the_end_is_recorded_and_to_be_ended() -> None:
    request = a_request(status=COMPLETED, machine_ids=("i-1",))
    observed = observe(request, (a_machine(1),), seen(an_instance(1), an_instance(2)))
    assert list(observed.unwanted) == ["i-2"]
    assert observed.request.machine_ids == ("i-1", "i-2")


def test_a_machine_that_comes_dead_after_the_end_needs_no_ending() -> None:
    request = a_request(status=COMPLETED, machine_ids=("i-1",))
    assert not observe(request, (a_machine(1),), seen(an_instance(1), an_instance(2, TERMINATED))).unwanted


def test_what_is_unwanted_stays_so_after_the_end_until_it_is_ending() -> None:
    at = NOW + 31 * MINUTE
    pending = an_instance(1, PENDING, launch_time=at)
    ended = observe(a_request(), (), seen(pending, at=at))
    later = observe(ended.request, ended.machines, seen(an_instance(1, RUNNING, launch_time=at), at=at + MINUTE))
    assert list(later.unwanted) == ["i-1"]
    assert later.request.unwanted == ended.request.unwanted == ended.unwanted
    assert lifecycle.without_unwanted(later.request, frozenset({"i-1"})).unwanted == {}
    gone = observe(later.request, later.machines, seen(an_instance(1, SHUTTING_DOWN), at=at + 2 * MINUTE))
    assert gone.unwanted == gone.request.unwanted == {}


def test_a_machine_that_runs_after_all_while_its_request_is_open_is_welcome() -> None:
    at = NOW + PENDING_TIMEOUT + MINUTE
    slow = observe(a_request(), (), seen(an_instance(1, PENDING), at=at))
    assert list(slow.request.unwanted) == ["i-1"]
    running = observe(slow.request, slow.machines, seen(an_instance(1), at=at + MINUTE))
    assert running.unwanted == running.request.unwanted == {}


def test_an_unwanted_machine_that_was_returned_is_the_returns_business() -> None:
    request = a_request(status=COMPLETED, machine_ids=("i-1",), unwanted={"i-1": "late"})
    assert not observe(request, (a_machine(1, return_id="ret-1"),), seen(an_instance(1))).unwanted


# What was returned


def test_a_machine_returned_while_its_request_was_open_counts_as_delivered() -> None:
    request = a_request(machine_ids=("i-1",))
    returned = a_machine(1, SHUTTING_DOWN, return_id="ret-1")
    observed = observe(request, (returned,), seen(an_instance(1, TERMINATED), an_instance(2)))
    assert observed.request.status is COMPLETED


def test_a_returned_machine_that_still_runs_counts_once() -> None:
    request = a_request(machine_ids=("i-1",))
    observed = observe(request, (a_machine(1, return_id="ret-1"),), seen(an_instance(1)))
    assert observed.request.status is IN_PROGRESS


def test_a_returned_machine_that_ends_and_that_an_older_look_has_as_running_counts_once() -> None:
    request = a_request(machine_ids=("i-1",))
    returned = a_machine(1, SHUTTING_DOWN, return_id="ret-1", observed_at=NOW + 2 * MINUTE)
    observed = observe(request, (returned,), seen(an_instance(1)))
    assert observed.request.status is IN_PROGRESS
    assert observed.machines == (returned,)


def test_a_machine_returned_while_it_pends_is_not_waited_for() -> None:
    request = a_request(machine_ids=("i-1",))
    returned = a_machine(1, PENDING, return_id="ret-1")
    observed = observe(request, (returned,), seen(an_instance(1, PENDING), an_instance(2)))
    assert observed.request.status is COMPLETED


def test_a_return_is_complete_when_each_machine_is_gone() -> None:
    request = a_request(request_id="ret-1", kind=RequestKind.RETURN, deadline=None)
    machines = (a_machine(1, TERMINATED), a_machine(2, SHUTTING_DOWN))
    assert lifecycle.closed_return(request, machines, NOW).status is IN_PROGRESS
    gone = (a_machine(1, TERMINATED), a_machine(2, TERMINATED))
    closed = lifecycle.closed_return(request, gone, NOW)
    assert (closed.status, closed.ended_at, closed.message) == (COMPLETED, NOW, "2 machines gone")


def test_a_return_of_nothing_is_complete_at_once() -> None:
    request = a_request(request_id="ret-1", kind=RequestKind.RETURN)
    assert lifecycle.closed_return(request, (), NOW).status is COMPLETED


def test_a_machine_of_a_return_that_the_cloud_no_longer_knows_is_gone() -> None:
    request = a_request(request_id="ret-1", kind=RequestKind.RETURN)
    machines = (a_machine(1, SHUTTING_DOWN), a_machine(2, SHUTTING_DOWN))
    after = observing.observe_return(
        request, machines, seen(an_instance(2, SHUTTING_DOWN)), now=NOW + MINUTE, name_of=lambda one: one.private_dns
    )
    assert [machine.status for machine in after.machines] == [TERMINATED, SHUTTING_DOWN]


def test_a_return_is_about_its_own_machines_alone() -> None:
    request = a_request(request_id="ret-1", kind=RequestKind.RETURN)
    after = observing.observe_return(
        request, (a_machine(1),), seen(an_instance(1), an_instance(2)), now=NOW + MINUTE, name_of=lambda _: ""
    )
    assert [machine.instance_id for machine in after.machines] == ["i-1"]


def test_a_released_machine_is_shutting_down_with_the_reason() -> None:
    outcome = Released(request_id="req-1", ending=frozenset({"i-1"}))
    machine = lifecycle.released(a_machine(1), outcome, NOW + MINUTE, "it was late")
    assert (machine.status, machine.message) == (SHUTTING_DOWN, "it was late")


def test_the_ending_of_a_machine_is_not_outdone_by_the_look_that_began_before_it() -> None:
    outcome = Released(request_id="req-1", ending=frozenset({"i-1"}))
    machine = a_machine(1, observed_at=NOW + MINUTE)
    assert lifecycle.newer(machine, lifecycle.released(machine, outcome, NOW)).status is SHUTTING_DOWN


def test_a_machine_that_could_not_be_ended_keeps_its_status_and_says_why() -> None:
    outcome = Released(request_id="req-1", faults={"i-1": FULL})
    machine = lifecycle.released(a_machine(1), outcome, NOW)
    assert (machine.status, machine.message) == (RUNNING, str(FULL))


def test_a_machine_that_is_gone_does_not_shut_down_again() -> None:
    outcome = Released(request_id="req-1", ending=frozenset({"i-1"}))
    dead = a_machine(1, TERMINATED)
    assert lifecycle.released(dead, outcome, NOW) is dead


def test_a_machine_that_was_taken_back_is_gone_for_the_clouds_reason() -> None:
    taken = Reclaim(instance_id="i-1", code="C", message="m", status=TERMINATED)
    machine = lifecycle.reclaimed(a_machine(1), taken, NOW)
    assert (machine.status, machine.message) == (TERMINATED, "C: m")


@pytest.mark.parametrize("status", [None, RUNNING])
def test_a_machine_that_is_only_announced_to_go_or_not_found_is_not_gone_yet(status: MachineStatus | None) -> None:
    announced = Reclaim(instance_id="i-1", code="C", message="m", status=status)
    assert lifecycle.reclaimed(a_machine(1), announced, NOW) == a_machine(1)


# What it is called


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (a_machine(1, PENDING), Result.EXECUTING),
        (a_machine(1, RUNNING), Result.SUCCEED),
        (a_machine(1, RUNNING, name=""), Result.EXECUTING),
        (a_machine(1, RUNNING, private_ip=""), Result.EXECUTING),
        (a_machine(1, STOPPED), Result.FAIL),
        (a_machine(1, SHUTTING_DOWN), Result.FAIL),
        (a_machine(1, TERMINATED), Result.FAIL),
        (a_machine(1, SHUTTING_DOWN, return_id="ret-1"), Result.SUCCEED),
        (a_machine(1, TERMINATED, return_id="ret-1"), Result.SUCCEED),
    ],
)
def test_a_machine_that_was_asked_for_has_the_result(machine: Machine, expected: Result) -> None:
    assert standing.result(machine, a_request()) is expected


@pytest.mark.parametrize("status", list(MachineStatus))
def test_a_machine_being_returned_has_succeeded_only_when_it_is_gone(status: MachineStatus) -> None:
    expected = Result.SUCCEED if status is TERMINATED else Result.EXECUTING
    assert standing.result(a_machine(1, status), a_request(kind=RequestKind.RETURN)) is expected


def test_progress_says_how_far_an_open_request_is() -> None:
    request = a_request(target=3)
    assert standing.progress(request, ()) == "no machines yet: 3 units asked of Fake"
    machines = (a_machine(1), a_machine(2, PENDING))
    assert standing.progress(request, machines) == "1 of 3 units running, on 1 running machine"
    returning = a_request(kind=RequestKind.RETURN)
    assert standing.progress(returning, (a_machine(1, TERMINATED), a_machine(2))) == "1 of 2 machines gone"


def test_progress_of_an_ended_request_is_its_last_message() -> None:
    assert standing.progress(a_request(status=COMPLETED, message="m"), (a_machine(1),)) == "m"


# What still has to be done


def test_what_has_ended_is_frozen_once_then_cleaned_then_over() -> None:
    request = a_request()
    assert not lifecycle.needs_freezing(request)
    ended = replace(request, status=COMPLETED)
    assert lifecycle.needs_freezing(ended)
    assert not lifecycle.needs_cleanup(ended)
    frozen = lifecycle.frozen(ended)
    assert not lifecycle.needs_freezing(frozen)
    assert lifecycle.needs_cleanup(frozen)
    assert not lifecycle.is_finished(frozen)
    cleaned = lifecycle.cleaned(frozen)
    assert not lifecycle.needs_cleanup(cleaned)
    assert lifecycle.is_finished(cleaned)


def test_a_failed_request_without_resources_is_over_at_once() -> None:
    request = lifecycle.failed(a_request(resource_ids=(), process="p"), "no", NOW)
    assert lifecycle.is_finished(request)
    assert not lifecycle.needs_freezing(request)
    assert (request.status, request.message, request.process) == (RequestStatus.FAILED, "no", "")


def test_live_units_count_all_that_is_not_terminated_by_weight() -> None:
    machines = (a_machine(1, weight=4.0), a_machine(2, PENDING), a_machine(3, SHUTTING_DOWN), a_machine(4, TERMINATED))
    assert usage.live_units(machines) == 6


def test_expected_units_are_the_target_until_the_end_and_then_what_lives() -> None:
    machines = (a_machine(1), a_machine(2, TERMINATED))
    assert usage.expected_units(a_request(target=5), machines) == 5
    assert usage.expected_units(a_request(target=5, status=COMPLETED, frozen=True), machines) == 1
    assert usage.expected_units(a_request(target=5, status=COMPLETED, resource_ids=()), machines) == 1


def test_what_has_ended_and_may_still_launch_is_expected_to() -> None:
    machines = (a_machine(1), a_machine(2, TERMINATED, return_id="ret-1"))
    assert usage.expected_units(a_request(target=5, status=COMPLETED), machines) == 4


def test_what_was_returned_and_is_gone_is_no_longer_expected() -> None:
    machines = (a_machine(1), a_machine(2, TERMINATED, return_id="ret-1"))
    assert usage.expected_units(a_request(target=2), machines) == 1


def test_more_may_live_than_was_asked_for() -> None:
    assert usage.expected_units(a_request(target=1), (a_machine(1, weight=8.0),)) == 8


# What never happens, whatever is observed

IDS = st.integers(min_value=1, max_value=4)
INSTANCES = st.builds(an_instance, IDS, st.sampled_from(list(MachineStatus)), listed=st.booleans(), weight=st.just(1.0))
LOOKS = st.builds(
    lambda instances, minute, **changed: seen(*instances, at=NOW + minute * MINUTE, **changed),
    st.lists(INSTANCES, max_size=4, unique_by=lambda instance: instance.instance_id),
    st.integers(min_value=0, max_value=60),
    final=st.booleans(),
    thorough=st.booleans(),
    account_id=st.sampled_from(["", "1", "2"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LOOKS, max_size=8))
def test_no_sequence_of_observations_undoes_what_is_final_or_loses_or_doubles_a_machine(looks: list[Discovery]) -> None:
    request, machines = a_request(), ()
    for look in looks:
        observed = observe(request, machines, look, now=max(look.observed_at, request.ended_at or NOW))
        ids = [machine.instance_id for machine in observed.machines]
        assert len(ids) == len(set(ids))
        assert set(ids) >= {machine.instance_id for machine in machines}
        assert observed.request.machine_ids == tuple(ids)
        was = {machine.instance_id: machine for machine in machines}
        for machine in observed.machines:
            before = was.get(machine.instance_id)
            if before and before.status is TERMINATED:
                assert machine.status is TERMINATED
            if before and before.observed_at - look.observed_at <= lifecycle.CLOCK_SET_BACK:
                assert machine.observed_at >= before.observed_at
        if not lifecycle.is_open(request):
            kept = (request.status, request.ended_at, request.message)
            assert (observed.request.status, observed.request.ended_at, observed.request.message) == kept
        request, machines = observed.request, observed.machines


@settings(max_examples=150, deadline=None)
@given(st.lists(LOOKS, min_size=1, max_size=6))
def test_seeing_the_same_again_changes_nothing(looks: list[Discovery]) -> None:
    request, machines = a_request(), ()
    for look in looks:
        once = observe(request, machines, look)
        again = observe(once.request, once.machines, look)
        assert again.request == once.request
        assert again.machines == once.machines
        request, machines = once.request, once.machines


@settings(max_examples=150, deadline=None)
@given(st.permutations([(0, PENDING), (1, RUNNING), (2, SHUTTING_DOWN), (3, TERMINATED)]))
def test_observations_of_one_machine_may_come_in_any_order(order: list[tuple[int, MachineStatus]]) -> None:
    machines = [a_machine(1, status, observed_at=NOW + minute * MINUTE) for minute, status in order]
    merged = machines[0]
    for machine in machines[1:]:
        merged = lifecycle.newer(merged, machine)
    assert (merged.status, merged.observed_at) == (TERMINATED, NOW + 3 * MINUTE)
