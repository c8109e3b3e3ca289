"""Own what EC2 Fleets that fill later (`request`, `maintain`) and Spot Fleets have alike, from making to removal.

The two APIs differ in words, which `FleetApi` holds. What is asked of a fleet is in `fleet_terms`, what stands behind
it in `fleet_discovery`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hfcore.aws import launch_templates, owned, tags
from hfcore.aws.accounts import making
from hfcore.aws.calls import chunks, once, pages, repeat
from hfcore.aws.discovery import of_request, outcome
from hfcore.aws.errors import as_fault
from hfcore.aws.instances import LIVE, describe_by_request, terminate_ids
from hfcore.aws.remainders import STEP, Resources
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import Fault, FaultKind, PlannedCall, Provisioned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from hfcore.context import Context, Intent
    from hfcore.models import Instance, Outcome, OwnedResource, Request, Template

MOST_FLEETS = 100
"""Fleets of type request or maintain, or Spot fleets, in one call (DeleteFleets, CancelSpotFleetRequests)."""

_OVER = ("deleted", "cancelled", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetApi:
    """How one of the two APIs spells what both have.

    Args:
        kind: What `owned_resources` calls a fleet.
        fleet_id: The member that holds a fleet's id; with an `s` several ids.
        state: The member that holds its state.
        create: The operation that makes one; `config` is the parameter within which that takes its `ClientToken`.
        terms: Builds that operation's parameters, without token, of `(context, request, template, launch_template)`,
            `units`, and `remainder`: whether this is what Spot has left of price type heterogeneous.
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
    terms: Callable[..., dict[str, Any]]
    describe: str
    fleets: str
    members: str
    history: str
    end: str
    not_ended: str


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


def provision(context: Context, api: FleetApi, request: Request, template: Template) -> Provisioned:
    """Make the request's own launch template, by which alone instances get their tags here, and its fleet.

    Returns:
        The fleet; nothing but the faults where AWS refused it, and the launch template could not be removed yet.

    Raises:
        CloudError: AWS refused, and nothing is left behind.
        OutcomeUnknown: A call was not answered.
    """
    name = launch_templates.own(context, request, template)
    try:
        asked = api.terms(context, request, template, name, units=request.target)
        fleet_id = create(context, api, request, "launch-0", asked)
    except OutcomeUnknown:
        raise
    except CloudError as error:
        left = launch_templates.delete_own(context, request)
        if left is None:
            raise
        return Provisioned(request_id=request.request_id, faults=(left, error.fault), final=True, untidy=True)
    return Provisioned(request_id=request.request_id, resource_ids=(fleet_id,), account_id=making(context))


def plan(
    context: Context, api: FleetApi, request: Request, template: Template, *, own: bool = True
) -> tuple[PlannedCall, ...]:
    """Give the calls by which a request's first fleet is made, from a launch template of its own or a shared one."""
    name, calls = launch_templates.planned(context, template, request if own else None)
    asked = api.terms(context, request, template, name, units=request.target)
    return (*calls, PlannedCall(service="ec2", operation=api.create, parameters=asked))


def second(api: FleetApi) -> Resources:
    """Give how what Spot leaves of price type heterogeneous is bought on demand: by a second fleet."""

    def units(context: Context, requests: Sequence[Request]) -> Mapping[str, float]:
        known = described(context, api, [one for request in requests for one in request.resource_ids])
        return {r.request_id: sum(known[one].units for one in r.resource_ids if one in known) for r in requests}

    def buy(context: Context, request: Request, units: int) -> Provisioned:
        name = launch_templates.own_name(request)
        asked = api.terms(context, request, request.template, name, units=units, remainder=True)
        fleet_id = create(context, api, request, STEP, asked)
        return Provisioned(request_id=request.request_id, resource_ids=(fleet_id,))

    return Resources(stop=lambda context, requests: freeze(context, api, requests), units=units, buy=buy)


def create(context: Context, api: FleetApi, request: Request, step: str, parameters: Mapping[str, Any]) -> str:
    """Make a fleet at most once for a request and step, and give its id.

    Raises:
        CloudError: AWS refused.
        OutcomeUnknown: It was not answered.
    """

    def find(_: Intent) -> Mapping[str, Any] | None:
        its = (fleet for fleet in listed(context, api) if fleet.tags.get(tags.REQUEST) == request.request_id)
        return next(({"fleet": one.fleet_id} for one in its if one.fleet_id not in request.resource_ids), None)

    def keep(answer: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"fleet": answer[api.fleet_id]}

    place = (context, request.request_id, step, "ec2", api.create, parameters)
    return str(once(*place, keep=keep, find=find, until=request.deadline, token_in=api.config)["fleet"])


def described(context: Context, api: FleetApi, fleet_ids: Iterable[str]) -> dict[str, Fleet]:
    """Describe fleets by id, 100 a call; those that AWS does not know are left out."""
    wanted = tuple(dict.fromkeys(fleet_ids))
    return {fleet.fleet_id: fleet for chunk in chunks(wanted, MOST_FLEETS) for fleet in _known(context, api, chunk)}


def _known(context: Context, api: FleetApi, fleet_ids: Sequence[str]) -> list[Fleet]:
    """Describe those that exist: AWS refuses a whole call for one unknown id, which its message may name."""
    if not fleet_ids:
        return []
    try:
        asked = pages(context, "ec2", api.describe, api.fleets, {f"{api.fleet_id}s": list(fleet_ids)})
        return [_fleet(api, one) for one in asked]
    except CloudError as error:
        if error.fault.kind is not FaultKind.GONE:
            raise
        unknown = [one for one in fleet_ids if one in error.fault.message]
    if unknown:
        return _known(context, api, [one for one in fleet_ids if one not in unknown])
    half = len(fleet_ids) // 2
    return [*_known(context, api, fleet_ids[:half]), *_known(context, api, fleet_ids[half:])] if half else []


def is_young(request: Request, now: datetime) -> bool:
    """Tell whether AWS may not know a fleet of a request yet (EC2 developer guide, eventual consistency).

    The first is made with the request, a second one up to its deadline.
    """
    latest = request.deadline if len(request.resource_ids) > 1 else None
    return now - (latest or request.created_at) < VISIBILITY_DELAY


def listed(context: Context, api: FleetApi) -> Iterator[Fleet]:
    """List the fleets with our owner tag, page by page; neither API filters by tag, nor lists instant fleets."""
    fleets = (_fleet(api, one) for one in pages(context, "ec2", api.describe, api.fleets))
    return (fleet for fleet in fleets if fleet.tags.get(tags.OWNER) == context.owner)


def _fleet(api: FleetApi, one: Mapping[str, Any]) -> Fleet:
    return Fleet(
        fleet_id=one[api.fleet_id],
        state=one.get(api.state, ""),
        units=one.get(api.config, one).get("FulfilledCapacity", 0.0),
        tags=tags.read(one.get("Tags")),
        created_at=one.get("CreateTime"),
        described=one,
    )


def freeze(context: Context, api: FleetApi, requests: Sequence[Request]) -> tuple[Outcome, ...]:
    """End the fleets of requests, 100 a call, without their instances; what is ended or gone already is done."""
    faults = end(context, api, requests, "freeze", most=MOST_FLEETS, terminating=False)
    return tuple(outcome(one, (faults[i] for i in one.resource_ids if i in faults)) for one in requests)


def end(
    context: Context, api: FleetApi, requests: Sequence[Request], step: str, *, most: int, terminating: bool
) -> dict[str, Fault]:
    """End the fleets of requests, and give the reason for each fleet that is not ended.

    Args:
        context: The context.
        api: The API.
        requests: The requests.
        step: The journal's name for it, in the name of the first request.
        most: Most fleets in one call.
        terminating: Whether their instances end too.
    """
    owners = {fleet_id: request for request in requests for fleet_id in request.resource_ids}
    faults: dict[str, Fault] = {}
    for number, chunk in enumerate(chunks(tuple(owners), most)):
        place = (context, requests[0].request_id, f"{step}-{number}", "ec2", api.end)
        try:
            answer = repeat(*place, {f"{api.fleet_id}s": list(chunk), "TerminateInstances": terminating})
        except CloudError as error:
            faults |= {one: replace(error.fault, subject=one) for one in chunk}
        else:
            faults |= dict(_not_ended(api, one) for one in answer.get(api.not_ended, ()))
    return _still_there(context, api, owners, faults)


def _not_ended(api: FleetApi, one: Mapping[str, Any]) -> tuple[str, Fault]:
    fleet_id, told = one[api.fleet_id], one.get("Error", {})
    return fleet_id, as_fault(told.get("Code", "unexpectedError"), told.get("Message", ""), fleet_id)


def _still_there(
    context: Context, api: FleetApi, owners: Mapping[str, Request], faults: dict[str, Fault]
) -> dict[str, Fault]:
    """Leave out the fleets that could not be ended because they are ended already, or gone."""
    refused = [one for one, fault in faults.items() if fault.code.endswith(("State", "DoesNotExist"))]
    try:
        known = described(context, api, refused)
    except CloudError:
        return faults
    now = context.clock.now()
    done = {i for i in refused if (known[i].is_over if i in known else not is_young(owners[i], now))}
    return {fleet_id: fault for fleet_id, fault in faults.items() if fleet_id not in done}


def cleanup(context: Context, api: FleetApi, requests: Sequence[Request]) -> tuple[Outcome, ...]:
    """Remove what is left of emptied requests: their own launch templates; their fleets ended at the freezing.

    An instance that came so late that nobody has seen it is ended first.
    """
    going = [request for request in requests if not request.frozen]
    standing = {one.request_id: one for one in freeze(context, api, going) if not one.done}
    seen = describe_by_request(context, [request.request_id for request in requests])

    def clean(request: Request) -> Outcome:
        late = end_late(context, request, of_request(seen, request).values())
        return outcome(request, [late or launch_templates.delete_own(context, request)])

    return tuple(standing.get(request.request_id) or clean(request) for request in requests)


def end_late(context: Context, request: Request, instances: Iterable[Instance]) -> Fault | None:
    """End instances of an ended request that nobody knew, and that are alive though each of its machines is gone.

    One of these that is alive was only missed, and may be in use: it is `hfcore reconcile`'s business.

    Returns:
        Why the request can't be cleaned up yet; `None` if none of the instances lives.
    """
    alive = sorted(one.instance_id for one in instances if one.status.value in LIVE)
    late = [one for one in alive if one not in request.machine_ids]
    if not alive:
        return None
    if not late:
        message = f"{', '.join(alive)}: recorded as gone, and seen alive; see: hfcore reconcile"
        return Fault(code="SeenAgain", message=message)
    _, faults = terminate_ids(context, request.request_id, late, "terminate-late")
    message = f"{', '.join(late)}: launched after the request had ended, and ended now"
    return next(iter(faults.values()), Fault(code="LateInstances", message=message, kind=FaultKind.TRANSIENT))


def owned_fleets(context: Context, api: FleetApi) -> tuple[OwnedResource, ...]:
    """List the fleets of ours that may launch; of those that are over only the instances matter."""
    return tuple(_owned(api, fleet) for fleet in listed(context, api) if not fleet.is_over)


def _owned(api: FleetApi, fleet: Fleet) -> OwnedResource:
    config = fleet.described.get(api.config, fleet.described)
    used = [one.get("LaunchTemplateSpecification", {}) for one in config.get("LaunchTemplateConfigs", ())]
    its = {"form": config.get("Type", ""), "status": fleet.state, "launch_templates": used}
    return owned.resource(api.kind, fleet.fleet_id, fleet.tags, fleet.created_at, **its)
