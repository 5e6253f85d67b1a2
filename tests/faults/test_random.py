"""Faults at random, with real processes and services that fail, for RANDOM_SECONDS.

Processes are killed, Slack and ModelsLab fail. On PostgreSQL there are two replicas, which may be stopped for longer
than a lease, and whose connections are terminated or go silent. Meanwhile people request reloads, sometimes through
both replicas at once.
"""

import asyncio
import itertools
import math
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.sandbox.modelslab import ACCEPTED, error
from bot.sandbox.slack.workspace import Message
from bot.sandbox.terminal.screen import ended
from tests.answers import AcceptThenReset, Answer, Hang, Json, RateLimited, Raw, Reset
from tests.faults.fleet import Fleet, Wire, fleet
from tests.postgres import Postgres

SECONDS = float(os.environ.get("RANDOM_SECONDS", "60"))
SEED = int(os.environ.get("RANDOM_SEED", "1"))
CHANNELS = 6

CLEAR: list[Answer] = [*[ACCEPTED] * 3, error(200, "Model not found: x"), error(402, "Insufficient credits.")]
UNCLEAR: list[Answer] = [
    *(error(500, "Internal server error"), RateLimited(1), error(503, "Service temporarily unavailable.")),
    *(Raw(502, b"<h1>Bad Gateway</h1>"), Reset(), AcceptThenReset(), Raw(200, b"{")),
]
SLACK_FAULTS: list[Answer] = [
    *(Raw(500, b""), RateLimited(2), Reset(), Hang()),
    *(Json(200, {"ok": False, "error": code}) for code in ("internal_error", "fatal_error")),
]


@dataclass(slots=True)
class Trial:
    """What was acknowledged, and when which fault happened."""

    bots: Fleet
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

    async def ask(self, person: int) -> None:
        """Keep requesting reloads, sometimes through every replica at once."""
        for n in itertools.count(1):
            await asyncio.sleep(self.chance.uniform(0.2, 1.5))  # a pace, not a wait
            if time.monotonic() > self.ends_at:
                return
            model = f"model-{person}-{n // 2}"  # every second request joins, or comes when all is over
            self.prepare(model)
            who, trigger = (f"U{person:05d}", f"C{self.chance.randrange(CHANNELS):05d}"), f"trigger-{person}-{n}"
            names = list(self.bots.ready)
            if self.chance.random() > 0.2:
                names = self.chance.sample(names, min(len(names), 1))
            await asyncio.gather(*(self._ask(name, model, *who, trigger) for name in names))

    def prepare(self, model: str) -> None:
        """Decide how ModelsLab answers for a model."""
        if self.chance.random() < 0.5:
            self.bots.modelslab.answer(model, self.chance.choice(CLEAR))
            return
        self.repeatable.add(model)
        faults: list[Answer] = [self.chance.choice(UNCLEAR) for _ in range(self.chance.randrange(1, 3))]
        self.bots.modelslab.answer(model, *faults, self.chance.choice(CLEAR))

    async def _ask(self, name: str, model: str, user: str, channel: str, trigger: str) -> None:
        if name not in self.bots.ready:
            return
        began = time.monotonic()
        ack = await self.bots.command(0, name, model=model, user=user, channel=channel, trigger_id=trigger)
        took = time.monotonic() - began
        unconfirmed = "I couldn't confirm" in ack.text
        if ack.error or unconfirmed or ack.text.startswith("Reloading"):
            self.started[model].add(trigger)
        if model in ack.text and not ack.error:
            self.acknowledged.append((user, channel, model))
        elif not (ack.error or unconfirmed or "start anything" in ack.text or "Nothing was started" in ack.text):
            self.problems.append(f"{ack.text!r} for {model}")
        disturbed = self.disturbed(began - 15.0, began + took + (15.0 if ack.error else 0.0))
        if ack.status >= 500 or ((ack.error or took > 3.0) and not disturbed):
            self.problems.append(f"{ack.status} {ack.error} after {took:.1f} s for {model}")

    def disturbed(self, after: float, before: float) -> bool:
        """Whether a process or the database was disturbed in that time."""
        return any(began <= before and ended >= after for began, ended in self.disturbances)

    async def disturb(self, *of_the_database: "Fault") -> None:
        """One fault after another."""
        faults = [Trial.kill, Trial.slack_fails, *of_the_database]
        while time.monotonic() < self.ends_at:
            await asyncio.sleep(self.chance.uniform(0.5, 4.0))  # as above
            began = time.monotonic()
            self.disturbances.append((began, math.inf))
            await self.chance.choice(faults)(self)
            self.disturbances[-1] = (began, time.monotonic())

    async def kill(self) -> None:
        """SIGKILL, and a new process."""
        name = self.chance.choice(list(self.bots.replicas))
        await self.bots.kill(name)
        await self.bots.launch(name)

    async def stop(self) -> None:
        """SIGSTOP for longer than a lease."""
        name = self.chance.choice(list(self.bots.replicas))
        port = self.bots.ready.pop(name)
        self.bots.replicas[name].signal(signal.SIGSTOP)
        await asyncio.sleep(12.0)  # what the fault is
        self.bots.replicas[name].signal(signal.SIGCONT)
        self.bots.ready[name] = port

    async def slack_fails(self) -> None:
        """Slack fails in one channel for some seconds."""
        channel = f"C{self.chance.randrange(CHANNELS):05d}"
        method = self.chance.choice(["chat.postMessage", "chat.update"])
        self.bots.slack.fail(method, self.chance.choice(SLACK_FAULTS), channel=channel)
        await asyncio.sleep(self.chance.uniform(0.5, 4.0))  # as above
        self.bots.slack.heal(method)

    def unnotified(self) -> list[str]:
        """Acknowledged requests of which the person was not notified."""
        told = defaultdict[str, list[Message]](list)
        for message in self.bots.slack.messages:
            for model in ended(message.text):
                told[model].append(message)
        return [
            f"{user} about {model} in {channel}"
            for user, channel, model in self.acknowledged
            if not any(f"<@{user}>" in message.text or message.user == user for message in told[model])
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


Fault = Callable[[Trial], Awaitable[None]]


async def _run(folder: Path, url: str, names: list[str], *faults: Fault) -> None:
    """Everyone who was acknowledged is notified; no answer is late or a 5xx; nothing clear is requested twice."""
    async with fleet(folder, url, CHANNELS) as bots:
        bots.slack.ack_seconds = 3.0
        await bots.launch(*names)
        chance = random.Random(SEED)  # noqa: S311 - the same faults in every run
        trial = Trial(bots, chance, time.monotonic() + SECONDS)
        await asyncio.gather(trial.disturb(*faults), *(trial.ask(n) for n in range(5)))
        bots.slack.heal()
        # Retries wait half a minute, twice over.
        await bots.slack.wait_until(lambda: not trial.unnotified(), within=240.0)

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
