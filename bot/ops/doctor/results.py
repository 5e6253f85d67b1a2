"""The result of a check: one line, with the fix if there is a problem."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from enum import Enum

CLOCK_LIMIT = 30.0
"""How many seconds clocks can differ before the times in messages are misleading."""


class Status(Enum):
    """How a check went, and the mark of its line. What needs attention comes first."""

    PROBLEM = "✗"
    UNKNOWN = "–"  # noqa: RUF001 - the mark is a dash
    OK = "✓"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was found, and about what. Only a problem has a fix."""

    status: Status
    about: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        text = f": {self.text}" if self.text else ""
        fix = f" → {self.fix}" if self.fix else ""
        return f"{self.status.value} {self.about}{text}{fix}"


def ok(about: str, text: str) -> CheckResult:
    """It is as it should be."""
    return CheckResult(Status.OK, about, text)


def problem(about: str, text: str, fix: str) -> CheckResult:
    """Something is wrong, and how to fix it."""
    return CheckResult(Status.PROBLEM, about, text, fix)


def unknown(about: str, text: str = "not checked") -> CheckResult:
    """It couldn't be checked, and why."""
    return CheckResult(Status.UNKNOWN, about, text)


def no_answer(about: str, host: str, reason: str, setting: str) -> CheckResult:
    """A service can't be reached."""
    if "certificate" in reason.lower():
        fix = f"check {setting}, or point SSL_CERT_FILE at the certificate of your own authority"
        return problem(about, f"the certificate of {host} isn't trusted", fix)
    fix = f"check {setting} and this machine's network (DNS, firewall, HTTPS_PROXY)"
    return problem(about, f"no answer from {host} ({reason})", fix)


def clock(about: str, ahead: float) -> CheckResult:
    """Judge this machine's clock by the seconds that it is ahead of another's."""
    if abs(ahead) <= CLOCK_LIMIT:
        return ok(about, "in sync")
    way = "ahead" if ahead > 0 else "behind"
    return problem(about, f"this machine is {duration(abs(ahead))} {way}", "turn on time sync (NTP)")


def duration(seconds: float) -> str:
    """A number of seconds in the unit that a person would use."""
    units = (("year", 31_557_600), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    unit, size = next((unit, size) for unit, size in units if round(seconds) >= size)
    number = f"{round(seconds) / size:.1f}".removesuffix(".0")
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"


async def in_time(about: str, seconds: float, check: Awaitable[Sequence[CheckResult]]) -> Sequence[CheckResult]:
    """Run a check for at most so many seconds. One that hangs or fails must not hide the results of the others."""
    try:
        return await asyncio.wait_for(check, seconds)
    except TimeoutError:
        return [unknown(about, f"no answer within {seconds:g} s")]
    except Exception as error:  # noqa: BLE001 - as the docstring says
        return [problem(about, f"{type(error).__name__}: {error}", "this is a bug in the check; please report it")]
