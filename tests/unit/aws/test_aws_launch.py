from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from hfcore.aws import tags
from hfcore.aws.launch import digest, launch_data
from hfcore.models import Template

CONTEXT: Any = SimpleNamespace(owner="owner-1", provider="grid")
TEMPLATE = Template(
    template_id="basic",
    image_id="ami-12c6146b",
    vm_types={"m5.large": 1},
    key_name="grid-key",
    security_group_ids=("sg-1", "sg-2"),
    instance_profile="grid-profile",
    root_device_volume_size=100,
    volume_type="gp3",
    iops=4000,
    instance_tags={"team": "risk", "hfcore:request-id": "not this one"},
)
OURS = [
    {"Key": "hfcore:owner", "Value": "owner-1"},
    {"Key": "hfcore:provider", "Value": "grid"},
    {"Key": "hfcore:request-id", "Value": "req-1"},
    {"Key": "hfcore:template-id", "Value": "basic"},
]


def test_launch_data_says_of_a_machine_what_no_api_says_in_its_own_call() -> None:
    data = launch_data(
        TEMPLATE,
        image_id="ami-12c6146b",
        root_device="/dev/xvda",
        user_data=b"#!/bin/sh\n",
        tags=tags.of_instances(CONTEXT, TEMPLATE, "req-1"),
    )

    tag_list = [*OURS, {"Key": "team", "Value": "risk"}]
    assert data == {
        "ImageId": "ami-12c6146b",
        "KeyName": "grid-key",
        "SecurityGroupIds": ["sg-1", "sg-2"],
        "IamInstanceProfile": {"Name": "grid-profile"},
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {"VolumeSize": 100, "VolumeType": "gp3", "Iops": 4000, "DeleteOnTermination": True},
            }
        ],
        "UserData": base64.b64encode(b"#!/bin/sh\n").decode(),
        "MetadataOptions": {"HttpTokens": "required"},
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": tag_list},
            {"ResourceType": "volume", "Tags": tag_list},
        ],
    }


def test_a_profile_may_be_an_arn() -> None:
    template = Template(template_id="t", instance_profile="arn:aws:iam::123456789012:instance-profile/grid")
    data = launch_data(template, user_data=b"", tags={})

    assert data["IamInstanceProfile"] == {"Arn": "arn:aws:iam::123456789012:instance-profile/grid"}


def test_the_fields_of_the_template_go_over_the_user_s_own_launch_template() -> None:
    base = {
        "ImageId": "ami-base0000",
        "InstanceType": "t3.micro",
        "KeyName": "base-key",
        "UserData": "YmFzZQ==",
        "EbsOptimized": True,
        "InstanceMarketOptions": {"MarketType": "spot"},
        "MetadataOptions": {"HttpTokens": "optional"},
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8, "Encrypted": True}},
            {"DeviceName": "/dev/xvdb", "Ebs": {"VolumeSize": 500}},
        ],
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": "cost", "Value": "1"}, {"Key": "team", "Value": "base"}]},
            {"ResourceType": "network-interface", "Tags": [{"Key": "cost", "Value": "1"}]},
        ],
    }
    template = Template(template_id="basic", vm_types={"m5.large": 1}, key_name="grid-key", root_device_volume_size=100)
    data = launch_data(template, root_device="/dev/xvda", user_data=b"", tags={"team": "risk"}, base=base)

    risk = {"Key": "team", "Value": "risk"}
    assert data == {
        "ImageId": "ami-base0000",
        "KeyName": "grid-key",
        "UserData": "YmFzZQ==",
        "EbsOptimized": True,
        "MetadataOptions": {"HttpTokens": "optional"},
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 100, "Encrypted": True, "DeleteOnTermination": True}},
            {"DeviceName": "/dev/xvdb", "Ebs": {"VolumeSize": 500}},
        ],
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": "cost", "Value": "1"}, risk]},
            {"ResourceType": "network-interface", "Tags": [{"Key": "cost", "Value": "1"}]},
            {"ResourceType": "volume", "Tags": [risk]},
        ],
    }


@pytest.mark.parametrize(
    ("said", "is_so"),
    [
        ({}, {"HttpTokens": "required"}),
        ({"HttpPutResponseHopLimit": 2}, {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}),
        ({"HttpTokens": "optional"}, {"HttpTokens": "optional"}),
    ],
)
def test_imdsv2_is_required_unless_the_user_s_launch_template_says_otherwise_of_it(
    said: dict[str, Any], is_so: dict[str, Any]
) -> None:
    data = launch_data(Template(template_id="t"), user_data=b"", tags={}, base={"MetadataOptions": said})

    assert data["MetadataOptions"] == is_so


def test_security_groups_go_into_the_network_interfaces_of_the_user_s_launch_template() -> None:
    base = {"NetworkInterfaces": [{"DeviceIndex": 0, "SubnetId": "subnet-1", "Groups": ["sg-base"]}]}
    template = Template(template_id="t", security_group_ids=("sg-1",))
    data = launch_data(template, user_data=b"", tags={}, base=base)

    assert data["NetworkInterfaces"] == [{"DeviceIndex": 0, "SubnetId": "subnet-1", "Groups": ["sg-1"]}]
    assert "SecurityGroupIds" not in data


@pytest.mark.parametrize(
    ("fields", "base", "sent"),
    [
        ({"volume_type": "gp2"}, {"VolumeType": "io1", "Iops": 500, "Throughput": 9}, {"VolumeType": "gp2"}),
        ({"volume_type": "io1"}, {"VolumeType": "io1", "Iops": 500}, {"VolumeType": "io1", "Iops": 500}),
        ({"iops": 5000}, {"VolumeType": "gp3", "Iops": 500}, {"VolumeType": "gp3", "Iops": 5000}),
    ],
)
def test_the_speed_of_a_volume_of_another_type_does_not_stay(
    fields: dict[str, Any], base: dict[str, Any], sent: dict[str, Any]
) -> None:
    mappings = {"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": base}]}
    template = Template(template_id="t", **fields)
    data = launch_data(template, root_device="/dev/xvda", user_data=b"", tags={}, base=mappings)

    assert data["BlockDeviceMappings"][0]["Ebs"] == sent | {"DeleteOnTermination": True}


def test_what_the_user_s_launch_template_names_otherwise_gives_way_to_the_template_s_fields() -> None:
    base = {"SecurityGroups": ["wide-open"], "Placement": {"GroupId": "pg-1", "HostId": "h-1", "Affinity": "host"}}
    fields: dict[str, Any] = {"placement_group_name": "close", "host_resource_group_arn": "arn:aws:x:1"}
    template = Template(template_id="t", security_group_ids=("sg-1",), **fields)
    data = launch_data(template, user_data=b"", tags={}, base=base)

    assert "SecurityGroups" not in data
    assert data["SecurityGroupIds"] == ["sg-1"]
    assert data["Placement"] == {"GroupName": "close", "HostResourceGroupArn": "arn:aws:x:1", "Affinity": "host"}


def test_a_type_of_the_user_s_launch_template_stays_where_the_template_names_none() -> None:
    data = launch_data(Template(template_id="t"), user_data=b"", tags={}, base={"InstanceType": "t3.micro"})

    assert data["InstanceType"] == "t3.micro"


def test_the_same_content_has_the_same_digest_in_whatever_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_tags_of_the_template_never_override_ours() -> None:
    found = tags.of_instances(CONTEXT, TEMPLATE, "req-1")

    assert found["hfcore:request-id"] == "req-1"
    assert found["team"] == "risk"
    assert "hfcore:request-id" not in tags.ours(CONTEXT, "basic")


def test_tags_are_written_in_each_service_s_form_and_read_back() -> None:
    pair = {"b": "2", "a": "1"}

    assert tags.specifications(pair, "fleet") == [
        {"ResourceType": "fleet", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}
    ]
    assert tags.of_group("hf-1", {"a": "1"}) == [
        {
            "ResourceId": "hf-1",
            "ResourceType": "auto-scaling-group",
            "PropagateAtLaunch": True,
            "Key": "a",
            "Value": "1",
        }
    ]
    assert tags.read(tags.as_list(pair)) == pair
    assert tags.read(None) == {}
