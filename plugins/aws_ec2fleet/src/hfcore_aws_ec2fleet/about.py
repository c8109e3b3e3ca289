"""Own what EC2Fleet says of itself, and what is wrong with a template for it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.models import ProviderInfo

if TYPE_CHECKING:
    from hfcore.models import Problem, Template

IGNORED = {"fleetRole": "EC2 Fleet works by its service-linked role"}
"""Template fields without effect here, each with the reason."""

INFO = ProviderInfo(
    name="EC2Fleet",
    hook_version=1,
    summary="Machines by EC2 Fleets of type instant, request and maintain, on demand, Spot and mixed.",
    cloud="aws",
    iam_actions=(
        "ec2:CreateFleet",
        "ec2:DeleteFleets",
        "ec2:DescribeFleetHistory",
        "ec2:DescribeFleetInstances",
        "ec2:DescribeFleets",
        "ec2:ModifyFleet",
        "ec2:RunInstances",
        "ec2:TerminateInstances",
        "ec2:CreateTags",
        "ec2:CreateLaunchTemplate",
        "ec2:DeleteLaunchTemplate",
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
        "ec2:CreateFleet",
        "ec2:CreateLaunchTemplate",
        "ec2:DeleteFleets",
        "ec2:DeleteLaunchTemplate",
        "ec2:DescribeFleetHistory",
        "ec2:DescribeFleetInstances",
        "ec2:DescribeFleets",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeSpotInstanceRequests",
        "ec2:ModifyFleet",
        "ec2:TerminateInstances",
        "ssm:GetParameter",
    ),
    template_fields=(
        "templateId",
        "maxNumber",
        "attributes",
        "providerApi",
        "fleetType",
        "imageId",
        "subnetId",
        "vmType",
        "vmTypes",
        "vmTypesOnDemand",
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
        "request": "1 CreateFleet, and 1 CreateLaunchTemplate (instant: for a template not yet known); an instant "
        "fleet that is short: 1 DescribeFleets",
        "status of 1 to 50 instant or settled requests": "1 DescribeInstances for each 1,000 machines",
        "status of 1 to 50 open request and maintain fleets": "1 DescribeInstances by tag and 1 DescribeFleets; 1 "
        "DescribeFleetInstances for each fleet with more than EC2 shows, or 1 DescribeInstances for missing machines",
        "reasons for a shortfall": "1 DescribeFleetHistory for each fleet of a request short after 60 s",
        "freeze": "1 DeleteFleets for each 100 request and maintain fleets",
        "return of n machines": "1 TerminateInstances for each 1,000 machines; for open maintain fleets before that 1 "
        "DescribeFleets, 1 ModifyFleet for each, and DescribeFleets until it is modified",
        "getReturnRequests": "1 DescribeSpotInstanceRequests, 1 DescribeInstanceStatus, 1 DescribeInstances for each "
        "1,000 live machines, for all AWS plug-ins together",
    },
)


def problems(template: Template) -> tuple[Problem, ...]:
    """Find what is wrong with a template for EC2Fleet."""
    from hfcore.aws import fleet_terms, validation

    return (*validation.common(template, ignored=IGNORED), *fleet_terms.problems(template))
