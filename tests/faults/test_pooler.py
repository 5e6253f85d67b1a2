"""Two replicas behind PgBouncer as Debian ships it, which is what many managed databases give."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.faults.fleet import Fleet, fleet
from tests.postgres import Postgres

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


async def replicas(bots: Fleet) -> None:
    """Start two."""
    await bots.launch("one")
    await bots.launch("two")


async def test_a_load_on_two_replicas(pooler_url: str, tmp_path: Path) -> None:
    """Every command is taken, and each has its one follow-up."""
    async with fleet(tmp_path, pooler_url, 60) as bots:
        await replicas(bots)
        acks = [await bots.command(n) for n in range(60)]
        await bots.slack.wait_until(lambda: len(set(bots.notified())) == 60, within=60)

        assert all(ack.text.startswith("Reloading") for ack in acks)
        assert Counter(bots.notified()).most_common(1)[0][1] == 1
        assert not [line for bot in bots.replicas.values() for line in bot.of("database_unavailable")]


async def test_a_failover_behind_it(pooler_url: str, postgres: Postgres, tmp_path: Path) -> None:
    """PgBouncer keeps its connections to the old primary, which is read-only by then, and says that all is well."""
    name = pooler_url.partition("?")[0].rpartition("/")[2]
    async with fleet(tmp_path, pooler_url, 100) as bots:
        await replicas(bots)
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        postgres.terminate(pooler_url)
        await bots.wait_readiness("one", lambda status: status == 503)
        refused = await bots.command(0)
        postgres.execute(f"ALTER DATABASE {name} RESET ALL")  # for connections that are made from now on
        await bots.wait_readiness("one", lambda status: status == 200)
        await bots.wait_readiness("two", lambda status: status == 200)
        taken = [await bots.command(n) for n in range(1, 10)]
        await bots.slack.wait_until(lambda: len(set(bots.notified())) == 9, within=60)

        assert "I didn't start anything" in refused.text
        assert all(ack.text.startswith("Reloading") for ack in taken)
