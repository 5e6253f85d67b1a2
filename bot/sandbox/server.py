"""An HTTP server that only this machine can reach."""

import socket
import struct
from collections.abc import Sequence
from typing import Self

from aiohttp import web

# Closing with a linger of zero seconds sends RST instead of FIN (socket(7)): the client sees a broken connection.
_NO_LINGER = struct.pack("ii", 1, 0)


class Server:
    """A service on this machine: start and stop it, or use it as a context manager."""

    host = "127.0.0.1:0"
    """Its address, as it stands in a URL. The system picks the port at the first start."""

    def __init__(self, routes: Sequence[web.RouteDef]) -> None:
        self._routes = routes
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; after a stop, at the same address and with all its state."""
        app = web.Application()
        app.add_routes(self._routes)
        # Some answers never end: they are cancelled when their client goes, and when the server stops.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        address, _, port = self.host.partition(":")
        await web.TCPSite(self._runner, address, int(port)).start()
        self.host = f"{address}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening, and break every connection. Harmless when it is not running."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()


def break_connection(request: web.Request) -> None:
    """Reset the connection that a request came on. Harmless when it is gone already."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
