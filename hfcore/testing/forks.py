"""Own verbs as processes that start warm: one process imports all that verbs need, and forks itself for each call.

A call made so is a process of its own, with its own environment, descriptors and clients; what it finds ready are
modules and AWS's service models, which never change. It takes a fraction of the time of a new interpreter, so that
thousands of calls, many at once, can be killed wherever they are.

>>> with Forks() as forks:
...     wanted = {"template": {"templateId": "basic", "machineCount": 2}}
...     ended = forks.run(site.environment(), "requestMachines", wanted)
...     assert ended.code == 0 and ended.answer["requestId"]
...     polls = [forks.start(site.environment(), "getRequestStatus", asked) for _ in range(8)]          # all at once
...     assert all(one.wait().code == 0 for one in polls)
...     ended = forks.run(site.environment(), "getRequestStatus", asked, kill=fault_point("intent-written:after"))
...     assert ended.killed
...     forks.run(site.environment(), "getRequestStatus", asked, ahead=3600.0)          # an hour later, by its clock

The AWS that the calls reach is best served by the test's own process (`hfcore.testing.aws.StrictAws`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hfcore.cli.hostfactory import VERBS
from hfcore.testing.zygote import READY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfcore.testing.faults import FaultPoint

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended.

    Args:
        code: The exit code; `None` where a signal ended it.
        stdout: What it printed.
        stderr: What it told people.
        seconds: From the fork to the end.
        met: How often each fault point was met, by its name, where that was asked for and the call was not killed.
    """

    code: int | None
    stdout: bytes
    stderr: bytes
    seconds: float
    met: Mapping[str, int] = field(default_factory=dict)

    @property
    def killed(self) -> bool:
        """Whether a signal ended it."""
        return self.code is None

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON document on stdout; ValueError if there is none, or more."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


class Running:
    """A call under way."""

    def __init__(self, connection: socket.socket, folder: Path) -> None:
        self._connection, self._folder = connection, folder
        self._lines = connection.makefile("r", encoding="utf-8")
        self._begun = time.monotonic()
        self.pid = int(self._line())
        self._ended: Ended | None = None

    def kill(self) -> None:
        """Kill it now, wherever it is."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float = PATIENCE_SECONDS) -> Ended:
        """Wait for its end, and say how it ended.

        Raises:
            TimeoutError: It has not ended; it is left alone.
        """
        if self._ended is None:
            self._connection.settimeout(timeout)
            status = int(self._line())
            code = os.waitstatus_to_exitcode(status)
            counted = self._folder / "met"
            self._ended = Ended(
                code=code if code >= 0 else None,
                stdout=(self._folder / "stdout").read_bytes(),
                stderr=(self._folder / "stderr").read_bytes(),
                seconds=time.monotonic() - self._begun,
                met=json.loads(counted.read_text()) if counted.exists() else {},
            )
            self._close()
            shutil.rmtree(self._folder)
        return self._ended

    def _close(self) -> None:
        self._lines.close()
        self._connection.close()

    def _line(self) -> str:
        line = self._lines.readline()
        if not line.endswith("\n"):
            self._close()
            raise RuntimeError("the process that forks has ended")
        return line


class Forks:
    """The process that forks, and the way to ask it: `with Forks() as forks: forks.run(…)`. Safe between threads."""

    def __enter__(self) -> Self:
        """Start it, and wait until it is warm."""
        self._folder = Path(tempfile.mkdtemp(prefix="hfcore-forks-"))
        self._socket = self._folder / "socket"
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "hfcore.testing.zygote", self._socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != READY:
            self.__exit__()
            raise RuntimeError("the process that forks did not start; stderr has its traceback")
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and what it has forked."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # it ends when nobody can ask it any more, however this process ends
        self._process.stdout.close()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(
        self,
        env: Mapping[str, str],
        verb: str,
        document: object = None,
        *,
        words: tuple[str, ...] = (),
        kill: FaultPoint | None = None,
        nth: int = 1,
        ahead: float = 0.0,
        count: bool = False,
    ) -> Running:
        """Begin a call.

        Args:
            env: Its whole environment.
            verb: The Host Factory verb, such as `requestMachines`, or another command, such as `requests cancel`.
            document: Its input, written to a file (`-f`), text as it is and anything else as JSON; `None` for none.
            words: More words of its command line.
            kill: The fault point at which it kills itself.
            nth: At the n-th time that it gets there.
            ahead: Seconds that its clock is ahead of the system's.
            count: Whether to count how often it meets each fault point.
        """
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        for name in ("stdout", "stderr"):  # it may be killed before it has opened them
            (folder / name).touch(0o600)
        if document is not None:
            text = document if isinstance(document, str) else json.dumps(document)
            (folder / "input.json").write_text(text)
            words = ("-f", str(folder / "input.json"), *words)
        command = {
            "env": dict(env),
            "argv": [*(["hostfactory"] if verb in VERBS else []), *verb.split(), *words],
            "folder": str(folder),
            "kill": kill.name if kill else "",
            "nth": nth,
            "ahead": ahead,
            "count": count,
        }
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(self._socket))
        connection.sendall(json.dumps(command).encode() + b"\n")
        return Running(connection, folder)

    def run(self, env: Mapping[str, str], verb: str, document: object = None, **how: Any) -> Ended:  # noqa: ANN401 - as of `start`
        """Carry out a call; see `start`."""
        return self.start(env, verb, document, **how).wait()
