"""Checks the database: whether it can be reached and written, and whether its tables fit this program.

Nothing stays changed: writes are rolled back, and a file that a running bot uses is only read.
"""

import asyncio
import fcntl
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from bot.errors import CannotStart, DatabaseUnavailable
from bot.ops.doctor.results import CheckResult, clock, ok, problem, unknown
from bot.storage import schema
from bot.storage.database import Database, now
from bot.storage.engines import sqlite
from bot.storage.engines.faults import fix_for
from bot.storage.engines.sqlite import lock_of, sqlite_file

DATABASE, SCHEMA = "database", "schema"

ANSWER_SECONDS = 6.0
BUSY_SECONDS = 1.0

_ROOM = b"\0" * 65536
_NOT_CHECKED = unknown(SCHEMA)
_NOT_THERE = "fix DATABASE_URL, or check that the server is running and accepts connections from here"
_STANDBY = "set DATABASE_URL to the primary server, not a standby"


async def check(url: str) -> Sequence[CheckResult]:
    """Check the database of a URL."""
    if url.startswith("sqlite:"):
        return await asyncio.to_thread(_check_file, sqlite_file(url))
    return await _check_postgres(url)


def _check_file(path: Path) -> Sequence[CheckResult]:
    try:
        if not path.exists():
            _write_beside(path)
            return [ok(DATABASE, f"{path} doesn't exist yet and can be created")]
        with _locked(path) as ours:
            return _look_into(path, write=ours)
    except OSError as error:
        fix = "make room on the disk"
        if error.errno not in sqlite.DISK_FULL:
            fix = f"make the folder and the file writable for uid {os.getuid()}, on a local disk (no network drive)"
        return [
            problem(DATABASE, f"can't write and lock files in {path.absolute().parent} ({error.strerror})", fix),
            _NOT_CHECKED,
        ]
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error))
        if "locked" in reason:
            return [unknown(DATABASE, f"another program is writing to {path}"), _NOT_CHECKED]
        fix = sqlite.fix_for(path, reason) or "make room on the disk, or replace it if it is faulty"
        return [problem(DATABASE, f"can't use {path}: {reason}", fix), _NOT_CHECKED]


def _write_beside(path: Path) -> None:
    """Write and lock a file as the bot does. Raises OSError."""
    with tempfile.TemporaryFile(dir=lock_of(path).parent) as file:
        file.write(_ROOM)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether no bot uses the file. A bot that starts meanwhile waits, as it does for another process."""
    lock = lock_of(path)
    if not lock.exists():
        yield True
        return
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = True
        except BlockingIOError:
            ours = False
        yield ours


def _look_into(path: Path, *, write: bool) -> Sequence[CheckResult]:
    if write:
        _write_beside(path)
    address = f"{path.absolute().as_uri()}?mode={'rw' if write else 'ro'}"
    connect = partial(sqlite3.connect, address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
        tables = _check_schema(connection, write=write)
        connection.exec_driver_sql("ROLLBACK")
    return [ok(DATABASE, f"{path} is writable" if write else f"{path} is in use by a running bot"), tables]


async def _check_postgres(url: str) -> Sequence[CheckResult]:
    try:
        database = Database(url)
    except CannotStart as error:
        return [problem(DATABASE, error.what, error.fix), _NOT_CHECKED]
    await database.start()
    try:
        return await database.run(_rehearse, within=ANSWER_SECONDS)
    except DatabaseUnavailable as error:
        fix = fix_for(error) or (_STANDBY if "read-only" in str(error) else _NOT_THERE)
        return [problem(DATABASE, f"can't use PostgreSQL: {error}", fix), _NOT_CHECKED]
    finally:
        await database.stop()


def _rehearse(connection: Connection) -> Sequence[CheckResult]:
    """Compare clocks, and write as the bot would, inside a transaction, up to a savepoint."""
    ahead = time.time() - now(connection)
    with connection.begin_nested() as savepoint:
        tables = _check_schema(connection, write=True)
        savepoint.rollback()
    version = ".".join(map(str, connection.dialect.server_version_info or ()))
    return [ok(DATABASE, f"PostgreSQL {version} answers"), tables, clock("clock vs database", ahead)]


def _check_schema(connection: Connection, *, write: bool) -> CheckResult:
    """Which tables there are, and with write whether they can be created or written. The caller rolls back."""
    try:
        found = schema.version_of(connection)
        if 0 < found < schema.VERSION:
            return ok(SCHEMA, f"version {found}; the bot updates it to {schema.VERSION} when it starts")
        if write:
            schema.migrate(connection)
    except CannotStart as error:
        return problem(SCHEMA, error.what, error.fix)
    if not found:
        return ok(SCHEMA, "no tables yet; the bot creates them when it starts")
    return ok(SCHEMA, f"version {found}" + (", writable" if write else ""))
