"""`hfcore plugins`: what is installed and whether it can be used."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfcore import __version__
from hfcore.cli.output import ExitCode
from tests.cli.conftest import GOOD

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD_SUMMARY = "Machines in memory. …"


def row(cli: Callable[..., Any], name: str, *words: object) -> dict[str, Any]:
    return next(item for item in cli("plugins", "list", *words).items if item["name"] == name)


def test_a_good_plugin_is_active_and_tells_what_it_provides(cli: Callable[..., Any], good: str) -> None:
    found = row(cli, "Fake")
    assert (found["status"], found["version"], found["hook_version"]) == ("active", "1.0", 1)
    assert found["summary"] == GOOD_SUMMARY
    assert found["distribution"] == "hfcore-fake"
    assert found["source"].endswith("/site")
    assert "provision" in found["hooks"]


OBSERVER = "from hfcore.hookspecs import hookimpl\n@hookimpl\ndef on_event(event): pass\n"


def test_an_observer_is_a_row_too_and_one_that_cannot_be_used_has_its_reason(
    cli: Callable[..., Any], install: Callable[..., None], good: str
) -> None:
    greedy = OBSERVER.replace("(event)", "(event, context)")
    for name, code in (("Watch", OBSERVER), ("Deaf", OBSERVER.replace("on_event", "event")), ("Greedy", greedy)):
        install(code, name=name, distribution=f"hfcore-{name.lower()}", group="hfcore.observers")
    found = {item["name"]: item for item in cli("plugins", "list").items if item["group"] == "hfcore.observers"}
    assert {name: item["status"] for name, item in found.items()} == {
        "Watch": "active",
        "Deaf": "failed",
        "Greedy": "failed",
    }
    assert "on_event" in found["Deaf"]["reason"]
    assert "context" in found["Greedy"]["reason"]
    assert "observer: told of" in cli("plugins", "list", "--output", "table").out
    assert cli("plugins", "show", "watch").items[0]["hooks"] == ["on_event"]
    assert [cli("plugins", "check", name).code for name in ("Watch", "Deaf")] == [0, ExitCode.PLUGIN]


@pytest.mark.parametrize(
    ("old", "new", "status", "reason"),
    [
        ("INFO =", "import no_such_module\nINFO =", "failed", "No module named 'no_such_module'"),
        ("INFO =", "raise SystemExit('off')\nINFO =", "failed", "SystemExit: off"),
        ("def cleanup(requests, context)", "def cleanup(requests, wrong)", "failed", "wrong"),
        ("def cleanup(", "def tidy_up(", "failed", "cleanup"),
        ("hook_version=1", "hook_version=99", "incompatible", "hook version 99"),
        ("return INFO", "return 'me'", "failed", "returned str"),
    ],
    ids=["broken import", "exits", "wrong signature", "missing hook", "wrong hook version", "no info"],
)
def test_a_plugin_that_cannot_be_used_is_a_row_with_its_reason_and_harms_no_other(
    cli: Callable[..., Any], install: Callable[..., None], good: str, old: str, new: str, status: str, reason: str
) -> None:
    assert old in good
    install(good.replace(old, new), name="Broken", distribution="hfcore-broken")
    ended = cli("plugins", "list")
    found = {item["name"]: item for item in ended.items}
    assert ended.code == 0
    assert found["Broken"]["status"] == status
    assert reason in found["Broken"]["reason"]
    assert found["Fake"]["status"] == "active"
    assert cli("plugins", "list", "--check").code == ExitCode.PLUGIN


def test_check_is_content_when_every_plugin_is_usable_or_switched_off(
    cli: Callable[..., Any], good: str, instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("plugins", "list", "--check").code == 0
    monkeypatch.setenv("HFCORE_DISABLED_PLUGINS", "fake")
    assert cli("plugins", "list", "--check", "--provider", instance).code == 0
    assert row(cli, "Fake", "--provider", instance)["status"] == "disabled"


def test_two_distributions_that_claim_one_name_are_in_conflict_until_a_setting_decides(
    cli: Callable[..., Any], install: Callable[..., None], good: str, instance: Path
) -> None:
    install(good, name="fake", distribution="other-fake")
    shown = cli("plugins", "show", "FAKE").items
    assert [item["status"] for item in shown] == ["conflict", "conflict"]
    assert "hfcore-fake and other-fake both claim" in shown[0]["reason"]
    assert cli("plugins", "check", "Fake").code == ExitCode.PLUGIN
    (way,) = re.findall(r"or (plugins = \S+ = \S+) into hfcore.toml", shown[0]["reason"])
    assert way == 'plugins = {Fake = "other-fake"}'
    (instance / "conf" / "hfcore.toml").write_text(way)
    decided = cli("plugins", "show", "Fake", "--provider", instance).items
    assert {item["distribution"]: item["status"] for item in decided} == {
        "hfcore-fake": "disabled",
        "other-fake": "active",
    }
    assert 'write plugins = {Fake = "hfcore-fake"} to use this one' in decided[0]["reason"]
    rows = {row["name"]: row["status"] for row in cli("plugins", "check", "Fake", "--provider", instance).items}
    assert rows["Fake of hfcore-fake 1.0"] == "not checked"
    assert rows["fake of other-fake 1.0"] == "ok"


def test_show_tells_all_that_a_plugin_says_of_itself(cli: Callable[..., Any], good: str) -> None:
    (item,) = cli("plugins", "show", "fake").items
    assert item["iam_actions"] == ["fake:Launch"]
    assert item["template_fields"] == ["fakeField", "vmType", "priceType"]
    assert item["call_budgets"] == {"status": "1 call"}


def test_show_tells_why_a_plugin_does_not_honour_a_field(
    cli: Callable[..., Any], install: Callable[..., None], good: str
) -> None:
    reasons = """without_effect={"keyName": "nobody logs in"}, refused_fields={"efaCount": "no fabric"},"""
    install(good.replace("call_budgets", f"{reasons} call_budgets"), name="Other", distribution="hfcore-other")
    (item,) = cli("plugins", "show", "Other").items
    assert item["without_effect"] == {"keyName": "nobody logs in"}
    assert item["refused_fields"] == {"efaCount": "no fabric"}
    assert "keyName: nobody logs in" in cli("plugins", "show", "Other", "-o", "table").out


def test_show_of_an_unknown_name_tells_which_are_installed(cli: Callable[..., Any], good: str) -> None:
    ended = cli("plugins", "show", "Fakes")
    assert ended.code == ExitCode.PLUGIN
    assert ended.document["error"]["code"] == "HF2041"
    assert "Fake" in ended.document["error"]["hint"]


def test_a_table_names_the_reason_in_place_of_what_it_provides(
    cli: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("import nothing_of_this_name", name="Broken")
    out = cli("plugins", "list", "-o", "table").out
    (line,) = [line for line in out.splitlines() if line.startswith("Broken ")]
    assert "failed" in line
    assert "No module named 'nothing_of_this_name'" in line


def test_settings_that_are_wrong_are_told_rather_than_left_aside(cli: Callable[..., Any], instance: Path) -> None:
    (instance / "conf" / "hfcore.toml").write_text("fallbak = 1")
    assert cli("plugins", "list", "--provider", instance).code == ExitCode.CONFIG


@pytest.mark.parametrize(("cloud", "own"), [("aws", 7), ("acme", 8)])
def test_a_new_plugin_is_a_few_files_without_a_gap_left_in_them(
    cli: Callable[..., Any], tmp_path: Path, cloud: str, own: int
) -> None:
    ended = cli("plugins", "new", "Acme", "--cloud", cloud)
    assert ended.code == 0
    written = [tmp_path / item["path"] for item in ended.items]
    assert sorted(written) == sorted(path for path in (tmp_path / "hfcore-acme").rglob("*") if path.is_file())
    assert len(written) == own + 1
    for path in written:
        text = path.read_text()
        assert "@NAME@" not in text
        assert "@MODULE@" not in text
        if path.suffix == ".py":
            compile(text, path, "exec")
    assert 'Acme = "hfcore_acme.plugin"' in (tmp_path / "hfcore-acme" / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["Acme"],
        ["Other", "--folder", "hfcore-acme"],
        ["../Acme"],
        ["9Lives"],
        ["A-b"],
        ["A" * 41],
        ["Neu", "--cloud", "a b"],
    ],
    ids=["there already", "folder", "path", "digit first", "hyphen", "too long", "cloud"],
)
def test_a_new_plugin_overwrites_nothing_and_needs_a_name(
    cli: Callable[..., Any], tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "hfcore-acme").mkdir()
    assert "error[HF1001]" in cli("plugins", "new", *words).err
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("file/below", "Not a directory"),
        ("loop/below", "Not a directory"),
        ("n" * 300, "File name too long"),
        ("a/b", "No space left on device"),
    ],
    ids=["below a file", "below a loop of links", "too long", "full disk"],
)
def test_a_new_plugin_that_cannot_be_written_says_why_and_leaves_nothing(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, why: str
) -> None:
    written = Path.write_text

    def write(path: Path, *given: str) -> int:
        if path.name == "README.md" and folder == "a/b":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(path, *given)

    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setattr(Path, "write_text", write)
    told = cli("plugins", "new", "Acme", "--folder", folder).err
    assert "error[HF1001]" in told
    assert f"can't be made: {why}" in told
    assert {one.name for one in tmp_path.iterdir()} == {"file", "loop"}


def test_a_new_plugin_takes_no_name_that_is_taken(cli: Callable[..., Any], good: str, tmp_path: Path) -> None:
    assert "installed already" in cli("plugins", "new", "fake").err
    assert not (tmp_path / "hfcore-fake").exists()


def test_check_has_a_row_for_each_thing_and_is_content_with_a_good_plugin(cli: Callable[..., Any], good: str) -> None:
    ended = cli("plugins", "check", "fake")
    assert (ended.code, ended.document["errors"]) == (0, 0)
    rows = {row["name"]: row["status"] for row in ended.items}
    assert rows.pop("distribution") == "warning"  # it requires no hfcore
    assert set(rows.values()) == {"ok"}


@pytest.mark.parametrize(
    ("old", "new", "row", "told"),
    [
        ("INFO =", "import no_such_module\nINFO =", "module", "no_such_module"),
        ("def cleanup(requests, context)", "def cleanup(requests, wrong)", "signatures", "cleanup takes wrong"),
        ("def cleanup(", "def cleanups(", "required hooks", "cleanup is missing"),
        ("def cleanup(", "def cleanups(", "hook names", "cleanups is no hook did you mean cleanup?"),
        ("@hookimpl\ndef cleanup", "def cleanup", "hook names", "cleanup is not marked"),
        ("@hookimpl\ndef cleanup", "@hookimpl\ndef receive_notices(context): ...\n\n@hookimpl\ndef cleanup", "messages",
         "receive_notices alone"),
        ("def cleanup(", "async def cleanup(", "results", "cleanup gives what must be awaited"),
        ("def cleanup(requests, context): ...", "def cleanup(requests, context): yield", "results", "a generator"),
        ("@hookimpl\ndef cleanup", "def __getattr__(_): raise OSError\n\ndef cleanup", "hook names", "cleanup is"),
        ("hook_version=1", "hook_version=99", "hook version", "made for 99"),
        ("return INFO", "return 'me'", "provider_info", "returned str"),
        ("return INFO", "raise OSError('x')", "provider_info", "raised OSError: x"),
        ('iam_actions=("fake:Launch",)', 'iam_actions="fake:Launch"', "provider_info", "expected a tuple"),
        ("Machines in memory. …", "", "provider_info", "summary is ''"),
        ('name="Fake"', 'name="Other"', "entry point", "the plug-in says Other"),
        ('iam_actions=("fake:Launch",)', 'iam_actions=("fake:*",)', "iam_actions", "fake:*"),
        ('operations=("fake:Launch",)', 'operations=("Launch",)', "operations", "'Launch'"),
        ('("fakeField", ', '("fakeField", "fakeField", ', "template_fields", "fakeField twice"),
        ('("fakeField", ', '("fake_field", ', "template_fields", "fake_field"),
        ('("fakeField", ', '("rootPassword", ', "template_fields", "'rootPassword', which is stored"),
        ("call_budgets", 'refused_fields={"keyname": "no"}, call_budgets', "fields that are not honoured", "keyName"),
        ("call_budgets", 'without_effect={"fakeField": "-"}, call_budgets', "fields that are not honoured", "and not"),
    ],
)  # fmt: skip
def test_check_says_all_that_a_plugin_lacks(
    cli: Callable[..., Any], install: Callable[..., None], old: str, new: str, row: str, told: str
) -> None:
    assert old in GOOD
    install(GOOD.replace(old, new))
    ended = cli("plugins", "check", "Fake")
    assert ended.code == ExitCode.PLUGIN
    found = {one["name"]: one for one in ended.items}
    assert found[row]["status"] == "error"
    assert told in found[row]["message"]
    assert found[row]["hint"]
    assert ended.document["errors"] == sum(one["status"] == "error" for one in found.values())


@pytest.mark.parametrize(
    ("takes", "status", "told"),
    [
        ("*, settings, region, **_", "ok", "made for cloud fake"),
        ("settings, region, endpoint, clock, deadline", "error", "unexpected keyword argument 'operations'"),
    ],
)
def test_check_holds_what_makes_the_clients_of_a_cloud_to_what_it_is_given(
    cli: Callable[..., Any], install: Callable[..., None], good: str, tmp_path: Path, takes: str, status: str, told: str
) -> None:
    install(f"def connect({takes}): ...", name="fake", distribution="fake-cloud", group="hfcore.clouds")
    points = tmp_path / "site" / "fake_cloud-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"{points.read_text().strip()}:connect\n")
    (found,) = (one for one in cli("plugins", "check", "Fake").items if one["name"] == "clients")
    assert found["status"] == status
    assert told in found["message"]


def test_a_hook_may_be_a_function_of_another_name(cli: Callable[..., Any], install: Callable[..., None]) -> None:
    install(GOOD.replace("@hookimpl\ndef cleanup", '@hookimpl(specname="cleanup")\ndef tidy_up'))
    assert cli("plugins", "check", "Fake").code == 0
    assert "cleanup" in row(cli, "Fake")["hooks"]


def test_an_entry_point_that_names_a_thing_in_a_module_says_that_it_must_be_the_module(
    cli: Callable[..., Any], good: str, tmp_path: Path
) -> None:
    points = tmp_path / "site" / "hfcore_fake-1.0.dist-info" / "entry_points.txt"
    points.write_text(f"{points.read_text().strip()}:Plugin\n")
    assert "must be the module alone" in row(cli, "Fake")["reason"]
    assert cli("plugins", "check", "Fake").code == ExitCode.PLUGIN


def test_what_a_plugin_prints_is_no_result(cli: Callable[..., Any], install: Callable[..., None]) -> None:
    install(GOOD.replace("return INFO", 'print("asked")\n    return INFO') + 'print("loaded")')
    for words in (["list"], ["check", "Fake"]):
        ended = cli("plugins", *words)
        assert ended.document["items"]
        assert "asked" in ended.err
    assert "asked" not in cli("plugins", "new", "--help").err


def test_another_name_is_an_alias_where_the_plugins_own_is_there_too(
    cli: Callable[..., Any], install: Callable[..., None], good: str, tmp_path: Path
) -> None:
    points = tmp_path / "site" / "hfcore_fake-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + points.read_text().splitlines()[1].replace("Fake", "Imitation") + "\n")
    ended = cli("plugins", "check", "imitation")
    assert ended.code == 0
    assert cli("plugins", "check", "fake").items == ended.items


def test_requirements_are_pins_of_hfcore_and_of_every_plugin(cli: Callable[..., Any], good: str) -> None:
    lines = cli("plugins", "list", "--requirements").out.splitlines()
    assert {f"hfcore=={__version__}", "hfcore-fake==1.0", f"hfcore-aws-asg=={__version__}"} <= set(lines)
    assert len(lines) == len(set(lines))
