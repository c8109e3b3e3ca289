"""What callers see of instances: DescribeInstances, DescribeInstanceStatus, DescribeSpotInstanceRequests."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from hfcore.testing.aws.catalogue import OWNER
from hfcore.testing.aws.protocol import AwsError, Params, Raw, service_model, xml
from hfcore.testing.aws.select import at_most, find, matching, page, tag_list

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from botocore.model import Shape

    from hfcore.testing.aws.instances import Instance, SpotRequest
    from hfcore.testing.aws.world import Region

ID = re.compile(r"i-[0-9a-f]{8}([0-9a-f]{9})?")
PAGE = range(5, 1001)
MAX_IDS = 1000
STATUS_IDS = 100

INSTANCE_FIELDS: Mapping[str, Callable[[Instance], str]] = {
    "instance-id": lambda i: i.id,
    "instance-state-name": lambda i: i.state,
    "instance-state-code": lambda i: str(i.described_state["Code"]),
    "instance-type": lambda i: i.plan.type,
    "instance-lifecycle": lambda i: "spot" if i.plan.market == "spot" else "",
    "image-id": lambda i: str(i.plan.image["ImageId"]),
    "client-token": lambda i: i.token,
    "reservation-id": lambda i: i.reservation,
    "spot-instance-request-id": lambda i: i.spot_request.id if i.spot_request else "",
    "subnet-id": lambda i: "" if i.state == "terminated" else i.plan.subnet.id,
    "vpc-id": lambda i: "" if i.state == "terminated" else i.plan.subnet.vpc_id,
    "availability-zone": lambda i: i.plan.subnet.zone,
    "private-ip-address": lambda i: "" if i.state == "terminated" else i.address,
    "private-dns-name": lambda i: "" if i.state == "terminated" else host_name(i),
}
STATUS_FIELDS: Mapping[str, Callable[[Instance], str | Sequence[str]]] = {
    "event.code": lambda i: [str(e["Code"]) for e in i.events],
    "instance-state-name": lambda i: i.state,
    "instance-status.status": lambda i: _health(i)["Status"],
    "system-status.status": lambda i: _health(i)["Status"],
    "availability-zone": lambda i: i.plan.subnet.zone,
}
SPOT_FIELDS: Mapping[str, Callable[[SpotRequest], str]] = {
    "instance-id": lambda r: r.instance.id,
    "status-code": lambda r: r.code,
    "state": lambda r: r.state,
    "spot-instance-request-id": lambda r: r.id,
}


def host_name(instance: Instance) -> str:
    """Give the private DNS name; us-east-1 spells its domain otherwise than the rest."""
    region = instance.plan.subnet.region
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{instance.address.replace('.', '-')}.{domain}"


@lru_cache
def _shape() -> Shape:
    return service_model("ec2").shape_for("Instance")


def fragment(instance: Instance) -> Raw:
    """Serialise an instance, once for each change of it."""
    if instance.fragment is None:
        instance.fragment = Raw(xml(_shape(), _describe(instance), "item"))
    return instance.fragment


def _describe(instance: Instance) -> Params:
    plan, gone, zone = instance.plan, instance.state == "terminated", instance.plan.subnet.zone
    profile = plan.params.get("IamInstanceProfile", {})
    name = profile.get("Name", "")
    arn = profile.get("Arn") or (f"arn:aws:iam::{OWNER}:instance-profile/{name}" if name else None)
    reason = instance.reason
    found: Params = {
        "InstanceId": instance.id,
        "ImageId": plan.image["ImageId"],
        "State": instance.described_state,
        "PrivateDnsName": "" if gone else host_name(instance),
        "PublicDnsName": "",
        "InstanceType": plan.type,
        "StateTransitionReason": instance.transition,
        "KeyName": plan.params.get("KeyName"),
        "AmiLaunchIndex": instance.index,
        "EbsOptimized": plan.params.get("EbsOptimized", False),
        "LaunchTime": instance.launched,
        "Placement": {"AvailabilityZone": zone, "GroupName": "", "Tenancy": "default"},
        "Monitoring": {"State": "disabled"},
        "Architecture": plan.image["Architecture"],
        "ClientToken": instance.token,
        "RootDeviceName": plan.image["RootDeviceName"],
        "RootDeviceType": "ebs",
        "IamInstanceProfile": {"Arn": arn} if arn else None,
        "SecurityGroups": [] if gone else plan.groups,
        "StateReason": {"Code": reason[0], "Message": f"{reason[0]}: {reason[1]}"} if reason else None,
        "Tags": tag_list(instance.tags),
        "Hypervisor": "xen",
        "VirtualizationType": "hvm",
    }
    if plan.market == "spot" and instance.spot_request:
        found |= {"InstanceLifecycle": "spot", "SpotInstanceRequestId": instance.spot_request.id}
    if not gone:
        found |= {"SubnetId": plan.subnet.id, "VpcId": plan.subnet.vpc_id, "PrivateIpAddress": instance.address}
    if plan.public and instance.state == "running":
        public = "54." + instance.address.split(".", 1)[1]
        found |= {"PublicIpAddress": public, "PublicDnsName": f"ec2-{public.replace('.', '-')}.compute-1.amazonaws.com"}
    return found


def reservation(instances: Sequence[Instance]) -> Params:
    """Describe a reservation's instances (never an empty list)."""
    parts = [fragment(i) for i in instances]
    return {"ReservationId": instances[0].reservation, "OwnerId": OWNER, "Groups": [], "Instances": parts}


def by_ids(region: Region, ids: Sequence[str]) -> list[Instance]:
    """Find instances by id, each once; one malformed, unknown or not yet visible fails the whole call."""
    for one in ids:
        if not ID.fullmatch(one):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{one}"')
    unique = dict.fromkeys(ids)
    known = {i: region.instances[i] for i in unique if i in region.instances}
    visible = {i: one for i, one in known.items() if _visible(region, one)}
    missing = [i for i in unique if i not in visible]
    if missing:
        many = len(missing) > 1
        text = f"The instance ID{'s' * many} '{', '.join(missing)}' do{'es' * (not many)} not exist"
        raise AwsError("InvalidInstanceID.NotFound", text)
    return list(visible.values())


def _visible(region: Region, instance: Instance) -> bool:
    # EC2 developer guide, eventual consistency: what was launched may not be there yet.
    return instance.visible_at <= region.timeline.now()


def _limit(params: Params) -> int:
    limit: int = params.get("MaxResults", PAGE[-1])
    if limit not in PAGE:
        raise AwsError("InvalidParameterValue", f"Value ( {limit} ) for maxResults is not between 5 and 1000.")
    return limit


def _selected(region: Region, params: Params, limit: int) -> list[Instance]:
    ids = params.get("InstanceIds", ())
    if ids and "MaxResults" in params:
        text = "The parameter instancesSet cannot be used with the parameter maxResults"
        raise AwsError("InvalidParameterCombination", text)
    at_most(region, limit, ids)
    if ids:
        return by_ids(region, ids)
    return [i for i in region.instances.values() if _visible(region, i)]


def describe_instances(region: Region, params: Params) -> Params:
    """DescribeInstances: by ids all at once, else pages of MaxResults (1000) instances."""
    found = _selected(region, params, MAX_IDS)
    kept = matching(found, params.get("Filters", []), INSTANCE_FIELDS, lambda i: i.tags)
    part, token = page(kept, _limit(params), params.get("NextToken"))
    groups = itertools.groupby(part, key=lambda i: i.reservation)
    return {"Reservations": [reservation(list(one)) for _, one in groups], "NextToken": token}


def _health(instance: Instance) -> Params:
    status = "ok" if instance.state == "running" else "not-applicable"
    return {"Status": status, "Details": [{"Name": "reachability", "Status": "passed"}] if status == "ok" else []}


def describe_instance_status(region: Region, params: Params) -> Params:
    """DescribeInstanceStatus: running ones only, unless IncludeAllInstances; at most 100 explicit ids."""
    found = _selected(region, params, STATUS_IDS)
    if not params.get("IncludeAllInstances"):
        found = [i for i in found if i.state == "running"]
    kept = matching(found, params.get("Filters", []), STATUS_FIELDS, lambda i: i.tags)
    part, token = page(kept, _limit(params), params.get("NextToken"))
    statuses = [
        {
            "InstanceId": i.id,
            "AvailabilityZone": i.plan.subnet.zone,
            "InstanceState": i.described_state,
            "InstanceStatus": _health(i),
            "SystemStatus": _health(i),
            "Events": i.events,
        }
        for i in part
    ]
    return {"InstanceStatuses": statuses, "NextToken": token}


def describe_spot_instance_requests(region: Region, params: Params) -> Params:
    """DescribeSpotInstanceRequests: by ids, or filtered in pages of MaxResults (5 to 1000)."""
    ids = params.get("SpotInstanceRequestIds", ())
    known = region.spot_requests
    items = [find(known, i, r"sir-[0-9a-z]+", "InvalidSpotInstanceRequestID") for i in ids or known]
    kept = matching(items, params.get("Filters", []), SPOT_FIELDS, lambda r: r.tags)
    part, token = page(kept, _limit(params), params.get("NextToken"))
    return {"SpotInstanceRequests": [_describe_request(r) for r in part], "NextToken": token}


def _describe_request(request: SpotRequest) -> Params:
    return {
        "SpotInstanceRequestId": request.id,
        "InstanceId": request.instance.id,
        "State": request.state,
        "Type": "one-time",
        "Status": {"Code": request.code, "UpdateTime": request.updated, "Message": f"The request is {request.code}."},
        "CreateTime": request.created,
        "InstanceInterruptionBehavior": "terminate",
        "ProductDescription": "Linux/UNIX",
        "LaunchedAvailabilityZone": request.instance.plan.subnet.zone,
        "Tags": tag_list(request.tags),
    }
