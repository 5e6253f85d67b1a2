"""The errors of PostgreSQL that don't pass by themselves, and how to fix each."""

from collections.abc import Mapping

from bot.errors import DatabaseUnavailable

_USER = "fix the user and the password in DATABASE_URL (or PGPASSWORD)"
_RIGHTS = "allow the user in DATABASE_URL to connect to this database, create tables and write"
_NAME = "create that database, or fix its name in DATABASE_URL"
_TLS = "fix sslmode and sslrootcert in DATABASE_URL, or the server's certificate"
_PARAMETER = "fix or remove that parameter in DATABASE_URL; to use a schema, write options=-csearch_path%3Dname"
_SCHEMA = "create that schema, or fix search_path in DATABASE_URL"
_TABLES = "use another database or schema in DATABASE_URL: the tables in this one don't fit this program"

# By SQLSTATE or the beginning of one, the first that fits:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: Mapping[str, str] = {"42501": _RIGHTS, "3F": _SCHEMA, "42": _TABLES}

# A failed connection has no SQLSTATE. These are parts of what libpq, PostgreSQL and PgBouncer say, in lower case.
_BY_TEXT: Mapping[str, str] = {
    "authentication failed": _USER,
    "no password supplied": _USER,
    "not permitted to log in": _USER,
    "user not found": _USER,
    'role "': _USER,
    "pg_hba.conf": _RIGHTS,
    "permission denied": _RIGHTS,
    'database "': _NAME,
    "no such database": _NAME,
    "certificate": _TLS,
    "does not support ssl": _TLS,
    "invalid": _PARAMETER,
    "bad value for": _PARAMETER,
    "unrecognized configuration parameter": _PARAMETER,
    "unsupported startup parameter": _PARAMETER,
}


def fix_for(error: DatabaseUnavailable) -> str | None:
    """How to fix an error that doesn't pass by itself; None for one that may."""
    for sqlstate, fix in _BY_SQLSTATE.items():
        if error.sqlstate.startswith(sqlstate):
            return fix
    if not error.sqlstate:
        for part, fix in _BY_TEXT.items():
            if part in str(error).lower():
                return fix
    return None
