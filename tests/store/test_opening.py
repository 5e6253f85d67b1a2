import asyncio
import time
from functools import partial

import pytest
from bot.storage.store import Store
from sqlalchemy import Connection, delete, insert, text, update

from bot.core.models import JobKind
from bot.errors import CannotStart
from bot.storage import schema
from bot.storage.database import Database, Transaction
from tests.store.world import Clock, World, ask, outside

_VERSION = "SELECT version FROM reload_model_schema"


async def test_created(database: Database, url: str) -> None:
    """In an empty database the tables are made, of this program's version."""
    await Store(database, "one").open()

    assert outside(url, _VERSION) == [(schema.VERSION,)]
    assert outside(url, "SELECT count(*) FROM reload") == [(0,)]


async def test_time(database: Database, clock: Clock) -> None:
    """Opening tells the time, by the clock that is the store's."""
    now = await Store(database, "one").open()

    assert now == pytest.approx(clock.now if database.sqlite else time.time(), abs=10.0)


async def test_opened_again(store: Store, world: World, url: str) -> None:
    """Opening what is there changes nothing of it."""
    await store.ask(ask())
    before = await world.everything()

    await store.open()

    assert await world.everything() == before
    assert outside(url, _VERSION) == [(schema.VERSION,)]


async def test_leases_at_start(world: World) -> None:
    """An SQLite file has one process, so at its start every lease is void; replicas keep theirs."""
    await world.called(ask("leased"))
    await world.store.ask(ask("waiting"))
    started = Store(world.database, "started")

    await started.open()

    claimed = {work.reload.model_id: work.step.crashes for work in await started.claim([JobKind.CALL], 10)}
    assert claimed == ({"leased": 1, "waiting": 0} if world.database.sqlite else {"waiting": 0})


async def test_follow_ups_are_not_early_at_start(world: World) -> None:
    """What is not in anybody's hands is due at its own time, whenever the program starts."""
    await world.accepted(ask(), seconds=120.0)

    await world.store.open()

    assert await world.store.next_due([JobKind.FOLLOW_UP]) == world.about(120.0)


async def test_later_version(store: Store, world: World) -> None:
    """A database that a later program has made is refused, and left alone."""
    await world.database.run(lambda tx: tx.connection.execute(update(schema.version).values(version=99)))

    with pytest.raises(CannotStart, match="has schema version 99, and this program knows 3: run the newer program"):
        await store.open()


@pytest.mark.parametrize("rows", [0, 2])
async def test_no_telling_version(store: Store, world: World, rows: int) -> None:
    """A database whose version cannot be told is refused, and left alone."""
    await world.database.run(lambda tx: tx.connection.execute(delete(schema.version)))
    for _ in range(rows):
        await world.database.run(lambda tx: tx.connection.execute(insert(schema.version).values(version=2)))

    with pytest.raises(CannotStart, match=f"DATABASE_URL: the table reload_model_schema has {rows} rows"):
        await store.open()


async def test_earlier_version(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of an earlier version is brought up to date, and keeps what is in it."""
    await store.ask(ask())

    def add_a_column(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE reload ADD COLUMN novelty TEXT"))

    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, add_a_column])
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)

    await store.open()
    await store.open()

    assert outside(url, _VERSION) == [(schema.VERSION,)]
    assert outside(url, "SELECT model_id, novelty FROM reload") == [("sdxl", None)]


_V1_ROWS = """
INSERT INTO reload (id, model_id, state, asked_at, said, unknown, undeliverable)
    VALUES ('r4x7k2', 'sdxl', 'requested', 1700000000, '', FALSE, FALSE);
INSERT INTO watcher (reload_id, trigger_id, user_id, channel_id, asked_at, response_url, response_uses)
    VALUES ('r4x7k2', 't', 'U0ADA', 'C0MODELS', 1700000000, '', 0);
INSERT INTO step (reload_id, kind, rank, channel_id, due_at, claims, attempts, crashes)
    VALUES ('r4x7k2', 'call', 2, '', 1700000000, 0, 0, 0)
"""


_AS_IN_VERSION_2 = """
DROP INDEX by_model;
DROP INDEX one_reminder;
ALTER TABLE step DROP COLUMN person_id;
UPDATE reload_model_schema SET version = 2
"""

_AS_IN_VERSION_1 = (*_AS_IN_VERSION_2.split(";"), "DROP TABLE audit", "UPDATE reload_model_schema SET version = 1")


async def _indexes(world: World) -> list[object]:
    """What indexes there are, and each with its condition, as the database tells."""
    told = (
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
        if world.database.sqlite
        else "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
    )
    return [*await world.database.run(lambda tx: tx.connection.execute(text(told)).scalars().all(), reads=True)]


async def test_version_1(world: World, url: str) -> None:
    """A database of version 1, which has no audit, gets one, and goes on with what was asked for."""
    made = await _indexes(world)
    for statement in (*_AS_IN_VERSION_1, *_V1_ROWS.split(";")):
        await world.database.run(partial(_execute, statement))
    assert len(await _indexes(world)) < len(made)

    await world.store.open()

    assert outside(url, _VERSION) == [(schema.VERSION,)]
    assert outside(url, "SELECT count(*) FROM audit") == [(0,)]
    assert (await world.claim_one(JobKind.CALL)).reload.id == "r4x7k2"
    assert (await world.store.ask(ask())).joined
    assert outside(url, "SELECT outcome FROM audit") == [("joined",)]
    assert await _indexes(world) == made


async def test_version_2(world: World, url: str) -> None:
    """A database of version 2, which knows no reminders, learns them, and goes on with what was asked for."""
    accepted = await world.accepted(ask())
    made = await _indexes(world)
    for statement in _AS_IN_VERSION_2.split(";"):
        await world.database.run(partial(_execute, statement))

    await world.store.open()
    await world.store.open()

    assert outside(url, _VERSION) == [(schema.VERSION,)]
    assert await world.kinds() == [(JobKind.FOLLOW_UP, "C0MODELS"), (JobKind.STATUS, "C0MODELS")]
    for _ in range(2):
        await world.store.remind("U0ADA", accepted.id, "C0MODELS")
    assert outside(url, "SELECT person_id FROM step WHERE kind = 'remind'") == [("U0ADA",)]
    assert await _indexes(world) == made


def _execute(statement: str, tx: Transaction) -> None:
    tx.connection.execute(text(statement))


async def test_migration_that_fails(store: Store, world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that fails leaves the database as it was."""

    def fail(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE reload ADD COLUMN novelty TEXT"))
        raise ValueError("on purpose")

    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, fail])
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)

    with pytest.raises(ValueError, match="on purpose"):
        await store.open()

    monkeypatch.undo()
    assert outside(url, _VERSION) == [(schema.VERSION,)]
    await store.ask(ask())
    assert (await world.count())[0] == 1


async def test_replicas_open_at_once(postgres_url: str) -> None:
    """Replicas that start together on an empty database make its tables once."""
    databases = [Database(postgres_url, Clock()) for _ in range(4)]
    for database in databases:
        await database.start()

    await asyncio.gather(*(Store(database, f"{number}").open() for number, database in enumerate(databases)))

    assert outside(postgres_url, _VERSION) == [(schema.VERSION,)]
    for database in databases:
        await database.stop()
