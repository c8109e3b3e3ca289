"""Own Host Factory's JSON, in and out: the one place with its camelCase. Pure.

The shapes are those of IBM Spectrum Symphony 7.3.2, Host Factory, "Provider plug-in interfaces"; where a real trace
differs from the page, both are accepted, and what the trace shows is printed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfcore.errors import InputError
from hfcore.lifecycle import Result, result
from hfcore.models import RequestKind, RequestStatus
from hfcore.service import MachineRef

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfcore.models import Machine, Problem, Request
    from hfcore.service import Answer, Reclaims, RequestView, TemplateView

Document = dict[str, Any]

MOST_BYTES = 16 * 1024 * 1024
"""A larger input is refused: 5,000 machines take less than 1 MiB."""

STATUS_WORDS = {
    RequestStatus.CREATING: "running",
    RequestStatus.IN_PROGRESS: "running",
    RequestStatus.COMPLETED: "complete",
    RequestStatus.COMPLETED_WITH_ERRORS: "complete_with_error",
    RequestStatus.FAILED: "complete_with_error",
    RequestStatus.CANCELLED: "complete_with_error",
}
"""Host Factory's word for each request status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesWanted:
    """What `requestMachines` asks for: so many units of a template."""

    template_id: str
    count: int


def parse(text: str | bytes, source: str) -> Document:
    """Read an input document.

    Args:
        text: The JSON; nothing but white space counts as `{}`.
        source: Where it comes from, for the error.

    Raises:
        InputError: Too large, not JSON, too deep, or not an object.
    """
    if len(text) > MOST_BYTES:
        raise InputError(f"{source}: larger than {MOST_BYTES // 1024 // 1024} MiB")
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{source}: a JSON object is needed, not {_kind(document)}")
    return document


def machines_wanted(document: Document) -> MachinesWanted:
    """Read the input of `requestMachines`: `{"template": {"templateId": …, "machineCount": n}}`.

    Raises:
        InputError: A mandatory key is missing or has the wrong type.
    """
    template = document.get("template")
    if isinstance(template, list) and len(template) == 1:
        template = template[0]
    if not isinstance(template, dict):
        raise InputError(f"template: an object is needed, not {_kind(template)}")
    template_id = template.get("templateId")
    if not isinstance(template_id, str) or not template_id:
        raise InputError(f"template.templateId: a text is needed, not {_kind(template_id)}")
    return MachinesWanted(template_id=template_id, count=count_of(template.get("machineCount")))


def count_of(value: object) -> int:
    """Read a machine count, a whole number; a text of digits counts as one.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal() and len(value) < 20:  # noqa: PLR2004 - no number of machines
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"machineCount: a whole number is needed, not {_shown(value)}")
    return value


def request_ids(document: Document) -> tuple[str, ...]:
    """Read the input of `getRequestStatus`: `{"requests": [{"requestId": …}]}`, or one object instead of the list.

    Raises:
        InputError: `requests` is missing, or an entry has no `requestId`.
    """
    ids = []
    for number, entry in enumerate(_entries(document, "requests")):
        request_id = entry.get("requestId") if isinstance(entry, dict) else entry
        if not isinstance(request_id, str) or not request_id:
            raise InputError(f"requests[{number}].requestId: a text is needed, not {_kind(request_id)}")
        ids.append(request_id)
    return tuple(ids)


def machine_refs(document: Document, *, needed: bool) -> tuple[MachineRef, ...]:
    """Read `{"machines": [{"name": …, "machineId": …}]}`, or one object instead of the list; either key is enough.

    Args:
        document: The input.
        needed: Whether `machines` must be there (`requestReturnMachines`) or may be left out (`getReturnRequests`).

    Raises:
        InputError: `machines` is missing though needed, or an entry has neither key.
    """
    if not needed and document.get("machines") is None:
        return ()
    return tuple(_machine_ref(entry, number) for number, entry in enumerate(_entries(document, "machines")))


def templates_document(views: Iterable[TemplateView], problems: Iterable[Problem]) -> Document:
    """Write the answer of `getAvailableTemplates`; templates left out are named in `message`."""
    templates = [_template(view) for view in views]
    errors = [str(problem) for problem in problems if problem.severity == "error"]
    message = f"{len(templates)} template{'' if len(templates) == 1 else 's'}"
    if errors:
        message += f"; left out: {'; '.join(errors)}"
    return {"templates": templates, "message": message}


def answer_document(answer: Answer) -> Document:
    """Write the answer of `requestMachines` and `requestReturnMachines`: exactly `requestId` and `message`."""
    return {"requestId": answer.request_id, "message": answer.message}


def failure_document(message: str) -> Document:
    """Write the answer of a call that failed (exit code 1)."""
    return {"message": message}


def status_document(views: Iterable[RequestView]) -> Document:
    """Write the answer of `getRequestStatus`."""
    return {"requests": [_request(view) for view in views]}


def return_requests_document(reclaims: Reclaims) -> Document:
    """Write the answer of `getReturnRequests`."""
    requests = [
        {
            "machine": view.machine.name,
            "machineId": view.machine.instance_id,
            "gracePeriod": view.grace_seconds,
            "message": view.message,
        }
        for view in reclaims.views
    ]
    count = len(requests)
    message = f"{count} machine{'' if count == 1 else 's'} to be returned"
    return {
        "status": "complete",
        "message": f"{message}; {reclaims.message}" if reclaims.message else message,
        "requests": requests,
    }


def _template(view: TemplateView) -> Document:
    template = view.template
    document: Document = {
        "templateId": template.template_id,
        "maxNumber": template.max_number,
        "attributes": {name: list(pair) for name, pair in template.attributes.items()},
    }
    if view.available is not None:
        document["availableNumber"] = view.available
    if template.instance_tags:
        document["instanceTags"] = _tags(template.instance_tags.items())
    return document


def _request(view: RequestView) -> Document:
    request = view.request
    if request is None:
        status = "complete_with_error"
        machines = []
    else:
        status = STATUS_WORDS[request.status]
        machines = [_machine(machine, request) for machine in view.machines]
    return {"requestId": view.request_id, "status": status, "message": view.message, "machines": machines}


def _machine(machine: Machine, request: Request) -> Document:
    outcome = result(machine, request)
    message = request.unwanted.get(machine.instance_id) or machine.message
    if outcome is Result.FAIL and not message:
        message = f"it is {machine.status}"
    document: Document = {
        "machineId": machine.instance_id,
        "name": machine.name,
        "result": str(outcome),
        "status": str(machine.status),
        "privateIpAddress": machine.private_ip,
        "publicIpAddress": machine.public_ip,
        "launchtime": int(machine.launch_time.timestamp()) if machine.launch_time else 0,
        "instanceType": machine.instance_type,
        "priceType": machine.price_type,
        "cloudHostId": machine.instance_id,
        "message": message,
    }
    tags = request.template.instance_tags if request.template and request.kind is RequestKind.CREATE else None
    if tags:
        document["instanceTags"] = _tags(tags.items())
    return document


def _tags(pairs: Iterable[tuple[str, str]]) -> str:
    return ";".join(f"{key}={value}" for key, value in pairs)


def _entries(document: Document, key: str) -> list[Any]:
    entries = document.get(key)
    if isinstance(entries, dict):
        return [entries]
    if isinstance(entries, list):
        return entries
    raise InputError(f"{key}: a list or an object is needed, not {_kind(entries)}")


def _machine_ref(entry: object, number: int) -> MachineRef:
    if not isinstance(entry, dict):
        raise InputError(f"machines[{number}]: an object is needed, not {_kind(entry)}")
    name, machine_id = entry.get("name") or "", entry.get("machineId") or ""
    if not isinstance(name, str) or not isinstance(machine_id, str) or not (name or machine_id):
        raise InputError(f"machines[{number}]: name or machineId is needed, as text")
    return MachineRef(name=name, machine_id=machine_id)


def _kind(value: object) -> str:
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return words.get(type(value), "a number")


def _shown(value: object) -> str:
    return repr(value[:40]) if isinstance(value, str) else _kind(value) if not isinstance(value, float) else str(value)
