from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.aws.validation import common, exports, is_set, slow_to_start
from hfcore.config import Settings
from hfcore.models import Problem, Severity, Template

if TYPE_CHECKING:
    from pathlib import Path

    from hfcore.context import Context

GOOD = Template(
    template_id="basic",
    image_id="ami-12c6146b",
    vm_types={"m5.large": 1},
    subnet_id=("subnet-1",),
    security_group_ids=("sg-1",),
)


def problems(severity: Severity, **changed: object) -> list[str]:
    return [str(one) for one in common(replace(GOOD, **changed)) if one.severity is severity]


@pytest.mark.parametrize(("seconds", "expected"), [(180, True), (1199, True), (1200, False)])
def test_bare_metal_needs_more_time_to_start_than_is_usual(tmp_path: Path, seconds: int, *, expected: bool) -> None:
    folders = {"conf_dir": tmp_path, "work_dir": tmp_path, "log_dir": tmp_path}
    settings = Settings(**folders, provider="grid", instance_pending_timeout_sec=seconds)
    types = {"vm_types": {"c5.metal": 1, "m5.large": 1}, "vm_types_on_demand": {"m5.metal-24xl": 1}}
    found = list(slow_to_start(replace(GOOD, **types), settings))
    assert [one.severity for one in found] == ([Severity.WARNING] if expected else [])
    if found:
        assert found[0].message == (
            f"c5.metal, m5.metal-24xl: bare metal may take 1200 s to start, and is ended after {seconds} s"
        )
    assert list(slow_to_start(GOOD, settings)) == []


def test_a_template_with_all_that_aws_needs_has_no_problem() -> None:
    assert common(GOOD) == ()


@pytest.mark.parametrize(
    "image",
    ["ami-0123456789abcdef0", "/aws/service/ami-x/latest", "resolve:ssm:/grid/ami", "resolve:ssm:/grid/ami:3"],
)
def test_an_image_may_be_an_id_or_a_parameter(image: str) -> None:
    assert common(replace(GOOD, image_id=image)) == ()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"image_id": "ami-REPLACE"}, "imageId: 'ami-REPLACE' is no image id"),
        ({"image_id": None}, "imageId: is missing"),
        ({"subnet_id": ()}, "subnetId: is missing"),
        ({"security_group_ids": ()}, "securityGroupIds: is missing"),
        ({"vm_types": {}}, "vmTypes: is missing"),
        ({"security_group_ids": (), "launch_template_data": {"KeyName": "k"}}, "securityGroupIds: is missing"),
        ({"iops": 3000}, "iops: needs volumeType io1, io2, gp3, which is not given"),
        ({"iops": 3000, "volume_type": "gp2"}, "iops: needs volumeType io1, io2, gp3, which is gp2"),
        ({"volume_type": "io2"}, "volumeType: io2 needs iops"),
        ({"instance_tags": {"aws:mine": "1"}}, "instanceTags: 'aws:mine': keys that begin with aws: are AWS's own"),
        ({"instance_tags": {"": "1"}}, "instanceTags: '': a key has 1 to 128 characters, a value at most 256"),
        ({"instance_tags": {str(n): "" for n in range(47)}}, "instanceTags: are 47; AWS allows 46 beside hfcore's own"),
        ({"launch_template_version": "1"}, "launchTemplateVersion: needs launchTemplateId"),
        ({"vm_types_priority": {"c5.large": 1}}, "vmTypesPriority: c5.large is not among vmTypes"),
    ],
)
def test_each_problem_names_its_field(changed: dict[str, Any], error: str) -> None:
    [found] = problems(Severity.ERROR, **changed)

    assert found.startswith(error)


def test_every_problem_is_found_not_the_first_one() -> None:
    assert len(common(Template(template_id="empty"))) == 4


def test_a_launch_template_of_the_user_s_may_say_it_all() -> None:
    assert common(Template(template_id="t", launch_template_id="lt-1", launch_template_version="3")) == ()


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"max_spot_price": 0.1}, "maxSpotPrice: has no effect: priceType is ondemand"),
        ({"vm_types_on_demand": {"m5.large": 1}}, "vmTypesOnDemand: has no effect: priceType is not heterogeneous"),
        (
            {"instance_tags": {"hfcore:owner": "me"}},
            "instanceTags: 'hfcore:owner' has no effect: hfcore sets it itself",
        ),
    ],
)
def test_a_field_without_effect_is_a_warning(changed: dict[str, Any], warning: str) -> None:
    assert problems(Severity.WARNING, **changed) == [warning]
    assert problems(Severity.ERROR, **changed) == []


def test_what_an_api_ignores_or_refuses_is_told_only_where_the_template_says_it() -> None:
    ignored, refused = {"fleetRole": "there is no fleet", "poolsCount": "no pools"}, {"percentOnDemand": "can't"}
    said = replace(GOOD, fleet_role="arn:aws:iam::1:role/x", percent_on_demand=0)

    assert common(GOOD, ignored=ignored, refused=refused) == ()
    assert common(said, ignored=ignored, refused=refused) == (
        Problem(field="percentOnDemand", message="can't"),
        Problem(field="fleetRole", message="has no effect: there is no fleet", severity=Severity.WARNING),
    )


def test_fields_are_known_as_files_spell_them() -> None:
    said = replace(GOOD, allocation_strategy_on_demand="prioritized", vm_types_on_demand={"m5.large": 1}, iops=1)

    assert all(is_set(said, field) for field in ("allocationStrategyOnDemand", "vmTypesOnDemand", "iops", "subnetId"))
    assert not any(
        is_set(GOOD, field) for field in ("allocationStrategyOnDemand", "vmTypesOnDemand", "iops", "keyName")
    )


HOSTS = "arn:aws:resource-groups:us-east-1:123456789012:group/hosts"
EFA = {"launch_template_data": {"NetworkInterfaces": [{"DeviceIndex": 0}]}}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"placement_partition": 2}, "placementPartition: needs placementGroupName"),
        ({"host_id": "h-1", "tenancy": "dedicated"}, "hostId: needs tenancy host, which is dedicated"),
        ({"host_id": "h-1", "host_resource_group_arn": HOSTS}, "hostId: is given beside hostResourceGroupArn"),
        ({"tenancy": "host", "price_type": "spot"}, "tenancy: can't be honoured with priceType spot"),
        ({"host_resource_group_arn": HOSTS, "price_type": "spot"}, "hostResourceGroupArn: can't be honoured with"),
        ({"efa_count": 2, "interface_type": "interface"}, "efaCount: needs interfaceType efa, which is interface"),
        ({"efa_count": 2, **EFA}, "efaCount: is given beside launchTemplateData.NetworkInterfaces"),
        (
            {"interface_type": "efa", "launch_template_id": "lt-1", "security_group_ids": ()},
            "securityGroupIds: is missing: Elastic Fabric Adapters stand in place",
        ),
        ({"capacity_reservation": "mine"}, "capacityReservation: 'mine' names no capacity reservation"),
        (
            {"capacity_reservation": "cr-0123456789abcdef0", "price_type": "spot"},
            "capacityReservation: can't be honoured with priceType spot",
        ),
        (
            {"instance_requirements": {"VCpuCount": {"Min": 2}, "MemoryMiB": {"Min": 8}}},
            "instanceRequirements: is given beside vmTypes",
        ),
        (
            {"vm_types": {}, "instance_requirements": {"VCpuCount": {"Min": 2}}},
            'instanceRequirements: Missing required parameter in input: "MemoryMiB"',
        ),
    ],
)
def test_what_contradicts_itself_or_can_not_be_is_an_error(changed: dict[str, Any], error: str) -> None:
    [found] = problems(Severity.ERROR, **changed)

    assert found.startswith(error)


@pytest.mark.parametrize("word", ["open", "none"])
def test_a_preference_for_reservations_means_nothing_to_spot_machines(word: str) -> None:
    [found] = problems(Severity.WARNING, capacity_reservation=word, price_type="spot")

    assert found.startswith("capacityReservation: has no effect")
    assert problems(Severity.WARNING, capacity_reservation=word) == []


def test_a_script_that_can_not_export_is_found_and_may_be_another_one_at_the_next_call(
    context: Context, tmp_path: Path
) -> None:
    said = replace(GOOD, user_data="PASSWORD=s3cret", user_data_script="start.py")
    assert list(exports(context, said)) == []  # it can't be read now: that is told at the launch
    (tmp_path / "start.py").write_text("#!/usr/bin/python3\n")

    [found] = exports(context, said)

    assert (found.field, found.passing, found.severity) == ("userData", True, Severity.ERROR)
    assert "another interpreter" in found.message
    assert "s3cret" not in str(found)
