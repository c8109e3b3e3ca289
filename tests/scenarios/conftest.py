"""A provider instance on the strict AWS, whose verbs are warm processes; each scenario closes with the audit."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.testing.audit import audit
from hfcore.testing.aws import StrictAws
from hfcore.testing.rights import overstepped
from hfcore.testing.site import CASES, Case, Document, ForkedSite
from hfcore.testing.site import templates as templates_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.testing.forks import Forks

TIMINGS = {"boot_seconds": 0.0, "shutdown_seconds": 20.0, "fill_seconds": 1e-6, "replace_seconds": 1e-6}
ENOUGH = 121.0
"""Seconds in which a machine ends, a fleet that had no capacity tries again, and a notice of Spot's is over."""


class Scene(ForkedSite):
    """A provider instance, and what a scenario does and looks at."""

    def offer(self, **fields: object) -> None:
        """Write the templates of all cases anew, each with these fields."""
        self.put("prov_templates.json", {"templates": [one | fields for one in templates_of(self.aws)]})

    def running(self, case: Case, count: int = 3) -> tuple[str, list[str]]:
        """Ask for machines, and poll until the request is complete and frozen; give its id and theirs."""
        request_id = self.request(case.template_id, count)
        self.pass_time(1)
        answer = self.status(request_id)
        assert answer["status"] == "complete", answer
        return request_id, [one["machineId"] for one in answer["machines"]]

    def returned(self, *machine_ids: str) -> str:
        """Return machines by their ids; give the id of the return."""
        return self.give_back([{"machineId": one} for one in machine_ids])

    def reclaims(self, machines: object = None) -> dict[str, Document]:
        """Ask which hosts are to be returned; give what is said of each, by machine id."""
        given = {} if machines is None else {"machines": machines}
        ran = self.run("getReturnRequests", given)
        assert ran.code == 0, ran
        return {one["machineId"]: one for one in ran.answer["requests"]}

    def poll(self, request_id: str, after: float = ENOUGH) -> Document:
        """Ask for a status once some time has passed."""
        self.pass_time(after)
        return self.status(request_id)

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Count the calls to AWS by operation; the figures are there at the end of the block."""
        made: Counter[str] = Counter()
        before = len(self.aws.calls)
        yield made
        made.update(call.operation for call in self.aws.calls[before:])

    def all_is_well(self) -> None:
        """Hold AWS and the store against each other."""
        findings = audit(self.aws, self.data, datetime.now(UTC) + timedelta(seconds=self.ahead))
        assert not findings, "\n".join(map(str, findings))
        assert not self.aws.violations
        assert not overstepped(self.aws.calls)

    def nothing_stands(self) -> None:
        """See that neither machine nor fleet nor group is left."""
        region = self.aws.region()
        fleets = (*region.fleets.values(), *region.spot_fleets.values())
        assert (self.live(), [one.id for one in fleets if not one.is_over], region.groups) == (set(), [], {})


@pytest.fixture(scope="module")
def aws() -> Iterator[StrictAws]:
    with StrictAws(**TIMINGS) as found:
        yield found


@pytest.fixture
def timings() -> dict[str, float]:
    """Give how long things take in AWS, where it is otherwise than usual."""
    return {}


@pytest.fixture
def scene(aws: StrictAws, forks: Forks, tmp_path: Path, timings: dict[str, Any]) -> Iterator[Scene]:
    aws.world.timings = replace(type(aws.world.timings)(**TIMINGS), **timings)
    aws.reset()
    found = Scene(tmp_path / "site", aws, forks)
    yield found
    found.all_is_well()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Give each provider API in each of its forms."""
    return CASES[request.param]


@pytest.fixture(params=["RunInstances", "ASG", "EC2Fleet-maintain", "SpotFleet"])
def settled(request: pytest.FixtureRequest) -> Case:
    """Give one form of each provider API: once a request has settled, all forms of an API go the same way."""
    return CASES[request.param]


def results(answer: Document) -> dict[str, tuple[str, str]]:
    """Give status and result of each machine of an answer."""
    return {one["machineId"]: (one["status"], one["result"]) for one in answer["machines"]}
