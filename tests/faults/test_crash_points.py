"""A crash at every external effect and at every commit of a reload's life, on both databases."""

import asyncio
import contextlib
import itertools
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import aiohttp
import pytest
from sqlalchemy import Connection, func, select, update

from bot.core.clock import SteadyClock
from bot.core.models import Place
from bot.core.outcomes import REST
from bot.core.timing import Timing
from bot.modelslab.client import ModelsLab
from bot.sandbox.modelslab import ACCEPTED, SandboxModelsLab, error
from bot.sandbox.screen import ended
from bot.sandbox.slack import SandboxSlack
from bot.slack.client import SlackClient
from bot.storage import history, jobs, requests, schema
from bot.storage.database import Database
from bot.storage.requests import Request, Requested
from bot.worker.delivery import Delivery, Pacer
from bot.worker.jobs import Jobs
from bot.worker.loop import Worker
from tests.answers import Answer
from tests.faults.crash_points import Crash, Crashed, Point

if TYPE_CHECKING:
    from tests.postgres import Postgres

ADA, BEN = "U0ADA", "U0BEN"
MODELS, OPS, PRIVATE, SPENT = Place("C0MODELS"), Place("C0OPS"), Place("G0PRIVATE"), Place("G0SPENT")
THREAD = Place("C0MODELS", "1700.1")
RELOAD_SECONDS = 0.2
TIMING = Timing(
    lease=60.0,  # none ends by itself, however busy the machine is: see expire
    look=0.1,
    channel_gap=0.0,
    call_retry=0.05,
    post_retry=0.05,
    post_retry_most=0.05,
    bar_every=0.06,
    bar_least=0.06,
    bar_last=0.01,
    database_retry=0.05,
)

CRASHES_AT_ONCE = 8

REMINDER = "`sdxl` was reloaded 0 days ago"


async def _none_similar(_model_id: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Process:
    """What runs; opened once its tables are there."""

    database: Database
    worker: Worker
    opened: asyncio.Event


@dataclass
class Outside:
    """What outlives the process: Slack, ModelsLab, the database; and what the process had acknowledged."""

    slack: SandboxSlack
    modelslab: SandboxModelsLab
    url: str
    acknowledged: list[Request] = field(default_factory=list)
    reminding: list[str] = field(default_factory=list)
    """Who is to be reminded."""

    @contextlib.asynccontextmanager
    async def process(self, crash: Crash) -> AsyncIterator[Process]:
        """One run of the bot's worker; at its end it is gone, having released nothing."""
        real = Database(self.url, SteadyClock(), TIMING)
        await real.start()
        database = crash.around(real)
        async with aiohttp.ClientSession() as session:
            slack = crash.around(SlackClient(session, self.slack.bot_token, self.slack.api_url))
            modelslab = crash.around(ModelsLab(session, self.modelslab.url, self.modelslab.key, str))
            delivery = Delivery(slack, Pacer(monotonic, TIMING.channel_gap))
            run = Jobs(modelslab, delivery, _none_similar, RELOAD_SECONDS, TIMING)
            worker = Worker(database, secrets.token_hex(4), run, calls_at_once=4, history_days=1, timing=TIMING)
            opened = asyncio.Event()
            starting = asyncio.create_task(self._start(worker, database, real, opened))
            try:
                yield Process(database, worker, opened)
            finally:
                crash.happened.set()
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                await worker.stop()
                await real.stop()

    @staticmethod
    async def _start(worker: Worker, database: Database, real: Database, opened: asyncio.Event) -> None:
        with contextlib.suppress(Crashed):
            now = await database.run(jobs.open_database)
            await real.run(expire)
            worker.start(now)
            opened.set()

    async def ask(self, process: Process, person: str, place: Place, models: Sequence[str], n: int) -> str:
        """One command of the story: what was answered is acknowledged. Returns the ID of the first reload."""
        url = self.slack.new_response_url(place.channel_id, person)
        if place == SPENT:
            self.slack.spend(url)
        asked = [
            Request(f"trigger-{n}/{model}", person, place.channel_id, model, url, thread_ts=place.thread_ts)
            for model in models
        ]
        answers = await process.database.run(requests.ask_each, asked)
        process.worker.wake()
        self.acknowledged += asked
        assert isinstance(answers[0], Requested)
        return answers[0].reload.id

    async def remind(self, process: Process, person: str, reload_id: str) -> None:
        """Ask for a reminder, once the reload is accepted."""
        async with asyncio.timeout(60):
            while await process.database.run(requests.remind, person, reload_id, MODELS.channel_id) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.04)
        self.reminding.append(person)

    def reminded(self, person: str) -> bool:
        """Whether a reminder reached them."""
        return any(message.user == person and REMINDER in message.text for message in self.slack.messages)

    async def settle(self, process: Process) -> None:
        """Wait until nothing is left to do."""
        async with asyncio.timeout(60):
            await process.opened.wait()
            while await process.database.run(running) is not None:  # noqa: ASYNC110 - no database tells
                await asyncio.sleep(0.04)

    def notified(self, request: Request) -> list[str]:
        """The endings that reached somebody: in the channel where they asked, or in a DM."""
        mention = f"<@{request.user_id}>"
        return [
            message.text
            for message in self.slack.messages
            if mention in message.text
            and request.model_id in ended(message.text)
            and (message.channel == request.channel_id or message.via == "dm")
            and (message.thread_ts == request.thread_ts or not request.thread_ts)
        ]


def running(connection: Connection) -> float | None:
    """When the next job is due, None if all of them rest."""
    due_at = connection.execute(select(func.min(schema.jobs.c.due_at))).scalar_one()
    return None if due_at in (None, REST) else due_at


def expire(connection: Connection) -> None:
    """End the leases of the process that crashed; on PostgreSQL time would."""
    leased = update(schema.jobs).where(schema.jobs.c.lease_owner.is_not(None))
    connection.execute(leased.values(due_at=0.0))


@dataclass(frozen=True)
class Story:
    """Who asks where, and how ModelsLab answers."""

    asks: tuple[tuple[str, Place], ...]
    answers: tuple[Answer, ...] = ()
    reminding: tuple[str, ...] = ()
    models: tuple[str, ...] = ("sdxl",)

    async def tell(self, outside: Outside, process: Process) -> None:
        """Ask at once, so that all ask for the same reload; then those who want to be reminded say so."""
        asks = (outside.ask(process, person, place, self.models, n) for n, (person, place) in enumerate(self.asks))
        reload_ids = await asyncio.gather(*asks)
        for person in self.reminding:
            await outside.remind(process, person, reload_ids[0])


STORIES = {
    "accepted": Story(((ADA, MODELS), (BEN, MODELS), (BEN, OPS))),
    "refused": Story(((ADA, MODELS), (BEN, OPS)), (error(200, "Model not found: sdxl"),)),
    "retried": Story(((ADA, MODELS),), (error(500, "Internal server error"), ACCEPTED)),
    "private": Story(((ADA, PRIVATE),)),
    "direct": Story(((ADA, SPENT), (BEN, SPENT))),
    "reminded": Story(((ADA, MODELS),), reminding=(ADA, BEN)),
    "several": Story(((ADA, MODELS),), models=("flux", "sdxl")),
    "in a thread": Story(((ADA, THREAD), (BEN, MODELS))),
}


async def _live(outside: Outside, story: Story, crash: Crash) -> None:
    """One run: as much of the story as comes before the crash."""
    async with outside.process(crash) as process:
        living = asyncio.create_task(_tell_and_settle(outside, story, process))
        dying = asyncio.create_task(crash.happened.wait())
        await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            living.result()
        dying.cancel()
        living.cancel()
        await asyncio.gather(dying, living, return_exceptions=True)


async def _tell_and_settle(outside: Outside, story: Story, process: Process) -> None:
    with contextlib.suppress(Crashed):
        await process.opened.wait()
        await story.tell(outside, process)
        await outside.settle(process)


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
        # In threads: other runs go on meanwhile, and must keep their leases.
        url = await asyncio.to_thread(server.create)
        yield url
        await asyncio.to_thread(server.drop, url)

    return postgresql


@pytest.fixture(autouse=True)
async def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("bot.storage.requests", "bot.storage.jobs", "bot.worker.jobs"):
        monkeypatch.setattr(f"{module}.REMIND_AFTER", 0.1)
    monkeypatch.setattr("bot.core.models.REPEAT_AFTER", 0.5)
    monkeypatch.setattr("bot.worker.jobs.EDITS_PER_MINUTE", 10_000)
    asyncio.get_running_loop().set_exception_handler(_let_the_crashed_rest)


def _let_the_crashed_rest(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    if not isinstance(context.get("exception"), Crashed):
        loop.default_exception_handler(context)


@contextlib.asynccontextmanager
async def _outside(story: Story, url: str) -> AsyncIterator[Outside]:
    async with SandboxSlack() as slack, SandboxModelsLab() as modelslab:
        slack.add_channel(MODELS.channel_id, "models")
        slack.add_channel(OPS.channel_id, "ops")
        for channel_id, _ in (PRIVATE, SPENT):
            slack.add_channel(channel_id, channel_id.lower(), private=True, bot_is_member=False)
        modelslab.answer("sdxl", *story.answers)
        yield Outside(slack, modelslab, url)


async def _points_of(story: Story, url: str) -> list[Point]:
    """Every crash point of the story, from a run without a crash."""
    crash = Crash()
    async with _outside(story, url) as outside:
        await _live(outside, story, crash)

        assert [len(outside.notified(ask)) for ask in outside.acknowledged] == [1] * len(story.asks) * len(story.models)
        assert [outside.reminded(person) for person in story.reminding] == [True] * len(story.reminding)
    return crash.passed


both_databases = pytest.mark.parametrize("fresh", ["sqlite", "postgresql"], indirect=True)


@both_databases
@pytest.mark.parametrize("name", STORIES)
async def test_a_crash_at_each_kind_of_point_loses_nothing(name: str, fresh: Fresh) -> None:
    """Everyone whose request was acknowledged is notified, and only what a crash left unrecorded comes twice."""
    async with fresh() as url:
        points = await _points_of(STORIES[name], url)
    first_of_kind = {(point.call, point.moment): point for point in reversed(points)}

    assert len(first_of_kind) > 10
    assert await _faults(first_of_kind.values(), STORIES[name], fresh) == []


@pytest.mark.soak
@both_databases
@pytest.mark.parametrize("name", STORIES)
async def test_a_crash_at_any_point_loses_nothing(name: str, fresh: Fresh) -> None:
    """The same at every single crash point."""
    async with fresh() as url:
        points = await _points_of(STORIES[name], url)

    assert await _faults(points, STORIES[name], fresh) == []


async def _faults(points: Iterable[Point], story: Story, fresh: Fresh) -> list[str]:
    """What is wrong after a crash at each of these points, some of them at a time."""
    at_once = asyncio.Semaphore(CRASHES_AT_ONCE)

    async def crash_at(point: Point) -> list[str]:
        async with at_once, fresh() as url:
            return await _faults_after(point, story, url)

    return [fault for found in await asyncio.gather(*map(crash_at, points)) for fault in found]


async def _faults_after(point: Point, story: Story, url: str) -> list[str]:
    """Crash there, start again, and run to the end; return what is wrong then."""
    crash = Crash(at=point)
    async with _outside(story, url) as outside:
        await _live(outside, story, crash)
        async with outside.process(Crash()) as process:
            await outside.settle(process)
            left = (await process.database.run(history.running, 5))[0]
        faults = [f"{left} left over"] if left else []
        faults += [
            f"{ask.user_id} in {ask.channel_id} was not notified"
            for ask in outside.acknowledged
            if not outside.notified(ask)
        ]
        faults += [f"{person} was not reminded" for person in outside.reminding if not outside.reminded(person)]
        faults += _done_twice(outside, story, [*crash.unrecorded.values()])
    return [f"a crash {point}: {fault}" for fault in faults]


def _done_twice(outside: Outside, story: Story, unrecorded: list[str]) -> list[str]:
    """What was done more often than the story asks for, unless its first time had not been recorded at the crash."""
    calls = len(outside.modelslab.calls) - max(len(story.answers), len(story.models))
    posts = Counter((message.channel, message.thread_ts, message.text) for message in outside.slack.messages)
    twice = [f"{key} was posted {n} times" for key, n in posts.items() if n > 1]
    excused_calls = sum(name.startswith("ModelsLab.") for name in unrecorded)
    excused_posts = sum(name.startswith("SlackClient.") for name in unrecorded)
    faults = [f"{calls} calls too many"] if calls > excused_calls else []
    return faults + (twice if len(twice) > excused_posts else [])
