"""The pages have what the code has: `make golden` writes anew what is made of it."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hfcore import context, hookspecs, models
from hfcore.cli.examples import EXAMPLES
from hfcore.errors import CODES, meaning
from hfcore.plugincheck import HOOKS
from hfcore.templatefields import TemplateFields

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MODELS = {
    name: kind
    for part in (models, context)
    for name, kind in vars(part).items()
    if is_dataclass(kind) and kind.__module__ == part.__name__
}


@pytest.mark.parametrize("page", sorted(page.name for page in DOCS.glob("*.md")))
def test_what_is_made_of_the_code_is_what_the_code_says(pages: ModuleType, page: str) -> None:
    text = (DOCS / page).read_text()
    assert text == pages.renewed(text), "see the difference, and write it: make golden"


def test_all_that_is_made_is_on_a_page(pages: ModuleType) -> None:
    found = [name for page in DOCS.glob("*.md") for name, _ in pages.MADE.findall(page.read_text())]
    assert sorted(found) == sorted(pages.TABLES)


@pytest.mark.parametrize("code", CODES)
def test_every_error_says_what_it_means_why_it_comes_and_what_to_do(code: str) -> None:
    its = vars(CODES[code])
    assert {"code", "why", "remedy"} <= set(its)
    for said in (meaning(CODES[code]), its["why"], its["remedy"]):
        assert len(said) > 8
        assert not said.endswith(".")


def test_no_code_of_an_error_stands_in_the_source_that_is_not_explained() -> None:
    source = (path.read_text() for path in (ROOT / "hfcore").rglob("*.py"))
    assert {code for text in source for code in re.findall(r"\bHF\d{4}\b", text)} <= set(CODES)


def test_every_word_and_option_of_a_command_has_its_help(pages: ModuleType) -> None:
    for words, command in pages.all_commands().items():
        assert command.help, words
        assert all(one.help for one in command.params), words


def test_every_command_has_an_example_and_every_example_is_of_a_command(pages: ModuleType) -> None:
    assert set(EXAMPLES) == set(pages.all_commands())


def test_every_setting_and_exit_code_says_what_it_is(pages: ModuleType) -> None:
    for name in ("settings", "exit_codes"):
        assert not [line for line in pages.made(name).splitlines() if re.search(r"^\| \S+ \| *\|", line)]


def test_every_variable_that_the_code_reads_is_on_a_page() -> None:
    source = "".join(path.read_text() for path in (ROOT / "hfcore").rglob("*.py") if "testing" not in path.parts)
    shown = "".join(page.read_text() for page in DOCS.glob("*.md"))
    assert {name for name in re.findall(r"HFCORE_[A-Z_]+[A-Z]", source) if name not in shown} == set()


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_what_it_takes_and_gives_and_has_an_example(hook: str) -> None:
    doc = inspect.getdoc(getattr(hookspecs, hook)) or ""
    assert described(doc) == HOOKS[hook]
    assert ("Returns:" in doc) == (hook != "on_event")
    assert "Example:" in doc


@pytest.mark.parametrize("name", MODELS)
def test_every_field_of_a_model_says_what_it_is(name: str) -> None:
    said, its = described(inspect.getdoc(MODELS[name]) or ""), {field.name for field in fields(MODELS[name])}
    assert said <= its
    assert its - said <= (set(TemplateFields.model_fields) if name == "Template" else set())


def test_every_command_that_a_page_names_is_one(pages: ModuleType) -> None:
    known = pages.all_commands()
    groups = {words.partition(" ")[0] for words in known}
    fence = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *ROOT.glob("examples/*/*.md")):
        text = page.read_text()
        code = [*"".join(fence.findall(text)).splitlines(), *re.findall(r"`([^`]+)`", fence.sub("", text))]
        for line in code:
            said = re.match(r"hfcore (?:--\S+ \S+ )*([a-z]\S*)(?: ([a-z]\w*))?", line)
            if said:
                first, second = said.groups()
                assert first in groups, (page.name, line)
                assert first in known or not second or f"{first} {second}" in known, (page.name, line)


def described(doc: str) -> set[str]:
    """Name what a docstring's `Args` tells of."""
    return set(re.findall(r"^    (\w+): \S", doc.partition("Args:")[2].partition("\n\n")[0], re.MULTILINE))
