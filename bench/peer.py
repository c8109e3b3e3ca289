"""Own the best known peer, `orb-py` of PyPI, beside a provider instance: installed here, on the same strict AWS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from place import SINGLE, wanted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from place import Place

NAME, PINNED = "orb-py", "orb-py==1.8.5"
INSTALL_SECONDS = 300
WORDS = {
    "getAvailableTemplates": ("templates", "list"),
    "requestMachines": ("machines", "request"),
    "getRequestStatus": ("requests", "status"),
    "requestReturnMachines": ("machines", "return"),
}
"""What the peer's own scripts of these names call."""


class PeerMissing(RuntimeError):
    """The peer can't be installed or does not work here; the message says why."""


def install(cache: Path) -> Path:
    """Install the peer into an environment of its own, once; give the environment's programs."""
    cache.mkdir(exist_ok=True)
    programs = cache / NAME / "bin"
    if not (programs / "orb").exists():
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", PINNED]
        quiet = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        try:
            for words in ([sys.executable, "-m", "venv", str(cache / NAME)], pip):
                subprocess.run(words, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=quiet)
        except (subprocess.SubprocessError, OSError) as error:
            shutil.rmtree(cache / NAME, ignore_errors=True)
            raise PeerMissing(f"{PINNED} could not be installed: {error}") from error
    return programs


class Peer:
    """The peer, laid out by its own `init` in the folder of a place, with one template like the place's own."""

    def __init__(self, place: Place, programs: Path) -> None:
        self._place, self._orb = place, [str(programs / "python"), str(programs / "orb")]
        self._folder = place.folder / "peer"
        place.environment["ORB_CONFIG_DIR"] = str(self._folder / "config")
        network = ("--subnet-ids", place.aws.subnets[0], "--security-group-ids", place.aws.security_group)
        init = [*self._orb, "init", "--non-interactive", "--scheduler", "hostfactory", "--provider-type", "aws"]
        init += ["--config-dir", str(self._folder / "config"), "--aws-region", place.aws.region, *network]
        place.launcher.go([init], place.environment)
        template = {
            "templateId": SINGLE,
            "maxNumber": 1_000_000,
            "imageId": place.aws.image,
            "vmType": "t3.medium",
            "priceType": "ondemand",
            "providerApi": "RunInstances",
            "providerType": "aws",
            "subnetId": place.aws.subnets[0],
            "securityGroupIds": [place.aws.security_group],
            "attributes": {"type": ["String", "X86_64"], "ncpus": ["Numeric", "2"], "nram": ["Numeric", "4096"]},
        }
        (self._folder / "config" / "aws_templates.json").write_text(json.dumps({"templates": [template]}))

    def verb(self, name: str, document: object) -> list[str]:
        """Give the words for a verb."""
        return [*self._orb, *WORDS[name], "-f", self._place.written(document)]

    def ask(self, machines: int) -> str:
        """Ask for machines; give the request's id."""
        return str(self._place.run(self.verb("requestMachines", wanted(machines)))["requestId"])

    def status(self, request_id: str) -> dict[str, Any]:
        """Poll a request."""
        words = self.verb("getRequestStatus", {"requests": [{"requestId": request_id}]})
        found: dict[str, Any] = self._place.run(words)["requests"][0]
        return found

    def kept(self) -> Callable[[], None]:
        """Keep what it has stored; give what puts it back."""
        return self._place.kept(self._folder)
