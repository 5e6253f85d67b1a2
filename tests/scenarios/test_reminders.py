"""Reminders, from the follow-up to the direct message."""

import asyncio

import pytest

from bot.storage import reminders
from tests.answers import Held, Raw
from tests.scenarios.scenario import ADA, BEN, MODELS, READY, Scenario, labels

REMINDED = "`sdxl` was reloaded 6 days ago"
_RESTS = "SELECT due_at > 1e100 FROM reload_model_jobs WHERE kind = 'reminder'"


@pytest.fixture
async def reminding(bot: Scenario) -> Scenario:
    """A scenario in which Ada is to be reminded of a model that was reloaded. She has pressed twice."""
    await bot.ask("sdxl")
    follow_up = await bot.wait_said(READY)
    await bot.wait_done()
    await asyncio.gather(*(bot.slack.press(follow_up, "Remind me before it's unloaded", user=ADA) for _ in range(2)))
    await bot.wait_said("I'll remind you", "`sdxl`", n=2)
    assert follow_up.thread_ts is not None
    assert [answer.thread_ts for answer in bot.said("I'll remind you")] == [None, None]  # not all have it open
    return bot


def _pass_days(scenario: Scenario, days: int = 6) -> None:
    scenario.sql("UPDATE reload_model_reloads SET ready_at = ready_at - ? * 86400", days)
    scenario.sql("UPDATE reload_model_jobs SET due_at = due_at - ? * 86400 WHERE kind = 'reminder'", days)


async def test_a_reminder_comes_once(reminding: Scenario) -> None:
    """As a DM on the sixth day. The model can be reloaded from it, where the follow-up was; then it comes again."""
    _pass_days(reminding)
    reminding.worker.wake()
    reminder = await reminding.wait_said(REMINDED, "ModelsLab will unload it within a day")
    await reminding.wait_sql(_RESTS)

    assert (reminder.via, reminder.user) == ("dm", ADA)
    assert labels(reminder) == ["Reload now", "Stop reminding"]
    await reminding.slack.press(reminder, "Reload now", user=ADA)
    await reminding.wait_said("`sdxl`", READY, channel=MODELS, n=2)
    await reminding.wait_done(2)
    assert reminding.sql(_RESTS) == [(0,)]
    assert len(reminding.said(REMINDED)) == 1
    await reminding.slack.press(reminder, "Stop reminding", user=ADA)
    await reminding.wait_said("no more reminders")
    assert reminding.sql(_RESTS) == []


async def test_a_reminder_outlives_the_process(reminding: Scenario) -> None:
    """What fell due while the bot was down comes late, and says how late. It is tried again, as any message is."""
    await reminding.shut()
    _pass_days(reminding, 9)
    reminding.slack.fail("conversations.open", Raw(500, b""), times=2)
    await reminding.open()

    dm = await reminding.wait_said("`sdxl` was reloaded 9 days ago")
    assert "it may have been unloaded by now" in dm.text
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


async def test_a_reminder_shows_and_is_stopped_in_the_home_tab(reminding: Scenario) -> None:
    """Only the person who set it sees it."""
    stop = "Stop reminding me about sdxl"
    mine, theirs = [await reminding.open_home(user, "`sdxl`") for user in (ADA, BEN)]
    assert [stop in labels(tab) for tab in (mine, theirs)] == [True, False]
    await reminding.slack.press(mine, stop, user=ADA)
    await reminding.slack.wait_home(ADA, lambda home: stop not in labels(home))
    assert reminding.sql(_RESTS) == []


async def test_a_reminder_taken_back_in_the_last_moment(reminding: Scenario) -> None:
    """Nothing is left of it, whatever became of the message."""
    held = asyncio.Event()
    reminding.slack.fail("conversations.open", Held(held), times=1)
    _pass_days(reminding)
    reminding.worker.wake()
    await reminding.wait_job("reminder")

    assert await reminding.store.change(reminders.stop, ADA, "sdxl")
    held.set()
    await reminding.log.wait_for("lease_lost")
    assert reminding.sql(_RESTS) == []
    assert not await reminding.store.change(reminders.stop, ADA, "sdxl")
