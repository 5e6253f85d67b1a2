"""The load: signed, distinct commands over HTTP or Socket Mode, in a closed and in an open loop.

Every ack is read and held against what it must say: an error, or the ack of another command, ends the run. Knows
nothing of who answers.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol, Self
from urllib.parse import quote_plus, urlencode

from aiohttp import WSMsgType, web

PATH = "/slack/events"
CHANNELS = 30_000
"""How many channels there are: many enough that the bot never waits for a second in one to pass."""

SPIN_SECONDS = 0.002
"""Before a command of the open loop is due the loop turns without sleeping: a sleep ends up to a millisecond late."""

ANSWER_SECONDS = 10.0

_ACKS_IN_MODEL = "Reloading `%s`"


class WrongAck(Exception):  # noqa: N818 - says what came
    """An answer that is not the ack of the command that was sent."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command as it goes out, and what its ack must hold."""

    wire: str
    proof: str
    envelope_id: str = ""


class Caller(Protocol):
    """Somebody who sends one command at a time."""

    async def ask(self, command: Command) -> None:
        """Return once the command is acknowledged. Raises WrongAck."""
        ...


class Door(Protocol):
    """A way in to the one who answers."""

    def commands(self, number: int, proof: str = "") -> list[Command]:
        """As many commands as that, ready to be sent: no two of a run are alike."""
        ...

    async def callers(self, number: int) -> Sequence[Caller]:
        """So many callers, each with what it takes to send."""
        ...

    def close(self) -> None:
        """Let go of the callers."""
        ...


@dataclass(slots=True)
class Invocations:
    """The fields of commands, each for a model and a channel of its own."""

    slack: str
    """The base of the Slack whose response_urls they carry."""
    _numbers: Iterator[int]

    @classmethod
    def of(cls, slack: str) -> Self:
        """Begin to count."""
        return cls(slack, count())

    def next(self) -> dict[str, str]:
        """The next one: https://docs.slack.dev/interactivity/implementing-slash-commands#app_command_handling."""
        n = next(self._numbers)
        return {
            "token": "deprecated",
            "team_id": "T0SANDBOX",
            "team_domain": "sandbox",
            "channel_id": channel(n),
            "channel_name": f"room-{n % CHANNELS}",
            "user_id": f"U{n:07d}",
            "user_name": f"person-{n}",
            "command": "/reload-model",
            "text": f"bench-{n:07d}",
            "api_app_id": "A0SANDBOX",
            "is_enterprise_install": "false",
            "response_url": f"{self.slack}/commands/T0SANDBOX/{n}/bench",
            "trigger_id": f"{n}.7f3a5c1e9b2d4f60",
        }


def channel(n: int) -> str:
    """The id of the nth channel."""
    return f"C{n % CHANNELS:05d}"


# --- HTTP -----------------------------------------------------------------------------------------------


class _HttpCaller(asyncio.Protocol):
    """One connection that is kept, without a library: so the load costs a tenth of what it measures."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._answered: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head) and self._answered is not None and not self._answered.done():
            self._answered.set_result(self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(WrongAck(f"the connection ended: {exc!r}"))

    async def ask(self, command: Command) -> None:
        if self._transport is None or self._transport.is_closing():
            raise WrongAck("the connection has ended")
        self._answer = b""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(command.wire.encode())
        answer = (await self._answered).decode()
        if not answer.startswith("HTTP/1.1 200 ") or command.proof not in answer:
            raise WrongAck(f"{answer!r} to {command.wire!r}")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0] or 0)


class HttpDoor:
    """A port that takes signed requests: https://docs.slack.dev/authentication/verifying-requests-from-slack."""

    def __init__(self, port: int, secret: str, invocations: Invocations) -> None:
        self._port = port
        self._secret = secret.encode()
        self._invocations = invocations
        self._callers: list[_HttpCaller] = []

    def commands(self, number: int, proof: str = _ACKS_IN_MODEL) -> list[Command]:
        """See Door."""
        return [self._command(proof) for _ in range(number)]

    def _command(self, proof: str) -> Command:
        fields = self._invocations.next()
        body, now = urlencode(fields, quote_via=quote_plus), int(time.time())
        signature = hmac.new(self._secret, f"v0:{now}:{body}".encode(), hashlib.sha256).hexdigest()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            "User-Agent: Slackbot 1.0 (+https://api.slack.com/robots)\r\nAccept: application/json,*/*\r\n"
            f"X-Slack-Signature: v0={signature}\r\nX-Slack-Request-Timestamp: {now}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return Command(head + body, proof % fields["text"] if "%" in proof else proof)

    async def callers(self, number: int) -> Sequence[Caller]:
        """See Door. Their connections are new: a bot does not keep one for long that has never sent anything."""
        self.close()
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(_HttpCaller, "127.0.0.1", self._port) for _ in range(number)]
        self._callers = [caller for _, caller in made]
        return self._callers

    def close(self) -> None:
        """See Door."""
        for caller in self._callers:
            caller.close()


# --- Socket Mode ----------------------------------------------------------------------------------------


class SocketDoor:
    """Slack's end of one Socket Mode connection: https://docs.slack.dev/apis/events-api/using-socket-mode."""

    def __init__(self, invocations: Invocations) -> None:
        self._invocations = invocations
        self._socket: web.WebSocketResponse | None = None
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._runner: web.AppRunner | None = None
        self.connected = asyncio.Event()

    async def start(self) -> str:
        """Listen, and return the address that apps.connections.open is to give."""
        app = web.Application()
        app.router.add_get("/link", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"ws://127.0.0.1:{self._runner.addresses[0][1]}/link"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0SANDBOX"}})
        self._socket = socket
        self.connected.set()
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self._acknowledged(message.data)
        self.connected.clear()
        return socket

    def _acknowledged(self, raw: str) -> None:
        waiting = self._waiting.pop(json.loads(raw).get("envelope_id", ""), None)
        if waiting is not None:
            waiting.set_result(raw)

    def commands(self, number: int, proof: str = _ACKS_IN_MODEL) -> list[Command]:
        """See Door."""
        return [self._command(proof) for _ in range(number)]

    def _command(self, proof: str) -> Command:
        fields = self._invocations.next()
        envelope_id = f"5b7f2c1a-{fields['text']}"
        envelope = {
            "envelope_id": envelope_id,
            "type": "slash_commands",
            "payload": fields,
            "accepts_response_payload": True,
        }
        return Command(json.dumps(envelope), proof % fields["text"], envelope_id)

    async def callers(self, number: int) -> Sequence[Caller]:
        """See Door: they share the one connection."""
        return [self] * number

    async def ask(self, command: Command) -> None:
        """See Caller."""
        assert self._socket is not None
        answered = self._waiting[command.envelope_id] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(command.wire)
        raw = await answered
        if command.proof not in raw:
            raise WrongAck(f"{raw!r} to {command.wire!r}")

    def close(self) -> None:
        """See Door."""


# --- the loops ------------------------------------------------------------------------------------------


async def closed(callers: Sequence[Caller], commands: Sequence[Command], seconds: float) -> tuple[int, float]:
    """Each caller asks again as soon as it is answered, for so long; returns how many acks came, and in what time."""
    waiting = iter(commands)
    began = time.perf_counter()
    end = began + seconds

    async def call(caller: Caller) -> int:
        acks = 0
        while time.perf_counter() < end and (command := next(waiting, None)) is not None:
            await caller.ask(command)
            acks += 1
        return acks

    async with asyncio.timeout(seconds + ANSWER_SECONDS):
        acks = sum(await asyncio.gather(*map(call, callers)))
    return acks, time.perf_counter() - began


async def opened(callers: Sequence[Caller], commands: Sequence[Command], rate: float) -> list[float]:
    """Commands fall due at a fixed rate, whatever became of those before; returns how long after each its ack came."""
    free: asyncio.LifoQueue[Caller] = asyncio.LifoQueue()
    for caller in callers:
        free.put_nowait(caller)
    begin = time.perf_counter() + 0.1

    async def one(command: Command, due: float) -> float:
        caller = await free.get()
        await caller.ask(command)
        free.put_nowait(caller)
        return time.perf_counter() - due

    async def due_at(due: float) -> None:
        await asyncio.sleep(max(due - time.perf_counter() - SPIN_SECONDS, 0))
        while time.perf_counter() < due:  # noqa: ASYNC110 - see SPIN_SECONDS
            await asyncio.sleep(0)

    asking = []
    async with asyncio.timeout(len(commands) / rate + ANSWER_SECONDS):
        for n, command in enumerate(commands):
            due = begin + n / rate
            await due_at(due)
            asking.append(asyncio.ensure_future(one(command, due)))
        return await asyncio.gather(*asking)
