"""Access that admins give in Slack: who asked for it, what was decided, who has it; and who has used the command.

Each function runs inside one transaction of Database.run. The first decision counts, on whichever replica: it is one
UPDATE of a request that is open. The line of the audit is in the same transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, and_, delete, exists, func, insert, select, update

from bot.core.grants import (
    ASK_AGAIN_AFTER,
    RELOAD_MARK,
    REQUEST_EXPIRES_AFTER,
    AccessClaim,
    AccessRequest,
    Grant,
    RequestState,
)
from bot.core.models import DAY, NOWHERE, Job, JobKind, Place
from bot.errors import Refusal, Refused
from bot.storage import history
from bot.storage.database import now
from bot.storage.history import Note
from bot.storage.requests import add_job, new_id
from bot.storage.schema import access_requests, grants, is_open, jobs, people, to, to_access_request

_LAST_MOMENT = 60.0
"""A request can't be decided in its last so many seconds, so that no decision is committed after it expired."""


def standing(connection: Connection, user_id: str) -> Grant | AccessRequest | None:
    """A person's grant, or their request that is open or was denied less than a day ago; None if they can ask."""
    if granted := grant_of(connection, user_id):
        return granted
    at = now(connection)
    theirs = select(access_requests).where(access_requests.c.user_id == user_id)
    row = connection.execute(theirs.order_by(access_requests.c.requested_at.desc()).limit(1)).first()
    if row is None:
        return None
    last = to_access_request(row)
    was_denied = last.state is RequestState.DENIED and last.decided_at > at - ASK_AGAIN_AFTER
    return last if was_denied or last.is_open(at) else None


def grant_of(connection: Connection, user_id: str) -> Grant | None:
    """A person's grant."""
    row = connection.execute(select(grants).where(grants.c.user_id == user_id)).first()
    return None if row is None else to(Grant, row)


def granted(connection: Connection, limit: int | None = None) -> tuple[list[Grant], int]:
    """The newest grants, at most limit (None: all), and how many there are."""
    count = connection.execute(select(func.count()).select_from(grants)).scalar_one()
    last_first = select(grants).order_by(grants.c.granted_at.desc(), grants.c.user_id).limit(limit)
    return [to(Grant, row) for row in connection.execute(last_first)], count


def ask(
    connection: Connection, asked: Note, of: str, admins: Collection[str], admin_channel: str, thread_ts: str = ""
) -> AccessRequest | None:
    """Ask the admins, or in admin_channel if there is one, to give the author of the note access.

    of is the model that they want, or RELOAD_MARK and the ID of a reload of it, or ""; thread_ts is the thread in which
    they want it.
    Returns None if they have access. Raises Refused if they've asked already, or were denied less than a day ago.
    """
    found = standing(connection, asked.user_id)
    if isinstance(found, Grant):
        return None
    if found is not None:
        raise Refused(Refusal.NOT_ALLOWED, rule="ALLOWED_USERS", user_id=asked.user_id, has_admins=True, asked=found)
    model_id = of
    if of.startswith(RELOAD_MARK):
        reload = history.reload(connection, of.removeprefix(RELOAD_MARK))
        model_id = "" if reload is None else reload.model_id
    request = _add_request(connection, asked.user_id, Place(asked.channel_id, thread_ts), model_id)
    show(connection, request.id, admins, admin_channel)
    history.add_note(connection, replace(asked, text=model_id))
    return request


def show_to_new_admins(connection: Connection, admins: Collection[str], admin_channel: str) -> None:
    """Show open requests to people who became admins after they were made."""
    open_ones = select(access_requests.c.id).where(is_open).order_by(access_requests.c.id).with_for_update()
    for request_id in connection.execute(open_ones).scalars().all():
        show(connection, request_id, admins, admin_channel)


def show(connection: Connection, request_id: str, admins: Collection[str], admin_channel: str = "") -> None:
    """Show a request in admin_channel, or to each admin, unless it is there already. It must be locked, or new.

    One that was shown in direct messages stays there: admin_channel may be one that can't be reached.
    """
    shown = _shown(connection, request_id)
    in_channel = "" if any(user_id for _, user_id in shown) else admin_channel
    for channel_id, user_id in [(in_channel, "")] if in_channel else [("", admin) for admin in sorted(admins)]:
        if (channel_id, user_id) not in shown:
            to = {"access_id": request_id, "channel_id": channel_id, "user_id": user_id}
            add_job(connection, None, JobKind.ACCESS_REQUEST, now(connection), **to)


def _shown(connection: Connection, request_id: str) -> Collection[tuple[str, str]]:
    """The channels and the people to whom a request was shown, or will be."""
    of_request = and_(jobs.c.access_id == request_id, jobs.c.kind == JobKind.ACCESS_REQUEST)
    return {(row.channel_id, row.user_id) for row in connection.execute(select(jobs).where(of_request))}


def decide(connection: Connection, decided: Note, request_id: str, state: RequestState) -> AccessRequest:
    """Allow or deny a request, once; the note's author is the admin.

    Raises Refused if it is decided already, has expired or is unknown.
    """
    at = now(connection)
    this = access_requests.c.id == request_id
    undecided = update(access_requests).where(this, is_open, access_requests.c.expires_at > at + _LAST_MOMENT)
    deciding = undecided.values(state=state, decided_at=at, decided_by=decided.user_id)
    row = connection.execute(deciding.returning(access_requests)).first()
    if row is None:
        before = connection.execute(select(access_requests).where(this)).first()
        by = "" if before is None else before.decided_by
        raise Refused(Refusal.ALREADY_DECIDED, decided_by=by, by_you=by == decided.user_id)
    request = to_access_request(row)
    if state is RequestState.ALLOWED and grant_of(connection, request.user_id) is None:
        grant = {"user_id": request.user_id, "granted_by": decided.user_id, "granted_at": at}
        connection.execute(insert(grants), grant)
    _wake(connection, request_id)
    history.add_note(connection, replace(decided, text=request.user_id))
    return request


def end_unreached(connection: Connection, request_id: str, admins: Collection[str]) -> None:
    """End an open request that is shown in no channel and to no admin: the person is told. It must be locked."""
    if any(channel_id or user_id in admins for channel_id, user_id in _shown(connection, request_id)):
        return
    ending = update(access_requests).where(access_requests.c.id == request_id, is_open)
    if connection.execute(ending.values(state=RequestState.UNREACHED)).rowcount:
        _wake(connection, request_id)


def _wake(connection: Connection, request_id: str) -> None:
    """Let the jobs of a request run now. One that is just running sees for itself that the request has ended."""
    resting = update(jobs).where(jobs.c.access_id == request_id, jobs.c.lease_owner.is_(None))
    connection.execute(resting.values(due_at=now(connection), attempts=0, crashes=0))


def add_people(connection: Connection, added: Note, user_ids: Collection[str]) -> list[str]:
    """Give people access, as if each had asked; the note's author is the admin. Returns who didn't have a grant."""
    # Another admin may be deciding one of their requests just now.
    theirs = select(access_requests.c.id).where(is_open, access_requests.c.user_id.in_(user_ids))
    connection.execute(theirs.order_by(access_requests.c.id).with_for_update()).all()
    new = [user_id for user_id in sorted(set(user_ids)) if grant_of(connection, user_id) is None]
    for user_id in new:
        found = standing(connection, user_id)
        request = found if isinstance(found, AccessRequest) and found.state is RequestState.OPEN else None
        if request is not None and request.expires_at <= now(connection) + _LAST_MOMENT:
            answers = and_(jobs.c.access_id == request.id, jobs.c.kind == JobKind.ACCESS_ANSWER)
            connection.execute(delete(jobs).where(answers))  # nobody has to read that it expired
            request = None
        request = request or _add_request(connection, user_id)
        decide(connection, added, request.id, RequestState.ALLOWED)
    return new


def revoke(connection: Connection, revoked: Note, user_ids: Collection[str]) -> list[str]:
    """Take back people's grants; the note's author is the admin. Returns who had one."""
    revoking = delete(grants).where(grants.c.user_id.in_(user_ids)).returning(grants.c.user_id)
    had = sorted(connection.execute(revoking).scalars())
    for user_id in had:
        history.add_note(connection, replace(revoked, text=user_id))
    return had


def _add_request(connection: Connection, user_id: str, place: Place = NOWHERE, model_id: str = "") -> AccessRequest:
    """Add a request, and the answer that is due when it expires, or earlier if it is decided."""
    at = now(connection)
    expired = (access_requests.c.user_id == user_id, is_open, access_requests.c.expires_at <= at + _LAST_MOMENT)
    connection.execute(update(access_requests).where(*expired).values(state=RequestState.EXPIRED))
    row = {
        "id": new_id(),
        "user_id": user_id,
        **place._asdict(),
        "model_id": model_id,
        "state": RequestState.OPEN,
        "requested_at": at,
        "expires_at": at + REQUEST_EXPIRES_AFTER,
    }
    request = to_access_request(connection.execute(insert(access_requests).returning(access_requests), row).one())
    add_job(connection, None, JobKind.ACCESS_ANSWER, request.expires_at, access_id=request.id, user_id=user_id)
    return request


def claims(connection: Connection, claimed: Sequence[Job], at: float) -> Mapping[int, AccessClaim]:
    """Those of the claimed jobs that are of a request for access, by their IDs."""
    of_access = [job for job in claimed if job.access_id]
    if not of_access:
        return {}
    requests = select(access_requests).where(access_requests.c.id.in_({job.access_id for job in of_access}))
    found = {row.id: to_access_request(row) for row in connection.execute(requests)}
    of_theirs = grants.c.user_id.in_({request.user_id for request in found.values()})
    granted_to = set(connection.execute(select(grants.c.user_id).where(of_theirs)).scalars())
    return {
        job.id: AccessClaim(job, found[job.access_id], at, granted=found[job.access_id].user_id in granted_to)
        for job in of_access
        if job.access_id in found
    }


def lock(connection: Connection, request_id: str) -> bool:
    """Lock a request, and return whether it is undecided."""
    locking = select(access_requests.c.state).where(access_requests.c.id == request_id).with_for_update()
    return bool(connection.execute(locking).scalar_one() == RequestState.OPEN)


def prune(connection: Connection, days: float) -> int:
    """Delete some of the requests that were made more than days ago, and return how many. One with a job stays."""
    old = select(access_requests.c.id).where(
        access_requests.c.requested_at < now(connection) - days * DAY,
        ~exists().where(jobs.c.access_id == access_requests.c.id),
    )
    old_ids = old.limit(history.PRUNED_AT_ONCE)
    return connection.execute(delete(access_requests).where(access_requests.c.id.in_(old_ids))).rowcount


def remember(connection: Connection, user_id: str) -> None:
    """Remember that this person has used the command: on Enterprise Grid, their presses can look like a stranger's."""
    if not is_known(connection, user_id):
        connection.execute(insert(people).values(user_id=user_id, since=now(connection)))


def is_known(connection: Connection, user_id: str) -> bool:
    """Whether this person has used the command."""
    return connection.execute(select(people.c.user_id).where(people.c.user_id == user_id)).first() is not None
