"""Own the small facts worth keeping between calls, on one file that may be lost at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hfcore.errors import StoreError
from hfcore.files import FileLock, make_private_folder, read_checked, refuse_foreign_owner, replace_checked
from hfcore.records import plain

if TYPE_CHECKING:
    from pathlib import Path

    from hfcore.config import Settings
    from hfcore.context import Clock

MOST_ENTRIES: Final = 1000

LAST_RECONCILED: Final = "reconcile"
"""Key under which it is remembered when cloud and records were last held against each other unasked."""

_LOCK_TIMEOUT: Final = 1.0

_SKEW: Final = 60.0  # seconds by which clocks of two hosts may differ; what is younger is of a clock set back since


class FileMemory:
    """The `hfcore.context.Memory` on a checked file: key to `[time, value]`. Safe between processes and threads.

    Where the file can't be read or written, things are forgotten, and nothing else happens. At most 1,000 entries are
    kept; the oldest go first. Values must not be secrets.

    Args:
        path: The file, `<work>/cache/memory.json`; made, with its folder, at the first `remember`.
        clock: Gives the time of what is remembered.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._entries: dict[str, list[Any]] | None = None

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> FileMemory:
        """Open the memory of a provider instance."""
        return cls(settings.work_dir / "cache" / "memory.json", clock=clock)

    def recall(self, key: str, max_age: float | None = None) -> Any:  # noqa: ANN401 - any JSON value
        """Give what was remembered, or `None` if it is unknown, older than `max_age` seconds or of a time to come."""
        if self._entries is None:
            self._entries = self._read()
        written, value = self._entries.get(key, (0.0, None))
        if max_age is not None and not -_SKEW <= self._clock.now().timestamp() - written <= max_age:
            return None
        try:
            return plain(value)
        except ValueError:  # a number that only a damaged file can hold
            return None

    def remember(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Keep a JSON value; what other processes have remembered meanwhile is kept too.

        Raises:
            ValueError: It is not a JSON value.
        """
        entry = [self._clock.now().timestamp(), plain(value)]
        self._entries = (self._entries or {}) | {key: entry}
        try:
            self._write(key, entry)
        except StoreError as error:
            _log("%s is not remembered: %s", key, error)

    def _write(self, key: str, entry: list[Any]) -> None:
        folder = self._path.parent
        make_private_folder(folder)
        refuse_foreign_owner(folder)
        with FileLock(self._path.with_name(f"{self._path.name}.lock"), _LOCK_TIMEOUT):
            entries = _newest(self._read() | {key: entry})
            replace_checked(self._path, entries)
        self._entries = entries

    def _read(self) -> dict[str, list[Any]]:
        found = read_checked(self._path)
        if not isinstance(found, dict):
            _log("nothing is remembered: %s is missing, damaged or another user's", self._path)
            return {}
        return {key: entry for key, entry in found.items() if _is_entry(entry)}


def _log(text: str, *arguments: object) -> None:
    import logging  # which calls that go well can do without

    logging.getLogger(__name__).debug(text, *arguments)


def _newest(entries: dict[str, list[Any]]) -> dict[str, list[Any]]:
    if len(entries) <= MOST_ENTRIES:
        return entries
    return dict(sorted(entries.items(), key=lambda item: item[1][0])[-MOST_ENTRIES:])


def _is_entry(entry: object) -> bool:
    match entry:
        case [float(), _]:
            return True
    return False
