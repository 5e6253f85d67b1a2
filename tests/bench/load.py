"""The load: signed commands, no two alike. An answer that is not the ack of its command ends the run."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CHANNELS = 30_000
"""So many that the bot never waits for its turn in one of them."""


class Command(NamedTuple):
    """One command as it goes out, and what its ack must contain."""

    request: bytes
    proof: bytes


def channel(n: int) -> str:
    """The ID of the nth channel."""
    return f"C{n % CHANNELS:05d}"


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
"""One connection that is kept, without a client library: the load costs little beside what it measures."""


async def send(connection: Connection, command: Command) -> float:
    """Return how many seconds the ack took. Raises AssertionError for any other answer."""
    reader, writer = connection
    began = time.perf_counter()
    writer.write(command.request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    took = time.perf_counter() - began
    assert head.startswith(b"HTTP/1.1 200 "), head
    assert command.proof in body, body
    return took


_APART = ProcessPoolExecutor(1, get_context("spawn"))


async def apart(load: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
    """Run one of the loops in a process of its own, since this one has Slack and ModelsLab to serve."""
    return await asyncio.get_running_loop().run_in_executor(_APART, partial(_run, load, *args))


def _run(load: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
    return asyncio.run(load(*args))


@asynccontextmanager
async def connected(port: int, number: int) -> AsyncIterator[list[Connection]]:
    """So many connections."""
    made = [await asyncio.open_connection("127.0.0.1", port) for _ in range(number)]
    yield made
    for _, writer in made:
        writer.close()


async def closed_loop(port: int, number: int, commands: Iterable[Command], seconds: float) -> tuple[list[float], float]:
    """So many callers send a command as soon as the last is answered, until time or commands run out.

    Returns how many seconds each ack took, and all together.
    """
    waiting = iter(commands)
    took: list[float] = []

    async def call(connection: Connection) -> None:
        while time.perf_counter() < began + seconds and (command := next(waiting, None)) is not None:
            took.append(await send(connection, command))

    async with connected(port, number) as connections, asyncio.timeout(seconds + 60):
        began = time.perf_counter()
        await asyncio.gather(*map(call, connections))
        return took, time.perf_counter() - began


async def open_loop(port: int, number: int, commands: Sequence[Command], rate: float) -> list[float]:
    """Send commands at a fixed rate, whatever became of those before, and return how many seconds each ack took."""
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()

    async def one(n: int, command: Command) -> float:
        await asyncio.sleep(begin + n / rate - time.perf_counter())
        connection = await free.get()
        took = await send(connection, command)
        free.put_nowait(connection)
        return took

    async with connected(port, number) as connections, asyncio.timeout(len(commands) / rate + 60):
        for connection in connections:
            free.put_nowait(connection)
        begin = time.perf_counter() + 0.1
        return await asyncio.gather(*(one(n, command) for n, command in enumerate(commands)))
