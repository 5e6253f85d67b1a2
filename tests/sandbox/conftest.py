"""Servers that run, clients that talk to them as the bot does, and an app that Slack reaches in either mode."""

from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.modelslab import SandboxModelsLab
from bot.sandbox.slack import SandboxSlack
from tests.sandbox.app import App


@pytest.fixture
def now() -> list[float]:
    """The time, in the one place where a test moves it."""
    return [1_700_000_000.0]


@pytest.fixture
def clock(now: list[float]) -> Callable[[], float]:
    """A clock that stands still unless it is moved."""
    return lambda: now[0]


@pytest.fixture
async def slack(clock: Callable[[], float]) -> AsyncIterator[SandboxSlack]:
    """A Slack with two channels and a person, which waits half a second for an ack."""
    async with SandboxSlack(clock=clock, ack_seconds=0.5) as slack:
        slack.add_channel("C0MODELS", "models")
        slack.add_channel("C0OPS", "ops")
        slack.add_user("U0ADA", "ada")
        yield slack


@pytest.fixture
async def modelslab(clock: Callable[[], float]) -> AsyncIterator[SandboxModelsLab]:
    """A ModelsLab that accepts everything."""
    async with SandboxModelsLab(clock=clock) as modelslab:
        yield modelslab


@pytest.fixture
def web(slack: SandboxSlack) -> AsyncWebClient:
    """The client with which the bot calls the Web API, without its own retries."""
    return AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, retry_handlers=[], timeout=5)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Any HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(params=["socket", "http"])
async def app(request: pytest.FixtureRequest, slack: SandboxSlack, web: AsyncWebClient) -> AsyncIterator[App]:
    """An app that Slack reaches over Socket Mode, and another that it reaches over HTTP."""
    slack.ack_seconds = 3.0
    app = App(slack, web)
    await app.listen(request.param)
    yield app
    await app.close()
