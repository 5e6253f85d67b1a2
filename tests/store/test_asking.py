import asyncio
from itertools import chain, repeat

import pytest
from bot.storage.store import Store, new_reload_id

from bot.core.models import JobKind, State
from bot.errors import DatabaseUnavailable, Failure
from tests.store.world import World, ask, outside


async def test_row_before_answer(store: Store, world: World, url: str) -> None:
    """What a person asks for is a row, with a call that is due, before it is an answer."""
    asked = await store.ask(ask("sdxl", user="U0ADA", channel="C0MODELS", response_url="https://example.com/r"))

    assert outside(url, "SELECT id, model_id, state FROM reload") == [(asked.reload.id, "sdxl", "requested")]
    assert outside(url, "SELECT kind FROM step") == [("call",)]
    assert not asked.joined
    assert asked.reload.state is State.REQUESTED
    assert (asked.first.user_id, asked.first.channel_id) == ("U0ADA", "C0MODELS")
    assert [watcher.response_url for watcher in await world.watchers()] == ["https://example.com/r"]
    assert [seen.due_in for seen in await world.steps()] == [world.about(0.0)]


async def test_second_asker_joins(store: Store, world: World) -> None:
    """A second asker, in whichever channel, joins the reload in flight and learns who asked first."""
    first = await store.ask(ask(user="U0ADA", channel="C0MODELS"))

    second = await store.ask(ask(user="U0BOB", channel="C0OPS"))

    assert second.joined
    assert second.reload == first.reload
    assert second.first == first.first
    assert await world.count() == (1, 2, 1)


async def test_same_person_joins_too(store: Store, world: World) -> None:
    """Somebody who asks again joins their own reload."""
    await store.ask(ask())

    assert (await store.ask(ask())).joined
    assert await world.count() == (1, 2, 1)


async def test_joining_while_called(store: Store, world: World) -> None:
    """Whoever asks while ModelsLab is being called joins, and the call stays the only step."""
    call = await world.called(ask())

    assert (await store.ask(ask(channel="C0OPS"))).reload.id == call.reload.id
    assert await world.kinds() == [(JobKind.CALL, "")]


async def test_models_apart(store: Store, world: World) -> None:
    """Another model is another reload."""
    sdxl = await store.ask(ask("sdxl"))
    flux = await store.ask(ask("flux"))

    assert not flux.joined
    assert sdxl.reload.id != flux.reload.id
    assert await world.count() == (2, 2, 2)


@pytest.mark.parametrize("model", ["flux", "sdxl"])
async def test_invocation_counts_once(store: Store, world: World, model: str) -> None:
    """The same invocation twice is one, even if its model could not be told from another."""
    once = await store.ask(ask("sdxl", trigger="t"))

    assert await store.ask(ask(model, trigger="t")) == once
    assert await world.count() == (1, 1, 1)


async def test_joining_counts_once(store: Store, world: World) -> None:
    """A joining delivered twice is one joining, and is answered alike."""
    await store.ask(ask())
    joined = await store.ask(ask(trigger="t"))

    assert await store.ask(ask(trigger="t")) == joined
    assert await world.count() == (1, 2, 1)


async def test_invocation_counts_once_for_good(store: Store, world: World) -> None:
    """An invocation delivered again after its reload ended begins no other."""
    ended = await world.done(ask(trigger="t"))

    again = await store.ask(ask(trigger="t"))

    assert (again.reload, again.joined) == (ended, False)
    assert await world.count() == (1, 1, 0)


async def test_invocation_counts_once_while_told(store: Store, world: World) -> None:
    """An invocation delivered again after somebody else's later one joins nothing new."""
    await world.done(ask(trigger="t"))
    later = await store.ask(ask())

    again = await store.ask(ask(trigger="t"))

    assert again.reload.id != later.reload.id
    assert await world.count() == (2, 2, 1)


async def test_invocation_twice_at_once(store: Store, world: World) -> None:
    """The same invocation twice at the same moment is one."""
    one, two = await asyncio.gather(store.ask(ask(trigger="t")), store.ask(ask(trigger="t")))

    assert one == two
    assert await world.count() == (1, 1, 1)


async def test_many_at_once(store: Store, world: World) -> None:
    """Two hundred people at once are one reload and one call."""
    asked = await asyncio.gather(*(store.ask(ask(user=f"U{number}")) for number in range(200)))

    assert [each.joined for each in asked].count(False) == 1
    assert len({each.reload.id for each in asked}) == 1
    assert {each.first.user_id for each in asked} == {each.first.user_id for each in asked if not each.joined}
    assert await world.count() == (1, 200, 1)


async def test_joining_late_in_known_channel(store: Store, world: World) -> None:
    """Whoever joins after acceptance, where somebody asked before, is told with the others."""
    await world.accepted(ask(channel="C0MODELS"))

    joined = await store.ask(ask(channel="C0MODELS"))

    assert joined.joined
    assert joined.reload.state is State.ACCEPTED
    assert await world.kinds() == [(JobKind.FOLLOW_UP, "C0MODELS"), (JobKind.STATUS, "C0MODELS")]


async def test_joining_late_in_new_channel(store: Store, world: World) -> None:
    """The first to join after acceptance from a new channel opens it: a status now, a follow-up with the others."""
    await world.accepted(ask(channel="C0MODELS"), seconds=120.0)
    await world.elapse(20.0)

    await store.ask(ask(channel="C0OPS"))
    await store.ask(ask(channel="C0OPS"))

    assert [(seen.kind, seen.due_in) for seen in await world.steps() if seen.channel_id == "C0OPS"] == [
        (JobKind.FOLLOW_UP, world.about(100.0)),
        (JobKind.STATUS, world.about(0.0)),
    ]


async def test_too_late_to_join(store: Store, world: World) -> None:
    """Once the telling has begun nobody joins any more: who asks then begins a new reload."""
    ready = await world.ready(ask())
    await world.claim_one(JobKind.FOLLOW_UP)

    asked = await store.ask(ask())

    assert not asked.joined
    assert (await world.reload(ready.id)).state is State.TELLING
    assert await world.kinds() == [(JobKind.FOLLOW_UP, "C0MODELS"), (JobKind.CALL, ""), (JobKind.STATUS, "C0MODELS")]


async def test_too_late_to_join_failure(store: Store, world: World) -> None:
    """A reload that failed is not joined, though nobody has been told yet."""
    call = await world.called(ask())
    await store.failed(call.step, Failure.CREDITS, "", unknown=False)

    assert not (await store.ask(ask())).joined


def test_ids_are_read_aloud() -> None:
    """A reload's id has six characters, none of which is taken for another."""
    ids = {new_reload_id() for _ in range(1000)}

    assert {len(each) for each in ids} == {6}
    assert not set(chain(*ids)) & set("01oilu")
    assert len(ids) > 990


async def test_id_taken(store: Store, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that an earlier reload has is not given again."""
    ended = await world.done(ask())
    ids = iter([ended.id, "fresh2"])
    monkeypatch.setattr("bot.storage.store.new_reload_id", lambda: next(ids))

    assert (await store.ask(ask())).reload.id == "fresh2"


async def test_ids_taken(store: Store, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no new reload can be made however often it is tried, nothing is begun."""
    ended = await world.done(ask())
    monkeypatch.setattr("bot.storage.store.new_reload_id", repeat(ended.id).__next__)

    with pytest.raises(DatabaseUnavailable, match="come and go"):
        await store.ask(ask())

    assert await world.count() == (1, 1, 0)


# --- taking it back -------------------------------------------------------------------------------------


async def test_withdrawn(store: Store, world: World) -> None:
    """An asking that is withdrawn in time leaves nothing behind."""
    await store.ask(ask(trigger="t"))

    assert await store.withdraw("t")
    assert await world.count() == (0, 0, 0)


async def test_withdrawn_among_others(store: Store, world: World) -> None:
    """Who withdraws leaves the reload to the others who asked for it."""
    asked = await store.ask(ask(trigger="t", user="U0ADA"))
    await store.ask(ask(user="U0BOB"))

    assert await store.withdraw("t")
    assert [watcher.user_id for watcher in await world.watchers()] == ["U0BOB"]
    assert (await world.claim_one(JobKind.CALL)).reload.id == asked.reload.id


@pytest.mark.parametrize("joiner", [True, False])
async def test_too_late_to_withdraw(store: Store, world: World, joiner: bool) -> None:  # noqa: FBT001 - a parameter
    """What has begun is not withdrawn, whether one began it or joined it, not even while it waits for another try."""
    call = await world.called(*[ask()] * joiner, ask(trigger="t"))
    before = await world.count()

    assert not await store.withdraw("t")
    await store.again(call.step, 2.0)
    assert not await store.withdraw("t")
    assert await world.count() == before


async def test_nothing_to_withdraw(store: Store) -> None:
    """An asking that was never committed needs no withdrawing."""
    assert not await store.withdraw("t")
