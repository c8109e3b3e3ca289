"""Own the steps that the tests of the contract are made of: what a poll does, deaths on the way, and what must hold."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from unittest.mock import patch

import pytest

from hfcore.errors import CloudError, OutcomeUnknown, PluginCallError
from hfcore.lifecycle import is_finished, is_open
from hfcore.models import MachineStatus, Release, Request, RequestStatus
from hfcore.plugins import Provider
from hfcore.testing.core import Core, DeathError
from hfcore.testing.watching import WatchedJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hfcore.context import Context
    from hfcore.models import Discovery, Provisioned
    from hfcore.testing.cloud import Cloud

P = ParamSpec("P")
T = TypeVar("T")

STEP = 21.0
"""Seconds between two polls."""

LONG = 600.0
"""Seconds after which whatever was made is visible, and whatever was ended is gone."""

POLLS = 40
_MOMENT = 0.002


class ContractSteps:
    """The steps of which the tests are made."""

    def need(self, core: Core, hook: str) -> None:
        """Skip where the plug-in lacks an optional hook."""
        if not core.provider.implements(hook):
            pytest.skip(f"{core.provider.name} has no {hook}")

    def require(self, cloud: Cloud, what: str) -> None:
        """Skip where the cloud under test can't do something."""
        if not cloud.can(what):
            pytest.skip(f"{type(cloud).__name__} has no {what}()")

    def at_once(self, core: Core, hook: Callable[..., T], calls: Sequence[tuple[object, ...]]) -> list[T]:
        """Call a hook in as many threads, which start together and give way where they turn to the cloud or clock."""
        start, context = Barrier(len(calls)), core.context
        context = replace(context, clients=_giving_way(context.clients))

        def called(arguments: tuple[object, ...]) -> T:
            start.wait()
            return hook(*arguments, context)

        slow = patch.object(core.clock, "now", _giving_way(core.clock.now))
        with slow, ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(called, calls))

    def provisioned(self, core: Core, request: Request) -> Provisioned:
        """Let a new process provision a request, without storing what it made."""
        return core.provider.provision(request, core.template, core.context)

    @contextmanager
    def death(self) -> Iterator[None]:
        """Let what is done inside be cut off by a death in the journal, if one comes."""
        try:
            yield
        except PluginCallError as error:
            if not isinstance(error.__cause__, DeathError):
                raise

    def hold_to_time(self, monkeypatch: pytest.MonkeyPatch, core: Core) -> None:
        """Let each hook come back within the time of a call."""
        call = Provider._call  # noqa: SLF001 - where every call comes by

        def timed(provider: Provider, hook: str, **arguments: object) -> object:
            began = core.clock.monotonic()
            result = call(provider, hook, **arguments)
            took = core.clock.monotonic() - began
            assert took <= core.settings.call_timeout_sec, f"{hook} takes {took:.0f} s, and context.deadline is earlier"
            return result

        monkeypatch.setattr(Provider, "_call", timed)

    def unanswered(self, core: Core, cloud: Cloud, minutes: float) -> tuple[Request, set[str]]:
        """Let a process send the last call of a launch and die before it has noted the answer; give what was made."""
        for _ in range(2):  # the second has what requests share already
            journal, former = WatchedJournal(core.journal(), cloud.changes), core.request(1)
            core.take_in(core.provider.provision(former, core.template, replace(core.context, journal=journal)))
        others, request = set(cloud.machines()), core.request(2, minutes=minutes)
        last = ("answered", len(journal.begun))
        self.dying(core, request, WatchedJournal(core.journal(), cloud.changes, last))
        return request, set(cloud.machines()) - others

    def keeps(self, core: Core, request: Request, made: set[str]) -> None:
        """Hold a request to what was made for it: it knows all of that, or looks for it, and nothing else."""
        its = ids_of(core.its(request))
        assert its <= made, f"it takes what was not made for it: {its - made}"
        if core.now(request).status is RequestStatus.FAILED:
            assert not made, f"it is called refused, and has made {made}: {core.now(request).message}"
        assert made <= its | ids_of(self.looked_at(core, request).instances)

    def dying(self, core: Core, request: Request, journal: WatchedJournal) -> None:
        """Let a process provision a request, that is killed on its way; nothing of what it made is stored."""
        with self.death():
            core.provider.provision(request, core.template, replace(core.context, journal=journal))

    def ended(self, core: Core, request: Request, context: Context) -> None:
        """Let a process stop, give back and remove a request that is complete; nothing of that is stored."""
        asked = core.now(request)
        core.provider.stop_launching((asked,), context)
        asked = replace(asked, frozen=True)
        release = Release(request=asked, machines=tuple(core.live(request)), return_id="ret-1")
        core.provider.release_instances((release,), context)
        core.sleep(LONG)
        core.provider.cleanup((asked,), context)

    def resumed(self, core: Core, request: Request, every: float = LONG) -> None:
        """Provision a request as later calls do, until it is known what became of it."""
        for _ in range(POLLS):
            try:
                core.provision(core.now(request))
            except OutcomeUnknown:
                core.sleep(every)
            except CloudError:
                return
            else:
                return
        raise AssertionError("it is never known what became of the launch")

    def polled(self, core: Core) -> dict[str, Discovery]:
        """Do what a poll does."""
        core.sleep(STEP)
        core.advance()
        found = core.discover()
        for one in found.values():
            units = sum(each.weight for each in one.instances if each.status is MachineStatus.RUNNING)
            assert one.fulfilled <= units, f"fulfilled counts what runs: {one.fulfilled:g}, and {units:g} units run"
        return found

    def until_done(self, core: Core) -> None:
        """Poll until no request is open."""
        for _ in range(POLLS):
            found = self.polled(core)
            if not any(map(is_open, core.requests.values())):
                return
        raise AssertionError("\n".join(_waits(core, one, found) for one in core.requests.values() if is_open(one)))

    def until_over(self, core: Core, request: Request) -> None:
        """Poll, and once it is clear that nothing more comes, to the request's deadline."""
        for _ in range(5):
            self.polled(core)
        if is_open(core.now(request)):
            core.sleep(31 * 60)
            self.polled(core)

    def looked_at(self, core: Core, request: Request) -> Discovery:
        """Look at a request once."""
        return core.discover(request)[request.request_id]

    def cleaned(self, core: Core, *requests: Request) -> None:
        """Stop and clean up what has ended, until that is done: what is still ending may be in the way."""
        for _ in range(POLLS):
            core.freeze()
            core.cleanup()
            if all(is_finished(core.now(one)) for one in requests):
                return
            core.sleep(STEP)
            core.discover()
        raise AssertionError("the clean-up is never done")

    def whole_life(self, core: Core) -> None:
        """Let a request come, be stopped, be given back and be removed."""
        request = core.ask(2)
        self.until_done(core)
        core.freeze()
        live = tuple(core.live(request))
        core.provider.reclaimed_instances(live, (core.now(request),), core.context)
        core.provider.owned_resources(core.context)
        core.release(request, *live)
        core.sleep(LONG)
        core.about(*live)
        core.discover(request)
        self.cleaned(core, request)


def ids_of(these: Iterable[Any]) -> set[str]:
    """Give the ids of machines or instances."""
    return {one.instance_id for one in these}


def live_ids(found: Discovery) -> set[str]:
    """Give the ids of the instances that a look shows as coming or running."""
    return {one.instance_id for one in found.instances if one.status in (MachineStatus.PENDING, MachineStatus.RUNNING)}


def _giving_way(call: Callable[P, T]) -> Callable[P, T]:
    """Let other threads go on before a call."""

    def called(*arguments: P.args, **named: P.kwargs) -> T:
        time.sleep(_MOMENT)
        return call(*arguments, **named)

    return called


def _waits(core: Core, request: Request, found: Mapping[str, Discovery]) -> str:
    """Say what a request that never ends still waits for."""
    last, states = found.get(request.request_id), dict(Counter(str(one.status) for one in core.its(request)))
    told = f"last fulfilled {last.fulfilled:g}, final {last.final}" if last else "in no Discovery"
    return (
        f"{request.request_id} is {request.status} after {POLLS} polls: target {request.target}, {told}, machines "
        f"{states or 'none'}; it ends once Discovery.fulfilled, the units that run, has come to its target, or final "
        "says that no more comes, and none of its machines is pending"
    )
