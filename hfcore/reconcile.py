"""Own what follows where the cloud holds what no record knows, or a record names what the cloud lacks. Pure.

    what the cloud has under our owner tag          proposed
    of an open request, which does not know it      adopt, by itself
    of a request recorded as ended without it       end (or remove), by itself
    told to end, recorded as gone, and alive        end, by itself
    recorded as gone otherwise, and alive           end, by `--end-unknown` only
    of a request that no record knows               end (or remove), by `--end-unknown` only
    a shared launch template that nothing uses      remove, by `--unused-templates` only
    a live machine that the cloud does not list     look again, which decides as any poll does

What is younger than the margin is not judged: its record may be on the way, or the cloud's answer late.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from hfcore import lifecycle
from hfcore.models import MachineStatus, OwnedResource, RequestKind, RequestStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from hfcore.models import Machine, Request

INSTANCE = "instance"
TEMPLATE = "launch-template"
MACHINE = "machine"
"""The kind of what only a record names."""

UNUSED_DAYS = 30
"""A shared launch template unused for so many days is named; nothing removes it unasked."""

Known = tuple["Request", tuple["Machine", ...]]


class Deed(StrEnum):
    """What is proposed."""

    ADOPT = "adopt"
    END = "end"
    REMOVE = "remove"
    LOOK = "look again"
    KEEP = "keep"


class Leave(StrEnum):
    """What a person has to say before something is done."""

    NONE = ""
    END_UNKNOWN = "--end-unknown"
    UNUSED_TEMPLATES = "--unused-templates"


class Place(NamedTuple):
    """Where things live; an empty endpoint is the cloud's own."""

    region: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Something of ours in the cloud, as the plug-ins `apis` have listed it in a place."""

    resource: OwnedResource
    place: Place
    apis: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others; one endpoint may show what another shows too."""
        return self.resource.kind, self.resource.resource_id, self.place.region

    def found(self, deed: Deed, why: str, leave: Leave = Leave.NONE) -> Finding:
        """Give what is to be done about it."""
        return Finding(resource=self.resource, place=self.place, apis=self.apis, deed=deed, why=why, leave=leave)


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What the records say, read after the cloud was asked.

    Args:
        requests: The hot requests, by id.
        machines: The hot machines, by id.
        archived: Gives an archived request with its machines.
        begun: Ids of the requests that have steps in the journal.
        used: Template id to the times at which machines of it were asked for; of interest to launch templates alone.
        doubt: Why the records may lack what they should know; empty as a rule.
        provider: The name of this provider instance; empty: what others have made is not told from its own.
        switched_off: The plug-ins that are not asked, though what they have launched may stand.
        unlisted: Why not all that is in a place could be listed: what is there unlisted may need what is.
        since: Nothing older than this can be known to them; `None` is no bound.
    """

    requests: Mapping[str, Request]
    machines: Mapping[str, Machine]
    archived: Callable[[str], Known | None]
    begun: frozenset[str] = frozenset()
    used: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    doubt: str = ""
    provider: str = ""
    switched_off: tuple[str, ...] = ()
    unlisted: Mapping[Place, str] = field(default_factory=dict)
    since: datetime | None = None

    def find(self, request_id: str) -> Request | None:
        """Give a hot or archived request for machines."""
        found = self.requests.get(request_id) or (self.archived(request_id) or (None,))[0]
        return found if found and found.kind is RequestKind.CREATE else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing on which cloud and records do not agree.

    Args:
        resource: What it is; of kind `machine` if only a record names it.
        place: Where it is.
        apis: The plug-ins that have listed it.
        deed: What is proposed.
        why: The reason, a sentence's end.
        leave: What a person has to say before that is done.
        request: Its request, as far as a record knows it.
        machine: Its record, if it is an instance and has one.
    """

    resource: OwnedResource
    place: Place
    apis: tuple[str, ...] = ()
    deed: Deed
    why: str
    leave: Leave = Leave.NONE
    request: Request | None = None
    machine: Machine | None = None


class Judge:
    """Holds what the cloud has against the records.

    Args:
        held: All that was listed.
        records: The records.
        now: The time.
        margin: What is younger is not judged.
        unused: After so long without use a shared launch template is named; `None`: they are left out.
    """

    def __init__(
        self,
        held: Iterable[Held],
        records: Records,
        *,
        now: datetime,
        margin: timedelta,
        unused: timedelta | None = None,
    ) -> None:
        self._held = tuple(_once(held, records))
        self._records, self._now, self._margin, self._unused = records, now, margin, unused
        live = filter(lifecycle.is_live, records.machines.values())
        self._counted_on = {machine.resource_id for machine in live if not machine.return_id}
        others = [one.resource for one in self._held if one.resource.kind != TEMPLATE]
        self._needing = {one.request_id for one in others}
        self._there = {one.resource_id for one in others}
        self._users = {used for one in others for used in one.launch_templates}

    def findings(self) -> tuple[Finding, ...]:
        """Give what the cloud has and the records do not know so."""
        judged = (self._judged(one) for one in self._held if self._is_old(one.resource))
        return tuple(one for one in judged if one)

    def missing(self, listed_in: frozenset[Place]) -> tuple[Finding, ...]:
        """Give the live machines, and the resources that refill, of which nothing is listed in the places asked."""
        there = {one.resource.resource_id for one in self._held}
        return tuple(
            finding
            for request in self._records.requests.values()
            if Place(request.region, request.endpoint) in listed_in and request.kind is RequestKind.CREATE
            for finding in self._missing_of(request, there)
        )

    def _is_old(self, one: OwnedResource) -> bool:
        return one.created_at is not None and self._now - one.created_at >= self._margin

    def _judged(self, one: Held) -> Finding | None:
        if one.resource.kind == TEMPLATE and not one.resource.request_id:
            return self._shared_template(one)
        request = self._records.find(one.resource.request_id) if one.resource.request_id else None
        machine = self._machine(one, request)
        if machine is not None and not self._is_wrong(machine):
            return None
        if request is None:
            return self._doubted(self._unknown(one))
        deed, why = self._of_request(one, request, machine)
        if not why:
            return None
        elsewhere = _elsewhere(one, request)
        leave = Leave.END_UNKNOWN if machine is not None and not lifecycle.is_told_to_end(machine) else Leave.NONE
        found = one.found(Deed.KEEP, elsewhere) if elsewhere else one.found(deed, why, leave)
        return self._doubted(replace(found, request=request, machine=machine))

    def _machine(self, one: Held, request: Request | None) -> Machine | None:
        if one.resource.kind != INSTANCE:
            return None
        machine = self._records.machines.get(one.resource.resource_id)
        if machine is not None or request is None or request.request_id in self._records.requests:
            return machine
        archived = self._records.archived(request.request_id)
        members = archived[1] if archived else ()
        return next((m for m in members if m.instance_id == one.resource.resource_id), None)

    def _is_wrong(self, machine: Machine) -> bool:
        """Tell whether a record says for long that a machine is going or gone, which the cloud lists as alive."""
        return machine.status in lifecycle.ENDING and self._now - machine.observed_at >= self._margin

    def _unknown(self, one: Held) -> Finding:
        request_id = one.resource.request_id
        why = f"no record knows its request {request_id}" if request_id else "no record and no tag names its request"
        since, is_template = self._records.since, one.resource.kind == TEMPLATE
        maker = one.resource.provider
        if maker and self._records.provider and maker != self._records.provider:
            return one.found(Deed.KEEP, f"{why}, and the provider instance {maker} has made it")
        if since and one.resource.created_at and one.resource.created_at < since:
            return one.found(Deed.KEEP, f"{why}, and it is older than this store: what has made it may still need it")
        if is_template and request_id in self._needing:
            return one.found(Deed.KEEP, f"{why}, of which something stands that may need it")
        return one.found(Deed.REMOVE if is_template else Deed.END, why, Leave.END_UNKNOWN)

    def _of_request(self, one: Held, request: Request, machine: Machine | None) -> tuple[Deed, str]:
        """Say what is to be done with something that a request's tag is on; no reason: all is as it should be."""
        archived = request.request_id not in self._records.requests
        if machine is not None:
            untold = "" if lifecycle.is_told_to_end(machine) else ", though nothing here has ended it: it may be in use"
            return Deed.END, f"it is recorded as {machine.status}, and lives{untold}"
        if one.resource.kind == TEMPLATE:
            over = archived or lifecycle.is_finished(request)
            why = f"its request is {request.status}, and nothing of it stands that may need it"
            return Deed.REMOVE, why if over and request.request_id not in self._needing else ""
        if not archived and request.request_id in self._records.begun:
            return Deed.KEEP, ""  # a call is at work on it, or has left what the next one goes on with
        if lifecycle.is_open(request):
            known = one.resource.resource_id in request.resource_ids or request.status is RequestStatus.CREATING
            return Deed.ADOPT, "" if known else "its request is open, and does not know it"
        cared_for = not archived and not request.cleaned and one.resource.resource_id in request.resource_ids
        return (Deed.END, "") if cared_for else self._of_ended_request(one, request)

    def _of_ended_request(self, one: Held, request: Request) -> tuple[Deed, str]:
        without = f"its request is {request.status} without it"
        if one.resource.kind != INSTANCE and one.resource.resource_id in self._counted_on:
            return Deed.KEEP, f"{without}, and machines of it are recorded as alive"
        return Deed.END, without

    def _doubted(self, finding: Finding) -> Finding:
        doubt = self._records.doubt
        if finding.request is None or finding.resource.kind == TEMPLATE:
            doubt = doubt or self._records.unlisted.get(finding.place, "")
        if finding.deed is Deed.END:
            doubt = doubt or self._unstoppable(finding.resource)
        if not doubt or finding.deed is Deed.KEEP:
            return finding
        return replace(finding, deed=Deed.KEEP, leave=Leave.NONE, why=f"{finding.why}; {doubt}")

    def _unstoppable(self, one: OwnedResource) -> str:
        """Say so if what has launched a machine may launch another one in its place, as nobody was asked to list it."""
        if not one.launcher or one.launcher in self._there or not self._records.switched_off:
            return ""
        off = ", ".join(self._records.switched_off)
        return (
            f"what has launched it, {one.launcher}, is not listed, and may be a plug-in's that is switched off: {off}"
        )

    def _shared_template(self, one: Held) -> Finding | None:
        """Judge a launch template that requests share; made again if need be, it is only clutter."""
        if self._unused is None or self._users.intersection(one.resource.launch_templates):
            return None
        last = self._last_use(one.resource)
        if last is None or self._now - last < self._unused:
            return None
        why = f"nothing of ours names it, and its template was last asked for {(self._now - last).days} days ago"
        return self._doubted(one.found(Deed.REMOVE, why, Leave.UNUSED_TEMPLATES))

    def _last_use(self, one: OwnedResource) -> datetime | None:
        """Give the last time at which a launch template can have been used: before a newer one took its place."""
        if one.created_at is None:
            return None
        shared = (other.resource for other in self._held if other.resource.kind == TEMPLATE)
        its = (other for other in shared if other.template_id == one.template_id and not other.request_id)
        newer = (other.created_at for other in its if other.created_at and other.created_at > one.created_at)
        until = min(newer, default=self._now)
        uses = (at for at in self._records.used.get(one.template_id, ()) if at <= until)
        return max((one.created_at, *uses))

    def _missing_of(self, request: Request, there: set[str]) -> Iterator[Finding]:
        lost = (self._records.machines.get(one) for one in request.machine_ids if one not in there)
        for machine in lost:
            if machine and _counts_on(machine) and self._now - machine.observed_at >= self._margin:
                yield _missing(request, machine.instance_id, "the cloud does not list it", machine)
        if request.refills and not request.frozen and self._now - request.created_at >= self._margin:
            for one in request.resource_ids:
                if one not in there:
                    yield _missing(request, one, "its request counts on it, and the cloud does not list it")


def _once(held: Iterable[Held], records: Records) -> Iterator[Held]:
    """Give each thing once: as it is listed where its request lives, else where it is listed first."""
    found: dict[tuple[str, str, str], list[Held]] = {}
    for one in held:
        found.setdefault(one.key, []).append(one)
    for same in found.values():
        request = records.find(same[0].resource.request_id) if len(same) > 1 else None
        at_home = (one for one in same if request and one.place == (request.region, request.endpoint))
        yield next(at_home, same[0])


def _elsewhere(one: Held, request: Request) -> str:
    if one.place != (request.region, request.endpoint):
        at = f" at {request.endpoint}" if request.endpoint else ""
        return f"its request lives in {request.region}{at}: told only"
    account = one.resource.account_id
    if request.account_id and account and account != request.account_id:
        return f"its request lives in account {request.account_id}: told only"
    return ""


def _counts_on(machine: Machine) -> bool:
    """Tell whether a record says of a machine, once listed, that it is there."""
    return machine.listed and machine.status is not MachineStatus.TERMINATED and machine.status not in lifecycle.ENDING


def _missing(request: Request, resource_id: str, why: str, machine: Machine | None = None) -> Finding:
    resource = OwnedResource(
        kind=MACHINE if machine else "resource",
        resource_id=resource_id,
        request_id=request.request_id,
        template_id=request.template_id,
        status=machine.status if machine else request.status,
        created_at=machine.launch_time if machine else request.created_at,
        account_id=request.account_id,
    )
    place = Place(request.region, request.endpoint)
    return Finding(resource=resource, place=place, deed=Deed.LOOK, why=why, request=request, machine=machine)
