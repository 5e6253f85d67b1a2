"""The shape of what Slack sends, checked before anything else looks at it. Pure: knows nothing of HTTP or of Bolt.

https://docs.slack.dev/interactivity/implementing-slash-commands#app_command_handling
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from bot.allowlist import Person
from bot.errors import Malformed
from bot.text import SLACK_ID

COMMAND = "/reload-model"

_TOKEN_LIMIT = 2000
_TEXT_LIMIT = 8000
_FIELDS_LIMIT = 100


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """One invocation of the slash command."""

    person: Person
    text: str
    trigger_id: str
    response_url: str


def form(body: bytes) -> Mapping[str, str]:
    """Read a form-encoded body, strictly. Raises Malformed for bytes that are no text, and for a field given twice."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=_FIELDS_LIMIT,
        )
    except ValueError:  # UnicodeDecodeError is one
        raise Malformed("a form that cannot be read") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Malformed("a field given twice")
    return fields


def is_ssl_check(fields: Mapping[str, str]) -> bool:
    """Slack's certificate probe, which comes unsigned and asks for nothing.

    https://docs.slack.dev/interactivity/implementing-slash-commands#validating-command
    """
    return fields.get("ssl_check") == "1" and set(fields) <= {"ssl_check", "token"}


def slash_command(payload: object) -> SlashCommand:
    """Read an invocation of the command. Raises Malformed, which names the field at fault and shows nothing of it."""
    if not isinstance(payload, Mapping):
        raise Malformed("a payload that is no object")
    if payload.get("command") != COMMAND:
        raise Malformed("a command that is not this app's")
    person = Person(
        user_id=_id(payload, "user_id"),
        team_id=_id(payload, "team_id"),
        channel_id=_id(payload, "channel_id"),
        enterprise_id=_id(payload, "enterprise_id") if payload.get("enterprise_id") else "",
    )
    text = payload.get("text", "")
    if not isinstance(text, str) or len(text) > _TEXT_LIMIT:
        raise Malformed("text")
    return SlashCommand(person, text, _token(payload, "trigger_id"), _token(payload, "response_url"))


def _token(payload: Mapping[object, object], name: str) -> str:
    """A field that a machine made: printable ASCII, as any database can keep it."""
    value = payload.get(name)
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= _TOKEN_LIMIT
        or not (value.isascii() and value.isprintable())
    ):
        raise Malformed(name)
    return value


def _id(payload: Mapping[object, object], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or SLACK_ID.fullmatch(value) is None:
        raise Malformed(name)
    return value
