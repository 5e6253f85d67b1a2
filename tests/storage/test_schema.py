"""The tables are created once, brought up to date, and left alone where they are not this program's."""

import asyncio

import pytest
from sqlalchemy import Connection, text

from bot.core.models import JobKind
from bot.storage import schema
from bot.storage.database import Database
from bot.storage.jobs import open_database
from bot.storage.schema import migrate
from tests.storage.support import PATIENT, READY_IN, Bot, Clock, outside, request
from tests.times import set_timing

VERSION = "SELECT version FROM reload_model_schema"


async def test_a_start_voids_the_leases_in_an_sqlite_file(bot: Bot, other: Bot) -> None:
    """Only one process uses the file, so their owner is dead. Replicas keep theirs, and nothing else is due early.

    A call may have reached ModelsLab, which refuses another one for half a minute: its lease stays.
    """
    await bot.accepted(request("accepted"))
    await bot.called(request("called"))
    await bot.claim_one(JobKind.STATUS)

    await bot.run(open_database)

    crashes = [(claim.job.kind, claim.job.crashes) for claim in await other.claim()]
    assert crashes == ([(JobKind.STATUS, 1)] if bot.database.is_sqlite else [])
    assert await bot.due_in(JobKind.NOTIFY) == READY_IN


async def test_replicas_that_start_together_create_the_tables_once(stopped_postgres_url: str) -> None:
    """In this program's version. The others wait, and find them there."""
    set_timing(**PATIENT)
    databases = [Database(stopped_postgres_url, Clock()) for _ in range(4)]
    for database in databases:
        await database.start()

    await asyncio.gather(*(database.run(open_database) for database in databases))

    assert outside(stopped_postgres_url, VERSION) == [(schema.VERSION,)]
    for database in databases:
        await database.stop()


def _add_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE reload_model_reloads ADD COLUMN novelty TEXT"))


def _fail(connection: Connection) -> None:
    _add_column(connection)
    raise ValueError("on purpose")


async def test_an_earlier_version_is_brought_up_to_date(bot: Bot, url: str) -> None:
    """Each change is made once, in order, and the rows are kept; one that fails leaves everything as it was."""
    fill = text("UPDATE reload_model_reloads SET novelty = 'new'")
    await bot.ask(request("sdxl"))
    with pytest.raises(ValueError, match="on purpose"):
        await bot.run(migrate, [_fail])
    assert outside(url, VERSION) == [(1,)]

    await bot.run(migrate, [_add_column])
    assert outside(url, VERSION) == [(2,)]
    for _ in range(2):
        await bot.run(migrate, [_add_column, lambda tx: tx.execute(fill).close()])

    assert outside(url, VERSION) == [(3,)]
    assert outside(url, "SELECT model_id, novelty FROM reload_model_reloads") == [("sdxl", "new")]


async def test_a_new_database_needs_no_migration(database: Database, url: str) -> None:
    """Its tables are made as the last version has them."""
    await database.run(migrate, [_fail])

    assert outside(url, VERSION) == [(2,)]
