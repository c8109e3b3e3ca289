"""Own what SpotFleet says of itself, and what is wrong with a template for it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfcore.models import Problem, ProviderInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.models import Template

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")

INFO = ProviderInfo(
    name="SpotFleet",
    hook_version=1,
    summary="Machines by Spot Fleet requests, Spot and with a share on demand.",
    cloud="aws",
    iam_actions=(
        "ec2:CancelSpotFleetRequests",
        "ec2:DescribeSpotFleetInstances",
        "ec2:DescribeSpotFleetRequestHistory",
        "ec2:DescribeSpotFleetRequests",
        "ec2:RequestSpotFleet",
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
        "ec2:CancelSpotFleetRequests",
        "ec2:CreateLaunchTemplate",
        "ec2:DeleteLaunchTemplate",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeSpotFleetInstances",
        "ec2:DescribeSpotFleetRequestHistory",
        "ec2:DescribeSpotFleetRequests",
        "ec2:DescribeSpotInstanceRequests",
        "ec2:RequestSpotFleet",
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
        "fleetRole",
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
        "request": "1 CreateLaunchTemplate and 1 RequestSpotFleet",
        "status of 1 to 50 settled requests": "1 DescribeInstances for each 1,000 machines",
        "status of 1 to 50 open requests": "1 DescribeInstances by tag and 1 DescribeSpotFleetRequests; 1 "
        "DescribeSpotFleetInstances for each one with more than EC2 shows, or 1 DescribeInstances for missing machines",
        "reasons for a shortfall": "1 DescribeSpotFleetRequestHistory for each request short after 60 s",
        "freeze": "1 CancelSpotFleetRequests for each 100 requests",
        "return of n machines": "1 TerminateInstances for each 1,000 machines",
        "getReturnRequests": "1 DescribeSpotInstanceRequests, 1 DescribeInstanceStatus, 1 DescribeInstances for each "
        "1,000 live machines, for all AWS plug-ins together",
    },
)


def problems(template: Template) -> tuple[Problem, ...]:
    """Find what is wrong with a template for SpotFleet."""
    from hfcore.aws import fleet_terms, validation

    return (*validation.common(template), *fleet_terms.problems(template), *_own(template))


def _own(template: Template) -> Iterator[Problem]:
    from hfcore.aws.validation import warning

    role = template.fleet_role
    if not role:
        hint = "the ARN of aws-ec2-spot-fleet-tagging-role, or providerApi EC2Fleet, which needs none"
        yield Problem(field="fleetRole", message="is missing: Spot Fleet works by it", hint=hint)
    elif not _ROLE.fullmatch(role):
        yield Problem(field="fleetRole", message=f"{role!r} is no role's ARN", hint="arn:aws:iam::ACCOUNT:role/NAME")
    if template.fleet_type not in (None, "request"):
        message = f"is {template.fleet_type}: SpotFleet serves type request only"
        yield Problem(field="fleetType", message=message, hint="use providerApi EC2Fleet")
    if template.price_type is None:
        yield warning("priceType", "is not given: everything is bought on demand, not Spot")
