"""One function for each kind of job. It returns an outcome, or raises an error of ModelsLab or Slack.

bot.worker.loop decides what is recorded, and what an error means for its job.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import structlog

from bot import metrics
from bot.core import retry, timing
from bot.core.access import Allowlist
from bot.core.command import MODEL_ID
from bot.core.grants import AccessClaim, Claimed
from bot.core.models import (
    LATE,
    LATE_AFTER_START,
    REMIND_AFTER,
    REPEAT_AFTER,
    REST,
    Claim,
    JobKind,
    Stage,
    Subscriber,
)
from bot.errors import Failure, ModelsLabError, ReloadModelError, SlackError
from bot.logs import describe
from bot.modelslab.client import ModelsLab
from bot.storage.outcomes import Accepted, Done, Failed, Notified, Outcome, Reschedule, RetryIn
from bot.ui import messages
from bot.ui.messages import Message
from bot.worker import grants
from bot.worker.delivery import Delivery

EDITS_PER_MINUTE = 40
"""How often this process moves bars; Slack allows 50: https://docs.slack.dev/apis/web-api/rate-limits"""

_LEVELS = {
    Failure.UNKNOWN_MODEL: logging.INFO,  # a typo
    **dict.fromkeys((Failure.KEY, Failure.CREDITS, Failure.PLAN, Failure.NO_SENSE, Failure.INTERNAL), logging.ERROR),
}
"""How urgent a failed reload is for the operator. The others are problems of ModelsLab that may pass: WARNING."""

log = structlog.get_logger(__name__)


class Jobs:
    """Runs jobs of every kind."""

    def __init__(
        self,
        modelslab: ModelsLab,
        delivery: Delivery,
        similar: Callable[[str], Awaitable[Sequence[str]]],
        reload_seconds: float,
        allowlist: Allowlist,
    ) -> None:
        """similar finds the IDs of models like an unknown one, the most similar first."""
        self._modelslab = modelslab
        self._delivery = delivery
        self._similar = similar
        self._reload_seconds = reload_seconds
        self._allowlist = allowlist
        self._edits: deque[float] = deque(maxlen=EDITS_PER_MINUTE)
        self.started_at = 0.0
        """When the worker started, by the database's clock."""

    async def run(self, batch: Sequence[Claimed]) -> Sequence[Outcome]:
        """Run a job, or several follow-ups that are one message. Raises ModelsLabError, SlackError."""
        if batch[0].job.kind is JobKind.NOTIFY:
            return await self._notify([claim for claim in batch if isinstance(claim, Claim)])  # all are
        return [await self._run(claim) for claim in batch]

    async def _run(self, claim: Claimed) -> Outcome:
        if isinstance(claim, AccessClaim):
            return await grants.run(claim, self._delivery, self._allowlist)
        of_kind = {
            JobKind.CALL: self._call,
            JobKind.STATUS: self._status,
            JobKind.DM: self._dm,
            JobKind.REMINDER: self._reminder,
        }
        return await of_kind[claim.job.kind](claim)

    async def give_up(self, claim: Claimed, error: ReloadModelError | None = None) -> Outcome:
        """What becomes of a job that is not tried again, for this error or after too many crashes."""
        if isinstance(claim, AccessClaim):
            return grants.give_up(claim, error, self._allowlist.admins)
        match claim.job.kind:
            case JobKind.CALL:
                return await self._failed(claim, error)
            case JobKind.STATUS:
                log.info("status_dropped", **describe(error))
                return Done()
            case JobKind.NOTIFY:  # everyone gets a direct message
                log.info("channel_unreachable", **describe(error))
                return Notified()
            case _:
                users = [claim.job.user_id] if claim.job.user_id else [one.user_id for one in claim.recipients]
                log.error("undeliverable", **describe(error), users=users)
                metrics.UNDELIVERABLE.inc()
                return Reschedule() if claim.job.kind is JobKind.REMINDER else Notified(undeliverable=True)

    async def _call(self, claim: Claim) -> Outcome:
        with metrics.modelslab_call():
            said = await self._modelslab.reload(claim.reload.model_id)
        log.info("call_accepted", **({"said": said} if said else {}))
        metrics.RELOADS.labels("accepted").inc()
        return Accepted(self._reload_seconds, said)

    async def _failed(self, claim: Claim, error: ReloadModelError | None) -> Failed:
        failed = Failed(Failure.INTERNAL, unknown=True)
        if isinstance(error, ModelsLabError):
            unknown_model = error.failure is Failure.UNKNOWN_MODEL
            similar = await self._did_you_mean(claim.reload.model_id) if unknown_model else ()
            failed = Failed(error.failure, error.said, error.unknown, similar)
        level = _LEVELS.get(failed.failure, logging.WARNING)
        log.log(level, "reload_failed", reason=failed.failure.value, said=failed.said, outcome_unknown=failed.unknown)
        metrics.RELOADS.labels(failed.failure).inc()
        return failed

    async def _did_you_mean(self, model_id: str) -> Sequence[str]:
        """IDs of models like an unknown one. The failure doesn't wait long for them."""
        try:
            async with asyncio.timeout(timing.SUGGESTIONS):
                found = [similar for similar in await self._similar(model_id) if MODEL_ID.fullmatch(similar)]
        except Exception as error:  # noqa: BLE001 - then the failure has no suggestions
            log.warning("no_similar_models", reason=type(error).__name__)
            return ()
        return found

    async def _status(self, claim: Claim) -> Outcome:
        """Show how far the reload is: trouble, a moving bar, the result."""
        if claim.stage is Stage.TRYING:
            until = claim.reload.requested_at + timing.CALL_GIVE_UP
            trouble = messages.trouble(claim.reload, claim.in_place, until, claim.now)
            return await self._post_status(claim, trouble, REST)
        if claim.stage is Stage.WAITING:
            return await self._show_progress(claim)
        return await self._show_result(claim)

    async def _show_progress(self, claim: Claim) -> Outcome:
        left = claim.reload.ready_by - claim.now
        if left <= 0:  # the follow-up is due, and comes first
            return Reschedule(stage=claim.stage) if claim.status_ts else Done()
        message = messages.status(claim.reload, claim.in_place, claim.subscribers[0], claim.now)
        every = retry.bar_wait(self._reload_seconds)
        wait = every if left > every + timing.BAR_LAST else REST
        if claim.status_ts:
            return await self._move_bar(claim, message, wait)
        return await self._post_status(claim, message, wait)

    async def _post_status(self, claim: Claim, message: Message, wait: float) -> Outcome:
        if pause := self._delivery.take_turn(claim.job.channel_id, status=True):
            return RetryIn(pause)
        delivered = await self._delivery.post_status(claim, message)
        log.info("status_posted", stage=claim.stage.value)
        if not delivered.ts:  # it can't be edited: the next stage gets a message of its own
            wait = REST
        return Reschedule(wait, status_ts=delivered.ts, response_url_of=delivered.response_url_of, stage=claim.stage)

    async def _move_bar(self, claim: Claim, message: Message, wait: float) -> Outcome:
        """Move the bar. Bars are dropped first: an edit that Slack doesn't take isn't tried again."""
        now = monotonic()
        if len(self._edits) < EDITS_PER_MINUTE or now - self._edits[0] >= 60.0:  # noqa: PLR2004 - a minute
            self._edits.append(now)
            try:
                async with asyncio.timeout(timing.BAR_EDIT):
                    await self._delivery.edit(claim.job.channel_id, claim.status_ts, message)
            except (SlackError, TimeoutError) as error:
                log.info("bar_dropped", **describe(error))
                return Reschedule(stage=claim.stage)
        return Reschedule(wait, stage=claim.stage)

    async def _show_result(self, claim: Claim) -> Outcome:
        """Show the result, and after a while offer another reload."""
        if not claim.status_ts:
            return Done()
        left = claim.reload.ready_by + REPEAT_AFTER * self._reload_seconds - claim.now
        message = messages.closed(claim.reload, claim.in_place, again=left <= 0)
        await self._delivery.edit(claim.job.channel_id, claim.status_ts, message)
        return Reschedule(left) if left > 0 and claim.reload.failure is None else Done()

    async def _notify(self, claims: Sequence[Claim]) -> Sequence[Outcome]:
        """Tell everyone who asked in a place how it ended; people who aren't mentioned get a DM.

        Several claims are follow-ups in one place to the same people: they become one message. Raises SlackError.
        """
        first = claims[0]
        recipients = messages.mentioned(first.recipients)
        if not recipients:
            return [Notified() for _ in claims]
        if pause := self._delivery.take_turn(first.job.channel_id):
            return [RetryIn(pause) for _ in claims]
        message = self._ending(claims, recipients)
        delivered = await self._delivery.to_channel(claims, message, thread=True)
        via = "channel" if delivered.response_url_of is None else "response_url"
        mentioned = {one.user_id for one in recipients}
        outcomes = []
        for claim in claims:
            notified = [one for one in claim.recipients if one.user_id in mentioned]
            self._log_notified(claim, via, notified)
            whose = delivered.response_url_of if claim is first else None
            outcomes.append(Notified([one.id for one in notified], whose, undeliverable=_says_only_unknown(claim)))
        return outcomes

    async def _dm(self, claim: Claim) -> Outcome:
        """Notify one person of the result, as the last resort."""
        recipients = claim.recipients
        if not recipients:
            return Notified()
        if pause := self._delivery.take_turn(recipients[0].user_id):
            return RetryIn(pause)
        await self._delivery.to_person(recipients[0].user_id, self._ending([claim], recipients))
        self._log_notified(claim, "dm", recipients)
        return Notified([recipients[0].id], undeliverable=_says_only_unknown(claim))

    def _ending(self, claims: Sequence[Claim], recipients: Sequence[Subscriber]) -> Message:
        claims = sorted(claims, key=lambda one: one.reload.ready_by)
        claim = claims[0]
        if _says_only_unknown(claim):
            log.error("message_broken", crashes=claim.job.crashes)
            return messages.uncertain(claim.reload, recipients)
        if claim.reload.failure is not None:
            return messages.failure(claim.reload, recipients)
        due_before_start = claim.reload.ready_by < self.started_at
        tolerated = LATE_AFTER_START if due_before_start else LATE
        late = _lateness(claim) if _lateness(claim) > tolerated else 0.0
        return messages.follow_up([each.reload for each in claims], recipients, late=late)

    def _log_notified(self, claim: Claim, via: str, recipients: Sequence[Subscriber]) -> None:
        late = _lateness(claim)
        of = {"reload": claim.reload.id, "model": claim.reload.model_id}  # one message can be for several
        log.info("notified", via=via, users=[one.user_id for one in recipients], late=late, **of)
        metrics.FOLLOW_UPS.labels(via).inc()
        if claim.reload.failure is None:
            metrics.FOLLOW_UP_LATE.observe(late)

    async def _reminder(self, claim: Claim) -> Outcome:
        due_at = claim.reload.ready_by + REMIND_AFTER
        if due_at > claim.now:  # another replica added it while a later reload was accepted
            return Reschedule(due_at - claim.now)
        if pause := self._delivery.take_turn(claim.job.user_id):
            return RetryIn(pause)
        message = messages.reminder(claim.reload, claim.job.place, claim.now)
        await self._delivery.to_person(claim.job.user_id, message)
        log.info("reminded", user=claim.job.user_id)
        return Reschedule()


def _says_only_unknown(claim: Claim) -> bool:
    """Whether to say only that the result is unknown."""
    return claim.job.crashes == retry.MAX_CRASHES - 1


def _lateness(claim: Claim) -> float:
    """Seconds since the reload should have been ready; 0 if it failed."""
    return 0.0 if claim.reload.failure else round(claim.now - claim.reload.ready_by, 3)
