"""Own `FakeProvider`, the plug-in for a cloud in memory: every provider hook, in as few lines as that takes.

What the answers mean for a request is the core's business, here as in every plug-in.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from hfcore.context import noted
from hfcore.errors import CloudError
from hfcore.hookspecs import HOOK_VERSION, hookimpl
from hfcore.models import (
    Check,
    Discovery,
    Fault,
    FaultKind,
    Instance,
    MachineStatus,
    Outcome,
    OwnedResource,
    PlannedCall,
    Problem,
    ProviderInfo,
    Provisioned,
    Reclaim,
    Released,
    Template,
)
from hfcore.plugins import Candidate
from hfcore.tags import OWNER, REQUEST, of_instances

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from types import ModuleType

    from hfcore.context import Context
    from hfcore.models import Machine, Release, Request
    from hfcore.testing.fakecloud import FakeCloud

NO_CAPACITY = Fault(code="NoCapacity", message="the fake cloud is full", kind=FaultKind.CAPACITY)
PROTECTED = Fault(code="Protected", message="the instance is protected", kind=FaultKind.INVALID)
STILL_IN_USE = Fault(code="InUse", message="the group still has instances", kind=FaultKind.TRANSIENT)


class FakeProvider:
    """The plug-in for a `FakeCloud`. A real one is a module of such functions, without `self`."""

    def __init__(self, cloud: FakeCloud, *, name: str = "Fake", cloud_name: str = "fake") -> None:
        self.cloud = cloud
        summary = "Machines in memory."
        self.info = ProviderInfo(name=name, hook_version=HOOK_VERSION, summary=summary, cloud=cloud_name)

    @contextmanager
    def installed(self, name: str = "Fake", *, distribution: str = "hfcore-fake") -> Iterator[Candidate]:
        """Let the plug-in be imported, and give the entry point that an installed one would have."""
        module = f"hfcore_fake_{id(self)}"
        sys.modules[module] = cast("ModuleType", self)
        try:
            yield Candidate(name=name, module=module, distribution=distribution, version="1")
        finally:
            del sys.modules[module]

    @hookimpl
    def provider_info(self) -> ProviderInfo:
        """Say what this plug-in is."""
        return self.cloud.give("provider_info", self.info)

    @hookimpl
    def validate_template(self, template: Template) -> tuple[Problem, ...]:
        """Find what the test says is wrong."""
        self.cloud.begin("validate_template", [template.template_id])
        return self.cloud.give("validate_template", self.cloud.problems)

    @hookimpl
    def provision(self, request: Request, context: Context) -> Provisioned:
        """Make the group between `begin` and `done`; called again, go on with what the journal has."""
        cloud = self.cloud
        cloud.begin("provision", [request.request_id], context)
        intent = context.journal.begin(request.request_id, "launch", "fake:Launch", {"count": request.target})
        if intent.outcome is None:
            late = request.deadline is not None and context.clock.now() >= request.deadline
            if late and request.request_id not in cloud.groups:  # what is not there now never will be
                context.journal.drop(intent)
                raise CloudError(Fault(code="TooLate", message="nothing was made", kind=FaultKind.INVALID))
            template = request.template or Template(template_id=request.template_id)
            group = cloud.group(request, of_instances(context, template, request.request_id))
            cloud.stumble("provision", when_done=True)
            outcome = {"group": group.resource_id, "instances": list(group.instance_ids), "account": group.account_id}
            intent = context.journal.done(intent, outcome)
        made = intent.outcome or {}
        ids = made["instances"]
        told = ids if cloud.tells_ids else ()
        return cloud.give(
            "provision",
            Provisioned(
                request_id=request.request_id,
                resource_ids=(made["group"],),
                instances=tuple(Instance(instance_id=key, resource_id=made["group"], listed=False) for key in told),
                faults=(NO_CAPACITY,) if len(ids) < request.target else (),
                refills=cloud.refills,
                final=not ids and not cloud.refills,
                account_id=made["account"],
            ),
        )

    @hookimpl
    def advance(self, requests: tuple[Request, ...], context: Context) -> tuple[Provisioned, ...]:
        """Do nothing: a group needs nothing more once it stands."""
        self.cloud.begin("advance", (r.request_id for r in requests), context)
        return self.cloud.give("advance", ())

    @hookimpl
    def discover_instances(self, requests: tuple[Request, ...], context: Context) -> tuple[Discovery, ...]:
        """Show what stands behind each request; a shortfall of what does not refill is final once all are in view."""
        self.cloud.begin("discover_instances", (r.request_id for r in requests), context)
        at = context.clock.now()
        return self.cloud.give("discover_instances", tuple(self._discovery(request, at) for request in requests))

    def _discovery(self, request: Request, at: datetime) -> Discovery:
        shown = self.cloud.look(request, at)
        running = sum(one.weight for one in shown if one.status is MachineStatus.RUNNING)
        group = self.cloud.groups.get(request.request_id)
        return Discovery(
            request_id=request.request_id,
            instances=shown,
            fulfilled=running,
            final=not self.cloud.refills and len(shown) >= len(group.instance_ids if group else ()),
            faults=(NO_CAPACITY,) if group and len(group.instance_ids) < group.target else (),
            observed_at=at,
            account_id=self.cloud.account_id,
            stands=group is not None and group.account_id == self.cloud.account_id,
        )

    @hookimpl
    def stop_launching(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        """Freeze the groups; one that is gone launches nothing either."""
        self.cloud.begin("stop_launching", (r.request_id for r in requests), context)
        for one in (r.request_id for r in requests if r.request_id in self.cloud.groups):
            with noted(context, one, "freeze", "fake:Freeze", {}):
                self.cloud.freeze(one)
        return self.cloud.give("stop_launching", tuple(Outcome(request_id=r.request_id, done=True) for r in requests))

    @hookimpl
    def release_instances(self, releases: tuple[Release, ...], context: Context) -> tuple[Released, ...]:
        """End exactly these machines; their group wants so many less from now on."""
        self.cloud.begin("release_instances", (m.instance_id for r in releases for m in r.machines), context)
        return self.cloud.give("release_instances", tuple(self._released(release, context) for release in releases))

    def _released(self, release: Release, context: Context) -> Released:
        request_id, named = release.request.request_id, frozenset(machine.instance_id for machine in release.machines)
        ids = named - self.cloud.protected
        ending = sorted(ids.intersection(self.cloud.standing()))
        if ending:
            with noted(context, request_id, f"end-{ending[0]}", "fake:End", {"ids": ending}):
                self.cloud.end(request_id, *ending)
        return Released(request_id=request_id, ending=ids, faults=dict.fromkeys(named - ids, PROTECTED))

    @hookimpl
    def reclaimed_instances(self, machines: tuple[Machine, ...], context: Context) -> tuple[Reclaim, ...]:
        """Name those of the machines that are being taken back."""
        self.cloud.begin("reclaimed_instances", (m.instance_id for m in machines), context)
        named = tuple(filter(None, (self.cloud.reclaims.get(m.instance_id) for m in machines)))
        return self.cloud.give("reclaimed_instances", named)

    @hookimpl
    def owned_resources(self, context: Context) -> tuple[OwnedResource, ...]:
        """List the groups that stand and the instances that live."""
        self.cloud.begin("owned_resources", (), context)
        there = {key: ("instance", self.cloud.instances[key].tags) for key in self.cloud.living()}
        there |= {one.resource_id: ("group", one.tags) for one in self.cloud.groups.values()}
        ours = tuple(
            OwnedResource(kind=kind, resource_id=key, request_id=its.get(REQUEST, ""), created_at=self.cloud.since)
            for key, (kind, its) in there.items()
            if its.get(OWNER) == context.owner
        )
        return self.cloud.give("owned_resources", ours)

    @hookimpl
    def cleanup(self, requests: tuple[Request, ...], context: Context) -> tuple[Outcome, ...]:
        """Remove the groups that are empty."""
        self.cloud.begin("cleanup", (r.request_id for r in requests), context)
        return self.cloud.give("cleanup", tuple(self._cleaned(request.request_id, context) for request in requests))

    def _cleaned(self, request_id: str, context: Context) -> Outcome:
        group = self.cloud.groups.get(request_id)
        if group and set(self.cloud.standing()).intersection(group.instance_ids):
            return Outcome(request_id=request_id, done=False, faults=(STILL_IN_USE,))
        if group:
            with noted(context, request_id, "remove", "fake:Remove", {}):
                self.cloud.remove(request_id)
        return Outcome(request_id=request_id, done=True)

    @hookimpl
    def plan(self, request: Request) -> tuple[PlannedCall, ...]:
        """Give the one call that `provision` makes."""
        return (PlannedCall(service="fake", operation="Launch", parameters={"count": request.target}),)

    @hookimpl
    def check(self, template: Template) -> tuple[Check, ...]:
        """Say whether there is room."""
        full = self.cloud.capacity is not None and len(self.cloud.living()) >= self.cloud.capacity
        message = f"template {template.template_id}: {'full' if full else 'there is room'}"
        return (Check(name="capacity", status="warning" if full else "ok", message=message),)
