"""The environment and a .env file become Settings, or a list of every problem with them.

A problem names its setting and the fix. It never shows the value of a secret.
"""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from dotenv.parser import parse_stream

from bot.urls import Fault, database_fault, is_bypassed, is_loopback, passwords, proxy_fault, service_fault

PERSON = re.compile(r"[UW][A-Z0-9]{2,24}", re.ASCII)
GROUP = re.compile(r"S[A-Z0-9]{2,24}", re.ASCII)
CHANNEL = re.compile(r"[CGD][A-Z0-9]{2,24}", re.ASCII)

EVERYONE = "*"

COMMAND = "/reload-model"
"""The slash command, unless SLASH_COMMAND says otherwise."""
SLASH_COMMAND = re.compile(r"/[\w-]{1,31}")
"""https://docs.slack.dev/reference/app-manifest"""

N = TypeVar("N", int, float)


class Problem(NamedTuple):
    """What is wrong with a setting, and how to fix it. The text continues a sentence that begins with the name."""

    setting: str
    text: str
    fix: str

    def __str__(self) -> str:
        return f"{self.setting} {self.text}: {self.fix}"


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


IN_FILES = ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "MODELSLAB_API_KEY", "DATABASE_URL")
"""Settings that can be read from a file: NAME_FILE is its path, as container secrets are mounted."""

NAMES = (*(item.name.upper() for item in fields(Settings)), *(f"{name}_FILE" for name in IN_FILES))
"""The name of every setting. Those of the proxies also work in lower case."""

_PREFIXES = tuple({f"{name.partition('_')[0]}_" for name in NAMES if "_" in name})
_RESEMBLES = 0.82
"""How similar a name has to be. DATABASE_PORT, which Kubernetes sets for a service "database", reaches 0.8."""


def read(
    env: Mapping[str, str], dotenv: Path | None = None, *, terminal: bool = False
) -> tuple[Settings, Sequence[Problem]]:
    """Read the settings from env and from a .env file, which need not exist; env wins. Also returns every problem.

    terminal is whether the log goes to a terminal.
    """
    in_file, faults = read_env_file(dotenv) if dotenv else ({}, [])
    unreadable = [Problem(str(dotenv), *fault) for fault in faults]
    reader = _Reader(env, in_file)
    settings = Settings(
        slack_bot_token=reader.token("SLACK_BOT_TOKEN"),
        slack_app_token=reader.app_token(),
        slack_signing_secret=reader.signing_secret(),
        slack_api_url=reader.url("SLACK_API_URL", "https://slack.com/api/").rstrip("/") + "/",
        slash_command=reader.command(),
        modelslab_api_key=reader.secret("MODELSLAB_API_KEY", "copy the API key from ModelsLab's dashboard"),
        modelslab_url=reader.url("MODELSLAB_URL", "https://modelslab.com").rstrip("/"),
        modelslab_concurrency=reader.number("MODELSLAB_CONCURRENCY", 4, 1, 100),
        allowed_users=frozenset(reader.people()),
        admin_users=frozenset(reader.ids("ADMIN_USERS", PERSON, "a person's Slack ID", _ADMIN_FIX)),
        admin_channel=reader.admin_channel(),
        allowed_channels=tuple(dict.fromkeys(reader.ids("ALLOWED_CHANNELS", CHANNEL, "a channel ID", _CHANNEL_FIX))),
        commands_per_person=reader.number("COMMANDS_PER_PERSON", 30, 0, 10000),
        max_in_flight=reader.number("MAX_IN_FLIGHT", 100, 0, 10000),
        follow_up=reader.choice("FOLLOW_UP", ("channel", "thread"), "channel"),
        reload_seconds=reader.number("RELOAD_SECONDS", 120.0, 0, 86400),
        database_url=reader.database(),
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


def read_env_file(path: Path) -> tuple[Mapping[str, str], Sequence[Fault]]:
    """The values of a .env file by name, and what is wrong with the file, which need not exist.

    ${NAME} stays as it is: docker run and kubectl, which read the same file, put nothing in, either.
    """
    try:
        text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""  # some editors begin it with a mark
    except (OSError, ValueError) as error:
        return {}, [(f"can't be read ({_why_unreadable(error)})", "make it a readable text file in UTF-8")]
    lines, fix = list(parse_stream(io.StringIO(text))), "write NAME=value there, and close each quote on the same line"
    broken = [line.original.line for line in lines if line.error or "\0" in line.original.string]
    wrong = [(f"has no setting in line {number}", fix) for number in broken]
    return {line.key: line.value for line in lines if line.key and line.value is not None}, wrong


def _why_unreadable(error: OSError | ValueError) -> str:
    """What kept a text file from being read."""
    return str(error.strerror) if isinstance(error, OSError) else "it isn't UTF-8"


def _misspelled(env: Mapping[str, str], in_file: Mapping[str, str]) -> Sequence[Problem]:
    """Names that resemble a setting: ALLOWED_CHANNEL must not silently allow every channel."""
    candidates = dict.fromkeys([*in_file, *(name for name in env if name.upper().startswith(_PREFIXES))])
    known = {*NAMES, "https_proxy", "http_proxy", "no_proxy"}
    meant = {name: get_close_matches(name.upper(), NAMES, 1, _RESEMBLES) for name in candidates if name not in known}
    return [Problem(name, "isn't a setting", f"did you mean {like[0]}?") for name, like in meant.items() if like]


class _Reader:
    """Reads one setting after another and collects the problems."""

    def __init__(self, env: Mapping[str, str], in_file: Mapping[str, str]) -> None:
        self._values = {**in_file, **env}
        self._with_comments = frozenset(env)  # those in a .env file have been taken off
        self.problems: list[Problem] = []
        for name in IN_FILES:
            if path := self.get(f"{name}_FILE"):
                self._read_file(name, path)

    def _read_file(self, name: str, path: str) -> None:
        if self.get(name):
            self._add(name, f"is set twice, directly and by {name}_FILE", "remove one of them")
            return
        why = "it is empty"
        try:
            self._values[name] = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            why = _why_unreadable(error)
        if not self.get(name):
            shown = path if path.startswith(("/", ".")) else "the file"  # it may be a secret, pasted there
            self._add(name, f"can't be read from {shown} ({why})", f"fix {name}_FILE or that file")

    def _add(self, name: str, text: str, fix: str) -> None:
        self.problems.append(Problem(name, text, fix))

    def get(self, name: str, default: str = "") -> str:
        """The value without surrounding spaces, quotes and a comment. An empty one counts as not set.

        docker run --env-file and kubectl --from-env-file keep what .env readers take off. Quotes can be nested.
        """
        text = self._values.get(name, "")
        if name in self._with_comments and not _QUOTED.fullmatch(text):
            text = re.sub(r"\s#.*", "", text, flags=re.DOTALL)
        for _ in range(2):
            text = quoted[2] if (quoted := _QUOTED.fullmatch(text)) else text
        return text.strip() or default

    def _is_given(self, name: str) -> bool:
        """Whether it is set, or in a file that couldn't be read, which has been reported already."""
        return bool(self.get(name)) or any(problem.setting == name for problem in self.problems)

    def secret(self, name: str, fix: str) -> str:
        value = self.get(name)
        other = next((other for other, (prefix, _) in _TOKENS.items() if value.startswith(prefix)), name)
        if not self._is_given(name):
            self._add(name, "is missing", fix)
        elif other != name:
            self._add(name, f"holds a token that starts with {_TOKENS[other][0]}", f"swap it with {other}")
        elif not (_OF_SLACK if name.startswith("SLACK_") else _KEY).fullmatch(value):
            self._add(name, "has characters that can't be part of a key", "copy it again")
        return value

    def token(self, name: str) -> str:
        """A Slack token. Its prefix says what kind it is: https://docs.slack.dev/authentication/tokens."""
        prefix, fix = _TOKENS[name]
        before = len(self.problems)
        value = self.secret(name, fix)
        if not value or len(self.problems) > before:
            return value
        if value.startswith(("xoxe.", "xoxe-")):
            self._add(name, "is a rotating token (xoxe), and this bot doesn't support token rotation", _ROTATION_FIX)
        elif not value.startswith(prefix):
            self._add(name, f"doesn't start with {prefix}", fix)
        elif not value.removeprefix(prefix).strip(".…"):
            self._add(name, "is still the placeholder from .env.example", fix)
        return value

    def app_token(self) -> str:
        return self.token("SLACK_APP_TOKEN") if self._is_given("SLACK_APP_TOKEN") else ""

    def signing_secret(self) -> str:
        if self._is_given("SLACK_APP_TOKEN"):
            return self.get("SLACK_SIGNING_SECRET")
        fix = "set SLACK_APP_TOKEN (Socket Mode, recommended) or SLACK_SIGNING_SECRET (HTTP mode)"
        return self.secret("SLACK_SIGNING_SECRET", fix)

    def command(self) -> str:
        text = self.get("SLASH_COMMAND", COMMAND)
        if not SLASH_COMMAND.fullmatch(text):
            fix = "use a slash and then up to 31 letters, digits, hyphens and underscores, as in /reload-model-dev"
            self._add("SLASH_COMMAND", f"is {_shown(text)}", fix)
        return text

    def number(self, name: str, default: N, low: float, high: float) -> N:
        """A number of the default's type."""
        text = self.get(name, str(default))
        with suppress(ValueError, OverflowError):
            if low <= (value := type(default)(text)) <= high:
                return value
        if text.startswith("tcp://"):
            fix = f"set enableServiceLinks: false in the pod, or {name} itself"
            self._add(name, "is a Kubernetes service link", fix)
        else:
            kind = "a number" if "." in str(default) else "a whole number"
            self._add(name, f"is {_shown(text)}", f"use {kind} from {low:g} to {high:g}")
        return default

    def host(self) -> str:
        """In Socket Mode only health is served, and only to this machine."""
        everywhere = "0.0.0.0"  # noqa: S104 - in HTTP mode Slack's requests come from outside
        host = self.get("HOST", "127.0.0.1" if self._is_given("SLACK_APP_TOKEN") else everywhere)
        return host.removeprefix("[").removesuffix("]")  # as in a URL

    def admin_port(self) -> int | None:
        if not self.get("ADMIN_PORT"):
            return None
        if self.get("ADMIN_PORT") == self.get("PORT", "3000"):
            self._add("ADMIN_PORT", "is the same as PORT", "use another port, one that the public can't reach")
        return self.number("ADMIN_PORT", 0, 1, 65535)

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        text = self.get(name, default)
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        self._add(name, f"is {_shown(text)}", f"use one of {', '.join(choices)}")
        return default

    def ids(self, name: str, look: re.Pattern[str], what: str, fix: str) -> Sequence[str]:
        ids = re.findall(r"[^,\s]+", self.get(name))
        for wrong in ids:
            if not look.fullmatch(wrong):
                self._add(name, f"has {_shown(wrong)}, which isn't {what}", fix)
        return ids

    def people(self) -> Sequence[str]:
        ids = self.ids("ALLOWED_USERS", _ALLOWED, "a Slack ID", _PERSON_FIX)
        if not ids and not self.get("ADMIN_USERS"):
            fix = "list the Slack IDs of the people who can reload models, or use * for everyone in the workspace"
            self._add("ALLOWED_USERS", "is missing", fix)
        return ids

    def admin_channel(self) -> str:
        ids = self.ids("ADMIN_CHANNEL", CHANNEL, "a channel ID", _CHANNEL_FIX)
        if len(ids) > 1:
            self._add("ADMIN_CHANNEL", f"has {len(ids)} channels", "name one")
        if ids and not self.get("ADMIN_USERS"):
            self._add("ADMIN_CHANNEL", "needs ADMIN_USERS", "name the admins there, or remove ADMIN_CHANNEL")
        return ids[0] if ids else ""

    def url(self, name: str, default: str) -> str:
        url = self.get(name, default)
        if fault := service_fault(url, default):
            self._add(name, *fault)
        return url

    def proxy(self, name: str) -> str:
        """A proxy's URL. Without a scheme it is http://, as in other programs."""
        text = self.get(name.lower()) or self.get(name)
        if not text:
            return ""
        url = text if "://" in text else f"http://{text}"
        if fault := proxy_fault(url):
            self._add(name, *fault)
        return url

    def database(self) -> str:
        url = self.get("DATABASE_URL", "sqlite:///reload-model.db")
        if fault := database_fault(url):
            self._add("DATABASE_URL", *fault)
        return url


_TOKENS = {
    "SLACK_BOT_TOKEN": ("xoxb-", "copy the Bot User OAuth Token (xoxb-…) from OAuth & Permissions on your app's page"),
    "SLACK_APP_TOKEN": ("xapp-", "copy an App-Level Token (xapp-…) from Basic Information, or remove it for HTTP mode"),
}
# An app may not be able to turn it off again: https://docs.slack.dev/authentication/using-token-rotation
_ROTATION_FIX = (
    "turn it off (OAuth & Permissions on your app's page) and reinstall the app; if Slack doesn't offer that, create "
    "a new app from manifest.yml"
)
_ALLOWED = re.compile(rf"\*|{PERSON.pattern}|{GROUP.pattern}", re.ASCII)
_PERSON_FIX = "a person's ID looks like U012AB3CD (in Slack: profile, ⋮, Copy member ID), a user group's like S012AB3CD"
_CHANNEL_FIX = "a channel ID looks like C012AB3CD (in Slack: at the bottom of the channel's details)"
_ADMIN_FIX = "admins are listed one by one, by IDs like U012AB3CD (in Slack: profile, ⋮, Copy member ID)"
_OF_SLACK = re.compile(r"[\w.-]*", re.ASCII)
_KEY = re.compile(r"[!-~]*")  # printable ASCII
_QUOTED = re.compile(r"""\s*(["'])(.*?)\1(?:\s+#.*)?\s*""", re.DOTALL)  # and perhaps a comment


def _shown(text: str) -> str:
    """A wrong value, unless it is a token that somebody pasted into the wrong place."""
    return "a token" if "xox" in text or "xapp-" in text else repr(text[:40])
