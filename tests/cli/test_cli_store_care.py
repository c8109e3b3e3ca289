"""`hfcore store`: check, repair, trim and export, on stores that are whole and on stores that are not."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.cli.output import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfcore.store import TinyStore


@pytest.fixture
def data(instance: Path, machines: tuple[str, ...]) -> Path:
    return instance / "work" / "data"


@pytest.fixture
def care(cli: Callable[..., Any], instance: Path) -> Callable[..., Any]:
    return lambda *words: cli("store", *words, "--provider", instance)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def spoil(data: Path, machine_id: str) -> None:
    path = data / "machines.json"
    records = json.loads(path.read_text())
    records[machine_id]["status"] = "flying"
    path.write_text(json.dumps(records))


def test_check_of_a_whole_store_is_0_and_counts_what_was_read(care: Callable[..., Any], data: Path) -> None:
    ended = care("check")
    assert (ended.code, ended.items) == (0, [])
    document = ended.document
    assert document["schema"] == "hfcore/store-check/v1"
    assert (document["requests"], document["machines"], document["archived"]) == (2, 2, 0)
    table = care("check", "-o", "table").out
    assert table == "nothing is wrong: 2 requests, 2 machines, 0 archived\n"


def test_check_of_a_damaged_store_is_1_with_a_row_for_each_finding(care: Callable[..., Any], data: Path) -> None:
    cut(data / "storage.json")
    ended = care("check")
    assert ended.code == ExitCode.FAILED
    (item,) = ended.items
    assert item["where"] == "storage.json"
    assert "storage.json.last" in item["remedy"]
    table = care("check", "-o", "table")
    assert table.code == ExitCode.FAILED
    assert all(word in table.out for word in ("WHERE", "PROBLEM", "REMEDY", "storage.json"))


def test_a_damaged_store_is_repaired_and_other_commands_work_again(
    care: Callable[..., Any], cli: Callable[..., Any], instance: Path, data: Path
) -> None:
    cut(data / "machines.json")
    assert cli("requests", "list", "--provider", instance).code == ExitCode.FAILED
    planned = care("repair", "--dry-run")
    assert planned.document["dry_run"] is True
    assert cli("requests", "list", "--provider", instance).code == ExitCode.FAILED
    ended = care("repair")
    assert (ended.code, ended.document["left"]) == (0, 0)
    assert len(ended.items) == len(planned.items) > 1
    assert list(data.glob("machines.json.bad-*"))
    assert cli("requests", "list", "--provider", instance).code == 0
    assert care("check").code == 0
    assert care("check").document["restored_at"]
    assert "an older copy was taken" in care("check", "-o", "table").err
    assert care("repair").items == []
    assert "store repair: machines.json: " in (instance / "log" / "hfcore.log").read_text()


def test_a_record_that_can_not_be_read_is_set_aside_only_with_yes(
    care: Callable[..., Any], data: Path, machines: tuple[str, ...]
) -> None:
    spoil(data, machines[0])
    ended = care("repair")
    assert (ended.code, ended.items, ended.document["left"]) == (ExitCode.FAILED, [], 1)
    assert "hfcore store check" in ended.err
    ended = care("repair", "--yes")
    assert (ended.code, ended.document["left"]) == (0, 0)
    (path,) = data.glob("set-aside-*.json")
    assert machines[0] in path.read_text()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_a_person_at_a_terminal_is_asked(
    instance: Path, data: Path, machines: tuple[str, ...], answer: str, code: int
) -> None:
    spoil(data, machines[0])
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "hfcore", "store", "repair", "--provider", str(instance)]
    with subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.write(ours, answer.encode())
        out, err = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code
    assert "1 record can't be used. Set aside into a file?" in err
    assert bool(json.loads(out)["items"]) is (answer == "y\n")


def test_trim_moves_what_is_over_and_is_told_how_old_it_must_be(
    care: Callable[..., Any], cli: Callable[..., Any], instance: Path, data: Path
) -> None:
    (item,) = care("trim", "--older-than", "1").items
    assert item == {"requests": 0, "machines": 0}
    (item,) = care("trim").items
    assert item == {"requests": 1, "machines": 0}
    assert json.loads((data / "storage.json").read_text()).keys() == {"req-done"}
    assert cli("requests", "show", "req-failed", "--provider", instance).items[0]["status"] == "failed"
    assert care("trim", "--older-than", "-1").code == ExitCode.USAGE


def test_export_is_one_document_of_all_that_is_stored(
    care: Callable[..., Any], data: Path, machines: tuple[str, ...], store: TinyStore
) -> None:
    document = care("export").document
    assert (document["schema"], document["owner"]) == ("hfcore/store/v1", store.owner)
    assert {each["request_id"] for each in document["requests"]} == {"req-done", "req-failed"}
    assert len(document["machines"]) == 2
    assert "archived" not in document
    care("trim")
    (entry,) = care("export", "--archived").document["archived"]
    assert (entry["request"]["request_id"], entry["machines"]) == ("req-failed", [])


def test_export_in_lines_has_a_record_on_each(care: Callable[..., Any], data: Path) -> None:
    care("trim")
    lines = [json.loads(line) for line in care("export", "--archived", "--lines").out.splitlines()]
    assert [next(iter(line)) for line in lines] == ["request", "machine", "machine", "archived"]


def test_export_into_a_file_is_private_and_overwrites_nothing(
    care: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "export.json"
    ended = care("export", "-f", str(file))
    assert (ended.code, ended.out) == (0, "")
    assert str(file) in ended.err
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(file.read_text())["machines"]) == 2
    file.write_text("mine")
    ended = care("export", "-f", str(file))
    assert (ended.code, file.read_text()) == (ExitCode.FAILED, "mine")


def test_an_export_without_records_has_no_line(care: Callable[..., Any], store: TinyStore) -> None:
    assert care("export", "--lines").out == ""


@pytest.mark.parametrize("verb", ["check", "repair", "trim", "export"])
def test_without_a_store_every_command_says_so_and_makes_none(
    care: Callable[..., Any], instance: Path, verb: str
) -> None:
    ended = care(verb)
    assert ended.code == ExitCode.FAILED
    assert ended.document["error"]["code"] == "HF4002"
    assert "is missing" in ended.document["error"]["message"]
    assert not list((instance / "work").iterdir())


@pytest.mark.parametrize("verb", ["check", "repair", "trim", "export"])
def test_without_an_instance_every_command_says_so(cli: Callable[..., Any], verb: str) -> None:
    ended = cli("store", verb)
    assert ended.code == ExitCode.CONFIG
    assert ended.document["error"]["code"] == "HF1101"


def test_a_store_of_a_newer_schema_is_checked_and_not_repaired(care: Callable[..., Any], data: Path) -> None:
    (data / "meta.json").write_text('{"schema": 2, "owner": "x"}')
    (item,) = care("check").items
    assert "newer hfcore" in item["problem"]
    assert "run the newer hfcore" in item["remedy"]
    assert care("repair", "--yes").code == ExitCode.FAILED
