"""The processes of a run: Slack and ModelsLab in one, the bot or Bolt in another. Each ends with its context."""

import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.sandbox.modelslab import SandboxModelsLab
from bot.sandbox.slack.service import SandboxSlack
from tests.bench.load import CHANNELS, Commands, channel
from tests.faults.fleet import settings_of, status_of

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ROOT = Path(__file__).parents[2]

_RUN = "import sys; sys.modules['rich'] = None; from bot.cli import main; sys.exit(main())"
"""The bot as it is deployed: structlog would import rich, which is here only because linters need it."""


def _serve(pipe: "Connection[Any, Any]") -> None:
    asyncio.run(_serve_orders(pipe))


async def _serve_orders(pipe: "Connection[Any, Any]") -> None:
    """Send the settings with which a bot finds the services, then carry out orders until None comes."""
    async with SandboxSlack() as slack, SandboxModelsLab() as modelslab:
        for n in range(CHANNELS):
            slack.add_channel(channel(n), f"room-{n}")
        pipe.send(settings_of(slack, modelslab) | {"RELOAD_SECONDS": "3600"})
        while (order := await asyncio.to_thread(pipe.recv)) is not None:
            pipe.send(await _obey(slack, *order))


async def _obey(slack: SandboxSlack, order: str, number: int) -> object:
    if order == "say":
        return [slack.say(channel(n), {"text": "is being reloaded"}, "api").ts for n in range(number)]
    await slack.wait_until(lambda: len(slack.messages) >= number, within=60)
    found = [(message.channel, message.text, message.at) for message in slack.messages]
    if order == "forget":
        slack.messages.clear()
    return found


class Services:
    """A Slack and a ModelsLab, and the settings with which a bot finds them."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe = pipe
        self.env: dict[str, str] = pipe.recv()

    async def say(self, number: int) -> list[str]:
        """Post a status message in each of so many channels, and return their ts."""
        return await self._order("say", number)  # type: ignore[no-any-return]

    async def messages(self, number: int, *, forget: bool = False) -> list[tuple[str, str, float]]:
        """Wait until there are so many messages, and return the channel, the text and the time of each."""
        return await self._order("forget" if forget else "wait", number)  # type: ignore[no-any-return]

    async def _order(self, *order: object) -> Any:  # noqa: ANN401 - what comes over a pipe
        self._pipe.send(order)
        return await asyncio.to_thread(self._pipe.recv)


@asynccontextmanager
async def services() -> AsyncIterator[Services]:
    """Both, in a process of their own."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    yield Services(ours)
    ours.send(None)
    process.join()


@dataclass(frozen=True, slots=True)
class Started:
    """A process that is ready: its port and signed commands for it, and how many seconds it took to start."""

    commands: Commands
    pid: int
    seconds: float


@asynccontextmanager
async def started(around: Services, folder: Path, url: str) -> AsyncIterator[Started]:
    """Start the bot on the database of that URL, or default Bolt if the URL is empty, and wait until it is ready."""
    port = free_port()
    arguments = ["-c", _RUN] if url else ["-m", "tests.bench.yardstick", str(port)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **around.env, "PORT": str(port), "DATABASE_URL": url}
    began = time.perf_counter()
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=folder, env=env, stdout=log, stderr=log
        )
    try:
        ready = 200 if url else 404  # Bolt has no such path
        async with asyncio.timeout(30):
            while await status_of(f"http://127.0.0.1:{port}/readyz") != ready:  # noqa: ASYNC110 - a port sets no event
                await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began
        yield Started(Commands(port, env["SLACK_SIGNING_SECRET"], env["SLACK_API_URL"]), process.pid, seconds)
    finally:
        process.kill()
        await process.wait()


def free_port() -> int:
    """A port that is free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def mebibytes(pid: int) -> float:
    """The resident memory of a process."""
    return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(pid)])) / 1024  # noqa: S603, S607
