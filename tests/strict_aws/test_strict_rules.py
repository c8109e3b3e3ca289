"""Each rule of AWS's documents that a caller broke is listed; a caller that keeps them is not."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.strict_aws.conftest import Cloud

MANY_IDS = [f"i-{n:08x}" for n in range(1001)]
FLEETS = [f"fleet-{n:08x}-0000-4000-8000-000000000000" for n in range(101)]
REQUESTS = [f"sfr-{n:08x}-0000-4000-8000-000000000000" for n in range(101)]
TAG_FILTER = {"Name": "tag:a", "Values": [str(n) for n in range(201)]}
LARGE: dict[str, Any] = {"ImageId": "ami-12c6146b", "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
TARGET = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}


def with_another_count(cloud: Cloud) -> None:
    cloud.run(1, ClientToken="one")
    cloud.run(2, ClientToken="one")


def with_many_tags(cloud: Cloud) -> None:
    tags = [{"Key": str(n), "Value": ""} for n in range(51)]
    cloud.run(TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])


def delete_many_instant(cloud: Cloud) -> None:
    ids = [cloud.fleet(1)["FleetId"] for _ in range(26)]
    cloud.ec2.delete_fleets(FleetIds=ids, TerminateInstances=True)


def keep_the_instances_of_an_instant_fleet(cloud: Cloud) -> None:
    cloud.ec2.delete_fleets(FleetIds=[cloud.fleet(1)["FleetId"]], TerminateInstances=False)


def ask_an_instant_fleet_for_its_instances(cloud: Cloud) -> None:
    cloud.ec2.describe_fleet_instances(FleetId=cloud.fleet(1)["FleetId"])


def let_aws_choose_what_ends(cloud: Cloud) -> None:
    fleet = cloud.fleet(2, "maintain")["FleetId"]
    target = TARGET | {"TotalTargetCapacity": 1}
    cloud.ec2.modify_fleet(FleetId=fleet, TargetCapacitySpecification=target)


def without_a_token(cloud: Cloud) -> None:
    cloud.spot_fleet(1, ClientToken="")


BROKEN: dict[str, tuple[str, str, Callable[[Cloud], object]]] = {
    "ids to end": ("TerminateInstances", "1000", lambda c: c.ec2.terminate_instances(InstanceIds=MANY_IDS)),
    "ids to ask": ("DescribeInstances", "1000", lambda c: c.ec2.describe_instances(InstanceIds=MANY_IDS)),
    "ids of status": (
        "DescribeInstanceStatus",
        "100",
        lambda c: c.ec2.describe_instance_status(InstanceIds=MANY_IDS[:101]),
    ),
    "ids and pages": (
        "DescribeInstances",
        "maxResults",
        lambda c: c.ec2.describe_instances(InstanceIds=MANY_IDS[:1], MaxResults=5),
    ),
    "filter values": ("DescribeInstances", "200", lambda c: c.ec2.describe_instances(Filters=[TAG_FILTER])),
    "a token's parameters": ("RunInstances", "inconsistent", with_another_count),
    "tags": ("RunInstances", "50", with_many_tags),
    "no tags": ("RunInstances", "without tags", lambda c: c.run(TagSpecifications=[])),
    "no tags by a template": (
        "CreateFleet",
        "without tags",
        lambda c: c.fleet(1, LaunchTemplateConfigs=c.configs(TagSpecifications=[])),
    ),
    "no token": ("RequestSpotFleet", "ClientToken", without_a_token),
    "card and groups": (
        "RunInstances",
        "Network interfaces",
        lambda c: c.run(NetworkInterfaces=[{"DeviceIndex": 0}], SecurityGroupIds=["sg-0"]),
    ),
    "instant fleets to delete": ("DeleteFleets", "25", delete_many_instant),
    "fleets to delete": (
        "DeleteFleets",
        "100",
        lambda c: c.ec2.delete_fleets(FleetIds=FLEETS, TerminateInstances=False),
    ),
    "Spot Fleets to cancel": (
        "CancelSpotFleetRequests",
        "100",
        lambda c: c.ec2.cancel_spot_fleet_requests(SpotFleetRequestIds=REQUESTS, TerminateInstances=False),
    ),
    "an instant fleet's instances kept": (
        "DeleteFleets",
        "without its instances",
        keep_the_instances_of_an_instant_fleet,
    ),
    "an instant fleet's instances asked": (
        "DescribeFleetInstances",
        "type instant",
        ask_an_instant_fleet_for_its_instances,
    ),
    "no policy": ("ModifyFleet", "no-termination", let_aws_choose_what_ends),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_listed_once_with_its_operation(cloud: Cloud, rule: str) -> None:
    operation, words, act = BROKEN[rule]
    with suppress(ClientError):
        act(cloud)
    (violation,) = cloud.aws.violations
    assert violation.operation == operation
    assert words in violation.rule


def test_a_caller_that_keeps_the_rules_is_not_listed_nor_one_that_is_refused(cloud: Cloud) -> None:
    ids = cloud.run(2)
    cloud.ec2.describe_instances(InstanceIds=ids)
    cloud.ec2.describe_instances(Filters=[TAG_FILTER | {"Values": TAG_FILTER["Values"][:200]}], MaxResults=1000)
    fleet = cloud.fleet(2, "maintain")["FleetId"]
    asked = {"FleetId": fleet, "TargetCapacitySpecification": TARGET}
    cloud.ec2.modify_fleet(**asked, ExcessCapacityTerminationPolicy="no-termination")
    cloud.ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=False)
    cloud.spot_fleet(1)
    cloud.group(1)
    with pytest.raises(ClientError):
        cloud.ec2.terminate_instances(InstanceIds=[*ids, "i-12345678"])
    cloud.ec2.terminate_instances(InstanceIds=ids)
    assert cloud.aws.violations == []
