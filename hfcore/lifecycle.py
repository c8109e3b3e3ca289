"""Own every change of status of a request or a machine, as pure functions.

Nothing else in hfcore sets a status. The functions take records and what was observed, and give records back.

    creating ─provisioned─► in_progress ─┬─ fulfilled, none pending ──► completed
        │                                ├─ deadline, or final short ─► completed_with_errors
        └─ refused, nothing made ► failed └─ by a person ────────────► cancelled

A final status never changes. A machine's terminal status never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from hfcore.models import Machine, MachineStatus, RequestKind, RequestStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from hfcore.models import Discovery, Fault, Instance, Provisioned, Reclaim, Released, Request

OPEN = frozenset({RequestStatus.CREATING, RequestStatus.IN_PROGRESS})
"""Statuses from which a request may still move."""

ENDING = frozenset({MachineStatus.SHUTTING_DOWN, MachineStatus.TERMINATED})
"""Statuses of a machine that is going or gone."""

VISIBILITY_DELAY = timedelta(minutes=5)
"""So long what was just made may be missing from answers, and a call that was sent be under way (EC2 developer guide,
eventual consistency)."""

SECOND_LOOK = timedelta(minutes=5)
"""So long all machines of a request must have been missing before they count as gone."""

CLOCK_SET_BACK = timedelta(minutes=10)
"""A record this much younger than a look is of a clock that was set back since: no call takes so long."""

SILENCE = timedelta(minutes=5)
"""So long after its deadline a request still waits for a cloud that can't be asked."""

KEPT_FAULTS = 10
"""So many faults of a request are kept; the newest stay."""

LATE = "it came after the request had ended"

ORPHANED = "nobody has asked about its request by the deadline: it may be that nobody was told its id"

UNHEARD = "it was not known to run at its request's deadline"

NO_LONGER_KNOWN = "the cloud no longer knows this machine"


class Result(StrEnum):
    """Host Factory's word for what became of a machine (`getRequestStatus`, `result`)."""

    EXECUTING = "executing"
    SUCCEED = "succeed"
    FAIL = "fail"


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


def is_open(request: Request) -> bool:
    """Tell whether a request may still move."""
    return request.status in OPEN


def is_live(machine: Machine) -> bool:
    """Tell whether a machine may still cost something."""
    return machine.status is not MachineStatus.TERMINATED


def is_overdue(request: Request, now: datetime) -> bool:
    """Tell whether an open request is past its deadline."""
    return is_open(request) and request.deadline is not None and now >= request.deadline


def needs_freezing(request: Request) -> bool:
    """Tell whether a request has ended while its resource may still launch."""
    return not is_open(request) and bool(request.resource_ids) and not request.frozen


def needs_cleanup(request: Request) -> bool:
    """Tell whether the resource of an ended, frozen request still stands; it goes once no machine is left."""
    return not is_open(request) and request.frozen and not request.cleaned


def is_orphan(request: Request, now: datetime) -> bool:
    """Tell whether the machines of a request will be missed by nobody: by its deadline nobody has asked about it."""
    return request.unasked and request.deadline is not None and now >= request.deadline


def is_finished(request: Request) -> bool:
    """Tell whether a request is over for good, once none of its machines lives any more."""
    return not is_open(request) and (request.cleaned or not (request.resource_ids or request.frozen))


def newer(old: Machine, new: Machine) -> Machine:
    """Merge two records of one machine: the newer observation wins, a terminal status and a return never go back.

    An observation that shows nothing new leaves the old record as it is, its time included: nothing is written. One
    that only names the machine tells nothing of its status. A record of a time to come (`CLOCK_SET_BACK`) is older.
    """
    late, early = (old, new) if _is_younger(old, new.observed_at) else (new, old)
    terminated = MachineStatus.TERMINATED in (old.status, new.status)
    named_only = not late.listed and late.status is MachineStatus.PENDING
    merged = replace(
        late,
        request_id=old.request_id,
        status=MachineStatus.TERMINATED if terminated else early.status if named_only else late.status,
        listed=old.listed or new.listed,
        return_id=late.return_id or early.return_id,
        name=late.name or early.name,
        private_ip=late.private_ip or early.private_ip,
        public_ip=late.public_ip or early.public_ip,
        private_dns=late.private_dns or early.private_dns,
        public_dns=late.public_dns or early.public_dns,
        launch_time=late.launch_time or early.launch_time,
        instance_type=late.instance_type or early.instance_type,
        price_type=late.price_type or early.price_type,
        zone=late.zone or early.zone,
        resource_id=late.resource_id or early.resource_id,
        message=late.message or early.message,
    )
    return old if replace(merged, observed_at=old.observed_at) == old else merged


def _is_younger(machine: Machine, look: datetime) -> bool:
    """Tell whether a machine has been seen since a look at the cloud began."""
    return timedelta(0) < machine.observed_at - look <= CLOCK_SET_BACK


def machine_of(
    request_id: str, instance: Instance, observed_at: datetime, name_of: Callable[[Instance], str]
) -> Machine:
    """Make a machine's record from an instance as the cloud shows it."""
    return Machine(
        instance_id=instance.instance_id,
        request_id=request_id,
        resource_id=instance.resource_id,
        status=instance.status,
        name=name_of(instance),
        private_ip=instance.private_ip,
        public_ip=instance.public_ip,
        private_dns=instance.private_dns,
        public_dns=instance.public_dns,
        launch_time=instance.launch_time,
        instance_type=instance.instance_type,
        price_type=instance.price_type,
        zone=instance.zone,
        weight=instance.weight,
        observed_at=observed_at,
        listed=instance.listed,
        message=instance.message,
    )


def provisioned(request: Request, made: Provisioned, now: datetime) -> Request:
    """Take in what `provision` or `advance` made of an open request."""
    known = dict.fromkeys((*request.machine_ids, *(instance.instance_id for instance in made.instances)))
    merged = replace(
        request,
        resource_ids=tuple(dict.fromkeys((*request.resource_ids, *made.resource_ids))),
        machine_ids=tuple(known),
        provider_data=made.provider_data,
        refills=made.refills,
        account_id=request.account_id or made.account_id,
        faults=_with_faults(request.faults, made.faults),
        process="",
    )
    if not is_open(request):
        late = {i.instance_id: LATE for i in made.instances if i.instance_id not in request.machine_ids}
        standing = merged.resource_ids != request.resource_ids
        return replace(
            merged,
            unwanted={**request.unwanted, **late},
            frozen=request.frozen and not standing,
            cleaned=request.cleaned and not standing,
        )
    if made.final and not known:
        reasons = _reasons(merged.faults)
        return replace(merged, status=RequestStatus.FAILED, frozen=made.untidy, ended_at=now, message=reasons)
    return replace(merged, status=RequestStatus.IN_PROGRESS)


def unanswered(request: Request) -> Request:
    """Wait no longer for the answer to a launch: what it has made is looked for as in any open request."""
    return replace(request, status=RequestStatus.IN_PROGRESS, process="")


def handed_over(request: Request) -> Request:
    """Note that the call that made a request has answered: what is still to be done is any other call's business."""
    return replace(request, process="")


def asked_about(request: Request) -> Request:
    """Note that somebody knows the id of a request."""
    return replace(request, unasked=False)


def failed(request: Request, reason: str, now: datetime) -> Request:
    """End an open request of which the cloud has made nothing."""
    if not is_open(request):
        return handed_over(request)
    return replace(request, status=RequestStatus.FAILED, ended_at=now, message=reason, process="")


def observe(
    request: Request,
    known: tuple[Machine, ...],
    discovery: Discovery,
    *,
    now: datetime,
    name_of: Callable[[Instance], str],
    pending_timeout: timedelta,
) -> Observed:
    """Take in what the cloud shows behind a request for machines.

    Args:
        request: The stored request.
        known: Its stored machines, terminal ones included.
        discovery: What the plug-in found.
        now: The time.
        name_of: Gives an instance its host name.
        pending_timeout: A machine pending for longer is to be ended (IBM's AWS_INSTANCE_PENDING_TIMEOUT_SEC).
    """
    notice = other_account(request, discovery)
    if notice:
        return Observed(request=silent(request, known, notice, now), machines=known, unwanted={}, notice=notice)
    seen = _seen(request, discovery, name_of)
    known_ids = {machine.instance_id for machine in known}
    late = [] if is_open(request) else [m for m in seen if m.instance_id not in known_ids and m.status not in ENDING]
    request, machines, notice = _missing_and_seen(request, known, seen, discovery, now)
    request = replace(request, account_id=request.account_id or discovery.account_id)
    unwanted = {**request.unwanted, **{machine.instance_id: LATE for machine in late}}
    if is_open(request):
        unwanted = _overlong(request, machines, discovery.observed_at, now, pending_timeout)
        request = _settled(request, machines, discovery, unwanted, now)
    if is_orphan(request, now):
        unwanted = {**unwanted, **{machine.instance_id: ORPHANED for machine in machines}}
    going = {machine.instance_id for machine in machines if _was_ending(machine) or not is_live(machine)}
    unwanted = {key: reason for key, reason in unwanted.items() if key not in going}
    return Observed(request=replace(request, unwanted=unwanted), machines=machines, unwanted=unwanted, notice=notice)


def silent(request: Request, machines: tuple[Machine, ...], reason: str, now: datetime) -> Request:
    """End an open request for machines of which nothing can be learned, `SILENCE` after its deadline.

    What is known to run is delivered; the rest is ended as soon as the cloud can be asked, whatever became of it.
    """
    if request.deadline is None or not is_overdue(request, now - SILENCE):
        return request
    unwanted = {m.instance_id: UNHEARD for m in machines if m.status is MachineStatus.PENDING and not m.return_id}
    units = sum(machine.weight for machine in machines if machine.status is MachineStatus.RUNNING)
    ran = f"{_units(units)} of {request.target} known to run, on {_count_running(machines)}"
    message = f"{ran}, the deadline has passed and the cloud can't be asked: {reason}"
    return replace(
        request,
        status=RequestStatus.COMPLETED_WITH_ERRORS,
        ended_at=now,
        message=message,
        unwanted={**request.unwanted, **unwanted},
    )


def other_account(request: Request, discovery: Discovery) -> str:
    """Say so if an answer came from another account than the request lives in: it then tells nothing about it."""
    if not request.account_id or discovery.account_id in ("", request.account_id):
        return ""
    return f"the answer came from account {discovery.account_id}, the request lives in {request.account_id}"


def observe_return(
    request: Request,
    machines: tuple[Machine, ...],
    discovery: Discovery,
    *,
    now: datetime,
    name_of: Callable[[Instance], str],
) -> tuple[Machine, ...]:
    """Take in what the cloud shows of machines that are being returned; one that it no longer knows is gone."""
    # A return may span templates: a machine keeps the weight that its own template gave it.
    weights = {machine.instance_id: machine.weight for machine in machines}
    seen = (m for m in _seen(request, discovery, name_of) if m.instance_id in weights)
    merged = _with_seen(machines, tuple(replace(m, weight=weights[m.instance_id]) for m in seen))
    missing = _missing(machines, discovery, now)
    return tuple(_gone(machine, discovery) if machine.instance_id in missing else machine for machine in merged)


def closed_return(request: Request, machines: tuple[Machine, ...], now: datetime) -> Request:
    """Close a return once each of its machines is gone."""
    if not is_open(request) or any(is_live(machine) for machine in machines):
        return request
    message = f"{len(machines)} machine{'' if len(machines) == 1 else 's'} gone"
    return replace(request, status=RequestStatus.COMPLETED, ended_at=now, message=message)


def carried_out(request: Request, machines: tuple[Machine, ...], process: str) -> Request:
    """Note that the call that made a return has ended its machines as far as it could, or that any other call has."""
    if request.process == process or all(machine.status in ENDING for machine in machines):
        return handed_over(request)
    return request


def frozen(request: Request) -> Request:
    """Note that nothing new can come for a request."""
    return replace(request, frozen=True)


def cleaned(request: Request) -> Request:
    """Note that nothing of a request stands any more but its record."""
    return replace(request, cleaned=True)


def without_unwanted(request: Request, ending: frozenset[str]) -> Request:
    """Note that unwanted machines of a request are ending."""
    left = {key: reason for key, reason in request.unwanted.items() if key not in ending}
    return replace(request, unwanted=left)


def given_back(machine: Machine, return_id: str) -> Machine:
    """Note that Host Factory has given a machine back."""
    return replace(machine, return_id=return_id)


def released(machine: Machine, outcome: Released, at: datetime, reason: str = "") -> Machine:
    """Note what became of the attempt to end a machine."""
    fault = outcome.faults.get(machine.instance_id)
    if fault:
        return replace(machine, observed_at=max(at, machine.observed_at), message=str(fault))
    if machine.instance_id not in outcome.ending or machine.status in ENDING:
        return machine
    at = max(at, machine.observed_at)  # it was ended after the look that saw it in this very call
    return replace(machine, status=MachineStatus.SHUTTING_DOWN, observed_at=at, message=reason)


def result(machine: Machine, request: Request) -> Result:
    """Give Host Factory's word for a machine: `succeed` counts as delivered, or as gone for a return."""
    if request.kind is RequestKind.RETURN:
        return Result.EXECUTING if is_live(machine) else Result.SUCCEED
    if not is_open(request) and machine.instance_id in request.unwanted:
        return Result.FAIL
    if machine.status is MachineStatus.RUNNING:
        return Result.SUCCEED if machine.name and machine.private_ip else Result.EXECUTING
    if machine.status is MachineStatus.PENDING:
        return Result.EXECUTING
    return Result.SUCCEED if machine.return_id else Result.FAIL


def progress(request: Request, machines: tuple[Machine, ...]) -> str:
    """Say in a sentence where an open request stands; a request that has ended keeps its last message."""
    if not is_open(request):
        return request.message
    if request.kind is RequestKind.RETURN:
        gone = sum(not is_live(machine) for machine in machines)
        return f"{gone} of {len(machines)} machines gone"
    if not machines:
        return f"no machines yet: {_units(request.target)} asked of {request.provider_api}"
    running = sum(machine.weight for machine in machines if machine.status is MachineStatus.RUNNING)
    return f"{running:g} of {_units(request.target)} running, on {_count_running(machines)}"


def reclaimed(machine: Machine, reclaim: Reclaim, now: datetime) -> Machine:
    """Note what the cloud says of a machine that it takes back."""
    status = reclaim.status or MachineStatus.TERMINATED
    return replace(machine, status=status, observed_at=now, message=f"{reclaim.code}: {reclaim.message}")


def live_units(machines: Iterable[Machine]) -> float:
    """Give the units of the machines that may still cost something."""
    return sum(machine.weight for machine in machines if is_live(machine))


def expected_units(request: Request, machines: Iterable[Machine]) -> float:
    """Give the units of a request that live, or may still come."""
    machines = tuple(machines)
    live = live_units(machines)
    if not is_open(request):
        return live
    returned = sum(machine.weight for machine in machines if machine.return_id and not is_live(machine))
    return max(live, request.target - returned)


def _seen(request: Request, discovery: Discovery, name_of: Callable[[Instance], str]) -> tuple[Machine, ...]:
    return tuple(machine_of(request.request_id, i, discovery.observed_at, name_of) for i in discovery.instances)


def _with_seen(known: tuple[Machine, ...], seen: tuple[Machine, ...]) -> tuple[Machine, ...]:
    merged = {machine.instance_id: machine for machine in known}
    for machine in seen:
        before = merged.get(machine.instance_id)
        merged[machine.instance_id] = newer(before, machine) if before else machine
    return tuple(merged.values())


def _missing(known: tuple[Machine, ...], discovery: Discovery, now: datetime) -> frozenset[str]:
    """Name the machines that were asked for and are not there any more.

    One that another call has seen since can't be missed by an older answer.
    """
    if not discovery.thorough:
        return frozenset()
    shown = {instance.instance_id for instance in discovery.instances}
    asked = (m for m in known if is_live(m) and not _is_younger(m, discovery.observed_at))
    return frozenset(m.instance_id for m in asked if m.instance_id not in shown and _is_gone(m, now))


def _gone(machine: Machine, discovery: Discovery) -> Machine:
    return replace(
        machine,
        status=MachineStatus.TERMINATED,
        observed_at=discovery.observed_at,
        message=machine.message or NO_LONGER_KNOWN,
    )


def _missing_and_seen(
    request: Request, known: tuple[Machine, ...], seen: tuple[Machine, ...], discovery: Discovery, now: datetime
) -> tuple[Request, tuple[Machine, ...], str]:
    """Merge what was seen into what was known, and judge what is missing."""
    missing = _missing(known, discovery, now)
    shows_any = any(instance.listed for instance in discovery.instances)
    request, doubtful = _doubt_mass_death(request, known, missing, now, shows_any=shows_any)
    notice = ""
    if doubtful:
        ending = frozenset(m.instance_id for m in known if m.instance_id in missing and _was_ending(m))
        doubted = len(missing - ending)
        noun = "machine" if doubted == 1 else "machines"
        notice = f"none of {doubted} {noun} thought alive was found: asked again before they count as gone"
        missing = ending
    merged = tuple(_gone(m, discovery) if m.instance_id in missing else m for m in _with_seen(known, seen))
    return replace(request, machine_ids=tuple(machine.instance_id for machine in merged)), merged, notice


def _was_ending(machine: Machine) -> bool:
    return bool(machine.return_id) or machine.status in ENDING


def _is_gone(machine: Machine, now: datetime) -> bool:
    """Tell absence from not being visible yet (EC2, eventual consistency)."""
    launched = machine.launch_time or machine.observed_at
    return machine.listed or now - launched >= VISIBILITY_DELAY


def _doubt_mass_death(
    request: Request, known: tuple[Machine, ...], missing: frozenset[str], now: datetime, *, shows_any: bool
) -> tuple[Request, bool]:
    """Hold back when no machine is shown, and some should be: likelier a wrong account than a mass death."""
    if shows_any or not any(m.instance_id in missing and not _was_ending(m) for m in known):
        return replace(request, vanished_at=None), False
    since = request.vanished_at or now
    doubtful = now - since < SECOND_LOOK
    return replace(request, vanished_at=since if doubtful else None), doubtful


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
        elif not _is_younger(machine, look) and now - (machine.launch_time or machine.observed_at) > pending_timeout:
            reasons[machine.instance_id] = f"it was pending for longer than {pending_timeout.total_seconds():.0f} s"
    return reasons


def _settled(
    request: Request,
    machines: tuple[Machine, ...],
    discovery: Discovery,
    unwanted: Mapping[str, str],
    now: datetime,
) -> Request:
    """End an open request where its machines, its deadline or the cloud's last word say so."""
    delivered = discovery.fulfilled + _returned_units(machines)
    faults = _with_faults(request.faults, discovery.faults)
    pending = (m for m in machines if m.status is MachineStatus.PENDING and not m.return_id)
    coming = any(machine.instance_id not in unwanted for machine in pending)
    if delivered >= request.target and not coming:
        message = f"{_units(delivered)} on {_count_running(machines)}"
        return replace(request, status=RequestStatus.COMPLETED, ended_at=now, message=message)
    overdue = is_overdue(request, now)
    if not overdue and (coming or not discovery.final):
        return replace(request, faults=faults)
    why = "the deadline has passed" if overdue else "nothing more will come"
    message = f"{_units(delivered)} of {request.target} on {_count_running(machines)}, {why}: {_reasons(faults)}"
    status = RequestStatus.COMPLETED_WITH_ERRORS if machines else RequestStatus.FAILED
    return replace(request, status=status, ended_at=now, faults=faults, message=message)


def _returned_units(machines: Iterable[Machine]) -> float:
    """Count what was returned while its request was open as delivered; what still runs is in the verdict."""
    return sum(m.weight for m in machines if m.return_id and m.status is not MachineStatus.RUNNING)


def _with_faults(old: tuple[Fault, ...], new: tuple[Fault, ...]) -> tuple[Fault, ...]:
    return tuple(dict.fromkeys((*old, *new)))[-KEPT_FAULTS:]


def _reasons(faults: tuple[Fault, ...]) -> str:
    return "; ".join(str(fault) for fault in faults) or "the cloud gave no reason"


def _units(count: float) -> str:
    return f"{count:g} unit" + ("" if count == 1 else "s")


def _count_running(machines: Iterable[Machine]) -> str:
    running = sum(machine.status is MachineStatus.RUNNING for machine in machines)
    return f"{running} running machine" + ("" if running == 1 else "s")
