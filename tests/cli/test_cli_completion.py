"""What the shell completes words with: from files and records alone, quickly, and nothing where something is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.models import RequestStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfcore.store import TinyStore

    Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Complete:
    """Give what bash is offered for a line that ends in the word to complete."""

    def ask(line: str) -> list[str]:
        monkeypatch.setenv("_HFCORE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        ended = cli()
        assert (ended.code, ended.err) == (0, "")
        return ended.out.split()

    return ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hfcore templates show ", ["Small"]),
        ("hfcore hostfactory requestMachines S", ["Small"]),
        ("hfcore requests show ", ["req-done", "req-failed", "req-open"]),
        ("hfcore requests cancel ", ["req-open"]),
        ("hfcore hostfactory getRequestStatus req-f", ["req-failed"]),
        ("hfcore machines return ", ["host-i-0123456789abcdef0", "i-0123456789abcdef0"]),
        ("hfcore hostfactory getReturnRequests i-", ["i-0123456789abcdef0"]),
        ("hfcore hostfactory getAvailableTemplates ", []),
    ],
)
def test_what_the_instance_has_is_offered_wherever_it_is_named(
    complete: Complete, instance: Path, store: TinyStore, machines: tuple[str, ...], line: str, offered: list[str]
) -> None:
    with store.transaction() as state:
        done = state.request("req-done")
        state.save_request(replace(done, request_id="req-open", status=RequestStatus.IN_PROGRESS, machine_ids=()))
    before = {path: path.stat().st_mtime_ns for path in instance.rglob("*")}
    begun, _, word = line.rpartition(" ")
    assert complete(f"{begun} --provider {instance} {word}") == offered
    assert complete(line.replace("hfcore ", f"hfcore --provider={instance} ")) == offered
    assert {path: path.stat().st_mtime_ns for path in instance.rglob("*")} == before


def test_installed_plugins_and_codes_are_offered_without_an_instance(complete: Complete, good: str) -> None:
    assert complete("hfcore plugins show f") == complete("hfcore iam-policy F") == ["Fake"]
    assert {"Fake", "ASG"} <= set(complete("hfcore plugins check "))
    assert complete("hfcore explain HF204") == ["HF2041", "HF2042", "HF2043"]


def test_a_code_is_explained_however_it_is_typed(cli: Callable[..., Any]) -> None:
    assert cli("explain", " hf2041 ").items == cli("explain", "2041").items


def test_where_something_is_wrong_nothing_is_offered_and_nothing_is_made(complete: Complete, instance: Path) -> None:
    assert complete("hfcore requests show ") == []
    assert complete(f"hfcore --provider {instance} requests show ") == []
    assert not (instance / "work" / "data").exists()
    (instance / "conf" / "awsprov_templates.json").write_text("{")
    assert complete(f"hfcore --provider {instance} templates show ") == []


def test_no_cloud_and_no_plugin_is_imported(instance: Path, machines: tuple[str, ...]) -> None:
    code = (
        "import os, sys; from hfcore.cli import main; main([]); "
        "print(sorted({'boto3', 'botocore', 'hfcore.aws', 'hfcore_aws_asg'} & set(sys.modules)))"
    )
    line = f"hfcore --provider {instance} requests show "
    words = {"_HFCORE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "5"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | words, capture_output=True, text=True, check=False
    )
    assert ended.stdout.split() == ["req-done", "req-failed", "[]"]
