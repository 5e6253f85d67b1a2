"""Sound payloads of every kind that Slack sends an app of this sort, and the spoilt ones made of them.

https://docs.slack.dev/reference/interaction-payloads and https://docs.slack.dev/apis/events-api
"""

from collections.abc import Mapping

from hypothesis import strategies as st

from tests.attack.junk import Json, spoilt

TEAM: dict[str, Json] = {"id": "T0SANDBOX", "domain": "sandbox"}
USER: dict[str, Json] = {"id": "U0ADA", "username": "ada", "name": "ada", "team_id": "T0SANDBOX"}
CHANNEL: dict[str, Json] = {"id": "C0MODELS", "name": "models"}
URL = "https://hooks.slack.com/actions/T0SANDBOX/1/x"

_COMMON: dict[str, Json] = {
    "api_app_id": "A0SANDBOX",
    "token": "deprecated",
    "trigger_id": "1.2.abc",
    "team": TEAM,
    "user": USER,
    "enterprise": None,
    "is_enterprise_install": False,
}
_ACTION: dict[str, Json] = {
    "type": "button",
    "action_id": "reload_again",
    "block_id": "b",
    "value": "sdxl",
    "text": {"type": "plain_text", "text": "Reload", "emoji": True},
    "action_ts": "1700000000.000100",
}
_VIEW: dict[str, Json] = {
    "id": "V0VIEW",
    "team_id": "T0SANDBOX",
    "type": "modal",
    "callback_id": "reload",
    "private_metadata": "C0MODELS",
    "hash": "1.abc",
    "state": {"values": {"model": {"model_id": {"type": "plain_text_input", "value": "sdxl"}}}},
    "blocks": [],
    "root_view_id": "V0VIEW",
    "app_id": "A0SANDBOX",
    "bot_id": "B0BOT",
}
_MESSAGE: dict[str, Json] = {"type": "message", "text": "sdxl is idle", "user": "U0ADA", "ts": "1700000000.000100"}

INTERACTIONS: Mapping[str, dict[str, Json]] = {
    "block_actions": {
        **_COMMON,
        "type": "block_actions",
        "container": {"type": "message", "message_ts": "1700000000.000100", "channel_id": "C0MODELS"},
        "channel": CHANNEL,
        "message": _MESSAGE,
        "response_url": URL,
        "actions": [_ACTION],
        "state": {"values": {}},
    },
    "block_actions of a view": {**_COMMON, "type": "block_actions", "view": _VIEW, "actions": [_ACTION]},
    "view_submission": {
        **_COMMON,
        "type": "view_submission",
        "view": _VIEW,
        "response_urls": [{"block_id": "b", "action_id": "a", "channel_id": "C0MODELS", "response_url": URL}],
    },
    "view_closed": {**_COMMON, "type": "view_closed", "view": _VIEW, "is_cleared": False},
    "block_suggestion": {
        **_COMMON,
        "type": "block_suggestion",
        "action_id": "model_id",
        "block_id": "model",
        "value": "sd",
        "view": _VIEW,
    },
    "shortcut": {**_COMMON, "type": "shortcut", "callback_id": "reload_model", "action_ts": "1700000000.000100"},
    "message_action": {
        **_COMMON,
        "type": "message_action",
        "callback_id": "reload_this",
        "channel": CHANNEL,
        "message": _MESSAGE,
        "message_ts": "1700000000.000100",
        "response_url": URL,
    },
}

_EVENT: dict[str, Json] = {
    "token": "deprecated",
    "team_id": "T0SANDBOX",
    "api_app_id": "A0SANDBOX",
    "type": "event_callback",
    "event_id": "Ev0EVENT",
    "event_time": 1700000000,
    "authorizations": [{"enterprise_id": None, "team_id": "T0SANDBOX", "user_id": "U0BOT", "is_bot": True}],
}
EVENTS: Mapping[str, dict[str, Json]] = {
    "app_home_opened": {
        **_EVENT,
        "event": {"type": "app_home_opened", "user": "U0ADA", "channel": "D0ADA", "tab": "home", "view": _VIEW},
    },
    "app_mention": {
        **_EVENT,
        "event": {"type": "app_mention", "user": "U0ADA", "channel": "C0MODELS", "text": "<@U0BOT> sdxl", "ts": "1.1"},
    },
    "url_verification": {"token": "deprecated", "type": "url_verification", "challenge": "abc"},
}

COMMAND: dict[str, Json] = {
    "token": "deprecated",
    "team_id": "T0SANDBOX",
    "team_domain": "sandbox",
    "channel_id": "C0MODELS",
    "channel_name": "models",
    "user_id": "U0ADA",
    "user_name": "ada",
    "command": "/reload-model",
    "text": "sdxl",
    "response_url": "https://hooks.slack.com/commands/T0SANDBOX/1/x",
    "trigger_id": "1.2.abc",
    "api_app_id": "A0SANDBOX",
    "is_enterprise_install": "false",
}


def spoilt_of(sound: Mapping[str, Mapping[str, Json]]) -> st.SearchStrategy[dict[str, Json]]:
    """One of these, spoilt or whole."""
    return st.sampled_from(sorted(sound)).flatmap(lambda name: spoilt(sound[name]))


interactions = spoilt_of(INTERACTIONS)
events = spoilt_of(EVENTS)
commands = spoilt(COMMAND)
