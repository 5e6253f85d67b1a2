"""The endpoint of HTTP mode, over a socket: what it lets through, and how much of it at once.

Whatever a stranger may send is tried in tests/scenarios/test_http_door.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from urllib.parse import urlencode

import aiohttp
import pytest
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier
from structlog.testing import capture_logs

from bot.core.timing import Timing
from bot.errors import Malformed
from bot.slack.http import Dispatch, SlackEndpoint
from bot.slack.server import WebServer

SECRET = "0123456789abcdef"
FORM = "application/x-www-form-urlencoded"

Serve = Callable[[SlackEndpoint], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves an endpoint, and returns its address."""
    async with AsyncExitStack() as stack:

        async def served(endpoint: SlackEndpoint) -> str:
            server = WebServer("127.0.0.1", 0)
            server.app.router.add_post("/slack/events", endpoint.handle)
            await server.start()
            stack.push_async_callback(server.stop)
            return f"http://127.0.0.1:{server.port}/slack/events"

        yield served


def answering(response: BoltResponse, seen: list[Mapping[str, object]]) -> Dispatch:
    """What stands in for Bolt: it answers so, and keeps what it saw."""

    async def dispatch(payload: Mapping[str, object]) -> BoltResponse:
        seen.append(payload)
        return response

    return dispatch


async def post(url: str, body: bytes, content_type: str = FORM) -> tuple[int, str, str]:
    """Send a signed request, and return the answer's status, content type and text."""
    timestamp = str(int(time.time()))
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=timestamp, body=body)
    headers = {"Content-Type": content_type, "X-Slack-Request-Timestamp": timestamp}
    async with aiohttp.request("POST", url, data=body, headers=headers | {"X-Slack-Signature": str(signature)}) as sent:
        return sent.status, sent.content_type, await sent.text()


@pytest.mark.parametrize(
    ("body", "content_type", "payload"),
    [
        (
            urlencode({"command": "/reload-model", "text": "a&b"}).encode(),
            FORM,
            {"command": "/reload-model", "text": "a&b"},
        ),
        (urlencode({"payload": '{"type": "shortcut"}'}).encode(), FORM, {"type": "shortcut"}),
        (b'{"type": "event_callback"}', "application/json", {"type": "event_callback"}),
    ],
    ids=["a command", "an interaction", "an event"],
)
async def test_a_signed_payload_is_parsed_and_answered(
    serve: Serve, body: bytes, content_type: str, payload: Mapping[str, object]
) -> None:
    """As JSON where Bolt answers with an object."""
    seen: list[Mapping[str, object]] = []
    url = await serve(SlackEndpoint(SECRET, answering(BoltResponse(status=200, body={"text": "ok"}), seen)))

    assert await post(url, body, content_type) == (200, "application/json", '{"text": "ok"}')
    assert seen == [payload]


async def test_an_empty_ack_has_no_body(serve: Serve) -> None:
    """Slack shows nothing for it."""
    url = await serve(SlackEndpoint(SECRET, answering(BoltResponse(status=200), [])))

    assert await post(url, b"a=b") == (200, "text/plain", "")


async def test_what_bolt_cannot_read_is_a_bad_request(serve: Serve) -> None:
    """With one line in the log, and nothing of what was sent."""

    async def dispatch(_payload: Mapping[str, object]) -> BoltResponse:
        raise Malformed("a field")

    url = await serve(SlackEndpoint(SECRET, dispatch))
    with capture_logs() as logged:
        status, _, text = await post(url, b"a=b")

    assert (status, text) == (400, "malformed request\n")
    assert logged == [{"event": "request_refused", "log_level": "warning", "status": 400, "why": "a field"}]


async def test_a_body_that_does_not_arrive_in_time_is_given_up(serve: Serve) -> None:
    """It must not hold a request for ever."""
    url = await serve(SlackEndpoint(SECRET, answering(BoltResponse(status=200), []), Timing(http_body=0.05)))

    async def stalled() -> AsyncIterator[bytes]:
        yield b"a="
        await asyncio.Event().wait()

    async with aiohttp.request("POST", url, data=stalled(), headers={"Content-Type": FORM}) as sent:
        assert sent.status == 408


async def test_requests_beyond_the_limit_are_told_to_come_back(serve: Serve) -> None:
    """And taken again once others have ended."""
    busy, over = asyncio.Event(), asyncio.Event()

    async def dispatch(_payload: Mapping[str, object]) -> BoltResponse:
        busy.set()
        await over.wait()
        return BoltResponse(status=200)

    url = await serve(SlackEndpoint(SECRET, dispatch, requests_limit=1))
    first = asyncio.create_task(post(url, b"a=b"))
    await busy.wait()
    async with aiohttp.request("POST", url, data=b"a=b") as second:
        assert (second.status, second.headers["Retry-After"]) == (503, "1")
    over.set()

    assert (await first)[0] == 200
    assert (await post(url, b"a=b"))[0] == 200
