import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from bot.storage.store import Store
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from bot.errors import CannotStart, DatabaseUnavailable
from bot.storage.database import Database, Transaction
from tests.store.world import WAIT, Clock, Gate, World, ask, outside, path_of


@pytest.fixture
def url(sqlite_url: str) -> str:
    """What follows is of SQLite alone."""
    return sqlite_url


@pytest.fixture
def file(url: str) -> Path:
    """The file itself."""
    return Path(path_of(url))


@pytest.fixture
def letter(file: Path) -> Callable[[], str]:
    """Something else in the file's place, and what is in it now."""
    file.write_text(_LETTER)
    return file.read_text


@pytest.fixture
def folder(file: Path) -> None:
    """A folder in the file's place."""
    file.mkdir()


@contextmanager
def _locked(url: str) -> Iterator[None]:
    """Somebody else is in the middle of writing to the file."""
    connection = sqlite3.connect(path_of(url), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


async def _pragma(database: Database, pragma: str) -> None:
    await database.run(lambda tx: tx.connection.exec_driver_sql(f"PRAGMA {pragma}"), reads=True)


_LETTER = "A letter to grandmother.\n" * 100


# --- durability -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "level"), [("", 1), ("?synchronous=full", 2), ("?synchronous=FULL", 2), ("?synchronous=off", 1)]
)
async def test_synchronous(url: str, query: str, level: int) -> None:
    """A write survives kill -9, and with synchronous=full in the URL a power cut; nothing makes it less safe."""
    database = Database(url + query, Clock())
    await database.start()

    def pragmas(tx: Transaction) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    assert await database.run(pragmas, reads=True) == ["wal", level, 1]
    await database.stop()


async def test_closed_at_the_end(url: str, file: Path) -> None:
    """After a stop nothing of WAL is left beside the file: it can be copied as it is."""
    database = Database(url, Clock())
    await database.start()
    await Store(database, "one").open()
    await database.stop()

    assert sorted(path.name for path in file.parent.iterdir()) == ["reload-model.db", "reload-model.db.lock"]


async def test_checkpoint_at_rest(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed moves from the WAL into the file once nothing is asked, and stays committed all the while."""
    monkeypatch.setattr("bot.storage.database._REST_SECONDS", 0.01)
    monkeypatch.setattr("bot.storage.database._COMMITS_AT_REST", 3)
    before = await asyncio.to_thread(file.read_bytes)
    for number in range(3):
        await store.ask(ask(f"model-{number}"))

    async with asyncio.timeout(WAIT):
        while await asyncio.to_thread(file.read_bytes) == before:
            pass
    assert (await store.in_flight(10))[1] == 3


async def test_checkpoint_that_fails(store: Store, world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody notices: neither that it cannot be done, nor that there is no connection to do it on."""
    database = world.database
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def fail(*_: object) -> None:
        loop.call_soon_threadsafe(failed.set)
        raise OperationalError("PRAGMA", None, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr("bot.storage.database._REST_SECONDS", 0.01)
    monkeypatch.setattr("bot.storage.database._COMMITS_AT_REST", 1)
    monkeypatch.setattr(Connection, "exec_driver_sql", fail)
    await store.ask(ask("one"))
    await asyncio.wait_for(failed.wait(), WAIT)
    await store.ask(ask("two"))
    database._disconnect()  # noqa: SLF001 - as after an error
    database._checkpoint()  # noqa: SLF001 - as after an error

    assert outside(url, "SELECT count(*) FROM reload") == [(2,)]


async def test_wal_is_bounded(database: Database) -> None:
    """However busy it is: beyond some 32 MB a commit makes room itself."""
    assert (
        await database.run(lambda tx: tx.connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one()) == 8000
    )


# --- what may be wrong with a file ----------------------------------------------------------------------


async def test_locked_for_a_moment(store: Store, world: World, url: str) -> None:
    """A write waits for somebody else's to end."""
    with _locked(url):
        asking = asyncio.create_task(store.ask(ask()))
        await asyncio.sleep(0)

    await asking
    assert await world.count() == (1, 1, 1)


async def test_locked(store: Store, world: World, url: str) -> None:
    """A file that stays locked is away: nothing is written, then or later, and it works again by itself."""
    await _pragma(world.database, "busy_timeout=50")
    with _locked(url):
        with pytest.raises(DatabaseUnavailable, match="locked"):
            await store.ask(ask())
        assert world.database.fault == "OperationalError"

    assert await world.count() == (0, 0, 0)
    assert world.database.fault == ""
    await store.ask(ask())


async def test_looks_before_it_writes(store: Store, world: World, url: str) -> None:
    """Nobody else writes between what an operation reads and what it writes."""
    await store.ask(ask())
    gate = Gate()

    def operation(tx: Transaction) -> None:
        tx.connection.exec_driver_sql("SELECT said FROM reload").one()
        gate.wait()
        tx.connection.exec_driver_sql("UPDATE reload SET said = 'mine'")

    writing = asyncio.create_task(world.database.run(operation))
    await gate.reached()
    with closing(sqlite3.connect(path_of(url), timeout=0.0)) as other:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE reload SET said = 'theirs'")
        gate.open()

        await writing
        assert other.execute("SELECT said FROM reload").fetchall() == [("mine",)]


async def test_locked_for_too_long(store: Store, world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An asking that is not committed in time never is, even though the lock is let go while it still waits."""
    monkeypatch.setattr("bot.storage.store.ASK_SECONDS", 0.1)
    with _locked(url), pytest.raises(DatabaseUnavailable, match="no answer"):
        await store.ask(ask())
    monkeypatch.undo()

    assert await world.count() == (0, 0, 0)
    await world.database.run(lambda _: None)
    assert outside(url, "SELECT count(*) FROM reload") == [(0,)]


async def test_reads_while_locked(store: Store, url: str) -> None:
    """What only reads needs no lock."""
    with _locked(url):
        assert await store.next_due([]) is None
        assert await store.in_flight(10) == ([], 0)


async def test_full(store: Store, world: World) -> None:
    """On a full disk nothing is begun, and with room again everything works."""
    await _pragma(world.database, "max_page_count=1")
    with pytest.raises(DatabaseUnavailable, match="full"):
        await store.ask(ask(response_url="x" * 50_000))
    assert world.database.fault == "OperationalError"
    assert await world.count() == (0, 0, 0)

    await _pragma(world.database, "max_page_count=1000000")
    await store.ask(ask(response_url="x" * 50_000))


async def test_unwritable(store: Store, world: World) -> None:
    """In a file that can only be read nothing is begun."""
    await _pragma(world.database, "query_only=ON")

    with pytest.raises(DatabaseUnavailable, match="readonly"):
        await store.ask(ask())
    with pytest.raises(DatabaseUnavailable, match="readonly"):
        await store.touch(1.0)

    assert world.database.fault == "OperationalError"


async def test_no_database(url: str, letter: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no database is left as it is, and closed."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def connecting(path: str, **_: object) -> sqlite3.Connection:
        opened.append(connect(path, check_same_thread=False))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connecting)
    database = Database(url, Clock())
    await database.start()

    with pytest.raises(DatabaseUnavailable, match="not a database"):
        await Store(database, "one").open()

    assert database.fault == "DatabaseError"
    await database.stop()
    assert letter() == _LETTER
    (connection,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.total_changes  # noqa: B018 - what a closed connection does not tell


@pytest.mark.usefixtures("folder")
async def test_folder_in_its_place(url: str) -> None:
    """A folder where the file should be is away, and says so."""
    database = Database(url, Clock())
    await database.start()

    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        await Store(database, "one").open()

    await database.stop()


async def test_no_folder(tmp_path: Path) -> None:
    """A file in a folder that is not there cannot be used, and the message says what to make."""
    database = Database(f"sqlite:///{tmp_path}/nowhere/reload-model.db", Clock())

    with pytest.raises(CannotStart, match=r"cannot write .*/nowhere/.* \(No such file or directory\): make the folder"):
        await database.start()

    await database.stop()


# --- one process owns the file --------------------------------------------------------------------------


async def test_owned(database: Database, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process does not get the file, and its message says why and what to do."""
    monkeypatch.setattr("bot.storage.database.LOCK_WAIT", 0.2)
    second = Database(url, Clock())

    with pytest.raises(
        CannotStart, match=r"another process holds .*: an SQLite file serves one process; stop the other"
    ):
        await second.start()

    await second.stop()
    assert await database.run(lambda tx: tx.now) == Clock().now


async def test_handed_over(database: Database, url: str) -> None:
    """A second process that starts while the first one stops gets the file."""
    second = Database(url, Clock())
    starting = asyncio.create_task(second.start())
    await asyncio.sleep(0)
    assert not starting.done()

    await database.stop()
    await starting

    assert await second.run(lambda tx: tx.now) == Clock().now
    await second.stop()


async def test_time_is_the_clocks(database: Database, clock: Clock) -> None:
    """On SQLite the time is that of the clock that was handed in, and stands still within a transaction."""

    def twice(tx: Transaction) -> tuple[float, float]:
        before = tx.now
        clock.now += 60.0
        return before, tx.now

    before, after = await database.run(twice)

    assert before == after == clock.now - 60.0
