"""How jobs are claimed, and how what came of them is recorded.

Each function runs inside one transaction of Database.run. A transaction that changes more than its own job locks the
reload first, so that the jobs of one reload are recorded one after another, whichever replicas they run on.
Statements are built once, as building one takes ten times as long as running it.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, and_, bindparam, case, delete, exists, func, select, update

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
from bot.storage.database import now
from bot.storage.requests import add_job, open_channels, open_statuses
from bot.storage.schema import is_reminder, jobs, reloads, subscribers, to_job, to_reload

_AFRESH: Mapping[str, object] = {"first_tried_at": None, "attempts": 0, "crashes": 0}
"""A job that did what was due, and will do it again as if for the first time."""

_OF_A_CHANNEL = (JobKind.STATUS, JobKind.NOTIFY)

_FIRST_DUE = select(
    *[select(func.min(jobs.c.due_at)).where(jobs.c.kind == kind).scalar_subquery().label(kind) for kind in JobKind]
)
_DUE = (
    select(jobs.c.id)
    .where(jobs.c.due_at <= bindparam("at"), jobs.c.kind.in_(bindparam("kinds", expanding=True)))
    .where(jobs.c.id.not_in(bindparam("running", expanding=True)))
    .order_by(jobs.c.priority, jobs.c.due_at)
    .limit(bindparam("free"))
    .with_for_update(skip_locked=True)
    .cte("due")  # as a plain subquery PostgreSQL may run it twice, and lock more than the limit
)
_CLAIM = (
    update(jobs)
    .where(jobs.c.id.in_(select(_DUE.c.id)))
    .values(
        lease_owner=bindparam("owner"),
        due_at=bindparam("lease_ends"),
        first_tried_at=func.coalesce(jobs.c.first_tried_at, bindparam("at")),
        fence=jobs.c.fence + 1,
        # A lease that had run out means that its owner died, or was stopped for as long, in the middle of the job.
        crashes=jobs.c.crashes + case((jobs.c.lease_owner.is_not(None), 1), else_=0),
    )
    .returning(jobs)
)
_BEGIN_NOTIFYING = (
    update(reloads)
    .where(reloads.c.id.in_(bindparam("ids", expanding=True)), reloads.c.state == State.ACCEPTED)
    .values(state=State.NOTIFYING)
)
_RELOADS = select(reloads).where(reloads.c.id.in_(bindparam("ids", expanding=True)))
_CHANNELS = select(jobs.c.reload_id, jobs.c.channel_id, jobs.c.kind, jobs.c.status_ts).where(
    jobs.c.reload_id.in_(bindparam("ids", expanding=True)), schema.of_a_channel
)

_HELD = and_(
    jobs.c.id == bindparam("held_id"),
    jobs.c.fence == bindparam("held_fence"),
    jobs.c.lease_owner == bindparam("held_by"),
)
_END = delete(jobs).where(_HELD)
_CHANGE = update(jobs).where(_HELD)
_LOCK_RELOAD = select(reloads.c.state).where(reloads.c.id == bindparam("of")).with_for_update(key_share=True)
_CHANGE_RELOAD = update(reloads).where(reloads.c.id == bindparam("of"))
_CHANGE_RETURNING = _CHANGE_RELOAD.returning(reloads)
_FINISH = _CHANGE_RELOAD.where(
    ~exists().where(jobs.c.reload_id == bindparam("of"), jobs.c.kind.in_([JobKind.NOTIFY, JobKind.DM]))
)
_RESTING_STATUSES = update(jobs).where(
    jobs.c.reload_id == bindparam("of"), jobs.c.kind == JobKind.STATUS, jobs.c.lease_owner.is_(None)
)
_RESTING_STATUS = _RESTING_STATUSES.where(jobs.c.channel_id == bindparam("in_channel"))
_REMINDERS = update(jobs).where(is_reminder, jobs.c.model_id == bindparam("of_model"))
_CHANNEL_IDS = (
    select(subscribers.c.channel_id)
    .where(subscribers.c.reload_id == bindparam("of"))
    .distinct()
    .order_by(subscribers.c.channel_id)
)
_FOLLOW_UP = select(jobs.c.id).where(
    jobs.c.reload_id == bindparam("of"), jobs.c.channel_id == bindparam("in_channel"), jobs.c.kind == JobKind.NOTIFY
)
_NOT_NOTIFIED = select(subscribers.c.id).where(
    subscribers.c.reload_id == bindparam("of"),
    subscribers.c.channel_id == bindparam("in_channel"),
    subscribers.c.notified_at.is_(None),
)
_NOTIFIED = update(subscribers).where(subscribers.c.id.in_(bindparam("ids", expanding=True)))
_RESPONSE_URL_USED = (
    update(subscribers)
    .where(subscribers.c.id == bindparam("whose"))
    .values(response_url_uses=subscribers.c.response_url_uses + 1)
)


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
    connection: Connection,
    owner: str,
    slots: Mapping[tuple[JobKind, ...], int],
    lease: float,
    running: Collection[int] = (),
) -> tuple[list[Claim], float | None]:
    """Claim due jobs, at most as many of each group of kinds as it has free slots, for lease seconds.

    running are the owner's own jobs: their leases may have run out while the database was away.
    Returns them, the most important first, and in how many seconds the first job of these kinds was due before that:
    0 or less if there was one to claim, None if all of them rest.
    """
    at = now(connection)
    row = connection.execute(_FIRST_DUE).one()._asdict()
    first_due = {kinds: min([due for kind in kinds if (due := row[kind]) is not None], default=REST) for kinds in slots}
    claimed: list[Job] = []
    for kinds, free in slots.items():
        if first_due[kinds] <= at:
            values = {"at": at, "kinds": kinds, "free": free, "owner": owner, "lease_ends": at + lease}
            claimed += [to_job(job) for job in connection.execute(_CLAIM, values | {"running": list(running)})]
    claimed.sort(key=lambda job: (PRIORITY[job.kind], job.first_tried_at))
    soonest = min(first_due.values(), default=REST)
    return _claims(connection, claimed, at), None if soonest == REST else soonest - at


def _claims(connection: Connection, claimed: Sequence[Job], at: float) -> list[Claim]:
    """The claimed jobs with all that it takes to run them. A reload whose notification begins can't be joined."""
    if not claimed:
        return []
    notifying = {job.reload_id for job in claimed if job.kind in (JobKind.NOTIFY, JobKind.DM)}
    if notifying:
        connection.execute(_BEGIN_NOTIFYING, {"ids": list(notifying)})
    ids = list({job.reload_id for job in claimed})
    found = {row.id: to_reload(row) for row in connection.execute(_RELOADS, {"ids": ids})}
    # A reminder counts from the last acceptance, even one that was recorded in the instant in which it was added.
    last = {
        job.id: history.last_accepted(connection, found[job.reload_id].model_id)
        for job in claimed
        if job.kind is JobKind.REMINDER
    }
    people = history.subscribers_of(connection, {job.reload_id for job in claimed if job.kind is not JobKind.CALL})
    status_ts, waiting = _channels_of(connection, {job.reload_id for job in claimed if job.kind in _OF_A_CHANNEL})
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


def _channels_of(
    connection: Connection, reload_ids: Collection[str]
) -> tuple[Mapping[tuple[str, str], str], Collection[tuple[str, str]]]:
    """The status messages in the channels of these reloads, and which channels wait for their follow-up."""
    status_ts: dict[tuple[str, str], str] = {}
    waiting: set[tuple[str, str]] = set()
    if reload_ids:
        for row in connection.execute(_CHANNELS, {"ids": list(reload_ids)}):
            channel = (row.reload_id, row.channel_id)
            if row.kind == JobKind.STATUS:
                status_ts[channel] = row.status_ts
            else:
                waiting.add(channel)
    return status_ts, waiting


def _stage(state: str, *, waiting: bool) -> Stage:
    """How far a channel is, by the state of its reload and whether its follow-up is still to come."""
    if state == State.REQUESTED:
        return Stage.TRYING
    return Stage.WAITING if waiting else Stage.NOTIFIED


def renew(connection: Connection, owner: str, claimed: Collection[Job], lease: float) -> None:
    """Extend the leases of running jobs; one that was lost stays lost."""
    until = now(connection) + lease
    connection.execute(_CHANGE, [{**_held(job, owner), "due_at": until} for job in claimed])


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


def _held(job: Job, owner: str) -> dict[str, object]:
    """A job that is still claimed as it was."""
    return {"held_id": job.id, "held_fence": job.fence, "held_by": owner}


def _lock_reload(connection: Connection, job: Job) -> str:
    """Lock the reload of a job, and return its state."""
    state: str = connection.execute(_LOCK_RELOAD, {"of": job.reload_id}).scalar_one()
    return state


def _change_reload(connection: Connection, job: Job, **columns: object) -> None:
    """Change the reload of a job, which locks it."""
    connection.execute(_CHANGE_RELOAD, {"of": job.reload_id, **columns})


def _end(connection: Connection, owner: str, job: Job) -> None:
    if connection.execute(_END, _held(job, owner)).rowcount == 0:
        raise LeaseLost


def _change(connection: Connection, owner: str, job: Job, **columns: object) -> None:
    """Give a job back, with these columns changed."""
    if connection.execute(_CHANGE, {**_held(job, owner), "lease_owner": None, **columns}).rowcount == 0:
        raise LeaseLost


def _record_accepted(connection: Connection, owner: str, job: Job, outcome: Accepted) -> None:
    """Each channel gets a status message now and its follow-up later; reminders count from this reload."""
    at = now(connection)
    ready_at = at + outcome.ready_in
    values = {"of": job.reload_id, "state": State.ACCEPTED, "accepted_at": at, "ready_at": ready_at}
    reload = to_reload(connection.execute(_CHANGE_RETURNING, values).one())
    _end(connection, owner, job)
    open_channels(connection, reload, _channel_ids(connection, job), at)
    connection.execute(_RESTING_STATUSES, {"of": reload.id, "due_at": at, **_AFRESH})
    # A reminder that is being sent loses its lease.
    counted = {"of_model": reload.model_id, "reload_id": reload.id, "due_at": ready_at + REMIND_AFTER}
    connection.execute(_REMINDERS, {**counted, "lease_owner": None, **_AFRESH})


def _record_failed(connection: Connection, owner: str, job: Job, outcome: Failed) -> None:
    """Everyone is notified at once. A call that died may have had its effect."""
    values: dict[str, object] = {"failure": outcome.failure, "said": outcome.said, "similar": " ".join(outcome.similar)}
    if outcome.unknown or job.crashes:
        values["outcome_unknown"] = True
    _change_reload(connection, job, state=State.NOTIFYING, **values)
    _end(connection, owner, job)
    for channel_id in _channel_ids(connection, job):
        add_job(connection, job.reload_id, JobKind.NOTIFY, now(connection), channel_id=channel_id)


def _channel_ids(connection: Connection, job: Job) -> Sequence[str]:
    """The channels in which a reload, which is locked, was asked for."""
    return connection.execute(_CHANNEL_IDS, {"of": job.reload_id}).scalars().all()


def _record_notified(connection: Connection, owner: str, job: Job, outcome: Notified) -> None:
    """The others of the channel get a DM."""
    _lock_reload(connection, job)
    _end(connection, owner, job)
    at = now(connection)
    connection.execute(_NOTIFIED, {"ids": list(outcome.subscriber_ids), "notified_at": at})
    _count_response(connection, outcome.response_url_of)
    if outcome.uncertain:
        _change_reload(connection, job, undeliverable=True)
    if job.kind is JobKind.NOTIFY:
        waiting = connection.execute(_NOT_NOTIFIED, {"of": job.reload_id, "in_channel": job.channel_id}).scalars()
        for id_ in waiting.all():
            add_job(connection, job.reload_id, JobKind.DM, at, channel_id=job.channel_id, subscriber_id=id_)
    _finish(connection, job)


def _record_given_up(connection: Connection, owner: str, job: Job) -> None:
    if job.kind is JobKind.REMINDER:
        _change(connection, owner, job, due_at=REST, **_AFRESH)
        return
    _change_reload(connection, job, undeliverable=True)
    _end(connection, owner, job)
    _finish(connection, job)


def _finish(connection: Connection, job: Job) -> None:
    """Give the status message its last word, and end the reload if everyone has been notified.

    A status message that is being edited just now sees for itself that it is time.
    """
    at = now(connection)
    if job.kind is JobKind.NOTIFY:
        status = {"of": job.reload_id, "in_channel": job.channel_id}
        connection.execute(_RESTING_STATUS, {**status, "due_at": at, **_AFRESH})
    connection.execute(_FINISH, {"of": job.reload_id, "state": State.DONE, "ended_at": at})


def _record_rescheduled(connection: Connection, owner: str, job: Job, outcome: Reschedule) -> None:
    state, wait = _lock_reload(connection, job), outcome.wait
    if outcome.stage is not None:
        follow_up = connection.execute(_FOLLOW_UP, {"of": job.reload_id, "in_channel": job.channel_id}).first()
        if outcome.stage is not _stage(state, waiting=follow_up is not None):
            wait = 0.0
    ts = job.status_ts if outcome.status_ts is None else outcome.status_ts
    _change(connection, owner, job, due_at=now(connection) + wait, status_ts=ts, **_AFRESH)
    _count_response(connection, outcome.response_url_of)


def _put_back(connection: Connection, owner: str, job: Job, outcome: RetryIn | Postpone) -> None:
    if job.kind is JobKind.CALL:
        _lock_reload(connection, job)
    failed = isinstance(outcome, RetryIn)
    crashed = isinstance(outcome, RetryIn) and outcome.crashed
    at = now(connection)
    attempts, crashes = job.attempts + int(failed and not crashed), job.crashes + int(crashed)
    _change(connection, owner, job, due_at=at + outcome.wait, attempts=attempts, crashes=crashes)
    if outcome.unknown:
        _change_reload(connection, job, outcome_unknown=True)
    if job.kind is JobKind.CALL and isinstance(outcome, RetryIn):
        open_statuses(connection, job.reload_id, _channel_ids(connection, job), at + outcome.report_in)


def _count_response(connection: Connection, subscriber_id: int | None) -> None:
    if subscriber_id is not None:
        connection.execute(_RESPONSE_URL_USED, {"whose": subscriber_id})
