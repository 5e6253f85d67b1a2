"""A port: an aiohttp server with limits that fit Slack's requests and the probes of a load balancer.

It is behind a TLS proxy, which keeps slow clients away: docs/operating.md.
"""

import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import monotonic
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from bot.core import timing
from bot.core.text import harmless
from bot.errors import CannotStart, Malformed
from bot.slack.http import BODY_LIMIT

LINE_LIMIT = 4 * 1024
HEADERS_LIMIT = 64
"""Bytes of the request line and of each header, and how many headers: Slack and load balancers send a dozen."""

BACKLOG = 512

_NOT_OURS = (None, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""The errors for an address that isn't this machine's, or of a kind that this machine doesn't support."""
_HOST_FIX = "use an address of this machine, or 0.0.0.0 for all of them"

_PATH_SHOWN = 100
_LOG_EVERY = 60.0
"""Seconds between two log lines about requests that are refused for one reason: anybody can send them."""

_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


class WebServer:
    """Listens on one port. Routes are added to its app."""

    def __init__(self, host: str, port: int, refused: Callable[[str], None] = lambda _status: None) -> None:
        """refused is called with the HTTP status of each request that is refused."""
        self.host = host
        self.port = port
        """The requested port; after the start, the port in use."""
        self.closing = False
        """Whether the port is about to close. Connections then end with the request in progress."""
        self.app = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._finish])
        self._refused = refused
        self._log_again_at: dict[str, float] = {}
        logger = logging.Logger("aiohttp.server")  # noqa: LOG001 - only for this server, and passes nothing on
        logger.addHandler(_Unreadable(self._count_refused))
        self._runner = web.AppRunner(
            self.app,
            access_log=None,
            logger=logger,
            auto_decompress=False,  # the signature covers the bytes that were sent
            lingering_time=timing.HTTP_LINGER,
            shutdown_timeout=timing.HTTP_STOP,
            keepalive_timeout=timing.HTTP_KEEPALIVE,
            max_line_size=LINE_LIMIT,
            max_field_size=LINE_LIMIT,
            max_headers=HEADERS_LIMIT,
        )

    async def start(self, setting: str = "PORT") -> None:
        """Listen. Raises CannotStart, which names the setting of the port, or HOST."""
        await self._runner.setup()
        server = cast("web.Server", self._runner.server)  # there is one after setup()
        server.request_handler = _expecting_text(server.request_handler)
        try:
            await self._site().start()
        except ValueError as error:  # a name that can't be looked up in DNS
            raise CannotStart("HOST", f"can't listen at {self.host} (not a host name)", _HOST_FIX) from error
        except OSError as error:
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror or str(error)
            if isinstance(error, socket.gaierror) or error.errno in _NOT_OURS:
                raise CannotStart("HOST", f"can't listen at {self.host} ({reason})", _HOST_FIX) from error
            raise CannotStart(setting, f"can't listen on port {self.port} ({reason})", "use a free port") from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Take no more connections, and let the requests in progress end."""
        await self._runner.cleanup()

    def _site(self) -> web.BaseSite:
        """Where to listen. For ::, asyncio would listen on IPv6 only, and IPv4 probes wouldn't get through."""
        if self.host == "::" and socket.has_dualstack_ipv6():
            both = socket.create_server(("::", self.port), family=socket.AF_INET6, dualstack_ipv6=True)
            return web.SockSite(self._runner, both, backlog=BACKLOG)
        return web.TCPSite(self._runner, self.host, self.port, reuse_address=True, backlog=BACKLOG)

    @web.middleware
    async def _finish(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count and log what is refused, and end connections when the port is about to close."""
        try:
            response = await handler(request)
        except web.HTTPException as refused:
            if isinstance(refused.__cause__, Malformed):  # Slack signed it, and it has been logged
                self._refused(str(refused.status))
            elif refused.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                path = harmless(request.path, _PATH_SHOWN)
                self._count_refused(refused.status, refused.reason, method=request.method, path=path)
            else:
                self._count_refused(refused.status, refused.reason)
            raise
        if self.closing:
            response.force_close()
        return response

    def _count_refused(self, status: int, reason: str, **more: str) -> None:
        """Count a request that was refused, and log one of each kind: a wrong Request URL or secret shows here."""
        self._refused(str(status))
        now = monotonic()
        if now >= self._log_again_at.get(reason, now):
            self._log_again_at[reason] = now + _LOG_EVERY
            log.warning("request_refused", status=status, reason=reason, **more)


class _Unreadable(logging.Handler):
    """Gets what aiohttp logs about requests, which can contain their bytes, and passes only the kind of error on."""

    def __init__(self, refused: Callable[[int, str], None]) -> None:
        super().__init__()
        self._refused = refused

    def emit(self, record: logging.LogRecord) -> None:
        """Such as LineTooLong, for a header that is too long."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            self._refused(HTTPStatus.BAD_REQUEST, type(error).__name__)
        elif error is not None and not isinstance(error, ConnectionError):  # a client can hang up
            log.error("internal_error", exc_info=error)


def _expecting_text(handle: _Handle) -> _Handle:
    """Refuse an Expect header that isn't text: aiohttp would raise an error when it quotes it, on every path.

    https://github.com/aio-libs/aiohttp/blob/master/aiohttp/web_urldispatcher.py
    """

    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        if not request.headers.get("Expect", "").isascii():
            return web.Response(status=HTTPStatus.EXPECTATION_FAILED)
        return await handle(request)

    return guarded
