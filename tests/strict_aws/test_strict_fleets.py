"""EC2 Fleet: rules of aws.md sections 1, 3 and 6."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.strict_aws.conftest import Cloud, Refused

UNKNOWN = {"LaunchTemplateId": "lt-00000000", "Version": "1"}
EARLY = datetime(2020, 1, 1, tzinfo=UTC)


def tags_of(cloud: Cloud, instance_id: str) -> dict[str, str]:
    return {t["Key"]: t["Value"] for t in cloud.instance(instance_id)["Tags"]}


def history(cloud: Cloud, fleet_id: str, kind: str) -> list[dict[str, Any]]:
    found = cloud.ec2.describe_fleet_history(FleetId=fleet_id, StartTime=EARLY)["HistoryRecords"]
    return [r["EventInformation"] for r in found if r["EventType"] == kind]


def test_an_instant_fleet_answers_its_instances_by_override(cloud: Cloud) -> None:
    overrides = [{"InstanceType": "m5.large", "SubnetId": s, "Priority": n} for n, s in enumerate(cloud.subnets)]
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 2)
    options = {"AllocationStrategy": "prioritized"}
    made = cloud.fleet(3, LaunchTemplateConfigs=cloud.configs(*overrides), OnDemandOptions=options)
    assert [len(i["InstanceIds"]) for i in made["Instances"]] == [2, 1]
    first = made["Instances"][0]
    assert first["Lifecycle"] == "on-demand"
    assert first["LaunchTemplateAndOverrides"]["Overrides"]["SubnetId"] == cloud.subnets[0]
    assert [e["ErrorCode"] for e in made["Errors"]] == ["InsufficientInstanceCapacity"]
    assert "us-east-1a" in made["Errors"][0]["ErrorMessage"]


def test_a_short_instant_fleet_answers_200_and_is_not_tried_again(cloud: Cloud) -> None:
    overrides = [{"InstanceType": t, "SubnetId": cloud.subnets[0]} for t in ("m5.large", "c5.large")]
    cloud.aws.set_capacity("m5.large", "us-east-1a", "spot", 0)
    cloud.aws.set_capacity("c5.large", "us-east-1a", "spot", 1)
    made = cloud.fleet(5, market="spot", LaunchTemplateConfigs=cloud.configs(*overrides))
    assert [e["ErrorCode"] for e in made["Errors"]] == ["UnfulfillableCapacity", "InsufficientInstanceCapacity"]
    fleet = cloud.described_fleet(made["FleetId"])
    assert fleet["FulfilledCapacity"] == 1.0
    assert fleet["Instances"] == made["Instances"]
    assert fleet["Errors"] == made["Errors"]
    cloud.aws.set_capacity("m5.large", "us-east-1a", "spot", None)
    cloud.aws.advance(3600)
    assert len(cloud.live()) == 1


def test_the_instances_of_an_instant_fleet_carry_all_their_tags(cloud: Cloud) -> None:
    specifications = [
        {"ResourceType": "fleet", "Tags": [{"Key": "f", "Value": "1"}]},
        {"ResourceType": "instance", "Tags": [{"Key": "i", "Value": "2"}]},
    ]
    made = cloud.fleet(1, TagSpecifications=specifications)
    (one,) = made["Instances"][0]["InstanceIds"]
    tags = tags_of(cloud, one)
    assert tags["aws:ec2:fleet-id"] == made["FleetId"]
    assert (tags["i"], tags["hfcore:owner"], tags["aws:ec2launchtemplate:version"]) == ("2", "me", "1")
    assert cloud.described_fleet(made["FleetId"])["Tags"] == [{"Key": "f", "Value": "1"}]


def test_an_instant_fleet_with_a_wrong_image_reports_it_for_each_pool(cloud: Cloud) -> None:
    made = cloud.fleet(1, LaunchTemplateConfigs=cloud.configs(ImageId="ami-00000000"))
    assert [e["ErrorCode"] for e in made["Errors"]] == ["InvalidAMIID.NotFound"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"LaunchTemplateConfigs": []}, "MissingParameter"),
        ({"LaunchTemplateConfigs": [{"LaunchTemplateSpecification": UNKNOWN}]}, "InvalidLaunchTemplateId.NotFound"),
        ({"Type": "sometimes"}, "InvalidParameterValue"),
        ({"market": "capacity-block"}, "Unsupported"),
        (
            {"TargetCapacitySpecification": {"TotalTargetCapacity": 1, "SpotTargetCapacity": 2}},
            "InvalidTargetCapacitySpecification",
        ),
    ],
)
def test_a_wrong_fleet_is_refused(cloud: Cloud, refused: Refused, wrong: dict[str, Any], code: str) -> None:
    assert refused(cloud.fleet, units=1, **wrong) == code
    assert cloud.live() == []


def test_a_fleet_must_name_the_version_of_its_template(cloud: Cloud, refused: Refused) -> None:
    configs = [{"LaunchTemplateSpecification": {"LaunchTemplateId": cloud.template()}}]
    assert refused(cloud.fleet, units=1, LaunchTemplateConfigs=configs) == "MissingParameter"


@pytest.mark.parametrize("kind", ["request", "maintain"])
def test_only_an_instant_fleet_takes_tags_for_instances(cloud: Cloud, refused: Refused, kind: str) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
    assert refused(cloud.fleet, units=1, kind=kind, TagSpecifications=tags) == "InvalidParameterValue"


@pytest.mark.parametrize("kind", ["instant", "request", "maintain"])
def test_a_token_used_again_answers_the_same_fleet(cloud: Cloud, refused: Refused, kind: str) -> None:
    configs = cloud.configs()
    first = cloud.fleet(2, kind, ClientToken="one", LaunchTemplateConfigs=configs)
    again = cloud.fleet(2, kind, ClientToken="one", LaunchTemplateConfigs=configs)
    assert first["FleetId"] == again["FleetId"]
    cloud.aws.advance(600)
    assert len(cloud.live()) == 2
    asked = {"units": 3, "kind": kind, "ClientToken": "one", "LaunchTemplateConfigs": configs}
    assert refused(cloud.fleet, **asked) == "IdempotentParameterMismatch"


def test_a_request_fleet_answers_its_id_alone_and_fills_in_steps(cloud: Cloud) -> None:
    made = cloud.fleet(10, "request")
    assert (made.get("Instances"), made.get("Errors"), cloud.live()) == ([], [], [])
    fleet = cloud.described_fleet(made["FleetId"])
    assert fleet["FleetState"] == "submitted"
    assert "Instances" not in fleet
    cloud.aws.advance(61)
    fleet = cloud.described_fleet(made["FleetId"])
    assert (fleet["FleetState"], fleet["FulfilledCapacity"]) == ("active", 5.0)
    cloud.aws.advance(61)
    assert cloud.described_fleet(made["FleetId"])["FulfilledCapacity"] == 10.0
    active = cloud.ec2.describe_fleet_instances(FleetId=made["FleetId"])["ActiveInstances"]
    assert sorted(i["InstanceId"] for i in active) == sorted(cloud.live())
    assert tags_of(cloud, cloud.live()[0])["aws:ec2:fleet-id"] == made["FleetId"]


def test_a_request_fleet_does_not_replace_what_dies(cloud: Cloud) -> None:
    cloud.fleet(2, "request")
    cloud.aws.advance(300)
    cloud.aws.kill(cloud.live()[0])
    cloud.aws.advance(3600)
    assert len(cloud.live()) == 1


def test_a_maintain_fleet_replaces_what_dies(cloud: Cloud) -> None:
    cloud.fleet(2, "maintain", market="spot")
    cloud.aws.advance(300)
    before = cloud.live()
    cloud.aws.reclaim(before[0])
    cloud.ec2.terminate_instances(InstanceIds=before[1:])
    cloud.aws.advance(600)
    assert len(cloud.live()) == 2
    assert not set(cloud.live()) & set(before)


def test_a_fleet_without_capacity_tries_for_ever_and_says_why(cloud: Cloud) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 0)
    fleet = cloud.fleet(2, "request")["FleetId"]
    cloud.aws.advance(3600)
    events = history(cloud, fleet, "service-error")
    assert len(events) > 3
    told = {event["EventSubType"] for event in events}
    assert told == {"launchSpecTemporarilyBlacklisted", "allLaunchSpecsTemporarilyBlacklisted"}
    assert "We currently do not have sufficient m5.large capacity" in events[0]["EventDescription"]
    assert "Error Code: InsufficientInstanceCapacity" in events[0]["EventDescription"]
    assert cloud.described_fleet(fleet)["FulfilledCapacity"] == 0.0
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 5)
    cloud.aws.advance(300)
    assert len(cloud.live()) == 2


def test_weights_are_units_rounded_up_to_whole_instances(cloud: Cloud) -> None:
    configs = cloud.configs({"InstanceType": "m5.2xlarge", "WeightedCapacity": 8, "SubnetId": cloud.subnets[0]})
    made = cloud.fleet(10, LaunchTemplateConfigs=configs)
    assert len(made["Instances"][0]["InstanceIds"]) == 2
    assert cloud.described_fleet(made["FleetId"])["FulfilledCapacity"] == 16.0


def test_on_demand_and_spot_are_counted_apart(cloud: Cloud) -> None:
    target = {"TotalTargetCapacity": 5, "OnDemandTargetCapacity": 2, "DefaultTargetCapacityType": "spot"}
    made = cloud.fleet(5, TargetCapacitySpecification=target)
    assert {i["Lifecycle"]: len(i["InstanceIds"]) for i in made["Instances"]} == {"on-demand": 2, "spot": 3}
    assert len(cloud.live("spot")) == 3


def test_diversified_spreads_over_all_pools(cloud: Cloud) -> None:
    overrides = [{"InstanceType": t, "SubnetId": s} for t in ("m5.large", "c5.large") for s in cloud.subnets[:2]]
    options = {"AllocationStrategy": "diversified"}
    made = cloud.fleet(8, market="spot", LaunchTemplateConfigs=cloud.configs(*overrides), SpotOptions=options)
    assert [len(i["InstanceIds"]) for i in made["Instances"]] == [2, 2, 2, 2]


def test_attributes_choose_among_the_types_that_meet_them(cloud: Cloud, refused: Refused) -> None:
    wanted = {"VCpuCount": {"Min": 4, "Max": 4}, "MemoryMiB": {"Min": 16384}}
    answer = cloud.fleet(units=1, LaunchTemplateConfigs=cloud.configs({"InstanceRequirements": wanted}))
    assert [one["InstanceType"] for one in answer["Instances"]] == ["m5.xlarge"]
    both = cloud.configs({"InstanceRequirements": wanted, "InstanceType": "m5.large"})
    assert refused(cloud.fleet, units=1, LaunchTemplateConfigs=both) == "InvalidParameterCombination"


def test_after_valid_until_nothing_more_is_launched(cloud: Cloud) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    until = datetime.now(UTC) + timedelta(minutes=10)
    cloud.fleet(3, "maintain", ValidUntil=until)
    cloud.aws.advance(660)
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", None)
    cloud.aws.advance(3600)
    assert len(cloud.live()) == 1


def test_lowering_the_target_before_terminating_leaves_nothing_to_replace(cloud: Cloud) -> None:
    fleet = cloud.fleet(3, "maintain")["FleetId"]
    cloud.aws.advance(300)
    asked = {"TargetCapacitySpecification": {"TotalTargetCapacity": 2}, "FleetId": fleet}
    cloud.ec2.modify_fleet(**asked, ExcessCapacityTerminationPolicy="no-termination")
    assert cloud.described_fleet(fleet)["FleetState"] == "modifying"
    cloud.aws.advance(61)
    assert cloud.described_fleet(fleet)["FleetState"] == "active"
    assert len(cloud.live()) == 3
    victim = cloud.live()[1]
    cloud.ec2.terminate_instances(InstanceIds=[victim])
    cloud.aws.advance(600)
    assert len(cloud.live()) == 2
    assert cloud.aws.violations == []


def test_modify_without_a_policy_lets_aws_choose_and_is_a_violation(cloud: Cloud) -> None:
    fleet = cloud.fleet(3, "maintain")["FleetId"]
    cloud.ec2.modify_fleet(FleetId=fleet, TargetCapacitySpecification={"TotalTargetCapacity": 1})
    assert [v.operation for v in cloud.aws.violations] == ["ModifyFleet"]


@pytest.mark.parametrize("kind", ["request", "instant"])
def test_only_a_maintain_fleet_can_be_modified(cloud: Cloud, refused: Refused, kind: str) -> None:
    fleet = cloud.fleet(1, kind)["FleetId"]
    target = {"TotalTargetCapacity": 2}
    assert refused(cloud.ec2.modify_fleet, FleetId=fleet, TargetCapacitySpecification=target) == "InvalidParameterValue"


def test_a_fleet_deleted_without_termination_keeps_its_instances_and_launches_none(cloud: Cloud) -> None:
    fleet = cloud.fleet(2, "maintain")["FleetId"]
    cloud.aws.advance(300)
    answer = cloud.ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=False)
    assert answer["SuccessfulFleetDeletions"] == [
        {"FleetId": fleet, "CurrentFleetState": "deleted_running", "PreviousFleetState": "active"}
    ]
    cloud.aws.kill(cloud.live()[0])
    cloud.aws.advance(600)
    assert len(cloud.live()) == 1
    assert cloud.described_fleet(fleet)["FleetState"] == "deleted_running"
    cloud.ec2.terminate_instances(InstanceIds=cloud.live())
    cloud.aws.advance(61)
    assert cloud.described_fleet(fleet)["FleetState"] == "deleted"


def test_a_fleet_deleted_before_it_launched_is_soon_deleted_altogether(cloud: Cloud) -> None:
    fleet = cloud.fleet(2, "request")["FleetId"]
    answer = cloud.ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=False)["SuccessfulFleetDeletions"][0]
    assert (answer["PreviousFleetState"], answer["CurrentFleetState"]) == ("submitted", "deleted_running")
    cloud.aws.advance(600)
    assert cloud.described_fleet(fleet)["FleetState"] == "deleted"
    assert cloud.live() == []


def test_a_fleet_deleted_with_termination_ends_its_instances(cloud: Cloud, refused: Refused) -> None:
    fleet = cloud.fleet(2, "request")["FleetId"]
    cloud.aws.advance(300)
    cloud.ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=True)
    assert cloud.described_fleet(fleet)["FleetState"] == "deleted_terminating"
    cloud.aws.advance(61)
    assert cloud.described_fleet(fleet)["FleetState"] == "deleted"
    cloud.aws.advance(49 * 3600)
    assert refused(cloud.ec2.describe_fleets, FleetIds=[fleet]) == "InvalidFleetId.NotFound"


def test_an_unfilled_fleet_that_is_deleted_stops_launching(cloud: Cloud) -> None:
    fleet = cloud.fleet(10, "request")["FleetId"]
    cloud.aws.advance(61)
    cloud.ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=False)
    cloud.aws.advance(3600)
    assert len(cloud.live()) == 5


def test_an_instant_fleet_is_deleted_only_with_all_its_instances(cloud: Cloud) -> None:
    fleet = cloud.fleet(2)["FleetId"]
    answer = cloud.ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=False)
    assert answer["SuccessfulFleetDeletions"] == []
    assert answer["UnsuccessfulFleetDeletions"][0]["FleetId"] == fleet
    assert len(cloud.live()) == 2
    cloud.ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=True)
    assert cloud.live() == []


def test_deletion_answers_each_fleet_that_cannot_be_deleted(cloud: Cloud) -> None:
    known = cloud.fleet(1, "request")["FleetId"]
    unknown = "fleet-00000000-0000-0000-0000-000000000000"
    answer = cloud.ec2.delete_fleets(FleetIds=[known, unknown, "mine"], TerminateInstances=True)
    assert len(answer["SuccessfulFleetDeletions"]) == 1
    codes = {u["FleetId"]: u["Error"]["Code"] for u in answer["UnsuccessfulFleetDeletions"]}
    assert codes == {unknown: "fleetIdDoesNotExist", "mine": "fleetIdMalformed"}
    again = cloud.ec2.delete_fleets(FleetIds=[known], TerminateInstances=True)["UnsuccessfulFleetDeletions"]
    assert again[0]["Error"]["Code"] == "fleetNotInDeletableState"


def test_too_many_deletions_delete_none(cloud: Cloud, refused: Refused) -> None:
    configs = cloud.configs()
    fleets = [cloud.fleet(1, LaunchTemplateConfigs=configs)["FleetId"] for _ in range(26)]
    assert refused(cloud.ec2.delete_fleets, FleetIds=fleets, TerminateInstances=True) == "InvalidParameterValue"
    assert len(cloud.live()) == 26


def test_an_instant_fleet_is_listed_only_by_its_id(cloud: Cloud, refused: Refused) -> None:
    instant = cloud.fleet(1)["FleetId"]
    other = cloud.fleet(1, "request")["FleetId"]
    assert [f["FleetId"] for f in cloud.ec2.describe_fleets()["Fleets"]] == [other]
    assert cloud.described_fleet(instant)["Type"] == "instant"
    unknown = "fleet-00000000-0000-0000-0000-000000000000"
    assert refused(cloud.ec2.describe_fleets, FleetIds=[other, unknown]) == "InvalidFleetId.NotFound"
    assert refused(cloud.ec2.describe_fleet_instances, FleetId=instant) == "Unsupported"
    filters = [{"Name": "tag:owner", "Values": ["me"]}]
    assert refused(cloud.ec2.describe_fleets, Filters=filters) == "InvalidParameterValue"


def test_fleets_their_instances_and_history_come_in_pages(cloud: Cloud) -> None:
    fleets = [cloud.fleet(n, "request", LaunchTemplateConfigs=cloud.configs())["FleetId"] for n in (5, 1, 1)]
    cloud.aws.advance(300)
    pages = list(cloud.ec2.get_paginator("describe_fleets").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(p["Fleets"]) for p in pages] == [2, 1]
    first = cloud.ec2.describe_fleet_instances(FleetId=fleets[0], MaxResults=3)
    rest = cloud.ec2.describe_fleet_instances(FleetId=fleets[0], MaxResults=3, NextToken=first["NextToken"])
    assert [len(p["ActiveInstances"]) for p in (first, rest)] == [3, 2]
    cloud.ec2.delete_fleets(FleetIds=fleets[:1], TerminateInstances=False)
    told = cloud.ec2.describe_fleet_history(FleetId=fleets[0], StartTime=EARLY, MaxResults=1)
    assert (len(told["HistoryRecords"]), "NextToken" in told) == (1, True)


def test_history_may_come_late(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(history_after_seconds=30)
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 0)
    fleet = cloud.fleet(1, "request")["FleetId"]
    cloud.aws.advance(10)
    assert history(cloud, fleet, "service-error") == []
    cloud.aws.advance(30)
    assert history(cloud, fleet, "service-error")


def test_a_fleet_whose_template_is_gone_launches_no_more(cloud: Cloud) -> None:
    template = cloud.template()
    configs = [{"LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"}}]
    fleet = cloud.fleet(2, "maintain", LaunchTemplateConfigs=configs)["FleetId"]
    cloud.aws.advance(300)
    cloud.ec2.delete_launch_template(LaunchTemplateId=template)
    cloud.aws.kill(cloud.live()[0])
    cloud.aws.advance(600)
    assert len(cloud.live()) == 1
    assert "spotFleetRequestConfigurationInvalid" in [e["EventSubType"] for e in history(cloud, fleet, "service-error")]


def test_history_names_the_instances_that_came_and_went(cloud: Cloud) -> None:
    fleet = cloud.fleet(2, "request")["FleetId"]
    cloud.aws.advance(300)
    one, two = cloud.live()
    cloud.ec2.terminate_instances(InstanceIds=[one])
    cloud.aws.advance(61)
    changes = [(e["EventSubType"], e["InstanceId"]) for e in history(cloud, fleet, "instance-change")]
    assert changes == [("launched", one), ("launched", two), ("terminated", one)]


def test_activity_tells_how_far_a_fleet_has_come(cloud: Cloud) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1b", "on-demand", 0)
    fleet = cloud.fleet(1, "maintain")["FleetId"]
    short = cloud.fleet(1, "maintain", LaunchTemplateConfigs=cloud.configs({"SubnetId": cloud.subnets[1]}))["FleetId"]
    instant = cloud.fleet(1, LaunchTemplateConfigs=cloud.configs({"SubnetId": cloud.subnets[1]}))
    assert instant["Instances"] == []

    def activities() -> list[str]:
        return [cloud.described_fleet(one)["ActivityStatus"] for one in (fleet, short, instant["FleetId"])]

    assert activities() == ["pending_fulfillment", "pending_fulfillment", "fulfilled"]
    cloud.aws.advance(300)
    assert activities() == ["fulfilled", "error", "fulfilled"]
    cloud.ec2.delete_fleets(FleetIds=[fleet], TerminateInstances=True)
    assert activities()[0] == "pending_termination"
