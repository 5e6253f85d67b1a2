"""One store, on SQLite and on a real PostgreSQL: what holds for the one holds for the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bot.storage.store import Store

from bot.storage.database import Database
from tests.store.world import WAIT, Clock, World


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path}/reload-model.db"


@pytest.fixture(params=["sqlite_url", "postgres_url"], ids=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, of either kind."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def clock() -> Clock:
    """The time on SQLite."""
    return Clock()


@pytest.fixture
async def database(url: str, clock: Clock) -> AsyncIterator[Database]:
    """A database that is started, and empty."""
    database = Database(url, clock)
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def world(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> World:
    """A store that is opened, and what belongs to it; on a busy machine it is waited for longer than by people."""
    monkeypatch.setattr("bot.storage.store.ASK_SECONDS", WAIT)
    world = World(database, clock)
    await world.store.open()
    return world


@pytest.fixture
def store(world: World) -> Store:
    """A store that is opened."""
    return world.store
