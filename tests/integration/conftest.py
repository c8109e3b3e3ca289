"""A provider instance in a folder, with a cloud in memory: each verb opens the service anew, as a process does."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.config import load_settings
from hfcore.plugins import Plugins
from hfcore.service import Answer, MachineRef, Reclaims, RequestView, Service
from hfcore.testing import FakeCloud, FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfcore.plugins import Candidate

TEMPLATE = {
    "templateId": "basic",
    "providerApi": "Fake",
    "maxNumber": 10,
    "vmType": "fake.large",
    "attributes": {"type": ["String", "X86_64"], "ncpus": ["Numeric", "4"], "nram": ["Numeric", "16384"]},
}


class TickingClock:
    """A clock that moves a millisecond at each look, and as far as a test moves it."""

    def __init__(self) -> None:
        self.at = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at

    def monotonic(self) -> float:
        return self.now().timestamp()

    def sleep(self, seconds: float) -> None:
        self.advance(seconds=seconds)

    def advance(self, **durations: float) -> None:
        self.at += timedelta(**durations)


class Grid:
    """A provider instance; its methods are the verbs."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.data = folder / "work" / "data"
        self.clock = TickingClock()
        self.cloud = FakeCloud()
        self.candidates: list[Candidate] = []
        self.observers: list[Candidate] = []
        self.flags: dict[str, str] = {"region": "fake-1"}
        self.plugins: Plugins | None = None  # made once for all verbs, where that is not what matters
        self._stack = stack
        for name in ("conf", "work", "log"):
            (folder / name).mkdir()
        self.write_templates(TEMPLATE)
        self.install(FakeProvider(self.cloud), "Fake")

    def install(self, provider: FakeProvider, name: str, *, distribution: str = "hfcore-fake") -> None:
        self.candidates.append(self._stack.enter_context(provider.installed(name, distribution=distribution)))

    def uninstall(self, name: str) -> None:
        self.candidates = [candidate for candidate in self.candidates if candidate.name != name]

    def write_templates(self, *templates: dict[str, Any]) -> None:
        (self.folder / "conf" / "templates.json").write_text(json.dumps({"templates": templates}))

    def open(self) -> Service:
        settings = load_settings(environ={}, provider=str(self.folder), flags=self.flags)
        logger = logging.getLogger("hfcore.test")
        return Service(
            settings=settings,
            plugins=lambda: self.plugins or Plugins(self.candidates, logger=logger, observers=self.observers),
            fingerprint=lambda: repr((self.candidates, self.cloud.problems)),
            clock=self.clock,
            log=lambda: logger,
        )

    def request(self, count: int = 2, template_id: str = "basic") -> str:
        return self.open().request_machines(template_id, count).request_id

    def poll(self, *request_ids: str) -> RequestView:
        return self.open().request_status(request_ids)[0]

    def give_back(self, *machine_ids: str) -> Answer:
        return self.open().request_return(tuple(MachineRef(machine_id=key) for key in machine_ids))

    def reclaims(self, *machine_ids: str) -> Reclaims:
        return self.open().return_requests(tuple(MachineRef(machine_id=key) for key in machine_ids))

    def complete(self, count: int = 2) -> str:
        """Request machines, and poll until the request is complete."""
        request_id = self.request(count)
        view = self.poll(request_id)
        assert view.request is not None
        assert view.request.status == "completed"
        return request_id

    def stored(self, request_id: str) -> dict[str, Any]:
        """Give a request as `storage.json` has it."""
        records: dict[str, dict[str, Any]] = json.loads((self.data / "storage.json").read_text())
        return records[request_id]

    def orphan(self, request_id: str, process: str) -> None:
        """Let a request have been created by another process."""
        with self.open().store.transaction() as state:
            request = state.request(request_id)
            assert request is not None
            state.save_request(replace(request, process=process))

    def on_disk(self, *, locks: bool = False) -> dict[str, tuple[bytes, int]]:
        """Give each file of the work folder with its time of change; a lock's file says only who held it last."""
        found = (path for path in (self.folder / "work").rglob("*") if path.is_file())
        files = (path for path in found if locks or path.suffix != ".lock")
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    with ExitStack() as stack:
        yield Grid(tmp_path, stack)


@pytest.fixture
def new_grid() -> Iterator[Callable[[Path], Grid]]:
    """Give what lays out an instance in a folder, whose verbs share their plug-ins."""
    with ExitStack() as stack:

        def made(folder: Path) -> Grid:
            grid = Grid(folder, stack)
            grid.plugins = Plugins(grid.candidates, logger=logging.getLogger("hfcore.test"))
            return grid

        yield made


@pytest.fixture(scope="session")
def dead_process() -> str:
    """Give the name that a process which has ended had."""
    code = "from hfcore.journal import this_process; print(this_process())"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
