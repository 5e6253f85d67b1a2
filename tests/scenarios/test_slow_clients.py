"""Clients that are slow or idle keep nobody else from being answered, and do not stay for ever."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from bot.slack.connections import Connections
from tests.scenarios.house import House, exchange
from tests.scenarios.test_http_door import command, request

HEAD = b"POST /slack/events HTTP/1.1\r\nHost: bot.example.com\r\nX-Slow: "
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: bot.example.com\r\n\r\n"


@pytest.fixture
def mode() -> str:
    """Slow clients are a matter of HTTP."""
    return "http"


class Client:
    """A connection that its client takes its time with."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def alive(self) -> bytes:
        """Ask for the health of the bot, and return the head of the answer."""
        self.writer.write(ALIVE)
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5.0)
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        await self.reader.readexactly(int(length.split()[1]))
        return head

    async def end(self, *, within: float = 5.0) -> bytes:
        """Return what comes before the bot ends the connection. Raises TimeoutError where it does not."""
        try:
            return await asyncio.wait_for(self.reader.read(), within)
        except ConnectionError:
            return b""


class Crowd:
    """Makes clients, and sees them off."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._clients: list[Client] = []

    async def client(self, *sent: bytes) -> Client:
        """Connect, and send this."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self._house.port))
        self._clients.append(client)
        client.writer.writelines(sent)
        return client

    def go(self) -> None:
        """Hang up, all of them."""
        for client in self._clients:
            client.writer.close()


@pytest.fixture
async def crowd(house: House) -> AsyncIterator[Crowd]:
    """Nobody yet."""
    crowd = Crowd(house)
    yield crowd
    crowd.go()


@pytest.mark.usefixtures("bot")
async def test_a_head_that_never_ends(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then buys no time: the client is cut off, without an answer."""
    monkeypatch.setattr("bot.slack.connections.HEAD_SECONDS", 0.3)
    client = await crowd.client(HEAD)

    async def drip() -> None:
        while True:
            client.writer.write(b"x")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())

    assert await client.end() == b""
    dripping.cancel()


@pytest.mark.usefixtures("bot")
@pytest.mark.parametrize("more", [b"X: y\r\n", b"x"])
async def test_a_head_that_grows_and_grows(crowd: Crowd, more: bytes) -> None:
    """By headers or within one: the connection ends while it is still small."""
    client, sent = await crowd.client(b"GET / HTTP/1.1\r\nHost: bot.example.com\r\nX: "), 0

    async def send() -> None:
        nonlocal sent
        while True:
            client.writer.write(more * 1000)
            await client.writer.drain()
            sent += 1000 * len(more)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send(), 10.0)
    assert sent < 10_000_000


@pytest.mark.usefixtures("bot")
async def test_a_client_that_says_nothing(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is there to send a request."""
    monkeypatch.setattr("bot.slack.connections.HEAD_SECONDS", 0.1)

    assert await (await crowd.client()).end() == b""


@pytest.mark.usefixtures("bot")
async def test_a_connection_is_kept_for_the_next_request(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a head may take, and the next head may take as long as the first."""
    monkeypatch.setattr("bot.slack.connections.HEAD_SECONDS", 0.3)
    client = await crowd.client()
    first = await client.alive()
    await (await crowd.client()).end()  # so long
    second = await client.alive()
    client.writer.write(HEAD)

    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 200 ")
    assert await client.end() == b""


async def test_a_connection_is_not_kept_for_ever(house: House, crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody uses is closed, later than any balancer would have done it."""
    monkeypatch.setattr("bot.slack.connections.IDLE_SECONDS", 0.2)
    await house.open()
    await house.wait_ready()
    client = await crowd.client()

    assert (await client.alive()).startswith(b"HTTP/1.1 200 ")
    assert await client.end() == b""


async def test_a_crowd_that_dawdles(bot: House, crowd: Crowd) -> None:
    """Two hundred idle connections and two hundred halves of a head keep no honest request waiting."""
    await asyncio.gather(*(crowd.client() for _ in range(200)), *(crowd.client(HEAD) for _ in range(200)))
    ack = await bot.ask("sdxl")
    body = urlencode(command()).encode()
    forged = await exchange(bot.port, request(body, {"Content-Type": "application/x-www-form-urlencoded"}))

    assert "Reloading `sdxl`" in ack.text
    assert forged[0] == 401


@pytest.mark.usefixtures("bot")
async def test_one_connection_too_many(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was used longest ago makes room."""
    monkeypatch.setattr("bot.slack.connections.MOST", 3)
    clients = [await crowd.client() for _ in range(3)]
    for client in (clients[1], clients[0], clients[2]):
        await client.alive()
    newcomer = await crowd.client()

    assert (await newcomer.alive()).startswith(b"HTTP/1.1 200 ")
    assert await clients[1].end() == b""
    assert (await clients[0].alive()).startswith(b"HTTP/1.1 200 ")
    assert (await clients[2].alive()).startswith(b"HTTP/1.1 200 ")


async def test_too_many_that_are_being_answered(bot: House, crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who is being answered is cut off for the sake of a newcomer."""
    body = urlencode(command()).encode()
    whole = request(body, bot.slack.sign(body) | {"Expect": "100-continue"})
    client = await crowd.client(whole[:-10])
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"  # so it is in hand
    monkeypatch.setattr("bot.slack.connections.MOST", 1)
    newcomer = await crowd.client()

    assert await newcomer.end() == b""
    client.writer.write(whole[-10:])
    assert b"Reloading `sdxl`" in await client.reader.readuntil(b"}")


@pytest.mark.usefixtures("bot")
@pytest.mark.parametrize("path", ["/healthz", "/nowhere"])
async def test_a_body_that_nobody_waits_for(crowd: Crowd, path: str) -> None:
    """What remains of it must not pass for the next request: the connection ends."""
    client = await crowd.client(request(b"", {"Content-Length": "10"}, method="POST", path=path), b"GET /")

    assert b"Connection: close" in await client.end()


def test_a_request_whose_client_has_gone() -> None:
    """Is a request all the same, of no connection."""
    connections = Connections()
    with connections.request(asyncio.Protocol()):
        assert len(connections) == 0


async def test_a_client_that_goes_while_it_is_answered() -> None:
    """Is not counted in again once its answer is made."""
    connections, inner = Connections(), asyncio.Protocol()
    outer = connections.factory(lambda: inner)()
    outer.connection_made(asyncio.Transport())
    with connections.request(inner):
        outer.connection_lost(None)

    assert len(connections) == 0


def test_whoever_does_not_read_is_written_to_no_further() -> None:
    """That is the inner protocol's business, which hears of it."""
    heard: list[str] = []

    class Inner(asyncio.Protocol):
        def pause_writing(self) -> None:
            heard.append("pause")

        def resume_writing(self) -> None:
            heard.append("resume")

    outer = Connections().factory(Inner)()
    outer.pause_writing()
    outer.resume_writing()

    assert heard == ["pause", "resume"]
