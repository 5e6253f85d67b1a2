"""What Slack sends is read field by field: what is wrong is named, and nothing else is raised."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.access import Person
from bot.errors import Malformed
from bot.slack import payloads
from bot.slack.payloads import Fields, Press, SlashCommand

ADA = Person("U0ADA", "T0HOME", "")
URL = "https://hooks.slack.com/actions/T0HOME/1/abc"

INVOCATION = {
    "token": "deprecated",
    "team_id": "T0HOME",
    "team_domain": "home",
    "channel_id": "C0MODELS",
    "channel_name": "models",
    "user_id": "U0ADA",
    "user_name": "ada",
    "command": "/reload-model",
    "text": "sdxl & <co> \u201cé\u201d",
    "api_app_id": "A0APP",
    "is_enterprise_install": "false",
    "response_url": "https://hooks.slack.com/commands/T0HOME/1/abc",
    "trigger_id": "13345224609.738474920.8088930838d88f008e0",
}

BODY: Fields = {
    "type": "block_actions",
    "team": {"id": "T0HOME", "domain": "home"},
    "user": {"id": "U0ADA", "username": "ada", "name": "ada", "team_id": "T0HOME"},
    "enterprise": None,
    "trigger_id": "13345224609.738474920.8088930838d88f008e0",
    "container": {"type": "message", "message_ts": "1.2", "channel_id": "C0MODELS", "is_ephemeral": False},
    "channel": {"id": "C0MODELS", "name": "models"},
    "message": {"type": "message", "ts": "1.2"},
    "response_url": URL,
}
ACTION: Fields = {"type": "button", "action_id": "again:1", "block_id": "b", "value": "C0OPS|sdxl"}

OPENED: Fields = {
    "type": "event_callback",
    "team_id": "T0HOME",
    "event": {"type": "app_home_opened", "user": "U0ADA", "channel": "D0ADA", "tab": "home"},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def near_misses(sound: Fields) -> st.SearchStrategy[Fields]:
    """A sound payload of which any field may be anything."""
    wrong = st.dictionaries(st.sampled_from([*sound, "enterprise_id"]), json_values, max_size=3)
    return wrong.map(lambda fields: {**sound, **fields})


def fault(read: Callable[[], object]) -> str:
    """What is wrong with a payload."""
    with pytest.raises(Malformed) as raised:
        read()
    return str(raised.value)


def is_sound(command: SlashCommand) -> bool:
    """Whether the rest of the bot may rely on it."""
    person = command.person
    ids = [person.user_id, person.team_id, person.channel_id, *([person.enterprise_id] if person.enterprise_id else [])]
    tokens = [command.trigger_id, command.response_url]
    return all(part.isascii() and part.isalnum() for part in ids) and all(
        part.isascii() and part.isprintable() for part in tokens
    )


def test_an_invocation_is_read() -> None:
    """Who, where, what, and how to answer; the text as it was typed."""
    assert payloads.slash_command(INVOCATION) == SlashCommand(
        person=Person(user_id="U0ADA", team_id="T0HOME", channel_id="C0MODELS", private=False),
        text="sdxl & <co> \u201cé\u201d",
        trigger_id="13345224609.738474920.8088930838d88f008e0",
        response_url="https://hooks.slack.com/commands/T0HOME/1/abc",
    )


@pytest.mark.parametrize(("sent", "read"), [("E0ORG", "E0ORG"), ("", ""), (None, "")])
def test_an_organisation_is_read_where_there_is_one(sent: str | None, read: str) -> None:
    """enterprise_id comes on Enterprise Grid only."""
    assert payloads.slash_command({**INVOCATION, "enterprise_id": sent}).person.enterprise_id == read


def test_a_command_without_text_is_one_with_an_empty_text() -> None:
    """Nothing typed is nothing."""
    assert payloads.slash_command({name: value for name, value in INVOCATION.items() if name != "text"}).text == ""


@pytest.mark.parametrize("name", ["user_id", "team_id", "channel_id"])
@pytest.mark.parametrize(
    "value", [None, "", 7, "U", "u0ada", "U0ADA\n", "U0ADA>", "Ü0ADA", "U" * 65, "U0 ADA", ["U0ADA"]]
)
def test_an_id_is_capitals_and_digits(name: str, value: object) -> None:
    """An id stands in mentions as it is, so it holds nothing that could end one."""
    assert fault(lambda: payloads.slash_command({**INVOCATION, name: value})) == name


@pytest.mark.parametrize("value", ["e0org", 7, ["E0ORG"], "E0ORG|x"])
def test_an_organisations_id_is_an_id_too(value: object) -> None:
    """Where it is given, it is held to the same."""
    assert fault(lambda: payloads.slash_command({**INVOCATION, "enterprise_id": value})) == "enterprise_id"


@pytest.mark.parametrize("name", ["trigger_id", "response_url"])
@pytest.mark.parametrize("value", [None, "", 7, "a\x00b", "é", "a\nb", "x" * 2001, "\ud800"])
def test_what_a_machine_made_is_printable(name: str, value: object) -> None:
    """No database refuses it, and no log line breaks on it."""
    assert fault(lambda: payloads.slash_command({**INVOCATION, name: value})) == name


@pytest.mark.parametrize("value", [None, 7, ["sdxl"], "x" * 8001])
def test_the_text_is_a_text_of_some_length(value: object) -> None:
    """Slack's own limit lies far below."""
    assert fault(lambda: payloads.slash_command({**INVOCATION, "text": value})) == "text"


def test_a_fault_shows_nothing_of_what_was_sent() -> None:
    """What is malformed may be hostile: the field is named, and that is all."""
    assert "<!channel>" not in fault(lambda: payloads.slash_command({**INVOCATION, "user_id": "<!channel>"}))


@given(near_misses(INVOCATION))
def test_any_command_is_read_or_malformed(command: Fields) -> None:
    """Nothing else is raised, and what is read is sound."""
    with suppress(Malformed):
        assert is_sound(payloads.slash_command(command))


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
def test_people_are_of_the_workspace_that_is_theirs(fields: Fields, team: str, enterprise: str) -> None:
    """In a shared channel the workspace of the person differs from the app's, whose organisation is not theirs."""
    assert payloads.interaction_author({**BODY, **fields}, "C0OPS") == Person("U0ADA", team, "C0OPS", enterprise)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"user": None}, "id"),
        ({"user": "U0ADA"}, "user"),
        ({"user": {"id": "<!here>", "team_id": "T0HOME"}}, "id"),
        ({"user": {"id": "U0ADA", "team_id": "t"}}, "team_id"),
        ({"user": {"id": "U0ADA"}, "team": None}, "id"),
        ({"enterprise": {"id": "?"}}, "id"),
    ],
)
def test_an_author_who_cannot_be_told_is_malformed(fields: Fields, name: str) -> None:
    """Nobody is guessed at."""
    assert fault(lambda: payloads.interaction_author({**BODY, **fields})) == name


def test_a_press_says_which_button_of_which_message() -> None:
    """And how to answer below that message."""
    assert payloads.press(BODY, ACTION) == Press(
        "again:1", "C0OPS|sdxl", "C0MODELS/1.2/again:1", "13345224609.738474920.8088930838d88f008e0", URL
    )


@pytest.mark.parametrize(
    ("place", "where"),
    [
        ({"container": {"type": "view", "view_id": "V0"}, "channel": None, "response_url": None}, "V0/again:1"),
        ({"container": None, "channel": {"id": "", "name": ""}}, "again:1"),
    ],
    ids=["as Slack sends it", "as an emulator does"],
)
def test_a_press_in_a_view_has_nowhere_to_answer(place: Fields, where: str) -> None:
    """There is no message below which something could be said."""
    press = payloads.press({**BODY, **place}, ACTION)

    assert (press.place, press.response_url) == (where, "")


@pytest.mark.parametrize(
    ("fields", "action", "name"),
    [
        ({}, {"action_id": 7}, "action_id"),
        ({}, {"value": ["x"]}, "value"),
        ({"trigger_id": None}, {}, "trigger_id"),
        ({"container": "message"}, {}, "container"),
        ({"container": {"message_ts": ["1.2"]}}, {}, "message_ts"),
        ({"response_url": "é"}, {}, "response_url"),
        ({"channel": "C0MODELS"}, {}, "channel"),
    ],
)
def test_what_is_wrong_with_a_press_is_named(fields: Fields, action: Fields, name: str) -> None:
    """And nothing of it is shown."""
    assert fault(lambda: payloads.press({**BODY, **fields}, {**ACTION, **action})) == name


@pytest.mark.parametrize(
    "element",
    [
        {"type": "external_select", "selected_option": {"text": {}, "value": "sdxl"}},
        {"type": "plain_text_input", "value": "sdxl"},
        {"type": "conversations_select", "selected_conversation": "sdxl"},
    ],
    ids=lambda element: str(element["type"]),
)
def test_what_was_chosen_in_a_field_is_read(element: Fields) -> None:
    """Whatever kind of field it is."""
    assert payloads.chosen({"state": {"values": {"model": {"model": element}}}}, "model") == "sdxl"


@pytest.mark.parametrize(
    "view",
    [
        {},
        {"state": None},
        {"state": {"values": {}}},
        {"state": {"values": {"model": None}}},
        {"state": {"values": {"model": {"model": {"type": "external_select", "selected_option": None}}}}},
        {"state": {"values": {"model": {"model": {"type": "plain_text_input", "value": None}}}}},
    ],
)
def test_a_field_in_which_nothing_was_chosen_is_empty(view: Fields) -> None:
    """Clients differ in how they say so."""
    assert payloads.chosen(view, "model") == ""


@pytest.mark.parametrize(
    ("view", "name"),
    [
        ({"state": "x"}, "state"),
        ({"state": {"values": []}}, "values"),
        ({"state": {"values": {"model": "x"}}}, "model"),
        ({"state": {"values": {"model": {"model": {"selected_option": "x"}}}}}, "selected_option"),
        ({"state": {"values": {"model": {"model": {"value": 7}}}}}, "model"),
        ({"state": {"values": {"model": {"model": {"value": "x" * 8001}}}}}, "model"),
    ],
)
def test_what_is_wrong_with_a_field_is_named(view: Fields, name: str) -> None:
    """And nothing of it is shown."""
    assert fault(lambda: payloads.chosen(view, "model")) == name


def test_a_channel_that_was_chosen_is_an_id() -> None:
    """Or none, in a client that shows no such field."""
    assert payloads.channel("C0OPS") == "C0OPS"
    assert payloads.channel("") == ""
    assert fault(lambda: payloads.channel("<!here>")) == "channel"


@pytest.mark.parametrize(
    ("urls", "found"),
    [
        ([{"channel_id": "C0OTHER", "response_url": "https://x"}, {"channel_id": "C0OPS", "response_url": URL}], URL),
        ([{"channel_id": "C0OTHER", "response_url": URL}], ""),
        (["x"], ""),
        ([], ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_a_modal_has_a_response_url_for_the_channel_chosen_in_it(urls: object, found: str) -> None:
    """Or none: a client that gives none is no reason to refuse."""
    assert payloads.response_url_for({"response_urls": urls}, "C0OPS") == found


def test_a_response_url_that_is_none_is_malformed() -> None:
    """Where one is given for the channel."""
    urls = [{"channel_id": "C0OPS", "response_url": None}]

    assert fault(lambda: payloads.response_url_for({"response_urls": urls}, "C0OPS")) == "response_url"


@given(near_misses(BODY), near_misses(ACTION))
def test_any_interaction_is_read_or_malformed(body: Fields, action: Fields) -> None:
    """Nothing else is raised."""
    for read in (
        lambda: payloads.interaction_author(body),
        lambda: payloads.press(body, action),
        lambda: payloads.chosen(body, "user"),
        lambda: payloads.response_url_for(body, "C0OPS"),
        lambda: payloads.ignorable(body),
    ):
        with suppress(Malformed):
            read()


@pytest.mark.parametrize("enterprise_id", ["", "E0ORG"])
def test_the_author_of_an_event_is_read(enterprise_id: str) -> None:
    """With the organisation, on Enterprise Grid."""
    found = payloads.event_author({**OPENED, "enterprise_id": enterprise_id})

    assert found == Person("U0ADA", "T0HOME", "", enterprise_id)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"event": None}, "event"),
        ({"event": {"type": "app_home_opened", "user": "ada"}}, "user"),
        ({"team_id": None}, "team_id"),
        ({"enterprise_id": "?"}, "enterprise_id"),
    ],
)
def test_what_is_wrong_with_an_event_is_named(fields: Fields, name: str) -> None:
    """And nothing of it is shown."""
    assert fault(lambda: payloads.event_author({**OPENED, **fields})) == name


@pytest.mark.parametrize("kind", ["block_actions", "view_submission", "view_closed", "shortcut", "message_action"])
def test_a_known_interaction_can_be_ignored(kind: str) -> None:
    """Messages outlive the versions of this program."""
    payloads.ignorable({**BODY, "type": kind})


def test_an_event_can_be_ignored() -> None:
    """Slack stops sending events to an app that refuses many."""
    payloads.ignorable({**OPENED, "event": {"type": "reaction_added"}})


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({"type": "event_callback", "team_id": "T0HOME"}, "event"),
        ({**BODY, "user": None}, "id"),
        ({"type": "dialog_submission"}, "a payload of a type that this app doesn't use"),
        ({"type": ["shortcut"]}, "a payload of a type that this app doesn't use"),
        ({"command": "/other"}, "a payload of a type that this app doesn't use"),
        ({}, "a payload of a type that this app doesn't use"),
    ],
)
def test_what_slack_does_not_send_cannot_be_ignored(payload: Fields, name: str) -> None:
    """It is refused, so that it shows in the log."""
    assert fault(lambda: payloads.ignorable(payload)) == name


def test_a_form_is_read_as_it_was_written() -> None:
    """Every field comes back, empty ones too."""
    fields = INVOCATION | {"text": ""}

    assert payloads.form(urlencode(fields).encode()) == fields


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"text=%ff",
        b"text=%C3%28",
        b"text",
        b"&&",
        b"=&a",
        b"&".join(b"f%d=1" % number for number in range(101)),
    ],
)
def test_a_form_that_cannot_be_read_is_malformed(body: bytes) -> None:
    """Bytes that are no text, fields that are no fields, and more of them than anyone sends."""
    assert fault(lambda: payloads.form(body)) == "a form that cannot be read"


def test_a_field_given_twice_is_malformed() -> None:
    """Or one value could be checked, and the other used."""
    assert fault(lambda: payloads.form(b"user_id=U0ADA&user_id=U0EVE")) == "a field given twice"


@given(st.binary() | st.text("abc&=%+;C3\u00ff").map(str.encode))
@example(b"")
@example(b"%")
def test_any_body_is_a_form_or_malformed(body: bytes) -> None:
    """Nothing else is raised, here or by what reads the fields."""
    with suppress(Malformed):
        fields: Mapping[str, str] = payloads.form(body)
        payloads.is_ssl_check(fields)
        assert is_sound(payloads.slash_command(fields))


@pytest.mark.parametrize("text", [b"\xff", b"", b"{", "[" * 100_000, "7" * 5000])
def test_json_that_cannot_be_read_is_malformed(text: str | bytes) -> None:
    """However it is broken."""
    assert fault(lambda: payloads.json_object(text)) == "JSON that cannot be read"


@pytest.mark.parametrize("value", [None, [], "x", 7])
def test_json_that_is_not_an_object_is_malformed(value: object) -> None:
    """All that Slack sends is one."""
    assert fault(lambda: payloads.json_object(json.dumps(value))) == "JSON that isn't an object"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ssl_check": "1", "token": "x"}, True),
        ({"ssl_check": "1"}, True),
        ({"ssl_check": "0"}, False),
        ({}, False),
        ({"ssl_check": "1", "command": "/reload-model"}, False),
        (INVOCATION | {"ssl_check": "1"}, False),
    ],
)
def test_slacks_certificate_probe_is_known(fields: Mapping[str, str], *, expected: bool) -> None:
    """It comes unsigned, so nothing that asks for something passes for it."""
    assert payloads.is_ssl_check(fields) is expected


def test_the_challenge_of_a_url_is_read() -> None:
    """It is sent once, when the address of the events is set."""
    assert payloads.challenge({"type": "url_verification", "challenge": "3eZbrw1a"}) == "3eZbrw1a"
    assert payloads.challenge(OPENED) is None
    assert fault(lambda: payloads.challenge({"type": "url_verification", "challenge": "x\n"})) == "challenge"
