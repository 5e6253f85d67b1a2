"""What other replicas, and the bot's own deaths, do to a job, as its row shows it."""

import asyncio
import threading
from typing import Any

import pytest

from bot.errors import CommitUncertain
from bot.sandbox.modelslab import ACCEPTED
from bot.storage import jobs, requests
from bot.storage.database import Database
from tests.answers import Held
from tests.scenarios.scenario import ADA, BRISK, READY, Scenario, eventually
from tests.storage.support import stopped_at
from tests.times import set_timing


async def test_the_result_of_a_lost_lease_is_not_recorded(bot: Scenario) -> None:
    """A job that another replica has taken over is left to it: nothing of the late result is recorded."""
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    bot.lose_lease()
    held.set()
    await bot.log.wait_for("lease_lost")
    assert bot.reloads == [("sdxl", "requested", None)]
    bot.sql("UPDATE reload_model_jobs SET due_at = 0")
    await bot.wait_done()

    assert len(bot.modelslab.calls) == 2
    assert len(bot.said(READY)) == 1


async def test_a_lease_is_renewed(bot: Scenario) -> None:
    """The lease of a running job is renewed for as long as the job takes."""
    set_timing(renew=0.05)
    await bot.reopen()
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held, ACCEPTED))
    await bot.ask("sdxl")
    await bot.modelslab.wait_for_calls(1)
    bot.sql("UPDATE reload_model_jobs SET due_at = due_at - 9")
    await bot.wait_sql("SELECT due_at - requested_at > 9 FROM reload_model_jobs, reload_model_reloads")
    held.set()
    await bot.wait_done()

    assert len(bot.modelslab.calls) == 1


async def test_a_job_that_another_replica_locked_comes_again(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that was due, and is another replica's by the time it is claimed, is looked at again soon."""
    claim, missed = jobs.claim, threading.Event()

    def too_late(*arguments: Any) -> object:  # noqa: ANN401 - as they come
        if not missed.is_set():
            missed.set()
            return [], -0.1, 0.0
        return claim(*arguments)

    monkeypatch.setattr("bot.storage.jobs.claim", too_late)
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert missed.is_set()


async def test_a_claim_that_takes_long_is_carried_out(bot: Scenario) -> None:
    """Once, and nobody reads that its outcome is unknown. Meanwhile, the worker says what it waits for."""
    with stopped_at("WITH due AS") as claiming:
        await bot.ask("sdxl")
        await claiming.reached()
        set_timing(answer=0.05)
        await eventually(lambda: bot.worker.fault == "waiting for the database: no answer in time")
        set_timing(**BRISK)
    await bot.wait_said(READY)

    assert bot.sql("SELECT outcome_unknown FROM reload_model_reloads") == [(0,)]
    assert (len(bot.modelslab.calls), bot.worker.fault) == (1, "")


async def test_people_who_have_been_notified_are_not_notified_again(slow: Scenario) -> None:
    """A job that finds everyone notified posts nothing, be it a follow-up or a direct message."""
    everyone_notified = "UPDATE reload_model_subscribers SET notified_at = 1"
    await slow.ask("sdxl")
    await slow.wait_said("is reloading")
    slow.sql(everyone_notified)
    await slow.finish_reloads()

    slow.slack.fail("response_url", "used_url")
    slow.slack.fail("conversations.open", "internal_error")
    await slow.ask("flux", ADA, "C0NOWHERE")
    await slow.pass_reloads()
    await slow.log.wait_for("job_failed")
    slow.sql(everyone_notified)
    await slow.wait_done(2)
    assert slow.said(READY) == []


async def test_a_commit_whose_outcome_is_unknown_is_reported_so(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said to be unknown, and what was committed is carried out, whatever was said."""
    run = Database.run

    async def uncertain(database: Database, work: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        result = await run(database, work, *arguments, **options)
        if work is requests.ask:
            raise CommitUncertain("the connection broke")
        return result

    with monkeypatch.context() as patched:
        patched.setattr(Database, "run", uncertain)
        ack = await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert "I couldn't confirm that I recorded this." in ack.text
    assert "started" not in ack.text
    assert len(bot.modelslab.calls) == 1
