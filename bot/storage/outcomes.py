"""How the outcomes of jobs are recorded.

Each function runs inside one transaction of Database.run. It locks the job, and if it changes more than that, the
reload, so that the jobs of one reload are recorded one after another, even on several replicas.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

from sqlalchemy import Connection, and_, bindparam, delete, exists, select, update

from bot.core.models import REMIND_AFTER, Job, JobKind, Place, Stage, State
from bot.core.outcomes import (
    REST,
    Accepted,
    AskEach,
    Done,
    Failed,
    GiveUp,
    Notified,
    Outcome,
    Postpone,
    Reschedule,
    RetryIn,
)
from bot.storage import grants
from bot.storage.database import now
from bot.storage.jobs import HELD, held, stage_of
from bot.storage.requests import add_job, open_places
from bot.storage.schema import is_reminder, jobs, reloads, subscribers, to_reload

_AFRESH: Mapping[str, object] = {"first_tried_at": None, "attempts": 0, "crashes": 0}
"""Columns of a job that did what was due, and will be tried again as if for the first time."""

TOGETHER_SECONDS = 2.0
TOGETHER_PART = 1 / 60
"""How long a follow-up waits for another one in its place: at most so many seconds, and this part of a reload."""

_LOCK_JOB = select(jobs.c.id).where(HELD).with_for_update()
_END = delete(jobs).where(jobs.c.id == bindparam("ended"))
_CHANGE = update(jobs).where(jobs.c.id == bindparam("changed"))
_LOCK_RELOAD = select(reloads.c.state).where(reloads.c.id == bindparam("of")).with_for_update(key_share=True)
_CHANGE_RELOAD = update(reloads).where(reloads.c.id == bindparam("of"))
_CHANGE_RETURNING = _CHANGE_RELOAD.returning(reloads)
_FINISH = _CHANGE_RELOAD.where(
    ~exists().where(jobs.c.reload_id == bindparam("of"), jobs.c.kind.in_([JobKind.NOTIFY, JobKind.DM]))
)
_IN_PLACE = and_(jobs.c.channel_id == bindparam("in_channel"), jobs.c.thread_ts == bindparam("in_thread"))
_RESTING_STATUSES = update(jobs).where(
    jobs.c.reload_id == bindparam("of"), jobs.c.kind == JobKind.STATUS, jobs.c.lease_owner.is_(None)
)
_RESTING_STATUS = _RESTING_STATUSES.where(_IN_PLACE)
_REMINDERS = update(jobs).where(is_reminder, jobs.c.model_id == bindparam("of_model"))
_PLACES_ASKED_IN = (
    select(subscribers.c.channel_id, subscribers.c.thread_ts)
    .where(subscribers.c.reload_id == bindparam("of"))
    .distinct()
    .order_by(subscribers.c.channel_id, subscribers.c.thread_ts)
)
_GATHER = update(jobs).where(
    jobs.c.kind == JobKind.NOTIFY,
    _IN_PLACE,
    jobs.c.lease_owner.is_(None),
    jobs.c.due_at.between(bindparam("earliest"), bindparam("ready_at")),
    exists().where(reloads.c.id == jobs.c.reload_id, reloads.c.ready_at >= bindparam("earliest")),
)
_FOLLOW_UP = select(jobs.c.id).where(jobs.c.reload_id == bindparam("of"), _IN_PLACE, jobs.c.kind == JobKind.NOTIFY)
_NOT_NOTIFIED = select(subscribers.c.id).where(
    subscribers.c.reload_id == bindparam("of"),
    subscribers.c.channel_id == bindparam("in_channel"),
    subscribers.c.thread_ts == bindparam("in_thread"),
    subscribers.c.notified_at.is_(None),
)
_NOTIFIED = update(subscribers).where(subscribers.c.id.in_(bindparam("ids", expanding=True)))
_RESPONSE_URL_USED = (
    update(subscribers)
    .where(subscribers.c.id == bindparam("whose"))
    .values(response_url_uses=subscribers.c.response_url_uses + 1)
)


def record(connection: Connection, owner: str, results: Sequence[tuple[Job, Outcome]]) -> list[Job]:
    """Record outcomes of jobs. Returns the jobs that were claimed again meanwhile: nothing of them is recorded."""
    lost = []
    for job, outcome in sorted(results, key=lambda one: one[0].reload_id):  # all lock reloads in the same order
        if connection.execute(_LOCK_JOB, held(job, owner)).first() is None:
            lost.append(job)
        else:
            _record(connection, job, outcome)
    return lost


def _record(connection: Connection, job: Job, outcome: Outcome) -> None:
    """Record the outcome of a job, which must be locked."""
    match outcome:
        case Accepted():
            _record_accepted(connection, job, outcome)
        case Failed():
            _record_failed(connection, job, outcome)
        case Notified():
            _record_notified(connection, job, outcome)
        case GiveUp():
            _record_given_up(connection, job)
        case AskEach():
            _ask_each(connection, job, outcome)
        case Reschedule():
            _record_rescheduled(connection, job, outcome)
        case Done():
            _end(connection, job)
            _count_response(connection, outcome.response_url_of)
        case RetryIn() | Postpone():
            _put_back(connection, job, outcome)
        case _:
            assert_never(outcome)


def _of_place(job: Job) -> dict[str, object]:
    """Parameters for the place of a job and its reload."""
    return {"of": job.reload_id, "in_channel": job.channel_id, "in_thread": job.thread_ts}


def _lock_reload(connection: Connection, job: Job) -> str:
    """Lock the reload of a job, and return its state."""
    state: str = connection.execute(_LOCK_RELOAD, {"of": job.reload_id}).scalar_one()
    return state


def _change_reload(connection: Connection, job: Job, **columns: object) -> None:
    """Change the reload of a job. This also locks it."""
    connection.execute(_CHANGE_RELOAD, {"of": job.reload_id, **columns})


def _end(connection: Connection, job: Job) -> None:
    connection.execute(_END, {"ended": job.id})


def _change(connection: Connection, job: Job, **columns: object) -> None:
    """Release a job, with these columns changed."""
    connection.execute(_CHANGE, {"changed": job.id, "lease_owner": None, **columns})


def _record_accepted(connection: Connection, job: Job, outcome: Accepted) -> None:
    """Each place gets a status message now and its follow-up later; reminders count from this reload."""
    at = now(connection)
    ready_at = at + outcome.ready_in
    values = {
        "of": job.reload_id,
        "state": State.ACCEPTED,
        "accepted_at": at,
        "ready_at": ready_at,
        "said": outcome.said,
    }
    reload = to_reload(connection.execute(_CHANGE_RETURNING, values).one())
    _end(connection, job)
    places = _places(connection, job)
    open_places(connection, reload, places, at)
    _gather(connection, places, ready_at, outcome.ready_in)
    connection.execute(_RESTING_STATUSES, {"of": reload.id, "due_at": at, **_AFRESH})
    # A reminder that is just being sent loses its lease.
    counted = {"of_model": reload.model_id, "reload_id": reload.id, "due_at": ready_at + REMIND_AFTER}
    connection.execute(_REMINDERS, {**counted, "lease_owner": None, **_AFRESH})


def _gather(connection: Connection, places: Sequence[Place], ready_at: float, ready_in: float) -> None:
    """Let follow-ups that are due a moment before this one wait for it, so that they can be one message."""
    earliest = ready_at - min(TOGETHER_SECONDS, ready_in * TOGETHER_PART)
    for channel_id, thread_ts in places:
        where = {"in_channel": channel_id, "in_thread": thread_ts, "earliest": earliest}
        connection.execute(_GATHER, {**where, "ready_at": ready_at, "due_at": ready_at})


def _record_failed(connection: Connection, job: Job, outcome: Failed) -> None:
    """Everyone is notified at once. A call that crashed may have had its effect."""
    values: dict[str, object] = {"failure": outcome.failure, "said": outcome.said, "similar": " ".join(outcome.similar)}
    if outcome.unknown or job.crashes:
        values["outcome_unknown"] = True
    _change_reload(connection, job, state=State.NOTIFYING, **values)
    _end(connection, job)
    for place in _places(connection, job):
        add_job(connection, job.reload_id, JobKind.NOTIFY, now(connection), **place._asdict())


def _places(connection: Connection, job: Job) -> Sequence[Place]:
    """The places where a reload was requested. The reload must be locked."""
    return [Place(*row) for row in connection.execute(_PLACES_ASKED_IN, {"of": job.reload_id})]


def _record_notified(connection: Connection, job: Job, outcome: Notified) -> None:
    """People in the place who weren't notified get a DM."""
    _lock_reload(connection, job)
    _end(connection, job)
    at = now(connection)
    connection.execute(_NOTIFIED, {"ids": list(outcome.subscriber_ids), "notified_at": at})
    _count_response(connection, outcome.response_url_of)
    if outcome.uncertain:
        _change_reload(connection, job, undeliverable=True)
    if job.kind is JobKind.NOTIFY:
        for id_ in connection.execute(_NOT_NOTIFIED, _of_place(job)).scalars().all():
            add_job(connection, job.reload_id, JobKind.DM, at, **job.place._asdict(), subscriber_id=id_)
    _finish(connection, job)


def _record_given_up(connection: Connection, job: Job) -> None:
    if job.kind is JobKind.REMINDER:
        _change(connection, job, due_at=REST, **_AFRESH)
        return
    _change_reload(connection, job, undeliverable=True)
    _end(connection, job)
    _finish(connection, job)


def _ask_each(connection: Connection, job: Job, outcome: AskEach) -> None:
    """Ask the admins one by one, instead of in their channel."""
    _end(connection, job)
    for user_id in sorted(outcome.user_ids):
        asked = {"access_id": job.access_id, "user_id": user_id}
        add_job(connection, None, JobKind.ACCESS_REQUEST, now(connection), **asked)


def _finish(connection: Connection, job: Job) -> None:
    """Let the status message show the result, and end the reload if everyone has been notified.

    A status message that is just being edited notices the change when that is recorded.
    """
    at = now(connection)
    if job.kind is JobKind.NOTIFY:
        connection.execute(_RESTING_STATUS, {**_of_place(job), "due_at": at, **_AFRESH})
    connection.execute(_FINISH, {"of": job.reload_id, "state": State.DONE, "ended_at": at})


def _record_rescheduled(connection: Connection, job: Job, outcome: Reschedule) -> None:
    wait = 0.0 if _has_changed(connection, job, outcome.stage) else outcome.wait
    ts = job.status_ts if outcome.status_ts is None else outcome.status_ts
    _change(connection, job, due_at=now(connection) + wait, status_ts=ts, **_AFRESH)
    _count_response(connection, outcome.response_url_of)


def _has_changed(connection: Connection, job: Job, stage: Stage | None) -> bool:
    """Lock what a job is for, and return whether it has left this stage since the job was claimed."""
    if job.access_id:
        return not grants.lock(connection, job.access_id)
    state = _lock_reload(connection, job)
    follow_up = connection.execute(_FOLLOW_UP, _of_place(job)).first()
    return stage not in (None, stage_of(state, waiting=follow_up is not None))


def _put_back(connection: Connection, job: Job, outcome: RetryIn | Postpone) -> None:
    if outcome.unknown:
        _change_reload(connection, job, outcome_unknown=True)
    failed = isinstance(outcome, RetryIn)
    crashed = isinstance(outcome, RetryIn) and outcome.crashed
    at = now(connection)
    attempts, crashes = job.attempts + int(failed and not crashed), job.crashes + int(crashed)
    _change(connection, job, due_at=at + outcome.wait, attempts=attempts, crashes=crashes)


def _count_response(connection: Connection, subscriber_id: int | None) -> None:
    if subscriber_id is not None:
        connection.execute(_RESPONSE_URL_USED, {"whose": subscriber_id})
