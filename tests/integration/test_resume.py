"""AWS plug-ins whose launch was not answered, past the deadline: what is not visible yet may have been made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hfcore.errors import OutcomeUnknown
from hfcore.testing.aws import Timings
from hfcore.testing.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path

    from hfcore.testing.rig import AwsServer


@pytest.mark.parametrize(("api", "launch"), [("RunInstances", "RunInstances"), ("EC2Fleet", "CreateFleet")])
def test_that_nothing_is_to_be_seen_right_after_a_launch_proves_nothing(
    aws_server: AwsServer, tmp_path: Path, api: str, launch: str
) -> None:
    with aws_server.fresh(Timings(boot_seconds=20, visible_after_seconds=120)):
        grid = Grid(aws_server, tmp_path, api, price_type="ondemand", fleet_type="instant")
        request = grid.request(3, minutes=0.5)
        grid.fail(launch, "reset after", "reset after")
        with pytest.raises(OutcomeUnknown):
            grid.provision(request)
        grid.sleep(40)
        with pytest.raises(OutcomeUnknown):
            grid.provision(request)
        grid.sleep(200)
        grid.provision(request)
        assert len(grid.running(request)) == len(grid.live(request)) == 3
