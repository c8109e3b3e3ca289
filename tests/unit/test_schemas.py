"""The schemas of Host Factory's contract: what each verb may say passes, and each rule fails on what breaks it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from hfcore.testing.schemas import FAILURE, LSF_SCHEMAS, SCHEMAS, broken

UUID = "0f6c1c0e-6d0b-4c43-a0f7-7a5f1c1d2e3f"
MACHINE: dict[str, Any] = {
    "machineId": "i-1",
    "name": "ip-10-0-58-4.ec2.internal",
    "result": "succeed",
    "status": "running",
    "privateIpAddress": "10.0.58.4",
    "publicIpAddress": "",
    "launchtime": 1748779200,
    "instanceType": "m5.large",
    "priceType": "spot",
    "cloudHostId": "i-1",
    "instanceTags": "a=1;b=",
    "message": "",
}
FOR_LSF: dict[str, Any] = {
    "publicDnsName": "",
    "ncores": 1,
    "nthreads": 2,
    "lifeCycleType": "spot",
    "template": "basic",
    "requestId": f"req-{UUID}",
    "returnId": "",
    "rcAccount": "",
}
GOOD: dict[str, dict[str, Any]] = {
    "getAvailableTemplates": {
        "templates": [
            {
                "templateId": "basic",
                "maxNumber": 10,
                "availableNumber": 3,
                "requestedMachines": ["ip-10-0-58-4.ec2.internal"],
                "instanceTags": "team=risk",
                "anything": ["else"],
                "attributes": {
                    "type": ["String", "X86_64"],
                    "ncpus": ["Numeric", "4"],
                    "nram": ["Numeric", "[0:16384]"],
                    "priceInfo": ["String", "price:0.1,billingTimeUnitType:prorated_hour"],
                    "spot": ["Boolean", "1"],
                },
            }
        ],
        "message": "1 template",
    },
    "requestMachines": {"requestId": f"req-{UUID}", "message": "asked"},
    "getRequestStatus": {
        "requests": [{"requestId": f"req-{UUID}", "status": "complete", "message": "", "machines": [MACHINE]}]
    },
    "requestReturnMachines": {"requestId": f"ret-{UUID}", "message": "being returned"},
    "getReturnRequests": {
        "status": "complete",
        "message": "1 machine",
        "requests": [{"machine": "host", "machineId": "i-1", "gracePeriod": 110, "message": "soon"}],
    },
}
LACKING: list[tuple[str, tuple[Any, ...]]] = [
    *(("getAvailableTemplates", path) for path in [("templates",)]),
    *(("getAvailableTemplates", ("templates", 0, key)) for key in ("templateId", "maxNumber", "attributes")),
    *(("getAvailableTemplates", ("templates", 0, "attributes", key)) for key in ("type", "ncpus", "nram")),
    ("requestMachines", ("requestId",)),
    ("requestReturnMachines", ("requestId",)),
    ("getRequestStatus", ("requests",)),
    *(("getRequestStatus", ("requests", 0, key)) for key in ("requestId", "status", "machines")),
    *(
        ("getRequestStatus", ("requests", 0, "machines", 0, key))
        for key in ("machineId", "name", "result", "privateIpAddress", "launchtime")
    ),
    *(("getReturnRequests", (key,)) for key in ("status", "requests")),
    *(("getReturnRequests", ("requests", 0, key)) for key in ("machine", "gracePeriod")),
]
T, R, M = ("templates", 0), ("requests", 0), ("requests", 0, "machines", 0)
WRONG: list[tuple[str, tuple[Any, ...], Any]] = [
    ("getAvailableTemplates", ("templates",), {}),
    ("getAvailableTemplates", ("message",), None),
    ("getAvailableTemplates", ("more",), 1),
    ("getAvailableTemplates", (*T, "templateId"), "a b"),
    ("getAvailableTemplates", (*T, "templateId"), "a" * 65),
    ("getAvailableTemplates", (*T, "maxNumber"), -2),
    ("getAvailableTemplates", (*T, "maxNumber"), 10_001),
    ("getAvailableTemplates", (*T, "maxNumber"), "10"),
    ("getAvailableTemplates", (*T, "availableNumber"), -1),
    ("getAvailableTemplates", (*T, "requestedMachines"), ["a", "a"]),
    ("getAvailableTemplates", (*T, "requestedMachines"), [""]),
    ("getAvailableTemplates", (*T, "instanceTags"), {"team": "risk"}),
    ("getAvailableTemplates", (*T, "instanceTags"), "team"),
    ("getAvailableTemplates", (*T, "attributes", "type"), "X86_64"),
    ("getAvailableTemplates", (*T, "attributes", "type"), ["Numeric", "1"]),
    ("getAvailableTemplates", (*T, "attributes", "type"), ["String"]),
    ("getAvailableTemplates", (*T, "attributes", "type"), ["String", "X86_64", "more"]),
    ("getAvailableTemplates", (*T, "attributes", "ncpus"), ["Numeric", 4]),
    ("getAvailableTemplates", (*T, "attributes", "ncpus"), ["Numeric", "four"]),
    ("getAvailableTemplates", (*T, "attributes", "nram"), ["String", "4096"]),
    ("getAvailableTemplates", (*T, "attributes", "other"), ["Text", "x"]),
    ("getAvailableTemplates", (*T, "attributes", "other"), ["Boolean", "true"]),
    ("requestMachines", ("requestId",), f"ret-{UUID}"),
    ("requestMachines", ("requestId",), "req-1"),
    ("requestMachines", ("message",), ""),
    ("requestMachines", ("more",), 1),
    ("requestReturnMachines", ("requestId",), f"req-{UUID}"),
    ("requestReturnMachines", ("more",), 1),
    ("getRequestStatus", ("more",), 1),
    ("getRequestStatus", ("requests",), GOOD["getRequestStatus"]["requests"][0]),
    ("getRequestStatus", (*R, "requestId"), ""),
    ("getRequestStatus", (*R, "status"), "done"),
    ("getRequestStatus", (*R, "status"), "complete_with_error"),
    ("getRequestStatus", (*R, "message"), None),
    ("getRequestStatus", (*R, "machines"), None),
    ("getRequestStatus", (*R, "more"), 1),
    ("getRequestStatus", (*M, "machineId"), ""),
    ("getRequestStatus", (*M, "name"), None),
    ("getRequestStatus", (*M, "name"), ""),
    ("getRequestStatus", (*M, "result"), "success"),
    ("getRequestStatus", (*M, "result"), "fail"),
    ("getRequestStatus", (*M, "status"), "ended"),
    ("getRequestStatus", (*M, "privateIpAddress"), None),
    ("getRequestStatus", (*M, "privateIpAddress"), ""),
    ("getRequestStatus", (*M, "publicIpAddress"), None),
    ("getRequestStatus", (*M, "launchtime"), "1748779200"),
    ("getRequestStatus", (*M, "launchtime"), 1748779200.5),
    ("getRequestStatus", (*M, "launchtime"), -1),
    ("getRequestStatus", (*M, "launchtime"), 0),
    ("getRequestStatus", (*M, "instanceType"), None),
    ("getRequestStatus", (*M, "priceType"), "cheap"),
    ("getRequestStatus", (*M, "instanceTags"), "a"),
    ("getRequestStatus", (*M, "cloudHostId"), ""),
    ("getRequestStatus", (*M, "message"), None),
    ("getRequestStatus", (*M, "rcAccount"), "told to Symphony"),
    ("getReturnRequests", ("status",), "ok"),
    ("getReturnRequests", ("message",), None),
    ("getReturnRequests", ("more",), 1),
    ("getReturnRequests", (*R, "machine"), None),
    ("getReturnRequests", (*R, "machineId"), ""),
    ("getReturnRequests", (*R, "gracePeriod"), -1),
    ("getReturnRequests", (*R, "gracePeriod"), 1.5),
    ("getReturnRequests", (*R, "gracePeriod"), "110"),
    ("getReturnRequests", (*R, "message"), ""),
    ("getReturnRequests", (*R, "more"), 1),
]


def with_changed(document: dict[str, Any], path: tuple[Any, ...], *value: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Give a document with another value in one place, or without what is there."""
    changed: Any = deepcopy(document)
    place = changed
    for part in path[:-1]:
        place = place[part]
    if value:
        place[path[-1]] = value[0]
    else:
        del place[path[-1]]
    found: dict[str, Any] = changed
    return found


def status_of(*machines: dict[str, Any], **request: object) -> dict[str, Any]:
    entry = {"requestId": f"req-{UUID}", "status": "complete", "message": "m", "machines": list(machines)}
    return {"requests": [entry | request]}


@pytest.mark.parametrize("verb", SCHEMAS)
def test_what_is_right_passes(verb: str) -> None:
    assert broken(verb, GOOD[verb]) == []


def test_what_lsf_is_told_besides_passes_under_lsf_alone() -> None:
    document = status_of(MACHINE | FOR_LSF)
    assert broken("getRequestStatus", document, lsf=True) == []
    assert broken("getRequestStatus", document)
    for verb in SCHEMAS.keys() - {"getRequestStatus"}:
        assert LSF_SCHEMAS[verb] is SCHEMAS[verb]


@pytest.mark.parametrize("key", FOR_LSF)
def test_under_lsf_nothing_of_what_it_reads_may_be_missing_or_of_another_kind(key: str) -> None:
    without = {name: value for name, value in (MACHINE | FOR_LSF).items() if name != key}
    assert broken("getRequestStatus", status_of(without), lsf=True)
    wrong = "no number" if isinstance(FOR_LSF[key], int) else 7
    assert broken("getRequestStatus", status_of(MACHINE | FOR_LSF | {key: wrong}), lsf=True)


@pytest.mark.parametrize(("verb", "path"), LACKING, ids=str)
def test_what_is_mandatory_must_be_there(verb: str, path: tuple[Any, ...]) -> None:
    (sentence, *_) = broken(verb, with_changed(GOOD[verb], path))
    assert sentence.startswith(f"{verb}: ")
    assert f"'{path[-1]}' is a required property" in sentence


def test_every_mandatory_key_of_every_schema_is_among_those_that_are_taken_away() -> None:
    def mandatory(schema: Any) -> list[str]:  # noqa: ANN401 - any part of a schema
        if isinstance(schema, list):
            return [key for each in schema for key in mandatory(each)]
        if not isinstance(schema, dict):
            return []
        inner = [key for name, each in schema.items() if name != "allOf" for key in mandatory(each)]
        return [*schema.get("required", ()), *inner] if "properties" in schema else inner

    for verb, schema in SCHEMAS.items():
        taken = sorted(path[-1] for each, path in LACKING if each == verb)
        assert taken == sorted(key for key in mandatory(schema) if key in taken)
        assert set(mandatory(schema)) - {"message"} == set(taken), verb


@pytest.mark.parametrize(("verb", "path", "value"), WRONG, ids=str)
def test_what_is_of_the_wrong_kind_or_an_unknown_word_is_found(verb: str, path: tuple[Any, ...], value: object) -> None:
    assert broken(verb, with_changed(GOOD[verb], path, value))


def test_a_machine_that_failed_says_why_and_one_that_is_on_its_way_needs_no_name() -> None:
    failed = MACHINE | {"result": "fail", "status": "terminated"}
    assert broken("getRequestStatus", status_of(failed))
    assert broken("getRequestStatus", status_of(failed | {"message": "it is terminated"})) == []
    coming = MACHINE | {"result": "executing", "status": "pending", "name": "", "privateIpAddress": "", "launchtime": 0}
    assert broken("getRequestStatus", status_of(coming)) == []


def test_a_returned_machine_that_is_gone_has_no_name_any_more() -> None:
    gone = MACHINE | {"status": "terminated", "name": "", "privateIpAddress": ""}
    assert broken("getRequestStatus", status_of(gone)) == []


def test_nothing_is_named_twice() -> None:
    assert broken("getRequestStatus", status_of(MACHINE, MACHINE))
    status = GOOD["getRequestStatus"]["requests"]
    assert broken("getRequestStatus", {"requests": [*status, *status]})
    templates = GOOD["getAvailableTemplates"]["templates"]
    assert broken("getAvailableTemplates", {"templates": [*templates, *templates]})
    returns = GOOD["getReturnRequests"]
    assert broken("getReturnRequests", returns | {"requests": [*returns["requests"], *returns["requests"]]})


def test_one_wrong_machine_among_thousands_is_found() -> None:
    many = [MACHINE | {"machineId": f"i-{number}"} for number in range(2000)]
    assert broken("getRequestStatus", status_of(*many)) == []
    for wrong in ({"name": ""}, {"launchtime": "0"}, {"status": "ended"}, {"result": "fail"}, {"launchtime": -1}):
        assert broken("getRequestStatus", status_of(*many, MACHINE | wrong)), wrong


@pytest.mark.parametrize(
    "document", [[], None, "text", {}, {"requests": [7]}, {"requests": [{"machines": [7]}]}], ids=str
)
@pytest.mark.parametrize("verb", SCHEMAS)
def test_what_is_no_answer_at_all_is_found(verb: str, document: object) -> None:
    assert broken(verb, document)


def test_a_failure_is_a_message_and_nothing_else() -> None:
    assert broken("requestMachines", {"message": "HF1001: no"}, failed=True) == []
    for wrong in ({}, {"message": ""}, {"message": "no", "requestId": "req-1"}, {"message": None}):
        assert broken("requestMachines", wrong, failed=True), wrong
    assert FAILURE["required"] == ["message"]
