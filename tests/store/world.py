"""What the store's tests are told in: askings, the passing of time, and the rows as they stand."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import count

import psycopg
import pytest
from bot.storage.prepared import AnyRows, Driver, Parameters, Prepared
from bot.storage.store import Ask, Store
from sqlalchemy import Connection, Engine, event, func, select, text, update

from bot.core.models import JobKind, Reload, Subscriber, Work
from bot.storage.database import Database, Transaction
from bot.storage.schema import audit, place, reload, step, watcher

WAIT = 20.0
"""Seconds after which a test gives up on what it waits for."""

_TRIGGERS = count(1)

_TIMES = (
    (reload, (reload.c.asked_at, reload.c.accepted_at, reload.c.ready_at, reload.c.ended_at)),
    (watcher, (watcher.c.asked_at, watcher.c.told_at)),
    (step, (step.c.due_at, step.c.tried_at)),
    (audit, (audit.c.at,)),
)


def ask(
    model: str = "sdxl", *, user: str = "U0ADA", channel: str = "C0MODELS", trigger: str = "", response_url: str = ""
) -> Ask:
    """An invocation, unlike any other unless trigger says so."""
    return Ask(trigger or f"trigger-{next(_TRIGGERS)}", user, channel, model, response_url)


def press(
    model: str = "sdxl", *, user: str = "U0ADA", channel: str = "C0MODELS", button: str = "C0MODELS/1.2/again"
) -> Ask:
    """A press of a button, unlike any other invocation."""
    pressed = ask(model, user=user, channel=channel)
    return replace(pressed, trigger_id=f"{button}#{pressed.trigger_id}", press=button)


@dataclass
class Clock:
    """The time on SQLite, which passes only when it is moved."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        """The time now."""
        return self.now


@dataclass(frozen=True)
class Seen:
    """A step as its row stands; due_in is relative to now."""

    kind: JobKind
    channel_id: str
    watcher_id: int | None
    due_in: float
    owner: str | None
    claims: int
    attempts: int
    crashes: int
    person_id: str | None


class World:
    """A store with its database, its time and its rows, and another process's store on the same tables."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.store = Store(database, "one")
        self.other = Store(database, "other")

    def about(self, seconds: float) -> object:
        """Equal to seconds: exactly where the clock is a test's own, and nearly where it is PostgreSQL's."""
        return pytest.approx(seconds, abs=1e-5 if self.database.sqlite else 3.0)

    async def elapse(self, seconds: float) -> None:
        """Let time pass: move the clock or, where the clock is PostgreSQL's, all that was written before."""

        def age(tx: Transaction) -> None:
            for table, columns in _TIMES:
                tx.connection.execute(update(table).values({column: column - seconds for column in columns}))

        if self.database.sqlite:
            self.clock.now += seconds
        else:
            await self.database.run(age)

    # --- on the way ---------------------------------------------------------------------------------

    async def claim(self, *kinds: JobKind, limit: int = 100) -> list[Work]:
        """Claim what is due of these kinds, or of all."""
        return await self.store.claim(kinds or tuple(JobKind), limit)

    async def claim_one(self, kind: JobKind, channel: str | None = None) -> Work:
        """Claim the due step of this kind, in this channel; others that are due are put back as they were."""
        works = await self.claim(kind)
        (wanted,) = (work for work in works if channel in (None, work.step.channel_id))
        for work in works:
            if work is not wanted:
                await self.store.postponed(work.step, 0.0)
        return wanted

    async def called(self, *asks: Ask) -> Work:
        """Ask, and claim the call."""
        for each in asks or (ask(),):
            await self.store.ask(each)
        return await self.claim_one(JobKind.CALL)

    async def accepted(self, *asks: Ask, seconds: float = 120.0) -> Reload:
        """Ask, and have ModelsLab accept."""
        call = await self.called(*asks)
        return await self.store.accepted(call.step, seconds)

    async def ready(self, *asks: Ask) -> Reload:
        """Ask, have ModelsLab accept, and let the time pass until everyone is to be told."""
        accepted = await self.accepted(*asks)
        await self.elapse(120.0)
        return accepted

    async def tell_everyone(self) -> None:
        """Take every follow-up that is due, and reach everyone."""
        for work in await self.claim(JobKind.FOLLOW_UP):
            await self.store.told(work.step, [watcher.id for watcher in work.audience], None)

    async def done(self, *asks: Ask) -> Reload:
        """Ask, and carry it to its end."""
        ready = await self.ready(*asks)
        for work in await self.claim(JobKind.STATUS):
            await self.store.dropped(work.step)
        await self.tell_everyone()
        return await self.reload(ready.id)

    # --- the rows -----------------------------------------------------------------------------------

    async def reload(self, reload_id: str) -> Reload:
        """The reload as it stands."""
        entries = [*(await self.store.in_flight(1000))[0], *await self.store.history(1000)]
        (found,) = (entry.reload for entry in entries if entry.reload.id == reload_id)
        return found

    async def steps(self) -> list[Seen]:
        """All steps: the lowest rank first, then as made."""

        def operation(tx: Transaction) -> list[Seen]:
            rows = tx.connection.execute(select(step).order_by(step.c.rank, step.c.id)).all()
            return [Seen(JobKind(row[2]), row[4], row[5], row[6] - tx.now, *row[8:]) for row in rows]

        return await self.database.run(operation, reads=True)

    async def kinds(self) -> list[tuple[JobKind, str]]:
        """Kind and channel of all steps: the lowest rank first, then as made."""
        return [(seen.kind, seen.channel_id) for seen in await self.steps()]

    async def watchers(self) -> list[Subscriber]:
        """All watchers, as asked."""

        def operation(tx: Transaction) -> list[Subscriber]:
            rows = tx.connection.execute(select(watcher).order_by(watcher.c.id)).all()
            return [Subscriber(row[0], row[1], *row[3:]) for row in rows]

        return await self.database.run(operation, reads=True)

    async def everything(self) -> Sequence[object]:
        """Every row of every table."""

        def operation(tx: Transaction) -> Sequence[object]:
            return [
                sorted(tx.connection.execute(text(f"SELECT * FROM {table}")).all(), key=repr)  # noqa: S608
                for table in (reload, watcher, place, step, audit)
            ]

        return await self.database.run(operation, reads=True)

    async def count(self) -> tuple[int, int, int]:
        """How many reloads, watchers and steps there are."""

        def operation(tx: Transaction) -> tuple[int, int, int]:
            reloads, watchers, steps = (
                tx.connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (reload, watcher, step)
            )
            return reloads, watchers, steps

        return await self.database.run(operation, reads=True)


def outside(url: str, query: str) -> list[tuple[object, ...]]:
    """What somebody else reads from the database, on a connection of their own."""
    if url.startswith("sqlite:"):
        connection = sqlite3.connect(path_of(url))
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()
    with psycopg.connect(url) as postgres:
        return postgres.execute(query.encode()).fetchall()


def path_of(url: str) -> str:
    """The file of an SQLite URL."""
    return url.removeprefix("sqlite:///").partition("?")[0]


# --- the database's thread, and what it does meanwhile --------------------------------------------------


class Gate:
    """A place in the database's thread where it waits until it is let go."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def wait(self) -> None:
        """In the database's thread: stop here, unless the gate is open."""
        self._reached.set()
        assert self._open.wait(WAIT)

    async def reached(self) -> None:
        """In the event loop: wait until the thread has got here."""
        assert await asyncio.to_thread(self._reached.wait, WAIT)

    def open(self) -> None:
        """Let the thread go on."""
        self._open.set()


@asynccontextmanager
async def busy(database: Database) -> AsyncIterator[None]:
    """Keep the database's thread busy meanwhile, so that what is asked of it arrives together."""
    gate = Gate()
    task = asyncio.create_task(database.run(lambda _: gate.wait(), reads=True))
    await gate.reached()
    try:
        yield
        await asyncio.sleep(0)  # what was begun just now gets as far as the queue
    finally:
        gate.open()
        await task


# A listener cannot be removed while another thread is at it: so these stay, and ask what to do.
_before_statements: list[Callable[[str], None]] = []
_at_commits: list[Callable[[Connection], object]] = []
_at_rollbacks: list[Callable[[Connection], object]] = []


_run = Prepared.run


def _announced(prepared: Prepared, driver: Driver, parameters: Parameters) -> AnyRows:
    for then in tuple(_before_statements):
        then(" ".join(prepared.text.split()))
    return _run(prepared, driver, parameters)


Prepared.run = _announced  # type: ignore[method-assign, assignment]


@event.listens_for(Engine, "commit")
def _at_commit(connection: Connection) -> None:
    for then in tuple(_at_commits):
        then(connection)


@event.listens_for(Engine, "rollback")
def _at_rollback(connection: Connection) -> None:
    for then in tuple(_at_rollbacks):
        then(connection)


@contextmanager
def stopped_at(words: str) -> Iterator[Gate]:
    """Stop the first statement that begins with these words, in whatever thread, just before it is run."""
    gate = Gate()
    first = threading.Lock()

    def stop(statement: str) -> None:
        if statement.startswith(words) and first.acquire(blocking=False):
            gate.wait()

    _before_statements.append(stop)
    try:
        yield gate
    finally:
        gate.open()
        _before_statements.remove(stop)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Grows by each statement, in whatever thread, just before it is run."""
    seen: list[str] = []
    _before_statements.append(seen.append)
    try:
        yield seen
    finally:
        _before_statements.remove(seen.append)


@contextmanager
def at_commit(then: Callable[[Connection], object]) -> Iterator[None]:
    """Do something just before each commit."""
    _at_commits.append(then)
    try:
        yield
    finally:
        _at_commits.remove(then)


@contextmanager
def stopped_at_commit() -> Iterator[Gate]:
    """Stop the first commit, in whatever thread, just before it is made."""
    gate = Gate()
    first = threading.Lock()

    def stop(_: Connection) -> None:
        if first.acquire(blocking=False):
            gate.wait()

    with at_commit(stop):
        yield gate
        gate.open()


@contextmanager
def at_rollback(then: Callable[[Connection], object]) -> Iterator[None]:
    """Do something just before each rollback."""
    _at_rollbacks.append(then)
    try:
        yield
    finally:
        _at_rollbacks.remove(then)


@contextmanager
def commits() -> Iterator[list[Connection]]:
    """Grows by one with each commit."""
    seen: list[Connection] = []
    with at_commit(seen.append):
        yield seen
