"""Own price type `heterogeneous` of fleets that fill later: what Spot leaves is bought on demand, as a second fleet."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hfcore.aws import tags
from hfcore.aws.fleet_terms import is_heterogeneous, spot_until, weights
from hfcore.aws.fleets import create, freeze
from hfcore.aws.instances import describe_by_request, weighed
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import MachineStatus, Provisioned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from hfcore.aws.fleets import Words
    from hfcore.aws.instances import Seen
    from hfcore.context import Context
    from hfcore.models import Request

_STEP = "launch-1"
_COMING = frozenset({MachineStatus.PENDING, MachineStatus.RUNNING})
_BY_A_USER = "Client.UserInitiatedShutdown"


def awaits_remainder(request: Request) -> bool:
    """Tell whether what Spot leaves of a request is still to be bought on demand."""
    return is_heterogeneous(request.template) and "remainder" not in request.provider_data


def _is_due(request: Request, now: datetime) -> bool:
    until = spot_until(request)
    return awaits_remainder(request) and until is not None and now >= until


def buy_remainders(
    context: Context, words: Words, requests: Sequence[Request], terms: Callable[[Request, int], Mapping[str, Any]]
) -> tuple[Provisioned, ...]:
    """End Spot's time for those requests of price type heterogeneous that are due, and buy the rest on demand.

    Args:
        context: The context.
        words: The API.
        requests: Open requests.
        terms: Gives the parameters of a fleet of so many units on demand, a further resource of a request.

    Raises:
        CloudError: AWS could not be asked.
    """
    now = context.clock.now()
    due = [request for request in requests if _is_due(request, now)]
    ended = {outcome.request_id for outcome in freeze(context, words, due) if outcome.done}
    if not ended:
        return ()
    seen = describe_by_request(context, ended)
    bought = (
        _bought(context, words, request, _left(request, seen), terms) for request in due if request.request_id in ended
    )
    return tuple(made for made in bought if made)


def _bought(
    context: Context, words: Words, request: Request, units: int, terms: Callable[[Request, int], Mapping[str, Any]]
) -> Provisioned | None:
    so_far = Provisioned(
        request_id=request.request_id, resource_ids=request.resource_ids, provider_data=request.provider_data
    )
    begun = any(intent.step == _STEP for intent in context.journal.steps(request.request_id))
    try:
        if units or begun:  # what was begun before is gone on with, whatever has come of it meanwhile
            fleet_id = create(context, words, request, _STEP, terms(request, max(units, 1)))
            so_far = replace(so_far, resource_ids=(*request.resource_ids, fleet_id))
    except OutcomeUnknown as error:  # nothing is stored, so that the intent stays
        context.logger.warning("%s: %s", request.request_id, error)
        return None
    except CloudError as error:
        return replace(so_far, faults=(error.fault,))
    return replace(so_far, provider_data={**request.provider_data, "remainder": units})


def _left(request: Request, seen: Seen) -> int:
    """Count the units that were never delivered, or that AWS itself took back; what we ended was delivered."""
    units = weights(request.template)
    its = [one for one in seen.instances.values() if one.tags.get(tags.REQUEST) == request.request_id]
    there = [weighed(one, units) for one in its if one.status in _COMING or one.message.startswith(_BY_A_USER)]
    forgotten = set(request.machine_ids) - seen.instances.keys()
    return max(0, math.ceil(request.target - sum(one.weight for one in there)) - len(forgotten))
