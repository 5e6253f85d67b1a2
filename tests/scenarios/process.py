"""The bot as an operator runs it: a process of its own, with an environment, an output and an exit code."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.scenarios.scenario import Record, Scenario, eventually
from tests.secrecy import scan

PASSED_ON = ("PATH", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START", "COVERAGE_FILE")


class Process:
    """One run of python -m bot; what it writes is gathered as it comes."""

    def __init__(self, folder: Path, env: Mapping[str, str], *arguments: str, measured: bool = False) -> None:
        """measured: whether its coverage counts, which makes it slow."""
        self._folder = folder
        passed_on = PASSED_ON if measured else ("PATH",)
        self._env = {name: os.environ[name] for name in passed_on if name in os.environ} | dict(env)
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.stdout = self.stderr = ""

    async def start(self, stdin: bytes | None = None) -> None:
        """Start, with this for input; None is /dev/null."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot",
            *self._arguments,
            cwd=self._folder,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read(self._process))
        if self._process.stdin is not None:
            self._process.stdin.write(stdin or b"")
            self._process.stdin.close()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        async def gather(stream: asyncio.StreamReader | None, name: str) -> None:
            while stream is not None and (line := await stream.readline()):
                setattr(self, name, getattr(self, name) + line.decode())

        await asyncio.gather(gather(process.stdout, "stdout"), gather(process.stderr, "stderr"))

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process is not None
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(30.0):
            code = await self._process.wait()
            await self._reading
        return code

    async def run(self, stdin: bytes | None = None) -> int:
        """Start, wait for the end, and return the exit code."""
        await self.start(stdin)
        return await self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill it, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        await self.wait()

    def of(self, event: str) -> list[Record]:
        """The log records of one event."""
        records: list[Record] = [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]
        return [record for record in records if record["event"] == event]

    async def ready(self) -> None:
        """Wait until it says that it is ready."""
        await eventually(lambda: self.of("ready"))


class Machine:
    """Where the bot runs: one database, and one process after another."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario = scenario
        self._folder = folder
        self._env = scenario.env | {"LOG_LEVEL": "DEBUG", "RELOAD_SECONDS": "1"}
        self.runs: list[Process] = []
        self.measured = False
        """Whether the coverage of the processes to come counts."""

    def process(self, *arguments: str, **env: str) -> Process:
        """A process that has not been started, with these settings besides the usual ones."""
        made = Process(self._folder, self._env | env, *arguments, measured=self.measured)
        self.runs.append(made)
        return made

    async def boot(self, **env: str) -> Process:
        """Start the bot, and wait until it is ready."""
        booted = self.process(**env)
        await booted.start()
        await booted.ready()
        if self._scenario.mode == "http":
            self._scenario.slack.request_url = f"http://127.0.0.1:{booted.of('ready')[0]['port']}/slack/events"
        return booted

    async def end(self, process: Process, number: signal.Signals) -> int:
        """Send a signal that ends the process, and return its exit code."""
        process.signal(number)
        return await process.wait()

    async def check(self) -> None:
        """Kill what still runs; see that no secret was written anywhere."""
        for run in self.runs:
            await run.kill()
            scan("what a process wrote", run.stdout + run.stderr)
            assert "Traceback" not in run.stdout + run.stderr
