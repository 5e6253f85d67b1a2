"""The ModelsLab answers as ModelsLab documents: https://docs.modelslab.com and ModelsLab/docs-v2."""

import json

import aiohttp

from bot.sandbox.modelslab import ACCEPTED, SandboxModelsLab


async def ask(service: SandboxModelsLab, *, data: str = "", **body: object) -> tuple[int, object]:
    """Ask for a reload, by default with the key, or post any data; return the status and the answer."""
    data = data or json.dumps({"key": service.key, **body})
    async with aiohttp.request("POST", f"{service.url}/api/v6/images/model_reload", data=data) as response:
        return response.status, await response.json()


async def test_a_strict_one_knows_only_the_models_that_it_lists() -> None:
    """The key and the ID are checked. Some models misbehave, as make try describes."""
    async with SandboxModelsLab(strict=True) as strict:
        strict.models, strict.own_models = ["sdxl"], ["portraits"]

        assert await ask(strict, model_id="sdxl") == await ask(strict, model_id="portraits") == (200, ACCEPTED.body)
        assert await ask(strict, model_id="sdlx") == (200, {"status": "error", "message": "Model not found: sdlx"})
        assert await ask(strict) == (400, {"status": "error", "message": "model_id is required"})
        assert await ask(strict, key="wrong") == (401, {"status": "error", "message": "Invalid API key"})
        assert await ask(strict, data="no JSON") == (401, {"status": "error", "message": "API key required"})
        assert [(await ask(strict, model_id="busy"))[0] for _ in range(3)] == [429, 200, 200]
