"""Own instances as EC2 knows them: described, ended, and in the core's words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from hfcore.aws import tags
from hfcore.aws.accounts import answering, elsewhere
from hfcore.aws.calls import chunks, pages, repeat
from hfcore.aws.errors import meaning_of, missing_instance_ids, named_instances
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.hookspecs import hookimpl
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import EMPTY, Fault, FaultKind, Instance, MachineStatus, Released
from hfcore.naming import address_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from hfcore.context import Context
    from hfcore.models import Machine, Release, Template

MOST_IDS = 1000
"""Instance ids in one DescribeInstances or TerminateInstances (EC2 API reference)."""

MOST_VALUES = 199
"""Values of one filter: EC2 allows 200 in a call, and the owner tag takes one."""

PAGE = 1000

LIVE = ("pending", "running", "stopping", "stopped")
COMING = frozenset({MachineStatus.PENDING, MachineStatus.RUNNING})
_ROUNDS = 3
# By what DescribeInstances finds the host names that a rule makes; `tag:KEY` is a filter of itself.
_NAME_FILTERS = {
    "privateDns": "private-dns-name",
    "privateIp": "private-ip-address",
    "reverseDns": "private-ip-address",
}
# What AWS, or who asks, gets over by waiting or by other rights: no single id of the batch is the reason.
_WHOLE_BATCH = frozenset({FaultKind.THROTTLE, FaultKind.TRANSIENT, FaultKind.PERMISSION})
_PROTECTED = "OperationNotPermitted"
_ADVICE = {
    _PROTECTED: "its termination protection is on: switch off DisableApiTermination; tried again at each poll",
    "UnauthorizedOperation": "the credentials may not end it: allow ec2:TerminateInstances; tried again at each poll",
}
MOST_REFUSALS = 20
"""So many instances that may not be ended are told apart in one call, as each costs one; the rest comes at the next."""
_NOT_TRIED = Fault(
    code="NotTried",
    message="too many others beside it may not be ended: tried at the next poll",
    kind=FaultKind.TRANSIENT,
)
_NONE_KNOWN = Fault(
    code="InvalidInstanceID.NotFound",
    message="EC2 knows none of these machines: looked for before they count as gone",
    kind=FaultKind.GONE,
)
# The tags by which AWS names what launched an instance; else its reservation did.
LAUNCHER_TAGS = ("aws:ec2:fleet-id", "aws:ec2spot:fleet-request-id", "aws:autoscaling:groupName")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What EC2 shows of the instances asked for.

    Args:
        instances: By id, those with our owner tag.
        missing: Ids that EC2 does not know.
        untagged: By id, those without our owner tag, or not yet with it: not ours to show, and not missing.
        observed_at: Before the first call.
        account: The account that answered; empty if it shows no instance.
    """

    instances: Mapping[str, Instance]
    missing: frozenset[str] = frozenset()
    untagged: Mapping[str, Instance] = field(default_factory=dict)
    observed_at: datetime
    account: str = ""


def describe(context: Context, ids: Iterable[str]) -> Seen:
    """Describe instances by id, 1,000 a call; ids that EC2 names as unknown are taken out and the rest asked again."""
    observed_at = context.clock.now()
    wanted = tuple(dict.fromkeys(ids))
    found = [one for chunk in chunks(wanted, MOST_IDS) for one in _known(context, chunk)]
    return _seen(context, found, observed_at, wanted)


def describe_by_request(context: Context, request_ids: Iterable[str]) -> Seen:
    """Find the instances of requests by their tags, whoever launched them: 199 requests a call, pages of 1,000.

    An empty answer soon after a launch proves nothing.
    """
    observed_at = context.clock.now()
    chunked = chunks(tuple(dict.fromkeys(request_ids)), MOST_VALUES)
    asked = (_matching(context, tags.filters(context, {f"tag:{tags.REQUEST}": chunk})) for chunk in chunked)
    return _seen(context, [one for found in asked for one in found], observed_at)


def describe_by_name(context: Context, host_names: Iterable[str]) -> Seen:
    """Find the instances, ours or not, that have one of these host names: 199 names a call, pages of 1,000."""
    observed_at, rule = context.clock.now(), context.settings.host_name
    values = filter(None, map(address_of, host_names)) if rule == "reverseDns" else host_names
    name = _NAME_FILTERS.get(rule, rule)
    chunked = chunks(tuple(dict.fromkeys(values)), MOST_VALUES)
    asked = (_matching(context, [{"Name": name, "Values": chunk}]) for chunk in chunked)
    return _seen(context, [one for found in asked for one in found], observed_at)


def describe_live(context: Context) -> Seen:
    """Find every instance of ours that is neither ending nor gone; asked once for all plug-ins of one call."""

    def make() -> Seen:
        observed_at = context.clock.now()
        return _seen(context, _matching(context, tags.filters(context, {"instance-state-name": LIVE})), observed_at)

    return context.cache.once(("aws-live-instances", context.region, context.endpoint), make)


def _matching(context: Context, filters: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return pages(context, "ec2", "DescribeInstances", "Reservations", {"Filters": filters, "MaxResults": PAGE})


def _known(context: Context, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    left = list(ids)
    for _ in range(_ROUNDS):
        if not left:
            return []
        try:
            return list(pages(context, "ec2", "DescribeInstances", "Reservations", {"InstanceIds": left}))
        except CloudError as error:
            missing = missing_instance_ids(error.fault)
            if missing.isdisjoint(left):
                raise
            left = [one for one in left if one not in missing]
    # EC2 names them one by one: a filter by id leaves out what it does not know.
    filters = ({"Name": "instance-id", "Values": list(chunk)} for chunk in chunks(left, MOST_VALUES))
    return [one for by_id in filters for one in _matching(context, [by_id])]


def _seen(
    context: Context, reservations: Iterable[Mapping[str, Any]], observed_at: datetime, wanted: Iterable[str] = ()
) -> Seen:
    shown: dict[str, Instance] = {}
    account = ""
    for reservation in reservations:
        account = account or reservation.get("OwnerId", "")
        for described in reservation["Instances"]:
            shown[described["InstanceId"]] = instance(described, reservation.get("ReservationId", ""))
    ours = {i: one for i, one in shown.items() if one.tags.get(tags.OWNER) == context.owner}
    return Seen(
        instances=ours,
        missing=frozenset(wanted) - shown.keys(),
        untagged={i: one for i, one in shown.items() if i not in ours},
        observed_at=observed_at,
        account=account,
    )


def instance(described: Mapping[str, Any], reservation: str = "") -> Instance:
    """Put an instance as EC2 describes it into the core's words; its weight is 1. Pure.

    Args:
        described: EC2's `Instance`.
        reservation: The reservation, which is the resource where no fleet or group launched it.
    """
    its_tags = tags.read(described.get("Tags"))
    reason = described.get("StateReason") or {}
    code, message = reason.get("Code", ""), reason.get("Message", "")
    known = meaning_of(code)
    told = (message if message.startswith(code) else f"{code}: {message}") + (f" ({known.hint})" if known else "")
    return Instance(
        instance_id=described["InstanceId"],
        resource_id=next((its_tags[key] for key in LAUNCHER_TAGS if key in its_tags), reservation),
        status=MachineStatus(described["State"]["Name"]),
        private_ip=described.get("PrivateIpAddress", ""),
        public_ip=described.get("PublicIpAddress", ""),
        private_dns=described.get("PrivateDnsName", ""),
        public_dns=described.get("PublicDnsName", ""),
        launch_time=utc(described.get("LaunchTime")),
        instance_type=described.get("InstanceType", ""),
        price_type="spot" if described.get("InstanceLifecycle") == "spot" else "ondemand",
        cores=described.get("CpuOptions", {}).get("CoreCount", 0),
        threads=described.get("CpuOptions", {}).get("ThreadsPerCore", 0),
        zone=described.get("Placement", {}).get("AvailabilityZone", ""),
        tags=its_tags,
        listed=True,
        # Code and sentence; EC2 mostly begins the sentence with the code already. "pending" has a reason of its own.
        message="" if code == "pending" else told,
    )


def utc(at: datetime | None) -> datetime | None:
    """Give a time of AWS's in UTC, whatever zone botocore has put it in."""
    return at.astimezone(UTC) if at and at.tzinfo is not UTC else at


def announced(context: Context, instance_id: str, **known: Any) -> Instance:  # noqa: ANN401 - fields of Instance
    """Give an instance that only the answer to its creation names (instant fleet, group): pending, launched now."""
    return Instance(instance_id=instance_id, launch_time=context.clock.now(), listed=False, **known)


def noted(instance_id: str, instance_type: str, zone: str, *, spot: bool) -> dict[str, Any]:
    """Give what the journal keeps of an instance that a call has launched; `launched` reads it. Pure."""
    return {"id": instance_id, "type": instance_type, "zone": zone, "spot": spot}


def launched(note: Mapping[str, Any], resource_id: str, units: Mapping[str, int], at: datetime) -> Instance:
    """Give an instance as `noted` in the journal, known by its creation alone. Pure."""
    return Instance(
        instance_id=note["id"],
        resource_id=resource_id,
        instance_type=note["type"],
        zone=note["zone"],
        price_type="spot" if note["spot"] else "ondemand",
        launch_time=at,
        weight=float(units.get(note["type"], 1)),
        listed=False,
    )


def weights(template: Template | None) -> Mapping[str, int]:
    """Give the units of each instance type that a template names. Pure."""
    return {**template.vm_types_on_demand, **template.vm_types} if template else EMPTY


def weighed(one: Instance, units: Mapping[str, int]) -> Instance:
    """Give an instance the weight of its type; a type that is not in `units` counts 1. Pure."""
    weight = float(units.get(one.instance_type, 1))
    return one if one.weight == weight else replace(one, weight=weight)


@dataclass(slots=True)
class _Ended:
    """What became of the machines so far."""

    ending: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    faults: dict[str, Fault] = field(default_factory=dict)
    refusals: int = 0


@hookimpl
def release_instances(releases: Sequence[Release], context: Context) -> tuple[Released, ...]:
    """End exactly the machines of these releases by TerminateInstances, all together.

    For machines that nothing replaces: of RunInstances, of instant fleets, of what is frozen.
    """
    if not releases:
        return ()
    name = releases[0].return_id or releases[0].request.request_id
    machines = tuple(machine for one in releases for machine in one.machines)
    accounts = {machine.instance_id: one.request.account_id for one in releases for machine in one.machines}
    ending, faults = terminate(context, name, machines, f"terminate-{name}", accounts)
    return tuple(_released(one, ending, faults) for one in releases)


def _released(one: Release, ending: frozenset[str], faults: Mapping[str, Fault]) -> Released:
    ids = [machine.instance_id for machine in one.machines]
    return Released(
        request_id=one.request.request_id,
        ending=ending.intersection(ids),
        faults={i: faults[i] for i in ids if i in faults},
    )


def terminate(
    context: Context, request_id: str, machines: Iterable[Machine], step: str, accounts: Mapping[str, str] = EMPTY
) -> tuple[frozenset[str], Mapping[str, Fault]]:
    """End exactly these machines, 1,000 a call.

    What EC2 does not know is gone, unless it was launched under 5 minutes ago and never listed, another account
    answers, or EC2 knows none of them at all.

    Args:
        context: The context.
        request_id: In whose name it is done, for the journal.
        machines: The machines.
        step: The journal's name for it.
        accounts: The account in which each lives, by id, as far as that is known.

    Returns:
        The ids that are ending or gone, and the reason for each that could not be ended. Never raises `CloudError`.
    """
    by_id = {machine.instance_id: machine for machine in machines}
    young = {i for i, machine in by_id.items() if _is_young(machine, context.clock.now())}
    refused = {i for i, machine in by_id.items() if machine.message.startswith(tuple(_ADVICE))}
    return terminate_ids(context, request_id, by_id, step, young, accounts, refused)


def terminate_ids(
    context: Context,
    request_id: str,
    ids: Collection[str],
    step: str,
    young: Collection[str] = (),
    accounts: Mapping[str, str] = EMPTY,
    refused: Collection[str] = (),
) -> tuple[frozenset[str], Mapping[str, Fault]]:
    """End instances as `terminate` does; those in `young` EC2 may not know yet, those in `refused` hold back no others.

    EC2 refuses a batch for one bad id: one that the refusal names is told apart, else the batch is halved until the
    culprit stands alone.
    """
    ended = _Ended()
    parts = [i for i in ids if i not in refused], [i for i in ids if i in refused]
    for number, chunk in enumerate(chunk for part in parts for chunk in chunks(part, MOST_IDS)):
        batches = [list(chunk)]
        while batches:
            batches += _terminate_batch(context, (request_id, f"{step}-{number}"), batches.pop(), young, ended)
    if strangers := {i for i in ended.unknown if accounts.get(i)}:
        answered = answering(context)
        elsewhere_ids = {i for i in strangers if answered and answered != accounts[i]}
        ended.ending -= elsewhere_ids
        ended.faults |= {i: elsewhere(i, accounts[i], answered) for i in elsewhere_ids}
    if (
        ended.unknown and ended.ending == ended.unknown
    ):  # not one is known: that is for a look, and a second one, to tell
        ended.faults |= {i: replace(_NONE_KNOWN, subject=i) for i in ended.ending}
        ended.ending.clear()
    return frozenset(ended.ending), ended.faults


def _is_young(machine: Machine, now: datetime) -> bool:
    return not machine.listed and now - (machine.launch_time or machine.observed_at) < VISIBILITY_DELAY


def _terminate_batch(
    context: Context, place: tuple[str, str], ids: list[str], young: Collection[str], ended: _Ended
) -> list[list[str]]:
    """Send one batch, take down what became of it, and give the batches to send in its place."""
    try:
        answer = repeat(context, *place, "ec2", "TerminateInstances", {"InstanceIds": ids})
    except CloudError as error:
        return _after_refusal(error, ids, young, ended)
    told = {one["InstanceId"] for one in answer["TerminatingInstances"]}
    ended.ending |= told
    silent = Fault(code="NotConfirmed", message="EC2's answer does not name it", kind=FaultKind.TRANSIENT)
    ended.faults |= {one: replace(silent, subject=one) for one in ids if one not in told}
    return []


def _after_refusal(error: CloudError, ids: list[str], young: Collection[str], ended: _Ended) -> list[list[str]]:
    fault = error.fault
    unknown = missing_instance_ids(fault).intersection(ids)
    named = unknown or named_instances(fault.message).intersection(ids)
    whole = isinstance(error, OutcomeUnknown) or (fault.kind in _WHOLE_BATCH and fault.code != _PROTECTED)
    # A policy may allow it for some only: IAM then names the one that it stumbled over.
    whole = whole and not (named and fault.code == "UnauthorizedOperation")
    if fault.code in _ADVICE:
        fault = replace(fault, message=f"{fault.message} ({_ADVICE[fault.code]})")
        ended.refusals += bool(named)
    if whole or (len(ids) == 1 and not unknown):
        ended.faults |= {one: replace(fault, subject=one) for one in ids}
        return []
    for one in named:
        if one in unknown and one not in young:
            ended.ending.add(one)
            ended.unknown.add(one)
        else:
            kind = FaultKind.TRANSIENT if one in unknown else fault.kind
            ended.faults[one] = replace(fault, subject=one, kind=kind)
    rest = [one for one in ids if one not in named]
    if ended.refusals >= MOST_REFUSALS:
        ended.faults |= {one: replace(_NOT_TRIED, subject=one) for one in rest}
        return []
    half = len(rest) // 2
    return ([rest] if rest else []) if named else [rest[:half], rest[half:]]
