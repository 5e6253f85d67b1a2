"""Faults at random, with real processes and services that fail, for RANDOM_SECONDS.

Processes are killed, Slack and ModelsLab fail. On PostgreSQL there are two replicas, which may be stopped for longer
than a lease, and whose connections are terminated or go silent. Meanwhile people request reloads, sometimes through
both replicas at once.
"""

import asyncio
import os
import random
import signal
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.sandbox.modelslab import ACCEPTED, error
from bot.sandbox.slack.service import Ack
from tests.answers import AcceptThenReset, Answer, Hang, Json, RateLimited, Raw, Reset
from tests.faults.fleet import Fleet, Wire, fleet
from tests.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SECONDS = float(os.environ.get("RANDOM_SECONDS", "60"))
SEED = int(os.environ.get("RANDOM_SEED", "1"))
PEOPLE, CHANNELS = 5, 6
STOPPED_SECONDS = 12.0
"""Longer than a lease."""
ENDINGS = ("should be ready now", "was not reloaded")
NOTIFIED_WITHIN = 240.0
"""Seconds for the last notification to arrive once all faults have ended: retries wait half a minute, twice over."""

CLEAR: list[Answer] = [
    ACCEPTED,
    ACCEPTED,
    ACCEPTED,
    error(200, "Model not found: x"),
    error(402, "Insufficient credits."),
]
PASSING: list[Answer] = [
    error(500, "Internal server error"),
    RateLimited(1),
    error(503, "Service temporarily unavailable."),
]
UNKNOWN: list[Answer] = [Raw(502, b"<h1>Bad Gateway</h1>"), Reset(), AcceptThenReset(), Raw(200, b"{")]
SLACK_FAULTS: list[Answer] = [
    Raw(500, b""),
    RateLimited(2),
    Reset(),
    Json(200, {"ok": False, "error": "internal_error"}),
    Json(200, {"ok": False, "error": "fatal_error"}),
    Hang(),
]


@dataclass(slots=True)
class Trial:
    """What was acknowledged, and when which fault happened."""

    bots: Fleet
    names: list[str]
    chance: random.Random
    ends_at: float
    acknowledged: list[tuple[str, str, str]] = field(default_factory=list)
    """User, channel and model of each."""
    started: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The invocations that started, or may have started, a reload of each model."""
    problems: list[str] = field(default_factory=list)
    disturbances: list[tuple[float, float]] = field(default_factory=list)
    """From when to when a process or the database was disturbed."""
    repeatable: set[str] = field(default_factory=set)
    """Models of which some call gets no clear answer, or one that asks for another try."""

    def more(self) -> bool:
        """Whether it goes on."""
        return time.monotonic() < self.ends_at

    async def ask(self, worker: int) -> None:
        """Keep requesting reloads, in one of several loops."""
        n = 0
        while self.more():
            await asyncio.sleep(self.chance.uniform(0.2, 1.5))  # a pace, not a wait
            n += 1
            model = f"model-{worker}-{n // 2}"  # every second request joins, or comes when all is over
            self.prepare(model)
            user, channel = f"U{worker:05d}", f"C{self.chance.randrange(CHANNELS):05d}"
            ready = list(self.bots.ready)
            if not ready:
                continue
            names = ready if self.chance.random() < 0.2 else [self.chance.choice(ready)]
            trigger = f"trigger-{worker}-{n}"
            await asyncio.gather(*(self._ask(name, model, user, channel, trigger) for name in names))

    def prepare(self, model: str) -> None:
        """Decide how ModelsLab answers for a model."""
        if self.chance.random() < 0.5:
            self.bots.modelslab.answer(model, self.chance.choice(CLEAR))
            return
        self.repeatable.add(model)
        faults: list[Answer] = [self.chance.choice([*PASSING, *UNKNOWN]) for _ in range(self.chance.randrange(1, 3))]
        self.bots.modelslab.answer(model, *faults, self.chance.choice(CLEAR))

    async def _ask(self, name: str, model: str, user: str, channel: str, trigger: str) -> None:
        if name not in self.bots.ready:
            return
        began = time.monotonic()
        ack = await self.bots.command(0, name, model=model, user=user, channel=channel, trigger_id=trigger)
        self._judge(ack, began, model, user, channel, trigger)

    def _judge(self, ack: Ack, began: float, model: str, user: str, channel: str, trigger: str) -> None:
        if ack.status >= 500:
            self.problems.append(f"{ack.status} for {model}")
        ended = time.monotonic()
        if ack.error or ack.text.startswith("Reloading") or "I couldn't confirm" in ack.text:
            self.started[model].add(trigger)
        if ack.error:
            if not self.disturbed(began - 15.0, ended + 15.0):
                self.problems.append(f"{ack.error} for {model}")
        elif model in ack.text:
            self.acknowledged.append((user, channel, model))
        elif not any(words in ack.text for words in ("I couldn't confirm", "start anything", "Nothing was started")):
            self.problems.append(f"{ack.text!r} for {model}")
        if ended - began > 3.0 and not self.disturbed(began - 15.0, ended):
            self.problems.append(f"{ended - began:.1f} s for {model}")

    def disturbed(self, after: float, before: float) -> bool:
        """Whether a process or the database was disturbed in that time."""
        return any(began <= before and ended >= after for began, ended in self.disturbances)

    async def disturb(self, *of_the_database: "Callable[[Trial], Awaitable[None]]") -> None:
        """One fault after another."""
        faults = [Trial.kill, Trial.slack_fails, *of_the_database]
        while self.more():
            await asyncio.sleep(self.chance.uniform(0.5, 4.0))  # as above
            began = time.monotonic()
            index = len(self.disturbances)
            self.disturbances.append((began, began + 1e9))
            await self.chance.choice(faults)(self)
            self.disturbances[index] = (began, time.monotonic())

    async def kill(self) -> None:
        """SIGKILL, and a new process."""
        name = self.chance.choice(self.names)
        await self.bots.kill(name)
        await self.bots.launch(name)

    async def stop(self) -> None:
        """SIGSTOP for longer than a lease."""
        name = self.chance.choice(self.names)
        port = self.bots.ready.pop(name)
        self.bots.replicas[name].signal(signal.SIGSTOP)
        await asyncio.sleep(STOPPED_SECONDS)  # what the fault is
        self.bots.replicas[name].signal(signal.SIGCONT)
        self.bots.ready[name] = port

    async def slack_fails(self) -> None:
        """Slack fails in one channel for some seconds."""
        channel, method = (
            f"C{self.chance.randrange(CHANNELS):05d}",
            self.chance.choice(["chat.postMessage", "chat.update"]),
        )
        self.bots.slack.fail(method, self.chance.choice(SLACK_FAULTS), channel=channel)
        await asyncio.sleep(self.chance.uniform(0.5, 4.0))  # as above
        self.bots.slack.heal(method)

    def unnotified(self) -> list[str]:
        """Acknowledged requests of which the person was not notified."""
        texts: dict[str, list[str]] = defaultdict(list)
        for message in self.bots.slack.messages:
            if any(ending in message.text for ending in ENDINGS):
                for user in {
                    one for one, _, _ in self.acknowledged if f"<@{one}>" in message.text or message.user == one
                }:
                    texts[user].append(message.text)
        return [
            f"{user} about {model} in {channel}"
            for user, channel, model in self.acknowledged
            if not any(f"`{model}`" in text for text in texts[user])
        ]

    def called_too_often(self) -> list[str]:
        """Models that were requested more often than people started a reload, for no reason.

        A reason is an answer that is unclear or asks for another try, and a process or database that was disturbed.
        """
        offset = time.monotonic() - time.time()
        calls: dict[str, list[float]] = defaultdict(list)
        for call in self.bots.modelslab.calls:
            calls[call.model_id].append(call.at + offset)
        return [
            f"{model} {len(times)} times, at {times}, started by {self.started[model]}"
            for model, times in calls.items()
            if len(times) > len(self.started[model])
            and model not in self.repeatable
            and not self.disturbed(times[0] - 1.0, times[-1])
        ]


async def _run(folder: Path, url: str, names: list[str], *faults: "Callable[[Trial], Awaitable[None]]") -> None:
    """Everyone who was acknowledged is notified; no answer is late or a 5xx; nothing clear is requested twice."""
    async with fleet(folder, url, CHANNELS) as bots:
        bots.slack.ack_seconds = 3.0
        await bots.launch(*names)
        chance = random.Random(SEED)  # noqa: S311 - the same faults in every run
        trial = Trial(bots, names, chance, time.monotonic() + SECONDS)
        await asyncio.gather(trial.disturb(*faults), *(trial.ask(n) for n in range(PEOPLE)))
        bots.slack.heal()
        await bots.slack.wait_until(lambda: not trial.unnotified(), within=NOTIFIED_WITHIN)

        assert len(trial.acknowledged) > SECONDS / 2
        assert trial.problems == []
        assert trial.called_too_often() == []


@pytest.mark.soak
async def test_random_faults_on_sqlite_lose_and_double_nothing(tmp_path: Path) -> None:
    """One process, which is killed again and again."""
    await _run(tmp_path, f"sqlite:///{tmp_path}/random.db", ["one"])


@pytest.mark.soak
async def test_random_faults_lose_and_double_nothing(tmp_path: Path, postgres: Postgres, postgres_url: str) -> None:
    """Two replicas, whose PostgreSQL is disturbed as well."""
    wire = Wire(postgres_url, tmp_path)
    await wire.heal()

    async def terminate(_trial: Trial) -> None:
        await asyncio.to_thread(postgres.terminate, postgres_url)

    async def silence(trial: Trial) -> None:
        wire.silence()
        await asyncio.sleep(trial.chance.uniform(1.0, 7.0))  # what the fault is
        await wire.heal()

    async def cut(trial: Trial) -> None:
        await wire.cut()
        await asyncio.sleep(trial.chance.uniform(1.0, 4.0))  # as above
        await wire.heal()

    await _run(tmp_path, wire.url, ["one", "two"], Trial.stop, terminate, silence, cut)
    await wire.cut()
