"""Own `hfcore config`: every setting of a provider instance, and where it comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer  # noqa: TID253 - imported when the group is used

from hfcore.cli.output import as_json
from hfcore.config import SETTINGS, WITHOUT_EFFECT, load_settings
from hfcore.logs import log_trouble

if TYPE_CHECKING:
    from hfcore.cli.running import Session
    from hfcore.config import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The settings.")


@app.callback()
def _group() -> None:
    """Keep `show` a command of its own."""


@app.command("show")
def show_settings(ctx: typer.Context) -> None:
    """Show every setting with its value and where that comes from."""
    session: Session = ctx.obj
    found = session.settings()
    settings = found or _without_instance()
    warnings = [*settings.warnings, log_trouble(settings) if found else "no provider instance is named"]
    warnings = [warning for warning in warnings if warning]
    without_effect = {key: WITHOUT_EFFECT[key] for key in settings.without_effect}
    columns = {
        "SETTING": lambda item: item["name"],
        "VALUE": lambda item: _shown(item["value"]),
        "FROM": lambda item: item["origin"],
    }
    session.output.rows(
        "config",
        [_item(settings, name, known=bool(found) or not SETTINGS[name].placed) for name in SETTINGS],
        columns,
        empty="",
        warnings=warnings,
        without_effect=without_effect,
    )
    for text in () if session.output.is_json else warnings:
        session.output.note(text, word="warning")
    for key, reason in () if session.output.is_json else without_effect.items():
        session.output.note(f"{key} has no effect: {reason}")


def _item(settings: Settings, name: str, *, known: bool) -> dict[str, Any]:
    return {
        "name": name,
        "value": as_json(getattr(settings, name)) if known else None,
        "origin": settings.origin(name) if known else "not named",
        "description": SETTINGS[name].doc,
        "variable": "" if SETTINGS[name].placed else f"HFCORE_{name.upper()}",
    }


def _without_instance() -> Settings:
    """Read what the environment alone sets, as an instance with an empty conf folder would have it."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        Path(folder, "conf").mkdir()
        return load_settings(environ=os.environ, provider=folder)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)
