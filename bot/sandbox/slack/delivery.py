"""How Slack reaches the app, over Socket Mode or by signed HTTP, and the response_urls by which the app answers."""

import hashlib
import hmac
import json
import secrets
import uuid
from asyncio import timeout
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

import aiohttp

from bot.sandbox.slack.socket_mode import SocketMode
from bot.sandbox.slack.surfaces import Surfaces
from bot.sandbox.slack.workspace import Message
from bot.sandbox.wire import JsonObject, read_object

_ANSWERED = ("view_submission", "block_suggestion")
"""The interactions to which Slack takes an answer: https://docs.slack.dev/apis/events-api/using-socket-mode."""

Kind = Literal["slash_commands", "interactive", "events_api"]


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of one invocation: the app's answer, or Slack's error where there was none.

    `status` is the HTTP status, 200 for an ack over Socket Mode, 0 without an answer. `response_url` and `trigger_id`
    are those of the invocation. `message` is what the answer became.
    """

    status: int
    raw: bytes
    body: JsonObject
    response_url: str
    trigger_id: str
    error: str = ""
    message: Message | None = None

    @property
    def text(self) -> str:
        """What the person reads: the app's text, or Slack's error."""
        return self.error or self.body.get("text") or ""

    @property
    def response_type(self) -> str:
        """Who sees it; by default only the person who invoked the command."""
        return self.body.get("response_type") or "ephemeral"


@dataclass(slots=True)
class ResponseUrl:
    """A URL for messages to one channel, on behalf of one person."""

    channel: str
    user: str
    made_at: float
    uses: int = 0


class Delivery(Surfaces):
    """A workspace that can reach its app: by HTTP at `request_url` if that is set, else over Socket Mode."""

    host: str

    ack_seconds = 3.0
    """How long the app can take to answer."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.signing_secret = secrets.token_hex(16)
        self.request_url: str | None = None
        self._response_urls: dict[str, ResponseUrl] = {}
        self.socket_mode = SocketMode(self.app_id, self.changes)

    async def send_event(self, event: JsonObject, **overrides: object) -> Ack:
        """Deliver an event, and again where it isn't taken. https://docs.slack.dev/apis/events-api#retries."""
        ids = {"team_id": self.team_id, "api_app_id": self.app_id, "event_id": f"Ev{secrets.token_hex(5).upper()}"}
        bot = {"enterprise_id": self.enterprise_id, "team_id": self.team_id, "user_id": self.bot_user_id}
        wrapped = ids | {
            "type": "event_callback",
            "token": "deprecated",
            "event": event,
            "event_time": int(self.clock()),
            "authorizations": [bot | {"is_bot": True, "is_enterprise_install": False}],
        }
        wrapped |= overrides
        ack = await self.deliver("events_api", wrapped)
        if not ack.error:
            return ack
        return await self.deliver("events_api", wrapped, retry="http_error" if ack.status else "timeout")

    async def deliver(self, kind: Kind, payload: JsonObject, *, request_url: str | None = None, retry: str = "") -> Ack:
        """Send a payload to the app, and return what it answers; `retry` is why it has to be sent again."""
        url = request_url or self.request_url
        status, raw, body, error = 0, b"", JsonObject(), ""
        try:
            async with timeout(self.ack_seconds):
                sending = self._post(url, kind, payload, retry) if url else self._send(kind, payload, retry)
                status, raw, body = await sending
        except TimeoutError:
            error = "operation_timeout"
        except (ConnectionError, aiohttp.ClientError):
            error = "dispatch_failed"
        if status not in (0, 200):
            error = "dispatch_failed"
        response_url, trigger_id = payload.get("response_url", ""), payload.get("trigger_id", "")
        return Ack(status, raw, body, response_url, trigger_id, error)

    def sign(self, body: bytes, timestamp: str | None = None) -> dict[str, str]:
        """Make the headers of a signed form: https://docs.slack.dev/authentication/verifying-requests-from-slack."""
        when = str(int(self.clock())) if timestamp is None else timestamp
        digest = hmac.new(self.signing_secret.encode(), f"v0:{when}:".encode() + body, hashlib.sha256).hexdigest()
        signed = {"X-Slack-Request-Timestamp": when, "X-Slack-Signature": f"v0={digest}"}
        return {"Content-Type": "application/x-www-form-urlencoded"} | signed

    def new_response_url(self, channel: str, user: str, *, kind: str = "commands") -> str:
        """Make a response_url; `kind` is "actions" for a button's and "app" for a modal's."""
        url = f"http://{self.host}/{kind}/{self.team_id}/{secrets.token_urlsafe()}"
        self._response_urls[url] = ResponseUrl(channel, user, self.clock())
        return url

    async def _send(self, kind: Kind, payload: JsonObject, retry: str) -> tuple[int, bytes, JsonObject]:
        answered = kind == "slash_commands" or payload.get("type") in _ANSWERED
        envelope = {"envelope_id": str(uuid.uuid4()), "type": kind, "accepts_response_payload": answered}
        if kind == "events_api":
            envelope |= {"retry_attempt": int(bool(retry)), "retry_reason": retry}
        answer = (await self.socket_mode.deliver(envelope | {"payload": payload})).get("payload")
        return 200, json.dumps(answer).encode(), answer if isinstance(answer, dict) else {}

    async def _post(self, url: str, kind: Kind, payload: JsonObject, retry: str) -> tuple[int, bytes, JsonObject]:
        form: Mapping[str, object] = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
        data = json.dumps(payload).encode() if kind == "events_api" else urlencode(form).encode()
        headers = self.sign(data) | ({"Content-Type": "application/json"} if kind == "events_api" else {})
        headers |= {"X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": retry} if retry else {}
        async with aiohttp.request("POST", url, data=data, headers=headers, allow_redirects=False) as response:
            raw = await response.read()
            if response.content_type == "application/json":
                return response.status, raw, read_object(raw) or {}
            return response.status, raw, {"text": raw.decode(errors="replace")}
