"""Own which requests a call looks after, and which of them are left by calls that died."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hfcore import lifecycle
from hfcore.errors import StoreUntrusted
from hfcore.journal import is_dead
from hfcore.models import RequestKind

if TYPE_CHECKING:
    from datetime import datetime

    from hfcore.journal import IntentFolder
    from hfcore.models import Request
    from hfcore.store import State

MOST_OVERDUE = 10
"""So many requests that nobody asked about, but that need something done, are looked after in one call."""


class Tending:
    """Tells what needs care.

    Args:
        journal: The journal.
        foreign_after: Seconds after which a process of another host, which can't be seen from here, counts as dead.
    """

    def __init__(self, journal: IntentFolder, *, foreign_after: float) -> None:
        self._journal = journal
        self._foreign_after = foreign_after

    def tended(self, state: State, asked: frozenset[str], begun: frozenset[str], now: datetime) -> tuple[str, ...]:
        """Name the requests to look after: those asked about, then some that need something done.

        Args:
            state: The records.
            asked: Ids of the requests that somebody asks about.
            begun: Ids of the requests that have steps in the journal.
            now: The time.
        """
        named = tuple(sorted(request_id for request_id in asked if state.request(request_id) is not None))
        live = state.live_ids()
        others = (
            request.request_id
            for request in state.requests()
            if request.request_id not in asked and self._needs_care(state, request, live, begun, now)
        )
        return (*named, *islice(others, MOST_OVERDUE))

    def is_abandoned(self, request: Request, now: datetime) -> bool:
        """Tell whether the process that was first to carry out a request died before it had stored the outcome."""
        return not request.process or self._is_dead(request.process, request.created_at, now)

    def _needs_care(
        self, state: State, request: Request, live: frozenset[str], begun: frozenset[str], now: datetime
    ) -> bool:
        lives = not live.isdisjoint(request.machine_ids)
        if lifecycle.is_overdue(request, now) or lifecycle.needs_freezing(request) or request.unwanted:
            return True
        if lives and lifecycle.is_orphan(request, now):
            return True
        if not lives and (is_to_be_cleaned(state, request, now) or _is_over_but_open(request)):
            return True
        if request.process:
            return lifecycle.is_open(request) and self.is_abandoned(request, now)
        return request.request_id in begun and self._is_left(request, now)

    def _is_left(self, request: Request, now: datetime) -> bool:
        """Tell whether every process died that was at work on a request; of a damaged step, who asks is told."""
        try:
            steps = self._journal.steps(request.request_id)
        except StoreUntrusted:
            return False
        return all(self._is_dead(intent.process, intent.begun_at, now) for intent in steps)

    def _is_dead(self, process: str, since: datetime, now: datetime) -> bool:
        return is_dead(process, begun_at=since, now=now, foreign_after=self._foreign_after)


def is_to_be_cleaned(state: State, request: Request, now: datetime) -> bool:
    """Tell whether what a request without live machines has left may go: that would end one that was only missed."""
    return lifecycle.needs_cleanup(request) and not any(
        lifecycle.may_come_back(machine, now) for machine in state.machines_of(request)
    )


def _is_over_but_open(request: Request) -> bool:
    """Tell whether a return whose machines are all gone is still to be closed."""
    return request.kind is RequestKind.RETURN and lifecycle.is_open(request)


def movable(state: State, tended: tuple[str, ...], begun: frozenset[str]) -> tuple[str, ...]:
    """Name those of the requests with which a call may go on: no two calls do so at the same time."""
    requests = filter(None, map(state.request, tended))
    return tuple(one.request_id for one in requests if lifecycle.is_open(one) or one.request_id in begun)
