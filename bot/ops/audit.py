"""`reload-model-bot audit`: who asked for what, whether they were allowed to, and what came of it.

It only reads, beside a running bot.
"""

import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TextIO

from sqlalchemy.exc import SQLAlchemyError

from bot.core.models import IN_FLIGHT, Reload
from bot.errors import CannotStart, Refusal
from bot.ops.logging import Redactor
from bot.settings import Settings
from bot.storage import history, schema
from bot.storage.database import reading_engine, sqlite_file
from bot.ui.reasons import FAILURES

_REFUSALS = frozenset(
    {
        Refusal.GROUP_UNREAD,
        Refusal.NOT_ALLOWED,
        Refusal.NOT_READY,
        Refusal.OTHER_WORKSPACE,
        Refusal.TOO_MANY_COMMANDS,
        Refusal.TOO_MANY_IN_FLIGHT,
        Refusal.WRONG_CHANNEL,
    }
)

_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet would calculate: https://owasp.org/www-community/attacks/CSV_Injection."""


@dataclass(frozen=True, slots=True)
class Line:
    """One command, button or modal. The id of the reload and its result are empty where nothing was started."""

    at: datetime
    who: str
    team: str
    where: str
    what: str
    allowed: bool
    outcome: str
    rule: str
    reload: str
    result: str

    def cells(self) -> list[str]:
        """For people and spreadsheets."""
        values = asdict(self) | {"at": f"{self.at:%Y-%m-%d %H:%M:%S}", "allowed": "yes" if self.allowed else "no"}
        return [str(value) for value in values.values()]


COLUMNS = [field.name for field in fields(Line)]


def write(out: TextIO, settings: Settings, *, since: float, form: str) -> None:
    """Write the lines of the last `since` seconds, oldest first, as a "table", "json" or "csv". Raises CannotStart."""
    try:
        out.writelines(_FORMS[form](_lines(settings.database_url, time.time() - since)))
    except ImportError:
        raise CannotStart("DATABASE_URL: PostgreSQL's driver is missing: install reload-model-bot[postgres]") from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        hidden = Redactor(settings.secrets)(reason)
        raise CannotStart(f"DATABASE_URL: the database can't be read: {hidden}") from None


def _lines(url: str, after: float) -> Iterator[Line]:
    """Read the audit since a time (Unix seconds). Raises CannotStart, SQLAlchemyError, ImportError."""
    if url.startswith("sqlite:") and not sqlite_file(url).exists():
        raise CannotStart(f"DATABASE_URL: there is no file {sqlite_file(url)}: the bot creates it when it starts")
    with reading_engine(url).connect() as connection:
        found = schema.version_of(connection)
        if found > schema.VERSION:
            raise CannotStart("DATABASE_URL: the database belongs to a newer version of this program: run its audit")
        if found < schema.VERSION:
            state = f"has schema version {found}" if found else "has no tables"
            raise CannotStart(f"DATABASE_URL: the database {state}: the bot updates it when it starts")
        for row in history.audit_lines(connection, after):
            yield Line(
                at=datetime.fromtimestamp(row.at, UTC),
                who=row.user_id,
                team=row.team_id,
                where=row.channel_id,
                what=row.text,
                allowed=row.outcome not in _REFUSALS,
                outcome=row.outcome,
                rule=row.rule,
                reload=row.reload_id,
                result="" if row.reload is None else _result(row.reload),
            )


def _result(reload: Reload) -> str:
    """How a reload ended, as far as is known."""
    if reload.failure is not None:
        text = f"failed: {FAILURES[reload.failure].why}" + (", but may be reloading" if reload.outcome_unknown else "")
    else:
        text = "in flight" if reload.state in IN_FLIGHT else "should be ready"
    return text + (", couldn't notify everyone" if reload.undeliverable else "")


def _table(lines: Iterable[Line]) -> Iterator[str]:
    rows = [COLUMNS, *(line.cells() for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"


def _json(lines: Iterable[Line]) -> Iterator[str]:
    """ASCII only, so that it is JSON on every terminal."""
    for line in lines:
        yield json.dumps(asdict(line) | {"at": f"{line.at:%Y-%m-%dT%H:%M:%SZ}"}) + "\n"


class _Echo:
    """A file that returns what is written to it."""

    @staticmethod
    def write(text: str) -> str:
        return text


def _csv(lines: Iterable[Line]) -> Iterator[str]:
    writer = csv.writer(_Echo(), lineterminator="\n")
    yield writer.writerow(COLUMNS)
    for line in lines:
        yield writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in line.cells()])


_FORMS: Mapping[str, Callable[[Iterable[Line]], Iterator[str]]] = {"table": _table, "json": _json, "csv": _csv}
