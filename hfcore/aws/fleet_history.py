"""Own why a fleet is short, as its history tells it: in texts that stay the same while the reason does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hfcore.aws.calls import pages
from hfcore.aws.errors import as_fault
from hfcore.aws.fleet_terms import as_time
from hfcore.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from hfcore.aws.fleets import FleetApi
    from hfcore.context import Context
    from hfcore.models import Fault

MOST_REASONS = 5
_REASONS = frozenset({"error", "service-error", "information"})
_NOT_A_REASON = frozenset({"registerWithLoadBalancersFailed", "fleetProgressHalted"})
_SUMMARIES = frozenset({"allLaunchSpecsTemporarilyBlacklisted"})
"""Say that there are reasons, which other entries name (EC2 API reference, EventInformation)."""
_CODE = re.compile(r"Error Code: (?P<inside>[\w.]+)|^(?P<first>[A-Z][A-Za-z]+(\.[A-Za-z]+)*): ")
# What differs from one entry to the next, though the reason is the same: ids, moments, durations, the price of now.
_VARYING = (
    (re.compile(r"\s*\(Service: [^)]*\)"), ""),
    (re.compile(r"\b(i|r|sir|sfr|fleet|eni|vol)-[0-9a-f][0-9a-f-]{7,}"), "…"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "…"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?"), "…"),
    (re.compile(r"\b\d+ (second|minute|hour)s?"), r"some \1s"),
    (re.compile(r"\$\d+(\.\d+)?"), "$…"),
)


def reasons(context: Context, api: FleetApi, fleet_ids: Iterable[str], since: datetime) -> tuple[Fault, ...]:
    """Ask the history of fleets since a time for the reasons of a shortfall; none if it can't be asked."""
    found: set[Fault] = set()
    for fleet_id in fleet_ids:
        asked = {api.fleet_id: fleet_id, "StartTime": as_time(since)}
        try:
            found |= {reason(one) for one in pages(context, "ec2", api.history, "HistoryRecords", asked) if _tells(one)}
        except CloudError as error:
            context.logger.warning("%s: the reasons of the shortfall are not known: %s", fleet_id, error)
    told = {one for one in found if one.code not in _SUMMARIES} or found
    return tuple(sorted(told, key=str)[:MOST_REASONS])


def _tells(record: Mapping[str, Any]) -> bool:
    subtype = record.get("EventInformation", {}).get("EventSubType", "")
    return str(record.get("EventType", "")).lower() in _REASONS and subtype not in _NOT_A_REASON


def reason(record: Mapping[str, Any]) -> Fault:
    """Make a fault of an entry of the history, with AWS's error code where the description has one. Pure."""
    about = record["EventInformation"]
    subtype, text = about.get("EventSubType", "unknown"), about.get("EventDescription") or ""
    told = _CODE.search(text)
    code = told["inside"] or told["first"] if told else subtype
    text = text.removeprefix(f"{code}: ").rpartition("Error message: ")[2]
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return as_fault(code, text.strip() or subtype)
