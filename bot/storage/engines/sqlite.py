"""An engine for an SQLite file, and the lock beside it, by which one process owns it."""

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import IO

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from bot.core import timing
from bot.errors import CannotStart
from bot.storage.engines import BEGAN_AT

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a disk, or of a user's share of it, that has no room."""

log = structlog.get_logger(__name__)


def sqlite_file(url: str) -> Path:
    """The file that an SQLite URL names."""
    return Path(str(make_url(url).database))


def fix_for(path: Path, reason: str) -> str | None:
    """How to fix a file that can't be used. reason is what SQLite says; None if that may pass."""
    if any(words in reason for words in ("locked", "full", "disk I/O error")):
        return None
    files = [Path(f"{os.path.realpath(path)}{end}") for end in ("", "-wal", "-shm")]
    if all(os.access(file, os.R_OK | os.W_OK) for file in files if file.exists()):
        return "set DATABASE_URL to the bot's own database, or to a new file"
    return f"make {path} (and the files -wal and -shm beside it) writable for uid {os.getuid()}"


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is there now, None if there is none."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def lock_of(path: Path) -> Path:
    """The file beside an SQLite file whose lock says that a process owns it. A link has the lock of its target."""
    return Path(f"{os.path.realpath(path)}.lock")


async def own(path: Path) -> IO[bytes]:
    """Take the lock of an SQLite file: flock(2), which the kernel releases however the process ends."""
    lock = lock_of(path)
    try:
        file = lock.open("ab")
    except OSError as error:
        fix = "make room on the disk"
        if error.errno not in DISK_FULL:
            fix = f"create the folder, and make it and the file {lock.name} in it writable for uid {os.getuid()}"
        raise CannotStart("DATABASE_URL", f"can't write {lock} ({error.strerror})", fix) from error
    for attempt in range(max(round(timing.SQLITE_OWNER_WAIT / 0.1), 1)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not attempt:
                log.warning("waiting_for_other_process", lock=str(lock), seconds=timing.SQLITE_OWNER_WAIT)
            await asyncio.sleep(0.1)
        except OSError as error:  # https://man7.org/linux/man-pages/man2/flock.2.html (some network file systems)
            file.close()
            fix = "put the SQLite file on a local disk"
            raise CannotStart("DATABASE_URL", f"can't lock {lock} ({error.strerror})", fix) from error
        else:
            return file
    file.close()
    fix = "only one process can use an SQLite file; stop the other one, or use postgresql:// for several"
    raise CannotStart("DATABASE_URL", f"another process holds {lock}", fix)


def engine(url: str, clock: Callable[[], float]) -> Engine:
    """An engine for an SQLite file. A transaction begins by locking it."""
    made = create_engine(
        "sqlite://",
        creator=lambda: connect(url),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
    )
    path = sqlite_file(url)
    opened = cache(partial(identity, path))  # at the first transaction

    @event.listens_for(made, "begin")
    def begin_immediate(connection: Connection) -> None:
        if identity(path) != opened():  # what is written to the open file would be lost with it
            raise OperationalError(
                None, None, sqlite3.OperationalError("the file was deleted or replaced: restart the bot")
            )
        # Otherwise a transaction that reads and then writes would fail at once if another program writes.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.info[BEGAN_AT] = clock()

    return made


def connect(url: str) -> sqlite3.Connection:
    """WAL with synchronous=NORMAL survives kill -9 at any moment; only FULL survives every power cut.

    https://www.sqlite.org/wal.html#performance_considerations
    """
    parts = make_url(url)
    connection = sqlite3.connect(
        str(parts.database), timeout=timing.SQLITE_BUSY, isolation_level=None, check_same_thread=False
    )
    level = "FULL" if parts.query.get("synchronous") in ("full", "FULL") else "NORMAL"
    try:
        for pragma in ("journal_mode=WAL", f"synchronous={level}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def reading_engine(url: str) -> Engine:
    """An engine that only reads, beside a running bot."""
    address = f"{sqlite_file(url).absolute().as_uri()}?mode=ro"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True), poolclass=NullPool)
