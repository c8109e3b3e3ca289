"""Whatever a verb is given: one JSON document, exit code 0 or 1, no traceback; and a refusal leaves the store alone.

A failure prints the input and a `@reproduce_failure` blob; `HFCORE_CHAOS_SEED=… make chaos` draws the same again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfcore.testing.aws import StrictAws
from hfcore.testing.site import ForkedSite, judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcore.testing.forks import Forks

SHORT, FULL = 50, 1500
VERBS = (
    "getAvailableTemplates",
    "requestMachines",
    "getRequestStatus",
    "requestReturnMachines",
    "getReturnRequests",
)
TEMPLATES = ("OnDemand-Small", "Group", "Fleet-Request", "Spot-Plain")
MOST = 8  # machines of a template, so that a fuzzed count can't fill the world
HUGE = (2**31, 2**63, 10**30, 10**400, -(2**63), 0.1, 1e308, -0.0)
ODD = (
    b'{"template": {"templateId": "Group", "machineCount": NaN}}',
    b'{"template": {"templateId": "Group", "machineCount": Infinity}}',
    b'{"template": {"templateId": "Group", "machineCount": 1e999}}',
    b'{"template": {"templateId": "Group", "machineCount": 1, "machineCount": "1"}, "template": []}',
    b'{"requests": [{"requestId": "\\ud800"}, {"requestId": "\\u0000"}, {"requestId": "../../etc/passwd"}]}',
    b'{"requests": [], "requests": [{"requestId": ""}], "machines": [], "machines": [{"name": "\\udfff"}]}',
    b'{"machines": [{"name": "' + b"x" * 100_000 + b'"}]}',
    b'{"requests": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b'{"template": {"templateId": "Group", "machineCount": ' + b"9" * 10_000 + b"}}",
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    b"\x00" * 100,
    b"",
    b"{}{}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A provider instance, and the ids that its store has; every example finds that store as it was."""

    site: ForkedSite
    whole: Path
    requests: tuple[str, ...]
    machines: tuple[str, ...]
    names: tuple[str, ...]

    def put_back(self) -> None:
        shutil.rmtree(self.site.data)
        shutil.copytree(self.whole, self.site.data)

    @property
    def words(self) -> st.SearchStrategy[Any]:
        """Draw ids that exist, and what may be taken for one."""
        known = (*self.requests, *self.machines, *self.names, *TEMPLATES)
        return st.one_of(st.sampled_from(known), st.sampled_from(known).map(lambda one: one[:-1]), texts, scalars)

    @property
    def documents(self) -> st.SearchStrategy[Any]:
        """Draw documents of the right shape in which anything may be wrong."""
        template = st.fixed_dictionaries({}, optional={"templateId": self.words, "machineCount": counts, "x": values})
        request = st.fixed_dictionaries({}, optional={"requestId": self.words, "x": values})
        machine = st.fixed_dictionaries({}, optional={"machineId": self.words, "name": self.words, "x": values})
        return st.fixed_dictionaries(
            {},
            optional={
                "template": st.one_of(template, st.lists(template, max_size=2), values),
                "requests": st.one_of(st.lists(st.one_of(request, self.words), max_size=5), request, values),
                "machines": st.one_of(st.lists(st.one_of(machine, self.words), max_size=5), machine, values),
                "x": values,
            },
        )

    @property
    def right(self) -> st.SearchStrategy[Any]:
        """Draw documents that every verb can make something of."""
        requests = st.lists(st.sampled_from(self.requests), min_size=1, max_size=5)
        machines = st.lists(st.sampled_from(self.machines), min_size=1, max_size=5)
        template = {"templateId": st.sampled_from(TEMPLATES), "machineCount": st.integers(1, 3)}
        return st.fixed_dictionaries(
            {
                "template": st.fixed_dictionaries(template),
                "requests": requests.map(lambda ids: [{"requestId": one} for one in ids]),
                "machines": machines.map(lambda ids: [{"machineId": one} for one in ids]),
            }
        )

    @property
    def inputs(self) -> st.SearchStrategy[bytes]:
        """Draw what a file may hold."""
        right, whole = self.right.map(dumped), self.documents.map(dumped)
        broken = st.tuples(right | whole, st.integers(0, 300), st.binary(max_size=3)).map(
            lambda drawn: drawn[0][: drawn[1]] + drawn[2] + drawn[0][drawn[1] + 1 :]
        )
        anything = values.map(dumped) | st.binary(max_size=200) | st.sampled_from(ODD)
        return st.one_of(right, whole, whole, broken, anything)


def dumped(value: object) -> bytes:
    """Write JSON as a careless program would, with lone surrogates, NaN and numbers of any length."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


texts = st.text(st.characters(codec=None, categories=None), max_size=20)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(HUGE), texts)
counts = st.one_of(st.integers(-2, MOST + 2), st.integers(1, MOST).map(str), scalars)
values = st.recursive(
    scalars, lambda each: st.one_of(st.lists(each, max_size=4), st.dictionaries(texts, each, max_size=4)), max_leaves=12
)


@pytest.fixture(scope="module")
def stored(forks: Forks, memory: Path) -> Iterator[Stored]:
    """Give an instance with requests of several APIs, two machines given back, and one that has ended by itself."""
    with StrictAws(boot_seconds=0, shutdown_seconds=0, fill_seconds=0, replace_seconds=0) as aws:
        site = ForkedSite(Path(tempfile.mkdtemp(dir=memory)) / "site", aws, forks)
        path = next(site.conf.glob("*prov_templates.json"))
        document = json.loads(path.read_text())
        for one in document["templates"]:
            one["maxNumber"] = MOST
        path.write_text(json.dumps(document))
        requests = [site.request(template_id, 3) for template_id in TEMPLATES]
        machines = [one for each in site.statuses(*requests) for one in each["machines"]]
        returned = site.give_back([{"machineId": one["machineId"]} for one in machines[:2]])
        open_return = site.give_back([{"machineId": machines[2]["machineId"]}])
        assert site.status(returned)["status"] == "complete"
        aws.kill(machines[-1]["machineId"])
        whole = Path(shutil.copytree(site.data, site.folder / "whole"))
        yield Stored(
            site=site,
            whole=whole,
            requests=(*requests, returned, open_return),
            machines=tuple(one["machineId"] for one in machines),
            names=tuple(one["name"] for one in machines),
        )


def fuzz(stored: Stored, verb: str, examples: int, seed: str) -> None:
    """Give a verb so many inputs, and see each answered as it must be."""
    path, codes = stored.site.folder / "input.json", set[int]()

    @hypothesis.seed(f"{seed}/{verb}")
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(stored.inputs)
    def answers(given_bytes: bytes) -> None:
        stored.put_back()
        path.write_bytes(given_bytes)
        before = stored.site.records()
        ended = stored.site.call(verb, words=("-f", str(path)))
        ran = judged(verb, ended.code, ended.stdout, ended.stderr, ended.seconds)
        codes.add(ran.code)
        if ran.code:
            assert stored.site.records() == before, f"refused, and changed: {ran.message}"

    answers()
    assert codes == {0, 1}


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_answers_whatever_it_is_given(stored: Stored, verb: str, seed: str) -> None:
    fuzz(stored, verb, SHORT, seed)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_answers_thousands_of_inputs(stored: Stored, verb: str, seed: str) -> None:
    fuzz(stored, verb, FULL, seed)
