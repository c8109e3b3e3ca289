"""What the product is held to, and how a run's figures show it; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import OURS
from scenarios import BARE, IMPORT, MANY, PEER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from harness import Row
    from scenarios import Share

ASKS_NOTHING = (
    "getAvailableTemplates",
    "getRequestStatus of an unknown id",
    "getRequestStatus of a return that is over",
)
ASKS = ("requestMachines", "getRequestStatus", "requestReturnMachines")
GROWING = (*ASKS, "getRequestStatus of a return", "getReturnRequests")
NOTICEABLE = 0.1  # of the fixed cost: what grows by less tells more of the machine than of the product


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One thing that the product is held to.

    Args:
        most: The largest figure that is right.
        figures: What a run shows of it, by what it was seen at; none if it was not measured.
    """

    name: str
    most: float
    figures: Mapping[str, float]
    unit: str = ""

    @property
    def worst(self) -> tuple[str, float] | None:
        """Where it was worst, and how it was there."""
        return max(self.figures.items(), key=lambda item: item[1], default=None)


def measures(rows: Sequence[Row], shares: Sequence[Share]) -> list[Measure]:
    """Give everything that the product is held to, with what a run shows of it."""

    def ratios(
        scenarios: Iterable[str], against: str, sizes: Callable[[int], bool] = lambda _: True
    ) -> dict[str, float]:
        return {
            f"{row.scenario}, {row.size}": row.figures[against].ratio
            for row in rows
            if row.scenario in scenarios and against in row.figures and sizes(row.size)
        }

    def ours(name: str, scenarios: Callable[[str], bool], sizes: Callable[[int], bool]) -> dict[str, float]:
        chosen = (row for row in rows if scenarios(row.scenario) and sizes(row.size))
        return {f"{row.scenario}, {row.size}": getattr(row.figures[OURS], name) for row in chosen}

    def share(found: Callable[[Share], bool]) -> dict[str, float]:
        return {one.name: one.milliseconds for one in shares if found(one)}

    exponents = {f"{name}, {who}": growth(rows, name, who) for name in GROWING for who in (OURS,)}
    return [
        Measure(
            name="CPU of getAvailableTemplates, and of a status answered from disk, against `import boto3`",
            most=0.5,
            figures=ratios(ASKS_NOTHING, IMPORT, lambda size: size <= MANY),
        ),
        Measure(
            name="CPU of getRequestStatus with one AWS call against the bare script with that call",
            most=0.75,
            figures=ratios({"getRequestStatus"}, BARE, lambda size: size < MANY),
        ),
        Measure(
            name="CPU of requestMachines against the bare script with the same calls",
            most=0.9,
            figures=ratios({"requestMachines"}, BARE),
        ),
        Measure(
            name="CPU of the status of 1,000 machines against the bare script describing the same 1,000",
            most=1.2,
            figures=ratios({"getRequestStatus"}, BARE, lambda size: size == MANY),
        ),
        Measure(
            name="CPU of verbs answered from disk against the peer's same verb",
            most=0.1,
            figures=ratios(ASKS_NOTHING, PEER),
        ),
        Measure(
            name="CPU of other verbs against the peer's same verb",
            most=0.25,
            figures=ratios(ASKS, PEER),
        ),
        Measure(
            name="Peak memory of any verb at 1,000 machines",
            most=120,
            unit="MiB",
            figures=ours("memory", lambda name: name in (*ASKS_NOTHING, *GROWING), lambda size: size == MANY),
        ),
        Measure(
            name="CPU of the store in a poll, 1,250 machines live of 50,000",
            most=15,
            unit="ms",
            figures=share(lambda one: one.archived > 0 and one.live < 20_000),  # noqa: PLR2004 - its name says it
        ),
        Measure(
            name="CPU of the store in a poll, 20,000 machines live",
            most=200,
            unit="ms",
            figures=share(lambda one: one.live >= 20_000),  # noqa: PLR2004 - its name says it
        ),
        Measure(
            name="Bytes that an unchanged poll writes",
            most=0,
            figures=ours("written", lambda name: name.startswith("getRequestStatus"), lambda _: True),
        ),
        Measure(
            name="Exponent by which the CPU of a verb grows with its machines",
            most=1.1,
            figures={name: found for name, found in exponents.items() if found is not None},
        ),
    ]


def growth(rows: Iterable[Row], scenario: str, contestant: str) -> float | None:
    """Fit an exponent to cost against size, both without the start-up: what the smallest size costs is taken off.

    Returns:
        The slope of the least squares through the logarithms; `None` where less than two sizes cost noticeably more.
    """
    costs = {r.size: r.figures[contestant].cpu for r in rows if r.scenario == scenario and contestant in r.figures}
    if not costs:
        return None
    fixed = costs[min(costs)]
    seen = [(s - min(costs), cost - fixed) for s, cost in costs.items() if cost - fixed > NOTICEABLE * fixed]
    points = [(math.log(size), math.log(cost)) for size, cost in seen]
    if len(points) < 2:  # noqa: PLR2004 - a line needs two
        return None
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
