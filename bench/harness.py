"""Measure commands in turn: what each costs, and how often it calls AWS; knows nothing of verbs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

Command = Callable[[], list[str]]
"""Gives the words of the next run, once all is ready for it."""

HERE = Path(__file__).parent
OURS = "hfcore"
LIMIT_SECONDS = 60.0
SLOW_SECONDS, FEW_ROUNDS = 1.0, 3  # what takes longer takes part in the first rounds alone
FOREIGN = (
    "AWS_",
    "HF_",
    "HFCORE_",
    "PRO_",
    "ORB_",
    "PYTHON",
)  # PYTHONDONTWRITEBYTECODE would hide what byte code is for


class RunFailed(RuntimeError):
    """A measured command did not end well; the message has its words and what it told, `why` neither."""

    def __init__(self, words: list[str], why: str, told: str) -> None:
        super().__init__(f"{' '.join(words)} {why}: {told}")
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one go cost: of several processes at once, CPU and bytes of each on average, the rest of the worst.

    Args:
        cpu: Seconds, of user and system.
        wall: Seconds.
        memory: Peak, in MiB.
        written: Bytes written to files and pipes, without what was printed.
    """

    cpu: float
    wall: float
    memory: float
    written: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Cost):
    """Medians of what a contestant cost.

    Args:
        modules: Modules that it imports.
        calls: AWS calls that it makes.
        ratio: The median, over the rounds, of our CPU time to its own.
        rounds: In how many rounds it took part.
    """

    modules: int
    calls: int
    ratio: float
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison.

    Args:
        scenario: What was done.
        size: How many machines, requests or processes.
        figures: By contestant; ours is `hfcore`.
        skipped: Contestants that could not take part, with the reason.
    """

    scenario: str
    size: int
    figures: Mapping[str, Figures]
    skipped: Mapping[str, str]


class Launcher:
    """Runs commands from a small process of its own, in a folder for what they put out and leave; see `launcher.py`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-I", "-S", str(HERE / "launcher.py")]
        self._process = subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def go(self, commands: list[list[str]], environment: Mapping[str, str]) -> Cost:
        """Run commands at once.

        Raises:
            RunFailed: One of them failed, or took longer than the limit.
        """
        asked = {"commands": commands, "environment": environment, "output": str(self.folder), "limit": LIMIT_SECONDS}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        costs = json.loads(self._process.stdout.readline())
        for number, (code, *_) in enumerate(costs):
            if code:
                why = f"took more than {LIMIT_SECONDS:.0f} s" if code < 0 else f"exited with {code}"
                raise RunFailed(commands[number], why, self.told(number))
        codes, cpu, wall, memory, written = zip(*costs, strict=True)
        printed = sum((self.folder / f"{n}.{end}").stat().st_size for n in range(len(codes)) for end in ("out", "err"))
        return Cost(
            cpu=sum(cpu) / len(codes),
            wall=max(wall),
            memory=max(memory) / 1024,
            written=(sum(written) - printed) / len(codes),
        )

    def answer(self) -> Any:  # noqa: ANN401 - whatever JSON the command printed
        """Give what the first command of the last go printed."""
        return json.loads((self.folder / "0.out").read_bytes())

    def probe(self, script: str, words: list[str], environment: Mapping[str, str]) -> tuple[Cost, float]:
        """Run a command of Python's by one of the scripts here, which tells a number of it."""
        told, rest = self.folder / "told", [word for word in words[1:] if word != "-P"]
        cost = self.go([[words[0], "-P", str(HERE / script), str(told), *rest]], environment)
        return cost, float(told.read_text())

    def told(self, number: int) -> str:
        """Give the end of what a command of the last go told."""
        return "".join((self.folder / f"{number}.{end}").read_text(errors="replace")[-500:] for end in ("out", "err"))


def clean_environment() -> dict[str, str]:
    """Give this process's environment without what would change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def compare(
    scenario: str,
    size: int,
    contestants: Mapping[str, Command],
    *,
    launcher: Launcher,
    environment: Mapping[str, str],
    count_calls: Callable[[], int],
    rounds: int,
    at_once: int = 1,
) -> Row:
    """Let the contestants run in turn, so often; one run of each before warms up, and is counted."""
    counts, skipped, alone = {}, {}, {}
    for name, command in contestants.items():
        words, before = command(), count_calls()
        try:
            alone[name], modules = launcher.probe("imported.py", words, environment)
        except RunFailed as failed:
            if name == OURS:
                raise
            skipped[name] = failed.why
            continue
        counts[name] = (int(modules), count_calls() - before)
    costs: dict[str, list[Cost]] = {name: [] for name in counts}
    for number in range(rounds):
        for name in counts:
            if number >= FEW_ROUNDS and alone[name].cpu > SLOW_SECONDS:
                continue
            costs[name].append(launcher.go([contestants[name]() for _ in range(at_once)], environment))
    figures = {name: _figures(found, costs[OURS], *counts[name]) for name, found in costs.items()}
    ours = figures[OURS]
    print(f"{scenario} {size}: {ours.cpu:.3f} s CPU;", *(f"{n} {f.ratio:.2f}" for n, f in figures.items()), flush=True)
    return Row(scenario=scenario, size=size, figures=figures, skipped=skipped)


def _figures(costs: list[Cost], ours: list[Cost], modules: int, calls: int) -> Figures:
    medians = {name: statistics.median(asdict(cost)[name] for cost in costs) for name in Cost.__annotations__}
    ratio = statistics.median(our.cpu / its.cpu for our, its in zip(ours, costs, strict=False))
    return Figures(**medians, modules=modules, calls=calls, ratio=ratio, rounds=len(costs))
