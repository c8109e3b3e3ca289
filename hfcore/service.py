"""Own the use cases: what Host Factory's five scripts, and people, ask for. Knows no cloud, no JSON, no terminal.

What a use case does not need is not imported: listing templates and answering from the store need no plug-in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hfcore import lifecycle
from hfcore.errors import HfcoreError, InputError
from hfcore.models import Event, Problem, Reclaim, Request, RequestKind, RequestStatus, Severity
from hfcore.naming import host_name_by
from hfcore.store import open_store
from hfcore.templates import load_templates
from hfcore.usage import UNLIMITED, units_in_use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from logging import Logger

    from hfcore.config import Settings
    from hfcore.context import Clock
    from hfcore.dispatch import Dispatch
    from hfcore.journal import IntentFolder
    from hfcore.launching import Launching
    from hfcore.models import Machine, Template
    from hfcore.plugins import Plugins
    from hfcore.polling import Polling
    from hfcore.store import State
    from hfcore.templates import TemplateSet


MOST_UNITS = 10_000
"""Most units of one request, as of `maxNumber` (Host Factory) and of one fleet (EC2 quotas)."""


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
    """

    template: Template
    available: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Host Factory is told at once: the id to ask about, and a sentence."""

    request_id: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """One request as it stands; `request` is `None` for an unknown id."""

    request_id: str
    request: Request | None
    machines: tuple[Machine, ...] = ()
    message: str


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


class Service:
    """The use cases over one provider instance.

    Args:
        plugins: Gives the installed plug-ins; called at the first use case that needs one.
        fingerprint: Tells this set of installed plug-ins from another one.

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
        logger: Logger,
    ) -> None:
        self.settings = settings
        self._make_plugins = plugins
        self._fingerprint = fingerprint
        self._clock = clock
        self._logger = logger
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
        return load_templates(
            self.settings,
            claimed=lambda: self.plugins.template_fields(),  # noqa: PLW0108 - a cached parse needs no plug-in
            check=self._check_template,
            fingerprint=self._fingerprint(),
        )

    def available_templates(self) -> tuple[TemplateView, ...]:
        """List what Host Factory may ask for, and how much of it is left."""
        state = self.store.read()
        return tuple(
            TemplateView(template=template, available=_available(state, template))
            for template in self.templates.templates
        )

    def request_machines(self, template_id: str, count: int) -> Answer:
        """Ask the cloud for `count` units of a template.

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
        template = self.templates.require(template_id)
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
        state = self.store.read()
        before = {request_id: state.request(request_id) for request_id in asked}
        notes: Mapping[str, str] = {}
        if any(before.values()):
            notes = self._polling.look_after(asked)
            state = self.store.read()
        views = tuple(self._view(state, request_id, notes.get(request_id, "")) for request_id in asked)
        self._notify_ended(before, views)
        return views

    def request_return(self, machines: tuple[MachineRef, ...]) -> Answer:
        """Take machines back, and end exactly these.

        Returns:
            The id of the stored return. What the cloud refuses stays `executing`, and is tried again at each poll.

        Raises:
            InputError: Two live machines have a name that was given without id; nothing is stored.
            StoreError: The store can't be trusted or written; the cloud was not asked.
        """
        from hfcore.journal import this_process

        request_id = f"ret-{uuid4()}"
        with self.store.transaction() as state:
            found, unknown = _find_machines(state, machines)
            returned = tuple(lifecycle.given_back(machine, request_id) for machine in found)
            now = self._clock.now()
            request = Request(
                request_id=request_id,
                kind=RequestKind.RETURN,
                status=RequestStatus.IN_PROGRESS,
                target=len(returned),
                machine_ids=tuple(machine.instance_id for machine in returned),
                created_at=now,
                deadline=now + timedelta(minutes=self.settings.request_expiry_minutes),
                process=this_process(),
            )
            state.save_batch(returned)
            state.save_request(lifecycle.closed_return(request, returned, now))
        note = self._polling.carry_out_return(request_id).get(request_id, "") if returned else ""
        self._notify("return.created", request_id, {"machine_ids": list(request.machine_ids)})
        self._look_after_others()
        return Answer(request_id=request_id, message=_return_message(returned, unknown, note))

    def return_requests(self, machines: tuple[MachineRef, ...]) -> Reclaims:
        """Name the machines that the cloud takes back, and that Host Factory has not returned.

        Args:
            machines: The hosts that Host Factory knows; none means all.

        Raises:
            StoreError: The store can't be trusted.
        """
        state = self.store.read()
        names, ids = {ref.name for ref in machines if not ref.machine_id}, {ref.machine_id for ref in machines}
        known = (m for m in state.machines() if not machines or m.instance_id in ids or m.name in names)
        ours = tuple(machine for machine in known if not machine.return_id)
        gone = [m for m in ours if m.status in lifecycle.ENDING]
        views = [ReclaimView(machine=m, message=m.message or "it has ended", grace_seconds=0) for m in gone]
        live = tuple(m for m in ours if m.status not in lifecycle.ENDING)
        reclaims, message = self._ask_reclaims(state, live) if live else ((), "")
        views += self._reclaim_views(self._not_given_back(live) if reclaims else (), reclaims)
        self._look_after_others()
        return Reclaims(views=tuple(views), message=message)

    def _ask_reclaims(self, state: State, live: tuple[Machine, ...]) -> tuple[tuple[Reclaim, ...], str]:
        creators = {r.request_id: r for r in map(state.request, {m.request_id for m in live}) if r}
        answers = self._dispatch.each(
            tuple(machine for machine in live if machine.request_id in creators),
            lambda machine: creators[machine.request_id],
            lambda provider, machines, context: provider.reclaimed_instances(machines, context),
        )
        faults = dict.fromkeys(str(error) for error in answers.faults.values())
        return answers.results, "; ".join(faults)

    def _not_given_back(self, machines: tuple[Machine, ...]) -> tuple[Machine, ...]:
        """Leave out what Host Factory has returned while the cloud was asked: our own end of it is no reclaim."""
        now = {machine.instance_id: machine for machine in self.store.read().machines() if not machine.return_id}
        return tuple(now[machine.instance_id] for machine in machines if machine.instance_id in now)

    def _reclaim_views(self, live: tuple[Machine, ...], reclaims: Iterable[Reclaim]) -> list[ReclaimView]:
        """Store what has ended, so that it is not asked about again, and say what remains of each notice."""
        by_id = {machine.instance_id: machine for machine in live}
        now = self._clock.now()
        named = [(by_id[r.instance_id], r) for r in reclaims if r.instance_id in by_id]
        ended = [lifecycle.reclaimed(machine, reclaim, now) for machine, reclaim in named]
        if any(machine.status in lifecycle.ENDING for machine in ended):
            with self.store.transaction() as state:
                state.save_batch(machine for machine in ended if machine.status in lifecycle.ENDING)
        return [
            ReclaimView(
                machine=machine,
                message=f"{reclaim.code}: {reclaim.message}",
                grace_seconds=max(0, int((reclaim.at - now).total_seconds())) if reclaim.at else 0,
            )
            for machine, reclaim in named
        ]

    @cached_property
    def _journal(self) -> IntentFolder:
        from hfcore.journal import IntentFolder

        timeout = self.settings.lock_timeout_sec
        return IntentFolder(self._data / "journal", owner=self.store.owner, clock=self._clock, lock_timeout=timeout)

    @cached_property
    def _dispatch(self) -> Dispatch:
        from hfcore.dispatch import Dispatch
        from hfcore.memory import FileMemory

        return Dispatch(
            plugins=lambda: self.plugins,
            settings=self.settings,
            owner=self.store.owner,
            journal=self._journal,
            memory=FileMemory(self.settings.work_dir / "cache" / "memory.json", clock=self._clock),
            clock=self._clock,
            logger=self._logger,
        )

    @cached_property
    def _launching(self) -> Launching:
        from hfcore.launching import Launching

        return Launching(
            settings=self.settings,
            store=self.store,
            journal=self._journal,
            dispatch=self._dispatch,
            clock=self._clock,
            name_of=host_name_by(self.settings.host_name),
        )

    @cached_property
    def _polling(self) -> Polling:
        from hfcore.polling import Polling

        return Polling(
            settings=self.settings,
            store=self.store,
            journal=self._journal,
            dispatch=self._dispatch,
            launching=self._launching,
            clock=self._clock,
            name_of=host_name_by(self.settings.host_name),
        )

    def _check_template(self, template: Template) -> tuple[Problem, ...]:
        """Let the plug-in that is to serve a template judge it; no plug-in is a problem too."""
        try:
            provider, note = self._dispatch.for_template(template.provider_api or "")
            context = self._dispatch.context(provider, self.settings.region, self.settings.endpoint_url)
            problems = provider.validate_template(template, context)
        except HfcoreError as error:
            return (Problem(field="providerApi", message=str(error), hint=error.hint),)
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
        message = lifecycle.progress(request, machines)
        return RequestView(
            request_id=request_id,
            request=request,
            machines=machines,
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

    def _notify(self, name: str, request_id: str, detail: Mapping[str, Any]) -> None:
        event = Event(name=name, at=self._clock.now(), request_id=request_id, detail=detail)
        self.later(lambda: self.plugins.notify(event))

    def _notify_ended(self, before: Mapping[str, Request | None], views: tuple[RequestView, ...]) -> None:
        for view in views:
            was, now = before[view.request_id], view.request
            if was and now and lifecycle.is_open(was) and not lifecycle.is_open(now):
                name = "return.ended" if now.kind is RequestKind.RETURN else "request.ended"
                self._notify(name, now.request_id, {"status": now.status, "machine_ids": list(now.machine_ids)})


def _available(state: State, template: Template) -> int | None:
    if template.max_number == UNLIMITED:
        return None
    live, expected = units_in_use(state, template.template_id)
    return max(0, int(template.max_number - live - expected))


def _find_machines(state: State, refs: Iterable[MachineRef]) -> tuple[list[Machine], list[str]]:
    """Find the machines that are meant; an id decides, a name alone means the one live machine of that name."""
    refs = tuple(refs)
    by_name = _by_name(state) if any(not ref.machine_id for ref in refs) else {}
    found: dict[str, Machine] = {}
    unknown: list[str] = []
    for ref in refs:
        matches = by_name.get(ref.name, [])
        if not ref.machine_id and len(matches) > 1 and lifecycle.is_live(matches[0]):
            ids = ", ".join(machine.instance_id for machine in matches)
            raise InputError(f"{len(matches)} live machines are named {ref.name}: {ids}", hint="give their machineId")
        meant = filter(None, [state.machine(ref.machine_id)]) if ref.machine_id else matches
        by_id = {machine.instance_id: machine for machine in meant}
        if not by_id:
            unknown.append(str(ref))
        found |= by_id
    return list(found.values()), unknown


def _by_name(state: State) -> dict[str, list[Machine]]:
    """Give the live machines of each name, or else those that have died and were not given back yet."""
    live: dict[str, list[Machine]] = {}
    dead: dict[str, list[Machine]] = {}
    for machine in state.machines():
        if lifecycle.is_live(machine):
            live.setdefault(machine.name, []).append(machine)
        elif not machine.return_id:
            dead.setdefault(machine.name, []).append(machine)
    return dead | live


def _return_message(returned: tuple[Machine, ...], unknown: list[str], note: str) -> str:
    parts = [f"{len(returned)} machine{'' if len(returned) == 1 else 's'} being returned"]
    if unknown:
        parts.append(f"not known here, and left alone: {', '.join(unknown)}")
    return "; ".join(part for part in (*parts, note) if part)
