"""The strict AWS as a background process that outlives the command that started it; owns its folder's files."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from hfcore.files import FileLock

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE, LOG, LOCK = "sandbox.json", "sandbox.log", "sandbox.lock"
PATIENCE_SECONDS = 20.0
WATCHABLE = {"boot_seconds": 2.0, "shutdown_seconds": 2.0, "fill_seconds": 1.0, "replace_seconds": 5.0}
_children: dict[int, subprocess.Popen[bytes]] = {}  # those of this process, to be reaped by `stop`


class SandboxError(RuntimeError):
    """The sandbox did not start or stop; the message says why and where its log is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A running sandbox: how to reach it, what is in its region from the start, and the faults that may strike."""

    pid: int
    port: int
    endpoint_url: str
    environment: dict[str, str]
    region: str
    subnets: tuple[str, ...]
    security_group: str
    image: str
    faults: tuple[str, ...]


def _read(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / FILE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _private(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")


def _ask(port: int, what: str, **asked: object) -> dict[str, Any]:
    body = json.dumps({"do": what, **asked}).encode()
    with urlopen(Request(f"http://127.0.0.1:{port}/_control", body), timeout=2) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def status(folder: Path) -> Sandbox | None:
    """Give the sandbox that runs for `folder`: it answers with the key in the file (a pid alone may be another's)."""
    remembered = _read(folder)
    try:
        about = _ask(remembered["port"], "about")
    except (KeyError, OSError, HTTPException, ValueError):
        return None
    if about.pop("key", None) != remembered["key"]:
        return None
    return Sandbox(**(about | {name: tuple(about[name]) for name in ("subnets", "faults")}))


def _free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def start(folder: Path, port: int = 0, *, faults: Sequence[str] = (), **timings: float) -> Sandbox:
    """Start a sandbox for `folder` (made 0700; holds `sandbox.json`, a log and a lock), or give the one that runs.

    Port 0 is the one remembered in the folder if it is free, else any; `timings` are by default slow enough to watch.
    `faults` are added, as `hfcore.testing.aws.faults` spells them.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder / LOCK, 2 * PATIENCE_SECONDS):
        found = status(folder) or _spawn(folder, port, timings)
    return set_faults(folder, faults) if faults else found


def set_faults(folder: Path, faults: Sequence[str] = (), *, clear: bool = False) -> Sandbox:
    """Clear the faults of the sandbox of `folder`, and add some."""
    found = status(folder)
    if found is None:
        raise SandboxError(f"no sandbox runs for {folder}")
    return replace(found, faults=tuple(_ask(found.port, "fault", add=faults, clear=clear)["active"]))


def _spawn(folder: Path, port: int, timings: dict[str, float]) -> Sandbox:
    if port and not _free(port):
        raise SandboxError(f"port {port} is taken; ask for another, or for 0")
    remembered = int(_read(folder).get("port", 0))
    port = port or (remembered if remembered and _free(remembered) else 0)
    key = secrets.token_hex(16)
    asked = [str(folder), str(port), json.dumps(WATCHABLE | timings), key]
    with _private(folder / LOG) as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "hfcore.testing.aws.sandbox", *asked],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
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
    """Stop the sandbox of `folder` and wait until it has gone; False when none runs."""
    found = status(folder)
    if found is None:
        return False
    with suppress(OSError, HTTPException):  # it may go before it has answered
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
    known = {"pid": os.getpid(), "port": aws.port, "key": key}
    network = {"subnets": list(region.subnets), "security_group": next(iter(region.security_groups)), "image": IMAGE}
    about = {"endpoint_url": aws.endpoint_url, "environment": aws.environment(), "region": region.name}
    aws.deeds["about"] = lambda: known | network | about | {"faults": aws.faults.active}
    temporary = folder / f".{FILE}.{os.getpid()}"
    with _private(temporary) as file:
        json.dump(known, file)
    temporary.replace(folder / FILE)
    aws.start().wait()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4])
