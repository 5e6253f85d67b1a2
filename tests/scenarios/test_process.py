"""Killed or stopped, the bot forgets nothing that it acknowledged, and does nothing twice that need not be."""

import asyncio
import json
import signal
import time
from collections import Counter

from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import AcceptThenHang, Hang, Held
from tests.scenarios.process import Machine
from tests.scenarios.scenario import ADA, BEN, FAILED, READY, Scenario, both_modes, eventually, mentioned
from tests.times import set_timing


def _room(name: str) -> str:
    return f"C0{name.upper()}"


async def test_a_kill_in_the_middle_of_everything_loses_nothing(scenario: Scenario, machine: Machine) -> None:
    """Each reload is at another step. Only the message that Slack took and the bot did not record is repeated."""
    rooms = {"failing": "no-such-model"} | {
        name: name for name in ("posting", "posted", "calling", "called", "queued", "waiting")
    }
    for room in rooms:
        scenario.slack.add_channel(_room(room), room)
    scenario.modelslab.answer("calling", Hang(), ACCEPTED)
    scenario.modelslab.answer("called", Hang(), error(400, "This model is too large"))
    posted = asyncio.Event()
    scenario.slack.fail("chat.postMessage", Hang(), times=1, channel=_room("failing"))
    bot = await machine.boot(MODELSLAB_CONCURRENCY="2", RELOAD_SECONDS="60")

    async def ask(*names: str) -> None:
        for name in names:
            await scenario.ask(rooms[name], channel=_room(name))

    await ask("posting", "posted", "waiting")
    await eventually(lambda: len(bot.of("status_posted")) == 3)
    await ask("failing")
    await scenario.modelslab.wait_for_calls(4)
    await ask("calling", "called", "queued")
    await scenario.modelslab.wait_for_calls(6)
    scenario.slack.fail("chat.postMessage", Hang(), times=1, channel=_room("posting"))
    scenario.slack.fail("chat.postMessage", AcceptThenHang(posted), times=1, channel=_room("posted"))
    due = "UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'notify' AND lease_owner IS NULL AND channel_id <> ?"
    scenario.sql(due, _room("waiting"))
    await posted.wait()
    await scenario.wait_sql("SELECT count(*) = 5 FROM reload_model_jobs WHERE lease_owner IS NOT NULL")
    running = scenario.sql("SELECT kind FROM reload_model_jobs WHERE lease_owner IS NOT NULL ORDER BY kind")
    assert [row[0] for row in running] == ["call"] * 2 + ["notify"] * 3
    await bot.kill()
    # A call's lease lasts until ModelsLab can be asked again.
    scenario.sql("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'notify' OR kind = 'call'")
    await machine.boot()
    await scenario.wait_done(7)

    endings = {name: scenario.said(f"<@{ADA}> `{model}`", channel=_room(name)) for name, model in rooms.items()}
    ready = {name: sum(READY in message.text for message in told) for name, told in endings.items()}
    assert ready == dict.fromkeys(rooms, 1) | {"failing": 0, "called": 0, "posted": 2}
    failed = {name: [message.text for message in told if FAILED in message.text] for name, told in endings.items()}
    assert {name: len(texts) for name, texts in failed.items() if texts} == {"failing": 1, "called": 1}
    assert "may already be reloading" in failed["called"][0]
    assert "may already be reloading" not in failed["failing"][0]
    calls = Counter(call.model_id for call in scenario.modelslab.calls)
    assert calls == {model: 2 if name in ("calling", "called") else 1 for name, model in rooms.items()}


async def test_a_signal_stops_the_bot(scenario: Scenario, machine: Machine) -> None:
    """It ends with 0, even while it waits for Slack. What it had acknowledged goes on at the next start."""
    machine.measured = True
    await scenario.slack.stop()
    bot = machine.process()
    await bot.start()
    await eventually(lambda: bot.of("slack_unavailable"))
    assert await machine.end(bot, signal.SIGTERM) == 0
    await scenario.slack.start()
    bot = await machine.boot()
    await scenario.ask("sdxl")
    await scenario.wait_said("is reloading")
    assert await machine.end(bot, signal.SIGTERM) == 0
    bot = await machine.boot()
    await scenario.wait_done()
    assert await machine.end(bot, signal.SIGINT) == 0

    assert len(scenario.said(READY)) == 1
    assert len(scenario.modelslab.calls) == 1


async def test_a_start_that_fails_says_why_and_how_to_fix_it(machine: Machine) -> None:
    """With 1 and one line, at CRITICAL, if Slack refuses; with 2, and all of them on stderr, if settings are wrong."""
    machine.measured = True
    bot = machine.process(SLACK_BOT_TOKEN="xoxb-wrong")
    assert await bot.run() == 1
    (line,) = map(json.loads, bot.stderr.splitlines())
    assert (line["event"], line["level"]) == ("cannot_start", "critical")
    assert line["reason"] == (
        "SLACK_BOT_TOKEN: Slack rejects it (invalid_auth): copy it again from OAuth & Permissions on your app's page"
    )

    bot = machine.process(PORT="x", RELOAD_SECONDS="soon")
    assert await bot.run() == 2
    assert bot.stderr.startswith("Can't start. ")
    assert [name in bot.stderr for name in ("PORT", "RELOAD_SECONDS")] == [True, True]


async def test_a_call_that_hangs_does_not_keep_the_bot_from_stopping(bot: Scenario) -> None:
    """Nor does a database. The call is made again later, and if it is refused, the first one may have worked."""
    bot.modelslab.answer("sdxl", Hang(), ACCEPTED)
    bot.modelslab.answer("large", Hang(), error(400, "This model is too large"))
    set_timing(call_retry=60.0)
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

    bot.modelslab.answer("flux", Hang(), ACCEPTED)
    await bot.ask("flux")
    await bot.modelslab.wait_for_calls(5)
    with bot.locked():
        await bot.shut()
    bot.sql("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'call'")
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
    set_timing(stop=30.0)
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
