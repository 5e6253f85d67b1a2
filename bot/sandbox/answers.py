"""The ways in which a server may answer, and fail to. Knows nothing of which server it is."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from bot.sandbox.loopback import break_off

_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request in hand, and `proceed`, which does what it asks for and returns the ordinary answer."""

    request: web.Request
    proceed: Callable[[], Awaitable[web.StreamResponse]]

    def reply(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str]) -> web.Response:
        """Answer in full."""
        return web.Response(status=status, body=body, headers={**headers, "Content-Type": content_type})

    async def begin(self, length: int) -> web.StreamResponse:
        """Send the head of a JSON answer that announces a body of this many bytes."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = length
        await response.prepare(self.request)
        return response

    async def silence(self) -> web.StreamResponse:
        """Answer nothing, for as long as the client and the server both live."""
        never: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
        return await never

    def reset(self) -> web.Response:
        """Break the connection. What is returned can no longer be sent; aiohttp wants a response."""
        break_off(self.request)
        return web.Response()


class Answer(Protocol):
    """A way to answer a request."""

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer, or fail to."""
        ...


@dataclass(frozen=True, slots=True)
class Json:
    """Any JSON, at any HTTP status."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer with this."""
        return exchange.reply(self.status, json.dumps(self.body).encode(), "application/json", self.headers)


@dataclass(frozen=True, slots=True)
class Raw:
    """Any bytes, at any HTTP status: an error page, or what claims to be JSON and is not."""

    status: int
    body: bytes = b""
    content_type: str = "text/html"
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer with this."""
        return exchange.reply(self.status, self.body, self.content_type, self.headers)


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Slack's 429, with Retry-After in seconds, or None to leave that header out.

    https://docs.slack.dev/apis/web-api/rate-limits/
    """

    seconds: int | None

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer with 429."""
        headers = {} if self.seconds is None else {"Retry-After": str(self.seconds)}
        return await Json(429, {"ok": False, "error": "ratelimited"}, headers).send(exchange)


@dataclass(frozen=True, slots=True)
class Redirect:
    """A 307, which asks for the same POST, key and all, to be sent elsewhere."""

    location: str

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer with 307."""
        return exchange.reply(307, b"", "text/plain", {"Location": self.location})


@dataclass(frozen=True, slots=True)
class Big:
    """A JSON answer of this many megabytes."""

    megabytes: int

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer, a megabyte at a time."""
        head, tail = b'{"status": "success", "message": "', b'"}'
        response = await exchange.begin(len(head) + self.megabytes * _MEGABYTE + len(tail))
        await response.write(head)
        for _ in range(self.megabytes):
            await response.write(b"x" * _MEGABYTE)
        await response.write(tail)
        return response


@dataclass(frozen=True, slots=True)
class DeepJson:
    """JSON lists inside each other, this deep: past a thousand, Python's parser gives up."""

    depth: int

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer with 200."""
        return exchange.reply(200, b"[" * self.depth + b"]" * self.depth, "application/json", {})


@dataclass(frozen=True, slots=True)
class Drip:
    """An answer that arrives a byte at a time."""

    body: bytes
    seconds_between: float

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer slowly."""
        response = await exchange.begin(len(self.body))
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
        response = await exchange.begin(2 * len(self.body))
        await response.write(self.body)
        # Not a reset, which would throw away what was written.
        exchange.request.protocol.force_close()
        return response


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer, for as long as the client and the server both live."""

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Wait for ever."""
        return await exchange.silence()


@dataclass(frozen=True, slots=True)
class Held:
    """The ordinary answer, and what was asked done, but only once the event is set."""

    released: asyncio.Event

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Wait, then proceed."""
        await self.released.wait()
        return await exchange.proceed()


@dataclass(frozen=True, slots=True)
class Reset:
    """A connection broken before anything was done."""

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Break the connection."""
        return exchange.reset()


@dataclass(frozen=True, slots=True)
class AcceptThenReset:
    """A lost answer: what was asked is done, and the connection breaks before the client learns of it."""

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Proceed, then break the connection."""
        await exchange.proceed()
        return exchange.reset()
