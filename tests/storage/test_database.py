"""Database.run: what is committed, what isn't, and what its caller can rely on."""

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import IntegrityError

from bot.core import timing
from bot.errors import CommitUncertain, DatabaseUnavailable
from bot.storage.database import Database
from bot.storage.engines import POSTGRES_CONNECTIONS
from tests.storage.support import (
    COMMIT,
    HERE,
    PATIENT,
    THERE,
    Bot,
    Clock,
    Gate,
    outside,
    pass_time,
    request,
    stopped_at,
)
from tests.times import set_timing

Work = Callable[[Connection, int], object]

notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True))


@pytest.fixture
async def database(database: Database) -> Database:
    """A database with one table, of numbers that are unique."""
    await database.run(notes.create)
    return database


def write(connection: Connection, number: int) -> int:
    """Write a note."""
    connection.execute(insert(notes).values(id=number))
    return number


def written(url: str) -> list[int]:
    """The notes that were committed."""
    return [row[0] for row in outside(url, "SELECT id FROM notes ORDER BY id")]


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("database-")]


async def test_work_that_has_not_begun_in_time_is_never_run(database: Database, url: str) -> None:
    """Whether it waits for a thread, for a lock, or for a server that does not answer the first statement."""
    with stopped_at("BEGIN IMMEDIATE" if database.is_sqlite else "set_config") as gate:
        first = asyncio.create_task(database.run(write, 1, within=60.0))
        await gate.reached()
        others = [Gate() for _ in range(POSTGRES_CONNECTIONS - 1) if not database.is_sqlite]
        running = [asyncio.create_task(database.run(other.wait)) for other in others]
        for other in others:
            await other.reached()
        queued = asyncio.create_task(database.run(write, 2, within=60.0))
        await asyncio.sleep(0)
        pass_time(60.0)
        for waiting in (first, queued):
            with pytest.raises(DatabaseUnavailable, match="no answer in time") as raised:
                await waiting
            assert not isinstance(raised.value, CommitUncertain)
        assert database.fault == "no answer in time"
    for other in others:
        other.open()

    await asyncio.gather(database.run(write, 3), *running)
    assert (written(url), database.fault) == ([3], "")


async def test_what_has_no_limit_goes_before_later_commands(database: Database) -> None:
    """Leases are renewed first; outcomes are recorded, too, however many people ask, but not before all of them."""
    gates = [Gate() for _ in range(1 if database.is_sqlite else POSTGRES_CONNECTIONS)]
    running = [asyncio.create_task(database.run(gate.wait)) for gate in gates]
    for gate in gates:
        await gate.reached()
    begun: list[int] = []
    waiting = [asyncio.create_task(database.run(lambda _: begun.append(0), soon=True))]
    waiting.append(asyncio.create_task(database.run(lambda _: begun.append(9))))
    await asyncio.sleep(0)
    waiting += [
        asyncio.create_task(database.run(lambda _, n: begun.append(n), n, within=timing.ANSWER)) for n in range(1, 9)
    ]
    await asyncio.sleep(0)
    gates[0].open()  # one thread does all that waits
    await asyncio.gather(*waiting)
    gates[-1].open()

    await asyncio.gather(*running)
    assert begun == list(range(10))


def fail(connection: Connection, number: int) -> None:
    """Write a note, and raise."""
    write(connection, number)
    raise ValueError("on purpose")


@pytest.mark.parametrize(
    ("words", "work", "left"),
    [("INSERT INTO notes", write, [1]), (COMMIT, write, [1]), ("INSERT INTO notes", fail, [])],
    ids=["running", "committing", "failing"],
)
async def test_work_that_is_not_confirmed_in_time_is_uncertain(
    database: Database, url: str, caplog: pytest.LogCaptureFixture, words: str, work: Work, left: list[int]
) -> None:
    """It is never withdrawn: it may be committed later. A late error is not logged: its caller has been answered."""
    with stopped_at(words) as gate:
        running = asyncio.create_task(database.run(work, 1, within=60.0))
        await gate.reached()
        pass_time(60.0)
        with pytest.raises(CommitUncertain):
            await running

    await database.stop()
    gc.collect()  # asyncio logs an error that nobody has looked at when it is collected
    assert (written(url), caplog.records) == (left, [])


@pytest.fixture
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_garbage_collection")
async def test_results_and_errors_keep_no_cursor(bot: Bot) -> None:
    """The garbage collector would close it in another thread, and wait there for the connection."""

    def fail_with(connection: Connection, statement: str, *, last: bool) -> None:
        unread = connection.execute(select(notes))
        try:
            connection.exec_driver_sql(statement)
        finally:
            if last:
                raise ValueError
            unread.close()

    kept: list[BaseException] = []
    await bot.done(request(channel=HERE), request(channel=THERE))
    for statement in ("INSERT INTO notes VALUES (1), (1)", "SELECT * FROM nowhere"):
        for last in (True, False):
            with pytest.raises((ValueError, IntegrityError, DatabaseUnavailable)) as raised:
                await bot.run(partial(fail_with, statement=statement, last=last))
            kept.append(raised.value)

    assert [type(error) for error in kept] == [ValueError, IntegrityError, ValueError, DatabaseUnavailable]
    assert not [one for one in gc.get_objects() if isinstance(one, sqlite3.Cursor | psycopg.Cursor)]


async def test_a_stop_lets_what_waits_finish_and_takes_nothing_more(database: Database, url: str) -> None:
    """No request that was taken gets lost."""
    gate = Gate()
    running = asyncio.create_task(database.run(gate.wait))
    await gate.reached()
    waiting = asyncio.gather(*(database.run(write, number) for number in range(3)))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(database.stop())
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await database.run(write, 9)
    gate.open()

    assert sorted(await waiting) == [0, 1, 2]
    await asyncio.gather(running, stopping)
    assert (written(url), _threads()) == ([0, 1, 2], [])


async def test_a_stop_does_not_wait_for_a_database_that_hangs(url: str) -> None:
    """Nor does the end of the process. A database that was never used has no connection."""
    set_timing(database_stop=0.05)
    database = Database(url, Clock())
    await database.start()
    assert database.fault == "not connected yet"
    gate = Gate()
    hanging = asyncio.create_task(database.run(gate.wait))
    await gate.reached()

    await database.stop()

    assert not hanging.done()
    assert all(thread.daemon for thread in _threads())
    gate.open()
    await hanging
    for thread in _threads():
        await asyncio.to_thread(thread.join)
    await database.stop()


def test_work_that_outlives_its_caller_is_committed(sqlite_url: str) -> None:
    """What was done has to be recorded, even if the event loop is gone."""
    set_timing(**PATIENT)
    database = Database(sqlite_url, Clock())

    async def leave() -> None:
        await database.start()
        await database.run(notes.create)
        caller = asyncio.create_task(database.run(write, 1))
        await gate.reached()
        caller.cancel()
        await asyncio.wait([caller])

    with stopped_at("INSERT INTO notes") as gate:
        asyncio.run(leave())
    asyncio.run(database.stop())

    assert written(sqlite_url) == [1]
