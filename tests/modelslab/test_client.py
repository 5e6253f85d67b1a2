"""What ModelsLab answers is an acceptance, a refusal, or neither: then the outcome is unknown."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable
from unittest.mock import create_autospec

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from bot.errors import Failure, ModelsLabError, ModelsLabPermanentError, ModelsLabRetryableError
from bot.modelslab.client import ModelsLab
from bot.modelslab.lists import ModelList
from bot.sandbox.modelslab import SandboxModelsLab, error
from bot.settings import read
from tests.answers import AWAY, BIG, DEEP, AcceptThenReset, Answer, Drip, HalfAnswer, Hang, Json, Raw, Reset

Shape = tuple[type[ModelsLabError], Failure, str, bool, float | None]
"""All that a failure says: again or not, why, in whose words, whether it may have worked, and the wait."""


@pytest.fixture
async def client(modelslab: SandboxModelsLab) -> AsyncIterator[ModelsLab]:
    """The client under test, with a session as the bot makes it."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield ModelsLab(session, read({"MODELSLAB_URL": modelslab.url, "MODELSLAB_API_KEY": modelslab.key})[0])


async def failed(call: Awaitable[object]) -> Shape:
    """How a request fails."""
    with pytest.raises(ModelsLabError) as raised:
        await call
    failure = raised.value
    wait = failure.wait if isinstance(failure, ModelsLabRetryableError) else None
    return type(failure), failure.failure, failure.said, failure.unknown, wait


def final(failure: Failure, said: str, *, unknown: bool = False) -> Shape:
    """A failure that is not tried again."""
    return ModelsLabPermanentError, failure, said, unknown, None


def down(said: str, *, unknown: bool = True, wait: float | None = None) -> Shape:
    """A service that fails, and is tried again."""
    return ModelsLabRetryableError, Failure.DOWN, said, unknown, wait


def limited(said: str, wait: float) -> Shape:
    """A rate limit, after which the call is tried again."""
    return ModelsLabRetryableError, Failure.RATE_LIMIT, said, False, wait


def no_answer(said: str, *, unknown: bool = True) -> Shape:
    """An answer that did not come, so that the call is tried again."""
    return ModelsLabRetryableError, Failure.NO_ANSWER, said, unknown, None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        # Success and processing, with any 2xx, whatever the type, the encoding or the message.
        (Json(200, {"status": "success", "messege": "Model is reloading"}), ""),
        (Json(200, {"status": "processing", "message": "queued"}), ""),
        (Json(201, {"status": "Success"}), ""),
        (Json(202, {"status": "processing", "message": "Rate limit exceeded"}), ""),
        (Raw(200, b'\xef\xbb\xbf{"status": "success"}', "text/html"), ""),
        (Raw(200, b'{"status": "success", "message": "\xff"}', "application/json"), ""),
        (Drip(b'{"status": "success"}', 0), ""),
        # An error that says nothing but that the model is loading or loaded, whatever the status.
        (Json(200, {"status": "error", "messege": "Model already loaded."}), "Model already loaded."),
        (Json(200, {"message": "Model is reloading"}), "Model is reloading"),
        (Json(400, {"status": "failed", "message": "This model is loading"}), "This model is loading"),
        (Json(409, {"status": "error", "message": {"model_id": ["It is being loaded."]}}), "It is being loaded."),
        (error(503, "Model is loading, try again later"), "Model is loading, try again later"),
        *(
            (error(200, said), said)
            for said in (
                "sdxl is already loaded",
                "Model sdxl is already loaded!",
                "reload already in progress",
                "Reload is queued",
                "Your model has already been reloaded.",
                "Model is currently being loaded, please wait",
                "The model is being reloaded. Please try again in 2 minutes.",
            )
        ),
    ],
    ids=repr,
)
async def test_a_reload_is_accepted_or_under_way(
    modelslab: SandboxModelsLab, client: ModelsLab, answer: Answer, said: str
) -> None:
    """What ModelsLab says about one that is under way is passed on."""
    modelslab.answer("sdxl", answer)

    assert await client.reload("sdxl") == said
    assert len(modelslab.calls) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        # A refusal is final: every documented error, and older shapes, in ModelsLab's own words if it has any.
        (error(400, "prompt is required"), final(Failure.REFUSED, "prompt is required")),
        (error(401, "Invalid API key"), final(Failure.KEY, "Invalid API key")),
        (error(402, "Insufficient credits."), final(Failure.CREDITS, "Insufficient credits.")),
        (error(403, "A premium subscription"), final(Failure.PLAN, "A premium subscription")),
        (error(404, "Model not found: sdxl"), final(Failure.UNKNOWN_MODEL, "Model not found: sdxl")),
        (error(200, "API key required"), final(Failure.KEY, "API key required")),
        (error(200, "Model id not found"), final(Failure.UNKNOWN_MODEL, "Model id not found")),
        (error(200, "model_id does not exist"), final(Failure.UNKNOWN_MODEL, "model_id does not exist")),
        (error(200, "Please upgrade your plan"), final(Failure.PLAN, "Please upgrade your plan")),
        (
            error(422, {"model_id": ["The selected model id is invalid."]}),
            final(Failure.UNKNOWN_MODEL, "The selected model id is invalid."),
        ),
        (error(200, "Invalid Api Key", tip="1. Make sure"), final(Failure.KEY, "Invalid Api Key 1. Make sure")),
        (
            error(200, {"prompt": ["It is required.", "It is short."], "key": ["Bad."]}, tips=["a", "b"]),
            final(Failure.REFUSED, "It is required. It is short. Bad. a b"),
        ),
        (error(400, "Bad image, try again"), final(Failure.REFUSED, "Bad image, try again")),
        (Json(200, {"status": "error", "message": None, "messege": "No"}), final(Failure.REFUSED, "No")),
        (Json(200, {"status": "error"}), final(Failure.REFUSED, "HTTP 200")),
        (Json(401, {"status": "success"}), final(Failure.KEY, "HTTP 401")),
        (Json(404, {"status": "success", "message": "odd"}), final(Failure.REFUSED, "odd")),
        # One that speaks of loading is a refusal, if it says anything else besides.
        *(
            (error(200, said), final(Failure.REFUSED, " ".join(said.split())))
            for said in (
                "The model is not loaded",
                "Maximum number of models already loaded on your plan",
                "You can not reload, 5 models are being loaded. Upgrade your limit",
                "Another model is being loaded",
                "Nothing is loaded",
                "Model can't already loaded",
                "Model is already loaded, please wait for another model",
                "Model is already loaded.\nIt failed",
            )
        ),
        # Without its own status, the HTTP one decides: a proxy's or a firewall's page says nothing of the account.
        (Json(401, {"message": "Unauthenticated."}), final(Failure.KEY, "Unauthenticated.")),
        (Json(401, {"error": "Unauthenticated."}), final(Failure.KEY, "Unauthenticated.")),
        (Json(422, {"message": "No.", "errors": {"model_id": ["Too long."]}}), final(Failure.REFUSED, "No. Too long.")),
        (Json(405, {"message": "Not supported."}), final(Failure.NO_SENSE, "Not supported.")),
        (Json(404, {"detail": "Not Found"}), final(Failure.NO_SENSE, "Not Found")),
        (Json(403, {"message": "Forbidden"}), final(Failure.PLAN, "Forbidden")),
        (Json(402, {"messege": "Pay"}), final(Failure.CREDITS, "Pay")),
        (Json(200, {"message": "Invalid API key"}), final(Failure.KEY, "Invalid API key")),
        (Json(401, {}), final(Failure.NO_SENSE, "HTTP 401")),
        *((Raw(code, b"<h1>Blocked</h1>"), final(Failure.NO_SENSE, f"HTTP {code}")) for code in (401, 403, 404, 407)),
        (AWAY, final(Failure.NO_SENSE, "HTTP 307")),
        # An answer that makes no sense may have been an acceptance: the call is not made again.
        *(
            (answer, final(Failure.NO_SENSE, "HTTP 200", unknown=True))
            for answer in (
                Raw(200, b""),
                Raw(200, b"<html>Welcome</html>"),
                Raw(200, b'["status", "success"]', "application/json"),
                Raw(200, b'{"status": "success"', "application/json"),
                Raw(200, json.dumps({"status": "success"}).encode("utf-16"), "application/json; charset=utf-16"),
                Raw(200, gzip.compress(b'{"status": "success"}', mtime=0), headers={"Content-Encoding": "gzip"}),
                DEEP,
                BIG,
            )
        ),
        (Json(200, {"status": "", "message": "hm"}), final(Failure.NO_SENSE, "hm", unknown=True)),
        # So may one with a status that nobody knows.
        *(
            (Json(200, {"status": status, "message": "hm"}), final(Failure.REFUSED, "hm", unknown=True))
            for status in (["success"], "queued", True)
        ),
        (Json(200, {"status": False, "message": "hm"}), final(Failure.REFUSED, "hm")),
        # A service that fails may be asked again. Unless it says so itself, a gateway may have given up on it.
        (error(500, "Internal server error."), down("Internal server error.", unknown=False)),
        (error(503, "Service unavailable."), down("Service unavailable.", unknown=False)),
        (error(500, "Invalid API key"), down("Invalid API key", unknown=False)),
        (error(200, "Server busy, try again later"), down("Server busy, try again later", unknown=False)),
        (Json(200, {"status": "failed", "message": "Failed, Try Again"}), down("Failed, Try Again")),
        (Json(500, {"status": "success"}), down("HTTP 500")),
        (Json(500, {"status": "error"}), down("HTTP 500")),
        (Json(503, {"message": "upstream"}), down("upstream")),
        (error(502, "Bad gateway"), down("Bad gateway")),
        (error(408, "Timeout"), down("Timeout")),
        *((Raw(status, b"<h1>Oops</h1>"), down(f"HTTP {status}")) for status in (408, 500, 502, 503, 504, 520, 530)),
        (Raw(503, headers={"Retry-After": "120"}), down("HTTP 503", wait=120.0)),
        # A rate limit says when to ask again: in the body, else the header, else half a minute, whatever the status.
        (Json(429, {"status": "error", "retry_after": 12}, {"Retry-After": "99"}), limited("HTTP 429", 12.0)),
        (Json(429, {"status": "error", "retry_after": "soon"}, {"Retry-After": "45"}), limited("HTTP 429", 45.0)),
        (Raw(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), limited("HTTP 429", 0.0)),
        (error(429, "Rate limit exceeded."), limited("Rate limit exceeded.", 30.0)),
        (error(429, "Rate limit exceeded.", retry_after=[12]), limited("Rate limit exceeded.", 30.0)),
        (Raw(429, b'{"retry_after": 1' + b"0" * 9000 + b"}", "application/json"), limited("HTTP 429", 30.0)),
        (Raw(429, b"<h1>Too Many Requests</h1>", headers={"Retry-After": "x"}), limited("HTTP 429", 30.0)),
        (Json(429, {"status": "success"}), limited("HTTP 429", 30.0)),
        (error(200, "Rate limit exceeded", retry_after=3), limited("Rate limit exceeded", 3.0)),
        (error(400, "Maximum 5 queued requests allowed"), limited("Maximum 5 queued requests allowed", 30.0)),
        # A connection that breaks leaves the outcome unknown.
        *(
            (answer, no_answer("the connection broke"))
            for answer in (Reset(), AcceptThenReset(), HalfAnswer(), Raw(200, headers={"X-\u00e9": "\u00e9" * 9000}))
        ),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_a_failure_is_understood(
    modelslab: SandboxModelsLab, client: ModelsLab, answer: Answer, expected: Shape
) -> None:
    """Whether to try again, why it failed, in whose words, and whether the model may be reloading all the same."""
    modelslab.answer("sdxl", answer)

    assert await failed(client.reload("sdxl")) == expected


@pytest.mark.parametrize("answer", [Hang(), Drip(b'{"status": "success"}', 0.05)], ids=repr)
async def test_an_answer_that_does_not_come_in_time_is_unknown_too(
    modelslab: SandboxModelsLab, client: ModelsLab, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is bounded from the first packet to the last byte."""
    modelslab.answer("sdxl", answer)
    monkeypatch.setattr("bot.modelslab.client.ATTEMPT_SECONDS", 0.2)

    assert await failed(client.reload("sdxl")) == no_answer("no answer in time")


async def test_without_a_connection_the_model_is_not_reloading(
    modelslab: SandboxModelsLab, client: ModelsLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request has been sent. Nor if DNS doesn't answer, or a host swallows packets."""

    async def never(*_: object, **_options: object) -> None:
        await asyncio.Event().wait()

    await modelslab.stop()
    assert await failed(client.reload("sdxl")) == no_answer("no connection", unknown=False)
    monkeypatch.setattr("bot.modelslab.client.CONNECT_SECONDS", 0.1)
    silent = create_autospec(AbstractResolver, instance=True)
    silent.resolve.side_effect = never
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=silent)) as session:
        failure = await failed(ModelsLab(session, read({"MODELSLAB_URL": "https://modelslab.test"})[0]).reload("sdxl"))

    assert failure == no_answer("no answer in time", unknown=False)


async def test_a_message_of_many_parts_is_read_in_order(modelslab: SandboxModelsLab, client: ModelsLab) -> None:
    """Lists in objects in lists, however deep, without blocking the bot."""
    deep: object = "deepest"
    for _ in range(500):
        deep = [deep]
    modelslab.answer("sdxl", error(200, [{"a": ["1", {"b": "2"}]}, "3", deep, *["4"] * 10_000]))
    _, _, said, *_ = await failed(client.reload("sdxl"))

    assert said.startswith("1 2 3 deepest 4 4")
    assert said.endswith("…")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Json(200, {"data": ["a"]}), ModelList(["a"])),  # without a status
        (Json(200, [{"model_id": f"m{n}"} for n in range(50_000)]), ModelList(["m0", "m1"], cut_off=True)),
        (Json(200, {"status": "error", "message": "Not today", "data": ["a"]}), Failure.REFUSED),
        (Json(500, [{"model_id": "a"}]), Failure.DOWN),
        (Json(200, {"status": "success", "data": None}), Failure.NO_SENSE),
        *((Raw(200, body), Failure.NO_SENSE) for body in (b"", b"<html>", b'"a"')),
        (HalfAnswer(), Failure.NO_ANSWER),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_a_list_of_models_is_read_or_fails_as_a_reload_does(
    modelslab: SandboxModelsLab, client: ModelsLab, answer: Answer, found: ModelList | Failure
) -> None:
    """No more of a long one is read than is wanted; the connection is closed instead."""
    modelslab.lists["public"] = answer
    if isinstance(found, ModelList):
        assert await client.public_models(2) == found
    else:
        assert (await failed(client.public_models(2)))[1] is found
