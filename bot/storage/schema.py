"""The tables, and how a database of an earlier version is upgraded.

All times are seconds since the Unix epoch (UTC), in double precision: the same on SQLite and PostgreSQL. Every name
begins with reload_model, so that the tables can share a database with another program's.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    delete,
    false,
    func,
    insert,
    inspect,
    literal,
    select,
    update,
)

from bot.core.grants import AccessRequest, Grant, RequestState
from bot.core.models import IN_FLIGHT, Job, JobKind, Reload, State, Subscriber
from bot.errors import CannotStart, Failure

T = TypeVar("T", Reload, Subscriber, Job, Grant, AccessRequest)

metadata = MetaData()

# An INTEGER primary key is SQLite's own row number: https://www.sqlite.org/lang_createtable.html#rowid
_Id = BigInteger().with_variant(Integer, "sqlite")


def _reload_id(*, nullable: bool = False) -> Column[str]:
    reference = ForeignKey("reload_model_reloads.id", ondelete="CASCADE")
    return Column("reload_id", Text, reference, nullable=nullable, index=True)


def _only(condition: ColumnElement[bool]) -> dict[str, Any]:
    """The arguments of a partial index, for both databases."""
    return {"sqlite_where": condition, "postgresql_where": condition}


version = Table("reload_model_schema", metadata, Column("version", Integer, nullable=False))

reloads = Table(
    "reload_model_reloads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", Double, nullable=False, index=True),
    Column("accepted_at", Double),
    Column("ready_at", Double),
    Column("ended_at", Double),
    Column("failure", Text),
    Column("said", Text, nullable=False, default=""),
    Column("similar", Text, nullable=False, default=""),  # IDs, with spaces between
    Column("outcome_unknown", Boolean, nullable=False, default=False),
    Column("undeliverable", Boolean, nullable=False, default=False),
)
in_flight = reloads.c.state.in_([literal(state.value, literal_execute=True) for state in IN_FLIGHT])
# One reload of a model is in flight at a time. SQLite uses a partial index only for exactly the same condition.
Index("reload_model_one_in_flight", reloads.c.model_id, unique=True, **_only(in_flight))
was_accepted = reloads.c.accepted_at.is_not(None)
Index("reload_model_accepted", reloads.c.model_id, reloads.c.accepted_at, **_only(was_accepted))

subscribers = Table(
    "reload_model_subscribers",
    metadata,
    Column("id", _Id, primary_key=True),
    _reload_id(),
    # Made of Slack's own ID of the invocation, which is unique: see bot.handlers.access.SlackRequest.for_reload.
    Column("invocation_id", Text, nullable=False, unique=True),
    Column("button", Text, nullable=False),  # which button of which message was pressed, if one was
    Column("user_id", Text, nullable=False),
    Column("channel_id", Text, nullable=False),
    Column("thread_ts", Text, nullable=False, default=""),
    Column("private", Boolean, nullable=False),
    Column("requested_at", Double, nullable=False),
    Column("response_url", Text, nullable=False),
    Column("response_url_uses", Integer, nullable=False, default=0),
    Column("notified_at", Double),
)
Index("reload_model_requests_of_person", subscribers.c.user_id, subscribers.c.requested_at)

grants = Table(
    "reload_model_grants",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("granted_by", Text, nullable=False),
    Column("granted_at", Double, nullable=False),
)
"""The access that admins gave in Slack: see bot.storage.grants."""

access_requests = Table(
    "reload_model_access_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False, index=True),
    Column("channel_id", Text, nullable=False),  # where a model was wanted, "" if that isn't known
    Column("thread_ts", Text, nullable=False, default=""),
    Column("model_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", Double, nullable=False, index=True),
    Column("expires_at", Double, nullable=False),
    Column("decided_by", Text, nullable=False, default=""),
    Column("decided_at", Double, nullable=False, default=0.0),
)
is_open = access_requests.c.state == literal(RequestState.OPEN.value, literal_execute=True)
# A person has one open request at a time.
Index("reload_model_one_open_request", access_requests.c.user_id, unique=True, **_only(is_open))

jobs = Table(
    "reload_model_jobs",
    metadata,
    Column("id", _Id, primary_key=True),
    _reload_id(nullable=True),  # or else there is an access_id
    Column("access_id", Text, ForeignKey("reload_model_access_requests.id", ondelete="CASCADE"), index=True),
    Column("kind", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("channel_id", Text, nullable=False, default=""),
    Column("thread_ts", Text, nullable=False, default=""),
    Column("subscriber_id", _Id),  # who a DM is for
    Column("user_id", Text, nullable=False, default=""),  # who a reminder is for, or the admin who is asked
    Column("model_id", Text, nullable=False, default=""),  # the model that a reminder is about
    Column("status_ts", Text, nullable=False, default=""),
    # When the job can be claimed: while it is claimed, the end of its lease; infinite while it rests.
    Column("due_at", Double, nullable=False),
    Column("first_tried_at", Double),
    Column("lease_owner", Text),
    Column("fence", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("crashes", Integer, nullable=False, default=0),
)
Index("reload_model_due", jobs.c.kind, jobs.c.due_at)
OF_A_PLACE = (JobKind.STATUS, JobKind.NOTIFY)
of_a_place = jobs.c.kind.in_([literal(kind.value, literal_execute=True) for kind in OF_A_PLACE])
# Each place of a reload has one status message and one follow-up.
_place = (jobs.c.reload_id, jobs.c.channel_id, jobs.c.thread_ts, jobs.c.kind)
Index("reload_model_one_per_place", *_place, unique=True, **_only(of_a_place))
is_reminder = jobs.c.kind == literal(JobKind.REMINDER.value, literal_execute=True)
# Each person has one reminder for a model.
Index("reload_model_one_reminder", jobs.c.user_id, jobs.c.model_id, unique=True, **_only(is_reminder))

people = Table(
    "reload_model_people",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("since", Double, nullable=False),
)
"""People who have used the command: see bot.storage.grants."""

audit = Table(
    "reload_model_audit",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("user_id", Text, nullable=False),
    Column("team_id", Text, nullable=False),
    Column("channel_id", Text, nullable=False),
    Column("text", Text, nullable=False),  # what was typed or pressed
    Column("outcome", Text, nullable=False),
    Column("rule", Text, nullable=False),  # what allowed or refused the person
    Column("reload_id", Text),  # not a foreign key: the line can outlive the reload
)


def to_reload(row: Row[*tuple[object, ...]]) -> Reload:
    """A row of reloads. A failure from a later version of this program becomes an internal one."""
    failure = Failure(row.failure) if row.failure else None
    return to(Reload, row, state=State(row.state), failure=failure, similar=tuple(row.similar.split()))


def to_job(row: Row[*tuple[object, ...]]) -> Job:
    """A row of jobs that was claimed."""
    return to(Job, row, kind=JobKind(row.kind), reload_id=row.reload_id or "", access_id=row.access_id or "")


def to_access_request(row: Row[*tuple[object, ...]]) -> AccessRequest:
    """A row of access_requests."""
    return to(AccessRequest, row, state=RequestState(row.state))


def to(kind: type[T], row: Row[*tuple[object, ...]], /, **converted: object) -> T:
    """A row as a dataclass: each field is the column of the same name, unless it had to be converted."""
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)} | converted)


MIGRATIONS: Sequence[Callable[[Connection], None]] = ()
"""The n-th function, counted from 1, upgrades a database from version n to n + 1. The tables above change with it."""

VERSION = len(MIGRATIONS) + 1

_LOCK = 0x72656C6F6164  # "reload": an advisory lock that no other program takes


def migrate(connection: Connection, migrations: Sequence[Callable[[Connection], None]] = MIGRATIONS) -> None:
    """Upgrade the database to this program's version, inside the caller's transaction.

    Replicas that start together take turns. Raises CannotStart for a database made by a later version; anything
    else that prevents writing raises the same error as a later write.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    found, wanted = version_of(connection), len(migrations) + 1
    if found == 0:
        metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(version).values(version=wanted))
    elif found > wanted:
        what = f"the database has schema version {found}, and this program only knows {wanted}"
        raise CannotStart("DATABASE_URL", what, "run the newer version, or use another database")
    else:
        for upgrade in migrations[found - 1 :]:
            upgrade(connection)
        connection.execute(update(version).values(version=wanted))
        # Statements that touch no row, and yet fail if a table, a column or a permission is missing.
        insert_nothing(connection, metadata.sorted_tables)
        for table in metadata.sorted_tables:
            connection.execute(update(table).where(false()).values({column: column for column in table.c}))
            connection.execute(delete(table).where(false()))


def insert_nothing(connection: Connection, tables: Sequence[Table]) -> None:
    """Insert no row into each of these tables. It fails if a table, a column or the permission is missing."""
    for table in tables:
        nothing = select(*table.c).where(false())
        connection.execute(insert(table).from_select([column.name for column in table.c], nothing))


def version_of(connection: Connection) -> int:
    """The version of the tables in a database, 0 if there are none. Raises CannotStart if it can't be determined."""
    if not inspect(connection).has_table(version.name):
        return 0
    versions = connection.execute(select(version.c.version)).scalars().all()
    if len(versions) != 1 or not isinstance(versions[0], int):
        raise CannotStart(
            "DATABASE_URL",
            f"the table {version.name} should have one row, a number, and has {len(versions)}, so the version of the "
            "tables is unknown",
            "restore the database from a backup, or use a new one",
        )
    found: int = versions[0]
    return found
