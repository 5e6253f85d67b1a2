"""The HTTP face: /slack/events in HTTP mode, behind its own checks; the health of the process, and its metrics.

Bolt answers much that is malformed with a 500, and logs the body of a request whose signature is wrong
(https://github.com/slackapi/bolt-python): so whatever reaches it from here has been verified and read.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from time import time
from typing import cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from bot.errors import Malformed
from bot.ops.metrics import CONTENT_TYPE
from bot.slack import connections
from bot.slack import payloads as payload
from bot.slack.connections import Connections

BODY_LIMIT = 64 * 1024
"""Bytes of a request's body; Slack's are a few KiB."""

BODY_SECONDS = 5.0
"""How long a body may take to arrive."""

LINE_LIMIT = 4 * 1024
HEADERS_LIMIT = 64
"""Bytes of the request line and of each header, and how many headers: Slack's and a balancer's are a dozen."""

LINGER_SECONDS = 1.0
"""How long what follows a refused request is read and thrown away, so that the refusal gets there, before the end."""

STOP_SECONDS = 1.0
"""What requests in hand get to end when the server stops."""

STALE_SECONDS = 300
"""https://docs.slack.dev/authentication/verifying-requests-from-slack"""

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"

Dispatch = Callable[[payload.Request], Awaitable[web.Response]]
Health = Callable[[], Awaitable[Mapping[str, str]]]
_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Scrape = Callable[[], Awaitable[bytes]]

log = structlog.get_logger(__name__)


class SlackDoor:
    """Lets in what Slack signed, once read; answers everything else with a 4xx that shows nothing of it."""

    def __init__(self, signing_secret: str, dispatch: Dispatch) -> None:
        """dispatch answers a payload that has been verified and read."""
        self._secret = signing_secret.encode()
        self._dispatch = dispatch

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one POST."""
        try:
            body = await _body(request)
            if b"ssl_check" in body and _is_ssl_check(body):
                return web.Response()
            self._verify(request.headers, body)
            fields = _fields(request, body)
            if (challenge := payload.challenge(fields)) is not None:
                return web.Response(text=challenge)
            read = payload.read(fields)
        except web.HTTPException as refused:
            log.warning("request_refused", status=refused.status, why=refused.reason)
            raise
        except Malformed as malformed:
            log.warning("request_refused", status=400, why=str(malformed))
            raise web.HTTPBadRequest(text="malformed request\n") from None
        return await self._dispatch(read)

    def _verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Check the signature over the raw bytes. Raises HTTPUnauthorized.

        The SDK's own verifier fails at bytes that are no text.
        https://docs.slack.dev/authentication/verifying-requests-from-slack
        """
        timestamp = headers.get("X-Slack-Request-Timestamp", "")
        signature = headers.get("X-Slack-Signature", "")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16 and signature.isascii()):  # noqa: PLR2004 - no time has 16 digits
            raise _unauthorized("no timestamp and signature as Slack sends them")
        if abs(time() - int(timestamp)) > STALE_SECONDS:
            raise _unauthorized("the timestamp is stale")
        digest = hmac.new(self._secret, f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(f"v0={digest}", signature):
            raise _unauthorized("the signature does not fit")


def _unauthorized(reason: str) -> web.HTTPUnauthorized:
    return web.HTTPUnauthorized(reason=reason, text="unauthorized\n")


async def _body(request: web.Request) -> bytes:
    """The body, if it comes in time and is not too long: a length that is announced is refused before it is read."""
    if (request.content_length or 0) > BODY_LIMIT:
        raise web.HTTPRequestEntityTooLarge(BODY_LIMIT, request.content_length or 0)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (web.RequestPayloadError, HttpProcessingError, OSError):
        raise web.HTTPBadRequest(text="the body broke off\n") from None


def _is_ssl_check(body: bytes) -> bool:
    try:
        return payload.is_ssl_check(payload.form(body))
    except Malformed:
        return False


def _fields(request: web.Request, body: bytes) -> Mapping[str, object]:
    """What the body says: an event is JSON, an interaction is JSON in a form, a command is a form. All are UTF-8.

    https://docs.slack.dev/interactivity/handling-user-interaction#payloads
    """
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise web.HTTPUnsupportedMediaType(text="UTF-8 is wanted\n")
    if request.content_type == _JSON:
        return payload.json_object(body)
    if request.content_type != _FORM:
        raise web.HTTPUnsupportedMediaType(text="a form or JSON is wanted\n")
    fields = payload.form(body)
    return payload.json_object(fields["payload"]) if set(fields) == {"payload"} else fields


def _expecting_text(handle: _Handle) -> _Handle:
    """Refuse what aiohttp would fail at, before it looks for a path: an Expect that it cannot write out again.

    https://github.com/aio-libs/aiohttp/blob/master/aiohttp/web_urldispatcher.py
    """

    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        if not request.headers.get("Expect", "").isascii():
            return web.Response(status=HTTPStatus.EXPECTATION_FAILED)
        return await handle(request)

    return guarded


class WebServer:
    """Listens on one port; see bot.connections for how long it listens to whom."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self.port = port
        """The port asked for; once started, the port in use."""
        self.closing = False
        """Whether the port is about to close: then no connection is kept for another request."""
        self.app = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._in_hand])
        # aiohttp logs what it cannot parse, bodies included: that is nobody's business.
        silent = logging.getLogger("bot.slack.http.silent")
        silent.setLevel(logging.CRITICAL + 1)
        self._runner = web.AppRunner(
            self.app,
            access_log=None,
            logger=silent,
            auto_decompress=False,  # what is signed is what was sent
            lingering_time=LINGER_SECONDS,
            shutdown_timeout=STOP_SECONDS,
            keepalive_timeout=connections.IDLE_SECONDS,
            max_line_size=LINE_LIMIT,
            max_field_size=LINE_LIMIT,
            max_headers=HEADERS_LIMIT,
        )
        self._connections = Connections()
        self._listening: asyncio.Server | None = None

    def add_health(self, path: str, health: Health) -> None:
        """Serve the state of the parts that health names: 200 when each says "ok", else 503."""

        async def handle(_request: web.Request) -> web.Response:
            parts = await health()
            well = all(state == "ok" for state in parts.values())
            status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
            return web.json_response({"status": "ok" if well else "unavailable", **parts}, status=status)

        self.app.router.add_get(path, handle)

    def add_metrics(self, path: str, scrape: Scrape) -> None:
        """Serve the metrics, as Prometheus reads them."""

        async def handle(_request: web.Request) -> web.Response:
            return web.Response(body=await scrape(), headers={"Content-Type": CONTENT_TYPE})

        self.app.router.add_get(path, handle)

    @web.middleware
    async def _in_hand(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        with self._connections.request(request.protocol):
            try:
                response = await handler(request)
            except web.HTTPException as refused:
                self._part(request, refused)
                raise
        self._part(request, response)
        return response

    def _part(self, request: web.Request, response: web.StreamResponse) -> None:
        """Say that the connection ends here, if it does: the rest of a body must not pass for the next request."""
        if self.closing or not request.content.is_eof():
            response.force_close()

    async def start(self) -> None:
        """Listen. Raises OSError where the port cannot be had."""
        await self._runner.setup()
        server = cast("web.Server", self._runner.server)  # it is there once it is set up
        server.request_handler = _expecting_text(server.request_handler)
        make = self._connections.factory(server)
        self._listening = await asyncio.get_running_loop().create_server(
            make, self._host, self.port, reuse_address=True, backlog=connections.MOST
        )
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Take no more connections, and let the requests in hand end."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()
