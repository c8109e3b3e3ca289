"""Own a crowd: clients that make many calls at once on one provider instance, as busy Host Factories would.

What each client does follows from the seed and its number alone: verbs, templates, counts, deaths. Which id a call then
is about depends on what was answered by then. What Host Factory was told is noted down, and held against the store and
AWS when all is quiet: `Crowd.trouble` and `Crowd.remains`.

>>> crowd = Crowd(site, seed="7", clients=8)
>>> crowd.storm(requests=40, others=3)          # mixed verbs at once
>>> crowd.settle()                              # polls until all has come to its end, and fails if that does not happen
>>> crowd.give_back_all()
>>> crowd.settle(to_nothing=True)
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from hfcore.archive import Archive, decode_entry
from hfcore.records import encode_machine, encode_request
from hfcore.storefolder import ARCHIVE_FOLDER
from hfcore.testing.audit import audit, observe
from hfcore.testing.faults import FAULT_POINTS
from hfcore.testing.site import CASES, HETEROGENEOUS, judged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hfcore.testing.forks import Ended
    from hfcore.testing.site import Document, ForkedSite

TEMPLATES: Final = tuple(case.template_id for case in (CASES | HETEROGENEOUS).values())
OTHERS: Final = ("poll", "poll", "give_back", "look", "list_templates")
"""What a client does between its requests, by likelihood."""

MOST_MACHINES: Final = 3
MOST_ASKED: Final = 5
BETWEEN_POLLS: Final = 31.0
LONGEST_CALL: Final = 300.0
LONGEST_BEFORE_DEATH: Final = 0.15
TRIES: Final = 20
PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request that Host Factory has an id for."""

    template_id: str
    count: int


@dataclass(slots=True)
class Told:
    """What the calls have answered.

    Args:
        requests: The printed ids of requests for machines.
        returns: The printed ids of returns, with the machines that were named.
        machines: The machines that are there, each with its request.
        given: The machines named in an answered return.
        over: Ids that have come to an end: the status told first, and when.
        refused: The sentences of requests that were refused, with exit code 1.
        deaths: The verbs of calls that were killed before they had answered.
    """

    requests: dict[str, Wanted] = field(default_factory=dict)
    returns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    machines: dict[str, str] = field(default_factory=dict)
    given: dict[str, None] = field(default_factory=dict)
    over: dict[str, tuple[float, str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)


class Crowd:
    """Clients of one provider instance, and what they were told.

    Args:
        site: The instance.
        seed: What the clients do.
        clients: How many there are, each with one call at a time.
        deaths: How likely a call of the storm is killed, at a fault point or at any moment.
        refusals: Whether a request may be refused, and is asked for again then.
    """

    def __init__(
        self, site: ForkedSite, *, seed: str, clients: int, deaths: float = 0.0, refusals: bool = False
    ) -> None:
        self.site, self.told = site, Told()
        self._seed, self._clients, self._deaths, self._refusals = seed, clients, deaths, refusals
        self._dying = False

    def storm(self, requests: int, others: int) -> None:
        """Make so many requests, and for each so many other calls, all clients at once."""
        self._dying = True

        def client(number: int) -> None:
            chance = Random(f"{self._seed}/{number}")  # noqa: S311 - a test's, not a secret
            share = len(range(number, requests, self._clients))
            deeds = ["ask"] * share + chance.choices(OTHERS, k=share * others)
            chance.shuffle(deeds)
            for deed in deeds:
                getattr(self, deed)(chance)

        self.at_once(client, range(self._clients))
        self._dying = False

    def lives(self, requests: int, pause: float) -> None:
        """Lead so many requests from the first call to the end of their returns, each client one after the other."""

        def life(number: int) -> None:
            chance = Random(f"{self._seed}/{number}")  # noqa: S311 - a test's, not a secret
            request_id = self.ask(chance)
            assert request_id
            self._await(request_id, chance, pause)
            self._await(self.end([i for i, its in [*self.told.machines.items()] if its == request_id]), chance, pause)

        self.at_once(life, range(requests))

    def at_once(self, work: Callable[[Any], object], items: Iterable[Any]) -> None:
        """Do something for each item, as many at once as there are clients; the first error is raised at the end."""
        with ThreadPoolExecutor(self._clients) as pool:
            list(pool.map(work, items))

    def _await(self, request_id: str, chance: Random, pause: float) -> None:
        for _ in range(TRIES):
            self._poll([request_id], chance)
            if request_id in self.told.over:
                return
            time.sleep(pause)
        raise AssertionError(f"{request_id} did not come to its end")

    def ask(self, chance: Random) -> str:
        """Ask for machines; give the id, empty if the call was killed."""
        wanted = Wanted(template_id=chance.choice(TEMPLATES), count=chance.randint(1, MOST_MACHINES))
        asked = {"template": {"templateId": wanted.template_id, "machineCount": wanted.count}}
        for _ in range(TRIES):
            answer, code = self._call("requestMachines", asked, chance)
            if code == 0:
                self.told.requests[answer["requestId"]] = wanted
                return str(answer["requestId"])
            if not answer:
                return ""
            assert self._refusals, answer
            self.told.refused.append(answer["message"])
        raise AssertionError(f"refused {TRIES} times: {self.told.refused[-1]}")

    def poll(self, chance: Random) -> None:
        """Ask how some requests and returns stand, those that are over included."""
        self._poll(_some((*self.told.requests, *self.told.returns), chance), chance)

    def poll_all(self) -> None:
        """Ask how everything stands that was ever asked for, all clients at once."""
        self.at_once(self._poll, _parts(self._printed, self._clients))

    def give_back(self, chance: Random) -> None:
        """Give some machines back, some of them a second time."""
        there = [one for one in [*self.told.machines] if one not in self.told.given]
        self.end([*_some(there, chance)[:MOST_MACHINES], *_some([*self.told.given], chance)[:1]], chance)

    def end(self, machines: Sequence[str], chance: Random | None = None) -> str:
        """Give machines back; give the id, empty if the call was killed or none is named."""
        machines = tuple(dict.fromkeys(machines))
        if not machines:
            return ""
        answer, code = self._call("requestReturnMachines", {"machines": [{"machineId": i} for i in machines]}, chance)
        if code == 0:
            self.told.returns[answer["requestId"]] = machines
            self.told.given |= dict.fromkeys(machines)
        assert code == 0 or not answer, answer
        return str(answer.get("requestId", ""))

    def give_back_all(self) -> None:
        """Give back what is left, in parts across requests, all clients at once."""
        chance = Random(f"{self._seed}/rest")  # noqa: S311 - a test's, not a secret
        left = [one for one in self.told.machines if one not in self.told.given]
        chance.shuffle(left)
        self.at_once(self.end, _parts(left, self._clients))

    def look(self, chance: Random) -> None:
        """Ask what the cloud takes back: nothing, unless a killed call's machines are ended."""
        some = [{"machineId": one} for one in _some([*self.told.machines], chance)]
        answer, code = self._call("getReturnRequests", {"machines": some} if some else None, chance)
        assert code == 0 or not answer, answer
        assert self._deaths or not answer.get("requests"), answer

    def list_templates(self, chance: Random) -> None:
        """Ask for the templates."""
        answer, code = self._call("getAvailableTemplates", None, chance)
        assert code == 0 or not answer, answer
        assert not answer or {one["templateId"] for one in answer["templates"]} == {*TEMPLATES}, answer

    def _poll(self, ids: Sequence[str], chance: Random | None = None) -> None:
        if not ids:
            return
        begun = time.monotonic()
        answer, code = self._call("getRequestStatus", {"requests": [{"requestId": one} for one in ids]}, chance)
        assert code == 0 or not answer, answer
        for one in answer.get("requests", ()):
            self._take_in(one, begun)

    def _take_in(self, answer: Document, begun: float) -> None:
        """Note down how a request stands; what is over stays as it was told."""
        request_id, status, machines = answer["requestId"], answer["status"], answer["machines"]
        assert status in {"running", "complete"}, answer
        at, told = self.told.over.get(request_id, (begun, status))
        assert at >= begun or told == status, f"was {told}: {answer}"
        if status != "running":
            self.told.over.setdefault(request_id, (time.monotonic(), status))
        if request_id in self.told.requests:
            assert len(machines) <= self.told.requests[request_id].count, answer
            self.told.machines |= {one["machineId"]: request_id for one in machines if one["result"] == "succeed"}

    def _call(self, verb: str, document: object, chance: Random | None) -> tuple[Document, int | None]:
        """Carry out a call, which may be killed; give its answer and exit code, which is 0 once it has answered."""
        how: dict[str, Any] = {}
        dies_at = 0.0
        if chance and self._dying and chance.random() < self._deaths:
            dies_at = chance.uniform(0.0, LONGEST_BEFORE_DEATH) * chance.choice((0, 1))
            how = {} if dies_at else {"kill": chance.choice(FAULT_POINTS), "nth": chance.randint(1, 2)}
        running = self.site.start(verb, document, **how)
        if dies_at:
            time.sleep(dies_at)
            running.kill()
        ended = running.wait(LONGEST_CALL)
        return self._died(verb, ended) if ended.killed else _answered(verb, ended)

    def _died(self, verb: str, ended: Ended) -> tuple[Document, int | None]:
        if ended.stdout.endswith(b"}\n"):
            return ended.answer, 1 if [*ended.answer] == ["message"] else 0
        self.told.deaths.append(verb)
        return {}, None

    def settle(self, rounds: int = 12, *, to_nothing: bool = False) -> None:
        """Poll until nothing is wrong; AssertionError if that takes more rounds.

        Args:
            rounds: How often everything that is not over is polled, at most.
            to_nothing: Whether nothing may be left in AWS either. Otherwise, requests of which nobody was told are left
                out: these are not polled, and end at their deadline.
        """
        self.wait_for_aws()
        trouble: list[str] = []
        for number in range(rounds):
            chance = Random(f"{self._seed}/settle/{number}")  # noqa: S311 - a test's, not a secret
            self.site.pass_time(BETWEEN_POLLS)
            ids = [one for one in (*self.told.requests, *self.told.returns) if one not in self.told.over]
            chance.shuffle(ids)
            shares = [[*part, *_some(ids, chance)[:2]] for part in _parts(ids, self._clients)]
            self.at_once(self._poll, ([*dict.fromkeys(one)] for one in shares))
            self.look(chance)
            trouble = [*self.trouble(), *self.remains()] if to_nothing else self._told_of(self.trouble())
            if not trouble:
                return
        raise AssertionError("\n".join((f"after {rounds} rounds, seed {self._seed}:", *trouble)))

    def wait_for_aws(self) -> None:
        """Wait until AWS has done what is on the wire: a call of a dead process is done all the same."""
        end = time.monotonic() + PATIENCE
        while self.site.aws.busy:
            assert time.monotonic() < end
            time.sleep(0.002)

    def records(self) -> tuple[dict[str, Document], dict[str, Document]]:
        """Give all requests and all machines, the archived ones included, as they are stored."""
        entries = [decode_entry(line.text) for line in Archive(self.site.data / ARCHIVE_FOLDER, month="").lines()]
        requests = {one.request.request_id: encode_request(one.request) for one in entries}
        machines = {one.instance_id: encode_machine(one) for entry in entries for one in entry.machines}
        return requests | self.site.stored(), machines | self.site.machines()

    def trouble(self) -> list[str]:
        """Say what is not as it must be once all that was begun has come to its end."""
        now = datetime.now(UTC) + timedelta(seconds=self.site.ahead)
        found = [str(one) for one in (*audit(self.site.aws, self.site.data, now), *self.site.aws.violations)]
        unsaid = [one for one in (*self.told.requests, *self.told.returns) if one not in self.told.over]
        return [*found, *(f"{one} is not over" for one in unsaid), *self._lost()]

    def _told_of(self, trouble: list[str]) -> list[str]:
        """Leave out what is wrong with requests whose ids were never printed."""
        untold = [one for one in self.site.stored() if one not in self._printed]
        return [one for one in trouble if not any(request_id in one for request_id in untold)]

    def _lost(self) -> Iterator[str]:
        """Hold what was told, what is stored and what AWS has launched against each other."""
        requests, machines = self.records()
        launched = self._launched()
        yield from (f"{one} was printed, and is not stored" for one in self._printed if one not in requests)
        for request_id, record in requests.items():
            if record.get("kind") == "return":
                yield from self._lost_by_return(request_id, {*record["machine_ids"]})
            else:
                yield from self._lost_by_request(request_id, record, launched[request_id])
        for instance_id, request_id in self.told.machines.items():
            if instance_id not in requests.get(request_id, {}).get("machine_ids", ()):
                yield f"{instance_id} was told of as {request_id}'s, which does not have it"
        for instance_id in self.told.given:
            if machines.get(instance_id, {}).get("status") != "terminated":
                yield f"{instance_id} was given back, and is stored as {machines.get(instance_id)}"

    def _lost_by_return(self, request_id: str, stored: set[str]) -> Iterator[str]:
        named = {*self.told.returns.get(request_id, stored)}
        if named != stored:
            yield f"{request_id} was to return {sorted(named)}, and returns {sorted(stored)}"

    def _lost_by_request(self, request_id: str, record: Document, launched: set[str]) -> Iterator[str]:
        wanted, stored = self.told.requests.get(request_id), {*record["machine_ids"]}
        if launched != stored:
            yield f"{request_id} has {sorted(stored)}, and AWS has launched {sorted(launched)} for it"
        if wanted and len(stored) != wanted.count:
            yield f"{request_id} has {sorted(stored)}, and asked for {wanted.count}"
        if record["status"] == "failed" and stored:
            yield f"{request_id} has failed, and made {sorted(stored)}"

    @property
    def _printed(self) -> list[str]:
        return [*self.told.requests, *self.told.returns]

    def _launched(self) -> dict[str, set[str]]:
        """Give the machines that AWS has ever launched for each request."""
        found: dict[str, set[str]] = defaultdict(set)
        with self.site.aws.locked() as world:
            for one in world.instances().values():
                found[one.tags["hfcore:request-id"]].add(one.id)
        return found

    def remains(self) -> list[str]:
        """Say what is left of the requests once all their machines have been given back."""
        owner = json.loads((self.site.data / "meta.json").read_text())["owner"]
        world = observe(self.site.aws, owner)
        standing = [f"{one.kind} {one.resource_id} stands" for one in world.holdings if one.stands and one.request_id]
        return [*(f"{one} lives" for one in world.living), *standing]

    def summary(self) -> str:
        """Say in a sentence what there was."""
        calls = Counter(one.operation for one in self.site.aws.calls)
        told = self.told
        return (
            f"seed {self._seed}: {len(told.requests)} requests, {len(told.machines)} machines, {len(told.returns)} "
            f"returns, {len(told.deaths)} deaths, {len(told.refused)} refusals, {sum(calls.values())} AWS calls"
        )


def _answered(verb: str, ended: Ended) -> tuple[Document, int]:
    ran = judged(verb, ended.code, ended.stdout, ended.stderr, ended.seconds)
    return ran.answer, ran.code


def _some(items: Sequence[str], chance: Random) -> list[str]:
    """Choose a few of many, at least one if there is any."""
    items = [*items]
    return chance.sample(items, chance.randint(1, min(len(items), MOST_ASKED))) if items else []


def _parts(items: Sequence[str], count: int) -> list[Sequence[str]]:
    return [part for part in (items[number::count] for number in range(count)) if part]
