"""Blocks and views keep to Slack's limits, and whoever breaks one is told which and where."""

import json

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox import block_kit
from bot.sandbox.block_kit import Button, Option
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.wire import JsonObject, JsonValue


def plain(text: str) -> JsonObject:
    """A text object."""
    return {"type": "plain_text", "text": text}


def section(**more: JsonValue) -> JsonObject:
    """A section with these fields."""
    return {"type": "section", **more}


def beside(element: JsonObject) -> JsonObject:
    """A section with an element beside it."""
    return section(text=plain("x"), accessory=element)


def button(**more: JsonValue) -> JsonObject:
    """A button."""
    return {"type": "button", "text": plain("x"), "action_id": "a", **more}


def select(*options: JsonValue, **more: JsonValue) -> JsonObject:
    """A select with these options."""
    return {"type": "static_select", "action_id": "s", "options": [*options], **more}


def option(text: str = "x", **more: JsonValue) -> JsonObject:
    """An option."""
    return {"text": plain(text), "value": "x", **more}


def asks(element: JsonObject, **more: JsonValue) -> JsonObject:
    """An input block."""
    return {"type": "input", "label": plain("x"), "element": element, **more}


def actions(*elements: JsonValue) -> JsonObject:
    """An actions block."""
    return {"type": "actions", "elements": [*elements]}


NOTE: JsonObject = {"type": "plain_text_input", "action_id": "n"}
CHANNEL: JsonObject = {"type": "conversations_select", "action_id": "c", "response_url_enabled": True}
LINE: JsonObject = {"type": "divider"}
IMAGE: JsonObject = {"type": "image", "image_url": "https://example.com/x.png", "alt_text": "a cat"}


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ({"type": "video"}, "unsupported type: video [json-pointer:/blocks/0/type]"),
        (section(), "missing required field: text or fields [json-pointer:/blocks/0]"),
        (section(text="x"), "must be a text object of type plain_text or mrkdwn [json-pointer:/blocks/0/text]"),
        (section(text=plain("")), "must be more than 0 and less than 3001 characters [json-pointer:/blocks/0/text"),
        (section(text=plain("x" * 3001)), "less than 3001 characters [json-pointer:/blocks/0/text/text]"),
        (section(text=plain("x"), txt="x"), "invalid additional property: txt [json-pointer:/blocks/0]"),
        (section(fields=[plain("x" * 2001)]), "less than 2001 characters [json-pointer:/blocks/0/fields/0/text]"),
        (section(fields=[plain("x")] * 11), "must be a list of 1 to 10 items [json-pointer:/blocks/0/fields]"),
        (section(fields="x"), "must be a list of 1 to 10 items [json-pointer:/blocks/0/fields]"),
        (section(text=plain("x"), block_id="x" * 256), "less than 256 characters [json-pointer:/blocks/0/block_id]"),
        ({"type": "header", "text": plain("x" * 151)}, "less than 151 characters"),
        ({"type": "header", "text": {"type": "mrkdwn", "text": "x"}}, "must be a text object of type plain_text ["),
        ({"type": "header"}, "must be a text object of type plain_text ["),
        ({"type": "context"}, "missing required field: elements"),
        ({"type": "context", "elements": [plain("x")] * 11}, "a list of 1 to 10 items"),
        ({"type": "context", "elements": [button()]}, "must be a text object"),
        ({"type": "context", "elements": [{"type": "image"}]}, "missing required field: alt_text"),
        ({"type": "image", "image_url": "x"}, "missing required field: alt_text"),
        (IMAGE | {"alt_text": "x" * 2001}, "must be a string of less than 2001 characters"),
        (actions(), "a list of 1 to 25 items [json-pointer:/blocks/0/elements]"),
        (actions(*[button(action_id=str(n)) for n in range(26)]), "a list of 1 to 25 items"),
        (actions(button(), button()), "action_id 'a' already exists [json-pointer:/blocks/0/elements]"),
        (actions("x"), "unsupported element"),
        (actions(NOTE), "unsupported element: there may be button, "),
        (actions(button(text=plain("x" * 76))), "than 76 characters [json-pointer:/blocks/0/elements/0/text/text]"),
        (actions(button(value="x" * 2001)), "must be a string of less than 2001 characters"),
        (actions(button(value=1)), "must be a string of less than 2001 characters"),
        (actions(button(action_id="x" * 256)), "must be a string of less than 256 characters"),
        (actions(button(style="warm")), "must be primary or danger [json-pointer:/blocks/0/elements/0/style]"),
        (actions(button(onclick="x")), "invalid additional property: onclick"),
        (actions(button(confirm={"title": plain("x" * 101)})), "less than 101 characters"),
        (actions(button(confirm="yes")), "must be a text object of type plain_text"),
        (beside({"type": "conversations_select", "filter": {"only": "public"}}), "invalid additional property: only"),
        (beside(select()), "a list of 1 to 100 items [json-pointer:/blocks/0/accessory/options]"),
        (beside({"type": "static_select"}), "missing required field: options"),
        (beside(select(*[option()] * 101)), "a list of 1 to 100 items"),
        (beside(select(option("x" * 76))), "less than 76 characters"),
        (beside(select(option(value="x" * 151))), "must be a string of less than 151 characters"),
        (beside(select({"text": plain("x")})), "missing required field: value"),
        (beside(select("x")), "must be an option [json-pointer:/blocks/0/accessory/options/0]"),
        (beside(select(option(), placeholder=plain("x" * 151))), "less than 151 characters"),
        (beside(CHANNEL), "response_url_enabled is for input blocks in modals"),
        (beside(NOTE), "unsupported element"),
        (asks(button()), "unsupported element"),
        (asks(NOTE, label=plain("x" * 2001)), "less than 2001 characters"),
        (asks(CHANNEL), "response_url_enabled is for input blocks in modals"),
        ({"type": "input", "label": plain("x")}, "missing required field: element"),
    ],
)
async def test_a_faulty_block(web: AsyncWebClient, slack: SandboxSlack, block: JsonObject, fault: str) -> None:
    """A message with it is refused, and its fault is named."""
    with pytest.raises(SlackApiError) as raised:
        await web.api_call("chat.postMessage", json={"channel": "C0MODELS", "text": "x", "blocks": [block]})
    answer = raised.value.response

    assert answer["error"] == "invalid_blocks"
    assert fault in answer["response_metadata"]["messages"][0]
    assert slack.messages == []


def test_two_blocks_of_one_id() -> None:
    """Ids are unique in a message and in a view."""
    twice: list[JsonObject] = [{"type": "divider", "block_id": "x"}] * 2
    modal: JsonObject = {"type": "modal", "title": plain("x"), "blocks": [*twice]}

    assert block_kit.faults_of_message(twice) == ["[ERROR] block_id 'x' already exists [json-pointer:/blocks]"]
    assert block_kit.faults_of_view(modal) == ["[ERROR] block_id 'x' already exists [json-pointer:/view/blocks]"]


SOUND: list[JsonObject] = [
    {"type": "header", "text": plain("x" * 150)},
    {"type": "divider"},
    section(text={"type": "mrkdwn", "text": "x" * 3000}),
    section(fields=[plain("x" * 2000)] * 10),
    beside(select(*[option("x" * 75, value="x" * 150)] * 100, placeholder=plain("x" * 150))),
    beside(IMAGE),
    {"type": "context", "elements": [plain("x"), {"type": "mrkdwn", "text": "x"}, IMAGE]},
    actions(button(value="x" * 2000, style="danger"), {"type": "overflow", "action_id": "o", "options": [option()]}),
    {**IMAGE, "title": plain("x")},
]


@pytest.mark.parametrize("block", SOUND)
def test_a_sound_block(block: JsonObject) -> None:
    """What Slack allows is allowed, to the last character."""
    assert block_kit.faults_of_message([block]) == []


def modal(*blocks: JsonValue, **more: JsonValue) -> JsonObject:
    """A modal with these blocks."""
    shown: list[JsonValue] = [*blocks] or [LINE]
    return {"type": "modal", "title": plain("x"), "submit": plain("x"), "blocks": shown, **more}


@pytest.mark.parametrize(
    ("view", "fault"),
    [
        ({"blocks": []}, "unsupported type: a view is a modal or home [json-pointer:/view/type]"),
        ({"type": "modal", "title": plain("x")}, "missing required field: blocks [json-pointer:/view]"),
        (modal(title=plain("x" * 25)), "less than 25 characters [json-pointer:/view/title/text]"),
        (modal(title=None), "must be a text object of type plain_text [json-pointer:/view/title]"),
        (modal(submit=plain("x" * 25)), "less than 25 characters [json-pointer:/view/submit/text]"),
        (modal(close=plain("x" * 25)), "less than 25 characters [json-pointer:/view/close/text]"),
        (modal(callback_id="x" * 256), "less than 256 characters [json-pointer:/view/callback_id]"),
        (modal(private_metadata="x" * 3001), "less than 3001 characters [json-pointer:/view/private_metadata]"),
        (modal(color="red"), "invalid additional property: color [json-pointer:/view]"),
        (modal(*[LINE] * 101), "a list of 1 to 100 items [json-pointer:/view/blocks]"),
        (modal("x"), "must hold objects [json-pointer:/view/blocks]"),
        (modal(asks(button())), "unsupported element: there may be channels_select, "),
        (modal(section()), "missing required field: text or fields [json-pointer:/view/blocks/0]"),
        (
            {"type": "modal", "title": plain("x"), "blocks": [asks(NOTE)]},
            "missing required field: submit, as there are inputs [json-pointer:/view]",
        ),
        ({"type": "home", "blocks": [section(text=plain("x"))], "submit": None}, "additional property: submit"),
        ({"type": "home", "blocks": [asks(CHANNEL)]}, "response_url_enabled is for input blocks in modals"),
    ],
)
def test_a_faulty_view(view: JsonObject, fault: str) -> None:
    """A view has limits of its own, and those of its blocks."""
    faults = block_kit.faults_of_view(view)

    assert [each for each in faults if fault in each] == faults[:1]


@pytest.mark.parametrize(
    "view",
    [
        modal(asks(NOTE, hint=plain("x"), optional=True), asks(CHANNEL), callback_id="x" * 255, notify_on_close=True),
        modal(*[LINE] * 100, private_metadata="x" * 3000, close=plain("x" * 24)),
        {"type": "modal", "title": plain("x" * 24), "blocks": [section(text=plain("x"))]},
        {"type": "home", "blocks": [asks(NOTE), actions(button())], "callback_id": "x"},
    ],
)
def test_a_sound_view(view: JsonObject) -> None:
    """What Slack allows is allowed."""
    assert block_kit.faults_of_view(view) == []


def test_what_there_is_to_read() -> None:
    """All words but those on buttons, from top to bottom."""
    blocks: list[JsonObject] = [
        {"type": "header", "text": plain("top")},
        section(text=plain("text"), fields=[plain("left"), plain("right")]),
        {"type": "context", "elements": [plain("small"), IMAGE]},
        {**IMAGE, "title": plain("title")},
        asks(NOTE, label=plain("label"), hint=plain("hint")),
        actions(button()),
    ]

    assert block_kit.texts(blocks) == [
        "top", "text", "left", "right", "small", "a cat", "title", "a cat", "label", "hint"
    ]  # fmt: skip


def test_ids_are_given_where_there_are_none() -> None:
    """They are the same each time, and what was given stays as it is."""
    nameless: JsonObject = {"type": "button", "text": plain("x")}
    blocks: list[JsonObject] = [actions(button(), nameless), {"type": "context", "elements": [plain("x")]}]
    before = json.dumps(blocks)
    found = block_kit.identified(blocks)

    assert block_kit.buttons(found) == block_kit.buttons(blocks) == [Button("x", "a", "b0"), Button("x", "a1", "b0")]
    assert found[1] == {"type": "context", "elements": [plain("x")], "block_id": "b1"}
    assert json.dumps(blocks) == before


def test_what_can_be_filled_in() -> None:
    """Inputs, and selects wherever they are, with what can be chosen."""
    blocks = [beside(select(option("one", value="1"))), asks(NOTE), asks(NOTE, optional=True), actions(button())]
    found = block_kit.fields(blocks)

    assert [(field.label, field.kind, field.action_id, field.optional) for field in found] == [
        ("", "static_select", "s", True),
        ("x", "plain_text_input", "n", False),
        ("x", "plain_text_input", "n", True),
    ]
    assert found[0].options == [Option("one", "1")]
