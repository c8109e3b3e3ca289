"""Own `hfcore store`: what a person does to the records of an instance, those that can't be trusted too."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the group is used

from hfcore import storecare, storecheck, storerepair
from hfcore.cli.output import ExitCode, as_json
from hfcore.cli.running import SystemClock
from hfcore.config import load_settings
from hfcore.errors import InputError
from hfcore.files import write_new
from hfcore.logs import open_log
from hfcore.records import encode_time
from hfcore.store import open_store
from hfcore.storefolder import refuse_if_absent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from logging import Logger

    from hfcore.cli.running import Session
    from hfcore.config import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The records of a provider instance: check, repair, trim, export."
)


@app.command("check")
def check_store(ctx: typer.Context) -> None:
    """Read all that is stored, and name what is wrong and what to do; exit code 1 if anything is. Changes nothing."""
    session: Session = ctx.obj
    settings, _ = _open(session)
    report = storecheck.check(_data(settings), clock=SystemClock())
    counts = {name: getattr(report, name) for name in ("requests", "machines", "archived")}
    columns = {
        "WHERE": lambda item: f"{item['where']}\n{item['what']}".rstrip(),
        "PROBLEM": lambda item: item["problem"],
        "REMEDY": lambda item: item["remedy"],
    }
    read = ", ".join(f"{count} {name}" for name, count in counts.items())
    session.output.rows(
        "store-check",
        as_json(report.findings),
        columns,
        empty=f"nothing is wrong: {read}",
        **counts,
        restored_at=report.restored_at,
    )
    if report.restored_at and not session.output.is_json:
        session.output.note(f"an older copy was taken at {report.restored_at}: the cloud may have what is not stored")
    if report.findings:
        raise typer.Exit(ExitCode.FAILED)


@app.command("repair")
def repair_store(
    ctx: typer.Context,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Set records aside that can't be used; a terminal is asked.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and do nothing.")] = False,
) -> None:
    """Put right what can be put right, and keep what can't be used; exit code 1 if something is left."""
    session: Session = ctx.obj
    settings, logger = _open(session)
    if not yes and not dry_run:
        yes = _agreed(_repair(settings, set_aside=True, dry_run=True).set_aside)
    done = _repair(settings, set_aside=yes, dry_run=dry_run)
    for deed in () if dry_run else done.deeds:
        logger.warning("store repair: %s: %s", deed.where, deed.what)
    left = storecheck.check(_data(settings), clock=SystemClock()).findings
    columns = {"WHERE": lambda item: item["where"], "DEED": lambda item: item["what"]}
    further = {"dry_run": dry_run, "left": 0 if dry_run else len(left)}
    session.output.rows("store-repair", as_json(done.deeds), columns, empty="nothing to do", **further)
    if left and not dry_run:
        session.output.note(f"{len(left)} left: `hfcore store check` names each, and what to do")
        raise typer.Exit(ExitCode.FAILED)


@app.command("trim")
def trim_store(
    ctx: typer.Context,
    *,
    older_than: Annotated[
        float, typer.Option(metavar="HOURS", min=0, help="Only what has been over for so long.")
    ] = 0.0,
) -> None:
    """Move what is over for good to the archive now; its ids still answer."""
    session: Session = ctx.obj
    settings, _ = _open(session)
    now = SystemClock().now()
    refuse_if_absent(_data(settings))
    store = open_store(_data(settings), owner=settings.owner or None, lock_timeout=settings.lock_timeout_sec, now=now)
    trimmed = storecare.trim(store, now - timedelta(hours=older_than))
    session.output.details("store-trim", [as_json(trimmed)])


@app.command("export")
def export_store(
    ctx: typer.Context,
    *,
    archived: Annotated[bool, typer.Option("--archived", help="What is in the archive, too.")] = False,
    lines: Annotated[bool, typer.Option("--lines", help="A JSON document a line: an object of one record.")] = False,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="A new file, for its owner alone.")
    ] = None,
) -> None:
    """Give out all records as they are stored, as JSON; they hold no secrets."""
    session: Session = ctx.obj
    settings, _ = _open(session)
    document = storecare.export(_data(settings), archived=archived)
    head = {"schema": "hfcore/store/v1", "exported_at": encode_time(SystemClock().now())}
    text = "\n".join(_lines(document)) if lines else json.dumps(head | document, indent=2)
    if file is None:
        if text:
            session.output.text(text)
        return
    if not write_new(file, (text + "\n" if text else "").encode()):
        raise InputError(f"{file} is there already, and is not overwritten")
    session.output.note(f"written: {file}", word="done")


def _open(session: Session) -> tuple[Settings, Logger]:
    """Read the settings, but not the store: what is wrong with it is what this group is for."""
    settings = load_settings(environ=os.environ, provider=session.provider or None)
    return settings, open_log(settings, debug=session.debug)


def _data(settings: Settings) -> Path:
    return settings.work_dir / "data"


def _repair(settings: Settings, *, set_aside: bool, dry_run: bool) -> storerepair.Repaired:
    return storerepair.repair(
        _data(settings),
        now=SystemClock().now(),
        lock_timeout=settings.lock_timeout_sec,
        set_aside=set_aside,
        dry_run=dry_run,
    )


def _agreed(count: int) -> bool:
    """Ask whether records that can't be used shall be set aside, where there is somebody to ask."""
    if not count or not sys.stdin or not sys.stdin.isatty():
        return False
    noun = "record" if count == 1 else "records"
    return typer.confirm(f"{count} {noun} can't be used. Set aside into a file?", err=True)


def _lines(document: dict[str, Any]) -> Iterator[str]:
    for name, noun in (("requests", "request"), ("machines", "machine"), ("archived", "archived")):
        for record in document.get(name, ()):
            yield json.dumps({noun: record})
