"""All that the bot does before it answers Slack shares the time that Slack gives."""

import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.timing import Timing
from bot.errors import Refused
from bot.handlers import bolt
from bot.handlers.access import AuditTrail
from bot.handlers.requests import Requests
from bot.storage import grants
from bot.storage.database import Database
from bot.storage.jobs import open_database
from bot.storage.requests import Limits
from tests.scenarios.scenario import ADA, BEN, eventually_answered

SHORT = Timing(sqlite_busy=30.0, answer=0.3)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An SQLite file with tables."""
    database = Database(f"sqlite:///{tmp_path}/reload-model.db", time.time, SHORT)
    await database.start()
    await database.run(open_database)
    yield database
    await database.stop()


async def test_the_transactions_of_a_request_have_one_deadline(database: Database, tmp_path: Path) -> None:
    """A file that another program has locked costs the first one all the time, so the second one isn't begun.

    What is left for the background has its own time.
    """
    requests = Requests(database, Limits(), 0.2, lambda: None, SHORT)
    app = bolt.new_app(AsyncWebClient(), logging.getLogger(), AuditTrail(requests), "/reload-model")

    @app.event("app_home_opened")
    async def ask() -> None:
        with closing(sqlite3.connect(tmp_path / "reload-model.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Refused, match="not_listed"):
                await requests.is_known(ADA)
        with pytest.raises(Refused, match="not_recorded"):
            await requests.write(grants.remember, ADA)
        requests.remember(BEN)

    response = await bolt.dispatch(app, {"type": "event_callback", "event": {"type": "app_home_opened"}})

    assert response.status == 200
    assert await eventually_answered(lambda: database.run(grants.is_known, BEN))
    assert not await database.run(grants.is_known, ADA)
    await requests.stop()
