import pytest
from bot.storage.store import Store

from bot.core.models import JobKind, State
from bot.errors import Failure
from tests.store.world import World, ask

_DAY = 86400.0


async def test_in_flight(store: Store, world: World) -> None:
    """Reloads that have not ended are listed as they were asked for, with the first asker and how many asked."""
    await world.done(ask("done"))
    await world.accepted(ask("accepted", user="U0ADA"), ask("accepted", user="U0BOB"))
    await world.elapse(1.0)
    failed = await world.called(ask("failed"))
    await store.failed(failed.step, Failure.DOWN, "", unknown=False)
    await world.elapse(1.0)
    await store.ask(ask("requested"))

    entries, count = await store.in_flight(10)

    assert count == 3
    assert [(entry.reload.model_id, entry.reload.state, entry.first.user_id, entry.askers) for entry in entries] == [
        ("accepted", State.ACCEPTED, "U0ADA", 2),
        ("failed", State.TELLING, "U0ADA", 1),
        ("requested", State.REQUESTED, "U0ADA", 1),
    ]


async def test_in_flight_limit(store: Store, world: World) -> None:
    """Of many reloads in flight the first are listed, and all are counted."""
    for model in range(5):
        await store.ask(ask(f"model-{model}"))
        await world.elapse(1.0)

    entries, count = await store.in_flight(2)

    assert [entry.reload.model_id for entry in entries] == ["model-0", "model-1"]
    assert count == 5


async def test_a_glance(store: Store, world: World) -> None:
    """One look shows what is in flight, what is over, and the reminders of whoever looks."""
    over = await world.done(ask("over"))
    for user in ("U0ADA", "U0BEN"):
        await store.remind(user, over.id, "C0MODELS")
    for model in ("one", "two"):
        await store.ask(ask(model))
        await world.elapse(1.0)
    glance = await store.glance("U0ADA", 1)

    assert [entry.reload.model_id for entry in glance.in_flight] == ["one"]
    assert [entry.reload.model_id for entry in glance.history] == ["over"]
    assert [reminder.model_id for reminder in glance.reminders] == ["over"]
    assert glance.count == 2
    assert glance.now == glance.in_flight[0].now >= glance.in_flight[0].reload.asked_at


async def test_nothing_to_list(store: Store) -> None:
    """Where nobody has asked there is nothing in flight, and no history."""
    assert await store.in_flight(10) == ([], 0)
    assert await store.history(10) == []


async def test_history(store: Store, world: World) -> None:
    """Reloads that have ended are listed, the last asked for first, and no more than were wanted."""
    for model in ("first", "second", "third"):
        await world.done(ask(model), ask(model))
    await store.ask(ask("in-flight"))

    entries = await store.history(2)

    assert [(entry.reload.model_id, entry.askers) for entry in entries] == [("third", 2), ("second", 2)]


async def test_pruned(store: Store, world: World) -> None:
    """What ended more days ago than are wanted is forgotten, with all that hangs on it, and nothing else is."""
    await world.accepted(ask("in-flight"), seconds=_DAY * 1000)
    await world.accepted(ask("old", channel="C0OLD"), seconds=0.0)
    await store.status_posted((await world.claim_one(JobKind.STATUS, "C0OLD")).step, "1.2", None)
    await world.tell_everyone()
    await store.dropped((await world.claim_one(JobKind.CLOSE)).step)
    await world.elapse(_DAY * 90)
    await world.done(ask("young"))

    assert await store.prune(90) == (1, 2)

    assert [entry.reload.model_id for entry in await store.history(10)] == ["young"]
    assert [entry.reload.model_id for entry in (await store.in_flight(10))[0]] == ["in-flight"]
    assert await world.count() == (2, 2, 1)
    assert await store.prune(90) == (0, 0)


async def test_not_pruned_before_its_last_step(store: Store, world: World) -> None:
    """What is still to be done for a reload keeps it, however long ago it ended."""
    await world.accepted(ask(), seconds=0.0)
    await store.status_posted((await world.claim_one(JobKind.STATUS)).step, "1.2", None)
    await world.tell_everyone()
    await world.elapse(_DAY * 90)

    assert (await store.prune(1))[0] == 0
    await store.dropped((await world.claim_one(JobKind.CLOSE)).step)
    assert (await store.prune(1))[0] == 1


async def test_pruned_in_parts(store: Store, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long history only so much is forgotten at once as does not hold up others."""
    monkeypatch.setattr("bot.storage.store._PRUNED_AT_ONCE", 2)
    for model in range(3):
        await world.done(ask(f"model-{model}"))
    await world.elapse(_DAY * 2)

    assert [await store.prune(1) for _ in range(3)] == [(2, 2), (1, 1), (0, 0)]


async def test_next_due(store: Store, world: World) -> None:
    """The time until the next step of the wanted kinds is known, and is none where there is no such step."""
    assert await store.next_due(tuple(JobKind)) is None

    await world.accepted(ask(), seconds=120.0)
    await world.elapse(20.0)

    assert await store.next_due([JobKind.FOLLOW_UP]) == world.about(100.0)
    assert await store.next_due([JobKind.STATUS]) == world.about(-20.0)
    assert await store.next_due([JobKind.STATUS, JobKind.FOLLOW_UP]) == world.about(-20.0)
    assert await store.next_due([JobKind.CALL, JobKind.DIRECT]) is None


async def test_next_due_after_lease(store: Store, world: World) -> None:
    """A step in somebody's hands is next due when their lease ends."""
    await world.called(ask())

    assert await store.next_due([JobKind.CALL]) == world.about(10.0)
