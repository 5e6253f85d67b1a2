"""What is done with the tables: a person's asking, the claiming of steps, the recording of what came of them.

Each method is one transaction. A method that takes a step records nothing, and raises LeaseLost, where the step
has been claimed anew since. Every method raises DatabaseUnavailable where the database does not answer.
"""

import math
import secrets
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress

from bot.core.models import (
    RANKS,
    REMIND_AFTER,
    Entry,
    HomeData,
    Job,
    JobKind,
    Reload,
    Reminder,
    State,
    Subscriber,
    Work,
)
from bot.errors import DatabaseUnavailable, Failure, LeaseLost, Refusal, Refused
from bot.storage import schema
from bot.storage import statements as sql
from bot.storage.database import Database, Transaction
from bot.storage.prepared import Rows

_ReloadRow = tuple[str, str, str, float, float | None, float | None, float | None, str | None, str, bool, bool]
_WatcherRow = tuple[int, str, str, str, str, float, str, int, float | None]
_StepRow = tuple[int, str, str, int, str, int | None, float, float | None, str | None, int, int, int, str | None]

LEASE = 10.0
"""Seconds for which a claimed step is its claimer's alone, unless renewed."""

ASK_SECONDS = 2.0
"""Seconds within which what somebody waits for is done, or not at all."""

_ID_ALPHABET = "23456789abcdefghjkmnpqrstvwxyz"  # no 0 o 1 i l u: ids are read aloud and typed
_ID_LENGTH = 6

PERSON_SECONDS = 600.0
"""The time within which a person's commands are counted."""

PRESS_SECONDS = 10.0
"""Seconds within which a person's second press of a button is a double click."""

BAR_EDITS = 40.0
"""Edits a minute that all bars together may take; Slack allows 50: https://docs.slack.dev/apis/web-api/rate-limits"""

NEVER = math.inf
"""When a step is due that rests until something else makes it due."""

_PRUNED_AT_ONCE = 500
_TOLD_AT_ONCE = 1000
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Ask:
    """One invocation: who wants which model, where; trigger_id is Slack's own id of the invocation.

    team_id is the person's workspace, and rule what let them in: for the audit. press names the
    button of which message it was, if it was one; then trigger_id is press, "#" and Slack's own id.
    """

    trigger_id: str
    user_id: str
    channel_id: str
    model_id: str
    response_url: str
    team_id: str = ""
    rule: str = ""
    press: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of an Ask: its reload, who asked for that first, and whether this asking joined it."""

    reload: Reload
    first: Subscriber
    joined: bool

    @property
    def outcome(self) -> str:
        """Its name in the audit."""
        return sql.JOINED if self.joined else sql.REQUESTED


@dataclass(frozen=True, slots=True)
class Note:
    """What the audit keeps of an invocation that asked for no reload, or was refused; what is bounded and harmless."""

    user_id: str
    team_id: str
    channel_id: str
    what: str
    outcome: str
    rule: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How many reloads a person may ask for in PERSON_SECONDS, and how many may be in flight; 0 is no limit.

    Replicas that are asked in the same instant do not see each other's: each may then let one more in.
    """

    per_person: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Telling:
    """What came of a step by which somebody is told: see Store.told."""

    step: Job
    watchers: Collection[int]
    responder: int | None
    stumbled: bool


def new_reload_id() -> str:
    """A short id, as in every ack and log line: 30⁶ of them, and the primary key lets none be given twice."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


class Store:
    """The tables of one database, as one process among others (owner) sees them."""

    def __init__(
        self, database: Database, owner: str, limits: Limits = Limits(), *, asking: Database | None = None
    ) -> None:
        """owner is unlike that of any other process, now or later.

        asking is another connection to the same database, for what somebody waits for.
        """
        self._database = database
        self._asking = asking or database
        self._owner = owner
        self._limits = limits

    async def open(self) -> float:
        """Make or upgrade the tables, and return the time now.

        An SQLite file has one process, this one: so at its start every lease is void.
        """

        def operation(tx: Transaction) -> float:
            schema.migrate(tx.connection)
            if self._database.sqlite:
                tx.execute(sql.VOID_LEASES, now=tx.now)
            return tx.now

        return await self._database.run(operation)

    async def touch(self, within: float) -> None:
        """Write what changes nothing, as an asking would be written. Raises DatabaseUnavailable."""
        await self._asking.run(lambda tx: tx.execute(sql.TOUCH), within=within)

    # --- asking -------------------------------------------------------------------------------------

    async def ask(self, ask: Ask) -> Asked:
        """Commit an asking: a new reload, or a watcher more for the one in flight. The same trigger_id counts once.

        So does a person's second press of a button within PRESS_SECONDS. Raises Refused for too many.
        """
        asked = await self._asking.run(partial(_ask, self._limits, ask), within=ASK_SECONDS, order=ask.model_id)
        if isinstance(asked, Refused):
            raise asked
        return asked

    async def join(self, ask: Ask, reload_id: str) -> Asked | None:
        """Commit a watcher more for this very reload; None where it is over or unknown.

        Who watches it in that channel already is answered alike, and nothing is written. Raises Refused for too many.
        """
        asked = await self._database.run(partial(_join, self._limits, ask, reload_id), within=ASK_SECONDS)
        if isinstance(asked, Refused):
            raise asked
        return asked

    async def note(self, note: Note) -> None:
        """Add to the audit what asked for no reload."""

        def operation(tx: Transaction) -> None:
            _add_audit(tx, note)

        await self._database.run(operation, within=ASK_SECONDS)

    async def withdraw(self, trigger_id: str) -> bool:
        """Undo an asking of which its person was told that it failed, unless its reload has begun. Says if it did.

        It goes the way of the asking, behind it.
        """
        return await self._asking.run(partial(_withdraw, trigger_id))

    # --- claiming -----------------------------------------------------------------------------------

    async def claim(self, kinds: Collection[JobKind], limit: int) -> list[Work]:
        """Take at most limit due steps of these kinds, the lowest rank first, and lease them."""
        return await self._database.run(partial(_claim, self._owner, kinds, limit), within=ASK_SECONDS)

    async def next_due(self, kinds: Collection[JobKind]) -> float | None:
        """Seconds until the next step of these kinds is due; None where there is none, or all of them rest."""

        def operation(tx: Transaction) -> float | None:
            if tx.dialect != "sqlite":
                return tx.execute(sql.NEXT_DUE_IN, the_kinds=kinds).scalar_one()
            due_at: float | None = tx.execute(sql.NEXT_DUE_AT, the_kinds=kinds).scalar_one()
            return None if due_at is None else due_at - tx.now

        due_in = await self._database.run(operation, within=ASK_SECONDS, reads=True)
        return None if due_in == NEVER else due_in

    async def renew(self, steps: Collection[Job]) -> None:
        """Lengthen the leases of steps in hand; one that was lost stays lost."""

        def operation(tx: Transaction) -> None:
            for item in steps:
                tx.execute(sql.RENEW, lease_end=tx.now + LEASE, **self._held(item))

        await self._database.run(operation)

    # --- recording: the call ------------------------------------------------------------------------

    async def accepted(self, item: Job, reload_seconds: float) -> Reload:
        """ModelsLab accepted the reload: it should be ready after reload_seconds, and everyone is told then.

        Reminders of the model are of this reload from now on.
        """

        def operation(tx: Transaction) -> Reload:
            self._end(tx, item)
            ready = tx.now + reload_seconds
            reload_ = _to_reload(tx.execute(sql.ACCEPT, the_reload=item.reload_id, now=tx.now, ready=ready).one())
            _open_places(tx, reload_, tx.execute(sql.ADD_PLACES, the_reload=reload_.id))
            _move_reminders(tx, reload_)
            return reload_

        return await self._database.run(operation)

    async def failed(self, item: Job, failure: Failure, said: str, *, unknown: bool) -> Reload:
        """The reload failed for good: everyone is told, now."""

        def operation(tx: Transaction) -> Reload:
            self._end(tx, item)
            _note_unknown(tx, item, unknown=unknown)
            failed = tx.execute(sql.FAIL, the_reload=item.reload_id, why=failure.value, what=said)
            reload_ = _to_reload(failed.one())
            for channel_id in _channels(tx, item.reload_id):
                _add_step(tx, item.reload_id, JobKind.FOLLOW_UP, tx.now, channel_id=channel_id)
            return reload_

        return await self._database.run(operation)

    # --- recording: any step ------------------------------------------------------------------------

    async def again(self, item: Job, wait: float, *, unknown: bool = False) -> None:
        """The step failed and is due again after wait seconds; unknown: it may have had its effect."""
        await self._put_back(item, wait, failed=1, unknown=unknown)

    async def crashed(self, item: Job, wait: float) -> None:
        """The step ended in an error of our own."""
        await self._put_back(item, wait, crashed=1, unknown=item.kind is JobKind.CALL)

    async def postponed(self, item: Job, wait: float, *, unknown: bool = False) -> None:
        """The step was not tried, or was broken off by a stop: it is due after wait seconds, and nothing is counted."""
        await self._put_back(item, wait, unknown=unknown)

    async def _put_back(self, item: Job, wait: float, *, failed: int = 0, crashed: int = 0, unknown: bool) -> None:
        def operation(tx: Transaction) -> None:
            until = tx.now + wait
            row = tx.execute(sql.PUT_BACK, until=until, failed=failed, crashed=crashed, **self._held(item)).first()
            if row is None:
                raise LeaseLost
            _note_unknown(tx, item, unknown=unknown)

        await self._database.run(operation)

    async def rested(self, item: Job, wait: float = NEVER) -> None:
        """The step has done what was due: it is due anew after wait seconds, as if it had never been tried."""

        def operation(tx: Transaction) -> None:
            if tx.execute(sql.REST, until=tx.now + wait, **self._held(item)).first() is None:
                raise LeaseLost

        await self._database.run(operation)

    async def dropped(self, item: Job) -> None:
        """The step is not needed any more."""
        await self._database.run(lambda tx: self._end(tx, item))

    # --- recording: messages ------------------------------------------------------------------------

    async def status_posted(self, item: Job, ts: str, responder: int | None, bar_every: float | None = None) -> None:
        """The status message is out; ts is empty where it cannot be threaded or edited.

        Its bar is to move after bar_every seconds, unless too many do already; of replicas that look in the same
        instant each may let one more move. A status that comes after the follow-up is closed at once.
        """

        def operation(tx: Transaction) -> None:
            self._end(tx, item)
            _count_response(tx, responder)
            tx.execute(sql.STATUS_POSTED, ts=ts, **_place_of(item))
            moves = bool(ts) and bar_every is not None and _add_bar(tx, item, bar_every)
            if not moves and tx.execute(sql.UNTOLD_PLACE, **_place_of(item)).first() is None:
                _close_statuses(tx, [item])

        await self._database.run(operation)

    async def told(
        self, item: Job, watchers: Collection[int], responder: int | None, *, stumbled: bool = False
    ) -> None:
        """These watchers have been told how it ended, or (stumbled) that nobody can say.

        Whoever else asked in the channel gets a DM.
        """
        telling = Telling(item, watchers, responder, stumbled)
        if not await self._database.run_shared(self._tell, telling):
            raise LeaseLost

    def _tell(self, tx: Transaction, tellings: Sequence[Telling]) -> list[bool]:
        """Record all that have been told meanwhile; says of each whether its step was still held."""
        rows = tx.execute(sql.HELD, the_steps=[each.step.id for each in tellings], the_owner=self._owner)
        claims = {(row[0], row[1]) for row in rows}
        held = [(each.step.id, each.step.claims) in claims for each in tellings]
        if any(held):
            _record_told(tx, [*compress(tellings, held)])
        return held

    async def undeliverable(self, item: Job) -> None:
        """Nobody could be told, by any way, in all the time there is: the loud end of a step."""

        def operation(tx: Transaction) -> None:
            self._end(tx, item)
            _lock(tx, [item.reload_id])
            tx.execute(sql.UNDELIVERABLE, the_reload=item.reload_id)
            if item.kind is JobKind.FOLLOW_UP:
                _close_statuses(tx, [item])
            tx.execute(sql.FINISH, the_reloads=[item.reload_id], now=tx.now)

        await self._database.run(operation)

    def _held(self, item: Job) -> dict[str, object]:
        """Which claim of which step: sql._held."""
        return {"the_step": item.id, "the_claim": item.claims, "the_owner": self._owner}

    def _end(self, tx: Transaction, item: Job) -> None:
        if tx.execute(sql.END, **self._held(item)).first() is None:
            raise LeaseLost

    # --- reminders ----------------------------------------------------------------------------------

    async def remind(self, user_id: str, reload_id: str, channel_id: str) -> Reminder | None:
        """Commit a reminder of a reload's model, once: REMIND_AFTER its last accepted reload should have been ready.

        None where that reload is unknown or was never accepted.
        """

        def operation(tx: Transaction) -> Reminder | None:
            named = tx.execute(sql.ACCEPTED_MODEL, the_reload=reload_id).first()
            if named is None:
                return None
            last = _last_accepted(tx, named[0])
            _move_reminders(tx, last)
            _add_reminder(tx, user_id, last, channel_id)
            return next(each for each in _reminders(tx, user_id) if each.reload_id == last.id)

        return await self._database.run(operation, within=ASK_SECONDS)

    async def stop_reminding(self, user_id: str, model_id: str) -> bool:
        """Take back a reminder, even one that is in hand; says whether there was one."""

        def operation(tx: Transaction) -> bool:
            return tx.execute(sql.STOP_REMINDING, the_person=user_id, the_model=model_id).rowcount > 0

        return await self._database.run(operation, within=ASK_SECONDS)

    async def reminders(self, user_id: str) -> list[Reminder]:
        """A person's reminders, by when their models should have been ready."""
        return await self._database.run(lambda tx: _reminders(tx, user_id), within=ASK_SECONDS, reads=True)

    # --- lists --------------------------------------------------------------------------------------

    async def reload(self, reload_id: str) -> Reload | None:
        """The reload of this id; None where there is none."""

        def operation(tx: Transaction) -> Reload | None:
            row = tx.execute(sql.RELOAD, the_reload=reload_id).first()
            return None if row is None else _to_reload(row)

        return await self._database.run(operation, within=ASK_SECONDS, reads=True)

    async def known_models(self, limit: int) -> list[str]:
        """The ids of models of which a reload was accepted, the latest first, at most limit of them."""

        def operation(tx: Transaction) -> list[str]:
            return list(tx.execute(sql.KNOWN_MODELS, most=limit).scalars())

        return await self._database.run(operation, within=ASK_SECONDS, reads=True)

    async def in_flight(self, limit: int) -> tuple[list[Entry], int]:
        """The reloads that have not ended, the first asked for first, at most limit of them, and how many there are."""

        def operation(tx: Transaction) -> tuple[list[Entry], int]:
            rows = tx.execute(sql.NOT_ENDED, most=limit).all()
            return _entries(tx, rows), tx.execute(sql.COUNT_NOT_ENDED).scalar_one()

        return await self._database.run(operation, within=ASK_SECONDS, reads=True)

    async def history(self, limit: int) -> list[Entry]:
        """The reloads that have ended, the last asked for first, at most limit of them."""

        def operation(tx: Transaction) -> list[Entry]:
            return _entries(tx, tx.execute(sql.ENDED, most=limit).all())

        return await self._database.run(operation, within=ASK_SECONDS, reads=True)

    async def glance(self, user_id: str, limit: int) -> HomeData:
        """What one person sees at a glance: at most limit of each kind."""

        def operation(tx: Transaction) -> HomeData:
            return HomeData(
                in_flight=_entries(tx, tx.execute(sql.NOT_ENDED, most=limit).all()),
                count=tx.execute(sql.COUNT_NOT_ENDED).scalar_one(),
                history=_entries(tx, tx.execute(sql.ENDED, most=limit).all()),
                reminders=_reminders(tx, user_id)[:limit],
                now=tx.now,
            )

        return await self._database.run(operation, within=ASK_SECONDS, reads=True)

    async def prune(self, days: float) -> tuple[int, int]:
        """Forget at most some hundreds of the reloads that ended more than days ago, and as many lines of the audit.

        Returns how many of each.
        """

        def operation(tx: Transaction) -> tuple[int, int]:
            old: dict[str, object] = {"before": tx.now - days * 86400, "most": _PRUNED_AT_ONCE}
            return tx.execute(sql.PRUNE, **old).rowcount, tx.execute(sql.PRUNE_AUDIT, **old).rowcount

        return await self._database.run(operation)


# --- operations: each runs inside a transaction of the database thread ----------------------------------


def _ask(limits: Limits, ask: Ask, tx: Transaction) -> Asked | Refused:
    """What came of an asking. One that is declined is returned and not raised, so that nothing else is undone."""
    if (begun := _begun_at_once(limits, ask, tx)) is not None:
        return begun
    if (pressed := _pressed(tx, ask)) is not None:
        return _answered(tx, *pressed)
    if _asked_enough(tx, ask.user_id, limits.per_person):
        return _declined(tx, ask, _too_many_commands(limits))
    reload_, created = _create_or_join(tx, ask.model_id)
    if (pressed := _pressed(tx, ask)) is not None:  # another replica had the first click, and was waited for
        if created:
            tx.execute(sql.FORGET_RELOAD, the_reload=reload_.id)
        return _answered(tx, *pressed)
    if created and _is_full(tx, limits.in_flight):
        tx.execute(sql.FORGET_RELOAD, the_reload=reload_.id)
        return _declined(tx, ask, _too_many_in_flight(limits))
    asked = _begin_or_join(tx, ask, reload_, created=created)
    return _noted(tx, ask, asked)


def _begun_at_once(limits: Limits, ask: Ask, tx: Transaction) -> Asked | None:
    """A reload that nothing stands in the way of, on PostgreSQL: what else takes a round trip a table takes one.

    None where something does, or may: then nothing has been done.
    """
    if tx.dialect == "sqlite" or ask.press:
        return None
    begun = tx.execute(
        sql.begin_reload(),
        id=new_reload_id(),
        model_id=ask.model_id,
        now=tx.now,
        trigger_id=ask.trigger_id,
        user_id=ask.user_id,
        channel_id=ask.channel_id,
        response_url=ask.response_url,
        team_id=ask.team_id,
        rule=ask.rule,
        the_user=ask.user_id,
        after=tx.now - PERSON_SECONDS,
        per_person=limits.per_person,
        in_flight=limits.in_flight,
    ).first()
    if begun is None:
        return None
    reload_id, watcher_id = begun
    if watcher_id is None:  # the same invocation was delivered before
        tx.execute(sql.FORGET_RELOAD, the_reload=reload_id)
        return None
    asker = Subscriber(watcher_id, reload_id, ask.user_id, ask.channel_id, tx.now, ask.response_url)
    return Asked(Reload(reload_id, ask.model_id, State.REQUESTED, tx.now), asker, joined=False)


def _join(limits: Limits, ask: Ask, reload_id: str, tx: Transaction) -> Asked | Refused | None:
    """What came of a wish to watch a reload. Locked, it stays in flight until the watcher is there."""
    row = tx.execute(sql.JOINABLE, the_reload=reload_id).first()
    if row is None:
        return None
    reload_ = _to_reload(row)
    watching = {"the_reload": reload_id, "the_user": ask.user_id, "the_channel": ask.channel_id}
    if tx.execute(sql.WATCHES, **watching).first() is not None:
        return Asked(reload_, _first_watcher(tx, reload_id), joined=True)
    if _asked_enough(tx, ask.user_id, limits.per_person):
        return _declined(tx, ask, _too_many_commands(limits))
    return _noted(tx, ask, _begin_or_join(tx, ask, reload_, created=False))


def _noted(tx: Transaction, ask: Ask, asked: Asked | None) -> Asked:
    """Keep an asking in the audit, unless it is an invocation of before."""
    if asked is None:
        return _asked_before(tx, ask.trigger_id)
    note = Note(ask.user_id, ask.team_id, ask.channel_id, asked.reload.model_id, asked.outcome, ask.rule)
    _add_audit(tx, note, asked.reload.id)
    return asked


def _begin_or_join(tx: Transaction, ask: Ask, reload_: Reload, *, created: bool) -> Asked | None:
    """Add the asker, and a call for a reload that was made just now; None where this is an invocation of before."""
    asked = _add_watcher(tx, ask, reload_.id)
    if asked is None:
        # The same invocation was delivered before: undo what this one may have begun.
        if created:
            tx.execute(sql.FORGET_RELOAD, the_reload=reload_.id)
        return None
    if created:
        _add_step(tx, reload_.id, JobKind.CALL, tx.now)
        return Asked(reload_, asked, joined=False)
    if reload_.state is State.ACCEPTED:
        _open_places(tx, reload_, tx.execute(sql.ADD_PLACE, the_reload=reload_.id, the_watcher=asked.id))
    return Asked(reload_, _first_watcher(tx, reload_.id), joined=True)


def _asked_enough(tx: Transaction, user_id: str, limit: int) -> bool:
    if not limit:
        return False
    return tx.execute(sql.COUNT_COMMANDS, the_user=user_id, after=tx.now - PERSON_SECONDS).scalar_one() >= limit


def _is_full(tx: Transaction, limit: int) -> bool:
    """Whether there is one reload in flight too many, the one that was made just now among them."""
    return bool(limit) and tx.execute(sql.COUNT_IN_FLIGHT).scalar_one() > limit


def _too_many_commands(limits: Limits) -> Refused:
    rule = "COMMANDS_PER_PERSON"
    return Refused(Refusal.TOO_MANY_COMMANDS, rule=rule, limit=limits.per_person, seconds=PERSON_SECONDS)


def _too_many_in_flight(limits: Limits) -> Refused:
    return Refused(Refusal.TOO_MANY_IN_FLIGHT, rule="MAX_IN_FLIGHT", limit=limits.in_flight)


def _declined(tx: Transaction, ask: Ask, declined: Refused) -> Asked | Refused:
    """An invocation of before is no second one, and no limit meets it: it is answered as before."""
    if tx.execute(sql.INVOCATION, the_trigger=ask.trigger_id).first() is not None:
        return _asked_before(tx, ask.trigger_id)
    return declined


def _pressed(tx: Transaction, ask: Ask) -> tuple[int, str] | None:
    """The watcher and the reload of what a press repeats as a double click does."""
    if not ask.press:
        return None
    key = f"{ask.press}#"
    row = tx.execute(
        sql.PRESSED, the_user=ask.user_id, after=tx.now - PRESS_SECONDS, the_press=key, its_length=len(key)
    ).first()
    return None if row is None else (row[0], row[1])


def _add_audit(tx: Transaction, note: Note, reload_id: str | None = None) -> None:
    tx.execute(
        sql.ADD_AUDIT,
        at=tx.now,
        user_id=note.user_id,
        team_id=note.team_id,
        channel_id=note.channel_id,
        what=note.what,
        outcome=note.outcome,
        rule=note.rule,
        reload_id=reload_id,
    )


def _create_or_join(tx: Transaction, model_id: str) -> tuple[Reload, bool]:
    """The reload in flight of this model, and whether it was made just now.

    The unique indexes decide. What is in the way may be an ended reload that has the same id, or, on PostgreSQL, one
    that ends before it is locked: then a new one is tried again.
    """
    for _ in range(_TRIES):
        new = Reload(new_reload_id(), model_id, State.REQUESTED, tx.now)
        added = tx.execute(
            sql.add_reload(tx.dialect),
            id=new.id,
            model_id=model_id,
            state=new.state,
            asked_at=new.asked_at,
            said="",
            unknown=False,
            undeliverable=False,
        )
        if added.first() is not None:
            return new, True
        if (row := tx.execute(sql.RELOAD_IN_FLIGHT, the_model=model_id).first()) is not None:
            return _to_reload(row), False
    raise DatabaseUnavailable("reloads of this model come and go too fast")


def _add_watcher(tx: Transaction, ask: Ask, reload_id: str) -> Subscriber | None:
    """Add the asker; None where this invocation has been recorded before."""
    added = tx.execute(
        sql.add_watcher(tx.dialect),
        reload_id=reload_id,
        trigger_id=ask.trigger_id,
        user_id=ask.user_id,
        channel_id=ask.channel_id,
        asked_at=tx.now,
        response_url=ask.response_url,
        response_uses=0,
    )
    row = added.first()
    if row is None:
        return None
    return Subscriber(row[0], reload_id, ask.user_id, ask.channel_id, tx.now, ask.response_url)


def _asked_before(tx: Transaction, trigger_id: str) -> Asked:
    watcher_id, reload_id = tx.execute(sql.INVOCATION, the_trigger=trigger_id).one()
    return _answered(tx, watcher_id, reload_id)


def _answered(tx: Transaction, watcher_id: int, reload_id: str) -> Asked:
    """What this watcher was answered, as things are now."""
    row = tx.execute(sql.RELOAD, the_reload=reload_id).one()
    first = _first_watcher(tx, reload_id)
    return Asked(_to_reload(row), first, joined=first.id != watcher_id)


def _withdraw(trigger_id: str, tx: Transaction) -> bool:
    """Locked, the call cannot be claimed any more; and locked, the reload cannot be joined before it is gone."""
    row = tx.execute(sql.UNCLAIMED_CALL, the_trigger=trigger_id).first()
    if row is None:
        return False
    _lock(tx, [row[0]])
    tx.execute(sql.AUDIT_WITHDRAWN, the_trigger=trigger_id)
    tx.execute(sql.FORGET_INVOCATION, the_trigger=trigger_id)
    tx.execute(sql.FORGET_UNWATCHED, the_reload=row[0])
    return True


def _claim(owner: str, kinds: Collection[JobKind], limit: int, tx: Transaction) -> list[Work]:
    """Lease due steps. A lease that had run out tells of a death, or of a delay as long, in the middle of the step."""
    rows = tx.execute(sql.CLAIM, now=tx.now, lease_end=tx.now + LEASE, owner=owner, the_kinds=kinds, most=limit).all()
    claimed = sorted((_to_step(row) for row in rows), key=lambda item: (RANKS[item.kind], item.tried_at))
    steps = [item for item in claimed if item.kind is not JobKind.REMIND or not _outdated(tx, item)]
    if not steps:
        return []
    _note_beginnings(tx, steps)
    return _works(tx, steps)


def _note_beginnings(tx: Transaction, steps: Sequence[Job]) -> None:
    """A reload whose end is being told takes no more joiners; a call that was cut short may have had its effect."""
    telling = {item.reload_id for item in steps if item.kind in sql.TELLING}
    if telling:
        tx.execute(sql.BEGIN_TELLING, the_reloads=telling)
    cut_short = {item.reload_id for item in steps if item.kind is JobKind.CALL and item.crashes}
    if cut_short:
        tx.execute(sql.CUT_SHORT, the_reloads=cut_short)


def _works(tx: Transaction, steps: Sequence[Job]) -> list[Work]:
    """The steps with all that it takes to do them: a call needs to know of nobody."""
    ids = {item.reload_id for item in steps}
    reloads = {row[0]: _to_reload(row) for row in tx.execute(sql.RELOADS, the_reloads=ids)}
    posting = {item.reload_id for item in steps if item.kind is not JobKind.CALL}
    watchers = _watchers(tx, posting)
    status = {(row[0], row[1]): row[2] for row in tx.execute(sql.PLACES, the_reloads=posting)} if posting else {}
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


def _watchers(tx: Transaction, reload_ids: Collection[str]) -> defaultdict[str, list[Subscriber]]:
    """The watchers of each reload, the first to ask first."""
    found: defaultdict[str, list[Subscriber]] = defaultdict(list)
    for row in tx.execute(sql.WATCHERS, the_reloads=reload_ids) if reload_ids else ():
        found[row[1]].append(_to_watcher(row))
    return found


def _first_watcher(tx: Transaction, reload_id: str) -> Subscriber:
    return _to_watcher(tx.execute(sql.FIRST_WATCHER, the_reload=reload_id).one())


def _entries(tx: Transaction, rows: Sequence[_ReloadRow]) -> list[Entry]:
    """The rows with their watchers, but for those that another replica has deleted since they were read."""
    watchers = _watchers(tx, [row[0] for row in rows])
    return [
        Entry(_to_reload(row), watchers[row[0]][0], len(watchers[row[0]]), tx.now) for row in rows if watchers[row[0]]
    ]


def _channels(tx: Transaction, reload_id: str) -> Sequence[str]:
    """Where the reload was asked for; to be read once the reload is written, so that nobody joins it meanwhile."""
    return tx.execute(sql.CHANNELS, the_reload=reload_id).scalars()


def _open_places(tx: Transaction, reload_: Reload, added: Rows[str]) -> None:
    """See to it that each channel added gets a status message now, and a follow-up when the reload should be ready."""
    due = tx.now if reload_.ready_at is None else reload_.ready_at
    for channel_id in added.scalars():
        tx.execute(sql.ADD_MESSAGES, the_reload=reload_.id, the_channel=channel_id, now=tx.now, due=due)


def _add_step(tx: Transaction, reload_id: str, kind: JobKind, due_at: float, *, channel_id: str = "") -> None:
    tx.execute(sql.ADD_STEP, reload_id=reload_id, channel_id=channel_id, due_at=due_at, **sql.step_of(kind))


def _record_told(tx: Transaction, tellings: Sequence[Telling]) -> None:
    """End their steps, and each reload of which all has been told; whom a follow-up did not reach gets a DM."""
    steps = [each.step for each in tellings]
    reloads = {step.reload_id for step in steps}
    tx.execute(sql.FORGET_STEPS, the_steps=[step.id for step in steps])
    _lock(tx, reloads)
    watchers = [watcher for each in tellings for watcher in each.watchers]
    for n in range(0, len(watchers), _TOLD_AT_ONCE):
        tx.execute(sql.TELL, the_watchers=watchers[n : n + _TOLD_AT_ONCE], now=tx.now)
    for each in tellings:
        _count_response(tx, each.responder)
        if each.stumbled:
            tx.execute(sql.UNDELIVERABLE, the_reload=each.step.reload_id)
    if follow_ups := [step for step in steps if step.kind is JobKind.FOLLOW_UP]:
        tx.execute(sql.TELL_DIRECTLY, now=tx.now, **_places_of(follow_ups))
        _close_statuses(tx, follow_ups)
    tx.execute(sql.FINISH, the_reloads=reloads, now=tx.now)


def _close_statuses(tx: Transaction, steps: Sequence[Job]) -> None:
    """Let the status messages of the steps' channels, where they can be edited, say that it is over."""
    places = _places_of(steps)
    if tx.dialect != "sqlite":
        tx.execute(sql.LOCK_PLACES, **places)
    tx.execute(sql.DROP_BARS, **places)
    tx.execute(sql.CLOSE, now=tx.now, **places)


def _places_of(steps: Sequence[Job]) -> dict[str, Collection[str]]:
    return {
        "the_reloads": {step.reload_id for step in steps},
        "the_places": [sql.place_key(step.reload_id, step.channel_id) for step in steps],
    }


def _add_bar(tx: Transaction, item: Job, every: float) -> bool:
    """Have the bar of a status message move, unless it is over or all edits would be too many for Slack."""
    most = BAR_EDITS * every / 60.0
    return tx.execute(sql.ADD_BAR, due=tx.now + every, most=most, **_place_of(item)).first() is not None


def _last_accepted(tx: Transaction, model_id: str) -> Reload:
    """Of a model's reloads, one of which was accepted, the last that was."""
    return _to_reload(tx.execute(sql.LAST_ACCEPTED, the_model=model_id).one())


def _outdated(tx: Transaction, item: Job) -> bool:
    """Whether a reminder is of a reload that is not its model's last: then it is moved to that, and not in hand.

    That happens where a replica asked for it before it could see that another one's reload was accepted.
    """
    model_id = tx.execute(sql.ACCEPTED_MODEL, the_reload=item.reload_id).scalar_one()
    last = _last_accepted(tx, model_id)
    if last.id != item.reload_id:
        _move_reminders(tx, last)
    return last.id != item.reload_id


def _move_reminders(tx: Transaction, last: Reload) -> None:
    """Let every reminder of a model be of its last accepted reload, and each person have one."""
    rows = tx.execute(sql.REMINDERS_OF_MODEL, the_model=last.model_id).all()
    kept = {person_id: id_ for id_, person_id, reload_id in rows if reload_id == last.id}
    moving = {person_id: id_ for id_, person_id, _ in rows if person_id not in kept}
    if len(rows) > len(kept) + len(moving):
        left = {row[0] for row in rows} - {*kept.values(), *moving.values()}
        tx.execute(sql.FORGET_STEPS, the_steps=left)
    if moving:
        until = _reminder_due(last)
        tx.execute(sql.MOVE_REMINDERS, the_steps=[*moving.values()], the_reload=last.id, until=until)


def _add_reminder(tx: Transaction, user_id: str, last: Reload, channel_id: str) -> None:
    tx.execute(
        sql.add_reminder(tx.dialect),
        reload_id=last.id,
        channel_id=channel_id,
        due_at=_reminder_due(last),
        person_id=user_id,
        **sql.step_of(JobKind.REMIND),
    )


def _reminders(tx: Transaction, user_id: str) -> list[Reminder]:
    return [
        Reminder(model_id, reload_id, channel_id, ready_at or 0.0, None if due_at == NEVER else due_at)
        for model_id, reload_id, channel_id, ready_at, due_at in tx.execute(sql.REMINDERS, the_person=user_id)
    ]


def _reminder_due(last: Reload) -> float:
    return (last.ready_at or 0.0) + REMIND_AFTER


def _place_of(item: Job) -> dict[str, object]:
    return {"the_reload": item.reload_id, "the_channel": item.channel_id}


def _count_response(tx: Transaction, watcher_id: int | None) -> None:
    if watcher_id is not None:
        tx.execute(sql.USE_RESPONSE_URL, the_watcher=watcher_id)


def _note_unknown(tx: Transaction, item: Job, *, unknown: bool) -> None:
    if unknown:
        tx.execute(sql.OUTCOME_UNKNOWN, the_reload=item.reload_id)


def _lock(tx: Transaction, reload_ids: Collection[str]) -> None:
    """Make replicas that end a reload's last two steps take turns; SQLite has one writer."""
    if tx.dialect != "sqlite":
        tx.execute(sql.LOCK, the_reloads=reload_ids)


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
        Failure(failure) if failure else None,
        said,
        unknown,
        undeliverable,
    )


def _to_watcher(row: _WatcherRow) -> Subscriber:
    id_, reload_id, _trigger_id, user_id, channel_id, asked_at, response_url, response_uses, told_at = row
    return Subscriber(id_, reload_id, user_id, channel_id, asked_at, response_url, response_uses, told_at)


def _to_step(row: _StepRow) -> Job:
    (
        id_,
        reload_id,
        kind,
        _rank,
        channel_id,
        watcher_id,
        due_at,
        tried_at,
        _owner,
        claims,
        attempts,
        crashes,
        person,
    ) = row
    began = tried_at or due_at
    return Job(id_, reload_id, JobKind(kind), channel_id, watcher_id, began, claims, attempts, crashes, person)
