"""The exact parameters sent to RunInstances for each price mix: `golden_runinstances.json`.

Of each part and market the first pool, as it is asked for all units of its part.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hfcore_aws_runinstances.requests import parts, pools, run_instances

from hfcore.aws import tags
from hfcore.testing.golden import CONTEXT, MIXES, UNITS, Golden

CASES = {name: one for name, one in MIXES.items() if not one.instance_requirements}  # those are refused
GOLDEN = Golden(Path(__file__).with_name("golden_runinstances.json"))


@pytest.mark.parametrize("name", CASES)
def test_exactly_this_is_sent(name: str) -> None:
    template = MIXES[name]
    units, its_tags = parts(template, UNITS), tags.of_instances(CONTEXT, template, "req-1")
    first = {(pool.part, pool.spot): pool for pool in reversed(pools(template))}
    tried = sorted(first.values(), key=pools(template).index)
    calls = [run_instances(one, one.machines(units[one.part]), template, "hfcore-abc", its_tags) for one in tried]
    GOLDEN.check(name, [("ec2", "RunInstances", call) for call in calls])


def test_nothing_is_written_down_that_is_not_tested() -> None:
    assert GOLDEN.names() == set(CASES)
