"""The bot or Bolt in a process, which ends with its context, and signed commands for it."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

from bot.sandbox.slack.service import SandboxSlack
from tests.bench.load import Command, channel
from tests.faults.fleet import Fleet, status_of
from tests.scenarios.scenario import invocation

ROOT = Path(__file__).parents[2]

_RUN = "import sys; sys.modules['rich'] = None; from bot.cli import main; sys.exit(main())"
"""The bot as it is deployed: structlog would import rich, which is here only because linters need it."""


class Commands:
    """Makes signed commands, each for a model, a person and a channel of its own, for one port."""

    def __init__(self, port: int, slack: SandboxSlack) -> None:
        self.port = port
        self._slack = slack
        self._numbers = count()

    def make(self, number: int) -> list[Command]:
        """So many."""
        return [self._command(next(self._numbers)) for _ in range(number)]

    def _command(self, n: int) -> Command:
        user, model = f"U{n:07d}", f"bench-{n:07d}"
        url = f"http://{self._slack.host}/commands/T0SANDBOX/{n}/bench"
        fields = invocation(text=model, user_id=user, channel_id=channel(n), response_url=url, trigger_id=f"{n}.1")
        body = urlencode(fields).encode()
        headers = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(body)), **self._slack.sign(body)}
        lines = ["POST /slack/events HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return Command("\r\n".join(lines).encode() + body, f"Reloading `{model}`".encode())


@dataclass(frozen=True, slots=True)
class Started:
    """A process that is ready: its port and signed commands for it, and how many seconds it took to start."""

    commands: Commands
    pid: int
    seconds: float


@asynccontextmanager
async def started(services: Fleet) -> AsyncIterator[Started]:
    """Start the bot, or default Bolt if the settings have no database, and wait until it is ready."""
    port, url, folder = free_port(), services.env["DATABASE_URL"], services.folder
    arguments = ["-c", _RUN] if url else ["-m", "tests.bench.yardstick", str(port)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **services.env, "PORT": str(port)}
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
        yield Started(Commands(port, services.slack), process.pid, seconds)
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
