"""The bot behind PgBouncer as Debian ships it, which is what many managed databases give."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.postgres import Postgres
from tests.scenarios.scenario import READY, Scenario

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer on this machine")

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


@pytest.fixture(params=["transaction", "session"])
def pooler_url(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    """The URL of one before an empty database. It runs as the user of the server, since it won't run as root."""
    base, _, behind = postgres_url.partition("?host=")
    name, owner = base.rpartition("/")[2], Path(behind).stat().st_uid
    folder = Path(tempfile.mkdtemp(prefix="reload-model-pooler-"))
    os.chown(folder, owner, -1)
    config = folder / "pgbouncer.ini"
    config.write_text(CONFIG.format(name=name, behind=behind, folder=folder, mode=request.param))
    user = ["-u", pwd.getpwuid(owner).pw_name] if os.getuid() == 0 else []
    with subprocess.Popen([str(PGBOUNCER), "-q", *user, str(config)]) as process:  # noqa: S603
        deadline = time.monotonic() + 30.0
        while not (folder / ".s.PGSQL.6432").exists():
            assert process.poll() is None, "PgBouncer has ended"
            assert time.monotonic() < deadline, "PgBouncer doesn't listen"
            time.sleep(0.01)
        yield f"{base}?host={quote(str(folder), safe='')}&port=6432"
        process.kill()
    shutil.rmtree(folder)


@pytest.fixture
def scenario(pooler_url: str, scenario: Scenario) -> Scenario:
    """A scenario behind it. The database ends only after the bot has stopped."""
    scenario.env["DATABASE_URL"] = pooler_url
    return scenario


async def test_every_command_has_one_follow_up(bot: Scenario) -> None:
    """Every command is taken, and each has its one follow-up."""
    acks = [await bot.ask(f"model-{n}") for n in range(30)]
    await bot.slack.wait_until(lambda: len(set(bot.ready())) == 30, within=60.0)

    assert all(ack.text.startswith("Reloading") for ack in acks)
    assert len(bot.ready()) == 30
    assert bot.log.of("database_unavailable") == []


async def test_the_bot_recovers_from_a_failover_behind_it(bot: Scenario, postgres: Postgres, pooler_url: str) -> None:
    """PgBouncer keeps its connections to the old primary, which is read-only by then, and says that all is well."""
    name = pooler_url.partition("?")[0].rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres.terminate(pooler_url)
    await bot.wait_ready(503)
    refused = await bot.ask("refused")
    postgres.execute(f"ALTER DATABASE {name} RESET ALL")  # for connections that are made from now on
    await bot.wait_ready()
    taken = await bot.ask("taken")
    await bot.wait_said(READY, "`taken`")

    assert "I didn't start anything" in refused.text
    assert taken.text.startswith("Reloading")
