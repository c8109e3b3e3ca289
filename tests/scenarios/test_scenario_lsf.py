"""The five verbs under LSF's resource connector: its environment, its input, and what it reads besides."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from hfcore.testing.site import CASES
from tests.scenarios.conftest import ENOUGH, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hfcore.testing.aws import StrictAws
    from hfcore.testing.forks import Forks
    from hfcore.testing.site import Case, Document

ACCOUNT = "project-7"


class LsfScene(Scene):
    """A provider instance that LSF calls: its variables alone are set, and each answer must be one that it reads."""

    lsf = True


@pytest.fixture
def lsf(aws: StrictAws, forks: Forks, tmp_path: Path) -> Iterator[Scene]:
    aws.reset()
    found = LsfScene(tmp_path / "aws", aws, forks)
    yield found
    found.all_is_well()


def requested(lsf: Scene, template_id: str, count: int = 2, **more: object) -> str:
    asked = {"template": {"templateId": template_id, "machineCount": count}, **more}
    ran = lsf.run("requestMachines", asked)
    assert ran.code == 0, ran
    return str(ran.answer["requestId"])


def machines_of(lsf: Scene, request_id: str) -> list[Document]:
    lsf.pass_time(1)
    answer = lsf.status(request_id)
    assert answer["status"] == "complete", answer
    found: list[Document] = answer["machines"]
    return found


def scripts_of(lsf: Scene) -> set[str]:
    """Give the start-up scripts of all that lives."""
    data = (one.plan.params.get("UserData", "") for one in lsf.aws.live_instances())
    return {base64.b64decode(one).decode() for one in data}


def test_a_request_goes_its_whole_way_with_what_lsf_reads_of_each_machine(lsf: Scene, case: Case) -> None:
    request_id = requested(lsf, case.template_id, rc_account=ACCOUNT)
    machines = machines_of(lsf, request_id)
    assert len(machines) == 2
    with lsf.aws.locked() as world:
        for one in machines:
            instance = world.instance(one["machineId"])
            assert instance.tags["RC_ACCOUNT"] == ACCOUNT
            assert one["lifeCycleType"] == ("spot" if instance.plan.market == "spot" else "onDemand")
            assert (one["ncores"], one["nthreads"]) == (1, 2)
    for one in machines:
        assert (one["rcAccount"], one["template"]) == (ACCOUNT, case.template_id)
        assert (one["requestId"], one["returnId"], one["publicDnsName"]) == (request_id, "", "")
    first, second = (one["machineId"] for one in machines)
    lsf.aws.kill(first)
    lsf.pass_time(ENOUGH)
    assert {key: one["gracePeriod"] for key, one in lsf.reclaims().items()} == {first: 0}
    returned = lsf.returned(first, second)
    answer, of_return = lsf.statuses(request_id, returned)
    assert {one["returnId"] for one in (*answer["machines"], *of_return["machines"])} == {returned}
    assert {one["rcAccount"] for one in of_return["machines"]} == {ACCOUNT}
    assert {one["requestId"] for one in of_return["machines"]} == {request_id}
    assert lsf.poll(returned)["status"] == "complete"
    lsf.nothing_stands()


def test_the_folders_are_those_that_lsf_names(lsf: Scene) -> None:
    """Settings and templates in `conf` of the provider's, data in a folder that other providers have part in."""
    assert not [name for name in lsf.environment() if name.startswith("HF_")]
    request_id = requested(lsf, "OnDemand-Small", 1)
    assert (lsf.folder / "resource_connector" / lsf.environment()["PROVIDER_NAME"] / "data" / "storage.json").exists()
    lsf.aws.faults.add("error:UnauthorizedOperation:DescribeInstances")
    assert "UnauthorizedOperation" in lsf.status(request_id)["message"]
    assert any("UnauthorizedOperation" in one.read_text() for one in lsf.log.iterdir())
    lsf.aws.faults.clear()
    machines_of(lsf, request_id)


@pytest.mark.parametrize("name", ["RunInstances", "EC2Fleet-instant", "EC2Fleet-maintain"])
@pytest.mark.parametrize("given", ["queue=night;limit=7", {"queue": "night", "limit": 7}], ids=["text", "object"])
def test_user_data_of_a_request_is_exported_to_the_start_up_script_and_kept_nowhere(
    lsf: Scene, name: str, given: object
) -> None:
    lsf.offer(userData="queue=day;site=north")
    case = CASES[name]
    requested(lsf, case.template_id, 1, userData=given)
    machines_of(lsf, *lsf.stored())
    (script,) = scripts_of(lsf)
    for line in ("queue=night", "limit=7", "site=north"):
        assert line in script.replace("'", "").replace('"', "")
    kept = [one for one in (*lsf.work.rglob("*"), *lsf.log.rglob("*")) if one.is_file()]
    assert not [one for one in kept if b"night" in one.read_bytes()]


@pytest.mark.parametrize("more", [{"rc_account": "", "userData": ""}, {"rc_account": None, "userData": None}, {}])
def test_what_lsf_may_leave_out_is_left_out(lsf: Scene, more: dict[str, object]) -> None:
    (machine,) = machines_of(lsf, requested(lsf, "OnDemand-Small", 1, **more))
    assert machine["rcAccount"] == ""


@pytest.mark.parametrize(
    "more", [{"rc_account": 7}, {"rc_account": "x" * 300}, {"userData": "no-pair"}, {"userData": 7}]
)
def test_what_lsf_gives_wrongly_is_refused_before_aws_is_asked(lsf: Scene, more: dict[str, object]) -> None:
    machines_of(lsf, requested(lsf, "OnDemand-Small", 1))
    with lsf.counted() as made:
        asked = {"template": {"templateId": "OnDemand-Small", "machineCount": 1}, **more}
        ran = lsf.run("requestMachines", asked)
    assert (ran.code, made) == (1, {})
    assert next(iter(more)) in ran.message


@pytest.mark.parametrize(("verb", "key"), [("requestReturnMachines", "machines"), ("getRequestStatus", "requests")])
def test_an_empty_list_is_an_invalid_input_file_to_lsf_and_tolerated_by_symphony(
    lsf: Scene, verb: str, key: str
) -> None:
    machines_of(lsf, requested(lsf, "OnDemand-Small", 1))
    ran = lsf.run(verb, {key: []})
    assert ran.code == 1
    assert "Invalid input file." in ran.message
    lsf.lsf = False
    assert lsf.run(verb, {key: []}).code == 0


def test_an_empty_list_of_hosts_is_no_error_where_lsf_asks_what_is_taken_back(lsf: Scene) -> None:
    machines_of(lsf, requested(lsf, "OnDemand-Small", 1))
    assert lsf.reclaims([]) == {}


def test_attributes_keep_lsf_s_types_and_ranges(lsf: Scene) -> None:
    own = {"pricing": ["String", "spot"], "gpu": ["Boolean", "1"], "ngpus": ["Numeric", "[1:8]"]}
    basic = {"type": ["String", "X86_64"], "ncpus": ["Numeric", "[2:4]"], "nram": ["Numeric", "8192"]}
    lsf.offer(attributes=basic | own)
    answer = lsf.run("getAvailableTemplates").answer
    assert len(answer["templates"]) > 1
    assert all(one["attributes"] == basic | own for one in answer["templates"])
    machines_of(lsf, requested(lsf, "OnDemand-Small", 1))


def test_symphony_is_not_told_what_only_lsf_reads(scene: Scene) -> None:
    """Each answer of Symphony's is held against a schema without it."""
    request_id, _ = scene.running(CASES["RunInstances"], 1)
    (machine,) = scene.status(request_id)["machines"]
    assert {"rcAccount", "lifeCycleType", "returnId"}.isdisjoint(machine)
