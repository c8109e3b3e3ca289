"""The exact launch template data of each sort of field: `golden_launch_data.json`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfcore.aws import tags
from hfcore.aws.launch import launch_data
from hfcore.testing.golden import CONTEXT, DATA, Golden

GOLDEN = Golden(Path(__file__).with_name("golden_launch_data.json"))


@pytest.mark.parametrize("name", DATA)
def test_exactly_this_is_sent(name: str) -> None:
    template = DATA[name]
    data = launch_data(template, image_id="ami-1", user_data=b"", tags=tags.of_instances(CONTEXT, template, "req-1"))
    GOLDEN.check(
        name, [("ec2", "CreateLaunchTemplate", {"LaunchTemplateName": "hfcore-abc", "LaunchTemplateData": data})]
    )


def test_nothing_is_written_down_that_is_not_tested() -> None:
    assert GOLDEN.names() == set(DATA)
