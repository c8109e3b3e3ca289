from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hfcore.aws.discovery import Told, discover
from hfcore.aws.instances import announced
from hfcore.errors import CloudError
from hfcore.models import MachineStatus, RequestKind
from hfcore.testing.aws import AwsError, StrictAws, Timings

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.context import Context
    from hfcore.models import Request, Template

UNKNOWN = "i-0000000000000dead"


def test_fifty_requests_with_a_thousand_machines_take_one_call(
    context: Context,
    launched: Callable[..., list[str]],
    new_request: Callable[..., Request],
    operations: Callable[[], list[str]],
) -> None:
    ids = [one for _ in range(2) for one in launched(500)]
    requests = [new_request(number, machine_ids=tuple(ids[number * 20 : number * 20 + 20])) for number in range(50)]
    found = discover(context, [Told(request=one, final=True) for one in requests])

    assert [one.request_id for one in found] == [one.request_id for one in requests]
    assert {(len(one.instances), one.fulfilled, one.final, one.thorough) for one in found} == {(20, 20.0, True, True)}
    assert operations() == ["DescribeInstances"]


def test_fulfilled_counts_the_units_of_running_machines(
    context: Context,
    launched: Callable[..., list[str]],
    new_request: Callable[..., Request],
    template: Template,
    strict_aws: StrictAws,
) -> None:
    strict_aws.world.timings = Timings(boot_seconds=100.0)
    strict_aws.world.regions.clear()
    ids = launched(2)
    request = new_request(machine_ids=tuple(ids), template=replace(template, vm_types={"m5.large": 3}))
    [pending] = discover(context, [Told(request=request)])
    strict_aws.advance(100)
    [running] = discover(context, [Told(request=request)])

    assert (pending.fulfilled, running.fulfilled) == (0.0, 6.0)
    assert {one.weight for one in running.instances} == {3.0}
    elsewhere = replace(template, vm_types={}, vm_types_on_demand={"m5.large": 2})
    [other] = discover(context, [Told(request=replace(request, template=elsewhere))])
    assert other.fulfilled == 4.0


def test_a_machine_that_aws_does_not_know_is_absent_from_a_thorough_answer(
    context: Context, launched: Callable[..., list[str]], new_request: Callable[..., Request]
) -> None:
    [known] = launched()
    [found] = discover(context, [Told(request=new_request(machine_ids=(known, UNKNOWN)))])

    assert [one.instance_id for one in found.instances] == [known]
    assert found.thorough
    assert found.account_id == "123456789012"


def test_a_machine_without_our_tag_is_not_shown_and_leaves_the_answer_not_thorough(
    context: Context, launched: Callable[..., list[str]], new_request: Callable[..., Request]
) -> None:
    [strange] = launched(owner="owner-2")
    request = new_request(machine_ids=(strange,))
    [found] = discover(context, [Told(request=request, instances=(announced(context, strange),))])

    assert found.instances == ()
    assert not found.thorough


def test_what_the_api_names_is_shown_before_ec2_knows_it(
    context: Context, launched: Callable[..., list[str]], new_request: Callable[..., Request]
) -> None:
    [known] = launched()
    named = (announced(context, known, weight=5.0), announced(context, UNKNOWN, weight=5.0))
    [found] = discover(context, [Told(request=new_request(), instances=named)])

    shown = {one.instance_id: (one.listed, one.status, one.weight) for one in found.instances}
    assert shown == {known: (True, MachineStatus.RUNNING, 1.0), UNKNOWN: (False, MachineStatus.PENDING, 5.0)}
    assert found.fulfilled == 1.0


def test_a_request_without_ids_is_looked_for_by_its_tag(
    context: Context,
    launched: Callable[..., list[str]],
    new_request: Callable[..., Request],
    operations: Callable[[], list[str]],
) -> None:
    lost, known = new_request(1), new_request(2)
    ids = launched(2, request_id=lost.request_id)
    [other] = launched(request_id=known.request_id)
    found, rest = discover(context, [Told(request=lost), Told(request=replace(known, machine_ids=(other,)))])

    assert {one.instance_id for one in found.instances} == set(ids)
    assert [one.instance_id for one in rest.instances] == [other]
    assert operations() == ["DescribeInstances"] * 2


def test_by_tag_finds_more_than_the_ids_that_are_known(
    context: Context, launched: Callable[..., list[str]], new_request: Callable[..., Request]
) -> None:
    request = new_request()
    first, second = launched(2, request_id=request.request_id)
    told = Told(request=replace(request, machine_ids=(first,)), by_tag=True, thorough=False, message="found by tag")
    [found] = discover(context, [told])

    assert {one.instance_id for one in found.instances} == {first, second}
    assert (found.thorough, found.message) == (False, "found by tag")


def test_a_return_shows_exactly_its_machines(
    context: Context,
    launched: Callable[..., list[str]],
    new_request: Callable[..., Request],
    operations: Callable[[], list[str]],
) -> None:
    first, _ = launched(2, request_id="ret-1")
    request = new_request(
        request_id="ret-1", kind=RequestKind.RETURN, template=None, provider_api="", machine_ids=(first,)
    )
    [found] = discover(context, [Told(request=request, by_tag=True)])

    assert [one.instance_id for one in found.instances] == [first]
    assert operations() == ["DescribeInstances"]


def test_an_aws_that_can_not_be_asked_is_an_error_and_no_empty_answer(
    context: Context,
    launched: Callable[..., list[str]],
    new_request: Callable[..., Request],
    faults: Callable[..., None],
) -> None:
    ids = launched()
    faults("DescribeInstances", AwsError("UnauthorizedOperation", "No.", 403))
    with pytest.raises(CloudError):
        discover(context, [Told(request=new_request(machine_ids=tuple(ids)))])
