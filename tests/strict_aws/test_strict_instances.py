"""RunInstances, TerminateInstances, DescribeInstances: rules of aws.md sections 1 to 3, 6."""

from __future__ import annotations

import base64
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.strict_aws.conftest import Cloud, Open, Refused

SPOT: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot"}}
MANY = [{"Key": str(n), "Value": ""} for n in range(51)]


def test_an_instance_is_pending_then_running_then_shutting_down_then_terminated(cloud: Cloud) -> None:
    (one,) = cloud.run()
    assert cloud.instance(one)["State"] == {"Code": 0, "Name": "pending"}
    cloud.aws.advance(61)
    assert cloud.instance(one)["State"]["Name"] == "running"
    answer = cloud.ec2.terminate_instances(InstanceIds=[one])["TerminatingInstances"][0]
    assert (answer["PreviousState"]["Name"], answer["CurrentState"]["Name"]) == ("running", "shutting-down")
    assert cloud.instance(one)["State"]["Name"] == "shutting-down"
    cloud.aws.advance(61)
    gone = cloud.instance(one)
    assert gone["State"] == {"Code": 48, "Name": "terminated"}
    assert gone["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert not {"PrivateIpAddress", "SubnetId", "VpcId"} & set(gone)
    assert gone["PrivateDnsName"] == ""


def test_a_terminated_instance_stays_visible_for_an_hour_then_its_id_is_unknown(cloud: Cloud, refused: Refused) -> None:
    (one,) = cloud.run()
    cloud.ec2.terminate_instances(InstanceIds=[one])
    cloud.aws.advance(3500)
    assert cloud.instance(one)["State"]["Name"] == "terminated"
    cloud.aws.advance(200)
    assert refused(cloud.ec2.describe_instances, InstanceIds=[one]) == "InvalidInstanceID.NotFound"


def test_an_instance_tells_what_it_was_launched_with(cloud: Cloud) -> None:
    (one,) = cloud.run(SubnetId=cloud.subnets[1], KeyName="key", ClientToken="token", **SPOT)
    reservation = cloud.ec2.describe_instances(InstanceIds=[one])["Reservations"][0]
    assert (reservation["OwnerId"], reservation["ReservationId"][:2]) == ("123456789012", "r-")
    found = reservation["Instances"][0]
    assert len(one) == 19
    assert found["PrivateIpAddress"] == "10.0.64.4"
    assert found["PrivateDnsName"] == "ip-10-0-64-4.ec2.internal"
    assert found["Placement"]["AvailabilityZone"] == "us-east-1b"
    assert found["InstanceLifecycle"] == "spot"
    assert found["SpotInstanceRequestId"].startswith("sir-")
    assert (found["KeyName"], found["ClientToken"], found["ImageId"]) == ("key", "token", "ami-12c6146b")
    assert found["Tags"] == [{"Key": "hfcore:owner", "Value": "me"}]
    assert "PublicIpAddress" not in found


def test_other_regions_have_their_own_state_and_spell_host_names_otherwise(cloud: Cloud) -> None:
    cloud.run()
    west = cloud.client("ec2", "eu-west-1")
    assert west.describe_instances()["Reservations"] == []
    made = west.run_instances(ImageId="ami-12c6146b", InstanceType="m5.large", MinCount=1, MaxCount=1)["Instances"][0]
    assert made["PrivateDnsName"] == "ip-10-0-0-4.eu-west-1.compute.internal"


def test_an_address_is_used_again_by_a_later_instance(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud()
    subnet = cloud.aws.region().subnets[cloud.subnets[0]]
    subnet.free = deque(list(subnet.free)[:11])
    first = cloud.run(11, SubnetId=subnet.id)
    names = {i["PrivateDnsName"] for i in cloud.instances(InstanceIds=first)}
    cloud.ec2.terminate_instances(InstanceIds=first)
    cloud.aws.advance(1)
    (later,) = cloud.run(SubnetId=subnet.id)
    assert cloud.instance(later)["PrivateDnsName"] in names


def test_a_full_subnet_launches_nothing(cloud: Cloud, refused: Refused) -> None:
    subnet = cloud.aws.region().subnets[cloud.subnets[0]]
    subnet.free = deque(list(subnet.free)[:11])
    assert len(cloud.run(20, SubnetId=subnet.id)) == 11
    assert refused(cloud.run, SubnetId=subnet.id) == "InsufficientFreeAddressesInSubnet"


def test_a_new_instance_is_invisible_until_its_time(make_cloud: Callable[..., Cloud], refused: Refused) -> None:
    cloud = make_cloud(visible_after_seconds=30, boot_seconds=1)
    (one,) = cloud.run()
    assert refused(cloud.ec2.describe_instances, InstanceIds=[one]) == "InvalidInstanceID.NotFound"
    assert refused(cloud.ec2.terminate_instances, InstanceIds=[one]) == "InvalidInstanceID.NotFound"
    assert cloud.filtered("tag:hfcore:owner", "me") == []
    cloud.aws.advance(31)
    assert cloud.filtered("tag:hfcore:owner", "me") == [one]


def test_a_short_pool_gives_as_many_as_it_has(cloud: Cloud) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 3)
    assert len(cloud.run(5, MinCount=1)) == 3


def test_below_min_count_nothing_is_launched(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 3)
    assert refused(cloud.run, count=5, MinCount=4) == "InsufficientInstanceCapacity"
    assert refused.status == 500
    assert "We currently do not have sufficient m5.large capacity" in refused.text
    assert "(us-east-1a)" in refused.text
    assert cloud.live() == []


def test_a_spot_pool_is_not_the_on_demand_pool(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "spot", 0)
    assert refused(cloud.run, **SPOT) == "InsufficientInstanceCapacity"
    assert refused.text == "There is no Spot capacity available that matches your request."
    assert len(cloud.run()) == 1


def test_an_ended_instance_gives_its_place_back(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 1)
    (one,) = cloud.run()
    cloud.ec2.terminate_instances(InstanceIds=[one])
    assert refused(cloud.run) == "InsufficientInstanceCapacity"
    cloud.aws.advance(61)
    assert len(cloud.run()) == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ImageId": "ami-00000000"}, "InvalidAMIID.NotFound"),
        ({"SubnetId": "subnet-00000000"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-00000000"]}, "InvalidGroup.NotFound"),
        ({"InstanceType": "m9.large"}, "InvalidParameterValue"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0}], "SubnetId": "FIRST"}, "InvalidParameterCombination"),
        ({"NetworkInterfaces": [{"DeviceIndex": 0}], "SecurityGroupIds": ["sg-0"]}, "InvalidParameterCombination"),
        ({"TagSpecifications": [{"ResourceType": "fleet", "Tags": []}]}, "InvalidParameterValue"),
        ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
        ({"InstanceMarketOptions": {"MarketType": "gift"}}, "InvalidParameterValue"),
        ({"LaunchTemplate": {"LaunchTemplateId": "lt-00000000"}}, "InvalidLaunchTemplateId.NotFound"),
        ({"LaunchTemplate": {"LaunchTemplateName": "none"}}, "InvalidLaunchTemplateName.NotFoundException"),
        ({"UserData": "x" * 16385}, "InvalidParameterValue"),
        (
            {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "aws:x", "Value": ""}]}]},
            "InvalidParameterValue",
        ),
        ({"TagSpecifications": [{"ResourceType": "instance", "Tags": MANY}]}, "TagLimitExceeded"),
    ],
)
def test_a_wrong_parameter_launches_nothing(cloud: Cloud, refused: Refused, wrong: dict[str, Any], code: str) -> None:
    if wrong.get("SubnetId") == "FIRST":
        wrong = {**wrong, "SubnetId": cloud.subnets[0]}
    assert refused(cloud.run, **wrong) == code
    assert cloud.live() == []


def test_a_token_used_again_answers_the_same_instances(cloud: Cloud) -> None:
    first = cloud.run(2, ClientToken="one")
    assert cloud.run(2, ClientToken="one") == first
    assert len(cloud.live()) == 2
    assert cloud.filtered("client-token", "one") == first


def test_a_token_with_other_parameters_is_a_mismatch(cloud: Cloud, refused: Refused) -> None:
    cloud.run(2, ClientToken="one")
    assert refused(cloud.run, count=3, ClientToken="one") == "IdempotentParameterMismatch"


def test_a_token_is_of_one_zone_and_launches_again_in_another(cloud: Cloud) -> None:
    first = cloud.run(ClientToken="one", SubnetId=cloud.subnets[0])
    again = cloud.run(ClientToken="one", SubnetId=cloud.subnets[1])
    assert first != again
    assert len(cloud.live()) == 2


def test_a_token_whose_instances_are_all_terminated_says_so(cloud: Cloud, refused: Refused) -> None:
    ids = cloud.run(2, ClientToken="one")
    cloud.ec2.terminate_instances(InstanceIds=ids[:1])
    cloud.aws.advance(61)
    assert cloud.run(2, ClientToken="one") == ids
    cloud.ec2.terminate_instances(InstanceIds=ids[1:])
    cloud.aws.advance(61)
    assert refused(cloud.run, count=2, ClientToken="one") == "IdempotentInstanceTerminated"


def test_a_failed_launch_does_not_use_its_token_up(cloud: Cloud, refused: Refused) -> None:
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 0)
    assert refused(cloud.run, ClientToken="one") == "InsufficientInstanceCapacity"
    cloud.aws.set_capacity("m5.large", "us-east-1a", "on-demand", None)
    assert len(cloud.run(ClientToken="one")) == 1


def test_parameters_beat_the_template_and_tags_are_merged(cloud: Cloud) -> None:
    both = [{"Key": "from", "Value": "template"}, {"Key": "kept", "Value": "yes"}]
    template = cloud.template(TagSpecifications=[{"ResourceType": "instance", "Tags": both}], KeyName="key")
    asked = {"MinCount": 1, "MaxCount": 1, "InstanceType": "c5.large", "LaunchTemplate": {"LaunchTemplateId": template}}
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "request"}]}]
    made = cloud.ec2.run_instances(**asked, TagSpecifications=tags)["Instances"][0]
    assert (made["InstanceType"], made["KeyName"]) == ("c5.large", "key")
    assert {t["Key"]: t["Value"] for t in made["Tags"]} == {
        "from": "request",
        "kept": "yes",
        "aws:ec2launchtemplate:id": template,
        "aws:ec2launchtemplate:version": "1",
    }


def test_an_image_may_be_named_by_its_ssm_parameter(cloud: Cloud) -> None:
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    known = cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    (one,) = cloud.run(ImageId=f"resolve:ssm:{name}")
    assert cloud.instance(one)["ImageId"] == known


def test_user_data_arrives_as_it_was_written(cloud: Cloud) -> None:
    (one,) = cloud.run(UserData="#!/bin/sh\necho hello & <goodbye>\n")
    plan = cloud.aws.region().instances[one].plan
    assert base64.b64decode(plan.params["UserData"]) == b"#!/bin/sh\necho hello & <goodbye>\n"


def test_one_unknown_id_keeps_everything_from_being_terminated(cloud: Cloud, refused: Refused) -> None:
    (one,) = cloud.run()
    assert refused(cloud.ec2.terminate_instances, InstanceIds=[one, "i-12345678"]) == "InvalidInstanceID.NotFound"
    assert cloud.live() == [one]


def test_terminating_twice_is_success(cloud: Cloud) -> None:
    (one,) = cloud.run()
    cloud.ec2.terminate_instances(InstanceIds=[one])
    again = cloud.ec2.terminate_instances(InstanceIds=[one, one])["TerminatingInstances"]
    assert [i["PreviousState"]["Name"] for i in again] == ["shutting-down"]


def test_a_protected_instance_holds_back_its_zone_and_the_call_raises(cloud: Cloud, refused: Refused) -> None:
    protected = cloud.run(DisableApiTermination=True, SubnetId=cloud.subnets[0])
    beside = cloud.run(SubnetId=cloud.subnets[0])
    elsewhere = cloud.run(SubnetId=cloud.subnets[1])
    ids = protected + beside + elsewhere
    assert refused(cloud.ec2.terminate_instances, InstanceIds=ids) == "OperationNotPermitted"
    assert cloud.live() == protected + beside


def test_more_than_a_thousand_ids_are_too_many(cloud: Cloud, refused: Refused) -> None:
    ids = [f"i-{n:08x}" for n in range(1001)]
    for operation in (cloud.ec2.terminate_instances, cloud.ec2.describe_instances):
        assert refused(operation, InstanceIds=ids) == "InvalidParameterValue"
    assert len(cloud.aws.violations) == 2


def test_unknown_ids_are_all_named(cloud: Cloud, refused: Refused) -> None:
    (one,) = cloud.run()
    ids = [one, "i-12345678", "i-12345679"]
    assert refused(cloud.ec2.describe_instances, InstanceIds=ids) == "InvalidInstanceID.NotFound"
    assert refused.text == "The instance IDs 'i-12345678, i-12345679' do not exist"
    assert refused(cloud.ec2.describe_instances, InstanceIds=ids[:2]) == "InvalidInstanceID.NotFound"
    assert refused.text == "The instance ID 'i-12345678' does not exist"
    assert refused(cloud.ec2.describe_instances, InstanceIds=[one, "host-1"]) == "InvalidInstanceID.Malformed"


def test_an_id_asked_twice_is_answered_once(cloud: Cloud) -> None:
    (one,) = cloud.run()
    assert len(cloud.instances(InstanceIds=[one, one])) == 1


def test_ids_and_max_results_do_not_go_together(cloud: Cloud, refused: Refused) -> None:
    (one,) = cloud.run()
    code = refused(cloud.ec2.describe_instances, InstanceIds=[one], MaxResults=10)
    assert code == "InvalidParameterCombination"
    assert [v.operation for v in cloud.aws.violations] == ["DescribeInstances"]


def test_pages_are_of_instances_not_of_reservations(cloud: Cloud, refused: Refused) -> None:
    ids = cloud.run(7) + cloud.run(6)
    first = cloud.ec2.describe_instances(MaxResults=10)
    assert [len(r["Instances"]) for r in first["Reservations"]] == [7, 3]
    rest = cloud.instances(MaxResults=10, NextToken=first["NextToken"])
    assert [i["InstanceId"] for i in rest] == ids[10:]
    assert refused(cloud.ec2.describe_instances, MaxResults=4) == "InvalidParameterValue"
    assert refused(cloud.ec2.describe_instances, NextToken="mine") == "InvalidNextToken"


def test_a_page_holds_a_thousand_unless_told(cloud: Cloud) -> None:
    for _ in range(3):
        cloud.run(400)
    pages = list(cloud.ec2.get_paginator("describe_instances").paginate())
    assert [sum(len(r["Instances"]) for r in p["Reservations"]) for p in pages] == [1000, 200]


def test_filters_are_all_met_and_their_values_are_alternatives(cloud: Cloud) -> None:
    tags = {name: [{"ResourceType": "instance", "Tags": [{"Key": "c", "Value": name}]}] for name in ("red", "blue")}
    (red,) = cloud.run(TagSpecifications=tags["red"], ClientToken="one")
    (blue,) = cloud.run(TagSpecifications=tags["blue"])
    cloud.run()
    cloud.aws.advance(61)
    assert cloud.filtered("tag:c", "red", "blue") == [red, blue]
    assert cloud.filtered("tag:c", "green") == []
    assert cloud.filtered("client-token", "one") == [red]
    assert cloud.filtered("instance-id", blue, "i-12345678") == [blue]
    assert cloud.filtered("instance-state-name", "pending") == []
    both = [{"Name": "tag:c", "Values": ["red", "blue"]}, {"Name": "instance-id", "Values": [blue]}]
    assert [i["InstanceId"] for i in cloud.instances(Filters=both)] == [blue]


def test_an_unknown_filter_and_too_many_values_are_refused(cloud: Cloud, refused: Refused) -> None:
    wrong = [{"Name": "colour", "Values": ["red"]}]
    assert refused(cloud.ec2.describe_instances, Filters=wrong) == "InvalidParameterValue"
    many = [{"Name": "tag:a", "Values": [str(n) for n in range(201)]}]
    assert refused(cloud.ec2.describe_instances, Filters=many) == "FilterLimitExceeded"
    assert [v.operation for v in cloud.aws.violations] == ["DescribeInstances"]


def test_a_kill_from_outside_carries_its_reason(cloud: Cloud) -> None:
    one, two = cloud.run(2)
    cloud.aws.kill(one)
    cloud.aws.kill(two, "Server.ScheduledStop")
    reasons = [i["StateReason"]["Code"] for i in cloud.instances(InstanceIds=[one, two])]
    assert reasons == ["Client.InstanceInitiatedShutdown", "Server.ScheduledStop"]


def test_spot_tells_of_a_reclaim_two_minutes_before_the_end(cloud: Cloud) -> None:
    (one,) = cloud.run(**SPOT)
    cloud.aws.advance(61)

    def request() -> Open:
        return cloud.ec2.describe_spot_instance_requests()["SpotInstanceRequests"][0]

    assert (request()["Status"]["Code"], request()["State"]) == ("fulfilled", "active")
    before = request()["Status"]["UpdateTime"]
    cloud.aws.reclaim(one)
    assert request()["Status"]["Code"] == "instance-terminated-no-capacity"
    assert request()["Status"]["UpdateTime"] > before
    cloud.aws.advance(119)
    assert cloud.instance(one)["State"]["Name"] == "running"
    cloud.aws.advance(2)
    assert cloud.instance(one)["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_spot_requests_are_found_by_status_until_four_hours_after_closing(cloud: Cloud) -> None:
    one, two = cloud.run(2, **SPOT)
    cloud.ec2.terminate_instances(InstanceIds=[two])
    asked = [{"Name": "status-code", "Values": ["instance-terminated-by-user"]}]
    found = cloud.ec2.describe_spot_instance_requests(Filters=asked, MaxResults=5)["SpotInstanceRequests"]
    assert [r["InstanceId"] for r in found] == [two]
    cloud.aws.advance(4 * 3600 + 1)
    left = cloud.ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
    assert [r["InstanceId"] for r in left] == [one]


def test_status_is_of_running_instances(cloud: Cloud) -> None:
    (one,) = cloud.run()
    assert cloud.ec2.describe_instance_status()["InstanceStatuses"] == []
    cloud.aws.advance(61)
    assert cloud.ec2.describe_instance_status()["InstanceStatuses"][0]["InstanceId"] == one


def test_status_by_ids_is_of_these_alone_and_of_a_hundred_at_most(cloud: Cloud, refused: Refused) -> None:
    one, two = cloud.run(2)
    cloud.aws.advance(61)
    found = cloud.ec2.describe_instance_status(InstanceIds=[two])["InstanceStatuses"]
    assert [status["InstanceId"] for status in found] == [two]
    ask = cloud.ec2.describe_instance_status
    assert refused(ask, InstanceIds=[one, "i-12345678"]) == "InvalidInstanceID.NotFound"
    assert refused(ask, InstanceIds=[one], MaxResults=5) == "InvalidParameterCombination"
    assert refused(ask, InstanceIds=[f"i-{n:08x}" for n in range(101)]) == "InvalidParameterValue"


def test_an_account_knows_nothing_of_another_one(cloud: Cloud, refused: Refused) -> None:
    (ours,) = cloud.run()
    theirs = cloud.client("ec2", account="210987654321")
    asked = {"ImageId": "ami-12c6146b", "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "hfcore:owner", "Value": "me"}]}]
    made = theirs.run_instances(**asked, TagSpecifications=tags)
    assert made["OwnerId"] == "210987654321"
    foreign = made["Instances"][0]["InstanceId"]
    assert refused(cloud.ec2.describe_instances, InstanceIds=[ours, foreign]) == "InvalidInstanceID.NotFound"
    assert refused.text == f"The instance ID '{foreign}' does not exist"
    assert refused(cloud.ec2.terminate_instances, InstanceIds=[ours, foreign]) == "InvalidInstanceID.NotFound"
    assert refused(theirs.terminate_instances, InstanceIds=[ours]) == "InvalidInstanceID.NotFound"
    assert set(cloud.live()) == {ours, foreign}
    assert cloud.filtered("tag:hfcore:owner", "me") == [ours]
    network = {one["VpcId"] for client in (cloud.ec2, theirs) for one in client.describe_vpcs()["Vpcs"]}
    assert len(network) == 2


def test_tokens_and_names_are_of_one_account(cloud: Cloud) -> None:
    theirs = cloud.client("ec2", account="210987654321")
    data = {"ImageId": "ami-12c6146b", "InstanceType": "m5.large"}
    asked = {"LaunchTemplateName": "same", "ClientToken": "one", "LaunchTemplateData": data}
    ids = {one.create_launch_template(**asked)["LaunchTemplate"]["LaunchTemplateId"] for one in (cloud.ec2, theirs)}
    assert len(ids) == 2


def test_a_scheduled_event_is_found_by_its_code(cloud: Cloud) -> None:
    one, _two = cloud.run(2)
    cloud.aws.advance(61)
    cloud.aws.schedule_event(one, "instance-retirement")
    asked = [{"Name": "event.code", "Values": ["instance-retirement", "instance-stop"]}]
    (found,) = cloud.ec2.describe_instance_status(Filters=asked)["InstanceStatuses"]
    assert found["InstanceId"] == one
    assert found["Events"][0]["Code"] == "instance-retirement"
    assert found["Events"][0]["NotBefore"]


def test_types_are_described_with_their_cores_and_an_unknown_one_fails_the_call(cloud: Cloud, refused: Refused) -> None:
    one, other = cloud.ec2.describe_instance_types(InstanceTypes=["m5.large", "r5.2xlarge"])["InstanceTypes"]
    assert one["VCpuInfo"] == {"DefaultVCpus": 2, "DefaultCores": 1, "DefaultThreadsPerCore": 2}
    assert (one["MemoryInfo"]["SizeInMiB"], other["MemoryInfo"]["SizeInMiB"]) == (8192, 65536)
    assert one["ProcessorInfo"]["SupportedArchitectures"] == ["x86_64"]
    assert refused(cloud.ec2.describe_instance_types, InstanceTypes=["m5.large", "m5.huge"]) == "InvalidInstanceType"


def test_subnets_are_described_by_vpc_and_by_tag(cloud: Cloud, refused: Refused) -> None:
    def found(name: str, value: str) -> list[str]:
        answer = cloud.ec2.describe_subnets(Filters=[{"Name": name, "Values": [value]}])
        return [one["SubnetId"] for one in answer["Subnets"]]

    first = cloud.aws.region().subnets[cloud.subnets[0]]
    first.tags["grid"] = "yes"
    assert found("vpc-id", first.vpc_id) == list(cloud.subnets)
    assert found("tag:grid", "yes") == [first.id]
    assert found("vpc-id", "vpc-0") == []
    assert refused(cloud.ec2.describe_subnets, Filters=[{"Name": "colour", "Values": ["x"]}]) == "InvalidParameterValue"
