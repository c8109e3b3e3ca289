"""What the AWS plug-ins say of template fields: each is honoured, without effect, or refused."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pytest
from pydantic.alias_generators import to_camel

from hfcore.models import Severity, Template
from hfcore.templatefields import TemplateFields

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.context import Context

FIELDS = {to_camel(name) for name in TemplateFields.model_fields}
APIS = ("ASG", "EC2Fleet", "RunInstances", "SpotFleet")
SAID: dict[str, Any] = {
    "fleet_type": "instant",
    "fleet_role": "arn:aws:iam::123456789012:role/fleet",
    "ec2_fleet_config": "fleet.json",
    "instance_requirements": {"VCpuCount": {"Min": 2}, "MemoryMiB": {"Min": 1024}},
    "host_id": "h-0123456789abcdef0",
    "host_resource_group_arn": "arn:aws:resource-groups:us-east-1:123456789012:group/hosts",
    "placement_partition": 1,
    "allocation_strategy": "diversified",
    "allocation_strategy_on_demand": "prioritized",
    "pools_count": 2,
}


def module(api: str) -> Any:  # noqa: ANN401 - a plug-in's module
    (found,) = entry_points(group="hfcore.providers", name=api)
    return found.load()


@pytest.mark.parametrize("api", APIS)
def test_each_field_is_honoured_without_effect_or_refused(api: str) -> None:
    info = module(api).INFO
    told = [*info.template_fields, *info.without_effect, *info.refused_fields]

    assert sorted(told) == sorted(FIELDS)


@pytest.mark.parametrize("api", APIS)
def test_what_is_without_effect_is_a_warning_and_what_is_refused_an_error(
    api: str, new_context: Callable[..., Context], template: Template
) -> None:
    plugin, context = module(api), new_context()
    by_camel = {to_camel(name): name for name in SAID}
    for severity, reasons in (
        (Severity.WARNING, plugin.INFO.without_effect),
        (Severity.ERROR, plugin.INFO.refused_fields),
    ):
        for field, reason in reasons.items():
            said = Template(template_id="t", **{by_camel[field]: SAID[by_camel[field]]})
            found = [one for one in plugin.validate_template(said, context) if one.field == field]
            assert any(one.severity is severity and reason in one.message for one in found), field
