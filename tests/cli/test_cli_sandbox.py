"""`hfcore sandbox`: started, asked, used by a shell, stopped."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.cli.output import ExitCode
from hfcore.testing.aws import parse_faults
from hfcore.testing.aws.faults import AFTER, KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def folder(cli: Callable[..., Any], tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "my sandbox"
    yield path
    cli("sandbox", "stop", "--folder", path)


def test_it_starts_once_tells_how_to_reach_it_and_stops(cli: Callable[..., Any], folder: Path) -> None:
    (started,) = cli("sandbox", "start", "--folder", folder).items
    assert (started["status"], started["folder"]) == ("running", str(folder))
    assert started["environment"]["AWS_ENDPOINT_URL"] == started["endpoint_url"]
    assert started["subnets"]
    (again,) = cli("sandbox", "start", "--folder", folder).items
    assert again["pid"] == started["pid"]
    assert cli("sandbox", "status", "--folder", folder).items == [started]
    (stopped,) = cli("sandbox", "stop", "--folder", folder).items
    assert stopped["status"] == "stopped"
    ended = cli("sandbox", "status", "--folder", folder)
    assert (ended.code, ended.items[0]["status"]) == (ExitCode.FAILED, "stopped")


def test_its_environment_is_for_a_shell_unless_json_is_asked_for(
    cli: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (started,) = cli("sandbox", "start", "--folder", folder).items
    monkeypatch.setenv("HFCORE_OUTPUT", "json")
    lines = cli("sandbox", "env", "--folder", folder).out
    assert dict(shlex.split(line)[1].split("=", 1) for line in lines.splitlines()) == started["environment"]
    shell = subprocess.run(
        ["/bin/sh", "-c", f'eval {shlex.quote(lines)}; echo "$AWS_ENDPOINT_URL"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.strip() == started["endpoint_url"]
    assert cli("sandbox", "env", "--folder", folder, "-o", "json").items == [started["environment"]]


def test_env_of_a_stopped_one_gives_a_shell_nothing_to_run(cli: Callable[..., Any], folder: Path) -> None:
    ended = cli("sandbox", "env", "--folder", folder)
    assert (ended.code, ended.out) == (ExitCode.FAILED, "")
    assert "hfcore sandbox start" in ended.err


def test_its_default_folder_is_the_users_own(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert cli("sandbox", "status").items[0]["folder"] == str(tmp_path / "hfcore-sandbox")


def test_without_its_extra_the_error_has_the_command_that_installs_it(
    process: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "botocore.py").write_text("raise ModuleNotFoundError('No module', name='botocore')")
    ended = process("sandbox", "status", PYTHONPATH=str(tmp_path))
    assert ended.code == ExitCode.PLUGIN
    assert "pip install 'hfcore[testing]'" in ended.document["error"]["hint"]


def test_it_starts_with_faults_tells_them_and_gets_others_while_it_runs(cli: Callable[..., Any], folder: Path) -> None:
    words = ("--fault", "capacity:m5.large/us-east-1a/spot=0", "--fault", "throttle:RunInstances*2")
    (started,) = cli("sandbox", "start", "--folder", folder, *words).items
    assert started["faults"] == ["capacity:m5.large/us-east-1a/spot=0", "throttle:RunInstances*2"]
    (changed,) = cli("sandbox", "fault", "--folder", folder, "reclaim=1").items
    assert changed["faults"] == [*started["faults"], "reclaim=1"]
    (again,) = cli("sandbox", "start", "--folder", folder, "--fault", "latency=1").items
    assert (again["pid"], again["faults"]) == (started["pid"], [*changed["faults"], "latency=1"])
    assert cli("sandbox", "status", "--folder", folder).items == [again]
    (only,) = cli("sandbox", "fault", "--folder", folder, "--clear", "reset@0.1", "seed=7").items
    assert only["faults"] == ["reset@0.1"]
    (none,) = cli("sandbox", "fault", "--folder", folder, "--clear").items
    assert none["faults"] == []


@pytest.mark.parametrize("words", [("start", "--fault"), ("fault",)])
def test_a_fault_that_can_not_be_read_starts_and_changes_nothing_and_names_the_kinds(
    cli: Callable[..., Any], folder: Path, words: tuple[str, ...]
) -> None:
    ended = cli("sandbox", *words, "flood", "--folder", folder)
    assert ended.code == ExitCode.FAILED
    assert "throttle, server-error" in ended.document["error"]["message"]
    assert "--help" in ended.document["error"]["hint"]
    assert cli("sandbox", "status", "--folder", folder).items[0]["status"] == "stopped"


def test_faults_need_a_sandbox_that_runs_and_something_to_do(cli: Callable[..., Any], folder: Path) -> None:
    ended = cli("sandbox", "fault", "reclaim=1", "--folder", folder)
    assert (ended.code, "hfcore sandbox start" in ended.err) == (ExitCode.FAILED, True)
    ended = cli("sandbox", "fault", "--folder", folder)
    assert (ended.code, "--clear" in ended.err) == (ExitCode.FAILED, True)


@pytest.mark.parametrize("command", ["start", "fault"])
def test_its_help_names_every_kind_of_fault(cli: Callable[..., Any], command: str) -> None:
    shown = cli("sandbox", command, "--help").out
    assert [kind for kind in KINDS if kind not in shown] == []
    assert [kind for kind in AFTER if f"{kind}-after" not in shown] == []
    examples = shlex.split(shown.partition("Examples:")[2].partition("╭")[0])
    assert len(parse_faults(*examples)) == len(examples) == 5
