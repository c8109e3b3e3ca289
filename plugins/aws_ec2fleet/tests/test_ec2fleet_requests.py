"""What CreateFleet is sent, what is kept of its answers, and what is wrong with a template: all pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hfcore_aws_ec2fleet import config_file
from hfcore_aws_ec2fleet.plugin import INFO, validate_template
from hfcore_aws_ec2fleet.requests import create_fleet, faults, keep

from hfcore.aws.fleet_history import reason
from hfcore.aws.mixes import on_demand_units, spot_until
from hfcore.errors import ConfigError
from hfcore.models import FaultKind, Request, RequestStatus, Severity, Template
from hfcore.testing.golden import CONTEXT

if TYPE_CHECKING:
    from pathlib import Path

UNTIL = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
NAMED = {"LaunchTemplateName": "hfcore-abc", "Version": "1"}
OURS = {"hfcore:owner": "me"}
FLEET_TAGS = [{"ResourceType": "fleet", "Tags": [{"Key": "hfcore:owner", "Value": "me"}]}]
SHAPE = botocore.session.Session().get_service_model("ec2").operation_model("CreateFleet").input_shape


def template(**changed: object) -> Template:
    fields: dict[str, Any] = {
        "template_id": "basic",
        "image_id": "ami-12c6146b",
        "vm_types": {"m5.large": 1},
        "subnet_id": ("subnet-a", "subnet-b"),
        "security_group_ids": ("sg-1",),
    }
    return Template(**{**fields, **changed})


def built(its: Template, units: int = 10, **more: object) -> dict[str, Any]:
    parameters = create_fleet(its, "hfcore-abc", {"fleet": OURS}, units=units, **{"kind": "instant", **more})
    assert not ParamValidator().validate(parameters, SHAPE).has_errors()
    return parameters


def test_an_instant_fleet_on_demand() -> None:
    tags = {"fleet": OURS, "instance": {**OURS, "team": "risk"}}
    assert create_fleet(template(), "hfcore-abc", tags, units=10, kind="instant") == {
        "Type": "instant",
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": NAMED,
                "Overrides": [
                    {"InstanceType": "m5.large", "SubnetId": "subnet-a"},
                    {"InstanceType": "m5.large", "SubnetId": "subnet-b"},
                ],
            }
        ],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 10, "DefaultTargetCapacityType": "on-demand"},
        "TagSpecifications": [
            *FLEET_TAGS,
            {
                "ResourceType": "instance",
                "Tags": [{"Key": "hfcore:owner", "Value": "me"}, {"Key": "team", "Value": "risk"}],
            },
        ],
    }


def test_a_mixed_instant_fleet_with_weights_priorities_and_a_price() -> None:
    its = template(
        price_type="spot",
        percent_on_demand=20,
        vm_types={"m5.large": 1, "m5.xlarge": 2},
        vm_types_priority={"m5.large": 0, "m5.xlarge": 1},
        subnet_id=("subnet-a",),
        allocation_strategy="capacityOptimizedPrioritized",
        allocation_strategy_on_demand="prioritized",
        max_spot_price=0.05,
    )
    assert built(its) == {
        "Type": "instant",
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": NAMED,
                "Overrides": [
                    {
                        "InstanceType": "m5.large",
                        "SubnetId": "subnet-a",
                        "WeightedCapacity": 1,
                        "Priority": 0,
                        "MaxPrice": "0.05",
                    },
                    {
                        "InstanceType": "m5.xlarge",
                        "SubnetId": "subnet-a",
                        "WeightedCapacity": 2,
                        "Priority": 1,
                        "MaxPrice": "0.05",
                    },
                ],
            }
        ],
        "TargetCapacitySpecification": {
            "TotalTargetCapacity": 10,
            "OnDemandTargetCapacity": 2,
            "SpotTargetCapacity": 8,
            "DefaultTargetCapacityType": "spot",
        },
        "SpotOptions": {
            "AllocationStrategy": "capacity-optimized-prioritized",
            "InstanceInterruptionBehavior": "terminate",
        },
        "OnDemandOptions": {"AllocationStrategy": "prioritized"},
        "TagSpecifications": FLEET_TAGS,
    }


def test_a_maintain_fleet_ends_by_itself_and_ends_no_machine() -> None:
    found = built(template(subnet_id=()), kind="maintain", until=UNTIL)
    assert found == {
        "Type": "maintain",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": NAMED, "Overrides": [{"InstanceType": "m5.large"}]}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 10, "DefaultTargetCapacityType": "on-demand"},
        "TagSpecifications": FLEET_TAGS,
        "TerminateInstancesWithExpiration": False,
        "ValidUntil": "2030-01-02T03:04:05Z",
        "ExcessCapacityTerminationPolicy": "no-termination",
        "ReplaceUnhealthyInstances": False,
    }


def test_a_request_fleet_is_sent_nothing_that_only_maintain_supports() -> None:
    found = built(template(), kind="request", until=UNTIL)
    assert found["TerminateInstancesWithExpiration"] is False
    assert not found.keys() & {"ExcessCapacityTerminationPolicy", "ReplaceUnhealthyInstances"}


@pytest.mark.parametrize(
    ("ibm", "ec2"),
    [
        ("capacityOptimized", "capacity-optimized"),
        ("priceCapacityOptimized", "price-capacity-optimized"),
        ("diversified", "diversified"),
        ("lowestPrice", "lowest-price"),
    ],
)
def test_allocation_strategies_in_ec2s_spelling(ibm: str, ec2: str) -> None:
    options = built(template(price_type="spot", allocation_strategy=ibm, pools_count=2))["SpotOptions"]
    pools = {"InstancePoolsToUseCount": 2} if ibm == "lowestPrice" else {}
    assert options == {"AllocationStrategy": ec2, "InstanceInterruptionBehavior": "terminate"} | pools


def test_what_spot_leaves_is_bought_of_the_on_demand_types() -> None:
    its = template(price_type="heterogeneous", vm_types_on_demand={"c5.large": 2}, max_spot_price=1)
    spot, rest = built(its), built(its, 4, on_demand=True)
    assert spot["TargetCapacitySpecification"]["DefaultTargetCapacityType"] == "spot"
    assert {one["MaxPrice"] for one in spot["LaunchTemplateConfigs"][0]["Overrides"]} == {"1"}
    assert rest["TargetCapacitySpecification"] == {
        "TotalTargetCapacity": 4,
        "DefaultTargetCapacityType": "on-demand",
    }
    assert rest["LaunchTemplateConfigs"][0]["Overrides"][0] == {
        "InstanceType": "c5.large",
        "SubnetId": "subnet-a",
        "WeightedCapacity": 2,
    }
    assert "SpotOptions" not in rest


def test_a_launch_template_that_says_it_all_needs_no_overrides() -> None:
    found = built(template(vm_types={}, subnet_id=(), launch_template_id="lt-1"))
    assert found["LaunchTemplateConfigs"] == [{"LaunchTemplateSpecification": NAMED}]


@pytest.mark.parametrize(("target", "percent", "units"), [(10, 20, 2), (2, 20, 0), (1, 50, 1), (7, 0, 0), (7, 100, 7)])
def test_the_share_on_demand_is_the_nearest_unit(target: int, percent: int, units: int) -> None:
    assert on_demand_units(template(price_type="spot", percent_on_demand=percent), target) == units


@pytest.mark.parametrize(("minutes", "earlier"), [(40, 5), (8, 2)])
def test_spots_time_ends_before_the_deadline_where_the_rest_is_bought_on_demand(minutes: int, earlier: int) -> None:
    deadline = UNTIL + timedelta(minutes=minutes)
    for price, expected in (("spot", 0), ("heterogeneous", earlier)):
        request = Request(
            request_id="req-1",
            status=RequestStatus.CREATING,
            template=template(price_type=price),
            created_at=UNTIL,
            deadline=deadline,
        )
        until = spot_until(request)
        assert until
        assert deadline - until == timedelta(minutes=expected)


def test_what_is_kept_of_an_answer() -> None:
    override = {"InstanceType": "m5.large", "SubnetId": "subnet-a", "AvailabilityZone": "us-east-1a"}
    place = {"LaunchTemplateAndOverrides": {"Overrides": override}}
    error = {"ErrorCode": "UnfulfillableCapacity", "ErrorMessage": "none left", "Lifecycle": "spot", **place}
    answer = {
        "FleetId": "fleet-1",
        "Instances": [{"InstanceIds": ["i-1", "i-2"], "InstanceType": "m5.large", "Lifecycle": "spot", **place}],
        "Errors": [error, error],
    }
    kept = keep(answer)
    assert kept["instances"] == [
        {"id": "i-1", "type": "m5.large", "zone": "us-east-1a", "spot": True},
        {"id": "i-2", "type": "m5.large", "zone": "us-east-1a", "spot": True},
    ]
    (fault,) = faults(kept)
    assert fault.kind is FaultKind.CAPACITY
    assert str(fault).startswith("UnfulfillableCapacity (m5.large us-east-1a spot): none left (")
    assert keep({"FleetId": "fleet-1"}) == {"fleet": "fleet-1", "instances": [], "errors": []}


def entry(description: str, subtype: str = "launchSpecTemporarilyBlacklisted") -> dict[str, Any]:
    return {"EventInformation": {"EventSubType": subtype, "EventDescription": description}}


def test_a_reason_is_the_same_whenever_it_is_told() -> None:
    text = (
        "Repeated errors have occurred processing the launch specification m5.large, us-east-1a. It will not be "
        "retried for at least {} minutes. Error message: There is no Spot capacity for {}. (Service: AmazonEC2; "
        "Status Code: 500; Error Code: InsufficientInstanceCapacity; Request ID: {})"
    )
    first = reason(entry(text.format(13, "sir-0a1b2c3d4", "0c8b1f0e-0000-4000-8000-000000000001")))
    second = reason(entry(text.format(7, "sir-99999999", "0c8b1f0e-0000-4000-8000-000000000002")))
    assert first == second
    assert first.kind is FaultKind.CAPACITY
    assert first.code == "InsufficientInstanceCapacity"
    assert first.message == "There is no Spot capacity for …."


def test_a_price_of_the_moment_is_no_part_of_a_reason() -> None:
    text = "m5.large, ami-12c6146b, Linux/UNIX, us-east-1a, Spot price is less than Spot market price ${}"
    assert reason(entry(text.format("0.0287"))) == reason(entry(text.format("0.03")))


def test_a_reason_without_description_is_its_kind_of_event() -> None:
    record = {"EventInformation": {"EventSubType": "spotInstanceCountLimitExceeded"}}
    assert reason(record).kind is FaultKind.QUOTA


def test_a_template_that_is_right_has_no_problems() -> None:
    assert (
        validate_template(
            template(price_type="spot", allocation_strategy="capacityOptimized", percent_on_demand=20), CONTEXT
        )
        == ()
    )


@pytest.mark.parametrize(
    ("field", "severity", "changed"),
    [
        ("fleetRole", Severity.WARNING, {"fleet_role": "arn:aws:iam::123456789012:role/x"}),
        ("percentOnDemand", Severity.WARNING, {"percent_on_demand": 20}),
        ("allocationStrategy", Severity.WARNING, {"allocation_strategy": "diversified"}),
        (
            "poolsCount",
            Severity.WARNING,
            {"price_type": "spot", "allocation_strategy": "diversified", "pools_count": 2},
        ),
        (
            "allocationStrategyOnDemand",
            Severity.WARNING,
            {"price_type": "spot", "allocation_strategy_on_demand": "prioritized"},
        ),
        ("vmTypesPriority", Severity.WARNING, {"price_type": "spot", "vm_types_priority": {"m5.large": 1}}),
        (
            "percentOnDemand",
            Severity.ERROR,
            {"price_type": "heterogeneous", "percent_on_demand": 20, "vm_types_on_demand": {"c5.large": 1}},
        ),
        ("vmTypesOnDemand", Severity.ERROR, {"price_type": "heterogeneous", "vm_types_on_demand": {"m5.large": 2}}),
        ("imageId", Severity.ERROR, {"image_id": None}),
    ],
)
def test_what_is_wrong_is_said(field: str, severity: Severity, changed: dict[str, Any]) -> None:
    found = validate_template(template(**changed), CONTEXT)
    assert [(problem.field, problem.severity) for problem in found] == [(field, severity)]


def test_every_operation_needs_its_permission() -> None:
    needed = {one for one in INFO.operations if one not in {"ssm:GetParameter", "sqs:DeleteMessageBatch"}}
    assert needed <= set(INFO.iam_actions)
    assert {"iam:PassRole", "iam:CreateServiceLinkedRole", "ec2:RunInstances"} <= set(INFO.iam_actions)


def by_file(folder: Path, content: str, **changed: object) -> tuple[Template, Any]:
    (folder / "fleet.json").write_text(content)
    return template(ec2_fleet_config="fleet.json", **changed), SimpleNamespace(conf_dir=folder)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"Type": "maintain"}', "ec2FleetConfig.Type: can't be set: fleetType says it"),
        (
            '{"TargetCapacitySpecification": {"TotalTargetCapacity": 5}}',
            "ec2FleetConfig.TargetCapacitySpecification: can't be set: machineCount says how many",
        ),
        (
            '{"TargetCapacitySpecification": {"DefaultTargetCapacityType": "spot"}}',
            "ec2FleetConfig.TargetCapacitySpecification: can't be set",
        ),
        (
            '{"LaunchTemplateConfigs": [{"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-2"}}]}',
            "ec2FleetConfig.LaunchTemplateConfigs.LaunchTemplateSpecification: can't be set: hfcore launches from",
        ),
        (
            '{"LaunchTemplateConfigs": [{"Overrides": [{"InstanceType": "m5.large", "WeightedCapacity": 2}]}]}',
            "ec2FleetConfig.Overrides: m5.large of weight 2: hfcore counts it as 1",
        ),
        ('{"SpotOptons": {}}', "ec2FleetConfig.SpotOptons: is no member of CreateFleetRequest (did you mean"),
    ],
)
def test_what_a_file_must_not_say_is_an_error_and_nothing_is_sent(tmp_path: Path, content: str, why: str) -> None:
    its, context = by_file(tmp_path, content)

    (found,) = config_file.problems(context, its)

    assert (found.passing, found.severity) == (True, Severity.ERROR)
    assert why in str(found)
    with pytest.raises(ConfigError) as error:
        config_file.read(context, its)
    assert why in str(error.value)


@pytest.mark.parametrize(("content", "why"), [("[]", "must hold an object of CreateFleet's"), ("{", "is not JSON")])
def test_a_half_written_file_takes_no_template_from_the_list_and_nothing_is_sent(
    tmp_path: Path, content: str, why: str
) -> None:
    its, context = by_file(tmp_path, content)
    (found,) = config_file.problems(context, its)
    assert (found.passing, found.severity) == (True, Severity.WARNING)
    with pytest.raises(ConfigError, match=why):
        config_file.read(context, its)


def test_what_a_file_only_repeats_is_left_out(tmp_path: Path) -> None:
    content = """{"Type": "instant", "TargetCapacitySpecification": {"TotalTargetCapacity": $LSF_TOTAL_TARGET_CAPACITY,
        "DefaultTargetCapacityType": "on-demand"}, "Context": "c",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-1"}}]}"""
    its, context = by_file(tmp_path, content, launch_template_id="lt-1")

    assert config_file.read(context, its) == {"Context": "c", "LaunchTemplateConfigs": [{}]}
    assert list(config_file.problems(context, its)) == []


def test_a_file_that_can_not_be_read_now_takes_no_template_from_the_list(tmp_path: Path) -> None:
    its = template(ec2_fleet_config="nowhere.json")
    context: Any = SimpleNamespace(conf_dir=tmp_path)

    (found,) = config_file.problems(context, its)

    assert (found.passing, found.severity) == (True, Severity.WARNING)
    with pytest.raises(ConfigError, match="can't be read"):
        config_file.read(context, its)
