"""`reload-model-bot audit`: who asked for what, whether they might, and what came of it. Reads, and changes nothing.

Works beside a running bot. Knows nothing of how the lines were written.
"""

import csv
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TextIO

from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from bot import settings
from bot.core.models import IN_FLIGHT
from bot.errors import CannotStart, Failure, Refusal, SettingsError
from bot.ops.logging import Redactor
from bot.storage import schema
from bot.storage import statements as sql
from bot.storage.database import reading_engine, sqlite_file
from bot.ui.reasons import FAILURES

COLUMNS = ("at", "who", "team", "where", "what", "allowed", "outcome", "rule", "reload", "result")

_REFUSED = frozenset(
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
_SETTING = "DATABASE_URL"
_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet would calculate: https://owasp.org/www-community/attacks/CSV_Injection."""

_AuditRow = Row[float, str, str, str, str, str, str, str | None, str | None, str | None, bool | None, bool | None]
Line = Mapping[str, str]
"""A value for each of COLUMNS."""


def write(out: TextIO, env: Mapping[str, str], *, since: float, form: str) -> None:
    """Write the lines of the last so many seconds, the first first, as a table, json or csv.

    Raises SettingsError where DATABASE_URL is faulty, whatever else is, and CannotStart where it cannot be read.
    """
    config, faults = settings.read(env)
    if faulty := [fault for fault in faults if fault.startswith(f"{_SETTING} ")]:
        raise SettingsError(faulty)
    try:
        out.writelines(_FORMS[form](lines(config.database_url, time.time() - since)))
    except ImportError:
        raise CannotStart(f"{_SETTING}: PostgreSQL's driver is missing: install reload-model-bot[postgres]") from None
    except SQLAlchemyError as error:
        told = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        why = Redactor(config.secrets)(told)
        raise CannotStart(f"{_SETTING}: the database cannot be read: {why}") from None


def lines(url: str, after: float) -> Iterator[Line]:
    """The lines of a database since a time. Raises CannotStart, SQLAlchemyError, ImportError."""
    if url.startswith("sqlite:") and not sqlite_file(url).exists():
        raise CannotStart(f"{_SETTING}: there is no file {sqlite_file(url)}: a bot makes it when it starts")
    with reading_engine(url).connect() as connection:
        found = schema.version_of(connection)
        if found != schema.VERSION:
            raise CannotStart(_other_version(found))
        for row in connection.execute(sql.AUDIT, {"after": after}):
            yield _line(row)


def _other_version(found: int) -> str:
    if found > schema.VERSION:
        return f"{_SETTING}: the database is of a newer program: run its own audit"
    what = f"is of schema version {found}" if found else "has no tables"
    return f"{_SETTING}: the database {what}, and no audit yet: this program's bot makes it when it starts"


def _line(row: _AuditRow) -> Line:
    at, user, team, channel, what, outcome, rule, reload_id, state, failure, unknown, undeliverable = row
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    allowed = "no" if outcome in _REFUSED else "yes"
    result = "" if state is None else _result(state, failure, unknown=bool(unknown), untold=bool(undeliverable))
    return dict(
        zip(COLUMNS, (when, user, team, channel, what, allowed, outcome, rule, reload_id or "", result), strict=True)
    )


def _result(state: str, failure: str | None, *, unknown: bool, untold: bool) -> str:
    """How a reload ended, as far as is known."""
    if failure is not None:
        why = FAILURES[Failure(failure)].why
        told = f"failed: {why}" + (", but may be reloading" if unknown else "")
    else:
        told = "in flight" if state in IN_FLIGHT else "should be ready"
    return told + (", could not be told" if untold else "")


# --- telling --------------------------------------------------------------------------------------------


def _table(found: Iterable[Line]) -> Iterator[str]:
    rows = [COLUMNS, *(tuple(line.values()) for line in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"


def _json(found: Iterable[Line]) -> Iterator[str]:
    for line in found:
        yield json.dumps(line, ensure_ascii=False) + "\n"


class _Echo:
    """A file that hands back what is written."""

    @staticmethod
    def write(text: str) -> str:
        return text


def _csv(found: Iterable[Line]) -> Iterator[str]:
    writer = csv.writer(_Echo(), lineterminator="\n")
    yield writer.writerow(COLUMNS)
    for line in found:
        yield writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in line.values()])


_FORMS = {"table": _table, "json": _json, "csv": _csv}
