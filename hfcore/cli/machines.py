"""Own `hfcore machines`: what the store knows of machines. Asks no cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer  # noqa: TID253 - imported when the group is used

from hfcore.cli.output import as_json

if TYPE_CHECKING:
    from hfcore.cli.running import Session

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The machines of a provider instance, as they were last seen."
)


@app.callback()
def _group() -> None:
    """Keep `list` a command of its own."""


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
