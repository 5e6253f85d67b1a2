"""The load: signed commands, no two alike, in a closed and in an open loop.

Every ack is compared with what it must say: an error, or the ack of another command, ends the run.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlencode

CHANNELS = 30_000
"""So many that the bot never waits for its turn in one of them."""

SPIN_SECONDS = 0.002
"""Before a command of the open loop is due the loop turns without sleeping: a sleep ends up to a millisecond late."""


class WrongAck(Exception):  # noqa: N818 - says what came
    """An answer that is not the ack of the command that was sent."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command as it goes out, and what its ack must contain."""

    request: bytes
    proof: str


def channel(n: int) -> str:
    """The ID of the nth channel."""
    return f"C{n % CHANNELS:05d}"


class Commands:
    """Makes commands, each for a model, a person and a channel of its own, for one port."""

    def __init__(self, port: int, secret: str, slack_url: str) -> None:
        self.port = port
        self._secret = secret.encode()
        self._slack_url = slack_url.removesuffix("/api/")
        self._numbers = count()

    def make(self, number: int) -> list[Command]:
        """So many: https://docs.slack.dev/authentication/verifying-requests-from-slack."""
        return [self._command(next(self._numbers)) for _ in range(number)]

    def _command(self, n: int) -> Command:
        fields = {
            "team_id": "T0SANDBOX",
            "channel_id": channel(n),
            "user_id": f"U{n:07d}",
            "command": "/reload-model",
            "text": f"bench-{n:07d}",
            "response_url": f"{self._slack_url}/commands/T0SANDBOX/{n}/bench",
            "trigger_id": f"{n}.7f3a5c1e9b2d4f60",
        }
        body, now = urlencode(fields), int(time.time())
        signature = hmac.new(self._secret, f"v0:{now}:{body}".encode(), hashlib.sha256).hexdigest()
        head = (
            f"POST /slack/events HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"X-Slack-Signature: v0={signature}\r\nX-Slack-Request-Timestamp: {now}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return Command((head + body).encode(), f"Reloading `{fields['text']}`")


class Caller(asyncio.Protocol):
    """One connection that is kept, without a library: the load costs a tenth of what it measures."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._answered: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if end and len(body) >= length and self._answered is not None and not self._answered.done():
            self._answered.set_result(self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(WrongAck(f"the connection ended: {exc!r}"))

    async def send(self, command: Command) -> float:
        """Return how many seconds the ack took. Raises WrongAck."""
        assert self._transport is not None
        began = time.perf_counter()
        self._answer = b""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(command.request)
        answer = (await self._answered).decode()
        if not answer.startswith("HTTP/1.1 200 ") or command.proof not in answer:
            raise WrongAck(f"{answer!r} to {command.request!r}")
        return time.perf_counter() - began

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()


async def callers(port: int, number: int) -> list[Caller]:
    """So many connections."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Caller, "127.0.0.1", port))[1] for _ in range(number)]


async def closed_loop(port: int, number: int, commands: Sequence[Command], seconds: float) -> tuple[list[float], float]:
    """So many callers send a command as soon as the last is answered, until time or commands run out.

    Returns how many seconds each ack took, and all together.
    """
    connections = await callers(port, number)
    waiting = iter(commands)
    took: list[float] = []
    began = time.perf_counter()

    async def call(caller: Caller) -> None:
        while time.perf_counter() < began + seconds and (command := next(waiting, None)) is not None:
            took.append(await caller.send(command))

    async with asyncio.timeout(seconds + 60):
        await asyncio.gather(*map(call, connections))
    total = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return took, total


async def open_loop(port: int, number: int, commands: Sequence[Command], rate: float) -> list[float]:
    """Commands fall due at a fixed rate, whatever became of those before; returns the seconds from then to each ack."""
    free: asyncio.LifoQueue[Caller] = asyncio.LifoQueue()
    connections = await callers(port, number)
    for connection in connections:
        free.put_nowait(connection)
    begin = time.perf_counter() + 0.1

    async def one(command: Command, due: float) -> float:
        caller = await free.get()
        await caller.send(command)
        free.put_nowait(caller)
        return time.perf_counter() - due

    sending = []
    async with asyncio.timeout(len(commands) / rate + 60):
        for n, command in enumerate(commands):
            due = begin + n / rate
            await asyncio.sleep(max(due - time.perf_counter() - SPIN_SECONDS, 0))
            while time.perf_counter() < due:  # noqa: ASYNC110 - see SPIN_SECONDS
                await asyncio.sleep(0)
            sending.append(asyncio.ensure_future(one(command, due)))
        late = await asyncio.gather(*sending)
    for connection in connections:
        connection.close()
    return late
