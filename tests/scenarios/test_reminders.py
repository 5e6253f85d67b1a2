"""Reminders, from the button to the direct message, in the running bot."""

import asyncio

import pytest

from bot.core.timing import Timing
from bot.errors import Failure
from bot.sandbox.modelslab import error
from bot.storage import history, reminders
from bot.storage.requests import Request
from bot.ui import messages
from bot.ui.reasons import FAILURES
from tests.answers import Held, Raw
from tests.scenarios.scenario import ADA, BEN, FAILED, MODELS, OPS, READY, Scenario, mentioned

pytestmark = pytest.mark.parametrize("mode", ["socket"])

REMINDED = "`sdxl` was reloaded 6 days ago"
_RESTS = "SELECT due_at > 1e100 FROM reload_model_jobs WHERE kind = 'reminder'"


@pytest.fixture
async def reminding(bot: Scenario) -> Scenario:
    """A scenario in which Ada is to be reminded of a model that was reloaded."""
    await bot.ask("sdxl")
    await bot.wait_done()
    assert await bot.requests.write(reminders.add, ADA, bot.last_id, MODELS) is not None
    return bot


def _six_days_later(scenario: Scenario) -> None:
    scenario.sql("UPDATE reload_model_reloads SET ready_at = ready_at - 6 * 86400")
    scenario.sql("UPDATE reload_model_jobs SET due_at = due_at - 6 * 86400 WHERE kind = 'reminder'")
    scenario.worker.wake()


async def test_a_reminder(reminding: Scenario) -> None:
    """It comes as a DM, once, and waits for the next reload then."""
    _six_days_later(reminding)
    dm = await reminding.wait_said(REMINDED)
    await reminding.wait_sql(_RESTS)

    assert (dm.via, dm.user) == ("dm", ADA)
    assert [reminder.due_at for reminder in await reminding.reminders(ADA)] == [None]
    await reminding.ask("sdxl", BEN)
    await reminding.wait_done(2)
    (reminder,) = await reminding.reminders(ADA)
    assert reminder.due_at is not None
    assert len(reminding.said(REMINDED)) == 1


async def test_a_reminder_outlives_the_process(reminding: Scenario) -> None:
    """What fell due while the bot was down comes late, and says how late."""
    await reminding.shut()
    reminding.sql("UPDATE reload_model_reloads SET ready_at = ready_at - 9 * 86400")
    reminding.sql("UPDATE reload_model_jobs SET due_at = due_at - 9 * 86400 WHERE kind = 'reminder'")
    await reminding.open()

    dm = await reminding.wait_said("`sdxl` was reloaded 9 days ago")
    assert "it may have been unloaded by now" in dm.text


async def test_a_reminder_is_tried_again(reminding: Scenario) -> None:
    """It meets the same faults as any message."""
    reminding.slack.fail("conversations.open", Raw(500, b""), times=2)
    _six_days_later(reminding)
    await reminding.wait_said(REMINDED)

    assert len(reminding.log.of("job_failed")) == 2


@pytest.mark.parametrize("how", ["for good", "for long"])
async def test_a_reminder_that_reaches_nobody(reminding: Scenario, how: str) -> None:
    """It is given up loudly, waits for the next reload, and is no fault of the reload's."""
    reminding.hurry(post_give_up=0.2)
    await reminding.reopen()
    reminding.slack.fail("conversations.open", "user_disabled" if how == "for good" else Raw(500, b""))
    _six_days_later(reminding)
    lost = await reminding.log.wait_for("undeliverable")
    await reminding.wait_sql(_RESTS)

    assert (lost["level"], lost["users"]) == ("error", [ADA])
    assert reminding.sql("SELECT undeliverable FROM reload_model_reloads") == [(0,)]
    reminding.slack.heal()
    await reminding.ask("sdxl", BEN)
    await reminding.wait_done(2)
    assert [reminder.due_at is None for reminder in await reminding.reminders(ADA)] == [False]


async def test_a_reminder_that_cannot_be_worded(reminding: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up after eight tries."""

    def poisoned(*_: object) -> messages.Message:
        raise ArithmeticError("no words")

    monkeypatch.setattr("bot.ui.messages.reminder", poisoned)
    _six_days_later(reminding)
    lost = await reminding.log.wait_for("undeliverable")
    await reminding.wait_sql(_RESTS)

    assert (lost["reason"], len(reminding.log.of("job_crashed"))) == ("crashes", 8)
    reminding.mishaps = True


async def test_a_reminder_taken_back_in_the_last_moment(reminding: Scenario) -> None:
    """Nothing is left of it, whatever became of the message."""
    held = asyncio.Event()
    reminding.slack.fail("conversations.open", Held(held), times=1)
    _six_days_later(reminding)
    await reminding.wait_job("reminder")

    assert await reminding.requests.write(reminders.stop, ADA, "sdxl")
    held.set()
    await reminding.log.wait_for("lease_lost")
    assert await reminding.reminders(ADA) == []
    assert not await reminding.requests.write(reminders.stop, ADA, "sdxl")


async def test_joining_by_a_press(bot: Scenario) -> None:
    """Who joins a reload from another channel gets a status and the follow-up there."""
    await bot.open_slowly()
    await bot.ask("sdxl", ADA, MODELS)
    await bot.wait_said("is reloading")
    joined = await bot.requests.join(Request("press#1", BEN, OPS, "sdxl", "", button="press"), bot.last_id)
    await bot.wait_done()

    assert joined is not None
    assert (joined.joined, joined.first.user_id) == (True, ADA)
    assert [mentioned(message.text) for message in bot.said(READY, channel=OPS)] == [[BEN]]
    assert await bot.requests.read(history.known_models, 100) == ["sdxl"]


# --- did you mean ---------------------------------------------------------------------------------------


async def _refused(bot: Scenario) -> str:
    """The failure message for a model that ModelsLab doesn't know."""
    bot.modelslab.answer("sdxl", error(200, "Model not found: sdxl"))
    await bot.ask("sdxl")
    told = await bot.wait_said(FAILED)
    await bot.wait_done()
    return told.text


async def test_near_ids_are_offered(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most three valid IDs other than the failed one, the most similar first."""

    async def nearest(model_id: str) -> list[str]:
        return [model_id, "sd-xl", "no id", "sd-xl", "<!channel>", "sdxl2", "org/sdxl", "sdx"]

    monkeypatch.setattr(bot.worker._jobs, "_similar", nearest)  # noqa: SLF001 - stands for the lists of models

    assert "Did you mean `sd-xl`, `sdxl2` or `org/sdxl`?" in await _refused(bot)


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_a_failure_waits_for_no_near_ids(bot: Scenario, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If they can't be found in time, the failure comes without them."""

    async def nearest(_: str) -> list[str]:
        if how == "fails":
            raise ArithmeticError("no list")
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(bot.worker._jobs, "_similar", nearest)  # noqa: SLF001 - stands for the lists of models
    monkeypatch.setattr(bot.worker._jobs, "_timing", Timing(suggestions=0.1))  # noqa: SLF001

    assert FAILURES[Failure.UNKNOWN_MODEL].fix in await _refused(bot)
    assert len(bot.log.of("no_similar_models")) == 1
