"""What EC2 tells of instances that no record names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hfcore.aws.finding import find_instances
from hfcore.aws.launch_templates import own
from hfcore.errors import CloudError
from hfcore.testing.aws import AwsError
from hfcore.testing.aws.world import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.context import Context
    from hfcore.models import Found, Request, Template
    from hfcore.testing.aws import StrictAws

UNKNOWN = "i-0123456789abcdef0"


def named(context: Context, *names: str) -> dict[str, Found]:
    return {one.host_name: one for one in find_instances((), names, (), context)}


def found(context: Context, *ids: str, requests: tuple[str, ...] = ()) -> dict[str, Found]:
    answers = find_instances(ids, (), requests, context)
    assert len({one.instance_id for one in answers}) == len(answers)
    assert set(ids) <= {one.instance_id for one in answers}
    return {one.instance_id: one for one in answers}


def test_each_id_is_known_or_not_and_ours_or_not(context: Context, launched: Callable[..., list[str]]) -> None:
    [ours], [theirs], [bare] = launched(), launched(owner="owner-2"), launched(owner="")
    told = found(context, ours, theirs, bare, UNKNOWN, "vm-7", "")
    assert {key: (one.known, one.ours) for key, one in told.items()} == {
        ours: (True, True),
        theirs: (True, False),
        bare: (True, False),
        UNKNOWN: (False, False),
        "vm-7": (False, False),
        "": (False, False),
    }
    assert {one.account_id for one in told.values()} == {ACCOUNT}
    assert told[theirs].instance is None, "what is not ours is not shown"


def test_each_host_name_is_known_or_not_and_ours_or_not(
    context: Context, launched: Callable[..., list[str]], strict_aws: StrictAws, operations: Callable[[], list[str]]
) -> None:
    [ours], [theirs] = launched(), launched(owner="owner-2")
    names = {one.id: one.described["PrivateDnsName"] for one in strict_aws.live_instances()}
    told = named(context, names[ours], names[theirs], "nobody", "ip-*", "ip-10-0-?-4", "")
    assert {key: (one.instance_id, one.known, one.ours) for key, one in told.items()} == {
        names[ours]: (ours, True, True),
        names[theirs]: (theirs, True, False),
        "nobody": ("", False, False),
    }
    assert operations() == ["DescribeInstances"]


def test_one_of_ours_tells_its_request_and_template(context: Context, launched: Callable[..., list[str]]) -> None:
    [one] = launched()
    told = found(context, one)[one]
    assert (told.request_id, told.provider_api, told.refills) == ("req-1", "RunInstances", False)
    assert told.template is not None
    assert told.template.template_id == "basic"
    assert told.instance is not None
    assert told.instance.status == "running"


def test_all_that_a_request_has_made_is_found_by_its_tag(
    context: Context, launched: Callable[..., list[str]], operations: Callable[[], list[str]]
) -> None:
    one, two, [other] = *launched(2), launched(request_id="req-2")
    assert found(context, one, requests=("req-1",)).keys() == {one, two}
    assert operations() == ["DescribeInstances", "DescribeInstances"]
    assert found(context, requests=("req-2",)).keys() == {other}


def test_the_account_is_asked_for_where_no_instance_shows_it(
    context: Context, operations: Callable[[], list[str]]
) -> None:
    assert found(context, UNKNOWN)[UNKNOWN].account_id == ACCOUNT
    assert operations() == ["DescribeInstances", "GetCallerIdentity"]


def test_ids_of_another_form_do_not_reach_ec2(context: Context, operations: Callable[[], list[str]]) -> None:
    assert not found(context, "i-XYZ", "host-1")["host-1"].known
    assert operations() == ["GetCallerIdentity"]


@pytest.mark.parametrize(("fleet_type", "refills"), [("maintain", True), ("request", False), ("instant", False)])
def test_a_fleet_s_type_tells_whether_it_replaces_what_ends(
    context: Context,
    template: Template,
    new_request: Callable[..., Request],
    strict_aws: StrictAws,
    fleet_type: str,
    *,
    refills: bool,
) -> None:
    name = own(context, new_request(), template)
    ec2 = context.clients("ec2", "quick")
    ec2.create_fleet(
        Type=fleet_type,
        ClientToken="once",
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": name, "Version": "1"},
                "Overrides": [{"InstanceType": "m5.large", "SubnetId": template.subnet_id[0]}],
            }
        ],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
    )
    strict_aws.advance(1)
    [one] = strict_aws.live_instances()
    told = found(context, one.id)[one.id]
    assert (told.provider_api, told.refills) == ("EC2Fleet", refills)
    assert told.template is not None
    assert told.template.fleet_type == fleet_type


def test_where_aws_can_not_be_asked_nothing_is_told(
    context: Context, faults: Callable[..., None], launched: Callable[..., list[str]]
) -> None:
    [one] = launched()
    faults("DescribeInstances", AwsError("UnauthorizedOperation", "You are not authorized.", 403))
    with pytest.raises(CloudError):
        find_instances((one,), (), (), context)
