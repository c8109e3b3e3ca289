"""Own what a death between the store's two files leaves behind, read from the records as they are stored.

`machines.json` is written first. So a death in between leaves machines that their request does not name, machines given
back by a return that is not stored, or a finished request whose machines are in the archive already. Pure: changes
nothing, decodes nothing, and passes over fields of the wrong kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.lifecycle import OPEN
from hfcore.models import MachineStatus

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    Json = Mapping[str, Any]
    Records = Mapping[str, Json]


def unnamed(requests: Records, machines: Records) -> dict[str, list[str]]:
    """Give, by the id of each stored request, the machines that it made and does not name."""
    named = {key: frozenset(names(record)) for key, record in requests.items()}
    found: dict[str, list[str]] = {}
    for key, machine in machines.items():
        maker = machine.get("request_id")
        if isinstance(maker, str) and maker in named and key not in named[maker]:
            found.setdefault(maker, []).append(key)
    return found


def unreturned(requests: Records, machines: Records) -> list[str]:
    """Name the machines that live though a return has them, which is not stored: it never came to be.

    A return is archived only once all its machines are terminated.
    """
    return [
        key
        for key, machine in machines.items()
        if machine.get("return_id")
        and str(machine["return_id"]) not in requests
        and machine.get("status") != MachineStatus.TERMINATED
    ]


def lacking(requests: Records, machines: Container[str]) -> dict[str, list[str]]:
    """Give, by request id, the machines that a request names and that are not stored."""
    found = {key: [name for name in names(record) if name not in machines] for key, record in requests.items()}
    return {key: missing for key, missing in found.items() if missing}


def needed(requests: Records, machines: Container[str]) -> dict[str, list[str]]:
    """Give those of `lacking` that a request needs which is not over for good: the files are of different times."""
    return {key: ids for key, ids in lacking(requests, machines).items() if needs_machines(requests[key])}


def strangers(requests: Container[str], machines: Records) -> dict[str, list[str]]:
    """Give, by the id of a request that is not stored, the machines that it made and that live.

    A request is stored before its machines, and archived once they are terminated: the files are of different times.
    """
    found: dict[str, list[str]] = {}
    for key, machine in machines.items():
        maker = str(machine.get("request_id"))
        if maker not in requests and machine.get("status") != MachineStatus.TERMINATED:
            found.setdefault(maker, []).append(key)
    return found


def needs_machines(record: Json) -> bool:
    """Tell whether a request is not over for good; the machines of those that are may have gone to the archive."""
    return str(record.get("status")) in OPEN or bool(record.get("resource_ids") and not record.get("cleaned"))


def names(record: Json) -> Iterable[str]:
    """Give the machines that a request names."""
    ids = record.get("machine_ids")
    return [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []
