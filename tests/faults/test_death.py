"""A death at every external effect and at every commit of a reload's life, on both databases."""

import asyncio
import contextlib
import itertools
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from bot.core.clock import SteadyClock
from bot.core.models import RANKS
from bot.modelslab.client import ModelsLab
from bot.sandbox.modelslab import ACCEPTED, SandboxModelsLab, error
from bot.sandbox.slack import SandboxSlack
from bot.slack.client import SlackClient
from bot.storage.database import Database
from bot.storage.store import Ask, Store
from bot.worker.delivery import Delivery
from bot.worker.loop import Worker
from tests.answers import Answer
from tests.faults.seams import Dead, Seam, Seams

if TYPE_CHECKING:
    from tests.postgres import Postgres

ADA, BEN = "U0ADA", "U0BEN"
MODELS, OPS, PRIVATE, SPENT = "C0MODELS", "C0OPS", "G0PRIVATE", "G0SPENT"
LEASE = 2.0
"""Seconds: on PostgreSQL a lease ends only by the clock."""

DEATHS_AT_ONCE = 8

ENDINGS = ("should be ready now", "was not reloaded")
REMINDER = "`sdxl` was reloaded 0 days ago"


@dataclass(frozen=True)
class Process:
    """What is alive; opened once its tables are there."""

    desk: Worker
    store: Store
    opened: asyncio.Event


@dataclass
class World:
    """What outlives the process: Slack, ModelsLab, the database; and what the process had promised."""

    slack: SandboxSlack
    modelslab: SandboxModelsLab
    url: str
    promised: list[Ask] = field(default_factory=list)
    reminding: list[str] = field(default_factory=list)
    """Who is to be reminded."""

    @contextlib.asynccontextmanager
    async def process(self, seams: Seams) -> AsyncIterator[Process]:
        """One life of the bot's desk; at its end it is gone without having let go of anything."""
        database = Database(self.url, SteadyClock())
        await database.start()
        store = seams.around(Store(database, secrets.token_hex(4)))
        async with aiohttp.ClientSession() as session:
            slack = seams.around(SlackClient(session, self.slack.bot_token, self.slack.api_url))
            modelslab = seams.around(ModelsLab(session, self.modelslab.url, self.modelslab.key, str))
            desk = Worker(
                store,
                modelslab,
                Delivery(slack),
                reload_seconds=0.2,
                concurrency=4,
                history_days=1,
            )
            opened = asyncio.Event()
            loop = asyncio.create_task(self._run(desk, store, seams, opened))
            try:
                yield Process(desk, store, opened)
            finally:
                seams.dead.set()
                loop.cancel()
                await asyncio.gather(loop, return_exceptions=True)
                await desk.stop()
                await database.stop()

    @staticmethod
    async def _run(desk: Worker, store: Store, seams: Seams, opened: asyncio.Event) -> None:
        with contextlib.suppress(Dead):
            opened_at = await store.open()
            opened.set()
            await desk.run(opened_at)
        seams.dead.set()

    async def ask(self, desk: Worker, person: str, channel: str, n: int) -> str:
        """One command of the story: what was answered is promised. Returns the reload's id."""
        url = self.slack.new_response_url(channel, person)
        if channel == SPENT:
            self.slack.spend(url)
        ask = Ask(f"trigger-{n}", person, channel, "sdxl", url)
        asked = await desk.ask(ask)
        self.promised.append(ask)
        return asked.reload.id

    async def remind(self, desk: Worker, person: str, reload_id: str) -> None:
        """One wish to be reminded, once the reload is accepted: what was answered is promised."""
        async with asyncio.timeout(60):
            while await desk.remind(person, reload_id, MODELS) is None:  # noqa: ASYNC110 - no database tells
                await asyncio.sleep(0.04)
        self.reminding.append(person)

    def reminded(self, person: str) -> bool:
        """Whether a reminder reached them."""
        return any(message.user == person and REMINDER in message.text for message in self.slack.messages)

    async def settle(self, process: Process) -> None:
        """Wait until nothing is left to be done."""
        async with asyncio.timeout(60):
            await process.opened.wait()
            while await process.store.next_due(tuple(RANKS)) is not None:  # noqa: ASYNC110 - no database tells
                await asyncio.sleep(0.04)

    def told(self, ask: Ask) -> list[str]:
        """The endings that reached somebody: in the channel where they asked, or in a DM."""
        mention = f"<@{ask.user_id}>"
        return [
            message.text
            for message in self.slack.messages
            if mention in message.text
            and any(ending in message.text for ending in ENDINGS)
            and (message.channel == ask.channel_id or message.via == "dm")
        ]


@dataclass(frozen=True)
class Story:
    """Who asks where, and how ModelsLab answers."""

    asks: tuple[tuple[str, str], ...]
    answers: tuple[Answer, ...] = ()
    reminding: tuple[str, ...] = ()

    async def tell(self, world: World, desk: Worker) -> None:
        """Ask, one after another; then whoever wants to be reminded says so."""
        reload_id = ""
        for n, (person, channel) in enumerate(self.asks):
            reload_id = await world.ask(desk, person, channel, n)
        for person in self.reminding:
            await world.remind(desk, person, reload_id)


STORIES = {
    "accepted": Story(((ADA, MODELS), (BEN, MODELS), (BEN, OPS))),
    "refused": Story(((ADA, MODELS), (BEN, OPS)), (error(200, "Model not found: sdxl"),)),
    "retried": Story(((ADA, MODELS),), (error(500, "Internal server error"), ACCEPTED)),
    "private": Story(((ADA, PRIVATE),)),
    "direct": Story(((ADA, SPENT), (BEN, SPENT))),
    "reminded": Story(((ADA, MODELS),), reminding=(ADA, BEN)),
}


async def _live(world: World, story: Story, seams: Seams) -> None:
    """One life: as much of the story as comes before the death."""
    async with world.process(seams) as process:
        living = asyncio.create_task(_told_and_settled(world, story, process))
        dying = asyncio.create_task(seams.dead.wait())
        await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            living.result()
        dying.cancel()
        living.cancel()
        await asyncio.gather(dying, living, return_exceptions=True)


async def _told_and_settled(world: World, story: Story, process: Process) -> None:
    with contextlib.suppress(Dead):
        await process.opened.wait()
        await story.tell(world, process.desk)
        await world.settle(process)


Fresh = Callable[[], contextlib.AbstractAsyncContextManager[str]]


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Fresh:
    """Makes a fresh database, for as long as its URL is in use."""
    numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def sqlite() -> AsyncIterator[str]:
        yield f"sqlite:///{tmp_path}/{next(numbers)}.db"

    if request.param == "sqlite":
        return sqlite
    server: Postgres = request.getfixturevalue("postgres")

    @contextlib.asynccontextmanager
    async def postgresql() -> AsyncIterator[str]:
        # In threads: other lives go on meanwhile, and must keep their leases.
        url = await asyncio.to_thread(server.create)
        yield url
        await asyncio.to_thread(server.drop, url)

    return postgresql


@pytest.fixture(autouse=True)
async def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.storage.store.LEASE", LEASE)
    monkeypatch.setattr(
        "bot.storage.store.ASK_SECONDS", 20.0
    )  # on a busy machine the story waits longer than people do
    monkeypatch.setattr("bot.worker.loop.RENEW_SECONDS", LEASE / 4)
    monkeypatch.setattr("bot.worker.loop.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("bot.worker.delivery.CHANNEL_SECONDS", 0.0)
    monkeypatch.setattr("bot.worker.loop.call_wait", lambda *_: 0.05)
    monkeypatch.setattr("bot.worker.loop.bar_wait", lambda _: 0.06)
    monkeypatch.setattr("bot.worker.loop.BAR_LAST", 0.01)
    monkeypatch.setattr("bot.storage.store.BAR_EDITS", 1e6)
    monkeypatch.setattr("bot.storage.store.REMIND_AFTER", 0.1)
    monkeypatch.setattr("bot.core.models.A_WHILE", 0.5)
    asyncio.get_running_loop().set_exception_handler(_let_the_dead_rest)


def _let_the_dead_rest(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    if not isinstance(context.get("exception"), Dead):
        loop.default_exception_handler(context)


@contextlib.asynccontextmanager
async def _world(story: Story, url: str) -> AsyncIterator[World]:
    async with SandboxSlack() as slack, SandboxModelsLab() as modelslab:
        slack.add_channel(MODELS, "models")
        slack.add_channel(OPS, "ops")
        for channel in (PRIVATE, SPENT):
            slack.add_channel(channel, channel.lower(), private=True, bot_is_member=False)
        modelslab.answer("sdxl", *story.answers)
        yield World(slack, modelslab, url)


async def _seams_of(story: Story, url: str) -> list[Seam]:
    """Every seam of the story, from a life without a death."""
    seams = Seams()
    async with _world(story, url) as world:
        await _live(world, story, seams)

        assert [len(world.told(ask)) for ask in world.promised] == [1] * len(story.asks)
        assert [world.reminded(person) for person in story.reminding] == [True] * len(story.reminding)
    return seams.passed


# What these pass through on PostgreSQL, the other stories pass through too.
_RARELY = {("postgresql", "retried"), ("postgresql", "private")}


@pytest.mark.parametrize(
    ("fresh", "name"),
    [
        pytest.param(database, name, marks=[pytest.mark.soak] if (database, name) in _RARELY else [])
        for database in ("sqlite", "postgresql")
        for name in STORIES
    ],
    indirect=["fresh"],
)
async def test_a_death_at_any_seam_loses_nothing_that_was_promised(name: str, fresh: Fresh) -> None:
    """Whoever was acknowledged is told the end; nothing is done twice but what a death left unrecorded."""
    story = STORIES[name]
    async with fresh() as url:
        seams = await _seams_of(story, url)
    at_once = asyncio.Semaphore(DEATHS_AT_ONCE)

    async def die(seam: Seam) -> list[str]:
        async with at_once, fresh() as url:
            return await _die_at(seam, story, url)

    faults = [fault for found in await asyncio.gather(*map(die, seams)) for fault in found]

    assert len(seams) > 10
    assert faults == []


async def _die_at(seam: Seam, story: Story, url: str) -> list[str]:
    """Die there, start again, live on to the end; return what is wrong then."""
    seams = Seams(death=seam)
    async with _world(story, url) as world:
        await _live(world, story, seams)
        async with world.process(Seams()) as process:
            await world.settle(process)
            left = (await process.store.in_flight(5))[0]
        faults = [f"{left} left over"] if left else []
        faults += [f"{ask.user_id} in {ask.channel_id} was not told" for ask in world.promised if not world.told(ask)]
        faults += [f"{person} was not reminded" for person in world.reminding if not world.reminded(person)]
        faults += _done_twice(world, story, [*seams.unrecorded.values()])
    return [f"a death {seam}: {fault}" for fault in faults]


def _done_twice(world: World, story: Story, unrecorded: list[str]) -> list[str]:
    """What was done once more than the story asks for, unless its first time had not been recorded at the death."""
    calls = len(world.modelslab.calls) - max(len(story.answers), 1)
    posts = Counter((message.channel, message.text) for message in world.slack.messages)
    twice = [f"{key} was posted {n} times" for key, n in posts.items() if n > 1]
    excused_calls = sum(name.startswith("ModelsLab.") for name in unrecorded)
    excused_posts = sum(name.startswith("SlackClient.") for name in unrecorded)
    faults = [f"{calls} calls too many"] if calls > excused_calls else []
    return faults + (twice if len(twice) > excused_posts else [])
