"""Statements that are compiled once, run by either driver."""

import pytest
from sqlalchemy import Boolean, Double, Text, bindparam, cast, delete, insert, literal, null, select, text, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError, OperationalError, ProgrammingError

from bot.core.models import State
from bot.storage.database import Database, Transaction
from bot.storage.schema import reload
from tests.store.world import World

_ADD = insert(reload).returning(reload.c.id)
_ALL = select(reload).order_by(reload.c.id)
_THESE = select(reload.c.id).where(reload.c.id.in_(bindparam("these", expanding=True))).order_by(reload.c.id)
_ENDED = select(reload.c.id).where(reload.c.state.in_([State.DONE]))
_RENAME = update(reload).where(reload.c.id == bindparam("the_reload")).values(model_id=bindparam("model"))


def _add(tx: Transaction, *ids: str, state: State = State.DONE) -> list[str]:
    """Add reloads, and return what the statements do."""
    usual: dict[str, object] = {"said": "", "unknown": True, "undeliverable": False, "asked_at": 1.5}
    return [tx.execute(_ADD, id=id_, model_id=f"m-{id_}", state=state, **usual).scalar_one() for id_ in ids]


@pytest.fixture
def database(world: World) -> Database:
    """A database with tables."""
    return world.database


async def test_values_are_pythons_own(database: Database) -> None:
    """Numbers, text, nothing, and booleans, which SQLite does not know."""

    def operation(tx: Transaction) -> object:
        _add(tx, "a")
        return tx.execute(_ALL).one()

    row = await database.run(operation)

    assert row == ("a", "m-a", "done", 1.5, None, None, None, None, "", True, False)
    assert isinstance(row, tuple)
    assert [type(value) for value in row[-2:]] == [bool, bool]


async def test_a_boolean_that_is_not_known(database: Database) -> None:
    """It is None, in a row with one that is."""
    statement = select(cast(null(), Boolean), cast(literal(value=True), Boolean), cast(1.0, Double), cast("x", Text))

    assert await database.run(lambda tx: tx.execute(statement).one()) == (None, True, 1.0, "x")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 9])
async def test_lists_of_any_length(database: Database, count: int) -> None:
    """Whatever the length, each of the list is found and nothing else."""
    ids = [f"r{n}" for n in range(10)]

    def operation(tx: Transaction) -> list[str]:
        _add(tx, *ids)
        return tx.execute(_THESE, these=ids[:count]).scalars()

    assert await database.run(operation) == ids[:count]


async def test_lists_of_other_lengths_in_turn(database: Database) -> None:
    """A statement that ran with one list runs with another, and a list may be a set."""

    def operation(tx: Transaction) -> list[list[str]]:
        _add(tx, "a", "b", "c")
        lists = [["a"], {"a", "b", "c"}, [], ("c", "b"), ["b"]]
        return [tx.execute(_THESE, these=items).scalars() for items in lists]

    assert await database.run(operation) == [["a"], ["a", "b", "c"], [], ["b", "c"], ["b"]]


async def test_a_list_of_the_statements_own(database: Database) -> None:
    """Values that stand in a statement go along by themselves."""

    def operation(tx: Transaction) -> list[str]:
        _add(tx, "a")
        _add(tx, "b", state=State.ACCEPTED)
        return tx.execute(_ENDED).scalars()

    assert await database.run(operation) == ["a"]


async def test_rows(database: Database) -> None:
    """The first, the only one, all, one after another, and how many were changed."""

    def operation(tx: Transaction) -> None:
        assert tx.execute(_ALL).first() is None
        assert _add(tx, "a", "b") == ["a", "b"]
        assert [row[0] for row in tx.execute(_ALL)] == ["a", "b"]
        assert [row[0] for row in tx.execute(_ALL).all()] == ["a", "b"]
        assert tx.execute(_THESE, these=["b", "a"]).first() == ("a",)
        with pytest.raises(ValueError, match="values to unpack"):
            tx.execute(_ALL).one()
        assert tx.execute(_RENAME, the_reload="a", model="x").rowcount == 1
        assert tx.execute(_RENAME, the_reload="z", model="x").rowcount == 0
        assert tx.execute(delete(reload)).rowcount == 2

    await database.run(operation)


async def test_columns_that_are_given_at_times(database: Database) -> None:
    """The same insert with other columns is another statement to the database."""

    def operation(tx: Transaction) -> list[float | None]:
        _add(tx, "a")
        tx.execute(
            _ADD,
            id="b",
            model_id="m",
            state=State.DONE,
            said="",
            unknown=False,
            undeliverable=False,
            asked_at=1.0,
            ended_at=7.0,
        )
        return [row[6] for row in tx.execute(_ALL)]

    assert await database.run(operation) == [None, 7.0]


async def test_errors_are_sqlalchemys(database: Database) -> None:
    """An error of the driver's is raised as SQLAlchemy would raise it."""
    with pytest.raises(IntegrityError):
        await database.run(lambda tx: _add(tx, "a", "a"))

    def operation(tx: Transaction) -> None:
        with pytest.raises((OperationalError, ProgrammingError), match="nowhere"):
            tx.execute(text("SELECT * FROM nowhere"))

    await database.run(operation)


async def test_a_parameter_that_is_missing(database: Database) -> None:
    """It is an error of the program's own, and nothing of the database's."""
    with pytest.raises(InvalidRequestError, match="model"):
        await database.run(lambda tx: tx.execute(_RENAME, the_reload="a"))

    assert database.fault == ""
