"""Own what the records add up to: units of a template in use, and requests that are over for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore import lifecycle
from hfcore.models import RequestKind

if TYPE_CHECKING:
    from datetime import datetime

    from hfcore.store import State

UNLIMITED = -1
"""A template's `maxNumber` without limit."""


def units_in_use(state: State, template_id: str) -> tuple[float, float]:
    """Give the units of a template that are live, and those that open requests still expect besides."""
    live = expected = 0.0
    for request in state.requests():
        if request.kind is not RequestKind.CREATE or request.template_id != template_id:
            continue
        machines = state.machines_of(request)
        alive = lifecycle.live_units(machines)
        live += alive
        expected += lifecycle.expected_units(request, machines) - alive
    return live, expected


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
