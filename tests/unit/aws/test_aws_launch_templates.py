from __future__ import annotations

import base64
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.aws import launch_templates, tags
from hfcore.errors import CloudError, ConfigError
from hfcore.models import Fault, FaultKind
from hfcore.testing.aws import AL2023, AwsError, StrictAws
from hfcore.withheld import without_user_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfcore.context import Context
    from hfcore.models import Request, Template


def data_of(strict_aws: StrictAws, name: str) -> dict[str, Any]:
    return next(one.data for one in strict_aws.region().templates.values() if one.name == name)


def test_requests_of_the_same_content_share_one_launch_template_made_in_one_call(
    new_context: Callable[..., Context],
    new_request: Callable[..., Request],
    template: Template,
    operations: Callable[[], list[str]],
) -> None:
    names = {launch_templates.shared(new_context(), new_request(number), template) for number in (1, 2, 3)}

    assert len(names) == 1
    assert operations() == ["CreateLaunchTemplate"]


def test_another_content_has_another_launch_template(
    context: Context, new_request: Callable[..., Request], template: Template, tmp_path: Path
) -> None:
    (tmp_path / "start.sh").write_text("echo one")
    scripted = replace(template, user_data_script="start.sh")
    names = [launch_templates.shared(context, new_request(), one) for one in (template, scripted)]
    (tmp_path / "start.sh").write_text("echo two")
    names.append(launch_templates.shared(context, new_request(), scripted))

    assert len(set(names)) == 3


def test_a_launch_template_that_is_there_but_not_remembered_is_used(
    context: Context, new_request: Callable[..., Request], template: Template, operations: Callable[[], list[str]]
) -> None:
    name = launch_templates.shared(context, new_request(1), template)
    context.memory.remember(launch_templates._known(context, template)[0], None)

    assert launch_templates.shared(context, new_request(2), template) == name
    assert operations() == ["CreateLaunchTemplate"] * 2


def test_a_shared_one_carries_no_request_id_and_our_tags(
    context: Context, new_request: Callable[..., Request], template: Template, strict_aws: StrictAws
) -> None:
    name = launch_templates.shared(context, new_request(), template)

    [made] = strict_aws.region().templates.values()
    ours = {"hfcore:owner": "owner-1", "hfcore:provider": "grid", "hfcore:template-id": "basic"}
    assert made.tags == ours
    for part in data_of(strict_aws, name)["TagSpecifications"]:
        assert tags.read(part["Tags"]) == ours | {"team": "risk"}


def test_user_data_reaches_aws_and_no_file_of_ours(
    context: Context, new_request: Callable[..., Request], template: Template, strict_aws: StrictAws, tmp_path: Path
) -> None:
    (tmp_path / "start.sh").write_bytes(b"export PASSWORD=s3cret")
    scripted = replace(template, user_data_script="start.sh")
    shared = launch_templates.shared(context, new_request(1), scripted)
    own = launch_templates.own(context, new_request(2), scripted)

    encoded = base64.b64encode(b"export PASSWORD=s3cret").decode()
    assert data_of(strict_aws, shared)["UserData"] == data_of(strict_aws, own)["UserData"] == encoded
    for path in (*tmp_path.rglob("*.json"), *(tmp_path / "cache").iterdir()):
        assert "s3cret" not in path.read_text()
        assert encoded not in path.read_text()


def test_a_script_that_can_not_be_read_is_named_before_aws_is_asked(
    context: Context, new_request: Callable[..., Request], template: Template, operations: Callable[[], list[str]]
) -> None:
    with pytest.raises(ConfigError, match=r"basic: userDataScript .*/missing\.sh can't be read: No such file"):
        launch_templates.shared(context, new_request(), replace(template, user_data_script="missing.sh"))

    assert operations() == []


def test_an_ssm_path_and_a_root_device_are_asked_for_once(
    new_context: Callable[..., Context],
    new_request: Callable[..., Request],
    template: Template,
    operations: Callable[[], list[str]],
    strict_aws: StrictAws,
    pass_time: Callable[[float], None],
) -> None:
    changed = replace(template, image_id=f"resolve:ssm:{AL2023}", root_device_volume_size=100)
    name = launch_templates.shared(new_context(), new_request(1), changed)
    launch_templates.shared(new_context(), new_request(2), changed)
    assert operations() == ["GetParameter", "DescribeImages", "CreateLaunchTemplate"]

    pass_time(3601.0)
    launch_templates.shared(new_context(), new_request(3), replace(changed, image_id=AL2023))
    assert operations()[3:] == ["GetParameter"]
    data = data_of(strict_aws, name)
    assert data["ImageId"].startswith("ami-")
    assert data["BlockDeviceMappings"][0]["Ebs"] == {"VolumeSize": 100, "DeleteOnTermination": True}


def test_an_image_that_ssm_does_not_know_is_a_fault_that_names_it(
    context: Context, new_request: Callable[..., Request], template: Template
) -> None:
    with pytest.raises(CloudError, match=r"ParameterNotFound .*/aws/service/nothing"):
        launch_templates.shared(context, new_request(), replace(template, image_id="/aws/service/nothing"))


def test_one_that_aws_has_lost_is_made_again_once(
    context: Context,
    new_request: Callable[..., Request],
    template: Template,
    strict_aws: StrictAws,
    operations: Callable[[], list[str]],
) -> None:
    launch_templates.shared(context, new_request(), template)
    strict_aws.region().templates.clear()
    tried: list[str] = []

    def launch(name: str) -> str:
        tried.append(name)
        if not strict_aws.region().templates:
            code = "InvalidLaunchTemplateName.NotFoundException"
            raise CloudError(Fault(code=code, message="", kind=FaultKind.GONE))
        return "launched"

    assert launch_templates.using(context, new_request(), template, launch) == "launched"
    assert len(set(tried)) == 1
    assert operations() == ["CreateLaunchTemplate"] * 2


def test_an_error_that_is_none_of_the_launch_template_is_not_tried_again(
    context: Context, new_request: Callable[..., Request], template: Template
) -> None:
    tried: list[str] = []

    def launch(name: str) -> None:
        tried.append(name)
        raise CloudError(Fault(code="InvalidSubnetID.NotFound", message="", kind=FaultKind.GONE))

    with pytest.raises(CloudError):
        launch_templates.using(context, new_request(), template, launch)
    assert len(tried) == 1


def test_a_request_s_own_carries_its_id_and_is_made_once(
    new_context: Callable[..., Context],
    new_request: Callable[..., Request],
    template: Template,
    strict_aws: StrictAws,
    operations: Callable[[], list[str]],
) -> None:
    request = new_request()
    name = launch_templates.own(new_context(), request, template)

    assert launch_templates.own(new_context(), request, template) == name == f"hfcore-{request.request_id}"
    assert operations() == ["CreateLaunchTemplate"]
    [made] = strict_aws.region().templates.values()
    assert made.tags["hfcore:request-id"] == request.request_id
    for part in made.data["TagSpecifications"]:
        assert tags.read(part["Tags"])["hfcore:request-id"] == request.request_id


def test_a_request_s_own_that_a_dead_process_made_is_adopted(
    new_context: Callable[..., Context],
    new_request: Callable[..., Request],
    template: Template,
    faults: Callable[..., None],
    strict_aws: StrictAws,
) -> None:
    faults("CreateLaunchTemplate", "reset after", AwsError("InternalError", "", 500))
    with pytest.raises(CloudError):
        launch_templates.own(new_context(), new_request(), template)

    assert launch_templates.own(new_context(), new_request(), template) == launch_templates.own_name(new_request())
    assert len(strict_aws.region().templates) == 1


def test_one_of_that_name_that_is_not_ours_is_refused(
    context: Context, new_request: Callable[..., Request], template: Template
) -> None:
    name = launch_templates.own_name(new_request())
    context.clients("ec2", "quick").create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData={"InstanceType": "m5.large"}
    )

    with pytest.raises(CloudError, match="AlreadyExists"):
        launch_templates.own(context, new_request(), template)
    assert context.journal.steps(new_request().request_id) == ()


def test_deleting_a_request_s_own_is_done_when_it_is_gone(
    context: Context,
    new_request: Callable[..., Request],
    template: Template,
    strict_aws: StrictAws,
    faults: Callable[..., None],
) -> None:
    launch_templates.own(context, new_request(), template)

    assert launch_templates.delete_own(context, new_request()) is None
    assert strict_aws.region().templates == {}
    assert launch_templates.delete_own(context, new_request()) is None
    faults("DeleteLaunchTemplate", AwsError("UnauthorizedOperation", "No.", 403))
    fault = launch_templates.delete_own(context, new_request())
    assert fault is not None
    assert fault.kind is FaultKind.PERMISSION


@pytest.mark.parametrize(("version", "asked"), [("1", 1), (None, 2), ("$Latest", 2)])
def test_a_numbered_version_of_the_user_s_launch_template_is_asked_for_once(
    new_context: Callable[..., Context],
    new_request: Callable[..., Request],
    template: Template,
    operations: Callable[[], list[str]],
    strict_aws: StrictAws,
    version: str | None,
    asked: int,
) -> None:
    base = {
        "KeyName": "base-key",
        "InstanceType": "t3.micro",
        "EbsOptimized": True,
        "MetadataOptions": {"HttpTokens": "optional"},
    }
    made = (
        new_context()
        .clients("ec2", "quick")
        .create_launch_template(LaunchTemplateName="users-own", LaunchTemplateData=base)
    )
    strict_aws.world.calls.clear()
    based = replace(
        template, launch_template_id=made["LaunchTemplate"]["LaunchTemplateId"], launch_template_version=version
    )
    names = {launch_templates.shared(new_context(), new_request(number), based) for number in (1, 2)}

    data = data_of(strict_aws, *names)
    assert (data["KeyName"], data["EbsOptimized"], data["MetadataOptions"]) == (
        "base-key",
        True,
        {"HttpTokens": "optional"},
    )
    assert "InstanceType" not in data
    assert operations().count("DescribeLaunchTemplateVersions") == asked
    assert operations().count("CreateLaunchTemplate") == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"DisableApiTermination": True}, "could not end the machines"),
        ({"InstanceMarketOptions": {"MarketType": "spot"}}, "the template buys on demand"),
    ],
)
def test_what_of_a_user_s_own_launch_template_would_mean_something_else_is_refused(
    new_context: Callable[..., Context],
    new_request: Callable[..., Request],
    template: Template,
    data: dict[str, Any],
    why: str,
) -> None:
    ec2 = new_context().clients("ec2", "quick")
    made = ec2.create_launch_template(LaunchTemplateName="users-own", LaunchTemplateData=data)
    based = replace(template, launch_template_id=made["LaunchTemplate"]["LaunchTemplateId"])
    with pytest.raises(ConfigError, match=why):
        launch_templates.shared(new_context(), new_request(1), based)


def test_what_an_answer_has_and_a_request_must_not_is_left_out(context: Context) -> None:
    shape = context.clients("ec2", "patient").meta.service_model.shape_for("RequestLaunchTemplateData")
    answered = {
        "KeyName": "k",
        "MetadataOptions": {"State": "applied", "HttpTokens": "required"},
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8, "Unheard": 1}}],
    }

    assert launch_templates._pruned(answered, shape) == {
        "KeyName": "k",
        "MetadataOptions": {"HttpTokens": "required"},
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}],
    }


def test_a_plan_names_the_call_without_user_data_and_makes_nothing(
    context: Context,
    new_request: Callable[..., Request],
    template: Template,
    tmp_path: Path,
    operations: Callable[[], list[str]],
) -> None:
    (tmp_path / "start.sh").write_text("s3cret")
    scripted = replace(template, user_data_script="start.sh")
    name, [call] = launch_templates.planned(context, scripted)

    assert (call.operation, call.parameters["LaunchTemplateName"]) == ("CreateLaunchTemplate", name)
    assert "UserData" not in call.parameters["LaunchTemplateData"]
    assert operations() == []
    assert launch_templates.shared(context, new_request(), scripted) == name
    assert launch_templates.planned(context, scripted) == (name, ())
    own, [_] = launch_templates.planned(context, scripted, new_request())
    assert own == launch_templates.own_name(new_request())


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "too large", "no such user"])
def test_a_start_up_script_that_is_no_small_file_is_refused_before_anything_is_made(
    context: Context, template: Template, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "script"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "too large":
        path.write_bytes(b"#" * (16 * 1024 + 1))
    given = {"device": "/dev/zero", "no such user": "~nobody-of-this-name/script"}.get(kind, str(path))
    with pytest.raises(ConfigError, match="userDataScript"):
        launch_templates.user_data(context, replace(template, user_data_script=given))


def test_user_data_that_differs_makes_another_launch_template_and_a_stored_template_finds_its_own(
    context: Context, new_request: Callable[..., Request], template: Template, operations: Callable[[], list[str]]
) -> None:
    one, other = (replace(template, user_data=f"WORD={word}") for word in ("s3cret", "another"))
    name = launch_templates.shared(context, new_request(), one)

    assert launch_templates.shared(context, new_request(), other) != name
    assert launch_templates.shared(context, new_request(), without_user_data(one)) == name
    assert operations() == ["CreateLaunchTemplate"] * 2


@pytest.mark.parametrize("make", [launch_templates.shared, launch_templates.own])
def test_without_its_user_data_a_stored_template_makes_no_launch_template(
    context: Context,
    new_request: Callable[..., Request],
    template: Template,
    operations: Callable[[], list[str]],
    make: Callable[..., str],
) -> None:
    with pytest.raises(ConfigError, match="user data is stored nowhere"):
        make(context, new_request(), without_user_data(replace(template, user_data="WORD=s3cret")))
    assert operations() == []


def test_all_fields_compose_with_the_user_s_own_launch_template(
    context: Context, new_request: Callable[..., Request], template: Template, strict_aws: StrictAws
) -> None:
    base = {
        "UserData": base64.b64encode(b"#!/bin/sh\n: theirs\n").decode(),
        "Placement": {"GroupName": "grid-cluster", "AvailabilityZone": "us-east-1a"},
        "NetworkInterfaces": [{"DeviceIndex": 0, "AssociatePublicIpAddress": True, "Groups": ["sg-theirs"]}],
        "InstanceRequirements": {"VCpuCount": {"Min": 1}, "MemoryMiB": {"Min": 1}},
        "CapacityReservationSpecification": {"CapacityReservationPreference": "none"},
        "EbsOptimized": False,
    }
    asked = {"LaunchTemplateName": "theirs", "LaunchTemplateData": base}
    made = context.clients("ec2", "quick").create_launch_template(**asked)["LaunchTemplate"]["LaunchTemplateId"]
    whole = replace(
        template,
        launch_template_id=made,
        launch_template_version="1",
        user_data="WORD=s3cret",
        placement_group_name="grid-partition",
        placement_partition=2,
        efa_count=2,
        capacity_reservation="open",
        ebs_optimized=True,
        launch_template_data={"Monitoring": {"Enabled": True}},
    )

    data = data_of(strict_aws, launch_templates.shared(context, new_request(), whole))

    assert base64.b64decode(data["UserData"]) == b"#!/bin/sh\nexport WORD='s3cret'\n: theirs\n"
    placed = {"GroupName": "grid-partition", "PartitionNumber": 2, "AvailabilityZone": "us-east-1a"}
    assert data["Placement"] == placed
    groups = list(template.security_group_ids)
    assert data["NetworkInterfaces"] == [
        {"NetworkCardIndex": 0, "DeviceIndex": 0, "InterfaceType": "efa", "Groups": groups},
        {"NetworkCardIndex": 1, "DeviceIndex": 1, "InterfaceType": "efa", "Groups": groups},
    ]
    assert not data.keys() & {"SecurityGroupIds", "InstanceRequirements"}
    assert data["CapacityReservationSpecification"] == {"CapacityReservationPreference": "open"}
    assert (data["EbsOptimized"], data["Monitoring"]) == (True, {"Enabled": True})


def test_script_and_exports_together_are_at_most_what_ec2_takes(
    context: Context, template: Template, tmp_path: Path
) -> None:
    head = b"#!/bin/sh\n"
    (tmp_path / "start.sh").write_bytes(head + b"#" * (16 * 1024 - len(head)))
    scripted = replace(template, user_data_script="start.sh")

    assert len(launch_templates.user_data(context, scripted)) == 16 * 1024
    with pytest.raises(ConfigError, match="larger than 16384 bytes with userData") as error:
        launch_templates.user_data(context, replace(scripted, user_data="WORD=s3cret"))
    assert "s3cret" not in str(error.value)
