"""Own how the distribution of a new plug-in is made of the files in `scaffold/`."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Final

from hfcore import __version__
from hfcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

AWS: Final = "aws"
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}")
_END: Final = ".in"
_FILES: Final = "FILES"  # what the README says of the files that not both kinds have
_PLACES: Final = {"module": "@MODULE@", "github": ".github"}


def distribution(name: str) -> str:
    """Give the distribution of a provider API: `hfcore-acme` of `Acme`.

    Raises:
        InputError: This can't be the name of one.
    """
    return f"hfcore-{_word('the name of a provider API', name).lower()}"


def write_plugin(folder: Path, name: str, cloud: str = AWS) -> tuple[Path, ...]:
    """Write a plug-in's distribution into a new folder, and give its files.

    Args:
        folder: The folder; nothing may be there yet.
        name: The provider API.
        cloud: Its cloud. One that is not `aws` is at first a folder of files, in whose place the author puts his own.

    Raises:
        InputError: The name or the cloud can't be one, or something is where the folder is to be.
    """
    dist, cloud = distribution(name), _word("the name of a cloud", cloud).lower()
    values = {"NAME": name, "DIST": dist, "MODULE": dist.replace("-", "_"), "HFCORE": _compatible(__version__)}
    values["CLOUD"] = "AWS" if cloud == AWS else cloud
    shipped = resources.files("hfcore") / "scaffold"
    texts = dict(_texts(shipped / "common")) | dict(_texts(shipped / ("aws" if cloud == AWS else "other")))
    values[_FILES] = _filled(texts.pop(_FILES).rstrip(), values)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"{folder} is there already: nothing was written", hint="name another by --folder") from None
    return tuple(_write(folder / _filled(path, values), _filled(text, values)) for path, text in sorted(texts.items()))


def _word(what: str, said: str) -> str:
    if not _WORD.fullmatch(said):
        raise InputError(f"{said!r} can't be {what}", hint="at most 40 letters and digits, a letter first: Acme")
    return said


def _compatible(version: str) -> str:
    """Give the versions of hfcore that a plug-in made now is for: below 1.0 the minor version is the interface."""
    major, minor, *_ = (int(part) for part in version.split("."))
    return f">={major}.{minor},<{major}.{minor + 1}" if major == 0 else f">={major}.{minor},<{major + 1}"


def _texts(folder: Traversable, place: str = "") -> Iterator[tuple[str, str]]:
    """Give the files of a folder: where each is to stand, and its text."""
    for one in folder.iterdir():
        name = place + _PLACES.get(one.name, one.name)
        if one.is_dir():
            yield from _texts(one, f"{name}/")
        elif name.endswith(_END):
            yield name.removesuffix(_END), one.read_text("utf-8")


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], text)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path
