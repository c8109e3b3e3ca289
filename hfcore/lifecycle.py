"""Own every change of status of a request or a machine, as pure functions.

Nothing else in hfcore sets a status. The functions take records and what was observed, and give records back.

    creating ─provisioned─► in_progress ─┬─ fulfilled, none pending ──► completed
        │                                ├─ deadline, or final short ─► completed_with_errors
        └─ refused, nothing made ► failed └─ by a person ────────────► cancelled

A final status never changes. A machine's terminal status never goes back. What one look at the cloud comes to is
judged by `observing`; what people and Host Factory are told is `standing`'s.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hfcore.models import Machine, MachineStatus, Request, RequestStatus, told_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from hfcore.models import Discovery, Fault, Found, Instance, Provisioned, Reclaim, Released

OPEN = frozenset({RequestStatus.CREATING, RequestStatus.IN_PROGRESS})
"""Statuses from which a request may still move."""

ENDING = frozenset({MachineStatus.SHUTTING_DOWN, MachineStatus.TERMINATED})
"""Statuses of a machine that is going or gone."""

_ALIVE = frozenset({MachineStatus.PENDING, MachineStatus.RUNNING})

# In these states a look shows all the addresses that there are.
_WITH_ADDRESSES = frozenset({MachineStatus.RUNNING, MachineStatus.STOPPED})

SHOWN_AS_ENDED = timedelta(hours=1)
"""So long EC2 mostly shows a machine that has ended (EC2 user guide): one not shown has ended before, or lives."""

VISIBILITY_DELAY = timedelta(minutes=5)
"""So long what was just made may be missing from answers, and a call that was sent be under way (EC2 developer guide,
eventual consistency)."""

CLOCK_SET_BACK = timedelta(minutes=10)
"""A record this much younger than a look is of a clock that was set back since: no call takes so long."""

SILENCE = timedelta(minutes=5)
"""So long after its deadline a request still waits for a cloud that can't be asked."""

KEPT_FAULTS = 10
"""So many faults of a request are kept; the newest stay."""

LATE = "it came after the request had ended"

UNHEARD = "it was not known to run at its request's deadline"

CANCELLED = "it was pending when a person cancelled its request"

NO_LONGER_KNOWN = "the cloud no longer knows this machine"


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


def settled(
    request: Request,
    machines: tuple[Machine, ...],
    discovery: Discovery,
    unwanted: Mapping[str, str],
    now: datetime,
) -> Request:
    """End an open request where its machines, its deadline or the cloud's last word say so."""
    returned = _returned_units(machines, discovery)
    delivered = discovery.fulfilled + returned
    ran = f"{count_running(machines)}{f', {returned:g} given back' if returned else ''}"
    faults = _with_faults(request.faults, discovery.faults)
    pending = (m for m in machines if m.status is MachineStatus.PENDING and not m.return_id)
    coming = any(machine.instance_id not in unwanted for machine in pending)
    if delivered >= request.target and not coming:
        message = f"{in_units(delivered)} on {ran}"
        ended = replace(request, ended_at=now, delivered=delivered)
        return replace(ended, status=RequestStatus.COMPLETED, message=message)
    overdue = is_overdue(request, now)
    if not overdue and (coming or not discovery.final):
        return replace(request, faults=faults)
    why = "the deadline has passed" if overdue else "nothing more will come"
    reasons = _reasons(faults, _losses(machines, unwanted))
    message = f"{in_units(delivered)} of {request.target} on {ran}, {why}: {reasons}"
    status = RequestStatus.COMPLETED_WITH_ERRORS if machines else RequestStatus.FAILED
    ended = replace(request, ended_at=now, delivered=delivered)
    return replace(ended, status=status, faults=faults, message=message)


def silent(request: Request, machines: tuple[Machine, ...], reason: str, now: datetime) -> Request:
    """End an open request for machines of which nothing can be learned, `SILENCE` after its deadline.

    What is known to run is delivered; the rest is ended as soon as the cloud can be asked, whatever became of it.
    """
    if request.deadline is None or not is_overdue(request, now - SILENCE):
        return request
    unwanted = {m.instance_id: UNHEARD for m in machines if m.status is MachineStatus.PENDING and not m.return_id}
    units = sum(machine.weight for machine in machines if machine.status is MachineStatus.RUNNING)
    ran = f"{in_units(units)} of {request.target} known to run, on {count_running(machines)}"
    message = f"{ran}, the deadline has passed and the cloud can't be asked: {reason}"
    return replace(
        request,
        status=RequestStatus.COMPLETED_WITH_ERRORS,
        ended_at=now,
        message=message,
        unwanted={**request.unwanted, **unwanted},
    )


def cancelled(request: Request, machines: tuple[Machine, ...], now: datetime) -> Request:
    """End an open request for machines because a person wants no more of it: its deadline is now.

    What runs is delivered; what is still pending is ended, and so is what comes later.
    """
    if not is_open(request):
        return request
    pending = (m for m in machines if m.status is MachineStatus.PENDING and not m.return_id)
    units = sum(machine.weight for machine in machines if machine.status is MachineStatus.RUNNING)
    return replace(
        request,
        status=RequestStatus.CANCELLED,
        deadline=min(request.deadline or now, now),
        ended_at=now,
        message=f"cancelled by a person: {in_units(units)} of {request.target} on {count_running(machines)}",
        unwanted={**request.unwanted, **{machine.instance_id: CANCELLED for machine in pending}},
        process="",
        unasked=False,
    )


def closed_return(request: Request, machines: tuple[Machine, ...], now: datetime) -> Request:
    """Close a return once each of its machines is gone; what was to be said at its beginning stays."""
    if not is_open(request) or any(is_live(machine) for machine in machines):
        return request
    gone = f"{len(machines)} machine{'' if len(machines) == 1 else 's'} gone"
    message = "; ".join(part for part in (gone, request.message) if part)
    return replace(request, status=RequestStatus.COMPLETED, ended_at=now, message=message)


def carried_out(request: Request, machines: tuple[Machine, ...], process: str) -> Request:
    """Note that the call that made a return has ended its machines as far as it could, or that any other call has."""
    if request.process == process or all(machine.status in ENDING for machine in machines):
        return handed_over(request)
    return request


def adopted(
    request_id: str, members: Iterable[Found], now: datetime, *, cloud: str, region: str, endpoint: str
) -> Request:
    """Make the record of a request that was lost, of what its instances tell: it is complete, and to be frozen.

    Args:
        request_id: Its id, by the tags of its instances.
        members: All its instances that live.
        now: The time.
        cloud: Cloud, region and endpoint in which they live.
        region: As above.
        endpoint: As above.
    """
    members = tuple(members)
    first = members[0]
    resources = dict.fromkeys(one.instance.resource_id for one in members if one.instance)
    return Request(
        request_id=request_id,
        status=RequestStatus.COMPLETED,
        message="adopted by the owner tag of its machines: its record was lost",
        template_id=first.template.template_id if first.template else "",
        template=first.template,
        target=len(members),
        provider_api=first.provider_api,
        resource_ids=tuple(filter(None, resources)),
        account_id=first.account_id,
        created_at=now,
        deadline=now,
        ended_at=now,
        refills=any(one.refills for one in members),
        cloud=cloud,
        region=region,
        endpoint=endpoint,
    )


def joined(request: Request, instance_ids: Iterable[str]) -> Request:
    """Note that machines belong to a request, which was not known."""
    ids = dict.fromkeys((*request.machine_ids, *instance_ids))
    return replace(request, machine_ids=tuple(ids), cleaned=False)


def standing(request: Request, resource_ids: Iterable[str]) -> Request:
    """Note that resources belong to a request, which were not known."""
    ids = dict.fromkeys((*request.resource_ids, *resource_ids))
    return replace(request, resource_ids=tuple(ids), frozen=False, cleaned=False)


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
        cores=instance.cores,
        threads=instance.threads,
        zone=instance.zone,
        weight=instance.weight,
        observed_at=observed_at,
        listed=instance.listed,
        message=instance.message,
    )


def newer(old: Machine, new: Machine) -> Machine:
    """Merge two records of one machine: the newer observation wins, a terminal status and a return never go back.

    An observation that shows nothing new leaves the old record as it is, its time included: nothing is written. One
    that only names the machine tells nothing of its status. A record of a time to come (`CLOCK_SET_BACK`) is older.
    A public address goes when a machine stops; others stay, and so does the first reason why it is ending. What was
    ended here is shown as it was for a while: that is no news of it.
    """
    late, early = (old, new) if is_younger(old, new.observed_at) else (new, old)
    if late is new and _is_ending_still(old, new):
        return old
    terminated = MachineStatus.TERMINATED in (old.status, new.status)
    named_only = not late.listed and late.status is MachineStatus.PENDING
    shows_all = late.listed and late.status in _WITH_ADDRESSES
    merged: dict[str, Any] = {
        "request_id": old.request_id,
        "status": MachineStatus.TERMINATED if terminated else early.status if named_only else late.status,
        "listed": old.listed or new.listed,
        "return_id": late.return_id or early.return_id,
        "discarded": old.discarded or new.discarded,
        "disowned": early.disowned if named_only else late.disowned,
        "notice": late.notice or early.notice,
        "name": late.name or early.name,
        "private_ip": late.private_ip or early.private_ip,
        "public_ip": late.public_ip if shows_all else late.public_ip or early.public_ip,
        "private_dns": late.private_dns or early.private_dns,
        "public_dns": late.public_dns if shows_all else late.public_dns or early.public_dns,
        "launch_time": late.launch_time or early.launch_time,
        "instance_type": late.instance_type or early.instance_type,
        "price_type": late.price_type or early.price_type,
        "cores": late.cores or early.cores,
        "threads": late.threads or early.threads,
        "zone": late.zone or early.zone,
        "resource_id": late.resource_id or early.resource_id,
        "weight": late.weight,
        "message": (early.message if early.status in ENDING else "") or late.message or early.message,
    }
    if all(getattr(old, name) == value for name, value in merged.items()):
        return old
    return replace(late, **merged)


def _is_ending_still(old: Machine, new: Machine) -> bool:
    """Tell whether a look may be too early to show that a machine was ended here (EC2, eventual consistency)."""
    shown_again = old.discarded and old.status in ENDING and new.status not in ENDING
    return shown_again and new.observed_at - old.observed_at < VISIBILITY_DELAY


def is_younger(machine: Machine, look: datetime) -> bool:
    """Tell whether a machine has been seen since a look at the cloud began."""
    return timedelta(0) < machine.observed_at - look <= CLOCK_SET_BACK


def was_ending(machine: Machine) -> bool:
    """Tell whether a machine was on its way out already, or given back."""
    return bool(machine.return_id) or machine.status in ENDING


def is_told_to_end(machine: Machine) -> bool:
    """Tell whether a machine was given back or ended here: gone otherwise, it was only not shown any more."""
    return bool(machine.return_id) or machine.discarded


def may_come_back(machine: Machine, now: datetime) -> bool:
    """Tell whether a machine counts as gone only because it was not shown, and not for long: it may be in use."""
    unseen = machine.message == NO_LONGER_KNOWN and not is_told_to_end(machine)
    return unseen and now - machine.observed_at < SHOWN_AS_ENDED


def disowned(machine: Machine, look: datetime) -> Machine:
    """Note that a look has shown a machine without our owner tag; one that shows the tag again takes that back."""
    return replace(machine, disowned=True, observed_at=look)


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
    discarded = bool(reason) and not machine.return_id
    return replace(machine, status=MachineStatus.SHUTTING_DOWN, observed_at=at, message=reason, discarded=discarded)


def reclaimed(machine: Machine, reclaim: Reclaim, now: datetime) -> Machine:
    """Note what the cloud says of a machine that it takes back, as far as that is its end."""
    if reclaim.status not in ENDING:
        return machine
    return replace(machine, status=reclaim.status, observed_at=now, message=f"{reclaim.code}: {reclaim.message}")


def noticed(machine: Machine, reclaim: Reclaim) -> Machine:
    """Note what a message has announced of a machine; one that names the moment is worth most."""
    known = machine.notice is not None and machine.notice.at is not None and reclaim.at is None
    return machine if known else replace(machine, notice=reclaim)


def gone(machine: Machine, discovery: Discovery) -> Machine:
    """Note that the cloud no longer knows a machine."""
    return replace(
        machine,
        status=MachineStatus.TERMINATED,
        observed_at=discovery.observed_at,
        message=machine.message or NO_LONGER_KNOWN,
    )


def _returned_units(machines: Iterable[Machine], discovery: Discovery) -> float:
    """Count what was returned while its request was open as delivered; what the verdict has as running is in it.

    The record of a machine may be younger than the look: it ends by now, and the look has it as running.
    """
    running = {one.instance_id for one in discovery.instances if one.status is MachineStatus.RUNNING}
    returned = (m for m in machines if m.return_id and m.status is not MachineStatus.RUNNING)
    return sum(m.weight for m in returned if m.instance_id not in running)


def _with_faults(old: tuple[Fault, ...], new: tuple[Fault, ...]) -> tuple[Fault, ...]:
    return tuple(dict.fromkeys((*(one for one in old if one not in new), *new)))[-KEPT_FAULTS:]


def _losses(machines: Iterable[Machine], unwanted: Mapping[str, str]) -> Iterator[str]:
    """Say why machines that had been launched are not delivered: once each reason, with how many it took."""
    reasons = (
        unwanted.get(machine.instance_id) or machine.message
        for machine in machines
        if machine.instance_id in unwanted or not (machine.status in _ALIVE or machine.return_id)
    )
    for reason, count in Counter(filter(None, reasons)).items():
        yield f"{count} machine{'' if count == 1 else 's'} lost: {reason}"


def _reasons(faults: Iterable[Fault], losses: Iterable[str] = ()) -> str:
    return "; ".join((*told_once(faults), *losses)) or "the cloud gave no reason"


def in_units(count: float) -> str:
    """Say how many units."""
    return f"{count:g} unit" + ("" if count == 1 else "s")


def count_running(machines: Iterable[Machine]) -> str:
    """Say how many machines run."""
    running = sum(machine.status is MachineStatus.RUNNING for machine in machines)
    return f"{running} running machine" + ("" if running == 1 else "s")
