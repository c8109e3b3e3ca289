"""The provider `Local`: processes of this host as machines, so that a grid can be watched as it grows, without a cloud.

Its cloud is the process table (Linux): a machine is a `sleep` whose environment has its tags; its id is the process's
and when it began. `pgrep -af '^sleep 99999999'` shows the grid, `kill` lets a machine crash.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hfcore import hookimpl, models, tags
from hfcore.context import Context, noted
from hfcore.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "HFCORE_LOCAL"
TOO_LATE = models.Fault(code="TooLate", message="its deadline has passed", kind=models.FaultKind.INVALID)


def spawn(its: Mapping[str, str]) -> None:
    """Start a machine with these tags; OSError if the host has no room for one more process."""
    nothing = [(os.POSIX_SPAWN_OPEN, one, os.devnull, os.O_RDWR, 0) for one in range(3)]
    own = {MARK: json.dumps(dict(its))}
    made = os.posix_spawn("/bin/sleep", ["sleep", "99999999"], own, file_actions=nothing, setsid=True)
    tries = iter(range(1000))
    while not Path(f"/proc/{made}/environ").read_bytes() and next(tries, None) is not None:
        time.sleep(0.001)  # exec shows the environment only a moment after posix_spawn has come back


def kill(machine_id: str) -> None:
    """End a machine, and wait a moment for it; one that is gone is no error."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(int(machine_id.split("-")[1]))
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [], 1.0)
        os.close(process)


def running() -> dict[str, dict[str, str]]:
    """Give the tags of every machine, by its id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it is another user's, or has just ended
            for pair in (process / "environ").read_text(errors="replace").split("\0"):
                if pair.startswith(f"{MARK}="):
                    began = (process / "stat").read_text().rpartition(")")[2].split()[19]
                    found[f"local-{process.name}-{began}"] = json.loads(pair.partition("=")[2])
    return found


def of(request_id: str, there: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Name the machines of a request."""
    return sorted(one for one, its in there.items() if its[tags.REQUEST] == request_id)


def instance(machine_id: str, its: Mapping[str, str]) -> models.Instance:
    """Say what is known of a machine that runs."""
    place = {"private_ip": "127.0.0.1", "private_dns": f"{socket.gethostname()}-{machine_id.split('-')[1]}"}
    shown = {"launch_time": datetime.fromisoformat(its["asked"]), "weight": float(its["weight"]), "tags": its, **place}
    return models.Instance(instance_id=machine_id, status=models.MachineStatus.RUNNING, **shown)


@hookimpl
def provider_info() -> models.ProviderInfo:
    told = {"summary": "Processes of this host as machines.", "template_fields": ("vmType", "vmTypes", "instanceTags")}
    return models.ProviderInfo(name="Local", hook_version=1, cloud="local", **told)


@hookimpl
def validate_template(template: models.Template) -> tuple[models.Problem, ...]:
    several = models.Problem(field="vmTypes", message="must be one type: all machines are alike")
    return (several,) if len(template.vm_types) > 1 else ()


@hookimpl
def provision(request: models.Request, template: models.Template, context: Context) -> models.Provisioned:
    weight, short = next(iter(template.vm_types.values()), 1), ""
    own = {"weight": str(weight), "asked": request.created_at.isoformat()}
    its = tags.of_instances(context, template, request.request_id) | own
    step = context.journal.begin(request.request_id, "launch", "local:Spawn", its)
    if step.outcome is None:
        made = of(request.request_id, running())  # by a call that died
        late = request.deadline is not None and context.clock.now() >= request.deadline
        if late and not made:
            context.journal.drop(step)
            raise CloudError(TOO_LATE)
        try:
            for _ in range(0 if late else math.ceil(request.target / weight) - len(made)):
                spawn(its)
        except OSError as error:
            short = str(error)
        step = context.journal.done(step, {"machines": of(request.request_id, running()), "short": short})
    made, short = tuple(instance(one, its) for one in step.outcome["machines"]), step.outcome["short"]
    faults = (models.Fault(code="NoProcess", message=short, kind=models.FaultKind.CAPACITY),) if short else ()
    return models.Provisioned(request_id=request.request_id, instances=made, faults=faults, final=True)


@hookimpl
def discover_instances(requests: tuple[models.Request, ...], context: Context) -> tuple[models.Discovery, ...]:
    at, there, found = context.clock.now(), running(), []
    for one in requests:
        ids = {*of(one.request_id, there), *one.machine_ids}
        live = [instance(each, there[each]) for each in ids & there.keys()]
        gone = models.MachineStatus.TERMINATED
        dead = [models.Instance(instance_id=each, status=gone) for each in ids - there.keys()]
        units = sum(each.weight for each in live)
        shown = {"instances": (*live, *dead), "fulfilled": units, "final": True, "observed_at": at}
        found.append(models.Discovery(request_id=one.request_id, **shown))
    return tuple(found)


@hookimpl
def stop_launching(requests: tuple[models.Request, ...]) -> tuple[models.Outcome, ...]:
    return tuple(models.Outcome(request_id=one.request_id, done=True) for one in requests)


cleanup = stop_launching  # nothing stands but the machines


@hookimpl
def release_instances(releases: tuple[models.Release, ...], context: Context) -> tuple[models.Released, ...]:
    there, released = running(), []
    for one in releases:
        named = frozenset(machine.instance_id for machine in one.machines)
        for machine_id in named & there.keys():
            with noted(context, one.request.request_id, f"kill-{machine_id}", "local:Kill", {"id": machine_id}):
                kill(machine_id)
        released.append(models.Released(request_id=one.request.request_id, ending=named))
    return tuple(released)


@hookimpl
def owned_resources(context: Context) -> tuple[models.OwnedResource, ...]:
    ours = [instance(one, its) for one, its in running().items() if its[tags.OWNER] == context.owner]
    told = ((one.instance_id, {"request_id": one.tags[tags.REQUEST], "created_at": one.launch_time}) for one in ours)
    return tuple(models.OwnedResource(kind="instance", resource_id=one, **more) for one, more in told)
