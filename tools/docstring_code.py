"""Show code in docstrings as code on the site: what stands under `Example:`, and what begins with `>>>`."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:\n((?: {4}.*\n?|\n)+)", re.MULTILINE)
_SESSION = re.compile(r"^>>> .*\n?(?:^(?:>>>|\.\.\.).*\n?|^['\[].*\n?)*", re.MULTILINE)


class DocstringCode(griffe.Extension):
    """Put fences around code, before the docstring is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401 - of griffe
        """Change a docstring that has code."""
        if obj.docstring:
            text = _EXAMPLE.sub(
                lambda found: f"Example:\n    ```python\n{found[1].rstrip()}\n    ```\n", obj.docstring.value
            )
            obj.docstring.value = _SESSION.sub(lambda found: f"```python\n{found[0].rstrip()}\n```\n", text)
