"""The five distributions, built, and installed into an empty environment with nothing of this checkout on its path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
VERBS = (
    "getAvailableTemplates",
    "requestMachines",
    "getRequestStatus",
    "requestReturnMachines",
    "getReturnRequests",
)


def project(folder: Path) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return found


def run(*words: str | Path, **environment: str) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HF", "AWS_"))}
    command = [str(word) for word in words]
    ended = subprocess.run(
        command, env={**kept, **environment}, capture_output=True, text=True, check=False, cwd="/", timeout=300
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, *PLUGINS):
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source)
    return {wheel.name.split("-")[0]: wheel for wheel in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def environment(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", *wheels.values())
    return folder / "bin"


def test_the_five_distributions_have_one_version_and_each_plugin_is_bound_to_it() -> None:
    core = project(ROOT)
    for folder in PLUGINS:
        plugin = project(folder)
        assert plugin["version"] == core["version"], folder
        assert "hfcore[aws]>=0.1,<0.2" in plugin["dependencies"], folder


@pytest.mark.wheels
@pytest.mark.timeout(400)
def test_each_wheel_says_that_it_is_typed_and_holds_no_test(wheels: dict[str, Path]) -> None:
    assert len(wheels) == 1 + len(PLUGINS) == 5
    for wheel in wheels.values():
        names = zipfile.ZipFile(wheel).namelist()
        assert any(name.endswith("py.typed") for name in names), wheel
        assert not [name for name in names if "tests/" in name], wheel


@pytest.mark.wheels
@pytest.mark.timeout(400)
def test_the_wheel_of_the_core_holds_the_ten_scripts(wheels: dict[str, Path]) -> None:
    names = set(zipfile.ZipFile(wheels["hfcore"]).namelist())
    assert {f"hfcore/scripts/{verb}.{kind}" for verb in VERBS for kind in ("sh", "bat")} <= names


@pytest.mark.wheels
@pytest.mark.timeout(400)
def test_an_empty_environment_with_the_five_wheels_has_four_active_plugins(environment: Path) -> None:
    listed = json.loads(run(environment / "hfcore", "plugins", "list", "--output", "json"))["items"]
    assert [row["name"] for row in listed] == ["ASG", "EC2Fleet", "RunInstances", "SpotFleet"]
    assert {row["status"] for row in listed} == {"active"}


@pytest.mark.wheels
@pytest.mark.timeout(400)
def test_a_laid_out_script_answers_from_the_installed_wheels(environment: Path, tmp_path: Path) -> None:
    instance = tmp_path / "provider instance"
    run(environment / "hfcore", "init", "--provider", instance, "--name", "awsinst")
    answer = json.loads(run(instance / "scripts" / "getAvailableTemplates.sh", PATH="/usr/bin:/bin"))
    assert answer["templates"]
