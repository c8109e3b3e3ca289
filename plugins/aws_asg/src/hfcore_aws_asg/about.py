"""Own what ASG says of itself, and what is wrong with a template for it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.models import Problem, ProviderInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.models import Template

MOST_TYPES = 40
MOST_WEIGHT = 999
MOST_POOLS = 20
LEAST_PRICE = 0.001
"""Limits of MixedInstancesPolicy (Auto Scaling API reference)."""

IGNORED = {"fleetType": "a group is no fleet", "fleetRole": "a group makes no Spot fleet"}
"""Template fields without effect here, each with the reason."""

INFO = ProviderInfo(
    name="ASG",
    hook_version=1,
    summary="Machines by EC2 Auto Scaling groups, on demand, Spot and mixed.",
    cloud="aws",
    iam_actions=(
        "autoscaling:CreateAutoScalingGroup",
        "autoscaling:CreateOrUpdateTags",
        "autoscaling:DeleteAutoScalingGroup",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:SuspendProcesses",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        "ec2:RunInstances",
        "ec2:TerminateInstances",
        "ec2:CreateTags",
        "ec2:CreateLaunchTemplate",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeSpotInstanceRequests",
        "ssm:GetParameter",
        "iam:CreateServiceLinkedRole",
        "iam:PassRole",
    ),
    operations=(
        "autoscaling:CreateAutoScalingGroup",
        "autoscaling:DeleteAutoScalingGroup",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "autoscaling:SuspendProcesses",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        "ec2:CreateLaunchTemplate",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeSpotInstanceRequests",
        "ec2:TerminateInstances",
        "ssm:GetParameter",
    ),
    template_fields=(
        "templateId",
        "maxNumber",
        "attributes",
        "providerApi",
        "imageId",
        "subnetId",
        "vmType",
        "vmTypes",
        "vmTypesPriority",
        "priceType",
        "rootDeviceVolumeSize",
        "volumeType",
        "iops",
        "instanceTags",
        "keyName",
        "securityGroupIds",
        "maxSpotPrice",
        "spotFleetRequestExpiry",
        "allocationStrategy",
        "allocationStrategyOnDemand",
        "percentOnDemand",
        "poolsCount",
        "instanceProfile",
        "userDataScript",
        "launchTemplateId",
        "launchTemplateVersion",
    ),
    call_budgets={
        "request of n machines": "1 CreateAutoScalingGroup; 1 CreateLaunchTemplate for a template not yet known, 1 "
        "SuspendProcesses where the template names several subnets",
        "status of 1 to 50 requests": "1 DescribeAutoScalingGroups for each 100 open groups, 1 DescribeInstances for "
        "each 1,000 machines; 1 DescribeInstances alone once they are complete",
        "reasons for a shortfall": "1 DescribeScalingActivities for each group that is short after a minute",
        "freeze on completion": "1 SuspendProcesses for each group",
        "return of n machines": "1 TerminateInstances for each 1,000 machines; before the request has ended 1 "
        "DescribeAutoScalingGroups, and 1 TerminateInstanceInAutoScalingGroup for each machine",
        "getReturnRequests": "1 DescribeSpotInstanceRequests, 1 DescribeInstanceStatus, 1 DescribeInstances for each "
        "1,000 live machines, for all AWS plug-ins together",
    },
)


def problems(template: Template) -> tuple[Problem, ...]:
    """Find what is wrong with a template for Auto Scaling, beside what is wrong on any AWS API."""
    market = _spot if template.price_type == "spot" else _on_demand
    return (*_machines(template), *market(template))


def _machines(template: Template) -> Iterator[Problem]:
    if template.launch_template_id and not template.subnet_id:
        message = "is missing: a group takes no subnet from a launch template"
        yield Problem(field="subnetId", message=message)
    if len(template.vm_types) > MOST_TYPES:
        message = f"are {len(template.vm_types)}; Auto Scaling allows {MOST_TYPES} for a group"
        yield Problem(field="vmTypes", message=message)
    heavy = sorted(name for name, weight in template.vm_types.items() if weight > MOST_WEIGHT)
    if heavy:
        message = f"{', '.join(heavy)}: Auto Scaling allows weights of 1 to {MOST_WEIGHT}"
        yield Problem(field="vmTypes", message=message)
    if template.price_type == "heterogeneous":
        hint = "use spot with percentOnDemand, or another providerApi"
        message = "heterogeneous is not honoured by ASG yet: a group buys no on-demand remainder when Spot runs short"
        yield Problem(field="priceType", message=message, hint=hint)


def _on_demand(template: Template) -> Iterator[Problem]:
    from hfcore.aws.validation import is_set, warning

    if template.price_type == "heterogeneous":
        return
    for field in ("allocationStrategy", "percentOnDemand", "poolsCount"):
        if is_set(template, field):
            yield warning(field, "has no effect: priceType is ondemand")
    if template.vm_types_priority and template.allocation_strategy_on_demand == "lowestPrice":
        yield warning("vmTypesPriority", "has no effect: allocationStrategyOnDemand is lowestPrice")


def _spot(template: Template) -> Iterator[Problem]:
    from hfcore.aws.validation import warning
    from hfcore_aws_asg.requests import percent_on_demand, spot_strategy

    strategy = spot_strategy(template)
    if strategy == "diversified":
        hint = "use priceCapacityOptimized, or lowestPrice with poolsCount"
        yield Problem(field="allocationStrategy", message="diversified is none of Auto Scaling's", hint=hint)
    if template.pools_count and strategy != "lowestPrice":
        yield warning("poolsCount", f"has no effect: allocationStrategy is {strategy}")
    if template.pools_count and strategy == "lowestPrice" and template.pools_count > MOST_POOLS:
        yield Problem(field="poolsCount", message=f"is {template.pools_count}; Auto Scaling allows {MOST_POOLS}")
    if template.max_spot_price is not None and template.max_spot_price < LEAST_PRICE:
        yield Problem(field="maxSpotPrice", message=f"is below the least that Auto Scaling takes, {LEAST_PRICE}")
    on_demand = percent_on_demand(template)
    if template.allocation_strategy_on_demand and not on_demand:
        yield warning("allocationStrategyOnDemand", "has no effect: percentOnDemand is 0")
    by_priority = on_demand and template.allocation_strategy_on_demand != "lowestPrice"
    if template.vm_types_priority and strategy != "capacityOptimizedPrioritized" and not by_priority:
        hint = "use capacityOptimizedPrioritized"
        yield warning("vmTypesPriority", f"has no effect: allocationStrategy is {strategy}; {hint}")
