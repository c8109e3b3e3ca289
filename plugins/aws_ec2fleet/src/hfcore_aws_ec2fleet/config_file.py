"""Own `ec2FleetConfig`: a JSON file of CreateFleet's parameters, as LSF has it, and what of it goes over ours.

LSF puts its own numbers in place of `$LSF_TOTAL_TARGET_CAPACITY` and its like; so does hfcore, as it says them itself.
What a file repeats of what the template says is left out too; what contradicts it is wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hfcore.aws import native
from hfcore.config import expanded, parse_json, read_file
from hfcore.errors import ConfigError
from hfcore.models import EMPTY, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hfcore.context import Context
    from hfcore.models import Template

_FIELD = "ec2FleetConfig"
_TARGET = "TargetCapacitySpecification"
_SPEC = "LaunchTemplateSpecification"
_NUMBER = re.compile(rb'"?(\$LSF_[A-Z_]+)"?')


def read(context: Context, template: Template) -> Mapping[str, Any]:
    """Read what a template's file says beside what the template says.

    Raises:
        ConfigError: It can't be read, is not JSON, or says what CreateFleet does not know or hfcore says itself.
    """
    if not template.ec2_fleet_config:
        return EMPTY
    said = _content(context, template)
    wrong = "; ".join(map(str, _problems(template, said)))
    if wrong:
        raise ConfigError(f"template {template.template_id}: {wrong}", hint="correct the file")
    return said


def problems(context: Context, template: Template) -> Iterator[Problem]:
    """Find what is wrong with a template's file; it may be another one at the next call."""
    if not template.ec2_fleet_config:
        return
    try:
        _bytes(context, template)
    except ConfigError as error:  # a launch is refused for it then; that it can't be read here may pass
        yield Problem(field=_FIELD, message=error.message, severity=Severity.WARNING, passing=True)
        return
    try:
        yield from _problems(template, _content(context, template))
    except ConfigError as error:
        warning = Severity.WARNING  # it may be half written
        yield Problem(field=_FIELD, message=error.message, severity=warning, hint=error.hint, passing=True)


def _problems(template: Template, said: Mapping[str, Any]) -> Iterator[Problem]:
    found = (*native.judged(_FIELD, native.CREATE_FLEET, said), *native.weights(_FIELD, template, said))
    return (Problem(field=one.field, message=one.message, hint=one.hint, passing=True) for one in found)


def _content(context: Context, template: Template) -> Mapping[str, Any]:
    path, data = _bytes(context, template)
    said = parse_json(_NUMBER.sub(rb'"\1"', data), path)
    if not isinstance(said, dict):
        raise ConfigError(f"{path} must hold an object of CreateFleet's parameters")
    return beside(template, said)


def _bytes(context: Context, template: Template) -> tuple[Path, bytes]:
    path = context.conf_dir / expanded(template.ec2_fleet_config or "")
    return path, read_file(path)


def beside(template: Template, said: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a file what only repeats what hfcore says of a template. Pure."""
    kept = {name: value for name, value in said.items() if name not in (_TARGET, "LaunchTemplateConfigs", "Type")}
    if said.get("Type", "") not in ("", template.fleet_type or "instant"):
        kept["Type"] = said["Type"]
    target, default = said.get(_TARGET, {}), _default_market(template)
    if not isinstance(target, dict) or any(not _is_ours(value, default) for value in target.values()):
        kept[_TARGET] = target
    configs = said.get("LaunchTemplateConfigs", ())
    if isinstance(configs, list) and all(isinstance(one, dict) for one in configs):
        configs = [_without_spec(template, one) for one in configs]
    return kept | ({"LaunchTemplateConfigs": configs} if configs else {})


def _is_ours(value: object, default: str) -> bool:
    return value == default or str(value).startswith("$LSF_")


def _default_market(template: Template) -> str:
    bought_so = template.price_type in (None, "ondemand") or template.percent_on_demand == 100  # noqa: PLR2004 - percent
    return "on-demand" if bought_so else "spot"


def _without_spec(template: Template, config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the launch template where it is the one that the template names: hfcore's own is made from it."""
    spec = config.get(_SPEC, {})
    ours = {"LaunchTemplateId": template.launch_template_id, "Version": template.launch_template_version or "$Default"}
    same = template.launch_template_id and {**ours, "Version": "$Default", **spec} == ours
    return {name: value for name, value in config.items() if name != _SPEC or not same}
