"""What a URL says about itself, without a connection: its host, its passwords, and whether a database's is valid."""

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, unquote, urlsplit

# PostgreSQL's URLs can name several hosts, so no URL parser reads them all. Where every special character is
# percent-encoded, no piece of a password can be taken for another part.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
_ENCODED = "%[0-9A-Fa-f]{2}"
_USERINFO = rf"(?:[^@:/?#%\s]|{_ENCODED})*"
_HOST = rf"(?:\[[0-9A-Fa-f:.]*\]|(?:[^@:/?#%,\s]|{_ENCODED})*)(?::\d*)?"
_NAME = rf"(?:[^@/?#%\s]|{_ENCODED})*"
_PARAMETER = rf"\w+=(?:[^@?#&=%\s]|{_ENCODED})*"
_POSTGRES = re.compile(
    rf"postgres(?:ql)?://(?:{_USERINFO}(?::{_USERINFO})?@)?{_HOST}(?:,{_HOST})*(?:/{_NAME})?"
    rf"(?:\?(?P<parameters>{_PARAMETER}(?:&{_PARAMETER})*)?)?"
)

# Up to the first @ as libpq reads it, and up to the last as somebody means it who encoded none of them.
_PASSWORDS = (
    re.compile(r"^\w+://[^:/@]*:([^@]*)@"),
    re.compile(r"^\w+://[^:/@]*:(.*)@"),
    re.compile(r"[?&](?:(?:ssl)?password|oauth_client_secret|scram_\w+_key)=([^&]*)"),
)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_http(url: str) -> SplitResult | None:
    """The parts of an http(s) URL; None for anything else."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError for one that isn't a number
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def passwords(url: str) -> list[str]:
    """The passwords in the URL of a database or a proxy, as they are written and decoded."""
    found = [match[1] for pattern in _PASSWORDS for match in pattern.finditer(url)]
    return [*found, *map(unquote, found)]


def database_fault(url: str) -> tuple[str, str] | None:
    """What is wrong with a database's URL, and the fix. Shows no part of it that can belong to a password."""
    if url.startswith(("postgresql://", "postgres://")):
        return _postgres_fault(url)
    if not url.startswith("sqlite:///"):
        return "isn't a database's URL", "it must start with sqlite:/// or postgresql://"
    if url.removeprefix("sqlite:///").partition("?")[0] in ("", ":memory:"):
        return "names no file", "use one such as sqlite:////data/reload-model.db"
    return None


def _postgres_fault(url: str) -> tuple[str, str] | None:
    match = _POSTGRES.fullmatch(url)
    if match is None and "@" in url:
        fix = (
            "percent-encode special characters in the user name and the password (@ is %40, : is %3A, / is %2F, # is "
            "%23, % is %25, a space is %20), or leave the password out and set PGPASSWORD"
        )
        return "isn't a valid URL", fix
    if match is None:
        return "isn't a valid URL", "use one such as postgresql://user:password@db.example.com/name"
    if unknown := _unknown_parameters(match["parameters"] or ""):
        fix = "remove it; to use a schema, write options=-csearch_path%3Dname"
        return f"has the parameter {unknown[0]!r}, which PostgreSQL doesn't know", fix
    return None


def _unknown_parameters(query: str) -> Sequence[str]:
    """The parameters that libpq would refuse. Without the driver it can't be asked; then the bot can't start anyway."""
    try:
        from psycopg import pq  # noqa: PLC0415 - an extra that SQLite doesn't need
    except ImportError:
        return []
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"ssl"}
    names = [parameter.partition("=")[0] for parameter in query.split("&") if parameter]
    return [name for name in names if name not in known]
