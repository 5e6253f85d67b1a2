"""What holds for an SQLite file only: its durability, its locks, its one owner."""

import asyncio
import errno
import fcntl
import gc
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from bot.core.timing import Timing
from bot.errors import CannotStart, CommitUncertain, DatabaseUnavailable
from bot.storage import history, requests
from bot.storage.database import Database, sqlite_file
from bot.storage.jobs import open_database
from tests.storage.support import WAIT, Bot, Clock, Gate, locked, outside, request, stopped_at

LETTER = "A letter to grandmother.\n" * 100


@pytest.fixture
def url(sqlite_url: str) -> str:
    """What follows is about SQLite."""
    return sqlite_url


@pytest.fixture
def file(url: str) -> Path:
    """The file itself."""
    return sqlite_file(url)


@pytest.fixture
def letter(file: Path) -> Iterator[None]:
    """Something else in the file's place, which has to stay there."""
    file.write_text(LETTER)
    yield
    assert file.read_text() == LETTER


@pytest.fixture
def folder(file: Path) -> None:
    """A folder in the file's place."""
    file.mkdir()


async def pragma(database: Database, words: str) -> object:
    """Run a pragma on the bot's own connection, and return its value if it has one."""

    def run(connection: Connection) -> object:
        result = connection.exec_driver_sql(f"PRAGMA {words}")
        return result.scalar() if result.returns_rows else None

    return await database.run(run)


async def opened(url: str, timing: Timing = Timing()) -> Database:
    """A database that is started, with its tables."""
    database = Database(url, Clock(), timing)
    await database.start()
    await database.run(open_database)
    return database


# Durability


@pytest.mark.parametrize(
    ("query", "level"), [("", 1), ("?synchronous=full", 2), ("?synchronous=FULL", 2), ("?synchronous=off", 1)]
)
async def test_a_write_survives_a_kill_and_with_synchronous_full_a_power_cut(url: str, query: str, level: int) -> None:
    """Nothing in the URL makes it less safe."""
    database = await opened(url + query)

    assert [await pragma(database, name) for name in ("journal_mode", "synchronous", "foreign_keys")] == [
        "wal",
        level,
        1,
    ]
    await database.stop()


async def test_a_stop_leaves_one_file_that_can_be_copied(url: str, file: Path) -> None:
    """Nothing is left in a write-ahead log beside it."""
    await (await opened(url)).stop()

    assert sorted(path.name for path in file.parent.iterdir()) == ["reload-model.db", "reload-model.db.lock"]


# Another program that writes


async def test_a_request_waits_for_another_program_to_finish_writing(bot: Bot, file: Path) -> None:
    """It is committed as soon as it can be."""
    with locked(file):
        asking = asyncio.create_task(bot.ask(request()))
        await asyncio.sleep(0)

    await asking
    assert await bot.counts() == (1, 1, 1)


async def test_a_file_that_stays_locked_is_unavailable(url: str, file: Path) -> None:
    """Nothing is written, then or later, and it works again by itself."""
    database = await opened(url, Timing(sqlite_busy=0.05))
    with locked(file):
        with pytest.raises(DatabaseUnavailable, match="database is locked"):
            await database.run(requests.ask, request())
        assert database.fault == "database is locked"

    assert outside(url, "SELECT count(*) FROM reload_model_reloads") == [(0,)]
    await database.run(requests.ask, request())
    assert database.fault == ""
    await database.stop()


async def test_a_request_is_answered_in_time_while_another_program_writes(bot: Bot, file: Path, url: str) -> None:
    """It is certain that nothing was recorded, and nothing is once the lock is free."""
    with locked(file), pytest.raises(DatabaseUnavailable, match="no answer") as raised:
        await bot.database.run(requests.ask, request(), within=0.05)

    assert not isinstance(raised.value, CommitUncertain)
    await bot.run(history.touch)
    assert outside(url, "SELECT count(*) FROM reload_model_reloads") == [(0,)]


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("error", [IntegrityError, ZeroDivisionError])
async def test_another_programs_lock_never_stops_the_event_loop(bot: Bot, file: Path, error: type[Exception]) -> None:
    """Nothing that dies in its thread waits for the connection, which waits for the lock."""
    beats: list[int] = []

    async def beat() -> None:
        while True:
            beats.append(1)
            await asyncio.sleep(0)

    def fail(connection: Connection) -> None:
        unread = connection.execute(text("SELECT 1 UNION SELECT 2"))
        if error is ZeroDivisionError:
            beats[0] //= 0
        connection.execute(text("INSERT INTO reload_model_schema (version) VALUES (NULL)"))
        unread.close()

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0)
    with pytest.raises(error):
        await bot.run(fail)
    with locked(file), stopped_at("BEGIN IMMEDIATE") as gate:
        asking = asyncio.create_task(bot.ask(request()))
        await gate.reached()
        gate.open()
        await asyncio.sleep(0.05)  # for the transaction to wait for the lock, which it has not told anybody
        before = len(beats)
        gc.collect()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(beats) >= before + 100
        assert not asking.done()
    heart.cancel()

    await asking  # a loop that stood still would have held the lock until the bot had stopped waiting for it


async def test_nobody_else_writes_between_what_a_transaction_reads_and_writes(bot: Bot, file: Path, url: str) -> None:
    """Its lock is taken before it looks."""
    gate = Gate()

    def look_and_write(connection: Connection) -> None:
        connection.execute(text("SELECT version FROM reload_model_schema")).one()
        gate.wait()
        connection.execute(text("UPDATE reload_model_schema SET version = 7"))

    writing = asyncio.create_task(bot.run(look_and_write))
    await gate.reached()
    with closing(sqlite3.connect(file, timeout=0.0)) as other, pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("UPDATE reload_model_schema SET version = 8")
    gate.open()

    await writing
    assert outside(url, "SELECT version FROM reload_model_schema") == [(7,)]


# A file that can't be written


async def test_a_full_disk_records_nothing(bot: Bot) -> None:
    """With room again everything works."""
    await pragma(bot.database, "max_page_count=1")
    with pytest.raises(DatabaseUnavailable, match="full"):
        await bot.ask(request(response_url="x" * 50_000))

    assert bot.database.fault == "database or disk is full"
    assert await bot.counts() == (0, 0, 0)
    await bot.ask(request(response_url="x" * 50_000))


async def test_a_commit_that_fails_is_certain(bot: Bot, url: str) -> None:
    """SQLite says itself that it did not commit."""

    def refuse_commit(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_authorizer(lambda action, what, *_: int((action, what) == (sqlite3.SQLITE_TRANSACTION, "COMMIT")))
        requests.ask(connection, request())

    with pytest.raises(DatabaseUnavailable, match="not authorized") as raised:
        await bot.run(refuse_commit)

    assert not isinstance(raised.value, CommitUncertain)
    await bot.run(history.touch)
    assert outside(url, "SELECT count(*) FROM reload_model_reloads") == [(0,)]


async def test_a_file_that_can_only_be_read_records_nothing(bot: Bot) -> None:
    """Not even what readiness writes."""
    for work in (history.touch, lambda connection: requests.ask(connection, request())):
        await pragma(bot.database, "query_only=ON")
        with pytest.raises(DatabaseUnavailable, match="readonly"):
            await bot.run(work)

    assert bot.database.fault == "attempt to write a readonly database"


@pytest.mark.usefixtures("letter")
async def test_a_file_that_is_no_database_is_left_as_it_is(url: str) -> None:
    """The URL may name the wrong file."""
    database = Database(url, Clock())
    await database.start()

    with pytest.raises(DatabaseUnavailable, match="file is not a database"):
        await database.run(open_database)

    await database.stop()


@pytest.mark.usefixtures("folder")
async def test_a_folder_in_its_place_is_unavailable(url: str) -> None:
    """And says so."""
    database = Database(url, Clock())
    await database.start()

    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        await database.run(open_database)

    await database.stop()


# One process owns the file


async def test_a_second_process_does_not_get_the_file(bot: Bot, url: str) -> None:
    """It is told why, and what to do; the first one goes on."""
    second = Database(url, Clock(), Timing(sqlite_owner_wait=0.1))

    with pytest.raises(CannotStart, match=r"another process holds .*: an SQLite file serves one process; stop the"):
        await second.start()

    await second.stop()
    await bot.ask(request())


async def test_a_second_process_gets_the_file_once_the_first_one_stops(bot: Bot, url: str) -> None:
    """As at a roll-out, where they overlap."""
    second = Database(url, Clock(), Timing(sqlite_owner_wait=WAIT))
    starting = asyncio.create_task(second.start())
    await asyncio.sleep(0)
    assert not starting.done()

    await bot.database.stop()
    await starting

    assert await second.run(open_database) == Clock().now
    await second.stop()


async def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """The message says what to create."""
    database = Database(f"sqlite:///{tmp_path}/nowhere/reload-model.db", Clock())

    with pytest.raises(CannotStart, match=r"cannot write .*/nowhere/.*\(No such file or directory\): create the f"):
        await database.start()

    await database.stop()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
async def test_a_file_system_without_locks_stops_the_start(
    url: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems have none: https://man7.org/linux/man-pages/man2/flock.2.html."""

    def flock(_file: object, _operation: int) -> None:
        raise OSError(code, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    database = Database(url, Clock())

    with pytest.raises(CannotStart, match=r"cannot lock .* \(No locks available\): put the SQLite file on a local"):
        await database.start()

    await database.stop()
