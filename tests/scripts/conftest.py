"""Provider instances laid out by `hfcore init`, their five scripts called as Host Factory calls them, on a strict AWS.

Every call of a script is checked by itself: one JSON document on stdout and nothing else, stderr empty on success, exit
code 0 or 1, and with 1 a message.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import pytest

from hfcore.testing import site as testing
from hfcore.testing.aws import StrictAws
from hfcore.testing.rights import overstepped
from hfcore.testing.site import CASES, PROVIDER, Case, Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SAMPLES = Path(__file__).parents[1] / "samples"
REPOSITORY = Path(__file__).parents[2]
UNKNOWN_ID = "req-00000000-0000-4000-8000-000000000000"
MOVED_FROM, MOVED_TO = 0x40, 0x80  # inotify(7)


class Writes:
    """Counts how often files of a folder are put in place (rename), by name, while the block runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK)
        # Where it came from is watched too: the kernel makes one of two events that are alike and follow each other.
        assert libc.inotify_add_watch(self._descriptor, bytes(self.folder), MOVED_FROM | MOVED_TO) >= 0
        return self

    def __exit__(self, *_: object) -> None:
        data, at = b"", 0
        try:
            while chunk := os.read(self._descriptor, 65536):
                data += chunk
        except BlockingIOError:
            pass
        os.close(self._descriptor)
        while at < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, at)
            name = data[at + 16 : at + 16 + length].rstrip(b"\0").decode()
            at += 16 + length
            if mask & MOVED_TO:
                self.counts[name] = self.counts.get(name, 0) + 1

    def of(self, name: str) -> int:
        return self.counts.get(name, 0)


class Site(testing.Site):
    """A provider instance that is asked through its scripts, with the sample files."""

    def lay_out(self) -> None:
        self.put("prov_config.json", json.loads((SAMPLES / "awsprov_config.json").read_text()))
        self.write_templates()

    def write_templates(self, **changed: Document) -> None:
        """Write the sample templates with this AWS's own ids, with variants; `changed` are more, by templateId."""
        region = self.aws.region()
        subnets = list(region.subnets)
        text = (SAMPLES / "awsprov_templates.json").read_text()
        for placeholder, real in (
            ("subnet-REPLACE2", subnets[1]),
            ("subnet-REPLACE", subnets[0]),
            ("sg-REPLACE", next(iter(region.security_groups))),
        ):
            text = text.replace(placeholder, real)
        templates = {each["templateId"]: each for each in json.loads(text)["templates"]}
        templates["Fleet-Request"] = templates["Fleet-Maintain"] | {"fleetType": "request"}
        templates["Spot-Plain"] = templates["Spot-Mixed"] | {"vmTypes": {"m5.large": 1, "m5a.large": 1}}
        for name, more in changed.items():
            like = more.get("like", "OnDemand-Small")
            templates[name] = templates[like] | {key: value for key, value in more.items() if key != "like"}
        self.put(
            "prov_templates.json", {"templates": [each | {"templateId": name} for name, each in templates.items()]}
        )


def lay_out(python: Path, folder: Path) -> Path:
    """Let `hfcore init`, run by this interpreter, lay out an instance; give the folder of its scripts."""
    subprocess.run(
        [python, "-m", "hfcore", "init", "--provider", folder, "--name", PROVIDER],
        env={"PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    return folder / "scripts"


class Venv:
    """An environment of its own: what is installed here, by links, so that distributions can come and go."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        self.site_packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        for each in Path(sysconfig.get_path("purelib")).iterdir():
            (self.site_packages / each.name).symlink_to(each)

    def uninstall(self, distribution: str) -> Callable[[], None]:
        """Take a distribution out, with what makes its module importable; give what puts it back."""
        name = distribution.replace("-", "_")
        found = [each for each in self.site_packages.iterdir() if name in each.name]
        assert any(each.name.endswith(".dist-info") for each in found), f"{distribution} is not installed"
        targets = {each: each.resolve() for each in found}
        for each in found:
            each.unlink()
        return lambda: [each.symlink_to(target) for each, target in targets.items()] and None

    def install(self, distribution: str, entry_points: Mapping[str, str], modules: Mapping[str, str]) -> None:
        """Put a distribution in that claims provider APIs: name to module, and module to source."""
        info = self.site_packages / f"{distribution.replace('-', '_')}-9.9.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 9.9\n")
        points = "\n".join(f"{api} = {module}" for api, module in entry_points.items())
        (info / "entry_points.txt").write_text(f"[hfcore.providers]\n{points}\n")
        for module, source in modules.items():
            (self.site_packages / f"{module}.py").write_text(source)


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    """Give each provider API in each of its forms."""
    found: Case = request.param
    return found


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the scripts as `hfcore init` lays them out; Host Factory's variables name the instance."""
    return lay_out(Path(sys.executable), tmp_path_factory.mktemp("laid-out") / "instance")


@pytest.fixture(scope="session")
def make_site(scripts: Path) -> Iterator[Callable[..., Site]]:
    """Make provider instances, each with an AWS of its own; keyword arguments are its timings."""
    started: list[StrictAws] = []

    def make(folder: Path, *, scripts: Path = scripts, **timings: float) -> Site:
        started.append(StrictAws(**timings).start())
        return Site(folder, started[-1], scripts)

    yield make
    for aws in started:
        aws.stop()  # those of modules; a second time is no harm


@pytest.fixture
def new_site(make_site: Callable[..., Site], tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Make an instance; in the end, its AWS must have seen no rule broken."""
    made: list[Site] = []

    def make(**options: Any) -> Site:  # noqa: ANN401 - those of make_site
        made.append(make_site(tmp_path / f"site-{len(made)}", **options))
        return made[-1]

    yield make
    for site in made:
        site.aws.stop()
    assert [site.aws.violations for site in made] == [[]] * len(made)
    assert not any(overstepped(site.aws.calls) for site in made)


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """Give an instance in whose AWS everything is quick."""
    return new_site()


@pytest.fixture
def own_venv(tmp_path: Path) -> Venv:
    """Give an environment of its own."""
    return Venv(tmp_path / "venv")


@pytest.fixture
def venv_site(own_venv: Venv, new_site: Callable[..., Site], scripts: Path, tmp_path: Path) -> Callable[..., Site]:
    """Make an instance whose scripts run in the environment of `own_venv`."""
    laid_out = tmp_path / "scripts"
    laid_out.mkdir()
    for script in scripts.glob("*.sh"):
        copied = laid_out / script.name
        text = script.read_text()
        assert text.count(f"PYTHON={sys.executable}\n") == 1
        copied.write_text(text.replace(f"PYTHON={sys.executable}\n", f"PYTHON={own_venv.python}\n"))
        copied.chmod(0o700)
    return lambda **timings: new_site(scripts=laid_out, **timings)


@pytest.fixture
def closed_port() -> dict[str, str]:
    """Give the variables of an AWS that can't be reached."""
    with StrictAws() as aws:
        environment = aws.environment()
    assert urlsplit(environment["AWS_ENDPOINT_URL"]).port
    return environment


@pytest.fixture
def writes() -> type[Writes]:
    """Give what counts writes."""
    return Writes


@pytest.fixture
def cases() -> dict[str, Case]:
    """Give each provider API in each of its forms, by name."""
    return CASES
