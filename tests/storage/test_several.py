"""Several models by one command, and follow-ups that are due together."""

from dataclasses import replace

import pytest

from bot.core.models import JobKind, Place
from bot.core.outcomes import Accepted
from bot.errors import Refusal, Refused
from bot.storage import requests
from bot.storage.requests import Limits, Requested
from bot.storage.schema import jobs
from tests.storage.support import HERE, READY_IN, THERE, Bot, request


async def test_each_model_is_started_joined_or_refused(bot: Bot) -> None:
    """In the order in which they were asked for, and in one transaction."""
    await bot.ask(request("flux", user="U0BEN"))
    asked = [request("sdxl"), request("flux"), request("zephyr")]
    answers = await bot.run(requests.ask_each, asked, Limits(in_flight=2))

    assert [(answer.reload.model_id, answer.joined) for answer in answers if isinstance(answer, Requested)] == [
        ("sdxl", False),
        ("flux", True),
    ]
    assert isinstance(answers[2], Refused)
    assert answers[2].reason is Refusal.TOO_MANY_IN_FLIGHT


@pytest.mark.parametrize(
    ("apart", "together"),
    [(1.9, True), (0.0, True), (2.1, False)],
)
async def test_a_follow_up_waits_a_moment_for_the_next_one_in_its_place(
    bot: Bot, apart: float, *, together: bool
) -> None:
    """For two seconds at most, and in no other place, so that both become one message."""
    first = await bot.accepted(request("sdxl"), request("sdxl", channel=THERE))
    await bot.elapse(apart)
    second = await bot.accepted(request("flux"))
    due = await bot.rows(jobs.c.channel_id, jobs.c.kind, jobs.c.due_at)

    ready = [first.ready_at, second.ready_at]
    assert [at for channel, kind, at in due if (channel, kind) == (THERE, JobKind.NOTIFY)] == ready[:1]
    assert [at for channel, kind, at in due if (channel, kind) == (HERE, JobKind.NOTIFY)] == (
        [second.ready_at] * 2 if together else ready
    )


async def test_a_follow_up_never_waits_longer_than_its_moment(bot: Bot) -> None:
    """However many come after it."""
    first = await bot.accepted(request("model-0"))
    for number in range(1, 6):
        await bot.elapse(1.0)
        await bot.accepted(request(f"model-{number}"))
    due = await bot.rows(jobs.c.kind, jobs.c.due_at)

    assert min(at for kind, at in due if kind == JobKind.NOTIFY) == (first.ready_at or 0.0) + 2.0


async def test_a_thread_is_a_place_of_its_own(bot: Bot) -> None:
    """With a status and a follow-up beside those of its channel."""
    await bot.ask(request("sdxl"))
    await bot.ask(replace(request("sdxl", user="U0BEN"), thread_ts="1700.1"))
    await bot.record(await bot.claim_one(JobKind.CALL), Accepted(READY_IN))
    await bot.elapse(READY_IN)
    claims = await bot.claim(JobKind.NOTIFY)

    assert {claim.job.place: [one.user_id for one in claim.recipients] for claim in claims} == {
        Place(HERE): ["U0ADA"],
        Place(HERE, "1700.1"): ["U0BEN"],
    }
