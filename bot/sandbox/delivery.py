"""How Slack reaches the app: over Socket Mode, or by signed HTTP. Knows nothing of why people make it do so."""

import hashlib
import hmac
import itertools
import json
import secrets
import time
import uuid
from asyncio import timeout
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

import aiohttp

from bot.sandbox import block_kit
from bot.sandbox.block_kit import Button
from bot.sandbox.loopback import Loopback
from bot.sandbox.socket_mode import NotConnected, SocketMode
from bot.sandbox.surfaces import Surfaces
from bot.sandbox.wire import JsonObject, read_object, text_of
from bot.sandbox.workspace import Message

# https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
_MOST_USES = 5
_MOST_AGE = 30 * 60

Kind = Literal["slash_commands", "interactive", "events_api"]

# To these Slack takes an answer with a body: https://docs.slack.dev/apis/events-api/using-socket-mode#acknowledge
_ANSWERED = ("view_submission", "block_suggestion")


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of one invocation: the app's answer, or Slack's own words where there was none.

    `status` is the HTTP status, 200 for an ack over Socket Mode, 0 without an answer; `seconds` is how long
    it took. `response_url` and `trigger_id` are those of the invocation. `message` is what the answer became.
    """

    status: int
    raw: bytes
    body: JsonObject
    seconds: float
    response_url: str
    trigger_id: str
    error: str = ""
    message: Message | None = None

    @property
    def text(self) -> str:
        """What the person reads: the app's text, or the error by which Slack calls its absence."""
        return self.error or text_of(self.body.get("text"))

    @property
    def response_type(self) -> str:
        """Who sees it; by default only the person who asked."""
        return text_of(self.body.get("response_type")) or "ephemeral"

    @property
    def blocks(self) -> list[JsonObject]:
        """The blocks of the answer, if any."""
        return block_kit.objects(self.body.get("blocks"))

    @property
    def buttons(self) -> list[Button]:
        """The buttons of the answer, from top to bottom."""
        return block_kit.buttons(self.blocks)

    @property
    def timed_out(self) -> bool:
        """Whether the app let its three seconds pass."""
        return self.error == "operation_timeout"


@dataclass(slots=True)
class ResponseUrl:
    """A URL for messages to one place; `original` is the message whose button was pressed, if one was."""

    channel: str
    user: str
    made_at: float
    original: Message | None = None
    uses: int = 0

    def refusal(self, now: float) -> str | None:
        """Say why it cannot be used at this time, if it cannot."""
        if self.uses >= _MOST_USES:
            return "used_url"
        return "expired_url" if now - self.made_at > _MOST_AGE else None

    def spend(self) -> None:
        """Use it up."""
        self.uses = _MOST_USES


class Delivery(Surfaces):
    """A workspace that can reach its app.

    `ack_seconds` is how long an invocation waits for its ack. With `request_url` set, invocations go there over
    HTTP, else over Socket Mode; what a typeahead asks goes to `options_url` before it goes there.
    """

    _server: Loopback

    def __init__(self, *, clock: Callable[[], float], ack_seconds: float) -> None:
        super().__init__(clock=clock)
        self.ack_seconds = ack_seconds
        self.signing_secret = secrets.token_hex(16)
        self.enterprise_id: str | None = None
        self.request_url: str | None = None
        self.options_url: str | None = None
        self._numbers = itertools.count(1)
        self._response_urls: dict[str, ResponseUrl] = {}
        self._socket_mode = SocketMode(self.app_id, self.bell)

    async def interaction(self, payload: JsonObject, *, request_url: str | None = None) -> Ack:
        """Deliver an interaction: a button, a view, a shortcut."""
        return await self._deliver("interactive", payload, request_url)

    async def send_event(
        self, event: JsonObject, *, event_id: str | None = None, retry: int = 0, reason: str = "http_timeout"
    ) -> Ack:
        """Deliver an event; with the `event_id` of an earlier one and a `retry` of 1 to 3, it is that one again.

        https://docs.slack.dev/apis/events-api#retries.
        """
        envelope: JsonObject = {
            "token": "deprecated",
            "team_id": self.team_id,
            "api_app_id": self.app_id,
            "event": event,
            "type": "event_callback",
            "event_id": event_id or self.new_event_id(),
            "event_time": int(self.clock()),
            "authorizations": [
                {
                    "enterprise_id": self.enterprise_id,
                    "team_id": self.team_id,
                    "user_id": self.bot_user_id,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": False,
            "context_team_id": self.team_id,
            "context_enterprise_id": self.enterprise_id,
        }
        return await self._deliver("events_api", envelope, retry=(retry, reason) if retry else None)

    def new_event_id(self) -> str:
        """Make the id of an event."""
        return f"Ev{secrets.token_hex(5).upper()}"

    async def verify_url(self) -> str:
        """Ask the app behind `request_url` whether it is one, and return the challenge as it echoes it.

        Raises LookupError without a `request_url`. https://docs.slack.dev/reference/events/url_verification
        """
        if self.request_url is None:
            raise LookupError("there is no request_url to verify")
        challenge: JsonObject = {
            "token": "deprecated",
            "challenge": secrets.token_urlsafe(),
            "type": "url_verification",
        }
        ack = await self._deliver("events_api", challenge)
        return text_of(ack.body.get("challenge")) or ack.text

    def sign(self, body: bytes, timestamp: str | None = None) -> dict[str, str]:
        """Make the headers of a form from Slack. https://docs.slack.dev/authentication/verifying-requests-from-slack.

        `timestamp` is in Unix seconds, now by default.
        """
        when = timestamp if timestamp is not None else str(int(self.clock()))
        digest = hmac.new(self.signing_secret.encode(), f"v0:{when}:".encode() + body, hashlib.sha256)
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": when,
            "X-Slack-Signature": f"v0={digest.hexdigest()}",
        }

    def new_response_url(
        self, channel: str, user: str, *, kind: str = "commands", original: Message | None = None
    ) -> str:
        """Make the response_url of an invocation that nobody need have made; `kind` is "actions" for a button's."""
        path = f"/{kind}/{self.team_id}/{next(self._numbers)}/{secrets.token_urlsafe()}"
        url = f"http://{self._server.host}{path}"
        self._response_urls[url] = ResponseUrl(channel, user, self.clock(), original)
        return url

    async def _deliver(
        self,
        kind: Kind,
        payload: JsonObject,
        request_url: str | None = None,
        *,
        retry: tuple[int, str] | None = None,
    ) -> Ack:
        url = request_url or self.request_url
        began = time.monotonic()
        status, raw, body, error = 0, b"", JsonObject(), ""
        try:
            async with timeout(self.ack_seconds):
                status, raw, body = await (
                    self._post(url, kind, payload, retry) if url else self._send(kind, payload, retry)
                )
        except TimeoutError:
            error = "operation_timeout"
        except (NotConnected, aiohttp.ClientError):
            error = "dispatch_failed"
        if status not in (0, 200):
            error = "dispatch_failed"
        return Ack(
            status,
            raw,
            body,
            time.monotonic() - began,
            text_of(payload.get("response_url")),
            text_of(payload.get("trigger_id")),
            error,
        )

    async def _send(
        self, kind: Kind, payload: JsonObject, retry: tuple[int, str] | None
    ) -> tuple[int, bytes, JsonObject]:
        envelope: JsonObject = {
            "envelope_id": str(uuid.uuid4()),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind == "slash_commands" or payload.get("type") in _ANSWERED,
        }
        if kind == "events_api":
            attempt, reason = retry or (0, "")
            envelope |= {"retry_attempt": attempt, "retry_reason": reason.removeprefix("http_")}
        answer = (await self._socket_mode.deliver(envelope)).get("payload")
        body = answer if isinstance(answer, dict) else {}
        return 200, json.dumps(answer).encode(), body

    async def _post(
        self, url: str, kind: Kind, payload: JsonObject, retry: tuple[int, str] | None
    ) -> tuple[int, bytes, JsonObject]:
        data, content_type = _encoded(kind, payload)
        headers = self.sign(data) | {"Content-Type": content_type}
        if retry is not None:
            headers |= {"X-Slack-Retry-Num": str(retry[0]), "X-Slack-Retry-Reason": retry[1]}
        async with aiohttp.request("POST", url, data=data, headers=headers, allow_redirects=False) as response:
            raw = await response.read()
            if response.content_type == "application/json":
                return response.status, raw, read_object(raw) or {}
            return response.status, raw, {"text": raw.decode(errors="replace")}


def _encoded(kind: Kind, payload: JsonObject) -> tuple[bytes, str]:
    """Write a payload as Slack posts its kind, and name the content type."""
    if kind == "events_api":
        return json.dumps(payload).encode(), "application/json"
    form: Mapping[str, object] = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
    return urlencode(form).encode(), "application/x-www-form-urlencoded"
