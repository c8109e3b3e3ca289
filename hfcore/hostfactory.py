"""Own Host Factory's JSON, in and out: the one place with its camelCase. Pure.

The shapes are those of IBM Spectrum Symphony 7.3.2, Host Factory, "Provider plug-in interfaces"; where a real trace
differs from the page, both are accepted, and what the trace shows is printed. LSF's resource connector gives and is
told more; what it alone reads, `lsf` says in the functions here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hfcore.bounds import MOST_BYTES, MOST_DEPTH, is_too_deep
from hfcore.errors import InputError
from hfcore.models import RequestKind, RequestStatus
from hfcore.pairs import check_exports, join_pairs, split_pairs
from hfcore.standing import Result, reason, result
from hfcore.views import MachineRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfcore.models import Machine, Problem, Request
    from hfcore.store import State
    from hfcore.views import Answer, Reclaims, RequestView, TemplateView

Document = dict[str, Any]


STATUS_WORDS = {
    RequestStatus.CREATING: "running",
    RequestStatus.IN_PROGRESS: "running",
    RequestStatus.COMPLETED: "complete",
    RequestStatus.COMPLETED_WITH_ERRORS: "complete_with_error",
    RequestStatus.FAILED: "complete_with_error",
    RequestStatus.CANCELLED: "complete_with_error",
}
"""Host Factory's word for each request status."""

ACCOUNT_TAG = "RC_ACCOUNT"
"""The tag that keeps LSF's `rc_account` on each machine, as IBM's own plug-in does."""

_LIFE_CYCLES = {"spot": "spot", "ondemand": "onDemand"}
_LONGEST_TAG = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesWanted:
    """What `requestMachines` asks for: so many units of a template.

    Args:
        tags: Tags of the machines, beside the template's.
        user_data: What is exported to the start-up script, beside the template's; may be secret.
    """

    template_id: str
    count: int
    tags: Mapping[str, str] = field(default_factory=dict)
    user_data: Mapping[str, str] = field(default_factory=dict)


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
        document = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: not JSON: {error}") from None
    if is_too_deep(document):
        raise InputError(f"{source}: more than {MOST_DEPTH} objects and lists within each other")
    if not isinstance(document, dict):
        raise InputError(f"{source}: a JSON object is needed, not {_kind(document)}")
    return document


def _once(pairs: list[tuple[str, Any]]) -> Document:
    """Refuse a key that stands twice: which of the two is meant can't be told."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key stands twice in one object: {', '.join(found)[:100]}")
    return found


def machines_wanted(document: Document) -> MachinesWanted:
    """Read the input of `requestMachines`: `{"template": {"templateId": …, "machineCount": n}}`.

    LSF may give `rc_account` and `userData` beside the template.

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
    return MachinesWanted(
        template_id=template_id,
        count=count_of(template.get("machineCount")),
        tags=_account(document.get("rc_account")),
        user_data=_exports(document.get("userData")),
    )


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


def request_ids(document: Document, *, lsf: bool = False) -> tuple[str, ...]:
    """Read the input of `getRequestStatus`: `{"requests": [{"requestId": …}]}`, or one object instead of the list.

    Raises:
        InputError: `requests` is missing, or an entry has no `requestId`; under LSF, the list is empty.
    """
    ids = []
    for number, entry in enumerate(_entries(document, "requests", lsf=lsf)):
        request_id = entry.get("requestId") if isinstance(entry, dict) else entry
        if not isinstance(request_id, str) or not request_id:
            raise InputError(f"requests[{number}].requestId: a text is needed, not {_kind(request_id)}")
        ids.append(request_id)
    return tuple(ids)


def machine_refs(document: Document, *, needed: bool, lsf: bool = False) -> tuple[MachineRef, ...]:
    """Read `{"machines": [{"name": …, "machineId": …}]}`, or one object instead of the list; either key is enough.

    Args:
        document: The input.
        needed: Whether `machines` must be there (`requestReturnMachines`) or may be left out (`getReturnRequests`).
        lsf: Whether LSF asks, where what is needed must not be empty.

    Raises:
        InputError: `machines` is missing or empty though needed, or an entry has neither key.
    """
    if not needed and document.get("machines") is None:
        return ()
    entries = _entries(document, "machines", lsf=lsf and needed)
    return tuple(_machine_ref(entry, number) for number, entry in enumerate(entries))


def machines_by_hand(words: Iterable[str], state: State) -> Document:
    """Write the input for machines as a person names them: by host name where a machine has that name, else by id."""
    names = {machine.name for machine in state.machines()}
    keys = {word: "name" if word in names and not state.machine(word) else "machineId" for word in words}
    return {"machines": [{key: word} for word, key in keys.items()]}


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


def status_document(views: Iterable[RequestView], *, lsf: bool = False) -> Document:
    """Write the answer of `getRequestStatus`."""
    return {"requests": [_request(view, lsf=lsf) for view in views]}


def return_requests_document(reclaims: Reclaims) -> Document:
    """Write the answer of `getReturnRequests`."""
    requests = [
        {
            "machine": view.machine.name,
            **({"machineId": view.machine.instance_id} if view.machine.instance_id else {}),
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
    if view.names:
        document["requestedMachines"] = list(view.names)
    if template.priority is not None:
        document["priority"] = template.priority
    return document | _tags(template.instance_tags)


def _request(view: RequestView, *, lsf: bool) -> Document:
    request = view.request
    if request is None:
        status = "complete_with_error"
        machines = []
    else:
        status = STATUS_WORDS[request.status]
        machines = [_machine(machine, request) for machine in view.machines]
    if lsf:
        more = (_for_lsf(machine, view.creators.get(machine.request_id)) for machine in view.machines)
        machines = [one | another for one, another in zip(machines, more, strict=False)]
    return {"requestId": view.request_id, "status": status, "message": view.message, "machines": machines}


def _machine(machine: Machine, request: Request) -> Document:
    outcome = result(machine, request)
    message = reason(machine, request)
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
    template = request.template if request.kind is RequestKind.CREATE else None
    return document | _tags(template.instance_tags) if template else document


def _for_lsf(machine: Machine, creator: Request | None) -> Document:
    """Give what LSF reads of a machine besides; of its creator in the archive, only what the machine keeps."""
    template = creator.template if creator else None
    return {
        "publicDnsName": machine.public_dns,
        "ncores": machine.cores,
        "nthreads": machine.threads,
        "lifeCycleType": _LIFE_CYCLES.get(machine.price_type, "onDemand"),
        "template": creator.template_id if creator else "",
        "requestId": machine.request_id,
        "returnId": machine.return_id,
        "rcAccount": template.instance_tags.get(ACCOUNT_TAG, "") if template else "",
    }


def _tags(tags: Mapping[str, str]) -> Document:
    """Give `instanceTags`; a tag that `k=v;k=v` can't hold is left out."""
    told = {key: value for key, value in tags.items() if not re.search("[=;]", key) and ";" not in value}
    return {"instanceTags": join_pairs(told)} if told else {}


def _account(value: object) -> Mapping[str, str]:
    if value in (None, ""):
        return {}
    if not isinstance(value, str) or len(value) > _LONGEST_TAG or not value.isprintable():
        raise InputError(f"rc_account: a text of at most {_LONGEST_TAG} characters is needed, not {_kind(value)}")
    return {ACCOUNT_TAG: value}


def _exports(value: object) -> Mapping[str, str]:
    """Read `k=v;k=v`, or an object of texts; no value stands in an error, as it may be secret."""
    if not value:
        return {}
    try:
        pairs = split_pairs(value) if isinstance(value, str) else value
        if not isinstance(pairs, dict) or not all(isinstance(each, str | int | float) for each in pairs.values()):
            raise InputError("userData: k=v;k=v is needed, or an object of texts")
        check_exports(pairs)
    except ValueError as error:
        raise InputError(f"userData: {error}") from None
    found = {key: str(each) for key, each in pairs.items()}
    if any(";" in each or not each.isprintable() for each in found.values()):
        raise InputError("userData: a value holds a semicolon or a character that can't be printed")
    return found


def _entries(document: Document, key: str, *, lsf: bool = False) -> list[Any]:
    entries = document.get(key)
    if lsf and entries == []:
        raise InputError("Invalid input file.", hint=f"{key} is empty")
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
    return "an empty text" if value == "" else words.get(type(value), "a number")


def _shown(value: object) -> str:
    return repr(value[:40]) if isinstance(value, str) else _kind(value) if not isinstance(value, float) else str(value)
