"""Own `hfcore machines`: what the store knows of machines, and giving them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer  # noqa: TID253 - imported when the group is used

from hfcore.cli import completion
from hfcore.cli.output import as_json
from hfcore.cli.running import agree

if TYPE_CHECKING:
    from hfcore.cli.running import Session

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The machines of a provider instance, as they were last seen."
)


@app.command("list")
def list_machines(
    ctx: typer.Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that have ended too.")] = False,
) -> None:
    """List the machines that live."""
    from hfcore.lifecycle import is_live

    session: Session = ctx.obj
    machines = session.service().store.read().machines()
    columns = {
        "MACHINE": lambda item: item["instance_id"],
        "NAME, REQUEST": lambda item: f"{item['name']}\n{item['request_id']}",
        "STATUS": lambda item: f"{item['status']}\n{item['instance_type']}",
        "ADDRESS": lambda item: f"{item['private_ip']}\n{item['price_type']}",
    }
    items = [as_json(machine) for machine in machines if every or is_live(machine)]
    session.output.rows("machines", items, columns, empty="no machine" if every else "no machine that lives")


@app.command("return")
def return_machines(
    ctx: typer.Context,
    machines: Annotated[
        list[str],
        typer.Argument(
            metavar="ID|NAME...", help="Ids, or host names that one has alone.", autocompletion=completion.machines
        ),
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; a terminal is asked without it.")] = False,
) -> None:
    """Give machines back, as Host Factory does: exactly these are ended, and none comes in their place."""
    from hfcore.hostfactory import machine_refs, machines_by_hand

    session: Session = ctx.obj
    service = session.service()
    refs = machine_refs(machines_by_hand(machines, service.store.read()), needed=True)
    agree(f"End {', '.join(map(str, refs))}?", yes=yes)
    answer = service.request_return(refs)
    state = service.store.read()
    request = state.request(answer.request_id)
    columns = {
        "MACHINE": lambda item: item["instance_id"],
        "NAME": lambda item: item["name"],
        "STATUS": lambda item: item["status"],
    }
    session.output.rows(
        "machine-return",
        [as_json(machine) for machine in (state.machines_of(request) if request else ())],
        columns,
        empty="no machine",
        request_id=answer.request_id,
        message=answer.message,
    )
    if not session.output.is_json:
        session.output.note(f"{answer.message}; to follow it: hfcore requests watch {answer.request_id}")
