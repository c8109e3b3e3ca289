"""hfcore provider plug-in `SpotFleet`: machines by Spot Fleet requests."""

from __future__ import annotations

__version__ = "0.1.0"
