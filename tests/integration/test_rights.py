"""Least privilege: what each AWS plug-in calls in all its forms is what it says that it needs, no less and no more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hfcore import lifecycle
from hfcore.aws.policy import MOST_CHARACTERS, access_policy
from hfcore.models import SubnetsWanted
from hfcore.testing.aws import AL2023, Timings
from hfcore.testing.aws.lookups import send
from hfcore.testing.core import LOG, OWNER
from hfcore.testing.grid import Grid
from hfcore.testing.rights import needed
from hfcore.testing.site import ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.models import Request
    from hfcore.testing.rig import AwsServer

TIMINGS = Timings(boot_seconds=1, shutdown_seconds=1, fill_seconds=1, replace_seconds=1)
EC2, POOL = "ec2", ("m5.large", "us-east-1a")
FORMS: dict[str, tuple[dict[str, Any], ...]] = {
    "RunInstances": ({},),
    "ASG": ({},),
    "EC2Fleet": ({"fleet_type": "instant"}, {"fleet_type": "request"}, {"fleet_type": "maintain"}),
    "SpotFleet": ({"fleet_role": ROLE},),
}
BY_ITSELF = {
    "ec2:CreateTags": "checked where a launch or a creation brings its tags",
    "iam:PassRole": "checked where a launch hands over the instance profile's role, or a Spot fleet its own",
    "iam:CreateServiceLinkedRole": "checked where the first launch of its kind makes AWS's own role",
    "autoscaling:CreateOrUpdateTags": "checked where CreateAutoScalingGroup brings tags",
}
"""Actions that AWS asks for without a call of their name (IAM user guide; EC2 and Auto Scaling user guides)."""


@pytest.fixture(params=FORMS)
def grid(request: pytest.FixtureRequest, aws_server: AwsServer, tmp_path: Path) -> Iterator[Grid]:
    with aws_server.fresh(TIMINGS):
        yield Grid(aws_server, tmp_path, request.param, max_number=10)


def settle(grid: Grid, seconds: float = 21) -> None:
    grid.sleep(seconds)
    grid.advance()
    grid.discover()


def wind_up(grid: Grid) -> None:
    """Let all end that there is: frozen, returned, asked about, and tidied up."""
    grid.aws.faults.clear()
    grid.freeze()
    for request in tuple(grid.requests.values()):
        if live := grid.live(request):
            grid.release(request, *live)
            grid.sleep(10)
            grid.about(*live)
    grid.sleep(10)
    grid.discover()
    grid.requests = {key: replace(one, status=_ended(one)) for key, one in grid.requests.items()}
    grid.freeze()
    grid.cleanup()


def _ended(request: Request) -> Any:  # noqa: ANN401 - a status
    return lifecycle.RequestStatus.COMPLETED_WITH_ERRORS if lifecycle.is_open(request) else request.status


def complete(grid: Grid, **fields: Any) -> None:  # noqa: ANN401 - fields of Template
    """A request that gets what it asks for, of which one machine goes back before it is complete."""
    request = grid.ask(3, **fields)
    grid.sleep(2)
    grid.discover()
    if live := grid.live(request):
        grid.release(request, live[0])
    settle(grid)
    wind_up(grid)


def short(grid: Grid, **fields: Any) -> None:  # noqa: ANN401 - as above
    """Requests that EC2 has too little for, until the reasons are asked for and Spot's time is over."""
    for market in ("spot", "on-demand"):
        grid.aws.set_capacity(*POOL, market, 1)
    grid.ask(3, **fields)
    grid.ask(3, **{**fields, "price_type": "heterogeneous"})
    settle(grid)
    settle(grid, 120)
    settle(grid, 1600)
    settle(grid)
    for market in ("spot", "on-demand"):
        grid.aws.set_capacity(*POOL, market, None)
    wind_up(grid)


def unseen(grid: Grid, **fields: Any) -> None:  # noqa: ANN401 - as above
    """A request whose machines EC2 does not show for a while, and whose launch template's answer is lost."""
    grid.aws.world.timings = replace(TIMINGS, visible_after_seconds=60)
    grid.fail("CreateLaunchTemplate", "reset after", "reset before", "reset before")
    request = grid.request(2, **fields)
    try:
        grid.provision(request)
    except Exception:  # noqa: BLE001 - its outcome is not known, as it is meant to be
        grid.provision(request)
    settle(grid, 10)
    grid.aws.world.timings = TIMINGS
    settle(grid, 60)
    wind_up(grid)


def late(grid: Grid, **fields: Any) -> None:  # noqa: ANN401 - as above
    """A request whose launch template is only looked for, as its deadline is over before the answer."""
    request = grid.request(2, **fields)
    grid.fail("CreateLaunchTemplate", "reset after", "reset before")
    for _ in range(2):
        try:
            grid.provision(request)
        except Exception:  # noqa: BLE001 - as above
            grid.sleep(31 * 60)
    wind_up(grid)


def everything_named(grid: Grid, **fields: Any) -> None:  # noqa: ANN401 - as above
    """A request of a template that builds upon one of the user's, with an image by its path and a volume."""
    client = grid.clients(EC2, "quick")
    made = client.create_launch_template(
        LaunchTemplateName="theirs", LaunchTemplateData={"KeyName": "grid"}, ClientToken="once"
    )["LaunchTemplate"]
    named = {
        "image_id": AL2023,
        "root_device_volume_size": 20,
        "launch_template_id": made["LaunchTemplateId"],
        "key_name": "grid",
        "instance_profile": "worker",
        "placement_group_name": "close",
        "fleet_role": ROLE,
    }
    grid.provider.check(replace(grid.template, **{**fields, **named}), grid.context)
    request = grid.ask(1, **{**fields, **named})
    settle(grid)
    grid.provider.reclaimed_instances(tuple(grid.live(request)), (grid.now(request),), grid.context)
    grid.provider.find_instances(tuple(grid.now(request).machine_ids), (), (request.request_id,), grid.context)
    wind_up(grid)


def hooks_for_operators(grid: Grid) -> None:
    grid.provider.describe_offers(("m5.large",), SubnetsWanted(), grid.context)
    send(grid.aws.region(), "{}")
    where = f"{grid.aws.endpoint_url}/123456789012/reclaims"
    grid.settings = replace(grid.settings, reclaim_queue_url=where)
    grid.provider.forget_notices(grid.provider.receive_notices(grid.context), grid.context)
    owned = grid.provider.owned_resources(grid.context)
    grid.provider.remove_owned(tuple(one for one in owned if one.kind == "launch-template"), grid.context)


def find_of_another_plugin(grid: Grid) -> None:
    """A machine of an EC2 Fleet that no record names, returned to whatever plug-in there is."""
    before = len(grid.aws.calls)
    other = grid if grid.provider.name == "EC2Fleet" else Grid(grid.server, grid.folder, "EC2Fleet")
    request = other.ask(1, fleet_type="instant")
    del grid.aws.world.calls[before:]
    grid.provider.find_instances(tuple(one.instance_id for one in other.its(request)), (), (), grid.context)


def play(grid: Grid) -> None:
    for form in FORMS[grid.provider.name]:
        for price in ("ondemand", "spot"):
            fields = {**form, "price_type": price}
            for scene in (complete, short, unseen, late, everything_named):
                scene(grid, **fields)
    hooks_for_operators(grid)
    find_of_another_plugin(grid)


@pytest.mark.timeout(240)
def test_what_a_plugin_calls_is_what_it_says_that_it_needs(grid: Grid) -> None:
    said = set(grid.provider.info.iam_actions)
    play(grid)
    calls = (one for one in grid.aws.calls if not one.parameters.get("DryRun") or one.operation == "RunInstances")
    called = needed(calls)
    by_itself = set(BY_ITSELF)
    if grid.provider.name in {"ASG", "EC2Fleet", "SpotFleet"}:
        by_itself.add("ec2:RunInstances")  # checked where a fleet or a group launches, and called by checks alone
    assert called <= said, called - said
    assert said - called <= by_itself, said - called - by_itself
    grid.provider.check_account(tuple(sorted(said)), {}, grid.context)
    assert needed(grid.aws.calls) <= said


def test_what_the_policy_allows_with_our_tag_alone_is_made_with_it(grid: Grid) -> None:
    for form in FORMS[grid.provider.name]:
        complete(grid, **form)
    owner = {"Key": "hfcore:owner", "Value": OWNER}
    made = [one for one in grid.aws.calls if one.operation in {"CreateLaunchTemplate", "CreateAutoScalingGroup"}]
    assert made
    for call in made:
        given = [*call.parameters.get("TagSpecifications", ()), {"Tags": call.parameters.get("Tags", ())}]
        tags = [{"Key": tag["Key"], "Value": tag["Value"]} for one in given for tag in one["Tags"]]
        assert owner in tags, call.operation


def test_a_right_that_is_missing_and_one_that_is_too_many_are_found(grid: Grid) -> None:
    grid.provider.owned_resources(grid.context)
    called = needed(grid.aws.calls)
    assert "ec2:DescribeInstances" in called
    assert not called <= set(grid.provider.info.iam_actions) - {"ec2:DescribeInstances"}


class TestPolicy:
    """The policy allows exactly what the plug-ins say, on what is ours."""

    OWNER = "0f6c1c0e-6d0b-4c43-a0f7-7a5f1c1d2e3f"

    @pytest.fixture
    def statements(self, grid: Grid) -> dict[str, dict[str, Any]]:
        document = access_policy((grid.provider.info,), self.OWNER, None)
        assert document["Version"] == "2012-10-17"
        return {one["Sid"]: one for one in document["Statement"]}

    def test_each_action_stands_there_once(self, grid: Grid, statements: dict[str, dict[str, Any]]) -> None:
        actions = [action for sid, one in statements.items() for action in one["Action"] if sid != "LaunchOurs"]
        assert sorted(actions) == sorted(grid.provider.info.iam_actions)
        assert "Others" not in statements

    def test_what_changes_or_ends_is_allowed_on_what_carries_our_tag_alone(
        self, statements: dict[str, dict[str, Any]]
    ) -> None:
        open_to_all = {"Look", "Launch", "Queue", "ServicesOwnRoles", "HandOverRoles", "TagWhatIsMade"}
        for sid, one in statements.items():
            if sid not in open_to_all:
                ((key, value),) = one["Condition"]["StringEquals"].items()
                assert (key.partition("/")[2], value) == ("hfcore:owner", self.OWNER)
        assert "ec2:TerminateInstances" in statements["OursInEc2"]["Action"]
        assert all(one.split(":")[1].startswith(("Describe", "Get")) for one in statements["Look"]["Action"])

    def test_what_a_launch_makes_with_our_tag_is_made_with_it_or_not_at_all(
        self, grid: Grid, statements: dict[str, dict[str, Any]]
    ) -> None:
        made = {
            "RunInstances": ("instance", "volume"),
            "EC2Fleet": ("fleet",),
            "SpotFleet": ("spot-fleet-request",),
            "ASG": (),
        }[grid.provider.name]
        arns = [f"arn:*:ec2:*:*:{kind}/*" for kind in made]
        assert statements.get("LaunchOurs", {}).get("Resource", []) == arns
        assert statements["Launch"].get("NotResource", []) == arns
        for form in FORMS[grid.provider.name]:
            complete(grid, **form)
        for call in grid.aws.calls:
            if not call.parameters.get("DryRun") and f"ec2:{call.operation}" in statements["Launch"]["Action"]:
                inner = call.parameters.get("SpotFleetRequestConfig", call.parameters)
                tags = {one["ResourceType"]: one["Tags"] for one in inner["TagSpecifications"]}
                assert all({"Key": "hfcore:owner", "Value": OWNER} in tags[kind] for kind in made), call.operation

    def test_roles_and_tags_are_given_to_aws_and_at_a_creation_alone(
        self, statements: dict[str, dict[str, Any]]
    ) -> None:
        said = {sid: one["Condition"]["StringEquals"] for sid, one in statements.items() if "Condition" in one}
        assert "ec2.amazonaws.com" in said["HandOverRoles"]["iam:PassedToService"]
        assert "spot.amazonaws.com" in said["ServicesOwnRoles"]["iam:AWSServiceName"]
        assert {"RunInstances", "CreateLaunchTemplate"} <= set(said["TagWhatIsMade"]["ec2:CreateAction"])

    def test_without_an_owner_any_owner_is_meant_but_one_there_must_be(self, grid: Grid) -> None:
        document = access_policy((grid.provider.info,), "", None)
        conditions = [one["Condition"] for one in document["Statement"] if one["Sid"] == "OursInEc2"]
        assert conditions == [{"Null": {"aws:ResourceTag/hfcore:owner": "false"}}]

    @pytest.mark.parametrize(
        ("url", "resource"),
        [
            ("", None),
            ("https://sqs.us-east-1.amazonaws.com/123456789012/q", "arn:aws:sqs:us-east-1:123456789012:q"),
            ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "arn:aws-cn:sqs:cn-north-1:123456789012:q"),
            ("https://sqs.us-gov-west-1.amazonaws.com/12/q", "arn:aws-us-gov:sqs:us-gov-west-1:12:q"),
            ("http://127.0.0.1:5555/123456789012/q", "*"),
        ],
    )
    def test_the_queue_is_that_of_the_settings_and_none_where_there_is_none(
        self, grid: Grid, url: str, resource: str | None
    ) -> None:
        settings = replace(grid.settings, reclaim_queue_url=url)
        document = access_policy((grid.provider.info,), "", settings)
        assert [one["Resource"] for one in document["Statement"] if one["Sid"] == "Queue"] == [resource][
            : bool(resource)
        ]

    def test_all_plugins_together_fit_into_one_managed_policy(self, grid: Grid) -> None:
        from hfcore.plugins import Plugins, installed

        records = Plugins(installed("hfcore.providers"), logger=LOG).records()
        infos = tuple(one.info for one in records if one.info and one.info.cloud == "aws")
        document = access_policy(infos, self.OWNER, None)
        assert len(json.dumps(document, separators=(",", ":"))) < MOST_CHARACTERS
