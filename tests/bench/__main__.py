"""The bot beside what it stands on, in one run: make bench, or python -m tests.bench [--quick].

Rounds alternate: every subject once, then every subject again, each a fresh process each time. Prints a table of
ratios and writes every number to bench.json. The acks are those of durable commits: PostgreSQL syncs, SQLite runs as
it does in use.
"""

import argparse
import asyncio
import gc
import importlib.metadata
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

from bot.storage.database import lock_of
from tests.bench import report
from tests.bench.lateness import seed
from tests.bench.load import channel, closed, opened
from tests.bench.processes import ROOT, SUBJECTS, Sandbox, Started, Subject, mebibytes, running, sandbox, started
from tests.postgres import Postgres, server

CALLERS = 32
RATE = 50
DUE_SECONDS = 3.0
START_SECONDS = 4.0
"""From the seeding of follow-ups to the first that is due: what replicas get to start in."""

_SQLITE, _POSTGRESQL = SUBJECTS[3:5]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: counts, and seconds."""

    rounds: int
    settle: float
    warm: int
    open: float
    one: float
    many: float
    growth_warm: int
    growth: int
    late_rounds: int


FULL = Plan(rounds=5, settle=1, warm=100, open=3, one=1.5, many=2, growth_warm=3000, growth=20_000, late_rounds=3)
QUICK = Plan(rounds=2, settle=0.3, warm=30, open=1, one=0.5, many=0.5, growth_warm=200, growth=500, late_rounds=1)


@dataclass(slots=True)
class Bench:
    """One run, and what it has found."""

    plan: Plan
    postgres: Postgres
    folder: Path
    sandbox: Sandbox = field(init=False)
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def note(self, measure: str, subject: str, value: float) -> None:
        """Keep a number."""
        self.rounds[measure][subject].append(value)

    async def run(self, wanted: Callable[[str], bool]) -> None:
        """Measure all that is wanted, each round in a sandbox of its own."""
        for n in range(self.plan.rounds if wanted("acks") else 0):
            async with sandbox(self.folder) as self.sandbox:
                for subject in SUBJECTS:
                    tell(f"round {n + 1} of {self.plan.rounds}: {subject.name}")
                    await self.acks(subject)
        for n in range(self.plan.late_rounds if wanted("late") else 0):
            tell(f"follow-ups, {n + 1} of {self.plan.late_rounds}")
            async with sandbox(self.folder) as self.sandbox:
                await self.late(_SQLITE, 1)
                await self.late(_POSTGRESQL, 2)
            await self.late_stubbed()
        if wanted("growth"):
            tell("growth")
            async with sandbox(self.folder) as self.sandbox:
                await self.growth(_SQLITE)
        self.note("distributions", "the bot", distributions())

    # --- acks -----------------------------------------------------------------------------------------

    async def acks(self, subject: Subject) -> None:
        """One round of one subject: start, rest, and the three loops."""
        plan = self.plan
        async with self._scene(subject) as (folder, url), started(subject, self.sandbox, folder, url) as ready:
            self.note("start to ready", subject.name, ready.seconds)
            await asyncio.sleep(plan.settle)
            self.note("idle memory", subject.name, await mebibytes(ready.pid))
            await closed(await ready.door.callers(1), ready.door.commands(plan.warm, subject.proof), 30)
            if subject.database:
                await self.sandbox.slack.tell("messages", plan.warm)
            commands = ready.door.commands(round(plan.open * RATE), subject.proof)
            late = [1000 * seconds for seconds in await opened(await ready.door.callers(CALLERS), commands, RATE)]
            self.note("ack p50 at 50/s", subject.name, report.percentile(late, 0.5))
            self.note("ack p99 at 50/s", subject.name, report.percentile(late, 0.99))
            for measure, number, seconds in (
                ("acks, 1 caller", 1, plan.one),
                (f"acks, {CALLERS} callers", CALLERS, plan.many),
            ):
                commands = ready.door.commands(round(seconds * 9000), subject.proof)
                acks, took = await closed(await ready.door.callers(number), commands, seconds)
                self.note(measure, subject.name, acks / took)

    @asynccontextmanager
    async def _scene(self, subject: Subject) -> AsyncIterator[tuple[Path, str]]:
        """A folder, an empty database for a bot, and at the end a Slack that has forgotten it all."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            url = self.postgres.create() if subject.database == "postgresql" else f"sqlite:///{name}/bench.db"
            yield Path(name), url
            await self.sandbox.slack.tell("forget")
        if subject.database == "postgresql":
            self.postgres.drop(url)

    # --- growth ---------------------------------------------------------------------------------------

    async def growth(self, subject: Subject) -> None:
        """Resident memory, after some commands and after many more: each time all calls and posts have been made."""
        async with self._scene(subject) as (folder, url), started(subject, self.sandbox, folder, url) as ready:
            before = await self._after(ready, self.plan.growth_warm, 0)
            after = await self._after(ready, self.plan.growth, self.plan.growth_warm)
            self.note("growth", f"{subject.name}, after {self.plan.growth:,} commands", after - before)

    async def _after(self, ready: Started, number: int, already: int) -> float:
        commands = ready.door.commands(number, _SQLITE.proof)
        acks, _ = await closed(await ready.door.callers(CALLERS), commands, 300)
        assert acks == number
        await self.sandbox.slack.tell("messages", already + number)
        await asyncio.sleep(self.plan.settle)
        return await mebibytes(ready.pid)

    # --- follow-ups -----------------------------------------------------------------------------------

    async def late(self, subject: Subject, replicas: int, number: int = 1000) -> None:
        """How late real follow-ups arrive at Slack, when so many are due within 3 s."""
        async with self._scene(subject) as (folder, url), AsyncExitStack() as stack:
            statuses = await self.sandbox.slack.tell("statuses", number)
            assert isinstance(statuses, list)
            begin = time.time() + START_SECONDS
            await seed(url, begin, DUE_SECONDS, number, statuses)
            for _ in range(replicas):
                await stack.enter_async_context(started(subject, self.sandbox, folder, url))
            assert time.time() < begin, "the replicas took too long to start"
            told = await self.sandbox.slack.tell("told", number)
            assert isinstance(told, list)
            due = {channel(n): begin + n * DUE_SECONDS / number for n in range(number)}
            assert sorted(where for where, _ in told) == sorted(due), "not everyone was told once"
            name = f"{subject.name}, {replicas} replicas" if replicas > 1 else subject.name
            self._late(f"{number:,} follow-ups", name, [at - due[where] for where, at in told])

    async def late_stubbed(self, number: int = 10_000) -> None:
        """How late a desk alone is, on SQLite, where posting takes no time."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            arguments = ("-m", "tests.bench.lateness", f"sqlite:///{name}/bench.db", str(number), str(DUE_SECONDS))
            async with running(*arguments, env={}, cwd=Path(name), talks=True) as process:
                out, _ = await process.communicate()
            assert lock_of(Path(name) / "bench.db").exists()
        self._late(f"{number:,} follow-ups stubbed", "a desk, SQLite", json.loads(out))

    def _late(self, what: str, subject: str, late: list[float]) -> None:
        self.note(f"{what}, p50 late", subject, 1000 * report.percentile(late, 0.5))
        self.note(f"{what}, p99 late", subject, 1000 * report.percentile(late, 0.99))


def distributions() -> int:
    """How many distributions the runtime lock installs here, with the bot itself."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    named = [Requirement(line.rstrip("\\ ")) for line in lines if line and not line.startswith((" ", "#"))]
    return 1 + sum(one.marker is None or one.marker.evaluate() for one in named)


def machine() -> dict[str, object]:
    """What it ran on."""
    return {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load before": os.getloadavg(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("slack-bolt", "aiohttp", "sqlalchemy", "psycopg")},
    }


def tell(text: str) -> None:
    """Say how far it is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


async def _main(options: argparse.Namespace, postgres: Postgres, folder: Path) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    gc.disable()
    found: dict[str, object] = {
        "machine": machine(),
        "quick": options.quick,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    began = time.monotonic()
    bench = Bench(QUICK if options.quick else FULL, postgres, folder)
    await bench.run(lambda part: part in options.only)
    found |= {"seconds": round(time.monotonic() - began), "rounds": bench.rounds, "table": report.rows(bench.rounds)}
    Path("bench.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")  # noqa: ASYNC240 - nothing else runs any more
    sys.stdout.write(
        f"{report.table(bench.rounds)}\n\nImage layers: make container-check. Every number is in bench.json.\n"
    )


PARTS = ("acks", "late", "growth")


def main() -> None:
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="below two minutes: fewer rounds, shorter ones")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="only these parts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reload-model-bench-") as folder, server() as postgres:
        asyncio.run(_main(options, postgres, Path(folder)))


if __name__ == "__main__":
    main()
