"""Measure each verb against the least code for it: `make bench`, or `make bench QUICK=1` for a first look."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import HERE, Launcher, RunFailed
from peer import PINNED, PeerMissing, install
from report import write
from scenarios import LARGE, MANY, SCENARIOS, Plan

from hfcore.environment import fingerprint

CACHE = HERE / ".cache"
NAMED = ("hfcore", "boto3", "botocore", "pluggy", "pydantic", "rich", "tinydb", "typer")


def quick(plan: Plan) -> None:
    """Leave out what takes long."""
    plan.sizes, plan.requests, plan.crowds, plan.apis, plan.store = (1, 100, MANY), (1, 10), (16,), (), ()
    plan.rounds = 3


def tell(peer: Path | str, loads: list[float]) -> dict[str, str]:
    """Tell on what was measured."""
    models = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores of {models[0] if models else platform.machine()}, {memory:.0f} GiB",
        "system": platform.platform(),
        "load": f"{loads[0]:.1f} at the start, {os.getloadavg()[0]:.1f} at the end (our own processes are in it)",
        "Python": platform.python_version(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in NAMED),
        "peer": peer if isinstance(peer, str) else PINNED,
    }


def main(words: list[str]) -> int:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="sizes 1, 100, 1,000, few rounds, no peer; into bench/.cache"
    )
    parser.add_argument("--output", type=Path, help="folder for RESULTS.md and the plots")
    parser.add_argument("--sizes", type=int, nargs="+", default=(1, 10, 100, MANY, LARGE))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--store", type=int, nargs=3, default=(50, 1_950, 750), help="requests: known, archived, others"
    )
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=tuple(SCENARIOS))
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args(words)
    output = given.output or (CACHE if given.quick else HERE)
    while not fingerprint():  # until then, each call looks at what has just been installed
        time.sleep(1)
    loads = list(os.getloadavg())
    with TemporaryDirectory(prefix="hfcore-bench-") as made, Launcher(Path(made) / "output") as launcher:
        plan = Plan(folder=Path(made), launcher=launcher, sizes=given.sizes, rounds=given.rounds, store=given.store)
        if given.quick:
            quick(plan)
        elif not given.no_peer:
            try:
                plan.peer = install(CACHE)
            except PeerMissing as missing:
                plan.peer = str(missing)
        rows, failures = [], []
        with suppress(KeyboardInterrupt):  # what was measured until then is told
            for name in given.only:
                try:
                    for row in SCENARIOS[name](plan):
                        rows.append(row)  # noqa: PERF402 - one by one, as they come
                except RunFailed as failed:
                    failures.append(f"{name}: {failed}")
    output.mkdir(exist_ok=True)
    print(write(output, rows, plan.shares, tell(plan.peer, loads)))
    print(*failures, sep="\n", file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
