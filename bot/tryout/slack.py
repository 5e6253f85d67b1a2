"""A Slack on this machine: Web API, response_url, Socket Mode and signed HTTP, over real sockets.

Knows nothing of the bot but the tokens and the secret that they share.
"""

import asyncio
import hashlib
import hmac
import itertools
import json
import math
import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

import aiohttp
from aiohttp import web

from bot.tryout import web_api
from bot.tryout.answers import Answer, Exchange, Json, RateLimited
from bot.tryout.faults import Faults
from bot.tryout.loopback import Loopback, Served
from bot.tryout.socket_mode import NotConnected, SocketMode
from bot.tryout.wire import JsonObject, read_object, text_of
from bot.tryout.workspace import Refused, Workspace

# https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
_MOST_USES = 5
_MOST_AGE = 30 * 60

RESPONSE_URL: Final = "response_url"


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request to the Web API: `at` is in Unix seconds by the clock of the Slack."""

    method: str
    args: JsonObject
    token_ok: bool
    at: float


@dataclass(frozen=True, slots=True)
class Ack:
    """What became of one invocation: the app's answer, or Slack's own words where there was none.

    `status` is the HTTP status, 200 for an ack over Socket Mode, 0 without an answer; `seconds` is how long
    it took. `response_url` and `trigger_id` are those of the invocation.
    """

    status: int
    raw: bytes
    body: JsonObject
    seconds: float
    response_url: str
    trigger_id: str
    error: str = ""

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
        blocks = self.body.get("blocks")
        return [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []

    @property
    def timed_out(self) -> bool:
        """Whether the app let its three seconds pass."""
        return self.error == "operation_timeout"


@dataclass(slots=True)
class _ResponseUrl:
    channel: str
    user: str
    made_at: float
    uses: int = 0

    def refusal(self, now: float) -> str | None:
        """Say why it cannot be used at this time, if it cannot."""
        if self.uses >= _MOST_USES:
            return "used_url"
        return "expired_url" if now - self.made_at > _MOST_AGE else None


class TryoutSlack(Served, Workspace):
    """A workspace that is served on loopback, with one app installed in it.

    `ack_seconds` is how long an invocation waits for its ack. Tokens, secret and ids are attributes, and may
    be changed. With `request_url` set, invocations go there over HTTP, else over Socket Mode.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, ack_seconds: float = 3.0) -> None:
        super().__init__(clock=clock)
        self.ack_seconds = ack_seconds
        self.bot_token = f"xoxb-tryout-{secrets.token_hex(8)}"
        self.app_token = f"xapp-tryout-{secrets.token_hex(8)}"
        self.signing_secret = secrets.token_hex(16)
        self.team_id, self.app_id = "T0TRYOUT", "A0TRYOUT"
        self.bot_user_id, self.bot_id = "U0BOT", "B0BOT"
        self.enterprise_id: str | None = None
        self.request_url: str | None = None
        self.calls: list[ApiCall] = []
        self._faults = Faults()
        self._seconds_apart = 0.0
        self._last_post: dict[str, float] = {}
        self._response_urls: dict[str, _ResponseUrl] = {}
        self._numbers = itertools.count(1)
        self._socket_mode = SocketMode(self.app_id, self.bell)
        self._server = Loopback(
            [
                web.post("/api/{method}", self._serve_api),
                web.get("/api/{method}", self._serve_api),
                web.post("/commands/{rest:.+}", self._serve_response_url),
                web.get("/link/", self._socket_mode.serve),
            ]
        )

    @property
    def api_url(self) -> str:
        """The base of the Web API."""
        return f"http://{self._server.host}/api/"

    # What goes wrong

    def fail(self, where: str, answer: Answer | str, *, times: int | None = None, channel: str | None = None) -> None:
        """Make a method, or "response_url", answer so: with an error code of Slack's, or with any answer.

        It does so `times` times (None: until healed), for this channel only (None: for any). Several faults of
        one method queue up.
        """
        if isinstance(answer, str):
            status = 404 if where == RESPONSE_URL else 200
            answer = Json(status, {"ok": False, "error": answer})
        self._faults.add(where, answer, times, channel)

    def heal(self, where: str | None = None) -> None:
        """Forget the faults of one method, or of all."""
        self._faults.heal(where)

    def enforce_rate(self, per_channel_seconds: float = 1.0) -> None:
        """Answer 429 to a chat.postMessage that follows another in its channel sooner than this.

        https://docs.slack.dev/apis/web-api/rate-limits: about one message a second a channel.
        """
        self._seconds_apart = per_channel_seconds

    def spend(self, response_url: str) -> None:
        """Use a response_url up."""
        self._response_urls[response_url].uses = _MOST_USES

    # Socket Mode

    @property
    def connections(self) -> int:
        """How many Socket Mode connections are open."""
        return self._socket_mode.connections

    async def wait_connected(self, n: int = 1, *, within: float = 10.0) -> None:
        """Wait until at least n connections are open. Raises TimeoutError."""
        await self.bell.until(
            lambda: self.connections >= n, within, lambda: f"{self.connections} connections were open"
        )

    async def refresh(self, *, reason: str = "refresh_requested", grace: float = 10.0) -> None:
        """Ask the app to connect anew, and close the old connections once it did, or after `grace` seconds."""
        await self._socket_mode.refresh(reason, grace)

    async def cut(self) -> None:
        """Break every connection without a word."""
        await self._socket_mode.cut()

    def silence(self) -> None:
        """Leave the connections of now open, but say nothing on them any more, not even a pong."""
        self._socket_mode.silence()

    async def send_envelope(self, raw: JsonObject | str, *, within: float = 3.0) -> JsonObject | None:
        """Send anything at all over Socket Mode. Return the ack; None for text, or where none came."""
        if isinstance(raw, str):
            await self._socket_mode.send(raw)
            return None
        try:
            async with asyncio.timeout(within):
                return await self._socket_mode.deliver(raw)
        except TimeoutError:
            return None

    # Invocations

    async def command(
        self,
        text: str,
        *,
        user: str = "U0ADA",
        channel: str = "C0MODELS",
        command: str = "/reload-model",
        request_url: str | None = None,
        **fields: str,
    ) -> Ack:
        """Invoke a slash command, and return what the person sees first.

        `fields` replace or add to what Slack sends; with the `trigger_id` and `response_url` of an earlier
        ack, it is the same invocation again. https://docs.slack.dev/interactivity/implementing-slash-commands
        """
        form = self._invocation(text, user, channel, command) | fields
        if "response_url" not in form:
            form["response_url"] = self.new_response_url(channel, user)
        ack = await self._deliver("slash_commands", dict(form), form, request_url)
        if ack.error or not (ack.text or ack.blocks):
            return ack
        try:
            self.say(channel, ack.body, "ack", user=None if ack.response_type == "in_channel" else user)
        except Refused as refused:
            return replace(ack, error=refused.code)
        return ack

    async def interaction(self, payload: JsonObject, *, request_url: str | None = None) -> Ack:
        """Deliver an interaction: a button, a view, a shortcut."""
        return await self._deliver("interactive", payload, {"payload": json.dumps(payload)}, request_url)

    def sign(self, body: bytes, timestamp: str | None = None) -> dict[str, str]:
        """Make the headers of a request from Slack. https://docs.slack.dev/authentication/verifying-requests-from-slack.

        `timestamp` is in Unix seconds, now by default.
        """
        when = timestamp if timestamp is not None else str(int(self.clock()))
        digest = hmac.new(self.signing_secret.encode(), f"v0:{when}:".encode() + body, hashlib.sha256)
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": when,
            "X-Slack-Signature": f"v0={digest.hexdigest()}",
        }

    def _invocation(self, text: str, user: str, channel: str, command: str) -> dict[str, str]:
        fields = {
            "token": "deprecated",
            "team_id": self.team_id,
            "team_domain": "tryout",
            "channel_id": channel,
            "channel_name": self._channel_name(channel),
            "user_id": user,
            "user_name": self.users.get(user, user.lower()),
            "command": command,
            "text": text,
            "api_app_id": self.app_id,
            "is_enterprise_install": "false",
            "trigger_id": f"{next(self._numbers)}.{secrets.token_hex(16)}",
        }
        return fields | ({"enterprise_id": self.enterprise_id} if self.enterprise_id else {})

    def _channel_name(self, channel_id: str) -> str:
        """Name a channel as Slack does in an invocation, which keeps private names to itself."""
        if channel_id.startswith("D"):
            return "directmessage"
        channel = self.channels.get(channel_id)
        return channel.name if channel is not None and not channel.private else "privategroup"

    def new_response_url(self, channel: str, user: str) -> str:
        """Make the response_url of an invocation that nobody need have made."""
        path = f"/commands/{self.team_id}/{next(self._numbers)}/{secrets.token_urlsafe()}"
        url = f"http://{self._server.host}{path}"
        self._response_urls[url] = _ResponseUrl(channel, user, self.clock())
        return url

    async def _deliver(self, kind: str, payload: JsonObject, form: Mapping[str, str], request_url: str | None) -> Ack:
        url = request_url or self.request_url
        began = time.monotonic()
        status, raw, body, error = 0, b"", JsonObject(), ""
        try:
            async with asyncio.timeout(self.ack_seconds):
                status, raw, body = await (self._post(url, form) if url else self._send(kind, payload))
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

    async def _send(self, kind: str, payload: JsonObject) -> tuple[int, bytes, JsonObject]:
        envelope: JsonObject = {
            "envelope_id": str(uuid.uuid4()),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": True,
        }
        answer = (await self._socket_mode.deliver(envelope)).get("payload")
        body = answer if isinstance(answer, dict) else {}
        return 200, json.dumps(answer).encode(), body

    async def _post(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes, JsonObject]:
        data = urlencode(form).encode()
        headers = self.sign(data)
        async with aiohttp.request("POST", url, data=data, headers=headers, allow_redirects=False) as response:
            raw = await response.read()
            if response.content_type == "application/json":
                return response.status, raw, read_object(raw) or {}
            return response.status, raw, {"text": raw.decode(errors="replace")}

    # What the app asks for

    async def _serve_api(self, request: web.Request) -> web.StreamResponse:
        method, args = request.match_info["method"], await _args(request)
        expected = self.app_token if method == "apps.connections.open" else self.bot_token
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        denial = None if token == expected else "invalid_auth" if token else "not_authed"

        async def proceed() -> web.StreamResponse:
            return web.json_response(
                {"ok": False, "error": denial} if denial else self._call(method, args),
                headers={"X-OAuth-Scopes": ",".join(sorted(self.scopes))},
            )

        self._note(method, args, token_ok=denial is None)
        channel = text_of(args.get("channel"))
        answer = self._faults.strike(method, channel) or self._too_soon(method, channel)
        return await (answer.send(Exchange(request, proceed)) if answer else proceed())

    def _call(self, method: str, args: JsonObject) -> JsonObject:
        if method == "auth.test":
            return self._identity()
        if method == "apps.connections.open":
            return {"ok": True, "url": f"ws://{self._server.host}/link/?ticket={self._socket_mode.ticket()}"}
        try:
            return web_api.call(self, method, args)
        except Refused as refused:
            return {"ok": False, "error": refused.code}

    def _identity(self) -> JsonObject:
        identity: JsonObject = {
            "ok": True,
            "url": f"http://{self._server.host}/",
            "team": "Tryout",
            "user": "reload-model",
            "team_id": self.team_id,
            "user_id": self.bot_user_id,
            "bot_id": self.bot_id,
            "is_enterprise_install": False,
        }
        return identity | ({"enterprise_id": self.enterprise_id} if self.enterprise_id else {})

    def _too_soon(self, method: str, channel: str) -> Answer | None:
        if method != "chat.postMessage" or not self._seconds_apart:
            return None
        now = self.clock()
        if now - self._last_post.get(channel, -math.inf) < self._seconds_apart:
            return RateLimited(math.ceil(self._seconds_apart))
        self._last_post[channel] = now
        return None

    async def _serve_response_url(self, request: web.Request) -> web.StreamResponse:
        target = self._response_urls.get(f"http://{self._server.host}{request.path}")
        if target is None:
            return _refuse(404, "invalid_url")
        content = read_object(await request.read())

        async def proceed() -> web.StreamResponse:
            return self._respond(target, content)

        self._note(RESPONSE_URL, content or {}, token_ok=True)
        answer = self._faults.strike(RESPONSE_URL, target.channel)
        return await (answer.send(Exchange(request, proceed)) if answer else proceed())

    def _respond(self, target: _ResponseUrl, content: JsonObject | None) -> web.StreamResponse:
        refusal = target.refusal(self.clock())
        if refusal:
            return _refuse(404, refusal)
        if content is None:
            return _refuse(400, "invalid_payload")
        user = None if content.get("response_type") == "in_channel" else target.user
        try:
            self.say(target.channel, content, RESPONSE_URL, user=user)
        except Refused as refused:
            return _refuse(400, refused.code)
        target.uses += 1
        return web.json_response({"ok": True})

    def _note(self, method: str, args: JsonObject, *, token_ok: bool) -> None:
        self.calls.append(ApiCall(method, args, token_ok, self.clock()))
        self.bell.ring()


def _refuse(status: int, code: str) -> web.Response:
    return web.json_response({"ok": False, "error": code}, status=status)


async def _args(request: web.Request) -> JsonObject:
    """Read the arguments of a method: from the query, and from a body of JSON or of form fields."""
    body = await request.read()
    args: JsonObject = dict(request.query)
    if request.content_type == "application/json":
        return args | (read_object(body) or {})
    return args | dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
