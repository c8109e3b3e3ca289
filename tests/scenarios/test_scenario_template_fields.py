"""Every field of IBM's templates and of LSF's, and AWS's own words: launched by the verbs, and looked at in AWS."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.testing.aws import IMAGE
from hfcore.testing.aws.templates import create_launch_template
from hfcore.testing.faults import fault_point
from hfcore.testing.site import ROLE, Document

if TYPE_CHECKING:
    from hfcore.testing.aws.instances import Instance
    from tests.scenarios.conftest import Scene

ON_DEMAND = ("RunInstances", "EC2Fleet-instant", "EC2Fleet-request", "EC2Fleet-maintain", "ASG")
SPOT = ("SpotFleet", "EC2Fleet-instant", "EC2Fleet-request", "EC2Fleet-maintain", "ASG")
LSF = ("RunInstances", "EC2Fleet-instant", "EC2Fleet-request", "EC2Fleet-maintain")
SCRIPT = "#!/bin/sh\nexec /opt/start\n"
SECRET = "s3cret-word"
PARTITION = {"placementGroupName": "grid-partition"}


def form(name: str) -> Document:
    """Give the fields that choose an API and the type of its fleet."""
    api, _, kind = name.partition("-")
    return {"providerApi": api, **({"fleetType": kind} if kind else {})}


def launch(scene: Scene, *, units: int = 4, more: Document | None = None, **fields: object) -> list[Instance]:
    """Launch from a template of these fields; give its machines once the request is complete."""
    offer(scene, **fields)
    asked = {"template": {"templateId": "Whole", "machineCount": units}} | (more or {})
    ran = scene.run("requestMachines", asked)
    assert ran.code == 0, ran
    scene.pass_time(31)
    answer = scene.status(ran.answer["requestId"])
    assert answer["status"] == "complete", answer
    assert hidden(scene)
    return scene.aws.live_instances()


def offer(scene: Scene, **fields: object) -> None:
    """Write a template with all that AWS needs, and these fields; every warning is an error here."""
    region = scene.aws.region()
    basic = {
        "templateId": "Whole",
        "maxNumber": 100,
        "attributes": {"type": "X86_64", "ncpus": 2, "nram": 8192},
        "imageId": IMAGE,
        "subnetId": list(region.subnets)[:2],
        "securityGroupIds": list(region.security_groups),
        "vmTypes": {"m5.large": 1, "c5.large": 1},
    }
    kept = {name: value for name, value in {**basic, **fields}.items() if value is not None}
    scene.put("prov_templates.json", {"templates": [kept]})


def hidden(scene: Scene) -> bool:
    """Tell whether no file of ours but those that people bring holds the secret, plain or encoded."""
    words = [SECRET.encode(), base64.b64encode(f"export WORD='{SECRET}'".encode())[:-4]]
    files = [path for folder in (scene.work, scene.log) for path in folder.rglob("*") if path.is_file()]
    assert files
    return not [path for path in files if any(word in path.read_bytes() for word in words)]


def started_by(one: Instance) -> str:
    return base64.b64decode(one.plan.params["UserData"]).decode()


def script(scene: Scene, text: str = SCRIPT) -> str:
    (scene.conf / "start.sh").write_text(text)
    return "start.sh"


def launch_template(scene: Scene, **data: object) -> str:
    """Make a launch template that is the user's."""
    asked = {"LaunchTemplateName": "theirs", "LaunchTemplateData": data, "ClientToken": "theirs"}
    with scene.aws.locked() as world:
        made: dict[str, Any] = create_launch_template(world.region("us-east-1"), asked)["LaunchTemplate"]
    return str(made["LaunchTemplateId"])


def finish(scene: Scene) -> None:
    """Give back all that lives, and see that nothing is left."""
    returned = scene.returned(*sorted(scene.live()))
    scene.poll(returned)
    assert scene.poll(returned)["status"] == "complete"
    scene.nothing_stands()


@pytest.mark.parametrize("name", ON_DEMAND)
def test_every_field_of_ibm_s_on_demand_list_comes_true(scene: Scene, name: str) -> None:
    theirs = launch_template(scene, Monitoring={"Enabled": True}, KeyName="not-this-one", InstanceType="r5.large")
    machines = launch(
        scene,
        **form(name),
        priceType="ondemand",
        vmTypes={"m5.large": 1, "m5.xlarge": 2},
        vmTypesPriority={"m5.xlarge": 0, "m5.large": 1},
        **({} if name == "RunInstances" else {"allocationStrategyOnDemand": "prioritized"}),
        rootDeviceVolumeSize=200,
        volumeType="gp3",
        iops=4000,
        instanceTags="project=grid;team=risk",
        keyName="grid-key",
        instanceProfile="grid-profile",
        userDataScript=script(scene),
        launchTemplateId=theirs,
        launchTemplateVersion="1",
    )

    assert [one.plan.pool[::2] for one in machines] == [("m5.xlarge", "on-demand")] * 2  # 4 units
    for one in machines:
        said = one.plan.params
        assert said["ImageId"] == IMAGE
        assert said["KeyName"] == one.described["KeyName"] == "grid-key"
        assert said["IamInstanceProfile"] == {"Name": "grid-profile"}
        assert said["Monitoring"] == {"Enabled": True}  # of their own launch template
        (volume,) = said["BlockDeviceMappings"]
        assert volume["Ebs"] == {"VolumeSize": 200, "VolumeType": "gp3", "Iops": 4000, "DeleteOnTermination": True}
        assert (one.tags["project"], one.tags["team"], one.tags["hfcore:template-id"]) == ("grid", "risk", "Whole")
        assert [group["GroupId"] for group in one.described["SecurityGroups"]] == list(
            scene.aws.region().security_groups
        )
        assert started_by(one) == SCRIPT
    finish(scene)


@pytest.mark.parametrize("name", SPOT)
def test_every_field_of_ibm_s_spot_list_comes_true(scene: Scene, name: str) -> None:
    machines = launch(
        scene,
        **form(name),
        **({"fleetRole": ROLE} if name == "SpotFleet" else {}),
        priceType="spot",
        percentOnDemand=50,
        maxSpotPrice=0.05,
        allocationStrategy="lowestPrice",
        allocationStrategyOnDemand="lowestPrice",
        poolsCount=2,
        spotFleetRequestExpiry=60,
        instanceTags="project=grid",
        userDataScript=script(scene),
    )

    assert sorted(one.plan.pool[2] for one in machines) == ["on-demand"] * 2 + ["spot"] * 2
    assert all(one.tags["project"] == "grid" for one in machines)
    (stored,) = scene.stored().values()
    times = [datetime.fromisoformat(stored[one]) for one in ("created_at", "deadline")]
    assert (times[1] - times[0]).total_seconds() == 3600
    finish(scene)


@pytest.mark.parametrize("price", [{"priceType": "ondemand"}, {"spotPrice": 0.1, "onDemandTargetCapacityRatio": 0.5}])
@pytest.mark.parametrize("name", LSF)
def test_every_field_of_lsf_s_comes_true(scene: Scene, name: str, price: Document) -> None:
    spot = {} if "priceType" in price else {"priceType": "spot"}
    machines = launch(
        scene,
        **form(name),
        **price,
        **spot,
        **PARTITION,
        vmTypes={"p4d.24xlarge": 1},
        ebsOptimized=True,
        tenancy="dedicated",
        interfaceType="efa",
        efaCount=4,
        userDataScript=script(scene),
        userData=f"WORD={SECRET};SITE=london",
        requestValidity="00:45",
        priority=7,
    )

    groups = [{"GroupId": one} for one in scene.aws.region().security_groups]
    markets = ["on-demand"] * 2 + ["spot"] * 2 if spot else ["on-demand"] * 4
    assert sorted(one.plan.pool[2] for one in machines) == markets
    for one in machines:
        seen = one.described
        zone = seen["Placement"]["AvailabilityZone"]
        assert seen["Placement"] == {"GroupName": "grid-partition", "Tenancy": "dedicated", "AvailabilityZone": zone}
        assert seen["EbsOptimized"] is True
        places = [(card["Attachment"]["NetworkCardIndex"], card["Attachment"]["DeviceIndex"]) for card in cards(one)]
        assert places == [(0, 0), (1, 1), (2, 1), (3, 1)]
        assert all(card["InterfaceType"] == "efa" and card["Groups"] == groups for card in cards(one))
        exports = f"export WORD='{SECRET}'\nexport SITE='london'\n"
        assert started_by(one) == SCRIPT.replace("\n", f"\n{exports}", 1)
    ran = scene.run("getAvailableTemplates")
    assert [one["priority"] for one in ran.answer["templates"]] == [7]
    finish(scene)


def cards(one: Instance) -> list[Document]:
    found: list[Document] = one.described["NetworkInterfaces"]
    return found


def test_a_fleet_is_made_from_a_file_as_lsf_has_it(scene: Scene) -> None:
    theirs, subnet = launch_template(scene, ImageId=IMAGE), list(scene.aws.region().subnets)[2]
    overrides = [{"InstanceType": "r5.large", "SubnetId": subnet, "Priority": 1}]
    spec = {"LaunchTemplateId": theirs, "Version": "1"}
    config = {
        "TargetCapacitySpecification": {"TotalTargetCapacity": "$LSF_TOTAL_TARGET_CAPACITY"},
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": spec, "Overrides": overrides}],
        "Type": "instant",
    }
    text = json.dumps(config).replace('"$LSF_TOTAL_TARGET_CAPACITY"', "$LSF_TOTAL_TARGET_CAPACITY")
    (scene.conf / "fleet.json").write_text(text)
    machines = launch(
        scene,
        launchTemplateId=theirs,
        launchTemplateVersion="1",
        ec2FleetConfig="fleet.json",
        **dict.fromkeys(("imageId", "subnetId", "vmTypes")),
    )

    assert [one.plan.pool for one in machines] == [("r5.large", "us-east-1c", "on-demand")] * 4
    assert all("aws:ec2:fleet-id" in one.tags for one in machines)
    finish(scene)


@pytest.mark.parametrize("kind", ["instant", "request"])
def test_a_fleet_that_was_begun_is_gone_on_with_though_its_file_is_gone(scene: Scene, kind: str) -> None:
    config = scene.conf / "fleet.json"
    config.write_text('{"SpotOptions": {"MaxTotalPrice": "9"}}')
    offer(scene, **form(f"EC2Fleet-{kind}"), priceType="spot", ec2FleetConfig="fleet.json")
    asked = {"template": {"templateId": "Whole", "machineCount": 2}}
    assert scene.call("requestMachines", asked, kill=fault_point("call-sent:after"), nth=2).killed
    ((request_id, _),) = scene.stored().items()
    config.unlink()

    scene.poll(request_id, 31)
    answer = scene.poll(request_id, 31)

    assert answer["status"] == "complete", answer
    assert len(scene.live()) == 2
    finish(scene)


@pytest.mark.parametrize("name", SPOT)
def test_what_machines_must_have_chooses_their_types(scene: Scene, name: str) -> None:
    machines = launch(
        scene,
        **form(name),
        **({"fleetRole": ROLE} if name == "SpotFleet" else {}),
        priceType="spot",
        vmTypes=None,
        instanceRequirements={"VCpuCount": {"Min": 4, "Max": 4}, "MemoryMiB": {"Min": 20000}},
    )

    assert {one.plan.pool[::2] for one in machines} == {("r5.xlarge", "spot")}
    finish(scene)


NATIVE: dict[str, Document] = {
    "RunInstances": {"RunInstances": {"CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1}}},
    "EC2Fleet-instant": {"SpotOptions": {"MaxTotalPrice": "9"}},
    "EC2Fleet-request": {"CreateFleet": {"SpotOptions": {"MaxTotalPrice": "9"}}},
    "SpotFleet": {"SpotFleetRequestConfig": {"SpotMaxTotalPrice": "9"}},
    "ASG": {"CreateAutoScalingGroup": {"DefaultCooldown": 60, "Tags": [{"Key": "added", "Value": "1"}]}},
}
OPERATIONS = {"RunInstances": "RunInstances", "SpotFleet": "RequestSpotFleet", "ASG": "CreateAutoScalingGroup"}


@pytest.mark.parametrize("name", NATIVE)
def test_aws_s_own_words_go_over_all_else_but_our_tags(scene: Scene, name: str) -> None:
    stranger = [{"Key": "hfcore:owner", "Value": "x"}, {"Key": "cost", "Value": "9"}]
    reservation = next(iter(scene.aws.region().reservations))
    machines = launch(
        scene,
        **form(name),
        **({"fleetRole": ROLE} if name == "SpotFleet" else {}),
        capacityReservation=reservation,
        keyName="not-this-one",
        launchTemplateData={
            "KeyName": "native",
            "TagSpecifications": [{"ResourceType": "instance", "Tags": stranger}],
            "UserData": base64.b64encode(f"#!/bin/sh\n: {SECRET}\n".encode()).decode(),
        },
        apiParameters=NATIVE[name],
    )

    for one in machines:
        assert one.plan.params["KeyName"] == "native"
        assert SECRET in started_by(one)
        assert one.tags["cost"] == "9"
        assert one.tags["hfcore:owner"] != "x"
        target = one.described["CapacityReservationSpecification"]["CapacityReservationTarget"]
        assert target == {"CapacityReservationId": reservation}
    (call,) = [one for one in scene.aws.calls if one.operation == OPERATIONS.get(name, "CreateFleet")]
    sent = json.dumps(call.parameters)
    assert {"RunInstances": '"CoreCount": 1', "ASG": '"added"'}.get(name, 'MaxTotalPrice": "9"') in sent
    assert "UserData" not in sent
    finish(scene)


def test_cores_and_threads_are_told_as_the_machine_has_them(scene: Scene) -> None:
    launch(scene, providerApi="RunInstances", launchTemplateData={"CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1}})

    assert {(one["cores"], one["threads"]) for one in scene.machines().values()} == {(1, 1)}
    finish(scene)


def test_hosts_and_partitions_are_chosen_where_the_api_can(scene: Scene) -> None:
    host = next(iter(scene.aws.region().hosts))
    (one,) = launch(scene, units=1, providerApi="RunInstances", hostId=host, placementPartition=3, **PARTITION)

    placed = one.described["Placement"]
    assert (placed["HostId"], placed["Tenancy"], placed["PartitionNumber"]) == (host, "host", 3)
    finish(scene)


@pytest.mark.parametrize("name", LSF)
def test_what_a_request_brings_is_exported_over_what_the_template_says(scene: Scene, name: str) -> None:
    machines = launch(
        scene,
        **form(name),
        userDataScript=script(scene),
        userData="WORD=other;SITE=london",
        more={"userData": f"WORD={SECRET}"},
    )

    exports = f"export WORD='{SECRET}'\nexport SITE='london'\n"
    assert {started_by(one) for one in machines} == {SCRIPT.replace("\n", f"\n{exports}", 1)}
    finish(scene)


@pytest.mark.parametrize("name", [*LSF, "ASG"])
def test_a_request_of_a_dead_call_gets_its_user_data_again_from_the_file(scene: Scene, name: str) -> None:
    offer(scene, **form(name), userDataScript=script(scene), userData=f"WORD={SECRET}")
    request_id = died_before_anything_was_begun(scene)

    scene.pass_time(31)
    scene.status(request_id)
    assert scene.poll(request_id, 31)["status"] == "complete"
    assert {SECRET in started_by(one) for one in scene.aws.live_instances()} == {True}
    assert hidden(scene)
    finish(scene)


@pytest.mark.parametrize("changed", ["the file's is another one", "it came with the request"])
@pytest.mark.parametrize("name", [*LSF, "ASG"])
def test_a_request_whose_user_data_is_gone_launches_nothing_and_says_so(scene: Scene, name: str, changed: str) -> None:
    fields = {**form(name), "userDataScript": script(scene)}
    brought = changed == "it came with the request"
    offer(scene, **fields, userData=None if brought else f"WORD={SECRET}")
    request_id = died_before_anything_was_begun(scene, **({"userData": f"WORD={SECRET}"} if brought else {}))
    if not brought:
        offer(scene, **fields, userData="WORD=another")

    answer = scene.poll(request_id, 31)

    assert answer["status"] == "complete_with_error"
    assert "its user data can't be had again" in answer["message"]
    assert scene.aws.world.instances() == {}
    assert hidden(scene)
    scene.nothing_stands()


@pytest.mark.parametrize("spelling", ["userData", "launchTemplateData", "apiParameters"])
def test_user_data_stands_in_no_file_of_ours_whatever_is_logged_and_however_it_is_spelt(
    scene: Scene, spelling: str
) -> None:
    encoded = base64.b64encode(f"#!/bin/sh\n: {SECRET}\n".encode()).decode()
    said = {"userData": f"WORD={SECRET}"} if spelling == "userData" else {spelling: {"UserData": encoded}}
    offer(scene, providerApi="RunInstances", **said)
    env = {"HF_LOGLEVEL": "LOG_DEBUG"}

    listed = scene.run("getAvailableTemplates", env=env)
    assert ("UserData: can't be set" in listed.message) is (spelling == "apiParameters")
    ran = scene.run("requestMachines", {"template": {"templateId": "Whole", "machineCount": 1}}, env=env)
    assert ran.code == (1 if spelling == "apiParameters" else 0)

    told = [
        listed.message,
        ran.message,
        ran.stderr,
        *(path.read_text() for path in scene.work.rglob("*") if path.is_file()),
    ]
    told += [path.read_text() for path in scene.log.rglob("*") if path.is_file()]
    assert not [text for text in told if SECRET in text or encoded in text]
    if ran.code == 0:
        scene.poll(ran.answer["requestId"], 31)
        finish(scene)


def died_before_anything_was_begun(scene: Scene, **brought: object) -> str:
    """Ask for machines by a call that is killed once the request is stored; give the request's id."""
    asked = {"template": {"templateId": "Whole", "machineCount": 2}, **brought}
    assert scene.call("requestMachines", asked, kill=fault_point("intent-written:before")).killed
    ((request_id, stored),) = scene.stored().items()
    assert stored["status"] == "creating"
    return request_id


@pytest.mark.parametrize("name", [*LSF, "ASG"])
def test_a_request_with_a_launch_template_already_needs_its_user_data_no_more(scene: Scene, name: str) -> None:
    offer(scene, **form(name), userDataScript=script(scene))
    asked = {"template": {"templateId": "Whole", "machineCount": 2}, "userData": f"WORD={SECRET}"}
    dead = scene.call("requestMachines", asked, kill=fault_point("intent-written:before"), nth=2)
    assert dead.killed
    ((request_id, _),) = scene.stored().items()

    scene.poll(request_id, 31)
    answer = scene.poll(request_id, 31)

    assert answer["status"] == "complete", answer
    assert {SECRET in started_by(one) for one in scene.aws.live_instances()} == {True}
    finish(scene)


@pytest.mark.parametrize("name", ["ASG", "EC2Fleet-request", "SpotFleet"])
def test_what_spot_leaves_starts_by_the_user_data_that_the_request_brought(scene: Scene, name: str) -> None:
    role = {"fleetRole": ROLE} if name == "SpotFleet" else {}
    subnet = next(iter(scene.aws.region().subnets))
    its = {"vmTypes": {"m5.large": 1}, "subnetId": subnet, "userDataScript": script(scene)}
    offer(scene, **form(name), **role, **its, priceType="heterogeneous")
    scene.aws.set_capacity("m5.large", "us-east-1a", "spot", 1)
    asked = {"template": {"templateId": "Whole", "machineCount": 3}, "userData": f"WORD={SECRET}"}
    request_id = str(scene.run("requestMachines", asked).answer["requestId"])
    scene.poll(request_id, 31)
    scene.poll(request_id, 25 * 60)

    answer = scene.poll(request_id, 31)

    assert answer["status"] == "complete", answer
    machines = scene.aws.live_instances()
    assert sorted(one.plan.pool[2] for one in machines) == ["on-demand", "on-demand", "spot"]
    assert {SECRET in started_by(one) for one in machines} == {True}
    finish(scene)


REFUSED: list[tuple[str, Document, str]] = [
    ("RunInstances", {"ec2FleetConfig": "fleet.json"}, "ec2FleetConfig: can't be honoured"),
    ("SpotFleet", {"ec2FleetConfig": "fleet.json"}, "ec2FleetConfig: can't be honoured"),
    ("ASG", {"ec2FleetConfig": "fleet.json"}, "ec2FleetConfig: can't be honoured"),
    (
        "RunInstances",
        {"vmTypes": None, "instanceRequirements": {"VCpuCount": {"Min": 2}, "MemoryMiB": {"Min": 1024}}},
        "instanceRequirements: can't be honoured",
    ),
    ("EC2Fleet-instant", {"hostId": "h-0123456789abcdef0"}, "hostId: fleets do not support it"),
    ("RunInstances", {"apiParameters": {"MaxCount": 9}}, "apiParameters.MaxCount: can't be set: machineCount says"),
    ("EC2Fleet-instant", {"ec2FleetConfig": "fleet.json"}, "fleet.json can't be read"),
    ("EC2Fleet-instant", {"apiParameters": {"Typ": "x"}}, "apiParameters.Typ: is no member of CreateFleetRequest"),
]


@pytest.mark.parametrize(("name", "fields", "why"), REFUSED, ids=[f"{name} {next(iter(f))}" for name, f, _ in REFUSED])
def test_what_can_not_be_honoured_is_said_and_nothing_launched(
    scene: Scene, name: str, fields: Document, why: str
) -> None:
    offer(scene, **form(name), **({"fleetRole": ROLE} if name == "SpotFleet" else {}), **fields)

    ran = scene.run("requestMachines", {"template": {"templateId": "Whole", "machineCount": 1}})

    assert ran.code == 1
    assert why in ran.message
    assert scene.live() == set()
