"""The errors of PostgreSQL that don't pass by themselves, and how to fix each."""

import re
from collections.abc import Mapping

from bot.errors import DatabaseUnavailable

_USER = "fix the user and the password in DATABASE_URL (or PGPASSWORD)"
_RIGHTS = "let the user of DATABASE_URL connect from here, create tables and write in this database"
_NAME = "create that database, or fix its name in DATABASE_URL"
_TLS = "fix sslmode and sslrootcert in DATABASE_URL, or the server's certificate"
_PARAMETER = "fix or remove that parameter in DATABASE_URL; to use a schema, write options=-csearch_path%3Dname"
_ADDRESS = "fix the host and the port in DATABASE_URL: what answers there isn't PostgreSQL"
_MODE = "set pool_mode to transaction or session in the pooler"
_SCHEMA = "create that schema, or fix search_path in DATABASE_URL"
_TABLES = "use another database or schema in DATABASE_URL: the tables in this one don't fit this program"

# By SQLSTATE or the beginning of one, the first that fits:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: Mapping[str, str] = {
    "42501": _RIGHTS,
    "42883": _ADDRESS,  # a function that PostgreSQL has
    "0A": _ADDRESS,
    "3F": _SCHEMA,
    "42": _TABLES,
}

# A connection that fails has no SQLSTATE, or one of class 08. These are parts of what libpq, PostgreSQL, PgBouncer, and
# the poolers of Supabase, Neon and Amazon say, in lower case. The first that fits.
_BY_TEXT: Mapping[str, str] = {
    r"authentication failed|no password supplied|wrong password type": _USER,
    r"not permitted to log in|no such user|user not found|tenant|local user |no postgresql user name": _USER,
    r"role '' does not exist": _USER,
    r"pg_hba\.conf|permission denied|not allowed to connect|login rejected": _RIGHTS,
    r"database '' does not exist|no such database": _NAME,
    r"ssl (connection )?(is |was )?required|requires tls|insecure|verified ssl|channel binding": _TLS,
    r"certificate|private key": _TLS,
    r"received invalid response|expected authentication request": _ADDRESS,
    r"invalid|bad value for|could not match|service file|definition of service": _PARAMETER,
    r"unrecognized configuration parameter|unsupported startup parameter|command-line options": _PARAMETER,
    r"authentication method requirement": _PARAMETER,
    r"statement pooling": _MODE,
}

_NAMES = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'")
"""Quoted names of hosts, users and databases. They are left out, since a name may look like one of these texts."""


def fix_for(error: DatabaseUnavailable) -> str | None:
    """How to fix an error that doesn't pass by itself; None for one that may."""
    for sqlstate, fix in _BY_SQLSTATE.items():
        if error.sqlstate.startswith(sqlstate):
            return fix
    if not error.sqlstate or error.sqlstate.startswith("08"):
        text = _NAMES.sub("''", str(error).lower())
        for part, fix in _BY_TEXT.items():
            if re.search(part, text):
                return fix
    return None
