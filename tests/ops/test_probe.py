"""reload-model-bot health asks the bot where its settings say that it listens."""

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from bot.ops import probe
from bot.settings import read

REQUIRED = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_APP_TOKEN": "xapp-1",
    "MODELSLAB_API_KEY": "key",
    "ALLOWED_USERS": "*",
}


@dataclass
class Bot:
    """What answers in place of the bot, and the paths that were asked for."""

    port: int = 0
    response: web.Response = field(default_factory=lambda: web.json_response({"status": "ok", "worker": "ok"}))
    paths: list[str] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Note the path."""
        self.paths.append(request.path)
        return self.response


@pytest.fixture
async def bot(request: pytest.FixtureRequest) -> AsyncIterator[Bot]:
    """One that listens at a loopback address."""
    bot = Bot()
    runner = web.ServerRunner(web.Server(bot.answer))
    await runner.setup()
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        listener = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        bot.port = listener.getsockname()[1]
        await web.SockSite(runner, listener).start()
        yield bot
        await runner.cleanup()


async def ask(bot: Bot, *, ready: bool = False, **env: str) -> tuple[int, dict[str, object]]:
    """The exit code, and what is printed."""
    out = io.StringIO()
    settings, _ = read({**REQUIRED, "PORT": str(bot.port), **env})
    code = await asyncio.to_thread(probe.ask, out, settings, ready=ready)
    return code, json.loads(out.getvalue())


@pytest.mark.parametrize(
    ("bot", "host"),
    [
        ("127.0.0.1", "0.0.0.0"),  # noqa: S104 - the default in HTTP mode
        *(("127.0.0.1", host) for host in ("", "127.0.0.1", "localhost")),
        *(("::1", host) for host in ("::", "::1")),
    ],
    indirect=["bot"],
)
async def test_a_bot_is_asked_where_its_settings_say_that_it_listens(bot: Bot, host: str) -> None:
    """On this machine's own address; it may not listen on the other kind."""
    assert await ask(bot, HOST=host) == (0, {"status": "ok", "worker": "ok"})
    assert bot.paths == ["/healthz"]


@pytest.mark.parametrize("bot", ["127.0.0.1"], indirect=True)
async def test_readiness_is_another_question(bot: Bot) -> None:
    """The operator's port is asked if there is one. Another program may have the port."""
    bot.response = web.json_response({"status": "unavailable", "database": "away"}, status=503)
    answer = await ask(bot, ready=True, PORT="9", ADMIN_PORT=str(bot.port))
    bot.response = web.Response(text="hello")
    code, state = await ask(bot)

    assert answer == (1, {"status": "unavailable", "database": "away"})
    assert (code, state["status"], state["error"]) == (1, "no answer", "JSONDecodeError")
    assert bot.paths == ["/readyz", "/healthz"]


@pytest.mark.parametrize(("host", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])  # noqa: S104 - all addresses
async def test_a_bot_that_does_not_run_is_not_healthy(host: str, asked: str) -> None:
    """Where it was asked and the reason are in the JSON, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    code, state = await ask(Bot(port=free), HOST=host)

    assert (code, state["status"], state["host"], state["port"]) == (1, "no answer", asked, free)
    assert state["error"]
