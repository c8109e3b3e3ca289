"""A request lives where it was born: other regions, endpoints and accounts tell nothing of it, whatever its API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.audit import audit
from hfcore.testing.aws import StrictAws
from hfcore.testing.aws.faults import OTHER_ACCOUNT
from hfcore.testing.site import CASES, Document, ForkedSite, templates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.testing.forks import Forks

MINUTE = 60.0
TIMINGS = {"boot_seconds": 0.0, "shutdown_seconds": 0.0, "fill_seconds": 1e-6, "aged_out_seconds": 1e7}
AUTOMATIC_OFF = {"HFCORE_RECONCILE_MINUTES": "0"}


@pytest.fixture(scope="module")
def started() -> Iterator[StrictAws]:
    with StrictAws(**TIMINGS) as found:
        yield found


@pytest.fixture(scope="module")
def empty() -> Iterator[StrictAws]:
    """Give another endpoint of the same account, at which there is nothing."""
    with StrictAws(**TIMINGS) as found:
        yield found


@pytest.fixture
def site(started: StrictAws, forks: Forks, tmp_path: Path) -> Iterator[ForkedSite]:
    started.reset()
    found = ForkedSite(tmp_path / "site", started, forks)
    yield found
    found.status(next(iter(found.stored())))  # whoever was doubted is seen again
    assert audit(started, found.data, datetime.now(UTC) + timedelta(seconds=found.ahead)) == ()
    assert not started.violations


@pytest.fixture(params=CASES)
def template_id(request: pytest.FixtureRequest) -> str:
    return CASES[request.param].template_id


def results(answer: Document) -> list[str]:
    return [one["result"] for one in answer["machines"]]


def elsewhere(site: ForkedSite, empty: StrictAws) -> dict[str, str]:
    """Give the way to the empty endpoint, whatever the setting and the records say: by a proxy that looks into it."""
    return {"http_proxy": empty.endpoint_url, "HTTP_PROXY": empty.endpoint_url, **AUTOMATIC_OFF}


def test_another_region_in_the_settings_is_that_of_new_requests_only(site: ForkedSite, template_id: str) -> None:
    old, machines = site.complete(template_id, 2)
    site.put("prov_config.json", {"AWS_REGION": "us-west-2"})
    site.aws.world.calls.clear()
    assert results(site.status(old)) == ["succeed", "succeed"]
    assert {call.region for call in site.aws.calls} == {"us-east-1"}
    going = site.give_back(machines[:1])
    assert site.poll_until(going)["status"] == "complete"
    assert {call.region for call in site.aws.calls} == {"us-east-1"}
    text = json.dumps(templates(site.aws))
    here, there = site.aws.region(), site.aws.region("us-west-2")
    for mine, its in zip((*here.subnets, *here.security_groups), (*there.subnets, *there.security_groups), strict=True):
        text = text.replace(mine, its)
    site.put("prov_templates.json", {"templates": json.loads(text)})
    new = site.request(template_id, 1)
    assert results(site.poll_until(new)) == ["succeed"]
    assert [site.stored()[one]["region"] for one in (old, new)] == ["us-east-1", "us-west-2"]
    ended = [*machines[1:], *site.status(new)["machines"]]
    assert site.poll_until(site.give_back(ended))["status"] == "complete"  # one return, two regions
    assert not [one for each in (here, there) for one in each.instances.values() if one.live]


@pytest.mark.parametrize("name", [name for name in CASES if name != "ASG"])
def test_another_endpoint_in_the_settings_is_that_of_new_requests_only(
    site: ForkedSite, empty: StrictAws, name: str
) -> None:
    empty.reset()
    template_id = CASES[name].template_id
    here = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": site.aws.endpoint_url}
    site.put("prov_config.json", here)
    old, machines = site.complete(template_id, 2)
    site.put("prov_config.json", here | {"AWS_ENDPOINT_URL": empty.endpoint_url})
    assert results(site.status(old)) == ["succeed", "succeed"]
    new = site.request(template_id, 1)
    assert site.poll_until(site.give_back(machines))["status"] == "complete"
    assert not site.live()
    assert results(site.poll_until(new)) == ["succeed"]
    assert [one.live for one in empty.region().instances.values()] == [True]
    site.put("prov_config.json", here)
    assert results(site.status(new)) == ["succeed"]  # whatever the settings say now
    assert site.poll_until(site.give_back(site.status(new)["machines"]))["status"] == "complete"
    assert not [one for one in empty.region().instances.values() if one.live]


def test_an_answer_of_another_account_changes_nothing_and_is_said(site: ForkedSite, template_id: str) -> None:
    request_id, machines = site.complete(template_id, 2)
    given, kept = machines
    site.aws.faults.add("other-account")
    return_id = site.give_back([given], env=AUTOMATIC_OFF)
    for _ in range(3):
        site.pass_time(6 * MINUTE)
        shown, returned = site.statuses(request_id, return_id, env=AUTOMATIC_OFF)
        assert f"the answer came from account {OTHER_ACCOUNT}, the request lives in" in shown["message"]
        assert (returned["status"], shown["status"]) == ("running", "complete")
        assert kept["machineId"] in [one["machineId"] for one in shown["machines"] if one["result"] == "succeed"]
        assert site.run("getReturnRequests", env=AUTOMATIC_OFF).answer["requests"] == []
    assert len(site.live()) == 2
    site.aws.faults.clear()
    site.poll_until(return_id)
    assert site.live() == {kept["machineId"]}


def test_the_first_request_of_all_is_not_ended_by_another_accounts_answer(site: ForkedSite, template_id: str) -> None:
    request_id = site.request(template_id, 2)
    site.wait_for_running(2)
    site.aws.faults.add("other-account")
    for known in (True, False, False):
        if not known:  # as where no answer to its creation has told
            record = site.stored()[request_id] | {"account_id": ""}
            (site.data / "storage.json").write_text(json.dumps({request_id: record}))
        site.pass_time(6 * MINUTE)
        answer = site.status(request_id, env=AUTOMATIC_OFF)
        assert answer["status"] == "running"
        assert "fail" not in results(answer)
        assert f"account {OTHER_ACCOUNT}" in answer["message"]
        assert bool(site.stored()[request_id]["account_id"]) == known
    site.aws.faults.clear()
    assert results(site.poll_until(request_id)) == ["succeed", "succeed"]


def test_where_all_machines_vanish_a_second_look_five_minutes_later_decides(
    site: ForkedSite, empty: StrictAws, template_id: str
) -> None:
    request_id, machines = site.complete(template_id, 2)
    given, kept = machines
    wrong = elsewhere(site, empty)
    return_id = site.give_back([given], env=wrong)
    for _ in range(3):
        shown, returned = site.statuses(request_id, return_id, env=wrong)
        assert "of 2 machines thought alive was found" in shown["message"]
        assert "none of 1 machine thought alive was found: asked again before" in returned["message"]
        assert (returned["status"], set(results(returned))) == ("running", {"executing"})
        assert site.run("getReturnRequests", env=wrong).answer["requests"] == []
        site.pass_time(1.5 * MINUTE)
    site.poll_until(return_id)  # by the right way again
    assert site.live() == {kept["machineId"]}
    assert results(site.status(request_id)).count("succeed") == 2


def test_what_is_gone_at_the_second_look_is_gone_and_only_what_was_given_back_is_ended_if_it_is_seen_again(
    site: ForkedSite, empty: StrictAws, template_id: str
) -> None:
    request_id, machines = site.complete(template_id, 2)
    wrong = elsewhere(site, empty)
    return_id = site.give_back(machines[:1], env=wrong)
    site.statuses(request_id, return_id, env=wrong)
    site.pass_time(5.5 * MINUTE)
    shown, returned = site.statuses(request_id, return_id, env=wrong)
    assert returned["status"] == "complete"
    assert {one["status"] for one in shown["machines"]} == {"terminated"}
    assert len(site.live()) == 2
    site.status(request_id)
    site.pass_time(16 * MINUTE)
    site.status(request_id)  # what runs though its record says that it is gone may be in use, if it was not given back
    assert site.live() == {machines[1]["machineId"]}
    assert site.start("", words=("reconcile", "--end-unknown", "--yes")).wait().code == 0
    assert not site.live()
    site.pass_time(16 * MINUTE)
    site.status(request_id)  # and so are their launch templates
    if template_id == "Fleet-Instant":
        site.aws.region().fleets.clear()  # can't be listed, launches nothing and costs nothing


def test_what_launched_machines_that_are_only_missed_does_not_take_them_along(
    site: ForkedSite, template_id: str
) -> None:
    request_id, _ = site.complete(template_id, 2)
    site.pass_time(6 * MINUTE)
    live, instances = site.live(), site.aws.region().instances
    for _ in range(2):
        missed = {one: instances.pop(one) for one in live}
        shown = site.status(request_id)
        instances.update(missed)
        site.pass_time(6 * MINUTE)
    assert {one["status"] for one in shown["machines"]} == {"terminated"}
    site.status(request_id)
    assert site.live() == live
    for one in live:
        site.aws.kill(one)


def test_machines_do_not_count_as_gone_while_the_account_can_not_be_told(
    site: ForkedSite, empty: StrictAws, template_id: str
) -> None:
    request_id, _ = site.complete(template_id, 2)
    wrong = elsewhere(site, empty)
    empty.faults.add("error:AccessDenied:GetCallerIdentity")
    for _ in range(3):
        answer = site.status(request_id, env=wrong)
        assert results(answer) == ["succeed", "succeed"]
        assert "of 2 machines thought alive was found" in answer["message"]
        site.pass_time(6 * MINUTE)
    assert "as whether account 123456789012 has answered can't be told" in answer["message"]
    empty.faults.clear()
    site.aws.faults.add("other-account")
    site.status(request_id, env=AUTOMATIC_OFF)
    site.aws.faults.clear()
    answer = site.status(request_id, env=wrong)  # the first answer of its own account
    assert results(answer) == ["succeed", "succeed"]
    assert "asked again before they count as gone" in answer["message"]
