"""What is looked up and never changed: key pairs, groups, offerings, IAM's roles; and a queue, whose messages go."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from hfcore.testing.aws.instances import TYPES
from hfcore.testing.aws.protocol import AwsError, Params, at_most, find, matching, page

if TYPE_CHECKING:
    from hfcore.testing.aws.protocol import Fields
    from hfcore.testing.aws.world import Region

MOST_MESSAGES = 10


def describe_key_pairs(region: Region, params: Params) -> Params:
    """DescribeKeyPairs, all or by names; one that is not there fails the whole call."""
    names = params.get("KeyNames", [*region.key_pairs])
    for name in names:
        if name not in region.key_pairs:
            raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")
    return {"KeyPairs": [{"KeyName": name} for name in names]}


def describe_security_groups(region: Region, params: Params) -> Params:
    """DescribeSecurityGroups, all or by ids; one that is not there fails the whole call."""
    ids = params.get("GroupIds", [*region.security_groups])
    found = [(one, find(region.security_groups, one, r"sg-[0-9a-f]{8,17}", "InvalidGroup")) for one in ids]
    return {"SecurityGroups": [{"GroupId": one, "GroupName": name, "VpcId": region.vpc_id} for one, name in found]}


def describe_placement_groups(region: Region, params: Params) -> Params:
    """DescribePlacementGroups, all or by names; one that is not there fails the whole call."""
    names = params.get("GroupNames", [*region.placement_groups])
    for name in names:
        if name not in region.placement_groups:
            raise AwsError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
    found = ((name, region.placement_groups[name]) for name in names)
    return {"PlacementGroups": [{"GroupName": name, **described} for name, described in found]}


def describe_instance_type_offerings(region: Region, params: Params) -> Params:
    """DescribeInstanceTypeOfferings, by zone: every type that there is, but for what `not_offered` says."""
    names = [name for one in params.get("Filters", ()) if one["Name"] == "instance-type" for name in one["Values"]]
    zones = sorted({one.zone for one in region.subnets.values()})
    there = [(name, zone) for name in names if TYPES.fullmatch(name) for zone in zones]
    fields: Fields = {"instance-type": lambda one: [one[0]], "location": lambda one: [one[1]]}
    kept = matching([one for one in there if one not in region.not_offered], params, fields)
    shown = [{"InstanceType": name, "Location": zone, "LocationType": "availability-zone"} for name, zone in kept]
    return page(params, shown, "InstanceTypeOfferings", range(5, 1001))


def get_role(region: Region, params: Params) -> Params:
    """GetRole of IAM."""
    name = params["RoleName"]
    if name not in region.roles:
        raise AwsError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
    return {"Role": _role(region, name)}


def get_instance_profile(region: Region, params: Params) -> Params:
    """GetInstanceProfile of IAM, with its one role or none."""
    name = params["InstanceProfileName"]
    if name not in region.instance_profiles:
        raise AwsError("NoSuchEntity", f"Instance Profile {name} cannot be found.", 404)
    arn = f"arn:aws:iam::{region.account}:instance-profile/{name}"
    roles = [_role(region, role) for role in region.instance_profiles[name]]
    about = {"InstanceProfileName": name, "InstanceProfileId": "AIPASTRICTAWS", "Arn": arn, "Path": "/"}
    return {"InstanceProfile": about | {"CreateDate": 0.0, "Roles": roles}}


def _role(region: Region, name: str) -> Params:
    about = {"RoleName": name, "RoleId": "AROASTRICTAWS", "Arn": f"arn:aws:iam::{region.account}:role/{name}"}
    return about | {"Path": "/", "CreateDate": 0.0}


def receive_message(region: Region, params: Params) -> Params:
    """ReceiveMessage of SQS: at most ten; what is not deleted comes again."""
    at_most(region, MOST_MESSAGES, range(params.get("MaxNumberOfMessages", 1)))
    known = list(region.messages.items())[: params.get("MaxNumberOfMessages", 1)]
    return {"Messages": [{"MessageId": one, "ReceiptHandle": f"receipt-{one}", "Body": body} for one, body in known]}


def delete_message_batch(region: Region, params: Params) -> Params:
    """DeleteMessageBatch of SQS: at most ten; what is gone already is deleted."""
    at_most(region, MOST_MESSAGES, params["Entries"])
    for one in params["Entries"]:
        region.messages.pop(re.sub(r"^receipt-", "", one["ReceiptHandle"]), None)
    return {"Successful": [{"Id": one["Id"]} for one in params["Entries"]], "Failed": []}


def send(region: Region, body: str) -> None:
    """Put a message into the queue of a region, whatever its URL."""
    region.messages[secrets.token_hex(8)] = body
