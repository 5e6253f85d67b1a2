import asyncio
import gc
import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Named, Table, Text, TypedColumns, insert, select
from sqlalchemy.exc import IntegrityError

from bot.errors import CommitUncertain, DatabaseUnavailable
from bot.storage.database import Database, Operation, Transaction
from tests.store.world import Clock, Gate, at_commit, at_rollback, busy, commits, outside


class _NoteColumns(TypedColumns):
    id: Named[int] = Column(Integer, primary_key=True)
    said: Named[str] = Column(Text)


_note = Table("note", MetaData(), _NoteColumns)


def _write(number: int, said: str = "") -> Operation[int]:
    def operation(tx: Transaction) -> int:
        tx.connection.execute(insert(_note).values(id=number, said=said))
        return number

    return operation


def _notes(tx: Transaction) -> list[int]:
    return list(tx.connection.execute(select(_note.c.id).order_by(_note.c.id)).scalars())


def _fail(_: Transaction) -> None:
    raise ValueError("on purpose")


@pytest.fixture
async def notes(database: Database) -> Database:
    """A database with one table, of numbers that may not be given twice."""
    await database.run(lambda tx: _note.create(tx.connection))
    return database


async def test_committed_before_answer(notes: Database, url: str) -> None:
    """An operation's result is its caller's once it is committed."""
    assert await notes.run(_write(7)) == 7
    assert outside(url, "SELECT id FROM note") == [(7,)]


async def test_one_commit_for_many(notes: Database) -> None:
    """Operations that arrive together share one commit, and each has its own answer."""
    with commits() as seen:
        async with busy(notes):
            waiting = asyncio.gather(*(notes.run(_write(number)) for number in range(100)))
        answers = await waiting

    assert answers == list(range(100))
    assert len(seen) == 1


async def test_groups_are_bounded(notes: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many arrive together, a commit holds only so many."""
    monkeypatch.setattr("bot.storage.database._LARGEST_GROUP", 4)
    with commits() as seen:
        async with busy(notes):
            waiting = asyncio.gather(*(notes.run(_write(number)) for number in range(10)))
        await waiting

    assert len(seen) == 2
    assert await notes.run(_notes, reads=True) == list(range(10))


async def test_reads_commit_nothing(notes: Database) -> None:
    """Operations that only read begin and commit nothing; those beside a write see what it wrote."""
    with commits() as seen:
        assert await notes.run(_notes, reads=True) == []
        assert seen == []

    async with busy(notes):
        writing = asyncio.create_task(notes.run(_write(1)))
        reading = asyncio.create_task(notes.run(_notes, reads=True))
    assert await writing == 1
    assert await reading == [1]


@pytest.mark.parametrize("error", [ValueError, IntegrityError])
async def test_failure_is_its_own(notes: Database, url: str, error: type[Exception]) -> None:
    """An operation that fails is told so, and those that arrived with it are carried out all the same."""
    await notes.run(_write(1))
    faulty: Operation[object] = _fail if error is ValueError else _write(1)

    async with busy(notes):
        waiting = asyncio.gather(notes.run(_write(2)), notes.run(faulty), notes.run(_write(3)), return_exceptions=True)
    two, failure, three = await waiting

    assert (two, three) == (2, 3)
    assert isinstance(failure, error)
    assert outside(url, "SELECT id FROM note ORDER BY id") == [(1,), (2,), (3,)]
    assert notes.fault == ""


async def test_order(notes: Database) -> None:
    """Operations that come together are done by their order, and as they came where that is the same."""
    done: list[int] = []

    def do(number: int) -> Operation[None]:
        return lambda _: done.append(number)

    async with busy(notes):
        orders = ((1, "b"), (2, "a"), (3, ""), (4, "a"))
        waiting = asyncio.gather(*(notes.run(do(number), order=order) for number, order in orders))
    await waiting

    assert done == [3, 2, 4, 1]


async def test_shared(notes: Database) -> None:
    """Items that wait together for the same operation are one call of it, and each gets its own result."""
    calls: list[Sequence[int]] = []

    def write_all(tx: Transaction, numbers: Sequence[int]) -> list[int]:
        calls.append(numbers)
        return [-_write(number)(tx) for number in numbers]

    async with busy(notes):
        waiting = asyncio.gather(*(notes.run_shared(write_all, number) for number in (1, 2, 3)), notes.run(_write(4)))

    assert await waiting == [-1, -2, -3, 4]
    assert calls == [[1, 2, 3]]
    assert await notes.run(_notes, reads=True) == [1, 2, 3, 4]


async def test_failure_of_what_is_shared(notes: Database) -> None:
    """Where one of the items makes it fail, each is done by itself, and only that one's caller is told."""

    def write_all(tx: Transaction, numbers: Sequence[int]) -> list[int]:
        return [10 // number + _write(number)(tx) for number in numbers]

    async with busy(notes):
        waiting = asyncio.gather(*(notes.run_shared(write_all, number) for number in (1, 0, 2)), return_exceptions=True)
    one, failure, two = await waiting

    assert (one, two) == (11, 7)
    assert isinstance(failure, ZeroDivisionError)
    assert await notes.run(_notes, reads=True) == [1, 2]


async def test_failure_undoes(notes: Database, url: str) -> None:
    """An operation that fails half-way leaves nothing behind."""

    def half(tx: Transaction) -> None:
        _write(1)(tx)
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await notes.run(half)

    assert outside(url, "SELECT id FROM note") == []


async def test_undoing_fails(notes: Database) -> None:
    """A connection on which nothing can be undone is not used again."""

    def half(tx: Transaction) -> None:
        _write(1)(tx)
        raise ValueError("on purpose")

    def fail(_: Connection) -> None:
        raise OSError

    with at_rollback(fail), pytest.raises(ValueError, match="on purpose"):
        await notes.run(half)

    assert await notes.run(_write(2)) == 2
    assert await notes.run(_notes, reads=True) == [2]


# --- giving up ------------------------------------------------------------------------------------------


async def test_given_up_while_waiting(notes: Database, url: str) -> None:
    """An operation that was given up before its turn is never begun."""
    async with busy(notes):
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.01 s"):
            await notes.run(_write(1), within=0.01)
        assert notes.fault == "no answer"

    assert await notes.run(_notes, reads=True) == []
    assert outside(url, "SELECT id FROM note") == []
    assert notes.fault == ""


async def test_given_up_while_run(notes: Database, url: str) -> None:
    """An operation that was given up while it ran is not committed; those that arrived with it are."""
    gate = Gate()

    def slow(tx: Transaction) -> int:
        gate.wait()
        return _write(2)(tx)

    async with busy(notes):
        given_up = asyncio.create_task(notes.run(_write(1), within=0.2))
        patient = asyncio.create_task(notes.run(slow))
    await gate.reached()
    with pytest.raises(DatabaseUnavailable):
        await given_up
    gate.open()

    assert await patient == 2
    assert outside(url, "SELECT id FROM note") == [(2,)]


async def test_given_up_while_run_anew(notes: Database, url: str) -> None:
    """An operation that is done anew, for another that was given up, can still be given up itself."""
    gates = [Gate(), Gate()]
    runs: list[Gate] = []

    def slow(tx: Transaction) -> int:
        runs.append(gates[len(runs)])
        runs[-1].wait()
        return _write(2)(tx)

    async with busy(notes):
        first = asyncio.create_task(notes.run(_write(1), within=0.1))
        second = asyncio.create_task(notes.run(slow, within=0.5))
    with pytest.raises(DatabaseUnavailable):
        await first
    gates[0].open()
    with pytest.raises(DatabaseUnavailable) as given_up:
        await second
    gates[1].open()

    assert not isinstance(given_up.value, CommitUncertain)
    assert await notes.run(_notes, reads=True) == []
    assert outside(url, "SELECT id FROM note") == []


async def test_given_up_alone(notes: Database, url: str) -> None:
    """An operation that was given up while it ran alone is undone."""
    gate = Gate()

    def slow(tx: Transaction) -> None:
        _write(1)(tx)
        gate.wait()

    with pytest.raises(DatabaseUnavailable):
        await notes.run(slow, within=0.05)
    gate.open()
    await notes.stop()

    assert outside(url, "SELECT id FROM note") == []
    assert notes.fault == "no answer"


async def test_given_up_and_failed(notes: Database, caplog: pytest.LogCaptureFixture) -> None:
    """That an operation failed after it was given up is nobody's complaint."""
    gate = Gate()

    def slow(_: Transaction) -> None:
        gate.wait()
        raise ValueError("on purpose")

    with pytest.raises(DatabaseUnavailable):
        await notes.run(slow, within=0.05)
    gate.open()
    await notes.run(_notes, reads=True)
    gc.collect()  # asyncio complains when the answer that nobody heard is thrown away

    assert caplog.records == []


async def test_caller_cancelled(notes: Database, url: str) -> None:
    """An operation whose caller was cancelled is carried out all the same: what was done is recorded."""
    async with busy(notes):
        caller = asyncio.create_task(notes.run(_write(1)))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    assert await notes.run(_notes, reads=True) == [1]
    assert outside(url, "SELECT id FROM note") == [(1,)]


async def test_commit_hangs(notes: Database, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an operation whose commit has begun and does not end, nobody can tell: CommitUncertain."""
    monkeypatch.setattr("bot.storage.database._COMMIT_GRACE", 0.05)
    gate = Gate()

    with at_commit(lambda _: gate.wait()):
        with pytest.raises(CommitUncertain):
            await notes.run(_write(1), within=0.5)
        assert notes.fault == "no answer"
        gate.open()
        assert await notes.run(_notes, reads=True) == [1]

    assert outside(url, "SELECT id FROM note") == [(1,)]
    assert notes.fault == ""


async def test_commit_is_late(notes: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that has begun is waited for a little longer, and then answers."""
    monkeypatch.setattr("bot.storage.database._COMMIT_GRACE", 20.0)
    gate = Gate()

    with at_commit(lambda _: gate.wait()):
        late = asyncio.create_task(notes.run(_write(1), within=0.5))
        await gate.reached()
        asyncio.get_running_loop().call_later(0.7, gate.open)
        assert await late == 1


# --- starting and stopping ------------------------------------------------------------------------------


async def test_stopped_after_what_waits(notes: Database, url: str) -> None:
    """Operations that wait when the database is stopped are carried out first; none is taken after."""
    async with busy(notes):
        waiting = asyncio.gather(*(notes.run(_write(number)) for number in range(3)))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(notes.stop())
        await asyncio.sleep(0)
        with pytest.raises(DatabaseUnavailable, match="closed"):
            await notes.run(_write(9))

    assert await waiting == [0, 1, 2]
    await stopping
    assert "database" not in [thread.name for thread in threading.enumerate()]
    assert outside(url, "SELECT count(*) FROM note") == [(3,)]


async def test_not_started(url: str) -> None:
    """A database that was not started takes nothing, and can be stopped."""
    database = Database(url, Clock())

    with pytest.raises(DatabaseUnavailable, match="closed"):
        await database.run(_notes)
    assert database.fault == "not connected yet"
    await database.stop()


async def test_unused(url: str) -> None:
    """A database that was never used connects to nothing and stops at once."""
    database = Database(url, Clock())
    await database.start()
    await database.stop()

    assert database.fault == "not connected yet"


def test_loop_closed(sqlite_url: str) -> None:
    """An operation that outlives its event loop is carried out, and answers nobody."""
    gate = Gate()
    database = Database(sqlite_url, Clock())

    async def leave() -> None:
        await database.start()
        await database.run(lambda tx: _note.create(tx.connection))

        def slow(tx: Transaction) -> None:
            gate.wait()
            _write(1)(tx)

        task = asyncio.create_task(database.run(slow))
        await gate.reached()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    gate.open()
    asyncio.run(database.stop())

    assert outside(sqlite_url, "SELECT id FROM note") == [(1,)]


async def test_fault_after_given_up(notes: Database) -> None:
    """A database that goes away while an operation is done anew, for another that was given up, is at fault."""
    gate = Gate()
    runs: list[Connection] = []

    def slow(tx: Transaction) -> None:
        runs.append(tx.connection)
        gate.wait()
        if len(runs) > 1:
            tx.connection.exec_driver_sql("SELECT no_such_function()")

    async with busy(notes):
        given_up = asyncio.create_task(notes.run(_write(1), within=0.2))
        patient = asyncio.create_task(notes.run(slow))
    await gate.reached()
    with pytest.raises(DatabaseUnavailable):
        await given_up
    gate.open()
    with pytest.raises(DatabaseUnavailable):
        await patient

    assert notes.fault in ("OperationalError", "UndefinedFunction")
