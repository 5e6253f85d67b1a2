"""The worker, when an outcome cannot be recorded or the record is not confirmed."""

import asyncio
from time import monotonic
from typing import Any

import pytest

from bot.core import timing
from bot.errors import ClaimTooLate, CommitUncertain
from bot.storage import jobs
from bot.storage.database import Database
from bot.storage.outcomes import record
from tests.answers import Held
from tests.scenarios.conftest import bot, mode, scenario, slack
from tests.scenarios.scenario import READY, Scenario, eventually
from tests.times import set_timing

__all__ = ["bot", "mode", "scenario", "slack"]

Anything = Any
"""What Database.run takes and returns."""

run = Database.run


@pytest.mark.parametrize(
    ("error", "commits", "calls"),
    [
        (CommitUncertain("the connection broke"), True, 1),
        (CommitUncertain("the connection broke"), False, 1),
        (ZeroDivisionError(), False, 2),  # by a bug: the lease runs out, and the job is run again
    ],
    ids=["committed", "not committed", "bug"],
)
async def test_a_record_that_is_not_confirmed_is_made_again(
    bot: Scenario, monkeypatch: pytest.MonkeyPatch, *, error: Exception, commits: bool, calls: int
) -> None:
    """A lost lease then shows that it had worked."""
    failed = asyncio.Event()

    async def faulty(database: Database, work: Anything, *args: Anything, **more: Anything) -> Anything:
        if work is not record or failed.is_set():
            return await run(database, work, *args, **more)
        failed.set()
        if commits:
            await run(database, work, *args, **more)
        raise error

    set_timing(database_retry=0.01, lease=1.0, renew=0.2)
    await bot.reopen()
    monkeypatch.setattr(Database, "run", faulty)
    await bot.ask("sdxl")
    await bot.wait_done()

    assert (len(bot.modelslab.calls), len(bot.said(READY))) == (calls, 1)
    assert bool(bot.log.of("outcome_not_recorded")) == (calls > 1)
    assert bot.log.of("lease_lost") == []
    bot.internal_errors = calls > 1


async def test_what_was_done_before_a_stop_is_recorded_once(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the database has not confirmed it in time."""
    records: list[asyncio.Task[object]] = []

    async def slow(database: Database, work: Anything, *args: Anything, **more: Anything) -> Anything:
        recording = asyncio.create_task(run(database, work, *args, **more))
        if work is record:
            records.append(recording)
            if len(records) == 1:
                await asyncio.Event().wait()
        return await recording

    set_timing(stop=0.0)
    await bot.reopen()
    monkeypatch.setattr(Database, "run", slow)
    await bot.ask("sdxl")
    await eventually(lambda: records)
    await bot.shut()

    assert [line["done"] for line in bot.log.of("job_interrupted") if line["job"] == "call"] == [True]
    assert [state for _, state, _ in bot.reloads] == ["accepted"]


async def test_a_job_is_not_taken_over_at_once_when_the_database_is_back(
    bot: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All leases have run out meanwhile, but the replicas that did the jobs get the time to record them."""
    looked, too_late = list[float](), list[float]()

    async def noting(database: Database, work: Anything, *args: Anything, **more: Anything) -> Anything:
        if work is jobs.claim:
            looked.append(monotonic())
        try:
            return await run(database, work, *args, **more)
        except ClaimTooLate:
            too_late.append(monotonic())
            raise

    monkeypatch.setattr(Database, "run", noting)
    set_timing(lease=0.5, renew=0.3, look=0.05)
    await bot.reopen()
    with bot.locked():
        away_at = monotonic()
        await eventually(lambda: bot.worker.fault and monotonic() - away_at > timing.LEASE - timing.RENEW)
    await eventually(lambda: too_late and looked[-1] > too_late[-1])

    assert min(at for at in looked if at > too_late[-1]) - too_late[-1] > 0.29


async def test_what_was_claimed_before_the_process_was_frozen_is_not_run(
    bot: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is over, so another process may have run it. Here it is claimed again."""
    frozen: list[float] = []

    async def freezing(database: Database, work: Anything, *args: Anything, **more: Anything) -> Anything:
        result = await run(database, work, *args, **more)
        if work is jobs.claim and result[0] and not frozen:
            frozen.append(1000.0)
            bot.sql("UPDATE reload_model_jobs SET due_at = due_at - 1000 WHERE lease_owner IS NOT NULL")
        return result

    set_timing(renew=0.05)
    await bot.reopen()
    monkeypatch.setattr(Database, "run", freezing)
    for module in ("worker.loop", "storage.jobs"):
        monkeypatch.setattr(f"bot.{module}.monotonic", lambda: monotonic() + sum(frozen))
    await bot.ask("sdxl")
    await bot.wait_said(READY)

    assert len(bot.log.of("lease_lost")) == 1
    assert len(bot.modelslab.calls) == 1


async def test_a_bug_does_not_end_the_renewal_of_leases(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, and the next time it may work."""
    renew, renewals, held = jobs.renew, list[object](), asyncio.Event()

    def faulty(*args: Anything) -> None:
        renewals.append(args)
        if len(renewals) == 1:
            raise KeyError("lease")
        renew(*args)

    monkeypatch.setattr(jobs, "renew", faulty)
    set_timing(renew=0.05)
    await bot.reopen()
    bot.modelslab.answer("sdxl", Held(held))
    await bot.ask("sdxl")
    await eventually(lambda: len(renewals) > 2)
    held.set()
    await bot.wait_done()

    assert len(bot.log.of("renewal_failed")) == 1
    bot.internal_errors = True
