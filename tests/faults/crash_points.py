"""The crash points of a process: every call by which it has an effect outside of itself, and a crash at any of them.

A Crash wraps the parts that have effects. Each public coroutine of theirs is a crash point before and after, and so
is each transaction, by the function that runs in it: one that is added later is found by itself. A process that
crashed has no effect any more: each of its later calls crashes, too.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from structlog.contextvars import get_contextvars

P = TypeVar("P")

# These change nothing or repeat by the clock, or the effect follows at once: a crash at one is one at another point.
_UNEVENTFUL = ("commit claim", "commit prune", "commit renew", "commit running", "commit touch")


@dataclass(frozen=True, slots=True)
class Point:
    """One moment in a run: before or after the nth call of one name."""

    call: str
    nth: int
    moment: str

    def __str__(self) -> str:
        return f"{self.moment} {self.call} {self.nth}"


class Crashed(BaseException):
    """The process is no more. No handler of its own takes notice, as none would of kill -9."""


@dataclass(slots=True)
class Crash:
    """What one process did, in order, and where it crashes."""

    at: Point | None = None
    passed: list[Point] = field(default_factory=list)
    happened: asyncio.Event = field(default_factory=asyncio.Event)
    counts: Counter[str] = field(default_factory=Counter)
    unrecorded: dict[asyncio.Task[object] | None, str] = field(default_factory=dict)
    """The effects of which no record was committed, by the task that runs the job: those that may come twice."""

    def around(self, part: P) -> P:
        """Make each of the part's public coroutines a crash point; what comes back stands in for the part."""
        return _Around(part, self)  # type: ignore[return-value]

    def check(self) -> None:
        """Go on, unless the process has crashed. Raises Crashed."""
        if self.happened.is_set():
            raise Crashed

    def pass_(self, point: Point) -> None:
        """Note the point, and crash there if this is the one. Raises Crashed."""
        self.check()
        self.passed.append(point)
        recording = point.call.startswith("commit ")
        if not recording and point.moment == "before":
            self.unrecorded[asyncio.current_task()] = point.call
        if recording and point.moment == "after":
            self.unrecorded.pop(asyncio.current_task(), None)
        if point == self.at:
            self.happened.set()
            raise Crashed


class _Around:
    def __init__(self, part: object, crash: Crash) -> None:
        self._part = part
        self._crash = crash

    def __getattr__(self, name: str) -> object:
        value = getattr(self._part, name)
        if name.startswith("_") or not inspect.iscoroutinefunction(value):
            return value
        return partial(_pass_by, value, f"{type(self._part).__name__}.{name}", self._crash)


async def _pass_by(
    call: Callable[..., Awaitable[object]], name: str, crash: Crash, *args: object, **kwargs: object
) -> object:
    crash.check()
    label = _label(name, args)
    if label in _UNEVENTFUL:
        return await call(*args, **kwargs)
    crash.counts[label] += 1
    nth = crash.counts[label]
    crash.pass_(Point(label, nth, "before"))
    try:
        return await call(*args, **kwargs)
    finally:
        crash.pass_(Point(label, nth, "after"))


def _label(name: str, args: tuple[object, ...]) -> str:
    """What is called: a transaction by its function, a record by its job and outcome, else also for which job."""
    if name != "Database.run":
        what = f"{name} {args[0]}" if name.endswith(".call") else name
        return f"{what} in {get_contextvars().get('job')}"
    work = getattr(args[0], "__name__", "")
    if work == "record":
        assert isinstance(args[2], list)
        (job, outcome), *_ = args[2]
        return f"commit {job.kind} {type(outcome).__name__}"
    return f"commit {work}"
