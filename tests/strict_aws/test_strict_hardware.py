"""The strict AWS refuses what EC2 refuses of placement, reservations, network cards and instance requirements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hfcore.testing.aws import hardware
from hfcore.testing.aws.protocol import AwsError
from hfcore.testing.aws.world import ACCOUNT, Region, Timings, World

if TYPE_CHECKING:
    from collections.abc import Mapping

EFA = {"InterfaceType": "efa", "DeviceIndex": 0}
LARGE = {"InstanceType": "m5.large"}
CARDS = {"InstanceType": "p4d.24xlarge"}


@pytest.fixture(scope="module")
def region() -> Region:
    return Region(World(Timings()), "us-east-1", ACCOUNT)


def reserved(region: Region) -> Mapping[str, Any]:
    target = {"CapacityReservationId": next(iter(region.reservations))}
    return {"CapacityReservationSpecification": {"CapacityReservationTarget": target}}


def test_what_is_right_is_let_through(region: Region) -> None:
    placed = {"GroupName": "grid-partition", "PartitionNumber": 1, "Tenancy": "dedicated"}
    hardware.check(region, {**LARGE, **reserved(region), "Placement": placed}, "on-demand")
    hardware.check(region, {**LARGE, "Placement": {"HostId": next(iter(region.hosts))}}, "on-demand")
    hardware.check(region, {**CARDS, "NetworkInterfaces": [EFA, EFA | {"NetworkCardIndex": 1}]}, "spot")


@pytest.mark.parametrize(
    ("params", "market", "code"),
    [
        ({"Placement": {"GroupName": "nowhere"}}, "on-demand", "InvalidPlacementGroup.Unknown"),
        (
            {"Placement": {"GroupName": "grid-cluster", "PartitionNumber": 1}},
            "on-demand",
            "InvalidParameterCombination",
        ),
        ({"Placement": {"PartitionNumber": 1}}, "on-demand", "InvalidParameterCombination"),
        ({"Placement": {"HostId": "h-1", "Tenancy": "dedicated"}}, "on-demand", "InvalidParameterCombination"),
        ({"Placement": {"HostId": "h-00000000"}}, "on-demand", "InvalidHostID.NotFound"),
        ({"Placement": {"Tenancy": "host"}}, "spot", "InvalidParameterCombination"),
        ({"NetworkInterfaces": [EFA]}, "on-demand", "Unsupported"),
        ({"NetworkInterfaces": [EFA | {"DeviceIndex": 1}], **CARDS}, "on-demand", "InvalidParameterValue"),
        ({"NetworkInterfaces": [EFA, EFA], **CARDS}, "on-demand", "InvalidParameterValue"),
        ({"NetworkInterfaces": [EFA, EFA | {"NetworkCardIndex": 4}], **CARDS}, "on-demand", "InvalidParameterValue"),
    ],
)
def test_what_is_wrong_is_refused(region: Region, params: dict[str, Any], market: str, code: str) -> None:
    with pytest.raises(AwsError) as error:
        hardware.check(region, {**LARGE, **params}, market)
    assert error.value.code == code


def test_spot_runs_in_no_reservation_and_an_unknown_one_is_refused(region: Region) -> None:
    with pytest.raises(AwsError, match="Spot"):
        hardware.check(region, {**LARGE, **reserved(region)}, "spot")
    unknown = {"CapacityReservationTarget": {"CapacityReservationId": "cr-00000000"}}
    with pytest.raises(AwsError, match="does not exist"):
        hardware.check(region, {**LARGE, "CapacityReservationSpecification": unknown}, "on-demand")


def test_requirements_name_the_types_that_meet_them() -> None:
    needed = {"VCpuCount": {"Min": 4, "Max": 8}, "MemoryMiB": {"Min": 16384}}

    assert hardware.meeting(needed) == ["m5.xlarge", "r5.xlarge", "c5.2xlarge", "m5.2xlarge", "r5.2xlarge"]
    assert hardware.meeting({**needed, "AllowedInstanceTypes": ["r5.*"]}) == ["r5.xlarge", "r5.2xlarge"]
    assert hardware.meeting({**needed, "ExcludedInstanceTypes": ["*.xlarge", "m*", "r*"]}) == ["c5.2xlarge"]


@pytest.mark.parametrize(
    "more",
    [
        {"AllowedInstanceTypes": ["m5.*"], "ExcludedInstanceTypes": ["c5.*"]},
        {"BareMetal": "required"},
        {"AllowedInstanceTypes": ["z1d.*"]},
    ],
)
def test_requirements_that_nothing_meets_or_that_are_not_served_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(AwsError):
        hardware.meeting({"VCpuCount": {"Min": 1}, "MemoryMiB": {"Min": 1}, **more})
