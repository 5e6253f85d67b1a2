"""What a check found: one line, with the mend beside each fault. Knows nothing of where to look."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from enum import Enum

CLOCK_LIMIT = 30.0
"""Seconds by which clocks may differ: more, and the time at which a model is said to be ready misleads."""


class Mark(Enum):
    """How it looks."""

    OK = "✓"
    FAULT = "✗"
    UNKNOWN = "–"  # noqa: RUF001 - a dash is what it looks like


@dataclass(frozen=True, slots=True)
class CheckResult:
    """About what, and what of it; mend is what to do about a fault."""

    mark: Mark
    about: str
    text: str
    mend: str = ""


def well(about: str, text: str) -> CheckResult:
    """All is as it should be."""
    return CheckResult(Mark.OK, about, text)


def fault(about: str, text: str, mend: str) -> CheckResult:
    """Something is wrong, and can be mended so."""
    return CheckResult(Mark.FAULT, about, text, mend)


def unknown(about: str, text: str) -> CheckResult:
    """Nobody can tell from here, and why not."""
    return CheckResult(Mark.UNKNOWN, about, text)


def clock(about: str, ahead: float | None) -> CheckResult:
    """Judge by how many seconds this machine's clock is ahead of another; None where that told no time."""
    if ahead is None:
        return unknown(about, "it told no time")
    if abs(ahead) > CLOCK_LIMIT:
        way = "ahead of it" if ahead > 0 else "behind it"
        return fault(about, f"this machine's clock is {abs(ahead):.0f} s {way}", "set the clocks by NTP")
    return well(about, f"{abs(ahead):.1f} s apart")


async def in_time(about: str, seconds: float, check: Awaitable[Sequence[CheckResult]]) -> Sequence[CheckResult]:
    """What the check finds within so many seconds; one that does not end, or breaks, must not silence the others."""
    try:
        return await asyncio.wait_for(check, seconds)
    except TimeoutError:
        return [unknown(about, f"no answer within {seconds:g} s")]
    except Exception as error:  # noqa: BLE001 - as the docstring says
        broke = f"the check itself broke: {type(error).__name__}: {error}"
        return [fault(about, broke, "tell whoever looks after this program")]
