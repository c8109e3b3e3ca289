"""Own the archive: what is over for good, a line each in a file for each month."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from hfcore.errors import StoreUntrusted
from hfcore.files import append_lines, find_lines, make_private_folder
from hfcore.records import decode_machine, decode_request, encode_machine, encode_request, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hfcore.models import Machine, Request


_STRING = re.compile(rb'"[^"\\]*"')


class Entry(NamedTuple):
    """A request that is over for good, with the machines that it named or made."""

    request: Request
    machines: tuple[Machine, ...]


class Line(NamedTuple):
    """One line of the archive, as it stands in the file; `number` counts from 1."""

    file: Path
    number: int
    text: bytes


class Archive:
    """Finished requests with their machines, a line each, in a file for each month. Appended to under the lock only.

    Args:
        folder: The folder, `data/archive`; made when first needed.
        month: `YYYY-MM`, the file that is appended to.
    """

    def __init__(self, folder: Path, *, month: str) -> None:
        self._folder = folder
        self.path = folder / f"{month}.jsonl"

    def append(self, entries: Iterable[tuple[Request, tuple[Machine, ...]]]) -> None:
        """Add requests with their machines, synced; the same ones again do no harm."""
        make_private_folder(self._folder)
        append_lines(self.path, "".join(encode_entry(*entry) + "\n" for entry in entries).encode())

    def find(self, request_id: str) -> Entry | None:
        """Give a request, and each machine that any line of it has; the last line wins.

        A death between the two hot files leaves the request there without its machines; its next line names none.
        """
        request: Request | None = None
        machines: dict[str, Machine] = {}
        for path in reversed(self.files()):
            for line in reversed(find_lines(path, json.dumps(request_id).encode())):
                if id_of(line) != request_id:
                    continue
                entry = decode_entry(line)
                request = request or entry.request
                machines = {machine.instance_id: machine for machine in entry.machines} | machines
            if request is not None and machines.keys() >= set(request.machine_ids):
                break
        return None if request is None else Entry(request, tuple(machines.values()))

    def machines(self, words: Iterable[str]) -> dict[str, Machine]:
        """Give those of the machines that are here, by the id or name asked for; the last line wins."""
        words = frozenset(words)
        wanted = {json.dumps(one).encode() for one in words}
        if not wanted:
            return {}
        lines = (line.text for line in self.lines() if not wanted.isdisjoint(_STRING.findall(line.text)))
        named = (entry.machines for entry in map(decode_entry, filter(id_of, lines)))
        return {
            word: one
            for machines in named
            for one in machines
            for word in words.intersection((one.instance_id, one.name))
        }

    def has(self, request_id: str, machine_ids: Iterable[str]) -> bool:
        """Tell whether a request is here with these machines, as far as its lines can be read."""
        try:
            found = self.find(request_id)
        except StoreUntrusted:
            return False
        return found is not None and {machine.instance_id for machine in found.machines}.issuperset(machine_ids)

    def lines(self) -> Iterator[Line]:
        """Give all lines, oldest first.

        Raises:
            StoreUntrusted: A file can't be read.
        """
        for path in self.files():
            for number, text in enumerate(find_lines(path, b""), 1):
                yield Line(path, number, text)

    def files(self) -> list[Path]:
        """Give the files, oldest first."""
        return sorted(self._folder.glob("????-??.jsonl"))


def encode_entry(request: Request, machines: Iterable[Machine]) -> str:
    """Give the archive's line for a request and its machines."""
    return to_json({"request": encode_request(request), "machines": [encode_machine(one) for one in machines]})


def id_of(line: bytes) -> str | None:
    """Give the id of the request that a line is about; `None` if it is no such line, as one that a death has cut."""
    try:
        entry = json.loads(line)
        request_id, *others = entry["request"]["request_id"], *(machine["instance_id"] for machine in entry["machines"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return request_id if all(isinstance(each, str) for each in (request_id, *others)) else None


def decode_entry(line: bytes) -> Entry:
    """Read a line that `id_of` knows.

    Raises:
        StoreUntrusted: A record in it is wrong.
    """
    entry = json.loads(line)
    return Entry(
        decode_request(entry["request"]["request_id"], entry["request"]),
        tuple(decode_machine(record["instance_id"], record) for record in entry["machines"]),
    )
