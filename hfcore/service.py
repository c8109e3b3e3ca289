"""Own the use cases: what Host Factory's five scripts, and people, ask for. Knows no cloud, no JSON, no terminal.

What a use case does not need is not imported: listing templates and answering from the store need no plug-in.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hfcore import lifecycle, standing
from hfcore.errors import CloudError, HfcoreError, InputError, PluginCallError, PluginUnusable
from hfcore.models import EMPTY, Problem, Request, RequestKind, RequestStatus, Severity
from hfcore.naming import host_name_by
from hfcore.pairs import join_pairs, split_pairs
from hfcore.store import open_store
from hfcore.templates import load_templates
from hfcore.usage import UNLIMITED, live_names, units_in_use
from hfcore.views import Answer, Cancelled, MachineRef, Reclaims, RequestView, TemplateView

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from logging import Logger

    from hfcore.config import Settings
    from hfcore.context import Clock
    from hfcore.dispatch import Dispatch
    from hfcore.journal import IntentFolder
    from hfcore.launching import Launching
    from hfcore.memory import FileMemory
    from hfcore.models import Check, Offers, SubnetsWanted, Template
    from hfcore.plugins import Plugins
    from hfcore.polling import Polling
    from hfcore.providerinstance import ProviderInstance
    from hfcore.reconciling import Reconciling
    from hfcore.returning import Returning
    from hfcore.store import State
    from hfcore.strangers import Strangers
    from hfcore.templates import TemplateSet


MOST_UNITS = 10_000
"""Most units of one request, as of `maxNumber` (Host Factory) and of one fleet (EC2 quotas)."""


class Service:
    """The use cases over one provider instance.

    Args:
        plugins: Gives the installed plug-ins; called at the first use case that needs one.
        fingerprint: Tells this set of installed plug-ins from another one; empty while it may be changing.
        log: Gives the log; called with the first line.

    Raises:
        StoreError: The store can't be trusted; no use case works then.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        plugins: Callable[[], Plugins],
        fingerprint: Callable[[], str],
        clock: Clock,
        log: Callable[[], Logger],
    ) -> None:
        self.settings = settings
        self._make_plugins = plugins
        self._fingerprint = fingerprint
        self._clock = clock
        self._open_log = log
        self.later: Callable[[Callable[[], None]], None] = lambda work: work()
        """What is done with work that the answer does not wait for; by default it is done at once."""
        self._data = settings.work_dir / "data"
        self.store = open_store(
            self._data, owner=settings.owner or None, lock_timeout=settings.lock_timeout_sec, now=clock.now()
        )

    @cached_property
    def plugins(self) -> Plugins:
        """The installed plug-ins."""
        return self._make_plugins()

    @cached_property
    def templates(self) -> TemplateSet:
        """The instance's templates, read afresh once a call."""
        found = load_templates(
            self.settings,
            claimed=lambda: self.plugins.template_fields(),  # noqa: PLW0108 - a cached parse needs no plug-in
            check=self._check_template,
            fingerprint=self._fingerprint(),
            code=lambda: self.plugins.code(),  # noqa: PLW0108 - as above
        )
        return _as_lsf_reads(found) if self.settings.under_lsf else found

    def available_templates(self) -> tuple[TemplateView, ...]:
        """List what Host Factory may ask for, and how much of it is left."""
        state = self.store.read()
        names = live_names(state)
        return tuple(
            TemplateView(
                template=template,
                available=_available(state, template),
                names=names.get(template.template_id, ()),
            )
            for template in self.templates.templates
        )

    def request_machines(
        self, template_id: str, count: int, *, tags: Mapping[str, str] = EMPTY, user_data: Mapping[str, str] = EMPTY
    ) -> Answer:
        """Ask the cloud for `count` units of a template.

        Args:
            template_id: The template.
            count: Units.
            tags: Tags of the machines, over the template's own.
            user_data: What is exported to the start-up script, over the template's own; stored nowhere.

        Returns:
            The id of the stored request. It may be that the cloud has not answered: the message says so.

        Raises:
            InputError: Unknown template, wrong count, no room under `maxNumber`; nothing is stored.
            TemplateError: The template has errors; nothing is stored.
            PluginError: No plug-in can serve it.
            CloudError: The cloud refused, and has made nothing.
            StoreError: The store can't be trusted or written; the cloud was not asked.
        """
        if not 1 <= count <= MOST_UNITS:
            raise InputError(f"machineCount: a number from 1 to {MOST_UNITS} is needed, not {count}")
        template = _with_more(self.templates.require(template_id), tags, user_data)
        request, note = self._launching.launch(template, count)
        self._notify("request.created", request.request_id, {"template_id": template_id, "target": count})
        self._look_after_others()
        what = f"{count} unit{'' if count == 1 else 's'} of {template_id} asked of {request.provider_api}"
        return Answer(request_id=request.request_id, message=f"{what}; {note}" if note else what)

    def request_status(self, request_ids: tuple[str, ...]) -> tuple[RequestView, ...]:
        """Say where requests and returns stand, with all their machines; unknown ids are answered as such.

        Raises:
            StoreError: The store can't be trusted, or what was seen can't be written.
        """
        asked = tuple(dict.fromkeys(request_ids))
        state = self.store.draft()
        before = {request_id: state.request(request_id) for request_id in asked}
        notes: Mapping[str, str] = {}
        if any(before.values()):
            looked = self._polling.look_after(asked, draft=state)
            state, notes = looked.state, looked.notes
            self._reconcile_now_and_then()
        views = tuple(self._view(state, request_id, notes.get(request_id, "")) for request_id in asked)
        self._notify_ended(before, views)
        return views

    def cancel(self, request_ids: tuple[str, ...]) -> tuple[Cancelled, ...]:
        """End open requests for machines: nothing more is launched for them; what runs stays.

        Returns:
            Each as it now stands. What the cloud refuses is tried again at later calls.

        Raises:
            InputError: An id is unknown, is a return's, or its request is just being created; nothing is changed.
            StoreError: The store can't be trusted or written.
        """
        from hfcore.cancelling import to_be_cancelled

        before = self.request_status(request_ids)  # what has ended meanwhile has nothing to be cancelled
        now = self._clock.now()
        with self.store.transaction() as state:
            named = to_be_cancelled(state, before, now, self.settings.foreign_after_sec)
            for request in named:
                state.save_request(lifecycle.cancelled(request, state.machines_of(request), now))
        after = {view.request_id: view for view in self.request_status(tuple(one.request_id for one in named))}
        for request_id in after:
            self._notify("request.ended", request_id, {"status": RequestStatus.CANCELLED})
        return tuple(Cancelled(view=after.get(view.request_id, view), done=view.request_id in after) for view in before)

    def request_return(self, machines: tuple[MachineRef, ...]) -> Answer:
        """Take machines back, and end exactly these; what no record names is asked of the cloud.

        Returns:
            The id of the stored return. What the cloud refuses stays `executing`, and is tried again at each poll.

        Raises:
            InputError: Two live machines have a name that was given without id; nothing is stored.
            CloudError: The cloud could not be asked about machines that no record names; nothing is stored.
            StoreError: The store can't be trusted or written; nothing was ended.
        """
        request, said = self._returning.take_back(machines)
        note = self._polling.carry_out_return(request.request_id).get(request.request_id, "") if request.target else ""
        self._notify("return.created", request.request_id, {"machine_ids": list(request.machine_ids)})
        self._look_after_others()
        return Answer(request_id=request.request_id, message="; ".join(part for part in (*said, note) if part))

    def return_requests(self, machines: tuple[MachineRef, ...]) -> Reclaims:
        """Name the machines that the cloud takes back, and that Host Factory has not returned.

        Args:
            machines: The hosts that Host Factory knows; none means all.

        Raises:
            StoreError: The store can't be trusted, or what was seen can't be written.
        """
        from hfcore.reclaiming import Reclaiming

        found = Reclaiming(self._instance, polling=self._polling, strangers=self._strangers).look(machines)
        self._look_after_others()
        return found

    def offers(
        self, provider_api: str, instance_types: tuple[str, ...], subnets: SubnetsWanted | None
    ) -> tuple[str, Offers]:
        """Ask the cloud behind a provider API what it offers to make templates of, in the region of the settings.

        Args:
            provider_api: The API, in any case; nothing stands in for it.
            instance_types: Types of machines.
            subnets: Which subnets are looked for; `None` for none.

        Returns:
            The API as its plug-in spells it, and what there is.

        Raises:
            PluginError: The API's plug-in can't be used.
            InputError: Its plug-in can't tell, or the cloud does not have a type.
            CloudError: The cloud could not be asked, or does not have a type.
        """
        provider = self.plugins.provider(provider_api)
        if not provider.implements("describe_offers"):
            raise InputError(f"the plug-in of {provider.name} can't tell what there is", hint="write the file by hand")
        context = self._dispatch.context(provider, self.settings.region, self.settings.endpoint_url)
        found = provider.describe_offers(instance_types, subnets, context)
        unknown = sorted({*instance_types} - {one.name for one in found.types})
        if unknown:
            raise InputError(f"there is no type {', '.join(unknown)} in {self.settings.region}")
        return provider.name, found

    def checks(self, accounts: Mapping[str, Mapping[str, int]] = EMPTY) -> tuple[Check, ...]:
        """Ask the clouds what `hfcore doctor` wants to know: the way to each and the rights there, then each template.

        Args:
            accounts: For each cloud, how many requests live in which account (`hfcore.doctor.accounts`).

        Raises:
            ConfigError: There is no template file, or one can't be read.
        """
        from hfcore.checking import cloud_checks

        templates = self.templates.templates
        return tuple(cloud_checks(self.settings, self._dispatch, self.plugins, templates, accounts))

    @cached_property
    def reconciling(self) -> Reconciling:
        """What holds all that is ours in the cloud against the records."""
        from hfcore.reconciling import Reconciling

        return Reconciling(self._instance, launching=self._launching, polling=self._polling)

    @cached_property
    def _logger(self) -> Logger:
        return self._open_log()

    @cached_property
    def _journal(self) -> IntentFolder:
        from hfcore.journal import IntentFolder

        timeout = self.settings.lock_timeout_sec
        return IntentFolder(self._data / "journal", owner=self.store.owner, clock=self._clock, lock_timeout=timeout)

    def _open_memory(self) -> FileMemory:
        from hfcore.memory import FileMemory

        return FileMemory.of(self.settings, self._clock)

    @cached_property
    def _memory(self) -> FileMemory:
        return self._open_memory()

    @cached_property
    def _dispatch(self) -> Dispatch:
        from hfcore.dispatch import Dispatch

        return Dispatch(
            plugins=lambda: self.plugins,
            settings=self.settings,
            owner=self.store.owner,
            journal=self._journal,
            memory=self._memory,
            clock=self._clock,
            log=lambda: self._logger,
        )

    @cached_property
    def _instance(self) -> ProviderInstance:
        from hfcore.providerinstance import ProviderInstance

        return ProviderInstance(
            settings=self.settings,
            store=self.store,
            journal=self._journal,
            dispatch=self._dispatch,
            clock=self._clock,
            name_of=host_name_by(self.settings.host_name),
        )

    @cached_property
    def _launching(self) -> Launching:
        from hfcore.launching import Launching

        return Launching(self._instance, templates=lambda: self.templates)

    @cached_property
    def _strangers(self) -> Strangers:
        from hfcore.strangers import Strangers

        return Strangers(settings=self.settings, dispatch=self._dispatch)

    @cached_property
    def _returning(self) -> Returning:
        from hfcore.returning import Returning

        return Returning(self._instance, strangers=lambda: self._strangers)

    @cached_property
    def _polling(self) -> Polling:
        from hfcore.polling import Polling

        return Polling(self._instance, launching=self._launching)

    def _check_template(self, template: Template) -> tuple[Problem, ...]:
        """Let the plug-in that is to serve a template judge it; no plug-in is a problem too."""
        from hfcore.templatefields import idle

        try:
            provider, note = self._dispatch.for_template(template.provider_api or "")
            context = self._dispatch.context(provider, self.settings.region, self.settings.endpoint_url)
            problems = (*idle(template, provider.info), *provider.validate_template(template, context))
        except (CloudError, PluginCallError) as error:  # it may pass: the list must not shrink for it
            message = f"could not be checked: {error}"
            return (Problem(field="", message=message, severity=Severity.WARNING, hint=error.hint, passing=True),)
        except HfcoreError as error:
            broken = isinstance(error, PluginUnusable)  # what does not load now, may at the next call
            return (Problem(field="providerApi", message=str(error), hint=error.hint, passing=broken),)
        if not note:
            return problems
        return (Problem(field="providerApi", message=note, severity=Severity.WARNING), *problems)

    def _view(self, state: State, request_id: str, note: str) -> RequestView:
        request = state.request(request_id)
        machines = state.machines_of(request) if request else ()
        if request is None:
            request, machines = self.store.archived(request_id) or (None, ())
        if request is None:
            return RequestView(request_id=request_id, request=None, message=f"unknown request id: {request_id}")
        message = standing.progress(request, machines)
        made_by = (state.request(machine.request_id) for machine in machines)
        return RequestView(
            request_id=request_id,
            request=request,
            machines=machines,
            creators={request_id: request, **{one.request_id: one for one in made_by if one}},
            message="; ".join(part for part in (message, note) if part),
        )

    def _look_after_others(self) -> None:
        """Let deadlines act although nobody polls; what goes wrong there is not the caller's."""

        def work() -> None:
            try:
                self._polling.look_after(())
            except HfcoreError as error:
                self._logger.warning("looking after other requests: %s", error)

        self.later(work)

    def _reconcile_now_and_then(self) -> None:
        """Put right what cloud and records do not agree on, once a period; what goes wrong is not the caller's."""
        from hfcore.memory import LAST_RECONCILED

        period, memory = 60.0 * self.settings.reconcile_minutes, self._memory
        if not period or memory.recall(LAST_RECONCILED, period):
            return
        if memory.recall(LAST_RECONCILED) is None:  # a new store has nothing yet that may have been lost
            memory.remember(LAST_RECONCILED, value=True)
            return

        def work() -> None:
            try:
                self.reconciling.by_itself(self._open_memory())
            except HfcoreError as error:
                self._logger.warning("reconcile: %s", error)

        self.later(work)

    def _notify(self, name: str, request_id: str, detail: Mapping[str, Any]) -> None:
        from hfcore.models import Event

        event = Event(name=name, at=self._clock.now(), request_id=request_id, detail=detail)
        self.later(lambda: self.plugins.notify(event))

    def _notify_ended(self, before: Mapping[str, Request | None], views: tuple[RequestView, ...]) -> None:
        for view in views:
            was, now = before[view.request_id], view.request
            if was and now and lifecycle.is_open(was) and not lifecycle.is_open(now):
                name = "return.ended" if now.kind is RequestKind.RETURN else "request.ended"
                self._notify(name, now.request_id, {"status": now.status, "machine_ids": list(now.machine_ids)})


def _with_more(template: Template, tags: Mapping[str, str], user_data: Mapping[str, str]) -> Template:
    """Put what a request brings over what its template has."""
    if user_data:
        merged = split_pairs(template.user_data or "") | dict(user_data)
        template = replace(template, user_data=join_pairs(merged))
    return replace(template, instance_tags={**template.instance_tags, **tags}) if tags else template


def _as_lsf_reads(found: TemplateSet) -> TemplateSet:
    """Warn of template ids that LSF can't use (LSF reference, awsprov_templates.json: no underscores)."""
    message = "holds _, which LSF does not allow in a template's id"
    ids = (template.template_id for template in found.templates if "_" in template.template_id)
    odd = (Problem(field="templateId", message=message, severity=Severity.WARNING, template_id=one) for one in ids)
    return replace(found, problems=(*found.problems, *odd))


def _available(state: State, template: Template) -> int | None:
    if template.max_number == UNLIMITED:
        return None
    live, expected = units_in_use(state, template.template_id)
    return max(0, int(template.max_number - live - expected))
