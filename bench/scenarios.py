"""What is measured: each function lays out a place and yields comparisons; `measures` has what they are held to."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness import OURS, Row, compare
from peer import Peer
from place import NEVER, Place, about, afresh, steady, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from harness import Command, Launcher

BARE, IMPORT, NOTHING, PEER = "bare script", "import boto3", "python -c pass", "orb-py"
FLOORS = {
    IMPORT: steady([sys.executable, "-c", "import boto3"]),
    NOTHING: steady([sys.executable, "-c", "pass"]),
}
SPOT, OPEN = (
    "Fleet-Instant",
    ("OnDemand-Small", "Fleet-Instant", "Fleet-Request", "Fleet-Maintain", "Spot-Plain", "Group"),
)
UNKNOWN = "req-00000000-0000-4000-8000-000000000000"
MANY, LARGE = 1_000, 5_000
EACH = 25  # machines of a stored request
PEER_SIZES = (1, MANY)  # it takes long


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What the store took of a poll of all live requests that AWS knows.

    Args:
        live: Machines in the store.
        archived: Machines in the archive.
        milliseconds: CPU.
    """

    live: int
    archived: int
    milliseconds: float

    @property
    def name(self) -> str:
        """What is stored, in words."""
        return f"{self.live} live, {self.archived} archived"


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a run covers.

    Args:
        sizes: Machines of a request.
        requests: Requests in one call, of `share` machines each.
        crowds: Processes at once.
        store: Live requests of `share` machines in the small store, archived ones in the large one, live ones in the
            third; empty for none.
        apis: Templates by whose APIs a request that is still open is polled.
        rounds: For small sizes; large ones have fewer.
        peer: The peer's programs, if it takes part, else why it does not.
        shares: What `stores` has found beside its comparisons.
    """

    folder: Path
    launcher: Launcher
    sizes: Sequence[int] = (1, 10, 100, MANY, LARGE)
    requests: Sequence[int] = (1, 10, 50)
    share: int = 20
    crowds: Sequence[int] = (16, 64)
    store: Sequence[int] = (50, 1_950, 750)
    apis: Sequence[str] = OPEN
    rounds: int = 11
    peer: Path | str = ""
    shares: list[Share] = field(default_factory=list)

    def place(self, **timings: float) -> Place:
        """Lay a place out."""
        return Place(self.folder / "place", self.launcher, **timings)

    def row(
        self,
        place: Place,
        scenario: str,
        size: int,
        contestants: Mapping[str, Command],
        *,
        crowd: int = 1,
        heavy: int = 0,
    ) -> Row:
        """Compare, in fewer rounds the heavier it is: `heavy` is the number of machines where `size` is not."""
        work = max(heavy or size, crowd * 100)
        rounds = self.rounds if work < MANY else max(3, self.rounds // 2) if work < LARGE else 3
        return compare(
            scenario,
            size,
            contestants,
            launcher=self.launcher,
            environment=place.environment,
            count_calls=lambda: len(place.calls()),
            rounds=min(rounds, self.rounds),
            at_once=crowd,
        )


def from_disk(plan: Plan) -> Iterator[Row]:
    """What asks AWS nothing: templates, an id that nobody knows, a return that is over."""
    with plan.place(shutdown_seconds=0.0) as place:
        peer = _peer(plan, place)
        place.run(place.verb("getAvailableTemplates", {}))  # which keeps what it has read
        for verb, document in (("getAvailableTemplates", {}), ("getRequestStatus", about(UNKNOWN))):
            contestants = {OURS: steady(place.verb(verb, document))} | FLOORS
            if peer and not document:
                contestants[PEER] = steady(peer.verb(verb, document))
            yield plan.row(place, f"{verb} of an unknown id" if document else verb, 0, contestants)
        for size in plan.sizes:
            machines = place.machines(place.ask(size))
            ended = place.run(place.verb("requestReturnMachines", {"machines": machines}))["requestId"]
            words = place.verb("getRequestStatus", about(ended))
            place.run(words)
            yield plan.row(place, "getRequestStatus of a return that is over", size, {OURS: steady(words)} | FLOORS)


def verbs(plan: Plan) -> Iterator[Row]:
    """The verbs that ask AWS, for one request of each size."""
    for size in plan.sizes:
        yield from _request(plan, size)
        yield from _later(plan, size)


def _later(plan: Plan, size: int) -> Iterator[Row]:
    with plan.place() as place:
        peer = _peer(plan, place) if size in PEER_SIZES else None
        asked = place.ask(size)
        words = place.verb("getRequestStatus", about(asked))
        contestants = {OURS: steady(words), BARE: place.bare(words)}
        theirs = peer.ask(size) if peer else ""
        if peer:
            contestants[PEER] = steady(peer.verb("getRequestStatus", about(theirs)))
        yield plan.row(place, "getRequestStatus", size, contestants)
        ended, row = _return(plan, place, size, asked, peer, theirs)
        yield row
        words = place.verb("getRequestStatus", about(ended))
        yield plan.row(place, "getRequestStatus of a return", size, {OURS: steady(words), BARE: place.bare(words)})
    with plan.place() as place:
        place.ask(size, SPOT)
        words = place.verb("getReturnRequests", {"machines": []})
        yield plan.row(place, "getReturnRequests", size, {OURS: steady(words), BARE: place.bare(words)})


def _request(plan: Plan, size: int) -> Iterator[Row]:
    with plan.place(shutdown_seconds=0.0) as place:
        place.ask(1)  # so that AWS has the launch template
        put_back, words = place.kept(), place.verb("requestMachines", wanted(size))

        def room() -> None:
            if size >= LARGE:  # a subnet has no addresses for many times so many
                place.end_all()

        contestants = {OURS: afresh(lambda: (room(), put_back()), words), BARE: afresh(room, place.bare(words)())}
        if size in PEER_SIZES and (peer := _peer(plan, place)):
            contestants[PEER] = afresh(peer.kept(), peer.verb("requestMachines", wanted(size)))
        yield plan.row(place, "requestMachines", size, contestants)


def _return(plan: Plan, place: Place, size: int, asked: str, peer: Peer | None, theirs: str) -> tuple[str, Row]:
    """Return the same machines again and again, which AWS answers alike; give the id of the last return."""
    put_back, document = place.kept(), {"machines": place.machines(asked)}
    words = place.verb("requestReturnMachines", document)
    contestants = {OURS: afresh(put_back, words), BARE: place.bare(words)}
    if peer:
        machines = [{"name": m["name"], "machineId": m["machineId"]} for m in peer.status(theirs)["machines"]]
        contestants[PEER] = afresh(peer.kept(), peer.verb("requestReturnMachines", {"machines": machines}))
    row = plan.row(place, "requestReturnMachines", size, contestants)
    put_back()
    return place.run(words)["requestId"], row


def several(plan: Plan) -> Iterator[Row]:
    """The status of several requests in one call."""
    if not plan.requests:
        return
    with plan.place() as place:
        made = place.fill("launch", max(plan.requests), plan.share)
        for count in plan.requests:
            words = place.verb("getRequestStatus", about(*made[:count]))
            contestants = {OURS: steady(words), BARE: place.bare(words)}
            scenario = f"getRequestStatus of several requests, {plan.share} machines each"
            yield plan.row(place, scenario, count, contestants, heavy=count * plan.share)


def crowds(plan: Plan) -> Iterator[Row]:
    """So many processes at once, each of which polls one request."""
    if not plan.crowds:
        return
    with plan.place() as place:
        words = place.verb("getRequestStatus", about(place.ask(plan.share)))
        contestants = {OURS: steady(words), BARE: place.bare(words)}
        for crowd in plan.crowds:
            yield plan.row(place, "getRequestStatus, processes at once", crowd, contestants, crowd=crowd)


def open_requests(plan: Plan) -> Iterator[Row]:
    """The status of a request whose machines are on their way, by each API."""
    for template in plan.apis:
        with plan.place(boot_seconds=NEVER) as place:
            words = place.verb("getRequestStatus", about(place.ask(plan.share, template)))
            contestants = {OURS: steady(words), BARE: place.bare(words)}
            yield plan.row(place, f"getRequestStatus of an open request, {template}", plan.share, contestants)


def stores(plan: Plan) -> Iterator[Row]:
    """The status of all requests that AWS knows, over a small store, a large archive, and many other live machines."""
    if not plan.store:
        return
    known, archived, more = plan.store
    with plan.place() as place:
        words = place.verb("getRequestStatus", about(*place.fill("launch", known, EACH)))
        contestants = {OURS: steady(words), BARE: place.bare(words)}
        live, ended = known * EACH, 0
        for how, count in (("", 0), ("ended", archived), ("live", more)):
            if how and not count:
                continue
            if how:
                place.fill(how, count, EACH)
            ended += count * EACH * (how == "ended")
            live += count * EACH * (how == "live")
            share = Share(live=live, archived=ended, milliseconds=_share(plan, place, words))
            plan.shares.append(share)
            yield plan.row(place, f"getRequestStatus, machines stored: {share.name}", known * EACH, contestants)


def _share(plan: Plan, place: Place, words: list[str]) -> float:
    """Give the CPU milliseconds that the store takes of a verb."""
    verb = [words[0], *words[words.index("hostfactory") + 1 :]]
    found = [plan.launcher.probe("store_share.py", verb, place.environment)[1] for _ in range(plan.rounds)]
    return statistics.median(found)


def _peer(plan: Plan, place: Place) -> Peer | None:
    return None if isinstance(plan.peer, str) else Peer(place, plan.peer)


SCENARIOS = {each.__name__: each for each in (from_disk, verbs, several, crowds, open_requests, stores)}
