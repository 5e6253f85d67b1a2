"""How jobs are claimed, and how what came of them is recorded.

Each function runs inside one transaction of Database.run. A transaction that changes more than its own job locks the
reload first, so that the jobs of one reload are recorded one after another, whichever replicas they run on.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, case, delete, exists, func, select, update

from bot.core.models import PRIORITY, REMIND_AFTER, Claim, Job, JobKind, Stage, State
from bot.core.outcomes import (
    REST,
    Accepted,
    Done,
    Failed,
    GiveUp,
    Notified,
    Outcome,
    Postpone,
    Reschedule,
    RetryIn,
)
from bot.errors import LeaseLost
from bot.storage import history, schema
from bot.storage.requests import add_job, open_channel, open_status
from bot.storage.schema import is_reminder, jobs, now, reloads, subscribers, to_job, to_reload

_NOTIFICATIONS = (JobKind.NOTIFY.value, JobKind.DM.value)


def open_database(connection: Connection) -> float:
    """Create or upgrade the tables, and return the time now.

    An SQLite file has one process, this one, so every lease that is left in it is void.
    """
    schema.migrate(connection)
    at = now(connection)
    if connection.dialect.name == "sqlite":
        connection.execute(update(jobs).where(jobs.c.lease_owner.is_not(None)).values(due_at=at))
    return at


def claim(
    connection: Connection, owner: str, slots: Mapping[tuple[JobKind, ...], int], lease: float
) -> tuple[list[Claim], float | None]:
    """Claim due jobs, at most as many of each group of kinds as it has free slots, for lease seconds.

    Returns them, the most important first, and in how many seconds the first job of these kinds was due before that:
    0 or less if there was one to claim, None if all of them rest.
    """
    at = now(connection)
    kinds_with_slots = [kind.value for kinds in slots for kind in kinds]
    first_due = connection.execute(
        select(func.min(jobs.c.due_at)).where(jobs.c.kind.in_(kinds_with_slots))
    ).scalar_one()
    if first_due is None or first_due == REST:
        return [], None
    claimed: list[Job] = []
    if first_due <= at:
        for kinds, free in slots.items():
            claimed += _claim(connection, owner, kinds, free, at, lease)
        claimed.sort(key=lambda job: (PRIORITY[job.kind], job.first_tried_at))
    return _claims(connection, claimed, at), first_due - at


def _claim(
    connection: Connection, owner: str, kinds: Sequence[JobKind], free: int, at: float, lease: float
) -> list[Job]:
    """A lease that had run out means that its owner died, or was stopped for as long, in the middle of the job."""
    due = (
        select(jobs.c.id)
        .where(jobs.c.due_at <= at, jobs.c.kind.in_([kind.value for kind in kinds]))
        .order_by(jobs.c.priority, jobs.c.due_at)
        .limit(free)
        .with_for_update(skip_locked=True)
        .cte("due")  # as a plain subquery PostgreSQL may run it twice, and lock more than the limit
    )
    rows = connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(select(due.c.id)))
        .values(
            lease_owner=owner,
            due_at=at + lease,
            first_tried_at=func.coalesce(jobs.c.first_tried_at, at),
            fence=jobs.c.fence + 1,
            crashes=jobs.c.crashes + case((jobs.c.lease_owner.is_not(None), 1), else_=0),
        )
        .returning(jobs)
    )
    return [to_job(row) for row in rows]


def _claims(connection: Connection, claimed: Sequence[Job], at: float) -> list[Claim]:
    """The claimed jobs with all that it takes to run them. A reload whose notification begins can't be joined."""
    if not claimed:
        return []
    notifying = {job.reload_id for job in claimed if job.kind in (JobKind.NOTIFY, JobKind.DM)}
    if notifying:
        connection.execute(
            update(reloads)
            .where(reloads.c.id.in_(notifying), reloads.c.state == State.ACCEPTED)
            .values(state=State.NOTIFYING)
        )
    ids = {job.reload_id for job in claimed}
    found = {row.id: to_reload(row) for row in connection.execute(select(reloads).where(reloads.c.id.in_(ids)))}
    # A reminder counts from the last acceptance, even one that was recorded in the instant in which it was added.
    last = {
        job.id: history.last_accepted(connection, found[job.reload_id].model_id)
        for job in claimed
        if job.kind is JobKind.REMINDER
    }
    people = history.subscribers_of(connection, {job.reload_id for job in claimed if job.kind is not JobKind.CALL})
    status_ts: dict[tuple[str, str], str] = {}
    waiting: set[tuple[str, str]] = set()
    of_channels = select(jobs.c.reload_id, jobs.c.channel_id, jobs.c.kind, jobs.c.status_ts)
    for row in connection.execute(of_channels.where(jobs.c.reload_id.in_(ids), schema.of_a_channel)):
        channel = (row.reload_id, row.channel_id)
        if row.kind == JobKind.STATUS:
            status_ts[channel] = row.status_ts
        else:
            waiting.add(channel)
    return [
        Claim(
            job,
            last.get(job.id, found[job.reload_id]),
            people.get(job.reload_id, ()),
            at,
            status_ts.get((job.reload_id, job.channel_id), ""),
            _stage(found[job.reload_id].state, waiting=(job.reload_id, job.channel_id) in waiting),
        )
        for job in claimed
    ]


def _stage(state: str, *, waiting: bool) -> Stage:
    """How far a channel is, by the state of its reload and whether its follow-up is still to come."""
    if state == State.REQUESTED:
        return Stage.TRYING
    return Stage.WAITING if waiting else Stage.NOTIFIED


def renew(connection: Connection, owner: str, claimed: Collection[Job], lease: float) -> None:
    """Extend the leases of running jobs; one that was lost stays lost."""
    until = now(connection) + lease
    for job in claimed:
        connection.execute(update(jobs).where(_held(job, owner)).values(due_at=until))


def record(connection: Connection, owner: str, job: Job, outcome: Outcome) -> None:
    """Record what came of a job. Raises LeaseLost, recording nothing, if it was claimed anew since."""
    match outcome:
        case Accepted():
            _record_accepted(connection, owner, job, outcome)
        case Failed():
            _record_failed(connection, owner, job, outcome)
        case Notified():
            _record_notified(connection, owner, job, outcome)
        case GiveUp():
            _record_given_up(connection, owner, job)
        case Reschedule():
            _record_rescheduled(connection, owner, job, outcome)
        case Done():
            _end(connection, owner, job)
            _count_response(connection, outcome.response_url_of)
        case _:
            _put_back(connection, owner, job, outcome)


def _held(job: Job, owner: str) -> ColumnElement[bool]:
    """Whether a job is still claimed as it was."""
    return and_(jobs.c.id == job.id, jobs.c.fence == job.fence, jobs.c.lease_owner == owner)


def _lock_reload(connection: Connection, job: Job) -> str:
    """Lock the reload of a job, and return its state."""
    its_state = select(reloads.c.state).where(reloads.c.id == job.reload_id).with_for_update(key_share=True)
    state: str = connection.execute(its_state).scalar_one()
    return state


def _end(connection: Connection, owner: str, job: Job) -> None:
    if connection.execute(delete(jobs).where(_held(job, owner))).rowcount == 0:
        raise LeaseLost


def _change(connection: Connection, owner: str, job: Job, **columns: object) -> None:
    """Give a job back, with these columns changed."""
    changed = update(jobs).where(_held(job, owner)).values(lease_owner=None, **columns)
    if connection.execute(changed).rowcount == 0:
        raise LeaseLost


def _record_accepted(connection: Connection, owner: str, job: Job, outcome: Accepted) -> None:
    """Each channel gets a status message now and its follow-up later; reminders count from this reload."""
    _lock_reload(connection, job)
    _end(connection, owner, job)
    at = now(connection)
    row = connection.execute(
        update(reloads)
        .where(reloads.c.id == job.reload_id)
        .values(state=State.ACCEPTED, accepted_at=at, ready_at=at + outcome.ready_in)
        .returning(reloads)
    ).one()
    reload = to_reload(row)
    for channel_id in _channels(connection, reload.id):
        open_channel(connection, reload, channel_id, at)
        _wake_status(connection, reload.id, channel_id, at)
    # A reminder that is being sent loses its lease.
    connection.execute(
        update(jobs)
        .where(is_reminder, jobs.c.model_id == reload.model_id)
        .values(reload_id=reload.id, due_at=at + outcome.ready_in + REMIND_AFTER, lease_owner=None, **_AFRESH)
    )


def _record_failed(connection: Connection, owner: str, job: Job, outcome: Failed) -> None:
    """Everyone is notified at once. A call that died may have had its effect."""
    _lock_reload(connection, job)
    _end(connection, owner, job)
    at = now(connection)
    values: dict[str, object] = {
        "state": State.NOTIFYING,
        "failure": outcome.failure.value,
        "said": outcome.said,
    }
    if outcome.unknown or job.crashes:
        values["outcome_unknown"] = True
    connection.execute(update(reloads).where(reloads.c.id == job.reload_id).values(values))
    for channel_id in _channels(connection, job.reload_id):
        add_job(connection, job.reload_id, JobKind.NOTIFY, at, channel_id=channel_id)


def _channels(connection: Connection, reload_id: str) -> Sequence[str]:
    """The channels in which a reload, which is locked, was asked for."""
    of_reload = select(subscribers.c.channel_id).where(subscribers.c.reload_id == reload_id)
    return connection.execute(of_reload.distinct().order_by(subscribers.c.channel_id)).scalars().all()


def _record_notified(connection: Connection, owner: str, job: Job, outcome: Notified) -> None:
    """The others of the channel get a DM, the channel's status message its last word."""
    _lock_reload(connection, job)
    _end(connection, owner, job)
    at = now(connection)
    told = update(subscribers).where(subscribers.c.id.in_(outcome.subscriber_ids))
    connection.execute(told.values(notified_at=at))
    _count_response(connection, outcome.response_url_of)
    if outcome.uncertain:
        connection.execute(update(reloads).where(reloads.c.id == job.reload_id).values(undeliverable=True))
    if job.kind is JobKind.NOTIFY:
        _notify_directly(connection, job, at)
        _wake_status(connection, job.reload_id, job.channel_id, at)
    _finish(connection, job, at)


def _record_given_up(connection: Connection, owner: str, job: Job) -> None:
    if job.kind is JobKind.REMINDER:
        _change(connection, owner, job, due_at=REST, **_AFRESH)
        return
    _lock_reload(connection, job)
    _end(connection, owner, job)
    at = now(connection)
    connection.execute(update(reloads).where(reloads.c.id == job.reload_id).values(undeliverable=True))
    if job.kind is JobKind.NOTIFY:
        _wake_status(connection, job.reload_id, job.channel_id, at)
    _finish(connection, job, at)


def _notify_directly(connection: Connection, job: Job, at: float) -> None:
    waiting = select(subscribers.c.id).where(
        subscribers.c.reload_id == job.reload_id,
        subscribers.c.channel_id == job.channel_id,
        subscribers.c.notified_at.is_(None),
    )
    for subscriber_id in connection.execute(waiting).scalars().all():
        add_job(connection, job.reload_id, JobKind.DM, at, channel_id=job.channel_id, subscriber_id=subscriber_id)


def _wake_status(connection: Connection, reload_id: str, channel_id: str, at: float) -> None:
    """Let a channel's status message show its new stage; one that is being edited sees for itself that it is time."""
    resting = and_(
        jobs.c.reload_id == reload_id,
        jobs.c.channel_id == channel_id,
        jobs.c.kind == JobKind.STATUS,
        jobs.c.lease_owner.is_(None),
    )
    connection.execute(update(jobs).where(resting).values(due_at=at, **_AFRESH))


def _finish(connection: Connection, job: Job, at: float) -> None:
    """End a reload of which everyone has been notified."""
    left = exists().where(jobs.c.reload_id == job.reload_id, jobs.c.kind.in_(_NOTIFICATIONS))
    done = update(reloads).where(reloads.c.id == job.reload_id, ~left)
    connection.execute(done.values(state=State.DONE, ended_at=at))


def _record_rescheduled(connection: Connection, owner: str, job: Job, outcome: Reschedule) -> None:
    state, wait = _lock_reload(connection, job), outcome.wait
    if outcome.stage is not None:
        of_channel = and_(jobs.c.reload_id == job.reload_id, jobs.c.channel_id == job.channel_id)
        notify = connection.execute(select(jobs.c.id).where(of_channel, jobs.c.kind == JobKind.NOTIFY)).first()
        if outcome.stage is not _stage(state, waiting=notify is not None):
            wait = 0.0
    ts = job.status_ts if outcome.status_ts is None else outcome.status_ts
    _change(connection, owner, job, due_at=now(connection) + wait, status_ts=ts, **_AFRESH)
    _count_response(connection, outcome.response_url_of)


_AFRESH: Mapping[str, object] = {"first_tried_at": None, "attempts": 0, "crashes": 0}
"""A job that did what was due, and will do it again as if for the first time."""


def _put_back(connection: Connection, owner: str, job: Job, outcome: RetryIn | Postpone) -> None:
    if job.kind is JobKind.CALL:
        _lock_reload(connection, job)
    failed = isinstance(outcome, RetryIn)
    crashed = isinstance(outcome, RetryIn) and outcome.crashed
    at = now(connection)
    _change(
        connection,
        owner,
        job,
        due_at=at + outcome.wait,
        attempts=jobs.c.attempts + int(failed and not crashed),
        crashes=jobs.c.crashes + int(crashed),
    )
    if outcome.unknown:
        connection.execute(update(reloads).where(reloads.c.id == job.reload_id).values(outcome_unknown=True))
    if job.kind is JobKind.CALL and isinstance(outcome, RetryIn):
        for channel_id in _channels(connection, job.reload_id):
            open_status(connection, job.reload_id, channel_id, at + outcome.report_in)


def _count_response(connection: Connection, subscriber_id: int | None) -> None:
    if subscriber_id is not None:
        used = update(subscribers).where(subscribers.c.id == subscriber_id)
        connection.execute(used.values(response_url_uses=subscribers.c.response_url_uses + 1))
