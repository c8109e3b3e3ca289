"""What all tests share: that none leaves anything behind for the next one of its process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take back what commands that run in this process do to logging."""
    root, own = logging.getLogger(), logging.getLogger("hfcore")
    handlers, level, own_level = list(root.handlers), root.level, own.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.setLevel(level)
    own.setLevel(own_level)
