"""Own what stands behind requests whose EC2 or Spot fleets may still launch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from hfcore.aws import tags
from hfcore.aws.calls import each, pages
from hfcore.aws.discovery import Told
from hfcore.aws.fleet_history import reasons
from hfcore.aws.fleet_remainders import awaits_remainder
from hfcore.aws.fleet_terms import weights
from hfcore.aws.fleets import described, is_young
from hfcore.aws.instances import announced, describe, describe_by_request, weighed
from hfcore.models import Discovery, MachineStatus, RequestKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from hfcore.aws.fleets import Fleet, Words
    from hfcore.aws.instances import Seen
    from hfcore.context import Context
    from hfcore.models import Fault, Instance, Request

First = TypeVar("First")
Second = TypeVar("Second")

REASONS_AFTER = 60.0
"""Seconds after which a request that is still short is asked about its reasons."""

_COMING = frozenset({MachineStatus.PENDING, MachineStatus.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What EC2 and its fleets show of one open request.

    Args:
        shown: Its instances that EC2 finds by tag.
        fleets: Those of its fleets that AWS knows.
        unseen: The instances that only its fleets name; `None` where these were not asked.
        final: Nothing more will come by itself.
    """

    request: Request
    shown: Mapping[str, Instance]
    fleets: tuple[Fleet, ...]
    final: bool
    unseen: tuple[Instance, ...] | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def units(self) -> float:
        """Give the units that run or are about to."""
        return sum(one.weight for one in self.shown.values() if one.status in _COMING)

    @property
    def lags(self) -> bool:
        """Tell whether the fleets have more than EC2 shows: it is late, or their answer is."""
        return sum(fleet.units for fleet in self.fleets) > self.units

    @property
    def missing(self) -> tuple[str, ...]:
        """Give the machines thought alive that neither the tag nor the fleets' lists show."""
        return tuple(i for i in self.request.machine_ids if i not in self.shown) if self.unseen is None else ()


def settled(request: Request) -> Told | None:
    """Say what is known of a request whose machines are all known by id: frozen, or a return; else `None`."""
    if not request.frozen and request.kind is RequestKind.CREATE:
        return None
    return Told(request=request, weights=weights(request.template), final=True)


def discover_open(context: Context, words: Words, requests: Sequence[Request]) -> tuple[Discovery, ...]:
    """Find the instances of requests whose fleets may still launch.

    By their tag, which they have from launch on, while the fleets are described: two calls for up to 100 requests. The
    lists of a fleet's instances may be out of date (DescribeFleetInstances), so they are asked for only where the fleet
    has more than EC2 shows. Machines missing elsewhere are asked about by id. Where a request is short after a
    minute, or for good, its fleets' history is asked for the reasons.

    Raises:
        CloudError: AWS could not be asked.
    """
    if not requests:
        return ()
    since = context.clock.now()
    seen, fleets = _both(
        lambda: describe_by_request(context, [request.request_id for request in requests]),
        lambda: described(context, words, [one for request in requests for one in request.resource_ids]),
    )
    looks = each(lambda look: _complete(context, words, look), [_look(one, seen, fleets, since) for one in requests])
    missing = [instance_id for look in looks for instance_id in look.missing]
    by_id = describe(context, missing) if missing else None
    return tuple(_verdict(look, by_id, since, seen.account) for look in looks)


def _both(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    questions: tuple[Callable[[], Any], ...] = (first, second)
    one, other = each(lambda ask: ask(), questions)
    return one, other


def _look(request: Request, seen: Seen, fleets: Mapping[str, Fleet], now: datetime) -> _Look:
    units = weights(request.template)
    its = {one.instance_id: one for one in seen.instances.values() if one.tags.get(tags.REQUEST) == request.request_id}
    known = tuple(fleets[one] for one in request.resource_ids if one in fleets)
    all_known = len(known) == len(request.resource_ids) or not is_young(request, now)
    return _Look(
        request=request,
        shown={i: weighed(one, units) for i, one in its.items()},
        fleets=known,
        final=all_known and all(fleet.is_over for fleet in known) and not awaits_remainder(request),
    )


def _complete(context: Context, words: Words, look: _Look) -> _Look:
    """Ask what this one request needs asked besides."""
    if look.lags:
        look = replace(look, unseen=_named_only(context, words, look))
    units = look.units + sum(one.weight for one in look.unseen or ())
    age = (context.clock.now() - look.request.created_at).total_seconds()
    if units < look.request.target and (age > REASONS_AFTER or look.final):
        names = [fleet.fleet_id for fleet in look.fleets]
        look = replace(look, faults=reasons(context, words.history, words.fleet_id, names, look.request.created_at))
    return look


def _named_only(context: Context, words: Words, look: _Look) -> tuple[Instance, ...]:
    units = weights(look.request.template)
    named = (
        (fleet.fleet_id, one)
        for fleet in look.fleets
        for one in pages(context, "ec2", words.members, "ActiveInstances", {words.fleet_id: fleet.fleet_id})
    )
    return tuple(
        weighed(_announced(context, fleet_id, one), units)
        for fleet_id, one in named
        if one["InstanceId"] not in look.shown and one["InstanceId"] not in look.request.machine_ids
    )


def _announced(context: Context, fleet_id: str, one: Mapping[str, Any]) -> Instance:
    market = "spot" if one.get("SpotInstanceRequestId") else "ondemand"
    its_type = one.get("InstanceType", "")
    return announced(context, one["InstanceId"], resource_id=fleet_id, instance_type=its_type, price_type=market)


def _verdict(look: _Look, by_id: Seen | None, since: datetime, account: str) -> Discovery:
    units = weights(look.request.template)
    asked = {i: weighed(by_id.instances[i], units) for i in look.missing if by_id and i in by_id.instances}
    shown = (*look.shown.values(), *asked.values(), *(look.unseen or ()))
    return Discovery(
        request_id=look.request.request_id,
        instances=shown,
        fulfilled=sum(one.weight for one in shown if one.status is MachineStatus.RUNNING),
        final=look.final,
        faults=look.faults,
        observed_at=since,
        thorough=look.unseen is None and (by_id is None or by_id.untagged.isdisjoint(look.missing)),
        account_id=account or (by_id.account if by_id else ""),
    )
