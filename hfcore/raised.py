"""Own what is told of an exception that a plug-in should not have raised. Pure.

Its text may hold what a template does, so of that nothing is told: only the type, and where it was raised. Loaded once
there is such an exception.
"""

from __future__ import annotations

from traceback import format_tb
from typing import TYPE_CHECKING

from hfcore.errors import word

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_STEPS = 30


def raised(error: BaseException, module: str) -> str:
    """Say what a plug-in raised, and at which line of its own.

    Args:
        error: The exception.
        module: The plug-in's module, as its entry point names it.
    """
    try:
        places = [*_places(error)]
        package = module.partition(".")[0]
        own = [place for place in places if place[0].partition(".")[0] == package]
        name, line = (own or places)[-1]
        return f"{word(type(error).__name__)} at {word(name)}:{line}"
    except Exception:  # noqa: BLE001 - an exception may be made so that whatever looks at it fails
        return "what can't be told"


def steps(error: BaseException) -> str:
    """Give the lines of code that led to an exception, as a traceback has them, without its text."""
    try:
        return "".join(format_tb(error.__traceback__, limit=-_MOST_STEPS)).rstrip()
    except Exception:  # noqa: BLE001 - as above
        return "how it came to that can't be told"


def _places(error: BaseException) -> Iterator[tuple[str, int]]:
    step = error.__traceback__
    while step:
        yield str(step.tb_frame.f_globals.get("__name__")), step.tb_lineno
        step = step.tb_next
