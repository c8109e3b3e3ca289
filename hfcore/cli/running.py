"""Own what a command runs with: the settings, the log, the clock and the plug-ins, made into a `Service`.

Host Factory's verbs use it too: what a call does not need is not imported.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from hfcore.config import find_folders, load_settings
from hfcore.environment import fingerprint
from hfcore.errors import ConfigError, InputError
from hfcore.models import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from logging import Logger

    from hfcore.cli.output import Mode, Output
    from hfcore.config import Settings
    from hfcore.context import Memory
    from hfcore.plugins import Plugins
    from hfcore.service import Service


class SystemClock:
    """The system's time."""

    def now(self) -> datetime:
        """Give the UTC time."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give seconds that only grow."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def open_service(provider: str | None = None, *, flags: Mapping[str, str] = EMPTY, debug: bool = False) -> Service:
    """Make the use cases of one provider instance.

    Args:
        provider: `--provider NAME|DIR`; without it, the environment names the instance.
        flags: Setting name to text, for settings that a flag gives.
        debug: Also log to stderr, from level debug.

    Raises:
        ConfigError: No provider instance is named, or its settings are wrong.
        StoreError: Its store can't be trusted, or can't be made.
    """
    settings = load_settings(environ=os.environ, provider=provider, flags=flags)
    log = cache(lambda: _open_log(settings, debug=debug))
    if debug or settings.log_level.casefold() == "debug":  # such lines come from everywhere
        log()
    return make_service(settings, log)


def make_service(settings: Settings, log: Callable[[], Logger]) -> Service:
    """Make the use cases over settings that are read already; `log` is called with the first line."""
    from hfcore.memory import FileMemory
    from hfcore.service import Service

    clock = SystemClock()
    return Service(
        settings=settings,
        plugins=lambda: open_plugins(settings, log(), FileMemory.of(settings, clock)),
        fingerprint=fingerprint,
        clock=clock,
        log=log,
    )


def _open_log(settings: Settings, *, debug: bool) -> Logger:
    from hfcore.logs import open_log

    return open_log(settings, debug=debug)


def open_plugins(settings: Settings | None, logger: Logger, memory: Memory | None = None) -> Plugins:
    """Find the installed plug-ins, none of them imported yet; without settings none is pinned or disabled.

    Args:
        settings: The settings.
        logger: Where what is wrong with one is told.
        memory: Where their entry points are kept; without it all distributions are looked through.
    """
    from hfcore import hookspecs
    from hfcore.plugins import Plugins, installed

    return Plugins(
        installed(hookspecs.PROVIDERS, memory),
        logger=logger,
        pins=settings.plugins if settings else None,
        disabled=settings.disabled_plugins if settings else (),
        observers=installed(hookspecs.OBSERVERS, memory),
        trace=bool(settings and settings.trace_plugins),
    )


def agree(question: str, *, yes: bool) -> None:
    """Let a person agree to what can't be undone.

    Args:
        question: What is to be done, as a question.
        yes: Whether they have agreed by `--yes` already.

    Raises:
        InputError: Nobody has agreed.
    """
    import typer

    if not (yes or (sys.stdin and sys.stdin.isatty() and typer.confirm(question, err=True))):
        raise InputError(f"nothing was done, as nobody has agreed: {question}", hint="agree by --yes")


def _leave_stdout() -> None:
    """Leave stdout to `Output`, which has it by now: what plug-ins print until the command ends goes to stderr."""
    if sys.stdout is not None:  # closed by the caller
        sys.stdout = sys.stderr


@dataclass(slots=True, kw_only=True)
class Session:
    """One command of a person's: what the options before or behind it say.

    Args:
        provider: `--provider NAME|DIR`, or empty.
        debug: Also log to stderr, and show tracebacks.
        output: Where the command's result goes.
        output_flag: What `--output` says, if it is given.
    """

    output: Output
    output_flag: Mode | None = None
    provider: str = ""
    debug: bool = False

    def service(self) -> Service:
        """Make the use cases of the provider instance; see `open_service`."""
        _leave_stdout()
        return open_service(self.provider or None, debug=self.debug)

    def settings(self) -> Settings | None:
        """Read the settings of the provider instance; `None` where none is named.

        Raises:
            ConfigError: One is named, and its folders or settings are wrong.
        """
        _leave_stdout()
        if not self.provider:
            try:
                find_folders(os.environ)
            except ConfigError:
                return None
        return load_settings(environ=os.environ, provider=self.provider or None)

    def plugins(self) -> Plugins:
        """Find the installed plug-ins, with the provider instance's settings where one is named."""
        settings = self.settings()
        return open_plugins(settings, _open_log(settings, debug=self.debug)) if settings else self.plugins_alone()

    def plugins_alone(self) -> Plugins:
        """Find the installed plug-ins, none pinned or disabled, whatever instance is named."""
        import logging

        return open_plugins(None, logging.getLogger("hfcore"))
