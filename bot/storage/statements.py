"""The SQL of the store, built once: to build a statement costs more than to run it. Knows nothing of what it is for.

Parameters that begin with "the_" say which row; the others are what it gets.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    CTE,
    BindParameter,
    ColumnElement,
    Double,
    Insert,
    Integer,
    Select,
    Table,
    Text,
    TypedColumns,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)

from bot.core.models import RANKS, JobKind, State
from bot.storage.database import DATABASE_TIME
from bot.storage.schema import asked_for, audit, in_flight, place, reload, reminds, step, version, was_accepted, watcher

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.sql.dml import ReturningInsert

_I = TypeVar("_I", bound=Insert)
_Row = dict[str, ColumnElement[Any]]

REQUESTED = "requested"
JOINED = "joined"
"""What the audit says came of an asking."""

TELLING = (JobKind.FOLLOW_UP, JobKind.DIRECT)
"""The kinds of step by which somebody is told how it ended."""

_the_reload = reload.c.id == bindparam("the_reload")
_of_the_reload = watcher.c.reload_id == bindparam("the_reload")
_the_place = and_(place.c.reload_id == bindparam("the_reload"), place.c.channel_id == bindparam("the_channel"))
_now = bindparam("now", type_=Double)


def step_of(kind: JobKind) -> dict[str, object]:
    """What every new step of a kind begins with."""
    return {"kind": kind.value, "rank": RANKS[kind], "claims": 0, "attempts": 0, "crashes": 0}


def _text(name: str) -> BindParameter[str]:
    return bindparam(name, type_=Text)


def _literally(values: Mapping[str, object]) -> _Row:
    return {name: literal(value) for name, value in values.items()}


def _selected(into: _I, row: Mapping[str, ColumnElement[Any]], *where: ColumnElement[bool]) -> _I:
    """An INSERT of what is selected: of one row, unless its values are of a table that has more."""
    return into.from_select([*row], select(*row.values()).where(*where))


# --- asking ---------------------------------------------------------------------------------------------

# Locked without KEY: what refers to the reload may be added meanwhile, by whoever has a row that is waited for here.
# https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS
RELOAD_IN_FLIGHT = (
    select(reload).where(reload.c.model_id == bindparam("the_model"), in_flight).with_for_update(key_share=True)
)
RELOAD = select(reload).where(_the_reload)
JOINABLE = select(reload).where(_the_reload, in_flight).with_for_update(key_share=True)
FORGET_RELOAD = delete(reload).where(_the_reload)
FIRST_WATCHER = select(watcher).where(_of_the_reload).order_by(watcher.c.id).limit(1)
INVOCATION = select(watcher.c.id, watcher.c.reload_id).where(watcher.c.trigger_id == bindparam("the_trigger"))
WATCHES = select(watcher.c.id).where(
    _of_the_reload, watcher.c.user_id == bindparam("the_user"), watcher.c.channel_id == bindparam("the_channel")
)
# The audit finds a person's latest askings by an index.
_its_asking = and_(
    watcher.c.reload_id == audit.c.reload_id,
    watcher.c.user_id == audit.c.user_id,
    watcher.c.channel_id == audit.c.channel_id,
)
PRESSED = (
    select(watcher.c.id, watcher.c.reload_id)
    .select_from(audit.join(watcher, _its_asking))
    .where(
        audit.c.user_id == bindparam("the_user"),
        audit.c.at > bindparam("after"),
        asked_for,
        func.substr(watcher.c.trigger_id, 1, bindparam("its_length")) == bindparam("the_press"),
    )
    .order_by(watcher.c.id.desc())
    .limit(1)
)
# Whoever adds a place has locked its reload: so what exists is seen.
_has_place = exists().where(place.c.reload_id == watcher.c.reload_id, place.c.channel_id == watcher.c.channel_id)
_asked_from = select(watcher.c.reload_id, watcher.c.channel_id, literal("")).where(_of_the_reload, ~_has_place)
_new_place = [place.c.reload_id, place.c.channel_id, place.c.status_ts]
ADD_PLACES = insert(place).from_select(_new_place, _asked_from.distinct()).returning(place.c.channel_id)
"""The channels that a reload is asked for from, but for those that it has."""

_of_the_watcher = watcher.c.id == bindparam("the_watcher")
ADD_PLACE = insert(place).from_select(_new_place, _asked_from.where(_of_the_watcher)).returning(place.c.channel_id)
"""Likewise the channel of one watcher."""

ADD_STEP = insert(step)
ADD_MESSAGES = insert(step).values(
    [
        step_of(kind)
        | {"reload_id": bindparam("the_reload"), "channel_id": bindparam("the_channel"), "due_at": bindparam(due)}
        for kind, due in ((JobKind.STATUS, "now"), (JobKind.FOLLOW_UP, "due"))
    ]
)
"""A channel's status message and its follow-up."""

ADD_AUDIT = insert(audit)
COUNT_COMMANDS = (
    select(func.count())
    .select_from(audit)
    .where(audit.c.user_id == bindparam("the_user"), audit.c.at > bindparam("after"), asked_for)
)
COUNT_IN_FLIGHT = select(func.count()).select_from(reload).where(in_flight)

_asked_by_it = select(watcher.c.reload_id).where(watcher.c.trigger_id == bindparam("the_trigger"))
UNCLAIMED_CALL = (
    select(step.c.reload_id)
    .where(step.c.reload_id.in_(_asked_by_it), step.c.kind == JobKind.CALL, step.c.claims == 0)
    .with_for_update()
)
# An asking and its line of the audit are of one moment.
_same_asking = exists().where(
    watcher.c.trigger_id == bindparam("the_trigger"),
    watcher.c.user_id == audit.c.user_id,
    watcher.c.reload_id == audit.c.reload_id,
)
_its_moment = select(watcher.c.asked_at).where(watcher.c.trigger_id == bindparam("the_trigger"))
AUDIT_WITHDRAWN = (
    update(audit).where(audit.c.at.in_(_its_moment), _same_asking).values(outcome="withdrawn", reload_id=None)
)
FORGET_INVOCATION = delete(watcher).where(watcher.c.trigger_id == bindparam("the_trigger"))
FORGET_UNWATCHED = delete(reload).where(_the_reload, ~exists().where(watcher.c.reload_id == reload.c.id))


@cache
def add_reload(dialect: str) -> "ReturningInsert[str]":
    """Add a reload, unless one of its model is in flight (or one of its id exists)."""
    return _insert(dialect, reload).on_conflict_do_nothing().returning(reload.c.id)


@cache
def add_watcher(dialect: str) -> "ReturningInsert[int]":
    """Add an asker, unless this invocation has been recorded before."""
    once = _insert(dialect, watcher).on_conflict_do_nothing(index_elements=[watcher.c.trigger_id])
    return once.returning(watcher.c.id)


@cache
def begin_reload() -> Select[str, int | None]:
    """On PostgreSQL: a new reload with its asker, its call and its line of the audit, in one round trip for four.

    Returns the reload's id and the asker's; no row where there is no new reload, since one of the model is in flight
    or a limit is reached. Where this invocation has been recorded before, the reload is alone, without an asker.
    https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING
    """
    begun, asker = _begun(), _asker()
    call = _selected(insert(step), _first_call(asker)).cte("first_call")
    line = _selected(insert(audit), _line_of(asker)).cte("line")
    return select(begun.c.id, asker.c.id).select_from(begun.outerjoin(asker, true())).add_cte(call, line)


@cache
def _begun() -> CTE:
    """The reload, if it may begin."""
    row = {
        "id": _text("id"),
        "model_id": _text("model_id"),
        "state": literal(State.REQUESTED.value),
        "asked_at": _now,
        "said": literal(""),
        "unknown": false(),
        "undeliverable": false(),
    }
    may = (_below("per_person", COUNT_COMMANDS), _below("in_flight", COUNT_IN_FLIGHT))
    added = _selected(_insert("postgresql", reload), row, *may)
    return added.on_conflict_do_nothing().returning(reload.c.id).cte("begun")


@cache
def _asker() -> CTE:
    """Who asks for what has begun, if this invocation is new."""
    row = {
        "reload_id": _begun().c.id,
        "trigger_id": _text("trigger_id"),
        "user_id": _text("user_id"),
        "channel_id": _text("channel_id"),
        "asked_at": _now,
        "response_url": _text("response_url"),
        "response_uses": literal(0),
    }
    once = _selected(_insert("postgresql", watcher), row).on_conflict_do_nothing(index_elements=[watcher.c.trigger_id])
    return once.returning(watcher.c.id, watcher.c.reload_id).cte("asker")


def _first_call(asker: CTE) -> _Row:
    return _literally(step_of(JobKind.CALL)) | {
        "reload_id": asker.c.reload_id,
        "channel_id": literal(""),
        "due_at": _now,
    }


def _line_of(asker: CTE) -> _Row:
    return {
        "at": _now,
        "user_id": _text("user_id"),
        "team_id": _text("team_id"),
        "channel_id": _text("channel_id"),
        "what": _text("model_id"),
        "outcome": literal(REQUESTED),
        "rule": _text("rule"),
        "reload_id": asker.c.reload_id,
    }


def _below(limit: str, count: Select[int]) -> ColumnElement[bool]:
    """Whether there are fewer than a limit says; 0 is no limit, and then nothing is counted."""
    most = bindparam(limit, type_=Integer)
    return or_(most == 0, count.scalar_subquery() < most)


def _insert(dialect: str, table: Table[TypedColumns]) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that knows ON CONFLICT. A dialect is imported when it is used: PostgreSQL's takes 20 ms."""
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - see above

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see above

    return postgresql.insert(table)


# --- claiming -------------------------------------------------------------------------------------------

_of_the_kinds = step.c.kind.in_(bindparam("the_kinds", expanding=True))

# Read once: as a plain subquery PostgreSQL may run it again, and lock more than the limit.
_due = (
    select(step.c.id)
    .where(step.c.due_at <= _now, _of_the_kinds)
    .order_by(step.c.rank, step.c.due_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("due")
)
CLAIM = (
    update(step)
    .where(step.c.id.in_(select(_due.c.id)))
    .values(
        lease_owner=bindparam("owner"),
        due_at=bindparam("lease_end"),
        tried_at=func.coalesce(step.c.tried_at, _now),
        claims=step.c.claims + 1,
        crashes=step.c.crashes + case((step.c.lease_owner.is_not(None), 1), else_=0),
    )
    .returning(step)
)
_reloads: BindParameter[Sequence[str]] = bindparam("the_reloads", expanding=True)
_the_reloads = reload.c.id.in_(_reloads)
BEGIN_TELLING = update(reload).where(_the_reloads, reload.c.state == State.ACCEPTED).values(state=State.TELLING)
CUT_SHORT = update(reload).where(_the_reloads).values(unknown=True)
RELOADS = select(reload).where(_the_reloads)
WATCHERS = select(watcher).where(watcher.c.reload_id.in_(_reloads)).order_by(watcher.c.id)
PLACES = select(place.c.reload_id, place.c.channel_id, place.c.status_ts).where(place.c.reload_id.in_(_reloads))
TOUCH = update(version).values(version=version.c.version)
"""Changes nothing, and is written all the same: a disk that is full takes a transaction in which nothing was."""

VOID_LEASES = update(step).where(step.c.lease_owner.is_not(None)).values(due_at=_now)

NEXT_DUE_AT = select(func.min(step.c.due_at)).where(_of_the_kinds)
NEXT_DUE_IN = select(func.min(step.c.due_at) - DATABASE_TIME).where(_of_the_kinds)


# --- recording ------------------------------------------------------------------------------------------

_held = and_(
    step.c.id == bindparam("the_step"),
    step.c.claims == bindparam("the_claim"),
    step.c.lease_owner == bindparam("the_owner"),
)
"""The step is still as claimed: claims tells this claim from any later one, the owner's own included."""

END = delete(step).where(_held).returning(step.c.id)
_the_steps = step.c.id.in_(bindparam("the_steps", expanding=True))
HELD = (
    select(step.c.id, step.c.claims)
    .where(_the_steps, step.c.lease_owner == bindparam("the_owner"))
    .order_by(step.c.id)
    .with_for_update()
)
FORGET_STEPS = delete(step).where(_the_steps)
PUT_BACK = (
    update(step)
    .where(_held)
    .values(
        lease_owner=None,
        due_at=bindparam("until"),
        attempts=step.c.attempts + bindparam("failed"),
        crashes=step.c.crashes + bindparam("crashed"),
    )
    .returning(step.c.id)
)
RENEW = update(step).where(_held).values(due_at=bindparam("lease_end"))
_AFRESH: dict[str, object] = {
    "lease_owner": None,
    "due_at": bindparam("until"),
    "tried_at": None,
    "attempts": 0,
    "crashes": 0,
}
REST = update(step).where(_held).values(_AFRESH).returning(step.c.id)
ACCEPT = (
    update(reload)
    .where(_the_reload)
    .values(state=State.ACCEPTED, accepted_at=_now, ready_at=bindparam("ready"))
    .returning(reload)
)
FAIL = (
    update(reload)
    .where(_the_reload)
    .values(state=State.TELLING, failure=bindparam("why"), said=bindparam("what"))
    .returning(reload)
)
OUTCOME_UNKNOWN = update(reload).where(_the_reload).values(unknown=True)
UNDELIVERABLE = update(reload).where(_the_reload).values(undeliverable=True)
CHANNELS = select(watcher.c.channel_id).where(_of_the_reload).distinct()
STATUS_POSTED = update(place).where(_the_place).values(status_ts=bindparam("ts"))
_of_the_place = and_(step.c.reload_id == bindparam("the_reload"), step.c.channel_id == bindparam("the_channel"))
UNTOLD_PLACE = select(step.c.id).where(_of_the_place, step.c.kind == JobKind.FOLLOW_UP)
_bars = select(func.count()).select_from(step).where(step.c.kind == JobKind.BAR).scalar_subquery()
_new_bar = _literally(step_of(JobKind.BAR)) | {
    "reload_id": _text("the_reload"),
    "channel_id": _text("the_channel"),
    "due_at": bindparam("due", type_=Double),
}
_may_move = and_(exists(UNTOLD_PLACE), _bars + 1 <= bindparam("most", type_=Double))
ADD_BAR = _selected(insert(step), _new_bar, _may_move).returning(step.c.id)
"""A bar for a channel that is still to be followed up, unless there are too many."""

USE_RESPONSE_URL = (
    update(watcher).where(watcher.c.id == bindparam("the_watcher")).values(response_uses=watcher.c.response_uses + 1)
)
TELL = update(watcher).where(watcher.c.id.in_(bindparam("the_watchers", expanding=True))).values(told_at=_now)
LOCK = select(reload.c.id).where(_the_reloads).order_by(reload.c.id).with_for_update(key_share=True)
_still_telling = exists().where(step.c.reload_id == reload.c.id, step.c.kind.in_(TELLING))
FINISH = update(reload).where(_the_reloads, ~_still_telling).values(state=State.DONE, ended_at=_now)

_places: BindParameter[Sequence[str]] = bindparam("the_places", expanding=True)


def place_key(reload_id: str, channel_id: str) -> str:
    """What stands for a channel of a reload among the_places."""
    return f"{reload_id} {channel_id}"


def _in_the_places(table: Table[Any]) -> ColumnElement[bool]:
    """Whether a row is of one of the_places, which are of the_reloads: by these it is found."""
    return and_(table.c.reload_id.in_(_reloads), (table.c.reload_id + " " + table.c.channel_id).in_(_places))


def _steps_of(kind: JobKind, source: Table[Any], *where: ColumnElement[bool], **more: ColumnElement[Any]) -> Insert:
    """An INSERT of a step, due now, for each row of the_places that meets a condition."""
    of_the_source = {"reload_id": source.c.reload_id, "channel_id": source.c.channel_id, "due_at": _now, **more}
    return _selected(insert(step), _literally(step_of(kind)) | of_the_source, _in_the_places(source), *where)


# A place is locked before its status is looked at: so one that is recorded meanwhile is seen, or sees that it is over.
LOCK_PLACES = (
    select(place.c.reload_id)
    .where(_in_the_places(place))
    .order_by(place.c.reload_id, place.c.channel_id)
    .with_for_update()
)
DROP_BARS = delete(step).where(_in_the_places(step), step.c.kind == JobKind.BAR)
CLOSE = _steps_of(JobKind.CLOSE, place, place.c.status_ts != "")
TELL_DIRECTLY = _steps_of(JobKind.DIRECT, watcher, watcher.c.told_at.is_(None), watcher_id=watcher.c.id)

# --- reminders ------------------------------------------------------------------------------------------

ACCEPTED_MODEL = select(reload.c.model_id).where(_the_reload, was_accepted)
_accepted = select(reload).where(reload.c.model_id == bindparam("the_model"), was_accepted)
LAST_ACCEPTED = _accepted.order_by(reload.c.accepted_at.desc(), reload.c.id).limit(1)
_of_the_model = step.c.reload_id.in_(_accepted.with_only_columns(reload.c.id))
REMINDERS_OF_MODEL = (
    select(step.c.id, step.c.person_id, step.c.reload_id)
    .where(reminds, _of_the_model)
    .order_by(step.c.id)
    .with_for_update()
)
# One that is in hand is claimed no more: whoever has it loses its lease.
MOVE_REMINDERS: Update = update(step).where(_the_steps).values(reload_id=bindparam("the_reload"), **_AFRESH)
STOP_REMINDING = delete(step).where(reminds, step.c.person_id == bindparam("the_person"), _of_the_model)
REMINDERS = (
    select(reload.c.model_id, reload.c.id, step.c.channel_id, reload.c.ready_at, step.c.due_at)
    .select_from(step.join(reload, reload.c.id == step.c.reload_id))
    .where(reminds, step.c.person_id == bindparam("the_person"))
    .order_by(reload.c.ready_at, step.c.id)
)


@cache
def add_reminder(dialect: str) -> "ReturningInsert[int]":
    """Add a reminder, unless the person has one of the reload."""
    return _insert(dialect, step).on_conflict_do_nothing().returning(step.c.id)


# --- lists ----------------------------------------------------------------------------------------------

KNOWN_MODELS = (
    select(reload.c.model_id)
    .where(was_accepted)
    .group_by(reload.c.model_id)
    .order_by(func.max(reload.c.accepted_at).desc(), reload.c.model_id)
    .limit(bindparam("most"))
)
_not_ended = reload.c.state != State.DONE
NOT_ENDED = select(reload).where(_not_ended).order_by(reload.c.asked_at).limit(bindparam("most"))
COUNT_NOT_ENDED = select(func.count()).select_from(reload).where(_not_ended)
AUDIT = (
    select(
        audit.c.at,
        audit.c.user_id,
        audit.c.team_id,
        audit.c.channel_id,
        audit.c.what,
        audit.c.outcome,
        audit.c.rule,
        audit.c.reload_id,
        reload.c.state,
        reload.c.failure,
        reload.c.unknown,
        reload.c.undeliverable,
    )
    .select_from(audit.outerjoin(reload, reload.c.id == audit.c.reload_id))
    .where(audit.c.at >= bindparam("after"))
    .order_by(audit.c.at, audit.c.id)
)
ENDED = select(reload).where(reload.c.state == State.DONE).order_by(reload.c.asked_at.desc()).limit(bindparam("most"))
_old = select(reload.c.id).where(
    reload.c.state == State.DONE,
    reload.c.ended_at < bindparam("before"),
    ~exists().where(step.c.reload_id == reload.c.id),  # a reminder outlives the history
)
PRUNE = delete(reload).where(reload.c.id.in_(_old.limit(bindparam("most"))))
_old_lines = select(audit.c.id).where(audit.c.at < bindparam("before")).limit(bindparam("most"))
PRUNE_AUDIT = delete(audit).where(audit.c.id.in_(_old_lines))
