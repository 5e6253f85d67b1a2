"""The ModelsLab of the sandbox answers, and fails to, as the real one might."""

import asyncio
import re

import aiohttp
import pytest

from bot.sandbox.answers import (
    AcceptThenReset,
    Big,
    DeepJson,
    Drip,
    HalfAnswer,
    Hang,
    Held,
    Json,
    Raw,
    Redirect,
    Reset,
)
from bot.sandbox.modelslab import PRETEND, SAME_REQUEST, SandboxModelsLab

ACCEPTED = {"status": "success", "message": "Model is reloading"}
PATH = "/api/v6/images/model_reload"


@pytest.fixture
def endpoint(modelslab: SandboxModelsLab) -> str:
    """The URL to which reloads are posted."""
    return modelslab.url + PATH


class Client:
    """Posts reloads as a client of ModelsLab does."""

    def __init__(self, http: aiohttp.ClientSession, modelslab: SandboxModelsLab) -> None:
        self._http = http
        self._modelslab = modelslab

    async def reload(self, model_id: str) -> tuple[int, object]:
        """Ask for a reload with the right key; return the status and the JSON."""
        return await self.post({"key": self._modelslab.key, "model_id": model_id})

    async def post(self, body: object) -> tuple[int, object]:
        """Post any JSON; return the status and the JSON of the answer."""
        status, raw, _ = await self.fetch(body)
        return status, raw

    async def fetch(self, body: object) -> tuple[int, object, str]:
        """Post any JSON; return status, JSON and content type."""
        timeout = aiohttp.ClientTimeout(total=5)
        url = self._modelslab.url + PATH
        async with self._http.post(url, json=body, timeout=timeout, allow_redirects=False) as response:
            return response.status, await response.json(content_type=None), response.content_type


@pytest.fixture
def client(http: aiohttp.ClientSession, modelslab: SandboxModelsLab) -> Client:
    """A client with the right key."""
    return Client(http, modelslab)


async def test_any_model_is_accepted(modelslab: SandboxModelsLab, client: Client, now: list[float]) -> None:
    """By default a reload is accepted, and recorded."""
    assert await client.reload("sdxl") == (200, ACCEPTED)
    (call,) = modelslab.calls
    assert (call.model_id, call.key_ok, call.at) == ("sdxl", True, now[0])
    assert call.body == {"key": modelslab.key, "model_id": "sdxl"}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"key": "wrong", "model_id": "sdxl"}, 401, "Invalid API key"),
        ({"model_id": "sdxl"}, 401, "API key required"),
        ({"key": "wrong"}, 400, "model_id is required"),
        ({"key": "wrong", "model_id": ["sdxl"]}, 400, "model_id is required"),
        ([], 400, "model_id is required"),
        (
            {"key": "wrong", "model_id": "sdxl", "webhook": "x"},
            400,
            {"webhook": ["The webhook field is unknown."]},
        ),
    ],
)
async def test_a_faulty_request_is_refused(
    modelslab: SandboxModelsLab, client: Client, body: object, status: int, message: object
) -> None:
    """Exactly the key and the model's id are taken."""
    assert await client.post(body) == (status, {"status": "error", "message": message})
    assert [call.key_ok for call in modelslab.calls] == [False]


async def test_a_form_is_refused(http: aiohttp.ClientSession, endpoint: str) -> None:
    """Only JSON is taken."""
    async with http.post(endpoint, data=b'{"key": "k", "model_id": "sdxl"}') as response:
        assert response.status == 400


@pytest.mark.parametrize("model_id", PRETEND)
async def test_models_that_misbehave_do_so_in_the_end(
    modelslab: SandboxModelsLab, client: Client, http: aiohttp.ClientSession, endpoint: str, model_id: str
) -> None:
    """Each misbehaves at first; those that promise to be accepted then are."""
    body = {"key": modelslab.key, "model_id": model_id}
    async with http.post(endpoint, json=body) as response:
        first = await response.text()
    *_, last = [await client.reload(model_id) for _ in PRETEND[model_id].answers]

    assert re.search("error|html", first)
    assert (last == (200, ACCEPTED)) == ("accepted" in PRETEND[model_id].what)


async def test_answers_come_in_their_order_and_the_last_one_stays(modelslab: SandboxModelsLab, client: Client) -> None:
    """A queue of answers is used up to the last; without any, the model is accepted again."""
    modelslab.answer("sdxl", Json(503, {"n": 1}), Json(200, {"n": 2}, {"X-N": "2"}))
    answers = [await client.reload("sdxl") for _ in range(3)]
    modelslab.answer("sdxl")

    assert answers == [(503, {"n": 1}), (200, {"n": 2}), (200, {"n": 2})]
    assert await client.reload("sdxl") == (200, ACCEPTED)


async def test_the_spam_filter_refuses_the_same_model_at_once(modelslab: SandboxModelsLab, client: Client) -> None:
    """While a model is being called, a second call for it is refused, and one for another is not."""
    modelslab.spam_filter = True
    released = asyncio.Event()
    modelslab.answer("sdxl", Held(released))
    first = asyncio.create_task(client.reload("sdxl"))
    await modelslab.wait_for_calls(1)
    second, other = await client.reload("sdxl"), await client.reload("flux")
    released.set()

    assert second == (200, SAME_REQUEST.body)
    assert (other, await first) == ((200, ACCEPTED), (200, ACCEPTED))
    assert modelslab.in_flight_max == 2


async def test_waiting_for_calls_in_vain(modelslab: SandboxModelsLab, client: Client) -> None:
    """The failure tells for which models calls came."""
    await client.reload("sdxl")

    with pytest.raises(TimeoutError, match=r"calls came for \['sdxl'\]"):
        await modelslab.wait_for_calls(2, within=0)


async def test_a_hanging_call_ends_with_its_client(modelslab: SandboxModelsLab, client: Client) -> None:
    """A call that its client gave up is not in flight any more."""
    modelslab.answer("sdxl", Hang())
    calling = asyncio.create_task(client.reload("sdxl"))
    await modelslab.wait_for_calls(1)
    calling.cancel()
    await asyncio.wait([calling])
    await client.reload("flux")

    assert modelslab.in_flight_max == 1


@pytest.mark.parametrize("answer", [Reset(), AcceptThenReset(), HalfAnswer()])
async def test_a_broken_answer(
    modelslab: SandboxModelsLab, client: Client, answer: Reset | AcceptThenReset | HalfAnswer
) -> None:
    """The client sees its connection break; the call came all the same."""
    modelslab.answer("sdxl", answer)

    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await client.reload("sdxl")
    assert len(modelslab.calls) == 1


async def test_a_redirect_would_take_the_key_elsewhere(
    modelslab: SandboxModelsLab, http: aiohttp.ClientSession, endpoint: str
) -> None:
    """307 asks for the same POST at another place."""
    modelslab.answer("sdxl", Redirect("http://127.0.0.1:9/"))

    body = {"key": modelslab.key, "model_id": "sdxl"}
    async with http.post(endpoint, json=body, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:9/")


async def test_an_answer_in_drips(modelslab: SandboxModelsLab, client: Client) -> None:
    """The whole answer arrives, byte by byte."""
    modelslab.answer("sdxl", Drip(b'{"a": 1}', seconds_between=0))

    assert await client.reload("sdxl") == (200, {"a": 1})


async def test_a_big_answer(modelslab: SandboxModelsLab, client: Client) -> None:
    """It is JSON, and as big as it says."""
    modelslab.answer("sdxl", Big(megabytes=2))
    _, body = await client.reload("sdxl")

    assert body == {"status": "success", "message": "x" * 2 * 1024 * 1024}


async def test_a_deep_answer(modelslab: SandboxModelsLab, http: aiohttp.ClientSession, endpoint: str) -> None:
    """It is more than a parser can take."""
    modelslab.answer("sdxl", DeepJson(depth=3))

    async with http.post(endpoint, json={"key": modelslab.key, "model_id": "sdxl"}) as response:
        assert await response.text() == "[[[]]]"


async def test_an_error_page(modelslab: SandboxModelsLab, http: aiohttp.ClientSession, endpoint: str) -> None:
    """Any bytes may come with any status."""
    modelslab.answer("sdxl", Raw(200, b"\xff", "application/json"))

    async with http.post(endpoint, json={"key": modelslab.key, "model_id": "sdxl"}) as response:
        assert (await response.read(), response.content_type) == (b"\xff", "application/json")


async def test_the_balance_is_told_to_whoever_has_the_key(
    modelslab: SandboxModelsLab, http: aiohttp.ClientSession
) -> None:
    """It is asked for at a path of its own, and is no reload."""
    url = f"{modelslab.url}/api/wallet_balance"
    async with http.post(url, json={"key": modelslab.key}) as told, http.post(url, json={}) as refused:
        assert (told.status, await told.json()) == (
            200,
            {"status": "success", "data": {"balance": 43.6, "currency": "USD"}},
        )
        assert (refused.status, await refused.json()) == (401, {"status": "error", "message": "API key required"})
    assert modelslab.calls == []


LIST = "/api/v4/dreambooth/model_list"


async def test_it_lists_its_models(http: aiohttp.ClientSession, modelslab: SandboxModelsLab) -> None:
    """The list is bare, of those it was given and the pretend ones, but for the one that it does not know."""
    modelslab.models = ["anything", "busy"]
    async with http.post(modelslab.url + LIST, json={"key": modelslab.key}) as response:
        models = await response.json()

    assert [model["model_id"] for model in models] == [
        "anything",
        *sorted(PRETEND.keys() - {"no-such-model"}),
    ]
    assert models[0] == {
        "model_id": "anything",
        "status": "model_ready",
        "model_name": "Anything",
        "created_at": "2023-04-01T12:00:00.000000Z",
        "description": "The model anything of the sandbox.",
        "screenshots": "",
    }
    assert (modelslab.list_calls, modelslab.calls) == (1, [])


async def test_the_list_is_not_for_strangers(http: aiohttp.ClientSession, modelslab: SandboxModelsLab) -> None:
    """Without the right key there is no list."""
    async with http.post(modelslab.url + LIST, json={"key": "wrong"}) as response:
        assert (response.status, await response.json()) == (401, {"status": "error", "message": "Invalid API key"})


async def test_the_list_can_fail_on_demand(http: aiohttp.ClientSession, modelslab: SandboxModelsLab) -> None:
    """It fails as often as it is told to, and each failure is counted."""
    modelslab.fail_list(Raw(502), times=1)
    statuses = [(await http.post(modelslab.url + LIST, json={"key": modelslab.key})).status for _ in range(2)]
    modelslab.fail_list(Json(500, {}))
    statuses += [(await http.post(modelslab.url + LIST, json={"key": modelslab.key})).status for _ in range(2)]

    assert statuses == [502, 200, 500, 500]
    assert modelslab.list_calls == 4
