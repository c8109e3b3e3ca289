"""Own how a template is slowed down whose machines keep dying at their start. Pure.

It never leaves the list: Host Factory would take its machines for lost. What it has done so far is read from its stored
requests and machines; a request of which a single machine has come to stay ends the pause.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hfcore import lifecycle
from hfcore.models import RequestKind, RequestStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from hfcore.models import Machine, Request

TOLERATED = 2
"""So many requests in a row may lose all their machines; from the next one on there is a pause."""

FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=10)

EARLY = timedelta(minutes=5)
"""A machine whose end was seen within so long after its launch has died at its start, though it was seen running."""

_BY_ITSELF = ("Client.InstanceInitiatedShutdown", "Client.InternalError", "Server.InternalError")
# EC2's reasons for an end that neither a person nor a lack of capacity has brought about (EC2 API reference,
# StateReason); what takes a Spot machine back has others.


def pause(
    requests: Iterable[Request],
    machines_of: Callable[[Request], Iterable[Machine]],
    template_id: str,
    now: datetime,
) -> tuple[datetime, str] | None:
    """Give until when a template is not asked for, and why; `None` if it may be.

    Args:
        requests: The stored requests.
        machines_of: Gives the stored machines of one.
        template_id: The template.
        now: The time.
    """
    ended = sorted((one for one in requests if _tells(one, template_id)), key=_ended_at)
    lost: list[tuple[Request, datetime, str]] = []
    for one in reversed(ended):
        dead = _all_dead(machines_of(one)) if one.delivered else ()
        if one.delivered and not dead:
            break
        at = max((_ended_at(one), *(machine.observed_at for machine in dead)))
        lost.append((one, at, dead[0].message if dead else one.message))
    if len(lost) <= TOLERATED:
        return None
    last, at, reason = lost[0]
    until = at + min(FIRST_PAUSE * 2 ** min(len(lost) - TOLERATED - 1, 8), LONGEST_PAUSE)
    why = f"all machines of its last {len(lost)} requests died at their start, at last those of {last.request_id}"
    return (until, f"{why} ({reason})") if now < until else None


def _all_dead(machines: Iterable[Machine]) -> tuple[Machine, ...]:
    """Give the machines that Host Factory was given, if all of them have died at their start."""
    given = tuple(one for one in machines if not one.discarded)
    return given if all(map(_died_early, given)) else ()


def _died_early(machine: Machine) -> bool:
    """Tell whether a machine that nobody has given back ended by itself, soon after its launch."""
    ended = machine.status in lifecycle.ENDING and machine.message.startswith(_BY_ITSELF)
    launched = machine.launch_time
    return ended and not machine.return_id and launched is not None and machine.observed_at - launched <= EARLY


def _tells(request: Request, template_id: str) -> bool:
    """Tell whether an ended request says how its template's machines fare: it had some, and was not cancelled."""
    made = request.kind is RequestKind.CREATE and request.template_id == template_id
    judged = request.delivered is not None and bool(request.machine_ids)
    return made and judged and not lifecycle.is_open(request) and request.status is not RequestStatus.CANCELLED


def _ended_at(request: Request) -> datetime:
    return request.ended_at or request.created_at
