"""The audit says who asked for what, and what came of it. The access that admins gave is listed as well."""

import asyncio
import csv
import io
import json
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from bot.errors import CannotStart
from bot.ops import reading
from bot.settings import Settings, read
from bot.storage import schema
from bot.storage.database import Database
from tests.samples import NOON
from tests.times import set_timing


def settings_of(url: str) -> Settings:
    """Settings with this database. The others don't matter."""
    return read({"DATABASE_URL": url})[0]


class Audit:
    """A bot's database, and what the command says about it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add(
        self, what: str, outcome: str = "requested", ago: float = 0.0, *, reload: Mapping[str, object] | None = None
    ) -> None:
        """Add a line, and with any values of it its reload, whose ID is what was asked for."""
        id_ = what if reload else None
        if reload:
            values = {"id": id_, "model_id": what, "state": "done", "requested_at": NOON, **reload}
            await self.database.run(lambda tx: tx.execute(insert(schema.reloads).values(values)))
        line = {"at": NOON - ago, "user_id": "U0ADA", "team_id": "T0HOME", "channel_id": "C0MODELS"}
        line |= {"text": what, "outcome": outcome, "rule": "*", "reload_id": id_}
        await self.database.run(lambda tx: tx.execute(insert(schema.audit).values(line)))

    async def written(self, form: str) -> str:
        """What is printed for the last hour."""
        out = io.StringIO()
        await asyncio.to_thread(reading.write_audit, out, settings_of(self.database.url), since=3600.0, form=form)
        return out.getvalue()


@pytest.fixture(params=["sqlite", "postgres_url"])
async def lines(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Audit]:
    """A database of either kind with its tables, in use by a bot, at noon."""
    monkeypatch.setattr("time.time", lambda: NOON)
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/x.db" if is_sqlite else str(request.getfixturevalue(request.param))
    database = Database(url, lambda: NOON)
    await database.start()
    await database.run(schema.migrate)
    yield Audit(database)
    await database.stop()


async def test_a_table(lines: Audit) -> None:
    """For people: oldest first, beside a running bot. What is older than the time given is left out."""
    assert (await lines.written("table")).split() == list(reading.COLUMNS)
    await lines.add("old", ago=3601.0)
    await lines.add("flux", "not_allowed", ago=5.0)
    await lines.add("sdxl", reload={"state": "done"})

    assert await lines.written("table") == (
        "at                   who    team    where     what  allowed  outcome      rule  reload  result\n"
        "2023-11-15 11:59:55  U0ADA  T0HOME  C0MODELS  flux  no       not_allowed  *\n"
        "2023-11-15 12:00:00  U0ADA  T0HOME  C0MODELS  sdxl  yes      requested    *     sdxl    should be ready\n"
    )


RESULTS: list[tuple[dict[str, object], str]] = [
    ({"state": "requested"}, "in flight"),
    ({"state": "accepted"}, "in flight"),
    ({"state": "notifying"}, "should be ready"),
    ({"state": "done", "undeliverable": True}, "should be ready, couldn't notify everyone"),
    ({"state": "notifying", "failure": "credits"}, "failed: the ModelsLab account is out of credits"),
    ({"failure": "down", "outcome_unknown": True}, "failed: ModelsLab is having problems, but may be reloading"),
    ({"failure": "of_a_later_version"}, "failed: something broke inside this bot"),
]


async def test_json(lines: Audit) -> None:
    """For programs: an object per line with booleans and times with a zone, in ASCII, which every terminal can show."""
    assert await lines.written("json") == ""
    await lines.add("😀", "not_allowed", ago=5.5)
    for number, (reload, _) in enumerate(RESULTS):
        await lines.add(f"model-{number}", reload=reload)
    text = await lines.written("json")
    first, *others = map(json.loads, text.splitlines())

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
    assert [(line["allowed"], line["result"]) for line in others] == [(True, result) for _, result in RESULTS]


async def test_a_spreadsheet_calculates_nothing(lines: Audit) -> None:
    """What somebody typed is never a formula."""
    await lines.add("=1+1,2", "not_a_command")

    (row,) = csv.DictReader(io.StringIO(await lines.written("csv")))
    assert list(row) == list(reading.COLUMNS)
    assert (row["what"], row["outcome"]) == ("'=1+1,2", "not_a_command")


async def test_the_access_that_admins_gave_is_listed(lines: Audit) -> None:
    """The last first, as a table for people, and as JSON for programs."""
    given = [
        {"user_id": who, "granted_by": "U0BOSS", "granted_at": at}
        for who, at in (("U0EVE", NOON), ("U0FAY", NOON + 60))
    ]
    await lines.database.run(lambda tx: tx.execute(insert(schema.grants).values(given)))
    table, in_json = io.StringIO(), io.StringIO()
    for form, out in (("table", table), ("json", in_json)):
        await asyncio.to_thread(reading.write_access, out, settings_of(lines.database.url), form=form)

    assert table.getvalue() == (
        "who    by      at\nU0FAY  U0BOSS  2023-11-15 12:01:00\nU0EVE  U0BOSS  2023-11-15 12:00:00\n"
    )
    first, _ = map(json.loads, in_json.getvalue().splitlines())
    assert first == {"who": "U0FAY", "by": "U0BOSS", "at": "2023-11-15T12:01:00Z"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE reload_model_schema SET version = 99", "made by a newer version"),
        ("DELETE FROM reload_model_schema", "the table reload_model_schema should have one row, a number, and has 0"),
        ("DROP TABLE reload_model_schema", "has no tables"),
    ],
)
async def test_a_database_of_another_version_is_not_read(lines: Audit, change: str, why: str) -> None:
    """The reason says why."""
    await lines.database.run(lambda tx: tx.exec_driver_sql(change))

    with pytest.raises(CannotStart, match=why):
        await lines.written("json")


@pytest.mark.parametrize("lines", ["postgres_url"], indirect=True)
async def test_a_table_that_is_locked_is_not_waited_for(lines: Audit) -> None:
    """Nor is a server that has gone silent. What is printed is one line with the reason."""

    def read_while_it_is_locked(connection: Connection) -> list[str]:
        connection.exec_driver_sql("LOCK TABLE reload_model_audit")
        set_timing(postgres_lock=0.2)
        locked = why_not(lines.database.url)
        set_timing(postgres_lock=60.0, postgres_silence=0.5)
        return [locked, why_not(lines.database.url)]

    locked, silent = await lines.database.run(read_while_it_is_locked)
    assert ("lock timeout" in locked, "timeout expired" in silent, "\n" in locked + silent) == (True, True, False)


def why_not(url: str) -> str:
    """Why a database can't be read."""
    with pytest.raises(CannotStart) as raised:
        reading.write_audit(io.StringIO(), settings_of(url), since=1.0, form="json")
    return str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """One that isn't there isn't created. For another, SQLite's reason is printed."""
    assert "there is no file" in why_not(f"sqlite:///{tmp_path}/x.db")
    assert list(tmp_path.iterdir()) == []
    assert "(File name too long)" in why_not(f"sqlite:///{tmp_path}/{'x' * 300}.db")
    (tmp_path / "x.db").write_text("no database, but longer than what one begins with" * 9)
    assert "can't be read: file is not a database" in why_not(f"sqlite:///{tmp_path}/x.db")


def test_a_server_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq's reason is printed, without the password. If the driver is missing, the extra is named."""
    url = "postgresql://bot:hunter2secret@/db?host=/nowhere/hunter2secret"
    reason = why_not(url)
    assert "can't be read" in reason
    assert "hunter2secret" not in reason

    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "install reload-model-bot[postgres]" in why_not(url)
