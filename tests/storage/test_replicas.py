"""Two replicas on one PostgreSQL: what one does while the other is in the middle of something."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from bot.core.grants import AccessRequest, RequestState
from bot.core.models import DAY, REMIND_AFTER, JobKind, Requested, Stage, State
from bot.errors import CommitUncertain, Failure, Refused
from bot.storage import grants, history, requests
from bot.storage.outcomes import Accepted, Failed, Notified, Reschedule, RetryIn
from bot.storage.requests import Request
from bot.storage.schema import access_requests
from tests.storage.support import (
    COMMIT,
    HERE,
    THERE,
    UNLIMITED,
    WAIT,
    Bot,
    access_note,
    at_first,
    outside,
    press,
    request,
    stop_clock,
    stopped_at,
)

S = TypeVar("S")
T = TypeVar("T")

CALL, STATUS, NOTIFY, DM, REMINDER, *_ = JobKind

SUBSCRIBE = "INSERT INTO reload_model_subscribers"
LOCKS = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def race(
    bot: Bot, words: str, first: Coroutine[Any, Any, S], second: Coroutine[Any, Any, T], *, waits: bool = True
) -> tuple[S, T]:
    """Stop the first before a statement with these words, go on once the second waits for it or is done."""
    with stopped_at(words) as gate:
        one = asyncio.create_task(first)
        await gate.reached()
        two = asyncio.create_task(second)
        async with asyncio.timeout(WAIT):
            while waits and not await asyncio.to_thread(outside, bot.database.url, LOCKS):
                assert not two.done()
        if not waits:
            await two
    return await one, await two


@pytest.fixture
def url(postgres_url: str) -> str:
    """A database whose time stands still, and which notices early that two transactions block each other."""
    return stop_clock(postgres_url, "%20-c%20deadlock_timeout%3D50ms")


async def test_several_models_that_both_replicas_are_asked_for_are_requested_once(bot: Bot, other: Bot) -> None:
    """Slack may deliver a mention again before the first replica has acknowledged it."""
    asked = [request("sdxl", invocation="Ev1"), request("flux", invocation="Ev1/1")]
    answers = await asyncio.gather(*(each.run(requests.ask_each, asked, UNLIMITED) for each in (bot, other)))

    reloads = [[answer.reload.id for answer in each if isinstance(answer, Requested)] for each in answers]
    assert reloads[0] == reloads[1]
    assert await bot.counts() == (2, 2, 4)


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        *((words, request(invocation="i"), request(invocation="i")) for words in (SUBSCRIBE, COMMIT)),
        *((words, press(), press()) for words in ("INSERT INTO reload_model_reloads", SUBSCRIBE, COMMIT)),
    ],
)
async def test_a_request_that_comes_twice_is_one(
    bot: Bot, other: Bot, words: str, first: Request, second: Request
) -> None:
    """A repeated delivery, or a double click. The second waits for the first, and both are answered alike."""
    asked, again = await race(bot, words, bot.ask(first), other.ask(second))

    assert replace(asked, repeated=False) == replace(again, repeated=False)
    assert asked.repeated is not again.repeated
    assert await bot.counts() == (1, 1, 2)


async def ask_access(bot: Bot) -> str:
    """Ask for access, and return the request's ID, or how the request stands that there is."""
    try:
        return await bot.ask_access("U0EVE", "U0BOSS")
    except Refused as refused:
        asked = refused.data["asked"]
        assert isinstance(asked, AccessRequest)
        return asked.state.value


@pytest.mark.parametrize(
    "words", ["UPDATE reload_model_access_requests", "INSERT INTO reload_model_access_requests", COMMIT]
)
async def test_a_person_who_asks_for_access_on_both_replicas_asks_once(bot: Bot, other: Bot, words: str) -> None:
    """The second time they read that there is a request."""
    answers = await race(bot, words, ask_access(bot), ask_access(other), waits=words == COMMIT)

    assert answers.count("open") == 1
    assert len(await bot.rows(access_requests.c.id)) == 1


@pytest.mark.parametrize("state", [RequestState.ALLOWED, RequestState.DENIED])
async def test_people_are_added_while_another_admin_decides_about_one(
    bot: Bot, other: Bot, state: RequestState
) -> None:
    """Nobody is left out, whatever the other admin decides."""
    asked, chosen = await ask_access(bot), ["U0EVE", "U0FAY"]
    added = other.run(grants.add_people, access_note("U0CHIEF"), chosen)
    _, new = await race(bot, COMMIT, bot.decide(asked, state, "U0BOSS"), added)

    assert new == [user for user in chosen if user == "U0FAY" or state is RequestState.DENIED]
    assert {grant.user_id for grant in (await bot.run(grants.granted))[0]} == set(chosen)


@pytest.mark.parametrize("decides_first", [True, False])
async def test_a_message_that_is_recorded_during_the_decision_is_edited(
    bot: Bot, other: Bot, *, decides_first: bool
) -> None:
    """Whichever comes first: no message keeps its buttons."""
    asked = await ask_access(bot)
    (claim,) = await bot.claim_access(JobKind.ACCESS_REQUEST)
    decided = other.decide(asked, RequestState.DENIED, "U0BOSS")
    posted = bot.record(claim, Reschedule(claim.request.expires_at - claim.now, "1.2"))
    await (race(bot, COMMIT, decided, posted) if decides_first else race(bot, COMMIT, posted, decided))

    (again,) = await other.claim_access(JobKind.ACCESS_REQUEST)
    assert (again.job.status_ts, again.request.decided_by) == ("1.2", "U0BOSS")


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("joins", [False, True])
async def test_an_acknowledged_request_is_never_undone(bot: Bot, other: Bot, *, committed: bool, joins: bool) -> None:
    """A replica that lost its connection around the commit is certain of nothing. The other replica is right."""
    reload_id = (await other.ask(request(user="U0BEN"))).reload.id if joins else ""
    again, drivers = replace(request(invocation="i"), reload_id=reload_id), list[Any]()

    def deliver(connection: Connection) -> Requested | None:
        drivers.append(connection.connection.driver_connection)
        work = requests.join if joins else requests.ask
        return work(connection, again, UNLIMITED)

    def lose_connection() -> None:
        if committed:
            drivers[0].commit()
        drivers[0].close()

    with at_first(COMMIT, lose_connection), pytest.raises(CommitUncertain):
        await bot.run(deliver)
    acknowledged = await other.run(deliver)

    assert acknowledged is not None
    assert await bot.run(deliver) == replace(acknowledged, repeated=True)
    assert await other.counts() == (1, 1 + joins, 2)
    assert (await other.claim_one(CALL)).reload == acknowledged.reload


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("late", [False, True])
async def test_people_can_join_until_notification_begins(bot: Bot, other: Bot, *, joins: bool, late: bool) -> None:
    """The notification waits for who is joining, but no other does. Who comes too late can't join any more."""
    ready = await bot.ready(request(user="U0ADA"))
    ben = press(user="U0BEN")
    comes = other.join(ben, ready.id) if joins else other.ask(ben)
    if late:
        claims, asked = await race(bot, "FROM reload_model_subscribers", bot.claim(NOTIFY), comes)
    else:
        asked, claims = await race(bot, SUBSCRIBE, comes, bot.claim(NOTIFY), waits=False)
        assert [claim.must_wait for claim in claims] == [True]
        await bot.record(claims[0], RetryIn(0.0))
        claims = await bot.claim(NOTIFY)

    assert [each.user_id for claim in claims for each in claim.recipients] == (
        ["U0ADA"] if late else ["U0ADA", "U0BEN"]
    )
    assert (asked is not None and asked.joined) is not late
    assert (asked is None) is (late and joins)


@pytest.mark.parametrize(
    ("outcome", "recorded_first"), [(Accepted(120.0), False), (Failed(Failure.DOWN), False), (Accepted(120.0), True)]
)
async def test_a_channel_that_joins_while_an_outcome_is_recorded_learns_it(
    bot: Bot, other: Bot, outcome: Accepted | Failed, *, recorded_first: bool
) -> None:
    """Once: one waits for the other."""
    call = await bot.called(request(channel=HERE))
    asks, records = other.ask(request(channel=THERE)), bot.record(call, outcome)
    if recorded_first:
        _, asked = await race(bot, "INSERT INTO reload_model_jobs", records, asks)
    else:
        asked, _ = await race(bot, SUBSCRIBE, asks, records)

    assert asked.joined
    assert (asked.reload.state is State.ACCEPTED) is recorded_first
    assert await bot.kinds(HERE) == await bot.kinds(THERE)
    assert "notify" in await bot.kinds(THERE)


async def test_a_slow_claim_does_not_keep_another_replica_waiting(bot: Bot, other: Bot) -> None:
    """It passes over what the other has locked."""
    for model in ("first", "second"):
        await bot.ask(request(model))
        await bot.elapse(1.0)

    slow, quick = await race(
        bot, "FROM reload_model_reloads", bot.claim(CALL, free=1), other.claim(CALL, free=2), waits=False
    )

    assert [claim.reload.model_id for claim in (*slow, *quick)] == ["first", "second"]


async def test_a_reload_ends_if_its_last_two_channels_are_notified_at_once(bot: Bot, other: Bot) -> None:
    """One of the two is recorded last, and ends it."""
    ready = await bot.ready(request(channel=HERE), request(channel=THERE))
    (here,), (there,) = await bot.claim(NOTIFY, free=1), await other.claim(NOTIFY, free=1)

    await race(
        bot,
        "UPDATE reload_model_reloads SET state",
        bot.record(here, Notified([1])),
        other.record(there, Notified([2])),
    )

    assert (await bot.reload(ready.id)).state is State.DONE


@pytest.mark.parametrize("status_first", [True, False])
async def test_a_status_message_is_closed_whichever_is_recorded_first(
    bot: Bot, other: Bot, *, status_first: bool
) -> None:
    """That it was posted, or that its channel was notified."""
    await bot.ready(request())
    (status,), (notify,) = await bot.claim(STATUS), await other.claim(NOTIFY)
    records = [
        bot.record(status, Reschedule(status_ts="1700.1", stage=Stage.WAITING)),
        other.record(notify, Notified([1])),
    ]
    if not status_first:
        records.reverse()

    await race(bot, COMMIT, *records)

    claim = await bot.claim_one(STATUS)
    assert (claim.stage, claim.job.status_ts) == (Stage.NOTIFIED, "1700.1")


async def test_a_reminder_added_beside_an_acceptance_counts_from_it(bot: Bot, other: Bot) -> None:
    """It missed the acceptance, but is claimed with the later reload all the same."""
    old = await bot.done(request())
    call = await bot.called(request())

    _, reminder = await race(bot, COMMIT, bot.record(call, Accepted(120.0)), other.remind(old.id), waits=False)
    await bot.elapse(REMIND_AFTER)

    assert reminder is not None
    assert reminder.due_at == old.ready_by + REMIND_AFTER
    assert (await bot.claim_one(REMINDER)).reload == await bot.reload(call.reload.id)


async def test_a_reload_is_not_deleted_while_a_reminder_of_it_is_added(bot: Bot, other: Bot) -> None:
    """Which isn't committed yet."""
    ended = await bot.done(request())
    await bot.elapse(2 * DAY)

    _, deleted = await race(bot, COMMIT, bot.remind(ended.id), other.run(history.prune, 1.0), waits=False)

    assert (deleted[0], await bot.kinds()) == (0, ["reminder"])


async def test_a_reminder_added_on_both_replicas_is_one(bot: Bot, other: Bot) -> None:
    """A button can be pressed on two devices."""
    ended = await bot.done(request())

    first, second = await race(bot, COMMIT, bot.remind(ended.id), other.remind(ended.id))

    assert first == second
    assert await bot.kinds() == ["reminder"]


async def test_a_reload_that_is_deleted_while_it_is_listed_is_left_out(bot: Bot, other: Bot) -> None:
    """The others are listed."""
    await bot.done(request("old"))
    await bot.elapse(2 * DAY)
    await bot.done(request("new"))

    listed, deleted = await race(
        bot, "FROM reload_model_subscribers", bot.run(history.recent, 10), other.run(history.prune, 1.0), waits=False
    )

    assert deleted[0] == 1
    assert [each.reload.model_id for each in listed] == ["new"]
