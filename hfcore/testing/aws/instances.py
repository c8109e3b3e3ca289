"""Instances: how one is resolved from parameters and template, launched, seen by callers, lives and ends."""

from __future__ import annotations

import itertools
import re
import secrets
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from hfcore.testing.aws import hardware
from hfcore.testing.aws.protocol import AwsError, Params, Raw, at_most, find, fragment, matching, page, tag_list
from hfcore.testing.aws.templates import check_user_data, collect_tags, find_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hfcore.testing.aws.filling import Holder
    from hfcore.testing.aws.templates import Template
    from hfcore.testing.aws.world import Pool, Region, Subnet

    Tags = dict[str, str]

ID = re.compile(r"i-[0-9a-f]{8}([0-9a-f]{9})?")
TYPES = re.compile(
    r"(m5|m5a|m6i|c5|c5a|c6i|r5|t3)\.(micro|small|medium|(2|4|8|12|16)?x?large)|c5n\.18xlarge|p4d\.24xlarge"
)
MAX_IDS, MAX_STATUS_IDS, MAX_TYPES, PAGE = 1000, 100, 100, range(5, 1001)
TAGGABLE = {"instance", "volume", "network-interface", "spot-instances-request"}
DESCRIBED = ("InstanceType", "ImageId", "KeyName", "EbsOptimized", "CapacityReservationSpecification")
STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopped": 80}
SPOT_NOTICE_SECONDS = 120
SPOT_REQUEST_KEPT_SECONDS = 4 * 3600
USER = ("Client.UserInitiatedShutdown", "User initiated shutdown")
RECLAIMED = ("Server.SpotInstanceTermination", "Spot instance termination")
SHORTAGE = "We currently do not have sufficient {} capacity in the Availability Zone you requested ({})."
BESIDE_CARD = "Network interfaces and an instance-level {} may not be specified on the same request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A launch, checked and resolved: `params` are RunInstances' with the template's beneath them."""

    params: Params
    template: Template | None
    subnet: Subnet
    market: str
    pool: Pool
    tags: Mapping[str, str]


class Instance:
    """One machine; `described` and `spot_request` are kept in the API's own words."""

    weight = 1.0  # in the units of its fleet or group
    healthy = True

    def __init__(self, region: Region, plan: Blueprint, owner: Holder | None, tags: Tags, launched: Params) -> None:
        now, subnet, address = region.timeline.now(), plan.subnet, str(IPv4Address(plan.subnet.free.popleft()))
        domain = "ec2.internal" if region.name == "us-east-1" else f"{region.name}.compute.internal"
        names = {"PrivateIpAddress": address, "PrivateDnsName": f"ip-{address.replace('.', '-')}.{domain}"}
        placed = plan.params.get("Placement", {}) | {"AvailabilityZone": subnet.zone}
        place = {"SubnetId": subnet.id, "VpcId": subnet.vpc_id, "Placement": placed}
        asked = {name: plan.params.get(name) for name in DESCRIBED}
        asked |= hardware.describe(plan.params)
        self.id, self.reservation = f"i-0{secrets.token_hex(8)}", launched["ReservationId"]
        about = {"InstanceId": self.id, "LaunchTime": now // 1, "Tags": tag_list(tags)}
        self.described: Params = {**launched, **about, **asked, **place, **names}
        self.described["CpuOptions"] = _cpus(plan.pool[0]) | plan.params.get("CpuOptions", {})
        self.region, self.plan, self.owner, self.tags = region, plan, owner, tags
        self.visible_at = now + region.timings.visible_after_seconds
        self.leaving: Params = {}  # the activity by which it leaves its group
        self.events: list[Params] = []
        self.spot_request: Params = {}
        self._change("pending")
        if plan.market == "spot":
            request = {"SpotInstanceRequestId": f"sir-{secrets.token_hex(4)}", "InstanceId": self.id}
            self.spot_request = request | {"State": "active", "Status": {"Code": "fulfilled", "UpdateTime": now}}
            self.described |= request | {"InstanceLifecycle": "spot"}
            region.spot_requests[request["SpotInstanceRequestId"]] = self.spot_request
        region.instances[self.id] = self
        region.timeline.later(region.timings.boot_seconds, self._boot)

    @property
    def live(self) -> bool:
        """Tell whether it is pending or running."""
        return self.state in {"pending", "running"}

    def _change(self, state: str, **members: object) -> None:
        self.state = state
        self.fragment: Raw | None = None
        self.described |= {"State": {"Code": STATE_CODES[state], "Name": state}, **members}

    def _boot(self) -> None:
        if self.state == "pending":
            self._change("running")

    def end(self, reason: tuple[str, str] = USER) -> None:
        """Begin to shut down; one that ends already goes on as it did."""
        if self.live:
            self._change("shutting-down", StateReason={"Code": reason[0], "Message": ": ".join(reason)})
            self._close_request("instance-terminated-by-user")
            self.region.timeline.later(self.region.timings.shutdown_seconds, self._finish)
            if self.owner:
                self.owner.lost(self)

    def _finish(self) -> None:
        self.plan.subnet.free.append(int(IPv4Address(self.described["PrivateIpAddress"])))
        self.region.live[self.plan.pool] -= 1
        self._change("terminated", PrivateDnsName="", PrivateIpAddress=None, SubnetId=None, VpcId=None)
        if self.owner:
            self.owner.ended(self)
        forget = partial(self.region.instances.pop, self.id, None)
        self.region.timeline.later(self.region.timings.aged_out_seconds, forget)

    def reclaim(self) -> None:
        """Give the Spot notice: the request's status changes now, the instance ends in 120 s (EC2 user guide)."""
        if not (self.live and self.spot_request.get("State") == "active"):
            raise ValueError(f"{self.id} is not a live Spot instance")
        self._close_request("instance-terminated-no-capacity")
        self.region.timeline.later(SPOT_NOTICE_SECONDS, partial(self.end, RECLAIMED))

    def _close_request(self, code: str) -> None:
        if self.spot_request.get("State") == "active":
            status = {"Code": code, "UpdateTime": self.region.timeline.now(), "Message": f"The request is {code}."}
            self.spot_request |= {"State": "closed", "Status": status}
            forget = partial(self.region.spot_requests.pop, self.spot_request["SpotInstanceRequestId"], None)
            self.region.timeline.later(SPOT_REQUEST_KEPT_SECONDS, forget)


def _cpus(kind: str) -> Params:
    """Give the cores of a type, each of two threads as of all types here: xlarge has two, smaller ones have one."""
    times = re.search(r"(\d*)xlarge", kind)
    return {"CoreCount": 2 * int(times[1] or 1) if times else 1, "ThreadsPerCore": 2}


def describe_instance_types(region: Region, params: Params) -> Params:
    """DescribeInstanceTypes, by names alone; one that is not there fails the whole call."""
    names = params["InstanceTypes"]
    at_most(region, MAX_TYPES, names)
    unknown = [name for name in names if not TYPES.fullmatch(name)]
    if unknown:
        text = f"The following supplied instance types do not exist: [{', '.join(unknown)}]"
        raise AwsError("InvalidInstanceType", text)
    return {"InstanceTypes": [_described_type(name) for name in names]}


def _described_type(name: str) -> Params:
    cpus = _cpus(name)
    cores, threads = cpus["CoreCount"], cpus["ThreadsPerCore"]
    processors = {"DefaultVCpus": cores * threads, "DefaultCores": cores, "DefaultThreadsPerCore": threads}
    per_core = {"c": 4096, "r": 16384}.get(name[0], 8192)
    small = {"micro": 1024, "small": 2048, "medium": 4096}
    return {
        "InstanceType": name,
        "VCpuInfo": processors,
        "MemoryInfo": {"SizeInMiB": small.get(name.partition(".")[2], per_core * cores)},
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
    }


def resolve(region: Region, params: Params, market: str = "") -> Blueprint:
    """Merge RunInstances' parameters over their template's and check what they name; `market` beats what they say."""
    template = find_version(region, params["LaunchTemplate"]) if "LaunchTemplate" in params else None
    beneath = template.data if template else {}
    merged = beneath | {key: value for key, value in params.items() if key != "LaunchTemplate"}
    specifications = [*beneath.get("TagSpecifications", ()), *params.get("TagSpecifications", ())]
    cards: list[Params] = merged.get("NetworkInterfaces", [])
    card: Params = next(iter(cards), {})
    if card and "SecurityGroupIds" in merged:
        raise AwsError("InvalidParameterCombination", BESIDE_CARD.format("security groups"))
    if "ImageId" not in merged:
        raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
    image: str = merged["ImageId"]
    merged["ImageId"] = region.parameters.get(image.removeprefix("resolve:ssm:"), image)
    find(region.images, merged["ImageId"], r"ami-[0-9a-f]{8,17}", "InvalidAMIID")
    kind = merged.get("InstanceType", "")
    if "InstanceRequirements" in merged:
        raise AwsError("InvalidParameterCombination", "InstanceRequirements can't be used with one instance type.")
    if not TYPES.fullmatch(kind):
        raise AwsError("InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")
    for group in merged.get("SecurityGroupIds") or [group for one in cards for group in one.get("Groups", ())]:
        find(region.security_groups, group, r"sg-[0-9a-f]{8,17}", "InvalidGroup")
    subnet_id = merged.get("SubnetId") or card.get("SubnetId") or next(iter(region.subnets))
    subnet = find(region.subnets, subnet_id, r"subnet-[0-9a-f]{8,17}", "InvalidSubnetID")
    check_user_data(merged.get("UserData", ""))
    asked = merged.get("InstanceMarketOptions", {}).get("MarketType")
    market = market or ("spot" if asked == "spot" else "on-demand")
    hardware.check(region, merged, market)
    pool, tags = (kind, subnet.zone, market), collect_tags(specifications, "instance")
    return Blueprint(params=merged, template=template, subnet=subnet, market=market, pool=pool, tags=tags)


def room(region: Region, plan: Blueprint) -> int:
    """Count the instances for which pool and subnet have room."""
    return min(max(0, region.capacity.get(plan.pool, 1_000_000) - region.live[plan.pool]), len(plan.subnet.free))


def shortage(plan: Blueprint, capacity: Mapping[Pool, int] | None = None) -> AwsError:
    """Give the error of a pool that has too little; with `capacity`, as fleets name it where that is none at all."""
    if not plan.subnet.free:
        text = f"There are not enough free addresses in subnet '{plan.subnet.id}'."
        return AwsError("InsufficientFreeAddressesInSubnet", text)
    if plan.market == "spot":
        code = "UnfulfillableCapacity" if capacity and capacity.get(plan.pool) == 0 else "InsufficientInstanceCapacity"
        return AwsError(code, "There is no Spot capacity available that matches your request.", 500)
    return AwsError("InsufficientInstanceCapacity", SHORTAGE.format(*plan.pool), 500)


def launch(region: Region, plan: Blueprint, count: int, owner: Holder | None = None, token: str = "") -> list[Instance]:
    """Start `count` instances (the caller has looked that there is room) under one reservation."""
    tags = dict(plan.tags)
    if plan.template:
        tags |= {"aws:ec2launchtemplate:id": plan.template.id, "aws:ec2launchtemplate:version": "1"}
    tags |= owner.instance_tags if owner else {}
    if all(key.startswith("aws:") for key in tags):
        region.world.violate("an instance without tags cannot be found again after a crash")
    region.live[plan.pool] += count
    own = {"ClientToken": token, "ReservationId": f"r-0{secrets.token_hex(8)}"}
    return [Instance(region, plan, owner, tags, own | {"AmiLaunchIndex": index}) for index in range(count)]


def _reservations(account: str, instances: Iterable[Instance]) -> list[Params]:
    """Describe instances under their reservations, each serialised once for each change of it."""
    found = []
    for reservation, members in itertools.groupby(instances, key=lambda one: one.reservation):
        its = list(members)
        for one in its:
            one.fragment = one.fragment or fragment(one.described)
        found.append({"ReservationId": reservation, "OwnerId": account, "Instances": [one.fragment for one in its]})
    return found


def run_instances(region: Region, params: Params) -> Params:
    """RunInstances: as many as there is room for up to MaxCount, nothing below MinCount; idempotent in each zone."""
    collect_tags(params.get("TagSpecifications", ()), "instance", TAGGABLE)
    plan = resolve(region, params)
    if "NetworkInterfaces" in plan.params and "SubnetId" in plan.params:
        raise AwsError("InvalidParameterCombination", BESIDE_CARD.format("subnet ID"))
    low, high, token = params["MinCount"], params["MaxCount"], params.get("ClientToken", "")
    if not 1 <= low <= high:
        raise AwsError("InvalidParameterValue", f"Value ({low}) for parameter minCount is invalid.")

    def make() -> list[Instance]:
        left = room(region, plan)
        if left < low:
            raise shortage(plan)
        return launch(region, plan, min(left, high), token=token)

    made = region.once("RunInstances", params, make, scope=plan.subnet.zone)
    if all(one.state == "terminated" for one in made):
        raise AwsError("IdempotentInstanceTerminated", f"The instances of the client token '{token}' have ended.")
    return _reservations(region.account, made)[0]


def terminate_instances(region: Region, params: Params) -> Params:
    """TerminateInstances: one unknown id and nothing ends; protection holds back its whole zone and still raises."""
    at_most(region, MAX_IDS, params["InstanceIds"])
    found = _by_ids(region, params["InstanceIds"])
    protected = [one for one in found if one.plan.params.get("DisableApiTermination") and one.live]
    zones = {one.plan.subnet.zone for one in protected}
    answer = []
    for one in found:
        if one.plan.subnet.zone not in zones:
            before = one.described["State"]
            one.end()
            answer.append({"InstanceId": one.id, "CurrentState": one.described["State"], "PreviousState": before})
    if protected:
        raise AwsError("OperationNotPermitted", f"The instance '{protected[0].id}' may not be terminated.")
    return {"TerminatingInstances": answer}


def _visible(region: Region) -> list[Instance]:
    # EC2 developer guide, eventual consistency: what was launched may not be there yet.
    now = region.timeline.now()
    return [one for one in region.instances.values() if one.visible_at <= now]


def _by_ids(region: Region, ids: Sequence[str]) -> list[Instance]:
    """Find instances by id, each once; one malformed, unknown or not yet visible fails the whole call."""
    for one in ids:
        if not ID.fullmatch(one):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{one}"')
    known, unique, now = region.instances, dict.fromkeys(ids), region.timeline.now()
    missing = [one for one in unique if one not in known or known[one].visible_at > now]
    if missing:
        words, does = ("IDs", "do") if len(missing) > 1 else ("ID", "does")
        raise AwsError("InvalidInstanceID.NotFound", f"The instance {words} '{', '.join(missing)}' {does} not exist")
    return [known[one] for one in unique]


def _ids_alone(region: Region, params: Params, most: int) -> Sequence[str]:
    ids: Sequence[str] = params.get("InstanceIds", ())
    at_most(region, most, ids)
    if ids and "MaxResults" in params:
        raise AwsError("InvalidParameterCombination", "instancesSet cannot be used with the parameter maxResults")
    return ids


def describe_instances(region: Region, params: Params) -> Params:
    """DescribeInstances: by ids all at once, else pages of MaxResults (1000) instances."""
    ids = _ids_alone(region, params, MAX_IDS)
    fields = {
        "instance-id": lambda one: [one.id],
        "instance-state-name": lambda one: [one.state],
        "private-dns-name": lambda one: [one.described["PrivateDnsName"]],
        "private-ip-address": lambda one: [one.described["PrivateIpAddress"]],
        "client-token": lambda one: [one.described["ClientToken"]],
    }
    found = _by_ids(region, ids) if ids else _visible(region)
    answer = page(params, matching(found, params, fields, lambda one: one.tags), "Reservations", PAGE)
    return answer | {"Reservations": _reservations(region.account, answer["Reservations"])}


def describe_instance_status(region: Region, params: Params) -> Params:
    """DescribeInstanceStatus, of running instances; by ids, at most 100."""
    ids = _ids_alone(region, params, MAX_STATUS_IDS)
    running = [one for one in (_by_ids(region, ids) if ids else _visible(region)) if one.state == "running"]
    fields = {"event.code": lambda one: [event["Code"] for event in one.events]}
    kept = matching(running, params, fields, lambda one: one.tags)
    found = [{"InstanceId": one.id, "InstanceState": one.described["State"], "Events": one.events} for one in kept]
    return page(params, found, "InstanceStatuses", PAGE)


def describe_spot_instance_requests(region: Region, params: Params) -> Params:
    """DescribeSpotInstanceRequests."""
    fields = {"status-code": lambda request: [request["Status"]["Code"]]}
    found = matching(region.spot_requests.values(), params, fields)
    return page(params, found, "SpotInstanceRequests", PAGE)
