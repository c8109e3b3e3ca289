"""What holds for every command: global options, results, errors, exit codes, and the verbs' two ways."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hfcore import __version__
from hfcore.cli import app as application
from hfcore.cli.hostfactory import VERBS
from hfcore.cli.output import ExitCode, Output, exit_code
from hfcore.errors import (
    CapacityExceeded,
    CloudError,
    HfcoreError,
    InputError,
    PluginUnusable,
    StoreLocked,
    TemplateError,
)
from hfcore.models import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def on_terminal(*words: object, columns: int = 100) -> tuple[str, int]:
    """Run a command whose stdout is a terminal of so many columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"COLUMNS": str(columns), "TERM": "xterm-256color"}
        os.execv(sys.executable, [sys.executable, "-m", "hfcore", *map(str, words)])
    out = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how Linux ends a terminal
            break
        if not part:
            break
        out += part
    os.close(terminal)
    return out.decode().replace("\r", ""), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_version_names_hfcore_python_and_the_plugins(cli: Callable[..., Any], good: str) -> None:
    ended = cli("--version")
    assert ended.code == 0
    assert ended.out.startswith(f"hfcore {__version__} (python {sys.version.split()[0]})  plugins: ")
    assert "Fake 1.0" in ended.out


@pytest.mark.parametrize(
    "words",
    [
        ("--output", "json", "plugins", "list"),
        ("plugins", "--output=json", "list"),
        ("plugins", "list", "-ojson"),
        ("plugins", "list", "--debug", "-o", "json"),
    ],
)
def test_global_options_may_stand_anywhere(cli: Callable[..., Any], words: tuple[str, ...], good: str) -> None:
    assert cli(*words).document["schema"] == "hfcore/plugins/v1"


def test_words_behind_two_dashes_are_no_options(cli: Callable[..., Any], good: str) -> None:
    ended = cli("plugins", "show", "--", "--debug")
    assert "'--debug' is not installed" in ended.document["error"]["message"]


def test_a_pipe_gets_json_and_a_terminal_a_table_that_fits_it(good: str) -> None:
    out, code = on_terminal("plugins", "list", columns=100)
    assert code == 0
    assert "\x1b[" in out
    assert "NAME" in out
    assert "Fake" in out
    assert max(len(line) for line in _without_colours(out).splitlines()) <= 100


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("how", ["--no-color", "NO_COLOR"])
def test_colours_can_be_switched_off(good: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    out, _ = on_terminal("plugins", "list", *([how] if how == "--no-color" else []))
    assert "\x1b" not in out


def test_ids_are_never_cut_on_a_narrow_terminal(instance: Path, machines: tuple[str, ...]) -> None:
    out, _ = on_terminal("machines", "list", "--provider", instance, "--no-color", columns=40)
    columns = [line.split("  ")[0].strip() for line in out.splitlines()[1:]]
    assert machines[0] in "".join(columns)


def test_the_environment_can_choose_the_output(
    cli: Callable[..., Any], good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFCORE_OUTPUT", "table")
    assert cli("plugins", "list").out.startswith("NAME")
    assert cli("plugins", "list", "-o", "json").document["items"]
    monkeypatch.setenv("HFCORE_OUTPUT", "yaml")
    assert cli("plugins", "list").code == ExitCode.CONFIG


def test_an_error_is_a_line_for_people_and_json_for_programs(cli: Callable[..., Any], good: str) -> None:
    ended = cli("plugins", "show", "Nothing")
    assert ended.err.startswith("error[HF2041]: provider API 'Nothing' is not installed\nhint: ")
    assert ended.document["error"] | {"hint": ""} == {
        "code": "HF2041",
        "message": "provider API 'Nothing' is not installed",
        "hint": "",
        "retryable": False,
    }
    assert cli("plugins", "show", "Nothing", "-o", "table").out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), ExitCode.FAILED),
        (TemplateError("x"), ExitCode.CONFIG),
        (PluginUnusable("x"), ExitCode.PLUGIN),
        (CloudError(Fault(code="UnauthorizedOperation", message="x")), ExitCode.PROVIDER),
        (CloudError(Fault(code="Throttling", message="x", kind=FaultKind.THROTTLE)), ExitCode.TEMPFAIL),
        (CapacityExceeded("x"), ExitCode.TEMPFAIL),
        (StoreLocked("x"), ExitCode.TEMPFAIL),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: HfcoreError, code: ExitCode) -> None:
    assert exit_code(error) is code


def test_words_that_make_no_sense_are_a_usage_error_with_nothing_on_stdout(cli: Callable[..., Any]) -> None:
    for words in (("plugin",), ("plugins", "list", "--nonsense"), ("-o", "yaml", "plugins", "list")):
        ended = cli(*words)
        assert (ended.code, ended.out) == (ExitCode.USAGE, "")
        assert ended.err


def _raise(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_bug_is_one_line_and_its_traceback_goes_to_the_log(
    cli: Callable[..., Any], instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfcore.plugins.Plugins.records", _raise(ZeroDivisionError("oh")))
    ended = cli("plugins", "list", "--provider", instance)
    log = instance / "log" / "hfcore.log"
    assert ended.code == ExitCode.FAILED
    assert ended.document["error"]["message"] == "this is a bug in hfcore: ZeroDivisionError: oh"
    assert ended.err.splitlines() == [
        "error[HF9001]: this is a bug in hfcore: ZeroDivisionError: oh",
        f"hint: the traceback is in {log}",
    ]
    assert "Traceback" in log.read_text()


def test_a_bug_before_there_is_a_log_tells_how_to_see_more(
    cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfcore.plugins.Plugins.records", _raise(ZeroDivisionError("oh")))
    ended = cli("plugins", "list")
    assert "Traceback" not in ended.err
    assert "--debug" in ended.document["error"]["hint"]
    assert "Traceback" in cli("plugins", "list", "--debug").err


def test_debug_shows_where_an_error_comes_from(cli: Callable[..., Any]) -> None:
    assert "Traceback" in cli("plugins", "show", "Nothing", "--debug").err


def test_an_interrupted_command_ends_with_130(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfcore.plugins.Plugins.records", _raise(KeyboardInterrupt()))
    assert cli("plugins", "list").code == ExitCode.INTERRUPTED


def test_help_names_every_command(cli: Callable[..., Any]) -> None:
    out = cli("--help").out
    assert all(group in out for group in (*application.GROUPS, "hostfactory"))
    out = cli("hostfactory", "--help").out
    assert all(verb in out for verb in VERBS)


def test_help_of_a_command_tells_of_the_options_for_all(cli: Callable[..., Any]) -> None:
    for words in (("plugins", "list"), ("hostfactory", "requestMachines"), ("init",)):
        assert "--provider" in cli(*words, "--help").out


def test_a_closed_stdout_changes_nothing_but_the_answer(good: str) -> None:
    command = f"exec {sys.executable} -m hfcore plugins list --check -o table >&-"
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_terminal_without_unicode_gets_a_table_all_the_same(process: Callable[..., Any], good: str) -> None:
    ended = process("plugins", "list", "-o", "table", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ended.code == 0
    assert "Machines in memory." in ended.out


def test_a_command_imports_no_other_group_and_no_cloud() -> None:
    code = (
        "import sys; from hfcore.cli import main; main(['config', 'show']); "
        "print(sorted({'boto3', 'botocore', 'rich.table', 'hfcore.cli.init', 'hfcore.store'} "
        "& set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "[]"


def test_a_closed_pipe_is_no_bug(good: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "hfcore", "plugins", "list"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (ExitCode.FAILED, "")


def test_text_from_outside_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error("HF1001", "evil \x1b[2J name")
    assert "\x1b" not in capsys.readouterr().err


def test_verbs_answer_the_same_by_the_short_way_and_by_typer(
    process: Callable[..., Any], instance: Path, good: str
) -> None:
    verb = ("hostfactory", "getAvailableTemplates")
    short = process(*verb, "--provider", instance)
    typer = process("--provider", instance, *verb)
    assert short.code == typer.code == 0
    assert json.loads(short.out) == json.loads(typer.out)
    assert [each["templateId"] for each in short.document["templates"]] == ["Small"]
    assert short.err == typer.err == ""


@pytest.mark.parametrize("given", [("--data", '{"requests": []}'), ("-f", "{file}"), ("req-1",), ("--file", "{file}")])
def test_every_way_of_input_reaches_a_verb_through_typer(
    process: Callable[..., Any], instance: Path, tmp_path: Path, given: tuple[str, ...]
) -> None:
    file = tmp_path / "in file.json"
    file.write_text('{"requests": [{"requestId": "req-1"}]}')
    words = [word.format(file=file) if word == "{file}" else word for word in given]
    by_typer = process("--provider", instance, "hostfactory", "getRequestStatus", *words)
    by_short = process("hostfactory", "getRequestStatus", *words, "--provider", instance)
    assert by_typer.document == by_short.document
    assert by_typer.code == by_short.code == 0
