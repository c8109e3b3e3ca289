from __future__ import annotations

import logging
import math
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hfcore import memory
from hfcore.files import FileLock, read_checked, replace_checked
from hfcore.memory import MOST_ENTRIES, FileMemory

if TYPE_CHECKING:
    from pathlib import Path


class Hands:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

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
def path(tmp_path: Path) -> Path:
    return tmp_path / "work" / "cache" / "memory.json"


def test_what_is_remembered_is_recalled_by_the_next_process(path: Path, clock: Hands) -> None:
    FileMemory(path, clock=clock).remember("image ami-1", {"root": "/dev/xvda", "size": 8})
    assert FileMemory(path, clock=clock).recall("image ami-1") == {"root": "/dev/xvda", "size": 8}
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.parent.stat().st_mode & 0o7777 == 0o700


def test_what_is_unknown_is_none(path: Path, clock: Hands) -> None:
    assert FileMemory(path, clock=clock).recall("image ami-1") is None
    assert not path.parent.exists()


def test_what_is_too_old_is_forgotten_for_those_who_say_so(path: Path, clock: Hands) -> None:
    mind = FileMemory(path, clock=clock)
    mind.remember("parameter", "ami-1")
    clock.sleep(60)
    assert mind.recall("parameter", max_age=60) == "ami-1"
    clock.sleep(1)
    assert mind.recall("parameter", max_age=60) is None
    assert mind.recall("parameter") == "ami-1"


def test_what_was_remembered_before_the_clock_was_set_back_is_forgotten_like_what_is_too_old(
    path: Path, clock: Hands
) -> None:
    FileMemory(path, clock=clock).remember("key", 1)
    clock.sleep(-120)
    assert FileMemory(path, clock=clock).recall("key", 3600) is None
    assert FileMemory(path, clock=clock).recall("key") == 1


def test_two_memories_of_one_file_keep_each_others_facts(path: Path, clock: Hands) -> None:
    one, two = FileMemory(path, clock=clock), FileMemory(path, clock=clock)
    assert one.recall("b") is None
    two.remember("a", 1)
    one.remember("b", 2)
    assert FileMemory(path, clock=clock).recall("a") == 1
    assert one.recall("a") == 1


def test_threads_lose_nothing(path: Path, clock: Hands) -> None:
    mind = FileMemory(path, clock=clock)
    threads = [threading.Thread(target=mind.remember, args=(f"key {n}", n)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = FileMemory(path, clock=clock)
    assert [again.recall(f"key {n}") for n in range(8)] == list(range(8))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b'{"a":[1.0,2]}',
        b'0\n{"a":[1.0,2]}',
        {"a": 3},
        {"a": ["x", 1]},
        [1],
        {"a": [1.0, math.inf]},
    ],
)
def test_a_damaged_file_is_as_good_as_none(path: Path, clock: Hands, content: object) -> None:
    path.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        replace_checked(path, content)
    mind = FileMemory(path, clock=clock)
    assert mind.recall("a") is None
    mind.remember("a", 1)
    assert FileMemory(path, clock=clock).recall("a") == 1


def test_a_file_that_can_not_be_written_costs_nothing_but_the_memory(
    path: Path, clock: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("a file where the folder should be")
    with caplog.at_level(logging.DEBUG):
        mind = FileMemory(path, clock=clock)
        mind.remember("a", 1)
    assert mind.recall("a") == 1
    assert FileMemory(path, clock=clock).recall("a") is None
    assert "a is not remembered" in caplog.text
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


def test_a_locked_file_costs_nothing_but_the_memory(path: Path, clock: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_LOCK_TIMEOUT", 0.05)
    path.parent.mkdir(parents=True)
    with FileLock(path.with_name("memory.json.lock"), 1):
        FileMemory(path, clock=clock).remember("a", 1)
    assert FileMemory(path, clock=clock).recall("a") is None


def test_the_oldest_facts_go_first(path: Path, clock: Hands) -> None:
    now = clock.now().timestamp()
    path.parent.mkdir(parents=True)
    replace_checked(path, {f"key {n}": [now - n, n] for n in range(MOST_ENTRIES)})
    FileMemory(path, clock=clock).remember("new", "value")
    kept = read_checked(path)
    assert len(kept) == MOST_ENTRIES
    assert "new" in kept
    assert f"key {MOST_ENTRIES - 1}" not in kept
    assert f"key {MOST_ENTRIES - 2}" in kept


def test_what_is_no_json_value_is_refused(path: Path, clock: Hands) -> None:
    with pytest.raises(ValueError, match="set is not a JSON value"):
        FileMemory(path, clock=clock).remember("a", {1, 2})


def test_a_recalled_value_can_be_changed_without_changing_the_memory(path: Path, clock: Hands) -> None:
    mind = FileMemory(path, clock=clock)
    mind.remember("a", [1])
    mind.recall("a").append(2)
    assert mind.recall("a") == [1]
