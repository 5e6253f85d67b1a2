"""HTTP mode: the endpoint that Slack posts to, in front of Bolt.

Bolt answers many malformed requests with a 500, and logs the body of a request with a wrong signature
(https://github.com/slackapi/bolt-python). So it only gets authenticated, parsed payloads. This endpoint is behind a
TLS proxy, which keeps slow clients away: docs/operating.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier

from bot.core import timing
from bot.errors import Malformed
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
            raise Malformed("a body that isn't UTF-8") from None
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
