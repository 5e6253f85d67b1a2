"""What Slack sends has a shape; everything else is Malformed, and nothing worse."""

from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.access import Person
from bot.errors import Malformed
from bot.slack.payloads import SlashCommand, form, is_ssl_check, slash_command

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

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
# An invocation of which any field may be gone, or be anything.
near_misses = st.dictionaries(st.sampled_from([*INVOCATION, "enterprise_id"]), json_values, max_size=3).map(
    lambda wrong: INVOCATION | wrong
)


def fault(payload: object) -> str:
    """What is wrong with a payload."""
    with pytest.raises(Malformed) as raised:
        slash_command(payload)
    return str(raised.value)


def is_sound(command: SlashCommand) -> bool:
    """Whether the rest of the bot may rely on it."""
    person = command.person
    ids = [person.user_id, person.team_id, person.channel_id, *([person.enterprise_id] if person.enterprise_id else [])]
    tokens = [command.trigger_id, command.response_url]
    return all(part.isascii() and part.isalnum() for part in ids) and all(
        part.isascii() and part.isprintable() for part in tokens
    )


# --- an invocation --------------------------------------------------------------------------------------


def test_an_invocation_is_read() -> None:
    """Who, where, what, and how to answer; the text as it was typed."""
    assert slash_command(INVOCATION) == SlashCommand(
        person=Person(user_id="U0ADA", team_id="T0HOME", channel_id="C0MODELS", enterprise_id=""),
        text="sdxl & <co> \u201cé\u201d",
        trigger_id="13345224609.738474920.8088930838d88f008e0",
        response_url="https://hooks.slack.com/commands/T0HOME/1/abc",
    )


def test_an_organisation_is_read_where_there_is_one() -> None:
    """enterprise_id comes on Enterprise Grid only."""
    assert slash_command({**INVOCATION, "enterprise_id": "E0ORG"}).person.enterprise_id == "E0ORG"
    assert slash_command({**INVOCATION, "enterprise_id": ""}).person.enterprise_id == ""
    assert slash_command({**INVOCATION, "enterprise_id": None}).person.enterprise_id == ""


def test_a_command_without_text_is_one_with_an_empty_text() -> None:
    """Nothing typed is nothing."""
    assert slash_command({name: value for name, value in INVOCATION.items() if name != "text"}).text == ""


@pytest.mark.parametrize("payload", [None, [], "text", 7, [INVOCATION]])
def test_what_is_no_object_is_malformed(payload: object) -> None:
    """JSON may hold anything."""
    assert fault(payload) == "a payload that is no object"


@pytest.mark.parametrize("command", [None, "", "/other", "/reload-model ", 7])
def test_another_command_is_malformed(command: object) -> None:
    """Slack sends an app its own commands only."""
    assert fault({**INVOCATION, "command": command}) == "a command that is not this app's"


@pytest.mark.parametrize("name", ["user_id", "team_id", "channel_id"])
@pytest.mark.parametrize(
    "value", [None, "", 7, "U", "u0ada", "U0ADA\n", "U0ADA>", "Ü0ADA", "U" * 65, "U0 ADA", ["U0ADA"]]
)
def test_an_id_is_capitals_and_digits(name: str, value: object) -> None:
    """An id stands in mentions as it is, so it holds nothing that could end one."""
    assert fault({**INVOCATION, name: value}) == name


@pytest.mark.parametrize("value", ["e0org", 7, ["E0ORG"], "E0ORG|x"])
def test_an_organisations_id_is_an_id_too(value: object) -> None:
    """Where it is given, it is held to the same."""
    assert fault({**INVOCATION, "enterprise_id": value}) == "enterprise_id"


@pytest.mark.parametrize("name", ["trigger_id", "response_url"])
@pytest.mark.parametrize("value", [None, "", 7, "a\x00b", "é", "a\nb", "x" * 2001, "\ud800"])
def test_what_a_machine_made_is_printable(name: str, value: object) -> None:
    """No database refuses it, and no log line breaks on it."""
    assert fault({**INVOCATION, name: value}) == name


@pytest.mark.parametrize("value", [None, 7, ["sdxl"], "x" * 8001])
def test_the_text_is_a_text_of_some_length(value: object) -> None:
    """Slack's own limit lies far below."""
    assert fault({**INVOCATION, "text": value}) == "text"


def test_a_fault_shows_nothing_of_what_was_sent() -> None:
    """What is malformed may be hostile: the field is named, and that is all."""
    assert "<!channel>" not in fault({**INVOCATION, "user_id": "<!channel>"})


@given(json_values | near_misses | st.dictionaries(st.text() | st.integers(), json_values))
def test_any_payload_is_an_invocation_or_malformed(payload: object) -> None:
    """Nothing else is raised, and what is read is sound."""
    with suppress(Malformed):
        assert is_sound(slash_command(payload))


# --- a form ---------------------------------------------------------------------------------------------


def test_a_form_is_read_as_it_was_written() -> None:
    """Every field comes back, empty ones too."""
    fields = INVOCATION | {"text": ""}

    assert form(urlencode(fields).encode()) == fields


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
    with pytest.raises(Malformed, match="a form that cannot be read"):
        form(body)


def test_a_field_given_twice_is_malformed() -> None:
    """Whoever checks one value must not leave another to whoever acts."""
    with pytest.raises(Malformed, match="a field given twice"):
        form(b"user_id=U0ADA&user_id=U0EVE")


@given(st.binary() | st.text("abc&=%+;C3\u00ff").map(str.encode) | near_misses.map(lambda it: urlencode(it).encode()))
@example(b"")
@example(b"%")
def test_any_body_is_a_form_or_malformed(body: bytes) -> None:
    """Nothing else is raised, here or by what reads the fields."""
    with suppress(Malformed):
        fields: Mapping[str, str] = form(body)
        is_ssl_check(fields)
        assert is_sound(slash_command(fields))


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
    assert is_ssl_check(fields) is expected
