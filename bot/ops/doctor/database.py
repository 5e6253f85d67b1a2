"""Checks of the database: can it be reached and written, and are its tables those of this program.

Nothing is left behind: what is written is rolled back, and an SQLite file that a bot has is only read.
"""

import asyncio
import fcntl
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, create_engine, delete, false, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from bot.errors import CannotStart, DatabaseUnavailable
from bot.ops.doctor.result import CheckResult, clock, fault, unknown, well
from bot.storage import schema
from bot.storage.database import Database, lock_of, sqlite_file

DATABASE, SCHEMA, CLOCK = "database", "schema", "clock, by the database"

ANSWER_SECONDS = 6.0

_PROBE = b"\0" * 65536
_BUSY = 1.0

# Parts of what libpq and PostgreSQL say, lower case; they only choose the mend.
_MENDS: Mapping[str, str] = {
    "permission denied": "let the user of DATABASE_URL make tables and write in this database",
    "read-only": "give DATABASE_URL a server that can be written, not a standby",
    "authentication": "mend the user and the password in DATABASE_URL",
    "role": "mend the user in DATABASE_URL, or make it on the server",
    "does not exist": "make that database, or mend its name in DATABASE_URL",
    "certificate": "mend sslmode and sslrootcert in DATABASE_URL, or the server's certificate",
}
_MEND = "mend DATABASE_URL, and see that the server runs and lets this machine in"


async def look(url: str) -> Sequence[CheckResult]:
    """Check the database that an URL names."""
    if url.startswith("sqlite:"):
        return await asyncio.to_thread(_look_at_file, sqlite_file(url))
    return await _look_at_postgres(url)


# --- SQLite -----------------------------------------------------------------------------------------------


def _look_at_file(path: Path) -> Sequence[CheckResult]:
    try:
        if not path.exists():
            _write_beside(path)
            return [well(DATABASE, f"{path} is not there yet, and can be made"), _schema_to_come()]
        with _held(path) as free:
            return _look_into(path, free=free)
    except OSError as error:
        mend = f"make the folder, and let uid {os.getuid()} write it and all files of that name in it"
        return [fault(DATABASE, f"{path.parent} cannot be written ({error.strerror})", mend), _schema_unseen()]
    except SQLAlchemyError as error:
        return [_unusable(path, str(getattr(error, "orig", error))), _schema_unseen()]


def _write_beside(path: Path) -> None:
    """Whether SQLite may keep its files here, and has some room for them."""
    with tempfile.TemporaryFile(dir=path.parent) as probe:
        probe.write(_PROBE)
        probe.flush()


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether no bot has the file; one that starts meanwhile waits for it, as for any other process."""
    lock = lock_of(path)
    if not lock.exists():
        yield True
        return
    with lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free


def _look_into(path: Path, *, free: bool) -> Sequence[CheckResult]:
    """Read the file, and write to it unless a bot does so already."""
    if free:
        _write_beside(path)
    connect = partial(_connect, path, "rw" if free else "ro")
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if free else "BEGIN")
        found = _schema(connection, write=free)
        connection.exec_driver_sql("ROLLBACK")
    return [well(DATABASE, f"{path} " + ("can be written" if free else "is in use by a running bot")), found]


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY, isolation_level=None)


def _unusable(path: Path, why: str) -> CheckResult:
    if "locked" in why:
        return unknown(DATABASE, f"another program is writing to {path}")
    return fault(DATABASE, f"{path} cannot be used: {why}", "let DATABASE_URL name a new file, or the bot's own")


# --- PostgreSQL -------------------------------------------------------------------------------------------


async def _look_at_postgres(url: str) -> Sequence[CheckResult]:
    try:
        database = Database(url, time.time)
    except CannotStart as error:
        _, what, fix = str(error).split(": ", 2)
        return [fault(DATABASE, what, fix), _schema_unseen()]
    await database.start()
    try:
        return await database.run(_rehearse, within=ANSWER_SECONDS)
    except (DatabaseUnavailable, SQLAlchemyError) as away:
        return [_postgres_fault(str(away)), _schema_unseen()]
    finally:
        await database.stop()


def _rehearse(connection: Connection) -> Sequence[CheckResult]:
    ahead = time.time() - schema.now(connection)
    connection.exec_driver_sql("SAVEPOINT rehearsal")
    found = _schema(connection, write=True)
    connection.exec_driver_sql("ROLLBACK TO SAVEPOINT rehearsal")
    version = ".".join(map(str, connection.dialect.server_version_info or ()))
    return [well(DATABASE, f"PostgreSQL {version} answers"), found, clock(CLOCK, ahead)]


def _postgres_fault(why: str) -> CheckResult:
    mend = next((mend for hint, mend in _MENDS.items() if hint in why.lower()), _MEND)
    return fault(DATABASE, f"PostgreSQL cannot be used: {why}", mend)


# --- the tables -------------------------------------------------------------------------------------------


def _schema(connection: Connection, *, write: bool) -> CheckResult:
    """Which tables there are; with write, whether they can be made or written. The caller rolls that back."""
    try:
        found = schema.version_of(connection)
    except CannotStart as error:
        _, what, mend = str(error).split(": ", 2)
        return fault(SCHEMA, what, mend)
    if found > schema.VERSION:
        newer = f"version {found}, and this program knows {schema.VERSION}"
        return fault(SCHEMA, newer, "run the newer program, or give another database in DATABASE_URL")
    if found == 0:
        if write:
            schema.migrate(connection)
        return _schema_to_come()
    if found < schema.VERSION:
        return well(SCHEMA, f"version {found}; the bot makes it {schema.VERSION} when it starts")
    if write:
        _write_nothing(connection)
    return well(SCHEMA, f"version {found}" + (", can be written" if write else ""))


def _write_nothing(connection: Connection) -> None:
    """Statements that touch no row, and yet fail where a table, a column or a permission is missing."""
    for table in schema.metadata.sorted_tables:
        nothing = select(*table.c).where(false())
        connection.execute(insert(table).from_select([column.name for column in table.c], nothing))
        connection.execute(update(table).where(false()).values({column: column for column in table.c}))
        connection.execute(delete(table).where(false()))


def _schema_to_come() -> CheckResult:
    return well(SCHEMA, "no tables yet; the bot makes them when it starts")


def _schema_unseen() -> CheckResult:
    return unknown(SCHEMA, "could not be looked at")
