"""Own what AWS plug-ins say of themselves alike: operations, permissions, template fields, call budgets. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.models import EMPTY, ProviderInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What the toolkit calls for each of them.
_OPERATIONS = """
    ec2:CreateLaunchTemplate ec2:DescribeImages ec2:DescribeInstanceStatus ec2:DescribeInstances
    ec2:DescribeLaunchTemplateVersions ec2:DescribeLaunchTemplates ec2:DescribeSpotInstanceRequests
    ec2:DeleteLaunchTemplate ec2:DescribeFleets ec2:TerminateInstances ec2:RunInstances
    ec2:DescribeInstanceTypeOfferings ec2:DescribeInstanceTypes ec2:DescribeKeyPairs ec2:DescribePlacementGroups
    ec2:DescribeSecurityGroups ec2:DescribeSubnets iam:GetInstanceProfile iam:GetRole sqs:DeleteMessageBatch
    sqs:ReceiveMessage ssm:GetParameter sts:GetCallerIdentity"""
ALLOWED_BY = {"sqs:DeleteMessageBatch": "sqs:DeleteMessage"}
"""Operations that IAM knows by the name of another one."""

# What AWS wants for those calls besides, in whatever API's name instances are launched.
_PERMISSIONS = "ec2:CreateTags iam:CreateServiceLinkedRole iam:PassRole"
_FIELDS = """
    templateId maxNumber attributes providerApi fleetType imageId subnetId vmType vmTypes vmTypesOnDemand
    vmTypesPriority priceType rootDeviceVolumeSize volumeType iops instanceTags keyName securityGroupIds fleetRole
    maxSpotPrice spotFleetRequestExpiry allocationStrategy allocationStrategyOnDemand percentOnDemand poolsCount
    instanceProfile userDataScript launchTemplateId launchTemplateVersion ebsOptimized placementGroupName
    placementPartition tenancy hostId hostResourceGroupArn interfaceType efaCount userData priority requestValidity
    onDemandTargetCapacityRatio capacityReservation ec2FleetConfig instanceRequirements launchTemplateData
    apiParameters"""
_RECLAIMS = (
    "1 DescribeSpotInstanceRequests, 1 DescribeInstanceStatus, 1 DescribeInstances for each 1,000 live machines, 1 "
    "DescribeAutoScalingGroups for each 100 groups that still launch, for all AWS plug-ins together; 1 "
    "DescribeInstances for each 1,000 hosts that no record names; with a queue 1 ReceiveMessage, and for each 10 "
    "messages 1 more and 1 DeleteMessageBatch"
)


def aws_provider(
    name: str,
    summary: str,
    *,
    operations: Iterable[str] = (),
    permissions: Iterable[str] = (),
    ignored: Mapping[str, str] = EMPTY,
    refused: Mapping[str, str] = EMPTY,
    call_budgets: Mapping[str, str],
) -> ProviderInfo:
    """Say what an AWS plug-in is.

    Args:
        name: The provider API.
        summary: One sentence.
        operations: What it calls besides the toolkit's calls, as `service:Operation`.
        permissions: IAM actions that it needs besides those of its calls and of every launch.
        ignored: Template fields that have no effect on this API, each with the reason.
        refused: Template fields that this API can't honour, each with the reason.
        call_budgets: Its calls at most, in words, besides those of getReturnRequests.
    """
    called = {*_OPERATIONS.split(), *operations}
    allowed = (ALLOWED_BY.get(one, one) for one in called)
    return ProviderInfo(
        name=name,
        hook_version=1,
        summary=summary,
        cloud="aws",
        iam_actions=tuple(sorted({*allowed, *_PERMISSIONS.split(), *permissions})),
        operations=tuple(sorted(called)),
        template_fields=tuple(field for field in _FIELDS.split() if field not in {*ignored, *refused}),
        without_effect=ignored,
        refused_fields=refused,
        call_budgets={**call_budgets, "getReturnRequests": _RECLAIMS},
    )
