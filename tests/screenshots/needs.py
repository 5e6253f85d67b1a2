"""What the pictures need that this project does not bring: node with npm, a Chromium, and three packages of npm's."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.faults.fleet import status_of
from tests.scenarios.scenario import eventually_answered

MODULES = Path(__file__).parent / "node_modules"
LOCAL_SLACK = MODULES / "local-slack-linux-x64" / "bin" / "local-slack"
TSC = MODULES / ".bin" / "tsc"

# With the versions that the pictures and the types were tried with.
_PACKAGES = ("local-slack-linux-x64@0.1.8", "@slack/types@3.2.0", "typescript@7.0.2")
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str:
    """Where it is. Exits if it is nowhere."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else _CHROMIUMS
    found = next(filter(None, map(shutil.which, names)), None)
    return found or sys.exit("Chromium: not found → install it, or name one: CHROMIUM=/path/to/it")


def install() -> None:
    """Install the packages that are not there yet."""
    options = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error")
    subprocess.run(  # noqa: S603 - words of ours
        ["npm", "install", *options, "--prefix", MODULES.parent, *_PACKAGES],  # noqa: S607 - as the shell finds it
        timeout=300,
        check=True,
    )


@asynccontextmanager
async def running(url: str, *command: str | Path) -> AsyncIterator[None]:
    """A command that serves this URL, for as long as the context lasts; processes of its own end with it."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await eventually_answered(lambda: status_of(url))
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
