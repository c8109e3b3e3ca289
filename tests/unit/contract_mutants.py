"""Fake providers that are broken in one way each, and the contract around them; run by `test_provider_contract`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from hfcore.hookspecs import hookimpl
from hfcore.models import Discovery, MachineStatus, Outcome, Provisioned, Released
from hfcore.testing import FakeCloud, FakeProvider
from hfcore.testing.fakecontract import FakeContract

if TYPE_CHECKING:
    from hfcore.context import Context
    from hfcore.models import Instance, Release, Request


class Leaks(FakeProvider):
    @hookimpl
    def cleanup(self, requests: tuple[Request, ...]) -> tuple[Outcome, ...]:
        return tuple(Outcome(request_id=one.request_id, done=True) for one in requests)


class Doubles(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        for intent in context.journal.steps(request.request_id):
            context.journal.drop(intent)
        self.cloud.groups.pop(request.request_id, None)
        return super().provision(request, context)


class WrongType(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        made: Any = super().provision(request, context)
        return replace(made, resource_ids=list(made.resource_ids))


class ForgetsTags(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        made = super().provision(request, context)
        for one in made.instances:
            self.cloud.instances[one.instance_id] = replace(self.cloud.instances[one.instance_id], tags={})
        return made


class Lies(FakeProvider):
    """Shows as running what has crashed."""

    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        crashed = {key for key in self.cloud.instances if key not in self.ended}
        return tuple(
            replace(one, instances=tuple(self.shown(each, crashed) for each in one.instances))
            for one in super().discover_instances(requests, context)
        )

    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        self.ended = self.ended.union(one.instance_id for release in releases for one in release.machines)
        return super().release_instances(releases, context)

    ended: frozenset[str] = frozenset()

    def shown(self, one: Instance, crashed: set[str]) -> Instance:
        lie = one.status is MachineStatus.TERMINATED and one.instance_id in crashed
        return replace(one, status=MachineStatus.RUNNING) if lie else one


class BreaksOnOneBadId(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        for one in requests:
            [self.cloud.instances[i] for i in one.machine_ids]
        return super().discover_instances(requests, context)


class NoIntent(FakeProvider):
    @hookimpl
    def release_instances(self, releases: tuple[Release, ...]) -> tuple[Released, ...]:
        def changed(release: Release) -> Released:
            ids = frozenset(one.instance_id for one in release.machines)
            self.cloud.end(release.request.request_id, *ids.intersection(self.cloud.standing()))
            return Released(request_id=release.request.request_id, ending=ids)

        return tuple(map(changed, releases))


class RefillsAfterFreeze(FakeProvider):
    @hookimpl
    def stop_launching(self, requests: tuple[Request, ...]) -> tuple[Outcome, ...]:
        return tuple(Outcome(request_id=one.request_id, done=True) for one in requests)


class Contract(FakeContract):
    @pytest.fixture
    def fake(self) -> FakeCloud:
        return FakeCloud(run_after=1, refills=self.provider is RefillsAfterFreeze)


class TestLeaks(Contract):
    provider = Leaks


class TestDoubles(Contract):
    provider = Doubles


class TestWrongType(Contract):
    provider = WrongType


class TestForgetsTags(Contract):
    provider = ForgetsTags


class TestLies(Contract):
    provider = Lies


class TestBreaksOnOneBadId(Contract):
    provider = BreaksOnOneBadId


class TestNoIntent(Contract):
    provider = NoIntent


class TestRefillsAfterFreeze(Contract):
    provider = RefillsAfterFreeze


class TestOverrides(Contract):
    overridden: ClassVar = {"test_a_plan_names_what_is_then_sent": "its plan is told in other words"}
    test_a_plan_names_what_is_then_sent = None
    test_everything_carries_our_tags = None
