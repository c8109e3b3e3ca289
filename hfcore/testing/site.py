"""Own provider instances for tests: laid out in a folder, on a strict AWS, asked as Host Factory asks.

How a verb is carried out is a subclass's business: `ForkedSite` here does it by warm processes of their own
(`hfcore.testing.forks`). Every call is checked by itself: one JSON document on stdout and nothing else, stderr empty on
success, exit code 0 or 1, with 1 a message; and the document keeps Host Factory's contract (`hfcore.testing.schemas`).

>>> with Forks() as forks, StrictAws(boot_seconds=0) as aws:
...     site = ForkedSite(tmp_path / "site", aws, forks)
...     request_id, machines = site.complete("Group", 2)
...     site.give_back([{"machineId": one["machineId"]} for one in machines])
...     assert not site.live()
...     dead = site.call("getRequestStatus", asked, kill=fault_point("intent-written:after"))     # killed on its way
...     site.pass_time(3600)                                          # for AWS and for each later call
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from hfcore.testing.aws import IMAGE
from hfcore.testing.schemas import broken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hfcore.testing.aws import Call, StrictAws
    from hfcore.testing.forks import Ended, Forks, Running

Document = dict[str, Any]

PROVIDER: Final = "awsinst"
NOT_MUTATING: Final = ("Describe", "Get")
LONGEST_WAIT: Final = 20.0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One call: how it ended, what it answered, and how long it took in seconds."""

    code: int
    answer: Document
    stderr: str
    seconds: float

    @property
    def message(self) -> str:
        """The answer's sentence."""
        return str(self.answer.get("message", ""))


def judged(verb: str, code: int | None, stdout: bytes, stderr: bytes, seconds: float, *, lsf: bool = False) -> Ran:
    """Check what holds for every call of every verb, and give the answer; under LSF it is told more."""
    shown = f"{verb} exited with {code}\nstdout: {stdout!r}\nstderr: {stderr!r}"
    assert code in {0, 1}, shown
    assert stdout.endswith(b"}\n"), shown
    assert stdout.count(b"\n") == 1, shown
    answer = json.loads(stdout)  # a second document would be an error
    assert isinstance(answer, dict), shown
    if code == 0:
        assert stderr == b"", shown
    else:
        assert list(answer) == ["message"], shown
        assert answer["message"], shown
        assert b"Traceback" not in stderr, shown
        assert "HF9001" not in answer["message"], shown
    assert broken(verb, answer, failed=code == 1, lsf=lsf) == [], shown
    return Ran(code=code, answer=answer, stderr=stderr.decode(), seconds=seconds)


class Site(ABC):
    """A provider instance: its folders, and the AWS that it talks to.

    Args:
        folder: Where it is laid out; made.
        aws: Its AWS.

    Attributes:
        lsf: Whether LSF's resource connector calls, and not Symphony.
    """

    lsf = False

    def __init__(self, folder: Path, aws: StrictAws) -> None:
        self.folder, self.aws = folder, aws
        self.conf, self.log = folder / "conf", folder / "log"
        self.work = folder / "resource_connector" / PROVIDER if self.lsf else folder / "work"
        self.data = self.work / "data"
        for each in (self.conf, self.work, self.log):
            each.mkdir(parents=True)
        self.lay_out()

    def lay_out(self) -> None:
        """Write the settings and the templates."""
        self.put("prov_config.json", {"AWS_REGION": "us-east-1"})
        self.put("prov_templates.json", {"templates": templates(self.aws)})

    def put(self, name: str, document: Document) -> None:
        """Write a file of the conf folder, whose name begins with the instance's."""
        (self.conf / f"{PROVIDER}{name}").write_text(json.dumps(document, indent=2))

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give what the caller gives: a bare PATH and its own variables; and the way to the strict AWS."""
        own = self._lsf() if self.lsf else self._symphony()
        return {"PATH": "/usr/bin:/bin", **own, **self.aws.environment(), **(more or {})}

    def _lsf(self) -> dict[str, str]:
        return {
            "PROVIDER_NAME": PROVIDER,
            "PRO_CONF_DIR": str(self.folder),
            "PRO_DATA_DIR": str(self.work.parent),
            "PRO_LSF_LOGDIR": str(self.log),
            "PRO_LSF_TOP": "/opt/ibm/lsf",
            "SCRIPT_OPTIONS": "-Dsome.java.option=1",
        }

    def _symphony(self) -> dict[str, str]:
        return {
            "HF_TOP": "/opt/ibm/hostfactory",
            "HF_VERSION": "1.2",
            "HF_CONFDIR": str(self.folder),
            "HF_WORKDIR": str(self.folder),
            "HF_LOGDIR": str(self.folder),
            "HF_LOGLEVEL": "LOG_INFO",
            "HF_PROVIDER_NAME": PROVIDER,
            "HF_PROVIDER_CONFDIR": str(self.conf),
            "HF_PROVIDER_WORKDIR": str(self.work),
            "HF_PROVIDER_LOGDIR": str(self.log),
        }

    @abstractmethod
    def run(self, verb: str, document: object = None, *, env: Mapping[str, str] | None = None) -> Ran:
        """Carry out a verb, to its end."""

    def request(self, template_id: str, count: int = 2, env: Mapping[str, str] | None = None) -> str:
        """Ask for machines; give the id."""
        asked = {"template": {"templateId": template_id, "machineCount": count}}
        ran = self.run("requestMachines", asked, env=env)
        assert ran.code == 0, ran
        assert sorted(ran.answer) == ["message", "requestId"]
        return str(ran.answer["requestId"])

    def statuses(self, *request_ids: str, env: Mapping[str, str] | None = None) -> list[Document]:
        """Ask how requests stand."""
        ran = self.run("getRequestStatus", {"requests": [{"requestId": one} for one in request_ids]}, env=env)
        assert ran.code == 0, ran
        assert [one["requestId"] for one in ran.answer["requests"]] == list(request_ids)
        found: list[Document] = ran.answer["requests"]
        return found

    def status(self, request_id: str, env: Mapping[str, str] | None = None) -> Document:
        """Ask how a request stands."""
        return self.statuses(request_id, env=env)[0]

    def poll_until(self, request_id: str, status: str = "complete") -> Document:
        """Poll until a request has a status; nothing but `running` may come before it."""
        end = time.monotonic() + LONGEST_WAIT
        while True:
            answer = self.status(request_id)
            if answer["status"] == status:
                return answer
            assert answer["status"] == "running", answer
            assert time.monotonic() < end, answer
            time.sleep(0.1)

    def complete(self, template_id: str, count: int = 2) -> tuple[str, list[Document]]:
        """Ask for machines and poll until they are there; give the id and the machines."""
        request_id = self.request(template_id, count)
        self.wait_for_running(count)
        return request_id, self.poll_until(request_id)["machines"]

    def give_back(self, machines: object, env: Mapping[str, str] | None = None) -> str:
        """Return machines, as Host Factory names them; give the id."""
        ran = self.run("requestReturnMachines", {"machines": machines}, env=env)
        assert ran.code == 0, ran
        assert sorted(ran.answer) == ["message", "requestId"]
        return str(ran.answer["requestId"])

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

    def stored(self) -> Document:
        """Read storage.json."""
        found: Document = json.loads((self.data / "storage.json").read_text())
        return found

    def machines(self) -> Document:
        """Read machines.json."""
        found: Document = json.loads((self.data / "machines.json").read_text())
        return found

    def on_disk(self) -> dict[str, tuple[int, int, bytes]]:
        """Give all files under data/: inode, time of the last change, content."""
        files = sorted(each for each in self.data.rglob("*") if each.is_file())
        return {str(one): (one.stat().st_ino, one.stat().st_mtime_ns, one.read_bytes()) for one in files}

    def records(self) -> dict[str, tuple[int, int, bytes]]:
        """Give the same without the locks, which a call may take before it is refused."""
        return {name: each for name, each in self.on_disk().items() if not name.endswith("lock")}


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

    def run(self, verb: str, document: object = None, *, env: Mapping[str, str] | None = None) -> Ran:
        """Carry out a call to its end."""
        ended = self.call(verb, document, env=env)
        return judged(verb, ended.code, ended.stdout, ended.stderr, ended.seconds, lsf=self.lsf)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in AWS and for every later call."""
        self.ahead += seconds
        self.aws.advance(seconds)
