"""hfcore provider plug-in `EC2Fleet`: machines by EC2 Fleets of type instant, request and maintain."""

from __future__ import annotations

__version__ = "0.1.0"
