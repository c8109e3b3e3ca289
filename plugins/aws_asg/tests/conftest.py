# ruff: noqa: ANN401 - the fields of a template
"""Groups on a strict AWS: the installed plug-in's real hooks, a new context for each call, and the core's own rules."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hfcore import lifecycle
from hfcore.models import Release, RequestKind, RequestStatus
from hfcore.testing.aws import AwsError, Timings
from hfcore.testing.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfcore.models import Machine, Provisioned, Request
    from hfcore.testing.rig import AwsServer

__all__ = ["Rig", "make_rig", "rig"]


class Rig(Grid):
    """A grid whose polls freeze what has ended, and which names what Auto Scaling has."""

    def __init__(self, server: AwsServer, folder: Path) -> None:
        super().__init__(server, folder, "ASG", template_id="Group", instance_tags={}, provider_api="ASG")
        self.asg = self.provider
        self.subnets = list(self.aws.region().subnets)

    def death(self, moment: str, operation: str) -> AbstractContextManager[None]:
        """Die `before-call` or `after-call` of an operation."""
        return super().death(moment.removesuffix("-call"), operation)

    def advance(self, seconds: float) -> None:
        self.sleep(seconds)

    def new_request(self, target: int, number: int = 1, **fields: Any) -> Request:
        made = self.request(target, **fields)
        del self.requests[made.request_id]
        return self.keep(replace(made, request_id=f"req-00000000-0000-4000-8000-{number:012d}"))

    def keep(self, request: Request) -> Request:
        self.requests[request.request_id] = request
        return request

    def provision(self, request: Request) -> Request:
        assert request.template
        return self.take_in(request, self.asg.provision(request, request.template, self.context))

    def take_in(self, request: Request, made: Provisioned) -> Request:
        self.journal().forget(request.request_id)
        return self.keep(lifecycle.provisioned(request, made, self.clock.now()))

    def started(self, target: int, number: int = 1, **fields: Any) -> Request:
        return self.provision(self.new_request(target, number, **fields))

    def machines_of(self, request: Request) -> tuple[Machine, ...]:
        return tuple(self.machines[i] for i in request.machine_ids)

    def poll(self, *requests: Request) -> Any:
        """Look at requests, and freeze those that have ended; give one or all."""
        found = self.discover(*requests)
        assert list(found) == [r.request_id for r in requests]
        polled = [self._frozen(self.now(r)) for r in requests]
        return polled[0] if len(polled) == 1 else polled

    def _frozen(self, request: Request) -> Request:
        if not lifecycle.needs_freezing(request):
            return request
        (outcome,) = self.asg.stop_launching((request,), self.context)
        assert outcome.done
        self.journal().forget(request.request_id)
        return self.keep(lifecycle.frozen(request))

    def settled(self, target: int, number: int = 1, **fields: Any) -> Request:
        """Give a request that is complete and frozen."""
        request = self.started(target, number, **fields)
        self.advance(600)
        request = self.poll(request)
        assert (request.status, request.frozen) == (RequestStatus.COMPLETED, True)
        return request

    def releases(self, *instance_ids: str, return_id: str = "ret-1") -> tuple[Release, ...]:
        groups: dict[str, list[Machine]] = {}
        for one in instance_ids:
            groups.setdefault(self.machines[one].request_id, []).append(self.machines[one])
        return tuple(
            Release(request=self.requests[r], machines=tuple(machines), return_id=return_id)
            for r, machines in groups.items()
        )

    def release(self, *instance_ids: str) -> frozenset[str]:
        """End machines; none may fail."""
        done = self.asg.release_instances(self.releases(*instance_ids), self.context)
        assert not any(one.faults for one in done)
        for one in instance_ids:
            self.machines[one] = lifecycle.given_back(self.machines[one], "ret-1")
        return frozenset().union(*(one.ending for one in done))

    def return_question(self, request: Request, *instance_ids: str) -> Request:
        return replace(request, request_id="ret-1#0", kind=RequestKind.RETURN, machine_ids=instance_ids)

    @contextmanager
    def calls(self) -> Iterator[Counter[str]]:
        """Count the calls made inside."""
        before, counted = len(self.aws.calls), Counter[str]()
        yield counted
        counted.update(call.operation for call in self.aws.calls[before:])

    def group(self, request: Request) -> Any:
        return self.aws.region().groups[f"asg-hf-{request.request_id}"]

    def live(self, request: Request | None = None) -> Any:
        """Give what lives in AWS; of a request, its machines that the core thinks alive."""
        return super().live(request) if request else {one.id for one in self.aws.live_instances()}

    def refuse(self, operation: str, code: str, text: str = "no", *, times: int = 1, status: int = 400) -> None:
        self.fail(operation, *[AwsError(code, text, status)] * times)


@pytest.fixture
def make_rig(aws_server: AwsServer, tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    with ExitStack() as stack:

        def make(**timings: float) -> Rig:
            stack.enter_context(aws_server.fresh(Timings(**timings)))
            return Rig(aws_server, tmp_path)

        yield make


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """Give a rig whose cloud moves only by `advance`: every delay is a minute of its clock."""
    return make_rig(boot_seconds=60, shutdown_seconds=60, fill_seconds=60, replace_seconds=60)
