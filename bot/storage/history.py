"""What lists show (running and recent reloads, reminders), the audit, and the deletion of old rows.

Each function runs inside one transaction of Database.run.
"""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, exists, func, insert, select

from bot.core.models import DAY, HomeData, ListedReload, Reload, State, Subscriber
from bot.storage import reminders
from bot.storage.database import now
from bot.storage.schema import (
    audit,
    in_flight,
    insert_nothing,
    jobs,
    reloads,
    subscribers,
    to,
    to_reload,
    was_accepted,
)

PRUNED_AT_ONCE = 500
"""Rows that one transaction deletes."""
_ROOM = " " * 8192

_SUBSCRIBERS = (  # built once: see bot.storage.jobs
    select(subscribers).where(subscribers.c.reload_id.in_(bindparam("ids", expanding=True))).order_by(subscribers.c.id)
)
_KNOWN_MODELS = (
    select(reloads.c.model_id)
    .where(was_accepted)
    .group_by(reloads.c.model_id)
    .order_by(func.max(reloads.c.accepted_at).desc(), reloads.c.model_id)
    .limit(bindparam("limit"))
)
_running = reloads.c.state != State.DONE


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the audit about a request that was refused, or wasn't for a reload. text is bounded."""

    user_id: str
    team_id: str
    channel_id: str
    text: str
    outcome: str
    rule: str


def reload(connection: Connection, reload_id: str) -> Reload | None:
    """The reload with this ID, or None."""
    row = connection.execute(select(reloads).where(reloads.c.id == reload_id)).first()
    return None if row is None else to_reload(row)


def known_models(connection: Connection, limit: int) -> list[str]:
    """The IDs of models with an accepted reload, the most recent first."""
    return list(connection.execute(_KNOWN_MODELS, {"limit": limit}).scalars())


def running(connection: Connection, limit: int) -> tuple[list[ListedReload], int]:
    """At most limit of the reloads that haven't ended, oldest first, and how many there are."""
    oldest = select(reloads).where(_running).order_by(reloads.c.requested_at)
    count = select(func.count()).select_from(reloads).where(_running)
    return _listed(connection, oldest, limit), connection.execute(count).scalar_one()


def in_flight_count(connection: Connection) -> int:
    """How many reloads are in flight."""
    return connection.execute(select(func.count()).select_from(reloads).where(in_flight)).scalar_one()


def recent(connection: Connection, limit: int) -> list[ListedReload]:
    """At most limit of the reloads that have ended, the last requested first."""
    ended = select(reloads).where(reloads.c.state == State.DONE)
    return _listed(connection, ended.order_by(reloads.c.requested_at.desc()), limit)


def home(connection: Connection, user_id: str, limit: int) -> HomeData:
    """What one person's Home tab shows: at most limit of each kind."""
    first, count = running(connection, limit)
    mine = reminders.of_person(connection, user_id)
    return HomeData(first, count, recent(connection, limit), mine[:limit], len(mine))


def _listed(connection: Connection, query: Select[*tuple[object, ...]], limit: int) -> list[ListedReload]:
    found = [to_reload(row) for row in connection.execute(query.limit(limit))]
    people = subscribers_of(connection, [one.id for one in found])
    at = now(connection)
    return [
        ListedReload(one, people[one.id], at)
        for one in found
        if people[one.id]  # otherwise another replica has just pruned it
    ]


def subscribers_of(connection: Connection, reload_ids: Collection[str]) -> dict[str, list[Subscriber]]:
    """The subscribers of each of these reloads, oldest first."""
    found: dict[str, list[Subscriber]] = {reload_id: [] for reload_id in reload_ids}
    if reload_ids:
        for row in connection.execute(_SUBSCRIBERS, {"ids": list(reload_ids)}):
            found[row.reload_id].append(to(Subscriber, row))
    return found


def add_note(connection: Connection, note: Note) -> int:
    """Add a line to the audit, and return its ID."""
    line = insert(audit).values(at=now(connection), **asdict(note)).returning(audit.c.id)
    line_id: int = connection.execute(line).scalar_one()
    return line_id


def touch(connection: Connection) -> None:
    """Check that a request could be recorded: add a line to the audit and delete it, and add nothing to its tables.

    It fails on a full disk, a read-only server or a locked table. The line is long because SQLite needs no new page for
    a short one, and writes nothing for an empty update.
    """
    line_id = add_note(connection, Note("", "", "", _ROOM, "", ""))
    connection.execute(delete(audit).where(audit.c.id == line_id))
    insert_nothing(connection, [reloads, subscribers, jobs])


def prune(connection: Connection, days: float) -> tuple[int, int]:
    """Delete some of the ended reloads and lines of the audit that are older than so many days.

    Returns how many of each. A reload stays while a reminder counts from it, even one that is just being added: the
    reloads are locked first.
    """
    before = now(connection) - days * DAY
    old = select(reloads.c.id).where(
        reloads.c.state == State.DONE,
        reloads.c.ended_at < before,
        ~exists().where(jobs.c.reload_id == reloads.c.id),
    )
    locked = connection.execute(old.limit(PRUNED_AT_ONCE).with_for_update(skip_locked=True)).scalars().all()
    old_lines = select(audit.c.id).where(audit.c.at < before)
    return (
        connection.execute(delete(reloads).where(reloads.c.id.in_(locked), reloads.c.id.in_(old))).rowcount,
        connection.execute(delete(audit).where(audit.c.id.in_(old_lines.limit(PRUNED_AT_ONCE)))).rowcount,
    )


def audit_lines(connection: Connection, after: float) -> Iterator[tuple[Row[*tuple[Any, ...]], Reload | None]]:
    """The lines since a time, oldest first, and the reload of each, if it was for one that wasn't pruned."""
    of_lines = select(audit.c.reload_id).where(audit.c.at >= after)
    found = {row.id: to_reload(row) for row in connection.execute(select(reloads).where(reloads.c.id.in_(of_lines)))}
    for line in connection.execute(select(audit).where(audit.c.at >= after).order_by(audit.c.at, audit.c.id)):
        yield line, found.get(line.reload_id)
