"""Own the trace of hook calls: which hook of which plug-in, about what, how long, and what came of it.

A line has ids, counts and names of types alone: what stands in a template, a message or an exception may be a secret.
It is for the log; of a person's command it is on stderr too, of a Host Factory verb never.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

from hfcore.errors import CloudError, HfcoreError, word
from hfcore.logs import TRACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pluggy

_MOST_IDS = 3
_logger = logging.getLogger(TRACE)


def trace(manager: pluggy.PluginManager) -> None:
    """Log every hook call of a manager from now on, those of several threads too."""
    began: dict[int, float] = {}  # the call's own arguments tell it from others that run

    def before(_: str, __: Sequence[pluggy.HookImpl], arguments: Mapping[str, object]) -> None:
        began[id(arguments)] = monotonic()

    def after(
        outcome: pluggy.Result[object], hook: str, hooks: Sequence[pluggy.HookImpl], arguments: Mapping[str, object]
    ) -> None:
        milliseconds = 1000 * (monotonic() - began.pop(id(arguments)))
        plugins = ", ".join(one.plugin_name for one in hooks) or "no plug-in"
        about = " ".join(_about(arguments))
        _logger.info("%s of %s: %s in %.1f ms  %s", hook, plugins, _came_of(outcome), milliseconds, about)

    manager.add_hookcall_monitoring(before, after)


def _came_of(outcome: pluggy.Result[object]) -> str:
    error = outcome.exception
    if error is not None:
        codes = [error.code] if isinstance(error, HfcoreError) else []
        codes += [error.fault.code] if isinstance(error, CloudError) else []
        return " ".join(["raised", *map(word, [type(error).__name__, *codes])])
    result = outcome.get_result()
    if isinstance(result, tuple):
        return " ".join([str(len(result)), *dict.fromkeys(word(type(one).__name__) for one in result)])
    return word(type(result).__name__)


def _about(arguments: Mapping[str, object]) -> Iterator[str]:
    """Say what a hook was called for: one thing by its id, several by their number and their first ids."""
    for name, value in arguments.items():
        if isinstance(value, tuple):
            ids = [*filter(None, map(_id, value[:_MOST_IDS]))]
            more = ["…"] if ids and len(value) > len(ids) else []
            yield f"{name}={len(value)}" + (f" ({', '.join(ids + more)})" if ids else "")
        elif found := _id(value):
            yield f"{name}={found}"


def _id(value: object) -> str:
    for name in ("instance_id", "resource_id", "request_id", "template_id"):
        if found := getattr(getattr(value, "request", value), name, ""):
            return str(found)
    return ""
