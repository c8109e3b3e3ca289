"""What people do to requests and machines: watch, cancel, give back."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.cli.output import ExitCode
from hfcore.errors import CloudError, StoreLocked
from hfcore.models import Fault, FaultKind, MachineStatus, RequestStatus
from hfcore.service import Service
from hfcore.testing import FakeCloud, FakeProvider
from tests.cli.test_cli_app import on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def cloud(install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCloud:
    """Install a plug-in `Fake` for a cloud in memory, whose machines run at the second look."""
    install("")
    points = (tmp_path / "site" / "hfcore_fake-1.0.dist-info" / "entry_points.txt").read_text()
    cloud = FakeCloud(run_after=1)
    monkeypatch.setitem(sys.modules, points.split("= ")[1].strip(), FakeProvider(cloud))
    return cloud


@pytest.fixture
def people(cli: Callable[..., Any], instance: Path, cloud: FakeCloud) -> Callable[..., Any]:
    """Run a command on the instance, whose API is that cloud's."""
    return lambda *words: cli(*words, "--provider", instance)


@pytest.fixture
def service(people: Callable[..., Any], instance: Path) -> Callable[[], Service]:
    from hfcore.cli.running import open_service

    return lambda: open_service(str(instance))


@pytest.fixture
def request_id(service: Callable[[], Service]) -> str:
    """Give a request for two machines, of which nobody has asked yet."""
    return service().request_machines("Small", 2).request_id


def lines(ended: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - an Ended of the conftest
    return [json.loads(line) for line in ended.out.splitlines()]


def test_watch_tells_each_change_as_a_line_until_the_request_has_ended(
    people: Callable[..., Any], request_id: str
) -> None:
    ended = people("requests", "watch", request_id, "--interval", 0)
    assert ended.code == 0
    told = lines(ended)
    assert [(one["status"], one["done"], one["target"]) for one in told] == [
        ("in_progress", 0, 2),
        ("completed", 2, 2),
    ]
    assert {one["schema"] for one in told} == {"hfcore/request-watch/v1"}
    assert set(told[-1]["machines"].values()) == {"running"}


def test_watch_looks_as_often_as_the_interval_says_and_tells_nothing_twice(
    people: Callable[..., Any], cloud: FakeCloud, request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.run_after = 4
    waits: list[float] = []
    monkeypatch.setattr("hfcore.cli.running.SystemClock.sleep", lambda _, seconds: waits.append(seconds))
    ended = people("requests", "watch", request_id, "--interval", 7)
    assert waits == [7.0] * 4
    assert len(lines(ended)) == 2


def test_watch_without_ids_watches_all_that_are_open_returns_too(
    people: Callable[..., Any], service: Callable[[], Service], request_id: str
) -> None:
    assert people("requests", "watch", request_id, "--interval", 0).code == 0
    (machine, _) = service().store.read().machines()
    returned = people("machines", "return", machine.instance_id, "--yes").document["request_id"]
    ended = people("requests", "watch", "--interval", 0)
    assert ended.code == 0
    last = lines(ended)[-1]
    assert (last["request_id"], last["kind"], last["status"], last["done"]) == (returned, "return", "completed", 1)


def test_watch_of_nothing_ends_at_once(people: Callable[..., Any]) -> None:
    ended = people("requests", "watch")
    assert (ended.code, ended.out) == (0, "")
    assert "no request is open" in ended.err


def test_watch_ends_with_exit_code_1_where_a_request_is_unknown_or_ended_short(
    people: Callable[..., Any], cloud: FakeCloud, service: Callable[[], Service]
) -> None:
    cloud.capacity = 1
    short = service().request_machines("Small", 2).request_id
    ended = people("requests", "watch", short, "req-none", "--interval", 0)
    assert ended.code == ExitCode.FAILED
    last = {one["request_id"]: one["status"] for one in lines(ended)}
    assert last == {short: "completed_with_errors", "req-none": "unknown"}


def test_watch_goes_on_after_what_may_go_well_next_time_and_not_after_anything_else(
    people: Callable[..., Any], instance: Path, request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = Service.request_status, [StoreLocked("held by process 7")]

    def look(self: Service, ids: tuple[str, ...]) -> Any:  # noqa: ANN401 - as the real one
        if failures:
            raise failures.pop()
        return real(self, ids)

    monkeypatch.setattr(Service, "request_status", look)
    ended = people("requests", "watch", request_id, "--interval", 0)
    assert ended.code == 0
    assert "held by process 7; trying again" in ended.err
    (instance / "work" / "data" / "storage.json").write_text("{")
    assert people("requests", "watch", request_id).document["error"]["code"] == "HF4002"


def test_watch_draws_a_table_with_a_bar(people: Callable[..., Any], request_id: str) -> None:
    ended = people("requests", "watch", request_id, "--interval", 0, "-o", "table")
    assert ended.code == 0
    assert "━━━━" in ended.out
    assert "2 of 2" in ended.out
    assert request_id in ended.out


def test_watch_draws_the_table_on_a_terminal(instance: Path, good: str) -> None:
    out, code = on_terminal("requests", "watch", "req-none", "--provider", instance)
    assert code == ExitCode.FAILED
    assert "unknown request id" in out
    assert "PROGRESS" in out


def test_cancel_launches_nothing_more_keeps_what_runs_and_ends_what_is_pending(
    people: Callable[..., Any], cloud: FakeCloud, service: Callable[[], Service]
) -> None:
    cloud.run_after = 2
    request_id = service().request_machines("Small", 3).request_id
    service().request_status((request_id,))
    cloud.run_after = 9
    first, *rest = cloud.living()
    cloud.set_status(MachineStatus.RUNNING, first)
    (item,) = people("requests", "cancel", request_id, "--yes").items
    assert (item["cancelled"], item["status"], item["done"]) == (True, "cancelled", 1)
    assert item["message"] == "cancelled by a person: 1 unit of 3 on 1 running machine"
    assert cloud.groups[request_id].frozen
    assert cloud.living() == [first]
    view = service().request_status((request_id,))[0]
    assert view.request is not None
    assert view.request.status is RequestStatus.CANCELLED
    assert {machine.instance_id for machine in view.machines if machine.status != "running"} == set(rest)


def test_cancel_returns_the_machines_where_that_is_wanted(
    people: Callable[..., Any], cloud: FakeCloud, service: Callable[[], Service]
) -> None:
    cloud.capacity, cloud.refills, cloud.run_after = 2, True, 0
    request_id = service().request_machines("Small", 3).request_id
    assert service().request_status((request_id,))[0].request.status == "in_progress"
    assert len(cloud.living()) == 2
    document = people("requests", "cancel", request_id, "--return-machines", "--yes").document
    assert document["return_id"].startswith("ret-")
    assert cloud.living() == []
    assert people("requests", "watch", document["return_id"], "--interval", 0).code == 0


def test_cancelling_what_has_ended_changes_nothing_and_says_so(
    people: Callable[..., Any], cloud: FakeCloud, request_id: str
) -> None:
    assert people("requests", "watch", request_id, "--interval", 0).code == 0
    ended = people("requests", "cancel", request_id, "--return-machines", "--yes")
    (item,) = ended.items
    assert (ended.code, ended.document["return_id"]) == (0, "")
    assert (item["cancelled"], item["status"]) == (False, "completed")
    assert item["message"].startswith("it has ended already: 2 units")
    assert len(cloud.living()) == 2


@pytest.mark.parametrize(("wrong", "said"), [("req-none", "unknown request id"), ("ret-", "is a return")])
def test_cancelling_something_else_is_an_error_and_cancels_nothing_beside_it(
    people: Callable[..., Any], service: Callable[[], Service], request_id: str, wrong: str, said: str
) -> None:
    returned = service().request_return(()).request_id
    ended = people("requests", "cancel", request_id, returned if wrong == "ret-" else wrong, "--yes")
    assert ended.code == ExitCode.FAILED
    assert said in ended.document["error"]["message"]
    stored = service().store.read().request(request_id)
    assert stored is not None
    assert stored.status is not RequestStatus.CANCELLED


@pytest.mark.parametrize("words", [("requests", "cancel"), ("machines", "return")])
def test_nothing_is_ended_unless_a_person_agrees(
    people: Callable[..., Any], cloud: FakeCloud, request_id: str, words: tuple[str, str]
) -> None:
    target = request_id if words[0] == "requests" else cloud.living()[0]
    ended = people(*words, target)
    assert ended.code == ExitCode.FAILED
    assert "--yes" in ended.document["error"]["hint"]
    assert len(cloud.living()) == 2


def test_machines_are_given_back_by_id_and_by_name_and_what_is_unknown_is_said(
    people: Callable[..., Any], cloud: FakeCloud, service: Callable[[], Service], request_id: str
) -> None:
    assert people("requests", "watch", request_id, "--interval", 0).code == 0
    one, two = service().store.read().machines()
    ended = people("machines", "return", one.instance_id, two.name, "i-nobody", "--yes")
    assert ended.code == 0
    assert {item["instance_id"]: item["status"] for item in ended.items} == {
        one.instance_id: "shutting-down",
        two.instance_id: "shutting-down",
    }
    assert "2 machines being returned" in ended.document["message"]
    assert "i-nobody" in ended.document["message"]
    assert cloud.living() == []


def test_traced_hook_calls_of_a_persons_command_are_on_stderr_too(
    people: Callable[..., Any], cloud: FakeCloud, request_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFCORE_TRACE_PLUGINS", "1")
    cloud.fail("discover_instances", OSError("password=aek3-Quoo7"))
    cloud.fail("discover_instances", type("token=aek3", (Exception,), {})())
    cloud.fail("discover_instances", CloudError(Fault(code="token=aek3", message="x", kind=FaultKind.THROTTLE)))
    cloud.fail(
        "discover_instances", CloudError(Fault(code="Throttling", message="aek3-Quoo7", kind=FaultKind.THROTTLE))
    )
    ended = people("requests", "watch", request_id, "--interval", 0)
    traced = [line.partition(" hfcore.trace ")[2] for line in ended.err.splitlines()]
    assert [re.sub(r" in .*", "", line) for line in traced if line.startswith("discover")] == [
        "discover_instances of Fake (hfcore-fake 1.0): raised OSError",
        "discover_instances of Fake (hfcore-fake 1.0): raised ?",
        "discover_instances of Fake (hfcore-fake 1.0): raised CloudError HF3001 ?",
        "discover_instances of Fake (hfcore-fake 1.0): raised CloudError HF3001 Throttling",
        *["discover_instances of Fake (hfcore-fake 1.0): 1 Discovery"] * 2,
    ]
    assert "aek3" not in ended.err
    assert lines(ended)[-1]["status"] == "completed"
