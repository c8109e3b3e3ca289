"""Which plug-in serves a template, and what becomes of requests whose plug-in is gone."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scripts.conftest import Case, Site, Venv

MYSTERY = {"Mystery": {"like": "OnDemand-Small", "providerApi": "Lambda"}}
BREAKS = "import a_library_that_is_not_there\n"
OLD = """
from hfcore.hookspecs import hookimpl
from hfcore.models import ProviderInfo

@hookimpl
def provider_info():
    return ProviderInfo(name="Old", hook_version=0, summary="Made for another hfcore.", cloud="aws")
"""


def asked(site: Site, template_id: str, env: dict[str, str] | None = None) -> str:
    """Ask for machines of a template that is refused; give the message, once nothing is known to be made."""
    ran = site.run("requestMachines", {"template": {"templateId": template_id, "machineCount": 2}}, env=env)
    assert ran.code == 1
    assert site.mutations() == []
    assert site.stored() == {}
    return ran.message


def test_an_unknown_api_falls_back_says_so_and_its_machines_are_found_and_returned(site: Site) -> None:
    site.write_templates(**MYSTERY)
    ran = site.run("requestMachines", {"template": {"templateId": "Mystery", "machineCount": 2}})
    assert ran.code == 0
    assert "Lambda" in ran.message
    assert "RunInstances instead" in ran.message
    request_id = ran.answer["requestId"]
    assert site.stored()[request_id]["provider_api"] == "RunInstances"
    site.wait_for_running(2)
    machines = site.poll_until(request_id)["machines"]
    return_id = site.give_back([{"machineId": one["machineId"]} for one in machines])
    site.aws.advance(60)
    assert site.poll_until(return_id)["status"] == "complete"
    assert site.live() == set()


def test_an_unknown_api_is_refused_where_the_settings_say_so(site: Site) -> None:
    site.write_templates(**MYSTERY)
    (site.conf / "hfcore.toml").write_text('fallback = "error"\n')
    message = asked(site, "Mystery")
    assert "Lambda" in message
    assert "not installed" in message
    listed = site.run("getAvailableTemplates").answer
    assert "Mystery" not in {one["templateId"] for one in listed["templates"]}
    assert "Mystery" in listed["message"], "a template that is left out is named"


def test_a_fallback_that_would_mean_something_else_is_refused(site: Site) -> None:
    site.write_templates(Odd={"like": "Fleet-Instant", "providerApi": "Lambda", "volumeType": "io1"})
    assert "volumeType" in asked(site, "Odd")


def test_a_disabled_plug_in_of_a_known_api_never_falls_back(site: Site) -> None:
    message = asked(site, "Group", env={"HFCORE_DISABLED_PLUGINS": "ASG"})
    assert "ASG" in message
    assert "disabled" in message


def test_a_broken_plug_in_of_a_known_api_never_falls_back_and_harms_no_other(
    own_venv: Venv, venv_site: Callable[..., Site]
) -> None:
    site = venv_site()
    own_venv.install("acme-broken", {"Broken": "acme_broken"}, {"acme_broken": BREAKS})
    own_venv.install("acme-old", {"Old": "acme_old"}, {"acme_old": OLD})
    own_venv.install("acme-asg", {"asg": "acme_broken"}, {})
    site.write_templates(Broken={"providerApi": "Broken"}, Old={"providerApi": "Old"})
    assert "a_library_that_is_not_there" in asked(site, "Broken")
    assert "hook version 0" in asked(site, "Old")
    clash = asked(site, "Group")
    assert "acme-asg and hfcore-aws-asg both claim" in clash
    assert len(site.complete("OnDemand-Small")[1]) == 2


APIS = ["ASG", "EC2Fleet-instant", "EC2Fleet-request", "EC2Fleet-maintain", "SpotFleet"]


@pytest.mark.parametrize("name", APIS)
def test_machines_of_a_plug_in_that_was_uninstalled_are_found_by_tag_and_nothing_is_called_gone(
    own_venv: Venv, venv_site: Callable[..., Site], cases: dict[str, Case], name: str
) -> None:
    case = cases[name]
    site = venv_site()
    request_id = site.request(case.template_id)
    running = site.wait_for_running(2)
    own_venv.uninstall(case.distribution)

    answer = site.status(request_id)
    assert sorted(one["machineId"] for one in answer["machines"]) == sorted(running)
    assert {(one["result"], one["status"]) for one in answer["machines"]} == {("succeed", "running")}
    assert "by tag" in answer["message"]
    assert case.distribution in answer["message"]

    site.aws.region().instances.clear()
    again = site.status(request_id)
    assert {one["result"] for one in again["machines"]} == {"succeed"}, "not found is unknown, never gone"
    assert site.run("getReturnRequests", {}).answer["requests"] == []


@pytest.mark.parametrize("name", ["ASG", "EC2Fleet-maintain"])
def test_a_return_to_a_resource_that_refills_is_refused_while_its_plug_in_is_uninstalled(
    own_venv: Venv, venv_site: Callable[..., Site], cases: dict[str, Case], name: str
) -> None:
    case = cases[name]
    site = venv_site(boot_seconds=3600)
    request_id = site.request(case.template_id)
    while len(site.live()) < 2:
        site.aws.advance(0.1)
    answer = site.status(request_id)
    assert (answer["status"], len(answer["machines"])) == ("running", 2)
    kept = own_venv.uninstall(case.distribution)

    machine_id = answer["machines"][0]["machineId"]
    ran = site.run("requestReturnMachines", {"machines": {"machineId": machine_id}})
    assert ran.code == 0
    assert case.distribution in ran.message
    returned = site.status(ran.answer["requestId"])
    assert (returned["status"], returned["machines"][0]["result"]) == ("running", "executing")
    assert case.distribution in returned["message"]
    assert machine_id in site.live(), "ended, it would be replaced"

    kept()
    site.status(ran.answer["requestId"])
    assert machine_id not in site.live(), "with the plug-in back, it is ended"
    assert len(site.live()) == 1


def test_a_request_of_run_instances_itself_stays_running_while_its_plug_in_is_uninstalled(
    own_venv: Venv, venv_site: Callable[..., Site]
) -> None:
    site = venv_site()
    request_id = site.request("OnDemand-Small")
    own_venv.uninstall("hfcore-aws-runinstances")
    answer = site.status(request_id)
    assert answer["status"] == "running"
    assert [one["result"] for one in answer["machines"]] == ["executing", "executing"]
    assert "RunInstances" in answer["message"]
    assert len(site.live()) == 2


def test_an_installation_that_lacks_a_library_still_answers_with_one_document(
    own_venv: Venv, venv_site: Callable[..., Site]
) -> None:
    site = venv_site()
    (own_venv.site_packages / "pluggy").unlink()
    ended = subprocess.run(
        [site.scripts / "getAvailableTemplates.sh"], env=site.environment(), capture_output=True, check=False
    )
    assert ended.returncode == 1
    assert "No module named 'pluggy'" in json.loads(ended.stdout)["message"]


def test_traced_hook_calls_are_in_the_log_alone_without_what_may_be_a_secret(site: Site) -> None:
    site.write_templates(Told={"userData": "password=aek3-Quoo7"})
    traced = {"HFCORE_TRACE_PLUGINS": "1", "HFCORE_LOG_LEVEL": "error"}
    request = site.run("requestMachines", {"template": {"templateId": "Told", "machineCount": 2}}, env=traced).answer
    site.run("getRequestStatus", {"requests": [request]}, env=traced)
    log = (site.folder / "log" / "hfcore.log").read_text()
    assert f"request={request['requestId']} template=Told" in log
    assert re.search(
        r" hfcore.trace provision of RunInstances \(hfcore-aws-.*\): Provisioned in [0-9.]+ ms  request=req-",
        log,
    )
    assert re.search(r"discover_instances of RunInstances .*: 1 Discovery in .* requests=1 \(req-", log)
    assert "aek3" not in log
