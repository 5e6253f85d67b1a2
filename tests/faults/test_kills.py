"""Kill -9, eight times among two dozen reloads, each time restarted at once: what was acknowledged is told."""

import asyncio
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from bot.sandbox.modelslab import ACCEPTED, error
from bot.sandbox.workspace import Message
from tests.answers import Exchange
from tests.faults.fleet import Fleet, fleet
from tests.scenarios.house import eventually

if TYPE_CHECKING:
    from tests.postgres import Postgres

PEOPLE = ("U0ADA", "U0BEN", "U0CEM")
CHANNELS = ("C00000", "C00001")
RELOADS, KILLS = 24, 8
CALL_SECONDS = 0.5

_RECORDED = "SELECT model_id FROM reload_model_reloads WHERE state <> 'requested'"
"""The models of which the database knows how ModelsLab answered."""

Recorded = Callable[[], set[str]]


@dataclass(frozen=True, slots=True)
class Slowly:
    """What ModelsLab answers, after a time in which a process may die; every sixth model it does not know."""

    refused: bool

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer with a pause before it."""
        await asyncio.sleep(CALL_SECONDS)
        answer = error(200, "Model not found") if self.refused else ACCEPTED
        return await answer.send(exchange)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A reload that the bot acknowledged to a person in a channel. Each is of another model."""

    model_id: str
    user: str
    channel: str

    def notified_by(self, messages: Sequence[Message]) -> bool:
        """Whether one of these messages tells the person there how it went."""
        outcomes = [f"`{self.model_id}` should be ready now", f"`{self.model_id}` was not reloaded"]
        return any(
            message.channel == self.channel
            and f"<@{self.user}>" in message.text
            and any(outcome in message.text for outcome in outcomes)
            for message in messages
        )


@dataclass(slots=True)
class Trial:
    """What was acknowledged, and what was known of each model's call when a process was killed."""

    bots: Fleet
    recorded: Recorded
    chance: random.Random
    acknowledged: list[Acknowledged] = field(default_factory=list)
    in_doubt: set[str] = field(default_factory=set)
    called_when_recorded: dict[str, int] = field(default_factory=dict)

    @property
    def calls(self) -> Counter[str]:
        """How often ModelsLab was called, by model."""
        return Counter(call.model_id for call in self.bots.modelslab.calls)

    async def ask(self) -> None:
        """Give command after command, each for another model, until enough of them are acknowledged."""
        for n in count():
            if len(self.acknowledged) == RELOADS:
                return
            await asyncio.sleep(self.chance.uniform(0.4, 2.0))  # a pace, not a wait
            await self._command(n, PEOPLE[n % len(PEOPLE)], CHANNELS[n % len(CHANNELS)])

    async def _command(self, n: int, user: str, channel: str) -> None:
        self.bots.modelslab.answer(f"model-{n}", Slowly(refused=n % 6 == 5))
        port = self.chance.choice(await eventually(lambda: [*self.bots.ready.values()], within=30))
        ack = await self.bots.slack.command(
            f"model-{n}", user=user, channel=channel, request_url=f"http://127.0.0.1:{port}/slack/events"
        )
        if not ack.error and f"`model-{n}`" in ack.text:
            self.acknowledged.append(Acknowledged(f"model-{n}", user, channel))

    async def kill(self, names: Iterator[str]) -> None:
        """Kill one process and start it anew, again and again, at moments of no meaning."""
        for name, _ in zip(names, range(KILLS), strict=False):
            await asyncio.sleep(self.chance.uniform(0.3, 2.5))  # as above
            await self.bots.kill(name)
            self._note()
            await self.bots.launch(name)

    def _note(self) -> None:
        """What the database knows now. Nothing is awaited: so ModelsLab, in this loop, answers nobody meanwhile."""
        recorded, calls = self.recorded(), self.calls
        self.in_doubt |= calls.keys() - recorded
        for model in recorded:
            self.called_when_recorded.setdefault(model, calls[model])

    def faults(self) -> list[str]:
        """What is wrong at the end."""
        messages = self.bots.slack.messages
        lost = [f"never notified: {each}" for each in self.acknowledged if not each.notified_by(messages)]
        again = [
            f"{model} was called {calls} times, {self.called_when_recorded.get(model)} before its outcome was recorded"
            for model, calls in self.calls.items()
            if calls > self.called_when_recorded.get(model, calls) or (calls > 1 and model not in self.in_doubt)
        ]
        return lost + again


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Recorded, list[str]]:
    """A URL, a look into that database from outside, and the processes that may share it."""

    def sqlite() -> set[str]:
        # A copy: a second program must not mend the file before the bot does.
        copy = tmp_path / "copy"
        copy.mkdir(exist_ok=True)
        for file in tmp_path.glob("kills.db*"):
            shutil.copy(file, copy)
        with closing(sqlite3.connect(copy / "kills.db")) as connection:
            return {row[0] for row in connection.execute(_RECORDED)}

    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/kills.db", sqlite, ["one"]
    postgres: Postgres = request.getfixturevalue("postgres")
    url: str = request.getfixturevalue("postgres_url")
    return url, lambda: {str(row[0]) for row in postgres.execute(_RECORDED, url)}, ["one", "two"]


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_eight_kills_among_two_dozen_reloads(
    tmp_path: Path, database: tuple[str, Recorded, list[str]], seed: int
) -> None:
    """Everyone who was acknowledged is told in their channel; only calls whose outcome was not recorded come again."""
    url, recorded, names = database
    chance = random.Random(seed)  # noqa: S311 - the same moments in every run
    async with fleet(tmp_path, url, len(CHANNELS)) as bots:
        for name in names:
            await bots.launch(name)
        trial = Trial(bots, recorded, chance)
        await asyncio.gather(trial.ask(), trial.kill(chance.choice(names) for _ in count()))
        await bots.slack.wait_until(
            lambda: all(each.notified_by(bots.slack.messages) for each in trial.acknowledged), within=90
        )

        assert trial.faults() == []
        assert len(trial.acknowledged) == RELOADS
