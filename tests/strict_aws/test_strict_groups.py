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
        {"LaunchTemplate": {"LaunchTemplateId": "lt-00000000"}},
        {"LaunchTemplate": {"LaunchTemplateName": "none"}},
    ],
)
def test_a_wrong_group_is_refused(cloud: Cloud, refused: Refused, wrong: dict[str, Any]) -> None:
    assert refused(cloud.group, units=2, **wrong) == "ValidationError"


def test_a_group_needs_somewhere_to_launch(cloud: Cloud, refused: Refused) -> None:
    asked = {"AutoScalingGroupName": "group", "MinSize": 0, "MaxSize": 1}
    template = {"LaunchTemplateId": cloud.template()}
    assert refused(cloud.asg.create_auto_scaling_group, **asked, LaunchTemplate=template) == "ValidationError"
    zones = ["us-east-1b"]
    cloud.asg.create_auto_scaling_group(**asked, LaunchTemplate=template, AvailabilityZones=zones, DesiredCapacity=1)
    cloud.aws.advance(61)
    assert [i["AvailabilityZone"] for i in cloud.described_group()["Instances"]] == zones


def test_a_group_needs_something_to_launch(cloud: Cloud, refused: Refused) -> None:
    asked = {"AutoScalingGroupName": "group", "MinSize": 0, "MaxSize": 1, "VPCZoneIdentifier": cloud.subnets[0]}
    assert refused(cloud.asg.create_auto_scaling_group, **asked) == "ValidationError"


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


def mixed(cloud: Cloud, overrides: list[dict[str, str]] | None = None, **distribution: Open) -> dict[str, Any]:
    named = {"LaunchTemplateId": cloud.template(), "Version": "1"}
    template = {"LaunchTemplateSpecification": named, "Overrides": overrides or [{"InstanceType": "m5.large"}]}
    return {"LaunchTemplate": template, "InstancesDistribution": distribution}


def test_a_mixed_group_is_all_on_demand_unless_told(cloud: Cloud) -> None:
    cloud.group(3, MixedInstancesPolicy=mixed(cloud))
    cloud.aws.advance(300)
    assert cloud.filtered("instance-lifecycle", "spot") == []
    assert len(cloud.live()) == 3


def test_a_mixed_group_splits_between_the_markets(cloud: Cloud) -> None:
    policy = mixed(cloud, OnDemandBaseCapacity=1, OnDemandPercentageAboveBaseCapacity=50)
    cloud.group(5, MixedInstancesPolicy=policy)
    cloud.aws.advance(600)
    assert len(cloud.filtered("instance-lifecycle", "spot")) == 2
    assert len(cloud.live()) == 5


def test_overrides_follow_each_other_with_their_weights(cloud: Cloud) -> None:
    weights = {"m5.xlarge": "2", "m5.large": "1"}
    overrides = [{"InstanceType": name, "WeightedCapacity": weight} for name, weight in weights.items()]
    cloud.aws.set_capacity("m5.xlarge", "us-east-1a", "on-demand", 2)
    cloud.group(5, MixedInstancesPolicy=mixed(cloud, overrides))
    cloud.aws.advance(600)
    found = [(i["InstanceType"], i["WeightedCapacity"]) for i in cloud.described_group()["Instances"]]
    assert sorted(found) == [("m5.large", "1"), ("m5.xlarge", "2"), ("m5.xlarge", "2")]


def test_a_template_that_asks_for_spot_does_not_fit_a_mixed_group(cloud: Cloud, refused: Refused) -> None:
    template = cloud.template(InstanceMarketOptions={"MarketType": "spot"})
    policy = {"LaunchTemplate": {"LaunchTemplateSpecification": {"LaunchTemplateId": template}}}
    assert refused(cloud.group, MixedInstancesPolicy=policy) == "ValidationError"
    cloud.group(1, LaunchTemplate={"LaunchTemplateId": template})
    cloud.aws.advance(61)
    assert len(cloud.filtered("instance-lifecycle", "spot")) == 1


def test_a_short_group_tries_for_ever_and_says_why(cloud: Cloud) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    cloud.group(3)
    cloud.aws.advance(1200)
    failed = activities(cloud, "Failed")
    assert len(failed) > 2
    assert failed[0]["StatusMessage"].startswith("We currently do not have sufficient m5.large capacity")
    assert len(failed[0]["StatusMessage"]) <= 255
    assert failed[0]["StartTime"] > failed[-1]["StartTime"]
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", None)
    cloud.aws.advance(300)
    assert len(cloud.live()) == 3


def test_a_short_spot_group_names_spot(cloud: Cloud) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "spot", 0)
    cloud.group(1, MixedInstancesPolicy=mixed(cloud, OnDemandPercentageAboveBaseCapacity=0))
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
    assert len(cloud.described_group()["SuspendedProcesses"]) == 9


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


def test_desired_capacity_stays_between_its_bounds(cloud: Cloud, refused: Refused) -> None:
    cloud.group(1, MinSize=1)
    cloud.aws.advance(300)
    change = cloud.asg.set_desired_capacity
    for wrong in (0, 11):
        assert refused(change, AutoScalingGroupName="group", DesiredCapacity=wrong) == "ValidationError"
    change(AutoScalingGroupName="group", DesiredCapacity=4)
    cloud.aws.advance(300)
    assert len(cloud.live()) == 4


def test_shrinking_takes_unprotected_members_only(cloud: Cloud) -> None:
    cloud.group(2, NewInstancesProtectedFromScaleIn=True)
    cloud.aws.advance(300)
    assert all(i["ProtectedFromScaleIn"] for i in cloud.described_group()["Instances"])
    cloud.asg.update_auto_scaling_group(AutoScalingGroupName="group", NewInstancesProtectedFromScaleIn=False)
    cloud.asg.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=3)
    cloud.aws.advance(300)
    protected = {i["InstanceId"] for i in cloud.described_group()["Instances"] if i["ProtectedFromScaleIn"]}
    cloud.asg.update_auto_scaling_group(AutoScalingGroupName="group", MaxSize=1)
    cloud.aws.advance(300)
    assert cloud.described_group()["DesiredCapacity"] == 1
    assert set(cloud.live()) == protected


def test_a_group_with_members_is_deleted_only_by_force(cloud: Cloud, refused: Refused) -> None:
    cloud.group(2)
    delete = cloud.asg.delete_auto_scaling_group
    assert refused(delete, AutoScalingGroupName="group") == "ScalingActivityInProgress"
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


def test_activities_of_a_deleted_group_are_kept_for_those_who_ask(cloud: Cloud, refused: Refused) -> None:
    cloud.group(1)
    cloud.aws.advance(61)
    cloud.asg.delete_auto_scaling_group(AutoScalingGroupName="group", ForceDelete=True)
    cloud.aws.advance(61)
    assert refused(cloud.asg.describe_scaling_activities, AutoScalingGroupName="group") == "ValidationError"
    asked = {"AutoScalingGroupName": "group", "IncludeDeletedGroups": True}
    assert len(cloud.asg.describe_scaling_activities(**asked)["Activities"]) == 2


def test_groups_come_by_fifty_and_at_most_a_hundred(cloud: Cloud, refused: Refused) -> None:
    template = {"LaunchTemplateId": cloud.template()}
    for n in range(60):
        cloud.group(name=f"group-{n}", LaunchTemplate=template, Tags=[{"Key": "n", "Value": str(n)}])
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


def test_members_are_asked_for_by_fifty_ids_and_unknown_ones_are_absent(cloud: Cloud, refused: Refused) -> None:
    cloud.group(1)
    cloud.aws.advance(61)
    describe = cloud.asg.describe_auto_scaling_instances
    found = describe(InstanceIds=[*cloud.live(), "i-12345678"])["AutoScalingInstances"]
    assert [(i["InstanceId"], i["AutoScalingGroupName"]) for i in found] == [(cloud.live()[0], "group")]
    assert refused(describe, InstanceIds=[f"i-{n:08x}" for n in range(51)]) == "ValidationError"
    assert [v.operation for v in cloud.aws.violations] == ["DescribeAutoScalingInstances"]
