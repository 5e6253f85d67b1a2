"""A ModelsLab on this machine: its Reload Model endpoint, its lists of models, and the balance.

What it answers is what ModelsLab documents, at https://docs.modelslab.com and in the ModelsLab/docs-v2 repository.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from bot.sandbox.answers import Answer, Exchange, Json
from bot.sandbox.changes import Changes
from bot.sandbox.server import Server
from bot.sandbox.wire import JsonObject, read_object


def error(status: int, message: object, **fields: object) -> Json:
    """Make an error as ModelsLab words it."""
    return Json(status, {"status": "error", "message": message, **fields})


ACCEPTED = Json(200, {"status": "success", "message": "Model is reloading"})
BALANCE = Json(200, {"status": "success", "data": {"balance": 43.6, "currency": "USD"}})
_TIPS = "you are sending same request multiple times, spam filter is enabled, please wait for 30 seconds and try again"
_FAILED = error(500, "Internal server error. Please try again.")
SAME_REQUEST = error(200, "Rate limit exceeded", tips=_TIPS)

OWN_MODELS = ("our-mascot", "product-shots")

MISBEHAVING: Mapping[str, tuple[str, Sequence[Answer]]] = {
    "bad-key": ("is refused, as if the API key had been revoked", [error(401, "Invalid API key")]),
    "no-credits": ("costs too much", [error(402, "Insufficient credits. Please add more credits to continue.")]),
    "busy": (
        "meets a full queue, and is accepted 3 seconds later",
        [error(429, "Rate limit exceeded. Maximum 5 queued requests allowed.", retry_after=3), ACCEPTED],
    ),
    "broken": ("meets two server errors, and is accepted then", [_FAILED, _FAILED, ACCEPTED]),
}
"""How some models behave: in words, and by their answers in order, of which the last one stays."""


@dataclass(frozen=True, slots=True)
class ReloadCall:
    """One request to reload a model: `at` is in Unix seconds."""

    model_id: str
    at: float
    body: JsonObject


class SandboxModelsLab(Server):
    """A ModelsLab that accepts any model but "no-such-model", or with `strict` only those that it lists.

    `models` are the public ones that it lists, `own_models` the account's own. `lists` has other answers, for the list
    "public" or "own"; `wallet` answers a request for the balance. `calls` are all requests to reload a model,
    `in_flight_max` is how many there were at once.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.key = f"key-{secrets.token_hex(16)}"
        self.models: list[str] = ["flux", "midjourney", "sdxl"]
        self.own_models: list[str] = [*OWN_MODELS]
        self.wallet: Answer = BALANCE
        self.lists: dict[str, Answer] = {}
        self.calls: list[ReloadCall] = []
        self.in_flight_max = 0
        self._strict = strict
        self._changes = Changes()
        self._answers = {name: list(answers) for name, (_, answers) in MISBEHAVING.items()}
        self._in_flight = 0
        super().__init__(
            [
                web.post("/api/v6/images/model_reload", self._serve_reload),
                web.post("/api/wallet_balance", self._keyed(lambda: self.wallet)),
                web.post("/api/v4/dreambooth/model_list", self._keyed(self._listed)),
                web.post("/api/v3/finetune_list", self._keyed(self._listed_own)),
            ]
        )

    @property
    def url(self) -> str:
        """The base to which the path of an endpoint is joined."""
        return f"http://{self.host}"

    def answer(self, model_id: str, *answers: Answer) -> None:
        """Answer calls for this model with these, in order; the last one stays. Without any, accept them."""
        self._answers[model_id] = list(answers)

    async def wait_for_calls(self, n: int, *, within: float = 30.0) -> None:
        """Wait until n calls have come in all. Raises TimeoutError."""
        await self._changes.until(lambda: len(self.calls) >= n, within, lambda: f"{len(self.calls)} calls came")

    async def _serve_reload(self, request: web.Request) -> web.StreamResponse:
        body = read_object(await request.read()) or {}
        model_id = body.get("model_id") or ""
        self.calls.append(ReloadCall(model_id, time.time(), body))
        self._in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self._in_flight)
        self._changes.notify()
        try:
            return await _answer(request, self._stranger(body) or self._next(model_id))
        finally:
            self._in_flight -= 1

    def _keyed(self, answer: Callable[[], Answer]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Serve an endpoint that takes nothing but the key."""

        async def serve(request: web.Request) -> web.StreamResponse:
            return await _answer(request, self._stranger(read_object(await request.read()) or {}) or answer())

        return serve

    def _listed(self) -> Answer:
        names = sorted({*self.models, *MISBEHAVING})
        return self.lists.get("public") or Json(200, [{"model_id": name, "status": "model_ready"} for name in names])

    def _listed_own(self) -> Answer:
        return self.lists.get("own") or Json(
            200, {"status": "success", "messege": "model list", "data": self.own_models}
        )

    def _stranger(self, body: JsonObject) -> Answer | None:
        if body.get("key") != self.key:
            return error(401, "Invalid API key" if "key" in body else "API key required")
        return None

    def _next(self, model_id: str) -> Answer:
        if not model_id:
            return error(400, "model_id is required")
        if answers := self._answers.get(model_id):
            return answers.pop(0) if len(answers) > 1 else answers[0]
        known = model_id in (*self.models, *self.own_models) if self._strict else model_id != "no-such-model"
        return ACCEPTED if known else error(200, f"Model not found: {model_id}")


async def _answer(request: web.Request, answer: Answer) -> web.StreamResponse:
    exchange = Exchange(request, lambda: ACCEPTED.send(exchange))
    return await answer.send(exchange)
