"""What is done with the tables: a person's asking, the claiming of steps, the recording of what came of them.

Each method is one transaction. A method that takes a step records nothing, and raises LeaseLost, where the step
has been claimed anew since. Every method raises StoreAway where the database does not answer.
"""

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import (
    ColumnElement,
    Row,
    Table,
    TypedColumns,
    and_,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from bot import schema
from bot.database import Database, Transaction
from bot.errors import Failure, LeaseLost, StoreAway
from bot.reload import RANKS, Entry, Reload, State, Step, StepKind, Watcher, Work
from bot.schema import in_flight, place, reload, step, watcher

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

_ReloadRow = Row[str, str, str, float, float | None, float | None, float | None, str | None, str, bool, bool]
_WatcherRow = Row[int, str, str, str, str, float, str, int, float | None]
_StepRow = Row[int, str, str, int, str, int | None, float, float | None, str | None, int, int, int]

LEASE = 10.0
"""Seconds for which a claimed step is its claimer's alone, unless renewed."""

ASK_SECONDS = 2.0
"""Seconds within which what somebody waits for is done, or not at all."""

_ID_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # no 0 o 1 i l u: ids are read aloud and typed
_ID_LENGTH = 6

_TELLING = (StepKind.FOLLOW_UP, StepKind.DIRECT)
_PRUNED_AT_ONCE = 500
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Ask:
    """One invocation: who wants which model, where; trigger_id is Slack's own id of the invocation."""

    trigger_id: str
    user_id: str
    channel_id: str
    model_id: str
    response_url: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of an Ask: its reload, who asked for that first, and whether this asking joined it."""

    reload: Reload
    first: Watcher
    joined: bool


def new_reload_id() -> str:
    """A short id, as in every ack and log line: 30⁶ of them, and the primary key lets none be given twice."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


class Store:
    """The tables of one database, as one process among others (owner) sees them."""

    def __init__(self, database: Database, owner: str) -> None:
        """owner is unlike that of any other process, now or later."""
        self._database = database
        self._owner = owner

    async def open(self) -> float:
        """Make or upgrade the tables, and return the time now.

        An SQLite file has one process, this one: so at its start every lease is void.
        """

        def operation(tx: Transaction) -> float:
            schema.migrate(tx.connection)
            if self._database.sqlite:
                tx.connection.execute(update(step).where(step.c.lease_owner.is_not(None)).values(due_at=tx.now))
            return tx.now

        return await self._database.run(operation)

    # --- asking -------------------------------------------------------------------------------------

    async def ask(self, ask: Ask) -> Asked:
        """Commit an asking: a new reload, or a watcher more for the one in flight. The same trigger_id counts once."""
        return await self._database.run(partial(_ask, ask), within=ASK_SECONDS)

    async def withdraw(self, trigger_id: str) -> bool:
        """Undo an asking of which its person was told that it failed, unless its reload has begun. Says if it did."""
        return await self._database.run(partial(_withdraw, trigger_id))

    # --- claiming -----------------------------------------------------------------------------------

    async def claim(self, kinds: Collection[StepKind], limit: int) -> list[Work]:
        """Take at most limit due steps of these kinds, the lowest rank first, and lease them."""
        return await self._database.run(partial(_claim, self._owner, kinds, limit), within=ASK_SECONDS)

    async def next_due(self, kinds: Collection[StepKind]) -> float | None:
        """Seconds until the next step of these kinds is due; None where there is none."""

        def operation(tx: Transaction) -> float | None:
            query = select(func.min(step.c.due_at) - tx.now_sql).where(step.c.kind.in_(kinds))
            return tx.connection.execute(query).scalar_one()

        return await self._database.run(operation, within=ASK_SECONDS, reads=True)

    async def renew(self, steps: Iterable[Step]) -> None:
        """Lengthen the leases of steps in hand; one that was lost stays lost."""
        held = or_(false(), *map(self._held, steps))

        def operation(tx: Transaction) -> None:
            tx.connection.execute(update(step).where(held).values(due_at=tx.now + LEASE))

        await self._database.run(operation)

    # --- recording: the call ------------------------------------------------------------------------

    async def accepted(self, item: Step, reload_seconds: float) -> Reload:
        """ModelsLab accepted the reload: it should be ready after reload_seconds, and everyone is told then."""

        def operation(tx: Transaction) -> Reload:
            self._end(tx, item)
            ready_at = tx.now + reload_seconds
            values = {"state": State.ACCEPTED, "accepted_at": tx.now, "ready_at": ready_at}
            reload_ = _set(tx, item.reload_id, values)
            for channel_id in _channels(tx, item.reload_id):
                _open_place(tx, reload_, channel_id)
            return reload_

        return await self._database.run(operation)

    async def failed(self, item: Step, failure: Failure, said: str, *, unknown: bool) -> Reload:
        """The reload failed for good: everyone is told, now."""

        def operation(tx: Transaction) -> Reload:
            self._end(tx, item)
            values = {"state": State.TELLING, "failure": failure.name, "said": said}
            reload_ = _set(tx, item.reload_id, values | ({"unknown": True} if unknown else {}))
            for channel_id in _channels(tx, item.reload_id):
                _add_step(tx, item.reload_id, StepKind.FOLLOW_UP, tx.now, channel_id=channel_id)
            return reload_

        return await self._database.run(operation)

    # --- recording: any step ------------------------------------------------------------------------

    async def again(self, item: Step, wait: float, *, unknown: bool = False) -> None:
        """The step failed and is due again after wait seconds; unknown: it may have had its effect."""
        await self._put_back(item, wait, {"attempts": step.c.attempts + 1}, unknown=unknown)

    async def crashed(self, item: Step, wait: float) -> None:
        """The step ended in an error of our own."""
        await self._put_back(item, wait, {"crashes": step.c.crashes + 1}, unknown=item.kind is StepKind.CALL)

    async def postponed(self, item: Step, wait: float, *, unknown: bool = False) -> None:
        """The step was not tried, or was broken off by a stop: it is due after wait seconds, and nothing is counted."""
        await self._put_back(item, wait, {}, unknown=unknown)

    async def _put_back(self, item: Step, wait: float, values: dict[str, ColumnElement[int]], *, unknown: bool) -> None:
        def operation(tx: Transaction) -> None:
            held = update(step).where(self._held(item))
            row = tx.connection.execute(
                held.values({**values, "lease_owner": None, "due_at": tx.now + wait}).returning(step.c.id)
            ).first()
            if row is None:
                raise LeaseLost
            if unknown:
                _set(tx, item.reload_id, {"unknown": True})

        await self._database.run(operation)

    async def dropped(self, item: Step) -> None:
        """The step is not needed any more."""
        await self._database.run(lambda tx: self._end(tx, item))

    # --- recording: messages ------------------------------------------------------------------------

    async def status_posted(self, item: Step, ts: str, responder: int | None) -> None:
        """The status message is out; ts is empty where it cannot be threaded or edited."""

        def operation(tx: Transaction) -> None:
            self._end(tx, item)
            _count_response(tx, responder)
            here = and_(place.c.reload_id == item.reload_id, place.c.channel_id == item.channel_id)
            tx.connection.execute(update(place).where(here).values(status_ts=ts))

        await self._database.run(operation)

    async def told(self, item: Step, watchers: Collection[int], responder: int | None) -> None:
        """These watchers have been told how it ended. Whoever else asked in the channel gets a DM."""

        def operation(tx: Transaction) -> None:
            self._end(tx, item)
            _count_response(tx, responder)
            tx.connection.execute(update(watcher).where(watcher.c.id.in_(watchers)).values(told_at=tx.now))
            if item.kind is StepKind.FOLLOW_UP:
                _tell_directly(tx, item)
                _close_status(tx, item)
            _finish(tx, item.reload_id)

        await self._database.run(operation)

    async def undeliverable(self, item: Step) -> None:
        """Nobody could be told, by any way, in all the time there is: the loud end of a step."""

        def operation(tx: Transaction) -> None:
            self._end(tx, item)
            _set(tx, item.reload_id, {"undeliverable": True})
            _finish(tx, item.reload_id)

        await self._database.run(operation)

    def _held(self, item: Step) -> ColumnElement[bool]:
        """The step is still as claimed: claims tells this claim from any later one, the owner's own included."""
        return and_(step.c.id == item.id, step.c.claims == item.claims, step.c.lease_owner == self._owner)

    def _end(self, tx: Transaction, item: Step) -> None:
        gone = tx.connection.execute(delete(step).where(self._held(item)).returning(step.c.id)).first()
        if gone is None:
            raise LeaseLost

    # --- lists --------------------------------------------------------------------------------------

    async def in_flight(self, limit: int) -> tuple[list[Entry], int]:
        """The reloads that have not ended, the first asked for first, at most limit of them, and how many there are."""
        not_ended = reload.c.state != State.DONE

        def operation(tx: Transaction) -> tuple[list[Entry], int]:
            count = select(func.count()).select_from(reload).where(not_ended)
            query = select(reload).where(not_ended).order_by(reload.c.asked_at).limit(limit)
            return _entries(tx, tx.connection.execute(query).all()), tx.connection.execute(count).scalar_one()

        return await self._database.run(operation, within=ASK_SECONDS, reads=True)

    async def history(self, limit: int) -> list[Entry]:
        """The reloads that have ended, the last asked for first, at most limit of them."""

        def operation(tx: Transaction) -> list[Entry]:
            query = select(reload).where(reload.c.state == State.DONE).order_by(reload.c.asked_at.desc()).limit(limit)
            return _entries(tx, tx.connection.execute(query).all())

        return await self._database.run(operation, within=ASK_SECONDS, reads=True)

    async def prune(self, days: float) -> int:
        """Forget at most some hundreds of the reloads that ended more than days ago; returns how many."""

        def operation(tx: Transaction) -> int:
            old = and_(reload.c.state == State.DONE, reload.c.ended_at < tx.now - days * 86400)
            ids = select(reload.c.id).where(old).limit(_PRUNED_AT_ONCE)
            return tx.connection.execute(delete(reload).where(reload.c.id.in_(ids))).rowcount

        return await self._database.run(operation)


# --- operations: each runs inside a transaction of the database thread ----------------------------------


def _ask(ask: Ask, tx: Transaction) -> Asked:
    reload_, created = _create_or_join(tx, ask.model_id)
    asked = _add_watcher(tx, ask, reload_.id)
    if asked is None:
        # The same invocation was delivered before: undo what this one may have begun.
        if created:
            tx.connection.execute(delete(reload).where(reload.c.id == reload_.id))
        return _asked_before(tx, ask.trigger_id)
    if created:
        _add_step(tx, reload_.id, StepKind.CALL, tx.now)
        return Asked(reload_, asked, joined=False)
    if reload_.state is State.ACCEPTED:
        _open_place(tx, reload_, ask.channel_id)
    return Asked(reload_, _first_watcher(tx, reload_.id), joined=True)


def _create_or_join(tx: Transaction, model_id: str) -> tuple[Reload, bool]:
    """The reload in flight of this model, and whether it was made just now.

    The unique indexes decide. What is in the way may be an ended reload that has the same id, or, on PostgreSQL, one
    that ends before it is locked: then a new one is tried again.
    """
    found = select(reload).where(and_(reload.c.model_id == model_id, in_flight)).with_for_update()
    for _ in range(_TRIES):
        new = Reload(new_reload_id(), model_id, State.REQUESTED, tx.now)
        values = {
            "id": new.id,
            "model_id": model_id,
            "state": new.state,
            "asked_at": new.asked_at,
            "said": "",
            "unknown": False,
            "undeliverable": False,
        }
        unless_in_the_way = _insert(tx, reload).on_conflict_do_nothing().values(values).returning(reload.c.id)
        if tx.connection.execute(unless_in_the_way).first() is not None:
            return new, True
        if (row := tx.connection.execute(found).first()) is not None:
            return _to_reload(row), False
    raise StoreAway("reloads of this model come and go too fast")


def _add_watcher(tx: Transaction, ask: Ask, reload_id: str) -> Watcher | None:
    """Add the asker; None where this invocation has been recorded before."""
    values = {
        "reload_id": reload_id,
        "trigger_id": ask.trigger_id,
        "user_id": ask.user_id,
        "channel_id": ask.channel_id,
        "asked_at": tx.now,
        "response_url": ask.response_url,
        "response_uses": 0,
    }
    once = _insert(tx, watcher).on_conflict_do_nothing(index_elements=[watcher.c.trigger_id])
    row = tx.connection.execute(once.values(values).returning(watcher.c.id)).first()
    if row is None:
        return None
    return Watcher(row[0], reload_id, ask.user_id, ask.channel_id, tx.now, ask.response_url)


def _asked_before(tx: Transaction, trigger_id: str) -> Asked:
    mine = select(watcher.c.id, watcher.c.reload_id).where(watcher.c.trigger_id == trigger_id)
    watcher_id, reload_id = tx.connection.execute(mine).one()
    row = tx.connection.execute(select(reload).where(reload.c.id == reload_id)).one()
    first = _first_watcher(tx, reload_id)
    return Asked(_to_reload(row), first, joined=first.id != watcher_id)


def _withdraw(trigger_id: str, tx: Transaction) -> bool:
    """Locked, the call cannot be claimed any more; and locked, the reload cannot be joined before it is gone."""
    mine = select(watcher.c.reload_id).where(watcher.c.trigger_id == trigger_id)
    unclaimed = and_(step.c.reload_id.in_(mine), step.c.kind == StepKind.CALL, step.c.claims == 0)
    row = tx.connection.execute(select(step.c.reload_id).where(unclaimed).with_for_update()).first()
    if row is None:
        return False
    _lock(tx, row[0])
    tx.connection.execute(delete(watcher).where(watcher.c.trigger_id == trigger_id))
    nobody = ~exists().where(watcher.c.reload_id == reload.c.id)
    tx.connection.execute(delete(reload).where(and_(reload.c.id == row[0], nobody)))
    return True


def _claim(owner: str, kinds: Collection[StepKind], limit: int, tx: Transaction) -> list[Work]:
    """Lease due steps. A lease that had run out tells of a death, or of a delay as long, in the middle of the step."""
    due = (
        select(step.c.id)
        .where(and_(step.c.due_at <= tx.now, step.c.kind.in_(kinds)))
        .order_by(step.c.rank, step.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")  # read once: as a plain subquery PostgreSQL may run it again, and lock more than the limit
    )
    lease = {
        "lease_owner": owner,
        "due_at": tx.now + LEASE,
        "tried_at": func.coalesce(step.c.tried_at, tx.now),
        "claims": step.c.claims + 1,
        "crashes": step.c.crashes + case((step.c.lease_owner.is_not(None), 1), else_=0),
    }
    rows = tx.connection.execute(
        update(step).where(step.c.id.in_(select(due.c.id))).values(lease).returning(step)
    ).all()
    steps = sorted((_to_step(row) for row in rows), key=lambda item: (RANKS[item.kind], item.tried_at))
    if not steps:
        return []
    _note_beginnings(tx, steps)
    return _works(tx, steps)


def _note_beginnings(tx: Transaction, steps: Sequence[Step]) -> None:
    """A reload whose end is being told takes no more joiners; a call that was cut short may have had its effect."""
    telling = {item.reload_id for item in steps if item.kind in _TELLING}
    if telling:
        accepted = and_(reload.c.id.in_(telling), reload.c.state == State.ACCEPTED)
        tx.connection.execute(update(reload).where(accepted).values(state=State.TELLING))
    cut_short = {item.reload_id for item in steps if item.kind is StepKind.CALL and item.crashes}
    if cut_short:
        tx.connection.execute(update(reload).where(reload.c.id.in_(cut_short)).values(unknown=True))


def _works(tx: Transaction, steps: Sequence[Step]) -> list[Work]:
    ids = {item.reload_id for item in steps}
    reloads = {row[0]: _to_reload(row) for row in tx.connection.execute(select(reload).where(reload.c.id.in_(ids)))}
    watchers = _watchers(tx, ids)
    places = select(place.c.reload_id, place.c.channel_id, place.c.status_ts).where(place.c.reload_id.in_(ids))
    status = {(row[0], row[1]): row[2] for row in tx.connection.execute(places)}
    return [
        Work(
            item,
            reloads[item.reload_id],
            watchers[item.reload_id],
            status.get((item.reload_id, item.channel_id), ""),
            tx.now,
        )
        for item in steps
    ]


def _watchers(tx: Transaction, reload_ids: Collection[str]) -> defaultdict[str, list[Watcher]]:
    """The watchers of each reload, the first to ask first."""
    found: defaultdict[str, list[Watcher]] = defaultdict(list)
    query = select(watcher).where(watcher.c.reload_id.in_(reload_ids)).order_by(watcher.c.id)
    for row in tx.connection.execute(query):
        found[row[1]].append(_to_watcher(row))
    return found


def _first_watcher(tx: Transaction, reload_id: str) -> Watcher:
    query = select(watcher).where(watcher.c.reload_id == reload_id).order_by(watcher.c.id).limit(1)
    return _to_watcher(tx.connection.execute(query).one())


def _entries(tx: Transaction, rows: Sequence[_ReloadRow]) -> list[Entry]:
    """The rows with their watchers, but for those that another replica has deleted since they were read."""
    watchers = _watchers(tx, [row[0] for row in rows])
    return [Entry(_to_reload(row), watchers[row[0]][0], len(watchers[row[0]])) for row in rows if watchers[row[0]]]


def _channels(tx: Transaction, reload_id: str) -> list[str]:
    query = select(watcher.c.channel_id).where(watcher.c.reload_id == reload_id).distinct()
    return list(tx.connection.execute(query).scalars())


def _open_place(tx: Transaction, reload_: Reload, channel_id: str) -> None:
    """See to it that the channel gets a status message now and a follow-up when the reload should be ready."""
    values = {"reload_id": reload_.id, "channel_id": channel_id, "status_ts": ""}
    once = _insert(tx, place).on_conflict_do_nothing(index_elements=[place.c.reload_id, place.c.channel_id])
    if tx.connection.execute(once.values(values).returning(place.c.channel_id)).first() is None:
        return
    _add_step(tx, reload_.id, StepKind.STATUS, tx.now, channel_id=channel_id)
    due = tx.now if reload_.ready_at is None else reload_.ready_at
    _add_step(tx, reload_.id, StepKind.FOLLOW_UP, due, channel_id=channel_id)


def _add_step(
    tx: Transaction,
    reload_id: str,
    kind: StepKind,
    due_at: float,
    *,
    channel_id: str = "",
    watcher_id: int | None = None,
) -> None:
    values = {
        "reload_id": reload_id,
        "kind": kind,
        "rank": RANKS[kind],
        "channel_id": channel_id,
        "watcher_id": watcher_id,
        "due_at": due_at,
        "claims": 0,
        "attempts": 0,
        "crashes": 0,
    }
    tx.connection.execute(insert(step).values(values))


def _tell_directly(tx: Transaction, item: Step) -> None:
    """Give everyone of the step's channel who has not been told a step of their own: a DM."""
    untold = and_(
        watcher.c.reload_id == item.reload_id, watcher.c.channel_id == item.channel_id, watcher.c.told_at.is_(None)
    )
    for watcher_id in tx.connection.execute(select(watcher.c.id).where(untold)).scalars().all():
        _add_step(tx, item.reload_id, StepKind.DIRECT, tx.now, channel_id=item.channel_id, watcher_id=watcher_id)


def _close_status(tx: Transaction, item: Step) -> None:
    """Let the channel's status message, where there is one that can be edited, say that it is over."""
    here = and_(place.c.reload_id == item.reload_id, place.c.channel_id == item.channel_id, place.c.status_ts != "")
    if tx.connection.execute(select(place.c.status_ts).where(here)).first() is not None:
        _add_step(tx, item.reload_id, StepKind.CLOSE, tx.now, channel_id=item.channel_id)


def _count_response(tx: Transaction, watcher_id: int | None) -> None:
    if watcher_id is not None:
        used = update(watcher).where(watcher.c.id == watcher_id)
        tx.connection.execute(used.values(response_uses=watcher.c.response_uses + 1))


def _finish(tx: Transaction, reload_id: str) -> None:
    """End the reload when everyone has been told. The lock makes replicas that end its last two steps take turns."""
    _lock(tx, reload_id)
    untold = exists().where(and_(step.c.reload_id == reload_id, step.c.kind.in_(_TELLING)))
    over = update(reload).where(and_(reload.c.id == reload_id, ~untold))
    tx.connection.execute(over.values(state=State.DONE, ended_at=tx.now))


def _lock(tx: Transaction, reload_id: str) -> None:
    """On PostgreSQL, make other replicas wait with the reload; SQLite has one writer anyway."""
    tx.connection.execute(select(reload.c.id).where(reload.c.id == reload_id).with_for_update())


def _set(tx: Transaction, reload_id: str, values: dict[str, object]) -> Reload:
    query = update(reload).where(reload.c.id == reload_id).values(values).returning(reload)
    return _to_reload(tx.connection.execute(query).one())


def _insert(tx: Transaction, table: Table[TypedColumns]) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that knows ON CONFLICT. A dialect is imported when it is used: PostgreSQL's takes 20 ms."""
    if tx.connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - see above

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see above

    return postgresql.insert(table)


def _to_reload(row: _ReloadRow) -> Reload:
    id_, model_id, state, asked_at, accepted_at, ready_at, ended_at, failure, said, unknown, undeliverable = row
    return Reload(
        id_,
        model_id,
        State(state),
        asked_at,
        accepted_at,
        ready_at,
        ended_at,
        Failure[failure] if failure else None,
        said,
        unknown,
        undeliverable,
    )


def _to_watcher(row: _WatcherRow) -> Watcher:
    id_, reload_id, _trigger_id, user_id, channel_id, asked_at, response_url, response_uses, told_at = row
    return Watcher(id_, reload_id, user_id, channel_id, asked_at, response_url, response_uses, told_at)


def _to_step(row: _StepRow) -> Step:
    id_, reload_id, kind, _rank, channel_id, watcher_id, due_at, tried_at, _owner, claims, attempts, crashes = row
    return Step(id_, reload_id, StepKind(kind), channel_id, watcher_id, tried_at or due_at, claims, attempts, crashes)
