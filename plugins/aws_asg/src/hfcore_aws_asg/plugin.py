"""The hooks of `ASG`: an Auto Scaling group for each request; of price type heterogeneous a second one for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.aws import access, checks, finding, launch_templates, native, offers, owned, policy, queue, tags, validation
from hfcore.aws.about import aws_provider
from hfcore.hookspecs import hookimpl
from hfcore.models import PlannedCall
from hfcore_aws_asg import ending, groups, launching, problems
from hfcore_aws_asg.requests import AT_BIRTH, create_group, group_name, needs_steadying, suspension

if TYPE_CHECKING:
    from hfcore.context import Context
    from hfcore.models import OwnedResource, Problem, ProviderInfo, Request, Template

IGNORED = {"fleetType": "a group is no fleet", "fleetRole": "a group makes no Spot fleet"}
"""Template fields without effect here, each with the reason."""

REFUSED = {"ec2FleetConfig": "can't be honoured: it holds CreateFleet's parameters; use providerApi EC2Fleet"}
"""Template fields that Auto Scaling can't honour, each with the reason."""

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
    permissions=("autoscaling:CreateOrUpdateTags",),
    ignored=IGNORED,
    refused=REFUSED,
    call_budgets={
        "request of n machines": "1 CreateAutoScalingGroup; 1 CreateLaunchTemplate for a template not yet known, 1 "
        "SuspendProcesses where the template names several subnets",
        "end of Spot's time, heterogeneous": "1 SuspendProcesses and 1 CreateAutoScalingGroup for each request that is "
        "short, and for all together 1 DescribeAutoScalingGroups and 1 DescribeInstances by tag",
        "status of 1 to 50 requests": "1 DescribeAutoScalingGroups for each 100 open groups, 1 DescribeInstances for "
        "each 1,000 machines; 1 DescribeInstances alone once they are complete",
        "reasons for a shortfall": "1 DescribeScalingActivities for each group that is short after a minute",
        "freeze on completion": "1 SuspendProcesses for each group",
        "return of n machines": "1 TerminateInstances for each 1,000 machines; before the request has ended 1 "
        "DescribeAutoScalingGroups, and 1 TerminateInstanceInAutoScalingGroup for each machine",
    },
)

provision = hookimpl(launching.provision)
advance = hookimpl(launching.advanced)
discover_instances = hookimpl(groups.discover_all)
stop_launching = hookimpl(launching.stop)
release_instances = hookimpl(ending.release_all)
reclaimed_instances = hookimpl(groups.reclaimed)
find_instances = finding.find_instances
describe_offers = offers.describe_offers
check = checks.check
check_account = access.check_account
access_policy = policy.access_policy
receive_notices = queue.receive_notices
forget_notices = queue.forget_notices
remove_owned = owned.remove_owned
cleanup = hookimpl(ending.cleanup_all)


@hookimpl
def provider_info() -> ProviderInfo:
    """Say what this plug-in is."""
    return INFO


@hookimpl
def validate_template(template: Template, context: Context) -> tuple[Problem, ...]:
    """Find what is wrong with a template for Auto Scaling."""
    return (
        *validation.common(template, ignored=IGNORED, refused=REFUSED),
        *validation.exports(context, template),
        *native.problems(template, "CreateAutoScalingGroup"),
        *problems.problems(template),
        *validation.slow_to_start(template, context.settings),
    )


@hookimpl
def owned_resources(context: Context) -> tuple[OwnedResource, ...]:
    """List instances, launch templates and groups of ours."""
    return owned.common(context, groups.owned_groups(context))


@hookimpl
def plan(request: Request, template: Template, context: Context) -> tuple[PlannedCall, ...]:
    """Give the calls of `provision`."""
    name, calls = launch_templates.planned(context, template)
    its_tags = tags.of_instances(context, template, request.request_id)
    group = create_group(request, template, name, its_tags, units=request.target)
    create = PlannedCall(service="autoscaling", operation="CreateAutoScalingGroup", parameters=group)
    if not needs_steadying(template):
        return (*calls, create)
    suspended = suspension(group_name(request), AT_BIRTH)
    steady = PlannedCall(service="autoscaling", operation="SuspendProcesses", parameters=suspended)
    return (*calls, create, steady)
