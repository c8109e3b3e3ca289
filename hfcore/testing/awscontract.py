"""Own the contract on the strict AWS: how the suite sees one, and the suite around a plug-in of AWS.

>>> class TestContract(AwsProviderContract):              # in tests/test_contract.py of the plug-in
...     plugin = "hfcore_acme.plugin"
...     fields = {"price_type": "spot"}                   # template fields besides the usual ones
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from hfcore.models import EMPTY, Template
from hfcore.testing.audit import everything
from hfcore.testing.aws import IMAGE, Fault, Hook, Timings
from hfcore.testing.cloud import Cloud
from hfcore.testing.contract import ProviderContract
from hfcore.testing.rig import REGION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hfcore.testing.aws import Call
    from hfcore.testing.rig import AwsServer

ASKING = ("Describe", "Get")
TIMINGS = Timings(boot_seconds=5, shutdown_seconds=5, fill_seconds=5, replace_seconds=5, history_after_seconds=0)
TYPES: Mapping[str, int] = {"m5.large": 1}


class _Pages(Hook):
    """Lets every list come in pages of so many."""

    def __init__(self, size: int) -> None:
        self.size = size

    def before(self, call: Call) -> None:
        asked = call.parameters
        if call.operation.startswith("Describe") and not any(name.endswith(("Ids", "Names")) for name in asked):
            asked["MaxRecords" if call.service == "autoscaling" else "MaxResults"] = self.size


class AwsCloud(Cloud):
    """A strict AWS as it really is.

    Args:
        server: The strict AWS and its clients.
        types: The instance types that `limit` is about.
    """

    region = REGION
    unknown_id = "i-0000000000000dead"

    def __init__(self, server: AwsServer, types: Iterable[str]) -> None:
        self.aws, self._server, self._types = server.aws, server, tuple(types)

    def clients(self, service: str, patience: str) -> Any:  # noqa: ANN401 - boto3's clients are made at run time
        """Give the clients of all tests of this process."""
        return self._server.clients(service, patience)

    def machines(self) -> Mapping[str, Mapping[str, str]]:
        """Give the instances that are pending or running."""
        return {one.id: one.tags for one in self.aws.live_instances()}

    def resources(self) -> Mapping[str, Mapping[str, str]]:
        """Give fleets, Spot fleets, groups and launch templates that are neither deleted nor cancelled."""
        return {one.resource_id: one.tags for one in everything(self.aws) if one.stands}

    def listable(self) -> Iterable[str]:
        """Name what AWS lists: instant fleets are described by their ids alone (DescribeFleets)."""
        instant = {one.id for one in self.aws.region().fleets.values() if one.kind == "instant"}
        return self.resources().keys() - instant

    def changes(self) -> int:
        """Count the calls of operations that change something."""
        return sum(not call.operation.startswith(ASKING) for call in self.aws.calls)

    def kill(self, machine_id: str) -> None:
        """Let an instance die."""
        self.aws.kill(machine_id)

    def pass_time(self, seconds: float) -> None:
        """Move AWS's clock on."""
        self.aws.advance(seconds)

    def calls(self) -> Counter[str]:
        """Count all calls."""
        return Counter(call.operation for call in self.aws.calls)

    def limit(self, machines: int) -> None:
        """Limit each pool of the types in the first zone."""
        for one in self._types:
            for market in ("spot", "on-demand"):
                self.aws.set_capacity(one, f"{REGION}a", market, machines)

    def hide(self) -> None:
        """Let new instances not be visible for a minute."""
        self.aws.world.timings = replace(self.aws.world.timings, visible_after_seconds=60)

    def page(self, size: int) -> None:
        """Answer in small pages."""
        self.aws.hooks.append(_Pages(size))

    def refuse_questions(self) -> None:
        """Refuse them for lack of a permission."""
        self.aws.faults.add(Fault(kind="error", code="UnauthorizedOperation", message="no", status=403, on="asking"))

    def lose_answer(self) -> None:
        """Reset the connection once the next change is made."""
        self.aws.faults.add("reset-after:mutating*1")

    def protect(self, machine_id: str) -> None:
        """Switch on its termination protection."""
        one = self.aws.world.instance(machine_id)
        one.plan = replace(one.plan, params={**one.plan.params, "DisableApiTermination": True})

    def stranger(self) -> str:
        """Launch an instance without a tag of ours."""
        subnet = next(iter(self.aws.region().subnets))
        asked = {"ImageId": IMAGE, "InstanceType": "m5.large", "SubnetId": subnet, "MinCount": 1, "MaxCount": 1}
        theirs = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "theirs"}]}]
        made = self.clients("ec2", "quick").run_instances(**asked, TagSpecifications=theirs)
        return str(made["Instances"][0]["InstanceId"])

    def reclaim(self, machine_id: str) -> None:
        """Give an instance Spot's notice, or let it die where it is none."""
        if self.aws.world.instance(machine_id).plan.market == "spot":
            self.aws.reclaim(machine_id)
        else:
            self.aws.kill(machine_id)


class AwsProviderContract(ProviderContract):
    """What every provider plug-in of AWS keeps; besides, no documented rule of AWS's is broken.

    Attributes:
        fields: Template fields, as `Template` spells them, beside an image, a subnet, a type and a security group.
    """

    fields: ClassVar[Mapping[str, Any]] = EMPTY

    @pytest.fixture
    def cloud(self, aws_server: AwsServer) -> Iterator[Cloud]:
        """Give an empty strict AWS, where everything takes some seconds of its clock."""
        with aws_server.fresh(TIMINGS):
            yield AwsCloud(aws_server, self.fields.get("vm_types", TYPES))

    @pytest.fixture
    def template(self, cloud: AwsCloud) -> Template:
        """Give a template of one type in the first subnet."""
        region = cloud.aws.region()
        known: dict[str, Any] = {
            "template_id": "contract",
            "image_id": IMAGE,
            "vm_types": TYPES,
            "subnet_id": tuple(region.subnets)[:1],
            "security_group_ids": tuple(region.security_groups),
            "instance_tags": {"team": "risk"},
        }
        return Template(**{**known, **self.fields})
