"""Spot Fleet: rules of aws.md sections 1, 3 and 6."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.strict_aws.conftest import Cloud, Refused

EARLY = datetime(2020, 1, 1, tzinfo=UTC)


def test_a_spot_fleet_answers_its_id_and_fills_later(cloud: Cloud) -> None:
    fleet = cloud.spot_fleet(3)
    assert fleet.startswith("sfr-")
    found = cloud.described_spot_fleet(fleet)
    assert found["SpotFleetRequestState"] == "submitted"
    cloud.aws.advance(300)
    found = cloud.described_spot_fleet(fleet)
    assert found["SpotFleetRequestState"] == "active"
    config = found["SpotFleetRequestConfig"]
    assert (config["Type"], config["FulfilledCapacity"], config["TargetCapacity"]) == ("request", 3.0, 3)
    active = cloud.ec2.describe_spot_fleet_instances(SpotFleetRequestId=fleet)["ActiveInstances"]
    assert all(i["SpotInstanceRequestId"].startswith("sir-") for i in active)
    tags = {t["Key"]: t["Value"] for t in cloud.instance(active[0]["InstanceId"])["Tags"]}
    assert tags["aws:ec2spot:fleet-request-id"] == fleet
    assert tags["hfcore:owner"] == "me"


def test_the_ids_are_uuids_so_that_their_length_is_right(cloud: Cloud) -> None:
    assert len(cloud.spot_fleet(1)) == len("sfr-") + 36


@pytest.mark.parametrize(
    "wrong",
    [
        {"IamFleetRole": "my-role"},
        {"LaunchSpecifications": [{"ImageId": "ami-12c6146b"}]},
        {"OnDemandTargetCapacity": 3},
        {"Type": "instant"},
    ],
)
def test_a_wrong_request_is_refused(cloud: Cloud, refused: Refused, wrong: dict[str, Any]) -> None:
    assert refused(cloud.spot_fleet, units=2, **wrong) == "InvalidSpotFleetRequestConfig"


def test_a_template_that_is_not_there_is_refused(cloud: Cloud, refused: Refused) -> None:
    configs = [{"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-00000000", "Version": "1"}}]
    assert refused(cloud.spot_fleet, units=1, LaunchTemplateConfigs=configs) == "InvalidLaunchTemplateId.NotFound"


def test_tags_are_for_the_request_alone(cloud: Cloud, refused: Refused) -> None:
    tags = [{"ResourceType": "spot-fleet-request", "Tags": [{"Key": "a", "Value": "b"}]}]
    fleet = cloud.spot_fleet(1, TagSpecifications=tags)
    assert cloud.described_spot_fleet(fleet)["Tags"] == tags[0]["Tags"]
    tags[0]["ResourceType"] = "instance"
    assert refused(cloud.spot_fleet, units=1, TagSpecifications=tags) == "InvalidParameterValue"


def test_a_token_used_again_answers_the_same_request(cloud: Cloud, refused: Refused) -> None:
    configs = cloud.configs()
    first = cloud.spot_fleet(2, ClientToken="one", LaunchTemplateConfigs=configs)
    assert cloud.spot_fleet(2, ClientToken="one", LaunchTemplateConfigs=configs) == first
    assert cloud.aws.violations == []
    asked = {"units": 3, "ClientToken": "one", "LaunchTemplateConfigs": configs}
    assert refused(cloud.spot_fleet, **asked) == "IdempotentParameterMismatch"
    assert len(cloud.aws.violations) == 1


def test_a_request_without_a_token_is_a_violation(cloud: Cloud) -> None:
    config: dict[str, Any] = {"IamFleetRole": "arn:aws:iam::123456789012:role/r", "TargetCapacity": 1}
    config["LaunchTemplateConfigs"] = cloud.configs()
    ids = {cloud.ec2.request_spot_fleet(SpotFleetRequestConfig=config)["SpotFleetRequestId"] for _ in range(2)}
    assert len(ids) == 2
    assert [v.operation for v in cloud.aws.violations] == ["RequestSpotFleet"] * 2


def test_every_override_is_used_with_its_weight_and_priority(cloud: Cloud) -> None:
    overrides = [
        {"InstanceType": "m5.large", "SubnetId": cloud.subnets[0], "Priority": 2, "WeightedCapacity": 1},
        {"InstanceType": "m5.xlarge", "SubnetId": cloud.subnets[0], "Priority": 1, "WeightedCapacity": 2},
    ]
    cloud.aws.set_capacity("m5.xlarge", "us-east-1a", "on-demand", 1)
    asked = {"OnDemandTargetCapacity": 4, "OnDemandAllocationStrategy": "prioritized"}
    cloud.spot_fleet(4, LaunchTemplateConfigs=cloud.configs(*overrides), **asked)
    cloud.aws.advance(600)
    types = sorted(i["InstanceType"] for i in cloud.instances(InstanceIds=cloud.live()))
    assert types == ["m5.large", "m5.large", "m5.xlarge"]


def test_a_short_request_keeps_trying_and_tells_why(cloud: Cloud) -> None:
    for zone in "abc":
        cloud.aws.set_capacity("m5.large", f"us-east-1{zone}", "spot", 0)
    fleet = cloud.spot_fleet(1)
    cloud.aws.advance(600)
    asked = {"SpotFleetRequestId": fleet, "StartTime": EARLY}
    events = cloud.ec2.describe_spot_fleet_request_history(**asked)["HistoryRecords"]
    told = [e["EventInformation"] for e in events if e["EventType"] == "information"]
    assert told[0]["EventSubType"] == "launchSpecTemporarilyBlacklisted"
    assert "There is no Spot capacity available" in told[0]["EventDescription"]
    assert "Error Code: UnfulfillableCapacity" in told[0]["EventDescription"]
    assert cloud.described_spot_fleet(fleet)["ActivityStatus"] == "error"
    cloud.aws.set_capacity("m5.large", "us-east-1a", "spot", None)
    cloud.aws.advance(300)
    assert len(cloud.live()) == 1
    assert cloud.described_spot_fleet(fleet)["ActivityStatus"] == "fulfilled"
    events = cloud.ec2.describe_spot_fleet_request_history(**asked)["HistoryRecords"]
    assert [e["EventInformation"]["InstanceId"] for e in events if e["EventType"] == "instanceChange"] == cloud.live()


def test_history_may_come_late(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(history_after_seconds=30)
    cloud.aws.set_capacity("m5.large", "us-east-1a", "spot", 0)
    asked = {"SpotFleetRequestId": cloud.spot_fleet(1), "StartTime": EARLY}
    cloud.aws.advance(10)
    assert cloud.ec2.describe_spot_fleet_request_history(**asked)["HistoryRecords"] == []
    cloud.aws.advance(30)
    assert cloud.ec2.describe_spot_fleet_request_history(**asked)["HistoryRecords"]


def test_a_wrong_launch_is_an_error_and_not_a_shortage(cloud: Cloud) -> None:
    template = cloud.template()
    configs = [{"LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"}}]
    fleet = cloud.spot_fleet(1, LaunchTemplateConfigs=configs)
    cloud.ec2.delete_launch_template(LaunchTemplateId=template)
    cloud.aws.advance(61)
    asked = {"SpotFleetRequestId": fleet, "StartTime": EARLY}
    events = cloud.ec2.describe_spot_fleet_request_history(**asked)["HistoryRecords"]
    (error,) = (e["EventInformation"] for e in events if e["EventType"] == "error")
    assert error["EventSubType"] == "spotFleetRequestConfigurationInvalid"
    assert "InvalidLaunchTemplateId.NotFound" in error["EventDescription"]


def test_a_request_does_not_replace_what_dies(cloud: Cloud) -> None:
    cloud.spot_fleet(2)
    cloud.aws.advance(300)
    cloud.aws.reclaim(cloud.live()[0])
    cloud.aws.advance(3600)
    assert len(cloud.live()) == 1


def test_a_cancelled_request_keeps_or_ends_its_instances_as_told(cloud: Cloud) -> None:
    kept, ended = cloud.spot_fleet(2), cloud.spot_fleet(2)
    cloud.aws.advance(300)
    cancel = cloud.ec2.cancel_spot_fleet_requests
    answer = cancel(SpotFleetRequestIds=[kept], TerminateInstances=False)["SuccessfulFleetRequests"][0]
    assert answer["CurrentSpotFleetRequestState"] == "cancelled_running"
    answer = cancel(SpotFleetRequestIds=[ended], TerminateInstances=True)["SuccessfulFleetRequests"][0]
    assert answer["CurrentSpotFleetRequestState"] == "cancelled_terminating"
    cloud.aws.advance(300)
    assert len(cloud.live()) == 2
    assert cloud.described_spot_fleet(ended)["SpotFleetRequestState"] == "cancelled"
    cloud.aws.kill(cloud.live()[0])
    cloud.aws.advance(3600)
    assert len(cloud.live()) == 1


def test_cancelling_answers_what_cannot_be_cancelled(cloud: Cloud, refused: Refused) -> None:
    fleet, unknown = cloud.spot_fleet(1), "sfr-00000000-0000-0000-0000-000000000000"
    cancel = cloud.ec2.cancel_spot_fleet_requests
    cancel(SpotFleetRequestIds=[fleet], TerminateInstances=True)
    answer = cancel(SpotFleetRequestIds=[fleet, unknown, "mine"], TerminateInstances=True)
    codes = [u["Error"]["Code"] for u in answer["UnsuccessfulFleetRequests"]]
    assert codes == ["fleetRequestNotInCancellableState", "fleetRequestIdDoesNotExist", "fleetRequestIdMalformed"]
    many = [unknown] * 101
    assert refused(cancel, SpotFleetRequestIds=many, TerminateInstances=True) == "InvalidParameterValue"


def test_an_unknown_request_fails_the_whole_call(cloud: Cloud, refused: Refused) -> None:
    ids = [cloud.spot_fleet(1), "sfr-00000000-0000-0000-0000-000000000000"]
    code = refused(cloud.ec2.describe_spot_fleet_requests, SpotFleetRequestIds=ids)
    assert code == "InvalidSpotFleetRequestId.NotFound"


def test_requests_come_in_pages(cloud: Cloud) -> None:
    for _ in range(3):
        cloud.spot_fleet(1)
    paginate = cloud.ec2.get_paginator("describe_spot_fleet_requests").paginate
    assert [len(p["SpotFleetRequestConfigs"]) for p in paginate(PaginationConfig={"PageSize": 2})] == [2, 1]
