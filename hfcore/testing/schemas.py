"""Own Host Factory's contract as JSON Schemas of ours: what each verb's answer must hold, and may say.

Objects are closed: a key that is not in the contract is a fault, except in templates, where Host Factory allows any.
LSF's resource connector is told more of each machine; Symphony is not.

>>> broken("requestMachines", {"requestId": "req-1"})
['requestMachines: requestId: …']
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from collections.abc import Mapping

    Schema = Mapping[str, Any]

UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
NAMED: Final = {"type": "string", "minLength": 1}
TEXT: Final = {"type": "string"}
COUNT: Final = {"type": "integer", "minimum": 0}
PAIRS: Final = {"type": "string", "pattern": "^[^=;]+=[^;]*(;[^=;]+=[^;]*)*$"}


def _closed(mandatory: Mapping[str, Schema], **optional: Schema) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**mandatory, **optional},
        "required": list(mandatory),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _when(key: str, value: str, then: Mapping[str, Schema]) -> dict[str, Any]:
    return {"if": {"properties": {key: {"const": value}}}, "then": {"properties": then, "required": list(then)}}


def _pair(kind: str, value: str) -> Schema:
    prefix = [{"const": kind}, {"type": "string", "pattern": value}]
    return {"type": "array", "prefixItems": prefix, "minItems": 2, "items": False}


_NUMBER = r"-?\d+(\.\d+)?([eE][+-]?\d+)?"
_STRING, _NUMERIC = _pair("String", ""), _pair("Numeric", rf"^({_NUMBER}|\[{_NUMBER}:{_NUMBER}\])$")
_BOOLEAN = _pair("Boolean", "^[01]$")

ATTRIBUTES: Final[Schema] = {
    "type": "object",
    "properties": {"type": _STRING, "ncpus": _NUMERIC, "nram": _NUMERIC},
    "required": ["type", "ncpus", "nram"],
    "additionalProperties": {"anyOf": [_STRING, _NUMERIC, _BOOLEAN]},
}
TEMPLATE: Final[Schema] = _closed(
    {
        "templateId": {"type": "string", "pattern": "^[0-9A-Za-z_-]{1,64}$"},
        "maxNumber": {"type": "integer", "minimum": -1, "maximum": 10_000},
        "attributes": ATTRIBUTES,
    },
    availableNumber=COUNT,
    requestedMachines={**_list(NAMED), "uniqueItems": True},
    instanceTags=PAIRS,
) | {"additionalProperties": True}

MACHINE: Final[Schema] = _closed(
    {
        "machineId": NAMED,
        "name": TEXT,
        "result": {"enum": ["executing", "succeed", "fail"]},
        "privateIpAddress": TEXT,
        "launchtime": COUNT,
    },
    status={"enum": ["pending", "running", "stopping", "stopped", "shutting-down", "terminated"]},
    publicIpAddress=TEXT,
    message=TEXT,
    priceType={"enum": ["ondemand", "spot", ""]},
    instanceType=TEXT,
    instanceTags=PAIRS,
    cloudHostId=NAMED,
) | {
    "allOf": [
        _when("result", "fail", {"message": NAMED}),
        {
            "if": {"properties": {"result": {"const": "succeed"}, "status": {"const": "running"}}},
            "then": {"properties": {"name": NAMED, "privateIpAddress": NAMED, "launchtime": {"minimum": 1}}},
        },
    ]
}
_MORE_FOR_LSF: Final[Mapping[str, Schema]] = {
    "publicDnsName": TEXT,
    "ncores": COUNT,
    "nthreads": COUNT,
    "lifeCycleType": {"enum": ["onDemand", "spot"]},
    "template": TEXT,
    "requestId": NAMED,
    "returnId": TEXT,
    "rcAccount": TEXT,
}
MACHINE_FOR_LSF: Final[Schema] = {
    **MACHINE,
    "properties": {**MACHINE["properties"], **_MORE_FOR_LSF},
    "required": [*MACHINE["required"], *_MORE_FOR_LSF],
}


_BY_VALUE: Final = frozenset({"result", "status", "priceType", "lifeCycleType", "instanceTags"})


def _statuses(machine: Schema) -> Schema:
    request = _closed(
        {
            "requestId": NAMED,
            "status": {"enum": ["running", "complete", "complete_with_error"]},
            "machines": _list(machine),
        },
        message=TEXT,
    )
    return _closed({"requests": _list(request | _when("status", "complete_with_error", {"message": NAMED}))})


def _accepted(prefix: str) -> Schema:
    return _closed({"requestId": {"type": "string", "pattern": f"^{prefix}-{UUID}$"}}, message=NAMED)


SCHEMAS: Final[Mapping[str, Schema]] = {
    "getAvailableTemplates": _closed({"templates": _list(TEMPLATE)}, message=TEXT),
    "requestMachines": _accepted("req"),
    "getRequestStatus": _statuses(MACHINE),
    "requestReturnMachines": _accepted("ret"),
    "getReturnRequests": _closed(
        {
            "status": {"enum": ["running", "complete", "complete_with_error"]},
            "requests": _list(
                _closed({"machine": TEXT, "gracePeriod": COUNT}, machineId=NAMED, message=NAMED),
            ),
        },
        message=TEXT,
    ),
}
"""What Symphony is told by each verb, where its exit code is 0."""

LSF_SCHEMAS: Final[Mapping[str, Schema]] = {**SCHEMAS, "getRequestStatus": _statuses(MACHINE_FOR_LSF)}
"""The same under LSF's resource connector."""

FAILURE: Final[Schema] = _closed({"message": NAMED})
"""What every verb tells where its exit code is 1."""


def broken(verb: str, document: object, *, failed: bool = False, lsf: bool = False) -> list[str]:
    """Say in sentences how an answer breaks the contract; none if it keeps it.

    Args:
        verb: The verb, such as `getRequestStatus`.
        document: Its answer.
        failed: Whether its exit code was 1.
        lsf: Whether LSF's resource connector asked, not Symphony.
    """
    errors = _validator(verb, failed, lsf).iter_errors(_thinned(document))
    wrong = [f"{verb}: {'.'.join(map(str, error.path))}: {error.message[:300]}" for error in errors]
    return wrong or [f"{verb}: {sentence}" for sentence in _twice(document)]


@cache
def _validator(verb: str, failed: bool, lsf: bool) -> Draft202012Validator:  # noqa: FBT001 - a key of the cache
    schema = FAILURE if failed else (LSF_SCHEMAS if lsf else SCHEMAS)[verb]
    return Draft202012Validator(schema)


def _thinned(document: Any) -> Any:  # noqa: ANN401 - any answer
    """Leave of a request's machines one of each look: to a schema, ids and addresses are all alike."""
    requests = document.get("requests") if isinstance(document, dict) else None
    if not isinstance(requests, list):
        return document
    return {**document, "requests": [_thinned_request(request) for request in requests]}


def _thinned_request(request: Any) -> Any:  # noqa: ANN401 - any entry of an answer
    machines = request.get("machines") if isinstance(request, dict) else None
    if not isinstance(machines, list):
        return request
    return {**request, "machines": list({_look(machine): machine for machine in machines}.values())}


def _look(machine: Any) -> object:  # noqa: ANN401 - any entry of an answer
    """Give all that the schema of a machine goes by: words, and whether another value is of its kind, and empty."""
    if not isinstance(machine, dict):
        return repr(machine)
    parts = ((key, str(value) if key in _BY_VALUE else (type(value), bool(value))) for key, value in machine.items())
    return frozenset(parts), any(isinstance(value, int) and value < 0 for value in machine.values())


def _twice(document: Any) -> list[str]:  # noqa: ANN401 - an answer that its schema has accepted
    """Name what is named twice: a schema can't say that one key of objects is unique."""
    requests = document.get("requests", ())
    lists = {
        "templateId": [one["templateId"] for one in document.get("templates", ())],
        "requestId": [one["requestId"] for one in requests if "requestId" in one],
        "machineId": [one["machineId"] for one in requests if "machineId" in one],
    }
    lists |= {
        f"machineId of {one['requestId']}": [each["machineId"] for each in one["machines"]]
        for one in requests
        if "machines" in one
    }
    return [f"{what} stands there twice" for what, named in lists.items() if len(set(named)) < len(named)]
