"""What a view of the store says is to be asked about, and whether an answer tells anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hfcore import worklist
from hfcore.models import Discovery, Instance, Machine, MachineStatus, Request, RequestStatus
from hfcore.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OLD, NEW = NOW - timedelta(minutes=6), NOW - timedelta(minutes=4)


def a_request(name: str = "req-1", **its: object) -> Request:
    known = {"status": RequestStatus.IN_PROGRESS, "created_at": OLD, "region": "here", "resource_ids": ("fleet-1",)}
    return Request(request_id=name, **(known | its))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("its", "shown", "others", "told"),
    [
        ({}, {"account_id": "2"}, [], "nothing of it is shown by account 2"),
        ({}, {}, [], ""),
        ({}, {}, ["1"], ""),
        ({}, {"account_id": "2"}, ["1"], "came from account 2, the requests of here live in 1"),
        ({}, {"account_id": "2"}, ["1", "2"], "came from account 2, the requests of here live in 1, 2"),
        ({}, {"account_id": "2"}, ["2"], ""),
        ({}, {"account_id": "2", "stands": True}, ["1"], ""),
        ({}, {"account_id": "2", "instances": (Instance(instance_id="i-1"),)}, ["1"], ""),
        ({"created_at": NEW}, {"account_id": "2"}, [], ""),
        ({"resource_ids": (), "machine_ids": ("i-1",)}, {"account_id": "2"}, [], "nothing of it is shown"),
        ({"resource_ids": (), "machine_ids": ("i-2",)}, {"account_id": "2"}, [], ""),  # AWS has said that it is ending
        ({"account_id": "1"}, {"account_id": "2", "stands": True}, ["2"], "the request lives in 1"),
    ],
)
def test_an_answer_tells_nothing_of_what_may_live_in_another_account(
    its: dict[str, object], shown: dict[str, object], others: list[str], told: str, tmp_path: Path
) -> None:
    request = a_request(**its)
    store = open_store(tmp_path / "data", now=NOW)
    with store.transaction() as state:
        for account in others:
            state.save_request(a_request(f"req-of-{account}", account_id=account))
        state.save_request(request)
        for name, status in (("i-1", MachineStatus.RUNNING), ("i-2", MachineStatus.SHUTTING_DOWN)):
            state.save_batch([Machine(instance_id=name, request_id="req-1", status=status, observed_at=OLD)])
    answer = Discovery(request_id="req-1", observed_at=NOW, **shown)  # type: ignore[arg-type]
    found = worklist.elsewhere(store.read(), request, answer)
    assert told in found
    assert bool(told) == bool(found)
