"""Two processes on one PostgreSQL: what one does while the other is in the middle of something."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import NamedTuple, TypeVar

import pytest

from bot.core.models import REMIND_AFTER, JobKind, State
from bot.errors import Failure
from bot.storage.database import Database
from tests.postgres import Postgres
from tests.store.world import WAIT, Clock, World, ask, at_commit, outside, press, stopped_at, stopped_at_commit

T = TypeVar("T")

_CALL, _STATUS, _FOLLOW_UP, _DIRECT, _CLOSE, _REMIND, _BAR = JobKind


class Replicas(NamedTuple):
    """Two processes, and how to see that one waits for the other."""

    one: World
    two: World
    postgres: Postgres

    async def waits(self, operation: Awaitable[T]) -> "asyncio.Task[T]":
        """Begin an operation, and return as soon as it waits for a lock that another holds."""
        task = asyncio.ensure_future(operation)
        assert isinstance(task, asyncio.Task)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        async with asyncio.timeout(WAIT):
            while await asyncio.to_thread(self.postgres.execute, waiting) == [(0,)]:
                assert not task.done()
        assert not task.done()
        return task


@pytest.fixture
async def replicas(postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replicas]:
    """Two processes that are patient with each other."""
    monkeypatch.setattr("bot.storage.store.ASK_SECONDS", WAIT)
    url = f"{postgres_url}&options=-c%20lock_timeout%3D20s%20-c%20deadlock_timeout%3D50ms"
    databases = [Database(url, Clock()), Database(url, Clock())]
    for database in databases:
        await database.start()
    one, two = (World(database, Clock()) for database in databases)
    two.store = two.other
    await one.store.open()
    yield Replicas(one, two, postgres)
    for database in databases:
        await database.stop()


# --- asking ---------------------------------------------------------------------------------------------


async def test_asked_of_both_at_once(replicas: Replicas) -> None:
    """Two hundred people who ask two replicas at once are one reload and one call."""
    one, two, _ = replicas

    asked = await asyncio.gather(
        *((one if number % 2 else two).store.ask(ask(user=f"U{number}")) for number in range(200))
    )

    assert [each.joined for each in asked].count(False) == 1
    assert len({each.first.user_id for each in asked}) == 1
    assert await one.count() == (1, 200, 1)


async def test_many_models_asked_of_both_at_once(replicas: Replicas) -> None:
    """However askings for many models are mixed, each model is reloaded once and nobody is lost."""
    one, two, _ = replicas
    models = [f"model-{number}" for number in range(10)]

    asked = await asyncio.gather(
        *(one.store.ask(ask(model)) for _ in range(3) for model in models),
        *(two.store.ask(ask(model)) for _ in range(3) for model in reversed(models)),
    )

    assert [each.joined for each in asked].count(False) == 10
    assert await one.count() == (10, 60, 10)


async def test_invocation_delivered_to_both(replicas: Replicas) -> None:
    """The same invocation delivered to two replicas at once is one."""
    one, two, _ = replicas
    with stopped_at_commit() as gate:
        first = asyncio.create_task(one.store.ask(ask(trigger="t")))
        await gate.reached()
        second = await replicas.waits(two.store.ask(ask(trigger="t")))
        gate.open()

    assert await first == await second
    assert await one.count() == (1, 1, 1)


async def test_too_late_to_join_meanwhile(replicas: Replicas) -> None:
    """Who asks while another replica begins to tell of the reload begins a new one."""
    one, two, _ = replicas
    await one.ready(ask())
    with stopped_at("SELECT watcher.id") as gate:
        telling = asyncio.create_task(one.claim(_FOLLOW_UP))
        await gate.reached()
        asking = await replicas.waits(two.store.ask(ask()))
        gate.open()

    assert len(await telling) == 1
    assert not (await asking).joined


async def test_joined_before_telling(replicas: Replicas) -> None:
    """Who joins just before another replica begins to tell of the reload is told with the others."""
    one, two, _ = replicas
    await one.ready(ask(user="U0ADA"))
    with stopped_at("INSERT INTO watcher") as gate:
        asking = asyncio.create_task(two.store.ask(ask(user="U0BOB")))
        await gate.reached()
        telling = await replicas.waits(one.claim(_FOLLOW_UP))
        gate.open()

    assert (await asking).joined
    (work,) = await telling
    assert [watcher.user_id for watcher in work.audience] == ["U0ADA", "U0BOB"]


async def test_joined_before_acceptance(replicas: Replicas) -> None:
    """Who joins from a new channel just before another replica records the acceptance is followed up there."""
    one, two, _ = replicas
    call = await one.called(ask(channel="C0MODELS"))
    with stopped_at("INSERT INTO watcher") as gate:
        asking = asyncio.create_task(two.store.ask(ask(channel="C0OPS")))
        await gate.reached()
        accepting = await replicas.waits(one.store.accepted(call.step, 120.0))
        gate.open()

    assert (await asking).joined
    await accepting
    assert sorted(await one.kinds()) == [
        (_FOLLOW_UP, "C0MODELS"),
        (_FOLLOW_UP, "C0OPS"),
        (_STATUS, "C0MODELS"),
        (_STATUS, "C0OPS"),
    ]


async def test_joined_after_acceptance(replicas: Replicas) -> None:
    """Who asks from a new channel while another replica records the acceptance is followed up there, once."""
    one, two, _ = replicas
    call = await one.called(ask(channel="C0MODELS"))
    with stopped_at("INSERT INTO place") as gate:
        accepting = asyncio.create_task(one.store.accepted(call.step, 120.0))
        await gate.reached()
        asking = await replicas.waits(two.store.ask(ask(channel="C0OPS")))
        gate.open()

    await accepting
    assert (await asking).reload.state is State.ACCEPTED
    assert [kind for kind in await one.kinds() if kind[1] == "C0OPS"] == [(_FOLLOW_UP, "C0OPS"), (_STATUS, "C0OPS")]


async def test_joined_before_failure(replicas: Replicas) -> None:
    """Who joins from a new channel just before another replica records the failure is told of it there."""
    one, two, _ = replicas
    call = await one.called(ask(channel="C0MODELS"))
    with stopped_at("INSERT INTO watcher") as gate:
        asking = asyncio.create_task(two.store.ask(ask(channel="C0OPS")))
        await gate.reached()
        failing = await replicas.waits(one.store.failed(call.step, Failure.DOWN, "", unknown=False))
        gate.open()

    assert (await asking).joined
    await failing
    assert sorted(await one.kinds()) == [(_FOLLOW_UP, "C0MODELS"), (_FOLLOW_UP, "C0OPS")]


async def test_joined_by_a_press_before_telling(replicas: Replicas) -> None:
    """Who joins by a press just before another replica begins to tell of the reload is told with the others."""
    one, two, _ = replicas
    ready = await one.ready(ask(user="U0ADA"))
    with stopped_at("INSERT INTO watcher") as gate:
        joining = asyncio.create_task(two.store.join(press(user="U0BOB"), ready.id))
        await gate.reached()
        telling = await replicas.waits(one.claim(_FOLLOW_UP))
        gate.open()

    assert await joining is not None
    (work,) = await telling
    assert [watcher.user_id for watcher in work.audience] == ["U0ADA", "U0BOB"]


async def test_too_late_to_join_by_a_press_meanwhile(replicas: Replicas) -> None:
    """Who presses while another replica begins to tell of the reload does not join it."""
    one, two, _ = replicas
    ready = await one.ready(ask())
    with stopped_at("SELECT watcher.id") as gate:
        telling = asyncio.create_task(one.claim(_FOLLOW_UP))
        await gate.reached()
        joining = await replicas.waits(two.store.join(press(user="U0BOB"), ready.id))
        gate.open()

    assert len(await telling) == 1
    assert await joining is None
    assert (await one.count())[1] == 1


async def test_a_double_click_on_both(replicas: Replicas) -> None:
    """Of two clicks that reach two replicas at once one begins the reload, and the other is answered alike."""
    one, two, _ = replicas
    with stopped_at("INSERT INTO audit") as gate:
        first = asyncio.create_task(one.store.ask(press()))
        await gate.reached()
        second = await replicas.waits(two.store.ask(press()))
        gate.open()

    assert await first == await second
    assert await one.count() == (1, 1, 1)


async def test_a_double_click_on_both_and_an_end(replicas: Replicas) -> None:
    """Even where the reload of the first click has failed by the time the second looks, nothing more is begun."""
    one, two, _ = replicas
    with stopped_at("INSERT INTO reload") as gate:
        second = asyncio.create_task(two.store.ask(press()))
        await gate.reached()
        call = await one.called(press())
        await one.store.failed(call.step, Failure.DOWN, "", unknown=False)
        gate.open()

    assert (await second).reload.id == call.reload.id
    assert (await one.count())[:2] == (1, 1)


# --- claiming -------------------------------------------------------------------------------------------


async def test_claimed_by_one(replicas: Replicas) -> None:
    """What two replicas claim at once is claimed by one of them, and neither claims more than its limit."""
    one, two, _ = replicas
    await asyncio.gather(*(one.store.ask(ask(f"model-{number}")) for number in range(100)))

    claims = await asyncio.gather(*(world.store.claim([_CALL], 7) for _ in range(8) for world in (one, two)))

    claimed = [work.step.id for works in claims for work in works]
    assert len(claimed) == len(set(claimed)) == 100
    assert max(len(works) for works in claims) <= 7


async def test_claiming_waits_for_nobody(replicas: Replicas) -> None:
    """A replica that is slow to claim does not keep another from claiming the rest."""
    one, two, _ = replicas
    await one.store.ask(ask("first"))
    await one.elapse(1.0)
    await one.store.ask(ask("second"))
    with stopped_at("SELECT reload.id") as gate:
        slow = asyncio.create_task(one.store.claim([_CALL], 1))
        await gate.reached()
        quick = await two.store.claim([_CALL], 2)
        gate.open()

    assert [work.reload.model_id for work in quick] == ["second"]
    assert [work.reload.model_id for work in await slow] == ["first"]


# --- ending ---------------------------------------------------------------------------------------------


async def test_last_two_told_at_once(replicas: Replicas) -> None:
    """When two replicas tell the last two channels at once, the reload ends."""
    one, two, _ = replicas
    ready = await one.ready(ask(channel="C0MODELS"), ask(channel="C0OPS"))
    (here,) = await one.store.claim([_FOLLOW_UP], 1)
    (there,) = await two.store.claim([_FOLLOW_UP], 1)
    with stopped_at("UPDATE reload SET state") as gate:
        first = asyncio.create_task(one.store.told(here.step, [here.audience[0].id], None))
        await gate.reached()
        second = await replicas.waits(two.store.told(there.step, [there.audience[0].id], None))
        gate.open()
    await asyncio.gather(first, second)

    assert (await one.reload(ready.id)).state is State.DONE


async def test_told_while_its_status_is_recorded(replicas: Replicas) -> None:
    """A status whose channel another replica tells the end of at that moment is closed all the same, once."""
    one, two, _ = replicas
    await one.ready(ask())
    (status,) = await one.store.claim([_STATUS], 1)
    (follow_up,) = await two.store.claim([_FOLLOW_UP], 1)
    with stopped_at("INSERT INTO step") as gate:
        posting = asyncio.create_task(one.store.status_posted(status.step, "1700.1", None, 20.0))
        await gate.reached()
        telling = await replicas.waits(two.store.told(follow_up.step, [], None))
        gate.open()
    await asyncio.gather(posting, telling)

    assert [kind for kind, _ in await one.kinds()] == [_DIRECT, _CLOSE]


@pytest.mark.parametrize("channel", ["C0MODELS", "C0OPS"])
async def test_joined_while_a_status_is_recorded(replicas: Replicas, channel: str) -> None:
    """Who joins, from whichever channel, does not wait for a status message that another replica records just then."""
    one, two, _ = replicas
    await one.accepted(ask(channel="C0MODELS"))
    (status,) = await one.store.claim([_STATUS], 1)
    with stopped_at("INSERT INTO step") as gate:
        posting = asyncio.create_task(one.store.status_posted(status.step, "1700.1", None, 20.0))
        await gate.reached()
        asked = await two.store.ask(ask(user="U0BOB", channel=channel))
        gate.open()
    await posting

    assert asked.joined
    channels = sorted({"C0MODELS", channel})
    assert sorted(where for kind, where in await one.kinds() if kind is _FOLLOW_UP) == channels


async def test_its_status_is_recorded_while_told(replicas: Replicas) -> None:
    """And likewise the other way round."""
    one, two, _ = replicas
    await one.ready(ask())
    (status,) = await one.store.claim([_STATUS], 1)
    (follow_up,) = await two.store.claim([_FOLLOW_UP], 1)
    with stopped_at("UPDATE reload SET state") as gate:
        telling = asyncio.create_task(two.store.told(follow_up.step, [1], None))
        await gate.reached()
        posting = await replicas.waits(one.store.status_posted(status.step, "1700.1", None, 20.0))
        gate.open()
    await asyncio.gather(posting, telling)

    assert [kind for kind, _ in await one.kinds()] == [_CLOSE]


# --- reminders ------------------------------------------------------------------------------------------


async def test_reminded_while_reloaded(replicas: Replicas) -> None:
    """A reminder that misses the acceptance of a later reload is not told of the old one: it finds the new one."""
    one, two, _ = replicas
    old = await one.done(ask())
    call = await one.called(ask())
    with stopped_at_commit() as gate:
        accepting = asyncio.create_task(one.store.accepted(call.step, 120.0))
        await gate.reached()
        missed = await two.store.remind("U0ADA", old.id, "C0MODELS")
        gate.open()
    new = await accepting
    assert missed is not None
    assert missed.reload_id == old.id
    await one.elapse(REMIND_AFTER + 60.0)

    assert await one.store.claim([_REMIND], 10) == []
    assert [reminder.reload_id for reminder in await one.store.reminders("U0ADA")] == [new.id]


async def test_reminded_by_both_at_once(replicas: Replicas) -> None:
    """Two presses that reach two replicas at once are one reminder."""
    one, two, _ = replicas
    ended = await one.done(ask())
    with stopped_at("INSERT INTO step") as gate:
        first = asyncio.create_task(one.store.remind("U0ADA", ended.id, "C0MODELS"))
        await gate.reached()
        second = asyncio.create_task(two.store.remind("U0ADA", ended.id, "C0MODELS"))
        gate.open()

    assert await first == await second
    assert len(await one.store.reminders("U0ADA")) == 1


# --- withdrawing ----------------------------------------------------------------------------------------


async def test_not_claimed_while_withdrawn(replicas: Replicas) -> None:
    """A call that is being withdrawn is not claimed any more."""
    one, two, _ = replicas
    await one.store.ask(ask(trigger="t"))
    with stopped_at("DELETE FROM watcher") as gate:
        withdrawing = asyncio.create_task(one.store.withdraw("t"))
        await gate.reached()
        assert await two.claim(_CALL) == []
        gate.open()

    assert await withdrawing
    assert await one.count() == (0, 0, 0)


async def test_not_withdrawn_while_claimed(replicas: Replicas) -> None:
    """An asking is not withdrawn once another replica is about to call."""
    one, two, _ = replicas
    await one.store.ask(ask(trigger="t"))
    with stopped_at("SELECT reload.id") as gate:
        claiming = asyncio.create_task(two.claim(_CALL))
        await gate.reached()
        withdrawing = await replicas.waits(one.store.withdraw("t"))
        gate.open()

    assert len(await claiming) == 1
    assert not await withdrawing
    assert await one.count() == (1, 1, 1)


async def test_joined_while_withdrawn(replicas: Replicas) -> None:
    """Who asks for a reload that is just being withdrawn begins a new one."""
    one, two, _ = replicas
    await one.store.ask(ask(trigger="t"))
    with stopped_at("DELETE FROM watcher") as gate:
        withdrawing = asyncio.create_task(one.store.withdraw("t"))
        await gate.reached()
        asking = await replicas.waits(two.store.ask(ask()))
        gate.open()

    assert await withdrawing
    assert not (await asking).joined
    assert await one.count() == (1, 1, 1)


async def test_withdrawn_while_joined(replicas: Replicas) -> None:
    """Who joins a reload just before its first asker withdraws keeps it."""
    one, two, _ = replicas
    await one.store.ask(ask(trigger="t"))
    with stopped_at("INSERT INTO watcher") as gate:
        asking = asyncio.create_task(two.store.ask(ask(user="U0BOB")))
        await gate.reached()
        withdrawing = await replicas.waits(one.store.withdraw("t"))
        gate.open()

    assert (await asking).joined
    assert await withdrawing
    assert [watcher.user_id for watcher in await one.watchers()] == ["U0BOB"]
    assert await one.count() == (1, 1, 1)


async def test_listed_while_withdrawn(replicas: Replicas) -> None:
    """A reload that another replica deletes while it is being listed is not listed."""
    one, two, _ = replicas
    await one.store.ask(ask("stays"))
    await one.store.ask(ask("goes", trigger="t"))
    with stopped_at("SELECT watcher.id") as gate:
        listing = asyncio.create_task(one.store.in_flight(10))
        await gate.reached()
        assert await two.store.withdraw("t")
        gate.open()

    entries, count = await listing
    assert [entry.reload.model_id for entry in entries] == ["stays"]
    assert count == 1


# --- a commit that nobody heard of ----------------------------------------------------------------------


async def test_withdrawn_after_doubt(replicas: Replicas, postgres_url: str) -> None:
    """An asking whose commit was in doubt is withdrawn as soon as the database answers again."""
    one, _, postgres = replicas

    with at_commit(lambda _: postgres.terminate(postgres_url)), pytest.raises(Exception, match="terminat"):
        await one.store.ask(ask(trigger="t"))
    await one.store.withdraw("t")

    assert outside(postgres_url, "SELECT count(*) FROM reload") == [(0,)]
