"""The use cases over the real store and a cloud in memory: what Host Factory asks, and what is on disk after it."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import pytest

from hfcore import doctor, hookimpl, lifecycle, standing, templates
from hfcore.errors import (
    CapacityExceeded,
    CloudError,
    InputError,
    OutcomeUnknown,
    PluginCallError,
    PluginUnusable,
    StoreNotWritable,
    StoreUntrusted,
    TemplateError,
    UnknownTemplate,
)
from hfcore.journal import IntentFolder, this_process
from hfcore.launching import Launching
from hfcore.models import (
    Fault,
    FaultKind,
    MachineStatus,
    Outcome,
    Problem,
    Provisioned,
    Reclaim,
    Released,
    RequestStatus,
    Severity,
)
from hfcore.plugins import Candidate
from hfcore.tables import Records
from hfcore.testing import FakeProvider
from hfcore.views import MachineRef, RequestView
from tests.integration.conftest import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from hfcore.context import Context
    from hfcore.models import Discovery, Event, Machine, Release, Request, Template
    from tests.integration.conftest import Grid

THROTTLED = CloudError(Fault(code="Throttling", message="slow down", kind=FaultKind.THROTTLE))
REFUSED = CloudError(Fault(code="Refused", message="not here", kind=FaultKind.INVALID))
NO_ANSWER = OutcomeUnknown(Fault(code="ReadTimeout", message="no answer", kind=FaultKind.TRANSIENT))


def status(view: RequestView) -> RequestStatus:
    assert view.request is not None
    return view.request.status


def ids(view: RequestView) -> list[str]:
    return [machine.instance_id for machine in view.machines]


def statuses(view: RequestView) -> list[str]:
    return [str(machine.status) for machine in view.machines]


# Asking for machines


def test_a_request_is_stored_with_its_resources_and_api_before_the_first_poll(grid: Grid) -> None:
    answer = grid.open().request_machines("basic", 2)
    record = grid.stored(answer.request_id)
    assert answer.request_id.startswith("req-")
    assert "2 units of basic asked of Fake" in answer.message
    assert record["resource_ids"] == [f"group-{answer.request_id}"]
    assert record["machine_ids"] == ["f-00001", "f-00002"]
    assert (record["provider_api"], record["status"], record["distribution"]) == ("Fake", "in_progress", "hfcore-fake")
    assert record["region"] == "fake-1"
    assert not list((grid.data / "journal").glob("req-*"))


def test_a_request_is_on_disk_before_the_cloud_is_asked(grid: Grid) -> None:
    found: list[dict[str, Any]] = []

    class Spy(FakeProvider):
        @hookimpl
        def provision(self, request: Request, context: Context) -> Provisioned:
            found.append(grid.stored(request.request_id))
            return super().provision(request, context)

    grid.candidates.clear()
    grid.install(Spy(grid.cloud), "Fake")
    grid.request(2)
    (record,) = found
    assert (record["status"], record["provider_api"], record["target"]) == ("creating", "Fake", 2)


def test_a_field_of_the_plug_in_s_own_is_given_to_each_of_its_hooks_and_no_other_unknown_one_is_stored(
    grid: Grid,
) -> None:
    given: dict[str, object] = {}

    class Coloured(FakeProvider):
        @hookimpl
        def provision(self, request: Request, template: Template, context: Context) -> Provisioned:
            given["provision"] = template.extra
            return super().provision(request, context)

        @hookimpl
        def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
            (request,) = requests
            given["discover_instances"] = request.template.extra if request.template else None
            return super().discover_instances(requests, context)

    plugin = Coloured(grid.cloud)
    plugin.info = replace(plugin.info, template_fields=("vmType", "colour"))
    grid.candidates.clear()
    grid.install(plugin, "Fake")
    colour = {"shade": ["\ud800 red", 1]}
    grid.write_templates({**TEMPLATE, "colour": colour, "nobodys": "hush"})
    answer = grid.open().request_machines("basic", 2)
    grid.poll(answer.request_id)
    assert given == {"provision": {"colour": colour}, "discover_instances": {"colour": colour}}
    assert grid.stored(answer.request_id)["template"]["extra"] == {"colour": colour}


@pytest.mark.parametrize(
    ("template_id", "count"), [("nonesuch", 1), ("basic", 0), ("basic", -1), ("basic", 11), ("basic", 10_001)]
)
def test_what_can_not_be_asked_for_is_refused_and_leaves_nothing(grid: Grid, template_id: str, count: int) -> None:
    grid.open().available_templates()
    before = grid.on_disk()
    with pytest.raises(InputError):
        grid.request(count, template_id)
    assert grid.cloud.called("provision") == []
    assert grid.on_disk() == before


def test_an_unknown_template_names_those_that_there_are(grid: Grid) -> None:
    with pytest.raises(UnknownTemplate) as caught:
        grid.request(1, "nonesuch")
    assert "basic" in caught.value.hint


def test_a_template_with_an_error_is_refused_with_the_reason(grid: Grid) -> None:
    grid.cloud.problems = (Problem(field="vmType", message="is out of fashion"),)
    with pytest.raises(TemplateError, match="is out of fashion"):
        grid.request(1)


def test_a_request_beyond_max_number_counts_what_lives_and_what_is_expected(grid: Grid) -> None:
    grid.complete(3)
    grid.cloud.tells_ids = False
    grid.cloud.show_after = 99
    grid.request(4)
    with pytest.raises(CapacityExceeded, match="4 asked, 3 live, 4 expected, 10 at most"):
        grid.request(4)
    assert grid.request(3).startswith("req-")


def test_room_is_free_again_when_machines_are_gone(grid: Grid) -> None:
    request_id = grid.complete(10)
    with pytest.raises(CapacityExceeded):
        grid.request(1)
    returned = grid.give_back(*grid.stored(request_id)["machine_ids"])
    grid.poll(returned.request_id)
    grid.poll(returned.request_id)
    assert grid.request(10).startswith("req-")


def test_the_list_of_templates_says_how_much_is_left(grid: Grid) -> None:
    grid.complete(3)
    grid.cloud.show_after = 99
    grid.request(4)
    (view,) = grid.open().available_templates()
    assert (view.template.max_number, view.available) == (10, 3)


def test_a_refusal_of_the_cloud_is_raised_and_stored_as_failed(grid: Grid) -> None:
    grid.cloud.fail("provision", REFUSED)
    with pytest.raises(CloudError, match="Refused: not here"):
        grid.request(2)
    (request_id,) = json.loads((grid.data / "storage.json").read_text())
    assert grid.stored(request_id)["status"] == "failed"
    assert status(grid.poll(request_id)) is RequestStatus.FAILED
    assert "Refused: not here" in grid.poll(request_id).message
    assert grid.cloud.instances == {}


def test_what_was_refused_takes_no_room(grid: Grid) -> None:
    grid.cloud.fail("provision", REFUSED)
    with pytest.raises(CloudError):
        grid.request(10)
    assert grid.request(10).startswith("req-")


def test_no_capacity_at_all_is_raised_with_the_clouds_code(grid: Grid) -> None:
    grid.cloud.capacity = 0
    with pytest.raises(CloudError, match="NoCapacity"):
        grid.request(2)


def test_a_plug_in_that_breaks_before_it_asked_has_made_nothing(grid: Grid) -> None:
    grid.cloud.fail("provision", ValueError("oh"))
    with pytest.raises(PluginCallError, match=r"hfcore-fake 1\): provision\(\) raised ValueError at hfcore\."):
        grid.request(2)
    (request_id,) = json.loads((grid.data / "storage.json").read_text())
    assert grid.stored(request_id)["status"] == "failed"


@pytest.mark.parametrize(
    "error", [NO_ANSWER, ValueError("oh"), StoreNotWritable("no space")], ids=["no answer", "broken", "disk full"]
)
def test_a_request_that_may_have_been_made_is_gone_on_with_once_its_creator_is_dead(
    grid: Grid, dead_process: str, error: Exception
) -> None:
    grid.cloud.fail("provision", error, when_done=True)
    answer = grid.open().request_machines("basic", 2)
    assert "not answered yet" in answer.message
    assert grid.stored(answer.request_id)["status"] == "creating"
    assert len(grid.cloud.instances) == 2

    grid.orphan(answer.request_id, dead_process)
    view = grid.poll(answer.request_id)
    assert status(view) is RequestStatus.COMPLETED
    assert ids(view) == ["f-00001", "f-00002"]
    assert len(grid.cloud.instances) == 2
    assert not list((grid.data / "journal").glob("req-*"))


def test_a_request_that_another_call_is_creating_is_left_to_it(grid: Grid) -> None:
    grid.cloud.fail("provision", NO_ANSWER, when_done=True)
    request_id = grid.request(2)
    grid.orphan(request_id, this_process())
    grid.poll(request_id)  # which notes that somebody has asked
    before = grid.on_disk()
    view = grid.poll(request_id)
    assert (status(view), ids(view)) == (RequestStatus.CREATING, [])
    assert "being created by another call" in view.message
    assert len(grid.cloud.called("provision")) == 1
    assert grid.on_disk() == before


def test_a_request_whose_creator_died_is_gone_on_with_by_any_verb(grid: Grid, dead_process: str) -> None:
    grid.cloud.fail("provision", NO_ANSWER, when_done=True)
    request_id = grid.request(2)
    grid.orphan(request_id, dead_process)
    grid.request(1)
    assert grid.stored(request_id)["machine_ids"] == ["f-00001", "f-00002"]


def test_a_request_that_stays_unanswered_is_not_lost(grid: Grid, dead_process: str) -> None:
    grid.cloud.fail("provision", NO_ANSWER, times=3, when_done=True)
    request_id = grid.request(2)
    grid.orphan(request_id, dead_process)
    for _ in range(2):
        view = grid.poll(request_id)
        assert status(view) is RequestStatus.CREATING
        assert "ReadTimeout" in view.message
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED
    assert len(grid.cloud.instances) == 2


def test_what_was_never_asked_for_before_its_deadline_is_not_asked_for_after_it(grid: Grid, dead_process: str) -> None:
    grid.cloud.fail("provision", NO_ANSWER)
    request_id = grid.request(2)
    grid.orphan(request_id, dead_process)
    grid.clock.advance(minutes=31)
    view = grid.poll(request_id)
    assert status(view) is RequestStatus.FAILED
    assert "deadline" in view.message
    assert len(grid.cloud.called("provision")) == 1


def test_what_was_begun_before_its_deadline_is_still_found_after_it(grid: Grid, dead_process: str) -> None:
    grid.cloud.fail("provision", NO_ANSWER, when_done=True)
    request_id = grid.request(2)
    grid.orphan(request_id, dead_process)
    grid.clock.advance(minutes=31)
    assert ids(grid.poll(request_id)) == ["f-00001", "f-00002"]
    assert grid.stored(request_id)["frozen"] is True


def test_a_step_without_an_answer_is_kept_when_the_others_are_stored(grid: Grid) -> None:
    class Chunked(FakeProvider):
        @hookimpl
        def provision(self, request: Request, context: Context) -> Provisioned:
            context.journal.begin(request.request_id, "chunk-2", "fake:Launch", {"count": 7})
            return super().provision(request, context)

    grid.candidates.clear()
    grid.install(Chunked(grid.cloud), "Fake")
    request_id = grid.complete(1)
    kept = {path.name for path in (grid.data / "journal").glob("req-*")}
    assert {f"{request_id}.chunk-2.json", f"{request_id}.launch.json"} <= kept


# Polling


def test_polls_find_the_machines_and_the_request_is_complete(grid: Grid) -> None:
    grid.cloud.run_after = 1
    request_id = grid.request(2)
    first = grid.poll(request_id)
    assert (status(first), statuses(first)) == (RequestStatus.IN_PROGRESS, ["pending", "pending"])
    assert "0 of 2 units running" in first.message
    second = grid.poll(request_id)
    assert (status(second), statuses(second)) == (RequestStatus.COMPLETED, ["running", "running"])
    assert [machine.name for machine in second.machines] == ["ip-10-0-0-2.fake.internal", "ip-10-0-0-3.fake.internal"]
    assert [machine.private_ip for machine in second.machines] == ["10.0.0.2", "10.0.0.3"]
    assert all(machine.launch_time for machine in second.machines)
    assert grid.stored(request_id)["status"] == "completed"
    assert sorted(json.loads((grid.data / "machines.json").read_text())) == ["f-00001", "f-00002"]


def test_a_request_without_machines_yet_is_running_and_says_so(grid: Grid) -> None:
    grid.cloud.refills, grid.cloud.capacity = True, 0
    view = grid.poll(grid.request(2))
    assert (status(view), ids(view)) == (RequestStatus.IN_PROGRESS, [])
    assert "no machines yet: 2 units asked of Fake" in view.message


@pytest.mark.parametrize("run_after", [0, 99], ids=["complete", "pending"])
def test_an_unchanged_poll_writes_no_byte(grid: Grid, run_after: int) -> None:
    grid.cloud.run_after = run_after
    request_id = grid.request(2)
    grid.poll(request_id)
    before = grid.on_disk(locks=True)
    for _ in range(3):
        grid.clock.advance(seconds=10)
        grid.poll(request_id)
    assert grid.on_disk(locks=True) == before


def test_all_requests_of_a_call_are_asked_about_at_once(grid: Grid) -> None:
    requests = [grid.request(1) for _ in range(3)]
    grid.cloud.calls.clear()
    views = grid.open().request_status(tuple(requests))
    assert [status(view) for view in views] == [RequestStatus.COMPLETED] * 3
    assert [sorted(call.ids) for call in grid.cloud.called("discover_instances")] == [sorted(requests)]
    assert len(grid.cloud.called("stop_launching")) == 1


def test_an_unknown_id_is_answered_beside_the_known_ones(grid: Grid) -> None:
    request_id = grid.request(1)
    unknown, known = grid.open().request_status(("req-0", request_id))
    assert unknown.request is None
    assert unknown.message == "unknown request id: req-0"
    assert status(known) is RequestStatus.COMPLETED


def test_an_unknown_id_alone_asks_the_cloud_nothing(grid: Grid) -> None:
    grid.complete(1)
    grid.cloud.calls.clear()
    grid.poll("req-0")
    assert grid.cloud.calls == []


def test_an_id_that_is_asked_about_twice_is_answered_once(grid: Grid) -> None:
    request_id = grid.request(1)
    assert len(grid.open().request_status((request_id, request_id))) == 1


@pytest.mark.parametrize("error", [THROTTLED, ValueError("oh"), SystemExit(3)], ids=["cloud", "plug-in", "exit"])
def test_a_fault_at_a_poll_is_told_and_keeps_what_is_known(grid: Grid, error: BaseException) -> None:
    grid.cloud.run_after = 1
    request_id = grid.request(2)
    grid.poll(request_id)
    before = grid.on_disk()
    grid.cloud.fail("discover_instances", error)
    view = grid.poll(request_id)
    assert (status(view), statuses(view)) == (RequestStatus.IN_PROGRESS, ["pending", "pending"])
    assert ("Throttling: slow down" if error is THROTTLED else type(error).__name__) in view.message
    assert grid.on_disk() == before
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED


def test_a_fault_of_advance_is_told_and_the_machines_are_found_all_the_same(grid: Grid) -> None:
    request_id = grid.request(2)
    grid.cloud.fail("advance", THROTTLED)
    view = grid.poll(request_id)
    assert status(view) is RequestStatus.COMPLETED
    assert "Throttling" in view.message


def break_discovery(grid: Grid) -> None:
    grid.cloud.fail("discover_instances", THROTTLED)


def change_account(grid: Grid) -> None:
    grid.cloud.account_id = "account-2"


@pytest.mark.parametrize("silence", [break_discovery, change_account])
def test_a_request_ends_past_its_deadline_though_the_cloud_can_t_be_asked(
    grid: Grid, silence: Callable[[Grid], None]
) -> None:
    grid.cloud.run_after = 2
    account, request_id = grid.cloud.account_id, grid.request(2)
    grid.poll(request_id)
    grid.clock.advance(minutes=31)
    silence(grid)
    view = grid.poll(request_id)
    assert (status(view), statuses(view)) == (RequestStatus.IN_PROGRESS, ["pending", "pending"])
    grid.clock.advance(minutes=5)
    silence(grid)
    view = grid.poll(request_id)
    assert view.request is not None
    assert (status(view), statuses(view)) == (RequestStatus.COMPLETED_WITH_ERRORS, ["pending", "pending"])
    assert {standing.result(machine, view.request) for machine in view.machines} == {standing.Result.FAIL}
    assert "0 units of 2 known to run" in view.message
    assert "can't be asked" in view.message
    assert len(grid.cloud.living()) == 2
    grid.cloud.account_id = account
    assert statuses(grid.poll(request_id)) == ["shutting-down", "shutting-down"]
    assert grid.cloud.living() == []


@pytest.mark.parametrize("silence", [break_discovery, change_account])
def test_what_was_launched_unseen_is_found_and_ended_though_its_request_ended_in_silence(
    grid: Grid, silence: Callable[[Grid], None]
) -> None:
    grid.cloud.tells_ids, account = False, grid.cloud.account_id
    request_id = grid.request(2)
    grid.clock.advance(minutes=36)
    silence(grid)
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED_WITH_ERRORS
    assert len(grid.cloud.living()) == 2
    grid.cloud.account_id = account
    assert statuses(grid.poll(request_id)) == ["shutting-down", "shutting-down"]
    assert grid.cloud.living() == []
    assert grid.stored(request_id)["frozen"]


def test_another_account_is_not_asked_to_stop_what_it_does_not_have(grid: Grid) -> None:
    grid.cloud.refills, grid.cloud.capacity = True, 0
    grid.cloud.tells_ids = False
    request_id = grid.request(1)
    grid.clock.advance(minutes=36)
    change_account(grid)
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED_WITH_ERRORS
    assert grid.cloud.called("stop_launching") == []
    assert not grid.stored(request_id).get("frozen")


def test_what_may_still_launch_keeps_its_room_until_it_is_frozen(grid: Grid) -> None:
    grid.cloud.refills, grid.cloud.capacity = True, 1
    request_id = grid.request(6)
    grid.clock.advance(minutes=31)
    grid.cloud.fail("stop_launching", THROTTLED)
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED_WITH_ERRORS
    with pytest.raises(CapacityExceeded, match="5 asked, 1 live, 5 expected, 10 at most"):
        grid.request(5)
    grid.poll(request_id)
    grid.request(5)


def test_a_template_whose_max_number_is_0_is_listed_and_refuses_all(grid: Grid) -> None:
    grid.write_templates({"templateId": "none", "providerApi": "Fake", "maxNumber": 0, "attributes": ATTRIBUTES})
    (view,) = grid.open().available_templates()
    assert (view.template.max_number, view.available) == (0, 0)
    with pytest.raises(CapacityExceeded, match="1 asked, 0 live, 0 expected, 0 at most"):
        grid.request(1, "none")


def test_a_poll_reads_the_store_once_and_a_second_time_to_change_it(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = Records.load
    monkeypatch.setattr(Records, "load", lambda self: (loads.append(""), load(self))[1])
    request_id = grid.request(2)
    files = 2
    loads.clear()
    grid.poll(request_id)
    assert len(loads) == 2 * files
    loads.clear()
    grid.poll(request_id)
    assert len(loads) == files


def test_what_ends_short_has_what_there_is_and_the_reason(grid: Grid) -> None:
    grid.cloud.capacity = 1
    view = grid.poll(grid.request(2))
    assert (status(view), statuses(view)) == (RequestStatus.COMPLETED_WITH_ERRORS, ["running"])
    assert "NoCapacity: the fake cloud is full" in view.message


def test_a_machine_that_dies_later_fails_alone(grid: Grid) -> None:
    request_id = grid.complete(2)
    grid.cloud.set_status(MachineStatus.TERMINATED, "f-00001", message="killed at the console")
    view = grid.poll(request_id)
    assert (status(view), statuses(view)) == (RequestStatus.COMPLETED, ["terminated", "running"])
    assert view.machines[0].message == "killed at the console"


def test_machines_that_all_vanish_are_doubted_before_they_count_as_gone(grid: Grid) -> None:
    request_id = grid.complete(2)
    grid.cloud.forget("f-00001", "f-00002")
    view = grid.poll(request_id)
    assert statuses(view) == ["running", "running"]
    assert "none of 2 machines" in view.message
    grid.clock.advance(minutes=6)
    assert statuses(grid.poll(request_id)) == ["terminated", "terminated"]


def test_another_account_makes_nothing_gone(grid: Grid) -> None:
    request_id = grid.complete(2)
    grid.cloud.account_id = "account-2"
    for _ in range(3):
        grid.clock.advance(minutes=10)
        view = grid.poll(request_id)
        assert statuses(view) == ["running", "running"]
        assert "account-2" in view.message


def test_another_account_makes_nothing_gone_that_is_being_returned(grid: Grid) -> None:
    grid.complete(2)
    grid.cloud.fail("release_instances", THROTTLED)
    return_id = grid.give_back("f-00001").request_id
    grid.cloud.account_id = "account-2"
    grid.cloud.fail("release_instances", THROTTLED)
    view = grid.poll(return_id)
    assert statuses(view) == ["running"]
    assert "account-2" in view.message


def test_the_machines_of_a_plug_in_that_was_uninstalled_are_still_found_and_it_is_said_how(grid: Grid) -> None:
    grid.candidates.clear()
    grid.install(FakeProvider(grid.cloud, cloud_name="aws"), "Fake")
    grid.install(FakeProvider(grid.cloud, cloud_name="aws"), "RunInstances", distribution="hfcore-aws-runinstances")
    request_id = grid.request(2)
    grid.uninstall("Fake")
    view = grid.poll(request_id)
    assert statuses(view) == ["running", "running"]
    assert "the plug-in of Fake (hfcore-fake) can't be used: RunInstances" in view.message


def test_without_a_stand_in_nothing_of_an_uninstalled_plug_in_is_called_gone(grid: Grid) -> None:
    request_id = grid.complete(2)
    grid.uninstall("Fake")
    grid.clock.advance(days=2)
    view = grid.poll(request_id)
    assert statuses(view) == ["running", "running"]
    assert "'Fake' is not installed: install hfcore-fake" in view.message
    (told,) = grid.open().reconciling.survey().unlisted
    assert "Fake, which is not installed: install hfcore-fake" in told
    grid.install(FakeProvider(grid.cloud), "Fake")
    grid.flags["disabled_plugins"] = "Fake"
    assert not grid.open().reconciling.survey().unlisted


def test_a_field_of_hfcores_that_its_plug_in_does_not_name_is_warned_of(grid: Grid) -> None:
    narrow = FakeProvider(grid.cloud, name="Narrow")
    narrow.info = replace(narrow.info, template_fields=("vmType",), without_effect={"imageId": "all are alike"})
    grid.install(narrow, "Narrow", distribution="hfcore-narrow")
    its = {"vmType": "small", "key_name": "mine", "imageId": "any", "ebsOptimized": False, "subnetId": []}
    grid.write_templates({"templateId": "basic", "providerApi": "Narrow", "attributes": ATTRIBUTES, **its})
    found = grid.open().templates
    told = [(one.field, one.message) for one in found.problems]
    assert told == [("key_name", "has no effect with Narrow"), ("ebsOptimized", "has no effect with Narrow")]
    assert found.get("basic")


def test_an_unknown_api_falls_back_says_so_and_is_stored_as_what_it_is(grid: Grid) -> None:
    grid.write_templates({"templateId": "basic", "providerApi": "Nonesuch", "attributes": ATTRIBUTES})
    grid.install(FakeProvider(grid.cloud), "RunInstances", distribution="hfcore-ri")
    answer = grid.open().request_machines("basic", 1)
    assert "Nonesuch is not installed: served by RunInstances" in answer.message
    assert grid.stored(answer.request_id)["provider_api"] == "RunInstances"
    assert status(grid.poll(answer.request_id)) is RequestStatus.COMPLETED


def test_an_unknown_api_is_refused_where_the_setting_says_so(grid: Grid) -> None:
    grid.write_templates({"templateId": "basic", "providerApi": "Nonesuch", "attributes": ATTRIBUTES})
    grid.install(FakeProvider(grid.cloud), "RunInstances", distribution="hfcore-ri")
    grid.flags["fallback"] = "error"
    with pytest.raises(TemplateError, match="Nonesuch"):
        grid.request(1)
    assert grid.cloud.called("provision") == []


def test_a_broken_plug_in_of_a_known_api_is_refused_and_does_not_fall_back(grid: Grid) -> None:
    grid.install(FakeProvider(grid.cloud), "RunInstances", distribution="hfcore-ri")
    grid.uninstall("Fake")
    grid.candidates.append(Candidate(name="Fake", module="hfcore_nonesuch", distribution="hfcore-fake", version="1"))
    with pytest.raises((TemplateError, PluginUnusable), match="hfcore_nonesuch"):
        grid.request(1)
    assert grid.cloud.called("provision") == []


def test_a_plug_in_that_loads_again_has_its_templates_at_the_next_call(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hfcore.plugins.import_module", mock.Mock(side_effect=OSError("too many open files")))
        assert not grid.open().available_templates()
    assert grid.open().available_templates()


def test_templates_are_judged_anew_once_a_plug_in_s_code_has_changed_in_its_place(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "edited.py"
    code.write_text("")
    monkeypatch.setattr("hfcore.plugins.imported", lambda packages: (str(code),) if "hfcore" in packages else ())
    assert grid.open().available_templates()
    for text in ("some more", "less"):
        code.write_text(text)
        with mock.patch("hfcore.templates._parse", wraps=templates._parse) as parse:
            grid.open().available_templates()
            grid.open().available_templates()
        assert parse.call_count == 1


def test_an_interrupt_while_a_plug_in_is_imported_ends_the_call(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfcore.plugins.import_module", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        grid.open().available_templates()


ATTRIBUTES = {"type": ["String", "X86_64"], "ncpus": ["Numeric", "4"], "nram": ["Numeric", "16384"]}


@pytest.mark.parametrize(
    ("error", "told"),
    [(THROTTLED, str(THROTTLED)), (ValueError("oh"), "raised ValueError at hfcore.testing.fakecloud")],
    ids=["cloud", "plug-in"],
)
def test_a_plug_in_that_can_not_judge_its_template_now_takes_nothing_from_the_list(
    grid: Grid, error: Exception, told: str
) -> None:
    other = {"templateId": "other", "providerApi": "Other", "attributes": ATTRIBUTES}
    grid.write_templates({"templateId": "basic", "providerApi": "Fake", "attributes": ATTRIBUTES}, other)
    grid.install(FakeProvider(type(grid.cloud)()), "Other", distribution="hfcore-other")
    grid.cloud.fail("validate_template", error)
    service = grid.open()
    assert [view.template.template_id for view in service.available_templates()] == ["basic", "other"]
    (problem,) = service.templates.problems
    assert (problem.severity, problem.template_id) == (Severity.WARNING, "basic")
    assert told in problem.message
    assert grid.open().templates.problems == ()  # asked again at the next call


# What follows an end


def test_a_completed_request_launches_nothing_more(grid: Grid) -> None:
    grid.cloud.refills = True
    request_id = grid.complete(2)
    grid.cloud.set_status(MachineStatus.TERMINATED, "f-00001")
    grid.poll(request_id)
    grid.poll(request_id)
    assert sorted(grid.cloud.instances) == ["f-00001", "f-00002"]
    assert grid.stored(request_id)["frozen"] is True


@pytest.mark.parametrize("verb", ["poll", "other"])
def test_a_freeze_that_fails_is_tried_again_until_it_is_done(grid: Grid, verb: str) -> None:
    grid.cloud.fail("stop_launching", THROTTLED, times=2)
    request_id = grid.request(1)
    view = grid.poll(request_id)
    assert status(view) is RequestStatus.COMPLETED
    assert "Throttling" in view.message
    again: Callable[[], object] = (lambda: grid.poll(request_id)) if verb == "poll" else (lambda: grid.request(1))
    again()
    assert "frozen" not in grid.stored(request_id)
    again()
    assert grid.stored(request_id)["frozen"] is True


def test_a_freeze_that_is_not_done_yet_says_why_and_is_tried_again(grid: Grid) -> None:
    request_id = grid.request(1)
    fault = Fault(code="Busy", message="later")
    grid.cloud.answer("stop_launching", (Outcome(request_id=request_id, done=False, faults=(fault,)),))
    assert "Busy: later" in grid.poll(request_id).message
    grid.cloud.answer("stop_launching", (Outcome(request_id=request_id, done=True),))
    grid.poll(request_id)
    assert grid.stored(request_id)["frozen"] is True
    grid.poll(request_id)
    assert len(grid.cloud.called("stop_launching")) == 2


def test_a_machine_that_comes_after_the_end_is_ended(grid: Grid) -> None:
    request_id = grid.complete(2)
    (late,) = grid.cloud.launch(request_id, 1)
    view = grid.poll(request_id)
    assert statuses(view) == ["running", "running", "shutting-down"]
    assert view.machines[2].message == "it came after the request had ended"
    assert grid.cloud.called("release_instances")[-1].ids == (late,)
    assert grid.cloud.living() == ["f-00001", "f-00002"]


def test_the_ending_of_a_late_machine_is_tried_again_until_it_is_done(grid: Grid) -> None:
    request_id = grid.complete(2)
    (late,) = grid.cloud.launch(request_id, 1)
    grid.cloud.fail("release_instances", THROTTLED, times=2)
    assert "Throttling" in grid.poll(request_id).message
    grid.poll(request_id)
    assert late in grid.cloud.living()
    grid.poll(request_id)
    assert grid.cloud.living() == ["f-00001", "f-00002"]


def test_a_machine_that_pends_too_long_is_ended_and_another_may_come(grid: Grid) -> None:
    grid.cloud.run_after, grid.cloud.refills = 99, True
    request_id = grid.request(1)
    grid.poll(request_id)
    grid.clock.advance(seconds=181)
    view = grid.poll(request_id)
    assert statuses(view) == ["shutting-down"]
    assert "longer than 180 s" in view.machines[0].message
    assert grid.cloud.called("release_instances")[-1].ids == ("f-00001",)
    assert status(view) is RequestStatus.IN_PROGRESS


def test_at_the_deadline_a_request_ends_with_what_runs_and_the_rest_is_ended(grid: Grid) -> None:
    grid.cloud.refills, grid.cloud.capacity = True, 1
    request_id = grid.request(2)
    assert statuses(grid.poll(request_id)) == ["running"]
    grid.clock.advance(minutes=29)
    grid.cloud.capacity, grid.cloud.run_after = 2, 99
    assert statuses(grid.poll(request_id)) == ["running", "pending"]
    grid.clock.advance(minutes=1, seconds=1)
    view = grid.poll(request_id)
    assert status(view) is RequestStatus.COMPLETED_WITH_ERRORS
    assert statuses(view) == ["running", "shutting-down"]
    assert "the deadline has passed" in view.message
    assert grid.cloud.groups[request_id].frozen


@pytest.mark.parametrize("verb", ["poll", "other"])
def test_the_ending_of_what_pends_at_the_deadline_is_tried_again_until_it_is_done(grid: Grid, verb: str) -> None:
    grid.cloud.run_after = 99
    request_id = grid.request(1)
    grid.clock.advance(minutes=31)
    grid.cloud.fail("release_instances", THROTTLED)
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED_WITH_ERRORS
    assert grid.cloud.living() == ["f-00001"]
    if verb == "poll":
        grid.poll(request_id)
    else:
        grid.reclaims()
    assert grid.cloud.living() == []
    assert "unwanted" not in grid.stored(request_id)


@pytest.mark.parametrize("verb", ["request", "return", "reclaims", "poll"])
def test_the_deadline_of_a_request_that_nobody_polls_acts_on_another_verb(grid: Grid, verb: str) -> None:
    other = grid.complete(1)
    grid.cloud.refills, grid.cloud.capacity = True, 0
    request_id = grid.request(1)
    grid.clock.advance(minutes=31)
    verbs: dict[str, Callable[[], object]] = {
        "request": lambda: grid.request(1),
        "return": lambda: grid.give_back("f-00001"),
        "reclaims": grid.reclaims,
        "poll": lambda: grid.poll(other),
    }
    verbs[verb]()
    record = grid.stored(request_id)
    assert (record["status"], record["frozen"], record["cleaned"]) == ("failed", True, True)
    assert request_id not in grid.cloud.groups


def test_at_most_ten_requests_that_nobody_asked_about_are_looked_after_in_a_call(grid: Grid) -> None:
    grid.write_templates({"templateId": "basic", "providerApi": "Fake", "maxNumber": -1, "attributes": ATTRIBUTES})
    grid.cloud.refills, grid.cloud.capacity = True, 0
    for _ in range(12):
        grid.request(1)
    grid.clock.advance(minutes=31)
    grid.cloud.calls.clear()
    grid.reclaims()
    assert [len(call.ids) for call in grid.cloud.called("discover_instances")] == [10]
    grid.reclaims()
    assert [len(call.ids) for call in grid.cloud.called("stop_launching")] == [10, 2]


def test_a_fault_of_other_requests_is_not_the_callers(grid: Grid) -> None:
    grid.cloud.refills, grid.cloud.capacity = True, 0
    grid.request(1)
    grid.clock.advance(minutes=31)
    grid.cloud.fail("discover_instances", ValueError("oh"))
    answer = grid.open().request_machines("basic", 1)
    assert "oh" not in answer.message


# Giving machines back


def machine_names(grid: Grid) -> dict[str, str]:
    return {key: one.private_dns for key, one in grid.cloud.instances.items()}


@pytest.mark.parametrize("by", ["name", "id", "both"])
def test_a_return_ends_exactly_the_machines_that_it_names(grid: Grid, by: str) -> None:
    request_id = grid.complete(3)
    name = machine_names(grid)["f-00002"]
    ref = {
        "name": MachineRef(name=name),
        "id": MachineRef(machine_id="f-00002"),
        "both": MachineRef(name=name, machine_id="f-00002"),
    }[by]
    answer = grid.open().request_return((ref,))
    assert answer.request_id.startswith("ret-")
    assert answer.message == "1 machine being returned"
    assert grid.cloud.living() == ["f-00001", "f-00003"]

    going = grid.poll(answer.request_id)
    assert (status(going), statuses(going)) == (RequestStatus.IN_PROGRESS, ["shutting-down"])
    gone = grid.poll(answer.request_id)
    assert (status(gone), statuses(gone), gone.message) == (RequestStatus.COMPLETED, ["terminated"], "1 machine gone")
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED


def test_a_return_that_is_complete_is_answered_from_disk(grid: Grid) -> None:
    grid.complete(1)
    return_id = grid.give_back("f-00001").request_id
    grid.poll(return_id)
    grid.poll(return_id)
    before = grid.on_disk()
    grid.cloud.calls.clear()
    assert status(grid.poll(return_id)) is RequestStatus.COMPLETED
    assert grid.cloud.calls == []
    assert grid.on_disk() == before


def test_nothing_comes_in_the_place_of_what_was_returned_and_the_emptied_group_goes(grid: Grid) -> None:
    grid.cloud.refills = True
    request_id = grid.complete(2)
    return_id = grid.give_back("f-00001", "f-00002").request_id
    for _ in range(3):
        grid.poll(return_id)
    grid.poll(request_id)
    assert sorted(grid.cloud.instances) == ["f-00001", "f-00002"]
    assert grid.cloud.groups == {}
    assert grid.stored(request_id)["cleaned"] is True
    assert len(grid.cloud.called("cleanup")) == 1


def test_a_cleanup_that_fails_is_tried_again_until_it_is_done(grid: Grid) -> None:
    request_id = grid.complete(1)
    return_id = grid.give_back("f-00001").request_id
    grid.cloud.fail("cleanup", THROTTLED, times=2)
    for _ in range(3):
        grid.poll(return_id)
    assert request_id in grid.cloud.groups
    assert "cleaned" not in grid.stored(request_id)
    grid.reclaims()
    assert grid.cloud.groups == {}
    assert grid.stored(request_id)["cleaned"] is True


def test_two_live_machines_of_one_name_are_refused_and_nothing_is_stored(grid: Grid) -> None:
    request_id = grid.request(2)
    for key, one in grid.cloud.instances.items():
        grid.cloud.instances[key] = replace(one, private_dns="twin.fake.internal")
    grid.poll(request_id)
    before = grid.on_disk()
    with pytest.raises(InputError, match="2 live machines are named twin") as caught:
        grid.open().request_return((MachineRef(name="twin.fake.internal"),))
    assert "f-00001, f-00002" in str(caught.value)
    assert "machineId" in caught.value.hint
    assert grid.on_disk() == before
    assert len(grid.cloud.living()) == 2


def test_a_name_means_the_one_machine_of_that_name_that_lives(grid: Grid) -> None:
    request_id = grid.request(2)
    for key, one in grid.cloud.instances.items():
        grid.cloud.instances[key] = replace(one, private_dns="twin.fake.internal")
    grid.cloud.set_status(MachineStatus.TERMINATED, "f-00001")
    grid.poll(request_id)
    grid.open().request_return((MachineRef(name="twin.fake.internal"),))
    assert grid.cloud.called("release_instances")[-1].ids == ("f-00002",)


def test_a_return_of_unknown_machines_is_complete_at_once_and_says_so(grid: Grid) -> None:
    grid.complete(1)
    answer = grid.open().request_return((MachineRef(machine_id="i-x"), MachineRef(name="nobody")))
    assert "not known here, and left alone: i-x, nobody" in answer.message
    view = grid.poll(answer.request_id)
    assert (status(view), ids(view)) == (RequestStatus.COMPLETED, [])
    assert grid.cloud.called("release_instances") == []


def test_a_return_of_nothing_is_complete_at_once(grid: Grid) -> None:
    answer = grid.open().request_return(())
    assert status(grid.poll(answer.request_id)) is RequestStatus.COMPLETED


def test_known_machines_are_returned_beside_unknown_ones(grid: Grid) -> None:
    grid.complete(1)
    answer = grid.give_back("i-x", "f-00001")
    assert answer.message == "1 machine being returned; not known here, and left alone: i-x"
    assert grid.cloud.living() == []


def test_a_machine_named_twice_is_returned_once(grid: Grid) -> None:
    grid.complete(1)
    refs = (MachineRef(machine_id="f-00001"), MachineRef(name=machine_names(grid)["f-00001"]))
    answer = grid.open().request_return(refs)
    assert answer.message == "1 machine being returned"


def test_a_return_that_the_cloud_refuses_is_tried_at_each_poll_until_it_is_accepted(grid: Grid) -> None:
    grid.complete(2)
    grid.cloud.fail("release_instances", THROTTLED, times=2)
    answer = grid.give_back("f-00001")
    assert "Throttling: slow down" in answer.message
    view = grid.poll(answer.request_id)
    assert (status(view), statuses(view)) == (RequestStatus.IN_PROGRESS, ["running"])
    assert "Throttling" in view.message
    assert statuses(grid.poll(answer.request_id)) == ["shutting-down"]
    assert grid.cloud.living() == ["f-00002"]


def test_a_machine_that_could_not_be_ended_is_told_with_the_reason_and_tried_again(grid: Grid) -> None:
    grid.complete(2)
    grid.cloud.protected = {"f-00001"}
    answer = grid.give_back("f-00001", "f-00002")
    assert "f-00001 is not ended: Protected: the instance is protected" in answer.message
    view = grid.poll(answer.request_id)
    assert (status(view), statuses(view)) == (RequestStatus.IN_PROGRESS, ["running", "shutting-down"])
    assert "the instance is protected" in view.message
    grid.cloud.protected.clear()
    assert statuses(grid.poll(answer.request_id)) == ["shutting-down", "terminated"]


def test_machines_of_several_requests_are_returned_together(grid: Grid) -> None:
    grid.complete(1)
    grid.complete(1)
    answer = grid.give_back("f-00001", "f-00002")
    grid.poll(answer.request_id)
    assert status(grid.poll(answer.request_id)) is RequestStatus.COMPLETED
    assert len(grid.cloud.called("release_instances")) == 1


def test_an_unwanted_machine_that_was_only_said_to_be_ending_is_ended_again(grid: Grid) -> None:
    class Promises(FakeProvider):
        @hookimpl
        def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
            if len(self.cloud.called("release_instances")) > 0:
                return super().release_instances(releases, context)
            self.cloud.begin("release_instances", ())
            ids = frozenset(one.instance_id for release in releases for one in release.machines)
            return tuple(Released(request_id=one.request.request_id, ending=ids) for one in releases)

    grid.candidates.clear()
    grid.install(Promises(grid.cloud), "Fake")
    grid.cloud.run_after = 2
    request_id = grid.request(1)
    grid.poll(request_id)
    grid.clock.advance(minutes=31)  # it pends at its deadline
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED_WITH_ERRORS
    assert grid.cloud.living() == ["f-00001"]
    grid.clock.advance(minutes=1)
    assert statuses(grid.poll(request_id)) == ["shutting-down"]  # the look may be too early to show it
    assert len(grid.cloud.called("release_instances")) == 1
    grid.clock.advance(minutes=5)
    grid.poll(request_id)
    assert grid.cloud.living() == []


@pytest.mark.parametrize("hook", ["provision", "discover_instances"])
def test_a_machine_that_another_request_has_is_left_with_that(grid: Grid, hook: str) -> None:
    first = grid.complete(1)

    class Grabs(FakeProvider):
        @hookimpl
        def provision(self, request: Request, context: Context) -> Provisioned:
            made = super().provision(request, context)
            other = replace(made.instances[0], instance_id="f-00001")
            return replace(made, instances=(other, *made.instances)) if hook == "provision" else made

        @hookimpl
        def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
            def grabbed(one: Discovery) -> Discovery:
                its = (*one.instances, replace(one.instances[0], instance_id="f-00001"))
                return replace(one, instances=its, fulfilled=len(its)) if one.request_id != first else one

            found = super().discover_instances(requests, context)
            return tuple(map(grabbed, found)) if hook == "discover_instances" else found

    grid.candidates.clear()
    grid.install(Grabs(grid.cloud), "Fake")
    grid.cloud.capacity = 2
    second = grid.request(3)
    view = grid.poll(second)
    assert ids(view) == ["f-00002"]
    assert f"named f-00001 for it, which {first} has" in view.message
    assert status(view) is RequestStatus.COMPLETED_WITH_ERRORS
    grid.clock.advance(minutes=40)
    grid.poll(second)
    assert statuses(grid.poll(first)) == ["running"]
    assert sorted(grid.cloud.living()) == ["f-00001", "f-00002"]


def test_a_request_that_an_older_version_let_name_anothers_machine_does_not_end_it(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = grid.complete(1)

    class Grabs(FakeProvider):
        @hookimpl
        def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
            def grabbed(one: Discovery) -> Discovery:
                its = (*one.instances, replace(one.instances[0], instance_id="f-00001"))
                return replace(one, instances=its) if one.request_id != first else one

            return tuple(map(grabbed, super().discover_instances(requests, context)))

    grid.candidates.clear()
    grid.install(Grabs(grid.cloud), "Fake")
    with monkeypatch.context() as patch:
        patch.setattr("hfcore.polling.own", lambda _, discovery: discovery)
        second = grid.request(2)
        grid.poll(second)
    for _ in range(3):
        grid.poll(second)
        grid.clock.advance(minutes=6)
    assert statuses(grid.poll(first)) == ["running"]
    assert grid.cloud.living() == ["f-00001", "f-00002", "f-00003"]


def test_what_is_on_its_way_has_no_reason_why_it_is_not_there(grid: Grid) -> None:
    grid.cloud.run_after, grid.cloud.capacity = 1, 2
    message = "0 of 2 units running, on 0 running machines"

    class Tells(FakeProvider):
        @hookimpl
        def provision(self, request: Request, context: Context) -> Provisioned:
            return replace(
                super().provision(request, context), faults=(Fault(code="Slow", message="one pool is full"),)
            )

    grid.candidates.clear()
    grid.install(Tells(grid.cloud), "Fake")
    assert grid.poll(grid.request(2)).message == message


def test_of_several_reasons_the_one_that_still_holds_is_told(grid: Grid) -> None:
    looks = iter(("full", "throttled", "full", "full"))

    class Tells(FakeProvider):
        @hookimpl
        def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
            fault = Fault(code="NotAll", message=next(looks))
            found = super().discover_instances(requests, context)
            return tuple(replace(one, final=False, faults=(fault,)) for one in found)

    grid.candidates.clear()
    grid.install(Tells(grid.cloud), "Fake")
    grid.cloud.capacity = 1
    request_id = grid.request(2)
    assert [grid.poll(request_id).message.rpartition(": ")[2] for _ in range(4)] == [
        "full",
        "throttled",
        "full",
        "full",
    ]


def test_an_alias_of_an_installed_plug_in_is_installed(grid: Grid) -> None:
    grid.candidates.append(replace(grid.candidates[0], name="Imitation"))
    grid.write_templates({**TEMPLATE, "providerApi": "imitation"})
    assert grid.stored(grid.complete(1))["provider_api"] == "Imitation"
    assert not grid.open().reconciling.survey().unlisted
    assert not [*doctor.lacking_plugins(grid.data, grid.clock, grid.open().plugins.records())]


def test_a_machine_returned_while_its_request_is_open_counts_as_delivered(grid: Grid) -> None:
    grid.cloud.refills, grid.cloud.capacity = True, 1
    request_id = grid.request(2)
    message = "1 of 2 units running, on 1 running machine; NoCapacity: the fake cloud is full"
    assert grid.poll(request_id).message == message
    grid.give_back("f-00001")
    grid.cloud.capacity = None
    view = grid.poll(request_id)
    assert status(view) is RequestStatus.COMPLETED
    assert view.message == "2 units on 1 running machine, 1 given back"
    assert len(grid.cloud.living()) == 1


def test_a_machine_may_be_returned_before_it_runs(grid: Grid) -> None:
    grid.cloud.run_after = 99
    request_id = grid.request(1)
    grid.poll(request_id)
    answer = grid.give_back("f-00001")
    grid.poll(answer.request_id)
    assert status(grid.poll(answer.request_id)) is RequestStatus.COMPLETED
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED


# What the cloud takes back


def test_machines_that_the_cloud_takes_back_are_named_with_what_remains_of_their_time(grid: Grid) -> None:
    grid.complete(2)
    at = grid.clock.at + timedelta(seconds=120)
    grid.cloud.reclaims["f-00001"] = Reclaim(
        instance_id="f-00001", code="interruption", message="soon", at=at, status=MachineStatus.RUNNING
    )
    before = grid.on_disk()
    (view,) = grid.reclaims().views
    assert view.machine.instance_id == "f-00001"
    assert 110 <= view.grace_seconds <= 120
    assert view.message == "interruption: soon"
    assert grid.on_disk() == before


def test_a_machine_that_was_taken_is_stored_as_such_and_named_until_it_is_returned(grid: Grid) -> None:
    request_id = grid.complete(2)
    grid.cloud.reclaims["f-00001"] = Reclaim(
        instance_id="f-00001", code="taken", message="no capacity", status=MachineStatus.TERMINATED
    )
    assert [view.grace_seconds for view in grid.reclaims().views] == [0]
    grid.cloud.calls.clear()
    (view,) = grid.reclaims().views
    assert (view.machine.instance_id, view.message) == ("f-00001", "taken: no capacity")
    assert [call.ids for call in grid.cloud.called("reclaimed_instances")] == [("f-00002",)]
    grid.give_back("f-00001")
    assert grid.reclaims().views == ()
    assert status(grid.poll(request_id)) is RequestStatus.COMPLETED


def test_a_machine_that_host_factory_returned_is_never_named(grid: Grid) -> None:
    grid.complete(1)
    return_id = grid.give_back("f-00001").request_id
    assert grid.reclaims().views == ()
    grid.poll(return_id)
    grid.poll(return_id)
    assert grid.reclaims().views == ()


def test_a_machine_that_is_returned_while_the_cloud_is_asked_is_not_named(grid: Grid) -> None:
    class Overtaken(FakeProvider):
        @hookimpl
        def reclaimed_instances(self, machines: tuple[Machine, ...], context: Context) -> tuple[Reclaim, ...]:
            grid.cloud.reclaims.clear()
            grid.give_back("f-00001")
            return tuple(
                Reclaim(instance_id=m.instance_id, code="ended", message="by us", status=MachineStatus.TERMINATED)
                for m in machines
            )

    grid.complete(2)
    grid.candidates.clear()
    grid.install(Overtaken(grid.cloud), "Fake")
    assert [view.machine.instance_id for view in grid.reclaims().views] == ["f-00002"]


def test_only_machines_that_host_factory_knows_are_named(grid: Grid) -> None:
    grid.complete(3)
    for key in grid.cloud.instances:
        grid.cloud.reclaims[key] = Reclaim(instance_id=key, code="taken", message="m", status=MachineStatus.TERMINATED)
    refs = (MachineRef(machine_id="f-00002"), MachineRef(name=machine_names(grid)["f-00003"]))
    views = grid.open().return_requests(refs).views
    assert sorted(view.machine.instance_id for view in views) == ["f-00002", "f-00003"]


def test_a_fault_while_asking_what_is_taken_back_is_told_and_stops_nothing(grid: Grid) -> None:
    grid.complete(1)
    grid.cloud.fail("reclaimed_instances", THROTTLED)
    reclaims = grid.reclaims()
    assert reclaims.views == ()
    assert "Throttling" in reclaims.message


def test_a_machine_that_was_taken_may_be_returned_by_its_name_alone(grid: Grid) -> None:
    grid.complete(2)
    grid.cloud.reclaims["f-00001"] = Reclaim(
        instance_id="f-00001", code="taken", message="no capacity", status=MachineStatus.TERMINATED
    )
    grid.reclaims()
    answer = grid.open().request_return((MachineRef(name=machine_names(grid)["f-00001"]),))
    assert answer.message == "1 machine being returned"
    assert status(grid.poll(answer.request_id)) is RequestStatus.COMPLETED
    assert grid.reclaims().views == ()
    assert grid.cloud.living() == ["f-00001", "f-00002"]


# The end of records


def test_what_is_over_goes_to_the_archive_and_is_still_answered(grid: Grid) -> None:
    request_id = grid.complete(1)
    return_id = grid.give_back("f-00001").request_id
    for _ in range(3):
        grid.poll(return_id)
    grid.clock.advance(hours=25)
    grid.request(1)
    hot = json.loads((grid.data / "storage.json").read_text())
    assert {request_id, return_id}.isdisjoint(hot)
    assert "f-00001" not in json.loads((grid.data / "machines.json").read_text())
    grid.cloud.calls.clear()
    created, returned = grid.open().request_status((request_id, return_id))
    assert (status(created), ids(created)) == (RequestStatus.COMPLETED, ["f-00001"])
    assert (status(returned), statuses(returned)) == (RequestStatus.COMPLETED, ["terminated"])
    assert grid.cloud.calls == []


def test_what_still_lives_is_never_archived(grid: Grid) -> None:
    request_id = grid.complete(1)
    grid.clock.advance(days=400)
    grid.request(1)
    assert grid.stored(request_id)["status"] == "completed"


def test_machines_that_live_keep_a_request_without_resources_from_the_archive(grid: Grid) -> None:
    class Bare(FakeProvider):
        @hookimpl
        def provision(self, request: Request, context: Context) -> Provisioned:
            return replace(super().provision(request, context), resource_ids=())

    grid.candidates.clear()
    grid.install(Bare(grid.cloud), "Fake")
    request_id = grid.complete(1)
    grid.clock.advance(days=400)
    grid.request(1)
    assert grid.stored(request_id)["status"] == "completed"


def test_what_is_over_is_kept_for_as_long_as_the_setting_says(grid: Grid) -> None:
    request_id = grid.complete(1)
    return_id = grid.give_back("f-00001").request_id
    for _ in range(3):
        grid.poll(return_id)
    grid.clock.advance(hours=23)
    grid.request(1)
    assert grid.stored(request_id)["cleaned"] is True


# A store that can't be trusted


@pytest.mark.parametrize("harm", ["deleted", "truncated", "emptied"])
@pytest.mark.parametrize("name", ["storage.json", "machines.json"])
def test_no_verb_works_on_a_damaged_store_and_nothing_is_touched(grid: Grid, harm: str, name: str) -> None:
    request_id = grid.complete(10)
    path = grid.data / name
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100] if harm == "truncated" else b"")
    before = grid.on_disk()
    grid.cloud.calls.clear()
    verbs: tuple[Callable[[], object], ...] = (
        lambda: grid.open().available_templates(),
        lambda: grid.request(1),
        lambda: grid.poll(request_id),
        lambda: grid.give_back("f-00001"),
        lambda: grid.reclaims("f-00001"),
    )
    for verb in verbs:
        with pytest.raises(StoreUntrusted, match=name):
            verb()
    assert grid.cloud.calls == []
    assert grid.on_disk() == before


def test_the_cloud_is_not_asked_where_the_outcome_could_not_be_stored(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object) -> None:
        raise StoreNotWritable("no space left")

    monkeypatch.setattr("hfcore.store.TinyStore.check_writable", full)
    with pytest.raises(StoreNotWritable):
        grid.request(1)
    assert grid.cloud.called("provision") == []


# Events


class Watcher:
    """An observer that keeps what it sees."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @hookimpl
    def on_event(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def watcher(grid: Grid, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Watcher:
    watcher = Watcher()
    module = f"hfcore_watcher_{tmp_path.name}"
    monkeypatch.setitem(sys.modules, module, cast("ModuleType", watcher))
    grid.observers.append(Candidate(name="Watch", module=module, distribution="hfcore-watch", version="1"))
    return watcher


def test_observers_see_requests_and_returns_begin_and_end(grid: Grid, watcher: Watcher) -> None:
    request_id = grid.complete(1)
    return_id = grid.give_back("f-00001").request_id
    for _ in range(3):
        grid.poll(return_id)
    seen = [(event.name, event.request_id) for event in watcher.events if not event.name.startswith("machine.")]
    assert seen == [
        ("request.created", request_id),
        ("request.ended", request_id),
        ("return.created", return_id),
        ("return.ended", return_id),
    ]
    assert watcher.events[0].detail["target"] == 1
    assert all(json.dumps(dict(event.detail)) for event in watcher.events)


def test_an_observer_that_fails_harms_no_verb(grid: Grid) -> None:
    grid.observers.append(Candidate(name="Bad", module="hfcore_nonesuch", distribution="hfcore-bad", version="1"))
    assert grid.complete(1).startswith("req-")


def test_machines_made_and_not_stored_keep_their_request_and_its_id(
    grid: Grid, dead_process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreNotWritable("no space")

    service = grid.open()
    with monkeypatch.context() as patch:
        patch.setattr(Launching, "take_in", full)
        answer = service.request_machines("basic", 2)
    assert "made, but not stored yet" in answer.message
    assert grid.stored(answer.request_id)["status"] == "creating"

    grid.orphan(answer.request_id, dead_process)
    view = grid.poll(answer.request_id)
    assert (status(view), ids(view)) == (RequestStatus.COMPLETED, ["f-00001", "f-00002"])
    assert len(grid.cloud.instances) == 2


def test_a_launch_that_stays_unanswered_past_its_deadline_ends(grid: Grid, dead_process: str) -> None:
    grid.cloud.fail("provision", NO_ANSWER, times=99, when_done=True)
    request_id = grid.request(2)
    grid.orphan(request_id, dead_process)
    grid.clock.advance(minutes=31)
    view = grid.poll(request_id)
    assert view.request is not None
    assert not lifecycle.is_open(view.request)
    assert len(grid.cloud.instances) == 2
    assert list((grid.data / "journal").glob("req-*"))


def test_what_was_begun_and_never_made_is_given_up_after_its_deadline(grid: Grid, dead_process: str) -> None:
    grid.cloud.fail("provision", NO_ANSWER)
    request_id = grid.request(2)
    grid.orphan(request_id, dead_process)
    service = grid.open()
    IntentFolder(grid.data / "journal", owner=service.store.owner, clock=grid.clock).begin(
        request_id, "launch", "fake:Launch", {"count": 2}
    )
    grid.clock.advance(minutes=31)
    view = grid.poll(request_id)
    assert status(view) is RequestStatus.FAILED
    assert "TooLate" in view.message
    assert not grid.cloud.instances
    assert not list((grid.data / "journal").glob("req-*"))


def test_what_an_unanswered_launch_has_made_is_found_and_ended_though_its_request_has_ended(
    grid: Grid, dead_process: str
) -> None:
    grid.cloud.fail("provision", NO_ANSWER, times=2, when_done=True)
    grid.cloud.show_after = 99
    request_id = grid.request(2)
    grid.orphan(request_id, dead_process)
    grid.clock.advance(minutes=31)
    assert status(grid.poll(request_id)) is RequestStatus.FAILED
    grid.cloud.show_after = 0
    for _ in range(3):
        view = grid.poll(request_id)
    assert status(view) is RequestStatus.FAILED
    assert {machine.status for machine in view.machines} == {MachineStatus.TERMINATED}
    assert not grid.cloud.living()
    assert not list((grid.data / "journal").glob("req-*"))


def test_an_intent_left_open_for_a_request_that_is_over_is_forgotten_at_the_next_look(
    grid: Grid, dead_process: str
) -> None:
    request_id = grid.complete(1)
    return_id = grid.give_back("f-00001").request_id
    for _ in range(3):
        grid.poll(return_id)
    assert grid.stored(request_id)["cleaned"] is True
    journal = IntentFolder(grid.data / "journal", owner="owner", clock=grid.clock)
    journal.begin(request_id, "delete-launch-template", "fake:Delete", {})
    path = grid.data / "journal" / f"{request_id}.delete-launch-template.json"
    path.write_text(path.read_text().replace(this_process(), dead_process))
    grid.poll(return_id)
    assert not path.exists()


def test_machines_of_a_request_that_nobody_can_know_are_ended_at_its_deadline(grid: Grid, dead_process: str) -> None:
    grid.cloud.fail("provision", NO_ANSWER, when_done=True)
    request_id = grid.request(2)
    grid.orphan(request_id, dead_process)
    other = grid.request(1)
    grid.poll(other)
    grid.clock.advance(minutes=31)
    grid.poll(other)
    assert len(grid.cloud.living()) == 1
    assert status(grid.poll(other)) is RequestStatus.COMPLETED


def test_a_question_keeps_machines_though_the_cloud_can_t_answer_it(grid: Grid) -> None:
    request_id, other = grid.request(2), grid.complete(1)
    grid.cloud.fail("discover_instances", THROTTLED)
    grid.poll(request_id)
    grid.clock.advance(minutes=31)
    grid.poll(other)
    assert len(grid.cloud.living()) == 3


def test_intents_of_a_request_that_another_call_goes_on_with_are_left_to_it(grid: Grid) -> None:
    request_id = grid.complete(1)
    journal = IntentFolder(grid.data / "journal", owner="owner", clock=grid.clock)
    intent = journal.begin(request_id, "launch-7", "fake:Launch", {})
    with journal.claims() as claims:
        claims.take([request_id])
        journal.done(intent, {"made": "f-00009"})
        grid.poll(request_id)
        assert journal.steps(request_id)
    grid.poll(request_id)
    assert not journal.steps(request_id)


def test_intents_of_a_request_that_is_being_created_are_left_to_its_creator(grid: Grid) -> None:
    grid.cloud.fail("provision", NO_ANSWER)
    request_id = grid.request(1)
    grid.orphan(request_id, this_process())
    journal = IntentFolder(grid.data / "journal", owner="owner", clock=grid.clock)
    journal.done(journal.begin(request_id, "launch", "fake:Launch", {}), {"group": "g", "instances": [], "account": ""})
    grid.poll(request_id)
    assert journal.steps(request_id)


def test_a_request_with_open_steps_is_not_archived(grid: Grid, dead_process: str) -> None:
    grid.cloud.fail("provision", NO_ANSWER, times=9, when_done=True)
    grid.cloud.show_after = 99
    request_id = grid.request(1)
    grid.orphan(request_id, dead_process)
    grid.clock.advance(minutes=31)
    assert status(grid.poll(request_id)) is RequestStatus.FAILED
    grid.clock.advance(days=400)
    with suppress(CloudError):
        grid.request(1)
    assert grid.stored(request_id)["status"] == "failed"


def test_a_damaged_step_of_one_request_stops_no_question_about_another(grid: Grid) -> None:
    damaged, other = grid.complete(1), grid.complete(1)
    (grid.data / "journal" / f"{damaged}.launch-0.json").write_text("")
    assert status(grid.poll(other)) is RequestStatus.COMPLETED
    views = grid.open().request_status((damaged, other))
    assert [status(view) for view in views] == [RequestStatus.COMPLETED] * 2
    assert "is empty" in views[0].message
    assert "is empty" not in views[1].message


def test_machines_of_a_request_that_somebody_asks_about_stay_though_its_creator_died(
    grid: Grid, dead_process: str
) -> None:
    grid.cloud.fail("provision", NO_ANSWER, when_done=True)
    request_id = grid.request(2)
    grid.orphan(request_id, dead_process)
    other = grid.request(1)
    grid.poll(request_id)
    grid.clock.advance(minutes=31)
    grid.poll(other)
    assert len(grid.cloud.living()) == 3


def test_a_return_whose_call_died_is_carried_out_by_any_other(grid: Grid, dead_process: str) -> None:
    request_id = grid.complete(2)
    grid.cloud.fail("release_instances", NO_ANSWER)
    return_id = grid.give_back(*ids(grid.poll(request_id))).request_id
    grid.orphan(return_id, dead_process)
    grid.poll(request_id)
    assert not grid.cloud.living()
    grid.poll(request_id)  # which sees them going
    grid.poll(request_id)
    assert grid.stored(return_id)["status"] == "completed"


def test_a_return_that_nobody_polls_is_carried_out_at_its_deadline(grid: Grid) -> None:
    request_id = grid.complete(2)
    grid.cloud.fail("release_instances", NO_ANSWER)
    return_id = grid.give_back(*ids(grid.poll(request_id))).request_id
    grid.poll(request_id)
    assert len(grid.cloud.living()) == 2
    grid.clock.advance(minutes=31)
    grid.poll(request_id)
    assert not grid.cloud.living()
    grid.poll(request_id)
    assert grid.stored(return_id)["status"] == "completed"


def test_what_the_answer_does_not_wait_for_can_be_done_after_it(grid: Grid) -> None:
    later: list[Callable[[], None]] = []
    service = grid.open()
    service.later = later.append
    request_id = service.request_machines("basic", 2).request_id
    assert grid.stored(request_id)["status"] == "in_progress"
    assert len(later) == 2
