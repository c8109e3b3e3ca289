r"""Own the audit: AWS's world, as the strict AWS really has it, against what a store says of it.

It looks at everything, and decides by what is, not by what AWS would show: what a call was killed over, what was
launched twice, what nobody knows any more. It is clean once whatever was begun has come to its end; while calls are
under way, or before a poll has gone on with what a dead one left, findings are only true.

>>> findings = audit(aws, site.data, datetime.now(UTC))
>>> assert not findings, "\n".join(map(str, findings))
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hfcore import lifecycle
from hfcore.archive import Archive, decode_entry, id_of
from hfcore.aws import tags
from hfcore.aws.instances import weights
from hfcore.aws.mixes import is_heterogeneous
from hfcore.errors import StoreError
from hfcore.journal import IntentFolder, is_dead
from hfcore.models import MachineStatus, RequestKind
from hfcore.store import open_store
from hfcore.storefolder import ARCHIVE_FOLDER, JOURNAL_FOLDER, MACHINES_FILE, STORAGE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from hfcore.context import Intent
    from hfcore.models import Machine, Request
    from hfcore.testing.aws import StrictAws

RULES: Final[Mapping[str, str]] = {
    "unreadable": "every file of the store can be read whole, and names each record once",
    "leaked": "every live instance of ours is exactly one stored machine, which a request that exists names",
    "ghost": "every machine stored as living lives in AWS",
    "overdue": "no request for machines is running past its deadline",
    "doubled": "no request has more units than it asked for, nor more resources than it needs",
    "shared": "no machine belongs to two requests for machines",
    "standing": "no fleet, group or own launch template outlives its request's clean-up, or has an unknown request",
    "left open": "no ended request has an intent that a dead process left open",
}
"""What holds, by the name of the rule."""

FOREIGN_AFTER: Final = 120.0
"""Seconds after which a process of another host counts as dead."""

_OVER = ("deleted", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that must not be.

    Args:
        rule: The rule that is broken, of `RULES`.
        subject: What breaks it: the id of an instance, a request or a resource, or a file's path.
        message: How it stands, and what that means.
    """

    rule: str
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Living:
    """An instance that AWS has pending or running, under our owner tag."""

    instance_id: str
    instance_type: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A fleet, a Spot fleet, a group or a launch template under our owner tag.

    Args:
        kind: `fleet`, `spot fleet`, `group` or `launch template`.
        tags: Its tags.
        stands: Whether it is neither deleted nor cancelled.
        counts: Whether it has, or had, capacity of its own.
    """

    kind: str
    resource_id: str
    tags: Mapping[str, str]
    stands: bool
    counts: bool

    @property
    def request_id(self) -> str:
        """The request that its tags name; empty for what several share."""
        return self.tags.get(tags.REQUEST, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What an AWS has of one owner.

    Args:
        living: The live instances, by id.
        states: The state of every instance that AWS has not forgotten, whoever's, by id.
    """

    living: Mapping[str, Living]
    states: Mapping[str, str]
    holdings: tuple[Holding, ...]


def audit(aws: StrictAws, data: Path, now: datetime) -> tuple[Finding, ...]:
    """Hold an AWS and a store against each other; nothing is changed in either.

    Args:
        aws: The strict AWS in which the store's requests live.
        data: The store's folder, `$HF_PROVIDER_WORKDIR/data`.
        now: The time by the clock of the calls.

    Returns:
        What must not be, of `RULES`; empty if all is well. Of a store that can't be read, that alone.
    """
    unreadable = tuple(_unreadable(data, now))
    if unreadable:
        return unreadable
    records = _Records(data, now)
    world = observe(aws, records.owner)
    return (
        *_leaked(world, records),
        *_ghosts(world, records),
        *_overdue(records),
        *_doubled(world, records),
        *_shared(records),
        *_standing(world, records),
        *_left_open(records),
    )


def observe(aws: StrictAws, owner: str) -> World:
    """Take down what an AWS has under an owner tag, and the states of all its instances."""
    aws.region()  # what is due has happened
    regions = list(aws.world.regions.values())
    instances = [one for region in regions for one in list(region.instances.values())]
    ours = [one for one in instances if one.live and one.tags.get(tags.OWNER) == owner]
    living = (
        Living(instance_id=one.id, instance_type=one.plan.pool[0], request_id=one.tags.get(tags.REQUEST, ""))
        for one in ours
    )
    return World(
        living={one.instance_id: one for one in living},
        states={one.id: one.state for one in instances},
        holdings=tuple(one for one in everything(aws) if one.tags.get(tags.OWNER) == owner),
    )


def everything(aws: StrictAws) -> Iterator[Holding]:
    """Give every fleet, Spot fleet, group and launch template that an AWS has, whoever's."""
    aws.region()  # what is due has happened
    for region in list(aws.world.regions.values()):
        fleets = [("fleet", one) for one in region.fleets.values()]
        fleets += [("spot fleet", one) for one in region.spot_fleets.values()]
        for kind, one in fleets:
            yield _holding(kind, one.id, one.tags, stands=not one.state.startswith(_OVER), counts=_counts(one))
        # A group has no tags of its own here: each is passed on to its instances.
        for group in region.groups.values():
            yield _holding("group", group.name, group.instance_tags, stands=not group.deleting, counts=True)
        for template in region.templates.values():
            yield _holding("launch template", template.name, template.tags, stands=True, counts=False)


def _holding(kind: str, resource_id: str, its: Mapping[str, str], *, stands: bool, counts: bool) -> Holding:
    return Holding(kind=kind, resource_id=resource_id, tags=its, stands=stands, counts=counts)


def _counts(fleet: Any) -> bool:  # noqa: ANN401 - the strict AWS's own
    """Tell whether a fleet has had anything to do: an instant one that made nothing was a refusal."""
    return bool(fleet.kind != "instant" or sum(fleet.launched.values()) > 0)


class _Clock:
    """A time that stands still, for the journal."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        return self._at.timestamp()

    def sleep(self, _seconds: float) -> None:
        """Take no time."""


class _Records:
    """What the store says: everything hot, what the archive has of what it is asked about, and the journal."""

    def __init__(self, data: Path, now: datetime) -> None:
        self.now = now
        self._store = open_store(data, now=now)
        self.owner = self._store.owner
        state = self._store.read()
        self.requests = {one.request_id: one for one in state.requests()}
        self.machines = {one.instance_id: one for one in state.machines()}
        self.journal = IntentFolder(data / JOURNAL_FOLDER, owner=self.owner, clock=_Clock(now))
        self._found: dict[str, tuple[Request, Mapping[str, Machine]] | None] = {}

    def find(self, request_id: str) -> tuple[Request, Mapping[str, Machine]] | None:
        """Give a hot or archived request with its machines."""
        if request_id not in self._found:
            self._found[request_id] = self._find(request_id)
        return self._found[request_id]

    def _find(self, request_id: str) -> tuple[Request, Mapping[str, Machine]] | None:
        if request_id in self.requests:
            request = self.requests[request_id]
            return request, {i: self.machines[i] for i in request.machine_ids if i in self.machines}
        archived = self._store.archived(request_id)
        return archived and (archived[0], {one.instance_id: one for one in archived[1]})

    def creates(self) -> Iterator[Request]:
        """Give the hot requests for machines."""
        return (one for one in self.requests.values() if one.kind is RequestKind.CREATE)


def _unreadable(data: Path, now: datetime) -> Iterator[Finding]:
    """Find what of the store can't be read, without making what is missing."""
    if not data.is_dir():
        yield Finding(rule="unreadable", subject=str(data), message="there is no store here")
        return
    for path in (data / STORAGE_FILE, data / MACHINES_FILE):
        try:
            json.loads(path.read_bytes(), object_pairs_hook=_unique)
        except (OSError, ValueError) as error:
            yield Finding(rule="unreadable", subject=str(path), message=str(error))
    try:
        records = _Records(data, now)
        for request_id in records.journal.requests():
            records.journal.steps(request_id)
    except StoreError as error:
        yield Finding(rule="unreadable", subject=str(data), message=str(error))
    yield from _unreadable_lines(Archive(data / ARCHIVE_FOLDER, month=f"{now:%Y-%m}"))


def _unreadable_lines(archive: Archive) -> Iterator[Finding]:
    for line in archive.lines():
        try:
            if id_of(line.text) is not None:
                decode_entry(line.text)
                continue
            message = "is no request with its machines"
        except StoreError as error:
            message = str(error)
        yield Finding(rule="unreadable", subject=f"{line.file}, line {line.number}", message=message)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"has twice: {', '.join(sorted({key for key in keys if keys.count(key) > 1}))}")
    return found


def _leaked(world: World, records: _Records) -> Iterator[Finding]:
    for one in world.living.values():
        machine = records.machines.get(one.instance_id)
        found = records.find(machine.request_id if machine else one.request_id)
        if found is None:
            message = f"lives, and its request {one.request_id or '(no tag)'} is unknown"
        elif one.instance_id not in found[0].machine_ids or one.instance_id not in found[1]:
            message = f"lives, and its request {found[0].request_id} does not know it"
        elif machine is None:
            message = f"lives, and its record is in the archive with request {found[0].request_id}"
        elif machine.status is MachineStatus.TERMINATED:
            message = f"lives, and is stored as {machine.status}"
        else:
            continue
        yield Finding(rule="leaked", subject=one.instance_id, message=f"{message}: nobody will ever end it")


def _ghosts(world: World, records: _Records) -> Iterator[Finding]:
    for machine in records.machines.values():
        if not lifecycle.is_live(machine) or machine.instance_id in world.living:
            continue
        state = world.states.get(machine.instance_id, "unknown")
        if machine.status is MachineStatus.SHUTTING_DOWN and _is_followed(machine, records):
            continue
        if machine.status in (MachineStatus.STOPPING, MachineStatus.STOPPED) and state == machine.status:
            continue
        message = f"is stored as {machine.status}, and is {state} in AWS: a host that is not there is counted on"
        yield Finding(rule="ghost", subject=machine.instance_id, message=message)


def _is_followed(machine: Machine, records: _Records) -> bool:
    """Tell whether somebody polls for the end of a machine that is ending."""
    asked = records.find(machine.return_id or machine.request_id)
    return asked is not None and lifecycle.is_open(asked[0])


def _overdue(records: _Records) -> Iterator[Finding]:
    for request in records.creates():
        if lifecycle.is_overdue(request, records.now):
            message = f"is {request.status}, and its deadline was {request.deadline}: it runs for ever"
            yield Finding(rule="overdue", subject=request.request_id, message=message)


def _doubled(world: World, records: _Records) -> Iterator[Finding]:
    living: dict[str, list[Living]] = defaultdict(list)
    for one in world.living.values():
        living[one.request_id].append(one)
    holdings: dict[str, list[Holding]] = defaultdict(list)
    for holding in world.holdings:
        if holding.counts and holding.request_id:
            holdings[holding.request_id].append(holding)
    for request_id in living.keys() | holdings.keys():
        found = records.find(request_id)
        if found is not None:
            yield from _too_much(found[0], living[request_id], holdings[request_id])


def _too_much(request: Request, living: list[Living], holdings: list[Holding]) -> Iterator[Finding]:
    units = weights(request.template)
    alive = sum(units.get(one.instance_type, 1) for one in living)
    # The last machine may be larger than what was missing; both markets of heterogeneous may have such a one.
    markets = 2 if is_heterogeneous(request.template) else 1
    most = request.target + markets * (max(units.values(), default=1) - 1)
    if alive > most:
        ids = ", ".join(sorted(one.instance_id for one in living))
        message = f"asked for {request.target} units, and has {alive}: it was launched twice ({ids})"
        yield Finding(rule="doubled", subject=request.request_id, message=message)
    if len(holdings) > markets:
        names = ", ".join(one.resource_id for one in holdings)
        message = f"has {len(holdings)} resources where {markets} would do: it was launched twice ({names})"
        yield Finding(rule="doubled", subject=request.request_id, message=message)


def _shared(records: _Records) -> Iterator[Finding]:
    owners: dict[str, list[str]] = defaultdict(list)
    for request in records.creates():
        for instance_id in request.machine_ids:
            owners[instance_id].append(request.request_id)
    for instance_id, its in owners.items():
        if len(its) > 1:
            message = f"belongs to {' and '.join(its)}: both count on it"
            yield Finding(rule="shared", subject=instance_id, message=message)
    for instance_id, machine in records.machines.items():
        found = records.find(machine.request_id)
        if found is None or instance_id not in found[0].machine_ids:
            message = f"is stored, and request {machine.request_id} does not name it: no poll looks at it"
            yield Finding(rule="leaked", subject=instance_id, message=message)


def _standing(world: World, records: _Records) -> Iterator[Finding]:
    for one in world.holdings:
        if not one.stands or not one.request_id:
            continue
        found = records.find(one.request_id)
        if found is None:
            message = f"a {one.kind} whose request {one.request_id} is unknown: nobody will ever remove it"
        elif found[0].cleaned:
            message = f"a {one.kind} whose request {one.request_id} is cleaned: nobody will ever remove it"
        elif not lifecycle.is_open(found[0]) and one.kind != "launch template" and not found[0].resource_ids:
            message = f"a {one.kind} whose request {one.request_id} has ended without it: nobody will ever remove it"
        else:
            continue
        yield Finding(rule="standing", subject=one.resource_id, message=message)


def _left_open(records: _Records) -> Iterator[Finding]:
    for request_id in sorted(records.journal.requests()):
        found = records.find(request_id)
        for intent in records.journal.steps(request_id):
            if not _is_left(intent, records.now):
                continue
            if found is None:
                message = f"step {intent.step} ({intent.call}) is open, and the request is unknown"
            elif not lifecycle.is_open(found[0]):
                message = f"step {intent.step} ({intent.call}) is open, and the request is {found[0].status}"
            else:
                continue
            yield Finding(rule="left open", subject=request_id, message=f"{message}: nobody goes on with it")


def _is_left(intent: Intent, now: datetime) -> bool:
    return intent.outcome is None and is_dead(
        intent.process, begun_at=intent.begun_at, now=now, foreign_after=FOREIGN_AFTER
    )
