r"""Own a provider instance for tests: laid out in a folder, asked as Host Factory asks, each verb a process of its own.

Every call is checked by itself: one JSON document on stdout and nothing else, stderr empty on success, exit code 0 or
1, with 1 a message; and the document keeps Host Factory's contract (`hfcore.testing.schemas`). No cloud is known here;
`hfcore.testing.site` has instances on a strict AWS.

>>> def test_two_machines_come_and_go(provider_instance):            # a fixture of every test run
...     provider_instance.put("prov_templates.json", {"templates": [SMALL]})
...     request_id = provider_instance.request("Small", 2)
...     machines = provider_instance.poll_until(request_id)["machines"]
...     provider_instance.poll_until(provider_instance.give_back([{"machineId": m["machineId"]} for m in machines]))
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hfcore.testing.schemas import broken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Document = dict[str, Any]

PROVIDER: Final = "awsinst"
LONGEST_WAIT: Final = 20.0


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


class ProviderInstance:
    """A provider instance: its folders, and how its verbs are carried out.

    Args:
        folder: Where it is laid out; made.
        scripts: The folder of the five scripts; without it `python -m hfcore` is called.

    Attributes:
        lsf: Whether LSF's resource connector calls, and not Symphony.
        variables: What the caller's environment has besides, such as the way to a cloud.
    """

    lsf = False

    def __init__(self, folder: Path, scripts: Path | None = None) -> None:
        self.folder, self.scripts, self.variables = folder, scripts, dict[str, str]()
        self.conf, self.log = folder / "conf", folder / "log"
        self.work = folder / "resource_connector" / PROVIDER if self.lsf else folder / "work"
        self.data = self.work / "data"
        for each in (self.conf, self.work, self.log):
            each.mkdir(parents=True, exist_ok=True)
        self._inputs = 0

    def put(self, name: str, document: Document) -> None:
        """Write a file of the conf folder, whose name begins with the instance's."""
        (self.conf / f"{PROVIDER}{name}").write_text(json.dumps(document, indent=2))

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give what the caller gives: a bare PATH, its own variables, those of this instance, and `more`."""
        own = self._lsf() if self.lsf else self._symphony()
        return {"PATH": "/usr/bin:/bin", **own, **self.variables, **(more or {})}

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
        """Carry out a verb; input as a document or text in a file (`-f`), as words of the command line, or on stdin."""
        if document is not None:
            text = json.dumps(document)
        if text is not None:
            self._inputs += 1
            given = self.folder / f"input-{self._inputs}.json"
            given.write_bytes(text.encode() if isinstance(text, str) else text)
            words = ("-f", str(given), *words)
        python = (sys.executable, "-m", "hfcore", "hostfactory", verb)
        command = (str(self.scripts / f"{verb}.sh"),) if self.scripts else python
        started = time.monotonic()
        ended = subprocess.run(  # noqa: S603 - our own interpreter or scripts
            [*command, *words],
            env=self.environment(env),
            input=(stdin or "").encode(),
            capture_output=True,
            timeout=60,
            check=False,
            cwd="/",
        )
        seconds = time.monotonic() - started
        return judged(verb, ended.returncode, ended.stdout, ended.stderr, seconds, lsf=self.lsf)

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

    def give_back(self, machines: object, env: Mapping[str, str] | None = None) -> str:
        """Return machines, as Host Factory names them; give the id."""
        ran = self.run("requestReturnMachines", {"machines": machines}, env=env)
        assert ran.code == 0, ran
        assert sorted(ran.answer) == ["message", "requestId"]
        return str(ran.answer["requestId"])

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
