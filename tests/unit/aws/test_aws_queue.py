"""What EventBridge's messages on EC2 announce, read from their bodies."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hfcore.aws.queue import read
from hfcore.models import MachineStatus, Reclaim

ID = "i-0123456789abcdef0"
TOLD = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
INTERRUPTION = "EC2 Spot Instance Interruption Warning"
REBALANCE = "EC2 Instance Rebalance Recommendation"
STATE = "EC2 Instance State-change Notification"


def body(kind: str, detail: dict[str, Any], **other: Any) -> str:  # noqa: ANN401 - any member of an event
    event = {"version": "0", "source": "aws.ec2", "detail-type": kind, "time": "2026-03-01T12:00:00Z"}
    return json.dumps({**event, "detail": {"instance-id": ID, **detail}, **other})


def announced(text: str, *, rebalance: bool = False) -> Reclaim:
    found = read(text, rebalance=rebalance)
    assert found is not None
    assert found.instance_id == ID
    return found


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_an_interruption_names_the_moment_two_minutes_after_it_was_told(action: str) -> None:
    found = announced(body(INTERRUPTION, {"instance-action": action}))
    assert (found.code, found.at, found.status) == (f"spot-{action}-warning", TOLD + timedelta(seconds=120), None)


def test_the_moment_is_the_same_in_any_time_zone() -> None:
    found = announced(body(INTERRUPTION, {"instance-action": "terminate"}, time="2026-03-01T14:00:00+02:00"))
    assert found.at == TOLD + timedelta(seconds=120)


def test_a_rebalance_recommendation_takes_a_machine_back_only_if_that_is_switched_on() -> None:
    assert read(body(REBALANCE, {}), rebalance=False) is None
    found = announced(body(REBALANCE, {}), rebalance=True)
    assert (found.code, found.at, found.status) == ("rebalance-recommendation", None, None)


@pytest.mark.parametrize("state", ["stopping", "shutting-down", "terminated"])
def test_a_machine_that_stops_or_ends_is_told_with_its_state(state: str) -> None:
    assert announced(body(STATE, {"state": state})).status is MachineStatus(state)


@pytest.mark.parametrize("state", ["pending", "running", "stopped", "of-a-year-to-come"])
def test_other_states_take_nothing_back(state: str) -> None:
    """A machine that is `stopped` was `stopping` before, which tells who stopped it no less."""
    assert read(body(STATE, {"state": state}), rebalance=False) is None


@pytest.mark.parametrize(
    "text",
    [body("EC2 Fleet Instance Change", {}), body(STATE, {"state": "terminated"}, source="aws.autoscaling")],
    ids=["another kind", "another source"],
)
def test_events_of_others_take_nothing_back(text: str) -> None:
    assert read(text, rebalance=True) is None


BROKEN = {
    "nothing": "",
    "no JSON": "{",
    "no object": "[]",
    "a number": "7",
    "no event": "{}",
    "no detail": json.dumps({"source": "aws.ec2", "detail-type": STATE, "time": "2026-03-01T12:00:00Z"}),
    "detail is a text": json.dumps({"source": "aws.ec2", "detail-type": STATE, "time": "x", "detail": "x"}),
    "no action": body(INTERRUPTION, {}),
    "no time": body(INTERRUPTION, {"instance-action": "terminate"}, time=None),
    "a time without zone": body(INTERRUPTION, {"instance-action": "terminate"}, time="2026-03-01T12:00:00"),
    "kind is a list": body([], {}),  # type: ignore[arg-type]
    "state is an object": body(STATE, {"state": {}}),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=list(BROKEN))
def test_what_is_no_event_is_an_error_that_the_receiver_expects(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        read(text, rebalance=True)
