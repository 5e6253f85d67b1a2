"""Connections to PostgreSQL, by a URL that libpq reads. They work with every encoding, and none waits for ever.

psycopg is an extra that SQLite does without: this module is imported where it is needed.
"""

import logging
from collections.abc import Mapping
from typing import TypeVar

import psycopg
from psycopg.abc import Buffer, PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg.types.string import StrDumperUnknown

logging.getLogger("psycopg").setLevel(logging.ERROR)  # its warnings repeat the errors that it raises

RV = TypeVar("RV")

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
"""None is a pooler that doesn't say: UTF8 is what databases have, unless somebody chose otherwise."""


class _Connection(psycopg.Connection[TupleRow]):
    silence: float

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer, but not for ever: a proxy keeps a connection whose server is gone."""
        return super().wait(gen, interval, timeout or self.silence)


class _AsciiDumper(StrDumperUnknown):
    r"""Writes é as \xe9: a character that the database's encoding lacks would fail the whole transaction."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.encode("ascii", "backslashreplace").decode())


def connect(url: str, silence: float) -> psycopg.Connection:
    """Connect as libpq reads the URL; what the URL itself says wins over what stands here, except for the encoding.

    silence is how long the server can take for one answer, in seconds.
    """
    given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    try:
        connection = _connect({**_PARAMETERS, **given})
    except psycopg.OperationalError as error:
        if "read-only" not in str(error) or "target_session_attrs" in given:
            raise
        # A pooler repeats what a server said at its first connection: each transaction finds out what is true.
        connection = _connect({**_PARAMETERS, **given, "target_session_attrs": "any"})
    connection.silence = silence
    if connection.info.parameter_status("server_encoding") not in _STORES_ANY_TEXT:
        connection.adapters.register_dumper(str, _AsciiDumper)
    return connection


def _connect(parameters: Mapping[str, str | int]) -> _Connection:
    address = make_conninfo("", **{**parameters, "client_encoding": "utf8"})  # all that people type must fit
    # Behind a pooler the next transaction may be on another server connection, which knows no prepared statement.
    return _Connection.connect(address, prepare_threshold=None)
