"""A grid of `EC2Fleet` on a strict AWS: the installed plug-in's real hooks, and the core in short around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hfcore.testing.aws import Timings
from hfcore.testing.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.testing.rig import AwsServer

__all__ = ["Grid", "grid"]

TIMINGS = Timings(boot_seconds=20, shutdown_seconds=20, fill_seconds=20, replace_seconds=20, history_after_seconds=0)


@pytest.fixture
def grid(aws_server: AwsServer, tmp_path: Path) -> Iterator[Grid]:
    """Give a grid on an AWS where everything takes 20 seconds of its clock."""
    with aws_server.fresh(TIMINGS):
        yield Grid(aws_server, tmp_path, "EC2Fleet", price_type="ondemand")
