"""An app made with Bolt, which Slack can reach in either of its two modes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.loopback import Loopback
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.wire import JsonObject


class Handler(Protocol):
    """Bolt's Socket Mode handler, whose methods are untyped."""

    async def connect_async(self) -> None:
        """Connect."""
        ...

    async def close_async(self) -> None:
        """Disconnect."""
        ...


class App:
    """A Bolt app that Slack reaches in one of its two modes, and that keeps every payload it is sent."""

    def __init__(self, slack: SandboxSlack, client: AsyncWebClient) -> None:
        # Slack's clock stands still in these tests, so that its signatures look old.
        self.bolt = AsyncApp(client=client, process_before_response=True, request_verification_enabled=False)
        self.bolt.middleware(self._keep)
        self.payloads: list[JsonObject] = []
        self.requests: list[tuple[bytes, Mapping[str, str]]] = []
        self._slack = slack
        self._http = Loopback([web.post("/slack/events", self._serve)])
        self._socket: Handler = AsyncSocketModeHandler(self.bolt, slack.app_token)

    @property
    def payload(self) -> JsonObject:
        """The payload that came last."""
        return self.payloads[-1]

    async def listen(self, mode: str) -> None:
        """Be reached over HTTP, or over Socket Mode."""
        if mode == "http":
            await self._http.start()
            self._slack.request_url = f"http://{self._http.host}/slack/events"
        else:
            await self._socket.connect_async()
            await self._slack.wait_connected()

    async def close(self) -> None:
        """Be reached no more."""
        await self._http.stop()
        await self._socket.close_async()

    async def _keep(self, body: JsonObject, next_: Callable[[], Awaitable[None]]) -> None:
        self.payloads.append(body)
        await next_()

    async def _serve(self, request: web.Request) -> web.Response:
        self.requests.append((await request.read(), request.headers))
        return await to_aiohttp_response(await self.bolt.async_dispatch(await to_bolt_request(request)))
