from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcore.archive import decode_entry, encode_entry, id_of
from hfcore.errors import StoreError, StoreUntrusted
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
from hfcore.records import (
    decode_machine,
    decode_request,
    decode_time,
    encode_machine,
    encode_request,
    encode_time,
    format_records,
    lines_of,
    parse_records,
    template_from_record,
    template_to_record,
)
from hfcore.withheld import without_user_data

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MACHINE = Machine(instance_id="i-1", request_id="req-1", status=MachineStatus.RUNNING, observed_at=NOW)
REQUEST = Request(request_id="req-1", status=RequestStatus.CREATING, created_at=NOW)

numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "str": st.text(max_size=8),
    "int": st.integers(-5, 10**6),
    "float": numbers,
    "bool": st.booleans(),
    "datetime": st.integers(0, 4 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds + 0.5, UTC)),
    "tuple[str, ...]": st.lists(st.text(max_size=8), max_size=3).map(tuple),
    "Mapping[str, Any]": st.dictionaries(st.text(max_size=5), values, max_size=3),
    "Mapping[str, int]": st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3),
    "Mapping[str, str]": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    "Mapping[str, tuple[str, str]]": st.dictionaries(st.text(max_size=5), st.tuples(st.text(), st.text()), max_size=2),
    "RequestKind": st.sampled_from(RequestKind),
    "RequestStatus": st.sampled_from(RequestStatus),
    "MachineStatus": st.sampled_from(MachineStatus),
    "FaultKind": st.sampled_from(FaultKind),
    "FleetType": st.sampled_from(["instant", "request", "maintain"]),
    "PriceType": st.sampled_from(["ondemand", "spot", "heterogeneous"]),
    "VolumeType": st.sampled_from(["gp2", "gp3"]),
    "AllocationStrategy": st.sampled_from(["diversified", "lowestPrice"]),
    "OnDemandStrategy": st.sampled_from(["lowestPrice", "prioritized"]),
    "Tenancy": st.sampled_from(["default", "dedicated", "host"]),
    "InterfaceType": st.sampled_from(["efa", "interface"]),
}


def any_of(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Give objects of a class with values of each field's declared type, whether the field has a default or not."""
    parts = {}
    for field in fields(cls):
        kind = str(field.type).removesuffix(" | None")
        parts[field.name] = KINDS[kind] if kind == field.type else st.none() | KINDS[kind]
    return st.builds(cls, **parts)


KINDS["Reclaim"] = any_of(Reclaim)
KINDS["tuple[Fault, ...]"] = st.lists(any_of(Fault), max_size=2).map(tuple)
KINDS["Template"] = any_of(Template)


def stored(request: Request) -> Request:
    """Give a request as the store has it: without user data."""
    return replace(request, template=without_user_data(request.template)) if request.template else request


thorough = settings(deadline=None, max_examples=60, database=None)


@thorough
@given(any_of(Machine))
def test_a_machine_comes_back_from_json_as_it_was(machine: Machine) -> None:
    record = json.loads(json.dumps(encode_machine(machine)))
    assert decode_machine(machine.instance_id, record) == machine


@thorough
@given(any_of(Request))
def test_a_request_comes_back_from_json_as_it_was_but_for_user_data(request: Request) -> None:
    record = json.loads(json.dumps(encode_request(request)))
    assert decode_request(request.request_id, record) == stored(request)


@thorough
@given(any_of(Request), any_of(Machine))
def test_an_archive_line_comes_back_as_it_was_but_for_user_data(request: Request, machine: Machine) -> None:
    line = encode_entry(request, [machine])
    assert "\n" not in line
    assert id_of(line.encode()) == request.request_id
    assert decode_entry(line.encode()) == (stored(request), (machine,))


@thorough
@given(any_of(Template))
def test_a_template_comes_back_from_json_as_it_was_but_for_user_data(template: Template) -> None:
    found = template_from_record(json.loads(json.dumps(template_to_record(template))))
    assert found == without_user_data(template)
    assert not found.user_data


def test_what_equals_its_default_is_left_out_except_what_readers_look_for_first() -> None:
    assert list(encode_machine(MACHINE).items()) == [
        ("instance_id", "i-1"),
        ("request_id", "req-1"),
        ("resource_id", ""),
        ("status", "running"),
        ("observed_at", "2026-01-02T03:04:05Z"),
    ]
    assert encode_request(REQUEST) == {
        "request_id": "req-1",
        "kind": "create",
        "resource_ids": [],
        "machine_ids": [],
        "provider_api": "",
        "status": "creating",
        "created_at": "2026-01-02T03:04:05Z",
    }


def test_times_are_utc_with_microseconds_only_if_there_are_any() -> None:
    berlin = timezone(timedelta(hours=2))
    assert encode_time(datetime(2026, 7, 1, 12, tzinfo=berlin)) == "2026-07-01T10:00:00Z"
    assert encode_time(NOW + timedelta(microseconds=7)) == "2026-01-02T03:04:05.000007Z"
    assert decode_time("2026-07-01T12:00:00+02:00") == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert decode_time("2026-07-01T12:00:00+02:00").tzinfo is UTC


def test_keys_of_a_later_version_are_ignored() -> None:
    assert decode_machine("i-1", encode_machine(MACHINE) | {"gpu": 3}) == MACHINE


@pytest.mark.parametrize("key", ["instance_id", "request_id", "resource_id", "status", "observed_at"])
def test_a_machine_that_lacks_what_each_machine_has_is_not_trusted(key: str) -> None:
    record = encode_machine(MACHINE)
    del record[key]
    with pytest.raises(StoreUntrusted, match=rf"machine i-1 can't be trusted: it lacks {key}") as caught:
        decode_machine("i-1", record)
    assert caught.value.hint


@pytest.mark.parametrize(
    "key", ["request_id", "kind", "status", "resource_ids", "machine_ids", "provider_api", "created_at"]
)
def test_a_request_that_lacks_what_each_request_has_is_not_trusted(key: str) -> None:
    record = encode_request(REQUEST)
    del record[key]
    with pytest.raises(StoreUntrusted, match=f"request req-1 can't be trusted: it lacks {key}"):
        decode_request("req-1", record)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "flying"),
        ("status", None),
        ("status", ["running"]),
        ("observed_at", "yesterday"),
        ("observed_at", "2026-01-02T03:04:05"),
        ("observed_at", 7),
        ("weight", "2"),
        ("weight", True),
        ("weight", float("nan")),
        ("weight", 10**400),
        ("listed", 1),
        ("private_ip", None),
        ("launch_time", 3),
        ("instance_id", 7),
    ],
)
def test_a_machine_with_a_value_of_the_wrong_kind_is_not_trusted(key: str, value: object) -> None:
    with pytest.raises(StoreUntrusted, match=f"machine i-1 can't be trusted: {key}: "):
        decode_machine("i-1", encode_machine(MACHINE) | {key: value})


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("machine_ids", "i-1", "machine_ids: a list"),
        ("machine_ids", [1], "machine_ids: a string"),
        ("target", 1.5, "target: a whole number"),
        ("target", True, "target: a whole number"),
        ("provider_data", [], "provider_data: a JSON object"),
        ("template", "t", "template: a JSON object"),
        ("template", {"template_id": "t", "vm_types": {"t3.micro": "1"}}, "template: vm_types: a whole number"),
        ("template", {"template_id": "t", "attributes": {"ncpus": ["Numeric"]}}, "template: attributes: "),
        ("template", {}, "template: it lacks template_id"),
        ("faults", [{"code": "X"}], "faults: it lacks message"),
        ("faults", [7], "faults: a JSON object"),
    ],
)
def test_a_request_with_a_value_of_the_wrong_kind_is_not_trusted(key: str, value: object, place: str) -> None:
    with pytest.raises(StoreUntrusted, match=f"request req-1 can't be trusted: {place}"):
        decode_request("req-1", encode_request(REQUEST) | {key: value})


def test_a_record_under_another_ones_key_is_not_trusted() -> None:
    with pytest.raises(StoreUntrusted, match="machine i-2 can't be trusted: its instance_id is i-1"):
        decode_machine("i-2", encode_machine(MACHINE))


@pytest.mark.parametrize("value", [{1, 2}, NOW, float("nan"), b"user data", object(), {3: "x"}])
def test_provider_data_that_json_does_not_know_is_refused_when_it_is_saved(value: object) -> None:
    with pytest.raises(StoreError, match="request req-1 can't be stored: provider_data: "):
        encode_request(replace(REQUEST, provider_data={"a": [value]}))


def test_a_time_without_a_zone_is_refused_when_it_is_saved() -> None:
    with pytest.raises(StoreError, match=r"machine i-1 can't be stored: observed_at: .* no time zone"):
        encode_machine(replace(MACHINE, observed_at=datetime(2026, 1, 2)))  # noqa: DTZ001 - the point


def test_read_only_mappings_and_tuples_are_stored_as_objects_and_lists() -> None:
    data = MappingProxyType({"chunks": (1, 2), "deep": MappingProxyType({"a": None})})
    assert encode_request(replace(REQUEST, provider_data=data))["provider_data"] == {
        "chunks": [1, 2],
        "deep": {"a": None},
    }


def test_what_a_plug_in_does_to_its_data_does_not_change_the_record_it_came_from() -> None:
    record = encode_request(replace(REQUEST, provider_data={"chunks": [1]}))
    decode_request("req-1", record).provider_data["chunks"].append(2)
    assert record["provider_data"] == {"chunks": [1]}


@pytest.mark.parametrize(
    "line", [b"", b"\n", b'{"request": {"request_id": "req-1"', b"[]", b'{"request": 1, "machines": []}', b"\xff"]
)
def test_an_archive_line_that_was_cut_is_nobodys(line: bytes) -> None:
    assert id_of(line) is None


records = st.dictionaries(st.text(max_size=6), st.dictionaries(st.text(max_size=4), values, max_size=3), max_size=5)


@thorough
@given(records, st.data())
def test_a_file_of_records_is_read_back_and_unchanged_lines_are_as_good_as_new_ones(
    content: dict[str, dict[str, Any]], data: st.DataObject
) -> None:
    text = format_records(content, {})
    assert parse_records(text) == content
    assert text.count("\n") == 2 + len(content)
    lines = lines_of(text, content)
    for key in data.draw(st.lists(st.sampled_from(sorted(content)))) if content else ():
        lines.pop(key, None)
    assert format_records(content, lines) == text


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_file_in_another_form_is_read_but_its_lines_are_not_used(indent: int | None) -> None:
    content = {"i-1": {"a": {"b": 1}}, "i-2": {"a": {}}}
    text = json.dumps(content, indent=indent)
    assert parse_records(text) == content
    assert lines_of(text, content) == {}


def test_a_record_that_spans_lines_is_not_mistaken_for_two() -> None:
    text = '{\n"a":{"x":{},\n"b":{"x":{}}},"b":{"y":{}}\n}\n'
    assert list(parse_records(text)) == ["a", "b"]
    assert lines_of(text, ["a", "b"]) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"i-1": 7}', '{"i-1": {}', '{"i-1": {}}x'])
def test_what_is_no_object_of_objects_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_records(text)
