"""Own one look at the cloud for requests: resume, advance, discover, freeze, end, clean, and store it all once.

What the plug-ins answer is first taken in on a draft, which shows what has to be done in the cloud; then everything is
taken in again on the store, re-read under its lock. An unchanged look writes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from hfcore import lifecycle, observing, worklist
from hfcore.errors import HfcoreError, OutcomeUnknown, StoreError, StoreUntrusted
from hfcore.findings import Findings, Looked
from hfcore.journal import this_process
from hfcore.lastwrite import may_lack
from hfcore.models import MachineStatus, RequestKind, RequestStatus
from hfcore.standing import DISOWNED
from hfcore.tending import Tending, is_to_be_cleaned, movable
from hfcore.usage import own

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from hfcore.journal import Claims
    from hfcore.launching import Launching
    from hfcore.models import Discovery, Outcome, Release, Request
    from hfcore.plugins import Provider
    from hfcore.providerinstance import ProviderInstance
    from hfcore.store import State

PATIENCE = 5.0
"""Seconds to wait for another call that is at work on the resource from which a machine is to be ended."""

ANOTHER_CALL = "another call is at work on it: it is gone on with at the next one"


class Polling:
    """Looks at the cloud for requests, and stores what it sees."""

    def __init__(self, instance: ProviderInstance, *, launching: Launching) -> None:
        self._settings = instance.settings
        self._store = instance.store
        self._journal = instance.journal
        self._dispatch = instance.dispatch
        self._launching = launching
        self._clock = instance.clock
        self._name_of = instance.name_of
        self._tending = Tending(instance.journal, foreign_after=instance.settings.foreign_after_sec)
        self._pending_timeout = timedelta(seconds=instance.settings.instance_pending_timeout_sec)

    def look_after(self, request_ids: Iterable[str], *, asked: bool = True, draft: State | None = None) -> Looked:
        """Bring the named requests, and a few that need something done, up to date.

        Args:
            request_ids: The requests.
            asked: Whether somebody who knows their ids asks about them.
            draft: A draft of the store that the caller has just read, if it has.

        Raises:
            StoreError: The store can't be trusted or written.
        """
        named = frozenset(request_ids)
        found = Findings(at=self._clock.now(), asked=named if asked else frozenset())
        with self._journal.claims() as claims:
            draft, begun = draft or self._store.draft(), self._journal.requests()
            tended = self._tending.tended(draft, named, begun, found.at)
            ours = _claimed(claims, movable(draft, tended, begun), found)
            if not self._store.is_current(draft):  # another call may have gone on with one of them just now
                draft = self._store.draft()
            if self._go_on(draft, ours, found):
                draft = self._store.draft()
            self._discover(tuple(worklist.questions(draft, tended)), found)
            return self._act(draft, tended, found, claims)

    def carry_out_return(self, return_id: str) -> Mapping[str, str]:
        """End the machines of a return that this call has stored, without asking about them first.

        Returns:
            The notes of `Looked`.
        """
        found = Findings(at=self._clock.now())
        with self._journal.claims() as claims:
            return self._act(self._store.draft(), (return_id,), found, claims).notes

    def _act(self, draft: State, tended: tuple[str, ...], found: Findings, claims: Claims) -> Looked:
        """Do in the cloud what the findings ask for, then store it all at once."""
        found.reasons = self._take_in_discoveries(draft, found)
        creates = worklist.creators(draft, tended)
        self._freeze(draft, creates, found)
        self._end_machines(draft, tended, found, claims)
        self._clean(draft, creates, found)
        self._close_returns(draft, found, tended)
        stored = draft
        if draft.changed:
            with self._store.transaction() as stored:
                self._take_in_discoveries(stored, found)
                self._take_in_outcomes(stored, found)
                self._close_returns(stored, found, tended)
        self._forget(draft, (*creates, *tended), found, claims)
        notes = {request_id: "; ".join(sentences) for request_id, sentences in found.notes.items() if sentences}
        return Looked(state=stored, notes=notes)

    def _forget(self, draft: State, request_ids: Iterable[str], found: Findings, claims: Claims) -> None:
        """Forget answered intents, but not those whose answer another call is about to store."""
        requests = filter(None, map(draft.request, self._journal.requests().intersection(request_ids)))
        known = {one.request_id: one for one in requests if not _is_creating(one)}
        looked_at = {discovery.request_id: discovery.observed_at for discovery in found.discoveries}
        for request_id in _claimed(claims, tuple(known), found):
            try:
                self._launching.forget_answered(known[request_id], looked_at.get(request_id))
            except StoreError as error:
                found.note(request_id, str(error))

    def _go_on(self, state: State, ours: frozenset[str], found: Findings) -> bool:
        """Go on with requests whose creator died, and with what others still need; tell if anything was stored."""
        requests = [request for request in map(state.request, sorted(ours)) if request]
        requests = [request for request in requests if request.kind is RequestKind.CREATE]
        begun = self._journal.requests()
        owing = [r for r in requests if r.request_id in begun and _is_past(r, found.at)]
        resumed = [self._resume(r, found) for r in requests if r.status is RequestStatus.CREATING]
        resumed += [self._look_for(r, found) for r in owing if not r.resource_ids and not _is_creating(r)]
        waiting = [r for r in requests if r.status is RequestStatus.IN_PROGRESS and not _is_past(r, found.at)]
        waiting += [r for r in owing if r.resource_ids]
        whole = map(self._launching.with_user_data, waiting)
        answers = self._dispatch.each(whole, _itself, lambda p, r, c: p.advance(_own(p, r), c))
        found.note_all(answers)
        for made in answers.results:
            self._launching.take_in(made.request_id, made, found.at)
        return any(resumed) or bool(answers.results)

    def _resume(self, request: Request, found: Findings) -> bool:
        """Go on with a request whose creator is dead; tell if anything was stored."""
        if not self._tending.is_abandoned(request, found.at):
            found.note(request.request_id, "it is being created by another call")
            return False
        try:
            if self._launching.give_up(request):
                return True
        except StoreUntrusted as error:  # what was begun can't be read: what its tag shows decides
            found.note(request.request_id, str(error))
            return self._launching.stop_waiting(request)
        return self._look_for(request, found) or self._launching.stop_waiting(request)

    def _look_for(self, request: Request, found: Findings) -> bool:
        """Carry out what was begun for a request, or find out what has come of it; tell if that is known now."""
        try:
            provider, note = self._dispatch.for_request(request)
            if note:  # a stand-in can look for what was made, but must not launch again
                found.note(request.request_id, note)
                return False
            self._launching.provision(provider, request)
        except OutcomeUnknown as error:
            found.note(request.request_id, str(error))
            return False
        except HfcoreError as error:
            found.note(request.request_id, str(error))
        return True

    def _discover(self, questions: tuple[Request, ...], found: Findings) -> None:
        found.questions = {question.request_id: question for question in questions}
        answers = self._dispatch.each(questions, _itself, lambda p, r, c: p.discover_instances(r, c))
        found.discoveries = answers.results
        found.note_all(answers)
        for discovery in answers.results:
            found.note(discovery.request_id, discovery.message)

    def _take_in_discoveries(self, state: State, found: Findings) -> dict[str, str]:
        """Let the lifecycle judge what was seen; give the machines that are to be ended, each with the reason."""
        unwanted: dict[str, str] = {}
        for asked in filter(None, map(state.request, found.asked)):
            state.save_request(lifecycle.asked_about(asked))
        for discovery in found.discoveries:
            request = state.request(worklist.asked_about(discovery.request_id))
            if request is None:
                continue
            if request.kind is RequestKind.RETURN:
                self._take_in_return(state, request, discovery, found)
            else:
                unwanted |= self._take_in_create(state, request, discovery, found)
        for request in filter(None, map(state.request, found.unanswered())):
            reason = "; ".join(found.notes.get(request.request_id, ())) or "its plug-in gave no answer"
            state.save_request(lifecycle.silent(request, state.machines_of(request), reason, found.at))
        return unwanted

    def _take_in_return(self, state: State, request: Request, discovery: Discovery, found: Findings) -> None:
        question = found.questions[discovery.request_id]
        notice = worklist.elsewhere(state, question, discovery)
        if notice:
            found.note(request.request_id, notice)
            state.save_request(replace(request, vanished_at=None))
            return
        asked = tuple(filter(None, map(state.machine, question.machine_ids)))
        question = replace(question, vanished_at=request.vanished_at)
        observed = observing.observe_return(question, asked, discovery, now=found.at, name_of=self._name_of)
        found.note(request.request_id, observed.notice)
        state.save_batch(observed.machines)
        state.save_request(replace(request, vanished_at=observed.request.vanished_at))

    @cached_property
    def _doubted(self) -> bool:
        return may_lack(self._settings.work_dir / "data")

    def _take_in_create(
        self, state: State, request: Request, discovery: Discovery, found: Findings
    ) -> Mapping[str, str]:
        shown = own(state, discovery)
        if shown is not discovery:
            units = sum(one.weight for one in shown.instances if one.status is MachineStatus.RUNNING)
            shown = replace(shown, fulfilled=min(shown.fulfilled, units))
        ends_unknown = not lifecycle.is_open(request) or lifecycle.is_orphan(request, found.at)
        observed = observing.observe(
            request,
            tuple(one for one in state.machines_of(request) if one.request_id == request.request_id),
            shown,
            asked=frozenset(found.questions[discovery.request_id].machine_ids),
            now=found.at,
            name_of=self._name_of,
            pending_timeout=self._pending_timeout,
            elsewhere=worklist.elsewhere(state, request, discovery),
            doubted=ends_unknown and self._doubted,
        )
        found.note(request.request_id, observed.notice)
        state.save_batch(observed.machines)
        state.save_request(observed.request)
        return observed.unwanted

    def _freeze(self, draft: State, creates: tuple[str, ...], found: Findings) -> None:
        """Stop the launching of what has ended; before its machines are ended, so that none comes in their place.

        Another account, in which there is nothing to stop, would call that done. And it is done only once all is known
        that was launched before: what is frozen is looked for no more.
        """
        shown = {discovery.request_id: discovery for discovery in found.discoveries}
        ended = (r for r in filter(None, map(draft.request, creates)) if lifecycle.needs_freezing(r))
        due = tuple(r for r in ended if not worklist.elsewhere(draft, r, shown.get(r.request_id)))
        answers = self._dispatch.each(due, _itself, lambda p, r, c: p.stop_launching(r, c))
        found.note_all(answers)
        found.frozen = self._done(answers.results, found).intersection(shown)
        self._take_in_outcomes(draft, found)

    def _end_machines(self, draft: State, tended: tuple[str, ...], found: Findings, claims: Claims) -> None:
        """End what is unwanted, and what open returns name and is not ending yet."""
        returns = _claimed(claims, worklist.open_returns(draft, tended), found)
        releases = worklist.releases(draft, sorted(returns), found.reasons)
        releases = self._unhindered(draft, _of_ours(releases, found), found, claims)
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
        found.released, found.released_at = list(answers.results), self._clock.now()
        self._take_in_outcomes(draft, found)

    def _unhindered(
        self, draft: State, releases: tuple[Release, ...], found: Findings, claims: Claims
    ) -> tuple[Release, ...]:
        """Leave out releases from a resource that refills, while another call is at work on it.

        How far it is to shrink is read and then written; what that other call has ended must not count twice.
        """
        refilling = {one.request.request_id for one in releases if one.request.refills and not one.request.frozen}
        if not refilling:
            return releases
        ours = _claimed(claims, refilling, found, PATIENCE)
        for one in releases:
            if one.request.request_id in refilling - ours and one.return_id:
                found.note(one.return_id, ANOTHER_CALL)
        free = tuple(one for one in releases if one.request.request_id not in refilling - ours)
        return free if self._store.is_current(draft) else worklist.still_to_end(self._store.read(), free)

    def _clean(self, draft: State, creates: tuple[str, ...], found: Findings) -> None:
        """Remove what stands empty."""
        live = draft.live_ids()
        due = tuple(
            request
            for request in filter(None, map(draft.request, creates))
            if live.isdisjoint(request.machine_ids) and is_to_be_cleaned(draft, request, found.at)
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
        at = found.released_at or found.at
        for released in found.released:
            named = released.ending | set(released.faults)
            state.save_batch(
                lifecycle.released(machine, released, at, found.reasons.get(machine.instance_id, ""))
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
        """Close the returns looked after, and those of machines looked at, whose machines are all gone."""
        requests = tuple(filter(None, map(state.request, tended)))
        concerned = dict.fromkeys(m.return_id for r in requests for m in state.machines_of(r) if m.return_id)
        concerned |= dict.fromkeys(r.request_id for r in requests if r.kind is RequestKind.RETURN)
        for request in filter(None, map(state.request, concerned)):
            machines = state.machines_of(request)
            carried_out = lifecycle.carried_out(request, machines, this_process())
            state.save_request(lifecycle.closed_return(carried_out, machines, found.at))


def _claimed(claims: Claims, request_ids: Collection[str], found: Findings, wait: float = 0.0) -> frozenset[str]:
    """Claim requests; note of the others that another call is at work on them."""
    try:
        ours = claims.take(request_ids, wait)
    except StoreError as error:
        for request_id in request_ids:
            found.note(request_id, str(error))
        return frozenset()
    for request_id in ours.symmetric_difference(request_ids):
        found.note(request_id, ANOTHER_CALL)
    return ours


def _of_ours(releases: tuple[Release, ...], found: Findings) -> tuple[Release, ...]:
    """Leave out machines that the last look has shown without our owner tag."""
    theirs = [(one, m.instance_id) for one in releases for m in one.machines if m.disowned]
    for one, instance_id in theirs:
        found.note(one.return_id or one.request.request_id, f"{instance_id} {DISOWNED}")
    return worklist.without(releases, {instance_id for _, instance_id in theirs})


def _is_creating(request: Request) -> bool:
    return request.status is RequestStatus.CREATING


def _is_past(request: Request, now: datetime) -> bool:
    return request.deadline is not None and now >= request.deadline


def _itself(request: Request) -> Request:
    return request


def _own(provider: Provider, requests: tuple[Request, ...]) -> tuple[Request, ...]:
    """Leave out what the plug-in only stands in for: it may look, but must not launch for another API."""
    return tuple(request for request in requests if request.provider_api.casefold() == provider.name.casefold())


def _request_of_release(release: Release) -> Request:
    return release.request
