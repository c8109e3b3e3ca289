"""The page on templates: every plug-in has a word on every field, and the example is right."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from hfcore.templatefields import parse_template, with_defaults

if TYPE_CHECKING:
    from types import ModuleType


def test_what_a_plug_in_does_not_honour_has_its_reason_and_is_a_field(pages: ModuleType) -> None:
    for info in pages.PLUGINS.values():
        known = {*pages.FIELDS.values(), *info.template_fields}
        for field, reason in {**info.without_effect, **info.refused_fields}.items():
            assert field in known, f"{info.name}: {field}"
            assert len(reason) > 5, f"{info.name}: {field}"


def test_every_plug_in_has_a_word_on_every_field(pages: ModuleType) -> None:
    silent = [
        f"{name}: {field}"
        for name, info in pages.PLUGINS.items()
        for field in pages.FIELDS.values()
        if pages.word(info, field) == pages.SILENT
    ]
    assert silent == []


def test_the_example_of_a_file_is_right_and_means_what_the_page_says(pages: ModuleType) -> None:
    example = json.loads(re.findall(r"```json\n(.*?)```", (pages.DOCS / "fields.md").read_text(), re.DOTALL)[0])
    small, plain = (
        parse_template(with_defaults(one, example["defaults"]), frozenset).template for one in example["templates"]
    )
    assert small
    assert plain
    assert (small.provider_api, small.image_id, small.subnet_id) == ("EC2Fleet", plain.image_id, plain.subnet_id)
    assert plain.provider_api is None
