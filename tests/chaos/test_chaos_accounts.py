"""The credentials of another account: what it does not know is neither gone nor given back, and lives on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.aws import StrictAws
from hfcore.testing.site import CASES, Case, ForkedSite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.testing.forks import Forks

ANOTHER = "210987654321"
BETWEEN_CALLS = 400.0  # longer than machines may be invisible


@pytest.fixture
def site(forks: Forks, memory: Path) -> Iterator[ForkedSite]:
    with StrictAws(boot_seconds=0, shutdown_seconds=0, fill_seconds=0.01, aged_out_seconds=1e7) as aws:
        yield ForkedSite(Path(tempfile.mkdtemp(dir=memory)) / "site", aws, forks)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_another_account_makes_nothing_gone(site: ForkedSite, case: Case) -> None:
    wrong = site.aws.environment(account=ANOTHER)
    request_id, machines = site.complete(case.template_id, 3)
    given, *kept = machines
    names = {"machines": [{"machineId": given["machineId"]}]}
    asked = site.run("requestReturnMachines", names, env=wrong)
    assert asked.code == 0
    return_id = asked.answer["requestId"]
    for _ in range(3):
        site.pass_time(BETWEEN_CALLS)
        shown, returned = site.statuses(request_id, return_id, env=wrong)
        assert returned["status"] == "running"
        assert ANOTHER in returned["message"]
        assert {one["result"] for one in shown["machines"] if one["machineId"] != given["machineId"]} == {"succeed"}
        assert site.run("getReturnRequests", env=wrong).answer["requests"] == []
    assert len(site.live()) == 3
    site.poll_until(return_id)
    assert site.live() == {one["machineId"] for one in kept}
    site.give_back([{"machineId": one["machineId"]} for one in kept])
    assert site.live() == set()
