"""The table of fields says what the code and the plug-ins say; `HFCORE_GOLDEN=write` writes it anew."""

from __future__ import annotations

import json
import os
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from hfcore.templatefields import SAME, TemplateFields, parse_template, with_defaults
from hfcore.testing.golden import WRITE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.models import ProviderInfo

PAGE = Path(__file__).parents[2] / "docs" / "fields.md"
MARK = "<!-- fields: generated from the code by `make golden` -->\n"
PLUGINS: dict[str, ProviderInfo] = {
    name: import_module(f"hfcore_aws_{name.lower()}.plugin").provider_info()
    for name in ("RunInstances", "EC2Fleet", "SpotFleet", "ASG")
}
FIELDS = {name: info.alias or name for name, info in TemplateFields.model_fields.items()}
MEANS = {FIELDS[other]: FIELDS[name] for name, other in SAME}
SILENT = "—"


def word(info: ProviderInfo, field: str) -> str:
    """Give what a plug-in says of a field; of another way to say a field, what it says of that one."""
    if field in info.refused_fields:
        return f"refused: {info.refused_fields[field]}"
    if field in info.without_effect:
        return f"no effect: {info.without_effect[field]}"
    if field in info.template_fields:
        return "yes"
    return word(info, MEANS[field]) if field in MEANS else SILENT


def table() -> Iterator[str]:
    yield f"| field | what it is | {' | '.join(PLUGINS)} |"
    yield "|---" * (2 + len(PLUGINS)) + "|"
    for name, field in FIELDS.items():
        words = " | ".join(word(info, field).replace("|", "\\|") for info in PLUGINS.values())
        about = (TemplateFields.model_fields[name].description or "").removesuffix(".")
        yield f"| `{field}` | {about} | {words} |"


def test_the_table_is_what_the_code_says() -> None:
    head, written = PAGE.read_text().split(MARK)
    built = "\n".join(table()) + "\n"
    if os.environ.get(WRITE) == "write":
        PAGE.write_text(head + MARK + built)
        return
    assert written == built, f"see the difference, and write it: {WRITE}=write"


def test_what_a_plug_in_does_not_honour_has_its_reason_and_is_a_field() -> None:
    for info in PLUGINS.values():
        known = {*FIELDS.values(), *info.template_fields}
        for field, reason in {**info.without_effect, **info.refused_fields}.items():
            assert field in known, f"{info.name}: {field}"
            assert len(reason) > 5, f"{info.name}: {field}"


def test_every_plug_in_has_a_word_on_every_field() -> None:
    silent = [
        f"{name}: {field}" for name, info in PLUGINS.items() for field in FIELDS.values() if word(info, field) == SILENT
    ]
    assert silent == []


def test_the_example_of_a_file_is_right_and_means_what_the_page_says() -> None:
    example = json.loads(re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)[0])
    small, plain = (
        parse_template(with_defaults(one, example["defaults"]), frozenset).template for one in example["templates"]
    )
    assert small
    assert plain
    assert (small.provider_api, small.image_id, small.subnet_id) == ("EC2Fleet", plain.image_id, plain.subnet_id)
    assert plain.provider_api is None
