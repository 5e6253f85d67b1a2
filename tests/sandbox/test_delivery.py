"""Slack reaches the app by signed HTTP or over Socket Mode, waits three seconds, and sends events again."""

import asyncio

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from slack_bolt.async_app import AsyncAck
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.server import break_connection
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.socket_mode import NotConnectedError
from tests.sandbox.conftest import App


async def linked(slack: SandboxSlack, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    """Connect with a bare WebSocket, and take its hello."""
    opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app_token)
    link = await http.ws_connect(opened["url"], autoping=False)
    assert (await link.receive_json())["connection_info"] == {"app_id": "A0SANDBOX"}
    return link


async def test_an_app_has_three_seconds(slack: SandboxSlack, app: App) -> None:
    """Then the person reads an error: https://docs.slack.dev/interactivity/implementing-slash-commands#responding."""

    async def never() -> None:
        """Leave the person without an ack."""

    assert slack.ack_seconds == 3.0
    app.bolt.command("/reload-model")(never)
    slack.ack_seconds = 0.1
    ack = await slack.command("sdxl")

    assert ack.error == ("operation_timeout" if slack.request_url is None else "dispatch_failed")
    assert slack.messages == []


async def test_an_event_comes_again(slack: SandboxSlack, app: App) -> None:
    """The same event, and why: https://docs.slack.dev/apis/events-api#retries."""
    events = []

    async def late(event: dict[str, str]) -> None:
        events.append(event)
        if len(events) == 1:
            await asyncio.sleep(60.0)  # longer than Slack waits for it
        slack.ack_seconds = 30.0

    app.bolt.event("app_home_opened")(late)
    slack.ack_seconds = 0.2
    ack = await slack.open_home("U0ADA")
    first, second = app.payloads

    assert (ack.error, first["event_id"]) == ("", second["event_id"])
    if app.headers:
        assert [headers.get("X-Slack-Retry-Num") for headers in app.headers] == [None, "1"]
        assert app.headers[1]["X-Slack-Retry-Reason"] == "timeout"


async def test_an_answer_that_is_no_200_is_an_error(slack: SandboxSlack, app: App) -> None:
    """As that to a wrong signature, or of a server that isn't there; each command can go to another replica."""

    async def echo(ack: AsyncAck, command: dict[str, str]) -> None:
        await ack(command["text"])

    app.bolt.command("/reload-model")(echo)
    right, slack.signing_secret = slack.signing_secret, "wrong"
    refused = await slack.command("sdxl")
    slack.signing_secret = right
    await app.http.stop()
    lost = await slack.command("sdxl", request_url=f"http://{app.http.host}/")

    assert (refused.status, refused.error) == ((401, "dispatch_failed") if slack.request_url else (200, ""))
    assert (lost.status, lost.error) == (0, "dispatch_failed")


async def test_each_envelope_goes_to_one_connection_in_turn(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """The first ack of it counts, what is none is passed over; silent or unconnected, it goes nowhere."""
    with pytest.raises(NotConnectedError):
        await slack.send_envelope("nobody")
    with pytest.raises(TimeoutError, match="there were 0"):
        await slack.wait_connected(within=0)
    async with await linked(slack, http) as first, await linked(slack, http) as second:
        await slack.wait_connected(2)
        await slack.send_envelope("first")
        await slack.send_envelope("second")
        assert [await first.receive_str(), await second.receive_str()] == ["first", "second"]
        sending = asyncio.create_task(slack.send_envelope({"envelope_id": "1"}, within=30.0))
        await first.receive_json()
        for text in ("no JSON", '{"envelope_id": "of nothing"}', *('{"envelope_id": "1"}' for _ in "12")):
            await first.send_str(text)
        await first.send_bytes(b"no text")
        assert await sending == {"envelope_id": "1"}
        slack.silence()
        assert await slack.send_envelope({"envelope_id": "2"}, within=0.01) is None
    assert (await slack.command("sdxl")).error == "dispatch_failed"


async def test_a_connection_takes_a_ticket(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """Which the Web API gives to the app token only."""
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await http.ws_connect(f"ws://{slack.host}/link/?ticket=guessed")
    with pytest.raises(SlackApiError, match="invalid_auth"):
        await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.bot_token)


async def test_the_address_stays(slack: SandboxSlack) -> None:
    """A Slack that was away comes back where it was; stopping it twice, or a client that left, does no harm."""
    before = slack.api_url
    await slack.stop()
    await slack.stop()
    await slack.start()
    of_a_client_that_left = make_mocked_request("GET", "/")
    of_a_client_that_left.protocol.transport = None
    break_connection(of_a_client_that_left)

    assert slack.api_url == before
