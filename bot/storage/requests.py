"""What people ask for: a reload, to be notified too, a reminder.

Each function runs inside one transaction of Database.run. They look first and then insert, and unique constraints
decide: where another transaction was quicker, the database refuses the row, and Database.run runs the function again.
"""

import secrets
from dataclasses import dataclass
from zlib import crc32

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select

from bot.core.models import PRIORITY, REMIND_AFTER, JobKind, Reload, Reminder, State, Subscriber
from bot.core.outcomes import REST
from bot.errors import Refusal, Refused
from bot.storage import history
from bot.storage.schema import (
    audit,
    in_flight,
    is_reminder,
    jobs,
    now,
    reloads,
    subscribers,
    to_reload,
    to_subscriber,
    was_accepted,
)

LIMIT_SECONDS = 600.0
"""The time within which a person's requests are counted."""

DOUBLE_CLICK_SECONDS = 10.0
"""Within this time a person's second press of the same button is the first one again."""

_ID_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # no 0 o 1 i l u: IDs are read aloud and typed
_ID_LENGTH = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """How many reloads a person can ask for in LIMIT_SECONDS, and how many can be in flight; 0 is no limit.

    Replicas that are asked in the same instant do not see each other's requests: each may then let one more in.
    """

    per_person: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One invocation: who wants which model, where.

    invocation_id is Slack's own and unique. team_id is the person's workspace and rule what allowed them: for the
    audit. button is which button of which message was pressed, if one was.
    """

    invocation_id: str
    user_id: str
    channel_id: str
    model_id: str
    response_url: str
    team_id: str = ""
    rule: str = ""
    button: str = ""


@dataclass(frozen=True, slots=True)
class Requested:
    """What came of a request: its reload, who asked for that first, and whether this request joined it."""

    reload: Reload
    first: Subscriber
    joined: bool

    @property
    def outcome(self) -> str:
        """Its word in the audit."""
        return "joined" if self.joined else "requested"


def ask(connection: Connection, request: Request, limits: Limits = Limits()) -> Requested:
    """Start a reload, or join the one of this model that is in flight. The same invocation counts once.

    Raises Refused (too many requests, too many reloads).
    """
    if earlier := _earlier(connection, request):
        return earlier
    reload = _lock_in_flight(connection, reloads.c.model_id == request.model_id)
    if earlier := _double_click(connection, request):
        return earlier
    _check_person(connection, request.user_id, limits)
    if reload is not None:
        return _join(connection, request, reload)
    running = connection.execute(select(func.count()).select_from(reloads).where(in_flight)).scalar_one()
    if limits.in_flight and running >= limits.in_flight:
        raise Refused(Refusal.TOO_MANY_IN_FLIGHT, rule="MAX_IN_FLIGHT", limit=limits.in_flight)
    return _start(connection, request)


def join(connection: Connection, request: Request, reload_id: str, limits: Limits = Limits()) -> Requested | None:
    """Join this very reload; None if it is over or unknown. Raises Refused (too many requests).

    Someone who is subscribed in that channel already gets the same answer, and nothing is written.
    """
    if earlier := _earlier(connection, request):
        return earlier
    reload = _lock_in_flight(connection, reloads.c.id == reload_id)
    if reload is None:
        return None
    subscribed = and_(
        subscribers.c.reload_id == reload_id,
        subscribers.c.user_id == request.user_id,
        subscribers.c.channel_id == request.channel_id,
    )
    if connection.execute(select(subscribers.c.id).where(subscribed)).first() is not None:
        return Requested(reload, _first_subscriber(connection, reload_id), joined=True)
    _check_person(connection, request.user_id, limits)
    return _join(connection, request, reload)


def _start(connection: Connection, request: Request) -> Requested:
    """A new reload, its first subscriber, the call of ModelsLab that is due at once, and a line of the audit."""
    at = now(connection)
    reload = Reload(new_reload_id(), request.model_id, State.REQUESTED, at)
    connection.execute(
        insert(reloads).values(id=reload.id, model_id=reload.model_id, state=reload.state.value, requested_at=at)
    )
    subscriber = _subscribe(connection, request, reload, at)
    add_job(connection, reload.id, JobKind.CALL, at)
    _add_audit(connection, request, reload, at, "requested")
    return Requested(reload, subscriber, joined=False)


def _join(connection: Connection, request: Request, reload: Reload) -> Requested:
    """One more subscriber of a reload that is locked; a channel that is new to it gets its messages, too."""
    at = now(connection)
    _subscribe(connection, request, reload, at)
    if reload.state is State.ACCEPTED:
        open_channel(connection, reload, request.channel_id, at)
    elif (report_at := _trouble_reported_at(connection, reload.id)) is not None:
        open_status(connection, reload.id, request.channel_id, max(at, report_at))
    _add_audit(connection, request, reload, at, "joined")
    return Requested(reload, _first_subscriber(connection, reload.id), joined=True)


def _trouble_reported_at(connection: Connection, reload_id: str) -> float | None:
    """When the channels of a reload that ModelsLab has not accepted are told so; None if no call has failed."""
    reports = and_(jobs.c.reload_id == reload_id, jobs.c.kind == JobKind.STATUS)
    due_at: float | None = connection.execute(select(func.min(jobs.c.due_at)).where(reports)).scalar_one()
    return 0.0 if due_at == REST else due_at


def _lock_in_flight(connection: Connection, which: ColumnElement[bool]) -> Reload | None:
    """The reload in flight; locked, it stays in flight until this transaction ends."""
    # Without KEY, so that rows which refer to the reload can still be added meanwhile:
    # https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS
    found = connection.execute(select(reloads).where(which, in_flight).with_for_update(key_share=True)).first()
    return None if found is None else to_reload(found)


def _earlier(connection: Connection, request: Request) -> Requested | None:
    """What this invocation was answered when it was delivered before."""
    row = connection.execute(select(subscribers).where(subscribers.c.invocation_id == request.invocation_id)).first()
    return None if row is None else _answered(connection, row)


def _double_click(connection: Connection, request: Request) -> Requested | None:
    """What the same person's same press was answered a moment ago."""
    if not request.button:
        return None
    if connection.dialect.name == "postgresql":
        # Two clicks that reach two replicas take turns, however much happens between them.
        click = crc32(f"{request.user_id} {request.button}".encode())
        connection.execute(select(func.pg_advisory_xact_lock(click))).all()
    row = connection.execute(
        select(subscribers)
        .where(
            subscribers.c.user_id == request.user_id,
            subscribers.c.requested_at > now(connection) - DOUBLE_CLICK_SECONDS,
            subscribers.c.button == request.button,
        )
        .order_by(subscribers.c.id.desc())
        .limit(1)
    ).first()
    return None if row is None else _answered(connection, row)


def _answered(connection: Connection, row: Row[*tuple[object, ...]]) -> Requested:
    """What the request of this row was answered, as things are now."""
    reload = to_reload(connection.execute(select(reloads).where(reloads.c.id == row.reload_id)).one())
    first = _first_subscriber(connection, reload.id)
    return Requested(reload, first, joined=first.id != row.id)


def _first_subscriber(connection: Connection, reload_id: str) -> Subscriber:
    of_reload = select(subscribers).where(subscribers.c.reload_id == reload_id)
    return to_subscriber(connection.execute(of_reload.order_by(subscribers.c.id).limit(1)).one())


def _check_person(connection: Connection, user_id: str, limits: Limits) -> None:
    if not limits.per_person:
        return
    lately = and_(
        subscribers.c.user_id == user_id,
        subscribers.c.requested_at > now(connection) - LIMIT_SECONDS,
    )
    count = connection.execute(select(func.count()).select_from(subscribers).where(lately)).scalar_one()
    if count >= limits.per_person:
        raise Refused(
            Refusal.TOO_MANY_COMMANDS, rule="COMMANDS_PER_PERSON", limit=limits.per_person, seconds=LIMIT_SECONDS
        )


def _subscribe(connection: Connection, request: Request, reload: Reload, at: float) -> Subscriber:
    added = connection.execute(
        insert(subscribers)
        .values(
            reload_id=reload.id,
            invocation_id=request.invocation_id,
            button=request.button,
            user_id=request.user_id,
            channel_id=request.channel_id,
            requested_at=at,
            response_url=request.response_url,
        )
        .returning(subscribers)
    )
    return to_subscriber(added.one())


def add_job(connection: Connection, reload_id: str, kind: JobKind, due_at: float, **columns: object) -> None:
    """Add a job; columns are those that this kind needs besides."""
    connection.execute(
        insert(jobs).values(reload_id=reload_id, kind=kind.value, priority=PRIORITY[kind], due_at=due_at, **columns)
    )


def open_channel(connection: Connection, reload: Reload, channel_id: str, at: float) -> None:
    """See to it that a channel of a reload, which is locked, gets its status message and its follow-up."""
    if not _has_job(connection, reload.id, channel_id, JobKind.NOTIFY):
        add_job(connection, reload.id, JobKind.NOTIFY, reload.ready_at or at, channel_id=channel_id)
        open_status(connection, reload.id, channel_id, at)


def open_status(connection: Connection, reload_id: str, channel_id: str, due_at: float) -> None:
    """See to it that a channel of a reload, which is locked, has a status job."""
    if not _has_job(connection, reload_id, channel_id, JobKind.STATUS):
        add_job(connection, reload_id, JobKind.STATUS, due_at, channel_id=channel_id)


def _has_job(connection: Connection, reload_id: str, channel_id: str, kind: JobKind) -> bool:
    of_channel = and_(jobs.c.reload_id == reload_id, jobs.c.channel_id == channel_id, jobs.c.kind == kind)
    return connection.execute(select(jobs.c.id).where(of_channel)).first() is not None


def _add_audit(connection: Connection, request: Request, reload: Reload, at: float, outcome: str) -> None:
    connection.execute(
        insert(audit).values(
            at=at,
            user_id=request.user_id,
            team_id=request.team_id,
            channel_id=request.channel_id,
            text=reload.model_id,
            outcome=outcome,
            rule=request.rule,
            reload_id=reload.id,
        )
    )


def new_reload_id() -> str:
    """A short ID, as in every log line: 30⁶ of them, and the primary key lets none be given twice."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


def remind(connection: Connection, user_id: str, reload_id: str, channel_id: str) -> Reminder | None:
    """Remind a person of a reload's model, once; None if that reload is unknown or was never accepted."""
    model_id = connection.execute(
        select(reloads.c.model_id).where(reloads.c.id == reload_id, was_accepted)
    ).scalar_one_or_none()
    if model_id is None:
        return None
    mine = [one for one in history.reminders(connection, user_id) if one.model_id == model_id]
    if not mine:
        last = history.last_accepted(connection, model_id)
        add_job(
            connection,
            last.id,
            JobKind.REMINDER,
            (last.ready_at or 0.0) + REMIND_AFTER,
            channel_id=channel_id,
            user_id=user_id,
            model_id=model_id,
        )
        mine = [one for one in history.reminders(connection, user_id) if one.model_id == model_id]
    return mine[0]


def stop_reminding(connection: Connection, user_id: str, model_id: str) -> bool:
    """Take back a reminder, even one that is being sent; returns whether there was one."""
    mine = and_(is_reminder, jobs.c.user_id == user_id, jobs.c.model_id == model_id)
    return connection.execute(delete(jobs).where(mine)).rowcount > 0
