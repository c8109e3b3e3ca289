"""How requests find their plug-ins: one call for each group, faults kept apart, and what stands in for whom."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.config import Settings
from hfcore.dispatch import Answers, CallCache, Dispatch, at_once
from hfcore.errors import CloudError, PluginUnusable, UnknownProvider
from hfcore.hookspecs import CLIENT_FACTS
from hfcore.journal import IntentFolder
from hfcore.memory import FileMemory
from hfcore.models import Fault, Outcome, Request, RequestStatus
from hfcore.plugins import Candidate, Plugins, Provider
from hfcore.testing import FakeCall, FakeCloud, FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfcore.context import Context

LOGGER = logging.getLogger("hfcore.test")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
BROKEN = Candidate(name="Broken", module="hfcore_no_such_module", distribution="hfcore-broken", version="1")


class StoppedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 1000.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


class World:
    """Installed plug-ins, each with a cloud of its own, and a dispatch over them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.settings = Settings(conf_dir=folder, work_dir=folder, log_dir=folder, provider="grid", call_timeout_sec=60)
        self.candidates: list[Candidate] = []
        self.disabled: tuple[str, ...] = ()
        self._folder = folder
        self._stack = stack

    def install(self, name: str, *, cloud_name: str = "aws", distribution: str = "") -> FakeCloud:
        cloud = FakeCloud()
        provider = FakeProvider(cloud, name=name, cloud_name=cloud_name)
        distribution = distribution or f"hfcore-{name.lower()}"
        self.candidates.append(self._stack.enter_context(provider.installed(name, distribution=distribution)))
        return cloud

    def dispatch(self, *, fallback: str = "RunInstances") -> Dispatch:
        plugins = Plugins(self.candidates, logger=LOGGER, disabled=self.disabled)
        clock = StoppedClock()
        return Dispatch(
            plugins=lambda: plugins,
            settings=replace(self.settings, fallback=fallback),
            owner="owner-1",
            journal=IntentFolder(self._folder / "journal", owner="owner-1", clock=clock),
            memory=FileMemory(self._folder / "memory.json", clock=clock),
            clock=clock,
            log=lambda: LOGGER,
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def a_request(number: int, api: str = "One", **changed: object) -> Request:
    values: dict[str, Any] = {
        "request_id": f"req-{number}",
        "status": RequestStatus.IN_PROGRESS,
        "created_at": NOW,
        "provider_api": api,
        "distribution": f"hfcore-{api.lower()}",
        "cloud": "aws",
        "region": "us-east-1",
    }
    return Request(**(values | changed))


def clean(dispatch: Dispatch, *requests: Request) -> Answers[Outcome]:
    return dispatch.each(requests, lambda request: request, lambda p, r, c: p.cleanup(r, c))


# Groups


def test_all_requests_of_a_plug_in_region_and_endpoint_go_in_one_call(world: World) -> None:
    one, two = world.install("One"), world.install("Two")
    answers = clean(
        world.dispatch(),
        a_request(1),
        a_request(2, "Two"),
        a_request(3, region="eu-west-1"),
        a_request(4),
        a_request(5, endpoint="http://127.0.0.1:1"),
    )
    assert {result.request_id for result in answers.results} == {f"req-{number}" for number in range(1, 6)}
    assert two.calls == [FakeCall(hook="cleanup", ids=("req-2",), region="us-east-1")]
    assert sorted(one.calls, key=lambda call: call.ids) == [
        FakeCall(hook="cleanup", ids=("req-1", "req-4"), region="us-east-1"),
        FakeCall(hook="cleanup", ids=("req-3",), region="eu-west-1"),
        FakeCall(hook="cleanup", ids=("req-5",), region="us-east-1"),
    ]


def test_nothing_to_ask_about_calls_nothing_and_loads_nothing(world: World) -> None:
    world.candidates = [BROKEN]
    answers = clean(world.dispatch())
    assert (answers.results, answers.faults, answers.notes) == ((), {}, {})


def test_a_fault_of_one_group_is_told_for_its_requests_alone(world: World) -> None:
    one, two = world.install("One"), world.install("Two")
    one.fail("cleanup", CloudError(Fault(code="Throttling", message="slow down")))
    two.fail("cleanup", ValueError("oh"))
    answers = clean(
        world.dispatch(), a_request(1), a_request(2, "Two"), a_request(3), a_request(4, "Two", region="eu-west-1")
    )
    assert {result.request_id for result in answers.results} <= {"req-2", "req-4"}
    assert len(answers.results) == 1
    assert len(answers.faults) == 3
    assert str(answers.faults["req-1"]) == "Throttling: slow down"
    assert answers.faults["req-3"] is answers.faults["req-1"]


def test_a_plug_in_that_can_not_be_used_harms_its_own_requests_alone(world: World) -> None:
    world.install("One")
    world.candidates.append(BROKEN)
    answers = clean(world.dispatch(), a_request(1), a_request(2, "Broken"))
    assert [result.request_id for result in answers.results] == ["req-1"]
    assert isinstance(answers.faults["req-2"], PluginUnusable)


def test_several_groups_are_asked_at_the_same_time() -> None:
    both_are_here = threading.Barrier(3)
    assert at_once(lambda number: both_are_here.wait(timeout=10) >= 0 and number, (1, 2, 3)) == [1, 2, 3]


def test_a_single_group_is_asked_without_a_thread() -> None:
    assert at_once(lambda _: threading.current_thread(), ("one",)) == [threading.main_thread()]


def test_an_answer_that_is_shared_is_made_once_by_all_threads() -> None:
    cache, made = CallCache(), []

    def make() -> int:
        made.append(1)
        return 7

    assert at_once(lambda _: cache.once("key", make), tuple(range(20))) == [7] * 20
    assert made == [1]
    assert cache.once("other", lambda: None) is None


def test_an_answer_that_failed_is_made_again() -> None:
    cache = CallCache()

    def fail() -> int:
        raise CloudError(Fault(code="Throttling", message="m"))

    with pytest.raises(CloudError):
        cache.once("key", fail)
    assert cache.once("key", lambda: 1) == 1


# What a plug-in is handed


def test_a_context_speaks_of_the_requests_region_and_the_calls_deadline(world: World) -> None:
    world.install("One")
    dispatch = world.dispatch()
    seen: list[Context] = []

    def ask(provider: Provider, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        seen.append(context)
        return provider.cleanup(requests, context)

    dispatch.each((a_request(1, region="eu-west-1", endpoint="http://e"),), lambda request: request, ask)
    (context,) = seen
    assert (context.region, context.endpoint, context.owner, context.provider) == (
        "eu-west-1",
        "http://e",
        "owner-1",
        "grid",
    )
    assert context.deadline == 1060.0


def test_clients_are_made_once_for_a_cloud_region_and_endpoint(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[tuple[str, str]] = []

    def connect(*, region: str, endpoint: str, **others: object) -> Callable[[str, str], tuple[str, ...]]:
        assert {"region", "endpoint", *others} == set(CLIENT_FACTS)
        connected.append((region, endpoint))
        return lambda service, patience: (service, patience, region)

    monkeypatch.setattr("hfcore.plugins.cloud_clients", lambda cloud, _: {"aws": connect}[cloud])
    world.install("One")
    world.install("Two")
    dispatch = world.dispatch()
    one, two = dispatch.for_template("One")[0], dispatch.for_template("Two")[0]
    assert dispatch.context(one, "r-1", "").clients("ec2", "quick") == ("ec2", "quick", "r-1")
    dispatch.context(two, "r-1", "").clients("sts", "patient")
    dispatch.context(two, "r-2", "").clients("ec2", "quick")
    assert connected == [("r-1", ""), ("r-2", "")]


# What serves a new request


def test_a_known_api_is_served_by_its_own_plug_in_without_a_note(world: World) -> None:
    world.install("One")
    world.install("RunInstances")
    provider, note = world.dispatch().for_template("one")
    assert (provider.name, note) == ("One", "")


def test_an_unknown_api_is_served_by_run_instances_and_the_note_says_so(world: World) -> None:
    world.install("RunInstances")
    provider, note = world.dispatch().for_template("Nonesuch")
    assert provider.name == "RunInstances"
    assert "Nonesuch" in note
    assert "RunInstances" in note


def test_an_unknown_api_is_refused_where_the_setting_says_so(world: World) -> None:
    world.install("RunInstances")
    with pytest.raises(UnknownProvider, match="Nonesuch"):
        world.dispatch(fallback="error").for_template("Nonesuch")


def test_an_unknown_api_without_run_instances_is_refused_by_its_own_name(world: World) -> None:
    world.install("One")
    with pytest.raises(UnknownProvider, match="Nonesuch"):
        world.dispatch().for_template("Nonesuch")


def test_a_plug_in_that_can_not_be_used_never_falls_back_for_a_new_request(world: World) -> None:
    world.install("RunInstances")
    world.install("Off")
    world.install("Twice", distribution="first")
    world.install("Twice", distribution="second")
    world.candidates.append(BROKEN)
    world.disabled = ("Off",)
    for name, why in (("Broken", "failed"), ("Off", "disabled"), ("Twice", "conflict")):
        with pytest.raises(PluginUnusable, match=f"is {why}"):
            world.dispatch().for_template(name)


# What serves a stored request


def test_a_stored_request_is_served_by_the_distribution_that_it_names(world: World) -> None:
    first, second = world.install("Twice", distribution="first"), world.install("Twice", distribution="second")
    clean(world.dispatch(), a_request(1, "Twice", distribution="second"))
    assert (len(first.calls), len(second.calls)) == (0, 1)


@pytest.mark.parametrize("name", ["Gone", "Broken"])
def test_run_instances_stands_in_for_a_plug_in_of_its_cloud_and_the_note_says_so(world: World, name: str) -> None:
    world.install("RunInstances")
    world.candidates.append(BROKEN)
    provider, note = world.dispatch().for_request(a_request(1, name))
    assert provider.name == "RunInstances"
    assert f"{name} (hfcore-{name.lower()})" in note
    answers = clean(world.dispatch(), a_request(1, name), a_request(2, "RunInstances"))
    assert answers.notes == {"req-1": note}


@pytest.mark.parametrize("cloud_name", ["", "other"])
def test_nothing_stands_in_for_a_plug_in_of_another_cloud(world: World, cloud_name: str) -> None:
    world.install("RunInstances", cloud_name=cloud_name)
    with pytest.raises(UnknownProvider, match="Gone"):
        world.dispatch().for_request(a_request(1, "Gone"))


def test_nothing_stands_in_for_a_request_whose_cloud_is_not_known(world: World) -> None:
    world.install("RunInstances", cloud_name="")
    with pytest.raises(UnknownProvider):
        world.dispatch().for_request(a_request(1, "Gone", cloud=""))


def test_without_run_instances_the_fault_is_the_missing_plug_ins(world: World) -> None:
    world.candidates = [BROKEN]
    with pytest.raises(PluginUnusable, match="Broken"):
        world.dispatch().for_request(a_request(1, "Broken"))
