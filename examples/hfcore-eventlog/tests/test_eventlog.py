from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hfcore.models import Event
from hfcore.plugins import Candidate, Plugins

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_each_event_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "events.jsonl"
    monkeypatch.setenv("HFCORE_EVENT_LOG", str(log))
    observer = Candidate(name="eventlog", module="hfcore_eventlog", distribution="hfcore-eventlog", version="1")
    plugins = Plugins([], logger=logging.getLogger(), observers=[observer])
    for name in ("request.created", "request.ended"):
        plugins.notify(Event(name=name, at=datetime.now(UTC), request_id="req-1", detail={"target": 2}))

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one["event"] for one in lines] == ["request.created", "request.ended"]
    assert {(one["request"], one["target"]) for one in lines} == {("req-1", 2)}
    assert not caplog.records
