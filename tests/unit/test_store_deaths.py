"""The store when a process is killed, the disk is full, or another call holds the lock."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.config import SETTINGS
from hfcore.errors import StoreLocked, StoreNotWritable, StoreUntrusted
from hfcore.models import Machine, MachineStatus, Request, RequestKind, RequestStatus
from hfcore.store import TinyStore, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOST_FACTORY_SECONDS = 240
FILES = ("storage.json", "machines.json")

CHILD = """
import os, signal, sys, time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from hfcore.models import Machine, MachineStatus, Request, RequestKind, RequestStatus
from hfcore.store import open_store
now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
store = open_store(Path(sys.argv[1]), now=now)

def die_before(target):
    real = os.replace
    def replace_one(old, new):
        if Path(new).name == target:
            os.kill(os.getpid(), signal.SIGKILL)
        real(old, new)
    os.replace = replace_one
"""
FINDS = """
die_before(sys.argv[2])
with store.transaction() as state:
    asked = state.request("req-1")
    state.save_batch([Machine(instance_id="i-3", request_id="req-1", status=MachineStatus.RUNNING, observed_at=now)])
    state.save_request(replace(asked, machine_ids=(*asked.machine_ids, "i-3"), message="three"))
"""
RETURNS = """
die_before(sys.argv[2])
with store.transaction() as state:
    state.save_batch([replace(state.machine("i-1"), return_id="ret-1")])
    state.save_request(Request(
        request_id="ret-1", kind=RequestKind.RETURN, status=RequestStatus.IN_PROGRESS, created_at=now,
        machine_ids=("i-1",),
    ))
"""
ARCHIVES = """
die_before(sys.argv[2])
with store.transaction() as state:
    state.archive(["req-1"])
"""
HOLDS = """
with store.transaction():
    print("held", flush=True)
    time.sleep(60)
"""


def request(number: int = 1, **changes: Any) -> Request:  # noqa: ANN401 - any field
    values: dict[str, Any] = {"request_id": f"req-{number}", "status": RequestStatus.IN_PROGRESS, "created_at": NOW}
    return Request(**values | changes)


def machine(number: int = 1, **changes: Any) -> Machine:  # noqa: ANN401 - any field
    values: dict[str, Any] = {"instance_id": f"i-{number}", "request_id": "req-1", "status": MachineStatus.RUNNING}
    return Machine(**{"observed_at": NOW} | values | changes)


@pytest.fixture
def store(tmp_path: Path) -> TinyStore:
    made = open_store(tmp_path / "work" / "data", now=NOW, lock_timeout=20)
    with made.transaction() as state:
        state.save_request(request(machine_ids=("i-1", "i-2"), resource_ids=("fleet-1",)))
        state.save_batch([machine(1), machine(2)])
    return made


def killed(code: str, store: TinyStore, *arguments: str) -> None:
    command = [sys.executable, "-P", "-c", CHILD + code, str(store.data), *arguments]
    assert subprocess.run(command, check=False, timeout=30).returncode == -signal.SIGKILL


def stored(store: TinyStore, name: str) -> dict[str, Any]:
    records: dict[str, Any] = json.loads((store.data / name).read_text())
    return records


def written(store: TinyStore) -> dict[str, tuple[bytes, int]]:
    files = (path for path in store.data.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.name: (path.read_bytes(), path.stat().st_ino) for path in files}


def check_that_an_empty_change_writes_nothing(store: TinyStore) -> None:
    before = written(store)
    assert not store.draft().changed
    with store.transaction() as state:
        assert not state.changed
    assert written(store) == before


# A death between the two files


def test_a_machine_that_a_killed_call_stored_without_its_request_is_taken_in_by_the_next(store: TinyStore) -> None:
    killed(FINDS, store, "storage.json")
    assert stored(store, "machines.json").keys() == {"i-1", "i-2", "i-3"}
    assert stored(store, "storage.json")["req-1"]["machine_ids"] == ["i-1", "i-2"]
    draft = store.draft()
    assert draft.changed
    found = draft.request("req-1")
    assert found is not None
    assert [each.instance_id for each in draft.machines_of(found)] == ["i-1", "i-2", "i-3"]
    with store.transaction():
        pass
    assert stored(store, "storage.json")["req-1"]["machine_ids"] == ["i-1", "i-2", "i-3"]
    assert "message" not in stored(store, "storage.json")["req-1"], "what else the call had to say is asked again"
    check_that_an_empty_change_writes_nothing(store)


def test_a_reader_names_it_too_as_soon_as_it_asks_for_machines(store: TinyStore) -> None:
    killed(FINDS, store, "storage.json")
    view = store.read()
    assert len(view.machines()) == 3
    found = view.request("req-1")
    assert found is not None
    assert found.machine_ids == ("i-1", "i-2", "i-3")


def test_a_return_of_which_only_the_machine_was_stored_never_came_to_be(store: TinyStore) -> None:
    killed(RETURNS, store, "storage.json")
    assert stored(store, "machines.json")["i-1"]["return_id"] == "ret-1"
    assert store.read().machines() == (machine(1), machine(2))
    assert store.draft().changed
    with store.transaction():
        pass
    assert "return_id" not in stored(store, "machines.json")["i-1"]
    check_that_an_empty_change_writes_nothing(store)


@pytest.mark.parametrize("code", [FINDS, RETURNS, ARCHIVES], ids=["finds", "returns", "archives"])
def test_a_death_before_the_first_file_leaves_everything_as_it_was(store: TinyStore, code: str) -> None:
    before = {name: stored(store, name) for name in FILES}
    killed(code, store, "machines.json")
    assert {name: stored(store, name) for name in FILES} == before
    check = store.draft()
    assert not check.changed
    assert list(store.data.glob(".*.tmp"))
    with store.transaction() as state:
        state.save_request(request(2))
    assert not list(store.data.glob(".*.tmp"))


def test_a_request_that_is_half_in_the_archive_is_moved_the_rest_of_the_way(store: TinyStore) -> None:
    over = request(status=RequestStatus.COMPLETED, machine_ids=("i-1", "i-2"), resource_ids=("fleet-1",), cleaned=True)
    with store.transaction() as state:
        state.save_request(over)
        state.save_request(request(2))
    killed(ARCHIVES, store, "storage.json")
    assert stored(store, "machines.json") == {}
    assert stored(store, "storage.json").keys() == {"req-1", "req-2"}
    assert store.draft().changed
    assert store.draft().request("req-1") is None
    with store.transaction() as state:
        state.archive(["req-1"])
    assert stored(store, "storage.json").keys() == {"req-2"}
    assert store.archived("req-1") == (over, (machine(1), machine(2)))
    assert len((store.data / "archive" / "2026-01.jsonl").read_text().splitlines()) == 1
    check_that_an_empty_change_writes_nothing(store)


def test_a_finished_request_whose_machines_are_nowhere_stays(store: TinyStore) -> None:
    with store.transaction() as state:
        state.save_request(request(2, status=RequestStatus.FAILED, machine_ids=("i-9",)))
    assert not store.draft().changed
    assert store.draft().request("req-2") is not None


def test_an_archive_that_can_not_be_read_stops_no_call_that_does_not_ask_for_it(store: TinyStore) -> None:
    over = request(status=RequestStatus.COMPLETED, machine_ids=("i-1", "i-2"))
    with store.transaction() as state:
        state.save_request(over)
    killed(ARCHIVES, store, "storage.json")
    path = store.data / "archive" / "2026-01.jsonl"
    path.write_text(path.read_text().replace("running", "flying"))
    assert store.draft().request("req-1") == over
    with pytest.raises(StoreUntrusted, match="flying"):
        store.archived("req-1")


def test_an_archived_return_of_a_machine_that_is_gone_is_no_trace_of_a_death(store: TinyStore) -> None:
    gone = machine(1, status=MachineStatus.TERMINATED, return_id="ret-1")
    with store.transaction() as state:
        state.save_batch([gone])
        state.save_request(
            request(request_id="ret-1", kind=RequestKind.RETURN, status=RequestStatus.COMPLETED, machine_ids=("i-1",))
        )
    with store.transaction() as state:
        state.archive(["ret-1"])
    assert store.read().machine("i-1") == gone
    check_that_an_empty_change_writes_nothing(store)


def test_a_record_that_can_not_be_read_keeps_nobody_from_what_else_is_to_be_put_right(store: TinyStore) -> None:
    with store.transaction() as state:
        state.save_request(request(2))
        state.save_batch([machine(5), machine(6, request_id="req-2")])
    path = store.data / "storage.json"
    path.write_text(path.read_text().replace('"created_at":"2026', '"created_at":"MMXXVI', 1))
    with store.transaction():
        pass
    records = stored(store, "storage.json")
    assert (records["req-1"]["machine_ids"], records["req-2"]["machine_ids"]) == (["i-1", "i-2"], ["i-6"])
    with pytest.raises(StoreUntrusted, match="request req-1 can't be trusted: created_at") as caught:
        store.read().request("req-1")
    assert "hfcore store check" in caught.value.hint


@pytest.mark.parametrize("field", ["status", "machine_ids", "resource_ids", "kind"])
def test_a_request_without_a_field_that_each_has_stops_only_those_who_ask_for_it(store: TinyStore, field: str) -> None:
    records = stored(store, "storage.json")
    del records["req-1"][field]
    (store.data / "storage.json").write_text(json.dumps(records))
    assert len(store.read().machines()) == 2
    with pytest.raises(StoreUntrusted, match=f"it lacks {field}"):
        store.read().request("req-1")


# Files of different times


def test_requests_that_are_missing_while_their_machines_live_make_the_store_untrusted(store: TinyStore) -> None:
    (store.data / "storage.json").write_text("{}")
    for look in (store.draft, lambda: store.read().machines(), lambda: store.read().request("req-1")):
        with pytest.raises(StoreUntrusted, match=r"storage\.json lacks 1 request whose machines") as caught:
            look()
        assert "hfcore store repair" in caught.value.hint
    with pytest.raises(StoreUntrusted), store.transaction():
        pass
    assert stored(store, "storage.json") == {}


def test_a_view_whose_requests_are_older_than_its_machines_is_no_fault(store: TinyStore) -> None:
    view = store.read()
    assert len(view.requests()) == 1
    with store.transaction() as state:
        state.save_request(request(2))
    with store.transaction() as state:
        state.save_batch([machine(5, request_id="req-2")])
        state.save_request(request(2, machine_ids=("i-5",)))
    assert len(view.machines()) == 3
    view = store.read()
    over = request(status=RequestStatus.COMPLETED, machine_ids=("i-1", "i-2"), cleaned=True)
    with store.transaction() as state:
        state.save_batch(machine(number, status=MachineStatus.TERMINATED) for number in (1, 2))
        state.save_request(over)
    with store.transaction() as state:
        state.archive(["req-1"])
    assert [each.instance_id for each in view.machines()] == ["i-5"]


def test_machines_whose_requests_are_missing_and_that_have_ended_are_no_fault(store: TinyStore) -> None:
    with store.transaction() as state:
        state.save_batch(machine(number, status=MachineStatus.TERMINATED) for number in (1, 2))
    (store.data / "storage.json").write_text("{}")
    assert len(store.read().machines()) == 2


# A disk that is full, at each of the calls that a change makes


def change(store: TinyStore) -> None:
    """Do everything at once: add, change, take out, archive."""
    with store.transaction() as state:
        state.save_request(request(2, machine_ids=("i-3",)))
        state.save_batch([machine(1, name="host"), machine(3, request_id="req-2")])
        state.save_request(replace(state.request("req-3") or request(3), status=RequestStatus.FAILED))
        state.archive(["req-3"])


class Full(OSError):
    """A disk that takes no more."""


def fail_at(monkeypatch: pytest.MonkeyPatch, call: str, nth: int) -> list[int]:
    """Let the nth use of a call of the system's fail; give the list of uses."""
    real: Callable[..., Any] = getattr(os, call)
    uses: list[int] = []

    def counted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the call
        if call == "open" and not arguments[1] & os.O_CREAT:  # reading takes no room
            return real(*arguments, **named)
        uses.append(1)
        if len(uses) == nth:
            raise Full(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, counted)
    return uses


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "replace"])
def test_wherever_the_disk_is_full_the_store_stays_whole_and_the_same_change_goes_well_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    failed = True
    times = 0
    while failed:  # at the first use, then at the second, until there are no more
        times += 1
        store = open_store(tmp_path / str(times) / "data", now=NOW)
        with store.transaction() as state:
            state.save_request(request(machine_ids=("i-1", "i-2")))
            state.save_request(request(2))
            state.save_request(request(3))
            state.save_batch([machine(1), machine(2)])
        before = {name: stored(store, name) for name in FILES}
        with monkeypatch.context() as patch:
            uses = fail_at(patch, call, times)
            said = outcome(store)
        failed = len(uses) >= times
        if failed and not (call == "write" and times == 1):  # where the lock's holder only says its name
            assert "No space left" in said
        assert not list(store.data.rglob("*.tmp"))
        view = store.draft()
        assert all(len(view.machines_of(each)) == len(each.machine_ids) for each in view.requests())
        storage, machines = (stored(store, name) for name in FILES)
        if said and call not in {"open", "fsync"}:  # the folder of a file that is in place already is opened and synced
            assert storage == before["storage.json"], times
        if said and call == "write":
            assert machines == before["machines.json"], times
        change(store)
        assert stored(store, "storage.json").keys() == {"req-1", "req-2"}
        assert stored(store, "machines.json").keys() == {"i-1", "i-2", "i-3"}
        assert store.archived("req-3") is not None
    assert times > 2


def outcome(store: TinyStore) -> str:
    try:
        change(store)
    except StoreNotWritable as error:
        return error.message
    return ""


ROOM = """
import resource
from hfcore.errors import StoreNotWritable
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    store.check_writable()
except StoreNotWritable as error:
    print(error.message)
"""


@pytest.mark.parametrize(("room", "what"), [(100_000, "data can't be written: File too large\n"), (10_000_000, "")])
def test_room_for_what_comes_next_is_asked_for_without_writing_anything(store: TinyStore, room: int, what: str) -> None:
    before, names = written(store), sorted(store.data.rglob("*"))
    command = [sys.executable, "-P", "-c", CHILD + ROOM, str(store.data), str(room)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == (what and f"{store.data.parent}/{what}")
    assert written(store) == before
    assert sorted(store.data.rglob("*")) == names


def test_the_room_asked_for_is_that_of_both_files_and_some_more(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed: list[int] = []
    monkeypatch.setattr("hfcore.files._claim", lambda _, size: claimed.append(size))
    store.check_writable()
    first = claimed[0]
    with store.transaction() as state:
        state.save_batch(machine(number) for number in range(500))
    store.check_writable()
    grown = (store.data / "machines.json").stat().st_size
    assert claimed[2] - first > grown / 2
    assert claimed[1] == claimed[3] >= 65_536, "the journal too"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_without_room_is_refused_with_its_reason_and_nothing_is_left(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("hfcore.files._claim", full)
    with pytest.raises(StoreNotWritable, match=os.strerror(code)):
        store.check_writable()
    assert not list(store.data.rglob("*.tmp"))


def test_a_journal_folder_that_is_missing_is_made(store: TinyStore) -> None:
    (store.data / "journal").rmdir()  # as a copy that leaves out empty folders does
    store.check_writable()
    assert (store.data / "journal").is_dir()


# The last good copy


def version(store: TinyStore, number: int) -> None:
    with store.transaction() as state:
        state.save_request(request(message=f"version {number}", machine_ids=("i-1", "i-2")))
        state.save_batch([machine(1, name=f"version-{number}", observed_at=NOW + timedelta(seconds=number))])


def test_the_version_before_each_change_is_kept(store: TinyStore) -> None:
    for number in range(1, 4):
        before = {name: (store.data / name).read_bytes() for name in FILES}
        version(store, number)
        assert {name: (store.data / f"{name}.last").read_bytes() for name in FILES} == before
        assert all((store.data / f"{name}.last").stat().st_mode & 0o777 == 0o600 for name in FILES)


def test_what_is_not_changed_keeps_its_copy_too(store: TinyStore) -> None:
    version(store, 1)
    kept = (store.data / "machines.json.last").read_bytes()
    with store.transaction() as state:
        state.save_request(request(2))
    assert (store.data / "machines.json.last").read_bytes() == kept


def test_keeping_it_writes_no_byte(store: TinyStore) -> None:
    inodes = {name: (store.data / name).stat().st_ino for name in FILES}
    version(store, 1)
    assert {name: (store.data / f"{name}.last").stat().st_ino for name in FILES} == inodes


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_it_is_copied_where_the_file_system_has_no_links(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    before = {name: (store.data / name).read_bytes() for name in FILES}
    monkeypatch.setattr(os, "link", refuse)
    version(store, 1)
    assert {name: (store.data / f"{name}.last").read_bytes() for name in FILES} == before
    assert not list(store.data.glob(".*.tmp"))


class Crash(BaseException):
    """Ends a transaction as a power cut does, as far as the files are concerned."""


def test_a_death_between_copy_and_file_leaves_both_and_the_next_change_keeps_the_right_one(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(FINDS, store, "storage.json")
    storage = store.data / "storage.json"
    assert storage.with_name("storage.json.last").stat().st_ino == storage.stat().st_ino
    before = storage.read_bytes()
    version(store, 1)
    assert storage.with_name("storage.json.last").read_bytes() == before
    assert storage.read_bytes() != before
    assert not list(store.data.glob(".*.tmp"))


@pytest.mark.parametrize("name", FILES)
def test_the_error_of_a_damaged_file_names_the_copy_and_the_command(store: TinyStore, name: str) -> None:
    version(store, 1)
    path = store.data / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreUntrusted, match=name) as caught:
        store.read().machines()
    assert f"{name}.last" in caught.value.hint
    assert "hfcore store repair" in caught.value.hint
    json.loads((store.data / f"{name}.last").read_text())


# The lock


def test_a_killed_holder_of_the_lock_blocks_nobody(store: TinyStore) -> None:
    command = [sys.executable, "-P", "-c", CHILD + HOLDS, str(store.data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StoreLocked, match=f"process {holder.pid}"),
            open_store(store.data, now=NOW, lock_timeout=0.05).transaction(),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        with open_store(store.data, now=NOW, lock_timeout=5).transaction() as state:
            state.save_request(request(2))
    assert store.read().request("req-2") is not None


def test_who_has_waited_for_the_lock_in_vain_does_not_wait_as_long_again(store: TinyStore) -> None:
    waiting = open_store(store.data, now=NOW, lock_timeout=1.0)
    waits = []
    with store.transaction():
        for _ in range(3):
            begun = time.monotonic()
            with pytest.raises(StoreLocked), waiting.transaction():
                pass
            waits.append(time.monotonic() - begun)
    assert waits[0] >= 1.0
    assert max(waits[1:]) < 0.5
    with waiting.transaction():
        pass
    begun = time.monotonic()
    with store.transaction(), pytest.raises(StoreLocked), waiting.transaction():
        pass
    assert time.monotonic() - begun >= 1.0, "once it was free again, it is waited for again"


def test_by_default_a_verb_that_waits_for_the_lock_ends_before_host_factory_ends_it() -> None:
    lock, call = (SETTINGS[name].default for name in ("lock_timeout_sec", "call_timeout_sec"))
    assert isinstance(lock, int)
    assert isinstance(call, int)
    assert 2 * lock + call < HOST_FACTORY_SECONDS


def test_a_view_that_is_older_than_a_return_keeps_what_the_machine_says_of_it(store: TinyStore) -> None:
    view = store.read()
    with store.transaction() as state:
        machine = state.machine("i-1")
        assert machine is not None
        state.save_batch([replace(machine, return_id="ret-1", status=MachineStatus.SHUTTING_DOWN)])
        state.save_request(
            Request(
                request_id="ret-1",
                kind=RequestKind.RETURN,
                status=RequestStatus.IN_PROGRESS,
                created_at=NOW,
                machine_ids=("i-1",),
            )
        )
    assert {one.instance_id: one.return_id for one in view.machines()}["i-1"] == "ret-1"
