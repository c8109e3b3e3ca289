# ruff: noqa: ANN401 - boto3's clients, and what moto answers
"""A provider instance on moto, the second opinion on what AWS takes and answers: nothing here was written with it.

moto runs as a server in a thread, so that all goes over the wire; each test finds it empty. What it does otherwise than
AWS documents says nothing of hfcore, so a test that meets it says in its docstring what moto can't judge.
"""

from __future__ import annotations

import json
import logging
import os
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import boto3
import pytest
from botocore.loaders import create_loader
from moto.server import ThreadedMotoServer

from hfcore import hostfactory
from hfcore.cli.running import SystemClock, open_plugins
from hfcore.config import load_settings
from hfcore.service import Service
from hfcore.views import MachineRef

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Document = dict[str, Any]

REGION = "us-east-1"
IMAGE = "ami-12c6146b"
ROLE = "arn:aws:iam::123456789012:role/aws-ec2-spot-fleet-tagging-role"
MOST_POLLS = 5
LOGGER = logging.getLogger("hfcore.moto")
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

# Reading botocore's data is what takes time here, so it is read once.
KEPT_LOADER = cache(create_loader)


class Moto:
    """moto's server, and clients of our own by which tests look at what is there."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.ec2, self.autoscaling = self._client("ec2"), self._client("autoscaling")

    def _client(self, service: str) -> Any:
        session: Any = boto3.Session(region_name=REGION)
        return session.client(service, endpoint_url=self.url)

    def reset(self) -> None:
        with urlopen(HttpRequest(f"{self.url}/moto-api/reset", method="POST")) as answer:
            assert answer.status == 200

    def stop(self) -> None:
        self.ec2.close()
        self.autoscaling.close()
        self._server.stop()


class Site:
    """A provider instance and the moto that it talks to; each verb opens the service anew, as a process does."""

    def __init__(self, folder: Path, moto: Moto) -> None:
        self.folder, self.ec2, self.autoscaling = folder, moto.ec2, moto.autoscaling
        self.conf = folder / "conf"
        # What moto does not know it answers with an internal error, which is repeated in vain.
        self.flags = {"region": REGION, "request_retry_attempts": "0"}
        for name in ("conf", "work", "log"):
            (folder / name).mkdir()
        subnets = self.ec2.describe_subnets()["Subnets"]
        self.subnets = [one["SubnetId"] for one in sorted(subnets, key=lambda one: str(one["AvailabilityZone"]))]
        self.security_group = self.ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]

    def write_template(self, **fields: Any) -> None:
        """Write the one template, `grid`; a field that is `None` is left out."""
        template = {
            "templateId": "grid",
            "maxNumber": 10,
            "attributes": {"type": ["String", "X86_64"], "ncpus": ["Numeric", "2"], "nram": ["Numeric", "8192"]},
            "imageId": IMAGE,
            "subnetId": self.subnets[0],
            "vmType": "m5.large",
            "securityGroupIds": [self.security_group],
            "instanceTags": "team=risk",
        } | fields
        given = {name: value for name, value in template.items() if value is not None}
        (self.conf / "templates.json").write_text(json.dumps({"templates": [given]}))

    def service(self) -> Service:
        settings = load_settings(environ={}, provider=str(self.folder), flags=self.flags)
        return Service(
            settings=settings,
            plugins=lambda: open_plugins(settings, LOGGER),
            fingerprint=lambda: "same",
            clock=SystemClock(),
            log=lambda: LOGGER,
        )

    def request(self, count: int = 2) -> str:
        return self.service().request_machines("grid", count).request_id

    def status(self, request_id: str) -> Document:
        """Poll until a request has ended; all of them end at once on moto, but may need another look."""
        for _ in range(MOST_POLLS):
            (answer,) = hostfactory.status_document(self.service().request_status((request_id,)))["requests"]
            if answer["status"] != "running":
                break
        return dict(answer)

    def complete(self, count: int = 2) -> tuple[str, list[Document]]:
        """Ask for machines, and give the request's id and the machines once it is complete."""
        request_id = self.request(count)
        answer = self.status(request_id)
        assert (answer["status"], len(answer["machines"])) == ("complete", count), answer
        return request_id, answer["machines"]

    def give_back(self, *machines: Document) -> Document:
        """Return machines as Host Factory names them; give the return's last status."""
        refs = tuple(MachineRef(name=one["name"], machine_id=one["machineId"]) for one in machines)
        return self.status(self.service().request_return(refs).request_id)

    def reclaims(self) -> Document:
        return hostfactory.return_requests_document(self.service().return_requests(()))

    def templates(self) -> Document:
        service = self.service()
        return hostfactory.templates_document(service.available_templates(), service.templates.problems)

    def described(self) -> dict[str, Document]:
        """Give all instances as moto describes them, by id."""
        reservations = self.ec2.describe_instances()["Reservations"]
        return {one["InstanceId"]: one for reservation in reservations for one in reservation["Instances"]}

    def live(self) -> set[str]:
        return {key for key, one in self.described().items() if one["State"]["Name"] == "running"}

    def group(self) -> Document:
        """Give the one Auto Scaling group."""
        (group,) = self.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        return dict(group)

    def launch_data(self) -> list[Document]:
        """Give the data of every launch template."""
        names = [one["LaunchTemplateName"] for one in self.ec2.describe_launch_templates()["LaunchTemplates"]]
        return [
            version["LaunchTemplateData"]
            for name in names
            for version in self.ec2.describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
        ]


def tags_of(described: Document) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", ())}


def leave_out_aws(patch: pytest.MonkeyPatch) -> None:
    """Take away what the environment says of AWS: a profile, another endpoint, another region."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    for name, value in ENVIRONMENT.items():
        patch.setenv(name, value)


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    with pytest.MonkeyPatch.context() as patch:
        leave_out_aws(patch)
        made = Moto()
    yield made
    made.stop()


@pytest.fixture
def site(moto: Moto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    leave_out_aws(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.url)
    monkeypatch.setattr("botocore.session.create_loader", KEPT_LOADER)
    moto.reset()
    return Site(tmp_path, moto)
