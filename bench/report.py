"""Write what a run has shown: `RESULTS.md`, and the plots beside it; measures nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import OURS
from measures import GROWING, growth, measures

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from harness import Row
    from measures import Measure
    from scenarios import Share

PLOTS = (("cpu", "CPU seconds"), ("memory", "peak memory, MiB"))
HEADINGS = "| size | who | CPU s | ours : its | wall s | peak MiB | modules | AWS calls | bytes written | rounds |"


def write(folder: Path, rows: Sequence[Row], shares: Sequence[Share], about: Mapping[str, str]) -> str:
    """Write the report and the plots; give the report. `about` is the machine, versions, the date."""
    rows = sorted(rows, key=lambda row: row.size)  # of one scenario; they may have come in any order
    drawn = draw(folder, rows)
    text = "\n".join([*_lines(rows, shares, about), *drawn, ""])
    (folder / "RESULTS.md").write_text(text)
    return text


def _lines(rows: Sequence[Row], shares: Sequence[Share], about: Mapping[str, str]) -> Iterator[str]:
    yield "# What a call costs\n"
    yield "Written by `make bench`; how it is measured is told at the end.\n"
    yield "## What it is held to\n"
    yield "| measure | at most | worst here | seen at | reached |\n|---|---|---|---|---|"
    yield from map(_target, measures(rows, shares))
    yield "\nFigures without a unit are ratios of CPU time: the median over pairs of runs, of ours to its own.\n"
    yield "## Growth with the number of machines\n"
    yield "Cost without start-up is about `size ** exponent`; 1 is linear.\n"
    yield "| verb | who | exponent |\n|---|---|---|"
    for scenario in GROWING:
        for who in {name: None for row in rows if row.scenario == scenario for name in row.figures}:
            exponent = growth(rows, scenario, who)
            if exponent is not None:
                yield f"| {scenario} | {who} | {exponent:.2f} |"
    yield "\n## The store's share of a poll of all live requests but copies\n"
    yield "| machines | CPU ms |\n|---|---|"
    for share in shares:
        yield f"| {share.name} | {share.milliseconds:.1f} |"
    yield "\n## All figures"
    for scenario in sorted({row.scenario for row in rows}):
        yield f"\n### {scenario}\n\n{HEADINGS}\n|{'---|' * HEADINGS.count(' | ')}---|"
        for row in (one for one in rows if one.scenario == scenario):
            yield from _figures(row)
    yield "\n## The run\n\n| | |\n|---|---|"
    for name, value in about.items():
        yield f"| {name} | {value} |"
    yield HOW


HOW = """
All takes place on this machine, on the strict AWS (`hfcore.testing.aws`), a process of its own whose time is not
counted. Each comparison takes its contestants in turn, in one run, with byte code compiled: ours, a script of boto3
that makes the very calls that ours made and prints the machines in their answers (`bare.py`), nothing but
`import boto3`, an empty program, and `orb-py` of PyPI with one template like ours. Each is one process: CPU is user and
system time of it alone, bytes are those that it gave to files. Of several processes at once, CPU and bytes are the
average of one, wall and memory the worst. Verbs that change something find the store as it was before each run; what
`reconcile_minutes` asks for once in a while is switched off. Wall includes the strict AWS, and all that the machine did
beside it; the ratios hardly do. `orb-py` answers a status from its own store (no AWS call).
"""


def _target(measure: Measure) -> str:
    limit = f"{measure.most:g} {measure.unit}".strip()
    if measure.worst is None:
        return f"| {measure.name} | {limit} | not measured | | |"
    place, worst = measure.worst
    shown = f"{worst:.2f}" if worst < 10 else f"{worst:.0f}"  # noqa: PLR2004 - three figures are enough
    reached = "yes" if worst <= measure.most else "**no**"
    return f"| {measure.name} | {limit} | {shown} {measure.unit} | {place} | {reached} |"


def _figures(row: Row) -> Iterator[str]:
    for who, one in row.figures.items():
        cells = (
            str(row.size or ""),
            who,
            f"{one.cpu:.3f}",
            "" if who == OURS else f"{one.ratio:.2f}",
            f"{one.wall:.2f}",
            f"{one.memory:.0f}",
            str(one.modules),
            str(one.calls),
            f"{one.written:.0f}",
            str(one.rounds),
        )
        yield f"| {' | '.join(cells)} |"
    for who, why in row.skipped.items():
        yield f"| {row.size} | {who} | skipped: {why} | | | | | | | |"


def draw(folder: Path, rows: Sequence[Row]) -> Iterator[str]:
    """Draw cost against size, a picture for each kind of cost; give the lines that show them."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        yield f"No plots: {error} (`pip install --group bench`)."
        return
    drawn = [scenario for scenario in GROWING if any(row.scenario == scenario for row in rows)]
    for name, label in PLOTS if drawn else ():
        figure = Figure(figsize=(4 * len(drawn), 4), layout="constrained")
        for axes, scenario in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
            found = [row for row in rows if row.scenario == scenario]
            for who in {who: None for row in found for who in row.figures}:
                points = [(row.size, getattr(row.figures[who], name)) for row in found if who in row.figures]
                axes.plot(*zip(*points, strict=True), marker="o", label=who)
            axes.set(xscale="log", yscale="log", title=scenario, xlabel="machines", ylabel=label)
            axes.grid(visible=True, which="both", alpha=0.2)
            axes.legend()
        figure.savefig(folder / f"{name}.png", dpi=80)
        yield f"![{label} against the number of machines]({name}.png)\n"
