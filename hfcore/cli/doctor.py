"""Own `hfcore doctor`: everything that must be right for Host Factory to get machines, checked row by row."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer  # noqa: TID253 - imported when the command is used

from hfcore import doctor as host
from hfcore import registration
from hfcore.cli.output import ExitCode, as_json
from hfcore.cli.running import SystemClock, make_service, open_plugins
from hfcore.errors import HfcoreError
from hfcore.hookspecs import PROVIDERS
from hfcore.logs import log_trouble, open_log
from hfcore.models import Check
from hfcore.plugins import PluginStatus, installed
from hfcore.storefolder import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from logging import Logger

    from hfcore.cli.running import Session
    from hfcore.config import Settings
    from hfcore.plugins import PluginRecord

app = typer.Typer(add_completion=False)

_LONGEST_CALL = 60
"""Seconds that the doctor may ask the clouds, whatever time a call of Host Factory's has."""


@app.command()
def doctor(
    ctx: typer.Context,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no cloud.")] = False,
) -> None:
    """Check all that must be right, and say what to do; exit code 1 if something is wrong. Nothing is changed.

    A warning is no failure; what could not be checked says why. The work folder gets a file for a moment.
    """
    session: Session = ctx.obj
    rows = list(_rows(session, offline=offline))
    counts = Counter[str](row.status for row in rows)
    columns = {
        "CHECK": lambda item: item["name"],
        "STATUS": lambda item: item["status"],
        "FOUND": lambda item: item["message"],
        "WHAT TO DO": lambda item: item["hint"],
    }
    further = {name: counts[word] for name, word in (("errors", "error"), ("warnings", "warning"))}
    session.output.rows("doctor", map(as_json, rows), columns, empty="", **further)
    if counts["error"]:
        raise typer.Exit(ExitCode.FAILED)


def _rows(session: Session, *, offline: bool) -> Iterator[Check]:
    yield host.python(sys.version_info[:3], sys.executable)
    yield host.versions({one.distribution for one in installed(PROVIDERS)})
    try:
        settings = session.settings()
        logger = open_log(settings, debug=session.debug) if settings else None
    except HfcoreError as error:
        yield Check(name="settings", status="error", message=str(error), hint=error.hint)
        settings = logger = None
    else:
        if settings is None:
            hint = "name one: --provider NAME|DIR"
            yield Check(name="provider instance", status="not checked", message="none is named", hint=hint)
    records = (open_plugins(settings, logger) if settings and logger else session.plugins_alone()).records()
    yield host.byte_code(_sources(records))
    yield from host.plugins(records)
    if settings and logger:
        yield from host.lacking_plugins(settings.work_dir / "data", SystemClock(), records)
        yield from _of_instance(settings)
        yield from registration.checks(settings, os.environ)
        yield from _of_templates(settings, logger, offline=offline)


def _sources(records: tuple[PluginRecord, ...]) -> Iterator[Path]:
    """Give the modules that calls of Host Factory's import: hfcore's own and those of the plug-ins."""
    active = (row.candidate.module for row in records if row.status is PluginStatus.ACTIVE)
    for package in sorted({"hfcore", *(module.partition(".")[0] for module in active)}):
        spec = find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            yield from (path for path in Path(place).rglob("*.py") if "testing" not in path.parts)


def _of_instance(settings: Settings) -> Iterator[Check]:
    data, clock = settings.work_dir / "data", SystemClock()
    user = os.geteuid() if sys.platform != "win32" else 0
    for name, writes in (("conf", False), ("work", True), ("log", True)):
        setting = f"{name}_dir"
        place = (getattr(settings, setting), settings.origin(setting))
        yield _looked_at(f"folder {name}", partial(host.folder, name, *place, writes=writes, user=user))
    yield host.log(log_trouble(settings))
    yield from host.settings(settings.warnings)
    if settings.credential_file:
        yield host.credential_file(Path(settings.credential_file))
    if os.path.isdir(settings.work_dir):  # noqa: PTH112 - pathlib raises where the folder above can't be entered
        yield host.file_system(settings.work_dir.resolve(), _mounts())
        yield host.locking(settings.work_dir)
    yield _looked_at("store", partial(host.store, data, clock))
    yield _looked_at("store lock", partial(host.store_lock, data))
    yield _looked_at("journal", partial(host.journal, data, clock, settings.foreign_after_sec))


def _looked_at(name: str, look: Callable[[], Check]) -> Check:
    """Give a row, also of what this user may not look at."""
    try:
        return look()
    except OSError as error:
        told = f"{error.filename or ''} can't be looked at: {error.strerror}".strip()
        return Check(name=name, status="error", message=told, hint="run as the user of Host Factory")


def _mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def _of_templates(settings: Settings, logger: Logger, *, offline: bool) -> Iterator[Check]:
    """Read the templates, and ask the clouds; all that this keeps is thrown away."""
    with TemporaryDirectory() as scratch:
        owner = settings.owner or owner_of(settings.work_dir / "data")
        aside = replace(settings, work_dir=Path(scratch), owner=owner, call_timeout_sec=_LONGEST_CALL)
        try:
            service = make_service(aside, lambda: logger)
            found = service.templates
        except HfcoreError as error:
            yield Check(name="template files", status="error", message=str(error), hint=error.hint)
            return
        yield from host.templates(found.problems, len(found.templates))
        if offline:
            yield Check(name="clouds", status="not checked", message="by --offline")
        else:
            yield from service.checks(host.accounts(settings.work_dir / "data", SystemClock()))
