"""Own `hfcore requests`: what the store knows of requests and returns, watching them, and cancelling them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the group is used

from hfcore.cli import completion
from hfcore.cli.output import ExitCode, as_json, is_retryable
from hfcore.cli.running import SystemClock, agree

if TYPE_CHECKING:
    from rich.progress_bar import ProgressBar

    from hfcore.cli.running import Session
    from hfcore.models import Machine, Request
    from hfcore.views import Cancelled, RequestView

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The requests and returns of a provider instance.",
)

_BAR_WIDTH = 16


@app.command("list")
def list_requests(
    ctx: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that are over too, until they are archived.")] = False,
) -> None:
    """List the requests and returns that are open, or have machines that live; times are UTC."""
    from hfcore.lifecycle import is_live, is_open

    session: Session = ctx.obj
    state = session.service().store.read()
    items = []
    for request in state.requests():
        machines = state.machines_of(request)
        if every or is_open(request) or any(is_live(machine) for machine in machines):
            items.append(_summary(request, machines))
    columns = {
        "REQUEST, TEMPLATE": lambda item: f"{item['request_id']}\n{item['template_id']}",
        "STATUS, API": lambda item: f"{item['status']}\n{item['provider_api']}",
        "UNITS": lambda item: item["target"],
        "MACHINES": lambda item: f"{item['live_machines']} of {item['machines']}",
        "CREATED, DEADLINE": lambda item: "\n".join(_minute(item[key]) for key in ("created_at", "deadline")),
    }
    session.output.rows("requests", items, columns, empty="no request" if every else "no request that is open")


@app.command("show")
def show_request(
    ctx: typer.Context,
    request_id: Annotated[str, typer.Argument(help="`req-…` or `ret-…`.", autocompletion=completion.requests)],
) -> None:
    """Show all that is stored of a request, an archived one too, with its machines."""
    from hfcore.errors import InputError

    session: Session = ctx.obj
    store = session.service().store
    state = store.read()
    request = state.request(request_id)
    found = (request, state.machines_of(request)) if request else store.archived(request_id)
    if not found:
        raise InputError(f"there is no request {request_id}", hint="see: hfcore requests list --all")
    session.output.details("request", [as_json(found[0]) | {"machines": [as_json(machine) for machine in found[1]]}])


@app.command("watch")
def watch_requests(
    ctx: typer.Context,
    request_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="`req-…` or `ret-…`; by default all that are open.",
            autocompletion=completion.requests,
        ),
    ] = None,
    *,
    interval: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Time between two looks.")] = 5.0,
) -> None:
    """Watch requests until all have ended; exit code 1 if one ended short. Where stdout is no terminal, as JSON lines.

    Each look is what getRequestStatus does.
    """
    from hfcore.lifecycle import is_open
    from hfcore.models import RequestStatus

    session: Session = ctx.obj
    stored = session.service().store.read()
    ids = tuple(request_ids or (one.request_id for one in stored.requests() if is_open(one)))
    if not ids:
        session.output.note("no request is open")
        return
    columns = {
        "REQUEST, MESSAGE": lambda item: f"{item['request_id']}\n{item['message']}",
        "STATUS, DEADLINE": lambda item: f"{item['status']}\n{_minute(item['deadline'])}",
        "PROGRESS": _bar,
        "DONE": lambda item: f"{item['done']:g} of {item['target']}",
    }
    with session.output.live("request-watch", columns, key="request_id") as show:
        while True:
            views = _looked_at(session, ids)
            if views:
                show([_progress(view) for view in views])
                if not any(view.request and is_open(view.request) for view in views):
                    break
            SystemClock().sleep(interval)
    if any(view.request is None or view.request.status is not RequestStatus.COMPLETED for view in views):
        raise typer.Exit(ExitCode.FAILED)


@app.command("cancel")
def cancel_requests(
    ctx: typer.Context,
    request_ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="`req-…`", autocompletion=completion.open_requests)
    ],
    *,
    return_machines: Annotated[
        bool, typer.Option("--return-machines", help="End the machines that run, too; they stay without it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; a terminal is asked without it.")] = False,
) -> None:
    """Cancel open requests: nothing more is launched for them, and what is still pending is ended."""
    from hfcore.lifecycle import is_live
    from hfcore.views import MachineRef

    session: Session = ctx.obj
    ids = tuple(dict.fromkeys(request_ids))
    agree(f"Cancel {', '.join(ids)}{', and end the machines' if return_machines else ''}?", yes=yes)
    service = session.service()
    cancelled = service.cancel(ids)
    machines = [machine for one in cancelled if one.done for machine in one.view.machines if is_live(machine)]
    answer = None
    if return_machines and machines:
        answer = service.request_return(tuple(MachineRef(machine_id=machine.instance_id) for machine in machines))
    columns = {
        "REQUEST": lambda item: item["request_id"],
        "STATUS": lambda item: item["status"],
        "MESSAGE": lambda item: item["message"],
    }
    return_id = answer.request_id if answer else ""
    session.output.rows("request-cancel", map(_cancelled, cancelled), columns, empty="", return_id=return_id)
    if answer and not session.output.is_json:
        session.output.note(f"{answer.message}; to follow it: hfcore requests watch {return_id}")


def _looked_at(session: Session, ids: tuple[str, ...]) -> tuple[RequestView, ...]:
    """Look at requests, each time as a call of its own; nothing if that may go well at the next time."""
    from hfcore.errors import HfcoreError

    try:
        return session.service().request_status(ids)
    except HfcoreError as error:
        if not is_retryable(error):
            raise
        session.output.note(f"{error}; trying again")
        return ()


def _progress(view: RequestView) -> dict[str, Any]:
    from hfcore.lifecycle import is_live
    from hfcore.models import MachineStatus, RequestKind

    request, machines = view.request, view.machines
    if request and request.kind is RequestKind.RETURN:
        done = float(sum(not is_live(machine) for machine in machines))
    else:
        done = sum(machine.weight for machine in machines if machine.status is MachineStatus.RUNNING)
    return {
        "request_id": view.request_id,
        "kind": as_json(request.kind) if request else None,
        "status": as_json(request.status) if request else "unknown",
        "template_id": request.template_id if request else "",
        "message": view.message,
        "target": request.target if request else 0,
        "done": done,
        "machines": {machine.instance_id: as_json(machine.status) for machine in machines},
        "deadline": as_json(request.deadline) if request else None,
    }


def _bar(item: dict[str, Any]) -> ProgressBar:
    from rich.progress_bar import ProgressBar

    return ProgressBar(total=max(item["target"], 1), completed=item["done"], width=_BAR_WIDTH)


def _cancelled(one: Cancelled) -> dict[str, Any]:
    item = _progress(one.view)
    said = item["message"] if one.done else f"it has ended already: {item['message']}"
    return {**item, "cancelled": one.done, "message": said}


def _summary(request: Request, machines: tuple[Machine, ...]) -> dict[str, Any]:
    from hfcore.lifecycle import is_live

    names = ("request_id", "kind", "status", "template_id", "provider_api", "target", "message")
    times = ("created_at", "deadline", "ended_at")
    return {name: as_json(getattr(request, name)) for name in (*names, *times)} | {
        "machines": len(machines),
        "live_machines": sum(is_live(machine) for machine in machines),
    }


def _minute(time: str | None) -> str:
    return time[:16].replace("T", " ") if time else ""
