"""The jobs of a request for access: the admins are asked, and the person gets the decision."""

import logging
from collections.abc import Collection

import structlog

from bot.core.access import Allowlist
from bot.core.grants import AccessClaim, RequestState
from bot.core.models import JobKind
from bot.errors import ReloadModelError
from bot.logs import describe
from bot.storage.outcomes import Done, NotShown, Outcome, Reschedule, RetryIn
from bot.ui import grants as ui
from bot.worker.delivery import Delivery

NOT_AN_ADMIN_SECONDS = 60.0
"""How long a request waits that is for somebody who isn't an admin here: another replica's settings may be newer."""

log = structlog.get_logger(__name__)


async def run(claim: AccessClaim, delivery: Delivery, allowlist: Allowlist) -> Outcome:
    """Run a job. Raises SlackError."""
    if claim.job.kind is JobKind.ACCESS_REQUEST:
        return await _show_request(claim, delivery, allowlist)
    can_reload = claim.granted or allowlist.rule(claim.request.user_id) is not None
    if can_reload != (claim.request.state is RequestState.ALLOWED) and claim.request.state is not RequestState.DENIED:
        return Done()  # access was revoked, or given in another way, since then
    if pause := delivery.take_turn(claim.job.user_id):
        return RetryIn(pause)
    await delivery.to_person(claim.job.user_id, ui.answer(claim.request, allowlist, can_reload=can_reload))
    log.info("access_answered", user=claim.job.user_id, state=claim.request.state.value)
    return Done()


def give_up(claim: AccessClaim, error: ReloadModelError | None, admins: Collection[str]) -> Outcome:
    """What becomes of a job that is not tried again: if the admins' channel can't be reached, each admin is asked."""
    job = claim.job
    level = logging.INFO if job.status_ts else logging.ERROR  # that message is already there
    log.log(level, "access_undeliverable", **describe(error), user=job.user_id, channel=job.channel_id)
    return NotShown(admins) if job.kind is JobKind.ACCESS_REQUEST and not job.status_ts else Done()


async def _show_request(claim: AccessClaim, delivery: Delivery, allowlist: Allowlist) -> Outcome:
    """Ask an admin, or all in their channel; once the request is decided, or has expired, say so in that message."""
    job, request = claim.job, claim.request
    is_open = request.is_open(claim.now)
    if not job.status_ts and not is_open:
        return Done()
    if not job.status_ts and job.user_id and job.user_id not in allowlist.admins:
        return Reschedule(NOT_AN_ADMIN_SECONDS)
    recipient = job.channel_id or job.user_id
    if not job.status_ts and (pause := delivery.take_turn(recipient)):
        return RetryIn(pause)
    channel_id = job.channel_id or await delivery.open_dm(job.user_id)
    message = ui.request(request, is_open=is_open)
    if is_open:
        ts = job.status_ts or await delivery.post(channel_id, message, recipient)
        return Reschedule(request.expires_at - claim.now, status_ts=ts)
    await delivery.edit(channel_id, job.status_ts, message)
    return Done()
