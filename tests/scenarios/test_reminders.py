"""Reminders, from the follow-up to the direct message."""

import asyncio

import pytest

from bot.storage import reminders
from tests.answers import Held, Raw
from tests.scenarios.scenario import ADA, BEN, MODELS, Scenario

REMINDED = "`sdxl` was reloaded 6 days ago"
_RESTS = "SELECT due_at > 1e100 FROM reload_model_jobs WHERE kind = 'reminder'"


@pytest.fixture
async def reminding(bot: Scenario) -> Scenario:
    """A scenario in which Ada is to be reminded of a model that was reloaded."""
    await bot.ask("sdxl")
    await bot.wait_done()
    assert await bot.requests.write(reminders.add, ADA, bot.last_id, MODELS) is not None
    return bot


def _pass_days(scenario: Scenario, days: int = 6) -> None:
    scenario.sql("UPDATE reload_model_reloads SET ready_at = ready_at - ? * 86400", days)
    scenario.sql("UPDATE reload_model_jobs SET due_at = due_at - ? * 86400 WHERE kind = 'reminder'", days)


async def test_a_reminder_comes_once(reminding: Scenario) -> None:
    """It comes as a DM, once, and waits for the next reload then."""
    _pass_days(reminding)
    reminding.worker.wake()
    dm = await reminding.wait_said(REMINDED)
    await reminding.wait_sql(_RESTS)

    assert (dm.via, dm.user) == ("dm", ADA)
    await reminding.ask("sdxl", BEN)
    await reminding.wait_done(2)
    assert reminding.sql(_RESTS) == [(0,)]
    assert len(reminding.said(REMINDED)) == 1


async def test_a_reminder_outlives_the_process(reminding: Scenario) -> None:
    """What fell due while the bot was down comes late, and says how late."""
    await reminding.shut()
    _pass_days(reminding, 9)
    await reminding.open()

    dm = await reminding.wait_said("`sdxl` was reloaded 9 days ago")
    assert "it may have been unloaded by now" in dm.text


async def test_a_reminder_is_tried_again(reminding: Scenario) -> None:
    """It meets the same faults as any message."""
    reminding.slack.fail("conversations.open", Raw(500, b""), times=2)
    _pass_days(reminding)
    reminding.worker.wake()
    await reminding.wait_said(REMINDED)

    assert len(reminding.log.of("job_failed")) == 2


async def test_a_reminder_that_reaches_nobody(reminding: Scenario) -> None:
    """The bot gives up and logs an error; the reminder waits for the next reload, and is no fault of the reload's."""
    reminding.slack.fail("conversations.open", "user_disabled")
    _pass_days(reminding)
    reminding.worker.wake()
    lost = await reminding.log.wait_for("undeliverable")
    await reminding.wait_sql(_RESTS)

    assert (lost["level"], lost["users"]) == ("error", [ADA])
    assert reminding.sql("SELECT undeliverable FROM reload_model_reloads") == [(0,)]
    reminding.slack.heal()
    await reminding.ask("sdxl", BEN)
    await reminding.wait_done(2)
    assert reminding.sql(_RESTS) == [(0,)]


async def test_a_reminder_taken_back_in_the_last_moment(reminding: Scenario) -> None:
    """Nothing is left of it, whatever became of the message."""
    held = asyncio.Event()
    reminding.slack.fail("conversations.open", Held(held), times=1)
    _pass_days(reminding)
    reminding.worker.wake()
    await reminding.wait_job("reminder")

    assert await reminding.requests.write(reminders.stop, ADA, "sdxl")
    held.set()
    await reminding.log.wait_for("lease_lost")
    assert reminding.sql(_RESTS) == []
    assert not await reminding.requests.write(reminders.stop, ADA, "sdxl")
