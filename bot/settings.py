"""The environment (and a .env file) → Settings, or every fault at once. Knows nothing of what settings are for.

A fault names the setting and its mend, and never the value of a secret.
"""

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from dotenv import dotenv_values

from bot.errors import SettingsError

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("json", "console")

PERSON = re.compile(r"[UW][A-Z0-9]{2,24}", re.ASCII)
GROUP = re.compile(r"S[A-Z0-9]{2,24}", re.ASCII)
CHANNEL = re.compile(r"[CGD][A-Z0-9]{2,24}", re.ASCII)
_SEPARATORS = re.compile(r"[,\s]+")

EVERYONE = "*"


@dataclass(frozen=True, slots=True)
class Settings:
    """All that can be set, checked. Seconds and counts are as their names say; secrets are kept out of repr."""

    slack_bot_token: str = field(repr=False)
    slack_app_token: str = field(repr=False)
    slack_signing_secret: str = field(repr=False)
    slack_api_url: str
    modelslab_api_key: str = field(repr=False)
    modelslab_url: str
    modelslab_concurrency: int
    allowed_users: frozenset[str]
    allowed_channels: tuple[str, ...]
    commands_per_person: int
    max_in_flight: int
    reload_seconds: float
    database_url: str = field(repr=False)
    host: str
    port: int
    admin_port: int | None
    log_level: str
    log_format: str
    history_days: int

    @property
    def socket_mode(self) -> bool:
        """Whether Slack is reached by Socket Mode, or else calls in by HTTP."""
        return bool(self.slack_app_token)

    @property
    def allowed_groups(self) -> frozenset[str]:
        """Those of allowed_users that are user groups."""
        return frozenset(filter(GROUP.fullmatch, self.allowed_users))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must never be shown."""
        values = (self.slack_bot_token, self.slack_app_token, self.slack_signing_secret, self.modelslab_api_key)
        return tuple(dict.fromkeys(value for value in (*values, *_passwords(self.database_url)) if value))


def environment(dotenv: Path = Path(".env")) -> dict[str, str]:
    """The process's environment, with what a .env file adds to it: the environment wins. Raises SettingsError.

    https://saurabh-kumar.com/python-dotenv/ (values without "=" are None, and left out)
    """
    try:
        values = dotenv_values(dotenv, encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{dotenv} cannot be read ({_why(error)}): make it a readable text in UTF-8"]) from None
    return {**{name: value for name, value in values.items() if value is not None}, **os.environ}


def _why(error: OSError | UnicodeDecodeError) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error.strerror)


def load(env: Mapping[str, str], *, terminal: bool = False) -> Settings:
    """Read the settings from env; terminal is whether a person reads the log. Raises SettingsError with every fault."""
    settings, faults = read(env, terminal=terminal)
    if faults:
        raise SettingsError(faults)
    return settings


def read(env: Mapping[str, str], *, terminal: bool = False) -> tuple[Settings, Sequence[str]]:
    """As load, but what is sound comes beside the faults; each of them begins with the name of its setting."""
    reader = _Reader(env)
    settings = Settings(
        slack_bot_token=reader.token("SLACK_BOT_TOKEN", "xoxb-", required=True),
        slack_app_token=reader.token("SLACK_APP_TOKEN", "xapp-", required=False),
        slack_signing_secret=reader.signing_secret(),
        slack_api_url=reader.url("SLACK_API_URL", "https://slack.com/api/").rstrip("/") + "/",
        modelslab_api_key=reader.secret("MODELSLAB_API_KEY", "copy it from ModelsLab's dashboard"),
        modelslab_url=reader.url("MODELSLAB_URL", "https://modelslab.com").rstrip("/"),
        modelslab_concurrency=int(reader.number("MODELSLAB_CONCURRENCY", 4, 1, 100)),
        allowed_users=reader.people("ALLOWED_USERS"),
        allowed_channels=reader.channels("ALLOWED_CHANNELS"),
        commands_per_person=int(reader.number("COMMANDS_PER_PERSON", 30, 0, 10000)),
        max_in_flight=int(reader.number("MAX_IN_FLIGHT", 100, 0, 10000)),
        reload_seconds=reader.number("RELOAD_SECONDS", 120, 0, 86400, whole=False),
        database_url=reader.database("DATABASE_URL", "sqlite:///reload-model.db"),
        host=reader.get("HOST", "0.0.0.0"),  # noqa: S104 - a container's port is opened by its engine
        port=int(reader.number("PORT", 3000, 0, 65535)),
        admin_port=reader.admin_port(),
        log_level=reader.choice("LOG_LEVEL", LOG_LEVELS, "INFO"),
        log_format=reader.choice("LOG_FORMAT", LOG_FORMATS, "console" if terminal else "json"),
        history_days=int(reader.number("HISTORY_DAYS", 90, 1, 36500)),
    )
    return settings, reader.faults


class _Reader:
    """Reads one setting after another and gathers the faults."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.faults: list[str] = []

    def get(self, name: str, default: str = "") -> str:
        """The value without spaces around it; set to nothing counts as not set."""
        return self._env.get(name, "").strip() or default

    def secret(self, name: str, mend: str) -> str:
        value = self.get(name)
        if not value:
            self.faults.append(f"{name} is not set: {mend}")
        elif not value.isprintable() or not value.isascii():
            self.faults.append(f"{name} holds characters that no key has: copy it again")
        return value

    def token(self, name: str, prefix: str, *, required: bool) -> str:
        """A Slack token, whose prefix tells which (https://docs.slack.dev/authentication/tokens)."""
        if not required and not self.get(name):
            return ""
        value = self.secret(name, f"it begins with {prefix} and stands in the Slack app's settings")
        if value and not value.startswith(prefix):
            self.faults.append(
                f"{name} does not begin with {prefix}: copy the right token from the Slack app's settings"
            )
        return value

    def signing_secret(self) -> str:
        if self.get("SLACK_APP_TOKEN"):
            return self.get("SLACK_SIGNING_SECRET")
        mend = (
            "set it for HTTP mode (Basic Information in the Slack app's settings), or SLACK_APP_TOKEN for Socket Mode"
        )
        return self.secret("SLACK_SIGNING_SECRET", mend)

    def number(self, name: str, default: float, low: float, high: float, *, whole: bool = True) -> float:
        text = self.get(name, str(default))
        try:
            value = float(int(text) if whole else float(text))
        except (ValueError, OverflowError):
            value = float("nan")
        if not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            self.faults.append(f"{name} is {_shown(text)}: give {kind} from {low:g} to {high:g}")
            return default
        return value

    def admin_port(self) -> int | None:
        """The port for the operator, where there is one."""
        if not self.get("ADMIN_PORT"):
            return None
        if self.get("ADMIN_PORT") == self.get("PORT", "3000"):
            self.faults.append("ADMIN_PORT is the same as PORT: give another one, that the public does not reach")
        return int(self.number("ADMIN_PORT", 0, 1, 65535))

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        text = self.get(name, default)
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        self.faults.append(f"{name} is {_shown(text)}: give one of {', '.join(choices)}")
        return default

    def people(self, name: str) -> frozenset[str]:
        ids = self._list(name)
        if not ids:
            self.faults.append(
                f"{name} is not set: give the Slack ids of those who may reload models, or * for everyone"
            )
        for wrong in ids:
            if wrong != EVERYONE and not (PERSON.fullmatch(wrong) or GROUP.fullmatch(wrong)):
                self.faults.append(
                    f"{name} has {_shown(wrong)}, which is no person's id: those look like U012AB3CD "
                    "(in Slack: profile, ⋮, Copy member ID), and those of user groups like S012AB3CD"
                )
        return frozenset(ids)

    def channels(self, name: str) -> tuple[str, ...]:
        ids = self._list(name)
        for wrong in ids:
            if not CHANNEL.fullmatch(wrong):
                self.faults.append(
                    f"{name} has {_shown(wrong)}, which is no channel's id: those look like C012AB3CD "
                    "(in Slack: the channel's details, at the bottom)"
                )
        return tuple(dict.fromkeys(ids))

    def _list(self, name: str) -> list[str]:
        return [item for item in _SEPARATORS.split(self.get(name)) if item]

    def url(self, name: str, default: str) -> str:
        """The base of a service: https, or http where it stays on this machine."""
        text = self.get(name, default)
        parts = _split(text)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            self.faults.append(f"{name} is no http(s) URL: give one such as {default}")
        elif not text.isprintable() or any(mark in text for mark in " @?#"):
            self.faults.append(f"{name} holds more than a host and a path: give one such as {default}")
        elif parts.scheme == "http" and not is_loopback(parts.hostname):
            self.faults.append(
                f"{name} would send secrets unencrypted: use https:// (http:// is for this machine only)"
            )
        return text

    def database(self, name: str, default: str) -> str:
        text = self.get(name, default)
        if not text.startswith(("sqlite:///", "postgresql://", "postgres://")):
            self.faults.append(f"{name} names no database that is known: begin it with sqlite:/// or postgresql://")
        elif text.startswith("sqlite:") and not _sqlite_path(text):
            self.faults.append(f"{name} names no file: give one such as sqlite:////data/reload-model.db")
        return text


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


@lru_cache(maxsize=16)
def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _sqlite_path(url: str) -> str:
    path = url.removeprefix("sqlite:///").partition("?")[0]
    return "" if path == ":memory:" else path


# Up to the first @ as libpq reads it, and up to the last as whoever forgot to encode one means it. No URL parser
# will do: a libpq URL may name several hosts, each with its port.
_PASSWORDS = (
    re.compile(r"^\w+://[^:/@]*:([^@]*)@"),
    re.compile(r"^\w+://[^:/@]*:(.*)@"),
    re.compile(r"[?&](?:ssl)?password=([^&]*)"),
)


def _passwords(url: str) -> list[str]:
    """The passwords in a libpq URL, as they stand there and decoded; they may also stand among its parameters.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
    """
    found = [match[1] for pattern in _PASSWORDS for match in pattern.finditer(url)]
    return [*found, *map(unquote, found)]


def _shown(text: str) -> str:
    """A faulty value, unless somebody pasted a token where none belongs."""
    return "a token" if "xox" in text or "xapp-" in text else repr(text[:40])
