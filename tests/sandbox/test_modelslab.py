"""The ModelsLab answers as ModelsLab documents: https://docs.modelslab.com and ModelsLab/docs-v2."""

import aiohttp

from bot.sandbox.modelslab import ACCEPTED, SandboxModelsLab

RELOAD, MODELS, OWN = "/api/v6/images/model_reload", "/api/v4/dreambooth/model_list", "/api/v3/finetune_list"


async def ask(service: SandboxModelsLab, path: str, **body: object) -> tuple[int, object]:
    """Post to an endpoint, by default with the key; return the status and the answer."""
    async with aiohttp.request("POST", service.url + path, json={"key": service.key, **body}) as response:
        return response.status, await response.json()


async def test_requests_are_checked(modelslab: SandboxModelsLab) -> None:
    """The key, and the model's ID."""
    for path in (RELOAD, MODELS, OWN, "/api/wallet_balance"):
        assert await ask(modelslab, path, key="wrong") == (401, {"status": "error", "message": "Invalid API key"})
    async with aiohttp.request("POST", modelslab.url + RELOAD, data="no JSON") as response:
        assert (response.status, (await response.json())["message"]) == (401, "API key required")
    assert await ask(modelslab, RELOAD) == (400, {"status": "error", "message": "model_id is required"})


async def test_a_strict_one_knows_only_the_models_that_it_lists() -> None:
    """Some of them misbehave, as make try describes."""
    async with SandboxModelsLab(strict=True) as strict:
        strict.models, strict.own_models = ["sdxl"], ["portraits"]

        assert await ask(strict, RELOAD, model_id="sdxl") == await ask(strict, RELOAD, model_id="portraits")
        assert (await ask(strict, RELOAD, model_id="sdxl"))[1] == ACCEPTED.body
        not_found = {"status": "error", "message": "Model not found: sdlx"}
        assert await ask(strict, RELOAD, model_id="sdlx") == (200, not_found)
        assert [(await ask(strict, RELOAD, model_id="busy"))[0] for _ in range(3)] == [429, 200, 200]
