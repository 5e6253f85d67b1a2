"""Jobs that no scenario gets to: many bars at once, and a reminder that is early."""

from dataclasses import replace
from unittest.mock import create_autospec

import pytest

from bot.core.access import Allowlist
from bot.core.grants import AccessClaim, AccessRequest, Claimed, RequestState
from bot.core.models import DAY, REMIND_AFTER, JobKind, Stage
from bot.modelslab.client import ModelsLab
from bot.storage.outcomes import Reschedule, RetryIn
from bot.ui import messages
from bot.worker import jobs
from bot.worker.delivery import Delivered, Delivery
from bot.worker.jobs import EDITS_PER_MINUTE, Jobs
from tests.samples import ACCEPTED, ADA, NOON, claim, job, subscriber

ASKED = AccessRequest("r4x7", ADA, "", "sdxl", RequestState.OPEN, NOON + DAY)


@pytest.fixture
def delivery() -> Delivery:
    """A delivery that reaches everyone."""
    made: Delivery = create_autospec(Delivery, instance=True)
    vars(made)["take_turn"].return_value = 0.0
    return made


@pytest.fixture
def runner(delivery: Delivery) -> Jobs:
    """The jobs under test."""
    return Jobs(create_autospec(ModelsLab), delivery, create_autospec(lambda _: []), 120.0, Allowlist((), ()))


async def test_all_bars_together_keep_slacks_limit(
    runner: Jobs, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move beyond it is left out, and the bar moves the next time."""
    seconds = 1000.0
    monkeypatch.setattr(jobs, "monotonic", lambda: seconds)
    status = claim(subscriber(), of=job(JobKind.STATUS), status_ts="1700.1")

    outcomes = [outcome for _ in range(EDITS_PER_MINUTE + 5) for outcome in await runner.run([status])]

    assert outcomes == [Reschedule(20.0, stage=Stage.WAITING)] * len(outcomes)
    edits = vars(delivery)["edit"]
    assert edits.await_count == EDITS_PER_MINUTE
    seconds += 60.0
    await runner.run([status])
    assert edits.await_count == EDITS_PER_MINUTE + 1


@pytest.mark.parametrize(
    "waiting",
    [
        claim(subscriber(), of=job(JobKind.DM, subscriber_id=1)),
        claim(of=job(JobKind.REMINDER, user_id=ADA), now=NOON + 9 * DAY),
        AccessClaim(job(JobKind.ACCESS_ANSWER, user_id=ADA), ASKED, NOON),
        AccessClaim(job(JobKind.ACCESS_REQUEST), ASKED, NOON),
    ],
    ids=lambda waiting: waiting.job.kind,
)
async def test_a_direct_message_waits_for_its_turn(runner: Jobs, delivery: Delivery, waiting: Claimed) -> None:
    """Slack's limit counts there as in any channel."""
    vars(delivery)["take_turn"].return_value = 0.7

    assert await runner.run([waiting]) == [RetryIn(0.7)]


async def test_a_message_for_several_models_names_the_time_of_the_first(runner: Jobs, delivery: Delivery) -> None:
    """In whatever order they were claimed."""
    vars(delivery)["to_channel"].return_value = Delivered(ts="1700.2")
    later = replace(ACCEPTED, id="later", model_id="flux", ready_at=(ACCEPTED.ready_at or 0.0) + 60.0)
    first = claim(subscriber(), of=job(JobKind.NOTIFY), now=NOON + 1000)
    await runner.run([replace(first, reload=later), first])
    message = vars(delivery)["to_channel"].await_args.args[1]

    assert message == messages.follow_up([ACCEPTED, later], [subscriber()], late=879.0)


async def test_a_reminder_that_is_early_waits_for_its_time(runner: Jobs, delivery: Delivery) -> None:
    """It was added while another replica recorded a later reload of the model."""
    due_at = (ACCEPTED.ready_at or 0.0) + REMIND_AFTER
    reminder = claim(of=job(JobKind.REMINDER, user_id=ADA), now=NOON)

    assert await runner.run([reminder]) == [Reschedule(due_at - NOON)]
    assert await runner.run([replace(reminder, now=due_at)]) == [Reschedule()]
    assert vars(delivery)["to_person"].await_count == 1
