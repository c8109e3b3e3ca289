"""Own what can be said of the way to AWS without making anything: who asks, clock, endpoints, and what is allowed."""

from __future__ import annotations

import time
from datetime import UTC
from typing import TYPE_CHECKING, Any

from hfcore.aws import tags
from hfcore.aws.calls import ask, each
from hfcore.aws.clients import OUT_OF_TIME
from hfcore.aws.errors import failures, fault
from hfcore.aws.instances import describe_live
from hfcore.aws.owned import launch_templates
from hfcore.errors import CloudError, HfcoreError
from hfcore.hookspecs import hookimpl
from hfcore.models import Check, Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from hfcore.context import Context
    from hfcore.models import CheckStatus

MOST_SKEW, ODD_SKEW = 300.0, 30.0
"""Seconds: AWS refuses what is signed more than five minutes off; who keeps time by NTP is never half a minute off."""

SLOW = 1.0
"""Seconds of a small question, from which an endpoint counts as slow."""

POLICY = "attach the policy that `hfcore iam-policy` prints"

_UNASKED = frozenset({FaultKind.THROTTLE, FaultKind.TRANSIENT})
_FLEET_TAG, _SPOT_FLEET_TAG = "aws:ec2:fleet-id", "aws:ec2spot:fleet-request-id"
_FLEET = "fleet-00000000-0000-0000-0000-000000000000"
_SPOT_FLEET = "sfr-00000000-0000-0000-0000-000000000000"
# What a question must name, so that it can be put to DryRun.
_NAMING: Mapping[str, Mapping[str, Any]] = {
    "DescribeFleetHistory": {"FleetId": _FLEET, "StartTime": 0},
    "DescribeFleetInstances": {"FleetId": _FLEET},
    "DescribeSpotFleetInstances": {"SpotFleetRequestId": _SPOT_FLEET},
    "DescribeSpotFleetRequestHistory": {"SpotFleetRequestId": _SPOT_FLEET, "StartTime": 0},
}
_LAUNCH_TEMPLATE = "CreateLaunchTemplate"
_WHY_NOT = {
    "ec2": "EC2 decides by what they are done to, and nothing of ours is there to try them on",
    "autoscaling": "Auto Scaling has no DryRun",
    "iam": "IAM has no DryRun",
    "sqs": "SQS has no DryRun",
    "ssm": "SSM has no DryRun; the images of templates are looked up",
}
_ELSEWHERE = {
    "CreateTags": "is asked for by launches alone",
    "RequestSpotFleet": "needs a role",
    "RunInstances": "is tried with each template",
}
"""Why actions of EC2's are not tried among the others."""


def rehearse(context: Context, operation: str, parameters: Mapping[str, Any]) -> Fault | None:
    """Put a call to EC2's DryRun; give what speaks against it, `None` if nothing does. Nothing is made or changed."""
    from botocore import xform_name

    try:
        getattr(context.clients("ec2", "patient"), xform_name(operation))(**parameters, DryRun=True)
    except failures() as error:
        found = fault(error, operation)
        return None if found.code == "DryRunOperation" else found
    return Fault(code="DryRunIgnored", message="the endpoint has no DryRun, and has carried it out", subject=operation)


def refusal(name: str, found: Fault) -> Check:
    """Give a fault as a check: what AWS could not be asked for now, is not checked."""
    where = f" ({found.subject})" if found.subject else ""
    status: CheckStatus = "not checked" if found.kind in _UNASKED else "error"
    if found.code == OUT_OF_TIME:
        return Check(name=name, status=status, message="out of time")
    return Check(name=name, status=status, message=f"{found.code}{where}: {found.message}", hint=found.hint)


@hookimpl
def check_account(actions: tuple[str, ...], accounts: Mapping[str, int], context: Context) -> tuple[Check, ...]:
    """Look at credentials, clock, endpoints and IAM actions; nothing but the first two where that fails."""
    try:
        who, when = _identity(context)
    except HfcoreError as error:
        when = _date(error.__cause__)
        return (*_nobody(error), *((clock(context.clock.now(), when),) if when else ()))
    return (
        Check(name="credentials", status="ok", message=str(who["Arn"])),
        account(str(who["Account"]), context.region, accounts),
        clock(context.clock.now(), when),
        *(row for rows in each(lambda look: look(context, actions), (_endpoints, permissions)) for row in rows),
    )


def account(answering: str, region: str, lived_in: Mapping[str, int]) -> Check:
    """Hold the account that answers to those in which stored requests live. Pure."""
    name, told = "account and region", f"account {answering}, region {region}"
    others = [f"{count} in account {one}" for one, count in sorted(lived_in.items()) if one != answering]
    if not others:
        return Check(name=name, status="ok", message=told)
    told = f"{told}; stored requests live elsewhere: {', '.join(others)}"
    hint = "use that account's credentials until these requests are over: others neither see nor end their machines"
    return Check(name=name, status="error", message=told, hint=hint)


def _nobody(error: HfcoreError) -> tuple[Check, ...]:
    """Say why it is not known who asks: AWS does not know the credentials, or can't be reached."""
    name, told = "credentials", error.fault if isinstance(error, CloudError) else None
    if told is None or told.kind not in _UNASKED:
        message = f"{told.code}: {told.message}" if told else str(error)
        return (Check(name=name, status="error", message=message, hint=error.hint or (told.hint if told else "")),)
    unasked = Check(name=name, status="not checked", message="see endpoint sts")
    return unasked, Check(name="endpoint sts", status="error", message=f"{told.code}: {told.message}", hint=told.hint)


def _identity(context: Context) -> tuple[Mapping[str, Any], datetime | None]:
    answer = ask(context, "sts", "GetCallerIdentity")
    return answer, _dated(answer)


def _date(error: BaseException | None) -> datetime | None:
    return _dated(getattr(error, "response", None) or {})


def _dated(answer: Mapping[str, Any]) -> datetime | None:
    """Read when AWS answered, by its header `Date`."""
    from email.utils import parsedate_to_datetime

    text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None


def clock(ours: datetime, aws: datetime | None) -> Check:
    """Compare this host's clock with AWS's. Pure."""
    if aws is None:
        return Check(name="clock", status="not checked", message="AWS's answer has no Date")
    off = (ours - aws).total_seconds()
    size = abs(off)
    way = "ahead of" if off > 0 else "behind"
    message = "as AWS's" if size <= ODD_SKEW else f"{size:.0f} s {way} AWS's"
    status: CheckStatus = "ok" if size <= ODD_SKEW else "warning" if size <= MOST_SKEW else "error"
    hint = "" if status == "ok" else "keep time by NTP: run chronyd or systemd-timesyncd; see: chronyc tracking"
    return Check(name="clock", status=status, message=message, hint=hint)


def _endpoints(context: Context, actions: tuple[str, ...]) -> tuple[Check, ...]:
    """Ask each service that the plug-ins need most a small question, twice: the first one opens the connection."""
    questions = {"ec2": ("DescribeLaunchTemplates", {"MaxResults": 1})}
    if "autoscaling:DescribeAutoScalingGroups" in actions:
        questions["autoscaling"] = ("DescribeAutoScalingGroups", {"MaxRecords": 1})
    return each(lambda service: _endpoint(context, service, *questions[service]), questions)


def _endpoint(context: Context, service: str, operation: str, parameters: Mapping[str, Any]) -> Check:
    name = f"endpoint {service}"
    try:
        ask(context, service, operation, parameters)
        begun = time.perf_counter()
        ask(context, service, operation, parameters)
    except HfcoreError as error:
        told = getattr(error, "fault", None)
        if told is not None and told.code == OUT_OF_TIME:
            return refusal(name, told)
        if told is not None and told.kind is FaultKind.PERMISSION:
            return Check(name=name, status="error", message=f"{told.code}: {operation} is not allowed", hint=POLICY)
        return Check(name=name, status="error", message=str(error), hint=error.hint)
    return latency(name, time.perf_counter() - begun)


def latency(name: str, seconds: float) -> Check:
    """Judge how long a small question takes. Pure."""
    message = f"answers within {seconds * 1000:.0f} ms"
    if seconds < SLOW:
        return Check(name=name, status="ok", message=message)
    return Check(name=name, status="warning", message=message, hint="look for a slow proxy, or use a VPC endpoint")


def permissions(context: Context, actions: tuple[str, ...]) -> tuple[Check, ...]:
    """Try by DryRun what EC2 lets be tried; what can't be tried is told by service, with the reason."""
    by_service: dict[str, list[str]] = {}
    for action in actions:
        service, _, name = action.partition(":")
        by_service.setdefault(service, []).append(name)
    names = by_service.pop("ec2", [])
    trials = {name: _trial(context, name) for name in names if name.startswith("Describe") or name == _LAUNCH_TEMPLATE}
    found = _tried(context, trials)
    if "DescribeInstances" in found and found["DescribeInstances"] is None:  # DryRun is held to here
        ours = _on_ours(context)
        found |= _tried(context, {name: ours[name] for name in names if name in ours})
    rest = {"ec2": [name for name in names if name not in found], **by_service}
    rest.pop("sts", None)  # needs no right
    return (*_judged(found), *(_untried(service, rest[service]) for service in rest if rest[service]))


def _tried(context: Context, trials: Mapping[str, Mapping[str, Any]]) -> dict[str, Fault | None]:
    return dict(zip(trials, each(lambda name: rehearse(context, name, trials[name]), trials), strict=True))


def _trial(context: Context, name: str) -> Mapping[str, Any]:
    if name != _LAUNCH_TEMPLATE:
        return _NAMING.get(name, {})
    data = {"MetadataOptions": {"HttpTokens": "required"}}
    return {"LaunchTemplateName": "hfcore-doctor", "LaunchTemplateData": data, **_tags(context, "launch-template")}


def _tags(context: Context, kind: str) -> Mapping[str, Any]:
    return {"TagSpecifications": tags.specifications(tags.ours(context, "doctor"), kind)}


def _on_ours(context: Context) -> dict[str, Mapping[str, Any]]:
    """Give what changes and launches would be done to or with, where something of ours is there: by operation."""
    try:
        live = describe_live(context).instances.values()
        template_ids = [one.launch_templates[0] for one in launch_templates(context)]
    except HfcoreError:
        return {}
    trials: dict[str, Mapping[str, Any]] = {}
    for one in live:
        trials["TerminateInstances"] = {"InstanceIds": [one.instance_id]}
        if fleet := one.tags.get(_FLEET_TAG):
            trials["ModifyFleet"] = {"FleetId": fleet}
            trials["DeleteFleets"] = {"FleetIds": [fleet], "TerminateInstances": False}
        if fleet := one.tags.get(_SPOT_FLEET_TAG):
            trials["CancelSpotFleetRequests"] = {"SpotFleetRequestIds": [fleet], "TerminateInstances": False}
    for one_id in template_ids[:1]:
        trials["DeleteLaunchTemplate"] = {"LaunchTemplateId": one_id}
        named = {"LaunchTemplateSpecification": {"LaunchTemplateId": one_id, "Version": "$Default"}}
        target = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}
        fleet_of_one = {"LaunchTemplateConfigs": [named], "TargetCapacitySpecification": target, "Type": "instant"}
        trials["CreateFleet"] = {**fleet_of_one, **_tags(context, "fleet")}
    return trials


def _judged(found: Mapping[str, Fault | None]) -> tuple[Check, ...]:
    name = "IAM actions"
    missing = sorted(f"ec2:{one}" for one, why in found.items() if why and why.kind is FaultKind.PERMISSION)
    unsure = sorted(f"ec2:{one} ({why.code})" for one, why in found.items() if why and f"ec2:{one}" not in missing)
    allowed = sum(why is None for why in found.values())
    checks = [Check(name=name, status="ok", message=f"{allowed} tried by DryRun are allowed")] if allowed else []
    if missing:
        checks.append(Check(name=name, status="error", message=f"not allowed: {', '.join(missing)}", hint=POLICY))
    if unsure:
        checks.append(Check(name=name, status="not checked", message=f"EC2 answers otherwise: {', '.join(unsure)}"))
    return tuple(checks)


def _untried(service: str, names: list[str]) -> Check:
    plain = [f"{service}:{name}" for name in sorted(names) if name not in _ELSEWHERE]
    why = f"{_WHY_NOT.get(service, 'it has no DryRun')}: {', '.join(plain)}" if plain else ""
    others = (f"{service}:{name} {_ELSEWHERE[name]}" for name in sorted(names) if name in _ELSEWHERE)
    return Check(name="IAM actions", status="not checked", message="; ".join(filter(None, (why, *others))))
