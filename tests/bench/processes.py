"""The processes of a run: the Slack, the ModelsLab, and what is measured. Each ends with its context."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import Commands

ROOT = Path(__file__).parents[2]

_SETTINGS = {
    "ALLOWED_USERS": "*",
    "COMMANDS_PER_PERSON": "0",
    "MAX_IN_FLIGHT": "0",
    "RELOAD_SECONDS": "3600",
    "HOST": "127.0.0.1",
    "LOG_FORMAT": "json",
}


@asynccontextmanager
async def running(
    *arguments: str, env: Mapping[str, str], cwd: Path, talks: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process; what it logs goes to a file. talks: its input and output are pipes."""
    pipe = asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL
    with (cwd / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env},
            stdin=pipe,
            stdout=pipe if talks else log,
            stderr=log,
            limit=1 << 24,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Orders:
    """Talks with a process in lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def answer(self) -> object:
        """The next line of the process."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "a process of the bench has ended: see its log"
        said: object = json.loads(line)
        return said

    async def give(self, order: str, value: object = None) -> object:
        """Give an order, and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({order: value}).encode() + b"\n")
        return await self.answer()


@dataclass(frozen=True, slots=True)
class Services:
    """A Slack and a ModelsLab, and the settings with which a bot finds them."""

    slack: Orders
    env: Mapping[str, str]


@asynccontextmanager
async def services(folder: Path) -> AsyncIterator[Services]:
    """Both, for as long as the context lasts."""
    module = ("-m", "tests.bench.services")
    async with (
        running(*module, "slack", env={}, cwd=folder, talks=True) as slack,
        running(*module, "modelslab", env={}, cwd=folder, talks=True) as modelslab,
    ):
        orders = Orders(slack)
        env = dict(_SETTINGS)
        for said in (await orders.answer(), await Orders(modelslab).answer()):
            assert isinstance(said, dict)
            env |= said
        yield Services(orders, env)


@dataclass(frozen=True, slots=True)
class Started:
    """A process that is ready: its port and signed commands for it, and how many seconds it took to start."""

    commands: Commands
    pid: int
    seconds: float


@asynccontextmanager
async def started(services: Services, folder: Path, url: str) -> AsyncIterator[Started]:
    """Start the bot on the database of that URL, or default Bolt where there is none, and wait until it is ready."""
    port = free_port()
    arguments = ["-m", "bot"] if url else ["-m", "tests.bench.yardstick", str(port)]
    env = {**services.env, "PORT": str(port), "DATABASE_URL": url}
    began = time.perf_counter()
    async with running(*arguments, env=env, cwd=folder) as process:
        async with asyncio.timeout(30):
            while not await _ready(port, url):  # noqa: ASYNC110 - a port sets no event
                await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began
        yield Started(Commands(port, env["SLACK_SIGNING_SECRET"], env["SLACK_API_URL"]), process.pid, seconds)


def free_port() -> int:
    """A port that is free just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def _ready(port: int, url: str) -> bool:
    """Whether a command would be taken: of Bolt, that it answers at all."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = await reader.read(12)
    writer.close()
    return answer.endswith(b"200") if url else bool(answer)


async def mebibytes(pid: int) -> float:
    """The resident memory of a process."""
    process = await asyncio.create_subprocess_exec("ps", "-o", "rss=", "-p", str(pid), stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return int(out) / 1024
