"""Own how the distribution of a new plug-in is made of the files in `scaffold/`."""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from hfcore import __version__
from hfcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

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
    """Write a plug-in's distribution into a new folder, all of it or nothing, and give its files.

    Args:
        folder: The folder; nothing may be there yet.
        name: The provider API.
        cloud: Its cloud. One that is not `aws` is at first a folder of files, in whose place the author puts his own.

    Raises:
        InputError: The name or the cloud can't be one, something is where the folder is to be, or it can't be made.
    """
    dist, cloud = distribution(name), _word("the name of a cloud", cloud).lower()
    values = {"NAME": name, "DIST": dist, "MODULE": dist.replace("-", "_"), "HFCORE": _compatible(__version__)}
    values["CLOUD"] = "AWS" if cloud == AWS else cloud
    shipped = resources.files("hfcore") / "scaffold"
    texts = dict(_texts(shipped / "common")) | dict(_texts(shipped / ("aws" if cloud == AWS else "other")))
    values[_FILES] = _filled(texts.pop(_FILES).rstrip(), values)
    files = {_filled(path, values): _filled(text, values) for path, text in sorted(texts.items())}
    try:
        _write_whole(folder, files)
    except FileExistsError:
        raise InputError(f"{folder} is there already: nothing was written", hint="name another by --folder") from None
    except OSError as error:
        told = f"{folder} can't be made: {error.strerror or type(error).__name__}: nothing was written"
        raise InputError(told, hint="name a folder that you may write to by --folder") from None
    return tuple(folder / path for path in files)


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


def _write_whole(folder: Path, files: Mapping[str, str]) -> None:
    """Write a new folder beside its place, with those above it that are not there either, and move it there whole."""
    if folder.is_symlink() or folder.exists():
        raise FileExistsError(folder)
    place = Path(os.path.realpath(folder))  # `resolve` raises RuntimeError for links that are a loop
    above = next(one for one in place.parents if one.exists())
    top = place.relative_to(above).parts[0]
    with TemporaryDirectory(prefix=".hfcore-new-", dir=above) as beside:
        for path, text in files.items():
            file = Path(beside) / place.relative_to(above) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        (Path(beside) / top).rename(above / top)
