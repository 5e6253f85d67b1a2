"""Slack waits three seconds for the app, and sends events again."""

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.answers import Json
from bot.sandbox.server import break_connection
from bot.sandbox.slack.service import SandboxSlack
from tests.sandbox.conftest import App


async def test_an_event_that_the_app_does_not_take_comes_again(slack: SandboxSlack, app: App) -> None:
    """The same event, and why: https://docs.slack.dev/apis/events-api#retries."""
    app.answers = [Json(500, {})]
    ack = await slack.open_home("U0ADA")
    first, second = app.payloads

    assert ack.error == ""
    assert first["event_id"] == second["event_id"]
    assert [headers.get("X-Slack-Retry-Reason") for headers in app.headers] == [None, "http_error"]


async def test_a_silent_connection_carries_nothing(slack: SandboxSlack) -> None:
    """It stays open, does not answer a ping, and after three seconds people read an error.

    https://docs.slack.dev/interactivity/implementing-slash-commands#responding
    """
    opened = await AsyncWebClient(base_url=slack.api_url).apps_connections_open(app_token=slack.app_token)
    async with aiohttp.ClientSession() as http, http.ws_connect(opened["url"], autoping=False) as link:
        assert (await link.receive_json())["connection_info"] == {"app_id": "A0SANDBOX"}
        await link.ping()
        assert (await link.receive()).type is aiohttp.WSMsgType.PONG
        slack.socket_mode.silence()
        assert slack.ack_seconds == 3.0
        slack.ack_seconds = 0.05
        await link.ping()
        assert ((await slack.command("sdxl")).error, slack.connections) == ("operation_timeout", 1)
        with pytest.raises(TimeoutError):
            await link.receive(timeout=0.05)


async def test_the_address_stays(slack: SandboxSlack) -> None:
    """A Slack that was away comes back where it was, on loopback."""
    before = slack.api_url
    await slack.stop()
    await slack.start()

    assert slack.api_url == before
    assert slack.host.startswith("127.0.0.1:")
    of_a_client_that_left = make_mocked_request("GET", "/")
    of_a_client_that_left.protocol.transport = None
    break_connection(of_a_client_that_left)
