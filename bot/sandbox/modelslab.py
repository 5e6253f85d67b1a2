"""A ModelsLab on this machine: its Reload Model endpoint, its list of models, and the balance.

Knows nothing of the bot but the key.

What it answers is what ModelsLab documents, at https://docs.modelslab.com and in the ModelsLab/docs-v2 repository.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from bot.sandbox.answers import Answer, Exchange, Json, Raw
from bot.sandbox.bell import Bell
from bot.sandbox.faults import Faults
from bot.sandbox.loopback import Loopback, Served
from bot.sandbox.wire import JsonObject, read_object, text_of


def error(status: int, message: object, **fields: object) -> Json:
    """Make an error as ModelsLab words it."""
    return Json(status, {"status": "error", "message": message, **fields})


ACCEPTED = Json(200, {"status": "success", "message": "Model is reloading"})
BALANCE = Json(200, {"status": "success", "data": {"balance": 43.6, "currency": "USD"}})
SAME_REQUEST = error(
    200,
    "Rate limit exceeded",
    tips="you are sending same request multiple times, spam filter is enabled, "
    "please wait for 30 seconds and try again",
)
_LIST_PATH = "/api/v4/dreambooth/model_list"
_BUSY = error(429, "Rate limit exceeded. Maximum 5 queued requests allowed.", retry_after=3)
_BROKEN = error(500, "Internal server error. Please try again.")
_ERROR_PAGE = Raw(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>")


@dataclass(frozen=True, slots=True)
class Pretend:
    """A model that misbehaves: how, in words for a person, and the answers in their order; the last one stays."""

    what: str
    answers: tuple[Answer, ...]


_UNKNOWN = "no-such-model"
PRETEND: Mapping[str, Pretend] = {
    _UNKNOWN: Pretend("is not known to ModelsLab", (error(200, f"Model not found: {_UNKNOWN}"),)),
    "bad-key": Pretend("meets a key that was revoked", (error(401, "Invalid API key"),)),
    "no-credits": Pretend(
        "costs more than there is",
        (error(402, "Insufficient credits. Please add more credits to continue."),),
    ),
    "premium-only": Pretend("wants another plan", (error(403, "This feature requires a premium subscription"),)),
    "busy": Pretend("meets a full queue, and is accepted 3 seconds later", (_BUSY, ACCEPTED)),
    "broken": Pretend("meets two server errors, and is accepted then", (_BROKEN, _BROKEN, ACCEPTED)),
    "html": Pretend("meets an error page of a proxy, and is accepted then", (_ERROR_PAGE, ACCEPTED)),
}


@dataclass(frozen=True, slots=True)
class ReloadCall:
    """One request to reload a model: `at` is in Unix seconds by the clock of the ModelsLab."""

    model_id: str
    key_ok: bool
    at: float
    body: JsonObject


class SandboxModelsLab(Served):
    """A ModelsLab that is served on loopback.

    `wallet` answers a request for the balance. `models` are those that it lists besides the pretend ones, of which
    one is unknown to it; `list_calls` counts how often it was asked to. With `spam_filter` set, a call for a model
    that is being called already is refused as the same request.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, spam_filter: bool = False) -> None:
        self.key = f"key-{secrets.token_hex(16)}"
        self.calls: list[ReloadCall] = []
        self.in_flight_max = 0
        self.spam_filter = spam_filter
        self._clock = clock
        self._bell = Bell()
        self._answers = {name: list(pretend.answers) for name, pretend in PRETEND.items()}
        self._in_flight: Counter[str] = Counter()
        self.wallet: Answer = BALANCE
        self.models: list[str] = ["flux", "midjourney", "sdxl"]
        self.list_calls = 0
        self._faults = Faults()
        self._server = Loopback(
            [
                web.post("/api/v6/images/model_reload", self._serve),
                web.post("/api/wallet_balance", self._serve_balance),
                web.post(_LIST_PATH, self._serve_list),
            ]
        )

    @property
    def url(self) -> str:
        """The base to which the path of the endpoint is joined."""
        return f"http://{self._server.host}"

    def answer(self, model_id: str, *answers: Answer) -> None:
        """Answer calls for this model so, in this order; the last answer stays. Without any, accept them."""
        self._answers[model_id] = list(answers)

    def fail_list(self, answer: Answer, times: int | None = None) -> None:
        """Answer a request for the list so: as many times, or with None for ever."""
        self._faults.add(_LIST_PATH, answer, times, None)

    async def wait_for_calls(self, n: int, *, within: float = 30.0) -> None:
        """Wait until n calls have come in all. Raises TimeoutError."""
        await self._bell.until(
            lambda: len(self.calls) >= n, within, lambda: f"calls came for {[c.model_id for c in self.calls]}"
        )

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = read_object(await request.read()) or {}
        model_id, key_ok = text_of(body.get("model_id")), body.get("key") == self.key
        self.calls.append(ReloadCall(model_id, key_ok, self._clock(), body))
        self._in_flight[model_id] += 1
        self.in_flight_max = max(self.in_flight_max, self._in_flight.total())
        self._bell.ring()
        try:
            return await self._answer(body, model_id, request)
        finally:
            self._in_flight -= Counter((model_id,))  # keeps those only that are in flight

    async def _serve_balance(self, request: web.Request) -> web.StreamResponse:
        body = read_object(await request.read()) or {}
        return await (self._stranger(body) or self.wallet).send(_exchange(request, BALANCE))

    async def _serve_list(self, request: web.Request) -> web.StreamResponse:
        self.list_calls += 1
        self._bell.ring()
        listed = Json(200, [_listed(name) for name in sorted({*self.models, *PRETEND} - {_UNKNOWN})])
        body = read_object(await request.read()) or {}
        fault = self._faults.strike(_LIST_PATH, "")
        return await (fault or self._stranger(body) or listed).send(_exchange(request, listed))

    async def _answer(self, body: JsonObject, model_id: str, request: web.Request) -> web.StreamResponse:
        answer = self._fault(body, request.content_type) or self._next(model_id)
        return await answer.send(_exchange(request, ACCEPTED))

    def _fault(self, body: JsonObject, content_type: str) -> Answer | None:
        """Find what is wrong with a request in itself."""
        if content_type != "application/json" or not text_of(body.get("model_id")):
            return error(400, "model_id is required")
        unknown = sorted(body.keys() - {"key", "model_id"})
        if unknown:
            return error(400, {name: [f"The {name} field is unknown."] for name in unknown})
        return self._stranger(body)

    def _stranger(self, body: JsonObject) -> Answer | None:
        if body.get("key") != self.key:
            return error(401, "Invalid API key" if "key" in body else "API key required")
        return None

    def _next(self, model_id: str) -> Answer:
        if self.spam_filter and self._in_flight[model_id] > 1:
            return SAME_REQUEST
        answers = self._answers.get(model_id) or [ACCEPTED]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def _listed(model_id: str) -> JsonObject:
    return {
        "model_id": model_id,
        "status": "model_ready",
        "model_name": model_id.replace("-", " ").title(),
        "created_at": "2023-04-01T12:00:00.000000Z",
        "description": f"The model {model_id} of the sandbox.",
        "screenshots": "",
    }


def _exchange(request: web.Request, ordinary: Answer) -> Exchange:
    async def proceed() -> web.StreamResponse:
        return await ordinary.send(exchange)

    exchange = Exchange(request, proceed)
    return exchange
