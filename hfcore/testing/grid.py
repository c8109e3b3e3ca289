"""Own `hfcore.testing.core` on a strict AWS.

>>> @pytest.fixture
... def grid(aws_server, tmp_path):
...     with aws_server.fresh(Timings(boot_seconds=20)):     # no documented rule may be broken
...         yield Grid(aws_server, tmp_path, "EC2Fleet", price_type="ondemand")
>>> request = grid.ask(3)                                    # provision, as the core does it
>>> grid.until_done()
>>> assert grid.calls()["CreateFleet"] == 1 and len(grid.live(request)) == 3
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.hookspecs import PROVIDERS
from hfcore.plugins import Plugins, installed
from hfcore.testing.core import LOG, Core
from hfcore.testing.rig import Rig

if TYPE_CHECKING:
    from pathlib import Path

    from hfcore.models import Request
    from hfcore.testing.rig import AwsServer


class Grid(Rig, Core):
    """The core in short around an installed plug-in, each call a new process's.

    Args:
        server: The server.
        folder: Where files are kept.
        name: The provider API.
        template: Template fields that differ from `new_template`'s.
    """

    def __init__(self, server: AwsServer, folder: Path, name: str, **template: Any) -> None:  # noqa: ANN401 - as above
        super().__init__(server, folder)
        self.provider = Plugins(installed(PROVIDERS), logger=LOG).provider(name)
        self.template = self.new_template(**template)

    def running(self, request: Request) -> list[Any]:
        """Give what really lives in AWS of a request."""
        return [one for one in self.aws.live_instances() if one.tags.get("hfcore:request-id") == request.request_id]
