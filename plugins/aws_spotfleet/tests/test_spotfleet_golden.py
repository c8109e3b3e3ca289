"""The exact parameters sent to Spot Fleet for each price mix: `golden_spotfleet.json`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hfcore_aws_spotfleet.requests import terms

from hfcore.aws.mixes import is_heterogeneous
from hfcore.testing.golden import CONTEXT, LEFT, MIXES, UNITS, Golden, request_of
from hfcore.testing.site import ROLE

GOLDEN = Golden(Path(__file__).with_name("golden_spotfleet.json"))


@pytest.mark.parametrize("name", MIXES)
def test_exactly_this_is_sent(name: str) -> None:
    template = replace(MIXES[name], fleet_role=ROLE)
    named = (CONTEXT, request_of(template), template, "hfcore-abc")
    fleets = [terms(*named, units=UNITS)]
    if is_heterogeneous(template):
        fleets.append(terms(*named, units=LEFT, remainder=True))
    GOLDEN.check(name, [("ec2", "RequestSpotFleet", fleet) for fleet in fleets])


def test_nothing_is_written_down_that_is_not_tested() -> None:
    assert GOLDEN.names() == set(MIXES)
