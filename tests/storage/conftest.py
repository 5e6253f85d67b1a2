"""One storage, on SQLite and on a real PostgreSQL: what holds on one holds on the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.storage.database import Database
from bot.storage.jobs import open_database
from tests.storage.support import LEASE, PATIENT, Bot, Clock, stop_clock
from tests.times import set_timing


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path}/reload-model.db"


@pytest.fixture
def stopped_postgres_url(postgres_url: str) -> str:
    """The URL of a PostgreSQL database without tables of the bot's, whose time passes only when it is moved."""
    return stop_clock(postgres_url)


@pytest.fixture(params=["sqlite_url", "stopped_postgres_url"], ids=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a database of either kind."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
async def database(url: str, clock: Clock) -> AsyncIterator[Database]:
    """A database that is started, without tables."""
    set_timing(**PATIENT)
    database = Database(url, clock)
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def bot(database: Database, clock: Clock) -> Bot:
    """A process of the bot, with its tables."""
    set_timing(lease=LEASE)
    await database.run(open_database)
    return Bot(database, clock)


@pytest.fixture
def other(bot: Bot, clock: Clock) -> Bot:
    """Another process, which claims jobs under another name."""
    return Bot(bot.database, clock, "other")
