"""Checks URLs without connecting: whether they are valid, their host, their passwords.

It uses patterns instead of a parser. They require special characters to be percent-encoded, so no part of a password
can be taken for something else, and nothing of an invalid URL is ever shown.
"""

import ipaddress
import re
from urllib.parse import unquote, urlsplit

_ENCODED = "%[0-9A-Fa-f]{2}"
_WORD = rf"(?:[^@:/?#%\s]|{_ENCODED})*"
_USERINFO = rf"(?:{_WORD}(?::{_WORD})?@)?"

_HTTP_HOST = r"(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(?P<port>\d{1,5}))?"
_SERVICE = re.compile(rf"(?i:https?)://{_HTTP_HOST}(?:/[\w.~%/-]*)?")
_PROXY = re.compile(rf"(?i:https?)://{_USERINFO}{_HTTP_HOST}/?")

# PostgreSQL's can name several hosts: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
_HOST = rf"(?:\[[0-9A-Fa-f:.]*\]|(?:[^@:/?#%,\s]|{_ENCODED})*)(?::\d*)?"
_NAME = rf"(?:[^@/?#%\s]|{_ENCODED})*"
_PARAMETER = rf"\w+=(?:[^@?#&=%\s]|{_ENCODED})*"
_POSTGRES = re.compile(
    rf"postgres(?:ql)?://{_USERINFO}{_HOST}(?:,{_HOST})*(?:/{_NAME})?(?:\?(?:{_PARAMETER}(?:&{_PARAMETER})*)?)?"
)

# Up to the first @, as libpq reads it, and up to the last, in case the @ in a password were not encoded.
_PASSWORDS = (
    re.compile(r"^\w+://[^:/@]*:([^@]*)@"),
    re.compile(r"^\w+://[^:/@]*:(.*)@"),
    re.compile(r"[?&](?:(?:ssl)?password|oauth_client_secret|scram_\w+_key)=([^&]*)"),
)

_ENCODE = (
    "percent-encode special characters in the user name and the password (@ is %40, : is %3A, / is %2F, # is %23, % is "
    "%25, a space is %20)"
)


def host_of(url: str) -> str:
    """The host and the port of a URL, for a log; "" if it has none."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_bypassed(no_proxy: str, host: str, port: int) -> bool:
    """Whether NO_PROXY lists a host: by name, by the end of its name, by address or network, perhaps with a port.

    There is no standard: https://about.gitlab.com/blog/we-need-to-talk-no-proxy/
    """
    for entry in re.findall(r"[^,\s]+", no_proxy.lower()):
        named = re.fullmatch(r"(\[.*\]|[^:]*):(\d+)", entry)
        name, only = (named[1], int(named[2])) if named else (entry, port)
        name = name.strip("[]").lstrip("*.")
        listed = not name or f".{host}".endswith(f".{name}") or _is_in_network(host, name)
        if listed and only == port:
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def passwords(url: str) -> list[str]:
    """The passwords in the URL of a database or a proxy, as they are written and decoded."""
    found = [match[1] for pattern in _PASSWORDS for match in pattern.finditer(url)]
    return [*found, *map(unquote, found)]


Fault = tuple[str, str]
"""What is wrong, and the fix. It shows no part of the URL that could belong to a password."""


def service_fault(url: str, example: str) -> Fault | None:
    """Check the base URL of a service: a host and a path, by https, or by http on this machine."""
    if not _is(_SERVICE, url):
        return "isn't an http(s) URL with a host and an optional path", f"use one such as {example}"
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "would send secrets unencrypted", "use https:// (http:// is for this machine only)"
    return None


def proxy_fault(url: str) -> Fault | None:
    """Check the URL of a proxy."""
    if _is(_PROXY, url):
        try:
            unquote(url).encode("latin-1")  # https://www.rfc-editor.org/rfc/rfc7617#section-2.1: aiohttp sends this one
        except UnicodeEncodeError:
            return "has a character in the user name or the password that isn't in Latin-1", "use another password"
        return None
    if "@" in url and url.lower().startswith(("http://", "https://")):
        return "isn't a valid URL", _ENCODE
    return "isn't an http(s) URL", "use one such as http://proxy.example.com:3128"


def _is(pattern: re.Pattern[str], url: str) -> bool:
    match = pattern.fullmatch(url)
    return match is not None and int(match["port"] or 0) < 2**16 and _is_host(match["host"])


def _is_host(host: str) -> bool:
    """Whether this can be a host: an IPv6 address in brackets, or a name without an empty part."""
    if not host.startswith("["):
        return ".." not in host and not host.startswith(".")
    try:
        return ipaddress.ip_address(host.strip("[]")).version == 6  # noqa: PLR2004 - IPv6
    except ValueError:
        return False


def database_fault(url: str, _example: str = "") -> Fault | None:
    """Check the URL of a database. libpq checks the parameters of a PostgreSQL URL."""
    if url.startswith("sqlite:///"):
        return _file_fault(url.removeprefix("sqlite:///"))
    if not url.startswith(("postgresql://", "postgres://")):
        return "isn't a database URL", "it must start with sqlite:/// or postgresql://"
    if _POSTGRES.fullmatch(url):
        return None if _is_text(url) else ("has an encoded character that isn't UTF-8", _ENCODE)
    if "@" in url:
        return "isn't a valid URL", f"{_ENCODE}, or leave the password out and set PGPASSWORD"
    return "isn't a valid URL", "use one such as postgresql://user:password@db.example.com/name"


def _is_text(url: str) -> bool:
    """Whether what is percent-encoded is text that PostgreSQL's client takes."""
    try:
        return "\0" not in unquote(url, errors="strict")
    except UnicodeDecodeError:
        return False


def _file_fault(file: str) -> Fault | None:
    """Check an SQLite file and its parameters. SQLite itself would ignore a misspelled one."""
    path, _, parameters = file.partition("?")
    if path in ("", ":memory:") or path.startswith("file:") or "\0" in unquote(path):  # file: is a URI of SQLite's
        return "doesn't name a file", "use one such as sqlite:////data/reload-model.db"
    if parameters not in ("", "synchronous=full", "synchronous=FULL"):
        return "has an unknown parameter", "the only one for SQLite is ?synchronous=full"
    return None
