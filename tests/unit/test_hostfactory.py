"""Host Factory's JSON: each form in which it comes is read, each wrong one is refused by its place; the forms out."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfcore import hostfactory as wire
from hfcore.errors import InputError
from hfcore.models import Machine, MachineStatus, Problem, Request, RequestKind, RequestStatus, Severity, Template
from hfcore.views import Answer, MachineRef, Reclaims, ReclaimView, RequestView, TemplateView

INPUTS = Path(__file__).parents[1] / "samples" / "inputs"
NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
LAUNCHED = datetime(2025, 6, 1, 12, 0, 0, 900_000, tzinfo=UTC)
SAMPLE_ID = "req-00000000-0000-4000-8000-000000000000"
RUNNING, TERMINATED = MachineStatus.RUNNING, MachineStatus.TERMINATED


def sample(name: str) -> dict[str, Any]:
    path = INPUTS / name
    return wire.parse(path.read_bytes(), path.name)


# In


def test_every_sample_input_is_an_object() -> None:
    names = sorted(path.name for path in INPUTS.glob("*.json"))
    assert len(names) == 8
    for name in names:
        assert isinstance(sample(name), dict)


@pytest.mark.parametrize("text", ["", " \n", b"", b"\n", "{}", b"{}"])
def test_no_input_counts_as_an_empty_object(text: str | bytes) -> None:
    assert wire.parse(text, "in.json") == {}


def test_a_byte_order_mark_is_no_fault() -> None:
    assert wire.parse(b'\xef\xbb\xbf{"a": 1}', "in.json") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("{'a': 1}", "not JSON"),
        (b"\xff\xfe\xfa", "not JSON"),
        ("[" * 200_000, "not JSON"),
        ('{"a": ' + "1" * 5000 + "}", "not JSON"),
        ('{"template": {"templateId": "a"}, "template": {"templateId": "b"}}', "a key stands twice"),
        ('{"machines": [{"name": "a", "name": "b"}]}', "a key stands twice"),
        ("[]", "an object is needed, not a list"),
        ("null", "an object is needed, not nothing"),
        ("true", "an object is needed, not true or false"),
        ("7", "an object is needed, not a number"),
        ('"x"', "an object is needed, not a text"),
        (b" " * (wire.MOST_BYTES + 1), "larger than 16 MiB"),
    ],
    ids=range(13),
)
def test_what_is_no_json_object_is_refused_with_the_file_and_the_reason(text: str | bytes, why: str) -> None:
    with pytest.raises(InputError) as caught:
        wire.parse(text, "in.json")
    assert "in.json" in str(caught.value)
    assert why.removeprefix("an object") in str(caught.value)


def test_the_sample_of_request_machines_is_read() -> None:
    assert wire.machines_wanted(sample("requestMachines.json")) == wire.MachinesWanted(
        template_id="OnDemand-Small", count=2
    )


def test_a_list_of_one_template_is_as_good_as_the_template() -> None:
    document = {"template": [{"templateId": "a", "machineCount": 1}]}
    assert wire.machines_wanted(document).template_id == "a"


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, "template"),
        ({"template": None}, "template"),
        ({"template": "a"}, "template"),
        ({"template": []}, "template"),
        ({"template": [{}, {}]}, "template"),
        ({"template": {}}, "template.templateId"),
        ({"template": {"templateId": ""}}, "template.templateId"),
        ({"template": {"templateId": 7, "machineCount": 1}}, "template.templateId"),
        ({"template": {"templateId": ["a"], "machineCount": 1}}, "template.templateId"),
        ({"template": {"templateId": "a"}}, "machineCount"),
        ({"template": {"templateId": "a", "machineCount": None}}, "machineCount"),
    ],
)
def test_a_wrong_request_for_machines_is_refused_with_the_place(document: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError, match=rf"^{place}: "):
        wire.machines_wanted(document)


@pytest.mark.parametrize(("value", "count"), [(1, 1), (500, 500), ("3", 3), (" 4 ", 4), (2.0, 2)])
def test_a_count_is_a_whole_number_or_a_text_of_one(value: object, count: int) -> None:
    assert wire.count_of(value) == count


@pytest.mark.parametrize(
    "value",
    ["--3", "-", "", "two", "1.5", "²", "1e3", 1.5, math.inf, math.nan, True, None, [], {}, "9" * 30],
    ids=repr,
)
def test_what_is_no_whole_number_is_refused_as_a_count(value: object) -> None:
    with pytest.raises(InputError, match=r"^machineCount: "):
        wire.count_of(value)


@pytest.mark.parametrize("name", ["getRequestStatus.list.json", "getRequestStatus.object.json"])
def test_the_samples_of_get_request_status_are_read(name: str) -> None:
    assert wire.request_ids(sample(name)) == (SAMPLE_ID,)


def test_ids_of_requests_and_returns_may_be_mixed_and_stay_in_order() -> None:
    document = {"requests": [{"requestId": "ret-1"}, {"requestId": "req-1"}, "req-2"]}
    assert wire.request_ids(document) == ("ret-1", "req-1", "req-2")


def test_the_status_of_no_request_is_asked_by_an_empty_list() -> None:
    assert wire.request_ids({"requests": []}) == ()


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, "requests"),
        ({"requests": None}, "requests"),
        ({"requests": "req-1"}, "requests"),
        ({"requests": 7}, "requests"),
        ({"requests": {}}, r"requests\[0\].requestId"),
        ({"requests": [{"requestId": "req-1"}, {}]}, r"requests\[1\].requestId"),
        ({"requests": [{"requestId": ""}]}, r"requests\[0\].requestId"),
        ({"requests": [{"requestId": 7}]}, r"requests\[0\].requestId"),
        ({"requests": [None]}, r"requests\[0\].requestId"),
        ({"requests": [["req-1"]]}, r"requests\[0\].requestId"),
    ],
)
def test_a_wrong_list_of_requests_is_refused_with_the_place(document: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError, match=rf"^{place}: "):
        wire.request_ids(document)


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        (
            "requestReturnMachines.list.json",
            MachineRef(name="ip-10-0-57-7.ec2.internal", machine_id="i-0e90ecb3228822f6f"),
        ),
        ("requestReturnMachines.id-only.json", MachineRef(machine_id="i-0e90ecb3228822f6f")),
        ("requestReturnMachines.object-name-only.json", MachineRef(name="ip-10-0-57-7.ec2.internal")),
    ],
)
def test_the_samples_of_request_return_machines_are_read(name: str, ref: MachineRef) -> None:
    assert wire.machine_refs(sample(name), needed=True) == (ref,)


def test_the_sample_of_get_return_requests_is_read() -> None:
    refs = wire.machine_refs(sample("getReturnRequests.json"), needed=False)
    assert [str(ref) for ref in refs] == ["i-022161abf93cc2af9", "ip-10-0-50-105.ec2.internal"]


@pytest.mark.parametrize("document", [{}, {"machines": None}, {"machines": []}])
def test_get_return_requests_needs_no_machines(document: dict[str, Any]) -> None:
    assert wire.machine_refs(document, needed=False) == ()


@pytest.mark.parametrize("entry", [{"name": None, "machineId": "i-1"}, {"name": "", "machineId": "i-1"}])
def test_a_name_that_is_empty_counts_as_none(entry: dict[str, Any]) -> None:
    assert wire.machine_refs({"machines": entry}, needed=True) == (MachineRef(machine_id="i-1"),)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, "machines: "),
        ({"machines": None}, "machines: "),
        ({"machines": "i-1"}, "machines: "),
        ({"machines": ["i-1"]}, r"machines\[0\]: "),
        ({"machines": [{"name": "a"}, {}]}, r"machines\[1\]: "),
        ({"machines": [{"name": ""}]}, r"machines\[0\]: "),
        ({"machines": {"name": 7}}, r"machines\[0\]: "),
        ({"machines": {"name": "a", "machineId": 7}}, r"machines\[0\]: "),
        ({"machines": {"machineId": ["i-1"]}}, r"machines\[0\]: "),
    ],
)
def test_a_wrong_list_of_machines_is_refused_with_the_place(document: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError, match=rf"^{place}"):
        wire.machine_refs(document, needed=True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["template", "templateId", "machineCount", "requests", "requestId", "machines", "name"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["template", "requests", "machines"]), VALUES, max_size=3))
def test_whatever_comes_is_read_or_refused_as_input_and_nothing_else(document: dict[str, Any]) -> None:
    for read in (
        wire.machines_wanted,
        wire.request_ids,
        lambda given: wire.machine_refs(given, needed=True),
        lambda given: wire.machine_refs(given, needed=False),
    ):
        with suppress(InputError):
            read(document)


# Out


def a_request(**changed: object) -> Request:
    values: dict[str, Any] = {"request_id": "req-1", "status": RequestStatus.IN_PROGRESS, "created_at": NOW}
    return Request(**(values | changed))


def a_machine(**changed: object) -> Machine:
    values: dict[str, Any] = {
        "instance_id": "i-1",
        "request_id": "req-1",
        "status": RUNNING,
        "name": "ip-10-0-58-4.ec2.internal",
        "private_ip": "10.0.58.4",
        "launch_time": LAUNCHED,
        "instance_type": "m5.large",
        "price_type": "spot",
        "observed_at": NOW,
        "listed": True,
    }
    return Machine(**(values | changed))


def printed(request: Request, *machines: Machine) -> dict[str, Any]:
    view = RequestView(request_id=request.request_id, request=request, machines=machines, message="m")
    (entry,) = wire.status_document([view])["requests"]
    as_json: dict[str, Any] = json.loads(json.dumps(entry))
    return as_json


def test_an_answer_is_exactly_request_id_and_message() -> None:
    assert wire.answer_document(Answer(request_id="req-1", message="m")) == {"requestId": "req-1", "message": "m"}


def test_a_failure_is_exactly_a_message() -> None:
    assert wire.failure_document("m") == {"message": "m"}


def test_a_machine_is_printed_with_all_that_host_factory_reads() -> None:
    (machine,) = printed(a_request(), a_machine(public_ip="3.4.5.6"))["machines"]
    assert machine == {
        "machineId": "i-1",
        "name": "ip-10-0-58-4.ec2.internal",
        "result": "succeed",
        "status": "running",
        "privateIpAddress": "10.0.58.4",
        "publicIpAddress": "3.4.5.6",
        "launchtime": int(NOW.timestamp()),
        "instanceType": "m5.large",
        "priceType": "spot",
        "cloudHostId": "i-1",
        "message": "",
    }


def test_the_launch_time_is_whole_seconds_spelt_in_lower_case() -> None:
    (machine,) = printed(a_request(), a_machine())["machines"]
    assert type(machine["launchtime"]) is int
    assert [key for key in machine if key.lower() == "launchtime"] == ["launchtime"]


def test_every_mandatory_key_is_there_before_anything_is_known_of_a_machine() -> None:
    bare = Machine(instance_id="i-1", request_id="req-1", status=MachineStatus.PENDING, observed_at=NOW)
    (machine,) = printed(a_request(), bare)["machines"]
    assert {"machineId", "name", "result", "privateIpAddress", "launchtime"} <= machine.keys()
    assert (machine["result"], machine["name"], machine["launchtime"]) == ("executing", "", 0)


def test_a_machine_that_failed_always_says_why() -> None:
    (machine,) = printed(a_request(), a_machine(status=TERMINATED, message=""))["machines"]
    assert machine["result"] == "fail"
    assert "terminated" in machine["message"]


def test_the_clouds_own_reason_goes_before_a_general_one() -> None:
    (machine,) = printed(a_request(), a_machine(status=TERMINATED, message="Client.UserInitiatedShutdown"))["machines"]
    assert machine["message"] == "Client.UserInitiatedShutdown"


def test_instance_tags_are_pairs_in_one_text() -> None:
    template = Template(template_id="t", instance_tags={"a": "1", "b": "2"})
    (machine,) = printed(a_request(template=template), a_machine())["machines"]
    assert machine["instanceTags"] == "a=1;b=2"


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (RequestStatus.CREATING, "running"),
        (RequestStatus.IN_PROGRESS, "running"),
        (RequestStatus.COMPLETED, "complete"),
        (RequestStatus.COMPLETED_WITH_ERRORS, "complete_with_error"),
        (RequestStatus.FAILED, "complete_with_error"),
        (RequestStatus.CANCELLED, "complete_with_error"),
    ],
)
def test_each_status_has_host_factorys_word(status: RequestStatus, word: str) -> None:
    entry = printed(a_request(status=status))
    assert entry == {"requestId": "req-1", "status": word, "message": "m", "machines": []}


def test_every_status_has_a_word() -> None:
    assert set(wire.STATUS_WORDS) == set(RequestStatus)


def test_a_returned_machine_that_is_gone_has_succeeded() -> None:
    request = a_request(request_id="ret-1", kind=RequestKind.RETURN)
    machines = printed(request, a_machine(status=TERMINATED), a_machine(status=RUNNING))["machines"]
    assert [machine["result"] for machine in machines] == ["succeed", "executing"]


def test_an_unknown_request_alone_has_an_error_and_the_others_are_answered() -> None:
    unknown = RequestView(request_id="req-0", request=None, message="unknown request id: req-0")
    known = RequestView(request_id="req-1", request=a_request(status=RequestStatus.COMPLETED), message="m")
    entries = wire.status_document([unknown, known])["requests"]
    assert entries[0] == {
        "requestId": "req-0",
        "status": "complete_with_error",
        "message": "unknown request id: req-0",
        "machines": [],
    }
    assert entries[1]["status"] == "complete"


def test_a_template_is_printed_with_its_own_maximum_and_pairs() -> None:
    template = Template(
        template_id="t",
        max_number=10,
        attributes={"type": ("String", "X86_64"), "ncpus": ("Numeric", "4"), "nram": ("Numeric", "16384")},
        instance_tags={"team": "risk"},
    )
    document = wire.templates_document([TemplateView(template=template, available=3)], ())
    assert document == {
        "templates": [
            {
                "templateId": "t",
                "maxNumber": 10,
                "attributes": {"type": ["String", "X86_64"], "ncpus": ["Numeric", "4"], "nram": ["Numeric", "16384"]},
                "availableNumber": 3,
                "instanceTags": "team=risk",
            }
        ],
        "message": "1 template",
    }


def test_a_template_without_limit_has_no_available_number() -> None:
    document = wire.templates_document([TemplateView(template=Template(template_id="t"), available=None)], ())
    assert document["templates"] == [{"templateId": "t", "maxNumber": -1, "attributes": {}}]


def test_templates_left_out_are_named_in_the_message_and_warnings_are_not() -> None:
    wrong = Problem(field="vmType", message="is not a text", template_id="bad", source="f.json")
    odd = Problem(field="colour", message="is unknown", severity=Severity.WARNING, template_id="odd")
    message = wire.templates_document([], [wrong, odd])["message"]
    assert message == "0 templates; left out: f.json: bad: vmType: is not a text"


def test_machines_to_be_returned_are_named_with_their_grace() -> None:
    view = ReclaimView(machine=a_machine(), message="spot-interruption: soon", grace_seconds=110)
    document = wire.return_requests_document(Reclaims(views=(view,), message=""))
    assert document == {
        "status": "complete",
        "message": "1 machine to be returned",
        "requests": [
            {
                "machine": "ip-10-0-58-4.ec2.internal",
                "machineId": "i-1",
                "gracePeriod": 110,
                "message": "spot-interruption: soon",
            }
        ],
    }


def test_what_could_not_be_asked_is_told_beside_the_machines() -> None:
    document = wire.return_requests_document(Reclaims(views=(), message="Throttling: slow down"))
    assert document["requests"] == []
    assert document["message"] == "0 machines to be returned; Throttling: slow down"
