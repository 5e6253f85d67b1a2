"""Database.run: what is committed, what is not, and what its caller can rely on."""

import asyncio
import gc
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import IntegrityError

from bot.core.timing import Timing
from bot.errors import CommitUncertain, DatabaseUnavailable
from bot.storage.database import POSTGRES_CONNECTIONS, TRIES, Database
from tests.storage.support import COMMIT, PATIENT, Bot, Clock, Gate, at_first, outside, pass_time, request, stopped_at

notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True))


@pytest.fixture
async def database(database: Database) -> Database:
    """A database with one table, of numbers that are unique."""
    await database.run(notes.create)
    return database


@pytest.fixture
def begin(database: Database) -> str:
    """Words of the statement that begins each transaction."""
    return "BEGIN IMMEDIATE" if database.is_sqlite else "set_config"


def write(connection: Connection, number: int) -> int:
    """Write a note."""
    connection.execute(insert(notes).values(id=number))
    return number


def written(url: str) -> list[int]:
    """The notes that were committed."""
    return [row[0] for row in outside(url, "SELECT id FROM notes ORDER BY id")]


@asynccontextmanager
async def busy(database: Database) -> AsyncIterator[None]:
    """Keep all threads of a database busy, so that whatever is run meanwhile has to wait for its turn."""
    gates = [Gate() for _ in range(1 if database.is_sqlite else POSTGRES_CONNECTIONS)]
    running = [asyncio.create_task(database.run(gate.wait)) for gate in gates]
    for gate in gates:
        await gate.reached()
    try:
        yield
    finally:
        for gate in gates:
            gate.open()
        await asyncio.gather(*running)


async def test_a_result_is_returned_once_it_is_committed(database: Database, url: str) -> None:
    """Whoever has the result can rely on the rows."""
    assert await database.run(write, 7) == 7
    assert written(url) == [7]


async def test_work_that_raises_is_undone(database: Database, url: str) -> None:
    """Its error is the caller's, and says nothing of the database."""

    def fail(connection: Connection) -> None:
        write(connection, 1)
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await database.run(fail)

    assert written(url) == []
    assert database.fault == ""


# In time, or not


async def test_work_that_has_not_begun_in_time_is_never_run(database: Database, url: str) -> None:
    """Whoever was answered that nothing was done can rely on it."""
    async with busy(database):
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.01 s") as raised:
            await database.run(write, 1, within=0.01)
        assert database.fault == "no answer within 0.01 s"

    assert not isinstance(raised.value, CommitUncertain)
    await database.run(write, 2)
    assert written(url) == [2]
    assert database.fault == ""


async def test_work_whose_transaction_can_not_begin_in_time_is_never_run(
    database: Database, url: str, begin: str
) -> None:
    """A lock, or a server, that does not answer to the first statement leaves no doubt."""
    with stopped_at(begin) as gate:
        waiting = asyncio.create_task(database.run(write, 1, within=60.0))
        await gate.reached()
        pass_time(60.0)
        with pytest.raises(DatabaseUnavailable) as raised:
            await waiting

    assert not isinstance(raised.value, CommitUncertain)
    await database.stop()
    assert written(url) == []


async def test_a_transaction_that_fails_to_begin_after_its_time_harms_nobody(database: Database, begin: str) -> None:
    """The thread goes on with what comes next."""
    gate = Gate()

    def fail() -> None:
        gate.wait()
        raise OSError

    with at_first(begin, fail):
        waiting = asyncio.create_task(database.run(write, 1, within=60.0))
        await gate.reached()
        pass_time(60.0)
        with pytest.raises(DatabaseUnavailable):
            await waiting
        gate.open()

        assert await database.run(write, 2) == 2


@pytest.mark.parametrize("words", ["INSERT INTO notes", COMMIT])
async def test_work_that_began_and_is_not_confirmed_in_time_is_uncertain(
    database: Database, url: str, words: str
) -> None:
    """It is never withdrawn: it may be committed later."""
    with stopped_at(words) as gate:
        running = asyncio.create_task(database.run(write, 1, within=60.0))
        await gate.reached()
        pass_time(60.0)
        with pytest.raises(CommitUncertain):
            await running

    await database.stop()
    assert written(url) == [1]


async def test_work_goes_on_when_its_caller_is_cancelled(database: Database, url: str) -> None:
    """What was done has to be recorded."""
    async with busy(database):
        caller = asyncio.create_task(database.run(write, 1))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    await database.stop()
    assert written(url) == [1]


async def test_an_error_that_nobody_waits_for_is_no_complaint(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Its caller was answered before."""
    gate = Gate()

    def fail(_: Connection) -> None:
        gate.wait()
        raise ValueError

    running = asyncio.create_task(database.run(fail, within=60.0))
    await gate.reached()
    pass_time(60.0)
    with pytest.raises(CommitUncertain):
        await running
    gate.open()
    await database.stop()
    gc.collect()  # asyncio complains when an error that nobody looked at is collected

    assert caplog.records == []


# Again


async def test_work_that_a_constraint_refuses_is_run_again(database: Database, url: str) -> None:
    """Another transaction was quicker: this one looks anew."""
    await database.run(write, 1)
    runs: list[int] = []

    def write_next(connection: Connection) -> int:
        runs.append(1)
        return write(connection, len(runs))

    assert await database.run(write_next) == 2
    assert written(url) == [1, 2]


async def test_work_that_a_constraint_always_refuses_raises(database: Database) -> None:
    """It is run a few times, and is the fault of whoever wrote it."""
    await database.run(write, 1)
    runs: list[int] = []

    def write_again(connection: Connection) -> None:
        runs.append(1)
        write(connection, 1)

    with pytest.raises(IntegrityError):
        await database.run(write_again)

    assert len(runs) == TRIES
    assert database.fault == ""


# Nothing of a thread leaves it


def open_cursors() -> list[object]:
    """The database cursors that are somewhere in memory."""
    return [one for one in gc.get_objects() if isinstance(one, sqlite3.Cursor | psycopg.Cursor)]


@pytest.mark.usefixtures("no_garbage_collection")
async def test_results_leave_no_cursor_behind(bot: Bot) -> None:
    """A cursor that the garbage collector closed in another thread would wait there for the connection."""
    await bot.done(request("sdxl"), request("sdxl", channel="C0OPS"))
    with suppress(IntegrityError):
        await bot.run(lambda connection: [write(connection, 1) for _ in range(2)])

    assert open_cursors() == []


@pytest.mark.usefixtures("no_garbage_collection")
async def test_errors_leave_no_cursor_behind(database: Database) -> None:
    """Neither does an error that its caller keeps, with all that led to it."""
    await database.run(write, 1)

    def fail(connection: Connection) -> None:
        unread = connection.execute(select(notes))
        try:
            assert not unread.closed
            write(connection, 1)
        finally:
            raise ValueError

    def fail_to_read(connection: Connection) -> None:
        unread = connection.execute(select(notes))
        connection.exec_driver_sql("SELECT * FROM nowhere")
        unread.close()

    with pytest.raises(ValueError) as kept:  # noqa: PT011 - raised above
        await database.run(fail)
    with pytest.raises(DatabaseUnavailable) as also_kept:
        await database.run(fail_to_read)

    assert isinstance(kept.value.__context__, IntegrityError)
    assert "nowhere" in str(also_kept.value)
    assert open_cursors() == []


# Starting and stopping


async def test_a_stop_lets_what_waits_finish_and_takes_nothing_more(database: Database, url: str) -> None:
    """No request that was taken is lost."""
    async with busy(database):
        waiting = asyncio.gather(*(database.run(write, number) for number in range(3)))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(database.stop())
        await asyncio.sleep(0)
        with pytest.raises(DatabaseUnavailable, match="closed"):
            await database.run(write, 9)

    assert await waiting == [0, 1, 2]
    await stopping
    assert written(url) == [0, 1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("database-")]


async def test_a_stop_does_not_wait_for_a_database_that_hangs(url: str) -> None:
    """Nor does the end of the process."""
    database = Database(url, Clock(), Timing(database_stop=0.05))
    await database.start()
    gate = Gate()
    hanging = asyncio.create_task(database.run(gate.wait))
    await gate.reached()

    await database.stop()

    assert not hanging.done()
    hung = [thread for thread in threading.enumerate() if thread.name.startswith("database-")]
    assert all(thread.daemon for thread in hung)
    gate.open()
    await hanging
    for thread in hung:
        await asyncio.to_thread(thread.join)
    await database.stop()


async def test_a_database_that_was_never_used_stops_at_once(url: str) -> None:
    """It has connected to nothing, and says so."""
    database = Database(url, Clock())
    await database.start()
    await database.stop()

    assert database.fault == "not connected yet"


def test_work_that_outlives_its_event_loop_is_committed(sqlite_url: str) -> None:
    """It answers nobody."""
    gate = Gate()
    database = Database(sqlite_url, Clock(), PATIENT)

    def slow(connection: Connection) -> None:
        gate.wait()
        write(connection, 1)

    async def leave() -> None:
        await database.start()
        await database.run(notes.create)
        caller = asyncio.create_task(database.run(slow))
        await gate.reached()
        caller.cancel()
        await asyncio.wait([caller])

    asyncio.run(leave())
    gate.open()
    asyncio.run(database.stop())

    assert written(sqlite_url) == [1]


async def test_transactions_of_postgresql_run_two_at_once(database: Database) -> None:
    """A person does not wait for the worker; SQLite takes one after the other."""
    gate = Gate()
    running = asyncio.create_task(database.run(gate.wait))
    await gate.reached()
    second = asyncio.create_task(database.run(write, 1))
    if not database.is_sqlite:
        await second
        assert not running.done()
    gate.open()

    await asyncio.gather(running, second)
