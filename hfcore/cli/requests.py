"""Own `hfcore requests`: what the store knows of requests and returns. Asks no cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the group is used

from hfcore.cli.output import as_json

if TYPE_CHECKING:
    from hfcore.cli.running import Session
    from hfcore.models import Machine, Request

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The requests and returns of a provider instance, as they are stored.",
)


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
def show_request(ctx: typer.Context, request_id: Annotated[str, typer.Argument(help="`req-…` or `ret-…`.")]) -> None:
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
