from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore import journal
from hfcore.errors import StoreError, StoreNotWritable, StoreUntrusted
from hfcore.journal import HUNG_AFTER, IntentFolder, is_dead, this_process

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEAD_LATER = 600.0


class Hands:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def intents(tmp_path: Path, clock: Hands) -> IntentFolder:
    return IntentFolder(tmp_path / "journal", owner="owner-1", clock=clock)


def again(intents: IntentFolder) -> IntentFolder:
    """Give the journal as the next process sees it."""
    return IntentFolder(intents._folder, owner=intents._owner, clock=intents._clock)


def test_an_intent_is_on_disk_before_begin_returns(intents: IntentFolder, tmp_path: Path) -> None:
    intent = intents.begin("req-1", "launch-0", "ec2:RunInstances", {"MinCount": 1, "Tags": ("a", "b")})
    path = tmp_path / "journal" / "req-1.launch-0.json"
    stored = json.loads(path.read_text())
    assert stored["call"] == "ec2:RunInstances"
    assert stored["parameters"] == intent.parameters == {"MinCount": 1, "Tags": ["a", "b"]}
    assert stored["token"] == intent.token
    assert stored["outcome"] is None
    assert stored["process"] == intent.process == this_process()
    assert not intent.replayed
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.parent.stat().st_mode & 0o7777 == 0o700


def test_an_open_step_is_replayed_with_the_parameters_and_the_token_of_then(
    intents: IntentFolder, clock: Hands
) -> None:
    first = intents.begin("req-1", "launch-0", "ec2:RunInstances", {"MinCount": 1})
    clock.sleep(60)
    second = again(intents).begin("req-1", "launch-0", "ec2:RunInstances", {"MinCount": 5})
    assert second == replace(first, replayed=True)


def test_a_replay_takes_the_step_over(intents: IntentFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    intents.begin("req-1", "launch-0", "ec2:RunInstances", {})
    monkeypatch.setattr(journal, "this_process", lambda: "another/boot/7/8")
    assert intents.begin("req-1", "launch-0", "ec2:RunInstances", {}).process == "another/boot/7/8"
    assert intents.steps("req-1")[0].process == "another/boot/7/8"


def test_an_answered_step_gives_its_outcome_and_is_no_replay(intents: IntentFolder) -> None:
    intent = intents.begin("req-1", "launch-0", "ec2:RunInstances", {"MinCount": 1})
    closed = intents.done(intent, {"ids": ["i-1"]})
    assert closed.outcome == {"ids": ["i-1"]}
    found = again(intents).begin("req-1", "launch-0", "ec2:RunInstances", {"MinCount": 9})
    assert found == closed
    assert not found.replayed


def test_an_empty_outcome_is_an_answer(intents: IntentFolder) -> None:
    intents.done(intents.begin("req-1", "suspend", "autoscaling:SuspendProcesses", {}), {})
    assert intents.begin("req-1", "suspend", "autoscaling:SuspendProcesses", {}).outcome == {}


def test_a_dropped_intent_can_be_begun_anew(intents: IntentFolder) -> None:
    intents.drop(intents.begin("req-1", "launch-0", "ec2:RunInstances", {"MinCount": 1}))
    assert not intents.steps("req-1")
    anew = intents.begin("req-1", "launch-0", "ec2:RunInstances", {"MinCount": 2})
    assert anew.parameters == {"MinCount": 2}
    assert not anew.replayed


def test_tokens_differ_by_owner_request_and_step_and_fit_in_a_client_token(tmp_path: Path, clock: Hands) -> None:
    tokens = {
        IntentFolder(tmp_path / owner, owner=owner, clock=clock).begin(request, step, "ec2:CreateFleet", {}).token
        for owner in ("a", "b")
        for request in ("req-1", "req-2")
        for step in ("launch-0", "launch-1")
    }
    assert len(tokens) == 8
    assert all(token.isascii() and 0 < len(token) <= 64 for token in tokens)


def test_steps_come_oldest_first_and_of_one_request_only(intents: IntentFolder, clock: Hands) -> None:
    for step in ("launch-1", "launch-0", "tag.it"):
        intents.begin("req-1", step, "ec2:RunInstances", {})
        clock.sleep(1)
    intents.begin("req-10", "launch-0", "ec2:RunInstances", {})
    assert [intent.step for intent in intents.steps("req-1")] == ["launch-1", "launch-0", "tag.it"]
    assert intents.requests() == {"req-1", "req-10"}


def test_forgetting_a_request_leaves_the_others(intents: IntentFolder, tmp_path: Path) -> None:
    for request_id in ("req-1", "req-10"):
        intents.begin(request_id, "launch-0", "ec2:RunInstances", {})
    (tmp_path / "journal" / ".req-1.launch-0.json.17.abc.tmp").write_text("left by a killed process")
    intents.forget("req-1")
    intents.forget("req-1")
    assert intents.requests() == {"req-10"}
    assert sorted(path.name for path in (tmp_path / "journal").iterdir()) == [".lock", "req-10.launch-0.json"]


def test_a_journal_without_a_folder_is_empty(intents: IntentFolder, tmp_path: Path) -> None:
    assert intents.requests() == frozenset()
    assert intents.steps("req-1") == ()
    intents.forget("req-1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"request_id": "req-1", "step": "launch-0", "call": 3}', None]
)
def test_an_unreadable_intent_is_named_and_never_removed(
    intents: IntentFolder, tmp_path: Path, content: str | None
) -> None:
    intents.begin("req-1", "launch-1", "ec2:RunInstances", {})
    path = tmp_path / "journal" / "req-1.launch-0.json"
    swapped = (tmp_path / "journal" / "req-1.launch-1.json").read_text()
    path.write_text(swapped if content is None else content)
    for act in (
        lambda: intents.begin("req-1", "launch-0", "ec2:RunInstances", {}),
        lambda: intents.steps("req-1"),
        lambda: intents.forget("req-1"),
    ):
        with pytest.raises(StoreUntrusted, match=r"req-1\.launch-0\.json"):
            act()
    assert path.exists()
    assert len(list((tmp_path / "journal").glob("req-1.*"))) == 2


@pytest.mark.parametrize(
    ("request_id", "step"),
    [
        ("../req", "a"),
        ("req/1", "a"),
        ("", "a"),
        ("req-1", ""),
        ("req.1", "a"),
        ("req-1\0", "a"),
    ],
)
def test_a_name_that_could_leave_the_folder_is_refused(
    intents: IntentFolder, tmp_path: Path, request_id: str, step: str
) -> None:
    with pytest.raises(StoreError, match="can't hold step"):
        intents.begin(request_id, step, "ec2:RunInstances", {})
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "step", ["../a", "a/b", "..", "a..b", ".a", "a\n", "end-/subscriptions/1/vm 2", "end-" + "é" * 400, "\ud800"]
)
def test_a_step_may_be_named_for_whatever_id_a_cloud_has(intents: IntentFolder, tmp_path: Path, step: str) -> None:
    begun = intents.begin("req-1", step, "acme:End", {"id": 1})
    (path,) = tmp_path.rglob("*.json")
    assert path.parent == tmp_path / "journal"
    assert len(path.name) < 160
    assert intents.begin("req-1", step, "acme:End", {}).token == begun.token
    assert [one.step for one in again(intents).steps("req-1")] == [step]
    intents.begin("req-1", f"{step}-2", "acme:End", {})
    assert len(intents.steps("req-1")) == 2
    intents.forget("req-1")
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("wrong", [[1], None, "text"], ids=str)
def test_what_is_no_object_is_refused_before_anything_is_written(intents: IntentFolder, wrong: Any) -> None:  # noqa: ANN401 - it is no object
    with pytest.raises(StoreError, match="no JSON object"):
        intents.begin("req-1", "launch", "acme:Launch", wrong)
    begun = intents.begin("req-1", "launch", "acme:Launch", {})
    with pytest.raises(StoreError, match="no JSON object"):
        intents.done(begun, wrong)
    assert [one.outcome for one in intents.steps("req-1")] == [None]


def test_parameters_that_can_not_be_written_down_are_refused_before_the_call(intents: IntentFolder) -> None:
    with pytest.raises(StoreError, match=r"ec2:CreateFleet for req-1.*datetime is not a JSON value"):
        intents.begin("req-1", "launch-0", "ec2:CreateFleet", {"ValidUntil": NOW})
    assert not intents.requests()


def test_a_full_disk_stops_the_call(intents: IntentFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreNotWritable, match="No space left"):
        intents.begin("req-1", "launch-0", "ec2:RunInstances", {})
    assert not intents.requests()


def test_of_many_that_begin_a_step_at_once_one_writes_the_parameters(intents: IntentFolder) -> None:
    found: list[object] = []

    def begin(number: int) -> None:
        found.append(again(intents).begin("req-1", "launch-0", "ec2:RunInstances", {"number": number}).parameters)

    threads = [threading.Thread(target=begin, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(parameters == found[0] for parameters in found)


def dead(process: str, *, after: float = 0.0) -> bool:
    return is_dead(process, begun_at=NOW, now=NOW + timedelta(seconds=after), foreign_after=DEAD_LATER)


def test_an_answer_has_its_time(intents: IntentFolder, clock: Hands) -> None:
    begun = intents.begin("req-1", "launch-0", "ec2:RunInstances", {})
    clock.sleep(60)
    intents.done(begun, {})
    (done,) = again(intents).steps("req-1")
    assert (begun.done_at, done.done_at) == (None, begun.begun_at + timedelta(seconds=60))


def test_this_process_lives_until_it_hangs_for_longer_than_any_call_takes() -> None:
    limit = HUNG_AFTER.total_seconds()
    assert not dead(this_process(), after=limit - 1)
    assert dead(this_process(), after=limit)


def test_a_killed_process_is_dead_even_before_its_parent_has_seen_it() -> None:
    code = "from hfcore.journal import this_process; import time; print(this_process(), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        assert not dead(name)
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert dead(name)
    assert dead(name)


def test_another_process_of_the_same_pid_is_not_taken_for_it() -> None:
    host, boot, pid, start = this_process().rsplit("/", 3)
    assert dead(f"{host}/{boot}/{pid}/{int(start) + 1}")


def test_a_process_from_before_a_restart_of_the_host_is_dead() -> None:
    host, _, pid, start = this_process().rsplit("/", 3)
    assert dead(f"{host}/another-boot/{pid}/{start}")


@pytest.mark.parametrize("process", ["elsewhere/boot/1/2", "", "nonsense", "a/b/c/d/e"])
def test_a_process_that_can_not_be_seen_from_here_is_dead_after_a_time(process: str) -> None:
    assert not dead(process, after=DEAD_LATER - 1)
    assert dead(process, after=DEAD_LATER)


def test_without_proc_a_process_is_known_by_its_pid_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_first_line", lambda path: "")
    assert not dead(this_process())
    with subprocess.Popen([sys.executable, "-P", "-c", ""]) as child:
        pass
    host, _, _, _ = this_process().rsplit("/", 3)
    assert dead(f"{host}//{child.pid}/")


def test_a_replay_dates_the_step_anew_and_gives_the_date_of_before(intents: IntentFolder, clock: Hands) -> None:
    first = intents.begin("req-1", "launch-0", "ec2:RunInstances", {"MinCount": 1})
    clock.sleep(60)
    assert again(intents).begin("req-1", "launch-0", "ec2:RunInstances", {}).begun_at == first.begun_at
    (stored,) = intents.steps("req-1")
    assert stored.begun_at == first.begun_at + timedelta(seconds=60)


def test_a_request_is_claimed_by_one_call_at_a_time(intents: IntentFolder) -> None:
    with intents.claims() as mine, again(intents).claims() as others:
        assert mine.take(["req-1", "req-2"]) == {"req-1", "req-2"}
        assert others.take(["req-1", "req-3"]) == {"req-3"}
        assert mine.take(["req-1"]) == {"req-1"}
    with again(intents).claims() as others:
        assert others.take(["req-1", "req-2", "req-3"]) == {"req-1", "req-2", "req-3"}


def test_a_claim_can_be_waited_for(intents: IntentFolder) -> None:
    mine = intents.claims()
    mine.take(["req-1"])
    threading.Timer(0.1, mine.__exit__, (None, None, None)).start()
    with again(intents).claims() as others:
        assert others.take(["req-1"], wait=10.0) == {"req-1"}


def test_a_killed_process_claims_nothing_any_more(intents: IntentFolder, tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from hfcore.journal import Claims; "
        "print(Claims(pathlib.Path(sys.argv[1])).take(['req-1']), flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "journal")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert b"req-1" in holder.stdout.readline()
        with intents.claims() as mine:
            assert mine.take(["req-1"]) == frozenset()
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait()
            assert mine.take(["req-1"]) == {"req-1"}


def test_claims_are_no_steps(intents: IntentFolder, tmp_path: Path) -> None:
    with intents.claims() as mine:
        mine.take(["req-1"])
    assert intents.requests() == frozenset()
    assert {path.stat().st_size for path in (tmp_path / "journal").iterdir()} == {0}


def test_a_step_that_is_forgotten_while_the_folder_is_listed_is_no_damage(
    intents: IntentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    intents.begin("req-1", "launch-0", "ec2:RunInstances", {})
    listed = [*(path.name for path in intents._folder.iterdir()), "req-1.launch-1.json"]
    monkeypatch.setattr(os, "listdir", lambda _: listed)
    assert [intent.step for intent in intents.steps("req-1")] == ["launch-0"]
