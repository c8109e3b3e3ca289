"""hfcore: a provider framework for IBM Spectrum Symphony Host Factory.

A script of Host Factory's calls a verb (`hfcore.cli`), which reads Host Factory's JSON (`hfcore.hostfactory`) and
calls a use case (`hfcore.service`). The use case reads and writes the store (`hfcore.store`), lets `hfcore.lifecycle`
decide, and asks the plug-in of the request's provider API (`hfcore.plugins`) to do the cloud's part. Plug-in authors
need `hfcore.hookspecs`, `hfcore.models`, `hfcore.context`, `hfcore.errors` and `hookimpl` from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfcore.hookspecs import hookimpl

__version__ = "0.1.0"

__all__ = ["__version__", "hookimpl"]


def __getattr__(name: str) -> object:
    """Import pluggy only for those who mark hooks: a verb that needs no plug-in does not pay for it."""
    if name == "hookimpl":
        from hfcore.hookspecs import hookimpl

        return hookimpl
    raise AttributeError(f"module 'hfcore' has no attribute {name!r}")
