"""The bot's ports, with limits that fit Slack's requests and a load balancer's probes, and the endpoint for Slack.

Bolt answers many malformed requests with a 500, and logs the body of a request with a wrong signature
(https://github.com/slackapi/bolt-python). So it only gets authenticated, parsed payloads. A port is behind a TLS proxy,
which keeps slow clients away: docs/operating.md.
"""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from time import monotonic
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier

from bot.core import timing
from bot.core.text import harmless
from bot.errors import CannotStart, Malformed
from bot.slack import payloads

BODY_LIMIT = 512 * 1024
"""How many bytes the body of a request can have. Slack's have a few KiB, but a message can have 40,000 characters. An
event contains each of them twice, in up to 6 bytes of JSON; an emoji has a name in ASCII.
https://docs.slack.dev/changelog/2018-04-truncating-really-long-messages
"""

REQUESTS_LIMIT = 256
"""How many requests can be in progress at once. Each can have a body in memory, all together 128 MiB."""

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_CHARSETS = ("utf-8", "utf8", "us-ascii")
_TIMESTAMP_DIGITS = 15

LINE_LIMIT = 4 * 1024
HEADERS_LIMIT = 64
"""Bytes of the request line and of each header, and how many headers: Slack and load balancers send a dozen."""

BACKLOG = 512

_NOT_OURS = (None, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
"""The errors for an address that isn't this machine's, or of a kind that this machine doesn't support."""
_HOST_FIX = "use an address of this machine, or 0.0.0.0 for all of them"

_PATH_SHOWN = 100
_LOG_EVERY = 60.0
"""Seconds between two log lines about requests that are refused for one reason: anybody can send them."""

_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

Dispatch = Callable[[Mapping[str, object]], Awaitable[BoltResponse]]
"""Answers an authenticated payload. Raises Malformed."""

log = structlog.get_logger(__name__)


class SlackEndpoint:
    """Takes what Slack signed, and answers everything else with a 4xx that shows none of its content."""

    def __init__(self, signing_secret: str, dispatch: Dispatch) -> None:
        self._verifier = SignatureVerifier(signing_secret)
        self._dispatch = dispatch
        self._in_progress = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one POST."""
        if self._in_progress >= REQUESTS_LIMIT:
            raise web.HTTPTooManyRequests(reason="too many requests in progress", headers={"Retry-After": "1"})
        self._in_progress += 1
        try:
            body = await _body(request)
            if b"ssl_check" in body and _is_ssl_check(body):
                return web.Response()
            self._verify(request.headers, body)
            payload = _payload(request, body)
            if payload.get("type") == "url_verification":  # https://docs.slack.dev/reference/events/url_verification
                return web.Response(text=payloads.token(payload.get("challenge")))
            response = await self._dispatch(payload)
        except Malformed as malformed:
            log.warning("request_refused", status=400, reason=str(malformed))
            raise web.HTTPBadRequest(text="malformed request\n") from malformed
        finally:
            self._in_progress -= 1
        content_type = response.first_headers()["content-type"].partition(";")[0]
        return web.Response(status=response.status, text=response.body, content_type=content_type)

    def _verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Check the signature over the raw body, and the age of its timestamp. Raises HTTPUnauthorized.

        The SDK's verifier raises errors for timestamps that aren't numbers, and signatures and bodies that aren't text.
        https://docs.slack.dev/authentication/verifying-requests-from-slack
        """
        timestamp = headers.get("X-Slack-Request-Timestamp", "")
        signature = headers.get("X-Slack-Signature", "")
        numeric = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _TIMESTAMP_DIGITS
        try:
            if numeric and signature.isascii() and self._verifier.is_valid(body, timestamp, signature):
                return
        except UnicodeDecodeError:
            raise web.HTTPBadRequest(reason="a body that isn't UTF-8", text="malformed request\n") from None
        reason = "the timestamp is missing or stale, or the signature is wrong"
        raise web.HTTPUnauthorized(reason=reason, text="unauthorized\n")


async def _body(request: web.Request) -> bytes:
    """The body, if it arrives in time and isn't too long. If its Content-Length is too long, it isn't read."""
    if (request.content_length or 0) > BODY_LIMIT:
        raise web.HTTPRequestEntityTooLarge(BODY_LIMIT, request.content_length or 0)
    try:
        async with asyncio.timeout(timing.HTTP_BODY):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (web.RequestPayloadError, HttpProcessingError, OSError):
        raise web.HTTPBadRequest(text="the body ended early\n") from None


def _is_ssl_check(body: bytes) -> bool:
    """Whether this is Slack's certificate probe, which is unsigned and requests nothing.

    https://docs.slack.dev/interactivity/implementing-slash-commands#validating-command
    """
    try:
        fields = payloads.form(body)
    except Malformed:
        return False
    return fields.get("ssl_check") == "1" and set(fields) <= {"ssl_check", "token"}


def _payload(request: web.Request, body: bytes) -> Mapping[str, object]:
    """Parse the body: an event is JSON, an interaction is JSON in a form, a command is a form. All are UTF-8.

    https://docs.slack.dev/interactivity/handling-user-interaction#payloads
    """
    if (request.charset or "utf-8").lower() not in _CHARSETS:
        raise web.HTTPUnsupportedMediaType(text="expected UTF-8\n")
    if request.content_type == _JSON:
        return payloads.json_object(body)
    if request.content_type != _FORM:
        raise web.HTTPUnsupportedMediaType(text="expected a form or JSON\n")
    fields = payloads.form(body)
    return payloads.json_object(fields["payload"]) if set(fields) == {"payload"} else fields


class WebServer:
    """Listens on one port. Routes are added to its app."""

    def __init__(self, host: str, port: int, refused: Callable[[str], None] = lambda _status: None) -> None:
        """refused is called with the HTTP status of each request that is refused."""
        self.host = host
        self.port = port
        """The requested port; after the start, the port in use."""
        self.closing = False
        """Whether the port is about to close. Connections then end with the request in progress."""
        self.app = web.Application(client_max_size=BODY_LIMIT)
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
        server.request_handler = partial(self._answer, server.request_handler)
        try:
            site: web.BaseSite
            if self.host == "::" and socket.has_dualstack_ipv6():  # asyncio would listen on IPv6 only
                both = socket.create_server(("::", self.port), family=socket.AF_INET6, dualstack_ipv6=True)
                site = web.SockSite(self._runner, both, backlog=BACKLOG)
            else:
                site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True, backlog=BACKLOG)
            await site.start()
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

    async def _answer(self, handle: _Handle, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, count and log it if it is refused, and end connections when the port is about to close.

        An Expect header that isn't text is refused first: aiohttp would raise an error when it quotes it.
        https://github.com/aio-libs/aiohttp/blob/master/aiohttp/web_urldispatcher.py
        """
        try:
            if not request.headers.get("Expect", "").isascii():
                raise web.HTTPExpectationFailed
            response = await handle(request)
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
