"""hfcore provider plug-in `RunInstances`: machines by EC2 RunInstances, on demand and Spot."""

from __future__ import annotations

__version__ = "0.1.0"
