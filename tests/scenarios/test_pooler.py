"""The bot on PostgreSQL, directly, and behind PgBouncer as Debian ships it, which many managed databases give."""

import asyncio
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.postgres import Postgres
from tests.scenarios.scenario import Scenario, eventually

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

installed = pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer on this machine")

CONFIG = """
[databases]
{name} = host={behind} user=postgres
[pgbouncer]
unix_socket_dir = {folder}
listen_port = 6432
auth_type = any
pool_mode = {mode}
server_login_retry = 1
"""


@pytest.fixture(
    params=["direct", pytest.param("transaction", marks=installed), pytest.param("session", marks=installed)]
)
async def address(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[str]:
    """The URL of an empty database. PgBouncer runs as the user of the server, since it won't run as root."""
    if request.param == "direct":
        yield postgres_url
        return
    base, _, behind = postgres_url.partition("?host=")
    name, owner = base.rpartition("/")[2], Path(behind).stat().st_uid  # noqa: ASYNC240 - takes no time
    folder = Path(tempfile.mkdtemp(prefix="reload-model-pooler-"))
    os.chown(folder, owner, -1)
    config = folder / "pgbouncer.ini"
    config.write_text(CONFIG.format(name=name, behind=behind, folder=folder, mode=request.param))
    user = ["-u", pwd.getpwuid(owner).pw_name] if os.getuid() == 0 else []
    pgbouncer = await asyncio.create_subprocess_exec(str(PGBOUNCER), "-q", *user, str(config))
    await eventually((folder / ".s.PGSQL.6432").exists)
    yield f"{base}?host={quote(str(folder), safe='')}&port=6432"
    pgbouncer.kill()
    await pgbouncer.wait()
    shutil.rmtree(folder)


@pytest.fixture
def scenario(address: str, scenario: Scenario) -> Scenario:
    """A scenario on this database, which ends only after the bot has stopped."""
    scenario.env["DATABASE_URL"] = address
    return scenario


async def test_the_bot_recovers_from_a_failover(bot: Scenario, postgres: Postgres, address: str) -> None:
    """Its address still leads to the old primary, which is read-only by then, and PgBouncer says that all is well.

    Afterwards it takes every command, and each has its one follow-up.
    """
    name = address.partition("?")[0].rpartition("/")[2]
    await bot.wait_ready()
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres.terminate(address)
    await bot.wait_ready(503)
    refused = await bot.ask("refused")
    postgres.execute(f"ALTER DATABASE {name} RESET ALL")  # for connections that are made from now on
    await bot.wait_ready()
    acks = [await bot.ask(f"model-{n}") for n in range(30)]
    await bot.slack.wait_until(lambda: len(set(bot.ready())) == 30, within=60.0)

    assert refused.text == "My database isn't responding, so I didn't start anything. Try again in a minute."
    assert all(ack.text.startswith("Reloading") for ack in acks)
    assert len(bot.ready()) == 30
    assert len(bot.log.of("database_unavailable")) == 1
