"""The exact parameters sent to EC2 Fleet for each price mix and fleet type: `golden_ec2fleet.json`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from hfcore_aws_ec2fleet.requests import terms

from hfcore.aws.mixes import is_heterogeneous
from hfcore.models import FleetType
from hfcore.testing.golden import CONTEXT, LEFT, MIXES, UNITS, Golden, request_of

GOLDEN = Golden(Path(__file__).with_name("golden_ec2fleet.json"))
BY_FILE = "request: by a file as LSF has it"
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
    assert GOLDEN.names() == {*CASES, BY_FILE}


def test_a_file_of_create_fleet_s_parameters_goes_over_ours(tmp_path: Path) -> None:
    (tmp_path / "fleet.json").write_text(
        """{"Type": "request", "SpotOptions": {"MaxTotalPrice": "2.5"},
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-1", "Version": "2"},
        "Overrides": [{"InstanceType": "c5.large", "SubnetId": "subnet-9", "Priority": 2}]}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": $LSF_TOTAL_TARGET_CAPACITY,
        "OnDemandTargetCapacity": $LSF_ONDEMAND_TARGET_CAPACITY, "SpotTargetCapacity": $LSF_SPOT_TARGET_CAPACITY,
        "DefaultTargetCapacityType": "spot"}}"""
    )
    spot = replace(MIXES["spot"], fleet_type="request", launch_template_id="lt-1", launch_template_version="2")
    template = replace(spot, ec2_fleet_config="fleet.json")
    context = SimpleNamespace(**vars(CONTEXT), conf_dir=tmp_path)
    fleet = terms(context, request_of(template), template, "hfcore-abc", units=UNITS)  # type: ignore[arg-type]
    GOLDEN.check(BY_FILE, [("ec2", "CreateFleet", fleet)])
