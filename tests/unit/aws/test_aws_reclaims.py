from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from hfcore.aws.reclaims import reclaimed_instances
from hfcore.models import MachineStatus, Reclaim

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.context import Context
    from hfcore.models import Machine
    from hfcore.testing.aws import StrictAws

SPOT = {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}}
UNKNOWN = "i-0000000000000dead"


def test_nothing_is_asked_for_no_machines_and_nothing_found_for_healthy_ones(
    context: Context,
    launched: Callable[..., list[str]],
    machine: Callable[..., Machine],
    operations: Callable[[], list[str]],
) -> None:
    assert reclaimed_instances((), context) == ()
    assert operations() == []

    assert reclaimed_instances([machine(one, price_type="ondemand") for one in launched(3)], context) == ()
    assert operations() == ["DescribeInstances", "DescribeInstanceStatus"]


def test_spot_notices_are_asked_for_where_a_machine_may_be_spot(
    context: Context,
    launched: Callable[..., list[str]],
    machine: Callable[..., Machine],
    operations: Callable[[], list[str]],
) -> None:
    [one] = launched()
    assert reclaimed_instances([machine(one, price_type="")], context) == ()
    assert operations() == ["DescribeInstances", "DescribeInstanceStatus", "DescribeSpotInstanceRequests"]


def test_the_questions_are_asked_once_for_all_plugins(
    context: Context,
    launched: Callable[..., list[str]],
    machine: Callable[..., Machine],
    operations: Callable[[], list[str]],
) -> None:
    one, [two] = launched(2), launched(**SPOT)
    for machines in ([machine(i) for i in one], [machine(two, price_type="spot")], [machine(two, price_type="spot")]):
        assert reclaimed_instances(machines, context) == ()

    assert sorted(operations()) == ["DescribeInstanceStatus", "DescribeInstances", "DescribeSpotInstanceRequests"]


def test_a_spot_notice_tells_the_moment_two_minutes_after_it(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine], strict_aws: StrictAws
) -> None:
    kept, taken = launched(2, **SPOT)
    strict_aws.reclaim(taken)
    [found] = reclaimed_instances([machine(one, price_type="spot") for one in (kept, taken)], context)

    assert (found.instance_id, found.code) == (taken, "instance-terminated-no-capacity")
    assert found.status is MachineStatus.RUNNING
    assert found.at is not None
    assert abs(found.at - context.clock.now() - timedelta(seconds=120)) < timedelta(seconds=5)


def test_a_spot_machine_that_is_gone_has_the_notice_s_code_and_no_moment(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine], strict_aws: StrictAws
) -> None:
    [taken] = launched(**SPOT)
    strict_aws.reclaim(taken)
    strict_aws.advance(121)
    [found] = reclaimed_instances([machine(taken, price_type="spot")], context)

    assert (found.code, found.at) == ("instance-terminated-no-capacity", None)
    assert found.status is MachineStatus.TERMINATED


def test_a_machine_that_ended_from_outside_is_told_with_aws_s_reason(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine], strict_aws: StrictAws
) -> None:
    _, dead = ids = launched(2)
    strict_aws.kill(dead, "Client.InstanceInitiatedShutdown")

    assert reclaimed_instances([machine(one) for one in ids], context) == (
        Reclaim(
            instance_id=dead,
            code="Client.InstanceInitiatedShutdown",
            message="died from outside",
            status=MachineStatus.TERMINATED,
        ),
    )


def test_a_retirement_is_told_with_its_date(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine], strict_aws: StrictAws
) -> None:
    retired, _ = ids = launched(2)
    strict_aws.schedule_event(retired, "instance-retirement", in_seconds=3600)
    [found] = reclaimed_instances([machine(one) for one in ids], context)

    assert (found.instance_id, found.code) == (retired, "instance-retirement")
    assert found.status is MachineStatus.RUNNING
    assert found.at is not None
    assert abs(found.at - context.clock.now() - timedelta(hours=1)) < timedelta(seconds=5)


@pytest.mark.parametrize("code", ["system-reboot", "instance-reboot"])
def test_a_reboot_takes_no_machine_back(
    context: Context,
    launched: Callable[..., list[str]],
    machine: Callable[..., Machine],
    strict_aws: StrictAws,
    code: str,
) -> None:
    [one] = launched()
    strict_aws.schedule_event(one, code)

    assert reclaimed_instances([machine(one)], context) == ()


def test_an_event_that_is_over_takes_no_machine_back(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine], strict_aws: StrictAws
) -> None:
    [one] = launched()
    strict_aws.schedule_event(one, "instance-retirement")
    strict_aws.world.instance(one).events[0]["Description"] = "[Completed] The instance is running on degraded hardware"

    assert reclaimed_instances([machine(one)], context) == ()


def test_a_machine_that_has_aged_out_is_gone_beside_others_that_live(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine]
) -> None:
    [lives] = launched()
    [found] = reclaimed_instances([machine(lives), machine(UNKNOWN)], context)

    assert (found.instance_id, found.code, found.at) == (UNKNOWN, "InvalidInstanceID.NotFound", None)
    assert found.status is None


def test_a_machine_that_was_never_listed_may_only_be_hidden_yet(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine]
) -> None:
    [lives] = launched()
    now = context.clock.now()
    hidden = machine(UNKNOWN, listed=False, launch_time=now, observed_at=now)

    assert reclaimed_instances([machine(lives), hidden], context) == ()


def test_of_machines_that_aws_does_not_know_no_status_is_told_as_it_may_be_the_wrong_account(
    context: Context, machine: Callable[..., Machine]
) -> None:
    found = reclaimed_instances([machine(UNKNOWN), machine("i-0000000000000beef")], context)

    assert [(one.instance_id, one.status) for one in found] == [(UNKNOWN, None), ("i-0000000000000beef", None)]


def test_a_machine_without_our_tag_is_not_told(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine]
) -> None:
    [lives], [strange] = launched(), launched(owner="owner-2")

    assert reclaimed_instances([machine(lives), machine(strange)], context) == ()


@pytest.mark.parametrize(
    "code", ["Server.SpotInstanceShutdown", "Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown"]
)
def test_a_machine_that_is_stopped_is_told_whoever_has_stopped_it(
    context: Context,
    launched: Callable[..., list[str]],
    machine: Callable[..., Machine],
    strict_aws: StrictAws,
    code: str,
) -> None:
    stopped, runs = launched(2)
    with strict_aws.locked() as world:
        world.instance(stopped)._change("stopped", StateReason={"Code": code, "Message": f"{code}: it was stopped"})

    found = reclaimed_instances([machine(one) for one in (stopped, runs)], context)

    assert [(one.instance_id, one.code, one.status) for one in found] == [(stopped, code, MachineStatus.STOPPED)]
