"""Own what the records add up to: units of a template in use, requests that are over for good, and whose is what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from hfcore import lifecycle
from hfcore.models import Fault, RequestKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from hfcore.models import Discovery, Machine, Provisioned, Request
    from hfcore.store import State

Answer = TypeVar("Answer", "Provisioned", "Discovery")

UNLIMITED = -1
"""A template's `maxNumber` without limit."""


def live_units(machines: Iterable[Machine]) -> float:
    """Give the units of the machines that may still cost something."""
    return sum(machine.weight for machine in machines if lifecycle.is_live(machine))


def expected_units(request: Request, machines: Iterable[Machine]) -> float:
    """Give the units of a request that live, or may still come: until it has ended and its resource is frozen."""
    machines = tuple(machines)
    live = live_units(machines)
    if not (lifecycle.is_open(request) or lifecycle.needs_freezing(request)):
        return live
    returned = sum(machine.weight for machine in machines if machine.return_id and not lifecycle.is_live(machine))
    return max(live, request.target - returned)


def units_in_use(state: State, template_id: str) -> tuple[float, float]:
    """Give the units of a template that are live, and those that open requests still expect besides."""
    live = expected = 0.0
    for request in state.requests():
        if request.kind is not RequestKind.CREATE or request.template_id != template_id:
            continue
        machines = state.machines_of(request)
        alive = live_units(machines)
        live += alive
        expected += expected_units(request, machines) - alive
    return live, expected


def live_names(state: State) -> dict[str, tuple[str, ...]]:
    """Give the host names of the machines that live, by the template that made them."""
    names: dict[str, dict[str, None]] = {}
    for machine in filter(lifecycle.is_live, state.machines()):
        creator = state.request(machine.request_id)
        if creator is not None and machine.name:
            names.setdefault(creator.template_id, {})[machine.name] = None
    return {template_id: tuple(found) for template_id, found in names.items()}


def finished_before(state: State, oldest: datetime, begun: frozenset[str]) -> tuple[str, ...]:
    """Name the requests that were over, with all their machines, before a time: the archive is for them.

    Those with steps in the journal, named by `begun`, stay: what these have made may still be found.
    """
    live = state.live_ids()
    return tuple(
        request.request_id
        for request in state.requests()
        if lifecycle.is_finished(request)
        and request.request_id not in begun
        and (request.ended_at or request.created_at) < oldest
        and live.isdisjoint(request.machine_ids)
    )


def not_over(state: State) -> tuple[Request, ...]:
    """Give the requests that may still move, or whose machines live."""
    live = state.live_ids()
    return tuple(
        one for one in state.requests() if not (lifecycle.is_finished(one) and live.isdisjoint(one.machine_ids))
    )


def own(state: State, made: Answer) -> Answer:
    """Take out of what a plug-in gave for a request the machines that are another's: a fault of it tells of them."""
    known = filter(None, (state.machine(one.instance_id) for one in made.instances))
    others = {one.instance_id: one.request_id for one in known if one.request_id != made.request_id}
    if not others:
        return made
    key, owner = next(iter(others.items()))
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    message = f"its plug-in has named {key}{more} for it, which {owner} has: left with that"
    fault = Fault(code="OfAnotherRequest", message=message)
    kept = tuple(one for one in made.instances if one.instance_id not in others)
    return replace(made, instances=kept, faults=(*made.faults, fault))
