"""The strict AWS as a background process that outlives the command that started it; owns its folder's files."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from pathlib import Path

FILE, LOG = "sandbox.json", "sandbox.log"
PATIENCE_SECONDS = 20.0
WATCHABLE = {"boot_seconds": 2.0, "shutdown_seconds": 2.0, "fill_seconds": 1.0, "replace_seconds": 5.0}
_children: dict[int, subprocess.Popen[bytes]] = {}  # those of this process, to be reaped by `stop`


class SandboxError(RuntimeError):
    """The sandbox did not start or stop; the message says why and where its log is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox: how to reach it, and what is in its region from the start."""

    pid: int
    port: int
    endpoint_url: str
    environment: dict[str, str]
    region: str
    subnets: tuple[str, ...]
    security_group: str
    image: str


def _read(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / FILE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(folder: Path, remembered: dict[str, Any]) -> None:
    temporary = folder / f".{FILE}.{os.getpid()}"
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(remembered, file, indent=2)
    temporary.replace(folder / FILE)


def _ask(port: int, what: str) -> dict[str, Any]:
    body = json.dumps({"do": what}).encode()
    with urlopen(Request(f"http://127.0.0.1:{port}/_control", body), timeout=2) as answer:
        found = json.load(answer)
    return found if isinstance(found, dict) else {}


def status(folder: Path) -> Sandbox | None:
    """Give the sandbox that runs for `folder`, or None; a file left by a dead one counts for nothing.

    The process must answer on its port with the key in the file: a pid alone may be another program's by now.
    """
    remembered = _read(folder)
    try:
        about = _ask(remembered["port"], "about")
    except (KeyError, OSError, URLError, ValueError):
        return None
    if about.pop("key", None) != remembered["key"]:
        return None
    return Sandbox(**(about | {"subnets": tuple(about["subnets"])}))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def start(folder: Path, port: int = 0, **timings: float) -> Sandbox:
    """Start a sandbox for `folder`, or give the one that runs.

    Args:
        folder: made if need be, 0700; holds `sandbox.json` (0600) and `sandbox.log`.
        port: 0 takes the port remembered in the folder if it is free, else any.
        timings: seconds, by the names of `Timings`; by default slow enough to watch.

    Raises:
        SandboxError: it did not answer within 20 s, or the port is taken.
    """
    running = status(folder)
    if running:
        return running
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if port and not _free(port):
        raise SandboxError(f"port {port} is taken; ask for another, or for 0")
    remembered = int(_read(folder).get("port", 0))
    port = port or (remembered if remembered and _free(remembered) else 0)
    key = secrets.token_hex(16)
    asked = [str(folder), str(port), json.dumps(WATCHABLE | timings), key]
    command = [sys.executable, "-m", "hfcore.testing.aws", *asked]
    with os.fdopen(os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    _children[process.pid] = process
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = status(folder) if _read(folder).get("pid") == process.pid else None
        if found:
            return found
        time.sleep(0.02)
    process.kill()
    raise SandboxError(f"the sandbox did not start; see {folder / LOG}")


def stop(folder: Path) -> bool:
    """Stop the sandbox of `folder` and wait until it has gone; False when none runs.

    Raises:
        SandboxError: it still answers after 20 s.
    """
    found = status(folder)
    if found is None:
        return False
    _ask(found.port, "stop")
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if status(folder) is None:
            child = _children.pop(found.pid, None)
            if child:
                child.wait(PATIENCE_SECONDS)
            return True
        time.sleep(0.02)
    raise SandboxError(f"process {found.pid} of the sandbox does not end; end it by hand")


def serve(folder: Path, port: int, timings: dict[str, float], key: str) -> None:
    """Be the sandbox that answers with `key`: serve until `stop` is asked for."""
    from hfcore.testing.aws import IMAGE, StrictAws

    aws = StrictAws(port, **timings)
    region = aws.region()
    about = Sandbox(
        pid=os.getpid(),
        port=aws.port,
        endpoint_url=aws.endpoint_url,
        environment=aws.environment(),
        region=region.name,
        subnets=tuple(region.subnets),
        security_group=next(iter(region.security_groups)),
        image=IMAGE,
    )
    aws.deeds["about"] = lambda: asdict(about) | {"key": key}
    _write(folder, {"pid": about.pid, "port": about.port, "key": key})
    aws.start().wait()
