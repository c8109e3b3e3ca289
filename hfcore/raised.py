"""Own what is told of an exception that a plug-in should not have raised. Pure.

A text that somebody wrote may hold what a template does, so of that nothing is told: only the type, and where it was
raised. Loaded once there is such an exception.
"""

from __future__ import annotations

from opcode import opmap
from traceback import format_tb
from typing import TYPE_CHECKING, Final

from hfcore.errors import word

if TYPE_CHECKING:
    from types import TracebackType

_OF_NAMES: Final = {AttributeError, ImportError, ModuleNotFoundError, NameError, TypeError}


def raised(error: BaseException, module: str) -> str:
    """Say what a plug-in raised, and at which line of its own.

    Args:
        error: The exception.
        module: The plug-in's module, as its entry point names it.
    """
    places = [(str(step.tb_frame.f_globals.get("__name__")), step.tb_lineno) for step in _steps(error)]
    package = module.partition(".")[0]
    own = [place for place in places if place[0].partition(".")[0] == package]
    place, line = (own or places)[-1]
    return f"{word(type(error).__name__)} at {place}:{line}{_pythons_word(error)}"


def steps(error: BaseException) -> str:
    """Give the lines of code that led to an exception, as a traceback has them, without its text."""
    return "".join(format_tb(error.__traceback__)).rstrip()


def _pythons_word(error: BaseException) -> str:
    """Give the text that Python itself has made, of names and types: no `raise` stands where the exception began."""
    last = _steps(error)[-1]
    by_hand = last.tb_frame.f_code.co_code[last.tb_lasti] == opmap["RAISE_VARARGS"]
    return "" if by_hand or type(error) not in _OF_NAMES else f": {' '.join(str(error).split())}"


def _steps(error: BaseException) -> list[TracebackType]:
    found, step = [], error.__traceback__
    while step:
        found.append(step)
        step = step.tb_next
    return found
