"""What was measured, as medians and ratios, beside the goals, as a table of Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Rounds = Mapping[str, Mapping[str, Sequence[float]]]
"""Measure → subject → a number for each round."""

BOLT = "default Bolt"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a number, or its ratio to default Bolt's, should be at most (or at least)."""

    limit: float
    ratio: bool = False
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether it is."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{'×' if self.ratio else ''}"  # noqa: RUF001 - arithmetic


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured; goals by the database of the subject, "" for both."""

    name: str
    unit: str
    digits: int
    goals: Mapping[str, Goal]

    def goal(self, subject: str) -> Goal | None:
        """The goal of a subject, if it has one."""
        return next((goal for database, goal in self.goals.items() if subject != BOLT and database in subject), None)


MEASURES = (
    Measure(
        "acks a second, one caller",
        "/s",
        0,
        {"SQLite": Goal(3, ratio=True, at_least=True), "PostgreSQL": Goal(2, ratio=True, at_least=True)},
    ),
    Measure("ack at 50 a second, p50", " ms", 2, {"": Goal(0.5, ratio=True)}),
    Measure("ack at 50 a second, p99", " ms", 2, {"": Goal(1.2, ratio=True)}),
    Measure("200 people at once, ack p99", " ms", 0, {"": Goal(1000)}),
    Measure("1,000 follow-ups in 3 s, p50 late", " ms", 0, {"": Goal(100)}),
    Measure("1,000 follow-ups in 3 s, p99 late", " ms", 0, {"": Goal(1000)}),
    Measure("start to ready", " s", 2, {"": Goal(2, ratio=True)}),
    Measure("idle memory", " MiB", 1, {"SQLite": Goal(68)}),
    Measure("installed distributions", "", 0, {"": Goal(22)}),
)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of them lies."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def table(rounds: Rounds) -> str:
    """A row for each subject of each measure."""
    rows: list[tuple[str, ...]] = [("", "subject", "median", "min to max", "of default Bolt", "goal", "")]
    rows += [_row(one, rounds[one.name], name) for one in MEASURES for name in rounds.get(one.name, ())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _row(measure: Measure, of: Mapping[str, Sequence[float]], subject: str) -> tuple[str, ...]:
    values, goal = of[subject], measure.goal(subject)
    ratio = None
    if subject != BOLT and BOLT in of:
        ratio = median(one / bolt for one, bolt in zip(values, of[BOLT], strict=True))
    found = ratio if goal and goal.ratio else median(values)
    return (
        measure.name,
        subject,
        f"{median(values):,.{measure.digits}f}{measure.unit}",
        f"{min(values):,.{measure.digits}f} to {max(values):,.{measure.digits}f}",
        "" if ratio is None else f"{ratio:.2f}×",  # noqa: RUF001 - arithmetic
        str(goal or ""),
        "" if goal is None or found is None else "met" if goal.met(found) else "missed",
    )
