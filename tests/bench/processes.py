"""The bot or Bolt in a process, which ends with its context."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import Commands
from tests.faults.fleet import status_of

ROOT = Path(__file__).parents[2]

_RUN = "import sys; sys.modules['rich'] = None; from bot.cli import main; sys.exit(main())"
"""The bot as it is deployed: structlog would import rich, which is here only because linters need it."""


@dataclass(frozen=True, slots=True)
class Started:
    """A process that is ready: its port and signed commands for it, and how many seconds it took to start."""

    commands: Commands
    pid: int
    seconds: float


@asynccontextmanager
async def started(settings: Mapping[str, str], folder: Path) -> AsyncIterator[Started]:
    """Start the bot, or default Bolt if the settings have no database, and wait until it is ready."""
    port, url = free_port(), settings["DATABASE_URL"]
    arguments = ["-c", _RUN] if url else ["-m", "tests.bench.yardstick", str(port)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings, "PORT": str(port)}
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
