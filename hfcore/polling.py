"""Own one look at the cloud for requests: resume, advance, discover, freeze, end, clean, and store it all once.

What the plug-ins answer is first taken in on a draft, which shows what has to be done in the cloud; then everything is
taken in again on the store, re-read under its lock. An unchanged look writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hfcore import lifecycle
from hfcore.errors import HfcoreError, OutcomeUnknown
from hfcore.journal import is_dead
from hfcore.models import Release, RequestKind, RequestStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from hfcore.config import Settings
    from hfcore.context import Clock
    from hfcore.dispatch import Answers, Dispatch
    from hfcore.journal import IntentFolder
    from hfcore.launching import Launching
    from hfcore.models import Discovery, Instance, Machine, Outcome, Released, Request
    from hfcore.plugins import Provider
    from hfcore.store import State, Store

PART = "#"
"""Parts the id of a return from the number of the question that asks about some of its machines."""

MOST_OVERDUE = 10
"""So many requests that nobody asked about, but that need something done, are looked after in one call."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """What one look has found and done so far, to be taken in on a draft and then on the store.

    Args:
        at: When the look began.
        discoveries: What the plug-ins showed, by the id of the question.
        questions: What was asked about, by the id of the question; a return is asked about in several parts.
        released: What became of the machines that were to be ended, with the reason by instance id.
        frozen: Ids of requests whose resource launches nothing more.
        cleaned: Ids of requests of which nothing stands any more.
        notes: Request id to sentences for people: faults, and what is odd.
    """

    at: datetime
    discoveries: tuple[Discovery, ...] = ()
    questions: dict[str, Request] = field(default_factory=dict)
    released: list[Released] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    cleaned: set[str] = field(default_factory=set)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, question_id: str, sentence: str) -> None:
        """Add a sentence, once."""
        sentences = self.notes.setdefault(_request_id(question_id), [])
        if sentence and sentence not in sentences:
            sentences.append(sentence)

    def note_all(self, answers: Answers[Any]) -> None:
        """Add the faults and notes of plug-in answers."""
        for request_id, error in answers.faults.items():
            self.note(request_id, str(error))
        for request_id, sentence in answers.notes.items():
            self.note(request_id, sentence)


class Polling:
    """Looks at the cloud for requests, and stores what it sees."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: Store,
        journal: IntentFolder,
        dispatch: Dispatch,
        launching: Launching,
        clock: Clock,
        name_of: Callable[[Instance], str],
    ) -> None:
        self._settings = settings
        self._store = store
        self._journal = journal
        self._dispatch = dispatch
        self._launching = launching
        self._clock = clock
        self._name_of = name_of
        self._pending_timeout = timedelta(seconds=settings.instance_pending_timeout_sec)

    def look_after(self, request_ids: Iterable[str]) -> Mapping[str, str]:
        """Bring the named requests, and a few that need something done, up to date.

        Returns:
            Request id to what people should know about this look: faults, and what is odd.

        Raises:
            StoreError: The store can't be trusted or written.
        """
        found = Findings(at=self._clock.now())
        draft = self._store.draft()
        tended = self._tended(draft, tuple(request_ids), found.at)
        if self._resume_and_advance(draft, tended, found):
            draft = self._store.draft()
        self._discover(self._questions(draft, tended, found), found)
        return self._act(draft, tended, found)

    def carry_out_return(self, return_id: str) -> Mapping[str, str]:
        """End the machines of a stored return, without asking about them first; returns what `look_after` does."""
        return self._act(self._store.draft(), (return_id,), Findings(at=self._clock.now()))

    def _act(self, draft: State, tended: tuple[str, ...], found: Findings) -> Mapping[str, str]:
        """Do in the cloud what the findings ask for, then store it all at once."""
        found.reasons = self._take_in_discoveries(draft, found)
        creates = _create_requests(draft, tended)
        self._freeze(draft, creates, found)
        self._end_machines(draft, tended, found)
        self._clean(draft, creates, found)
        self._close_returns(draft, found, tended)
        if draft.changed:
            with self._store.transaction() as state:
                self._take_in_discoveries(state, found)
                self._take_in_outcomes(state, found)
                self._close_returns(state, found, tended)
            for request in filter(None, map(draft.request, dict.fromkeys((*creates, *tended)))):
                self._launching.forget_answered(request)
        return {request_id: "; ".join(sentences) for request_id, sentences in found.notes.items() if sentences}

    def _tended(self, state: State, request_ids: tuple[str, ...], now: datetime) -> tuple[str, ...]:
        """Name the requests to look after: those asked about, then overdue and unfrozen ones."""
        named = tuple(i for i in dict.fromkeys(request_ids) if state.request(i) is not None)
        live = state.live_ids()
        others = (r for r in state.requests() if r.request_id not in named and self._needs_care(r, live, now))
        return (*named, *(request.request_id for request in others))[: len(named) + MOST_OVERDUE]

    def _needs_care(self, request: Request, live: frozenset[str], now: datetime) -> bool:
        if lifecycle.is_overdue(request, now) or lifecycle.needs_freezing(request) or request.unwanted:
            return True
        if lifecycle.needs_cleanup(request) and live.isdisjoint(request.machine_ids):
            return True
        return request.status is RequestStatus.CREATING and self._is_abandoned(request, now)

    def _is_abandoned(self, request: Request, now: datetime) -> bool:
        """Tell whether the process that was creating a request died before it had stored the outcome."""
        foreign_after = 2.0 * self._settings.call_timeout_sec
        return is_dead(request.process, begun_at=request.created_at, now=now, foreign_after=foreign_after)

    def _resume_and_advance(self, state: State, tended: tuple[str, ...], found: Findings) -> bool:
        """Go on with requests whose creator died, and with what open ones still need; tell if anything was stored."""
        requests = [request for request in map(state.request, tended) if request]
        resumed = [self._resume(r, found) for r in requests if r.status is RequestStatus.CREATING]
        waiting = tuple(
            r
            for r in requests
            if r.kind is RequestKind.CREATE
            and r.status is RequestStatus.IN_PROGRESS
            and not lifecycle.is_overdue(r, found.at)
        )
        answers = self._dispatch.each(waiting, _itself, lambda p, r, c: p.advance(_own(p, r), c))
        found.note_all(answers)
        for made in answers.results:
            self._launching.take_in(made.request_id, made, found.at)
        return any(resumed) or bool(answers.results)

    def _resume(self, request: Request, found: Findings) -> bool:
        if not self._is_abandoned(request, found.at):
            found.note(request.request_id, "it is being created by another call")
            return False
        if self._launching.give_up(request):
            return True
        try:
            provider, note = self._dispatch.for_request(request)
            if note:  # a stand-in can look for what was made, but must not launch again
                found.note(request.request_id, note)
                return self._launching.stop_waiting(request)
            self._launching.provision(provider, request)
        except OutcomeUnknown as error:
            found.note(request.request_id, str(error))
            self._launching.stop_waiting(request)
        except HfcoreError as error:
            found.note(request.request_id, str(error))
        return True

    def _questions(self, state: State, tended: tuple[str, ...], found: Findings) -> tuple[Request, ...]:
        """Give what to ask the plug-ins: requests with only their live machines; a return, split by who made them."""
        questions: list[Request] = []
        for request in filter(None, map(state.request, tended)):
            live = [machine for machine in state.machines_of(request) if lifecycle.is_live(machine)]
            if request.kind is RequestKind.RETURN:
                questions += _return_questions(state, request, live)
            elif live or request.status is RequestStatus.IN_PROGRESS:
                questions.append(replace(request, machine_ids=_ids(live)))
        found.questions = {question.request_id: question for question in questions}
        return tuple(questions)

    def _discover(self, questions: tuple[Request, ...], found: Findings) -> None:
        answers = self._dispatch.each(questions, _itself, lambda p, r, c: p.discover_instances(r, c))
        found.discoveries = answers.results
        found.note_all(answers)
        for discovery in answers.results:
            found.note(discovery.request_id, discovery.message)

    def _take_in_discoveries(self, state: State, found: Findings) -> dict[str, str]:
        """Let the lifecycle judge what was seen; give the machines that are to be ended, each with the reason."""
        unwanted: dict[str, str] = {}
        for discovery in found.discoveries:
            request = state.request(_request_id(discovery.request_id))
            if request is None:
                continue
            if request.kind is RequestKind.RETURN:
                self._take_in_return(state, request, discovery, found)
            else:
                unwanted |= self._take_in_create(state, request, discovery, found)
        return unwanted

    def _take_in_return(self, state: State, request: Request, discovery: Discovery, found: Findings) -> None:
        question = found.questions[discovery.request_id]
        notice = lifecycle.other_account(question, discovery)
        if notice:
            found.note(request.request_id, notice)
            return
        asked = tuple(filter(None, map(state.machine, question.machine_ids)))
        state.save_batch(lifecycle.observe_return(request, asked, discovery, now=found.at, name_of=self._name_of))

    def _take_in_create(
        self, state: State, request: Request, discovery: Discovery, found: Findings
    ) -> Mapping[str, str]:
        observed = lifecycle.observe(
            request,
            state.machines_of(request),
            discovery,
            now=found.at,
            name_of=self._name_of,
            pending_timeout=self._pending_timeout,
        )
        found.note(request.request_id, observed.notice)
        state.save_batch(observed.machines)
        state.save_request(observed.request)
        return observed.unwanted

    def _freeze(self, draft: State, creates: tuple[str, ...], found: Findings) -> None:
        """Stop the launching of what has ended; before its machines are ended, so that none comes in their place."""
        due = tuple(r for r in filter(None, map(draft.request, creates)) if lifecycle.needs_freezing(r))
        answers = self._dispatch.each(due, _itself, lambda p, r, c: p.stop_launching(r, c))
        found.note_all(answers)
        found.frozen = self._done(answers.results, found)
        self._take_in_outcomes(draft, found)

    def _end_machines(self, draft: State, tended: tuple[str, ...], found: Findings) -> None:
        """End what is unwanted, and what open returns name and is not ending yet."""
        releases = (*_unwanted_releases(draft, found.reasons), *_return_releases(draft, tended))
        answers = self._dispatch.each(releases, _request_of_release, lambda p, r, c: p.release_instances(r, c))
        returns_of: dict[str, set[str]] = {}
        for release in releases:
            returns_of.setdefault(release.request.request_id, set()).add(
                release.return_id or release.request.request_id
            )
        for request_id, error in answers.faults.items():
            for noted in returns_of[request_id]:
                found.note(noted, str(error))
        for released in answers.results:
            for instance_id, fault in released.faults.items():
                for noted in returns_of.get(released.request_id, ()):
                    found.note(noted, f"{instance_id} is not ended: {fault}")
        found.released = list(answers.results)
        self._take_in_outcomes(draft, found)

    def _clean(self, draft: State, creates: tuple[str, ...], found: Findings) -> None:
        """Remove what stands empty."""
        live = draft.live_ids()
        due = tuple(
            request
            for request in filter(None, map(draft.request, creates))
            if lifecycle.needs_cleanup(request) and live.isdisjoint(request.machine_ids)
        )
        answers = self._dispatch.each(due, _itself, lambda p, r, c: p.cleanup(r, c))
        found.note_all(answers)
        found.cleaned = self._done(answers.results, found)
        self._take_in_outcomes(draft, found)

    def _done(self, outcomes: tuple[Outcome, ...], found: Findings) -> set[str]:
        for outcome in outcomes:
            for fault in outcome.faults:
                found.note(outcome.request_id, str(fault))
        return {outcome.request_id for outcome in outcomes if outcome.done}

    def _take_in_outcomes(self, state: State, found: Findings) -> None:
        for released in found.released:
            named = released.ending | set(released.faults)
            state.save_batch(
                lifecycle.released(machine, released, found.at, found.reasons.get(machine.instance_id, ""))
                for machine in filter(None, map(state.machine, named))
            )
            creator = state.request(released.request_id)
            if creator is not None:
                state.save_request(lifecycle.without_unwanted(creator, released.ending))
        for request in filter(None, map(state.request, found.frozen)):
            state.save_request(lifecycle.frozen(request))
        for request in filter(None, map(state.request, found.cleaned)):
            state.save_request(lifecycle.cleaned(request))

    def _close_returns(self, state: State, found: Findings, tended: tuple[str, ...]) -> None:
        for request in filter(None, map(state.request, tended)):
            if request.kind is RequestKind.RETURN:
                state.save_request(lifecycle.closed_return(request, state.machines_of(request), found.at))


def _itself(request: Request) -> Request:
    return request


def _own(provider: Provider, requests: tuple[Request, ...]) -> tuple[Request, ...]:
    """Leave out what the plug-in only stands in for: it may look, but must not launch for another API."""
    return tuple(request for request in requests if request.provider_api.casefold() == provider.name.casefold())


def _request_of_release(release: Release) -> Request:
    return release.request


def _request_id(question_id: str) -> str:
    return question_id.partition(PART)[0]


def _ids(machines: Iterable[Machine]) -> tuple[str, ...]:
    return tuple(machine.instance_id for machine in machines)


def _by_creator(state: State, machines: Iterable[Machine]) -> dict[str, list[Machine]]:
    """Group machines by the request that made them."""
    groups: dict[str, list[Machine]] = {}
    for machine in machines:
        if state.request(machine.request_id) is not None:
            groups.setdefault(machine.request_id, []).append(machine)
    return groups


def _return_questions(state: State, request: Request, live: list[Machine]) -> list[Request]:
    """Ask about the machines of a return in one part for each plug-in, region, endpoint and account of theirs."""
    parts: dict[tuple[str, ...], tuple[Request, list[Machine]]] = {}
    for creator_id, machines in _by_creator(state, live).items():
        creator = state.request(creator_id)
        if creator is not None:
            where = (creator.region, creator.endpoint, creator.account_id)
            key = (creator.provider_api, creator.distribution, *where)
            parts.setdefault(key, (creator, []))[1].extend(machines)
    return [
        replace(
            creator,
            request_id=f"{request.request_id}{PART}{number}",
            kind=RequestKind.RETURN,
            status=request.status,
            resource_ids=(),
            machine_ids=_ids(machines),
        )
        for number, (creator, machines) in enumerate(parts.values())
    ]


def _create_requests(state: State, tended: tuple[str, ...]) -> tuple[str, ...]:
    """Name the requests for machines that are concerned: those looked after, and those whose machines return."""
    named: dict[str, None] = {}
    for request in filter(None, map(state.request, tended)):
        if request.kind is RequestKind.CREATE:
            named[request.request_id] = None
        else:
            named |= dict.fromkeys(machine.request_id for machine in state.machines_of(request))
    return tuple(named)


def _unwanted_releases(state: State, reasons: Mapping[str, str]) -> tuple[Release, ...]:
    machines = filter(None, map(state.machine, reasons))
    return _releases(state, machines, "")


def _return_releases(state: State, tended: tuple[str, ...]) -> tuple[Release, ...]:
    releases: list[Release] = []
    for request in filter(None, map(state.request, tended)):
        if request.kind is RequestKind.RETURN:
            still_there = (m for m in state.machines_of(request) if m.status not in lifecycle.ENDING)
            releases += _releases(state, still_there, request.request_id)
    return tuple(releases)


def _releases(state: State, machines: Iterable[Machine], return_id: str) -> tuple[Release, ...]:
    releases = []
    for creator_id, members in _by_creator(state, machines).items():
        creator = state.request(creator_id)
        if creator is not None:
            releases.append(Release(request=creator, machines=tuple(members), return_id=return_id))
    return tuple(releases)
