"""The example in the help of each command goes well, on a sandbox, in the order in which people would try them."""

from __future__ import annotations

import json
import re
import shlex
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from hfcore.cli.app import _globals_first
from hfcore.cli.examples import EXAMPLES
from hfcore.testing.aws import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REQUEST = "req-0f6c1c0e-6d0b-4c43-a0f7-7a5f1c1d2e3f"
FIRST = (
    "sandbox start",
    "sandbox status",
    "sandbox env",
    "init",
    "templates generate",
    "hostfactory requestMachines",
    "requests cancel",
    "hostfactory requestMachines",
    "requests watch",
    "machines return",
    "hostfactory requestMachines",
    "requests watch",
)
LAST = ("hostfactory requestReturnMachines", "reconcile", "sandbox fault", "sandbox stop")
ORDER = (*FIRST, *(each for each in EXAMPLES if each not in FIRST + LAST), *LAST)


class Tried:
    """Runs examples with the names of what really is there."""

    def __init__(self, folder: Path, cli: Callable[..., Any], process: Callable[..., Any]) -> None:
        self.instance = folder / "awsinst"
        self.known = {"/opt/hfcore/awsinst": str(self.instance), "5555": "0"}
        self._folder, self._cli, self._process = folder, cli, process

    def run(self, command: str) -> Any:  # noqa: ANN401 - an Ended of the conftest
        text = re.sub(" > .*", "", EXAMPLES[command])
        for example, real in self.known.items():
            text = text.replace(example, real)
        words = shlex.split(text, comments=True)
        (self._folder / "in.json").write_text(json.dumps({"requests": [{"requestId": self.known.get(REQUEST)}]}))
        return (self._process if command.startswith("hostfactory") else self._cli)(*words)

    def prepare(self, made: sandbox.Sandbox) -> None:
        """Know the sandbox's own ids, and put them into the template that `init` has laid out."""
        vpc = boto3.client("ec2").describe_subnets()["Subnets"][0]["VpcId"]
        ids = {"ami-": made.image, "sg-": made.security_group, "vpc-": vpc}
        self.known |= {f"{kind}0123456789abcdef0": real for kind, real in ids.items()}
        laid_out = self.instance / "conf" / "awsinstprov_templates.json"
        text = (
            laid_out.read_text().replace("subnet-REPLACE", made.subnets[0]).replace("sg-REPLACE", made.security_group)
        )
        for path in (laid_out, self._folder / "awsprov_templates.json"):
            path.write_text(text)

    def remember(self, answer: Any) -> None:  # noqa: ANN401 - any JSON document
        """Know the request that was made, and the machines that the store has."""
        self.known[REQUEST] = answer["requestId"]

    def see_machines(self) -> None:
        live = [one for one in self._cli("machines", "list", "-o", "json").items if one["status"] == "running"]
        self.known |= {"i-0123456789abcdef0": live[0]["instance_id"], "ip-10-0-58-4.ec2.internal": live[1]["name"]}


@pytest.fixture
def tried(
    tmp_path: Path, cli: Callable[..., Any], process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tried]:
    sleep = time.sleep
    monkeypatch.setattr("hfcore.cli.running.SystemClock.sleep", lambda _, seconds: sleep(min(seconds, 0.3)))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONF", "WORK", "LOG"):
        monkeypatch.setenv(f"HFCORE_{name}_DIR", str(tmp_path / "awsinst" / name.lower()))
    yield Tried(tmp_path, cli, process)
    sandbox.stop(tmp_path / "hfcore-sandbox")


@pytest.mark.timeout(300)
def test_every_example_goes_well(tried: Tried, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ORDER:
        ended = tried.run(command)
        assert ended.code == 0, (command, ended.out, ended.err)
        if command == "sandbox env":
            for line in ended.out.splitlines():
                name, _, value = shlex.split(line)[1].partition("=")
                monkeypatch.setenv(name, value)
        if command == "init":
            made = sandbox.status(tmp_path / "hfcore-sandbox")
            assert made
            tried.prepare(made)
        if command == "hostfactory requestMachines":
            tried.remember(ended.document)
        if command == "requests watch":
            tried.see_machines()


@pytest.mark.parametrize("command", EXAMPLES)
def test_an_example_stands_in_the_help_of_its_command(
    cli: Callable[..., Any], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = _globals_first(shlex.split(EXAMPLES[command], comments=True))
    assert " ".join(words).startswith(command) or f" {command}" in " ".join(words)
    assert f"Example: hfcore {EXAMPLES[command]}" in cli(*shlex.split(command), "--help").out
