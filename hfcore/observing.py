"""Own what one look at the cloud comes to: what is seen is merged, what is missing judged, what is unwanted named.

Pure. Statuses are set by `lifecycle`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hfcore.lifecycle import (
    ENDING,
    LATE,
    VISIBILITY_DELAY,
    asked_about,
    disowned,
    gone,
    is_live,
    is_open,
    is_orphan,
    is_overdue,
    is_younger,
    machine_of,
    newer,
    settled,
    silent,
    was_ending,
)
from hfcore.models import MachineStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from hfcore.models import Discovery, Instance, Machine, Request

SECOND_LOOK = timedelta(minutes=5)
"""So long all machines of a request must have been missing, in answers of its own account alone, to count as gone."""

ORPHANED = "nobody has asked about its request by the deadline: it may be that nobody was told its id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What an observation makes of a request and its machines.

    Args:
        request: The request as it now stands.
        machines: All its machines as they now stand.
        unwanted: Instance ids that are to be ended, each with the reason: pending for too long, or late.
        notice: A sentence for people on what is odd about the observation; empty as a rule.
    """

    request: Request
    machines: tuple[Machine, ...]
    unwanted: Mapping[str, str]
    notice: str = ""


def observe(  # noqa: PLR0913 - each is a fact of its own that the judgement rests on
    request: Request,
    known: tuple[Machine, ...],
    discovery: Discovery,
    *,
    asked: frozenset[str],
    now: datetime,
    name_of: Callable[[Instance], str],
    pending_timeout: timedelta,
    elsewhere: str = "",
    doubted: bool = False,
) -> Observed:
    """Take in what the cloud shows behind a request for machines.

    Args:
        request: The stored request.
        known: Its stored machines, terminal ones included.
        discovery: What the plug-in found.
        asked: Ids that the plug-in was asked about; others, stored by another call meanwhile, it can't miss.
        now: The time.
        name_of: Gives an instance its host name.
        pending_timeout: A machine pending for longer is to be ended (IBM's AWS_INSTANCE_PENDING_TIMEOUT_SEC).
        elsewhere: Why the answer tells nothing about the request, where more than the two shows that.
        doubted: Whether the records may be an older copy: somebody may know of what they do not.
    """
    notice = elsewhere or other_account(request, discovery)
    if notice:
        unseen = replace(silent(request, known, notice, now), vanished_at=None)
        return Observed(request=unseen, machines=known, unwanted={}, notice=notice)
    seen = _seen(request, discovery, name_of)
    known_ids = {machine.instance_id for machine in known}
    request = asked_about(request) if doubted and is_orphan(request, now) else request
    late = (
        []
        if doubted or is_open(request)
        else [m for m in seen if m.instance_id not in known_ids and m.status not in ENDING]
    )
    missing = _missing((m for m in known if m.instance_id in asked), discovery, now)
    request, machines, notice = _missing_and_seen(request, known, missing, seen, discovery, now)
    request = replace(request, account_id=request.account_id or discovery.account_id)
    unwanted = {**request.unwanted, **{machine.instance_id: LATE for machine in late}}
    # What was said to be ending here, and is not.
    back = [] if doubted else [m for m in machines if m.discarded and m.status not in ENDING]
    again = {machine.instance_id: machine.message or LATE for machine in back}
    if is_open(request):
        unwanted = again | _overlong(request, machines, discovery.observed_at, now, pending_timeout)
        not_meant = sum(machine.weight for machine in back if machine.status is MachineStatus.RUNNING)
        meant = replace(discovery, fulfilled=max(0.0, discovery.fulfilled - not_meant)) if not_meant else discovery
        request = settled(request, machines, meant, unwanted, now)
    if is_orphan(request, now):
        unwanted = {**unwanted, **{machine.instance_id: ORPHANED for machine in machines}}
    unwanted = again | unwanted
    going = {machine.instance_id for machine in machines if was_ending(machine) or not is_live(machine)}
    unwanted = {key: reason for key, reason in unwanted.items() if key not in going}
    return Observed(request=replace(request, unwanted=unwanted), machines=machines, unwanted=unwanted, notice=notice)


def other_account(request: Request, discovery: Discovery | None) -> str:
    """Say so if an answer came from another account than the request lives in: it then tells nothing about it."""
    if discovery is None or not request.account_id or discovery.account_id in ("", request.account_id):
        return ""
    return f"the answer came from account {discovery.account_id}, the request lives in {request.account_id}"


def observe_return(
    request: Request,
    machines: tuple[Machine, ...],
    discovery: Discovery,
    *,
    now: datetime,
    name_of: Callable[[Instance], str],
) -> Observed:
    """Take in what the cloud shows of machines that are being returned; one that it no longer knows is gone.

    Args:
        request: The question about the return, or about a part of it, with the return's `vanished_at`.
        machines: Those of its machines that were asked about.
        discovery: What the plug-in found.
        now: The time.
        name_of: Gives an instance its host name.
    """
    # A return may span templates: a machine keeps the weight that its own template gave it.
    weights = {machine.instance_id: machine.weight for machine in machines}
    seen = (m for m in _seen(request, discovery, name_of) if m.instance_id in weights)
    kept = tuple(m if m.weight == weights[m.instance_id] else replace(m, weight=weights[m.instance_id]) for m in seen)
    missing = _missing(machines, discovery, now)
    doubted, merged, notice = _missing_and_seen(request, machines, missing, kept, discovery, now)
    # Its parts, in several accounts or regions, are asked about one by one: one in view takes no doubt from the others.
    since = None if _is_anybodys(request, discovery) else doubted.vanished_at or request.vanished_at
    return Observed(request=replace(request, vanished_at=since), machines=merged, unwanted={}, notice=notice)


def _seen(request: Request, discovery: Discovery, name_of: Callable[[Instance], str]) -> tuple[Machine, ...]:
    return tuple(machine_of(request.request_id, i, discovery.observed_at, name_of) for i in discovery.instances)


def _with_seen(known: tuple[Machine, ...], seen: tuple[Machine, ...]) -> tuple[Machine, ...]:
    merged = {machine.instance_id: machine for machine in known}
    for machine in seen:
        before = merged.get(machine.instance_id)
        merged[machine.instance_id] = newer(before, machine) if before else machine
    return tuple(merged.values())


def _missing(asked: Iterable[Machine], discovery: Discovery, now: datetime) -> frozenset[str]:
    """Name the machines that were asked for and are not there any more.

    One that another call has seen since can't be missed by an older answer.
    """
    if not discovery.thorough:
        return frozenset()
    shown = {instance.instance_id for instance in discovery.instances}
    live = (m for m in asked if is_live(m) and not is_younger(m, discovery.observed_at))
    return frozenset(m.instance_id for m in live if m.instance_id not in shown and _should_be_visible(m, now))


def _missing_and_seen(
    request: Request,
    known: tuple[Machine, ...],
    missing: frozenset[str],
    seen: tuple[Machine, ...],
    discovery: Discovery,
    now: datetime,
) -> tuple[Request, tuple[Machine, ...], str]:
    """Merge what was seen into what was known, and judge what is missing."""
    thought_alive = frozenset(m.instance_id for m in known if m.instance_id in missing and m.status not in ENDING)
    request, doubt = _doubt_mass_death(request, thought_alive, discovery, now)
    notice = ""
    if doubt:
        noun = "machine" if len(thought_alive) == 1 else "machines"
        notice = f"none of {len(thought_alive)} {noun} thought alive was found: {doubt}"
        missing -= thought_alive
    theirs = (m for m in known if m.instance_id in discovery.disowned and _should_be_visible(m, now))
    seen = (*(disowned(m, discovery.observed_at) for m in theirs), *seen)
    merged = tuple(gone(m, discovery) if m.instance_id in missing else m for m in _with_seen(known, seen))
    return replace(request, machine_ids=tuple(machine.instance_id for machine in merged)), merged, notice


def _should_be_visible(machine: Machine, now: datetime) -> bool:
    """Tell whether a machine, or its tags, can't be missing only because it is new (EC2, eventual consistency)."""
    launched = machine.launch_time or machine.observed_at
    return machine.listed or now - launched >= VISIBILITY_DELAY


def _doubt_mass_death(
    request: Request, thought_alive: frozenset[str], discovery: Discovery, now: datetime
) -> tuple[Request, str]:
    """Hold back when no machine is shown, and some should be: likelier a wrong account than a mass death.

    Returns:
        The request with the time since when, and what is still needed before they count as gone; empty for no doubt.
    """
    if any(instance.listed for instance in discovery.instances) or not thought_alive:
        return replace(request, vanished_at=None), ""
    if _is_anybodys(request, discovery):
        account = f"whether account {request.account_id} has answered can't be told"
        return replace(request, vanished_at=None), f"they do not count as gone, as {account}"
    since = request.vanished_at or now
    if now - since < SECOND_LOOK:
        return replace(request, vanished_at=since), "asked again before they count as gone"
    return replace(request, vanished_at=None), ""


def _is_anybodys(request: Request, discovery: Discovery) -> bool:
    """Tell whether an answer may come from another account than the request lives in."""
    return bool(request.account_id) and not discovery.account_id


def _overlong(
    request: Request, machines: Iterable[Machine], look: datetime, now: datetime, pending_timeout: timedelta
) -> dict[str, str]:
    """Name the machines that have been pending for too long, or still are at the deadline."""
    reasons = {}
    for machine in machines:
        if machine.status is not MachineStatus.PENDING or machine.return_id:
            continue
        if is_overdue(request, now):
            reasons[machine.instance_id] = "it was still pending at the request's deadline"
        elif not is_younger(machine, look) and now - (machine.launch_time or machine.observed_at) > pending_timeout:
            reasons[machine.instance_id] = f"it was pending for longer than {pending_timeout.total_seconds():.0f} s"
    return reasons
