"""Own returns from open `maintain` fleets: the target is lowered before the machines end, so that none comes instead.

A fleet's target is read, lowered by what goes, and written down in the journal as the number that it is to be. That
intent stays open until the machines are ending, so that a repeated return lowers nothing twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.aws.calls import repeat
from hfcore.aws.fleets import described
from hfcore.aws.instances import release_instances as end_machines
from hfcore.aws.launch import digest
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import Fault, FaultKind, Released
from hfcore_aws_ec2fleet.requests import EC2_FLEET, fleet_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hfcore.aws.fleets import Fleet
    from hfcore.context import Context, Intent
    from hfcore.models import Machine, Release, Request

LOOKS = 5
_MODIFYING = "modifying"
_STEP = "lower-"
_TARGET = "TargetCapacitySpecification"
_MEMBERS = ("TotalTargetCapacity", "OnDemandTargetCapacity", "SpotTargetCapacity")


def release(releases: Sequence[Release], context: Context) -> tuple[Released, ...]:
    """End exactly the machines of these releases, all together; those of fleets that would replace them after the rest.

    One DescribeFleets for all such fleets, one ModifyFleet for each, and DescribeFleets until they are modified.
    """
    refilling = [one for one in releases if _refills(one.request)]
    held = _lower(context, refilling)
    free = [one for one in releases if one.request.request_id not in held]
    released = end_machines(free, context)
    for one, what in zip(free, released, strict=True):
        _close(context, one, what)
    return (*released, *(_held(one, held[one.request.request_id]) for one in releases if one not in free))


def forget_lowered(context: Context, request: Request) -> None:
    """Close what the journal holds of lowered targets: a frozen fleet has none."""
    for intent in _noted(context, request):
        context.journal.done(intent, {})


def _refills(request: Request) -> bool:
    return fleet_type(request) == "maintain" and not request.frozen


def _held(one: Release, fault: Fault) -> Released:
    return Released(request_id=one.request.request_id, faults={machine.instance_id: fault for machine in one.machines})


def _lower(context: Context, releases: Sequence[Release]) -> dict[str, Fault]:
    """Lower the targets of fleets; give the requests whose machines can't be ended yet, each with the reason."""
    everyone = [fleet_id for one in releases for fleet_id in one.request.resource_ids]
    try:
        fleets = described(context, EC2_FLEET, everyone)
    except CloudError as error:
        return {one.request.request_id: error.fault for one in releases}
    held: dict[str, Fault] = {}
    modified: dict[str, str] = {}
    for one in releases:
        for fleet in (fleets[i] for i in one.request.resource_ids if i in fleets and _keeps_up(fleets[i])):
            try:
                lowered = _lower_fleet(context, one, fleet)
            except CloudError as error:
                held[one.request.request_id] = error.fault
            else:
                if lowered or fleet.state == _MODIFYING:
                    modified[fleet.fleet_id] = one.request.request_id
    return held | _unfinished(context, modified)


def _keeps_up(fleet: Fleet) -> bool:
    return fleet.described.get("Type") == "maintain" and not fleet.is_over


def _lower_fleet(context: Context, one: Release, fleet: Fleet) -> bool:
    """Lower the target of one fleet by the machines for which that has not been done; tell whether it was sent."""
    request = one.request
    before = [intent for intent in _noted(context, request) if intent.parameters["FleetId"] == fleet.fleet_id]
    covered = {instance_id for intent in before for instance_id in intent.parameters["Machines"]}
    going = [machine for machine in one.machines if machine.instance_id not in covered]
    current = _numbers(fleet.described[_TARGET])
    wanted = current
    for intent in before:
        wanted = {name: min(wanted[name], intent.parameters[_TARGET].get(name, wanted[name])) for name in wanted}
    if going:
        wanted = _less(wanted, going)
        _note(context, request, fleet.fleet_id, wanted, (machine.instance_id for machine in going))
    if wanted == current:
        return False
    sent = {"FleetId": fleet.fleet_id, _TARGET: wanted, "ExcessCapacityTerminationPolicy": "no-termination"}
    try:
        repeat(context, request.request_id, "modify-fleet", "ec2", "ModifyFleet", sent)
    except OutcomeUnknown:
        raise
    except CloudError:
        known = described(context, EC2_FLEET, [fleet.fleet_id]).get(fleet.fleet_id)
        if known and _keeps_up(known):
            raise
        return False
    return True


def _numbers(target: Mapping[str, Any]) -> dict[str, int]:
    """Give the target as ModifyFleet takes it: the whole, and the market's parts where it has both."""
    parts = {name: int(target[name]) for name in _MEMBERS if target.get(name)}
    return {_MEMBERS[0]: parts.get(_MEMBERS[0], 0), **parts}


def _less(target: Mapping[str, int], going: Sequence[Machine]) -> dict[str, int]:
    spot = sum(machine.weight for machine in going if machine.price_type == "spot")
    every = sum(machine.weight for machine in going)
    by = dict(zip(_MEMBERS, (every, every - spot, spot), strict=True))
    return {name: max(0, int(value - by[name])) for name, value in target.items()}


def _unfinished(context: Context, modified: Mapping[str, str]) -> dict[str, Fault]:
    """Wait a little until fleets are modified, before which they would replace what ends; name those that are not."""
    waiting = dict(modified)
    for look in range(LOOKS):
        if not waiting:
            return {}
        if look:
            context.clock.sleep(1.0)
        try:
            known = described(context, EC2_FLEET, waiting)
        except CloudError as error:
            return dict.fromkeys(waiting.values(), error.fault)
        waiting = {i: name for i, name in waiting.items() if i in known and known[i].state == _MODIFYING}
    message = "the fleet's target is still being lowered; its machines are ended at the next call"
    return {
        request_id: Fault(code="FleetModifying", message=message, kind=FaultKind.TRANSIENT, subject=fleet_id)
        for fleet_id, request_id in waiting.items()
    }


def _noted(context: Context, request: Request) -> list[Intent]:
    return [intent for intent in context.journal.steps(request.request_id) if intent.step.startswith(_STEP)]


def _note(
    context: Context, request: Request, fleet_id: str, target: Mapping[str, int], instance_ids: Iterable[str]
) -> None:
    ids = sorted(instance_ids)
    noted = {"FleetId": fleet_id, _TARGET: dict(target), "Machines": ids}
    context.journal.begin(request.request_id, f"{_STEP}{digest(ids)}", "ec2:ModifyFleet", noted)


def _close(context: Context, one: Release, what: Released) -> None:
    """Close the intents whose machines are all going; of the others, note what is still to go."""
    if fleet_type(one.request) != "maintain":
        return
    for intent in _noted(context, one.request):
        its = set(intent.parameters["Machines"])
        if intent.outcome is None and its & what.ending:
            if left := its - what.ending:
                _note(context, one.request, intent.parameters["FleetId"], intent.parameters[_TARGET], left)
            context.journal.done(intent, {})
