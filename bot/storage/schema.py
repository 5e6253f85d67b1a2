"""The tables, and how a database of an earlier version becomes one of this. Knows nothing of what is done with rows.

All times are seconds since the Unix epoch (UTC), as double precision: the same on SQLite and PostgreSQL.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import (
    BigInteger,
    BindParameter,
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
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from bot.core.models import IN_FLIGHT, JobKind, State
from bot.errors import CannotStart

metadata = MetaData()

# An INTEGER primary key is SQLite's own row number: https://www.sqlite.org/lang_createtable.html#rowid
_Id = BigInteger().with_variant(Integer, "sqlite")
_OF_RELOAD = "reload.id"


class VersionColumns(TypedColumns):
    """The version of the schema, in one row."""

    version: Named[int]


class ReloadColumns(TypedColumns):
    """One reload of one model; failure is the value of a bot.errors.Failure."""

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

    outcome is "requested", "joined", a bot.command.Word or a bot.errors.Refusal; rule is what let
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

Index("by_asked_at", reload.c.asked_at)

# SQLite uses a partial index only where the statement says its condition literally.
_states: BindParameter[Sequence[State]] = bindparam("states", IN_FLIGHT, expanding=True, literal_execute=True)
in_flight = reload.c.state.in_(_states)
was_accepted = reload.c.accepted_at.is_not(None)
reminds = step.c.kind == literal(JobKind.REMIND.value, literal_execute=True)
asked_for = audit.c.reload_id.is_not(None)
"""The conditions of the indexes below, in this order; a statement that relies on one says it in the same words."""

# As text, which both databases read alike: SQLAlchemy loads both their dialects for an Index with a condition, and
# that takes 50 ms.
_IN_FLIGHT = ", ".join(f"'{state.value}'" for state in IN_FLIGHT)
# One reload of a model is in flight at a time: the database says so, whoever asks and from whichever replica.
_ONE_IN_FLIGHT = f"CREATE UNIQUE INDEX one_in_flight ON reload (model_id) WHERE state IN ({_IN_FLIGHT})"
# A model's last accepted reload.
_BY_MODEL = "CREATE INDEX by_model ON reload (model_id, accepted_at) WHERE accepted_at IS NOT NULL"
# A person is reminded of a reload once, however often they ask.
_ONE_REMINDER = f"CREATE UNIQUE INDEX one_reminder ON step (person_id, reload_id) WHERE kind = '{JobKind.REMIND.value}'"
# The commands that a person's limit counts.
_AUDIT_BY_PERSON = "CREATE INDEX audit_by_person ON audit (user_id, at) WHERE reload_id IS NOT NULL"


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))


def _create(connection: Connection) -> None:
    """Make all there is."""
    metadata.create_all(connection, checkfirst=False)
    _run(connection, _ONE_IN_FLIGHT, _BY_MODEL, _ONE_REMINDER, _AUDIT_BY_PERSON)


def _add_audit(connection: Connection) -> None:
    audit.create(connection)
    _run(connection, _AUDIT_BY_PERSON)


def _add_reminders(connection: Connection) -> None:
    _run(connection, "ALTER TABLE step ADD COLUMN person_id TEXT", _BY_MODEL, _ONE_REMINDER)


MIGRATIONS: Sequence[Callable[[Connection], None]] = (_add_audit, _add_reminders)
"""The n-th, counted from 1, brings a database from version n to n + 1."""

VERSION = len(MIGRATIONS) + 1

_LOCK = 0x72656C6F6164  # "reload": any number that no other program of the database takes


# As SQLAlchemy's inspect would ask, in 20 ms less. https://www.sqlite.org/schematab.html and
# https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-CATALOG
_HAS_VERSION = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE name = 'schema_version'",
    "postgresql": "SELECT 1 WHERE to_regclass('schema_version') IS NOT NULL",
}


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
    if not found:
        _create(connection)
        connection.execute(insert(version).values(version=VERSION))
    elif found < VERSION:
        for step_up in MIGRATIONS[found - 1 :]:
            step_up(connection)
        connection.execute(update(version).values(version=VERSION))
    return found


def version_of(connection: Connection) -> int:
    """The version of the tables in a database, 0 where there are none. Raises CannotStart where nobody can tell."""
    if connection.execute(text(_HAS_VERSION[connection.dialect.name])).first() is None:
        return 0
    versions = connection.execute(select(version.c.version)).scalars().all()
    if len(versions) != 1:
        raise CannotStart(
            f"DATABASE_URL: the table {version.name} has {len(versions)} rows, and one is wanted, so the version of "
            "the tables cannot be told: restore the database from a backup, or name a new one"
        )
    return versions[0]
