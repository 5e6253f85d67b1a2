"""The tables, and how a database of an earlier version becomes one of this. Knows nothing of what is done with rows.

All times are seconds since the Unix epoch (UTC), as double precision: the same on SQLite and PostgreSQL.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Named,
    Table,
    Text,
    TypedColumns,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)

from bot.errors import CannotStart
from bot.reload import IN_FLIGHT, StepKind

metadata = MetaData()

# An INTEGER primary key is SQLite's own row number: https://www.sqlite.org/lang_createtable.html#rowid
_Id = BigInteger().with_variant(Integer, "sqlite")
_OF_RELOAD = "reload.id"


class VersionColumns(TypedColumns):
    """The version of the schema, in one row."""

    version: Named[int]


class ReloadColumns(TypedColumns):
    """One reload of one model; failure is the name of a bot.errors.Failure."""

    id: Named[str] = Column(Text, primary_key=True)
    model_id: Named[str] = Column(Text)
    state: Named[str] = Column(Text)
    asked_at: Named[float] = Column(Double)
    accepted_at: Named[float | None] = Column(Double)
    ready_at: Named[float | None] = Column(Double)
    ended_at: Named[float | None] = Column(Double)
    failure: Named[str | None] = Column(Text)
    said: Named[str] = Column(Text)
    unknown: Named[bool]
    undeliverable: Named[bool]

    __row_pos__: tuple[str, str, str, float, float | None, float | None, float | None, str | None, str, bool, bool]


class WatcherColumns(TypedColumns):
    """One person's asking for a reload, from one invocation (trigger_id) in one channel."""

    id: Named[int] = Column(_Id, primary_key=True)
    reload_id: Named[str] = Column(Text, ForeignKey(_OF_RELOAD, ondelete="CASCADE"), index=True)
    trigger_id: Named[str] = Column(Text, unique=True)
    user_id: Named[str] = Column(Text)
    channel_id: Named[str] = Column(Text)
    asked_at: Named[float] = Column(Double)
    response_url: Named[str] = Column(Text)
    response_uses: Named[int] = Column(Integer)
    told_at: Named[float | None] = Column(Double)

    __row_pos__: tuple[int, str, str, str, str, float, str, int, float | None]


class PlaceColumns(TypedColumns):
    """A channel that a reload concerns, once it has been accepted or has failed; status_ts is its status message."""

    reload_id: Named[str] = Column(Text, ForeignKey(_OF_RELOAD, ondelete="CASCADE"), primary_key=True)
    channel_id: Named[str] = Column(Text, primary_key=True)
    status_ts: Named[str] = Column(Text)


class StepColumns(TypedColumns):
    """The next thing to do for a reload.

    due_at is when anybody may take it: while somebody has it (lease_owner), the end of their lease; infinite where
    it rests until something else makes it due. person_id is whom a reminder is for.
    """

    id: Named[int] = Column(_Id, primary_key=True)
    reload_id: Named[str] = Column(Text, ForeignKey(_OF_RELOAD, ondelete="CASCADE"), index=True)
    kind: Named[str] = Column(Text)
    rank: Named[int] = Column(Integer)
    channel_id: Named[str] = Column(Text)
    watcher_id: Named[int | None] = Column(_Id)
    due_at: Named[float] = Column(Double, index=True)
    tried_at: Named[float | None] = Column(Double)
    lease_owner: Named[str | None] = Column(Text)
    claims: Named[int] = Column(Integer)
    attempts: Named[int] = Column(Integer)
    crashes: Named[int] = Column(Integer)
    person_id: Named[str | None] = Column(Text)

    __row_pos__: tuple[int, str, str, int, str, int | None, float, float | None, str | None, int, int, int, str | None]


class AuditColumns(TypedColumns):
    """One invocation and what came of it; reload_id is that of the reload it began or joined, which may be forgotten.

    outcome is "requested", "joined", a bot.command.Word or the audit of a bot.errors.Declined; rule is what let
    the person in, or kept them out.
    """

    id: Named[int] = Column(_Id, primary_key=True)
    at: Named[float] = Column(Double, index=True)
    user_id: Named[str] = Column(Text)
    team_id: Named[str] = Column(Text)
    channel_id: Named[str] = Column(Text)
    what: Named[str] = Column(Text)
    outcome: Named[str] = Column(Text)
    rule: Named[str] = Column(Text)
    reload_id: Named[str | None] = Column(Text)

    __row_pos__: tuple[int, float, str, str, str, str, str, str, str | None]


version = Table("schema_version", metadata, VersionColumns)
reload = Table("reload", metadata, ReloadColumns)
watcher = Table("watcher", metadata, WatcherColumns)
place = Table("place", metadata, PlaceColumns)
step = Table("step", metadata, StepColumns)
audit = Table("audit", metadata, AuditColumns)

in_flight = reload.c.state.in_(IN_FLIGHT)
"""The condition of the index below; a statement that relies on the index says it in the same words."""

# One reload of a model is in flight at a time: the database says so, whoever asks and from whichever replica.
Index(
    "one_in_flight",
    reload.c.model_id,
    unique=True,
    sqlite_where=in_flight,
    postgresql_where=in_flight,
)
Index("by_asked_at", reload.c.asked_at)

was_accepted = reload.c.accepted_at.is_not(None)
"""The condition of the index below, by which a model's last accepted reload is found."""

_by_model = Index(
    "by_model", reload.c.model_id, reload.c.accepted_at, sqlite_where=was_accepted, postgresql_where=was_accepted
)

# SQLite uses a partial index only where the statement says its condition literally.
reminds = step.c.kind == literal(StepKind.REMIND.value, literal_execute=True)
"""The condition of the index below."""

# A person is reminded of a reload once, however often they ask.
_one_reminder = Index(
    "one_reminder", step.c.person_id, step.c.reload_id, unique=True, sqlite_where=reminds, postgresql_where=reminds
)

asked_for = audit.c.reload_id.is_not(None)
"""The commands that a person's limit counts: the condition of the index below."""

Index("audit_by_person", audit.c.user_id, audit.c.at, sqlite_where=asked_for, postgresql_where=asked_for)


def _create(connection: Connection) -> None:
    metadata.create_all(connection, tables=(version, reload, watcher, place, step))


def _add_audit(connection: Connection) -> None:
    audit.create(connection)


def _add_reminders(connection: Connection) -> None:
    """Tables that were made just now, by _create, have all of this."""
    if step.c.person_id.name not in {column["name"] for column in inspect(connection).get_columns(step.name)}:
        connection.execute(text("ALTER TABLE step ADD COLUMN person_id TEXT"))
    for index in (_by_model, _one_reminder):
        index.create(connection, checkfirst=True)


MIGRATIONS: Sequence[Callable[[Connection], None]] = (_create, _add_audit, _add_reminders)
"""The n-th brings a database from version n to n + 1."""

VERSION = len(MIGRATIONS)

_LOCK = 0x72656C6F6164  # "reload": any number that no other program of the database takes


def migrate(connection: Connection) -> int:
    """Bring the database to VERSION, inside the caller's transaction, and return the version found.

    Replicas that start together take turns. Raises CannotStart for a database made by a later version.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    found = version_of(connection)
    if found > VERSION:
        raise CannotStart(
            f"DATABASE_URL: the database has schema version {found}, and this program knows {VERSION}: "
            "run the newer program, or give another database"
        )
    for step_up in MIGRATIONS[found:]:
        step_up(connection)
    if found < VERSION:
        connection.execute(
            update(version).values(version=VERSION) if found else insert(version).values(version=VERSION)
        )
    return found


def version_of(connection: Connection) -> int:
    """The version of the tables in a database, 0 where there are none. Raises CannotStart where nobody can tell."""
    if not inspect(connection).has_table(version.name):
        return 0
    versions = connection.execute(select(version.c.version)).scalars().all()
    if len(versions) != 1:
        raise CannotStart(
            f"DATABASE_URL: the table {version.name} has {len(versions)} rows, and one is wanted, so the version of "
            "the tables cannot be told: restore the database from a backup, or name a new one"
        )
    return versions[0]
