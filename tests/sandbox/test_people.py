"""What people do reaches a Bolt app as Slack sends it, in both modes, and its answer is carried out."""

import pytest
from slack_bolt.async_app import AsyncAck, AsyncRespond
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.blocks import Option
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.surfaces import Modal
from bot.sandbox.wire import ApiError, JsonObject
from tests.sandbox.conftest import App
from tests.sandbox.test_web_api import MODAL, SECTION, button, plain

Command = dict[str, str]


def field(name: str, type_: str, *, optional: bool = False, **more: object) -> JsonObject:
    """An input block with an element of this type."""
    element = {"type": type_, "action_id": name, **more}
    return {"type": "input", "block_id": f"b-{name}", "label": plain(name), "element": element, "optional": optional}


MODEL = field("model", "external_select", optional=True, min_query_length=1)
NOTE = field("note", "plain_text_input", optional=True, initial_value="hello")
WHERE = field("where", "conversations_select", default_to_current_conversation=True, response_url_enabled=True)
FORM: JsonObject = {**MODAL, "callback_id": "form", "submit": plain("Go"), "blocks": [SECTION, MODEL, NOTE, WHERE]}


async def opened(slack: SandboxSlack, client: AsyncWebClient) -> Modal:
    """A form before ada."""
    await client.views_open(trigger_id=slack.new_trigger("U0ADA", "C0MODELS"), view=FORM)
    return await slack.wait_modal("U0ADA")


async def nothing(ack: AsyncAck) -> None:
    """Acknowledge without a word."""
    await ack()


async def test_a_command_carries_what_slack_documents(slack: SandboxSlack, app: App) -> None:
    """https://docs.slack.dev/interactivity/implementing-slash-commands#app_command_handling."""

    async def answer(ack: AsyncAck, command: Command) -> None:
        await ack(f"you said {command['text']}")

    app.bolt.command("/reload-model")(answer)
    slack.enterprise_id = "E0GRID"
    ack = await slack.command("a b")
    command = app.payloads[-1]

    assert (ack.status, ack.text, ack.response_type, ack.error) == (200, "you said a b", "ephemeral", "")
    assert [(m.text, m.via, m.user) for m in slack.messages] == [("you said a b", "ack", "U0ADA")]
    assert (command["team_id"], command["enterprise_id"]) == ("T0SANDBOX", "E0GRID")
    assert (command["user_id"], command["user_name"]) == ("U0ADA", "ada")
    assert (command["channel_id"], command["channel_name"]) == ("C0MODELS", "models")
    assert (command["response_url"], command["trigger_id"]) == (ack.response_url, ack.trigger_id)


async def test_an_ack_can_be_for_the_channel_and_must_be_valid(slack: SandboxSlack, app: App) -> None:
    """An empty one shows nothing; names of places that the app doesn't see are kept back."""

    async def answer(ack: AsyncAck, command: Command) -> None:
        await ack(text=command["text"], response_type="in_channel")

    app.bolt.command("/reload-model")(answer)
    seen, too_long = await slack.command("hello"), await slack.command("x" * 40_001)
    await slack.command("", channel="DU0ADA")
    await slack.command("", channel="G0")

    assert [(m.text, m.user) for m in slack.messages] == [("hello", None)]
    assert (seen.error, too_long.text) == ("", "msg_too_long")
    assert [payload["channel_name"] for payload in app.payloads[2:]] == ["directmessage", "privategroup"]


async def test_a_button_is_pressed(slack: SandboxSlack, client: AsyncWebClient, app: App) -> None:
    """https://docs.slack.dev/reference/interaction-payloads/block_actions-payload. Ephemeral content stays secret."""

    async def answer(ack: AsyncAck, respond: AsyncRespond) -> None:
        await ack()
        await respond("pressed", replace_original=False)

    app.bolt.action("press")(answer)
    blocks = [{**SECTION, "accessory": button("Other", action_id="other")}, {"type": "actions", "elements": [button()]}]
    ts = (await client.chat_postMessage(channel="C0MODELS", text="x", blocks=blocks, thread_ts="1.0"))["ts"]
    slack.user_teams["U0ADA"] = "T0OTHER"
    ack = await slack.press(slack.messages[0], "Press", user="U0ADA")
    await slack.wait_until(lambda: len(slack.messages) == 2, within=30.0)
    pressed, answered = app.payloads[-1], slack.messages[-1]
    container = {"type": "message", "message_ts": ts, "channel_id": "C0MODELS", "is_ephemeral": False}

    assert (ack.error, pressed["container"]) == ("", container)
    assert (pressed["user"]["team_id"], pressed["team"]["id"]) == ("T0OTHER", "T0SANDBOX")
    assert [action["action_id"] for action in pressed["actions"]] == ["press"]
    assert (pressed["message"]["ts"], pressed["message"]["thread_ts"]) == (ts, "1.0")
    assert (answered.text, answered.via, answered.user) == ("pressed", "response_url", "U0ADA")
    with pytest.raises(LookupError, match="There is no button Nope"):
        await slack.press(slack.messages[0], "Nope", user="U0ADA")
    slack.enterprise_id = "E0GRID"
    private = {"text": "x", "blocks": [{"type": "actions", "elements": [button(value="v")]}]}
    await slack.press(slack.say("C0MODELS", private, "ack", user="U0ADA"), "Press", user="U0ADA")
    pressed = app.payloads[-1]
    assert (pressed["container"]["is_ephemeral"], pressed["enterprise"]["id"]) == (True, "E0GRID")
    assert (pressed["actions"][0]["value"], "message" in pressed) == ("v", False)


async def test_the_home_tab_opens(slack: SandboxSlack, app: App) -> None:
    """The event brings the view that was last published: https://docs.slack.dev/reference/events/app_home_opened."""

    async def publish(client: AsyncWebClient, event: JsonObject) -> None:
        blocks = [{"type": "actions", "elements": [button()]}]
        await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": blocks})

    app.bolt.event("app_home_opened")(publish)
    app.bolt.action("press")(nothing)
    await slack.open_home("U0ADA")
    home = await slack.wait_home("U0ADA", lambda home: bool(home.buttons))
    await slack.open_home("U0ADA")
    await slack.press(home, "Press", user="U0ADA")
    first, second, pressed = app.payloads

    assert (first["event"]["tab"], "view" in first["event"]) == ("home", False)
    assert second["event"]["view"]["id"] == home.id
    assert pressed["container"] == {"type": "view", "view_id": home.id}


async def test_a_typeahead_offers_options(slack: SandboxSlack, client: AsyncWebClient, app: App) -> None:
    """From as many characters on as it says, and only those that Slack would show."""
    option = {"text": plain("SDXL"), "value": "sdxl"}
    answers: list[JsonObject] = [
        {"options": [option]},
        {"option_groups": [{"label": plain("Public"), "options": [option]}]},
        {"options": [{"text": plain("x" * 76), "value": "x"}]},
        {"option_groups": [{"label": plain("x" * 76), "options": [option]}]},
        {"option_groups": [{"label": plain(label), "options": [option] * 60} for label in "ab"]},
    ]

    async def suggest(ack: AsyncAck) -> None:
        await ack(answers.pop(0))

    app.bolt.options("model")(suggest)
    modal = await opened(slack, client)

    assert await slack.suggest(modal, "", user="U0ADA") == []
    assert await slack.suggest(modal, "s", user="U0ADA") == [Option("SDXL", "sdxl")]
    assert await slack.suggest(modal, "s", user="U0ADA") == [Option("SDXL", "sdxl", "Public")]
    assert (app.payloads[-1]["value"], app.payloads[-1]["action_id"]) == ("s", "model")
    while answers:
        with pytest.raises(ApiError, match="invalid_arguments"):
            await slack.suggest(modal, "s", user="U0ADA")


async def test_a_modal_is_submitted(slack: SandboxSlack, client: AsyncWebClient, app: App) -> None:
    """https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload."""
    app.bolt.view("form")(nothing)
    modal = await opened(slack, client)
    modal.filled["note"] = "typed"
    await slack.submit(modal, {"model": "sdxl"}, user="U0ADA")
    (payload,) = app.payloads
    values = payload["view"]["state"]["values"]

    assert values["b-model"]["model"]["selected_option"]["value"] == "sdxl"
    assert values["b-note"]["note"] == {"type": "plain_text_input", "value": "typed"}
    assert values["b-where"]["where"]["selected_conversation"] == "C0MODELS"
    assert [url["channel_id"] for url in payload["response_urls"]] == ["C0MODELS"]
    with pytest.raises(TimeoutError, match="U0ADA has no modal open"):
        await slack.wait_modal("U0ADA", within=0)


async def test_what_does_not_reach_the_app(slack: SandboxSlack, client: AsyncWebClient) -> None:
    """A field that is empty and must not be, and anything while no app listens."""
    modal = await opened(slack, client)

    with pytest.raises(LookupError, match="where must be filled in"):
        await slack.submit(modal, {"where": ""}, user="U0ADA")
    with pytest.raises(ApiError, match="dispatch_failed"):
        await slack.suggest(modal, "sd", user="U0ADA")
    assert ((await slack.submit(modal, user="U0ADA")).error, modal.open) == ("dispatch_failed", True)


@pytest.mark.parametrize(
    ("answer", "error", "errors", "title"),
    [
        ({"response_action": "errors", "errors": {"b-note": "No."}}, "", {"note": "No."}, "Hello"),
        ({"response_action": "update", "view": {**MODAL, "title": plain("Done")}}, "", {}, "Done"),
        ({"response_action": "errors", "errors": {"other": "No."}}, "invalid_response_action", {}, "Hello"),
        ({"response_action": "update", "view": {"type": "home"}}, "invalid_arguments", {}, "Hello"),
    ],
)
async def test_a_submission_is_answered(
    slack: SandboxSlack,
    client: AsyncWebClient,
    app: App,
    answer: JsonObject,
    error: str,
    errors: JsonObject,
    title: str,
) -> None:
    """By errors beside the fields, or by another view: https://docs.slack.dev/surfaces/modals#response_actions."""

    async def submitted(ack: AsyncAck) -> None:
        await ack(**answer)

    app.bolt.view("form")(submitted)
    modal = await opened(slack, client)
    ack = await slack.submit(modal, user="U0ADA")

    assert ack.error.startswith(error)
    assert (bool(ack.error), modal.errors, modal.title, modal.open) == (bool(error), errors, title, True)
