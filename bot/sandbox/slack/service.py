"""A Slack on this machine: Web API, response_url, Socket Mode and signed HTTP, over real sockets."""

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from bot.sandbox.answers import Answer, Exchange, Json
from bot.sandbox.server import Server
from bot.sandbox.slack import web_api
from bot.sandbox.slack.delivery import Ack, ResponseUrl
from bot.sandbox.slack.people import People
from bot.sandbox.wire import ApiError, JsonObject, read_object

__all__ = ["RESPONSE_URL", "Ack", "ApiCall", "SandboxSlack"]

RESPONSE_URL: Final = "response_url"

_RESPONSE_URL_USES = 5
_RESPONSE_URL_SECONDS = 30 * 60
"""https://docs.slack.dev/interactivity/handling-user-interaction#message_responses"""


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request to the Web API: `at` is in Unix seconds by the clock of the Slack."""

    method: str
    args: JsonObject
    token_ok: bool
    at: float


@dataclass(slots=True)
class _Fault:
    where: str
    answer: Answer
    times: int | None
    channel: str | None


class SandboxSlack(People, Server):
    """A workspace with one app installed in it. `calls` are all requests of that app."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        People.__init__(self, clock=clock)
        self.bot_token = f"xoxb-sandbox-{secrets.token_hex(8)}"
        self.app_token = f"xapp-sandbox-{secrets.token_hex(8)}"
        self.calls: list[ApiCall] = []
        self._faults: list[_Fault] = []
        routes = [web.post("/api/{method}", self._serve_api), web.get("/api/{method}", self._serve_api)]
        routes.append(web.post("/{kind:commands|actions|app}/{rest:.+}", self._serve_response_url))
        routes.append(web.get("/link/", self.socket_mode.serve))
        Server.__init__(self, routes)

    @property
    def api_url(self) -> str:
        """The base of the Web API."""
        return f"http://{self.host}/api/"

    @property
    def connections(self) -> int:
        """How many Socket Mode connections are open."""
        return len(self.socket_mode.open)

    def fail(self, where: str, answer: Answer | str, *, times: int | None = None, channel: str | None = None) -> None:
        """Make a method, or "response_url", answer with an error code or anything else, `times` None until healed."""
        if isinstance(answer, str):
            answer = Json(404 if where == RESPONSE_URL else 200, _no(answer))
        self._faults.append(_Fault(where, answer, times, channel))

    def heal(self, where: str | None = None) -> None:
        """Forget the faults of one method, or of all."""
        self._faults = [fault for fault in self._faults if where not in (None, fault.where)]

    def spend(self, response_url: str) -> None:
        """Make a response_url expire."""
        self._response_urls[response_url].made_at = -math.inf

    async def _serve_api(self, request: web.Request) -> web.StreamResponse:
        method, args = request.match_info["method"], await _args(request)
        expected = self.app_token if method == "apps.connections.open" else self.bot_token
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")

        async def proceed() -> web.StreamResponse:
            if request.method == "POST" and request.content_type not in _CONTENT_TYPES:
                return web.json_response(_no("invalid_post_type"))
            answer = self._call(method, args) if token == expected else _no("invalid_auth" if token else "not_authed")
            return web.json_response(answer, headers={"X-OAuth-Scopes": ",".join(sorted(self.scopes))})

        self._note(method, args, token_ok=token == expected)
        return await self._answer(method, args.get("channel", ""), Exchange(request, proceed))

    def _call(self, method: str, args: JsonObject) -> JsonObject:
        if method == "apps.connections.open":
            return {"ok": True, "url": f"ws://{self.host}/link/?ticket={self.socket_mode.ticket()}"}
        try:
            return web_api.call(self, method, args)
        except ApiError as refused:
            return _no(refused.code, *refused.messages)

    async def _serve_response_url(self, request: web.Request) -> web.StreamResponse:
        content = read_object(await request.read()) or {}
        target = self._response_urls.get(f"http://{self.host}{request.path}")
        if target is None:
            return web.json_response(_no("invalid_url"), status=404)

        async def proceed() -> web.StreamResponse:
            return self._respond(target, content)

        self._note(RESPONSE_URL, content, token_ok=True)
        return await self._answer(RESPONSE_URL, target.channel, Exchange(request, proceed))

    def _respond(self, target: ResponseUrl, content: JsonObject) -> web.StreamResponse:
        """Say something as a response_url does: by default to the one person only."""
        expired = self.clock() - target.made_at > _RESPONSE_URL_SECONDS
        if expired or target.uses >= _RESPONSE_URL_USES:
            return web.json_response(_no("expired_url" if expired else "used_url"), status=404)
        try:
            user = None if content.get("response_type") == "in_channel" else target.user
            self.say(target.channel, content, RESPONSE_URL, user=user, thread_ts=content.get("thread_ts"))
        except ApiError as refused:
            return web.json_response(_no(refused.code), status=400)
        target.uses += 1
        return web.json_response({"ok": True})

    async def _answer(self, where: str, channel: str, exchange: Exchange) -> web.StreamResponse:
        """Give a request the answer of the first fault that is meant for it, or else the ordinary one."""
        for fault in self._faults:
            if fault.where == where and fault.times != 0 and fault.channel in (None, channel):
                fault.times = fault.times and fault.times - 1
                return await fault.answer.send(exchange)
        return await exchange.proceed()

    def _note(self, method: str, args: JsonObject, *, token_ok: bool) -> None:
        self.calls.append(ApiCall(method, args, token_ok, self.clock()))
        self.changes.notify()


def _no(code: str, *messages: str) -> JsonObject:
    """Slack's answer to what it refuses: https://docs.slack.dev/apis/web-api#responses."""
    answer: JsonObject = {"ok": False, "error": code}
    return answer | ({"response_metadata": {"messages": messages}} if messages else {})


_CONTENT_TYPES = ("application/json", "application/x-www-form-urlencoded")
"""https://docs.slack.dev/apis/web-api/"""


async def _args(request: web.Request) -> JsonObject:
    """Read the arguments of a method: from the query, and from a body of JSON or of form fields."""
    body = await request.read()
    if request.content_type == "application/json":
        return {**request.query, **(read_object(body) or {})}
    return {**request.query, **dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))}
