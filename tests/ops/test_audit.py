"""The audit says who asked for what, and what came of it."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from bot.errors import CannotStart
from bot.ops import audit
from bot.settings import Settings, read
from bot.storage import schema
from bot.storage.database import Database

NOW = 1_700_049_600.0
"""2023-11-15 12:00:00 UTC, and what the clock of the tests says."""


@pytest.fixture(params=["sqlite", "postgres_url"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/x.db"
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def database(url: str) -> Database:
    """The database of a running bot."""
    return Database(url, lambda: NOW)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock."""
    monkeypatch.setattr("time.time", lambda: NOW)


def settings_of(url: str) -> Settings:
    """Settings with this database. The others don't matter."""
    return read({"DATABASE_URL": url})[0]


class Told:
    """A bot's database, and what the command says about it."""

    def __init__(self, database: Database, url: str) -> None:
        self.database, self.url = database, url
        self._ids = count(1)

    async def add(
        self, what: str, outcome: str = "requested", ago: float = 0.0, *, reload: Mapping[str, object] | None = None
    ) -> None:
        """Add a line, and with any values of it its reload."""
        id_ = f"r{next(self._ids)}" if reload else None
        usual = {
            "id": id_,
            "model_id": what,
            "state": "done",
            "requested_at": NOW - ago,
            "said": "",
            "outcome_unknown": False,
            "undeliverable": False,
        }
        line = {
            "at": NOW - ago,
            "user_id": "U0ADA",
            "team_id": "T0HOME",
            "channel_id": "C0MODELS",
            "text": what,
            "outcome": outcome,
            "rule": "*",
            "reload_id": id_,
        }
        if reload:
            await self.database.run(lambda tx: tx.execute(insert(schema.reloads).values({**usual, **reload})))
        await self.database.run(lambda tx: tx.execute(insert(schema.audit).values(line)))

    async def tell(self, form: str, since: float = 3600.0) -> str:
        """What is printed for so many seconds."""
        out = io.StringIO()
        await asyncio.to_thread(audit.write, out, settings_of(self.url), since=since, form=form)
        return out.getvalue()

    async def lines(self, since: float = 3600.0) -> list[Mapping[str, object]]:
        """The same, read."""
        return [json.loads(line) for line in (await self.tell("json", since)).splitlines()]


@pytest.fixture
async def told(database: Database, url: str) -> AsyncIterator[Told]:
    """A database with its tables, in use."""
    await database.start()
    await database.run(schema.migrate)
    yield Told(database, url)
    await database.stop()


async def test_a_table(told: Told) -> None:
    """For people: oldest first, in columns, beside a running bot."""
    await told.add("flux", "not_allowed", ago=5.0)
    await told.add("sdxl", reload={"state": "done"})

    assert await told.tell("table") == (
        "at                   who    team    where     what  allowed  outcome      rule  reload  result\n"
        "2023-11-15 11:59:55  U0ADA  T0HOME  C0MODELS  flux  no       not_allowed  *\n"
        "2023-11-15 12:00:00  U0ADA  T0HOME  C0MODELS  sdxl  yes      requested    *     r1      should be ready\n"
    )


async def test_an_empty_audit(told: Told) -> None:
    """Where nobody has asked for anything, there are the names of the columns and nothing else."""
    assert (await told.tell("table")).split() == list(audit.COLUMNS)
    assert await told.tell("csv") == ",".join(audit.COLUMNS) + "\n"
    assert await told.tell("json") == ""


async def test_only_the_time_asked_for(told: Told) -> None:
    """What is older is left out."""
    for ago in (90.0, 61.0, 59.0):
        await told.add(f"model-{ago:g}", ago=ago)

    assert [line["what"] for line in await told.lines(60.0)] == ["model-59"]


@pytest.mark.parametrize(
    ("reload", "result"),
    [
        ({}, ""),
        ({"state": "requested"}, "in flight"),
        ({"state": "accepted"}, "in flight"),
        ({"state": "notifying"}, "should be ready"),
        ({"state": "done", "undeliverable": True}, "should be ready, couldn't notify everyone"),
        ({"state": "notifying", "failure": "credits"}, "failed: the ModelsLab account is out of credits"),
        ({"failure": "down", "outcome_unknown": True}, "failed: ModelsLab is having problems, but may be reloading"),
        ({"failure": "of_a_later_version"}, "failed: something broke inside this bot"),
    ],
)
async def test_results(told: Told, reload: dict[str, object], result: str) -> None:
    """How each reload ended, or that it has not."""
    await told.add("sdxl", reload=reload)

    assert [line["result"] for line in await told.lines()] == [result]


async def test_json_has_booleans_and_times_with_a_zone(told: Told) -> None:
    """For programs: one object per line, in ASCII, so that it is JSON on every terminal."""
    await told.add("😀", "not_allowed", ago=5.5)
    await told.add("sdxl", reload={"state": "done"})
    text = await told.tell("json")

    assert text.isascii()
    assert [json.loads(line) for line in text.splitlines()] == [
        {
            "at": "2023-11-15T11:59:54Z",
            "who": "U0ADA",
            "team": "T0HOME",
            "where": "C0MODELS",
            "what": "😀",
            "allowed": False,
            "outcome": "not_allowed",
            "rule": "*",
            "reload": "",
            "result": "",
        },
        {
            "at": "2023-11-15T12:00:00Z",
            "who": "U0ADA",
            "team": "T0HOME",
            "where": "C0MODELS",
            "what": "sdxl",
            "allowed": True,
            "outcome": "requested",
            "rule": "*",
            "reload": "r1",
            "result": "should be ready",
        },
    ]


async def test_a_spreadsheet_calculates_nothing(told: Told) -> None:
    """What somebody typed is never a formula."""
    await told.add("=1+1,2", "not_a_command")

    (row,) = csv.DictReader(io.StringIO(await told.tell("csv")))
    assert (row["what"], row["outcome"]) == ("'=1+1,2", "not_a_command")


@pytest.mark.parametrize(
    ("version", "why"),
    [(99, "belongs to a newer version")],
)
async def test_a_database_of_another_version(told: Told, version: int, why: str) -> None:
    """The reason says which, and the database is left alone."""
    await told.database.run(lambda tx: tx.execute(update(schema.version).values(version=version)))

    with pytest.raises(CannotStart, match=why):
        await told.tell("json")


async def test_a_database_without_a_version(told: Told) -> None:
    """It can't be told what its tables are."""
    await told.database.run(lambda tx: tx.execute(delete(schema.version)))

    with pytest.raises(CannotStart, match="the table reload_model_schema should have one row and has 0"):
        await told.tell("json")


async def test_a_database_without_tables(database: Database, url: str) -> None:
    """A bot has never been started on it."""
    await database.start()
    await database.run(lambda _: None)

    with pytest.raises(CannotStart, match="has no tables"):
        await Told(database, url).tell("json")
    await database.stop()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It isn't created."""
    with pytest.raises(CannotStart, match="there is no file"):
        audit.write(io.StringIO(), settings_of(f"sqlite:///{tmp_path}/x.db"), since=1.0, form="json")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """SQLite's reason is printed."""
    (tmp_path / "x.db").write_text("no database, but longer than what one begins with" * 9)

    with pytest.raises(CannotStart, match="can't be read: file is not a database"):
        audit.write(io.StringIO(), settings_of(f"sqlite:///{tmp_path}/x.db"), since=1.0, form="json")


def test_a_server_that_is_not_there() -> None:
    """libpq's reason is printed, without the password."""
    settings = settings_of("postgresql://bot:hunter2secret@/db?host=/nowhere/hunter2secret")

    with pytest.raises(CannotStart, match="can't be read") as raised:
        audit.write(io.StringIO(), settings, since=1.0, form="json")
    assert "hunter2secret" not in str(raised.value)


def test_a_driver_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""

    def missing(_url: str) -> None:
        raise ImportError

    monkeypatch.setattr("bot.ops.audit.reading_engine", missing)

    with pytest.raises(CannotStart, match=r"install reload-model-bot\[postgres\]"):
        audit.write(io.StringIO(), settings_of("postgresql://db/x"), since=1.0, form="json")
