"""A Slack whose clock a test can move, and clients for it that Slack made: its SDK, and an app made with Bolt."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.server import Server
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.wire import JsonObject


class Clock:
    """The time in Unix seconds, with as many seconds more as a test lets pass."""

    passed = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return time.time() + self.passed


class App:
    """A Bolt app that keeps every payload it is sent, and over HTTP the headers. Bolt checks the signatures."""

    def __init__(self, slack: SandboxSlack, client: AsyncWebClient) -> None:
        self.bolt = AsyncApp(client=client, signing_secret=slack.signing_secret, process_before_response=True)
        self.bolt.middleware(self._keep)
        self.payloads: list[JsonObject] = []
        self.headers: list[Mapping[str, str]] = []
        self.http = Server([web.post("/slack/events", self._serve)])

    async def _keep(self, body: JsonObject, next_: Callable[[], Awaitable[None]]) -> None:
        self.payloads.append(body)
        await next_()

    async def _serve(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers)
        return await to_aiohttp_response(await self.bolt.async_dispatch(await to_bolt_request(request)))


@pytest.fixture
def clock() -> Clock:
    """The clock of the Slack."""
    return Clock()


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[SandboxSlack]:
    """A Slack with two channels and a person."""
    async with SandboxSlack(clock=clock) as slack:
        slack.add_channel("C0MODELS", "models")
        slack.add_channel("C0OPS", "ops")
        slack.users["U0ADA"] = "ada"
        yield slack


@pytest.fixture
def client(slack: SandboxSlack) -> AsyncWebClient:
    """The SDK's client of the Web API, without its own retries."""
    return AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, retry_handlers=[], timeout=30)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Any HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(params=["socket", "http"])
async def app(request: pytest.FixtureRequest, slack: SandboxSlack, client: AsyncWebClient) -> AsyncIterator[App]:
    """An app that Slack reaches over Socket Mode, and another that it reaches over HTTP."""
    app = App(slack, client)
    handler = AsyncSocketModeHandler(app.bolt, slack.app_token)
    if request.param == "http":
        await app.http.start()
        slack.request_url = f"http://{app.http.host}/slack/events"
    else:
        await handler.connect_async()  # type: ignore[no-untyped-call]
        await slack.wait_until(lambda: slack.connections == 1)
    yield app
    await app.http.stop()
    await handler.close_async()  # type: ignore[no-untyped-call]
