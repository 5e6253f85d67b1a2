"""Engines for PostgreSQL, by a URL that libpq reads.

Their connections work with every encoding, and none waits for ever. psycopg is an extra that SQLite does without: this
module is imported where it is needed.
"""

import logging
from collections.abc import Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.abc import Buffer, PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import ReadOnlySqlTransaction
from psycopg.rows import TupleRow
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from bot.core import timing
from bot.storage.engines import BEGAN_AT, POSTGRES_CONNECTIONS

logging.getLogger("psycopg").setLevel(logging.ERROR)  # its warnings repeat the errors that it raises

RV = TypeVar("RV")

# For this transaction only: behind a pooler a session is everyone's.
_BEGIN = text(
    "SELECT extract(epoch FROM clock_timestamp())::float8 AS at, current_setting('transaction_read_only') AS read_only,"
    " set_config('statement_timeout', :statement, true), set_config('lock_timeout', :lock, true),"
    " set_config('idle_in_transaction_session_timeout', :idle, true)"
)

# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS, seconds but for tcp_user_timeout
_PARAMETERS: dict[str, str | int] = {
    "application_name": "reload-model",
    "connect_timeout": 2,
    "tcp_user_timeout": 3000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    # After a failover the address may still lead to the old primary, which is read-only by then.
    "target_session_attrs": "read-write",
}

_STORES_ANY_TEXT = ("UTF8", "SQL_ASCII", None)
"""None is a pooler that doesn't say. Then it is most likely UTF8."""


class _Connection(psycopg.Connection[TupleRow]):
    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer, but not for ever: a proxy keeps a connection whose server is gone."""
        return super().wait(gen, interval, timeout or timing.POSTGRES_SILENCE)


class _AsciiDumper(StrDumperUnknown):
    r"""Writes é as \xe9: a character that the database's encoding lacks would fail the whole transaction."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.encode("ascii", "backslashreplace").decode())


def engine(url: str, *, pooled: bool = True) -> Engine:
    """An engine for PostgreSQL, which keeps its connections if pooled. One that isn't may only read.

    A transaction begins by setting its limits and reading the server's clock.
    """
    pool: dict[str, Any] = {"pool_size": POSTGRES_CONNECTIONS, "max_overflow": 0} if pooled else {"poolclass": NullPool}
    made = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url),
        **pool,
        isolation_level="READ COMMITTED",  # regardless of the server's default
        use_native_hstore=False,  # which would cost each connection a query
    )
    limits = {
        "statement": f"{timing.POSTGRES_STATEMENT * 1000:.0f}ms",
        "lock": f"{timing.POSTGRES_LOCK * 1000:.0f}ms",
        "idle": f"{timing.POSTGRES_IDLE * 1000:.0f}ms",
    }

    @event.listens_for(made, "begin")
    def begin_limited(connection: Connection) -> None:
        began = connection.execute(_BEGIN, limits).one()
        if pooled and began.read_only == "on":
            raise OperationalError(None, None, ReadOnlySqlTransaction("the server is read-only"))
        connection.info[BEGAN_AT] = began.at

    return made


def connect(url: str) -> psycopg.Connection:
    """Connect as libpq reads the URL, whose parameters override _PARAMETERS, but not the encoding."""
    given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    try:
        connection = _connect({**_PARAMETERS, **given})
    except psycopg.OperationalError as error:
        if "read-only" not in str(error) or "target_session_attrs" in given:
            raise
        # A pooler repeats what a server said at its first connection: each transaction finds out what is true.
        connection = _connect({**_PARAMETERS, **given, "target_session_attrs": "any"})
    if connection.info.parameter_status("server_encoding") not in _STORES_ANY_TEXT:
        connection.adapters.register_dumper(str, _AsciiDumper)
    return connection


def _connect(parameters: Mapping[str, str | int]) -> _Connection:
    address = make_conninfo("", **{**parameters, "client_encoding": "utf8"})  # all that people type must fit
    # Behind a pooler the next transaction may be on another server connection, which knows no prepared statement.
    return _Connection.connect(address, prepare_threshold=None)
