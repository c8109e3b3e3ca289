"""Instances: how one is resolved from parameters and template, launched, lives and ends."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from hfcore.testing.aws.catalogue import TYPES
from hfcore.testing.aws.protocol import AwsError, Params, Raw
from hfcore.testing.aws.templates import check_user_data, collect_tags, find_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hfcore.testing.aws.catalogue import Subnet
    from hfcore.testing.aws.filling import Holder
    from hfcore.testing.aws.templates import Template
    from hfcore.testing.aws.world import Pool, Region

T = TypeVar("T")
STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}
SPOT_NOTICE_SECONDS = 120
SPOT_REQUEST_KEPT_SECONDS = 4 * 3600
USER = ("Client.UserInitiatedShutdown", "User initiated shutdown")
RECLAIMED = ("Server.SpotInstanceTermination", "Spot instance termination")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A launch, checked and resolved: `params` are RunInstances' with the template's beneath them."""

    params: Params
    template: Template | None
    type: str
    image: Params
    subnet: Subnet
    public: bool
    market: str
    groups: Sequence[Params]
    tags: Mapping[str, str]

    @property
    def pool(self) -> Pool:
        """Name the capacity pool."""
        return (self.type, self.subnet.zone, self.market)


@dataclass(slots=True, kw_only=True, eq=False)
class SpotRequest:
    """The Spot request behind one instance."""

    id: str
    instance: Instance
    created: float
    updated: float
    tags: Mapping[str, str]
    state: str = "active"
    code: str = "fulfilled"


@dataclass(slots=True, kw_only=True, eq=False)
class Instance:
    """One machine."""

    id: str
    reservation: str
    plan: Blueprint
    tags: dict[str, str]
    launched: float
    visible_at: float
    address: str
    owner: Holder | None
    token: str
    index: int
    state: str = "pending"
    reason: tuple[str, str] | None = None
    transition: str = ""
    spot_request: SpotRequest | None = None
    events: list[Params] = field(default_factory=list)
    fragment: Raw | None = None

    @property
    def live(self) -> bool:
        """Tell whether it is pending or running."""
        return self.state in {"pending", "running"}

    @property
    def described_state(self) -> Params:
        """Give its state as code and name."""
        return {"Code": STATE_CODES[self.state], "Name": self.state}


def resolve(region: Region, params: Params, market: str = "") -> Blueprint:
    """Merge a launch's parameters over its template's, and check what they name.

    Args:
        region: where.
        params: in the words of RunInstances.
        market: `spot` or `on-demand`; by default what the parameters ask for.
    """
    template = find_version(region, params["LaunchTemplate"]) if "LaunchTemplate" in params else None
    beneath = template.data if template else {}
    merged = beneath | {k: v for k, v in params.items() if k != "LaunchTemplate"}
    specifications = [*beneath.get("TagSpecifications", ()), *params.get("TagSpecifications", ())]
    card: Params = next(iter(merged.get("NetworkInterfaces", ())), {})
    if card and "SecurityGroupIds" in merged:
        text = "Network interfaces and an instance-level security groups may not be specified on the same request"
        raise AwsError("InvalidParameterCombination", text)
    image = _image(region, merged)
    kind = merged.get("InstanceType", "")
    if kind not in TYPES:
        raise AwsError("InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")
    subnet = _subnet(region, merged.get("SubnetId") or card.get("SubnetId"), merged.get("Placement", {}))
    check_user_data(merged.get("UserData", ""))
    asked = "spot" if merged.get("InstanceMarketOptions", {}).get("MarketType") == "spot" else "on-demand"
    return Blueprint(
        params=merged | {"TagSpecifications": specifications},
        template=template,
        type=kind,
        image=image,
        subnet=subnet,
        public=card.get("AssociatePublicIpAddress", subnet.public),
        market=market or asked,
        groups=_groups(region, merged.get("SecurityGroupIds") or card.get("Groups")),
        tags=collect_tags(specifications, "instance"),
    )


def _image(region: Region, merged: Params) -> Params:
    if "ImageId" not in merged:
        raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
    name = str(merged["ImageId"])
    image_id = region.parameters.get(name.removeprefix("resolve:ssm:"), name)
    if image_id not in region.images:
        raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    return region.images[image_id]


def _subnet(region: Region, subnet_id: str | None, placement: Params) -> Subnet:
    if not subnet_id:
        return region.subnet_of_zone(placement.get("AvailabilityZone", ""))
    if subnet_id not in region.subnets:
        raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")
    return region.subnets[subnet_id]


def _groups(region: Region, ids: Sequence[str] | None) -> list[Params]:
    for one in ids or ():
        if one not in region.security_groups:
            raise AwsError("InvalidGroup.NotFound", f"The security group '{one}' does not exist")
    known = [region.security_groups[i] for i in ids or list(region.security_groups)[:1]]
    return [{"GroupId": g["GroupId"], "GroupName": g["GroupName"]} for g in known]


def shortage(plan: Blueprint, *, fleet: bool = False, empty: bool = False) -> AwsError:
    """Give the error of a pool that has too little; fleets name a Spot pool that has nothing otherwise."""
    if plan.subnet.free <= 0:
        text = f"There are not enough free addresses in subnet '{plan.subnet.id}'."
        return AwsError("InsufficientFreeAddressesInSubnet", text)
    if plan.market == "spot":
        code = "UnfulfillableCapacity" if fleet and empty else "InsufficientInstanceCapacity"
        return AwsError(code, "There is no Spot capacity available that matches your request.", 500)
    text = (
        f"We currently do not have sufficient {plan.type} capacity in the Availability Zone you requested "
        f"({plan.subnet.zone}). Our system will be working on provisioning additional capacity."
    )
    return AwsError("InsufficientInstanceCapacity", text, 500)


def launch(
    region: Region,
    plan: Blueprint,
    count: int,
    *,
    owner: Holder | None = None,
    tags: Mapping[str, str] | None = None,
    token: str = "",
) -> list[Instance]:
    """Start `count` instances (the caller has looked that there is room) under one reservation."""
    now, reservation = region.timeline.now(), f"r-0{secrets.token_hex(8)}"
    from_template = {"id": plan.template.id, "version": "1"} if plan.template else {}
    own = {f"aws:ec2launchtemplate:{key}": value for key, value in from_template.items()}
    all_tags = dict(plan.tags) | own | dict(tags or {})
    if not any(not key.startswith("aws:") for key in all_tags):
        region.world.violate("an instance without tags cannot be found again after a crash")
    made = []
    for index in range(count):
        instance = Instance(
            id=f"i-0{secrets.token_hex(8)}",
            reservation=reservation,
            plan=plan,
            tags=all_tags,
            launched=now // 1,
            visible_at=now + region.timings.visible_after_seconds,
            address=plan.subnet.take(),
            owner=owner,
            token=token,
            index=index,
        )
        if plan.market == "spot":
            asked = collect_tags(plan.params["TagSpecifications"], "spot-instances-request")
            name = f"sir-{secrets.token_hex(4)}"
            request = SpotRequest(id=name, instance=instance, created=now, updated=now, tags=asked)
            instance.spot_request = region.spot_requests[request.id] = request
        region.instances[instance.id] = instance
        region.timeline.later(region.timings.boot_seconds, partial(_boot, instance))
        made.append(instance)
    region.live[plan.pool] += count
    return made


def _boot(instance: Instance) -> None:
    if instance.state == "pending":
        instance.state, instance.fragment = "running", None


def end(region: Region, instance: Instance, reason: tuple[str, str] = USER) -> None:
    """Begin to shut an instance down; one that ends already goes on as it did."""
    if not instance.live:
        return
    moment = datetime.fromtimestamp(region.timeline.now(), UTC)
    instance.state, instance.reason, instance.fragment = "shutting-down", reason, None
    instance.transition = f"User initiated ({moment:%Y-%m-%d %H:%M:%S} GMT)" if reason == USER else reason[0]
    _close(region, instance.spot_request)
    region.timeline.later(region.timings.shutdown_seconds, partial(_finish, region, instance))
    if instance.owner:
        instance.owner.lost(instance)


def _finish(region: Region, instance: Instance) -> None:
    instance.state, instance.fragment = "terminated", None
    instance.plan.subnet.give_back(instance.address)
    region.live[instance.plan.pool] -= 1
    if instance.owner:
        instance.owner.ended(instance)
    region.timeline.later(region.timings.aged_out_seconds, partial(_forget, region.instances, instance.id))


def _forget(known: dict[str, T], key: str) -> None:
    known.pop(key, None)


def _close(region: Region, request: SpotRequest | None) -> None:
    if request and request.state == "active":
        request.state, request.code, request.updated = "closed", "instance-terminated-by-user", region.timeline.now()
        _forget_later(region, request)


def _forget_later(region: Region, request: SpotRequest) -> None:
    region.timeline.later(SPOT_REQUEST_KEPT_SECONDS, partial(_forget, region.spot_requests, request.id))


def reclaim(region: Region, instance: Instance) -> None:
    """Give the Spot notice now: the request's status changes at once, the instance ends in 120 s.

    Source: EC2 user guide, Spot request status, note under the terminal states.
    """
    request = instance.spot_request
    if request is None or request.state != "active" or not instance.live:
        raise ValueError(f"{instance.id} is not a live Spot instance")
    request.state, request.code, request.updated = "closed", "instance-terminated-no-capacity", region.timeline.now()
    _forget_later(region, request)
    region.timeline.later(SPOT_NOTICE_SECONDS, partial(end, region, instance, RECLAIMED))
    if instance.owner:
        instance.owner.noticed(instance)
