"""Own the taking back of machines: which are meant, whose they are, and the record of the return."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from hfcore import lifecycle
from hfcore.errors import InputError
from hfcore.models import EMPTY, Request, RequestKind, RequestStatus
from hfcore.strangers import by_word, ids_and_names, unrecorded
from hfcore.worklist import accounts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hfcore.models import Found, Machine
    from hfcore.providerinstance import ProviderInstance
    from hfcore.store import State
    from hfcore.strangers import Strangers
    from hfcore.views import MachineRef


_REFUSED = "not ours by the owner tag, refused and left alone"


class Returning:
    """Stores returns; what they name is ended by `hfcore.polling`."""

    def __init__(self, instance: ProviderInstance, *, strangers: Callable[[], Strangers]) -> None:
        self._settings = instance.settings
        self._store = instance.store
        self._strangers = strangers
        self._clock = instance.clock
        self._name_of = instance.name_of

    def take_back(self, refs: tuple[MachineRef, ...]) -> tuple[Request, tuple[str, ...]]:
        """Store a return of machines; those that no record names are asked of the cloud, and adopted if they are ours.

        Returns:
            The return, and what is to be said: how many machines are returned, and what becomes of the others.

        Raises:
            InputError: Two live machines have a name that was given without id; nothing is stored.
            CloudError: The cloud could not be asked about machines that no record names; nothing is stored.
            StoreError: The store can't be trusted or written.
        """
        from hfcore.journal import this_process

        request_id, since = f"ret-{uuid4()}", self._clock.now()
        asked, ours = self._unrecorded(refs)
        with self._store.transaction() as state:
            adopted: frozenset[str] = frozenset()
            if ours:
                adopted = self._strangers().adopt(state, self._store, ours.values(), since, self._name_of)
            meant, unknown = _find_machines(state, refs)
            found = [machine for machine in meant if not machine.disowned]
            theirs = [machine.instance_id for machine in meant if machine.disowned]
            returned = tuple(lifecycle.given_back(machine, request_id) for machine in found)
            taken_in = [machine.instance_id for machine in found if machine.instance_id in adopted]
            remarks = _remarks(taken_in, theirs, unknown, asked, accounts_of(state, self._settings.region))
            now = self._clock.now()
            request = Request(
                request_id=request_id,
                kind=RequestKind.RETURN,
                status=RequestStatus.IN_PROGRESS,
                message="; ".join(remarks),
                target=len(returned),
                machine_ids=tuple(machine.instance_id for machine in returned),
                created_at=now,
                deadline=now + timedelta(minutes=self._settings.request_expiry_minutes),
                process=this_process(),
            )
            state.save_batch(returned)
            state.save_request(lifecycle.closed_return(request, returned, now))
        count = f"{len(returned)} machine{'' if len(returned) == 1 else 's'} being returned"
        return request, (count, *remarks)

    def _unrecorded(self, refs: Iterable[MachineRef]) -> tuple[Mapping[str, Found], Mapping[str, Found]]:
        """Ask the cloud about hosts that no record names; give what it says of them, and all that is to be adopted."""
        state = self._store.read()
        unknown = unrecorded(state, refs)
        if not unknown:
            return EMPTY, EMPTY
        asked = self._strangers().ask(*ids_and_names(unknown))
        return by_word(asked), self._strangers().families(state, asked)


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
    return list(found.values()), list(dict.fromkeys(unknown))


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


def _remarks(
    adopted: list[str],
    theirs: list[str],
    unknown: list[str],
    asked: Mapping[str, Found],
    accounts: frozenset[str],
) -> tuple[str, ...]:
    """Say what becomes of machines that no record named, or that are another's by now."""
    told: dict[str, list[str]] = {"not known here, adopted by the owner tag": adopted, _REFUSED: theirs}
    for one in unknown:
        told.setdefault(_fate(asked.get(one), accounts), []).append(one)
    return tuple(f"{fate}: {', '.join(ids)}" for fate, ids in told.items() if ids)


def _fate(found: Found | None, accounts: frozenset[str]) -> str:
    if found is None:
        return "not known here, and left alone"
    if not found.known and accounts and found.account_id not in accounts:
        return f"not known here nor in account {found.account_id or '(unknown)'}, and left alone"
    if found.host_name and not found.known:
        return "not known here, and no instance has this name"
    if not found.known or found.ours:
        return "not known here, and gone already"
    return _REFUSED
