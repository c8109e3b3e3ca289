"""Own the JSON Schema of a template file, for editors and for checks where hfcore is not installed. Pure.

It is stricter than hfcore, which goes on with what it only warns of: here a field is known or wrong, it is spelt in
camel case, and a number is no text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcore.templatefields import ALIASES, TemplateFields
from hfcore.templates import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Schema = dict[str, Any]

_ID = "templateId"
_FIELDS = {"$ref": "#/$defs/fields"}
_KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}  # what pydantic leaves in its own words
_ABOUT = (
    "Stricter than hfcore: unknown fields, of which it only warns, are refused here, and so are snake-case spellings "
    "and numbers in quotes, which it takes. null is the same as leaving a field out, and takes a default away."
)


def template_schema(claimed: Mapping[str, Iterable[str]]) -> Schema:
    """Give the JSON Schema (2020-12) of a template file.

    Args:
        claimed: Installed provider API to the template fields that its plug-in honours, as files spell them.
    """
    model = TemplateFields.model_json_schema()["properties"]
    ours = {name: _property(fields) for name, fields in model.items() if name != _ID}
    camel = {field: info.alias or field for field, info in TemplateFields.model_fields.items()}
    ours |= {name: ours[camel[field]] for name, field in ALIASES.items() if "_" not in name}
    ours["providerApi"]["examples"] = sorted(claimed)
    theirs: dict[str, list[str]] = {}
    for api, names in sorted(claimed.items()):
        for name in sorted({*names} - ours.keys() - {_ID}):
            theirs.setdefault(name, []).append(api)
    more = {name: {"description": f"Honoured by {', '.join(apis)}."} for name, apis in theirs.items()}
    template = {"properties": {_ID: _plain(model[_ID])}, "required": [_ID]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hfcore template file",
        "description": _ABOUT,
        "type": "object",
        "required": ["templates"],
        "additionalProperties": False,
        "properties": {
            "$schema": {"type": "string"},
            DEFAULTS: {
                "description": "Fields of every template of this file that does not give them itself.",
                "unevaluatedProperties": False,
                **_FIELDS,
            },
            "templates": {
                "description": "The templates, which Host Factory tries in this order.",
                "type": "array",
                "items": {"type": "object", **template, "unevaluatedProperties": False, **_FIELDS},
            },
        },
        "$defs": {"fields": {"type": "object", "properties": {**ours, **more}}},
    }


def _property(fields: Schema) -> Schema:
    """Give the schema of a field that a template may leave out, or give as `null`."""
    plain = _plain(fields)
    said = {name: plain.pop(name) for name in ("description", "default") if plain.get(name)}
    plain.pop("default", None)
    null = {"type": "null"}
    choices = plain.get("anyOf", [plain])
    return {**said, "anyOf": choices if null in choices else [*choices, null]}


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Take pydantic's own words out of a schema."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {_KEYWORDS.get(name, name): _plain(each) for name, each in value.items() if name != "title"}
