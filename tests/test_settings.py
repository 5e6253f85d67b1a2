"""The environment and a .env file become Settings, or a list of every problem."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import SettingsError
from bot.settings import IN_FILES, NAMES, Settings, load, read

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

BOT_FIX = "copy the Bot User OAuth Token (xoxb-…) from OAuth & Permissions on your app's page"
APP_FIX = "copy an App-Level Token (xapp-…) from Basic Information, or remove it for HTTP mode"
PEOPLE_FIX = "people's IDs look like U012AB3CD (in Slack: profile, ⋮, Copy member ID), user groups' IDs like S012AB3CD"
CHANNELS_FIX = "channels' IDs look like C012AB3CD (in Slack: at the bottom of the channel's details)"
MODE_FIX = "set SLACK_APP_TOKEN (Socket Mode, recommended) or SLACK_SIGNING_SECRET (HTTP mode)"
ALLOWED_FIX = "list the Slack IDs of the people who can reload models, or use * for everyone in the workspace"
DATABASE_FIX = "it must start with sqlite:/// or postgresql://"


def problems(env: Mapping[str, str], dotenv: Path | None = None) -> list[str]:
    """The problems of an environment, as the command line prints them."""
    return list(map(str, read(env, dotenv)[1]))


def problem(name: str, value: str) -> str:
    """The one problem of an environment that is right but for one setting."""
    [only] = problems({**REQUIRED, name: value})
    return only


def loaded(**env: str) -> Settings:
    """The settings of an environment with what is required and these."""
    return load({**REQUIRED, **env})


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
        https_proxy="",
        http_proxy="",
        no_proxy="",
        log_level="INFO",
        log_format="json",
        history_days=90,
    )


EVERYTHING = {
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
    "HTTPS_PROXY": "https://proxy.example.com",
    "HTTP_PROXY": "proxy.example.com:3128",
    "NO_PROXY": "slack.com",
    "LOG_LEVEL": "debug",
    "LOG_FORMAT": "Console",
    "HISTORY_DAYS": "7",
}

EVERYTHING_SET = Settings(
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
    https_proxy="https://proxy.example.com",
    http_proxy="http://proxy.example.com:3128",
    no_proxy="slack.com",
    log_level="DEBUG",
    log_format="console",
    history_days=7,
)


def test_everything_can_be_set() -> None:
    """Each setting reaches its field."""
    assert load(EVERYTHING) == EVERYTHING_SET
    assert {field.name.upper() for field in fields(Settings)} == {*EVERYTHING, "SLACK_APP_TOKEN"}


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_around_a_value_are_taken_off(quote: str) -> None:
    """docker run --env-file and kubectl --from-env-file keep them."""
    assert load({name: f" {quote}{value}{quote} " for name, value in EVERYTHING.items()}) == EVERYTHING_SET


@pytest.mark.parametrize("value", ["'", "\"secret'", "it's'"])
def test_other_quotes_belong_to_the_value(value: str) -> None:
    """Only a matching pair is taken off."""
    assert loaded(MODELSLAB_API_KEY=value).modelslab_api_key == value


def test_the_app_token_decides_the_mode() -> None:
    """With an app token it is Socket Mode, whatever else is set; without one HTTP mode."""
    http = load({**REQUIRED, "SLACK_APP_TOKEN": "", "SLACK_SIGNING_SECRET": SIGNING})

    assert loaded(SLACK_SIGNING_SECRET=SIGNING).socket_mode
    assert not http.socket_mode


def test_a_person_at_a_terminal_gets_readable_logs() -> None:
    """On a terminal the format is console, unless it is set."""
    assert load(REQUIRED, terminal=True).log_format == "console"
    assert load({**REQUIRED, "LOG_FORMAT": "json"}, terminal=True).log_format == "json"


def test_everyone_can_be_allowed() -> None:
    """* stands for everyone, alone or among IDs."""
    assert loaded(ALLOWED_USERS="*").allowed_users == {"*"}
    assert loaded(ALLOWED_USERS="*, U0ADA").allowed_users == {"*", "U0ADA"}


def test_spaces_around_a_value_are_ignored() -> None:
    """A value that was copied with a line end works, and one of spaces counts as not set."""
    settings = loaded(SLACK_BOT_TOKEN=f" {BOT_TOKEN}\n", PORT="  ")

    assert (settings.slack_bot_token, settings.port) == (BOT_TOKEN, 3000)


def test_all_problems_are_reported_at_once() -> None:
    """Nobody has to start the bot once per problem, and each comes with its fix."""
    everything = {
        "SLACK_BOT_TOKEN": "xoxp-1",
        "SLACK_API_URL": "ftp://slack.com",
        "MODELSLAB_URL": "http://modelslab.com",
        "MODELSLAB_CONCURRENCY": "0",
        "ALLOWED_CHANNELS": "#models",
        "RELOAD_SECONDS": "-1",
        "DATABASE_URL": "mysql://db",
        "PORT": "http",
        "HTTPS_PROXY": "socks5://proxy",
        "LOG_LEVEL": "LOUD",
        "LOG_FORMAT": "xml",
        "HISTORY_DAYS": "1.5",
        "ALLOWED_CHANEL": "C0MODELS",
    }

    expected = [
        "ALLOWED_CHANEL isn't a setting: did you mean ALLOWED_CHANNELS?",
        f"SLACK_BOT_TOKEN doesn't start with xoxb-: {BOT_FIX}",
        f"SLACK_SIGNING_SECRET is missing: {MODE_FIX}",
        "SLACK_API_URL isn't an http(s) URL: use one such as https://slack.com/api/",
        "MODELSLAB_API_KEY is missing: copy the API key from ModelsLab's dashboard",
        "MODELSLAB_URL would send secrets unencrypted: use https:// (http:// is for this machine only)",
        "MODELSLAB_CONCURRENCY is '0': use a whole number from 1 to 100",
        f"ALLOWED_USERS is missing: {ALLOWED_FIX}",
        f"ALLOWED_CHANNELS has '#models', which isn't a channel's ID: {CHANNELS_FIX}",
        "RELOAD_SECONDS is '-1': use a number from 0 to 86400",
        f"DATABASE_URL isn't a database's URL: {DATABASE_FIX}",
        "PORT is 'http': use a whole number from 0 to 65535",
        "HTTPS_PROXY isn't an http(s) URL: use one such as http://proxy.example.com:3128",
        "LOG_LEVEL is 'LOUD': use one of DEBUG, INFO, WARNING, ERROR",
        "LOG_FORMAT is 'xml': use one of json, console",
        "HISTORY_DAYS is '1.5': use a whole number from 1 to 36500",
    ]
    assert problems(everything) == expected
    with pytest.raises(SettingsError) as raised:
        load(everything)
    assert str(raised.value) == "; ".join(expected)


def test_an_empty_environment_misses_what_is_required() -> None:
    """Four things have no default."""
    assert [found.partition(":")[0] for found in problems({})] == [
        "SLACK_BOT_TOKEN is missing",
        "SLACK_SIGNING_SECRET is missing",
        "MODELSLAB_API_KEY is missing",
        "ALLOWED_USERS is missing",
    ]


@pytest.mark.parametrize("name", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "MODELSLAB_API_KEY"])
@pytest.mark.parametrize("flaw", ["\x00", "\u200b", "é"])
def test_a_secret_that_was_copied_badly(name: str, flaw: str) -> None:
    """It would break an HTTP header. Its value isn't shown."""
    assert problem(name, f"{REQUIRED[name]}{flaw}x") == f"{name} has characters that no key has: copy it again"


def test_a_signing_secret_that_was_copied_badly() -> None:
    """In HTTP mode it is checked like the other secrets."""
    env = {**REQUIRED, "SLACK_APP_TOKEN": "", "SLACK_SIGNING_SECRET": "e\u0301"}

    assert problems(env) == ["SLACK_SIGNING_SECRET has characters that no key has: copy it again"]


def test_swapped_tokens_are_named_as_swapped() -> None:
    """Both settings are named, and neither token is shown."""
    assert problems({**REQUIRED, "SLACK_BOT_TOKEN": APP_TOKEN, "SLACK_APP_TOKEN": BOT_TOKEN}) == [
        "SLACK_BOT_TOKEN holds a token that starts with xapp-: swap it with SLACK_APP_TOKEN",
        "SLACK_APP_TOKEN holds a token that starts with xoxb-: swap it with SLACK_BOT_TOKEN",
    ]


@pytest.mark.parametrize("name", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"])
@pytest.mark.parametrize("token", ["xoxe.xoxb-1-secret", "xoxe-1-secret"])
def test_a_rotating_token_is_named_as_what_it_is(name: str, token: str) -> None:
    """The bot would stop after twelve hours."""
    found = problem(name, token)

    assert found.startswith(
        f"{name} is a rotating token (xoxe), and this bot doesn't support token rotation: turn it off"
    )
    assert "secret" not in found


@pytest.mark.parametrize(
    ("name", "placeholder", "fix"),
    [("SLACK_BOT_TOKEN", "xoxb-...", BOT_FIX), ("SLACK_APP_TOKEN", "xapp-...", APP_FIX)],
)
def test_a_placeholder_is_not_a_token(name: str, placeholder: str, fix: str) -> None:
    """It is what .env.example holds."""
    assert problem(name, placeholder) == f"{name} is still the placeholder of .env.example: {fix}"


@pytest.mark.parametrize("value", ["0", "101", "four", "4.5", "nan", "1e1", "9" * 5000, "-4"])
def test_a_count_is_a_whole_number_in_its_range(value: str) -> None:
    """Anything else is a problem, shown in part."""
    assert problem("MODELSLAB_CONCURRENCY", value) == (
        f"MODELSLAB_CONCURRENCY is {value[:40]!r}: use a whole number from 1 to 100"
    )


@pytest.mark.parametrize("value", ["-0.1", "86401", "nan", "inf", "two", "9" * 5000])
def test_seconds_are_a_number_in_their_range(value: str) -> None:
    """Not a number isn't one."""
    assert problem("RELOAD_SECONDS", value) == f"RELOAD_SECONDS is {value[:40]!r}: use a number from 0 to 86400"


@pytest.mark.parametrize("name", ["PORT", "ADMIN_PORT"])
def test_a_service_link_of_kubernetes_is_named_as_the_cause(name: str) -> None:
    """A pod gets NAME_PORT for each service, unless told otherwise."""
    assert problem(name, "tcp://10.0.0.1:3000") == (
        f"{name} is a Kubernetes service link: set enableServiceLinks: false in the pod, or {name} itself"
    )


@pytest.mark.parametrize(
    ("port", "text"), [("3000", "is the same as PORT"), ("0", "is '0': use a whole number from 1 to 65535")]
)
def test_the_operators_port_is_one_of_its_own(port: str, text: str) -> None:
    """PORT is public."""
    assert problem("ADMIN_PORT", port).startswith(f"ADMIN_PORT {text}")


@pytest.mark.parametrize("value", ["ada", "@ada", "u0ada", "C0MODELS", "U", "<@U0ADA>", "U0ADA;U0BEN", "U" * 40])
def test_people_are_named_by_id(value: str) -> None:
    """Names, mentions and channels' IDs allow nobody."""
    assert problem("ALLOWED_USERS", value) == f"ALLOWED_USERS has {value!r}, which isn't a Slack ID: {PEOPLE_FIX}"


def test_user_groups_are_named_by_id() -> None:
    """Beside people, and apart from them."""
    allowed = loaded(ALLOWED_USERS="S0CREW U0ADA * S0TEAM")

    assert allowed.allowed_users == {"S0CREW", "S0TEAM", "U0ADA", "*"}
    assert allowed.allowed_groups == {"S0CREW", "S0TEAM"}


@pytest.mark.parametrize("value", ["models", "#models", "U0ADA", "c0models", "*"])
def test_channels_are_named_by_id(value: str) -> None:
    """Leaving the setting out allows every channel."""
    assert problem("ALLOWED_CHANNELS", value) == (
        f"ALLOWED_CHANNELS has {value!r}, which isn't a channel's ID: {CHANNELS_FIX}"
    )


@pytest.mark.parametrize(
    "value", ["slack.com/api", "ftp://slack.com", "https://", "https://[::1", "https://host:port/", "https://h:99999"]
)
def test_a_service_is_named_by_its_url(value: str) -> None:
    """What isn't one isn't shown: it may hold a secret."""
    assert (
        problem("SLACK_API_URL", value) == "SLACK_API_URL isn't an http(s) URL: use one such as https://slack.com/api/"
    )


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
    """A path is appended to it, so it holds nothing else."""
    assert problem("MODELSLAB_URL", value) == (
        "MODELSLAB_URL has more than a host and a path: use one such as https://modelslab.com"
    )


@pytest.mark.parametrize("name", ["SLACK_API_URL", "MODELSLAB_URL"])
@pytest.mark.parametrize("host", ["modelslab", "10.0.0.1", "0.0.0.0", "localhost.example.com", "127.0.0.1.nip.io"])  # noqa: S104 - what is refused
def test_secrets_leave_this_machine_only_encrypted(name: str, host: str) -> None:
    """http:// is refused for every host but loopback."""
    assert problem(name, f"http://{host}/api/").startswith(f"{name} would send secrets unencrypted: ")


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8080", "127.0.0.1:3999", "127.9.9.9", "[::1]:80"])
def test_http_is_enough_on_this_machine(host: str) -> None:
    """A ModelsLab on loopback needs no certificate."""
    assert loaded(MODELSLAB_URL=f"http://{host}").modelslab_url == f"http://{host}"


@pytest.mark.parametrize("name", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "MODELSLAB_API_KEY"])
def test_a_secret_can_be_read_from_a_file(name: str, tmp_path: Path) -> None:
    """As container engines mount them: NAME_FILE is the path. The line end isn't part of the value."""
    env = {**EVERYTHING, "SLACK_APP_TOKEN": APP_TOKEN}
    (tmp_path / "secret").write_text(env[name] + "\n")
    from_file = load({**env, name: "", f"{name}_FILE": str(tmp_path / "secret")})

    assert from_file == load(env)


def test_the_databases_url_can_be_read_from_a_file(tmp_path: Path) -> None:
    """It holds a password."""
    (tmp_path / "url").write_text("postgresql://bot:hunter2@db/x\r\n")

    assert loaded(DATABASE_URL_FILE=str(tmp_path / "url")).database_url == "postgresql://bot:hunter2@db/x"


@pytest.mark.parametrize("name", IN_FILES)
def test_a_setting_and_its_file_are_not_both_set(name: str, tmp_path: Path) -> None:
    """It would be a guess which one counts."""
    value = {**REQUIRED, "SLACK_SIGNING_SECRET": SIGNING, "DATABASE_URL": "sqlite:///x.db"}[name]
    (tmp_path / "other").write_text("xoxb-other")

    assert problems({**REQUIRED, name: value, f"{name}_FILE": str(tmp_path / "other")}) == [
        f"{name} is set twice, here and by {name}_FILE: remove one of them"
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """That is the only problem then: the setting isn't reported as missing, too."""
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff")
    env = {
        "SLACK_BOT_TOKEN_FILE": f"{tmp_path}/missing",
        "SLACK_APP_TOKEN_FILE": f"{tmp_path}/empty",
        "MODELSLAB_API_KEY_FILE": f"{tmp_path}/binary",
        "ALLOWED_USERS": "*",
    }
    fix = "_FILE or that file"

    assert problems(env) == [
        f"SLACK_BOT_TOKEN can't be read from {tmp_path}/missing (No such file or directory): fix SLACK_BOT_TOKEN{fix}",
        f"SLACK_APP_TOKEN can't be read from {tmp_path}/empty (it is empty): fix SLACK_APP_TOKEN{fix}",
        f"MODELSLAB_API_KEY can't be read from {tmp_path}/binary (it isn't UTF-8): fix MODELSLAB_API_KEY{fix}",
    ]


def test_a_secret_in_place_of_its_file_is_not_shown() -> None:
    """Somebody may paste the value into the wrong setting."""
    found = problems({**REQUIRED, "MODELSLAB_API_KEY": "", "MODELSLAB_API_KEY_FILE": KEY})

    assert [text.partition(":")[0] for text in found] == [
        "MODELSLAB_API_KEY can't be read from the file (No such file or directory)"
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ALLOWED_CHANNEL", "ALLOWED_CHANNELS"),
        ("allowed_channels", "ALLOWED_CHANNELS"),
        ("SLACK_TOKEN", "SLACK_BOT_TOKEN"),
        ("SLACK_BOT_USER_TOKEN", "SLACK_BOT_TOKEN"),
        ("MODELSLAB_KEY", "MODELSLAB_API_KEY"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("MAX_INFLIGHT", "MAX_IN_FLIGHT"),
        ("LOG_LVL", "LOG_LEVEL"),
    ],
)
def test_a_misspelled_name_is_a_problem(name: str, meant: str) -> None:
    """A limit that is silently ignored lets more people in than the operator thinks."""
    assert problem(name, "x") == f"{name} isn't a setting: did you mean {meant}?"


@pytest.mark.parametrize(
    "name",
    [
        "SLACK_APP_PATH",
        "SLACK_CLIENT_SECRET",
        "SLACK_SERVICE_HOST",
        "DATABASE_PORT",
        "DATABASE_PUBLIC_URL",
        "RELOAD_MODEL_PORT",
        "LOG_FILE",
        "ADMIN_PASSWORD",
        "HOSTS",
        "https_proxy",
    ],
)
def test_other_names_in_the_environment_are_ignored(name: str) -> None:
    """It holds other programs' settings, too, and Kubernetes' service links."""
    assert problems({**REQUIRED, name: ""}) == []


@pytest.mark.parametrize("name", ["HOSTS", "PORTS", "LOGLEVEL", "ALOWED_CHANNELS"])
def test_any_name_in_the_file_can_be_misspelled(name: str, tmp_path: Path) -> None:
    """A .env file is for this bot."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{name}=x\n")

    assert [found.partition(":")[0] for found in problems(REQUIRED, dotenv)] == [f"{name} isn't a setting"]


def test_the_file_can_hold_settings_of_other_programs(tmp_path: Path) -> None:
    """compose.yaml and libpq read it as well."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("POSTGRES_PASSWORD=x\nPGHOST=db\nPGPORT=5432\nPGPASSWORD=x\nHOSTNAME=x\nTZ=UTC\n")

    assert problems(REQUIRED, dotenv) == []


def test_no_repr_shows_a_secret() -> None:
    """Settings may be logged."""
    settings = loaded(
        SLACK_SIGNING_SECRET=SIGNING, DATABASE_URL="postgresql://bot:hunter2@db/x", HTTPS_PROXY="http://u:hunter2@proxy"
    )

    assert not [secret for secret in (BOT_TOKEN, APP_TOKEN, SIGNING, KEY, "hunter2") if secret in repr(settings)]


def test_passwords_in_urls_are_secrets() -> None:
    """As they are written and decoded."""
    settings = loaded(
        DATABASE_URL="postgresql://bot:p%40ss@db/x",
        HTTPS_PROXY="http://u:hunter2@proxy",
        HTTP_PROXY="u:other@proxy:3128",
    )

    assert settings.secrets == (BOT_TOKEN, APP_TOKEN, KEY, "p%40ss", "p@ss", "hunter2", "other")


@pytest.mark.parametrize("name", ["PORT", "LOG_LEVEL", "ALLOWED_USERS", "ALLOWED_CHANNELS", "RELOAD_SECONDS"])
@pytest.mark.parametrize("secret", [BOT_TOKEN, APP_TOKEN, f"x{BOT_TOKEN}"])
def test_a_token_in_the_wrong_setting_is_not_shown(name: str, secret: str) -> None:
    """A problem shows the value, unless it looks like one of Slack's tokens."""
    assert "a token" in problem(name, secret)
    assert "secret" not in problem(name, secret)


@given(
    st.dictionaries(
        st.sampled_from(["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "MODELSLAB_API_KEY"]),
        st.text(st.characters(categories=["L", "N", "C"]), min_size=8, max_size=40).map(lambda text: f"s3cr{text}3t"),
    )
)
def test_problems_never_show_a_secret(secrets: dict[str, str]) -> None:
    """Whatever is in the place of a secret stays out of every problem."""
    told = "\n".join(problems({"PORT": "none", "DATABASE_URL": "postgresql:s3cret", **secrets}))

    assert "s3cr" not in told


@given(st.text(st.sampled_from("@:/#%?=&[], ab1"), min_size=1, max_size=12))
def test_problems_never_show_a_piece_of_a_password(noise: str) -> None:
    """Even where a parser would take a piece of it for the host, the database or a parameter."""
    pieces = noise.replace("a", "hunter").replace("b", "dragon")
    told = "\n".join(problems({**REQUIRED, "DATABASE_URL": f"postgresql://bot:{pieces}@db.example.com/x"}))

    assert "hunter" not in told
    assert "dragon" not in told


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    """A .env file to be written."""
    return tmp_path / ".env"


def test_the_environment_wins_over_the_file(dotenv: Path) -> None:
    """A .env file adds to the environment and changes nothing in it."""
    dotenv.write_text("PORT=1\nHOST='from file' # why\nLOG_LEVEL\nexport HISTORY_DAYS=3\n")
    settings = load({**REQUIRED, "PORT": "2"}, dotenv)

    assert (settings.port, settings.host, settings.history_days, settings.log_level) == (2, "from file", 3, "INFO")


def test_a_byte_order_mark_is_not_part_of_a_name(dotenv: Path) -> None:
    """Some editors on Windows begin a file with it."""
    dotenv.write_bytes(b"\xef\xbb\xbfPORT=1\r\n")

    assert load(REQUIRED, dotenv).port == 1


def test_no_file_is_needed(dotenv: Path) -> None:
    """Without a .env file the environment is all there is. Docker makes a folder of what it mounts and doesn't find."""
    missing = load(REQUIRED, dotenv)
    dotenv.mkdir()

    assert missing == load(REQUIRED, dotenv) == load(REQUIRED)


def test_a_file_in_another_encoding_is_a_problem(dotenv: Path) -> None:
    """The other problems are reported as well."""
    dotenv.write_bytes(b"PORT=\xff\n")

    assert problems({**REQUIRED, "PORT": "x"}, dotenv) == [
        f"{dotenv} can't be read (it isn't UTF-8): make it a readable text file in UTF-8",
        "PORT is 'x': use a whole number from 0 to 65535",
    ]


def test_a_file_without_permission_is_a_problem(dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that belongs to somebody else."""

    def refuse(*_args: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bot.settings.dotenv_values", refuse)  # root, who may run the tests, can read everything

    [found] = problems(REQUIRED, dotenv)
    assert "can't be read (Permission denied)" in found


PROXY = "http://proxy.example.com:3128"


def test_without_a_proxy_connections_are_direct() -> None:
    """Nothing set is nothing used."""
    assert loaded().proxy_for("https://slack.com/api/") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize("url", ["https://slack.com/api/", "wss://wss-primary.slack.com/link/?ticket=1"])
def test_the_https_proxy_is_for_whatever_is_encrypted(name: str, url: str) -> None:
    """The WebSocket of Socket Mode takes the same way as the Web API."""
    settings = load({**REQUIRED, name: PROXY})

    assert settings.proxy_for(url) == PROXY
    assert settings.proxy_for("http://example.com/") is None


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_the_http_proxy_is_for_the_rest(name: str) -> None:
    """As in other programs."""
    settings = load({**REQUIRED, name: PROXY})

    assert settings.proxy_for("http://example.com/") == settings.proxy_for("ws://example.com/") == PROXY
    assert settings.proxy_for("https://slack.com/api/") is None


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("listed", ["slack.com", ".com", "*", "example.com, SLACK.com", "wss-primary.slack.com:443"])
def test_no_proxy_names_hosts_that_are_reached_directly(name: str, listed: str) -> None:
    """By the end of their name, or all of them."""
    settings = load({**REQUIRED, "HTTPS_PROXY": PROXY, name: listed})

    assert settings.proxy_for("wss://wss-primary.slack.com:443/link/") is None


def test_no_proxy_does_not_name_other_hosts() -> None:
    """notslack.com isn't part of slack.com."""
    assert loaded(HTTPS_PROXY=PROXY, NO_PROXY="slack.com").proxy_for("https://notslack.com/") == PROXY


@pytest.mark.parametrize("url", ["http://127.0.0.1:4000/api/", "http://localhost:4000", "ws://[::1]:4000/"])
def test_this_machine_is_reached_directly(url: str) -> None:
    """A sandbox needs no proxy, whichever is set."""
    assert loaded(HTTP_PROXY=PROXY).proxy_for(url) is None


def test_what_is_not_a_url_gets_no_proxy() -> None:
    """The request itself will fail."""
    assert loaded(HTTPS_PROXY=PROXY).proxy_for("wss://[::1") is None


@pytest.mark.parametrize("value", ["proxy:3128", "10.0.0.1:3128", "user:pw@proxy:3128", "proxy"])
def test_a_proxy_without_a_scheme_is_http(value: str) -> None:
    """As in other programs."""
    assert loaded(HTTPS_PROXY=value).proxy_for("https://slack.com/") == f"http://{value}"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY"])
@pytest.mark.parametrize("value", ["socks5://proxy:1080", "http://", "proxy:port", "a proxy", "http://[::1"])
def test_another_proxy_is_a_problem(name: str, value: str) -> None:
    """It isn't shown: it may hold a password."""
    fix = "use one such as http://proxy.example.com:3128"

    assert problem(name, value) == f"{name} isn't an http(s) URL: {fix}"
    assert problem(name.lower(), value) == f"{name} isn't an http(s) URL: {fix}"


def test_a_name_is_known_for_every_field_and_file() -> None:
    """The documents and the search for misspelled names rely on it."""
    assert {*NAMES} == {field.name.upper() for field in fields(Settings)} | {f"{name}_FILE" for name in IN_FILES}
