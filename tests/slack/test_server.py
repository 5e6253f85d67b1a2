"""A port closes what it should, keeps the rest, and says when nobody is at home where Slack was sent to."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from bot.core.timing import Timing
from bot.slack.server import WebServer

ALIVE = b"GET /alive HTTP/1.1\r\nHost: bot.example.com\r\n\r\n"
WITH_BODY = b"GET /alive HTTP/1.1\r\nHost: bot.example.com\r\nContent-Length: 10\r\n\r\n"

Start = Callable[..., Awaitable[WebServer]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a server with one path, /alive."""
    async with AsyncExitStack() as stack:

        async def started(host: str = "127.0.0.1", timing: Timing = Timing(http_linger=0.1)) -> WebServer:
            server = WebServer(host, 0, timing)

            async def alive(_request: web.Request) -> web.Response:
                return web.Response(text="yes")

            server.app.router.add_get("/alive", alive)
            await server.start()
            stack.push_async_callback(server.stop)
            return server

        yield started


async def answer(server: WebServer, request: bytes) -> bytes:
    """All that comes back for a request, until the server closes the connection. Raises TimeoutError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 5.0)
    finally:
        writer.close()


async def test_a_connection_is_kept_for_the_next_request(start: Start) -> None:
    """For as long as the proxy in front keeps it."""
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(2):
        writer.write(ALIVE)
        assert (await reader.readuntil(b"yes")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_connection_is_not_kept_for_ever(start: Start) -> None:
    """One that nobody uses is closed in the end."""
    server = await start(timing=Timing(http_keepalive=0.1))

    assert b"yes" in await answer(server, ALIVE)


async def test_a_port_that_is_about_to_close_keeps_no_connection(start: Start) -> None:
    """So that a balancer sends its next request elsewhere."""
    server = await start()
    server.closing = True

    assert b"Connection: close" in await answer(server, ALIVE)


@pytest.mark.parametrize("path", [b"/alive", b"/nowhere"])
async def test_the_rest_of_a_body_is_not_taken_for_the_next_request(start: Start, path: bytes) -> None:
    """The connection ends instead."""
    server = await start()

    assert b"Connection: close" in await answer(server, WITH_BODY.replace(b"/alive", path) + b"GET /")


@pytest.mark.parametrize("more", [b"X: y\r\n", b"x"], ids=["by headers", "within one"])
async def test_a_head_that_grows_and_grows_is_cut_off(start: Start, more: bytes) -> None:
    """While it is still small."""
    server = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: bot.example.com\r\nX: ")
    sent = 0

    async def send() -> None:
        nonlocal sent
        while True:
            writer.write(more * 1000)
            await writer.drain()
            sent += 1000 * len(more)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send(), 30.0)
    assert sent < 10_000_000


async def test_a_wrong_path_is_logged_once_a_minute(start: Start) -> None:
    """A mistake in the Slack app's Request URL shows; a scanner does not fill the log."""
    server = await start()
    with capture_logs() as logged:
        for path in (b"/slack/event%0A", b"/slack/events2"):
            assert b" 404 " in await answer(
                server, ALIVE.replace(b"/alive", path).replace(b"Host", b"Connection: close\r\nHost")
            )

    assert logged == [
        {
            "event": "request_refused",
            "log_level": "warning",
            "status": 404,
            "why": "no such path",
            "method": "GET",
            "path": "/slack/event ",
        }
    ]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
async def test_all_addresses_are_those_of_both_families(start: Start) -> None:
    """HOST=:: is reached by probes that know IPv4 only, too."""
    server = await start("::")

    assert b"yes" in await answer(server, ALIVE.replace(b"Host", b"Connection: close\r\nHost"))
