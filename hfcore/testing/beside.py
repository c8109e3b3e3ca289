r"""Own a reader beside a store: a process that reads its files again and again while others write them.

>>> with Beside(site.data) as beside:
...     ...                                             # calls, many at once
>>> assert not beside.troubles, "\n".join(beside.troubles)

No file may ever be unparsable, no record that was there once may be lost, and no request may name a machine that is
nowhere.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hfcore.storefolder import ARCHIVE_FOLDER, JOURNAL_FOLDER, MACHINES_FILE, META_FILE, STORAGE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

REST = 4.0
"""So many times as long as a reading takes, the reader leaves the processor to those who write."""

SHORTEST_REST = 0.005
MOST_TROUBLES = 20
_READY = b"ready\n"


class Beside:
    """The reader's process, from the beginning of the block to its end.

    Attributes:
        readings: How often it has read everything.
        troubles: What it found, a sentence each; the first ones, each once.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self.readings = 0
        self.troubles: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "hfcore.testing.beside", self._data],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == _READY
        return self

    def __exit__(self, *_: object) -> None:
        told = self._process.communicate()[0]  # it ends with its input
        found = json.loads(told)
        self.readings, self.troubles = found["readings"], found["troubles"]


class _Reader:
    """What the process knows: the ids that it has ever seen, and what went wrong."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._seen = set[str]()
        self.readings, self.troubles = 0, list[str]()

    def read(self) -> None:
        """Read everything once."""
        if not self._data.exists():
            return
        self.readings += 1
        self._parse(META_FILE)
        requests, machines = self._parse(STORAGE_FILE), self._parse(MACHINES_FILE)
        named = {name for one in requests.values() for name in one.get("machine_ids", ())}
        nowhere, lost = named - machines.keys(), self._seen - requests.keys()
        if nowhere or lost:
            archived = {name for line in self._archived() for name in _ids(line)}
            self._trouble(f"named in {STORAGE_FILE}, and nowhere", nowhere - archived)
            self._trouble(f"was in {STORAGE_FILE}, and is nowhere", lost - archived)
        self._seen |= requests.keys()
        for path in (self._data / JOURNAL_FOLDER).glob("[!.]*.json"):
            self._parse(str(path.relative_to(self._data)), lasting=False)

    def _parse(self, name: str, *, lasting: bool = True) -> dict[str, Any]:
        """Parse one file; only an intent may be gone by the time that it is read."""
        text = b""
        try:
            text = (self._data / name).read_bytes()
            found = json.loads(text)
        except FileNotFoundError:
            self._trouble("is gone", {name} if lasting else set())
        except (OSError, ValueError) as error:
            self._trouble(f"can't be read: {error}: {text[-80:]!r}", {name})
        else:
            if isinstance(found, dict):
                return found
            self._trouble("is no object", {name})
        return {}

    def _archived(self) -> Iterator[bytes]:
        for path in (self._data / ARCHIVE_FOLDER).glob("*.jsonl"):
            yield from path.read_bytes().splitlines()

    def _trouble(self, what: str, subjects: set[str]) -> None:
        trouble = f"{', '.join(sorted(subjects))}: {what}"
        if subjects and trouble not in self.troubles and len(self.troubles) < MOST_TROUBLES:
            self.troubles.append(trouble)


def _ids(line: bytes) -> Iterator[str]:
    """Name what a line of the archive has; one that is just being written has nothing yet."""
    try:
        entry = json.loads(line)
    except ValueError:
        return
    yield entry["request"]["request_id"]
    yield from (machine["instance_id"] for machine in entry["machines"])


def main() -> int:
    """Read until the input ends, then tell what was found."""
    reader, rest = _Reader(Path(sys.argv[1])), 0.0
    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    while not select.select([sys.stdin], [], [], max(rest, SHORTEST_REST))[0]:
        begun = time.monotonic()
        reader.read()
        rest = REST * (time.monotonic() - begun)
    sys.stdout.write(json.dumps({"readings": reader.readings, "troubles": reader.troubles}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
