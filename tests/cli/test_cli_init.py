"""`hfcore init`, and the scripts that it lays out, run as Host Factory runs them."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfcore import plugins
from hfcore.cli.hostfactory import VERBS
from hfcore.config import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTILE = 'a b\'c "d" $HOME `id` ;&é'


def results(ended: Any) -> dict[str, str]:  # noqa: ANN401 - conftest's own type
    return {Path(item["path"]).name: item["result"] for item in ended.items}


def call_script(
    script: Path, *words: str, cwd: str | Path = "/", environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script with Host Factory's bare environment."""
    return subprocess.run(
        [str(script), *words],
        env=environ or {},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_it_lays_out_folders_settings_a_sample_and_ten_scripts(cli: Callable[..., Any], tmp_path: Path) -> None:
    ended = cli("init", "--provider", tmp_path / "aws1")
    assert ended.code == 0
    found = results(ended)
    assert set(found.values()) == {"written"}
    scripts = {f"{verb}{end}" for verb in VERBS for end in (".sh", ".bat")}
    files = {"hfcore.toml", "aws1prov_config.json", "aws1prov_templates.json"}
    assert found.keys() == scripts | files | {"conf", "work", "log", "scripts"}
    for item in ended.items:
        path = Path(item["path"])
        private = 0o700 if path.is_dir() or path.parent.name == "scripts" else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == private


def test_a_second_run_changes_nothing_and_says_so(cli: Callable[..., Any], tmp_path: Path) -> None:
    cli("init", "--provider", tmp_path / "aws1")
    sample = tmp_path / "aws1" / "conf" / "aws1prov_templates.json"
    sample.write_text("edited")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert set(results(cli("init", "--provider", tmp_path / "aws1")).values()) == {"kept"}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_files_that_a_user_brought_keep_their_effect(cli: Callable[..., Any], tmp_path: Path) -> None:
    conf = tmp_path / "mine" / "conf"
    conf.mkdir(parents=True)
    (conf / "awsprov_templates.json").write_text('{"templates": []}')
    (conf / "awsprov_config.json").write_text("{}")
    found = results(cli("init", "--provider", tmp_path / "mine"))
    assert found["awsprov_templates.json"] == found["awsprov_config.json"] == "kept"
    assert not list(conf.glob("mineprov*"))


def test_what_it_lays_out_is_read_without_a_warning(cli: Callable[..., Any], tmp_path: Path, good: str) -> None:
    cli("init", "--provider", tmp_path / "aws1")
    settings = load_settings(environ={}, provider=str(tmp_path / "aws1"))
    assert settings.warnings == ()
    assert settings.origin("region") == "aws1prov_config.json"
    problems = cli("templates", "validate", "--provider", tmp_path / "aws1").items
    assert [problem for problem in problems if problem["field"] != "providerApi"] == []


def test_where_no_plug_in_is_of_aws_the_sample_is_for_the_one_that_is_installed(
    cli: Callable[..., Any], tmp_path: Path, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    those = plugins.installed
    monkeypatch.setattr(plugins, "installed", lambda *a: tuple(one for one in those(*a) if one.name == "Fake"))
    ended = cli("init", "--provider", tmp_path / "other")
    assert "put what Fake needs of a template into the files in conf" in ended.err
    (sample,) = json.loads((tmp_path / "other" / "conf" / "otherprov_templates.json").read_text())["templates"]
    assert sample["providerApi"] == "Fake"
    assert not sample.keys() & {"imageId", "subnetId", "vmType"}
    assert json.loads((tmp_path / "other" / "conf" / "otherprov_config.json").read_text()) == {}


def test_every_commented_setting_can_be_switched_on(cli: Callable[..., Any], tmp_path: Path) -> None:
    cli("init", "--provider", tmp_path / "aws1")
    toml = tmp_path / "aws1" / "conf" / "hfcore.toml"
    settings = load_settings(environ={}, provider=str(tmp_path / "aws1"))
    lines = [line.removeprefix("# ") for line in toml.read_text().splitlines() if re.match(r"# \w+ = [^ ]", line)]
    assert len(lines) > 15
    toml.write_text("\n".join(lines))
    switched_on = load_settings(environ={}, provider=str(tmp_path / "aws1"))
    for line in lines:
        name = line.split(" = ")[0]
        assert getattr(switched_on, name) == getattr(settings, name)


def test_folders_come_from_flags_before_host_factorys_environment(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("CONF", "WORK", "LOG"):
        monkeypatch.setenv(f"HF_PROVIDER_{part}DIR", str(tmp_path / "hf" / part))
    monkeypatch.setenv("HF_PROVIDER_NAME", "fromhf")
    ended = cli("init", "--scripts", tmp_path / "plugin" / "scripts", "--work-dir", tmp_path / "elsewhere")
    assert ended.document["host_providers"] == {
        "version": 2,
        "providers": [
            {
                "name": "fromhf",
                "enabled": 1,
                "plugin": "fromhf",
                "confPath": f"{tmp_path}/hf/CONF/",
                "workPath": f"{tmp_path}/elsewhere/",
                "logPath": f"{tmp_path}/hf/LOG/",
            }
        ],
    }
    assert ended.document["host_provider_plugins"] == {
        "version": 2,
        "providerplugins": [{"name": "fromhf", "enabled": 1, "scriptPath": f"{tmp_path}/plugin/scripts/"}],
    }
    assert (tmp_path / "hf" / "CONF" / "fromhfprov_templates.json").is_file()


def test_a_name_means_an_instance_under_host_factorys_own_folders(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("CONF", "WORK", "LOG"):
        monkeypatch.setenv(f"HF_{part}DIR", str(tmp_path / part))
    assert cli("init", "--provider", "aws1", "--scripts", tmp_path / "scripts").code == 0
    assert (tmp_path / "CONF" / "providers" / "aws1" / "aws1prov_templates.json").is_file()
    assert cli("templates", "validate", "--provider", "aws1").code in (0, 3)


def test_a_table_has_the_json_to_copy(cli: Callable[..., Any], tmp_path: Path) -> None:
    out = cli("init", "--provider", tmp_path / "aws1", "--name", "other", "-o", "table").out
    _, plugins, providers = re.split(r"host\w+\.json:\n", out)
    assert json.loads(plugins)["providerplugins"][0]["name"] == "other"
    assert json.loads(providers)["providers"][0]["confPath"] == f"{tmp_path}/aws1/conf/"


@pytest.mark.parametrize("words", [(), ("--conf-dir", "c", "--work-dir", "w", "--log-dir", "l")])
def test_what_is_not_named_is_asked_for_by_an_error_and_nothing_is_written(
    cli: Callable[..., Any], tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = cli("init", *words)
    assert ended.code == 1
    assert "--provider DIR" in ended.document["error"]["hint"] or "--scripts" in ended.document["error"]["hint"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def hostile(cli: Callable[..., Any], tmp_path: Path) -> Path:
    """An instance in a folder whose name is full of a shell's own characters."""
    folder = tmp_path / HOSTILE
    assert cli("init", "--provider", folder, "--name", "aws1").code == 0
    return folder


def test_scripts_work_with_hostile_paths_and_a_bare_environment(hostile: Path, tmp_path: Path) -> None:
    request = tmp_path / "in $(x) 'y'.json"
    request.write_text('{"requests": [{"requestId": "req-none"}]}')
    ended = call_script(hostile / "scripts" / "getRequestStatus.sh", "-f", str(request))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["requests"][0]["status"] == "complete_with_error"
    assert (hostile / "work" / "data" / "storage.json").is_file()


def test_every_script_calls_its_own_verb(hostile: Path) -> None:
    for verb in VERBS:
        ended = call_script(hostile / "scripts" / f"{verb}.sh", "--data", "[]")
        assert ended.returncode == 1
        assert "a JSON object is needed" in json.loads(ended.stdout)["message"]
        assert f"hostfactory {verb} " in (hostile / "scripts" / f"{verb}.bat").read_text()


def test_host_factorys_folders_win_over_the_scripts(hostile: Path, tmp_path: Path) -> None:
    for part in ("conf", "work", "log"):
        shutil.copytree(hostile / part, tmp_path / "hf" / part)
    environ = {f"HF_PROVIDER_{part.upper()}DIR": str(tmp_path / "hf" / part) for part in ("conf", "work", "log")}
    environ["HF_PROVIDER_NAME"] = "aws1"
    ended = call_script(hostile / "scripts" / "getRequestStatus.sh", "req-none", environ=environ)
    assert ended.returncode == 0
    assert (tmp_path / "hf" / "work" / "data").is_dir()
    assert not (hostile / "work" / "data").exists()


def test_a_file_in_the_current_folder_never_stands_in_for_a_module(hostile: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "json.py").write_text("raise SystemExit('trapped')")
    ended = call_script(hostile / "scripts" / "getRequestStatus.sh", "req-none", cwd=trap)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_script_whose_python_is_gone_answers_in_json(hostile: Path) -> None:
    script = hostile / "scripts" / "getReturnRequests.sh"
    script.write_text(script.read_text().replace(sys.executable, "/nowhere/python"))
    ended = call_script(script)
    assert ended.returncode == 1
    assert "install hfcore" in json.loads(ended.stdout)["message"]


def test_batch_files_keep_percent_signs_and_have_windows_line_ends(cli: Callable[..., Any], tmp_path: Path) -> None:
    cli("init", "--provider", tmp_path / "100%", "--name", "aws1")
    text = (tmp_path / "100%" / "scripts" / "requestMachines.bat").read_bytes()
    assert b"100%%" in text
    assert text.count(b"\n") == text.count(b"\r\n")
    assert b"@" not in text.replace(b"@echo off", b"")


def test_a_folder_that_cannot_be_made_is_an_error_not_a_bug(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "aws1").write_text("a file")
    ended = cli("init", "--provider", tmp_path / "aws1")
    assert ended.code == 1
    assert ended.document["error"]["code"] == "HF4003"
