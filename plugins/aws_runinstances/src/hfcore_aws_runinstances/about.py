"""Own what RunInstances says of itself, and of requests of other APIs that it stands in for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore.models import Fault, FaultKind, Outcome, ProviderInfo

if TYPE_CHECKING:
    from hfcore.models import Request

_ONE_POOL = "one call of RunInstances launches in one pool; types by vmTypesPriority and subnets are tried in order"

IGNORED = {
    "fleetType": "RunInstances makes no fleet",
    "fleetRole": "RunInstances makes no Spot fleet",
    "allocationStrategy": _ONE_POOL,
    "allocationStrategyOnDemand": _ONE_POOL,
    "poolsCount": _ONE_POOL,
}
"""Template fields without effect here, each with the reason."""

REFUSED = {"percentOnDemand": "can't be held to by RunInstances, which asks for one market at a time"}
"""Template fields that RunInstances can't honour, each with the reason."""

INFO = ProviderInfo(
    name="RunInstances",
    hook_version=1,
    summary="Machines by EC2 RunInstances, on demand and Spot, pool by pool.",
    cloud="aws",
    iam_actions=(
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
        "iam:PassRole",
    ),
    operations=(
        "ec2:CreateLaunchTemplate",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeSpotInstanceRequests",
        "ec2:RunInstances",
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
        "instanceProfile",
        "userDataScript",
        "launchTemplateId",
        "launchTemplateVersion",
    ),
    call_budgets={
        "request of n machines": "⌈n/500⌉ RunInstances, and 1 CreateLaunchTemplate for a template not yet known",
        "status of 1 to 50 requests": "1 DescribeInstances for each 1,000 machines",
        "return of n machines": "1 TerminateInstances for each 1,000 machines",
        "getReturnRequests": "1 DescribeSpotInstanceRequests, 1 DescribeInstanceStatus, 1 DescribeInstances for each "
        "1,000 live machines, for all AWS plug-ins together",
    },
)


def is_foreign(request: Request) -> bool:
    """Tell whether another API made the request, whose plug-in is not installed."""
    return bool(request.provider_api) and request.provider_api.lower() != INFO.name.lower()


def would_be_replaced(request: Request) -> bool:
    """Tell whether a machine of this request, ended here, would come back."""
    return is_foreign(request) and request.refills and not request.frozen


def foreign_message(request: Request) -> str:
    """Say how the machines of another API's request were found."""
    return f"found by tag, because the plug-in of {request.provider_api} is not installed: install {_missing(request)}"


def not_installed(request: Request) -> Fault:
    """Give the reason why nothing can be done for another API's resource here."""
    message = f"needs the plug-in of {request.provider_api}, which is not installed: install {_missing(request)}"
    subject = ", ".join(request.resource_ids)
    return Fault(code="PluginNotInstalled", message=message, kind=FaultKind.TRANSIENT, subject=subject)


def outcome(request: Request) -> Outcome:
    """Give the outcome where RunInstances has nothing to do, and for another API's resource can do nothing."""
    if not is_foreign(request):
        return Outcome(request_id=request.request_id, done=True)
    return Outcome(request_id=request.request_id, done=False, faults=(not_installed(request),))


def _missing(request: Request) -> str:
    return request.distribution or f"a plug-in that serves {request.provider_api}"
