"""Runs functions in transactions, in its own threads, on SQLite or PostgreSQL (depending on the URL).

On SQLite one process owns the file, by a lock file beside it. All times are in seconds.
"""

import asyncio
import importlib.util
import math
import queue
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import count
from time import monotonic
from typing import IO, Any, TypeVar, TypeVarTuple

import structlog
from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from bot.core import timing
from bot.errors import CannotStart, CommitUncertain, DatabaseUnavailable
from bot.storage.engines import BEGAN_AT, POSTGRES_CONNECTIONS, sqlite

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TRIES = 3
"""How often a transaction is tried if another one gets in its way."""

_Queued = tuple[float, int, Callable[[], None] | None]
"""A transaction, with its deadline (monotonic, in seconds) and its number in the order of arrival: one with an earlier
deadline goes first. None ends a thread."""

log = structlog.get_logger(__name__)


class Database:
    """One database, and the threads that talk to it."""

    def __init__(self, url: str, clock: Callable[[], float] = timing.steady_time) -> None:
        """clock is for SQLite and returns seconds since the epoch (UTC). PostgreSQL has its own.

        Raises CannotStart if the driver for PostgreSQL isn't installed.
        """
        self.url = url
        self.is_sqlite = url.startswith("sqlite:")
        self._engine, threads = _engine(url, clock)
        self._queue: queue.PriorityQueue[_Queued] = queue.PriorityQueue()
        self._counter = count()
        # Not a ThreadPoolExecutor: the interpreter would wait for its threads, and a database that hangs must not keep
        # the process from ending.
        self._threads = [
            threading.Thread(target=self._serve, name=f"database-{n}", daemon=True) for n in range(threads)
        ]
        self._lock_file: IO[bytes] | None = None
        self._closed = False
        self.fault = "not connected yet"
        """Why the last transaction failed, or empty."""
        self._log_again_at = 0.0

    async def start(self) -> None:
        """Lock the SQLite file, and start the threads. Raises CannotStart if another process has the file."""
        if self.is_sqlite:
            self._lock_file = await sqlite.own(sqlite.sqlite_file(self.url))
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Give queued transactions a short while to finish, and release the file."""
        self._closed = True
        for _ in self._threads:
            self._queue.put((math.inf, next(self._counter), None))
        with suppress(TimeoutError):
            async with asyncio.timeout(timing.DATABASE_STOP):
                while any(thread.is_alive() for thread in self._threads):  # noqa: ASYNC110 - a thread sets no event
                    await asyncio.sleep(0.01)
                self._engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()

    async def run(
        self, work: Callable[[Connection, *Ts], T], *args: *Ts, within: float | None = None, soon: bool = False
    ) -> T:
        """Run work(connection, *args) in a transaction, and return its result after the commit.

        work runs in another thread and may run more than once. So it must keep nothing outside the transaction, and
        read every result to its end. within limits the wait, in seconds. Without a limit, it goes before what comes
        later, so that leases last however many commands come; soon makes it as urgent as a command. Raises
        DatabaseUnavailable if nothing was or will be committed, CommitUncertain if that is unknown, and, after a
        rollback, any error that work raises.
        """
        if self._closed:
            raise DatabaseUnavailable("closed")
        attempt: Future[T] = Future()
        urgency = timing.ANSWER if soon else timing.LEASE - timing.RENEW
        deadline = monotonic() + (urgency if within is None else within)
        transaction = partial(self._attempt, attempt, lambda connection: work(connection, *args))
        self._queue.put((deadline, next(self._counter), transaction))
        answer = asyncio.wrap_future(attempt)
        # Otherwise asyncio complains about the error of an answer that nobody is waiting for any more.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            done, _ = await asyncio.wait([answer], timeout=within)
        except asyncio.CancelledError:
            attempt.cancel()  # if it has not begun, it never will
            raise
        if done:
            return answer.result()
        late = "no answer in time"
        self._note_fault(late)
        if attempt.cancel():  # it has not begun, and never will
            raise DatabaseUnavailable(late)
        raise CommitUncertain(late)

    def _serve(self) -> None:
        """In a database thread: run one transaction after another."""
        while (transaction := self._queue.get()[-1]) is not None:
            transaction()

    def _attempt(self, attempt: Future[T], work: Callable[[Connection], T]) -> None:
        """In a database thread: run a transaction, and hand over its result.

        The frames of an error are cleared. A cursor in one of them would be closed in the event loop's thread, which
        would have to wait there until this thread no longer uses the connection.
        """
        failure: BaseException | None = None
        result: Any = None
        try:
            result = self._transact(attempt, work)
        except Exception as error:  # noqa: BLE001 - it belongs to the caller
            failure = error
            if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | DataError):
                failure = DatabaseUnavailable(_first_line(error), getattr(error.orig, "sqlstate", None) or "")
            _forget_frames(error)
        self._note_fault(str(failure) if isinstance(failure, DatabaseUnavailable) else "")
        if not _is_awaited(attempt):
            return
        if failure is not None:
            attempt.set_exception(failure)
        else:
            attempt.set_result(result)

    def _transact(self, attempt: Future[T], work: Callable[[Connection], T]) -> T | None:
        """Run work in a transaction. If another transaction gets in its way, start again.

        Returns None if nobody is waiting any more when it could begin.
        """
        remaining = TRIES
        while True:
            remaining -= 1
            with self._engine.connect() as connection:
                try:
                    with connection.begin() as transaction:
                        if not _is_awaited(attempt):
                            return None
                        try:
                            result = work(connection)
                        except DBAPIError as error:
                            _give_up(connection, error)  # in the middle of its transaction: before a rollback
                            raise
                        self._commit(transaction)
                except DBAPIError as error:
                    _forget_frames(error)
                    _give_up(connection, error)
                    if not remaining or not self._can_repeat(error):
                        raise
                else:
                    return result

    def _commit(self, transaction: RootTransaction) -> None:
        """Commit. Raises CommitUncertain if only PostgreSQL knows whether it worked."""
        try:
            transaction.commit()
        except DBAPIError as error:
            if self.is_sqlite:
                raise
            transaction.connection.invalidate(error)
            raise CommitUncertain(_first_line(error)) from error

    def _can_repeat(self, error: DBAPIError) -> bool:
        """Whether the same transaction may succeed now, because another one was first or the connection was broken.

        https://www.postgresql.org/docs/current/errcodes-appendix.html (a lock or a statement that took too long)
        """
        if isinstance(error, IntegrityError):
            return True
        took_too_long = getattr(error.orig, "sqlstate", None) in ("55P03", "57014")
        return not (self.is_sqlite or took_too_long or isinstance(error, DataError))

    def _note_fault(self, fault: str) -> None:
        """Remember a fault, and log it at most once a minute: on a full disk, some transactions fail and some don't."""
        self.fault = fault
        if fault and monotonic() >= self._log_again_at:
            self._log_again_at = monotonic() + timing.DATABASE_LOG
            log.warning("database_unavailable", reason=fault)


def _give_up(connection: Connection, error: DBAPIError) -> None:
    """Close a connection, unless the statement itself was at fault: a new one may do what this one can't.

    A pooler then also drops its connection to the server, which may be a standby after a failover.
    """
    if not isinstance(error, IntegrityError | DataError):
        connection.invalidate(error)


def _is_awaited(attempt: Future[Any]) -> bool:
    """Whether somebody is still waiting for an attempt. If so, it can't be cancelled from now on."""
    return attempt.running() or (not attempt.cancelled() and attempt.set_running_or_notify_cancel())


def _first_line(error: DBAPIError) -> str:
    cause = error.orig or error
    return (str(cause) or type(cause).__name__).splitlines()[0]


def _forget_frames(error: BaseException | None) -> None:
    """Clear the frames of an error and of its causes."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def now(connection: Connection) -> float:
    """When this transaction began: by PostgreSQL's clock, so that replicas agree, or on SQLite by the Database's."""
    began_at: float = connection.info[BEGAN_AT]
    return began_at


def _engine(url: str, clock: Callable[[], float]) -> tuple[Engine, int]:
    """An engine, and how many transactions it runs at once."""
    if url.startswith("sqlite:"):
        return sqlite.engine(url, clock), 1
    return _postgres_engine(url), POSTGRES_CONNECTIONS


def reading_engine(url: str) -> Engine:
    """An engine for a program that only reads while the bot runs. Raises CannotStart as Database does."""
    return sqlite.reading_engine(url) if url.startswith("sqlite:") else _postgres_engine(url, pooled=False)


def _postgres_engine(url: str, *, pooled: bool = True) -> Engine:
    """See postgres.engine. Its driver is an extra that SQLite does without."""
    if importlib.util.find_spec("psycopg") is None:
        what = "psycopg, the driver for PostgreSQL, isn't installed"
        raise CannotStart("DATABASE_URL", what, "install reload-model-bot[postgres]")
    from bot.storage.engines import postgres  # noqa: PLC0415 - it imports the driver

    return postgres.engine(url, pooled=pooled)
