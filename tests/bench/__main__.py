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
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from packaging.requirements import Requirement
from sqlalchemy import Connection

from bot.core.models import Claim, Person
from bot.sandbox.slack.service import SandboxSlack
from bot.storage import jobs, requests
from bot.storage.database import Database, now
from bot.storage.outcomes import Accepted, Reschedule, record
from bot.storage.requests import Request
from bot.worker.loop import CALLS, STATUSES
from tests.bench.load import CHANNELS, apart, channel, closed_loop, open_loop
from tests.bench.processes import ROOT, Started, mebibytes, started
from tests.faults.fleet import Fleet, fleet
from tests.postgres import Postgres, server

WARM_UP = 300
"""Commands that are not measured, of each subject: what is imported, compiled or first collected as garbage there."""
CONNECTIONS = 32
RATE = 50
PEOPLE = 200
FOLLOW_UPS = 1000
START_SECONDS = 8.0
"""From the seeding of follow-ups to the first that is due: what the bot gets to start in."""

BOLT, SQLITE, POSTGRESQL = "default Bolt", "the bot on SQLite", "the bot on PostgreSQL"

MEASURES = {
    "acks a second, one caller": ("/s", 0),
    "ack at 50 a second, p50": (" ms", 2),
    "ack at 50 a second, p99": (" ms", 2),
    "200 people at once, ack p99": (" ms", 0),
    "1,000 follow-ups in 3 s, p50 late": (" ms", 0),
    "1,000 follow-ups in 3 s, p99 late": (" ms", 0),
    "start to ready": (" s", 2),
    "idle memory": (" MiB", 1),
    "installed distributions": ("", 0),
}
"""What is measured, with its unit and digits."""


class Plan(NamedTuple):
    """How much is measured: rounds, and seconds of each loop."""

    rounds: int = 5
    settle: float = 1.0
    closed: float = 2.0
    open: float = 4.0


QUICK = Plan(rounds=2, settle=0.3, closed=0.5, open=1.0)


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
            for subject in (BOLT, SQLITE, POSTGRESQL):
                sys.stderr.write(f"{time.strftime('%H:%M:%S')} round {n + 1} of {self.plan.rounds}: {subject}\n")
                async with self._services(subject) as services, started(services) as ready:
                    await self.acks(services.slack, subject, ready)
                if subject != BOLT:
                    async with self._services(subject) as services:
                        await self.follow_ups(services, subject)
        self.note("installed distributions", "the bot", distributions())

    @asynccontextmanager
    async def _services(self, subject: str) -> AsyncIterator[Fleet]:
        """A Slack, a ModelsLab, a folder, and an empty database for a bot."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            urls = {BOLT: "", SQLITE: f"sqlite:///{name}/bench.db", POSTGRESQL: self.postgres.create()}
            async with fleet(Path(name), urls[subject], CHANNELS, RELOAD_SECONDS="3600") as services:
                yield services
            self.postgres.drop(urls[POSTGRESQL])

    async def acks(self, slack: SandboxSlack, subject: str, ready: Started) -> None:
        """One round of one subject: start, idle, and the loops; of the bot also everybody at once."""
        self.note("start to ready", subject, ready.seconds)
        await asyncio.sleep(self.plan.settle)
        self.note("idle memory", subject, mebibytes(ready.pid))
        make, port = ready.commands.make, ready.commands.port

        async def work_is_done(commands: int) -> None:
            await posted(slack, commands if subject != BOLT else 0)

        await apart(closed_loop, port, 1, make(WARM_UP), 60)
        await work_is_done(WARM_UP)
        paced = await apart(open_loop, port, CONNECTIONS, make(round(self.plan.open * RATE)), RATE)
        self.note("ack at 50 a second, p50", subject, 1000 * percentile(paced, 0.5))
        self.note("ack at 50 a second, p99", subject, 1000 * percentile(paced, 0.99))
        await work_is_done(WARM_UP + len(paced))
        took, total = await apart(closed_loop, port, 1, make(round(self.plan.closed * 2000)), self.plan.closed)
        self.note("acks a second, one caller", subject, len(took) / total)
        if subject != BOLT:
            await work_is_done(WARM_UP + len(paced) + len(took))
            slack.messages.clear()
            took, _ = await apart(closed_loop, port, CONNECTIONS, make(PEOPLE), 60)
            self.note("200 people at once, ack p99", subject, 1000 * percentile(took, 0.99))
            await work_is_done(PEOPLE)
            channels = Counter(message.channel for message in slack.messages)
            assert Counter(channels.values()) == {1: PEOPLE}, "a status message was lost or doubled"

    async def follow_ups(self, services: Fleet, subject: str) -> None:
        """How late follow-ups arrive at Slack, when many are due within seconds."""
        slack = services.slack
        channels = [channel(n) for n in range(FOLLOW_UPS)]
        statuses = {where: slack.say(where, {"text": "is being reloaded"}, "api").ts for where in channels}
        begin = time.time() + START_SECONDS
        due = {where: begin + n * 3.0 / FOLLOW_UPS for n, where in enumerate(channels)}
        await seed(services.env["DATABASE_URL"], due, statuses)
        async with started(services):
            assert time.time() < begin, "the bot took too long to start"
            await posted(slack, 2 * FOLLOW_UPS)
        came = [message for message in slack.messages if "should be ready now" in message.text]
        assert sorted(message.channel for message in came) == sorted(due), "a follow-up was lost or doubled"
        late = [1000 * (message.at - due[message.channel]) for message in came]
        self.note("1,000 follow-ups in 3 s, p50 late", subject, percentile(late, 0.5))
        self.note("1,000 follow-ups in 3 s, p99 late", subject, percentile(late, 0.99))


async def posted(slack: SandboxSlack, number: int) -> None:
    """Wait until there are so many messages."""
    await slack.wait_until(lambda: len(slack.messages) >= number, within=60)


async def seed(url: str, due: Mapping[str, float], statuses: Mapping[str, str]) -> None:
    """Have one reload accepted for each channel, with its status message there and a follow-up due at its time."""

    def add_reloads(connection: Connection) -> None:
        jobs.open_database(connection)
        for where in due:
            request = Request(f"seed-{where}", Person(f"U{where}", "", where), f"model-{where}")
            requests.ask(connection, request, requests.Limits())
        calls, *_ = jobs.claim(connection, "seed", {CALLS: FOLLOW_UPS})
        for claim in calls:
            assert isinstance(claim, Claim)
            ready_in = due[claim.reload.model_id.removeprefix("model-")] - now(connection)
            record(connection, "seed", [(claim.job, Accepted(ready_in))])
        shown, *_ = jobs.claim(connection, "seed", {STATUSES: FOLLOW_UPS})
        for claim in shown:
            record(connection, "seed", [(claim.job, Reschedule(status_ts=statuses[claim.job.channel_id]))])

    database = Database(url)
    await database.start()
    await database.run(add_reloads)
    await database.stop()


def distributions() -> int:
    """How many distributions the runtime lock installs here, with the bot itself."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    named = [Requirement(line.rstrip("\\ ")) for line in lines if line and not line.startswith((" ", "#"))]
    return 1 + sum(one.marker is None or one.marker.evaluate() for one in named)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of them lies."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def table(rounds: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """A row of Markdown for each subject of each measure: the median, the range, and the ratio to default Bolt."""
    rows = ["| | subject | median | min to max | of default Bolt |", "|---|---|---|---|---|"]
    for measure, (unit, digits) in MEASURES.items():
        for subject, values in rounds[measure].items():
            bolt = rounds[measure].get(BOLT) if subject != BOLT else None
            ratio = f"{median(one / other for one, other in zip(values, bolt, strict=True)):.2f}" if bolt else ""
            low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
            rows.append(f"| {measure} | {subject} | {middle}{unit} | {low} to {high} | {ratio} |")
    return "\n".join(rows)


def main() -> None:
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reload-model-bench-") as folder, server() as postgres:
        bench = Bench(QUICK if options.quick else Plan(), postgres, Path(folder))
        asyncio.run(bench.run())
    found = {"python": platform.python_version(), "processors": os.cpu_count(), "rounds": bench.rounds}
    Path("bench.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(bench.rounds)}\n\nEvery number is in bench.json.\n")


if __name__ == "__main__":
    main()
