"""The fixtures of the shared rig, by which tests of the toolkit have a strict AWS and contexts on it."""

from __future__ import annotations

from hfcore.testing.rig import (
    clock,
    context,
    faults,
    launched,
    machine,
    new_context,
    new_request,
    operations,
    pass_time,
    rig,
    slept,
    template,
)

__all__ = [
    "clock",
    "context",
    "faults",
    "launched",
    "machine",
    "new_context",
    "new_request",
    "operations",
    "pass_time",
    "rig",
    "slept",
    "template",
]
