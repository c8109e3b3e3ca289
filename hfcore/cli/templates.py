"""Own `hfcore templates`: what Host Factory may ask for, and everything that is wrong in the template files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer  # noqa: TID253 - imported when the group is used

from hfcore.cli import completion
from hfcore.cli.output import ExitCode, as_json
from hfcore.cli.running import make_service
from hfcore.config import load_settings, read_file
from hfcore.errors import ConfigError, InputError, TemplateError
from hfcore.files import write_new
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

_OPTIONS = "give what is missing: --image, --security-group, --fleet-role"
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
    ctx: typer.Context,
    template_id: Annotated[str, typer.Argument(help="As the file spells it.", autocompletion=completion.templates)],
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


@app.command("generate")
def generate_templates(  # noqa: PLR0913 - each is an option
    ctx: typer.Context,
    types: Annotated[list[str], typer.Argument(metavar="TYPE...", help="Instance types, such as m5.large.")],
    *,
    api: Annotated[
        str, typer.Option(help="The provider API of the templates.", autocompletion=completion.plugins)
    ] = "RunInstances",
    image: Annotated[str, typer.Option(metavar="ID|PATH", help="Image id, or the path of an SSM parameter.")] = "",
    subnet: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A subnet; may be repeated. By default those of the VPC.")
    ] = None,
    vpc: Annotated[str, typer.Option(metavar="ID", help="Take the subnets of this VPC.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Take subnets with this tag; may be repeated.")
    ] = None,
    security_group: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A security group; may be repeated.")
    ] = None,
    price_type: Annotated[str, typer.Option(help="ondemand, spot or heterogeneous.")] = "ondemand",
    fleet_role: Annotated[str, typer.Option(metavar="ARN", help="The role that Spot Fleet works with.")] = "",
    max_number: Annotated[int, typer.Option(help="Most units of each template; -1 is no limit.")] = 10,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="A new file; by default it is printed.")
    ] = None,
) -> None:
    """Make a template file of instance types and the account's subnets; nothing in AWS is changed.

    ncpus are cores: of types with hyper-threading, half of their vCPUs.
    """
    from hfcore.generating import subnet_ids, template_file
    from hfcore.models import SubnetsWanted
    from hfcore.pairs import split_pairs

    session: Session = ctx.obj
    try:
        wanted = None if subnet else SubnetsWanted(network=vpc, tags=split_pairs(";".join(tag or ())))
    except ValueError as error:
        raise InputError(f"--tag {error}") from None
    name, found = session.service().offers(api, tuple(dict.fromkeys(types)), wanted)
    shared = {
        "providerApi": name,
        "priceType": price_type,
        "maxNumber": max_number,
        "imageId": image,
        "subnetId": subnet or subnet_ids(found.subnets),
        "securityGroupIds": security_group,
        "fleetRole": fleet_role,
    }
    text = json.dumps(template_file(found.types, shared), indent=2)
    _refuse_wrong(session, text.encode())
    if file is None:
        session.output.text(text)
        return
    if not write_new(file, f"{text}\n".encode()):
        raise InputError(f"{file} is there already, and is not overwritten")
    session.output.note(f"written: {file}, with {len(found.types)} templates", word="done")


def _refuse_wrong(session: Session, data: bytes) -> None:
    """Judge a file that is not written yet as the provider instance would.

    Raises:
        TemplateError: It has errors.
    """
    problems, _ = _check_data(session, data, "the options")
    errors = tuple(problem for problem in problems if problem.severity is Severity.ERROR)
    told = dict.fromkeys(f"{each.field.removeprefix('defaults.')}: {each.message}" for each in errors)
    if errors:
        raise TemplateError(f"the templates would have errors: {'; '.join(told)}", problems=errors, hint=_OPTIONS)


def _items(service: Service) -> list[dict[str, Any]]:
    problems = service.templates.problems
    views = {view.template.template_id: view for view in service.available_templates()}
    left_out = dict.fromkeys(each.template_id for each in problems if each.template_id not in {"", *views})
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
    try:
        data = read_file(file)
    except ConfigError as error:
        return (Problem(field="", message=error.message, source=str(file)),), 0
    return _check_data(session, data, str(file))


def _check_data(session: Session, data: bytes, source: str) -> tuple[tuple[Problem, ...], int]:
    """Check what a file holds; `source` is what problems call it."""
    with TemporaryDirectory() as folder:
        conf_dir = Path(folder, "conf")
        conf_dir.mkdir()
        copy = conf_dir / "templates.json"
        copy.write_bytes(data)
        try:
            settings = session.settings() or load_settings(environ=os.environ, provider=folder)
            problems, count = _check(session, replace(settings, conf_dir=conf_dir, work_dir=Path(folder)))
        except ConfigError as error:
            problems, count = (Problem(field="", message=error.message.replace(str(copy), source)),), 0
    return tuple(replace(problem, source=source) for problem in problems), count


def _check(session: Session, settings: Settings) -> tuple[tuple[Problem, ...], int]:
    """Give the problems, and how many templates can be used."""
    found = make_service(settings, lambda: open_log(settings, debug=session.debug)).templates
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
