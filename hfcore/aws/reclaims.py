"""Own what AWS is taking, or has taken, back: Spot notices, retirements, and machines that ended from outside."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hfcore.aws.calls import pages
from hfcore.aws.instances import COMING, describe, describe_live, utc
from hfcore.hookspecs import hookimpl
from hfcore.lifecycle import VISIBILITY_DELAY
from hfcore.models import MachineStatus, Reclaim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hfcore.aws.instances import Seen
    from hfcore.context import Context
    from hfcore.models import Instance, Machine

NOTICE = timedelta(seconds=120)
"""From a Spot notice to the end of the machine (EC2 user guide, Spot interruption notices)."""

# EC2 user guide, "Spot request status codes": those that say that AWS ends or stops the machine. They come with the
# notice, while the machine still runs.
NOTICES = (
    "marked-for-termination",
    "marked-for-stop",
    "instance-terminated-by-price",
    "instance-terminated-no-capacity",
    "instance-terminated-capacity-oversubscribed",
    "instance-terminated-launch-group-constraint",
    "instance-stopped-by-price",
    "instance-stopped-no-capacity",
)
EVENTS = ("instance-retirement", "instance-stop")
_STOPPED = frozenset({MachineStatus.STOPPING, MachineStatus.STOPPED})


@hookimpl
def reclaimed_instances(machines: Sequence[Machine], context: Context) -> tuple[Reclaim, ...]:
    """Find which of these live machines AWS takes back; the questions are asked once for all plug-ins of one call.

    One DescribeInstances for each 1,000 live machines, one DescribeInstanceStatus, one DescribeSpotInstanceRequests if
    any machine may be Spot; one more DescribeInstances for those that are no longer live. What EC2 does not know is
    given without status: it may be the wrong account or region.

    Raises:
        CloudError: AWS could not be asked.
    """
    if not machines:
        return ()
    live = describe_live(context)
    found = _lost(machines, live, context) | _stopped(machines, live)
    told = _announced(machines, live) | _once(context, "events", lambda: _events(context))
    if any(machine.price_type != "ondemand" for machine in machines):
        told = told | _once(context, "spot", lambda: _notices(context))
    for machine in machines:
        reclaim = told.get(machine.instance_id)
        if reclaim and machine.instance_id in live.instances:
            status = reclaim.status or live.instances[machine.instance_id].status
            found[machine.instance_id] = replace(reclaim, status=status)
        elif reclaim and machine.instance_id in found:  # over: the notice says why, better than the state
            found[machine.instance_id] = replace(reclaim, at=None, status=found[machine.instance_id].status)
    return tuple(found[machine.instance_id] for machine in machines if machine.instance_id in found)


def _once(context: Context, name: str, make: Callable[[], dict[str, Reclaim]]) -> dict[str, Reclaim]:
    return context.cache.once(("aws-reclaims", name, context.region, context.endpoint), make)


def _announced(machines: Sequence[Machine], live: Seen) -> dict[str, Reclaim]:
    """Give what messages have announced of machines; one that was stopped may have been started again."""
    found = {machine.instance_id: machine.notice for machine in machines if machine.notice}
    return {
        i: one
        for i, one in found.items()
        if one.status is None or (i in live.instances and not (one.status in _STOPPED and _comes(live.instances[i])))
    }


def _comes(instance: Instance) -> bool:
    return instance.status in COMING


def _notices(context: Context) -> dict[str, Reclaim]:
    parameters = {"Filters": [{"Name": "status-code", "Values": list(NOTICES)}], "MaxResults": 1000}
    requests = pages(context, "ec2", "DescribeSpotInstanceRequests", "SpotInstanceRequests", parameters)
    return {one["InstanceId"]: _notice(one) for one in requests if one.get("InstanceId")}


def _notice(request: Mapping[str, Any]) -> Reclaim:
    status = request["Status"]
    told, message = utc(status.get("UpdateTime")), status.get("Message", "EC2 takes the Spot instance back")
    at = told + NOTICE if told else None
    return Reclaim(instance_id=request["InstanceId"], code=status["Code"], message=message, at=at)


def _events(context: Context) -> dict[str, Reclaim]:
    parameters = {"Filters": [{"Name": "event.code", "Values": list(EVENTS)}], "MaxResults": 1000}
    statuses = pages(context, "ec2", "DescribeInstanceStatus", "InstanceStatuses", parameters)
    return {one["InstanceId"]: _event(one["InstanceId"], event) for one in statuses for event in _coming(one)[:1]}


def _coming(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    events = [event for event in status.get("Events", ()) if event["Code"] in EVENTS]
    return [event for event in events if not event.get("Description", "").startswith(("[Completed]", "[Canceled]"))]


def _event(instance_id: str, event: Mapping[str, Any]) -> Reclaim:
    message = event.get("Description") or f"EC2 has scheduled {event['Code']}"
    return Reclaim(instance_id=instance_id, code=event["Code"], message=message, at=utc(event.get("NotBefore")))


def _stopped(machines: Sequence[Machine], live: Seen) -> dict[str, Reclaim]:
    """Find machines that stop or are stopped, whoever did it: the grid has lost them."""
    known = (live.instances[machine.instance_id] for machine in machines if machine.instance_id in live.instances)
    return {one.instance_id: _ended(one) for one in known if one.status in _STOPPED}


def _lost(machines: Sequence[Machine], live: Seen, context: Context) -> dict[str, Reclaim]:
    """Find machines that are ending or gone, without their having been returned."""
    absent = {machine.instance_id: machine for machine in machines if machine.instance_id not in live.instances}
    if not absent:
        return {}
    seen = describe(context, absent)
    gone = {i: _gone(i) for i in seen.missing if _was_there(absent[i], seen)}
    ended = {i: _ended(one) for i, one in seen.instances.items() if one.status not in COMING}
    return gone | ended


def _was_there(machine: Machine, seen: Seen) -> bool:
    since = machine.launch_time or machine.observed_at
    return machine.listed and seen.observed_at - since > VISIBILITY_DELAY


def _gone(instance_id: str) -> Reclaim:
    message = "EC2 does not know the instance: it was ended more than an hour ago, or lives elsewhere"
    return Reclaim(instance_id=instance_id, code="InvalidInstanceID.NotFound", message=message)


def _ended(instance: Instance) -> Reclaim:
    code, _, sentence = (instance.message or instance.status.value).partition(": ")
    message = sentence or f"the instance is {instance.status.value}"
    return Reclaim(instance_id=instance.instance_id, code=code, message=message, status=instance.status)
