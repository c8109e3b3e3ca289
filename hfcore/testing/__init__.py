"""What tests of hfcore and of its plug-ins share: a cloud in memory with its plug-in, and a strict AWS on loopback.

>>> from hfcore.testing import FakeCloud, FakeProvider
>>> cloud = FakeCloud(run_after=1)                       # machines run at the second look
>>> with FakeProvider(cloud).installed("Fake") as candidate:
...     plugins = Plugins([candidate], logger=logger)
"""

from __future__ import annotations

from hfcore.testing.fake import FakeProvider
from hfcore.testing.fakecloud import FakeCall, FakeCloud

__all__ = ["FakeCall", "FakeCloud", "FakeProvider"]
