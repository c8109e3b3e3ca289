"""Own `hfcore plugins`: what is installed, and whether it can be used. Broken plug-ins are rows like the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the group is used

from hfcore.cli import completion
from hfcore.cli.output import ExitCode, as_json
from hfcore.plugins import PluginStatus, installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.cli.running import Session
    from hfcore.models import Check
    from hfcore.plugins import PluginRecord

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The installed plug-ins.")

Name = Annotated[str, typer.Argument(help="Provider API or observer, in any case.", autocompletion=completion.plugins)]
_UNUSABLE = frozenset({PluginStatus.FAILED, PluginStatus.INCOMPATIBLE, PluginStatus.CONFLICT})


@app.command("list")
def list_plugins(
    ctx: typer.Context,
    *,
    check: Annotated[bool, typer.Option("--check", help="End with exit code 4 if one can't be used.")] = False,
    requirements: Annotated[
        bool, typer.Option("--requirements", help="Print hfcore and the plug-ins as pins, for pip's -r and -c.")
    ] = False,
) -> None:
    """List the installed plug-ins, observers last, with the reason of each that can't be used."""
    session: Session = ctx.obj
    if requirements:
        session.output.text("\n".join(_pins()))
        return
    plugins = session.plugins()
    items = [_summary(record) for record in (*plugins.records(), *plugins.observer_records())]
    columns = {
        "NAME": lambda item: item["name"],
        "VERSION": lambda item: item["version"],
        "HOOKS": lambda item: item["hook_version"] or "",
        "STATUS": lambda item: item["status"],
        "PROVIDES": _provides,
        "SOURCE": lambda item: f"{item['distribution']}\n{_place(item['source'])}".strip(),
    }
    session.output.rows("plugins", items, columns, empty="no plug-in is installed")
    if check and any(item["status"] in _UNUSABLE for item in items):
        raise typer.Exit(ExitCode.PLUGIN)


@app.command("show")
def show_plugin(ctx: typer.Context, name: Name) -> None:
    """Show all that a plug-in says of itself: permissions, operations, template fields, and why not others."""
    session: Session = ctx.obj
    session.output.details("plugins", [_summary(record) | _info(record) for record in _named(session, name)])


@app.command("check")
def check_plugin(ctx: typer.Context, name: Name) -> None:
    """Check a plug-in's hooks and what it says of itself, without the cloud; exit code 4 if it lacks something.

    What this can't tell, the contract suite in its tests does (`hfcore.testing.contract`).
    """
    session: Session = ctx.obj
    rows = [row for record in _named(session, name) for row in _checks(record)]
    columns = {
        "CHECK": lambda item: item["name"],
        "STATUS": lambda item: item["status"],
        "FOUND": lambda item: item["message"],
        "WHAT TO DO": lambda item: item["hint"],
    }
    wrong = sum(row.status == "error" for row in rows)
    session.output.rows("plugin-check", map(as_json, rows), columns, empty="", errors=wrong)
    if wrong:
        raise typer.Exit(ExitCode.PLUGIN)


def _checks(record: PluginRecord) -> Iterator[Check]:
    from hfcore.hookspecs import PROVIDERS
    from hfcore.models import Check
    from hfcore.plugincheck import checks

    candidate = record.candidate
    what = f"{candidate.name} of {candidate.distribution} {candidate.version}"
    if record.status is PluginStatus.DISABLED:  # what is never loaded is not loaded here either
        yield Check(name=what, status="not checked", message=record.reason)
        return
    usable = record.status is PluginStatus.ACTIVE
    told = f"{record.status}: {record.reason}" if record.reason else str(record.status)
    yield Check(name=what, status="ok" if usable else "error", message=told)
    if candidate.group == PROVIDERS:
        yield from checks(candidate)


def _named(session: Session, name: str) -> list[PluginRecord]:
    """Give what is installed under a name or an alias, in any case; several may claim it.

    Raises:
        UnknownProvider: There is none.
    """
    plugins = session.plugins()
    wanted = name.casefold()
    records = [
        record
        for record in (*plugins.records(), *plugins.observer_records())
        if wanted in {known.casefold() for known in (record.candidate.name, *record.aliases)}
    ]
    if not records:
        plugins.provider(name)  # raises what is known of it
    return records


def _pins() -> list[str]:
    """Give what pip needs to install the same once more: hfcore, provider plug-ins, observers."""
    from hfcore import __version__
    from hfcore.hookspecs import OBSERVERS, PROVIDERS

    rows = (*installed(PROVIDERS), *installed(OBSERVERS))
    return sorted({f"hfcore=={__version__}", *(f"{row.distribution}=={row.version}" for row in rows)})


@app.command("new")
def new_plugin(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The provider API that templates will name: letters and digits.")],
    *,
    cloud: Annotated[str, typer.Option(help="Its cloud; another one than AWS begins as a folder of files.")] = "aws",
    folder: Annotated[str, typer.Option(metavar="DIR", help="By default named after the distribution, here.")] = "",
) -> None:
    """Make a plug-in's distribution: hooks, what they send, tests by the contract of all plug-ins, README, CI.

    It can be installed and passes its tests as it is; nothing that is there already is overwritten.
    """
    from hfcore.errors import InputError
    from hfcore.scaffolding import distribution, write_plugin

    session: Session = ctx.obj
    place = Path(folder or distribution(name))
    if name.casefold() in {known.casefold() for known in session.plugins().names()}:
        raise InputError(f"a plug-in {name} is installed already", hint="give it another name")
    items = [{"path": str(path)} for path in write_plugin(place, name, cloud)]
    session.output.rows("new-plugin", items, {"WRITTEN": lambda item: item["path"]}, empty="")
    session.output.note(f"cd {place} && pip install -e '.[test]' && pytest", word="next")


def _summary(record: PluginRecord) -> dict[str, Any]:
    candidate, info = record.candidate, record.info
    return {
        "name": candidate.name,
        "aliases": list(record.aliases),
        "version": candidate.version,
        "hook_version": info.hook_version if info else None,
        "status": record.status.value,
        "reason": record.reason,
        "summary": info.summary if info else "",
        "hooks": list(record.hooks),
        "distribution": candidate.distribution,
        "source": candidate.source,
        "group": candidate.group,
    }


def _info(record: PluginRecord) -> dict[str, Any]:
    names = (
        "cloud",
        "iam_actions",
        "operations",
        "template_fields",
        "without_effect",
        "refused_fields",
        "call_budgets",
    )
    return {name: as_json(getattr(record.info, name)) for name in names} if record.info else {}


def _provides(item: dict[str, Any]) -> str:
    from hfcore.hookspecs import OBSERVERS, REQUIRED

    if item["reason"]:
        return str(item["reason"])
    if item["group"] == OBSERVERS:
        return "observer: told of each request and return that begins or ends"
    lines = [str(item["summary"])]
    if more := ", ".join(hook for hook in item["hooks"] if hook not in REQUIRED):
        lines.append(f"also: {more}")
    if item["aliases"]:
        lines.append(f"also named: {', '.join(item['aliases'])}")
    return "\n".join(lines)


def _place(source: str) -> str:
    """Give a folder as people know it: within the environment, or as a whole."""
    path = Path(source)
    return str(path.relative_to(sys.prefix)) if path.is_relative_to(sys.prefix) else source
