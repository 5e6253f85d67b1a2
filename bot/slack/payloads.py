"""Readers for what Slack sends: each takes one of Bolt's dictionaries, and raises Malformed where its shape is wrong.

Malformed names the field, and shows nothing of what is in it. Pure.
Commands: https://docs.slack.dev/interactivity/implementing-slash-commands#app_command_handling
Interactions: https://docs.slack.dev/reference/interaction-payloads
Events: https://docs.slack.dev/reference/events/app_home_opened
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from bot.core.access import Person
from bot.core.text import SLACK_ID
from bot.errors import Malformed

_TOKEN_LIMIT = 2000
_TEXT_LIMIT = 8000
_FIELDS_LIMIT = 100

_INTERACTIONS = ("block_actions", "block_suggestion", "message_action", "shortcut", "view_closed", "view_submission")

Fields = Mapping[str, object]
_NONE: Fields = {}


def form(body: bytes) -> Mapping[str, str]:
    """Read a form-encoded body, strictly: in UTF-8, and no field twice. Raises Malformed."""
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


def json_object(text: str | bytes) -> Fields:
    """Read JSON that is an object, in UTF-8. Raises Malformed."""
    try:
        value: object = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed("JSON that cannot be read") from None
    if not isinstance(value, dict):
        raise Malformed("JSON that isn't an object")
    return value


def is_ssl_check(fields: Fields) -> bool:
    """Whether this is Slack's certificate probe, which comes unsigned and asks for nothing.

    https://docs.slack.dev/interactivity/implementing-slash-commands#validating-command
    """
    return fields.get("ssl_check") == "1" and set(fields) <= {"ssl_check", "token"}


def challenge(body: Fields) -> str | None:
    """What to answer when Slack verifies the URL for events; None for any other request. Raises Malformed.

    https://docs.slack.dev/reference/events/url_verification
    """
    return token(body, "challenge") if body.get("type") == "url_verification" else None


def ignorable(body: Fields) -> None:
    """Return where a request for which there is no listener is well formed all the same. Raises Malformed.

    Messages outlive the versions of this program, and Slack stops sending events to an app that refuses many.
    """
    kind = body.get("type")
    if kind == "event_callback":
        _object(body, "event")
    elif kind in _INTERACTIONS:
        interaction_author(body)
    else:
        raise Malformed("a payload of a type that this app doesn't use")


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """One invocation of the slash command."""

    person: Person
    text: str
    trigger_id: str
    response_url: str


def slash_command(command: Fields) -> SlashCommand:
    """Read an invocation of the slash command. Raises Malformed."""
    person = Person(
        user_id=_id(command, "user_id"),
        team_id=_id(command, "team_id"),
        channel_id=_id(command, "channel_id"),
        enterprise_id=_id(command, "enterprise_id") if command.get("enterprise_id") else "",
        private=_is_private(command.get("channel_name")),
    )
    return SlashCommand(person, text(command, "text"), token(command, "trigger_id"), token(command, "response_url"))


def interaction_author(body: Fields, channel_id: str = "") -> Person:
    """Who pressed, submitted or typed; channel_id is the channel that this is about. Raises Malformed.

    In a channel that is shared with another organisation, user.team_id says where the person belongs. The enterprise
    that the payload names is the person's own only if its workspace is.
    https://docs.slack.dev/apis/slack-connect
    """
    user, team, enterprise = (_object(body, name, _NONE) for name in ("user", "team", "enterprise"))
    team_id = _id(user, "team_id") if user.get("team_id") else _id(team, "id")
    of_the_team = bool(enterprise) and team.get("id") == team_id
    channel = _object(body, "channel", _NONE)
    private = channel.get("id") != channel_id or _is_private(channel.get("name"))
    return Person(_id(user, "id"), team_id, channel_id, _id(enterprise, "id") if of_the_team else "", private)


def _is_private(channel_name: object) -> bool:
    """Whether a channel isn't known to be public, by what Slack sends for its name.

    https://docs.slack.dev/interactivity/implementing-slash-commands
    """
    if not isinstance(channel_name, str):
        return True
    return channel_name in ("", "privategroup", "directmessage") or channel_name.startswith("mpdm-")


@dataclass(frozen=True, slots=True)
class Press:
    """A button was pressed.

    place is unique to the button of one message or view. response_url is "" for a button in a view, where there is no
    message to answer below.
    """

    action_id: str
    value: str
    place: str
    trigger_id: str
    response_url: str


def press(body: Fields, action: Fields) -> Press:
    """Read a press of a button; action is the first of the body's actions, and the only one. Raises Malformed."""
    action_id = token(action, "action_id")
    container = _object(body, "container", _NONE)
    place = [token(container, name) for name in ("channel_id", "message_ts", "view_id") if container.get(name)]
    below_a_message = _object(body, "channel", _NONE).get("id") and body.get("response_url")
    return Press(
        action_id,
        text(action, "value"),
        "/".join([*place, action_id]),
        token(body, "trigger_id"),
        token(body, "response_url") if below_a_message else "",
    )


def chosen(view: Fields, field: str) -> str:
    """What was picked or typed in a modal's field (its block_id and action_id), "" for nothing. Raises Malformed."""
    state = _object(_object(_object(view, "state", _NONE), "values", _NONE), field, _NONE)
    element = _object(state, field, _NONE)
    option = _object(element, "selected_option", _NONE)
    value = option.get("value") or element.get("selected_conversation") or element.get("value") or ""
    return text({field: value}, field)


def channel(channel_id: str) -> str:
    """Check the id of a channel that was chosen in a modal, or is "". Raises Malformed."""
    return _id({"channel": channel_id}, "channel") if channel_id else ""


def response_url_for(body: Fields, channel_id: str) -> str:
    """The response_url of a submitted modal for the channel that was chosen there, or "". Raises Malformed.

    https://docs.slack.dev/interactivity/handling-user-interaction#modal-responses
    """
    urls = body.get("response_urls")
    for given in urls if isinstance(urls, list) else []:
        if isinstance(given, Mapping) and given.get("channel_id") == channel_id:
            return token(given, "response_url")
    return ""


def event_author(body: Fields) -> Person:
    """The author of an event. Raises Malformed."""
    enterprise_id = _id(body, "enterprise_id") if body.get("enterprise_id") else ""
    return Person(_id(_object(body, "event"), "user"), _id(body, "team_id"), "", enterprise_id)


def text(fields: Fields, name: str) -> str:
    """A field that holds what somebody typed; "" for one that is missing. Raises Malformed."""
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
        raise Malformed(name)
    return value


def token(fields: Fields, name: str) -> str:
    """A field that a machine made: printable ASCII, which every database can store. Raises Malformed."""
    value = fields.get(name)
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= _TOKEN_LIMIT
        or not (value.isascii() and value.isprintable())
    ):
        raise Malformed(name)
    return value


def _id(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or SLACK_ID.fullmatch(value) is None:
        raise Malformed(name)
    return value


def _object(fields: Fields, name: str, absent: Fields | None = None) -> Fields:
    """A field that is an object; absent, if given, stands for one that is missing or null."""
    value = fields.get(name)
    if value is None and absent is not None:
        return absent
    if not isinstance(value, Mapping):
        raise Malformed(name)
    return value
