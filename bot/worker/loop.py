"""The worker: claims due jobs under a lease, runs each, and records what came of it.

A retry is the same row with a later due time. Everything that is recorded is recorded here, by one call.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

import structlog

from bot.core import retry
from bot.core.background import BackgroundTasks
from bot.core.models import Claim, JobKind
from bot.core.outcomes import Outcome, Postpone, RetryIn
from bot.core.timing import Timing
from bot.errors import (
    CommitUncertain,
    DatabaseUnavailable,
    LeaseLost,
    ModelsLabPermanentError,
    ModelsLabRetryableError,
    SlackPermanentError,
    SlackRetryableError,
)
from bot.ops import metrics
from bot.storage import history, jobs
from bot.storage.database import Database
from bot.worker.jobs import Jobs, describe

CALLS: tuple[JobKind, ...] = (JobKind.CALL,)
NOTIFICATIONS: tuple[JobKind, ...] = (JobKind.NOTIFY, JobKind.DM, JobKind.REMINDER)
STATUSES: tuple[JobKind, ...] = (JobKind.STATUS,)

NOTIFICATION_SLOTS = 64
STATUS_SLOTS = 8
"""Their own, so that best-effort messages never take the place of guaranteed ones."""

CONTENDED_SECONDS = 0.05
"""Until the next look for a job that is due, but locked by another replica just now."""

log = structlog.get_logger(__name__)


class Worker:
    """Carries every reload to its end."""

    def __init__(
        self,
        database: Database,
        owner: str,
        jobs_: Jobs,
        *,
        calls_at_once: int,
        history_days: float,
        on_change: Callable[[], None] = lambda: None,
        timing: Timing = Timing(),
    ) -> None:
        """owner is unlike that of every other process, now or later. on_change is called when a reload changed."""
        self._database = database
        self._owner = owner
        self._jobs = jobs_
        self._slots = {CALLS: calls_at_once, NOTIFICATIONS: NOTIFICATION_SLOTS, STATUSES: STATUS_SLOTS}
        self._history_days = history_days
        self._on_change = on_change
        self._timing = timing
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._background = BackgroundTasks()
        self._loop: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()
        self._stopping = False
        self._turned_at = 0.0
        self.fault = ""
        """Why the last turn got nowhere, or empty."""

    def start(self, started_at: float) -> None:
        """Start the loop; started_at is the time now by the database's clock."""
        self._jobs.started_at = started_at
        self._turned_at = monotonic()
        self._loop = asyncio.create_task(self._turn())
        self._background.start(self._renew())
        self._background.start(self._prune())

    @property
    def idle_seconds(self) -> float:
        """Seconds since the loop last turned; 0 before it has started."""
        return monotonic() - self._turned_at if self._turned_at else 0.0

    def wake(self) -> None:
        """Look for due jobs now."""
        self._awake.set()

    async def stop(self) -> None:
        """Claim no more, and let running jobs finish for a while; what is left another process can claim at once."""
        self._stopping = True
        self.wake()
        deadline = monotonic() + self._timing.stop
        while (busy := self._busy()) and (left := deadline - monotonic()) > 0:
            await asyncio.wait(busy, timeout=left)
        unfinished = self._busy()
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await self._background.stop()

    def _busy(self) -> list[asyncio.Task[None]]:
        """The loop, which may be claiming a job just now, and the running jobs."""
        return [*self._running, *([self._loop] if self._loop is not None and not self._loop.done() else [])]

    async def _turn(self) -> None:
        """Turn until stopped. A database that is unavailable only slows the loop down."""
        claimed_at = monotonic()
        while not self._stopping:
            self._awake.clear()
            wait = self._timing.look
            try:
                if monotonic() - claimed_at > self._timing.lease - self._timing.renew:
                    await self._let_others_record()
                wait = min(await self._start_due(), self._timing.look)
                self.fault, self._turned_at = "", monotonic()
                claimed_at = self._turned_at
            except DatabaseUnavailable as error:
                self.fault, self._turned_at = f"can't work: {error}", monotonic()
            except Exception as error:  # /healthz fails if every turn ends like this
                log.exception("worker_failed")
                self.fault = f"fails: {type(error).__name__}"
            await asyncio.sleep(self._timing.gather)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), wait - self._timing.gather)

    async def _let_others_record(self) -> None:
        """Once the database is back, give other replicas time to record what they did: their leases have run out."""
        await self._database.run(history.touch, within=self._timing.answer)
        self.fault = ""
        await asyncio.sleep(self._timing.renew)

    async def _start_due(self) -> float:
        """Claim and start due jobs, as far as there are free slots; return the seconds until another one is due."""
        free: Mapping[tuple[JobKind, ...], int] = {
            kinds: left for kinds in self._slots if (left := self._free(kinds)) > 0
        }
        running = [claim.job.id for claim in self._running.values()]
        claims, due_in = await self._database.run(
            jobs.claim, self._owner, free, self._timing.lease, running, within=self._timing.answer
        )
        for claim in claims:
            task = asyncio.create_task(self._run(claim))
            self._running[task] = claim
            task.add_done_callback(self._finished)
            metrics.JOBS_CLAIMED.labels(claim.job.kind).inc()
            metrics.JOBS_RUNNING.labels(claim.job.kind).inc()
        if due_in is None or due_in > 0:
            return self._timing.look if due_in is None else due_in
        metrics.WORKER_LAG.observe(-due_in)
        return 0.0 if claims else CONTENDED_SECONDS

    def _free(self, kinds: tuple[JobKind, ...]) -> int:
        return self._slots[kinds] - sum(claim.job.kind in kinds for claim in self._running.values())

    def _finished(self, task: asyncio.Task[None]) -> None:
        metrics.JOBS_RUNNING.labels(self._running.pop(task).job.kind).dec()
        self.wake()

    async def _run(self, claim: Claim) -> None:
        """Run a job and record what came of it, whatever that is."""
        # For as long as this task lives: it has a context of its own.
        structlog.contextvars.bind_contextvars(
            reload=claim.reload.id, model=claim.reload.model_id, job=claim.job.kind.value, channel=claim.job.channel_id
        )
        outcome: Outcome | None = None
        try:
            outcome = await self._outcome(claim)
            await self._record(claim, outcome)
        except asyncio.CancelledError:
            log.info("job_interrupted", done=outcome is not None)
            left = outcome or Postpone(0.0, unknown=claim.job.kind is JobKind.CALL)
            with suppress(DatabaseUnavailable, LeaseLost):  # what is queued to be recorded may come first
                await self._database.run(jobs.record, self._owner, claim.job, left, within=1.0)
            raise
        except Exception:  # its lease will run out, which counts as a crash
            log.exception("outcome_not_recorded")

    async def _outcome(self, claim: Claim) -> Outcome:
        """What came of a job: what it returned, or what its error means for it."""
        if claim.job.crashes >= retry.MAX_CRASHES:
            return await self._jobs.give_up(claim)
        try:
            return await self._jobs.run(claim)
        except (ModelsLabRetryableError, SlackRetryableError) as error:
            wait = retry.wait(claim.job.kind, claim.job.attempts, error.wait, self._timing)
            if retry.out_of_time(claim, wait, self._timing):
                return await self._jobs.give_up(claim, error)
            log.warning("job_failed", **describe(error), again_in=wait)
            metrics.JOB_RETRIES.labels(claim.job.kind).inc()
            unknown = isinstance(error, ModelsLabRetryableError) and error.unknown
            return RetryIn(wait, unknown, report_in=self._report_in(claim))
        except (ModelsLabPermanentError, SlackPermanentError) as error:
            return await self._jobs.give_up(claim, error)
        except Exception:
            log.exception("job_crashed", crashes=claim.job.crashes + 1)
            metrics.JOB_CRASHES.labels(claim.job.kind).inc()
            wait = retry.wait(claim.job.kind, claim.job.crashes, None, self._timing)
            unknown = claim.job.kind is JobKind.CALL
            return RetryIn(wait, unknown, crashed=True, report_in=self._report_in(claim))

    def _report_in(self, claim: Claim) -> float:
        """Seconds until a reload's channels are told that ModelsLab has not accepted it yet."""
        return max(claim.reload.requested_at + self._timing.trouble_after - claim.now, 0.0)

    async def _record(self, claim: Claim, outcome: Outcome) -> None:
        """Record an outcome, however long the database is unavailable."""
        uncertain = False
        while True:
            try:
                await self._database.run(jobs.record, self._owner, claim.job, outcome)
            except LeaseLost:
                if uncertain:  # the record of a moment ago was committed after all
                    break
                log.warning("lease_lost")
                metrics.LEASES_LOST.inc()
                return
            except CommitUncertain:
                uncertain = True
            except DatabaseUnavailable:
                pass
            else:
                break
            await asyncio.sleep(self._timing.database_retry)
        self._on_change()

    async def _renew(self) -> None:
        """Keep the leases of running jobs, for as long as this process lives."""
        while True:
            await asyncio.sleep(self._timing.renew)
            if self._running:
                running = [claim.job for claim in self._running.values()]
                with suppress(DatabaseUnavailable):
                    await self._database.run(jobs.renew, self._owner, running, self._timing.lease)

    async def _prune(self) -> None:
        """Delete what ended long ago."""
        while True:
            with suppress(DatabaseUnavailable):
                reloads, lines = await self._database.run(history.prune, self._history_days)
                if reloads or lines:
                    log.info("history_pruned", reloads=reloads, audit=lines)
                    continue
            await asyncio.sleep(self._timing.prune)
