import asyncio
from collections.abc import Awaitable, Callable

import pytest
from bot.storage.store import LEASE, Store

from bot.core.models import Job, JobKind, State
from bot.errors import Failure, LeaseLost
from tests.store.world import World, ask, busy, outside, statements

_CALL, _STATUS, _FOLLOW_UP, _DIRECT, _CLOSE, _REMIND, _BAR = JobKind


# --- the call -------------------------------------------------------------------------------------------


async def test_accepted(store: Store, world: World) -> None:
    """A reload that is accepted gets a status now and a follow-up when it should be ready, in each channel once."""
    call = await world.called(ask(channel="C0MODELS"), ask(channel="C0OPS"), ask(channel="C0OPS"))
    await world.elapse(5.0)

    reload = await store.accepted(call.step, 120.0)

    assert reload == await world.reload(call.reload.id)
    assert reload.state is State.ACCEPTED
    assert reload.accepted_at is not None
    assert reload.accepted_at - reload.asked_at == world.about(5.0)
    assert reload.ready_at == reload.accepted_at + 120.0
    assert sorted((seen.kind, seen.channel_id, seen.watcher_id) for seen in await world.steps()) == [
        (_FOLLOW_UP, "C0MODELS", None),
        (_FOLLOW_UP, "C0OPS", None),
        (_STATUS, "C0MODELS", None),
        (_STATUS, "C0OPS", None),
    ]
    due = {(seen.kind, round(seen.due_in / 10.0)) for seen in await world.steps()}
    assert due == {(_FOLLOW_UP, 12), (_STATUS, 0)}


async def test_failed(store: Store, world: World) -> None:
    """Of a reload that failed everyone is told at once, in each channel, with no status before."""
    call = await world.called(ask(channel="C0MODELS"), ask(channel="C0OPS"))

    reload = await store.failed(call.step, Failure.CREDITS, "Insufficient credits.", unknown=False)

    assert reload == await world.reload(call.reload.id)
    assert (reload.state, reload.failure, reload.said) == (State.TELLING, Failure.CREDITS, "Insufficient credits.")
    assert (reload.unknown, reload.accepted_at, reload.ready_at) == (False, None, None)
    assert sorted(await world.kinds()) == [(_FOLLOW_UP, "C0MODELS"), (_FOLLOW_UP, "C0OPS")]
    assert await store.next_due([_FOLLOW_UP]) == world.about(0.0)


@pytest.mark.parametrize(("before", "at_last"), [(False, True), (True, False)])
async def test_failed_unknown(store: Store, world: World, before: bool, at_last: bool) -> None:  # noqa: FBT001 - parameters
    """Once one attempt may have had its effect, the failure says so, whatever the last attempt knew."""
    call = await world.called(ask())
    await store.again(call.step, 0.0, unknown=before)
    call = await world.claim_one(_CALL)

    reload = await store.failed(call.step, Failure.DOWN, "", unknown=at_last)

    assert reload.unknown


async def test_failure_of_a_later_version(store: Store, world: World, url: str) -> None:
    """A failure that only a later version of this program knows does not stop this one from telling of it."""
    call = await world.called(ask())
    await store.failed(call.step, Failure.DOWN, "", unknown=False)
    await world.database.run(lambda tx: tx.connection.exec_driver_sql("UPDATE reload SET failure = 'NOVELTY'"))

    assert (await world.claim_one(_FOLLOW_UP)).reload.failure is Failure.INTERNAL
    assert outside(url, "SELECT failure FROM reload") == [("NOVELTY",)]


# --- any step -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", [False, True])
async def test_again(store: Store, world: World, unknown: bool) -> None:  # noqa: FBT001 - a parameter
    """A step that failed is due again after its wait, and the attempt is counted."""
    call = await world.called(ask())

    await store.again(call.step, 30.0, unknown=unknown)

    (seen,) = await world.steps()
    assert (seen.owner, seen.claims, seen.attempts, seen.crashes) == (None, 1, 1, 0)
    assert seen.due_in == world.about(30.0)
    assert (await world.reload(call.reload.id)).unknown is unknown


async def test_crashed_call(store: Store, world: World) -> None:
    """A call that ended in an error of our own is due again, counted as a crash, and may have had its effect."""
    call = await world.called(ask())

    await store.crashed(call.step, 4.0)

    (seen,) = await world.steps()
    assert (seen.owner, seen.claims, seen.attempts, seen.crashes) == (None, 1, 0, 1)
    assert seen.due_in == world.about(4.0)
    assert (await world.reload(call.reload.id)).unknown


async def test_crashed_post(store: Store, world: World) -> None:
    """A post that ended in an error of our own says nothing of the call."""
    await world.ready(ask())
    follow_up = await world.claim_one(_FOLLOW_UP)

    await store.crashed(follow_up.step, 4.0)

    assert [seen.crashes for seen in await world.steps() if seen.kind is _FOLLOW_UP] == [1]
    assert not (await world.reload(follow_up.reload.id)).unknown


@pytest.mark.parametrize("unknown", [False, True])
async def test_postponed(store: Store, world: World, unknown: bool) -> None:  # noqa: FBT001 - a parameter
    """A step that is put off counts neither as an attempt nor as a crash."""
    call = await world.called(ask())

    await store.postponed(call.step, 1.0, unknown=unknown)

    (seen,) = await world.steps()
    assert (seen.owner, seen.claims, seen.attempts, seen.crashes) == (None, 1, 0, 0)
    assert seen.due_in == world.about(1.0)
    assert (await world.reload(call.reload.id)).unknown is unknown


async def test_dropped(store: Store, world: World) -> None:
    """A step that is not needed any more is gone, and nothing else is."""
    await world.accepted(ask())
    status = await world.claim_one(_STATUS)

    await store.dropped(status.step)

    assert await world.kinds() == [(_FOLLOW_UP, "C0MODELS")]
    assert (await world.reload(status.reload.id)).state is State.ACCEPTED


# --- messages -------------------------------------------------------------------------------------------


async def test_status_posted(store: Store, world: World) -> None:
    """Where the status message stands is remembered, in its channel and no other."""
    await world.ready(ask(channel="C0MODELS"), ask(channel="C0OPS"))
    status = await world.claim_one(_STATUS, "C0MODELS")

    await store.status_posted(status.step, "1700.1", None)

    follow_ups = {work.step.channel_id: work.status_ts for work in await world.claim(_FOLLOW_UP)}
    assert follow_ups == {"C0MODELS": "1700.1", "C0OPS": ""}
    assert [watcher.response_uses for watcher in await world.watchers()] == [0, 0]


async def test_response_urls_are_counted(store: Store, world: World) -> None:
    """Each message through somebody's response_url is counted as a use of it."""
    await world.ready(ask(), ask())
    spender = (await world.watchers())[1].id
    status = await world.claim_one(_STATUS)
    await store.status_posted(status.step, "", spender)
    follow_up = await world.claim_one(_FOLLOW_UP)

    await store.told(follow_up.step, [], spender)

    assert [watcher.response_uses for watcher in await world.watchers()] == [0, 2]


async def test_told(store: Store, world: World) -> None:
    """When everyone has been told, the reload is done, and says since when."""
    await world.ready(ask(), ask())
    follow_up = await world.claim_one(_FOLLOW_UP)

    await store.told(follow_up.step, [watcher.id for watcher in follow_up.audience], None)

    reload = await world.reload(follow_up.reload.id)
    assert reload.state is State.DONE
    assert reload.ended_at is not None
    assert reload.ended_at - reload.asked_at == world.about(120.0)
    assert [watcher.told_at is not None for watcher in await world.watchers()] == [True, True]
    assert await world.kinds() == [(_STATUS, "C0MODELS")]


async def test_told_elsewhere(store: Store, world: World) -> None:
    """As long as another channel has not been told, the reload is not done."""
    await world.ready(ask(channel="C0MODELS"), ask(channel="C0OPS"))
    here = await world.claim_one(_FOLLOW_UP, "C0MODELS")

    await store.told(here.step, [here.audience[0].id], None)

    reload = await world.reload(here.reload.id)
    assert (reload.state, reload.ended_at) == (State.TELLING, None)
    assert [watcher.told_at is not None for watcher in await world.watchers()] == [True, False]
    await world.tell_everyone()
    assert (await world.reload(here.reload.id)).state is State.DONE


async def test_told_together(store: Store, world: World) -> None:
    """Of those who are told at once each reload, channel and lease counts for itself."""
    for model in ("one", "two", "lost"):
        await world.accepted(ask(model, channel="C0MODELS"), ask(model, channel="C0OPS"))
    await world.elapse(120.0)
    for status in await world.claim(_STATUS):
        ts = "1700.1" if status.step.channel_id == "C0OPS" else ""
        await store.status_posted(status.step, ts, None)
    works = {(work.reload.model_id, work.step.channel_id): work for work in await world.claim(_FOLLOW_UP)}
    lost = works["lost", "C0OPS"]
    await store.postponed(lost.step, 0.0)
    await world.claim_one(_FOLLOW_UP)
    reached = {key: [] if key == ("two", "C0OPS") else [work.audience[0].id] for key, work in works.items()}

    async with busy(world.database):
        telling = asyncio.gather(
            *(store.told(work.step, reached[key], None) for key, work in works.items() if key != ("one", "C0MODELS")),
            return_exceptions=True,
        )
    results = dict(zip([key for key in works if key != ("one", "C0MODELS")], await telling, strict=True))

    assert [key for key, result in results.items() if result is not None] == [("lost", "C0OPS")]
    assert isinstance(results["lost", "C0OPS"], LeaseLost)
    untold = {watcher.reload_id: watcher.channel_id for watcher in await world.watchers() if watcher.told_at is None}
    assert untold == {
        works["one", "C0OPS"].reload.id: "C0MODELS",
        works["two", "C0OPS"].reload.id: "C0OPS",
        lost.reload.id: "C0OPS",
    }
    assert sorted(await world.kinds()) == sorted(
        [
            (_FOLLOW_UP, "C0MODELS"),  # of one
            (_FOLLOW_UP, "C0OPS"),  # of lost
            (_DIRECT, "C0OPS"),  # of two
            (_CLOSE, "C0OPS"),  # of one
            (_CLOSE, "C0OPS"),  # of two
        ]
    )


async def test_cost_of_telling_many(store: Store, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """To tell many at once takes no more statements than to tell one, however many each of them told."""
    monkeypatch.setattr("bot.storage.store._TOLD_AT_ONCE", 2)
    for number in range(5):
        await world.accepted(ask(f"model-{number}", channel=f"C{number}"))
    await world.elapse(120.0)
    works = await world.claim(_FOLLOW_UP)

    with statements() as said:
        async with busy(world.database):
            telling = asyncio.gather(*(store.told(work.step, [work.audience[0].id], None) for work in works))
        await telling

    kinds = ["SELECT", "DELETE", "UPDATE", "UPDATE", "UPDATE", "INSERT", "DELETE", "INSERT", "UPDATE"]
    locks = ["SELECT", "SELECT"]
    told = [each.split()[0] for each in said if not each.startswith("BEGIN")]
    assert sorted(told) == sorted(kinds if world.database.sqlite else kinds + locks)
    assert [(await world.reload(work.reload.id)).state for work in works] == [State.DONE] * 5


async def test_untold_get_a_direct_message(store: Store, world: World) -> None:
    """Whom the follow-up did not reach gets a DM each, and only then is the reload done."""
    await world.ready(*(ask(user=user) for user in ("U0ADA", "U0BOB", "U0CY")), ask(channel="C0OPS"))
    await world.store.told((await world.claim_one(_FOLLOW_UP, "C0OPS")).step, [4], None)
    follow_up = await world.claim_one(_FOLLOW_UP)
    ada, bob, cy, _ = await world.watchers()

    await store.told(follow_up.step, [ada.id], None)

    directs = await world.claim(_DIRECT)
    assert sorted(work.audience[0].user_id for work in directs) == ["U0BOB", "U0CY"]
    assert {(work.step.watcher_id, work.step.channel_id) for work in directs} == {
        (bob.id, "C0MODELS"),
        (cy.id, "C0MODELS"),
    }
    for work in directs:
        assert (await world.reload(work.reload.id)).state is State.TELLING
        await store.told(work.step, [work.audience[0].id], None)
    assert (await world.reload(follow_up.reload.id)).state is State.DONE


async def test_direct_message_makes_no_other(store: Store, world: World) -> None:
    """A DM that found nobody left to tell makes no further one."""
    await world.ready(ask())
    await store.told((await world.claim_one(_FOLLOW_UP)).step, [], None)
    direct = await world.claim_one(_DIRECT)

    await store.told(direct.step, [], None)

    assert await world.kinds() == [(_STATUS, "C0MODELS")]
    assert (await world.reload(direct.reload.id)).state is State.DONE


@pytest.mark.parametrize(("ts", "closes"), [("1700.1", 1), ("", 0)])
async def test_closing(store: Store, world: World, ts: str, closes: int) -> None:
    """After the follow-up the status message is edited, where there is one that can be."""
    await world.ready(ask())
    await store.status_posted((await world.claim_one(_STATUS)).step, ts, None)

    await world.tell_everyone()

    assert await world.kinds() == [(_CLOSE, "C0MODELS")] * closes
    for work in await world.claim(_CLOSE):
        assert work.status_ts == ts
        assert work.reload.state is State.DONE


async def test_closing_a_late_status(store: Store, world: World) -> None:
    """A status that is posted after the follow-up is closed at once, and nothing else is left to do for it."""
    await world.ready(ask())
    status = await world.claim_one(_STATUS)
    await world.tell_everyone()
    assert await world.kinds() == [(_STATUS, "C0MODELS")]

    await store.status_posted(status.step, "1700.1", None, 20.0)

    assert [(seen.kind, seen.due_in) for seen in await world.steps()] == [(_CLOSE, world.about(0.0))]


async def test_no_closing_of_a_late_status_that_cannot_be_edited(store: Store, world: World) -> None:
    """Where it went through a response_url nothing can be closed."""
    await world.ready(ask())
    status = await world.claim_one(_STATUS)
    await world.tell_everyone()

    await store.status_posted(status.step, "", 1, 20.0)

    assert await world.kinds() == []


async def test_closing_what_nobody_could_be_told(store: Store, world: World) -> None:
    """Where the follow-up is given up, the status does not go on as if something were coming."""
    await world.ready(ask())
    await store.status_posted((await world.claim_one(_STATUS)).step, "1700.1", None, 20.0)

    await store.undeliverable((await world.claim_one(_FOLLOW_UP)).step)

    assert await world.kinds() == [(_CLOSE, "C0MODELS")]


async def test_told_that_nobody_can_say(store: Store, world: World) -> None:
    """Where the bot stumbled over its own follow-up, the reload says for good that its end could not be told."""
    await world.ready(ask())
    follow_up = await world.claim_one(_FOLLOW_UP)

    await store.told(follow_up.step, [1], None, stumbled=True)

    reload = await world.reload(follow_up.reload.id)
    assert (reload.state, reload.undeliverable) == (State.DONE, True)


# --- bars -----------------------------------------------------------------------------------------------


async def test_a_bar(store: Store, world: World) -> None:
    """A status that can be edited gets a bar, which moves after a while, and ends with the follow-up."""
    await world.accepted(ask())
    await store.status_posted((await world.claim_one(_STATUS)).step, "1700.1", None, 20.0)

    (bar,) = [seen for seen in await world.steps() if seen.kind is _BAR]
    assert (bar.channel_id, bar.due_in) == ("C0MODELS", world.about(20.0))
    await world.elapse(120.0)
    (work,) = await world.claim(_BAR)
    assert work.status_ts == "1700.1"
    await world.tell_everyone()
    assert await world.kinds() == [(_CLOSE, "C0MODELS")]
    with pytest.raises(LeaseLost):
        await store.rested(work.step, 20.0)


@pytest.mark.parametrize(("ts", "every"), [("", 20.0), ("1700.1", None)])
async def test_no_bar(store: Store, world: World, ts: str, every: float | None) -> None:
    """What cannot be edited, or is over too soon, gets none."""
    await world.accepted(ask())

    await store.status_posted((await world.claim_one(_STATUS)).step, ts, None, every)

    assert await world.kinds() == [(_FOLLOW_UP, "C0MODELS")]


async def test_a_bar_of_one_channel(store: Store, world: World) -> None:
    """That one channel has been told ends no bar in another."""
    await world.ready(ask(channel="C0MODELS"), ask(channel="C0OPS"))
    for status in await world.claim(_STATUS):
        await store.status_posted(status.step, "1700.1", None, 20.0)

    await store.told((await world.claim_one(_FOLLOW_UP, "C0OPS")).step, [2], None)

    assert [channel for kind, channel in await world.kinds() if kind is _BAR] == ["C0MODELS"]


@pytest.mark.parametrize(("every", "most"), [(20.0, 13), (3.0, 2), (1.4, 0)])
async def test_as_many_bars_as_slack_bears(store: Store, world: World, every: float, most: int) -> None:
    """All bars together are edited at most forty times a minute; a status more has none."""
    await world.accepted(*(ask(channel=f"C{number}") for number in range(most + 2)))
    for status in await world.claim(_STATUS):
        await store.status_posted(status.step, "1700.1", None, every)

    assert [kind for kind, _ in await world.kinds()].count(_BAR) == most


# --- resting --------------------------------------------------------------------------------------------


async def test_rested(store: Store, world: World) -> None:
    """A step that has done what was due is due anew after its wait, as if it had never been tried."""
    await world.ready(ask())
    follow_up = await world.claim_one(_FOLLOW_UP)
    await store.again(follow_up.step, 0.0)
    follow_up = await world.claim_one(_FOLLOW_UP)
    await store.crashed(follow_up.step, 0.0)
    follow_up = await world.claim_one(_FOLLOW_UP)

    await store.rested(follow_up.step, 30.0)

    (seen,) = [seen for seen in await world.steps() if seen.kind is _FOLLOW_UP]
    assert (seen.owner, seen.claims, seen.attempts, seen.crashes) == (None, 3, 0, 0)
    assert seen.due_in == world.about(30.0)


async def test_no_closing_of_a_failure(store: Store, world: World) -> None:
    """A reload that failed had no status message, so there is none to edit."""
    call = await world.called(ask())
    await store.failed(call.step, Failure.DOWN, "", unknown=False)

    await world.tell_everyone()

    assert await world.kinds() == []


async def test_undeliverable(store: Store, world: World) -> None:
    """A step that nobody could be told by ends the reload all the same, and the reload says so for good."""
    await world.ready(ask())
    follow_up = await world.claim_one(_FOLLOW_UP)

    await store.undeliverable(follow_up.step)

    reload = await world.reload(follow_up.reload.id)
    assert (reload.state, reload.undeliverable) == (State.DONE, True)
    assert reload.ended_at is not None
    assert [watcher.told_at for watcher in await world.watchers()] == [None]


async def test_undeliverable_here(store: Store, world: World) -> None:
    """That one channel cannot be told does not end the reload for another."""
    await world.ready(ask(channel="C0MODELS"), ask(channel="C0OPS"))

    await store.undeliverable((await world.claim_one(_FOLLOW_UP, "C0OPS")).step)

    (entry,), _ = await store.in_flight(10)
    assert (entry.reload.state, entry.reload.undeliverable) == (State.TELLING, True)
    await world.tell_everyone()
    assert (await world.reload(entry.reload.id)).undeliverable


# --- too late -------------------------------------------------------------------------------------------

_RECORDS: dict[str, Callable[[Store, Job], Awaitable[object]]] = {
    "accepted": lambda store, step: store.accepted(step, 120.0),
    "failed": lambda store, step: store.failed(step, Failure.DOWN, "", unknown=True),
    "again": lambda store, step: store.again(step, 1.0, unknown=True),
    "crashed": lambda store, step: store.crashed(step, 1.0),
    "postponed": lambda store, step: store.postponed(step, 1.0, unknown=True),
    "rested": lambda store, step: store.rested(step, 1.0),
    "dropped": lambda store, step: store.dropped(step),
    "status_posted": lambda store, step: store.status_posted(step, "1700.1", 1),
    "told": lambda store, step: store.told(step, [1], 1),
    "undeliverable": lambda store, step: store.undeliverable(step),
}


@pytest.mark.parametrize("claimer", ["one", "other"])
@pytest.mark.parametrize("record", _RECORDS)
async def test_too_late(store: Store, world: World, record: str, claimer: str) -> None:
    """Who lost their lease records nothing whatever, not even if the same process claimed the step anew."""
    call = await world.called(ask())
    await world.elapse(LEASE)
    await (store if claimer == "one" else world.other).claim([_CALL], 1)
    before = await world.everything()

    with pytest.raises(LeaseLost):
        await _RECORDS[record](store, call.step)

    assert await world.everything() == before


@pytest.mark.parametrize("record", _RECORDS)
async def test_recorded_once(store: Store, world: World, record: str) -> None:
    """What has been recorded is not recorded again."""
    await world.ready(ask())
    call = await world.called(ask("flux"))
    await store.accepted(call.step, 120.0)
    before = await world.everything()

    with pytest.raises(LeaseLost):
        await _RECORDS[record](store, call.step)

    assert await world.everything() == before
