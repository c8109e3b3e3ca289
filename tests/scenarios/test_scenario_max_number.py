"""maxNumber: in units, of what lives and what is expected; refused with all the figures, and never a shorter list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hfcore.testing.site import CASES
from tests.scenarios.conftest import ENOUGH, Scene

if TYPE_CHECKING:
    from hfcore.testing.site import Case

DEADLINE = 30 * 60.0
HUGE = "m5.2xlarge"


def refusal(scene: Scene, case: Case, count: int) -> str:
    """Ask for more than there is room for; nothing is stored, and AWS is not asked."""
    stored = set(scene.stored())
    with scene.counted() as made:
        asked = {"template": {"templateId": case.template_id, "machineCount": count}}
        ran = scene.run("requestMachines", asked)
    assert (ran.code, made, set(scene.stored())) == (1, {}, stored), ran
    return ran.message


def listed(scene: Scene, case: Case) -> tuple[int, int]:
    """Give a template's maxNumber and what of it is available, as it is listed."""
    templates = scene.run("getAvailableTemplates").answer["templates"]
    (one,) = (each for each in templates if each["templateId"] == case.template_id)
    return one["maxNumber"], one["availableNumber"]


def test_what_lives_and_what_is_expected_takes_room_until_it_is_gone_or_expected_no_more(
    scene: Scene, case: Case
) -> None:
    scene.offer(maxNumber=5)
    scene.aws.set_capacity(*case.pool, 1)
    request_id = scene.request(case.template_id, 4)
    scene.pass_time(1)
    expected = 3 if scene.status(request_id)["status"] == "running" else 0
    assert expected == (3 if case.fills_later else 0), "capacity that is refused at once is expected no more"
    assert f"5 asked, 1 live, {expected} expected, 5 at most (maxNumber)" in refusal(scene, case, 5)
    assert listed(scene, case) == (5, 4 - expected)
    scene.pass_time(DEADLINE)
    assert scene.status(request_id)["status"] == "complete_with_error"
    assert "5 asked, 1 live, 0 expected, 5 at most" in refusal(scene, case, 5)
    assert listed(scene, case) == (5, 4)
    scene.aws.set_capacity(*case.pool, None)
    _, machines = scene.running(case, 4)
    assert listed(scene, case) == (5, 0)
    returned = scene.returned(*machines)
    assert scene.status(returned)["status"] == "running"
    assert "1 asked, 5 live" in refusal(scene, case, 1), "what is shutting down still costs"
    scene.poll(returned)
    assert listed(scene, case) == (5, 4)
    scene.running(case, 4)


def test_max_number_counts_units_where_types_have_weights(scene: Scene, case: Case) -> None:
    scene.offer(maxNumber=20, vmType=None, vmTypes={HUGE: 8})
    request_id = scene.request(case.template_id, 10)
    known = "0 live, 10 expected" if case.fills_later else "16 live, 0 expected"
    assert f"11 asked, {known}, 20 at most" in refusal(scene, case, 11)
    scene.pass_time(1)
    answer = scene.status(request_id)
    assert (answer["status"], len(answer["machines"])) == ("complete", 2)
    assert "5 asked, 16 live, 0 expected, 20 at most" in refusal(scene, case, 5)
    assert listed(scene, case) == (20, 4)
    scene.poll(scene.returned(answer["machines"][0]["machineId"]))
    assert listed(scene, case) == (20, 12)


def test_a_template_without_room_stays_in_the_list_with_its_own_max_number(scene: Scene) -> None:
    scene.offer(maxNumber=2)
    whole = [one["templateId"] for one in scene.run("getAvailableTemplates").answer["templates"]]
    scene.running(CASES["ASG"], 2)
    assert listed(scene, CASES["ASG"]) == (2, 0)
    assert [one["templateId"] for one in scene.run("getAvailableTemplates").answer["templates"]] == whole


@pytest.mark.parametrize("fault", ["error:InsufficientInstanceCapacity:RunInstances", "error:UnauthorizedOperation"])
def test_a_refused_launch_takes_no_room_and_no_template_from_the_list(scene: Scene, fault: str) -> None:
    scene.offer(maxNumber=3)
    whole = scene.run("getAvailableTemplates").answer["templates"]
    scene.aws.faults.add(fault)
    asked = {"template": {"templateId": "OnDemand-Small", "machineCount": 3}}
    assert scene.run("requestMachines", asked).code == 1
    assert scene.run("getAvailableTemplates").answer["templates"] == whole
    scene.aws.faults.clear()
    request_id = scene.request("OnDemand-Small", 3)
    assert scene.poll(request_id, ENOUGH)["status"] == "complete"
