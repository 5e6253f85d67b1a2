"""Reminders: one a person and model, of the last reload that was accepted, until they are taken back."""

import math
import re
from dataclasses import replace

import pytest
from bot.storage.store import LEASE, Store
from sqlalchemy import insert, select, update

from bot.core.models import DAY, REMIND_AFTER, JobKind, Reload, Reminder, State
from bot.errors import Failure, LeaseLost
from bot.storage import statements as sql
from bot.storage.database import Database, Transaction
from bot.storage.schema import step
from tests.store.world import Clock, Seen, World, ask, outside

_REMIND = JobKind.REMIND


async def _reminding(world: World) -> list[Seen]:
    return [seen for seen in await world.steps() if seen.kind is _REMIND]


async def _accept(world: World, model: str = "sdxl") -> Reload:
    """Have a reload accepted that is ready at once, and carry it to its end."""
    accepted = await world.accepted(ask(model), seconds=0.0)
    for status in await world.claim(JobKind.STATUS):
        await world.store.dropped(status.step)
    await world.tell_everyone()
    return accepted


# --- asking ---------------------------------------------------------------------------------------------


async def test_reminded(store: Store, world: World) -> None:
    """Six days after the model should have been ready its reminder is due, a day before it may idle out."""
    accepted = await world.accepted(ask(), seconds=120.0)

    reminder = await store.remind("U0ADA", accepted.id, "C0MODELS")

    assert accepted.ready_at is not None
    due_at = accepted.ready_at + 6 * DAY
    assert reminder == Reminder("sdxl", accepted.id, "C0MODELS", accepted.ready_at, due_at)
    assert await store.reminders("U0ADA") == [reminder]
    assert await store.reminders("U0BOB") == []
    (seen,) = await _reminding(world)
    assert (seen.person_id, seen.channel_id, seen.watcher_id) == ("U0ADA", "C0MODELS", None)
    assert seen.due_in == world.about(120.0 + REMIND_AFTER)


async def test_asked_twice(store: Store, world: World) -> None:
    """Asking twice is one reminder; other people and other models have theirs."""
    sdxl, flux = await _accept(world), await _accept(world, "flux")
    once = await store.remind("U0ADA", sdxl.id, "C0MODELS")

    assert await store.remind("U0ADA", sdxl.id, "C0OPS") == once
    await store.remind("U0BOB", sdxl.id, "C0MODELS")
    await store.remind("U0ADA", flux.id, "C0MODELS")

    assert [reminder.model_id for reminder in await store.reminders("U0ADA")] == ["sdxl", "flux"]
    assert len(await _reminding(world)) == 3


async def test_of_the_last_reload(store: Store, world: World) -> None:
    """Whichever reload of a model is named, the reminder is of the last that was accepted."""
    old = await _accept(world)
    await world.elapse(60.0)
    new = await _accept(world)
    await world.called(ask())

    reminder = await store.remind("U0ADA", old.id, "C0MODELS")

    assert reminder is not None
    assert reminder.reload_id == new.id


async def test_nothing_to_be_reminded_of(store: Store, world: World) -> None:
    """A reload that nobody knows, or that was never accepted, is none to be reminded of."""
    await _accept(world)
    failed = await world.called(ask())
    await store.failed(failed.step, Failure.CREDITS, "", unknown=False)

    assert await store.remind("U0ADA", failed.reload.id, "C0MODELS") is None
    assert await store.remind("U0ADA", "nosuch", "C0MODELS") is None
    assert await _reminding(world) == []


# --- being told -----------------------------------------------------------------------------------------


async def test_claimed_when_due(store: Store, world: World) -> None:
    """It comes with the reload that it is of, and whom it is for; it begins no telling of that."""
    accepted = await _accept(world)
    await store.remind("U0ADA", accepted.id, "C0MODELS")
    await world.elapse(REMIND_AFTER - 60.0)
    assert await world.claim(_REMIND) == []
    await world.elapse(120.0)

    (work,) = await world.claim(_REMIND)

    assert (work.reload.id, work.step.person_id, work.step.channel_id) == (accepted.id, "U0ADA", "C0MODELS")
    assert work.reload.state is State.DONE


async def _told(world: World) -> Reload:
    """A reload of which one person has been reminded."""
    accepted = await _accept(world)
    await world.store.remind("U0ADA", accepted.id, "C0MODELS")
    await world.elapse(REMIND_AFTER + 1.0)
    (work,) = await world.claim(_REMIND)
    await world.store.again(work.step, 0.0)
    (work,) = await world.claim(_REMIND)
    await world.store.rested(work.step)
    return await world.reload(accepted.id)


async def test_it_stays(store: Store, world: World) -> None:
    """Once told it is not due any more, and stays, as fresh as if it had never been tried."""
    told = await _told(world)

    (seen,) = await _reminding(world)
    assert (seen.due_in, seen.owner, seen.attempts, seen.crashes) == (math.inf, None, 0, 0)
    assert [(reminder.reload_id, reminder.due_at) for reminder in await store.reminders("U0ADA")] == [(told.id, None)]
    assert await store.next_due([_REMIND]) is None
    again = await store.remind("U0ADA", told.id, "C0MODELS")
    assert again is not None
    assert again.due_at is None


async def test_it_goes_with_the_next_reload(store: Store, world: World) -> None:
    """A reload of its model that is accepted later makes it due anew; other models' reloads do not."""
    await _told(world)
    await _accept(world, "flux")
    assert await store.next_due([_REMIND]) is None

    new = await _accept(world)

    assert [reminder.reload_id for reminder in await store.reminders("U0ADA")] == [new.id]
    assert await store.next_due([_REMIND]) == world.about(REMIND_AFTER)
    await world.elapse(REMIND_AFTER + 1.0)
    (work,) = await world.claim(_REMIND)
    assert work.now - work.step.tried_at == world.about(0.0)


async def test_it_goes_with_the_next_reload_before_it_is_told(store: Store, world: World) -> None:
    """Who is to be reminded tomorrow is not, where the model is reloaded today."""
    old = await _accept(world)
    await store.remind("U0ADA", old.id, "C0MODELS")
    await world.elapse(REMIND_AFTER - DAY)

    await world.accepted(ask(), seconds=120.0)

    assert await store.next_due([_REMIND]) == world.about(120.0 + REMIND_AFTER)
    assert len(await _reminding(world)) == 1


async def test_in_hand_while_reloaded(store: Store, world: World) -> None:
    """Who has a reminder in hand while its model is reloaded loses it, and records nothing."""
    old = await _accept(world)
    await store.remind("U0ADA", old.id, "C0MODELS")
    await world.elapse(REMIND_AFTER + 1.0)
    (work,) = await world.claim(_REMIND)

    await _accept(world)

    with pytest.raises(LeaseLost):
        await store.rested(work.step)
    assert await store.next_due([_REMIND]) == world.about(REMIND_AFTER)


async def _attach(world: World, seen_by: str, reload_id: str) -> None:
    """Make a reminder be of that reload, as where a replica could not see a later one."""

    def operation(tx: Transaction) -> None:
        values = {"reload_id": reload_id, "due_at": tx.now}
        tx.connection.execute(update(step).where(step.c.person_id == seen_by).values(values))

    await world.database.run(operation)


async def _copy(world: World, reload_id: str) -> None:
    """Add another reminder like the one there is, of that reload."""

    def operation(tx: Transaction) -> None:
        row = tx.connection.execute(select(step).where(step.c.kind == _REMIND)).mappings().one()
        copied = {**row, "id": 1000, "reload_id": reload_id, "channel_id": "C0NEW", "due_at": row["due_at"] + DAY}
        tx.connection.execute(insert(step).values(copied))

    await world.database.run(operation)


async def test_of_a_reload_that_is_not_the_last(store: Store, world: World) -> None:
    """One that missed a later reload is moved when it is claimed, and not told."""
    old = await _accept(world)
    await world.elapse(60.0)
    new = await _accept(world)
    await store.remind("U0ADA", new.id, "C0MODELS")
    await _attach(world, "U0ADA", old.id)

    assert await world.claim() == []

    assert [reminder.reload_id for reminder in await store.reminders("U0ADA")] == [new.id]
    (seen,) = await _reminding(world)
    assert (seen.owner, seen.crashes) == (None, 0)
    assert seen.due_in == world.about(REMIND_AFTER)


async def test_two_of_one_model(store: Store, world: World) -> None:
    """One that missed a later reload of which the person has another is forgotten, and that one stays."""
    old = await _accept(world)
    await store.remind("U0ADA", old.id, "C0OLD")
    await world.elapse(60.0)
    new = await _accept(world)
    await _attach(world, "U0ADA", old.id)
    await _copy(world, new.id)

    assert await world.claim(_REMIND) == []

    assert [replace(each, ready_at=0.0, due_at=0.0) for each in await store.reminders("U0ADA")] == [
        Reminder("sdxl", new.id, "C0NEW", 0.0, 0.0)
    ]


async def test_two_of_one_model_at_the_next_reload(store: Store, world: World) -> None:
    """Of two that missed later reloads, one goes with the next."""
    one = await _accept(world)
    await store.remind("U0ADA", one.id, "C0OLD")
    await world.elapse(60.0)
    two = await _accept(world)
    await _attach(world, "U0ADA", one.id)
    await _copy(world, two.id)
    await world.elapse(60.0)

    three = await _accept(world)

    assert [reminder.reload_id for reminder in await store.reminders("U0ADA")] == [three.id]


# --- taking it back -------------------------------------------------------------------------------------


async def test_taken_back(store: Store, world: World) -> None:
    """A person takes back their own reminder of one model."""
    sdxl, flux = await _accept(world), await _accept(world, "flux")
    for person, reload in (("U0ADA", sdxl), ("U0BOB", sdxl), ("U0ADA", flux)):
        await store.remind(person, reload.id, "C0MODELS")

    assert await store.stop_reminding("U0ADA", "sdxl")
    assert not await store.stop_reminding("U0ADA", "sdxl")
    assert not await store.stop_reminding("U0ADA", "nosuch")

    assert [reminder.model_id for reminder in await store.reminders("U0ADA")] == ["flux"]
    assert [reminder.model_id for reminder in await store.reminders("U0BOB")] == ["sdxl"]


async def test_taken_back_once_told(store: Store, world: World) -> None:
    """One that stays for the next reload can be taken back, too."""
    await _told(world)

    assert await store.stop_reminding("U0ADA", "sdxl")
    assert await _reminding(world) == []


async def test_taken_back_in_hand(store: Store, world: World) -> None:
    """Even while it is in hand: what came of it is not recorded then."""
    accepted = await _accept(world)
    await store.remind("U0ADA", accepted.id, "C0MODELS")
    await world.elapse(REMIND_AFTER + 1.0)
    (work,) = await world.claim(_REMIND)

    assert await store.stop_reminding("U0ADA", "sdxl")

    with pytest.raises(LeaseLost):
        await store.rested(work.step)
    await world.elapse(LEASE)
    assert await world.claim(_REMIND) == []


# --- the rows about it ----------------------------------------------------------------------------------


async def test_a_reminder_outlives_the_history(store: Store, world: World) -> None:
    """A reload is not forgotten while somebody is to be reminded of it, and is when nobody is."""
    kept, _ = await _accept(world), await _accept(world, "flux")
    await store.remind("U0ADA", kept.id, "C0MODELS")
    await world.elapse(2 * DAY)

    assert (await store.prune(1))[0] == 1
    assert [entry.reload.model_id for entry in await store.history(10)] == ["sdxl"]
    await store.stop_reminding("U0ADA", "sdxl")
    assert (await store.prune(1))[0] == 1


async def test_known_models(store: Store, world: World) -> None:
    """Models of which a reload was accepted are known, the latest first; no other is."""
    assert await store.known_models(10) == []
    for model in ("sdxl", "flux", "sdxl", "anything"):
        await _accept(world, model)
        await world.elapse(1.0)
    failed = await world.called(ask("failed"))
    await store.failed(failed.step, Failure.UNKNOWN_MODEL, "", unknown=False)
    await store.ask(ask("requested"))

    assert await store.known_models(10) == ["anything", "sdxl", "flux"]
    assert await store.known_models(2) == ["anything", "sdxl"]


async def test_a_reload_by_its_id(store: Store, world: World, url: str) -> None:
    """A reload is found by its id, however it stands."""
    accepted = await world.accepted(ask())

    assert await store.reload(accepted.id) == accepted
    assert await store.reload("nosuch") is None
    assert outside(url, "SELECT count(*) FROM reload") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("REMINDERS", "one_reminder"),
        ("STOP_REMINDING", "one_reminder"),
        ("REMINDERS_OF_MODEL", "by_model"),
        ("LAST_ACCEPTED", "by_model"),
        ("KNOWN_MODELS", "by_model"),
        ("PRESSED", "audit_by_person"),
    ],
)
async def test_found_by_an_index(sqlite_url: str, statement: str, index: str) -> None:
    """However long the history is, SQLite looks at no more of it than it must."""
    database = Database(sqlite_url, Clock())
    await database.start()
    await Store(database, "one").open()

    def plan(tx: Transaction) -> str:
        compiled = str(getattr(sql, statement).compile(tx.connection))
        literally = re.sub(r"__\[POSTCOMPILE_\w+\]", "'remind'", compiled)
        values = (None,) * literally.count("?")
        return str(tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {literally}", values).all())

    assert f"INDEX {index}" in await database.run(plan)
    await database.stop()
