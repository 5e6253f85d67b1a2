"""The bot on a PostgreSQL that misbehaves."""

import io
import json
import signal
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from bot import settings
from bot.errors import CannotStart
from bot.ops import reading
from bot.sandbox.modelslab import error
from tests.faults.fleet import Wire
from tests.postgres import Postgres
from tests.scenarios.process import Machine
from tests.scenarios.scenario import FAILED, READY, Scenario
from tests.times import set_timing


@pytest.fixture
def scenario(postgres_url: str, scenario: Scenario) -> Scenario:
    """A scenario on PostgreSQL. Its database ends only after the bot has stopped."""
    scenario.env["DATABASE_URL"] = postgres_url
    return scenario


async def test_what_waiting_cannot_fix_ends_the_start(
    scenario: Scenario, postgres: Postgres, postgres_url: str
) -> None:
    """With the reason, the setting and the fix."""
    postgres.execute("DROP ROLE IF EXISTS limited; CREATE ROLE limited LOGIN")
    postgres.execute("REVOKE CREATE ON SCHEMA public FROM public; GRANT USAGE ON SCHEMA public TO public", postgres_url)
    for old, new, reason, fix in (
        ("/test_", "/nothing_", "does not exist", "create that database, or fix its name"),
        ("://postgres:", "://nobody:", 'role "nobody" does not exist', "fix the user and the password"),
        ("://postgres:", "://limited:", "permission denied for schema public", "create tables and write"),
        ("?", "?schema=public&", "invalid URI query parameter", "fix or remove that parameter"),
        ("?", "?options=-csearch_path%3Dnowhere&", "no schema has been selected", "create that schema"),
    ):
        with pytest.raises(CannotStart) as ended:
            await scenario.reopen(DATABASE_URL=postgres_url.replace(old, new))
        assert str(ended.value).startswith("DATABASE_URL: can't use PostgreSQL (")
        assert reason in str(ended.value)
        assert fix in str(ended.value)


async def test_a_reload_that_is_locked_holds_up_no_other(scenario: Scenario, postgres_url: str) -> None:
    """As if somebody were just joining it. Its own follow-up comes afterwards."""
    await scenario.open(RELOAD_SECONDS="3600")
    await scenario.ask("sdxl")
    await scenario.ask("flux")
    for model in ("sdxl", "flux"):
        await scenario.wait_said(f"is reloading `{model}`")
    with psycopg.connect(postgres_url) as joining, psycopg.connect(postgres_url) as other:
        joining.execute("SELECT id FROM reload_model_reloads WHERE model_id = 'sdxl' FOR UPDATE")
        other.execute("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'notify'")
        other.commit()
        await scenario.wait_said("`flux`", READY)
        assert scenario.ready() == ["flux"]

    await scenario.wait_said("`sdxl`", READY)


async def test_a_table_that_is_locked_makes_the_bot_unready(scenario: Scenario, postgres_url: str) -> None:
    """A request would be refused, as during a VACUUM FULL, whichever table it is."""
    await scenario.open()
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE reload_model_subscribers IN ACCESS EXCLUSIVE MODE")
        status, parts = await scenario.health("/readyz")
        assert (status, "canceling statement" in str(parts["database"])) == (503, True), parts
        other.rollback()
        assert (await scenario.health("/readyz"))[0] == 200


async def test_the_env_file_can_hold_what_libpq_reads(machine: Machine, tmp_path: Path, postgres_url: str) -> None:
    """Such as a password with any characters. Nothing in it wins over the environment."""
    url = urlsplit(postgres_url)
    (tmp_path / ".env").write_text(f"PGDATABASE='{url.path[1:]}' # why\nPGPASSWORD='p@:/#% \"'\nPGUSER=nobody\n")

    machine.measured = True
    bot = await machine.boot(DATABASE_URL=f"postgresql:///?{url.query}", PGUSER="postgres")

    assert await machine.end(bot, signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DROP TABLE reload_model_schema", "already exists"),
        ("DROP TABLE reload_model_people", "does not exist"),
        ("ALTER TABLE reload_model_schema ALTER version TYPE text", "the version of the tables is unknown"),
    ],
)
async def test_tables_that_are_not_the_bots_end_the_start(
    change: str, reason: str, scenario: Scenario, postgres: Postgres, postgres_url: str
) -> None:
    """Another program's, or what is left of the bot's own. Those with other names don't matter."""
    postgres.execute("CREATE TABLE audit (x int); CREATE TABLE schema_version (x int)", postgres_url)
    await scenario.open()
    await scenario.shut()
    postgres.execute(change, postgres_url)

    with pytest.raises(CannotStart, match=f"^DATABASE_URL: .*{reason}"):
        await scenario.open()


@pytest.mark.parametrize(("encoding", "kept"), [("SQL_ASCII", "sdxl ü😀"), ("LATIN1", r"sdxl \xfc\U0001f600")])
async def test_a_database_in_another_encoding_stores_what_it_can(
    encoding: str, kept: str, scenario: Scenario, postgres: Postgres, postgres_url: str
) -> None:
    """What it can't store is stored in other words: neither a command nor a failed reload hangs on it."""
    name = f"{encoding.lower()}_of_the_test"
    postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    postgres.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    scenario.modelslab.answer("sdxl", error(400, "模型 ü"))
    await scenario.open(DATABASE_URL=urlsplit(postgres_url)._replace(path=f"/{name}").geturl())
    await scenario.ask("sdxl ü😀")
    await scenario.ask("sdxl")
    await scenario.wait_said(FAILED)
    await scenario.shut()
    listed = io.StringIO()
    reading.write_audit(listed, settings.read(scenario.env)[0], since=3600.0, form="json")

    assert sorted(json.loads(line)["what"] for line in listed.getvalue().splitlines()) == ["sdxl", kept]


@pytest.mark.parametrize("silent", [False, True], ids=["cut", "silent"])
async def test_the_bot_recovers_from_a_database_that_goes_away(
    scenario: Scenario, postgres_url: str, tmp_path: Path, *, silent: bool
) -> None:
    """Commands are refused honestly, what was accepted is not lost, and all comes back by itself."""
    wire = Wire(postgres_url, tmp_path)
    await wire.heal()
    set_timing(postgres_silence=2.0)
    await scenario.open(DATABASE_URL=wire.url)
    before = await scenario.ask("before")
    await scenario.modelslab.wait_for_calls(1)
    if silent:
        wire.silence()
    else:
        await wire.cut()
    refused = await scenario.ask("refused")
    await scenario.wait_ready(503)
    if silent:
        wire.reroute()
    else:
        await wire.heal()
    await scenario.wait_said("`before`", READY)
    await scenario.wait_ready()
    after = await scenario.ask("after")
    await scenario.wait_said("`after`", READY)
    await scenario.shut()
    await wire.cut()

    assert [ack.text[:9] for ack in (before, after)] == ["Reloading"] * 2
    assert "I didn't start anything" in refused.text
    assert [call.model_id for call in scenario.modelslab.calls] == ["before", "after"]
    assert sorted(scenario.ready()) == ["after", "before"]
