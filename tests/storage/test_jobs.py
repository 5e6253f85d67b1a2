"""Jobs are claimed under a lease, and what came of them is recorded once."""

import pytest

from bot.core.models import REMIND_AFTER, Claim, JobKind, Stage, State
from bot.errors import Failure
from bot.storage import jobs as storage_jobs
from bot.storage.outcomes import Accepted, Done, Failed, Notified, Outcome, Reschedule, RetryIn
from bot.storage.schema import jobs, subscribers
from tests.storage.support import HERE, LEASE, READY_IN, THERE, Bot, request
from tests.times import set_timing

CALL, STATUS, NOTIFY, DM, REMINDER, *_ = JobKind


async def _by_channel(bot: Bot, kind: JobKind) -> dict[str, Claim]:
    return {claim.job.channel_id: claim for claim in await bot.claim(kind)}


async def test_what_is_guaranteed_is_claimed_before_what_is_best_effort(bot: Bot) -> None:
    """One by one as together; of one kind, the job that has been due the longest goes first."""
    await bot.remind((await bot.done(request("reminded"))).id)
    await bot.elapse(REMIND_AFTER)
    await bot.ready(request("a", channel=HERE), request("a", channel=THERE))
    await bot.record((await _by_channel(bot, NOTIFY))[HERE], Notified())
    await bot.elapse(LEASE)
    for model in ("b", "c"):
        await bot.ask(request(model))
        await bot.elapse(1.0)
    order = ["notify a", "dm a", "call b", "call c", "reminder reminded", "status a", "status a"]

    def shown(claim: Claim) -> str:
        return f"{claim.job.kind} {claim.reload.model_id}"

    assert [shown((await bot.claim(free=1))[0]) for _ in order] == order
    await bot.elapse(LEASE)
    assert [shown(claim) for claim in await bot.claim()] == [*order, "status b", "status c"]


async def test_a_job_can_be_claimed_again_when_its_lease_ends(bot: Bot, other: Bot) -> None:
    """Unless that is renewed. Until then it isn't due. It counts as a crash; time without a try doesn't count."""
    began = bot.clock.now
    call = await bot.called(request("renewed"))
    await bot.called(request("lost"))
    await bot.elapse(LEASE - 1.0)
    assert (await other.claim(CALL), await other.due_in(CALL), await other.due_in(DM)) == ([], 1.0, None)
    await bot.run(storage_jobs.renew, bot.owner, [call.job])
    await bot.elapse(LEASE - 1.0)

    claim = await other.claim_one(CALL)

    assert claim.reload.model_id == "lost"
    job = claim.job
    assert (job.fence, job.attempts, job.crashes, job.first_tried_at) == (2, 0, 1, began + LEASE - 2.0)


OUTCOMES: list[Outcome] = [
    Accepted(READY_IN),
    Failed(Failure.DOWN, "said", unknown=True),
    Notified([1], 1, undeliverable=True),
    RetryIn(1.0, unknown=True, attempts=1),
    RetryIn(1.0, unknown=True),
    Reschedule(1.0, status_ts="1700.1", stage=Stage.WAITING),
    Done(),
]


@pytest.mark.parametrize("since", ["claimed again", "claimed by another", "recorded"])
async def test_a_lost_lease_records_nothing(bot: Bot, other: Bot, since: str) -> None:
    """Nor can it be renewed. What was recorded without an answer is not recorded twice."""
    call = await bot.called(request())
    if since == "recorded":
        await bot.record(call, Accepted(READY_IN))
    else:
        await bot.elapse(LEASE)
        await (bot if since == "claimed again" else other).claim_one(CALL)
    before = await bot.everything()

    for outcome in OUTCOMES:
        await bot.record(call, outcome, lost=True)
    await bot.run(storage_jobs.renew, bot.owner, [call.job])

    assert await bot.everything() == before


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (RetryIn(30.0, attempts=1), (1, 0)),
        (RetryIn(30.0, unknown=True, attempts=1), (1, 0)),
        (RetryIn(30.0, unknown=True, crashes=1), (0, 1)),
        (RetryIn(30.0), (0, 0)),
        (RetryIn(30.0, unknown=True), (0, 0)),
    ],
)
async def test_a_job_is_due_again(bot: Bot, outcome: RetryIn, counts: tuple[int, int]) -> None:
    """A failure counts as an attempt, an error of the bot's own as a crash, an interruption as nothing."""
    call = await bot.called(request())

    await bot.record(call, outcome)

    assert (await bot.reload(call.reload.id)).outcome_unknown is outcome.unknown
    assert await bot.due_in(CALL) == 30.0
    await bot.elapse(30.0)
    job = (await bot.claim_one(CALL)).job
    assert (job.attempts, job.crashes) == counts
    assert (job.fence, job.first_tried_at) == (2, bot.clock.now - 30.0)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (NOTIFY, Notified([1], undeliverable=True)),
        (NOTIFY, Notified([1], 1)),
        (DM, Notified(undeliverable=True)),
        (DM, Notified([1], undeliverable=True)),
        (DM, Notified([1], 1)),
    ],
)
async def test_a_reload_ends_when_everyone_is_notified(bot: Bot, kind: JobKind, outcome: Notified) -> None:
    """In every channel. It says if somebody couldn't be, and the uses of a response_url are counted."""
    ready = await bot.ready(request(channel=HERE), request(channel=THERE))
    claims = await _by_channel(bot, NOTIFY)
    claim = claims[HERE]
    if kind is DM:
        await bot.record(claim, Notified())
        claim = await bot.claim_one(DM)

    await bot.record(claim, outcome)

    lost, now = outcome.undeliverable, bot.clock.now
    reload = await bot.reload(ready.id)
    assert (reload.state, reload.ended_at, reload.undeliverable) == (State.NOTIFYING, None, lost)
    await bot.record(claims[THERE], Notified([2]))
    reload = await bot.reload(ready.id)
    assert (reload.state, reload.ended_at, reload.undeliverable) == (State.DONE, now, lost)
    told = await bot.rows(subscribers.c.id, subscribers.c.notified_at, subscribers.c.response_url_uses)
    assert told == [(1, now if outcome.subscriber_ids else None, 0 if lost else 1), (2, now, 0)]


@pytest.mark.parametrize(
    ("came", "due"),
    [
        ([0.0, 1.9], [1.9, 1.9]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([0.0, 2.1], [0.0, 2.1]),
        ([0.0, 1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 4.0, 4.0]),
    ],
    ids=["soon", "at once", "too late", "one after another"],
)
async def test_a_follow_up_waits_a_moment_for_the_next_one_in_its_place(
    bot: Bot, came: list[float], due: list[float]
) -> None:
    """For two seconds at most, however many come after it, and in no other place, so that both become one message."""
    began = bot.clock.now
    for number, at in enumerate(came):
        await bot.elapse(began + at - bot.clock.now)
        await bot.accepted(request(f"model-{number}"), request(f"model-{number}", channel=f"C{number}"))
    rows = await bot.rows(jobs.c.kind, jobs.c.id, jobs.c.channel_id, jobs.c.due_at)
    after = [(channel, due_at - READY_IN - began) for kind, _, channel, due_at in rows if kind == NOTIFY]

    assert [at for channel, at in after if channel == HERE] == pytest.approx(due)
    assert [at for channel, at in after if channel != HERE] == pytest.approx(came)


async def test_a_call_that_its_owner_did_not_survive_is_not_repeated_too_soon(bot: Bot, other: Bot) -> None:
    """ModelsLab's spam filter would refuse it for half a minute; other jobs are taken over after ten seconds."""
    set_timing(lease=10.0)
    await bot.ask(request())
    await bot.elapse(20.0)
    for kind in (CALL, STATUS):
        assert len(await bot.claim(kind)) == 1
    await bot.elapse(10.0)
    assert [len(await other.claim(kind)) for kind in (CALL, STATUS)] == [0, 1]
    await bot.elapse(20.0)

    assert len(await other.claim(CALL)) == 1
