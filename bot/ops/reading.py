"""`reload-model-bot audit`: who asked for what, and what came of it; and `access`: what admins gave in Slack.

They only read the database, beside a running bot.
"""

import csv
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import starmap
from typing import Any, TextIO

from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from bot.core.models import IN_FLIGHT, Reload
from bot.errors import CannotStart, Refusal
from bot.logs import Redactor
from bot.settings import Settings
from bot.storage import grants, history, schema
from bot.storage.database import reading_engine
from bot.storage.engines.sqlite import sqlite_file
from bot.ui.reasons import FAILURES

_FORMULA = ("=", "+", "-", "@")
"""A cell that begins like this is a formula to a spreadsheet: https://owasp.org/www-community/attacks/CSV_Injection."""

COLUMNS = ("at", "who", "team", "where", "what", "allowed", "outcome", "rule", "reload", "result")

_REFUSED = frozenset(
    {
        *(Refusal.GROUP_UNREAD, Refusal.NOT_ADMIN, Refusal.NOT_ALLOWED, Refusal.NOT_READY, Refusal.OTHER_WORKSPACE),
        *(Refusal.TOO_MANY_COMMANDS, Refusal.TOO_MANY_IN_FLIGHT, Refusal.WRONG_CHANNEL),
    }
)
"""The outcomes of people who weren't allowed to do what they wanted. All others were, even if nothing came of it."""


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """A connection that only reads. Raises CannotStart, also for errors while it is used."""
    url = settings.database_url
    if url.startswith("sqlite:"):
        try:
            sqlite_file(url).stat()
        except FileNotFoundError:
            what, fix = f"there is no file {sqlite_file(url)}", "the bot creates it when it starts"
            raise CannotStart("DATABASE_URL", what, fix) from None
        except OSError as error:
            raise CannotStart("DATABASE_URL", f"can't read {sqlite_file(url)} ({error.strerror})") from None
    try:
        with reading_engine(url).connect() as connection:
            try:
                _check_version(schema.version_of(connection))
                yield connection
            except SQLAlchemyError as error:
                connection.invalidate(error)  # a rollback would wait for the same server, and hide this error
                raise
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        hidden = Redactor(settings.secrets)(reason)
        raise CannotStart("DATABASE_URL", f"the database can't be read: {hidden}") from None


def _check_version(found: int) -> None:
    """Raises CannotStart unless the tables are this program's."""
    if found > schema.VERSION:
        what = "the database was made by a newer version of this program"
        raise CannotStart("DATABASE_URL", what, "run that version")
    if found < schema.VERSION:
        state, does = (f"has schema version {found}", "updates it") if found else ("has no tables yet", "creates them")
        raise CannotStart("DATABASE_URL", f"the database {state}", f"the bot {does} when it starts")


def write_audit(out: TextIO, settings: Settings, *, since: float, form: str) -> None:
    """Write the lines of the last `since` seconds, oldest first, as a "table", "json" or "csv". Raises CannotStart."""
    with reading(settings) as connection:
        lines = list(history.audit_lines(connection, time.time() - since))
    print_rows(out, form, COLUMNS, starmap(_row, lines))  # however slowly somebody reads that


def _row(line: Row[*tuple[Any, ...]], reload: Reload | None) -> Sequence[object]:
    """A line by column. Without a reload, its ID and its result are empty."""
    who, allowed = (line.user_id, line.team_id, line.channel_id, line.text), line.outcome not in _REFUSED
    result = "" if reload is None else _result(reload)
    return (datetime.fromtimestamp(line.at, UTC), *who, allowed, line.outcome, line.rule, line.reload_id or "", result)


def _result(reload: Reload) -> str:
    """How a reload ended, as far as is known."""
    if reload.failure is not None:
        text = f"failed: {FAILURES[reload.failure].why}" + (", but may be reloading" if reload.outcome_unknown else "")
    else:
        text = "in flight" if reload.state in IN_FLIGHT else "should be ready"
    return text + (", couldn't notify everyone" if reload.undeliverable else "")


def write_access(out: TextIO, settings: Settings, *, form: str) -> None:
    """Write the access that admins gave, the last first, as a "table" or "json". Raises CannotStart."""
    with reading(settings) as connection:
        found, _ = grants.granted(connection)
    rows = [(grant.user_id, grant.granted_by, datetime.fromtimestamp(grant.granted_at, UTC)) for grant in found]
    print_rows(out, form, ("who", "by", "at"), rows)


def print_rows(out: TextIO, form: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a "table" or "csv" with the names of the columns, or as "json": one object per line.

    JSON is ASCII only, so that it is JSON on every terminal.
    """
    if form == "json":
        for row in rows:
            values = [f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value for value in row]
            print(json.dumps(dict(zip(columns, values, strict=True))), file=out)
    elif form == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in map(_cell, row)])
    else:
        lines = [columns, *(list(map(_cell, row)) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            print("  ".join(padded).rstrip(), file=out)


def _cell(value: object) -> str:
    """For people and spreadsheets."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
