"""The contract suite itself: the fake provider keeps it, and each broken one fails the tests that are meant for it."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from hfcore.testing.fakecontract import FakeContract

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytester"]

MEANT = {
    "Leaks": {
        "a_clean_up_leaves_nothing_and_may_be_repeated",
        "a_request_that_gets_nothing_fails_and_leaves_nothing",
    },
    "Doubles": {
        "a_death_at_any_step_of_a_launch_is_gone_on_with",
        "a_death_before_a_deadline_leads_to_no_launch_after_it",
        "provisioning_twice_is_one_launch",
    },
    "WrongType": {"every_result_has_the_types_of_its_model"},
    "ForgetsTags": {"everything_carries_our_tags"},
    "Lies": {"a_machine_is_shown_as_it_is"},
    "BreaksOnOneBadId": {"a_machine_that_nobody_knows_hides_no_other"},
    "NoIntent": {"every_change_stands_between_begin_and_done_of_the_journal"},
    "RefillsAfterFreeze": {
        "a_machine_is_shown_as_it_is",
        "a_release_may_be_repeated_and_what_is_gone_is_released",
        "an_open_request_that_is_stopped_gets_nothing_more",
        "what_is_stopped_fills_nothing_up_and_keeps_what_runs",
    },
    "Overrides": {"no_test_of_the_contract_is_overridden_without_a_reason"},
}
"""By the broken provider, in which way it is named for: the tests that it fails."""


class TestFakeProvider(FakeContract):
    """Every test of the suite."""


def test_each_broken_provider_fails_exactly_the_tests_that_are_meant_for_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mutants=Path(__file__).with_name("contract_mutants.py").read_text())
    failed: dict[str, set[str]] = defaultdict(set)
    reports = pytester.inline_run("-q", "-p", "no:cacheprovider", "--tb=no").listoutcomes()[2]
    for report in reports:
        _, mutant, test = report.nodeid.split("::")
        failed[mutant.removeprefix("Test")].add(test.partition("[")[0].removeprefix("test_"))
    assert failed == MEANT


def test_the_fixtures_of_every_test_run_cost_nothing_until_they_are_asked_for() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import hfcore.testing.fixtures;"
        "print(sorted(one for one in set(sys.modules) - before if not one.startswith('_')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "['hfcore', 'hfcore.testing', 'hfcore.testing.fixtures']"
