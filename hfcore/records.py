"""Own how a request or a machine is written as a JSON object, and read back. Pure: knows no file.

Keys are the field names. Times are UTC, ISO 8601 with `Z`. What equals its default is left out, except the fields that
a reader of the file looks for first. Unknown keys are ignored.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from hfcore.errors import StoreError, StoreUntrusted
from hfcore.files import RESTORE_HINT
from hfcore.models import (
    Fault,
    FaultKind,
    Machine,
    MachineStatus,
    Reclaim,
    Request,
    RequestKind,
    RequestStatus,
    Template,
)
from hfcore.withheld import without_user_data

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from enum import StrEnum

    Json = dict[str, Any]

T = TypeVar("T")

to_json: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
"""Gives JSON text of one line; ValueError for a number that JSON does not know."""


class Form(NamedTuple, Generic[T]):
    """How the records of one file are named and coded.

    Args:
        key: The field that is also the record's key in the file.
    """

    key: str
    encode: Callable[[T], Json]
    decode: Callable[[str, Any], T]


def encode_request(request: Request) -> Json:
    """Give the JSON object of a request.

    Raises:
        StoreError: A value in it is not a JSON value, or a time has no time zone.
    """
    return _stored("request", request.request_id, _REQUEST, request)


def encode_machine(machine: Machine) -> Json:
    """Give the JSON object of a machine.

    Raises:
        StoreError: A time has no time zone, or a number is not finite.
    """
    return _stored("machine", machine.instance_id, _MACHINE, machine)


def decode_request(key: str, record: Mapping[str, Any]) -> Request:
    """Give the request that a JSON object under `key` stands for.

    Raises:
        StoreUntrusted: A key that each request has is missing, or a value is of the wrong kind.
    """
    result: Request = _restored("request", key, _REQUEST, record, key_field="request_id")
    return result


def decode_machine(key: str, record: Mapping[str, Any]) -> Machine:
    """Give the machine that a JSON object under `key` stands for.

    Raises:
        StoreUntrusted: A key that each machine has is missing, or a value is of the wrong kind.
    """
    result: Machine = _restored("machine", key, _MACHINE, record, key_field="instance_id")
    return result


def template_to_record(template: Template) -> Json:
    """Give the JSON object of a template, without its user data.

    Raises:
        ValueError: A value in it is not a JSON value.
    """
    return _encode(_TEMPLATE, without_user_data(template))


def template_from_record(record: object) -> Template:
    """Give the template that a JSON object stands for.

    Raises:
        ValueError: It is no object, lacks the id, or a value is of the wrong kind.
    """
    template: Template = _decode(_TEMPLATE, record)
    return template


def encode_time(value: datetime) -> str:
    """Give a time as UTC ISO 8601 with `Z`, and microseconds only if there are any.

    Raises:
        ValueError: The time has no time zone.
    """
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat().removesuffix("+00:00") + "Z"


def decode_time(value: object) -> datetime:
    """Read a time as `encode_time` writes it, or with any other offset.

    Raises:
        ValueError: It is no time, or has no time zone.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a time")  # noqa: TRY004 - one error for all that is wrong in a file
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return time if time.tzinfo is UTC else time.astimezone(UTC)


def plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Give a deep copy in dicts, lists, strings, numbers, booleans and None.

    Raises:
        ValueError: Something in it is not a JSON value.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a number that JSON knows")
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    items = getattr(value, "items", None)  # a mapping, whether dict or read-only view of one
    if items is None:
        raise ValueError(f"a {type(value).__name__} is not a JSON value")
    return {_text(key): plain(item) for key, item in items()}


def parse_records(text: str) -> Json:
    """Read a file of records.

    Raises:
        ValueError: It is not JSON, or not an object of objects.
    """
    records = json.loads(text)
    if not isinstance(records, dict):
        raise ValueError("the file is not a JSON object")  # noqa: TRY004 - one error for all that is wrong in a file
    for key, record in records.items():
        if not isinstance(record, dict):
            raise ValueError(f"there is no object under {key}")  # noqa: TRY004 - as above
    return records


def lines_of(text: str, keys: Collection[str]) -> dict[str, str]:
    """Give the line of each record, by key, of a file that `format_records` wrote; none of a file of another form.

    Args:
        text: The file, which has been read without an error.
        keys: The keys of its records, in their order.
    """
    lines = text.removeprefix("{\n").removesuffix("\n}\n").split(",\n")
    if len(lines) != len(keys) or not all(map(str.startswith, lines, [f'"{key}":{{' for key in keys])):
        return {}
    if not all(line.count("{") == line.count("}") for line in lines):  # a record goes on in the next line
        return {}
    return dict(zip(keys, lines, strict=True))


def format_records(records: Mapping[str, Any], lines: Mapping[str, str]) -> str:
    """Give a file of records, one a line, so that a person can find them.

    Args:
        records: The records by key.
        lines: The lines of those that have not changed; writing them anew would take most of a transaction's time.
    """
    body = ",\n".join(lines.get(key) or f"{to_json(key)}:{to_json(record)}" for key, record in records.items())
    return f"{{\n{body}\n}}\n" if body else "{\n}\n"


class _Field(NamedTuple):
    """One field of a record: its default (`MISSING`: always written) and how its value is written."""

    name: str
    default: Any
    encode: Callable[[Any], Any] | None


class _Shape(NamedTuple):
    """One class of records: how each of its fields is written and read, and which must be there."""

    make: Callable[[Json], Any]
    fields: tuple[_Field, ...]
    decoders: Mapping[str, Callable[[Any], Any]]
    mandatory: frozenset[str]


def _encode(shape: _Shape, record: object) -> Json:
    result: Json = {}
    for name, default, encode in shape.fields:
        value = getattr(record, name)
        if default is not MISSING and value == default:
            continue
        try:
            result[name] = value if encode is None else encode(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return result


def _decode(shape: _Shape, record: object) -> Any:  # noqa: ANN401 - an object of the shape's class
    if not isinstance(record, dict):
        raise ValueError(f"a JSON object is expected, not {record!r}")  # noqa: TRY004 - as above
    values: Json = {}
    decoders = shape.decoders
    for name, value in record.items():
        decode = decoders.get(name)
        if decode is None:
            continue
        if decode is _text and isinstance(value, str):  # most values are strings, and a call costs more than this
            values[name] = value
            continue
        try:
            values[name] = decode(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if not shape.mandatory <= values.keys():
        raise ValueError(f"it lacks {', '.join(sorted(shape.mandatory - values.keys()))}")
    return shape.make(values)


def _stored(noun: str, key: str, shape: _Shape, record: object) -> Json:
    try:
        return _encode(shape, record)
    except ValueError as error:
        raise StoreError(
            f"{noun} {key} can't be stored: {error}", hint="this is a fault of the plug-in or of hfcore: report it"
        ) from error


def _restored(noun: str, key: str, shape: _Shape, record: object, *, key_field: str) -> Any:  # noqa: ANN401 - see _decode
    try:
        result = _decode(shape, record)
    except ValueError as error:
        raise _untrusted(noun, key, str(error)) from error
    if getattr(result, key_field) != key:
        raise _untrusted(noun, key, f"its {key_field} is {getattr(result, key_field)}")
    return result


def _untrusted(noun: str, key: str, reason: str) -> StoreUntrusted:
    return StoreUntrusted(f"the record of {noun} {key} can't be trusted: {reason}", hint=RESTORE_HINT)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a string is expected, not {value!r}")  # noqa: TRY004 - as above
    return value


def _word_of(words: type[StrEnum]) -> Callable[[Any], StrEnum]:
    known = {str(word): word for word in words}

    def decode(value: object) -> StrEnum:
        try:
            return known[_text(value)]
        except KeyError:
            raise ValueError(f"{value!r} is none of {', '.join(known)}") from None

    return decode


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is expected, not {value!r}")  # noqa: TRY004 - as above
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a whole number is expected, not {value!r}")  # noqa: TRY004 - as above
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"a number is expected, not {value!r}")  # noqa: TRY004 - as above
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a finite number is expected")
    return number


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"a list is expected, not {value!r}")  # noqa: TRY004 - as above
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value))


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object is expected, not {value!r}")  # noqa: TRY004 - as above
    return value


def _mapping_of(decode: Callable[[Any], Any]) -> Callable[[Any], Json]:
    return lambda value: {key: decode(item) for key, item in _object(value).items()}


def _attribute(value: object) -> tuple[str, str]:
    kind, text = _texts(value)
    return kind, text


def _or_none(decode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else decode(value)


def _faults(value: object) -> tuple[Fault, ...]:
    return tuple(_decode(_FAULT, item) for item in _list(value))


# Annotation of a field -> how it is written (None: as it is) and read. A field of another type fails at import.
_KINDS: Final[dict[str, tuple[Callable[[Any], Any] | None, Callable[[Any], Any]]]] = {
    "str": (None, _text),
    "int": (None, _integer),
    "float": (_number, _number),
    "bool": (None, _flag),
    "datetime": (encode_time, decode_time),
    "tuple[str, ...]": (list, _texts),
    "tuple[Fault, ...]": (lambda value: [_encode(_FAULT, item) for item in value], _faults),
    "Mapping[str, Any]": (plain, lambda value: plain(_object(value))),
    "Mapping[str, int]": (dict, _mapping_of(_integer)),
    "Mapping[str, str]": (dict, _mapping_of(_text)),
    "Mapping[str, tuple[str, str]]": (plain, _mapping_of(_attribute)),
    "RequestKind": (str, _word_of(RequestKind)),
    "RequestStatus": (str, _word_of(RequestStatus)),
    "MachineStatus": (str, _word_of(MachineStatus)),
    "FaultKind": (str, _word_of(FaultKind)),
    "Template": (template_to_record, template_from_record),
    "Reclaim": (lambda value: _encode(_RECLAIM, value), lambda value: _decode(_RECLAIM, value)),
    # Which words are right is the template reader's business; a stored one was right when it was stored.
    "FleetType": (None, _text),
    "PriceType": (None, _text),
    "VolumeType": (None, _text),
    "AllocationStrategy": (None, _text),
    "OnDemandStrategy": (None, _text),
    "Tenancy": (None, _text),
    "InterfaceType": (None, _text),
}


def _shape(cls: type[Request | Machine | Template | Fault | Reclaim], always: tuple[str, ...] = ()) -> _Shape:
    known = {field.name: field for field in fields(cls)}
    order = (*always, *(name for name in known if name not in always))
    rows, decoders, mandatory = [], {}, set(always)
    for name in order:
        field = known[name]
        kind = str(field.type).removesuffix(" | None")
        encode, decode = _KINDS[kind]
        decoders[name] = decode if kind == field.type else _or_none(decode)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if default is MISSING:
            mandatory.add(name)
        rows.append(_Field(name, MISSING if name in mandatory else default, encode))
    make = _machine if cls is Machine else lambda values: cls(**values)
    return _Shape(make, tuple(rows), decoders, frozenset(mandatory))


def _machine(values: Json) -> Machine:
    """Make a machine without `__init__`, which sets each of its fields by a call: half of the time of all decoding."""
    machine = object.__new__(Machine)
    object.__setattr__(machine, "__dict__", values)  # what is not in it has the class's default
    return machine


_FAULT: Final[_Shape] = _shape(Fault)
_RECLAIM: Final[_Shape] = _shape(Reclaim)
_TEMPLATE: Final[_Shape] = _shape(Template)
_REQUEST: Final = _shape(Request, ("request_id", "kind", "resource_ids", "machine_ids", "provider_api", "status"))
_MACHINE: Final = _shape(Machine, ("instance_id", "request_id", "resource_id", "status"))

REQUESTS: Final[Form[Request]] = Form("request_id", encode_request, decode_request)
MACHINES: Final[Form[Machine]] = Form("instance_id", encode_machine, decode_machine)
