"""Own what stands behind requests of EC2 and Spot fleets: by id once they are settled, by tag while they may launch."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from hfcore.aws.accounts import answering
from hfcore.aws.calls import each, pages
from hfcore.aws.discovery import Told, discover, is_missed, of_request, running_units
from hfcore.aws.fleet_history import reasons
from hfcore.aws.fleets import described, is_young
from hfcore.aws.instances import COMING, announced, describe, describe_by_request, weighed, weights
from hfcore.aws.remainders import awaits_remainder
from hfcore.models import Discovery, RequestKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from hfcore.aws.fleets import Fleet, FleetApi
    from hfcore.aws.instances import Seen
    from hfcore.context import Context
    from hfcore.models import Instance, Request

First = TypeVar("First")
Second = TypeVar("Second")

REASONS_AFTER = timedelta(seconds=60)
"""After so long a request that is still short is asked about its reasons."""


def settled(request: Request) -> Told | None:
    """Say what is known of a request whose machines are all known by id: frozen, or a return; else `None`."""
    return Told(request=request, final=True) if request.frozen or request.kind is RequestKind.RETURN else None


def discover_fleets(
    context: Context,
    api: FleetApi,
    requests: Sequence[Request],
    known: Callable[[Request], Told | None] = settled,
) -> tuple[Discovery, ...]:
    """Find the instances of requests: by id of those that are `known` so far, of the others by tag."""
    told = tuple(one for one in map(known, requests) if one)
    still_open = tuple(request for request in requests if not known(request))
    return (*discover(context, told), *(_discover_open(context, api, still_open) if still_open else ()))


def _discover_open(context: Context, api: FleetApi, requests: Sequence[Request]) -> Iterable[Discovery]:
    """Find the instances of requests whose fleets may still launch.

    By their tag, which they have from launch on, while the fleets are described: two calls for up to 100 requests. The
    lists of a fleet's instances may be out of date (DescribeFleetInstances), so they are asked for only where the fleet
    has more than EC2 shows. Machines missing elsewhere are asked about by id. Where a request is short after a
    minute, or for good, its fleets' history is asked for the reasons.
    """
    since = context.clock.now()
    tagged, fleets = _both(
        lambda: describe_by_request(context, [request.request_id for request in requests]),
        lambda: described(context, api, [one for request in requests for one in request.resource_ids]),
    )
    looks = each(lambda request: _look(context, api, request, tagged, fleets, since), requests)
    by_id = describe(context, (i for _, missing in looks for i in missing))
    account = tagged.account or by_id.account
    lost = {request.request_id for request in requests if fleets.keys().isdisjoint(request.resource_ids)}
    if not account and any(is_missed(context, one, resources=one.request_id in lost) for one in requests):
        account = answering(context)
    return (_completed(one, *look, by_id, account) for one, look in zip(requests, looks, strict=True))


def _both(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    questions: tuple[Callable[[], Any], ...] = (first, second)
    one, other = each(lambda ask: ask(), questions)
    return one, other


def _look(
    context: Context, api: FleetApi, request: Request, tagged: Seen, fleets: Mapping[str, Fleet], since: datetime
) -> tuple[Discovery, tuple[str, ...]]:
    """Give what tag and fleets show of a request, and its machines thought alive that they do not show."""
    now = context.clock.now()
    shown = of_request(tagged, request)
    its = [fleets[one] for one in request.resource_ids if one in fleets]
    all_known = len(its) == len(request.resource_ids) or not is_young(request, now)
    final = all_known and all(fleet.is_over for fleet in its) and not awaits_remainder(request)
    units = sum(one.weight for one in shown.values() if one.status in COMING)
    # The fleets have more than EC2 shows: it is late, or their answer is.
    lags = sum(fleet.units for fleet in its) > units
    named = tuple(_named_only(context, api, request, its, shown)) if lags else ()
    units += sum(one.weight for one in named)
    asks_why = units < request.target and (final or now - request.created_at > REASONS_AFTER)
    found = Discovery(
        request_id=request.request_id,
        instances=(*shown.values(), *named),
        final=final,
        faults=reasons(context, api, [fleet.fleet_id for fleet in its], request.created_at) if asks_why else (),
        observed_at=since,
        thorough=not lags,
        stands=bool(its),
    )
    return found, () if lags else tuple(i for i in request.machine_ids if i not in shown)


def _named_only(
    context: Context, api: FleetApi, request: Request, fleets: Iterable[Fleet], shown: Mapping[str, Instance]
) -> Iterator[Instance]:
    """Give the instances that only the fleets name."""
    units = weights(request.template)
    for fleet in fleets:
        for one in pages(context, "ec2", api.members, "ActiveInstances", {api.fleet_id: fleet.fleet_id}):
            if one["InstanceId"] not in shown and one["InstanceId"] not in request.machine_ids:
                market = "spot" if one.get("SpotInstanceRequestId") else "ondemand"
                its = {"resource_id": fleet.fleet_id, "price_type": market}
                new = announced(context, one["InstanceId"], instance_type=one.get("InstanceType", ""), **its)
                yield weighed(new, units)


def _completed(request: Request, found: Discovery, missing: Sequence[str], by_id: Seen, account: str) -> Discovery:
    units = weights(request.template)
    asked = (weighed(by_id.instances[i], units) for i in missing if i in by_id.instances)
    shown = (*found.instances, *asked)
    return replace(
        found,
        instances=shown,
        fulfilled=running_units(shown),
        thorough=found.thorough and by_id.untagged.keys().isdisjoint(missing),
        account_id=account,
        disowned=frozenset(by_id.untagged).intersection(missing),
    )
