"""What became of a run of a job, and how that is recorded. A job's function returns it, or bot.worker.loop makes it.

Each is recorded inside one transaction of Database.run. It locks the job, and if it changes more than that, the reload,
so that the jobs of one reload are recorded one after another, even on several replicas.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, delete, exists, select, update

from bot.core.models import REMIND_AFTER, REST, Job, JobKind, Place, Stage, State
from bot.errors import Failure
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """ModelsLab accepted the reload: it should be ready after ready_in seconds.

    said is ModelsLab's own text if it was loading or loaded already.
    """

    ready_in: float
    said: str = ""

    def record(self, connection: Connection, job: Job) -> None:
        """Each place gets a status message now and its follow-up later; reminders count from this reload."""
        at = now(connection)
        ready_at = at + self.ready_in
        values = {
            "of": job.reload_id,
            "state": State.ACCEPTED,
            "accepted_at": at,
            "ready_at": ready_at,
            "said": self.said,
        }
        reload = to_reload(connection.execute(_CHANGE_RETURNING, values).one())
        _end(connection, job)
        places = _places(connection, job)
        open_places(connection, reload, places, at)
        # Follow-ups that are due a moment before this one wait for it, so that they can be one message.
        earliest = ready_at - min(TOGETHER_SECONDS, self.ready_in * TOGETHER_PART)
        for channel_id, thread_ts in places:
            where = {"in_channel": channel_id, "in_thread": thread_ts, "earliest": earliest}
            connection.execute(_GATHER, {**where, "ready_at": ready_at, "due_at": ready_at})
        connection.execute(_RESTING_STATUSES, {"of": reload.id, "due_at": at, **_AFRESH})
        # A reminder that is just being sent loses its lease.
        counted = {"of_model": reload.model_id, "reload_id": reload.id, "due_at": ready_at + REMIND_AFTER}
        connection.execute(_REMINDERS, {**counted, "lease_owner": None, **_AFRESH})


@dataclass(frozen=True, slots=True)
class Failed:
    """The reload failed for good. said is ModelsLab's own text.

    unknown means that ModelsLab may have carried it out anyway. similar are the IDs of models that may have been meant.
    """

    failure: Failure
    said: str = ""
    unknown: bool = False
    similar: Sequence[str] = ()

    def record(self, connection: Connection, job: Job) -> None:
        """Everyone is notified at once. A call that crashed may have had its effect."""
        values: dict[str, object] = {"failure": self.failure, "said": self.said, "similar": " ".join(self.similar)}
        if self.unknown or job.crashes:
            values["outcome_unknown"] = True
        _change_reload(connection, job, state=State.NOTIFYING, **values)
        _end(connection, job)
        for place in _places(connection, job):
            add_job(connection, job.reload_id, JobKind.NOTIFY, now(connection), **place._asdict())


@dataclass(frozen=True, slots=True)
class Notified:
    """These subscribers were notified of the result. After a job of their place, the others in it get a DM.

    response_url_of is the subscriber whose response_url was used. undeliverable means that somebody couldn't be
    notified in any way, or that the message said that the result is unknown.
    """

    subscriber_ids: Collection[int] = ()
    response_url_of: int | None = None
    undeliverable: bool = False

    def record(self, connection: Connection, job: Job) -> None:
        """End the job, and the reload if everyone has been notified."""
        _lock_reload(connection, job)
        _end(connection, job)
        at = now(connection)
        connection.execute(_NOTIFIED, {"ids": list(self.subscriber_ids), "notified_at": at})
        _count_response(connection, self.response_url_of)
        if self.undeliverable:
            _change_reload(connection, job, undeliverable=True)
        if job.kind is JobKind.NOTIFY:
            for id_ in connection.execute(_NOT_NOTIFIED, _of_place(job)).scalars().all():
                add_job(connection, job.reload_id, JobKind.DM, at, **job.place._asdict(), subscriber_id=id_)
            # The status message shows the result. If it is just being edited, recording that edit finds the change.
            connection.execute(_RESTING_STATUS, {**_of_place(job), "due_at": at, **_AFRESH})
        connection.execute(_FINISH, {"of": job.reload_id, "state": State.DONE, "ended_at": at})


@dataclass(frozen=True, slots=True)
class RetryIn:
    """The job failed, was interrupted or wasn't tried, and is due again after wait seconds.

    unknown means that a call may have had its effect. A failure counts as one of the attempts, or as one of the crashes
    if the error was one of ours; the rest counts as neither.
    """

    wait: float
    unknown: bool = False
    attempts: int = 0
    crashes: int = 0

    def record(self, connection: Connection, job: Job) -> None:
        """Release the job, and count."""
        if self.unknown:
            _change_reload(connection, job, outcome_unknown=True)
        counts = {"attempts": job.attempts + self.attempts, "crashes": job.crashes + self.crashes}
        _change(connection, job, due_at=now(connection) + self.wait, **counts)


@dataclass(frozen=True, slots=True)
class Reschedule:
    """The job did what was due. It is due again after wait seconds, as if it had never been tried.

    status_ts is the message that a status job posted, response_url_of as in Notified. stage is the stage of its place
    when the job was claimed: if that has changed since, the job is due at once.
    """

    wait: float = REST
    status_ts: str | None = None
    response_url_of: int | None = None
    stage: Stage | None = None

    def record(self, connection: Connection, job: Job) -> None:
        """Release the job. What it is for is locked, and may have left this stage since the job was claimed."""
        if job.access_id:
            has_changed = not grants.lock(connection, job.access_id)
        else:
            state = _lock_reload(connection, job)
            follow_up = connection.execute(_FOLLOW_UP, _of_place(job)).first()
            has_changed = self.stage not in (None, stage_of(state, waiting=follow_up is not None))
        wait = 0.0 if has_changed else self.wait
        ts = job.status_ts if self.status_ts is None else self.status_ts
        _change(connection, job, due_at=now(connection) + wait, status_ts=ts, **_AFRESH)
        _count_response(connection, self.response_url_of)


@dataclass(frozen=True, slots=True)
class Done:
    """The job has nothing left to do."""

    def record(self, connection: Connection, job: Job) -> None:
        """End the job."""
        _end(connection, job)


@dataclass(frozen=True, slots=True)
class NotShown:
    """A request for access couldn't be shown in the admins' channel, or to one of the admins."""

    admins: Collection[str]

    def record(self, connection: Connection, job: Job) -> None:
        """Instead of in the channel, show it to each admin. If it is shown to none of them, end the request, too."""
        grants.lock(connection, job.access_id)
        _end(connection, job)
        if job.channel_id:
            grants.show(connection, job.access_id, self.admins)
        grants.end_unreached(connection, job.access_id, self.admins)


Outcome = Accepted | Failed | Notified | RetryIn | Reschedule | Done | NotShown


def record(connection: Connection, owner: str, results: Sequence[tuple[Job, Outcome]]) -> list[Job]:
    """Record outcomes of jobs. Returns the jobs that were claimed again meanwhile: nothing of them is recorded."""
    lost = []
    for job, outcome in sorted(results, key=lambda one: one[0].reload_id):  # all lock reloads in the same order
        if connection.execute(_LOCK_JOB, held(job, owner)).first() is None:
            lost.append(job)
        else:
            outcome.record(connection, job)
    return lost


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


def _places(connection: Connection, job: Job) -> Sequence[Place]:
    """The places where a reload was requested. The reload must be locked."""
    return [Place(*row) for row in connection.execute(_PLACES_ASKED_IN, {"of": job.reload_id})]


def _count_response(connection: Connection, subscriber_id: int | None) -> None:
    if subscriber_id is not None:
        connection.execute(_RESPONSE_URL_USED, {"whose": subscriber_id})
