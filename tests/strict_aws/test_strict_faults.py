"""Faults on demand: how they are spelt, which calls they meet, what callers get and what is done in the world."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from hfcore.testing.aws import Fault, parse_faults
from hfcore.testing.aws.faults import AFTER, KINDS, OTHER_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.strict_aws.conftest import Cloud, Open, Refused

SPOT: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot"}}


def ask(cloud: Cloud) -> None:
    cloud.ec2.describe_instances()


def outcomes(cloud: Cloud, count: int) -> list[bool]:
    """Ask so often; tell which calls went well."""
    for _ in range(count):
        with suppress(ClientError, ConnectionClosedError):
            ask(cloud)
    return [call.outcome == "ok" for call in cloud.aws.calls[-count:]]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("throttle:RunInstances*3", Fault(kind="throttle", on="RunInstances", times=3)),
        ("throttle@0.3", Fault(kind="throttle", probability=0.3)),
        ("reset-after:mutating@0.1", Fault(kind="reset", after=True, on="mutating", probability=0.1)),
        ("reset:CreateFleet,RunInstances", Fault(kind="reset", on="CreateFleet,RunInstances")),
        ("latency:asking=2", Fault(kind="latency", on="asking", value=2)),
        ("timeout-after*1=0.5", Fault(kind="timeout", after=True, times=1, value=0.5)),
        ("server-error", Fault(kind="server-error")),
        ("unavailable-after:TerminateInstances", Fault(kind="unavailable", after=True, on="TerminateInstances")),
        ("error:VcpuLimitExceeded", Fault(kind="error", code="VcpuLimitExceeded")),
        ("error:X.Y:RunInstances*2@0.5", Fault(kind="error", code="X.Y", on="RunInstances", times=2, probability=0.5)),
        ("other-account:DescribeInstances", Fault(kind="other-account", on="DescribeInstances")),
        ("capacity:m5.large/us-east-1a/spot=0", Fault(kind="capacity", on="m5.large/us-east-1a/spot", value=0)),
        ("capacity:m5.large=none", Fault(kind="capacity", on="m5.large")),
        ("reclaim", Fault(kind="reclaim")),
        ("die=2", Fault(kind="die", value=2)),
    ],
)
def test_a_fault_is_read_from_its_text_and_spelt_by_it(text: str, fault: Fault) -> None:
    assert parse_faults(text) == (fault,)
    assert str(fault) == text


def test_every_kind_has_its_text_read_above_and_its_words() -> None:
    texts = [mark.args[1] for mark in test_a_fault_is_read_from_its_text_and_spelt_by_it.pytestmark]  # type: ignore[attr-defined]
    assert {fault.kind for _, fault in texts[0]} == set(KINDS)


def test_all_may_be_said_and_a_seed_is_for_all_others() -> None:
    assert parse_faults("throttle:*@0.3", "seed=7", "reset-after:**2") == (
        Fault(kind="throttle", probability=0.3, seed=7),
        Fault(kind="reset", after=True, times=2, seed=7),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("flood", "throttle, server-error"),
        ("Throttle!", "throttle, server-error"),
        ("", "throttle, server-error"),
        ("throttle:RunInstance", "RunInstances"),
        ("throttle:RunInstances,Dance", "Dance"),
        ("throttle@2", "probability"),
        ("throttle@0", "probability"),
        ("throttle@0.1.2", "not a number"),
        ("throttle=3", "takes no value"),
        ("throttle-after", "after the work"),
        ("latency", "latency=2"),
        ("latency=soon", "not a number"),
        ("latency=nan", "number from 0"),
        ("timeout=-1", "number from 0"),
        ("error", "error:VcpuLimitExceeded"),
        ("capacity:m5.large/us-east-1a/spot", "a number, or none"),
        ("capacity:m5.large/us-east-1a/spot=1.5", "number from 0"),
        ("capacity=1", "TYPE/ZONE/MARKET"),
        ("capacity:m5.large/us-east-1z/spot=1", "TYPE/ZONE/MARKET"),
        ("capacity:m5.large/spott=1", "TYPE/ZONE/MARKET"),
        ("reclaim:RunInstances=1", "no operation"),
        ("die*2", "no times"),
        ("reclaim@0.5", "no probability"),
        ("seed=many", "whole number"),
    ],
)
def test_what_can_not_be_read_is_refused_with_what_is_known_and_nothing_is_set(
    cloud: Cloud, text: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        cloud.aws.faults.add("throttle", text)
    assert cloud.aws.faults.active == []
    ask(cloud)


@pytest.mark.parametrize(
    ("kind", "service", "code", "status"),
    [
        ("throttle", "ec2", "RequestLimitExceeded", 503),
        ("throttle", "autoscaling", "Throttling", 400),
        ("throttle", "ssm", "ThrottlingException", 400),
        ("server-error", "ec2", "InternalError", 500),
        ("server-error", "autoscaling", "InternalFailure", 500),
        ("server-error", "ssm", "InternalServerError", 500),
        ("unavailable", "ec2", "Unavailable", 503),
        ("unavailable", "autoscaling", "ServiceUnavailable", 503),
        ("error:VcpuLimitExceeded", "ec2", "VcpuLimitExceeded", 400),
        ("error:UnauthorizedOperation", "ec2", "UnauthorizedOperation", 403),
        ("error:InsufficientInstanceCapacity", "ec2", "InsufficientInstanceCapacity", 500),
    ],
)
def test_each_service_answers_in_its_own_words(
    cloud: Cloud, refused: Refused, kind: str, service: str, code: str, status: int
) -> None:
    cloud.aws.faults.add(kind)
    asked: dict[str, Callable[..., Open]] = {
        "ec2": cloud.ec2.describe_vpcs,
        "autoscaling": cloud.asg.describe_auto_scaling_groups,
        "ssm": lambda: cloud.client("ssm").get_parameter(Name="/none"),
    }
    assert (refused(asked[service]), refused.status) == (code, status)


def test_an_error_may_have_its_own_text_and_status(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.faults.add(Fault(kind="error", code="Odd", message="Odd things happen.", status=418))
    assert (refused(cloud.ec2.describe_vpcs), refused.text, refused.status) == ("Odd", "Odd things happen.", 418)


@pytest.mark.parametrize("kind", ["throttle", "server-error", "unavailable", "error:InternalError", "reset"])
def test_before_the_work_nothing_is_done(cloud: Cloud, kind: str) -> None:
    cloud.aws.faults.add(f"{kind}:RunInstances")
    with pytest.raises((ClientError, ConnectionClosedError)):
        cloud.run()
    assert cloud.live() == []


@pytest.mark.parametrize("kind", AFTER)
def test_after_the_work_it_is_done_and_not_answered(cloud: Cloud, kind: str) -> None:
    code, value = {"error": ":InternalError"}.get(kind, ""), {"timeout": "=0.01"}.get(kind, "")
    cloud.aws.faults.add(f"{kind}-after{code}:RunInstances{value}")
    with pytest.raises((ClientError, ConnectionClosedError)):
        cloud.run()
    assert len(cloud.live()) == 1


def test_a_refusal_gets_lost_like_any_answer(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.faults.add("reset-after:DescribeInstances*1")
    with pytest.raises(ConnectionClosedError):
        cloud.ec2.describe_instances(InstanceIds=["i-12345678"])
    assert refused(cloud.ec2.describe_instances, InstanceIds=["i-12345678"]) == "InvalidInstanceID.NotFound"


@pytest.mark.parametrize(("fault", "made"), [("timeout", 0), ("timeout-after", 1)])
def test_a_time_out_answers_nothing_for_longer_than_the_caller_waits(cloud: Cloud, fault: str, made: int) -> None:
    ec2 = cloud.client("ec2", read_timeout=0.2)
    cloud.aws.faults.add(f"{fault}:RunInstances")
    began = time.monotonic()
    with pytest.raises(ReadTimeoutError):
        ec2.run_instances(ImageId="ami-12c6146b", InstanceType="m5.large", MinCount=1, MaxCount=1)
    assert time.monotonic() - began < 5
    assert len(cloud.live()) == made


def test_a_time_out_of_so_many_seconds_ends_with_a_cut(cloud: Cloud) -> None:
    cloud.aws.faults.add("timeout=0.1")
    began = time.monotonic()
    with pytest.raises(ConnectionClosedError):
        ask(cloud)
    assert time.monotonic() - began >= 0.1


def test_latency_comes_before_the_work_and_beside_other_faults(cloud: Cloud) -> None:
    cloud.aws.faults.add("reset:DescribeVpcs*1", "latency=0.1")
    began = time.monotonic()
    with pytest.raises(ConnectionClosedError):
        cloud.ec2.describe_vpcs()
    cloud.ec2.describe_vpcs()
    assert time.monotonic() - began >= 0.2
    assert [one.fault for one in cloud.aws.faults.injected] == [
        "reset:DescribeVpcs*1",
        "latency=0.1",
        "latency=0.1",
    ]


def test_only_the_operations_named_are_met(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.faults.add("throttle:DescribeVpcs,DescribeImages")
    assert refused(cloud.ec2.describe_vpcs) == "RequestLimitExceeded"
    assert refused(cloud.ec2.describe_images, ImageIds=["ami-12c6146b"]) == "RequestLimitExceeded"
    ask(cloud)


def test_asking_and_mutating_are_all_that_ask_and_all_others(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.faults.add("throttle:asking", "unavailable:mutating")
    assert refused(cloud.ec2.describe_vpcs) == "RequestLimitExceeded"
    assert refused(cloud.client("ssm").get_parameter, Name="/none") == "ThrottlingException"
    assert refused(cloud.run) == "Unavailable"
    assert refused(cloud.asg.delete_auto_scaling_group, AutoScalingGroupName="none") == "ServiceUnavailable"


def test_so_many_times_and_no_more(cloud: Cloud) -> None:
    cloud.aws.faults.add("throttle:DescribeInstances*2")
    cloud.ec2.describe_vpcs()
    assert cloud.aws.faults.active == ["throttle:DescribeInstances*2"]
    assert outcomes(cloud, 4) == [False, False, True, True]
    assert cloud.aws.faults.active == []


def test_the_first_to_strike_may_be_a_later_call(cloud: Cloud) -> None:
    cloud.aws.faults.add(Fault(kind="throttle", first=2, times=1))
    assert outcomes(cloud, 3) == [True, False, True]


def test_a_fault_that_another_one_forestalls_keeps_its_times(cloud: Cloud) -> None:
    cloud.aws.faults.add("throttle*2", "reset*1")
    outcomes(cloud, 4)
    assert [call.outcome for call in cloud.aws.calls] == ["RequestLimitExceeded"] * 2 + ["DropConnection", "ok"]


def test_a_seed_gives_the_same_calls_again_and_another_one_others(cloud: Cloud) -> None:
    def seen(seed: int) -> list[bool]:
        cloud.aws.faults.clear()
        cloud.aws.faults.add("throttle@0.3", f"seed={seed}")
        return outcomes(cloud, 60)

    first = seen(1)
    assert seen(1) == first
    assert seen(2) != first
    assert 5 < first.count(False) < 35


def test_a_probability_is_met_in_the_long_run_and_faults_are_independent() -> None:
    throttle, reset = parse_faults("throttle@0.3", "reset-after@0.1", "seed=5")
    both = Counter((throttle.chosen(n), reset.chosen(n)) for n in range(1, 10_001))
    assert 2800 < both[True, True] + both[True, False] < 3200
    assert 200 < both[True, True] < 400


def test_concurrency_does_not_change_which_calls_fail(cloud: Cloud) -> None:
    cloud.aws.faults.add("throttle:DescribeInstances@0.3", "seed=3")
    fault = replace(parse_faults("throttle:DescribeInstances@0.3")[0], seed=3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: outcomes(cloud, 1), range(100)))
    struck = sorted(one.n for one in cloud.aws.faults.injected)
    assert struck == [n for n in range(1, 101) if fault.chosen(n)]
    assert sum(call.outcome != "ok" for call in cloud.aws.calls) == len(struck)


def test_what_was_injected_names_the_call(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.faults.add("throttle:RunInstances*1")
    ask(cloud)
    assert refused(cloud.run) == "RequestLimitExceeded"
    (done,) = cloud.aws.faults.injected
    assert (done.fault, done.operation, done.n) == ("throttle:RunInstances*1", "RunInstances", 1)
    assert done.request_id == cloud.aws.calls[-1].request_id


def test_an_injected_error_is_no_rule_that_the_caller_broke(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.faults.add("error:IdempotentParameterMismatch")
    assert refused(cloud.run) == "IdempotentParameterMismatch"
    assert cloud.aws.violations == []


def test_cleared_or_reset_nothing_goes_wrong(cloud: Cloud) -> None:
    cloud.aws.faults.add("throttle", "capacity:m5.large/us-east-1a=0")
    cloud.aws.faults.clear()
    assert len(cloud.run()) == 1
    cloud.aws.faults.add("throttle")
    cloud.aws.reset()
    ask(cloud)
    assert (cloud.aws.faults.active, cloud.aws.faults.injected) == ([], [])


def test_capacity_limits_a_pool_and_without_zone_or_market_all_of_them(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.faults.add("capacity:m5.large/us-east-1a/spot=1", "capacity:c5.large=0", "capacity:r5.large/us-east-1b=0")
    assert len(cloud.run(3, **SPOT)) == 1
    assert len(cloud.run(3)) == 3
    short = "InsufficientInstanceCapacity"
    for subnet in cloud.subnets:
        assert refused(cloud.run, InstanceType="c5.large", SubnetId=subnet) == short
        assert refused(cloud.run, InstanceType="c5.large", SubnetId=subnet, **SPOT) == short
    assert refused(cloud.run, InstanceType="r5.large", SubnetId=cloud.subnets[1]) == short
    assert len(cloud.run(InstanceType="r5.large", SubnetId=cloud.subnets[0])) == 1
    cloud.aws.faults.add("capacity:c5.large=none")
    assert len(cloud.run(InstanceType="c5.large")) == 1


def test_a_reclaim_meets_spot_instances_as_soon_as_they_run(cloud: Cloud) -> None:
    cloud.aws.faults.add("reclaim=2")
    cloud.run()
    spot = cloud.run(3, **SPOT)
    ask(cloud)
    assert cloud.aws.faults.injected == []
    cloud.aws.advance(61)
    ask(cloud)
    closed = [{"Name": "status-code", "Values": ["instance-terminated-no-capacity"]}]
    noticed = cloud.ec2.describe_spot_instance_requests(Filters=closed)["SpotInstanceRequests"]
    assert [one["InstanceId"] for one in noticed] == spot[:2]
    assert [one.instance_id for one in cloud.aws.faults.injected] == spot[:2]
    assert cloud.aws.faults.active == []
    cloud.aws.advance(121)
    assert len(cloud.live("spot")) == 1


def test_a_death_meets_running_instances_at_once(cloud: Cloud) -> None:
    one, two = cloud.run(2)
    cloud.aws.advance(61)
    cloud.aws.faults.add("die")
    assert cloud.live() == [two]
    assert cloud.instance(one)["StateReason"]["Code"] == "Server.InternalError"


def test_in_another_account_nothing_of_ours_is_known_and_the_owner_is_another(cloud: Cloud, refused: Refused) -> None:
    (one,) = cloud.run()
    cloud.fleet(1, "maintain")
    cloud.group()
    cloud.aws.faults.add("other-account")
    assert refused(cloud.ec2.describe_instances, InstanceIds=[one]) == "InvalidInstanceID.NotFound"
    assert refused(cloud.ec2.terminate_instances, InstanceIds=[one]) == "InvalidInstanceID.NotFound"
    assert cloud.filtered("tag:hfcore:owner", "me") == []
    assert cloud.ec2.describe_fleets()["Fleets"] == []
    assert cloud.asg.describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert refused(cloud.run, SubnetId=cloud.subnets[0]) == "InvalidSubnetID.NotFound"
    (theirs,) = cloud.run()
    assert cloud.ec2.describe_instances()["Reservations"][0]["OwnerId"] == OTHER_ACCOUNT
    assert {call.account for call in cloud.aws.calls[-3:]} == {OTHER_ACCOUNT}
    cloud.aws.faults.clear()
    assert [each["InstanceId"] for each in cloud.instances()] == [one]
    assert set(cloud.live()) == {one, theirs}


def test_another_process_sets_and_clears_faults_over_http(cloud: Cloud, refused: Refused) -> None:
    def do(**asked: Open) -> Open:
        with urlopen(Request(f"{cloud.aws.endpoint_url}/_control", json.dumps(asked).encode())) as answer:
            return json.load(answer)

    assert do(do="fault", add=["throttle*1", "seed=2"])["active"] == ["throttle*1"]
    assert refused(cloud.ec2.describe_vpcs) == "RequestLimitExceeded"
    assert do(do="fault", add=["reset"])["injected"][0]["operation"] == "DescribeVpcs"
    assert do(do="fault", clear=True)["active"] == []
    ask(cloud)


def test_the_page_of_the_sandbox_has_a_row_for_each_kind_and_examples_that_can_be_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)[^|]*\|[^|]*\| (yes)? ?\|", page, re.MULTILINE)
    assert [kind for kind, _ in rows] == list(KINDS)
    assert {kind for kind, after in rows if after} == set(AFTER)
    commands = [shlex.split(line, comments=True) for line in page.splitlines() if line.startswith("hfcore sandbox ")]
    typed = [word for words in commands for word in words[3:] if not word.startswith("--")]
    assert len(parse_faults(*typed)) == len(typed) - 1 == 4
