"""What holds on PostgreSQL only: connections that break, limits, what the server decides."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from bot.core.timing import Timing
from bot.errors import CommitUncertain, DatabaseUnavailable
from bot.storage.database import TRIES, Database, reading_engine
from bot.storage.jobs import open_database
from bot.storage.schema import now
from tests.postgres import Postgres
from tests.storage.support import COMMIT, WAIT, Clock, Gate, at_first, outside, stopped_at

PID = "SELECT pg_backend_pid()"


@pytest.fixture
def url(postgres_url: str) -> str:
    """What follows is about PostgreSQL."""
    return postgres_url


@asynccontextmanager
async def started(url: str, timing: Timing = Timing()) -> AsyncIterator[Database]:
    """A database that is started."""
    database = Database(url, Clock(), timing)
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


def say(connection: Connection, statement: str, value: object = None) -> object:
    """Run one statement, with a :value, and return what its first row begins with, if it has one."""
    result = connection.execute(text(statement), {"value": value})
    return result.scalar() if result.returns_rows else None


class Breaking:
    """Work that writes a note, and whose connection breaks in the first runs of it."""

    def __init__(self, postgres: Postgres, url: str, times: int) -> None:
        self._break: Callable[[], object] = lambda: postgres.terminate(url)
        self._times = times
        self.runs = 0

    def __call__(self, connection: Connection, then: str = "SELECT 1") -> None:
        """Write; raises ValueError instead of a statement that is empty."""
        self.runs += 1
        say(connection, "INSERT INTO notes VALUES (:value)", self.runs)
        if self.runs <= self._times:
            self._break()
        if not then:
            raise ValueError("on purpose")
        say(connection, then)


@pytest.fixture
def notes(postgres: Postgres, url: str) -> Callable[[], list[object]]:
    """A table, and the numbers that were committed to it."""
    postgres.execute("CREATE TABLE notes (number int)", url)
    return lambda: [row[0] for row in outside(url, "SELECT number FROM notes ORDER BY number")]


# What a connection is like


async def test_a_transaction_has_limits_and_says_whose_it_is(url: str) -> None:
    """Nothing is set for a session, which behind a pooler is everyone's."""
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name")
    async with started(url) as database:
        values = [await database.run(say, f"SHOW {name}") for name in (*names, "client_encoding")]
        of_session = "SELECT reset_val FROM pg_settings WHERE name = :value"
        reset = [await database.run(say, of_session, name) for name in names[:3]]
        prepared = await database.run(say, "SELECT count(*) FROM pg_prepared_statements")

    assert values == ["5s", "1500ms", "10s", "reload-model", "UTF8"]
    assert (reset, prepared) == (["0", "0", "0"], 0)


async def test_the_url_has_the_last_word_on_a_connection(url: str, postgres: Postgres) -> None:
    """Someone may have reasons for it."""
    name = outside(url, "SELECT current_database()")[0][0]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with started(url) as database:
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await database.run(say, PID)
    async with started(f"{url}&target_session_attrs=any&application_name=mine") as database:
        assert await database.run(say, "SHOW application_name") == "mine"
    postgres.execute(f"ALTER DATABASE {name} RESET ALL")


async def test_transactions_are_read_committed_whatever_the_server_prefers(url: str) -> None:
    """What replicas do to each other is thought out for that."""
    async with started(f"{url}&options=-c%20default_transaction_isolation%3Dserializable") as database:
        assert await database.run(say, "SHOW transaction_isolation") == "read committed"


async def test_the_time_is_the_servers(url: str) -> None:
    """Replicas agree on it, whatever their own clocks say."""
    async with started(url) as database:
        before, at, after = time.time(), await database.run(now), time.time()

    assert before - 1.0 < at < after + 1.0


async def test_a_server_that_can_not_be_reached_is_unavailable(url: str) -> None:
    """The fault says why, and is tried again with the next transaction."""
    async with started(url.replace("host=", "host=/nowhere")) as database:
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable, match="nowhere"):
                await database.run(say, PID)
        assert "nowhere" in database.fault


# A connection that breaks


async def test_a_connection_that_died_while_idle_is_replaced(url: str, postgres: Postgres) -> None:
    """Nobody notices that the server was restarted in the night."""
    async with started(url) as database:
        await database.run(say, PID)
        assert postgres.terminate(url) == 1

        assert isinstance(await database.run(say, PID), int)
        assert database.fault == ""


async def test_work_whose_connection_breaks_is_run_again(
    url: str, postgres: Postgres, notes: Callable[[], list[object]]
) -> None:
    """Before the commit it is certain that nothing was done."""
    work = Breaking(postgres, url, 1)
    async with started(url) as database:
        await database.run(work)

    assert notes() == [2]


async def test_work_whose_connections_all_break_is_not_committed(
    url: str, postgres: Postgres, notes: Callable[[], list[object]]
) -> None:
    """That, too, is certain."""
    work = Breaking(postgres, url, TRIES)
    async with started(url) as database:
        with pytest.raises(DatabaseUnavailable, match="terminat") as raised:
            await database.run(work)
        assert not isinstance(raised.value, CommitUncertain)
        await database.run(say, PID)
        assert database.fault == ""

    assert (work.runs, notes()) == (TRIES, [])


async def test_an_error_of_the_works_own_stays_its_own_on_a_broken_connection(url: str, postgres: Postgres) -> None:
    """It is raised by the run whose connection holds."""
    postgres.execute("CREATE TABLE notes (number int)", url)
    work = Breaking(postgres, url, 1)
    async with started(url) as database:
        with pytest.raises(ValueError, match="on purpose"):
            await database.run(work, "")
        assert isinstance(await database.run(say, PID), int)


async def test_a_kept_connection_that_became_read_only_is_replaced(url: str, notes: Callable[[], list[object]]) -> None:
    """After a failover the old primary still answers."""
    async with started(url) as database:
        await database.run(say, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        await database.run(say, "INSERT INTO notes VALUES (1)")

    assert notes() == [1]


async def test_a_connection_that_breaks_at_the_commit_leaves_it_uncertain(url: str, postgres: Postgres) -> None:
    """Only the server knows; the work is not run again."""
    runs: list[int] = []

    def work(connection: Connection) -> None:
        runs.append(1)
        say(connection, PID)

    async with started(url) as database:
        with at_first(COMMIT, lambda: postgres.terminate(url)), pytest.raises(CommitUncertain, match="terminat"):
            await database.run(work)
        assert "terminat" in database.fault
        assert isinstance(await database.run(say, PID), int)

    assert len(runs) == 1


# What takes too long


@pytest.mark.parametrize(
    ("statement", "timing", "why"),
    [
        ("SELECT pg_sleep(60)", Timing(postgres_statement=0.1), "statement timeout"),
        ("SELECT number FROM notes FOR UPDATE", Timing(postgres_lock=0.1), "lock timeout"),
    ],
)
async def test_a_statement_that_takes_too_long_is_not_repeated(
    url: str, notes: Callable[[], list[object]], statement: str, timing: Timing, why: str
) -> None:
    """The server breaks it off, and whoever asked has no time for another try."""
    runs: list[int] = []

    def work(connection: Connection) -> None:
        runs.append(1)
        say(connection, statement)

    async with started(url) as other, started(url, timing) as database:
        await other.run(say, "INSERT INTO notes VALUES (1)")
        with stopped_at(COMMIT) as gate:
            holding = asyncio.create_task(other.run(say, "SELECT number FROM notes FOR UPDATE"))
            await gate.reached()
            with pytest.raises(DatabaseUnavailable, match=why):
                await database.run(work)
        await holding
        assert isinstance(await database.run(say, PID), int)

    assert runs == [1]
    assert notes() == [1]


async def test_transactions_that_block_each_other_both_succeed(url: str, notes: Callable[[], list[object]]) -> None:
    """PostgreSQL ends one of them, which is run again."""
    gates = [Gate(), Gate()]

    def lock(connection: Connection, first: int) -> None:
        say(connection, "UPDATE notes SET number = number WHERE number = :value", first)
        gates[first].wait()
        say(connection, "UPDATE notes SET number = number WHERE number = :value", 1 - first)

    timing = Timing(postgres_lock=WAIT, postgres_statement=WAIT)
    async with started(f"{url}&options=-c%20deadlock_timeout%3D50ms", timing) as database:
        await database.run(say, "INSERT INTO notes VALUES (0), (1)")
        both = asyncio.gather(*(database.run(lock, first) for first in range(2)))
        for gate in gates:
            await gate.reached()
        for gate in gates:
            gate.open()
        await both

    assert notes() == [0, 1]


async def test_a_text_that_can_not_be_stored_is_the_fault_of_the_work(url: str) -> None:
    """It is not repeated, and says nothing of the database."""
    async with started(url) as database:
        with pytest.raises(DataError, match="NUL"):
            await database.run(say, "SELECT :value", "\0")
        assert database.fault == ""


# Beside a running bot


async def test_a_reader_needs_no_server_that_can_be_written(url: str) -> None:
    """The audit can be read from the bot's own tables while it runs."""
    async with started(url) as database:
        await database.run(open_database)
        engine = reading_engine(url)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT version FROM reload_model_schema")).scalar_one() == 1
