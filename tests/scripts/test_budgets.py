"""The call budgets of the design, counted on the strict AWS, for 1 and for 50 requests.

A verb here is a `Service` of its own, as each process has.
"""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import create_loader

from hfcore.cli.running import open_plugins
from hfcore.config import load_settings
from hfcore.service import MachineRef, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.scripts.conftest import Case, Site

KEPT_LOADER = cache(create_loader)
LOGGER = logging.getLogger("hfcore.budgets")
FIFTY = 50
AT_ONCE = {"boot_seconds": 0.0, "shutdown_seconds": 0.0, "fill_seconds": 0.0}


class AheadClock:
    """The real time plus what a test adds."""

    def __init__(self) -> None:
        self.added = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.added)

    def monotonic(self) -> float:
        return time.monotonic() + self.added

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Office:
    """Makes verbs over one instance, and counts their AWS calls."""

    def __init__(self, site: Site, clock: AheadClock) -> None:
        self.site, self.clock = site, clock
        self.settings = load_settings(environ=site.environment())

    def service(self) -> Service:
        return Service(
            settings=self.settings,
            plugins=lambda: open_plugins(self.settings, LOGGER),
            fingerprint=lambda: "same",
            clock=self.clock,
            log=lambda: LOGGER,
        )

    def request(self, template_id: str, count: int, times: int = 1) -> tuple[str, ...]:
        service = self.service()
        return tuple(service.request_machines(template_id, count).request_id for _ in range(times))

    def counted(self, verb: Callable[[Service], Any]) -> tuple[dict[str, int], Any]:
        """Carry out a verb; give the number of calls by operation, and what it gave."""
        service, before = self.service(), len(self.site.aws.calls)
        result = verb(service)
        made: dict[str, int] = {}
        for call in self.site.aws.calls[before:]:
            assert call.outcome == "ok", call
            made[call.operation] = made.get(call.operation, 0) + 1
        return made, result

    def status(self, ids: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
        """Poll; give the calls by operation, and the statuses."""
        made, views = self.counted(lambda service: service.request_status(ids))
        return made, [str(view.request.status) for view in views]

    def refs(self, ids: tuple[str, ...]) -> tuple[MachineRef, ...]:
        state = self.service().store.read()
        found = (machine for one in ids for machine in state.machines_of(state.request(one)))
        return tuple(MachineRef(machine_id=machine.instance_id) for machine in found)


@pytest.fixture(autouse=True)
def _botocore_reads_its_data_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share botocore's loader between sessions: reading the service models is most of a verb's time here."""
    monkeypatch.setattr("botocore.session.create_loader", KEPT_LOADER)


@pytest.fixture
def new_office(new_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Office]:
    def make(**timings: float) -> Office:
        site = new_site(**(AT_ONCE | timings))
        site.write_templates(
            Many={"maxNumber": -1},
            **{
                name: {"like": name, "maxNumber": 1000}
                for name in (
                    "OnDemand-Small",
                    "Group",
                    "Fleet-Instant",
                    "Fleet-Request",
                    "Fleet-Maintain",
                    "Spot-Plain",
                )
            },
        )
        for name, value in site.aws.environment().items():
            monkeypatch.setenv(name, value)
        return Office(site, AheadClock())

    return make


@pytest.fixture
def office(new_office: Callable[..., Office]) -> Office:
    return new_office()


def launched(office: Office, machines: int) -> None:
    """Let AWS fill what is asked for."""
    for _ in range(100):
        office.site.aws.advance(0.1)
        if len(office.site.aws.live_instances()) >= machines:
            break
    assert len(office.site.aws.live_instances()) == machines
    office.site.aws.advance(0.1)


def most_calls_of_an_open_poll(case: Case) -> int:
    """Give the calls of a status of open requests, however many: fewer than the design allows where AWS lets it."""
    return 2 if case.fills_later else 1


def most_calls_to_freeze(case: Case, count: int) -> int:
    if not case.fills_later:
        return 0
    return count if case.api == "ASG" else math.ceil(count / 100)


@pytest.mark.parametrize("count", [1, FIFTY])
def test_polls_freezes_returns_and_settled_polls_stay_within_their_budgets(
    new_office: Callable[..., Office], case: Case, count: int
) -> None:
    office = new_office(boot_seconds=100)
    ids = office.request(case.template_id, 2, count)
    launched(office, 2 * count)

    made, statuses = office.status(ids)
    assert statuses == ["in_progress"] * count
    assert sum(made.values()) <= most_calls_of_an_open_poll(case), made

    office.site.aws.advance(100)
    made, statuses = office.status(ids)
    assert statuses == ["completed"] * count
    freezing = {name: n for name, n in made.items() if not name.startswith("Describe")}
    assert sum(freezing.values()) <= most_calls_to_freeze(case, count), made
    assert sum(made.values()) - sum(freezing.values()) <= most_calls_of_an_open_poll(case), made

    made, _ = office.status(ids)
    assert made == {"DescribeInstances": 1}, "settled requests are asked about by id"

    half = office.refs(ids)[::2]
    made, answer = office.counted(lambda service: service.request_return(half))
    assert made == {"TerminateInstances": 1}
    office.site.aws.advance(1)
    made, statuses = office.status((answer.request_id,))
    assert (made, statuses) == ({"DescribeInstances": 1}, ["completed"])
    made, _ = office.status((answer.request_id,))
    assert made == {}, "a settled return is answered from disk"
    assert len(office.site.aws.live_instances()) == count


@pytest.mark.parametrize("case_name", ["ASG", "EC2Fleet-maintain", "SpotFleet"])
def test_the_last_return_removes_the_resource_by_few_calls(
    office: Office, cases: dict[str, Case], case_name: str
) -> None:
    case = cases[case_name]
    ids = office.request(case.template_id, 2)
    launched(office, 2)
    office.status(ids)
    made, answer = office.counted(lambda service: service.request_return(office.refs(ids)))
    assert made == {"TerminateInstances": 1}
    office.site.aws.advance(1)
    made, _ = office.status((answer.request_id, *ids))
    assert sum(made.values()) <= 4, made
    assert office.status((answer.request_id, *ids))[0] == {}
    assert not office.site.aws.region().groups


def test_a_request_takes_one_call_and_one_for_a_template_not_yet_known(office: Office, case: Case) -> None:
    first, _ = office.counted(lambda service: service.request_machines(case.template_id, 2))
    creates = {name: n for name, n in first.items() if name in case.creates}
    assert creates == dict.fromkeys(case.creates, 1)
    assert sum(first.values()) <= 3, f"more than the launch, the template and the image's root device: {first}"
    second, _ = office.counted(lambda service: service.request_machines(case.template_id, 2))
    own_template = case.template_id in {"Fleet-Request", "Fleet-Maintain", "Spot-Plain"}
    assert sum(second.values()) <= (2 if own_template else 1), second


@pytest.mark.parametrize(("count", "calls"), [(500, 1), (501, 2), (1000, 2)])
def test_a_request_of_n_machines_by_run_instances_takes_a_call_for_each_500(
    office: Office, count: int, calls: int
) -> None:
    office.request("Many", 1)
    made, answer = office.counted(lambda service: service.request_machines("Many", count))
    assert made == {"RunInstances": calls}
    office.site.aws.advance(1)
    made, statuses = office.status((answer.request_id,))
    assert (made, statuses) == ({"DescribeInstances": 1}, ["completed"])
    made, _ = office.counted(lambda service: service.request_return(office.refs((answer.request_id,))))
    assert made == {"TerminateInstances": 1}


def test_reclaims_are_asked_once_for_all_plug_ins_together(office: Office, cases: dict[str, Case]) -> None:
    ids = tuple(office.request(case.template_id, 2)[0] for case in cases.values())
    launched(office, 2 * len(ids))
    office.status(ids)
    made, reclaims = office.counted(lambda service: service.return_requests(()))
    assert reclaims.views == ()
    assert made.pop("DescribeAutoScalingGroups", 0) <= 1
    assert made == {"DescribeInstances": 1, "DescribeInstanceStatus": 1, "DescribeSpotInstanceRequests": 1}


def test_one_poll_of_every_api_takes_no_more_than_their_budgets_together(
    office: Office, cases: dict[str, Case]
) -> None:
    ids = tuple(office.request(case.template_id, 2)[0] for case in cases.values())
    launched(office, 2 * len(ids))
    made, statuses = office.status(ids)
    assert statuses == ["completed"] * len(ids)
    asked = sum(n for name, n in made.items() if name.startswith("Describe"))
    assert asked <= 1 + 2 + 3 + 2, made
    made, _ = office.status(ids)
    assert set(made) == {"DescribeInstances"}
    assert made["DescribeInstances"] <= 4, "one for each plug-in at most"


PROBE = """
import json, sys
from hfcore import environment
from hfcore.cli import main
environment.SETTLED = 0  # however new the environment is
code = main(json.loads(sys.argv[1]))
open(sys.argv[2], "w").write(json.dumps([code, sorted(sys.modules)]))
"""
NEVER = ("boto3", "click", "pydantic", "rich", "typer")
OF_AWS = (
    "botocore",
    "concurrent",
    "hfcore.aws",
    "hfcore.hookvalues",
    "hfcore.plugins",
    "importlib.metadata",
    "urllib3",
)
FROM_DISK = (*NEVER, *OF_AWS, "hashlib", "logging", "pluggy", "tinydb", "uuid")
MOST_FROM_DISK, MOST_WITH_AWS = 150, 470
"""Modules, Python's own included: a tenth more than there are, as its releases differ."""


@pytest.fixture
def imports(site: Site) -> Iterator[Callable[..., list[str]]]:
    """Run a verb in a process of its own; give the modules that it has imported."""

    def run(*words: str) -> list[str]:
        told = site.folder / "told.json"
        command = [sys.executable, "-P", "-c", PROBE, json.dumps(["hostfactory", *words]), told]
        subprocess.run(command, env=site.environment(), check=True, capture_output=True, cwd=os.sep)
        code, modules = json.loads(told.read_text())
        assert code == 0
        return list(modules)

    return run


def needless(modules: list[str], forbidden: tuple[str, ...]) -> list[str]:
    return [name for name in modules if f"{name}.".startswith(tuple(f"{one}." for one in forbidden))]


def test_what_is_answered_from_disk_takes_no_call_and_imports_little(
    site: Site, imports: Callable[..., list[str]]
) -> None:
    request_id, machines = site.complete("OnDemand-Small", 1)
    return_id = site.give_back({"machineId": machines[0]["machineId"]})
    site.aws.advance(60)
    site.poll_until(return_id)
    site.run("getAvailableTemplates")
    calls = len(site.aws.calls)
    for words in (
        ("getAvailableTemplates",),
        ("getRequestStatus", "req-00000000-0000-4000-8000-000000000000"),
        ("getRequestStatus", return_id),
        ("getRequestStatus", request_id),
        ("getReturnRequests", "--data", "{}"),
    ):
        modules = imports(*words)
        assert (words, needless(modules, FROM_DISK)) == (words, [])
        assert len(modules) <= MOST_FROM_DISK, words
    assert len(site.aws.calls) == calls


def test_what_asks_aws_imports_botocore_and_no_more_than_it_needs(
    site: Site, imports: Callable[..., list[str]]
) -> None:
    request_id, _ = site.complete("OnDemand-Small", 1)
    for words in (
        ("requestMachines", "OnDemand-Small", "1"),
        ("getRequestStatus", request_id),
        ("getReturnRequests", "--data", "{}"),
        ("requestReturnMachines", site.live().pop()),
    ):
        modules = imports(*words)
        assert "botocore" in modules, words
        assert (words, needless(modules, NEVER)) == (words, [])
        assert len(modules) <= MOST_WITH_AWS, words
