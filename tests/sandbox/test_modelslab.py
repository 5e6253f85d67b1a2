"""The ModelsLab answers as ModelsLab documents: https://docs.modelslab.com and ModelsLab/docs-v2."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from bot.sandbox.modelslab import ACCEPTED, SandboxModelsLab, error

RELOAD, MODELS, OWN = "/api/v6/images/model_reload", "/api/v4/dreambooth/model_list", "/api/v3/finetune_list"
WALLET = "/api/wallet_balance"


@pytest.fixture
async def service() -> AsyncIterator[SandboxModelsLab]:
    """One that accepts the models that it lists."""
    async with SandboxModelsLab(strict=True) as service:
        service.models, service.own_models = ["sdxl"], ["portraits"]
        yield service


async def ask(service: SandboxModelsLab, path: str, **body: object) -> tuple[int, object]:
    """Post to an endpoint, by default with the key; return the status and the answer."""
    async with aiohttp.request("POST", service.url + path, json={"key": service.key, **body}) as response:
        return response.status, await response.json()


async def test_a_known_model_is_accepted(service: SandboxModelsLab) -> None:
    """Public or the account's own; another is not found, unless any is accepted."""
    for model_id in ("sdxl", "portraits"):
        assert await ask(service, RELOAD, model_id=model_id) == (200, ACCEPTED.body)
    await service.wait_for_calls(2, within=0)

    assert [(call.model_id, call.key_ok) for call in service.calls] == [("sdxl", True), ("portraits", True)]
    assert service.in_flight_max == 1
    with pytest.raises(TimeoutError, match="2 calls came"):
        await service.wait_for_calls(3, within=0)
    assert (await ask(service, RELOAD, model_id="sdlx"))[1] == error(200, "Model not found: sdlx").body
    async with SandboxModelsLab() as lenient:
        assert (await ask(lenient, RELOAD, model_id="sdlx"))[1] == ACCEPTED.body
        assert (await ask(lenient, RELOAD, model_id="no-such-model"))[1] != ACCEPTED.body


async def test_requests_are_checked(service: SandboxModelsLab) -> None:
    """The key, and the model's id."""
    for path in (RELOAD, MODELS, OWN, WALLET):
        assert await ask(service, path, key="wrong") == (401, error(401, "Invalid API key").body)
    async with aiohttp.request("POST", service.url + RELOAD, data="no JSON") as response:
        assert (response.status, (await response.json())["message"]) == (401, "API key required")
    assert await ask(service, RELOAD) == (400, error(400, "model_id is required").body)


async def test_models_are_listed(service: SandboxModelsLab) -> None:
    """The public ones with their status, the account's own by their ids alone."""
    status, listed = await ask(service, MODELS)

    assert status == 200
    assert isinstance(listed, list)
    assert {"model_id": "sdxl", "status": "model_ready"} in listed
    assert await ask(service, OWN) == (200, {"status": "success", "messege": "model list", "data": ["portraits"]})
    service.answer_public(error(500, "no"))
    service.answer_own(error(503, "no"))
    assert [(await ask(service, path))[0] for path in (MODELS, OWN, WALLET)] == [500, 503, 200]


async def test_some_models_misbehave(service: SandboxModelsLab) -> None:
    """In an order, of which the last answer stays; a test can say in which."""
    busy = [(await ask(service, RELOAD, model_id="busy"))[0] for _ in range(3)]
    service.answer("busy", error(402, "Insufficient credits."))
    busy.append((await ask(service, RELOAD, model_id="busy"))[0])
    service.answer("sdxl")

    assert (busy, (await ask(service, RELOAD, model_id="sdxl"))[0]) == ([429, 200, 200, 402], 200)
