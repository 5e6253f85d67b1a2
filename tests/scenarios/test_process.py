"""The bot as a process: killed or stopped, it forgets nothing that it acknowledged."""

import asyncio
import json
import signal
from collections import Counter

from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import AcceptThenHang, Hang
from tests.scenarios.process import Machine
from tests.scenarios.scenario import ADA, FAILED, READY, Scenario, eventually


def _room(name: str) -> str:
    return f"C0{name.upper()}"


async def test_a_kill_in_the_middle_of_everything_loses_nothing(scenario: Scenario, machine: Machine) -> None:
    """Killed while each reload is at another step, the bot goes on with all of them; only one message is repeated.

    That is the one that Slack had taken and the bot had not yet recorded.
    """
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
    scenario.sql("UPDATE reload_model_jobs SET due_at = 0 WHERE kind = 'notify'")
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


async def test_a_refused_token_ends_the_bot(machine: Machine) -> None:
    """A token that Slack rejects ends the bot with 1 and one line, at CRITICAL, that names the setting and the fix."""
    machine.measured = True
    bot = machine.process(SLACK_BOT_TOKEN="xoxb-wrong")

    assert await bot.run() == 1
    (line,) = map(json.loads, bot.stderr.splitlines())
    assert (line["event"], line["level"]) == ("cannot_start", "critical")
    assert line["reason"] == (
        "SLACK_BOT_TOKEN: Slack rejects it (invalid_auth): copy it again from OAuth & Permissions on your app's page"
    )


async def test_wrong_settings_end_the_bot(machine: Machine) -> None:
    """With 2, and all of them on stderr, each with its fix."""
    machine.measured = True
    bot = machine.process(PORT="x", RELOAD_SECONDS="soon")

    assert await bot.run() == 2
    assert bot.stderr.startswith("Can't start. ")
    assert [name in bot.stderr for name in ("PORT", "RELOAD_SECONDS")] == [True, True]
