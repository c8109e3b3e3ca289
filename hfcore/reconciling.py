"""Own what is done where cloud and records do not agree: all that is ours is listed, judged, and put right.

What is to be done is judged by `hfcore.reconcile`. Here all plug-ins list what carries our owner tag, wherever requests
live; the records are read after that, so that they know what was made meanwhile.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast, get_args
from zlib import crc32

from hfcore import lifecycle
from hfcore.archive import Archive, id_of
from hfcore.dispatch import at_once
from hfcore.errors import CloudError, HfcoreError
from hfcore.lastwrite import is_last_written
from hfcore.memory import LAST_RECONCILED
from hfcore.models import FleetType, Machine, MachineStatus, Release, Request, RequestKind, RequestStatus, Template
from hfcore.reconcile import INSTANCE, UNUSED_DAYS, Deed, Held, Judge, Place, Records
from hfcore.records import decode_time
from hfcore.storecheck import LACKS, taken_out
from hfcore.storefolder import ARCHIVE_FOLDER, META_FILE, RESTORED_AT, read_meta
from hfcore.strangers import Strangers
from hfcore.usage import not_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from hfcore.config import Settings
    from hfcore.dispatch import Answers
    from hfcore.launching import Launching
    from hfcore.memory import FileMemory
    from hfcore.models import Outcome, OwnedResource
    from hfcore.plugins import Provider
    from hfcore.polling import Polling
    from hfcore.providerinstance import ProviderInstance
    from hfcore.reconcile import Finding
    from hfcore.store import State

MOST_BY_ITSELF = 50
"""So many things are put right in one run that nobody asked for."""

LONGEST_CALL = timedelta(minutes=10)
"""What is younger is not judged: no call takes so long, and by then the cloud shows what a call has made."""

NOT_LAST_WRITTEN = (
    "the records are not those that were written here last, but copied, put back or changed by hand: they may lack it, "
    "or another instance may use it"
)

CLAIM = "reconcile"
"""What keeps two processes from doing this at the same time."""

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")

Key = tuple[str, str, str]

Group = TypeVar("Group")

_Archived = tuple[Place, str, "datetime"]  # where an archived request lived, its template, and when it was made


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found.

    Args:
        findings: Where cloud and records do not agree.
        held: So many things of ours the cloud has.
        unlisted: What could not be listed, and why.
        doubt: Why nothing may be done; empty as a rule.
    """

    findings: tuple[Finding, ...]
    held: int
    unlisted: tuple[str, ...]
    doubt: str


class Reconciling:
    """Looks at all that is ours, and puts right what it is told to."""

    def __init__(self, instance: ProviderInstance, *, launching: Launching, polling: Polling) -> None:
        self._settings = instance.settings
        self._data = instance.settings.work_dir / "data"
        self._store = instance.store
        self._journal = instance.journal
        self._dispatch = instance.dispatch
        self._launching = launching
        self._polling = polling
        self._clock = instance.clock
        self._name_of = instance.name_of
        self._members: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def survey(self, *, templates: bool = True) -> Survey:
        """List all that is ours, then read the records, and say where they do not agree. Changes nothing.

        Args:
            templates: Whether shared launch templates are judged too, and the places are listed in which only archived
                requests have lived: the archive is read for both.

        Raises:
            StoreError: The store can't be trusted.
        """
        archived = [*self._archived()] if templates else []
        places = _places(self._store.read(), (place for place, *_ in archived if place.region), self._settings)
        held, missed = self._list(places)
        for one in held:
            if one.resource.kind == INSTANCE:
                self._members[one.place.region, one.resource.request_id].add(one.resource.resource_id)
        state = self._store.read()
        for place in places:
            missed[place] += (*filter(None, [self._other_account(state, place, held)]), *self._unserved(state, place))
        told = {place: f"not all there could be listed: {'; '.join(why)}" for place, why in missed.items() if why}
        records = self._records(state, told, archived)
        judge = Judge(
            held,
            records,
            now=self._clock.now(),
            margin=max(LONGEST_CALL, timedelta(seconds=2 * self._settings.foreign_after_sec)),
            unused=timedelta(days=UNUSED_DAYS) if templates else None,
        )
        findings = (*judge.findings(), *judge.missing(frozenset(places) - told.keys()))
        said = tuple(f"{place.region}: {why}" if place.region else why for place, why in told.items())
        count = len({one.key for one in held})
        return Survey(findings=findings, held=count, unlisted=said, doubt=records.doubt)

    def trust_records(self) -> None:
        """Take a person's word for it that the records are complete and the only ones; see `storerepair.trust`."""
        from hfcore.storerepair import trust

        trust(self._data, lock_timeout=self._settings.lock_timeout_sec)

    def act(self, findings: Iterable[Finding]) -> Mapping[Key, str]:
        """Do what is proposed.

        Returns:
            Why something is not done, by `key`; what is done is not named.

        Raises:
            StoreError: The store can't be trusted or written.
        """
        proposed: defaultdict[Deed, list[Finding]] = defaultdict(list)
        for one in findings:
            proposed[one.deed].append(one)
            logger.warning("reconcile: %s %s %s: %s", one.deed, *key(one)[:2], one.why)
        undone = self._adopt(proposed[Deed.ADOPT])
        state = self._store.read()
        known = [one for one in proposed[Deed.END] if _is_known_by_now(state, one)]
        undone |= {key(one): "a record knows it by now" for one in known}
        for members in _grouped((one for one in proposed[Deed.END] if one not in known), _place).values():
            undone |= self._end(members)
        undone |= self._remove(proposed[Deed.REMOVE])
        looked_for = {one.request.request_id for one in proposed[Deed.LOOK] if one.request}
        if looked_for:
            self._polling.look_after(looked_for, asked=False)
        for (kind, resource_id, _), why in undone.items():
            logger.warning("reconcile: %s %s is left as it is: %s", kind, resource_id, why)
        return undone

    def by_itself(self, memory: FileMemory) -> None:
        """Do what needs no person's leave, and log the rest; at most once a period for all processes together.

        Args:
            memory: Knows the last time, that of other processes too.

        Raises:
            StoreError: The store can't be trusted or written.
        """
        with self._journal.claims() as claims:
            period = 60.0 * self._settings.reconcile_minutes
            too_late = self._dispatch.time_left < self._settings.call_timeout_sec / 2
            if too_late or not claims.take([CLAIM]) or memory.recall(LAST_RECONCILED, period):
                return
            memory.remember(LAST_RECONCILED, value=True)
            survey = self.survey(templates=False)
            todo = [one for one in survey.findings if not one.leave and one.deed not in (Deed.KEEP, Deed.LOOK)]
            told = [one for one in survey.findings if one not in todo]
            for one in told[:MOST_BY_ITSELF]:
                logger.warning("reconcile: %s %s stands: %s; see: hfcore reconcile", *key(one)[:2], one.why)
            for why in survey.unlisted:
                logger.warning("reconcile: not all could be listed: %s", why)
            self.act(todo[:MOST_BY_ITSELF])

    def _list(self, places: Sequence[Place]) -> tuple[tuple[Held, ...], defaultdict[Place, list[str]]]:
        """Let every plug-in list what is ours in every place; give with it why one place or another is incomplete."""
        providers, missed = self._dispatch.usable()
        unlisted: defaultdict[Place, list[str]] = defaultdict(list)
        for place in places if missed else ():
            unlisted[place].extend(missed)
        lists: defaultdict[tuple[Place, OwnedResource], list[str]] = defaultdict(list)

        def ask(asked: tuple[Place, Provider]) -> None:
            place, provider = asked
            try:
                listed = provider.owned_resources(self._dispatch.context(provider, *place))
            except HfcoreError as error:
                unlisted[place].append(f"{provider.name}: {error}")
                return
            for one in listed:
                lists[place, one].append(provider.info.name)

        at_once(ask, tuple((place, provider) for place in places for provider in providers))
        held = tuple(Held(resource=one, place=place, apis=tuple(apis)) for (place, one), apis in lists.items())
        return held, unlisted

    def _other_account(self, state: State, place: Place, held: Iterable[Held]) -> str:
        """Say so if another account has answered than the one in which requests of a place live."""
        its = [one for one in state.requests() if one.account_id and (one.region, one.endpoint) == place]
        standing = [one for one in its if not lifecycle.is_finished(one)]
        answered = next((one.resource.account_id for one in held if one.place == place), "")
        if not answered and standing:  # nothing is listed, though something may stand
            ids = [one for request in standing for one in (*request.resource_ids, *request.machine_ids)]
            with suppress(HfcoreError):  # the look at what is missing then tells it
                answered = next((one.account_id for one in self._strangers(place).ask(ids[:1])), "")
        accounts = {one.account_id for one in standing or its}
        others = accounts - {answered}
        if not others or not answered or (answered in accounts and not standing):
            return ""
        return f"account {answered} has answered, requests there live in {', '.join(sorted(others))}"

    def _unserved(self, state: State, place: Place) -> Iterable[str]:
        """Say what lives there that no plug-in lists, because it is not installed any more."""
        known = self._dispatch.installed()
        its = (one for one in not_over(state) if (one.region, one.endpoint) == place)
        return sorted(
            {
                f"nothing lists {one.provider_api}, which is not installed: install {one.distribution or 'it'}"
                for one in its
                if one.kind is RequestKind.CREATE and one.provider_api.casefold() not in known
            }
        )

    def _records(self, state: State, unlisted: Mapping[Place, str], archived: Iterable[_Archived]) -> Records:
        meta = read_meta(self._data / META_FILE)
        created = meta.get("created")
        uses: defaultdict[str, list[datetime]] = defaultdict(list)
        hot = ((one.template_id, one.created_at) for one in state.requests())
        for template_id, at in (*hot, *(its[1:] for its in archived)):
            uses[template_id].append(at)
        return Records(
            requests={one.request_id: one for one in state.requests()},
            machines={one.instance_id: one for one in state.machines()},
            archived=self._store.archived,
            begun=self._journal.requests(),
            used=uses,
            doubt=self._doubt(meta.get(RESTORED_AT)),
            unlisted=unlisted,
            provider=self._settings.provider,
            switched_off=self._dispatch.switched_off(),
            since=decode_time(created) if created else None,
        )

    def _doubt(self, restored: str | None) -> str:
        if restored is not None:
            return f"an older copy of the records was taken at {restored}: they may lack it"
        gone = taken_out(self._data)
        if gone:
            return f"{LACKS}: {len(gone)}, as {gone[0]}: it may lack more"
        return "" if is_last_written(self._data) else NOT_LAST_WRITTEN

    def _archived(self) -> Iterator[_Archived]:
        for line in Archive(self._data / ARCHIVE_FOLDER, month="").lines():
            if id_of(line.text) is not None:
                record = json.loads(line.text)["request"]
                place = Place(record.get("region", ""), record.get("endpoint", ""))
                yield place, record.get("template_id", ""), decode_time(record["created_at"])

    def _adopt(self, findings: Sequence[Finding]) -> dict[Key, str]:
        """Put what open requests do not know into their records."""
        undone: dict[Key, str] = {}
        for place, members in _grouped(findings, _place).items():
            strangers = self._strangers(place)
            ids = [one.resource.resource_id for one in members if one.resource.kind == INSTANCE]
            at = self._clock.now()
            try:
                found = {one.instance_id: one for one in strangers.ask(ids)}
            except HfcoreError as error:
                undone |= {key(one): str(error) for one in members if one.resource.kind == INSTANCE}
                found = {}
            with self._store.transaction() as state:
                opened = [one for one in members if _is_still_open(state, one)]
                named = {one.resource.resource_id: one.resource.request_id for one in opened}
                alive = [f for i, f in found.items() if f.instance and named.get(i) == f.request_id]
                strangers.adopt(state, self._store, alive, at, self._name_of)
                for one in opened:
                    request = state.request(one.resource.request_id)
                    if one.resource.kind != INSTANCE and request is not None:
                        state.save_request(lifecycle.standing(request, [one.resource.resource_id]))
            undone |= {key(one): "its request has ended meanwhile" for one in members if one not in opened}
        return undone

    def _strangers(self, place: Place) -> Strangers:
        settings = replace(self._settings, region=place.region, endpoint_url=place.endpoint)
        return Strangers(settings=settings, dispatch=self._dispatch)

    def _end(self, findings: Sequence[Finding]) -> dict[Key, str]:
        """End what launches, then machines, then remove what has launched: else others came in their place."""
        now = self._clock.now()
        launchers = _launchers(findings, now)
        stopped = self._dispatch.each(launchers, lambda one: one, lambda p, r, c: p.stop_launching(r, c))
        failed = _failed(stopped)
        machines = [one for one in findings if one.resource.kind == INSTANCE and _name(one) not in failed]
        standing = self._release(machines, now)
        busy = {_name(one): "a machine of its request is not ended" for one in machines if key(one) in standing}
        busy |= self._with_members(findings, machines)
        emptied = [replace(one, frozen=True) for one in launchers if one.request_id not in failed | busy]
        cleaned = self._dispatch.each(emptied, lambda one: one, lambda p, r, c: p.cleanup(r, c))
        self._forget(findings, now)
        left = busy | _failed(cleaned) | failed
        others = {key(one): left.get(_name(one), "") for one in findings if one not in machines}
        return standing | {of: why for of, why in others.items() if why}

    def _with_members(self, findings: Sequence[Finding], ended: Sequence[Finding]) -> dict[str, str]:
        """Say of requests that machines were left to them: to remove what has launched these would end them."""
        ids = {one.resource.resource_id for one in ended}
        left = {_name(one): len(self._members[one.place.region, one.resource.request_id] - ids) for one in findings}
        said = "it launches nothing more; machines that stand"
        return {name: f"{said}: {count}" for name, count in left.items() if count}

    def _release(self, findings: Sequence[Finding], now: datetime) -> dict[Key, str]:
        """End machines; give why some are not."""
        releases = [
            Release(
                request=members[0].request or _unrecorded(members[0], now),
                machines=tuple(one.machine or _unrecorded_machine(one, now) for one in members),
                return_id="",
            )
            for members in _grouped(findings, _name).values()
        ]
        answers = self._dispatch.each(releases, lambda one: one.request, lambda p, r, c: p.release_instances(r, c))
        ending = {instance_id for one in answers.results for instance_id in one.ending}
        faults = {i: str(fault) for one in answers.results for i, fault in one.faults.items()}
        whole = {name: str(error) for name, error in answers.faults.items()}
        left = [(one, one.resource.resource_id) for one in findings if one.resource.resource_id not in ending]
        return {key(one): faults.get(i) or whole.get(_name(one), "it was not answered") for one, i in left}

    def _remove(self, findings: Sequence[Finding]) -> dict[Key, str]:
        """Remove launch templates."""
        undone: dict[Key, str] = {}
        provider = self._dispatch.capable("remove_owned") if findings else None
        for place, members in _grouped(findings, _place).items():
            resources = {one.resource.resource_id: one.resource for one in members}
            why = dict.fromkeys(resources, "no plug-in can remove it")
            if provider is not None:
                try:
                    context = self._dispatch.context(provider, *place)
                    why = {one.subject: str(one) for one in provider.remove_owned(tuple(resources.values()), context)}
                except CloudError as error:
                    why = dict.fromkeys(resources, str(error))
            undone |= {key(one): why[one.resource.resource_id] for one in members if one.resource.resource_id in why}
        self._forget(findings, self._clock.now())
        return undone

    def _forget(self, findings: Iterable[Finding], since: datetime) -> None:
        """Forget the steps of what was done: what is left to be done, the next look finds out by itself."""
        state = self._store.read()
        for name in {_name(one) for one in findings}:
            request = state.request(name)
            if request is None:
                self._journal.forget(name)
            else:
                self._launching.forget_answered(request, since)


def key(one: Finding) -> Key:
    """Give what tells a finding from others: kind, id, region."""
    return one.resource.kind, one.resource.resource_id, one.place.region


def _places(state: State, archived: Iterable[Place], settings: Settings) -> tuple[Place, ...]:
    """Name the places in which requests live or have lived, and that of new ones."""
    creates = (one for one in state.requests() if one.kind is RequestKind.CREATE)
    lived = (Place(one.region, one.endpoint) for one in creates)
    return tuple(dict.fromkeys((*lived, *archived, Place(settings.region, settings.endpoint_url))))


def _place(one: Finding) -> Place:
    return one.place


def _grouped(findings: Iterable[Finding], of: Callable[[Finding], Group]) -> dict[Group, list[Finding]]:
    found: dict[Group, list[Finding]] = {}
    for one in findings:
        found.setdefault(of(one), []).append(one)
    return found


def _is_still_open(state: State, one: Finding) -> bool:
    request = state.request(one.resource.request_id)
    return request is not None and lifecycle.is_open(request)


def _is_known_by_now(state: State, one: Finding) -> bool:
    """Tell whether an instance that no record knew was adopted, such as by a return, since it was judged."""
    unknown = one.resource.kind == INSTANCE and one.machine is None
    return unknown and state.machine(one.resource.resource_id) is not None


def _name(one: Finding) -> str:
    """Give in whose name something is done: its request's, if its tag can be one."""
    named = one.resource.request_id
    return named if _REQUEST_ID.fullmatch(named) else f"reconcile-{crc32(one.resource.resource_id.encode()):08x}"


def _launchers(findings: Iterable[Finding], now: datetime) -> tuple[Request, ...]:
    """Give a request for each one whose fleets or groups are to be ended, as its plug-in takes it: these alone."""
    its = _grouped((one for one in findings if one.resource.kind != INSTANCE), _name)
    return tuple(_launcher(members, now) for members in its.values())


def _launcher(members: Sequence[Finding], now: datetime) -> Request:
    first = members[0]
    request = first.request or _unrecorded(first, now)
    template = request.template or Template(template_id=first.resource.template_id)
    form = first.resource.form if first.resource.form in get_args(FleetType) else None
    return replace(
        request,
        template=replace(template, fleet_type=cast("FleetType", form)),
        provider_api=first.apis[0],
        distribution="",
        resource_ids=tuple(one.resource.resource_id for one in members),
        machine_ids=(),
        frozen=False,
    )


def _unrecorded(one: Finding, now: datetime) -> Request:
    """Make a request of what tags tell: it is over, and nothing of it is to be launched."""
    return Request(
        request_id=_name(one),
        status=RequestStatus.COMPLETED,
        template_id=one.resource.template_id,
        provider_api=one.apis[0],
        region=one.place.region,
        endpoint=one.place.endpoint,
        account_id=one.resource.account_id,
        created_at=one.resource.created_at or now,
        frozen=True,
    )


def _unrecorded_machine(one: Finding, now: datetime) -> Machine:
    return Machine(
        instance_id=one.resource.resource_id,
        request_id=_name(one),
        status=MachineStatus.RUNNING,
        launch_time=one.resource.created_at,
        observed_at=now,
        listed=True,
    )


def _failed(answers: Answers[Outcome]) -> dict[str, str]:
    """Say by request id what is not done, and why."""
    left = {one.request_id: "; ".join(map(str, one.faults)) or "not yet" for one in answers.results if not one.done}
    return left | {request_id: str(error) for request_id, error in answers.faults.items()}
