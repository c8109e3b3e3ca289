# ruff: noqa: ANN401 - the fields of a template
"""The exact parameters sent to Auto Scaling, and what is said of templates, requests' names and failed activities."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator
from hfcore_aws_asg import plugin, requests

from hfcore.models import FaultKind, Request, RequestStatus, Severity, Template

REQUEST = Request(
    request_id="req-1", status=RequestStatus.CREATING, target=10, created_at=datetime(2026, 1, 1, tzinfo=UTC)
)
TAGS = {"hfcore:owner": "me", "team": "risk"}


def template(**fields: Any) -> Template:
    given = {
        "template_id": "T",
        "image_id": "ami-12c6146b",
        "vm_types": {"m5.large": 1},
        "security_group_ids": ("sg-1",),
    }
    return Template(**{**given, "subnet_id": ("subnet-1", "subnet-2"), **fields})


def built(**fields: Any) -> dict[str, Any]:
    parameters = requests.create_group(REQUEST, template(**fields), "hfcore-abc", TAGS, units=10)
    shape = get_session().get_service_model("autoscaling").operation_model("CreateAutoScalingGroup").input_shape
    assert ParamValidator().validate(parameters, shape).generate_report() == ""
    return parameters


def policy(**fields: Any) -> Any:
    return built(**fields)["MixedInstancesPolicy"]


def test_one_type_on_demand() -> None:
    tag = {"ResourceId": "asg-hf-req-1", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
    assert built() == {
        "AutoScalingGroupName": "asg-hf-req-1",
        "MinSize": 0,
        "MaxSize": 10,
        "DesiredCapacity": 10,
        "MixedInstancesPolicy": {
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateName": "hfcore-abc", "Version": "1"},
                "Overrides": [{"InstanceType": "m5.large"}],
            },
            "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 100},
        },
        "VPCZoneIdentifier": "subnet-1,subnet-2",
        "NewInstancesProtectedFromScaleIn": True,
        "CapacityRebalance": False,
        "Tags": [{**tag, "Key": "hfcore:owner", "Value": "me"}, {**tag, "Key": "team", "Value": "risk"}],
    }


def test_weights_are_units_and_leave_room_for_the_largest_machine() -> None:
    found = built(vm_types={"m5.large": 1, "m5.xlarge": 2, "m5.2xlarge": 4})
    assert (found["MinSize"], found["DesiredCapacity"], found["MaxSize"]) == (0, 10, 14)
    assert found["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"] == [
        {"InstanceType": "m5.large", "WeightedCapacity": "1"},
        {"InstanceType": "m5.xlarge", "WeightedCapacity": "2"},
        {"InstanceType": "m5.2xlarge", "WeightedCapacity": "4"},
    ]


def test_types_of_equal_weight_have_none_and_stand_in_the_order_of_priority() -> None:
    found = policy(
        vm_types={"a1.large": 1, "m5.large": 1, "c5.large": 1}, vm_types_priority={"c5.large": 1, "m5.large": 2}
    )
    assert found["LaunchTemplate"]["Overrides"] == [{"InstanceType": t} for t in ("c5.large", "m5.large", "a1.large")]


def test_a_users_launch_template_keeps_its_own_type() -> None:
    found = policy(vm_types={}, launch_template_id="lt-1")
    assert "Overrides" not in found["LaunchTemplate"]
    assert found["InstancesDistribution"] == {"OnDemandPercentageAboveBaseCapacity": 100}


@pytest.mark.parametrize(
    ("fields", "distribution"),
    [
        ({}, {"SpotAllocationStrategy": "price-capacity-optimized"}),
        ({"allocation_strategy": "capacityOptimized"}, {"SpotAllocationStrategy": "capacity-optimized"}),
        ({"allocation_strategy": "lowestPrice"}, {"SpotAllocationStrategy": "lowest-price"}),
        ({"pools_count": 3}, {"SpotAllocationStrategy": "lowest-price", "SpotInstancePools": 3}),
        (
            {"allocation_strategy": "capacityOptimized", "pools_count": 3},
            {"SpotAllocationStrategy": "capacity-optimized"},
        ),
        (
            {"vm_types_priority": {"m5.large": 1}},
            {"SpotAllocationStrategy": "capacity-optimized-prioritized"},
        ),
        (
            {"max_spot_price": 0.07},
            {"SpotAllocationStrategy": "price-capacity-optimized", "SpotMaxPrice": "0.07"},
        ),
        (
            {"percent_on_demand": 30, "allocation_strategy_on_demand": "lowestPrice"},
            {
                "SpotAllocationStrategy": "price-capacity-optimized",
                "OnDemandPercentageAboveBaseCapacity": 30,
                "OnDemandAllocationStrategy": "lowest-price",
            },
        ),
    ],
)
def test_spot_is_asked_for_by_the_distribution(fields: dict[str, Any], distribution: dict[str, Any]) -> None:
    expected = {"OnDemandPercentageAboveBaseCapacity": 0} | distribution
    assert policy(price_type="spot", **fields)["InstancesDistribution"] == expected


def test_the_longest_request_id_makes_a_name_that_auto_scaling_takes() -> None:
    longest = replace(REQUEST, request_id="req-00000000-0000-4000-8000-000000000000")
    name = requests.group_name(longest, remainder=True)
    assert len(name) <= 255
    assert ":" not in name


@pytest.mark.parametrize(("subnets", "needed"), [((), True), (("subnet-1",), False), (("subnet-1", "subnet-2"), True)])
def test_only_a_group_known_to_lie_in_one_zone_needs_no_steadying(subnets: tuple[str, ...], needed: bool) -> None:  # noqa: FBT001
    assert requests.needs_steadying(template(subnet_id=subnets)) is needed


def test_what_is_suspended() -> None:
    assert requests.suspension("asg-hf-req-1", requests.AT_BIRTH) == {
        "AutoScalingGroupName": "asg-hf-req-1",
        "ScalingProcesses": ["AZRebalance"],
    }
    assert requests.suspension("asg-hf-req-1", requests.FROZEN)["ScalingProcesses"] == [
        "Launch",
        "ReplaceUnhealthy",
        "AZRebalance",
    ]


def problems(**fields: Any) -> set[tuple[str, Severity]]:
    context: Any = SimpleNamespace(settings=SimpleNamespace(instance_pending_timeout_sec=180))
    found = plugin.validate_template(template(**fields), context)
    return {(p.field, p.severity) for p in found}


def test_a_plain_template_has_no_problem() -> None:
    assert problems() == set()
    assert problems(price_type="spot", percent_on_demand=20, allocation_strategy="lowestPrice", pools_count=2) == set()
    assert problems(vm_types={"m5.large": 1, "m5.xlarge": 2}, vm_types_priority={"m5.xlarge": 1}) == set()


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("priceType", {"price_type": "heterogeneous", "vm_types": {"m5.large": 2}}),
        (
            "percentOnDemand",
            {"price_type": "heterogeneous", "percent_on_demand": 20, "vm_types_on_demand": {"c5.large": 1}},
        ),
        ("allocationStrategy", {"price_type": "spot", "allocation_strategy": "diversified"}),
        ("subnetId", {"launch_template_id": "lt-1", "subnet_id": ()}),
        ("vmTypes", {"vm_types": {f"m{n}.large": 1 for n in range(41)}}),
        ("vmTypes", {"vm_types": {"m5.large": 1000}}),
        ("poolsCount", {"price_type": "spot", "pools_count": 21}),
        ("maxSpotPrice", {"price_type": "spot", "max_spot_price": 0.0001}),
    ],
)
def test_what_a_group_can_not_honour_is_an_error(field: str, fields: dict[str, Any]) -> None:
    assert problems(**fields) == {(field, Severity.ERROR)}


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("fleetType", {"fleet_type": "instant"}),
        ("fleetRole", {"fleet_role": "arn:aws:iam::1:role/r"}),
        ("allocationStrategy", {"allocation_strategy": "lowestPrice"}),
        ("percentOnDemand", {"percent_on_demand": 50}),
        ("poolsCount", {"pools_count": 2}),
        ("poolsCount", {"price_type": "spot", "allocation_strategy": "capacityOptimized", "pools_count": 2}),
        ("allocationStrategyOnDemand", {"price_type": "spot", "allocation_strategy_on_demand": "prioritized"}),
        (
            "vmTypesPriority",
            {"price_type": "spot", "allocation_strategy": "lowestPrice", "vm_types_priority": {"m5.large": 1}},
        ),
        ("vmTypesPriority", {"allocation_strategy_on_demand": "lowestPrice", "vm_types_priority": {"m5.large": 1}}),
    ],
)
def test_what_has_no_effect_is_a_warning(field: str, fields: dict[str, Any]) -> None:
    assert problems(**fields) == {(field, Severity.WARNING)}


def activity(text: str | None, status: str = "Failed", description: str = "Launching a new one.") -> dict[str, Any]:
    return {"StatusCode": status, "StatusMessage": text, "Description": description}


@pytest.mark.parametrize(
    ("text", "code", "kind"),
    [
        (
            "We currently do not have sufficient m5.large capacity in the Availability Zone you requested.",
            "InsufficientInstanceCapacity",
            FaultKind.CAPACITY,
        ),
        ("There is no Spot capacity available that matches your request.", "UnfulfillableCapacity", FaultKind.CAPACITY),
        (
            "Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more. Launching failed.",
            "VcpuLimitExceeded",
            FaultKind.QUOTA,
        ),
        ("Could not launch Spot Instances. UnfulfillableCapacity - No.", "UnfulfillableCapacity", FaultKind.CAPACITY),
        (
            "20 instance(s) are already running. Launching EC2 instance failed.",
            "InstanceLimitExceeded",
            FaultKind.QUOTA,
        ),
        ("You are not authorized to perform this operation.", "UnauthorizedOperation", FaultKind.PERMISSION),
        (
            "Instance became unhealthy. Termination Reason: Client.InvalidKMSKey.InvalidState: It is disabled.",
            "Client.InvalidKMSKey.InvalidState",
            FaultKind.PERMISSION,
        ),
        ("Something new.", "ScalingActivityFailed", FaultKind.UNKNOWN),
    ],
)
def test_a_failed_activity_is_told_with_code_and_sentence(text: str, code: str, kind: FaultKind) -> None:
    (fault,) = requests.shortfall([activity(text)])
    assert (fault.code, fault.kind) == (code, kind)
    assert fault.message


def test_reasons_are_the_same_at_every_look() -> None:
    one = activity("No (Service: AmazonEC2; Status Code: 500; Request ID: 5f0d6b0e-1111-4000-8000-000000000001)")
    other = activity("No (Service: AmazonEC2; Status Code: 500; Request ID: 5f0d6b0e-2222-4000-8000-000000000002)")
    third = activity("There is no Spot capacity available.", "Cancelled")
    found = requests.shortfall([one, third, other])
    assert found == requests.shortfall([third, other, one])
    assert len(found) == 2
    assert "5f0d6b0e" not in str(found)


def test_only_failed_launches_are_reasons() -> None:
    ended = activity("i-12345678 is gone", description="Terminating EC2 instance: i-12345678")
    assert requests.shortfall([ended, activity(None), activity("fine", "Successful")]) == ()


def test_an_authorization_blob_is_not_told() -> None:
    (fault,) = requests.shortfall([activity("You are not authorized. Encoded authorization failure message: c2VjcmV0")])
    assert "c2VjcmV0" not in fault.message
