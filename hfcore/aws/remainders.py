"""Own price type `heterogeneous` of what fills later: what Spot leaves is bought on demand, as a second resource."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hfcore.aws.discovery import of_request
from hfcore.aws.instances import COMING, describe_by_request, weights
from hfcore.aws.mixes import is_heterogeneous, spot_until
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import Provisioned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from hfcore.aws.instances import Seen
    from hfcore.context import Context
    from hfcore.models import Outcome, Request

STEP = "launch-1"
"""The journal's name for the making of the second resource."""

_DONE = "remainder"
_BY_A_USER = "Client.UserInitiatedShutdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """How an API stops the resource that fills by Spot, and makes the one that fills on demand.

    Args:
        stop: Lets resources launch nothing more; what runs stays.
        units: Gives the units that the API says that stopped ones have, by request id.
        buy: Makes the second one of a request for so many units as the step `STEP`; gives what it is, without
            the first one. Raises `CloudError` if AWS refused, `OutcomeUnknown` if it was not answered.
    """

    stop: Callable[[Context, Sequence[Request]], Iterable[Outcome]]
    units: Callable[[Context, Sequence[Request]], Mapping[str, float]]
    buy: Callable[[Context, Request, int], Provisioned]


def awaits_remainder(request: Request) -> bool:
    """Tell whether what Spot leaves of a request is still to be bought on demand."""
    return is_heterogeneous(request.template) and _DONE not in request.provider_data


def _is_due(request: Request, now: datetime) -> bool:
    until = spot_until(request)
    return awaits_remainder(request) and until is not None and now >= until


def buy_remainders(context: Context, resources: Resources, requests: Iterable[Request]) -> tuple[Provisioned, ...]:
    """End Spot's time for those open requests of price type heterogeneous that are due, and buy the rest on demand."""
    now = context.clock.now()
    due = [request for request in requests if _is_due(request, now)]
    if not due:
        return ()
    stopped = {outcome.request_id for outcome in resources.stop(context, due) if outcome.done}
    ready = [request for request in due if request.request_id in stopped]
    held = resources.units(context, ready)
    seen = describe_by_request(context, stopped)
    bought = (_bought(context, resources, one, _left(one, seen, held.get(one.request_id, 0.0))) for one in ready)
    return tuple(made for made in bought if made)


def _bought(context: Context, resources: Resources, request: Request, units: int) -> Provisioned | None:
    before = Provisioned(
        request_id=request.request_id, resource_ids=request.resource_ids, provider_data=request.provider_data
    )
    begun = any(intent.step == STEP for intent in context.journal.steps(request.request_id))
    try:
        # What was begun before is gone on with, whatever has come of it meanwhile.
        made = resources.buy(context, request, max(units, 1)) if units or begun else before
    except OutcomeUnknown as error:  # nothing is stored, so that the intent stays
        context.logger.warning("%s: %s", request.request_id, error)
        return None
    except CloudError as error:
        return replace(before, faults=(error.fault,))
    return replace(
        made,
        resource_ids=tuple(dict.fromkeys((*request.resource_ids, *made.resource_ids))),
        provider_data={**request.provider_data, **made.provider_data, _DONE: units},
    )


def _left(request: Request, seen: Seen, held: float) -> int:
    """Count the units that were never delivered, or that AWS itself took back; what we ended was delivered.

    What the resource has beyond all that EC2 shows was launched a moment ago, and is not visible yet.
    """
    its = of_request(seen, request).values()
    there = sum(one.weight for one in its if one.status in COMING or one.message.startswith(_BY_A_USER))
    least = min(weights(request.template).values(), default=1)
    forgotten = least * len(set(request.machine_ids) - seen.instances.keys())
    unseen = max(0.0, held - sum(one.weight for one in its) - forgotten)
    return max(0, math.ceil(request.target - there - forgotten - unseen))
