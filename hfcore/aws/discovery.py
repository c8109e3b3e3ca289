"""Own how what EC2 shows becomes the verdict on each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfcore.aws import tags
from hfcore.aws.instances import describe, describe_by_request, weighed
from hfcore.models import EMPTY, Discovery, MachineStatus, RequestKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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
        weights: Instance type to units; by default those of the template.
        final: True if nothing more will come by itself.
        faults: Reasons for a shortfall.
        by_tag: Look for instances by the request's tag too; by default where no id is known. A return never is.
        thorough: False if a machine that is absent may be there all the same.
        message: How it was found out, where it is not the usual way.
    """

    request: Request
    instances: tuple[Instance, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    final: bool = False
    faults: tuple[Fault, ...] = ()
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

    Raises:
        CloudError: EC2 could not be asked.
    """
    since = since or context.clock.now()
    lost = [one.request.request_id for one in told if _is_looked_for(one)]
    seen = describe(context, (i for one in told for i in _ids(one)))
    tagged = describe_by_request(context, lost) if lost else None
    return tuple(_verdict(one, seen, tagged, since) for one in told)


def _is_looked_for(one: Told) -> bool:
    if one.request.kind is RequestKind.RETURN:
        return False
    return not _ids(one) if one.by_tag is None else one.by_tag


def _ids(one: Told) -> tuple[str, ...]:
    return (*one.request.machine_ids, *(instance.instance_id for instance in one.instances))


def _verdict(one: Told, seen: Seen, tagged: Seen | None, since: datetime) -> Discovery:
    request, ids = one.request, _ids(one)
    found = {i: seen.instances[i] for i in ids if i in seen.instances}
    if tagged and _is_looked_for(one):
        found |= _of_request(tagged.instances.values(), request)
    # What lacks our tag is not ours, and what the API still names is on its way.
    found = {i.instance_id: i for i in one.instances if i.instance_id not in seen.untagged} | found
    weights = one.weights or (request.template.vm_types if request.template else EMPTY)
    shown = tuple(weighed(instance, weights) if instance.listed else instance for instance in found.values())
    return Discovery(
        request_id=request.request_id,
        instances=shown,
        fulfilled=sum(instance.weight for instance in shown if instance.status is MachineStatus.RUNNING),
        final=one.final,
        faults=one.faults,
        observed_at=since,
        thorough=one.thorough and seen.untagged.isdisjoint(ids),
        account_id=seen.account or (tagged.account if tagged else ""),
        message=one.message,
    )


def _of_request(found: Iterable[Instance], request: Request) -> dict[str, Instance]:
    return {one.instance_id: one for one in found if one.tags.get(tags.REQUEST) == request.request_id}
