"""Own whether what a hook gives has the types of its model, to its last field: what does not is never stored.

One text that is none, stored, would make the whole store unreadable. This runs in every call, and so looks no further
than the store needs; what the contract suite holds a plug-in to is `hfcore.testing.watching.misfits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache
from math import isfinite
from typing import Any, Final

from hfcore.errors import word
from hfcore.models import Discovery, Fault, FaultKind, Instance, MachineStatus, Outcome, Provisioned, Reclaim, Released

_NUMBER: Final = (int, float)
_KINDS: Final[dict[str, Any]] = {
    "str": str,
    "int": int,
    "float": _NUMBER,
    "bool": bool,
    "datetime": datetime,
    "MachineStatus": MachineStatus,
    "FaultKind": FaultKind,
    "Mapping[str, Any]": Mapping,
    "Mapping[str, str]": Mapping,
    "Mapping[str, Fault]": Mapping,
    "tuple[str, ...]": (tuple, list),
    "tuple[Fault, ...]": (tuple, list),
    "tuple[Instance, ...]": (tuple, list),
    "frozenset[str]": (frozenset, set),
}
_INSIDE: Final = {"tuple[Fault, ...]": Fault, "tuple[Instance, ...]": Instance}
_TEXTS: Final = {"tuple[str, ...]", "frozenset[str]"}
CHECKED: Final = (Discovery, Outcome, Provisioned, Reclaim, Released)
"""The results that are stored."""


def misfit(value: Any) -> str:  # noqa: ANN401 - a dataclass, as is what it has inside
    """Say which field of a result is not of its type, and of which it is, without its value; empty if all fit."""
    for name, kind, optional, inside in _rows(value.__class__):
        one = getattr(value, name)
        if one is None and optional:
            continue
        if wrong := _wrong(name, kind, one):
            return f"{name} {wrong}"
        for each in one if inside else ():
            if not isinstance(each, inside):
                return f"{name} has {word(type(each).__name__)}"
            if inside is not str and (told := misfit(each)):
                return f"{name}: {told}"
    return ""


def _wrong(name: str, kind: Any, value: Any) -> str:  # noqa: ANN401 - a class or several; whatever a hook gives
    if not isinstance(value, kind):
        return f"is {word(type(value).__name__)}"
    if kind is datetime and value.tzinfo is None:
        return "has no time zone"
    if kind is _NUMBER and not isfinite(value):
        return "is not finite"
    return "is empty" if name == "instance_id" and not value else ""  # nobody could return it


@cache
def _rows(model: type[Any]) -> tuple[tuple[str, Any, bool, Any], ...]:
    """Give of each field its name, type, whether it may be None, and the type of what it has inside."""
    rows = []
    for one in fields(model):
        told = str(one.type).removesuffix(" | None")
        inside = str if told in _TEXTS else _INSIDE.get(told)
        rows.append((one.name, _KINDS[told], told != one.type, inside))
    return tuple(rows)
