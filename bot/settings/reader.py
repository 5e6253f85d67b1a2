"""Reads and checks one setting after another."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from bot.settings.env_file import why_unreadable
from bot.settings.urls import Fault, proxy_fault

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


PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
"""Settings whose names also work in lower case, as in other programs."""

IN_FILES = ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "MODELSLAB_API_KEY", "DATABASE_URL")
"""Settings that can be read from a file: NAME_FILE is its path, as container secrets are mounted."""


class Reader:
    """Reads one setting after another and collects the problems."""

    def __init__(self, env: Mapping[str, str], in_file: Mapping[str, str]) -> None:
        self._values = {**in_file, **env}
        self._with_comments = frozenset(env)  # python-dotenv has taken off those in .env
        self.problems: list[Problem] = []
        for name in PROXIES:
            if env.get(name) or env.get(name.lower()):  # the environment wins, in whatever case
                self._values |= {each: env.get(each, "") for each in (name, name.lower())}
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
            why = why_unreadable(error)
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
        if any("\udc80" <= character <= "\udcff" for character in text):  # bytes that Python couldn't read as text
            self._values[name] = text = ""
            self._add(name, "isn't UTF-8", "write it again in UTF-8")
        if name in self._with_comments and not _QUOTED.fullmatch(text):
            text = re.sub(r"\s#.*", "", text)
        for _ in range(2):
            text = quoted[2] if (quoted := _QUOTED.fullmatch(text)) else text
        return text.strip() or default

    def _is_given(self, name: str) -> bool:
        """Whether it is set, or in a file that couldn't be read, which has been reported already."""
        return bool(self.get(name)) or any(problem.setting == name for problem in self.problems)

    def secret(self, name: str, fix: str = "") -> str:
        """A secret; fix says where to get it, if it isn't one of Slack's tokens.

        The prefix of a token says what kind it is: https://docs.slack.dev/authentication/tokens.
        """
        value = self.get(name)
        prefix, fix = _TOKENS.get(name, ("", fix))
        other = next((other for other, (begins, _) in _TOKENS.items() if value.startswith(begins)), name)
        if not value:
            if not self._is_given(name):
                self._add(name, "is missing", fix)
        elif other != name:
            self._add(name, f"holds a token that starts with {_TOKENS[other][0]}", f"swap it with {other}")
        elif not (_OF_SLACK if name.startswith("SLACK_") else _KEY).fullmatch(value):
            self._add(name, "has characters that can't be part of a key", "copy it again")
        elif prefix and value.startswith(("xoxe.", "xoxe-")):
            self._add(name, "is a rotating token (xoxe), and this bot doesn't support token rotation", _ROTATION_FIX)
        elif not value.startswith(prefix):
            self._add(name, f"doesn't start with {prefix}", fix)
        elif prefix and not value.removeprefix(prefix).strip(".…"):
            self._add(name, "is still the placeholder from .env.example", fix)
        return value

    def app_token(self) -> str:
        """The token for Socket Mode, or "" in HTTP mode."""
        return self.secret("SLACK_APP_TOKEN") if self._is_given("SLACK_APP_TOKEN") else ""

    def signing_secret(self) -> str:
        """The secret for HTTP mode; Socket Mode doesn't need it."""
        if self._is_given("SLACK_APP_TOKEN"):
            return self.get("SLACK_SIGNING_SECRET")
        fix = "set SLACK_APP_TOKEN (Socket Mode, recommended) or SLACK_SIGNING_SECRET (HTTP mode)"
        return self.secret("SLACK_SIGNING_SECRET", fix)

    def command(self) -> str:
        """The name of the slash command."""
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
        host = host.removeprefix("[").removesuffix("]")  # as in a URL
        if not _HOST.fullmatch(host):
            self._add("HOST", "isn't an address", "use one IP address of this machine, or a name that leads to one")
        return host

    def admin_port(self) -> int | None:
        """The port for operators, None if they share PORT."""
        if not self.get("ADMIN_PORT"):
            return None
        if self.get("ADMIN_PORT").lstrip("0") == self.get("PORT", "3000").lstrip("0"):
            self._add("ADMIN_PORT", "is the same as PORT", "use another port, one that the public can't reach")
        return self.number("ADMIN_PORT", 0, 1, 65535)

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of a few words, in any case."""
        text = self.get(name, default)
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        self._add(name, f"is {_shown(text)}", f"use one of {', '.join(choices)}")
        return default

    def ids(self, name: str, look: re.Pattern[str], what: str, fix: str) -> Sequence[str]:
        """A list of IDs, with commas or spaces between."""
        ids = re.findall(r"[^,\s]+", self.get(name))
        for wrong in ids:
            if not look.fullmatch(wrong):
                self._add(name, f"has {_shown(wrong)}, which isn't {what}", fix)
        if not ids and self.get(name):  # "," is no reason to allow every channel
            self._add(name, "has no IDs", fix)
        return ids

    def people(self) -> Sequence[str]:
        """Who is allowed: people, user groups, or EVERYONE."""
        ids = self.ids("ALLOWED_USERS", _ALLOWED, "a Slack ID", _PERSON_FIX)
        if not ids and not self.get("ADMIN_USERS"):
            fix = "list the Slack IDs of the people who can reload models, or use * for everyone in the workspace"
            self._add("ALLOWED_USERS", "is missing", fix)
        return ids

    def admin_channel(self) -> str:
        """The channel in which admins are asked, or ""."""
        ids = self.ids("ADMIN_CHANNEL", CHANNEL, "a channel ID", CHANNEL_FIX)
        if len(ids) > 1:
            self._add("ADMIN_CHANNEL", f"has {len(ids)} channels", "name one")
        if ids and not self.get("ADMIN_USERS"):
            self._add("ADMIN_CHANNEL", "needs ADMIN_USERS", "name the admins there, or remove ADMIN_CHANNEL")
        return ids[0] if ids else ""

    def url(self, name: str, default: str, fault_in: Callable[[str, str], Fault | None]) -> str:
        """A URL. fault_in says what is wrong with one; its second argument is an example."""
        url = self.get(name, default)
        if fault := fault_in(url, default):
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
CHANNEL_FIX = "a channel ID looks like C012AB3CD (in Slack: at the bottom of the channel's details)"
ADMIN_FIX = "admins are listed one by one, by IDs like U012AB3CD (in Slack: profile, ⋮, Copy member ID)"
_OF_SLACK = re.compile(r"[\w.-]*", re.ASCII)
_HOST = re.compile(r"[\w.:%-]+", re.ASCII)
_KEY = re.compile(r"[!-~]*")  # printable ASCII
_QUOTED = re.compile(r"""\s*(["'])(.*?)\1(?:\s+#.*)?\s*""", re.DOTALL)  # and perhaps a comment


def _shown(text: str) -> str:
    """A wrong value, unless it is a token that somebody pasted into the wrong place."""
    return "a token" if "xox" in text or "xapp-" in text else repr(text[:40])
