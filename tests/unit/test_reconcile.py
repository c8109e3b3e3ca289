"""The judge of what cloud and records do not agree on, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from hfcore.models import Machine, MachineStatus, OwnedResource, Request, RequestStatus
from hfcore.reconcile import INSTANCE, TEMPLATE, Finding, Held, Judge, Place, Records

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OLD = NOW - timedelta(hours=1)
HERE, THERE = Place("us-east-1", ""), Place("us-west-2", "")
MARGIN = timedelta(minutes=10)

OPEN = Request(
    request_id="req-1",
    status=RequestStatus.IN_PROGRESS,
    created_at=OLD,
    region="us-east-1",
    account_id="1",
    resource_ids=("fleet-1",),
    template_id="T",
)
ENDED = replace(OPEN, status=RequestStatus.COMPLETED, frozen=True, ended_at=OLD)
ALIVE = Machine(instance_id="i-1", request_id="req-1", status=MachineStatus.RUNNING, observed_at=OLD, listed=True)


def held(kind: str, name: str, request_id: str = "req-1", place: Place = HERE, **its: Any) -> Held:  # noqa: ANN401
    known = {"created_at": OLD, "account_id": "1", "template_id": "T", **its}
    resource = OwnedResource(kind=kind, resource_id=name, request_id=request_id, **known)
    return Held(resource=resource, place=place, apis=("EC2Fleet",))


def records(*requests: Request, machines: Iterable[Machine] = (), **more: Any) -> Records:  # noqa: ANN401
    archived = more.pop("archived", lambda _: None)
    return Records(
        requests={one.request_id: one for one in requests},
        machines={one.instance_id: one for one in machines},
        archived=archived,
        **more,
    )


def judged(*things: Held, by: Records, unused: timedelta | None = timedelta(days=30)) -> list[tuple[str, str]]:
    judge = Judge(things, by, now=NOW, margin=MARGIN, unused=unused)
    return [(one.deed.value, one.leave.value) for one in judge.findings()]


I1, FLEET = held(INSTANCE, "i-1"), held("fleet", "fleet-1")
LAUNCHED = held(INSTANCE, "i-1", launcher="fleet-1")
OWN = held(TEMPLATE, "hfcore-req-1", launch_templates=("lt-1", "hfcore-req-1"))
SHARED = held(TEMPLATE, "hfcore-abc", request_id="", launch_templates=("lt-2", "hfcore-abc"))
LONG_AGO = replace(SHARED, resource=replace(SHARED.resource, created_at=NOW - timedelta(days=40)))
AGED = replace(ALIVE, status=MachineStatus.TERMINATED)
RETURNED = replace(AGED, return_id="ret-1")

CASES: dict[str, tuple[tuple[Held, ...], Records, list[tuple[str, str]]]] = {
    "what is recorded": ((I1, FLEET, OWN), records(OPEN, machines=[ALIVE]), []),
    "an open request does not know it": ((I1,), records(OPEN), [("adopt", "")]),
    "an open request does not know its fleet": ((held("fleet", "fleet-2"),), records(OPEN), [("adopt", "")]),
    "a call is at work on the request": ((I1,), records(OPEN, begun=frozenset({"req-1"})), []),
    "a request being created": ((FLEET,), records(replace(OPEN, status=RequestStatus.CREATING, resource_ids=())), []),
    "an ended request does not know it": ((I1,), records(ENDED), [("end", "")]),
    "an ended request is still to remove its fleet": ((FLEET,), records(ENDED), []),
    "a cleaned request's fleet": ((FLEET,), records(replace(ENDED, cleaned=True)), [("end", "")]),
    "an archived request's machine": ((I1,), records(archived=lambda _: (ENDED, ())), [("end", "")]),
    "recorded as gone": ((I1,), records(ENDED, machines=[AGED]), [("end", "--end-unknown")]),
    "given back, and recorded as gone": ((I1,), records(ENDED, machines=[RETURNED]), [("end", "")]),
    "recorded as gone in the archive": ((I1,), records(archived=lambda _: (ENDED, (RETURNED,))), [("end", "")]),
    "recorded as gone just now": ((I1,), records(ENDED, machines=[replace(AGED, observed_at=NOW)]), []),
    "an unknown request": ((I1, FLEET), records(), [("end", "--end-unknown")] * 2),
    "no request at all": ((held(INSTANCE, "i-1", ""),), records(), [("end", "--end-unknown")]),
    "an unknown request's launch template, alone": ((OWN,), records(), [("remove", "--end-unknown")]),
    "an unknown request's launch template, needed": ((I1, OWN), records(), [("end", "--end-unknown"), ("keep", "")]),
    "an ended request's launch template": ((OWN,), records(replace(ENDED, cleaned=True)), [("remove", "")]),
    "younger than the margin": ((held(INSTANCE, "i-1", created_at=NOW - timedelta(minutes=9)),), records(), []),
    "of an age that nobody tells": ((held(INSTANCE, "i-1", created_at=None),), records(), []),
    "older than the store": ((I1,), records(since=NOW - timedelta(minutes=30)), [("keep", "")]),
    "made by another instance": ((held(INSTANCE, "i-1", provider="b"),), records(provider="a"), [("keep", "")]),
    "made by this instance": (
        (held(INSTANCE, "i-1", provider="a"),),
        records(provider="a"),
        [("end", "--end-unknown")],
    ),
    "its launcher may be a plug-in's that is off": ((LAUNCHED,), records(ENDED, switched_off=("ASG",)), [("keep", "")]),
    "its launcher is listed": ((LAUNCHED, FLEET), records(switched_off=("ASG",)), [("end", "--end-unknown")] * 2),
    "all plug-ins are on": ((LAUNCHED,), records(), [("end", "--end-unknown")]),
    "in another region": ((replace(I1, place=THERE),), records(ENDED), [("keep", "")]),
    "in another account": ((held(INSTANCE, "i-1", account_id="2"),), records(ENDED), [("keep", "")]),
    "the records are doubtful": ((I1, FLEET), records(ENDED, doubt="they are old"), [("keep", "")]),
    "not all could be listed, unknown": ((I1,), records(unlisted={HERE: "why"}), [("keep", "")]),
    "not all could be listed, known": ((I1,), records(ENDED, unlisted={HERE: "why"}), [("end", "")]),
    "a shared launch template": ((SHARED,), records(), []),
    "a shared launch template, long unused": ((LONG_AGO,), records(), [("remove", "--unused-templates")]),
    "a shared launch template, used lately": ((LONG_AGO,), records(used={"T": [OLD]}), []),
    "a shared launch template that a machine names": (
        (LONG_AGO, held(INSTANCE, "i-1", launch_templates=("lt-2",))),
        records(OPEN, machines=[ALIVE]),
        [],
    ),
    "a shared launch template, not all listed": ((LONG_AGO,), records(unlisted={HERE: "why"}), [("keep", "")]),
    "listed at two endpoints": ((I1, replace(I1, place=Place("us-east-1", "http://e"))), records(ENDED), [("end", "")]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_proposed(name: str) -> None:
    things, by, expected = CASES[name]
    assert judged(*things, by=by) == expected


def missing(by: Records, *things: Held, places: Iterable[Place] = (HERE,)) -> list[Finding]:
    return list(Judge(things, by, now=NOW, margin=MARGIN).missing(frozenset(places)))


@pytest.mark.parametrize("broken", [{"resource_ids": ()}, {"cleaned": True}])
def test_what_has_launched_machines_that_are_recorded_as_alive_is_not_ended(broken: dict[str, Any]) -> None:
    request = replace(ENDED, **broken)
    member = replace(ALIVE, resource_id="fleet-1")
    assert judged(FLEET, by=records(request, machines=[member])) == [("keep", "")]
    assert judged(FLEET, by=records(request, machines=[replace(member, status=MachineStatus.TERMINATED)])) == [
        ("end", "")
    ]


def test_a_live_machine_that_is_not_listed_is_to_be_looked_at_again() -> None:
    by = records(replace(ENDED, machine_ids=("i-1",)), machines=[ALIVE])
    assert [(one.resource.resource_id, one.deed.value) for one in missing(by)] == [("i-1", "look again")]
    assert missing(by, I1) == []
    assert missing(by, places=[THERE]) == []  # where nothing was asked, nothing is missing
    for fresh in (replace(ALIVE, observed_at=NOW), replace(ALIVE, listed=False), AGED):
        assert missing(records(replace(ENDED, machine_ids=("i-1",)), machines=[fresh])) == []


def test_a_resource_that_refills_and_is_not_listed_is_to_be_looked_at_again() -> None:
    assert [one.resource.resource_id for one in missing(records(replace(OPEN, refills=True)))] == ["fleet-1"]
    assert missing(records(OPEN)) == []
    assert missing(records(replace(ENDED, refills=True))) == []
