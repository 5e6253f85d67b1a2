"""A real HTTP server that only this machine can reach. Knows nothing of what it serves."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from aiohttp import web

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_HOST = "127.0.0.1"

# Closing with a linger of zero seconds sends RST instead of FIN (socket(7)): the client sees a broken
# connection and not merely the end of one.
_NO_LINGER = struct.pack("ii", 1, 0)


def break_off(request: web.Request) -> None:
    """Reset the connection that a request came on. Harmless when it is gone already."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()


class Loopback:
    """An aiohttp server on 127.0.0.1, at a port that the system picks and that then stays the same."""

    def __init__(self, routes: Sequence[web.RouteDef]) -> None:
        self._routes = routes
        self._runner: web.AppRunner | None = None
        self._handling: set[asyncio.Task[object]] = set()
        self.port = 0

    @property
    def host(self) -> str:
        """Host and port, as they stand in a URL."""
        return f"{_HOST}:{self.port}"

    async def start(self) -> None:
        """Listen; after a stop, at the same port as before."""
        app = web.Application(middlewares=[self._remembered])
        app.add_routes(self._routes)
        # Without handler_cancellation, a handler that never answers would outlive the client that gave up on it.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, _HOST, self.port)
        await site.start()
        _, self.port = self._runner.addresses[0][:2]

    async def stop(self) -> None:
        """Stop listening, and break off whatever is being answered. Harmless when it does not run."""
        if self._runner is None:
            return
        for task in self._handling:
            task.cancel()
        await self._runner.cleanup()
        self._runner = None

    @web.middleware
    async def _remembered(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        # stop() cancels these itself: aiohttp would first wait for answers that may never come.
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        self._handling.add(task)
        try:
            return await handler(request)
        finally:
            self._handling.discard(task)


class Served:
    """What is served on loopback: to be started and stopped, or used as a context."""

    _server: Loopback

    async def start(self) -> None:
        """Begin to listen; after a stop, at the same address and with everything still known."""
        await self._server.start()

    async def stop(self) -> None:
        """Break off every connection and stop listening."""
        await self._server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()
