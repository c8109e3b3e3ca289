from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from hfcore import files
from hfcore.archive import encode_entry
from hfcore.errors import StoreError, StoreLocked, StoreNotWritable, StoreUntrusted
from hfcore.lastwrite import is_last_written
from hfcore.models import Machine, MachineStatus, Request, RequestKind, RequestStatus
from hfcore.store import TinyStore, open_store
from hfcore.storefolder import refuse_if_absent

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FIRST_FILES = {"storage.json", "machines.json", "meta.json", "meta.json.last", "journal", "archive"}


def request(number: int = 1, **changes: Any) -> Request:  # noqa: ANN401 - any field
    values: dict[str, Any] = {"request_id": f"req-{number}", "status": RequestStatus.COMPLETED, "created_at": NOW}
    return Request(**values | changes)


def machine(number: int = 1, **changes: Any) -> Machine:  # noqa: ANN401 - any field
    values: dict[str, Any] = {"instance_id": f"i-{number}", "request_id": "req-1", "status": MachineStatus.RUNNING}
    return Machine(**{"observed_at": NOW} | values | changes)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def opened(data: Path, **changes: Any) -> TinyStore:  # noqa: ANN401 - any argument
    return open_store(data, **({"now": NOW} | changes))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "work" / "data"


@pytest.fixture
def tiny(data: Path) -> TinyStore:
    return opened(data)


@pytest.fixture
def filled(tiny: TinyStore) -> TinyStore:
    with tiny.transaction() as state:
        state.save_request(request(machine_ids=("i-1", "i-2"), resource_ids=("fleet-1",), provider_api="EC2Fleet"))
        state.save_batch([machine(1), machine(2)])
    return tiny


def save_two(tiny: TinyStore) -> None:
    with tiny.transaction() as state:
        state.save_batch([machine(3, request_id="req-2")])
        state.save_request(request(2, machine_ids=("i-3",)))


def snapshot(data: Path) -> dict[str, tuple[bytes, int, int]]:
    """Give content, inode and time of change of each file but the lock's."""
    return {
        str(path.relative_to(data)): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.name not in {"store.lock", ".lock"}
    }


# The first run


def test_the_first_run_makes_a_whole_private_folder(data: Path) -> None:
    made = opened(data)
    assert {path.name for path in data.iterdir()} == FIRST_FILES
    assert [path.name for path in data.parent.iterdir()] == ["data"]
    assert all(path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600) for path in data.iterdir())
    assert data.stat().st_mode & 0o7777 == 0o700
    meta = json.loads((data / "meta.json").read_text())
    its = {"created": "2026-01-02T03:04:05Z", "folder": data.stat().st_ino}
    assert meta == {"schema": 1, "owner": made.owner, **its}
    assert len(made.owner) == 36
    assert json.loads((data / "storage.json").read_text()) == json.loads((data / "machines.json").read_text()) == {}


def test_the_owner_is_made_once(data: Path) -> None:
    assert opened(data).owner == opened(data).owner


def test_a_given_owner_wins_and_meta_json_is_left_as_it_is(data: Path) -> None:
    assert opened(data, owner="site-a").owner == "site-a"
    before = snapshot(data)
    assert opened(data, owner="site-b").owner == "site-b"
    assert snapshot(data) == before
    assert opened(data).owner == "site-a"


def test_of_many_first_runs_at_once_one_wins_and_all_use_its_store(data: Path) -> None:
    barrier = threading.Barrier(8)
    owners: list[str] = []

    def first_run() -> None:
        barrier.wait()
        owners.append(opened(data).owner)

    threads = [threading.Thread(target=first_run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(owners) == 8
    assert len(set(owners)) == 1
    assert [path.name for path in data.parent.iterdir()] == ["data"]


def test_a_first_run_without_the_right_to_write_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    data.parent.mkdir()
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreNotWritable, match="Permission denied"):
        opened(data)
    assert not data.exists()


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_first_run_on_a_full_disk_leaves_nothing_behind(
    data: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    data.parent.mkdir()
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreNotWritable, match="No space left"):
        opened(data)
    assert not list(data.parent.iterdir())


def test_a_folder_that_can_not_be_looked_at_is_no_first_run(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.parent.mkdir()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", refuse)
    with pytest.raises(StoreUntrusted, match="can't be looked at: Permission denied"):
        opened(data)
    assert not list(data.parent.iterdir())


# What can't be trusted


@pytest.mark.parametrize("name", ["meta.json", "storage.json", "machines.json"])
def test_a_store_that_lacks_a_file_is_not_made_anew(filled: TinyStore, name: str) -> None:
    (filled.data / name).unlink()
    before = snapshot(filled.data)
    with pytest.raises(StoreUntrusted, match=f"{name} is missing") as caught:
        opened(filled.data)
    assert "nothing was changed" in caught.value.hint
    assert snapshot(filled.data) == before


def test_an_empty_folder_is_no_store(data: Path) -> None:
    data.mkdir(parents=True)
    with pytest.raises(StoreUntrusted, match=r"meta\.json is missing"):
        opened(data)
    assert not list(data.iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"{}", "schema"),
        (b'{"schema":"1","owner":"x"}', "schema"),
        (b'{"schema":true,"owner":"x"}', "schema"),
        (b'{"schema":0,"owner":"x"}', "is of schema 0, and no hfcore has written one below 1"),
        (b'{"schema":1}', "owner"),
        (b'{"schema":1,"owner":""}', "owner"),
        (b'{"schema":1,"owner":"x","created":"x"}', "does not say when the store was made: Invalid isoformat"),
        (b'{"schema":1,"owner":"x","created":5}', "does not say when the store was made: 5 is not a time"),
        (b"[]", "not a JSON object"),
        (b"{", "line 1, column 2"),
    ],
)
def test_a_meta_file_that_makes_no_sense_stops_everything(filled: TinyStore, content: bytes, reason: str) -> None:
    (filled.data / "meta.json").write_bytes(content)
    with pytest.raises(StoreUntrusted, match=reason):
        opened(filled.data)


def test_a_store_of_a_newer_schema_is_refused(filled: TinyStore) -> None:
    (filled.data / "meta.json").write_text('{"schema": 2, "owner": "x"}')
    with pytest.raises(StoreUntrusted, match="is of schema 2, written by a newer hfcore") as caught:
        opened(filled.data)
    assert "newer hfcore" in caught.value.hint


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "is empty": lambda _: b"",
    "is not JSON, or is cut short: .* line [23], column": lambda content: content[:-30],
    "is not JSON, or is cut short: .* line 1, column 1": lambda _: b"storage\n",
    "there is no object under i-1": lambda _: b'{"i-1": 3}',
    "is not a JSON object": lambda _: b'["i-1"]',
    "can't be understood": lambda _: b"\xff\xfe",
}


@pytest.mark.parametrize("name", ["storage.json", "machines.json"])
@pytest.mark.parametrize("reason", DAMAGE)
def test_a_damaged_file_stops_readers_and_writers_and_is_kept(filled: TinyStore, name: str, reason: str) -> None:
    path = filled.data / name
    path.write_bytes(DAMAGE[reason](path.read_bytes()))
    before = snapshot(filled.data)
    with pytest.raises(StoreUntrusted, match=rf"{name} .*{reason}") as caught:
        opened(filled.data).read().machines()
    assert caught.value.hint
    with pytest.raises(StoreUntrusted, match=name):
        save_two(opened(filled.data))
    assert snapshot(filled.data) == before


def test_a_record_that_makes_no_sense_is_named(filled: TinyStore) -> None:
    path = filled.data / "machines.json"
    path.write_text(path.read_text().replace('"status":"running"', '"status":"flying"', 1))
    with pytest.raises(StoreUntrusted, match=r"machine i-1 can't be trusted: status: 'flying'"):
        filled.read().machines()
    assert filled.read().machine("i-2") == machine(2)


def test_a_file_that_vanishes_later_is_not_taken_for_an_empty_one(filled: TinyStore) -> None:
    (filled.data / "storage.json").unlink()
    with pytest.raises(StoreUntrusted, match=r"storage\.json is missing"):
        filled.read()
    with pytest.raises(StoreUntrusted, match=r"storage\.json is missing"), filled.transaction():
        pass


# Reading and writing


def test_what_one_call_saves_the_next_one_reads(filled: TinyStore) -> None:
    state = opened(filled.data).read()
    assert state.request("req-1") == request(
        machine_ids=("i-1", "i-2"), resource_ids=("fleet-1",), provider_api="EC2Fleet"
    )
    assert state.machine("i-2") == machine(2)
    assert state.machines() == (machine(1), machine(2))
    assert state.request("req-2") is None
    assert state.machine("i-3") is None


def test_the_files_are_keyed_by_id_with_a_record_a_line(filled: TinyStore) -> None:
    storage, machines = ((filled.data / name).read_text() for name in ("storage.json", "machines.json"))
    assert json.loads(storage)["req-1"]["machine_ids"] == ["i-1", "i-2"]
    assert json.loads(machines)["i-2"]["status"] == "running"
    assert [line[:7] for line in machines.splitlines()] == ["{", '"i-1":{', '"i-2":{', "}"]


def test_requests_come_oldest_first(tiny: TinyStore) -> None:
    with tiny.transaction() as state:
        for number in (2, 3, 1):
            state.save_request(request(number, created_at=later(number)))
    assert [each.request_id for each in tiny.read().requests()] == ["req-1", "req-2", "req-3"]


def test_the_machines_of_a_request_come_in_its_order_and_unknown_ones_are_left_out(filled: TinyStore) -> None:
    asked = request(machine_ids=("i-2", "i-9", "i-1"))
    assert filled.read().machines_of(asked) == (machine(2), machine(1))


def test_a_transaction_sees_its_own_changes(filled: TinyStore) -> None:
    with filled.transaction() as state:
        assert not state.changed
        state.save_request(request(2, machine_ids=("i-3",)))
        state.save_batch([machine(3, request_id="req-2"), machine(1, status=MachineStatus.TERMINATED)])
        assert state.changed
        assert [each.request_id for each in state.requests()] == ["req-1", "req-2"]
        assert [each.instance_id for each in state.machines()] == ["i-1", "i-2", "i-3"]
        assert state.live_ids() == {"i-2", "i-3"}
    assert filled.read().live_ids() == {"i-2", "i-3"}


def test_the_newer_observation_wins_and_a_terminal_status_never_goes_back(filled: TinyStore) -> None:
    with filled.transaction() as state:
        state.save_batch([machine(1, status=MachineStatus.PENDING, observed_at=later(-5), name="host")])
        state.save_batch([machine(2, status=MachineStatus.TERMINATED, observed_at=later(5))])
        state.save_batch([machine(2, status=MachineStatus.RUNNING, observed_at=later(9))])
    first, second = filled.read().machines()
    assert (first.status, first.name, first.observed_at) == (MachineStatus.RUNNING, "host", NOW)
    assert second.status is MachineStatus.TERMINATED


def test_nothing_is_written_if_the_block_raises(filled: TinyStore) -> None:
    before = snapshot(filled.data)

    def change_and_break() -> None:
        with filled.transaction() as state:
            state.save_request(request(2))
            state.save_batch([machine(3)])
            state.archive(["req-1"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_break()
    assert snapshot(filled.data) == before


def test_nothing_is_written_if_nothing_changed(filled: TinyStore) -> None:
    before = snapshot(filled.data)
    with filled.transaction() as state:
        state.save_request(request(machine_ids=("i-1", "i-2"), resource_ids=("fleet-1",), provider_api="EC2Fleet"))
        state.save_batch(state.machines())
        assert not state.changed
    assert snapshot(filled.data) == before


def test_a_later_look_that_shows_the_same_is_no_reason_to_write(filled: TinyStore) -> None:
    before = snapshot(filled.data)
    with filled.transaction() as state:
        state.save_batch([machine(1, observed_at=later(30)), machine(2, observed_at=later(30))])
        assert not state.changed
    assert snapshot(filled.data) == before
    with filled.transaction() as state:
        state.save_batch([machine(1, observed_at=later(60)), machine(2, observed_at=later(60), name="host")])
    assert [each.observed_at for each in filled.read().machines()] == [NOW, later(60)]


def test_only_the_file_that_changed_is_written(filled: TinyStore) -> None:
    before = snapshot(filled.data)
    with filled.transaction() as state:
        state.save_request(request(2))
    after = snapshot(filled.data)
    assert after["machines.json"] == before["machines.json"]
    assert after["storage.json"] != before["storage.json"]


def test_a_file_is_read_at_most_once_and_machines_only_if_asked_for(
    filled: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    written: list[str] = []
    open_one, replace_one = files.open_file, os.replace

    def count_read(path: Path) -> BinaryIO:
        read.append(path.name)
        return open_one(path)

    def count_written(old: Path, new: Path) -> None:
        written.append(new.name)
        replace_one(old, new)

    monkeypatch.setattr(files, "open_file", count_read)
    monkeypatch.setattr(os, "replace", count_written)
    filled.read().requests()
    assert read == ["storage.json"]
    read.clear()
    with filled.transaction() as state:
        state.save_batch(machine(number) for number in range(10))
        state.save_request(request(3))
        state.archive(["req-1"])
        state.machines()
        state.requests()
        state.live_ids()
    assert read == ["storage.json", "machines.json", "data.written"]
    assert written == ["data.written", "machines.json.last", "machines.json", "storage.json.last", "storage.json"]


@pytest.mark.parametrize("stored", [False, True], ids=["just made", "with records"])
def test_a_store_put_back_on_the_very_inodes_that_it_had_is_not_the_one_written_last(
    data: Path, *, stored: bool
) -> None:
    store = opened(data)
    if stored:
        with store.transaction() as state:
            state.save_request(request(1))
    assert is_last_written(data)
    copied = data.with_name("data.written") if stored else data / "meta.json"
    before = copied.stat().st_mtime_ns - 60 * 10**9
    os.utime(copied, ns=(before, before))  # as `cp -a` leaves it
    assert not is_last_written(data)
    with store.transaction() as state:
        state.save_request(request(2))
    assert not is_last_written(data)


def test_lines_that_did_not_change_stay_as_they_are(filled: TinyStore) -> None:
    path = filled.data / "machines.json"
    path.write_text(path.read_text().replace('"status":"running"', '"status": "running", "note": "by hand"', 1))
    by_hand = path.read_text().splitlines()[1]
    with filled.transaction() as state:
        state.save_batch([machine(2, name="host"), machine(3)])
    assert path.read_text().splitlines()[1] == by_hand
    assert filled.read().machines() == (machine(1), machine(2, name="host"), machine(3))


def test_a_file_that_a_person_has_indented_is_read_and_written(filled: TinyStore) -> None:
    path = filled.data / "machines.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    with filled.transaction() as state:
        state.save_batch([machine(2, name="host")])
    assert len(path.read_text().splitlines()) == 4
    assert filled.read().machines() == (machine(1), machine(2, name="host"))


def test_a_view_does_not_see_what_is_written_later_and_can_not_be_changed(filled: TinyStore) -> None:
    view = filled.read()
    assert view.machine("i-1") == machine(1)
    with filled.transaction() as state:
        state.save_batch([machine(1, name="host")])
        state.save_request(request(2))
    assert view.request("req-2") is None
    assert view.machine("i-1") == machine(1)
    with pytest.raises(RuntimeError, match="inside `with store"):
        view.save_request(request(3))
    with pytest.raises(RuntimeError, match="inside `with store"):
        view.save_batch([])
    with pytest.raises(RuntimeError, match="inside `with store"):
        view.archive([])
    with pytest.raises(RuntimeError, match="inside"):
        state.save_request(request(3))


def test_a_draft_can_be_changed_and_is_never_stored(filled: TinyStore) -> None:
    before = snapshot(filled.data)
    draft = filled.draft()
    assert not draft.changed
    draft.save_batch([machine(1, status=MachineStatus.TERMINATED)])
    draft.save_request(request(2))
    assert draft.changed
    assert draft.live_ids() == {"i-2"}
    assert draft.request("req-2") == request(2)
    assert snapshot(filled.data) == before


def test_a_record_that_can_not_be_stored_is_refused_at_once_and_nothing_is_written(filled: TinyStore) -> None:
    before = snapshot(filled.data)
    with pytest.raises(StoreError, match="request req-2 can't be stored"), filled.transaction() as state:
        state.save_request(request(2, provider_data={"ids": {"i-1"}}))
    assert snapshot(filled.data) == before


def test_reading_needs_neither_the_lock_nor_the_right_to_write(
    filled: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled.transaction() as state:
        state.save_request(request(2))
        assert len(opened(filled.data, lock_timeout=0).read().requests()) == 1
    monkeypatch.setattr(os, "geteuid", lambda: 424242)
    before = snapshot(filled.data)
    assert len(opened(filled.data).read().machines()) == 2
    assert opened(filled.data).archived("req-1") is None
    with pytest.raises(StoreNotWritable, match="#424242") as caught, filled.transaction():
        pass
    assert "sudo -u" in caught.value.hint
    with pytest.raises(StoreNotWritable, match="#424242"):
        filled.check_writable()
    assert snapshot(filled.data) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_who_may_not_even_read_is_told_whose_the_store_is(filled: TinyStore) -> None:
    with TemporaryDirectory() as folder:  # pytest's own may not be entered by others
        Path(folder).chmod(0o755)
        data = Path(shutil.copytree(filled.data, Path(folder) / "data"))
        os.seteuid(65534)
        try:
            for look in (opened, refuse_if_absent):
                with pytest.raises(StoreNotWritable, match="belongs to user root") as caught:
                    look(data)
                assert "sudo -u root" in caught.value.hint
        finally:
            os.seteuid(0)


def test_a_transaction_waits_no_longer_than_the_lock_timeout(filled: TinyStore) -> None:
    with filled.transaction(), pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        save_two(opened(filled.data, lock_timeout=0.05))


@pytest.mark.parametrize(("code", "reason"), [(28, "No space left"), (30, "Read-only file system"), (13, "Permission")])
@pytest.mark.parametrize("call", ["write", "fsync", "link", "replace"])
def test_a_disk_that_takes_nothing_leaves_the_old_files_whole(
    filled: TinyStore, monkeypatch: pytest.MonkeyPatch, code: int, reason: str, call: str
) -> None:
    before = snapshot(filled.data)

    def fail(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreNotWritable, match=reason):
        save_two(filled)
    monkeypatch.undo()
    assert snapshot(filled.data) == before


# The archive


def test_an_archived_request_leaves_the_hot_files_with_its_machines(filled: TinyStore) -> None:
    asked = filled.read().request("req-1")
    with filled.transaction() as state:
        state.save_batch([machine(3, request_id="req-2"), machine(4)])
        state.save_request(request(2, machine_ids=("i-3",)))
        state.archive(["req-1", "req-unknown"])
        assert state.request("req-1") == asked
    state = filled.read()
    assert [each.request_id for each in state.requests()] == ["req-2"]
    assert [each.instance_id for each in state.machines()] == ["i-3"]
    assert filled.archived("req-1") == (asked, (machine(1), machine(2), machine(4)))
    assert filled.archived("req-2") is None
    path = filled.data / "archive" / "2026-01.jsonl"
    assert len(path.read_text().splitlines()) == 1
    assert path.stat().st_mode & 0o7777 == 0o600


def test_what_is_saved_in_the_same_transaction_is_archived_as_saved(filled: TinyStore) -> None:
    with filled.transaction() as state:
        state.archive(["req-1"])
        state.save_request(request(machine_ids=("i-1",), message="last words"))
        state.save_batch([machine(1, name="host")])
    found = filled.archived("req-1")
    assert found is not None
    assert (found[0].message, found[1][0].name) == ("last words", "host")


def test_a_returned_machine_stays_hot_until_both_its_requests_are_archived(filled: TinyStore) -> None:
    back = request(2, request_id="ret-2", kind=RequestKind.RETURN, machine_ids=("i-1",))
    with filled.transaction() as state:
        state.save_request(back)
        state.archive(["req-1"])
    assert [each.instance_id for each in filled.read().machines()] == ["i-1"]
    assert filled.read().machines_of(back) == (machine(1),)
    with filled.transaction() as state:
        state.archive(["ret-2"])
    assert filled.read().machines() == ()
    assert filled.archived("ret-2") == (back, (machine(1),))
    found = filled.archived("req-1")
    assert found is not None
    assert found[1] == (machine(1), machine(2))


def test_a_machine_whose_return_is_archived_first_stays_with_its_creator(filled: TinyStore) -> None:
    back = request(2, request_id="ret-2", kind=RequestKind.RETURN, machine_ids=("i-1",))
    with filled.transaction() as state:
        state.save_request(back)
    with filled.transaction() as state:
        state.archive(["ret-2"])
    assert [each.instance_id for each in filled.read().machines()] == ["i-1", "i-2"]
    assert filled.archived("ret-2") == (back, (machine(1),))


def test_the_newest_file_and_the_last_line_win(filled: TinyStore) -> None:
    folder = filled.data / "archive"
    lines = {
        "2025-11.jsonl": [encode_entry(request(message="oldest"), [machine(1, name="old"), machine(2)])],
        "2025-12.jsonl": [
            encode_entry(request(message="old", machine_ids=("i-1", "i-2")), [machine(1, name="old")]),
            encode_entry(request(message="new", machine_ids=("i-1", "i-2")), [machine(1, name="new")]),
            encode_entry(request(11, message="another"), []),
        ],
    }
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n")
    found = filled.archived("req-1")
    assert found is not None
    assert found[0].message == "new"
    assert {each.instance_id: each.name for each in found[1]} == {"i-1": "new", "i-2": ""}


def test_a_line_that_a_crash_cut_is_skipped_and_the_next_starts_anew(filled: TinyStore) -> None:
    path = filled.data / "archive" / "2026-01.jsonl"
    line = encode_entry(request(), [machine(1)])
    path.write_text(line + "\n" + encode_entry(request(7), [])[:-20])
    with filled.transaction() as state:
        state.save_request(request(5))
        state.archive(["req-5"])
    assert filled.archived("req-7") is None
    assert filled.archived("req-5") == (request(5), ())
    assert filled.archived("req-1") == (request(), (machine(1),))
    assert path.read_text().splitlines()[0] == line


@pytest.mark.parametrize("request_id", ["", "\ud800", '"', "i-1", "../req-1"])
def test_an_odd_id_is_simply_not_in_the_archive(filled: TinyStore, request_id: str) -> None:
    with filled.transaction() as state:
        state.archive(["req-1"])
    assert filled.archived(request_id) is None


# Crashes and many processes

CHILD = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from hfcore import files
from hfcore.models import Machine, MachineStatus, Request, RequestStatus
from hfcore.store import open_store
now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
store = open_store(Path(sys.argv[1]), now=now, lock_timeout=30)
"""

KILLED = """
target, act = sys.argv[2:4]
with store.transaction() as state:
    state.save_request(Request(request_id="req-2", status=RequestStatus.CREATING, created_at=now))
real = os.replace
def replace(old, new):
    if Path(new).name == target:
        os.kill(os.getpid(), signal.SIGKILL)
    real(old, new)
os.replace = replace
with store.transaction() as state:
    if act == "save":
        state.save_batch([Machine(
            instance_id="i-3", request_id="req-2", status=MachineStatus.RUNNING, observed_at=now
        )])
        state.save_request(Request(
            request_id="req-2", status=RequestStatus.IN_PROGRESS, created_at=now, machine_ids=("i-3",)
        ))
    else:
        state.archive(["req-1"])
"""

WORKER = """
number = int(sys.argv[2])
for turn in range(10):
    key = f"{number}-{turn}"
    with store.transaction() as state:
        state.save_request(Request(request_id=f"req-{key}", status=RequestStatus.CREATING, created_at=now))
    with store.transaction() as state:
        count = state.request("req-count")
        total = 1 + (count.target if count else 0)
        state.save_request(Request(
            request_id="req-count", status=RequestStatus.IN_PROGRESS, created_at=now, target=total
        ))
        state.save_request(Request(
            request_id=f"req-{key}", status=RequestStatus.COMPLETED, created_at=now, machine_ids=(f"i-{key}",)
        ))
        state.save_batch([Machine(
            instance_id=f"i-{key}", request_id=f"req-{key}", status=MachineStatus.RUNNING, observed_at=now
        )])
"""


def run_child(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-P", "-c", CHILD + code, *map(str, arguments)])


def run_and_be_killed(data: Path, target: str, act: str) -> None:
    with run_child(KILLED, data, target, act) as child:
        assert child.wait(20) == -9


@pytest.mark.parametrize("target", ["machines.json", "storage.json"])
def test_a_kill_before_either_file_is_replaced_leaves_a_readable_store_that_the_next_call_repairs(
    filled: TinyStore, target: str
) -> None:
    run_and_be_killed(filled.data, target, "save")
    assert list(filled.data.glob(".*.tmp"))
    state = opened(filled.data).read()
    assert [each.request_id for each in state.requests()] == ["req-1", "req-2"]
    assert [each.instance_id for each in state.machines()][:2] == ["i-1", "i-2"]
    with opened(filled.data, lock_timeout=1).transaction() as again:
        again.save_batch([machine(3, request_id="req-2", name="host")])
        again.save_request(request(2, machine_ids=("i-3",)))
    assert filled.read().machines_of(request(2, machine_ids=("i-3",))) == (machine(3, request_id="req-2", name="host"),)
    assert not list(filled.data.glob(".*.tmp"))


@pytest.mark.parametrize("target", ["machines.json", "storage.json"])
def test_a_kill_while_archiving_loses_nothing(filled: TinyStore, target: str) -> None:
    with filled.transaction() as state:
        state.save_request(replace(state.requests()[0], cleaned=True))
    asked = filled.read().request("req-1")
    run_and_be_killed(filled.data, target, "archive")
    assert filled.read().request("req-1") == asked
    assert filled.archived("req-1") == (asked, (machine(1), machine(2)))
    with opened(filled.data, now=later(40 * 86400)).transaction() as state:
        state.archive(["req-1"])
    assert [each.request_id for each in filled.read().requests()] == ["req-2"]
    assert not filled.read().machines()
    assert filled.archived("req-1") == (asked, (machine(1), machine(2)))


class Crash(BaseException):
    """Ends a transaction as a power cut does, as far as the files are concerned."""


def test_a_crash_between_the_two_files_shows_no_request_without_its_machines(
    filled: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., None] = os.replace

    def replace_one(old: Path, new: Path) -> None:
        if new.name == "storage.json":
            raise Crash
        real(old, new)

    with filled.transaction() as before:
        before.save_request(request(2))
    monkeypatch.setattr(os, "replace", replace_one)
    with pytest.raises(Crash):
        save_two(filled)
    monkeypatch.undo()
    state = filled.read()
    assert state.request("req-2") == request(2)
    assert state.machine("i-3") == machine(3, request_id="req-2")
    assert all(len(state.machines_of(each)) == len(each.machine_ids) for each in state.requests())


def test_eight_writers_lose_nothing_and_a_reader_beside_them_always_understands(tiny: TinyStore) -> None:
    children = [run_child(WORKER, tiny.data, number) for number in range(8)]
    looks = 0
    while any(child.poll() is None for child in children):
        state = tiny.read()
        for each in state.requests():
            assert len(state.machines_of(each)) == len(each.machine_ids)
        for path in tiny.data.glob("[ms]*.json*"):
            assert isinstance(json.loads(path.read_bytes()), dict), path.name
        looks += 1
    assert [child.wait() for child in children] == [0] * 8
    assert looks > 0
    state = tiny.read()
    count = state.request("req-count")
    assert count is not None
    assert count.target == 80
    expected = {f"{number}-{turn}" for number in range(8) for turn in range(10)}
    assert {each.request_id for each in state.requests()} == {f"req-{key}" for key in expected} | {"req-count"}
    assert {each.instance_id for each in state.machines()} == {f"i-{key}" for key in expected}


def test_threads_of_one_process_lose_nothing(tiny: TinyStore) -> None:
    def work(number: int) -> None:
        for _ in range(5):
            with tiny.transaction() as state:
                old = state.request("req-1") or request(target=0)
                state.save_request(replace(old, target=old.target + 1))
                state.save_batch([machine(number * 100 + old.target)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = tiny.read().request("req-1")
    assert found is not None
    assert found.target == 20
    assert len(tiny.read().machines()) == 20


def test_the_store_imports_nothing_that_a_short_call_would_have_to_wait_for() -> None:
    slow = "{'tempfile', 'shutil', 'socket', 'hashlib', 'uuid', 'filelock', 'logging', 'pydantic', 'boto3'}"
    code = f"import hfcore.store, hfcore.journal, sys; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("content", ["{}", '{"i-1": "gone"}'], ids=["empty", "older copy"])
def test_machines_that_the_requests_need_and_the_file_lacks_make_the_store_untrusted(
    filled: TinyStore, content: str
) -> None:
    path = filled.data / "machines.json"
    records = json.loads(path.read_text())
    kept = {key: record for key, record in records.items() if key in json.loads(content)}
    path.write_text(json.dumps(kept))
    with pytest.raises(StoreUntrusted, match=r"machines\.json lacks \d machines? that storage\.json names"):
        filled.read().machines()
    assert json.loads(path.read_text()) == kept
