"""A crash at every external effect and at every commit of a reload's life, on both databases."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import AsyncMock

import aiohttp
import pytest
from sqlalchemy import Connection, text

from bot.core.access import Allowlist
from bot.core.models import Person, Place, Requested
from bot.modelslab.client import ModelsLab
from bot.sandbox.modelslab import ACCEPTED, SandboxModelsLab, error
from bot.sandbox.slack.service import SandboxSlack
from bot.sandbox.terminal.screen import ended
from bot.settings import read
from bot.storage import jobs, reminders, requests
from bot.storage.database import Database
from bot.storage.requests import Request
from bot.worker.delivery import Delivery, Pacer
from bot.worker.jobs import Jobs
from bot.worker.loop import Worker
from tests.answers import Answer
from tests.faults.crash_points import Crash, Crashed, Point
from tests.samples import client_of
from tests.storage.support import outside
from tests.times import set_timing

ADA, BEN = "U0ADA", "U0BEN"
MODELS, OPS, PRIVATE, SPENT = Place("C0MODELS"), Place("C0OPS"), Place("G0PRIVATE"), Place("G0SPENT")
THREAD = Place("C0MODELS", "1700.1")
RELOAD_SECONDS = 0.2
TIMING = {
    "lease": 600.0,  # none ends by itself, however busy the machine is: see expire
    "answer": 600.0,  # so that no claim is given up while it is committed
    "postgres_lock": 60.0,
    "postgres_statement": 60.0,
    "postgres_silence": 120.0,
    "postgres_idle": 600.0,
    "look": 0.1,
    "gather": 0.01,
    "channel_gap": 0.0,
    "call_retry": 0.05,
    "post_retry": 0.05,
    "post_retry_most": 0.05,
    "bar_pause_most": 0.06,
    "bar_pause_least": 0.06,
    "bar_last": 0.01,
    "database_retry": 0.05,
}


@dataclass(frozen=True)
class Story:
    """Who asks where, all for the same models; how ModelsLab answers; and who wants to be reminded then."""

    asks: tuple[tuple[str, Place], ...]
    answers: tuple[Answer, ...] = ()
    reminding: tuple[str, ...] = ()
    models: tuple[str, ...] = ("sdxl",)


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


@dataclass
class Run:
    """What outlives the process: Slack, ModelsLab, the database; and what the process had acknowledged."""

    story: Story
    slack: SandboxSlack
    modelslab: SandboxModelsLab
    url: str
    acknowledged: list[Request] = field(default_factory=list)
    reminding: list[str] = field(default_factory=list)

    async def process(self, crash: Crash, *, asks: bool) -> None:
        """One process, until it crashes or nothing is left to do; at its end it is gone, having released nothing."""
        set_timing(**TIMING)
        real = Database(self.url)
        await real.start()
        database = crash.around(real)
        # The time is for a machine that is busy.
        async with aiohttp.ClientSession() as session, asyncio.timeout(240.0):
            slack = crash.around(client_of(self.slack, session))
            config = read({"MODELSLAB_URL": self.modelslab.url, "MODELSLAB_API_KEY": self.modelslab.key})[0]
            modelslab = crash.around(ModelsLab(session, config))
            delivery, similar = Delivery(slack, Pacer()), AsyncMock(return_value=())
            run = Jobs(modelslab, delivery, similar, RELOAD_SECONDS, Allowlist((), ()))
            worker = Worker(database, run, calls_at_once=4, history_days=1)
            living = asyncio.create_task(self._live(real, database, worker, asks=asks))
            dying = asyncio.create_task(crash.happened.wait())
            try:
                await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
                if living.done():
                    living.result()
            finally:
                crash.happened.set()
                living.cancel()
                await asyncio.gather(living, dying, return_exceptions=True)
                await worker.stop()
                await real.stop()

    async def _live(self, real: Database, database: Database, worker: Worker, *, asks: bool) -> None:
        with contextlib.suppress(Crashed):
            now = await database.run(jobs.open_database)
            await real.run(expire)
            ids = await self._ask(database) if asks else []  # before the worker starts: all are for one reload
            worker.start(now)
            if ids:
                await self._remind(database, ids[0])
            while await real.run(is_due):  # noqa: ASYNC110 - no database tells
                await asyncio.sleep(0.02)

    async def _ask(self, database: Database) -> Sequence[str]:
        """The story: what was answered is acknowledged. Returns the IDs of the reloads."""

        async def ask(n: int, person: str, place: Place) -> str:
            url = self.slack.new_response_url(place.channel_id, person)
            if place == SPENT:
                self.slack.spend(url)
            who = Person(person, "", place.channel_id, thread_ts=place.thread_ts)
            asked = [Request(f"trigger-{n}/{model}", who, model, url) for model in self.story.models]
            first, *_ = await database.run(requests.ask_each, asked, requests.Limits())
            self.acknowledged += asked
            assert isinstance(first, Requested)
            return first.reload.id

        return await asyncio.gather(*(ask(n, *each) for n, each in enumerate(self.story.asks)))

    async def _remind(self, database: Database, reload_id: str) -> None:
        """Those who want to be reminded say so, once ModelsLab has accepted."""
        for person in self.story.reminding:
            while await database.run(reminders.add, person, reload_id, MODELS) is None:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
            self.reminding.append(person)

    def faults(self, unrecorded: Iterable[str]) -> list[str]:
        """Who was not notified or reminded, and what came twice though its first time had been recorded."""
        messages = self.slack.messages
        faults = [
            f"{asked.person.user_id} was not notified of {asked.model_id} in {asked.person.channel_id}"
            for asked in self.acknowledged
            if not any(
                f"<@{asked.person.user_id}>" in message.text
                and asked.model_id in ended(message.text)
                and (message.channel == asked.person.channel_id or message.via == "dm")
                and (message.thread_ts == asked.person.thread_ts or not asked.person.thread_ts)
                for message in messages
            )
        ]
        reminded = {message.user for message in messages if "`sdxl` was reloaded 0 days ago" in message.text}
        faults += [f"{person} was not reminded" for person in self.reminding if person not in reminded]
        effects = Counter(name.partition(".")[0] for name in unrecorded)
        calls = len(self.modelslab.calls) - max(len(self.story.answers), len(self.story.models))
        if calls > effects["ModelsLab"]:
            faults.append(f"{calls} calls too many")
        posts = Counter((message.channel, message.thread_ts, message.text) for message in messages)
        twice = [f"{key} was posted {n} times" for key, n in posts.items() if n > 1]
        if len(twice) > effects["SlackClient"]:
            faults += twice
        left = outside(self.url, "SELECT model_id FROM reload_model_reloads WHERE state <> 'done'")
        return faults + [f"{reload} left over" for reload in left]


def is_due(connection: Connection) -> bool:
    """Whether any job does not rest."""
    return bool(connection.execute(text("SELECT count(*) FROM reload_model_jobs WHERE due_at < 1e300")).scalar())


def expire(connection: Connection) -> None:
    """End the leases of the process that crashed; on PostgreSQL time would."""
    connection.execute(text("UPDATE reload_model_jobs SET due_at = 0 WHERE lease_owner IS NOT NULL")).close()


Fresh = Callable[[], contextlib.AbstractAsyncContextManager[str]]


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Fresh:
    """Makes a fresh database, for as long as its URL is in use."""
    numbers = itertools.count()
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None

    @contextlib.asynccontextmanager
    async def database() -> AsyncIterator[str]:
        if server is None:
            yield f"sqlite:///{tmp_path}/{next(numbers)}.db"
            return
        url = await asyncio.to_thread(server.create)  # in a thread: other runs go on meanwhile
        yield url
        await asyncio.to_thread(server.drop, url)

    return database


@pytest.fixture(autouse=True)
async def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("bot.storage.reminders", "bot.storage.outcomes", "bot.worker.jobs"):
        monkeypatch.setattr(f"{module}.REMIND_AFTER", 0.1)
    monkeypatch.setattr("bot.core.models.REPEAT_AFTER", 0.5)
    monkeypatch.setattr("bot.worker.jobs.EDITS_PER_MINUTE", 10_000)
    asyncio.get_running_loop().set_exception_handler(_let_the_crashed_rest)


def _let_the_crashed_rest(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    if not isinstance(context.get("exception"), Crashed):
        loop.default_exception_handler(context)


@contextlib.asynccontextmanager
async def a_run(name: str, fresh: Fresh) -> AsyncIterator[Run]:
    """A story that begins."""
    async with fresh() as url, SandboxSlack() as slack, SandboxModelsLab() as modelslab:
        slack.add_channel(MODELS.channel_id, "models")
        slack.add_channel(OPS.channel_id, "ops")
        for channel_id, _ in (PRIVATE, SPENT):
            slack.add_channel(channel_id, channel_id.lower(), private=True, bot_is_member=False)
        modelslab.answer("sdxl", *STORIES[name].answers)
        yield Run(STORIES[name], slack, modelslab, url)


async def points(name: str, fresh: Fresh) -> list[tuple[str, Point]]:
    """Every crash point of a story, from a run without a crash."""
    crash = Crash()
    async with a_run(name, fresh) as run:
        await run.process(crash, asks=True)

        assert len(run.acknowledged) == len(run.story.asks) * len(run.story.models)
        assert run.faults([]) == []
    return [(name, point) for point in crash.passed]


async def all_faults(crashes: Iterable[tuple[str, Point]], fresh: Fresh) -> list[str]:
    """Crash at each of these points, start again, run to the end, and return what is wrong then."""
    at_once = asyncio.Semaphore(8)

    async def one(name: str, point: Point) -> list[str]:
        crash = Crash(at=point)
        async with at_once, a_run(name, fresh) as run:
            await run.process(crash, asks=True)
            await run.process(Crash(), asks=False)
            return [f"{name}, a crash {point}: {fault}" for fault in run.faults(crash.unrecorded.values())]

    return [fault for found in await asyncio.gather(*(one(*crash) for crash in crashes)) for fault in found]


async def test_a_crash_at_each_kind_of_point_loses_nothing(fresh: Fresh, request: pytest.FixtureRequest) -> None:
    """Everyone whose request was acknowledged is notified, and only what a crash left unrecorded comes twice.

    Every second kind is for either database; make soak crashes at each point on both.
    """
    found = itertools.chain(*await asyncio.gather(*(points(name, fresh) for name in STORIES)))
    first_of_kind = {(point.call, point.moment): (name, point) for name, point in reversed([*found])}
    assert len(first_of_kind) > 30
    first = 0 if request.node.callspec.params["fresh"] == "sqlite" else 1
    crashes = [first_of_kind[kind] for kind in sorted(first_of_kind)][first::2]

    assert await all_faults(crashes, fresh) == []


@pytest.mark.soak
@pytest.mark.parametrize("name", STORIES)
async def test_a_crash_at_any_point_loses_nothing(name: str, fresh: Fresh) -> None:
    """The same at every single crash point."""
    assert await all_faults(await points(name, fresh), fresh) == []
