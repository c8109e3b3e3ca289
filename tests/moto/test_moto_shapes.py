"""What moto has read of our calls, and what we read of its refusals and of machines that others have ended."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.errors import CloudError
from hfcore.models import RequestStatus, SubnetsWanted
from tests.moto.conftest import IMAGE, ROLE, tags_of

if TYPE_CHECKING:
    from tests.moto.conftest import Site

AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
TWO_SIZES: dict[str, Any] = {"vmType": None, "vmTypes": {"m5.large": 1, "m5.xlarge": 2}, "priceType": "spot"}
NO_SUCH_SUBNET = "subnet-0123456789abcdef0"


def types_and_weights(overrides: list[dict[str, Any]]) -> set[tuple[str, str, float]]:
    return {(one["SubnetId"], one["InstanceType"], float(one["WeightedCapacity"])) for one in overrides}


def pools(site: Site) -> set[tuple[str, str, float]]:
    return {(subnet, name, size) for subnet in site.subnets[:2] for name, size in (("m5.large", 1), ("m5.xlarge", 2))}


def test_a_fleet_s_target_market_and_pools_are_read_as_meant(site: Site) -> None:
    """Which pools are drawn from is not judged: moto takes the first."""
    site.write_template(
        providerApi="EC2Fleet",
        percentOnDemand=50,
        allocationStrategy="priceCapacityOptimized",
        subnetId=site.subnets[:2],
        **TWO_SIZES,
    )
    request_id = site.request(4)
    (fleet,) = site.ec2.describe_fleets()["Fleets"]
    assert fleet["Type"] == "instant"
    target = fleet["TargetCapacitySpecification"]
    assert (target["TotalTargetCapacity"], target["DefaultTargetCapacityType"]) == (4, "spot")
    assert (target["OnDemandTargetCapacity"], target["SpotTargetCapacity"]) == (2, 2)
    assert fleet["SpotOptions"]["AllocationStrategy"] == "price-capacity-optimized"
    (config,) = fleet["LaunchTemplateConfigs"]
    assert types_and_weights(config["Overrides"]) == pools(site)
    assert tags_of(fleet)["hfcore:request-id"] == request_id


def test_a_spot_fleet_s_target_market_and_role_are_read_as_meant(site: Site) -> None:
    """Overrides beyond the first are not judged, nor the type of the request: moto does not keep them."""
    site.write_template(
        providerApi="SpotFleet",
        allocationStrategy="diversified",
        fleetRole=ROLE,
        subnetId=site.subnets[:2],
        **TWO_SIZES,
    )
    request_id = site.request(4)
    (fleet,) = site.ec2.describe_spot_fleet_requests()["SpotFleetRequestConfigs"]
    config = fleet["SpotFleetRequestConfig"]
    assert (config["TargetCapacity"], config["AllocationStrategy"]) == (4, "diversified")
    assert config["IamFleetRole"] == ROLE
    assert tags_of(fleet)["hfcore:request-id"] == request_id


def test_a_group_s_sizes_market_and_tags_are_read_as_meant(site: Site) -> None:
    site.write_template(
        providerApi="ASG",
        percentOnDemand=25,
        allocationStrategy="capacityOptimized",
        subnetId=site.subnets[:2],
        **TWO_SIZES,
    )
    request_id = site.request(4)
    group = site.group()
    assert (group["MinSize"], group["DesiredCapacity"], group["MaxSize"]) == (0, 4, 6)
    assert group["VPCZoneIdentifier"].split(",") == site.subnets[:2]
    assert (group["NewInstancesProtectedFromScaleIn"], group["CapacityRebalance"]) == (True, False)
    policy = group["MixedInstancesPolicy"]
    assert policy["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 25
    assert policy["InstancesDistribution"]["SpotAllocationStrategy"] == "capacity-optimized"
    assert policy["LaunchTemplate"]["Overrides"] == [
        {"InstanceType": "m5.large", "WeightedCapacity": "1"},
        {"InstanceType": "m5.xlarge", "WeightedCapacity": "2"},
    ]
    assert tags_of(group)["hfcore:request-id"] == request_id
    assert all(tag["PropagateAtLaunch"] for tag in group["Tags"])


def test_image_by_path_disk_script_key_and_profile_reach_the_launch_template(site: Site) -> None:
    """The image is found in moto's copy of AWS's SSM paths, its root device in moto's copy of AWS's images."""
    script = "#!/bin/sh\necho ready\n"
    (site.conf / "start.sh").write_text(script)
    site.write_template(
        providerApi="RunInstances",
        imageId=AL2023,
        rootDeviceVolumeSize=40,
        volumeType="gp3",
        userDataScript="start.sh",
        keyName="grid",
        instanceProfile="worker",
    )
    _, (machine,) = site.complete(1)
    (data,) = site.launch_data()
    (image,) = site.ec2.describe_images(ImageIds=[data["ImageId"]])["Images"]
    assert site.described()[machine["machineId"]]["ImageId"] == data["ImageId"]
    (disk,) = data["BlockDeviceMappings"]
    assert disk["DeviceName"] == image["RootDeviceName"]
    assert (disk["Ebs"]["VolumeSize"], disk["Ebs"]["VolumeType"]) == (40, "gp3")
    assert base64.b64decode(data["UserData"]).decode() == script
    assert (data["KeyName"], data["IamInstanceProfile"]) == ("grid", {"Name": "worker"})
    assert data["SecurityGroupIds"] == [site.security_group]


@pytest.mark.parametrize("api", ["RunInstances", "ASG", "EC2Fleet"])
def test_a_user_s_own_launch_template_gives_type_and_image(site: Site, api: str) -> None:
    content = {"ImageId": IMAGE, "InstanceType": "c5.large", "SecurityGroupIds": [site.security_group]}
    made = site.ec2.create_launch_template(LaunchTemplateName="theirs", LaunchTemplateData=content)
    own = {"launchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "launchTemplateVersion": "1"}
    site.write_template(providerApi=api, imageId=None, vmType=None, securityGroupIds=None, **own)
    _, (machine,) = site.complete(1)
    assert machine["instanceType"] == "c5.large"
    assert site.described()[machine["machineId"]]["ImageId"] == IMAGE


# moto answers for Auto Scaling in EC2's codes, and warns that Auto Scaling has no such errors.
@pytest.mark.filterwarnings("ignore:Exception.* does not match an error shape:UserWarning:moto")
@pytest.mark.parametrize("api", ["RunInstances", "ASG", "EC2Fleet"])
def test_a_launch_template_that_others_deleted_is_made_again(site: Site, api: str) -> None:
    """In AWS, Auto Scaling says this by a `ValidationError`; moto's code is EC2's."""
    site.write_template(providerApi=api)
    site.complete(1)
    (made,) = site.ec2.describe_launch_templates()["LaunchTemplates"]
    site.ec2.delete_launch_template(LaunchTemplateId=made["LaunchTemplateId"])
    site.complete(1)
    (again,) = site.ec2.describe_launch_templates()["LaunchTemplates"]
    assert again["LaunchTemplateName"] == made["LaunchTemplateName"]
    assert again["LaunchTemplateId"] != made["LaunchTemplateId"]


@pytest.mark.parametrize("api", ["RunInstances", "EC2Fleet"])
def test_a_refusal_is_told_with_code_and_sentence_and_nothing_is_launched(site: Site, api: str) -> None:
    site.write_template(providerApi=api, subnetId=NO_SUCH_SUBNET)
    with pytest.raises(CloudError, match=rf"InvalidSubnetID\.NotFound: .*{NO_SUCH_SUBNET}"):
        site.request()
    assert site.live() == set()
    (stored,) = site.service().store.read().requests()
    assert stored.status is RequestStatus.FAILED


def test_a_machine_that_others_ended_is_to_be_returned_until_it_is(site: Site) -> None:
    site.write_template(providerApi="EC2Fleet")
    request_id, (ended, alive) = site.complete()
    assert site.reclaims()["requests"] == []
    site.ec2.terminate_instances(InstanceIds=[ended["machineId"]])
    answer = site.reclaims()
    assert (answer["status"], len(answer["requests"])) == ("complete", 1)
    told = answer["requests"][0]
    assert (told["machine"], told["machineId"], told["gracePeriod"]) == (ended["name"], ended["machineId"], 0)
    assert told["message"].startswith("Client.UserInitiatedShutdown")
    status = {one["machineId"]: (one["status"], one["result"]) for one in site.status(request_id)["machines"]}
    assert status == {ended["machineId"]: ("terminated", "fail"), alive["machineId"]: ("running", "succeed")}
    assert site.give_back(ended)["status"] == "complete"
    assert site.reclaims()["requests"] == []
    assert site.live() == {alive["machineId"]}


def test_no_live_spot_machine_is_called_back_for_want_of_an_answer(site: Site) -> None:
    """Notices themselves are not judged: moto takes nothing back, and can't filter Spot requests by status code."""
    site.write_template(providerApi="SpotFleet", priceType="spot", allocationStrategy="lowestPrice", fleetRole=ROLE)
    _, machines = site.complete()
    answer = site.reclaims()
    assert (answer["status"], answer["requests"]) == ("complete", [])
    assert site.live() == {machine["machineId"] for machine in machines}


def test_templates_are_offered_with_what_is_left_of_them(site: Site) -> None:
    site.write_template(providerApi="EC2Fleet", maxNumber=3)
    offered = {
        "templateId": "grid",
        "maxNumber": 3,
        "attributes": {"type": ["String", "X86_64"], "ncpus": ["Numeric", "2"], "nram": ["Numeric", "8192"]},
        "availableNumber": 3,
        "instanceTags": "team=risk",
    }
    assert site.templates() == {"templates": [offered], "message": "1 template"}
    _, (first, _) = site.complete(2)
    assert [one["availableNumber"] for one in site.templates()["templates"]] == [1]
    site.give_back(first)
    assert [one["availableNumber"] for one in site.templates()["templates"]] == [2]


def test_what_ec2_offers_is_read_as_cores_memory_and_subnets_of_one_vpc(site: Site) -> None:
    """The types are AWS's own, as moto has them; of hyper-threading ones half of the vCPUs are cores."""
    vpc_id = site.ec2.describe_subnets(SubnetIds=[site.subnets[0]])["Subnets"][0]["VpcId"]
    name, found = site.service().offers("asg", ("m5.large", "m6g.xlarge", "t3.micro"), SubnetsWanted(network=vpc_id))
    assert name == "ASG"
    assert [(one.name, one.cores, one.memory_mib, one.architecture) for one in found.types] == [
        ("m5.large", 1, 8192, "x86_64"),
        ("m6g.xlarge", 4, 16384, "arm64"),
        ("t3.micro", 1, 1024, "x86_64"),
    ]
    assert {*site.subnets} <= {one.subnet_id for one in found.subnets}
    assert {one.network for one in found.subnets} == {vpc_id}
    with pytest.raises(CloudError, match="InvalidInstanceType"):
        site.service().offers("ASG", ("m5.huge",), None)
