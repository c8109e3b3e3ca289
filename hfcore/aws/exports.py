"""Own how LSF's `userData` reaches a start-up script: as `export` lines that stand before all that it does. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hfcore.pairs import split_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

BARE = b"#!/bin/sh\n"
"""The script that exports, and does no more: where the template has none, the image may look for it."""

_SHELL = re.compile(rb"#![ \t]*\S*/(env[ \t]+)?(ba|da|a|k|z)?sh([ \t][^\r\n]*)?(\n|$)")
_OTHERS = {
    b"#cloud-config": "cloud-config",
    b"<powershell": "a PowerShell script",
    b"<script": "a Windows batch script",
    b"content-type:": "MIME multipart",
    b"mime-version:": "MIME multipart",
    b"from ": "MIME multipart",
    b"\x1f\x8b": "compressed",
    b"#!": "a script for another interpreter than a shell",
}
"""With what user data begins that is no shell script (cloud-init, user data formats; EC2 user guide)."""


def exported(script: bytes, text: str) -> bytes:
    """Let a script begin by exporting the pairs of `k=v;k=v`; one that is empty does nothing else.

    Raises:
        ValueError: It is no shell script, so that nothing can be put before what it does.
    """
    pairs = split_pairs(text)
    if not pairs:
        return script
    script = script or BARE
    first = _SHELL.match(script)
    if first is None:
        raise ValueError(f"userData can be exported to a shell script alone, and this is {kind(script)}")
    line = script[: first.end()]
    return line.rstrip(b"\n") + b"\n" + _lines(pairs) + script[first.end() :]


def kind(script: bytes) -> str:
    """Say what user data is that begins with no shell's `#!` line."""
    start = script[:64].lower()
    return next((name for begins, name in _OTHERS.items() if start.startswith(begins)), "without a shell's #! line")


def _lines(pairs: Mapping[str, str]) -> bytes:
    # Within single quotes a shell changes nothing; a quote itself stands outside of them.
    quoted = {name: value.replace("'", "'\\''") for name, value in pairs.items()}
    return "".join(f"export {name}='{value}'\n" for name, value in quoted.items()).encode()
