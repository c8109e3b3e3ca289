"""An observer: writes what happens as lines of JSON to the file that HFCORE_EVENT_LOG names."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from hfcore import hookimpl

if TYPE_CHECKING:
    from hfcore.models import Event


@hookimpl
def on_event(event: Event) -> None:
    """Add a line; several processes may do so at once, as one write of a short line is whole (O_APPEND)."""
    if path := os.environ.get("HFCORE_EVENT_LOG"):
        told = {"event": event.name, "at": event.at.isoformat(), "request": event.request_id, **event.detail}
        with open(path, "a", buffering=1, encoding="utf-8") as log:  # noqa: PTH123 - one open, one write
            log.write(json.dumps(told) + "\n")
