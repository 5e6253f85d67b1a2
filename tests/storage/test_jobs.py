"""Jobs are claimed under a lease, and what came of them is recorded once."""

import math

import pytest
from sqlalchemy import update

from bot.core.models import REMIND_AFTER, Claim, Job, JobKind, State
from bot.core.outcomes import REST, Accepted, Done, Failed, GiveUp, Notified, Outcome, Postpone, Reschedule, RetryIn
from bot.errors import Failure, LeaseLost
from bot.storage import jobs as storage
from bot.storage import requests
from bot.storage.schema import jobs, subscribers
from tests.storage.support import LEASE, READY_IN, Bot, request

CALL, STATUS, NOTIFY, DM, REMINDER = JobKind

HERE, THERE = "C0MODELS", "C0OPS"


async def by_channel(bot: Bot, kind: JobKind) -> dict[str, Claim]:
    """Claim what is due of a kind, by channel."""
    return {claim.job.channel_id: claim for claim in await bot.claim(kind)}


def ids(claim: Claim) -> list[int]:
    """The subscribers whom a job is to notify."""
    return [one.id for one in claim.recipients]


# Claiming


async def test_what_is_guaranteed_is_claimed_before_what_is_best_effort(bot: Bot) -> None:
    """One by one, as together; of one kind what has been due the longest goes first."""
    reminded = await bot.done(request("reminded"))
    await bot.database.run(requests.remind, "U0ADA", reminded.id, HERE)
    await bot.elapse(REMIND_AFTER)
    await bot.ready(request("a", channel=HERE), request("a", channel=THERE))
    await bot.record((await by_channel(bot, NOTIFY))[HERE], Notified())
    await bot.elapse(LEASE)
    for model in ("b", "c"):
        await bot.ask(request(model))
        await bot.elapse(1.0)
    order = ["notify", "dm", "call b", "call c", "reminder", "status", "status"]

    def shown(claim: Claim) -> str:
        kind = claim.job.kind.value
        return f"call {claim.reload.model_id}" if kind == "call" else kind

    assert [shown((await bot.claim(free=1))[0]) for _ in order] == order
    await bot.elapse(LEASE)
    assert [shown(claim) for claim in await bot.claim()] == order


async def test_each_group_of_kinds_has_its_own_slots(bot: Bot) -> None:
    """No group takes the slots of another, and kinds without a slot are not looked at."""
    await bot.accepted(*(request("ready", channel=f"C{number}") for number in range(3)), ready_in=0.0)
    for number in range(3):
        await bot.ask(request(f"model-{number}"))
    await bot.elapse(LEASE)

    claims, due_in = await bot.database.run(storage.claim, "one", {(CALL,): 2, (STATUS, DM): 1}, LEASE)

    assert [claim.job.kind for claim in claims] == [CALL, CALL, STATUS]
    assert due_in == -LEASE
    assert await bot.database.run(storage.claim, "one", {}, LEASE) == ([], None)


async def test_a_claim_says_when_the_next_job_is_due(bot: Bot) -> None:
    """That is the first of the wanted kinds: at its own time, or when its lease ends; nothing where all rest."""
    assert await bot.due_in(*JobKind) is None
    await bot.accepted(request())
    await bot.elapse(20.0)

    assert await bot.due_in(NOTIFY) == READY_IN - 20.0
    assert await bot.due_in(CALL, DM) is None
    assert await bot.due_in(STATUS, NOTIFY) == -20.0
    assert await bot.due_in(STATUS) == LEASE


async def test_a_claim_comes_with_all_that_it_takes_to_run_it(bot: Bot) -> None:
    """The reload, everyone who asked, the status message of its channel, and whether that has been notified."""
    ready = await bot.ready(request(user="U0ADA", channel=HERE), request(user="U0BEN", channel=THERE))
    statuses = await by_channel(bot, STATUS)
    for status in statuses.values():
        assert (status.notified, status.status_ts, status.reload.state) == (False, "", State.ACCEPTED)
    await bot.record(statuses[THERE], Reschedule(0.0, status_ts="1700.1"))

    notify = await by_channel(bot, NOTIFY)

    claim = notify[THERE]
    assert claim.reload == await bot.reload(ready.id)
    assert claim.reload.state is State.NOTIFYING
    assert [one.user_id for one in claim.subscribers] == ["U0ADA", "U0BEN"]
    assert [one.user_id for one in claim.recipients] == ["U0BEN"]
    assert (claim.status_ts, notify[HERE].status_ts) == ("1700.1", "")
    job = Job(claim.job.id, ready.id, NOTIFY, THERE, None, "", bot.clock.now, 1, 0, 0)
    assert (claim.job, claim.now) == (job, bot.clock.now)
    await bot.record(claim, Notified(ids(claim)))
    status = await bot.claim_one(STATUS)
    assert (status.notified, status.job.status_ts) == (True, "1700.1")


# Leases


async def test_a_claimed_job_is_its_claimers_until_its_lease_ends(bot: Bot, other: Bot) -> None:
    """Then it is another's, which counts as a crash; the first try is remembered."""
    began = bot.clock.now
    await bot.called(request())
    await bot.elapse(LEASE - 1.0)
    assert await other.claim() == []

    await bot.elapse(1.0)

    job = (await other.claim_one(CALL)).job
    assert (job.fence, job.attempts, job.crashes, job.first_tried_at) == (2, 0, 1, began)


async def test_a_renewed_lease_lasts_from_then_on(bot: Bot, other: Bot) -> None:
    """Those of other jobs do not."""
    call = await bot.called(request("running"))
    await bot.called(request("lost"))
    await bot.elapse(LEASE - 1.0)
    await bot.database.run(storage.renew, bot.owner, [call.job], LEASE)
    await bot.elapse(LEASE - 1.0)

    assert [claim.reload.model_id for claim in await other.claim()] == ["lost"]


OUTCOMES: list[Outcome] = [
    Accepted(READY_IN),
    Failed(Failure.DOWN, "said", unknown=True),
    Notified([1], 1, uncertain=True),
    RetryIn(1.0, unknown=True),
    Postpone(1.0, unknown=True),
    Reschedule(1.0, status_ts="1700.1", until_notified=True),
    Done(1),
    GiveUp(),
]


@pytest.mark.parametrize("claimer", ["one", "other"])
@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
async def test_a_lost_lease_records_nothing(bot: Bot, other: Bot, outcome: Outcome, claimer: str) -> None:
    """Not even if the same process claimed the job anew; nor is such a lease renewed."""
    call = await bot.called(request())
    await bot.elapse(LEASE)
    await (bot if claimer == "one" else other).claim_one(CALL)
    before = await bot.everything()

    with pytest.raises(LeaseLost):
        await bot.record(call, outcome)
    await bot.database.run(storage.renew, bot.owner, [call.job], LEASE)

    assert await bot.everything() == before


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
async def test_an_outcome_is_recorded_once(bot: Bot, outcome: Outcome) -> None:
    """A record that was committed without an answer is not made twice."""
    call = await bot.called(request())
    await bot.record(call, Accepted(READY_IN))
    before = await bot.everything()

    with pytest.raises(LeaseLost):
        await bot.record(call, outcome)

    assert await bot.everything() == before


async def test_a_late_outcome_is_recorded_if_nobody_has_claimed_the_job_since(bot: Bot, other: Bot) -> None:
    """And by its claimer only."""
    call = await bot.called(request())
    await bot.elapse(LEASE * 2)
    with pytest.raises(LeaseLost):
        await other.record(call, Accepted(READY_IN))

    await bot.record(call, Accepted(READY_IN))

    assert (await bot.reload(call.reload.id)).state is State.ACCEPTED


# The call


async def test_an_acceptance_gives_each_channel_a_status_message_and_a_follow_up(bot: Bot) -> None:
    """One of each, however many asked there."""
    call = await bot.called(request(channel=HERE), request(channel=THERE), request(channel=THERE))
    await bot.elapse(5.0)

    await bot.record(call, Accepted(READY_IN))

    reload, now = await bot.reload(call.reload.id), bot.clock.now
    assert (reload.state, reload.accepted_at, reload.ready_at) == (State.ACCEPTED, now, now + READY_IN)
    assert await bot.rows(jobs.c.channel_id, jobs.c.kind, jobs.c.due_at) == [
        (HERE, "notify", now + READY_IN),
        (HERE, "status", now),
        (THERE, "notify", now + READY_IN),
        (THERE, "status", now),
    ]


async def test_a_failure_notifies_each_channel_at_once(bot: Bot) -> None:
    """Without a status message before."""
    call = await bot.called(request(channel=HERE), request(channel=THERE))

    await bot.record(call, Failed(Failure.CREDITS, "Insufficient credits."))

    reload = await bot.reload(call.reload.id)
    assert (reload.state, reload.failure, reload.said) == (State.NOTIFYING, Failure.CREDITS, "Insufficient credits.")
    assert (reload.outcome_unknown, reload.accepted_at, reload.ready_at) == (False, None, None)
    assert await bot.rows(jobs.c.channel_id, jobs.c.kind, jobs.c.due_at) == [
        (HERE, "notify", bot.clock.now),
        (THERE, "notify", bot.clock.now),
    ]
    await bot.notify()
    assert (await bot.reload(reload.id)).state is State.DONE


@pytest.mark.parametrize("before", [RetryIn(0.0, unknown=True), RetryIn(0.0, unknown=True, crashed=True), None])
@pytest.mark.parametrize("unknown", [True, False])
async def test_a_failure_after_an_unknown_outcome_says_so(bot: Bot, before: Outcome | None, unknown: bool) -> None:  # noqa: FBT001 - a parameter
    """A try that got no answer, or whose process died, may have had its effect, whatever the last one knew."""
    call = await bot.called(request())
    if before is None:
        await bot.elapse(LEASE)
    else:
        await bot.record(call, before)
    call = await bot.claim_one(CALL)

    await bot.record(call, Failed(Failure.DOWN, unknown=unknown))

    assert (await bot.reload(call.reload.id)).outcome_unknown


# Any job


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (RetryIn(30.0), (1, 0)),
        (RetryIn(30.0, unknown=True), (1, 0)),
        (RetryIn(30.0, unknown=True, crashed=True), (0, 1)),
        (Postpone(30.0), (0, 0)),
        (Postpone(30.0, unknown=True), (0, 0)),
    ],
)
async def test_a_job_that_is_put_back_is_due_again(
    bot: Bot, outcome: RetryIn | Postpone, counts: tuple[int, int]
) -> None:
    """A failure counts as an attempt, an error of the bot's own as a crash, an interruption as nothing."""
    call = await bot.called(request())

    await bot.record(call, outcome)

    assert await bot.due_in(CALL) == 30.0
    assert (await bot.reload(call.reload.id)).outcome_unknown is outcome.unknown
    await bot.elapse(30.0)
    job = (await bot.claim_one(CALL)).job
    assert (job.attempts, job.crashes) == counts
    assert (job.fence, job.first_tried_at) == (2, bot.clock.now - 30.0)


async def test_a_job_that_did_what_was_due_starts_afresh(bot: Bot) -> None:
    """As if it had never been tried."""
    await bot.accepted(request())
    await bot.record(await bot.claim_one(STATUS), RetryIn(0.0))
    await bot.record(await bot.claim_one(STATUS), RetryIn(0.0, crashed=True))
    await bot.elapse(1.0)

    await bot.record(await bot.claim_one(STATUS), Reschedule(30.0, status_ts="1700.1"))
    await bot.elapse(30.0)

    job = (await bot.claim_one(STATUS)).job
    assert (job.attempts, job.crashes, job.first_tried_at, job.status_ts) == (0, 0, bot.clock.now, "1700.1")


async def test_a_job_that_is_done_is_gone(bot: Bot) -> None:
    """And nothing else is."""
    accepted = await bot.accepted(request())

    await bot.record(await bot.claim_one(STATUS), Done())

    assert await bot.kinds() == ["notify"]
    assert await bot.reload(accepted.id) == accepted


# Notifications


async def test_a_reload_ends_when_everyone_is_notified(bot: Bot) -> None:
    """In every channel."""
    ready = await bot.ready(request(channel=HERE), request(channel=HERE), request(channel=THERE))
    claims = await by_channel(bot, NOTIFY)

    await bot.record(claims[HERE], Notified(ids(claims[HERE])))

    reload = await bot.reload(ready.id)
    assert (reload.state, reload.ended_at) == (State.NOTIFYING, None)
    assert await bot.rows(subscribers.c.id, subscribers.c.notified_at) == [
        (1, bot.clock.now),
        (2, bot.clock.now),
        (3, None),
    ]
    await bot.record(claims[THERE], Notified(ids(claims[THERE])))
    reload = await bot.reload(ready.id)
    assert (reload.state, reload.ended_at, reload.undeliverable) == (State.DONE, bot.clock.now, False)


async def test_people_whom_a_channel_did_not_reach_get_a_dm_each(bot: Bot) -> None:
    """Only then does the reload end; a person who asked there twice gets one, and a DM makes no other."""
    ready = await bot.ready(*(request(user=user) for user in ("U0ADA", "U0BEN", "U0CEM", "U0BEN")))
    notify = await bot.claim_one(NOTIFY)

    await bot.record(notify, Notified([1]))

    dms = await bot.claim(DM)
    assert sorted((claim.job.subscriber_id, ids(claim)) for claim in dms) == [(2, [2]), (3, [3]), (4, [])]
    for claim in dms:
        assert (await bot.reload(ready.id)).state is State.NOTIFYING
        await bot.record(claim, Notified(ids(claim)))
    assert await bot.kinds() == ["status"]
    assert (await bot.reload(ready.id)).state is State.DONE


@pytest.mark.parametrize("kind", [NOTIFY, DM])
async def test_a_notification_that_is_given_up_ends_the_reload_as_undeliverable(bot: Bot, kind: JobKind) -> None:
    """Others are notified all the same."""
    ready = await bot.ready(request(channel=HERE), request(channel=THERE))
    claim = (await by_channel(bot, NOTIFY))[THERE]
    if kind is DM:
        await bot.record(claim, Notified())
        claim = await bot.claim_one(DM)

    await bot.record(claim, GiveUp())

    reload = await bot.reload(ready.id)
    assert (reload.state, reload.undeliverable) == (State.NOTIFYING, True)
    await bot.elapse(LEASE)
    await bot.notify()
    reload = await bot.reload(ready.id)
    assert (reload.state, reload.undeliverable) == (State.DONE, True)
    assert [row[1] is None for row in await bot.rows(subscribers.c.id, subscribers.c.notified_at)] == [False, True]


async def test_a_notification_that_could_not_say_how_it_ended_is_undeliverable(bot: Bot) -> None:
    """The reload says so for good."""
    ready = await bot.ready(request())
    await bot.record(await bot.claim_one(NOTIFY), Notified([1], uncertain=True))

    reload = await bot.reload(ready.id)
    assert (reload.state, reload.undeliverable) == (State.DONE, True)


async def test_the_uses_of_a_response_url_are_counted(bot: Bot) -> None:
    """Each message that went through it is one."""
    await bot.ready(request(), request())
    await bot.record(await bot.claim_one(STATUS), Done(2))
    await bot.record(await bot.claim_one(NOTIFY), Notified([1, 2], 2))

    assert await bot.rows(subscribers.c.id, subscribers.c.response_url_uses) == [(1, 0), (2, 2)]


# Status messages


async def test_a_status_job_that_rests_is_due_once_its_channel_is_notified(bot: Bot) -> None:
    """For its last word: in this channel, and no other; also where the notification was given up."""
    await bot.ready(request(channel=HERE), request(channel=THERE))
    for status in await bot.claim(STATUS):
        await bot.record(status, Reschedule(status_ts="1700.1", until_notified=True))
    assert await bot.due_in(STATUS) is None
    claims = await by_channel(bot, NOTIFY)

    await bot.record(claims[HERE], Notified(ids(claims[HERE])))
    assert (await bot.claim_one(STATUS)).job.channel_id == HERE
    await bot.record(claims[THERE], GiveUp())

    status = await bot.claim_one(STATUS)
    assert (status.job.channel_id, status.notified, status.job.first_tried_at) == (THERE, True, bot.clock.now)


async def test_a_status_job_that_runs_while_its_channel_is_notified_is_due_at_once(bot: Bot) -> None:
    """It keeps its lease meanwhile; what does not wait for the notification rests as long as it says."""
    await bot.ready(request())
    status = await bot.claim_one(STATUS)
    await bot.notify()
    assert await bot.due_in(STATUS) == LEASE

    await bot.record(status, Reschedule(20.0, status_ts="1700.1", until_notified=True))

    status = await bot.claim_one(STATUS)
    await bot.record(status, Reschedule(600.0))
    assert await bot.rows(jobs.c.due_at, jobs.c.status_ts) == [(bot.clock.now + 600.0, "1700.1")]


async def test_a_notification_by_dm_wakes_no_status_job(bot: Bot) -> None:
    """Its channel was notified before, as far as it could be."""
    await bot.ready(request())
    await bot.record(await bot.claim_one(NOTIFY), Notified())
    await bot.record(await bot.claim_one(STATUS), Reschedule())

    await bot.record(await bot.claim_one(DM), Notified([1]))

    assert await bot.rows(jobs.c.kind, jobs.c.due_at) == [("status", math.inf)]


async def test_a_reminder_that_is_given_up_waits_for_the_next_reload(bot: Bot) -> None:
    """Nothing is said about the reload that it counts from."""
    done = await bot.done(request())
    await bot.database.run(requests.remind, "U0ADA", done.id, HERE)
    await bot.run(lambda connection: connection.execute(update(jobs).values(due_at=0.0)).rowcount)

    await bot.record(await bot.claim_one(REMINDER), GiveUp())

    assert await bot.rows(jobs.c.kind, jobs.c.due_at, jobs.c.crashes) == [("reminder", REST, 0)]
    assert await bot.reload(done.id) == done
