"""A local-slack, a ModelsLab and the real bot in Socket Mode, each on loopback."""

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.sandbox.modelslab import SandboxModelsLab
from tests.bench.processes import free_port
from tests.scenarios.process import Process
from tests.screenshots.needs import LOCAL_SLACK, running

RELOAD_SECONDS = 18
"""The least in which a bar moves often enough to be seen, and "a while" after it is still short."""

_BOT = "U0RELOADER"
_PEOPLE = {"U0ADA0001": "Ada", "U0BEN0001": "Ben", "U0EVE0001": "Eve"}
_WORKSPACE = {
    "workspace": {"name": "Example", "domain": "example", "teamId": "T012AB3CD"},
    "app": {
        "appId": "A012AB3CD",
        "botUserId": _BOT,
        "botName": "reload-model",
        "botToken": "xoxb-local",
        "appToken": "xapp-local",
        "signingSecret": "local",
        "mode": "socket",
    },
    "users": [{"id": id_, "name": name.lower(), "real_name": name} for id_, name in _PEOPLE.items()],
    "channels": [{"id": "C0ART0001", "name": "art", "members": [*_PEOPLE, _BOT]}],
}


@asynccontextmanager
async def sandbox(folder: Path, **settings: str) -> AsyncIterator[tuple[str, SandboxModelsLab]]:
    """Where local-slack's page is, and the ModelsLab, for as long as the context lasts.

    Ada and Ben can reload models, Eve can't, unless settings say so.
    """
    port, config = str(free_port()), folder / "workspace.json"
    url = f"http://localhost:{port}"
    config.write_text(json.dumps(_WORKSPACE), encoding="utf-8")
    slack = running(url, LOCAL_SLACK, "--config", config, "--port", port, "--files-dir", folder)
    async with SandboxModelsLab() as modelslab, slack:
        usual = {
            "SLACK_BOT_TOKEN": "xoxb-local",
            "SLACK_APP_TOKEN": "xapp-local",
            "SLACK_API_URL": f"{url}/api/",
            "MODELSLAB_API_KEY": modelslab.key,
            "MODELSLAB_URL": modelslab.url,
            "ALLOWED_USERS": "U0ADA0001 U0BEN0001",
            "RELOAD_SECONDS": str(RELOAD_SECONDS),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "LOG_FORMAT": "json",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        bot = Process(folder, usual | settings)
        try:
            await bot.start()
            await bot.ready()
            yield url, modelslab
            bot.signal(signal.SIGTERM)
            code = await bot.wait()
            assert code == 0, bot.stderr
            assert "Traceback" not in bot.stderr, bot.stderr
        finally:
            await bot.kill()
