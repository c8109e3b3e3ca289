"""What a template says in AWS's own words: what may be said, and how it goes over what hfcore builds."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from hfcore.aws import native
from hfcore.models import Template


def told(operation: str, **fields: Any) -> list[str]:  # noqa: ANN401 - fields of Template
    found = native.problems(Template(template_id="t", vm_types={"m5.large": 2}, **fields), operation)
    return [f"{one.field}: {one.message}{' ' if one.hint else ''}{one.hint}" for one in found]


def test_members_go_over_ours_lists_whole_and_tags_beside_ours() -> None:
    ours = {"A": {"x": 1, "y": 2}, "L": [1, 2], "TagSpecifications": [tagged("instance", k="ours")]}
    theirs = {"A": {"y": 3}, "L": [3], "TagSpecifications": [tagged("instance", k="theirs", z="1"), tagged("volume")]}

    assert native.over(ours, theirs) == {
        "A": {"x": 1, "y": 3},
        "L": [3],
        "TagSpecifications": [tagged("instance", k="ours", z="1"), tagged("volume")],
    }
    assert native.over({"Tags": [{"Key": "k", "Value": "1"}]}, {"Tags": [{"Key": "k", "Value": "2"}]}) == {
        "Tags": [{"Key": "k", "Value": "1"}]
    }


def tagged(kind: str, **tags: str) -> dict[str, Any]:
    return {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


@pytest.mark.parametrize("operation", native.OPERATIONS)
def test_parameters_are_those_of_the_operation_or_flat(operation: str) -> None:
    flat, named = {"Context": "x"}, {name: {"Context": name} for name in native.OPERATIONS}

    assert native.parameters(Template(template_id="t", api_parameters=flat), operation) == flat
    assert native.parameters(Template(template_id="t", api_parameters=named), operation) == {"Context": operation}


def test_a_spot_fleet_request_may_be_given_with_its_outer_member() -> None:
    said = {"SpotFleetRequestConfig": {"Context": "x"}}

    assert native.parameters(Template(template_id="t", api_parameters=said), "RequestSpotFleet") == {"Context": "x"}


@pytest.mark.parametrize(
    ("operation", "said", "expected"),
    [
        (
            "RunInstances",
            {"Monitorng": {}},
            "apiParameters.Monitorng: is no member of RunInstancesRequest did you mean Monitoring?",
        ),
        ("RunInstances", {"EbsOptimized": "yes"}, "apiParameters.EbsOptimized: Invalid type for parameter"),
        (
            "RunInstances",
            {"InstanceInitiatedShutdownBehavior": "sleep"},
            "apiParameters.InstanceInitiatedShutdownBehavior: 'sleep' is none of ShutdownBehavior's: stop, terminate",
        ),
        ("RunInstances", {"CpuOptions": {"Cores": 1}}, "apiParameters.CpuOptions: Unknown parameter in input"),
        (
            "RunInstances",
            {"TagSpecifications": [{"Tags": []}]},
            "apiParameters.TagSpecifications: needs a ResourceType",
        ),
        (
            "RunInstances",
            {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Value": "1"}]}]},
            "apiParameters.TagSpecifications: needs a ResourceType in each part, and a Key in each tag",
        ),
        (
            "RunInstances",
            {"CreateFleet": {"Context": "x"}},
            "apiParameters.CreateFleet: can't be honoured: machines come by RunInstances",
        ),
        (
            "RunInstances",
            {"RunInstances": {}, "Monitoring": {"Enabled": True}},
            "apiParameters.Monitoring: stands beside operations",
        ),
        (
            "CreateFleet",
            {"LaunchTemplateConfigs": [{"Overrides": [{"InstanceType": "m5.large", "WeightedCapacity": 4}]}]},
            "apiParameters.Overrides: m5.large of weight 4: hfcore counts it as 2 give the weight in vmTypes",
        ),
    ],
)
def test_what_is_not_known_is_named(operation: str, said: dict[str, Any], expected: str) -> None:
    (found,) = told(operation, api_parameters=said)

    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("operation", "path"),
    [(operation, path) for operation in native.OPERATIONS for path in native.REFUSED[operation]],
)
def test_what_hfcore_counts_and_finds_machines_by_is_refused_with_the_reason(operation: str, path: str) -> None:
    said: Any = "x"
    for name in reversed(path.split(".")):
        said = {name: [said] if name in {"LaunchTemplateConfigs", "Overrides"} else said}
    found = told(operation, api_parameters={operation: said})

    why = native.REFUSED[operation][path]
    assert f"apiParameters.{operation}.{path}: can't be set: {why}" in found


@pytest.mark.parametrize("member", native.REFUSED["RequestLaunchTemplateData"])
def test_launch_template_data_says_neither_market_nor_type(member: str) -> None:
    (found,) = told("RunInstances", launch_template_data={member: {}})

    assert found.startswith(f"launchTemplateData.{member}: can't be set: ")


def test_every_refused_member_is_one_that_aws_knows() -> None:
    """So that a change of AWS's is noticed."""
    for operation, paths in native.REFUSED.items():
        for path in paths:
            shape: Any = native.input_shape(operation)
            for name in path.split("."):
                shape = shape.member if shape.type_name == "list" else shape
                shape = shape.members[name]


@pytest.mark.parametrize("operation", native.OPERATIONS)
def test_no_message_holds_user_data(operation: str) -> None:
    for value in ("s3cret", {"s3cret": 1}, ["s3cret"], 5):
        found = told(operation, launch_template_data={"UserData": value}, api_parameters={"UserData": value})
        assert found
        assert "s3cret" not in " ".join(found)


def test_user_data_in_base64_is_right_but_not_beside_a_script() -> None:
    data = {"UserData": base64.b64encode(b"#!/bin/sh\n").decode()}

    assert told("RunInstances", launch_template_data=data) == []
    assert told("RunInstances", launch_template_data=data, user_data_script="x.sh") == [
        "launchTemplateData.UserData: is given beside userDataScript keep one of the two"
    ]


def test_instance_types_younger_than_botocore_are_let_through() -> None:
    said = {"LaunchTemplateConfigs": [{"Overrides": [{"InstanceType": "m99.large"}]}]}

    assert told("CreateFleet", api_parameters=said) == []
