"""Own the IAM policy that allows what AWS plug-ins need: each action on what is ours by its tags, where AWS can. Pure.

What an action may be restricted by is AWS's (Service Authorization Reference: EC2, EC2 Auto Scaling, IAM, SQS).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hfcore.aws.tags import OWNER
from hfcore.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hfcore.config import Settings
    from hfcore.models import ProviderInfo

    Statement = dict[str, Any]

MOST_CHARACTERS = 6144
"""Of a managed policy, spaces not counted (IAM quotas)."""

# What is changed carries our owner tag: by what condition that is said.
_OURS: Mapping[str, tuple[str, str]] = {
    "ec2:CancelSpotFleetRequests": ("OursInEc2", "aws:ResourceTag"),
    "ec2:DeleteFleets": ("OursInEc2", "aws:ResourceTag"),
    "ec2:DeleteLaunchTemplate": ("OursInEc2", "aws:ResourceTag"),
    "ec2:ModifyFleet": ("OursInEc2", "aws:ResourceTag"),
    "ec2:TerminateInstances": ("OursInEc2", "aws:ResourceTag"),
    "autoscaling:DeleteAutoScalingGroup": ("OurGroups", "autoscaling:ResourceTag"),
    "autoscaling:SuspendProcesses": ("OurGroups", "autoscaling:ResourceTag"),
    "autoscaling:TerminateInstanceInAutoScalingGroup": ("OurGroups", "autoscaling:ResourceTag"),
    # Made with our tag, or not at all.
    "autoscaling:CreateAutoScalingGroup": ("MadeOurs", "aws:RequestTag"),
    "autoscaling:CreateOrUpdateTags": ("MadeOurs", "aws:RequestTag"),
    "ec2:CreateLaunchTemplate": ("MadeOurs", "aws:RequestTag"),
}
# What a launch makes with our tag by the call itself; where a fleet or a group launches, the tags of machines stand in
# the launch template. Besides, it is checked on image, subnet and group, which have no tag of ours.
_LAUNCHES: Mapping[str, tuple[str, ...]] = {
    "ec2:CreateFleet": ("fleet",),
    "ec2:RequestSpotFleet": ("spot-fleet-request",),
    "ec2:RunInstances": ("instance", "volume"),
}
_BY_OTHERS = frozenset({"autoscaling:CreateAutoScalingGroup", "ec2:CreateFleet", "ec2:RequestSpotFleet"})
"""With one of these, RunInstances is checked for launches that others carry out."""
_TAGGING = (*_LAUNCHES, "ec2:CreateLaunchTemplate")
_READS = ("Describe", "Get")
_CHINA = ".cn"
# Action to the services that a launch by it hands a role to, and to those whose own role AWS makes at their first use.
_PASSED_TO = {"ec2:RunInstances": "ec2.amazonaws.com", "ec2:RequestSpotFleet": "spotfleet.amazonaws.com"}
_LINKED = {
    "ec2:RunInstances": "spot.amazonaws.com",
    "ec2:CreateFleet": "ec2fleet.amazonaws.com",
    "ec2:RequestSpotFleet": "spotfleet.amazonaws.com",
    "autoscaling:CreateAutoScalingGroup": "autoscaling.amazonaws.com",
}


@hookimpl
def access_policy(plugins: tuple[ProviderInfo, ...], owner: str, settings: Settings | None) -> dict[str, Any]:
    """Give the IAM policy of some plug-ins. Its queue is that of the settings; without settings, any."""
    actions = {action for info in plugins for action in info.iam_actions}
    if settings and not settings.reclaim_queue_url:
        actions = {action for action in actions if not action.startswith("sqs:")}
    return {"Version": "2012-10-17", "Statement": list(statements(actions, owner, _queue(settings)))}


def statements(actions: Iterable[str], owner: str = "", queue: str = "*") -> Iterator[Statement]:
    """Give the statements that allow actions.

    Args:
        actions: IAM actions, each as `service:Action`.
        owner: The value that our owner tag must have; empty for any.
        queue: ARN of the queue of messages.
    """
    left = set(actions)

    def take(*chosen: str) -> list[str]:
        taken = sorted(left & {*chosen})
        left.difference_update(taken)
        return taken

    passed, linked = (sorted({one for action, one in each.items() if action in left}) for each in (_PASSED_TO, _LINKED))
    created = sorted(action.partition(":")[2] for action in _TAGGING if action in left)
    made = [
        f"arn:*:ec2:*:*:{kind}/*"
        for action, kinds in _LAUNCHES.items()
        if action in left and not (action == "ec2:RunInstances" and left & _BY_OTHERS)
        for kind in kinds
    ]
    for sid, key in dict.fromkeys(_OURS.values()):
        mine = (action for action, how in _OURS.items() if how == (sid, key))
        yield from _allow(sid, take(*mine), condition=_tagged(f"{key}/{OWNER}", owner))
    launches = take(*_LAUNCHES)
    if made:
        yield from _allow("LaunchOurs", launches, made, condition=_tagged(f"aws:RequestTag/{OWNER}", owner))
    yield from _allow("Launch", launches, but=made)
    yield from _allow(
        "TagWhatIsMade", take("ec2:CreateTags"), condition={"StringEquals": {"ec2:CreateAction": created}}
    )
    to = {"StringEquals": {"iam:PassedToService": [*passed, *(f"{one}{_CHINA}" for one in passed)]}}
    yield from _allow("HandOverRoles", take("iam:PassRole"), condition=to)
    of = {"StringEquals": {"iam:AWSServiceName": linked}}
    yield from _allow("ServicesOwnRoles", take("iam:CreateServiceLinkedRole"), condition=of)
    yield from _allow("Queue", take("sqs:DeleteMessage", "sqs:ReceiveMessage"), queue)
    yield from _allow("Look", take(*(one for one in left if one.partition(":")[2].startswith(_READS))))
    yield from _allow("Others", take(*left))


def _allow(
    sid: str,
    actions: list[str],
    resource: str | list[str] = "*",
    *,
    but: list[str] | None = None,
    condition: Mapping[str, Any] | None = None,
) -> Iterator[Statement]:
    """Give the statement that allows actions, if there are any, on resources, or on all `but` some."""
    if actions:
        on = {"NotResource": but} if but else {"Resource": resource}
        yield {
            "Sid": sid,
            "Effect": "Allow",
            "Action": actions,
            **on,
            **({"Condition": condition} if condition else {}),
        }


def _tagged(key: str, owner: str) -> Mapping[str, Any]:
    return {"StringEquals": {key: owner}} if owner else {"Null": {key: "false"}}


def _queue(settings: Settings | None) -> str:
    """Give the queue's ARN by its URL (`https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`); of another form, any."""
    place = urlsplit(settings.reclaim_queue_url if settings else "")
    host, path = (place.hostname or "").split("."), place.path.strip("/").split("/")
    if host[0] != "sqs" or "amazonaws" not in host or len(path) != 2:  # noqa: PLR2004 - account and name
        return "*"
    partition = "aws-cn" if host[-1] == "cn" else "aws-us-gov" if host[1].startswith("us-gov-") else "aws"
    return f"arn:{partition}:sqs:{host[1]}:{path[0]}:{path[1]}"
