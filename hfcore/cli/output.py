"""Own what the command line prints and its exit codes: the only place that prints, the verbs' JSON apart.

stdout is the result: a table on a terminal, JSON in a pipe. stderr is for people.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum, IntEnum, StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TextIO

from hfcore.errors import CloudError, ConfigError, HfcoreError, PluginError
from hfcore.logs import trace
from hfcore.records import encode_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, RenderableType
    from rich.table import Table

    Item = dict[str, Any]
    Columns = Mapping[str, Callable[[Item], object]]

MODE_VARIABLE = "HFCORE_OUTPUT"
_UNLIMITED_WIDTH = 10_000

_STYLES = {
    "active": "green",
    "completed": "green",
    "ok": "green",
    "running": "green",
    "cancelled": "yellow",
    "completed_with_errors": "yellow",
    "conflict": "yellow",
    "incompatible": "yellow",
    "warning": "yellow",
    "disabled": "dim",
    "kept": "dim",
    "not checked": "dim",
    "stopped": "dim",
    "terminated": "dim",
    "error": "red",
    "failed": "red",
}


class Mode(StrEnum):
    """How a result is printed."""

    AUTO = "auto"  # a table on a terminal, JSON in a pipe
    TABLE = "table"
    JSON = "json"


class ExitCode(IntEnum):
    """How a command ended, each with its meaning."""

    OK = 0, "done"
    FAILED = 1, "not done; the error says why. Host Factory's verbs know no other but 0"
    USAGE = 2, "the words of the command line can't be understood"
    CONFIG = 3, "a setting, a folder or a template is wrong"
    PLUGIN = 4, "a plug-in is missing, broken or incompatible"
    PROVIDER = 5, "the cloud refused"
    TEMPFAIL = 75, "the same command may go well later"
    INTERRUPTED = 130, "by Ctrl-C"

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Take the meaning beside the code."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


def exit_code(error: HfcoreError) -> ExitCode:
    """Give the exit code that an error ends a command with."""
    if is_retryable(error):
        return ExitCode.TEMPFAIL
    kinds = {ConfigError: ExitCode.CONFIG, PluginError: ExitCode.PLUGIN, CloudError: ExitCode.PROVIDER}
    return next((code for kind, code in kinds.items() if isinstance(error, kind)), ExitCode.FAILED)


def is_retryable(error: HfcoreError) -> bool:
    """Tell whether the same command may go well later; of a cloud's refusal its fault knows."""
    return error.retryable or (isinstance(error, CloudError) and error.fault.retryable)


def chosen_mode(flag: Mode | None) -> Mode:
    """Give the mode that `--output` or `HFCORE_OUTPUT` asks for.

    Raises:
        ConfigError: The variable holds something else.
    """
    word = flag or os.environ.get(MODE_VARIABLE) or Mode.AUTO
    try:
        return Mode(word)
    except ValueError:
        raise ConfigError(f"{MODE_VARIABLE} is {word!r}, and must be auto, table or json") from None


def as_json(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Give a value of hfcore's, records included, as JSON values; times as UTC ISO 8601, keys in snake case."""
    if is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "items"):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset, set)):
        return [as_json(item) for item in (sorted(value) if isinstance(value, (frozenset, set)) else value)]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return encode_time(value)  # type: ignore[arg-type]  # hfcore has no dates without a time
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)


class Output:
    """Where the results of one command go.

    Args:
        mode: As a table, as JSON, or as stdout is one of a terminal or not.
        colour: Whether a terminal may get colours; `NO_COLOR` in the environment forbids them too.
    """

    def __init__(self, mode: Mode = Mode.AUTO, *, colour: bool = True) -> None:
        self._stdout = sys.stdout  # a `Session` points the name elsewhere
        self._colour = colour and not os.environ.get("NO_COLOR")
        self.is_json = mode is Mode.JSON or (mode is Mode.AUTO and not self._is_terminal())

    def rows(self, kind: str, items: Iterable[Item], columns: Columns, *, empty: str, **further: object) -> None:
        """Print a list.

        Args:
            kind: What it lists, such as `plugins`: its JSON has the schema `hfcore/plugins/v1`.
            items: The entries, as JSON values.
            columns: Heading to what a table shows of an item, in one or more lines.
            empty: What to say for an empty table.
            further: More keys of the JSON, beside `schema` and `items`.
        """
        listed = list(items)
        if self.is_json:
            self._json({"schema": f"hfcore/{kind}/v1", "items": listed, **further})
        elif listed:
            rows = [[show(item) for show in columns.values()] for item in listed]
            self._console().print(_table(rows, list(columns)))
        else:
            self.text(empty)

    @contextmanager
    def live(self, kind: str, columns: Columns, *, key: str) -> Iterator[Callable[[Iterable[Item]], None]]:
        """Show a list that changes, for as long as the block runs: a table that is drawn anew, or JSON lines.

        Args:
            kind: What it lists; a line has the schema `hfcore/<kind>/v1`.
            columns: Heading to what a table shows of an item; that may be a bar.
            key: The field by which items are told apart: a line is printed for each one that has changed.

        Yields:
            What is called with the list as it now is.
        """
        if self.is_json:
            yield partial(self._tell_changes, kind, key, {})
            return
        from rich.live import Live

        with Live(console=self._console(), auto_refresh=False) as screen:
            yield lambda items: screen.update(
                _table([[show(item) for show in columns.values()] for item in items], list(columns)), refresh=True
            )

    def _tell_changes(self, kind: str, key: str, told: dict[str, Item], items: Iterable[Item]) -> None:
        for item in items:
            if told.get(item[key]) != item:
                self.text(json.dumps({"schema": f"hfcore/{kind}/v1", **item}))
                told[item[key]] = item

    def details(self, kind: str, items: Iterable[Item]) -> None:
        """Print all there is to know of one thing, or of the few that share its name: a line for each field."""
        listed = list(items)
        if self.is_json:
            self._json({"schema": f"hfcore/{kind}/v1", "items": listed})
        for item in () if self.is_json else listed:
            rows = [[name, _lines(value)] for name, value in item.items()]
            self._console().print(_table(rows, ["FIELD", "VALUE"]))

    def text(self, text: str) -> None:
        """Print a text as it is."""
        self._print(self._stdout, text)

    def note(self, text: str, *, word: str = "note") -> None:
        """Tell people something beside the result."""
        self._print(sys.stderr, f"{word}: {_printable(text)}")

    def error(self, code: str, message: str, hint: str = "", *, retryable: bool = False) -> None:
        """Say what went wrong: to people on stderr, and as JSON on stdout where that was asked for."""
        if self.is_json:
            self._json({"error": {"code": code, "message": message, "hint": hint, "retryable": retryable}})
        self._print(sys.stderr, f"error[{code}]: {_printable(message)}")
        if hint:
            self._print(sys.stderr, f"hint: {_printable(hint)}")

    def traceback(self, error: BaseException) -> None:
        """Show where an error comes from, without secrets."""
        self._print(sys.stderr, _printable(trace(error)))

    def _json(self, document: Item) -> None:
        self._print(self._stdout, json.dumps(document, indent=2))

    def _console(self) -> Console:
        from rich.console import Console

        if self._stdout:
            self._stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # the encoding is the terminal's
        return Console(
            file=self._stdout,
            width=None if self._is_terminal() else _UNLIMITED_WIDTH,
            color_system="auto" if self._colour else None,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def _is_terminal(self) -> bool:
        return self._stdout is not None and self._stdout.isatty()

    @staticmethod
    def _print(stream: TextIO | None, text: str) -> None:
        if stream is None:  # closed by the caller
            return
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()  # a pipe that nobody reads is found out here, not at the end of the process


def _table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")  # an id is never cut, however narrow the terminal
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: object) -> RenderableType:
    """Give a text whose first line has the colour of its word; what rich draws itself stays as it is."""
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    if isinstance(value, ProgressBar):
        return value
    cell = Text(_printable(str(value)))
    word = cell.plain.partition("\n")[0]
    cell.stylize(_STYLES.get(word, ""), 0, len(word))
    return cell


def _lines(value: object) -> str:
    """Give a JSON value as lines for people; nothing for what is not set."""
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_line(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(_line(item) for item in value)
    return _line(value)


def _line(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_line(item)}" for key, item in value.items() if item not in (None, "", [], {}))
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _printable(text: str) -> str:
    """Take out of a text what would move a terminal's cursor: it may come from a file or from a cloud."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
