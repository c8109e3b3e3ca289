"""Run the command line as people do, over plug-ins and provider instances made for one test."""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from hfcore.cli.app import run
from hfcore.models import Machine, MachineStatus, Request, RequestStatus
from hfcore.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfcore.store import TinyStore

GOOD = """
from hfcore import hookimpl
from hfcore.models import Problem, ProviderInfo, Severity

INFO = ProviderInfo(
    name="Fake", hook_version=1, summary="Machines in memory. …", cloud="fake", iam_actions=("fake:Launch",),
    operations=("fake:Launch",), template_fields=("fakeField", "vmType", "priceType"),
    call_budgets={"status": "1 call"},
)

@hookimpl
def provider_info():
    return INFO

@hookimpl
def validate_template(template, context):
    if template.vm_types:
        return ()
    return (Problem(field="vmType", message="is needed by Fake", hint="name an instance type"),)

@hookimpl
def provision(request, template, context): ...

@hookimpl
def discover_instances(requests, context): ...

@hookimpl
def stop_launching(requests, context): ...

@hookimpl
def release_instances(releases, context): ...

@hookimpl
def owned_resources(context): ...

@hookimpl
def cleanup(requests, context): ...
"""
TEMPLATE = {
    "templateId": "Small",
    "providerApi": "Fake",
    "maxNumber": 5,
    "attributes": {"type": "X86_64", "ncpus": 1, "nram": 4096},
    "vmType": "m5.large",
    "priceType": "ondemand",
}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(self.out)

    @property
    def items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.document["items"]
        return items


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in os.environ:
        if name.startswith(("HF_", "HFCORE_", "PRO_", "PROVIDER_", "AWS_", "XDG_")) or name in {"NO_COLOR", "COLUMNS"}:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    before = list(logging.getLogger().handlers)
    yield
    for handler in [each for each in logging.getLogger().handlers if each not in before]:
        logging.getLogger().removeHandler(handler)
        handler.close()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process."""

    def call(*words: object) -> Ended:
        capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return call


@pytest.fixture
def process() -> Callable[..., Ended]:
    """Run a command in a process of its own."""

    def call(*words: object, module: str = "hfcore", **environ: str) -> Ended:
        command = [sys.executable, "-m", module, *map(str, words)]
        ended = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | environ, check=False, stdin=subprocess.DEVNULL
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return call


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a plug-in's distribution in a folder on the path, of this process and of those that it starts."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [sys.path[0], str(site), *sys.path[1:]])  # none is looked for in the first
    monkeypatch.setenv("PYTHONPATH", str(site))

    def add(
        code: str = GOOD, *, name: str = "Fake", distribution: str = "hfcore-fake", group: str = "hfcore.providers"
    ) -> None:
        module = f"fake_{uuid4().hex}"
        (site / f"{module}.py").write_text(code)
        info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        with (info / "entry_points.txt").open("a") as points:
            points.write(f"[{group}]\n{name} = {module}\n")
        importlib.invalidate_caches()

    return add


@pytest.fixture
def good(install: Callable[..., None]) -> str:
    """Install a plug-in `Fake` without a flaw, and give its code."""
    install()
    return GOOD


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """A provider instance with one template of API `Fake`."""
    folder = tmp_path / "aws1"
    for part in ("conf", "work", "log"):
        (folder / part).mkdir(parents=True)
    write_templates(folder, TEMPLATE)
    return folder


def write_templates(folder: Path, *templates: dict[str, Any]) -> Path:
    path = folder / "conf" / "awsprov_templates.json"
    path.write_text(json.dumps({"templates": templates}))
    return path


@pytest.fixture
def templates(instance: Path) -> Callable[..., Path]:
    """Write the instance's templates: the sample with other values, `None` to leave a field out."""

    def write(*changes: dict[str, Any]) -> Path:
        merged = [{**TEMPLATE, **change} for change in changes]
        return write_templates(instance, *({k: v for k, v in each.items() if v is not None} for each in merged))

    return write


@pytest.fixture
def store(instance: Path) -> TinyStore:
    return open_store(instance / "work" / "data", now=datetime.now(UTC))


@pytest.fixture
def machines(store: TinyStore) -> tuple[str, ...]:
    """Store two requests: one complete with a machine that runs and one that has ended, one failed."""
    now = datetime.now(UTC)
    ids = ("i-0123456789abcdef0", "i-0123456789abcdef1")
    common: dict[str, Any] = {"template_id": "Small", "target": 2, "provider_api": "Fake", "created_at": now}
    done = Request(request_id="req-done", status=RequestStatus.COMPLETED, machine_ids=ids, **common)
    failed = Request(request_id="req-failed", status=RequestStatus.FAILED, message="no capacity", **common)
    statuses = (MachineStatus.RUNNING, MachineStatus.TERMINATED)
    with store.transaction() as state:
        state.save_request(done)
        state.save_request(failed)
        state.save_batch(
            Machine(instance_id=id_, request_id="req-done", status=status, name=f"host-{id_}", observed_at=now)
            for id_, status in zip(ids, statuses, strict=True)
        )
    return ids[:1]
