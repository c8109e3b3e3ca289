"""What stands in the way of one request stops no other: a damaged step, a process that hangs, lost user data."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.testing.audit import audit
from hfcore.testing.aws import StrictAws
from hfcore.testing.faults import fault_point
from hfcore.testing.site import CASES, ForkedSite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.testing.forks import Forks

DEADLINE, BETWEEN_POLLS, HANGS, SETTLED = 31 * 60.0, 31.0, 11 * 60.0, 310.0


@pytest.fixture
def site(forks: Forks, memory: Path) -> Iterator[ForkedSite]:
    with StrictAws(boot_seconds=0, shutdown_seconds=0, fill_seconds=0, replace_seconds=0, aged_out_seconds=1e7) as aws:
        yield ForkedSite(Path(tempfile.mkdtemp(dir=memory)) / "site", aws, forks)


def asked(name: str, **more: object) -> dict[str, Any]:
    return {"template": {"templateId": CASES[name].template_id, "machineCount": 2}, **more}


def all_is_well(site: ForkedSite) -> None:
    assert audit(site.aws, site.data, datetime.now(UTC) + timedelta(seconds=site.ahead)) == ()
    assert site.aws.violations == []


def test_a_damaged_step_of_one_request_stops_no_poll_of_another_and_its_request_ends(site: ForkedSite) -> None:
    healthy, _ = site.complete(CASES["ASG"].template_id)
    assert site.call("requestMachines", asked("RunInstances"), kill=fault_point("call-answered:after"), nth=2).killed
    (damaged,) = (one for one in site.stored() if one != healthy)
    (step,) = (site.data / "journal").glob(f"{damaged}.launch-0*.json")
    step.write_bytes(step.read_bytes()[:40])
    for after in (BETWEEN_POLLS, DEADLINE, BETWEEN_POLLS, BETWEEN_POLLS):
        site.pass_time(after)
        assert site.status(healthy)["status"] == "complete"
    assert site.status(damaged)["status"] != "running"
    assert site.stored()[damaged]["status"] in {"completed", "completed_with_errors"}
    assert site.call("store repair", words=("--yes",)).code == 0
    site.pass_time(BETWEEN_POLLS)
    site.status(damaged)
    all_is_well(site)


@pytest.mark.parametrize(
    ("name", "call"),
    [("ASG", "CreateAutoScalingGroup"), ("RunInstances", "RunInstances"), ("SpotFleet", "RequestSpotFleet")],
)
def test_a_request_whose_process_hangs_is_gone_on_with_by_others_and_nothing_is_doubled_when_it_wakes_up(
    site: ForkedSite, name: str, call: str
) -> None:
    site.complete(CASES[name].template_id, 1)  # so that the launch template is known
    site.aws.faults.add(f"latency:{call}=1")
    begun = site.start("requestMachines", asked(name))
    end = time.monotonic() + 20
    while not any(one.get("status") == "creating" for one in site.stored().values()):
        assert time.monotonic() < end
        time.sleep(0.01)
    while not any(f":{call}" in one.read_text() for one in (site.data / "journal").glob("*.json")):
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(begun.pid, signal.SIGSTOP)
    try:
        (request_id,) = (one for one, record in site.stored().items() if record["status"] == "creating")
        site.pass_time(BETWEEN_POLLS)
        assert "it is being created by another call" in site.status(request_id)["message"]
        site.pass_time(HANGS)
        for _ in range(2):
            answer = site.status(request_id)
            site.pass_time(BETWEEN_POLLS)
        assert answer["status"] == "complete", answer
        assert len(answer["machines"]) == 2
    finally:
        os.kill(begun.pid, signal.SIGCONT)
    assert begun.wait().answer["requestId"] == request_id
    site.pass_time(BETWEEN_POLLS)
    assert len(site.status(request_id)["machines"]) == 2
    assert len(site.live()) == 3
    all_is_well(site)


class LsfSite(ForkedSite):
    lsf = True


@pytest.mark.parametrize(
    "point", ["intent-written:after", "call-answered:before", "call-answered:after", "intent-closed:after"]
)
@pytest.mark.parametrize("name", ["RunInstances", "ASG", "EC2Fleet-instant", "EC2Fleet-request", "SpotFleet"])
def test_a_request_whose_own_user_data_died_with_its_process_fails_with_the_reason(
    site: ForkedSite, name: str, point: str
) -> None:
    site = LsfSite(site.folder / "lsf", site.aws, site.forks)
    (site.conf / "start.sh").write_text("#!/bin/sh\n")
    ended = site.call("requestMachines", asked(name, userData="WORD=s3cret"), kill=fault_point(point))
    assert ended.killed
    (request_id,) = site.stored()
    for after in (BETWEEN_POLLS, SETTLED, BETWEEN_POLLS):
        site.pass_time(after)
        answer = site.status(request_id)
    if answer["status"] == "complete_with_error":
        assert "user data" in answer["message"]
        assert site.live() == set()
    else:  # a launch template with it was made, and is used
        assert (answer["status"], len(answer["machines"])) == ("complete", 2)
    site.pass_time(BETWEEN_POLLS)
    site.status(request_id)
    all_is_well(site)
