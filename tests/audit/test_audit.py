"""Who asked for what, and what came of it, as the operator reads it."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from bot.__main__ import main
from bot.errors import CannotStart, SettingsError
from bot.ops import audit
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
    """The database of a bot that runs meanwhile."""
    return Database(url, lambda: NOW)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock."""
    monkeypatch.setattr("time.time", lambda: NOW)


class Told:
    """A bot's database, and what the command tells of it."""

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
            "asked_at": NOW - ago,
            "said": "",
            "unknown": False,
            "undeliverable": False,
        }
        line = {
            "at": NOW - ago,
            "user_id": "U0ADA",
            "team_id": "T0HOME",
            "channel_id": "C0MODELS",
            "what": what,
            "outcome": outcome,
            "rule": "*",
            "reload_id": id_,
        }
        if reload:
            await self.database.run(lambda tx: tx.connection.execute(insert(schema.reload).values({**usual, **reload})))
        await self.database.run(lambda tx: tx.connection.execute(insert(schema.audit).values(line)))

    async def tell(self, form: str, since: float = 3600.0) -> str:
        """What is told of so many seconds."""
        out = io.StringIO()
        await asyncio.to_thread(audit.write, out, {"DATABASE_URL": self.url}, since=since, form=form)
        return out.getvalue()

    async def lines(self, since: float = 3600.0) -> list[Mapping[str, str]]:
        """The same, read."""
        return [json.loads(line) for line in (await self.tell("json", since)).splitlines()]


@pytest.fixture
async def told(database: Database, url: str) -> AsyncIterator[Told]:
    """A database with its tables, in use."""
    await database.start()
    await database.run(lambda tx: schema.migrate(tx.connection))
    yield Told(database, url)
    await database.stop()


async def test_a_table(told: Told) -> None:
    """For people: the first first, in columns, beside a running bot."""
    await told.add("flux", "not_allowed", ago=5.0)
    await told.add("sdxl", reload={"state": "done"})

    assert await told.tell("table") == (
        "at                   who    team    where     what  allowed  outcome      rule  reload  result\n"
        "2023-11-15 11:59:55  U0ADA  T0HOME  C0MODELS  flux  no       not_allowed  *\n"
        "2023-11-15 12:00:00  U0ADA  T0HOME  C0MODELS  sdxl  yes      requested    *     r1      should be ready\n"
    )


async def test_nothing_to_tell(told: Told) -> None:
    """Where nobody has asked, there are the names of the columns and nothing else."""
    assert (await told.tell("table")).split() == list(audit.COLUMNS)
    assert await told.tell("csv") == ",".join(audit.COLUMNS) + "\n"
    assert await told.tell("json") == ""


async def test_only_what_is_wanted(told: Told) -> None:
    """What is older than since is left out."""
    for ago in (90.0, 61.0, 59.0):
        await told.add(f"model-{ago:g}", ago=ago)

    assert [line["what"] for line in await told.lines(60.0)] == ["model-59"]


@pytest.mark.parametrize(
    ("reload", "result"),
    [
        ({}, ""),
        ({"state": "requested"}, "in flight"),
        ({"state": "accepted"}, "in flight"),
        ({"state": "telling"}, "should be ready"),
        ({"state": "done", "undeliverable": True}, "should be ready, could not be told"),
        ({"state": "telling", "failure": "credits"}, "failed: the ModelsLab account is out of credits"),
        ({"failure": "down", "unknown": True}, "failed: ModelsLab is having problems, but may be reloading"),
        ({"failure": "of_a_later_version"}, "failed: something broke inside this bot"),
    ],
)
async def test_results(told: Told, reload: dict[str, object], result: str) -> None:
    """How each reload ended, or that it has not."""
    await told.add("sdxl", reload=reload)

    assert [line["result"] for line in await told.lines()] == [result]


async def test_a_spreadsheet_calculates_nothing(told: Told) -> None:
    """What somebody typed is never a formula."""
    await told.add("=1+1,2", "not_a_command")

    (row,) = csv.DictReader(io.StringIO(await told.tell("csv")))
    assert (row["what"], row["outcome"]) == ("'=1+1,2", "not_a_command")


@pytest.mark.parametrize(
    ("version", "why"),
    [(1, "is of schema version 1, and no audit yet"), (99, "the database is of a newer program")],
)
async def test_a_database_of_another_version(told: Told, version: int, why: str) -> None:
    """It is said which, and left alone."""
    await told.database.run(lambda tx: tx.connection.execute(update(schema.version).values(version=version)))

    with pytest.raises(CannotStart, match=why):
        await told.tell("json")


async def test_a_database_without_a_version(told: Told) -> None:
    """Nobody can tell what its tables are."""
    await told.database.run(lambda tx: tx.connection.execute(delete(schema.version)))

    with pytest.raises(CannotStart, match="the table schema_version has 0 rows, and one is wanted"):
        await told.tell("json")


async def test_a_database_without_tables(database: Database, url: str) -> None:
    """A bot has never been started on it."""
    await database.start()
    await database.run(lambda tx: tx.now)

    with pytest.raises(CannotStart, match="has no tables"):
        await Told(database, url).tell("json")
    await database.stop()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is not made."""
    with pytest.raises(CannotStart, match="there is no file"):
        audit.write(io.StringIO(), {"DATABASE_URL": f"sqlite:///{tmp_path}/x.db"}, since=1.0, form="json")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """What SQLite says of it is told."""
    (tmp_path / "x.db").write_text("no database, but longer than what one begins with" * 9)

    with pytest.raises(CannotStart, match="cannot be read: file is not a database"):
        audit.write(io.StringIO(), {"DATABASE_URL": f"sqlite:///{tmp_path}/x.db"}, since=1.0, form="json")


def test_a_server_that_is_not_there() -> None:
    """What libpq says is told, without the password."""
    env = {"DATABASE_URL": "postgresql://bot:hunter2secret@/db?host=/nowhere/hunter2secret"}

    with pytest.raises(CannotStart, match="cannot be read") as raised:
        audit.write(io.StringIO(), env, since=1.0, form="json")
    assert "hunter2secret" not in str(raised.value)


def test_a_driver_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""

    def missing(_url: str) -> None:
        raise ImportError

    monkeypatch.setattr("bot.ops.audit.reading_engine", missing)

    with pytest.raises(CannotStart, match=r"install reload-model-bot\[postgres\]"):
        audit.write(io.StringIO(), {"DATABASE_URL": "postgresql://db/x"}, since=1.0, form="json")


# --- the command line -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "since", "form"),
    [
        ([], 604800.0, "table"),
        (["--since", "30m", "--json"], 1800.0, "json"),
        (["--since=12h", "--csv"], 43200.0, "csv"),
        (["--since=2w"], 1209600.0, "table"),
    ],
)
def test_the_options(arguments: list[str], since: float, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are handed on; the default is a week, as a table."""
    seen: list[object] = []
    monkeypatch.setattr("bot.ops.audit.write", lambda _out, _env, **options: seen.append(options))

    assert main(["audit", *arguments]) == 0
    assert seen == [{"since": since, "form": form}]


@pytest.mark.parametrize("arguments", [["--since", "7"], ["--since=-7d"], ["--since=d"], ["--json", "--csv"]])
def test_options_that_make_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """They end with 2, as everywhere."""
    with pytest.raises(SystemExit) as raised:
        main(["audit", *arguments])

    assert raised.value.code == 2
    assert "audit: error: argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env", "code", "told"),
    [
        ({"DATABASE_URL": "sqlite:///nowhere.db"}, 1, "reload-model-bot audit: DATABASE_URL: there is no file"),
        ({"DATABASE_URL": "mysql://x"}, 2, "DATABASE_URL names no database that is known"),
    ],
)
def test_what_cannot_be_read(
    env: dict[str, str], code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told on stderr, with an exit code; no other setting is needed."""
    monkeypatch.setattr("bot.settings.environment", lambda: env)

    assert main(["audit"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(told)


def test_other_settings_are_not_minded(tmp_path: Path) -> None:
    """Only the fault that is in the way is told."""
    with pytest.raises(SettingsError) as raised:
        audit.write(io.StringIO(), {"DATABASE_URL": f"{tmp_path}", "PORT": "x"}, since=1.0, form="json")
    assert len(raised.value.problems) == 1
