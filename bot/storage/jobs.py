"""How jobs are claimed, under a lease.

Each function runs inside one transaction of Database.run. Statements are built once, as building one takes ten times as
long as running it.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from time import monotonic

from sqlalchemy import Connection, Double, and_, bindparam, case, func, select, update

from bot.core import timing
from bot.core.grants import Claimed
from bot.core.models import PRIORITY, REST, Claim, Job, JobKind, Place, Stage, State
from bot.errors import ClaimTooLate
from bot.storage import grants, history, reminders, schema
from bot.storage.database import now
from bot.storage.schema import OF_A_PLACE, jobs, reloads, to_job, to_reload

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
    .cte("due")  # PostgreSQL could run a plain subquery twice, and lock more than the limit
)
_CLAIM = (
    update(jobs)
    .where(jobs.c.id.in_(select(_DUE.c.id)))
    .values(
        lease_owner=bindparam("owner"),
        due_at=bindparam("at", type_=Double) + bindparam("lease", type_=Double),
        # Time in which nobody could try it doesn't count: the process or the database was down.
        first_tried_at=func.coalesce(
            jobs.c.first_tried_at + bindparam("at", type_=Double) - jobs.c.due_at, bindparam("at", type_=Double)
        ),
        fence=jobs.c.fence + 1,
        # If a lease has run out, its owner died or was frozen in the middle of the job.
        crashes=jobs.c.crashes + case((jobs.c.lease_owner.is_not(None), 1), else_=0),
    )
    .returning(jobs)
)
_JOINABLE = (
    select(reloads.c.id)
    .where(reloads.c.id.in_(bindparam("ids", expanding=True)), reloads.c.state == State.ACCEPTED)
    .with_for_update(skip_locked=True, key_share=True)
    .cte("joinable")
)
_BEGIN_NOTIFYING = update(reloads).where(reloads.c.id.in_(select(_JOINABLE.c.id))).values(state=State.NOTIFYING)
_RELOADS = select(reloads).where(reloads.c.id.in_(bindparam("ids", expanding=True)))
_PLACES = select(jobs.c.reload_id, jobs.c.channel_id, jobs.c.thread_ts, jobs.c.kind, jobs.c.status_ts).where(
    jobs.c.reload_id.in_(bindparam("ids", expanding=True)), schema.of_a_place
)

HELD = and_(
    jobs.c.id == bindparam("held_id"),
    jobs.c.fence == bindparam("held_fence"),
    jobs.c.lease_owner == bindparam("held_by"),
)
"""A job, only while one claim holds it: held() has the parameters."""
_RENEW = update(jobs).where(HELD)


def open_database(connection: Connection) -> float:
    """Create or upgrade the tables, and return the time now.

    An SQLite file belongs to this process alone, so leases that an earlier one left end now, except those of calls:
    they end once ModelsLab can be asked again.
    """
    schema.migrate(connection)
    at = now(connection)
    if connection.dialect.name == "sqlite":
        left = update(jobs).where(jobs.c.lease_owner.is_not(None), jobs.c.kind != JobKind.CALL)
        connection.execute(left.values(due_at=at))
    return at


def claim(
    connection: Connection,
    owner: str,
    slots: Mapping[tuple[JobKind, ...], int],
    running: Collection[int] = (),
    looked_at: float = math.inf,
) -> tuple[list[Claimed], float | None, float]:
    """Claim due jobs under a lease, at most as many of each group of kinds as it has free slots.

    running are the IDs of the owner's running jobs. They aren't claimed again, even if their leases ran out while the
    database was unavailable. Returns the claimed jobs, the most important first, and the seconds until the first job of
    these kinds is due, as of before the claim: 0 or less if one was due, None if none ever will be. And when the leases
    began, in monotonic seconds.

    looked_at is when the owner looked for jobs before, also in monotonic seconds. Raises ClaimTooLate if that is so
    long ago that the leases of others may have run out meanwhile: they record what they did first.
    """
    at, began = now(connection), monotonic()
    if began - looked_at > timing.LEASE - timing.RENEW:
        raise ClaimTooLate
    row = connection.execute(_FIRST_DUE).one()._asdict()
    first_due = {kinds: min([due for kind in kinds if (due := row[kind]) is not None], default=REST) for kinds in slots}
    claimed: list[Job] = []
    for kinds, free in slots.items():
        if first_due[kinds] <= at:
            values = {"at": at, "kinds": kinds, "free": free, "owner": owner, "running": list(running)}
            lease = max(map(lease_of, kinds))
            claimed += [to_job(job) for job in connection.execute(_CLAIM, values | {"lease": lease})]
    claimed.sort(key=lambda job: (PRIORITY[job.kind], job.first_tried_at))
    found: dict[int, Claimed] = {**grants.claims(connection, claimed, at)}
    found |= _claims(connection, [job for job in claimed if job.reload_id], at)
    soonest = min(first_due.values(), default=REST)
    due_in = None if soonest == REST else soonest - at
    return [found[job.id] for job in claimed if job.id in found], due_in, began


def _claims(connection: Connection, claimed: Sequence[Job], at: float) -> Mapping[int, Claim]:
    """The claimed jobs of reloads, by their IDs. A reload whose notification begins can't be joined.

    If somebody is just joining it, it stays as it is: see Claim.must_wait.
    """
    if not claimed:
        return {}
    notifying = {job.reload_id for job in claimed if job.kind in (JobKind.NOTIFY, JobKind.DM)}
    if notifying:
        connection.execute(_BEGIN_NOTIFYING, {"ids": list(notifying)})
    ids = list({job.reload_id for job in claimed})
    found = {row.id: to_reload(row) for row in connection.execute(_RELOADS, {"ids": ids})}
    claimed = [job for job in claimed if job.reload_id in found]  # rows can be deleted by hand
    # A reminder counts from the last acceptance, even one that was recorded while the reminder was added.
    last = {
        job.id: reminders.last_accepted(connection, found[job.reload_id].model_id)
        for job in claimed
        if job.kind is JobKind.REMINDER
    }
    people = history.subscribers_of(connection, {job.reload_id for job in claimed if job.kind is not JobKind.CALL})
    status_ts, waiting = _places_of(connection, {job.reload_id for job in claimed if job.kind in OF_A_PLACE})
    return {
        job.id: Claim(
            job,
            last.get(job.id, found[job.reload_id]),
            people.get(job.reload_id, ()),
            at,
            status_ts.get((job.reload_id, job.place), ""),
            stage_of(found[job.reload_id].state, waiting=(job.reload_id, job.place) in waiting),
        )
        for job in claimed
    }


def _places_of(
    connection: Connection, reload_ids: Collection[str]
) -> tuple[Mapping[tuple[str, Place], str], Collection[tuple[str, Place]]]:
    """The status messages in the places of these reloads, and the places that wait for their follow-up."""
    status_ts: dict[tuple[str, Place], str] = {}
    waiting: set[tuple[str, Place]] = set()
    if reload_ids:
        for row in connection.execute(_PLACES, {"ids": list(reload_ids)}):
            place = (row.reload_id, Place(row.channel_id, row.thread_ts))
            if row.kind == JobKind.STATUS:
                status_ts[place] = row.status_ts
            else:
                waiting.add(place)
    return status_ts, waiting


def stage_of(state: str, *, waiting: bool) -> Stage:
    """The stage of a place, from the state of its reload and whether its follow-up is still to come."""
    if state == State.REQUESTED:
        return Stage.TRYING
    return Stage.WAITING if waiting else Stage.NOTIFIED


def lease_of(kind: JobKind) -> float:
    """How long a claim lasts, in seconds. A call that is repeated sooner is refused by ModelsLab's spam filter."""
    return max(timing.LEASE, timing.CALL_RETRY) if kind is JobKind.CALL else timing.LEASE


def renew(connection: Connection, owner: str, claimed: Collection[Job]) -> None:
    """Extend the leases of running jobs; one that was lost stays lost."""
    at = now(connection)
    connection.execute(_RENEW, [{**held(job, owner), "due_at": at + lease_of(job.kind)} for job in claimed])


def held(job: Job, owner: str) -> dict[str, object]:
    """The parameters of HELD for this claim."""
    return {"held_id": job.id, "held_fence": job.fence, "held_by": owner}
