"""The seams of a process: every call by which it has an effect outside of itself, and a death at any of them.

A Seams wraps the parts that have effects. Whatever public coroutine they have is a seam, so one that is added later
is found by itself. A process that dies at a seam has no effect any more: each of its later calls dies too.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

P = TypeVar("P")

# These change nothing: how often they come in a run is a matter of time.
_IDLE = frozenset(
    {"Store.next_due", "Store.in_flight", "Store.history", "Store.reload", "Store.reminders", "Store.known_models"}
)

# These come by the clock and repeat: a death at one of them is a death at any time.
_BACKGROUND = frozenset({"Store.renew", "Store.prune"})


@dataclass(frozen=True, slots=True)
class Seam:
    """One moment in a run: before or after the nth call of one name."""

    call: str
    nth: int
    moment: str

    def __str__(self) -> str:
        return f"{self.moment} {self.call} {self.nth}"


class Dead(BaseException):
    """The process is no more. No handler of its own takes notice, as none would of kill -9."""


@dataclass(slots=True)
class Seams:
    """What one process did, in order, and where it dies."""

    death: Seam | None = None
    passed: list[Seam] = field(default_factory=list)
    dead: asyncio.Event = field(default_factory=asyncio.Event)
    counts: Counter[str] = field(default_factory=Counter)
    unrecorded: dict[asyncio.Task[object] | None, str] = field(default_factory=dict)
    """The effects begun of which no record has been committed, by the task that takes the step: at a death, those
    that may be repeated."""

    def around(self, part: P) -> P:
        """Make each of the part's public coroutines a seam; what comes back stands in for the part."""
        return _Around(part, self)  # type: ignore[return-value]

    def survive(self) -> None:
        """Go on, unless the process has died. Raises Dead."""
        if self.dead.is_set():
            raise Dead

    def pass_(self, seam: Seam) -> None:
        """Note the seam, and die there if this is the one. Raises Dead."""
        self.survive()
        self.passed.append(seam)
        recording = seam.call.startswith("Store.")
        if not recording and seam.moment == "before":
            self.unrecorded[asyncio.current_task()] = seam.call
        if recording and seam.moment == "after":
            self.unrecorded.pop(asyncio.current_task(), None)
        if seam == self.death:
            self.dead.set()
            raise Dead


class _Around:
    def __init__(self, part: object, seams: Seams) -> None:
        self._part = part
        self._seams = seams

    def __getattr__(self, name: str) -> object:
        value = getattr(self._part, name)
        if name.startswith("_") or not inspect.iscoroutinefunction(value):
            return value
        return _seam(value, f"{type(self._part).__name__}.{name}", self._seams)


def _seam(call: Callable[..., Awaitable[object]], name: str, seams: Seams) -> Callable[..., Awaitable[object]]:
    async def passing(*args: object, **kwargs: object) -> object:
        seams.survive()
        if name in _IDLE | _BACKGROUND:
            return await call(*args, **kwargs)
        if name == "Store.claim":
            return await _claiming(call, name, seams, *args)
        label = f"{name} {args[0]}" if name.endswith(".call") else name
        seams.counts[label] += 1
        nth = seams.counts[label]
        seams.pass_(Seam(label, nth, "before"))
        try:
            return await call(*args, **kwargs)
        finally:
            seams.pass_(Seam(label, nth, "after"))

    return passing


async def _claiming(call: Callable[..., Awaitable[object]], name: str, seams: Seams, *args: object) -> object:
    """Only a claim that got something is an event, and a death before it is a death after what came before it."""
    works = await call(*args)
    seams.survive()
    if works:
        seams.counts[name] += 1
        seams.pass_(Seam(name, seams.counts[name], "after"))
    return works
