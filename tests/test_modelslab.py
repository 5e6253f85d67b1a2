"""The client of ModelsLab tells acceptance from refusal and both from not knowing, and lets the key out nowhere."""

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from bot.errors import Failure, ModelsLabError, ModelsLabPermanentError, ModelsLabRetryableError
from bot.modelslab.client import PATH, ModelsLab
from bot.modelslab.lists import ModelList
from bot.ops.logging import Redactor
from bot.sandbox.modelslab import SandboxModelsLab, error
from tests.answers import (
    AcceptThenReset,
    Answer,
    Big,
    DeepJson,
    Drip,
    HalfAnswer,
    Hang,
    Json,
    Raw,
    Redirect,
    Reset,
)

SPAM_TIPS = (
    "you are sending same request multiple times, spam filter is enabled, please wait for 30 seconds and try again"
)


@pytest.fixture
async def service() -> AsyncIterator[SandboxModelsLab]:
    """A ModelsLab."""
    async with SandboxModelsLab() as service:
        yield service


@pytest.fixture
async def client(service: SandboxModelsLab) -> AsyncIterator[ModelsLab]:
    """The client under test, with a session as the bot makes it."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield ModelsLab(session, service.url, service.key, Redactor([service.key]))


async def failed(client: ModelsLab) -> ModelsLabError:
    """How a reload fails."""
    with pytest.raises(ModelsLabError) as raised:
        await client.reload("sdxl")
    return raised.value


def shape(failure: ModelsLabError) -> tuple[type[ModelsLabError], Failure, str, bool, float | None]:
    """All that a failure says: again or not, why, in whose words, whether it may have worked, and the wait."""
    wait = failure.wait if isinstance(failure, ModelsLabRetryableError) else None
    return type(failure), failure.failure, failure.said, failure.unknown, wait


# What is sent


@pytest.mark.parametrize("model_id", ["sdxl", "org/model:v1@2+x", '"quoted" \\ \u00e9'])
async def test_the_key_and_the_model_are_sent_and_nothing_else(
    service: SandboxModelsLab, client: ModelsLab, model_id: str
) -> None:
    """One POST of JSON, with exactly the two documented fields."""
    await client.reload(model_id)

    assert [call.body for call in service.calls] == [{"key": service.key, "model_id": model_id}]


# What is an acceptance


@pytest.mark.parametrize(
    "answer",
    [
        Json(200, {"status": "success", "message": "Model is reloading"}),
        Json(200, {"status": "success", "messege": "Model is reloading"}),
        Json(200, {"status": "processing", "message": "queued"}),
        Json(200, {"status": "Success"}),
        Json(201, {"status": "success"}),
        Json(202, {"status": "processing", "message": "Rate limit exceeded"}),
        Raw(200, b'\xef\xbb\xbf{"status": "success"}', "text/html"),
        Raw(200, b'{"status": "success", "message": "\xff"}', "application/json"),
        Drip(b'{"status": "success"}', 0),
    ],
    ids=repr,
)
async def test_success_and_processing_are_accepted(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer
) -> None:
    """With any 2xx, whatever the type, the encoding or the message."""
    service.answer("sdxl", answer)

    assert await client.reload("sdxl") == ""
    assert len(service.calls) == 1


UNDER_WAY = (
    "Model is reloading",
    "The model is already loaded",
    "Model already loaded.",
    "Model is being loaded, please wait",
    "This model is currently loading",
    "Reload already in progress",
)


@pytest.mark.parametrize(
    "answer",
    [
        *(Json(200, {"status": "error", "messege": text}) for text in UNDER_WAY),
        Json(200, {"message": "Model is reloading"}),
        Json(400, {"status": "failed", "message": "Model is reloading"}),
        Json(409, {"status": "error", "message": {"model_id": ["It is already being loaded."]}}),
        Json(503, {"status": "error", "message": "Model is loading, try again later"}),
    ],
    ids=repr,
)
async def test_a_reload_that_is_under_way_is_as_good_as_an_acceptance(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer
) -> None:
    """Whatever status comes with it; what ModelsLab says of it is passed on."""
    service.answer("sdxl", answer)

    assert "load" in await client.reload("sdxl")


@pytest.mark.parametrize(
    "text",
    [
        "The model is not loaded",
        "Model not already loaded",
        "It isn't already loaded",
        "Could not be reloaded",
        "Reload",
    ],
)
async def test_a_text_that_only_sounds_like_it_is_a_refusal(
    service: SandboxModelsLab, client: ModelsLab, text: str
) -> None:
    """Nobody is promised a model that is not coming."""
    service.answer("sdxl", error(200, text))

    assert (await failed(client)).failure is Failure.REFUSED


# What is a refusal


@pytest.mark.parametrize(
    ("answer", "failure", "said"),
    [
        (error(400, "prompt is required"), Failure.REFUSED, "prompt is required"),
        (error(401, "Invalid API key"), Failure.KEY, "Invalid API key"),
        (error(402, "Insufficient credits."), Failure.CREDITS, "Insufficient credits."),
        (error(403, "This feature requires a premium subscription"), Failure.PLAN, None),
        (error(404, "Model not found: sdxl"), Failure.UNKNOWN_MODEL, "Model not found: sdxl"),
        (error(200, "API key required"), Failure.KEY, "API key required"),
        (error(200, "Model id not found"), Failure.UNKNOWN_MODEL, "Model id not found"),
        (error(200, "model_id does not exist"), Failure.UNKNOWN_MODEL, "model_id does not exist"),
        (error(200, "Please upgrade your plan"), Failure.PLAN, "Please upgrade your plan"),
        (error(422, {"model_id": ["The selected model id is invalid."]}), Failure.UNKNOWN_MODEL, None),
        (error(200, "Invalid Api Key", tip="1. Make sure"), Failure.KEY, "Invalid Api Key 1. Make sure"),
        (
            error(200, {"prompt": ["The prompt field is required.", "It is short."], "key": ["Bad."]}, tips=["a", "b"]),
            Failure.REFUSED,
            "The prompt field is required. It is short. Bad. a b",
        ),
        (error(400, "Bad image, try again"), Failure.REFUSED, "Bad image, try again"),
        (Json(200, {"status": "error", "message": None, "messege": "Misspelt"}), Failure.REFUSED, "Misspelt"),
        (Json(200, {"status": "error"}), Failure.REFUSED, "HTTP 200"),
        (Json(401, {"status": "success"}), Failure.KEY, "HTTP 401"),
        (Json(404, {"status": "success", "message": "odd"}), Failure.REFUSED, "odd"),
    ],
    ids=repr,
)
async def test_a_refusal_is_final_and_known(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer, failure: Failure, said: str | None
) -> None:
    """Every documented error, and older shapes, in ModelsLab's own words where it has any."""
    service.answer("sdxl", answer)
    refusal = await failed(client)

    assert shape(refusal) == (ModelsLabPermanentError, failure, refusal.said if said is None else said, False, None)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Json(401, {"message": "Unauthenticated."}), Failure.KEY),
        (Json(401, {"error": "Unauthenticated."}), Failure.KEY),
        (Json(422, {"message": "Invalid data.", "errors": {"model_id": ["Too long."]}}), Failure.REFUSED),
        (Json(405, {"message": "The POST method is not supported."}), Failure.NO_SENSE),
        (Json(404, {"detail": "Not Found"}), Failure.NO_SENSE),
        (Json(403, {"message": "Forbidden"}), Failure.PLAN),
        (Json(402, {"messege": "Pay"}), Failure.CREDITS),
        (Json(200, {"message": "Invalid API key"}), Failure.KEY),
        (Json(404, {"message": "no such route"}), Failure.NO_SENSE),
        (Json(401, {}), Failure.NO_SENSE),
        *((Raw(status, b"<h1>Blocked by a firewall</h1>"), Failure.NO_SENSE) for status in (401, 402, 403, 404, 407)),
        (Redirect("http://127.0.0.1:9/"), Failure.NO_SENSE),
    ],
    ids=repr,
)
async def test_without_modelslabs_own_status_the_https_one_decides(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer, failure: Failure
) -> None:
    """Where there is a message in JSON: a proxy's or a firewall's page says nothing of the account."""
    service.answer("sdxl", answer)
    refusal = await failed(client)

    assert (type(refusal), refusal.failure, refusal.unknown) == (ModelsLabPermanentError, failure, False)


@pytest.mark.parametrize(
    "answer",
    [
        Raw(200, b""),
        Raw(200, b"<html>Welcome</html>"),
        Raw(200, b'["status", "success"]', "application/json"),
        Raw(200, b'{"status": "success"', "application/json"),
        Raw(200, json.dumps({"status": "success"}).encode("utf-16"), "application/json; charset=utf-16"),
        Raw(200, gzip.compress(b'{"status": "success"}', mtime=0), "application/json", {"Content-Encoding": "gzip"}),
        Json(200, {"status": "", "message": "hm"}),
        DeepJson(20_000),
        Big(1),
    ],
    ids=lambda answer: repr(answer)[:60],
)
async def test_an_answer_that_makes_no_sense_may_have_been_an_acceptance(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer
) -> None:
    """With a 2xx nobody can tell, so whoever asked is told so; it is not asked again."""
    service.answer("sdxl", answer)
    refusal = await failed(client)

    assert (type(refusal), refusal.failure, refusal.unknown) == (ModelsLabPermanentError, Failure.NO_SENSE, True)


async def test_a_status_that_nobody_knows_may_have_been_an_acceptance(
    service: SandboxModelsLab, client: ModelsLab
) -> None:
    """A refusal says so."""
    unknown = []
    for status in (["success"], "queued", True, False, "error"):
        service.answer("sdxl", Json(200, {"status": status, "message": "hm"}))
        unknown.append((await failed(client)).unknown)

    assert unknown == [True, True, True, False, False]


# What may be asked again


@pytest.mark.parametrize(
    ("answer", "said", "unknown"),
    [
        (error(500, "Internal server error. Please try again."), "Internal server error. Please try again.", False),
        (error(503, "Service temporarily unavailable."), "Service temporarily unavailable.", False),
        (error(500, "Invalid API key"), "Invalid API key", False),
        (error(200, "Server busy, try again later"), "Server busy, try again later", False),
        (Json(200, {"status": "failed", "id": "", "message": "Failed, Try Again"}), "Failed, Try Again", True),
        (Json(500, {"status": "success"}), "HTTP 500", True),
        (Json(500, {"status": "error"}), "HTTP 500", True),
        (Json(503, {"message": "upstream"}), "upstream", True),
        (error(502, "Bad gateway"), "Bad gateway", True),
        (error(408, "Timeout"), "Timeout", True),
        *(
            (Raw(status, b"<h1>Oops</h1>"), f"HTTP {status}", True)
            for status in (408, 500, 502, 503, 504, 520, 524, 527, 530)
        ),
    ],
    ids=repr,
)
async def test_a_service_that_fails_may_be_asked_again(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer, said: str, *, unknown: bool
) -> None:
    """Unless ModelsLab says in its own words that it failed, a gateway may have given up on what was carried out."""
    service.answer("sdxl", answer)

    assert shape(await failed(client)) == (ModelsLabRetryableError, Failure.DOWN, said, unknown, None)


async def test_a_service_that_fails_can_ask_for_a_pause(service: SandboxModelsLab, client: ModelsLab) -> None:
    """As a gateway does."""
    service.answer("sdxl", Raw(503, headers={"Retry-After": "120"}))

    assert shape(await failed(client))[-1] == 120.0


LIMIT = "Rate limit exceeded. Maximum 5 queued requests allowed."


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (error(429, LIMIT, retry_after=12), 12.0),
        (Json(429, {"status": "error", "retry_after": 12}, {"Retry-After": "99"}), 12.0),
        (Json(429, {"status": "error", "retry_after": "soon"}, {"Retry-After": "45"}), 45.0),
        (Json(429, {"status": "error", "retry_after": None}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 0.0),
        (error(429, LIMIT), 30.0),
        (error(429, LIMIT, retry_after=[12]), 30.0),
        (Raw(429, b'{"retry_after": 1' + b"0" * 9000 + b"}", "application/json"), 30.0),
        (Raw(429, b"<h1>Too Many Requests</h1>", headers={"Retry-After": "x"}), 30.0),
        (Json(429, {"status": "success"}), 30.0),
        (error(200, "Rate limit exceeded", tips=SPAM_TIPS), 30.0),
        (error(200, "Rate limit exceeded", retry_after=3), 3.0),
        (error(400, "Maximum 5 queued requests allowed"), 30.0),
    ],
    ids=lambda value: repr(value)[:80],
)
async def test_a_rate_limit_says_when_to_ask_again(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer, wait: float
) -> None:
    """The body's figure, else the header's, else half a minute; whatever the HTTP status."""
    service.answer("sdxl", answer)
    again = await failed(client)

    assert shape(again) == (ModelsLabRetryableError, Failure.RATE_LIMIT, again.said, False, wait)


# What breaks


@pytest.mark.parametrize(
    "answer",
    [Reset(), AcceptThenReset(), HalfAnswer(), Raw(200, b"x", headers={"X-\u00e9": "\u00e9" * 9000})],
    ids=repr,
)
async def test_a_connection_that_breaks_leaves_the_outcome_unknown(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer
) -> None:
    """The request may have been carried out, so that is said."""
    service.answer("sdxl", answer)
    broken = (ModelsLabRetryableError, Failure.NO_ANSWER, "the connection broke", True, None)

    assert shape(await failed(client)) == broken


@pytest.mark.parametrize("answer", [Hang(), Drip(b'{"status": "success"}', 0.05)], ids=repr)
async def test_an_answer_that_does_not_come_in_time_is_unknown_too(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is bounded from the first packet to the last byte."""
    monkeypatch.setattr("bot.modelslab.client.ATTEMPT_SECONDS", 0.2)
    service.answer("sdxl", answer)
    began = asyncio.get_running_loop().time()
    again = await failed(client)

    assert shape(again) == (ModelsLabRetryableError, Failure.NO_ANSWER, "no answer in time", True, None)
    assert asyncio.get_running_loop().time() - began < 2


async def test_what_was_never_reached_was_never_asked(service: SandboxModelsLab, client: ModelsLab) -> None:
    """Without a connection nothing was carried out."""
    await service.stop()

    assert shape(await failed(client)) == (ModelsLabRetryableError, Failure.NO_ANSWER, "no connection", False, None)


class SilentResolver(AbstractResolver):
    """A name server that never answers."""

    async def resolve(
        self,
        host: str,  # noqa: ARG002 - aiohttp names its arguments
        port: int = 0,  # noqa: ARG002
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """Wait for ever."""
        never: asyncio.Future[list[ResolveResult]] = asyncio.get_running_loop().create_future()
        return await never

    async def close(self) -> None:
        """There is nothing to close."""


async def test_a_connection_that_is_not_made_in_time_was_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody resolves, or a host that swallows packets, must not be told as an unknown outcome."""
    monkeypatch.setattr("bot.modelslab.client.CONNECT_SECONDS", 0.1)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=SilentResolver())) as session:
        again = await failed(ModelsLab(session, "http://modelslab.test", "key", Redactor()))

    assert shape(again) == (ModelsLabRetryableError, Failure.NO_ANSWER, "no answer in time", False, None)


async def test_a_redirect_is_not_followed(service: SandboxModelsLab, client: ModelsLab) -> None:
    """The key goes to nobody but the address that was set."""
    async with SandboxModelsLab() as elsewhere:
        service.answer("sdxl", Redirect(elsewhere.url + PATH))
        await failed(client)

        assert (len(service.calls), len(elsewhere.calls)) == (1, 0)


async def test_after_a_failure_the_next_request_is_as_good_as_the_first(
    service: SandboxModelsLab, client: ModelsLab
) -> None:
    """What is left unread of an answer does not get into the next one."""
    service.answer("sdxl", Big(2), HalfAnswer(), Reset(), Json(200, {"status": "success"}))
    for _ in range(3):
        await failed(client)
    await client.reload("sdxl")

    assert len(service.calls) == 4


# What is passed on


@pytest.mark.parametrize("status", [200, 401, 429, 500])
async def test_the_key_is_redacted_wherever_it_is_echoed(
    service: SandboxModelsLab, client: ModelsLab, status: int
) -> None:
    """In the message, in tips, in any case, and however often."""
    key = service.key
    service.answer("sdxl", error(status, {key: [f"Key {key} is bad"]}, tip=key.upper(), tips=[key * 1000]))
    failure = await failed(client)

    assert "[redacted]" in failure.said
    assert key[:8].lower() not in f"{failure.said} {failure!r} {failure} {failure.__context__!r}".lower()


async def test_a_message_of_many_parts_is_read_in_order(service: SandboxModelsLab, client: ModelsLab) -> None:
    """Lists in objects in lists, however deep, and without holding up the bot."""
    deep: object = "deepest"
    for _ in range(500):
        deep = [deep]
    service.answer("sdxl", error(200, [{"a": ["1", {"b": "2"}]}, "3", deep, *["4"] * 10_000]))
    refusal = await failed(client)

    assert refusal.said.startswith("1 2 3 deepest 4 4")
    assert refusal.said.endswith("…")


# The lists of models


LISTS = pytest.mark.parametrize("group", ["own", "public"])


async def listed(client: ModelsLab, group: str, limit: int = 100) -> ModelList:
    """What a list holds."""
    return await (client.own_models if group == "own" else client.public_models)(limit)


async def test_models_are_listed(service: SandboxModelsLab, client: ModelsLab) -> None:
    """The account's own and the public ones, as ModelsLab documents each list."""
    service.models, service.own_models = ["sdxl"], ["mine", "ours"]

    assert await listed(client, "own") == ModelList(["mine", "ours"])
    assert "sdxl" in (await listed(client, "public")).ids
    assert await listed(client, "own", limit=1) == ModelList(["mine"], cut_off=True)


@LISTS
async def test_no_more_of_a_long_list_is_read_than_is_wanted(
    service: SandboxModelsLab, client: ModelsLab, group: str
) -> None:
    """The connection is closed instead."""
    answer_list(service, group, Json(200, [{"model_id": f"m{number}"} for number in range(50_000)]))

    assert await listed(client, group, limit=2) == ModelList(["m0", "m1"], cut_off=True)


@LISTS
async def test_a_list_without_a_status_is_a_list(service: SandboxModelsLab, client: ModelsLab, group: str) -> None:
    """A status that says "error" makes it a failure."""
    answer_list(service, group, Json(200, {"data": ["a"]}))
    assert await listed(client, group) == ModelList(["a"])
    answer_list(service, group, Json(200, {"status": "error", "message": "Not today", "data": ["a"]}))
    with pytest.raises(ModelsLabPermanentError, match="Not today"):
        await listed(client, group)


@LISTS
@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (error(401, "Invalid API key"), Failure.KEY),
        (error(200, "Rate limit exceeded"), Failure.RATE_LIMIT),
        (Json(500, [{"model_id": "a"}]), Failure.DOWN),
        (Json(200, {"status": "success"}), Failure.NO_SENSE),
        (Json(200, {"status": "success", "data": None}), Failure.NO_SENSE),
        (Raw(200, b"<html>"), Failure.NO_SENSE),
        (Reset(), Failure.NO_ANSWER),
        (HalfAnswer(), Failure.NO_ANSWER),
    ],
    ids=repr,
)
async def test_a_list_that_cannot_be_read_fails_as_a_reload_does(
    service: SandboxModelsLab, client: ModelsLab, group: str, answer: Answer, failure: Failure
) -> None:
    """With what ModelsLab says."""
    answer_list(service, group, answer)
    with pytest.raises(ModelsLabError) as raised:
        await listed(client, group)

    assert raised.value.failure is failure


def answer_list(service: SandboxModelsLab, group: str, answer: Answer) -> None:
    """Have a list answered so."""
    (service.answer_own if group == "own" else service.answer_public)(answer)
