"""The audit finds what must not be, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.journal import IntentFolder
from hfcore.models import Machine, MachineStatus, Request, RequestKind, RequestStatus, Template
from hfcore.store import open_store
from hfcore.testing.audit import RULES, audit
from hfcore.testing.core import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hfcore.context import Context
    from hfcore.testing.audit import Finding
    from hfcore.testing.aws import StrictAws
    from hfcore.testing.core import SteppedClock

NOW = datetime.now(UTC)
TAGS = [{"Key": "hfcore:owner", "Value": OWNER}, {"Key": "hfcore:request-id", "Value": "req-1"}]


class Office:
    """A store, and an AWS, that fit each other until a test says otherwise."""

    def __init__(self, data: Path, aws: StrictAws, context: Context, launched: Callable[..., list[str]]) -> None:
        self.data, self.aws, self.context, self.launched = data, aws, context, launched
        self.store = open_store(data, owner=OWNER, now=NOW)

    def request(self, request_id: str = "req-1", *machine_ids: str, **changed: Any) -> Request:  # noqa: ANN401
        known: dict[str, Any] = {
            "request_id": request_id,
            "status": RequestStatus.COMPLETED,
            "target": 2,
            "template": Template(template_id="basic", vm_types={"m5.large": 1}),
            "machine_ids": machine_ids,
            "created_at": NOW - timedelta(minutes=1),
            "deadline": NOW + timedelta(minutes=29),
        }
        request = Request(**known | changed)
        with self.store.transaction() as state:
            state.save_request(request)
        return request

    def machine(self, instance_id: str, **changed: Any) -> Machine:  # noqa: ANN401
        known: dict[str, Any] = {"request_id": "req-1", "status": MachineStatus.RUNNING, "observed_at": NOW}
        machine = Machine(instance_id=instance_id, **known | changed)
        with self.store.transaction() as state:
            state.save_batch([machine])
        return machine

    def whole(self, count: int = 2, **changed: Any) -> list[str]:  # noqa: ANN401
        """Make a request whose machines all live."""
        ids = self.launched(count)
        self.request("req-1", **changed)
        for one in ids:
            self.machine(one)
        self.request("req-1", *ids, **changed)
        return ids

    def fleet(self, kind: str = "request", units: int = 2) -> str:
        """Make a fleet of request req-1 behind the toolkit's back."""
        client = self.context.clients("ec2", "quick")
        region = self.aws.region()
        if not region.templates:
            client.create_launch_template(
                LaunchTemplateName="shared",
                LaunchTemplateData={"ImageId": next(iter(region.images)), "InstanceType": "m5.large"},
            )
        tagged = [{"ResourceType": "fleet", "Tags": TAGS}]
        if kind == "instant":
            tagged.append({"ResourceType": "instance", "Tags": TAGS})
        answer = client.create_fleet(
            Type=kind,
            LaunchTemplateConfigs=[{"LaunchTemplateSpecification": {"LaunchTemplateName": "shared", "Version": "1"}}],
            TargetCapacitySpecification={"TotalTargetCapacity": units, "DefaultTargetCapacityType": "on-demand"},
            TagSpecifications=tagged,
        )
        return str(answer["FleetId"])

    def audit(self, now: datetime = NOW) -> tuple[Finding, ...]:
        return audit(self.aws, self.data, now)

    def broken(self, now: datetime = NOW) -> list[tuple[str, str]]:
        """Name the rules that are broken, each with what breaks it."""
        found = self.audit(now)
        assert all(one.rule in RULES and one.message for one in found)
        return [(one.rule, one.subject) for one in found]


@pytest.fixture
def office(tmp_path: Path, strict_aws: StrictAws, context: Context, launched: Callable[..., list[str]]) -> Office:
    return Office(tmp_path / "data", strict_aws, context, launched)


def test_a_store_that_fits_has_no_finding(office: Office) -> None:
    office.whole()
    gone = office.launched(1, request_id="req-2")
    office.aws.kill(*gone)
    office.request("req-2")
    office.machine(gone[0], request_id="req-2", status=MachineStatus.TERMINATED)
    office.request("req-2", *gone, cleaned=True)
    office.request("req-3", status=RequestStatus.CREATING, process="another host/boot/1/1")
    assert office.audit() == ()


def test_what_other_owners_have_is_not_looked_at(office: Office) -> None:
    office.launched(1, owner="somebody else", request_id="req-9")
    office.launched(1, owner="", request_id="")
    assert office.audit() == ()


@pytest.mark.parametrize("request_id", ["req-1", "req-9", ""])
def test_an_instance_that_no_machine_stands_for_is_leaked(office: Office, request_id: str) -> None:
    office.request("req-1", resource_ids=("r-1",))
    (leaked,) = office.launched(1, request_id=request_id)
    assert office.broken() == [("leaked", leaked)]


def test_a_living_machine_of_no_request_makes_the_store_unreadable(office: Office) -> None:
    (leaked,) = office.launched(1)
    office.machine(leaked)
    assert office.broken() == [("unreadable", str(office.data))]


def test_a_record_that_no_request_names_is_leaked(office: Office) -> None:
    office.machine("i-00000000000000001", request_id="req-9", status=MachineStatus.TERMINATED)
    assert office.broken() == [("leaked", "i-00000000000000001")]


def test_an_instance_that_lives_though_its_record_has_ended_is_leaked(office: Office) -> None:
    leaked, _ = office.whole()
    office.machine(leaked, status=MachineStatus.TERMINATED, observed_at=NOW + timedelta(seconds=1))
    assert office.broken() == [("leaked", leaked)]


def test_an_instance_that_lives_though_its_record_is_in_the_archive_is_leaked(office: Office) -> None:
    office.whole(cleaned=True)
    with office.store.transaction() as state:
        state.archive(["req-1"])
    assert [rule for rule, _ in office.broken()] == ["leaked", "leaked"]


@pytest.mark.parametrize("status", [MachineStatus.PENDING, MachineStatus.RUNNING])
def test_a_machine_that_is_not_in_aws_is_a_ghost(office: Office, status: MachineStatus) -> None:
    ghost, _ = office.whole()
    office.aws.kill(ghost)
    office.machine(ghost, status=status, observed_at=NOW + timedelta(seconds=1))
    assert office.broken() == [("ghost", ghost)]


def test_a_machine_that_is_ending_is_no_ghost_as_long_as_somebody_asks(office: Office) -> None:
    ending, _ = office.whole()
    office.aws.kill(ending)
    later = NOW + timedelta(seconds=1)
    office.request("ret-1", ending, kind=RequestKind.RETURN, status=RequestStatus.IN_PROGRESS, target=1)
    office.machine(ending, status=MachineStatus.SHUTTING_DOWN, return_id="ret-1", observed_at=later)
    assert office.audit() == ()
    office.request("ret-1", ending, kind=RequestKind.RETURN, status=RequestStatus.COMPLETED, target=1)
    assert office.broken() == [("ghost", ending)]


@pytest.mark.parametrize("status", [RequestStatus.CREATING, RequestStatus.IN_PROGRESS])
def test_a_request_that_runs_past_its_deadline_is_overdue(office: Office, status: RequestStatus) -> None:
    office.whole(status=status)
    assert office.audit() == ()
    assert office.broken(NOW + timedelta(minutes=30)) == [("overdue", "req-1")]


def test_more_units_than_were_asked_for_are_doubled(office: Office) -> None:
    office.whole(3)
    assert office.broken() == [("doubled", "req-1")]


def test_a_last_machine_that_is_larger_than_what_was_missing_is_not_doubled(office: Office) -> None:
    office.whole(1, target=1, template=Template(template_id="basic", vm_types={"m5.large": 2}))
    assert office.audit() == ()
    office.request(target=1, template=Template(template_id="basic", vm_types={"m5.large": 4}))
    assert office.broken()


@pytest.mark.parametrize("kind", ["request", "maintain"])
def test_a_second_fleet_is_doubled(office: Office, kind: str) -> None:
    office.whole(2, resource_ids=("fleet-1",))
    office.fleet(kind, 0)
    assert office.audit() == ()
    office.fleet(kind, 0)
    assert office.broken() == [("doubled", "req-1")]


def test_an_instant_fleet_that_made_nothing_is_a_refusal_and_not_a_second_one(office: Office) -> None:
    office.whole(2, resource_ids=("fleet-1",))
    office.aws.set_capacity("m5.large", "us-east-1a", "on-demand", 2)
    for _ in range(2):
        office.fleet("instant", 1)
    assert office.audit() == ()


def test_heterogeneous_may_have_two_fleets(office: Office) -> None:
    hetero = Template(template_id="basic", vm_types={"m5.large": 1}, price_type="heterogeneous")
    office.whole(2, resource_ids=("fleet-1",), template=hetero)
    for _ in range(2):
        office.fleet(units=0)
    assert office.audit() == ()
    office.fleet(units=0)
    assert office.broken() == [("doubled", "req-1")]


def test_a_machine_of_two_requests_is_shared(office: Office) -> None:
    ids = office.whole()
    office.request("req-2", ids[0])
    assert office.broken() == [("shared", ids[0])]


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"resource_ids": ("fleet-1",), "frozen": True}, None),
        ({"status": RequestStatus.IN_PROGRESS}, None),
        ({"resource_ids": ("fleet-1",), "cleaned": True}, "standing"),
        ({}, "standing"),
    ],
)
def test_a_fleet_that_outlives_its_request_is_standing(
    office: Office, changed: dict[str, Any], rule: str | None
) -> None:
    office.whole(2, **changed)
    fleet = office.fleet(units=0)
    assert office.broken() == ([(rule, fleet)] if rule else [])


def test_a_fleet_of_an_unknown_request_is_standing_until_it_is_deleted(office: Office) -> None:
    fleet = office.fleet(units=0)
    assert office.broken() == [("standing", fleet)]
    office.context.clients("ec2", "quick").delete_fleets(FleetIds=[fleet], TerminateInstances=False)
    assert office.audit() == ()


def test_an_own_launch_template_outlives_no_request_but_a_shared_one_may(office: Office) -> None:
    client, image = office.context.clients("ec2", "quick"), next(iter(office.aws.region().images))
    for name, tags in (("own", TAGS), ("shared", TAGS[:1])):
        client.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={"ImageId": image},
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
        )
    office.request(cleaned=True)
    assert office.broken() == [("standing", "own")]


def test_a_group_that_outlives_its_request_is_standing(office: Office) -> None:
    office.fleet(units=0)  # makes the launch template
    region = office.aws.region()
    region.fleets.clear()
    office.context.clients("autoscaling", "quick").create_auto_scaling_group(
        AutoScalingGroupName="group",
        MinSize=0,
        MaxSize=0,
        VPCZoneIdentifier=next(iter(region.subnets)),
        MixedInstancesPolicy={
            "LaunchTemplate": {"LaunchTemplateSpecification": {"LaunchTemplateName": "shared", "Version": "1"}}
        },
        Tags=[{**tag, "PropagateAtLaunch": True} for tag in TAGS],
    )
    assert office.broken() == [("standing", "group")]


@pytest.mark.parametrize("request_id", ["req-1", "req-9"])
def test_an_intent_that_a_dead_process_left_is_left_open(
    office: Office, request_id: str, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.whole()
    journal = IntentFolder(office.data / "journal", owner=OWNER, clock=clock)
    intent = journal.begin(request_id, "freeze-0", "ec2:DeleteFleets", {})
    assert office.audit() == ()  # this very process may still go on with it
    monkeypatch.setattr("hfcore.journal.this_process", lambda: "another host/boot/1/1")
    journal.drop(intent)
    intent = journal.begin(request_id, "freeze-0", "ec2:DeleteFleets", {})
    assert office.broken(datetime.now(UTC) + timedelta(minutes=5)) == [("left open", request_id)]
    journal.done(intent, {})
    assert office.broken(datetime.now(UTC) + timedelta(minutes=5)) == []


def test_an_open_request_may_have_open_intents(
    office: Office, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.whole(status=RequestStatus.IN_PROGRESS)
    monkeypatch.setattr("hfcore.journal.this_process", lambda: "another host/boot/1/1")
    IntentFolder(office.data / "journal", owner=OWNER, clock=clock).begin("req-1", "launch-0", "ec2:RunInstances", {})
    assert office.broken(datetime.now(UTC) + timedelta(minutes=5)) == []


@pytest.mark.parametrize("name", ["storage.json", "machines.json", "meta.json", "journal/req-1.x.json"])
@pytest.mark.parametrize("content", ["", "{", '{"req-1": 1}'])
def test_a_file_that_does_not_parse_is_unreadable(office: Office, name: str, content: str) -> None:
    office.whole()
    (office.data / name).write_text(content)
    assert {rule for rule, _ in office.broken()} == {"unreadable"}


@pytest.mark.parametrize("name", ["storage.json", "machines.json"])
def test_a_record_that_stands_twice_is_unreadable(office: Office, name: str) -> None:
    office.whole()
    lines = (office.data / name).read_text().splitlines()
    lines.insert(1, lines[1].rstrip(",") + ",")
    (office.data / name).write_text("\n".join(lines))
    assert office.broken() == [("unreadable", str(office.data / name))]


def test_a_line_of_the_archive_that_is_none_is_unreadable(office: Office) -> None:
    office.request(cleaned=True)
    with office.store.transaction() as state:
        state.archive(["req-1"])
    (archive,) = (office.data / "archive").iterdir()
    assert office.audit() == ()
    archive.write_bytes(archive.read_bytes() + b'{"request": {"request_id": "req-2"}\n')
    assert office.broken() == [("unreadable", f"{archive}, line 2")]


def test_a_store_that_is_not_there_is_not_made(office: Office, tmp_path: Path) -> None:
    assert [one.rule for one in audit(office.aws, tmp_path / "nowhere", NOW)] == ["unreadable"]
    assert not (tmp_path / "nowhere").exists()


def test_a_finding_says_what_it_is_about(office: Office) -> None:
    (leaked,) = office.launched(1)
    (finding,) = office.audit()
    assert str(finding).startswith(f"leaked: {leaked}: lives, and its request req-1 is unknown")
    assert replace(finding, rule="ghost") != finding
