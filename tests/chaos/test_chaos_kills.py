"""A call is killed at each fault point, and nothing is lost, doubled or left behind.

Each failure names its death as `case/step/point/n`; `make chaos DEATH=case/step/point/n` replays it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.conftest import Death, Stage


def test_every_fault_point_is_met_in_the_life_of_a_request(
    stage: Stage, case_name: str, point_names: list[str]
) -> None:
    counts = stage.counts(case_name)
    met = {point for step in counts.values() for point, times in step.items() if times}
    assert met == set(point_names)


def test_a_call_killed_at_a_fault_point_loses_and_doubles_nothing(
    stage: Stage, choose: Callable[..., Death], case_name: str, own_point: str
) -> None:
    stage.die(choose(case_name, own_point))


def test_a_call_killed_at_a_fault_point_of_the_core_loses_and_doubles_nothing(
    stage: Stage, choose: Callable[..., Death], core_point: str
) -> None:
    stage.die(choose(point=core_point))


def test_a_call_killed_and_not_asked_about_before_the_deadline_loses_and_doubles_nothing(
    stage: Stage, choose: Callable[..., Death], case_name: str
) -> None:
    stage.die(choose(case_name, late=True))


@pytest.mark.chaos
def test_a_call_killed_at_any_moment_loses_and_doubles_nothing(
    stage: Stage, deaths: Callable[..., Iterator[Death]], case_name: str, step: str, point_name: str
) -> None:
    for death in deaths(case_name, step, point_name):
        stage.die(death)


@pytest.mark.chaos
def test_a_call_killed_at_any_moment_and_not_asked_about_before_the_deadline_loses_and_doubles_nothing(
    stage: Stage, deaths: Callable[..., Iterator[Death]], case_name: str, late_step: str, point_name: str
) -> None:
    for death in deaths(case_name, late_step, point_name, late=True):
        stage.die(death)


@pytest.mark.chaos
def test_a_death_is_replayed(stage: Stage, replayed: Death) -> None:
    stage.die(replayed)
