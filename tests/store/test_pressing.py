"""What a press of a button asks for: at most once, and to watch only what can still be watched."""

import pytest
from bot.storage.store import PRESS_SECONDS, Ask, Limits, Store

from bot.core.models import JobKind
from bot.errors import Failure, Refused
from bot.storage.database import Database
from tests.store.world import World, ask, outside, press

_AUDIT = "SELECT user_id, channel_id, what, outcome, reload_id FROM audit ORDER BY id"

# --- a double click -------------------------------------------------------------------------------------


async def test_a_double_click_is_one(store: Store, world: World) -> None:
    """A second press of the same button, shortly after the first, is answered alike, and writes nothing."""
    asked = await store.ask(press())
    await world.elapse(PRESS_SECONDS - 5.0)
    before = await world.everything()

    again = await store.ask(press())

    assert (again.reload.id, again.first.id, again.joined) == (asked.reload.id, asked.first.id, False)
    assert await world.everything() == before


async def test_a_double_click_of_who_joined(store: Store, world: World) -> None:
    """Who joined by the first click joined by the second."""
    await store.ask(ask(user="U0BOB"))
    await store.ask(press())
    before = await world.everything()

    again = await store.ask(press())

    assert (again.joined, again.first.user_id) == (True, "U0BOB")
    assert await world.everything() == before


async def test_a_double_click_on_what_has_ended(store: Store, world: World) -> None:
    """Even where its reload has ended meanwhile, the second click begins nothing."""
    call = await world.called(press())
    await store.failed(call.step, Failure.CREDITS, "", unknown=False)
    await world.tell_everyone()
    before = await world.everything()

    assert (await store.ask(press())).reload.id == call.reload.id
    assert await world.everything() == before


@pytest.mark.parametrize(
    "second",
    [press(button="C0MODELS/1.2/again:1"), press(button="C0MODELS/1.3/again"), press(user="U0BOB"), ask()],
    ids=["another button", "another message", "another person", "a command"],
)
async def test_what_is_no_double_click(store: Store, world: World, second: Ask) -> None:
    """Another button, person or message is an asking of its own, and so is every command."""
    await store.ask(press())

    await store.ask(second)

    assert (await world.count())[1] == 2


async def test_a_press_after_a_command(store: Store, world: World) -> None:
    """Who presses *Try again* right after a command that failed means it."""
    call = await world.called(ask())
    await store.failed(call.step, Failure.CREDITS, "", unknown=False)
    await world.tell_everyone()

    assert (await store.ask(press())).reload.id != call.reload.id


async def test_a_press_after_a_while(store: Store, world: World) -> None:
    """A press that comes later is meant."""
    await store.ask(press())
    await world.elapse(PRESS_SECONDS + 5.0)

    assert (await store.ask(press())).joined
    assert (await world.count())[1] == 2


async def test_a_double_click_at_the_limit(database: Database, world: World) -> None:
    """No limit meets a second click, as it asks for nothing more."""
    store = Store(database, "limited", Limits(per_person=1))
    asked = await store.ask(press())

    assert (await store.ask(press())).reload == asked.reload
    with pytest.raises(Refused, match="too_many_commands"):
        await store.ask(press("flux", button="C0MODELS/1.3/again"))
    assert await world.count() == (1, 1, 1)


# --- joining a reload -----------------------------------------------------------------------------------


async def test_a_reload_is_joined(store: Store, world: World, url: str) -> None:
    """Who joins watches from then on, and the audit keeps it as any joining."""
    begun = await store.ask(ask())

    joined = await store.join(press(user="U0BOB"), begun.reload.id)

    assert joined is not None
    assert (joined.reload, joined.first, joined.joined) == (begun.reload, begun.first, True)
    assert [watcher.user_id for watcher in await world.watchers()] == ["U0ADA", "U0BOB"]
    assert outside(url, _AUDIT)[1:] == [("U0BOB", "C0MODELS", "sdxl", "joined", begun.reload.id)]


async def test_a_reload_is_joined_from_a_new_channel(store: Store, world: World) -> None:
    """The channel is told with the others, and gets a status now."""
    accepted = await world.accepted(ask())

    await store.join(press(channel="C0OPS"), accepted.id)

    assert [kind for kind in await world.kinds() if kind[1] == "C0OPS"] == [
        (JobKind.FOLLOW_UP, "C0OPS"),
        (JobKind.STATUS, "C0OPS"),
    ]


async def test_who_watches_already(store: Store, world: World) -> None:
    """Who watches a reload in a channel stays the one watcher they are there; elsewhere they are one more."""
    begun = await store.ask(ask())
    before = await world.everything()

    again = await store.join(press(), begun.reload.id)

    assert again is not None
    assert (again.reload, again.first, again.joined) == (begun.reload, begun.first, True)
    assert await world.everything() == before
    await store.join(press(channel="C0OPS"), begun.reload.id)
    assert (await world.count())[1] == 2


async def test_only_the_reload_that_was_meant(store: Store, world: World) -> None:
    """What is over is not joined, even where a later reload of its model could be; nor is what nobody knows."""
    ended = await world.done(ask())
    await store.ask(ask())
    before = await world.everything()

    assert await store.join(press(user="U0BOB"), ended.id) is None
    assert await store.join(press(user="U0BOB"), "nosuch") is None
    assert await world.everything() == before


async def test_too_late_to_join_by_a_press(store: Store, world: World) -> None:
    """Once the telling has begun nobody joins any more."""
    ready = await world.ready(ask())
    await world.claim_one(JobKind.FOLLOW_UP)

    assert await store.join(press(user="U0BOB"), ready.id) is None


async def test_the_same_press_delivered_twice(store: Store, world: World) -> None:
    """The same invocation counts once, whatever it says the second time."""
    begun = await store.ask(ask())
    joining = press(user="U0BOB")
    joined = await store.join(joining, begun.reload.id)
    before = await world.everything()

    assert await store.join(joining, begun.reload.id) == joined
    elsewhere = Ask(joining.trigger_id, "U0BOB", "C0OPS", "sdxl", "")
    assert await store.join(elsewhere, begun.reload.id) == joined
    assert await world.everything() == before


async def test_who_joins_too_often(database: Database, world: World) -> None:
    """A person's limit counts joinings too; it does not meet who watches already."""
    store = Store(database, "limited", Limits(per_person=1))
    sdxl = await store.ask(ask("sdxl", user="U0ADA"))
    flux = await store.ask(ask("flux", user="U0BOB"))

    with pytest.raises(Refused, match="too_many_commands"):
        await store.join(press(user="U0ADA"), flux.reload.id)
    assert await store.join(press(user="U0ADA"), sdxl.reload.id) is not None
    assert await world.count() == (2, 2, 2)


async def test_a_joining_can_be_withdrawn(store: Store, world: World) -> None:
    """Like any asking, before its reload has begun."""
    begun = await store.ask(ask())
    joining = press(user="U0BOB")
    await store.join(joining, begun.reload.id)

    assert await store.withdraw(joining.trigger_id)
    assert [watcher.user_id for watcher in await world.watchers()] == ["U0ADA"]
