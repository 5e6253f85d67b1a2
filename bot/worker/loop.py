"""The worker: claims due jobs under a lease, runs each, and records its outcome.

A retry is the same row with a later due time. Outcomes are recorded by bot.storage.outcomes.record, only from here.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import TypeVar

import structlog

from bot import metrics
from bot.background import BackgroundTasks
from bot.core import retry, timing
from bot.core.command import MAX_MODELS
from bot.core.grants import AccessClaim, Claimed
from bot.core.models import Claim, Job, JobKind
from bot.errors import (
    ClaimTooLate,
    CommitUncertain,
    DatabaseUnavailable,
    ModelsLabPermanentError,
    ModelsLabRetryableError,
    SlackPermanentError,
    SlackRetryableError,
)
from bot.logs import describe
from bot.storage import grants, history, jobs
from bot.storage.database import Database
from bot.storage.outcomes import Outcome, RetryIn, record
from bot.worker.jobs import Jobs

CALLS: tuple[JobKind, ...] = (JobKind.CALL,)
STATUSES: tuple[JobKind, ...] = (JobKind.STATUS,)
FOLLOW_UPS: tuple[JobKind, ...] = (JobKind.NOTIFY,)
DIRECT_MESSAGES = tuple(kind for kind in JobKind if kind not in (*CALLS, *STATUSES, *FOLLOW_UPS))

SLOTS: Mapping[tuple[JobKind, ...], int] = {FOLLOW_UPS: 64, DIRECT_MESSAGES: 32, STATUSES: 8}
"""How many jobs of each group run at once. If Slack hangs for one group, the others go on."""

JOINING_SECONDS = 0.25
"""How long a follow-up waits if somebody is just joining its reload."""

CONTENDED_SECONDS = 0.05
"""Until the next try to claim a due job that another replica has just locked."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Worker:
    """Carries every reload to its end."""

    def __init__(
        self,
        database: Database,
        runner: Jobs,
        calls_at_once: int,
        history_days: float,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """on_change is called when a reload has changed."""
        self._database = database
        self._owner = secrets.token_hex(8)
        self._jobs = runner
        self._slots = {CALLS: calls_at_once, **SLOTS}
        self._history_days = history_days
        self._on_change = on_change
        self._running: dict[asyncio.Task[None], Sequence[Claimed]] = {}
        self._background = BackgroundTasks()
        self._loop: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()
        self._stopping = False
        self._looked_at = 0.0
        self.fault = ""
        """Why the last look for jobs failed, or empty."""

    def start(self, started_at: float) -> None:
        """Start the loop; started_at is the time now by the database's clock."""
        self._jobs.started_at = started_at
        self._looked_at = monotonic()
        self._loop = asyncio.create_task(self._work())
        self._background.start(self._every(timing.RENEW, self._renew, "renewal_failed"))
        self._background.start(self._every(timing.PRUNE, self._prune, "pruning_failed"))

    @property
    def idle_seconds(self) -> float:
        """Seconds since it last looked for jobs; 0 before it has started."""
        return monotonic() - self._looked_at if self._looked_at else 0.0

    def wake(self) -> None:
        """Look for due jobs now."""
        self._awake.set()

    async def stop(self) -> None:
        """Claim no more, and let running jobs finish for a while.

        Another process can claim the rest at once, but calls only after CALL_RETRY.
        """
        self._stopping = True
        self.wake()
        deadline = monotonic() + timing.STOP
        while (busy := self._busy()) and (left := deadline - monotonic()) > 0:
            await asyncio.wait(busy, timeout=left)
        unfinished = self._busy()
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await self._background.stop()

    def _busy(self) -> list[asyncio.Task[None]]:
        """The running jobs, and the loop, which may be claiming one."""
        return [*self._running, *([self._loop] if self._loop is not None and not self._loop.done() else [])]

    async def _work(self) -> None:
        """Look for jobs and start them until stopped. An unavailable database only slows that down."""
        claimed_at = monotonic()
        while not self._stopping:
            self._awake.clear()
            wait = timing.LOOK
            try:
                wait = min(await self._start_due(claimed_at), timing.LOOK)
                self.fault, self._looked_at = "", monotonic()
                claimed_at = self._looked_at
            except ClaimTooLate:  # the database is back: other replicas, whose leases have run out, record first
                self.fault = ""
                await asyncio.sleep(timing.RENEW)
                claimed_at = monotonic()
            except DatabaseUnavailable as error:
                self.fault, self._looked_at = f"waiting for the database: {error}", monotonic()
            except Exception as error:  # /healthz fails if every look ends like this
                log.exception("worker_failed")
                self.fault = f"failing: {type(error).__name__}"
            await asyncio.sleep(timing.GATHER)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), wait - timing.GATHER)

    async def _start_due(self, looked_at: float) -> float:
        """Claim and start due jobs while there are free slots. Returns the seconds until another one is due.

        looked_at is when it did that before, in monotonic seconds.
        """
        running_now = self._claims
        free = {
            kinds: left
            for kinds, slots in self._slots.items()
            if (left := slots - sum(one.job.kind in kinds for one in running_now)) > 0
        }
        running = [one.job.id for one in running_now]
        claiming = self._database.run(jobs.claim, self._owner, free, running, looked_at, soon=True)
        claims, due_in, claimed_at = await self._waiting_long(claiming)
        for batch in batches(claims):
            task = asyncio.create_task(self._run(batch, claimed_at))
            self._running[task] = batch
            task.add_done_callback(self._finished)
            metrics.JOBS_CLAIMED.labels(batch[0].job.kind).inc(len(batch))
            metrics.JOBS_RUNNING.labels(batch[0].job.kind).inc(len(batch))
        if due_in is None or due_in > 0:
            return timing.LOOK if due_in is None else due_in
        metrics.WORKER_LAG.observe(-due_in)
        return 0.0 if claims else CONTENDED_SECONDS

    async def _waiting_long(self, claiming: Coroutine[object, object, T]) -> T:
        """Wait for a claim, for however long the database takes: it may be committed late, and its jobs must run."""
        task = asyncio.create_task(claiming)
        try:
            while not (await asyncio.wait([task], timeout=timing.ANSWER))[0]:
                self.fault, self._looked_at = "waiting for the database: no answer in time", monotonic()
            return task.result()
        finally:
            task.cancel()

    @property
    def _claims(self) -> list[Claimed]:
        """What is running."""
        return [claim for batch in self._running.values() for claim in batch]

    def _finished(self, task: asyncio.Task[None]) -> None:
        batch = self._running.pop(task)
        metrics.JOBS_RUNNING.labels(batch[0].job.kind).dec(len(batch))
        self.wake()

    async def _run(self, batch: Sequence[Claimed], claimed_at: float) -> None:
        """Run a job, or several that are one message, and record what came of each, whatever that is."""
        if monotonic() - claimed_at >= jobs.lease_of(batch[0].job.kind):  # frozen, and another one may have run them
            self._log_lost(len(batch))
            return
        outcomes: Sequence[Outcome] = ()
        try:
            outcomes = await self._outcomes(batch)
            await self._record(batch, outcomes)
        except asyncio.CancelledError:
            log.info("job_interrupted", done=bool(outcomes))
            is_call = batch[0].job.kind is JobKind.CALL
            released = [RetryIn(timing.CALL_RETRY if is_call else 0.0, unknown=is_call) for _ in batch]
            results = list(zip([claim.job for claim in batch], outcomes or released, strict=True))
            with suppress(DatabaseUnavailable):  # an earlier record of the same job may still be queued
                await self._database.run(record, self._owner, results, within=1.0)
            raise
        except Exception:  # its lease will run out, which counts as a crash
            log.exception("outcome_not_recorded")

    async def _outcomes(self, batch: Sequence[Claimed]) -> Sequence[Outcome]:
        """What came of each job: what it returned, or what its error means for it."""
        first = batch[0]
        _bind_to_log(first)
        if isinstance(first, Claim) and first.must_wait:
            return [RetryIn(JOINING_SECONDS) for _ in batch]
        if first.job.crashes >= retry.MAX_CRASHES:
            return [await self._jobs.give_up(first)]  # it runs alone: see batches()
        try:
            return await self._jobs.run(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it has a meaning for the job
            outcomes = [await self._after(claim, error) for claim in batch]
            # The same wait for all, so that what is one message stays one.
            wait = max([outcome.wait for outcome in outcomes if isinstance(outcome, RetryIn)], default=0.0)
            return [replace(one, wait=wait) if isinstance(one, RetryIn) else one for one in outcomes]

    async def _after(self, claim: Claimed, error: Exception) -> Outcome:
        """What an error means for its job: another try, or the end."""
        _bind_to_log(claim)
        if isinstance(error, ModelsLabPermanentError | SlackPermanentError):
            return await self._jobs.give_up(claim, error)
        if isinstance(error, ModelsLabRetryableError | SlackRetryableError):
            wait = retry.wait(claim.job.kind, claim.job.attempts, error.wait)
            if retry.out_of_time(claim, wait):
                return await self._jobs.give_up(claim, error)
            log.warning("job_failed", **describe(error), retry_in=wait)
            metrics.JOB_RETRIES.labels(claim.job.kind).inc()
            unknown = isinstance(error, ModelsLabRetryableError) and error.unknown
            return RetryIn(wait, unknown, attempts=1)
        log.error("job_crashed", crashes=claim.job.crashes + 1, exc_info=error)
        metrics.JOB_CRASHES.labels(claim.job.kind).inc()
        wait = retry.wait(claim.job.kind, claim.job.crashes, None)
        unknown = claim.job.kind is JobKind.CALL
        return RetryIn(wait, unknown, crashes=1)

    async def _record(self, batch: Sequence[Claimed], outcomes: Sequence[Outcome]) -> None:
        """Record outcomes, however long the database is unavailable."""
        uncertain, lost = False, list[Job]()
        results = [(claim.job, outcome) for claim, outcome in zip(batch, outcomes, strict=True)]
        while True:
            try:
                lost = await self._database.run(record, self._owner, results)
                break
            except CommitUncertain:
                uncertain = True
            except DatabaseUnavailable:
                pass
            await asyncio.sleep(timing.DATABASE_RETRY)
        if lost and not uncertain:  # otherwise the first try may have been committed
            self._log_lost(len(lost))
        self._on_change()

    def _log_lost(self, number: int) -> None:
        log.warning("lease_lost", jobs=number)
        metrics.LEASES_LOST.inc(number)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]], event: str) -> None:
        """Repeat work for ever, whether or not the database is available. A bug is logged."""
        while True:
            try:
                await work()
            except DatabaseUnavailable:
                pass
            except Exception:
                log.exception(event)
            await asyncio.sleep(seconds)

    async def _renew(self) -> None:
        """Keep the leases of running jobs, for as long as this process lives."""
        if self._running:
            await self._database.run(jobs.renew, self._owner, [claim.job for claim in self._claims], soon=True)

    async def _prune(self) -> None:
        """Delete what ended long ago, a part at a time."""
        found = True
        while found:
            requests = await self._database.run(grants.prune, self._history_days)
            reloads, lines = await self._database.run(history.prune, self._history_days)
            found = bool(reloads or lines or requests)
            if found:
                log.info("history_pruned", reloads=reloads, audit=lines, access_requests=requests)


def batches(claims: Sequence[Claimed]) -> list[list[Claimed]]:
    """Merge follow-ups for the same people in one place into one message.

    A job that has crashed runs alone, so that it can't harm the others.
    """
    together: dict[object, list[Claimed]] = {}
    for claim in claims:
        key: object = claim.job.id
        if (
            isinstance(claim, Claim)
            and claim.job.kind is JobKind.NOTIFY
            and claim.reload.failure is None
            and not (claim.job.crashes or claim.must_wait)
        ):
            key = claim.job.place, frozenset(one.user_id for one in claim.recipients)
        together.setdefault(key, []).append(claim)
    return [
        batch[start : start + MAX_MODELS] for batch in together.values() for start in range(0, len(batch), MAX_MODELS)
    ]


def _bind_to_log(claim: Claimed) -> None:
    """From now on, name the job in the log lines of this task."""
    if isinstance(claim, AccessClaim):
        about = {"access_request": claim.request.id}
    else:
        about = {"reload": claim.reload.id, "model": claim.reload.model_id, "channel": claim.job.channel_id}
    structlog.contextvars.bind_contextvars(job=claim.job.kind.value, **about)
