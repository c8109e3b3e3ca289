from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hfcore_aws_runinstances.requests import Pool, instances, keep, less, parts, pools, run_instances

from hfcore.aws.instances import weights
from hfcore.models import Instance, PriceType, Template

TEMPLATE = Template(
    template_id="basic",
    vm_types={"m5.large": 1, "m5.xlarge": 2},
    subnet_id=("subnet-1", "subnet-2"),
    max_spot_price=0.05,
)
TAGS = {"hfcore:request-id": "req-1", "team": "risk"}
TAG_LIST = [{"Key": "hfcore:request-id", "Value": "req-1"}, {"Key": "team", "Value": "risk"}]


def test_an_on_demand_launch_says_only_what_the_launch_template_does_not() -> None:
    pool = Pool(instance_type="m5.large", subnet_id="subnet-1")

    assert run_instances(pool, 7, TEMPLATE, "hfcore-1", TAGS) == {
        "LaunchTemplate": {"LaunchTemplateName": "hfcore-1", "Version": "1"},
        "MinCount": 1,
        "MaxCount": 7,
        "InstanceType": "m5.large",
        "SubnetId": "subnet-1",
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": TAG_LIST},
            {"ResourceType": "volume", "Tags": TAG_LIST},
        ],
    }


def test_a_spot_launch_is_one_time_ends_by_termination_and_has_the_price_of_a_machine() -> None:
    pool = Pool(instance_type="m5.xlarge", subnet_id="subnet-2", spot=True, weight=2)
    sent = run_instances(pool, 1, TEMPLATE, "hfcore-1", TAGS)

    assert sent["InstanceMarketOptions"] == {
        "MarketType": "spot",
        "SpotOptions": {
            "SpotInstanceType": "one-time",
            "InstanceInterruptionBehavior": "terminate",
            "MaxPrice": "0.1",
        },
    }
    assert [one["ResourceType"] for one in sent["TagSpecifications"]] == [
        "instance",
        "volume",
        "spot-instances-request",
    ]
    without = run_instances(pool, 1, replace(TEMPLATE, max_spot_price=None), "hfcore-1", TAGS)
    assert "MaxPrice" not in without["InstanceMarketOptions"]["SpotOptions"]


@pytest.mark.parametrize(
    ("price", "text"), [(0.05, "0.05"), (1.0, "1"), (0.1 + 0.2, "0.3"), (0.00001, "0.00001"), (10.0, "10")]
)
def test_a_price_is_written_as_people_write_it(price: float, text: str) -> None:
    template = replace(TEMPLATE, max_spot_price=price)
    sent = run_instances(Pool(spot=True), 1, template, "hfcore-1", TAGS)

    assert sent["InstanceMarketOptions"]["SpotOptions"]["MaxPrice"] == text


def test_a_launch_whose_launch_template_says_type_and_subnet_names_neither() -> None:
    [pool] = pools(Template(template_id="t", launch_template_id="lt-1"))
    sent = run_instances(pool, 1, TEMPLATE, "hfcore-1", TAGS)

    assert not {"InstanceType", "SubnetId"} & sent.keys()


def names(template: Template) -> list[str]:
    return [str(pool) for pool in pools(template)]


def test_each_type_is_tried_in_each_subnet() -> None:
    assert names(TEMPLATE) == [
        "m5.large subnet-1 on demand",
        "m5.large subnet-2 on demand",
        "m5.xlarge subnet-1 on demand",
        "m5.xlarge subnet-2 on demand",
    ]


def test_types_are_tried_by_priority_and_those_without_one_last() -> None:
    template = replace(
        TEMPLATE,
        vm_types={"a": 1, "b": 1, "c": 1, "d": 1},
        vm_types_priority={"c": 1, "a": 2},
        subnet_id=("s",),
        price_type="spot",
    )

    assert names(template) == ["c s Spot", "a s Spot", "b s Spot", "d s Spot"]


def test_heterogeneous_tries_all_spot_pools_before_it_buys_on_demand() -> None:
    template = replace(TEMPLATE, price_type="heterogeneous", subnet_id=("s",), vm_types_on_demand={"c5.large": 3})

    assert names(template) == ["m5.large s Spot", "m5.xlarge s Spot", "c5.large s on demand"]
    assert names(replace(template, vm_types_on_demand={}))[2:] == ["m5.large s on demand", "m5.xlarge s on demand"]
    assert weights(template) == {"c5.large": 3, "m5.large": 1, "m5.xlarge": 2}


@pytest.mark.parametrize(
    ("weight", "units", "machines"), [(1, 3, 3), (2, 3, 2), (8, 10, 2), (1, 5000, 500), (4, 0.5, 1)]
)
def test_units_become_machines_rounded_up_and_at_most_500_a_call(weight: int, units: float, machines: int) -> None:
    assert Pool(weight=weight).machines(units) == machines


@pytest.mark.parametrize(
    ("price_type", "percent", "expected"),
    [
        ("ondemand", None, (0, 10)),
        ("ondemand", 30, (0, 10)),
        ("spot", None, (0, 10)),
        ("spot", 30, (3, 7)),
        ("spot", 100, (10, 0)),
        ("spot", 4, (0, 10)),
        ("heterogeneous", 25, (3, 7)),
    ],
)
def test_a_share_is_bought_on_demand_from_the_start(
    price_type: PriceType, percent: int, expected: tuple[int, int]
) -> None:
    assert parts(replace(TEMPLATE, price_type=price_type, percent_on_demand=percent), 10) == expected


def test_the_share_on_demand_has_pools_of_its_own_before_those_of_the_rest() -> None:
    template = replace(
        TEMPLATE,
        price_type="heterogeneous",
        subnet_id=("s",),
        vm_types={"m5.large": 1},
        vm_types_on_demand={"c5.large": 1},
        percent_on_demand=20,
    )

    assert [(str(pool), pool.part) for pool in pools(template)] == [
        ("c5.large s on demand", 0),
        ("m5.large s Spot", 1),
        ("c5.large s on demand", 1),
    ]
    spot = replace(template, price_type="spot", vm_types_on_demand={})
    assert [(str(pool), pool.part) for pool in pools(spot)] == [("m5.large s on demand", 0), ("m5.large s Spot", 1)]


def test_what_a_share_has_beyond_its_units_is_left_out_of_the_rest() -> None:
    assert less((3, 7), 0, 2) == [1, 7]
    assert less((1, 9), 0, 8) == [0, 2]
    assert less((0, 2), 1, 8) == [0, -6]


def test_what_is_kept_of_an_answer_gives_the_instances_again() -> None:
    answer: dict[str, Any] = {
        "ReservationId": "r-1",
        "OwnerId": "123456789012",
        "Instances": [
            {
                "InstanceId": "i-1",
                "InstanceType": "m5.xlarge",
                "InstanceLifecycle": "spot",
                "Placement": {"AvailabilityZone": "us-east-1a"},
                "LaunchTime": datetime(2026, 1, 1, tzinfo=UTC),
                "State": {"Name": "pending"},
            }
        ],
    }

    assert instances(keep(answer), weights(TEMPLATE)) == (
        Instance(
            instance_id="i-1",
            resource_id="r-1",
            instance_type="m5.xlarge",
            price_type="spot",
            zone="us-east-1a",
            launch_time=datetime(2026, 1, 1, tzinfo=UTC),
            weight=2.0,
            listed=False,
        ),
    )
    assert instances(keep({}), {}) == ()
