"""The hooks of `ASG`: one Auto Scaling group for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.hookspecs import hookimpl
from hfcore.models import PlannedCall, ProviderInfo
from hfcore_aws_asg import about

if TYPE_CHECKING:
    from hfcore.context import Context
    from hfcore.models import (
        Discovery,
        Machine,
        Outcome,
        OwnedResource,
        Problem,
        Provisioned,
        Reclaim,
        Release,
        Released,
        Request,
        Template,
    )


@hookimpl
def provider_info() -> ProviderInfo:
    """Say what this plug-in is."""
    return about.INFO


@hookimpl
def validate_template(template: Template) -> tuple[Problem, ...]:
    """Find what is wrong with a template for Auto Scaling."""
    from hfcore.aws import validation

    return (*validation.common(template, ignored=about.IGNORED), *about.problems(template))


@hookimpl
def provision(request: Request, template: Template, context: Context) -> Provisioned:
    """Create the group of a request, or go on with one that was begun."""
    from hfcore_aws_asg import launching

    return launching.provision(context, request, template)


@hookimpl
def advance(requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
    """Suspend AZRebalance where that failed at the group's creation."""
    from hfcore_aws_asg import launching

    return launching.steadied(context, requests)


@hookimpl
def discover_instances(requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
    """Show the machines that open groups name, and those that are known."""
    from hfcore_aws_asg import groups

    return groups.discover_all(context, requests)


@hookimpl
def stop_launching(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Suspend all by which groups launch."""
    from hfcore_aws_asg import launching

    return launching.stop(context, requests)


@hookimpl
def release_instances(releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
    """End exactly these machines, so that their groups do not replace them."""
    from hfcore_aws_asg import ending

    return ending.release_all(context, releases)


@hookimpl
def reclaimed_instances(machines: tuple[Machine, ...], context: Context) -> tuple[Reclaim, ...]:
    """Find the machines that AWS takes back."""
    from hfcore.aws.reclaims import reclaimed

    return reclaimed(machines, context)


@hookimpl
def owned_resources(context: Context) -> tuple[OwnedResource, ...]:
    """List instances, launch templates and groups of ours."""
    from hfcore.aws import owned
    from hfcore_aws_asg import groups

    return (*owned.common(context), *groups.owned_groups(context))


@hookimpl
def cleanup(requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
    """Delete emptied groups; their launch templates are shared with others, and stay."""
    from hfcore_aws_asg import ending

    return ending.cleanup_all(context, requests)


@hookimpl
def plan(request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
    """Give the calls of `provision`."""
    from hfcore.aws import launch_templates, tags
    from hfcore_aws_asg.requests import AT_BIRTH, create_group, needs_steadying, suspension

    name, calls = launch_templates.planned(context, template)
    group = create_group(request, template, name, tags.of_instances(context, template, request.request_id))
    create = PlannedCall(service="autoscaling", operation="CreateAutoScalingGroup", parameters=group)
    if not needs_steadying(template):
        return (*calls, create)
    steady = PlannedCall(service="autoscaling", operation="SuspendProcesses", parameters=suspension(request, AT_BIRTH))
    return (*calls, create, steady)
