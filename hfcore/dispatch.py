"""Own the way from requests to the plug-ins that serve them: grouping, context, fallback, and faults kept apart.

All requests of one plug-in, region and endpoint go to it in one call; several plug-ins are asked at the same time. What
goes wrong in one group is told for its requests alone.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hfcore.context import Context
from hfcore.errors import HfcoreError, PluginUnusable, UnknownProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from logging import Logger

    from hfcore.config import Settings
    from hfcore.context import Clock, Journal, Memory
    from hfcore.models import Request
    from hfcore.plugins import Plugins, Provider

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Value = TypeVar("Value")

FALLBACK_API = "RunInstances"
"""The provider API that serves an unknown one, and looks by tag for requests whose plug-in can't be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers(Generic[Answer]):
    """What the plug-ins answered, and what went wrong, by request id.

    Args:
        results: All answers of all groups.
        faults: Request id to the error of its group.
        notes: Request id to a sentence on how it was served, where that is not the usual way.
    """

    results: tuple[Answer, ...]
    faults: dict[str, HfcoreError]
    notes: dict[str, str]


class CallCache:
    """Answers that hold for one verb (`hfcore.context.Cache`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[object, threading.Lock] = {}
        self._values: dict[object, Any] = {}

    def once(self, key: object, make: Callable[[], Value]) -> Value:
        """Give the value of `key`, made by the first who asks; an exception is not kept."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._values:
                self._values[key] = make()
            value: Value = self._values[key]
            return value


class Dispatch:
    """Calls plug-ins on behalf of one verb.

    Args:
        plugins: Gives the installed plug-ins; called when the first one is needed.
        log: Gives the log; called when it is needed.
    """

    def __init__(
        self,
        *,
        plugins: Callable[[], Plugins],
        settings: Settings,
        owner: str,
        journal: Journal,
        memory: Memory,
        clock: Clock,
        log: Callable[[], Logger],
    ) -> None:
        self._plugins = plugins
        self._settings = settings
        self._owner = owner
        self._journal = journal
        self._memory = memory
        self._clock = clock
        self._log = log
        self._cache = CallCache()
        self._deadline = clock.monotonic() + settings.call_timeout_sec

    def context(self, provider: Provider, region: str, endpoint: str) -> Context:
        """Make the context for one plug-in, region and endpoint; contexts of one verb share cache and clients."""

        def clients(service: str, patience: str) -> Any:  # noqa: ANN401 - a cloud's client is made at run time
            return self._clients(provider.info.cloud, region, endpoint)(service, patience)

        return Context(
            settings=self._settings,
            owner=self._owner,
            provider=self._settings.provider,
            region=region,
            endpoint=endpoint,
            deadline=self._deadline,
            clock=self._clock,
            journal=self._journal,
            memory=self._memory,
            cache=self._cache,
            clients=clients,
            logger=self._log(),
            conf_dir=self._settings.conf_dir,
        )

    def for_template(self, provider_api: str) -> tuple[Provider, str]:
        """Give the plug-in that is to serve a new request, with a sentence if it is the fallback.

        Raises:
            UnknownProvider: The API is unknown, and the setting `fallback` refuses.
            PluginUnusable: The API's plug-in is broken, conflicting or disabled: that never falls back.
        """
        try:
            return self._plugins().provider(provider_api), ""
        except UnknownProvider as unknown:
            if self._settings.fallback != FALLBACK_API:
                raise
            try:
                provider = self._plugins().provider(FALLBACK_API)
            except UnknownProvider:
                raise unknown from None
            return provider, f"provider API {provider_api} is not installed: served by {provider.name} instead"

    def for_request(self, request: Request) -> tuple[Provider, str]:
        """Give the plug-in that serves a stored request for life; if it is unusable, another one of its cloud.

        Raises:
            PluginError: Neither can be used.
        """
        try:
            return self._plugins().provider(request.provider_api, request.distribution), ""
        except (UnknownProvider, PluginUnusable) as error:
            stand_in = self._stand_in(request)
            if stand_in is None:
                raise
            why = f"the plug-in of {request.provider_api} ({request.distribution}) can't be used"
            self._log().warning("%s: %s; %s looks by tag", request.request_id, error, stand_in.name)
            return stand_in, f"{why}: {stand_in.name} found what carries the request's tag"

    def capable(self, hook: str) -> Provider | None:
        """Give a usable plug-in with an optional hook that holds for its whole cloud; the fallback's comes first."""
        plugins = self._plugins()
        for name in dict.fromkeys((FALLBACK_API, *plugins.names())):
            with suppress(UnknownProvider, PluginUnusable):
                provider = plugins.provider(name)
                if provider.implements(hook):
                    return provider
        return None

    def usable(self) -> tuple[tuple[Provider, ...], tuple[str, ...]]:
        """Give every plug-in that can be used, and why others can't; one that is switched off is not missed."""
        from hfcore.plugins import PluginStatus

        records = self._plugins().records()
        active = (row.candidate.name for row in records if row.status is PluginStatus.ACTIVE)
        others = (row for row in records if row.status not in (PluginStatus.ACTIVE, PluginStatus.DISABLED))
        missed = tuple(f"plug-in {row.candidate.name} is {row.status}: {row.reason}" for row in others)
        return tuple(map(self._plugins().provider, active)), missed

    def installed(self) -> frozenset[str]:
        """Give the names of all installed provider APIs and their aliases in lower case, usable or not."""
        return frozenset(map(str.casefold, self._plugins().names()))

    def switched_off(self) -> tuple[str, ...]:
        """Name the plug-ins that a setting has switched off."""
        from hfcore.plugins import PluginStatus

        return tuple(r.candidate.name for r in self._plugins().records() if r.status is PluginStatus.DISABLED)

    @property
    def time_left(self) -> float:
        """Seconds that are left of this verb's time for the cloud."""
        return self._deadline - self._clock.monotonic()

    def each(
        self,
        items: Iterable[Item],
        request_of: Callable[[Item], Request],
        ask: Callable[[Provider, tuple[Item, ...], Context], tuple[Answer, ...]],
    ) -> Answers[Answer]:
        """Call a hook for many requests: once for each plug-in, region and endpoint, all at the same time.

        Args:
            items: Requests, or what belongs to one each.
            request_of: Gives an item's request.
            ask: Calls the hook.
        """
        faults: dict[str, HfcoreError] = {}
        notes: dict[str, str] = {}
        groups: dict[tuple[str, str, str, str], tuple[Provider, list[Item]]] = {}
        for item in items:
            request = request_of(item)
            try:
                provider, note = self.for_request(request)
            except HfcoreError as error:
                faults[request.request_id] = error
                continue
            if note:
                notes[request.request_id] = note
            # An alias is the same plug-in: it is named by what it calls itself.
            key = (provider.info.name, provider.candidate.distribution, request.region, request.endpoint)
            groups.setdefault(key, (provider, []))[1].append(item)

        def ask_group(key: tuple[str, str, str, str]) -> tuple[Answer, ...]:
            provider, members = groups[key]
            try:
                return ask(provider, tuple(members), self.context(provider, key[2], key[3]))
            except HfcoreError as error:
                self._log().warning("%s: %s", provider.name, error)
                faults.update((request_of(member).request_id, error) for member in members)
                return ()

        results = tuple(answer for answers in at_once(ask_group, tuple(groups)) for answer in answers)
        return Answers(results=results, faults=faults, notes=notes)

    def _stand_in(self, request: Request) -> Provider | None:
        """Give the fallback plug-in, if it works in the same cloud."""
        try:
            provider = self._plugins().provider(FALLBACK_API)
        except (UnknownProvider, PluginUnusable):
            return None
        return provider if request.cloud and provider.info.cloud == request.cloud else None

    def _clients(self, cloud: str, region: str, endpoint: str) -> Callable[[str, str], Any]:
        from hfcore.plugins import cloud_clients

        return self._cache.once(
            ("clients", cloud, region, endpoint),
            lambda: cloud_clients(cloud, self._memory)(
                settings=self._settings,
                region=region,
                endpoint=endpoint,
                clock=self._clock,
                deadline=self._deadline,
                operations=lambda: self._operations(cloud),
            ),
        )

    def _operations(self, cloud: str) -> frozenset[str]:
        """Give what the usable plug-ins of a cloud declare to call; imports them all."""
        return frozenset(
            one for provider in self.usable()[0] if provider.info.cloud == cloud for one in provider.info.operations
        )


def at_once(work: Callable[[Item], Value], items: tuple[Item, ...]) -> list[Value]:
    """Do the same for several items at the same time, at most four; a single one needs no thread."""
    if len(items) < 2:  # noqa: PLR2004 - one item is done right here
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(4, len(items))) as pool:
        return list(pool.map(work, items))
