"""Own what a view of the store says is to be asked about, and to be ended. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hfcore import lifecycle, observing
from hfcore.models import RequestKind, RequestStatus

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from hfcore.models import Discovery, Machine, Release, Request
    from hfcore.store import State

_PART = "#"  # parts the id of a return from the number of the question that asks about some of its machines


def asked_about(question_id: str) -> str:
    """Give the id of the request that a question is about."""
    return question_id.partition(_PART)[0]


def accounts_of(state: State, region: str) -> frozenset[str]:
    """Name the accounts in which stored requests of a region live."""
    return frozenset(one.account_id for one in state.requests() if one.account_id and one.region == region)


def elsewhere(state: State, request: Request, discovery: Discovery | None) -> str:
    """Say so if an answer came from another account than a request lives in: it then tells nothing about it.

    A request whose own account is not known lives where it is shown, or else in that of the others of its region; while
    that is not known either, what is not shown is not gone.
    """
    if discovery is None or request.account_id or discovery.instances or discovery.stands:
        return observing.other_account(request, discovery)
    accounts, answered = accounts_of(state, request.region), discovery.account_id
    if not answered:  # a cloud without accounts, or one that does not tell: the second look decides
        return ""
    if accounts - {answered}:
        others = ", ".join(sorted(accounts))
        return f"the answer came from account {answered}, the requests of {request.region} live in {others}"
    if answered in accounts or not _is_missed(state, request, discovery):
        return ""
    return f"nothing of it is shown by account {answered}, and whether it lives there is not known yet"


def _is_missed(state: State, request: Request, discovery: Discovery) -> bool:
    """Tell whether an answer should show something of a request: it is not new, and something may stand."""
    expected = request.resource_ids or any(m.status not in lifecycle.ENDING for m in state.machines_of(request))
    return bool(expected) and discovery.observed_at - request.created_at >= lifecycle.VISIBILITY_DELAY


def questions(state: State, tended: Iterable[str]) -> Iterator[Request]:
    """Give what to ask the plug-ins: requests with only their live machines; a return, split by who made them."""
    for request in filter(None, map(state.request, tended)):
        live = [machine for machine in state.machines_of(request) if lifecycle.is_live(machine)]
        if request.kind is RequestKind.RETURN:
            yield from _return_questions(state, request, live)
        elif live or request.status is RequestStatus.IN_PROGRESS or _may_have_late_ones(request):
            yield replace(request, machine_ids=_ids(live))


def _may_have_late_ones(request: Request) -> bool:
    """Tell whether machines may show up behind a request that has ended, though none is known to live."""
    return lifecycle.needs_freezing(request) or lifecycle.needs_cleanup(request)


def _ids(machines: Iterable[Machine]) -> tuple[str, ...]:
    return tuple(machine.instance_id for machine in machines)


def _by_creator(state: State, machines: Iterable[Machine]) -> dict[str, list[Machine]]:
    """Group machines by the request that made them."""
    groups: dict[str, list[Machine]] = {}
    for machine in machines:
        if state.request(machine.request_id) is not None:
            groups.setdefault(machine.request_id, []).append(machine)
    return groups


def _return_questions(state: State, request: Request, live: list[Machine]) -> list[Request]:
    """Ask about the machines of a return in one part for each plug-in, region, endpoint and account of theirs."""
    parts: dict[tuple[str, ...], tuple[Request, list[Machine]]] = {}
    for creator_id, machines in _by_creator(state, live).items():
        creator = state.request(creator_id)
        if creator is not None:
            where = (creator.region, creator.endpoint, creator.account_id)
            key = (creator.provider_api, creator.distribution, *where)
            parts.setdefault(key, (creator, []))[1].extend(machines)
    return [
        replace(
            creator,
            request_id=f"{request.request_id}{_PART}{number}",
            kind=RequestKind.RETURN,
            status=request.status,
            resource_ids=(),
            machine_ids=_ids(machines),
        )
        for number, (creator, machines) in enumerate(parts.values())
    ]


def creators(state: State, tended: tuple[str, ...]) -> tuple[str, ...]:
    """Name the requests for machines that are concerned: those looked after, and those whose machines return."""
    named: dict[str, None] = {}
    for request in filter(None, map(state.request, tended)):
        if request.kind is RequestKind.CREATE:
            named[request.request_id] = None
        else:
            named |= dict.fromkeys(machine.request_id for machine in state.machines_of(request))
    return tuple(named)


def open_returns(state: State, tended: Iterable[str]) -> tuple[str, ...]:
    """Name the returns among requests that are not over yet."""
    found = filter(None, map(state.request, tended))
    return tuple(one.request_id for one in found if one.kind is RequestKind.RETURN and lifecycle.is_open(one))


def still_to_end(state: State, releases: Iterable[Release]) -> tuple[Release, ...]:
    """Leave out the machines that are ending by now."""
    return without(releases, {m.instance_id for m in state.machines() if m.status in lifecycle.ENDING})


def without(releases: Iterable[Release], ids: Container[str]) -> tuple[Release, ...]:
    """Leave out machines."""
    left = (replace(one, machines=tuple(m for m in one.machines if m.instance_id not in ids)) for one in releases)
    return tuple(one for one in left if one.machines)


def releases(state: State, return_ids: Iterable[str], reasons: Iterable[str]) -> tuple[Release, ...]:
    """Give what is to be ended and is not ending yet: each machine once, however many returns name it.

    Args:
        state: The records.
        return_ids: Returns.
        reasons: Ids of machines that are unwanted.
    """
    todo: dict[str, str] = {}
    for request in filter(None, map(state.request, return_ids)):
        for machine in state.machines_of(request):
            if machine.status not in lifecycle.ENDING:
                todo.setdefault(machine.instance_id, request.request_id)
    for instance_id in reasons:
        todo.setdefault(instance_id, "")
    parts: dict[str, list[Machine]] = {}
    for machine in filter(None, map(state.machine, todo)):
        parts.setdefault(todo[machine.instance_id], []).append(machine)
    return tuple(one for return_id, machines in parts.items() for one in _releases(state, machines, return_id))


def _releases(state: State, machines: Iterable[Machine], return_id: str) -> Iterator[Release]:
    from hfcore.models import Release

    for creator_id, members in _by_creator(state, machines).items():
        creator = state.request(creator_id)
        if creator is not None:
            yield Release(request=creator, machines=tuple(members), return_id=return_id)
