"""The help of every command has an example, and each example is a command that hfcore understands."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
import typer

from hfcore.cli.app import app
from hfcore.cli.examples import EXAMPLES
from hfcore.cli.output import Output
from hfcore.cli.running import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Any = typer.main.get_command(app)
SHELL = {">", "|"}


def commands(group: Any = ROOT, *path: str) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - click's, of which Typer may have a copy
    """Name every command, by the words that call it."""
    context = group.context_class(group, info_name="hfcore")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


def parsed(words: list[str]) -> str:
    """Give the path of the command that words call, all of whose arguments and options it has understood."""
    command, path = ROOT, []
    context = command.make_context("hfcore", words, obj=Session(output=Output()))
    while hasattr(command, "list_commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
        path.append(name)
    return " ".join(path)


def test_every_command_has_an_example_and_no_example_is_without_one() -> None:
    assert sorted(EXAMPLES) == sorted(" ".join(path) for path in commands())


@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_the_command_line_understands_the_example(command: str) -> None:
    from hfcore.cli.app import _globals_first

    words = shlex.split(EXAMPLES[command], comments=True)
    words = words[: next((place for place, word in enumerate(words) if word in SHELL), len(words))]
    assert parsed(_globals_first(words)) == command


@pytest.mark.parametrize("command", ["templates generate", "init", "hostfactory requestMachines"])
def test_its_help_shows_the_example(cli: Callable[..., Any], command: str) -> None:
    shown = " ".join(cli(*command.split(), "--help").out.split())
    assert f"Example: hfcore {command}" in shown
