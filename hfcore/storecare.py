"""Own what a person does with the records of a store: move what is over to the archive, and give all of them out."""

from __future__ import annotations

from dataclasses import dataclass
from json import loads
from typing import TYPE_CHECKING, Any

from hfcore.archive import Archive, id_of
from hfcore.files import read_json
from hfcore.journal import begun_in
from hfcore.records import parse_records
from hfcore.storefolder import (
    ARCHIVE_FOLDER,
    JOURNAL_FOLDER,
    MACHINES_FILE,
    META_FILE,
    STORAGE_FILE,
    read_meta,
    refuse_if_absent,
)
from hfcore.usage import finished_before

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from hfcore.store import TinyStore

    Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """What went to the archive; `machines` are those that the requests name."""

    requests: int
    machines: int


def trim(store: TinyStore, oldest: datetime) -> Trimmed:
    """Move what was over before a time to the archive.

    Raises:
        StoreError: The store can't be trusted, locked or written.
    """
    with store.transaction() as state:
        finished = finished_before(state, oldest, begun_in(store.data / JOURNAL_FOLDER))
        machines = {
            machine.instance_id
            for request in filter(None, map(state.request, finished))
            for machine in state.machines_of(request)
        }
        state.archive(finished)
    return Trimmed(requests=len(finished), machines=len(machines))


def export(data: Path, *, archived: bool) -> Json:
    """Give all records as they are stored: `owner`, `requests`, `machines`, and `archived` if that is asked for.

    An archived request is an object of `request` and `machines`; its last line in the archive wins. A line there that
    can't be read is passed over.

    Raises:
        StoreUntrusted: A file can't be read.
    """
    refuse_if_absent(data)
    owner = read_meta(data / META_FILE)["owner"]
    requests = read_json(data / STORAGE_FILE, parse_records)
    machines = read_json(data / MACHINES_FILE, parse_records)
    document: Json = {"owner": owner, "requests": [*requests.values()], "machines": [*machines.values()]}
    return document | {"archived": _archived(data)} if archived else document


def _archived(data: Path) -> list[Json]:
    requests: dict[str, Json] = {}
    machines: dict[str, dict[str, Json]] = {}
    for line in Archive(data / ARCHIVE_FOLDER, month="").lines():
        key = id_of(line.text)
        if key is None:
            continue
        entry = loads(line.text)
        requests[key] = entry["request"]
        machines.setdefault(key, {}).update({each["instance_id"]: each for each in entry["machines"]})
    return [{"request": request, "machines": [*machines[key].values()]} for key, request in requests.items()]
