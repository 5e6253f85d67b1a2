"""The tables are created once, brought up to date, and left alone where they are another program's."""

import asyncio

import pytest
from sqlalchemy import Connection, delete, insert, text, update

from bot.core.models import JobKind
from bot.errors import CannotStart
from bot.storage import schema
from bot.storage.database import Database
from bot.storage.jobs import open_database
from bot.storage.schema import migrate, reloads, version
from tests.storage.support import PATIENT, READY_IN, Bot, Clock, outside, request

VERSION = "SELECT version FROM reload_model_schema"


async def test_tables_are_created_in_an_empty_database(database: Database, clock: Clock, url: str) -> None:
    """They are of this program's version, and opening returns the time."""
    assert await database.run(open_database) == clock.now
    assert outside(url, VERSION) == [(schema.VERSION,)]
    assert outside(url, "SELECT count(*) FROM reload_model_reloads") == [(0,)]


async def test_opening_again_changes_nothing(bot: Bot) -> None:
    """As at each start."""
    await bot.ask(request())
    before = await bot.everything()

    await bot.run(open_database)

    assert await bot.everything() == before


async def test_a_start_voids_the_leases_in_an_sqlite_file(bot: Bot, other: Bot) -> None:
    """Such a file has one process, so whoever held them is dead; on PostgreSQL other replicas keep theirs."""
    await bot.called(request("claimed"))
    await bot.ask(request("waiting"))

    await bot.run(open_database)

    crashes = {claim.reload.model_id: claim.job.crashes for claim in await other.claim()}
    assert crashes == ({"claimed": 1, "waiting": 0} if bot.database.is_sqlite else {"waiting": 0})


async def test_a_start_makes_nothing_due_early(bot: Bot) -> None:
    """A follow-up that nobody has claimed stays due at its own time."""
    await bot.accepted(request())

    await bot.run(open_database)

    assert await bot.due_in(JobKind.NOTIFY) == READY_IN


# Migrations


def add_column(connection: Connection) -> None:
    """A change such as a later version may bring."""
    connection.execute(text("ALTER TABLE reload_model_reloads ADD COLUMN novelty TEXT"))


def fill_column(connection: Connection) -> None:
    """Another one, which needs the first."""
    connection.execute(text("UPDATE reload_model_reloads SET novelty = 'new'"))


async def test_an_earlier_version_is_brought_up_to_date(bot: Bot, url: str) -> None:
    """Each change is made once, in order, and the rows are kept."""
    await bot.ask(request("sdxl"))

    await bot.database.run(migrate, [add_column])
    assert outside(url, VERSION) == [(2,)]
    await bot.database.run(migrate, [add_column, fill_column])
    await bot.database.run(migrate, [add_column, fill_column])

    assert outside(url, VERSION) == [(3,)]
    assert outside(url, "SELECT model_id, novelty FROM reload_model_reloads") == [("sdxl", "new")]


async def test_a_new_database_needs_no_migration(database: Database, url: str) -> None:
    """Its tables are made as the last version has them."""

    def fail(_: Connection) -> None:
        raise AssertionError

    await database.run(migrate, [fail])

    assert outside(url, VERSION) == [(2,)]


async def test_a_migration_that_fails_leaves_the_database_as_it_was(bot: Bot, url: str) -> None:
    """The old program can go on with it."""

    def fail(connection: Connection) -> None:
        add_column(connection)
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await bot.database.run(migrate, [fail])

    assert outside(url, VERSION) == [(1,)]
    await bot.database.run(migrate, [add_column])


async def test_a_later_version_is_refused(bot: Bot) -> None:
    """Only the program that made it knows what is in it."""
    await bot.run(lambda connection: connection.execute(update(version).values(version=99)))

    with pytest.raises(CannotStart, match="has schema version 99, this program knows 1: run the newer program"):
        await bot.run(open_database)


@pytest.mark.parametrize("rows", [0, 2])
async def test_a_version_that_is_not_clear_is_refused(bot: Bot, rows: int) -> None:
    """Nobody can tell what to change."""
    await bot.run(lambda connection: connection.execute(delete(version)))
    for _ in range(rows):
        await bot.run(lambda connection: connection.execute(insert(version).values(version=1)))

    with pytest.raises(CannotStart, match=f"reload_model_schema should have one row and has {rows}"):
        await bot.run(open_database)


async def test_replicas_that_start_together_create_the_tables_once(stopped_postgres_url: str) -> None:
    """The others wait, and find them."""
    databases = [Database(stopped_postgres_url, Clock(), PATIENT) for _ in range(4)]
    for database in databases:
        await database.start()

    await asyncio.gather(*(database.run(open_database) for database in databases))

    assert outside(stopped_postgres_url, VERSION) == [(schema.VERSION,)]
    for database in databases:
        await database.stop()


# Rows


async def test_a_failure_that_only_a_later_version_knows_is_an_internal_one(bot: Bot) -> None:
    """A newer replica beside this one may have recorded it."""
    asked = await bot.ask(request())
    await bot.run(lambda connection: connection.execute(update(reloads).values(failure="novelty")))

    failure = (await bot.reload(asked.reload.id)).failure

    assert failure is not None
    assert failure.name == "INTERNAL"


async def test_time_on_postgresql_passes_within_a_transaction(postgres_url: str) -> None:
    """A transaction that waited for a lock does not take its beginning for now."""
    database = Database(postgres_url, Clock())
    await database.start()

    def look_twice(connection: Connection) -> tuple[float, float]:
        first = schema.now(connection)
        return first, schema.now(connection)

    first, second = await database.run(look_twice)

    assert second > first
    await database.stop()
