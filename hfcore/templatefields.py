"""Own the shape of one template as files spell it: its fields, their forms and ranges, and what each is for.

Knows no file and no provider API. Importing it imports pydantic, which takes longer than a whole call may:
`hfcore.templates` does so only where template files have changed.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import (  # noqa: TID253 - see the module's docstring
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel  # noqa: TID253 - the same

from hfcore.config import nearest
from hfcore.models import (
    AllocationStrategy,
    FleetType,
    InterfaceType,
    OnDemandStrategy,
    PriceType,
    Problem,
    Severity,
    Template,
    Tenancy,
    VolumeType,
)
from hfcore.pairs import check_exports, split_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import ErrorDetails

    from hfcore.models import ProviderInfo

OWN_TAGS = "hfcore:"
_NUMBER = r"-?\d+(\.\d+)?([eE][+-]?\d+)?"
_NUMERIC = re.compile(rf"{_NUMBER}|\[{_NUMBER}:{_NUMBER}\]")  # LSF has ranges, such as [0:4096]
_KINDS = {"string": "String", "numeric": "Numeric", "boolean": "Boolean"}
_TRUTH = {"true": "1", "false": "0", "1": "1", "0": "0"}
_FORMS = 'must be text, a number, or a pair such as ["Numeric", "4"]'


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - what pydantic collects
    return value


def _read_names(value: object) -> tuple[str, ...]:
    """Take a comma list, or a list of such, apart."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("must be text, with commas between several, or a list of texts")
    parts = (part.strip() for name in names for part in name.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def _read_tags(value: object) -> object:
    """Take `k=v;k=v` apart; an object stays for pydantic to check."""
    return split_pairs(value) if isinstance(value, str) else value


def _check_user_data(text: str) -> str:
    """Check the names, which a shell must take; no value may stand in a message."""
    check_exports(split_pairs(text))
    return text


def _read_validity(value: object) -> int:
    """Give the minutes of LSF's `HH:MM`."""
    found = _VALIDITY.fullmatch(value.strip()) if isinstance(value, str) else None
    minutes = int(found["hours"]) * 60 + int(found["minutes"]) if found else 0
    if not minutes:
        raise ValueError("must be HH:MM, such as 00:30")
    return minutes


def _check_tags(tags: dict[str, str]) -> dict[str, str]:
    ours = [key for key in tags if key.lower().startswith(OWN_TAGS)]
    if ours:
        raise ValueError(f"must not set {', '.join(ours)}: tags that begin with {OWN_TAGS} are hfcore's own")
    if "" in tags:
        raise ValueError("has a tag without a name")
    return tags


def _read_type(value: object) -> object:
    """Make `type` text where it is bare: alone among the attributes, a machine's type is never a number."""
    if isinstance(value, dict) and isinstance(value.get("type"), (str, int, float)):
        return {**value, "type": ["String", value["type"]]}
    return value


def _read_attribute(value: object) -> tuple[str, str]:
    """Give `(type, value)` of an attribute in either form; a bare value's type shows in its look."""
    if isinstance(value, list):
        return _read_pair(value)
    if isinstance(value, bool):
        return "Boolean", str(int(value))
    if isinstance(value, (str, int, float)):
        text = _attribute_text(value)
        return "Numeric" if _NUMERIC.fullmatch(text) else "String", text
    raise ValueError(_FORMS)


def _read_pair(pair: list[Any]) -> tuple[str, str]:
    if len(pair) != 2 or not all(isinstance(part, (str, int, float)) for part in pair):  # noqa: PLR2004 - a pair
        raise ValueError(_FORMS)
    kind, text = _KINDS.get(str(pair[0]).lower()), _attribute_text(pair[1])
    if kind is None:
        raise ValueError(f"must be of type String, Numeric or Boolean, not {pair[0]}")
    if kind == "Numeric" and not _NUMERIC.fullmatch(text):
        raise ValueError(f"is Numeric, but {text!r} is not a number")
    if kind == "Boolean" and text.lower() not in _TRUTH:
        raise ValueError(f"is Boolean, but {text!r} is neither true nor false")
    return kind, _TRUTH[text.lower()] if kind == "Boolean" else text


def _attribute_text(value: str | float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(_FORMS)
    return str(value).strip()


_TEXT = {"type": "string"}
_TEXT_OR_LIST = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_TEXT_OR_OBJECT = {"anyOf": [_TEXT, {"type": "object", "additionalProperties": {"type": ["string", "number"]}}]}
_BARE = {"type": ["string", "number", "boolean"]}
_PAIR = {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [{"enum": list(_KINDS.values())}, _BARE]}
_ATTRIBUTE = {"anyOf": [_BARE, _PAIR]}

_VALIDITY = re.compile(r"(?P<hours>\d{1,3}):(?P<minutes>[0-5]\d)")
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
Whole = Annotated[int, BeforeValidator(_no_boolean)]
Positive = Annotated[Whole, Field(ge=1)]
Price = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False), Field(gt=0)]
Ratio = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False), Field(ge=0, le=1)]
Validity = Annotated[
    int, BeforeValidator(_read_validity), WithJsonSchema({"type": "string", "pattern": r"^(?!0+:00$)\d{1,3}:[0-5]\d$"})
]
UserData = Annotated[str, AfterValidator(_check_user_data)]
Names = Annotated[tuple[str, ...], BeforeValidator(_read_names), WithJsonSchema(_TEXT_OR_LIST)]
Tags = Annotated[
    dict[str, str], BeforeValidator(_read_tags), AfterValidator(_check_tags), WithJsonSchema(_TEXT_OR_OBJECT)
]
Attribute = Annotated[tuple[str, str], BeforeValidator(_read_attribute), WithJsonSchema(_ATTRIBUTE)]
Attributes = Annotated[dict[str, Attribute], BeforeValidator(_read_type)]


class TemplateFields(BaseModel):
    """One template as a file spells it: each field in camel case, as IBM's plug-in has it, or in snake case."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, coerce_numbers_to_str=True
    )

    template_id: str = Field(
        pattern=r"^[0-9A-Za-z_-]{1,64}$", description="Name of the template: at most 64 letters, digits, - and _."
    )
    max_number: Whole = Field(
        default=-1,
        ge=-1,
        le=10_000,
        description="Most units that live or are expected, but for what a last machine of more weight brings besides; "
        "-1 is no limit, 0 refuses every request.",
    )
    attributes: Attributes = Field(
        default={},
        description="What Host Factory chooses by; it needs type, ncpus and nram. Others are passed through.",
    )
    provider_api: str | None = Field(
        default=None,
        description="The API that makes the machines, such as EC2Fleet; told by priceType and fleetRole if left out.",
    )
    fleet_type: FleetType | None = Field(default=None, description="How a fleet keeps its capacity.")
    image_id: str | None = Field(default=None, description="Image id, or the path of an SSM parameter that holds one.")
    subnet_id: Names = Field(default=(), description="Subnets: one, several with commas between, or a list.")
    vm_type: str | None = Field(
        default=None, description="The instance type; the same as vmTypes with one of weight 1."
    )
    vm_types: dict[str, Positive] = Field(
        default={}, description="Instance type to its weight, which is the units that such a machine counts for."
    )
    vm_types_on_demand: dict[str, Positive] = Field(
        default={}, description="The same for the on-demand part, where it differs."
    )
    vm_types_priority: dict[str, Annotated[Whole, Field(ge=0)]] = Field(
        default={}, description="Instance type to its priority; the lowest number is tried first."
    )
    price_type: PriceType | None = Field(
        default=None,
        description="How machines are bought; heterogeneous is Spot first, and on demand what that leaves.",
    )
    root_device_volume_size: Positive | None = Field(default=None, description="Size of the root volume in GiB.")
    volume_type: VolumeType | None = Field(default=None, description="Type of the root volume.")
    iops: Positive | None = Field(default=None, description="I/O operations in a second of the root volume.")
    instance_tags: Tags = Field(default={}, description="Tags of each machine: k=v;k=v, or an object.")
    key_name: str | None = Field(default=None, description="Name of the key pair for logging in.")
    security_group_ids: Names = Field(default=(), description="Security groups: a list, or text with commas between.")
    fleet_role: str | None = Field(default=None, description="ARN of the role that Spot Fleet works with.")
    max_spot_price: Price | None = Field(
        default=None, description="Most US dollars for one unit and hour of Spot; LSF spells it spotPrice."
    )
    spot_fleet_request_expiry: Annotated[Whole, Field(ge=1, le=525_600)] | None = Field(
        default=None, description="Minutes until the request's deadline."
    )
    allocation_strategy: AllocationStrategy | None = Field(
        default=None, description="How Spot capacity is spread over pools."
    )
    allocation_strategy_on_demand: OnDemandStrategy | None = Field(
        default=None, description="In which order instance types are bought on demand."
    )
    percent_on_demand: Annotated[Whole, Field(ge=0, le=100)] | None = Field(
        default=None, description="Percent of the units that are bought on demand."
    )
    pools_count: Positive | None = Field(default=None, description="Spot pools to use with lowestPrice.")
    instance_profile: str | None = Field(default=None, description="Name or ARN of the machines' instance profile.")
    user_data_script: str | None = Field(default=None, description="Path of the start-up script.")
    launch_template_id: str | None = Field(default=None, description="Launch template to start from.")
    launch_template_version: str | None = Field(
        default=None, description="Version of that launch template; $Default if left out."
    )
    ebs_optimized: bool | None = Field(default=None, description="Whether machines have bandwidth of their own to EBS.")
    placement_group_name: str | None = Field(default=None, description="Placement group of the machines.")
    placement_partition: Annotated[Whole, Field(ge=1, le=7)] | None = Field(
        default=None, description="Number of the partition in a placement group of that strategy."
    )
    tenancy: Tenancy | None = Field(default=None, description="Whether machines share hardware with other accounts.")
    host_id: str | None = Field(default=None, description="Dedicated Host to launch on.")
    host_resource_group_arn: str | None = Field(default=None, description="Resource group of Dedicated Hosts.")
    interface_type: InterfaceType | None = Field(
        default=None, description="Type of the network interfaces; efa is an Elastic Fabric Adapter."
    )
    efa_count: Annotated[Whole, Field(ge=1, le=32)] | None = Field(
        default=None, description="Elastic Fabric Adapters of each machine, one on each network card."
    )
    user_data: UserData | None = Field(
        default=None, description="k=v;k=v, exported to the start-up script; shown and stored nowhere."
    )
    priority: Whole | None = Field(
        default=None, description="LSF's order of templates, highest first; told to the caller."
    )
    request_validity: Validity | None = Field(
        default=None, description="HH:MM until the request's deadline; LSF's spelling of spotFleetRequestExpiry."
    )
    on_demand_target_capacity_ratio: Ratio | None = Field(
        default=None, description="Share bought on demand, 0 to 1; LSF's spelling of percentOnDemand."
    )
    capacity_reservation: str | None = Field(
        default=None, description="Capacity reservation: its id, the ARN of a group of them, or open or none."
    )
    ec2_fleet_config: str | None = Field(
        default=None, description="Path of a JSON file of CreateFleet's parameters, which go over ours."
    )
    instance_requirements: dict[str, Any] = Field(
        default={}, description="What machines must have, as EC2's InstanceRequirements, in place of vmTypes."
    )
    launch_template_data: dict[str, Any] = Field(
        default={}, description="Goes over the launch template's data last, as EC2's RequestLaunchTemplateData."
    )
    api_parameters: dict[str, Any] = Field(
        default={}, description="Goes over the launching call's parameters last: by operation, or flat for the one."
    )


ALIASES: Mapping[str, str] = {"spotPrice": "max_spot_price", "spot_price": "max_spot_price"}
"""Other spellings of a field: LSF's."""

SPELLINGS: Mapping[str, str] = {
    **{name: name for name in TemplateFields.model_fields},
    **{to_camel(name): name for name in TemplateFields.model_fields},
    **ALIASES,
}
"""Every spelling that a file may have for a field, to the field's name."""

_MEANT: Mapping[str, Callable[[Any], Any]] = {
    "vm_type": lambda one: {one: 1},
    "request_validity": lambda minutes: minutes,
    "on_demand_target_capacity_ratio": lambda ratio: round(ratio * 100),
}
_UNSET: tuple[Any, ...] = (None, (), {})
_CORES = frozenset({"template_id", "max_number", "attributes", "provider_api", "spot_fleet_request_expiry", "priority"})
"""Fields that hfcore honours whatever the plug-in is."""

SAME = (
    ("vm_types", "vm_type"),
    ("spot_fleet_request_expiry", "request_validity"),
    ("percent_on_demand", "on_demand_target_capacity_ratio"),
)
"""Fields of a template that a file may give by another field, which is what `_MEANT` makes of it."""

_DEFAULTED = frozenset({"template_id", "max_number"})  # here an empty value is a mistake, elsewhere "not given"


_GROUPS: Mapping[str, str] = {
    **{other: name for name, other in SAME},
    "instance_requirements": "vm_types",
    "host_resource_group_arn": "host_id",
}
"""Field to the one that it stands in place of: a template that gives one of them has none of them by default."""

_BELONGS_TO = {"launch_template_version": "launch_template_id"}
"""Field to the one without which it means nothing: a template that gives that one has neither by default."""


class Parsed(NamedTuple):
    """What became of one template of a file.

    Args:
        template: The template, unless there is an error among the problems.
        problems: All that is wrong or has no effect; file and template are for the caller to fill in.
        spelt: Field of the template, or key of its `extra`, to the spelling in the file.
    """

    template: Template | None
    problems: tuple[Problem, ...]
    spelt: Mapping[str, str]


def with_defaults(raw: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Give a template of a file with the file's defaults for what it does not give; by `null` it does without one."""
    by_default = {_group(key) for key in defaults}
    given = {_group(key) for key in raw} | {"template_id"}
    own = {key: value for key, value in raw.items() if value is not None or _group(key) not in by_default}
    rest = {
        key: value
        for key, value in defaults.items()
        if given.isdisjoint((_group(key), _BELONGS_TO.get(SPELLINGS.get(key, key), "")))
    }
    return {**own, **rest}


def _group(key: str) -> str:
    """Give one word for all fields, in all spellings, of which a template has one at most."""
    name = SPELLINGS.get(key, to_camel(key))
    return _GROUPS.get(name, name)


def parse_defaults(raw: Mapping[str, Any], claimed: Callable[[], frozenset[str]]) -> tuple[Problem, ...]:
    """Find what is wrong with a file's defaults, whatever templates make of them."""
    fields = {key: value for key, value in raw.items() if _group(key) != "template_id"}
    message = "has no effect: each template has its own"
    ids = (Problem(field=key, message=message, severity=Severity.WARNING) for key in raw if key not in fields)
    return (*ids, *parse_template({"templateId": "defaults", **fields}, claimed, whole=False).problems)


def parse_template(raw: Mapping[str, Any], claimed: Callable[[], frozenset[str]], *, whole: bool = True) -> Parsed:
    """Read one template of a file.

    Args:
        raw: The JSON object.
        claimed: Gives the fields that plug-ins honour, as files spell them; asked only about unknown fields.
        whole: Whether it must have what Host Factory needs of a template.
    """
    known = {key: SPELLINGS[key] for key in raw if key in SPELLINGS}
    unknown = [key for key in raw if key not in SPELLINGS]
    honoured = claimed() if unknown else frozenset()
    names = known | {key: _claimed_as(key, honoured) for key in unknown}
    given = [key for key in raw if key in unknown or names[key] in _DEFAULTED or raw[key] not in (None, "")]
    spelt: dict[str, str] = {}
    for key in given:
        spelt.setdefault(names[key], key)
    problems = [_twice(key, spelt[names[key]]) for key in given if spelt[names[key]] != key]
    problems += [_twice(spelt[a], spelt[b]) for a, b in SAME if a in spelt and b in spelt]
    values = {name: raw[key] for name, key in spelt.items() if key in known}
    extra = {name: raw[key] for name, key in spelt.items() if key not in known}
    fields, wrong = _validate(values, spelt)
    problems += [*wrong, *(_lacking(fields, spelt) if whole else ())]
    named = {problem.field for problem in problems}
    problems += [
        _unsendable(spelt[n]) for n, value in values.items() if spelt[n] not in named and not _is_sendable(value)
    ]
    problems += [_unknown(key, honoured) for key in unknown if names[key] not in honoured]
    usable = fields is not None and all(problem.severity is not Severity.ERROR for problem in problems)
    return Parsed(_template(fields, extra) if fields and usable else None, tuple(problems), spelt)


def idle(template: Template, info: ProviderInfo) -> tuple[Problem, ...]:
    """Warn of hfcore's fields that a template sets and its plug-in, if it names fields at all, does not. Pure."""
    if not info.template_fields:
        return ()
    named = {SPELLINGS.get(one) for one in (*info.template_fields, *info.without_effect, *info.refused_fields)}
    named |= {name for name, other in SAME if other in named} | _CORES
    lost = (
        one for one in TemplateFields.model_fields if one not in named and getattr(template, one, None) not in _UNSET
    )
    message = f"has no effect with {info.name}"
    return tuple(Problem(field=to_camel(one), message=message, severity=Severity.WARNING) for one in lost)


def _is_sendable(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Tell whether all text of a value can be sent to a cloud and printed in a line."""
    if isinstance(value, dict):
        return all(map(_is_sendable, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return all(map(_is_sendable, value))
    return not isinstance(value, str) or not _UNSENDABLE.search(value)


def _unsendable(field: str) -> Problem:
    return Problem(field=field, message="holds a control character, or half of a character, that no cloud takes")


def _claimed_as(key: str, honoured: frozenset[str]) -> str:
    """Give the spelling by which a plug-in looks for an unknown field."""
    camel = to_camel(key)
    return camel if camel in honoured else key


def _twice(key: str, other: str) -> Problem:
    return Problem(field=key, message=f"is given beside {other}, and both mean the same", hint="keep one of the two")


def _validate(values: Mapping[str, Any], spelt: Mapping[str, str]) -> tuple[TemplateFields | None, list[Problem]]:
    try:
        return TemplateFields.model_validate(values), []
    except ValidationError as error:
        return None, [_problem(each, spelt) for each in error.errors(include_url=False)]


def _template(fields: TemplateFields, extra: Mapping[str, Any]) -> Template:
    values = {name: getattr(fields, name) for name in TemplateFields.model_fields}
    for name, other in SAME:
        value = values.pop(other)
        if value is not None:
            values[name] = _MEANT[other](value)
    return Template(**values, extra=extra)


def _lacking(fields: TemplateFields | None, spelt: Mapping[str, str]) -> list[Problem]:
    """Warn of attributes without which Host Factory can't choose a template."""
    missing = [name for name in ("type", "ncpus", "nram") if fields and name not in fields.attributes]
    if not missing:
        return []
    message = f"lacks {', '.join(missing)}, which Host Factory needs to choose the template"
    return [Problem(field=spelt.get("attributes", "attributes"), message=message, severity=Severity.WARNING)]


def _unknown(key: str, honoured: frozenset[str]) -> Problem:
    hint = _right_spelling(key, honoured)
    return Problem(field=key, message="is not known and has no effect", severity=Severity.WARNING, hint=hint)


def _right_spelling(key: str, honoured: frozenset[str]) -> str:
    spellings = [*(to_camel(name) for name in TemplateFields.model_fields), *ALIASES, *honoured, *SPELLINGS]
    same = next((spelling for spelling in spellings if _folded(spelling) == _folded(key)), "")
    return f"it is spelt {same}" if same else nearest(key, spellings)


def _folded(key: str) -> str:
    return re.sub(r"[\W_]", "", key).lower()


_SENTENCES = {
    "dict_type": "must be an object",
    "finite_number": "must be a number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "string_pattern_mismatch": "must be 1 to 64 of the letters a-z and A-Z, digits, - and _",
    "string_type": "must be text",
}
"""What pydantic found, by its own name for it, in a plain sentence."""


def _problem(error: ErrorDetails, spelt: Mapping[str, str]) -> Problem:
    name, *path = (str(part) for part in error["loc"])
    field = ".".join([spelt.get(name, to_camel(name)), *path])
    given, context = error["input"], error.get("ctx", {})
    if error["type"] == "value_error":
        return Problem(field=field, message=str(context["error"]))
    sentence = _SENTENCES.get(error["type"])
    message = sentence.format(**context).replace("'", "") if sentence else error["msg"]
    if isinstance(given, (str, int, float)):
        message += f", not {json.dumps(given)[:60]}"
    choices = re.findall(r"'(\w+)'", str(context.get("expected", "")))
    return Problem(field=field, message=message, hint=nearest(str(given), choices) if choices else "")
