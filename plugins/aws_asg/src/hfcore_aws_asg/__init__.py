"""hfcore provider plug-in `ASG`: machines by EC2 Auto Scaling groups, on demand, Spot and mixed."""

from __future__ import annotations

__version__ = "0.1.0"
