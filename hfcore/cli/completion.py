"""Own what the shell completes words with: names in files and records. No cloud is asked, no plug-in imported.

Whatever goes wrong, nothing is offered: a half-typed command is no place for an error.
"""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import typer  # noqa: TC002, TID253 - Typer reads the annotations; imported with the commands, whose words these are

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hfcore.config import Settings
    from hfcore.store import State

    Complete = Callable[[str], list[str]]

_WORDS = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""Variables in which a shell gives the line so far: bash, and the others."""


class _Name(str):
    """A name that begins as typed in any case; Typer asks that of it, too."""

    __slots__ = ()

    def startswith(self, typed: str, *_: object) -> bool:  # type: ignore[override]  # one beginning, of the whole
        return self.casefold().startswith(typed.casefold())


def _completing(names: Callable[[], Iterable[str]]) -> Complete:
    """Make of what there is to name what Typer asks with the beginning of a word."""

    def complete(incomplete: str) -> list[str]:
        try:
            found = sorted({_Name(name) for name in names() if name.isprintable() and " " not in name})
        except Exception:  # noqa: BLE001 - see above
            return []
        return [name for name in found if name.startswith(incomplete)]

    return complete


@_completing
def templates() -> Iterable[str]:
    """Offer the templates of the provider instance, wrong ones too."""
    from hfcore.templates import template_ids

    return template_ids(_settings())


@_completing
def requests() -> Iterable[str]:
    """Offer the requests and returns that are not archived."""
    return (request.request_id for request in _state().requests())


@_completing
def open_requests() -> Iterable[str]:
    """Offer the requests for machines that can be cancelled."""
    from hfcore.lifecycle import is_open
    from hfcore.models import RequestKind

    return (one.request_id for one in _state().requests() if is_open(one) and one.kind is RequestKind.CREATE)


@_completing
def machines() -> Iterable[str]:
    """Offer the machines that live, by id and by name."""
    from hfcore.lifecycle import is_live

    return (name for one in _state().machines() if is_live(one) for name in (one.instance_id, one.name) if name)


@_completing
def plugins() -> Iterable[str]:
    """Offer the installed provider APIs."""
    from hfcore.hookspecs import PROVIDERS
    from hfcore.plugins import installed

    return (row.name for row in installed(PROVIDERS))


@_completing
def error_codes() -> Iterable[str]:
    """Offer the codes that can be explained."""
    from hfcore.errors import CODES

    return CODES


def by_hand(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer what the verb at hand takes: templates, requests or machines."""
    verbs = {"requestMachines": templates, "getRequestStatus": requests, "getAvailableTemplates": None}
    complete = verbs.get(ctx.info_name or "", machines)
    return complete(incomplete) if complete else []


def _settings() -> Settings:
    from hfcore.config import load_settings

    words = shlex.split(next((os.environ[name] for name in _WORDS if name in os.environ), ""))
    joined = (word.partition("=")[2] for word in words if word.startswith("--provider="))
    apart = (word for before, word in pairwise(words) if before == "--provider")
    return load_settings(environ=os.environ, provider=next(iter((*joined, *apart)), None))


def _state() -> State:
    from hfcore.store import open_store
    from hfcore.storefolder import is_there

    data = _settings().work_dir / "data"
    if not is_there(data):  # opening would make it
        raise FileNotFoundError(data)
    return open_store(data, now=datetime.now(UTC)).read()
