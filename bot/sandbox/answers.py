"""What a service answers to a request instead of the ordinary answer; tests/answers.py has more."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and `proceed`, which does what it asks for and returns the ordinary answer."""

    request: web.Request
    proceed: Callable[[], Awaitable[web.StreamResponse]]


class Answer(Protocol):
    """A way to answer a request."""

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer, or fail to."""
        ...


@dataclass(frozen=True, slots=True)
class Raw:
    """Any bytes, at any HTTP status: an error page, or what claims to be JSON and isn't."""

    status: int
    body: bytes = b""
    content_type: str = "text/html"
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, _exchange: Exchange) -> web.StreamResponse:
        """Answer with this."""
        headers = {**self.headers, "Content-Type": self.content_type}
        return web.Response(status=self.status, body=self.body, headers=headers)


@dataclass(frozen=True, slots=True)
class Json:
    """Any JSON, at any HTTP status."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer with this."""
        return await Raw(self.status, json.dumps(self.body).encode(), "application/json", self.headers).send(exchange)
