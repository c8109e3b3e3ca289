"""Own `hfcore sandbox`: an AWS on this machine to try hfcore with; the sandbox itself is `hfcore.testing.aws`."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the group is used

from hfcore.cli.output import ExitCode, Mode, Output, as_json
from hfcore.errors import HfcoreError, InputError, PluginError
from hfcore.files import refuse_foreign_owner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from hfcore.cli.running import Session
    from hfcore.testing.aws.sandbox import Sandbox

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="An AWS on this machine, to try hfcore without an account."
)

SPELLING = """

A FAULT is a kind, or KIND:WHAT; then *TIMES, @PROBABILITY or =VALUE.

Kinds that calls meet: throttle, server-error, unavailable, error:CODE,
timeout, reset, latency=SECONDS, other-account. WHAT is an operation of
AWS, several with commas, asking or mutating; without it, all are met.
The answer is lost, the work done: server-error-after, unavailable-after,
error-after:CODE, timeout-after, reset-after.

Kinds that machines meet: capacity:TYPE/ZONE/MARKET=N, of which zone and
market may lack, and N may be none for no limit; reclaim=N gives Spot's
notice and die=N death to N machines, as soon as there are such that run.

seed=N lets another part of the calls meet what has a PROBABILITY.

Examples: 'throttle:RunInstances*3' reset-after:mutating@0.1 latency=2
error:VcpuLimitExceeded:RunInstances capacity:m5.large/us-east-1a/spot=0
"""

Folder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="What it remembers; by default a private folder.")
]


@app.command("start", help=f"Start the sandbox in the background; one that runs gets the faults.{SPELLING}")
def start_sandbox(
    ctx: typer.Context,
    *,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="By default the one it had before, or any.")] = 0,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", metavar="FAULT", help="What shall go wrong; may be repeated.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Start the sandbox, or only add faults to the one that runs."""
    session: Session = ctx.obj
    sandbox, where = _sandbox(), _folder(folder)
    _check(fault or [])
    try:
        found = sandbox.start(where, port, faults=fault or [])
    except sandbox.SandboxError as error:
        raise HfcoreError(str(error)) from error
    session.output.details("sandbox", [_item(found, where)])
    session.output.note('eval "$(hfcore sandbox env)" makes this shell use it', word="next")


@app.command("fault", help=f"Let things go wrong in the sandbox that runs, until they are cleared.{SPELLING}")
def set_faults(
    ctx: typer.Context,
    *,
    faults: Annotated[list[str] | None, typer.Argument(metavar="[FAULT]", help="What shall go wrong.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take away those there are, limits of pools too.")] = False,
    folder: Folder = None,
) -> None:
    """Add faults to the sandbox that runs, or clear them."""
    session: Session = ctx.obj
    sandbox, where = _sandbox(), _folder(folder)
    if not faults and not clear:
        raise InputError("no fault is named", hint="name one, such as reclaim=1, or use --clear")
    _check(faults or [])
    try:
        found = sandbox.set_faults(where, faults or [], clear=clear)
    except sandbox.SandboxError as error:
        raise InputError(str(error), hint="start one: hfcore sandbox start") from error
    session.output.details("sandbox", [_item(found, where)])


@app.command("stop")
def stop_sandbox(ctx: typer.Context, *, folder: Folder = None) -> None:
    """Stop the sandbox, and forget all that is in it."""
    session: Session = ctx.obj
    sandbox, where = _sandbox(), _folder(folder)
    try:
        sandbox.stop(where)
    except sandbox.SandboxError as error:
        raise HfcoreError(str(error)) from error
    session.output.details("sandbox", [_item(None, where)])


@app.command("status")
def show_status(ctx: typer.Context, *, folder: Folder = None) -> None:
    """Tell whether the sandbox runs, and how to reach it; exit code 1 if it does not run."""
    session: Session = ctx.obj
    where = _folder(folder)
    found = _sandbox().status(where)
    session.output.details("sandbox", [_item(found, where)])
    if found is None:
        raise typer.Exit(ExitCode.FAILED)


@app.command("env")
def show_environment(ctx: typer.Context, *, folder: Folder = None) -> None:
    """Print what makes a shell use the sandbox: `eval "$(hfcore sandbox env)"`; with `--output json`, as JSON."""
    session: Session = ctx.obj
    as_shell = session.output_flag is not Mode.JSON  # a shell reads this through a pipe: only the flag makes it JSON
    session.output = Output(Mode.TABLE if as_shell else Mode.JSON)
    where = _folder(folder)
    found: Sandbox | None = _sandbox().status(where)
    if found is None:
        raise InputError(f"no sandbox runs for {where}", hint="start one: hfcore sandbox start")
    if not as_shell:
        session.output.details("sandbox-environment", [found.environment])
        return
    for name, value in found.environment.items():
        session.output.text(f"export {name}={shlex.quote(value)}")


def _sandbox() -> ModuleType:
    try:
        from hfcore.testing.aws import sandbox
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hfcore"):
            raise
        command = f"{shlex.quote(sys.executable)} -m pip install 'hfcore[testing]'"
        raise PluginError(f"the sandbox needs {error.name}, which is not installed", hint=command) from error
    return sandbox


def _check(faults: Sequence[str]) -> None:
    from hfcore.testing.aws import parse_faults

    try:
        parse_faults(*faults)
    except ValueError as error:
        raise InputError(str(error), hint="hfcore sandbox start --help tells how a fault is spelt") from error


def _folder(flag: Path | None) -> Path:
    """Give the sandbox's folder; what is in it names a port to trust, so it must be this user's own."""
    state = os.environ.get("XDG_STATE_HOME")
    user = str(os.getuid()) if sys.platform != "win32" else os.environ.get("USERNAME", "")
    ours = Path(state, "hfcore-sandbox") if state else Path(tempfile.gettempdir(), f"hfcore-sandbox-{user}")
    folder = (flag or ours).absolute()
    if folder.exists():
        refuse_foreign_owner(folder)
    return folder


def _item(sandbox: Sandbox | None, folder: Path) -> dict[str, Any]:
    state = {"status": "running" if sandbox else "stopped", "folder": str(folder)}
    return state | as_json(sandbox) if sandbox else state
