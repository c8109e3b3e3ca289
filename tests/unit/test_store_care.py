"""Checking, repairing, trimming and exporting a store, whatever has happened to it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcore.archive import encode_entry
from hfcore.errors import StoreLocked, StoreNotWritable, StoreUntrusted
from hfcore.files import FileLock
from hfcore.journal import IntentFolder
from hfcore.models import Machine, MachineStatus, Request, RequestKind, RequestStatus
from hfcore.store import TinyStore, open_store
from hfcore.storecare import export, trim
from hfcore.storecheck import check
from hfcore.storerepair import repair

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.storecheck import Finding

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def request(number: int = 1, **changes: Any) -> Request:  # noqa: ANN401 - any field
    values: dict[str, Any] = {"request_id": f"req-{number}", "status": RequestStatus.IN_PROGRESS, "created_at": NOW}
    return Request(**values | changes)


def machine(number: int = 1, **changes: Any) -> Machine:  # noqa: ANN401 - any field
    values: dict[str, Any] = {"instance_id": f"i-{number}", "request_id": "req-1", "status": MachineStatus.RUNNING}
    return Machine(**{"observed_at": NOW} | values | changes)


@pytest.fixture
def store(tmp_path: Path) -> TinyStore:
    return filled(tmp_path / "work" / "data")


def filled(data: Path) -> TinyStore:
    """Make a store with an open request of two machines, one that is over, one in the archive, and one intent."""
    made = open_store(data, now=NOW)
    with made.transaction() as state:
        state.save_request(request(9, status=RequestStatus.FAILED, machine_ids=("i-9",)))
        state.save_batch([machine(9, request_id="req-9", status=MachineStatus.TERMINATED)])
    with made.transaction() as state:
        state.archive(["req-9"])
        state.save_request(request(machine_ids=("i-1",), resource_ids=("fleet-1",)))
        state.save_batch([machine(1)])
    with made.transaction() as state:
        state.save_request(request(machine_ids=("i-1", "i-2"), resource_ids=("fleet-1",)))
        state.save_request(request(2, status=RequestStatus.FAILED, ended_at=NOW - timedelta(hours=2)))
        state.save_batch([machine(1, name="host"), machine(2)])
    journal = IntentFolder(made.data / "journal", owner="o", clock=Still())
    journal.begin("req-1", "launch-0", "ec2:RunInstances", {"MaxCount": 2})
    return made


def findings(store: TinyStore) -> list[Finding]:
    return list(check(store.data, clock=Still()).findings)


def the_finding(store: TinyStore) -> tuple[str, str]:
    (found,) = findings(store)
    assert found.problem
    assert found.remedy
    return found.where, found.what


def mended(store: TinyStore, *, set_aside: bool = False, dry_run: bool = False) -> list[tuple[str, str]]:
    done = repair(store.data, now=NOW, lock_timeout=1, set_aside=set_aside, dry_run=dry_run)
    return [(deed.where, deed.what) for deed in done.deeds]


def on_disk(store: TinyStore) -> dict[str, bytes]:
    files = (path for path in store.data.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(store.data)): path.read_bytes() for path in files}


def records(store: TinyStore, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((store.data / name).read_text())
    return found


def edit(store: TinyStore, name: str, key: str, **changes: Any) -> None:  # noqa: ANN401 - any JSON
    """Change fields of a record by hand; `None` takes one out."""
    stored = records(store, name)
    merged = stored.get(key, {}) | changes
    stored[key] = {field: value for field, value in merged.items() if value is not None}
    (store.data / name).write_text(json.dumps(stored))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


# check


def test_a_store_that_is_whole_has_nothing_wrong_and_is_read_as_it_is(store: TinyStore) -> None:
    before = on_disk(store)
    report = check(store.data, clock=Still())
    assert report.findings == ()
    assert (report.requests, report.machines, report.archived, report.restored_at) == (2, 2, 1, "")
    assert on_disk(store) == before


@pytest.mark.parametrize("name", ["storage.json", "machines.json", "meta.json"])
@pytest.mark.parametrize("harm", ["cut", "deleted"])
def test_a_file_that_can_not_be_read_is_found_with_its_copy(store: TinyStore, name: str, harm: str) -> None:
    path = store.data / name
    cut(path) if harm == "cut" else path.unlink()
    (found,) = findings(store)
    assert found.where == name
    assert ("is missing" if harm == "deleted" else "cut short") in found.problem
    assert "`hfcore store repair`" in found.remedy
    assert f"{name}.last" in found.remedy
    path.with_name(f"{name}.last").unlink()
    (found,) = findings(store)
    assert ("repair" in found.remedy) == (name == "machines.json")


def test_records_that_can_not_be_read_are_all_found(store: TinyStore) -> None:
    edit(store, "storage.json", "req-1", created_at="yesterday")
    edit(store, "machines.json", "i-1", status="flying")
    edit(store, "machines.json", "i-2", observed_at=None)
    found = {(each.where, each.what): each.problem for each in findings(store)}
    assert found.keys() == {
        ("storage.json", "request req-1"),
        ("machines.json", "machine i-1"),
        ("machines.json", "machine i-2"),
    }
    assert "flying" in found["machines.json", "machine i-1"]


def unnamed(store: TinyStore) -> None:
    edit(store, "storage.json", "req-1", machine_ids=["i-1"])


def unreturned(store: TinyStore) -> None:
    edit(store, "machines.json", "i-1", return_id="ret-7")


def lost_machine(store: TinyStore) -> None:
    edit(store, "storage.json", "req-1", machine_ids=["i-1", "i-2", "i-3"])


def half_archived(store: TinyStore) -> None:
    over = request(9, status=RequestStatus.FAILED, machine_ids=("i-9",))
    with store.transaction() as state:
        state.save_request(replace(over, machine_ids=()))
    edit(store, "storage.json", "req-9", machine_ids=["i-9"])


def twice(store: TinyStore) -> None:
    with store.transaction() as state:
        state.save_request(request(9, status=RequestStatus.FAILED))


def nobodys_machine(store: TinyStore) -> None:
    with store.transaction() as state:
        state.save_batch([machine(5, request_id="req-unknown")])


def unknown_return(store: TinyStore) -> None:
    edit(store, "machines.json", "i-1", return_id="ret-7", status="terminated")


def bad_line(store: TinyStore) -> None:
    path = store.data / "archive" / "2026-01.jsonl"
    path.write_text(encode_entry(request(4), []).replace("in_progress", "lost") + "\n" + path.read_text())


def cut_line(store: TinyStore) -> None:
    with (store.data / "archive" / "2026-01.jsonl").open("a") as file:
        file.write(encode_entry(request(4), [])[:-9])


def bad_intent(store: TinyStore) -> None:
    path = store.data / "journal" / "req-1.launch-1.json"
    path.write_text("{")
    path.chmod(0o600)


def nobodys_intent(store: TinyStore) -> None:
    IntentFolder(store.data / "journal", owner="o", clock=Still()).begin("req-8", "launch-0", "ec2:RunInstances", {})


def late_intent(store: TinyStore) -> None:
    IntentFolder(store.data / "journal", owner="o", clock=Still()).begin("req-9", "launch-0", "ec2:RunInstances", {})


def open_to_others(store: TinyStore) -> None:
    (store.data / "machines.json").chmod(0o640)


def leftover(store: TinyStore) -> None:
    path = store.data / ".storage.json.1.a.tmp"
    path.write_bytes(b"half")
    path.chmod(0o600)
    os.utime(path, (0, 0))


def leftover_of_an_intent(store: TinyStore) -> None:
    path = store.data / "journal" / ".req-1.launch-0.json.1.a.tmp"
    path.write_bytes(b"half")
    path.chmod(0o600)
    os.utime(path, (0, 0))


def other_schema(store: TinyStore) -> None:
    (store.data / "meta.json").write_text('{"schema": 2, "owner": "x"}')


HARMS: dict[Callable[[TinyStore], None], tuple[str, str]] = {
    unnamed: ("machines.json", "machine i-2"),
    unreturned: ("machines.json", "machine i-1"),
    lost_machine: ("storage.json", "request req-1"),
    half_archived: ("storage.json", "request req-9"),
    twice: ("storage.json", "request req-9"),
    nobodys_machine: ("machines.json", "machine i-5"),
    unknown_return: ("machines.json", "machine i-1"),
    bad_line: ("archive/2026-01.jsonl", "line 1"),
    cut_line: ("archive/2026-01.jsonl", "line 2"),
    bad_intent: ("journal", "steps of req-1"),
    nobodys_intent: ("journal", "steps of req-8"),
    late_intent: ("journal", "steps of req-9"),
    open_to_others: ("machines.json", ""),
    leftover: (".storage.json.1.a.tmp", ""),
    leftover_of_an_intent: ("journal/.req-1.launch-0.json.1.a.tmp", ""),
    other_schema: ("meta.json", ""),
}
BY_REPAIR = (unnamed, unreturned, lost_machine, half_archived, open_to_others, leftover, leftover_of_an_intent)
BY_SETTING_ASIDE = (bad_line, cut_line, nobodys_machine, bad_intent)


@pytest.mark.parametrize("harm", HARMS)
def test_each_kind_of_harm_is_found_and_named(store: TinyStore, harm: Callable[[TinyStore], None]) -> None:
    harm(store)
    before = on_disk(store)
    assert the_finding(store) == HARMS[harm]
    assert on_disk(store) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_of_another_user_is_found(store: TinyStore) -> None:
    os.chown(store.data / "storage.json", 65534, 65534)
    assert the_finding(store) == ("storage.json", "")


def test_a_machine_that_a_return_names_after_its_maker_is_archived_is_nobodys_fault(store: TinyStore) -> None:
    gone = machine(1, status=MachineStatus.TERMINATED, return_id="ret-1")
    with store.transaction() as state:
        state.save_batch([gone])
        state.save_request(request(request_id="ret-1", kind=RequestKind.RETURN, machine_ids=("i-1",)))
        state.archive(["req-1"])
    (store.data / "journal" / "req-1.launch-0.json").unlink()
    assert findings(store) == []


def test_what_a_process_that_lives_is_writing_is_no_leftover(store: TinyStore) -> None:
    path = store.data / ".storage.json.1.a.tmp"
    path.write_bytes(b"half")
    path.chmod(0o600)
    os.utime(path, (NOW.timestamp() - 30,) * 2)
    assert findings(store) == []
    assert mended(store) == []
    assert path.exists()


def test_what_another_call_moves_between_two_looks_is_not_wrong(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed(store)
    looks = []

    def put_right(*_: object) -> list[Finding]:
        looks.append(1)
        if len(looks) == 2:
            with store.transaction():
                pass
        return []

    monkeypatch.setattr("hfcore.storecheck._left", put_right)
    assert findings(store) == []
    assert len(looks) == 2


def test_there_is_nothing_to_check_where_there_is_no_store(tmp_path: Path) -> None:
    for act in (
        lambda data: check(data, clock=Still()),
        lambda data: repair(data, now=NOW, lock_timeout=1, set_aside=True, dry_run=False),
        lambda data: export(data, archived=True),
    ):
        with pytest.raises(StoreUntrusted, match="is missing"):
            act(tmp_path / "work" / "data")
    assert not list(tmp_path.iterdir())


# repair


def test_a_store_that_is_whole_is_left_alone(store: TinyStore) -> None:
    before = on_disk(store)
    assert mended(store, set_aside=True) == []
    assert on_disk(store) == before


@pytest.mark.parametrize("harm", [*BY_REPAIR, *BY_SETTING_ASIDE])
def test_harm_that_can_be_put_right_is_put_right_once(store: TinyStore, harm: Callable[[TinyStore], None]) -> None:
    harm(store)
    before = on_disk(store)
    aside = harm in BY_SETTING_ASIDE
    planned = mended(store, set_aside=aside, dry_run=True)
    assert on_disk(store) == before
    assert mended(store, set_aside=aside) == planned != []
    assert findings(store) == []
    after = on_disk(store)
    assert mended(store, set_aside=aside) == []
    assert on_disk(store) == after


@pytest.mark.parametrize("harm", [harm for harm in HARMS if harm not in BY_REPAIR])
def test_harm_that_nobody_has_agreed_to_or_that_needs_a_person_stays(
    store: TinyStore, harm: Callable[[TinyStore], None]
) -> None:
    harm(store)
    before = on_disk(store)
    if harm is other_schema:
        with pytest.raises(StoreUntrusted, match="newer hfcore"):
            mended(store, set_aside=True)
    else:
        assert mended(store) == []
    assert on_disk(store) == before


@pytest.mark.parametrize("harm", ["cut", "deleted"])
def test_a_damaged_file_of_requests_is_taken_from_its_copy_and_kept(store: TinyStore, harm: str) -> None:
    path = store.data / "storage.json"
    cut(path) if harm == "cut" else path.unlink()
    bad = path.read_bytes() if path.exists() else None
    mended(store)
    kept = list(store.data.glob("storage.json.bad-*"))
    assert [each.read_bytes() for each in kept] == ([bad] if bad is not None else [])
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in kept)
    assert findings(store) == []
    state = opened(store).read()
    assert [each.request_id for each in state.requests()] == ["req-1"], "the version before had no req-2 yet"
    assert state.requests()[0].machine_ids == ("i-1", "i-2"), "the machine is taken in again"
    assert check(store.data, clock=Still()).restored_at == "2026-01-02T03:04:05Z"


def opened(store: TinyStore) -> TinyStore:
    return open_store(store.data, now=NOW)


def test_a_damaged_file_of_machines_is_taken_from_its_copy_and_the_cloud_is_asked_for_the_rest(
    store: TinyStore,
) -> None:
    cut(store.data / "machines.json")
    assert "i-2" in " ".join(what for _, what in mended(store))
    assert findings(store) == []
    first, second = opened(store).read().machines()
    assert first == machine(1)
    assert (second.instance_id, second.request_id, second.status) == ("i-2", "req-1", MachineStatus.PENDING)
    assert not second.listed
    assert "restored_at" in records(store, "meta.json")


def test_a_lost_machine_that_was_being_returned_is_still_returned(store: TinyStore) -> None:
    with store.transaction() as state:
        state.save_batch([machine(2, return_id="ret-1")])
        state.save_request(request(request_id="ret-1", kind=RequestKind.RETURN, machine_ids=("i-2",)))
    kept = records(store, "machines.json")
    del kept["i-2"]
    (store.data / "machines.json").write_text(json.dumps(kept))
    (store.data / "machines.json.last").unlink()
    mended(store)
    found = opened(store).read().machine("i-2")
    assert found is not None
    assert (found.request_id, found.return_id) == ("req-1", "ret-1")


@pytest.mark.parametrize("name", ["storage.json", "machines.json"])
def test_a_file_that_lost_its_records_is_taken_from_its_copy_too(store: TinyStore, name: str) -> None:
    (store.data / name).write_text("{\n}\n")
    assert findings(store)
    mended(store)
    assert findings(store) == []
    assert [path.read_text() for path in store.data.glob(f"{name}.bad-*")] == ["{\n}\n"]
    assert opened(store).read().machine("i-1") is not None
    assert records(store, "storage.json")["req-1"]["machine_ids"] == ["i-1", "i-2"]


def test_a_damaged_meta_file_is_taken_from_its_copy_with_the_owner(store: TinyStore) -> None:
    cut(store.data / "meta.json")
    mended(store)
    assert opened(store).owner == store.owner
    assert findings(store) == []
    assert "restored_at" not in records(store, "meta.json"), "no record was lost"


def test_the_mark_of_a_restored_store_outlives_a_damaged_meta_file(store: TinyStore) -> None:
    cut(store.data / "storage.json")
    mended(store)
    cut(store.data / "meta.json")
    mended(store)
    assert check(store.data, clock=Still()).restored_at == "2026-01-02T03:04:05Z"


def test_everything_damaged_at_once_is_taken_from_the_copies(store: TinyStore) -> None:
    for name in ("meta.json", "storage.json", "machines.json"):
        cut(store.data / name)
    mended(store)
    assert findings(store) == []
    assert opened(store).owner == store.owner
    assert [each.instance_id for each in opened(store).read().machines()] == ["i-1"]


@pytest.mark.parametrize("harm", [Path.unlink, cut])
def test_a_file_of_machines_without_a_good_copy_is_made_anew_of_what_the_requests_name(
    store: TinyStore, harm: Callable[[Path], None]
) -> None:
    for name in ("machines.json", "machines.json.last"):
        harm(store.data / name)
    (remedy,) = {one.remedy for one in check(store.data, clock=Still()).findings}
    assert "asking the cloud" in remedy
    mended(store)
    assert findings(store) == []
    found = opened(store).read().machines()
    assert [(one.instance_id, one.request_id, one.listed) for one in found] == [
        ("i-1", "req-1", False),
        ("i-2", "req-1", False),
    ]
    assert "restored_at" in records(store, "meta.json")


@pytest.mark.parametrize("name", ["meta.json", "storage.json"])
def test_a_damaged_file_without_a_good_copy_stops_the_repair_and_nothing_is_changed(
    store: TinyStore, name: str
) -> None:
    open_to_others(store)
    cut(store.data / name)
    cut(store.data / f"{name}.last")
    before = on_disk(store)
    with pytest.raises(StoreUntrusted, match=f"{name} can't be used, nor {name}.last") as caught:
        mended(store, set_aside=True)
    assert "backup" in caught.value.hint
    assert on_disk(store) == before


def test_records_that_can_not_be_read_are_set_aside_whole_and_only_if_that_is_wanted(store: TinyStore) -> None:
    edit(store, "machines.json", "i-1", status="flying")
    edit(store, "storage.json", "req-2", created_at="yesterday")
    bad_line(store)
    before = on_disk(store)
    assert mended(store) == []
    assert on_disk(store) == before
    mended(store, set_aside=True)
    (path,) = store.data.glob("set-aside-*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    aside = json.loads(path.read_text())
    assert aside["machines.json"]["i-1"]["status"] == "flying"
    assert aside["storage.json"]["req-2"]["created_at"] == "yesterday"
    assert "lost" in aside["archive/2026-01.jsonl"][0]
    assert findings(store) == []
    assert opened(store).read().machine("i-1") == machine(1), "as the copy has it"
    assert opened(store).archived("req-9") is not None
    assert "restored_at" in records(store, "meta.json")


def test_a_record_that_no_copy_has_is_set_aside_and_the_cloud_is_asked_for_the_machine(store: TinyStore) -> None:
    edit(store, "machines.json", "i-2", status="flying")
    mended(store, set_aside=True)
    found = opened(store).read().machine("i-2")
    assert found is not None
    assert (found.status, found.listed) == (MachineStatus.PENDING, False)


def test_a_repair_waits_for_the_lock_and_no_longer_than_asked(store: TinyStore) -> None:
    unnamed(store)
    for lock in ("store.lock", "journal/.lock"):
        with FileLock(store.data / lock, 1), pytest.raises(StoreLocked):
            repair(store.data, now=NOW, lock_timeout=0, set_aside=False, dry_run=False)


def test_another_user_repairs_nothing(store: TinyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed(store)
    before = on_disk(store)
    monkeypatch.setattr(os, "geteuid", lambda: 424242)
    with pytest.raises(StoreNotWritable, match="belongs to user"):
        mended(store)
    assert on_disk(store) == before


class Crash(BaseException):
    """Ends a repair as a power cut does, as far as the files are concerned."""


@pytest.mark.parametrize("nth", range(1, 9))
def test_a_repair_that_dies_can_be_made_again(store: TinyStore, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    good = on_disk(store)
    for name in ("storage.json", "machines.json"):
        cut(store.data / name)
    bad = {name: (store.data / name).read_bytes() for name in ("storage.json", "machines.json")}
    real: Callable[..., None] = os.replace
    uses: list[int] = []

    def die(old: Path, new: Path) -> None:
        uses.append(1)
        if len(uses) == nth:
            raise Crash
        real(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        try:
            mended(store)
        except Crash:
            assert findings(store) != [] or nth > 5
    mended(store)
    assert findings(store) == []
    assert {each.instance_id for each in opened(store).read().machines()} == {"i-1"}, "what both copies know"
    kept = {path.name.partition(".bad-")[0]: path.read_bytes() for path in store.data.glob("*.bad-*")}
    assert kept == bad
    assert on_disk(store)["storage.json.last"] == good["storage.json.last"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "req-1", "i-2", "ret-7", "terminated"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "status"]), inner, max_size=2),
    max_leaves=4,
)
fields = st.sampled_from(
    [
        "request_id",
        "instance_id",
        "kind",
        "status",
        "machine_ids",
        "resource_ids",
        "return_id",
        "created_at",
        "template",
    ]
)
keys = st.sampled_from([("storage.json", "req-1"), ("storage.json", "req-2"), ("machines.json", "i-1")])


@settings(max_examples=30, deadline=None, database=None)
@given(st.lists(st.tuples(keys, fields, anything), min_size=1, max_size=4))
def test_whatever_stands_in_the_records_check_and_repair_get_to_their_end(
    changes: list[tuple[tuple[str, str], str, Any]],
) -> None:
    with TemporaryDirectory() as folder:
        store = filled(Path(folder) / "data")
        for (name, key), field, value in changes:
            edit(store, name, key, **{field: value})
        findings(store)
        export(store.data, archived=True)
        mended(store, set_aside=True)
        assert not [each for each in findings(store) if "can't be trusted" in each.problem]
        with opened(store).transaction() as state:
            assert state.machines()
            state.requests()


# trim


def test_trimming_moves_what_is_over_for_good_and_nothing_else(store: TinyStore) -> None:
    old = request(3, status=RequestStatus.FAILED, ended_at=NOW - timedelta(hours=30), machine_ids=("i-7",))
    with store.transaction() as state:
        state.save_request(old)
        state.save_batch([machine(7, request_id="req-3", status=MachineStatus.TERMINATED)])
    done = trim(store, NOW - timedelta(hours=24))
    assert (done.requests, done.machines) == (1, 1)
    done = trim(store, NOW)
    assert (done.requests, done.machines) == (1, 0)
    assert [each.request_id for each in store.read().requests()] == ["req-1"]
    assert store.archived("req-3") == (old, (machine(7, request_id="req-3", status=MachineStatus.TERMINATED),))
    before = on_disk(store)
    assert trim(store, NOW).requests == 0
    assert on_disk(store) == before


# export


def test_an_export_has_every_record_as_it_is_stored(store: TinyStore) -> None:
    document = export(store.data, archived=False)
    assert document["owner"] == store.owner
    assert document["requests"] == list(records(store, "storage.json").values())
    assert document["machines"] == list(records(store, "machines.json").values())
    assert "archived" not in document


def test_an_export_of_the_archive_has_each_request_once_with_all_its_machines(store: TinyStore) -> None:
    over = request(9, status=RequestStatus.FAILED, machine_ids=("i-9",), message="again")
    with (store.data / "archive" / "2026-02.jsonl").open("w") as file:
        file.write(encode_entry(over, []) + "\n" + encode_entry(request(4), [])[:-9])
    (entry,) = export(store.data, archived=True)["archived"]
    assert entry["request"]["message"] == "again"
    assert [each["instance_id"] for each in entry["machines"]] == ["i-9"]


def test_an_export_works_with_records_that_can_not_be_read(store: TinyStore) -> None:
    edit(store, "machines.json", "i-1", status="flying")
    assert [each["status"] for each in export(store.data, archived=True)["machines"]] == ["flying", "running"]
    cut(store.data / "machines.json")
    with pytest.raises(StoreUntrusted, match=r"machines\.json"):
        export(store.data, archived=False)
