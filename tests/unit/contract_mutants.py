"""Fake providers that are broken in one way each, and the contract around them; run by `test_provider_contract`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from hfcore.context import noted
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.hookspecs import hookimpl
from hfcore.models import (
    Discovery,
    Fault,
    FaultKind,
    Instance,
    MachineStatus,
    Outcome,
    OwnedResource,
    ProviderInfo,
    Provisioned,
    Reclaim,
    Released,
)
from hfcore.tags import REQUEST
from hfcore.testing import FakeCloud, FakeProvider
from hfcore.testing.fake import NO_CAPACITY, PROTECTED
from hfcore.testing.fakecontract import FakeContract, FakeGround

if TYPE_CHECKING:
    from hfcore.context import Context
    from hfcore.models import Machine, PlannedCall, Problem, Release, Request, Template


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
            named = frozenset(one.instance_id for one in release.machines)
            ids, kept = named - self.cloud.protected, dict.fromkeys(named & self.cloud.protected, PROTECTED)
            self.cloud.end(release.request.request_id, *ids.intersection(self.cloud.standing()))
            return Released(request_id=release.request.request_id, ending=ids, faults=kept)

        return tuple(map(changed, releases))


class RefillsAfterFreeze(FakeProvider):
    @hookimpl
    def stop_launching(self, requests: tuple[Request, ...]) -> tuple[Outcome, ...]:
        return tuple(Outcome(request_id=one.request_id, done=True) for one in requests)


class LaunchesLate(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        return super().provision(replace(request, deadline=None), context)


class TellsSecrets(FakeProvider):
    @hookimpl
    def provision(self, request: Request, template: Template, context: Context) -> Provisioned:
        return replace(super().provision(request, context), provider_data={"script": template.user_data})


class ListsNothing(FakeProvider):
    @hookimpl
    def owned_resources(self) -> tuple[OwnedResource, ...]:
        return ()


class EndsMore(FakeProvider):
    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        self.cloud.set_status(MachineStatus.TERMINATED, *self.cloud.living())
        return super().release_instances(releases, context)


class DoesNotMark(FakeProvider):
    def advance(self, requests: tuple[Request, ...]) -> tuple[Provisioned, ...]:
        return ()


class AnswersForTheCloud(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        try:
            return super().discover_instances(requests, context)
        except CloudError:
            dead = {"status": MachineStatus.TERMINATED}
            return tuple(
                Discovery(
                    request_id=one.request_id,
                    instances=tuple(Instance(instance_id=i, **dead) for i in one.machine_ids),
                    observed_at=context.clock.now(),
                )
                for one in requests
            )


class GivesUpEarly(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        def judged(one: Discovery, request: Request) -> Discovery:
            missing = set(request.machine_ids) - {each.instance_id for each in one.instances}
            gone = tuple(Instance(instance_id=each, status=MachineStatus.TERMINATED) for each in missing)
            return replace(one, instances=one.instances + gone)

        found = super().discover_instances(requests, context)
        return tuple(map(judged, found, requests))


class GivesNoReason(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        return replace(super().provision(request, context), faults=())

    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        return tuple(replace(one, faults=()) for one in super().discover_instances(requests, context))


class SeesNoReclaim(FakeProvider):
    @hookimpl
    def reclaimed_instances(self) -> tuple[Reclaim, ...]:
        return ()


class MixesRequests(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        found = super().discover_instances(requests, context)
        everything = tuple(one for each in found for one in each.instances)
        return tuple(replace(one, instances=everything) for one in found)


class AsksTheCloudOfATemplate(FakeProvider):
    @hookimpl
    def validate_template(self) -> tuple[Problem, ...]:
        self.cloud.changes += 1
        return ()


class PlansOtherwise(FakeProvider):
    @hookimpl
    def plan(self) -> tuple[PlannedCall, ...]:
        return ()


class RefusesTheGone(FakeProvider):
    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        there = self.cloud.standing()
        released = super().release_instances(releases, context)
        return tuple(replace(one, ending=one.ending.intersection(there)) for one in released)


class NeverEnds(FakeProvider):
    @hookimpl
    def release_instances(self, releases: tuple[Release, ...]) -> tuple[Released, ...]:
        def promised(one: Release) -> Released:
            ids = frozenset(machine.instance_id for machine in one.machines)
            return Released(request_id=one.request.request_id, ending=ids)

        return tuple(map(promised, releases))


class SkipsWhatWasBegun(FakeProvider):
    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        steps = [context.journal.begin(one.request.request_id, "end", "fake:End", {}) for one in releases]
        if not any(step.replayed for step in steps):
            return super().release_instances(releases, context)
        return tuple(
            Released(request_id=one.request.request_id, ending=frozenset(m.instance_id for m in one.machines))
            for one in releases
        )


class Replaces(FakeProvider):
    """Counts what stands where it should take what its step says."""

    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        made = super().provision(request, context)
        group = self.cloud.groups[request.request_id]
        if missing := request.target - len(set(self.cloud.living()).intersection(group.instance_ids)):
            self.cloud.changes += 1
            self.cloud.launch(request.request_id, missing)
        return made


class ListsAnothers(FakeProvider):
    @hookimpl
    def owned_resources(self) -> tuple[OwnedResource, ...]:
        return tuple(OwnedResource(kind="instance", resource_id=key) for key in self.cloud.living())


class ListsWithoutRequest(FakeProvider):
    @hookimpl
    def owned_resources(self, context: Context) -> tuple[OwnedResource, ...]:
        return tuple(replace(one, request_id="req-1") for one in super().owned_resources(context))


class ListsWithoutTime(FakeProvider):
    @hookimpl
    def owned_resources(self, context: Context) -> tuple[OwnedResource, ...]:
        return tuple(replace(one, created_at=None) for one in super().owned_resources(context))


class NeverFulfils(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        found = super().discover_instances(requests, context)
        return tuple(replace(one, fulfilled=0.0, final=False) for one in found)


class CountsOn(FakeGround):
    """Gives the counter itself, which goes on counting."""

    def calls(self) -> Counter[str]:
        self.counted.clear()
        self.counted.update(one.hook.title() for one in self.fake.calls)
        return self.counted

    counted: ClassVar[Counter[str]] = Counter()


class HasState(FakeProvider):
    """Keeps in itself what it works on, so that threads work on each other's."""

    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        self.working_on = request
        time.sleep(0.01)
        return replace(super().provision(self.working_on, context), request_id=request.request_id)


class ReleasesOnlyFirst(FakeProvider):
    """Does the first release of a call, and promises the others."""

    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        promised = ((one.request.request_id, frozenset(m.instance_id for m in one.machines)) for one in releases[1:])
        done = super().release_instances(releases[:1], context)
        return done + tuple(Released(request_id=request_id, ending=ids) for request_id, ids in promised)


class ReleasesOneMoreOfMany(FakeProvider):
    """Ends one machine more of the first request where a call releases of several."""

    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        released = super().release_instances(releases, context)
        if len(releases) > 1:
            self.cloud.end(releases[0].request.request_id, *self.rest(releases[0])[:1])
        return released

    def rest(self, release: Release) -> list[str]:
        living = set(self.cloud.living())
        return [one for one in self.cloud.groups[release.request.request_id].instance_ids if one in living]


class ReleasesAllForAllButOne(ReleasesOneMoreOfMany):
    """Ends the whole request where all but one machine are returned."""

    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        released = FakeProvider.release_instances(self, releases, context)
        for one in releases:
            if len(one.machines) > 1 and len(rest := self.rest(one)) == 1:
                self.cloud.end(one.request.request_id, *rest)
        return released


class FreezesOnlyFirst(FakeProvider):
    @hookimpl
    def stop_launching(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        super().stop_launching(requests[:1], context)
        return tuple(Outcome(request_id=one.request_id, done=True) for one in requests)


class CleansOnlyFirst(FakeProvider):
    @hookimpl
    def cleanup(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        first = super().cleanup(requests[:1], context)
        return first + tuple(Outcome(request_id=one.request_id, done=True) for one in requests[1:])


class TagsOnlyFirstPage(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        made = super().provision(request, context)
        for one in self.untagged(made):
            self.cloud.instances[one] = replace(self.cloud.instances[one], tags={})
        return made

    def untagged(self, made: Provisioned) -> list[str]:
        return [one.instance_id for one in made.instances[5:]]


class TagsOnlyFirstLaunch(TagsOnlyFirstPage):
    def untagged(self, made: Provisioned) -> list[str]:
        return [one.instance_id for one in made.instances] if len(self.cloud.groups) > 1 else []


class WritesSecrets(FakeProvider):
    @hookimpl
    def provision(self, request: Request, template: Template, context: Context) -> Provisioned:
        (context.conf_dir / "launch.txt").write_bytes(f"\xff{template.user_data}".encode("latin-1"))
        return super().provision(request, context)


class TellsSecretsWhenRefused(FakeProvider):
    @hookimpl
    def provision(self, request: Request, template: Template, context: Context) -> Provisioned:
        if self.cloud.capacity == 0:
            raise CloudError(Fault(code="Full", message=f"no room for {template.user_data}", kind=FaultKind.CAPACITY))
        return super().provision(request, context)


class LooksWithState(FakeProvider):
    """Keeps in itself what it looks at, so that a thread answers for another's."""

    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        self.looked_at = requests
        found = super().discover_instances(requests, context)
        return tuple(replace(one, request_id=its.request_id) for one, its in zip(found, self.looked_at, strict=False))


class ListsOneRequest(FakeProvider):
    @hookimpl
    def owned_resources(self, context: Context) -> tuple[OwnedResource, ...]:
        found = super().owned_resources(context)
        return tuple(one for one in found if one.request_id == found[0].request_id)


class PrintsSecrets(FakeProvider):
    @hookimpl
    def provision(self, request: Request, template: Template, context: Context) -> Provisioned:
        sys.stdout.write(f"starts with {template.user_data}")
        return super().provision(request, context)


class StopsWhatIsFulfilled(FakeProvider):
    @hookimpl
    def stop_launching(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        super().stop_launching(tuple(one for one in requests if len(one.machine_ids) >= one.target), context)
        return tuple(Outcome(request_id=one.request_id, done=True) for one in requests)


class GlobalState(FakeProvider):
    """Keeps in itself what it works on, for so short a time that no other thread comes in between."""

    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        self.now = request
        return super().provision(self.now, context)


class UmbrellaStep(FakeProvider):
    """Has one step for all that a request's machines are ended by."""

    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        for one in releases:
            ids = [machine.instance_id for machine in one.machines]
            step = context.journal.begin(one.request.request_id, "end", "fake:End", {"ids": ids})
            if step.outcome is None:
                self.cloud.end(one.request.request_id, *set(self.cloud.standing()).intersection(ids))
                context.journal.done(step, {})
        return tuple(
            Released(request_id=one.request.request_id, ending=frozenset(m.instance_id for m in one.machines))
            for one in releases
        )


class DoubleSameRequest(FakeProvider):
    """Takes the releases of a call by their request, of which each can have several."""

    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        theirs = {one.request.request_id: one for one in releases}
        return super().release_instances(tuple(theirs.values()), context)


class DropsFromFourthOn(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        found = super().discover_instances(requests, context)
        return found[:3] + tuple(replace(one, instances=()) for one in found[3:])

    @hookimpl
    def stop_launching(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        super().stop_launching(requests[:3], context)
        return tuple(Outcome(request_id=one.request_id, done=True) for one in requests)

    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        later = tuple(replace(one, machines=()) for one in releases[3:])
        return super().release_instances(releases[:3] + later, context)

    @hookimpl
    def cleanup(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        done = super().cleanup(requests[:3], context)
        return done + tuple(Outcome(request_id=one.request_id, done=True) for one in requests[3:])


class CleansUpMachines(FakeProvider):
    """Ends what still runs, so that the group can be removed."""

    @hookimpl
    def cleanup(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        for one in requests:
            group = self.cloud.groups.get(one.request_id)
            for key in set(self.cloud.living()).intersection(group.instance_ids if group else ()):
                with noted(context, one.request_id, f"end-{key}", "fake:End", {}):
                    self.cloud.end(one.request_id, key)
        return super().cleanup(requests, context)


class TellsAllReclaims(FakeProvider):
    """Tells of every machine that is taken back, asked for or not."""

    @hookimpl
    def reclaimed_instances(self) -> tuple[Reclaim, ...]:
        return tuple(self.cloud.reclaims.values())


class LooksByItsOwnClock(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        found = super().discover_instances(requests, context)
        return tuple(replace(one, observed_at=datetime.now(UTC)) for one in found)


class NamesNoResource(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        return replace(super().provision(request, context), resource_ids=())


class TellsSecretsAtTheEnd(FakeProvider):
    @hookimpl
    def provision(self, request: Request, template: Template, context: Context) -> Provisioned:
        made = super().provision(request, context)
        return replace(made, provider_data={"script": (template.user_data or "").encode().hex()})

    @hookimpl
    def stop_launching(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        for one in requests:
            context.logger.debug("it had %s", bytes.fromhex(one.provider_data["script"]).decode())
        return super().stop_launching(requests, context)


class CallsSentRefused(FakeProvider):
    """Takes a refused look for the cloud's word that nothing was launched."""

    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        for step in context.journal.steps(request.request_id):
            try:
                self.cloud.stumble("discover_instances", when_done=False)
            except CloudError:
                context.journal.drop(step)
                raise
        return super().provision(request, context)


class LaunchesWhatIsNotShown(FakeProvider):
    """Launches anew where nothing is shown of what was sent."""

    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        group = self.cloud.groups.get(request.request_id)
        if group and self.cloud.show_after and context.journal.steps(request.request_id):
            self.cloud.launch(request.request_id, request.target)
        return super().provision(request, context)


class AsksOnceLaunched(FakeProvider):
    """Fails with a question about what it has launched."""

    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        made = super().provision(request, context)
        self.cloud.stumble("discover_instances", when_done=False)
        return made


class ShowsWhatNobodyHasSeen(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        made = super().provision(request, context)
        return replace(made, instances=tuple(replace(one, listed=True) for one in made.instances))


class SaysNothingOfRefills(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        return replace(super().provision(request, context), refills=False)


class FinalThoughItRefills(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        return tuple(replace(one, final=True) for one in super().discover_instances(requests, context))


class KeepsTheStepOfARefusal(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        if self.cloud.capacity == 0:
            context.journal.begin(request.request_id, "launch", "fake:Launch", {"count": request.target})
            raise CloudError(Fault(code="Full", message="no room", kind=FaultKind.CAPACITY))
        return super().provision(request, context)


class LookedLongAgo(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        at = datetime(2020, 1, 1, tzinfo=UTC)
        return tuple(replace(one, observed_at=at) for one in super().discover_instances(requests, context))


class DoneThoughItStands(FakeProvider):
    @hookimpl
    def cleanup(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        return tuple(replace(one, done=True, faults=()) for one in super().cleanup(requests, context))


class OneNameForAllEnds(FakeProvider):
    @hookimpl
    def stop_launching(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        for one in requests:
            for part in ("size", "wishes"):
                with noted(context, one.request_id, "freeze", "fake:Freeze", {"part": part}):
                    self.cloud.freeze(one.request_id)
        return tuple(Outcome(request_id=one.request_id, done=True) for one in requests)


class CallsWhatItDoesNotName(FakeProvider):
    @hookimpl
    def provider_info(self) -> ProviderInfo:
        return replace(self.info, operations=("fake:Launch", "fake:Freeze", "fake:End"))


class RefusesTheUnanswered(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        try:
            return super().provision(request, context)
        except OutcomeUnknown as error:
            raise CloudError(error.fault) from error


class FindsOthers(FakeProvider):
    """Takes all that runs for what a call that died has made."""

    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        died = any(step.outcome is None for step in context.journal.steps(request.request_id))
        made = super().provision(request, context)
        everything = tuple(Instance(instance_id=one, listed=False) for one in self.cloud.living())
        return replace(made, instances=everything) if died else made


class GivesUpWhatIsNotShown(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        late = request.deadline is not None and context.clock.now() >= request.deadline
        if late and self.cloud.show_after:
            for step in context.journal.steps(request.request_id):
                context.journal.drop(step)
            raise CloudError(Fault(code="TooLate", message="nothing is shown", kind=FaultKind.INVALID))
        return super().provision(request, context)


class BlindForReturns(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        found = super().discover_instances(requests, context)
        return tuple(replace(one, instances=()) if one.request_id.startswith("ret-") else one for one in found)


class SwallowsQuestions(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        try:
            return super().discover_instances(requests, context)
        except CloudError:
            at = context.clock.now()
            return tuple(Discovery(request_id=one.request_id, observed_at=at) for one in requests)


class PromisesTheProtected(FakeProvider):
    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        given = super().release_instances(releases, context)
        return tuple(replace(one, ending=one.ending.union(one.faults), faults={}) for one in given)


class StopsAtTheProtected(FakeProvider):
    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        if self.cloud.protected.intersection(m.instance_id for one in releases for m in one.machines):
            raise CloudError(PROTECTED)
        return super().release_instances(releases, context)


class ListsAnotherKind(FakeProvider):
    @hookimpl
    def owned_resources(self, context: Context) -> tuple[OwnedResource, ...]:
        return tuple(replace(one, kind="machine") for one in super().owned_resources(context))


class ListsAsMadeJustNow(FakeProvider):
    @hookimpl
    def owned_resources(self, context: Context) -> tuple[OwnedResource, ...]:
        return tuple(replace(one, created_at=context.clock.now()) for one in super().owned_resources(context))


class StumblesOverStrangers(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        assert all(one.tags[REQUEST] for one in self.cloud.instances.values())
        return super().discover_instances(requests, context)


class ShowsTheEndedAsStopped(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        def shown(one: Instance) -> Instance:
            ended = one.status is MachineStatus.TERMINATED
            return replace(one, status=MachineStatus.STOPPED) if ended else one

        found = super().discover_instances(requests, context)
        return tuple(replace(one, instances=tuple(map(shown, one.instances))) for one in found)


class CountsWhatIsPending(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        found = super().discover_instances(requests, context)
        return tuple(replace(one, fulfilled=float(len(one.instances))) for one in found)


class KeepsWhatIsNoJson(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        return replace(super().provision(request, context), provider_data={"zones": {"a", "b"}})


class FindsByIdAlone(FakeProvider):
    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        def known(one: Discovery, request: Request) -> Discovery:
            its = tuple(each for each in one.instances if each.instance_id in request.machine_ids)
            return replace(one, instances=its)

        return tuple(map(known, super().discover_instances(requests, context), requests))


class UnsureOfRefusals(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        if self.cloud.capacity == 0:
            raise OutcomeUnknown(NO_CAPACITY)
        return super().provision(request, context)


class TakesItsTime(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        context.clock.sleep(200)
        return super().provision(request, context)


class TellsReasonsAnyway(FakeProvider):
    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        return replace(super().provision(request, context), faults=(NO_CAPACITY,))


class EndsWhatItDoesNotKnow(FakeProvider):
    @hookimpl
    def reclaimed_instances(self, machines: tuple[Machine, ...], context: Context) -> tuple[Reclaim, ...]:
        dead = {"code": "gone", "message": "it is not there", "status": MachineStatus.TERMINATED}
        unknown = (one.instance_id for one in machines if one.instance_id not in self.cloud.instances)
        told = super().reclaimed_instances(machines, context)
        return (*told, *(Reclaim(instance_id=one, **dead) for one in unknown))


class Contract(FakeContract):
    @pytest.fixture
    def fake(self) -> FakeCloud:
        return FakeCloud(run_after=1, refills=self.provider in REFILLING)


REFILLING = (
    RefillsAfterFreeze,
    FreezesOnlyFirst,
    StopsWhatIsFulfilled,
    DropsFromFourthOn,
    SaysNothingOfRefills,
    FinalThoughItRefills,
)


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


class TestLaunchesLate(Contract):
    provider = LaunchesLate


class TestTellsSecrets(Contract):
    provider = TellsSecrets


class TestListsNothing(Contract):
    provider = ListsNothing


class TestEndsMore(Contract):
    provider = EndsMore


class TestDoesNotMark(Contract):
    provider = DoesNotMark


class TestAnswersForTheCloud(Contract):
    provider = AnswersForTheCloud


class TestGivesUpEarly(Contract):
    provider = GivesUpEarly


class TestGivesNoReason(Contract):
    provider = GivesNoReason


class TestSeesNoReclaim(Contract):
    provider = SeesNoReclaim


class TestMixesRequests(Contract):
    provider = MixesRequests


class TestAsksTheCloudOfATemplate(Contract):
    provider = AsksTheCloudOfATemplate


class TestPlansOtherwise(Contract):
    provider = PlansOtherwise


class TestRefusesTheGone(Contract):
    provider = RefusesTheGone


class TestNeverEnds(Contract):
    provider = NeverEnds


class TestHasState(Contract):
    provider = HasState


class TestReplaces(Contract):
    provider = Replaces


class TestListsAnothers(Contract):
    provider = ListsAnothers


class TestListsWithoutRequest(Contract):
    provider = ListsWithoutRequest


class TestListsWithoutTime(Contract):
    provider = ListsWithoutTime


class TestNeverFulfils(Contract):
    provider = NeverFulfils


class TestCountsOn(Contract):
    @pytest.fixture
    def cloud(self, fake: FakeCloud) -> FakeGround:
        return CountsOn(fake)


class TestSkipsWhatWasBegun(Contract):
    provider = SkipsWhatWasBegun


class TestReleasesOnlyFirst(Contract):
    provider = ReleasesOnlyFirst


class TestReleasesOneMoreOfMany(Contract):
    provider = ReleasesOneMoreOfMany


class TestReleasesAllForAllButOne(Contract):
    provider = ReleasesAllForAllButOne


class TestFreezesOnlyFirst(Contract):
    provider = FreezesOnlyFirst


class TestCleansOnlyFirst(Contract):
    provider = CleansOnlyFirst


class TestTagsOnlyFirstPage(Contract):
    provider = TagsOnlyFirstPage


class TestTagsOnlyFirstLaunch(Contract):
    provider = TagsOnlyFirstLaunch


class TestWritesSecrets(Contract):
    provider = WritesSecrets


class TestTellsSecretsWhenRefused(Contract):
    provider = TellsSecretsWhenRefused


class TestLooksWithState(Contract):
    provider = LooksWithState


class TestListsOneRequest(Contract):
    provider = ListsOneRequest


class TestPrintsSecrets(Contract):
    provider = PrintsSecrets


class TestStopsWhatIsFulfilled(Contract):
    provider = StopsWhatIsFulfilled


class TestGlobalState(Contract):
    provider = GlobalState


class TestUmbrellaStep(Contract):
    provider = UmbrellaStep


class TestDoubleSameRequest(Contract):
    provider = DoubleSameRequest


class TestDropsFromFourthOn(Contract):
    provider = DropsFromFourthOn


class TestCleansUpMachines(Contract):
    provider = CleansUpMachines


class TestTellsAllReclaims(Contract):
    provider = TellsAllReclaims


class TestNamesNoResource(Contract):
    provider = NamesNoResource


class TestTellsSecretsAtTheEnd(Contract):
    provider = TellsSecretsAtTheEnd


class TestCallsSentRefused(Contract):
    provider = CallsSentRefused


class TestLaunchesWhatIsNotShown(Contract):
    provider = LaunchesWhatIsNotShown


class TestAsksOnceLaunched(Contract):
    provider = AsksOnceLaunched


class TestShowsWhatNobodyHasSeen(Contract):
    provider = ShowsWhatNobodyHasSeen


class TestSaysNothingOfRefills(Contract):
    provider = SaysNothingOfRefills


class TestFinalThoughItRefills(Contract):
    provider = FinalThoughItRefills


class TestKeepsTheStepOfARefusal(Contract):
    provider = KeepsTheStepOfARefusal


class TestLookedLongAgo(Contract):
    provider = LookedLongAgo


class TestDoneThoughItStands(Contract):
    provider = DoneThoughItStands


class TestOneNameForAllEnds(Contract):
    provider = OneNameForAllEnds


class TestCallsWhatItDoesNotName(Contract):
    provider = CallsWhatItDoesNotName


class TestRefusesTheUnanswered(Contract):
    provider = RefusesTheUnanswered


class TestFindsOthers(Contract):
    provider = FindsOthers


class TestGivesUpWhatIsNotShown(Contract):
    provider = GivesUpWhatIsNotShown


class TestBlindForReturns(Contract):
    provider = BlindForReturns


class TestSwallowsQuestions(Contract):
    provider = SwallowsQuestions


class TestPromisesTheProtected(Contract):
    provider = PromisesTheProtected


class TestStopsAtTheProtected(Contract):
    provider = StopsAtTheProtected


class TestListsAnotherKind(Contract):
    provider = ListsAnotherKind


class TestListsAsMadeJustNow(Contract):
    provider = ListsAsMadeJustNow


class TestStumblesOverStrangers(Contract):
    provider = StumblesOverStrangers


class TestShowsTheEndedAsStopped(Contract):
    provider = ShowsTheEndedAsStopped


class TestCountsWhatIsPending(Contract):
    provider = CountsWhatIsPending


class TestKeepsWhatIsNoJson(Contract):
    provider = KeepsWhatIsNoJson


class TestFindsByIdAlone(Contract):
    provider = FindsByIdAlone


class TestUnsureOfRefusals(Contract):
    provider = UnsureOfRefusals


class TestTakesItsTime(Contract):
    provider = TakesItsTime


class TestTellsReasonsAnyway(Contract):
    provider = TellsReasonsAnyway


class TestEndsWhatItDoesNotKnow(Contract):
    provider = EndsWhatItDoesNotKnow


class TestLooksByItsOwnClock(Contract):
    provider = LooksByItsOwnClock
