"""The client of ModelsLab tells acceptance from refusal and both from not knowing, and lets the key out nowhere."""

import asyncio
import gzip
import json
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from bot.core.text import SAID_LIMIT
from bot.errors import Failure, ModelsLabError, ModelsLabPermanentError, ModelsLabRetryableError
from bot.modelslab.client import PATH, ModelsLab
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
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session as the bot makes it for ModelsLab."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def client(service: SandboxModelsLab, session: aiohttp.ClientSession) -> ModelsLab:
    """The client under test."""
    return ModelsLab(session, service.url, service.key, Redactor([service.key]))


async def failed(client: ModelsLab) -> ModelsLabError:
    """How a reload fails."""
    with pytest.raises(ModelsLabError) as raised:
        await client.reload("sdxl")
    return raised.value


def shape(failure: ModelsLabError) -> tuple[type[ModelsLabError], Failure, str, bool, float | None]:
    """All that a failure says: again or not, why, in whose words, whether it may have worked, and the wait."""
    wait = failure.wait if isinstance(failure, ModelsLabRetryableError) else None
    return type(failure), failure.failure, failure.said, failure.unknown, wait


# --- what is sent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", ["sdxl", "org/model:v1@2+x", '"quoted" \\ \u00e9'])
async def test_the_key_and_the_model_are_sent_and_nothing_else(
    service: SandboxModelsLab, client: ModelsLab, model_id: str
) -> None:
    """One POST of JSON, with exactly the two documented fields."""
    await client.reload(model_id)

    assert [call.body for call in service.calls] == [{"key": service.key, "model_id": model_id}]


# --- what is an acceptance ------------------------------------------------------------------------------


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
    await client.reload("sdxl")

    assert len(service.calls) == 1


# --- what is a refusal ----------------------------------------------------------------------------------

PROXYS = (401, 402, 403, 407)
"""What a proxy or a firewall on the way may answer, in its own words."""


@pytest.mark.parametrize(
    ("answer", "failure", "said"),
    [
        (error(400, "prompt is required"), Failure.REFUSED, "prompt is required"),
        (error(401, "Invalid API key"), Failure.KEY, "Invalid API key"),
        (error(401, "API key required"), Failure.KEY, "API key required"),
        (
            error(402, "Insufficient credits. Please add more credits to continue."),
            Failure.CREDITS,
            "Insufficient credits. Please add more credits to continue.",
        ),
        (
            error(403, "This feature requires a premium subscription"),
            Failure.PLAN,
            "This feature requires a premium subscription",
        ),
        (error(404, "Model not found: sdxl"), Failure.UNKNOWN_MODEL, "Model not found: sdxl"),
        (error(200, "Model not found: sdxl"), Failure.UNKNOWN_MODEL, "Model not found: sdxl"),
        (error(200, "Model id not found"), Failure.UNKNOWN_MODEL, "Model id not found"),
        (
            error(200, "Invalid Api Key", tip="1. Make sure you copied it"),
            Failure.KEY,
            "Invalid Api Key 1. Make sure you copied it",
        ),
        (error(200, "This feature requires a premium subscription"), Failure.PLAN, None),
        (error(200, "Insufficient credits."), Failure.CREDITS, None),
        (
            Json(200, {"status": "failed", "id": "", "message": "Failed, Try Again", "output": ""}),
            Failure.REFUSED,
            "Failed, Try Again",
        ),
        (
            error(200, {"prompt": ["The prompt field is required.", "It is short."], "key": ["Bad."]}, tips=["a", "b"]),
            Failure.REFUSED,
            "The prompt field is required. It is short. Bad. a b",
        ),
        (Json(200, {"status": "error", "messege": "Misspelt"}), Failure.REFUSED, "Misspelt"),
        (Json(200, {"status": "error", "message": None, "messege": "Misspelt"}), Failure.REFUSED, "Misspelt"),
        (Json(200, {"status": "error", "message": 7}), Failure.REFUSED, "7"),
        (Json(200, {"status": "error"}), Failure.REFUSED, "HTTP 200"),
        (Json(200, {"status": "queued?", "message": "new word"}), Failure.REFUSED, "new word"),
        (Json(200, {"status": ["success"], "message": "a list"}), Failure.REFUSED, "a list"),
        (Json(401, {"status": "success"}), Failure.KEY, "HTTP 401"),
        (Json(404, {"status": "success", "message": "odd"}), Failure.REFUSED, "odd"),
        (Json(404, {"message": "no such route"}), Failure.NO_SENSE, "no such route"),
        (Raw(404, b"<h1>Not Found</h1>"), Failure.NO_SENSE, "HTTP 404"),
        *((Raw(status, b"<h1>Blocked by a firewall</h1>"), Failure.NO_SENSE, f"HTTP {status}") for status in PROXYS),
        (Json(403, {"message": "Forbidden"}), Failure.NO_SENSE, "Forbidden"),
        (Json(403, {"message": "This feature requires a premium subscription"}), Failure.PLAN, None),
        (Json(401, {"message": "Invalid API key"}), Failure.KEY, None),
        (Redirect("http://127.0.0.1:9/"), Failure.NO_SENSE, "HTTP 307"),
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
    "answer",
    [
        Raw(200, b""),
        Raw(200, b"<html>Welcome</html>"),
        Raw(200, b"not json", "application/json"),
        Raw(200, b'"success"', "application/json"),
        Raw(200, b'["status", "success"]', "application/json"),
        Raw(200, b'{"status": "success"', "application/json"),
        Raw(200, json.dumps({"status": "success"}).encode("utf-16"), "application/json; charset=utf-16"),
        Raw(200, gzip.compress(b'{"status": "success"}', mtime=0), "application/json", {"Content-Encoding": "gzip"}),
        Json(200, {"message": "Model is reloading"}),
        Json(200, {"status": "", "message": "Model is reloading"}),
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


# --- what may be asked again ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said", "unknown"),
    [
        (error(500, "Internal server error. Please try again."), "Internal server error. Please try again.", False),
        (
            error(503, "Service temporarily unavailable. Please try again later."),
            "Service temporarily unavailable. Please try again later.",
            False,
        ),
        (Raw(500, b"<h1>Oops</h1>"), "HTTP 500", False),
        (Raw(408), "HTTP 408", False),
        (error(500, "Invalid API key"), "Invalid API key", False),
        (Json(500, {"status": "success"}), "HTTP 500", False),
        (Raw(502, b"<h1>Bad Gateway</h1>"), "HTTP 502", True),
        (Raw(504), "HTTP 504", True),
    ],
    ids=repr,
)
async def test_a_service_that_fails_may_be_asked_again(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer, said: str, *, unknown: bool
) -> None:
    """Behind a gateway that gave up, the request may have been carried out."""
    service.answer("sdxl", answer)

    assert shape(await failed(client)) == (ModelsLabRetryableError, Failure.DOWN, said, unknown, None)


LIMIT = "Rate limit exceeded. Maximum 5 queued requests allowed."


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (error(429, LIMIT, retry_after=12), 12.0),
        (error(429, LIMIT, retry_after="12.5"), 12.5),
        (Json(429, {"status": "error", "retry_after": 12}, {"Retry-After": "99"}), 12.0),
        (Json(429, {"status": "error"}, {"Retry-After": "45"}), 45.0),
        (Json(429, {"status": "error", "retry_after": "soon"}, {"Retry-After": "45"}), 45.0),
        (Json(429, {"status": "error", "retry_after": None}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 0.0),
        (error(429, LIMIT), 30.0),
        (error(429, LIMIT, retry_after=-5), 30.0),
        (error(429, LIMIT, retry_after=True), 30.0),
        (error(429, LIMIT, retry_after=[12]), 30.0),
        (Raw(429, b'{"retry_after": NaN}', "application/json"), 30.0),
        (Raw(429, b'{"retry_after": 1e999}', "application/json"), 30.0),
        (Raw(429, b'{"retry_after": 1' + b"0" * 400 + b"}", "application/json"), 30.0),
        (Raw(429, b'{"retry_after": 1' + b"0" * 9000 + b"}", "application/json"), 30.0),
        (error(429, LIMIT, retry_after=86_400), 86_400.0),
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


# --- what breaks ----------------------------------------------------------------------------------------


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

    assert shape(await failed(client)) == (
        ModelsLabRetryableError,
        Failure.NO_ANSWER,
        "the connection broke",
        True,
        None,
    )


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


class Distrustful(aiohttp.TCPConnector):
    """A connector that meets a certificate which it does not trust."""

    async def connect(
        self, req: aiohttp.ClientRequest, *_args: object, **_more: object
    ) -> aiohttp.connector.Connection:
        """Refuse the certificate."""
        reason = ssl.SSLCertVerificationError("self-signed certificate of modelslab.test")
        raise aiohttp.ClientConnectorCertificateError(req.connection_key, reason)


async def test_a_certificate_that_is_not_trusted_is_named() -> None:
    """The key was not sent to whoever it was."""
    async with aiohttp.ClientSession(connector=Distrustful()) as session:
        again = await failed(ModelsLab(session, "https://modelslab.test", "key", Redactor()))

    assert shape(again) == (ModelsLabRetryableError, Failure.NO_ANSWER, "its certificate is not trusted", False, None)


async def test_an_address_that_cannot_be_called_breaks(session: aiohttp.ClientSession) -> None:
    """Whatever aiohttp makes of an odd URL, it is an answer that did not come."""
    again = await failed(ModelsLab(session, "http://[::1", "key", Redactor()))

    assert (type(again), again.failure) == (ModelsLabRetryableError, Failure.NO_ANSWER)


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


# --- what is passed on ----------------------------------------------------------------------------------


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


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from([200, 400, 429, 500]),
)
def test_any_message_is_passed_on_in_one_short_line(message: object, status: int) -> None:
    """Whatever JSON stands where a text belongs, what is said of it is bounded, and harmless."""
    said = asyncio.run(_said(error(status, message)))

    assert len(said) <= SAID_LIMIT
    assert len(f"x{said}x".splitlines()) == 1


async def _said(answer: Answer) -> str:
    """What a failure says for this answer, on a service and with a session of its own."""
    async with SandboxModelsLab() as service, aiohttp.ClientSession(auto_decompress=False) as session:
        service.answer("sdxl", answer)
        return (await failed(ModelsLab(session, service.url, service.key, Redactor()))).said


async def test_a_message_of_many_parts_is_read_in_order(service: SandboxModelsLab, client: ModelsLab) -> None:
    """Lists in objects in lists, however deep, and without holding up the bot."""
    deep: object = "deepest"
    for _ in range(500):
        deep = [deep]
    service.answer("sdxl", error(200, [{"a": ["1", {"b": "2"}]}, "3", deep, *["4"] * 10_000]))
    refusal = await failed(client)

    assert refusal.said.startswith("1 2 3 deepest 4 4")
    assert refusal.said.endswith("…")


# --- the account's models -------------------------------------------------------------------------------


async def unlisted(client: ModelsLab) -> ModelsLabError:
    """How the list fails."""
    with pytest.raises(ModelsLabError) as raised:
        await client.models()
    return raised.value


async def test_the_ids_of_the_accounts_models_are_listed_once_each(
    service: SandboxModelsLab, client: ModelsLab
) -> None:
    """In the service's order."""
    models = [{"model_id": id_, "status": "model_ready", "screenshots": "x" * 300} for id_ in ("b", "a", "b", "c/d:1")]
    service.fail_list(Json(200, models))

    assert await client.models() == ["b", "a", "c/d:1"]


@pytest.mark.parametrize(
    "item",
    [None, 7, "sdxl", [], {}, {"model_id": None}, {"model_id": 7}, {"model_id": ["x"]}, {"model_id": "two words"}]
    + [{"model_id": text} for text in ("", "<!channel>", "é", "x" * 129, "-x", "a\n")],
    ids=repr,
)
async def test_what_is_no_id_is_left_out(service: SandboxModelsLab, client: ModelsLab, item: object) -> None:
    """Only what the command would take is known."""
    service.fail_list(Json(200, [{"model_id": "first"}, item, {"model_id": "last"}]))

    assert await client.models() == ["first", "last"]


@pytest.mark.parametrize(
    "body",
    [
        b'[{"model_id": "a"}, {"model_id": "b"}, {"model_i',
        b'[{"model_id": "a"},{"model_id": "b"}',
        b' [ {"model_id": "a"} , {"model_id": "b"} ] and more',
        b'[{"model_id": "a"}, {"model_id": "b"}, oops]',
        b'[{"model_id": "a"}, {"model_id": "b"}, ' + b"[" * 100_000,
    ],
)
async def test_of_a_broken_list_the_whole_part_is_taken(
    service: SandboxModelsLab, client: ModelsLab, body: bytes
) -> None:
    """A list may be cut off where it is too long to be read."""
    service.fail_list(Raw(200, body, "application/json"))

    assert await client.models() == ["a", "b"]


async def test_a_list_is_bounded(service: SandboxModelsLab, client: ModelsLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in number."""
    service.fail_list(Json(200, [{"model_id": f"m{number}"} for number in range(5000)]))
    monkeypatch.setattr("bot.modelslab.client.MODELS_LIMIT", 700)
    assert len(await client.models()) == 700
    monkeypatch.setattr("bot.modelslab.client.LIST_LIMIT", 1000)
    listed = await client.models()

    assert listed[0] == "m0"
    assert 20 < len(listed) < 60


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (error(401, "Invalid API key"), Failure.KEY),
        (error(200, "Rate limit exceeded"), Failure.RATE_LIMIT),
        (error(500, "Internal server error"), Failure.DOWN),
        (Json(500, [{"model_id": "a"}]), Failure.DOWN),
        (Json(200, {"status": "success"}), Failure.NO_SENSE),
        (Raw(200, b"<html>"), Failure.NO_SENSE),
        (Raw(200, b""), Failure.NO_SENSE),
        (Reset(), Failure.NO_ANSWER),
    ],
    ids=repr,
)
async def test_a_list_that_cannot_be_had(
    service: SandboxModelsLab, client: ModelsLab, answer: Answer, failure: Failure
) -> None:
    """It fails as a reload does."""
    service.fail_list(answer)

    assert (await unlisted(client)).failure is failure


async def test_an_empty_list_is_a_list(service: SandboxModelsLab, client: ModelsLab) -> None:
    """A new account has none."""
    service.fail_list(Json(200, []))

    assert await client.models() == []
