from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hfcore_aws_runinstances import plugin, requests

from hfcore.errors import CloudError, ConfigError, OutcomeUnknown
from hfcore.models import FaultKind, Release, Severity
from hfcore.testing.aws import AwsError, StrictAws

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.context import Context
    from hfcore.models import Machine, Provisioned, Request, Template
    from hfcore.testing.rig import Rig

    NewContext = Callable[[], Context]
    NewRequest = Callable[..., Request]
    Go = Callable[[Request, Template], Provisioned]
    Faults = Callable[..., None]
    Operations = Callable[[], list[str]]
    Launched = Callable[..., list[str]]
    NewMachine = Callable[..., Machine]

THROTTLED = AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)
BROKEN = AwsError("InternalError", "An internal error has occurred", 500)
WRONG = AwsError("InvalidParameterValue", "Value is invalid.")


@pytest.fixture
def two_zones(template: Template, strict_aws: StrictAws) -> Template:
    return replace(template, subnet_id=tuple(strict_aws.region().subnets)[:2])


@pytest.fixture
def five_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make chunks small, so that a few machines take several calls."""
    monkeypatch.setattr(requests, "MOST_MACHINES", 5)


@pytest.fixture
def go(new_context: NewContext) -> Go:
    """Provision in a process of its own."""

    def provision(request: Request, template: Template) -> Provisioned:
        return plugin.provision(request, template, new_context())

    return provision


def after(request: Request, made: Provisioned) -> Request:
    """Give the request as the core stores it after `made`."""
    return replace(
        request,
        resource_ids=made.resource_ids,
        machine_ids=tuple(dict.fromkeys((*request.machine_ids, *(one.instance_id for one in made.instances)))),
        provider_data=made.provider_data,
    )


def live(strict_aws: StrictAws) -> set[str]:
    return {one.id for one in strict_aws.live_instances()}


def test_the_machines_asked_for_are_launched_in_one_call_with_all_tags(
    go: Go,
    new_request: NewRequest,
    template: Template,
    strict_aws: StrictAws,
    operations: Operations,
) -> None:
    request = new_request(target=3)
    made = go(request, template)

    assert {one.instance_id for one in made.instances} == live(strict_aws)
    assert (len(made.instances), made.final, made.refills, made.faults) == (3, True, False, ())
    assert made.resource_ids == (strict_aws.live_instances()[0].reservation,)
    assert made.account_id == "123456789012"
    assert {(one.listed, one.instance_type, one.zone) for one in made.instances} == {(False, "m5.large", "us-east-1a")}
    assert operations() == ["CreateLaunchTemplate", "RunInstances"]
    for one in strict_aws.live_instances():
        own = {key: value for key, value in one.tags.items() if not key.startswith("aws:")}
        assert own == {
            "hfcore:owner": "owner-1",
            "hfcore:provider": "grid",
            "hfcore:request-id": request.request_id,
            "hfcore:template-id": "basic",
            "team": "risk",
        }
    assert not strict_aws.violations


def test_a_known_template_costs_no_call(
    go: Go, new_request: NewRequest, template: Template, operations: Operations
) -> None:
    go(new_request(1), template)
    go(new_request(2), template)

    assert operations() == ["CreateLaunchTemplate", "RunInstances", "RunInstances"]


def test_1001_machines_take_three_calls(
    go: Go, new_request: NewRequest, template: Template, strict_aws: StrictAws
) -> None:
    made = go(new_request(target=1001), template)

    counts = [call.parameters["MaxCount"] for call in strict_aws.calls if call.operation == "RunInstances"]
    assert counts == [500, 500, 1]
    assert len(made.instances) == 1001
    assert len(made.resource_ids) == 3


def test_units_are_bought_by_the_weight_of_the_type(go: Go, new_request: NewRequest, template: Template) -> None:
    made = go(new_request(target=5), replace(template, vm_types={"m5.xlarge": 2}))

    assert [one.weight for one in made.instances] == [2.0, 2.0, 2.0]
    assert made.provider_data["left"] == [0, 0]


def test_what_a_short_pool_gives_is_kept_and_the_rest_comes_from_the_next(
    go: Go, new_request: NewRequest, two_zones: Template, strict_aws: StrictAws
) -> None:
    strict_aws.set_capacity("m5.large", "us-east-1a", "on-demand", 2)
    made = go(new_request(target=5), two_zones)

    assert sorted(one.zone for one in made.instances) == ["us-east-1a"] * 2 + ["us-east-1b"] * 3
    assert made.final
    [fault] = made.faults
    assert (fault.code, fault.message) == ("InsufficientInstanceCapacity", "2 of 5 machines launched")
    assert "m5.large" in fault.subject


def test_when_all_pools_are_short_the_request_is_final_with_what_there_is(
    go: Go, new_request: NewRequest, two_zones: Template, strict_aws: StrictAws
) -> None:
    strict_aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    strict_aws.set_capacity("m5.large", "us-east-1b", "on-demand", 0)
    request = new_request(target=4)
    made = go(request, two_zones)

    assert (len(made.instances), made.final, made.provider_data["left"]) == (1, True, [0, 3.0])
    assert [fault.kind for fault in made.faults] == [FaultKind.CAPACITY] * 2
    assert plugin.advance((after(request, made),), None) == ()


def test_when_nothing_at_all_is_made_the_call_fails_with_aws_s_code(
    go: Go, new_request: NewRequest, two_zones: Template, strict_aws: StrictAws, context: Context
) -> None:
    for zone in ("us-east-1a", "us-east-1b"):
        strict_aws.set_capacity("m5.large", zone, "on-demand", 0)
    with pytest.raises(CloudError, match="InsufficientInstanceCapacity") as caught:
        go(new_request(), two_zones)

    assert not isinstance(caught.value, OutcomeUnknown)
    assert [intent.step for intent in context.journal.steps(new_request().request_id)] == ["launch-template"]


def test_a_wrong_request_is_refused_at_once_in_whatever_pools(
    go: Go,
    new_request: NewRequest,
    two_zones: Template,
    faults: Faults,
    operations: Operations,
) -> None:
    faults("RunInstances", WRONG)
    with pytest.raises(CloudError, match="InvalidParameterValue"):
        go(new_request(), two_zones)

    assert operations().count("RunInstances") == 1


@pytest.mark.usefixtures("five_a_call")
def test_an_error_after_a_first_chunk_stands_beside_its_machines(
    go: Go, new_request: NewRequest, template: Template, faults: Faults
) -> None:
    request = new_request(target=6)
    faults("RunInstances", None, WRONG)
    made = go(request, template)

    assert (len(made.instances), made.final) == (5, True)
    assert [fault.code for fault in made.faults] == ["InvalidParameterValue"]


def test_spot_machines_are_asked_for_in_the_spot_market(
    go: Go, new_request: NewRequest, template: Template, strict_aws: StrictAws
) -> None:
    made = go(new_request(), replace(template, price_type="spot", max_spot_price=0.05))

    assert {one.plan.market for one in strict_aws.live_instances()} == {"spot"}
    assert {one.price_type for one in made.instances} == {"spot"}
    assert not strict_aws.violations


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(1, {"spot": 7, "ondemand": 3}), (2, {"spot": 3, "ondemand": 2}), (8, {"spot": 1, "ondemand": 1})],
)
def test_a_share_on_demand_and_spot_for_the_rest_make_the_target(
    go: Go, new_request: NewRequest, template: Template, weight: int, expected: dict[str, int]
) -> None:
    mixed = replace(template, price_type="spot", percent_on_demand=30, vm_types={"m5.large": weight})
    made = go(new_request(target=10), mixed)

    assert Counter(one.price_type for one in made.instances) == expected
    assert (made.final, made.provider_data["left"][0]) == (True, 0)


def test_a_share_that_can_not_be_bought_on_demand_is_not_bought_on_spot(
    go: Go, new_request: NewRequest, template: Template, strict_aws: StrictAws
) -> None:
    strict_aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    made = go(new_request(target=10), replace(template, price_type="spot", percent_on_demand=30))

    assert Counter(one.price_type for one in made.instances) == {"spot": 7, "ondemand": 1}
    assert (made.final, made.provider_data["left"]) == (True, [2, 0])
    assert [fault.code for fault in made.faults] == ["InsufficientInstanceCapacity"]


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_a_mix_is_gone_on_with_after_a_death_at_any_call(
    go: Go, new_request: NewRequest, template: Template, strict_aws: StrictAws, rig: Rig, answered: int
) -> None:
    strict_aws.set_capacity("m5.large", "us-east-1a", "spot", 4)
    mixed = replace(template, price_type="heterogeneous", percent_on_demand=20)
    request = new_request(target=10)
    rig.fail("RunInstances", *[None] * answered, "reset after", "reset after")
    with suppress(OutcomeUnknown):
        go(request, mixed)
    made = go(request, mixed)  # nothing was stored: the journal alone knows

    assert Counter(one.price_type for one in made.instances) == {"ondemand": 6, "spot": 4}
    assert len(strict_aws.live_instances()) == 10
    assert made.final


def test_heterogeneous_buys_on_demand_what_spot_does_not_have(
    go: Go, new_request: NewRequest, template: Template, strict_aws: StrictAws
) -> None:
    strict_aws.set_capacity("m5.large", "us-east-1a", "spot", 3)
    made = go(new_request(target=5), replace(template, price_type="heterogeneous"))

    assert sorted(one.price_type for one in made.instances) == ["ondemand"] * 2 + ["spot"] * 3


def test_provision_again_makes_nothing_anew(
    go: Go, new_request: NewRequest, two_zones: Template, strict_aws: StrictAws
) -> None:
    strict_aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    first = go(new_request(target=4), two_zones)
    calls = len(strict_aws.calls)
    again = go(new_request(target=4), two_zones)

    assert {one.instance_id for one in again.instances} == {one.instance_id for one in first.instances}
    assert again.provider_data == first.provider_data
    assert len(strict_aws.calls) == calls


def test_a_pool_that_has_room_again_after_a_death_does_not_hide_what_was_made_elsewhere(
    go: Go, new_request: NewRequest, two_zones: Template, strict_aws: StrictAws
) -> None:
    strict_aws.set_capacity("m5.large", "us-east-1a", "on-demand", 0)
    go(new_request(target=4), two_zones)
    strict_aws.set_capacity("m5.large", "us-east-1a", "on-demand", None)
    again = go(new_request(target=4), two_zones)

    assert {one.instance_id for one in again.instances} == live(strict_aws)
    assert len(live(strict_aws)) == 4


@pytest.mark.parametrize("wrong", ["reset before", "reset after"])
def test_an_unanswered_launch_is_unknown_and_found_out_by_the_next_process(
    go: Go,
    new_request: NewRequest,
    template: Template,
    strict_aws: StrictAws,
    faults: Faults,
    wrong: str,
) -> None:
    faults("RunInstances", wrong, wrong)
    with pytest.raises(OutcomeUnknown):
        go(new_request(target=3), template)
    made = go(new_request(target=3), template)

    assert {one.instance_id for one in made.instances} == live(strict_aws)
    assert (len(live(strict_aws)), made.final) == (3, True)


def test_what_was_made_and_has_ended_before_its_answer_was_seen_is_not_made_again(
    go: Go,
    new_request: NewRequest,
    template: Template,
    strict_aws: StrictAws,
    faults: Faults,
) -> None:
    faults("RunInstances", "reset after", BROKEN)
    with pytest.raises(OutcomeUnknown):
        go(new_request(target=2), template)
    for one in strict_aws.live_instances():
        strict_aws.kill(one.id)
    strict_aws.advance(1)
    made = go(new_request(target=2), template)

    assert (len(made.instances), made.final) == (2, True)
    assert live(strict_aws) == set()


def test_a_lost_launch_template_is_made_again_and_the_launch_goes_on(
    go: Go,
    new_request: NewRequest,
    template: Template,
    strict_aws: StrictAws,
    operations: Operations,
) -> None:
    go(new_request(1), template)
    strict_aws.region().templates.clear()
    made = go(new_request(2), template)

    assert len(made.instances) == 2
    assert operations()[2:] == ["RunInstances", "CreateLaunchTemplate", "RunInstances"]


def test_a_throttled_first_call_is_refused_as_nothing_is_made(
    go: Go, new_request: NewRequest, template: Template, faults: Faults
) -> None:
    faults("RunInstances", *[THROTTLED] * 3)
    with pytest.raises(CloudError, match="RequestLimitExceeded"):
        go(new_request(), template)


@pytest.mark.parametrize("wrong", [[THROTTLED] * 3, ["reset after"] * 2, ["reset before"] * 2])
@pytest.mark.usefixtures("five_a_call")
def test_a_throttled_or_unanswered_chunk_is_gone_on_with_by_advance(
    go: Go,
    new_context: NewContext,
    new_request: NewRequest,
    template: Template,
    strict_aws: StrictAws,
    faults: Faults,
    wrong: list[AwsError | str],
) -> None:
    request = new_request(target=7)
    faults("RunInstances", None, *wrong)
    made = go(request, template)
    assert (len(made.instances), made.final, made.provider_data["left"]) == (5, False, [0, 2.0])
    [open_one] = plugin.discover_instances((after(request, made),), new_context())
    assert not open_one.final

    new_context().journal.forget(request.request_id)  # as the core does, once it has stored `made`
    [rest] = plugin.advance((after(request, made),), new_context())
    assert (len(rest.instances), rest.final, rest.faults) == (2, True, ())
    assert len(live(strict_aws)) == 7
    [closed] = plugin.discover_instances((after(after(request, made), rest),), new_context())
    assert (closed.final, closed.fulfilled) == (True, 7.0)


@pytest.mark.usefixtures("five_a_call")
def test_machines_of_an_unanswered_call_are_seen_even_if_it_is_never_repeated(
    go: Go, context: Context, new_request: NewRequest, template: Template, strict_aws: StrictAws, faults: Faults
) -> None:
    request = new_request(target=7)
    faults("RunInstances", None, "reset after", "reset after")
    [found] = plugin.discover_instances((after(request, go(request, template)),), context)

    assert {one.instance_id for one in found.instances} == live(strict_aws)
    assert len(found.instances) == 7


def test_one_request_that_can_not_go_on_does_not_stop_another(
    new_context: NewContext, new_request: NewRequest, template: Template, faults: Faults
) -> None:
    state = {"left": [0, 1.0], "next": 1, "pool": 0, "given_up": False, "launch_template": "x"}
    broken = new_request(1, provider_data=state, template=replace(template, user_data_script="missing.sh"))
    throttled, good = new_request(2, provider_data=state), new_request(3, provider_data=state)
    faults("RunInstances", *[THROTTLED] * 3)
    first, second, third = plugin.advance((broken, throttled, good), new_context())

    assert (first.faults[0].code, first.provider_data["left"]) == (ConfigError.code, [0, 1.0])
    assert (second.faults[0].kind, second.final) == (FaultKind.THROTTLE, False)
    assert (len(third.instances), third.final) == (1, True)


def test_the_status_of_50_requests_is_one_call(
    go: Go,
    context: Context,
    new_request: NewRequest,
    template: Template,
    strict_aws: StrictAws,
    operations: Operations,
) -> None:
    polled = [after(new_request(n, target=2), go(new_request(n, target=2), template)) for n in range(50)]
    strict_aws.world.calls.clear()
    found = plugin.discover_instances(tuple(polled), context)

    assert {(len(one.instances), one.fulfilled, one.final) for one in found} == {(2, 2.0, True)}
    assert operations() == ["DescribeInstances"]


def test_machines_whose_ids_were_lost_are_found_by_their_tag(
    go: Go, context: Context, new_request: NewRequest, template: Template, strict_aws: StrictAws
) -> None:
    go(new_request(), template)
    [found] = plugin.discover_instances((new_request(),), context)

    assert {one.instance_id for one in found.instances} == live(strict_aws)


def test_the_machines_of_an_api_that_is_not_installed_are_found_by_tag_and_never_called_gone(
    context: Context, new_request: NewRequest, launched: Launched
) -> None:
    request = new_request(provider_api="ASG", distribution="hfcore-aws-asg", resource_ids=("hf-1",), refills=True)
    ids = launched(2, request_id=request.request_id)
    [found] = plugin.discover_instances((replace(request, machine_ids=("i-0000000000000dead",)),), context)

    assert {one.instance_id for one in found.instances} == set(ids)
    assert (found.thorough, found.final) == (False, False)
    assert "install hfcore-aws-asg" in found.message


def test_a_machine_that_another_api_would_replace_is_not_ended(
    context: Context,
    new_request: NewRequest,
    launched: Launched,
    machine: NewMachine,
    strict_aws: StrictAws,
) -> None:
    ids = launched(2)
    refilling = new_request(1, provider_api="ASG", distribution="hfcore-aws-asg", refills=True)
    frozen = replace(refilling, request_id="req-2", frozen=True)
    releases = (
        Release(request=refilling, machines=(machine(ids[0]),), return_id="ret-1"),
        Release(request=frozen, machines=(machine(ids[1]),), return_id="ret-1"),
    )
    by_id = {one.request_id: one for one in plugin.release_instances(releases, context)}

    assert by_id["req-2"].ending == {ids[1]}
    assert by_id[refilling.request_id].ending == frozenset()
    assert "install hfcore-aws-asg" in by_id[refilling.request_id].faults[ids[0]].message
    assert live(strict_aws) == {ids[0]}


def test_exactly_the_machines_of_the_releases_end_in_one_call(
    context: Context,
    new_request: NewRequest,
    launched: Launched,
    machine: NewMachine,
    strict_aws: StrictAws,
    operations: Operations,
) -> None:
    ids = launched(4)
    releases = tuple(Release(request=new_request(n), machines=(machine(ids[n]),), return_id="ret-1") for n in range(3))
    found = plugin.release_instances(releases, context)

    assert [one.ending for one in found] == [{ids[0]}, {ids[1]}, {ids[2]}]
    assert live(strict_aws) == {ids[3]}
    assert operations() == ["TerminateInstances"]


def test_there_is_nothing_to_stop_or_to_clean_but_another_api_s_resource_waits_for_its_plug_in(
    new_request: NewRequest,
) -> None:
    ours, foreign = new_request(1), new_request(2, provider_api="SpotFleet", distribution="hfcore-aws-spotfleet")
    for hook in (plugin.stop_launching, plugin.cleanup):
        first, second = hook((ours, foreign))
        assert (first.done, second.done) == (True, False)
        assert "hfcore-aws-spotfleet" in second.faults[0].message


def test_a_plan_is_what_provision_then_sends(
    context: Context, new_request: NewRequest, template: Template, strict_aws: StrictAws
) -> None:
    request = new_request(target=501)
    planned = plugin.plan(request, template, context)
    assert strict_aws.calls == []
    plugin.provision(request, template, context)

    assert [call.operation for call in planned] == [call.operation for call in strict_aws.calls]
    for call, sent in zip(planned[1:], strict_aws.calls[1:], strict=True):
        assert call.parameters == {key: value for key, value in sent.parameters.items() if key != "ClientToken"}


def test_a_template_is_told_what_runinstances_ignores(template: Template, context: Context) -> None:
    assert plugin.validate_template(replace(template, instance_tags={}), context) == ()
    odd = replace(
        template, instance_tags={}, percent_on_demand=20, allocation_strategy="diversified", fleet_role="arn:x"
    )
    found = {one.field: one.severity for one in plugin.validate_template(odd, context)}

    assert found == {
        "percentOnDemand": Severity.WARNING,
        "allocationStrategy": Severity.WARNING,
        "fleetRole": Severity.WARNING,
    }


def test_templates_are_validated_without_loading_an_sdk() -> None:
    code = (
        "import sys; from types import SimpleNamespace as Some; from hfcore.models import Template;"
        "from hfcore_aws_runinstances import plugin;"
        "context = Some(settings=Some(instance_pending_timeout_sec=180));"
        "plugin.provider_info(); plugin.validate_template(Template(template_id='t'), context);"
        "print(sorted({'boto3', 'botocore', 'pydantic', 'rich'} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"
