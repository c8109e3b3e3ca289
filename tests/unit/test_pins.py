"""The pinned dependencies are those that the project files ask for, and the audit of `make lint` finds what is not."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
OURS = frozenset({"hfcore"})


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit_of_dependencies", ROOT / "tools" / "audit.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_pin_is_what_the_project_files_ask_for_and_nothing_is_left_open(audit: ModuleType) -> None:
    pinned = audit.pins((ROOT / "constraints.txt").read_text())
    files = [ROOT / "pyproject.toml", *(ROOT / "plugins").glob("*/pyproject.toml")]
    asked = [one for path in files for one in audit.wanted(tomllib.loads(path.read_text()))]
    assert {"pluggy", "boto3", "moto", "hatchling"} <= {one.name for one in asked}
    assert list(audit.unsatisfied(asked, pinned, OURS)) == []


def test_what_comes_along_with_what_is_shipped_is_pinned_too(audit: ModuleType) -> None:
    pinned = audit.pins((ROOT / "constraints.txt").read_text())
    shipped = {name for name in audit.shipped() if not name.startswith("hfcore")}
    assert {"botocore", "urllib3", "typer"} <= shipped
    assert shipped <= pinned.keys()


def test_a_pin_that_is_not_asked_for_so_is_found(audit: ModuleType) -> None:
    asked = [Requirement("pluggy>=1.7,<2"), Requirement("rich>=13.9"), Requirement("hfcore>=0.1")]
    found = list(audit.unsatisfied(asked, {"pluggy": "1.6"}, OURS))
    assert found == ["pluggy<2,>=1.7 is asked for, and 1.6 is pinned", "rich>=13.9 is asked for, and not pinned"]


def test_what_is_installed_otherwise_than_pinned_is_found(audit: ModuleType) -> None:
    installed = {"a": "1", "b": "2", "pip": "26", "hfcore": "0.1.0"}
    found = list(audit.unpinned(installed, {"a": "1.1", "c": "3"}, OURS))
    assert [line.split(":")[0] for line in found] == [
        "a is 1, and constraints.txt has it 1.1",
        "b is 2, and constraints.txt has it not pinned",
        "c is not installed, and constraints.txt has it 3",
    ]


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("MIT", True),
        ("License :: OSI Approved :: BSD License", True),
        ("GPL-2.0-only OR MIT", True),
        ("LGPL-3.0", False),
        ("MIT AND GPL-3.0-only", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_a_licence_is_judged_by_its_words(audit: ModuleType, *, words: str, allowed: bool) -> None:
    assert bool(audit.may_be_used(words)) == allowed
