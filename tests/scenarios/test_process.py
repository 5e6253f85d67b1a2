"""The bot as a process: killed at any moment and started again, it forgets nothing that it acknowledged."""

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.sandbox.modelslab import ACCEPTED, error
from bot.sandbox.workspace import Message
from tests.answers import Hang
from tests.scenarios.process import Machine
from tests.scenarios.scenario import (
    ADA,
    FAILED,
    MODELS,
    READY,
    AcceptThenHang,
    Scenario,
    eventually,
)

if TYPE_CHECKING:
    from bot.sandbox.slack import Ack


@pytest.fixture
def mode() -> str:
    """What is not marked otherwise runs in Socket Mode."""
    return "socket"


@pytest.fixture
async def machine(scenario: Scenario, tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine on which nothing runs yet."""
    scenario.slack.ack_seconds = 2.0
    machine = Machine(scenario, tmp_path)
    yield machine
    await machine.check()


# --- kill -9 --------------------------------------------------------------------------------------------


async def test_killed_in_the_middle_of_everything(scenario: Scenario, machine: Machine) -> None:
    """Killed while each reload is at another step, the bot goes on with all of them; only one message is repeated.

    That is the one that Slack had taken and the bot had not yet recorded.
    """
    rooms = {"telling": "no-such-model"} | {
        name: name for name in ("posting", "posted", "calling", "called", "queued", "waiting")
    }
    for room in rooms:
        scenario.slack.add_channel(_room(room), room)
    scenario.modelslab.answer("calling", Hang(), ACCEPTED)
    scenario.modelslab.answer("called", Hang(), error(400, "This model is too large"))
    posted = asyncio.Event()
    scenario.slack.fail("chat.postMessage", Hang(), times=1, channel=_room("telling"))
    bot = await machine.boot(MODELSLAB_CONCURRENCY="2")

    async def ask(*names: str) -> None:
        for name in names:
            await scenario.ask(rooms[name], channel=_room(name))

    await ask("telling", "posting", "posted")
    await eventually(lambda: len(bot.of("status_posted")) == 2)
    scenario.slack.fail("chat.postMessage", Hang(), times=1, channel=_room("posting"))
    scenario.slack.fail("chat.postMessage", AcceptThenHang(posted), times=1, channel=_room("posted"))
    await posted.wait()
    await ask("waiting")
    await eventually(lambda: len(bot.of("status_posted")) == 3)
    await ask("calling", "called", "queued")
    await scenario.modelslab.wait_for_calls(6)
    in_hand = scenario.sql("SELECT kind FROM reload_model_jobs WHERE lease_owner IS NOT NULL ORDER BY kind")
    assert [*["call"] * 2, *["notify"] * 3] == [row[0] for row in in_hand]
    await bot.kill()
    await machine.boot()
    await scenario.wait_done(7)

    endings = {name: [*_endings(scenario, READY, name), *_endings(scenario, FAILED, name)] for name in rooms}
    assert {name: len(told) for name, told in endings.items()} == {**dict.fromkeys(rooms, 1), "posted": 2}
    calls = Counter(call.model_id for call in scenario.modelslab.calls)
    assert calls == {model: 2 if name in ("calling", "called") else 1 for name, model in rooms.items()}
    assert all(_endings(scenario, READY, name) for name in rooms if name not in ("telling", "called"))
    assert "may already be reloading" in _endings(scenario, FAILED, "called")[0].text
    assert "may already be reloading" not in _endings(scenario, FAILED, "telling")[0].text


def _endings(scenario: Scenario, words: str, name: str) -> list[Message]:
    return scenario.said(words, f"<@{ADA}>", channel=_room(name))


def _room(name: str) -> str:
    return f"C0{name.upper()}"


async def test_killed_at_random(scenario: Scenario, machine: Machine) -> None:
    """Killed three times at random among 24 reloads, the bot tells everyone whom it had acknowledged."""
    chance = random.Random(20)  # noqa: S311 - the same moments in every run
    channels = [f"C0ROOM{number}" for number in range(8)]
    for channel in channels:
        scenario.slack.add_channel(channel, channel.lower())
    acks: list[tuple[str, str, Ack]] = []

    async def ask(model: str, channel: str) -> None:
        await asyncio.sleep(chance.uniform(0.0, 0.8))
        acks.append((model, channel, await scenario.slack.command(model, channel=channel)))

    for round_ in range(3):
        bot = await machine.boot()
        requests = asyncio.gather(*(ask(f"model-{round_}-{n}", channel) for n, channel in enumerate(channels)))
        await asyncio.sleep(chance.uniform(0.1, 1.2))
        await bot.kill()
        await requests
    await machine.boot()
    acknowledged = [(model, channel) for model, channel, ack in acks if not ack.error]
    await scenario.slack.wait_until(lambda: all(_told(scenario, *each) for each in acknowledged), within=20)
    await scenario.wait_done(within=20)

    assert len(acks) == 24
    assert len(acknowledged) >= 12
    assert max(Counter(call.model_id for call in scenario.modelslab.calls).values()) <= 4
    assert max(Counter((told.channel, told.text) for told in scenario.said(READY)).values()) <= 4


def _told(scenario: Scenario, model: str, channel: str) -> bool:
    return bool(scenario.said(f"<@{ADA}>", f"`{model}`", READY, channel=channel))


# --- SIGTERM --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_told_to_stop(scenario: Scenario, machine: Machine, number: signal.Signals) -> None:
    """Told to stop, the bot ends with 0, and what it had acknowledged goes on at the next start."""
    bot = await machine.boot()
    await scenario.ask("sdxl")
    await scenario.wait_said("is reloading")
    code, seconds = await machine.end(bot, number)
    await machine.boot()
    await scenario.wait_done()

    assert code == 0
    assert seconds < 4.0
    assert len(scenario.said(READY)) == 1
    assert len(scenario.modelslab.calls) == 1


@pytest.mark.parametrize("mode", ["http"])
async def test_told_to_stop_with_a_call_that_hangs(scenario: Scenario, machine: Machine) -> None:
    """With a call running that hangs, the bot ends within the 10 seconds that Docker gives, with 0 and a free lease."""
    scenario.modelslab.answer("sdxl", Hang(), ACCEPTED)
    bot = await machine.boot()
    await scenario.ask("sdxl")
    await scenario.modelslab.wait_for_calls(1)
    code, seconds = await machine.end(bot, signal.SIGTERM)

    assert code == 0
    assert seconds < 10.0
    assert scenario.sql("SELECT lease_owner, crashes FROM reload_model_jobs") == [(None, 0)]
    await machine.boot()
    await scenario.wait_said(READY)


async def test_told_to_stop_while_it_starts(scenario: Scenario, machine: Machine) -> None:
    """Told to stop while it waits for Slack, the bot ends with 0 at once."""
    await scenario.slack.stop()
    bot = machine.process()
    await bot.start()
    await eventually(lambda: bot.of("slack_unavailable"), within=15)
    code, seconds = await machine.end(bot, signal.SIGTERM)

    assert code == 0
    assert seconds < 3.0


# --- exit codes -----------------------------------------------------------------------------------------


async def test_wrong_settings(scenario: Scenario, machine: Machine) -> None:
    """They end the bot with 2. Every problem is on stderr with its fix, and no secret."""
    bot = machine.process(
        SLACK_BOT_TOKEN=scenario.slack.app_token,
        SLACK_APP_TOKEN=scenario.slack.bot_token,
        MODELSLAB_API_KEY="",
        ALLOWED_USERS="ada",
        ALLOWED_CHANNELS="#models",
        PORT="http",
        RELOAD_SECONDS="soon",
        DATABASE_URL="mysql://u:secret@db/x",
        MODELSLAB_URL="http://modelslab.com",
        LOG_LEVEL="LOUD",
    )

    assert await bot.run() == 2
    assert bot.stdout == ""
    first, *problems = bot.stderr.splitlines()
    assert first.startswith("Can't start. There is no ")
    names = [problem.removeprefix("- ").split(" ")[0] for problem in problems]
    expected = {
        *("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "MODELSLAB_API_KEY", "ALLOWED_USERS", "ALLOWED_CHANNELS"),
        *("PORT", "RELOAD_SECONDS", "DATABASE_URL", "MODELSLAB_URL", "LOG_LEVEL"),
    }
    assert expected == set(names)
    assert "secret@" not in bot.stderr


async def test_no_settings_at_all(scenario: Scenario, machine: Machine) -> None:
    """Without any settings, the bot names those that it needs."""
    bot = machine.process(**dict.fromkeys(scenario.env, ""))

    assert await bot.run() == 2
    for name in ("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "MODELSLAB_API_KEY", "ALLOWED_USERS"):
        assert f"- {name} is missing: " in bot.stderr


async def test_a_refused_token(machine: Machine) -> None:
    """A token that Slack rejects ends the bot with 1 and one line, at CRITICAL, that names the setting and the fix."""
    bot = machine.process(SLACK_BOT_TOKEN="xoxb-wrong")

    assert await bot.run() == 1
    (line,) = map(json.loads, bot.stderr.splitlines())
    assert (line["event"], line["level"]) == ("cannot_start", "critical")
    assert line["reason"] == (
        "SLACK_BOT_TOKEN: Slack rejects it (invalid_auth): copy it again from OAuth & Permissions on your app's page"
    )


async def test_the_env_file(scenario: Scenario, machine: Machine, tmp_path: Path) -> None:
    """Settings may stand in a file named .env where the bot is started; the environment wins."""
    (tmp_path / ".env").write_text("ALLOWED_CHANNELS=C0OTHER\nALLOWED_USERS=U0NOBODY\n")
    await machine.boot()
    ack = await scenario.ask("sdxl", ADA, MODELS)

    assert "I only work in <#C0OTHER>" in ack.text


# --- other commands -------------------------------------------------------------------------------------


async def test_the_manifest(machine: Machine) -> None:
    """The manifest is printed for Socket Mode, or for an address; nothing but the manifest is printed."""
    socket, http = machine.process("manifest"), machine.process("manifest", "--url", "https://bot.example.com/")

    assert [await socket.run(), await http.run()] == [0, 0]
    assert "socket_mode_enabled: true" in socket.stdout
    assert "url: https://bot.example.com/slack/events" in http.stdout
    assert socket.stderr == http.stderr == ""
