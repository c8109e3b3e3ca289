"""`hfcore doctor` and `hfcore iam-policy` as people run them, on the strict AWS."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.cli.output import ExitCode
from hfcore.testing.aws import StrictAws
from hfcore.testing.aws.faults import OTHER_ACCOUNT
from hfcore.testing.site import templates as templates_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Ended

    Cli = Callable[..., Ended]

ACCOUNT, ACCOUNT_ROW = "123456789012", "account and region"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictAws]:
    with StrictAws() as found:
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        yield found
        assert not found.violations


@pytest.fixture
def provider(aws: StrictAws, tmp_path: Path, cli: Cli) -> Path:
    """A provider instance as `init` lays it out, with one template for each API."""
    folder = tmp_path / "awsinst"
    assert cli("init", "--provider", folder).code == 0
    offer(folder, *templates_of(aws)[:3])
    return folder


def offer(folder: Path, *templates: dict[str, Any]) -> None:
    (folder / "conf" / "awsinstprov_templates.json").write_text(json.dumps({"templates": templates}))


def rows(ended: Ended) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in ended.items:
        found.setdefault(one["name"], []).append(one["status"])
    return found


def test_an_instance_that_is_right_ends_with_0_and_changes_nothing(cli: Cli, provider: Path, aws: StrictAws) -> None:
    before = sorted(provider.rglob("*"))
    ended = cli("doctor", "--provider", provider, "-o", "json")
    assert ended.code == ExitCode.OK, [one for one in ended.items if one["status"] == "error"]
    assert (ended.document["schema"], ended.document["errors"]) == ("hfcore/doctor/v1", 0)
    found = rows(ended)
    for name in ("Python", "folder work", "locking", "scripts", "credentials", "clock", "template Group: launch"):
        assert found[name] == ["ok"], name
    assert found["store"] == ["not checked"]
    assert all(one["message"] for one in ended.items)
    assert sorted(provider.rglob("*")) == before
    assert not {call.operation for call in aws.calls if call.outcome == "ok"} & {"RunInstances", "CreateLaunchTemplate"}


def test_the_page_on_the_doctor_has_every_row(cli: Cli, provider: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "doctor.md"
    rows_of_page = re.findall(r"^\| (`.*?) \|", page.read_text().split("<!-- rows:")[1], re.MULTILINE)
    named = re.findall(r"`(.+?)`", "".join(rows_of_page))
    listed = {re.sub(r" (NAME|SERVICE|ID.*)$", "", name) for name in named}
    (provider / "conf" / "credentials").touch()
    (provider / "conf" / "hfcore.toml").write_text('credential_file = "credentials"')
    names = set(rows(cli("doctor", "--provider", provider, "-o", "json")))
    assert {name for name in names if name not in listed and name.split(" ")[0] not in listed} == set()
    of_host_factory = {"Host Factory's provider", "Host Factory's plug-in"}
    assert {one for one in listed - of_host_factory if not any(name.startswith(one) for name in names)} == set()


def test_something_wrong_in_aws_ends_with_1_and_says_what_to_do(cli: Cli, provider: Path, aws: StrictAws) -> None:
    offer(provider, templates_of(aws)[0] | {"keyName": "none"})
    ended = cli("doctor", "--provider", provider, "-o", "json")
    assert ended.code == ExitCode.FAILED
    (wrong,) = (one for one in ended.items if one["status"] == "error")
    assert wrong["name"] == "template OnDemand-Small: key pair"
    assert wrong["hint"]


def test_the_table_has_a_column_for_what_to_do(cli: Cli, provider: Path) -> None:
    ended = cli("doctor", "--provider", provider, "--offline", "-o", "table")
    assert [word in ended.out for word in ("CHECK", "STATUS", "FOUND", "WHAT TO DO")] == [True] * 4


def test_offline_asks_nobody(cli: Cli, provider: Path, aws: StrictAws) -> None:
    ended = cli("doctor", "--provider", provider, "--offline", "-o", "json")
    assert rows(ended)["clouds"] == ["not checked"]
    assert aws.calls == []


def test_what_there_is_no_time_left_for_is_not_checked(
    cli: Cli, provider: Path, aws: StrictAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfcore.cli.doctor._LONGEST_CALL", 8)
    aws.faults.add("latency:DescribeImages=4")
    begun = time.monotonic()
    ended = cli("doctor", "--provider", provider, "-o", "json")
    assert time.monotonic() - begun < 15
    late = {one["name"] for one in ended.items if one["message"] == "out of time"}
    assert any(name.startswith("template ") for name in late)
    assert {one["status"] for one in ended.items if one["name"] in late} == {"not checked"}
    assert ended.code == ExitCode.OK


def test_a_fleet_of_ours_is_what_changes_of_fleets_are_tried_on(cli: Cli, provider: Path, aws: StrictAws) -> None:
    fleet = next(one for one in templates_of(aws) if one.get("fleetType") == "maintain")
    offer(provider, fleet)
    assert cli("hostfactory", "requestMachines", fleet["templateId"], "1", "--provider", provider).code == 0
    aws.advance(60)
    aws.faults.add("error:UnauthorizedOperation:DeleteFleets,ModifyFleet,CreateFleet,DeleteLaunchTemplate")
    before = len(aws.live_instances())
    ended = cli("doctor", "--provider", provider, "-o", "json")
    (wrong,) = (one for one in ended.items if one["name"] == "IAM actions" and one["status"] == "error")
    told = "not allowed: ec2:CreateFleet, ec2:DeleteFleets, ec2:DeleteLaunchTemplate, ec2:ModifyFleet"
    assert (wrong["message"], len(aws.live_instances())) == (told, before)


def test_wrong_credentials_leave_the_templates_unchecked(cli: Cli, provider: Path, aws: StrictAws) -> None:
    aws.faults.add("error:InvalidClientTokenId:GetCallerIdentity")
    ended = cli("doctor", "--provider", provider, "-o", "json")
    found = rows(ended)
    assert (ended.code, found["credentials"]) == (ExitCode.FAILED, ["error"])
    assert found["template Group: all that it names"] == ["not checked"]


def test_an_image_that_may_not_be_looked_up_is_an_error(cli: Cli, provider: Path, aws: StrictAws) -> None:
    offer(provider, templates_of(aws)[0] | {"imageId": "/aws/service/some/image"})
    aws.faults.add("error:AccessDeniedException:GetParameter")
    ended = cli("doctor", "--provider", provider, "-o", "json")
    wrong = {one["name"].split(": ")[1]: one for one in ended.items if one["status"] == "error"}
    assert (ended.code, sorted(wrong)) == (ExitCode.FAILED, ["image", "launch"])
    assert wrong["image"]["message"].startswith("AccessDeniedException (/aws/service/some/image)")
    assert "hfcore iam-policy" in wrong["image"]["hint"]


def test_requests_that_live_in_another_account_are_told_with_both_accounts(
    cli: Cli, provider: Path, aws: StrictAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        assert cli("hostfactory", "requestMachines", "OnDemand-Small", "1", "--provider", provider).code == 0
    (here,) = (one for one in cli("doctor", "--provider", provider, "-o", "json").items if one["name"] == ACCOUNT_ROW)
    for name, value in aws.environment(account=OTHER_ACCOUNT).items():
        monkeypatch.setenv(name, value)
    ended = cli("doctor", "--provider", provider, "-o", "json")
    (there,) = (one for one in ended.items if one["name"] == ACCOUNT_ROW)
    assert [here["status"], there["status"], ended.code] == ["ok", "error", ExitCode.FAILED]
    assert there["message"].startswith(f"account {OTHER_ACCOUNT}, region us-east-1; ")
    assert there["message"].endswith(f": 2 in account {ACCOUNT}")


def test_missing_rights_are_named(cli: Cli, provider: Path, aws: StrictAws) -> None:
    aws.faults.add("error:UnauthorizedOperation:DescribeFleetHistory")
    ended = cli("doctor", "--provider", provider, "-o", "json")
    (wrong,) = (one for one in ended.items if one["status"] == "error")
    assert (wrong["name"], "ec2:DescribeFleetHistory" in wrong["message"]) == ("IAM actions", True)


def test_without_an_instance_the_host_is_checked_all_the_same(cli: Cli) -> None:
    ended = cli("doctor", "-o", "json")
    found = rows(ended)
    assert (ended.code, found["Python"], found["provider instance"]) == (ExitCode.OK, ["ok"], ["not checked"])


def test_settings_that_can_t_be_read_are_a_row_and_not_the_end(cli: Cli, provider: Path) -> None:
    (provider / "conf" / "hfcore.toml").write_text("region = 7")
    ended = cli("doctor", "--provider", provider, "-o", "json")
    assert (ended.code, rows(ended)["settings"], rows(ended)["plug-in ASG"]) == (ExitCode.FAILED, ["error"], ["ok"])


def test_a_damaged_store_is_a_row_and_stays_as_it_is(cli: Cli, provider: Path) -> None:
    (provider / "work" / "data").mkdir()
    (provider / "work" / "data" / "meta.json").write_text("{")
    ended = cli("doctor", "--provider", provider, "-o", "json")
    assert (ended.code, rows(ended)["store"]) == (ExitCode.FAILED, ["error"])
    assert (provider / "work" / "data" / "meta.json").read_text() == "{"


def test_a_folder_that_may_not_be_looked_at_is_a_row(cli: Cli, provider: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/elsewhere")

    monkeypatch.setattr("hfcore.doctor.folder", forbidden)
    ended = cli("doctor", "--provider", provider, "--offline", "-o", "json")
    (work,) = (one for one in ended.items if one["name"] == "folder work")
    assert (work["status"], work["message"]) == ("error", "/elsewhere can't be looked at: Permission denied")


def test_no_region_is_an_error_that_says_what_to_set(cli: Cli, provider: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    (provider / "conf" / "awsinstprov_config.json").write_text("{}")
    ended = cli("doctor", "--provider", provider, "-o", "json")
    (wrong,) = (one for one in ended.items if one["status"] == "error")
    assert (wrong["name"], "AWS_REGION" in wrong["hint"]) == ("credentials", True)


def test_aws_out_of_reach_is_an_error(cli: Cli, provider: Path, aws: StrictAws) -> None:
    aws.faults.add("unavailable:GetCallerIdentity")
    found = rows(cli("doctor", "--provider", provider, "-o", "json"))
    assert (found["credentials"], found["endpoint sts"]) == (["not checked"], ["error"])
    assert found["template Group: all that it names"] == ["not checked"]


def test_a_plugin_that_can_t_check_has_rows_that_say_so(cli: Cli, provider: Path, good: str, aws: StrictAws) -> None:
    assert good
    offer(provider, templates_of(aws)[0] | {"providerApi": "Fake"})
    found = rows(cli("doctor", "--provider", provider, "-o", "json"))
    assert found["cloud fake"] == ["not checked"]
    assert found["template OnDemand-Small: all that it names"] == ["not checked"]


def test_no_template_file_is_a_row(cli: Cli, provider: Path) -> None:
    (provider / "conf" / "awsinstprov_templates.json").unlink()
    found = rows(cli("doctor", "--provider", provider, "-o", "json"))
    assert found["template files"] == ["error"]


class TestIamPolicy:
    def test_it_is_one_json_document_for_all_plugins(self, cli: Cli) -> None:
        ended = cli("iam-policy")
        assert (ended.code, ended.document["Version"]) == (ExitCode.OK, "2012-10-17")
        actions = {action for one in ended.document["Statement"] for action in one["Action"]}
        assert {"autoscaling:CreateAutoScalingGroup", "ec2:RequestSpotFleet", "iam:PassRole"} <= actions

    def test_plugins_are_named_in_any_case(self, cli: Cli) -> None:
        actions = {
            action for one in cli("iam-policy", "runinstances").document["Statement"] for action in one["Action"]
        }
        assert "ec2:RunInstances" in actions
        assert not any(action.startswith("autoscaling:") for action in actions)

    def test_of_an_instance_it_is_about_its_owner_and_without_a_queue_has_none(self, cli: Cli, provider: Path) -> None:
        (provider / "conf" / "hfcore.toml").write_text('owner = "grid-1"')
        document = cli("iam-policy", "--provider", provider).document
        assert '"aws:ResourceTag/hfcore:owner": "grid-1"' in json.dumps(document)
        assert "sqs:" not in json.dumps(document)

    def test_its_owner_is_that_of_the_store_where_the_settings_name_none(self, cli: Cli, provider: Path) -> None:
        data = provider / "work" / "data"
        data.mkdir(exist_ok=True)
        (data / "meta.json").write_text(json.dumps({"schema": 1, "owner": "of-the-store"}))
        assert "of-the-store" in cli("iam-policy", "--provider", provider).out

    def test_an_instance_without_an_owner_yet_is_warned_that_any_is_allowed(self, cli: Cli, provider: Path) -> None:
        ended = cli("iam-policy", "--provider", provider)
        assert (ended.code, "hfcore:owner" in ended.out) == (ExitCode.OK, True)
        assert "warning: this provider instance has no owner id before its first call" in ended.err
        (provider / "conf" / "hfcore.toml").write_text('owner = "grid-1"')
        assert cli("iam-policy", "--provider", provider).err == ""

    def test_a_plugin_without_a_policy_is_refused_by_name(self, cli: Cli, good: str) -> None:
        assert good
        ended = cli("iam-policy", "Fake")
        assert (ended.code, "plug-in of Fake has no policy" in ended.err) == (ExitCode.FAILED, True)

    def test_an_unknown_plugin_is_refused(self, cli: Cli) -> None:
        assert cli("iam-policy", "Nothing").code == ExitCode.PLUGIN
