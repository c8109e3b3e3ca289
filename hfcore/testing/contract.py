"""Own the contract of a provider plug-in: one class of tests, of which its author makes a subclass.

>>> class TestContract(ProviderContract):                 # in tests/test_contract.py of the plug-in
...     plugin = "hfcore_acme.plugin"
...
...     @pytest.fixture
...     def cloud(self) -> Cloud:                          # what really is in the cloud: `hfcore.testing.cloud`
...         return AcmeOnDisk()
...
...     @pytest.fixture
...     def template(self) -> Template:
...         return Template(template_id="small", vm_types={"small": 1})

A plug-in of AWS subclasses `AwsProviderContract`, which has cloud and template already. What applies is read from
the plug-in's own hooks and `ProviderInfo`, and from what the `Cloud` can do. A test that a plug-in can't keep may be
overridden, with the reason in `overridden`; without one a test of its own fails.
"""

from __future__ import annotations

import base64
import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import pytest

from hfcore import tags
from hfcore.context import Context
from hfcore.errors import CloudError, OutcomeUnknown
from hfcore.lifecycle import is_open
from hfcore.models import EMPTY, Machine, MachineStatus, Release, Request, RequestStatus, Severity, Template
from hfcore.plugincheck import checks
from hfcore.plugins import Candidate, Plugins, PluginStatus, Provider
from hfcore.reconcile import INSTANCE
from hfcore.testing.contractsteps import LONG, POLLS, STEP, ContractSteps, ids_of, live_ids
from hfcore.testing.core import LOG, Core, MovingClock
from hfcore.testing.watching import MOMENTS, WatchedJournal, allowed, beyond, misfits
from hfcore.withheld import of_request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hfcore.testing.cloud import Cloud

SECRET = "aek3-Quoo7-ohW5"  # noqa: S105 - what no file, message or result may hold
_MOST_STEPS = 12
_MANY = 5
"""Requests of a call that has more than one or two; a hook that leaves out the fourth is noticed."""


class ProviderContract(ContractSteps):
    """What every provider plug-in keeps.

    Attributes:
        plugin: The name of the module of its hooks, as its entry point has it: "hfcore_acme.plugin".
        overridden: Names of tests of this class that a subclass has replaced or switched off, each with the reason.
    """

    plugin: ClassVar[str] = ""
    overridden: ClassVar[Mapping[str, str]] = EMPTY

    @pytest.fixture
    def cloud(self) -> Cloud:
        """Give the cloud, empty; the subclass's own."""
        raise NotImplementedError("a contract needs its fixture `cloud`: see hfcore.testing.cloud")

    @pytest.fixture
    def template(self) -> Template:
        """Give a template that is right for the plug-in; a machine of its `vm_types` is one unit."""
        return Template(template_id="contract")

    @pytest.fixture
    def candidate(self) -> Candidate:
        """Give what an entry point of the plug-in would be."""
        assert self.plugin, 'name the module of hooks in the class: plugin = "hfcore_acme.plugin"'
        name = import_module(self.plugin).provider_info().name
        return Candidate(name=name, module=self.plugin, distribution="under-test", version="0")

    @pytest.fixture
    def core(
        self,
        cloud: Cloud,
        template: Template,
        candidate: Candidate,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Core:
        """Give the core in short around the plug-in."""
        monkeypatch.setattr(os, "fsync", lambda _: None)  # of the deaths that are tested here, none is the machine's
        made = Core(tmp_path / "instance", MovingClock(cloud.pass_time), cloud.clients, cloud.region)
        made.provider = Plugins([candidate], logger=LOG).provider(candidate.name)
        honoured = made.provider.info.template_fields
        unclaimed = template.extra.keys() - {*honoured}
        assert not unclaimed, f"ProviderInfo.template_fields lacks {unclaimed}: no request would have that"
        made.template = of_request(template, honoured)
        if "instanceTags" in honoured:
            made.template = replace(made.template, instance_tags={**template.instance_tags, "contract": "kept"})
        self.hold_to_time(monkeypatch, made)
        assert set(template.vm_types.values()) <= {1}, "in the contract's template a machine must be one unit"
        return made

    @pytest.fixture
    def context(self, core: Core) -> Context:
        """Give a context of the plug-in."""
        return core.context

    # What it is.

    def test_no_test_of_the_contract_is_overridden_without_a_reason(self) -> None:
        names = [name for name in vars(ProviderContract) if name.startswith("test_")]
        changed = {name for name in names if getattr(type(self), name) is not getattr(ProviderContract, name)}
        assert changed == {name for name, reason in self.overridden.items() if reason.strip()}

    def test_its_hooks_are_those_of_the_specification(self, candidate: Candidate) -> None:
        (record,) = Plugins([candidate], logger=LOG).records()
        assert record.status is PluginStatus.ACTIVE, record.reason
        wrong = [f"{row.name}: {row.message}" for row in checks(candidate) if row.status == "error"]
        assert not wrong, "\n".join(wrong)

    def test_a_template_is_judged_without_the_cloud(self, core: Core, cloud: Cloud, template: Template) -> None:
        before = cloud.changes()
        problems = core.provider.validate_template(template, core.context)
        assert not [one for one in problems if one.severity is Severity.ERROR]
        core.provider.validate_template(Template(template_id="empty"), core.context)
        assert cloud.changes() == before
        assert not cloud.can("calls") or not cloud.calls()

    def test_every_result_has_the_types_of_its_model(self, core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[str, object]] = []
        call = Provider._call  # noqa: SLF001 - where every result comes by

        def noting(provider: Provider, hook: str, **arguments: object) -> object:
            result = call(provider, hook, **arguments)
            seen.append((hook, result))
            return result

        monkeypatch.setattr(Provider, "_call", noting)
        self.whole_life(core)
        request = core.request(1)
        for hook in ("plan", "check"):
            if core.provider.implements(hook):
                noting(core.provider, hook, request=request, template=core.template, context=core.context)
        results = [(hook, one) for hook, result in seen for one in (result if isinstance(result, tuple) else [result])]
        wrong = {text for hook, one in results for text in misfits(one, type(one), hook)}
        assert not wrong, "\n".join(sorted(wrong))

    # Launches.

    def test_provisioning_twice_is_one_launch(self, core: Core, cloud: Cloud) -> None:
        request = core.request(2)
        first = self.provisioned(core, request)
        wrong = ids_of(one for one in first.instances if one.listed and not one.launch_time)
        assert not wrong, f"what only the answer to its launch names is listed=False, or it counts as seen: {wrong}"
        changes = cloud.changes()
        second = self.provisioned(core, request)
        assert cloud.changes() == changes
        assert second.resource_ids == first.resource_ids
        assert ids_of(second.instances) == ids_of(first.instances)
        core.take_in(second)
        self.until_done(core)
        assert len(cloud.machines()) == 2  # noqa: PLR2004 - as asked

    def test_provisioning_again_replaces_no_machine_that_has_died(self, core: Core, cloud: Cloud) -> None:
        request = core.request(2)
        self.provisioned(core, request)
        core.sleep(STEP)
        cloud.kill(next(iter(cloud.machines())))
        changes = cloud.changes()
        self.provisioned(core, request)
        assert cloud.changes() == changes

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_a_death_at_any_step_of_a_launch_is_gone_on_with(self, core: Core, cloud: Cloud, moment: str) -> None:
        for nth in range(1, _MOST_STEPS):
            request, others = core.request(2, minutes=240), set(cloud.machines())
            journal = WatchedJournal(core.journal(), cloud.changes, (moment, nth))
            self.dying(core, request, journal)
            self.resumed(core, request)
            self.until_done(core)
            assert core.now(request).status is RequestStatus.COMPLETED, core.now(request).message
            assert set(cloud.machines()) - others == ids_of(core.its(request)), f"death at {moment} {nth}"
            assert len(core.its(request)) == 2  # noqa: PLR2004 - as asked
            if not journal.dead:
                return
        raise AssertionError(f"a launch takes more than {_MOST_STEPS} steps")

    def test_a_launch_whose_answer_died_is_one_launch_though_it_is_not_shown_yet(
        self, core: Core, cloud: Cloud
    ) -> None:
        self.require(cloud, "hide")
        cloud.hide()
        for nth in range(1, _MOST_STEPS):
            request, others = core.request(2, minutes=240), set(cloud.machines())
            journal = WatchedJournal(core.journal(), cloud.changes, ("answered", nth))
            self.dying(core, request, journal)
            self.resumed(core, request, STEP)
            self.until_done(core)
            assert core.now(request).status is RequestStatus.COMPLETED, core.now(request).message
            assert len(set(cloud.machines()) - others) == 2, f"death at answered {nth}"  # noqa: PLR2004 - as asked
            if not journal.dead:
                return
        raise AssertionError(f"a launch takes more than {_MOST_STEPS} steps")

    @pytest.mark.parametrize("seconds", [STEP, 31 * 60])
    def test_a_launch_that_may_have_been_made_is_not_called_refused(
        self, core: Core, cloud: Cloud, seconds: float
    ) -> None:
        self.require(cloud, "refuse_questions")
        self.require(cloud, "limit")
        request, made = self.unanswered(core, cloud, minutes=30)
        cloud.limit(0)
        cloud.refuse_questions()
        core.sleep(seconds)
        with suppress(CloudError):
            core.provision(core.now(request))
        assert not made or core.now(request).status is not RequestStatus.FAILED, core.now(request).message

    def test_what_is_not_shown_yet_at_its_deadline_is_not_given_up(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "hide")
        cloud.hide()
        request, made = self.unanswered(core, cloud, minutes=STEP / 120)
        core.sleep(STEP)
        self.resumed(core, request, STEP)
        core.sleep(LONG)
        self.keeps(core, request, made)

    def test_an_answer_that_is_lost_loses_no_machine(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "lose_answer")
        core.ask(1)  # what requests share is there
        self.until_done(core)
        others, request = set(cloud.machines()), core.request(2)
        cloud.lose_answer()
        with suppress(CloudError):
            core.provision(request)
        assert core.now(request).status is not RequestStatus.FAILED, core.now(request).message
        if core.now(request).status is RequestStatus.CREATING:
            self.resumed(core, request, STEP)
        self.until_done(core)
        assert core.now(request).status is RequestStatus.COMPLETED, core.now(request).message
        assert set(cloud.machines()) - others == ids_of(core.its(request))
        assert len(core.its(request)) == 2  # noqa: PLR2004 - as asked

    def test_what_was_launched_is_kept_though_nothing_can_be_asked(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "refuse_questions")
        self.require(cloud, "limit")
        core.ask(1)  # what requests share is there, and known
        others, request = set(cloud.machines()), core.request(3)
        cloud.limit(2)
        cloud.refuse_questions()
        with suppress(CloudError):
            core.provision(request)
        made = set(cloud.machines()) - others
        assert not made or core.now(request).status is not RequestStatus.FAILED, core.now(request).message

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_a_death_before_a_deadline_leads_to_no_launch_after_it(self, core: Core, cloud: Cloud, moment: str) -> None:
        core.ask(1)
        self.until_done(core)
        for nth in range(1, _MOST_STEPS):
            request, others = core.request(2), set(cloud.machines())
            journal = WatchedJournal(core.journal(), cloud.changes, (moment, nth))
            self.dying(core, request, journal)
            if not journal.dead:
                return
            core.sleep(31 * 60)
            there = set(cloud.machines())
            self.resumed(core, request)
            core.sleep(LONG)
            assert set(cloud.machines()) == there, f"death at {moment} {nth}"
            self.keeps(core, request, there - others)
        raise AssertionError(f"a launch takes more than {_MOST_STEPS} steps")

    def test_a_launch_past_its_deadline_is_none(self, core: Core, cloud: Cloud) -> None:
        request = core.request(2, minutes=-1)
        self.resumed(core, request)
        core.sleep(LONG)
        assert not cloud.machines()

    def test_every_change_stands_between_begin_and_done_of_the_journal(self, core: Core, cloud: Cloud) -> None:
        journal = WatchedJournal(core.journal(), cloud.changes)
        core.new_context = lambda: replace(Core.new_context(core), journal=journal)  # type: ignore[method-assign]
        self.whole_life(core)
        journal.look()
        assert cloud.changes()
        assert not journal.outside, f"something was changed outside of journal.begin and done: {journal.outside}"
        assert not journal.reused, f"a step's name stands for several things: {journal.reused}"
        named = core.provider.info.operations
        assert not named or {*journal.begun} <= {*named}, (
            f"ProviderInfo.operations lacks {set(journal.begun) - {*named}}"
        )

    def test_everything_carries_our_tags(self, core: Core, cloud: Cloud, context: Context) -> None:
        if cloud.can("page"):
            cloud.page(5)
        requests = [core.ask(2), core.ask(6)]
        self.until_done(core)
        ours, named = tags.ours(context, core.template.template_id), {one.request_id for one in requests}
        there = cloud.machines()
        assert there.keys() == core.machines.keys()
        for one, its in there.items():
            whose = {tags.REQUEST: core.machines[one].request_id}
            assert {**core.template.instance_tags, **ours, **whose}.items() <= its.items(), one
        for one, its in cloud.resources().items():  # what several requests share names none
            assert ours.items() <= its.items(), one
            assert its.get(tags.REQUEST) in {None, *named}, one

    def test_units_count_by_weight(self, core: Core, cloud: Cloud) -> None:
        if not core.template.vm_types:
            pytest.skip("the template has no vmTypes to weigh")
        request = core.ask(5, vm_types=dict.fromkeys(core.template.vm_types, 2))
        self.until_done(core)
        assert core.now(request).status is RequestStatus.COMPLETED, core.now(request).message
        assert {one.weight for one in core.its(request)} == {2.0}
        assert len(cloud.machines()) == 3  # noqa: PLR2004 - 5 units, by two

    def test_several_threads_may_launch_and_look_at_once(self, core: Core, cloud: Cloud) -> None:
        requests = [core.request(2) for _ in range(4)]
        for one in self.at_once(core, core.provider.provision, [(one, core.template) for one in requests]):
            core.take_in(one)
        self.until_done(core)
        asked = core.asked(*map(core.now, requests))
        found = self.at_once(core, core.provider.discover_instances, [((one,),) for one in asked])
        assert [one.request_id for (one,) in found] == [one.request_id for one in requests]
        assert [live_ids(one) for (one,) in found] == [set(one.machine_ids) for one in asked]
        assert [len(core.its(one)) for one in requests] == [2] * len(requests)
        assert {one.instance_id for one in core.machines.values()} == set(cloud.machines())
        module = import_module(core.provider.candidate.module)
        kept = [name for name, value in vars(module).items() if _of_a_call(value)]
        assert not kept, f"the module keeps what a call was given, and another thread works on it: {kept}"

    def test_a_plan_names_what_is_then_sent(self, core: Core, cloud: Cloud) -> None:
        self.need(core, "plan")
        request, changes = core.request(2), cloud.changes()
        planned = core.provider.plan(request, core.template, core.context)
        assert cloud.changes() == changes
        journal = WatchedJournal(core.journal(), cloud.changes)
        core.provider.provision(request, core.template, replace(core.context, journal=journal))
        assert [f"{one.service}:{one.operation}" for one in planned] == journal.begun

    def test_no_secret_gets_into_a_result_a_file_or_a_log(
        self, core: Core, cloud: Cloud, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("hfcore", self.plugin.partition(".")[0] or "hfcore"):
            caplog.set_level("DEBUG", logger=name)
        secret = replace(core.template, user_data=f"TOKEN={SECRET}")
        if any(one.severity is Severity.ERROR for one in core.provider.validate_template(secret, core.context)):
            pytest.skip("userData is refused")
        core.template = secret
        refused, request = core.request(1), core.request(1)
        told: list[object] = []
        if cloud.can("limit"):
            cloud.limit(0)
            try:
                told.append(core.provider.provision(refused, secret, core.context))
            except CloudError as error:
                told += [str(error), vars(error)]
            cloud.limit(100)
        del core.requests[refused.request_id]
        if core.provider.implements("plan"):
            told += core.provider.plan(request, secret, core.context)
        made = core.provider.provision(request, secret, core.context)
        told += [made, *(path.read_bytes() for path in core.folder.rglob("*") if path.is_file())]
        core.take_in(made)
        told += [self.looked_at(core, request), *core.provider.owned_resources(core.context)]
        self.until_done(core)
        told += core.freeze()
        told += core.give_back(*core.live(request)).values()
        core.sleep(LONG)
        core.discover(request)
        told += core.cleanup()
        told += (path.read_bytes() for path in core.folder.rglob("*") if path.is_file())
        told += [caplog.text, *capfd.readouterr()]
        forms = (SECRET, base64.b64encode(f"TOKEN={SECRET}".encode()).decode().rstrip("=")[:-1])
        assert not [one for one in map(repr, told) if any(form in one for form in forms)]

    # What is seen.

    def test_many_requests_are_looked_at_together(self, core: Core, cloud: Cloud) -> None:
        requests = [core.ask(2) for _ in range(_MANY)]
        self.until_done(core)
        before = core.clock.now()
        found = core.discover(*requests)
        at = {one.observed_at for one in found.values()}
        assert before <= min(at), "observed_at is when the call to the cloud began"
        assert max(at) <= core.clock.now()
        seen = [live_ids(found[one.request_id]) for one in requests]
        assert [len(one) for one in seen] == [2] * _MANY
        assert set().union(*seen) == set(cloud.machines())
        faults = [str(fault) for one in requests for fault in core.now(one).faults]
        assert not faults, f"what has all that it asked for has no reason why not: {faults}"

    def test_machines_that_no_record_names_are_found_by_their_request(self, core: Core, cloud: Cloud) -> None:
        request = core.ask(2)
        self.until_done(core)
        forgotten = replace(core.now(request), machine_ids=(), status=RequestStatus.IN_PROGRESS)
        (found,) = core.provider.discover_instances((forgotten,), core.context)
        assert live_ids(found) == set(cloud.machines())

    def test_a_machine_of_somebody_else_s_is_in_nobody_s_way(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "stranger")
        stranger, request = cloud.stranger(), core.ask(2)
        self.until_done(core)
        assert live_ids(self.looked_at(core, request)) == set(cloud.machines()) - {stranger}
        assert stranger not in {one.resource_id for one in core.provider.owned_resources(core.context)}

    def test_what_comes_in_pages_is_read_to_the_last(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "page")
        cloud.page(5)
        requests = [core.ask(4) for _ in range(2)]
        self.until_done(core)
        found = core.discover(*requests)
        assert set().union(*(live_ids(found[one.request_id]) for one in requests)) == set(cloud.machines())
        owned = {one.resource_id for one in core.provider.owned_resources(core.context)}
        assert set(cloud.machines()) <= owned

    def test_a_machine_that_is_not_shown_yet_is_not_taken_for_gone(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "hide")
        cloud.hide()
        request = core.ask(2)
        core.discover(request)
        assert is_open(core.now(request)), core.now(request).message
        assert not [one for one in core.its(request) if one.status is MachineStatus.TERMINATED]
        self.until_done(core)
        assert core.now(request).status is RequestStatus.COMPLETED

    def test_a_request_that_gets_some_says_why_it_has_not_all(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "limit")
        cloud.limit(1)
        request = core.ask(3)
        self.until_over(core, request)
        assert core.now(request).status is RequestStatus.COMPLETED_WITH_ERRORS
        assert core.now(request).faults, "no fault tells why"
        assert ids_of(core.live(request)) == set(cloud.machines())

    def test_a_request_that_gets_nothing_fails_and_leaves_nothing(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "limit")
        cloud.limit(0)
        request = core.request(2)
        refused = False
        try:
            core.provision(request)
        except CloudError as error:
            refused = not isinstance(error, OutcomeUnknown)
        left = [one.step for one in core.journal().steps(request.request_id) if one.outcome is None]
        assert not (refused and left), f"refused, nothing made, and not taken back by journal.drop: {left}"
        request = core.now(request)
        assert request.status is not RequestStatus.CREATING, "a refusal is CloudError; what is not sure, OutcomeUnknown"
        if not refused:
            self.until_over(core, request)
            assert core.now(request).status is RequestStatus.FAILED
            assert not core.its(request)
            self.cleaned(core, request)
        assert not cloud.machines()
        assert not _of(request, cloud.resources())

    def test_what_replaces_its_machines_says_so_and_waits_for_room(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "limit")
        request = core.ask(2)
        self.until_done(core)
        cloud.kill(core.live(request)[0].instance_id)
        core.sleep(LONG)
        replaces = len(cloud.machines()) == 2  # noqa: PLR2004 - as asked
        assert core.now(request).refills == replaces, "Provisioned.refills: whether what dies is replaced by itself"
        if not replaces:
            return
        cloud.limit(3)
        short = core.ask(2)
        for _ in range(3):
            self.polled(core)
        assert is_open(core.now(short)), "what still fills up by itself is not final"
        cloud.limit(100)
        self.until_done(core)
        assert core.now(short).status is RequestStatus.COMPLETED, core.now(short).message

    def test_a_question_that_fails_is_no_answer(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "refuse_questions")
        request = core.ask(2)
        self.until_done(core)
        cloud.refuse_questions()
        for _ in range(2):  # what none has seen is believed at the second look
            with pytest.raises(CloudError):
                core.discover(request)
            core.sleep(LONG)
        assert len([one for one in core.its(request) if one.status is MachineStatus.RUNNING]) == 2  # noqa: PLR2004
        with pytest.raises(CloudError):
            core.provider.owned_resources(core.context)

    def test_a_machine_that_nobody_knows_hides_no_other(self, core: Core, cloud: Cloud) -> None:
        request = core.ask(2)
        self.until_done(core)
        (asked,) = core.asked(core.now(request))
        asked = replace(asked, machine_ids=(cloud.unknown_id, *asked.machine_ids))
        (found,) = core.provider.discover_instances((asked,), core.context)
        assert live_ids(found) == set(cloud.machines())

    def test_a_machine_is_shown_as_it_is(self, core: Core, cloud: Cloud) -> None:
        request = core.ask(2)
        self.until_done(core)
        core.freeze()
        dead, lives = core.live(request)
        cloud.kill(dead.instance_id)
        core.sleep(LONG)
        found = self.looked_at(core, request)
        assert live_ids(found) == {lives.instance_id}
        assert found.fulfilled == lives.weight
        (shown,) = (one for one in found.instances if one.instance_id == lives.instance_id)
        assert shown.status is MachineStatus.RUNNING
        told = (lives.name, shown.private_ip, shown.launch_time)
        assert all(told), f"Host Factory is told name, address and launch time of what runs, not {told}"
        assert shown.launch_time == lives.launch_time, "a launch time does not move"

    def test_the_calls_are_no_more_than_it_says(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "calls")
        may = core.provider.info.call_budgets
        requests: list[Request] = []
        used = Counter(cloud.calls())  # a copy: it may be the one that goes on counting

        def spent(about: str) -> None:
            nonlocal used
            made, used = cloud.calls() - used, Counter(cloud.calls())
            most = allowed(may, about, len(requests))
            over = beyond(made, most)
            assert not over, (
                f"{about}: more than call_budgets says: {over}; it says at most {dict(most)} by {dict(may)}"
            )

        for _ in range(3):
            requests.append(core.ask(2))
            spent("request")
        core.discover(*requests)
        spent("status")
        self.until_done(core)
        used = Counter(cloud.calls())
        core.discover(*requests)
        spent("status")
        core.freeze()
        spent("freeze")
        core.release(requests[0], *core.live(requests[0]))
        spent("return")

    # What ends.

    def test_exactly_these_machines_are_released(self, core: Core, cloud: Cloud) -> None:
        requests = [core.ask(3) for _ in range(_MANY)]
        self.until_done(core)
        core.freeze()
        parts = (slice(1, 2), slice(2), slice(2, 3), slice(1), slice(1, 3))
        wanted = [core.live(one)[part] for one, part in zip(requests, parts, strict=True)]
        keep = set(cloud.machines()) - set().union(*map(ids_of, wanted))
        given = core.give_back(*chain(*wanted))
        assert [given[one.request_id].ending for one in requests] == [*map(ids_of, wanted)]
        core.sleep(LONG)
        assert set(cloud.machines()) == keep

    def test_a_release_from_an_open_request_is_not_filled_again(self, core: Core, cloud: Cloud) -> None:
        request = core.ask(3)
        core.sleep(STEP)
        core.discover(request)
        first, *rest = core.live(request)
        for _ in range(POLLS):  # what can't be ended at once is told, and tried again
            if core.release(request, first).ending:
                break
            core.sleep(STEP)
        core.sleep(LONG)
        core.discover(request)
        assert set(cloud.machines()) == ids_of(rest)

    def test_a_release_may_be_repeated_and_what_is_gone_is_released(self, core: Core, cloud: Cloud) -> None:
        request = core.ask(3)
        self.until_done(core)
        core.freeze()
        gone, twice, lives = core.live(request)
        cloud.kill(gone.instance_id)
        core.sleep(LONG)
        never = replace(gone, instance_id=cloud.unknown_id)
        core.machines[never.instance_id] = never
        for _ in range(2):
            released = core.release(request, never, gone, twice)
            assert released.ending == ids_of([never, gone, twice])
            assert not released.faults
        core.sleep(LONG)
        assert set(cloud.machines()) == {lives.instance_id}

    def test_a_return_is_told_of_its_machines_to_their_end(self, core: Core, cloud: Cloud) -> None:
        request = core.ask(3)
        self.until_done(core)
        core.freeze()
        *returned, lives = core.live(request)
        assert live_ids(core.about(*returned)) == ids_of(returned), "a return asks about its machine_ids"
        core.release(request, *returned)
        core.sleep(LONG)
        found = core.about(*returned)
        shown = {one.instance_id: one.status for one in found.instances}
        absent = MachineStatus.TERMINATED if found.thorough else None
        ended = {one for one in ids_of(returned) if shown.get(one, absent) is MachineStatus.TERMINATED}
        assert ended == ids_of(returned), f"what has ended is TERMINATED, or absent from a thorough answer: {shown}"
        assert set(cloud.machines()) == {lives.instance_id}

    def test_what_can_not_be_ended_is_told_and_keeps_nothing_else_from_its_end(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "protect")
        requests = [core.ask(2), core.ask(2)]
        self.until_done(core)
        core.freeze()
        stays = core.live(requests[0])[0]
        cloud.protect(stays.instance_id)
        for _ in range(2):  # what is not ended in one call is ended in the next
            given = core.give_back(*chain(*map(core.live, requests)))
            core.sleep(LONG)
        assert set(cloud.machines()) == {stays.instance_id}
        released = given[stays.request_id]
        assert stays.instance_id not in released.ending
        assert released.faults.get(stays.instance_id), "it says of what is not ended why"

    def test_several_returns_of_one_request_are_all_done(self, core: Core, cloud: Cloud) -> None:
        request = core.ask(4)
        self.until_done(core)
        core.freeze()
        *returned, lives = core.live(request)
        releases = [
            Release(request=core.now(request), machines=(one,), return_id=f"ret-{number}")
            for number, one in enumerate(returned)
        ]
        for call in (releases[:2], releases[2:]):
            given = core.provider.release_instances(tuple(call), core.context)
            assert [one.ending for one in given] == [ids_of(one.machines) for one in call]
        core.sleep(LONG)
        assert set(cloud.machines()) == {lives.instance_id}

    def test_what_is_stopped_fills_nothing_up_and_keeps_what_runs(self, core: Core, cloud: Cloud) -> None:
        requests = [core.ask(2) for _ in range(_MANY)]
        self.until_done(core)
        there = set(cloud.machines())
        assert all(one.done for one in core.freeze())
        again = core.provider.stop_launching(tuple(map(core.now, requests)), core.context)
        assert [one.done for one in again] == [True] * len(requests)
        core.sleep(LONG)
        assert set(cloud.machines()) == there
        dead = ids_of(core.live(one)[0] for one in requests)
        for one in sorted(dead):
            cloud.kill(one)
        core.sleep(LONG)
        core.discover(*requests)
        assert set(cloud.machines()) == there - dead

    def test_an_open_request_that_is_stopped_gets_nothing_more(self, core: Core, cloud: Cloud) -> None:
        self.require(cloud, "limit")
        cloud.limit(1)
        request = core.ask(3)
        self.polled(core)
        core.cancel(request)
        assert all(one.done for one in core.freeze())
        cloud.limit(100)
        core.sleep(LONG)
        core.discover(request)
        assert len(cloud.machines()) == 1

    def test_a_clean_up_leaves_nothing_and_may_be_repeated(self, core: Core, cloud: Cloud) -> None:
        other, *requests = core.ask(1), core.ask(2), *(core.ask(1) for _ in range(_MANY - 1))
        self.until_done(core)
        core.freeze()
        core.give_back(*chain(*map(core.live, requests)))
        core.sleep(LONG)
        core.discover(*requests)
        self.cleaned(core, *requests)
        assert not [left for one in requests for left in _of(one, cloud.resources())]
        assert set(cloud.machines()) == ids_of(core.live(other))
        again = core.provider.cleanup(tuple(map(core.now, requests)), core.context)
        assert [one.done for one in again] == [True] * _MANY
        (tried,) = core.provider.cleanup((core.now(other),), core.context)  # no reason to end what runs in it
        assert tried.done == (not _of(other, cloud.resources())), "done is what is gone"
        core.sleep(LONG)
        assert set(cloud.machines()) == ids_of(core.live(other))

    def test_what_there_is_to_stop_or_remove_is_named_by_resource_ids(self, core: Core, cloud: Cloud) -> None:
        request = core.ask(2)
        self.until_done(core)
        if core.now(request).resource_ids:
            return
        journal = WatchedJournal(core.journal(), cloud.changes)
        its, context = (core.now(request),), replace(core.context, journal=journal)
        core.provider.stop_launching(its, context)
        core.release(request, *core.live(request))
        core.sleep(LONG)
        core.discover(request)
        core.provider.cleanup(its, context)
        assert not journal.begun, (
            f"{journal.begun} are never sent: only for requests whose Provisioned.resource_ids have named something "
            "are stop_launching and cleanup called"
        )

    @pytest.mark.parametrize("moment", ["begun", "answered"])
    def test_a_death_at_any_step_of_an_end_is_gone_on_with(self, core: Core, cloud: Cloud, moment: str) -> None:
        for nth in range(1, _MOST_STEPS):
            request = core.ask(2)
            self.until_done(core)
            journal = WatchedJournal(core.journal(), cloud.changes, (moment, nth))
            with self.death():
                self.ended(core, request, replace(core.context, journal=journal))
            core.freeze()
            if live := core.live(request):
                core.release(request, *live)
            core.sleep(LONG)
            core.discover(request)
            self.cleaned(core, request)
            assert not cloud.machines(), f"death at {moment} {nth}"
            assert not _of(request, cloud.resources()), f"death at {moment} {nth}"
            if not journal.dead:
                return
        raise AssertionError(f"an end takes more than {_MOST_STEPS} steps")

    def test_what_the_cloud_takes_back_is_told(self, core: Core, cloud: Cloud) -> None:
        self.need(core, "reclaimed_instances")
        self.require(cloud, "reclaim")
        request = core.ask(2)
        self.until_done(core)
        taken, stays = core.live(request)
        cloud.reclaim(taken.instance_id)
        told = core.provider.reclaimed_instances(tuple(core.live(request)), (request,), core.context)
        assert [one.instance_id for one in told] == [taken.instance_id]
        assert told[0].code
        unknown = replace(stays, instance_id=cloud.unknown_id)
        of_it = core.provider.reclaimed_instances((unknown,), (request,), core.context)
        assert not [one for one in of_it if one.status], "what the cloud does not know is looked at once more"
        assert not core.provider.reclaimed_instances((stays,), (request,), core.context)

    def test_what_is_ours_is_listed_until_it_is_gone(self, core: Core, cloud: Cloud) -> None:
        _, request = core.ask(1), core.ask(2)
        self.until_done(core)
        listed = core.provider.owned_resources(core.context)
        assert {*cloud.machines(), *cloud.listable()} <= {one.resource_id for one in listed}
        machines = {one.resource_id for one in listed if one.kind == INSTANCE}
        assert set(cloud.machines()) <= machines, f"a machine is of kind {INSTANCE!r}"
        core.freeze()
        core.release(request, *core.live(request))
        core.sleep(LONG)
        core.discover(request)
        self.cleaned(core, request)
        owned = {one.resource_id for one in core.provider.owned_resources(core.context)}
        assert owned <= {*cloud.machines(), *cloud.resources()}

    def test_what_is_ours_is_listed_with_its_request_and_when_it_was_made(self, core: Core, cloud: Cloud) -> None:
        core.ask(2)
        self.until_done(core)
        its = {**cloud.machines(), **cloud.resources()}
        listed = core.provider.owned_resources(core.context)
        core.sleep(STEP)
        again = {one.resource_id: one.created_at for one in core.provider.owned_resources(core.context)}
        for one in listed:
            assert one.created_at == again[one.resource_id], "what is made once has one created_at"
            assert one.request_id == its[one.resource_id].get(tags.REQUEST, ""), one
            assert one.created_at, f"reconcile never judges what has no created_at: {one}"
            assert one.created_at <= core.clock.now(), one

    def test_what_another_owner_has_made_is_not_listed(self, core: Core, cloud: Cloud) -> None:
        other = Core(core.folder / "other", core.clock, core.clients, core.settings.region)
        other.provider, other.template, other.owner = core.provider, core.template, "owner-2"
        other.ask(2)
        self.until_done(other)
        assert cloud.machines()
        assert not core.provider.owned_resources(core.context)


def _of_a_call(value: object) -> bool:
    """Tell whether a value is what one call of a hook is given."""
    given = (Context, Request, Release, Machine)
    return isinstance(value, given) or (
        isinstance(value, tuple | list) and any(isinstance(one, given) for one in value)
    )


def _of(request: Request, resources: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [one for one, its in resources.items() if its.get(tags.REQUEST) == request.request_id]
