"""Own how a template is slowed down whose machines keep dying at their start. Pure.

It never leaves the list: Host Factory would take its machines for lost. What it has done so far is read from its stored
requests; a request that has got a single unit ends the pause.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hfcore import lifecycle
from hfcore.models import RequestKind, RequestStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from hfcore.models import Request

TOLERATED = 2
"""So many requests in a row may lose all their machines; from the next one on there is a pause."""

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=10)


def pause(requests: Iterable[Request], template_id: str, now: datetime) -> tuple[datetime, str] | None:
    """Give until when a template is not asked for, and why; `None` if it may be.

    Args:
        requests: The stored requests.
        template_id: The template.
        now: The time.
    """
    ended = sorted((one for one in requests if _tells(one, template_id)), key=_ended_at)
    lost = 0
    for one in reversed(ended):
        if one.delivered:
            break
        lost += 1
    if lost <= TOLERATED:
        return None
    until = _ended_at(ended[-1]) + min(FIRST_PAUSE * 2 ** min(lost - TOLERATED - 1, 8), LONGEST_PAUSE)
    last = ended[-1]
    why = f"all machines of its last {lost} requests died at their start, at last those of {last.request_id}"
    return (until, f"{why} ({last.message})") if now < until else None


def _tells(request: Request, template_id: str) -> bool:
    """Tell whether an ended request says how its template's machines fare: it had some, and was not cancelled."""
    made = request.kind is RequestKind.CREATE and request.template_id == template_id
    judged = request.delivered is not None and bool(request.machine_ids)
    return made and judged and not lifecycle.is_open(request) and request.status is not RequestStatus.CANCELLED


def _ended_at(request: Request) -> datetime:
    return request.ended_at or request.created_at
