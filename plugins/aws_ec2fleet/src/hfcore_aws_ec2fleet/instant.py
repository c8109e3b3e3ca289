"""Own instant fleets: launched at once, found by their ids, removed with the last of their instances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hfcore.aws.accounts import making
from hfcore.aws.calls import once
from hfcore.aws.discovery import Told, outcome
from hfcore.aws.errors import lost_launch_template
from hfcore.aws.fleets import described, end, end_late
from hfcore.aws.instances import describe, describe_by_request, launched, noted, weights
from hfcore.aws.launch_templates import using
from hfcore.aws.mixes import is_heterogeneous
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import Fault, FaultKind, MachineStatus, Provisioned
from hfcore_aws_ec2fleet.requests import EC2_FLEET, faults, keep, terms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hfcore.aws.fleets import Fleet
    from hfcore.aws.instances import Seen
    from hfcore.context import Context, Intent
    from hfcore.models import Instance, Outcome, Request, Template

MOST_INSTANT = 25
"""Instant fleets in one DeleteFleets (EC2 API reference)."""


def provision(context: Context, request: Request, template: Template) -> Provisioned:
    """Launch a request by one instant fleet; of price type heterogeneous, what Spot does not have by a second one.

    `provider_data`: `final`, whether AWS has said that nothing more will come, and `by_tag`, whether it may not have
    told all that there is. Where an answer is short and neither it
    nor the fleet's own list says why, the machines are looked for by tag at later polls, and no more are launched.

    Raises:
        CloudError: AWS refused, and has made nothing.
        OutcomeUnknown: A call was not answered.
    """
    outcomes: list[Mapping[str, Any]] = []
    refusals: list[Fault] = []
    unasked: list[Fault] = []
    left = float(request.target)
    for number in range(2 if is_heterogeneous(template) else 1):
        try:
            known = {outcome["fleet"] for outcome in outcomes}
            outcome = _launch(context, request, template, number, math.ceil(left), known)
        except OutcomeUnknown:
            raise
        except CloudError as error:
            if not outcomes:
                raise
            refusals.append(error.fault)
            break
        try:
            outcome = outcome if _units(outcome, template) >= left else _whole(context, request, outcome)
        except CloudError as error:
            unasked.append(error.fault)
        outcomes.append(outcome)
        left -= _units(outcome, template)
        unsure = bool(unasked) and not outcome["errors"]
        if left <= 0 or unsure:
            break
    # An answer with neither machines nor reasons may be that to a replay: the machines are then looked for by tag.
    units, now = weights(template), context.clock.now()
    final = left <= 0 or bool(refusals) or bool(outcomes[-1]["errors"])
    return Provisioned(
        request_id=request.request_id,
        resource_ids=tuple(outcome["fleet"] for outcome in outcomes),
        instances=tuple(launched(one, made["fleet"], units, now) for made in outcomes for one in made["instances"]),
        faults=(*unasked, *(fault for outcome in outcomes for fault in faults(outcome)), *refusals),
        provider_data={"final": final, "by_tag": bool(unasked) or not final},
        final=final,
        account_id=making(context),
    )


def _launch(
    context: Context, request: Request, template: Template, number: int, units: int, known: Collection[str]
) -> Mapping[str, Any]:
    """Launch one part of a request: the first, or what of price type heterogeneous Spot did not have.

    The fleets in `known` are other parts of it.
    """

    def find(_: Intent) -> Mapping[str, Any] | None:
        found = [one for one in _by_tag(context, request) if one.resource_id not in known]
        its = [one for one in found if one.resource_id == found[0].resource_id]
        return {"fleet": its[0].resource_id, "instances": [_written(one) for one in its], "errors": []} if its else None

    def launch(name: str) -> Mapping[str, Any]:
        asked = terms(context, request, template, name, units=units, remainder=number > 0)
        place = (context, request.request_id, f"launch-{number}", "ec2", "CreateFleet")
        made = once(*place, asked, keep=keep, find=find, until=request.deadline)
        lost = [fault for fault in faults(made) if lost_launch_template(fault)]
        if lost and not made["instances"]:
            raise CloudError(lost[0])
        return made

    return using(context, request, template, launch)


def _whole(context: Context, request: Request, made: Mapping[str, Any]) -> Mapping[str, Any]:
    """Complete an answer that is short by the fleet's own list: what CreateFleet answers to a replay is undocumented.

    Where that is empty too, AWS is asked for what carries the request's tag.
    """
    fleet = described(context, EC2_FLEET, [made["fleet"]]).get(made["fleet"])
    told = keep(fleet.described) if fleet else made
    instances = {one["id"]: one for one in (*made["instances"], *told["instances"])}
    if not instances:
        tagged = (one for one in _by_tag(context, request) if one.resource_id == made["fleet"])
        instances = {one.instance_id: _written(one) for one in tagged}
    return {**made, "instances": list(instances.values()), "errors": made["errors"] or told["errors"]}


def _by_tag(context: Context, request: Request) -> list[Instance]:
    return list(describe_by_request(context, [request.request_id]).instances.values())


def _written(one: Instance) -> dict[str, Any]:
    return noted(one.instance_id, one.instance_type, one.zone, spot=one.price_type == "spot")


def _units(outcome: Mapping[str, Any], template: Template) -> float:
    units = weights(template)
    return float(sum(units.get(one["type"], 1) for one in outcome["instances"]))


def told(request: Request) -> Told:
    """Say what is known of a request: its machines by id, or by tag where AWS has not told them all."""
    final = bool(request.provider_data.get("final", True))
    by_tag = request.provider_data.get("by_tag", not final)
    return Told(request=request, final=final, by_tag=True if by_tag else None)


def cleanup(context: Context, requests: Sequence[Request]) -> tuple[Outcome, ...]:
    """Delete the instant fleets of requests, 25 a call, where EC2 shows every instance of theirs as ended.

    Deleting an instant fleet ends its instances (DeleteFleets), so the fleets' own lists decide. An instance that
    lives though its request does not know it is ended first.
    """
    fleets = described(context, EC2_FLEET, [one for request in requests for one in request.resource_ids])
    standing = {one: fleet for one, fleet in fleets.items() if not fleet.is_over}
    seen = describe(context, [i for fleet in standing.values() for i in _members(fleet)])
    blocked = {
        request.request_id: fault
        for request in requests
        if (fault := _in_use(context, request, [standing[i] for i in request.resource_ids if i in standing], seen))
    }
    free = [request for request in requests if request.request_id not in blocked and standing]
    failed = end(context, EC2_FLEET, free, "delete", most=MOST_INSTANT, terminating=True)

    def ended(request: Request) -> Outcome:
        return outcome(request, [blocked.get(request.request_id), *map(failed.get, request.resource_ids)])

    return tuple(map(ended, requests))


def _members(fleet: Fleet) -> list[str]:
    return [one["id"] for one in keep(fleet.described)["instances"]]


def _in_use(context: Context, request: Request, fleets: Sequence[Fleet], seen: Seen) -> Fault | None:
    """Say why the fleets of a request can't be deleted yet."""
    ids = [i for fleet in fleets for i in _members(fleet)]
    fault = end_late(context, request, [seen.instances[i] for i in ids if i in seen.instances])
    if fault:
        return fault
    young = context.clock.now() - request.created_at < VISIBILITY_DELAY
    left = [i for i in ids if _may_live(i, seen, young=young)]
    if not left:
        return None
    message = f"{', '.join(sorted(left))}: not ended yet, and deleting the fleet would end it"
    return Fault(code="InstancesLeft", message=message, kind=FaultKind.TRANSIENT)


def _may_live(instance_id: str, seen: Seen, *, young: bool) -> bool:
    if instance_id in seen.instances:
        return seen.instances[instance_id].status is not MachineStatus.TERMINATED
    return young or instance_id in seen.untagged
