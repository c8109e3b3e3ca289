"""`hfcore config show`: every setting, its value and its origin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hfcore.cli.output import ExitCode
from hfcore.config import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def by_name(ended: Any) -> dict[str, Any]:  # noqa: ANN401 - conftest's own type
    return {item["name"]: item for item in ended.items}


def test_every_setting_has_a_value_and_an_origin(
    cli: Callable[..., Any], instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (instance / "conf" / "hfcore.toml").write_text('fallback = "error"')
    (instance / "conf" / "awsprov_config.json").write_text(json.dumps({"AWS_REGION": "eu-west-1"}))
    monkeypatch.setenv("HFCORE_LOG_LEVEL", "debug")
    found = by_name(cli("config", "show", "--provider", instance))
    assert list(found) == list(SETTINGS)
    assert (found["fallback"]["value"], found["fallback"]["origin"]) == ("error", "hfcore.toml")
    assert (found["region"]["value"], found["region"]["origin"]) == ("eu-west-1", "awsprov_config.json")
    assert (found["log_level"]["value"], found["log_level"]["origin"]) == ("debug", "HFCORE_LOG_LEVEL")
    assert (found["conf_dir"]["value"], found["conf_dir"]["origin"]) == (str(instance / "conf"), "--provider")
    assert found["retention_hours"]["origin"] == "default"


def test_warnings_and_keys_without_effect_are_told(cli: Callable[..., Any], instance: Path) -> None:
    content = {"AWS_REGIO": "x", "AWS_KEY_FILE": "key.pem"}
    (instance / "conf" / "awsprov_config.json").write_text(json.dumps(content))
    document = cli("config", "show", "--provider", instance).document
    assert "AWS_REGIO is not known" in document["warnings"][0]
    assert document["without_effect"].keys() == {"AWS_KEY_FILE"}
    table = cli("config", "show", "--provider", instance, "-o", "table")
    assert "warning: " in table.err
    assert "note: AWS_KEY_FILE has no effect" in table.err


def test_it_works_without_an_instance_as_far_as_it_can(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFCORE_REGION", "eu-west-1")
    ended = cli("config", "show")
    found = by_name(ended)
    assert ended.code == 0
    assert (found["region"]["value"], found["region"]["origin"]) == ("eu-west-1", "HFCORE_REGION")
    assert (found["work_dir"]["value"], found["work_dir"]["origin"]) == (None, "not named")
    assert ended.document["warnings"] == ["no provider instance is named"]


def test_a_log_that_cannot_be_written_is_told(cli: Callable[..., Any], instance: Path) -> None:
    (instance / "log").rmdir()
    (instance / "log").write_text("a file where the folder should be")
    (warning,) = cli("config", "show", "--provider", instance).document["warnings"]
    assert "there is no log" in warning


def test_a_setting_that_is_wrong_ends_with_the_code_for_configuration(cli: Callable[..., Any], instance: Path) -> None:
    (instance / "conf" / "hfcore.toml").write_text("retention_hours = 0")
    ended = cli("config", "show", "--provider", instance)
    assert ended.code == ExitCode.CONFIG
    assert "retention_hours" in ended.document["error"]["message"]
