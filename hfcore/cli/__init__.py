"""Own the way in: Host Factory's verbs go straight to their functions, everything else to the Typer application."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP = "hostfactory"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    A Host Factory call is one short process, and Typer costs more than the call itself: so the verbs are sent to their
    functions before it is imported. The same functions stand in Typer, which has the help.

    Args:
        argv: The arguments without the program's name; those of this process by default.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if GROUP in arguments:
        gc.disable()  # the process is short: what it leaves in cycles is little, and goes with it
        from hfcore.cli.hostfactory import parse_words, run, without_group

        options = parse_words(without_group(arguments, GROUP))
        if options is not None:
            code = run(options)
            gc.freeze()  # nor are they looked for at its end
            return code
        gc.enable()
    from hfcore.cli.app import run as run_application

    return run_application(arguments)
