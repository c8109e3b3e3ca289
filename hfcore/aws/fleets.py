"""Own what EC2 Fleets that fill later (`request`, `maintain`) and Spot Fleets have alike, from making to removal.

The two APIs differ in words, which `Words` holds. What is asked of a fleet is in `fleet_terms`, what stands behind it
in `fleet_discovery` and `fleet_history`, what is bought on demand after Spot in `fleet_remainders`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hfcore.aws import launch_templates, tags
from hfcore.aws.calls import chunks, once, pages, repeat
from hfcore.aws.errors import as_fault
from hfcore.aws.instances import LIVE, VISIBLE_AFTER, describe_by_request, terminate
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.models import Fault, FaultKind, Machine, Outcome, OwnedResource, Provisioned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from hfcore.context import Context, Intent
    from hfcore.models import Instance, Request, Template

MOST_FLEETS = 100
"""Fleets of type request or maintain, or Spot fleets, in one call (DeleteFleets, CancelSpotFleetRequests)."""

_OVER = ("deleted", "cancelled", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How one of the two APIs spells what both have.

    Args:
        kind: What `owned_resources` calls it.
        fleet_id: The member that holds a fleet's id; with an `s` several ids.
        state: The member that holds its state.
        create: The operation that makes one; `config` is the parameter within which that takes its `ClientToken`.
        describe: The operation that describes fleets, in the answer's member `fleets`.
        members: The operation that names a fleet's instances.
        history: The operation that says what happened to it.
        end: The operation that ends fleets; `not_ended` is the member that names those that it has not ended.
    """

    kind: str
    fleet_id: str
    state: str
    create: str
    config: str
    describe: str
    fleets: str
    members: str
    history: str
    end: str
    not_ended: str


EC2_FLEET = Words(
    kind="fleet",
    fleet_id="FleetId",
    state="FleetState",
    create="CreateFleet",
    config="",
    describe="DescribeFleets",
    fleets="Fleets",
    members="DescribeFleetInstances",
    history="DescribeFleetHistory",
    end="DeleteFleets",
    not_ended="UnsuccessfulFleetDeletions",
)
SPOT_FLEET = Words(
    kind="spot-fleet",
    fleet_id="SpotFleetRequestId",
    state="SpotFleetRequestState",
    create="RequestSpotFleet",
    config="SpotFleetRequestConfig",
    describe="DescribeSpotFleetRequests",
    fleets="SpotFleetRequestConfigs",
    members="DescribeSpotFleetInstances",
    history="DescribeSpotFleetRequestHistory",
    end="CancelSpotFleetRequests",
    not_ended="UnsuccessfulFleetRequests",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet as its API describes it.

    Args:
        units: The units that the API says it has (`FulfilledCapacity`).
        described: The API's whole answer.
    """

    fleet_id: str
    state: str
    units: float
    tags: Mapping[str, str]
    created_at: datetime | None
    described: Mapping[str, Any]

    @property
    def is_over(self) -> bool:
        """Tell whether it launches nothing more; its instances may live on."""
        return self.state.startswith(_OVER)


def provision(
    context: Context, words: Words, request: Request, template: Template, terms: Callable[[str], Mapping[str, Any]]
) -> Provisioned:
    """Make the request's own launch template, by which alone instances get their tags here, and its fleet.

    Args:
        context: The context.
        words: The API.
        request: The request.
        template: Its template.
        terms: Gives the parameters, for the launch template's name.

    Raises:
        CloudError: AWS refused, and nothing is left behind.
        OutcomeUnknown: A call was not answered.
    """
    name = launch_templates.own(context, request, template)
    try:
        fleet_id = create(context, words, request, "launch-0", terms(name))
    except OutcomeUnknown:
        raise
    except CloudError:
        launch_templates.delete_own(context, request)
        raise
    return Provisioned(request_id=request.request_id, resource_ids=(fleet_id,))


def create(context: Context, words: Words, request: Request, step: str, parameters: Mapping[str, Any]) -> str:
    """Make a fleet at most once for a request and step, and give its id.

    Raises:
        CloudError: AWS refused.
        OutcomeUnknown: It was not answered.
    """

    def adopt(_: Intent, fault: Fault) -> Mapping[str, Any]:
        for fleet in listed(context, words):
            if fleet.tags.get(tags.REQUEST) == request.request_id and fleet.fleet_id not in request.resource_ids:
                return {"fleet": fleet.fleet_id}
        raise OutcomeUnknown(fault, hint="the fleet is looked for again at the next call")

    outcome = once(
        context,
        request.request_id,
        step,
        "ec2",
        words.create,
        parameters,
        keep=lambda answer: {"fleet": answer[words.fleet_id]},
        token_in=words.config,
        adopt=adopt,
    )
    return str(outcome["fleet"])


def described(context: Context, words: Words, fleet_ids: Iterable[str]) -> dict[str, Fleet]:
    """Describe fleets by id, 100 a call; those that AWS does not know are left out.

    Raises:
        CloudError: AWS could not be asked.
    """
    wanted = tuple(dict.fromkeys(fleet_ids))
    return {fleet.fleet_id: fleet for chunk in chunks(wanted, MOST_FLEETS) for fleet in _known(context, words, chunk)}


def _known(context: Context, words: Words, fleet_ids: Sequence[str]) -> list[Fleet]:
    """Describe those that exist: AWS refuses a whole call for one unknown id, which its message may name."""
    if not fleet_ids:
        return []
    try:
        asked = pages(context, "ec2", words.describe, words.fleets, {f"{words.fleet_id}s": list(fleet_ids)})
        return [_fleet(words, one) for one in asked]
    except CloudError as error:
        if error.fault.kind is not FaultKind.GONE:
            raise
        unknown = [one for one in fleet_ids if one in error.fault.message]
        if unknown or len(fleet_ids) == 1:
            return _known(context, words, [one for one in fleet_ids if one not in unknown] if unknown else [])
    half = len(fleet_ids) // 2
    return [*_known(context, words, fleet_ids[:half]), *_known(context, words, fleet_ids[half:])]


def is_young(request: Request, now: datetime) -> bool:
    """Tell whether AWS may not know a fleet of a request yet (EC2 developer guide, eventual consistency).

    The first is made with the request, a second one up to its deadline.
    """
    latest = request.deadline if len(request.resource_ids) > 1 else None
    return now - (latest or request.created_at) < VISIBLE_AFTER


def listed(context: Context, words: Words) -> Iterator[Fleet]:
    """List the fleets with our owner tag, page by page; neither API filters by tag, nor lists instant fleets.

    Raises:
        CloudError: AWS could not be asked.
    """
    for one in pages(context, "ec2", words.describe, words.fleets):
        fleet = _fleet(words, one)
        if fleet.tags.get(tags.OWNER) == context.owner:
            yield fleet


def _fleet(words: Words, one: Mapping[str, Any]) -> Fleet:
    return Fleet(
        fleet_id=one[words.fleet_id],
        state=one.get(words.state, ""),
        units=one.get(words.config, one).get("FulfilledCapacity", 0.0),
        tags=tags.read(one.get("Tags")),
        created_at=one.get("CreateTime"),
        described=one,
    )


def freeze(context: Context, words: Words, requests: Sequence[Request]) -> tuple[Outcome, ...]:
    """End the fleets of requests, 100 a call, without their instances; what is ended or gone already is done."""
    if not requests:
        return ()
    faults = end(context, words, requests, "freeze", most=MOST_FLEETS, terminating=False)
    return tuple(_outcome(request, faults) for request in requests)


def _outcome(request: Request, faults: Mapping[str, Fault]) -> Outcome:
    its = tuple(faults[one] for one in request.resource_ids if one in faults)
    return Outcome(request_id=request.request_id, done=not its, faults=its)


def end(
    context: Context, words: Words, requests: Sequence[Request], step: str, *, most: int, terminating: bool
) -> dict[str, Fault]:
    """End the fleets of requests, and give the reason for each fleet that is not ended.

    Args:
        context: The context.
        words: The API.
        requests: The requests.
        step: The journal's name for it, in the name of the first request.
        most: Most fleets in one call.
        terminating: Whether their instances end too.
    """
    owners = {fleet_id: request for request in requests for fleet_id in request.resource_ids}
    faults: dict[str, Fault] = {}
    for number, chunk in enumerate(chunks(tuple(owners), most)):
        place = (context, requests[0].request_id, f"{step}-{number}", "ec2", words.end)
        try:
            answer = repeat(*place, {f"{words.fleet_id}s": list(chunk), "TerminateInstances": terminating})
        except CloudError as error:
            faults |= {one: replace(error.fault, subject=one) for one in chunk}
        else:
            faults |= dict(_not_ended(words, one) for one in answer.get(words.not_ended, ()))
    return _still_there(context, words, owners, faults)


def _not_ended(words: Words, one: Mapping[str, Any]) -> tuple[str, Fault]:
    fleet_id, told = one[words.fleet_id], one.get("Error", {})
    return fleet_id, as_fault(told.get("Code", "unexpectedError"), told.get("Message", ""), fleet_id)


def _still_there(
    context: Context, words: Words, owners: Mapping[str, Request], faults: Mapping[str, Fault]
) -> dict[str, Fault]:
    """Leave out the fleets that could not be ended because they are ended already, or gone."""
    refused = [one for one, fault in faults.items() if fault.code.endswith(("State", "DoesNotExist"))]
    if not refused:
        return dict(faults)
    try:
        known = described(context, words, refused)
    except CloudError:
        return dict(faults)
    now = context.clock.now()
    done = {i for i in refused if (known[i].is_over if i in known else not is_young(owners[i], now))}
    return {fleet_id: fault for fleet_id, fault in faults.items() if fleet_id not in done}


def cleanup(context: Context, words: Words, requests: Sequence[Request]) -> tuple[Outcome, ...]:
    """Remove what is left of emptied requests: their own launch templates; their fleets ended at the freezing.

    An instance that came so late that nobody has seen it is ended first.

    Raises:
        CloudError: AWS could not be asked.
    """
    if not requests:
        return ()
    going = [request for request in requests if not request.frozen]
    outcomes = {one.request_id: one for one in freeze(context, words, going) if not one.done}
    seen = describe_by_request(context, [request.request_id for request in requests])

    def clean(request: Request) -> Outcome:
        its = [one for one in seen.instances.values() if one.tags.get(tags.REQUEST) == request.request_id]
        fault = end_late(context, request, its) or launch_templates.delete_own(context, request)
        return Outcome(request_id=request.request_id, done=fault is None, faults=(fault,) if fault else ())

    return tuple(outcomes.get(request.request_id) or clean(request) for request in requests)


def end_late(context: Context, request: Request, instances: Iterable[Instance]) -> Fault | None:
    """End instances of an ended request that are alive though each of its known machines is gone.

    Returns:
        Why the request can't be cleaned up yet; `None` if none of the instances lives.
    """
    late = [one for one in instances if one.status.value in LIVE]
    if not late:
        return None
    now = context.clock.now()
    machines = [
        Machine(
            instance_id=one.instance_id,
            request_id=request.request_id,
            status=one.status,
            observed_at=now,
            launch_time=one.launch_time,
            listed=True,
        )
        for one in late
    ]
    _, faults = terminate(context, request.request_id, machines, "terminate-late")
    names = ", ".join(sorted(one.instance_id for one in late))
    message = f"{names}: launched after the request had ended, and ended now"
    return next(iter(faults.values()), Fault(code="LateInstances", message=message, kind=FaultKind.TRANSIENT))


def owned(context: Context, words: Words) -> tuple[OwnedResource, ...]:
    """List the fleets of ours that stand, or whose instances may.

    Raises:
        CloudError: AWS could not be asked.
    """
    return tuple(
        OwnedResource(
            kind=words.kind,
            resource_id=fleet.fleet_id,
            request_id=fleet.tags.get(tags.REQUEST, ""),
            template_id=fleet.tags.get(tags.TEMPLATE, ""),
            status=fleet.state,
            created_at=fleet.created_at,
        )
        for fleet in listed(context, words)
        if fleet.state not in _OVER
    )
