"""The one loop: it claims what is due, takes its next step, and records what came of it.

A reload's life is rows (bot.store); whatever is to be done next for it is a step, and each kind of step is one
method below. A retry is the same row with a later due time. Knows nothing of Slack's payloads, HTTP or SQL.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import TypeVar

import structlog

from bot.core.command import MODEL_ID
from bot.core.models import (
    AWAY_LATE,
    IN_FLIGHT,
    LATE,
    Entry,
    HomeData,
    JobKind,
    Reload,
    Reminder,
    Subscriber,
    Work,
    a_while,
)
from bot.core.retry import (
    BAR_LAST,
    CALL_GIVE_UP,
    CRASHES_GIVE_UP,
    POST_GIVE_UP,
    bar_wait,
    call_wait,
    out_of_time,
    post_wait,
)
from bot.errors import (
    CommitUncertain,
    DatabaseUnavailable,
    Failure,
    LeaseLost,
    ModelsLabError,
    ModelsLabPermanentError,
    ModelsLabRetryableError,
    Refusal,
    Refused,
    SlackError,
    SlackPermanentError,
    SlackRetryableError,
)
from bot.modelslab.client import ModelsLab
from bot.ops.metrics import Metrics
from bot.storage.store import Ask, Asked, Note, Store
from bot.ui import messages
from bot.ui.messages import Message
from bot.worker.delivery import Delivery, Pacer

RENEW_SECONDS = 3.0
"""Between two renewals of the leases in hand; a lease lasts 10 s."""

LOOK_SECONDS = 1.0
"""The longest that the loop sleeps: other replicas' rows do not wake it."""

CONTENDED_SECONDS = 0.05
"""Until the loop looks again for a step that was due but is in another replica's hands just now."""

GIVE_WAY_SECONDS = 0.05
"""While people ask, the loop claims no more often than this: an ack has to come within 3 s, a step within minutes."""

POSTS_AT_ONCE = 64

BARS_AT_ONCE = 4
"""Hands that move bars: their own, so that a bar never takes a post's."""

BAR_EDIT_SECONDS = 5.0
"""What one move of a bar may take: less than STOP_SECONDS, so that a stop waits for what came of it."""

NEAR_SECONDS = 3.0
NEAR_LIMIT = 3
"""How long near model ids are looked for, and how many are offered."""

STOP_SECONDS = 6.0
"""What steps in hand get to end when the desk stops; Docker kills 10 s after its signal."""

PRUNE_SECONDS = 600.0

STORE_RETRY_SECONDS = 0.5

_CALLS = (JobKind.CALL,)
_POSTS = (JobKind.FOLLOW_UP, JobKind.DIRECT, JobKind.REMIND, JobKind.STATUS, JobKind.CLOSE)
_BARS = (JobKind.BAR,)
_TO_CHANNELS = (JobKind.FOLLOW_UP, JobKind.STATUS)
_COMFORTS_TRIED = 5

T = TypeVar("T")

log = structlog.get_logger(__name__)


async def _none_known(_model_id: str) -> Sequence[str]:
    return ()


class Worker:
    """Takes what people ask for, and carries every reload to its end."""

    def __init__(  # noqa: PLR0913 - three parts, and the figures and the look-up that the service sets by name
        self,
        store: Store,
        modelslab: ModelsLab,
        announcer: Delivery,
        *,
        reload_seconds: float,
        concurrency: int,
        history_days: int,
        metrics: Metrics | None = None,
        nearest: Callable[[str], Awaitable[Sequence[str]]] = _none_known,
    ) -> None:
        """reload_seconds is how long a reload is expected to take; concurrency how many calls there may be at once.

        nearest finds ids of models like one that ModelsLab does not know, the nearest first; it may fail.
        """
        self._store = store
        self._modelslab = modelslab
        self._announcer = announcer
        self._metrics = metrics or Metrics()
        self._pacer = Pacer(monotonic)
        self.reload_seconds = reload_seconds
        self._history_days = history_days
        self._nearest = nearest
        self._slots = {_CALLS: concurrency, _POSTS: POSTS_AT_ONCE, _BARS: BARS_AT_ONCE}
        self._in_hand: dict[asyncio.Task[None], Work] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turning: asyncio.Task[None] | None = None
        self._due = asyncio.Event()
        self._stopping = False
        self._opened_at = 0.0
        self._asked_at = 0.0
        self.on_change: Callable[[], None] = lambda: None
        """Called when a reload is requested or changes its state: what shows reloads is then out of date."""
        self.turned_at = 0.0
        """When the loop turned last, by the monotonic clock; 0 before it has."""
        self._steps: dict[JobKind, Callable[[Work], Awaitable[None]]] = {
            JobKind.CALL: self._call,
            JobKind.STATUS: self._status,
            JobKind.FOLLOW_UP: self._follow_up,
            JobKind.DIRECT: self._direct,
            JobKind.CLOSE: self._close,
            JobKind.REMIND: self._reminder,
            JobKind.BAR: self._bar,
        }

    # --- what people ask for ------------------------------------------------------------------------

    async def ask(self, ask: Ask) -> Asked:
        """Commit what a person asks for; then, and only then, it is begun. Raises Refused."""
        return await self._recorded(ask, self._store.ask(ask))

    async def join(self, ask: Ask, reload_id: str) -> Asked | None:
        """Commit that a person watches this reload; None where it is over or unknown. Raises as ask does."""
        return await self._recorded(ask, self._store.join(ask, reload_id))

    async def _recorded(self, ask: Ask, recording: Awaitable[T]) -> T:
        self._asked_at = monotonic()
        try:
            asked = await recording
        except DatabaseUnavailable as away:
            log.warning("ask_not_recorded", user=ask.user_id, model=ask.model_id, error=str(away))
            if isinstance(away, CommitUncertain):
                self._keep(self._withdraw(ask))
            raise Refused(Refusal.NOT_RECORDED) from away
        self.wake()
        self.on_change()
        return asked

    def note(self, note: Note) -> None:
        """Have the audit keep it, beside all else: nobody waits for that, and the log has it in any case."""
        if self._turning is not None:  # before that there may be no tables
            self._keep(self._note(note))

    async def _note(self, note: Note) -> None:
        try:
            await self._store.note(note)
        except DatabaseUnavailable as away:
            log.warning("note_not_kept", user=note.user_id, outcome=note.outcome, error=str(away))

    async def remind(self, user_id: str, reload_id: str, channel_id: str) -> Reminder | None:
        """Commit a reminder of a reload's model; None where it was never accepted. Raises Refused."""
        try:
            return await self._store.remind(user_id, reload_id, channel_id)
        except DatabaseUnavailable as away:
            raise Refused(Refusal.NOT_RECORDED) from away

    async def stop_reminding(self, user_id: str, model_id: str) -> bool:
        """Take back a reminder; says whether there was one. Raises Refused."""
        try:
            return await self._store.stop_reminding(user_id, model_id)
        except DatabaseUnavailable as away:
            raise Refused(Refusal.NOT_RECORDED) from away

    async def reminders(self, user_id: str) -> list[Reminder]:
        """A person's reminders. Raises DatabaseUnavailable."""
        return await self._store.reminders(user_id)

    async def known_models(self, limit: int = 100) -> list[str]:
        """The ids of models of which a reload was accepted, the latest first. Raises DatabaseUnavailable."""
        return await self._store.known_models(limit)

    async def reload(self, reload_id: str) -> Reload | None:
        """The reload of this id, as it stands. Raises DatabaseUnavailable."""
        return await self._store.reload(reload_id)

    async def in_flight(self, limit: int = 20) -> tuple[list[Entry], int]:
        """The reloads that have not ended, and how many there are. Raises DatabaseUnavailable."""
        return await self._store.in_flight(limit)

    async def history(self, limit: int = 10) -> list[Entry]:
        """The reloads that have ended, the last first. Raises DatabaseUnavailable."""
        return await self._store.history(limit)

    async def glance(self, user_id: str, limit: int = 10) -> HomeData:
        """What one person sees at a glance. Raises DatabaseUnavailable."""
        return await self._store.glance(user_id, limit)

    async def _withdraw(self, ask: Ask) -> None:
        """Make true what its person was told, that nothing was started, as soon as the database answers."""
        withdrawn = await _until_stored(lambda: self._store.withdraw(ask.trigger_id))
        log.info("ask_withdrawn", user=ask.user_id, model=ask.model_id, withdrawn=withdrawn)

    # --- the loop -----------------------------------------------------------------------------------

    async def run(self, opened_at: float) -> None:
        """Turn until stopped, in a store opened at that time. The database going away only slows the loop down."""
        self._opened_at = opened_at
        self._turning = asyncio.current_task()
        self._keep(self._renew())
        self._keep(self._prune())
        self.turned_at = monotonic()
        while not self._stopping:
            self._due.clear()
            wait = LOOK_SECONDS
            try:
                with suppress(DatabaseUnavailable):
                    wait = await self._turn()
                self.turned_at = monotonic()
            except Exception:  # where every turn ends so, /healthz tells
                log.exception("turn_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), wait)

    async def _turn(self) -> float:
        """Begin what is due, as far as hands are free; return the seconds until something else is."""
        while not self._stopping and (kinds := [kind for group in self._slots for kind in group if self._free(group)]):
            if monotonic() < self._asked_at + GIVE_WAY_SECONDS:
                await asyncio.sleep(GIVE_WAY_SECONDS)
            due_in = await self._store.next_due(kinds)
            if due_in is None or due_in > 0:
                return LOOK_SECONDS if due_in is None else min(due_in, LOOK_SECONDS)
            self._metrics.due(-due_in)
            if not await self._claim():
                return CONTENDED_SECONDS
        return LOOK_SECONDS

    async def _claim(self) -> int:
        """Claim and begin as many due steps as there are hands; returns how many."""
        free = [(group, hands) for group in self._slots if (hands := self._free(group))]
        # Together they share a transaction. What one has got is begun, whatever becomes of the other.
        claims = await asyncio.gather(*(self._store.claim(*each) for each in free), return_exceptions=True)
        begun = [work for works in claims if not isinstance(works, BaseException) for work in works]
        for work in begun:
            self._begin(work)
        for failed in claims:
            if isinstance(failed, BaseException):
                raise failed
        return len(begun)

    def _free(self, group: Sequence[JobKind]) -> int:
        return self._slots[tuple(group)] - sum(work.step.kind in group for work in self._in_hand.values())

    def _begin(self, work: Work) -> None:
        task = asyncio.create_task(self._take(work))
        self._in_hand[task] = work
        self._metrics.claimed(work.step.kind)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._metrics.ended(self._in_hand.pop(task).step.kind)
        self.wake()
        self.on_change()

    def wake(self) -> None:
        """Something may be due: look now."""
        self._due.set()

    async def _renew(self) -> None:
        """Keep the leases of what is in hand, for as long as this process lives."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if self._in_hand:
                with suppress(DatabaseUnavailable):
                    await self._store.renew([work.step for work in self._in_hand.values()])

    async def _prune(self) -> None:
        """Forget what ended long ago."""
        while True:
            with suppress(DatabaseUnavailable):
                reloads, lines = await self._store.prune(self._history_days)
                if reloads or lines:
                    log.info("history_pruned", reloads=reloads, audit=lines)
                    continue
            await asyncio.sleep(PRUNE_SECONDS)

    def _keep(self, coroutine: Awaitable[None]) -> None:
        """Run beside the loop, with a reference: asyncio holds tasks weakly."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Take nothing new, give what is in hand STOP_SECONDS, break off the rest and let go of it."""
        self._stopping = True
        self.wake()
        # The loop may be claiming: what it claims is in hand only then.
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while busy := self._busy():
                    await asyncio.wait(busy)
        left = [*self._busy(), *self._tasks]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _busy(self) -> list[asyncio.Task[None]]:
        """The loop, while it turns, and all that is in hand."""
        turning = [] if self._turning is None or self._turning.done() else [self._turning]
        return [*self._in_hand, *turning]

    # --- one step -----------------------------------------------------------------------------------

    async def _take(self, work: Work) -> None:
        """Take a step, whatever comes of it: it never holds up another, and never ends the loop."""
        step = work.step
        # For as long as this task lives: it has a context of its own.
        structlog.contextvars.bind_contextvars(
            reload=work.reload.id, model=work.reload.model_id, step=step.kind.value, channel=step.channel_id
        )
        try:
            await self._steps[step.kind](work)
        except LeaseLost:
            log.warning("lease_lost")
            self._metrics.lease_lost()
        except asyncio.CancelledError:
            await self._let_go(work)
            raise
        except Exception:
            log.exception("step_crashed", crashes=step.crashes + 1)
            self._metrics.crashed(step.kind)
            with suppress(LeaseLost):
                await _until_stored(lambda: self._store.crashed(step, post_wait(step.crashes, None)))

    async def _let_go(self, work: Work) -> None:
        """Broken off by a stop: another process may take the step at once. What a call in hand did is unknown."""
        log.info("step_broken_off")
        with suppress(DatabaseUnavailable, LeaseLost, TimeoutError):
            unknown = work.step.kind is JobKind.CALL
            await asyncio.wait_for(self._store.postponed(work.step, 0.0, unknown=unknown), 1.0)

    async def _call(self, work: Work) -> None:
        """Ask ModelsLab for the reload."""
        step = work.step
        if step.crashes >= CRASHES_GIVE_UP:
            await self._fail(work, ModelsLabPermanentError(Failure.INTERNAL, unknown=True))
            return
        try:
            with self._metrics.calling():
                await self._modelslab.reload(work.reload.model_id)
        except ModelsLabRetryableError as failed:
            wait = call_wait(step.attempts, failed.wait)
            if out_of_time(step, work.now, wait, CALL_GIVE_UP):
                await self._fail(work, failed)
            else:
                log.warning("call_failed", why=failed.failure.value, said=failed.said, again_in=wait)
                unknown = failed.unknown
                await _until_stored(lambda: self._store.again(step, wait, unknown=unknown))
                self._metrics.retried(step.kind)
        except ModelsLabPermanentError as refused:
            await self._fail(work, refused)
        else:
            await _until_stored(lambda: self._store.accepted(step, self.reload_seconds))
            self._metrics.accepted()
            log.info("call_accepted")

    async def _fail(self, work: Work, failed: ModelsLabError) -> None:
        log.error("reload_failed", why=failed.failure.value, said=failed.said, unknown=failed.unknown)
        await _until_stored(lambda: self._store.failed(work.step, failed.failure, failed.said, unknown=failed.unknown))
        self._metrics.failed(failed.failure)

    async def _status(self, work: Work) -> None:
        """Say in the channel that the reload is on its way: a comfort, which never comes after the follow-up."""
        step, reload = work.step, work.reload
        left = (reload.ready_at or 0.0) - work.now
        if left <= 0 or step.crashes >= CRASHES_GIVE_UP:
            await _until_stored(lambda: self._store.dropped(step))
        elif not await self._waits_its_turn(work):
            try:
                message = messages.status(reload, work.askers, work.watchers[0], work.now)
                delivery = await self._announcer.announce(work, message)
            except SlackError as failed:
                await self._comfort_failed(work, failed, left)
            else:
                every = bar_wait(self.reload_seconds)
                moves = every if left > every + BAR_LAST else None
                await _until_stored(lambda: self._store.status_posted(step, delivery.ts, delivery.responder, moves))
                log.info("status_posted")

    async def _comfort_failed(self, work: Work, failed: SlackError, left: float) -> None:
        """A status message or its last edit was not taken: try again while it is of use, left seconds from now."""
        step = work.step
        wait = self._wait(work, failed)
        if isinstance(failed, SlackRetryableError) and wait < left and step.attempts < _COMFORTS_TRIED:
            await _until_stored(lambda: self._store.again(step, wait))
            self._metrics.retried(step.kind)
        else:
            log.warning("comfort_dropped", code=failed.code)
            await _until_stored(lambda: self._store.dropped(step))

    async def _follow_up(self, work: Work) -> None:
        """Tell everyone who asked in one channel how it ended. Whom this does not reach gets a DM."""
        step = work.step
        audience = messages.audible(work.audience)
        if not audience:
            await _until_stored(lambda: self._store.told(step, [], None))
        elif step.crashes > CRASHES_GIVE_UP:
            await self._give_up(work, "crashes")
        elif not await self._waits_its_turn(work):
            try:
                message = await self._ending(work, audience)
                delivery = await self._announcer.announce(work, message, thread=True)
            except SlackPermanentError as failed:
                log.warning("no_way_into_channel", code=failed.code)
                await _until_stored(lambda: self._store.told(step, [], None))
            except SlackRetryableError as failed:
                await self._promise_failed(work, failed)
            else:
                told, stumbled = [watcher.id for watcher in audience], _stumbles(work)
                await _until_stored(lambda: self._store.told(step, told, delivery.responder, stumbled=stumbled))
                self._told(work, "channel" if delivery.responder is None else "response_url")
                log.info("follow_up_posted", told=len(told), late=self._lateness(work))

    async def _direct(self, work: Work) -> None:
        """Tell one person how it ended, in a DM: the last way there is."""
        step = work.step
        audience = work.audience
        if not audience:
            await _until_stored(lambda: self._store.told(step, [], None))
        elif step.crashes > CRASHES_GIVE_UP:
            await self._give_up(work, "crashes")
        else:
            try:
                await self._announcer.direct(audience[0].user_id, await self._ending(work, audience))
            except SlackPermanentError as failed:
                await self._give_up(work, failed.code)
            except SlackRetryableError as failed:
                await self._promise_failed(work, failed)
            else:
                told, stumbled = [audience[0].id], _stumbles(work)
                await _until_stored(lambda: self._store.told(step, told, None, stumbled=stumbled))
                self._told(work, "direct")
                log.info("direct_posted", user=audience[0].user_id, late=self._lateness(work))

    async def _promise_failed(self, work: Work, failed: SlackRetryableError) -> None:
        """What was promised was not taken this time."""
        wait = self._wait(work, failed)
        if out_of_time(work.step, work.now, wait, POST_GIVE_UP):
            await self._give_up(work, failed.code)
        else:
            log.warning("post_failed", code=failed.code, again_in=wait)
            await _until_stored(lambda: self._store.again(work.step, wait))
            self._metrics.retried(work.step.kind)

    async def _give_up(self, work: Work, code: str) -> None:
        """The loud end of a promise; a reminder then waits for the next reload, as if it had been told."""
        step = work.step
        users = [watcher.user_id for watcher in work.audience] if step.person_id is None else [step.person_id]
        log.error("undeliverable", code=code, users=users)
        give_up = self._store.undeliverable if step.person_id is None else self._store.rested
        await _until_stored(lambda: give_up(step))
        self._metrics.undeliverable()

    async def _reminder(self, work: Work) -> None:
        """Remind a person, in a DM, that a model may idle out."""
        step, person_id = work.step, work.step.person_id or ""
        if step.crashes >= CRASHES_GIVE_UP:
            await self._give_up(work, "crashes")
            return
        try:
            message = messages.reminder(work.reload, step.channel_id, work.now)
            await self._announcer.direct(person_id, message)
        except SlackPermanentError as failed:
            await self._give_up(work, failed.code)
        except SlackRetryableError as failed:
            await self._promise_failed(work, failed)
        else:
            await _until_stored(lambda: self._store.rested(step))
            log.info("reminder_posted", user=person_id)

    async def _bar(self, work: Work) -> None:
        """Move a status message's bar: the first thing that is dropped, and never tried again."""
        step, every = work.step, bar_wait(self.reload_seconds)
        left = (work.reload.ready_at or 0.0) - work.now
        moved = left > BAR_LAST and not step.crashes and await self._moved(work)
        try:
            if moved and left > every + BAR_LAST:
                await _until_stored(lambda: self._store.rested(step, every))
            else:
                await _until_stored(lambda: self._store.dropped(step))
        except LeaseLost:
            await self._close_again(work)

    async def _moved(self, work: Work) -> bool:
        """Whether Slack took a bar's move, as far as anybody can tell."""
        try:
            message = messages.status(work.reload, work.askers, work.watchers[0], work.now)
            async with asyncio.timeout(BAR_EDIT_SECONDS):
                await self._announcer.edit(work.step.channel_id, work.status_ts, message)
        except (SlackError, TimeoutError) as failed:
            log.info("bar_dropped", code=getattr(failed, "code", type(failed).__name__))
            return False
        return True

    async def _close_again(self, work: Work) -> None:
        """A bar's move took longer than its reload: what it may have overwritten since is written anew."""
        reload = await _until_stored(lambda: self._store.reload(work.reload.id))
        if reload is not None and reload.state not in IN_FLIGHT:
            log.info("bar_overtaken")
            with suppress(SlackError):
                await self._announcer.edit(work.step.channel_id, work.status_ts, messages.closed(reload, work.askers))

    async def _close(self, work: Work) -> None:
        """Let the status message say that it is over, and after a while offer more. To edit it twice does no harm."""
        step, reload = work.step, work.reload
        if step.crashes >= CRASHES_GIVE_UP:
            await _until_stored(lambda: self._store.dropped(step))
            return
        left = (reload.ready_at or 0.0) + a_while(self.reload_seconds) - work.now
        try:
            message = messages.closed(reload, work.askers, again=left <= 0)
            await self._announcer.edit(step.channel_id, work.status_ts, message)
        except SlackError as failed:
            await self._comfort_failed(work, failed, POST_GIVE_UP)
        else:
            await _until_stored(lambda: self._store.rested(step, left) if left > 0 else self._store.dropped(step))

    async def _ending(self, work: Work, audience: Sequence[Subscriber]) -> Message:
        if _stumbles(work):
            log.error("step_poisoned", crashes=work.step.crashes)
            return messages.stumbled(work.reload, audience)
        if work.reload.failure is not None:
            return messages.failure(work.reload, audience, await self._near(work.reload))
        due_while_away = (work.reload.ready_at or 0.0) < self._opened_at
        late = self._lateness(work) > (AWAY_LATE if due_while_away else LATE)
        return messages.follow_up(work.reload, audience, late=late)

    async def _near(self, reload: Reload) -> Sequence[str]:
        """Ids of models that may have been meant, where ModelsLab did not know one; a failure waits for none."""
        if reload.failure is not Failure.UNKNOWN_MODEL:
            return ()
        try:
            async with asyncio.timeout(NEAR_SECONDS):
                found = [near for near in await self._nearest(reload.model_id) if MODEL_ID.fullmatch(near)]
        except Exception as error:  # noqa: BLE001 - whatever it is, a guess is not worth it
            log.warning("no_near_models", error=type(error).__name__)
            return ()
        return [near for near in dict.fromkeys(found) if near != reload.model_id][:NEAR_LIMIT]

    def _lateness(self, work: Work) -> float:
        """Seconds since the reload should have been ready; 0 for one that failed."""
        return 0.0 if work.reload.failure else round(work.now - (work.reload.ready_at or work.now), 3)

    def _told(self, work: Work, via: str) -> None:
        self._metrics.told(via, None if work.reload.failure else self._lateness(work))

    async def _waits_its_turn(self, work: Work) -> bool:
        """Whether the channel has had a message so lately that this one was put off."""
        wait = self._pacer.wait(work.step.id, work.step.channel_id)
        if wait > 0:
            await _until_stored(lambda: self._store.postponed(work.step, wait))
        return wait > 0

    def _wait(self, work: Work, failed: SlackError) -> float:
        """Seconds until a post is tried again; a limit that Slack set on a channel's messages holds for all of them.

        DMs and edits have limits of their own: https://docs.slack.dev/apis/web-api/rate-limits
        """
        asked = failed.wait if isinstance(failed, SlackRetryableError) else None
        if asked is not None and work.step.kind in _TO_CHANNELS:
            self._pacer.hold(work.step.channel_id, asked)
        return post_wait(work.step.attempts, asked)


def _stumbles(work: Work) -> bool:
    """Whether nothing is left to be said but that nobody can say."""
    return work.step.crashes == CRASHES_GIVE_UP


async def _until_stored(operation: Callable[[], Awaitable[T]]) -> T:
    """Run an operation of the store until the database takes it, however long it is away."""
    while True:
        try:
            return await operation()
        except DatabaseUnavailable:
            await asyncio.sleep(STORE_RETRY_SECONDS)
