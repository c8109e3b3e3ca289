"""The exact parameters sent to Auto Scaling for each price mix: `golden_asg.json`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from botocore.session import get_session
from hfcore_aws_asg.problems import problems
from hfcore_aws_asg.requests import create_group

from hfcore.aws import tags
from hfcore.aws.launch import hyphenated
from hfcore.aws.mixes import is_heterogeneous, is_weighted
from hfcore.models import AllocationStrategy, OnDemandStrategy, Severity
from hfcore.testing.golden import CONTEXT, LEFT, MIXES, UNITS, Golden, request_of

GOLDEN = Golden(Path(__file__).with_name("golden_asg.json"))
CASES = {name: one for name, one in MIXES.items() if not (is_heterogeneous(one) and is_weighted(one))}


@pytest.mark.parametrize("name", CASES)
def test_exactly_this_is_sent(name: str) -> None:
    template = CASES[name]
    parts = {False: UNITS} | ({True: LEFT} if is_heterogeneous(template) else {})
    request, its_tags = request_of(template), tags.of_instances(CONTEXT, template, "req-1")
    groups = [
        create_group(request, template, "hfcore-abc", its_tags, units=units, remainder=remainder)
        for remainder, units in parts.items()
    ]
    GOLDEN.check(name, [("autoscaling", "CreateAutoScalingGroup", group) for group in groups])


def test_nothing_is_written_down_that_is_not_tested() -> None:
    assert GOLDEN.names() == set(CASES)


@pytest.mark.parametrize("name", sorted(MIXES.keys() - CASES.keys()))
def test_what_a_group_can_not_do_is_refused_with_the_reason(name: str) -> None:
    (problem,) = (one for one in problems(MIXES[name]) if one.severity is Severity.ERROR)
    assert problem.field == "priceType"
    assert "weights" in problem.message


def test_each_strategy_is_one_that_auto_scaling_documents() -> None:
    shape = get_session().get_service_model("autoscaling").shape_for("InstancesDistribution")
    for member, words in {
        "SpotAllocationStrategy": set(get_args(AllocationStrategy)) - {"diversified"},
        "OnDemandAllocationStrategy": set(get_args(OnDemandStrategy)),
    }.items():
        text = shape.members[member].documentation
        assert [word for word in words if f">{hyphenated(word)}<" not in text.replace(" (recommended)", "")] == []
        assert "diversified" not in text
