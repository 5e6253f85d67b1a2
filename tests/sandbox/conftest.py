"""A Slack whose clock a test can move, and an app that it reaches over HTTP: the scenarios show Socket Mode as well."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from bot.sandbox.answers import Json
from bot.sandbox.server import Server
from bot.sandbox.slack.service import SandboxSlack
from bot.sandbox.wire import JsonObject
from tests.storage.support import Clock


class App(Server):
    """Keeps what it is sent, once Slack's own SDK has found its signature right, and gives the next of its answers."""

    payloads: list[JsonObject]

    def __init__(self, secret: str) -> None:
        super().__init__([web.post("/slack/events", self._serve)])
        self.answers: list[Json] = []
        self.payloads = []
        self.headers: list[Mapping[str, str]] = []
        self._verifier = SignatureVerifier(secret)

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.text()
        if not self._verifier.is_valid_request(body, dict(request.headers)):
            return web.Response(status=401)
        form = dict(parse_qsl(body, keep_blank_values=True))
        in_json = body if request.content_type == "application/json" else form.get("payload")
        self.payloads.append(json.loads(in_json) if in_json else form)
        self.headers.append(request.headers)
        answer = self.answers.pop(0) if self.answers else Json(200, {})
        return web.json_response(answer.body, status=answer.status)


@pytest.fixture
def clock() -> Clock:
    """The clock of the Slack."""
    return Clock(time.time())


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[SandboxSlack]:
    """A Slack with two channels and a person."""
    async with SandboxSlack(clock=clock) as slack:
        slack.add_channel("C0MODELS", "models")
        slack.add_channel("C0OPS", "ops")
        slack.users["U0ADA"] = "ada"
        yield slack


@pytest.fixture
async def app(slack: SandboxSlack) -> AsyncIterator[App]:
    """The app of this Slack."""
    async with App(slack.signing_secret) as app:
        slack.request_url = f"http://{app.host}/slack/events"
        yield app
