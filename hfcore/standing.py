"""Own what Host Factory and people are told of a request and its machines. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from hfcore.lifecycle import ENDING, count_running, in_units, is_live, is_open
from hfcore.models import MachineStatus, RequestKind

if TYPE_CHECKING:
    from hfcore.models import Machine, Request


DISOWNED = "does not carry our owner tag any more: left alone"


class Result(StrEnum):
    """Host Factory's word for what became of a machine (`getRequestStatus`, `result`)."""

    EXECUTING = "executing"
    SUCCEED = "succeed"
    FAIL = "fail"


def result(machine: Machine, request: Request) -> Result:
    """Give Host Factory's word for a machine: `succeed` counts as delivered, or as gone for a return."""
    if request.kind is RequestKind.RETURN:
        return Result.EXECUTING if is_live(machine) else Result.SUCCEED
    if not is_open(request) and machine.instance_id in request.unwanted:
        return Result.FAIL
    if machine.status is MachineStatus.RUNNING:
        return Result.SUCCEED if machine.name and machine.private_ip else Result.EXECUTING
    if machine.status is MachineStatus.PENDING:
        return Result.EXECUTING
    return Result.SUCCEED if machine.return_id else Result.FAIL


def reason(machine: Machine, request: Request) -> str:
    """Say why a machine stands as it does, as far as there is something to say."""
    if machine.disowned:
        return f"it {DISOWNED}"
    return request.unwanted.get(machine.instance_id) or machine.message


def progress(request: Request, machines: tuple[Machine, ...]) -> str:
    """Say in a sentence where an open request stands, and why it has not all; one that has ended keeps its message."""
    if not is_open(request):
        return request.message
    if request.kind is RequestKind.RETURN:
        gone = sum(not is_live(machine) for machine in machines)
        told = f"{gone} of {len(machines)} machines gone"
        return "; ".join(part for part in (told, request.message) if part)
    running = sum(machine.weight for machine in machines if machine.status is MachineStatus.RUNNING)
    back = sum(machine.weight for machine in machines if machine.return_id and machine.status in ENDING)
    wanted = (m for m in machines if not m.return_id and m.instance_id not in request.unwanted)
    coming = sum(machine.weight for machine in wanted if machine.status is MachineStatus.PENDING)
    why = f"; {request.faults[-1]}" if request.faults and running + back + coming < request.target else ""
    if not machines:
        return f"no machines yet: {in_units(request.target)} asked of {request.provider_api}{why}"
    given_back = f", {back:g} given back" if back else ""
    return f"{running:g} of {in_units(request.target)} running, on {count_running(machines)}{given_back}{why}"
