"""The way to AWS as `hfcore doctor` sees it: each row once right and once wrong, on the strict AWS."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hfcore.aws.access import account, check_account, clock, latency, permissions
from hfcore.testing.aws import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.models import Check
    from hfcore.testing.rig import Rig

ACTIONS = (
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:SuspendProcesses",
    "ec2:CreateLaunchTemplate",
    "ec2:DescribeFleetHistory",
    "ec2:DescribeInstances",
    "ec2:TerminateInstances",
    "iam:PassRole",
    "sts:GetCallerIdentity",
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rows(rig: Rig) -> list[tuple[str, str, str]]:
    return [(one.name, one.status, one.message) for one in check_account(ACTIONS, {}, rig.new_context())]


def test_all_is_right_or_not_checked_with_the_reason(rig: Rig) -> None:
    found = rows(rig)
    assert [(name, status) for name, status, _ in found] == [
        ("credentials", "ok"),
        ("account and region", "ok"),
        ("clock", "ok"),
        ("endpoint ec2", "ok"),
        ("endpoint autoscaling", "ok"),
        ("IAM actions", "ok"),
        ("IAM actions", "not checked"),
        ("IAM actions", "not checked"),
        ("IAM actions", "not checked"),
    ]
    told = [message for *_, message in found]
    assert told[0] == "arn:aws:iam::123456789012:user/strict"
    assert told[1] == "account 123456789012, region us-east-1"
    assert told[5] == "3 tried by DryRun are allowed"
    assert told[6].endswith("ec2:TerminateInstances")
    assert "has no DryRun: autoscaling:DescribeAutoScalingGroups, autoscaling:SuspendProcesses" in told[7]
    assert not rig.aws.region().templates


def test_credentials_that_aws_does_not_know_are_an_error_and_nothing_else_is_asked(rig: Rig) -> None:
    rig.fail("GetCallerIdentity", AwsError("InvalidClientTokenId", "The security token is invalid.", 403))
    assert [(name, status) for name, status, _ in rows(rig)] == [("credentials", "error"), ("clock", "ok")]


def test_aws_out_of_reach_is_not_a_fault_of_the_credentials(rig: Rig) -> None:
    rig.aws.faults.add("unavailable:GetCallerIdentity")
    who, endpoint, *_ = rows(rig)
    assert who == ("credentials", "not checked", "see endpoint sts")
    assert (*endpoint[:2], endpoint[2].split(":")[0]) == ("endpoint sts", "error", "ServiceUnavailable")


def test_an_endpoint_that_may_not_be_asked_is_an_error(rig: Rig) -> None:
    rig.aws.faults.add("error:AccessDenied:DescribeAutoScalingGroups")
    found = {name: (status, message) for name, status, message in rows(rig)}
    assert found["endpoint autoscaling"] == ("error", "AccessDenied: DescribeAutoScalingGroups is not allowed")


def test_actions_that_are_not_allowed_are_named_with_what_to_do(rig: Rig) -> None:
    rig.aws.faults.add("error:UnauthorizedOperation:DescribeFleetHistory,CreateLaunchTemplate")
    found = [one for one in check_account(ACTIONS, {}, rig.new_context()) if one.status == "error"]
    assert [one.message for one in found] == ["not allowed: ec2:CreateLaunchTemplate, ec2:DescribeFleetHistory"]
    assert "hfcore iam-policy" in found[0].hint


def test_changes_are_tried_on_a_machine_of_ours_where_there_is_one_and_change_nothing(
    rig: Rig, launched: Callable[..., list[str]]
) -> None:
    launched(1)
    told = [message for name, _, message in rows(rig) if name == "IAM actions"]
    assert told[0] == "4 tried by DryRun are allowed"
    assert not any("ec2:TerminateInstances" in message for message in told[1:])
    assert rig.aws.live_instances()
    rig.aws.faults.add("error:UnauthorizedOperation:TerminateInstances")
    assert ("IAM actions", "error", "not allowed: ec2:TerminateInstances") in rows(rig)


def test_what_launches_alone_tell_is_not_said_to_lack_something_to_try_it_on(rig: Rig) -> None:
    found = permissions(rig.new_context(), ("ec2:CreateTags", "ec2:RequestSpotFleet", "ec2:RunInstances"))
    (message,) = (one.message for one in found)
    assert message.startswith("ec2:CreateTags is asked for by launches alone; ec2:RequestSpotFleet needs a role; ")
    assert message.endswith("ec2:RunInstances is tried with each template")


def test_what_ec2_answers_otherwise_counts_neither_as_allowed_nor_as_missing(rig: Rig) -> None:
    rig.aws.faults.add("error:InvalidFleetId.NotFound:DescribeFleetHistory")
    found = [message for _, status, message in rows(rig) if status == "not checked"]
    assert "EC2 answers otherwise: ec2:DescribeFleetHistory (InvalidFleetId.NotFound)" in found


def test_a_clock_that_is_far_off_is_named_with_how_far(rig: Rig) -> None:
    rig.aws.advance(600)
    found = {one.name: one for one in check_account(ACTIONS, {}, rig.new_context())}
    assert found["clock"].status == "error"
    assert re.fullmatch("(599|600) s behind AWS's", found["clock"].message)
    assert "NTP" in found["clock"].hint


def test_the_clock_is_told_where_aws_refuses_for_it(rig: Rig) -> None:
    rig.aws.advance(-600)
    rig.fail("GetCallerIdentity", AwsError("SignatureDoesNotMatch", "Signature expired", 403))
    assert ("clock", "error") in [(name, status) for name, status, _ in rows(rig)]


@pytest.mark.parametrize(
    ("seconds", "status"), [(0, "ok"), (29, "ok"), (-60, "warning"), (60, "warning"), (301, "error"), (-301, "error")]
)
def test_a_clock_is_judged_by_what_aws_allows(seconds: int, status: str) -> None:
    assert clock(NOW + timedelta(seconds=seconds), NOW).status == status


def test_requests_that_live_in_other_accounts_are_told_with_these_and_how_many_they_are() -> None:
    assert account("111111111111", "us-east-1", {"111111111111": 3}).status == "ok"
    found = account("111111111111", "us-east-1", {"333333333333": 1, "111111111111": 3, "222222222222": 2})
    elsewhere = "2 in account 222222222222, 1 in account 333333333333"
    told = f"account 111111111111, region us-east-1; stored requests live elsewhere: {elsewhere}"
    assert (found.status, found.message) == ("error", told)
    assert "credentials" in found.hint


def test_a_clock_without_a_date_to_hold_it_to_is_not_checked() -> None:
    assert clock(NOW, None).status == "not checked"


@pytest.mark.parametrize(("seconds", "status"), [(0.05, "ok"), (1.5, "warning")])
def test_a_slow_endpoint_is_told(seconds: float, status: str) -> None:
    found: Check = latency("endpoint ec2", seconds)
    assert (found.status, "ms" in found.message, bool(found.hint)) == (status, True, status == "warning")
