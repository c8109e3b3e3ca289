"""Own which pools were short of capacity a moment ago; processes share it, and may lose it at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfcore.context import Context

LASTING = 180.0
"""Seconds for which a pool that was short is tried last."""


def note(context: Context, pool: object) -> None:
    """Remember that a pool is short of capacity; its text names type, subnet or zone, and market."""
    context.memory.remember(_key(context, pool), value=True)


def is_short(context: Context, pool: object) -> bool:
    """Tell whether a pool was short of capacity within the last 3 minutes."""
    return context.memory.recall(_key(context, pool), LASTING) is not None


def _key(context: Context, pool: object) -> str:
    return f"short {context.region} {pool}"
