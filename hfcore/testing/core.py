"""Own the core in short around any plug-in: `lifecycle`'s own rules, and no files but the journal.

Each call of a hook is a new process's: files stay, the cache is new. `hfcore.testing.contract` works with it, and
`hfcore.testing.grid` has it on a strict AWS.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from hfcore import lifecycle, observing
from hfcore.config import Settings
from hfcore.context import Context
from hfcore.dispatch import CallCache
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.journal import IntentFolder
from hfcore.memory import FileMemory
from hfcore.models import Machine, Release, Request, RequestKind, RequestStatus, Template
from hfcore.records import encode_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfcore.models import Discovery, Instance, Outcome, Provisioned, Released
    from hfcore.plugins import Provider

OWNER: Final = "owner-1"
LOG: Final = logging.getLogger("hfcore.test")
_POLLS = 10


class DeathError(BaseException):
    """The process is killed."""


class SteppedClock:
    """The real time plus what a test adds; sleeping takes no time, and is noted."""

    def __init__(self) -> None:
        self.added = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Give the UTC time."""
        return datetime.now(UTC) + timedelta(seconds=self.added)

    def monotonic(self) -> float:
        """Give seconds that only grow."""
        return time.monotonic() + self.added

    def sleep(self, seconds: float) -> None:
        """Note a wait."""
        self.slept.append(seconds)


class MovingClock(SteppedClock):
    """The same time as a cloud's: who sleeps, moves both on."""

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_time = pass_time

    def sleep(self, seconds: float) -> None:
        """Let time pass here and in the cloud."""
        self.added += seconds
        self._pass_time(seconds)


class Place:
    """One provider instance; files stay in `folder`, and each context is a new process's."""

    owner = OWNER

    def __init__(self, folder: Path, clock: SteppedClock, clients: Callable[[str, str], Any], region: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.clock, self.clients = folder, clock, clients
        self.settings = Settings(conf_dir=folder, work_dir=folder, log_dir=folder, provider="grid", region=region)

    def new_context(self) -> Context:
        """Give a context as each new process has it: files stay, the cache is new."""
        return Context(
            settings=self.settings,
            owner=self.owner,
            provider="grid",
            region=self.settings.region,
            endpoint="",
            deadline=self.clock.monotonic() + self.settings.call_timeout_sec,
            clock=self.clock,
            journal=self.journal(),
            memory=FileMemory(self.folder / "cache" / "memory.json", clock=self.clock),
            cache=CallCache(),
            clients=self.clients,
            logger=LOG,
            conf_dir=self.folder,
        )

    def journal(self) -> IntentFolder:
        """Give the journal."""
        return IntentFolder(self.folder / "journal", owner=self.owner, clock=self.clock)


class Core(Place):
    """The core in short: its requests, their machines, and what it asks of a plug-in.

    Attributes:
        provider: The plug-in.
        template: The template that requests have, but for the fields that they change.
    """

    provider: Provider
    template: Template

    def __init__(self, folder: Path, clock: SteppedClock, clients: Callable[[str, str], Any], region: str) -> None:
        super().__init__(folder, clock, clients, region)
        self.requests: dict[str, Request] = {}
        self.machines: dict[str, Machine] = {}

    @property
    def context(self) -> Context:
        """Give the context of a new process."""
        return self.new_context()

    def request(self, target: int = 2, *, minutes: float = 30, **template: Any) -> Request:  # noqa: ANN401 - as above
        """Store a new request."""
        now = self.clock.now()
        made = Request(
            request_id=f"req-{len(self.requests):08d}-0000-4000-8000-{crc32(self.owner.encode()):012x}",
            status=RequestStatus.CREATING,
            template_id=self.template.template_id,
            target=target,
            provider_api=self.provider.name,
            cloud=self.provider.info.cloud,
            template=replace(self.template, **template),
            region=self.settings.region,
            created_at=now,
            deadline=now + timedelta(minutes=minutes),
        )
        self.requests[made.request_id] = made
        return made

    def provision(self, request: Request) -> Request:
        """Let the plug-in provision a request, and store what it made, or that it has failed."""
        assert request.template
        try:
            return self.take_in(self.provider.provision(request, request.template, self.context))
        except CloudError as error:
            if not isinstance(error, OutcomeUnknown):
                failed = lifecycle.failed(self.now(request), str(error), self.clock.now())
                self.requests[request.request_id] = failed
            raise

    def ask(self, target: int = 2, **template: Any) -> Request:  # noqa: ANN401 - as above
        """Store and provision a new request."""
        return self.provision(self.request(target, **template))

    def take_in(self, made: Provisioned) -> Request:
        """Store what `provision` or `advance` made."""
        now = self.clock.now()
        request = lifecycle.provisioned(self.requests[made.request_id], made, now)
        encode_request(request)  # what is no JSON value could not be stored
        self.requests[request.request_id] = request
        for one in made.instances:
            self.machines[one.instance_id] = lifecycle.machine_of(request.request_id, one, now, _name)
        self.journal().forget(request.request_id)
        return request

    def its(self, request: Request) -> list[Machine]:
        """Give a request's machines."""
        return [one for one in self.machines.values() if one.request_id == request.request_id]

    def live(self, request: Request) -> list[Machine]:
        """Give a request's live machines, as the core knows them."""
        return [one for one in self.its(request) if lifecycle.is_live(one)]

    def now(self, request: Request) -> Request:
        """Give a request as it is stored."""
        return self.requests[request.request_id]

    def advance(self) -> None:
        """Let the plug-in go on with what is open."""
        waiting = tuple(one for one in self.requests.values() if one.status is RequestStatus.IN_PROGRESS)
        for made in self.provider.advance(waiting, self.context):
            self.take_in(made)

    def asked(self, *requests: Request) -> tuple[Request, ...]:
        """Give requests as the core hands them to discovery: with their live machines only."""
        return tuple(replace(one, machine_ids=tuple(m.instance_id for m in self.live(one))) for one in requests)

    def discover(self, *requests: Request) -> dict[str, Discovery]:
        """Look at requests as a poll does; by default at all that may still move or have live machines."""
        moving = (one for one in self.requests.values() if self.live(one) or lifecycle.is_open(one))
        asked = self.asked(*(map(self.now, requests) if requests else moving))
        ids = {one.request_id: frozenset(one.machine_ids) for one in asked}
        found = {one.request_id: one for one in self.provider.discover_instances(asked, self.context)}
        for request_id, discovery in found.items():
            request = self.requests[request_id]
            seen = observing.observe(
                request,
                tuple(self.its(request)),
                discovery,
                asked=ids[request_id],
                now=self.clock.now(),
                name_of=_name,
                pending_timeout=timedelta(minutes=3),
            )
            self.requests[request_id] = seen.request
            self.machines |= {one.instance_id: one for one in seen.machines}
        return found

    def until_done(self, seconds: float = 21) -> None:
        """Poll until no request is open."""
        for _ in range(_POLLS):
            self.sleep(seconds)
            self.discover()
            if not any(map(lifecycle.is_open, self.requests.values())):
                return
        raise AssertionError([one.message or one.status for one in self.requests.values()])

    def cancel(self, request: Request) -> None:
        """End a request, if it is open, as a person does who wants no more of it."""
        its = tuple(self.its(request))
        self.requests[request.request_id] = lifecycle.cancelled(self.now(request), its, self.clock.now())

    def freeze(self) -> list[Outcome]:
        """Let what has ended launch nothing more."""
        due = tuple(one for one in self.requests.values() if lifecycle.needs_freezing(one))
        outcomes = list(self.provider.stop_launching(due, self.context))
        for one in outcomes:
            if one.done:
                self.requests[one.request_id] = lifecycle.frozen(self.requests[one.request_id])
        return outcomes

    def release(self, request: Request, *machines: Machine, return_id: str = "ret-1") -> Released:
        """Return machines of a request."""
        return self.give_back(*machines, return_id=return_id)[request.request_id]

    def give_back(self, *machines: Machine, return_id: str = "ret-1") -> dict[str, Released]:
        """Return machines of several requests in one call of the hook; give the answers by request id."""
        theirs: dict[str, list[Machine]] = {}
        for one in machines:
            theirs.setdefault(one.request_id, []).append(one)
        releases = tuple(
            Release(request=self.requests[request_id], machines=tuple(its), return_id=return_id)
            for request_id, its in theirs.items()
        )
        given = {one.request_id: one for one in self.provider.release_instances(releases, self.context)}
        for one in machines:
            marked = lifecycle.given_back(self.machines[one.instance_id], return_id)
            self.machines[one.instance_id] = lifecycle.released(marked, given[one.request_id], self.clock.now())
        return given

    def about(self, *machines: Machine) -> Discovery:
        """Ask about exactly these machines, as the status of a return does."""
        request = self.now(self.requests[machines[0].request_id])
        ids = tuple(one.instance_id for one in machines)
        asked = replace(request, request_id="ret-1#0", kind=RequestKind.RETURN, resource_ids=(), machine_ids=ids)
        (found,) = self.provider.discover_instances((asked,), self.context)
        return found

    def cleanup(self) -> list[Outcome]:
        """Let the plug-in remove what is left of emptied requests."""
        due = [one for one in self.requests.values() if lifecycle.needs_cleanup(one) and not self.live(one)]
        outcomes = list(self.provider.cleanup(tuple(due), self.context))
        for one in outcomes:
            if one.done:
                self.requests[one.request_id] = lifecycle.cleaned(self.requests[one.request_id])
        return outcomes

    def sleep(self, seconds: float) -> None:
        """Let time pass, here and in the cloud."""
        self.clock.sleep(seconds)


def _name(instance: Instance) -> str:
    return instance.private_dns
