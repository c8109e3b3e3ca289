"""The optional queue of EventBridge's messages: an SQS queue of moto's, and machines of moto's that they are about."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from hfcore.errors import StoreLocked
from hfcore.store import TinyStore
from tests.moto.conftest import REGION, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.moto.conftest import Document, Moto

INTERRUPTION = "EC2 Spot Instance Interruption Warning"
REBALANCE = "EC2 Instance Rebalance Recommendation"
STATE = "EC2 Instance State-change Notification"
FOREIGN = "i-0123456789abcdef0"
NOTICE = 120
COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]


class QueueSite(Site):
    """A provider instance that reads a queue, and the sender of what stands in it."""

    def __init__(self, folder: Path, moto: Moto) -> None:
        super().__init__(folder, moto)
        session: Any = boto3.Session(region_name=REGION)
        self.sqs = session.client("sqs", endpoint_url=moto.url)
        # As its owner may have it: what was received and not deleted would come again half a day later.
        made = self.sqs.create_queue(QueueName="hosts", Attributes={"VisibilityTimeout": "43200"})
        self.url: str = made["QueueUrl"]
        self.flags["reclaim_queue_url"] = self.url
        # Of RunInstances moto launches MinCount.
        self.write_template(providerApi="EC2Fleet", maxNumber=100)

    def send(self, kind: str, machine_id: str, ago: float = 0, **detail: str) -> None:
        at = datetime.now(UTC) - timedelta(seconds=ago)
        about = {"instance-id": machine_id, **detail}
        event = {"source": "aws.ec2", "detail-type": kind, "time": at.isoformat(), "detail": about}
        self.post(json.dumps(event))

    def post(self, text: str) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=text)

    def waiting(self) -> int:
        """Count the messages that are not deleted, hidden ones too."""
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=COUNTS)["Attributes"]
        return sum(int(found[name]) for name in COUNTS)

    def named(self) -> dict[str, Document]:
        return {one["machineId"]: one for one in self.reclaims()["requests"]}

    def hosts(self, count: int = 2) -> list[str]:
        return [one["machineId"] for one in self.complete(count)[1]]


@pytest.fixture
def queue(site: Site, moto: Moto, tmp_path: Path) -> Iterator[QueueSite]:
    """Give an instance with a queue, in the place of the one without."""
    (tmp_path / "queue").mkdir()
    found = QueueSite(tmp_path / "queue", moto)
    yield found
    found.sqs.close()


def test_an_interruption_is_named_with_what_remains_of_it_and_its_message_is_gone(queue: QueueSite) -> None:
    taken, _ = queue.hosts()
    queue.send(INTERRUPTION, taken, ago=30, **{"instance-action": "terminate"})
    named = queue.named()
    assert list(named) == [taken]
    assert NOTICE - 50 <= named[taken]["gracePeriod"] <= NOTICE - 30
    assert named[taken]["message"].startswith("spot-terminate-warning: ")
    assert queue.waiting() == 0
    assert list(queue.named()) == [taken], "it is stored, and named until it is returned"
    queue.give_back({"name": "", "machineId": taken})
    assert queue.named() == {}


def test_messages_that_come_twice_late_or_of_others_or_that_can_t_be_read_do_no_harm(
    queue: QueueSite, caplog: pytest.LogCaptureFixture
) -> None:
    taken, returned, kept = queue.hosts(3)
    queue.give_back({"name": "", "machineId": returned})
    for _ in range(2):
        queue.send(INTERRUPTION, taken, ago=600, **{"instance-action": "terminate"})
    queue.send(INTERRUPTION, returned, **{"instance-action": "terminate"})
    queue.send(INTERRUPTION, FOREIGN, **{"instance-action": "terminate"})
    queue.send(STATE, kept, ago=3600, state="stopping")  # and it was started again since
    for text in ("secret", "{}", "[]", json.dumps({"source": "aws.ec2", "detail-type": STATE, "detail": 7})):
        queue.post(text)
    named = queue.named()
    assert {key: one["gracePeriod"] for key, one in named.items()} == {taken: 0}
    assert queue.waiting() == 0
    assert queue.service().store.read().machine(FOREIGN) is None
    assert "is no event of EC2's, and is deleted" in caplog.text
    assert "secret" not in caplog.text


def test_a_rebalance_recommendation_counts_only_if_that_is_switched_on(queue: QueueSite) -> None:
    first, second = queue.hosts()
    queue.send(REBALANCE, first)
    assert queue.named() == {}
    assert queue.waiting() == 0
    queue.flags["rebalance_recommendations"] = "true"
    queue.send(REBALANCE, second)
    named = queue.named()
    assert list(named) == [second]
    assert named[second]["message"].startswith("rebalance-recommendation: ")


def test_a_state_change_is_named_for_as_long_as_the_machine_is_not_alive_again(queue: QueueSite) -> None:
    ended, stopped = queue.hosts()
    queue.ec2.terminate_instances(InstanceIds=[ended])
    queue.ec2.stop_instances(InstanceIds=[stopped])
    queue.send(STATE, ended, state="terminated")
    queue.send(STATE, stopped, state="stopping")
    assert queue.named().keys() == {ended, stopped}
    queue.ec2.start_instances(InstanceIds=[stopped])
    assert queue.named().keys() == {ended}


def test_a_message_is_deleted_only_once_it_is_stored(queue: QueueSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfcore.aws.queue.HIDDEN_SECONDS", 1)
    taken, _ = queue.hosts()
    queue.send(INTERRUPTION, taken, **{"instance-action": "terminate"})

    def refuse(_: TinyStore) -> Any:  # noqa: ANN401 - never returns
        raise StoreLocked("held by process 7")

    with monkeypatch.context() as patch:
        patch.setattr(TinyStore, "transaction", refuse)
        answer = queue.reclaims()
    assert "held by process 7" in answer["message"]
    assert (answer["requests"], queue.waiting()) == ([], 1)
    time.sleep(1.1)
    assert list(queue.named()) == [taken]
    assert queue.waiting() == 0


def test_more_messages_than_one_look_gives_are_all_read_and_deleted(queue: QueueSite) -> None:
    hosts = queue.hosts(25)
    for one in hosts:
        queue.send(INTERRUPTION, one, **{"instance-action": "terminate"})
    assert queue.named().keys() == set(hosts)
    assert queue.waiting() == 0


def test_a_queue_that_is_not_there_is_said_and_aws_is_asked_all_the_same(queue: QueueSite) -> None:
    ended, _ = queue.hosts()
    queue.ec2.terminate_instances(InstanceIds=[ended])
    queue.sqs.delete_queue(QueueUrl=queue.url)
    answer = queue.reclaims()
    assert [one["machineId"] for one in answer["requests"]] == [ended]
    assert "reclaim_queue_url: " in answer["message"]


def test_while_nothing_of_ours_lives_the_queue_is_left_alone(queue: QueueSite) -> None:
    queue.send(INTERRUPTION, FOREIGN, **{"instance-action": "terminate"})
    assert queue.named() == {}
    assert queue.waiting() == 1
