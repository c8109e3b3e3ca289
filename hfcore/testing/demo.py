"""Own the demonstration: Host Factory's five scripts over every AWS API, on the sandbox, each call and answer shown.

Run it by `make demo`. It needs no AWS account, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

from hfcore.testing.aws import sandbox

Document = dict[str, Any]

COUNT = 2
HEADINGS = ("Template", "API", "Machines", "Polls", "Return polls", "AWS calls")
LONGEST_WAIT = 60.0
SHOWN_CHARACTERS = 320
TIMINGS = {"boot_seconds": 1.5, "shutdown_seconds": 1.0, "fill_seconds": 1.0}


class DemoError(RuntimeError):
    """Something did not go as it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What was seen of one template's machines.

    Args:
        machines: Names of the machines.
        polls: Status calls until the request was complete.
        gone: Status calls until the return was complete.
        calls: AWS calls in all.
    """

    template_id: str
    provider_api: str
    machines: tuple[str, ...]
    polls: int
    gone: int
    calls: int


class Instance:
    """A provider instance in a folder of its own, called by its scripts as Host Factory calls it."""

    def __init__(self, folder: Path, environment: dict[str, str], console: Console) -> None:
        self.folder = folder
        self._environment = environment
        self._console = console

    def lay_out(self, templates: Path, made: sandbox.Sandbox) -> None:
        """Let `hfcore init` make the folders, and put the templates there with the sandbox's own ids."""
        command = [sys.executable, "-m", "hfcore", "init", "--provider", str(self.folder), "--name", "awsinst"]
        subprocess.run(command, env=self._environment, check=True, capture_output=True)  # noqa: S603 - our own words
        text = templates.read_text()
        for placeholder, real in (
            ("subnet-REPLACE2", made.subnets[1]),
            ("subnet-REPLACE", made.subnets[0]),
            ("sg-REPLACE", made.security_group),
        ):
            text = text.replace(placeholder, real)
        document = json.loads(text)
        maintain = next(t for t in document["templates"] if t.get("fleetType") == "maintain")
        document["templates"].append({**maintain, "templateId": "Fleet-Request", "fleetType": "request"})
        (self.folder / "conf" / "awsinstprov_templates.json").write_text(json.dumps(document, indent=2))

    def call(self, verb: str, document: Document, *, shown: bool = True) -> Document:
        """Call a script with an input file, as Host Factory does, and give its answer."""
        given = self.folder / "input.json"
        given.write_text(json.dumps(document))
        script = self.folder / "scripts" / f"{verb}.sh"
        ended = subprocess.run(  # noqa: S603 - our own script
            [script, "-f", given], env=self._environment, capture_output=True, text=True, check=False
        )
        if shown:
            self._console.print(f"[bold]$ {verb}.sh -f[/bold] {json.dumps(document)}", highlight=False, soft_wrap=True)
            style = "red" if ended.returncode else "green"
            self._console.print(f"  {_short(ended.stdout)}", style=style, highlight=False, soft_wrap=True)
        if ended.returncode or ended.stderr:
            raise DemoError(f"{verb} exited with {ended.returncode}: {ended.stdout}{ended.stderr}")
        answer: Document = json.loads(ended.stdout)
        return answer

    def stored(self, request_id: str) -> Document:
        """Read a request's record in storage.json."""
        records = json.loads((self.folder / "work" / "data" / "storage.json").read_text())
        record: Document = records[request_id]
        return record


def run(templates: Path, console: Console) -> int:
    """Show everything; give the exit code."""
    home = Path(tempfile.mkdtemp(prefix="hfcore-demo-"))
    made = sandbox.start(home / "sandbox", 0, faults=(), **TIMINGS)
    try:
        console.rule("hfcore: Host Factory's five scripts, on a sandbox of AWS")
        instance = Instance(home / "provider", _environment(made), console)
        instance.lay_out(templates, made)
        listed = instance.call("getAvailableTemplates", {})["templates"]
        shown = [_one_template(instance, template["templateId"], made, console) for template in listed]
        reclaims = instance.call("getReturnRequests", {})
        _prove("nothing of ours is reported as reclaimed", not reclaims["requests"])
        left = _sandbox_tells(made, "state")
        alive = [one for one in left["instances"] if one["State"]["Name"] not in {"shutting-down", "terminated"}]
        _prove("nothing of ours is left in AWS", not alive and not _groups(made))
        _prove("no rule of AWS was broken", not left["violations"])
        _close(shown, console)
    except DemoError as error:
        console.print(f"[bold red]failed:[/bold red] {error}")
        return 1
    finally:
        sandbox.stop(home / "sandbox")
        shutil.rmtree(home, ignore_errors=True)
    return 0


def _one_template(instance: Instance, template_id: str, made: sandbox.Sandbox, console: Console) -> Shown:
    console.rule(template_id)
    before = len(_sandbox_tells(made, "calls"))
    wanted = {"template": {"templateId": template_id, "machineCount": COUNT}}
    request_id = instance.call("requestMachines", wanted)["requestId"]
    stored = instance.stored(request_id)
    _prove("the resource is stored before the first poll", bool(stored["resource_ids"]))
    answer, polls = _until(instance, request_id, "complete")
    machines = answer["machines"]
    names = [{"name": machine["name"], "machineId": machine["machineId"]} for machine in machines]
    return_id = instance.call("requestReturnMachines", {"machines": names})["requestId"]
    _, gone = _until(instance, return_id, "complete")
    return Shown(
        template_id=template_id,
        provider_api=stored["provider_api"],
        machines=tuple(machine["name"] for machine in machines),
        polls=polls,
        gone=gone,
        calls=len(_sandbox_tells(made, "calls")) - before,
    )


def _until(instance: Instance, request_id: str, status: str) -> tuple[Document, int]:
    """Poll until a request has a status; show the first answer and the last."""
    question = {"requests": [{"requestId": request_id}]}
    end = time.monotonic() + LONGEST_WAIT
    polls = 0
    while time.monotonic() < end:
        polls += 1
        answer = instance.call("getRequestStatus", question, shown=polls == 1)["requests"][0]
        if answer["status"] == status:
            if polls > 1:
                instance.call("getRequestStatus", question)
            return answer, polls
        if answer["status"] != "running":
            break
        time.sleep(0.5)
    raise DemoError(f"{request_id} is {answer['status']}, not {status}: {answer['message']}")


def _prove(what: str, holds: bool) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise DemoError(f"this does not hold: {what}")


def _sandbox_tells(made: sandbox.Sandbox, what: str) -> Any:  # noqa: ANN401 - the sandbox's own JSON
    with urlopen(f"{made.endpoint_url}/_control/{what}", timeout=10) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def _groups(made: sandbox.Sandbox) -> list[Any]:
    import boto3

    known = made.environment
    session = boto3.Session(known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"], region_name=made.region)
    client = session.client("autoscaling", endpoint_url=made.endpoint_url)
    groups = client.describe_auto_scaling_groups()["AutoScalingGroups"]
    return [group for group in groups if "Status" not in group]


def _environment(made: sandbox.Sandbox) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "HF_", "HFCORE_", "PRO_"))}
    return {**kept, **made.environment}


def _short(text: str) -> str:
    line = text.strip()
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]} … ({len(line)} characters)"


def _close(shown: list[Shown], console: Console) -> None:
    table = Table(title="What was proven: requested, discovered, reported, returned, removed")
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=True)
    for row in shown:
        table.add_row(
            row.template_id,
            row.provider_api,
            "\n".join(row.machines),
            str(row.polls),
            str(row.gone),
            str(row.calls),
        )
    console.print(table)
    console.print("[bold green]All machines came, were named by AWS's own names, and are gone again.[/bold green]")


def main() -> int:
    """Read the words of the command line, and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--templates", type=Path, default=Path("tests/samples/awsprov_templates.json"))
    arguments = parser.parse_args()
    return run(arguments.templates, Console(width=None if sys.stdout.isatty() else 100))


if __name__ == "__main__":
    sys.exit(main())
