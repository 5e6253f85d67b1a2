"""What people ask for becomes rows, once: a reload, to be notified too, a reminder."""

from dataclasses import replace
from itertools import chain, repeat

import pytest
from sqlalchemy.exc import IntegrityError

from bot.core.models import REMIND_AFTER, JobKind, Reminder
from bot.errors import Failure, Refused
from bot.storage import reminders, requests
from bot.storage.outcomes import Failed, Reschedule
from bot.storage.requests import DOUBLE_CLICK_SECONDS, LIMIT_SECONDS, Limits, Request
from bot.storage.schema import jobs
from tests.storage.support import HERE, THERE, Bot, press, request

CALL, STATUS, NOTIFY, DM, REMINDER, *_ = JobKind


@pytest.mark.parametrize(("joins_after", "told_after"), [(5.0, 20.0), (25.0, 25.0)])
async def test_places_are_told_if_modelslab_does_not_accept(bot: Bot, joins_after: float, told_after: float) -> None:
    """At the same time; one that joins later is told at once."""
    await bot.ask(request(channel=HERE))
    await bot.elapse(joins_after)
    at = (await bot.ask(request(channel=THERE))).reload.requested_at

    due = await bot.rows(jobs.c.kind, jobs.c.channel_id, jobs.c.due_at)
    assert due == [("call", "", at), ("status", HERE, at + 20.0), ("status", THERE, at + told_after)]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_double_click_is_one_request(bot: Bot, *, fails: bool) -> None:
    """A second press is answered like the first and writes nothing, even if the reload failed meanwhile."""
    await bot.ask(request(user="U0BEN"))
    asked = await bot.ask(press())
    if fails:
        await bot.record(await bot.claim_one(CALL), Failed(Failure.CREDITS))
        await bot.notify()
    await bot.elapse(DOUBLE_CLICK_SECONDS - 1.0)
    before = await bot.everything()

    again = await bot.ask(press(), Limits(per_person=1, in_flight=1))

    assert (again.reload.id, again.first.id, again.joined) == (asked.reload.id, asked.first.id, True)
    assert await bot.everything() == before


@pytest.mark.parametrize(
    ("second", "wait"),
    [
        (press(button="1.2/again:1"), 0.0),
        (press(button="1.3/again"), 0.0),
        (press(user="U0BEN"), 0.0),
        (request(), 0.0),
        (press(), DOUBLE_CLICK_SECONDS),
    ],
    ids=["another button", "another message", "another person", "a command", "later"],
)
async def test_anything_but_a_double_click_is_a_request(bot: Bot, second: Request, wait: float) -> None:
    """So is the first press after a command."""
    await bot.ask(request())
    await bot.ask(press())
    await bot.elapse(wait)
    await bot.ask(second)

    assert (await bot.counts())[1] == 3


async def test_a_person_can_ask_for_so_many_reloads(bot: Bot, other: Bot) -> None:
    """Joining counts, too, on whichever replica; a repeated delivery does not. A request too many leaves nothing."""
    twice = Limits(per_person=2)
    first = await bot.ask(request("sdxl", invocation="i"), twice)
    flux = await bot.ask(request("flux", user="U0BEN"), twice)
    await other.join(press(), flux.reload.id, twice)
    before = await bot.everything()

    with pytest.raises(Refused, match="too_many_commands"):
        await bot.ask(request("another"), twice)
    with pytest.raises(Refused, match="too_many_commands"):
        await bot.join(press(channel=THERE), flux.reload.id, twice)
    assert await bot.ask(request("sdxl", invocation="i"), twice) == replace(first, repeated=True)
    again = await bot.join(press(), flux.reload.id, twice)  # who is subscribed in a channel stays so
    assert again == replace(flux, joined=True, again=True, repeated=True)
    assert await bot.everything() == before
    await bot.elapse(LIMIT_SECONDS - 1.0)
    with pytest.raises(Refused, match="too_many_commands"):
        await bot.ask(request("another"), twice)
    await bot.elapse(1.0)
    assert not (await bot.ask(request("another"), twice)).joined


async def test_so_many_reloads_can_be_in_flight(bot: Bot) -> None:
    """One more is refused and leaves nothing behind. Joining is always possible, and what ends makes room."""
    two = Limits(in_flight=2)
    await bot.done(request("done"))
    for model in ("one", "two"):
        await bot.ask(request(model), two)
    before = await bot.everything()

    with pytest.raises(Refused, match="too_many_in_flight"):
        await bot.ask(request("three"), two)

    assert await bot.everything() == before
    assert (await bot.ask(request("two"), two)).joined
    for call in await bot.claim(CALL):
        await bot.record(call, Failed(Failure.DOWN))
    assert not (await bot.ask(request("three"), two)).joined


async def test_an_id_is_given_once_and_can_be_read_aloud(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six characters that can't be confused. Without a new one nothing is started."""
    ids = {requests.new_id() for _ in range(1000)}
    assert {len(each) for each in ids} == {6}
    assert not set(chain(*ids)) & set("01oilu")
    assert len(ids) > 990
    ended = await bot.done(request())
    monkeypatch.setattr(requests, "new_id", iter([ended.id, "fresh2"]).__next__)
    assert (await bot.ask(request())).reload.id == "fresh2"
    before = await bot.everything()

    monkeypatch.setattr(requests, "new_id", repeat(ended.id).__next__)
    with pytest.raises(IntegrityError):
        await bot.ask(request("flux"))

    assert await bot.everything() == before


async def _reminders_of(bot: Bot, user: str = "U0ADA") -> list[Reminder]:
    return await bot.run(reminders.of_person, user)


async def test_a_person_has_one_reminder_of_a_model(bot: Bot) -> None:
    """Whichever of its reloads is named, it counts from the last that was accepted; other people have their own."""
    old, new, flux = [await bot.done(request(model)) for model in ("sdxl", "sdxl", "flux")]
    failed = await bot.called(request())
    await bot.record(failed, Failed(Failure.CREDITS))

    reminder = await bot.remind(old.id)

    assert reminder == Reminder("sdxl", new.ready_by + REMIND_AFTER)
    assert await bot.remind(new.id, channel=THERE) == reminder
    await bot.remind(flux.id)
    await bot.remind(new.id, user="U0BEN")
    assert [each.model_id for each in await _reminders_of(bot)] == ["sdxl", "flux"]
    for reload_id in (failed.reload.id, "nosuch"):  # never accepted
        assert await bot.remind(reload_id) is None
    assert await bot.kinds() == ["notify", *["reminder"] * 3, "status"]


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_reminder_moves_with_a_later_acceptance(bot: Bot, *, claimed: bool) -> None:
    """One that is just being sent loses its lease, and starts afresh."""
    await bot.remind((await bot.done(request())).id)
    await bot.elapse(REMIND_AFTER)
    claims = await bot.claim(REMINDER) if claimed else []

    new = await bot.done(request())

    for claim in claims:
        await bot.record(claim, Reschedule(), lost=True)
    assert [each.due_at for each in await _reminders_of(bot)] == [new.ready_by + REMIND_AFTER]
    assert await bot.due_in(REMINDER) == REMIND_AFTER
    await bot.elapse(REMIND_AFTER)
    again = await bot.claim_one(REMINDER)
    assert (again.job.first_tried_at, again.job.crashes) == (bot.clock.now, 0)
