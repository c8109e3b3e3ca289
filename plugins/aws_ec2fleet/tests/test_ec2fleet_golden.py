"""The exact parameters sent to EC2 Fleet for each price mix and fleet type: `golden_ec2fleet.json`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hfcore_aws_ec2fleet.requests import terms

from hfcore.aws.mixes import is_heterogeneous
from hfcore.models import FleetType
from hfcore.testing.golden import CONTEXT, LEFT, MIXES, UNITS, Golden, request_of

GOLDEN = Golden(Path(__file__).with_name("golden_ec2fleet.json"))
CASES = {
    f"{kind}: {name}": replace(one, fleet_type=kind) for kind in get_args(FleetType) for name, one in MIXES.items()
}


@pytest.mark.parametrize("name", CASES)
def test_exactly_this_is_sent(name: str) -> None:
    template = CASES[name]
    named = (CONTEXT, request_of(template), template, "hfcore-abc")
    fleets = [terms(*named, units=UNITS)]
    if is_heterogeneous(template):
        fleets.append(terms(*named, units=LEFT, remainder=True))
    GOLDEN.check(name, [("ec2", "CreateFleet", fleet) for fleet in fleets])


def test_nothing_is_written_down_that_is_not_tested() -> None:
    assert GOLDEN.names() == set(CASES)
