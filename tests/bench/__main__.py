"""The bot beside default async Bolt, in one run: make bench, or python -m tests.bench [--quick].

Rounds alternate: every subject once, then every subject again, each time in a fresh process. Prints a table of medians
and ratios, and writes every number to bench.json. Acks are those of durable commits: PostgreSQL syncs, and SQLite
runs as it does in use.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

from tests.bench import report
from tests.bench.follow_ups import seed
from tests.bench.load import Command, channel, closed_loop, open_loop
from tests.bench.processes import ROOT, Services, mebibytes, services, started
from tests.postgres import Postgres, server

CONNECTIONS = 32
RATE = 50
PEOPLE = 200
FOLLOW_UPS = 1000
DUE_SECONDS = 3.0
START_SECONDS = 4.0
"""From the seeding of follow-ups to the first that is due: what the bot gets to start in."""

SQLITE, POSTGRESQL = "the bot on SQLite", "the bot on PostgreSQL"
SUBJECTS = (report.BOLT, SQLITE, POSTGRESQL)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: rounds, and seconds of each loop."""

    rounds: int
    settle: float
    closed: float
    open: float


FULL = Plan(rounds=5, settle=1, closed=2, open=4)
QUICK = Plan(rounds=2, settle=0.3, closed=0.5, open=1)


@dataclass(slots=True)
class Bench:
    """One run, and what it has found."""

    plan: Plan
    postgres: Postgres
    folder: Path
    rounds: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def note(self, measure: str, subject: str, value: float) -> None:
        """Keep a number."""
        self.rounds[measure][subject].append(value)

    async def run(self) -> None:
        """Measure everything, each round with services of its own."""
        for n in range(self.plan.rounds):
            for subject in SUBJECTS:
                say(f"round {n + 1} of {self.plan.rounds}: {subject}")
                async with services(self.folder) as around, self._place(subject) as (folder, url):
                    await self.acks(around, subject, folder, url)
                if subject != report.BOLT:
                    async with services(self.folder) as around, self._place(subject) as (folder, url):
                        await self.follow_ups(around, subject, folder, url)
        self.note("installed distributions", "the bot", distributions())

    @asynccontextmanager
    async def _place(self, subject: str) -> AsyncIterator[tuple[Path, str]]:
        """A folder, and the URL of an empty database for a bot."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            if subject != POSTGRESQL:
                yield Path(name), f"sqlite:///{name}/bench.db" if subject == SQLITE else ""
                return
            url = self.postgres.create()
            yield Path(name), url
        self.postgres.drop(url)

    async def acks(self, around: Services, subject: str, folder: Path, url: str) -> None:
        """One round of one subject: start, idle, and the loops."""
        async with started(around, folder, url) as ready:
            self.note("start to ready", subject, ready.seconds)
            await asyncio.sleep(self.plan.settle)
            self.note("idle memory", subject, await mebibytes(ready.pid))
            make, port = ready.commands.make, ready.commands.port
            await closed_loop(port, 1, make(50), 30)  # what is imported or compiled once
            late = await open_loop(port, CONNECTIONS, make(round(self.plan.open * RATE)), RATE)
            self.note("ack at 50 a second, p50", subject, 1000 * report.percentile(late, 0.5))
            self.note("ack at 50 a second, p99", subject, 1000 * report.percentile(late, 0.99))
            acks, total = await closed_loop(port, 1, make(round(self.plan.closed * 2000)), self.plan.closed)
            self.note("acks a second, one caller", subject, len(acks) / total)
            if url:
                await around.slack.give("posted", 50 + len(late) + len(acks))
                await self.people(around, subject, ready.commands.make(PEOPLE), port)

    async def people(self, around: Services, subject: str, commands: list[Command], port: int) -> None:
        """Everybody at once, each with another model; every reload gets its one status message."""
        await around.slack.give("forget")
        took, _ = await closed_loop(port, CONNECTIONS, commands, 60)
        self.note("200 people at once, ack p99", subject, 1000 * report.percentile(took, 0.99))
        posted = await around.slack.give("posted", PEOPLE)
        assert isinstance(posted, list)
        assert len(took) == PEOPLE, "an ack was lost"
        assert Counter(Counter(posted).values()) == {1: PEOPLE}, "a status message was lost or doubled"

    async def follow_ups(self, around: Services, subject: str, folder: Path, url: str) -> None:
        """How late follow-ups arrive at Slack, when many are due within seconds."""
        statuses = await around.slack.give("statuses", FOLLOW_UPS)
        assert isinstance(statuses, list)
        begin = time.time() + START_SECONDS
        await seed(url, begin, DUE_SECONDS, statuses)
        async with started(around, folder, url):
            assert time.time() < begin, "the bot took too long to start"
            came = await around.slack.give("followed_up", FOLLOW_UPS)
        assert isinstance(came, list)
        due = {channel(n): begin + n * DUE_SECONDS / FOLLOW_UPS for n in range(FOLLOW_UPS)}
        assert sorted(where for where, _ in came) == sorted(due), "a follow-up was lost or doubled"
        late = [1000 * (at - due[where]) for where, at in came]
        self.note("1,000 follow-ups in 3 s, p50 late", subject, report.percentile(late, 0.5))
        self.note("1,000 follow-ups in 3 s, p99 late", subject, report.percentile(late, 0.99))


def distributions() -> int:
    """How many distributions the runtime lock installs here, with the bot itself."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    named = [Requirement(line.rstrip("\\ ")) for line in lines if line and not line.startswith((" ", "#"))]
    return 1 + sum(one.marker is None or one.marker.evaluate() for one in named)


def say(text: str) -> None:
    """Say how far it is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


async def _main(bench: Bench) -> None:
    machine = {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load before": os.getloadavg(),
        "python": platform.python_version(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    began = time.monotonic()
    await bench.run()
    found = {"machine": machine, "seconds": round(time.monotonic() - began), "rounds": bench.rounds}
    Path("bench.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")  # noqa: ASYNC240
    sys.stdout.write(f"{report.table(bench.rounds)}\n\nEvery number is in bench.json.\n")


def main() -> None:
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reload-model-bench-") as folder, server() as postgres:
        asyncio.run(_main(Bench(QUICK if options.quick else FULL, postgres, Path(folder))))


if __name__ == "__main__":
    main()
