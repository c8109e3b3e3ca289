"""Own what Host Factory is to give back as the cloud takes it: asked, told by messages, and seen in the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcore import lifecycle
from hfcore.errors import HfcoreError
from hfcore.models import Machine, MachineStatus
from hfcore.strangers import by_word, ids_and_names, is_gone, unrecorded
from hfcore.views import Reclaims, ReclaimView
from hfcore.worklist import accounts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hfcore.models import Notice, Reclaim
    from hfcore.polling import Polling
    from hfcore.providerinstance import ProviderInstance
    from hfcore.store import State
    from hfcore.strangers import Strangers
    from hfcore.views import MachineRef


class Reclaiming:
    """Finds what the cloud takes back, for one call."""

    def __init__(self, instance: ProviderInstance, *, polling: Polling, strangers: Strangers) -> None:
        self._settings = instance.settings
        self._store = instance.store
        self._dispatch = instance.dispatch
        self._polling = polling
        self._strangers = strangers
        self._clock = instance.clock
        self._notes: list[str] = []

    def look(self, refs: tuple[MachineRef, ...]) -> Reclaims:
        """Name the machines that the cloud takes back, and that Host Factory has not returned.

        Args:
            refs: The hosts that Host Factory knows; none means all that are recorded.

        Raises:
            StoreError: The store can't be trusted, or what was seen can't be written.
        """
        state = self._store.read()
        if self._settings.reclaim_queue_url and state.live_ids() and self._take_in_notices():
            state = self._store.read()
        meant = _meant(state, refs)
        live = tuple(machine for machine in meant if machine.status not in lifecycle.ENDING)
        found = self._ask(state, live) if live else {}
        unsure = {m.request_id for m in live if m.instance_id in found and found[m.instance_id].status is None}
        if unsure:
            self._make_sure(unsure)
        views = self._views(meant, found) if found or len(live) < len(meant) else ()
        views += self._strangers_gone(state, refs)
        return Reclaims(views=views, message="; ".join(dict.fromkeys(self._notes)))

    def _take_in_notices(self) -> bool:
        """Store what messages of the cloud's have announced, then let the queue forget them; tell if there were any."""
        provider = self._dispatch.capable("receive_notices")
        if provider is None:
            self._notes.append("reclaim_queue_url is set, and no installed plug-in reads a queue")
            return False
        context = self._dispatch.context(provider, self._settings.region, self._settings.endpoint_url)
        try:
            notices = provider.receive_notices(context)
            if notices:
                self._store_notices(notices)
                self._notes += map(str, provider.forget_notices(notices, context))
        except HfcoreError as error:
            self._notes.append(f"reclaim_queue_url: {error}")
            return True
        return bool(notices)

    def _store_notices(self, notices: Iterable[Notice]) -> None:
        with self._store.transaction() as state:
            for reclaim in (notice.reclaim for notice in notices if notice.reclaim):
                machine = state.machine(reclaim.instance_id)
                if machine and not machine.return_id and lifecycle.is_live(machine):
                    state.save_batch([lifecycle.noticed(machine, reclaim)])

    def _ask(self, state: State, live: tuple[Machine, ...]) -> dict[str, Reclaim]:
        creators = {r.request_id: r for r in map(state.request, {m.request_id for m in live}) if r}
        answers = self._dispatch.each(
            tuple(machine for machine in live if machine.request_id in creators),
            lambda machine: creators[machine.request_id],
            lambda provider, machines, context: provider.reclaimed_instances(
                machines, tuple(creators[one] for one in dict.fromkeys(m.request_id for m in machines)), context
            ),
        )
        self._notes += map(str, answers.faults.values())
        return {reclaim.instance_id: reclaim for reclaim in answers.results}

    def _make_sure(self, request_ids: set[str]) -> None:
        """Look at machines that the cloud does not know as a poll does, which knows when such a one is gone."""
        notes = self._polling.look_after(request_ids, asked=False).notes
        self._notes += (notes[one] for one in sorted(request_ids) if one in notes)

    def _views(self, meant: Iterable[Machine], found: Mapping[str, Reclaim]) -> tuple[ReclaimView, ...]:
        """Store what has ended, so that it is not asked about again, and say what remains of each notice.

        What Host Factory has returned while the cloud was asked is left out: our own end of it is no reclaim.
        """
        state, now = self._store.read(), self._clock.now()
        current = filter(None, (state.machine(machine.instance_id) for machine in meant))
        views: list[ReclaimView] = []
        ended: list[Machine] = []
        for machine in filter(_is_host_factorys, current):
            reclaim = found.get(machine.instance_id)
            if machine.status in lifecycle.ENDING:
                views.append(_over(machine))
            elif reclaim and reclaim.status is not None:
                after = lifecycle.reclaimed(machine, reclaim, now)
                ended += [after] if after.status in lifecycle.ENDING else []
                left = (reclaim.at - now).total_seconds() if reclaim.at else 0.0
                message = f"{reclaim.code}: {reclaim.message}"
                views.append(ReclaimView(machine=after, message=message, grace_seconds=max(0, int(left))))
        if ended:
            with self._store.transaction() as changing:
                changing.save_batch(ended)
        return tuple(views)

    def _strangers_gone(self, state: State, refs: Iterable[MachineRef]) -> tuple[ReclaimView, ...]:
        """Name hosts that no hot record names and that are gone; one that lives is nobody's to take back.

        The archive has what has been over for long: that is not asked about, and our own returns are not named.
        """
        unknown = unrecorded(state, refs)
        archived = self._store.archived_machines(map(str, unknown))
        unreturned = tuple(map(_over, filter(_is_host_factorys, archived.values())))
        return unreturned + self._gone([ref for ref in unknown if str(ref) not in archived], state)

    def _gone(self, unknown: Sequence[MachineRef], state: State) -> tuple[ReclaimView, ...]:
        try:
            found = by_word(self._strangers.ask(*ids_and_names(unknown)))
        except HfcoreError as error:
            self._notes.append(f"{len(unknown)} unknown hosts: {error}")
            return ()
        accounts, now = accounts_of(state, self._settings.region), self._clock.now()
        gone = [(ref, found[str(ref)]) for ref in unknown if str(ref) in found and is_gone(found[str(ref)])]
        sure = [(ref, one) for ref, one in gone if one.known or one.account_id in accounts]
        if len(sure) < len(gone):
            doubted = len(gone) - len(sure)
            self._notes.append(f"known neither here nor to the cloud, whose account no request names: {doubted}")
        return tuple(
            ReclaimView(
                machine=Machine(
                    instance_id=one.instance_id,
                    request_id=one.request_id,
                    status=MachineStatus.TERMINATED,
                    name=ref.name or ref.machine_id,
                    observed_at=now,
                ),
                message=lifecycle.NO_LONGER_KNOWN if one.instance is None else one.instance.message or "it has ended",
                grace_seconds=0,
            )
            for ref, one in sure
        )


def _meant(state: State, refs: tuple[MachineRef, ...]) -> tuple[Machine, ...]:
    """Give the machines that Host Factory knows and has not returned."""
    names, ids = {ref.name for ref in refs if not ref.machine_id}, {ref.machine_id for ref in refs}
    known = (m for m in state.machines() if not refs or m.instance_id in ids or m.name in names)
    return tuple(filter(_is_host_factorys, known))


def _over(machine: Machine) -> ReclaimView:
    return ReclaimView(machine=machine, message=machine.message or "it has ended", grace_seconds=0)


def _is_host_factorys(machine: Machine) -> bool:
    return not machine.return_id and not machine.discarded
