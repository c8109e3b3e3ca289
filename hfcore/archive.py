"""Own the archive: what is over for good, a line each in a file for each month."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hfcore.files import append_lines, find_lines, make_private_folder
from hfcore.records import decode_entry, encode_entry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hfcore.models import Machine, Request


class Archive:
    """Finished requests with their machines, a line each, in a file for each month. Appended to under the lock only."""

    def __init__(self, folder: Path, *, month: str) -> None:
        self._folder = folder
        self._path = folder / f"{month}.jsonl"

    def append(self, entries: Iterable[tuple[Request, tuple[Machine, ...]]]) -> None:
        """Add requests with their machines, synced; the same ones again do no harm."""
        make_private_folder(self._folder)
        append_lines(self._path, "".join(encode_entry(*entry) + "\n" for entry in entries).encode())

    def find(self, request_id: str) -> tuple[Request, tuple[Machine, ...]] | None:
        """Give a request, and each machine that any line of it has; the last line wins.

        A crash between the two hot files leaves the request there without its machines; its next line names none.
        """
        request: Request | None = None
        machines: dict[str, Machine] = {}
        for path in self._newest_first():
            for line in reversed(find_lines(path, json.dumps(request_id).encode())):
                entry = decode_entry(request_id, line)
                if entry is not None:
                    request = request or entry[0]
                    machines = {machine.instance_id: machine for machine in entry[1]} | machines
            if request is not None and machines.keys() >= set(request.machine_ids):
                break
        return None if request is None else (request, tuple(machines.values()))

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("????-??.jsonl"), reverse=True)
