"""Own which IAM actions the calls of a test needed, to be held against what the plug-ins say that they need."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from hfcore.aws.about import ALLOWED_BY
from hfcore.hookspecs import PROVIDERS
from hfcore.plugins import Plugins, installed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hfcore.testing.aws import Call


def needed(calls: Iterable[Call]) -> frozenset[str]:
    """Give the IAM actions of calls, those of DryRun included."""
    names = {f"{call.service}:{call.operation}" for call in calls if call.operation}
    return frozenset(ALLOWED_BY.get(name, name) for name in names)


@cache
def granted() -> frozenset[str]:
    """Give the IAM actions that all installed AWS plug-ins say that they need."""
    records = Plugins(installed(PROVIDERS), logger=logging.getLogger("hfcore.test")).records()
    infos = (record.info for record in records if record.info and record.info.cloud == "aws")
    return frozenset(action for info in infos for action in info.iam_actions)


def overstepped(calls: Iterable[Call]) -> frozenset[str]:
    """Give the IAM actions that calls needed and no plug-in names."""
    return needed(calls) - granted()
