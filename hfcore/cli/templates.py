"""Own `hfcore templates`: what Host Factory may ask for, and everything that is wrong in the template files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the group is used

from hfcore.cli.output import ExitCode, as_json
from hfcore.cli.running import make_service
from hfcore.config import load_settings, read_file
from hfcore.errors import ConfigError
from hfcore.logs import open_log
from hfcore.models import Problem, Severity
from hfcore.plugins import PluginStatus
from hfcore.withheld import concealed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfcore.cli.running import Session
    from hfcore.config import Settings
    from hfcore.models import Template
    from hfcore.service import Service
    from hfcore.views import TemplateView

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The templates of a provider instance.")

_NO_LIMIT = "no limit"


@app.command("list")
def list_templates(ctx: typer.Context) -> None:
    """List the templates, those left out for an error too."""
    session: Session = ctx.obj
    service = session.service()
    items = _items(service)
    columns = {
        "TEMPLATE": lambda item: item["template_id"],
        "API": lambda item: f"{item['provider_api'] or ''}\n{item['fleet_type'] or ''}".strip(),
        "PRICE": lambda item: item["price_type"] or "",
        "TYPES": lambda item: "\n".join(_types(item["vm_types"])),
        "MAX": lambda item: _number(item, "max_number"),
        "AVAILABLE": lambda item: _number(item, "available"),
        "PROBLEMS": lambda item: _count(item["problems"]),
    }
    session.output.rows("templates", items, columns, empty="no template")
    if service.templates.problems and not session.output.is_json:
        session.output.note("`hfcore templates validate` tells the problems", word="hint")


@app.command("show")
def show_template(
    ctx: typer.Context, template_id: Annotated[str, typer.Argument(help="As the file spells it.")]
) -> None:
    """Show every field of a template, and what Host Factory is told of it."""
    from hfcore.hostfactory import templates_document

    session: Session = ctx.obj
    service = session.service()
    template = service.templates.require(template_id)
    views = [view for view in service.available_templates() if view.template is template]
    item = _fields(template) | {"host_factory": templates_document(views, ())["templates"][0]}
    session.output.details("template", [item])


@app.command("validate")
def validate_templates(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="By default those of the provider instance.")
    ] = None,
) -> None:
    """Find every problem in template files; exit code 3 if there is an error. Nothing is written."""
    session: Session = ctx.obj
    checks = [_check_file(session, file) for file in files] if files else [_check_instance(session)]
    problems = [problem for found, _ in checks for problem in found]
    usable = sum(count for _, count in checks)
    columns = {
        "SEVERITY": lambda item: item["severity"],
        "FILE, TEMPLATE": lambda item: f"{item['file']}\n{item['template_id']}".rstrip(),
        "FIELD": lambda item: item["field"],
        "PROBLEM": lambda item: f"{item['message']}\n{item['hint']}".rstrip(),
    }
    empty = f"no problem in {usable} template{'' if usable == 1 else 's'}"
    session.output.rows("template-problems", map(_problem, problems), columns, empty=empty, usable_templates=usable)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise typer.Exit(ExitCode.CONFIG)


@app.command("schema")
def print_schema(ctx: typer.Context) -> None:
    """Print the JSON Schema of a template file, with the fields of the installed plug-ins.

    It refuses unknown and snake-case fields, of which `templates validate` only warns or which it takes.
    """
    from hfcore.templateschema import template_schema

    session: Session = ctx.obj
    infos = (record.info for record in session.plugins().records() if record.status is PluginStatus.ACTIVE)
    session.output.text(
        json.dumps(template_schema({info.name: info.template_fields for info in infos if info}), indent=2)
    )


def _items(service: Service) -> list[dict[str, Any]]:
    problems = service.templates.problems
    views = {view.template.template_id: view for view in service.available_templates()}
    left_out = dict.fromkeys(each.template_id for each in problems if each.template_id not in views)
    return [
        _summary(template_id, views.get(template_id), (each for each in problems if each.template_id == template_id))
        for template_id in (*views, *left_out)
    ]


def _summary(template_id: str, view: TemplateView | None, problems: Iterable[Problem]) -> dict[str, Any]:
    names = ("provider_api", "fleet_type", "price_type", "vm_types", "max_number")
    return {
        "template_id": template_id,
        "usable": view is not None,
        **{name: as_json(getattr(view.template, name)) if view else None for name in names},
        "available": view.available if view else None,
        "problems": [_problem(problem) for problem in problems],
    }


def _fields(template: Template) -> dict[str, Any]:
    """Give every field; user data may hold secrets, and is not shown."""
    return concealed(as_json(template))


def _check_instance(session: Session) -> tuple[tuple[Problem, ...], int]:
    settings = load_settings(environ=os.environ, provider=session.provider or None)
    with TemporaryDirectory() as folder:
        return _check(session, replace(settings, work_dir=Path(folder)))


def _check_file(session: Session, file: Path) -> tuple[tuple[Problem, ...], int]:
    """Check one file, as the only one of an instance that has the settings of the one that is named, if one is."""
    with TemporaryDirectory() as folder:
        conf_dir = Path(folder, "conf")
        conf_dir.mkdir()
        copy = conf_dir / "templates.json"
        try:
            copy.write_bytes(read_file(file))
            settings = session.settings() or load_settings(environ=os.environ, provider=folder)
            problems, count = _check(session, replace(settings, conf_dir=conf_dir, work_dir=Path(folder)))
        except ConfigError as error:
            problems, count = (Problem(field="", message=error.message.replace(str(copy), str(file))),), 0
    return tuple(replace(problem, source=str(file)) for problem in problems), count


def _check(session: Session, settings: Settings) -> tuple[tuple[Problem, ...], int]:
    """Give the problems, and how many templates can be used."""
    found = make_service(settings, open_log(settings, debug=session.debug)).templates
    return found.problems, len(found.templates)


def _problem(problem: Problem) -> dict[str, str]:
    return {
        "file": problem.source,
        "template_id": problem.template_id,
        "field": problem.field,
        "severity": problem.severity.value,
        "message": problem.message,
        "hint": problem.hint,
    }


def _types(weights: dict[str, int] | None) -> list[str]:
    return [name if weight == 1 else f"{name} ({weight} units)" for name, weight in (weights or {}).items()]


def _number(item: dict[str, Any], key: str) -> str:
    if not item["usable"]:
        return ""
    return _NO_LIMIT if item[key] in (None, -1) else str(item[key])


def _count(problems: list[dict[str, str]]) -> str:
    counts = {word: sum(each["severity"] == word for each in problems) for word in ("error", "warning")}
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items() if count)
