"""The contract suite itself: the fake provider keeps it, and each broken one fails the tests that are meant for it."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from hfcore.testing.fakecontract import FakeContract

pytest_plugins = ["pytester"]

MEANT = {
    "Leaks": {
        "a_clean_up_leaves_nothing_and_may_be_repeated",
        "a_death_at_any_step_of_an_end_is_gone_on_with",
        "a_request_that_gets_nothing_fails_and_leaves_nothing",
    },
    "Doubles": {
        "a_death_at_any_step_of_a_launch_is_gone_on_with",
        "a_death_before_a_deadline_leads_to_no_launch_after_it",
        "a_launch_that_may_have_been_made_is_not_called_refused",
        "a_launch_whose_answer_died_is_one_launch_though_it_is_not_shown_yet",
        "an_answer_that_is_lost_loses_no_machine",
        "what_is_not_shown_yet_at_its_deadline_is_not_given_up",
        "provisioning_again_replaces_no_machine_that_has_died",
        "provisioning_twice_is_one_launch",
    },
    "WrongType": {"every_result_has_the_types_of_its_model"},
    "ForgetsTags": {"everything_carries_our_tags", "what_is_ours_is_listed_until_it_is_gone"},
    "Lies": {"a_machine_is_shown_as_it_is"},
    "BreaksOnOneBadId": {"a_machine_that_nobody_knows_hides_no_other"},
    "NoIntent": {"every_change_stands_between_begin_and_done_of_the_journal"},
    "RefillsAfterFreeze": {
        "a_machine_is_shown_as_it_is",
        "a_release_may_be_repeated_and_what_is_gone_is_released",
        "an_open_request_that_is_stopped_gets_nothing_more",
        "what_is_stopped_fills_nothing_up_and_keeps_what_runs",
    },
    "DropsFromFourthOn": {
        "a_clean_up_leaves_nothing_and_may_be_repeated",
        "exactly_these_machines_are_released",
        "many_requests_are_looked_at_together",
        "several_threads_may_launch_and_look_at_once",
        "what_is_stopped_fills_nothing_up_and_keeps_what_runs",
    },
    "Overrides": {"no_test_of_the_contract_is_overridden_without_a_reason"},
}
"""By the broken provider, in which way it is named for: the tests that it fails."""


NOTICED = {
    "LaunchesLate": "a_launch_past_its_deadline_is_none",
    "TellsSecrets": "no_secret_gets_into_a_result_a_file_or_a_log",
    "ListsNothing": "what_is_ours_is_listed_until_it_is_gone",
    "EndsMore": "exactly_these_machines_are_released",
    "DoesNotMark": "its_hooks_are_those_of_the_specification",
    "AnswersForTheCloud": "a_question_that_fails_is_no_answer",
    "GivesUpEarly": "a_machine_that_is_not_shown_yet_is_not_taken_for_gone",
    "GivesNoReason": "a_request_that_gets_some_says_why_it_has_not_all",
    "SeesNoReclaim": "what_the_cloud_takes_back_is_told",
    "MixesRequests": "many_requests_are_looked_at_together",
    "AsksTheCloudOfATemplate": "a_template_is_judged_without_the_cloud",
    "PlansOtherwise": "a_plan_names_what_is_then_sent",
    "RefusesTheGone": "a_release_may_be_repeated_and_what_is_gone_is_released",
    "NeverEnds": "a_return_is_told_of_its_machines_to_their_end",
    "SkipsWhatWasBegun": "a_death_at_any_step_of_an_end_is_gone_on_with",
    "Replaces": "provisioning_again_replaces_no_machine_that_has_died",
    "ListsAnothers": "what_another_owner_has_made_is_not_listed",
    "ListsWithoutRequest": "what_is_ours_is_listed_with_its_request_and_when_it_was_made",
    "ListsWithoutTime": "what_is_ours_is_listed_with_its_request_and_when_it_was_made",
    "ReleasesOnlyFirst": "exactly_these_machines_are_released",
    "ReleasesOneMoreOfMany": "exactly_these_machines_are_released",
    "ReleasesAllForAllButOne": "a_return_is_told_of_its_machines_to_their_end",
    "FreezesOnlyFirst": "what_is_stopped_fills_nothing_up_and_keeps_what_runs",
    "CleansOnlyFirst": "a_clean_up_leaves_nothing_and_may_be_repeated",
    "TagsOnlyFirstPage": "everything_carries_our_tags",
    "TagsOnlyFirstLaunch": "everything_carries_our_tags",
    "WritesSecrets": "no_secret_gets_into_a_result_a_file_or_a_log",
    "TellsSecretsWhenRefused": "no_secret_gets_into_a_result_a_file_or_a_log",
    "LooksWithState": "several_threads_may_launch_and_look_at_once",
    "GlobalState": "several_threads_may_launch_and_look_at_once",
    "UmbrellaStep": "several_returns_of_one_request_are_all_done",
    "DoubleSameRequest": "several_returns_of_one_request_are_all_done",
    "CleansUpMachines": "a_clean_up_leaves_nothing_and_may_be_repeated",
    "TellsAllReclaims": "what_the_cloud_takes_back_is_told",
    "NamesNoResource": "what_there_is_to_stop_or_remove_is_named_by_resource_ids",
    "TellsSecretsAtTheEnd": "no_secret_gets_into_a_result_a_file_or_a_log",
    "CallsSentRefused": "a_launch_that_may_have_been_made_is_not_called_refused",
    "LaunchesWhatIsNotShown": "a_launch_whose_answer_died_is_one_launch_though_it_is_not_shown_yet",
    "AsksOnceLaunched": "what_was_launched_is_kept_though_nothing_can_be_asked",
    "ShowsWhatNobodyHasSeen": "provisioning_twice_is_one_launch",
    "SaysNothingOfRefills": "what_replaces_its_machines_says_so_and_waits_for_room",
    "FinalThoughItRefills": "what_replaces_its_machines_says_so_and_waits_for_room",
    "KeepsTheStepOfARefusal": "a_request_that_gets_nothing_fails_and_leaves_nothing",
    "LookedLongAgo": "many_requests_are_looked_at_together",
    "DoneThoughItStands": "a_clean_up_leaves_nothing_and_may_be_repeated",
    "OneNameForAllEnds": "every_change_stands_between_begin_and_done_of_the_journal",
    "CallsWhatItDoesNotName": "every_change_stands_between_begin_and_done_of_the_journal",
    "RefusesTheUnanswered": "an_answer_that_is_lost_loses_no_machine",
    "FindsOthers": "a_death_before_a_deadline_leads_to_no_launch_after_it",
    "GivesUpWhatIsNotShown": "what_is_not_shown_yet_at_its_deadline_is_not_given_up",
    "BlindForReturns": "a_return_is_told_of_its_machines_to_their_end",
    "SwallowsQuestions": "a_question_that_fails_is_no_answer",
    "PromisesTheProtected": "what_can_not_be_ended_is_told_and_keeps_nothing_else_from_its_end",
    "StopsAtTheProtected": "what_can_not_be_ended_is_told_and_keeps_nothing_else_from_its_end",
    "ListsAnotherKind": "what_is_ours_is_listed_until_it_is_gone",
    "ListsAsMadeJustNow": "what_is_ours_is_listed_with_its_request_and_when_it_was_made",
    "StumblesOverStrangers": "a_machine_of_somebody_else_s_is_in_nobody_s_way",
    "ShowsTheEndedAsStopped": "a_return_is_told_of_its_machines_to_their_end",
    "CountsWhatIsPending": "many_requests_are_looked_at_together",
    "KeepsWhatIsNoJson": "provisioning_twice_is_one_launch",
    "FindsByIdAlone": "machines_that_no_record_names_are_found_by_their_request",
    "UnsureOfRefusals": "a_request_that_gets_nothing_fails_and_leaves_nothing",
    "TakesItsTime": "provisioning_twice_is_one_launch",
    "TellsReasonsAnyway": "many_requests_are_looked_at_together",
    "EndsWhatItDoesNotKnow": "what_the_cloud_takes_back_is_told",
    "LooksByItsOwnClock": "a_death_at_any_step_of_a_launch_is_gone_on_with",
    "ListsOneRequest": "what_is_ours_is_listed_until_it_is_gone",
    "PrintsSecrets": "no_secret_gets_into_a_result_a_file_or_a_log",
    "StopsWhatIsFulfilled": "an_open_request_that_is_stopped_gets_nothing_more",
    "CountsOn": "the_calls_are_no_more_than_it_says",
    "HasState": "several_threads_may_launch_and_look_at_once",
}
"""By further broken providers: a test that notices."""


class TestFakeProvider(FakeContract):
    """Every test of the suite."""


def failures(pytester: pytest.Pytester, *nodes: str) -> dict[str, set[str]]:
    """Give the tests that fail, by the broken provider."""
    pytester.makepyfile(test_mutants=Path(__file__).with_name("contract_mutants.py").read_text())
    failed: dict[str, set[str]] = defaultdict(set)
    ran = pytester.inline_run("-q", "-p", "no:cacheprovider", "--tb=no", *(f"test_mutants.py::{one}" for one in nodes))
    for report in ran.listoutcomes()[2]:
        _, mutant, test = report.nodeid.split("::")
        failed[mutant.removeprefix("Test")].add(test.partition("[")[0].removeprefix("test_"))
    return failed


@pytest.mark.timeout(300)
def test_each_broken_provider_fails_exactly_the_tests_that_are_meant_for_it(pytester: pytest.Pytester) -> None:
    assert failures(pytester, *(f"Test{one}" for one in MEANT)) == MEANT


def test_further_broken_providers_are_noticed(pytester: pytest.Pytester) -> None:
    found = failures(pytester, *(f"Test{one}::test_{test}" for one, test in NOTICED.items()))
    assert found == {one: {test} for one, test in NOTICED.items()}


def test_a_request_that_never_ends_is_told_of_with_what_it_waits_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mutants=Path(__file__).with_name("contract_mutants.py").read_text())
    node = "test_mutants.py::TestNeverFulfils::test_exactly_these_machines_are_released"
    (failed,) = pytester.inline_run("-q", "-p", "no:cacheprovider", node).listoutcomes()[2]
    for told in (
        "target 3, last fulfilled 0, final False, machines {'running': 3}",
        "it ends once Discovery.fulfilled",
    ):
        assert told in failed.longreprtext


def test_the_fixtures_of_every_test_run_cost_nothing_until_they_are_asked_for() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import hfcore.testing.fixtures;"
        "print(sorted(one for one in set(sys.modules) - before if not one.startswith('_')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "['hfcore', 'hfcore.testing', 'hfcore.testing.fixtures']"
