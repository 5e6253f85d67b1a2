"""The environment and a .env file become Settings, or a list of every problem with them.

A problem names its setting and the fix. It never shows the value of a secret. reader.py reads each setting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from bot.settings.env_file import read_env_file
from bot.settings.reader import (
    ADMIN_FIX,
    CHANNEL,
    CHANNEL_FIX,
    GROUP,
    IN_FILES,
    PERSON,
    PROXIES,
    Problem,
    Reader,
)
from bot.settings.urls import database_fault, is_bypassed, is_loopback, passwords, service_fault


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Times are in seconds; a proxy that isn't set is "". Secrets are kept out of the repr."""

    slack_bot_token: str = field(repr=False)
    slack_app_token: str = field(repr=False)
    slack_signing_secret: str = field(repr=False)
    slack_api_url: str
    slash_command: str
    modelslab_api_key: str = field(repr=False)
    modelslab_url: str
    modelslab_concurrency: int
    allowed_users: frozenset[str]
    admin_users: frozenset[str]
    admin_channel: str
    allowed_channels: tuple[str, ...]
    commands_per_person: int
    max_in_flight: int
    follow_up: str
    reload_seconds: float
    database_url: str = field(repr=False)
    host: str
    port: int
    admin_port: int | None
    https_proxy: str = field(repr=False)
    http_proxy: str = field(repr=False)
    no_proxy: str
    log_level: str
    log_format: str
    history_days: int

    @property
    def socket_mode(self) -> bool:
        """Whether the bot connects to Slack (Socket Mode). Otherwise Slack calls the bot (HTTP mode)."""
        return bool(self.slack_app_token)

    @property
    def allowed_groups(self) -> frozenset[str]:
        """The user groups among allowed_users."""
        return frozenset(filter(GROUP.fullmatch, self.allowed_users))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be shown."""
        tokens = (self.slack_bot_token, self.slack_app_token, self.slack_signing_secret, self.modelslab_api_key)
        urls = (self.database_url, self.https_proxy, self.http_proxy)
        found = [password for url in urls for password in passwords(url)]
        return tuple(dict.fromkeys(value for value in (*tokens, *found) if value))

    def proxy_for(self, url: str) -> str | None:
        """The proxy for a URL (http, https, ws, wss), or None for a direct connection, as to this machine itself."""
        try:
            parts = urlsplit(url)
            secure, host = parts.scheme in ("https", "wss"), parts.hostname or ""
            port = parts.port or (443 if secure else 80)
        except ValueError:
            return None
        if is_loopback(host) or is_bypassed(self.no_proxy, host, port):
            return None
        return (self.https_proxy if secure else self.http_proxy) or None


NAMES = (*(item.name.upper() for item in fields(Settings)), *(f"{name}_FILE" for name in IN_FILES))
"""The name of every setting. Those of the proxies also work in lower case."""

_PREFIXES = tuple({f"{name.partition('_')[0]}_" for name in NAMES if "_" in name})
_RESEMBLES = 0.82
"""How similar a name has to be. DATABASE_PORT, which Kubernetes sets for a service "database", reaches 0.8."""

_LONG_NAMES = [name for name in NAMES if len(name) > len("LOGLEVEL") and not name.endswith("_PROXY")]
_RESEMBLES_LONG = 0.85
"""The same for any other name in the environment, which is full of other programs' names."""


def read(
    env: Mapping[str, str], dotenv: Path | None = None, *, terminal: bool = False
) -> tuple[Settings, Sequence[Problem]]:
    """Read the settings from env and from a .env file, which need not exist; env wins. Also returns every problem.

    terminal is whether the log goes to a terminal.
    """
    in_file, faults = read_env_file(dotenv) if dotenv else ({}, [])
    unreadable = [Problem(str(dotenv), *fault) for fault in faults]
    reader = Reader(env, in_file)
    settings = Settings(
        slack_bot_token=reader.secret("SLACK_BOT_TOKEN"),
        slack_app_token=reader.app_token(),
        slack_signing_secret=reader.signing_secret(),
        slack_api_url=reader.url("SLACK_API_URL", "https://slack.com/api/", service_fault).rstrip("/") + "/",
        slash_command=reader.command(),
        modelslab_api_key=reader.secret("MODELSLAB_API_KEY", "copy the API key from ModelsLab's dashboard"),
        modelslab_url=reader.url("MODELSLAB_URL", "https://modelslab.com", service_fault).rstrip("/"),
        modelslab_concurrency=reader.number("MODELSLAB_CONCURRENCY", 4, 1, 100),
        allowed_users=frozenset(reader.people()),
        admin_users=frozenset(reader.ids("ADMIN_USERS", PERSON, "a person's Slack ID", ADMIN_FIX)),
        admin_channel=reader.admin_channel(),
        allowed_channels=tuple(dict.fromkeys(reader.ids("ALLOWED_CHANNELS", CHANNEL, "a channel ID", CHANNEL_FIX))),
        commands_per_person=reader.number("COMMANDS_PER_PERSON", 30, 0, 10000),
        max_in_flight=reader.number("MAX_IN_FLIGHT", 100, 0, 10000),
        follow_up=reader.choice("FOLLOW_UP", ("channel", "thread"), "channel"),
        reload_seconds=reader.number("RELOAD_SECONDS", 120.0, 0, 86400),
        database_url=reader.url("DATABASE_URL", "sqlite:///reload-model.db", database_fault),
        host=reader.host(),
        port=reader.number("PORT", 3000, 0, 65535),
        admin_port=reader.admin_port(),
        https_proxy=reader.proxy("HTTPS_PROXY"),
        http_proxy=reader.proxy("HTTP_PROXY"),
        no_proxy=reader.get("no_proxy") or reader.get("NO_PROXY"),
        log_level=reader.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        log_format=reader.choice("LOG_FORMAT", ("json", "console"), "console" if terminal else "json"),
        history_days=reader.number("HISTORY_DAYS", 90, 1, 36500),
    )
    return settings, [*unreadable, *_misspelled(env, in_file), *reader.problems]


def _misspelled(env: Mapping[str, str], in_file: Mapping[str, str]) -> Sequence[Problem]:
    """Names that look like a misspelled setting: ALLOWED_CHANNEL must not silently allow every channel."""
    ours = dict.fromkeys([*in_file, *(name for name in env if name.upper().startswith(_PREFIXES))])
    meant = {name: get_close_matches(name.upper(), NAMES, 1, _RESEMBLES) for name in ours}
    others = [name for name in env if name not in ours]
    meant |= {name: get_close_matches(name.upper(), _LONG_NAMES, 1, _RESEMBLES_LONG) for name in others}
    known = {*NAMES, *map(str.lower, PROXIES)}
    wrong = {name: like[0] for name, like in meant.items() if like and name not in known}
    return [Problem(name, "isn't a setting", f"did you mean {like}?") for name, like in wrong.items()]
