"""A Slack on this machine: Web API, response_url, Socket Mode and signed HTTP, over real sockets.

Knows nothing of the bot but the tokens and the secret that they share.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from bot.sandbox import web_api
from bot.sandbox.answers import Answer, Exchange, Json, RateLimited
from bot.sandbox.delivery import Ack, ResponseUrl
from bot.sandbox.faults import Faults
from bot.sandbox.loopback import Loopback, Served
from bot.sandbox.people import People
from bot.sandbox.wire import JsonObject, read_object, text_of
from bot.sandbox.workspace import Refused

__all__ = ["RESPONSE_URL", "Ack", "ApiCall", "SandboxSlack"]

RESPONSE_URL: Final = "response_url"

_YES = (True, "true")


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request to the Web API: `at` is in Unix seconds by the clock of the Slack."""

    method: str
    args: JsonObject
    token_ok: bool
    at: float


class SandboxSlack(Served, People):
    """A workspace that is served on loopback, with one app installed in it.

    Tokens, secret and ids are attributes, and may be changed.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, ack_seconds: float = 3.0) -> None:
        super().__init__(clock=clock, ack_seconds=ack_seconds)
        self.bot_token = f"xoxb-sandbox-{secrets.token_hex(8)}"
        self.app_token = f"xapp-sandbox-{secrets.token_hex(8)}"
        self.calls: list[ApiCall] = []
        self._faults = Faults()
        self._seconds_apart = 0.0
        self._last_post: dict[str, float] = {}
        self._server = Loopback(
            [
                web.post("/api/{method}", self._serve_api),
                web.get("/api/{method}", self._serve_api),
                web.post("/{kind:commands|actions|app}/{rest:.+}", self._serve_response_url),
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
        self._response_urls[response_url].spend()

    # Socket Mode

    @property
    def connections(self) -> int:
        """How many Socket Mode connections are open."""
        return self._socket_mode.connections

    async def wait_connected(self, n: int = 1, *, within: float = 30.0) -> None:
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
            refusal: JsonObject = {"ok": False, "error": refused.code}
            return refusal | ({"response_metadata": {"messages": [*refused.messages]}} if refused.messages else {})

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

    def _respond(self, target: ResponseUrl, content: JsonObject | None) -> web.StreamResponse:
        refusal = target.refusal(self.clock())
        if refusal:
            return _refuse(404, refusal)
        if content is None:
            return _refuse(400, "invalid_payload")
        try:
            self._publish(target, content)
        except Refused as refused:
            return _refuse(400, refused.code)
        target.uses += 1
        return web.json_response({"ok": True})

    def _publish(self, target: ResponseUrl, content: JsonObject) -> None:
        """Do as a response_url is told: say something, or change the message whose button was pressed.

        https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
        """
        if target.original is not None and content.get("delete_original") in _YES:
            self.delete(target.original)
        elif target.original is not None and content.get("replace_original") in _YES:
            self.replace(target.original, content)
        else:
            user = None if content.get("response_type") == "in_channel" else target.user
            self.say(target.channel, content, RESPONSE_URL, user=user)

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
