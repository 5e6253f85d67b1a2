"""What people ask for becomes rows, once: a reload, to be notified too, a reminder."""

import asyncio
from dataclasses import replace
from itertools import chain, repeat

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from bot.core.models import REMIND_AFTER, JobKind, Reload, Reminder, State
from bot.core.outcomes import Failed, Reschedule
from bot.errors import Failure, LeaseLost, TooManyCommands, TooManyInFlight
from bot.storage import history, requests
from bot.storage.requests import DOUBLE_CLICK_SECONDS, LIMIT_SECONDS, Limits, Request, new_reload_id
from bot.storage.schema import audit, jobs
from tests.storage.support import READY_IN, Bot, outside, press, request

TWICE = Limits(per_person=2)
TWO = Limits(in_flight=2)


# A reload


async def test_a_request_is_a_reload_a_subscriber_a_call_and_a_line_of_the_audit(bot: Bot, url: str) -> None:
    """All are committed before it is answered."""
    asked = await bot.ask(replace(request(response_url="https://example.com/r"), team_id="T0HOME", rule="U0ADA"))

    at = bot.clock.now
    assert asked.reload == Reload(asked.reload.id, "sdxl", State.REQUESTED, at)
    assert not asked.joined
    assert (asked.first.user_id, asked.first.channel_id) == ("U0ADA", "C0MODELS")
    assert outside(url, "SELECT id, model_id, state FROM reload_model_reloads") == [
        (asked.reload.id, "sdxl", "requested")
    ]
    assert outside(url, "SELECT response_url, notified_at FROM reload_model_subscribers") == [
        ("https://example.com/r", None)
    ]
    assert outside(url, "SELECT kind, channel_id, due_at FROM reload_model_jobs") == [("call", "", at)]
    line = "at, user_id, team_id, channel_id, text, outcome, rule, reload_id"
    assert outside(url, f"SELECT {line} FROM reload_model_audit") == [  # noqa: S608 - words of ours
        (at, "U0ADA", "T0HOME", "C0MODELS", "sdxl", "requested", "U0ADA", asked.reload.id)
    ]


async def test_a_request_for_the_same_model_joins_the_reload_in_flight(bot: Bot) -> None:
    """From whichever channel, and even by the same person; the answer names who asked first."""
    first = await bot.ask(request(user="U0ADA"))

    second = await bot.ask(request(user="U0BEN", channel="C0OPS"))
    third = await bot.ask(request(user="U0ADA"))

    for later in (second, third):
        assert (later.reload, later.first, later.joined) == (first.reload, first.first, True)
    assert await bot.counts() == (1, 3, 1)
    assert await bot.rows(audit.c.id, audit.c.outcome) == [(1, "requested"), (2, "joined"), (3, "joined")]


async def test_a_request_for_another_model_starts_another_reload(bot: Bot) -> None:
    """Both have their own call."""
    sdxl, flux = await bot.ask(request("sdxl")), await bot.ask(request("flux"))

    assert not flux.joined
    assert sdxl.reload.id != flux.reload.id
    assert await bot.counts() == (2, 2, 2)


async def test_requests_of_the_same_instant_are_one_reload(bot: Bot) -> None:
    """Two hundred people are one call."""
    asked = await asyncio.gather(*(bot.ask(request(user=f"U{number}")) for number in range(200)))

    assert [each.joined for each in asked].count(False) == 1
    assert {each.first for each in asked} == {each.first for each in asked if not each.joined}
    assert await bot.counts() == (1, 200, 1)


async def test_a_request_joins_while_modelslab_is_called(bot: Bot) -> None:
    """The call stays the only job."""
    call = await bot.called(request())

    assert (await bot.ask(request(channel="C0OPS"))).reload.id == call.reload.id
    assert await bot.kinds() == ["call"]


async def test_a_request_after_acceptance_adds_its_channel(bot: Bot) -> None:
    """A status message now, and a follow-up with the others; a channel that has both gets no more."""
    accepted = await bot.accepted(request(channel="C0MODELS"))
    await bot.elapse(20.0)

    for channel in ("C0OPS", "C0OPS", "C0MODELS"):
        assert (await bot.ask(request(channel=channel))).reload == accepted

    assert await bot.rows(jobs.c.channel_id, jobs.c.kind, jobs.c.due_at) == [
        ("C0MODELS", "notify", accepted.ready_at),
        ("C0MODELS", "status", accepted.accepted_at),
        ("C0OPS", "notify", accepted.ready_at),
        ("C0OPS", "status", bot.clock.now),
    ]


async def test_a_request_after_notification_began_starts_another_reload(bot: Bot) -> None:
    """The first one's people may have been mentioned already."""
    ready = await bot.ready(request())
    await bot.claim_one(JobKind.NOTIFY)

    asked = await bot.ask(request())

    assert not asked.joined
    assert (await bot.reload(ready.id)).state is State.NOTIFYING
    assert await bot.kinds() == ["call", "notify", "status"]


async def test_a_request_after_a_failure_starts_another_reload(bot: Bot) -> None:
    """Though nobody has been notified of it yet."""
    await bot.record(await bot.called(request()), Failed(Failure.CREDITS))

    assert not (await bot.ask(request())).joined


# The same request again


@pytest.mark.parametrize("model", ["sdxl", "flux"])
async def test_an_invocation_counts_once(bot: Bot, model: str) -> None:
    """Slack may deliver it twice; whatever it says the second time, it is answered as before."""
    await bot.ask(request(user="U0BEN"))
    asked = await bot.ask(request(invocation="i"))
    before = await bot.everything()

    assert await bot.ask(request(model, invocation="i")) == asked
    assert await bot.join(request(channel="C0OPS", invocation="i"), asked.reload.id) == asked
    assert await bot.everything() == before


async def test_an_invocation_counts_once_in_the_same_instant(bot: Bot) -> None:
    """Whichever of the two is committed first."""
    one, two = await asyncio.gather(bot.ask(request(invocation="i")), bot.ask(request(invocation="i")))

    assert one == two
    assert await bot.counts() == (1, 1, 1)


async def test_an_invocation_counts_once_for_good(bot: Bot) -> None:
    """After its reload ended it starts no other, and joins none of somebody else's."""
    ended = await bot.done(request(invocation="i"))
    later = await bot.ask(request())

    again = await bot.ask(request(invocation="i"))

    assert (again.reload, again.joined) == (ended, False)
    assert again.reload.id != later.reload.id
    assert await bot.counts() == (2, 2, 1)


async def test_a_double_click_is_one_request(bot: Bot) -> None:
    """A person's second press of a button is answered like the first, and writes nothing."""
    asked = await bot.ask(press())
    await bot.elapse(DOUBLE_CLICK_SECONDS - 1.0)
    before = await bot.everything()

    assert await bot.ask(press()) == asked
    assert await bot.everything() == before


async def test_a_double_click_is_one_request_after_its_reload_failed(bot: Bot) -> None:
    """A button that says *Try again* is quick to appear."""
    await bot.ask(request(user="U0BEN"))
    asked = await bot.ask(press())
    call = await bot.claim_one(JobKind.CALL)
    await bot.record(call, Failed(Failure.CREDITS))
    await bot.notify()
    before = await bot.everything()

    again = await bot.ask(press())

    assert (again.reload.id, again.joined, again.first) == (
        asked.reload.id,
        True,
        replace(asked.first, notified_at=again.first.notified_at),
    )
    assert await bot.everything() == before


@pytest.mark.parametrize(
    "second",
    [press(button="C0MODELS/1.2/again:1"), press(button="C0MODELS/1.3/again"), press(user="U0BEN"), request()],
    ids=["another button", "another message", "another person", "a command"],
)
async def test_what_is_no_double_click_is_a_request(bot: Bot, second: Request) -> None:
    """So is every command."""
    await bot.ask(press())
    await bot.ask(second)

    assert (await bot.counts())[1] == 2


async def test_a_press_that_comes_later_is_a_request(bot: Bot) -> None:
    """As is one after a command."""
    await bot.ask(request())
    await bot.ask(press())
    await bot.elapse(DOUBLE_CLICK_SECONDS)

    await bot.ask(press())

    assert (await bot.counts())[1] == 3


# Joining by a button


async def test_a_person_joins_the_very_reload_of_a_button(bot: Bot) -> None:
    """From a new channel it opens that channel."""
    accepted = await bot.accepted(request())

    joined = await bot.join(press(user="U0BEN", channel="C0OPS"), accepted.id)

    assert joined is not None
    assert (joined.reload, joined.first.user_id, joined.joined) == (accepted, "U0ADA", True)
    assert await bot.kinds("C0OPS") == ["notify", "status"]
    assert (await bot.rows(audit.c.id, audit.c.user_id, audit.c.outcome, audit.c.reload_id))[1:] == [
        (2, "U0BEN", "joined", accepted.id)
    ]


async def test_a_person_who_is_subscribed_in_a_channel_stays_so(bot: Bot) -> None:
    """Nothing is written, and no limit is met; elsewhere they are one more subscriber."""
    asked = await bot.ask(request())
    before = await bot.everything()

    assert await bot.join(press(), asked.reload.id, Limits(per_person=1)) == replace(asked, joined=True)
    assert await bot.everything() == before
    await bot.join(press(channel="C0OPS"), asked.reload.id)
    assert (await bot.counts())[1] == 2


async def test_nobody_joins_what_is_over_or_unknown(bot: Bot) -> None:
    """Not even where a later reload of its model could be joined."""
    ended = await bot.done(request())
    await bot.ask(request())
    before = await bot.everything()

    assert await bot.join(press(user="U0BEN"), ended.id) is None
    assert await bot.join(press(user="U0BEN"), "nosuch") is None
    assert await bot.everything() == before


async def test_nobody_joins_once_notification_began(bot: Bot) -> None:
    """They would miss it."""
    ready = await bot.ready(request())
    await bot.claim_one(JobKind.NOTIFY)

    assert await bot.join(press(user="U0BEN"), ready.id) is None


# Limits


async def test_a_person_can_ask_for_so_many_reloads(bot: Bot, other: Bot) -> None:
    """Joining counts too, on whichever replica; a request too many leaves nothing behind."""
    await bot.ask(request("sdxl"), TWICE)
    flux = await bot.ask(request("flux", user="U0BEN"), TWICE)
    await other.join(press(), flux.reload.id, TWICE)
    before = await bot.everything()

    with pytest.raises(TooManyCommands):
        await bot.ask(request("another"), TWICE)
    with pytest.raises(TooManyCommands):
        await bot.join(press(channel="C0OPS"), flux.reload.id, TWICE)
    assert await bot.everything() == before


async def test_a_limit_is_of_one_person_and_ten_minutes(bot: Bot) -> None:
    """What was refused, or asked for no reload, does not count."""
    for model in ("one", "two"):
        await bot.ask(request(model), TWICE)
        await bot.database.run(history.add_note, history.Note("U0BEN", "T0", "C0", "", "help", ""))
    await bot.ask(request("three", user="U0BEN"), TWICE)
    await bot.elapse(LIMIT_SECONDS - 1.0)
    with pytest.raises(TooManyCommands):
        await bot.ask(request("four"), TWICE)
    await bot.elapse(1.0)

    assert not (await bot.ask(request("four"), TWICE)).joined


async def test_a_repeated_request_meets_no_limit(bot: Bot) -> None:
    """It asks for nothing more, be it delivered twice or clicked twice."""
    limits = Limits(per_person=1, in_flight=1)
    asked = await bot.ask(replace(press(), invocation_id="i"), limits)

    assert await bot.ask(request(invocation="i"), limits) == asked
    assert await bot.ask(press(), limits) == asked


async def test_so_many_reloads_can_be_in_flight(bot: Bot) -> None:
    """One more is refused and leaves nothing behind; joining is always possible, and what ends makes room."""
    await bot.done(request("done"))
    await bot.ask(request("one"), TWO)
    await bot.ask(request("two"), TWO)
    before = await bot.everything()

    with pytest.raises(TooManyInFlight):
        await bot.ask(request("three"), TWO)

    assert await bot.everything() == before
    assert (await bot.ask(request("two"), TWO)).joined
    for call in await bot.claim(JobKind.CALL):
        await bot.record(call, Failed(Failure.DOWN))
    assert not (await bot.ask(request("three"), TWO)).joined


# IDs


def test_ids_can_be_read_aloud() -> None:
    """Six characters, none of which is taken for another."""
    ids = {new_reload_id() for _ in range(1000)}

    assert {len(each) for each in ids} == {6}
    assert not set(chain(*ids)) & set("01oilu")
    assert len(ids) > 990


async def test_an_id_is_given_once(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another is tried; without a new one nothing is started."""
    ended = await bot.done(request())
    ids = iter([ended.id, "fresh2"])
    monkeypatch.setattr(requests, "new_reload_id", lambda: next(ids))
    assert (await bot.ask(request())).reload.id == "fresh2"
    before = await bot.everything()
    monkeypatch.setattr(requests, "new_reload_id", repeat(ended.id).__next__)

    with pytest.raises(IntegrityError):
        await bot.ask(request("flux"))

    assert await bot.everything() == before


# Reminders


async def ended(bot: Bot, model: str = "sdxl") -> Reload:
    """A reload that was ready at once, and has ended."""
    accepted = await bot.accepted(request(model), ready_in=0.0)
    await bot.notify()
    return await bot.reload(accepted.id)


async def remind(bot: Bot, reload_id: str, user: str = "U0ADA", channel: str = "C0MODELS") -> Reminder | None:
    """See requests.remind."""
    return await bot.database.run(requests.remind, user, reload_id, channel)


async def reminders(bot: Bot, user: str = "U0ADA") -> list[Reminder]:
    """See history.reminders."""
    return await bot.database.run(history.reminders, user)


async def test_a_reminder_is_due_six_days_after_the_model_should_have_been_ready(bot: Bot) -> None:
    """That is a day before ModelsLab can unload it."""
    accepted = await bot.accepted(request())

    reminder = await remind(bot, accepted.id)

    assert accepted.ready_at is not None
    due_at = accepted.ready_at + REMIND_AFTER
    assert reminder == Reminder("sdxl", accepted.id, "C0MODELS", accepted.ready_at, due_at)
    assert await reminders(bot) == [reminder]
    assert await reminders(bot, "U0BEN") == []
    await bot.elapse(READY_IN + REMIND_AFTER - 1.0)
    assert await bot.claim(JobKind.REMINDER) == []
    await bot.elapse(1.0)
    claim = await bot.claim_one(JobKind.REMINDER)
    assert (claim.reload.id, claim.job.user_id, claim.job.channel_id) == (accepted.id, "U0ADA", "C0MODELS")
    assert claim.reload.state is State.ACCEPTED


async def test_a_person_has_one_reminder_of_a_model(bot: Bot) -> None:
    """Whichever of its reloads is named, it is of the last that was accepted; others have theirs."""
    old = await ended(bot)
    await bot.elapse(60.0)
    new, flux = await ended(bot), await ended(bot, "flux")
    await bot.called(request())

    reminder = await remind(bot, old.id)

    assert reminder is not None
    assert reminder.reload_id == new.id
    assert await remind(bot, new.id, channel="C0OPS") == reminder
    await remind(bot, flux.id)
    await remind(bot, new.id, user="U0BEN")
    assert [each.model_id for each in await reminders(bot)] == ["sdxl", "flux"]
    assert await bot.kinds() == ["call", *["reminder"] * 3, *["status"] * 3]


async def test_nobody_is_reminded_of_what_was_never_accepted(bot: Bot) -> None:
    """Nor of what is unknown."""
    call = await bot.called(request())
    await bot.record(call, Failed(Failure.CREDITS))

    assert await remind(bot, call.reload.id) is None
    assert await remind(bot, "nosuch") is None
    assert await reminders(bot) == []


async def reminded(bot: Bot) -> Reload:
    """A reload whose model a person was reminded of."""
    reload = await ended(bot)
    await remind(bot, reload.id)
    await bot.elapse(REMIND_AFTER)
    await bot.record(await bot.claim_one(JobKind.REMINDER), Reschedule())
    return reload


async def test_a_reminder_that_was_sent_waits_for_the_next_reload(bot: Bot) -> None:
    """Asking for it again changes nothing; a reload of another model does not make it due."""
    old = await reminded(bot)
    assert [(each.reload_id, each.due_at) for each in await reminders(bot)] == [(old.id, None)]
    assert await remind(bot, old.id) == (await reminders(bot))[0]
    await ended(bot, "flux")
    assert await bot.due_in(JobKind.REMINDER) is None

    new = await ended(bot)

    assert [(each.reload_id, each.due_at) for each in await reminders(bot)] == [(new.id, bot.clock.now + REMIND_AFTER)]


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_reminder_moves_with_a_later_acceptance(bot: Bot, claimed: bool) -> None:  # noqa: FBT001 - a parameter
    """One that is just being sent loses its lease."""
    old = await ended(bot)
    await remind(bot, old.id)
    await bot.elapse(REMIND_AFTER)
    claims = await bot.claim(JobKind.REMINDER) if claimed else []

    new = await ended(bot)

    for claim in claims:
        with pytest.raises(LeaseLost):
            await bot.record(claim, Reschedule())
    assert [each.reload_id for each in await reminders(bot)] == [new.id]
    assert await bot.due_in(JobKind.REMINDER) == REMIND_AFTER
    await bot.elapse(REMIND_AFTER)
    again = await bot.claim_one(JobKind.REMINDER)
    assert (again.job.first_tried_at, again.job.crashes) == (bot.clock.now, 0)


async def test_a_reminder_that_missed_a_later_acceptance_is_claimed_with_that(bot: Bot) -> None:
    """As where it was added on another replica in the same instant: whoever runs it sees that it is early."""
    old = await ended(bot)
    await remind(bot, old.id)
    await bot.elapse(REMIND_AFTER)
    new = await ended(bot)
    missed = update(jobs).where(jobs.c.kind == "reminder").values(reload_id=old.id, due_at=bot.clock.now)
    await bot.run(lambda connection: connection.execute(missed).rowcount)

    claim = await bot.claim_one(JobKind.REMINDER)

    assert claim.reload == await bot.reload(new.id)


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_reminder_can_be_taken_back(bot: Bot, claimed: bool) -> None:  # noqa: FBT001 - a parameter
    """By its person, even while it is being sent; other people and models keep theirs."""
    sdxl, flux = await ended(bot), await ended(bot, "flux")
    for reload, user in ((sdxl, "U0ADA"), (sdxl, "U0BEN"), (flux, "U0ADA")):
        await remind(bot, reload.id, user)
    await bot.elapse(REMIND_AFTER)
    claims = await bot.claim(JobKind.REMINDER) if claimed else []

    assert await bot.database.run(requests.stop_reminding, "U0ADA", "sdxl")

    assert not await bot.database.run(requests.stop_reminding, "U0ADA", "sdxl")
    assert [each.model_id for each in await reminders(bot)] == ["flux"]
    assert [each.model_id for each in await reminders(bot, "U0BEN")] == ["sdxl"]
    for claim in claims:
        if (claim.job.user_id, claim.reload.model_id) == ("U0ADA", "sdxl"):
            with pytest.raises(LeaseLost):
                await bot.record(claim, Reschedule())


async def test_a_reminder_that_was_sent_can_be_taken_back(bot: Bot) -> None:
    """It would come again with the next reload."""
    await reminded(bot)

    assert await bot.database.run(requests.stop_reminding, "U0ADA", "sdxl")
    assert await reminders(bot) == []
