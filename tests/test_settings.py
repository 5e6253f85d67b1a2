"""The environment and a .env file become Settings, or a list of every problem."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.settings import NAMES, Settings, read
from bot.settings.reader import IN_FILES

BOT_TOKEN = "xoxb-1-secret-of-the-bot"
APP_TOKEN = "xapp-1-secret-of-the-app"
SIGNING = "secret-of-signing"
KEY = "secret-of-modelslab"

REQUIRED = {
    "SLACK_BOT_TOKEN": BOT_TOKEN,
    "SLACK_APP_TOKEN": APP_TOKEN,
    "MODELSLAB_API_KEY": KEY,
    "ALLOWED_USERS": "U0ADA",
}
HTTP = {**REQUIRED, "SLACK_APP_TOKEN": "", "SLACK_SIGNING_SECRET": SIGNING}

DEFAULTS = read(REQUIRED)[0]
"""What is set, and everything else as .env.example has it: see tests/test_docs.py."""

GIVEN: Mapping[str, tuple[str, Any]] = {
    "SLACK_BOT_TOKEN": (BOT_TOKEN, BOT_TOKEN),
    "SLACK_SIGNING_SECRET": (SIGNING, SIGNING),
    "SLACK_API_URL": ("https://slack-gov.com/api", "https://slack-gov.com/api/"),
    "SLASH_COMMAND": ("/reload-model-dev", "/reload-model-dev"),
    "MODELSLAB_API_KEY": (KEY, KEY),
    "MODELSLAB_URL": ("https://proxy.example.com:8443/modelslab/", "https://proxy.example.com:8443/modelslab"),
    "MODELSLAB_CONCURRENCY": ("15", 15),
    "ALLOWED_USERS": ("U0ADA, W0BEN\nS0CREW *", frozenset({"U0ADA", "W0BEN", "S0CREW", "*"})),
    "ADMIN_USERS": ("U0BOSS W0BOSS", frozenset({"U0BOSS", "W0BOSS"})),
    "ADMIN_CHANNEL": ("C0ADMINS", "C0ADMINS"),
    "ALLOWED_CHANNELS": ("C0MODELS G0OPS,C0MODELS", ("C0MODELS", "G0OPS")),
    "COMMANDS_PER_PERSON": ("0", 0),
    "MAX_IN_FLIGHT": ("7", 7),
    "FOLLOW_UP": ("Thread", "thread"),
    "RELOAD_SECONDS": ("0.5", 0.5),
    "DATABASE_URL": ("postgresql://bot:pw@db/reloads", "postgresql://bot:pw@db/reloads"),
    "HOST": ("::", "::"),
    "PORT": ("8080", 8080),
    "ADMIN_PORT": ("9464", 9464),
    "HTTPS_PROXY": ("https://proxy.example.com", "https://proxy.example.com"),
    "HTTP_PROXY": ("proxy.example.com:3128", "http://proxy.example.com:3128"),
    "NO_PROXY": ("slack.com", "slack.com"),
    "LOG_LEVEL": ("debug", "DEBUG"),
    "LOG_FORMAT": ("Console", "console"),
    "HISTORY_DAYS": ("7", 7),
}
"""Every setting of HTTP mode, as it is written and as it is read."""

EVERYTHING = {name: text for name, (text, _) in GIVEN.items()}
EVERYTHING_SET = Settings(slack_app_token="", **{name.lower(): value for name, (_, value) in GIVEN.items()})


def problems(env: Mapping[str, str], dotenv: Path | None = None) -> list[str]:
    """The problems of an environment, as the command line prints them."""
    return list(map(str, read(env, dotenv)[1]))


def problem(name: str, value: str) -> str:
    """The one problem of an environment that is right but for one setting."""
    [only] = problems({**REQUIRED, name: value})
    return only


def load(env: Mapping[str, str], dotenv: Path | None = None, *, terminal: bool = False) -> Settings:
    """The settings of an environment without a problem."""
    settings, found = read(env, dotenv, terminal=terminal)
    assert found == []
    return settings


def loaded(**env: str) -> Settings:
    """The settings of an environment with what is required and these."""
    return load({**REQUIRED, **env})


def test_everything_can_be_set() -> None:
    """Each setting reaches its field, and each field has a name that is known. On a terminal logs are for people."""
    assert load(REQUIRED, terminal=True) == replace(DEFAULTS, log_format="console")
    assert load(EVERYTHING, terminal=True) == EVERYTHING_SET
    assert EVERYTHING_SET.allowed_groups == {"S0CREW"}
    assert {*EVERYTHING, "SLACK_APP_TOKEN", *(f"{name}_FILE" for name in IN_FILES)} == {*NAMES}
    assert {field.name.upper() for field in fields(Settings)} < {*NAMES}


@pytest.mark.parametrize("around", ["  {}\r\n", " '{}' ", '"{}"', "{} # why", '"{}"  # "why"', "'\"{}\"'"])
def test_quotes_and_comments_are_no_part_of_a_value(around: str) -> None:
    """docker run --env-file and kubectl --from-env-file keep them."""
    assert load({name: around.format(value) for name, value in EVERYTHING.items()}) == EVERYTHING_SET


def test_other_quotes_and_hashes_belong_to_the_value() -> None:
    """Only a matching pair is removed, and a comment begins with a space, not in quotes. What is empty is not set."""
    for value in ("'", "\"secret'", "it's'", "a#b"):
        assert loaded(MODELSLAB_API_KEY=value).modelslab_api_key == value
    assert loaded(DATABASE_URL='"sqlite:////data/my #1.db" # why').database_url == "sqlite:////data/my #1.db"
    for value in ("  ", '""', "''", " # why"):
        assert load({**REQUIRED, **dict.fromkeys(EVERYTHING.keys() - REQUIRED.keys(), value)}) == DEFAULTS


def test_the_app_token_decides_the_mode() -> None:
    """With an app token it is Socket Mode, where nothing is signed, and only this machine can ask for health."""
    for signing in (SIGNING, "e\u0301"):
        assert loaded(SLACK_SIGNING_SECRET=signing).socket_mode
    assert problems({**HTTP, "SLACK_SIGNING_SECRET": "e\u0301"}) == [f"SLACK_SIGNING_SECRET {NO_KEY}"]
    assert not load(HTTP).socket_mode
    assert load(HTTP).host == "0.0.0.0"  # noqa: S104 - where Slack's requests come from outside
    assert loaded(HOST="[::1]").host == "::1"
    assert loaded(HOST="0.0.0.0").host == "0.0.0.0"  # noqa: S104 - as the image sets it


@pytest.mark.parametrize("name", IN_FILES)
def test_a_secret_can_be_read_from_a_file(name: str, tmp_path: Path) -> None:
    """As container engines mount them: NAME_FILE is the path. What editors add isn't part of the value."""
    env = {**EVERYTHING, "SLACK_APP_TOKEN": APP_TOKEN}
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbf" + env[name].encode() + b"\r\n")

    assert load({**env, name: "", f"{name}_FILE": str(tmp_path / "secret")}) == load(env)
    assert problems({**env, f"{name}_FILE": str(tmp_path / "secret")}) == [
        f"{name} is set twice, directly and by {name}_FILE: remove one of them"
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The setting isn't reported as missing, too. A secret that was pasted in place of the path isn't shown."""
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff")
    env = {
        "SLACK_BOT_TOKEN_FILE": f"{tmp_path}/missing",
        "SLACK_APP_TOKEN_FILE": f"{tmp_path}/empty",
        "SLACK_SIGNING_SECRET_FILE": SIGNING,
        "MODELSLAB_API_KEY_FILE": f"{tmp_path}/binary",
        "ALLOWED_USERS": "*",
    }
    fix = "_FILE or that file"

    assert problems(env) == [
        f"SLACK_BOT_TOKEN can't be read from {tmp_path}/missing (No such file or directory): fix SLACK_BOT_TOKEN{fix}",
        f"SLACK_APP_TOKEN can't be read from {tmp_path}/empty (it is empty): fix SLACK_APP_TOKEN{fix}",
        f"SLACK_SIGNING_SECRET can't be read from the file (No such file or directory): fix SLACK_SIGNING_SECRET{fix}",
        f"MODELSLAB_API_KEY can't be read from {tmp_path}/binary (it isn't UTF-8): fix MODELSLAB_API_KEY{fix}",
    ]


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    """A .env file to be written."""
    return tmp_path / ".env"


def test_the_environment_wins_over_the_env_file(dotenv: Path) -> None:
    """No file is needed. Docker makes a folder if it doesn't find one, and Windows begins it with a byte order mark."""
    dotenv.mkdir()
    assert load(REQUIRED, dotenv) == DEFAULTS
    dotenv.rmdir()
    assert load(REQUIRED, dotenv) == DEFAULTS
    dotenv.write_bytes(b"\xef\xbb\xbfPORT=1\r\nHOST='from.file' # why\n\nexport HISTORY_DAYS=3\n")
    assert load({**REQUIRED, "PORT": "2"}, dotenv) == replace(DEFAULTS, port=2, host="from.file", history_days=3)
    dotenv.write_text("https_proxy=http://file:1\n")
    assert load({**REQUIRED, "HTTPS_PROXY": "http://env:2"}, dotenv) == replace(DEFAULTS, https_proxy="http://env:2")


def test_an_env_file_that_cannot_be_read_is_a_problem(dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one of another user. tests/ops/doctor shows one in another encoding, beside other problems."""
    fix = "write NAME=value there, and close each quote on the same line"
    dotenv.write_text("# why\nPORT: 3000\nALLOWED_CHANNELS=\nC0OPS\nPORT:3000\nHOST='::\nLOG_LEVEL=DEBUG\n")
    assert problems(REQUIRED, dotenv) == [f"{dotenv} has no setting in line {line}: {fix}" for line in (2, 4, 5, 6)]
    dotenv.write_text("PORT=3000\nPGPASSWORD=a\0b\n")
    assert problems(REQUIRED, dotenv) == [f"{dotenv} has no setting in line 2: {fix}"]
    refused = Mock(side_effect=PermissionError(13, "Permission denied"))
    monkeypatch.setattr("pathlib.Path.read_text", refused)  # root, who may run the tests, can read everything

    assert "can't be read (Permission denied)" in problems(REQUIRED, dotenv)[0]


BOT_FIX = "copy the Bot User OAuth Token (xoxb-…) from OAuth & Permissions on your app's page"
APP_FIX = "copy an App-Level Token (xapp-…) from Basic Information, or remove it for HTTP mode"
MODE_FIX = "set SLACK_APP_TOKEN (Socket Mode, recommended) or SLACK_SIGNING_SECRET (HTTP mode)"
ALLOWED_FIX = "list the Slack IDs of the people who can reload models, or use * for everyone in the workspace"
NO_KEY = "has characters that can't be part of a key: copy it again"
ROTATING = "is a rotating token (xoxe), and this bot doesn't support token rotation: turn it off"
PEOPLE_FIX = "a person's ID looks like U012AB3CD (in Slack: profile, ⋮, Copy member ID), a user group's like S012AB3CD"
CHANNELS_FIX = "a channel ID looks like C012AB3CD (in Slack: at the bottom of the channel's details)"
NO_SERVICE = "isn't an http(s) URL with a host and an optional path: use one such as https://"
IN_CLEAR = "would send secrets unencrypted: use https:// (http:// is for this machine only)"
LINK = "is a Kubernetes service link: set enableServiceLinks: false in the pod, or"
NO_DATABASE = "isn't a database URL: it must start with sqlite:/// or postgresql://"
NO_FILE = "doesn't name a file: use one such as sqlite:////data/reload-model.db"
NO_SQLITE = "has an unknown parameter: the only one for SQLite is ?synchronous=full"
NO_POSTGRES = "isn't a valid URL: use one such as postgresql://user:password@db.example.com/name"
ENCODE = (
    "isn't a valid URL: percent-encode special characters in the user name and the password (@ is %40, : is %3A, / is "
    "%2F, # is %23, % is %25, a space is %20)"
)
NOT_TEXT = "has an encoded character that isn't UTF-8: percent-encode special characters"
NOT_LATIN = "has a character in the user name or the password that isn't in Latin-1: use another password"
NO_PROXY = "isn't an http(s) URL: use one such as http://proxy.example.com:3128"


def test_all_problems_are_reported_at_once() -> None:
    """Nobody has to start the bot once per problem, and each comes with its fix."""
    assert problems({"SLACK_BOT_TOKEN": "xoxp-1"}) == [
        f"SLACK_BOT_TOKEN doesn't start with xoxb-: {BOT_FIX}",
        f"SLACK_SIGNING_SECRET is missing: {MODE_FIX}",
        "MODELSLAB_API_KEY is missing: copy the API key from ModelsLab's dashboard",
        f"ALLOWED_USERS is missing: {ALLOWED_FIX}",
    ]


def test_with_admins_nobody_else_has_to_be_named() -> None:
    """Admins give access in Slack. At most one channel is for their requests."""
    admins = {**REQUIRED, "ALLOWED_USERS": "", "ADMIN_USERS": "U0BOSS"}

    assert load(admins).allowed_users == frozenset()
    assert problems(admins | {"ADMIN_CHANNEL": "C0OPS C0LAB"}) == ["ADMIN_CHANNEL has 2 channels: name one"]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("SLACK_BOT_TOKEN", ["xoxb-...", "xoxb-"], f"is still the placeholder from .env.example: {BOT_FIX}"),
        ("SLACK_APP_TOKEN", ["xapp-..."], f"is still the placeholder from .env.example: {APP_FIX}"),
        ("SLACK_BOT_TOKEN", ["xoxe.xoxb-1-secret", "xoxe-1-secret"], ROTATING),
        ("SLACK_APP_TOKEN", ["xoxe.xoxb-1-secret"], ROTATING),
        ("SLACK_APP_TOKEN", [BOT_TOKEN], "holds a token that starts with xoxb-: swap it with SLACK_BOT_TOKEN"),
        ("MODELSLAB_API_KEY", [APP_TOKEN], "holds a token that starts with xapp-: swap it with SLACK_APP_TOKEN"),
        ("SLACK_BOT_TOKEN", ["\N{LEFT DOUBLE QUOTATION MARK}xoxb-1-secret"], NO_KEY),
        ("SLACK_BOT_TOKEN", [f"{BOT_TOKEN}{flaw}" for flaw in ("\x00x", "\u200b", "é", " x", '"', ",", "\\n")], NO_KEY),
        ("MODELSLAB_API_KEY", ["a key", "\N{CYRILLIC SMALL LETTER A}"], NO_KEY),
        ("SLASH_COMMAND", ["reload", "/", "/two words", "/a`b", f"/{'x' * 32}"], "is {!r}: use a slash and then up to"),
        ("MODELSLAB_CONCURRENCY", ["0", "101", "four", "4.5", "nan", "1e1", "-4"], "is {!r}: use a whole number from"),
        ("MODELSLAB_CONCURRENCY", ["9" * 5000], f"is '{'9' * 40}': use a whole number from 1 to 100"),
        ("RELOAD_SECONDS", ["-0.1", "86401", "nan", "inf", "two"], "is {!r}: use a number from 0 to 86400"),
        ("PORT", ["tcp://10.0.0.1:3000"], f"{LINK} PORT itself"),
        ("HOST", ["0.0.0.0, ::", "a host"], "isn't an address: use one IP address of this machine"),
        ("MODELSLAB_API_KEY", ["\udce9"], "isn't UTF-8: write it again in UTF-8"),
        ("ALLOWED_CHANNELS", [",", ", ,"], f"has no IDs: {CHANNELS_FIX}"),
        ("ADMIN_PORT", ["3000", "03000"], "is the same as PORT: use another port, one that the public can't reach"),
        ("ADMIN_PORT", ["0"], "is '0': use a whole number from 1 to 65535"),
        ("LOG_LEVEL", ["LOUD"], "is {!r}: use one of DEBUG, INFO, WARNING, ERROR"),
        ("FOLLOW_UP", ["dm"], "is {!r}: use one of channel, thread"),
        ("LOG_FORMAT", ["xml"], "is {!r}: use one of json, console"),
        (
            "ALLOWED_USERS",
            ["ada", "@ada", "u0ada", "C0MODELS", "U", "<@U0ADA>", "U0ADA;U0BEN", "U" * 40],
            f"has {{!r}}, which isn't a Slack ID: {PEOPLE_FIX}",
        ),
        (
            "ADMIN_USERS",
            ["ada", "S0CREW", "*"],
            "has {!r}, which isn't a person's Slack ID: admins are listed one by one, by IDs like U012AB3CD",
        ),
        ("ADMIN_CHANNEL", ["C0OPS"], "needs ADMIN_USERS: name the admins there, or remove ADMIN_CHANNEL"),
        (
            "ALLOWED_CHANNELS",
            ["models", "#models", "U0ADA", "c0models", "*"],
            f"has {{!r}}, which isn't a channel ID: {CHANNELS_FIX}",
        ),
        ("SLACK_API_URL", ["slack.com/api", "ftp://slack.com", "https://", "https://[::1"], NO_SERVICE),
        ("SLACK_API_URL", ["https://host:port/", "https://h:99999", "https://m com", "https://m\n/x"], NO_SERVICE),
        ("MODELSLAB_URL", ["https://user:pw@modelslab.com", "https://@modelslab.com", "https://m.com?"], NO_SERVICE),
        ("MODELSLAB_URL", ["https://m.com/?key=1", "https://m.com/#part"], NO_SERVICE),
        ("SLACK_API_URL", ["http://10.0.0.1/", "http://localhost.example.com", "HTTP://127.0.0.1.nip.io"], IN_CLEAR),
        ("MODELSLAB_URL", ["http://modelslab", "http://0.0.0.0:80", "http://[::2]"], IN_CLEAR),
        ("DATABASE_URL", ["mysql://db", "reload.db", "postgresql+psycopg://db"], NO_DATABASE),
        ("DATABASE_URL", ["sqlite:x.db", "postgresql:x"], NO_DATABASE),
        ("DATABASE_URL", ["sqlite:///", "sqlite:///:memory:", "sqlite:///?mode=rw", "sqlite:///file:x.db"], NO_FILE),
        ("DATABASE_URL", ["postgresql://db:port/x", "postgresql://db/x/y", "postgresql://db/x?sslmode"], NO_POSTGRES),
        ("DATABASE_URL", ["postgresql://u:geh%E9im@db/x", "postgresql://u:%00@db/x"], NOT_TEXT),
        # A slip would silently leave the file less durable than it was meant to be.
        (
            "DATABASE_URL",
            [f"sqlite:///x.db?synchronous={slip}" for slip in ("ful", "full&mode=memory", "off")],
            NO_SQLITE,
        ),
        ("DATABASE_URL", [f"sqlite:///x.db?{slip}" for slip in ("mode=memory", "Synchronous=full")], NO_SQLITE),
        (
            "HTTPS_PROXY",
            ["socks5://proxy:1080", "http://", "proxy:port", "a proxy", "http://[::1", "http://[::::]:3128"],
            NO_PROXY,
        ),
        ("HTTPS_PROXY", ["http://[1.2.3.4]", "http://a..b:3128", "http://.a:3128"], NO_PROXY),
        ("HTTPS_PROXY", ["http://user:p%E2%82%ACx@proxy:3128"], NOT_LATIN),
        ("http_proxy", ["socks5://user:pw@proxy:1080"], NO_PROXY),
    ],
)
def test_a_wrong_value_is_a_problem(name: str, values: list[str], expected: str) -> None:
    """It is reported with the fix, and with the value unless that may be a secret."""
    for value in values:
        shown = problem(name, value)

        assert shown.startswith(f"{name.upper()} {expected.format(value)}")
        assert "1-secret" not in shown


def test_a_misspelled_name_is_a_problem() -> None:
    """A limit that is silently ignored lets more people in than the operator thinks."""
    meant = {
        "allowed_channels": "ALLOWED_CHANNELS",
        "ALOWED_CHANNELS": "ALLOWED_CHANNELS",
        "COMMAND_PER_PERSON": "COMMANDS_PER_PERSON",
        "SLACK_TOKEN": "SLACK_BOT_TOKEN",
        "SLACK_COMMAND": "SLASH_COMMAND",
        "MODELSLAB_KEY": "MODELSLAB_API_KEY",
        "MAX_INFLIGHT": "MAX_IN_FLIGHT",
        "LOG_LVL": "LOG_LEVEL",
    }

    assert [problem(name, "x") for name in meant] == [
        f"{name} isn't a setting: did you mean {right}?" for name, right in meant.items()
    ]


def test_other_names_are_ignored_in_the_environment_but_not_in_the_env_file(dotenv: Path) -> None:
    """One holds other programs' settings, too, and Kubernetes' service links; the other what compose and libpq read."""
    others = "SLACK_APP_PATH SLACK_CLIENT_SECRET SLACK_SERVICE_HOST DATABASE_PORT RELOAD_MODEL_PORT LOG_FILE HOSTS"
    more = "FTP_PROXY ALL_PROXY SIGNING_SECRET HOSTNAME HISTSIZE PORTS NODE_HOST POSTGRES_URL"
    assert problems({**REQUIRED, **dict.fromkeys([*others.split(), *more.split()], "")}) == []

    dotenv.write_text("HOSTS=x\nLOGLEVEL=x\nPOSTGRES_PASSWORD=x\nPGHOST=db\nPGPASSWORD=x\nHOSTNAME=x\nTZ=UTC\n")
    assert [found.partition(" ")[0] for found in problems(REQUIRED, dotenv)] == ["HOSTS", "LOGLEVEL"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://LocalHost:8080", "http://127.9.9.9", "http://[::1]:80"),
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
def test_a_url_is_taken_as_it_is(url: str) -> None:
    """A ModelsLab on loopback needs no certificate. A database is any file, and whatever libpq accepts."""
    settings = loaded(**{"MODELSLAB_URL" if url.startswith("http") else "DATABASE_URL": url})

    assert url in (settings.modelslab_url, settings.database_url)


@pytest.mark.parametrize("special", ["@", ":", "/", "#", "%", " ", "?", "%zz", "\t"])
def test_a_special_character_in_a_password_must_be_encoded(special: str) -> None:
    """Else a piece of the password is taken for the host or the port, and shown in errors."""
    for password in (f"hunter{special}2", f"{special}hunter2", f"hunter2{special}", f"1{special}a=b"):
        expected = f"DATABASE_URL {ENCODE}, or leave the password out and set PGPASSWORD"
        assert problem("DATABASE_URL", f"postgresql://bot:{password}@db/x") == expected
    if special not in (":", "%", "\t"):
        assert problem("HTTPS_PROXY", f"http://user:12{special}34@proxy:3128") == f"HTTPS_PROXY {ENCODE}"


@pytest.mark.parametrize(
    ("name", "url", "passwords"),
    [
        ("DATABASE_URL", "sqlite:///odd:name@home.db", set()),
        ("DATABASE_URL", "postgresql://u:@/db?host=/socket/dir", set()),
        ("DATABASE_URL", "postgresql://bot:p%40ss@db/x", {"p%40ss", "p@ss"}),
        ("DATABASE_URL", "postgresql://bot:hunter2@one:5432,two:5433/x", {"hunter2"}),
        ("DATABASE_URL", "postgresql://bot:raw@sign@db/x", {"raw", "raw@sign"}),
        ("DATABASE_URL", "postgresql:///x?password=p%26q&sslpassword=other", {"p%26q", "other", "p&q"}),
        ("DATABASE_URL", "postgresql:///x?oauth_client_secret=alpha&scram_client_key=omega", {"alpha", "omega"}),
        ("HTTPS_PROXY", "http://user:hunter2@proxy:3128", {"hunter2"}),
        ("HTTP_PROXY", "user:hunter2@proxy:3128", {"hunter2"}),
    ],
)
def test_tokens_keys_and_passwords_in_urls_are_secrets(name: str, url: str, passwords: set[str]) -> None:
    """As they are written and decoded, in any place. Settings may be logged, so no repr shows any."""
    settings, _ = read({**REQUIRED, "SLACK_SIGNING_SECRET": SIGNING, name: url})

    assert {*settings.secrets} == {BOT_TOKEN, APP_TOKEN, SIGNING, KEY, *passwords}
    assert not [secret for secret in settings.secrets if secret in repr(settings)]


@pytest.mark.parametrize("name", ["PORT", "LOG_LEVEL", "ALLOWED_USERS", "ALLOWED_CHANNELS", "SLASH_COMMAND"])
def test_a_token_in_the_wrong_setting_is_not_shown(name: str) -> None:
    """A problem shows the value, unless it looks like one of Slack's tokens."""
    for secret in (BOT_TOKEN, APP_TOKEN, f"x{BOT_TOKEN}"):
        assert "a token" in problem(name, secret)
        assert "secret" not in problem(name, secret)


@given(
    st.dictionaries(
        st.sampled_from(["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "MODELSLAB_API_KEY"]),
        st.text(st.characters(categories=["L", "N", "C"]), min_size=8, max_size=40).map(lambda text: f"s3cr{text}3t"),
    )
)
def test_problems_never_show_a_secret(secrets: dict[str, str]) -> None:
    """Whatever the value of a secret setting is."""
    assert "s3cr" not in "\n".join(problems({"PORT": "none", "DATABASE_URL": "postgresql:s3cret", **secrets}))


PROXY = "http://proxy.example.com:3128"


@pytest.mark.parametrize(
    ("name", "by_proxy", "directly"),
    [
        ("HTTPS_PROXY", "https://slack.com/api/ wss://wss-primary.slack.com/link/?ticket=1", "http://example.com/"),
        ("HTTPS_PROXY", "", "wss://[::1 wss://slack.com:99999/"),
        ("HTTP_PROXY", "ws://example.com/ http://example.com/", "https://slack.com/api/"),
        ("HTTP_PROXY", "", "http://127.0.0.1:4000/api/ ws://[::1]:4000/ http://localhost/"),
    ],
)
def test_one_rule_says_which_proxy_is_for_a_url(name: str, by_proxy: str, directly: str) -> None:
    """HTTPS_PROXY is for https and wss, HTTP_PROXY for the rest. This machine itself needs none."""
    for given_name in (name, name.lower()):
        settings = loaded(**{given_name: PROXY})
        assert {settings.proxy_for(url) for url in by_proxy.split()} <= {PROXY}
        assert {settings.proxy_for(url) for url in directly.split()} == {None}


@pytest.mark.parametrize(
    ("listed", "directly", "by_proxy"),
    [
        ("slack.com", "slack.com slack.com:8443 wss.slack.com", "notslack.com slack.com.example.com"),
        (".com", "wss.slack.com", "slack.org"),
        ("*", "modelslab.com", ""),
        ("*.slack.com", "wss.slack.com", "slack.org"),
        ("example.com, SLACK.com:443", "wss.slack.com", "wss.slack.com:8443"),
        ("slack.com:8443", "slack.com:8443", "slack.com"),
        ("10.0.0.0/8", "10.1.2.3 10.1.2.3:8443", "11.1.2.3 slack.com"),
        ("fd00::1", "[fd00::1] [fd00::1]:8443", "[fd00::2] slack.com"),
        ("[fd00::1]:443", "[fd00::1]", "[fd00::1]:8443"),
        ("fd00::/8", "[fd00::1]", "[fe00::1]"),
        ("com.slack a/b", "", "slack.com"),
    ],
)
def test_no_proxy_names_hosts_that_are_reached_directly(listed: str, directly: str, by_proxy: str) -> None:
    """By their name, the end of it, or their address or network. With a port, only at that port."""
    for name in ("NO_PROXY", "no_proxy"):
        settings = loaded(HTTPS_PROXY=PROXY, **{name: listed})
        assert {settings.proxy_for(f"wss://{host}/link/") for host in directly.split()} <= {None}
        assert {settings.proxy_for(f"https://{host}/") for host in by_proxy.split()} <= {PROXY}
