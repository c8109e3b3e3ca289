"""The sandbox: a background process that outlives the one that started it."""

from __future__ import annotations

import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import boto3
import pytest

from hfcore.testing.aws import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "sandbox"
    sandbox.stop(tmp_path / "sandbox")


def test_a_sandbox_starts_answers_and_stops(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = sandbox.start(folder, boot_seconds=0.01)
    assert started.pid != os.getpid()
    assert sandbox.status(folder) == started
    assert sandbox.start(folder) == started
    for name, value in started.environment.items():
        monkeypatch.setenv(name, value)
    with closing(boto3.Session().client("ec2")) as ec2:
        wanted = {"ImageId": started.image, "SecurityGroupIds": [started.security_group], "InstanceType": "m5.large"}
        for subnet in started.subnets:
            made = ec2.run_instances(**wanted, SubnetId=subnet, MinCount=1, MaxCount=1)
            assert made["Instances"][0]["SubnetId"] == subnet
    assert sandbox.stop(folder)
    assert sandbox.status(folder) is None
    assert not sandbox.stop(folder)


def test_its_files_are_for_their_owner_alone(folder: Path) -> None:
    sandbox.start(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(f.stat().st_mode) for f in folder.iterdir()} == {0o600}


def test_a_sandbox_comes_back_on_its_port(folder: Path) -> None:
    first = sandbox.start(folder)
    sandbox.stop(folder)
    assert sandbox.start(folder).port == first.port


def test_a_port_that_is_taken_is_given_up(folder: Path) -> None:
    first = sandbox.start(folder)
    sandbox.stop(folder)
    with ThreadingHTTPServer(("127.0.0.1", first.port), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(sandbox.SandboxError, match="taken"):
            sandbox.start(folder, first.port)
        assert sandbox.start(folder).port != first.port
        other.shutdown()


def test_a_file_left_by_another_process_counts_for_nothing(folder: Path, tmp_path: Path) -> None:
    assert sandbox.status(folder) is None
    other = sandbox.start(tmp_path / "other")
    folder.mkdir()
    (folder / "sandbox.json").write_text(json.dumps({"pid": other.pid, "port": other.port, "key": "mine"}))
    assert sandbox.status(folder) is None
    assert sandbox.start(folder).port != other.port
    assert sandbox.stop(tmp_path / "other")


def test_a_sandbox_that_cannot_start_says_where_its_log_is(folder: Path) -> None:
    with pytest.raises(sandbox.SandboxError, match=r"sandbox\.log"):
        sandbox.start(folder, moon_seconds=1.0)
    assert "moon_seconds" in (folder / "sandbox.log").read_text()


def test_starts_at_once_start_one(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: sandbox.start(folder), range(4)))
    assert len({(one.pid, one.port) for one in started}) == 1
    assert sandbox.status(folder) == started[0]


def test_faults_are_set_in_the_one_that_runs(folder: Path) -> None:
    with pytest.raises(sandbox.SandboxError, match="no sandbox runs"):
        sandbox.set_faults(folder, ["throttle"])
    started = sandbox.start(folder, faults=["throttle:RunInstances"])
    assert started.faults == ("throttle:RunInstances",)
    changed = sandbox.set_faults(folder, ["reset"], clear=True)
    assert changed == sandbox.status(folder) == sandbox.start(folder)
    assert changed.faults == ("reset",)
