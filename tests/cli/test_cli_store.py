"""`hfcore requests` and `hfcore machines`: what is stored, read and not changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.cli.output import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfcore.store import TinyStore


def test_requests_list_leaves_out_what_is_over_unless_asked(
    cli: Callable[..., Any], instance: Path, machines: tuple[str, ...]
) -> None:
    (item,) = cli("requests", "list", "--provider", instance).items
    assert (item["request_id"], item["status"], item["kind"]) == ("req-done", "completed", "create")
    assert (item["target"], item["machines"], item["live_machines"]) == (2, 2, 1)
    assert item["created_at"].endswith("Z")
    every = cli("requests", "list", "--all", "--provider", instance).items
    assert {each["request_id"]: each["message"] for each in every} == {"req-done": "", "req-failed": "no capacity"}


def test_requests_show_has_the_machines(cli: Callable[..., Any], instance: Path, machines: tuple[str, ...]) -> None:
    (item,) = cli("requests", "show", "req-done", "--provider", instance).items
    assert item["provider_api"] == "Fake"
    assert [machine["status"] for machine in item["machines"]] == ["running", "terminated"]
    table = cli("requests", "show", "req-done", "--provider", instance, "-o", "table").out
    assert machines[0] in table


def test_requests_show_finds_an_archived_request(
    cli: Callable[..., Any], instance: Path, machines: tuple[str, ...], store: TinyStore
) -> None:
    with store.transaction() as state:
        state.archive(["req-failed"])
    assert "req-failed" not in cli("requests", "list", "--all", "--provider", instance).out
    (item,) = cli("requests", "show", "req-failed", "--provider", instance).items
    assert item["status"] == "failed"


def test_an_unknown_request_is_an_error(cli: Callable[..., Any], instance: Path) -> None:
    ended = cli("requests", "show", "req-none", "--provider", instance)
    assert ended.code == ExitCode.FAILED
    assert ended.document["error"]["message"] == "there is no request req-none"


def test_machines_list_leaves_out_what_has_ended_unless_asked(
    cli: Callable[..., Any], instance: Path, machines: tuple[str, ...]
) -> None:
    (item,) = cli("machines", "list", "--provider", instance).items
    assert (item["instance_id"], item["status"], item["request_id"]) == (machines[0], "running", "req-done")
    assert len(cli("machines", "list", "--all", "--provider", instance).items) == 2


def test_an_empty_store_is_said_to_be_empty(cli: Callable[..., Any], instance: Path) -> None:
    assert cli("machines", "list", "--provider", instance).items == []
    assert cli("machines", "list", "--provider", instance, "-o", "table").out == "no machine that lives\n"
    assert cli("requests", "list", "--provider", instance, "-o", "table").out == "no request that is open\n"


def test_reading_changes_no_byte_of_the_store(
    cli: Callable[..., Any], instance: Path, machines: tuple[str, ...]
) -> None:
    data = instance / "work" / "data"
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    for words in (("requests", "list", "--all"), ("requests", "show", "req-done"), ("machines", "list")):
        assert cli(*words, "--provider", instance).code == 0
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_a_store_that_cannot_be_trusted_is_an_error(
    cli: Callable[..., Any], instance: Path, machines: tuple[str, ...]
) -> None:
    (instance / "work" / "data" / "storage.json").unlink()
    ended = cli("requests", "list", "--provider", instance)
    assert ended.code == ExitCode.FAILED
    assert ended.document["error"]["code"] == "HF4002"
