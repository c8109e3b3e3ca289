"""Make what the pages of docs/ have of the code: errors, AWS's codes, template fields, settings, exit codes, commands.

`make golden` runs it, and tests/docs holds the pages to it. What is made stands between `<!-- made: NAME -->` and
`<!-- end: NAME -->`, NAME being a key of `TABLES`.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hfcore.aws.faults import MEANINGS, NEXT
from hfcore.cli import app as application
from hfcore.cli.examples import EXAMPLES
from hfcore.cli.output import ExitCode
from hfcore.config import SETTINGS
from hfcore.errors import CODES, meaning
from hfcore.templatefields import SAME, TemplateFields
from hfcore.testing import ProviderContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hfcore.config import Setting
    from hfcore.models import ProviderInfo

DOCS = Path(__file__).parents[1] / "docs"
PLUGINS: Mapping[str, ProviderInfo] = {
    name: import_module(f"hfcore_aws_{name.lower()}.plugin").provider_info()
    for name in ("RunInstances", "EC2Fleet", "SpotFleet", "ASG")
}
FIELDS = {name: info.alias or name for name, info in TemplateFields.model_fields.items()}
MEANS = {FIELDS[other]: FIELDS[name] for name, other in SAME}
SILENT = "—"
MADE = re.compile(r"<!-- made: (\w+) -->\n(.*?)<!-- end: \1 -->\n", re.DOTALL)


def table(*heads: str) -> Iterator[str]:
    """Give the head of a table."""
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"


def cell(text: str) -> str:
    """Give a text as a cell may hold it."""
    return text.replace("|", "\\|").replace("\n", " ")


def errors() -> Iterator[str]:
    """Give a row for each error code."""
    yield from table("code", "what it means", "why", "retryable", "what to do")
    for code, kind in CODES.items():
        retryable = "yes" if kind.retryable else "no"
        yield f"| {code} | {meaning(kind)} | {kind.why} | {retryable} | {kind.remedy} |"


def aws() -> Iterator[str]:
    """Give what hfcore does of itself, and a row for each of AWS's codes."""
    yield from table("kind", "what hfcore does by itself")
    for kind, deed in NEXT.items():
        yield f"| {kind} | {deed} |"
    yield ""
    yield from table("AWS's or botocore's code", "kind", "what it means", "what to do")
    for one in MEANINGS:
        codes = "<br>".join(f"`{code}`" for code in one.codes)
        yield f"| {codes} | {one.kind} | {one.means} | {one.remedy} |"


def word(info: ProviderInfo, field: str) -> str:
    """Give what a plug-in says of a field; of another way to say a field, what it says of that one."""
    if field in info.refused_fields:
        return f"refused: {info.refused_fields[field]}"
    if field in info.without_effect:
        return f"no effect: {info.without_effect[field]}"
    if field in info.template_fields:
        return "yes"
    return word(info, MEANS[field]) if field in MEANS else SILENT


def template_fields() -> Iterator[str]:
    """Give a row for each template field, and a column for each plug-in."""
    yield from table("field", "what it is", *PLUGINS)
    for name, field in FIELDS.items():
        words = " | ".join(cell(word(info, field)) for info in PLUGINS.values())
        about = (TemplateFields.model_fields[name].description or "").removesuffix(".")
        yield f"| `{field}` | {about} | {words} |"


def settings() -> Iterator[str]:
    """Give a row for each setting."""
    yield from table("setting", "what it is for", "what it may be", "default", "variable", "others' names")
    for name, setting in SETTINGS.items():
        others = ", ".join(f"`{one}`" for one in dict.fromkeys((setting.ibm_key, *setting.others)) if one)
        about = (setting.doc.removesuffix("."), setting.kind.allowed, _default(setting), f"`HFCORE_{name.upper()}`")
        yield f"| `{name}` | {' | '.join(map(cell, about))} | {others} |"


def _default(setting: Setting) -> str:
    if setting.default in (None, "", ()) or setting.default == {}:
        return ""
    return f"`{setting.default}`".lower() if isinstance(setting.default, bool) else f"`{setting.default}`"


def exit_codes() -> Iterator[str]:
    """Give a row for each exit code."""
    yield from table("exit code", "what it means")
    for code in ExitCode:
        yield f"| {code.value} | {code.meaning} |"


def all_commands() -> dict[str, Any]:
    """Give every command by its words."""
    top = typer.main.get_command(application.app)
    context = typer.Context(top)
    found: dict[str, Any] = {}
    for name in top.list_commands(context):  # type: ignore[attr-defined]  # a group
        command = top.get_command(context, name)  # type: ignore[attr-defined]  # the same
        members = getattr(command, "commands", {})
        found |= {f"{name} {member}": each for member, each in members.items()} or {name: command}
    return found


def commands() -> Iterator[str]:
    """Give a section for each command: what it does, its words and options, an example."""
    for words, command in all_commands().items():
        yield from (f"### hfcore {words}", "", command.help, "")
        context = typer.Context(command)
        rows = [found for one in command.params if (found := one.get_help_record(context))]
        if rows:
            yield from table("word, option", "what it is")
            yield from (f"| `{cell(spelt).replace(' <list[str]>', '')}` | {cell(about)} |" for spelt, about in rows)
            yield ""
        yield from ("```", f"hfcore {EXAMPLES[words]}", "```", "")


def contract() -> Iterator[str]:
    """Give what the contract suite proves, in the words of its tests' names."""
    for name in vars(ProviderContract):
        if name.startswith("test_"):
            yield f"- {name.removeprefix('test_').replace('_', ' ').capitalize()}."


TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "errors": errors,
    "aws": aws,
    "fields": template_fields,
    "settings": settings,
    "exit_codes": exit_codes,
    "commands": commands,
    "contract": contract,
}


def renewed(text: str) -> str:
    """Give a page's text with all that is made in it made anew."""
    return MADE.sub(lambda found: f"<!-- made: {found[1]} -->\n{made(found[1])}<!-- end: {found[1]} -->\n", text)


def made(name: str) -> str:
    """Give what is made under a name."""
    return "".join(f"{line}\n" for line in TABLES[name]())


def main() -> None:
    """Write all pages anew."""
    for page in DOCS.glob("*.md"):
        page.write_text(renewed(page.read_text()))


if __name__ == "__main__":
    main()
