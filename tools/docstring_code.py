"""Let the site show code in docstrings as code, and the words of an enumeration with what their comments say."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:\n((?: {4}.*\n?|\n)+)", re.MULTILINE)
_SESSION = re.compile(r"^>>> .*\n?(?:^(?:>>>|\.\.\.).*\n?|^['\[].*\n?)*", re.MULTILINE)


class DocstringCode(griffe.Extension):
    """Change docstrings before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401 - of griffe
        """Put fences around what stands under `Example:` or begins with `>>>`; give a member of an enumeration one."""
        if obj.docstring:
            text = _EXAMPLE.sub(
                lambda found: f"Example:\n    ```python\n{found[1].rstrip()}\n    ```\n", obj.docstring.value
            )
            obj.docstring.value = _SESSION.sub(lambda found: f"```python\n{found[0].rstrip()}\n```\n", text)
        elif obj.is_attribute and isinstance(obj.parent, griffe.Class) and "StrEnum" in map(str, obj.parent.bases):
            value, _, comment = obj.source.partition("=")[2].partition("#")
            obj.docstring = griffe.Docstring((comment or value).strip(), parent=obj)
