"""What holds for SQLite only: durability, locks, and the one process that owns the file."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection

from bot.errors import CannotStart, CommitUncertain, DatabaseUnavailable
from bot.storage import history, requests
from bot.storage.database import Database
from bot.storage.engines.sqlite import sqlite_file
from bot.storage.jobs import open_database
from tests.storage.support import UNLIMITED, Bot, Clock, outside, request
from tests.times import set_timing

pytestmark = pytest.mark.parametrize("url", ["sqlite_url"], indirect=True)


@pytest.fixture
def file(url: str) -> Path:
    """The file itself."""
    return sqlite_file(url)


def pragma(connection: Connection, words: str) -> object:
    """Run a pragma, and return its value if it has one."""
    result = connection.exec_driver_sql(f"PRAGMA {words}")
    return result.scalar() if result.returns_rows else None


@pytest.mark.parametrize(
    ("query", "level"), [("", 1), ("?synchronous=full", 2), ("?synchronous=FULL", 2), ("?synchronous=off", 1)]
)
async def test_a_write_survives_a_kill_and_with_synchronous_full_a_power_cut(url: str, query: str, level: int) -> None:
    """Nothing in the URL makes it less safe; a stop leaves one file, which can be copied."""
    database = Database(url + query, Clock())
    await database.start()
    await database.run(open_database)
    values = [await database.run(pragma, name) for name in ("journal_mode", "synchronous", "foreign_keys")]
    await database.stop()

    assert values == ["wal", level, 1]
    files = sqlite_file(url).parent.iterdir()
    assert sorted(path.name for path in files) == ["reload-model.db", "reload-model.db.lock"]


async def test_a_full_disk_records_nothing(bot: Bot) -> None:
    """With room again everything works."""
    long = "m" * 50_000
    await bot.run(pragma, "max_page_count=1")
    with pytest.raises(DatabaseUnavailable, match="database or disk is full"):
        await bot.ask(request(long))

    assert bot.database.fault == "database or disk is full"
    assert await bot.counts() == (0, 0, 0)
    await bot.ask(request(long))


async def test_a_commit_that_fails_is_certain(bot: Bot, url: str) -> None:
    """SQLite itself says that it did not commit."""

    def refuse_commit(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_authorizer(lambda action, what, *_: int((action, what) == (sqlite3.SQLITE_TRANSACTION, "COMMIT")))
        requests.ask(connection, request(), UNLIMITED)

    with pytest.raises(DatabaseUnavailable, match="not authorized") as raised:
        await bot.run(refuse_commit)

    assert not isinstance(raised.value, CommitUncertain)
    await bot.run(history.touch)
    assert outside(url, "SELECT count(*) FROM reload_model_reloads") == [(0,)]


async def test_a_file_has_one_owner_by_whatever_name(url: str, tmp_path: Path) -> None:
    """A link leads to the same file, and to the same lock. When the file is gone, nothing is written to it."""
    set_timing(sqlite_owner_wait=0.0)
    (tmp_path / "link.db").symlink_to(sqlite_file(url))
    first, second = Database(url, Clock()), Database(f"sqlite:///{tmp_path}/link.db", Clock())
    await first.start()
    try:
        with pytest.raises(CannotStart, match="another process holds"):
            await second.start()
        await first.run(open_database)
        sqlite_file(url).unlink()
        with pytest.raises(DatabaseUnavailable, match="the file was deleted or replaced"):
            await first.run(history.touch)
    finally:
        await first.stop()
