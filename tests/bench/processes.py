"""The processes of a run: the Slack, the ModelsLab, and whatever is measured. Each ends with its context."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import Door, HttpDoor, Invocations, SocketDoor

ROOT = Path(__file__).parents[2]

START_SECONDS = 30.0
LOOK_SECONDS = 0.01

# Each command is of a person of its own, so COMMANDS_PER_PERSON is looked up as in use, and never reached.
_SETTINGS = {
    "ALLOWED_USERS": "*",
    "RELOAD_SECONDS": "3600",
    "MAX_IN_FLIGHT": "0",
    "HOST": "127.0.0.1",
    "LOG_FORMAT": "json",
}
_LINE_LIMIT = 1 << 24
_GOOD = b"HTTP/1.1 200"


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
            limit=_LINE_LIMIT,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Talker:
    """Speaks with a process by lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def said(self) -> object:
        """The next thing that it says."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "a process of the bench has ended: see its log"
        said: object = json.loads(line)
        return said

    async def tell(self, order: str, value: object = None) -> object:
        """Give an order, and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({order: value}).encode() + b"\n")
        return await self.said()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A Slack and a ModelsLab, with the environment in which somebody finds them."""

    slack: Talker
    env: Mapping[str, str]
    invocations: Invocations


@asynccontextmanager
async def sandbox(folder: Path) -> AsyncIterator[Sandbox]:
    """Both, fresh, for as long as the context lasts."""
    module = ("-m", "tests.bench.sandbox")
    async with (
        running(*module, "slack", env={}, cwd=folder, talks=True) as slack,
        running(*module, "modelslab", env={}, cwd=folder, talks=True) as modelslab,
    ):
        talker = Talker(slack)
        env = dict(_SETTINGS)
        env |= {"COMMANDS_PER_PERSON": "0", "MAX_IN_FLIGHT": "0"}
        for said in (await talker.said(), await Talker(modelslab).said()):
            assert isinstance(said, dict)
            env |= said
        yield Sandbox(talker, env, Invocations.of(env["SLACK_API_URL"].removesuffix("/api/")))


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is measured; database is empty for a yardstick."""

    name: str
    kind: str
    socket: bool = False
    database: str = ""

    @property
    def proof(self) -> str:
        """What each ack of it must hold, with the command's model."""
        if self.kind == "raw":
            return "Reloading"
        return "Reloading `%s` (reload `" if self.database else "Reloading `%s`."


SUBJECTS = (
    Subject("raw aiohttp", "raw"),
    Subject("default Bolt", "bolt"),
    Subject("Bolt, process_before_response", "before"),
    Subject("the bot, SQLite", "bot", database="sqlite"),
    Subject("the bot, PostgreSQL", "bot", database="postgresql"),
    Subject("default Bolt, Socket Mode", "bolt", socket=True),
    Subject("Bolt, process_before_response, Socket Mode", "before", socket=True),
    Subject("the bot, Socket Mode, SQLite", "bot", socket=True, database="sqlite"),
    Subject("the bot, Socket Mode, PostgreSQL", "bot", socket=True, database="postgresql"),
)


@dataclass(frozen=True, slots=True)
class Started:
    """A subject that is ready: the way in, its process, and how many seconds it took to become ready."""

    door: Door
    pid: int
    seconds: float


@asynccontextmanager
async def started(subject: Subject, sandbox: Sandbox, folder: Path, url: str) -> AsyncIterator[Started]:
    """Start a subject in its folder, and wait until it would take a command. url is that of a bot's database."""
    port = free_port()
    door = SocketDoor(sandbox.invocations) if subject.socket else None
    settings = dict(sandbox.env)
    if subject.kind == "bot":
        settings |= {"PORT": str(port), "DATABASE_URL": url}
        settings["SLACK_APP_TOKEN"] = settings["SLACK_APP_TOKEN"] if subject.socket else ""
        arguments = ["-m", "bot"]
        ready = _answers(port, "/readyz")
    else:
        arguments = ["-m", "tests.bench.yardsticks", subject.kind, "0" if subject.socket else str(port)]
        ready = door.connected.wait if door else _answers(port, "/", any_status=True)
    await sandbox.slack.tell("link", await door.start() if door else None)
    began = time.perf_counter()
    async with running(*arguments, env=settings, cwd=folder) as process:
        async with asyncio.timeout(START_SECONDS):
            await ready()
        seconds = time.perf_counter() - began
        way_in = door or HttpDoor(port, settings["SLACK_SIGNING_SECRET"], sandbox.invocations)
        try:
            yield Started(way_in, process.pid, seconds)
        finally:
            way_in.close()
            if door:
                await door.stop()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _answers(port: int, path: str, *, any_status: bool = False) -> Callable[[], Awaitable[object]]:
    async def wait() -> None:
        while not await _answered(port, path, any_status=any_status):  # noqa: ASYNC110 - a port rings no bell
            await asyncio.sleep(LOOK_SECONDS)

    return wait


async def _answered(port: int, path: str, *, any_status: bool) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read(len(_GOOD))
    writer.close()
    return bool(answer) and (any_status or answer == _GOOD)


async def mebibytes(pid: int) -> float:
    """The resident memory of a process."""
    process = await asyncio.create_subprocess_exec("ps", "-o", "rss=", "-p", str(pid), stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return int(out) / 1024
