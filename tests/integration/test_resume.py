"""Every AWS plug-in after a death amid a launch: gone on with in time, only looked for after the deadline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import RequestStatus
from hfcore.testing.aws import Timings
from hfcore.testing.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.models import Request
    from hfcore.testing.rig import AwsServer

ROLE = "arn:aws:iam::123456789012:role/aws-ec2-spot-fleet-tagging-role"
LATE = 31 * 60
NOT_MUTATING = ("Describe", "Get")


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One provider API in one of its forms, and the operation that launches."""

    name: str
    launch: str
    fields: dict[str, Any] = field(default_factory=dict)


APIS = {
    "RunInstances": Api(name="RunInstances", launch="RunInstances"),
    "ASG": Api(name="ASG", launch="CreateAutoScalingGroup"),
    "EC2Fleet-instant": Api(name="EC2Fleet", launch="CreateFleet", fields={"fleet_type": "instant"}),
    "EC2Fleet-request": Api(name="EC2Fleet", launch="CreateFleet", fields={"fleet_type": "request"}),
    "EC2Fleet-maintain": Api(name="EC2Fleet", launch="CreateFleet", fields={"fleet_type": "maintain"}),
    "SpotFleet": Api(name="SpotFleet", launch="RequestSpotFleet", fields={"price_type": "spot", "fleet_role": ROLE}),
}


@pytest.fixture(params=APIS.values(), ids=APIS.keys())
def api(request: pytest.FixtureRequest) -> Api:
    found: Api = request.param
    return found


@pytest.fixture
def grid(aws_server: AwsServer, tmp_path: Path, api: Api) -> Iterator[Grid]:
    with aws_server.fresh(Timings(boot_seconds=20, shutdown_seconds=20, fill_seconds=20)):
        yield Grid(aws_server, tmp_path, api.name, **{"price_type": "ondemand"} | api.fields)


def changes(grid: Grid) -> set[str]:
    return {operation for operation in grid.calls() if not operation.startswith(NOT_MUTATING)}


def died(grid: Grid, api: Api, moment: str) -> Request:
    request = grid.request(3)
    with grid.death(moment, api.launch):
        grid.provision(request)
    return request


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_launch_whose_process_died_is_gone_on_with_and_made_once(grid: Grid, api: Api, moment: str) -> None:
    request = died(grid, api, moment)
    grid.sleep(60)
    grid.provision(request)
    grid.until_done()
    assert grid.now(request).status is RequestStatus.COMPLETED
    assert len(grid.running(request)) == len(grid.live(request)) == 3


def test_what_a_dead_process_made_is_found_after_the_deadline_and_nothing_is_sent_again(grid: Grid, api: Api) -> None:
    request = died(grid, api, "after")
    grid.sleep(LATE)
    grid.calls()
    made = grid.provision(request)
    assert made.resource_ids
    assert changes(grid) == set()
    grid.until_done()
    assert len(grid.running(request)) == len(grid.live(request)) == 3


def test_what_a_dead_process_never_sent_is_not_launched_after_the_deadline(grid: Grid, api: Api) -> None:
    request = died(grid, api, "before")
    grid.sleep(LATE)
    with pytest.raises(CloudError, match="deadline") as caught:
        grid.provision(request)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert not grid.aws.live_instances()
    assert all(intent.outcome is not None for intent in grid.journal().steps(request.request_id))


@pytest.mark.parametrize("api", [APIS["RunInstances"], APIS["EC2Fleet-instant"]], ids=["RunInstances", "instant"])
def test_that_nothing_is_to_be_seen_right_after_a_launch_proves_nothing(grid: Grid, api: Api) -> None:
    grid.aws.world.timings = Timings(boot_seconds=20, visible_after_seconds=120)
    request = grid.request(3, minutes=0.5)
    grid.fail(api.launch, "reset after", "reset after")
    with pytest.raises(OutcomeUnknown):
        grid.provision(request)
    grid.sleep(40)
    with pytest.raises(OutcomeUnknown):
        grid.provision(request)
    grid.sleep(200)
    grid.provision(request)
    assert len(grid.running(request)) == len(grid.live(request)) == 3
