"""The bot as a process, on a PostgreSQL that isn't as one would wish."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bot.sandbox.modelslab import error
from tests.postgres import Postgres
from tests.scenarios.process import Machine
from tests.scenarios.scenario import ADA, FAILED, READY, Scenario, eventually_answered


@pytest.fixture
def mode() -> str:
    """The way in doesn't matter here."""
    return "socket"


@pytest.fixture
async def machine(scenario: Scenario, tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine on which nothing runs yet."""
    machine = Machine(scenario, tmp_path)
    yield machine
    await machine.check()


@pytest.mark.parametrize(
    ("old", "new", "reason", "fix"),
    [
        ("/test_", "/nothing_", "does not exist", "create that database, or fix its name"),
        ("://postgres:", "://nobody:", 'role "nobody" does not exist', "fix the user and the password"),
        ("://postgres:", "://limited:", "permission denied for schema public", "create tables and write"),
        ("?", "?schema=public&", "invalid URI query parameter", "fix or remove that parameter"),
        ("?", "?options=-csearch_path%3Dnowhere&", "no schema has been selected", "create that schema"),
    ],
)
async def test_what_waiting_cannot_fix_ends_the_start(
    old: str, new: str, reason: str, fix: str, machine: Machine, postgres: Postgres, postgres_url: str
) -> None:
    """With 1, and with the reason, the setting and the fix in the last line, which is critical."""
    postgres.execute("DROP ROLE IF EXISTS limited; CREATE ROLE limited LOGIN")
    postgres.execute("REVOKE CREATE ON SCHEMA public FROM public; GRANT USAGE ON SCHEMA public TO public", postgres_url)
    bot = machine.process(DATABASE_URL=postgres_url.replace(old, new))

    assert await bot.run() == 1
    first, last = map(json.loads, bot.stderr.splitlines())
    assert (first["event"], last["event"], last["level"]) == ("database_unavailable", "cannot_start", "critical")
    assert last["reason"].startswith("DATABASE_URL: can't use PostgreSQL (")
    assert reason in last["reason"]
    assert fix in last["reason"]


async def test_the_env_file_can_hold_what_libpq_reads(machine: Machine, tmp_path: Path, postgres_url: str) -> None:
    """Such as a password with any characters. Nothing in it wins over the environment."""
    url = urlsplit(postgres_url)
    (tmp_path / ".env").write_text(f"PGDATABASE='{url.path[1:]}' # why\nPGPASSWORD='p@:/#% \"'\nPGUSER=nobody\n")

    bot = await machine.boot(DATABASE_URL=f"postgresql:///?{url.query}", PGUSER="postgres")

    assert (await machine.end(bot, signal.SIGTERM))[0] == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DROP TABLE reload_model_schema", "already exists"),
        ("DROP TABLE reload_model_people", "does not exist"),
        ("ALTER TABLE reload_model_schema ALTER version TYPE text", "the version of the tables is unknown"),
    ],
)
async def test_tables_that_are_not_the_bots_end_the_start(
    change: str, reason: str, machine: Machine, postgres: Postgres, postgres_url: str
) -> None:
    """Another program's, or what is left of the bot's own. Those with other names don't matter."""
    postgres.execute("CREATE TABLE audit (x int); CREATE TABLE schema_version (x int)", postgres_url)
    await (await machine.boot(DATABASE_URL=postgres_url)).kill()
    postgres.execute(change, postgres_url)
    bot = machine.process(DATABASE_URL=postgres_url)

    assert await bot.run() == 1
    (last,) = bot.of("cannot_start")
    assert str(last["reason"]).startswith("DATABASE_URL: ")
    assert reason in str(last["reason"])


@pytest.mark.parametrize(("encoding", "kept"), [("SQL_ASCII", "sdxl ü😀"), ("LATIN1", r"sdxl \xfc\U0001f600")])
async def test_a_database_in_another_encoding(
    encoding: str, kept: str, scenario: Scenario, machine: Machine, postgres: Postgres, postgres_url: str
) -> None:
    """What it can't store is stored in other words: neither a command nor a failed reload hangs on it."""
    name = f"{encoding.lower()}_of_the_test"
    postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    postgres.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    scenario.modelslab.answer("sdxl", error(400, "模型 ü"))
    await machine.boot(DATABASE_URL=url)
    await scenario.ask("sdxl ü😀")
    await scenario.ask("sdxl")
    await scenario.wait_said(FAILED)
    audit = machine.process("audit", "--json", DATABASE_URL=url)
    await audit.run()

    assert sorted(json.loads(line)["what"] for line in audit.stdout.splitlines()) == ["sdxl", kept]


async def test_readiness_on_a_server_that_takes_no_writes(
    scenario: Scenario, machine: Machine, postgres: Postgres, postgres_url: str
) -> None:
    """As after a failover, while the address still leads to the old primary. Then everything is carried out."""
    bot = await machine.boot(DATABASE_URL=postgres_url)
    port = int(str(bot.of("ready")[0]["port"]))
    name = urlsplit(postgres_url).path[1:]

    async def readiness() -> int:
        return (await scenario.health("/readyz", port=port))[0]

    async def unready() -> bool:
        return await readiness() == 503

    async def ready() -> bool:
        return await readiness() == 200

    assert await ready()
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres.terminate(postgres_url)
    await eventually_answered(unready)
    refused = await scenario.ask("sdxl", ADA)
    postgres.execute(f"ALTER DATABASE {name} RESET ALL")
    await eventually_answered(ready)
    await scenario.ask("sdxl", ADA)
    await scenario.wait_said(READY)

    assert refused.text == "My database isn't responding, so I didn't start anything. Try again in a minute."
    assert len(bot.of("database_unavailable")) == 1


@pytest.mark.parametrize("command", ["run", "check", "audit"])
async def test_no_piece_of_a_password_is_ever_printed(command: str, machine: Machine) -> None:
    """Not even where a special character in it makes a part of it look like a host."""
    process = machine.process(
        command,
        DATABASE_URL="postgresql://bot:hunter/2@dragon:secret#3@db.example.com/x",
        HTTPS_PROXY="http://bot:12/hunter@proxy.example.com:3128",
    )
    code = await process.run()

    printed = process.stdout + process.stderr
    assert code == (1 if command == "check" else 2)
    assert "DATABASE_URL" in printed
    assert "percent-encode special characters" in printed
    assert not [piece for piece in ("hunter", "dragon", "secret#3", "bot:12") if piece in printed]
