"""The Web API takes and refuses what Slack documents: https://docs.slack.dev/reference/methods."""

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack.service import SandboxSlack
from bot.sandbox.wire import JsonObject
from tests.storage.support import Clock


def plain(text: str) -> JsonObject:
    """A text object."""
    return {"type": "plain_text", "text": text}


def button(text: str = "Press", **more: str) -> JsonObject:
    """A button."""
    return {"type": "button", "text": plain(text), "action_id": "press", **more}


SECTION: JsonObject = {"type": "section", "text": {"type": "mrkdwn", "text": "x"}}
HOME: JsonObject = {"type": "home", "blocks": [SECTION]}
MODAL: JsonObject = {"type": "modal", "title": plain("Hello"), "blocks": [SECTION]}
INPUT: JsonObject = {"type": "input", "label": plain("Id"), "element": {"type": "plain_text_input", "action_id": "id"}}


@pytest.fixture
def client(slack: SandboxSlack) -> AsyncWebClient:
    """The SDK's client of the Web API, without its own retries."""
    return AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, retry_handlers=[], timeout=30)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        # Where: https://docs.slack.dev/reference/methods/chat.postMessage#errors
        ({"channel": "C0NONE", "text": "x"}, "channel_not_found"),
        ({"channel": "C0SECRET", "text": "x"}, "channel_not_found"),
        ({"channel": "C0OLD", "text": "x"}, "is_archived"),
        ({"channel": "C0PUBLIC", "text": "x"}, "not_in_channel"),
        ({"channel": "U0ADA", "text": "x"}, "messages_tab_disabled"),
        # What: https://docs.slack.dev/reference/block-kit/blocks
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": "no JSON"}, "invalid_blocks_format"),
        ({"blocks": [SECTION] * 51}, "invalid_blocks"),
        ({"blocks": [{"type": "nonsense"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section"}]}, "invalid_blocks"),
        ({"blocks": [{**SECTION, "colour": "red"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": plain("x" * 151)}]}, "invalid_blocks"),
        ({"blocks": [{"type": "actions", "elements": [button("x" * 76)]}]}, "invalid_blocks"),
        ({"blocks": [{"type": "actions", "elements": [button(), button()]}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3000}}] * 5}, "msg_blocks_too_long"),
    ],
)
async def test_a_message_that_slack_refuses(
    slack: SandboxSlack, client: AsyncWebClient, message: JsonObject, error: str
) -> None:
    """By where it goes, or by what it holds."""
    slack.add_channel("C0SECRET", "secret", private=True, bot_is_member=False)
    slack.add_channel("C0OLD", "old", archived=True)
    slack.add_channel("C0PUBLIC", "public", bot_is_member=False)
    slack.messages_tab = False
    slack.scopes.remove("chat:write.public")

    with pytest.raises(SlackApiError, match=error):
        await client.api_call("chat.postMessage", json={"channel": "C0MODELS", **message})


async def test_a_call_that_slack_does_not_take(slack: SandboxSlack, client: AsyncWebClient) -> None:
    """An empty POST that isn't a form, as aiohttp sends it; for want of a scope; of what there isn't.

    Only a message of the Web API, which is known by its channel and ts, can be edited.
    """
    async with aiohttp.request("POST", f"{slack.api_url}apps.connections.open") as response:
        assert (await response.json())["error"] == "invalid_post_type"
    through_a_url = slack.say("C0MODELS", {"text": "x"}, "response_url")
    for ts, error in ((through_a_url.ts, "cant_update_message"), ("1.0", "message_not_found")):
        with pytest.raises(SlackApiError, match=error):
            await client.chat_update(channel="C0MODELS", ts=ts, text="y")
    with pytest.raises(SlackApiError, match="user_not_found"):
        await client.conversations_open(users="C0MODELS")
    slack.scopes.remove("im:write")
    with pytest.raises(SlackApiError, match="missing_scope"):
        await client.conversations_open(users="U0ADA")
    with pytest.raises(SlackApiError, match="unknown_method"):
        await client.api_call("chat.shout")


async def test_a_trigger_opens_one_modal_within_three_seconds(
    slack: SandboxSlack, client: AsyncWebClient, clock: Clock
) -> None:
    """https://docs.slack.dev/reference/methods/views.open#errors. It can be changed while it is open."""
    pictured = {**SECTION, "accessory": {"type": "image", "image_url": "https://example.com", "alt_text": "y"}}
    used, late = slack.new_trigger("U0ADA", "C0MODELS"), slack.new_trigger("U0ADA", "C0MODELS")
    opened = await client.views_open(trigger_id=used, view={**MODAL, "blocks": [SECTION, pictured]})
    modal = await slack.wait_modal("U0ADA")

    assert opened["view"]["id"] == modal.id
    assert (modal.title, modal.texts, modal.channel) == ("Hello", ["x", "x"], "C0MODELS")
    with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
        await client.views_open(trigger_id=used, view=MODAL)
    clock.now += 3.5
    for spent in (late, "never.made"):
        with pytest.raises(SlackApiError, match="expired_trigger_id"):
            await client.views_open(trigger_id=spent, view=MODAL)
    await client.views_update(view_id=modal.id, view={**MODAL, "title": plain("Done")})
    assert modal.title == "Done"
    modal.open = False
    with pytest.raises(SlackApiError, match="not_found"):
        await client.views_update(view_id=modal.id, view=MODAL)


@pytest.mark.parametrize(
    "view",
    [
        {**MODAL, "type": "home"},
        {**MODAL, "title": plain("x" * 25)},
        {**MODAL, "blocks": []},
        {**MODAL, "blocks": [{**SECTION, "block_id": "b"}] * 2},
        {**MODAL, "blocks": [INPUT]},
        {"type": "modal", "blocks": [SECTION]},
        {"type": "modal", "title": plain("x")},
        "no JSON",
    ],
)
async def test_a_view_that_slack_would_not_show(slack: SandboxSlack, client: AsyncWebClient, view: JsonObject) -> None:
    """https://docs.slack.dev/reference/views/modal-views."""
    with pytest.raises(SlackApiError, match="invalid_arguments"):
        await client.api_call("views.open", json={"trigger_id": slack.new_trigger("U0ADA", ""), "view": view})


async def respond(url: str, **content: object) -> tuple[int, str]:
    """Post to a response_url; return the status and the error, "" without one."""
    async with aiohttp.request("POST", url, json=content) as response:
        return response.status, (await response.json()).get("error", "")


async def test_a_response_url_works_five_times_in_half_an_hour(slack: SandboxSlack, clock: Clock) -> None:
    """What it says is by default for one person, the bot need not be in the channel, a refused use does not count."""
    url, other, spent = (slack.new_response_url("C0ELSEWHERE", "U0ADA") for _ in range(3))
    slack.spend(spent)
    assert await respond(url) == (400, "no_text")
    await respond(url, text="everybody", response_type="in_channel")
    used = [await respond(url, text="psst") for _ in range(5)]
    clock.now += 1790
    last = await respond(other, text="x")
    clock.now += 20

    assert (used, last) == ([(200, "")] * 4 + [(404, "used_url")], (200, ""))
    assert [(m.channel, m.via, m.user) for m in slack.messages[:2]] == [
        ("C0ELSEWHERE", "response_url", None),
        ("C0ELSEWHERE", "response_url", "U0ADA"),
    ]
    assert await respond(other, text="x") == await respond(spent, text="x") == (404, "expired_url")
    assert await respond(f"http://{slack.host}/commands/T0SANDBOX/guessed") == (404, "invalid_url")
