import pytest
from bot.storage.store import LEASE, Store

from bot.core.models import JobKind, State
from bot.errors import LeaseLost
from tests.store.world import World, ask

_CALL, _STATUS, _FOLLOW_UP, _DIRECT, _CLOSE, _REMIND, _BAR = JobKind


async def _due_of_each_kind(world: World) -> None:
    """A step of each kind that is due, made in no order."""
    store = world.store
    await world.ready(ask("a", channel="C1"), ask("a", channel="C2"), ask("a", channel="C3"))
    for status in await world.claim(_STATUS):
        await store.status_posted(status.step, "1.2", None)
    reached = await world.claim_one(_FOLLOW_UP, "C1")
    await store.told(reached.step, [watcher.id for watcher in reached.audience], None)
    unheard = await world.claim_one(_FOLLOW_UP, "C2")
    await store.told(unheard.step, [], None)
    await world.accepted(ask("c", channel="C4"))
    await store.ask(ask("b"))


_IN_ORDER = [_FOLLOW_UP, _DIRECT, _CALL, _STATUS, _CLOSE, _CLOSE]


async def test_order(store: Store, world: World) -> None:
    """What was promised goes before what is asked for, and that before what is a comfort."""
    await _due_of_each_kind(world)

    one_by_one = [(await store.claim(tuple(JobKind), 1))[0].step.kind for _ in _IN_ORDER]

    assert one_by_one == _IN_ORDER
    assert await world.claim() == []


async def test_order_at_once(world: World) -> None:
    """Steps that are claimed together come in the same order."""
    await _due_of_each_kind(world)

    together = [work.step.kind for work in await world.claim()]

    assert together == _IN_ORDER


async def test_longest_due_first(store: Store, world: World) -> None:
    """Of the calls that are due the one that has been due for longest goes first, whichever was asked for first."""
    for model, wait in (("first", 3.0), ("second", 1.0), ("third", 2.0)):
        await store.again((await world.called(ask(model))).step, wait)
    await world.elapse(3.0)

    models = [(await store.claim([_CALL], 1))[0].reload.model_id for _ in range(3)]

    assert models == ["second", "third", "first"]


async def test_limit(store: Store, world: World) -> None:
    """No more is claimed than there are hands for."""
    for model in range(5):
        await store.ask(ask(f"model-{model}"))

    assert [len(await world.claim(limit=3)), len(await world.claim(limit=3))] == [3, 2]


async def test_kinds(store: Store, world: World) -> None:
    """Only the kinds that are asked for are claimed."""
    await store.ask(ask())

    assert await world.claim(_STATUS, _FOLLOW_UP) == []
    assert len(await world.claim(_CALL, _STATUS)) == 1


async def test_not_before_due(world: World) -> None:
    """A follow-up is claimed when the reload should be ready, and not before."""
    await world.accepted(ask(), seconds=120.0)

    await world.elapse(110.0)
    assert await world.claim(_FOLLOW_UP) == []
    await world.elapse(10.0)
    assert len(await world.claim(_FOLLOW_UP)) == 1


async def test_work(world: World) -> None:
    """A claimed step comes with all that it takes to do it."""
    await world.ready(ask(user="U0ADA", channel="C0MODELS"), ask(user="U0BOB", channel="C0OPS"))
    status = await world.claim_one(_STATUS, "C0OPS")
    await world.store.status_posted(status.step, "1700.1", None)

    works = {work.step.channel_id: work for work in await world.claim(_FOLLOW_UP)}

    assert {channel: work.status_ts for channel, work in works.items()} == {"C0MODELS": "", "C0OPS": "1700.1"}
    work = works["C0OPS"]
    assert work.reload == await world.reload(work.reload.id)
    assert [watcher.user_id for watcher in work.watchers] == ["U0ADA", "U0BOB"]
    assert [watcher.user_id for watcher in work.audience] == ["U0BOB"]
    assert (work.step.claims, work.step.attempts, work.step.crashes) == (1, 0, 0)
    assert work.now - work.step.tried_at == world.about(0.0)
    assert work.now - (work.reload.ready_at or 0.0) == world.about(0.0)


async def test_telling_begins(world: World) -> None:
    """A claimed follow-up begins the telling; a claimed status does not."""
    ready = await world.ready(ask())

    await world.claim(_STATUS)
    assert (await world.reload(ready.id)).state is State.ACCEPTED
    await world.claim(_FOLLOW_UP)
    assert (await world.reload(ready.id)).state is State.TELLING


async def test_first_try_is_remembered(store: Store, world: World) -> None:
    """However often a step is tried, it knows when it was tried first."""
    call = await world.called(ask())
    await world.elapse(5.0)
    await store.again(call.step, 2.0)
    await world.elapse(2.0)

    again = await world.claim_one(_CALL)

    assert again.now - again.step.tried_at == world.about(7.0)
    assert (again.step.claims, again.step.attempts, again.step.crashes) == (2, 1, 0)


# --- leases ---------------------------------------------------------------------------------------------


async def test_lease(world: World) -> None:
    """A claimed step is its claimer's alone for ten seconds."""
    await world.called(ask())

    await world.elapse(LEASE - 4.0)
    assert await world.other.claim([_CALL], 1) == []
    assert await world.other.next_due([_CALL]) == world.about(4.0)


async def test_lease_runs_out(world: World) -> None:
    """Ten seconds after its claimer died a call is another's: it counts as a crash, and may have had its effect."""
    await world.called(ask())
    await world.elapse(LEASE)

    (work,) = await world.other.claim([_CALL], 1)

    assert (work.step.claims, work.step.crashes) == (2, 1)
    assert work.reload.unknown


async def test_lease_of_follow_up_runs_out(world: World) -> None:
    """A follow-up whose claimer died counts as a crash, and makes nothing of the reload unknown."""
    await world.ready(ask())
    await world.claim_one(_FOLLOW_UP)
    await world.elapse(LEASE)

    (work,) = await world.other.claim([_FOLLOW_UP], 1)

    assert work.step.crashes == 1
    assert not work.reload.unknown


async def test_put_back_is_no_crash(store: Store, world: World) -> None:
    """A step that was put back is claimed by another without counting as a crash."""
    call = await world.called(ask())
    await store.again(call.step, 0.0)

    (work,) = await world.other.claim([_CALL], 1)

    assert work.step.crashes == 0
    assert not work.reload.unknown


async def test_renewed(store: Store, world: World) -> None:
    """A lease that is renewed lasts ten seconds from then on."""
    call = await world.called(ask())
    await world.elapse(6.0)

    await store.renew([call.step])
    await world.elapse(6.0)

    assert await world.other.claim([_CALL], 1) == []
    assert await world.other.next_due([_CALL]) == world.about(4.0)


async def test_renewed_apart(store: Store, world: World) -> None:
    """Only the leases in hand are renewed."""
    call = await world.called(ask("in-hand"))
    await world.called(ask("lost"))
    await world.elapse(6.0)

    await store.renew([call.step])
    await world.elapse(4.0)

    assert [work.reload.model_id for work in await world.other.claim([_CALL], 2)] == ["lost"]


async def test_nothing_to_renew(store: Store, world: World) -> None:
    """With nothing in hand nothing is renewed."""
    await world.called(ask())
    before = await world.everything()

    await store.renew([])

    assert await world.everything() == before


@pytest.mark.parametrize("claimer", ["one", "other"])
async def test_lost_stays_lost(store: Store, world: World, claimer: str) -> None:
    """A lease that ran out and was claimed anew is not renewed, not even if the same process claimed it anew."""
    call = await world.called(ask())
    await world.elapse(LEASE)
    await (store if claimer == "one" else world.other).claim([_CALL], 1)
    before = await world.everything()

    await store.renew([call.step])

    assert await world.everything() == before


async def test_late_but_not_lost(store: Store, world: World) -> None:
    """Whose lease ran out may record all the same, as long as nobody has claimed the step since."""
    call = await world.called(ask())
    await world.elapse(LEASE * 2)

    assert (await store.accepted(call.step, 120.0)).state is State.ACCEPTED


async def test_not_with_anothers_claim(world: World) -> None:
    """A step is recorded by its claimer, and by nobody else."""
    call = await world.called(ask())

    with pytest.raises(LeaseLost):
        await world.other.dropped(call.step)
