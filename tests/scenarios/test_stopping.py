"""Stopping and starting: nothing is lost, nothing is done twice that need not be."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import Hang, Held
from tests.scenarios.scenario import ADA, BEN, FAILED, MODELS, READY, Scenario, Stopwatch, mentioned

one_mode = pytest.mark.parametrize("mode", ["socket"])


async def test_a_call_that_hangs(bot: Scenario) -> None:
    """A running call gets some seconds, is broken off, and is made again at once by the next start."""
    bot.modelslab.answer("sdxl", Hang(), ACCEPTED)
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    watch = Stopwatch()
    await bot.shut()

    assert 0.5 <= watch.seconds < 30.0
    assert bot.sql("SELECT lease_owner, crashes FROM reload_model_jobs") == [(None, 0)]
    await bot.open()
    await bot.modelslab.wait_for_calls(2)
    await bot.wait_done()
    assert [mentioned(message.text) for message in bot.said(READY)] == [[ADA]]


@one_mode
async def test_a_refusal_after_a_call_that_was_broken_off(bot: Scenario) -> None:
    """Where a call was broken off and the next one is refused, the first may have worked, and is said so."""
    bot.modelslab.answer("sdxl", Hang(), error(400, "This model is too large"))
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    await bot.reopen()
    told = await bot.wait_said(FAILED)

    assert "may already be reloading" in told.text


@one_mode
async def test_a_call_that_ends_in_time(bot: Scenario) -> None:
    """A call that ends while the bot stops is recorded, and not made again."""
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    stopping = asyncio.create_task(bot.shut())
    await bot.log.wait_for("stopping")
    held.set()
    await stopping
    await bot.open()
    await bot.wait_done()

    assert len(bot.modelslab.calls) == 1
    assert len(bot.said(READY)) == 1


@one_mode
async def test_a_post_that_hangs(bot: Scenario) -> None:
    """A running follow-up is broken off, and comes at the next start."""
    await bot.open_slowly()
    await bot.ask("sdxl")
    await bot.wait_said("is reloading")
    bot.slack.fail("chat.postMessage", Hang(), times=1)
    await bot.wait_job("notify")
    await bot.shut()
    await bot.open()
    await bot.wait_done()

    assert len(bot.said(READY)) == 1


@one_mode
async def test_a_follow_up_due_while_the_bot_was_down(bot: Scenario) -> None:
    """A follow-up that fell due while nobody was there goes out at once, and says that it is late."""
    await bot.reopen(RELOAD_SECONDS="120")
    await bot.ask("sdxl")
    await bot.wait_said("is reloading")
    await bot.shut()
    bot.sql("UPDATE reload_model_reloads SET ready_at = ready_at - 150")
    bot.sql("UPDATE reload_model_jobs SET due_at = due_at - 150")
    await bot.open()
    told = await bot.wait_said(READY)

    assert "`sdxl` should be ready now. Sorry, this is late: it was due at <!date^" in told.text


@one_mode
async def test_a_follow_up_not_yet_due(bot: Scenario) -> None:
    """A follow-up that is not yet due at the next start comes in its time, and is not late."""
    await bot.reopen(RELOAD_SECONDS="60")
    await bot.ask("sdxl")
    await bot.wait_said("is reloading")
    await bot.wait_sql("SELECT count(*) = 1 FROM reload_model_jobs WHERE kind = 'status' AND lease_owner IS NULL")
    due = bot.sql("SELECT due_at FROM reload_model_jobs WHERE kind = 'notify'")
    await bot.reopen()
    await bot.wait_ready()

    assert bot.sql("SELECT due_at FROM reload_model_jobs WHERE kind = 'notify'") == due
    assert bot.said(READY) == []
    await bot.pass_reloads()
    assert "late" not in (await bot.wait_said(READY)).text
    assert len(bot.modelslab.calls) == 1


@one_mode
async def test_commands_just_before_the_stop(bot: Scenario) -> None:
    """Whatever was acknowledged before the stop is carried out after it."""
    acks = await asyncio.gather(*(bot.ask(f"model-{number}") for number in range(10)))
    await bot.shut()
    assert all("Reloading" in ack.text for ack in acks)
    await bot.open()
    await bot.wait_done(10)

    assert {f"model-{number}" for number in range(10)} == {call.model_id for call in bot.modelslab.calls}
    assert len(bot.ready()) == len(set(bot.ready())) == 10


async def test_a_command_while_the_bot_stops(bot: Scenario) -> None:
    """A command that comes while the last call ends is written down, and begun by the next start."""
    bot.modelslab.answer("slow", Hang(), ACCEPTED)
    await bot.ask("slow")
    await bot.modelslab.wait_for_calls(1)
    stopping = asyncio.create_task(bot.shut())
    port = bot.port
    await bot.log.wait_for("stopping")
    ack = await bot.ask("sdxl", BEN)
    await stopping
    assert port
    assert "Reloading" in ack.text
    assert [call.model_id for call in bot.modelslab.calls] == ["slow"]
    await bot.open()
    await bot.wait_done(2)

    assert [mentioned(message.text) for message in bot.said(READY, "`sdxl`")] == [[BEN]]


async def test_readiness_while_the_bot_stops(bot: Scenario) -> None:
    """While it stops, the bot is not ready for more, and says so."""
    bot.modelslab.answer("slow", Hang(), ACCEPTED)
    await bot.ask("slow")
    await bot.modelslab.wait_for_calls(1)
    assert bot.app is not None
    stopping = asyncio.create_task(bot.app.stop())
    await bot.log.wait_for("stopping")
    status, parts = await bot.health("/readyz")
    await stopping

    assert (status, parts["process"]) == (503, "stopping")


@one_mode
async def test_the_database_is_away_at_the_stop(bot: Scenario) -> None:
    """A database that is away keeps the bot from stopping in time no more than anything else."""
    bot.modelslab.answer("sdxl", Hang(), ACCEPTED)
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    with closing(sqlite3.connect(bot.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await bot.shut()
        other.execute("ROLLBACK")

    await bot.open()
    await bot.wait_done()
    assert len(bot.said(READY)) == 1


@one_mode
async def test_stopped_in_the_middle_of_a_crowd(bot: Scenario) -> None:
    """Stopped again and again while thirty people ask, the bot tells each of them once."""
    bot.hurry(stop=6.0)
    await bot.reopen()
    for round_ in range(3):
        await asyncio.gather(*(bot.ask(f"model-{round_}-{n}", ADA, MODELS) for n in range(10)))
        await bot.reopen()
    await bot.wait_done(30, within=20)

    assert len(bot.ready()) == len(set(bot.ready())) == 30
    assert len({call.model_id for call in bot.modelslab.calls}) == 30
