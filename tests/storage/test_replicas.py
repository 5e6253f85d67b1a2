"""Two replicas on one PostgreSQL: what one does while the other is in the middle of something."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

import pytest
from sqlalchemy import Connection

from bot.core.grants import RequestState
from bot.core.models import DAY, REMIND_AFTER, JobKind, Stage, State
from bot.core.outcomes import Accepted, Failed, Notified, Reschedule
from bot.errors import CommitUncertain, Failure, Refused
from bot.storage import history, requests
from bot.storage.requests import Request, Requested
from bot.storage.schema import access_requests
from tests.storage.support import (
    COMMIT,
    HERE,
    THERE,
    WAIT,
    Bot,
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


class Replicas(NamedTuple):
    """Two processes that are patient with each other."""

    one: Bot
    two: Bot
    url: str

    async def race(
        self, words: str, first: Coroutine[Any, Any, S], second: Coroutine[Any, Any, T], *, waits: bool = True
    ) -> tuple[S, T]:
        """Stop the first before a statement with these words, go on once the second waits for it or is done."""
        with stopped_at(words) as gate:
            one = asyncio.create_task(first)
            await gate.reached()
            two = asyncio.create_task(second)
            async with asyncio.timeout(WAIT):
                while waits and not await asyncio.to_thread(outside, self.url, LOCKS):
                    assert not two.done()
            if not waits:
                await two
        return await one, await two


@pytest.fixture
def url(postgres_url: str) -> str:
    """A database whose time stands still, and which notices early that two transactions block each other."""
    return stop_clock(postgres_url, "%20-c%20deadlock_timeout%3D50ms")


@pytest.fixture
def replicas(bot: Bot, other: Bot, url: str) -> Replicas:
    """The two of them, each on a connection of its own."""
    return Replicas(bot, other, url)


async def test_several_models_that_both_replicas_are_asked_for_are_requested_once(replicas: Replicas) -> None:
    """Slack may deliver a mention again before the first replica has acknowledged it."""
    one, two, _ = replicas
    asked = [request("sdxl", invocation="Ev1"), request("flux", invocation="Ev1/1")]
    answers = await asyncio.gather(*(bot.run(requests.ask_each, asked) for bot in (one, two)))

    reloads = [[answer.reload.id for answer in each if isinstance(answer, Requested)] for each in answers]
    assert reloads[0] == reloads[1]
    assert await one.counts() == (2, 2, 4)


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        *((words, request(invocation="i"), request(invocation="i")) for words in (SUBSCRIBE, COMMIT)),
        *((words, press(), press()) for words in ("INSERT INTO reload_model_reloads", SUBSCRIBE, COMMIT)),
    ],
)
async def test_a_request_that_comes_twice_is_one(
    replicas: Replicas, words: str, first: Request, second: Request
) -> None:
    """A repeated delivery, or a double click. The second waits for the first, and both are answered alike."""
    one, two, _ = replicas
    asked, again = await replicas.race(words, one.ask(first), two.ask(second))

    assert asked == again
    assert await one.counts() == (1, 1, 2)


async def ask_access(bot: Bot) -> str:
    """Ask for access, and return the request's ID, or how the request stands that there is."""
    try:
        return await bot.ask_access("U0EVE", "U0BOSS")
    except Refused as refused:
        return str(refused.data["asked"])


@pytest.mark.parametrize(
    "words", ["UPDATE reload_model_access_requests", "INSERT INTO reload_model_access_requests", COMMIT]
)
async def test_a_person_who_asks_for_access_on_both_replicas_asks_once(replicas: Replicas, words: str) -> None:
    """The second time they read that there is a request."""
    one, two, _ = replicas
    answers = await replicas.race(words, ask_access(one), ask_access(two), waits=words == COMMIT)

    assert answers.count("open") == 1
    assert len(await one.rows(access_requests.c.id)) == 1


@pytest.mark.parametrize("decides_first", [True, False])
async def test_a_message_that_is_recorded_during_the_decision_is_edited(
    replicas: Replicas, *, decides_first: bool
) -> None:
    """Whichever comes first: no message keeps its buttons."""
    one, two, _ = replicas
    asked = await ask_access(one)
    (claim,) = await one.claim_access(JobKind.ACCESS_REQUEST)
    decided = two.decide(asked, RequestState.DENIED, "U0BOSS")
    posted = one.record(claim, Reschedule(claim.request.expires_at - claim.now, "1.2"))
    await (replicas.race(COMMIT, decided, posted) if decides_first else replicas.race(COMMIT, posted, decided))

    (again,) = await two.claim_access(JobKind.ACCESS_REQUEST)
    assert (again.job.status_ts, again.request.decided_by) == ("1.2", "U0BOSS")


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("joins", [False, True])
async def test_an_acknowledged_request_is_never_undone(replicas: Replicas, *, committed: bool, joins: bool) -> None:
    """A replica that lost its connection around the commit is certain of nothing. The other replica is right."""
    one, two, _ = replicas
    reload_id = (await two.ask(request(user="U0BEN"))).reload.id if joins else ""
    again, drivers = request(invocation="i"), list[Any]()

    def deliver(connection: Connection) -> Requested | None:
        drivers.append(connection.connection.driver_connection)
        return requests.join(connection, again, reload_id) if joins else requests.ask(connection, again)

    def lose_connection() -> None:
        if committed:
            drivers[0].commit()
        drivers[0].close()

    with at_first(COMMIT, lose_connection), pytest.raises(CommitUncertain):
        await one.run(deliver)
    acknowledged = await two.run(deliver)

    assert await one.run(deliver) == acknowledged
    assert acknowledged is not None
    assert await two.counts() == (1, 1 + joins, 2)
    assert (await two.claim_one(CALL)).reload == acknowledged.reload


@pytest.mark.parametrize("joins", [False, True])
async def test_a_person_who_joins_before_notification_begins_is_notified(replicas: Replicas, *, joins: bool) -> None:
    """The claim of the notification waits for them."""
    one, two, _ = replicas
    ready = await one.ready(request(user="U0ADA"))
    late = press(user="U0BEN")

    asked, (claim,) = await replicas.race(
        SUBSCRIBE, two.join(late, ready.id) if joins else two.ask(late), one.claim(NOTIFY)
    )

    assert asked is not None
    assert asked.joined
    assert [one.user_id for one in claim.recipients] == ["U0ADA", "U0BEN"]


@pytest.mark.parametrize("joins", [False, True])
async def test_a_person_who_comes_while_notification_begins_is_too_late(replicas: Replicas, *, joins: bool) -> None:
    """They wait for that. Then a command starts another reload."""
    one, two, _ = replicas
    ready = await one.ready(request())
    late = press(user="U0BEN")

    claims, asked = await replicas.race(
        "FROM reload_model_subscribers", one.claim(NOTIFY), two.join(late, ready.id) if joins else two.ask(late)
    )

    assert len(claims) == 1
    assert asked is None if joins else asked is not None and not asked.joined


@pytest.mark.parametrize("outcome", [Accepted(120.0), Failed(Failure.DOWN)])
async def test_a_channel_that_joins_before_an_outcome_is_recorded_learns_it(
    replicas: Replicas, outcome: Accepted | Failed
) -> None:
    """Recording the outcome waits for it."""
    one, two, _ = replicas
    call = await one.called(request(channel=HERE))

    asked, _ = await replicas.race(SUBSCRIBE, two.ask(request(channel=THERE)), one.record(call, outcome))

    assert asked.joined
    assert await one.kinds(HERE) == await one.kinds(THERE)
    assert "notify" in await one.kinds(THERE)


async def test_a_channel_that_joins_while_an_acceptance_is_recorded_is_opened_once(replicas: Replicas) -> None:
    """By the request, which waits for the record."""
    one, two, _ = replicas
    call = await one.called(request(channel=HERE))

    _, asked = await replicas.race(
        "INSERT INTO reload_model_jobs", one.record(call, Accepted(120.0)), two.ask(request(channel=THERE))
    )

    assert asked.reload.state is State.ACCEPTED
    assert await one.kinds(THERE) == ["notify", "status"]


async def test_a_job_is_claimed_by_one_replica(replicas: Replicas) -> None:
    """Of a hundred calls none is claimed twice, and no replica claims more than it has slots."""
    one, two, _ = replicas
    await asyncio.gather(*(one.ask(request(f"model-{number}")) for number in range(100)))

    claims = await asyncio.gather(*(bot.claim(CALL, free=7) for _ in range(8) for bot in (one, two)))

    claimed = [claim.job.id for each in claims for claim in each]
    assert len(claimed) == len(set(claimed)) == 100
    assert max(map(len, claims)) <= 7


async def test_a_slow_claim_does_not_keep_another_replica_waiting(replicas: Replicas) -> None:
    """It passes over what the other has locked."""
    one, two, _ = replicas
    for model in ("first", "second"):
        await one.ask(request(model))
        await one.elapse(1.0)

    slow, quick = await replicas.race(
        "FROM reload_model_reloads", one.claim(CALL, free=1), two.claim(CALL, free=2), waits=False
    )

    assert [claim.reload.model_id for claim in (*slow, *quick)] == ["first", "second"]


async def test_a_reload_ends_if_its_last_two_channels_are_notified_at_once(replicas: Replicas) -> None:
    """One of the two is recorded last, and ends it."""
    one, two, _ = replicas
    ready = await one.ready(request(channel=HERE), request(channel=THERE))
    (here,), (there,) = await one.claim(NOTIFY, free=1), await two.claim(NOTIFY, free=1)

    await replicas.race(
        "UPDATE reload_model_reloads SET state", one.record(here, Notified([1])), two.record(there, Notified([2]))
    )

    assert (await one.reload(ready.id)).state is State.DONE


@pytest.mark.parametrize("status_first", [True, False])
async def test_a_status_message_is_closed_whichever_is_recorded_first(
    replicas: Replicas, *, status_first: bool
) -> None:
    """That it was posted, or that its channel was notified."""
    one, two, _ = replicas
    await one.ready(request())
    (status,), (notify,) = await one.claim(STATUS), await two.claim(NOTIFY)
    records = [
        one.record(status, Reschedule(status_ts="1700.1", stage=Stage.WAITING)),
        two.record(notify, Notified([1])),
    ]
    if not status_first:
        records.reverse()

    await replicas.race(COMMIT, *records)

    claim = await one.claim_one(STATUS)
    assert (claim.stage, claim.job.status_ts) == (Stage.NOTIFIED, "1700.1")


async def test_a_reminder_added_beside_an_acceptance_counts_from_it(replicas: Replicas) -> None:
    """It missed the acceptance, but is claimed with the later reload all the same."""
    one, two, _ = replicas
    old = await one.done(request())
    call = await one.called(request())

    _, reminder = await replicas.race(COMMIT, one.record(call, Accepted(120.0)), two.remind(old.id), waits=False)
    await one.elapse(REMIND_AFTER)

    assert reminder is not None
    assert reminder.reload_id == old.id
    assert (await one.claim_one(REMINDER)).reload == await one.reload(call.reload.id)


async def test_a_reminder_added_on_both_replicas_is_one(replicas: Replicas) -> None:
    """A button can be pressed on two devices."""
    one, two, _ = replicas
    ended = await one.done(request())

    first, second = await replicas.race(COMMIT, one.remind(ended.id), two.remind(ended.id))

    assert first == second
    assert await one.kinds() == ["reminder"]


async def test_a_reload_that_is_deleted_while_it_is_listed_is_left_out(replicas: Replicas) -> None:
    """The others are listed."""
    one, two, _ = replicas
    await one.done(request("old"))
    await one.elapse(2 * DAY)
    await one.done(request("new"))

    listed, deleted = await replicas.race(
        "FROM reload_model_subscribers", one.run(history.recent, 10), two.run(history.prune, 1.0), waits=False
    )

    assert deleted[0] == 1
    assert [each.reload.model_id for each in listed] == ["new"]
