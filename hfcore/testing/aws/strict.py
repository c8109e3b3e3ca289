"""StrictAws: the server and its world in one object, the operations it answers, and what tests do to it."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from botocore import xform_name

from hfcore.testing.aws import autoscaling, fleets, instances, lookups, templates
from hfcore.testing.aws.faults import Faults, Hook
from hfcore.testing.aws.protocol import AwsError, Params, read_request, write_answer, write_error
from hfcore.testing.aws.server import Server
from hfcore.testing.aws.world import ACCOUNT, Call, Region, Timings, Violation, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hfcore.testing.aws.instances import Instance

REGION = "us-east-1"
RULES_BROKEN = {"FilterLimitExceeded", "InvalidParameterCombination", "IdempotentParameterMismatch", "TagLimitExceeded"}
DEEDS = ("state", "advance", "kill", "reclaim", "set_capacity", "schedule_event", "fault", "reset")
SERVED = {
    instances: "RunInstances TerminateInstances DescribeInstances DescribeInstanceStatus DescribeSpotInstanceRequests "
    "DescribeInstanceTypes",
    templates: "CreateLaunchTemplate DescribeLaunchTemplates DescribeLaunchTemplateVersions DeleteLaunchTemplate "
    "DescribeImages DescribeSubnets DescribeVpcs GetParameter GetCallerIdentity",
    lookups: "DescribeKeyPairs DescribeSecurityGroups DescribePlacementGroups DescribeInstanceTypeOfferings "
    "GetRole GetInstanceProfile ReceiveMessage DeleteMessageBatch",
    fleets: "CreateFleet RequestSpotFleet ModifyFleet",
    autoscaling: "CreateAutoScalingGroup DescribeAutoScalingGroups DescribeScalingActivities SuspendProcesses "
    "TerminateInstanceInAutoScalingGroup DeleteAutoScalingGroup",
}
OPERATIONS: dict[str, Callable[[Region, Params], Params]] = fleets.BOTH | {
    name: getattr(module, xform_name(name)) for module, names in SERVED.items() for name in names.split()
}
# Known to AWS, but looked at by nothing here: better refused than passed over.
NOT_SERVED = {"IncludeAllInstances", "SpotInstanceRequestIds", "LaunchTemplateIds", "IncludeDeletedGroups"}


def _operation(call: Call) -> Callable[[Region, Params], Params]:
    if call.operation not in OPERATIONS:
        raise AwsError("InvalidAction", f"The action {call.operation} is not valid for this web service.")
    if not NOT_SERVED.isdisjoint(call.parameters):
        raise AwsError("Unsupported", f"{', '.join(NOT_SERVED & call.parameters.keys())}: not served here.")
    return _rehearse if call.parameters.get("DryRun") else OPERATIONS[call.operation]


def _rehearse(region: Region, params: Params) -> Params:
    """Do what EC2 does of a DryRun: of a launch it checks what is named; all else is only whether it is allowed."""
    if "MinCount" in params:
        instances.resolve(region, params)
    raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


class StrictAws:
    """An AWS of our own on loopback, on `port` (0: any that is free), with `Timings` by their names."""

    def __init__(self, port: int = 0, /, **timings: float) -> None:
        self.world, self.hooks = World(Timings(**timings)), list[Hook]()
        self._lock, self._stopped = threading.RLock(), threading.Event()
        self.faults = Faults(self)
        self._server = Server(self, port)
        self.port = int(self._server.server_address[1])
        self.endpoint_url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="strict-aws", daemon=True)
        self.deeds: dict[str, Callable[..., Any]] = {name: getattr(self, name) for name in DEEDS}
        self.deeds |= {"calls": lambda: [asdict(call) for call in self.calls], "stop": self._stopped.set}

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

    def environment(self, region: str = REGION, account: str = ACCOUNT) -> dict[str, str]:
        """Give the variables with which any AWS client talks to this server alone, in an account of twelve digits."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": f"AKIAAWS0{account}",
            "AWS_SECRET_ACCESS_KEY": "strict-aws",
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def answer(
        self, service: str, region: str, body: str, target: str = "", account: str = ACCOUNT
    ) -> tuple[int, str, Call]:
        """Do one call; give the HTTP status, the document and the record of the call."""
        request_id, at, started = str(uuid.uuid4()), self.world.timeline.now(), time.perf_counter()
        call = Call(service=service, operation="", region=region, parameters={}, at=at, request_id=request_id)
        call.account, hooks = account, (self.faults, *self.hooks)
        try:
            call.operation, call.parameters = read_request(service, body, target)
            for hook in hooks:
                hook.before(call)
            status, text = self._work(call)
            for hook in hooks:
                hook.after(call)
        except AwsError as error:  # of a hook, or of a request that can't be read
            call.outcome, status = error.code, error.status
            text = write_error(service, error, request_id)
        except Exception as error:
            call.outcome = type(error).__name__
            raise
        finally:
            call.seconds = time.perf_counter() - started
            self.world.calls.append(call)
        return status, text, call

    def _work(self, call: Call) -> tuple[int, str]:
        with self.locked() as world:
            world.current, call.at = call.operation, world.timeline.now()
            try:
                answer = _operation(call)(world.region(call.region, call.account), call.parameters)
            except AwsError as error:
                if error.code in RULES_BROKEN:
                    world.violate(error.message)
                call.outcome = error.code
                return error.status, write_error(call.service, error, call.request_id)
            call.outcome = "ok"
            return 200, write_answer(call.service, call.operation, answer, call.request_id)

    @contextmanager
    def locked(self) -> Iterator[World]:
        """Hold the world still, once what is due has happened."""
        with self._lock:
            self.world.timeline.run_due()
            yield self.world

    @property
    def calls(self) -> list[Call]:
        """Give every call so far."""
        return list(self.world.calls)

    @property
    def busy(self) -> bool:
        """Tell whether a client is connected: a call of a dead process is done all the same."""
        return bool(self._server.open)

    @property
    def violations(self) -> list[Violation]:
        """Give every broken rule so far."""
        return list(self.world.violations)

    def region(self, name: str = REGION, account: str = ACCOUNT) -> Region:
        """Give the state of a region, after what is due has happened."""
        with self.locked() as world:
            return world.region(name, account)

    def advance(self, seconds: float) -> None:
        """Move the clock on; everything due by then happens, in order."""
        with self.locked() as world:
            world.timeline.offset += seconds
            world.timeline.run_due()

    def reset(self) -> None:
        """Forget everything: regions, calls, violations, hooks, faults, the clock's offset."""
        with self.locked() as world:
            self.world, self.faults = World(world.timings), Faults(self)
            self.hooks.clear()

    def live_instances(self) -> list[Instance]:
        """Give every instance that is pending or running."""
        with self.locked() as world:
            return [one for one in world.instances().values() if one.live]

    def kill(self, instance_id: str, code: str = "Client.InstanceInitiatedShutdown") -> None:
        """Let an instance die from outside, for the state reason `code`."""
        with self.locked() as world:
            world.instance(instance_id).end((code, "died from outside"))

    def reclaim(self, instance_id: str) -> None:
        """Give an instance Spot's notice: it ends in 120 s."""
        with self.locked() as world:
            world.instance(instance_id).reclaim()

    def schedule_event(self, instance_id: str, code: str, in_seconds: float = 86400.0) -> None:
        """Schedule an event of DescribeInstanceStatus, such as `instance-retirement`."""
        with self.locked() as world:
            event = {"Code": code, "NotBefore": world.timeline.now() + in_seconds, "Description": f"scheduled: {code}"}
            world.instance(instance_id).events.append(event)

    def set_capacity(self, instance_type: str, zone: str, market: str, count: int | None) -> None:
        """Let at most `count` instances of a pool live at a time (None: no limit); market is `spot` or `on-demand`."""
        with self.locked() as world:
            world.region(zone[:-1]).set_capacity(instance_type, zone, market, count)

    def fault(self, add: Sequence[str] = (), *, clear: bool = False) -> Params:
        """Clear the faults, add some by their texts, and tell what may strike and what did."""
        if clear:
            self.faults.clear()
        self.faults.add(*add)
        return {"active": self.faults.active, "injected": list(map(asdict, self.faults.injected))}

    def state(self) -> Params:
        """Describe the world for another process."""
        with self.locked() as world:
            found = [one.described for one in world.instances().values()]
            return {"now": world.timeline.now(), "instances": found, "violations": list(map(asdict, world.violations))}

    def control(self, what: str, asked: Params) -> Any:  # noqa: ANN401 - whatever JSON the deed answers
        """Do what `/_control` asks: one of `deeds`, with its arguments; ValueError if there is no such deed."""
        if what not in self.deeds:
            raise ValueError(f"known deeds: {', '.join(self.deeds)}")
        done = self.deeds[what](**asked)
        return {"done": what} if done is None else done
