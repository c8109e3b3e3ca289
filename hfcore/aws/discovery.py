"""Own how what EC2 shows becomes the verdict on each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfcore.aws import tags
from hfcore.aws.accounts import answering
from hfcore.aws.instances import describe, describe_by_request, weighed, weights
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import Discovery, MachineStatus, Outcome, RequestKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from hfcore.aws.instances import Seen
    from hfcore.context import Context
    from hfcore.models import Fault, Instance, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an API's own answer tells of one request, beside its machines.

    Args:
        request: The request.
        instances: Those that the API's answer names; shown as it names them until EC2 shows them.
        final: True if nothing more will come by itself.
        by_tag: Look for instances by the request's tag too; by default where no id is known. A return never is.
        thorough: False if a machine that is absent may be there all the same.
        message: How it was found out, where it is not the usual way.
    """

    request: Request
    instances: tuple[Instance, ...] = ()
    final: bool = False
    by_tag: bool | None = None
    thorough: bool = True
    message: str = ""


def discover(context: Context, told: Sequence[Told], *, since: datetime | None = None) -> tuple[Discovery, ...]:
    """Describe the machines of requests, all together, and give the verdict on each.

    One DescribeInstances for each 1,000 ids, and one for each 199 requests that are looked for by tag. A request of
    kind `return` shows exactly its `machine_ids`.

    Args:
        context: The context.
        told: The requests, each with what its API tells.
        since: Start of the earliest call behind `told`; by default this call is the earliest.
    """
    since = since or context.clock.now()
    lost = [one.request.request_id for one in told if _is_looked_for(one)]
    seen = describe(context, (i for one in told for i in _ids(one)))
    tagged = describe_by_request(context, lost)
    account = seen.account or tagged.account
    if not account and any(is_missed(context, one.request, resources=_is_looked_for(one)) for one in told):
        account = answering(context)
    return tuple(_verdict(one, seen, tagged, since, account) for one in told)


def of_request(seen: Seen, request: Request) -> dict[str, Instance]:
    """Give the instances that carry a request's tag, by id, with their weights."""
    units, name = weights(request.template), request.request_id
    return {i: weighed(one, units) for i, one in seen.instances.items() if one.tags.get(tags.REQUEST) == name}


def running_units(instances: Sequence[Instance]) -> float:
    """Count the units that run."""
    return sum(one.weight for one in instances if one.status is MachineStatus.RUNNING)


def outcome(request: Request, faults: Iterable[Fault | None]) -> Outcome:
    """Give a request's outcome: done if nothing stood in the way."""
    found = tuple(fault for fault in faults if fault)
    return Outcome(request_id=request.request_id, done=not found, faults=found)


def is_missed(context: Context, request: Request, *, resources: bool) -> bool:
    """Tell whether what a request has can't be missing only because it is new; `resources`: whether these are too."""
    old = request.kind is RequestKind.RETURN or context.clock.now() - request.created_at >= VISIBILITY_DELAY
    return old and bool(request.machine_ids or (resources and request.resource_ids))


def _is_looked_for(one: Told) -> bool:
    if one.request.kind is RequestKind.RETURN:
        return False
    return not _ids(one) if one.by_tag is None else one.by_tag


def _ids(one: Told) -> tuple[str, ...]:
    return (*one.request.machine_ids, *(instance.instance_id for instance in one.instances))


def _verdict(one: Told, seen: Seen, tagged: Seen, since: datetime, account: str) -> Discovery:
    ids, units = _ids(one), weights(one.request.template)
    # What lacks our tag is not ours, and what the API still names is on its way.
    named = {i.instance_id: i for i in one.instances if i.instance_id not in seen.untagged}
    by_id = {i: weighed(seen.instances[i], units) for i in ids if i in seen.instances}
    by_tag = of_request(tagged, one.request) if _is_looked_for(one) else {}
    shown = tuple((named | by_id | by_tag).values())
    return Discovery(
        request_id=one.request.request_id,
        instances=shown,
        fulfilled=running_units(shown),
        final=one.final,
        observed_at=since,
        thorough=one.thorough and seen.untagged.keys().isdisjoint(ids),
        account_id=account,
        disowned=frozenset(seen.untagged).intersection(ids),
        message=one.message,
    )
