"""Audit what is installed here, without a network: pins against what is there and what is wanted, and licences.

`make lint` runs it. Known vulnerabilities are not looked up: that needs a service; see CONTRIBUTING.md.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).parents[1]
NOT_PINNED = {"pip", "setuptools"}
"""What a virtual environment brings itself."""

SHIPPED = ("hfcore[aws]", "hfcore-aws-asg", "hfcore-aws-ec2fleet", "hfcore-aws-spotfleet", "hfcore-aws-runinstances")
ALLOWED = re.compile(r"\b(MIT|MIT-0|BSD|Apache|ISC|PSF|MPL|Python Software Foundation|CNRI-Python)", re.IGNORECASE)
"""Licences under which a dependency may be used beside Apache 2.0; of MPL, files stay under it."""

REFUSED = re.compile(r"GPL", re.IGNORECASE)


def pins(text: str) -> dict[str, str]:
    """Read constraints: canonical name to version."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def wanted(pyproject: Mapping[str, Any]) -> Iterator[Requirement]:
    """Give everything that a project file asks for: to run, for its extras, for its groups, to build."""
    project = pyproject.get("project", {})
    yield from map(Requirement, project.get("dependencies", ()))
    for several in (project.get("optional-dependencies", {}), pyproject.get("dependency-groups", {})):
        yield from (Requirement(one) for each in several.values() for one in each)
    yield from map(Requirement, pyproject.get("build-system", {}).get("requires", ()))


def unpinned(installed: Mapping[str, str], pinned: Mapping[str, str], own: frozenset[str]) -> Iterator[str]:
    """Tell where what is installed and what is pinned are not the same."""
    there = {name: version for name, version in installed.items() if name not in own | NOT_PINNED}
    for name in sorted(there.keys() | pinned.keys()):
        if there.get(name) != pinned.get(name):
            found, pin = there.get(name, "not installed"), pinned.get(name, "not pinned")
            yield f"{name} is {found}, and constraints.txt has it {pin}: make lock"


def unsatisfied(asked: Iterable[Requirement], pinned: Mapping[str, str], own: frozenset[str]) -> Iterator[str]:
    """Tell which pins are not what a project file asks for."""
    for one in asked:
        name = canonicalize_name(one.name)
        if name in own or (one.marker and not one.marker.evaluate()):
            continue
        if name not in pinned:
            yield f"{one} is asked for, and not pinned"
        elif not one.specifier.contains(pinned[name], prereleases=True):
            yield f"{one} is asked for, and {pinned[name]} is pinned"


def needs(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """Give what an installed distribution needs here, with these extras."""
    for text in metadata.requires(name) or ():
        one = Requirement(text)
        try:
            if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                yield one
        except UndefinedEnvironmentName:
            continue


def inconsistent(names: Iterable[str]) -> Iterator[str]:
    """Tell what installed distributions need and do not find, as `pip check` does."""
    for name in names:
        for one in needs(name, frozenset()):
            try:
                version = metadata.version(one.name)
            except metadata.PackageNotFoundError:
                yield f"{name} needs {one}, which is not installed"
            else:
                if not one.specifier.contains(version, prereleases=True):
                    yield f"{name} needs {one}, and {version} is installed"


def shipped(roots: Iterable[str] = SHIPPED) -> set[str]:
    """Give all distributions that come along when hfcore is installed with its plug-ins."""
    todo, found = [Requirement(root) for root in roots], set[tuple[str, frozenset[str]]]()
    while todo:
        one = todo.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key not in found:
            found.add(key)
            todo += needs(*key)
    return {name for name, _ in found}


def licence(name: str) -> str:
    """Give a distribution's licence in its own words."""
    about = metadata.metadata(name)
    classified = [one for one in about.get_all("Classifier") or () if one.startswith("License ::")]
    told = about.get("License-Expression") or about.get("License") or ""  # the latter may be the whole text
    return " ".join([*classified, told])[:300].strip()


def doubtful(names: Iterable[str]) -> Iterator[str]:
    """Tell which licences are not among those that are allowed."""
    for name in sorted(names):
        if not may_be_used(licence(name)):
            yield f"{name}: its licence is {licence(name) or 'not told'!r}"


def may_be_used(words: str) -> bool:
    """Judge a licence by its words; of several that are to be chosen from, one is enough."""
    return any(ALLOWED.search(one) and not REFUSED.search(one) for one in words.split(" OR "))


def main() -> int:
    """Print everything that is wrong, and give the exit code."""
    files = [ROOT / "pyproject.toml", *sorted((ROOT / "plugins").glob("*/pyproject.toml"))]
    projects = [tomllib.loads(path.read_text()) for path in files]
    own = frozenset(canonicalize_name(one["project"]["name"]) for one in projects)
    pinned = pins((ROOT / "constraints.txt").read_text())
    installed = {canonicalize_name(one.name): one.version for one in metadata.distributions()}
    wrong = [
        *unpinned(installed, pinned, own),
        *unsatisfied((one for each in projects for one in wanted(each)), pinned, own),
        *inconsistent(sorted(installed)),
        *doubtful(installed.keys() - NOT_PINNED),
    ]
    for line in wrong:
        print(line)
    if not wrong:
        print(f"{len(pinned)} pins are right; {len(shipped() - own)} of them are shipped")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
