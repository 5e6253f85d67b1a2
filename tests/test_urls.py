"""What a URL says about itself."""

import pytest

from bot.urls import database_fault, is_loopback, passwords, proxy_fault

ENCODE = (
    "percent-encode special characters in the user name and the password (@ is %40, : is %3A, / is %2F, # is %23, % is "
    "%25, a space is %20)"
)
SPECIAL = f"{ENCODE}, or leave the password out and set PGPASSWORD"


@pytest.mark.parametrize(("host", "expected"), [("localhost", True), ("::1", True), ("::2", False), ("", False)])
def test_loopback_is_known_without_dns(host: str, *, expected: bool) -> None:
    """The name and the addresses alone decide."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///reload-model.db",
        "sqlite:////data/reload-model.db",
        "sqlite:///reload.db?timeout=5",
        "postgres://db/reloads",
        "postgresql://bot:pw@db.example.com/reloads?sslmode=verify-full",
        "postgresql://db/reloads?schema=public",
        "postgresql://bot:a=b&c,d[1]@db/reloads",
        "postgresql://u:@/db?host=/socket/dir",
        "postgresql:///db?host=/var/run/postgresql&ssl=true",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/db",
        "postgresql://bot:p%40ss@one:5432,two:5433/db?target_session_attrs=read-write",
        "postgresql://bot@[::1]:5432,[::2]/db?options=-csearch_path%3Dbot",
        "postgresql://",
    ],
)
def test_any_libpq_url_and_any_file_is_valid(url: str) -> None:
    """Whatever libpq accepts is left to libpq."""
    assert database_fault(url) is None


@pytest.mark.parametrize("url", ["mysql://db", "reload.db", "postgresql+psycopg://db", "sqlite:x.db", "postgresql:x"])
def test_other_databases_are_not_supported(url: str) -> None:
    """The URL isn't shown: it may hold a password."""
    assert database_fault(url) == ("isn't a database URL", "it must start with sqlite:/// or postgresql://")


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", "sqlite:///?mode=rw"])
def test_requests_are_kept_in_a_file(url: str) -> None:
    """A database in memory would forget them."""
    assert database_fault(url) == ("doesn't name a file", "use one such as sqlite:////data/reload-model.db")


@pytest.mark.parametrize("special", ["@", ":", "/", "#", "%", " ", "?", "%zz", "\t"])
def test_a_special_character_in_a_password_must_be_encoded(special: str) -> None:
    """Else libpq takes a piece of the password for the host's name, and shows it in its errors."""
    for password in (f"hunter{special}2", f"{special}hunter2", f"hunter2{special}", f"1{special}a=b"):
        assert database_fault(f"postgresql://bot:{password}@db/x") == ("isn't a valid URL", SPECIAL)


@pytest.mark.parametrize("url", ["postgresql://db:port/x", "postgresql://db/x/y", "postgresql://db/x?sslmode"])
def test_another_postgresql_url_is_not_valid(url: str) -> None:
    """The fix shows what one looks like."""
    assert database_fault(url) == (
        "isn't a valid URL",
        "use one such as postgresql://user:password@db.example.com/name",
    )


@pytest.mark.parametrize("special", ["@", "/", "#", "%z", " ", "?"])
def test_a_special_character_in_a_proxys_password_must_be_encoded(special: str) -> None:
    """Else a piece of it is taken for the host or the port."""
    assert proxy_fault(f"http://user:12{special}34@proxy:3128") == ("isn't a valid URL", ENCODE)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///reload-model.db", []),
        ("sqlite:///odd:name@home.db", []),
        ("postgresql://bot@db/x", []),
        ("postgresql://u:@/db?host=/socket/dir", ["", ""]),
        ("postgresql://bot:hunter2@db/x", ["hunter2"]),
        ("postgresql://bot:p%40ss@db/x", ["p%40ss", "p@ss"]),
        ("postgresql://bot:hunter2@one:5432,two:5433/x", ["hunter2"]),
        ("postgresql://bot:raw@sign@db/x", ["raw", "raw@sign"]),
        ("postgresql:///x?host=/s&password=hunter2", ["hunter2"]),
        ("postgresql:///x?password=p%26q&sslpassword=other", ["p%26q", "other", "p&q"]),
        ("postgresql:///x?oauth_client_secret=one&scram_client_key=two", ["one", "two"]),
        ("http://user:hunter2@proxy:3128", ["hunter2"]),
    ],
)
def test_passwords_are_found(url: str, expected: list[str]) -> None:
    """As they are written and decoded, in any place."""
    assert set(passwords(url)) == set(expected)
