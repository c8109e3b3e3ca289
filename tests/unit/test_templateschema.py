"""The JSON Schema of a template file: what it allows, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hfcore.templatefields import TemplateFields
from hfcore.templateschema import template_schema

SAMPLES = Path(__file__).parents[1] / "samples"
SCHEMA = template_schema({"EC2Fleet": ("vmType", "diskCache"), "ASG": ("diskCache", "shade")})
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def allowed(**template: Any) -> bool:  # noqa: ANN401 - any JSON
    one = CHECK.is_valid({"templates": [{"templateId": "t", **template}]})
    assert CHECK.is_valid({"defaults": template, "templates": []}) == one
    return one


def test_it_is_a_json_schema_of_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_samples_are_right_by_it() -> None:
    CHECK.validate(json.loads((SAMPLES / "awsprov_templates.json").read_text()))


def test_every_field_stands_there_in_camel_case_with_its_description() -> None:
    shown = SCHEMA["$defs"]["fields"]["properties"]
    names = {info.alias for info in TemplateFields.model_fields.values()} - {"templateId"}
    assert set(shown) == names | {"spotPrice", "diskCache", "shade"}
    assert all(field["description"].endswith(".") for field in shown.values())
    assert shown["diskCache"]["description"] == "Honoured by ASG, EC2Fleet."


@pytest.mark.parametrize(
    "template",
    [
        {"attributes": {"type": "X86_64", "ncpus": 1, "ok": True, "nram": ["Numeric", "4096"]}},
        {"subnetId": "subnet-1,subnet-2", "securityGroupIds": ["sg-1"]},
        {"instanceTags": "a=b"},
        {"instanceTags": {"a": "b", "cost": 5}},
        {"vmTypes": {"m5.large": 2}, "percentOnDemand": 100, "maxSpotPrice": 0.01},
        {"spotPrice": 0.5, "requestValidity": "00:30"},
        {"keyName": None, "vmTypes": None, "maxNumber": None},
        {"maxNumber": -1, "priceType": "spot", "shade": {"anything": 1}},
    ],
    ids="+".join,
)
def test_what_a_file_may_say_is_allowed_in_a_template_and_by_default(template: dict[str, Any]) -> None:
    assert allowed(**template)


@pytest.mark.parametrize(
    "template",
    [
        {"imageID": "ami-1"},
        {"image_id": "ami-1"},
        {"imageId": 5},
        {"priceType": "Spot"},
        {"maxNumber": 10_001},
        {"maxNumber": "many"},
        {"percentOnDemand": 101},
        {"percentOnDemand": -1},
        {"maxSpotPrice": 0},
        {"iops": 0},
        {"placementPartition": 8},
        {"vmTypes": {"m5.large": 0}},
        {"vmTypesPriority": {"m5.large": -1}},
        {"attributes": {"ncpus": ["Number", "1"]}},
        {"attributes": {"ncpus": ["Numeric"]}},
        {"attributes": {"ncpus": {}}},
        {"subnetId": [5]},
        {"requestValidity": "30"},
    ],
    ids=json.dumps,
)
def test_a_misspelt_field_or_a_wrong_value_is_refused_in_a_template_and_by_default(template: dict[str, Any]) -> None:
    assert not allowed(**template)


def test_a_template_needs_its_id_and_no_default_may_give_it() -> None:
    assert not CHECK.is_valid({"templates": [{"imageId": "ami-1"}]})
    assert not CHECK.is_valid({"templates": [{"templateId": "a b"}]})
    assert not CHECK.is_valid({"defaults": {"templateId": "t"}, "templates": []})
    assert not CHECK.is_valid({"defaults": {}})
    assert not CHECK.is_valid({"default": {}, "templates": []})
    assert CHECK.is_valid({"$schema": "templates.schema.json", "templates": []})
