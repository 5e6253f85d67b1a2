"""Socket Mode: keeps a connection to Slack, and answers what comes over it.

Nothing is signed, because the connection is authenticated. The SDK's own client isn't used: it replaces a lost
connection without a pause, and without telling its caller.
https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import json
from collections.abc import Collection, Mapping
from time import monotonic

import aiohttp
import structlog
from aiohttp import ClientWebSocketResponse, WSMsgType

from bot import metrics
from bot.background import BackgroundTasks
from bot.core import timing
from bot.core.retry import Backoff
from bot.core.text import harmless, json_fields
from bot.errors import CannotStart, Malformed, SlackError, SlackRetryableError
from bot.settings import Settings
from bot.settings.urls import host_of
from bot.slack.client import TOKEN_FAULTS, SlackClient
from bot.slack.http import Dispatch

_ENVELOPES = ("slash_commands", "interactive", "events_api")

APP_TOKEN_FAULTS = TOKEN_FAULTS | {"not_allowed_token_type", "missing_scope", "forbidden_team"}
"""What Slack answers if the app's token is wrong: https://docs.slack.dev/reference/methods/apps.connections.open"""

_ROUTINE = ("warning", "refresh_requested")
"""Slack replaces each connection every few hours, and says so a few seconds before."""

log = structlog.get_logger(__name__)


class SocketMode:
    """Keeps one connection, and makes another one when it breaks or Slack is about to close it."""

    def __init__(self, slack: SlackClient, settings: Settings, dispatch: Dispatch) -> None:
        self._slack = slack
        self._settings = settings
        self._dispatch = dispatch
        refusing = aiohttp.TraceConfig()
        refusing.on_request_redirect.append(_refuse_redirect)
        self._session = aiohttp.ClientSession(trace_configs=[refusing])
        self._socket: ClientWebSocketResponse | None = None
        self._connected_at = 0.0
        self._lost = asyncio.Event()
        self._pauses = Backoff(timing.SLACK_RETRY, timing.SLACK_RETRY_MOST)
        self._connections = BackgroundTasks()
        self._answers = BackgroundTasks()

    @property
    def connected(self) -> bool:
        """Whether there is a connection that Slack isn't about to close."""
        return self._socket is not None

    async def connect(self) -> None:
        """Connect, waiting for as long as Slack is unavailable. Raises CannotStart if Slack rejects the app's token."""
        try:
            await self._connect_patiently(final=APP_TOKEN_FAULTS)
        except SlackError as refused:
            fix = "create one with the scope connections:write (Basic Information)"
            raise CannotStart("SLACK_APP_TOKEN", f"Slack rejects it ({refused.code})", fix) from refused
        self._connections.start(self._keep_connected())

    async def stop(self) -> None:
        """Finish the answers in progress and close the connection, so that Slack sends new requests elsewhere."""
        await self._connections.stop()
        await self._answers.stop(timing.HTTP_STOP)
        if self._socket is not None:
            await self._socket.close()
        await self._session.close()

    async def _keep_connected(self) -> None:
        """Replace a lost connection, at once if it lasted for a while, so that nothing is missed."""
        while True:
            await self._lost.wait()
            if monotonic() - self._connected_at >= timing.SLACK_RETRY_MOST:
                self._pauses.reset()
            else:
                await asyncio.sleep(self._pauses.pause())
            await self._connect_patiently()

    async def _connect_patiently(self, final: Collection[str] = ()) -> None:
        """Connect, with growing pauses between the tries. Raises SlackError only for the codes in final."""
        while not self.connected:
            try:
                await self._connect()
            except Exception as error:
                failed = error if isinstance(error, SlackError) else SlackRetryableError(type(error).__name__)
                if failed.code in final:
                    raise
                wait = self._pauses.pause(failed.wait)
                log.warning(
                    "slack_unavailable",
                    part="socket_mode",
                    reason=failed.code,
                    host=failed.host,
                    retry_in=round(wait, 1),
                )
                await asyncio.sleep(wait)

    async def _connect(self) -> None:
        """Make a connection, and use it from now on. Raises SlackError."""
        answer, _ = await self._slack.ask("apps.connections.open", self._settings.slack_app_token)
        address = str(answer.get("url", ""))
        try:
            async with asyncio.timeout(timing.SOCKET_HANDSHAKE):
                socket = await self._session.ws_connect(
                    address,
                    proxy=self._settings.proxy_for(address),
                    heartbeat=timing.SOCKET_PING,
                    timeout=aiohttp.ClientWSTimeout(ws_close=timing.HTTP_STOP),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise SlackRetryableError(type(error).__name__, host=host_of(address)) from None
        if refusal := await self._refusal(socket):
            await socket.close()
            raise SlackRetryableError(refusal)
        self._socket, self._connected_at = socket, monotonic()
        self._lost.clear()
        self._connections.start(self._listen(socket))
        log.info("socket_mode_connected")

    async def _refusal(self, socket: ClientWebSocketResponse) -> str:
        """Why Slack doesn't accept a new connection, such as "too_many_websockets"; "" if it says hello."""
        try:
            message = await socket.receive(timing.SOCKET_HANDSHAKE)
        except TimeoutError:
            return "no_hello"
        greeting = json_fields(message.data) if message.type is WSMsgType.TEXT else {}
        return "" if greeting.get("type") == "hello" else _reason(greeting, "no_hello")

    async def _listen(self, socket: ClientWebSocketResponse) -> None:
        """Answer what comes over a connection until its end: Slack also uses one that it is about to close."""
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            envelope = json_fields(message.data)
            if envelope.get("type") == "disconnect":
                self._lose(socket, _reason(envelope, "disconnect"))
                self._connections.start(self._close_soon(socket))
            else:
                self._answers.start(self._answer(socket, envelope))
        self._lose(socket, f"closed_{socket.close_code}")

    def _lose(self, socket: ClientWebSocketResponse, reason: str) -> None:
        """Mark a connection as lost, so that another one is made, unless there already is another."""
        if self._socket is socket:
            self._socket = None
            self._lost.set()
            (log.info if reason in _ROUTINE else log.warning)("socket_mode_disconnected", reason=reason)

    async def _close_soon(self, socket: ClientWebSocketResponse) -> None:
        await asyncio.sleep(timing.SOCKET_HANDSHAKE)
        await socket.close()

    async def _answer(self, socket: ClientWebSocketResponse, envelope: Mapping[str, object]) -> None:
        """Answer one envelope. A malformed one is acknowledged, so that Slack doesn't send it again."""
        ack = {"envelope_id": envelope.get("envelope_id")}
        try:
            response = await self._dispatch(_payload(envelope))
            if response.body:
                ack["payload"] = json.loads(response.body)
        except Malformed as malformed:
            log.warning("envelope_dropped", reason=str(malformed), shape=_shape(envelope))
            metrics.request_refused("dropped")
        if not isinstance(ack["envelope_id"], str):
            return
        try:
            await ((self._socket or socket) if socket.closed else socket).send_json(ack)
        except (ConnectionError, aiohttp.ClientError) as error:
            log.warning("ack_lost", reason=type(error).__name__)


async def _refuse_redirect(*_: object) -> None:
    """Slack doesn't redirect: what does is something between the bot and Slack."""
    raise SlackRetryableError("redirected")


def _payload(envelope: Mapping[str, object]) -> Mapping[str, object]:
    """The payload of an envelope. Raises Malformed."""
    if not isinstance(envelope.get("envelope_id"), str):
        raise Malformed("no envelope_id")
    if envelope.get("type") not in _ENVELOPES:
        raise Malformed("an envelope of a type that this app doesn't use")
    payload = envelope.get("payload")
    if not isinstance(payload, Mapping):
        raise Malformed("a payload that isn't an object")
    return payload


def _reason(message: Mapping[str, object], otherwise: str) -> str:
    return harmless(str(message.get("reason") or otherwise), 40)


def _shape(envelope: Mapping[str, object]) -> dict[str, str]:
    """The type of each field, without its content."""
    return {harmless(str(name), 40): type(value).__name__ for name, value in list(envelope.items())[:20]}
