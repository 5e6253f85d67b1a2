"""What a URL says about itself."""

import pytest

from bot.urls import database_fault, is_loopback, passwords, proxy_fault

ENCODE = (
    "percent-encode special characters in the user name and the password (@ is %40, : is %3A, / is %2F, # is %23, % is "
    "%25, a space is %20)"
)
SPECIAL = ("isn't a valid URL", f"{ENCODE}, or leave the password out and set PGPASSWORD")
NOT_VALID = ("isn't a valid URL", "use one such as postgresql://user:password@db.example.com/name")
NO_DATABASE = ("isn't a database URL", "it must start with sqlite:/// or postgresql://")
NO_FILE = ("doesn't name a file", "use one such as sqlite:////data/reload-model.db")


@pytest.mark.parametrize(("host", "expected"), [("localhost", True), ("::1", True), ("::2", False), ("", False)])
def test_loopback_is_known_without_dns(host: str, *, expected: bool) -> None:
    """The name and the addresses alone decide."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////data/reload-model.db",
        "sqlite:///reload.db?synchronous=full",
        "postgres://db/reloads",
        "postgresql://bot:pw@db.example.com/reloads?sslmode=verify-full",
        "postgresql://db/reloads?schema=public",
        "postgresql://bot:a=b&c,d[1]@db/reloads",
        "postgresql://u:@/db?host=/socket/dir",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/db",
        "postgresql://bot:p%40ss@one:5432,two:5433/db?target_session_attrs=read-write",
        "postgresql://bot@[::1]:5432,[::2]/db?options=-csearch_path%3Dbot",
        "postgresql://",
    ],
)
def test_any_libpq_url_and_any_file_is_valid(url: str) -> None:
    """Whatever libpq accepts is left to libpq."""
    assert database_fault(url) is None


@pytest.mark.parametrize(
    ("urls", "fault"),
    [
        (["mysql://db", "reload.db", "postgresql+psycopg://db", "sqlite:x.db", "postgresql:x"], NO_DATABASE),
        (["sqlite:///", "sqlite:///:memory:", "sqlite:///?mode=rw"], NO_FILE),
        (["postgresql://db:port/x", "postgresql://db/x/y", "postgresql://db/x?sslmode"], NOT_VALID),
    ],
)
def test_another_url_is_not_valid(urls: list[str], fault: tuple[str, str]) -> None:
    """The fix shows what one looks like; the URL isn't shown, as it may hold a password."""
    assert [database_fault(url) for url in urls] == [fault] * len(urls)


@pytest.mark.parametrize("special", ["@", ":", "/", "#", "%", " ", "?", "%zz", "\t"])
def test_a_special_character_in_a_password_must_be_encoded(special: str) -> None:
    """Else a piece of the password is taken for the host or the port, and shown in errors."""
    for password in (f"hunter{special}2", f"{special}hunter2", f"hunter2{special}", f"1{special}a=b"):
        assert database_fault(f"postgresql://bot:{password}@db/x") == SPECIAL
    if special not in (":", "%", "\t"):
        assert proxy_fault(f"http://user:12{special}34@proxy:3128") == ("isn't a valid URL", ENCODE)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///odd:name@home.db", []),
        ("postgresql://bot@db/x", []),
        ("postgresql://u:@/db?host=/socket/dir", ["", ""]),
        ("postgresql://bot:p%40ss@db/x", ["p%40ss", "p@ss"]),
        ("postgresql://bot:hunter2@one:5432,two:5433/x", ["hunter2"]),
        ("postgresql://bot:raw@sign@db/x", ["raw", "raw@sign"]),
        ("postgresql:///x?password=p%26q&sslpassword=other", ["p%26q", "other", "p&q"]),
        ("postgresql:///x?oauth_client_secret=one&scram_client_key=two", ["one", "two"]),
        ("http://user:hunter2@proxy:3128", ["hunter2"]),
    ],
)
def test_passwords_are_found(url: str, expected: list[str]) -> None:
    """As they are written and decoded, in any place."""
    assert set(passwords(url)) == set(expected)


def test_a_parameter_that_sqlite_would_ignore_is_not_valid() -> None:
    """A slip would silently leave the file less durable than it was meant to be."""
    slips = ("synchronous=ful", "synchronous=full&mode=memory", "synchronous=off", "mode=memory", "Synchronous=full")
    fault = ("has an unknown parameter", "the only one for SQLite is ?synchronous=full")

    assert [database_fault(f"sqlite:///x.db?{slip}") for slip in slips] == [fault] * len(slips)
