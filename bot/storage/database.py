"""One database thread: what arrives together shares one transaction and one commit. Knows nothing of the tables.

SQLite or PostgreSQL by URL. On SQLite one process owns the file, by a lock beside it, and time comes from a
clock that is handed in; on PostgreSQL time comes from the database. All times are seconds since the epoch (UTC).
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, TypeVarTuple, cast, overload

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Executable,
    create_engine,
    extract,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.selectable import TypedReturnsRows

from bot.errors import CannotStart, CommitUncertain, DatabaseUnavailable
from bot.storage.prepared import Prepared, Rows

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.engine.interfaces import DBAPIModule

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


_Statements = dict[tuple[Executable | str, ...], Prepared]
"""By the statement itself and the names of its parameters."""


class Transaction:
    """What an operation gets: the connection, and the time by the store's clock."""

    def __init__(self, connection: Connection, clock: Callable[[], float] | None, prepared: _Statements) -> None:
        """clock is None where the database tells the time; prepared keeps the statements that have been run."""
        self.connection = connection
        self.dialect = connection.dialect.name
        self._clock = clock
        self._prepared = prepared
        self._fault = connection.dialect.loaded_dbapi.Error
        self._driver: Any = connection.connection.cursor()  # one for all statements: psycopg takes 15 us to make one

    def begin(self) -> None:
        """Begin to write. PostgreSQL tells the time with that, in one round trip. Raises DBAPIError."""
        if self._clock is not None:
            self.execute(_BEGIN_SQLITE)
            return
        try:
            self._driver.execute(_BEGIN_POSTGRES)
            self._driver.nextset()
            self.now = self._driver.fetchone()[0]
        except self._fault as error:
            raise self._translated(error, _BEGIN_POSTGRES) from error

    @cached_property
    def now(self) -> float:
        """The time of this transaction."""
        if self._clock is not None:
            return self._clock()
        return self.execute(_NOW).scalar_one()

    @overload
    def execute(self, statement: TypedReturnsRows[*Ts], **parameters: object) -> Rows[*Ts]: ...
    @overload
    def execute(self, statement: Executable, **parameters: object) -> Rows[*tuple[object, ...]]: ...
    def execute(self, statement: Executable, **parameters: object) -> Rows[*tuple[object, ...]]:
        """Run a statement, which is kept for the next time, with its parameters. Raises DBAPIError."""
        key: tuple[Executable | str, ...] = (statement, *parameters)
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = self._prepared[key] = Prepared(statement, parameters, self.connection.dialect)
        try:
            return prepared.run(self._driver, parameters)
        except self._fault as error:
            raise self._translated(error, statement) from error

    def _translated(self, error: "DBAPIModule.Error", statement: Executable | str) -> Exception:
        """What SQLAlchemy itself would raise for an error of the driver's; a connection that is lost is given up."""
        dialect = self.connection.dialect
        if lost := dialect.is_disconnect(error, self._driver.connection, self._driver):
            self.connection.invalidate(error)
        return DBAPIError.instance(
            str(statement), None, error, self._fault, connection_invalidated=lost, dialect=dialect
        )


DATABASE_TIME: ColumnElement[float] = sql_cast(extract("epoch", func.clock_timestamp()), Double)
"""The time as PostgreSQL tells it, for a statement that should not cost a second one."""

_NOW = select(DATABASE_TIME)

Operation = Callable[[Transaction], T]
"""What to do in a transaction. It may be run again, so it must keep nothing outside of it."""

SharedOperation = Callable[[Transaction, Sequence[T]], Sequence[R]]
"""Likewise for many items, with a result for each."""

LOCK_WAIT = 15.0
"""Seconds to wait for another process to let go of an SQLite file."""

_LARGEST_GROUP = 256
_COMMIT_GRACE = 0.6
"""Seconds that an abandoned operation gets to end a commit that has begun."""

# A statement that takes longer than this is taken for a database that is away. In milliseconds, libpq's unit:
# https://www.postgresql.org/docs/current/runtime-config-client.html and .../libpq-connect.html
_POSTGRES: dict[str, str | int | None] = {
    "connect_timeout": 2,
    "tcp_user_timeout": 3000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "application_name": "reload-model",
    "options": "-c statement_timeout=5000 -c lock_timeout=1500 -c idle_in_transaction_session_timeout=10000",
}
_SQLITE_BUSY = 1.0

# A checkpoint costs some ten milliseconds of flushing, and whoever commits pays: so it is done at rest, and in the
# middle of work only where the WAL would grow beyond 32 MB. https://www.sqlite.org/wal.html#ckpt
_WAL_PAGES = 8000
_REST_SECONDS = 0.2
_COMMITS_AT_REST = 32

# A read that turns into a write fails at once with "database is locked"; what replicas do to each other is thought
# out for READ COMMITTED, whatever a server's default is.
_BEGIN_SQLITE = text("BEGIN IMMEDIATE")
_BEGIN_POSTGRES = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT extract(epoch FROM clock_timestamp())::float8"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Job:
    """One operation on its way through the thread, and its result. It is WAITING → committing | abandoned.

    Where it is shared, it is done for the items of all jobs that have come together and have the same.
    """

    operation: Callable[..., Any]
    reads: bool
    future: asyncio.Future[None]
    order: str = ""
    shared: bool = False
    item: object = None
    result: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    abandoned: bool = False
    committing: bool = False
    error: BaseException | None = None

    def abandon(self) -> bool:
        """Give up on the operation; False where its commit has begun, so that it can no longer be stopped."""
        with self.lock:
            self.abandoned = not self.committing
            return self.abandoned

    def commit(self) -> bool:
        """Whether the operation may be committed; from then on it cannot be abandoned."""
        with self.lock:
            self.committing = not self.abandoned
            return self.committing

    def settle(self) -> None:
        """In the event loop: hand the outcome to whoever waits for it."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(None)


class Database:
    """Runs operations in transactions, from one thread, on one connection that is made again when it breaks."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        """clock gives the time on SQLite, in seconds since the epoch."""
        self._url = url
        self._clock = clock
        self.sqlite = url.startswith("sqlite:")
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        self._prepared: _Statements = {}
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="database", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock_file: IO[bytes] | None = None
        self._closed = False
        self._unmoved = 0
        """Commits since the last checkpoint at rest."""
        self.fault = "not connected yet"
        """Why the last operation did not get through to the database, or nothing."""

    async def start(self) -> None:
        """Take hold of the SQLite file and start the thread. Raises CannotStart where another process has it."""
        if self.sqlite:
            await self._own_file()
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End the thread after the operations that wait, and let go of the file."""
        self._closed = True
        if self._thread.ident is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join, 2.0)
        if self._lock_file is not None:
            self._lock_file.close()

    async def run(
        self, operation: Operation[T], *, within: float | None = None, reads: bool = False, order: str = ""
    ) -> T:
        """Run one operation and return its result once it is committed.

        within bounds the wait, in seconds: then DatabaseUnavailable means that nothing was or will be committed, and
        CommitUncertain that nobody can tell. An operation that only reads gets no transaction. Those that come
        together are done by their order: where that is what they lock, replicas do not block each other crosswise.
        """
        job = _Job(operation, reads, self._future(), order)
        await self._done(job, within)
        return cast("T", job.result)

    async def run_shared(self, operation: SharedOperation[T, R], item: T) -> R:
        """Run an operation for this item and for all that wait for the same, and return what came of this one.

        Where it raises, it is run anew for each item alone. Raises DatabaseUnavailable or CommitUncertain, as run does.
        """
        job = _Job(operation, reads=False, future=self._future(), shared=True, item=item)
        await self._done(job, None)
        return cast("R", job.result)

    def _future(self) -> asyncio.Future[None]:
        if self._closed or self._loop is None:
            raise DatabaseUnavailable("the database is closed")
        return self._loop.create_future()

    async def _done(self, job: _Job, within: float | None) -> None:
        self._jobs.put(job)
        try:
            await self._answered(job, within)
        finally:
            job.future.cancel()  # where nobody waits any more: else asyncio complains of an error not looked at

    async def _answered(self, job: _Job, within: float | None) -> None:
        """Wait for the outcome; a timer, and not asyncio.wait, since every command waits here."""
        if within is None:
            await job.future
            return
        timer = job.future.get_loop().call_later(within, self._hurry, job, within)
        try:
            await job.future
        finally:
            timer.cancel()

    def _hurry(self, job: _Job, within: float) -> None:
        """The time is over: give up, or where that can no longer be, wait a little for the commit to end."""
        if job.abandon():
            self._no_answer(job, DatabaseUnavailable(f"no answer within {within:g} s"))
        else:
            job.future.get_loop().call_later(
                _COMMIT_GRACE, self._no_answer, job, CommitUncertain("the commit has not ended")
            )

    def _no_answer(self, job: _Job, error: DatabaseUnavailable) -> None:
        with suppress(asyncio.InvalidStateError):  # answered meanwhile, or nobody waits any more
            job.future.set_exception(error)
            self.fault = "no answer"

    # --- the thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._next()) is not None:
            group = [job, *self._waiting()]
            self._run_group(group)
            self._settle(group)
        self._disconnect()

    def _next(self) -> _Job | None:
        """The next job, however long it takes to come; at rest there is time for a checkpoint."""
        if self._unmoved >= _COMMITS_AT_REST:
            with suppress(queue.Empty):
                return self._jobs.get(timeout=_REST_SECONDS)
            self._checkpoint()
        return self._jobs.get()

    def _checkpoint(self) -> None:
        """Move what is in the WAL to the database file. Where that fails, a commit does it later."""
        self._unmoved = 0
        if self._connection is not None:
            with suppress(DBAPIError):
                self._connection.exec_driver_sql("PRAGMA wal_checkpoint")
                self._connection.rollback()

    def _waiting(self) -> list[_Job]:
        """The jobs that have gathered while the last group ran; the end of all jobs is left for later."""
        group: list[_Job] = []
        with suppress(queue.Empty):
            while len(group) < _LARGEST_GROUP:
                job = self._jobs.get_nowait()
                if job is None:
                    self._jobs.put(None)
                    break
                group.append(job)
        return group

    def _settle(self, group: Sequence[_Job]) -> None:
        def settle() -> None:
            for job in group:
                job.settle()

        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            group[0].future.get_loop().call_soon_threadsafe(settle)

    def _run_group(self, group: Sequence[_Job]) -> None:
        """Run all in one transaction; where one of them fails, each in its own, so that none spoils another."""
        wanted = sorted((job for job in group if not job.abandoned), key=attrgetter("order"))
        if not wanted:
            return
        try:
            self._transact(wanted)
        except DatabaseUnavailable as away:
            for job in wanted:
                job.error = away
        except Exception as error:  # noqa: BLE001 - whatever an operation raises goes to its caller
            if len(wanted) == 1:
                wanted[0].error = error
            else:
                for job in wanted:
                    self._run_group([job])

    def _transact(self, jobs: Sequence[_Job]) -> None:
        committing = False
        try:
            connection = self._connected()
            try:
                transaction = Transaction(connection, self._clock if self.sqlite else None, self._prepared)
                if all(job.reads for job in jobs):
                    _perform(transaction, jobs)
                    connection.rollback()
                else:
                    connection.begin()
                    transaction.begin()
                    _perform(transaction, jobs)
                    _begin_commit(jobs)
                    committing = True
                    connection.commit()
                    self._unmoved += self.sqlite
            except BaseException:
                self._undo(connection)
                raise
        except _AbandonedError:
            for job in jobs:
                job.committing = False
            self._run_group(jobs)
        except DBAPIError as error:
            if _of_one_operation(error, jobs):
                raise
            raise self._away(error, committing=committing) from error
        else:
            self.fault = ""

    def _undo(self, connection: Connection) -> None:
        """End the transaction; a connection that cannot even do that is not used again."""
        try:
            connection.rollback()
        except Exception:  # noqa: BLE001 - whatever is wrong with it, a new one is made
            self._disconnect()

    def _away(self, error: DBAPIError, *, committing: bool) -> DatabaseUnavailable:
        cause = error.orig or error
        self.fault = type(cause).__name__
        detail = (str(cause) or self.fault).splitlines()[0]
        log.warning("database_away", error=self.fault, detail=detail)
        return CommitUncertain(detail) if committing and not self.sqlite else DatabaseUnavailable(detail)

    def _connected(self) -> Connection:
        if self._connection is None:
            if self._engine is None:
                self._engine = _engine(self._url)
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.invalidate()
                connection.close()

    # --- one process owns an SQLite file ------------------------------------------------------------

    async def _own_file(self) -> None:
        """flock(2): the kernel lets go of it when the process dies, however it dies."""
        path = lock_of(sqlite_file(self._url))
        try:
            self._lock_file = path.open("ab")
        except OSError as error:
            raise CannotStart(
                f"DATABASE_URL: cannot write {path} ({error.strerror}): make the folder, owned by uid {os.getuid()}"
            ) from error
        for _ in range(round(LOCK_WAIT / 0.1)):
            with suppress(BlockingIOError):
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            await asyncio.sleep(0.1)
        raise CannotStart(
            f"DATABASE_URL: another process holds {path}: an SQLite file serves one process; "
            "stop the other, or use postgresql:// for several"
        )


def sqlite_file(url: str) -> Path:
    """The file that an sqlite URL names."""
    return Path(str(make_url(url).database))


def lock_of(path: Path) -> Path:
    """The file beside an SQLite file whose lock says that a process owns it."""
    return Path(f"{path}.lock")


class _AbandonedError(Exception):
    """Somebody gave up waiting while the transaction ran."""


def _perform(transaction: Transaction, jobs: Sequence[_Job]) -> None:
    """Do what each job wants; what is shared comes last, each operation once for all its items."""
    together: dict[Callable[..., Any], list[_Job]] = {}
    for job in jobs:
        if job.shared:
            together.setdefault(job.operation, []).append(job)
        else:
            job.result = job.operation(transaction)
    for operation, sharing in together.items():
        results = operation(transaction, [job.item for job in sharing])
        for job, result in zip(sharing, results, strict=True):
            job.result = result


def _of_one_operation(error: DBAPIError, jobs: Sequence[_Job]) -> bool:
    """Whether the fault lies with an operation and not with the database: a constraint, a value, a deadlock of many.

    https://www.postgresql.org/docs/current/errcodes-appendix.html (40P01: deadlock_detected)
    """
    deadlock = getattr(error.orig, "sqlstate", None) == "40P01"
    return isinstance(error, IntegrityError | DataError) or (deadlock and len(jobs) > 1)


def _begin_commit(jobs: Sequence[_Job]) -> None:
    """From here on nobody can give up. Raises _AbandonedError where somebody has."""
    if sum(job.commit() for job in jobs) < len(jobs):
        raise _AbandonedError


class _EngineOptions(TypedDict):
    isolation_level: Literal["AUTOCOMMIT"]
    poolclass: type[NullPool]


_ENGINE = _EngineOptions(isolation_level="AUTOCOMMIT", poolclass=NullPool)


def _engine(url: str) -> Engine:
    """An engine in autocommit, in which _transact says BEGIN itself; the driver is this program's business."""
    if url.startswith("sqlite:"):
        return create_engine("sqlite://", creator=partial(_sqlite, url), **_ENGINE)
    # No hstore is used: not to look for it spares each connection a statement.
    return create_engine("postgresql+psycopg://", creator=partial(_postgres, url), use_native_hstore=False, **_ENGINE)


def reading_engine(url: str) -> Engine:
    """An engine for somebody who only reads, beside a running bot, and owns nothing."""
    if url.startswith("sqlite:"):
        return create_engine("sqlite://", creator=partial(_sqlite_reader, url), **_ENGINE)
    return _engine(url)


def _sqlite_reader(url: str) -> sqlite3.Connection:
    file = sqlite_file(url).absolute().as_uri()
    return sqlite3.connect(f"{file}?mode=ro", uri=True, timeout=_SQLITE_BUSY, isolation_level=None)


def _sqlite(url: str) -> sqlite3.Connection:
    """WAL with synchronous=NORMAL survives kill -9 at any moment; only FULL survives every power cut.

    https://www.sqlite.org/wal.html#performance_considerations
    """
    parts = make_url(url)
    connection = sqlite3.connect(
        str(parts.database), timeout=_SQLITE_BUSY, isolation_level=None, check_same_thread=False
    )
    level = "FULL" if parts.query.get("synchronous") in ("full", "FULL") else "NORMAL"
    try:
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={level}",
            "foreign_keys=ON",
            f"wal_autocheckpoint={_WAL_PAGES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _postgres(url: str) -> "psycopg.Connection":
    """Connect as libpq reads the URL; what the URL itself says wins over what stands here."""
    import psycopg  # noqa: PLC0415 - an extra, and 20 ms that SQLite need not pay
    from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415 - as above

    given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    return psycopg.connect(make_conninfo("", **{**_POSTGRES, **given}))
