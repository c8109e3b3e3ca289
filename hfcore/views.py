"""Own what the use cases take and give: machines as they are named, and what is to be told. Knows no JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hfcore.models import Machine, Request, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRef:
    """A machine as Host Factory names it: by host name, by id, or by both; the id decides."""

    name: str = ""
    machine_id: str = ""

    def __str__(self) -> str:
        return self.machine_id or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateView:
    """A template that Host Factory may ask for.

    Args:
        available: Units that may still be asked for; `None` without limit.
        names: Host names of its machines that live.
    """

    template: Template
    available: int | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Host Factory is told at once: the id to ask about, and a sentence."""

    request_id: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """One request as it stands; `request` is `None` for an unknown id.

    Args:
        creators: The requests that made the machines, by id; one that is archived is left out.
    """

    request_id: str
    request: Request | None
    machines: tuple[Machine, ...] = ()
    creators: Mapping[str, Request] = field(default_factory=dict)
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """What became of one request that was to be cancelled; `done` is false where it had ended already."""

    view: RequestView
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReclaimView:
    """A machine that the cloud takes back; `grace_seconds` is what remains until then, 0 if it is gone."""

    machine: Machine
    message: str
    grace_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaims:
    """All machines that the cloud takes back, and a sentence where not everything could be asked."""

    views: tuple[ReclaimView, ...]
    message: str
