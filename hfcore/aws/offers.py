"""Own what EC2 offers to launch on: subnets of the account, and what machines of a type have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.aws.calls import chunks, pages
from hfcore.hookspecs import hookimpl
from hfcore.models import MachineType, Offers, Subnet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hfcore.context import Context
    from hfcore.models import SubnetsWanted

MOST_TYPES = 100
"""Instance types in one DescribeInstanceTypes (EC2 API reference)."""

PAGE = 1000


@hookimpl
def describe_offers(instance_types: tuple[str, ...], subnets: SubnetsWanted | None, context: Context) -> Offers:
    """Describe instance types, 100 a call, and the available subnets of a VPC or with tags, 1,000 a page.

    Raises:
        CloudError: AWS could not be asked, or does not have a type.
    """
    found = (_types(context, chunk) for chunk in chunks(instance_types, MOST_TYPES))
    by_name = {one.name: one for chunk in found for one in chunk}
    return Offers(
        types=tuple(by_name[name] for name in instance_types if name in by_name),
        subnets=_subnets(context, subnets) if subnets else (),
    )


def _types(context: Context, names: Sequence[str]) -> list[MachineType]:
    described = pages(context, "ec2", "DescribeInstanceTypes", "InstanceTypes", {"InstanceTypes": list(names)})
    return [_type(one) for one in described]


def _type(described: Mapping[str, Any]) -> MachineType:
    processors = described["VCpuInfo"]
    architectures = described.get("ProcessorInfo", {}).get("SupportedArchitectures", ())
    return MachineType(
        name=described["InstanceType"],
        cores=processors.get("DefaultCores") or processors["DefaultVCpus"],
        memory_mib=described["MemoryInfo"]["SizeInMiB"],
        architecture=next((one for one in architectures if one != "i386"), ""),
    )


def _subnets(context: Context, wanted: SubnetsWanted) -> tuple[Subnet, ...]:
    said = {"state": "available", **({"vpc-id": wanted.network} if wanted.network else {})}
    said |= {f"tag:{key}": value for key, value in wanted.tags.items()}
    filters = [{"Name": name, "Values": [value]} for name, value in said.items()]
    described = pages(context, "ec2", "DescribeSubnets", "Subnets", {"Filters": filters, "MaxResults": PAGE})
    found = (Subnet(subnet_id=one["SubnetId"], network=one["VpcId"], zone=one["AvailabilityZone"]) for one in described)
    return tuple(sorted(found, key=lambda one: (one.zone, one.subnet_id)))
