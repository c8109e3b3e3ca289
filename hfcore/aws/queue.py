"""Own the optional SQS queue of EventBridge's messages on what EC2 takes back: read, and emptied once they are stored.

The messages are EventBridge's own (EC2 user guide: Spot interruption notices, rebalance recommendations, state-change
events). They may come twice, late, and of instances that are not ours.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hfcore.aws.calls import ask, chunks
from hfcore.aws.errors import as_fault
from hfcore.aws.reclaims import NOTICE
from hfcore.hookspecs import hookimpl
from hfcore.models import MachineStatus, Notice, Reclaim

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hfcore.context import Context
    from hfcore.models import Fault

BATCH = 10
"""Messages in one ReceiveMessage or DeleteMessageBatch (SQS API reference)."""

MOST_BATCHES = 20
"""So many batches are received in one call; the rest waits for the next one."""

HIDDEN_SECONDS = 30
"""So long a message that was received, and not deleted, does not come again; whatever the queue's own time-out is."""

_INTERRUPTION = "EC2 Spot Instance Interruption Warning"
_REBALANCE = "EC2 Instance Rebalance Recommendation"
_STATE = "EC2 Instance State-change Notification"
_ENDS = {"stopping", "shutting-down", "terminated"}


@hookimpl
def receive_notices(context: Context) -> tuple[Notice, ...]:
    """Receive messages, ten at a time and without waiting, until there are none or `MOST_BATCHES` of them.

    Raises:
        CloudError: The queue could not be read.
    """
    received: dict[str, Notice] = {}
    url = context.settings.reclaim_queue_url
    name = named(url)
    asked = {"QueueUrl": url, "MaxNumberOfMessages": BATCH, "WaitTimeSeconds": 0, "VisibilityTimeout": HIDDEN_SECONDS}
    for _ in range(MOST_BATCHES):
        messages = ask(context, "sqs", "ReceiveMessage", asked, name).get("Messages", ())
        for message in messages:
            notice = Notice(receipt=message["ReceiptHandle"], reclaim=_announced(context, message))
            received[message["MessageId"]] = notice
        if not messages:
            break
    return tuple(received.values())


@hookimpl
def forget_notices(notices: Sequence[Notice], context: Context) -> tuple[Fault, ...]:
    """Delete messages, ten a call; one that is not deleted comes again, and changes nothing then.

    Raises:
        CloudError: The queue could not be reached.
    """
    url, faults = context.settings.reclaim_queue_url, []
    for chunk in chunks(notices, BATCH):
        entries = [{"Id": str(number), "ReceiptHandle": one.receipt} for number, one in enumerate(chunk)]
        answer = ask(context, "sqs", "DeleteMessageBatch", {"QueueUrl": url, "Entries": entries}, named(url))
        faults += [as_fault(one["Code"], one.get("Message", ""), named(url)) for one in answer.get("Failed", ())]
    return tuple(dict.fromkeys(faults))


def named(url: str) -> str:
    """Give a queue's host and name: who logs in, and a query, are nobody's business. Pure."""
    place = urlsplit(url)
    return f"{place.hostname or ''}/…/{place.path.rpartition('/')[2]}"


def _announced(context: Context, message: Mapping[str, Any]) -> Reclaim | None:
    """Read what a message announces; one that can't be read is logged without its content."""
    try:
        return read(message["Body"], rebalance=context.settings.rebalance_recommendations)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        known = (message.get("MessageId", "none"), type(error).__name__)
        context.logger.warning("SQS message %s is no event of EC2's, and is deleted: %s", *known)
        return None


def read(body: str, *, rebalance: bool) -> Reclaim | None:
    """Read an event of EventBridge's: what it announces; `None` for one that takes nothing back. Pure.

    Args:
        body: The message.
        rebalance: Whether a rebalance recommendation takes a machine back.

    Raises:
        ValueError, TypeError, KeyError: It is no event of EventBridge's.
    """
    event = json.loads(body)
    kind, detail = event["detail-type"], event["detail"]
    if event["source"] != "aws.ec2" or kind not in {_INTERRUPTION, _REBALANCE, _STATE}:
        return None
    instance_id, told = str(detail["instance-id"]), _time(event["time"])
    if kind == _INTERRUPTION:
        action = str(detail["instance-action"])
        message = f"EC2 takes the Spot instance back ({action})"
        return Reclaim(instance_id=instance_id, code=f"spot-{action}-warning", message=message, at=told + NOTICE)
    if kind == _REBALANCE:
        message = "EC2 says that the Spot instance is likelier than others to be taken back"
        return Reclaim(instance_id=instance_id, code="rebalance-recommendation", message=message) if rebalance else None
    if detail["state"] not in _ENDS:
        return None
    status = MachineStatus(detail["state"])
    return Reclaim(instance_id=instance_id, code=kind, message=f"the instance is {status}", status=status)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("the time has no time zone")
    return time.astimezone(UTC)
