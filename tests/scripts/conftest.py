"""Provider instances laid out by `hfcore init`, their five scripts called as Host Factory calls them, on a strict AWS.

Every call of a script is checked by itself: one JSON document on stdout and nothing else, stderr empty on success, exit
code 0 or 1, and with 1 a message.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
import sysconfig
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import pytest

from hfcore.testing.aws import AwsError, Call, DropConnection, Hook, StrictAws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Document = dict[str, Any]

SAMPLES = Path(__file__).parents[1] / "samples"
PROVIDER = "awsinst"
REPOSITORY = Path(__file__).parents[2]
UNKNOWN_ID = "req-00000000-0000-4000-8000-000000000000"
NOT_MUTATING = ("Describe", "Get")
LONGEST_WAIT = 20.0
MOVED_FROM, MOVED_TO = 0x40, 0x80  # inotify(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One provider API in one of its forms, and the template that asks for it."""

    template_id: str
    api: str
    resource: str
    distribution: str
    creates: tuple[str, ...]
    pool: tuple[str, str, str]
    fills_later: bool = False
    refills: bool = False


CASES = {
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One call of a script: how it ended, what it answered, and how long it took in seconds."""

    code: int
    answer: Document
    stderr: str
    seconds: float

    @property
    def message(self) -> str:
        return str(self.answer.get("message", ""))


@dataclass(slots=True, kw_only=True)
class Faulty(Hook):
    """Answers the named operations (all, if none is named) with an error, by not answering, or by a reset."""

    operations: tuple[str, ...] = ()
    error: AwsError | None = None
    hangs_for: float = 0.0
    after_the_work: bool = False
    met: list[str] = field(default_factory=list)

    def before(self, call: Call) -> None:
        if not self.after_the_work:
            self._fail(call)

    def after(self, call: Call) -> None:
        if self.after_the_work:
            self._fail(call)

    def _fail(self, call: Call) -> None:
        if self.operations and call.operation not in self.operations:
            return
        self.met.append(call.operation)
        if self.hangs_for:
            time.sleep(self.hangs_for)
        elif self.error:
            raise self.error
        else:
            raise DropConnection


class Writes:
    """Counts how often files of a folder are put in place (rename), by name, while the block runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK)
        # Where it came from is watched too: the kernel makes one of two events that are alike and follow each other.
        assert libc.inotify_add_watch(self._descriptor, bytes(self.folder), MOVED_FROM | MOVED_TO) >= 0
        return self

    def __exit__(self, *_: object) -> None:
        data, at = b"", 0
        try:
            while chunk := os.read(self._descriptor, 65536):
                data += chunk
        except BlockingIOError:
            pass
        os.close(self._descriptor)
        while at < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, at)
            name = data[at + 16 : at + 16 + length].rstrip(b"\0").decode()
            at += 16 + length
            if mask & MOVED_TO:
                self.counts[name] = self.counts.get(name, 0) + 1

    def of(self, name: str) -> int:
        return self.counts.get(name, 0)


class Site:
    """A provider instance: its folders, the AWS that it talks to, and its scripts."""

    def __init__(self, folder: Path, scripts: Path, aws: StrictAws) -> None:
        self.folder, self.scripts, self.aws = folder, scripts, aws
        self.conf, self.work, self.log = folder / "conf", folder / "work", folder / "log"
        self.data = self.work / "data"
        for each in (self.conf, self.work, self.log):
            each.mkdir(parents=True)
        (self.conf / f"{PROVIDER}prov_config.json").write_bytes((SAMPLES / "awsprov_config.json").read_bytes())
        self.write_templates()
        self._inputs = 0

    def write_templates(self, **changed: Document) -> None:
        """Write the sample templates with this AWS's own ids, with variants; `changed` are more, by templateId."""
        region = self.aws.region()
        subnets = list(region.subnets)
        text = (SAMPLES / "awsprov_templates.json").read_text()
        for placeholder, real in (
            ("subnet-REPLACE2", subnets[1]),
            ("subnet-REPLACE", subnets[0]),
            ("sg-REPLACE", next(iter(region.security_groups))),
        ):
            text = text.replace(placeholder, real)
        templates = {each["templateId"]: each for each in json.loads(text)["templates"]}
        templates["Fleet-Request"] = templates["Fleet-Maintain"] | {"fleetType": "request"}
        templates["Spot-Plain"] = templates["Spot-Mixed"] | {"vmTypes": {"m5.large": 1, "m5a.large": 1}}
        for name, more in changed.items():
            like = more.get("like", "OnDemand-Small")
            templates[name] = templates[like] | {key: value for key, value in more.items() if key != "like"}
        document = {"templates": [each | {"templateId": name} for name, each in templates.items()]}
        (self.conf / f"{PROVIDER}prov_templates.json").write_text(json.dumps(document, indent=2))

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give what Host Factory gives: a bare PATH and its own variables; and the way to the strict AWS."""
        return {
            "PATH": "/usr/bin:/bin",
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
            **self.aws.environment(),
            **(more or {}),
        }

    def run(
        self,
        verb: str,
        document: object = None,
        *,
        words: tuple[str, ...] = (),
        text: str | bytes | None = None,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Ran:
        """Call a script; input as a document or text in a file (`-f`), as words of the command line, or on stdin."""
        if document is not None:
            text = json.dumps(document)
        if text is not None:
            self._inputs += 1
            given = self.folder / f"input-{self._inputs}.json"
            given.write_bytes(text.encode() if isinstance(text, str) else text)
            words = ("-f", str(given), *words)
        started = time.monotonic()
        ended = subprocess.run(
            [self.scripts / f"{verb}.sh", *words],
            env=self.environment(env),
            input=(stdin or "").encode(),
            capture_output=True,
            timeout=60,
            check=False,
            cwd="/",
        )
        return judged(verb, ended, time.monotonic() - started)

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


def judged(verb: str, ended: subprocess.CompletedProcess[bytes], seconds: float) -> Ran:
    """Check what holds for every call of every script, and give the answer."""
    shown = f"{verb} exited with {ended.returncode}\nstdout: {ended.stdout!r}\nstderr: {ended.stderr!r}"
    assert ended.returncode in {0, 1}, shown
    assert ended.stdout.endswith(b"}\n"), shown
    assert ended.stdout.count(b"\n") == 1, shown
    answer = json.loads(ended.stdout)  # a second document would be an error
    assert isinstance(answer, dict), shown
    if ended.returncode == 0:
        assert ended.stderr == b"", shown
    else:
        assert list(answer) == ["message"], shown
        assert answer["message"], shown
        assert b"Traceback" not in ended.stderr, shown
        assert "HF9001" not in answer["message"], shown
    return Ran(code=ended.returncode, answer=answer, stderr=ended.stderr.decode(), seconds=seconds)


def lay_out(python: Path, folder: Path) -> Path:
    """Let `hfcore init`, run by this interpreter, lay out an instance; give the folder of its scripts."""
    subprocess.run(
        [python, "-m", "hfcore", "init", "--provider", folder, "--name", PROVIDER],
        env={"PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    return folder / "scripts"


class Venv:
    """An environment of its own: what is installed here, by links, so that distributions can come and go."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        self.site_packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        for each in Path(sysconfig.get_path("purelib")).iterdir():
            (self.site_packages / each.name).symlink_to(each)

    def uninstall(self, distribution: str) -> Callable[[], None]:
        """Take a distribution out, with what makes its module importable; give what puts it back."""
        name = distribution.replace("-", "_")
        found = [each for each in self.site_packages.iterdir() if name in each.name]
        assert any(each.name.endswith(".dist-info") for each in found), f"{distribution} is not installed"
        targets = {each: each.resolve() for each in found}
        for each in found:
            each.unlink()
        return lambda: [each.symlink_to(target) for each, target in targets.items()] and None

    def install(self, distribution: str, entry_points: Mapping[str, str], modules: Mapping[str, str]) -> None:
        """Put a distribution in that claims provider APIs: name to module, and module to source."""
        info = self.site_packages / f"{distribution.replace('-', '_')}-9.9.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 9.9\n")
        points = "\n".join(f"{api} = {module}" for api, module in entry_points.items())
        (info / "entry_points.txt").write_text(f"[hfcore.providers]\n{points}\n")
        for module, source in modules.items():
            (self.site_packages / f"{module}.py").write_text(source)


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    """Give each provider API in each of its forms."""
    found: Case = request.param
    return found


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the scripts as `hfcore init` lays them out; Host Factory's variables name the instance."""
    return lay_out(Path(sys.executable), tmp_path_factory.mktemp("laid-out") / "instance")


@pytest.fixture(scope="session")
def make_site(scripts: Path) -> Iterator[Callable[..., Site]]:
    """Make provider instances, each with an AWS of its own; keyword arguments are its timings."""
    started: list[StrictAws] = []

    def make(folder: Path, *, scripts: Path = scripts, **timings: float) -> Site:
        started.append(StrictAws(**timings).start())
        return Site(folder, scripts, started[-1])

    yield make
    for aws in started:
        aws.stop()  # those of modules; a second time is no harm


@pytest.fixture
def new_site(make_site: Callable[..., Site], tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Make an instance; in the end, its AWS must have seen no rule broken."""
    made: list[Site] = []

    def make(**options: Any) -> Site:  # noqa: ANN401 - those of make_site
        made.append(make_site(tmp_path / f"site-{len(made)}", **options))
        return made[-1]

    yield make
    for site in made:
        site.aws.stop()
    assert [site.aws.violations for site in made] == [[]] * len(made)


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """Give an instance in whose AWS everything is quick."""
    return new_site()


@pytest.fixture
def own_venv(tmp_path: Path) -> Venv:
    """Give an environment of its own."""
    return Venv(tmp_path / "venv")


@pytest.fixture
def venv_site(own_venv: Venv, new_site: Callable[..., Site], scripts: Path, tmp_path: Path) -> Callable[..., Site]:
    """Make an instance whose scripts run in the environment of `own_venv`."""
    laid_out = tmp_path / "scripts"
    laid_out.mkdir()
    for script in scripts.glob("*.sh"):
        copied = laid_out / script.name
        text = script.read_text()
        assert text.count(f"PYTHON={sys.executable}\n") == 1
        copied.write_text(text.replace(f"PYTHON={sys.executable}\n", f"PYTHON={own_venv.python}\n"))
        copied.chmod(0o700)
    return lambda **timings: new_site(scripts=laid_out, **timings)


@pytest.fixture
def faulty() -> type[Faulty]:
    """Give the hook that answers calls wrongly."""
    return Faulty


@pytest.fixture
def closed_port() -> dict[str, str]:
    """Give the variables of an AWS that can't be reached."""
    with StrictAws() as aws:
        environment = aws.environment()
    assert urlsplit(environment["AWS_ENDPOINT_URL"]).port
    return environment


@pytest.fixture
def writes() -> type[Writes]:
    """Give what counts writes."""
    return Writes


@pytest.fixture
def cases() -> dict[str, Case]:
    """Give each provider API in each of its forms, by name."""
    return CASES
