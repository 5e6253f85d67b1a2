"""What was measured → ratios, held against the goals, as a table. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Rounds = Mapping[str, Mapping[str, Sequence[float]]]
"""Measure → subject → a number a round."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a number, or its ratio to default Bolt's, should be."""

    limit: float
    most: bool
    ratio: bool

    def met(self, value: float) -> bool:
        """Whether it is."""
        return value <= self.limit if self.most else value >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.limit:g}{'×' if self.ratio else ''}"  # noqa: RUF001 - signs of arithmetic


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured of the bot."""

    name: str
    unit: str
    goal: Callable[[str], Goal | None]
    """By the name of the subject."""
    digits: int = 1


def _at_least(sqlite: float, postgresql: float) -> Callable[[str], Goal | None]:
    return lambda subject: Goal(postgresql if "PostgreSQL" in subject else sqlite, most=False, ratio=True)


def _at_most(limit: float, *, ratio: bool = False, only: str = "") -> Callable[[str], Goal | None]:
    return lambda subject: Goal(limit, most=True, ratio=ratio) if only in subject else None


def _late(sqlite: float, postgresql: float) -> Callable[[str], Goal | None]:
    return lambda subject: Goal(postgresql if "PostgreSQL" in subject else sqlite, most=True, ratio=False)


MEASURES = (
    Measure("acks, 1 caller", "/s", _at_least(5, 5), 0),
    Measure("acks, 32 callers", "/s", _at_least(0.4, 0.3), 0),
    Measure("ack p50 at 50/s", "ms", _at_most(0.3, ratio=True), 2),
    Measure("ack p99 at 50/s", "ms", _at_most(1.0, ratio=True), 2),
    Measure("start to ready", "s", _at_most(1.8, ratio=True), 2),
    Measure("idle memory", "MiB", _at_most(68, only="SQLite")),
    Measure("growth", "MiB", _at_most(3), 2),
    Measure("1,000 follow-ups, p50 late", "ms", _late(50, 50), 0),
    Measure("1,000 follow-ups, p99 late", "ms", _late(500, 1000), 0),
    Measure("10,000 follow-ups stubbed, p50 late", "ms", _late(100, 100), 0),
    Measure("10,000 follow-ups stubbed, p99 late", "ms", _late(1000, 1000), 0),
    Measure("distributions", "", _at_most(22), 0),
)

_HEAD = ("", "subject", "median", "spread", "× default Bolt", "× before_response", "× raw", "goal", "")  # noqa: RUF001 - signs of arithmetic
_BOLT, _BEFORE, _RAW = "default Bolt", "Bolt, process_before_response", "raw aiohttp"


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of them lies."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def yardstick(subject: str, kind: str) -> str:
    """The name of the yardstick of that kind for a subject: of the same mode, where there is one."""
    return f"{kind}, Socket Mode" if "Socket Mode" in subject and kind != _RAW else kind


def ratio(rounds: Mapping[str, Sequence[float]], subject: str, kind: str) -> float | None:
    """The median of the ratios of each round; None where there is no such yardstick."""
    of, by = rounds[subject], rounds.get(yardstick(subject, kind), ())
    ratios = [one / other for one, other in zip(of, by, strict=False) if other]
    return median(ratios) if ratios else None


def rows(rounds: Rounds) -> list[tuple[str, ...]]:
    """A row for each subject of each measure."""
    return [
        _row(measure, rounds[measure.name], subject) for measure in MEASURES for subject in rounds.get(measure.name, ())
    ]


def _row(measure: Measure, of: Mapping[str, Sequence[float]], subject: str) -> tuple[str, ...]:
    values, bolt = of[subject], ratio(of, subject, _BOLT)
    goal = None if subject.startswith((_RAW, "Bolt", _BOLT)) else measure.goal(subject)
    unit = "/s" if measure.unit == "/s" else f" {measure.unit}".rstrip()
    shown = f"{median(values):,.{measure.digits}f}{unit}"
    spread = f"{min(values):,.{measure.digits}f}–{max(values):,.{measure.digits}f}" if len(values) > 1 else ""  # noqa: RUF001 - signs of arithmetic
    held = bolt if goal and goal.ratio else median(values)
    mark = "" if goal is None or held is None else "✓" if goal.met(held) else "✗"
    ratios = [_times(ratio(of, subject, kind)) for kind in (_BOLT, _BEFORE, _RAW)]
    return (measure.name, subject, shown, spread, *ratios, str(goal or ""), mark)


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}×"  # noqa: RUF001 - signs of arithmetic


def table(rounds: Rounds) -> str:
    """All of it, as a table of Markdown."""
    lines = [_HEAD, *rows(rounds)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEAD))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([shown[0], rule, *shown[1:]])
