"""Own how large and how deep a document may be that comes from outside. Pure."""

from __future__ import annotations

MOST_BYTES = 16 * 1024 * 1024
"""Bytes of an input or of a file in the conf folder; 10,000 machines take less than one MiB."""

MOST_DEPTH = 64
"""Objects and lists within each other; EC2's deepest parameters have eight."""


def is_too_deep(document: object) -> bool:
    """Tell whether a JSON value has more than `MOST_DEPTH` objects and lists within each other."""
    level = [document]
    for _ in range(MOST_DEPTH + 1):
        inner = [one for one in level if isinstance(one, dict | list)]
        if not inner:
            return False
        level = [each for one in inner for each in (one.values() if isinstance(one, dict) else one)]
    return True
