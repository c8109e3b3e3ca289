"""A verb has two ways in, past Typer and through it: both read every option alike."""

from __future__ import annotations

import pytest

from hfcore.cli import hostfactory, main
from hfcore.cli.app import run as run_application
from hfcore.cli.hostfactory import VERBS, VerbOptions, parse_words

WORDS = [
    [],
    ["-f", "in.json"],
    ["-fin.json"],
    ["--file", "in.json"],
    ["--file=in.json"],
    ["-f", "-"],
    ["-f", ""],
    ["--data", '{"requests": []}'],
    ["--data="],
    ["basic-template", "2"],
    ["req-1", "req-2", "req-3"],
    ["--provider", "aws inst", "i-1"],
    ["i-1", "--provider=/srv/aws"],
    ["--debug", "--data", "{}"],
    ["-f", "in.json", "basic-template", "--debug", "--provider", "x"],
    ["--", "-odd-name"],
    ["--file", "first.json", "-f", "last.json"],
    ["--file=first.json", "req-1", "-f", "-"],
    ["--no-color", "--output", "json", "req-1", "-o", "table", "--output=json"],
]


@pytest.fixture
def through_typer(monkeypatch: pytest.MonkeyPatch) -> list[VerbOptions]:
    seen: list[VerbOptions] = []

    def take(options: VerbOptions) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr(hostfactory, "run", take)
    monkeypatch.setattr("hfcore.cli.app.run_verb", take)
    return seen


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
@pytest.mark.parametrize("verb", VERBS)
def test_every_option_means_the_same_on_both_ways(
    verb: str, words: list[str], through_typer: list[VerbOptions]
) -> None:
    straight = parse_words([verb, *words])
    assert run_application(["hostfactory", verb, *words]) == 0
    assert through_typer == [straight]


def test_options_behind_a_verb_are_options_where_posix_wants_them_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    assert parse_words(["getReturnRequests", "-f", "in.json"]) == VerbOptions(verb="getReturnRequests", file="in.json")


@pytest.mark.parametrize(
    "before", [["--debug"], ["--provider", "aws inst"], ["--provider=hostfactory", "-o", "json"]], ids=" ".join
)
def test_options_before_the_group_are_those_of_the_verb(before: list[str], through_typer: list[VerbOptions]) -> None:
    assert main([*before, "hostfactory", "getRequestStatus", "req-1"]) == 0
    assert through_typer == [parse_words(["getRequestStatus", "req-1", *before])]


def test_what_is_wrong_before_the_group_is_told_by_a_document_too(through_typer: list[VerbOptions]) -> None:
    assert main(["--no-color", "hostfactory", "getRequestStatus", "--bogus"]) == 0
    assert main(["--bogus", "hostfactory", "getRequestStatus"]) == 0
    assert all("bogus" in one.problem for one in through_typer)
    assert len(through_typer) == 2


@pytest.mark.parametrize("words", [["--nonsense"], ["-f"], ["-x", "in.json"], ["--provider"]], ids=" ".join)
def test_a_misspelt_option_of_a_verb_stays_on_the_way_that_answers_with_a_document(words: list[str]) -> None:
    options = parse_words(["requestMachines", *words])
    assert options is not None
    assert options.problem


def test_help_is_left_to_typer() -> None:
    assert parse_words(["requestMachines", "--help"]) is None
    assert parse_words(["--help"]) is None
    assert parse_words(["nonsense"]) is None
