"""Launch templates: rules of aws.md sections 3 and 6."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.strict_aws.conftest import Cloud, Refused

DATA = {"ImageId": "ami-12c6146b", "InstanceType": "m5.large"}


def test_a_template_is_found_by_name_and_by_tag(cloud: Cloud) -> None:
    tags = [{"ResourceType": "launch-template", "Tags": [{"Key": "owner", "Value": "me"}]}]
    made = cloud.ec2.create_launch_template(LaunchTemplateName="one", LaunchTemplateData=DATA, TagSpecifications=tags)
    template = made["LaunchTemplate"]
    assert template["LatestVersionNumber"] == 1
    for asked in (
        {"LaunchTemplateNames": ["one"]},
        {"Filters": [{"Name": "tag:owner", "Values": ["me"]}]},
    ):
        found = cloud.ec2.describe_launch_templates(**asked)["LaunchTemplates"]
        assert found == [template]


def test_an_unknown_template_is_an_error_by_id_and_by_name(cloud: Cloud, refused: Refused) -> None:
    describe = cloud.ec2.describe_launch_templates
    assert refused(describe, LaunchTemplateNames=["x.y"]) == "InvalidLaunchTemplateName.NotFoundException"
    versions = cloud.ec2.describe_launch_template_versions
    assert refused(versions, LaunchTemplateId="lt-00000000") == "InvalidLaunchTemplateId.NotFound"
    assert refused(versions, LaunchTemplateId="mine") == "InvalidLaunchTemplateId.Malformed"


def test_a_name_is_taken_once(cloud: Cloud, refused: Refused) -> None:
    create = cloud.ec2.create_launch_template
    create(LaunchTemplateName="one", LaunchTemplateData=DATA)
    code = refused(create, LaunchTemplateName="one", LaunchTemplateData=DATA)
    assert code == "InvalidLaunchTemplateName.AlreadyExistsException"


def test_a_token_used_again_answers_the_same_template(cloud: Cloud, refused: Refused) -> None:
    create = cloud.ec2.create_launch_template
    asked = {"LaunchTemplateName": "one", "ClientToken": "token"}
    first = create(**asked, LaunchTemplateData=DATA)["LaunchTemplate"]
    assert create(**asked, LaunchTemplateData=DATA)["LaunchTemplate"] == first
    other = {**DATA, "KeyName": "key"}
    assert refused(create, **asked, LaunchTemplateData=other) == "IdempotentParameterMismatch"


@pytest.mark.parametrize("name", ["has space", "colon:", "x" * 129])
def test_a_name_with_other_signs_is_refused(cloud: Cloud, refused: Refused, name: str) -> None:
    code = refused(cloud.ec2.create_launch_template, LaunchTemplateName=name, LaunchTemplateData=DATA)
    assert code.startswith("Invalid")


def test_user_data_must_be_base64(cloud: Cloud, refused: Refused) -> None:
    create = cloud.ec2.create_launch_template
    wrong = {**DATA, "UserData": "#!/bin/sh"}
    assert refused(create, LaunchTemplateName="one", LaunchTemplateData=wrong) == "InvalidUserData.Malformed"
    right = {**DATA, "UserData": base64.b64encode(b"#!/bin/sh").decode()}
    create(LaunchTemplateName="one", LaunchTemplateData=right)
    versions = cloud.ec2.describe_launch_template_versions(LaunchTemplateName="one", Versions=["$Latest"])
    assert versions["LaunchTemplateVersions"][0]["LaunchTemplateData"] == right


def test_a_version_that_is_not_there_cannot_be_launched(cloud: Cloud, refused: Refused) -> None:
    asked = {"MinCount": 1, "MaxCount": 1}
    template = cloud.template()
    for version in ("1", "$Latest", "$Default"):
        named = {"LaunchTemplateId": template, "Version": version}
        assert cloud.ec2.run_instances(**asked, LaunchTemplate=named)["Instances"]
    named = {"LaunchTemplateId": template, "Version": "2"}
    code = refused(cloud.ec2.run_instances, **asked, LaunchTemplate=named)
    assert code == "InvalidLaunchTemplateId.VersionNotFound"


def test_a_deleted_template_is_gone_and_its_name_free(cloud: Cloud, refused: Refused) -> None:
    create = cloud.ec2.create_launch_template
    create(LaunchTemplateName="one", LaunchTemplateData=DATA)
    cloud.ec2.delete_launch_template(LaunchTemplateName="one")
    code = refused(cloud.ec2.delete_launch_template, LaunchTemplateName="one")
    assert code == "InvalidLaunchTemplateName.NotFoundException"
    create(LaunchTemplateName="one", LaunchTemplateData=DATA)


def test_templates_come_in_pages(cloud: Cloud) -> None:
    for _ in range(5):
        cloud.template()
    pages = list(cloud.ec2.get_paginator("describe_launch_templates").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(p["LaunchTemplates"]) for p in pages] == [2, 2, 1]


def test_tags_of_a_template_are_for_the_template_alone(cloud: Cloud, refused: Refused) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
    create = cloud.ec2.create_launch_template
    code = refused(create, LaunchTemplateName="one", LaunchTemplateData=DATA, TagSpecifications=tags)
    assert code == "InvalidParameterValue"
