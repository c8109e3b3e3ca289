"""Which requests a person may cancel."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.cancelling import to_be_cancelled
from hfcore.errors import InputError
from hfcore.journal import this_process
from hfcore.models import Request, RequestKind, RequestStatus
from hfcore.store import open_store
from hfcore.views import RequestView

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FOREIGN_AFTER = 120.0
CREATING = RequestStatus.CREATING


@pytest.fixture
def chosen(tmp_path: Path) -> Any:  # noqa: ANN401 - a function
    """Store requests, and give the ids of those that are to be cancelled."""
    store = open_store(tmp_path / "data", now=NOW)

    def choose(*requests: Request, now: datetime = NOW, unknown: str = "") -> list[str]:
        with store.transaction() as state:
            for one in requests:
                state.save_request(one)
        views = [RequestView(request_id=one.request_id, request=one, message="") for one in requests]
        views += [RequestView(request_id=unknown, request=None, message=f"unknown: {unknown}")] if unknown else []
        return [one.request_id for one in to_be_cancelled(store.read(), views, now, FOREIGN_AFTER)]

    return choose


def request(request_id: str, status: RequestStatus = RequestStatus.IN_PROGRESS, **more: Any) -> Request:  # noqa: ANN401
    return Request(request_id=request_id, status=status, created_at=NOW, **more)


def test_open_requests_are_cancelled_and_those_that_have_ended_are_left_out(chosen: Any) -> None:  # noqa: ANN401
    ended = [request(f"req-{status}", status) for status in RequestStatus if status is not CREATING]
    assert chosen(*ended) == ["req-in_progress"]


@pytest.mark.parametrize("process", ["", "elsewhere:boot:1:1"])
def test_a_request_whose_creator_is_over_may_be_cancelled(chosen: Any, process: str) -> None:  # noqa: ANN401
    later = NOW + timedelta(seconds=FOREIGN_AFTER + 1)
    assert chosen(request("req-1", CREATING, process=process), now=later) == ["req-1"]


def test_a_request_that_is_just_being_created_is_left_to_its_creator(chosen: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match="being created by another call"):
        chosen(request("req-2"), request("req-1", CREATING, process=this_process()))


def test_a_return_and_an_unknown_id_are_errors_that_say_what_they_are(chosen: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match="is a return"):
        chosen(request("ret-1", kind=RequestKind.RETURN))
    with pytest.raises(InputError, match="unknown: req-9"):
        chosen(unknown="req-9")
