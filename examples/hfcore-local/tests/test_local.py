"""`Local` keeps the contract of all provider plug-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import hfcore_local
import pytest

from hfcore.models import Template
from hfcore.testing import Cloud, ProviderContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Processes(Cloud):
    """The process table, of which a test sees only its own machines."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.changed, self.room, self.patch = 0, 100, patch
        patch.setattr(hfcore_local, "MARK", f"HFCORE_TEST_{uuid4().hex}")
        patch.setattr(hfcore_local, "spawn", self.counted(hfcore_local.spawn))
        patch.setattr(hfcore_local, "kill", self.counted(hfcore_local.kill))

    def counted(self, change: Callable[..., None]) -> Callable[..., None]:
        def counting(what: object) -> None:
            self.changed += 1
            if isinstance(what, dict) and len(self.machines()) >= self.room:
                raise BlockingIOError("no more processes")
            change(what)

        return counting

    def machines(self) -> Mapping[str, Mapping[str, str]]:
        return hfcore_local.running()

    def changes(self) -> int:
        return self.changed

    def kill(self, machine_id: str) -> None:
        hfcore_local.kill(machine_id)

    def limit(self, machines: int) -> None:
        self.room = machines


class TestLocal(ProviderContract):
    plugin = "hfcore_local"

    @pytest.fixture
    def cloud(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
        made = Processes(monkeypatch)
        yield made
        for one in made.machines():
            hfcore_local.kill(one)

    @pytest.fixture
    def template(self) -> Template:
        return Template(template_id="small", vm_types={"process": 1}, instance_tags={"team": "risk"})
