"""What people do with buttons, in the picker and in the Home tab has a shape too, as Slack documents it."""

import json
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.access import Person
from bot.errors import Malformed
from bot.slack.payloads import (
    HomeOpened,
    Ignored,
    Press,
    Shortcut,
    SlashCommand,
    Submission,
    Typing,
    challenge,
    json_object,
    read,
)
from bot.ui import views
from bot.ui.buttons import Action, Button

Fields = Mapping[str, object]

ADA = Person("U0ADA", "T0HOME", "")
URL = "https://hooks.slack.com/actions/T0HOME/1/abc"

COMMON: Fields = {
    "api_app_id": "A0APP",
    "token": "deprecated",
    "team": {"id": "T0HOME", "domain": "home"},
    "user": {"id": "U0ADA", "username": "ada", "name": "ada", "team_id": "T0HOME"},
    "enterprise": None,
    "is_enterprise_install": False,
}


def a_press(button: Button, **fields: object) -> Fields:
    """A press of a button below a message."""
    return {
        **COMMON,
        "type": "block_actions",
        "trigger_id": "13345224609.738474920.8088930838d88f008e0",
        "container": {"type": "message", "message_ts": "1.2", "channel_id": "C0MODELS", "is_ephemeral": False},
        "channel": {"id": "C0MODELS", "name": "models"},
        "message": {"type": "message", "ts": "1.2"},
        "state": {"values": {}},
        "response_url": URL,
        "actions": [{"type": "button", "action_id": button.action_id(1), "block_id": "b", "value": button.value}],
        **fields,
    }


def a_submission(values: object, **fields: object) -> Fields:
    """The picker, submitted."""
    view = {"id": "V0VIEW", "callback_id": views.PICKER, "private_metadata": "C0MODELS", "state": {"values": values}}
    return {**COMMON, "type": "view_submission", "trigger_id": "1.2.abc", "view": view, "response_urls": [], **fields}


AGAIN = Button("Try again", Action.AGAIN, "sdxl", "C0OPS")
PRESS = a_press(AGAIN)
PICKED = {
    "model": {"model": {"type": "external_select", "selected_option": {"text": {}, "value": "sdxl"}}},
    "typed": {"typed": {"type": "plain_text_input", "value": None}},
    "where": {"where": {"type": "conversations_select", "selected_conversation": "C0OPS"}},
}
SUBMISSION = a_submission(PICKED)
TYPING: Fields = {**COMMON, "type": "block_suggestion", "action_id": "model", "block_id": "model", "value": "sd"}
SHORTCUT: Fields = {**COMMON, "type": "shortcut", "callback_id": views.PICKER, "trigger_id": "1.2.abc"}
OPENED: Fields = {
    "type": "event_callback",
    "team_id": "T0HOME",
    "api_app_id": "A0APP",
    "event": {"type": "app_home_opened", "user": "U0ADA", "channel": "D0ADA", "tab": "home"},
}


def fault(payload: object) -> str:
    """What is wrong with a payload."""
    with pytest.raises(Malformed) as raised:
        read(payload)
    return str(raised.value)


# --- what each is read as -------------------------------------------------------------------------------


def test_a_press_says_what_of_what_and_where_to_announce_it() -> None:
    """The button names the channel: its message may stand elsewhere."""
    assert read(PRESS) == Press(
        Person("U0ADA", "T0HOME", "C0OPS"),
        Action.AGAIN,
        "sdxl",
        "C0MODELS/1.2/again:1",
        "13345224609.738474920.8088930838d88f008e0",
        URL,
    )


@pytest.mark.parametrize(
    "place",
    [
        {"container": {"type": "view", "view_id": "V0"}, "channel": None, "message": None, "response_url": None},
        {"channel": {"id": "", "name": ""}},
    ],
    ids=["as Slack sends it", "as an emulator does"],
)
def test_a_press_in_the_home_tab_has_nowhere_to_answer(place: Fields) -> None:
    """There is no message below which something could be said."""
    press = read(a_press(Button("Reload a model", Action.PICK), **place))

    assert isinstance(press, Press)
    assert (press.person, press.response_url) == (ADA, "")


def test_a_press_of_a_button_that_is_not_known_is_ignored() -> None:
    """Messages outlive versions; Slack wants an ack all the same."""
    assert read({**PRESS, "actions": [{"action_id": "dance", "value": "C0MODELS|sdxl"}]}) == Ignored()


def test_the_picker_says_which_and_where() -> None:
    """What was picked and typed is left as it is: what it is worth is decided elsewhere."""
    url = {"block_id": "where", "action_id": "where", "channel_id": "C0OPS", "response_url": URL}
    other = {**url, "channel_id": "C0OTHER", "response_url": "https://hooks.slack.com/other"}

    assert read({**SUBMISSION, "response_urls": [other, url]}) == Submission(
        Person("U0ADA", "T0HOME", "C0OPS"), "sdxl", "", "V0VIEW", URL
    )


@pytest.mark.parametrize("urls", [None, [], {}, ["x"], [{"channel_id": "C0OTHER", "response_url": URL}]])
def test_without_an_address_of_that_channel_there_is_none(urls: object) -> None:
    """A client that gives none is no reason to refuse."""
    submission = read({**SUBMISSION, "response_urls": urls})

    assert isinstance(submission, Submission)
    assert submission.response_url == ""


@pytest.mark.parametrize("values", [{}, None, {"model": None}, {"model": {"model": {"selected_option": None}}}])
def test_a_picker_in_which_nothing_was_picked(values: object) -> None:
    """The channel is then the one in which it was opened."""
    assert read(a_submission(values)) == Submission(Person("U0ADA", "T0HOME", "C0MODELS"), "", "", "V0VIEW", "")


def test_a_picker_of_another_name_is_ignored() -> None:
    """As is a shortcut."""
    assert read({**SUBMISSION, "view": {"id": "V0", "callback_id": "other"}}) == Ignored()
    assert read({**SHORTCUT, "callback_id": "other"}) == Ignored()


def test_what_is_typed_is_read() -> None:
    """Empty at first."""
    assert read(TYPING) == Typing(ADA, "sd")
    assert read({**TYPING, "value": ""}) == Typing(ADA, "")


def test_a_shortcut_has_no_channel() -> None:
    """It is chosen from a list."""
    assert read(SHORTCUT) == Shortcut(ADA, "1.2.abc")


@pytest.mark.parametrize("event", [OPENED["event"], {"type": "app_home_opened", "user": "U0ADA"}])
def test_the_home_tab_is_opened(event: object) -> None:
    """Of the app's two tabs, this one."""
    assert read({**OPENED, "event": event}) == HomeOpened(ADA)
    assert read({**OPENED, "event": event, "enterprise_id": "E0ORG"}) == HomeOpened(
        Person("U0ADA", "T0HOME", "", "E0ORG")
    )


@pytest.mark.parametrize(
    "payload",
    [
        {**OPENED, "event": {"type": "app_home_opened", "user": "U0ADA", "tab": "messages"}},
        {**OPENED, "event": {"type": "message", "user": "U0ADA"}},
        {**COMMON, "type": "view_closed"},
    ],
)
def test_what_is_of_no_use_is_ignored(payload: Fields) -> None:
    """It is acknowledged: Slack would send an event again, and stop sending any to an app that refuses many."""
    assert read(payload) == Ignored()


# --- who it is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [PRESS, SUBMISSION, TYPING, SHORTCUT], ids=lambda payload: str(payload["type"]))
@pytest.mark.parametrize(
    ("fields", "team", "enterprise"),
    [
        ({}, "T0HOME", ""),
        ({"user": {"id": "U0ADA"}}, "T0HOME", ""),
        ({"enterprise": {"id": "E0ORG"}}, "T0HOME", "E0ORG"),
        ({"user": {"id": "U0ADA", "team_id": "T0OTHER"}}, "T0OTHER", ""),
        ({"user": {"id": "U0ADA", "team_id": "T0OTHER"}, "enterprise": {"id": "E0ORG"}}, "T0OTHER", ""),
        ({"user": {"id": "U0ADA", "team_id": "T0HOME"}, "team": None, "enterprise": {"id": "E0ORG"}}, "T0HOME", ""),
    ],
)
def test_people_are_of_the_workspace_that_is_theirs(
    payload: Fields, fields: Fields, team: str, enterprise: str
) -> None:
    """In a shared channel the workspace of the person differs from the app's, whose organisation is not theirs."""
    found = read({**payload, **fields})

    assert isinstance(found, Press | Submission | Typing | Shortcut)
    assert (found.person.user_id, found.person.team_id, found.person.enterprise_id) == ("U0ADA", team, enterprise)


# --- what is malformed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({**PRESS, "actions": None}, "actions"),
        ({**PRESS, "actions": []}, "actions"),
        ({**PRESS, "actions": ["x"]}, "actions"),
        ({**PRESS, "actions": [{"action_id": 7, "value": "x"}]}, "action_id"),
        ({**PRESS, "actions": [{"action_id": "again:0", "value": ["x"]}]}, "value"),
        ({**PRESS, "user": None}, "id"),
        ({**PRESS, "user": "U0ADA"}, "user"),
        ({**PRESS, "user": {"id": "<!here>", "team_id": "T0HOME"}}, "id"),
        ({**PRESS, "user": {"id": "U0ADA", "team_id": "t"}}, "team_id"),
        ({**PRESS, "user": {"id": "U0ADA"}, "team": None}, "id"),
        ({**PRESS, "enterprise": {"id": "?"}}, "id"),
        ({**PRESS, "trigger_id": None}, "trigger_id"),
        ({**PRESS, "container": "message"}, "container"),
        ({**PRESS, "container": {"message_ts": ["1.2"]}}, "message_ts"),
        ({**PRESS, "response_url": "é"}, "response_url"),
        ({**PRESS, "channel": "C0MODELS"}, "channel"),
        ({**SUBMISSION, "view": None}, "view"),
        ({**SUBMISSION, "view": {"callback_id": views.PICKER}}, "id"),
        (a_submission({**PICKED, "where": {"where": {"selected_conversation": "<!here>"}}}), "the channel in view"),
        (a_submission({**PICKED, "typed": {"typed": {"value": "x" * 8001}}}), "the model in view"),
        (a_submission({"model": {"model": {"selected_option": {"value": "x" * 8001}}}}), "the model in view"),
        ({**SUBMISSION, "response_urls": [{"channel_id": "C0OPS", "response_url": None}]}, "response_url"),
        ({**TYPING, "value": None}, "value"),
        ({**TYPING, "value": "x" * 8001}, "value"),
        ({**SHORTCUT, "trigger_id": ""}, "trigger_id"),
        ({**OPENED, "event": None}, "event"),
        ({**OPENED, "event": {"type": "app_home_opened", "user": "ada"}}, "user"),
        ({**OPENED, "team_id": None}, "team_id"),
        ({**OPENED, "enterprise_id": "?"}, "enterprise_id"),
        ({"type": "message_action"}, "a payload of a type that this app has no use for"),
        ({"type": ["shortcut"]}, "a payload of a type that this app has no use for"),
        ({}, "a payload of a type that this app has no use for"),
        ([PRESS], "a payload that is no object"),
        ({"command": "/other"}, "a command that is not this app's"),
    ],
)
def test_what_is_wrong_is_named(payload: object, name: str) -> None:
    """And nothing of it is shown."""
    assert fault(payload) == name


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = sorted({name for payload in (PRESS, SUBMISSION, TYPING, SHORTCUT, OPENED) for name in payload} - {"type"})


@given(
    st.sampled_from([PRESS, SUBMISSION, TYPING, SHORTCUT, OPENED]),
    st.dictionaries(st.sampled_from(NAMES), json_values, max_size=3),
)
def test_anything_is_read_or_malformed(payload: Fields, wrong: Fields) -> None:
    """Nothing else is raised."""
    with suppress(Malformed):
        found = read({**payload, **wrong})
        assert not isinstance(found, SlashCommand)


# --- JSON, and Slack's question about a URL -------------------------------------------------------------


@pytest.mark.parametrize("text", [b"\xff", b"", b"{", "[" * 100_000, "7" * 5000])
def test_json_that_cannot_be_read_is_malformed(text: str | bytes) -> None:
    """However it is broken."""
    with pytest.raises(Malformed, match="JSON that cannot be read"):
        json_object(text)


@pytest.mark.parametrize("value", [None, [], "x", 7])
def test_json_that_is_no_object_is_malformed(value: object) -> None:
    """All that Slack sends is one."""
    with pytest.raises(Malformed, match="JSON that is no object"):
        json_object(json.dumps(value))


def test_the_challenge_of_a_url_is_answered() -> None:
    """It is sent once, when the address of the events is set."""
    assert challenge({"type": "url_verification", "challenge": "3eZbrw1a"}) == "3eZbrw1a"
    assert challenge(OPENED) is None
    with pytest.raises(Malformed, match="challenge"):
        challenge({"type": "url_verification", "challenge": "x\n"})
