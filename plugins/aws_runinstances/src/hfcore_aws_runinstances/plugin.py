"""The hooks of `RunInstances`, which also finds and ends the machines of AWS plug-ins that are not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.hookspecs import hookimpl
from hfcore.models import Outcome, PlannedCall, ProviderInfo, Released
from hfcore_aws_runinstances import about

if TYPE_CHECKING:
    from hfcore.context import Context
    from hfcore.models import (
        Discovery,
        Machine,
        OwnedResource,
        Problem,
        Provisioned,
        Reclaim,
        Release,
        Request,
        Template,
    )


@hookimpl
def provider_info() -> ProviderInfo:
    """Say what this plug-in is."""
    return about.INFO


@hookimpl
def validate_template(template: Template) -> tuple[Problem, ...]:
    """Find what is wrong with a template for RunInstances."""
    from hfcore.aws import validation

    return validation.common(template, ignored=about.IGNORED, refused=about.REFUSED)


@hookimpl
def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Launch the machines of a request; what EC2 throttles or leaves unanswered is gone on with by `advance`."""
    from hfcore_aws_runinstances.launching import Launch

    return Launch(context, request, template).go()


@hookimpl
def advance(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
    """Launch what throttled or unanswered calls have left open."""
    from hfcore_aws_runinstances.launching import advanced, wants_more

    ours = (one for one in requests if not about.is_foreign(one) and wants_more(one))
    return tuple(made for one in ours if (made := advanced(context, one)))


@hookimpl
def discover_instances(requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
    """Show the machines of requests by their ids; those of another API by their tags, as far as that goes."""
    from hfcore.aws.discovery import Told, discover
    from hfcore_aws_runinstances.launching import wants_more
    from hfcore_aws_runinstances.requests import weights

    def told(request: Request) -> Told:
        if about.is_foreign(request):
            return Told(request=request, by_tag=True, thorough=False, message=about.foreign_message(request))
        units = weights(request.template) if request.template else {}
        unanswered = request.provider_data.get("unanswered") or None
        return Told(request=request, weights=units, final=not wants_more(request), by_tag=unanswered)

    return discover(context, tuple(map(told, requests)))


@hookimpl
def stop_launching(requests: tuple[Request, ...]) -> tuple[Outcome, ...]:
    """Do nothing: RunInstances launches nothing by itself. What another API does can't be stopped here."""
    return tuple(about.outcome(request) for request in requests)


@hookimpl
def release_instances(releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
    """End exactly these machines; those that another API would replace are refused."""
    from hfcore.aws.instances import release

    refused = tuple(one for one in releases if about.would_be_replaced(one.request))
    return (
        *release(context, tuple(one for one in releases if one not in refused)),
        *(
            Released(
                request_id=one.request.request_id,
                faults={machine.instance_id: about.not_installed(one.request) for machine in one.machines},
            )
            for one in refused
        ),
    )


@hookimpl
def reclaimed_instances(machines: tuple[Machine, ...], context: Context) -> tuple[Reclaim, ...]:
    """Find the machines that AWS takes back."""
    from hfcore.aws.reclaims import reclaimed

    return reclaimed(machines, context)


@hookimpl
def owned_resources(context: Context) -> tuple[OwnedResource, ...]:
    """List instances and launch templates of ours."""
    from hfcore.aws import owned

    return owned.common(context)


@hookimpl
def cleanup(requests: tuple[Request, ...]) -> tuple[Outcome, ...]:
    """Do nothing: machines are all that RunInstances makes, beside launch templates that others share."""
    return tuple(about.outcome(request) for request in requests)


@hookimpl
def plan(request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
    """Give the calls of `provision`, as they are if the first pool has all of it."""
    from hfcore.aws import launch_templates, tags
    from hfcore_aws_runinstances.requests import pools, run_instances

    name, calls = launch_templates.planned(context, template)
    its_tags = tags.of_instances(context, template, request.request_id)
    pool, left = pools(template)[0], float(request.target)
    while left > 0:
        count = pool.machines(left)
        parameters = run_instances(pool, count, template, name, its_tags)
        calls = (*calls, PlannedCall(service="ec2", operation="RunInstances", parameters=parameters))
        left -= count * pool.weight
    return calls
