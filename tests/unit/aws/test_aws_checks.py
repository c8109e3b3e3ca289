"""What AWS can confirm of a template: each row once right and once wrong, on the strict AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hfcore.aws.checks import check
from hfcore.testing.site import ROLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.models import Check
    from hfcore.testing.rig import Rig

    Change = Callable[[Rig], object]

PROFILE = "arn:aws:iam::123456789012:instance-profile"
CHANGES = {"CreateLaunchTemplate", "CreateFleet", "RequestSpotFleet", "CreateAutoScalingGroup"}
EVERYTHING: dict[str, Any] = {
    "key_name": "grid",
    "instance_profile": "worker",
    "fleet_role": ROLE,
    "placement_group_name": "close",
    "max_number": 10,
}


def nothing(_: Rig) -> None:
    """Change nothing in AWS."""


def image_pending(rig: Rig) -> None:
    next(iter(rig.aws.region().images.values()))["State"] = "pending"


def image_for_arm(rig: Rig) -> None:
    next(iter(rig.aws.region().images.values()))["Architecture"] = "arm64"


def not_offered(rig: Rig) -> None:
    rig.aws.region().not_offered.add(("m5.large", "us-east-1a"))


def full(rig: Rig) -> None:
    for one in rig.aws.region().subnets.values():
        one.free.clear()


def nearly_full(rig: Rig) -> None:
    for one in rig.aws.region().subnets.values():
        while len(one.free) > 3:
            one.free.pop()


def other_network(rig: Rig) -> None:
    next(iter(rig.aws.region().subnets.values())).vpc_id = "vpc-00000001"


def without_role(rig: Rig) -> None:
    rig.aws.region().instance_profiles["worker"] = ()


def group_going(rig: Rig) -> None:
    rig.aws.region().placement_groups["close"]["State"] = "deleting"


def forbidden(operation: str) -> Change:
    return lambda rig: rig.aws.faults.add(f"error:UnauthorizedOperation:{operation}")


def away(operation: str) -> Change:
    return lambda rig: rig.aws.faults.add(f"unavailable:{operation}")


def rows(rig: Rig, **fields: Any) -> dict[str, Check]:  # noqa: ANN401 - fields of Template
    found = check(rig.new_template(**{**EVERYTHING, **fields}), rig.new_context())
    assert len({one.name for one in found}) == len(found)
    assert not {call.operation for call in rig.aws.calls} & CHANGES
    return {one.name: one for one in found}


def test_a_right_template_has_a_row_for_all_that_it_names_and_each_is_right(rig: Rig) -> None:
    found = rows(rig)
    assert {one.status for one in found.values()} == {"ok"}
    assert list(found) == [
        "image",
        "instance types",
        "architecture",
        "types in zones",
        "subnets",
        "free addresses",
        "security groups",
        "network",
        "key pair",
        "instance profile",
        "fleet role",
        "placement group",
        "launch",
    ]
    assert not any(one.hint for one in found.values())
    assert not rig.aws.live_instances()


def test_what_a_template_does_not_name_has_no_row(rig: Rig) -> None:
    less = dict.fromkeys(("key_name", "instance_profile", "fleet_role", "placement_group_name"))
    assert not {"key pair", "instance profile", "fleet role", "placement group"} & rows(rig, **less).keys()


@pytest.mark.parametrize(
    ("row", "status", "change", "fields", "said"),
    [
        ("image", "error", nothing, {"image_id": "ami-00000000"}, "InvalidAMIID.NotFound"),
        ("image", "error", nothing, {"image_id": "/no/parameter"}, "ParameterNotFound"),
        ("image", "error", image_pending, {}, "is pending"),
        ("image", "error", forbidden("DescribeImages"), {}, "UnauthorizedOperation"),
        ("image", "error", forbidden("GetParameter"), {"image_id": "/some/path"}, "UnauthorizedOperation (/some/path)"),
        (
            "launch",
            "error",
            forbidden("GetParameter"),
            {"image_id": "/some/path"},
            "UnauthorizedOperation (/some/path)",
        ),
        ("image", "not checked", away("DescribeImages"), {}, "Unavailable"),
        ("instance types", "error", nothing, {"vm_types": {"m5.huge": 1}}, "m5.huge"),
        ("instance types", "not checked", forbidden("DescribeInstanceTypes"), {}, "may not ask"),
        ("architecture", "error", image_for_arm, {}, "m5.large (x86_64)"),
        ("types in zones", "error", not_offered, {}, "m5.large not in us-east-1a"),
        ("types in zones", "warning", not_offered, {"vm_types": {"m5.large": 1, "c5.large": 1}}, "m5.large not in"),
        ("subnets", "error", nothing, {"subnet_id": ("subnet-00000000",)}, "InvalidSubnetID.NotFound"),
        ("free addresses", "error", full, {}, "the subnets have 0"),
        ("free addresses", "error", full, {"max_number": -1}, "the subnets have 0"),
        ("free addresses", "warning", nearly_full, {}, "have 3, maxNumber wants 10"),
        ("security groups", "error", nothing, {"security_group_ids": ("sg-00000000",)}, "InvalidGroup.NotFound"),
        ("network", "error", other_network, {}, "all is in vpc-"),
        ("key pair", "error", nothing, {"key_name": "none"}, "InvalidKeyPair.NotFound"),
        ("instance profile", "error", nothing, {"instance_profile": "none"}, "NoSuchEntity"),
        ("instance profile", "error", nothing, {"instance_profile": f"{PROFILE}/a/worker"}, "is not there, but"),
        ("instance profile", "error", without_role, {}, "no role"),
        ("instance profile", "not checked", forbidden("GetInstanceProfile"), {}, "may not ask"),
        ("fleet role", "error", nothing, {"fleet_role": "arn:aws:iam::123456789012:role/none"}, "NoSuchEntity"),
        ("fleet role", "not checked", forbidden("GetRole"), {}, "may not ask"),
        ("placement group", "error", nothing, {"placement_group_name": "none"}, "InvalidPlacementGroup.Unknown"),
        ("placement group", "error", group_going, {}, "is deleting"),
        ("launch template", "error", nothing, {"launch_template_id": "lt-00000000"}, "InvalidLaunchTemplateId"),
        ("launch", "error", forbidden("RunInstances"), {}, "UnauthorizedOperation"),
        ("launch", "error", nothing, {"security_group_ids": ("sg-00000000",)}, "InvalidGroup.NotFound"),
        ("launch", "error", nothing, {"user_data_script": "none.sh"}, "none.sh can't be read"),
        ("launch", "not checked", nothing, {"vm_types": {}}, "names no type"),
    ],
)
def test_what_is_wrong_has_a_row_that_says_so(
    rig: Rig, row: str, status: str, change: Change, fields: dict[str, Any], said: str
) -> None:
    change(rig)
    found = rows(rig, **fields)[row]
    assert (found.status, said in found.message) == (status, True), found
    assert found.hint or status == "not checked"


def test_a_launch_template_that_is_there_is_right(rig: Rig) -> None:
    made = rig.clients("ec2", "quick").create_launch_template(
        LaunchTemplateName="theirs", LaunchTemplateData={"KeyName": "grid"}, ClientToken="once"
    )
    template_id = made["LaunchTemplate"]["LaunchTemplateId"]
    rig.aws.world.calls.clear()
    found = rows(rig, launch_template_id=template_id, launch_template_version="1")
    assert (found["launch template"].status, found["launch"].status) == ("ok", "ok")
    assert rows(rig, launch_template_id=template_id, launch_template_version="7")["launch template"].status == "error"


def test_templates_of_one_doctor_share_their_answers(rig: Rig) -> None:
    context = rig.new_context()
    for name in ("one", "two"):
        check(rig.new_template(template_id=name, **EVERYTHING), context)
    counted = rig.calls()
    assert counted.pop("RunInstances") == 2  # a dry run for each
    assert set(counted.values()) == {1}, counted


def test_no_user_data_is_sent_to_be_checked(rig: Rig) -> None:
    (rig.folder / "boot.sh").write_text("export SECRET=1")
    rows(rig, user_data_script="boot.sh")
    launch = next(call for call in rig.aws.calls if call.operation == "RunInstances")
    assert "UserData" not in launch.parameters
