"""Own which requests a person may cancel. Pure, but for asking whether a process lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore import lifecycle
from hfcore.errors import InputError
from hfcore.journal import is_dead
from hfcore.models import RequestKind, RequestStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from hfcore.models import Request
    from hfcore.store import State
    from hfcore.views import RequestView


def to_be_cancelled(
    state: State, views: Iterable[RequestView], now: datetime, foreign_after: float
) -> tuple[Request, ...]:
    """Give those of the requests that are open; one that has ended is left out.

    Args:
        state: The records.
        views: The requests as they were looked at just now.
        now: The time.
        foreign_after: Seconds after which a process of another host counts as dead.

    Raises:
        InputError: One is unknown, a return, or being created by a call that is alive: its outcome is not stored yet.
    """
    found = []
    for view in views:
        if view.request is None:
            raise InputError(view.message, hint="see: hfcore requests list")
        if view.request.kind is RequestKind.RETURN:
            raise InputError(f"{view.request_id} is a return: machines that are going can't be kept")
        request = state.request(view.request_id)
        if request is None or not lifecycle.is_open(request):
            continue
        if _is_being_created(request, now, foreign_after):
            raise InputError(f"{view.request_id} is being created by another call", hint="cancel it in a moment")
        found.append(request)
    return tuple(found)


def _is_being_created(request: Request, now: datetime, foreign_after: float) -> bool:
    if request.status is not RequestStatus.CREATING or not request.process:
        return False
    return not is_dead(request.process, begun_at=request.created_at, now=now, foreign_after=foreign_after)
