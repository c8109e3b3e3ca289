"""Auto Scaling groups: rules of aws.md sections 1 to 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.strict_aws.conftest import Cloud, Open, Refused


def states(cloud: Cloud) -> list[tuple[str, str]]:
    return [(i["LifecycleState"], i["HealthStatus"]) for i in cloud.described_group()["Instances"]]


def activities(cloud: Cloud, status: str) -> list[dict[str, Any]]:
    found = cloud.asg.describe_scaling_activities(AutoScalingGroupName="group")["Activities"]
    return [a for a in found if a["StatusCode"] == status]


def take_out(cloud: Cloud, instance_id: str, *, decrement: bool = True) -> Open:
    return cloud.asg.terminate_instance_in_auto_scaling_group(
        InstanceId=instance_id, ShouldDecrementDesiredCapacity=decrement
    )["Activity"]


def test_members_come_later_pending_at_first_and_then_in_service(cloud: Cloud) -> None:
    cloud.group(2)
    assert states(cloud) == []
    cloud.aws.advance(61)
    assert states(cloud) == [("Pending", "Healthy")]
    cloud.aws.advance(200)
    assert states(cloud) == [("InService", "Healthy")] * 2
    assert sorted(i["InstanceId"] for i in cloud.described_group()["Instances"]) == sorted(cloud.live())


def test_a_name_is_taken_once(cloud: Cloud, refused: Refused) -> None:
    cloud.group(1)
    assert refused(cloud.group, units=1) == "AlreadyExists"
    assert refused.status == 400
    cloud.aws.advance(300)
    assert len(cloud.live()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a:b"},
        {"MaxSize": 1},
        {"MinSize": 3},
        {"MinSize": 5, "MaxSize": 4},
        {"VPCZoneIdentifier": "subnet-00000000"},
    ],
)
def test_a_wrong_group_is_refused(cloud: Cloud, refused: Refused, wrong: dict[str, Any]) -> None:
    assert refused(cloud.group, units=2, **wrong) == "ValidationError"
    unknown = cloud.mixed(template="lt-00000000")
    assert refused(cloud.group, units=2, MixedInstancesPolicy=unknown) == "ValidationError"


def test_a_group_needs_somewhere_and_something_to_launch(cloud: Cloud, refused: Refused) -> None:
    asked = {"AutoScalingGroupName": "group", "MinSize": 0, "MaxSize": 1}
    create, policy = cloud.asg.create_auto_scaling_group, cloud.mixed()
    assert refused(create, **asked, MixedInstancesPolicy=policy) == "ValidationError"
    assert refused(create, **asked, VPCZoneIdentifier=cloud.subnets[0]) == "ValidationError"


def test_propagated_tags_reach_the_instances_and_beat_the_templates(cloud: Cloud) -> None:
    tags = [
        {"Key": "hfcore:owner", "Value": "group", "PropagateAtLaunch": True},
        {"Key": "quiet", "Value": "1", "PropagateAtLaunch": False},
    ]
    cloud.group(1, Tags=tags)
    cloud.aws.advance(61)
    found = {t["Key"]: t["Value"] for t in cloud.instance(cloud.live()[0])["Tags"]}
    assert (found["hfcore:owner"], found["aws:autoscaling:groupName"], "quiet" in found) == ("group", "group", False)
    described = cloud.described_group()["Tags"]
    assert [(t["Key"], t["PropagateAtLaunch"], t["ResourceId"]) for t in described] == [
        ("hfcore:owner", True, "group"),
        ("quiet", False, "group"),
    ]


def test_members_are_spread_over_the_subnets(cloud: Cloud) -> None:
    cloud.group(6, VPCZoneIdentifier=",".join(cloud.subnets))
    cloud.aws.advance(300)
    zones = [i["AvailabilityZone"] for i in cloud.described_group()["Instances"]]
    assert sorted(zones) == ["us-east-1a", "us-east-1a", "us-east-1b", "us-east-1b", "us-east-1c", "us-east-1c"]
    assert cloud.described_group()["AvailabilityZones"] == ["us-east-1a", "us-east-1b", "us-east-1c"]


def test_a_group_splits_between_the_markets_and_is_all_on_demand_unless_told(cloud: Cloud) -> None:
    cloud.group(5, MixedInstancesPolicy=cloud.mixed(OnDemandPercentageAboveBaseCapacity=50))
    cloud.aws.advance(600)
    assert (len(cloud.live("spot")), len(cloud.live())) == (2, 5)
    cloud.group(3, name="other")
    cloud.aws.advance(600)
    assert (len(cloud.live("spot")), len(cloud.live())) == (2, 8)


def test_overrides_follow_each_other_with_their_weights(cloud: Cloud) -> None:
    weights = {"m5.xlarge": "2", "m5.large": "1"}
    overrides = [{"InstanceType": name, "WeightedCapacity": weight} for name, weight in weights.items()]
    cloud.aws.set_capacity("m5.xlarge", "us-east-1a", "on-demand", 2)
    cloud.group(5, MixedInstancesPolicy=cloud.mixed(*overrides))
    cloud.aws.advance(600)
    found = [(i["InstanceType"], i["WeightedCapacity"]) for i in cloud.described_group()["Instances"]]
    assert sorted(found) == [("m5.large", "1"), ("m5.xlarge", "2"), ("m5.xlarge", "2")]


def test_a_template_that_asks_for_spot_does_not_fit_a_mixed_group(cloud: Cloud, refused: Refused) -> None:
    template = cloud.template(InstanceMarketOptions={"MarketType": "spot"})
    assert refused(cloud.group, MixedInstancesPolicy=cloud.mixed(template=template)) == "ValidationError"


def test_a_short_group_tries_for_ever_and_says_why(cloud: Cloud) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    cloud.group(3)
    cloud.aws.advance(1200)
    failed = activities(cloud, "Failed")
    assert len(failed) > 2
    assert failed[0]["StatusMessage"].startswith("We currently do not have sufficient m5.large capacity")
    assert len(failed[0]["StatusMessage"]) <= 255
    assert failed[0]["StartTime"] > failed[-1]["StartTime"]
    assert [a["Description"] for a in activities(cloud, "Successful")] == [
        f"Launching a new EC2 instance: {cloud.live()[0]}"
    ]
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", None)
    cloud.aws.advance(300)
    assert len(cloud.live()) == 3


def test_a_short_spot_group_names_spot(cloud: Cloud) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "spot", 0)
    cloud.group(1, MixedInstancesPolicy=cloud.mixed(OnDemandPercentageAboveBaseCapacity=0))
    cloud.aws.advance(61)
    assert activities(cloud, "Failed")[0]["StatusMessage"].startswith("There is no Spot capacity available")


def test_a_dead_member_is_replaced(cloud: Cloud) -> None:
    cloud.group(2)
    cloud.aws.advance(300)
    first, second = cloud.live()
    cloud.ec2.terminate_instances(InstanceIds=[first])
    cloud.aws.advance(600)
    assert len(cloud.live()) == 2
    members = [i["InstanceId"] for i in cloud.described_group()["Instances"]]
    assert second in members
    assert first not in members


def test_with_launch_suspended_a_dead_member_is_dropped_and_not_replaced(cloud: Cloud) -> None:
    cloud.group(2)
    cloud.aws.advance(300)
    cloud.asg.suspend_processes(AutoScalingGroupName="group", ScalingProcesses=["Launch"])
    cloud.aws.kill(cloud.live()[0])
    cloud.aws.advance(3600)
    assert states(cloud) == [("InService", "Healthy")]
    assert len(cloud.live()) == 1


def test_with_replacement_suspended_too_a_dead_member_stays_listed_unhealthy(cloud: Cloud) -> None:
    cloud.group(2)
    cloud.aws.advance(300)
    names = ["Launch", "ReplaceUnhealthy", "AZRebalance"]
    cloud.asg.suspend_processes(AutoScalingGroupName="group", ScalingProcesses=names)
    assert {p["ProcessName"] for p in cloud.described_group()["SuspendedProcesses"]} == set(names)
    cloud.aws.kill(cloud.live()[0])
    cloud.aws.advance(3600)
    assert sorted(states(cloud)) == [("InService", "Healthy"), ("InService", "Unhealthy")]
    assert len(cloud.live()) == 1


def test_an_unknown_process_cannot_be_suspended(cloud: Cloud, refused: Refused) -> None:
    cloud.group()
    code = refused(cloud.asg.suspend_processes, AutoScalingGroupName="group", ScalingProcesses=["Sleep"])
    assert code == "ValidationError"
    cloud.asg.suspend_processes(AutoScalingGroupName="group")
    assert len(cloud.described_group()["SuspendedProcesses"]) > 3


def test_a_member_taken_out_with_decrement_is_not_replaced(cloud: Cloud, refused: Refused) -> None:
    cloud.group(3)
    cloud.aws.advance(300)
    victim = cloud.live()[1]
    assert take_out(cloud, victim)["StatusCode"] == "InProgress"
    assert ("Terminating", "Healthy") in states(cloud)
    with pytest.raises(cloud.asg.exceptions.ScalingActivityInProgressFault):
        take_out(cloud, victim)
    cloud.aws.advance(600)
    assert cloud.described_group()["DesiredCapacity"] == 2
    assert len(states(cloud)) == 2
    assert victim not in cloud.live()
    assert not activities(cloud, "InProgress")
    code = refused(take_out, cloud=cloud, instance_id=victim)
    assert code == "ValidationError"
    assert refused.text == f"Instance Id not found - No managed instance found for instance ID: {victim}"


def test_a_member_taken_out_without_decrement_is_replaced(cloud: Cloud) -> None:
    cloud.group(2)
    cloud.aws.advance(300)
    take_out(cloud, cloud.live()[0], decrement=False)
    cloud.aws.advance(600)
    assert len(cloud.live()) == 2


def test_the_minimum_cannot_be_undercut(cloud: Cloud, refused: Refused) -> None:
    cloud.group(2, MinSize=2)
    cloud.aws.advance(300)
    assert refused(take_out, cloud=cloud, instance_id=cloud.live()[0]) == "ValidationError"
    assert "will violate group's min size constraint" in refused.text


def test_a_group_with_members_is_deleted_only_by_force(cloud: Cloud, refused: Refused) -> None:
    cloud.group(2)
    delete = cloud.asg.delete_auto_scaling_group
    cloud.aws.advance(300)
    assert refused(delete, AutoScalingGroupName="group") == "ResourceInUse"
    delete(AutoScalingGroupName="group", ForceDelete=True)
    assert cloud.described_group()["Status"] == "Delete in progress"
    assert refused(cloud.group, units=1) == "AlreadyExists"
    cloud.aws.advance(61)
    assert cloud.asg.describe_auto_scaling_groups(AutoScalingGroupNames=["group"])["AutoScalingGroups"] == []
    assert cloud.live() == []
    assert refused(delete, AutoScalingGroupName="group") == "ValidationError"
    assert refused.text == "AutoScalingGroup name not found - AutoScalingGroup 'group' not found"


def test_an_empty_group_is_deleted_at_once(cloud: Cloud) -> None:
    cloud.group()
    cloud.asg.delete_auto_scaling_group(AutoScalingGroupName="group")
    assert cloud.asg.describe_auto_scaling_groups()["AutoScalingGroups"] == []


def test_groups_come_by_fifty_and_at_most_a_hundred(cloud: Cloud, refused: Refused) -> None:
    policy = cloud.mixed()
    for n in range(60):
        cloud.group(name=f"group-{n}", MixedInstancesPolicy=policy, Tags=[{"Key": "n", "Value": str(n)}])
    describe = cloud.asg.describe_auto_scaling_groups
    first = describe()
    assert len(first["AutoScalingGroups"]) == 50
    assert len(describe(NextToken=first["NextToken"])["AutoScalingGroups"]) == 10
    assert len(describe(MaxRecords=100)["AutoScalingGroups"]) == 60
    assert refused(describe, MaxRecords=101) == "ValidationError"
    found = describe(AutoScalingGroupNames=["group-7", "unknown"])["AutoScalingGroups"]
    assert [g["AutoScalingGroupName"] for g in found] == ["group-7"]
    found = describe(Filters=[{"Name": "tag:n", "Values": ["8"]}])["AutoScalingGroups"]
    assert [g["AutoScalingGroupName"] for g in found] == ["group-8"]


def test_instances_may_be_left_out_of_the_description(cloud: Cloud) -> None:
    cloud.group(1)
    cloud.aws.advance(61)
    found = cloud.asg.describe_auto_scaling_groups(IncludeInstances=False)["AutoScalingGroups"]
    assert found[0]["Instances"] == []
