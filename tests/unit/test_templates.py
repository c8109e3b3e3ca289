"""How template files become templates, how every problem in them is reported, and what is kept between calls."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hfcore.config import Settings, load_settings
from hfcore.errors import ConfigError, TemplateError, UnknownTemplate
from hfcore.files import read_checked, replace_checked
from hfcore.models import Problem, Severity, Template
from hfcore.templatefields import SPELLINGS, TemplateFields
from hfcore.templates import TemplateSet, infer_provider_api, load_templates

SAMPLES = Path(__file__).parents[1] / "samples"
ATTRIBUTES = {"type": "X86_64", "ncpus": 1, "nram": 1024}


class Plugins:
    """What the plug-ins of a test say, and how often they were asked."""

    def __init__(self, *problems: Problem, claimed: frozenset[str] = frozenset()) -> None:
        self.problems = problems
        self.fields = claimed
        self.checked: list[str] = []

    def claimed(self) -> frozenset[str]:
        return self.fields

    def check(self, template: Template) -> tuple[Problem, ...]:
        self.checked.append(template.template_id)
        return self.problems


class Instance:
    """A provider instance's folders, and its templates as a call reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "conf"
        self.cache = folder / "work" / "cache" / "templates.json"
        for name in ("conf", "work", "log"):
            (folder / name).mkdir(parents=True)

    def write(self, *templates: object, name: str = "templates.json") -> None:
        (self.conf / name).write_text(json.dumps({"templates": templates}))

    def write_defaults(self, defaults: object, *templates: object, name: str = "templates.json") -> None:
        (self.conf / name).write_text(json.dumps({"defaults": defaults, "templates": templates}))

    def settings(self, **flags: str) -> Settings:
        return load_settings(environ={}, provider=str(self.folder), flags=flags)

    def load(self, plugins: Plugins | None = None, *, fingerprint: str = "1", **flags: str) -> TemplateSet:
        plugins = plugins or Plugins()
        return load_templates(
            self.settings(**flags), claimed=plugins.claimed, check=plugins.check, fingerprint=fingerprint
        )

    def load_one(self, **template: object) -> Template:
        """Write one right template, give what becomes of it."""
        found = self.load_problems(**template)
        assert found.problems == ()
        return found.templates[0]

    def load_problems(self, **template: object) -> TemplateSet:
        self.write({"templateId": "t", "attributes": ATTRIBUTES, **template})
        return self.load()


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path / "aws1")


@pytest.fixture
def sample(instance: Instance) -> Instance:
    """An instance with the sample files of IBM's form."""
    for path in SAMPLES.glob("*.json"):
        (instance.conf / path.name).write_bytes(path.read_bytes())
    return instance


def said(found: TemplateSet) -> list[str]:
    return [str(problem) for problem in found.problems]


def test_the_samples_of_ibms_form_are_read_unedited_in_file_order(sample: Instance) -> None:
    found = sample.load()

    assert found.problems == ()
    assert {template.template_id: template.provider_api for template in found.templates} == {
        "OnDemand-Small": "RunInstances",
        "Spot-Mixed": "SpotFleet",
        "Hetero-Mixed": "SpotFleet",
        "Group": "ASG",
        "Fleet-Instant": "EC2Fleet",
        "Fleet-Maintain": "EC2Fleet",
    }
    assert found.templates[0].template_id == "OnDemand-Small"


def test_every_form_of_the_samples_means_what_ibm_means(sample: Instance) -> None:
    found = sample.load()
    small, spot, hetero, instant = (
        found.require(name) for name in ("OnDemand-Small", "Spot-Mixed", "Hetero-Mixed", "Fleet-Instant")
    )

    assert small.attributes["type"] == ("String", "X86_64")
    assert small.attributes["ncpus"] == ("Numeric", "1")
    assert small.attributes["rank"] == ("Numeric", "0")
    assert small.attributes["priceInfo"][0] == "String"
    assert small.vm_types == {"t3.medium": 1}
    assert small.instance_tags == {"company": "abc", "project": "grid", "team": "risk"}
    assert small.subnet_id == ("subnet-REPLACE",)
    assert spot.attributes["ncores"] == ("Numeric", "2")
    assert spot.subnet_id == hetero.subnet_id == ("subnet-REPLACE", "subnet-REPLACE2")
    assert spot.vm_types == {"m5.large": 1, "m5a.large": 1, "m5.xlarge": 2}
    assert spot.spot_fleet_request_expiry == 40
    assert hetero.max_number == -1
    assert hetero.vm_types_on_demand == {"m5.large": 1}
    assert hetero.pools_count == 2
    assert (instant.fleet_type, instant.percent_on_demand) == ("instant", 20)


def test_the_fields_of_files_are_those_of_a_template() -> None:
    ours = {field.name for field in fields(Template)} - {"extra", "withheld"}

    assert set(TemplateFields.model_fields) == ours | OTHER_WAYS
    for field in fields(Template):
        if field.name in TemplateFields.model_fields and field.name != "template_id":
            default = TemplateFields.model_fields[field.name].default
            assert default == getattr(Template(template_id="t"), field.name), field.name


OTHER_WAYS = {"vm_type", "request_validity", "on_demand_target_capacity_ratio"}
"""Fields of files that give another field of a template."""


def test_every_field_describes_itself() -> None:
    schema = TemplateFields.model_json_schema()

    for name, field in schema["properties"].items():
        assert field["description"].endswith("."), name


def test_the_json_schema_of_a_template_allows_the_samples() -> None:
    schema = TemplateFields.model_json_schema()
    document = json.loads((SAMPLES / "awsprov_templates.json").read_text())

    for template in document["templates"]:
        jsonschema.validate(template, schema)


EXAMPLES: dict[str, tuple[object, object]] = {
    "max_number": ("12", 12),
    "attributes": ({"type": ["String", "X86_64"]}, {"type": ("String", "X86_64")}),
    "provider_api": ("EC2Fleet", "EC2Fleet"),
    "fleet_type": ("instant", "instant"),
    "image_id": ("/aws/service/ami", "/aws/service/ami"),
    "subnet_id": (["subnet-1", "subnet-2,subnet-1"], ("subnet-1", "subnet-2")),
    "vm_types": ({"m5.large": "2"}, {"m5.large": 2}),
    "vm_types_on_demand": ({"m5.large": 2}, {"m5.large": 2}),
    "vm_types_priority": ({"m5.large": 0}, {"m5.large": 0}),
    "price_type": ("spot", "spot"),
    "root_device_volume_size": (100, 100),
    "volume_type": ("gp3", "gp3"),
    "iops": ("3000", 3000),
    "instance_tags": ({"team": "risk", "cost": 5}, {"team": "risk", "cost": "5"}),
    "key_name": ("key", "key"),
    "security_group_ids": ("sg-1, sg-2", ("sg-1", "sg-2")),
    "fleet_role": ("arn:aws:iam::1:role/r", "arn:aws:iam::1:role/r"),
    "max_spot_price": ("0.25", 0.25),
    "spot_fleet_request_expiry": (30, 30),
    "allocation_strategy": ("priceCapacityOptimized", "priceCapacityOptimized"),
    "allocation_strategy_on_demand": ("prioritized", "prioritized"),
    "percent_on_demand": ("0", 0),
    "pools_count": (2, 2),
    "instance_profile": ("profile", "profile"),
    "user_data_script": ("start.sh", "start.sh"),
    "launch_template_id": ("lt-1", "lt-1"),
    "launch_template_version": (3, "3"),
    "ebs_optimized": ("true", True),
    "placement_group_name": ("rack", "rack"),
    "placement_partition": (2, 2),
    "tenancy": ("dedicated", "dedicated"),
    "host_id": ("h-1", "h-1"),
    "host_resource_group_arn": ("arn:aws:resource-groups:1:group/h", "arn:aws:resource-groups:1:group/h"),
    "interface_type": ("efa", "efa"),
    "efa_count": ("2", 2),
    "user_data": ("token=hush; team=risk", "token=hush; team=risk"),
    "priority": (-5, -5),
    "capacity_reservation": ("cr-1", "cr-1"),
    "ec2_fleet_config": ("fleet.json", "fleet.json"),
    "instance_requirements": ({"VCpuCount": {"Min": 2}}, {"VCpuCount": {"Min": 2}}),
    "launch_template_data": ({"UserData": "aHVzaA=="}, {"UserData": "aHVzaA=="}),
    "api_parameters": ({"Context": "c-1"}, {"Context": "c-1"}),
}


def test_there_is_an_example_of_every_field() -> None:
    assert EXAMPLES.keys() == set(TemplateFields.model_fields) - {"template_id"} - OTHER_WAYS


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_field_may_be_spelt_in_camel_case_or_in_snake_case(instance: Instance, name: str) -> None:
    given, expected = EXAMPLES[name]
    spellings = {spelling for spelling, field in SPELLINGS.items() if field == name}
    assert len(spellings) >= (1 if name in ("attributes", "iops", "priority", "tenancy") else 2)

    for spelling in spellings:
        instance.write({"templateId": "t", spelling: given})
        assert getattr(instance.load().require("t"), name) == expected


def test_lsfs_name_of_the_highest_spot_price_is_understood(instance: Instance) -> None:
    assert instance.load_one(spotPrice=0.5).max_spot_price == 0.5


@pytest.mark.parametrize(
    ("bare", "pair"),
    [
        (4, ("Numeric", "4")),
        (0.5, ("Numeric", "0.5")),
        ("4", ("Numeric", "4")),
        ("X86_64", ("String", "X86_64")),
        ("1.2.3", ("String", "1.2.3")),
        ("", ("String", "")),
        ("[0:4096]", ("Numeric", "[0:4096]")),
        (True, ("Boolean", "1")),
        (["Boolean", "false"], ("Boolean", "0")),
        (["boolean", True], ("Boolean", "1")),
        (["Numeric", 4], ("Numeric", "4")),
        (["String", "4"], ("String", "4")),
        (["Numeric", "[1:8]"], ("Numeric", "[1:8]")),
    ],
)
def test_an_attribute_gets_its_type(instance: Instance, bare: object, pair: tuple[str, str]) -> None:
    assert instance.load_one(attributes={**ATTRIBUTES, "a": bare}).attributes["a"] == pair


@pytest.mark.parametrize("value", [86, "86"])
def test_the_attribute_type_is_text_even_where_it_looks_like_a_number(instance: Instance, value: object) -> None:
    assert instance.load_one(attributes={**ATTRIBUTES, "type": value}).attributes["type"] == ("String", "86")


def test_attributes_that_host_factory_needs_are_missed_by_name(instance: Instance) -> None:
    found = instance.load_problems(attributes={"type": "X86_64"})

    assert found.get("t")
    assert said(found) == [
        "templates.json: t: attributes: lacks ncpus, nram, which Host Factory needs to choose the template"
    ]


def test_what_is_null_or_empty_counts_as_not_given(instance: Instance) -> None:
    template = instance.load_one(vmType="", vmTypes={"m5.large": 1}, keyName=None, fleetRole="", percentOnDemand="")

    assert template == instance.load_one(vmTypes={"m5.large": 1})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("templateId", "a b", "must be 1 to 64"),
        ("templateId", "a" * 65, "must be 1 to 64"),
        ("templateId", "", "must be 1 to 64"),
        ("templateId", "a\n", "must be 1 to 64"),
        ("maxNumber", -2, "must be at least -1, not -2"),
        ("maxNumber", 10_001, "must be at most 10000, not 10001"),
        ("maxNumber", True, "must be a number"),
        ("maxNumber", "", 'must be a whole number, not ""'),
        ("maxNumber", None, "must be a whole number"),
        ("maxNumber", "many", 'must be a whole number, not "many"'),
        ("maxNumber", 1.5, "must be a whole number, not 1.5"),
        ("percentOnDemand", 101, "must be at most 100, not 101"),
        ("percentOnDemand", -1, "must be at least 0, not -1"),
        ("spotFleetRequestExpiry", 0, "must be at least 1, not 0"),
        ("rootDeviceVolumeSize", "0", 'must be at least 1, not "0"'),
        ("iops", 0, "must be at least 1, not 0"),
        ("poolsCount", 0, "must be at least 1, not 0"),
        ("maxSpotPrice", 0, "must be more than 0, not 0"),
        ("maxSpotPrice", "cheap", 'must be a number, not "cheap"'),
        ("maxSpotPrice", "nan", "must be a number"),
        ("maxSpotPrice", True, "must be a number"),
        ("priceType", "Spot", 'must be ondemand, spot or heterogeneous, not "Spot" (did you mean spot?)'),
        ("volumeType", "gp4", "must be gp2, gp3, io1, io2 or standard"),
        ("fleetType", "once", "must be instant, request or maintain"),
        ("allocationStrategy", "lowest-price", "did you mean lowestPrice?"),
        ("allocationStrategyOnDemand", "diversified", "must be lowestPrice or prioritized"),
        ("subnetId", 5, "must be text, with commas between several, or a list of texts"),
        ("securityGroupIds", [5], "must be text, with commas between several, or a list of texts"),
        ("vmTypes", "m5.large", "must be an object"),
        ("imageId", ["ami-1"], "must be text"),
        ("keyName", True, "must be text, not true"),
        ("maxNumber", 10**30, "must be"),
        ("instanceTags", "project", "must be pairs such as project=grid"),
        ("instanceTags", "a=1;a=2", "each name once"),
        ("instanceTags", "=1", "has a tag without a name"),
        ("instanceTags", {"HFCORE:owner": "me"}, "must not set HFCORE:owner"),
        ("attributes", ["type"], "must be an object"),
    ],
)
def test_a_wrong_value_is_an_error_in_a_plain_sentence(
    instance: Instance, field: str, value: object, message: str
) -> None:
    found = instance.load_problems(**{field: value})

    assert found.templates == ()
    (problem,) = found.problems
    assert (problem.field, problem.severity, problem.source) == (field, Severity.ERROR, "templates.json")
    assert message in str(problem)


@pytest.mark.parametrize(
    ("fields_", "place", "message"),
    [
        ({"vmTypes": {"m5.large": 0}}, "vmTypes.m5.large", "must be at least 1, not 0"),
        ({"vmTypes": {"m5.large": True}}, "vmTypes.m5.large", "must be a number"),
        ({"vm_types_priority": {"m5.large": -1}}, "vm_types_priority.m5.large", "must be at least 0"),
        ({"instanceTags": {"a": {}}}, "instanceTags.a", "must be text"),
        ({"attributes": {"a": {}}}, "attributes.a", "must be text, a number, or a pair"),
        ({"attributes": {"a": ["Numeric"]}}, "attributes.a", "must be text, a number, or a pair"),
        ({"attributes": {"a": float("nan")}}, "attributes.a", "must be text, a number, or a pair"),
        ({"attributes": {"a": ["Numeric", "x"]}}, "attributes.a", "is Numeric, but 'x' is not a number"),
        ({"attributes": {"a": ["Boolean", "x"]}}, "attributes.a", "is Boolean, but 'x' is neither"),
        ({"attributes": {"a": ["Text", "x"]}}, "attributes.a", "must be of type String, Numeric or Boolean, not Text"),
    ],
)
def test_a_wrong_value_inside_an_object_is_named_with_its_place(
    instance: Instance, fields_: dict[str, object], place: str, message: str
) -> None:
    found = instance.load_problems(**fields_)

    (problem,) = found.problems
    assert problem.field == place
    assert message in problem.message


@pytest.mark.parametrize(
    "pair",
    [
        {"imageId": "ami-1", "image_id": "ami-1"},
        {"vmType": "m5.large", "vmTypes": {"m5.large": 1}},
        {"maxSpotPrice": 1, "spotPrice": 1},
    ],
)
def test_two_fields_that_mean_the_same_are_an_error_naming_both(instance: Instance, pair: dict[str, object]) -> None:
    found = instance.load_problems(**pair)
    first, second = pair

    assert found.templates == ()
    (problem,) = found.problems
    assert (problem.field, problem.severity) == (second, Severity.ERROR)
    assert f"is given beside {first}" in problem.message


def test_a_template_without_an_id_is_an_error_that_names_its_place(instance: Instance) -> None:
    instance.write({"templateId": "t", "attributes": ATTRIBUTES}, {"vmType": "m5.large"})

    assert said(instance.load()) == ["templates.json: templates[1]: templateId: is missing"]


def test_a_template_that_is_no_object_is_an_error_that_names_its_place(instance: Instance) -> None:
    instance.write("t")

    assert said(instance.load()) == ["templates.json: templates[0]: a template must be an object"]


def test_every_mistake_of_a_file_is_reported_with_file_template_and_field_as_spelt(instance: Instance) -> None:
    instance.write(
        {"templateId": "good", "attributes": ATTRIBUTES},
        {"templateId": "bad", "attributes": ATTRIBUTES, "percentOnDemand": 200, "price_type": "cheap", "imageID": "x"},
        {"templateId": "worse", "attributes": ATTRIBUTES, "vmTypes": {"a": 0, "b": "x"}, "maxNumber": "many"},
    )

    found = instance.load()

    assert [template.template_id for template in found.templates] == ["good"]
    assert [
        (problem.source, problem.template_id, problem.field, problem.severity.value) for problem in found.problems
    ] == [
        ("templates.json", "bad", "price_type", "error"),
        ("templates.json", "bad", "percentOnDemand", "error"),
        ("templates.json", "bad", "imageID", "warning"),
        ("templates.json", "worse", "maxNumber", "error"),
        ("templates.json", "worse", "vmTypes.a", "error"),
        ("templates.json", "worse", "vmTypes.b", "error"),
    ]


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("imageID", "it is spelt imageId"),
        ("Image_Id", "it is spelt imageId"),
        ("subnetIds", "did you mean subnetId?"),
        ("percentOnDemnd", "did you mean percentOnDemand?"),
        ("fleet_typ", "did you mean fleet_type?"),
        ("colour", ""),
    ],
)
def test_an_unknown_field_is_a_warning_with_the_right_spelling(instance: Instance, field: str, hint: str) -> None:
    found = instance.load_problems(**{field: "secret"})

    assert found.require("t").extra == {field: "secret"}
    (problem,) = found.problems
    assert (problem.field, problem.severity, problem.hint) == (field, Severity.WARNING, hint)
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    ("field", "given", "name", "expected"),
    [
        ("requestValidity", "01:30", "spot_fleet_request_expiry", 90),
        ("onDemandTargetCapacityRatio", "0.25", "percent_on_demand", 25),
        ("onDemandTargetCapacityRatio", 0, "percent_on_demand", 0),
    ],
)
def test_what_lsf_spells_otherwise_means_the_same(
    instance: Instance, field: str, given: object, name: str, expected: object
) -> None:
    assert getattr(instance.load_one(**{field: given}), name) == expected


@pytest.mark.parametrize("given", ["2fast=hush", "token=hush;token=hush2", "hush"])
def test_wrong_user_data_is_told_without_a_value_of_it(instance: Instance, given: str) -> None:
    found = instance.load_problems(userData=given)

    (problem,) = found.problems
    assert (problem.field, problem.severity) == ("userData", Severity.ERROR)
    assert "hush" not in str(problem)


def test_a_field_that_a_plug_in_claims_reaches_it_without_a_warning_under_the_plug_ins_spelling(
    instance: Instance,
) -> None:
    plugins = Plugins(claimed=frozenset({"diskCache", "shade"}))
    instance.write({"templateId": "t", "attributes": ATTRIBUTES, "disk_cache": {"id": 1}, "shade": "red"})

    found = instance.load(plugins)

    assert found.problems == ()
    assert found.require("t").extra == {"diskCache": {"id": 1}, "shade": "red"}


def test_a_near_miss_of_a_claimed_field_is_told_its_spelling(instance: Instance) -> None:
    instance.write({"templateId": "t", "attributes": ATTRIBUTES, "diskcache": 1})

    found = instance.load(Plugins(claimed=frozenset({"diskCache"})))

    assert found.problems[0].hint == "it is spelt diskCache"


@pytest.mark.parametrize(
    ("template", "api"),
    [
        (Template(template_id="t"), "RunInstances"),
        (Template(template_id="t", price_type="ondemand", fleet_role="r"), "RunInstances"),
        (Template(template_id="t", price_type="spot"), "EC2Fleet"),
        (Template(template_id="t", price_type="spot", fleet_role="r"), "SpotFleet"),
        (Template(template_id="t", price_type="heterogeneous"), "EC2Fleet"),
        (Template(template_id="t", price_type="heterogeneous", fleet_role="r"), "SpotFleet"),
        (Template(template_id="t", price_type="spot", fleet_role="r", provider_api="ASG"), "ASG"),
        (Template(template_id="t", ec2_fleet_config="fleet.json"), "EC2Fleet"),
        (Template(template_id="t", instance_requirements={"VCpuCount": {"Min": 1}}), "EC2Fleet"),
    ],
)
def test_the_provider_api_is_told_by_price_type_and_fleet_role(template: Template, api: str) -> None:
    assert infer_provider_api(template) == api


def test_a_plug_ins_problems_stand_beside_ours_with_file_template_and_field_as_spelt(instance: Instance) -> None:
    plugins = Plugins(
        Problem(field="fleetRole", message="has no effect here", severity=Severity.WARNING),
        Problem(field="imageId", message="is needed"),
    )
    instance.write({"templateId": "t", "attributes": ATTRIBUTES, "fleet_role": "r"})

    found = instance.load(plugins)

    assert found.templates == ()
    assert said(found) == [
        "templates.json: t: fleet_role: has no effect here",
        "templates.json: t: imageId: is needed",
    ]


def test_a_plug_in_is_not_asked_about_a_template_that_has_errors(instance: Instance) -> None:
    plugins = Plugins()
    instance.write({"templateId": "t", "maxNumber": "many"})

    instance.load(plugins)

    assert plugins.checked == []


class TestFiles:
    """Which files are read, and which are refused."""

    def test_all_files_are_read_in_name_order_and_ours_last(self, instance: Instance) -> None:
        instance.write({"templateId": "c", "attributes": ATTRIBUTES})
        instance.write({"templateId": "b", "attributes": ATTRIBUTES}, name="bprov_templates.json")
        instance.write({"templateId": "a", "attributes": ATTRIBUTES}, name="aprov_templates.json")

        assert [template.template_id for template in instance.load().templates] == ["a", "b", "c"]

    def test_the_instances_own_file_stands_for_all_of_ibms_form(self, instance: Instance) -> None:
        instance.write({"templateId": "a", "attributes": ATTRIBUTES}, name="aws1prov_templates.json")
        instance.write({"templateId": "b", "attributes": ATTRIBUTES}, name="awsprov_templates.json")
        instance.write({"templateId": "c", "attributes": ATTRIBUTES})

        assert [template.template_id for template in instance.load().templates] == ["a", "c"]

    def test_an_id_that_stands_twice_is_an_error_of_the_second_naming_both_files(self, instance: Instance) -> None:
        instance.write({"templateId": "t", "attributes": ATTRIBUTES, "maxNumber": 1}, name="awsprov_templates.json")
        instance.write({"template_id": "t", "attributes": ATTRIBUTES, "maxNumber": 2})

        found = instance.load()

        assert [template.max_number for template in found.templates] == [1]
        (problem,) = found.problems
        assert (problem.source, problem.template_id, problem.field) == ("templates.json", "t", "template_id")
        assert "awsprov_templates.json" in problem.message

    def test_templates_without_an_id_are_not_taken_for_one_another(self, instance: Instance) -> None:
        instance.write({"attributes": ATTRIBUTES}, name="awsprov_templates.json")
        instance.write({"attributes": ATTRIBUTES})

        assert said(instance.load()) == [
            "awsprov_templates.json: templates[0]: templateId: is missing",
            "templates.json: templates[0]: templateId: is missing",
        ]

    def test_an_empty_list_is_no_error(self, instance: Instance) -> None:
        instance.write()

        assert instance.load() == TemplateSet()

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b'{"templates": [\n  {"templateId" "t"}]}', "line 2 column 17"),
            (b"", "line 1 column 1"),
            (b'{"templates": [{"templateId": "\xff"}]}', "'utf-8' codec"),
            (b'{"templates": [{"maxNumber": ' + b"9" * 5000 + b"}]}", "digits"),
            (b"[" * 100_000, "recursion"),
            (b"[]", "must hold"),
            (b'{"templates": {}}', "must hold"),
            (b"{}", "must hold"),
        ],
    )
    def test_a_document_that_is_none_is_refused_with_file_and_place(
        self, instance: Instance, data: bytes, message: str
    ) -> None:
        (instance.conf / "templates.json").write_bytes(data)

        with pytest.raises(ConfigError) as caught:
            instance.load()

        assert str(instance.conf / "templates.json") in caught.value.message
        assert message in caught.value.message

    def test_no_template_file_at_all_is_refused_with_the_names_that_are_looked_for(self, instance: Instance) -> None:
        with pytest.raises(ConfigError, match=r"neither \*prov_templates\.json nor templates\.json"):
            instance.load()

    def test_a_file_that_can_not_be_read_is_refused_by_name(self, instance: Instance) -> None:
        (instance.conf / "templates.json").mkdir()

        with pytest.raises(ConfigError, match=r"templates\.json can't be read"):
            instance.load()

    def test_what_else_a_file_holds_is_a_warning(self, instance: Instance) -> None:
        content = {"$schema": "x", "default": {"keyName": "k"}, "templates": []}
        (instance.conf / "templates.json").write_text(json.dumps(content))

        warning = "templates.json: default: is not known and has no effect (did you mean defaults?)"
        assert said(instance.load()) == [warning]


class TestAsking:
    """A template asked for by its id."""

    def test_a_usable_one_is_given(self, sample: Instance) -> None:
        found = sample.load()

        assert found.get("Group") is found.require("Group")

    def test_an_unknown_one_is_refused_with_those_that_are_there(self, instance: Instance) -> None:
        instance.write({"templateId": "a"}, {"templateId": "b"})
        found = instance.load()

        assert found.get("c") is None
        with pytest.raises(UnknownTemplate, match="no template c") as caught:
            found.require("c")
        assert caught.value.hint == "there are: a, b"

    def test_a_wrong_one_is_refused_with_what_is_wrong_in_it(self, instance: Instance) -> None:
        found = instance.load_problems(maxNumber="many", colour="red")

        with pytest.raises(TemplateError, match="maxNumber: must be a whole number") as caught:
            found.require("t")
        assert [problem.field for problem in caught.value.problems] == ["maxNumber"]


class TestKept:
    """What is kept of reading the same files before."""

    @pytest.fixture
    def mixed(self, sample: Instance) -> Instance:
        """Samples, warnings, errors and a claimed field."""
        sample.write(
            {"template_id": "mine", "colour": "red", "shade": {"host": ["h-1"]}, "instanceTags": {"a": "b"}},
            {"templateId": "bad", "maxNumber": "many"},
        )
        return sample

    @pytest.fixture
    def plugins(self) -> Plugins:
        return Plugins(
            Problem(field="keyName", message="has no effect", severity=Severity.WARNING, hint="remove it"),
            claimed=frozenset({"shade"}),
        )

    def test_a_second_call_gives_the_same_without_asking_plug_ins(self, mixed: Instance, plugins: Plugins) -> None:
        first = mixed.load(plugins)
        asked = len(plugins.checked)

        second = mixed.load(plugins)

        assert second == first
        assert second.require("mine").extra == {"colour": "red", "shade": {"host": ["h-1"]}}
        assert len(plugins.checked) == asked == 7

    def test_a_second_call_imports_neither_pydantic_nor_a_plug_in(self, mixed: Instance, plugins: Plugins) -> None:
        mixed.load(plugins)
        code = f"""
import sys
from hfcore.config import load_settings
from hfcore.templates import load_templates
def asked(*arguments): raise AssertionError("a plug-in is asked")
settings = load_settings(environ={{}}, provider={str(mixed.folder)!r})
found = load_templates(settings, claimed=asked, check=asked, fingerprint="1")
names = ("pydantic", "hfcore.templatefields", "pluggy", "botocore", "difflib", "rich", "typer")
print(len(found.templates), len(found.problems), [name for name in names if name in sys.modules])
"""

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

        assert (done.stdout, done.stderr) == ("7 10 []\n", "")

    @pytest.mark.parametrize("change", ["content", "new file", "fingerprint", "setting"])
    def test_what_is_kept_holds_only_while_nothing_changes(
        self, mixed: Instance, plugins: Plugins, change: str
    ) -> None:
        mixed.load(plugins)
        plugins.checked.clear()
        if change == "content":
            mixed.write({"templateId": "new"})
        if change == "new file":
            mixed.write({"templateId": "new"}, name="zprov_templates.json")

        found = mixed.load(
            plugins,
            fingerprint="2" if change == "fingerprint" else "1",
            **({"host_name": "privateIp"} if change == "setting" else {}),
        )

        assert plugins.checked
        assert (found.get("new") is not None) == (change in ("content", "new file"))

    def test_nothing_is_kept_while_plug_ins_may_be_changing(self, mixed: Instance, plugins: Plugins) -> None:
        mixed.load(plugins, fingerprint="")
        plugins.checked.clear()
        mixed.load(plugins, fingerprint="")
        assert plugins.checked

    def test_a_change_of_the_log_level_changes_nothing(self, mixed: Instance, plugins: Plugins) -> None:
        mixed.load(plugins)
        plugins.checked.clear()

        mixed.load(plugins, log_level="debug")

        assert plugins.checked == []

    @pytest.mark.parametrize(
        "damage",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"\xff",
            b'{"digest": 1}',
            b"[" * 100_000,
            "a flipped bit",
            "a pipe",
            "no templates",
            "wrong records",
            "wrong place",
            "wrong problems",
        ],
    )
    def test_what_is_kept_and_damaged_is_as_if_it_were_not_there(
        self, mixed: Instance, plugins: Plugins, damage: bytes | str
    ) -> None:
        first = mixed.load(plugins)
        content: dict[str, Any] = read_checked(mixed.cache)
        if damage == "no templates":
            del content["templates"]
        elif damage == "wrong records":
            content["templates"][0]["record"] = {"template_id": 5}
        elif damage == "wrong place":
            content["templates"][-1]["place"] = 99
        elif damage == "wrong problems":
            content["problems"][0]["severity"] = "loud"
        good = mixed.cache.read_bytes()
        if damage == "a pipe":
            mixed.cache.unlink()
            os.mkfifo(mixed.cache)
        elif damage == "a flipped bit":
            mixed.cache.write_bytes(good.replace(b"ondemand", b"ondemane"))
        elif isinstance(damage, bytes):
            mixed.cache.write_bytes(damage)
        else:
            replace_checked(mixed.cache, content)
        plugins.checked.clear()

        assert mixed.load(plugins) == first
        assert plugins.checked
        plugins.checked.clear()
        assert mixed.load(plugins) == first
        assert not plugins.checked

    def test_a_folder_that_can_not_be_written_is_harmless(self, mixed: Instance, plugins: Plugins) -> None:
        (mixed.folder / "work" / "cache").write_text("in the way")

        assert mixed.load(plugins).templates == mixed.load(plugins).templates

    def test_a_work_folder_that_is_not_there_is_not_made(self, mixed: Instance, plugins: Plugins) -> None:
        (mixed.folder / "work").rmdir()

        assert mixed.load(plugins).get("mine")
        assert not (mixed.folder / "work").exists()

    def test_it_is_private_and_holds_neither_user_data_nor_a_value_of_a_field_that_hfcore_does_not_know(
        self, instance: Instance, plugins: Plugins
    ) -> None:
        secrets = {"user_data": "token=hush", "launchTemplateData": {"UserData": "hush", "KernelId": "k"}}
        instance.write({"templateId": "t", **secrets, "shade": "hush", "password": ["hush"]})

        found = instance.load(plugins)

        assert found.require("t").extra["shade"] == "hush"
        assert found == instance.load(plugins)
        assert len(plugins.checked) == 1
        assert b"hush" not in instance.cache.read_bytes()
        assert stat.S_IMODE(instance.cache.stat().st_mode) == 0o600
        assert stat.S_IMODE(instance.cache.parent.stat().st_mode) == 0o700
        assert [path.name for path in instance.cache.parent.iterdir()] == ["templates.json"]

    def test_user_data_alone_comes_from_the_file_as_well(self, instance: Instance, plugins: Plugins) -> None:
        instance.write({"templateId": "t", "userData": "token=hush"})

        first = instance.load(plugins)

        assert first == instance.load(plugins)
        assert (first.require("t").user_data, first.require("t").withheld) == ("token=hush", "")
        assert plugins.checked == ["t"]

    def test_what_comes_from_defaults_is_kept_as_well(self, instance: Instance, plugins: Plugins) -> None:
        hidden = {"userData": "token=hush", "shade": {"host": 1}}
        instance.write_defaults(hidden, {"templateId": "a"}, {"templateId": "b", "user_data": "x=1", "shade": None})

        first = instance.load(plugins)

        assert first == instance.load(plugins)
        assert [template.user_data for template in first.templates] == ["token=hush", "x=1"]
        assert [template.extra for template in first.templates] == [{"shade": {"host": 1}}, {}]
        assert plugins.checked == ["a", "b"]
        assert b"hush" not in instance.cache.read_bytes()


class TestDefaults:
    """What a file says for all its templates at once."""

    def test_a_template_has_what_it_does_not_give_itself(self, instance: Instance) -> None:
        shared = {"imageId": "ami-1", "subnetId": ["subnet-1"], "maxNumber": 5, "attributes": ATTRIBUTES}
        instance.write_defaults(shared, {"templateId": "a"}, {"templateId": "b", "max_number": 7, "image_id": "ami-2"})

        found = instance.load()

        assert found.problems == ()
        assert [(one.image_id, one.subnet_id, one.max_number) for one in found.templates] == [
            ("ami-1", ("subnet-1",), 5),
            ("ami-2", ("subnet-1",), 7),
        ]

    @pytest.mark.parametrize("field", ["keyName", "maxNumber", "instanceTags", "vmType"])
    def test_null_takes_a_default_away(self, instance: Instance, field: str) -> None:
        shared = {"keyName": "k", "maxNumber": 5, "instanceTags": "a=b", "vmTypes": {"m5.large": 2}}
        instance.write_defaults(shared, {"templateId": "t", "attributes": ATTRIBUTES, field: None})

        found = instance.load()

        assert found.problems == ()
        gone = {"vmType": "vmTypes"}.get(field, field)
        rest = {key: value for key, value in shared.items() if key != gone}
        assert found.templates[0] == instance.load_one(**rest)

    @pytest.mark.parametrize(
        ("default", "own"),
        [
            ({"vmTypes": {"m5.large": 2}}, {"vmType": "c5.large"}),
            ({"vmType": "m5.large"}, {"vm_types": {"c5.large": 1}}),
            ({"vmType": "m5.large"}, {"instanceRequirements": {"VCpuCount": {"Min": 2}}}),
            ({"instanceRequirements": {"VCpuCount": {"Min": 2}}}, {"vmType": "c5.large"}),
            ({"spotFleetRequestExpiry": 10}, {"requestValidity": "00:30"}),
            ({"percentOnDemand": 10}, {"onDemandTargetCapacityRatio": 0.5}),
            ({"maxSpotPrice": 1}, {"spotPrice": 2}),
            ({"hostId": "h-1"}, {"hostResourceGroupArn": "arn"}),
            ({"launchTemplateId": "lt-1", "launchTemplateVersion": "3"}, {"launch_template_id": "lt-2"}),
        ],
        ids="+".join,
    )
    def test_the_templates_own_word_stands_for_every_spelling_of_the_same(
        self, instance: Instance, default: dict[str, Any], own: dict[str, Any]
    ) -> None:
        instance.write_defaults(default, {"templateId": "t", "attributes": ATTRIBUTES, **own})

        found = instance.load()

        assert found.problems == ()
        assert found.templates[0] == instance.load_one(**own)

    def test_a_default_version_goes_with_the_default_launch_template(self, instance: Instance) -> None:
        shared = {"launchTemplateId": "lt-1", "launchTemplateVersion": "3", "attributes": ATTRIBUTES}
        instance.write_defaults(shared, {"templateId": "a"}, {"templateId": "b", "launchTemplateVersion": "4"})

        found = instance.load()

        versions = [(one.launch_template_id, one.launch_template_version) for one in found.templates]
        assert versions == [("lt-1", "3"), ("lt-1", "4")]

    def test_a_mistake_there_is_told_once_and_each_template_that_has_it_is_left_out(self, instance: Instance) -> None:
        shared = {"percentOnDemand": 200, "imageID": "x", "attributes": {"type": "X86_64"}}
        instance.write_defaults(
            shared, {"templateId": "a"}, {"templateId": "b"}, {"templateId": "c", "percentOnDemand": 1}
        )

        found = instance.load()
        needed = "which Host Factory needs to choose the template"

        assert [template.template_id for template in found.templates] == ["c"]
        assert said(found) == [
            "templates.json: defaults.percentOnDemand: must be at most 100, not 200",
            "templates.json: defaults.imageID: is not known and has no effect (it is spelt imageId)",
            f"templates.json: defaults.attributes: lacks ncpus, nram, {needed} (in c)",
            "templates.json: a: percentOnDemand: is wrong in defaults (correct it there, or give it here)",
            "templates.json: b: percentOnDemand: is wrong in defaults (correct it there, or give it here)",
        ]
        with pytest.raises(TemplateError, match="wrong in defaults"):
            found.require("a")

    def test_what_a_plug_in_finds_there_is_told_once_with_a_template_that_has_it(self, instance: Instance) -> None:
        plugins = Plugins(
            Problem(field="fleetRole", message="has no effect here", severity=Severity.WARNING),
            Problem(field="keyName", message="has no effect here", severity=Severity.WARNING),
        )
        ids = ({"templateId": name, "attributes": ATTRIBUTES, "keyName": "k"} for name in "abc")
        instance.write_defaults({"fleet_role": "r"}, *ids)

        found = instance.load(plugins)

        assert said(found) == [
            "templates.json: defaults.fleet_role: has no effect here (in a and 2 more)",
            *(f"templates.json: {name}: keyName: has no effect here" for name in "abc"),
        ]

    def test_a_mistake_is_told_though_no_template_has_it(self, instance: Instance) -> None:
        instance.write_defaults({"maxNumber": "many", "templateId": "t"})

        assert said(instance.load()) == [
            "templates.json: defaults.templateId: has no effect: each template has its own",
            'templates.json: defaults.maxNumber: must be a whole number, not "many"',
        ]

    def test_a_template_gets_no_id_by_default(self, instance: Instance) -> None:
        instance.write_defaults({"templateId": "t"}, {"attributes": ATTRIBUTES})

        assert "templates.json: templates[0]: templateId: is missing" in said(instance.load())

    def test_they_hold_for_their_own_file_alone(self, instance: Instance) -> None:
        instance.write_defaults({"imageId": "ami-1"}, {"templateId": "a"}, name="awsprov_templates.json")
        instance.write({"templateId": "b"})

        assert [template.image_id for template in instance.load().templates] == ["ami-1", None]

    @pytest.mark.parametrize("defaults", [[], "x", 1, False])
    def test_defaults_that_are_no_object_are_refused(self, instance: Instance, defaults: object) -> None:
        instance.write_defaults(defaults, {"templateId": "t"})

        with pytest.raises(ConfigError, match="defaults must be an object"):
            instance.load()


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "\ud800", "\x7f"], ids=ascii)
@pytest.mark.parametrize("field", ["imageId", "instanceTags", "vmTypes", "subnetId"])
def test_text_that_no_cloud_takes_is_an_error_of_its_field(instance: Instance, field: str, text: str) -> None:
    value = {"instanceTags": {"key": text}, "vmTypes": {text: 1}, "subnetId": ["subnet-1", text]}.get(field, text)
    instance.write({"templateId": "odd", "maxNumber": 1, field: value})
    found = instance.load()
    assert found.get("odd") is None
    assert any(problem.field == field and "control character" in problem.message for problem in found.problems)
