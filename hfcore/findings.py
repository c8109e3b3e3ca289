"""Own what one look at the cloud has found and done, between the plug-ins' answers and the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hfcore import worklist
from hfcore.models import RequestKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from hfcore.dispatch import Answers
    from hfcore.models import Discovery, Released, Request
    from hfcore.store import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look has come to.

    Args:
        state: The records as they now stand.
        notes: Request id to what people should know about it: faults, and what is odd.
    """

    state: State
    notes: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Findings:
    """What one look has found and done so far, to be taken in on a draft and then on the store.

    Args:
        at: When the look began.
        asked: Ids of the requests that somebody asked about.
        discoveries: What the plug-ins showed, by the id of the question.
        questions: What was asked about, by the id of the question; a return is asked about in several parts.
        released: What became of the machines that were to be ended, with the reason by instance id.
        released_at: When that was answered: what was seen before is older, though this look began earlier still.
        frozen: Ids of requests whose resource launches nothing more.
        cleaned: Ids of requests of which nothing stands any more.
        notes: Request id to sentences for people: faults, and what is odd.
    """

    at: datetime
    asked: frozenset[str] = frozenset()
    discoveries: tuple[Discovery, ...] = ()
    questions: dict[str, Request] = field(default_factory=dict)
    released: list[Released] = field(default_factory=list)
    released_at: datetime | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    cleaned: set[str] = field(default_factory=set)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def unanswered(self) -> frozenset[str]:
        """Name the requests for machines of which a plug-in was asked, and that it shows nothing of."""
        shown = {discovery.request_id for discovery in self.discoveries}
        asked = (key for key, question in self.questions.items() if question.kind is RequestKind.CREATE)
        return frozenset(asked).difference(shown)

    def note(self, question_id: str, sentence: str) -> None:
        """Add a sentence, once."""
        sentences = self.notes.setdefault(worklist.asked_about(question_id), [])
        if sentence and sentence not in sentences:
            sentences.append(sentence)

    def note_all(self, answers: Answers[Any]) -> None:
        """Add the faults and notes of plug-in answers."""
        for request_id, error in answers.faults.items():
            self.note(request_id, str(error))
        for request_id, sentence in answers.notes.items():
            self.note(request_id, sentence)
