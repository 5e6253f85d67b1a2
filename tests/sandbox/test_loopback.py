"""The servers can be reached from this machine only, and stop at once."""

import aiohttp
import pytest
from aiohttp import web

from bot.sandbox.loopback import Loopback, break_off


async def test_a_connection_can_be_broken_off_twice(http: aiohttp.ClientSession) -> None:
    """Breaking off what is gone already is harmless."""
    requests: list[web.Request] = []

    async def serve(request: web.Request) -> web.Response:
        requests.append(request)
        break_off(request)
        return web.Response()

    server = Loopback([web.get("/", serve)])
    await server.start()
    with pytest.raises(aiohttp.ClientError):
        await http.get(f"http://{server.host}/")
    break_off(requests[0])
    await server.stop()

    assert requests[0].transport is None


def test_it_is_this_machine_only() -> None:
    """The address is that of loopback."""
    assert Loopback([]).host == "127.0.0.1:0"
