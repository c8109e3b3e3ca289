"""A strict AWS with real boto3 clients, and short words for what the tests launch."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from hfcore.testing.aws import IMAGE, StrictAws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Open = Any  # what boto3 takes and gives
TAGS = [{"Key": "hfcore:owner", "Value": "me"}]
ROLE = "arn:aws:iam::123456789012:role/aws-ec2-spot-fleet-tagging-role"
SESSION: Open = boto3.Session(aws_access_key_id="id", aws_secret_access_key="secret", region_name="us-east-1")


class Cloud:
    """A server, its clients, and the launches that the tests share."""

    def __init__(self, aws: StrictAws) -> None:
        self.aws = aws
        self._names = itertools.count()
        self._clients: list[Open] = []

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.aws.stop()

    def client(
        self, service: str, region: str = "us-east-1", read_timeout: float = 10, account: str = "123456789012"
    ) -> Open:
        config = Config(retries={"total_max_attempts": 1}, read_timeout=read_timeout)
        key = self.aws.environment(account=account)["AWS_ACCESS_KEY_ID"]
        about = {"region_name": region, "endpoint_url": self.aws.endpoint_url, "aws_access_key_id": key}
        made = SESSION.client(service, config=config, aws_secret_access_key="secret", **about)
        self._clients.append(made)
        return made

    @cached_property
    def ec2(self) -> Open:
        return self.client("ec2")

    @cached_property
    def asg(self) -> Open:
        return self.client("autoscaling")

    @cached_property
    def subnets(self) -> list[str]:
        return list(self.aws.region().subnets)

    def run(self, count: int = 1, **more: Open) -> list[str]:
        tags = [{"ResourceType": "instance", "Tags": TAGS}]
        asked = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": count}
        made = self.ec2.run_instances(**{**asked, "TagSpecifications": tags, **more})
        return [i["InstanceId"] for i in made["Instances"]]

    def template(self, **more: Open) -> str:
        data: dict[str, Open] = {"ImageId": IMAGE, "InstanceType": "m5.large"}
        data["TagSpecifications"] = [{"ResourceType": "instance", "Tags": TAGS}]
        name = f"template-{next(self._names)}"
        made = self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData={**data, **more})
        return str(made["LaunchTemplate"]["LaunchTemplateId"])

    def configs(self, *overrides: dict[str, Open], **template: Open) -> list[dict[str, Open]]:
        named = {"LaunchTemplateId": self.template(**template), "Version": "1"}
        return [{"LaunchTemplateSpecification": named, "Overrides": list(overrides) or [{"SubnetId": self.subnets[0]}]}]

    def fleet(self, units: int, kind: str = "instant", market: str = "on-demand", **more: Open) -> Open:
        target = {"TotalTargetCapacity": units, "DefaultTargetCapacityType": market}
        asked = {"Type": kind, "TargetCapacitySpecification": target, **more}
        asked.setdefault("LaunchTemplateConfigs", self.configs())
        return self.ec2.create_fleet(**asked)

    def spot_fleet(self, units: int, **more: Open) -> str:
        config = {"IamFleetRole": ROLE, "TargetCapacity": units, "Type": "request", **more}
        config.setdefault("ClientToken", f"token-{next(self._names)}")
        config.setdefault("LaunchTemplateConfigs", self.configs())
        return str(self.ec2.request_spot_fleet(SpotFleetRequestConfig=config)["SpotFleetRequestId"])

    def group(self, units: int = 0, name: str = "group", **more: Open) -> None:
        asked = {"AutoScalingGroupName": name, "MinSize": 0, "MaxSize": 10, "DesiredCapacity": units, **more}
        asked.setdefault("VPCZoneIdentifier", self.subnets[0])
        asked.setdefault("MixedInstancesPolicy", self.mixed())
        self.asg.create_auto_scaling_group(**asked)

    def mixed(self, *overrides: dict[str, str], template: str = "", **distribution: Open) -> Open:
        named = {"LaunchTemplateId": template or self.template(), "Version": "1"}
        launch = {"LaunchTemplateSpecification": named, "Overrides": list(overrides)}
        return {"LaunchTemplate": launch, "InstancesDistribution": distribution}

    def described_group(self, name: str = "group") -> Open:
        return self.asg.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]

    def described_fleet(self, fleet_id: str) -> Open:
        return self.ec2.describe_fleets(FleetIds=[fleet_id])["Fleets"][0]

    def described_spot_fleet(self, fleet_id: str) -> Open:
        found = self.ec2.describe_spot_fleet_requests(SpotFleetRequestIds=[fleet_id])
        return found["SpotFleetRequestConfigs"][0]

    def instances(self, **asked: Open) -> list[dict[str, Open]]:
        found = self.ec2.describe_instances(**asked)["Reservations"]
        return [i for reservation in found for i in reservation["Instances"]]

    def filtered(self, name: str, *values: str) -> list[str]:
        return [i["InstanceId"] for i in self.instances(Filters=[{"Name": name, "Values": list(values)}])]

    def instance(self, instance_id: str) -> dict[str, Open]:
        return self.instances(InstanceIds=[instance_id])[0]

    def live(self, *markets: str) -> list[str]:
        return [i.id for i in self.aws.live_instances() if not markets or i.plan.market in markets]


@pytest.fixture
def make_cloud() -> Iterator[Callable[..., Cloud]]:
    made: list[Cloud] = []

    def make(**timings: float) -> Cloud:
        made.append(Cloud(StrictAws(**timings).start()))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def slow_cloud() -> Iterator[Cloud]:
    made = Cloud(StrictAws(boot_seconds=60, shutdown_seconds=60, fill_seconds=60, replace_seconds=60).start())
    yield made
    made.close()


@pytest.fixture
def cloud(slow_cloud: Cloud) -> Cloud:
    """Give a new world where nothing moves but by `advance`: every delay is a minute of its clock."""
    slow_cloud.aws.reset()
    return slow_cloud


class Refused:
    """Makes a call that must fail: gives its error code, and keeps its text and HTTP status."""

    text = ""
    status = 0

    def __call__(self, operation: Callable[..., Open], **parameters: Open) -> str:
        with pytest.raises(ClientError) as caught:
            operation(**parameters)
        answer = caught.value.response
        self.text, self.status = answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]
        return str(answer["Error"]["Code"])


@pytest.fixture
def refused() -> Refused:
    return Refused()
