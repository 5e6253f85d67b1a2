"""The ways in which a service can fail to answer a request."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from bot.sandbox.answers import Answer, Exchange, Json, Raw
from bot.sandbox.server import break_connection

__all__ = ["Answer", "Exchange", "Json", "Raw"]


async def begin(exchange: Exchange, length: int) -> web.StreamResponse:
    """Send the head of a JSON answer that announces a body of this many bytes."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = length
    await response.prepare(exchange.request)
    return response


class RateLimited(Json):
    """Slack's 429, with Retry-After in seconds, or None to leave that header out.

    https://docs.slack.dev/apis/web-api/rate-limits/
    """

    def __init__(self, seconds: int | None) -> None:
        headers = {} if seconds is None else {"Retry-After": str(seconds)}
        super().__init__(429, {"ok": False, "error": "ratelimited"}, headers)


BIG = Json(200, {"status": "success", "message": "x" * (1 << 20)})
"""A megabyte of JSON."""

DEEP = Raw(200, b"[" * 100_000 + b"]" * 100_000, "application/json")
"""JSON lists inside each other: past a thousand, Python's parser gives up."""

AWAY = Raw(307, headers={"Location": "http://127.0.0.1:9/"})
"""It asks the client to send the same POST, key and all, elsewhere, where nobody listens."""


@dataclass(slots=True)
class Gateway:
    """An acceptance through a faulty gateway: it sets a cookie, and later sends an answer that nobody wants."""

    cookies: list[str] = field(default_factory=list)
    """What each request had."""
    sent_again: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer, and a moment later once more on the same connection."""
        self.cookies.append(exchange.request.headers.get("Cookie", ""))
        asyncio.get_running_loop().call_later(0.1, self._send_again, exchange.request.transport)
        return web.json_response({"status": "success"}, headers={"Set-Cookie": "seen=1"})

    def _send_again(self, transport: asyncio.Transport | None) -> None:
        if transport is not None:
            transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"status": "success"}')
        self.sent_again.set()


@dataclass(frozen=True, slots=True)
class Drip:
    """An answer that arrives a byte at a time."""

    body: bytes
    seconds_between: float

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer slowly."""
        response = await begin(exchange, len(self.body))
        for position in range(len(self.body)):
            await response.write(self.body[position : position + 1])
            await asyncio.sleep(self.seconds_between)
        return response


@dataclass(frozen=True, slots=True)
class HalfAnswer:
    """An answer that breaks off: the head announces twice the bytes that come."""

    body: bytes = b'{"status": "succ'

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer by half."""
        response = await begin(exchange, 2 * len(self.body))
        await response.write(self.body)
        # Not a reset, which would throw away what was written.
        exchange.request.protocol.force_close()
        return response


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer, for as long as the client and the server both live."""

    async def send(self, _exchange: Exchange) -> web.StreamResponse:
        """Wait for ever."""
        never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
        return await never


@dataclass(frozen=True, slots=True)
class Held:
    """The ordinary answer, or another, but only once the event is set."""

    released: asyncio.Event
    answer: Answer | None = None

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Wait, then answer."""
        await self.released.wait()
        return await (self.answer.send(exchange) if self.answer else exchange.proceed())


@dataclass(frozen=True, slots=True)
class Reset:
    """A connection that breaks before anything was done."""

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Break the connection."""
        break_connection(exchange.request)
        return web.Response()  # which can't be sent any more


@dataclass(frozen=True, slots=True)
class AcceptThenReset:
    """A lost answer: the request is carried out, and the connection breaks before the client learns of it."""

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Proceed, then break the connection."""
        await exchange.proceed()
        break_connection(exchange.request)
        return web.Response()  # which can't be sent any more


@dataclass(frozen=True, slots=True)
class AcceptThenHang:
    """The request is carried out, and the client gets no answer, for as long as it lives."""

    accepted: asyncio.Event

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Proceed, then say nothing."""
        await exchange.proceed()
        self.accepted.set()
        return await Hang().send(exchange)
