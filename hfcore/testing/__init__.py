"""What tests of hfcore and of its plug-ins share: the contract suite, a cloud in memory, and a strict AWS on loopback.

>>> from hfcore.testing import FakeCloud, FakeProvider
>>> cloud = FakeCloud(run_after=1)                       # machines run at the second look
>>> with FakeProvider(cloud).installed("Fake") as candidate:
...     plugins = Plugins([candidate], logger=logger)

A plug-in's own tests subclass `ProviderContract`, or `AwsProviderContract` (`hfcore.testing.contract`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfcore.testing.awscontract import AwsProviderContract
    from hfcore.testing.cloud import Cloud
    from hfcore.testing.contract import ProviderContract
    from hfcore.testing.fake import FakeProvider
    from hfcore.testing.fakecloud import FakeCall, FakeCloud

__all__ = ["AwsProviderContract", "Cloud", "FakeCall", "FakeCloud", "FakeProvider", "ProviderContract"]

_HOMES = {
    "AwsProviderContract": "awscontract",
    "Cloud": "cloud",
    "FakeCall": "fakecloud",
    "FakeCloud": "fakecloud",
    "FakeProvider": "fake",
    "ProviderContract": "contract",
}


def __getattr__(name: str) -> object:
    """Import a part when it is asked for: pytest imports this package in every run, boto3 there or not."""
    if name in _HOMES:
        return getattr(import_module(f"hfcore.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hfcore.testing' has no attribute {name!r}")
