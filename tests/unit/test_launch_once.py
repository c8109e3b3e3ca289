"""A launch by `launch_once`: once for a request, whoever dies in between, with a cloud that takes tokens or none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.context import launch_once
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.journal import IntentFolder
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import Fault, FaultKind, Request, RequestStatus
from hfcore.testing.core import Place, SteppedClock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hfcore.context import Intent

REFUSED = CloudError(Fault(code="Full", message="no room", kind=FaultKind.CAPACITY))
NO_ANSWER = OutcomeUnknown(Fault(code="NoAnswer", message="no answer", kind=FaultKind.TRANSIENT))


class Launcher:
    """A plug-in that launches by one call, and the cloud that it calls."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder, SteppedClock(), lambda *_: None, "here")
        now = self.place.clock.now()
        self.request = Request(
            request_id="req-1",
            status=RequestStatus.CREATING,
            created_at=now,
            deadline=now + timedelta(hours=1),
        )
        self.sent: list[str] = []
        self.shown: Mapping[str, Any] | None = None
        self.raised: list[BaseException | None] = []
        self.whole = 1

    def send(self, step: Intent) -> Mapping[str, Any]:
        self.sent.append(step.token)
        if self.raised and (error := self.raised.pop(0)):
            raise error
        return {"ids": ["m-1"], "count": step.parameters["count"]}

    def find(self, _: Intent) -> Mapping[str, Any] | None:
        return self.shown

    def launch(self, count: int = 2, *, token: bool = True) -> Mapping[str, Any]:
        place = (self.place.new_context(), self.request, "launch", "acme:Launch", {"count": count})
        return launch_once(*place, send=self.send, find=self.find, whole=self.has_all, token=token)

    def has_all(self, outcome: Mapping[str, Any]) -> bool:
        return len(outcome["ids"]) >= self.whole

    def open_steps(self) -> list[str]:
        return [one.step for one in self.place.journal().steps("req-1") if one.outcome is None]

    def pass_time(self, duration: timedelta) -> None:
        self.place.clock.added += duration.total_seconds()


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path / "instance")


@pytest.mark.parametrize("token", [True, False])
def test_a_launch_that_is_answered_is_sent_once(launcher: Launcher, *, token: bool) -> None:
    assert launcher.launch(token=token) == launcher.launch(5, token=token) == {"ids": ["m-1"], "count": 2}
    assert len(launcher.sent) == 1


def test_a_refused_launch_is_taken_back_and_may_be_asked_for_anew(launcher: Launcher) -> None:
    launcher.raised = [REFUSED]
    with pytest.raises(CloudError, match="Full"):
        launcher.launch()
    assert not launcher.open_steps()
    assert launcher.launch(5)["count"] == 5


def test_an_unanswered_launch_is_sent_again_with_its_token_and_parameters(launcher: Launcher) -> None:
    launcher.raised = [NO_ANSWER]
    with pytest.raises(OutcomeUnknown):
        launcher.launch()
    assert launcher.launch(5)["count"] == 2
    assert len(launcher.sent) == 2
    assert len(set(launcher.sent)) == 1


def test_a_refusal_says_nothing_of_what_was_sent_before(launcher: Launcher) -> None:
    launcher.raised = [NO_ANSWER, REFUSED]
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            launcher.launch()
    assert launcher.open_steps() == ["launch"]


def test_without_a_token_what_a_launch_has_made_is_looked_for_before_it_is_sent_again(launcher: Launcher) -> None:
    launcher.raised = [NO_ANSWER]
    with pytest.raises(OutcomeUnknown):
        launcher.launch(token=False)
    for _ in range(3):  # however often it is looked at, the time since it was sent counts
        launcher.pass_time(VISIBILITY_DELAY / 4)
        with pytest.raises(OutcomeUnknown, match="NotShownYet"):
            launcher.launch(token=False)
    launcher.shown = {"ids": ["m-7"]}
    assert launcher.launch(token=False) == {"ids": ["m-7"]}
    launcher.shown = None
    assert launcher.launch(token=False) == {"ids": ["m-7"]}
    assert len(launcher.sent) == 1


def test_what_is_shown_in_part_is_taken_for_all_only_once_there_was_time_to_show_it(launcher: Launcher) -> None:
    launcher.raised, launcher.whole = [NO_ANSWER], 2
    with pytest.raises(OutcomeUnknown):
        launcher.launch(token=False)
    launcher.shown = {"ids": ["m-1"]}
    with pytest.raises(OutcomeUnknown, match="NotShownYet"):
        launcher.launch(token=False)
    launcher.shown = {"ids": ["m-1", "m-2"]}
    assert launcher.launch(token=False) == launcher.shown
    assert len(launcher.sent) == 1


def test_what_is_shown_in_part_for_long_is_all_that_was_made(launcher: Launcher) -> None:
    launcher.raised, launcher.whole = [NO_ANSWER], 2
    with pytest.raises(OutcomeUnknown):
        launcher.launch(token=False)
    launcher.shown = {"ids": ["m-1"]}
    launcher.pass_time(VISIBILITY_DELAY)
    assert launcher.launch(token=False) == launcher.shown


def test_without_a_token_what_is_never_shown_is_sent_again(launcher: Launcher) -> None:
    launcher.raised = [NO_ANSWER]
    with pytest.raises(OutcomeUnknown):
        launcher.launch(token=False)
    launcher.pass_time(VISIBILITY_DELAY)
    assert launcher.launch(5, token=False)["count"] == 5


@pytest.mark.parametrize("token", [True, False])
def test_past_its_deadline_a_launch_is_only_looked_for(launcher: Launcher, *, token: bool) -> None:
    launcher.raised = [NO_ANSWER]
    with pytest.raises(OutcomeUnknown):
        launcher.launch(token=token)
    launcher.request = replace(launcher.request, deadline=launcher.place.clock.now())
    with pytest.raises(OutcomeUnknown, match="NotShownYet"):
        launcher.launch(token=token)
    launcher.pass_time(VISIBILITY_DELAY)
    with pytest.raises(CloudError, match="DeadlinePassed"):
        launcher.launch(token=token)
    assert not launcher.open_steps()
    assert len(launcher.sent) == 1


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("done", [True, False])
def test_what_another_process_begins_in_between_is_not_sent_again_unlooked(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch, *, token: bool, done: bool
) -> None:
    steps = IntentFolder.steps

    def late(journal: IntentFolder, request_id: str) -> tuple[Intent, ...]:
        seen = steps(journal, request_id)
        if not seen:  # another process begins it right after this look
            step = journal.begin("req-1", "launch", "acme:Launch", {"count": 3})
            if done:
                journal.done(step, {"ids": ["m-9"]})
        return seen

    monkeypatch.setattr(IntentFolder, "steps", late)
    if done:
        assert launcher.launch(token=token) == {"ids": ["m-9"]}
    elif token:
        assert launcher.launch(token=token)["count"] == 3
    else:
        with pytest.raises(OutcomeUnknown, match="NotShownYet"):
            launcher.launch(token=token)
    assert len(launcher.sent) == (token and not done)


def test_a_look_that_is_refused_leaves_the_launch_open(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher.raised = [NO_ANSWER]
    with pytest.raises(OutcomeUnknown):
        launcher.launch(token=False)
    launcher.pass_time(2 * VISIBILITY_DELAY)

    def refuse(_: Intent) -> None:
        raise REFUSED

    monkeypatch.setattr(launcher, "find", refuse)
    with pytest.raises(OutcomeUnknown):
        launcher.launch(token=False)
    assert launcher.open_steps() == ["launch"]


def test_what_was_never_begun_is_not_begun_past_the_deadline(launcher: Launcher) -> None:
    launcher.pass_time(timedelta(hours=2))
    with pytest.raises(CloudError, match="DeadlinePassed"):
        launcher.launch()
    assert not launcher.sent
