"""The audit says who asked for what, and what came of it."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from itertools import count
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import insert

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
        if reload:
            values = {"id": id_, "model_id": what, "state": "done", "requested_at": NOW, **reload}
            await self.database.run(lambda tx: tx.execute(insert(schema.reloads).values(values)))
        line = {"at": NOW - ago, "user_id": "U0ADA", "team_id": "T0HOME", "channel_id": "C0MODELS"}
        line |= {"text": what, "outcome": outcome, "rule": "*", "reload_id": id_}
        await self.database.run(lambda tx: tx.execute(insert(schema.audit).values(line)))

    async def tell(self, form: str, since: float = 3600.0) -> str:
        """What is printed for so many seconds."""
        out = io.StringIO()
        await asyncio.to_thread(audit.write, out, settings_of(self.url), since=since, form=form)
        return out.getvalue()


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


async def test_an_empty_audit_has_the_names_of_the_columns(told: Told) -> None:
    """And nothing else. What is older than what was asked for is left out."""
    await told.add("sdxl", ago=61.0)

    assert (await told.tell("table", 60.0)).split() == list(audit.COLUMNS)
    assert await told.tell("csv", 60.0) == ",".join(audit.COLUMNS) + "\n"
    assert await told.tell("json", 60.0) == ""


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
async def test_a_line_says_how_the_reload_ended(told: Told, reload: dict[str, object], result: str) -> None:
    """Or that it has not."""
    await told.add("sdxl", reload=reload)

    assert json.loads(await told.tell("json"))["result"] == result


async def test_json_has_booleans_and_times_with_a_zone(told: Told) -> None:
    """For programs: one object per line, in ASCII, so that it is JSON on every terminal."""
    await told.add("😀", "not_allowed", ago=5.5)
    await told.add("sdxl", reload={"state": "done"})
    text = await told.tell("json")
    first, second = map(json.loads, text.splitlines())

    assert text.isascii()
    assert first == {
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
    }
    assert (second["allowed"], second["reload"], second["result"]) == (True, "r1", "should be ready")


async def test_a_spreadsheet_calculates_nothing(told: Told) -> None:
    """What somebody typed is never a formula."""
    await told.add("=1+1,2", "not_a_command")

    (row,) = csv.DictReader(io.StringIO(await told.tell("csv")))
    assert (row["what"], row["outcome"]) == ("'=1+1,2", "not_a_command")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE reload_model_schema SET version = 99", "belongs to a newer version"),
        ("DELETE FROM reload_model_schema", "the table reload_model_schema should have one row, a number, and has 0"),
        ("DROP TABLE reload_model_schema", "has no tables"),
    ],
)
async def test_a_database_of_another_version_is_left_alone(told: Told, change: str, why: str) -> None:
    """The reason says which."""
    await told.database.run(lambda tx: tx.exec_driver_sql(change))

    with pytest.raises(CannotStart, match=why):
        await told.tell("json")


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    """One that isn't there isn't created. For another, SQLite's reason is printed."""
    settings = settings_of(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(CannotStart, match="there is no file"):
        audit.write(io.StringIO(), settings, since=1.0, form="json")
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "x.db").write_text("no database, but longer than what one begins with" * 9)
    with pytest.raises(CannotStart, match="can't be read: file is not a database"):
        audit.write(io.StringIO(), settings, since=1.0, form="json")


def test_a_server_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq's reason is printed, without the password. Where the driver is missing, the extra is named."""
    settings = settings_of("postgresql://bot:hunter2secret@/db?host=/nowhere/hunter2secret")

    with pytest.raises(CannotStart, match="can't be read") as raised:
        audit.write(io.StringIO(), settings, since=1.0, form="json")
    assert "hunter2secret" not in str(raised.value)

    monkeypatch.setattr("bot.ops.audit.reading_engine", Mock(side_effect=ImportError))
    with pytest.raises(CannotStart, match=r"install reload-model-bot\[postgres\]"):
        audit.write(io.StringIO(), settings, since=1.0, form="json")
