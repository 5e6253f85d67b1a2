"""A statement of SQLAlchemy's, compiled once and run by the driver itself. Knows nothing of tables or transactions.

SQLAlchemy's own execution costs several times what SQLite takes for a statement of a row or two: it compiles anew what
it has not cached, and wraps each cursor and each row. What is given up for that is its conversion of types, of which
only one is needed here: both drivers speak Python's types, but for SQLite, to which a boolean is a number.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, TypeVarTuple, cast

from sqlalchemy import Boolean, Executable
from sqlalchemy.engine import Dialect

if TYPE_CHECKING:
    from sqlalchemy import ClauseElement, ColumnElement
    from sqlalchemy.sql.compiler import SQLCompiler

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Parameters = Mapping[str, Any]


class Cursor(Protocol):
    """What the drivers give for a statement that was run: https://peps.python.org/pep-0249/#cursor-objects."""

    @property
    def rowcount(self) -> int: ...  # noqa: D102 - as in PEP 249
    def fetchall(self) -> list[tuple[object, ...]]: ...  # noqa: D102 - as in PEP 249


class Driver(Protocol):
    """A connection or cursor as sqlite3 and psycopg make it."""

    def execute(self, text: str, parameters: Any = ..., /) -> Cursor: ...  # noqa: ANN401, D102 - each has its own kind


class Rows(Generic[*Ts]):
    """The rows that a statement returned, all of them, under the names that SQLAlchemy's results have."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[tuple[*Ts]], rowcount: int) -> None:
        """rowcount is how many rows were changed, of a statement that returns none."""
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[tuple[*Ts]]:
        return iter(self._rows)

    def all(self) -> Sequence[tuple[*Ts]]:
        """All of them."""
        return self._rows

    def first(self) -> tuple[*Ts] | None:
        """The first, or None where there is none."""
        return self._rows[0] if self._rows else None

    def one(self) -> tuple[*Ts]:
        """The only one. Raises ValueError where there is another number of them."""
        (row,) = self._rows
        return row

    def scalar_one(self: "Rows[T, *tuple[Any, ...]]") -> T:
        """What the only one begins with. Raises ValueError where there is another number of them."""
        return self.one()[0]

    def scalars(self: "Rows[T, *tuple[Any, ...]]") -> list[T]:
        """What each begins with."""
        return [row[0] for row in self._rows]


AnyRows = Rows[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Form:
    """A statement as text, for lists of certain lengths."""

    text: str
    order: Sequence[str] | None
    """The names of the parameters in their order, where the driver wants them so."""
    lists: Mapping[str, Sequence[str]]
    """What the items of each list are called."""


class Prepared:
    """One statement with parameters of certain names, in one dialect."""

    def __init__(self, statement: Executable, names: Collection[str], dialect: Dialect) -> None:
        compiled = cast(
            "SQLCompiler", cast("ClauseElement", statement).compile(dialect=dialect, column_keys=list(names))
        )
        self.text = str(compiled)
        """As compiled: where a list stands, its items are not yet told apart."""
        self._compiled = compiled
        self._fixed = {name: compiled.params[name] for bind, name in compiled.bind_names.items() if not bind.required}
        self._lists = [
            name for bind, name in compiled.bind_names.items() if bind.expanding and not bind.literal_execute
        ]
        self._forms: dict[tuple[int, ...], _Form] = {}
        columns: Sequence[ColumnElement[object]] = tuple(getattr(statement, "exported_columns", ()))
        self._returns = bool(columns)
        self._booleans = [n for n, column in enumerate(columns) if isinstance(column.type, Boolean)]
        if dialect.supports_native_boolean:
            self._booleans.clear()

    def run(self, driver: Driver, parameters: Parameters) -> AnyRows:
        """Run it. Raises the driver's own errors."""
        values = {**self._fixed, **parameters}
        for name in self._lists:
            values[name] = _padded(values[name])
        lengths = tuple([len(values[name]) for name in self._lists])
        form = self._forms.get(lengths)
        if form is None:
            form = self._forms[lengths] = self._form(values)
        for name, items in form.lists.items():
            values.update(zip(items, values.pop(name), strict=True))
        order = form.order
        cursor = driver.execute(form.text, values if order is None else [values[name] for name in order])
        if not self._returns:
            return Rows((), cursor.rowcount)
        rows = cursor.fetchall()
        return Rows([self._with_booleans(row) for row in rows] if self._booleans else rows, len(rows))

    def _form(self, values: Parameters) -> _Form:
        state = self._compiled.construct_expanded_state(values)
        return _Form(
            state.statement, state.positiontup, {name: state.parameter_expansion[name] for name in self._lists}
        )

    def _with_booleans(self, row: tuple[object, ...]) -> tuple[object, ...]:
        values = list(row)
        for n in self._booleans:
            values[n] = None if values[n] is None else bool(values[n])
        return tuple(values)


def _padded(items: Collection[object]) -> Sequence[object]:
    """As many items as the next power of two: the last once more changes no IN, and few forms serve all lengths."""
    values = list(items)
    missing = (1 << (len(values) - 1).bit_length()) - len(values) if values else 0
    return values + values[-1:] * missing
