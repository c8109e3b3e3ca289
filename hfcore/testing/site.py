"""Own provider instances for tests: laid out in a folder, on a strict AWS, asked as Host Factory asks.

`Site` calls scripts, or hfcore in a process of its own; `ForkedSite` warm processes (`hfcore.testing.forks`).

>>> with Forks() as forks, StrictAws(boot_seconds=0) as aws:
...     site = ForkedSite(tmp_path / "site", aws, forks)
...     request_id, machines = site.complete("Group", 2)
...     site.give_back([{"machineId": one["machineId"]} for one in machines])
...     assert not site.live()
...     dead = site.call("getRequestStatus", asked, kill=fault_point("intent-written:after"))     # killed on its way
...     site.pass_time(3600)                                          # for AWS and for each later call
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from hfcore.testing.aws import IMAGE
from hfcore.testing.instance import LONGEST_WAIT, PROVIDER, Document, ProviderInstance, Ran, judged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hfcore.testing.aws import Call, StrictAws
    from hfcore.testing.forks import Ended, Forks, Running

__all__ = ["CASES", "HETEROGENEOUS", "PROVIDER", "ROLE", "Case", "Document", "ForkedSite", "Ran", "Site", "judged"]
__all__ += ["templates"]

NOT_MUTATING: Final = ("Describe", "Get")
ROLE: Final = "arn:aws:iam::123456789012:role/aws-ec2-spot-fleet-tagging-role"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One provider API in one of its forms, and the template that asks for it.

    Args:
        resource: With what its resource ids begin.
        creates: The operations that make its resource.
        pool: A pool from which it takes its machines: type, zone and market.
        fills_later: Whether its machines come after the answer.
        refills: Whether it replaces a machine that dies, until it is frozen.
        heterogeneous: Whether it buys on demand what Spot does not have.
    """

    template_id: str
    api: str
    resource: str
    distribution: str
    creates: tuple[str, ...]
    pool: tuple[str, str, str]
    fills_later: bool = False
    refills: bool = False
    heterogeneous: bool = False


CASES: Final[dict[str, Case]] = {
    "RunInstances": Case(
        template_id="OnDemand-Small",
        api="RunInstances",
        resource="r-",
        distribution="hfcore-aws-runinstances",
        creates=("RunInstances",),
        pool=("t3.medium", "us-east-1a", "on-demand"),
    ),
    "ASG": Case(
        template_id="Group",
        api="ASG",
        resource="",
        distribution="hfcore-aws-asg",
        creates=("CreateAutoScalingGroup",),
        pool=("m5.large", "us-east-1a", "on-demand"),
        fills_later=True,
        refills=True,
    ),
    "EC2Fleet-instant": Case(
        template_id="Fleet-Instant",
        api="EC2Fleet",
        resource="fleet-",
        distribution="hfcore-aws-ec2fleet",
        creates=("CreateFleet",),
        pool=("m5.large", "us-east-1a", "spot"),
    ),
    "EC2Fleet-request": Case(
        template_id="Fleet-Request",
        api="EC2Fleet",
        resource="fleet-",
        distribution="hfcore-aws-ec2fleet",
        creates=("CreateFleet",),
        pool=("m5.large", "us-east-1a", "on-demand"),
        fills_later=True,
    ),
    "EC2Fleet-maintain": Case(
        template_id="Fleet-Maintain",
        api="EC2Fleet",
        resource="fleet-",
        distribution="hfcore-aws-ec2fleet",
        creates=("CreateFleet",),
        pool=("m5.large", "us-east-1a", "on-demand"),
        fills_later=True,
        refills=True,
    ),
    "SpotFleet": Case(
        template_id="Spot-Plain",
        api="SpotFleet",
        resource="sfr-",
        distribution="hfcore-aws-spotfleet",
        creates=("RequestSpotFleet",),
        pool=("m5.large", "us-east-1a", "spot"),
        fills_later=True,
    ),
}
"""Each provider API in each of its forms."""


def _heterogeneous(case: Case, name: str) -> Case:
    market = ("m5.large", "us-east-1a", "spot")
    return replace(case, template_id=name, pool=market, heterogeneous=True)


HETEROGENEOUS: Final[dict[str, Case]] = {
    "ASG-heterogeneous": _heterogeneous(CASES["ASG"], "Hetero-Group"),
    "RunInstances-heterogeneous": _heterogeneous(CASES["RunInstances"], "Hetero-Run"),
    "EC2Fleet-instant-heterogeneous": _heterogeneous(CASES["EC2Fleet-instant"], "Hetero-Instant"),
    "EC2Fleet-request-heterogeneous": _heterogeneous(CASES["EC2Fleet-request"], "Hetero-Request"),
    "SpotFleet-heterogeneous": _heterogeneous(CASES["SpotFleet"], "Hetero-Spot"),
}
"""The same with price type heterogeneous. Their templates allow one pool for each market."""


def templates(aws: StrictAws) -> list[Document]:
    """Give templates for all these cases, with this AWS's own ids."""
    region = aws.region()
    basic: Document = {
        "maxNumber": 1000,
        "attributes": {"type": "X86_64", "ncpus": 2, "nram": 8192},
        "imageId": IMAGE,
        "subnetId": next(iter(region.subnets)),
        "securityGroupIds": [next(iter(region.security_groups))],
        "instanceTags": "project=grid",
        "vmType": "m5.large",
        "priceType": "ondemand",
    }
    spot: Document = {"priceType": "spot", "fleetRole": ROLE}
    hetero: Document = spot | {"priceType": "heterogeneous"}
    own: dict[str, Document] = {
        "OnDemand-Small": {"providerApi": "RunInstances", "vmType": "t3.medium"},
        "Group": {"providerApi": "ASG"},
        "Fleet-Instant": {"providerApi": "EC2Fleet", "fleetType": "instant"} | spot,
        "Fleet-Request": {"providerApi": "EC2Fleet", "fleetType": "request"},
        "Fleet-Maintain": {"providerApi": "EC2Fleet", "fleetType": "maintain"},
        "Spot-Plain": {"providerApi": "SpotFleet"} | spot,
        "Hetero-Group": {"providerApi": "ASG"} | hetero,
        "Hetero-Run": {"providerApi": "RunInstances"} | hetero,
        "Hetero-Instant": {"providerApi": "EC2Fleet", "fleetType": "instant"} | hetero,
        "Hetero-Request": {"providerApi": "EC2Fleet", "fleetType": "request"} | hetero,
        "Hetero-Spot": {"providerApi": "SpotFleet"} | hetero,
    }
    return [basic | each | {"templateId": name} for name, each in own.items()]


class Site(ProviderInstance):
    """A provider instance on a strict AWS.

    Args:
        folder: Where it is laid out; made.
        aws: Its AWS.
        scripts: As of `ProviderInstance`.
    """

    def __init__(self, folder: Path, aws: StrictAws, scripts: Path | None = None) -> None:
        super().__init__(folder, scripts)
        self.aws, self.variables = aws, aws.environment()
        self.lay_out()

    def lay_out(self) -> None:
        """Write the settings and the templates."""
        self.put("prov_config.json", {"AWS_REGION": "us-east-1"})
        self.put("prov_templates.json", {"templates": templates(self.aws)})

    def complete(self, template_id: str, count: int = 2) -> tuple[str, list[Document]]:
        """Ask for machines and poll until they are there; give the id and the machines."""
        request_id = self.request(template_id, count)
        self.wait_for_running(count)
        return request_id, self.poll_until(request_id)["machines"]

    def wait_for_running(self, count: int) -> list[str]:
        """Wait until AWS runs so many machines, so that the next poll finds them all; give their ids."""
        end = time.monotonic() + LONGEST_WAIT
        while True:
            running = [one.id for one in self.aws.live_instances() if one.state == "running"]
            if len(running) == count:
                return running
            assert time.monotonic() < end, f"{len(running)} of {count} are running"
            time.sleep(0.01)

    def live(self) -> set[str]:
        """Give the ids of all that lives in AWS."""
        return {one.id for one in self.aws.live_instances()}

    def mutations(self) -> list[Call]:
        """Give the calls so far that change something in AWS, those that were refused included."""
        return [one for one in self.aws.calls if not one.operation.startswith(NOT_MUTATING)]


class ForkedSite(Site):
    """A provider instance whose calls are warm processes; see `hfcore.testing.forks`.

    Args:
        forks: What makes the processes.

    Attributes:
        ahead: Seconds that the calls' clock is ahead of the system's.
    """

    def __init__(self, folder: Path, aws: StrictAws, forks: Forks) -> None:
        super().__init__(folder, aws)
        self.forks = forks
        self.ahead = 0.0

    def start(
        self,
        verb: str,
        document: object = None,
        *,
        env: Mapping[str, str] | None = None,
        **how: Any,  # noqa: ANN401
    ) -> Running:
        """Begin a call; `how` is that of `Forks.start`: `kill` and `nth`, `count`, `words`."""
        return self.forks.start(self.environment(env), verb, document, ahead=self.ahead, **how)

    def call(self, verb: str, document: object = None, **how: Any) -> Ended:  # noqa: ANN401 - as of `start`
        """Carry out a call that may be killed."""
        return self.start(verb, document, **how).wait()

    def run(  # type: ignore[override]
        self, verb: str, document: object = None, *, env: Mapping[str, str] | None = None
    ) -> Ran:
        """Carry out a call to its end."""
        ended = self.call(verb, document, env=env)
        return judged(verb, ended.code, ended.stdout, ended.stderr, ended.seconds, lsf=self.lsf)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in AWS and for every later call."""
        self.ahead += seconds
        self.aws.advance(seconds)
