"""Own instances that no record names: what the cloud says of them, and how those of ours come into the records.

A store that was lost, or brought back from an older copy, knows less than Host Factory does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hfcore import lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from hfcore.config import Settings
    from hfcore.dispatch import Dispatch
    from hfcore.models import Found, Instance, Request
    from hfcore.store import State, Store
    from hfcore.views import MachineRef


class Strangers:
    """Asks the cloud about instances that no record names, in the region of the settings."""

    def __init__(self, *, settings: Settings, dispatch: Dispatch) -> None:
        self._settings = settings
        self._dispatch = dispatch

    def ask(
        self, instance_ids: Iterable[str] = (), host_names: Iterable[str] = (), request_ids: Iterable[str] = ()
    ) -> tuple[Found, ...]:
        """Ask about instances by their ids and host names, and about all that requests have made, by their tags.

        Returns:
            What the cloud says; nothing where no plug-in can tell.

        Raises:
            CloudError: The cloud could not be asked.
            PluginError: The plug-in broke.
        """
        asked = tuple(instance_ids), tuple(host_names), tuple(request_ids)
        provider = self._dispatch.capable("find_instances") if any(asked) else None
        if provider is None:
            return ()
        context = self._dispatch.context(provider, self._settings.region, self._settings.endpoint_url)
        return provider.find_instances(*asked, context)

    def families(self, state: State, found: Iterable[Found]) -> dict[str, Found]:
        """Give those of ours that live, and what else lives of their requests where these are not stored.

        What lives of a request that comes back is all of it: what it did not name would be late, and ended.

        Raises:
            CloudError: The cloud could not be asked.
            PluginError: The plug-in broke.
        """
        ours = [one for one in found if _lives(one)]
        lost = {one.request_id for one in ours if one.request_id and state.request(one.request_id) is None}
        everyone = (*ours, *self.ask(request_ids=sorted(lost)))
        return {one.instance_id: one for one in everyone if _lives(one)}

    def adopt(
        self, state: State, store: Store, found: Iterable[Found], at: datetime, name_of: Callable[[Instance], str]
    ) -> frozenset[str]:
        """Put instances of ours into the records, each with its request; give the ids of those that were not there.

        Args:
            state: The records, to be changed.
            store: Their store, whose archive may have the request.
            found: The instances, of which all live.
            at: When the cloud was asked.
            name_of: Gives an instance its host name.
        """
        from uuid import uuid4

        families: dict[str, list[Found]] = {}
        for one in found:
            if one.instance and state.machine(one.instance_id) is None:
                families.setdefault(one.request_id or f"req-{uuid4()}", []).append(one)
        for request_id, members in families.items():
            request = self._request(state, store, request_id, members, at)
            state.save_request(lifecycle.joined(request, (one.instance_id for one in members)))
            instances = [_weighed(one.instance, request) for one in members if one.instance]
            state.save_batch(lifecycle.machine_of(request_id, one, at, name_of) for one in instances)
        return frozenset(one.instance_id for members in families.values() for one in members)

    def _request(self, state: State, store: Store, request_id: str, members: list[Found], at: datetime) -> Request:
        """Give the request to which instances belong: as it is stored or archived, else as they tell of it."""
        stored = state.request(request_id)
        if stored is not None:
            return stored
        archived = store.archived(request_id)
        if archived is not None:
            return replace(archived[0], machine_ids=())
        provider = self._dispatch.capable("find_instances")
        return lifecycle.adopted(
            request_id,
            members,
            at,
            cloud=provider.info.cloud if provider else "",
            region=self._settings.region,
            endpoint=self._settings.endpoint_url,
        )


def unrecorded(state: State, refs: Iterable[MachineRef]) -> tuple[MachineRef, ...]:
    """Give the hosts that no record names, each once; the id decides where there is one."""
    absent = dict.fromkeys(ref for ref in refs if not ref.machine_id or state.machine(ref.machine_id) is None)
    names = {machine.name for machine in state.machines()} if any(not ref.machine_id for ref in absent) else set()
    return tuple(ref for ref in absent if ref.machine_id or ref.name not in names)


def ids_and_names(refs: Iterable[MachineRef]) -> tuple[list[str], list[str]]:
    """Part hosts into the ids of those that have one, and the names of the others."""
    refs = tuple(refs)
    return [ref.machine_id for ref in refs if ref.machine_id], [ref.name for ref in refs if not ref.machine_id]


def by_word(found: Iterable[Found]) -> dict[str, Found]:
    """Key what the cloud says by the id or name that was asked for; of one name's, who is not gone comes first."""
    return {one.host_name or one.instance_id: one for one in sorted(found, key=is_gone, reverse=True)}


def is_gone(one: Found) -> bool:
    """Tell whether the cloud knows it no more, or knows that it has ended."""
    return not one.known or (one.instance is not None and one.instance.status in lifecycle.ENDING)


def _lives(one: Found) -> bool:
    return one.instance is not None and one.instance.status not in lifecycle.ENDING


def _weighed(instance: Instance, request: Request) -> Instance:
    template = request.template
    units = {**template.vm_types_on_demand, **template.vm_types} if template else {}
    return replace(instance, weight=float(units.get(instance.instance_type, 1)))
