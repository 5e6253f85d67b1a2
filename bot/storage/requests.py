"""What people request: a reload, or to be notified of one too.

Each function runs inside one transaction of Database.run. They look first and then insert, and unique constraints
decide: if another transaction was faster, the database refuses the row, and Database.run runs the function again.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, Row, bindparam, func, insert, select

from bot.core import timing
from bot.core.models import PRIORITY, RESPONSE_URL_USES, JobKind, Person, Place, Reload, Requested, State, Subscriber
from bot.errors import Refusal, Refused
from bot.storage.database import now
from bot.storage.schema import (
    audit,
    in_flight,
    jobs,
    of_a_place,
    reloads,
    subscribers,
    to,
    to_reload,
)

LIMIT_SECONDS = 600.0
"""A person's requests in the last so many seconds are counted."""

DOUBLE_CLICK_SECONDS = 3.0
"""A second press of the same button within so many seconds counts as the first one."""

_ID_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # no 0 o 1 i l u: IDs are read aloud and typed
_ID_LENGTH = 6
_RANDOM = secrets.SystemRandom()

# Built once: see bot.storage.jobs.
# With key_share, rows that refer to a locked reload can still be added meanwhile:
# https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS
_LOCK = select(reloads).where(in_flight, reloads.c.id == bindparam("of")).with_for_update(key_share=True)
_CLICKED = (
    select(subscribers.c.id)
    .where(
        subscribers.c.user_id == bindparam("user"),
        subscribers.c.requested_at > bindparam("since"),
        subscribers.c.button == bindparam("pressed"),
    )
    .order_by(subscribers.c.id.desc())
    .limit(1)
)
_LOOK = select(
    select(subscribers.c.id)
    .where(subscribers.c.invocation_id == bindparam("invocation"))
    .scalar_subquery()
    .label("earlier"),
    select(reloads.c.id).where(in_flight, reloads.c.model_id == bindparam("model")).scalar_subquery().label("running"),
    select(func.count())
    .select_from(subscribers)
    .where(subscribers.c.user_id == bindparam("user"), subscribers.c.requested_at > bindparam("since"))
    .scalar_subquery()
    .label("of_person"),
    select(func.count()).select_from(reloads).where(in_flight).scalar_subquery().label("in_flight"),
)
_RELOAD_OF = select(reloads).join(subscribers).where(subscribers.c.id == bindparam("id"))
_PLACES_OF_PERSON = select(subscribers.c.channel_id, subscribers.c.thread_ts).where(
    subscribers.c.reload_id == bindparam("of"), subscribers.c.user_id == bindparam("user")
)
_FIRST_SUBSCRIBER = (
    select(subscribers).where(subscribers.c.reload_id == bindparam("of")).order_by(subscribers.c.id).limit(1)
)
_SUBSCRIBE = insert(subscribers).returning(subscribers)
_OPENED = select(jobs.c.channel_id, jobs.c.thread_ts, jobs.c.kind).where(
    jobs.c.reload_id == bindparam("of"), of_a_place
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many reloads a person can request in LIMIT_SECONDS, and how many can be in flight; 0 is no limit.

    Replicas don't see each other's requests of the same moment, so each can then let one more in.
    """

    per_person: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One invocation: who wants which model, and where.

    invocation_id is unique. rule is what allowed the person, for the audit. button says which button of which message
    was pressed, if any. response_url_uses are the uses of the response_url that aren't for this request. reload_id is
    the reload to join; without it, the model's reload in flight is joined, or a new one started.
    """

    invocation_id: str
    person: Person
    model_id: str
    response_url: str = ""
    rule: str = ""
    button: str = ""
    response_url_uses: int = 0
    reload_id: str = ""


def ask(connection: Connection, request: Request, limits: Limits) -> Requested:
    """Start a reload, or join the one of this model that is in flight. The same invocation counts once.

    For a new one, ModelsLab is called at once. Its status message is due once the call is accepted, or else when the
    place should hear that it isn't. Raises Refused (too many requests, too many reloads).
    """
    found = _look(connection, request)
    if found.earlier is not None:
        return _answered(connection, found.earlier)
    reload = _lock(connection, found.running) if found.running else None
    if request.button and (earlier := _double_click(connection, request)):
        return earlier
    _check_limits(found, limits, starts=reload is None)
    if reload is not None:
        return _join(connection, request, reload)
    at = now(connection)
    reload = Reload(new_id(), request.model_id, State.REQUESTED, at)
    row = {"id": reload.id, "model_id": reload.model_id, "state": reload.state, "requested_at": at}
    connection.execute(insert(reloads), row)
    subscriber = _subscribe(connection, request, reload, at, "requested")
    add_job(connection, reload.id, JobKind.CALL, at)
    add_job(connection, reload.id, JobKind.STATUS, at + timing.TROUBLE_AFTER, **request.person.place._asdict())
    return Requested(reload, subscriber, at, joined=False)


def ask_each(connection: Connection, asked: Sequence[Request], limits: Limits) -> Sequence[Requested | Refused]:
    """Request several models. Each is started, joined or refused independently.

    They are of one command, and share its response_url.
    """
    answers: dict[str, Requested | Refused] = {}
    others = RESPONSE_URL_USES - RESPONSE_URL_USES // max(len(asked), 1)
    each = [replace(request, response_url_uses=others) for request in asked]
    for request in sorted(each, key=lambda one: one.model_id):  # two transactions lock reloads in the same order
        try:
            answers[request.model_id] = ask(connection, request, limits)
        except Refused as refused:
            answers[request.model_id] = refused
    return [answers[request.model_id] for request in asked]


def join(connection: Connection, request: Request, limits: Limits) -> Requested | None:
    """Join the reload with the request's reload_id; None if it is over or unknown. Raises Refused (too many requests).

    If the person is already subscribed in that place, nothing is written, and again is set.
    """
    found = _look(connection, request)
    if found.earlier is not None:
        return _answered(connection, found.earlier)
    reload = _lock(connection, request.reload_id)
    if reload is None:
        return None
    if request.person.place in _places_of_person(connection, request, reload.id):
        first = _first_subscriber(connection, reload.id)
        return Requested(reload, first, now(connection), joined=True, again=True, repeated=True)
    _check_limits(found, limits, starts=False)
    return _join(connection, request, reload)


def _join(connection: Connection, request: Request, reload: Reload) -> Requested:
    """Add a subscriber to a reload, which must be locked. A new place gets its own messages."""
    at = now(connection)
    again = bool(_places_of_person(connection, request, reload.id))
    _subscribe(connection, request, reload, at, "joined")
    status_at = at if reload.state is State.ACCEPTED else max(at, reload.requested_at + timing.TROUBLE_AFTER)
    open_places(connection, reload, [request.person.place], status_at)
    return Requested(reload, _first_subscriber(connection, reload.id), at, joined=True, again=again)


def _places_of_person(connection: Connection, request: Request, reload_id: str) -> Collection[Place]:
    """The places in which the person has requested a reload before."""
    found = connection.execute(_PLACES_OF_PERSON, {"of": reload_id, "user": request.person.user_id})
    return {Place(*row) for row in found}


def _lock(connection: Connection, reload_id: str) -> Reload | None:
    """Lock a reload if it is in flight, so that it stays in flight until this transaction ends."""
    found = connection.execute(_LOCK, {"of": reload_id}).first()
    return None if found is None else to_reload(found)


def _look(connection: Connection, request: Request) -> Row[*tuple[Any, ...]]:
    """earlier is the subscriber of the same invocation, and running the ID of the model's reload in flight.

    of_person and in_flight are what limits count.
    """
    invocation = {"invocation": request.invocation_id, "user": request.person.user_id, "model": request.model_id}
    return connection.execute(_LOOK, invocation | {"since": now(connection) - LIMIT_SECONDS}).one()


def _double_click(connection: Connection, request: Request) -> Requested | None:
    """The result of the first click, if this is the second click of a double click."""
    if connection.dialect.name == "postgresql":
        # If two clicks reach two replicas, the second one waits until the first one is committed.
        click = crc32(f"{request.person.user_id} {request.button}".encode())
        connection.execute(select(func.pg_advisory_xact_lock(click))).all()
    since = now(connection) - DOUBLE_CLICK_SECONDS
    clicked = {"user": request.person.user_id, "since": since, "pressed": request.button}
    first = connection.execute(_CLICKED, clicked).scalar_one_or_none()
    return None if first is None else _answered(connection, first)


def _answered(connection: Connection, subscriber_id: int) -> Requested:
    """The result of an earlier request, as of now."""
    reload = to_reload(connection.execute(_RELOAD_OF, {"id": subscriber_id}).one())
    first = _first_subscriber(connection, reload.id)
    return Requested(reload, first, now(connection), joined=first.id != subscriber_id, repeated=True)


def _first_subscriber(connection: Connection, reload_id: str) -> Subscriber:
    return to(Subscriber, connection.execute(_FIRST_SUBSCRIBER, {"of": reload_id}).one())


def _check_limits(found: Row[*tuple[Any, ...]], limits: Limits, *, starts: bool) -> None:
    """Raises Refused if the person, or the bot with one more reload, is over its limit."""
    if limits.per_person and found.of_person >= limits.per_person:
        raise Refused(
            Refusal.TOO_MANY_COMMANDS, rule="COMMANDS_PER_PERSON", limit=limits.per_person, seconds=LIMIT_SECONDS
        )
    if starts and limits.in_flight and found.in_flight >= limits.in_flight:
        raise Refused(Refusal.TOO_MANY_IN_FLIGHT, rule="MAX_IN_FLIGHT", limit=limits.in_flight)


def _subscribe(connection: Connection, request: Request, reload: Reload, at: float, outcome: str) -> Subscriber:
    """Add a subscriber, and a line of the audit: the columns of the same names are the request's."""
    given = asdict(request.person) | asdict(request) | {"reload_id": reload.id}
    line = {name: given[name] for name in given if name in audit.c}
    connection.execute(insert(audit), line | {"at": at, "text": reload.model_id, "outcome": outcome})
    row = {name: given[name] for name in given if name in subscribers.c}
    return to(Subscriber, connection.execute(_SUBSCRIBE, row | {"requested_at": at}).one())


def add_job(connection: Connection, reload_id: str | None, kind: JobKind, due_at: float, **columns: object) -> None:
    """Add a job; columns are those that this kind needs besides. reload_id is None for a request for access."""
    row = {"reload_id": reload_id, "kind": kind, "priority": PRIORITY[kind], "due_at": due_at}
    connection.execute(insert(jobs), row | columns)


def open_places(connection: Connection, reload: Reload, places: Sequence[Place], status_at: float) -> None:
    """Add the jobs that these places of a reload lack: a status message, and a follow-up once it is accepted.

    The reload must be locked.
    """
    found = connection.execute(_OPENED, {"of": reload.id})
    opened = {(Place(row.channel_id, row.thread_ts), row.kind) for row in found}
    for place in places:
        if reload.ready_at is not None and (place, JobKind.NOTIFY) in opened:
            continue  # its status message may be over already, and must not come twice
        if reload.ready_at is not None:
            add_job(connection, reload.id, JobKind.NOTIFY, reload.ready_at, **place._asdict())
        if (place, JobKind.STATUS) not in opened:
            add_job(connection, reload.id, JobKind.STATUS, status_at, **place._asdict())


def new_id() -> str:
    """A short random ID, as in every log line. If it is taken, the primary key refuses it, and the work runs again."""
    return "".join(_RANDOM.choices(_ID_ALPHABET, k=_ID_LENGTH))
