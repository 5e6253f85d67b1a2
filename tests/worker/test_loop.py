"""The worker, when an outcome cannot be recorded or the record is not confirmed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar, TypeVarTuple
from unittest.mock import create_autospec

import pytest
import structlog
from sqlalchemy import Connection

from bot.core.models import JobKind
from bot.core.outcomes import Accepted, Done
from bot.core.timing import Timing
from bot.errors import CommitUncertain, DatabaseUnavailable
from bot.storage import history, requests
from bot.storage import jobs as steps
from bot.storage.database import Database
from bot.storage.outcomes import record
from bot.worker.jobs import Jobs
from bot.worker.loop import CALLS, Worker
from tests.scenarios.scenario import eventually
from tests.storage.support import WAIT, Clock, Gate, request

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

RECORD: object = record


class Faulty(Database):
    """A database that does not confirm the first outcome to be recorded."""

    commits = False
    error: Exception = CommitUncertain("the connection broke")
    away: asyncio.Event | None = None
    """Set once the database is back."""

    def __init__(self, url: str) -> None:
        super().__init__(url, Clock())
        self.failed = asyncio.Event()
        self.recording = asyncio.Event()

    async def run(self, work: Callable[[Connection, *Ts], T], *args: *Ts, within: float | None = None) -> T:
        """Run work; raise the error instead of an answer to the first record."""
        if self.away is not None and not self.away.is_set():
            raise DatabaseUnavailable("away")
        if work is RECORD:
            self.recording.set()
        if work is not RECORD or self.failed.is_set():
            return await super().run(work, *args, within=within)
        self.failed.set()
        if self.commits:
            await super().run(work, *args, within=within)
        raise self.error


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Faulty]:
    """A database with a request."""
    database = Faulty(f"sqlite:///{tmp_path}/reload-model.db")
    await database.start()
    await database.run(steps.open_database)
    await database.run(requests.ask, request())
    yield database
    await database.stop()


async def carried_out(database: Faulty, until: asyncio.Event | None = None) -> list[str]:
    """Let a worker carry the request out until something changed, or until then; returns what it logged."""
    changed = asyncio.Event()
    runner = create_autospec(Jobs, instance=True)
    runner.run.return_value = [Accepted(120.0)]
    with structlog.testing.capture_logs() as log:
        timing = Timing(database_retry=0.01)
        worker = Worker(database, "one", runner, calls_at_once=1, history_days=90, on_change=changed.set, timing=timing)
        worker.start(0.0)
        await asyncio.wait_for((until or changed).wait(), WAIT)
        await worker.stop()
    return [line["event"] for line in log]


@pytest.mark.parametrize("commits", [True, False])
async def test_a_record_that_is_uncertain_is_made_once(database: Faulty, *, commits: bool) -> None:
    """It is tried again, and a lost lease then shows that it had worked."""
    database.commits = commits

    log = await carried_out(database)

    ((running,), _) = await database.run(history.running, 10)
    assert running.reload.accepted_at is not None
    assert database.failed.is_set()
    assert "lease_lost" not in log


async def test_what_was_done_before_a_stop_is_recorded(database: Faulty) -> None:
    """The stop waits for that, and so it is not done again."""
    database.failed.set()
    gate = Gate()
    runner = create_autospec(Jobs, instance=True)
    blocking: list[asyncio.Task[None]] = []

    async def accept(_batch: object) -> list[Accepted]:
        blocking.append(asyncio.create_task(database.run(gate.wait)))
        await gate.reached()
        return [Accepted(120.0)]

    runner.run.side_effect = accept
    worker = Worker(database, "one", runner, calls_at_once=1, history_days=90, timing=Timing(stop=0.0))
    with structlog.testing.capture_logs() as log:
        worker.start(0.0)
        await asyncio.wait_for(database.recording.wait(), WAIT)
        stopping = asyncio.create_task(worker.stop())
        await eventually(lambda: [line for line in log if line["event"] == "job_interrupted"])
        gate.open()
        await stopping

    ((running,), _) = await database.run(history.running, 10)
    assert running.reload.accepted_at is not None


async def test_a_job_is_not_taken_over_at_once_when_the_database_is_back(database: Faulty) -> None:
    """Its lease has run out meanwhile, but the worker that did it gets the time to record it."""
    timing = Timing(lease=600.2, renew=600.0, look=0.05, gather=0.01, stop=0.0)
    ((theirs, *_), _) = await database.run(steps.claim, "other", {CALLS: 1}, 0.0)
    away = asyncio.Event()
    runner = create_autospec(Jobs, instance=True)
    runner.run.return_value = [Done()]
    worker = Worker(database, "one", runner, calls_at_once=1, history_days=90, timing=timing)
    database.failed.set()
    database.away = away
    worker.start(0.0)
    await eventually(lambda: worker.fault)
    await asyncio.sleep(timing.lease - timing.renew)
    away.set()
    await eventually(lambda: not worker.fault)
    await database.run(record, "other", [(theirs.job, Accepted(120.0))])
    await worker.stop()

    assert JobKind.CALL not in [run.args[0][0].job.kind for run in runner.run.await_args_list]


async def test_a_record_that_fails_by_a_bug_is_logged(database: Faulty) -> None:
    """The lease runs out, and the job is tried again."""
    database.error = ZeroDivisionError()

    log = await carried_out(database, until=database.failed)

    assert "outcome_not_recorded" in log
    ((running,), _) = await database.run(history.running, 10)
    assert running.reload.accepted_at is None
