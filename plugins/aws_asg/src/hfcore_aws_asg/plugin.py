"""The hooks of `ASG`: one Auto Scaling group for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.aws import launch_templates, owned, reclaims, tags, validation
from hfcore.aws.about import aws_provider
from hfcore.hookspecs import hookimpl
from hfcore.models import PlannedCall
from hfcore_aws_asg import ending, groups, launching, problems
from hfcore_aws_asg.requests import AT_BIRTH, create_group, needs_steadying, suspension

if TYPE_CHECKING:
    from hfcore.context import Context
    from hfcore.models import OwnedResource, Problem, ProviderInfo, Request, Template

IGNORED = {"fleetType": "a group is no fleet", "fleetRole": "a group makes no Spot fleet"}
"""Template fields without effect here, each with the reason."""

INFO = aws_provider(
    "ASG",
    "Machines by EC2 Auto Scaling groups, on demand, Spot and mixed.",
    operations=(
        "autoscaling:CreateAutoScalingGroup",
        "autoscaling:DeleteAutoScalingGroup",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:SuspendProcesses",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
    ),
    permissions=("autoscaling:CreateOrUpdateTags", "iam:CreateServiceLinkedRole"),
    without=(*IGNORED, "vmTypesOnDemand"),
    call_budgets={
        "request of n machines": "1 CreateAutoScalingGroup; 1 CreateLaunchTemplate for a template not yet known, 1 "
        "SuspendProcesses where the template names several subnets",
        "status of 1 to 50 requests": "1 DescribeAutoScalingGroups for each 100 open groups, 1 DescribeInstances for "
        "each 1,000 machines; 1 DescribeInstances alone once they are complete",
        "reasons for a shortfall": "1 DescribeScalingActivities for each group that is short after a minute",
        "freeze on completion": "1 SuspendProcesses for each group",
        "return of n machines": "1 TerminateInstances for each 1,000 machines; before the request has ended 1 "
        "DescribeAutoScalingGroups, and 1 TerminateInstanceInAutoScalingGroup for each machine",
    },
)

provision = hookimpl(launching.provision)
advance = hookimpl(launching.steadied)
discover_instances = hookimpl(groups.discover_all)
stop_launching = hookimpl(launching.stop)
release_instances = hookimpl(ending.release_all)
reclaimed_instances = reclaims.reclaimed_instances
cleanup = hookimpl(ending.cleanup_all)


@hookimpl
def provider_info() -> ProviderInfo:
    """Say what this plug-in is."""
    return INFO


@hookimpl
def validate_template(template: Template) -> tuple[Problem, ...]:
    """Find what is wrong with a template for Auto Scaling."""
    return (*validation.common(template, ignored=IGNORED), *problems.problems(template))


@hookimpl
def owned_resources(context: Context) -> tuple[OwnedResource, ...]:
    """List instances, launch templates and groups of ours."""
    return (*owned.common(context), *groups.owned_groups(context))


@hookimpl
def plan(request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
    """Give the calls of `provision`."""
    name, calls = launch_templates.planned(context, template)
    group = create_group(request, template, name, tags.of_instances(context, template, request.request_id))
    create = PlannedCall(service="autoscaling", operation="CreateAutoScalingGroup", parameters=group)
    if not needs_steadying(template):
        return (*calls, create)
    steady = PlannedCall(service="autoscaling", operation="SuspendProcesses", parameters=suspension(request, AT_BIRTH))
    return (*calls, create, steady)
