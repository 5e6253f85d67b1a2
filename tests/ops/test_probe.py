"""reload-model-bot health asks the bot where its settings say that it listens."""

import asyncio
import io
import json
import socket
from unittest.mock import AsyncMock

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from bot.ops import probe
from bot.settings import read
from tests.bench.processes import free_port


async def answer(request: web.BaseRequest) -> web.Response:
    """Answer as the bot does: it is alive, but not ready."""
    state = {"/healthz": {"status": "ok"}, "/readyz": {"status": "unavailable"}}[request.path]
    return web.json_response(state, status=200 if state["status"] == "ok" else 503)


async def ask(*, ready: bool = False, **env: str) -> tuple[int, dict[str, object]]:
    """The exit code, and what is printed."""
    out = io.StringIO()
    code = await asyncio.to_thread(probe.ask, out, read({"SLACK_APP_TOKEN": "xapp-1", **env})[0], ready=ready)
    return code, json.loads(out.getvalue())


@pytest.mark.parametrize("host", ["0.0.0.0", "", "127.0.0.1", "localhost", "::", "::1"])  # noqa: S104 - in HTTP mode
async def test_a_bot_is_asked_where_its_settings_say_that_it_listens(host: str) -> None:
    """On this machine's own address, and at the operators' port if there is one. Readiness is another question."""
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    async with RawTestServer(answer, host="::1" if ":" in host else "127.0.0.1") as bot:
        assert await ask(HOST=host, PORT=str(bot.port)) == (0, {"status": "ok"})
        assert await ask(HOST=host, PORT="9", ADMIN_PORT=str(bot.port), ready=True) == (1, {"status": "unavailable"})


async def test_another_program_is_not_a_healthy_bot() -> None:
    """It may have taken the port."""
    async with RawTestServer(AsyncMock(return_value=web.Response(text="hello")), host="127.0.0.1") as other:
        code, state = await ask(PORT=str(other.port))

    assert (code, state["status"], state["error"]) == (1, "no answer", "JSONDecodeError")


@pytest.mark.parametrize(("host", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])  # noqa: S104 - all addresses
async def test_a_bot_that_does_not_run_is_not_healthy(host: str, asked: str) -> None:
    """The answer says where it was asked, and why there was no answer."""
    free = free_port()
    code, state = await ask(HOST=host, PORT=str(free))

    assert (code, state["status"], state["host"], state["port"]) == (1, "no answer", asked, free)
    assert state["error"]
