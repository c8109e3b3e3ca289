"""Own one file of records as a TinyDB table: parsed once, decoded when asked for, changed and written at once.

TinyDB is imported with the first change: most calls only look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from hfcore.files import NewFile, read_json
from hfcore.records import format_records, lines_of, parse_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from hfcore.records import Form

T = TypeVar("T")

_TABLE: Final = "_default"


class Records(Generic[T]):
    """The records of one file: decoded when asked for; changes are collected and applied together."""

    def __init__(self, path: Path, form: Form[T]) -> None:
        self._file = RecordFile(path)
        self._form = form
        self._decoded: dict[str, T] = {}
        self._changed: dict[str, tuple[T, dict[str, Any]]] = {}
        self._removed: set[str] = set()

    def load(self) -> None:
        """Read the file now; `StoreUntrusted` if it is missing or damaged."""
        self._file.read()

    def raw(self) -> Mapping[str, dict[str, Any]]:
        """Give the records as they are in the file, by key, not decoded."""
        return self._file.read()[_TABLE]

    def get(self, key: str) -> T | None:
        """Give a record, with its change if it has one."""
        if key in self._removed:
            return None
        if key in self._changed:
            return self._changed[key][0]
        return self._stored(key)

    def all(self) -> tuple[T, ...]:
        """Give all records, with their changes."""
        keys = dict.fromkeys((*self.raw(), *self._changed))
        return tuple(record for record in map(self.get, keys) if record is not None)

    def keys_where(self, field: str, accepts: Callable[[object], bool]) -> list[str]:
        """Give the keys of the records whose field is accepted, without decoding them."""
        records = {**self.raw(), **{key: changed for key, (_, changed) in self._changed.items()}}
        found = (key for key, record in records.items() if accepts(record.get(field)))
        return [key for key in found if key not in self._removed]

    def put(self, record: T) -> None:
        """Change or add a record."""
        key = getattr(record, self._form.key)
        if record == self._stored(key):
            self._changed.pop(key, None)
        else:
            self._changed[key] = (record, self._form.encode(record))

    def remove(self, keys: Iterable[str]) -> None:
        """Take records out."""
        self._removed.update(keys)

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._removed) or any(map(self._is_news, self._changed))

    def apply(self) -> bool:
        """Bring the changes into the table, each kind of them at once; say whether there is anything to write."""
        if not self.changed:
            return False
        from tinydb.table import Document

        stored, table = self.raw(), _table_of(self._file)
        fresh = {key: new for key, (_, new) in self._changed.items() if key not in self._removed}
        updates = {key: new for key, new in fresh.items() if key in stored}
        inserts = [Document(new, key) for key, new in fresh.items() if key not in stored]  # type: ignore[arg-type]
        removals = [key for key in self._removed if key in stored]
        if updates:
            table.update(lambda record: _overwrite(record, updates[record[self._form.key]]), doc_ids=[*updates])
        if inserts:
            table.insert_multiple(inserts)
        if removals:
            table.remove(doc_ids=removals)
        return True

    def prepare(self) -> NewFile:
        """Write the new file beside the old one, once `apply` has said that there is anything to write."""
        return self._file.prepare(self._changed)

    def _stored(self, key: str) -> T | None:
        if key not in self._decoded:
            record = self.raw().get(key)
            if record is None:
                return None
            self._decoded[key] = self._form.decode(key, record)
        return self._decoded[key]

    def _is_news(self, key: str) -> bool:
        stored = self._stored(key)
        return stored is None or self._form.encode(stored) != self._changed[key][1]


def _overwrite(record: dict[str, Any], new: dict[str, Any]) -> None:
    record.clear()
    record.update(new)


def _table_of(file: RecordFile) -> Any:  # noqa: ANN401 - TinyDB's types know int ids only
    """Give a file's records as a TinyDB table whose documents are named by strings."""
    from tinydb import TinyDB
    from tinydb.table import Table

    class StringIds(Table):
        document_id_class = str  # type: ignore[assignment]  # TinyDB's documented way, though its types say int

    class Database(TinyDB):
        table_class = StringIds

    return Database(storage=lambda: file).table(_TABLE, cache_size=0)


class RecordFile:
    """A TinyDB storage: its default table is the top level of one JSON file, a record a line.

    Read once. What TinyDB writes is kept until `prepare`, which writes it down beside the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._keys: tuple[str, ...] = ()
        self._records: dict[str, Any] | None = None

    def read(self) -> dict[str, dict[str, Any]]:
        """Give the file's records as TinyDB's default table.

        Raises:
            StoreUntrusted: The file is missing, unreadable, or not an object of objects.
        """
        if self._records is None:
            self._records = read_json(self._path, self._parse)
        return {_TABLE: self._records}

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Keep what TinyDB wants written."""
        self._records = data[_TABLE]

    def prepare(self, changed: Iterable[str]) -> NewFile:
        """Write the records beside the file; those not named in `changed` go as the lines that they came from.

        Raises:
            StoreNotWritable: The file is as before.
        """
        lines = lines_of(self._text, self._keys)
        for key in changed:
            lines.pop(key, None)
        return NewFile(self._path, format_records(self._records or {}, lines).encode())

    def _parse(self, text: str) -> dict[str, Any]:
        records = parse_records(text)
        self._text, self._keys = text, tuple(records)
        return records
