"""What cloud and records do not agree on, for every provider API on the strict AWS: by itself, and by a person."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.session import Session

from hfcore.models import MachineStatus
from hfcore.store import open_store
from hfcore.testing.aws import IMAGE, StrictAws
from hfcore.testing.aws.faults import OTHER_ACCOUNT
from hfcore.testing.aws.protocol import read_tags, tag_list
from hfcore.testing.aws.world import ACCOUNT
from hfcore.testing.site import CASES, Document, ForkedSite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hfcore.testing.aws.instances import Instance
    from hfcore.testing.forks import Forks

MINUTE = 60.0
PERIOD, MARGIN, DEADLINE = 16 * MINUTE, 11 * MINUTE, 31 * MINUTE
OURS, OTHERS = "owner-a", "owner-b"
TIMINGS = {"boot_seconds": 0.0, "shutdown_seconds": 0.0, "fill_seconds": 1e-6, "replace_seconds": 1e-6}
VERBS = ("getAvailableTemplates", "getRequestStatus", "getReturnRequests", "requestMachines", "requestReturnMachines")


@pytest.fixture(scope="module")
def started() -> Iterator[StrictAws]:
    with StrictAws(**TIMINGS, aged_out_seconds=3600) as found:
        yield found


@pytest.fixture
def aws(started: StrictAws) -> Iterator[StrictAws]:
    started.reset()
    yield started
    assert not started.violations


class Owned(ForkedSite):
    """A provider instance with an owner id of its own choice, and the command line of a person."""

    owner = OURS

    def environment(self, more: Any = None) -> dict[str, str]:  # noqa: ANN401 - as of the base
        return super().environment({"HFCORE_OWNER": self.owner, **(more or {})})

    def reconcile(self, *words: str, code: int = 0, env: dict[str, str] | None = None) -> Document:
        """Run `hfcore reconcile`, and give its JSON; each item by its id is under `by_id`."""
        ended = self.start("", words=("reconcile", "-o", "json", *words), env=env).wait()
        assert ended.code == code, ended
        found: Document = ended.answer
        return found | {"by_id": {one["resource_id"]: one for one in found.get("items", ())}}

    def remember(self) -> None:
        """Poll an id that was asked for, from which on the period of the run that nobody asks for counts."""
        self.status(self.request("OnDemand-Small", 1))

    def pass_time(self, seconds: float) -> None:
        self.aws.advance(seconds)
        for site in self.together:
            site.ahead += seconds

    @property
    def together(self) -> list[Owned]:
        return [self, *self.others]

    others: tuple[Owned, ...] = ()

    def logged(self) -> str:
        return "".join(one.read_text() for one in self.log.iterdir())

    def all_of_ours(self) -> set[str]:
        """Name all that stands in AWS under our owner tag."""
        region = self.aws.region()
        fleets = [one for one in (*region.fleets.values(), *region.spot_fleets.values()) if not one.is_over]
        named = {one.id: one.tags for one in fleets} | {
            name: read_tags(one.params["Tags"]) for name, one in region.groups.items()
        }
        named |= {one.id: one.tags for one in self.aws.live_instances()}
        return {name for name, tags in named.items() if tags.get("hfcore:owner") == self.owner}


@pytest.fixture
def site(aws: StrictAws, forks: Forks, tmp_path: Path) -> Owned:
    found = Owned(tmp_path / "site", aws, forks)
    assert found.run("getAvailableTemplates").code == 0  # makes its store
    return found


@pytest.fixture
def lost(site: Owned, aws: StrictAws, forks: Forks, tmp_path: Path) -> Owned:
    """Give an instance of the same owner, whose records the other one does not have."""
    found = Owned(tmp_path / "lost", aws, forks)
    site.others = (found,)
    site.pass_time(2)  # AWS tells some times in whole seconds
    return found


def launch(
    aws: StrictAws, count: int = 1, *, region: str = "us-east-1", account: str = ACCOUNT, **tags: str
) -> list[str]:
    """Launch instances as somebody does who is not hfcore; give the ids."""
    client = Session().create_client(
        "ec2", region, endpoint_url=aws.endpoint_url, aws_access_key_id=f"AKIAAWS0{account}",
        aws_secret_access_key="strict-aws",
    )  # fmt: skip
    tagged = [{"Key": key.replace("_", ":", 1).replace("_", "-"), "Value": value} for key, value in tags.items()]
    answer = client.run_instances(
        ImageId=IMAGE, InstanceType="t3.medium", MinCount=count, MaxCount=count,
        SubnetId=next(iter(aws.region(region, account).subnets)),
        TagSpecifications=[{"ResourceType": "instance", "Tags": tagged}],
    )  # fmt: skip
    aws.advance(1)
    return [one["InstanceId"] for one in answer["Instances"]]


def tags_of(site: Owned, request_id: str) -> dict[str, str]:
    return {"hfcore_owner": site.owner, "hfcore_request_id": request_id, "hfcore_template_id": "OnDemand-Small"}


def give_to(owner: str, instance: Instance) -> None:
    """Let an instance carry another owner's tag."""
    instance.described["Tags"], instance.fragment = tag_list(instance.tags | {"hfcore:owner": owner}), None


def meta(site: Owned, **changed: str) -> None:
    path = site.data / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def say_gone(site: Owned, instance_id: str, *, told: bool = True) -> None:
    """Let the records say of a machine that it is gone, as after a fault that lasted; `told`: it was ended, too."""
    store = open_store(site.data, now=datetime.now(UTC))
    with store.transaction() as state:
        machine = state.machine(instance_id)
        assert machine is not None
        state.save_batch([replace(machine, status=MachineStatus.TERMINATED, discarded=told)])


@pytest.mark.parametrize("name", CASES)
def test_what_no_record_knows_is_named_and_ended_by_a_persons_leave_alone(site: Owned, lost: Owned, name: str) -> None:
    lost.complete(CASES[name].template_id, 2)
    lost.request(CASES[name].template_id, 1)
    site.pass_time(MARGIN)
    standing = site.all_of_ours()
    found = site.reconcile("--dry-run")
    assert standing - {one for one in standing if one.startswith("fleet-")} <= found["by_id"].keys()
    unknown = [one for one in found["items"] if one["kind"] != "launch-template"]
    assert {(one["proposed"], one["leave"]) for one in unknown} == {("end", "--end-unknown")}
    assert all(one["why"].startswith("no record knows its request req-") for one in unknown)
    site.reconcile()
    site.reconcile("--end-unknown", code=1)  # nobody has agreed
    assert site.all_of_ours() == standing
    done = site.reconcile("--end-unknown", "--yes")
    assert {one["outcome"] for one in done["items"] if one["leave"]} == {"done"}
    site.pass_time(MINUTE)
    site.reconcile("--end-unknown", "--yes")  # now that nothing needs them, the launch templates
    left = site.reconcile("--dry-run")
    assert not [one for one in left["items"] if one["leave"]], left
    assert not site.live()
    assert not {one for one in site.all_of_ours() if not one.startswith("fleet-")}
    assert not list((site.data / "journal").glob("[!.]*"))


def test_only_so_much_of_what_is_unknown_is_ended_in_one_run_the_oldest_first(site: Owned, lost: Owned) -> None:
    lost.complete("OnDemand-Small", 1)
    oldest = site.live()
    site.pass_time(MINUTE)
    lost.request("OnDemand-Small", 3)
    site.pass_time(MARGIN)
    site.reconcile("--end-unknown", "--yes", "--most", "1")
    assert len(site.live()) == 3
    assert not site.live() & oldest


def test_a_person_sees_a_table_with_what_is_proposed_and_why(site: Owned, lost: Owned) -> None:
    nothing = site.start("", words=("reconcile", "-o", "table")).wait()
    assert (nothing.code, nothing.stdout) == (0, b"cloud and records agree: 0 of ours in the cloud\n")
    lost.complete("OnDemand-Small", 1)
    site.pass_time(MARGIN)
    ended = site.start("", words=("reconcile", "-o", "table", "--dry-run")).wait()
    heading, *rows = ended.stdout.decode().splitlines()
    assert heading.split() == ["RESOURCE", "REQUEST", "PROPOSED", "WHY", "OUTCOME"]
    assert rows[0].split()[0] in site.live()
    assert "no record knows its request req-" in rows[0]
    assert "instance in us-east-1, running" in rows[1]
    assert "--end-unknown" in rows[1]
    refused = site.start("", words=("reconcile", "-o", "table", "--end-unknown")).wait()
    assert refused.code == 1
    assert "nobody has agreed: 1 instance that no known request needs: end or remove it?" in refused.stderr.decode()


def test_nothing_is_judged_that_is_younger_than_the_longest_call(site: Owned, lost: Owned) -> None:
    lost.complete("OnDemand-Small", 2)
    site.pass_time(9 * MINUTE)
    assert site.reconcile("--end-unknown", "--yes")["items"] == []
    assert len(site.live()) == 2


def test_a_group_that_nobody_knows_is_stopped_though_it_has_just_replaced_a_machine(site: Owned, lost: Owned) -> None:
    lost.request("Group", 2)
    site.wait_for_running(2)
    site.pass_time(MARGIN)
    before = site.live()
    site.aws.kill(min(before))
    site.pass_time(1)
    fresh = site.live() - before
    done = site.reconcile("--end-unknown", "--yes", code=1)["items"]
    assert [one["outcome"] for one in done if one["kind"] == "group"] == [
        "it launches nothing more; machines that stand: 1"
    ]
    assert site.live() == fresh
    site.pass_time(MARGIN)
    site.reconcile("--end-unknown", "--yes")
    assert site.all_of_ours() == set()


def test_what_is_older_than_the_store_is_kept(lost: Owned, aws: StrictAws, forks: Forks, tmp_path: Path) -> None:
    lost.complete("OnDemand-Small", 2)
    lost.pass_time(MARGIN)
    site = Owned(tmp_path / "new", aws, forks)
    site.ahead = lost.ahead
    found = site.reconcile("--end-unknown", "--yes")
    assert {one["proposed"] for one in found["items"]} == {"keep"}
    assert "older than this store" in found["items"][0]["why"]
    assert len(site.live()) == 2


def test_while_the_records_are_an_older_copy_nothing_is_done(site: Owned, lost: Owned) -> None:
    lost.complete("OnDemand-Small", 2)
    meta(site, restored_at="2026-01-01T00:00:00Z")
    site.pass_time(MARGIN)
    found = site.reconcile("--end-unknown", "--yes")
    assert {one["proposed"] for one in found["items"]} == {"keep"}
    assert "an older copy of the records was taken at 2026-01-01T00:00:00Z" in found["doubt"]
    assert len(site.live()) == 2


def put_back(site: Owned, copy: Path) -> None:
    shutil.rmtree(site.data)
    shutil.copytree(copy / "data", site.data)


def put_back_two_files(site: Owned, copy: Path) -> None:
    for name in ("storage.json", "machines.json"):
        shutil.copy2(copy / "data" / name, site.data / name)
        shutil.copy2(copy / "data" / name, site.data / f"{name}.last")


def put_back_everything_elsewhere(site: Owned, copy: Path) -> None:
    site.work.rename(site.work.with_name("gone"))
    shutil.copytree(copy, site.work)


@pytest.mark.parametrize("restore", [put_back, put_back_two_files, put_back_everything_elsewhere])
@pytest.mark.parametrize("before", [1, 0])
def test_where_a_person_has_put_an_older_store_in_place_nothing_is_ended_without_that_persons_word(
    site: Owned, tmp_path: Path, restore: Callable[[Owned, Path], None], before: int
) -> None:
    for _ in range(before):
        site.remember()
    shutil.copytree(site.work, tmp_path / "copy")
    site.pass_time(2)
    site.request("OnDemand-Small", 2)
    standing = site.live()
    restore(site, tmp_path / "copy")
    site.request("OnDemand-Small", 1)  # the doubt outlives what is stored later
    site.pass_time(PERIOD)
    site.status(next(iter(site.stored())))
    found = site.reconcile("--end-unknown", "--yes")
    assert {one["proposed"] for one in found["items"] if one["kind"] == "instance"} == {"keep"}
    assert "the records are not those that were written here last" in found["doubt"]
    assert standing <= site.live()
    done = site.reconcile("--end-unknown", "--yes", "--trust-records")
    assert done["doubt"] == ""
    assert len(site.live() & standing) == before  # of the request that the copy has
    site.request("OnDemand-Small", 1)
    assert site.reconcile("--dry-run")["doubt"] == ""


def damage(site: Owned, copy: Path) -> None:
    shutil.copy2(copy / "data" / "storage.json", site.data / "storage.json.last")
    (site.data / "storage.json").write_text("{")
    assert site.start("", words=("store", "repair", "--yes")).wait().code == 0


@pytest.mark.parametrize("restore", [put_back, damage])
@pytest.mark.parametrize("case", ["OnDemand-Small", "Group"])
def test_an_older_store_ends_no_machines_whose_request_nobody_had_asked_about_by_then(
    site: Owned, tmp_path: Path, restore: Callable[[Owned, Path], None], case: str
) -> None:
    request_id = site.request(case, 2)
    shutil.copytree(site.work, tmp_path / "copy")
    site.pass_time(2)
    assert site.status(request_id)["status"] == "complete"
    standing = site.live()
    restore(site, tmp_path / "copy")
    for _ in range(3):
        site.pass_time(PERIOD)
        site.statuses(site.request("OnDemand-Small", 1))
    assert len(standing) == 2
    assert standing <= site.live()
    site.reconcile("--trust-records")
    site.pass_time(PERIOD)
    site.statuses(site.request("OnDemand-Small", 1))
    assert standing <= site.live()


@pytest.mark.parametrize("name", ["EC2Fleet-maintain", "SpotFleet"])
def test_machines_that_a_plug_in_may_have_launched_which_is_switched_off_are_kept(
    site: Owned, lost: Owned, name: str
) -> None:
    lost.request(CASES[name].template_id, 2)
    site.wait_for_running(2)
    site.pass_time(MARGIN)
    before = site.live()
    off = {"HFCORE_DISABLED_PLUGINS": name.partition("-")[0]}
    found = site.reconcile("--end-unknown", "--yes", env=off)["by_id"]
    assert all("is switched off: " + off["HFCORE_DISABLED_PLUGINS"] in found[one]["why"] for one in before)
    site.pass_time(MINUTE)
    assert site.live() == before


@pytest.mark.parametrize("emptied", [("storage.json", "machines.json"), ("machines.json", "storage.json")])
def test_while_records_were_taken_out_by_hand_nothing_is_done(site: Owned, emptied: tuple[str, str]) -> None:
    request_id, machines = site.complete("OnDemand-Small", 1)
    for name in emptied:
        (site.data / name).write_text("{}")
    (site.data / f"{emptied[1]}.last").write_text("{}")
    site.pass_time(MARGIN)
    found = site.reconcile("--end-unknown", "--yes")
    assert found["by_id"][machines[0]["machineId"]]["proposed"] == "keep"
    assert f"before the last change: 1, as {request_id}" in found["doubt"]
    assert len(site.live()) == 1


def test_what_an_unknown_request_has_in_two_regions_is_ended_in_both(site: Owned, aws: StrictAws) -> None:
    site.complete("OnDemand-Small", 1)
    site.put("prov_config.json", {"AWS_REGION": "us-west-2"})
    site.pass_time(2)  # AWS tells some times in whole seconds
    for region in ("us-east-1", "us-west-2"):
        launch(aws, region=region, **tags_of(site, "req-lost"))
    site.pass_time(MARGIN)
    done = site.reconcile("--end-unknown", "--yes")
    assert [one["outcome"] for one in done["items"]] == ["done", "done"]
    assert len(site.live()) == 1


@pytest.mark.parametrize("standing", [True, False])
def test_another_account_than_that_of_the_records_is_named_and_nothing_is_done_there(
    site: Owned, aws: StrictAws, *, standing: bool
) -> None:
    site.complete("OnDemand-Small", 1)
    its, wrong = site.stored(), aws.environment(account=OTHER_ACCOUNT)
    if standing:
        launch(aws, account=OTHER_ACCOUNT, **tags_of(site, "req-lost"))
    before = site.live()
    site.pass_time(MARGIN)
    found = site.reconcile("--end-unknown", "--yes", code=1, env=wrong)
    assert f"account {OTHER_ACCOUNT} has answered, requests there live in {ACCOUNT}" in found["unlisted"][0]
    assert [one["proposed"] for one in found["items"]] == ["keep"] * standing
    assert (site.live(), site.stored()) == (before, its)


def test_a_store_of_another_schema_stops_it(site: Owned, lost: Owned) -> None:
    lost.complete("OnDemand-Small", 1)
    meta(site, schema=99)  # type: ignore[arg-type]
    site.pass_time(MARGIN)
    ended = site.start("", words=("reconcile", "--end-unknown", "--yes")).wait()
    assert ended.code == 1
    assert b"HF4002" in ended.stderr
    assert len(site.live()) == 1


def test_where_not_all_can_be_listed_nothing_unknown_is_ended(site: Owned, lost: Owned) -> None:
    lost.complete("OnDemand-Small", 1)
    site.pass_time(MARGIN)
    site.aws.faults.add("error:UnauthorizedOperation:DescribeSpotFleetRequests")
    found = site.reconcile("--end-unknown", "--yes", code=1)
    assert {one["proposed"] for one in found["items"]} == {"keep"}
    assert "SpotFleet: UnauthorizedOperation" in found["unlisted"][0]
    assert len(site.live()) == 1


def test_a_machine_that_the_cloud_does_not_list_is_looked_for(site: Owned) -> None:
    request_id, machines = site.complete("OnDemand-Small", 2)
    site.aws.kill(machines[0]["machineId"])
    site.pass_time(2 * 3600)
    proposed = site.reconcile("--dry-run")["by_id"]
    assert proposed[machines[0]["machineId"]]["proposed"] == "look again"
    assert proposed.keys() == {machines[0]["machineId"]}
    site.reconcile()
    assert site.machines()[machines[0]["machineId"]]["status"] == "terminated"
    assert site.status(request_id)["status"] == "complete"


def test_a_shared_launch_template_goes_once_it_is_long_unused_and_a_person_says_so(site: Owned) -> None:
    _, machines = site.complete("OnDemand-Small", 1)
    site.poll_until(site.give_back(machines))
    site.pass_time(31 * 86400)
    named = [one for one in site.reconcile("--end-unknown", "--yes")["items"] if one["kind"] == "launch-template"]
    assert [(one["proposed"], one["leave"], one["outcome"]) for one in named] == [("remove", "--unused-templates", "")]
    assert "last asked for 31 days ago" in named[0]["why"]
    site.reconcile("--unused-templates", code=1)
    assert len(site.aws.region().templates) == 1
    site.reconcile("--unused-templates", "--yes")
    assert not site.aws.region().templates
    assert len(site.complete("OnDemand-Small", 1)[1]) == 1  # it is made anew


class TestByItself:
    def test_an_open_request_gets_what_carries_its_tag(self, site: Owned) -> None:
        site.aws.set_capacity(*CASES["ASG"].pool, 0)
        request_id = site.request("Group", 2)
        site.status(request_id)
        late = launch(site.aws, **tags_of(site, request_id))[0]
        site.pass_time(PERIOD)
        site.status(request_id)
        assert late in site.stored()[request_id]["machine_ids"]
        assert f"reconcile: adopt instance {late}" in site.logged()
        assert late in site.live()

    def test_what_belongs_to_an_ended_request_is_ended(self, site: Owned) -> None:
        request_id, machines = site.complete("OnDemand-Small", 1)
        late = launch(site.aws, **tags_of(site, request_id))[0]
        site.pass_time(PERIOD)
        site.status(request_id)
        assert site.live() == {machines[0]["machineId"]}
        assert f"reconcile: end instance {late}: its request is completed without it" in site.logged()

    @pytest.mark.parametrize("name", CASES)
    def test_a_machine_recorded_as_gone_and_seen_alive_again_is_ended_if_it_was_told_to(
        self, site: Owned, name: str
    ) -> None:
        request_id, machines = site.complete(CASES[name].template_id, 3)
        ended, missed, stays = sorted(one["machineId"] for one in machines)
        say_gone(site, ended)
        say_gone(site, missed, told=False)
        for _ in range(2):
            site.pass_time(PERIOD)
            site.status(request_id)
            assert site.live() == {missed, stays}
        assert f"reconcile: instance {missed} stands: it is recorded as terminated, and lives, though" in site.logged()
        site.reconcile("--end-unknown", "--yes")
        assert site.live() == {stays}

    def test_a_resource_that_an_ended_request_does_not_know_is_ended(self, site: Owned) -> None:
        request_id, machines = site.complete("Group", 1)
        store = open_store(site.data, now=datetime.now(UTC))
        with store.transaction() as state:
            request = state.request(request_id)
            assert request is not None
            state.save_request(replace(request, resource_ids=("hf-other",)))
        assert len(site.aws.region().groups) == 1
        say_gone(site, machines[0]["machineId"])
        site.pass_time(PERIOD)
        site.status(request_id)
        assert not site.live()
        assert not site.aws.region().groups

    def test_of_an_unknown_request_it_is_only_told(self, site: Owned, lost: Owned) -> None:
        lost.complete("Group", 1)
        site.remember()
        standing = site.live()
        site.pass_time(PERIOD)
        site.status(next(iter(site.stored())))
        assert standing <= site.live()
        unknown = next(iter(lost.machines()))
        assert f"reconcile: instance {unknown} stands: no record knows its request" in site.logged()

    def test_it_happens_at_most_once_a_period_whoever_polls(self, site: Owned) -> None:
        def listed() -> int:
            return sum(call.operation == "DescribeLaunchTemplates" for call in site.aws.calls)

        request_id, _ = site.complete("OnDemand-Small", 1)
        before = listed()
        for _ in range(4):
            site.pass_time(4.5 * MINUTE)
            running = [site.start("getRequestStatus", {"requests": [{"requestId": request_id}]}) for _ in range(3)]
            assert [one.wait().code for one in running] == [0, 0, 0]
        assert listed() == before + 1

    def test_a_setting_switches_it_off(self, site: Owned) -> None:
        request_id, machines = site.complete("OnDemand-Small", 1)
        launch(site.aws, **tags_of(site, request_id))
        site.pass_time(PERIOD)
        site.status(request_id, env={"HFCORE_RECONCILE_MINUTES": "0"})
        assert len(site.live()) == 2
        assert len(machines) == 1

    def test_while_the_records_are_an_older_copy_it_does_nothing(self, site: Owned) -> None:
        request_id, _ = site.complete("OnDemand-Small", 1)
        launch(site.aws, **tags_of(site, request_id))
        meta(site, restored_at="2026-01-01T00:00:00Z")
        site.pass_time(PERIOD)
        site.status(request_id)
        assert len(site.live()) == 2


class TestTwoOwners:
    @pytest.fixture
    def other(self, site: Owned, aws: StrictAws, forks: Forks, tmp_path: Path) -> Owned:
        """Give a provider instance of the same name, with another owner, on the same account."""
        found = Owned(tmp_path / "other", aws, forks)
        found.owner = OTHERS
        site.others, found.others = (found,), (site,)
        return found

    @pytest.mark.parametrize("name", CASES)
    def test_neither_ever_touches_what_the_others_are(self, site: Owned, other: Owned, name: str) -> None:
        template_id = CASES[name].template_id
        theirs, their_machines = other.complete(template_id, 2)
        standing = other.all_of_ours()
        before = {one.id: one.described for one in site.aws.live_instances()}
        ours = site.request(template_id, 2)
        site.wait_for_running(4)
        machines = site.poll_until(ours)["machines"]
        for _ in range(2):
            assert site.run("getReturnRequests", {"machines": []}).answer["requests"] == []
            assert "unknown request id" in site.status(theirs)["message"]
            site.reconcile("--end-unknown", "--unused-templates", "--yes")
            refused = site.run("requestReturnMachines", {"machines": their_machines})
            assert "not ours by the owner tag, refused and left alone" in refused.message
            site.pass_time(DEADLINE)
        site.poll_until(site.give_back(machines))
        site.pass_time(DEADLINE)
        site.reconcile("--end-unknown", "--unused-templates", "--yes")
        assert other.all_of_ours() == standing
        assert {one.id: one.described for one in site.aws.live_instances()} == before
        assert not site.all_of_ours()
        assert other.status(theirs)["status"] == "complete"

    @pytest.mark.parametrize("name", CASES)
    def test_a_machine_that_a_poll_has_shown_as_another_owners_is_not_ended_by_a_return(
        self, site: Owned, name: str
    ) -> None:
        request_id, machines = site.complete(CASES[name].template_id, 2)
        taken = site.aws.region().instances[machines[0]["machineId"]]
        give_to(OTHERS, taken)
        shown = {one["machineId"]: one["message"] for one in site.status(request_id)["machines"]}
        assert shown[taken.id] == "it does not carry our owner tag any more: left alone"
        refused = site.run("requestReturnMachines", {"machines": machines})
        assert f"not ours by the owner tag, refused and left alone: {taken.id}" in refused.message
        assert site.live() == {taken.id}
        give_to(OURS, taken)
        site.status(request_id)
        site.give_back(machines)
        assert not site.live()

    def test_a_machine_that_another_owner_has_taken_over_is_not_ended_by_a_poll(self, site: Owned) -> None:
        _, machines = site.complete("OnDemand-Small", 2)
        taken = site.aws.region().instances[machines[0]["machineId"]]
        site.aws.faults.add("error:UnauthorizedOperation:TerminateInstances")
        return_id = site.give_back(machines)
        site.aws.faults.clear()
        give_to(OTHERS, taken)
        for _ in range(2):
            answer = site.status(return_id)
            assert f"{taken.id} does not carry our owner tag any more: left alone" in answer["message"]
            assert (answer["status"], site.live()) == ("running", {taken.id})

    def test_instances_of_somebody_else_with_our_names_and_request_ids_are_left_alone(self, site: Owned) -> None:
        request_id, machines = site.complete("OnDemand-Small", 1)
        its = {"hfcore_request_id": request_id, "hfcore_template_id": "OnDemand-Small", "hfcore_provider": "awsinst"}
        strangers = {*launch(site.aws, **its), *launch(site.aws, hfcore_owner=OTHERS, **its)}
        before = {one.id: one.described for one in site.aws.live_instances() if one.id in strangers}
        site.pass_time(DEADLINE)
        for each in (
            ("getAvailableTemplates", None),
            ("getRequestStatus", {"requests": [{"requestId": request_id}]}),
            ("getReturnRequests", {"machines": [{"machineId": one} for one in sorted(strangers)]}),
            ("requestReturnMachines", {"machines": [{"machineId": one} for one in sorted(strangers)]}),
        ):
            assert site.run(*each).code == 0
        site.reconcile("--end-unknown", "--unused-templates", "--yes")
        site.poll_until(site.give_back(machines))
        site.pass_time(DEADLINE)
        site.status(request_id)
        site.reconcile("--end-unknown", "--yes")
        assert site.live() == strangers
        assert {one.id: one.described for one in site.aws.live_instances()} == before
        stored: dict[str, Any] = site.machines()
        assert not strangers & stored.keys()


def test_a_region_in_which_only_archived_requests_have_lived_is_listed_too(site: Owned, aws: StrictAws) -> None:
    request_id, machines = site.complete("OnDemand-Small", 1)
    assert site.poll_until(site.give_back([{"machineId": machines[0]["machineId"]}]))["status"] == "complete"
    (leaked,) = launch(aws, **tags_of(site, request_id))
    site.put("prov_config.json", {"AWS_REGION": "us-west-2"})
    site.pass_time(26 * 3600)
    assert site.start("", words=("store", "trim", "--older-than", "0")).wait().code == 0
    assert site.stored() == {}

    found = site.reconcile()["by_id"][leaked]

    assert (found["region"], found["proposed"], found["outcome"]) == ("us-east-1", "end", "done")
    assert site.live() == set()


@pytest.mark.parametrize("name", ["ASG", "EC2Fleet-maintain", "EC2Fleet-request", "SpotFleet"])
def test_what_is_to_end_is_no_more_than_was_asked_for_and_what_launches_is_stopped_first(
    site: Owned, lost: Owned, name: str
) -> None:
    lost.request(CASES[name].template_id, 3)
    site.pass_time(1200)
    live = []
    for _ in range(9):
        site.start("", words=("reconcile", "--end-unknown", "--yes", "--most", "1")).wait()
        live.append(len(site.live()))
        site.pass_time(61)
    assert live[:3] == [2, 1, 0], live
    assert site.all_of_ours() == set()
