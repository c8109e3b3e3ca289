"""`hfcore templates`: list, show, and every problem with its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.cli.output import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("good")


def test_list_has_a_row_for_each_template_and_for_those_left_out(
    cli: Callable[..., Any], instance: Path, templates: Callable[..., Path]
) -> None:
    templates({}, {"templateId": "NoLimit", "maxNumber": -1}, {"templateId": "Wrong", "vmType": None})
    ended = cli("templates", "list", "--provider", instance)
    small, unlimited, wrong = ended.items
    assert ended.code == 0
    assert (small["provider_api"], small["max_number"], small["available"]) == ("Fake", 5, 5)
    assert (unlimited["max_number"], unlimited["available"]) == (-1, None)
    assert small["usable"]
    assert not wrong["usable"]
    assert wrong["problems"][0]["field"] == "vmType"
    table = cli("templates", "list", "--provider", instance, "-o", "table")
    assert "no limit" in table.out
    assert "1 error" in table.out
    assert "hfcore templates validate" in table.err


def test_a_template_that_a_mistake_in_the_defaults_leaves_out_is_listed_with_it(
    cli: Callable[..., Any], instance: Path
) -> None:
    templates = [{"templateId": "Out"}, {"templateId": "In", "vmType": "m5.large", "maxNumber": 1}]
    file = instance / "conf" / "awsprov_templates.json"
    file.write_text(json.dumps({"defaults": {"providerApi": "Fake", "maxNumber": "many"}, "templates": templates}))
    usable, out = cli("templates", "list", "--provider", instance).items
    assert (usable["template_id"], usable["usable"], usable["provider_api"]) == ("In", True, "Fake")
    assert (out["template_id"], out["usable"]) == ("Out", False)
    assert "wrong in defaults" in out["problems"][0]["message"]
    told = cli("templates", "validate", "--provider", instance).items
    assert ("", "defaults.maxNumber") in {(item["template_id"], item["field"]) for item in told}


def test_show_has_every_field_and_what_host_factory_is_told(cli: Callable[..., Any], instance: Path) -> None:
    (item,) = cli("templates", "show", "Small", "--provider", instance).items
    assert item["vm_types"] == {"m5.large": 1}
    assert item["image_id"] is None
    assert item["host_factory"]["templateId"] == "Small"
    assert item["host_factory"]["attributes"]["ncpus"] == ["Numeric", "1"]


def test_show_keeps_user_data_to_itself(
    cli: Callable[..., Any], instance: Path, templates: Callable[..., Path], install: Callable[..., None], good: str
) -> None:
    install(good.replace('"fakeField"', '"userData"'), name="Other", distribution="hfcore-other")
    templates({"userData": "token=s3cret"})
    ended = cli("templates", "show", "Small", "--provider", instance)
    assert ended.code == 0
    assert "s3cret" not in ended.out


@pytest.mark.parametrize(("template_id", "code"), [("Wrong", ExitCode.CONFIG), ("Smal", ExitCode.FAILED)])
def test_show_of_a_template_that_cannot_be_used_says_why(
    cli: Callable[..., Any], instance: Path, templates: Callable[..., Path], template_id: str, code: int
) -> None:
    templates({}, {"templateId": "Wrong", "vmType": None})
    ended = cli("templates", "show", template_id, "--provider", instance)
    assert ended.code == code
    assert template_id in ended.document["error"]["message"]


def test_validate_tells_every_problem_with_file_template_field_and_hint(
    cli: Callable[..., Any], instance: Path, templates: Callable[..., Path]
) -> None:
    templates({"vmTypo": 1}, {"templateId": "Wrong", "maxNumber": "many", "priceType": "cheap"})
    ended = cli("templates", "validate", "--provider", instance)
    assert ended.code == ExitCode.CONFIG
    found = {(item["template_id"], item["field"]): item for item in ended.items}
    assert found.keys() >= {("Small", "vmTypo"), ("Wrong", "maxNumber"), ("Wrong", "priceType")}
    assert found["Small", "vmTypo"]["severity"] == "warning"
    assert "vmType" in found["Small", "vmTypo"]["hint"]
    assert {item["file"] for item in ended.items} == {"awsprov_templates.json"}
    assert ended.document["usable_templates"] == 1


def test_validate_is_content_with_warnings_and_with_nothing(
    cli: Callable[..., Any], instance: Path, templates: Callable[..., Path]
) -> None:
    assert cli("templates", "validate", "--provider", instance, "-o", "table").out == "no problem in 1 template\n"
    templates({"vmTypo": 1})
    assert cli("templates", "validate", "--provider", instance).code == 0


def test_validate_writes_nothing_into_the_instance(cli: Callable[..., Any], instance: Path) -> None:
    before = sorted(instance.rglob("*"))
    assert cli("templates", "validate", "--provider", instance).code == 0
    assert sorted(instance.rglob("*")) == before


def test_validate_takes_files_without_any_instance(cli: Callable[..., Any], tmp_path: Path) -> None:
    right, wrong, no_json = (tmp_path / name for name in ("right.json", "wrong one.json", "no.json"))
    sample = {"templateId": "T", "providerApi": "Fake", "vmType": "m5.large"}
    right.write_text(json.dumps({"templates": [sample]}))
    wrong.write_text(json.dumps({"templates": [sample | {"vmType": ""}]}))
    no_json.write_text("{")
    ended = cli("templates", "validate", right, wrong, no_json, tmp_path / "missing.json")
    errors = [item for item in ended.items if item["severity"] == "error"]
    assert ended.code == ExitCode.CONFIG
    assert [item["file"] for item in errors] == [str(wrong), str(no_json), str(tmp_path / "missing.json")]
    assert errors[0]["field"] == "vmType"
    assert errors[1]["message"].startswith(f"{no_json} is not JSON")
    assert cli("templates", "validate", right).code == 0


def test_a_file_is_judged_by_the_settings_of_the_instance_that_is_named(
    cli: Callable[..., Any], instance: Path, templates: Callable[..., Path]
) -> None:
    file = templates({})
    (instance / "conf" / "hfcore.toml").write_text('disabled_plugins = ["Fake"]')
    assert cli("templates", "validate", file).code == 0
    assert cli("templates", "validate", file, "--provider", instance).code == ExitCode.CONFIG


def test_without_an_instance_the_error_says_how_to_name_one(cli: Callable[..., Any]) -> None:
    ended = cli("templates", "list")
    assert ended.code == ExitCode.CONFIG
    assert "--provider" in ended.document["error"]["hint"]
