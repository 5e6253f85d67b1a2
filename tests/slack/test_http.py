"""Connections and requests that a port takes or ends, where tests/scenarios/test_http_door.py does not get."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from unittest.mock import AsyncMock

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from bot.slack.http import SlackEndpoint, WebServer
from tests.scenarios.scenario import eventually_answered
from tests.times import set_timing

ALIVE = b"GET /alive HTTP/1.1\r\nHost: bot.example.com\r\n\r\n"
LAST = ALIVE.replace(b"Host", b"Connection: close\r\nHost")

Handler = Callable[[web.Request], Awaitable[web.Response]]


async def alive(_request: web.Request) -> web.Response:
    """Answer at once."""
    return web.Response(text="yes")


@asynccontextmanager
async def serving(handler: Handler = alive, host: str = "127.0.0.1", **times: float) -> AsyncIterator[WebServer]:
    """A server with the path /alive."""
    set_timing(**{"http_linger": 0.1, **times})
    server = WebServer(host, 0)
    server.app.router.add_route("*", "/alive", handler)
    await server.start()
    yield server
    await server.stop()


async def answer(server: WebServer, request: bytes) -> bytes:
    """All that comes back for a request, until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 30.0)
    finally:
        writer.close()


async def test_a_connection_is_kept_for_the_next_request_but_not_for_ever() -> None:
    """As long as the proxy in front keeps it; not after a body that nobody read, or if the port is about to close."""
    unread = ALIVE.replace(b"\r\n\r\n", b"\r\nContent-Length: 1000000\r\n\r\n")
    async with serving(http_keepalive=0.3) as server:
        assert (await answer(server, ALIVE + ALIVE)).count(b"HTTP/1.1 200 ") == 2
        assert (await answer(server, unread + ALIVE)).count(b"HTTP/1.1 ") == 1
        server.closing = True
        assert b"Connection: close" in await answer(server, ALIVE)


@pytest.mark.parametrize("more", [b"X: y\r\n", b"x"], ids=["by headers", "within one"])
async def test_a_head_without_an_end_is_cut_off(more: bytes) -> None:
    """While it is still small."""

    async def send(writer: asyncio.StreamWriter, size: int) -> None:
        for _ in range(size // len(more) // 1000):
            writer.write(more * 1000)
            await writer.drain()

    async with serving() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: bot.example.com\r\nX: ")
        with pytest.raises(ConnectionError):
            await send(writer, 10_000_000)


async def test_requests_beyond_the_limit_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a second. Requests are taken again when others have ended."""
    monkeypatch.setattr("bot.slack.http.REQUESTS_LIMIT", 1)
    probe = LAST.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 11\r\n\r\nssl_check=1")

    async with serving(SlackEndpoint("secret", AsyncMock()).handle) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(probe[:-1])

        async def refused() -> bytes:
            return found if b" 429 " in (found := await answer(server, probe)) else b""

        assert b"Retry-After: 1\r\n" in await eventually_answered(refused)
        writer.write(probe[-1:])
        assert b" 200 " in await reader.readline()
        writer.close()
        assert b" 200 " in await answer(server, probe)


async def test_only_a_bug_is_logged() -> None:
    """It gets a 500. A client that hangs up in the middle of its body is no bug."""
    reading = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        reading.set()
        await request.read()
        raise ArithmeticError("of our own")

    with capture_logs() as logged:
        async with serving(handler) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(ALIVE.replace(b"Host", b"Content-Length: 9\r\nHost"))
            await reading.wait()
            writer.transport.abort()
            assert b" 500 " in await answer(server, LAST)

    assert [line["event"] for line in logged] == ["internal_error"]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
async def test_ipv6_addresses_include_those_of_ipv4() -> None:
    """HOST=:: is reached by probes that know IPv4 only, too."""
    async with serving(host="::") as server:
        assert b"yes" in await answer(server, LAST)
