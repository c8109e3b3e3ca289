"""The store is deleted, damaged or exchanged while 100 machines run: none is ended, none is reported as reclaimed."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.audit import audit
from hfcore.testing.aws import StrictAws
from hfcore.testing.site import CASES, Document, ForkedSite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfcore.testing.forks import Forks
    from hfcore.testing.site import Ran

MACHINES = 100
REQUESTS = 10
CALLS, FEW_CALLS = 10, 3
BETWEEN_CALLS = 400.0  # longer than machines may be invisible, so that none is spared for its youth alone
ANOTHER = {"template": {"templateId": "OnDemand-Small", "machineCount": 1}}


class Hundred:
    """A provider instance with 100 machines running, made by requests of each API and form."""

    def __init__(self, site: ForkedSite) -> None:
        self.site = site
        site.data.parent.mkdir(exist_ok=True)
        assert site.run("getReturnRequests").code == 0  # which makes the store
        self.before = self._copied("before")
        cases = [*CASES.values()]
        self.requests = [
            site.request(cases[number % len(cases)].template_id, MACHINES // REQUESTS) for number in range(REQUESTS)
        ]
        self.machines = [one["machineId"] for each in site.statuses(*self.requests) for one in each["machines"]]
        assert len({*self.machines}) == MACHINES
        self.whole = self._copied("whole")
        self.asked: Document = {"requests": [{"requestId": one} for one in self.requests]}
        self.named: Document = {"machines": [{"machineId": one} for one in self.machines]}

    def _copied(self, name: str) -> Path:
        return self.site.folder / shutil.copytree(self.site.data, self.site.folder / name)

    def put(self, copy: Path) -> None:
        """Let `data/` be a copy of it from another time."""
        shutil.rmtree(self.site.data, ignore_errors=True)
        shutil.copytree(copy, self.site.data)

    def call_again_and_again(self, calls: int = FEW_CALLS) -> Iterator[tuple[str, Ran]]:
        """Poll, and ask for what is reclaimed, again and again while time passes."""
        for number in range(calls):
            self.site.pass_time(BETWEEN_CALLS)
            yield "getRequestStatus", self.site.run("getRequestStatus", self.asked)
            yield "getReturnRequests", self.site.run("getReturnRequests", self.named if number % 2 else None)

    def assert_untouched(self, mutations: int) -> None:
        assert {*self.machines} <= self.site.live()
        assert len(self.site.mutations()) == mutations
        assert self.site.aws.violations == []


@pytest.fixture(scope="module")
def laid_out(forks: Forks, memory: Path) -> Iterator[Hundred]:
    with StrictAws(boot_seconds=0, shutdown_seconds=0, fill_seconds=0, replace_seconds=0) as aws:
        yield Hundred(ForkedSite(memory / "hundred", aws, forks))


@pytest.fixture
def hundred(laid_out: Hundred) -> Hundred:
    """Give 100 running machines and their whole store."""
    laid_out.put(laid_out.whole)
    return laid_out


def deleted(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cleared(path: Path) -> None:
    path.write_bytes(b"")


def without_records(path: Path) -> None:
    path.write_text("{}\n")


DAMAGES = [
    pytest.param(name, damage, id=f"{name}-{damage.__name__}")
    for name in ("storage.json", "machines.json", "meta.json")
    for damage in (deleted, truncated, cleared, without_records)
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_store_ends_nothing_reports_nothing_as_reclaimed_and_says_why(
    hundred: Hundred, name: str, damage: Callable[[Path], None]
) -> None:
    site = hundred.site
    damage(site.data / name)
    mutations, files = len(site.mutations()), site.records()
    for verb, ran in hundred.call_again_and_again(CALLS if damage is deleted else FEW_CALLS):
        assert ran.code == 1, (verb, ran)
        assert "/data/" in ran.message, (verb, ran)
        assert list(ran.answer) == ["message"]
    for verb, document in (("requestReturnMachines", hundred.named), ("requestMachines", ANOTHER)):
        assert site.run(verb, document).code == 1, verb
    assert site.records() == files
    hundred.assert_untouched(mutations)


def test_what_was_deleted_by_mistake_can_be_put_back(hundred: Hundred) -> None:
    site = hundred.site
    deleted(site.data / "storage.json")
    assert {ran.code for _, ran in hundred.call_again_and_again()} == {1}
    hundred.put(hundred.whole)
    assert {one["status"] for one in site.statuses(*hundred.requests)} == {"complete"}
    assert audit(site.aws, site.data, datetime.now(UTC) + timedelta(seconds=site.ahead)) == ()
    assert {*hundred.machines} == site.live()


def test_an_older_copy_of_the_store_ends_and_reports_nothing_that_it_does_not_know(hundred: Hundred) -> None:
    site = hundred.site
    hundred.put(hundred.before)
    mutations = len(site.mutations())
    for verb, ran in hundred.call_again_and_again():
        assert ran.code == 0, ran
        if verb == "getReturnRequests":
            assert ran.answer["requests"] == []
        else:
            assert all(one["message"].startswith("unknown request id") for one in ran.answer["requests"]), ran
    hundred.assert_untouched(mutations)


def test_what_an_older_copy_does_not_know_is_adopted_and_ended_once_host_factory_returns_it(
    forks: Forks, memory: Path
) -> None:
    with StrictAws(boot_seconds=0, shutdown_seconds=0, fill_seconds=0, replace_seconds=0) as aws:
        hundred = Hundred(ForkedSite(memory / "older", aws, forks))
        site = hundred.site
        hundred.put(hundred.before)
        given = site.run("requestReturnMachines", hundred.named)
        assert "100 machines being returned; not known here, adopted by the owner tag: i-" in given.message
        assert site.status(given.answer["requestId"])["status"] == "complete"
        assert site.live() == set()
        site.pass_time(BETWEEN_CALLS)
        assert site.run("getReturnRequests", hundred.named).answer["requests"] == []
        assert audit(aws, site.data, datetime.now(UTC) + timedelta(seconds=site.ahead)) == ()


@pytest.mark.parametrize("copy", ["a fresh store", "an older copy"])
def test_a_store_that_begins_anew_ends_only_what_it_has_made_itself(hundred: Hundred, copy: str) -> None:
    site = hundred.site
    if copy == "a fresh store":
        shutil.rmtree(site.data)
    else:
        hundred.put(hundred.before)
    for case in CASES.values():
        request_id = site.request(case.template_id, 2)
        new = [{"machineId": one["machineId"]} for one in site.status(request_id)["machines"]]
        assert len(new) == 2
        others = hundred.named["machines"] if copy == "a fresh store" else []  # of another owner: they are not ours
        returned = site.give_back([*new, *others])
        assert site.status(returned)["status"] == "complete"
    for _, ran in hundred.call_again_and_again():
        assert ran.code == 0, ran
        assert ran.answer.get("status") != "complete" or ran.answer["requests"] == []
    assert site.live() == {*hundred.machines}
    assert site.aws.violations == []
