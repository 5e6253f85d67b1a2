"""What is listed, what is kept for the audit, and what is deleted in the end."""

import pytest

from bot.core.models import DAY, JobKind
from bot.errors import Failure
from bot.storage import history, reminders
from bot.storage.history import Note
from bot.storage.outcomes import Done, Failed
from tests.storage.support import Bot, outside, request


async def test_reloads_are_listed(bot: Bot) -> None:
    """What runs, the oldest first, until everyone is notified; what has ended, the last first; no more than wanted."""
    for model in ("sdxl", "flux", "sdxl", "anything"):
        await bot.done(request(model), request(model, user="U0BEN"))
    await bot.accepted(*(request("accepted", user=user) for user in ("U0ADA", "U0BEN", "U0ADA")))
    await bot.elapse(1.0)
    await bot.record(await bot.called(request("failed")), Failed(Failure.UNKNOWN_MODEL))
    await bot.elapse(1.0)
    await bot.ask(request("requested"))

    listed, count = await bot.run(history.running, 10)
    recent = await bot.run(history.recent, 3)

    assert [(one.reload.model_id, one.people) for one in listed] == [("accepted", 2), ("failed", 1), ("requested", 1)]
    assert (count, listed[0].now) == (3, bot.clock.now)
    assert await bot.run(history.running, 1) == (listed[:1], 3)
    assert [(one.reload.model_id, one.people) for one in recent] == [("anything", 2), ("sdxl", 2), ("flux", 2)]
    assert await bot.run(history.known_models, 3) == ["accepted", "anything", "sdxl"]


async def test_what_ended_long_ago_is_deleted_in_parts(bot: Bot, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that belongs to it, and the audit's lines of then; what runs, or ended lately, stays."""
    monkeypatch.setattr(history, "PRUNED_AT_ONCE", 2)
    for model in range(3):
        await bot.done(request(f"old-{model}"))
    await bot.accepted(request("running"), ready_in=1000 * DAY)
    await bot.run(history.add_note, Note("U0EVE", "T0HOME", "C0OPS", "flux", "not_allowed", "ALLOWED_USERS"))
    await bot.elapse(90 * DAY + 1.0)
    await bot.done(request("young"))

    assert [await bot.run(history.prune, 90) for _ in range(4)] == [(2, 2), (1, 2), (0, 1), (0, 0)]
    assert outside(url, "SELECT model_id FROM reload_model_reloads ORDER BY model_id") == [("running",), ("young",)]
    assert outside(url, "SELECT text FROM reload_model_audit") == [("young",)]
    assert await bot.counts() == (2, 2, 1)


async def test_a_reload_with_a_job_left_is_not_deleted(bot: Bot) -> None:
    """Not while a reminder counts from it, nor before its status message is closed, however long ago it ended."""
    await bot.remind((await bot.done(request("reminded"))).id)
    await bot.accepted(request("unclosed"), ready_in=0.0)
    await bot.notify()
    await bot.elapse(90 * DAY)

    assert (await bot.run(history.prune, 1))[0] == 0
    await bot.record(await bot.claim_one(JobKind.STATUS), Done())
    assert (await bot.run(history.prune, 1))[0] == 1
    await bot.run(reminders.stop, "U0ADA", "reminded")
    assert (await bot.run(history.prune, 1))[0] == 1
