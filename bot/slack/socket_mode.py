"""Socket Mode: keeps a connection to Slack, and answers what comes over it. Slack authenticates it: nothing is signed.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import aiohttp
import structlog
from slack_bolt.response import BoltResponse
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.text import harmless
from bot.core.timing import Timing
from bot.errors import CannotStart, Malformed, SlackError
from bot.slack.client import TOKEN_FAULTS, ProxyFor, quiet, translated

Dispatch = Callable[[Mapping[str, object]], Awaitable[BoltResponse]]
"""Answers a payload. Raises Malformed."""

_ENVELOPES = ("slash_commands", "interactive", "events_api")

log = structlog.get_logger(__name__)


class _Client(SocketModeClient):
    """The SDK's client, with the proxy for the host of each new address: aiohttp would look for a wss_proxy."""

    proxy_for: ProxyFor

    async def issue_new_wss_url(self) -> str:
        address = await super().issue_new_wss_url()
        self.use(address)
        return address

    def use(self, address: str) -> None:
        """Connect to this address from now on."""
        self.wss_uri = address
        self.proxy = self.proxy_for(address)


class SocketMode:
    """One connection, made again whenever it breaks."""

    def __init__(
        self,
        slack: AsyncWebClient,
        app_token: str,
        dispatch: Dispatch,
        proxy_for: ProxyFor = lambda _url: None,
        timing: Timing = Timing(),
    ) -> None:
        self._dispatch = dispatch
        self._timing = timing
        self._client = _Client(
            app_token=app_token,
            web_client=slack,
            logger=quiet("slack_sdk.socket_mode", logging.CRITICAL),
            ping_interval=timing.socket_ping,
        )
        self._client.proxy_for = proxy_for
        self._client.message_listeners.append(self._receive)
        self._watcher: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect, however long Slack takes. Raises CannotStart where it refuses the app's token."""
        await self._use_patient_session()
        while True:
            host = urlsplit(self._client.web_client.base_url).netloc
            try:
                address = await self._address()
                host = urlsplit(address).netloc
                self._client.use(address)
                await asyncio.wait_for(self._client.connect(), self._timing.socket_handshake)  # type: ignore[no-untyped-call]
                break
            except (SlackError, TimeoutError) as failed:
                wait = self._timing.start_retry
                log.warning("slack_away", part="socket_mode", reason=str(failed) or "timeout", host=host, again_in=wait)
            await asyncio.sleep(wait)
        self._watcher = asyncio.create_task(self._watch())
        log.info("socket_mode_connected")

    async def connected(self) -> bool:
        """Whether the connection is there, and answers pings."""
        return await self._client.is_connected()

    async def stop(self) -> None:
        """Close the connection: Slack sends what comes now elsewhere."""
        if self._watcher is not None:
            self._watcher.cancel()
        try:
            await self._client.close()  # type: ignore[no-untyped-call]
        finally:  # the SDK comes to its session only when nothing before it fails
            await self._client.aiohttp_client_session.close()

    async def _use_patient_session(self) -> None:
        """The SDK's own session would wait five minutes for a handshake."""
        await self._client.aiohttp_client_session.close()
        seconds = self._timing.socket_handshake
        timeout = aiohttp.ClientTimeout(sock_connect=seconds, sock_read=seconds)
        self._client.aiohttp_client_session = aiohttp.ClientSession(timeout=timeout)

    async def _address(self) -> str:
        """A fresh address to connect to. Raises CannotStart for a token that Slack refuses, else SlackError."""
        try:
            answer = await translated(self._client.web_client.apps_connections_open(app_token=self._client.app_token))
        except SlackError as failed:
            if failed.code in TOKEN_FAULTS | {"not_allowed_token_type"}:
                raise CannotStart(
                    f"SLACK_APP_TOKEN: Slack rejects it ({failed.code}): make one with the scope connections:write"
                ) from failed
            raise
        return str(answer.get("url", ""))

    async def _watch(self) -> None:
        """Say when the connection goes and comes, and give the SDK a fresh address for one that may be stale."""
        away = 0.0
        while True:
            await asyncio.sleep(self._timing.socket_watch)
            if await self._client.is_connected():
                if away >= self._timing.socket_away:
                    log.info("socket_mode_connected", after=away)
                away = 0.0
                continue
            away += self._timing.socket_watch
            if away == self._timing.socket_away:
                log.warning("socket_mode_away")
            if away % self._timing.socket_fresh == 0:
                self._client.wss_uri = None
                if not self._client.connect_operation_lock.locked():
                    await self._reconnect()

    async def _reconnect(self) -> None:
        """Connect anew. Whatever stands in the way, the watch goes on and tries again."""
        try:
            await asyncio.wait_for(self._client.connect_to_new_endpoint(force=True), self._timing.socket_handshake)
        except Exception as error:  # noqa: BLE001 - the SDK promises no kind of error
            log.warning("socket_mode_not_reconnected", error=type(error).__name__)

    async def _receive(self, _: AsyncBaseSocketModeClient, message: dict[str, object], _raw: str | None = None) -> None:
        """Answer one envelope. One that makes no sense is acknowledged, so that Slack does not send it again."""
        envelope_id = message.get("envelope_id")
        if not isinstance(envelope_id, str):
            if message.get("type") not in ("hello", "disconnect"):
                log.warning("envelope_dropped", why="no envelope_id", shape=_shape(message))
            return
        answer: dict[str, object] | None = None
        try:
            answer = _ack(await self._dispatch(_payload(message)))
        except Malformed as malformed:
            log.warning("envelope_dropped", why=str(malformed), shape=_shape(message))
        try:
            await self._client.send_socket_mode_response(SocketModeResponse(envelope_id, answer))
        except (ConnectionError, aiohttp.ClientError, AttributeError) as error:
            log.warning("ack_lost", error=type(error).__name__)


def _payload(message: Mapping[str, object]) -> Mapping[str, object]:
    """What an envelope carries. Raises Malformed."""
    if message.get("type") not in _ENVELOPES:
        raise Malformed("an envelope of a type that this app doesn't use")
    payload = message.get("payload")
    if not isinstance(payload, Mapping):
        raise Malformed("a payload that isn't an object")
    return payload


def _ack(response: BoltResponse) -> dict[str, object] | None:
    """The payload of the ack: a response without one is text, which is empty."""
    answer: dict[str, object] | None = json.loads(response.body) if response.body else None
    return answer


def _shape(message: Mapping[str, object]) -> dict[str, str]:
    """The type of each field, and nothing of what is in it."""
    return {harmless(str(name), 40): type(value).__name__ for name, value in list(message.items())[:20]}
