"""Own how the contract suite watches a plug-in: its steps in the journal, the types of its results, its budgets."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from hfcore.testing.core import DeathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hfcore.context import Intent, Journal

MOMENTS = ("decided", "begun", "answered", "noted")
"""The moments of a step at which a process may die: before and after `begin`, before and after `done`."""

_CALL = re.compile(r"(\d+|⌈[^⌉]+⌉) ([A-Z]\w+)")


class WatchedJournal:
    """A journal that sees what changes outside of its steps, and in which the process may die.

    Args:
        journal: The journal.
        changes: Counts what was to change something in the cloud so far.
        dies: The moment, of `MOMENTS`, and the how manieth time it comes, at which the process is killed.

    Attributes:
        outside: Between which steps something was changed that stands in no step.
        begun: The calls that steps were begun for, in order.
        reused: The names of steps that were begun anew with other parameters than before.
        dead: Whether the process was killed.
    """

    def __init__(self, journal: Journal, changes: Callable[[], int], dies: tuple[str, int] = ("", 0)) -> None:
        self._journal, self._changes, self._dies = journal, changes, dies
        self._lock, self._open, self._met = threading.RLock(), set[tuple[str, str]](), Counter[str]()
        self._known, self._last = changes(), "the start"
        self.outside: list[str] = []
        self.begun: list[str] = []
        self.reused: list[str] = []
        self._sent: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.dead = False

    def begin(
        self, request_id: str, step: str, call: str, parameters: Mapping[str, Any], *, repeatable: bool = False
    ) -> Intent:
        """Begin a step of the journal."""
        self._reach("decided")
        with self._lock:
            self.look(step)
            intent = self._journal.begin(request_id, step, call, parameters, repeatable=repeatable)
            if repeatable or intent.outcome is None:
                self._open.add((request_id, step))
                self.begun.append(call)
                if self._sent.setdefault((request_id, step), parameters) != parameters:
                    self.reused.append(step)
        self._reach("begun")
        return intent

    def done(self, intent: Intent, outcome: Mapping[str, Any]) -> Intent:
        """Close a step."""
        self._reach("answered")
        closed = self._journal.done(intent, outcome)
        self._close(intent)
        self._reach("noted")
        return closed

    def drop(self, intent: Intent) -> None:
        """Take a step back."""
        self._journal.drop(intent)
        self._close(intent)

    def steps(self, request_id: str) -> tuple[Intent, ...]:
        """Give the steps of a request."""
        return self._journal.steps(request_id)

    def look(self, when: str = "the end") -> None:
        """Note whether anything has changed while no step was open."""
        with self._lock:
            if not self._open and self._changes() > self._known:
                self.outside.append(f"between {self._last} and {when}")
            self._known = self._changes()

    def _close(self, intent: Intent) -> None:
        with self._lock:
            self._known = self._changes()
            self._open.discard((intent.request_id, intent.step))
            self._last = intent.step

    def _reach(self, moment: str) -> None:
        with self._lock:
            self._met[moment] += 1
            if (moment, self._met[moment]) == self._dies:
                self.dead = True
                raise DeathError(moment)


def misfits(value: Any, hint: Any, place: str) -> Iterator[str]:  # noqa: ANN401 - values and types of any kind
    """Say which parts of a result are not of the type that its model gives them; a time must know its zone."""
    kind, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return
    if kind in (Union, UnionType, Literal):
        fitting = value in parts if kind is Literal else any(not [*misfits(value, one, place)] for one in parts)
    else:
        fitting = isinstance(value, (int, float) if hint is float else kind or hint)
    if not fitting or (isinstance(value, datetime) and value.tzinfo is None):
        yield f"{place} is {value!r}, expected {hint}{' with its zone' if hint is datetime else ''}"
    elif kind not in (Union, UnionType, Literal):
        for one, its, where in _inside(value, parts, place):
            yield from misfits(one, its, where)


def _inside(value: Any, parts: tuple[Any, ...], place: str) -> Iterator[tuple[Any, Any, str]]:  # noqa: ANN401
    """Give what a value holds, with the type that it must have, and where it stands."""
    if isinstance(value, Mapping):
        yield from ((one, parts[0], place) for one in value)
        yield from ((one, parts[1], f"{place}[{key!r}]") for key, one in value.items())
    elif isinstance(value, tuple | frozenset):
        each = parts if isinstance(value, tuple) and parts[1:] != (...,) else parts[:1] * len(value)
        yield from ((one, its, f"{place}[]") for one, its in zip(value, each, strict=True))
    elif is_dataclass(value):
        hints = get_type_hints(type(value), localns={"Mapping": Mapping, "datetime": datetime})
        yield from ((getattr(value, one.name), hints[one.name], f"{place}.{one.name}") for one in fields(value))


def allowed(budgets: Mapping[str, str], about: str, requests: int) -> Counter[str]:
    """Read of a plug-in's call budgets how many calls of each operation it may make for a few machines.

    Args:
        budgets: `ProviderInfo.call_budgets`.
        about: The first word of the lines that count: `request`, `status`, `freeze` or `return`.
        requests: For so many requests at once: what a line has `for each` may come so often.
    """
    counted = Counter[str]()
    for text in (text for key, text in budgets.items() if key.split()[0] == about):
        found = list(_CALL.finditer(text))
        for match, after in zip(found, [*found[1:], None], strict=True):
            said = text[match.end() : after.start() if after else None]
            often = int(match[1]) if match[1].isdigit() else 1
            counted[match[2]] = max(counted[match[2]], often * (requests if "for each" in said else 1))
    return counted


def beyond(made: Counter[str], may: Mapping[str, int], others: Iterable[str] = ()) -> dict[str, int]:
    """Give the calls that are more than allowed, by operation."""
    return {one: count for one, count in made.items() if one not in others and count > may.get(one, 0)}
