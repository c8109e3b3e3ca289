"""Own golden files: the exact parameters of AWS calls, held against a readable JSON file and against botocore's model.

The tables of templates have every price mix, weighted and not, and every sort of field that goes into a call; a plug-in
adds what its API has besides.

>>> GOLDEN = Golden(Path(__file__).with_name("golden_asg.json"))
>>> @pytest.mark.parametrize("name", MIXES)
... def test_exactly_this_is_sent(name):
...     request = request_of(MIXES[name])
...     GOLDEN.check(name, [("autoscaling", "CreateAutoScalingGroup", create_group(request, ...))])

With `HFCORE_GOLDEN=write` in the environment what is built is written down instead; the changes are then to be read.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from hfcore.aws import native
from hfcore.models import Request, RequestStatus, Template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Sent = tuple[str, str, dict[str, Any]]
"""A call: service, operation, parameters."""

WRITE: Final = "HFCORE_GOLDEN"
CREATED: Final = datetime(2026, 1, 1, tzinfo=UTC)
LINE: Final = 110
UNITS: Final = 10
LEFT: Final = 4
"""Units that Spot has left of price type heterogeneous."""

CONTEXT: Final[Any] = SimpleNamespace(
    owner="owner-1", provider="grid", settings=SimpleNamespace(instance_pending_timeout_sec=180)
)
"""All that what is pure asks of a context: whose tags they are, and what the site has set."""

_PRICES: Final[Mapping[str, dict[str, Any]]] = {
    "ondemand": {"price_type": "ondemand"},
    "spot": {"price_type": "spot"},
    "spot with a share on demand": {"price_type": "spot", "percent_on_demand": 25},
    "heterogeneous": {"price_type": "heterogeneous"},
    "heterogeneous with a share on demand": {"price_type": "heterogeneous", "percent_on_demand": 25},
}
_SIZES: Final[Mapping[str, dict[str, int]]] = {
    "": {"m5.large": 1, "c5.large": 1},
    ", weighted": {"m5.large": 2, "m5.2xlarge": 8},
}
_WORDS: Final[Mapping[str, dict[str, Any]]] = {
    "all that says how": {
        "price_type": "spot",
        "percent_on_demand": 50,
        "allocation_strategy": "capacityOptimizedPrioritized",
        "allocation_strategy_on_demand": "prioritized",
        "vm_types_priority": {"c5.large": 1, "m5.large": 2},
        "max_spot_price": 0.05,
    },
    "a few cheap pools": {
        "price_type": "spot",
        "percent_on_demand": 50,
        "allocation_strategy": "lowestPrice",
        "allocation_strategy_on_demand": "lowestPrice",
        "pools_count": 3,
    },
    "other types on demand": {"price_type": "heterogeneous", "vm_types_on_demand": {"c6i.large": 1}},
}
_ADDED = [{"ResourceType": "network-interface", "Tags": [{"Key": "b", "Value": "2"}]}]
_FIELDS: Final[Mapping[str, dict[str, Any]]] = {
    "on network cards": {"interface_type": "efa", "efa_count": 2, "security_group_ids": ("sg-1",)},
    "on hardware and at places of its own": {
        "ebs_optimized": True,
        "placement_group_name": "grid-partition",
        "placement_partition": 3,
        "tenancy": "dedicated",
        "capacity_reservation": "cr-0123456789abcdef0",
    },
    "what machines must have": {
        "vm_types": {},
        "price_type": "spot",
        "percent_on_demand": 50,
        "max_spot_price": 0.05,
        "instance_requirements": {"VCpuCount": {"Min": 4, "Max": 8}, "MemoryMiB": {"Min": 8192}},
    },
    "in AWS's own words": {
        "launch_template_data": {
            "Monitoring": {"Enabled": True},
            "TagSpecifications": [
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": "hfcore:owner", "Value": "x"}, {"Key": "b", "Value": "2"}],
                },
            ],
        },
        "api_parameters": {
            "RunInstances": {"CreditSpecification": {"CpuCredits": "standard"}, "TagSpecifications": _ADDED},
            "CreateFleet": {"OnDemandOptions": {"SingleInstanceType": True}, "Context": "c-1"},
            "RequestSpotFleet": {"OnDemandMaxTotalPrice": "1.5"},
            "CreateAutoScalingGroup": {
                "DefaultCooldown": 60,
                "Tags": [{"Key": "hfcore:owner", "Value": "x"}, {"Key": "b", "Value": "2", "PropagateAtLaunch": False}],
            },
        },
    },
}


def _template(**fields: Any) -> Template:  # noqa: ANN401 - fields of Template
    known: dict[str, Any] = {"template_id": "T", "subnet_id": ("subnet-1", "subnet-2"), "vm_types": _SIZES[""]}
    return Template(**{**known, **fields})


MIXES: Final[Mapping[str, Template]] = {
    f"{price}{size}": _template(vm_types=types, max_spot_price=0.05 if size else None, **fields)
    for price, fields in _PRICES.items()
    for size, types in _SIZES.items()
} | {name: _template(**fields) for name, fields in {**_WORDS, **_FIELDS}.items()}
"""A template for each price mix, and for what goes into the call besides, by a name for people."""

DATA: Final[Mapping[str, Template]] = {name: _template(**fields) for name, fields in _FIELDS.items()}
"""A template for each sort of fields that go into launch template data, by a name for people."""


def request_of(template: Template) -> Request:
    """Give a request for 10 units, that has 30 minutes."""
    return Request(
        request_id="req-1",
        status=RequestStatus.CREATING,
        template_id=template.template_id,
        template=template,
        target=UNITS,
        created_at=CREATED,
        deadline=CREATED + timedelta(minutes=30),
    )


class Golden:
    """What each case sends, as a JSON file has it.

    Args:
        path: The file: the cases by name, each with its calls, as `service:Operation` and parameters.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, name: str, sent: Sequence[Sent]) -> None:
        """See that a case sends exactly what is written down, and nothing that botocore's model does not know."""
        wrong = [problem for one in sent for problem in problems(*one)]
        assert not wrong, "\n".join(wrong)
        built = json.loads(json.dumps([{f"{service}:{call}": parameters} for service, call, parameters in sent]))
        written = json.loads(self._path.read_text()) if self._path.exists() else {}
        if os.environ.get(WRITE) == "write":
            self._path.write_text(_text(written | {name: built}) + "\n")
            return
        assert built == written[name]

    def names(self) -> set[str]:
        """Name the cases that are written down."""
        return set(json.loads(self._path.read_text()))


def problems(service: str, operation: str, parameters: Mapping[str, Any]) -> Iterator[str]:
    """Say what of a call's parameters its service's model does not know: members, types, words of an enumeration."""
    shape = native.model(service).operation_model(operation).input_shape
    return (f"{operation}: {text}" for text in native.unknown(shape, parameters))


def _text(value: Any, depth: int = 0) -> str:  # noqa: ANN401 - JSON of any shape
    """Write JSON with each part on one line that fits there."""
    line, indent = json.dumps(value, sort_keys=True), "  " * depth
    if len(indent) + len(line) < LINE or not isinstance(value, dict | list):
        return line
    if isinstance(value, list):
        inside, ends = [_text(each, depth + 1) for each in value], "[]"
    else:
        inside = [f"{json.dumps(name)}: {_text(value[name], depth + 1)}" for name in sorted(value)]
        ends = "{}"
    return f"{ends[0]}\n" + ",\n".join(f"{indent}  {each}" for each in inside) + f"\n{indent}{ends[1]}"
