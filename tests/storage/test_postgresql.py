"""What holds on PostgreSQL only: connections that break, limits, and transactions that block each other."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from bot.errors import CommitUncertain, DatabaseUnavailable
from bot.storage.database import TRIES, Database, now
from tests.postgres import Postgres
from tests.storage.support import COMMIT, PATIENT, Clock, Gate, outside, stopped_at
from tests.times import set_timing

PID = "SELECT pg_backend_pid()"

Notes = Callable[[], list[object]]

pytestmark = pytest.mark.parametrize("url", ["postgres_url"], indirect=True)


@pytest.fixture
def notes(postgres: Postgres, url: str) -> Notes:
    """A table with a row, and the numbers that are committed to it."""
    postgres.execute("CREATE TABLE notes AS SELECT 0 AS number", url)
    return lambda: [row[0] for row in outside(url, "SELECT number FROM notes ORDER BY number")]


@asynccontextmanager
async def started(url: str) -> AsyncIterator[Database]:
    """A database that is started."""
    database = Database(url, Clock())
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


def say(connection: Connection, statement: str, value: object = None) -> object:
    """Run one statement, with a :value, and return what its first row begins with, if it has one."""
    result = connection.execute(text(statement), {"value": value})
    return result.scalar() if result.returns_rows else None


async def test_a_transaction_has_limits_and_says_whose_it_is(url: str) -> None:
    """Nothing is set or prepared for a session, which others share behind a pooler."""
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    of_session = "SELECT reset_val FROM pg_settings WHERE name = :value"
    options = "options=-c%20default_transaction_isolation%3Dserializable"
    async with started(f"{url}&{options}&client_encoding=latin1") as database:
        values = [await database.run(say, f"SHOW {name}") for name in (*names, "application_name", "client_encoding")]
        isolation = await database.run(say, "SHOW transaction_isolation")
        reset = [await database.run(say, of_session, name) for name in names]
        prepared = await database.run(say, "SELECT count(*) FROM pg_prepared_statements")

    assert values == ["5s", "1500ms", "10s", "reload-model", "UTF8"]
    assert (isolation, reset, prepared) == ("read committed", ["0", "0", "0"], 0)


async def test_the_time_is_the_servers_and_that_of_the_transaction(database: Database) -> None:
    """Everything that one transaction writes has the same time."""
    first, second = await database.run(lambda connection: (now(connection), now(connection)))

    assert abs(first - time.time()) < 600.0
    assert first == second < await database.run(now)


async def test_a_kept_connection_that_died_or_became_read_only_is_replaced(
    url: str, database: Database, postgres: Postgres, notes: Notes
) -> None:
    """As after a restart of the server, or after a failover: the old primary still answers."""
    await database.run(say, PID)
    assert postgres.terminate(url) == 1
    await database.run(say, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    await database.run(say, "INSERT INTO notes VALUES (1)")

    assert (notes(), database.fault) == ([0, 1], "")


@pytest.mark.parametrize("breaks", range(TRIES + 1))
@pytest.mark.parametrize("error", [None, ValueError])
async def test_work_whose_connection_breaks_is_run_again(
    url: str, database: Database, postgres: Postgres, notes: Notes, breaks: int, error: type[Exception] | None
) -> None:
    """Before the commit it is certain that nothing was done. An error of its own counts if the connection held."""
    runs: list[int] = []

    def work(connection: Connection) -> None:
        runs.append(len(runs) + 1)
        say(connection, "INSERT INTO notes VALUES (:value)", runs[-1])
        if len(runs) <= breaks:
            postgres.terminate(url)
        if error is not None:
            raise error
        say(connection, PID)

    if breaks < TRIES and error is None:
        await database.run(work)
    else:
        with pytest.raises(error if error is not None and breaks < TRIES else DatabaseUnavailable) as raised:
            await database.run(work)
        assert not isinstance(raised.value, CommitUncertain)

    assert len(runs) == min(breaks + 1, TRIES)
    assert notes() == ([0, breaks + 1] if breaks < TRIES and error is None else [0])
    assert isinstance(await database.run(say, PID), int)
    assert database.fault == ""


@pytest.mark.parametrize(
    ("statement", "timing", "why"),
    [
        ("SELECT pg_sleep(60)", "postgres_statement", "statement timeout"),
        ("UPDATE notes SET number = 2", "postgres_lock", "lock timeout"),
    ],
)
async def test_a_statement_that_takes_too_long_is_not_repeated(
    url: str, database: Database, notes: Notes, statement: str, timing: str, why: str
) -> None:
    """The server cancels it, and there is no time for another try."""
    runs: list[int] = []

    def work(connection: Connection) -> None:
        runs.append(1)
        say(connection, statement)

    set_timing(**{timing: 0.1})
    async with started(url) as hasty:
        with stopped_at(COMMIT) as gate:
            holding = asyncio.create_task(database.run(say, "UPDATE notes SET number = 1"))
            await gate.reached()
            with pytest.raises(DatabaseUnavailable, match=why):
                await hasty.run(work)
        await holding
        assert isinstance(await hasty.run(say, PID), int)

    assert (runs, notes()) == ([1], [1])


async def test_transactions_that_block_each_other_both_succeed(url: str, notes: Notes) -> None:
    """PostgreSQL ends one of them, which is run again."""
    gates = [Gate(), Gate()]

    def swap(connection: Connection, first: int) -> None:
        say(connection, "UPDATE notes SET number = number WHERE number = :value", first)
        gates[first].wait()
        say(connection, "UPDATE notes SET number = number WHERE number = :value", 1 - first)

    set_timing(**PATIENT)
    async with started(f"{url}&options=-c%20deadlock_timeout%3D50ms") as database:
        await database.run(say, "INSERT INTO notes VALUES (1)")
        both = asyncio.gather(*(database.run(swap, first) for first in range(2)))
        for gate in gates:
            await gate.reached()
        for gate in gates:
            gate.open()
        await both

    assert notes() == [0, 1]


async def test_a_text_that_cannot_be_stored_is_not_a_fault_of_the_database(database: Database) -> None:
    """It is a bug of the bot."""
    with pytest.raises(DataError, match="NUL"):
        await database.run(say, "SELECT :value", "\0")

    assert database.fault == ""
