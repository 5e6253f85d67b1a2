"""The ModelsLab answers as ModelsLab documents: https://docs.modelslab.com and ModelsLab/docs-v2."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from bot.sandbox.modelslab import ACCEPTED, SandboxModelsLab, error

RELOAD, MODELS, OWN = "/api/v6/images/model_reload", "/api/v4/dreambooth/model_list", "/api/v3/finetune_list"


@pytest.fixture(params=[False, True], ids=["lenient", "strict"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[SandboxModelsLab]:
    """One that accepts any model, and one that accepts those that it lists."""
    async with SandboxModelsLab(strict=request.param) as service:
        service.models, service.own_models = ["sdxl"], ["portraits"]
        yield service


async def ask(service: SandboxModelsLab, path: str, **body: object) -> tuple[int, object]:
    """Post to an endpoint, by default with the key; return the status and the answer."""
    async with aiohttp.request("POST", service.url + path, json={"key": service.key, **body}) as response:
        return response.status, await response.json()


async def test_an_unknown_model_is_not_found(service: SandboxModelsLab, request: pytest.FixtureRequest) -> None:
    """Unless any is accepted."""
    strict = "strict" in request.node.name
    not_found = {"status": "error", "message": "Model not found: sdlx"}

    assert await ask(service, RELOAD, model_id="sdlx") == (200, not_found if strict else ACCEPTED.body)
    assert (await ask(service, RELOAD, model_id="no-such-model"))[1] != ACCEPTED.body
    assert await ask(service, RELOAD, model_id="portraits") == (200, ACCEPTED.body)


async def test_requests_are_checked(service: SandboxModelsLab) -> None:
    """The key, and the model's id."""
    for path in (RELOAD, MODELS, OWN, "/api/wallet_balance"):
        assert await ask(service, path, key="wrong") == (401, {"status": "error", "message": "Invalid API key"})
    async with aiohttp.request("POST", service.url + RELOAD, data="no JSON") as response:
        assert (response.status, (await response.json())["message"]) == (401, "API key required")
    assert await ask(service, RELOAD) == (400, {"status": "error", "message": "model_id is required"})


async def test_some_models_misbehave(service: SandboxModelsLab) -> None:
    """In an order, of which the last answer stays; a test can say in which."""
    busy = [await ask(service, RELOAD, model_id="busy") for _ in range(3)]
    service.answer("busy", error(402, "Insufficient credits."))

    assert [status for status, _ in busy] == [429, 200, 200]
    assert (await ask(service, RELOAD, model_id="busy"))[0] == 402
    service.answer("busy")
    assert (await ask(service, RELOAD, model_id="sdxl"))[0] == 200
