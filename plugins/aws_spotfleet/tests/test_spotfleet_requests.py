"""What RequestSpotFleet is sent, and what is wrong with a template: all pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hfcore_aws_spotfleet.plugin import INFO, validate_template
from hfcore_aws_spotfleet.requests import request_spot_fleet

from hfcore.models import Severity, Template
from hfcore.testing.golden import CONTEXT

ROLE = "arn:aws:iam::123456789012:role/aws-ec2-spot-fleet-tagging-role"
UNTIL = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
SHAPE = botocore.session.Session().get_service_model("ec2").operation_model("RequestSpotFleet").input_shape
COMMON = {
    "Type": "request",
    "IamFleetRole": ROLE,
    "TagSpecifications": [
        {"ResourceType": "spot-fleet-request", "Tags": [{"Key": "hfcore:owner", "Value": "me"}]},
    ],
    "TerminateInstancesWithExpiration": False,
    "ValidUntil": "2030-01-02T03:04:05Z",
}


def template(**changed: object) -> Template:
    fields: dict[str, Any] = {
        "template_id": "basic",
        "image_id": "ami-12c6146b",
        "vm_types": {"m5.large": 1},
        "subnet_id": ("subnet-a",),
        "security_group_ids": ("sg-1",),
        "price_type": "spot",
        "fleet_role": ROLE,
    }
    return Template(**{**fields, **changed})


def built(its: Template, units: int = 10, on_demand: int = 0) -> dict[str, Any]:
    tags = {"hfcore:owner": "me"}
    found = request_spot_fleet(its, "hfcore-req-1", tags, units=units, on_demand=on_demand, until=UNTIL)
    assert not ParamValidator().validate(found, SHAPE).has_errors()
    config: dict[str, Any] = found["SpotFleetRequestConfig"]
    return config


def configs(*overrides: dict[str, Any]) -> list[dict[str, Any]]:
    named = {"LaunchTemplateName": "hfcore-req-1", "Version": "1"}
    return [{"LaunchTemplateSpecification": named, "Overrides": list(overrides)}]


def test_spot_alone() -> None:
    its = template(allocation_strategy="lowestPrice", pools_count=2, max_spot_price=0.05)
    assert built(its) == COMMON | {
        "TargetCapacity": 10,
        "LaunchTemplateConfigs": configs({"InstanceType": "m5.large", "SubnetId": "subnet-a"}),
        "AllocationStrategy": "lowestPrice",
        "InstancePoolsToUseCount": 2,
        "SpotPrice": "0.05",
        "InstanceInterruptionBehavior": "terminate",
    }


def test_a_share_on_demand_with_weights_and_priorities() -> None:
    its = template(
        vm_types={"m5.large": 1, "m5.xlarge": 2},
        vm_types_priority={"m5.xlarge": 0},
        allocation_strategy="capacityOptimizedPrioritized",
    )
    assert built(its, on_demand=2) == COMMON | {
        "TargetCapacity": 10,
        "OnDemandTargetCapacity": 2,
        "OnDemandAllocationStrategy": "prioritized",
        "LaunchTemplateConfigs": configs(
            {"InstanceType": "m5.large", "SubnetId": "subnet-a", "WeightedCapacity": 1},
            {"InstanceType": "m5.xlarge", "SubnetId": "subnet-a", "WeightedCapacity": 2, "Priority": 0},
        ),
        "AllocationStrategy": "capacityOptimizedPrioritized",
        "InstanceInterruptionBehavior": "terminate",
    }


def test_what_spot_leaves_is_bought_of_the_on_demand_types() -> None:
    its = template(
        price_type="heterogeneous",
        vm_types_on_demand={"c5.large": 1},
        allocation_strategy="lowestPrice",
        allocation_strategy_on_demand="lowestPrice",
        max_spot_price=1,
    )
    assert built(its, 4, on_demand=4) == COMMON | {
        "TargetCapacity": 4,
        "OnDemandTargetCapacity": 4,
        "OnDemandAllocationStrategy": "lowestPrice",
        "LaunchTemplateConfigs": configs({"InstanceType": "c5.large", "SubnetId": "subnet-a"}),
    }


@pytest.mark.parametrize(
    ("field", "severity", "changed"),
    [
        ("fleetRole", Severity.ERROR, {"fleet_role": None}),
        ("fleetRole", Severity.ERROR, {"fleet_role": "aws-ec2-spot-fleet-tagging-role"}),
        ("fleetType", Severity.ERROR, {"fleet_type": "maintain"}),
        ("fleetType", Severity.ERROR, {"fleet_type": "instant"}),
        ("priceType", Severity.WARNING, {"price_type": None}),
        ("subnetId", Severity.ERROR, {"subnet_id": ()}),
    ],
)
def test_what_is_wrong_is_said(field: str, severity: Severity, changed: dict[str, Any]) -> None:
    found = validate_template(template(**changed), CONTEXT)
    assert [(problem.field, problem.severity) for problem in found] == [(field, severity)]


def test_a_template_as_ibm_has_it_is_right() -> None:
    its = template(
        price_type="heterogeneous",
        vm_types={"m5.large": 1, "m5.xlarge": 2},
        vm_types_on_demand={"m5.large": 1},
        allocation_strategy="lowestPrice",
        pools_count=2,
    )
    assert validate_template(its, CONTEXT) == ()


def test_every_operation_needs_its_permission() -> None:
    needed = {one for one in INFO.operations if one not in {"ssm:GetParameter", "sqs:DeleteMessageBatch"}}
    assert needed <= set(INFO.iam_actions)
    assert {"iam:PassRole", "iam:CreateServiceLinkedRole", "ec2:RunInstances"} <= set(INFO.iam_actions)
