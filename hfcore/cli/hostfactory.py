"""Own the five Host Factory verbs: from words to one JSON document on stdout and an exit code.

Whatever happens in between, plug-ins that print and libraries that warn included, stdout gets that document alone, and
stderr nothing while the call goes well: some callers read both as one.
"""

from __future__ import annotations

import getopt
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfcore.errors import Bug, HfcoreError, InputError, Interrupted, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.service import Service

VERBS = (
    "getAvailableTemplates",
    "requestMachines",
    "getRequestStatus",
    "requestReturnMachines",
    "getReturnRequests",
)
"""The verbs, named as Host Factory names its scripts."""

INPUT_OPTIONAL = frozenset({"getAvailableTemplates", "getReturnRequests"})
STANDARD_INPUT = "-"
_SHORT = "f:o:"
_OPTIONS = ("file=", "data=", "provider=", "debug", "output=", "no-color")
TEMPLATE_AND_COUNT = 2
STANDARD_ERROR = 2
SILENCE = 10.0
"""Seconds after which a pipe that is named as input, and says nothing, is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbOptions:
    """The words of one call.

    Args:
        verb: `getAvailableTemplates`, `requestMachines`, `requestReturnMachines`, `getRequestStatus` or
            `getReturnRequests`.
        file: Path of the input; `-` is standard input.
        data: The input itself, as JSON.
        words: The input by hand: `TEMPLATE COUNT`, request ids, or machine ids.
        provider: The provider instance: its name or its folder.
        debug: Also log to stderr, and show tracebacks.
        problem: What is wrong with the words themselves.
    """

    verb: str
    file: str | None = None
    data: str | None = None
    words: tuple[str, ...] = ()
    provider: str = ""
    debug: bool = False
    problem: str = ""


def without_group(arguments: list[str], group: str) -> list[str]:
    """Give the words of a verb, before whose group options may stand; of another command none."""
    try:
        _, rest = getopt.getopt(arguments, _SHORT, _OPTIONS)
    except getopt.GetoptError:  # if it is a verb's, the caller is told by a document
        return [word for word in arguments if word != group]
    return [*arguments[: len(arguments) - len(rest)], *rest[1:]] if rest[:1] == [group] else []


def parse_words(words: list[str]) -> VerbOptions | None:
    """Read `VERB [-f FILE] [--data JSON] [--provider NAME|DIR] [--debug] [WORD …]`; `None` leaves it to Typer.

    What says how a person's commands are printed may stand there too: a verb's answer is JSON.
    """
    verb = next((word for word in words if word in VERBS), None)
    if verb is None or "--help" in words:
        return None
    os.environ.pop("POSIXLY_CORRECT", None)  # with it, getopt takes the options behind a verb for words
    try:
        found, rest = getopt.gnu_getopt(words, _SHORT, _OPTIONS)
    except getopt.GetoptError as error:
        return VerbOptions(verb=verb, problem=error.msg)
    given = {"--file" if name == "-f" else name: value for name, value in found}
    if not rest or rest[0] != verb:
        return VerbOptions(verb=verb, problem=f"the verb {verb} comes first, not {' '.join(rest)}")
    return VerbOptions(
        verb=verb,
        file=given.get("--file"),
        data=given.get("--data"),
        words=tuple(rest[1:]),
        provider=given.get("--provider", ""),
        debug="--debug" in given,
    )


def run(options: VerbOptions) -> int:
    """Carry out a verb: print one JSON document, and give the exit code, 0 or 1."""
    if sys.stdout is None:  # closed by the caller: nobody would learn the id of what is asked for
        return 1
    answers, people = _take_streams(keep_stderr=options.debug)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    later: list[Callable[[], None]] = []
    document, code = _answer(options, later)
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace")
    try:
        _write(answers, text + b"\n")
        if code:
            _write(people, f"{_on_one_line(document['message'])}\n".encode("utf-8", "backslashreplace"))
    except OSError:  # nobody reads the answer, which may name an id: it is left where people look
        with suppress(OSError):
            _write(people, text + b"\n")
        code = 1
    os.close(answers)
    for work in later:  # whatever becomes of it, the answer has been given
        with suppress(BaseException):
            work()
    return code


def _answer(options: VerbOptions, later: list[Callable[[], None]]) -> tuple[dict[str, Any], int]:
    """Give the answer, whatever happens: a damaged installation and a plug-in that exits included."""
    try:
        return _outcome(options, later)
    except KeyboardInterrupt:
        return {"message": f"{Interrupted.code}: interrupted; what was begun is stored, and is gone on with"}, 1
    except BaseException as error:  # noqa: BLE001 - the last boundary: a fault of ours becomes an answer too
        log = ""
        with suppress(Exception):  # it may be the log itself that can't be imported
            from hfcore.logs import log_bug

            log = log_bug(error, debug=options.debug)
        where = f"; see {log}" if log else ""
        return {"message": f"{Bug.code}: a bug in hfcore: {told(error)}{where}"}, 1


def _outcome(options: VerbOptions, later: list[Callable[[], None]]) -> tuple[dict[str, Any], int]:
    from hfcore.hostfactory import failure_document

    try:
        text = _input_text(options)
        from hfcore.cli.running import open_service

        service = open_service(options.provider or None, debug=options.debug)
        service.later = later.append
        return _handle(service, options, text), 0
    except HfcoreError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return failure_document(f"{error.code}: {error}{hint}"), 1


def _handle(service: Service, options: VerbOptions, text: bytes | None) -> dict[str, Any]:
    from hfcore import hostfactory as wire

    document = wire.parse(text, options.file or "input") if text is not None else _by_hand(service, options)
    if options.verb == "getAvailableTemplates":
        service.templates.require_any()
        return wire.templates_document(service.available_templates(), service.templates.problems)
    lsf = service.settings.under_lsf
    if options.verb == "requestMachines":
        wanted = wire.machines_wanted(document)
        more = {"tags": wanted.tags, "user_data": wanted.user_data}
        return wire.answer_document(service.request_machines(wanted.template_id, wanted.count, **more))
    if options.verb == "getRequestStatus":
        ids = wire.request_ids(document, lsf=lsf)
        return wire.status_document(service.request_status(ids), lsf=lsf)
    if options.verb == "requestReturnMachines":
        refs = wire.machine_refs(document, needed=True, lsf=lsf)
        return wire.answer_document(service.request_return(refs))
    return wire.return_requests_document(service.return_requests(wire.machine_refs(document, needed=False)))


def _by_hand(service: Service, options: VerbOptions) -> dict[str, Any]:
    """Make the input document of words that a person typed."""
    from hfcore.hostfactory import machines_by_hand

    words = options.words
    if options.verb == "requestMachines":
        if len(words) != TEMPLATE_AND_COUNT:
            raise InputError("requestMachines takes a template and a count", hint="or the input by -f FILE")
        return {"template": {"templateId": words[0], "machineCount": words[1]}}
    if options.verb == "getRequestStatus":
        return {"requests": [{"requestId": word} for word in words]}
    if options.verb == "getAvailableTemplates" and words:
        raise InputError("getAvailableTemplates takes no words")
    return machines_by_hand(words, service.store.read())


def _input_text(options: VerbOptions) -> bytes | None:
    """Give the input as text; `None` where it was typed by hand.

    Standard input is read without being asked for only where the verb can't do without: Host Factory may call the
    others with a stream that never ends.
    """
    if options.problem:
        raise InputError(options.problem, hint=f"see: hfcore hostfactory {options.verb} --help")
    ways = {"-f": options.file, "--data": options.data, "words": options.words or None}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"input was given in more than one way: {' and '.join(given)}")
    if options.data is not None:
        return options.data.encode("utf-8", "surrogateescape")
    if options.words:
        return None
    if options.file is not None and options.file != STANDARD_INPUT:
        return _read_file(options.file)
    if options.file or options.verb not in INPUT_OPTIONAL:
        return _read_standard_input(options)
    return b""


def _read_file(path: str) -> bytes:
    from stat import S_ISFIFO

    from hfcore.bounds import MOST_BYTES

    try:
        if S_ISFIFO(os.stat(path).st_mode):  # noqa: PTH116 - at start-up, each import counts
            return _read_pipe(path, MOST_BYTES + 1)
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"input file {path}: {getattr(error, 'strerror', None) or error}") from None


def _read_pipe(path: str, most: int) -> bytes:
    """Read a pipe, such as a shell's `<(…)`, until it is closed; one that says nothing for `SILENCE` is given up."""
    from select import select

    found = b""
    # Opening one that nobody writes to would wait for somebody.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:  # noqa: PTH123 - as above
        while select([pipe], [], [], SILENCE)[0]:
            part = pipe.read(most - len(found))
            found += part or b""
            if not part:
                return found
    raise InputError(f"input file {path}: it is a pipe, and nothing has come for {SILENCE:g} s")


def _read_standard_input(options: VerbOptions) -> bytes:
    from hfcore.bounds import MOST_BYTES

    if sys.stdin is None or (sys.stdin.isatty() and not options.file):
        raise InputError(f"{options.verb} needs input", hint="give it by -f FILE, --data JSON, or by hand")
    return sys.stdin.buffer.read(MOST_BYTES + 1)


def _take_streams(*, keep_stderr: bool) -> tuple[int, int]:
    """Keep both streams for the answer alone: what anyone else prints, until the process ends, goes nowhere.

    A caller may have closed any of the three standard descriptors: what is kept must not take the place of one.
    """
    if sys.stdout is not None:
        sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    while nowhere <= STANDARD_ERROR:  # fills the closed ones
        nowhere = os.dup(nowhere)
    answers, people = os.dup(1), os.dup(STANDARD_ERROR)
    os.dup2(nowhere, 1)
    if not keep_stderr:
        os.dup2(nowhere, STANDARD_ERROR)
    os.close(nowhere)
    return answers, people


def _on_one_line(text: str) -> str:
    """Give a text as the log has it: a caller's may move a terminal's cursor, or look like a second message."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
