"""A port: an aiohttp server with limits that fit Slack's requests and a balancer's probes.

It stands behind a TLS proxy, which keeps slow clients away: docs/operating.md.
"""

import logging
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import monotonic
from typing import cast

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bot.core.text import harmless
from bot.core.timing import Timing
from bot.slack.http import BODY_LIMIT

LINE_LIMIT = 4 * 1024
HEADERS_LIMIT = 64
"""Bytes of the request line and of each header, and how many headers: Slack and a balancer send a dozen."""

BACKLOG = 512

_PATH_SHOWN = 100
_UNKNOWN_PATH_EVERY = 60.0

_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


class WebServer:
    """Listens on one port. Routes are added to its app."""

    def __init__(self, host: str, port: int, timing: Timing = Timing()) -> None:
        self.host = host
        self.port = port
        """The port asked for; once started, the port in use."""
        self.closing = False
        """Whether the port is about to close: connections then end with the request in progress."""
        self.app = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._finish])
        # aiohttp logs what it cannot parse, bodies included.
        silent = logging.getLogger("bot.slack.server.silent")
        silent.setLevel(logging.CRITICAL + 1)
        self._runner = web.AppRunner(
            self.app,
            access_log=None,
            logger=silent,
            auto_decompress=False,  # the signature is of the bytes that were sent
            lingering_time=timing.http_linger,
            shutdown_timeout=timing.http_stop,
            keepalive_timeout=timing.http_keepalive,
            max_line_size=LINE_LIMIT,
            max_field_size=LINE_LIMIT,
            max_headers=HEADERS_LIMIT,
        )
        self._unknown_path_at = float("-inf")

    async def start(self) -> None:
        """Listen. Raises OSError where the port cannot be had."""
        await self._runner.setup()
        server = cast("web.Server", self._runner.server)  # there is one after setup()
        server.request_handler = _expecting_text(server.request_handler)
        await self._site().start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Take no more connections, and let the requests in progress end."""
        await self._runner.cleanup()

    def _site(self) -> web.BaseSite:
        """Where to listen. asyncio would take :: for IPv6 alone, and an IPv4 probe would not get through."""
        if self.host == "::" and socket.has_dualstack_ipv6():
            both = socket.create_server(("::", self.port), family=socket.AF_INET6, dualstack_ipv6=True)
            return web.SockSite(self._runner, both, backlog=BACKLOG)
        return web.TCPSite(self._runner, self.host, self.port, reuse_address=True, backlog=BACKLOG)

    @web.middleware
    async def _finish(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Say which connections end with this answer, and log requests that lead nowhere."""
        try:
            response = await handler(request)
        except web.HTTPException as refused:
            self._close_if_done(request, refused)
            if refused.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                self._log_unknown_path(request, refused.status)
            raise
        self._close_if_done(request, response)
        return response

    def _close_if_done(self, request: web.Request, response: web.StreamResponse) -> None:
        """The rest of a body must not pass for the next request."""
        if self.closing or not request.content.is_eof():
            response.force_close()

    def _log_unknown_path(self, request: web.Request, status: int) -> None:
        """A wrong Request URL in the Slack app's settings shows here, at most once a minute."""
        now = monotonic()
        if now >= self._unknown_path_at:
            self._unknown_path_at = now + _UNKNOWN_PATH_EVERY
            path = harmless(request.path, _PATH_SHOWN)
            log.warning("request_refused", status=status, why="no such path", method=request.method, path=path)


def _expecting_text(handle: _Handle) -> _Handle:
    """Refuse an Expect header that isn't text: aiohttp would fail when it quotes it, whatever the path.

    https://github.com/aio-libs/aiohttp/blob/master/aiohttp/web_urldispatcher.py
    """

    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        if not request.headers.get("Expect", "").isascii():
            return web.Response(status=HTTPStatus.EXPECTATION_FAILED)
        return await handle(request)

    return guarded
