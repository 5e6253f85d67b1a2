"""Socket Mode carries invocations to Bolt, and to whatever else connects."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import SandboxSlack
from bot.sandbox.socket_mode import NotConnected


async def echo(ack: AsyncAck, command: dict[str, str]) -> None:
    """Ack with the text of the command."""
    await ack(f"you said {command['text']}")


async def in_channel(ack: AsyncAck, command: dict[str, str]) -> None:
    """Ack for everyone to see."""
    await ack(text=f"{command['user_name']} did", response_type="in_channel")


async def nothing(ack: AsyncAck) -> None:
    """Ack without a word."""
    await ack()


async def never() -> None:
    """Leave the person without an ack."""


async def too_much(ack: AsyncAck) -> None:
    """Ack with more than Slack takes."""
    await ack(text="x" * 40_001)


class Handler(Protocol):
    """Bolt's Socket Mode handler, whose methods are untyped."""

    async def connect_async(self) -> None:
        """Connect."""
        ...

    async def close_async(self) -> None:
        """Disconnect."""
        ...


class Bolt:
    """A Bolt app on Socket Mode."""

    def __init__(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        self._slack = slack
        self._app = AsyncApp(client=web)
        self._handler: Handler = AsyncSocketModeHandler(self._app, slack.app_token, ping_interval=0.2)

    async def connect(self, listener: Callable[..., Awaitable[None]] = echo) -> None:
        """Connect, with a listener to the command and one to buttons."""
        self._app.command("/reload-model")(listener)
        self._app.action("again")(nothing)
        await self._handler.connect_async()
        await self._slack.wait_connected()

    async def close(self) -> None:
        """Disconnect."""
        await self._handler.close_async()


@pytest.fixture
async def bolt(slack: SandboxSlack, web: AsyncWebClient) -> AsyncIterator[Bolt]:
    """A Bolt app that is not connected yet."""
    bolt = Bolt(slack, web)
    yield bolt
    await bolt.close()


async def open_link(slack: SandboxSlack, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    """Connect with a bare WebSocket, and take its hello."""
    headers = {"Authorization": f"Bearer {slack.app_token}"}
    async with http.post(f"{slack.api_url}apps.connections.open", headers=headers) as response:
        url = (await response.json())["url"]
    link = await http.ws_connect(url, autoping=False)
    hello = await link.receive_json()
    assert hello["type"] == "hello"
    return link


async def test_a_command_gets_its_ack(slack: SandboxSlack, bolt: Bolt) -> None:
    """The ack is what the person sees, and nobody else does."""
    await bolt.connect()
    ack = await slack.command("sdxl")

    assert (ack.status, ack.text, ack.response_type, ack.error) == (200, "you said sdxl", "ephemeral", "")
    assert ack.raw == b'{"text": "you said sdxl"}'
    assert 0 < ack.seconds < 0.5
    assert [(m.text, m.via, m.user) for m in slack.messages] == [("you said sdxl", "ack", "U0ADA")]


async def test_an_ack_may_be_for_the_channel(slack: SandboxSlack, bolt: Bolt) -> None:
    """An ack in_channel is everyone's to see."""
    await bolt.connect(in_channel)
    await slack.command("sdxl")

    assert [(m.text, m.user) for m in slack.messages] == [("ada did", None)]


async def test_an_empty_ack_shows_nothing(slack: SandboxSlack, bolt: Bolt) -> None:
    """An ack without text or blocks leaves no message."""
    await bolt.connect(nothing)
    ack = await slack.command("sdxl")

    assert (ack.status, ack.text, ack.blocks, ack.error) == (200, "", [], "")
    assert slack.messages == []


async def test_an_ack_that_slack_cannot_show_is_an_error(slack: SandboxSlack, bolt: Bolt) -> None:
    """The limits on messages hold for acks."""
    await bolt.connect(too_much)

    assert (await slack.command("sdxl")).text == "msg_too_long"


async def test_without_an_ack_the_person_sees_a_timeout(slack: SandboxSlack, bolt: Bolt) -> None:
    """After the time for an ack, Slack gives up on the command."""
    await bolt.connect(never)
    slack.ack_seconds = 0.05
    ack = await slack.command("sdxl")

    assert (ack.text, ack.timed_out, ack.status) == ("operation_timeout", True, 0)


async def test_without_a_connection_the_command_fails(slack: SandboxSlack) -> None:
    """Nobody is there to take it."""
    ack = await slack.command("sdxl")

    assert (ack.text, ack.timed_out) == ("dispatch_failed", False)
    with pytest.raises(NotConnected):
        await slack.send_envelope({"envelope_id": "1"})


async def test_an_interaction_goes_the_same_way(slack: SandboxSlack, bolt: Bolt) -> None:
    """A button's payload is delivered as it is."""
    await bolt.connect()
    action = {"type": "button", "action_id": "again", "block_id": "b", "value": "sdxl"}
    ack = await slack.interaction(
        {
            "type": "block_actions",
            "user": {"id": "U0ADA", "team_id": "T0TRYOUT"},
            "team": {"id": "T0TRYOUT"},
            "trigger_id": "1.abc",
            "actions": [{**action}],
        }
    )

    assert (ack.status, ack.error, ack.trigger_id) == (200, "", "1.abc")


async def test_a_refresh_moves_the_app_to_a_new_connection(slack: SandboxSlack, bolt: Bolt) -> None:
    """The app connects anew when it is asked to, and the old connection ends."""
    await bolt.connect()
    await slack.refresh()
    await slack.wait_until(lambda: slack.connections == 1)

    assert (await slack.command("sdxl")).text == "you said sdxl"


async def test_a_refresh_ends_what_does_not_move(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """An app that does not connect anew loses its connection after the time of grace."""
    link = await open_link(slack, http)
    refreshing = asyncio.create_task(slack.refresh(reason="warning", grace=0))
    warning = await link.receive_json()
    closed = await link.receive()
    await refreshing

    assert warning == {"type": "disconnect", "reason": "warning"}
    assert closed.type is aiohttp.WSMsgType.CLOSE


async def test_a_cut_breaks_every_connection(slack: SandboxSlack, bolt: Bolt) -> None:
    """After a cut there is none, until the app connects anew."""
    await bolt.connect()
    await slack.cut()
    gone = slack.connections
    await slack.wait_connected()

    assert gone == 0
    assert (await slack.command("sdxl")).text == "you said sdxl"


async def test_silence_is_all_that_a_dead_connection_gives(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """A silent connection stays open, answers no ping and carries no command."""
    link = await open_link(slack, http)
    await link.ping(b"before")
    pong = await link.receive()
    slack.silence()
    await link.ping(b"after")
    ack = await slack.command("sdxl")

    assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"before")
    assert (ack.timed_out, slack.connections) == (True, 1)
    with pytest.raises(TimeoutError):
        await link.receive(timeout=0.01)
    await link.close()


async def test_each_envelope_goes_to_one_connection_in_turn(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """Two connections share the envelopes; Slack counts them in its hello."""
    links = [await open_link(slack, http) for _ in range(2)]
    await slack.wait_connected(2)
    await slack.send_envelope("first")
    await slack.send_envelope("second")

    assert [await link.receive_str() for link in links] == ["first", "second"]
    for link in links:
        await link.close()


async def test_the_first_ack_counts(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """Of two acks the first is returned; acks of nothing and what is no ack are passed over."""
    link = await open_link(slack, http)
    sending = asyncio.create_task(slack.send_envelope({"type": "hello?", "envelope_id": "1"}))
    await link.receive_json()
    await link.send_str("no JSON")
    await link.send_bytes(b"no text")
    await link.send_json({"envelope_id": "of nothing"})
    await link.send_json({"envelope_id": "1", "payload": {"text": "first"}})
    await link.send_json({"envelope_id": "1", "payload": {"text": "second"}})

    assert await sending == {"envelope_id": "1", "payload": {"text": "first"}}
    await link.close()


async def test_an_envelope_may_stay_without_ack(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """None tells that no ack came."""
    link = await open_link(slack, http)

    assert await slack.send_envelope({"type": "nonsense"}, within=0.01) is None
    await link.close()


async def test_a_ticket_opens_one_connection(slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
    """Nobody connects without a ticket of Slack's."""
    link_url = slack.api_url.replace("http", "ws").replace("/api/", "/link/")

    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        await http.ws_connect(f"{link_url}?ticket=guessed")
    assert raised.value.status == 403


async def test_waiting_for_a_connection_in_vain(slack: SandboxSlack) -> None:
    """The failure tells how many there were."""
    with pytest.raises(TimeoutError, match="0 connections were open"):
        await slack.wait_connected(within=0)
