"""The endpoint of HTTP mode limits requests at once; the rest is in tests/scenarios/test_http_door.py."""

import asyncio
import time
from collections.abc import Mapping

import aiohttp
import pytest
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier

from bot.slack.http import SlackEndpoint
from bot.slack.server import WebServer

SECRET = "0123456789abcdef"


async def post(server: WebServer, *, signed: bool = True) -> tuple[int, str | None]:
    """Send a request, and return the answer's status and when to come back."""
    timestamp = str(int(time.time()))
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=timestamp, body=b"a=b")
    headers = {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": str(signature)} if signed else {}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    async with aiohttp.request("POST", f"http://127.0.0.1:{server.port}/", data=b"a=b", headers=headers) as answer:
        return answer.status, answer.headers.get("Retry-After")


async def test_requests_beyond_the_limit_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a second. Requests are taken again when others have ended."""
    monkeypatch.setattr("bot.slack.http.REQUESTS_LIMIT", 1)
    busy, over = asyncio.Event(), asyncio.Event()

    async def dispatch(_payload: Mapping[str, object]) -> BoltResponse:
        busy.set()
        await over.wait()
        return BoltResponse(status=200)

    server = WebServer("127.0.0.1", 0)
    server.app.router.add_post("/", SlackEndpoint(SECRET, dispatch).handle)
    await server.start()
    first = asyncio.create_task(post(server))
    await busy.wait()
    assert await post(server, signed=False) == (503, "1")
    over.set()

    assert await first == (200, None)
    assert await post(server) == (200, None)
    await server.stop()
