"""StrictAws: the server and its world in one object, and what tests do to them."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from hfcore.testing.aws.instances import end, reclaim
from hfcore.testing.aws.server import Hook, Server
from hfcore.testing.aws.world import Call, Region, Timings, Violation, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hfcore.testing.aws.instances import Instance
    from hfcore.testing.aws.protocol import Params

REGION = "us-east-1"


class StrictAws:
    """An AWS of our own on loopback.

    Args:
        port: the port, 0 for any that is free.
        timings: seconds, by the names of `Timings`: boot_seconds, shutdown_seconds, fill_seconds, …

    Example:
        >>> with StrictAws() as aws:
        ...     ec2 = boto3.client("ec2", endpoint_url=aws.endpoint_url, region_name="us-east-1")
    """

    def __init__(self, port: int = 0, /, **timings: float) -> None:
        self.world = World(Timings(**timings))
        self._server = Server(self.world, self.control, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="strict-aws", daemon=True)
        self._stopped = threading.Event()
        self.deeds: dict[str, Callable[..., Any]] = {
            "state": self.state,
            "calls": lambda: [asdict(c) for c in self.calls],
            "advance": self.advance,
            "kill": self.kill,
            "reclaim": self.reclaim,
            "capacity": self.set_capacity,
            "event": self.schedule_event,
            "reset": self.reset,
            "stop": self._stopped.set,
        }

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering, and cut open connections; once stopped it stays so."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.close()

    def wait(self) -> None:
        """Serve until somebody asks `/_control` to stop."""
        self._stopped.wait()
        self.stop()

    @property
    def port(self) -> int:
        """Give the port."""
        return int(self._server.server_address[1])

    @property
    def endpoint_url(self) -> str:
        """Give the URL for every service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def hooks(self) -> list[Hook]:
        """Give the hooks, each asked before and after every call."""
        return self._server.hooks

    @property
    def calls(self) -> list[Call]:
        """Give every call so far."""
        with self._server.lock:
            return list(self.world.calls)

    @property
    def violations(self) -> list[Violation]:
        """Give every broken rule so far."""
        with self._server.lock:
            return list(self.world.violations)

    def environment(self, region: str = REGION) -> dict[str, str]:
        """Give the variables with which any AWS client talks to this server alone."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "AKIASTRICTAWS0000000",
            "AWS_SECRET_ACCESS_KEY": "strict-aws",
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @contextmanager
    def _locked(self) -> Iterator[World]:
        with self._server.lock:
            self.world.timeline.run_due()
            yield self.world

    def region(self, name: str = REGION) -> Region:
        """Give the state of a region, after what is due has happened."""
        with self._locked() as world:
            return world.region(name)

    def advance(self, seconds: float) -> None:
        """Move the clock on; everything due by then happens, in order."""
        with self._locked() as world:
            world.timeline.offset += seconds
            world.timeline.run_due()

    def reset(self) -> None:
        """Forget everything: regions, calls, violations, hooks, the clock's offset."""
        with self._locked() as world:
            world.reset()
            self.hooks.clear()

    def live_instances(self) -> list[Instance]:
        """Give every instance that is pending or running."""
        with self._locked() as world:
            return world.live_instances()

    def kill(self, instance_id: str, code: str = "Client.InstanceInitiatedShutdown") -> None:
        """Let an instance die from outside, for the state reason `code`."""
        with self._locked() as world:
            instance = world.instance(instance_id)
            end(world.region(instance.plan.subnet.region), instance, (code, "died from outside"))

    def reclaim(self, instance_id: str) -> None:
        """Give an instance Spot's notice: it ends in 120 s."""
        with self._locked() as world:
            instance = world.instance(instance_id)
            reclaim(world.region(instance.plan.subnet.region), instance)

    def schedule_event(self, instance_id: str, code: str, in_seconds: float = 86400.0) -> None:
        """Schedule an event of DescribeInstanceStatus, such as `instance-retirement`."""
        with self._locked() as world:
            event = {"Code": code, "NotBefore": world.timeline.now() + in_seconds, "Description": f"scheduled: {code}"}
            events = world.instance(instance_id).events
            events.append(event | {"InstanceEventId": f"instance-event-{len(events):017x}"})

    def set_capacity(self, instance_type: str, zone: str, market: str, count: int | None) -> None:
        """Let at most `count` instances of a pool live at a time (None: no limit); market is `spot` or `on-demand`."""
        with self._locked() as world:
            world.region(zone[:-1]).set_capacity(instance_type, zone, market, count)

    def state(self) -> Params:
        """Describe the world for another process."""
        with self._locked() as world:
            regions = list(world.regions.values())
            instances = [
                {
                    "id": i.id,
                    "state": i.state,
                    "type": i.plan.type,
                    "zone": i.plan.subnet.zone,
                    "market": i.plan.market,
                    "tags": i.tags,
                }
                for r in regions
                for i in r.instances.values()
            ]
            fleets = {f.id: f.state for r in regions for f in (*r.fleets.values(), *r.spot_fleets.values())}
            return {
                "now": world.timeline.now(),
                "instances": instances,
                "fleets": fleets,
                "groups": [name for r in regions for name in r.groups],
                "launch_templates": [t.name for r in regions for t in r.templates.values()],
                "violations": [asdict(v) for v in world.violations],
            }

    def control(self, what: str, asked: Params) -> Any:  # noqa: ANN401 - whatever JSON the deed answers
        """Do what `/_control` asks: one of `deeds`, with its arguments.

        Raises:
            ValueError: no such deed.
        """
        if what not in self.deeds:
            raise ValueError(f"known deeds: {', '.join(self.deeds)}")
        done = self.deeds[what](**asked)
        return {"done": what} if done is None else done
