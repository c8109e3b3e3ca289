"""Own a provider instance on a strict AWS that is a process of its own: its verbs, and the bare scripts beside them."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

import boto3
from botocore import xform_name
from harness import HERE, clean_environment

from hfcore.testing import site
from hfcore.testing.aws import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness import Command, Launcher

SINGLE = "OnDemand-Small"
NEVER = 1e6  # seconds: no run takes so long
AT_ONCE = {"boot_seconds": 0.0, "shutdown_seconds": NEVER, "fill_seconds": 0.0}


class Place:
    """A provider instance; machines boot at once, and end never unless told otherwise.

    Args:
        folder: Where it is laid out, anew.
        timings: How long things take in its AWS, as `hfcore.testing.aws.sandbox` has them.
    """

    def __init__(self, folder: Path, launcher: Launcher, **timings: float) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder, self.launcher, self.work = folder, launcher, folder / "work"
        self._numbers = itertools.count()
        for name in ("conf", "work", "log", "inputs"):
            (folder / name).mkdir(parents=True)
        self.aws = sandbox.start(folder / "aws", **(AT_ONCE | timings))
        region = SimpleNamespace(subnets=self.aws.subnets, security_groups=(self.aws.security_group,))
        templates = site.templates(SimpleNamespace(region=lambda: region))
        conf = folder / "conf"
        document = {"templates": [each | {"maxNumber": -1} for each in templates]}
        (conf / "benchprov_templates.json").write_text(json.dumps(document))
        (conf / "benchprov_config.json").write_text(json.dumps({"AWS_REGION": self.aws.region}))
        self.environment = clean_environment() | self.aws.environment
        self.environment |= {
            "HF_PROVIDER_NAME": "bench",
            "HF_PROVIDER_CONFDIR": str(conf),
            "HF_PROVIDER_WORKDIR": str(self.work),
            "HF_PROVIDER_LOGDIR": str(folder / "log"),
            "HFCORE_RECONCILE_MINUTES": "0",  # its work follows an answer once in a while; it is not the verb's
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        sandbox.stop(self.folder / "aws")
        shutil.rmtree(self.folder, ignore_errors=True)

    def written(self, document: object) -> str:
        """Write an input file; give its path."""
        path = self.folder / "inputs" / f"{next(self._numbers)}.json"
        path.write_text(json.dumps(document))
        return str(path)

    def verb(self, name: str, document: object) -> list[str]:
        """Give a verb's words, as Host Factory's scripts have them."""
        return [sys.executable, "-P", "-m", "hfcore", "hostfactory", name, "-f", self.written(document)]

    def run(self, words: Sequence[str]) -> Any:  # noqa: ANN401 - the command's JSON
        """Run a command that nobody measures; give its answer."""
        self.launcher.go([list(words)], self.environment)
        return self.launcher.answer()

    def ask(self, machines: int, template: str = SINGLE) -> str:
        """Ask for machines, and poll once; give the request's id."""
        asked = self.run(self.verb("requestMachines", wanted(machines, template)))["requestId"]
        self.run(self.verb("getRequestStatus", about(asked)))
        return str(asked)

    def machines(self, request_id: str) -> list[dict[str, str]]:
        """Give a request's machines, as a return names them."""
        found = self.run(self.verb("getRequestStatus", about(request_id)))["requests"][0]["machines"]
        return [{"name": one["name"], "machineId": one["machineId"]} for one in found]

    def fill(self, *words: object) -> Any:  # noqa: ANN401 - see `fill.py`
        """Put records into the store."""
        return self.run([sys.executable, str(HERE / "fill.py"), *map(str, words)])

    def calls(self) -> list[dict[str, Any]]:
        """Give all AWS calls so far."""
        with urlopen(f"{self.aws.endpoint_url}/_control/calls", timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def bare(self, words: Sequence[str]) -> Command:
        """Give the bare script that makes the calls which a command makes now."""
        before = len(self.calls())
        self.run(words)
        made = [_spelled(call) for call in self.calls()[before:]]
        return steady([sys.executable, str(HERE / "bare.py"), self.written(made)])

    def end_all(self) -> None:
        """End all machines that run in AWS, whoever made them."""
        names = ("aws_access_key_id", "aws_secret_access_key", "region_name")
        given = {name: self.aws.environment[name.upper().replace("REGION_NAME", "AWS_REGION")] for name in names}
        ec2 = boto3.client("ec2", endpoint_url=self.aws.endpoint_url, **given)
        running = [{"Name": "instance-state-name", "Values": ["running"]}]
        for page in ec2.get_paginator("describe_instances").paginate(
            Filters=running, PaginationConfig={"PageSize": 1000}
        ):
            if ids := [one["InstanceId"] for each in page["Reservations"] for one in each["Instances"]]:
                ec2.terminate_instances(InstanceIds=ids)

    def kept(self, folder: Path | None = None) -> Callable[[], None]:
        """Keep a folder as it is, by default the store's; give what puts it back."""
        kept, its = self.folder / f"kept-{uuid.uuid4()}", folder or self.work
        shutil.copytree(its, kept)

        def put_back() -> None:
            shutil.rmtree(its)
            shutil.copytree(kept, its)

        return put_back


def _spelled(call: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Give a call as boto3 wants it; it makes a token of its own, so that what launches launches again."""
    parameters = {name: value for name, value in call["parameters"].items() if name != "ClientToken"}
    return call["service"], xform_name(call["operation"]), parameters


def wanted(machines: int, template: str = SINGLE) -> dict[str, Any]:
    """Give the input of `requestMachines`."""
    return {"template": {"templateId": template, "machineCount": machines}}


def about(*request_ids: str) -> dict[str, Any]:
    """Give the input of `getRequestStatus`."""
    return {"requests": [{"requestId": one} for one in request_ids]}


def steady(words: list[str]) -> Command:
    """Give a command that is the same at each run."""
    return lambda: words


def afresh(put_back: Callable[[], object], words: list[str]) -> Command:
    """Give a command before each run of which something is put back."""

    def command() -> list[str]:
        put_back()
        return words

    return command
