"""Own how machines leave their groups, and how emptied groups go."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hfcore.aws import tags
from hfcore.aws.calls import each, once, repeat
from hfcore.aws.discovery import of_request, outcome
from hfcore.aws.fleets import end_late
from hfcore.aws.instances import LIVE, describe, release_instances
from hfcore.errors import CloudError
from hfcore.models import EMPTY, Fault, FaultKind
from hfcore_aws_asg.groups import describe_groups, is_ending, members
from hfcore_aws_asg.requests import not_found

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hfcore.aws.instances import Seen
    from hfcore.context import Context
    from hfcore.models import Machine, Outcome, Release, Released, Request


@dataclass(slots=True)
class _Left:
    """What became of the machines of one release that left, or were to leave, their group.

    Args:
        outside: Those that are no members, for EC2 to end.
    """

    ending: set[str] = field(default_factory=set)
    faults: dict[str, Fault] = field(default_factory=dict)
    outside: list[Machine] = field(default_factory=list)


def release_all(releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
    """End exactly these machines: members of a group that launches through the group, all others by EC2."""
    left = _leave_groups(context, releases)
    outside = [replace(one, machines=tuple(its.outside)) for one, its in zip(releases, left, strict=True)]
    ended = release_instances(outside, context)
    return tuple(_merged(one, its) for one, its in zip(ended, left, strict=True))


def _merged(ended: Released, left: _Left) -> Released:
    return replace(ended, ending=ended.ending | left.ending, faults={**ended.faults, **left.faults})


def _leave_groups(context: Context, releases: Sequence[Release]) -> list[_Left]:
    """Take machines out of groups that still launch, each with its place in the desired capacity."""
    left = [_Left(outside=[*one.machines] if one.request.frozen else []) for one in releases]
    launching = [(one, its) for one, its in zip(releases, left, strict=True) if not one.request.frozen]
    try:
        groups = describe_groups(context, (one.request for one, _ in launching))
    except CloudError as error:
        for one, its in launching:
            its.faults = {machine.instance_id: error.fault for machine in one.machines}
        return left
    todo = [(one, machine, its) for one, its in launching for machine in one.machines]
    its_members = {request_id: members(its) for request_id, its in groups.items()}
    each(lambda its: _leave(context, its_members.get(its[0].request.request_id, EMPTY), *its), todo)
    for one, its in launching:
        _close(context, one, its.ending)
    return left


def _leave(
    context: Context, its_members: Mapping[str, Mapping[str, Any]], one: Release, machine: Machine, left: _Left
) -> None:
    """Take one machine out of its group; a second time would lower the desired capacity twice."""
    instance_id = machine.instance_id
    member = its_members.get(instance_id)
    if member is None:
        left.outside.append(machine)
    elif is_ending(member):
        left.ending.add(instance_id)
    else:
        parameters = {"InstanceId": instance_id, "ShouldDecrementDesiredCapacity": True}
        place = (context, _name(one), _step(instance_id), "autoscaling", "TerminateInstanceInAutoScalingGroup")
        try:
            once(*place, parameters, keep=lambda _: {}, token=False)
        except CloudError as error:
            if not_found(error.fault):
                left.outside.append(machine)
            else:
                left.faults[instance_id] = replace(error.fault, subject=instance_id)
        else:
            left.ending.add(instance_id)


def _close(context: Context, one: Release, ending: set[str]) -> None:
    """Close the steps of calls that went unanswered, and are now seen to have been done."""
    steps = {_step(instance_id) for instance_id in ending}
    for intent in context.journal.steps(_name(one)):
        if intent.step in steps and intent.outcome is None:
            context.journal.done(intent, {})


def _name(one: Release) -> str:
    return one.return_id or one.request.request_id


def _step(instance_id: str) -> str:
    return f"leave-group-{instance_id}"


def cleanup_all(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Delete groups in which nothing lives any more; the dead may linger there, as nothing replaces them.

    A group without our owner tag is somebody else's by now, and left alone.
    """
    groups = describe_groups(context, requests)
    seen = describe(context, [instance_id for its in groups.values() for instance_id in members(its)])

    def cleaned(request: Request) -> Outcome:
        ours = (group for group in groups.get(request.request_id, ()) if group.tags.get(tags.OWNER) == context.owner)
        standing = [group for group in ours if not group.status]  # others go already
        listed = members(standing)
        unseen = [one for i, one in of_request(seen, request).items() if i not in request.machine_ids]
        late = end_late(context, request, (one for one in unseen if one.instance_id in listed))
        left = [late] if late else _still_there(request, listed, seen)
        return outcome(request, left or [_deleted(context, request, group.name) for group in standing])

    return each(cleaned, requests)


def _still_there(request: Request, listed: Mapping[str, Mapping[str, Any]], seen: Seen) -> tuple[Fault, ...]:
    left = sorted(i for i, member in listed.items() if not _is_dead(i, member, request, seen))
    message = "is still a member of the group, which therefore is not deleted"
    return tuple(Fault(code="ResourceInUse", message=message, kind=FaultKind.TRANSIENT, subject=i) for i in left)


def _is_dead(instance_id: str, member: Mapping[str, object], request: Request, seen: Seen) -> bool:
    """Tell whether the deletion of the group can't end a machine; one that EC2 does not show may be new."""
    if instance_id in seen.instances:
        return seen.instances[instance_id].status.value not in LIVE
    known = instance_id in request.machine_ids or member["HealthStatus"] == "Unhealthy"
    return known and instance_id in seen.missing


def _deleted(context: Context, request: Request, group: str) -> Fault | None:
    parameters = {"AutoScalingGroupName": group, "ForceDelete": True}
    try:
        repeat(context, request.request_id, f"delete-{group}", "autoscaling", "DeleteAutoScalingGroup", parameters)
    except CloudError as error:
        return None if not_found(error.fault) else error.fault
    return None
