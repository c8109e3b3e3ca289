"""The fixtures of the shared rig, by which tests of this plug-in have a strict AWS and contexts on it."""

from __future__ import annotations

from hfcore.testing.rig import (
    aws_server,
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
    strict_aws,
    template,
)

__all__ = [
    "aws_server",
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
    "strict_aws",
    "template",
]
