"""`reload-model-bot audit`: who asked for what, whether they were allowed to, and what came of it.

It only reads, beside a running bot.
"""

import csv
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TextIO

from sqlalchemy.exc import SQLAlchemyError

from bot.core.models import IN_FLIGHT, Reload
from bot.errors import CannotStart, Refusal
from bot.ops.logging import Redactor
from bot.settings import Settings
from bot.storage import history, schema
from bot.storage.database import reading_engine
from bot.storage.history import AuditLine
from bot.storage.sqlite import sqlite_file
from bot.ui.reasons import FAILURES

COLUMNS = ("at", "who", "team", "where", "what", "allowed", "outcome", "rule", "reload", "result")

_REFUSED = frozenset(
    {
        *(Refusal.GROUP_UNREAD, Refusal.NOT_ALLOWED, Refusal.NOT_READY, Refusal.OTHER_WORKSPACE),
        *(Refusal.TOO_MANY_COMMANDS, Refusal.TOO_MANY_IN_FLIGHT, Refusal.WRONG_CHANNEL),
    }
)

_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet would calculate: https://owasp.org/www-community/attacks/CSV_Injection."""


def write(out: TextIO, settings: Settings, *, since: float, form: str) -> None:
    """Write the lines of the last `since` seconds, oldest first, as a "table", "json" or "csv". Raises CannotStart."""
    forms = {"table": _table, "json": _json, "csv": _csv}
    try:
        forms[form](out, _lines(settings.database_url, time.time() - since))
    except ImportError:
        raise CannotStart("DATABASE_URL: PostgreSQL's driver is missing: install reload-model-bot[postgres]") from None
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        hidden = Redactor(settings.secrets)(reason)
        raise CannotStart(f"DATABASE_URL: the database can't be read: {hidden}") from None


def _lines(url: str, after: float) -> Iterator[Mapping[str, object]]:
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
        yield from map(_fields, history.audit_lines(connection, after))


def _fields(line: AuditLine) -> Mapping[str, object]:
    """A line by column. The ID of the reload and its result are empty where none was started."""
    values = (
        datetime.fromtimestamp(line.at, UTC),
        line.user_id,
        line.team_id,
        line.channel_id,
        line.text,
        line.outcome not in _REFUSED,
        line.outcome,
        line.rule,
        line.reload_id,
        "" if line.reload is None else _result(line.reload),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _result(reload: Reload) -> str:
    """How a reload ended, as far as is known."""
    if reload.failure is not None:
        text = f"failed: {FAILURES[reload.failure].why}" + (", but may be reloading" if reload.outcome_unknown else "")
    else:
        text = "in flight" if reload.state in IN_FLIGHT else "should be ready"
    return text + (", couldn't notify everyone" if reload.undeliverable else "")


def _cells(line: Mapping[str, object]) -> list[str]:
    """For people and spreadsheets."""
    shown = {**line, "at": f"{line['at']:%Y-%m-%d %H:%M:%S}", "allowed": "yes" if line["allowed"] else "no"}
    return list(map(str, shown.values()))


def _table(out: TextIO, lines: Iterable[Mapping[str, object]]) -> None:
    rows = [list(COLUMNS), *map(_cells, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip(), file=out)


def _json(out: TextIO, lines: Iterable[Mapping[str, object]]) -> None:
    """ASCII only, so that it is JSON on every terminal."""
    out.writelines(json.dumps({**line, "at": f"{line['at']:%Y-%m-%dT%H:%M:%SZ}"}) + "\n" for line in lines)


def _csv(out: TextIO, lines: Iterable[Mapping[str, object]]) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cells in map(_cells, lines):
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
