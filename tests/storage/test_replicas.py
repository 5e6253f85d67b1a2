"""Two replicas on one PostgreSQL: what one does while the other is in the middle of something."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from bot.core.models import REMIND_AFTER, JobKind, Reload, State
from bot.core.outcomes import Accepted, Failed, Notified, Reschedule
from bot.errors import CommitUncertain, Failure
from bot.storage import history, requests
from bot.storage.database import Database
from bot.storage.jobs import open_database
from tests.storage.support import COMMIT, PATIENT, WAIT, Bot, Clock, outside, press, request, stop_clock, stopped_at

T = TypeVar("T")

CALL, STATUS, NOTIFY, DM, REMINDER = JobKind

HERE, THERE = "C0MODELS", "C0OPS"

SUBSCRIBE = "INSERT INTO reload_model_subscribers"


class Replicas(NamedTuple):
    """Two processes that are patient with each other."""

    one: Bot
    two: Bot
    url: str

    async def waiting(self, operation: Awaitable[T]) -> "asyncio.Task[T]":
        """Begin an operation, and return once it waits for a lock that the other replica holds."""
        task = asyncio.ensure_future(operation)
        assert isinstance(task, asyncio.Task)
        locks = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        async with asyncio.timeout(WAIT):
            while not await asyncio.to_thread(outside, self.url, locks):
                assert not task.done()
        return task


@asynccontextmanager
async def replica(url: str, clock: Clock, owner: str) -> AsyncIterator[Bot]:
    """A process of the bot."""
    database = Database(url, clock, PATIENT)
    await database.start()
    await database.run(open_database)
    yield Bot(database, clock, owner)
    await database.stop()


@pytest.fixture
def url(postgres_url: str) -> str:
    """A database whose time stands still, and which notices early that two transactions block each other."""
    return stop_clock(postgres_url, "%20-c%20deadlock_timeout%3D50ms")


@pytest.fixture
async def replicas(url: str, clock: Clock) -> AsyncIterator[Replicas]:
    """The two of them."""
    async with replica(url, clock, "one") as one, replica(url, clock, "two") as two:
        yield Replicas(one, two, url)


# The same request, or the same model, on both


async def test_requests_on_both_replicas_are_one_reload_a_model(replicas: Replicas) -> None:
    """However they are mixed, nobody is lost."""
    one, two, _ = replicas
    models = [f"model-{number}" for number in range(10)]

    asked = await asyncio.gather(
        *(one.ask(request(model)) for _ in range(3) for model in models),
        *(two.ask(request(model)) for _ in range(3) for model in reversed(models)),
    )

    assert [each.joined for each in asked].count(False) == 10
    assert await one.counts() == (10, 60, 10)


@pytest.mark.parametrize("words", [SUBSCRIBE, COMMIT])
@pytest.mark.parametrize(
    ("first", "second"),
    [(request(invocation="i"), request(invocation="i")), (press(), press())],
    ids=["delivered twice", "clicked twice"],
)
async def test_the_same_request_on_both_replicas_is_one(
    replicas: Replicas, words: str, first: requests.Request, second: requests.Request
) -> None:
    """Both are answered alike."""
    one, two, _ = replicas
    with stopped_at(words) as gate:
        asking = asyncio.create_task(one.ask(first))
        await gate.reached()
        again = await replicas.waiting(two.ask(second))
        gate.open()

    assert await asking == await again
    assert await one.counts() == (1, 1, 1)


async def test_a_double_click_on_both_replicas_is_one_even_if_the_first_has_failed(replicas: Replicas) -> None:
    """By the time the second is written its reload is over."""
    one, two, _ = replicas
    with stopped_at("INSERT INTO reload_model_reloads") as gate:
        second = asyncio.create_task(two.ask(press()))
        await gate.reached()
        call = await one.called(press())
        gate.open()
        asked = await second

    assert asked.reload.id == call.reload.id
    assert await one.counts() == (1, 1, 1)


# A connection that breaks around the commit


class Wire:
    """The way from a replica to PostgreSQL, which can break around the next commit."""

    def __init__(self, server: str) -> None:
        self._server = server
        self.breaks = ""
        """"before" the server learns of the commit, or "after" it committed."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes both ways, until it breaks."""
        from_server, to_server = await asyncio.open_unix_connection(self._server)
        answers = asyncio.create_task(self._carry(from_server, writer))
        while data := await reader.read(65536):
            if self.breaks and b"COMMIT\0" in data:
                answers.cancel()
                await asyncio.wait([answers])
                if self.breaks == "after":
                    to_server.write(data)
                    await from_server.read(65536)
                self.breaks = ""
                break
            to_server.write(data)
        answers.cancel()
        to_server.close()
        writer.close()

    @staticmethod
    async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)


@pytest.fixture
async def wired(url: str, clock: Clock, tmp_path: Path) -> AsyncIterator[tuple[Wire, Bot]]:
    """A replica behind such a wire."""
    folder = outside(url, "SHOW unix_socket_directories")[0][0]
    wire = Wire(f"{folder}/.s.PGSQL.5432")
    server = await asyncio.start_unix_server(wire.serve, tmp_path / ".s.PGSQL.5432")
    async with replica(url.replace(f"host={folder}", f"host={tmp_path}"), clock, "one") as bot:
        yield wire, bot
    server.close()


@pytest.mark.parametrize("breaks", ["before", "after"])
@pytest.mark.parametrize("joins", [False, True])
async def test_an_acknowledged_request_is_never_undone(
    replicas: Replicas,
    wired: tuple[Wire, Bot],
    breaks: str,
    joins: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A replica that lost its connection around the commit is not certain of anything; the other one is, and right."""
    (wire, one), two = wired, replicas.two
    asked = await two.ask(request(user="U0BEN")) if joins else None

    async def deliver(bot: Bot) -> requests.Requested | None:
        again = request(invocation="i")
        return await bot.ask(again) if asked is None else await bot.join(again, asked.reload.id)

    wire.breaks = breaks
    with pytest.raises(CommitUncertain):
        await deliver(one)
    acknowledged = await deliver(two)

    assert acknowledged is not None
    assert await deliver(one) == acknowledged
    assert await two.counts() == (1, 1 + joins, 1)
    assert [claim.reload for claim in await two.claim(CALL)] == [acknowledged.reload]


# Joining while something is recorded


@pytest.mark.parametrize("joins", [False, True])
async def test_a_person_who_comes_before_notification_begins_is_notified(replicas: Replicas, joins: bool) -> None:  # noqa: FBT001 - a parameter
    """Whoever claims the notification waits for them."""
    one, two, _ = replicas
    ready = await one.ready(request(user="U0ADA"))
    late = press(user="U0BEN")
    with stopped_at(SUBSCRIBE) as gate:
        asking = asyncio.create_task(two.join(late, ready.id) if joins else two.ask(late))
        await gate.reached()
        claiming = await replicas.waiting(one.claim(NOTIFY))
        gate.open()

    asked = await asking
    assert asked is not None
    assert asked.joined
    (claim,) = await claiming
    assert [one.user_id for one in claim.recipients] == ["U0ADA", "U0BEN"]


@pytest.mark.parametrize("joins", [False, True])
async def test_a_person_who_comes_while_notification_begins_is_too_late(replicas: Replicas, joins: bool) -> None:  # noqa: FBT001 - a parameter
    """They wait to learn that, and a command starts another reload."""
    one, two, _ = replicas
    ready = await one.ready(request())
    late = press(user="U0BEN")
    with stopped_at("FROM reload_model_subscribers") as gate:
        claiming = asyncio.create_task(one.claim(NOTIFY))
        await gate.reached()
        asking = await replicas.waiting(two.join(late, ready.id) if joins else two.ask(late))
        gate.open()

    assert len(await claiming) == 1
    asked = await asking
    assert asked is None if joins else asked is not None and not asked.joined


@pytest.mark.parametrize("outcome", [Accepted(120.0), Failed(Failure.DOWN)])
async def test_a_person_who_joins_before_an_outcome_is_recorded_has_part_in_it(
    replicas: Replicas, outcome: Accepted | Failed
) -> None:
    """From a new channel, too."""
    one, two, _ = replicas
    call = await one.called(request(channel=HERE))
    with stopped_at(SUBSCRIBE) as gate:
        asking = asyncio.create_task(two.ask(request(channel=THERE)))
        await gate.reached()
        recording = await replicas.waiting(one.record(call, outcome))
        gate.open()

    assert (await asking).joined
    await recording
    assert await one.kinds(HERE) == await one.kinds(THERE)
    assert "notify" in await one.kinds(THERE)


async def test_a_person_who_joins_while_an_acceptance_is_recorded_opens_their_channel(replicas: Replicas) -> None:
    """Once."""
    one, two, _ = replicas
    call = await one.called(request(channel=HERE))
    with stopped_at("INSERT INTO reload_model_jobs") as gate:
        accepting = asyncio.create_task(one.record(call, Accepted(120.0)))
        await gate.reached()
        asking = await replicas.waiting(two.ask(request(channel=THERE)))
        gate.open()

    await accepting
    assert (await asking).reload.state is State.ACCEPTED
    assert await one.kinds(THERE) == ["notify", "status"]


# Claiming


async def test_a_job_is_claimed_by_one_replica(replicas: Replicas) -> None:
    """Of a hundred calls none is claimed twice, and nobody claims more than there are slots."""
    one, two, _ = replicas
    await asyncio.gather(*(one.ask(request(f"model-{number}")) for number in range(100)))

    claims = await asyncio.gather(*(bot.claim(CALL, free=7) for _ in range(8) for bot in (one, two)))

    claimed = [claim.job.id for each in claims for claim in each]
    assert len(claimed) == len(set(claimed)) == 100
    assert max(map(len, claims)) <= 7


async def test_a_slow_claim_does_not_keep_another_replica_waiting(replicas: Replicas) -> None:
    """What the one has locked the other passes over."""
    one, two, _ = replicas
    await one.ask(request("first"))
    await one.elapse(1.0)
    await one.ask(request("second"))
    with stopped_at("FROM reload_model_reloads") as gate:
        slow = asyncio.create_task(one.claim(CALL, free=1))
        await gate.reached()
        quick = await two.claim(CALL, free=2)
        gate.open()

    assert [claim.reload.model_id for claim in quick] == ["second"]
    assert [claim.reload.model_id for claim in await slow] == ["first"]


# Recording


async def ready_in_two_channels(replicas: Replicas) -> Reload:
    """A reload whose two channels are to be notified."""
    return await replicas.one.ready(request(channel=HERE), request(channel=THERE))


async def test_a_reload_ends_whose_last_channels_are_notified_at_once(replicas: Replicas) -> None:
    """One of them sees that it was the last."""
    one, two, _ = replicas
    ready = await ready_in_two_channels(replicas)
    (here,), (there,) = await one.claim(NOTIFY, free=1), await two.claim(NOTIFY, free=1)
    with stopped_at("UPDATE reload_model_reloads SET state") as gate:
        first = asyncio.create_task(one.record(here, Notified([here.recipients[0].id])))
        await gate.reached()
        second = await replicas.waiting(two.record(there, Notified([there.recipients[0].id])))
        gate.open()
    await asyncio.gather(first, second)

    assert (await one.reload(ready.id)).state is State.DONE


@pytest.mark.parametrize("status_first", [True, False])
async def test_a_status_job_has_its_last_word_whichever_is_recorded_first(
    replicas: Replicas, *, status_first: bool
) -> None:
    """The message that was posted, or the notification of its channel."""
    one, two, _ = replicas
    await one.ready(request())
    (status,), (notify,) = await one.claim(STATUS), await two.claim(NOTIFY)

    def post() -> Awaitable[None]:
        return one.record(status, Reschedule(status_ts="1700.1", until_notified=True))

    def notified() -> Awaitable[None]:
        return two.record(notify, Notified([1]))

    steps: list[Callable[[], Awaitable[None]]] = [post, notified] if status_first else [notified, post]
    with stopped_at(COMMIT) as gate:
        first = asyncio.ensure_future(steps[0]())
        await gate.reached()
        second = await replicas.waiting(steps[1]())
        gate.open()
    await asyncio.gather(first, second)

    claim = await one.claim_one(STATUS)
    assert (claim.notified, claim.job.status_ts) == (True, "1700.1")


async def test_a_reminder_added_beside_an_acceptance_counts_from_it(replicas: Replicas) -> None:
    """It missed the acceptance, and is claimed with its reload all the same."""
    one, two, _ = replicas
    old = await one.done(request())
    call = await one.called(request())
    with stopped_at(COMMIT) as gate:
        accepting = asyncio.create_task(one.record(call, Accepted(120.0)))
        await gate.reached()
        reminder = await two.database.run(requests.remind, "U0ADA", old.id, HERE)
        gate.open()
    await accepting
    await one.elapse(REMIND_AFTER)

    assert reminder is not None
    assert reminder.reload_id == old.id
    assert (await one.claim_one(REMINDER)).reload == await one.reload(call.reload.id)


async def test_a_reminder_added_on_both_replicas_is_one(replicas: Replicas) -> None:
    """A button can be pressed on two devices."""
    one, two, _ = replicas
    ended = await one.done(request())
    with stopped_at(COMMIT) as gate:
        first = asyncio.create_task(one.database.run(requests.remind, "U0ADA", ended.id, HERE))
        await gate.reached()
        second = await replicas.waiting(two.database.run(requests.remind, "U0ADA", ended.id, HERE))
        gate.open()

    assert await first == await second
    assert await one.kinds() == ["reminder"]


async def test_a_reload_that_is_deleted_while_it_is_listed_is_left_out(replicas: Replicas) -> None:
    """The others are listed."""
    one, two, _ = replicas
    await one.done(request("old"))
    await one.elapse(1000.0)
    await one.done(request("new"))
    with stopped_at("FROM reload_model_subscribers") as gate:
        listing = asyncio.create_task(one.database.run(history.recent, 10))
        await gate.reached()
        assert (await two.database.run(history.prune, 500.0 / 86400.0))[0] == 1
        gate.open()

    assert [listed.reload.model_id for listed in await listing] == ["new"]
