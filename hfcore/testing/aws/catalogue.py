"""What an account finds in a region: network, images, instance types, parameters, and who it is."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hfcore.testing.aws.protocol import AwsError, Params
from hfcore.testing.aws.select import matching, page

if TYPE_CHECKING:
    from hfcore.testing.aws.world import Region

OWNER = "123456789012"
IMAGE = "ami-12c6146b"
AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
RESERVED = 5  # addresses that AWS keeps of each subnet


def stable_id(prefix: str, *parts: str) -> str:
    """Make the id that the same parts always give."""
    return f"{prefix}-0{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:16]}"


@dataclass(slots=True, kw_only=True, eq=False)
class Subnet:
    """A subnet, and the addresses in use in it."""

    id: str
    zone: str
    cidr: ipaddress.IPv4Network
    vpc_id: str
    public: bool = False
    used: set[int] = field(default_factory=set)
    _next: int = 4

    @property
    def region(self) -> str:
        """Name the region."""
        return self.zone[:-1]

    @property
    def free(self) -> int:
        """Count the addresses left."""
        return self.cidr.num_addresses - RESERVED - len(self.used)

    def take(self) -> str:
        """Give a free address; the caller has looked that there is one."""
        while True:
            offset, self._next = self._next, self._next + 1
            if self._next >= self.cidr.num_addresses - 1:
                self._next = 4
            if offset not in self.used:
                self.used.add(offset)
                return str(self.cidr[offset])

    def give_back(self, address: str) -> None:
        """Free an address for a later instance, whose host name will then be the same."""
        self.used.discard(int(ipaddress.IPv4Address(address)) - int(self.cidr[0]))

    def describe(self) -> Params:
        """Describe it in the words of DescribeSubnets."""
        return {
            "SubnetId": self.id,
            "VpcId": self.vpc_id,
            "State": "available",
            "CidrBlock": str(self.cidr),
            "AvailabilityZone": self.zone,
            "AvailableIpAddressCount": self.free,
            "OwnerId": OWNER,
            "MapPublicIpOnLaunch": self.public,
            "DefaultForAz": True,
            "AssignIpv6AddressOnCreation": False,
            "Tags": [],
        }


def network(region: str) -> tuple[str, dict[str, Subnet], dict[str, Params]]:
    """Give a region's VPC id, its three subnets (10.0.0.0/16 in /18s) and its security group, ids always the same."""
    vpc_id = stable_id("vpc", region)
    cidrs = ipaddress.IPv4Network("10.0.0.0/16").subnets(new_prefix=18)
    made = [
        Subnet(id=stable_id("subnet", region, z), zone=region + z, cidr=cidr, vpc_id=vpc_id)
        for z, cidr in zip("abc", cidrs, strict=False)
    ]
    group = stable_id("sg", region)
    text = {"GroupId": group, "GroupName": "default", "Description": "default VPC security group"}
    group_known = {**text, "OwnerId": OWNER, "VpcId": vpc_id, "IpPermissions": [], "Tags": []}
    return vpc_id, {s.id: s for s in made}, {group: group_known}


def images(region: str) -> tuple[dict[str, Params], dict[str, str]]:
    """Give a region's images by id, and its public SSM parameters by name."""
    linux = stable_id("ami", region, "al2023")
    made = {
        image: {
            "ImageId": image,
            "Name": name,
            "State": "available",
            "OwnerId": OWNER,
            "Architecture": "x86_64",
            "ImageType": "machine",
            "Public": True,
            "Hypervisor": "xen",
            "VirtualizationType": "hvm",
            "RootDeviceName": "/dev/xvda",
            "RootDeviceType": "ebs",
            "CreationDate": "2026-01-01T00:00:00.000Z",
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8, "VolumeType": "gp3", "DeleteOnTermination": True}}
            ],
        }
        for image, name in ((IMAGE, "symphony-host"), (linux, "al2023-ami-x86_64"))
    }
    return made, {AL2023: linux}


def _types() -> dict[str, tuple[int, int]]:
    """Give vCPUs and memory in MiB by instance type."""
    sizes = {"large": 2, "xlarge": 4} | {f"{n}xlarge": 4 * n for n in (2, 4, 8, 12, 16, 24)}
    memory = {"m5": 4, "m5a": 4, "m6i": 4, "c5": 2, "c5a": 2, "c6i": 2, "r5": 8}
    known = {f"{f}.{s}": (n, n * gib * 1024) for f, gib in memory.items() for s, n in sizes.items()}
    names = ("nano", "micro", "small", "medium", "large", "xlarge", "2xlarge")
    small = {name: 512 * 2**n for n, name in enumerate(names)}
    burst = {f"t3.{s}": (2 if mib <= small["large"] else mib // 4096, mib) for s, mib in small.items()}
    return known | burst | {"m5.metal": (96, 393216)}


TYPES = _types()


def describe_type(name: str) -> Params:
    """Describe an instance type in the words of DescribeInstanceTypes."""
    cores, mib = TYPES[name]
    metal, burst = name.endswith(".metal"), name.startswith("t3.")
    return {
        "InstanceType": name,
        "CurrentGeneration": True,
        "SupportedUsageClasses": ["on-demand", "spot"],
        "BareMetal": metal,
        "Hypervisor": None if metal else "nitro",
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"], "SustainedClockSpeedInGhz": 3.1},
        "VCpuInfo": {"DefaultVCpus": cores, "DefaultCores": cores // 2, "DefaultThreadsPerCore": 2},
        "MemoryInfo": {"SizeInMiB": mib},
        "InstanceStorageSupported": False,
        "BurstablePerformanceSupported": burst,
    }


def chosen(
    known: dict[str, Params], ids: list[str] | None, filters: list[Params], missing: str, fields: dict[str, str]
) -> list[Params]:
    """Choose descriptions by id (an unknown one is the error `missing`) and by filters over `fields` (name: key)."""
    for one in ids or ():
        if one not in known:
            raise AwsError(missing, f"'[{one}]' does not exist")
    readers = {name: (lambda d, key=key: str(d[key])) for name, key in fields.items()}
    items = [known[i] for i in (ids or known)]
    return matching(items, filters, readers, lambda d: {t["Key"]: t["Value"] for t in d.get("Tags", ())})


def describe_images(region: Region, params: Params) -> Params:
    """DescribeImages."""
    fields = {"image-id": "ImageId", "name": "Name", "state": "State", "architecture": "Architecture"}
    missing = "InvalidAMIID.NotFound"
    return {"Images": chosen(region.images, params.get("ImageIds"), params.get("Filters", []), missing, fields)}


def describe_subnets(region: Region, params: Params) -> Params:
    """DescribeSubnets."""
    known = {s.id: s.describe() for s in region.subnets.values()}
    fields = {"vpc-id": "VpcId", "subnet-id": "SubnetId", "availability-zone": "AvailabilityZone", "state": "State"}
    missing = "InvalidSubnetID.NotFound"
    return {"Subnets": chosen(known, params.get("SubnetIds"), params.get("Filters", []), missing, fields)}


def describe_security_groups(region: Region, params: Params) -> Params:
    """DescribeSecurityGroups."""
    fields = {"vpc-id": "VpcId", "group-id": "GroupId", "group-name": "GroupName"}
    asked = (params.get("GroupIds"), params.get("Filters", []))
    found = chosen(region.security_groups, *asked, "InvalidGroup.NotFound", fields)
    return {"SecurityGroups": [g for g in found if g["GroupName"] in params.get("GroupNames", [g["GroupName"]])]}


def describe_vpcs(region: Region, params: Params) -> Params:
    """DescribeVpcs."""
    vpc = {"VpcId": region.vpc_id, "State": "available", "CidrBlock": "10.0.0.0/16", "OwnerId": OWNER}
    fields = {"vpc-id": "VpcId", "state": "State"}
    asked = (params.get("VpcIds"), params.get("Filters", []))
    return {"Vpcs": chosen({region.vpc_id: vpc}, *asked, "InvalidVpcID.NotFound", fields)}


def describe_instance_types(region: Region, params: Params) -> Params:
    """DescribeInstanceTypes, pages of 100."""
    del region
    known = {name: describe_type(name) for name in TYPES}
    asked = (params.get("InstanceTypes"), params.get("Filters", []))
    found = chosen(known, *asked, "InvalidInstanceType", {"instance-type": "InstanceType"})
    items, token = page(found, params.get("MaxResults", 100), params.get("NextToken"))
    return {"InstanceTypes": items, "NextToken": token}


def get_parameter(region: Region, params: Params) -> Params:
    """GetParameter of SSM."""
    name = params["Name"]
    if name not in region.parameters:
        raise AwsError("ParameterNotFound", "")
    arn = f"arn:aws:ssm:{region.name}::parameter{name}"
    return {
        "Parameter": {
            "Name": name,
            "Type": "String",
            "Value": region.parameters[name],
            "Version": 1,
            "ARN": arn,
            "DataType": "aws:ec2:image",
        }
    }


def get_caller_identity(region: Region, params: Params) -> Params:
    """GetCallerIdentity of STS: one account, owner of everything."""
    del region, params
    return {"UserId": "AIDASTRICTAWSTESTUSER", "Account": OWNER, "Arn": f"arn:aws:iam::{OWNER}:user/hfcore"}
