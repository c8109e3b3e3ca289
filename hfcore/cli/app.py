"""Own the Typer application: options that hold for every command, its groups, and the one place where errors end.

Groups are imported when they are used. Host Factory's verbs are functions of `hfcore.cli.hostfactory`.
"""

from __future__ import annotations

import platform
import sys
from contextlib import redirect_stdout
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - `hfcore.cli.main` imports this module only where no verb is called
from typer.core import TyperGroup  # noqa: TID253 - the same

from hfcore import __version__
from hfcore.cli import completion
from hfcore.cli.examples import EXAMPLES
from hfcore.cli.hostfactory import VERBS, VerbOptions
from hfcore.cli.hostfactory import run as run_verb
from hfcore.cli.output import MODE_VARIABLE, ExitCode, Mode, Output, chosen_mode, exit_code, is_retryable
from hfcore.cli.running import Session
from hfcore.errors import Bug, HfcoreError, told
from hfcore.logs import log_bug

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUPS = (
    "config",
    "doctor",
    "explain",
    "iam-policy",
    "init",
    "machines",
    "plugins",
    "reconcile",
    "requests",
    "sandbox",
    "store",
    "templates",
)
"""Modules of this package, each with a Typer application `app`, by the name of their group or command (`-` is `_`)."""

_ANYWHERE = "--provider, --output, --debug and --no-color may stand before or behind a command."
_WITH_VALUE = ("--provider", "--output", "-o")
_ALONE = ("--debug", "--no-color")
_JOINED = ("--provider=", "--output=", "-o")
_VERB_HELP = {
    "getAvailableTemplates": "List the templates that Host Factory may ask for.",
    "requestMachines": "Ask for machines. By hand: TEMPLATE COUNT.",
    "getRequestStatus": "Say where requests and returns stand. By hand: REQUEST_ID…",
    "requestReturnMachines": "Give machines back. By hand: MACHINE_ID… or host names.",
    "getReturnRequests": "Name the machines that the cloud takes back. By hand: MACHINE_ID…, or none for all.",
}


class _Groups(TyperGroup):
    """The commands of the application, of which those of `GROUPS` are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - click's, which Typer may have a copy of
        return sorted({*super().list_commands(ctx), *GROUPS})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - the same
        if cmd_name in GROUPS:
            module = import_module(f"hfcore.cli.{cmd_name.replace('-', '_')}")
            self.commands[cmd_name] = typer.main.get_command(module.app)
            self.commands[cmd_name].name = cmd_name
        group = super().get_command(ctx, cmd_name)
        if group:
            group.epilog = _epilog(cmd_name)
        for name, command in getattr(group, "commands", {}).items():
            command.epilog = _epilog(f"{cmd_name} {name}")
        return group


def _epilog(command: str) -> str:
    example = EXAMPLES.get(command)
    return f"Example: hfcore {example}\n\n{_ANYWHERE}" if example else _ANYWHERE


app = typer.Typer(
    name="hfcore", cls=_Groups, no_args_is_help=True, pretty_exceptions_enable=False,
    epilog=_ANYWHERE,
)  # fmt: skip
verbs = typer.Typer(no_args_is_help=True, help="Host Factory's five calls: one JSON document, exit code 0 or 1.")
app.add_typer(verbs, name="hostfactory")


def run(argv: Sequence[str]) -> int:
    """Run the command line, and give its exit code; every error ends here."""
    session = Session(output=Output())
    try:
        with redirect_stdout(sys.stdout):  # puts back what a `Session` takes
            app(args=_globals_first(argv), prog_name="hfcore", obj=session)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except HfcoreError as error:
        if session.debug:
            session.output.traceback(error)
        session.output.error(error.code, error.message, error.hint, retryable=is_retryable(error))
        return exit_code(error)
    except Exception as error:  # noqa: BLE001 - the last boundary: a fault of ours is told as one
        log = log_bug(error, debug=session.debug)
        hint = f"the traceback is in {log}" if log else "run it again with --debug to see the traceback"
        session.output.error(Bug.code, f"this is a bug in hfcore: {told(error)}", hint)
        return ExitCode.FAILED
    return ExitCode.OK


def _globals_first(words: Sequence[str]) -> list[str]:
    """Put the options that hold for every command before it, where Typer looks for them."""
    found: list[str] = []
    rest: list[str] = []
    queue = iter(words)
    for word in queue:
        if word == "--":
            rest += [word, *queue]
        elif word in _WITH_VALUE:
            found += [word, *islice(queue, 1)]
        elif word in _ALONE or word.startswith(_JOINED):
            found.append(word)
        else:
            rest.append(word)
    return [*found, *rest]


def _print_version(*, wanted: bool) -> None:
    if not wanted:
        return
    from hfcore.hookspecs import PROVIDERS
    from hfcore.plugins import installed

    found = sorted(installed(PROVIDERS), key=lambda row: row.name.casefold())
    plugins = ", ".join(f"{row.name} {row.version}" for row in found) or "none"
    Output().text(f"hfcore {__version__} (python {platform.python_version()})  plugins: {plugins}")
    raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    *,
    provider: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="Provider instance: its name, or the folder with its conf folder.")
    ] = "",
    output: Annotated[
        Mode | None, typer.Option("--output", "-o", help=f"By default ${MODE_VARIABLE}, else auto.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Also log to stderr, and show tracebacks.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback has ended the command by then
        bool,
        typer.Option(
            "--version", is_eager=True, callback=lambda value: _print_version(wanted=value), help="Show versions."
        ),
    ] = False,
) -> None:
    """Provider framework for IBM Spectrum Symphony Host Factory."""
    session: Session = ctx.obj
    session.provider = provider
    session.debug = debug
    session.output_flag = output
    session.output = Output(chosen_mode(output), colour=not no_color)


def _add_verb(verb: str) -> None:
    def command(
        ctx: typer.Context,
        words: Annotated[
            list[str] | None,
            typer.Argument(metavar="[WORD]...", help="Input by hand.", autocompletion=completion.by_hand),
        ] = None,
        *,
        file: Annotated[
            str | None, typer.Option("--file", "-f", metavar="FILE", help="Input file; - is stdin.")
        ] = None,
        data: Annotated[str | None, typer.Option(metavar="JSON", help="The input itself.")] = None,
    ) -> None:
        session: Session = ctx.obj
        options = VerbOptions(
            verb=verb, file=file, data=data, words=tuple(words or ()), provider=session.provider, debug=session.debug
        )
        raise typer.Exit(run_verb(options))

    verbs.command(verb, help=_VERB_HELP[verb])(command)


for _verb in VERBS:
    _add_verb(_verb)
