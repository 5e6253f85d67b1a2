"""Slack reaches the app by signed HTTP or over Socket Mode, waits three seconds, and sends events again."""

import asyncio

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from slack_bolt.async_app import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.server import break_connection
from bot.sandbox.slack import SandboxSlack
from tests.sandbox.conftest import App


async def echo(ack: AsyncAck, command: dict[str, str]) -> None:
    """Acknowledge with the text of the command."""
    await ack(command["text"])


async def test_an_app_has_three_seconds(slack: SandboxSlack, app: App) -> None:
    """Then the person reads an error: https://docs.slack.dev/interactivity/implementing-slash-commands#responding."""

    async def never() -> None:
        """Leave the person without an ack."""

    assert slack.ack_seconds == 3.0
    app.bolt.command("/reload-model")(never)
    slack.ack_seconds = 0.2
    ack = await slack.command("sdxl")

    assert ack.error == ("operation_timeout" if slack.request_url is None else "dispatch_failed")
    assert slack.messages == []


async def test_an_event_comes_again(slack: SandboxSlack, app: App) -> None:
    """The same event, and why: https://docs.slack.dev/apis/events-api#retries."""
    times = []

    async def late() -> None:
        times.append(1)
        if len(times) == 1:
            await asyncio.Event().wait()

    app.bolt.event("app_home_opened")(late)
    slack.ack_seconds = 1.0
    ack = await slack.open_home("U0ADA")
    first, second = app.payloads

    assert ack.error == ""
    assert first["event_id"] == second["event_id"]
    if app.headers:
        assert [headers.get("X-Slack-Retry-Num") for headers in app.headers] == [None, "1"]
        assert app.headers[1]["X-Slack-Retry-Reason"] == "timeout"


async def test_an_answer_that_is_no_200_is_an_error(slack: SandboxSlack, app: App) -> None:
    """As that to a wrong signature, or of a server that isn't there; each command can go to another replica."""
    app.bolt.command("/reload-model")(echo)
    right, slack.signing_secret = slack.signing_secret, "wrong"
    refused = await slack.command("sdxl")
    slack.signing_secret = right
    await app.http.stop()
    lost = await slack.command("sdxl", request_url=f"http://{app.http.host}/")

    assert (refused.status, refused.error) == ((401, "dispatch_failed") if slack.request_url else (200, ""))
    assert (lost.status, lost.error) == (0, "dispatch_failed")


async def test_a_silent_connection_carries_nothing(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """It stays open, and does not answer a ping."""
    opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app_token)
    async with http.ws_connect(opened["url"], autoping=False) as link:
        assert (await link.receive_json())["connection_info"] == {"app_id": "A0SANDBOX"}
        slack.socket_mode.silence()
        slack.ack_seconds = 0.05
        await link.ping()
        assert ((await slack.command("sdxl")).error, slack.connections) == ("operation_timeout", 1)
        with pytest.raises(TimeoutError):
            await link.receive(timeout=0.05)


async def test_the_address_stays(slack: SandboxSlack) -> None:
    """A Slack that was away comes back where it was, on loopback; stopping it twice does no harm."""
    before = slack.api_url
    await slack.stop()
    await slack.stop()
    await slack.start()

    assert slack.api_url == before
    assert slack.host.startswith("127.0.0.1:")
    of_a_client_that_left = make_mocked_request("GET", "/")
    of_a_client_that_left.protocol.transport = None
    break_connection(of_a_client_that_left)
