"""`make bench` runs, and its report names everything that the product is held to. No time is asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
HELD_TO = {
    "CPU of getAvailableTemplates, and of a status answered from disk, against `import boto3`": "0.5",
    "CPU of getRequestStatus with one AWS call against the bare script with that call": "0.75",
    "CPU of requestMachines against the bare script with the same calls": "0.9",
    "CPU of the status of 1,000 machines against the bare script describing the same 1,000": "1.2",
    "CPU of verbs answered from disk against the peer's same verb": "0.1",
    "CPU of other verbs against the peer's same verb": "0.25",
    "Peak memory of any verb at 1,000 machines": "120 MiB",
    "CPU of the store in a poll, 1,250 machines live of 50,000": "15 ms",
    "CPU of the store in a poll, 20,000 machines live": "200 ms",
    "Bytes that an unchanged poll writes": "0",
    "Exponent by which the CPU of a verb grows with its machines": "1.1",
}


def limits(report: str) -> dict[str, str]:
    """Read the first table of a report: measures, and what each is to be at most."""
    table = report.split("|---|---|---|---|---|\n")[1].split("\n\n", maxsplit=1)[0]
    return dict(re.findall(r"^\| (.*?) \| (.*?) \|", table, re.MULTILINE))


@pytest.mark.timeout(300)  # many processes, one after the other
def test_the_bench_measures_a_pair_and_writes_its_report(tmp_path: Path) -> None:
    words = ["--only", "stores", "--store", "1", "1", "0", "--rounds", "1", "--no-peer", "--output", str(tmp_path)]
    subprocess.run([sys.executable, "bench/run.py", *words], cwd=ROOT, check=True, capture_output=True)
    report = (tmp_path / "RESULTS.md").read_text()
    assert limits(report) == HELD_TO
    rows = re.findall(
        r"^\| 25 \| (hfcore|bare script) \| [\d.]+ \| .* \| (\d+) \| (\d+) \| 1 \|$", report, re.MULTILINE
    )
    assert rows == [("hfcore", "1", "0"), ("bare script", "1", "0")] * 2, "one AWS call each, and nothing written"
    assert re.search(r"^\| 25 live, 25 archived \| \d+\.\d \|$", report, re.MULTILINE)


@pytest.mark.parametrize("power", [1, 2])
def test_the_exponent_of_a_cost_is_told_without_its_start_up(monkeypatch: pytest.MonkeyPatch, power: int) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    from measures import growth

    rows = [
        SimpleNamespace(
            scenario="poll", size=size, figures={"hfcore": SimpleNamespace(cpu=0.2 + (size / 1000) ** power)}
        )
        for size in (1, 10, 100, 1000, 5000)
    ]
    assert growth(rows, "poll", "hfcore") == pytest.approx(power, abs=0.01)
    assert growth(rows[:3], "poll", "hfcore") is None, "what is lost in the start-up tells nothing"


def test_the_results_that_are_kept_name_everything_that_the_product_is_held_to() -> None:
    assert limits((ROOT / "bench" / "RESULTS.md").read_text()) == HELD_TO
