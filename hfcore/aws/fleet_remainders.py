"""Own price type `heterogeneous` of fleets that fill later: what Spot leaves is bought on demand, as a second fleet."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from hfcore.aws.discovery import of_request
from hfcore.aws.fleet_terms import is_heterogeneous, spot_until
from hfcore.aws.fleets import create, freeze
from hfcore.aws.instances import COMING, describe_by_request
from hfcore.aws.launch_templates import own_name
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import Provisioned

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from hfcore.aws.fleets import FleetApi
    from hfcore.aws.instances import Seen
    from hfcore.context import Context
    from hfcore.models import Request

_STEP = "launch-1"
_BY_A_USER = "Client.UserInitiatedShutdown"


def awaits_remainder(request: Request) -> bool:
    """Tell whether what Spot leaves of a request is still to be bought on demand."""
    return is_heterogeneous(request.template) and "remainder" not in request.provider_data


def _is_due(request: Request, now: datetime) -> bool:
    until = spot_until(request)
    return awaits_remainder(request) and until is not None and now >= until


def buy_remainders(context: Context, api: FleetApi, requests: Iterable[Request]) -> tuple[Provisioned, ...]:
    """End Spot's time for those open requests of price type heterogeneous that are due, and buy the rest on demand."""
    now = context.clock.now()
    due = [request for request in requests if _is_due(request, now)]
    frozen = {outcome.request_id for outcome in freeze(context, api, due) if outcome.done}
    seen = describe_by_request(context, frozen)
    bought = (_bought(context, api, one, _left(one, seen)) for one in due if one.request_id in frozen)
    return tuple(made for made in bought if made)


def _bought(context: Context, api: FleetApi, request: Request, units: int) -> Provisioned | None:
    so_far = Provisioned(
        request_id=request.request_id, resource_ids=request.resource_ids, provider_data=request.provider_data
    )
    begun = any(intent.step == _STEP for intent in context.journal.steps(request.request_id))
    try:
        if units or begun:  # what was begun before is gone on with, whatever has come of it meanwhile
            name, least = own_name(request), max(units, 1)
            asked = api.terms(context, request, request.template, name, units=least, remainder=True)
            so_far = replace(so_far, resource_ids=(*request.resource_ids, create(context, api, request, _STEP, asked)))
    except OutcomeUnknown as error:  # nothing is stored, so that the intent stays
        context.logger.warning("%s: %s", request.request_id, error)
        return None
    except CloudError as error:
        return replace(so_far, faults=(error.fault,))
    return replace(so_far, provider_data={**request.provider_data, "remainder": units})


def _left(request: Request, seen: Seen) -> int:
    """Count the units that were never delivered, or that AWS itself took back; what we ended was delivered."""
    its = of_request(seen, request).values()
    there = sum(one.weight for one in its if one.status in COMING or one.message.startswith(_BY_A_USER))
    forgotten = set(request.machine_ids) - seen.instances.keys()
    return max(0, math.ceil(request.target - there) - len(forgotten))
