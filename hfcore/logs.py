"""Own the log: one file for each provider instance, written by many short processes at once, and what may stand in it.

A log that can't be written never stops a call: the call goes on without.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from functools import cache
from time import gmtime
from typing import TYPE_CHECKING, Any

from hfcore.errors import HfcoreError, told, word
from hfcore.files import FileLock, make_private_folder, open_private

if TYPE_CHECKING:
    from pathlib import Path

    from hfcore.config import Settings

NAME = "hfcore"
TRACE = "hfcore.trace"
"""The logger of hook calls (`hfcore.tracing`)."""

FILE = "hfcore.log"
_LOCK = ".hfcore.log.lock"
_LOCK_PATIENCE = 1.0
_MEBIBYTE = 1024 * 1024
_HIDDEN = "***"
_MOST_CAUSES = 10

# Where no log is open, Python would print warnings and errors to stderr.
logging.getLogger(NAME).addHandler(logging.NullHandler())


def open_log(settings: Settings, *, debug: bool = False) -> logging.Logger:
    """Send what hfcore logs, and what its libraries warn of, to the provider instance's log file.

    The file is opened at the first line, and rotated then if it is full. What was opened before is closed.

    Args:
        settings: Folder, level, size and number of kept files.
        debug: Log to stderr as well, from level debug.
    """
    logger = logging.getLogger(NAME)
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    if settings.trace_plugins:
        level = min(level, logging.INFO)
    _close()
    logging.captureWarnings(capture=True)
    _attach(_LogFile(settings, level))
    logger.setLevel(level)
    if debug:
        log_to_stderr()
    elif settings.trace_plugins:  # a verb of Host Factory's has its stderr closed by then
        log_to_stderr(TRACE)
    return logger


def log_to_stderr(name: str = NAME) -> None:
    """Log to stderr, from level debug, or what one logger has alone; once, however often it is called."""
    if name == NAME:
        logging.getLogger(NAME).setLevel(logging.DEBUG)
    if not any(isinstance(handler, _LogStderr) for handler in logging.getLogger().handlers):
        handler = _LogStderr()
        if name != NAME:
            handler.addFilter(logging.Filter(name))
        _attach(handler)


def log_bug(error: BaseException, *, debug: bool = False) -> str:
    """Log an error that nobody expected, with its traceback.

    Args:
        error: The error.
        debug: Show the traceback on stderr too.

    Returns:
        The path of the log that has it; empty where there is none.
    """
    if debug:
        log_to_stderr()
    logging.getLogger(NAME).critical("a bug in hfcore: %s", type(error).__name__, exc_info=error)
    files = (handler for handler in logging.getLogger().handlers if isinstance(handler, _LogFile))
    return next((str(handler.path) for handler in files if handler.works), "")


def log_trouble(settings: Settings) -> str:
    """Say why the log can't be written; empty if it can. Writes nothing."""
    path = settings.log_dir / FILE
    place = next(each for each in (path, *path.parents) if each.exists())
    if _is_guest(place if place.is_dir() else place.parent):
        return f"there is no log: {place} belongs to another user, and this is root"
    if os.access(place, os.W_OK) and (place == path or place.is_dir()):
        return ""
    return f"there is no log: {place} can't be written"


def redact(text: str) -> str:
    """Take out of a text what looks like an AWS secret or user data."""
    for pattern, put in _secrets():
        text = pattern.sub(put, text)
    return text


def trace(error: BaseException) -> str:
    """Give an error and those that led to it, each with where it was raised.

    Texts of libraries are left out, and those of `ValueError`, which have the value.
    """
    from traceback import format_tb

    parts: list[str] = []
    one: BaseException | None = error
    while one is not None and len(parts) < _MOST_CAUSES:
        said = word(type(one).__name__) if isinstance(one, ValueError) else told(one)
        parts.append(f"Traceback (most recent call last):\n{''.join(format_tb(one.__traceback__))}{said}")
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return redact("\nwhich led to\n".join(reversed(parts)))


@cache
def _secrets() -> tuple[tuple[re.Pattern[str], str], ...]:
    quoted = r"""b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'"""
    key = r"aws_secret\w*|secret_?(?:access_?)?key|\w*(?:session|security)[-_]?token|password|authorization"
    return (
        # Access key ids: IAM, "Unique identifiers".
        (re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{12,}\b"), rf"\1{_HIDDEN}"),
        (re.compile(rf"""(?i)\b({key})(["']?\s*[:=]\s*)(?:{quoted}|[^\s,;}})&]+)"""), rf"\1\2{_HIDDEN}"),
        # Where user data ends can't be told unless it is quoted: then all that follows goes.
        (re.compile(rf"""(?is)\b(\w*user_?data)(["']?\s*[:=]\s*)(?:{quoted}|.+)"""), rf"\1\2{_HIDDEN}"),
    )


class _Formatter(logging.Formatter):
    """One record a line: UTC time, level, pid, logger, message. Further lines, such as tracebacks, are indented."""

    converter = staticmethod(gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(process)d %(name)s %(message)s")

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - logging's
        """Give a traceback without the texts of libraries."""
        return trace(ei[1]) if ei[1] else ""

    def format(self, record: logging.LogRecord) -> str:
        """Give the text without secrets, and without what would move a terminal's cursor."""
        record.exc_text = None  # another handler's, if any
        lines = redact(super().format(record)).splitlines()
        return "\n    ".join("".join(char if char.isprintable() else "?" for char in line) for line in lines)


class _LogFile(logging.Handler):
    """The log file; each record is one write at its end, so that processes do not mix their lines."""

    def __init__(self, settings: Settings, level: int) -> None:
        super().__init__(level)
        self.path = settings.log_dir / FILE
        self.works = True
        self._most_bytes = settings.log_max_file_size_mb * _MEBIBYTE
        self._kept = settings.log_max_rotate
        self._descriptor = -1

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a log that can't be written is given up for this process."""
        if not self.works:
            return
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception as error:  # noqa: BLE001 - a log call whose arguments do not fit is no reason to stop
            line = f"a line of {record.name} can't be formatted: {type(error).__name__}\n".encode()
        try:
            if self._descriptor < 0:
                self._descriptor = _open_file(self.path, self._most_bytes, self._kept)
            os.write(self._descriptor, line)
        except (OSError, HfcoreError):
            self.works = False

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()


class _LogStderr(logging.StreamHandler):  # type: ignore[type-arg]  # generic for mypy alone
    """The log on stderr, for `--debug`."""


def _attach(handler: logging.Handler) -> None:
    """Attach to the root, so that warnings of plug-ins and libraries are logged instead of printed."""
    handler.setFormatter(_Formatter())
    logging.getLogger().addHandler(handler)


def _close() -> None:
    logging.captureWarnings(capture=False)
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, (_LogFile, _LogStderr))]:
        root.removeHandler(handler)
        handler.close()


def _open_file(path: Path, most_bytes: int, kept: int) -> int:
    make_private_folder(path.parent)
    if _is_guest(path.parent):
        raise PermissionError
    if _is_full(path, most_bytes):
        _rotate(path, most_bytes, kept)
    return open_private(path, os.O_WRONLY | os.O_APPEND)


def _is_full(path: Path, most_bytes: int) -> bool:
    try:
        return path.stat().st_size >= most_bytes
    except FileNotFoundError:
        return False


def _rotate(path: Path, most_bytes: int, kept: int) -> None:
    """Move each file one number on; processes that have a moved one open go on writing there."""
    try:
        with FileLock(path.with_name(_LOCK), _LOCK_PATIENCE):
            if not _is_full(path, most_bytes):  # another process was faster
                return
            numbered = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, kept + 1))]
            numbered.pop().unlink(missing_ok=True)
            for number in range(len(numbered), 0, -1):
                if numbered[number - 1].exists():
                    numbered[number - 1].replace(path.with_name(f"{path.name}.{number}"))
    except (OSError, HfcoreError):
        return  # the file grows until a call can rotate it


def _is_guest(folder: Path) -> bool:
    """Tell whether root works in another user's folder, where a file of root's would shut its owner out."""
    return sys.platform != "win32" and os.geteuid() == 0 and folder.stat().st_uid != 0
