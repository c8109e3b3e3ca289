from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from hfcore.aws import owned
from hfcore.aws.instances import (
    announced,
    describe,
    describe_by_request,
    describe_live,
    instance,
    release_instances,
    terminate,
    weighed,
)
from hfcore.errors import CloudError
from hfcore.models import FaultKind, Instance, MachineStatus, OwnedResource, Release
from hfcore.testing.aws import AwsError, Call, Hook, StrictAws, Timings
from hfcore.testing.aws.world import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.context import Clock, Context
    from hfcore.models import Machine, Request

UNKNOWN = "i-0000000000000dead"


class OneUnknownAtATime(Hook):
    """Names of several unknown ids only the first, as some of EC2's answers do."""

    def __init__(self, unknown: set[str]) -> None:
        self.unknown = unknown

    def before(self, call: Call) -> None:
        for one in call.parameters.get("InstanceIds", ()):
            if one in self.unknown:
                raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{one}' does not exist")


def test_instances_are_described_together(
    context: Context, launched: Callable[..., list[str]], operations: Callable[[], list[str]]
) -> None:
    ids = launched(3)
    before = context.clock.now()
    seen = describe(context, [*ids, ids[0]])

    assert set(seen.instances) == set(ids)
    assert (seen.missing, seen.untagged, seen.account) == (frozenset(), {}, "123456789012")
    assert before <= seen.observed_at <= context.clock.now()
    assert operations() == ["DescribeInstances"]


def test_nobody_is_asked_about_nothing(context: Context, operations: Callable[[], list[str]]) -> None:
    assert describe(context, ()).instances == {}
    assert terminate(context, "ret-1", (), "terminate") == (frozenset(), {})
    assert release_instances((), context) == ()
    assert operations() == []


def test_1001_instances_are_described_and_ended_in_two_calls_each(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine], strict_aws: StrictAws
) -> None:
    ids = launched(1001)
    ending, faults = terminate(context, "ret-1", [machine(one) for one in ids], "terminate")

    assert (ending, faults) == (set(ids), {})
    assert len(describe(context, ids).instances) == 1001
    assert [len(call.parameters["InstanceIds"]) for call in strict_aws.calls] == [1000, 1, 1000, 1]
    assert not strict_aws.violations


def test_unknown_ids_are_taken_out_and_the_rest_asked_again(
    context: Context, launched: Callable[..., list[str]], operations: Callable[[], list[str]]
) -> None:
    ids = launched(2)
    seen = describe(context, [UNKNOWN, *ids, "i-0000000000000beef"])

    assert set(seen.instances) == set(ids)
    assert seen.missing == {UNKNOWN, "i-0000000000000beef"}
    assert operations() == ["DescribeInstances"] * 2


def test_when_every_id_is_unknown_all_are_missing(context: Context) -> None:
    assert describe(context, [UNKNOWN]).missing == {UNKNOWN}


def test_many_unknown_ids_that_are_named_one_by_one_do_not_take_a_call_each(
    context: Context, launched: Callable[..., list[str]], strict_aws: StrictAws
) -> None:
    ids, gone = launched(3), [f"i-{number:017x}" for number in range(300)]
    strict_aws.hooks.append(OneUnknownAtATime(set(gone)))
    seen = describe(context, [*gone, *ids])

    assert set(seen.instances) == set(ids)
    assert seen.missing == set(gone)
    assert len(strict_aws.calls) == 3 + 2


def test_an_instance_without_our_owner_tag_is_neither_seen_nor_missing(
    context: Context, launched: Callable[..., list[str]]
) -> None:
    [ours], [strange], [bare] = launched(), launched(owner="owner-2"), launched(owner="")
    seen = describe(context, [ours, strange, bare])

    assert set(seen.instances) == {ours}
    assert seen.untagged.keys() == {strange, bare}
    assert seen.missing == frozenset()


def test_an_error_that_names_no_unknown_id_is_raised(
    context: Context, launched: Callable[..., list[str]], faults: Callable[..., None]
) -> None:
    ids = launched()
    faults("DescribeInstances", AwsError("UnauthorizedOperation", "No.", 403))
    with pytest.raises(CloudError, match="UnauthorizedOperation"):
        describe(context, ids)


def test_instances_are_found_by_the_tag_of_their_request_whoever_launched_them(
    context: Context, launched: Callable[..., list[str]], strict_aws: StrictAws
) -> None:
    one, two = launched(request_id="req-1"), launched(request_id="req-2")
    launched(request_id="req-3")
    launched(request_id="req-1", owner="owner-2")
    names = ["req-1", "req-2", *(f"req-none-{number}" for number in range(300))]

    assert set(describe_by_request(context, names).instances) == {*one, *two}
    assert len(strict_aws.calls) == math.ceil(302 / 199)
    assert not strict_aws.violations


def test_live_instances_are_asked_for_once_for_all(
    context: Context, launched: Callable[..., list[str]], strict_aws: StrictAws, operations: Callable[[], list[str]]
) -> None:
    lives, dies = launched(2)
    strict_aws.kill(dies)

    assert set(describe_live(context).instances) == set(describe_live(context).instances) == {lives}
    assert operations() == ["DescribeInstances"]


def test_what_is_ours_is_listed_with_its_request(
    context: Context, launched: Callable[..., list[str]], strict_aws: StrictAws, operations: Callable[[], list[str]]
) -> None:
    [one] = launched()
    launched(owner="owner-2")
    tags = [{"Key": "hfcore:owner", "Value": "owner-1"}, {"Key": "hfcore:request-id", "Value": "req-1"}]
    made = context.clients("ec2", "quick").create_launch_template(
        LaunchTemplateName="hfcore-req-1",
        LaunchTemplateData={"InstanceType": "m5.large"},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
    )["LaunchTemplate"]
    strict_aws.world.calls.clear()
    found = owned.common(context)

    assert [replace(each, created_at=None) for each in found] == [
        OwnedResource(
            kind="instance",
            resource_id=one,
            request_id="req-1",
            template_id="basic",
            status="running",
            account_id=ACCOUNT,
        ),
        OwnedResource(
            kind="launch-template",
            resource_id="hfcore-req-1",
            request_id="req-1",
            status="active",
            account_id=ACCOUNT,
            launch_templates=(made["LaunchTemplateId"], "hfcore-req-1"),
        ),
    ]
    assert all(each.created_at for each in found)
    assert owned.common(context) == found
    assert operations() == ["DescribeInstances", "DescribeLaunchTemplates"]


def test_an_instance_is_put_into_the_core_s_words() -> None:
    described = {
        "InstanceId": "i-1",
        "State": {"Code": 16, "Name": "running"},
        "PrivateIpAddress": "10.0.0.4",
        "PrivateDnsName": "ip-10-0-0-4.ec2.internal",
        "PublicIpAddress": "54.0.0.4",
        "PublicDnsName": "ec2-54-0-0-4.compute-1.amazonaws.com",
        "LaunchTime": datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
        "InstanceType": "m5.large",
        "InstanceLifecycle": "spot",
        "Placement": {"AvailabilityZone": "us-east-1a"},
        "Tags": [{"Key": "hfcore:owner", "Value": "owner-1"}],
    }

    assert instance(described, "r-1") == Instance(
        instance_id="i-1",
        resource_id="r-1",
        status=MachineStatus.RUNNING,
        private_ip="10.0.0.4",
        public_ip="54.0.0.4",
        private_dns="ip-10-0-0-4.ec2.internal",
        public_dns="ec2-54-0-0-4.compute-1.amazonaws.com",
        launch_time=datetime(2026, 1, 1, tzinfo=UTC),
        instance_type="m5.large",
        price_type="spot",
        zone="us-east-1a",
        tags={"hfcore:owner": "owner-1"},
    )


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("aws:ec2:fleet-id", "fleet-1"),
        ("aws:ec2spot:fleet-request-id", "sfr-1"),
        ("aws:autoscaling:groupName", "hf-req-1"),
    ],
)
def test_aws_s_own_tag_names_the_resource_that_launched_an_instance(tag: str, value: str) -> None:
    described = {"InstanceId": "i-1", "State": {"Name": "pending"}, "Tags": [{"Key": tag, "Value": value}]}

    assert instance(described, "r-1").resource_id == value


@pytest.mark.parametrize(
    ("code", "text", "message"),
    [
        ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown", None),
        (
            "Server.ScheduledStop",
            "Stopped due to a scheduled retirement",
            "Server.ScheduledStop: Stopped due to a scheduled retirement",
        ),
        ("pending", "pending", ""),
    ],
)
def test_aws_s_reason_for_a_state_begins_with_its_code(code: str, text: str, message: str | None) -> None:
    described = {
        "InstanceId": "i-1",
        "State": {"Name": "terminated"},
        "StateReason": {"Code": code, "Message": text},
    }

    assert instance(described).message == (text if message is None else message)


def test_a_reason_that_somebody_can_remove_is_told_with_what_to_do() -> None:
    reason = {"Code": "Client.InternalError", "Message": "Client.InternalError: Client error on launch"}
    told = instance({"InstanceId": "i-1", "State": {"Name": "terminated"}, "StateReason": reason}).message

    assert told.startswith("Client.InternalError: Client error on launch (EC2 can't use the KMS key")


def test_a_machine_that_only_its_creation_names_is_pending_since_now(context: Context) -> None:
    one = announced(context, "i-1", instance_type="m5.xlarge", resource_id="fleet-1")

    assert (one.status, one.listed, one.instance_type) == (MachineStatus.PENDING, False, "m5.xlarge")
    assert one.launch_time is not None
    assert weighed(one, {"m5.xlarge": 2}).weight == 2.0
    assert weighed(one, {"m5.large": 2}).weight == 1.0


def test_exactly_the_named_machines_end(
    context: Context,
    launched: Callable[..., list[str]],
    machine: Callable[..., Machine],
    strict_aws: StrictAws,
    operations: Callable[[], list[str]],
) -> None:
    first, second, third = launched(3)
    ending, faults = terminate(context, "ret-1", [machine(first), machine(third)], "terminate")

    assert (ending, faults) == ({first, third}, {})
    assert [one.id for one in strict_aws.live_instances()] == [second]
    assert operations() == ["TerminateInstances"]
    assert terminate(context, "ret-1", [machine(first)], "terminate") == ({first}, {})


def test_what_aws_does_not_know_is_gone(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine]
) -> None:
    [lives] = launched()

    assert terminate(context, "ret-1", [machine(UNKNOWN), machine(lives)], "t") == ({UNKNOWN, lives}, {})


def test_where_aws_knows_none_of_the_machines_a_look_has_to_tell_whether_they_are_gone(
    context: Context, machine: Callable[..., Machine]
) -> None:
    ending, faults = terminate(context, "ret-1", [machine(UNKNOWN)], "t")

    assert ending == frozenset()
    assert "looked for before they count as gone" in faults[UNKNOWN].message


def test_what_was_just_launched_and_never_listed_is_not_gone_but_tried_again(
    context: Context,
    launched: Callable[..., list[str]],
    machine: Callable[..., Machine],
    strict_aws: StrictAws,
    clock: Clock,
) -> None:
    strict_aws.world.timings = Timings(visible_after_seconds=60.0)
    strict_aws.world.regions.clear()
    [hidden] = launched()
    young = machine(hidden, listed=False, launch_time=clock.now())
    ending, faults = terminate(context, "ret-1", [young], "terminate")

    assert ending == frozenset()
    assert faults[hidden].retryable
    assert faults[hidden].code == "InvalidInstanceID.NotFound"
    old = machine(hidden, listed=False, launch_time=clock.now() - timedelta(minutes=6))
    assert "knows none of these" in terminate(context, "ret-1", [old], "terminate")[1][hidden].message
    strict_aws.advance(60)
    assert terminate(context, "ret-1", [young], "terminate") == ({hidden}, {})


def test_a_protected_machine_is_told_apart_and_the_others_end(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine], strict_aws: StrictAws
) -> None:
    plain, [protected] = launched(20), launched(DisableApiTermination=True)
    machines = [machine(one) for one in (*plain[:10], protected, *plain[10:])]
    ending, faults = terminate(context, "ret-1", machines, "terminate")

    assert ending == set(plain)
    assert list(faults) == [protected]
    assert (faults[protected].code, faults[protected].subject) == ("OperationNotPermitted", protected)
    assert [one.id for one in strict_aws.live_instances()] == [protected]


class OneCulprit(Hook):
    """Refuses every batch that holds one id, without naming it."""

    def __init__(self, culprit: str) -> None:
        self.culprit = culprit

    def before(self, call: Call) -> None:
        if call.operation == "TerminateInstances" and self.culprit in call.parameters["InstanceIds"]:
            raise AwsError("IncorrectInstanceState", "An instance is in a state from which it can't be ended.")


def test_a_batch_that_is_refused_without_a_name_is_halved_until_the_culprit_stands_alone(
    context: Context, launched: Callable[..., list[str]], machine: Callable[..., Machine], strict_aws: StrictAws
) -> None:
    ids = launched(64)
    strict_aws.hooks.append(OneCulprit(ids[37]))
    ending, faults = terminate(context, "ret-1", [machine(one) for one in ids], "terminate")

    assert ending == set(ids) - {ids[37]}
    assert list(faults) == [ids[37]]
    assert len(strict_aws.calls) == 1 + 2 * int(math.log2(64))


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (AwsError("UnauthorizedOperation", "No.", 403), FaultKind.PERMISSION),
        (AwsError("RequestLimitExceeded", "Slower.", 503), FaultKind.THROTTLE),
        (AwsError("InternalError", "Oops.", 500), FaultKind.TRANSIENT),
    ],
)
def test_a_refusal_that_no_single_machine_is_the_reason_for_holds_for_all_without_more_calls(
    context: Context,
    launched: Callable[..., list[str]],
    machine: Callable[..., Machine],
    faults: Callable[..., None],
    operations: Callable[[], list[str]],
    wrong: AwsError,
    kind: FaultKind,
) -> None:
    ids = launched(4)
    faults("TerminateInstances", *[wrong] * 3)
    ending, found = terminate(context, "ret-1", [machine(one) for one in ids], "terminate")

    assert ending == frozenset()
    assert set(found) == set(ids)
    assert {fault.kind for fault in found.values()} == {kind}
    assert len(operations()) <= 3


def test_releases_of_several_requests_end_in_one_call_each_with_its_own_outcome(
    context: Context,
    launched: Callable[..., list[str]],
    machine: Callable[..., Machine],
    new_request: Callable[..., Request],
    operations: Callable[[], list[str]],
) -> None:
    one, two, [protected] = launched(2), launched(2), launched(DisableApiTermination=True)
    releases = (
        Release(request=new_request(1), machines=tuple(map(machine, one)), return_id="ret-1"),
        Release(request=new_request(2), machines=tuple(map(machine, [*two, protected])), return_id="ret-1"),
    )
    first, second = release_instances(releases, context)

    assert (first.request_id, first.ending, first.faults) == (new_request(1).request_id, frozenset(one), {})
    assert second.ending == set(two)
    assert list(second.faults) == [protected]
    assert operations() == ["TerminateInstances"] * 2
