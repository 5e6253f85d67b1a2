"""What the storage tests share: requests, a process of the bot, and transactions that can be stopped anywhere."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, TypeVar, TypeVarTuple

import psycopg
from sqlalchemy import ColumnElement, Connection, Engine, Text, cast, event, select, text

from bot.core.grants import AccessClaim, AccessRequest, Claimed, RequestState
from bot.core.models import Claim, JobKind, Person, Place, Reload, Reminder, Requested
from bot.storage import grants, history, reminders, requests
from bot.storage import jobs as storage_jobs
from bot.storage.database import Database, reading_engine
from bot.storage.history import Note
from bot.storage.outcomes import Accepted, Done, Notified, Outcome, record
from bot.storage.requests import Limits, Request
from bot.storage.schema import jobs, metadata, reloads, subscribers

UNLIMITED = Limits()

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HERE, THERE = "C0MODELS", "C0OPS"

WAIT = 30.0
"""Seconds after which a test gives up on what it waits for."""

LEASE = 600.0
READY_IN = 120.0

PATIENT = dict.fromkeys(("sqlite_busy", "postgres_lock", "postgres_statement", "postgres_idle"), WAIT)
"""Nothing times out by itself, even on a busy machine."""

_invocations = count(1)


def request(model: str = "sdxl", *, user: str = "U0ADA", channel: str = HERE, invocation: str = "") -> Request:
    """A command, unlike any other unless invocation says so."""
    return Request(invocation or f"invocation-{next(_invocations)}", Person(user, "T0", channel), model, rule="*")


def press(model: str = "sdxl", *, button: str = "1.2/again", user: str = "U0ADA", channel: str = HERE) -> Request:
    """A press of a button, unlike any other invocation."""
    return replace(request(model, user=user, channel=channel), button=button)


def access_note(user: str, outcome: str = "access_granted") -> Note:
    """A line of the audit about access, whose text storage fills in."""
    return Note(user, "T0", HERE, "pressed", outcome, "ADMIN_USERS")


@dataclass
class Clock:
    """The time, which passes only when it is moved."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        """The time now."""
        return self.now


def stop_clock(postgres_url: str, options: str = "") -> str:
    """Stop the clock of a PostgreSQL database, and return the URL for connections that use it.

    https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SEARCH-PATH
    """
    body = "RETURNS timestamptz LANGUAGE sql AS 'SELECT to_timestamp(now) FROM test_clock'"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE test_clock AS SELECT 1700000000::float8 AS now")
        connection.execute(f"CREATE FUNCTION clock_timestamp() {body}".encode())
    return f"{postgres_url}&options=-c%20search_path%3Dpublic,pg_catalog{options}"


class Bot:
    """One process of the bot on a database: what it does, each in one transaction, and the rows."""

    def __init__(self, database: Database, clock: Clock, owner: str = "one") -> None:
        self.database = database
        self.clock = clock
        self.owner = owner

    async def elapse(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds
        if not self.database.is_sqlite:
            moved = text("UPDATE test_clock SET now = :now").bindparams(now=self.clock.now)
            await self.run(lambda connection: connection.execute(moved).close())

    async def run(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """Run something in a transaction."""
        return await self.database.run(work, *args)

    async def ask(self, request: Request, limits: Limits = UNLIMITED) -> Requested:
        """See requests.ask."""
        return await self.run(requests.ask, request, limits)

    async def join(self, request: Request, reload_id: str, limits: Limits = UNLIMITED) -> Requested | None:
        """See requests.join."""
        return await self.run(requests.join, replace(request, reload_id=reload_id), limits)

    async def remind(self, reload_id: str, user: str = "U0ADA", channel: str = HERE) -> Reminder | None:
        """See reminders.add."""
        return await self.run(reminders.add, user, reload_id, Place(channel))

    async def ask_access(self, user: str, *admins: str) -> str:
        """Ask these admins for access, and return the request's ID. Raises Refused."""
        asked = await self.run(grants.ask, access_note(user, "access_requested"), "sdxl", admins, "")
        assert asked is not None
        return asked.id

    async def decide(self, id_: str, state: RequestState, admin: str) -> AccessRequest:
        """See grants.decide."""
        return await self.run(grants.decide, access_note(admin, f"access_{state}"), id_, state)

    async def claim(self, *kinds: JobKind, free: int = 100) -> list[Claim]:
        """Claim what is due of these kinds, or of all, for reloads."""
        claimed = (await self.run(storage_jobs.claim, self.owner, {kinds or tuple(JobKind): free}))[0]
        return [one for one in claimed if isinstance(one, Claim)]

    async def claim_access(self, *kinds: JobKind) -> list[AccessClaim]:
        """Claim what is due of these kinds, or of all, for requests for access."""
        claimed = (await self.run(storage_jobs.claim, self.owner, {kinds or tuple(JobKind): 100}))[0]
        return [one for one in claimed if isinstance(one, AccessClaim)]

    async def claim_one(self, *kinds: JobKind) -> Claim:
        """Claim the only job that is due of these kinds."""
        (claim,) = await self.claim(*kinds)
        return claim

    async def due_in(self, *kinds: JobKind) -> float | None:
        """Seconds until the first job of these kinds is due, if there is one; what is due already is claimed."""
        return (await self.run(storage_jobs.claim, self.owner, {kinds: 100}))[1]

    async def record(self, claim: Claimed, outcome: Outcome, *, lost: bool = False) -> None:
        """Record one outcome, which does nothing if the job's lease was lost."""
        assert bool(await self.run(record, self.owner, [(claim.job, outcome)])) == lost

    async def called(self, *asked: Request) -> Claim:
        """Ask, and claim the call."""
        for each in asked or (request(),):
            await self.ask(each)
        return await self.claim_one(JobKind.CALL)

    async def accepted(self, *asked: Request, ready_in: float = READY_IN) -> Reload:
        """Ask, and have ModelsLab accept."""
        call = await self.called(*asked)
        await self.record(call, Accepted(ready_in))
        return await self.reload(call.reload.id)

    async def ready(self, *asked: Request) -> Reload:
        """Ask, have ModelsLab accept, and let time pass until everyone is to be notified."""
        accepted = await self.accepted(*asked)
        await self.elapse(READY_IN)
        return accepted

    async def notify(self) -> None:
        """Claim the follow-ups that are due, and notify everyone."""
        for claim in await self.claim(JobKind.NOTIFY):
            await self.record(claim, Notified([one.id for one in claim.recipients]))

    async def done(self, *asked: Request) -> Reload:
        """Ask, and carry it to its end."""
        ready = await self.ready(*asked)
        for status in await self.claim(JobKind.STATUS):
            await self.record(status, Done())
        await self.notify()
        return await self.reload(ready.id)

    async def reload(self, reload_id: str) -> Reload:
        """A reload as it is now."""
        found = await self.run(history.reload, reload_id)
        assert found is not None
        return found

    async def rows(self, *columns: ColumnElement[Any]) -> list[tuple[Any, ...]]:
        """These columns of all rows of their table, sorted."""
        query = select(*columns).order_by(*columns)
        return await self.run(lambda connection: [tuple(row) for row in connection.execute(query)])

    async def kinds(self, channel: str | None = None) -> list[str]:
        """The kinds of all jobs, or of those of a channel, sorted."""
        return [kind for kind, of in await self.rows(jobs.c.kind, jobs.c.channel_id) if channel in (None, of)]

    async def counts(self) -> tuple[int, ...]:
        """How many reloads, subscribers and jobs there are."""
        return tuple([len(await self.rows(table.c.id)) for table in (reloads, subscribers, jobs)])

    async def everything(self) -> Sequence[object]:
        """Every row of every table."""
        return [await self.rows(*(cast(column, Text) for column in table.c)) for table in metadata.sorted_tables]


def outside(url: str, query: str) -> list[tuple[Any, ...]]:
    """What another program reads from the database."""
    with reading_engine(url).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def pass_time(seconds: float) -> None:
    """Make the event loop of this test believe that so many seconds have passed: what waits for that is over."""
    loop = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds  # type: ignore[method-assign]


class Gate:
    """A place where a database thread waits until it may go on."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()
        self.open = self._open.set

    def wait(self, *_: object) -> None:
        """In a database thread: stop here, unless the gate is open."""
        self._reached.set()
        assert self._open.wait(WAIT)

    async def reached(self) -> None:
        """In the event loop: wait until a thread has got here."""
        assert await asyncio.to_thread(self._reached.wait, WAIT)


COMMIT = "COMMIT"

# A listener can't be removed while another thread is in it: so these stay, and look here for what to do.
_hooks: list[Callable[[str], object]] = []


def _before(statement: str) -> None:
    for hook in tuple(_hooks):
        hook(" ".join(statement.split()))


event.listen(Engine, "before_cursor_execute", lambda _connection, _cursor, statement, *_: _before(statement))
event.listen(Engine, "commit", lambda _connection: _before(COMMIT))


@contextmanager
def at_first(words: str, act: Callable[[], object]) -> Iterator[None]:
    """Do something in the database thread that is the first to run a statement with these words, just before it."""
    first = threading.Lock()

    def hook(statement: str) -> None:
        if words in statement and first.acquire(blocking=False):
            act()

    _hooks.append(hook)
    try:
        yield
    finally:
        _hooks.remove(hook)


@contextmanager
def stopped_at(words: str) -> Iterator[Gate]:
    """Stop the first transaction that runs a statement with these words, just before it."""
    gate = Gate()
    with at_first(words, gate.wait):
        try:
            yield gate
        finally:
            gate.open()
