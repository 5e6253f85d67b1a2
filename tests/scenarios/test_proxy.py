"""All four ways out go through the proxy: the Web API, the WebSocket, a response_url, and ModelsLab."""

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from tests.answers import Exchange
from tests.scenarios.process import Machine
from tests.scenarios.scenario import ADA, MODELS, READY, Scenario

TLS = Path(__file__).parent.parent / "data" / "test-tls.pem"

SLACK, WEBSOCKET, MODELSLAB = "slack.test", "wss.slack.test", "modelslab.test"
"""Names that no DNS server knows: only the proxy leads there."""

LOGIN = b64encode(b"user:p@ss/word").decode()


class ConnectProxy:
    """Takes CONNECT from one user for names that it knows, ends TLS there, and connects to a port of this machine."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = ports
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(TLS)
        self.refused: set[str] = set()
        self.hosts: list[str] = []
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen, and break off all connections in the end."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield
        server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._relay(reader, writer)
        finally:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, head = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)
        host = target.removesuffix(":443")
        assert method == "CONNECT"
        if host in self.refused or f"Proxy-Authorization: Basic {LOGIN}\r\n" not in head:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        self.hosts.append(host)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        await writer.start_tls(self._context)
        there, back = await asyncio.open_connection("127.0.0.1", self._ports[host])
        try:
            await asyncio.gather(copy(reader, back), copy(there, writer))
        finally:
            back.transport.abort()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on everything up to the end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@dataclass(frozen=True, slots=True)
class OtherHost:
    """The ordinary answer, with the WebSocket at a host that only the proxy knows."""

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer."""
        answer = await exchange.proceed()
        assert isinstance(answer, web.Response)
        fields = json.loads(str(answer.text))
        address = URL(fields["url"]).with_scheme("wss").with_host(WEBSOCKET).with_port(None)
        return web.json_response(fields | {"url": str(address)})


@pytest.fixture
async def proxy(scenario: Scenario) -> AsyncIterator[ConnectProxy]:
    """A proxy that leads to the scenario's Slack and ModelsLab."""
    slack, modelslab = (int(URL(url).port or 0) for url in (scenario.slack.api_url, scenario.modelslab.url))
    proxy = ConnectProxy({SLACK: slack, WEBSOCKET: slack, MODELSLAB: modelslab})
    scenario.slack.fail("apps.connections.open", OtherHost())
    async with proxy.running():
        yield proxy


@pytest.fixture
def env(proxy: ConnectProxy) -> Mapping[str, str]:
    """Settings by which everything is behind the proxy. It is named without a scheme, as people do."""
    return {
        "HTTPS_PROXY": f"user:p%40ss%2Fword@{proxy.url}",
        "NO_PROXY": "example.com,127.0.0.1",
        "SSL_CERT_FILE": str(TLS),
        "SLACK_API_URL": f"https://{SLACK}/api/",
        "MODELSLAB_URL": f"https://{MODELSLAB}",
    }


async def test_everything_goes_through_the_proxy(
    scenario: Scenario, machine: Machine, proxy: ConnectProxy, env: Mapping[str, str]
) -> None:
    """Each of the four ways out, and the WebSocket again, which Slack refreshes every few hours."""
    scenario.slack.fail("chat.postMessage", "not_in_channel")
    response_url = (
        URL(scenario.slack.new_response_url(MODELS, ADA)).with_scheme("https").with_host(SLACK).with_port(None)
    )
    await machine.boot(**env)
    await scenario.ask("sdxl", ADA, MODELS, response_url=str(response_url))
    await scenario.wait_done()

    assert set(proxy.hosts) == {SLACK, WEBSOCKET, MODELSLAB}
    assert [message.via for message in scenario.said(READY)] == ["response_url"]
    assert len(scenario.modelslab.calls) == 1
    await scenario.slack.socket_mode.refresh()
    await scenario.ask("status")
    assert proxy.hosts.count(WEBSOCKET) == 2


async def test_the_check_takes_the_same_way(machine: Machine, proxy: ConnectProxy, env: Mapping[str, str]) -> None:
    """It finds what the bot would find: a firewall may let the Web API through, and not the WebSocket."""
    check = machine.process("check", **env)
    await check.run()

    assert "✓ bot token: workspace Sandbox" in check.stdout
    assert f"✓ Socket Mode: {WEBSOCKET} can be reached" in check.stdout
    assert f"✓ ModelsLab key: accepted by {MODELSLAB}" in check.stdout
    assert set(proxy.hosts) == {SLACK, WEBSOCKET, MODELSLAB}

    machine.measured = True
    proxy.refused |= {WEBSOCKET, MODELSLAB}
    check = machine.process("check", **env)
    await check.run()

    assert f"✗ Socket Mode: no answer from {WEBSOCKET} (ClientHttpProxyError)" in check.stdout
    assert f"✗ ModelsLab: no answer from {MODELSLAB} (the proxy refused, HTTP 403) → " in check.stdout
