"""Own bringing a request into being: room under maxNumber, the record before the cloud call, and its outcome after."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hfcore import lifecycle
from hfcore.errors import (
    CapacityExceeded,
    CloudError,
    HfcoreError,
    OutcomeUnknown,
    StoreError,
    StoreUntrusted,
    TemplateError,
    TemplateSlowedDown,
)
from hfcore.journal import is_dead, this_process
from hfcore.models import Fault, Request, RequestKind, RequestStatus, Severity
from hfcore.slowing import pause
from hfcore.usage import UNLIMITED, finished_before, own, units_in_use
from hfcore.withheld import of_request, with_user_data

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from hfcore.context import Intent
    from hfcore.models import Provisioned, Template
    from hfcore.plugins import Provider
    from hfcore.providerinstance import ProviderInstance
    from hfcore.templates import TemplateSet


class Launching:
    """Creates requests, and goes on with those whose creator died."""

    def __init__(self, instance: ProviderInstance, *, templates: Callable[[], TemplateSet]) -> None:
        self._templates = templates
        self._settings = instance.settings
        self._store = instance.store
        self._journal = instance.journal
        self._dispatch = instance.dispatch
        self._clock = instance.clock
        self._name_of = instance.name_of

    def launch(self, template: Template, count: int) -> tuple[Request, str]:
        """Create a request for `count` units, and ask the cloud for them.

        Returns:
            The stored request, and a sentence on how it was served, where that is not the usual way.

        Raises:
            CapacityExceeded: The template's `maxNumber` leaves no room; nothing is stored.
            TemplateSlowedDown: Its machines keep dying at their start; nothing is stored.
            PluginError: No plug-in can serve the template; nothing is stored.
            TemplateError: The template is not right for the fallback; nothing is stored.
            CloudError: The cloud refused, and has made nothing; the request is stored as failed.
            StoreError: The store can't be trusted or written; the cloud was not asked.
        """
        provider, note = self._dispatch.for_template(template.provider_api or "")
        if note:
            self._check_for_fallback(provider, template)
        self._store.check_writable()
        request = self._reserve(self._new_request(provider, template, count), template)
        try:
            return self.provision(provider, request), note
        except OutcomeUnknown as error:
            self._hand_over(request)
            return request, f"{note + '; ' if note else ''}asked, but not answered yet: {error}"
        except KeyboardInterrupt:  # it may have been made: Host Factory must know its id
            self._hand_over(request)
            return request, "interrupted: what was begun is gone on with at the next call"

    def provision(self, provider: Provider, request: Request) -> Request:
        """Carry out `provision` for a stored request, for the first time or after a death, and store its outcome.

        Raises:
            OutcomeUnknown: It may have been done; the request stays `creating` and is gone on with later.
            CloudError: The cloud refused, and has made nothing; the request is stored as failed.
            HfcoreError: The plug-in broke, or the journal could not be written, before anything was asked for;
                stored as failed.
        """
        request = self.with_user_data(request)
        template = request.template
        if template is None:
            raise StoreUntrusted(f"request {request.request_id} is stored without its template")
        if template.withheld and not self._is_begun(request):
            error = _without_its_user_data(template)
            self._fail(request, error)
            raise error
        started = self._clock.now()
        try:
            made = provider.provision(
                request, template, self._dispatch.context(provider, request.region, request.endpoint)
            )
        except OutcomeUnknown:
            raise
        except CloudError as error:
            self._fail(request, error)
            raise
        except HfcoreError as error:
            self._fail_unless_begun(request, error)
            raise
        stored = self._take_in_launch(request, made, started)
        if stored.status is RequestStatus.FAILED and lifecycle.is_open(request):
            raise _refusal(stored.faults)
        return stored

    def with_user_data(self, request: Request) -> Request:
        """Give a stored request its user data again, if its template's file still has the same.

        What a caller brought for this request alone is had nowhere: a plug-in then uses what was made with it already.
        """
        template = request.template
        if template is None or not template.withheld:
            return request
        source: Template | None = None
        with suppress(HfcoreError):  # as if the file had another one
            source = self._templates().get(template.template_id)
        return replace(request, template=with_user_data(template, source))

    def _take_in_launch(self, request: Request, made: Provisioned, started: datetime) -> Request:
        """Store what was made; if that fails, the journal has it, and the request is gone on with."""
        try:
            return self.take_in(request.request_id, made, started)
        except StoreError as error:
            raise OutcomeUnknown(Fault(code=error.code, message=f"made, but not stored yet: {error}")) from error

    def take_in(self, request_id: str, made: Provisioned, observed_at: datetime) -> Request:
        """Store what `provision` or `advance` made, and forget the intents that are answered by it."""
        with self._store.transaction() as state:
            stored = state.request(request_id)
            if stored is None:
                raise StoreUntrusted(f"request {request_id} is no longer in the store")
            made = own(state, made)
            request = lifecycle.provisioned(stored, made, self._clock.now())
            state.save_batch(
                lifecycle.machine_of(request_id, instance, observed_at, self._name_of) for instance in made.instances
            )
            state.save_request(request)
        self.forget_answered(request, self._clock.now())
        return request

    def forget_answered(self, request: Request, looked_at: datetime | None) -> None:
        """Forget a request's intents once what they have done is stored; while one is open, all are still needed.

        One that may be repeated is needed no longer once its process is dead: what it was for stands in the records.

        Args:
            request: The request.
            looked_at: When the cloud was asked about it; what other calls began later may be stored nowhere yet.
        """

        def is_stored(intent: Intent) -> bool:
            if intent.outcome is None and not (intent.repeatable and self._is_dead(intent)):
                return False
            # What was done after the look began may be missing from it.
            last = intent.done_at or intent.begun_at
            return intent.process == this_process() or (looked_at is not None and last < looked_at)

        over = request.cleaned or (request.kind is RequestKind.RETURN and not lifecycle.is_open(request))
        if over or all(map(is_stored, self._journal.steps(request.request_id))):
            self._journal.forget(request.request_id)

    def _is_dead(self, intent: Intent) -> bool:
        now, foreign_after = self._clock.now(), self._settings.foreign_after_sec
        return is_dead(intent.process, begun_at=intent.begun_at, now=now, foreign_after=foreign_after)

    def _is_begun(self, request: Request) -> bool:
        """Tell whether something was made, or asked for by a call that must not be sent twice."""
        steps = self._journal.steps(request.request_id)
        return any(intent.outcome is not None or not intent.repeatable for intent in steps)

    def give_up(self, request: Request) -> bool:
        """Fail an overdue request of which nothing was begun; tell if so. What was begun is to be looked for."""
        if not lifecycle.is_overdue(request, self._clock.now()) or self._is_begun(request):
            return False
        with self._store.transaction() as state:
            reason = "it was not asked for before its deadline"
            state.save_request(lifecycle.failed(request, reason, self._clock.now()))
        return True

    def stop_waiting(self, request: Request) -> bool:
        """Wait no longer for an overdue request whose call stays unanswered; tell if so.

        It ends by what its tag shows. Its intents stay open: what they have made all the same is looked for still.
        """
        if not lifecycle.is_overdue(request, self._clock.now()):
            return False
        with self._store.transaction() as state:
            state.save_request(lifecycle.unanswered(request))
        return True

    def _hand_over(self, request: Request) -> None:
        """Note that this call has answered; if that fails, the next call finds out by itself that this one is over."""
        with suppress(StoreError), self._store.transaction() as state:
            stored = state.request(request.request_id)
            if stored is not None:
                state.save_request(lifecycle.handed_over(stored))

    def _new_request(self, provider: Provider, template: Template, count: int) -> Request:
        from uuid import uuid4

        now = self._clock.now()
        minutes = template.spot_fleet_request_expiry or self._settings.request_expiry_minutes
        return Request(
            request_id=f"req-{uuid4()}",
            status=RequestStatus.CREATING,
            template_id=template.template_id,
            template=of_request(template, provider.info.template_fields),
            target=count,
            provider_api=provider.name,
            cloud=provider.info.cloud,
            distribution=provider.candidate.distribution,
            version=provider.candidate.version,
            region=self._settings.region,
            endpoint=self._settings.endpoint_url,
            created_at=now,
            deadline=now + timedelta(minutes=minutes),
            process=this_process(),
            unasked=True,
        )

    def _check_for_fallback(self, provider: Provider, template: Template) -> None:
        context = self._dispatch.context(provider, self._settings.region, self._settings.endpoint_url)
        problems = provider.validate_template(template, context)
        errors = tuple(problem for problem in problems if problem.severity is Severity.ERROR)
        if errors:
            raise TemplateError(
                f"template {template.template_id} asks for {template.provider_api}, which is not installed, "
                f"and can't be served by {provider.name}: {'; '.join(str(error) for error in errors)}",
                problems=errors,
            )

    def _reserve(self, request: Request, template: Template) -> Request:
        """Store the request if the template may be asked for and has room, decided under one lock.

        What is long over goes.
        """
        oldest = self._clock.now() - timedelta(hours=self._settings.retention_hours)
        with self._store.transaction() as state:
            state.archive(finished_before(state, oldest, self._journal.requests()))
            slowed_down = pause(state.requests(), state.machines_of, template.template_id, self._clock.now())
            if slowed_down:
                until, why = slowed_down
                left = (until - self._clock.now()).total_seconds()
                raise TemplateSlowedDown(
                    f"template {template.template_id} is slowed down for {max(left, 1):.0f} s: {why}",
                    hint="look at its image, start-up script and the reason told; it is tried again after that",
                )
            live, expected = units_in_use(state, template.template_id)
            if template.max_number != UNLIMITED and live + expected + request.target > template.max_number:
                raise CapacityExceeded(
                    f"template {template.template_id}: {request.target} asked, {live:g} live, {expected:g} expected, "
                    f"{template.max_number} at most (maxNumber)"
                )
            state.save_request(request)
        return request

    def _fail(self, request: Request, error: HfcoreError) -> None:
        with self._store.transaction() as state:
            stored = state.request(request.request_id) or request
            state.save_request(lifecycle.failed(stored, str(error), self._clock.now()))
        self._journal.forget(request.request_id)

    def _fail_unless_begun(self, request: Request, error: HfcoreError) -> None:
        """Keep open what broke off after the first cloud call, such as on a full disk: something may have been made."""
        if self._is_begun(request):
            raise OutcomeUnknown(Fault(code=error.code, message=str(error))) from error
        self._fail(request, error)


def _without_its_user_data(template: Template) -> TemplateError:
    return TemplateError(
        f"template {template.template_id}: its user data can't be had again: it is stored nowhere, and the file has "
        "another one now, or it came with the request; nothing was launched",
        hint="ask for the machines anew",
    )


def _refusal(faults: tuple[Fault, ...]) -> CloudError:
    return CloudError((Fault(code="NothingMade", message="the cloud made nothing, and gave no reason"), *faults)[-1])
