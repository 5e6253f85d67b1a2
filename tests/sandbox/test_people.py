"""What people do reaches an app as Slack sends it, within three seconds, and its answer is carried out."""

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.answers import Json
from bot.sandbox.server import break_connection
from bot.sandbox.slack.blocks import Option
from bot.sandbox.slack.service import SandboxSlack
from bot.sandbox.slack.surfaces import Modal
from bot.sandbox.wire import ApiError, JsonObject
from tests.sandbox.conftest import App
from tests.sandbox.test_web_api import MODAL, SECTION, button, plain


def field(name: str, type_: str, *, optional: bool = False, **more: object) -> JsonObject:
    """An input block with an element of this type."""
    element = {"type": type_, "action_id": name, **more}
    return {"type": "input", "block_id": f"b-{name}", "label": plain(name), "element": element, "optional": optional}


MODEL = field("model", "external_select", optional=True, min_query_length=1)
NOTE = field("note", "plain_text_input", optional=True, initial_value="hello")
WHERE = field("where", "conversations_select", default_to_current_conversation=True, response_url_enabled=True)
FORM: JsonObject = {**MODAL, "callback_id": "form", "submit": plain("Go"), "blocks": [SECTION, MODEL, NOTE, WHERE]}


@pytest.fixture
async def modal(slack: SandboxSlack) -> Modal:
    """A form that ada has opened."""
    return slack.open_modal(slack.new_trigger("U0ADA", "C0MODELS"), FORM)


async def test_an_ack_is_shown_if_it_is_valid(slack: SandboxSlack, app: App) -> None:
    """To everybody if it says so. An empty one shows nothing."""
    bodies: tuple[JsonObject, ...] = ({"text": "all", "response_type": "in_channel"}, {}, {"text": "x" * 40_001})
    app.answers = [Json(200, body) for body in bodies]
    acks = [await slack.command("sdxl") for _ in bodies]

    assert [(m.text, m.via, m.user) for m in slack.messages] == [("all", "ack", None)]
    assert acks[-1].text == "msg_too_long"


async def test_a_press_carries_what_slack_documents(slack: SandboxSlack, app: App) -> None:
    """https://docs.slack.dev/reference/interaction-payloads/block_actions-payload. Ephemeral content stays secret."""
    content = {"text": "x", "blocks": [{"type": "actions", "elements": [button(value="v")]}]}
    public = slack.say("C0MODELS", content, "api", thread_ts="1.0")
    await slack.press(public, "Press", user="U0ADA")
    await slack.press(slack.say("C0MODELS", content, "ack", user="U0ADA"), "Press", user="U0ADA")
    pressed, private = app.payloads

    assert (pressed["container"]["thread_ts"], pressed["container"]["is_ephemeral"]) == ("1.0", False)
    assert (private["container"]["is_ephemeral"], "message" in private) == (True, False)
    with pytest.raises(LookupError, match="There is no button Nope"):
        await slack.press(public, "Nope", user="U0ADA")


async def test_a_typeahead_offers_options(slack: SandboxSlack, modal: Modal, app: App) -> None:
    """From as many characters on as it says, and only those that Slack would show."""
    option = {"text": plain("SDXL"), "value": "sdxl"}
    refused: list[JsonObject] = [
        {"options": [{"text": plain("x" * 76), "value": "x"}]},
        {"option_groups": [{"label": plain("x" * 76), "options": [option]}]},
        {"option_groups": [{"label": plain(label), "options": [option] * 60} for label in "ab"]},
    ]
    app.answers = [Json(200, body) for body in ({"options": [option]}, *refused)]

    assert await slack.suggest(modal, "", user="U0ADA") == []
    assert await slack.suggest(modal, "s", user="U0ADA") == [Option("SDXL", "sdxl")]
    for _ in refused:
        with pytest.raises(ApiError, match="invalid_arguments"):
            await slack.suggest(modal, "s", user="U0ADA")
    await app.stop()
    with pytest.raises(ApiError, match="dispatch_failed"):
        await slack.suggest(modal, "s", user="U0ADA")


async def test_a_submission_carries_what_slack_documents(slack: SandboxSlack, modal: Modal, app: App) -> None:
    """https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload."""
    with pytest.raises(LookupError, match="where must be filled in"):
        await slack.submit(modal, {"where": ""}, user="U0ADA")
    await slack.submit(modal, {"model": "sdxl"}, user="U0ADA")
    (payload,) = app.payloads

    assert payload["view"]["state"]["values"]["b-note"]["note"] == {"type": "plain_text_input", "value": "hello"}
    assert [url["channel_id"] for url in payload["response_urls"]] == ["C0MODELS"]
    with pytest.raises(TimeoutError, match="U0ADA has no modal open"):
        await slack.wait_modal("U0ADA", within=0)
    await app.stop()
    assert (await slack.submit(modal, {"where": "C0MODELS"}, user="U0ADA")).error == "dispatch_failed"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"response_action": "errors", "errors": {"other": "No."}}, "invalid_response_action"),
        ({"response_action": "update", "view": {"type": "home"}}, "invalid_arguments"),
    ],
)
async def test_an_answer_to_a_submission_that_slack_refuses(
    slack: SandboxSlack, modal: Modal, app: App, answer: JsonObject, error: str
) -> None:
    """It changes nothing: https://docs.slack.dev/surfaces/modals#response_actions. Scenarios show those it takes."""
    app.answers = [Json(200, answer)]

    assert (await slack.submit(modal, user="U0ADA")).error.startswith(error)
    assert (modal.errors, modal.title, modal.open) == ({}, "Hello", True)


async def test_an_event_that_the_app_does_not_take_comes_again(slack: SandboxSlack, app: App) -> None:
    """The same event, and why: https://docs.slack.dev/apis/events-api#retries."""
    app.answers = [Json(500, {})]
    ack = await slack.open_home("U0ADA")
    first, second = app.payloads

    assert ack.error == ""
    assert first["event_id"] == second["event_id"]
    assert [headers.get("X-Slack-Retry-Reason") for headers in app.headers] == [None, "http_error"]


async def test_an_app_that_is_silent_is_to_blame(slack: SandboxSlack) -> None:
    """After three seconds: https://docs.slack.dev/interactivity/implementing-slash-commands#responding."""
    opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app_token)
    async with aiohttp.ClientSession() as http, http.ws_connect(opened["url"]) as link:
        assert (await link.receive_json())["connection_info"] == {"app_id": "A0SANDBOX"}
        assert slack.ack_seconds == 3.0
        slack.ack_seconds = 0.05
        slack.socket_mode.silence()
        assert (await slack.command("sdxl")).error == "operation_timeout"


def test_a_client_that_has_left_already_does_no_harm() -> None:
    """Its connection can't be broken any more."""
    request = make_mocked_request("GET", "/")
    request.protocol.transport = None

    break_connection(request)
