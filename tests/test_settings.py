"""The environment and a .env file become Settings, or every fault is told at once."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import SettingsError
from bot.settings import Settings, environment, is_loopback, load

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

SIGNING_MEND = (
    "set it for HTTP mode (Basic Information in the Slack app's settings), or SLACK_APP_TOKEN for Socket Mode"
)
CHANNEL_MEND = "those look like C012AB3CD (in Slack: the channel's details, at the bottom)"


def faults(env: Mapping[str, str]) -> list[str]:
    """The faults of an environment that is not fit to start with."""
    with pytest.raises(SettingsError) as raised:
        load(env)
    return list(raised.value.problems)


def fault(name: str, value: str) -> str:
    """The one fault of an environment that is right but for one setting."""
    [only] = faults({**REQUIRED, name: value})
    return only


def loaded(**env: str) -> Settings:
    """The settings of an environment with what is required and these."""
    return load({**REQUIRED, **env})


# --- what is right --------------------------------------------------------------------------------------


def test_only_what_is_required_has_no_default() -> None:
    """The defaults are those that the README lists."""
    assert load(REQUIRED) == Settings(
        slack_bot_token=BOT_TOKEN,
        slack_app_token=APP_TOKEN,
        slack_signing_secret="",
        slack_api_url="https://slack.com/api/",
        modelslab_api_key=KEY,
        modelslab_url="https://modelslab.com",
        modelslab_concurrency=4,
        allowed_users=frozenset({"U0ADA"}),
        allowed_channels=(),
        commands_per_person=30,
        max_in_flight=100,
        reload_seconds=120,
        database_url="sqlite:///reload-model.db",
        host="0.0.0.0",  # noqa: S104 - the documented default
        port=3000,
        admin_port=None,
        log_level="INFO",
        log_format="json",
        history_days=90,
    )


def test_everything_can_be_set() -> None:
    """Each setting reaches its field."""
    settings = load(
        {
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_SIGNING_SECRET": SIGNING,
            "SLACK_API_URL": "https://slack-gov.com/api",
            "MODELSLAB_API_KEY": KEY,
            "MODELSLAB_URL": "https://proxy.example.com:8443/modelslab/",
            "MODELSLAB_CONCURRENCY": "15",
            "ALLOWED_USERS": "U0ADA, W0BEN\nU0CEM",
            "ALLOWED_CHANNELS": "C0MODELS G0OPS,C0MODELS",
            "COMMANDS_PER_PERSON": "0",
            "MAX_IN_FLIGHT": "7",
            "RELOAD_SECONDS": "0.5",
            "DATABASE_URL": "postgresql://bot:pw@db/reloads",
            "HOST": "127.0.0.1",
            "PORT": "8080",
            "ADMIN_PORT": "9464",
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "Console",
            "HISTORY_DAYS": "7",
        }
    )

    assert settings == Settings(
        slack_bot_token=BOT_TOKEN,
        slack_app_token="",
        slack_signing_secret=SIGNING,
        slack_api_url="https://slack-gov.com/api/",
        modelslab_api_key=KEY,
        modelslab_url="https://proxy.example.com:8443/modelslab",
        modelslab_concurrency=15,
        allowed_users=frozenset({"U0ADA", "W0BEN", "U0CEM"}),
        allowed_channels=("C0MODELS", "G0OPS"),
        commands_per_person=0,
        max_in_flight=7,
        reload_seconds=0.5,
        database_url="postgresql://bot:pw@db/reloads",
        host="127.0.0.1",
        port=8080,
        admin_port=9464,
        log_level="DEBUG",
        log_format="console",
        history_days=7,
    )


def test_the_app_token_decides_the_mode() -> None:
    """With an app token it is Socket Mode, whatever else is set; without one HTTP mode."""
    http = load({**REQUIRED, "SLACK_APP_TOKEN": "", "SLACK_SIGNING_SECRET": SIGNING})

    assert loaded(SLACK_SIGNING_SECRET=SIGNING).socket_mode
    assert not http.socket_mode


def test_a_person_at_a_terminal_gets_readable_logs() -> None:
    """On a terminal the format is console, unless it is set."""
    assert load(REQUIRED, terminal=True).log_format == "console"
    assert load({**REQUIRED, "LOG_FORMAT": "json"}, terminal=True).log_format == "json"


def test_everyone_may_be_allowed() -> None:
    """* stands for everyone, alone or among ids."""
    assert loaded(ALLOWED_USERS="*").allowed_users == {"*"}
    assert loaded(ALLOWED_USERS="*, U0ADA").allowed_users == {"*", "U0ADA"}


def test_spaces_around_a_value_are_no_part_of_it() -> None:
    """What was copied with a line end still works, and a value of spaces counts as none."""
    settings = loaded(SLACK_BOT_TOKEN=f" {BOT_TOKEN}\n", PORT="  ")

    assert (settings.slack_bot_token, settings.port) == (BOT_TOKEN, 3000)


# --- what is faulty -------------------------------------------------------------------------------------


def test_every_fault_is_told_at_once() -> None:
    """Nobody has to start the bot as often as there are faults; each comes with its mend."""
    everything = {
        "SLACK_BOT_TOKEN": APP_TOKEN,
        "SLACK_API_URL": "ftp://slack.com",
        "MODELSLAB_URL": "http://modelslab.com",
        "MODELSLAB_CONCURRENCY": "0",
        "ALLOWED_CHANNELS": "#models",
        "RELOAD_SECONDS": "-1",
        "DATABASE_URL": "mysql://db",
        "PORT": "http",
        "LOG_LEVEL": "LOUD",
        "LOG_FORMAT": "xml",
        "HISTORY_DAYS": "1.5",
    }

    assert faults(everything) == [
        "SLACK_BOT_TOKEN does not begin with xoxb-: copy the right token from the Slack app's settings",
        f"SLACK_SIGNING_SECRET is not set: {SIGNING_MEND}",
        "SLACK_API_URL is no http(s) URL: give one such as https://slack.com/api/",
        "MODELSLAB_API_KEY is not set: copy it from ModelsLab's dashboard",
        "MODELSLAB_URL would send secrets unencrypted: use https:// (http:// is for this machine only)",
        "MODELSLAB_CONCURRENCY is '0': give a whole number from 1 to 100",
        "ALLOWED_USERS is not set: give the Slack ids of those who may reload models, or * for everyone",
        f"ALLOWED_CHANNELS has '#models', which is no channel's id: {CHANNEL_MEND}",
        "RELOAD_SECONDS is '-1': give a number from 0 to 86400",
        "DATABASE_URL names no database that is known: begin it with sqlite:/// or postgresql://",
        "PORT is 'http': give a whole number from 0 to 65535",
        "LOG_LEVEL is 'LOUD': give one of DEBUG, INFO, WARNING, ERROR",
        "LOG_FORMAT is 'xml': give one of json, console",
        "HISTORY_DAYS is '1.5': give a whole number from 1 to 36500",
    ]


def test_an_empty_environment_misses_what_is_required() -> None:
    """Four things have no default."""
    assert [fault.partition(":")[0] for fault in faults({})] == [
        "SLACK_BOT_TOKEN is not set",
        "SLACK_SIGNING_SECRET is not set",
        "MODELSLAB_API_KEY is not set",
        "ALLOWED_USERS is not set",
    ]


@pytest.mark.parametrize("name", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "MODELSLAB_API_KEY"])
@pytest.mark.parametrize("flaw", ["\x00", "\u200b", "é"])
def test_a_secret_with_characters_that_none_has_was_copied_badly(name: str, flaw: str) -> None:
    """Such a secret would break an HTTP header; its value is not shown."""
    assert fault(name, f"{REQUIRED[name]}{flaw}x") == f"{name} holds characters that no key has: copy it again"


def test_a_signing_secret_with_such_characters_is_a_fault_too() -> None:
    """In HTTP mode the signing secret is held to the same."""
    env = {**REQUIRED, "SLACK_APP_TOKEN": "", "SLACK_SIGNING_SECRET": "e\u0301"}

    assert faults(env) == ["SLACK_SIGNING_SECRET holds characters that no key has: copy it again"]


def test_tokens_in_each_others_place_are_told_apart() -> None:
    """Both settings are named, and neither token is shown."""
    assert faults({**REQUIRED, "SLACK_BOT_TOKEN": APP_TOKEN, "SLACK_APP_TOKEN": BOT_TOKEN}) == [
        "SLACK_BOT_TOKEN does not begin with xoxb-: copy the right token from the Slack app's settings",
        "SLACK_APP_TOKEN does not begin with xapp-: copy the right token from the Slack app's settings",
    ]


@pytest.mark.parametrize("value", ["0", "101", "four", "4.5", "nan", "1e1", "9" * 5000, "-4"])
def test_a_count_is_a_whole_number_in_its_range(value: str) -> None:
    """Anything else is a fault, shown in part."""
    assert fault("MODELSLAB_CONCURRENCY", value) == (
        f"MODELSLAB_CONCURRENCY is {value[:40]!r}: give a whole number from 1 to 100"
    )


@pytest.mark.parametrize("value", ["-0.1", "86401", "nan", "inf", "two", "9" * 5000])
def test_seconds_are_a_number_in_their_range(value: str) -> None:
    """Not a number is no number."""
    assert fault("RELOAD_SECONDS", value) == f"RELOAD_SECONDS is {value[:40]!r}: give a number from 0 to 86400"


@pytest.mark.parametrize("value", ["ada", "@ada", "u0ada", "C0MODELS", "U", "<@U0ADA>", "U0ADA;U0BEN", "U" * 40])
def test_people_are_named_by_id(value: str) -> None:
    """Names, mentions and ids of channels allow nobody."""
    assert fault("ALLOWED_USERS", value) == (
        f"ALLOWED_USERS has {value!r}, which is no person's id: those look like U012AB3CD "
        "(in Slack: profile, ⋮, Copy member ID), and those of user groups like S012AB3CD"
    )


def test_user_groups_are_named_by_id() -> None:
    """Beside people, and apart from them."""
    allowed = loaded(ALLOWED_USERS="S0CREW U0ADA * S0TEAM")

    assert allowed.allowed_users == {"S0CREW", "S0TEAM", "U0ADA", "*"}
    assert allowed.allowed_groups == {"S0CREW", "S0TEAM"}


@pytest.mark.parametrize("value", ["models", "#models", "U0ADA", "c0models", "*"])
def test_channels_are_named_by_id(value: str) -> None:
    """Names and ids of people are no channels, and any channel is said by naming none."""
    assert fault("ALLOWED_CHANNELS", value) == (
        f"ALLOWED_CHANNELS has {value!r}, which is no channel's id: {CHANNEL_MEND}"
    )


@pytest.mark.parametrize(
    "value", ["slack.com/api", "ftp://slack.com", "https://", "https://[::1", "https://host:port/", "https://h:99999"]
)
def test_a_service_is_named_by_its_url(value: str) -> None:
    """What is no URL of HTTP is a fault, and not shown: it may hold a secret."""
    assert fault("SLACK_API_URL", value) == "SLACK_API_URL is no http(s) URL: give one such as https://slack.com/api/"


@pytest.mark.parametrize(
    "value",
    [
        "https://user:pw@modelslab.com",
        "https://@modelslab.com",
        "https://modelslab.com/?key=1",
        "https://modelslab.com?",
        "https://modelslab.com/#part",
        "https://models lab.com",
        "https://modelslab.com\n/x",
    ],
)
def test_a_services_url_is_a_host_and_a_path(value: str) -> None:
    """A path is joined to it, so it holds nothing else."""
    assert fault("MODELSLAB_URL", value) == (
        "MODELSLAB_URL holds more than a host and a path: give one such as https://modelslab.com"
    )


@pytest.mark.parametrize("name", ["SLACK_API_URL", "MODELSLAB_URL"])
@pytest.mark.parametrize("host", ["modelslab", "10.0.0.1", "0.0.0.0", "localhost.example.com", "127.0.0.1.nip.io"])  # noqa: S104 - what is to be refused
def test_secrets_leave_this_machine_encrypted_only(name: str, host: str) -> None:
    """http:// is refused for every host but loopback."""
    assert fault(name, f"http://{host}/api/").startswith(f"{name} would send secrets unencrypted: ")


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8080", "127.0.0.1:3999", "127.9.9.9", "[::1]:80"])
def test_on_this_machine_http_will_do(host: str) -> None:
    """A ModelsLab on loopback needs no certificate."""
    assert loaded(MODELSLAB_URL=f"http://{host}").modelslab_url == f"http://{host}"


@pytest.mark.parametrize(("host", "expected"), [("localhost", True), ("::1", True), ("::2", False), ("", False)])
def test_loopback_is_known_without_asking_a_resolver(host: str, *, expected: bool) -> None:
    """The name and the addresses alone decide."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "value",
    [
        "sqlite:///reload-model.db",
        "sqlite:////data/reload-model.db",
        "sqlite:///reload.db?timeout=5",
        "postgres://db/reloads",
        "postgresql://bot:pw@db.example.com/reloads?sslmode=verify-full",
        "postgresql://u:@/db?host=/socket/dir",
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://bot:p%40ss@one:5432,two:5433/db?target_session_attrs=read-write",
        "postgresql://bot@[::1]:5432/db",
    ],
)
def test_any_libpq_url_and_any_file_will_do(value: str) -> None:
    """Whatever libpq takes is left to libpq."""
    assert loaded(DATABASE_URL=value).database_url == value


@pytest.mark.parametrize("value", ["mysql://db", "reload.db", "postgresql+psycopg://db", "sqlite:x.db", "postgresql:x"])
def test_other_databases_are_not_known(value: str) -> None:
    """A URL of another kind is a fault, and not shown: it may hold a password."""
    assert fault("DATABASE_URL", value) == (
        "DATABASE_URL names no database that is known: begin it with sqlite:/// or postgresql://"
    )


@pytest.mark.parametrize("value", ["sqlite:///", "sqlite:///:memory:", "sqlite:///?mode=rw"])
def test_what_people_ask_for_is_kept_in_a_file(value: str) -> None:
    """A database in memory would forget it."""
    assert fault("DATABASE_URL", value) == (
        "DATABASE_URL names no file: give one such as sqlite:////data/reload-model.db"
    )


# --- what is secret -------------------------------------------------------------------------------------


def test_no_repr_shows_a_secret() -> None:
    """Settings may be logged."""
    settings = loaded(SLACK_SIGNING_SECRET=SIGNING, DATABASE_URL="postgresql://bot:hunter2@db/x")

    assert not [secret for secret in (BOT_TOKEN, APP_TOKEN, SIGNING, KEY, "hunter2") if secret in repr(settings)]


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("sqlite:///reload-model.db", []),
        ("sqlite:///odd:name@home.db", []),
        ("postgresql://bot@db/x", []),
        ("postgresql://u:@/db?host=/socket/dir", []),
        ("postgresql://bot:hunter2@db/x", ["hunter2"]),
        ("postgresql://bot:p%40ss@db/x", ["p%40ss", "p@ss"]),
        ("postgresql://bot:hunter2@one:5432,two:5433/x", ["hunter2"]),
        ("postgresql://bot:hash#mark@db/x", ["hash#mark"]),
        ("postgresql://bot:raw@sign@db/x", ["raw", "raw@sign"]),
        ("postgresql://bot:hunter2@[::1/x", ["hunter2"]),
        ("postgresql:///x?host=/s&password=hunter2", ["hunter2"]),
        ("postgresql:///x?password=p%26q&sslpassword=other", ["p%26q", "other", "p&q"]),
    ],
)
def test_the_databases_password_is_a_secret_too(url: str, passwords: list[str]) -> None:
    """However odd the URL, its password is known, as it stands there and decoded."""
    assert list(loaded(DATABASE_URL=url).secrets) == [BOT_TOKEN, APP_TOKEN, KEY, *passwords]


@pytest.mark.parametrize("name", ["PORT", "LOG_LEVEL", "ALLOWED_USERS", "ALLOWED_CHANNELS", "RELOAD_SECONDS"])
@pytest.mark.parametrize("secret", [BOT_TOKEN, APP_TOKEN, f"x{BOT_TOKEN}"])
def test_a_token_in_the_wrong_place_is_not_shown(name: str, secret: str) -> None:
    """A fault shows the value, unless that looks like a token of Slack's."""
    assert "a token" in fault(name, secret)
    assert "secret" not in fault(name, secret)


@given(
    st.dictionaries(
        st.sampled_from(["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "MODELSLAB_API_KEY"]),
        st.text(st.characters(categories=["L", "N", "C"]), min_size=8, max_size=40).map(lambda text: f"s3cr{text}3t"),
    )
)
def test_faults_never_show_a_secret(secrets: dict[str, str]) -> None:
    """Whatever stands where a secret belongs stays out of every fault."""
    told = "\n".join(faults({"PORT": "none", "DATABASE_URL": "postgresql:s3cret", **secrets}))

    assert "s3cr" not in told


# --- where it comes from --------------------------------------------------------------------------------


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    """A .env file to be written."""
    return tmp_path / ".env"


def test_the_environment_wins_over_the_file(dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env file adds to the environment and changes nothing in it."""
    dotenv.write_text("PORT=1\nHOST='from file' # why\nLOG_LEVEL\nexport HISTORY_DAYS=3\n")
    monkeypatch.setenv("PORT", "2")
    monkeypatch.delenv("HOST", raising=False)

    found = environment(dotenv)

    assert (found["PORT"], found["HOST"], found["HISTORY_DAYS"]) == ("2", "from file", "3")
    assert "LOG_LEVEL" not in found
    assert os.environ.items() <= found.items()


def test_a_byte_order_mark_is_no_part_of_a_name(dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some editors on Windows begin a file so."""
    monkeypatch.delenv("PORT", raising=False)
    dotenv.write_bytes(b"\xef\xbb\xbfPORT=1\r\n")

    assert environment(dotenv)["PORT"] == "1"


def test_no_file_is_needed(dotenv: Path) -> None:
    """Without a .env file the environment is all there is."""
    assert environment(dotenv) == dict(os.environ)


def test_a_folder_of_that_name_is_no_file(dotenv: Path) -> None:
    """Docker makes a folder of what it is told to mount and does not find."""
    dotenv.mkdir()

    assert environment(dotenv) == dict(os.environ)


def test_a_file_that_is_no_text_is_a_fault(dotenv: Path) -> None:
    """A file in another encoding is told as a fault of the settings."""
    dotenv.write_bytes(b"PORT=\xff\n")

    with pytest.raises(SettingsError) as raised:
        environment(dotenv)
    assert raised.value.problems == (f"{dotenv} cannot be read (it is not UTF-8): make it a readable text in UTF-8",)


def test_a_file_that_may_not_be_read_is_a_fault(dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that belongs to somebody else."""

    def refuse(*_args: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bot.settings.dotenv_values", refuse)  # whoever runs the tests as root may read everything

    with pytest.raises(SettingsError, match="cannot be read \\(Permission denied\\)"):
        environment(dotenv)
