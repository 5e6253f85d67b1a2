import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest
from bot.storage.store import Limits, Store
from sqlalchemy import text

from bot.core.models import JobKind
from bot.errors import CommitUncertain, DatabaseUnavailable, Failure
from bot.storage.database import Database, Operation, Transaction
from tests.postgres import Postgres
from tests.store.world import WAIT, Clock, Gate, World, ask, at_commit, busy, outside


@pytest.fixture
def url(postgres_url: str) -> str:
    """What follows is of PostgreSQL alone."""
    return postgres_url


def _say(statement: str) -> Operation[object]:
    """An operation that runs one statement, and returns what its first row begins with, if it has one."""

    def operation(tx: Transaction) -> object:
        result = tx.connection.execute(text(statement))
        return result.scalar() if result.returns_rows else None

    return operation


# --- what it costs --------------------------------------------------------------------------------------


async def _said(postgres: Postgres, url: str, act: Callable[[Store], Awaitable[object]]) -> Sequence[str]:
    """The first line of each statement that the server gets while a store does something."""
    postgres.log_statements(url)
    database = Database(url, Clock())
    await database.start()
    store = Store(database, "one")
    await store.open()
    pid = await database.run(_say("SELECT pg_backend_pid()"), reads=True)
    assert isinstance(pid, int)
    before = len(postgres.statements(pid))
    await act(store)
    await database.stop()
    return postgres.statements(pid)[before:]


async def test_cost_of_a_look(postgres: Postgres, url: str) -> None:
    """To look for what is due, as an idle bot does each second, is one statement."""
    said = await _said(postgres, url, lambda store: store.next_due(tuple(JobKind)))

    assert len(said) == 1
    assert said[0].startswith("SELECT min(step.due_at)")


@pytest.mark.parametrize("limits", [Limits(), Limits(30, 100)])
async def test_cost_of_an_asking(postgres: Postgres, url: str, limits: Limits) -> None:
    """To ask is three round trips, whatever the limits: the beginning, one statement for four tables, the commit."""
    said = await _said(postgres, url, lambda store: Store(store._database, "two", limits).ask(ask()))  # noqa: SLF001

    assert [statement.split()[0] for statement in said] == ["BEGIN", "WITH", "COMMIT"]


async def test_cost_of_joining(postgres: Postgres, url: str) -> None:
    """To join takes what it must: what could not be begun is locked before anything is added to it."""

    async def join(store: Store) -> None:
        await store.ask(ask())
        said = await _said(postgres, url, lambda other: other.ask(ask()))
        kinds = [statement.split()[0] for statement in said]
        assert kinds == ["BEGIN", "WITH", "INSERT", "SELECT", "INSERT", "SELECT", "INSERT", "COMMIT"]

    await _said(postgres, url, join)


async def test_cost_of_a_reload(postgres: Postgres, url: str) -> None:
    """To record that a reload was accepted, or that its status is posted, is a few statements for what is added."""

    async def carry(store: Store) -> None:
        await store.ask(ask())
        (call,) = await store.claim([JobKind.CALL], 1)
        said = await _said(postgres, url, lambda other: other.accepted(call.step, 120.0))
        kinds = [statement.split()[0] for statement in said]
        assert kinds == ["BEGIN", "DELETE", "UPDATE", "INSERT", "INSERT", "SELECT", "COMMIT"]

        (status,) = await store.claim([JobKind.STATUS], 1)
        said = await _said(postgres, url, lambda other: other.status_posted(status.step, "1700.1", None, 20.0))
        assert [statement.split()[0] for statement in said] == ["BEGIN", "DELETE", "UPDATE", "INSERT", "COMMIT"]

    await _said(postgres, url, carry)


async def test_cost_of_a_claim(postgres: Postgres, url: str) -> None:
    """To claim many calls costs no more than to claim one: the steps, and their reloads."""

    async def claim(store: Store) -> None:
        await asyncio.gather(*(store.ask(ask(f"model-{number}")) for number in range(20)))
        said = await _said(postgres, url, lambda other: other.claim([JobKind.CALL], 20))
        assert [statement.split()[0] for statement in said] == ["BEGIN", "WITH", "SELECT", "COMMIT"]

    await _said(postgres, url, claim)


async def test_asking_waits_for_nobody(database: Database, url: str) -> None:
    """Who asks does not wait for what the loop has the database do: askings have a connection of their own."""
    asking = Database(url, Clock())
    await asking.start()
    store = Store(database, "one", asking=asking)
    await store.open()

    async with busy(database):
        asked = await store.ask(ask(trigger="t"))
        assert await store.withdraw("t")

    assert not asked.joined
    assert (await store.in_flight(10))[1] == 0
    await asking.stop()


# --- the connection -------------------------------------------------------------------------------------


async def test_settings(database: Database) -> None:
    """A statement, a lock and an idle transaction have limits, and the connection says whose it is."""
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name")
    values = [await database.run(_say(f"SHOW {name}"), reads=True) for name in names]

    assert values == ["5s", "1500ms", "10s", "reload-model"]


async def test_url_wins(url: str) -> None:
    """What the URL itself says wins over what this program says."""
    database = Database(f"{url}&application_name=mine&options=-c%20statement_timeout%3D7s", Clock())
    await database.start()

    names = ("statement_timeout", "lock_timeout", "application_name")
    assert [await database.run(_say(f"SHOW {name}"), reads=True) for name in names] == ["7s", "0", "mine"]
    await database.stop()


async def test_isolation(url: str) -> None:
    """What replicas do to each other is thought out for READ COMMITTED, whatever the server's default."""
    database = Database(f"{url}&options=-c%20default_transaction_isolation%3Dserializable", Clock())
    await database.start()

    assert await database.run(_say("SHOW transaction_isolation")) == "read committed"
    await database.stop()


async def test_time_is_the_servers(database: Database) -> None:
    """The time is that of the server, whatever this machine's clock says."""
    told = await database.run(lambda tx: tx.now)

    (server,) = outside(database._url, "SELECT extract(epoch FROM now())::float8")[0]  # noqa: SLF001
    assert told == pytest.approx(server, abs=5.0)
    assert told != pytest.approx(Clock().now, abs=1e6)


async def test_no_server(url: str) -> None:
    """A server that cannot be reached is away, and the fault says so."""
    database = Database(url.replace("host=", "host=/nowhere"), Clock())
    await database.start()

    with pytest.raises(DatabaseUnavailable, match="nowhere"):
        await database.run(lambda tx: tx.now)

    assert database.fault == "OperationalError"
    await database.stop()


@pytest.mark.parametrize("reads", [True, False])
async def test_connection_lost(database: Database, postgres: Postgres, url: str, reads: bool) -> None:  # noqa: FBT001 - a parameter
    """A connection that was broken is noticed once, and made again by itself."""
    await database.run(lambda tx: tx.now)
    assert postgres.terminate(url) == 1

    with pytest.raises(DatabaseUnavailable):
        await database.run(lambda tx: tx.now, reads=reads)
    assert database.fault == "AdminShutdown"

    assert await database.run(lambda tx: tx.now, reads=True) > 0
    assert database.fault == ""


async def test_connection_lost_for_all(database: Database, postgres: Postgres, url: str) -> None:
    """Whoever waited for a connection that broke is told that the database is away."""
    await database.run(lambda tx: tx.now)
    async with busy(database):
        waiting = asyncio.gather(*(database.run(lambda tx: tx.now) for _ in range(5)), return_exceptions=True)
        postgres.terminate(url)

    assert [type(answer) for answer in await waiting] == [DatabaseUnavailable] * 5


async def test_connection_lost_meanwhile(database: Database, postgres: Postgres, url: str) -> None:
    """An operation's own failure is its own even where its connection breaks: only the connection is made anew."""

    def fail(tx: Transaction) -> None:
        assert tx.now
        postgres.terminate(url)
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await database.run(fail)

    assert await database.run(lambda tx: tx.now) > 0


async def test_commit_lost(database: Database, postgres: Postgres, url: str) -> None:
    """Where the connection breaks during a commit, nobody can tell whether it was made."""
    with at_commit(lambda _: postgres.terminate(url)), pytest.raises(CommitUncertain):
        await database.run(_say("CREATE TABLE doubt ()"))

    assert await database.run(lambda tx: tx.now) > 0


async def test_statement_hangs(url: str) -> None:
    """A statement that takes too long is broken off by the server, and the connection is used again."""
    database = Database(f"{url}&options=-c%20statement_timeout%3D100ms", Clock())
    await database.start()
    pid = await database.run(_say("SELECT pg_backend_pid()"), reads=True)

    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        await database.run(_say("SELECT pg_sleep(60)"))

    assert database.fault == "QueryCanceled"
    assert await database.run(_say("SELECT pg_backend_pid()"), reads=True) == pid
    await database.stop()


async def test_unstorable(store: Store, world: World) -> None:
    """A text that PostgreSQL cannot hold is one operation's fault, not the database's."""
    call = await world.called(ask())

    with pytest.raises(Exception, match="NUL") as caught:
        await store.failed(call.step, Failure.REFUSED, "\0", unknown=False)

    assert not isinstance(caught.value, DatabaseUnavailable)
    assert world.database.fault == ""
    assert await world.kinds() == [(JobKind.CALL, "")]


# --- deadlocks ------------------------------------------------------------------------------------------


async def _deadlock(url: str, orders: Sequence[Sequence[Sequence[int]]]) -> Sequence[object]:
    """Have two databases at once lock rows in these orders, an operation for each inner sequence."""
    patient = "&options=-c%20deadlock_timeout%3D20ms"
    databases = [Database(url + patient, Clock()) for _ in orders]
    for database in databases:
        await database.start()
    await databases[0].run(_say("CREATE TABLE note AS SELECT number, 0 AS times FROM generate_series(1, 2) number"))
    both_hold_one = threading.Barrier(len(orders))
    met: list[int] = []

    def lock(rows: Sequence[int]) -> Operation[None]:
        def operation(tx: Transaction) -> None:
            for row in rows:
                tx.connection.execute(text(f"UPDATE note SET times = times + 1 WHERE number = {row}"))  # noqa: S608
                if len(met) < len(orders):
                    met.append(row)
                    both_hold_one.wait(WAIT)

        return operation

    async with busy(databases[0]), busy(databases[1]):
        waiting = asyncio.gather(
            *(
                database.run(lock(rows))
                for database, operations in zip(databases, orders, strict=True)
                for rows in operations
            ),
            return_exceptions=True,
        )
    answers = await waiting
    for database in databases:
        await database.stop()
    return answers


async def test_deadlock_of_groups(url: str) -> None:
    """Operations of two replicas that lock the same rows, crosswise only as they are grouped, all succeed."""
    answers = await _deadlock(url, [[[1], [2]], [[2], [1]]])

    assert answers == [None, None, None, None]
    assert outside(url, "SELECT number, times FROM note ORDER BY number") == [(1, 2), (2, 2)]


async def test_deadlock_of_operations(url: str) -> None:
    """Of two operations that block each other by themselves one is told to come again, and the other succeeds."""
    answers = await _deadlock(url, [[[1, 2]], [[2, 1]]])

    assert sorted(type(answer).__name__ for answer in answers) == ["DatabaseUnavailable", "NoneType"]
    assert outside(url, "SELECT number, times FROM note ORDER BY number") == [(1, 1), (2, 1)]


async def test_stuck_at_stop(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that hangs does not keep the program from stopping."""
    monkeypatch.setattr(database._thread, "join", lambda timeout: threading.Thread.join(database._thread, timeout / 20))  # noqa: SLF001
    gate = Gate()
    hanging = asyncio.create_task(database.run(lambda _: gate.wait()))
    await gate.reached()

    await database.stop()
    assert not hanging.done()

    gate.open()
    await hanging
