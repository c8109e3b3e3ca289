"""Spot Fleet: the legacy request, which keeps its target as an EC2 Fleet does, in other words."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, ClassVar

from hfcore.testing.aws.filling import Candidate, Tiers, candidates, tiers
from hfcore.testing.aws.fleets import PAGE, Fleet
from hfcore.testing.aws.protocol import AwsError, Params
from hfcore.testing.aws.select import at_most, find, page, tag_list
from hfcore.testing.aws.templates import collect_tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfcore.testing.aws.world import Region

MAX_CANCELLED = 100


class SpotFleet(Fleet):
    """A Spot Fleet request."""

    over: ClassVar[str] = "cancelled"
    tag_key: ClassVar[str] = "aws:ec2spot:fleet-request-id"
    refusal: ClassVar[str] = "InvalidSpotFleetRequestConfig"
    kinds: ClassVar[Mapping[str, str]] = {"instance": "instanceChange", "fleet": "fleetRequestChange", "error": "error"}

    def targets(self) -> dict[str, float]:
        """Split TargetCapacity: Spot, but for OnDemandTargetCapacity."""
        on_demand = self.config.get("OnDemandTargetCapacity", 0)
        return {"on-demand": on_demand, "spot": self.config["TargetCapacity"] - on_demand}

    def order(self, market: str) -> Tiers:
        """Give the pools by the market's allocation strategy."""
        name = "AllocationStrategy" if market == "spot" else "OnDemandAllocationStrategy"
        return tiers(self.region, self.pools(market), self.config.get(name, ""))

    def pools(self, market: str) -> list[Candidate]:
        """Resolve launch templates, or launch specifications, which know no on-demand."""
        if "LaunchTemplateConfigs" in self.config:
            return super().pools(market)
        options = []
        for one in self.config["LaunchSpecifications"]:
            groups = [g["GroupId"] for g in one.get("SecurityGroups", ())]
            base = {k: v for k, v in one.items() if k not in {"SecurityGroups", "SubnetId", "WeightedCapacity"}}
            options.append((base | ({"SecurityGroupIds": groups} if groups else {}), one))
        return candidates(self.region, options, market)

    def describe(self) -> Params:
        """Describe it in the words of DescribeSpotFleetRequests."""
        fulfilled = {"FulfilledCapacity": self.units(), "OnDemandFulfilledCapacity": self.units("on-demand")}
        return {
            "SpotFleetRequestId": self.id,
            "SpotFleetRequestState": self.state,
            "ActivityStatus": self.activity,
            "CreateTime": self.created,
            "SpotFleetRequestConfig": self.config | fulfilled | {"Type": self.kind},
            "Tags": tag_list(self.tags),
        }


def request_spot_fleet(region: Region, params: Params) -> Params:
    """RequestSpotFleet: answers its id, fills later; its tags are its own, instances get the template's."""
    config = params["SpotFleetRequestConfig"]

    def make() -> SpotFleet:
        tags = collect_tags(config.get("TagSpecifications", ()), "spot-fleet-request", {"spot-fleet-request"})
        _check(config)
        fleet = SpotFleet(region, f"sfr-{uuid.uuid4()}", config, tags)
        for market in ("on-demand", "spot"):
            fleet.pools(market)
        region.spot_fleets[fleet.id] = fleet
        fleet.wake(region.timings.fill_seconds)
        return fleet

    return {"SpotFleetRequestId": region.once("RequestSpotFleet", config, make).id}


def _check(config: Params) -> None:
    specifications, on_demand = "LaunchSpecifications" in config, config.get("OnDemandTargetCapacity", 0)
    problem = ""
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/.+", config["IamFleetRole"]):
        problem = "Parameter: SpotFleetRequestConfig.IamFleetRole is invalid."
    elif specifications == ("LaunchTemplateConfigs" in config):
        problem = "Exactly one of LaunchTemplateConfigs and LaunchSpecifications must be specified."
    elif specifications and on_demand:
        problem = "OnDemandTargetCapacity needs LaunchTemplateConfigs."
    elif on_demand > config["TargetCapacity"] or config.get("Type") == "instant":
        problem = "OnDemandTargetCapacity exceeds TargetCapacity, or Type is instant."
    if problem:
        raise AwsError("InvalidSpotFleetRequestConfig", problem)


def _find(region: Region, fleet_id: str) -> SpotFleet:
    return find(region.spot_fleets, fleet_id, r"sfr-[0-9a-f-]{36}", "InvalidSpotFleetRequestId")


def describe_spot_fleet_requests(region: Region, params: Params) -> Params:
    """DescribeSpotFleetRequests: by ids or all; it has no filters."""
    found = [_find(region, i) for i in params.get("SpotFleetRequestIds", ())] or list(region.spot_fleets.values())
    part, token = page(found, params.get("MaxResults", PAGE), params.get("NextToken"))
    return {"SpotFleetRequestConfigs": [f.describe() for f in part], "NextToken": token}


def describe_spot_fleet_instances(region: Region, params: Params) -> Params:
    """DescribeSpotFleetInstances."""
    fleet = _find(region, params["SpotFleetRequestId"])
    return fleet.active_instances(params) | {"SpotFleetRequestId": fleet.id}


def describe_spot_fleet_request_history(region: Region, params: Params) -> Params:
    """DescribeSpotFleetRequestHistory."""
    fleet = _find(region, params["SpotFleetRequestId"])
    return fleet.events(params) | {"SpotFleetRequestId": fleet.id}


def modify_spot_fleet_request(region: Region, params: Params) -> Params:
    """ModifySpotFleetRequest: of type maintain only; the target is absolute."""
    changed = {k: v for k, v in params.items() if k not in {"SpotFleetRequestId", "DryRun"}}
    return _find(region, params["SpotFleetRequestId"]).modify(changed)


def cancel_spot_fleet_requests(region: Region, params: Params) -> Params:
    """CancelSpotFleetRequests: at most 100; what cannot be cancelled is answered, not raised."""
    ids = params["SpotFleetRequestIds"]
    at_most(region, MAX_CANCELLED, ids)
    good, bad = [], []
    for one in ids:
        code = _uncancellable(region, one)
        if code:
            bad.append({"SpotFleetRequestId": one, "Error": {"Code": code, "Message": f"{one}: {code}"}})
            continue
        states = region.spot_fleets[one].delete(terminate=params["TerminateInstances"])
        now = {"CurrentSpotFleetRequestState": states[0], "PreviousSpotFleetRequestState": states[1]}
        good.append({"SpotFleetRequestId": one, **now})
    return {"SuccessfulFleetRequests": good, "UnsuccessfulFleetRequests": bad}


def _uncancellable(region: Region, fleet_id: str) -> str:
    try:
        fleet = _find(region, fleet_id)
    except AwsError as error:
        return "fleetRequestIdMalformed" if error.code.endswith("Malformed") else "fleetRequestIdDoesNotExist"
    return "fleetRequestNotInCancellableState" if fleet.state.startswith(fleet.over) else ""
