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

from hfcore.testing.aws import StrictAws
from hfcore.testing.instance import PROVIDER, Document, ProviderInstance
from hfcore.testing.site import Site, templates

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
VERBS = (
    "getAvailableTemplates",
    "requestMachines",
    "getRequestStatus",
    "requestReturnMachines",
    "getReturnRequests",
)


ATTRIBUTES = {"type": ["String", "X86_64"], "ncpus": ["Numeric", "1"], "nram": ["Numeric", "1024"]}


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
@pytest.mark.timeout(600)
def test_the_wheels_hold_what_they_must_and_an_empty_environment_takes_them_and_what_others_make(
    wheels: dict[str, Path], environment: Path, tmp_path: Path
) -> None:
    """One test, as each worker of pytest-xdist would build the wheels anew for another."""
    held = {name: zipfile.ZipFile(wheel).namelist() for name, wheel in wheels.items()}
    assert len(held) == 1 + len(PLUGINS) == 5
    for names in held.values():
        assert any(name.endswith("py.typed") for name in names)
        assert not [name for name in names if "tests/" in name and name.endswith(".py")]
    assert {f"hfcore/scripts/{verb}.{kind}" for verb in VERBS for kind in ("sh", "bat")} <= set(held["hfcore"])

    assert active(environment) == ["ASG", "EC2Fleet", "RunInstances", "SpotFleet"]
    laid_out = tmp_path / "provider instance"
    run(environment / "hfcore", "init", "--provider", laid_out, "--name", PROVIDER)
    answer = json.loads(run(laid_out / "scripts" / "getAvailableTemplates.sh", PATH="/usr/bin:/bin"))
    assert answer["templates"]

    sources = [new_plugin(environment, tmp_path, *words) for words in (["Acme"], ["Widget", "--cloud", "widget"])]
    sources += [ROOT / "examples" / "hfcore-local", ROOT / "examples" / "hfcore-eventlog"]
    install(environment, sources, tmp_path / "wheels")
    assert active(environment) == [
        "Acme",
        "ASG",
        "EC2Fleet",
        "Local",
        "RunInstances",
        "SpotFleet",
        "Widget",
        "eventlog",
    ]
    tests = [source / "tests" for source in sources]
    options = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-W", "error")
    told = run(environment / "python", "-m", "pytest", *options, f"--rootdir={tmp_path}", *tests)
    assert " passed" in told

    scripts = laid_out / "scripts"
    with StrictAws(boot_seconds=0, shutdown_seconds=0) as aws:
        on_aws = Site(tmp_path / "acme", aws, scripts)
        (like, *_) = templates(aws)
        come_and_go(on_aws, like | {"templateId": "Small", "providerApi": "Acme"})
        assert not aws.violations
        assert {call.operation for call in aws.calls} >= {"RunInstances", "TerminateInstances"}
    for api in ("Widget", "Local"):
        instance = ProviderInstance(tmp_path / api, scripts)
        instance.variables["HFCORE_EVENT_LOG"] = str(instance.folder / "events")
        come_and_go(instance, {"templateId": "Small", "maxNumber": 9, "attributes": ATTRIBUTES, "providerApi": api})
        events = [json.loads(line)["event"] for line in (instance.folder / "events").read_text().splitlines()]
        assert events == ["request.created", "request.ended", "return.created", "return.ended"]


def active(environment: Path) -> list[str]:
    listed = json.loads(run(environment / "hfcore", "plugins", "list", "--output", "json"))["items"]
    assert {row["status"] for row in listed} == {"active"}
    return [row["name"] for row in listed]


def new_plugin(environment: Path, folder: Path, name: str, *words: str) -> Path:
    made = folder / f"hfcore-{name.lower()}"
    run(environment / "hfcore", "plugins", "new", name, *words, "--folder", made)
    return made


def install(environment: Path, sources: list[Path], wheels: Path) -> None:
    for source in sources:
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, source)
    pip = (environment / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt")
    run(*pip, "hfcore[testing]", *wheels.glob("*.whl"))


def come_and_go(instance: ProviderInstance, template: Document) -> None:
    """Let machines of a template come and go by the five scripts."""
    instance.put("prov_config.json", {"AWS_REGION": "us-east-1"})
    instance.put("prov_templates.json", {"templates": [template]})
    assert [one["templateId"] for one in instance.run("getAvailableTemplates", {}).answer["templates"]] == ["Small"]
    machines = instance.poll_until(instance.request("Small", 2))["machines"]
    assert len(machines) == 2
    assert instance.run("getReturnRequests", {"machines": []}).answer["requests"] == []
    gone = instance.poll_until(instance.give_back([{"machineId": one["machineId"]} for one in machines]))
    assert {one["status"] for one in gone["machines"]} == {"terminated"}
