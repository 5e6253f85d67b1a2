"""The shape of what Slack sends, checked before anything else looks at it. Pure: knows nothing of HTTP or of Bolt.

Commands: https://docs.slack.dev/interactivity/implementing-slash-commands#app_command_handling
Interactions: https://docs.slack.dev/reference/interaction-payloads
Events: https://docs.slack.dev/reference/events/app_home_opened
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from bot.core.access import Person
from bot.core.text import SLACK_ID
from bot.errors import Malformed
from bot.ui import buttons, views
from bot.ui.buttons import Action

COMMAND = "/reload-model"

_TOKEN_LIMIT = 2000
_TEXT_LIMIT = 8000
_FIELDS_LIMIT = 100

_Fields = Mapping[object, object]
_NONE: _Fields = {}


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """One invocation of the slash command."""

    person: Person
    text: str
    trigger_id: str
    response_url: str


@dataclass(frozen=True, slots=True)
class Press:
    """A button was pressed: what it asks for, and of what; the person's channel is the one that the button names.

    button is unlike that of any other message or view. response_url is "" where it was pressed in a view, and not
    below a message.
    """

    person: Person
    action: Action
    of: str
    button: str
    trigger_id: str
    response_url: str


@dataclass(frozen=True, slots=True)
class Submission:
    """The picker was submitted, with a model that was picked or typed; the person's channel is the one picked there."""

    person: Person
    picked: str
    typed: str
    view_id: str
    response_url: str


@dataclass(frozen=True, slots=True)
class Typing:
    """Somebody types in the picker, and wants to see which models fit."""

    person: Person
    query: str


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The picker is wanted, from the list of shortcuts: without a channel."""

    person: Person
    trigger_id: str


@dataclass(frozen=True, slots=True)
class HomeOpened:
    """Somebody looks at the Home tab."""

    person: Person


@dataclass(frozen=True, slots=True)
class Ignored:
    """Slack tells of something that this bot has no use for: a button of an earlier version, the other tab."""


SlackRequest = SlashCommand | Press | Submission | Typing | Shortcut | HomeOpened
Request = SlackRequest | Ignored


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


def json_object(text: str | bytes) -> Mapping[str, object]:
    """Read JSON that is an object, in UTF-8. Raises Malformed for any other."""
    try:
        value: object = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed("JSON that cannot be read") from None
    if not isinstance(value, dict):
        raise Malformed("JSON that is no object")
    return value


def is_ssl_check(fields: Mapping[str, str]) -> bool:
    """Slack's certificate probe, which comes unsigned and asks for nothing.

    https://docs.slack.dev/interactivity/implementing-slash-commands#validating-command
    """
    return fields.get("ssl_check") == "1" and set(fields) <= {"ssl_check", "token"}


def challenge(body: Mapping[str, object]) -> str | None:
    """What to answer to Slack's question whether a URL for events is this app's; None for anything else.

    https://docs.slack.dev/reference/events/url_verification. Raises Malformed.
    """
    return _token(body, "challenge") if body.get("type") == "url_verification" else None


def read(body: object) -> Request:
    """Read whatever Slack sends. Raises Malformed, which names the field at fault and shows nothing of it."""
    if not isinstance(body, Mapping):
        raise Malformed("a payload that is no object")
    if "command" in body:
        return slash_command(body)
    kind = body.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise Malformed("a payload of a type that this app has no use for")
    return reader(body)


def slash_command(payload: object) -> SlashCommand:
    """Read an invocation of the command. Raises Malformed."""
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
    text = _text(payload, "text")
    return SlashCommand(person, text, _token(payload, "trigger_id"), _token(payload, "response_url"))


# --- interactions: https://docs.slack.dev/reference/interaction-payloads ----------------------------------


def _press(payload: _Fields) -> Press | Ignored:
    """The first of the actions is the only one: each of this bot's elements is sent alone."""
    actions = payload.get("actions")
    if not isinstance(actions, list) or not actions or not isinstance(actions[0], Mapping):
        raise Malformed("actions")
    action: _Fields = actions[0]
    asked = buttons.pressed(_text(action, "action_id"), _text(action, "value"))
    if asked is None:
        return Ignored()
    what, of, channel_id = asked
    below_a_message = _object(payload, "channel", _NONE).get("id") and payload.get("response_url")
    url = _token(payload, "response_url") if below_a_message else ""
    button = f"{_place(payload)}/{_token(action, 'action_id')}"
    return Press(_person(payload, channel_id), what, of, button, _token(payload, "trigger_id"), url)


def _place(payload: _Fields) -> str:
    """The message or the view in which something was pressed: its id in Slack, as far as it has one."""
    container = _object(payload, "container", _NONE)
    names = [name for name in ("channel_id", "message_ts", "view_id") if container.get(name)]
    return "/".join(_token(container, name) for name in names)


def _submission(payload: _Fields) -> Submission | Ignored:
    view = _object(payload, "view")
    if view.get("callback_id") != views.PICKER:
        return Ignored()
    picked, typed, channel_id = views.picked(view)
    if channel_id and SLACK_ID.fullmatch(channel_id) is None:
        raise Malformed("the channel in view")
    if len(picked) > _TEXT_LIMIT or len(typed) > _TEXT_LIMIT:
        raise Malformed("the model in view")
    url = _response_url_of(payload, channel_id)
    return Submission(_person(payload, channel_id), picked, typed, _token(view, "id"), url)


def _response_url_of(payload: _Fields, channel_id: str) -> str:
    """The address with which the submission of a view may speak in the channel that was picked there, if it has one.

    https://docs.slack.dev/interactivity/handling-user-interaction#modal-responses
    """
    urls = payload.get("response_urls")
    for given in urls if isinstance(urls, list) else []:
        if isinstance(given, Mapping) and given.get("channel_id") == channel_id:
            return _token(given, "response_url")
    return ""


def _typing(payload: _Fields) -> Typing:
    return Typing(_person(payload), _text(payload, "value"))


def _shortcut(payload: _Fields) -> Shortcut | Ignored:
    if payload.get("callback_id") != views.PICKER:
        return Ignored()
    return Shortcut(_person(payload), _token(payload, "trigger_id"))


def _event(payload: _Fields) -> HomeOpened | Ignored:
    event = _object(payload, "event")
    if event.get("type") != "app_home_opened" or event.get("tab", "home") != "home":
        return Ignored()
    enterprise_id = _id(payload, "enterprise_id") if payload.get("enterprise_id") else ""
    return HomeOpened(Person(_id(event, "user"), _id(payload, "team_id"), "", enterprise_id))


def _ignored(_payload: _Fields) -> Ignored:
    return Ignored()


_READERS: Mapping[str, Callable[[_Fields], Request]] = {
    "block_actions": _press,
    "view_submission": _submission,
    "view_closed": _ignored,
    "block_suggestion": _typing,
    "shortcut": _shortcut,
    "event_callback": _event,
}


def _person(payload: _Fields, channel_id: str = "") -> Person:
    """Who it is: in a channel that is shared with another organisation, user.team_id tells whose people they are.

    The organisation that the payload names is the person's own only where its workspace is.
    https://docs.slack.dev/apis/slack-connect
    """
    user, team, enterprise = (_object(payload, name, _NONE) for name in ("user", "team", "enterprise"))
    team_id = _id(user, "team_id") if user.get("team_id") else _id(team, "id")
    of_the_team = bool(enterprise) and team.get("id") == team_id
    return Person(_id(user, "id"), team_id, channel_id, _id(enterprise, "id") if of_the_team else "")


# --- fields ---------------------------------------------------------------------------------------------


def _object(payload: _Fields, name: str, absent: _Fields | None = None) -> _Fields:
    """A field that is an object; absent, if given, stands for one that is missing or null."""
    value = payload.get(name)
    if value is None and absent is not None:
        return absent
    if not isinstance(value, Mapping):
        raise Malformed(name)
    return value


def _text(payload: _Fields, name: str) -> str:
    """A field that holds what somebody typed; one that is missing holds nothing."""
    value = payload.get(name, "")
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
        raise Malformed(name)
    return value


def _token(payload: Mapping[str, object] | _Fields, name: str) -> str:
    """A field that a machine made: printable ASCII, as any database can keep it."""
    value = payload.get(name)
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= _TOKEN_LIMIT
        or not (value.isascii() and value.isprintable())
    ):
        raise Malformed(name)
    return value


def _id(payload: _Fields, name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or SLACK_ID.fullmatch(value) is None:
        raise Malformed(name)
    return value
