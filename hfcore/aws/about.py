"""Own what AWS plug-ins say of themselves alike: operations, permissions, template fields, call budgets. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.models import ProviderInfo

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

# What the toolkit calls for each of them.
_OPERATIONS = """
    ec2:CreateLaunchTemplate ec2:DescribeImages ec2:DescribeInstanceStatus ec2:DescribeInstances
    ec2:DescribeLaunchTemplateVersions ec2:DescribeLaunchTemplates ec2:DescribeSpotInstanceRequests
    ec2:TerminateInstances ssm:GetParameter sts:GetCallerIdentity"""
# What AWS wants for those calls besides, in whatever API's name instances are launched.
_PERMISSIONS = "ec2:CreateTags ec2:RunInstances iam:PassRole"
_FIELDS = """
    templateId maxNumber attributes providerApi fleetType imageId subnetId vmType vmTypes vmTypesOnDemand
    vmTypesPriority priceType rootDeviceVolumeSize volumeType iops instanceTags keyName securityGroupIds fleetRole
    maxSpotPrice spotFleetRequestExpiry allocationStrategy allocationStrategyOnDemand percentOnDemand poolsCount
    instanceProfile userDataScript launchTemplateId launchTemplateVersion"""
_RECLAIMS = (
    "1 DescribeSpotInstanceRequests, 1 DescribeInstanceStatus, 1 DescribeInstances for each 1,000 live machines, for "
    "all AWS plug-ins together"
)


def aws_provider(
    name: str,
    summary: str,
    *,
    operations: Iterable[str],
    permissions: Iterable[str] = (),
    without: Collection[str] = (),
    call_budgets: Mapping[str, str],
) -> ProviderInfo:
    """Say what an AWS plug-in is.

    Args:
        name: The provider API.
        summary: One sentence.
        operations: What it calls besides the toolkit's calls, as `service:Operation`.
        permissions: IAM actions that it needs besides those of its calls and of every launch.
        without: Template fields that it does not honour.
        call_budgets: Its calls at most, in words, besides those of getReturnRequests.
    """
    called = {*_OPERATIONS.split(), *operations}
    return ProviderInfo(
        name=name,
        hook_version=1,
        summary=summary,
        cloud="aws",
        iam_actions=tuple(sorted({*called, *_PERMISSIONS.split(), *permissions})),
        operations=tuple(sorted(called)),
        template_fields=tuple(field for field in _FIELDS.split() if field not in without),
        call_budgets={**call_budgets, "getReturnRequests": _RECLAIMS},
    )
