"""Own what of a template is never stored, shown or logged, such as its user data. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hfcore.models import Template

SECRET = "UserData"  # noqa: S105 - the name of a member, as EC2 has it
NOT_SHOWN = "***"


def withheld(template: Template) -> str:
    """Give a hash of a template's user data, also where that has been left out; empty for none."""
    secret = (template.user_data, template.launch_template_data.get(SECRET))
    if template.withheld or not any(secret):
        return template.withheld
    from hashlib import sha256

    return sha256(repr(secret).encode()).hexdigest()[:24]


def without_user_data(template: Template) -> Template:
    """Give a template as it may be stored: a hash stands for its user data."""
    if not withheld(template):
        return template
    data = {name: value for name, value in template.launch_template_data.items() if name != SECRET}
    return replace(template, user_data=None, launch_template_data=data, withheld=withheld(template))


def with_user_data(template: Template, source: Template | None) -> Template:
    """Give a stored template its user data again, which `source` has; as it is, where that is not the same any more."""
    if source is None or source.withheld or withheld(source) != template.withheld:
        return template
    secret = {name: value for name, value in source.launch_template_data.items() if name == SECRET}
    data = {**template.launch_template_data, **secret}
    return replace(template, user_data=source.user_data, launch_template_data=data, withheld="")


def of_request(template: Template, claimed: Iterable[str]) -> Template:
    """Give a template as its requests have it: of fields that hfcore does not know, those that its plug-in claims."""
    extra = {name: template.extra[name] for name in claimed if name in template.extra}
    return replace(template, extra=extra, attributes={})


def concealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give a template's fields as they may be shown: whatever is named user data, in any spelling, is blotted out."""
    return {name: NOT_SHOWN if value and _is_secret(name) else _concealed(value) for name, value in fields.items()}


def _concealed(value: object) -> object:
    if isinstance(value, dict):
        return concealed(value)
    return [_concealed(one) for one in value] if isinstance(value, list) else value


def _is_secret(name: str) -> bool:
    return name.lower().replace("_", "") == SECRET.lower()
