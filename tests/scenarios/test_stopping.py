"""Stopping and starting: nothing is lost, and nothing is done twice that need not be."""

import asyncio
import time

from bot.core.timing import Timing
from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import Hang, Held
from tests.scenarios.scenario import ADA, BEN, FAILED, READY, Scenario, both_modes, mentioned


async def test_a_call_that_hangs_does_not_keep_the_bot_from_stopping(bot: Scenario) -> None:
    """It is broken off, and made again later. If that is refused, people read that the first may have worked.

    Nor does a database that is away.
    """
    bot.modelslab.answer("sdxl", Hang(), ACCEPTED)
    bot.modelslab.answer("large", Hang(), error(400, "This model is too large"))
    bot.set_timing(call_retry=60.0)
    await bot.reopen()
    await bot.ask("sdxl large")
    await bot.modelslab.wait_for_calls(2)
    await bot.shut()

    calls = "SELECT lease_owner, crashes, due_at > ? FROM reload_model_jobs WHERE kind = 'call'"
    left = bot.sql(calls, time.time() + 20)
    assert left == [(None, 0, 1), (None, 0, 1)]
    bot.sql("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'call'")
    await bot.open()
    await bot.wait_done(2)
    assert [mentioned(message.text) for message in bot.said(READY)] == [[ADA]]
    assert "may already be reloading" in bot.said(FAILED)[0].text
    assert len(bot.modelslab.calls) == 4
    assert Timing().stop < Timing().exit < 10.0  # Docker kills 10 seconds after its signal

    bot.modelslab.answer("flux", Hang(), ACCEPTED)
    await bot.ask("flux")
    await bot.modelslab.wait_for_calls(5)
    with bot.locked():
        await bot.shut()
    bot.set_timing(call_retry=0.05)
    await bot.open()
    await bot.wait_said(READY, "`flux`")


async def test_a_follow_up_due_while_the_bot_was_down_comes_late(slow: Scenario) -> None:
    """It goes out at once, and says that it is late. One that is not yet due comes in its time, and is not late."""
    await slow.ask("sdxl flux")
    posted = "SELECT count(*) = 2 FROM reload_model_jobs WHERE status_ts <> '' AND lease_owner IS NULL"
    await slow.wait_sql(posted)
    await slow.shut()
    sdxl = "(SELECT id FROM reload_model_reloads WHERE model_id = 'sdxl')"
    slow.sql(f"UPDATE reload_model_reloads SET ready_at = ready_at - 90 WHERE id = {sdxl}")  # noqa: S608 - words of ours
    slow.sql(f"UPDATE reload_model_jobs SET due_at = due_at - 90 WHERE reload_id = {sdxl}")  # noqa: S608 - as above
    due = slow.sql("SELECT max(due_at) FROM reload_model_jobs WHERE kind = 'notify'")
    await slow.open()
    told = await slow.wait_said(READY)
    await slow.wait_sql("SELECT count(*) = 1 FROM reload_model_jobs WHERE kind = 'notify'")

    assert "`sdxl` should be ready now. Sorry, this is late: it was due at <!date^" in told.text
    assert slow.sql("SELECT due_at FROM reload_model_jobs WHERE kind = 'notify'") == due
    await slow.pass_reloads()
    assert (await slow.wait_said(READY, n=2)).text == f"<@{ADA}> `flux` should be ready now."
    assert len(slow.modelslab.calls) == 2


@both_modes
async def test_a_command_while_the_bot_stops_is_carried_out_later(bot: Scenario) -> None:
    """By the next start; the call that ended meanwhile is not made again. /readyz says 503."""
    bot.set_timing(stop=30.0)
    await bot.reopen()
    held = asyncio.Event()
    bot.modelslab.answer("slow", Held(held), ACCEPTED)
    await bot.ask("slow")
    await bot.modelslab.wait_for_calls(1)
    assert bot.app is not None
    stopping = asyncio.create_task(bot.app.stop())
    await bot.log.wait_for("stopping", 2)
    status, parts = await bot.health("/readyz")
    ack = await bot.ask("sdxl", BEN)
    held.set()
    await stopping
    assert (status, parts["process"]) == (503, "stopping")
    assert "Reloading" in ack.text
    assert [call.model_id for call in bot.modelslab.calls] == ["slow"]
    await bot.open()
    await bot.wait_done(2)

    assert [mentioned(message.text) for message in bot.said(READY, "`sdxl`")] == [[BEN]]
    assert [call.model_id for call in bot.modelslab.calls] == ["slow", "sdxl"]
