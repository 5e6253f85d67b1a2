"""Reads what Slack sends: who did what, and where it is answered.

A value of the wrong kind raises Malformed. A payload of the wrong shape raises a KeyError or the like, which
bot.handlers.bolt.dispatch turns into Malformed. Pure.

Commands: https://docs.slack.dev/interactivity/implementing-slash-commands#app_command_handling
Interactions: https://docs.slack.dev/reference/interaction-payloads
Events: https://docs.slack.dev/reference/events/app_home_opened
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from bot.core.models import Person, Place
from bot.core.text import SLACK_ID, TIMESTAMP, bounded
from bot.errors import Malformed

_TOKEN_LIMIT = 2000
_TEXT_LIMIT = 4000
"""How many characters of a text count: five addresses of models' pages, as Slack writes links, have 3,000."""

_FIELDS_LIMIT = 100

INTERACTIONS = ("block_actions", "block_suggestion", "message_action", "shortcut", "view_closed", "view_submission")

Fields = Mapping[str, Any]


def form(body: bytes) -> Mapping[str, str]:
    """Read a form-encoded body strictly: it must be UTF-8, and have no field twice. Raises Malformed."""
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_FIELDS_LIMIT,
        )
    except ValueError:  # UnicodeDecodeError is one
        raise Malformed("a form that can't be read") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Malformed("a field that appears twice")
    return fields


def json_object(text: str | bytes) -> Fields:
    """Read a JSON object in UTF-8. Raises Malformed."""
    try:
        value: object = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed("JSON that can't be read") from None
    if not isinstance(value, dict):
        raise Malformed("JSON that isn't an object")
    return value


def slack_id(value: object) -> str:
    """The ID of a person, a channel, a workspace or an organisation. Raises Malformed."""
    if not isinstance(value, str) or SLACK_ID.fullmatch(value) is None:
        raise Malformed("an invalid Slack ID")
    return value


def timestamp(value: object) -> str:
    """The ts of a message. Raises Malformed."""
    if not isinstance(value, str) or TIMESTAMP.fullmatch(value) is None:
        raise Malformed("an invalid timestamp")
    return value


def token(value: object) -> str:
    """A value made by a machine: printable ASCII, which every database can store. Raises Malformed."""
    if isinstance(value, str) and 0 < len(value) <= _TOKEN_LIMIT and value.isascii() and value.isprintable():
        return value
    raise Malformed("a value that isn't printable ASCII, or is too long")


def text(value: object) -> str:
    """What somebody typed. It ends in an ellipsis, which no model ID has, if it is too long. Raises Malformed."""
    if not isinstance(value, str):
        raise Malformed("a value that isn't text")
    return bounded(value, _TEXT_LIMIT)


def command_author(command: Fields) -> Person:
    """Who used the command, and where. Slack allows that only to members of the workspace or organisation."""
    enterprise_id = slack_id(command["enterprise_id"]) if command.get("enterprise_id") else ""
    return Person(
        slack_id(command["user_id"]),
        slack_id(command["team_id"]),
        slack_id(command["channel_id"]),
        enterprise_id,
        private=_is_private(command.get("channel_name")),
        by_command=True,
    )


def interaction_author(body: Fields, channel_id: str = "", thread_ts: str = "") -> Person:
    """Who pressed, submitted or typed. channel_id and thread_ts are the place that it is about.

    user.team_id is the person's workspace or organisation. In a channel that is shared with another organisation, the
    team and the enterprise of the payload itself aren't those of its author. https://docs.slack.dev/apis/slack-connect
    """
    user, channel = body["user"], body.get("channel") or {}
    team_id = slack_id(user["team_id"]) if user.get("team_id") else ""
    private = channel.get("id") != channel_id or _is_private(channel.get("name"))
    return Person(slack_id(user["id"]), team_id, channel_id, private=private, thread_ts=thread_ts)


def _is_private(channel_name: object) -> bool:
    """Whether a channel isn't known to be public, by what Slack sends for its name.

    https://docs.slack.dev/interactivity/implementing-slash-commands
    """
    if not isinstance(channel_name, str):
        return True
    return channel_name in ("", "privategroup", "directmessage") or channel_name.startswith("mpdm-")


def event_author(body: Fields) -> Person:
    """The author of an event. In a shared channel, the payload's team isn't theirs."""
    event = body["event"]
    own = event.get("user_team") or event.get("source_team") or event.get("team")
    if own or body.get("is_ext_shared_channel"):
        return Person(slack_id(event["user"]), slack_id(own) if own else "", "")
    enterprise_id = slack_id(body["enterprise_id"]) if body.get("enterprise_id") else ""
    return Person(slack_id(event["user"]), slack_id(body["team_id"]), "", enterprise_id)


def message_author(body: Fields) -> Person:
    """The author of a message, and where it was written. Slack doesn't say whether that channel is public."""
    event, author = body["event"], event_author(body)
    thread_ts = timestamp(event["thread_ts"]) if event.get("thread_ts") else ""
    return replace(author, channel_id=slack_id(event["channel"]), thread_ts=thread_ts)


def bot_user_id(body: Fields) -> str:
    """The bot's own user ID, if the event contains it, otherwise ""."""
    authorizations = body.get("authorizations") or [{}]
    own = authorizations[0].get("user_id")
    return slack_id(own) if own else ""


def pressed_message(body: Fields) -> str:
    """Identifies the message or the view in which a button was pressed."""
    container = body.get("container") or {}
    return "/".join(token(container[name]) for name in ("channel_id", "message_ts", "view_id") if container.get(name))


def pressed_in(body: Fields) -> Place:
    """Where the message is in which a button was pressed; NOWHERE for a view.

    The first message of a thread isn't in the thread: its thread_ts is its own ts. A reply that is also shown in the
    channel counts as there, where more people see it.
    """
    container, message = body.get("container") or {}, body.get("message") or {}
    channel_id = (body.get("channel") or {}).get("id")
    thread_ts = container.get("thread_ts") or message.get("thread_ts") or ""
    in_channel = thread_ts in ("", container.get("message_ts")) or message.get("subtype") == "thread_broadcast"
    if not channel_id or in_channel:
        return Place(slack_id(channel_id) if channel_id else "")
    return Place(slack_id(channel_id), timestamp(thread_ts))


def modal_id(body: Fields) -> str:
    """The modal in which a button was pressed, or ""."""
    view = body.get("view") or {}
    return token(view["id"]) if view.get("type") == "modal" else ""


def response_url(body: Fields) -> str:
    """The URL to answer a press below its message; "" for a button in a view."""
    below_a_message = (body.get("channel") or {}).get("id") and body.get("response_url")
    return token(body["response_url"]) if below_a_message else ""


def response_url_for(body: Fields, channel_id: str) -> str:
    """The response_url in a submitted modal for the channel that was chosen, or "".

    https://docs.slack.dev/interactivity/handling-user-interaction#modal-responses
    """
    for given in body.get("response_urls") or []:
        if given.get("channel_id") == channel_id:
            return token(given["response_url"])
    return ""


def chosen_users(view: Fields, field: str, limit: int) -> list[str]:
    """The people who were chosen in a modal's field, at most so many."""
    return [slack_id(user_id) for user_id in (_element(view, field).get("selected_users") or [])[:limit]]


def _element(view: Fields, field: str) -> Fields:
    """What a modal's field holds, by its block_id and action_id, which are the same."""
    element = ((view.get("state") or {}).get("values") or {}).get(field) or {}
    found: Fields = element.get(field) or {}
    return found


def chosen(view: Fields, field: str) -> str:
    """What was picked or typed in a modal's field, "" for nothing."""
    element = _element(view, field)
    option = element.get("selected_option") or {}
    return text(option.get("value") or element.get("selected_conversation") or element.get("value") or "")
